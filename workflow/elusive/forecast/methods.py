"""Every method's forecasts from one set of checkpoints: the recommended one, and all that it is compared with.

A method sees the scores of the checkpoints that it may learn from, and of targets nothing but N, D and compute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from elusive.forecast import margins
from elusive.forecast.clustering import clusters
from elusive.forecast.composed import choice_lines, mean_kriging
from elusive.forecast.laws import LAWS, Means, fit_law
from elusive.forecast.names import KRIGING
from elusive.forecast.points import Axes, axes_of, select_for_kriging, select_for_laws
from elusive.forecast.scores import METRICS, Scores

_SHARES = ("accuracy", "p_choices_correct", "brier")

#: Method -> metrics that it makes sense for, in the order of the tables.
METHODS: dict[str, tuple[str, ...]] = {
    KRIGING: tuple(METRICS),
    **{name: metrics for name, (_, metrics) in LAWS.items()},
    "mean_kriging": _SHARES,
    "choice_lines": _SHARES,
    "clusters": ("accuracy", "p_choices_correct"),
}


@dataclass(frozen=True)
class Prediction:
    """A forecast of a mean score, with its draws where the method has them."""

    value: float
    draws: np.ndarray | None = None


@dataclass(frozen=True)
class Forecasts:
    """What every method forecasts at every target.

    ``predictions``: (metric, method) -> a prediction for each target. ``num_selected`` is T, the number of checkpoints
    that kriging learns from, ``points`` their coordinates, ``law`` what it has learnt, None where there are too few or
    the fit failed; ``status`` says so, else is empty. ``items``: what kriging expects of every item, for each target.
    """

    predictions: dict[tuple[str, str], list[Prediction]]
    num_selected: int
    points: Axes
    law: margins.Law | None
    status: str
    items: list[margins.Forecast] = field(default_factory=list)

    @property
    def movement(self) -> float | None:
        """The movement of the common path, see :class:`elusive.forecast.margins.Law`; None without a law."""
        return None if self.law is None else self.law.movement


@dataclass(frozen=True)
class Targets:
    """What is forecast, float64 [targets] each."""

    parameters: np.ndarray
    tokens: np.ndarray
    flops: np.ndarray

    def __len__(self) -> int:
        return len(self.flops)


def fit_kriging(scores: Scores) -> tuple[margins.Law | None, Axes, np.ndarray, str]:
    """The law, the coordinates and the rows of the checkpoints that it learns from, and why there is none (else '')."""
    rows = select_for_kriging(scores.parameters, scores.tokens, scores.flops)
    chosen = scores.of_checkpoints(rows)
    axes = axes_of(chosen.parameters, chosen.tokens, chosen.flops)
    if len(rows) < margins.LEAST_POINTS:
        return None, axes, rows, f"{len(rows)} checkpoints are too few for a law: the last value stands in"
    try:
        return margins.fit(chosen, axes), axes, rows, ""
    except np.linalg.LinAlgError as error:
        return None, axes, rows, f"the fit failed ({error}): the last value stands in"


def forecast_all(scores: Scores, targets: Targets, *, draws: int, seeds: Sequence[Sequence[int]]) -> Forecasts:
    """Every method's forecasts at ``targets`` from ``scores``, all of which may be learnt from.

    ``draws`` is the number of draws, ``seeds`` holds a seed for each target.
    """
    law, points, selected, status = fit_kriging(scores)
    values = scores.metrics()
    means = {name: table.mean(axis=1) for name, table in values.items()}
    rows = select_for_laws(scores.parameters, scores.tokens, scores.flops)
    picked = scores.of_checkpoints(rows)
    axes = axes_of(picked.parameters, picked.tokens, picked.flops)
    at = axes.at(targets.parameters, targets.tokens, targets.flops)
    found: dict[tuple[str, str], list[Prediction]] = {}
    items: list[margins.Forecast] = []
    own = at
    if law is not None:
        own = law.margins.points.at(targets.parameters, targets.tokens, targets.flops)
        for i in range(len(targets)):
            items.append(margins.forecast(law, own.only(i), draws, seeds[i]))
    for metric in METRICS:
        y = means[metric]
        about = Means(
            axes=axes,
            y=y[rows],
            loss=-means["log_p_vocab_correct"][rows],
            p_choices=means["p_choices_correct"][rows],
            last=float(y[-1]),
            chance=scores.chance,
        )
        if law is None:
            found[metric, KRIGING] = [Prediction(float(y[-1]))] * len(targets)
        else:
            found[metric, KRIGING] = [Prediction(float(f.draws[metric].mean()), f.draws[metric]) for f in items]
        for name, (_, metrics) in LAWS.items():
            if metric in metrics:
                found[metric, name] = [Prediction(float(v)) for v in fit_law(name, metric, about)(at)]
        if metric in METHODS["mean_kriging"]:
            found[metric, "mean_kriging"] = _of_means(law, y[selected], own, float(y[-1]), draws)
        if metric in METHODS["clusters"]:
            improving = (values[metric][rows], values["p_choices_correct"][rows], 1 / scores.num_choices)
            predicted = clusters(*improving, axes, float(y[-1]), at)
            found[metric, "clusters"] = [Prediction(float(v)) for v in predicted]
    for metric, predicted in choice_lines(picked, axes, at).items():
        found[metric, "choice_lines"] = [Prediction(float(v)) for v in predicted]
    return Forecasts(found, len(selected), points, law, status, items)


def _of_means(law: margins.Law | None, y: np.ndarray, targets: Axes, last: float, draws: int) -> list[Prediction]:
    """Kriging of the mean scores ``y`` of the law's points, the last value where there is none."""
    if law is None:
        return [Prediction(last)] * len(targets)
    try:
        drawn = mean_kriging(law.margins.points, law.margins.kernel, y, targets, draws)
    except np.linalg.LinAlgError:
        return [Prediction(last)] * len(targets)
    return [Prediction(float(values.mean()), values) for values in drawn]
