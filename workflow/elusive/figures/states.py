"""Whether a mean correlation says anything, and in which order benchmarks stand: the same in figures and report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

#: States of a score on a benchmark: above what shuffled compute gives, within it, below it, or not to be told.
FOLLOWS, CHANCE, FALLS, UNKNOWN = "follows", "chance", "falls", "unknown"


def judge(above: Any, below: Any) -> str:
    """The state of a mean that lies ``above`` or ``below`` the band of shuffled compute; None: there is no band."""
    if above is None or below is None or pd.isna(above) or pd.isna(below):
        return UNKNOWN
    return FOLLOWS if above else FALLS if below else CHANCE


def kept(states: Sequence[str]) -> int:
    """How many scores from the chain's start follow compute, one after the other."""
    for position, state in enumerate(states):
        if state != FOLLOWS:
            return position
    return len(states)


def place(states: Sequence[str], means: Sequence[float | None]) -> tuple[int, float]:
    """What benchmarks are sorted by, that on which most is kept first.

    By how many scores from the chain's start follow compute, then by the mean correlation of the last one that does (of
    the first, where none does).
    """
    count = kept(states)
    last = means[max(count - 1, 0)]
    return -count, -(last if last is not None else -2.0)
