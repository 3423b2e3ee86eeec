"""Errors of backtests, averaged over targets, then origins, then benchmarks, with what another set of these would say.

The error of a cell (family, benchmark, protocol, bin, metric, method) is the mean over an origin's targets, then over
origins. What is said of all benchmarks is the mean of their cells. Rows of one run depend on each other: uncertainty
comes from drawing benchmarks again, the clusters, and there is none for a single benchmark. Whole benchmarks count;
subjects have rows of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl

from elusive.forecast.backtests import LEVELS, PROTOCOLS
from elusive.forecast.margins import seed_of
from elusive.forecast.methods import METHODS
from elusive.forecast.names import BINS, KRIGING, MOVING
from elusive.forecast.scores import METRICS

RESAMPLES = 4000
_CELL = ["family", "benchmark", "subject", "protocol", "bin", "metric", "method"]
_MEASURES = ["mae", "bias", "crps", "crps_km", *(f"coverage{level}" for level in LEVELS)]
_MEASURES += ["coverage80_inflated", "width80"]


def judged(rows: pl.DataFrame) -> pl.DataFrame:
    """``rows`` of the table ``backtests`` with what each says of its method: error, coverage of intervals, width.

    ``crps_km`` is the recommended method's CRPS of the same forecast, where the method has one: others lack it at the
    first origins, which are not the easiest.
    """
    observed, forecast, factor = pl.col("observed"), pl.col("forecast"), pl.col("inflation").fill_null(1.0)
    inside = [
        observed.is_between(pl.col(f"low{level}"), pl.col(f"high{level}")).cast(pl.Float64).alias(f"coverage{level}")
        for level in LEVELS
    ]
    wide = [
        observed.is_between(
            forecast + factor * (pl.col(f"low{level}") - forecast),
            forecast + factor * (pl.col(f"high{level}") - forecast),
        )
        .cast(pl.Float64)
        .alias(f"coverage{level}_inflated")
        for level in LEVELS
    ]
    target = ["family", "benchmark", "subject", "protocol", "origin", "num_models", "model", "checkpoint", "metric"]
    recommended = rows.filter(pl.col("method") == KRIGING).select(*target, pl.col("crps").alias("crps_km"))
    rows = rows.join(recommended, on=target, how="left", nulls_equal=True, maintain_order="left")
    return rows.with_columns(
        pl.when(pl.col("crps").is_not_null()).then("crps_km").alias("crps_km"),
        (forecast - observed).abs().alias("mae"),
        (forecast - observed).alias("bias"),
        (pl.col("high80") - pl.col("low80")).alias("width80"),
        *inside,
        *wide,
    )


def cells(rows: pl.DataFrame) -> pl.DataFrame:
    """A row per cell, ``bin`` null for all horizons: means over targets, then origins, and the numbers of both."""
    known = judged(rows)
    whole = pl.concat([known.filter(pl.col("bin").is_not_null()), known.with_columns(bin=pl.lit(None, pl.String))])
    origins = whole.group_by([*_CELL, "origin", "num_models"], maintain_order=True).agg(
        pl.len().alias("num_targets"), *[pl.col(name).mean() for name in _MEASURES]
    )
    return origins.group_by(_CELL, maintain_order=True).agg(
        pl.len().cast(pl.Int32).alias("num_origins"),
        pl.col("num_targets").sum().cast(pl.Int32),
        *[pl.col(name).mean() for name in _MEASURES],
    )


def summarise(rows: pl.DataFrame) -> pl.DataFrame:
    """The table ``backtest_summary`` of ``rows``, the table ``backtests`` of all families and benchmarks."""
    found = cells(rows)
    result: list[dict[str, Any]] = []
    for part in found.partition_by(["family", "protocol", "bin", "metric"], maintain_order=True):
        singles = {}
        for row in part.iter_rows(named=True):
            singles.setdefault((row["benchmark"], row["subject"]), {})[row["method"]] = row
        for methods in singles.values():
            for row in methods.values():
                result.append(row | _single(row, methods))
        whole = {benchmark: methods for (benchmark, subject), methods in singles.items() if subject is None}
        result += _over_benchmarks(whole)
    return sorted_summary(pl.DataFrame(result, infer_schema_length=None))


def _single(row: dict[str, Any], methods: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What one benchmark's row says besides its means: differences, without an interval."""
    return {
        "skill": _skill(row["mae"], methods["last"]["mae"]),
        "skill_low": None,
        "skill_high": None,
        **_difference("last", row["mae"] - methods["last"]["mae"], None),
        **_difference("power", _against(row, methods.get("power_error")), None),
        "wins": None,
        "num_clusters": 1,
    }


def _against(row: dict[str, Any], other: dict[str, Any] | None) -> float | None:
    return None if other is None else row["mae"] - other["mae"]


