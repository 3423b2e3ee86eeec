"""How far a quantity spreads where another is given."""

from __future__ import annotations

import numpy as np
import polars as pl


def spread_at_fixed_mass(mass: np.ndarray, values: np.ndarray) -> float:
    """Width between the 5 % and 95 % quantiles of ``values`` at a given ``mass``, a log10 of a probability.

    The median, weighted by the number of pairs, over bins of ``mass`` one decade wide. Both arrays are [pairs].
    """
    bins = (
        pl.DataFrame({"bin": np.floor(mass), "value": values})
        .group_by("bin")
        .agg(
            (pl.col("value").quantile(0.95, "linear") - pl.col("value").quantile(0.05, "linear")).alias("width"),
            pl.len(),
        )
        .sort("width", "bin")
    )
    weights = bins["len"].cum_sum().to_numpy()
    return float(bins["width"][int(np.searchsorted(weights, weights[-1] / 2))])
