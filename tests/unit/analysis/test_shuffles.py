"""Shuffled compute against brute force: every order, one scipy call an item."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from elusive.analysis.correlations import METHODS, as_it_is
from elusive.analysis.resampling import mean_correlations, resample
from elusive.analysis.shuffles import DRAWS, LEVEL, Shuffles, adjusted_p_values
from score_tables import scores_of

SCIPY = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}


def brute_force(x: np.ndarray, scores: np.ndarray, method: str) -> np.ndarray:
    """Mean over items, undefined as 0, in every order of ``x`` [models]: float64 [orders]."""
    moving = [column for column in scores.T if np.ptp(column) > 0]
    return np.array(
        [
            sum(SCIPY[method](np.array(order), column).statistic for column in moving) / scores.shape[1]
            for order in itertools.permutations(x)
        ]
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("x", [[1.0, 2, 3, 4, 7], [1.0, 1, 2, 5, 5]], ids=["untied", "tied"])
@pytest.mark.parametrize("method", METHODS)
def test_means_of_every_order_are_those_of_brute_force(x, method):
    x, generator = np.array(x), np.random.default_rng(0)
    scores = generator.integers(0, 4, (5, 12)).astype(np.float64) + generator.normal(size=(5, 1))
    scores[:, 3] = 2.0
    shuffles = Shuffles.of(x)
    shuffled, real = mean_correlations(shuffles, [(scores, as_it_is)])
    expected = brute_force(x, scores, method)
    assert shuffles.exact and len(shuffles.orders) == math.factorial(5)
    np.testing.assert_allclose(np.sort(shuffled[method][:, 0]), np.sort(expected), rtol=0, atol=5e-8)
    assert real[method][0] == pytest.approx(expected[0], abs=5e-8), "the first permutation is the order itself"
    share = shuffles.p_values(shuffled[method], real[method])[0]
    assert share == pytest.approx((expected >= expected[0] - 1e-9).mean(), abs=1e-12)


def test_equal_means_that_rounding_splits_are_equal():
    # Items with the values 1/10, 2/10, 3/10 in every order: each order of compute has the same mean, 0.
    scores = np.array(list(itertools.permutations([0.1, 0.2, 0.3]))).T
    shuffles = Shuffles.of(np.array([0.1, 0.2, 0.3]))
    shuffled, real = mean_correlations(shuffles, [(scores, as_it_is)])
    for method in METHODS:
        assert np.abs(shuffled[method]).max() < 5e-8
        assert shuffles.p_values(shuffled[method], real[method])[0] == 1.0


@pytest.mark.parametrize("models", [5, 7, 9, 30])
def test_p_values_and_band_hold_their_level(models):
    """Scores that have nothing to do with compute: p ≤ 5 % in at most 5 % of cases, and outside of the band in 2.5 % on
    either side."""
    generator = np.random.default_rng(models)
    x = np.linspace(18, 22, models)
    shuffles = Shuffles.of(x)
    # Items that share most of their noise.
    columns = [
        (generator.normal(size=(models, 1)) + 0.5 * generator.normal(size=(models, 20)), as_it_is) for _ in range(400)
    ]
    shuffled, real = mean_correlations(shuffles, columns)
    for method in METHODS:
        share = shuffles.p_values(shuffled[method], real[method])
        low, high = shuffles.band(shuffled[method])
        assert 0.02 < (share <= 0.05).mean() < 0.085
        # Above the band and a p-value of at most 2.5 % are the same.
        assert ((real[method] > high + 1e-7) == (share <= LEVEL)).mean() > 0.995
        outside = (real[method] < low - 1e-9) | (real[method] > high + 1e-7)
        assert 0.02 < outside.mean() < 0.085


def test_four_checkpoints_are_too_few():
    four, five = Shuffles.of(np.arange(4.0)), Shuffles.of(np.arange(5.0))
    assert four.least == pytest.approx(1 / 24) and not four.conclusive
    assert four.note() == "4 checkpoints: too few, the best of all orders of compute comes by chance 1 time in 24"
    assert five.least == pytest.approx(1 / 120) and five.conclusive and five.note() is None
    # Five checkpoints at three different FLOPs have 30 different orders, at two 5 or 10.
    assert Shuffles.of(np.array([1.0, 1, 2, 2, 3])).least == pytest.approx(1 / 30)
    assert not Shuffles.of(np.array([1.0, 1, 1, 1, 3])).conclusive
    assert not Shuffles.of(np.ones(6)).conclusive
    for few in (0, 1, 2):
        assert not Shuffles.of(np.arange(float(few))).conclusive
    many = Shuffles.of(np.arange(30.0))
    assert not many.exact and many.least == pytest.approx(1 / (DRAWS + 1)) and len(many.orders) == DRAWS


def test_the_best_of_many_scores_is_corrected_for():
    models, generator = 6, np.random.default_rng(3)
    shuffles = Shuffles.of(np.arange(float(models)))
    single, corrected = [], []
    for _ in range(300):
        columns = [
            (generator.normal(size=(models, 1)) + generator.normal(size=(models, 5)), as_it_is) for _ in range(12)
        ]
        columns.append((np.ones((models, 5)), as_it_is))
        shuffled, real = mean_correlations(shuffles, columns)
        found = adjusted_p_values(shuffles, shuffled, real)
        single.append(min(shuffles.p_values(shuffled[m], real[m])[:-1].min() for m in METHODS))
        corrected.append(min(values.min() for values in found.values()))
        assert all(values[-1] == 1 for values in found.values()), "what never moves is never above"
    assert (np.array(single) <= 0.05).mean() > 0.3
    assert (np.array(corrected) <= 0.05).mean() <= 0.09  # 5 % and three standard errors


def test_correction_keeps_the_p_value_of_a_single_score():
    shuffles = Shuffles.of(np.arange(6.0))
    scores = np.random.default_rng(4).normal(size=(6, 8)) + np.arange(6)[:, None]
    shuffled, real = mean_correlations(shuffles, [(scores, as_it_is)])
    for method in METHODS:
        alone = adjusted_p_values(shuffles, {method: shuffled[method]}, {method: real[method]})[method]
        assert alone[0] == pytest.approx(shuffles.p_values(shuffled[method], real[method])[0])


def test_a_family_counts_undefined_correlations_as_0():
    scores = scores_of(np.random.default_rng(5).normal(-9, 3, (6, 40, 3)))
    family = resample(np.logspace(18, 22, 6), ["m"] * 6, scores)
    for method in METHODS:
        for place, metric in enumerate(family.metrics):
            expected = np.nan_to_num(family.full[metric, method]).mean()
            assert family.means[method][place] == pytest.approx(expected, abs=5e-8), (metric, method)
    assert np.isnan(family.full["accuracy", "spearman"]).any()
