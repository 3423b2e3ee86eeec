"""What steps of the chain do to the mean correlation over benchmarks, with intervals, from the table attribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from elusive.figures.data import Benchmark

#: Changes of a mean correlation below this one round to nothing.
LEAST = 0.005


@dataclass(frozen=True)
class Change:
    """A loss of correlation and its 95 % interval, whose ends are NaN where there is none."""

    drop: float
    low: float
    high: float

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return not np.isnan(self.low + self.high)

    @property
    def sign(self) -> int:
        """1 for a loss and -1 for a gain beyond the interval, else 0."""
        return int(self.known and self.low > 0) - int(self.known and self.high < 0)


def down_to_accuracy(
    attribution: pd.DataFrame, benchmarks: Sequence[Benchmark], family: str, method: str
) -> pd.DataFrame:
    """The rows of a family's steps to accuracy by one method, exponentiating first, undefined correlations as 0."""
    return attribution[
        (attribution["family"] == family)
        & (attribution["method"] == method)
        & (attribution["score"] == "accuracy")
        & (attribution["order"] == "exponentiate_first")
        & (attribution["nan_policy"] == "zero")
        & attribution["benchmark"].isin([b.name for b in benchmarks])
    ]


def mean_drops(
    attribution: pd.DataFrame, benchmarks: Sequence[Benchmark], family: str, method: str
) -> dict[str, Change]:
    """What each step loses on average over the benchmarks; a step without a number on every one of them is missing.

    Other items of one benchmark are drawn apart from those of another: the mean's interval reaches the root of the
    summed squares of theirs, over their number.
    """
    rows = down_to_accuracy(attribution, benchmarks, family, method)
    found = {}
    for step, own in rows.groupby("step"):
        drops, low, high = (own[name].to_numpy(float) for name in ("drop", "drop_low", "drop_high"))
        if len(drops) == len(benchmarks) and not np.isnan(drops).any():
            mean = float(drops.mean())
            reach = [float(np.sqrt(((end - drops) ** 2).sum())) / len(drops) for end in (low, high)]
            found[str(step)] = Change(mean, mean - reach[0], mean + reach[1])
    return found
