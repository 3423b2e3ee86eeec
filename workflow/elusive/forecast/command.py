"""The command ``forecast``: scores of a family at any N and D, from finished tables."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elusive.errors import ElusiveError

if TYPE_CHECKING:
    import polars as pl

    from elusive.configuration.forecasting import Target
    from elusive.forecast.scores import Scores

_METRICS = ("accuracy", "p_choices_correct", "brier", "log_p_vocab_correct")
_SHOWN = {
    "accuracy": "accuracy",
    "p_choices_correct": "p_choices",
    "brier": "Brier score",
    "log_p_vocab_correct": "log p_vocab",
}


def _count(text: str) -> int:
    """A positive whole number, also written as 3e9."""
    with contextlib.suppress(ValueError):
        number = float(text.replace("_", ""))
        if number >= 1 and number.is_integer():
            return int(number)
    raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number, such as 3000000 or 3e6")


def add_forecast_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``forecast``."""
    parser.add_argument("--family", required=True, help="name of a family of the run")
    parser.add_argument("--benchmark", nargs="+", required=True, help="one or more benchmarks of the run")
    parser.add_argument("--parameters", type=_count, required=True, help="N at the target, as 3000000 or 3e6")
    parser.add_argument("--tokens", type=_count, required=True, help="D at the target, training tokens")
    parser.add_argument("--metric", nargs="+", choices=_METRICS, default=["accuracy"], help="default: accuracy")
    parser.add_argument("--draws", type=int, default=200, help="draws of a forecast; default: 200")
    parser.add_argument("--results", type=Path, default=Path("results"), help="where the run's tables are")
    parser.add_argument("--output", type=Path, help="also write the forecasts of all methods, as CSV")


def run_forecast(args: argparse.Namespace) -> None:
    """Print the forecasts that ``args`` asks for."""
    from elusive import environment

    environment.prepare()
    import pyarrow as pa

    from elusive.configuration.forecasting import Target
    from elusive.tables import SCHEMAS, write_csv

    if args.draws < 2:
        raise ElusiveError(f"--draws: {args.draws} is not allowed: it must be at least 2")
    target = Target(args.family, args.parameters, args.tokens, f"{args.parameters} parameters, {args.tokens} tokens")
    found = []
    for benchmark in args.benchmark:
        scores = read_family(args.results, args.family, benchmark)
        backtests, summary = (_table(args.results, name) for name in ("backtests", "backtest_summary"))
        rows = forecasts_at(scores, target, benchmark, args.metric, args.draws, backtests)
        print(describe(rows, scores, target, benchmark, args.metric, summary))
        found += rows
    if args.output is not None:
        write_csv(pa.Table.from_pylist(found, SCHEMAS["forecasts"]), args.output)


def read_family(results: Path, family: str, benchmark: str) -> Scores:
    """The scores of ``family`` on ``benchmark``, as the tables below ``results`` have them.

    Raises :class:`ElusiveError` with the names that there are for one that there is not.
    """
    import polars as pl

    from elusive.forecast.scores import read_scores
    from elusive.tables import file_of, read_table

    metrics = results / file_of("metrics", family=family, benchmark=benchmark)
    if not metrics.is_file():
        folder = results / "metrics"
        families = sorted(path.name for path in folder.glob("*") if path.is_dir())
        if not families:
            raise ElusiveError(f"{folder}: there are no tables of metrics: run the workflow, or name its --results")
        if family not in families:
            raise ElusiveError(f"--family: no family is called {family!r} (there are: {', '.join(families)})")
        names = sorted(path.stem for path in (folder / family).glob("*.parquet"))
        raise ElusiveError(f"--benchmark: {family} has no scores on {benchmark!r} (there are: {', '.join(names)})")
    columns = ["model", "checkpoint", "parameters", "tokens", "flops"]
    members = pl.from_arrow(read_table(metrics, "metrics", columns=columns)).unique(maintain_order=True).to_dicts()
    paths = [
        results / file_of("logprobs", model=m["model"], checkpoint=m["checkpoint"], benchmark=benchmark)
        for m in members
        if m["flops"] > 0
    ]
    missing = next((path for path in paths if not path.is_file()), None)
    if missing is not None:
        raise ElusiveError(f"{missing}: there is no such logprobs table, and a forecast needs every choice's")
    items = results / file_of("items", benchmark=benchmark)
    return read_scores(logprobs=paths, items=items, members=members)


def _table(results: Path, name: str) -> pl.DataFrame | None:
    """The finished table ``name``; None where the run has not made it yet."""
    import polars as pl

    from elusive.tables import file_of, read_table

    path = results / file_of(name)
    return pl.from_arrow(read_table(path, name)) if path.is_file() else None


