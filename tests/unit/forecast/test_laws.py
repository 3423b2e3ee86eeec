"""Laws of mean scores: each finds a truth of its own form, and agrees with numpy where that has the law."""

import csv
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from scipy import special

from elusive.configuration import catalogue
from elusive.forecast.laws import LAWS, Means, fit_law, loss_law
from elusive.forecast.points import axes_of, select_for_laws
from known_truth import SIZES, STEPS

N, D = (10 ** grid.ravel() for grid in np.meshgrid(SIZES, STEPS, indexing="ij"))
AXES = axes_of(N, D, 6 * N * D)
X = AXES.x
TARGETS = AXES.at(np.array([1e8, 3e8]), np.array([3e9, 3e9]), np.array([1.8e18, 5.4e18]))
CHANCE = 0.25


def means(y, loss=None, p_choices=None, axes=AXES):
    y = np.asarray(y, dtype=float)
    loss = np.full(len(y), 50.0) if loss is None else loss
    return Means(axes, y, loss, y if p_choices is None else p_choices, float(y[-1]), CHANCE)


def forecast(name, about, metric="accuracy", targets=TARGETS):
    return fit_law(name, metric, about)(targets)


LOSS = 20 + 30 * 10 ** (-0.2 * X)
LOSS_AT = 20 + 30 * 10 ** (-0.2 * TARGETS.x)
TRUTHS = {
    "linear": (0.5 + 0.1 * X, 0.5 + 0.1 * TARGETS.x),
    "logit": (special.expit(0.2 + 0.5 * X), special.expit(0.2 + 0.5 * TARGETS.x)),
    "power_error": (1 - 0.5 * 10 ** (-0.2 * X), 1 - 0.5 * 10 ** (-0.2 * TARGETS.x)),
    "log_accuracy": (np.exp(-0.7 * 10 ** (-0.2 * X)), np.exp(-0.7 * 10 ** (-0.2 * TARGETS.x))),
    "logit2": (
        special.expit(0.2 + 0.5 * AXES.n + 0.2 * AXES.d),
        special.expit(0.2 + 0.5 * TARGETS.n + 0.2 * TARGETS.d),
    ),
    "power2": (
        1 - 0.5 * 10 ** (-0.2 * AXES.n - 0.1 * AXES.d),
        1 - 0.5 * 10 ** (-0.2 * TARGETS.n - 0.1 * TARGETS.d),
    ),
}


@pytest.mark.parametrize("name", TRUTHS)
def test_each_law_continues_a_truth_of_its_form(name):
    seen, expected = TRUTHS[name]
    assert forecast(name, means(seen)) == pytest.approx(expected, abs=2e-3)


def test_the_law_above_chance_continues_its_own_form():
    # The floor is what lies 0.01 below the least score, where that is below chance.
    shares = np.exp(-1.2 * 10 ** (-0.15 * X))
    floor = 0.1
    y = floor + (1 - floor) * shares
    y_at = floor + (1 - floor) * np.exp(-1.2 * 10 ** (-0.15 * TARGETS.x))
    near = Means(AXES, y, y, y, float(y[-1]), floor)
    assert forecast("log_accuracy_norm", near) == pytest.approx(y_at, abs=1e-9)
    assert forecast("log_accuracy_norm", means(np.full(len(X), 0.2)))[0] == pytest.approx(0.2, abs=0.01)


def test_the_law_of_a_loss_is_found():
    assert loss_law(X, LOSS)(TARGETS.x) == pytest.approx(LOSS_AT, rel=2e-3)
    pure = 30 * 10 ** (-0.1 * X)
    assert loss_law(X, pure)(np.array([1.0])) == pytest.approx([30 * 10**-0.1], rel=1e-9)
    # A loss that rises has no such law: it is taken to stay.
    assert loss_law(X, 30 + X)(np.array([3.0])) == pytest.approx([(30 + X).mean()], abs=1)
    three = np.array([-2.0, -1.0, 0.0])
    assert loss_law(three, 5 - three)(np.array([1.0])) == pytest.approx([4.0])


def test_log_likelihoods_follow_a_power_law_with_a_floor():
    assert forecast("power_loss", means(-LOSS), "log_p_vocab_correct") == pytest.approx(-LOSS_AT, rel=2e-3)


