"""Items and logprobs tables of chosen log-likelihoods, written as the scoring stage writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from elusive.analysis.metrics import choice_metrics, write_metrics
from elusive.tables import read_metadata, write_table


def write_items(path: Path, gold: list[int], num_choices: list[int], subjects: list[str | None] | None = None) -> Path:
    """An items table of items named i0, i1, ... at ``path``."""
    items = pa.table(
        {
            "item": [f"i{n}" for n in range(len(gold))],
            "subject": pa.array(subjects or [None] * len(gold), pa.string()),
            "contexts": [["Question:"]] * len(gold),
            "continuations": [[f" answer {c}" for c in range(k)] for k in num_choices],
            "gold": gold,
            "num_choices": num_choices,
        }
    )
    write_table(items, path, "items", {"benchmark": "quiz"})
    return path


def logprobs_table(gold: list[int], scores: list[list[float]], chars: list[list[int]] | None = None) -> pa.Table:
    """A logprobs table: ``scores`` holds the log-likelihoods of each item's choices, ``chars`` their lengths."""
    keys = [(item, choice) for item, row in enumerate(scores) for choice in range(len(row))]
    lengths = [value for row in chars for value in row] if chars else [8] * len(keys)
    return pa.table(
        {
            "item": [f"i{item}" for item, _ in keys],
            "choice": pa.array([choice for _, choice in keys], pa.int8()),
            "is_gold": [choice == gold[item] for item, choice in keys],
            "log_likelihood": pa.array([value for row in scores for value in row], pa.float64()),
            "num_tokens": [2] * len(keys),
            "num_bytes": lengths,
            "num_chars": lengths,
            "is_greedy": [False] * len(keys),
        }
    )


def about(model: str, checkpoint: str, parameters: int, tokens: int, **more: object) -> dict[str, object]:
    """The metadata of a logprobs table."""
    flops = 6.0 * parameters * tokens
    return {"model": model, "checkpoint": checkpoint, "parameters": parameters, "tokens": tokens, "flops": flops} | more


def random_run(folder: Path, seed: int = 0, items: int = 60, checkpoints: int = 6, subjects: bool = False) -> dict:
    """An items table and logprobs tables of random scores over choices of different numbers; their paths by name.

    Scores rise with compute, choices of an item together; the first checkpoint has seen no tokens.
    """
    generator = np.random.default_rng(seed)
    num_choices = generator.integers(2, 6, items).tolist()
    gold = [int(generator.integers(k)) for k in num_choices]
    names = [f"subject {n % 5}" for n in range(items)] if subjects else None
    paths = []
    for n in range(checkpoints):
        scores = [(-40 + 4 * n + generator.normal(0, 3, k)).tolist() for k in num_choices]
        chars = [generator.integers(1, 60, k).tolist() for k in num_choices]
        path = folder / f"logprobs/model{n % 2}/step{n}/quiz.parquet"
        metadata = about(f"model{n % 2}", f"step{n}", 1000 * (1 + n % 2), 10**n if n else 0)
        write_table(logprobs_table(gold, scores, chars), path, "logprobs", metadata)
        paths.append(path)
    return {"items": write_items(folder / "items/quiz.parquet", gold, num_choices, names), "logprobs": paths}


def members(logprobs: list[Path]) -> list[dict]:
    """The checkpoints of the tables as a registry would describe them, from what :func:`about` wrote."""
    keys = ("model", "checkpoint", "parameters", "parameters_nonembedding", "tokens", "flops")
    return [{key: metadata.get(key) for key in keys} for metadata in map(read_metadata, logprobs)]


def write_family(logprobs: list[Path], items: Path, output: Path, family: str = "small") -> None:
    """The metrics of a family of all these checkpoints on the benchmark quiz."""
    write_metrics(
        logprobs=logprobs,
        items=items,
        families={family: members(logprobs)},
        benchmark="quiz",
        outputs={family: output},
    )


def scores_of(log_likelihood: np.ndarray, gold: int = 0) -> dict[str, np.ndarray]:
    """All metrics [models, items] of log-likelihoods [models, items, choices] of choices of one length."""
    models, items, choices = log_likelihood.shape
    flat = log_likelihood.reshape(-1, choices)
    count = np.full(len(flat), choices)
    found = choice_metrics(flat, np.ones_like(flat), np.full(len(flat), gold), count)
    return {name: values.reshape(models, items) for name, values in found.items()}
