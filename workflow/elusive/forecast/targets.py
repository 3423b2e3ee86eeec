"""Forecasts of what is asked for: every method at N and D, with intervals, a recommendation, and what to be careful of.

Nothing is refused, and much is marked. Which method to use is decided by a rule that knows no backtest of the cell: the
last value with fewer than five checkpoints to learn from or without a law; for the Brier score the mean of the last
three where items have no common movement; else kriging of margins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from elusive.configuration.forecasting import Target
from elusive.forecast.backtests import LEVELS, MOST_HORIZON, bin_of, quantiles
from elusive.forecast.inflation import factor_of, normal_interval, scale_of, spread_at, widened
from elusive.forecast.margins import RECOMMENDED_POINTS, Forecast, seed_of
from elusive.forecast.methods import Forecasts, Targets, forecast_all
from elusive.forecast.names import KRIGING, MOVING
from elusive.forecast.points import SEPARATE, Axes
from elusive.forecast.scores import Scores

_NO_INTERVALS = dict.fromkeys(f"{end}{level}" for level in LEVELS for end in ("low", "high"))

NEAR_CHANCE = "still at chance: a jump is possible and not covered"
BEYOND = "beyond the tested horizons"
WITHIN = "no more compute than was learnt from"
STILL = "no common movement"
FEW = "fewer than five checkpoints"
UNTESTED = "no backtest at this horizon"
ONE_AXIS = "N and D did not vary independently: the forecast follows compute alone"


@dataclass(frozen=True)
class Errors:
    """Errors of one method on one metric in the backtests that roll by compute, over all benchmarks of a family."""

    errors: np.ndarray
    spreads: np.ndarray
    horizons: np.ndarray


def recommended(metric: str, num_selected: int, movement: float | None) -> str:
    """The method to use, decided before any backtest: see the module."""
    if movement is None or num_selected < RECOMMENDED_POINTS:
        return "last"
    return "mean3" if metric == "brier" and movement < MOVING else KRIGING


def at_chance(scores: Scores) -> bool:
    """Whether the mean accuracy of the last three checkpoints is within two standard errors of guessing, or below."""
    guess = 1 / scores.num_choices
    error = np.sqrt((guess * (1 - guess)).sum()) / len(guess)
    rows = np.arange(max(len(scores.flops) - 3, 0), len(scores.flops))
    return bool(scores.of_checkpoints(rows).metrics()["accuracy"].mean() <= guess.mean() + 2 * error)


def off_the_axis(points: Axes, target: Axes) -> bool:
    """Whether the target leaves the line in n and d that the points, where they are one axis, lie on."""
    if points.both:
        return False
    if np.ptp(points.n) < SEPARATE:
        return bool(abs(target.n[0] - points.n.mean()) > SEPARATE)
    slope, intercept = np.polyfit(points.n, points.d, 1)
    return bool(abs(target.d[0] - intercept - slope * target.n[0]) > SEPARATE)


def marks(forecasts: Forecasts, scores: Scores, target: Target) -> list[str]:
    """What to be careful of at ``target``."""
    flops = 6.0 * target.parameters * target.tokens
    place = forecasts.points.at(
        *(np.array([value], dtype=float) for value in (target.parameters, target.tokens, flops))
    )
    horizon = float(np.log10(flops) - np.log10(scores.flops.max()))
    found = [forecasts.status] if forecasts.status else []
    if horizon > MOST_HORIZON:
        found.append(BEYOND)
    elif horizon <= 0:
        found.append(WITHIN)
    if forecasts.num_selected < RECOMMENDED_POINTS:
        found.append(FEW)
    if forecasts.movement is not None and forecasts.movement < MOVING:
        found.append(STILL)
    if off_the_axis(forecasts.points, place):
        found.append(ONE_AXIS)
    if at_chance(scores):
        found.append(NEAR_CHANCE)
    return found


def forecast_targets(
    scores: Scores, targets: Sequence[Target], *, family: str, benchmark: str, draws: int, subject: str | None = None
) -> Forecasts:
    """Every method's forecasts of ``targets`` from all checkpoints of ``scores``. A target's draws are its own.

    The forecast of a target depends neither on other targets nor on where it was asked for.
    """
    numbers = np.array([[t.parameters, t.tokens, 6.0 * t.parameters * t.tokens] for t in targets], dtype=float)
    asked = Targets(*numbers.reshape(-1, 3).T)
    seeds = [seed_of("forecast", family, benchmark, subject, t.parameters, t.tokens) for t in targets]
    return forecast_all(scores, asked, draws=draws, seeds=seeds)


def target_rows(
    forecasts: Forecasts, scores: Scores, targets: Sequence[Target], names: Mapping[str, Any], metrics: Sequence[str]
) -> list[dict[str, Any]]:
    """Rows of ``forecasts`` without earlier errors: intervals of draws as they are, none for other methods.

    ``names`` has ``family``, ``benchmark`` and ``subject``. :func:`with_errors` adds what earlier errors say.
    """
    rows = []
    for i, target in enumerate(targets):
        flops = 6.0 * target.parameters * target.tokens
        about = {
            **names,
            "target": target.label,
            "parameters": target.parameters,
            "tokens": target.tokens,
            "flops": flops,
            "horizon": float(np.log10(flops) - np.log10(scores.flops.max())),
            "num_models": forecasts.num_selected,
            "num_items": len(scores.items),
            "chance": scores.chance,
            "movement": forecasts.movement,
            "status": "; ".join(marks(forecasts, scores, target)),
        }
        for (metric, method), predictions in forecasts.predictions.items():
            if metric not in metrics:
                continue
            drawn = predictions[i].draws
            rows.append(
                about
                | {
                    "metric": metric,
                    "method": method,
                    "forecast": predictions[i].value,
                    **(_NO_INTERVALS if drawn is None else quantiles(drawn)),
                    "interval": "none" if drawn is None else "draws",
                    "inflation": None if drawn is None else 1.0,
                    "num_inflation": 0,
                    "last_value": forecasts.predictions[metric, "last"][i].value,
                    "recommended": method == recommended(metric, forecasts.num_selected, forecasts.movement),
                }
            )
    return rows


def errors_of(backtests: pl.DataFrame) -> dict[tuple[str, str], Errors]:
    """(metric, method) -> errors, of the ``backtests`` of one family, all of its whole benchmarks together."""
    own = backtests.filter((pl.col("protocol") == "R") & pl.col("subject").is_null())
    found = {}
    for (metric, method), part in own.partition_by("metric", "method", as_dict=True, maintain_order=True).items():
        found[metric, method] = Errors(
            (part["observed"] - part["forecast"]).to_numpy(),
            part["sd"].cast(pl.Float64).fill_null(np.nan).to_numpy(),
            part["horizon"].to_numpy(),
        )
    return found


def with_errors(
    row: Mapping[str, Any], errors: Mapping[tuple[str, str], Errors], tested: set[str] | None
) -> dict[str, Any]:
    """``row`` of :func:`target_rows` with intervals that earlier ``errors`` of the family widen, or make.

    ``tested`` are the bins of horizons that the benchmark's backtests have, None where there are none to know of.
    Intervals of shares are clipped to [0, 1].
    """
    result = dict(row)
    known = errors.get((row["metric"], row["method"]))
    if known is not None and row["interval"] == "draws":
        drawn = np.isfinite(known.spreads)
        factor, count = factor_of(known.errors[drawn], known.spreads[drawn])
        result |= {"inflation": factor, "num_inflation": count, **widened(row, factor)}
    elif known is not None:
        scale, count = scale_of(known.errors, known.horizons)
        result["num_inflation"] = count
        if scale is not None:
            found = normal_interval(row["forecast"], scale * float(spread_at(np.array(row["horizon"]))))
            result |= {name: found[name] for name in _NO_INTERVALS} | {"interval": "errors"}
    if row["metric"] != "log_p_vocab_correct" and result["low80"] is not None:
        result |= {name: float(np.clip(result[name], 0.0, 1.0)) for name in _NO_INTERVALS}
    horizon = row["horizon"]
    if tested is not None and 0 < horizon <= MOST_HORIZON and bin_of(horizon) not in tested:
        result["status"] = "; ".join(part for part in (UNTESTED, row["status"]) if part)
    return result


def tested_bins(backtests: pl.DataFrame) -> set[str]:
    """The bins of horizons that some backtest of a benchmark, rolling by compute, has."""
    return set(backtests.filter((pl.col("protocol") == "R") & pl.col("bin").is_not_null())["bin"].unique())


def item_rows(
    forecasts: Sequence[Forecast], scores: Scores, targets: Sequence[Target], names: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Rows of ``forecast_items``: every target × item, in the order of the targets and of the items' ids."""
    last = scores.of_checkpoints(np.array([len(scores.flops) - 1])).metrics()["accuracy"][0]
    rows = []
    for target, found in zip(targets, forecasts, strict=True):
        about = {
            "family": names["family"],
            "benchmark": names["benchmark"],
            "target": target.label,
            "parameters": target.parameters,
            "tokens": target.tokens,
            "flops": 6.0 * target.parameters * target.tokens,
        }
        for i, item in enumerate(scores.items):
            rows.append(
                about
                | {
                    "item": item,
                    "subject": scores.subjects[i],
                    "p_right": float(found.p_right[i]),
                    "p_choices": float(found.p_choices[i]),
                    "margin_mean": float(found.margin_mean[i]),
                    "margin_sd": float(found.margin_sd[i]),
                    "last_accuracy": float(last[i]),
                }
            )
    return rows
