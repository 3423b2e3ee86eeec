"""One covariance over checkpoints for all series of a benchmark, its eight numbers fitted to all of them at once.

The deviation of a series (an item's margin over one wrong choice, in units of its own scale) from the benchmark's
common path has between the checkpoints t and u, with coordinates n, d, x of ``points`` and the common skill f, the
covariance ::

    G(t, u) = va + vn n_t n_u + vd d_t d_u + vf f_t f_u + vw exp(-|n_t - n_u| / LN - |d_t - d_u| / LD) + ve [t = u]

an intercept, slopes on both axes, the response to the common skill (the form of item response theory), smooth
wandering, and noise. Where N and D do not vary independently: a slope on x alone and wandering exp(-|x_t - x_u| / LN).

The numbers are estimated by empirical Bayes. With S = mean_j d_j d_j' over the series, which is all that the
likelihood needs to know of them, ::

    [log det G + tr(G^-1 S) + 0.02 sum_p ((log p - log p0) / 3)^2] / T

is minimised over the logarithms, from two starts. It costs O(T³), however many items there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg, optimize

from elusive.forecast.points import Axes

NAMES = ("va", "vn", "vd", "vf", "vw", "ve", "LN", "LD")
_START = np.array([2.0, -1.0, -1.0, -1.0, -0.5, -0.5, 0.0, 0.0])
_LENGTHS = (float(np.log(0.15)), float(np.log(8)))
_BOUNDS = np.array([(-8, 12), (-12, 8), (-12, 8), (-12, 8), (-12, 8), (-7, 6), _LENGTHS, _LENGTHS], dtype=float)
_PULL, _PULL_SCALE = 0.02, 3.0
#: Share of the series with the largest mean square that the fit leaves out.
TRIMMED = 0.01


@dataclass(frozen=True)
class Kernel:
    """The fitted numbers: variances in units of a series' own scale, lengths in decades. Unused ones are 0."""

    va: float
    vn: float
    vd: float
    vf: float
    vw: float
    ve: float
    LN: float
    LD: float

    def wandering(self, one: Axes, other: Axes) -> np.ndarray:
        """The wandering term between two sets of points: [one, other]."""
        if one.both:
            far = _distance(one.n, other.n) / self.LN + _distance(one.d, other.d) / self.LD
        else:
            far = _distance(one.x, other.x) / self.LN
        return self.vw * np.exp(-far)

    def base(self, one: Axes, other: Axes) -> np.ndarray:
        """All terms but the response to skill and the noise: [one, other]."""
        first, second = (one.n, other.n) if one.both else (one.x, other.x)
        covariance = self.va + self.vn * np.outer(first, second) + self.wandering(one, other)
        return covariance + self.vd * np.outer(one.d, other.d) if one.both else covariance

    def covariance(self, points: Axes, skill: np.ndarray) -> np.ndarray:
        """G over the points learnt from, with the skill f [points]: [points, points]."""
        return self.base(points, points) + self.vf * np.outer(skill, skill) + self.ve * np.eye(len(points))


def _distance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.abs(one[:, None] - other[None, :])


def second_moment(deviations: np.ndarray, trimmed: float = TRIMMED) -> np.ndarray:
    """S: mean over series of d_j d_j', of ``deviations`` [T, series], without the ``trimmed`` share of largest ones.

    Sums run in a fixed order, whatever the number of threads.
    """
    size = (deviations**2).mean(axis=0)
    keep = len(size) - int(trimmed * len(size))
    if keep < len(size):
        chosen = np.sort(np.argpartition(size, keep - 1)[:keep])
        deviations = deviations[:, chosen]
    return np.einsum("tj,uj->tu", deviations, deviations) / deviations.shape[1]


def fit_kernel(points: Axes, skill: np.ndarray | None, moment: np.ndarray) -> Kernel:
    """The kernel of series with second moment ``moment`` [T, T]; ``skill`` [T] is None where there is no such term.

    Raises :class:`numpy.linalg.LinAlgError` when no start leads to a positive definite covariance.
    """
    size = len(points)
    terms: dict[str, np.ndarray] = {"va": np.ones((size, size))}
    if points.both:
        terms |= {"vn": np.outer(points.n, points.n), "vd": np.outer(points.d, points.d)}
        distances = {"LN": _distance(points.n, points.n), "LD": _distance(points.d, points.d)}
    else:
        terms["vn"] = np.outer(points.x, points.x)
        distances = {"LN": _distance(points.x, points.x)}
    if skill is not None:
        terms["vf"] = np.outer(skill, skill)
    terms |= {"vw": np.zeros((size, size)), "ve": np.eye(size)}
    used = [name for name in NAMES if name in terms or name in distances]
    place = {name: i for i, name in enumerate(used)}
    index = [NAMES.index(name) for name in used]
    start, bounds = _START[index], _BOUNDS[index]

    def objective(logs: np.ndarray) -> tuple[float, np.ndarray]:
        value = np.exp(logs)
        decay = np.exp(-sum(distances[name] / value[place[name]] for name in distances))
        wander = value[place["vw"]] * decay
        parts = {name: value[place[name]] * terms[name] for name in terms if name != "vw"} | {"vw": wander}
        covariance = sum(parts.values())
        try:
            factor = linalg.cho_factor(covariance, lower=True, check_finite=False)
        except linalg.LinAlgError:
            return np.inf, np.zeros(len(logs))
        inverse = linalg.cho_solve(factor, np.eye(size), check_finite=False)
        pull = (logs - start) / _PULL_SCALE
        log_det = 2 * np.log(np.diag(factor[0])).sum()
        total = log_det + (inverse * moment).sum() + _PULL * (pull**2).sum()
        # d/dp [log det G + tr(G^-1 S)] = tr((G^-1 - G^-1 S G^-1) dG/dp)
        slope = inverse - inverse @ moment @ inverse
        gradient = 2 * _PULL * pull / _PULL_SCALE
        for name, part in parts.items():
            gradient[place[name]] += (slope * part).sum()
        for name, distance in distances.items():
            gradient[place[name]] += (slope * wander * distance).sum() / value[place[name]]
        return total / size, gradient / size

    other = start.copy()
    other[place["vn"]] -= 3
    other[place["vw"]] += 1
    best = None
    for first in (start, other):
        found = optimize.minimize(objective, first, jac=True, method="L-BFGS-B", bounds=bounds)
        if np.isfinite(found.fun) and (best is None or found.fun < best.fun):
            best = found
    if best is None:
        raise np.linalg.LinAlgError("no covariance of the checkpoints is positive definite")
    fitted = dict.fromkeys(NAMES, 0.0) | {name: float(np.exp(best.x[place[name]])) for name in used}
    return Kernel(**fitted)
