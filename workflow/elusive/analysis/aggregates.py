"""Aggregate scores: means over a benchmark's items under every checkpoint, and how well those follow compute.

``means`` has the mean of each metric over the items, with its standard error for drawing other items (those of one
text, or one subject, together: the cluster estimate CR2 of :mod:`elusive.analysis.distributions`).

``aggregates`` says of one family × benchmark × metric, over the family's checkpoints:

- ``pearson``, ``spearman``: correlation of the mean with log10 FLOPs (losses negated);
- ``range``: largest minus smallest mean;
- ``noise``: standard deviation of the means around a smooth curve of log10 FLOPs, so that a bend in the relation is no
  noise: the least-squares polynomial of degree 1 for four different FLOPs, 2 for five to nine, 3 for ten or more. With
  n checkpoints and degree d it is sqrt(RSS / (n - 1 - d)). What differs between models of one compute counts as noise;
- ``item_noise``: median of the means' standard errors, the part of the noise that more items would remove;
- ``signal``: standard deviation of the means beyond that noise, sqrt(max(variance - noise², 0)), with the sign of
  ``pearson``: below 0 where the score falls with compute. Means that scatter about a constant have next to none,
  however far apart the largest and the smallest are;
- ``signal_to_noise``: signal / noise;
- ``signal_to_noise_chance``: how large it is, without sign, in 5 % of cases when the means are independent normal
  numbers that have nothing to do with compute. Then RSS and the rest give F = (TSS - RSS)/d / (RSS/(n - 1 - d)), which
  follows Fisher's F distribution whatever the FLOPs are, and signal_to_noise² = max(d (F - 1), 0) / (n - 1);
- ``p_value``: probability that F is as large by chance; ``above_noise``: whether that is at most 5 %.

Checkpoints with no FLOPs are left out. A quantity that needs more checkpoints than there are, or divides by zero, is
null.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from scipy import special

from elusive import logs
from elusive.analysis.correlations import LOSSES, checkpoint_blocks
from elusive.analysis.distributions import Sample
from elusive.analysis.metrics import FilePath, Member, measured, present
from elusive.analysis.statistics import drawing_units
from elusive.errors import ElusiveError
from elusive.tables import SCHEMAS, read_metadata, read_table, write_csv, write_table

logger = logs.get(__name__)

#: Of the probability that scores without any relation to compute have as much signal.
LEVEL = 0.05


def standard_errors(values: np.ndarray, units: np.ndarray | None) -> np.ndarray:
    """Standard error of the mean of each row of ``values`` [checkpoints, items]: float64 [checkpoints].

    ``units`` [items] holds numbers that are equal for items drawn together, or None. NaN for a single unit.
    """
    sample = Sample.of(values.T, units)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.sqrt(np.where(sample.groups > 1, sample.variance(sample.residual(sample.values)), np.nan))


def degree(different: int) -> int | None:
    """Degree of the smooth curve through the means at so many different FLOPs; None where these are too few."""
    return next((d for least, d in ((10, 3), (5, 2), (4, 1)) if different >= least), None)


def smooth_curve(x: np.ndarray, y: np.ndarray) -> tuple[int, float] | None:
    """Degree and residual sum of squares of the polynomial through ``y`` at ``x``, both [models]; None for too few."""
    chosen = degree(len(np.unique(x)))
    if chosen is None:
        return None
    scaled = 2 * (x - x.min()) / np.ptp(x) - 1
    basis = np.linalg.qr(np.vander(scaled, chosen + 1, increasing=True))[0]
    centred = y - y.mean()
    residual = centred - basis @ (basis.T @ centred)
    rest = float((residual**2).sum())
    # What a fit through every point leaves is rounding.
    return chosen, rest if rest > 1e-20 * float((centred**2).sum()) else 0.0


def family_aggregates(flops: np.ndarray, means: np.ndarray, errors: np.ndarray, sign: int) -> dict[str, Any]:
    """Numbers of the ``aggregates`` table for one metric: ``means`` and ``errors`` are [models], ``flops`` positive."""
    x, y = np.log10(flops), sign * means
    names = ("pearson", "spearman", "range", "noise", "signal", "signal_to_noise", "signal_to_noise_chance", "p_value")
    result: dict[str, Any] = dict.fromkeys((*names, "above_noise"))
    known = np.isfinite(y)
    errors = errors[known & np.isfinite(errors)]
    x, y = x[known], y[known]
    if len(y):
        result["range"] = float(np.ptp(y))
    if len(y) > 1 and np.ptp(x) > 0 and np.ptp(y) > 0:
        # Loading it takes a second, and most jobs that load this module have no use for it.
        from scipy import stats

        result["pearson"] = float(stats.pearsonr(x, y).statistic)
        result["spearman"] = float(stats.spearmanr(x, y).statistic)
    if (curve := smooth_curve(x, y)) is not None:
        chosen, rest = curve
        free = len(y) - 1 - chosen
        result["noise"] = (rest / free) ** 0.5
        direction = -1.0 if (result["pearson"] or 0.0) < 0 else 1.0
        result["signal"] = direction * max(y.var(ddof=1) - rest / free, 0.0) ** 0.5 + 0.0
        by_chance = special.fdtri(chosen, free, 0.95)
        result["signal_to_noise_chance"] = float((chosen * (by_chance - 1) / (len(y) - 1)) ** 0.5)
        if rest > 0:
            result["signal_to_noise"] = result["signal"] / result["noise"]
            found = (float(((y - y.mean()) ** 2).sum()) - rest) / chosen / (rest / free)
            result["p_value"] = float(special.fdtrc(chosen, free, max(found, 0.0)))
            result["above_noise"] = result["p_value"] <= LEVEL
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
