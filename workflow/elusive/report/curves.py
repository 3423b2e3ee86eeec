"""The distribution over items of the correlations, as quantiles for the page's chart.

Of each metric of the chain under each method (ranks do not tell p_vocab from log p_vocab, which is left out there):
:data:`LEVELS` quantiles of the defined correlations of one family on one benchmark, as whole numbers of
1 / :data:`SCALE`. A quantile is the least value that at least this share of the items does not exceed, so that steps of
the distribution stay steps. Nothing is interpolated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from elusive.analysis.correlations import METHODS
from elusive.analysis.metrics import FilePath
from elusive.tables import read_table

if TYPE_CHECKING:
    import pandas as pd

LEVELS = 201
SCALE = 10_000
CHAIN = ("log_p_vocab_correct", "p_vocab_correct", "p_choices_correct", "brier", "accuracy")

#: The curves in their order: method and metric.
SERIES = tuple(
    (method, metric) for method in METHODS for metric in CHAIN if method == "pearson" or metric != "p_vocab_correct"
)


def quantiles(values: np.ndarray) -> list[int] | None:
    """:data:`LEVELS` quantiles of ``values`` [items] times :data:`SCALE`, NaN left out; None for no items."""
    known = np.sort(values[~np.isnan(values)])
    if not len(known):
        return None
    levels = np.arange(LEVELS)
    # In whole numbers: ceil(level * n / (LEVELS - 1)) - 1 is the place of the least value that is enough.
    places = np.maximum(-(-levels * len(known) // (LEVELS - 1)) - 1, 0)
    return np.round(known[places] * SCALE).astype(int).tolist()


def read_curves(correlations: FilePath) -> dict[str, Any]:
    """What the chart has of the correlations table of one family on one benchmark.

    ``curves``: for each of :data:`SERIES` its quantiles, or None; ``undefined``: for each the number of items without a
    correlation; ``num_items`` and ``num_models``.
    """
    columns = ["item", "metric", "method", "correlation", "num_models"]
    frame = pl.from_arrow(read_table(correlations, "correlations", columns)).filter(pl.col("metric").is_in(CHAIN))
    parts = frame.partition_by("method", "metric", as_dict=True)
    values = {key: part["correlation"].cast(pl.Float64).fill_null(np.nan).to_numpy() for key, part in parts.items()}
    found = [values.get(key, np.empty(0)) for key in SERIES]
    return {
        "curves": [quantiles(column) for column in found],
        "undefined": [int(np.isnan(column).sum()) for column in found],
        "num_items": max((len(column) for column in found), default=0),
        "num_models": int(frame["num_models"][0]) if len(frame) else 0,
    }


def chance_curves(null_curves: pd.DataFrame, family: str) -> dict[str, dict[str, Any]]:
    """P(C > c) of one correlation when scores have nothing to do with compute, by method: from the table null_curves.

    ``c`` ascending and ``above``, both times :data:`SCALE`; ``step``: whether the probability holds up to the next c.
    """
    own = null_curves[null_curves["family"] == family]
    result = {}
    for method, rows in own.groupby("method", sort=False):
        result[str(method)] = {
            "c": [round(value * SCALE) for value in rows["correlation"]],
            "above": [round(value * SCALE) for value in rows["survival"]],
            "step": bool(rows["is_step"].iloc[0]),
        }
    return result
