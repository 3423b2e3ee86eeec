"""What chance alone gives: reference curves of the figures, from the table of null bands."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from elusive.figures import style
from elusive.figures.data import PathLike, read_frame

#: Columns of the table null_bands and the share of correlations above them when scores ignore compute.
QUANTILES = {"q025": 0.975, "q25": 0.75, "median": 0.5, "q75": 0.25, "q975": 0.025}

_COLUMNS = ["family", "benchmark", "method", "num_models", "fraction_above_075", *QUANTILES]


def read_null_bands(path: PathLike, benchmark: str, families: Mapping[str, str]) -> pd.DataFrame:
    """The rows of ``benchmark`` and ``families`` of the table null_bands."""
    frame = read_frame(path, "null_bands", _COLUMNS)
    return frame[(frame["benchmark"] == benchmark) & frame["family"].isin(families)]


def null_curve(bands: pd.DataFrame, family: str, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the survival curve of one item's correlation under the null, through the quantiles of the table.

    From (−1, 1) to (1, 0), straight in between. Empty where the table has no such row.
    """
    rows = bands[(bands["family"] == family) & (bands["method"] == method)]
    if rows.empty:
        return np.empty(0), np.empty(0)
    x = rows.iloc[0][list(QUANTILES)].to_numpy(dtype=float)
    return np.concatenate([[-1.0], x, [1.0]]), np.concatenate([[1.0], list(QUANTILES.values()), [0.0]])


def describe_null(bands: pd.DataFrame, families: Mapping[str, str], method: str) -> str:
    """Shares above 0.75 by chance, as a phrase: ``5.1 % (“A”) and 2.4 % (“B”)``."""
    rows = bands[bands["method"] == method].set_index("family")["fraction_above_075"]
    shares: dict[str, list[str]] = {}
    for name, label in families.items():
        if name in rows.index:
            shares.setdefault(style.format_share(rows[name], 1), []).append(f"“{label}”")
    return style.join([f"{share} ({', '.join(labels)})" for share, labels in shares.items()])
