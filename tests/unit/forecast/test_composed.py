"""Composed baselines: a line a choice, kriging of means, and difficulty clusters, each on a truth that it can find."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import special

from elusive.forecast.clustering import cluster, clusters, difficulty_features
from elusive.forecast.composed import choice_lines, mean_kriging
from elusive.forecast.kernel import Kernel
from elusive.forecast.methods import METHODS, Targets, forecast_all
from elusive.forecast.names import LABELS
from elusive.forecast.points import axes_of
from known_truth import at_points, generate, of_margins

PARAMETERS = np.geomspace(1e6, 1e8, 9)
TOKENS = np.full(9, 1e9)
AXES = axes_of(PARAMETERS, TOKENS, 6 * PARAMETERS * TOKENS)
TARGETS = AXES.at(np.array([3e8]), np.array([1e9]), np.array([1.8e18]))


def test_a_line_for_every_choice_is_composed_to_scores():
    generator = np.random.default_rng(0)
    level, slope = generator.normal(0, 3, (2, 80, 3))
    margins = level + slope * AXES.x[:, None, None]
    scores = of_margins(margins, PARAMETERS, TOKENS, 6 * PARAMETERS * TOKENS)
    expected = level + slope * TARGETS.x
    found = choice_lines(scores, AXES, TARGETS)
    assert found["accuracy"] == pytest.approx([(expected > 0).all(axis=1).mean()])
    p_right = 1 / (1 + np.exp(-expected).sum(axis=1))
    assert found["p_choices_correct"] == pytest.approx([p_right.mean()])
    p_wrong = np.exp(-expected) * p_right[:, None]
    assert found["brier"] == pytest.approx([(((1 - p_right) ** 2 + (p_wrong**2).sum(axis=1)) / 4).mean()])


def test_kriging_of_the_mean_continues_a_logit_line():
    kernel = Kernel(va=1, vn=0.1, vd=0, vf=0, vw=0.1, ve=0.5, LN=1, LD=0)
    y = special.expit(-0.2 + 0.6 * AXES.x)
    (draws,) = mean_kriging(AXES, kernel, y, TARGETS, 400)
    assert np.median(draws) == pytest.approx(special.expit(-0.2 + 0.6 * TARGETS.x[0]), abs=1e-3)
    assert (draws > 0).all() and (draws < 1).all()


def test_clusters_tell_improving_items_from_others():
    """A third of the items improves by a law, the rest flips at random: the whole follows from the third."""
    generator = np.random.default_rng(1)
    share = 0.2 + 0.8 * np.exp(-1.0 * 10 ** (-0.3 * AXES.x))
    improving = np.clip(share[:, None] + 0.05 * generator.standard_normal((9, 200)), 0, 1)
    flat = np.clip(0.25 + 0.03 * generator.standard_normal((9, 400)), 0, 1)
    p_choices = np.hstack([improving, flat])
    labels = cluster(difficulty_features(p_choices))
    first, other = set(labels[:200].tolist()), set(labels[200:].tolist())
    assert not first & other
    expected = (200 * (0.2 + 0.8 * np.exp(-1.0 * 10 ** (-0.3 * TARGETS.x))) + 400 * 0.25) / 600
    found = clusters(p_choices, p_choices, np.full(600, 0.25), AXES, 0.0, TARGETS)
    assert found == pytest.approx(expected, abs=0.02)


def test_clusters_without_an_improving_group_stay_where_they_are():
    values = np.clip(0.25 + 0.05 * np.random.default_rng(2).standard_normal((9, 300)), 0, 1)
    falling = values - 0.02 * np.arange(9)[:, None]
    found = clusters(falling, falling, np.full(300, 0.25), AXES, 0.31, TARGETS)
    assert found == pytest.approx([0.31])


def test_clusters_do_not_depend_on_the_order_of_items():
    values = np.random.default_rng(3).random((9, 200))
    order = np.random.default_rng(4).permutation(200)
    guess = np.full(200, 0.25)
    one = clusters(values, values, guess, AXES, 0.3, TARGETS)
    other = clusters(values[:, order], values[:, order], guess, AXES, 0.3, TARGETS)
    assert other == pytest.approx(one, rel=1e-9)


def targets(parameters, tokens):
    parameters, tokens = np.array(parameters, float), np.array(tokens, float)
    return Targets(parameters, tokens, 6 * parameters * tokens)


def test_every_method_forecasts_every_metric_that_it_is_for():
    scores, _ = at_points(generate(0), np.arange(15))
    found = forecast_all(scores, targets([3e7, 1e8], [2e9, 3e9]), draws=20, seeds=[[1], [2]])
    assert list(METHODS) == list(LABELS)
    assert set(found.predictions) == {(metric, name) for name, metrics in METHODS.items() for metric in metrics}
    for (metric, _), predictions in found.predictions.items():
        assert len(predictions) == 2
        for prediction in predictions:
            assert np.isfinite(prediction.value)
            assert metric == "log_p_vocab_correct" or 0 <= prediction.value <= 1
    assert found.status == "" and found.movement > 0
    assert len(found.items) == 2


def test_two_checkpoints_give_the_last_value():
    scores, _ = at_points(generate(0), np.arange(2))
    found = forecast_all(scores, targets([3e7], [2e9]), draws=20, seeds=[[1]])
    seen = scores.metrics()
    for metric, values in seen.items():
        for name in ("km", "last"):
            (prediction,) = found.predictions[metric, name]
            assert prediction.value == values[-1].mean() and prediction.draws is None
    assert found.law is None and found.movement is None
    assert found.status == "2 checkpoints are too few for a law: the last value stands in"


def test_a_fit_that_fails_gives_the_last_value_and_says_so():
    scores, _ = at_points(generate(0), np.arange(12))
    broken = scores.margins.copy()
    broken[3, 0, 0] = np.inf
    with np.errstate(all="ignore"):
        found = forecast_all(replace(scores, margins=broken), targets([3e7], [2e9]), draws=20, seeds=[[1]])
    assert found.status.startswith("the fit failed (")
    assert found.predictions["accuracy", "km"][0].value == found.predictions["accuracy", "last"][0].value
