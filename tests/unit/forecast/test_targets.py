"""Forecasts of what is asked for: recommendations, what is marked, and intervals from earlier errors."""

import numpy as np
import polars as pl
import pytest

from elusive.configuration.forecasting import Target
from elusive.forecast import targets
from elusive.forecast.backtests import backtest_rows
from elusive.forecast.targets import (
    BEYOND,
    FEW,
    NEAR_CHANCE,
    ONE_AXIS,
    STILL,
    UNTESTED,
    WITHIN,
    at_chance,
    errors_of,
    forecast_targets,
    item_rows,
    recommended,
    target_rows,
    with_errors,
)
from known_truth import NULL, Truth, generate, of_margins

SMALL = Truth(items=60)
NAMES = {"family": "f", "benchmark": "b", "subject": None}
METRICS = ["accuracy", "p_choices_correct", "brier", "log_p_vocab_correct"]


def target(scores, parameters_times=1.0, tokens_times=1.0, label="t"):
    parameters, tokens = scores.parameters.max() * parameters_times, scores.tokens.max() * tokens_times
    return Target("f", round(parameters), round(tokens), label)


def rows_at(scores, *asked, draws=60):
    found = forecast_targets(scores, asked, family="f", benchmark="b", draws=draws)
    return target_rows(found, scores, asked, NAMES, METRICS)


def status(scores, *times):
    return rows_at(scores, target(scores, *times))[0]["status"].split("; ")


@pytest.mark.parametrize(
    ("metric", "points", "movement", "method"),
    [
        ("accuracy", 6, 100.0, "km"),
        ("accuracy", 6, 1.0, "km"),
        ("accuracy", 4, 100.0, "last"),
        ("accuracy", 2, None, "last"),
        ("accuracy", 8, None, "last"),
        ("p_choices_correct", 5, 1.0, "km"),
        ("log_p_vocab_correct", 5, 1.0, "km"),
        ("brier", 6, 4.9, "mean3"),
        ("brier", 6, 5.0, "km"),
        ("brier", 4, 1.0, "last"),
    ],
)
def test_the_rule_of_what_to_use(metric, points, movement, method):
    assert recommended(metric, points, movement) == method


def test_one_method_of_each_metric_is_recommended():
    scores = generate(0, SMALL)
    for metric in METRICS:
        own = [row for row in rows_at(scores, target(scores, 2, 2)) if row["metric"] == metric]
        assert sum(row["recommended"] for row in own) == 1


def test_nothing_is_marked_where_all_is_well():
    """A benchmark far from chance whose items move together, forecast to four times the compute."""
    scores = generate(0, Truth(items=200, intercept=2.5))
    assert status(scores, 2, 2) == [""]


def test_what_is_beyond_and_within():
    scores = generate(0, SMALL)
    assert BEYOND in status(scores, 10, 10)
    assert BEYOND not in status(scores, 7.9, 7.9)
    assert WITHIN in status(scores, 0.5, 1)
    assert WITHIN not in status(scores, 2, 1)


def test_still_benchmarks_are_marked():
    scores = generate(1, NULL)
    assert STILL in status(scores, 2, 2)
    assert STILL not in status(generate(0), 2, 2)


def test_benchmarks_at_chance_are_marked():
    guessing = np.random.default_rng(0).standard_normal((20, 300, 3))
    scores = generate(0)
    flat = of_margins(guessing, scores.parameters, scores.tokens, scores.flops)
    assert at_chance(flat) and NEAR_CHANCE in status(flat, 2, 2)
    assert not at_chance(of_margins(guessing + 1, scores.parameters, scores.tokens, scores.flops))
    assert at_chance(of_margins(guessing - 2, scores.parameters, scores.tokens, scores.flops)), "below chance too"


def test_few_checkpoints_are_marked_and_get_the_last_value():
    scores = generate(0, SMALL)
    few = scores.of_checkpoints(np.arange(4))
    rows = rows_at(few, target(few, 2, 2))
    assert FEW in rows[0]["status"]
    best = {row["metric"]: row for row in rows if row["recommended"]}
    assert {row["method"] for row in best.values()} == {"last"}
    assert [row["forecast"] for row in rows if row["method"] == "km"] != [
        row["forecast"] for row in rows if row["method"] == "last"
    ]
    two = scores.of_checkpoints(np.arange(2))
    rows = rows_at(two, target(two, 2, 2))
    assert rows[0]["status"].startswith("2 checkpoints are too few for a law")
    assert all(row["forecast"] == row["last_value"] and row["low80"] is None for row in rows if row["method"] == "km")


