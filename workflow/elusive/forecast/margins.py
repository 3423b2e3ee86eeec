"""Kriging of margins: the law of every right-minus-wrong margin of a benchmark, composed to scores of items and means.

Series j = (item, wrong choice) is the margin y_jt = l_itc - l_itk over the checkpoints t = 1..T, in ascending compute.
With v_j its residual variance around its own line in x (df = T - 2; around the mean with fewer than four points), ::

    s_j² = (4 median(v) + df v_j) / (4 + df),   z_jt = y_jt / s_j,   mu_t = mean_j z_jt,   d_jt = z_jt - mu_t
    f_t = (mu_t - mu_T) / sd(mu)

``kernel`` gives G, the covariance of the deviations d, ``path`` the law of mu. At a target, for draw b of the path,
with g the base kernel to the points and f*_b = (mu*_b - mu_T) / sd(mu), ::

    mean_jb  = s_j [mu*_b + a_j + b_j f*_b],  a_j = g' G^-1 d_j,  b_j = vf f' G^-1 d_j
    variance = s_j² v,  v = G** - gs' G^-1 gs,  gs = g + vf fbar f,  fbar = mean_b f*_b
    m_ikb    = mean_jb + s_j sqrt(v) [sqrt(rho) e_ib + sqrt(1 - rho) e_ikb]

where rho is how far the whitened deviations of an item's margins agree, since they share the right choice. An item is
right in a draw where all its margins are positive; its other scores follow from its margins alone (``scores.shares``).
The mean over items is a draw of the benchmark's mean; forecasts are means of draws, intervals their quantiles.

log p_vocab needs the right choice's level, not margins: the same machinery without skill on the series l_itc, with
draws mean_j(s_j a_j) + mean_j(s_j) mu*_b.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg

from elusive.forecast.kernel import Kernel, fit_kernel, second_moment
from elusive.forecast.path import Path, fit_path, quantile_draws
from elusive.forecast.points import Axes
from elusive.forecast.scores import Scores

#: Fewer points than this give the last value, and fewer than ``RECOMMENDED_POINTS`` no recommendation but it.
LEAST_POINTS, RECOMMENDED_POINTS = 3, 5
_PRIOR_DF = 4.0
_LEAST_VARIANCE = 1e-9
_MOST_CORRELATED = 0.98
# Items taken at a time, which bounds the memory. No result depends on it.
_BLOCK = 2048


@dataclass(frozen=True)
class Series:
    """The law of many series over the same points.

    ``scale`` [series] is s_j, ``path`` the law of their mean, ``deviations`` [T, series] are d,
    ``skill`` [T] is f, or None without such a term, ``factor`` the Cholesky factor of G.
    """

    points: Axes
    scale: np.ndarray
    mean: np.ndarray
    deviations: np.ndarray
    skill: np.ndarray | None
    skill_scale: float
    kernel: Kernel
    factor: tuple[np.ndarray, bool]
    path: Path


@dataclass(frozen=True)
class Law:
    """What kriging of margins has learnt of a benchmark: the laws of margins and of right choices, and ``rho``."""

    scores: Scores
    margins: Series
    right: Series
    rho: float

    @property
    def movement(self) -> float:
        """Common wandering of the path over what as many independent items would give: c / c_min.

        c_min = (1 + (mean(K) - 2) rho) / J with J series. Below
        :data:`~elusive.forecast.names.MOVING` there is no common movement.
        """
        num_choices = self.scores.num_choices
        least = (1 + (num_choices.mean() - 2) * self.rho) / int(self.scores.exists.sum())
        return self.margins.path.c / least


@dataclass(frozen=True)
class Forecast:
    """Draws of the benchmark's means at one target, and what is expected of every item.

    ``draws``: metric -> float64 [draws]. ``p_right``, ``p_choices``, ``margin_mean`` and ``margin_sd`` (of the margin
    over the best wrong choice, nats) are [items].
    """

    draws: dict[str, np.ndarray]
    p_right: np.ndarray
    p_choices: np.ndarray
    margin_mean: np.ndarray
    margin_sd: np.ndarray


def series_scale(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """s_j [series]: standard deviations of ``values`` [T, series] around lines in ``x``, shrunk to their median.

    A series that never moves, among others that never move, has no scale: it gets a millionth of its own size.
    """
    count = len(x)
    residual = values - values.mean(axis=0)
    df = max(1, count - 1)
    if count >= 4:
        centred = x - x.mean()
        slope = np.einsum("t,tj->j", centred, residual) / max(float(centred @ centred), 1e-300)
        residual = residual - centred[:, None] * slope
        df = count - 2
    variance = (residual**2).sum(axis=0) / df
    shrunk = (_PRIOR_DF * np.median(variance) + df * variance) / (_PRIOR_DF + df)
    floor = 1e-12 * (values**2).mean(axis=0)
    shrunk = np.maximum(shrunk, np.where(floor > 0, floor, 1.0) if not np.median(variance) else floor)
    return np.sqrt(shrunk)


def fit_series(points: Axes, values: np.ndarray, with_skill: bool) -> Series:
    """The law of the series ``values`` [T, series]. Raises :class:`numpy.linalg.LinAlgError` where it has none."""
    scale = series_scale(points.x, values)
    standard = values / scale
    mean = standard.mean(axis=1)
    deviations = standard - mean[:, None]
    spread = float(mean.std())
    skill = None
    if with_skill:
        skill = (mean - mean[-1]) / spread if spread > 0 else np.zeros(len(mean))
    kernel = fit_kernel(points, skill, second_moment(deviations))
    covariance = kernel.covariance(points, np.zeros(len(points)) if skill is None else skill)
    factor = linalg.cho_factor(covariance, lower=True)
    path = fit_path(points, kernel, mean)
    return Series(points, scale, mean, deviations, skill, spread, kernel, factor, path)


def fit(scores: Scores, points: Axes) -> Law:
    """The law of ``scores``, whose checkpoints are the points learnt from, in ascending compute.

    Raises :class:`numpy.linalg.LinAlgError` where a covariance is not positive definite, or numbers are not finite.
    """
    margins = fit_series(points, scores.margins[:, scores.exists], with_skill=True)
    right = fit_series(points, scores.right, with_skill=False)
    for series in (margins, right):
        if not (np.isfinite(series.path.beta).all() and np.isfinite(series.path.c)):
            raise np.linalg.LinAlgError("the common path has no finite law")
    return Law(scores, margins, right, _correlation(scores.exists, margins))


def _correlation(exists: np.ndarray, series: Series) -> float:
    """Pooled correlation over pairs of an item's wrong choices of the whitened deviations; 0 where K = 2."""
    whitened = np.zeros((len(series.points), *exists.shape))
    whitened[:, exists] = linalg.solve_triangular(series.factor[0], series.deviations, lower=True)
    product = size = 0.0
    for first in range(exists.shape[1]):
        for second in range(first + 1, exists.shape[1]):
            pair = exists[:, first] & exists[:, second]
            one, other = whitened[:, pair, first], whitened[:, pair, second]
            product += float((one * other).sum())
            size += float((one**2 + other**2).sum()) / 2
    return float(np.clip(product / size, 0, _MOST_CORRELATED)) if size > 0 else 0.0


