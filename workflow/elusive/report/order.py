"""Whether a benchmark's scores are in the paper's order: log p_vocab ≥ p_vocab > p_choices ≥ −Brier > accuracy.

Two neighbours are compared by the interval of the mean difference of their items' correlations (table attribution,
undefined ones as 0), −Brier and accuracy by the intervals of their two means. A tie supports nothing: the order is
there where log p_vocab follows compute, both of its falls (to p_choices, and to accuracy) are beyond the intervals, and
nothing rises beyond them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from elusive.figures.data import Benchmark
from elusive.figures.style import format_number, metrics_seen_by
from elusive.report.sentences import MOST, on

METHODS = ("spearman", "pearson")
_MARKS = {"there": ("✓", "yes"), "against": ("✗", "no"), "open": ("?", "open")}


@dataclass(frozen=True)
class Order:
    """What is found on one benchmark by one method: ``verdict`` is ``there``, ``against`` or ``open``."""

    verdict: str
    text: str

    @property
    def mark(self) -> str:
        """A tick, a cross or a question mark."""
        return _MARKS[self.verdict][0]

    @property
    def mark_class(self) -> str:
        """Class of the mark in the page."""
        return _MARKS[self.verdict][1]


def sign(low: float | None, high: float | None) -> str:
    """``>`` for a difference above 0 by its interval, ``<`` for one below, ``≈`` for neither, ``·`` without one."""
    if low is None or high is None or pd.isna(low) or pd.isna(high):
        return "·"
    return ">" if low > 0 else "<" if high < 0 else "≈"


def find_order(attribution: pd.DataFrame, headline: pd.DataFrame, method: str, follows: bool) -> Order:
    """The order on one benchmark: both tables hold the rows of one family on it, undefined counted as 0.

    ``follows``: whether log p_vocab follows compute there. Where it does not, there is nothing to be in order.
    """
    rows = attribution[
        (attribution["method"] == method)
        & (attribution["order"] == "exponentiate_first")
        & (attribution["nan_policy"] == "zero")
    ].set_index(["score", "step"])
    means = headline[headline["method"] == method].set_index("metric")
    seen = list(metrics_seen_by(method))
    missing = [m.plain for m in seen if m.column not in means.index or pd.isna(means.at[m.column, "mean"])]
    if missing:
        return Order("open", f"{method.capitalize()}: nothing is known of {missing[0]}.")

    def step(score: str, name: str) -> str:
        if (score, name) not in rows.index:
            return "·"
        return sign(rows.at[(score, name), "drop_low"], rows.at[(score, name), "drop_high"])

    brier, accuracy = means.loc["brier"], means.loc["accuracy"]
    last = sign(brier["mean_low"] - accuracy["mean_high"], brier["mean_high"] - accuracy["mean_low"])
    signs = ([step("accuracy", "exponentiate")] if method == "pearson" else []) + [
        step("accuracy", "renormalise"),
        step("brier", "square"),
        last,
    ]
    text = format_number(means.at[seen[0].column, "mean"])
    for relation, metric in zip(signs, seen[1:], strict=True):
        text += f" {relation} {format_number(means.at[metric.column, 'mean'])}"
    # An accuracy without a correlation counts as 0, which is no fall of the items that have one.
    defined = means.at["accuracy", "nan_fraction"] <= MOST
    # Accuracy lies beyond doubt below what it is compared with: −Brier, or p_choices, whose difference is of the items.
    threshold = step("accuracy", "threshold")
    falls = signs[-3] == ">" and defined and ">" in (last, threshold)
    rises = "<" in (*signs, threshold)
    verdict = "open" if not follows else "against" if rises else "there" if falls else "open"
    return Order(verdict, f"{method.capitalize()} {text}")


def summary(orders: Sequence[tuple[Benchmark, Sequence[Order]]], conclusive: bool) -> str:
    """On how many benchmarks the order is there, and on how many something is against it, by each method.

    ``conclusive``: whether the family has enough checkpoints for any score to be told from chance.
    """
    if not conclusive:
        return "There are too few checkpoints to tell: any order could come by chance."
    total = len(orders)
    parts = []
    for position, method in enumerate(METHODS):
        there = [b for b, found in orders if found[position].verdict == "there"]
        against = [b for b, found in orders if found[position].verdict == "against"]
        parts.append(
            f"By {method.capitalize()} it is there {on(there, total)}; something is against it {on(against, total)}."
        )
    return " ".join(parts)
