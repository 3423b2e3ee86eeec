"""Scores whose law is known: margins drawn from the covariance that the method assumes, and variants of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from elusive.forecast.points import axes_of
from elusive.forecast.scores import Scores

SIZES, STEPS = np.arange(6.0, 7.51, 0.5), np.arange(8.0, 9.21, 0.3)


@dataclass(frozen=True)
class Truth:
    """Slopes and intercept of the common path, the scale of its wandering, and the deviations' variances."""

    intercept: float = 0.6
    slope_n: float = 0.3
    slope_d: float = 0.5
    path: float = 0.05
    va: float = 4.0
    vn: float = 0.15
    vd: float = 0.3
    vw: float = 0.4
    ve: float = 0.15
    within: float = 0.15
    correlation: float = 0.5
    items: int = 200
    wrong: int = 2


NULL = Truth(slope_n=0.0, slope_d=0.0, path=0.002)
SMOOTH = Truth(path=1e-6, vw=1e-6, ve=1e-6, within=1e-6)


def generate(seed: int, truth: Truth = Truth()) -> Scores:
    """Scores of four sizes of five checkpoints, all items with the same number of choices."""
    generator = np.random.default_rng(seed)
    n, d = (grid.ravel() for grid in np.meshgrid(SIZES, STEPS, indexing="ij"))
    parameters, tokens = 10**n, 10**d
    flops = 6 * parameters * tokens
    n, d = n - n.max(), d - d.max()
    far_n, far_d = np.abs(n[:, None] - n), np.abs(d[:, None] - d)
    wander = np.exp(-far_n / 1.0 - far_d / 0.5)
    within = np.exp(-far_d / 0.5) * (far_n == 0)
    same = np.eye(len(n))
    smooth = truth.vw * wander + truth.within * within
    slopes = truth.vn * np.outer(n, n) + truth.vd * np.outer(d, d)
    deviation = truth.va + slopes + smooth + truth.ve * same
    common = truth.path * (smooth + 0.3 * truth.ve * same)
    root = np.linalg.cholesky(deviation + 1e-10 * same)
    shared = generator.standard_normal((len(n), truth.items, 1))
    single = generator.standard_normal((len(n), truth.items, truth.wrong))
    rho = truth.correlation
    drawn = np.sqrt(rho) * shared + np.sqrt(1 - rho) * single
    deviations = np.einsum("tu,uiw->tiw", root, drawn)
    path = truth.intercept + truth.slope_n * n + truth.slope_d * d
    path = path + np.linalg.cholesky(common + 1e-12 * same) @ generator.standard_normal(len(n))
    scale = np.exp(0.5 * generator.standard_normal((truth.items, 1)))
    margins = scale * (path[:, None, None] + deviations)
    right = -40 + 3 * generator.standard_normal((len(n), truth.items))
    return of_margins(margins, parameters, tokens, flops, right)


def of_margins(margins, parameters, tokens, flops, right=None) -> Scores:
    """Scores of these ``margins`` [checkpoints, items, wrong], all of which exist."""
    order = np.lexsort((parameters, flops))
    count, items, wrong = margins.shape
    right = np.full((count, items), -40.0) if right is None else right
    return Scores(
        models=tuple(f"size-{value:.3g}" for value in parameters[order]),
        checkpoints=tuple(f"tokens-{value:.3g}" for value in tokens[order]),
        parameters=parameters[order],
        tokens=tokens[order],
        flops=flops[order],
        items=tuple(f"item-{i:05d}" for i in range(items)),
        subjects=(None,) * items,
        right=right[order],
        margins=margins[order],
        exists=np.ones((items, wrong), dtype=bool),
        wins_ties=np.ones((items, wrong), dtype=bool),
    )


def at_points(scores: Scores, rows: np.ndarray):
    """The scores at ``rows`` with their axes, as :func:`elusive.forecast.margins.fit` wants them."""
    chosen = scores.of_checkpoints(rows)
    return chosen, axes_of(chosen.parameters, chosen.tokens, chosen.flops)


def split(scores: Scores) -> tuple[np.ndarray, list[int]]:
    """Rows of the three smaller sizes, and of checkpoints 2, 4 and 5 of the fourth."""
    largest = scores.parameters == scores.parameters.max()
    rows = np.flatnonzero(largest)
    rows = rows[np.argsort(scores.tokens[rows])]
    return np.flatnonzero(~largest), [int(rows[i]) for i in (1, 3, 4)]
