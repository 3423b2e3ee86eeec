"""Which items will be right: probabilities of single items, simple rivals of them, and how far they can be relied on.

Rivals know the checkpoints learnt from, in ascending compute: ``last``, right or wrong under the last one; ``last3``,
the share of the last three that are right; ``p_choices``, the right choice's share under the last one; ``transitions``,
how often items in the state of the last but one (right or wrong) were right under the last one, with one added to each
count.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl

from elusive.forecast.backtests import PROTOCOLS, Judged
from elusive.forecast.names import ITEM_METHODS, KRIGING
from elusive.forecast.scores import Scores

BINS = 10


def rivals(training: Scores) -> dict[str, np.ndarray]:
    """P(right) of every item [items] by each rival of the method."""
    seen = training.of_checkpoints(np.arange(max(len(training.flops) - 3, 0), len(training.flops))).metrics()
    right, p_choices = seen["accuracy"], seen["p_choices_correct"]
    before, now = right[max(len(right) - 2, 0)], right[-1]
    stays = {state: (now[before == state].sum() + 1) / ((before == state).sum() + 2) for state in (0.0, 1.0)}
    return {
        "last": now,
        "last3": right.mean(axis=0),
        "p_choices": p_choices[-1],
        "transitions": np.where(now == 1, stays[1.0], stays[0.0]),
    }


def reliability(judged: Judged) -> list[dict[str, Any]]:
    """Sums over items and targets of one origin by method and bin of P(right), a row each; none without a law.

    Columns: ``protocol``, ``method``, ``bin`` (from 0, tenths of P(right); 1 is in the last), ``num_items``,
    ``forecast``, ``observed`` and ``brier`` (all three sums over the items of the bin).
    """
    if not judged.items:
        return []
    observed = judged.observed.metrics()["accuracy"]
    others = rivals(judged.training)
    rows = []
    for method in ITEM_METHODS:
        for i, forecast in enumerate(judged.items):
            p_right = forecast.p_right if method == KRIGING else others[method]
            place = np.minimum((p_right * BINS + 1e-9).astype(int), BINS - 1)
            for number in np.unique(place):
                own = place == number
                rows.append(
                    {
                        "protocol": judged.origin.protocol,
                        "method": method,
                        "bin": int(number),
                        "num_items": int(own.sum()),
                        "forecast": float(p_right[own].sum()),
                        "observed": float(observed[i][own].sum()),
                        "brier": float(((p_right[own] - observed[i][own]) ** 2).sum()),
                    }
                )
    return rows


def reliability_table(rows: Iterable[dict[str, Any]]) -> pl.DataFrame:
    """Means of the sums that :func:`reliability` gives, by family, benchmark, protocol, method and bin."""
    schema = {"family": pl.String, "benchmark": pl.String, "protocol": pl.String, "method": pl.String, "bin": pl.Int32}
    schema |= {"num_items": pl.Int64, "forecast": pl.Float64, "observed": pl.Float64, "brier": pl.Float64}
    table = pl.DataFrame(list(rows), schema=schema)
    keys = ["family", "benchmark", "protocol", "method", "bin"]
    sums = table.group_by(keys, maintain_order=True).agg(pl.col(name).sum() for name in list(schema)[5:])
    means = sums.with_columns(pl.col(name) / pl.col("num_items") for name in ("forecast", "observed", "brier"))
    ranks = [
        pl.col(column).replace_strict({name: i for i, name in enumerate(order)}, return_dtype=pl.Int32)
        for column, order in (("protocol", PROTOCOLS), ("method", ITEM_METHODS))
    ]
    return means.sort("family", "benchmark", *ranks, "bin")
