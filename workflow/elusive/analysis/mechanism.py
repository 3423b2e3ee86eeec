"""Mechanism: what the wrong choices do, and how the loss of correlation at p_choices depends on them.

``mechanism`` has one row per family × benchmark × quantity:

- ``correlation_correct``, ``correlation_incorrect``: mean Spearman correlation with compute of the mass on the correct
  choice, and on a wrong one (mean over an item's wrong choices first);
- ``fraction_above_075_incorrect``: share of wrong choices whose correlation exceeds 0.75 (of items' shares);
- ``slope_correct``, ``slope_incorrect``, ``slope_difference``: nats per tenfold compute, and how much faster the
  correct choice rises;
- ``comovement``, ``comovement_partial``: of wrong choices with the correct one, as in :mod:`elusive.analysis.choices`;
- ``spread_p_choices``: width of the middle 90 % of p_choices at a given log p_vocab, and ``spread_incorrect``: the same
  of the log10 of the wrong choices' mass, in decades; medians over bins one decade of p_vocab wide, weighted by pairs;
- ``drop``: what renormalising costs an item, its Spearman correlation in log p_vocab minus that in p_choices;
- ``drop_with_num_choices``, ``drop_with_choice_length``, ``drop_with_comovement``: Spearman correlation, over items, of
  ``drop`` with the number of choices K, the mean length of the choices in characters, and the mean co-movement.

``mechanism_drops`` has the mean ``drop`` in groups of items: every number of choices by itself, lengths and
co-movements in four groups of equally many items (fewer where values tie); ``level`` is the group's mean of the factor.

``*_low`` and ``*_high`` are 95 % intervals for drawing other items, as in :mod:`elusive.analysis.statistics`, and so
are those of the three correlations over items: the mean of the correlation's influence values has the variance that
:mod:`elusive.analysis.distributions` gives a mean, in clusters where there are any, and Student's t reaches to both
sides on Fisher's scale. The two spreads have none. Numbers less than 1e-9 apart tie: the differences of two rank
correlations take few values, which rounding splits. Null stands where there is nothing to average, and where there are
too few items or clusters for an interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from elusive import logs
from elusive.analysis.distributions import LEAST_ITEMS, Sample, interval_notes
from elusive.analysis.metrics import FilePath
from elusive.analysis.spread import spread_at_fixed_mass
from elusive.analysis.statistics import drawing_units
from elusive.errors import ElusiveError
from elusive.tables import read_metadata, read_table, whole_schema, write_csv, write_table

logger = logs.get(__name__)

FACTORS = ("num_choices", "choice_length", "comovement")
MEANS = (
    "correlation_correct",
    "correlation_incorrect",
    "fraction_above_075_incorrect",
    "slope_correct",
    "slope_incorrect",
    "slope_difference",
    "comovement",
    "comovement_partial",
    "drop",
)
SPREADS = ("spread_p_choices", "spread_incorrect")
QUANTITIES = (*MEANS, *SPREADS, *(f"drop_with_{factor}" for factor in FACTORS))

_GROUPS = 4
# Numbers this close are taken for equal.
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Inputs:
    """The tables of one family on one benchmark: choices, correlations and metrics."""

    choices: FilePath
    correlations: FilePath
    metrics: FilePath


def item_quantities(choices: pl.DataFrame, correlations: pl.DataFrame) -> pl.DataFrame:
    """One row per item, in the order of ``choices``: ``item``, ``subject``, the columns of MEANS and of FACTORS."""
    wrong = pl.col("is_gold").not_()

    def over(column: str, rows: pl.Expr) -> pl.Expr:
        return pl.col(column).filter(rows).mean()

    items = choices.group_by("item", maintain_order=True).agg(
        pl.col("subject").first(),
        pl.col("num_choices").first().cast(pl.Float64),
        pl.col("num_chars").mean().alias("choice_length"),
        over("spearman", ~wrong).alias("correlation_correct"),
        over("spearman", wrong).alias("correlation_incorrect"),
        (pl.col("spearman") > 0.75).filter(wrong).mean().alias("fraction_above_075_incorrect"),
        over("slope", ~wrong).alias("slope_correct"),
        over("slope", wrong).alias("slope_incorrect"),
        (over("slope", ~wrong) - over("slope", wrong)).alias("slope_difference"),
        over("comovement", wrong).alias("comovement"),
        over("comovement_partial", wrong).alias("comovement_partial"),
    )
    wide = correlations.pivot("metric", index="item", values="correlation")
    drop = wide.select("item", drop=pl.col("log_p_vocab_correct") - pl.col("p_choices_correct"))
    return items.join(drop, on="item", how="left", maintain_order="left")


def _intervals(values: np.ndarray, units: np.ndarray | None, name: str) -> list[dict[str, Any]]:
    """The mean ``name`` of each column of ``values`` [items, columns], its interval, and why there is none.

    None where undefined.
    """
    sample = Sample.of(values, units)
    found = sample.mean_interval()
    numbers = ([None if v != v else float(v) for v in column] for column in found)
    columns = (name, f"{name}_low", f"{name}_high", "interval_note")
    return [
        dict(zip(columns, row, strict=True)) for row in zip(*numbers, interval_notes(sample, found[1]), strict=True)
    ]


def tied(values: np.ndarray) -> np.ndarray:
    """``values`` [items] with each that is within 1e-9 of the next smaller one replaced by that one; NaNs stay."""
    order = np.argsort(values, kind="stable")
    ascending = values[order]
    first = np.diff(ascending, prepend=-np.inf) > _TOLERANCE
    starts = np.maximum.accumulate(np.where(first, np.arange(len(values)), 0))
    result = np.empty_like(values)
    result[order] = np.where(np.isnan(ascending), np.nan, ascending[starts])
    return result


def _grades(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average ranks of ``values`` [items] over their number, less 1/2; and for each value the first place among the
    ascending ones that is not below it, and the first above."""
    ascending = np.sort(values)
    below, up_to = (np.searchsorted(ascending, values, side=side) for side in ("left", "right"))
    return (below + up_to) / (2 * len(values)) - 0.5, below, up_to


