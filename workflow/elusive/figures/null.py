"""What chance alone gives: reference curves of the figures, from the tables null_bands and null_curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from elusive.figures import style
from elusive.figures.data import PathLike, read_frame

_BANDS = ["family", "benchmark", "method", "num_models", "fraction_above_075"]
_CURVES = ["family", "method", "correlation", "survival", "is_step"]


@dataclass(frozen=True)
class Chance:
    """Rows of the table null_bands on one benchmark, and of null_curves, of the families of a figure."""

    bands: pd.DataFrame
    curves: pd.DataFrame


def read_chance(bands: PathLike, curves: PathLike, benchmark: str, families: Mapping[str, str]) -> Chance:
    """What the tables null_bands and null_curves say of ``benchmark`` and ``families``."""
    found, lines = read_frame(bands, "null_bands", _BANDS), read_frame(curves, "null_curves", _CURVES)
    own = found[(found["benchmark"] == benchmark) & found["family"].isin(families)]
    return Chance(own, lines[lines["family"].isin(families)])


def null_curve(chance: Chance, family: str, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the survival curve of one item's correlation under the null, from (−1, 1) to (1, 0).

    Straight in between: of a correlation that takes few values the corners of a staircase. Empty where the table has no
    such rows.
    """
    rows = chance.curves[(chance.curves["family"] == family) & (chance.curves["method"] == method)]
    if rows.empty:
        return np.empty(0), np.empty(0)
    x, y = rows["correlation"].to_numpy(dtype=float), rows["survival"].to_numpy(dtype=float)
    if rows["is_step"].iloc[0]:
        x, y = np.repeat(x, 2), np.repeat(np.concatenate([[1.0], y]), 2)[1:-1]
    return np.concatenate([[-1.0], x, [1.0]]), np.concatenate([[1.0], y, [0.0]])


def describe_null(chance: Chance, families: Mapping[str, str], method: str) -> str:
    """Shares above 0.75 by chance, as a phrase: ``5.1 % (“A”) and 2.4 % (“B”)``; empty where too few checkpoints."""
    bands = chance.bands
    rows = bands[bands["method"] == method].set_index("family")["fraction_above_075"]
    shares: dict[str, list[str]] = {}
    for name, label in families.items():
        if name in rows.index:
            shares.setdefault(style.format_share(rows[name], 1), []).append(f"“{label}”")
    return style.join([f"{share} ({', '.join(labels)})" for share, labels in shares.items()]) if shares else ""


def chance_text(chance: Chance, families: Mapping[str, str], methods: Sequence[str]) -> str:
    """What the dotted curves are, and how often each of ``methods`` is then above 0.75."""
    found = {method: describe_null(chance, families, method) for method in methods}
    known = [f"{method.capitalize()}'s for {text}" for method, text in found.items() if text]
    if not known:
        return "The checkpoints are too few for a curve of what chance alone gives."
    return (
        "Dotted: what chance alone gives with as many checkpoints, the distribution of one item's correlation when its "
        f"score has nothing to do with compute; it is above 0.75, {style.join(known)} of such items."
    )