def forecasts_at(
    scores: Scores, target: Target, benchmark: str, metrics: list[str], draws: int, backtests: pl.DataFrame | None
) -> list[dict[str, Any]]:
    """Rows of the table ``forecasts`` at ``target``, of every method, with what ``backtests`` say of intervals."""
    import polars as pl

    from elusive.forecast.targets import errors_of, forecast_targets, target_rows, tested_bins, with_errors

    names = {"family": target.family, "benchmark": benchmark, "subject": None}
    forecasts = forecast_targets(scores, [target], family=target.family, benchmark=benchmark, draws=draws)
    rows = target_rows(forecasts, scores, [target], names, metrics)
    if backtests is None:
        return rows
    own = backtests.filter(pl.col("family") == target.family)
    of_benchmark = own.filter((pl.col("benchmark") == benchmark) & pl.col("subject").is_null())
    errors, tested = errors_of(own), tested_bins(of_benchmark)
    return [with_errors(row, errors, tested) for row in rows]


def describe(
    rows: list[dict[str, Any]],
    scores: Scores,
    target: Target,
    benchmark: str,
    metrics: list[str],
    summary: pl.DataFrame | None,
) -> str:
    """What is printed of one benchmark: recommendation, forecasts, movement, backtest errors, and what to mind."""
    from elusive.forecast.names import KRIGING

    first = rows[0]
    times = 10 ** first["horizon"]
    lines = [
        f"{target.family} on {benchmark}: N = {target.parameters:,}, D = {target.tokens:,}, "
        f"6ND = {first['flops']:.2e}, {times:.3g} times the largest compute of {len(scores.flops)} checkpoints"
    ]
    for metric in metrics:
        own = {row["method"]: row for row in rows if row["metric"] == metric}
        best = next(row for row in own.values() if row["recommended"])
        lines.append(f"  {_SHOWN[metric]}")
        for name in dict.fromkeys([best["method"], KRIGING, "last"]):
            mark = "  <- recommended" if name == best["method"] else ""
            lines.append(f"    {name:<12}{_value(own[name], metric)}{mark}")
        lines.append(f"    backtests   {_errors(target.family, benchmark, metric, first['horizon'], best, summary)}")
    movement = first["movement"]
    lines.append(f"  movement    {'unknown, too few checkpoints' if movement is None else f'{movement:.3g}'}")
    lines += [f"  mind        {mark}" for mark in first["status"].split("; ") if mark]
    return "\n".join(lines)


def _value(row: Mapping[str, Any], metric: str) -> str:
    digits = 2 if metric == "log_p_vocab_correct" else 3
    text = f"{row['forecast']:.{digits}f}"
    if row["low80"] is None:
        return f"{text}  no interval"
    parts = [f"{level} % {row[f'low{level}']:.{digits}f} to {row[f'high{level}']:.{digits}f}" for level in (50, 80, 95)]
    widened = row["inflation"] is not None and row["inflation"] >= 1.005
    how = f"  (widened {row['inflation']:.2f} times)" if widened else ""
    return f"{text}  {'  '.join(parts)}{how}"


def _errors(
    family: str,
    benchmark: str,
    metric: str,
    horizon: float,
    best: Mapping[str, Any],
    summary: pl.DataFrame | None,
) -> str:
    """The mean absolute errors of backtests at ``horizon``, of the recommended method and of the last value."""
    import polars as pl

    from elusive.forecast.backtests import bin_of

    if summary is None:
        return "none are finished: make the table backtest_summary"
    name = bin_of(horizon) if horizon > 0 else None
    if name is None:
        return "none at such a horizon"
    own = summary.filter(
        (pl.col("family") == family)
        & (pl.col("protocol") == "R")
        & (pl.col("bin") == name)
        & (pl.col("metric") == metric)
        & pl.col("subject").is_null()
    )
    parts = []
    for label, chosen in (
        (benchmark, own.filter(pl.col("benchmark") == benchmark)),
        ("all benchmarks", own.filter(pl.col("benchmark").is_null())),
    ):
        errors = dict(chosen.select("method", "mae").iter_rows())
        if not errors:
            parts.append(f"{label}: none at {name}")
            continue
        used = f"{best['method']} {_error(errors[best['method']], metric)}"
        last = "" if best["method"] == "last" else f", last {_error(errors['last'], metric)}"
        parts.append(f"{label} at {name}: mean error {used}{last}")
    return "; ".join(parts)


def _error(value: float, metric: str) -> str:
    return f"{value:.1f} nats" if metric == "log_p_vocab_correct" else f"{100 * value:.1f} points"
