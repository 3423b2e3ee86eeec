"""The section on forecasts: what can be foreseen from these checkpoints, what cannot, and how often it came true."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from elusive.figures.data import Benchmark, PathLike
from elusive.figures.style import format_number
from elusive.forecast import summary
from elusive.tables import read_table

#: Argument of :func:`elusive.forecast.summary.section` -> the table that it is.
TABLES = {
    "summary": "backtest_summary",
    "coverage": "backtest_coverage",
    "backtests": "backtests",
    "forecasts": "forecasts",
    "laws": "choice_laws",
    "reliability": "forecast_reliability",
    "decisions": "decisions",
    "subsets": "item_subsets",
}
_METRIC = "accuracy"


@dataclass(frozen=True)
class Cell:
    """A forecast with the ends of its interval; ``note``: what to be careful about."""

    text: str
    interval: str
    note: str


@dataclass(frozen=True)
class Row:
    """A benchmark: the value at the largest compute, and a forecast for each target."""

    benchmark: Benchmark
    last: str
    cells: list[Cell]


@dataclass(frozen=True)
class Section:
    """What a family's forecasts come to: sentences, and a table of ``rows`` with a column for each of ``targets``."""

    family: str
    sentences: list[str]
    targets: list[str]
    rows: list[Row]
    notes: list[str]


def read(paths: Mapping[str, PathLike]) -> dict[str, pd.DataFrame]:
    """The tables that ``paths`` has by their names, by the arguments in :data:`TABLES`."""
    return {key: read_table(paths[name], name).to_pandas() for key, name in TABLES.items()}


def sections(
    frames: Mapping[str, pd.DataFrame],
    scores: pd.DataFrame,
    benchmarks: Sequence[Benchmark],
    families: Sequence[str],
) -> list[Section]:
    """A section for each of ``families`` that has backtests or forecasts; ``frames`` as of :func:`read`."""
    labels = {benchmark.name: benchmark.label for benchmark in benchmarks}
    known = {*frames["summary"]["family"], *frames["forecasts"]["family"]}
    found = []
    for family in families:
        if family not in known:
            continue
        sentences = summary.section(**frames, scores=scores, family=family, labels=labels)
        targets, rows, notes = _targets(frames["forecasts"], benchmarks, family)
        found.append(Section(family, sentences, targets, rows, notes))
    return found


def most_moving(laws: pd.DataFrame, benchmarks: Sequence[Benchmark], family: str) -> str:
    """The benchmark whose items move together the most, the first one where nothing is known of any.

    ``laws`` is the table choice_laws.
    """
    known = summary.movements(laws, family)
    return max((benchmark.name for benchmark in benchmarks), key=lambda name: known.get(name, 0.0))


def _targets(
    forecasts: pd.DataFrame, benchmarks: Sequence[Benchmark], family: str
) -> tuple[list[str], list[Row], list[str]]:
    own = forecasts[
        (forecasts["family"] == family)
        & (forecasts["metric"] == _METRIC)
        & forecasts["recommended"]
        & forecasts["subject"].isna()
    ]
    targets = list(dict.fromkeys(own.sort_values("flops")["target"]))
    notes: dict[str, int] = {}
    rows = []
    for benchmark in benchmarks:
        of_it = {row["target"]: row for row in own[own["benchmark"] == benchmark.name].to_dict("records")}
        if not of_it:
            continue
        cells = [_cell(of_it.get(target), notes) for target in targets]
        rows.append(Row(benchmark, format_number(next(iter(of_it.values()))["last_value"]), cells))
    return targets, rows, [f"{number}: {text}." for text, number in notes.items()]


def _cell(row: Mapping[str, Any] | None, notes: dict[str, int]) -> Cell:
    if row is None:
        return Cell("–", "", "")
    low, high = row["low80"], row["high80"]
    interval = f"{format_number(low)} to {format_number(high)}" if pd.notna(low) and pd.notna(high) else ""
    status = row["status"]
    return Cell(
        format_number(row["forecast"]), interval, str(notes.setdefault(status, len(notes) + 1)) if status else ""
    )
