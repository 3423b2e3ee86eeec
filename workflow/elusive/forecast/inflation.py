"""Intervals from earlier errors: how far to widen those of draws, and some for methods that have none.

At an origin, only errors count whose targets belong to what may be learnt from there, of the same protocol, family,
metric and method, on all whole benchmarks: in R, targets at or below the origin's compute; in S, targets of smaller
models than those forecast; in T, checkpoints before those forecast. There must be thirty of them.

- With draws: z = |observed - forecast| / sd, the factor is q80(z) / 1.2816 within [1, 5], 1 with fewer errors, and
  widens an interval around the forecast.
- Without: z = |observed - forecast| / sqrt(h + 0.1) at horizon h, and the forecast's error is taken to be normal with
  standard deviation q80(z) / 1.2816 * sqrt(h + 0.1). With fewer errors there is no interval.

q80 is the value of rank ceil(0.8 (n + 1)) of n, the quantile that a new value lies below with a probability of 0.8.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import polars as pl
from scipy import special

from elusive.forecast.backtests import LEVELS

LEAST_ERRORS = 30
_LEVEL, _NORMAL = 0.8, 1.2816
_MOST = 5.0
_BASE = 0.1
_SAME = 1e-9


def quantile80(values: np.ndarray) -> float:
    """The value of rank ceil(0.8 (n + 1)); infinite where there are too few for that rank."""
    rank = math.ceil(_LEVEL * (len(values) + 1))
    return float(np.sort(values)[rank - 1]) if rank <= len(values) else math.inf


def factor_of(errors: np.ndarray, spreads: np.ndarray) -> tuple[float, int]:
    """How far to widen intervals of draws, and from how many errors; a forecast without spread counts if it was wrong.

    ``errors`` and ``spreads`` [errors] are those of earlier forecasts.
    """
    known = np.isfinite(spreads) & ((spreads > 0) | (errors != 0))
    with np.errstate(divide="ignore"):
        z = np.abs(errors[known]) / spreads[known]
    if len(z) < LEAST_ERRORS:
        return 1.0, len(z)
    return float(np.clip(quantile80(z) / _NORMAL, 1.0, _MOST)), len(z)


def scale_of(errors: np.ndarray, horizons: np.ndarray) -> tuple[float | None, int]:
    """The standard deviation of errors at horizon h in units of sqrt(h + 0.1), and from how many errors, if enough."""
    if len(errors) < LEAST_ERRORS:
        return None, len(errors)
    return quantile80(np.abs(errors) / spread_at(horizons)) / _NORMAL, len(errors)


def spread_at(horizon: np.ndarray) -> np.ndarray:
    """sqrt(h + 0.1), with horizons below 0 taken as 0."""
    return np.sqrt(np.maximum(horizon, 0.0) + _BASE)


def normal_interval(forecast: float, sd: float, observed: float | None = None) -> dict[str, float]:
    """Ends of the intervals of a normal forecast, with its CRPS and PIT where ``observed`` is given.

    CRPS of a normal: sd (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi)), z = (observed - forecast) / sd.
    """
    found = {"sd": sd}
    for level, (low, high) in LEVELS.items():
        found[f"low{level}"] = forecast + sd * float(special.ndtri(low))
        found[f"high{level}"] = forecast + sd * float(special.ndtri(high))
    if observed is None:
        return found
    if not sd > 0:
        below = 0.5 if observed == forecast else float(observed > forecast)
        return found | {"crps": abs(observed - forecast), "pit": below}
    z = (observed - forecast) / sd
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    below = float(special.ndtr(z))
    return found | {"crps": sd * (z * (2 * below - 1) + 2 * density - 1 / math.sqrt(math.pi)), "pit": below}


def widened(row: Mapping[str, float], factor: float) -> dict[str, float]:
    """The ends of the intervals of ``row``, ``factor`` times as far from its forecast."""
    names = [f"{end}{level}" for level in LEVELS for end in ("low", "high")]
    return {name: row["forecast"] + factor * (row[name] - row["forecast"]) for name in names}


def with_intervals(rows: pl.DataFrame) -> pl.DataFrame:
    """``rows``, the rows of all benchmarks' backtests, with ``interval``, ``inflation`` and ``num_inflation``.

    ``interval`` says where the interval comes from: draws, errors (earlier ones) or none; ``inflation`` is the factor
    for draws, null for others; ``num_inflation`` the number of errors that either rests on. Rows keep their order.
    """
    keys = ["family", "protocol", "metric", "method"]
    parts = [_group(part) for part in rows.with_row_index("_row").partition_by(keys, maintain_order=True)]
    return pl.concat(parts).with_columns(pl.col(*_NUMBERS, "inflation").fill_nan(None)).sort("_row").drop("_row")


#: Columns that an interval from earlier errors fills.
_NUMBERS = ("sd", "crps", "pit", *(f"{end}{level}" for level in LEVELS for end in ("low", "high")))


def _group(rows: pl.DataFrame) -> pl.DataFrame:
    """:func:`with_intervals` of one family, protocol, metric and method; NaN where there is no number."""
    protocol = rows["protocol"][0]
    name = {"R": "flops", "S": "parameters", "T": "tokens"}[protocol]
    place = np.log10(rows[name].to_numpy().astype(float))
    whole = rows["subject"].is_null().to_numpy()
    errors = (rows["observed"] - rows["forecast"]).to_numpy()
    horizons, spreads = rows["horizon"].to_numpy(), rows["sd"].cast(pl.Float64).to_numpy()
    drawn = rows["sd"].is_not_null().to_numpy()
    origin, models = rows["origin"].to_numpy(), rows["num_models"].to_numpy()
    added: dict[str, np.ndarray] = {
        "interval": np.where(drawn, "draws", "none").astype(object),
        "inflation": np.where(drawn, 1.0, np.nan),
        "num_inflation": np.zeros(len(rows), dtype=np.int32),
    }
    forecasts = rows["forecast"].to_numpy()
    values = {name: rows[name].cast(pl.Float64).to_numpy().copy() for name in _NUMBERS}
    method_draws = bool(drawn.any())
    for count, compute in dict.fromkeys(zip(models.tolist(), origin.tolist(), strict=True)):
        own = np.flatnonzero((models == count) & (origin == compute))
        limit = compute + _SAME if protocol == "R" else place[own].min() - _SAME
        before = whole & (place <= limit)
        if method_draws:
            before &= drawn
            factor, known = factor_of(errors[before], spreads[before])
            added["inflation"][own[drawn[own]]] = factor
            added["num_inflation"][own] = known
            continue
        scale, known = scale_of(errors[before], horizons[before])
        added["num_inflation"][own] = known
        if scale is None:
            continue
        added["interval"][own] = "errors"
        for i in own:
            value = float(forecasts[i])
            found = normal_interval(value, scale * float(spread_at(horizons[i])), value + float(errors[i]))
            for name in _NUMBERS:
                values[name][i] = found[name]
    return rows.with_columns(
        *[pl.Series(name, array) for name, array in values.items()],
        pl.Series("interval", added["interval"].tolist(), pl.String),
        pl.Series("inflation", added["inflation"]),
        pl.Series("num_inflation", added["num_inflation"]),
    )
