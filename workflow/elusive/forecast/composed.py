"""Two forecasts that show what the parts of the method are worth.

``choice_lines``: an ordinary least-squares line in x for the log-likelihood of every single choice, composed to scores:
the naive reading of scaling laws for incorrect choices. ``mean_kriging``: the law of ``path``, on the logit of the
benchmark's mean score, with the wandering that the items' kernel has: what is left without items.
"""

from __future__ import annotations

import numpy as np
from scipy import special

from elusive.forecast.kernel import Kernel
from elusive.forecast.path import fit_path, quantile_draws
from elusive.forecast.points import Axes
from elusive.forecast.scores import Scores

_EDGE = 0.005


def choice_lines(scores: Scores, points: Axes, targets: Axes) -> dict[str, np.ndarray]:
    """Mean accuracy, p_choices_correct and brier at ``targets`` [targets] from a line for every choice.

    ``scores`` are those of the checkpoints at ``points``. A line for every margin is the difference of two lines.
    """
    centred = points.x - points.x.mean()
    size = max(float(centred @ centred), 1e-300)

    def continued(values: np.ndarray) -> np.ndarray:
        level = values.mean(axis=0)
        slope = np.einsum("t,t...->...", centred, values - level) / size
        return level + slope * (targets.x - points.x.mean()).reshape(-1, *[1] * level.ndim)

    count = len(targets)
    composed = Scores(
        models=("",) * count,
        checkpoints=("",) * count,
        parameters=np.zeros(count),
        tokens=np.zeros(count),
        flops=np.zeros(count),
        items=scores.items,
        subjects=scores.subjects,
        right=continued(scores.right),
        margins=continued(scores.margins),
        exists=scores.exists,
        wins_ties=scores.wins_ties,
    )
    found = composed.metrics()
    return {name: found[name].mean(axis=1) for name in ("accuracy", "p_choices_correct", "brier")}


def mean_kriging(points: Axes, kernel: Kernel, y: np.ndarray, targets: Axes, draws: int) -> list[np.ndarray]:
    """Draws [draws] of the mean score at each of ``targets`` from its values ``y`` [T], a share, at ``points``.

    Raises :class:`numpy.linalg.LinAlgError` where the path has no law.
    """
    path = fit_path(points, kernel, special.logit(np.clip(y, _EDGE, 1 - _EDGE)))
    mean, covariance = path.predict(targets)
    return [
        special.expit(quantile_draws(float(mean[i]), float(covariance[i, i]), path.dof, draws))
        for i in range(len(targets))
    ]
