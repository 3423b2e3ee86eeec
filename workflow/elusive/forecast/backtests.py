"""Forecasts of what is known already: at each origin, methods learn from what lies before it, and are compared.

The horizon h of a target is its log10 compute minus the largest one learnt from. Three protocols:

- ``R``, rolling by compute: origins are distinct computes with at least six checkpoints at or below them (three where
  N and D are not two axes) and something to forecast, at most eight of them, evenly spaced by rank; targets are all
  checkpoints with 0.08 < h ≤ 1.8;
- ``S``, size: for each size from the third, from all smaller ones to its last checkpoint;
- ``T``, training: from all smaller models and the first j checkpoints of the largest to its later ones, j ≥ 1. With
  one size it would be R, and is left out.

Horizons are put into bins, ``x1.5`` (h < 0.34; in S and T any lower one too), ``x3`` (h < 0.74), ``x10`` (h < 1.23) and
``x30`` (h ≤ 1.8). Nothing of a target is given to a method but N, D and compute.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elusive.forecast.margins import Forecast, seed_of
from elusive.forecast.methods import Forecasts, Prediction, Targets, forecast_all
from elusive.forecast.names import BINS, KRIGING
from elusive.forecast.points import axes_of
from elusive.forecast.scores import Scores

LEAST_HORIZON, MOST_HORIZON = 0.08, 1.8
PROTOCOLS = ("R", "S", "T")
DRAWS = 100
_ORIGINS = 8
_SAME = 1e-9
#: Levels of intervals -> the quantiles that they lie between.
LEVELS = {50: (0.25, 0.75), 80: (0.1, 0.9), 95: (0.025, 0.975)}


def bin_of(horizon: float) -> str | None:
    """The bin of a horizon in decades; None beyond the last one."""
    for name, end in BINS.items():
        if horizon < end or (name == "x30" and horizon <= end):
            return name
    return None


@dataclass(frozen=True)
class Origin:
    """What may be learnt from, and what is forecast from it: rows of the scores. ``compute`` is log10 FLOPs."""

    protocol: str
    compute: float
    training: np.ndarray
    targets: np.ndarray


@dataclass(frozen=True)
class Judged:
    """The forecasts at one origin, with what the items of its targets came to be."""

    origin: Origin
    forecasts: Forecasts
    training: Scores
    observed: Scores

    @property
    def items(self) -> Sequence[Forecast]:
        """What kriging expected of every item, for each target; empty without a law."""
        return self.forecasts.items


def origins(scores: Scores) -> list[Origin]:
    """All origins of all protocols, in the order R, S, T and of their compute."""
    x = np.log10(scores.flops)
    return [*_rolling(scores, x), *_sizes(scores, x), *_training(scores, x)]


def _rolling(scores: Scores, x: np.ndarray) -> Iterator[Origin]:
    least = 6 if axes_of(scores.parameters, scores.tokens, scores.flops).both else 3
    found = []
    for compute in x[np.flatnonzero(np.diff(x, prepend=-np.inf) > _SAME)]:
        training = np.flatnonzero(x <= compute + _SAME)
        horizon = x - x[training].max()
        targets = np.flatnonzero((horizon > LEAST_HORIZON) & (horizon <= MOST_HORIZON))
        if len(training) >= least and len(targets):
            found.append(Origin("R", float(x[training].max()), training, targets))
    chosen = np.unique(np.round(np.linspace(0, len(found) - 1, min(_ORIGINS, len(found)))).astype(int))
    return (found[i] for i in chosen)


def _sizes(scores: Scores, x: np.ndarray) -> Iterator[Origin]:
    for size in np.unique(scores.parameters)[2:]:
        training = np.flatnonzero(scores.parameters < size)
        own = np.flatnonzero(scores.parameters == size)
        target = own[scores.tokens[own] == scores.tokens[own].max()]
        if bin_of(float(x[target].max() - x[training].max())) is not None:
            yield Origin("S", float(x[training].max()), training, target)


def _training(scores: Scores, x: np.ndarray) -> Iterator[Origin]:
    largest = scores.parameters == scores.parameters.max()
    if largest.all():
        return
    own = np.flatnonzero(largest)
    own = own[np.argsort(scores.tokens[own], kind="stable")]
    for count in range(1, len(own)):
        training = np.sort(np.r_[np.flatnonzero(~largest), own[:count]])
        compute = float(x[training].max())
        later = own[count:]
        targets = later[x[later] - compute <= MOST_HORIZON]
        if len(targets):
            yield Origin("T", compute, training, targets)


def judge(scores: Scores, origin: Origin, family: str, benchmark: str, draws: int = DRAWS) -> Judged:
    """The forecasts at one origin of ``scores``; family and benchmark name them in the seeds."""
    training, observed = scores.of_checkpoints(origin.training), scores.of_checkpoints(origin.targets)
    targets = Targets(observed.parameters, observed.tokens, observed.flops)
    names = zip(observed.models, observed.checkpoints, strict=True)
    seeds = [seed_of(family, benchmark, origin.protocol, f"{origin.compute:.9f}", *name) for name in names]
    return Judged(origin, forecast_all(training, targets, draws=draws, seeds=seeds), training, observed)


def rows_of(judged: Judged) -> Iterator[dict[str, Any]]:
    """Rows of the table ``backtests`` without the columns that name family, benchmark and subject."""
    origin, forecasts, observed = judged.origin, judged.forecasts, judged.observed
    seen = {name: values.mean(axis=1) for name, values in observed.metrics().items()}
    horizons = np.log10(observed.flops) - origin.compute
    for i in range(len(origin.targets)):
        about = {
            "protocol": origin.protocol,
            "origin": origin.compute,
            "num_models": len(origin.training),
            "num_selected": forecasts.num_selected,
            "movement": forecasts.movement,
            "model": observed.models[i],
            "checkpoint": observed.checkpoints[i],
            "parameters": int(observed.parameters[i]),
            "tokens": int(observed.tokens[i]),
            "flops": float(observed.flops[i]),
            "horizon": float(horizons[i]),
            "bin": bin_of(float(horizons[i])),
        }
        for (metric, method), predictions in forecasts.predictions.items():
            value = float(seen[metric][i])
            yield about | {
                "metric": metric,
                "method": method,
                "forecast": predictions[i].value,
                "observed": value,
                "last_value": forecasts.predictions[metric, "last"][i].value,
                "status": forecasts.status if method == KRIGING else "",
                **describe_draws(predictions[i], value),
            }


def quantiles(draws: np.ndarray) -> dict[str, float]:
    """Ends of the intervals of :data:`LEVELS`: ``low50``, ``high50``, ..."""
    levels = [level for ends in LEVELS.values() for level in ends]
    names = [f"{end}{level}" for level in LEVELS for end in ("low", "high")]
    return dict(zip(names, np.quantile(draws, levels, method="hazen").tolist(), strict=True))


def describe_draws(prediction: Prediction, observed: float) -> dict[str, float | None]:
    """Spread of a prediction's draws and their scores against what was ``observed``; None without draws.

    The continuous ranked probability score is E|X - y| - E|X - X'| / 2, with X' over the other draws; ``pit`` is the
    share of draws below y, and half of those at it.
    """
    if prediction.draws is None:
        return dict.fromkeys(["sd", "crps", "pit", *(f"{end}{level}" for level in LEVELS for end in ("low", "high"))])
    draws = np.sort(prediction.draws)
    count = len(draws)
    pairs = 2 * float(draws @ (2 * np.arange(count) - count + 1)) / (count * (count - 1))
    return {
        "sd": float(draws.std()),
        "crps": float(np.abs(draws - observed).mean()) - pairs / 2,
        "pit": float((draws < observed).mean() + (draws == observed).mean() / 2),
        **quantiles(draws),
    }


def backtest_rows(scores: Scores, family: str, benchmark: str) -> list[dict[str, Any]]:
    """All rows of ``backtests`` of one family and benchmark."""
    return [row for origin in origins(scores) for row in rows_of(judge(scores, origin, family, benchmark))]
