"""Laws of a benchmark's mean score, which forecasts of single choices are compared with.

Each law is fitted by unweighted least squares to the mean scores y of the checkpoints that ``points.select_for_laws``
picks, with the coordinates n, d, x of ``points``, and evaluated at targets:

- ``last``: the score at the largest compute of all checkpoints; ``mean3``: the mean of the last three picked;
- ``linear``: y on x; ``logit``: logit y on x, with y within [0.005, 0.995];
- ``power_error``: log(1 - y) on x, with 1 - y at least 0.002;
- ``log_accuracy``: -log y = A C^-a, as log(-log y) on x, with y and -log y at least 0.001 (Krajewski et al. 2025);
- ``log_accuracy_norm``: the same of u = (y - lo) / (1 - lo) within [0.02, 0.998], lo = min(chance, min y - 0.01);
- ``logit2``, ``power2``: logit y, or log(1 - y), on 1, n, d with a ridge of 0.001 on the slopes;
- ``power_loss``: E + A C^-a of -y, for log-likelihoods;
- ``two_step``: E + A C^-a of the mean negative log-likelihood L of the right choice, then y = lo + (hi - lo)
  sigmoid(-k (L - m)) with hi ≤ 1, and weak pulls of hi to 1 and of lo to min(chance, min y);
- ``two_step_linear``: the same loss, then y on L; ``p_choices_step``: mean p_choices on x, then y on mean p_choices.

Forecasts of shares are clipped to [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from elusive.forecast.points import Axes

_RIDGE = 1e-3
_PULL = 0.05
#: Of the sigmoid's low and high end, steepness and middle, the last two in standard deviations of the losses seen.
_BOUNDS = ((-0.2, 1.0), (0.0, 1.0), (0.0, 50.0), (-50.0, 50.0))
_SCALE = 1e4


@dataclass(frozen=True)
class Means:
    """Mean scores to learn from, each [points], ascending in compute.

    ``axes`` are the coordinates, ``y`` the metric that is forecast, ``loss`` the mean negative log-likelihood of the
    right choice in nats, ``p_choices`` the mean share of the right choice; ``last`` is y at the largest compute of all
    checkpoints, picked or not, ``chance`` the accuracy of guessing.
    """

    axes: Axes
    y: np.ndarray
    loss: np.ndarray
    p_choices: np.ndarray
    last: float
    chance: float


#: A fitted law: coordinates of targets -> forecasts [targets].
Fitted = Callable[[Axes], np.ndarray]


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Intercept and slope of the least-squares line; slope 0 where x does not vary."""
    centred = x - x.mean()
    size = centred @ centred
    slope = float(centred @ (y - y.mean()) / size) if size > 0 else 0.0
    return float(y.mean() - slope * x.mean()), slope


def _on_x(transformed: np.ndarray, means: Means, back: Callable[[np.ndarray], np.ndarray]) -> Fitted:
    intercept, slope = _line(means.axes.x, transformed)
    return lambda targets: back(intercept + slope * targets.x)


def _on_plane(transformed: np.ndarray, means: Means, back: Callable[[np.ndarray], np.ndarray]) -> Fitted:
    """On 1, n, d with a ridge on the slopes; on x where N and D do not vary independently."""
    if not means.axes.both:
        return _on_x(transformed, means, back)
    design = means.axes.design()
    centre, level = design[:, 1:].mean(axis=0), transformed.mean()
    centred = design[:, 1:] - centre
    slopes = np.linalg.solve(centred.T @ centred + _RIDGE * np.eye(2), centred.T @ (transformed - level))
    # Not a matrix product, whose last bit may depend on how many targets there are.
    return lambda targets: back(level + ((targets.design()[:, 1:] - centre) * slopes).sum(axis=1))


def _constant(value: float) -> Fitted:
    return lambda targets: np.full(len(targets), value)


def _logit(y: np.ndarray) -> np.ndarray:
    return special.logit(np.clip(y, 0.005, 0.995))


def _log_error(y: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(1 - y, 0.002))


def _error_of_log(values: np.ndarray) -> np.ndarray:
    return 1 - np.exp(np.minimum(values, 0.0))


def _log_log(y: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(-np.log(np.maximum(y, 1e-3)), 1e-3))


def last(means: Means) -> Fitted:
    """The score at the largest compute."""
    return _constant(means.last)


def mean3(means: Means) -> Fitted:
    """The mean of the last three."""
    return _constant(float(means.y[-3:].mean()))


def linear(means: Means) -> Fitted:
    """y on x."""
    return _on_x(means.y, means, lambda values: values)


def logit(means: Means) -> Fitted:
    """logit y on x."""
    return _on_x(_logit(means.y), means, special.expit)


def power_error(means: Means) -> Fitted:
    """log(1 - y) on x."""
    return _on_x(_log_error(means.y), means, _error_of_log)


def log_accuracy(means: Means) -> Fitted:
    """-log y = A C^-a."""
    return _on_x(_log_log(means.y), means, lambda values: np.exp(-np.exp(values)))


def log_accuracy_norm(means: Means) -> Fitted:
    """-log of the share above the floor = A C^-a."""
    floor = min(means.chance, float(means.y.min()) - 0.01)
    share = np.clip((means.y - floor) / (1 - floor), 0.02, 0.998)
    return _on_x(_log_log(share), means, lambda values: floor + (1 - floor) * np.exp(-np.exp(values)))


