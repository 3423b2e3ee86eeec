"""Write the figures of forecasts: those of a benchmark in one go, and those over all benchmarks in another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from elusive.figures import (
    forecast_coverage,
    forecast_errors,
    forecast_fan,
    forecast_laws,
    forecast_reliability,
    forecast_skill,
    forecast_turns,
)
from elusive.figures.data import PathLike, read_benchmark, read_extra, read_frame
from elusive.figures.save import Outputs, save_figure
from elusive.forecast.names import KRIGING
from elusive.tables import SCHEMAS

#: Figures of a benchmark, and those over all benchmarks.
PER_BENCHMARK = ("forecast_fan", "forecast_laws", "forecast_turns")
OVERALL = ("forecast_errors", "forecast_coverage", "forecast_reliability", "forecast_skill")


def _rows(path: PathLike, name: str, **keys: str) -> pd.DataFrame:
    """The rows of a table of the contract that have ``keys``."""
    frame = read_frame(path, name, SCHEMAS[name].names)
    for column, value in keys.items():
        frame = frame[frame[column] == value]
    return frame.reset_index(drop=True)


def write_forecast_benchmark(
    *,
    means: PathLike,
    backtests: PathLike,
    forecasts: PathLike,
    laws: PathLike,
    law_means: PathLike,
    probabilities: PathLike,
    items: PathLike,
    family: str,
    label: str,
    members: Sequence[Sequence[str]],
    outputs: Mapping[str, Outputs],
) -> None:
    """Draw and describe the figures of one benchmark that ``outputs`` (kind -> where to write) asks for.

    ``means``, ``backtests``, ``forecasts``, ``laws`` (choice_laws) and ``law_means`` (choice_means) are the tables over
    all benchmarks, ``probabilities`` is forecast_items of the family and benchmark, ``items`` the items table.
    ``family``, called ``label``, is drawn; ``members`` are its (model, checkpoint).
    """
    about, named = read_benchmark(items), {family: label}
    keys = {"family": family, "benchmark": about.name}
    if "forecast_fan" in outputs:
        average = read_extra(means, ["model", "checkpoint", "flops", "benchmark", "metric", "mean"])
        average = average[(average["benchmark"] == about.name) & (average["metric"] == "accuracy")]
        own = pd.DataFrame(members, columns=["model", "checkpoint"])
        average = average.merge(own, on=["model", "checkpoint"])
        average = average[average["flops"] > 0]
        chosen = {"metric": "accuracy", "method": KRIGING} | keys
        judged = _rows(backtests, "backtests", protocol="R", **chosen)
        asked = _rows(forecasts, "forecasts", **chosen)
        data = (average, judged[judged["subject"].isna()], asked[asked["subject"].isna()])
        save_figure(
            forecast_fan.plot(*data, about), forecast_fan.caption_text(*data, about, named), outputs["forecast_fan"]
        )
    if "forecast_laws" in outputs:
        levels, fitted = _rows(law_means, "choice_means", **keys), _rows(laws, "choice_laws", **keys)
        text = forecast_laws.caption_text(levels, fitted, about, named)
        save_figure(forecast_laws.plot(levels, about), text, outputs["forecast_laws"])
    if "forecast_turns" in outputs:
        found = _rows(probabilities, "forecast_items")
        first = found[found["target"] == found["target"].iloc[0]] if len(found) else found
        text = forecast_turns.caption_text(first, about, named)
        save_figure(forecast_turns.plot(first, about), text, outputs["forecast_turns"])


def write_forecast_overview(
    *,
    summary: PathLike,
    coverage: PathLike,
    reliability: PathLike,
    laws: PathLike,
    items: Sequence[PathLike],
    families: Mapping[str, str],
    outputs: Mapping[str, Outputs],
) -> None:
    """Draw and describe the figures over all benchmarks that ``outputs`` (kind -> where to write) asks for.

    ``summary``, ``coverage``, ``reliability`` and ``laws`` are the tables backtest_summary, backtest_coverage,
    forecast_reliability and choice_laws; ``items`` the items tables; ``families`` name -> label, in drawing order. All
    but the errors are of the first family.
    """
    benchmarks = [read_benchmark(path) for path in items]
    first = next(iter(families))
    errors, covered = _rows(summary, "backtest_summary"), _rows(coverage, "backtest_coverage")
    reliable, fitted = _rows(reliability, "forecast_reliability"), _rows(laws, "choice_laws")
    drawn = {
        "forecast_coverage": (forecast_coverage, (covered, first)),
        "forecast_reliability": (forecast_reliability, (reliable, benchmarks, first)),
        "forecast_skill": (forecast_skill, (errors, fitted, benchmarks, first)),
    }
    for kind, files in outputs.items():
        if kind == "forecast_errors":
            save_figure(forecast_errors.plot(errors, families), forecast_errors.caption_text(errors, families), files)
        else:
            figure, tables = drawn[kind]
            save_figure(figure.plot(*tables), figure.caption_text(*tables, families), files)