def seed_of(*parts: object) -> list[int]:
    """A seed for numpy from what a draw is for: the same on every machine, and another for every other thing."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return [int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4)]


def forecast(law: Law, target: Axes, draws: int, seed: Sequence[int]) -> Forecast:
    """Draws of all metrics at one ``target`` (an :class:`Axes` of one point); ``seed`` is from :func:`seed_of`."""
    scores, series = law.scores, law.margins
    mean, covariance = series.path.predict(target)
    path = quantile_draws(float(mean[0]), float(covariance[0, 0]), series.path.dof, draws)
    skill = (path - series.mean[-1]) / series.skill_scale if series.skill_scale > 0 else np.zeros(draws)
    kernel = series.kernel
    cross = kernel.base(series.points, target)[:, 0]
    response = kernel.vf * series.skill
    weights = linalg.cho_solve(series.factor, np.stack([cross, response], axis=1))
    level, slope = np.einsum("tk,tj->kj", weights, series.deviations)
    centre = float(skill.mean())
    joint = cross + centre * response
    own = float(kernel.base(target, target)[0, 0]) + kernel.vf * centre**2 + kernel.ve
    variance = max(own - float(joint @ linalg.cho_solve(series.factor, joint)), _LEAST_VARIANCE)
    sums, items = _compose(law, path, skill, level, slope, variance, np.random.default_rng(list(seed)))
    found = {name: total / len(scores.items) for name, total in sums.items()}
    found["log_p_vocab_correct"] = _right_choices(law.right, target, draws)
    return Forecast(found, *items)


def _right_choices(series: Series, target: Axes, draws: int) -> np.ndarray:
    """Draws of the mean log-likelihood of the right choices, in nats."""
    mean, covariance = series.path.predict(target)
    path = quantile_draws(float(mean[0]), float(covariance[0, 0]), series.path.dof, draws)
    cross = series.kernel.base(series.points, target)[:, 0]
    scaled = np.einsum("tj,j->t", series.deviations, series.scale) / len(series.scale)
    return float(scaled @ linalg.cho_solve(series.factor, cross)) + series.scale.mean() * path


def _compose(
    law: Law,
    path: np.ndarray,
    skill: np.ndarray,
    level: np.ndarray,
    slope: np.ndarray,
    variance: float,
    generator: np.random.Generator,
) -> tuple[dict[str, np.ndarray], tuple[np.ndarray, ...]]:
    """Sums over items of each draw's scores, and the items' means over draws.

    ``level`` and ``slope`` [series] are a and b. Noise is drawn item by item, so that blocks leave it as it is.
    """
    exists, num_choices = law.scores.exists, law.scores.num_choices
    count, width = exists.shape
    scale, constant, response = (np.zeros(exists.shape, np.float32) for _ in range(3))
    for array, values in ((scale, law.margins.scale), (constant, level), (response, slope)):
        array[exists] = values
    sums = {name: np.zeros(len(path)) for name in ("accuracy", "p_choices_correct", "brier")}
    items = tuple(np.zeros(count) for _ in range(4))
    path32, skill32 = path.astype(np.float32), skill.astype(np.float32)
    shared = np.float32(np.sqrt(variance * law.rho))
    single = np.float32(np.sqrt(variance * (1 - law.rho)))
    for start in range(0, count, _BLOCK):
        rows = slice(start, min(start + _BLOCK, count))
        mask = exists[rows]
        noise = generator.standard_normal((len(mask), width + (width > 1), len(path)), dtype=np.float32)
        margins = noise[:, :width]
        if width > 1:
            margins *= single
            margins += shared * noise[:, width:]
        else:
            margins *= np.float32(np.sqrt(variance))
        margins += path32
        margins += constant[rows, :, None]
        margins += response[rows, :, None] * skill32
        margins *= scale[rows, :, None]
        margins[~mask] = np.inf
        least = margins.min(axis=1)
        right = least > 0
        # exp(-m) of the wrong choices and 1 of the right one, over the largest of them: none overflows.
        top = np.minimum(least, 0)
        margins -= top[:, None]
        np.negative(margins, out=margins)
        weights = np.exp(margins, out=margins)
        own = np.exp(top)
        wrong = weights.sum(axis=1)
        total = own + wrong
        p_right = own / total
        squares = np.einsum("iwb,iwb->ib", weights, weights)
        brier = (wrong * wrong + squares) / (total * total) / num_choices[rows, None].astype(np.float32)
        for name, values in (("accuracy", right), ("p_choices_correct", p_right), ("brier", brier)):
            sums[name] += values.sum(axis=0, dtype=np.float64)
        items[0][rows] = right.mean(axis=1)
        items[1][rows] = p_right.mean(axis=1, dtype=np.float64)
        items[2][rows] = least.mean(axis=1, dtype=np.float64)
        items[3][rows] = least.std(axis=1, dtype=np.float64)
    return sums, items