def logit2(means: Means) -> Fitted:
    """logit y on n and d."""
    return _on_plane(_logit(means.y), means, special.expit)


def power2(means: Means) -> Fitted:
    """log(1 - y) on n and d."""
    return _on_plane(_log_error(means.y), means, _error_of_log)


def loss_law(x: np.ndarray, loss: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """E + A C^-a of ``loss`` [points], all positive, on log10 compute; a line with fewer than four points.

    E runs over a grid from 0 to just below the least loss, then over a finer one around the best; for each, log(loss -
    E) is a line with a slope of at most 0, and the E with the least squared error of the loss is taken.
    """
    if len(x) < 4:
        intercept, slope = _line(x, loss)
        return lambda targets: intercept + slope * targets
    centred = x - x.mean()
    size = max(float(centred @ centred), 1e-300)
    distances = np.linspace(-3, 0, 60)
    for _ in range(2):
        floors = loss.min() * (1 - 10**distances)
        logs = np.log(loss[None, :] - floors[:, None])
        slopes = np.minimum((logs * centred).sum(axis=1) / size, 0.0)
        levels = logs.mean(axis=1) - slopes * x.mean()
        fitted = floors[:, None] + np.exp(levels[:, None] + slopes[:, None] * x)
        best = int(((fitted - loss) ** 2).sum(axis=1).argmin())
        floor, level, slope = floors[best], levels[best], slopes[best]
        distances = np.linspace(distances[max(best - 1, 0)], distances[min(best + 1, 59)], 60)
    return lambda targets: floor + np.exp(level + slope * targets)


def power_loss(means: Means) -> Fitted:
    """E + A C^-a of minus the score, a log-likelihood."""
    law = loss_law(means.axes.x, -means.y)
    return lambda targets: -law(targets.x)


def two_step(means: Means) -> Fitted:
    """The loss by its law, then a sigmoid of the loss; a line where there are no more points than its four numbers."""
    if len(means.y) <= 4:
        return two_step_linear(means)
    law = loss_law(means.axes.x, means.loss)
    centre, spread = float(means.loss.mean()), float(means.loss.std()) or 1.0
    floor = min(means.chance, float(means.y.min()))
    z = (means.loss - centre) / spread

    def squares(values: np.ndarray) -> tuple[float, np.ndarray]:
        """Sum of squared errors and pulls, and its gradient."""
        low, high, steepness, middle = values
        rise = special.expit(-steepness * (z - middle))
        error = low + (high - low) * rise - means.y
        slope = (high - low) * rise * (1 - rise)
        partial = np.stack([1 - rise, rise, -slope * (z - middle), slope * steepness])
        pulls = _PULL**2 * np.array([low - floor, high - 1, 0.0, 0.0])
        total = error @ error + (pulls @ pulls) / _PULL**2
        return _SCALE * total, 2 * _SCALE * (partial @ error + pulls)

    low_start = min(max(floor, 0.0), 0.98)
    best = None
    # Starts within the losses seen: a rise that begins below all of them would fit any scores.
    for steepness in (0.5, 2.0):
        for middle in (-1.0, 0.5):
            start = [low_start, max(min(float(means.y.max()) + 0.2, 1.0), low_start + 0.01), steepness, middle]
            found = optimize.minimize(squares, start, jac=True, method="L-BFGS-B", bounds=_BOUNDS)
            if best is None or found.fun < best.fun:
                best = found
    low, high, steepness, middle = best.x
    return lambda targets: (
        low + (high - low) * special.expit(-steepness * ((law(targets.x) - centre) / spread - middle))
    )


def two_step_linear(means: Means) -> Fitted:
    """The loss by its law, then a line in the loss."""
    law = loss_law(means.axes.x, means.loss)
    intercept, slope = _line(means.loss, means.y)
    return lambda targets: intercept + slope * law(targets.x)


def p_choices_step(means: Means) -> Fitted:
    """Mean p_choices on x, then a line in it."""
    intercept, slope = _line(means.axes.x, means.p_choices)
    level, gain = _line(means.p_choices, means.y)
    return lambda targets: level + gain * (intercept + slope * targets.x)


_SHARES = ("accuracy", "p_choices_correct", "brier")
_RISING = ("accuracy", "p_choices_correct")

#: Law -> how it is fitted, and the metrics that it makes sense for.
LAWS: dict[str, tuple[Callable[[Means], Fitted], tuple[str, ...]]] = {
    "last": (last, (*_SHARES, "log_p_vocab_correct")),
    "mean3": (mean3, (*_SHARES, "log_p_vocab_correct")),
    "linear": (linear, (*_SHARES, "log_p_vocab_correct")),
    "logit": (logit, _SHARES),
    "power_error": (power_error, _RISING),
    "log_accuracy": (log_accuracy, _RISING),
    "log_accuracy_norm": (log_accuracy_norm, _RISING),
    "logit2": (logit2, _SHARES),
    "power2": (power2, _RISING),
    "power_loss": (power_loss, ("log_p_vocab_correct",)),
    "two_step": (two_step, _RISING),
    "two_step_linear": (two_step_linear, _SHARES),
    "p_choices_step": (p_choices_step, ("accuracy", "brier")),
}


def fit_law(name: str, metric: str, means: Means) -> Fitted:
    """The law ``name`` of ``metric``, with forecasts of shares clipped to [0, 1]."""
    fitted = LAWS[name][0](means)
    if metric in _SHARES:
        return lambda targets: np.clip(fitted(targets), 0.0, 1.0)
    return fitted
