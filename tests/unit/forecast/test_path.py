"""The common path against textbook formulas: kriging with a nearly flat prior, and least squares."""

import numpy as np
import pytest
from scipy import stats

from elusive.forecast.kernel import Kernel
from elusive.forecast.path import fit_path, quantile_draws
from elusive.forecast.points import axes_of
from known_truth import SIZES, STEPS

N, D = (10 ** grid.ravel() for grid in np.meshgrid(SIZES, STEPS, indexing="ij"))
POINTS = axes_of(N, D, 6 * N * D)
KERNEL = Kernel(va=4.0, vn=0.2, vd=0.3, vf=0.1, vw=0.7, ve=0.4, LN=1.0, LD=0.6)
TARGETS = POINTS.at(np.array([3e7, 1e8]), np.array([2e9, 1e10]), np.array([3.6e17, 6e18]))


def test_prediction_is_that_of_a_gaussian_process_with_a_vague_plane():
    path = 0.5 + 0.3 * POINTS.n + 0.2 * POINTS.d + 0.1 * np.random.default_rng(0).standard_normal(len(POINTS))
    law = fit_path(POINTS, KERNEL, path)
    mean, covariance = law.predict(TARGETS)
    noise = 0.3 * KERNEL.ve + 1e-9
    vague = 1e6

    def prior(one, other, same):
        plane = vague * one.design() @ other.design().T
        return plane + law.c * (KERNEL.wandering(one, other) + noise * same)

    ours, cross = prior(POINTS, POINTS, np.eye(len(POINTS))), prior(POINTS, TARGETS, 0)
    expected = cross.T @ np.linalg.solve(ours, path)
    own = prior(TARGETS, TARGETS, np.eye(2)) - cross.T @ np.linalg.solve(ours, cross)
    assert mean == pytest.approx(expected, abs=1e-4)
    assert covariance == pytest.approx(own, rel=1e-3, abs=1e-5)


def test_without_wandering_it_is_least_squares():
    plain = Kernel(va=1.0, vn=0.1, vd=0.1, vf=0.0, vw=1e-12, ve=1.0, LN=1.0, LD=1.0)
    path = np.random.default_rng(1).standard_normal(len(POINTS))
    law = fit_path(POINTS, plain, path)
    beta, residuals, *_ = np.linalg.lstsq(POINTS.design(), path)
    assert law.beta == pytest.approx(beta, rel=1e-6)
    assert law.dof == len(POINTS) - 3 + 1
    assert law.c * (0.3 + 1e-9) * law.dof == pytest.approx(residuals[0] + 0.02 * 0.3, rel=1e-6)


def test_fewer_than_five_points_have_a_line():
    few = axes_of(N[[0, 6, 12, 19]], D[[0, 6, 12, 19]], (6 * N * D)[[0, 6, 12, 19]])
    law = fit_path(few, KERNEL, np.array([0.0, 0.1, 0.2, 0.3]))
    assert law.beta.shape == (2,)
    assert law.dof == 3


def test_a_path_without_residual_still_has_a_scale():
    law = fit_path(POINTS, KERNEL, 1 + POINTS.n)
    assert law.c == pytest.approx(0.02 / law.dof)


def test_draws_are_quantiles_of_the_t():
    draws = quantile_draws(2.0, 9.0, 4, 200)
    assert draws.mean() == pytest.approx(2.0)
    for level in (0.1, 0.25, 0.75, 0.9):
        assert np.quantile(draws, level, method="hazen") == pytest.approx(2 + 3 * stats.t.ppf(level, 4), abs=0.01)
    wild = quantile_draws(0.0, 1.0, 1, 1000)
    assert np.abs(wild).max() == 6
    assert (quantile_draws(1.0, 0.0, 3, 5) == 1).all()
