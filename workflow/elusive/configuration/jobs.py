"""Which checkpoints and benchmarks one scoring job takes: each kind of job has a rule of its own.

A process takes some seconds to start, a small model less to be scored. So one job scores several checkpoints of a small
model, one after the other; their tables stay files of their own, each written as soon as it is done.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from elusive.configuration.models import Model

#: A local model with at most so many parameters is scored in about the time that a process takes to start.
SMALL_PARAMETERS = 20_000_000
#: Checkpoints of a small model in a job at most: a start is shared by enough of them to matter little, and several
#: models, or more checkpoints, still give several processors work.
TOGETHER = 6


@dataclass(frozen=True)
class ScoringJob:
    """A kind of scoring job: its ``rule``, and the ``benchmarks`` on which it scores checkpoints of each of ``models``.

    ``checkpoints`` are the names of those that one job scores; with none, it scores any single one.
    """

    rule: str
    benchmarks: tuple[str, ...]
    models: tuple[str, ...]
    checkpoints: tuple[str, ...] = ()


def checkpoints_per_job(model: Model, asked: int | str) -> int:
    """The most checkpoints of ``model`` in a job; ``asked`` is the key of the configuration, a number or ``auto``.

    Weights of the hub come and go one checkpoint at a time.
    """
    if model.source == "hub":
        return 1
    if asked == "auto":
        small = model.source == "ladder" or model.parameters <= SMALL_PARAMETERS
        return TOGETHER if small else 1
    return int(asked)


def scoring_jobs(
    batches: Mapping[str, tuple[str, ...]], models: Iterable[Model], asked: int | str
) -> dict[str, ScoringJob]:
    """Rule -> kind of job, for ``batches`` (rule of a single checkpoint -> benchmarks) and the ``models`` that are run.

    A model's checkpoints are shared out evenly, in their order.
    """
    single: list[str] = []
    groups: dict[tuple[str, ...], list[str]] = {}
    for model in models:
        most = checkpoints_per_job(model, asked)
        if most == 1:
            single.append(model.name)
            continue
        names = [checkpoint.name for checkpoint in model.checkpoints]
        count = -(-len(names) // most)
        for i in range(count):
            some = tuple(names[len(names) * i // count : len(names) * (i + 1) // count])
            groups.setdefault(some, []).append(model.name)
    jobs = [ScoringJob(batch, benchmarks, tuple(single)) for batch, benchmarks in batches.items()]
    for batch, benchmarks in batches.items():
        for number, (names, members) in enumerate(groups.items(), start=1):
            # A benchmark may be called anything, so that names that begin as those of batches are taken.
            rule = f"together_{batch}" if len(groups) == 1 else f"together{number}_{batch}"
            jobs.append(ScoringJob(rule, benchmarks, tuple(members), names))
    return {job.rule: job for job in jobs}