def test_two_steps_find_their_own_truth():
    y = 0.25 + 0.65 * special.expit(-0.15 * (LOSS - 60))
    y_at = 0.25 + 0.65 * special.expit(-0.15 * (LOSS_AT - 60))
    assert forecast("two_step", means(y, LOSS)) == pytest.approx(y_at, abs=0.05)
    straight = 0.9 - 0.004 * LOSS
    assert forecast("two_step_linear", means(straight, LOSS)) == pytest.approx(0.9 - 0.004 * LOSS_AT, abs=2e-3)
    p = 0.3 + 0.05 * X
    expected = 0.1 + 1.5 * (0.3 + 0.05 * TARGETS.x)
    assert forecast("p_choices_step", means(0.1 + 1.5 * p, p_choices=p)) == pytest.approx(expected)


def test_accuracy_below_chance_leaves_the_floor_of_the_two_steps_free():
    """At the losses seen, it is what was seen, and not chance."""
    y = 0.15 + 0.005 * np.random.default_rng(0).standard_normal(len(X))
    assert forecast("two_step", means(y, LOSS), targets=AXES) == pytest.approx(np.full(len(X), 0.15), abs=0.02)


def test_constants_and_lines_agree_with_numpy():
    y = 0.4 + 0.05 * np.random.default_rng(1).standard_normal(len(X))
    about = means(y)
    assert (forecast("last", about) == y[-1]).all()
    assert forecast("mean3", about) == pytest.approx([y[-3:].mean()] * 2)
    assert forecast("linear", about) == pytest.approx(np.polyval(np.polyfit(X, y, 1), TARGETS.x))
    design = AXES.design()
    transformed = special.logit(y)
    ridge = np.diag([0, 1e-3, 1e-3])
    centre = design.mean(axis=0) * [0, 1, 1]
    beta = np.linalg.solve((design - centre).T @ (design - centre) + ridge, (design - centre).T @ transformed)
    assert forecast("logit2", about) == pytest.approx(special.expit((TARGETS.design() - centre) @ beta))


@pytest.mark.parametrize("name", LAWS)
def test_shares_stay_shares_and_few_points_are_enough(name):
    metric = LAWS[name][1][0]
    for count in (1, 2, 3):
        axes = axes_of(N[:count], D[:count], (6 * N * D)[:count])
        at = axes.at(np.array([1e10]), np.array([1e13]), np.array([6e23]))
        for y in (np.linspace(0.2, 0.9, count), np.zeros(count), np.ones(count)):
            y = -40 + y if metric == "log_p_vocab_correct" else y
            value = forecast(name, means(y, np.linspace(60, 30, count), axes=axes), metric, at)
            assert np.isfinite(value).all()
            assert metric == "log_p_vocab_correct" or (0 <= value[0] <= 1)


def test_on_published_accuracies_trends_beat_the_last_value_and_first_steps_ruin_them():
    """Accuracies of Pythia on four benchmarks, as the harness published them; errors at targets of other compute."""
    file = Path(__file__).parents[3] / "workflow/registry/reference/pythia.csv"
    models = catalogue.load()
    scores = defaultdict(list)
    for row in csv.DictReader(file.open()):
        step = int(row["checkpoint"].removeprefix("step"))
        if row["metric"] == "accuracy" and step and row["benchmark"] in ("arc_easy", "piqa", "sciq", "arc_challenge"):
            parameters = models[row["model"]].described["parameters"]
            scores[row["benchmark"]].append((parameters, 2097152.0 * step, float(row["value"])))
    assert len(scores) == 4
    errors = defaultdict(list)
    for rows in scores.values():
        parameters, tokens, y = np.array(rows).T
        flops = 6 * parameters * tokens
        x = np.log10(flops)
        for level in np.quantile(x, np.linspace(0.5, 0.9, 5)):
            allowed = np.flatnonzero(x <= level)
            order = allowed[np.lexsort((tokens[allowed], parameters[allowed], flops[allowed]))]
            late = allowed[select_for_laws(parameters[allowed], tokens[allowed], flops[allowed])]
            ahead = np.flatnonzero((x - x[allowed].max() > 0.34) & (x - x[allowed].max() <= 1.8))
            for kind, chosen in (("late", late), ("all", order)):
                axes = axes_of(parameters[chosen], tokens[chosen], flops[chosen])
                at = axes.at(parameters[ahead], tokens[ahead], flops[ahead])
                about = Means(axes, y[chosen], y[chosen], y[chosen], float(y[order[-1]]), 0.25)
                for name in ("last", "logit", "power_error", "logit2"):
                    error = np.abs(fit_law(name, "accuracy", about)(at) - y[ahead]).mean()
                    errors[kind, name].append(error)
    found = {key: float(np.mean(values)) for key, values in errors.items()}
    for name in ("logit", "power_error", "logit2"):
        assert found["late", name] < found["late", "last"] / 1.5, found
        assert found["late", name] < found["all", name] / 1.5, found
