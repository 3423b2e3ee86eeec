"""Aggregate scores: means over a benchmark's items under every checkpoint, and how well those follow compute.

``means`` has the mean of each metric over the items, with its standard error for drawing other items (those of one
text, or one subject, together: the sandwich estimate over clusters).

``aggregates`` says of one family × benchmark × metric, over the family's checkpoints in order of compute:

- ``pearson``, ``spearman``: correlation of the mean with log10 FLOPs (losses negated);
- ``range``: largest minus smallest mean;
- ``noise``: standard deviation of the means around a smooth curve of log10 FLOPs, from differences of neighbours alone:
  the square root of the mean of c_i² e_i², where e_i is the distance of a mean from the straight line through its two
  neighbours and c_i² = 1 / (a_i² + b_i² + 1) with the line's weights a_i, b_i (Gasser, Sroka and Jennen-Steinmetz 1986,
  Biometrika 73). What differs between models of one compute counts as noise;
- ``item_noise``: median of the means' standard errors, the part of the noise that more items would remove;
- ``signal``: standard deviation of the means beyond that noise, sqrt(max(variance - noise², 0)): means that scatter
  about a constant have next to none, however far apart the largest and the smallest are;
- ``signal_to_noise``: signal / noise.

Checkpoints with no FLOPs are left out. A quantity that needs more checkpoints than there are, or divides by zero, is
null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from scipy import stats

from elusive import logs
from elusive.analysis.correlations import LOSSES, checkpoint_blocks
from elusive.analysis.metrics import FilePath, Member, measured, present
from elusive.analysis.statistics import drawing_units
from elusive.errors import ElusiveError
from elusive.tables import SCHEMAS, read_metadata, read_table, write_csv, write_table

logger = logs.get(__name__)


def standard_errors(values: np.ndarray, units: np.ndarray | None) -> np.ndarray:
    """Standard error of the mean of each row of ``values`` [checkpoints, items]: float64 [checkpoints].

    ``units`` [items] holds numbers that are equal for items drawn together, or None. NaN for a single unit.
    """
    residual = values - values.mean(axis=1, keepdims=True)
    if units is not None:
        order = np.argsort(units, kind="stable")
        starts = np.flatnonzero(np.diff(units[order], prepend=units[order][0] - 1))
        residual = np.add.reduceat(residual[:, order], starts, axis=1)
    count = residual.shape[1]
    if count < 2:
        return np.full(len(values), np.nan)
    return np.sqrt((residual**2).sum(axis=1) * count / (count - 1)) / values.shape[1]


def difference_noise(x: np.ndarray, y: np.ndarray) -> float | None:
    """Standard deviation of ``y`` around a smooth curve of ``x``, both [models]; None for fewer than three models."""
    order = np.lexsort((y, x))
    x, y = x[order], y[order]
    if len(x) < 3:
        return None
    span = x[2:] - x[:-2]
    with np.errstate(divide="ignore", invalid="ignore"):
        before = np.where(span > 0, (x[2:] - x[1:-1]) / span, 0.5)
    after = 1 - before
    distance = before * y[:-2] + after * y[2:] - y[1:-1]
    return float(np.sqrt((distance**2 / (before**2 + after**2 + 1)).mean()))


def family_aggregates(flops: np.ndarray, means: np.ndarray, errors: np.ndarray, sign: int) -> dict[str, float | None]:
    """Numbers of the ``aggregates`` table for one metric: ``means`` and ``errors`` are [models], ``flops`` positive."""
    x, y = np.log10(flops), sign * means
    result: dict[str, float | None] = dict.fromkeys(
        ("pearson", "spearman", "range", "noise", "signal", "signal_to_noise")
    )
    known = np.isfinite(y)
    errors = errors[known & np.isfinite(errors)]
    x, y = x[known], y[known]
    if len(y):
        result["range"] = float(np.ptp(y))
    if len(y) > 1 and np.ptp(x) > 0 and np.ptp(y) > 0:
        result["pearson"] = float(stats.pearsonr(x, y).statistic)
        result["spearman"] = float(stats.spearmanr(x, y).statistic)
    result["noise"] = difference_noise(x, y)
    if result["noise"] is not None:
        result["signal"] = float(np.sqrt(max(y.var(ddof=1) - result["noise"] ** 2, 0.0)))
    if result["noise"]:
        result["signal_to_noise"] = result["signal"] / result["noise"]
    result["item_noise"] = float(np.median(errors)) if len(errors) else None
    return result


def checkpoint_means(table: pa.Table, path: FilePath, items: FilePath | None) -> pl.DataFrame:
    """The ``means`` rows of a metrics table; ``path`` names it in messages, ``items`` is the items table."""
    checkpoints, first = checkpoint_blocks(table, path)
    units = drawing_units(pl.from_arrow(first.select(["item", "subject"])), items)
    about = pl.from_arrow(checkpoints.select(["model", "checkpoint", "parameters", "tokens", "flops", "benchmark"]))
    frames = []
    for metric in measured(table):
        values = table[metric].to_numpy().reshape(len(checkpoints), len(first))
        frames.append(
            about.with_columns(
                pl.lit(metric).alias("metric"),
                pl.lit(len(first), pl.Int32).alias("num_items"),
                pl.Series("mean", values.mean(axis=1)),
                pl.Series("se", standard_errors(values, units)).fill_nan(None),
            )
        )
    return pl.concat(frames)


def write_aggregates(
    *,
    metrics: Sequence[FilePath],
    items: Sequence[FilePath],
    families: Mapping[str, Sequence[Member]],
    means_parquet: FilePath,
    means_csv: FilePath,
    aggregates_parquet: FilePath,
    aggregates_csv: FilePath,
) -> None:
    """Write the tables ``means`` and ``aggregates`` as Parquet and CSV.

    ``metrics`` holds the metrics tables of all families and benchmarks in any order, ``items`` the benchmarks' items
    tables, ``families`` the members of each family. ``means`` is sorted by benchmark, metric (in the metrics' order),
    flops, model and checkpoint; ``aggregates`` by family, benchmark and metric.
    """
    about = {read_metadata(path)["benchmark"]: path for path in items}
    found: dict[tuple[str, str, str], pl.DataFrame] = {}
    for path in metrics:
        table = read_table(path, "metrics")
        benchmark = table["benchmark"][0].as_py()
        for key, rows in (
            checkpoint_means(table, path, about.get(benchmark))
            .partition_by("benchmark", "model", "checkpoint", as_dict=True, maintain_order=True)
            .items()
        ):
            if not found.setdefault(key, rows).equals(rows):
                raise ElusiveError(f"{path}: {'/'.join(key[1:])} has other scores on {key[0]} than in another file")
    if not found:
        raise ElusiveError(f"{means_parquet}: there are no metrics to average")
    names = present(name for rows in found.values() for name in rows["metric"])
    order = {name: number for number, name in enumerate(names)}
    means = pl.concat(found.values()).sort(
        "benchmark", pl.col("metric").replace_strict(order), "flops", "model", "checkpoint"
    )
    _write(means.to_arrow(), "means", means_parquet, means_csv)

    groups = {
        key: {(row["model"], row["checkpoint"]): row for row in rows.iter_rows(named=True)}
        for key, rows in means.partition_by("benchmark", "metric", as_dict=True, maintain_order=True).items()
    }
    result: list[dict[str, Any]] = []
    for family in sorted(families):
        members = [member for member in families[family] if member["flops"] > 0]
        flops = np.array([member["flops"] for member in members], float)
        for (benchmark, metric), rows in groups.items():
            own = [rows[member["model"], member["checkpoint"]] for member in members]
            values = np.array([row["mean"] for row in own])
            errors = np.array([np.nan if row["se"] is None else row["se"] for row in own])
            key = {"family": family, "benchmark": benchmark, "metric": metric, "num_models": len(own)}
            key["num_items"] = own[0]["num_items"] if own else 0
            result.append(key | family_aggregates(flops, values, errors, -1 if metric in LOSSES else 1))
    _write(pa.Table.from_pylist(result, SCHEMAS["aggregates"]), "aggregates", aggregates_parquet, aggregates_csv)
    logger.info("aggregates: %d means, %d families × benchmarks × metrics", len(means), len(result))


def _write(table: pa.Table, name: str, parquet: FilePath, csv: FilePath) -> None:
    write_table(table, parquet, name)
    write_csv(read_table(parquet, name), csv)
