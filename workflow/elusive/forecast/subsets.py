"""Items that scale: whether a quarter of a benchmark, chosen on small checkpoints, follows compute on large ones.

Checkpoints are halved by compute. A quarter of the items is chosen by the correlation of ``margin_log`` with x on the
smaller half, and judged by Spearman's correlation of its accuracy with compute on that half (``inside``) and on the
larger one (``held_out``). Beside it stand what a reader must compare it with:

- ``all``: all items; ``random``: the mean over random quarters;
- ``judged``: a quarter chosen on the larger half and judged there, which looks as good where there is nothing;
- ``shuffled``: the mean over quarters chosen after the smaller half's computes were shuffled.

A subset of improving items is another benchmark than the whole: what is said of it is not said of the benchmark.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from elusive.analysis.correlations import rank_correlations
from elusive.forecast.margins import seed_of
from elusive.forecast.scores import Scores

SELECTIONS = ("chosen", "all", "random", "shuffled", "judged")
SHARE = 0.25
_RANDOM, _SHUFFLES = 200, 100


def _correlations(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each column of ``values`` [checkpoints, items] with ``x``; -inf where undefined."""
    centred = values - values.mean(axis=0)
    x = x - x.mean()
    size = np.sqrt((centred**2).sum(axis=0) * (x @ x))
    product = np.einsum("t,ti->i", x, centred)
    return np.where(size > 1e-12, product / np.where(size > 1e-12, size, 1), -np.inf)


def _best(correlation: np.ndarray) -> np.ndarray:
    """The quarter with the largest correlations, ties to the first items: places, ascending."""
    count = max(1, round(SHARE * len(correlation)))
    return np.sort(np.argsort(-correlation, kind="stable")[:count])


def item_subsets(scores: Scores, family: str, benchmark: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of ``item_subsets`` and of ``item_subset_members``; none with fewer than three checkpoints in a half."""
    order = np.argsort(scores.flops, kind="stable")
    half = len(order) // 2
    small, large = order[:half], order[half:]
    if half < 3 or len(scores.items) < 4:
        return [], []
    x = np.log10(scores.flops)
    accuracy = scores.metrics()["accuracy"]
    margin = np.where(scores.exists, scores.margins, np.inf).min(axis=2)
    correlation = _correlations(x[small], margin[small])
    chosen = _best(correlation)
    generator = np.random.default_rng(seed_of("item_subsets", family, benchmark))
    everything = np.arange(len(scores.items))
    drawn = [np.sort(generator.permutation(everything)[: len(chosen)]) for _ in range(_RANDOM)]
    shuffled = [_best(_correlations(generator.permutation(x[small]), margin[small])) for _ in range(_SHUFFLES)]
    kinds = {
        "chosen": [chosen],
        "all": [everything],
        "random": drawn,
        "shuffled": shuffled,
        "judged": [_best(_correlations(x[large], margin[large]))],
    }
    about = {"family": family, "benchmark": benchmark}
    rows = []
    for selection, sets in kinds.items():
        means = np.stack([accuracy[:, own].mean(axis=1) for own in sets], axis=1)
        inside, held_out = (_mean(rank_correlations(x[part], means[part])[0]) for part in (small, large))
        rows.append(
            about
            | {
                "selection": selection,
                "num_items": len(sets[0]),
                "num_sets": len(sets),
                "num_models_inside": len(small),
                "num_models_held_out": len(large),
                "spearman_inside": inside,
                "spearman_held_out": held_out,
            }
        )
    members = set(chosen.tolist())
    return rows, [
        about
        | {
            "item": item,
            "correlation": None if np.isneginf(correlation[i]) else float(correlation[i]),
            "chosen": i in members,
        }
        for i, item in enumerate(scores.items)
    ]


def _mean(values: np.ndarray) -> float | None:
    """The mean of those that are defined."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else None