def test_leaving_the_one_axis_is_marked():
    scores = generate(0, SMALL)
    sizes = scores.of_checkpoints(np.flatnonzero(scores.tokens == scores.tokens.max()))
    assert ONE_AXIS in status(sizes, 2, 2)
    assert ONE_AXIS not in status(sizes, 2, 1)
    training = scores.of_checkpoints(np.flatnonzero(scores.parameters == scores.parameters.max()))
    assert ONE_AXIS in status(training, 2, 1)
    assert ONE_AXIS not in status(training, 1, 2)
    parameters = np.geomspace(1e6, 1e8, 6)
    values = np.random.default_rng(0).standard_normal((6, 30, 2))
    chinchilla = of_margins(values, parameters, 20 * parameters, 120 * parameters**2)
    assert ONE_AXIS not in status(chinchilla, 2, 2)
    assert ONE_AXIS in status(chinchilla, 2, 4)


@pytest.mark.parametrize("others", [1, 2, 3, 6])
def test_a_forecast_does_not_depend_on_what_else_is_asked_for(others):
    scores = generate(2, SMALL)
    more = [target(scores, 2 + number, 1 + number / 3, f"more {number}") for number in range(others)]
    asked = target(scores, 3, 1, "asked")
    alone, together = rows_at(scores, asked), rows_at(scores, *more[:1], asked, *more[1:])
    assert alone == [row for row in together if row["target"] == "asked"]


def backtests_of(scores, benchmarks="ab"):
    found = [
        {"family": "f", "benchmark": benchmark, "subject": None} | row
        for benchmark in benchmarks
        for row in backtest_rows(scores, "f", benchmark)
    ]
    return pl.DataFrame(found, infer_schema_length=None).with_columns(pl.col("subject").cast(pl.String))


def test_earlier_errors_widen_and_make_intervals():
    scores = generate(3, SMALL)
    judged = backtests_of(scores)
    wrong = judged.with_columns(
        observed=pl.when(pl.col("method") == "km").then(pl.col("forecast") + 3 * pl.col("sd")).otherwise("observed")
    )
    errors, tested = errors_of(wrong), targets.tested_bins(wrong)
    rows = rows_at(scores, target(scores, 2, 2))
    plain = {(row["metric"], row["method"]): row for row in rows}
    for row in rows:
        found = with_errors(row, errors, tested)
        own = plain[row["metric"], row["method"]]
        assert found["forecast"] == own["forecast"]
        if row["method"] == "km":
            assert found["inflation"] == pytest.approx(3 / 1.2816)
            if row["metric"] == "log_p_vocab_correct":
                expected = own["forecast"] + found["inflation"] * (own["high80"] - own["forecast"])
                assert found["high80"] == pytest.approx(expected)
            else:
                assert 0 <= found["low95"] <= found["low80"] <= own["low80"]
        elif row["method"] == "linear":
            assert found["interval"] == "errors" and found["inflation"] is None
            assert found["num_inflation"] >= 30
            middle = (found["low80"] + found["high80"]) / 2
            assert row["metric"] != "log_p_vocab_correct" or middle == pytest.approx(found["forecast"])


def test_without_enough_errors_intervals_stay_as_they_are():
    scores = generate(3, SMALL)
    few = backtests_of(scores, "a").group_by("metric", "method", maintain_order=True).head(5)
    errors = errors_of(few)
    for row in rows_at(scores, target(scores, 2, 2)):
        found = with_errors(row, errors, {"x3"})
        assert found["low80"] == (None if row["low80"] is None else pytest.approx(row["low80"]))
        assert found["interval"] in ("draws", "none")
        assert found["num_inflation"] <= 5


def test_an_untested_horizon_is_marked():
    scores = generate(3, SMALL)
    (row, *_) = rows_at(scores, target(scores, 2, 2))
    assert UNTESTED in with_errors(row, {}, {"x1.5"})["status"]
    assert UNTESTED not in with_errors(row, {}, {"x3"})["status"]
    assert UNTESTED not in with_errors(row, {}, None)["status"]
    (far, *_) = rows_at(scores, target(scores, 100, 100))
    assert with_errors(far, {}, set())["status"].count(targets.BEYOND) == 1
    assert UNTESTED not in with_errors(far, {}, set())["status"]


def test_items_have_probabilities():
    scores = generate(4, SMALL)
    asked = [target(scores, 2, 2, "a"), target(scores, 3, 3, "b")]
    found = forecast_targets(scores, asked, family="f", benchmark="b", draws=60)
    rows = item_rows(found.items, scores, asked, NAMES)
    assert len(rows) == 2 * 60
    assert [row["item"] for row in rows[:60]] == list(scores.items)
    last = scores.metrics()["accuracy"][-1]
    assert [row["last_accuracy"] for row in rows[60:]] == last.tolist()
    for row in rows:
        assert 0 <= row["p_right"] <= 1 and 0 <= row["p_choices"] <= 1 and row["margin_sd"] > 0
    accuracy = found.predictions["accuracy", "km"][0].value
    assert np.mean([row["p_right"] for row in rows[:60]]) == pytest.approx(accuracy)
