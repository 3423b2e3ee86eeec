"""The strip: a row a benchmark, and how far down the chain its items' correlation with compute survives.

The numbers are those of the table headline (:mod:`elusive.analysis.headline`): the mean over a benchmark's items of
their Spearman correlation with compute, an undefined one counting as 0, beside what compute shuffled among the
checkpoints gives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from elusive.figures.data import Benchmark
from elusive.figures.states import UNKNOWN, judge, kept, place
from elusive.report.words import PLAIN

#: The scores of the strip, in the chain's order.
SCORES = tuple(PLAIN)
METHOD = "spearman"


@dataclass(frozen=True)
class Level:
    """Mean correlation of a score on a benchmark, the band of shuffled compute, and the ``state`` that follows.

    ``mean`` is None where the table has none, ``low`` and ``high`` where shuffling says nothing.
    """

    metric: str
    mean: float | None
    low: float | None
    high: float | None
    state: str


@dataclass(frozen=True)
class Line:
    """A row of the strip."""

    benchmark: Benchmark
    levels: tuple[Level, ...]

    def level(self, metric: str) -> Level:
        """That of one score."""
        return next(level for level in self.levels if level.metric == metric)

    @property
    def kept(self) -> int:
        """How many scores from the chain's start follow compute, one after the other."""
        return kept([level.state for level in self.levels])


@dataclass(frozen=True)
class Strip:
    """The strip of a family of ``num_models`` checkpoints with compute.

    ``reference``: Spearman correlation of minus the validation loss with compute, with tokens and with parameters, each
    None where it is not known or not defined. ``least``: the smallest share of the orders of compute that could give as
    much as a score does.
    """

    family: str
    label: str
    num_models: int
    lines: tuple[Line, ...]
    reference: Mapping[str, float | None]
    least: float = 1.0

    @property
    def conclusive(self) -> bool:
        """Whether shuffled compute can tell anything from chance."""
        return any(level.state != UNKNOWN for line in self.lines for level in line.levels)

    @property
    def floor(self) -> float:
        """Where the axis of its bars begins: at 0, or at the lowest mean where one is below."""
        return min(0.0, *(level.mean or 0.0 for line in self.lines for level in line.levels), 0.0)

    def with_state(self, metric: str, state: str) -> list[Benchmark]:
        """Benchmarks on which ``metric`` is in ``state``."""
        return [line.benchmark for line in self.lines if line.level(metric).state == state]

    def average(self, metric: str) -> float | None:
        """Mean over the benchmarks, None if any has none."""
        means = [line.level(metric).mean for line in self.lines]
        return None if None in means or not means else float(np.mean(means))


def _number(value: Any) -> float | None:
    return None if value is None or pd.isna(value) else float(value)


def _levels(headline: pd.DataFrame, family: str, method: str) -> dict[tuple[str, str], Level]:
    own = headline[(headline["family"] == family) & (headline["method"] == method) & headline["metric"].isin(SCORES)]
    result = {}
    for row in own.to_dict("records"):
        state = judge(row["above_shuffled"], row["below_shuffled"])
        ends = _number(row["shuffled_low"]), _number(row["shuffled_high"])
        result[row["benchmark"], row["metric"]] = Level(row["metric"], _number(row["mean"]), *ends, state)
    return result


def loss_reference(ceiling: pd.DataFrame, family: str, method: str) -> dict[str, float | None]:
    """How closely minus the validation loss of a family follows compute, tokens and parameters, from that table."""
    own = ceiling[(ceiling["family"] == family) & (ceiling["method"] == method)].set_index("variable")
    return {
        variable: _number(own.at[variable, "correlation"]) if variable in own.index else None
        for variable in ("flops", "tokens", "parameters")
    }


def members_of(frame: pd.DataFrame, members: Sequence[Sequence[str]]) -> pd.DataFrame:
    """The rows of ``frame`` (with model, checkpoint and flops) that are of a family's checkpoints with compute."""
    wanted = {tuple(member) for member in members}
    keys = zip(frame["model"], frame["checkpoint"], strict=True)
    return frame[np.array([key in wanted for key in keys], bool) & (frame["flops"] > 0)]


def make_strip(
    frames: Mapping[str, pd.DataFrame],
    benchmarks: Sequence[Benchmark],
    family: str,
    label: str,
    members: Sequence[Sequence[str]],
    method: str = METHOD,
) -> Strip:
    """The strip of one family from the tables, benchmarks on which most is kept first.

    They are ordered by :func:`~elusive.figures.states.place`, then as ``benchmarks`` are.
    """
    found = _levels(frames["headline"], family, method)
    lines = []
    for benchmark in benchmarks:
        nothing = [Level(metric, None, None, None, UNKNOWN) for metric in SCORES]
        levels = tuple(found.get((benchmark.name, empty.metric), empty) for empty in nothing)
        lines.append(Line(benchmark, levels))

    lines.sort(key=lambda line: place([level.state for level in line.levels], [level.mean for level in line.levels]))
    own = members_of(frames["checkpoints"], members)
    least = frames["headline"].loc[frames["headline"]["family"] == family, "least_p_value"].max()
    return Strip(
        family,
        label,
        len(own),
        tuple(lines),
        loss_reference(frames["ceiling"], family, method),
        1.0 if pd.isna(least) else float(least),
    )