def _above(values: np.ndarray, below: np.ndarray, up_to: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """For each item the mean of ``weights`` over the items with larger ``values``, of equal ones half of it."""
    total = np.r_[0.0, np.cumsum(weights[np.argsort(values, kind="stable")])]
    return (total[-1] - (total[below] + total[up_to]) / 2) / len(values)


def rank_influence(first: np.ndarray, second: np.ndarray) -> tuple[float, np.ndarray]:
    """Spearman's correlation of two columns [items] without NaN, and the influence of every item on it.

    With ``a``, ``b`` the average ranks over n, less 1/2, the correlation is U / sqrt(V_a V_b) of the means U of ``ab``,
    V_a of ``a²`` and V_b of ``b²``. An item counts in each directly and by what it does to the ranks of the others.
    """
    a, *places_a = _grades(first)
    b, *places_b = _grades(second)
    u, va, vb = (a * b).mean(), (a**2).mean(), (b**2).mean()
    of_u = a * b + _above(first, *places_a, b) + _above(second, *places_b, a) - 3 * u
    of_va = a**2 + 2 * _above(first, *places_a, a) - 3 * va
    of_vb = b**2 + 2 * _above(second, *places_b, b) - 3 * vb
    rho = float(u / np.sqrt(va * vb))
    return rho, of_u / np.sqrt(va * vb) - rho / 2 * (of_va / va + of_vb / vb)


def rank_association(
    first: np.ndarray, second: np.ndarray, units: np.ndarray | None
) -> tuple[float | None, float | None, float | None, str | None]:
    """Spearman's correlation of two columns [items] over the items that have both, its interval, and why there is none.

    ``units`` [items] are equal for items drawn together. None where it is undefined.
    """
    known = ~(np.isnan(first) | np.isnan(second))
    first, second = tied(first[known]), tied(second[known])
    if len(first) < 4:
        return None, None, None, f"an interval needs {LEAST_ITEMS} items with a value, here {len(first)}"
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return None, None, None, "all values are equal: no correlation"
    rho, influence = rank_influence(first, second)
    sample = Sample.of(influence[:, None], None if units is None else units[known])
    with np.errstate(divide="ignore", invalid="ignore"):
        error = float(np.sqrt(sample.variance(sample.residual(sample.values)))[0])
        half = float(sample.student[0]) * error / (1 - rho**2) if abs(rho) < 1 else np.nan
    if not np.isfinite(half):
        (note,) = interval_notes(sample, np.array([np.nan]))
        return rho, None, None, note if abs(rho) < 1 else "a correlation of 1 or -1 has no interval"
    return rho, float(np.tanh(np.arctanh(rho) - half)), float(np.tanh(np.arctanh(rho) + half)), None


def _groups(values: np.ndarray, factor: str) -> np.ndarray:
    """The group, int64 [items] from 0, of each item by its factor; -1 where it is NaN."""
    known = ~np.isnan(values)
    result = np.full(len(values), -1)
    if factor == "num_choices":
        result[known] = np.unique(values[known], return_inverse=True)[1]
    elif known.any():
        edges = np.unique(np.quantile(values[known], np.arange(1, _GROUPS) / _GROUPS))
        codes = np.searchsorted(edges, values[known], side="left")
        result[known] = np.unique(codes, return_inverse=True)[1]
    return result


def mechanism(inputs: Inputs, items: FilePath | None = None) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of the tables ``mechanism`` and ``mechanism_drops`` of one family on one benchmark.

    ``items`` is the benchmark's items table, which says what items are drawn together.
    """
    choices = pl.from_arrow(read_table(inputs.choices, "choices"))
    columns = ["item", "metric", "method", "correlation"]
    correlations = pl.from_arrow(read_table(inputs.correlations, "correlations", columns)).filter(method="spearman")
    found = item_quantities(choices, correlations)
    if len(found) == 0:
        raise ElusiveError(f"{inputs.choices}: the table has no items")
    family, benchmark, num_models = choices.select("family", "benchmark", "num_models").row(0)
    units = drawing_units(found, items)
    about = {"family": family, "benchmark": benchmark}

    means = _intervals(found.select(pl.col(MEANS).cast(pl.Float64).fill_null(np.nan)).to_numpy(), units, "value")
    rows = []
    for i, name in enumerate(MEANS):
        rows.append({**about, "quantity": name, "num_items": found[name].count(), "num_models": num_models} | means[i])
    needed = ["flops", "log_p_vocab_correct", "log_p_vocab_incorrect", "p_choices_correct"]
    metrics = pl.from_arrow(read_table(inputs.metrics, "metrics", needed)).filter(pl.col("flops") > 0)
    mass = metrics["log_p_vocab_correct"].to_numpy() / np.log(10)
    seen = {
        "spread_p_choices": metrics["p_choices_correct"].to_numpy(),
        "spread_incorrect": metrics["log_p_vocab_incorrect"].to_numpy() / np.log(10),
    }
    for name in SPREADS:
        value = spread_at_fixed_mass(mass, seen[name]) if len(mass) else None
        row = {**about, "quantity": name, "num_items": len(found), "num_models": num_models, "value": value}
        rows.append(row | {"interval_note": "over items and checkpoints together: no interval"})
    drop = _numbers(found, "drop")
    for factor in FACTORS:
        values = _numbers(found, factor)
        known = int((~np.isnan(values + drop)).sum())
        names = ("value", "value_low", "value_high", "interval_note")
        ends = zip(names, rank_association(values, drop, units), strict=True)
        key = {**about, "quantity": f"drop_with_{factor}", "num_items": known, "num_models": num_models}
        rows.append(key | dict(ends))
    return rows, list(_drops(found, units, about | {"num_models": num_models}))


def _numbers(found: pl.DataFrame, name: str) -> np.ndarray:
    return found[name].cast(pl.Float64).fill_null(np.nan).to_numpy()


def _drops(found: pl.DataFrame, units: np.ndarray | None, about: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows of ``mechanism_drops``: the items with a drop in groups of each factor."""
    drop = _numbers(found, "drop")
    for factor in FACTORS:
        values = tied(_numbers(found, factor))
        groups = _groups(np.where(np.isnan(drop), np.nan, values), factor)
        for group in range(groups.max(initial=-1) + 1):
            rows = groups == group
            (interval,) = _intervals(drop[rows, None], None if units is None else units[rows], "drop")
            yield {
                **about,
                "factor": factor,
                "group": group,
                "level": float(values[rows].mean()),
                "num_items": int(rows.sum()),
                **interval,
            }


def write_mechanism(
    *,
    inputs: Sequence[Inputs],
    items: Sequence[FilePath],
    mechanism_parquet: FilePath,
    mechanism_csv: FilePath,
    drops_parquet: FilePath,
    drops_csv: FilePath,
) -> None:
    """Write the tables ``mechanism`` and ``mechanism_drops`` as Parquet and CSV.

    Rows are sorted by family and benchmark, then in the orders of :data:`QUANTITIES`, or :data:`FACTORS` and group,
    whatever the order of ``inputs``. ``items`` are the benchmarks' items tables.
    """
    about = {read_metadata(path)["benchmark"]: path for path in items}
    tables: dict[str, list[dict[str, Any]]] = {"mechanism": [], "mechanism_drops": []}
    for entry in inputs:
        benchmark = read_metadata(entry.choices)["benchmark"]
        for rows, new in zip(tables.values(), mechanism(entry, about.get(benchmark)), strict=True):
            rows += new
    outputs = {"mechanism": (mechanism_parquet, mechanism_csv), "mechanism_drops": (drops_parquet, drops_csv)}
    for name, rows in tables.items():
        rows.sort(key=lambda row: (row["family"], row["benchmark"]))
        table = pa.Table.from_pylist(rows, whole_schema(name))
        write_table(table, outputs[name][0], name)
        write_csv(table, outputs[name][1])
    logger.info("mechanism: %d families × benchmarks", len(inputs))
