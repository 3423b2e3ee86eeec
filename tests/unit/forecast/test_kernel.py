"""The covariance over checkpoints: its gradient, its optimum, and numbers recovered from series drawn from it."""

import numpy as np
import pytest
from scipy import optimize

from elusive.forecast import kernel as kernels
from elusive.forecast.kernel import Kernel, fit_kernel, second_moment
from elusive.forecast.points import axes_of
from known_truth import SIZES, STEPS

N, D = (10 ** grid.ravel() for grid in np.meshgrid(SIZES, STEPS, indexing="ij"))
POINTS = axes_of(N, D, 6 * N * D)
SKILL = 0.8 * POINTS.x + 0.1
TRUE = Kernel(va=4.0, vn=0.5, vd=0.8, vf=0.3, vw=0.6, ve=0.5, LN=1.0, LD=0.6)


def drawn(kernel, count, seed=0, skill=SKILL):
    root = np.linalg.cholesky(kernel.covariance(POINTS, skill))
    return root @ np.random.default_rng(seed).standard_normal((len(POINTS), count))


def objective(kernel, moment, skill):
    """What the fit minimises, from its definition."""
    start = np.exp(kernels._START)
    covariance = kernel.covariance(POINTS, skill)
    sign, log_det = np.linalg.slogdet(covariance)
    assert sign > 0
    numbers = np.array([getattr(kernel, name) for name in kernels.NAMES])
    pull = 0.02 * ((np.log(numbers / start) / 3) ** 2).sum()
    return (log_det + np.trace(np.linalg.solve(covariance, moment)) + pull) / len(POINTS)


def test_the_fit_is_a_minimum_of_the_objective():
    moment = second_moment(drawn(TRUE, 3000), trimmed=0)
    found = fit_kernel(POINTS, SKILL, moment)
    best = objective(found, moment, SKILL)

    def value(logs):
        return objective(Kernel(*np.exp(logs)), moment, SKILL)

    logs = np.log([getattr(found, name) for name in kernels.NAMES])
    gradient = optimize.approx_fprime(logs, value, 1e-6)
    inside = (logs > kernels._BOUNDS[:, 0] + 1e-6) & (logs < kernels._BOUNDS[:, 1] - 1e-6)
    assert np.abs(gradient[inside]).max() < 2e-4
    # An optimiser that knows no gradients, from the truth, finds nothing better.
    true = np.log([getattr(TRUE, name) for name in kernels.NAMES])
    other = optimize.minimize(value, true, method="Nelder-Mead", options={"maxiter": 6000, "maxfev": 6000})
    assert best <= other.fun + 1e-4


def test_numbers_are_recovered_from_many_series():
    found = fit_kernel(POINTS, SKILL, second_moment(drawn(TRUE, 60_000), trimmed=0))
    for name in kernels.NAMES:
        assert getattr(found, name) == pytest.approx(getattr(TRUE, name), rel=0.35), name


def test_one_axis_has_no_slope_on_tokens():
    tokens = np.full(6, 1e9)
    parameters = np.geomspace(1e6, 1e8, 6)
    points = axes_of(parameters, tokens, 6 * parameters * tokens)
    moment = second_moment(np.random.default_rng(0).standard_normal((6, 500)))
    found = fit_kernel(points, None, moment)
    assert (found.vd, found.LD, found.vf) == (0, 0, 0)
    assert found.vn > 0 and found.LN > 0
    assert np.linalg.eigvalsh(found.covariance(points, np.zeros(6))).min() > 0


def test_the_second_moment_leaves_out_the_largest_series():
    values = np.random.default_rng(1).standard_normal((5, 400))
    values[:, [3, 77, 200, 399]] *= 1000
    kept = np.delete(values, [3, 77, 200, 399], axis=1)
    assert second_moment(values) == pytest.approx(kept @ kept.T / 396, rel=1e-12)
    # One per cent of fewer than a hundred is none.
    assert second_moment(values[:, :50], trimmed=0.01) == pytest.approx(values[:, :50] @ values[:, :50].T / 50)


def test_no_positive_definite_covariance_is_an_error():
    moment = np.full((len(POINTS), len(POINTS)), np.nan)
    with pytest.raises(np.linalg.LinAlgError, match="no covariance of the checkpoints"):
        fit_kernel(POINTS, SKILL, moment)
