"""The tables of forecasts over all families and benchmarks: what earlier errors add, and summaries of backtests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl
import pyarrow as pa

from elusive import logs
from elusive.analysis.metrics import FilePath
from elusive.forecast.cells import PARTS
from elusive.forecast.inflation import with_intervals
from elusive.forecast.summaries import coverage, summarise
from elusive.forecast.targets import errors_of, tested_bins, with_errors
from elusive.tables import SCHEMAS, read_table, write_csv, write_table

logger = logs.get(__name__)

#: The tables that are written, in the order in which a run writes them.
TABLES = (
    "forecasts",
    "backtests",
    "backtest_summary",
    "backtest_coverage",
    "choice_laws",
    "choice_means",
    "forecast_reliability",
    "item_subsets",
    "item_subset_members",
)


def write_forecasts(*, parts: Mapping[str, Sequence[FilePath]], outputs: Mapping[str, FilePath]) -> None:
    """Write the tables of :data:`TABLES` as Parquet and CSV.

    ``parts`` holds the files of each part of ``cells.PARTS`` but ``probabilities``, of all families and benchmarks in
    the order that the rows are to have. ``outputs`` has ``<table>_parquet`` and ``<table>_csv``.
    """
    read = {part: _read(part, paths) for part, paths in parts.items() if part != "probabilities"}
    backtests = with_intervals(read["backtests"]) if len(read["backtests"]) else read["backtests"]
    forecasts = _forecasts(read["targets"], backtests)
    tables = {
        "forecasts": forecasts,
        "backtests": backtests,
        "backtest_summary": summarise(backtests) if len(backtests) else _empty("backtest_summary"),
        "backtest_coverage": coverage(backtests) if len(backtests) else _empty("backtest_coverage"),
        "choice_laws": read["laws"],
        "choice_means": read["means"],
        "forecast_reliability": read["reliability"],
        "item_subsets": read["subsets"],
        "item_subset_members": read["members"],
    }
    for name in TABLES:
        write_table(tables[name].to_arrow(), outputs[f"{name}_parquet"], name)
        write_csv(read_table(outputs[f"{name}_parquet"], name), outputs[f"{name}_csv"])
    logger.info("forecasts: %d rows; backtests: %d rows", len(forecasts), len(backtests))


def _read(part: str, paths: Sequence[FilePath]) -> pl.DataFrame:
    """The rows of a part's files, one below the other."""
    tables = [read_table(path, PARTS[part]) for path in paths]
    return pl.from_arrow(pa.concat_tables(tables)) if tables else _empty(PARTS[part])


def _empty(name: str) -> pl.DataFrame:
    return pl.from_arrow(SCHEMAS[name].empty_table())


def _forecasts(rows: pl.DataFrame, backtests: pl.DataFrame) -> pl.DataFrame:
    """``rows`` of targets with the intervals that the family's errors widen, or make."""
    found = []
    for (family,), own in rows.partition_by("family", as_dict=True, maintain_order=True).items():
        judged = backtests.filter(pl.col("family") == family)
        errors = errors_of(judged)
        tested = {
            key: tested_bins(part)
            for key, part in judged.partition_by("benchmark", "subject", as_dict=True, maintain_order=True).items()
        }
        for row in own.iter_rows(named=True):
            found.append(with_errors(row, errors, tested.get((row["benchmark"], row["subject"]), set())))
    return pl.from_arrow(pa.Table.from_pylist(found, SCHEMAS["forecasts"]))