def _difference(name: str, value: float | None, ends: np.ndarray | None) -> dict[str, float | None]:
    low, high = (None, None) if ends is None else (float(ends[0]), float(ends[1]))
    return {f"minus_{name}": value, f"minus_{name}_low": low, f"minus_{name}_high": high}


def _skill(error: float, last: float) -> float | None:
    return None if not last > 0 else 1 - error / last


def _over_benchmarks(whole: dict[str, dict[str, dict[str, Any]]]) -> Iterable[dict[str, Any]]:
    """Rows of one family, protocol, bin and metric over all benchmarks, one a method."""
    names = sorted(whole)
    some = whole[names[0]]
    about = {key: some["last"][key] for key in ("family", "protocol", "bin", "metric")}
    generator = np.random.default_rng(seed_of("backtest_summary", *about.values()))
    drawn = generator.integers(0, len(names), (RESAMPLES, len(names)))
    errors = {method: np.array([whole[name][method]["mae"] for name in names]) for method in some}
    for method, own in errors.items():
        row = about | {"benchmark": None, "subject": None, "method": method, "num_clusters": len(names)}
        for column in ("num_origins", "num_targets"):
            row[column] = sum(whole[name][method][column] for name in names)
        for column in _MEASURES:
            values = [whole[name][method][column] for name in names]
            row[column] = None if any(value is None for value in values) else float(np.mean(values))
        last = errors["last"]
        row["skill"] = _skill(own.mean(), last.mean())
        with np.errstate(divide="ignore", invalid="ignore"):
            skills = 1 - own[drawn].mean(axis=1) / last[drawn].mean(axis=1)
        several = len(names) > 1
        ends = np.quantile(skills, [0.025, 0.975]) if several and np.isfinite(skills).all() else (None, None)
        row["skill_low"], row["skill_high"] = (None if end is None else float(end) for end in ends)
        row["wins"] = int((own < last).sum())
        for label, other in (("last", last), ("power", errors.get("power_error"))):
            difference = None if other is None else own - other
            value = None if difference is None else float(difference.mean())
            known = several and difference is not None
            interval = np.quantile(difference[drawn].mean(axis=1), [0.025, 0.975]) if known else None
            row |= _difference(label, value, interval)
        yield row


def sorted_summary(table: pl.DataFrame) -> pl.DataFrame:
    """Rows in the table's order: family, benchmark (all first), subject, protocol, bin (all first), metric, method."""
    ranks = {"protocol": PROTOCOLS, "bin": tuple(BINS), "metric": tuple(METRICS), "method": tuple(METHODS)}
    keys: list[pl.Expr] = [pl.col("family"), pl.col("benchmark"), pl.col("subject")]
    for column, order in ranks.items():
        rank = {name: number for number, name in enumerate(order)}
        keys.append(pl.col(column).replace_strict(rank, default=-1, return_dtype=pl.Int32))
    return table.sort(keys, nulls_last=False)


def coverage(rows: pl.DataFrame) -> pl.DataFrame:
    """The table ``backtest_coverage``: how often intervals held what came, by level, for still and moving origins.

    ``group`` is all, still (movement below 5 at the origin) or moving. Means over rows; whole benchmarks only.
    """
    known = judged(rows).filter(pl.col("subject").is_null() & pl.col("low80").is_not_null())
    moving = pl.col("movement") >= MOVING
    parts = []
    for group, chosen in (("all", known), ("still", known.filter(~moving)), ("moving", known.filter(moving))):
        for bins in (pl.col("bin"), pl.lit(None, pl.String)):
            own = chosen.with_columns(bin=bins)
            for level in LEVELS:
                keys = ["family", "protocol", "bin", "metric", "method"]
                parts.append(
                    own.group_by(keys, maintain_order=True)
                    .agg(
                        pl.len().cast(pl.Int32).alias("num_targets"),
                        pl.col("benchmark").n_unique().cast(pl.Int32).alias("num_clusters"),
                        pl.col(f"coverage{level}").mean().alias("coverage"),
                        pl.col(f"coverage{level}_inflated").mean().alias("coverage_inflated"),
                    )
                    .with_columns(group=pl.lit(group), level=pl.lit(level / 100))
                )
    table = pl.concat(parts)
    ranks = {"protocol": PROTOCOLS, "bin": tuple(BINS), "metric": tuple(METRICS), "method": tuple(METHODS)}
    keys = [
        pl.col(column).replace_strict(
            {name: number for number, name in enumerate(order)}, default=-1, return_dtype=pl.Int32
        )
        for column, order in ranks.items()
    ]
    groups = pl.col("group").replace_strict({"all": 0, "still": 1, "moving": 2}, return_dtype=pl.Int32)
    return table.sort(["family", *keys, groups, "level"])
