"""The common path of a benchmark's series, continued by universal kriging.

The path mu [T] is one series: a plane in n and d (a line in x where there is one axis, or fewer than five points) plus
a wandering whose covariance is c H, with H the wandering part of the series' kernel + (0.3 ve + 1e-9) I. Coefficients
have a flat prior, beta is their generalised least-squares estimate, and ::

    r = mu - X beta,  dof = T - p + 1,  c = (r' H^-1 r + 0.02) / dof

so that a path without any residual still has a scale. At other points * ::

    mean  X* beta + h*' H^-1 r
    covariance  c (H** - h*' H^-1 h* + u A^-1 u'),  u = X* - h*' H^-1 X,  A = X' H^-1 X

and what is not known is a Student t of dof degrees of freedom around that mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg, special

from elusive.forecast.kernel import Kernel
from elusive.forecast.points import Axes

PLANE_POINTS = 5
_NOISE_SHARE, _JITTER, _PRIOR_SCALE = 0.3, 1e-9, 0.02
_CLIP = 6.0


@dataclass(frozen=True)
class Path:
    """A path's law: ``beta`` [p], with the covariance ``beta_covariance``, and the scale ``c`` of its wandering."""

    points: Axes
    kernel: Kernel
    planes: bool
    beta: np.ndarray
    beta_covariance: np.ndarray
    c: float
    dof: int
    residual: np.ndarray
    factor: tuple[np.ndarray, bool]
    design: np.ndarray

    def predict(self, targets: Axes) -> tuple[np.ndarray, np.ndarray]:
        """Mean [targets] and covariance [targets, targets] (of the t's scale) of the path at other points."""
        cross = self.kernel.wandering(self.points, targets)
        solved = linalg.cho_solve(self.factor, cross)
        design = targets.design(self.planes)
        mean = design @ self.beta + solved.T @ self.residual
        own = self.kernel.wandering(targets, targets) + _noise(self.kernel) * np.eye(len(targets))
        left = design - solved.T @ self.design
        covariance = self.c * (own - cross.T @ solved) + left @ self.beta_covariance @ left.T
        return mean, covariance


def _noise(kernel: Kernel) -> float:
    return _NOISE_SHARE * kernel.ve + _JITTER


def fit_path(points: Axes, kernel: Kernel, path: np.ndarray) -> Path:
    """The law of ``path`` [T]. Raises :class:`numpy.linalg.LinAlgError` where it cannot be fitted."""
    planes = points.both and len(points) >= PLANE_POINTS
    design = points.design(planes)
    covariance = kernel.wandering(points, points) + _noise(kernel) * np.eye(len(points))
    factor = linalg.cho_factor(covariance, lower=True)
    solved = linalg.cho_solve(factor, design)
    information = linalg.inv(design.T @ solved)
    beta = information @ (solved.T @ path)
    residual = path - design @ beta
    dof = len(points) - design.shape[1] + 1
    c = float((residual @ linalg.cho_solve(factor, residual) + _PRIOR_SCALE) / dof)
    return Path(points, kernel, planes, beta, c * information, c, dof, residual, factor, design)


def quantile_draws(mean: float, variance: float, dof: int, count: int) -> np.ndarray:
    """``count`` values of the path at one target: the t's quantiles at (b + 1/2) / count, at most 6 scales out.

    Evenly spaced quantiles are a sample without the sample's noise. The tails are cut, since with one degree of freedom
    the t has no mean.
    """
    levels = (np.arange(count) + 0.5) / count
    return mean + np.sqrt(max(variance, 0.0)) * np.clip(special.stdtrit(dof, levels), -_CLIP, _CLIP)
