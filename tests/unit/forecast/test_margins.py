"""Kriging of margins against data whose law is known, and properties that hold exactly."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from elusive.forecast import margins
from elusive.forecast.path import quantile_draws
from elusive.forecast.points import axes_of
from known_truth import NULL, SMOOTH, Truth, at_points, generate, of_margins, split

LEVELS = {50: (0.25, 0.75), 80: (0.1, 0.9), 95: (0.025, 0.975)}


def forecasts(scores, draws=100, seed=0):
    """Forecasts of checkpoints 2, 4 and 5 of the largest size from the smaller ones, and the law."""
    train, targets = split(scores)
    chosen, axes = at_points(scores, train)
    law = margins.fit(chosen, axes)
    found = [
        margins.forecast(
            law,
            axes.at(*(values[[row]] for values in (scores.parameters, scores.tokens, scores.flops))),
            draws,
            margins.seed_of("known truth", seed, row),
        )
        for row in targets
    ]
    return law, chosen, targets, found


@pytest.fixture(scope="module")
def judged():
    """Errors, coverage and item Brier scores over 40 seeds of both truths: truth -> name -> numbers."""
    result = {}
    for name, truth in (("moving", Truth()), ("null", NULL)):
        rows = {key: [] for key in ("error", "last", "mean3", "p_error", "p_last", "item", "item_last", "item_last3")}
        inside = {(metric, level): [] for metric in ("accuracy", "p_choices_correct") for level in LEVELS}
        kernels = []
        for seed in range(40):
            scores = generate(seed, truth)
            law, train, targets, found = forecasts(scores, seed=seed)
            kernels.append([getattr(law.margins.kernel, p) for p in ("vn", "vd", "vw", "ve", "LN", "LD")])
            kernels[-1].append(law.margins.path.c)
            seen, known = scores.metrics(), train.metrics()
            for row, forecast in zip(targets, found, strict=True):
                truth_here = seen["accuracy"][row].mean()
                draws = forecast.draws["accuracy"]
                rows["error"].append(abs(draws.mean() - truth_here))
                rows["last"].append(abs(known["accuracy"][-1].mean() - truth_here))
                rows["mean3"].append(abs(known["accuracy"][-3:].mean() - truth_here))
                p_here = seen["p_choices_correct"][row].mean()
                rows["p_error"].append(abs(forecast.draws["p_choices_correct"].mean() - p_here))
                rows["p_last"].append(abs(known["p_choices_correct"][-1].mean() - p_here))
                for key, guess in (
                    ("item", forecast.p_right),
                    ("item_last", known["accuracy"][-1]),
                    ("item_last3", known["accuracy"][-3:].mean(axis=0)),
                ):
                    rows[key].append(((guess - seen["accuracy"][row]) ** 2).mean())
                for metric, level in inside:
                    low, high = np.quantile(forecast.draws[metric], LEVELS[level], method="hazen")
                    inside[metric, level].append(low <= seen[metric][row].mean() <= high)
        result[name] = {key: float(np.mean(values)) for key, values in rows.items()}
        result[name] |= {key: float(np.mean(values)) for key, values in inside.items()}
        result[name]["kernel"] = np.median(kernels, axis=0)
        for metric in ("accuracy", "p_choices_correct"):
            print(name, metric, "inside 50/80/95 %:", *(f"{result[name][metric, level]:.2f}" for level in LEVELS))
        numbers = {key: np.round(value, 4).tolist() for key, value in result[name].items() if isinstance(key, str)}
        print(name, numbers)
    return result


def test_errors_on_the_known_truth(judged):
    found = judged["moving"]
    assert found["error"] == pytest.approx(0.032, abs=0.004)
    assert found["last"] == pytest.approx(0.041, abs=0.004)
    assert found["p_error"] == pytest.approx(0.022, abs=0.003)
    assert found["p_last"] == pytest.approx(0.028, abs=0.003)
    assert found["item"] == pytest.approx(0.098, abs=0.003)
    assert found["item_last"] == pytest.approx(0.174, abs=0.005)
    assert found["item_last3"] == pytest.approx(0.127, abs=0.005)


def test_coverage_on_the_known_truth(judged):
    for metric in ("accuracy", "p_choices_correct"):
        inside = {level: judged["moving"][metric, level] for level in LEVELS}
        assert 0.45 <= inside[50] <= 0.68 and 0.74 <= inside[80] <= 0.94 and 0.88 <= inside[95] <= 1, (metric, inside)


def test_fitted_numbers_on_the_known_truth(judged):
    vn, vd, vw, ve, length_n, length_d, c = judged["moving"]["kernel"]
    # Scales of items absorb a factor of about 1.4, common to all variances.
    assert [vn, vd, vw] == pytest.approx([0.21, 0.37, 0.83], rel=0.3)
    # Noise is to wandering as in the truth.
    assert ve / vw == pytest.approx(0.15 / 0.4, rel=0.2)
    assert [length_n, length_d] == pytest.approx([0.72, 0.56], rel=0.2)
    assert c == pytest.approx(0.05, rel=0.3)


def test_where_nothing_moves_it_is_no_worse_than_the_last_value(judged):
    found = judged["null"]
    assert found["error"] <= 1.1 * found["last"]
    assert [found["error"], found["last"], found["mean3"]] == pytest.approx([0.019, 0.023, 0.021], abs=0.003)
    inside = [found["accuracy", level] for level in LEVELS]
    assert inside == pytest.approx([0.57, 0.86, 0.98], abs=0.1) and 0.75 <= inside[1] <= 0.95
    assert found["item"] == pytest.approx(0.097, abs=0.004)


def test_a_smooth_truth_is_found():
    """Nothing but slopes: what comes is known to half a point."""
    errors = []
    for seed in range(10):
        scores = generate(seed, SMOOTH)
        *_, targets, found = forecasts(scores, draws=200, seed=seed)
        observed = scores.metrics()["accuracy"].mean(axis=1)
        errors += [abs(f.draws["accuracy"].mean() - observed[row]) for row, f in zip(targets, found, strict=True)]
    assert np.mean(errors) < 0.005


def test_movement_tells_a_moving_benchmark_from_a_still_one():
    moving = [forecasts(generate(seed))[0].movement for seed in range(8)]
    still = [forecasts(generate(seed, NULL))[0].movement for seed in range(8)]
    assert np.median(moving) > 5 > np.median(still)


def means(found):
    return {name: [f.draws[name].mean() for f in found] for name in found[0].draws}


def test_a_constant_on_all_choices_of_an_item_changes_nothing_but_log_p_vocab():
    scores = generate(3)
    shift = 20 * np.random.default_rng(5).standard_normal(scores.right.shape)
    moved = replace(scores, right=scores.right + shift)
    before, after = means(forecasts(scores)[3]), means(forecasts(moved)[3])
    for name in ("accuracy", "p_choices_correct", "brier"):
        assert after[name] == before[name], name
    assert after["log_p_vocab_correct"] != before["log_p_vocab_correct"]


def test_all_log_likelihoods_times_a_number_leave_the_accuracy():
    scores = generate(4)
    larger = replace(scores, margins=2.5 * scores.margins, right=2.5 * scores.right)
    before, after = forecasts(scores)[3], forecasts(larger)[3]
    for one, other in zip(before, after, strict=True):
        assert other.draws["accuracy"] == pytest.approx(one.draws["accuracy"], abs=1e-9 + 1 / 200)
        assert other.draws["accuracy"].mean() == pytest.approx(one.draws["accuracy"].mean(), abs=1e-4)
        assert other.draws["log_p_vocab_correct"] == pytest.approx(2.5 * one.draws["log_p_vocab_correct"], rel=1e-6)
        assert other.draws["p_choices_correct"].mean() > one.draws["p_choices_correct"].mean()


def test_permuted_choices_change_draws_alone():
    scores = generate(6)
    order = np.array([1, 0])
    other = replace(scores, margins=scores.margins[:, :, order], wins_ties=scores.wins_ties[:, order])
    law, _, _, before = forecasts(scores, draws=400)
    again, _, _, after = forecasts(other, draws=400)
    assert again.rho == pytest.approx(law.rho, rel=1e-9)
    for name, values in means(before).items():
        assert means(after)[name] == pytest.approx(values, abs=2e-3), name


def test_the_training_order_of_equal_compute_is_that_of_the_points():
    """The law depends on which checkpoint comes last, and on nothing else of the order of the rows."""
    scores = generate(7)
    train, _ = split(scores)
    law = margins.fit(*at_points(scores, train))
    assert law.margins.skill[-1] == 0
    assert law.margins.points.x[-1] == 0


def test_two_choices_agree_with_the_probit():
    """For K = 2 and a given path, an item is right with the probability Phi(mean / sd)."""
    scores = generate(8, Truth(wrong=1, items=300))
    law, _, targets, found = forecasts(scores, draws=2000)
    assert law.rho == 0
    series, row = law.margins, targets[-1]
    target = series.points.at(*(v[[row]] for v in (scores.parameters, scores.tokens, scores.flops)))
    mean, covariance = series.path.predict(target)
    path = quantile_draws(float(mean[0]), float(covariance[0, 0]), series.path.dof, 2000)
    skill = (path - series.mean[-1]) / series.mean.std()
    kernel, size = series.kernel, len(series.points)
    g = kernel.base(series.points, target)[:, 0]
    inverse = np.linalg.inv(kernel.covariance(series.points, series.skill))
    a, b = g @ inverse @ series.deviations, kernel.vf * series.skill @ inverse @ series.deviations
    joint = g + kernel.vf * skill.mean() * series.skill
    own = kernel.base(target, target)[0, 0] + kernel.ve + kernel.vf * skill.mean() ** 2
    sd = np.sqrt(own - joint @ inverse @ joint)
    expected = stats.norm.cdf((path + a[:, None] + b[:, None] * skill) / sd).mean(axis=1)
    assert size == 15
    assert found[-1].p_right == pytest.approx(expected, abs=0.05)
    assert found[-1].draws["accuracy"].mean() == pytest.approx(expected.mean(), abs=1e-3)


def test_a_benchmark_that_is_always_right_stays_right():
    scores = generate(9)
    sure = np.broadcast_to(
        np.linspace(300, 900, scores.margins[0].size).reshape(scores.margins[0].shape), scores.margins.shape
    )
    for values in (sure, np.full(scores.margins.shape, 7.0)):
        *_, found = forecasts(replace(scores, margins=values.copy()))
        for forecast in found:
            assert (forecast.draws["accuracy"] == 1).all()
            assert (forecast.p_right == 1).all()


def test_missing_choices_are_masked():
    """Whatever stands where an item has no choice, it changes nothing."""
    scores = generate(10, Truth(wrong=4))
    exists = np.ones(scores.exists.shape, bool)
    exists[::3, 2:] = False
    exists[1::3, 3:] = False
    results = []
    for filler in (0.0, 1e6, np.nan):
        values = np.where(exists, scores.margins, filler)
        *_, found = forecasts(replace(scores, margins=values, exists=exists))
        results.append(found)
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            for name in one.draws:
                assert np.array_equal(one.draws[name], two.draws[name]), name
            assert np.array_equal(one.p_right, two.p_right)
    law = forecasts(replace(scores, exists=exists))[0]
    assert law.margins.deviations.shape[1] == exists.sum()
    # Fewer wrong choices are easier to beat.
    p_right = results[0][-1].p_right
    assert p_right[::3].mean() > p_right[2::3].mean()


def test_the_same_seed_gives_the_same_draws_and_another_gives_others():
    scores = generate(11)
    one, same, other = (forecasts(scores, seed=seed)[3] for seed in (1, 1, 2))
    assert np.array_equal(one[0].draws["accuracy"], same[0].draws["accuracy"])
    assert not np.array_equal(one[0].draws["accuracy"], other[0].draws["accuracy"])
    assert margins.seed_of("a", 1.5) == margins.seed_of("a", 1.5) != margins.seed_of("a", 1.25)


def test_blocks_of_items_leave_the_draws_as_they_are(monkeypatch):
    scores = generate(12)
    whole = forecasts(scores)[3]
    monkeypatch.setattr(margins, "_BLOCK", 37)
    parts = forecasts(scores)[3]
    for one, other in zip(whole, parts, strict=True):
        assert np.array_equal(one.p_right, other.p_right)
        assert one.draws["brier"] == pytest.approx(other.draws["brier"], rel=1e-13)


def test_the_scale_of_a_series_is_shrunk_to_the_median():
    x = np.linspace(-1, 0, 8)
    values = np.random.default_rng(0).standard_normal((8, 5)) * np.array([0.1, 1, 1, 1, 10])
    variance = [np.square(y - np.polyval(np.polyfit(x, y, 1), x)).sum() / 6 for y in values.T]
    expected = np.sqrt((4 * np.median(variance) + 6 * np.array(variance)) / 10)
    assert margins.series_scale(x, values) == pytest.approx(expected, rel=1e-9)
    three = values[:3].var(axis=0, ddof=1)
    assert margins.series_scale(x[:3], values[:3]) == pytest.approx(np.sqrt((4 * np.median(three) + 2 * three) / 6))


def test_scores_that_are_not_finite_raise_what_the_caller_catches():
    scores = generate(13)
    broken = scores.margins.copy()
    broken[2, 5, 1] = np.inf
    with pytest.raises(np.linalg.LinAlgError), np.errstate(all="ignore"):
        margins.fit(*at_points(replace(scores, margins=broken), np.arange(15)))


@pytest.mark.parametrize("count", [3, 4])
def test_few_points_and_one_axis(count):
    generator = np.random.default_rng(count)
    parameters, tokens = np.geomspace(1e6, 1e7, count), np.full(count, 1e9)
    scores = of_margins(generator.standard_normal((count, 60, 2)), parameters, tokens, 6 * parameters * tokens)
    axes = axes_of(parameters, tokens, 6 * parameters * tokens)
    law = margins.fit(scores, axes)
    found = margins.forecast(law, axes.at(np.array([3e7]), np.array([1e9]), np.array([1.8e17])), 50, [1])
    assert 0 < found.draws["accuracy"].mean() < 1
    assert not axes.both


THREADS = """
import hashlib, json
from elusive.forecast.backtests import judge, origins, rows_of
from known_truth import Truth, generate
scores = generate(0, Truth(items=3000))
rows = [row for origin in origins(scores)[-3:] for row in rows_of(judge(scores, origin, "f", "b", 20))]
print(hashlib.sha256(json.dumps(rows).encode()).hexdigest())
"""


@pytest.mark.slow
def test_results_do_not_depend_on_the_number_of_threads():
    root = Path(__file__).parents[3]
    found = set()
    for count in ("1", "2", "4"):
        environment = os.environ | {"PYTHONPATH": f"{root / 'workflow'}{os.pathsep}{root / 'tests/unit'}"}
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), count)
        done = subprocess.run([sys.executable, "-c", THREADS], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found.add(done.stdout)
    assert len(found) == 1
