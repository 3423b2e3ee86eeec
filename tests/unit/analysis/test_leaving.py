"""Correlations without some checkpoints equal those of correlating the others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from elusive.analysis.correlations import metric_correlations, pearson, rank_correlations, scale_of
from elusive.analysis.leaving import correlations_without, pearson_without_each, ranks_without, ranks_without_each
from score_tables import scores_of

FEW = st.integers(-2, 2).map(float)


@settings(deadline=None)
@given(st.data())
def test_leaving_checkpoints_out_equals_correlating_the_others(data):
    models, items = data.draw(st.integers(3, 9)), data.draw(st.integers(1, 5))
    x = data.draw(hnp.arrays(np.float64, models, elements=FEW))
    scores = data.draw(hnp.arrays(np.float64, (models, items), elements=st.one_of(FEW, st.floats(-9, 9))))
    groups = np.unique(data.draw(hnp.arrays(np.int64, models, elements=st.integers(0, 3))), return_inverse=True)[1]
    found = ranks_without(x, scores, groups)
    for group in range(groups.max() + 1):
        expected = rank_correlations(x[groups != group], scores[groups != group])
        for ours, theirs in zip(found, expected, strict=True):
            assert np.array_equal(ours[group], theirs, equal_nan=True), "to the last bit"
    found = ranks_without_each(x, scores)
    for k in range(models):
        expected = rank_correlations(np.delete(x, k), np.delete(scores, k, axis=0))
        for ours, theirs in zip(found, expected, strict=True):
            assert np.array_equal(ours[k], theirs, equal_nan=True), "to the last bit"


@pytest.mark.parametrize("models", [6, 40])
def test_leaving_each_of_many_checkpoints_out_across_blocks(models):
    generator = np.random.default_rng(models)
    x, scores = generator.normal(size=models), generator.normal(size=(models, 4500))
    scores[:, ::7] = np.round(scores[:, ::7])
    scores[2, 5] = np.nan
    spearman, kendall = ranks_without_each(x, scores)
    moment = pearson_without_each(x, scores)
    assert np.isnan([spearman[:, 5], kendall[:, 5], moment[:, 5]]).all(), "an item with a NaN has none at all"
    whole = np.delete(np.arange(4500), 5)
    for k in (0, models // 2, models - 1):
        left_x, left = np.delete(x, k), np.delete(scores, k, axis=0)
        expected = rank_correlations(left_x, left)
        np.testing.assert_array_equal(spearman[k, whole], expected[0][whole])
        np.testing.assert_array_equal(kendall[k, whole], expected[1][whole])
        np.testing.assert_allclose(moment[k, whole], pearson(left_x, left)[whole], rtol=0, atol=1e-11)


def test_a_checkpoint_that_holds_the_variance_is_left_out_exactly():
    # Without the last checkpoint, the third column is constant and the second all but so.
    scores = np.array([[0.0, 1.0, 5.0], [1.0, 1.0 + 1e-9, 5.0], [0.5, 1.0 - 1e-9, 5.0], [1e9, 7.0, 6.0]])
    x = np.array([0.0, 1.0, 2.0, 3.0])
    found = pearson_without_each(x, scores)
    expected = pearson(x[:3], scores[:3])
    np.testing.assert_allclose(found[3], expected, atol=1e-9)
    assert np.isnan(found[3, 2])
    # Probabilities whose largest is e^800 times the others.
    logarithms = np.array([[-900.0], [-899.0], [-901.5], [-100.0]])
    found = pearson_without_each(x, logarithms, scale_of("p_vocab_correct"))
    assert found[3, 0] == pytest.approx(pearson(x[:3], np.exp(logarithms[:3] + 900))[0], abs=1e-11)


def test_leaving_checkpoints_out_across_metrics():
    generator = np.random.default_rng(0)
    flops = np.logspace(18, 22, 6)
    # So low that p_vocab underflows for some checkpoints.
    scores = scores_of(generator.normal(-700, 60, (6, 2500, 3)))
    for groups in (np.array([0, 1, 1, 2, 0, 3]), np.arange(6)):
        found = correlations_without(flops, scores, groups)
        for group in range(groups.max() + 1):
            left = groups != group
            expected = metric_correlations(flops[left], {name: values[left] for name, values in scores.items()})
            for (metric, method), values in expected.items():
                allowed = 1e-11 if method == "pearson" else 0
                np.testing.assert_allclose(found[metric, method][group], values, rtol=0, atol=allowed, err_msg=metric)
    wanted = correlations_without(flops, scores, np.arange(6), ["brier"])
    assert {metric for metric, _ in wanted} == {"brier"}
