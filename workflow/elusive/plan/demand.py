"""What a job asks a cluster for: memory and time as functions of the model's size and of the attempt.

They are upper estimates by design. A job that asks for too much waits a little longer in the queue; one that asks for
too little is killed, is tried again with more, and goes on behind the tables that it has finished. Scoring costs
2·N floating-point operations a token (Kaplan et al. 2020, table 1) on top of starting and loading.

Snakemake imports this module whenever it parses the workflow, so it imports nothing heavy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from elusive.configuration.benchmarks import Benchmark
from elusive.configuration.models import Model
from elusive.items.benchmarks import BENCHMARKS
from elusive.items.held_out import HELD_OUT, NUM_ITEMS

#: Items of an own benchmark without a limit: its file is not read before its items are made.
UNKNOWN_ITEMS = 10_000
#: Tokens run for an item: its context once and each of its choices.
TOKENS_PER_ITEM = 250
#: Floating-point operations a second that any usual accelerator reaches, and one thread of a processor.
GPU_FLOPS = {"float32": 4e12, "auto": 4e12, "bfloat16": 2e13, "float16": 2e13}
THREAD_FLOPS = 5e9
#: Python, torch and a batch's activations and logits.
BASE_MB = 3000
#: Starting Snakemake and torch twice over on a busy file system.
BASE_MINUTES = 15
#: Many partitions take no longer job. One that needs more goes on in its next attempt.
MOST_MINUTES = 24 * 60


def memory_mb(model: Model, attempt: int = 1) -> int:
    """Main memory in MB of a job that runs ``model``, also where weights go to a GPU: they are read into it first.

    Eight bytes a parameter hold the weights in float32 and once more, converted or rearranged for the processor.
    """
    return attempt * (BASE_MB + math.ceil(model.parameters * 8 / 1e6))


def score_minutes(
    model: Model,
    benchmarks: Iterable[Benchmark],
    device: str = "auto",
    threads: int = 1,
    attempt: int = 1,
    checkpoints: int = 1,
) -> int:
    """Minutes of scoring ``checkpoints`` of ``model`` on ``benchmarks``; each attempt may take twice the one before.

    ``auto`` is taken for a GPU, since a job with it asks for one.
    """
    items = sum(num_items(benchmark) for benchmark in benchmarks)
    speed = THREAD_FLOPS * threads if device == "cpu" else GPU_FLOPS[model.dtype]
    return _minutes(2 * model.parameters * checkpoints * items * TOKENS_PER_ITEM / speed, attempt)


def train_minutes(model: Model, attempt: int = 1) -> int:
    """Minutes of training a ladder model on one thread: 6·N·D floating-point operations."""
    return _minutes(6 * model.parameters * max(each.tokens for each in model.checkpoints) / THREAD_FLOPS, attempt)


def num_items(benchmark: Benchmark) -> int:
    """Items of a benchmark: those of the largest of its splits unless it has a limit; a guess for an own one."""
    definition = BENCHMARKS.get(benchmark.name)
    others = NUM_ITEMS if benchmark.name in HELD_OUT else UNKNOWN_ITEMS
    every = max(definition.num_items.values()) if definition else others
    return min(benchmark.spec.get("limit") or every, every)


def _minutes(seconds: float, attempt: int) -> int:
    """Minutes to ask for, in steps of five."""
    return min(5 * math.ceil((BASE_MINUTES + seconds / 60) * 2 ** (attempt - 1) / 5), MOST_MINUTES)
