"""Backtests: which origins and targets there are, that no target leaks into its forecast, and the scores of draws."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elusive.forecast import backtests
from elusive.forecast.backtests import Prediction, backtest_rows, bin_of, describe_draws, judge, origins, rows_of
from known_truth import Truth, generate, of_margins

SMALL = Truth(items=40)


def ladder(sizes=4, steps=5, seed=0):
    scores = generate(seed, SMALL)
    keep = (scores.parameters <= np.unique(scores.parameters)[sizes - 1] * 1.01) & (
        scores.tokens <= np.unique(scores.tokens)[steps - 1] * 1.01
    )
    return scores.of_checkpoints(np.flatnonzero(keep))


def one_axis(tokens, seed=0):
    tokens = np.asarray(tokens, dtype=float)
    parameters = np.full(len(tokens), 1e6)
    values = np.random.default_rng(seed).standard_normal((len(tokens), 20, 2))
    return of_margins(values, parameters, tokens, 6 * parameters * tokens)


@pytest.mark.parametrize(
    ("horizon", "name"),
    [(-1, "x1.5"), (0.1, "x1.5"), (0.34, "x3"), (0.73, "x3"), (0.74, "x10"), (1.23, "x30"), (1.8, "x30"), (1.81, None)],
)
def test_bins(horizon, name):
    assert bin_of(horizon) == name


def test_rolling_origins_have_six_checkpoints_and_targets_ahead():
    scores = ladder()
    x = np.log10(scores.flops)
    rolling = [origin for origin in origins(scores) if origin.protocol == "R"]
    assert 1 <= len(rolling) <= 8
    assert len({origin.compute for origin in rolling}) == len(rolling)
    for origin in rolling:
        assert len(origin.training) >= 6
        assert sorted(origin.training) == np.flatnonzero(x <= origin.compute + 1e-9).tolist()
        horizon = x - x[origin.training].max()
        assert sorted(origin.targets) == np.flatnonzero((horizon > 0.08) & (horizon <= 1.8)).tolist()
    assert [origin.compute for origin in rolling] == sorted(origin.compute for origin in rolling)


def test_one_axis_begins_with_three():
    rolling = [origin for origin in origins(one_axis(np.geomspace(1e8, 3e9, 6))) if origin.protocol == "R"]
    assert [len(origin.training) for origin in rolling] == [3, 4, 5]
    # Without sizes there is no protocol of sizes, and training is what R rolls over.
    assert {origin.protocol for origin in origins(one_axis(np.geomspace(1e8, 3e9, 6)))} == {"R"}


def test_sizes_are_forecast_from_smaller_ones():
    scores = ladder()
    sizes = np.unique(scores.parameters)
    found = [origin for origin in origins(scores) if origin.protocol == "S"]
    assert len(found) == 2
    for origin, size in zip(found, sizes[2:], strict=True):
        assert (scores.parameters[origin.training] < size).all()
        assert len(origin.training) == (scores.parameters < size).sum()
        (target,) = origin.targets
        assert scores.parameters[target] == size and scores.tokens[target] == scores.tokens.max()


def test_training_of_the_largest_is_continued():
    scores = ladder()
    largest = scores.parameters.max()
    found = [origin for origin in origins(scores) if origin.protocol == "T"]
    assert len(found) == 4
    for count, origin in enumerate(found, 1):
        own = origin.training[scores.parameters[origin.training] == largest]
        assert len(own) == count
        assert scores.tokens[own].max() < scores.tokens[origin.targets].min()
        assert (scores.parameters[origin.targets] == largest).all()
        assert len(origin.training) == (scores.parameters < largest).sum() + count


def test_no_forecast_knows_a_target():
    """With all that may not be learnt from filled with NaN, every forecast of every method is the same."""
    scores = ladder()
    found = origins(scores)
    assert {origin.protocol for origin in found} == {"R", "S", "T"}
    for origin in found:
        judged = judge(scores, origin, "f", "b", draws=20)
        hidden = np.setdiff1d(np.arange(len(scores.flops)), origin.training)
        assert len(hidden) >= len(origin.targets)
        margins, right = scores.margins.copy(), scores.right.copy()
        margins[hidden], right[hidden] = np.nan, np.nan
        blind = judge(replace(scores, margins=margins, right=right), origin, "f", "b", draws=20)
        for key, predictions in judged.forecasts.predictions.items():
            for one, other in zip(predictions, blind.forecasts.predictions[key], strict=True):
                assert one.value == other.value, (key, judged.origin.protocol)
                assert (one.draws is None) == (other.draws is None)
                assert one.draws is None or np.array_equal(one.draws, other.draws)
        for one, other in zip(judged.items, blind.items, strict=True):
            assert np.array_equal(one.p_right, other.p_right)


def test_a_checkpoint_above_the_origin_changes_nothing():
    """The forecasts of one origin from a run that went on are those from a run that had not."""
    scores = ladder()
    x = np.log10(scores.flops)
    kept = scores.of_checkpoints(np.flatnonzero(x < x.max() - 0.2))
    long = {origin.compute: origin for origin in origins(scores) if origin.protocol == "R"}
    shared = 0
    for origin in origins(kept):
        if origin.protocol != "R" or origin.compute not in long:
            continue
        judged, other = judge(kept, origin, "f", "b", 20), judge(scores, long[origin.compute], "f", "b", 20)
        places = {key: i for i, key in enumerate(zip(other.observed.models, other.observed.checkpoints, strict=True))}
        for i, key in enumerate(zip(judged.observed.models, judged.observed.checkpoints, strict=True)):
            shared += 1
            for method, predictions in judged.forecasts.predictions.items():
                assert predictions[i].value == other.forecasts.predictions[method][places[key]].value, method
    assert shared > 5


def test_results_do_not_depend_on_the_order_of_checkpoints():
    scores = ladder()
    order = np.random.default_rng(0).permutation(len(scores.flops))
    shuffled = scores.of_checkpoints(order)
    again = shuffled.of_checkpoints(np.lexsort((shuffled.tokens, shuffled.parameters, shuffled.flops)))
    straight = scores.of_checkpoints(np.lexsort((scores.tokens, scores.parameters, scores.flops)))
    assert backtest_rows(again, "f", "b") == backtest_rows(straight, "f", "b")


def test_rows_say_what_was_observed_and_what_was_last():
    scores = ladder()
    seen = {name: values.mean(axis=1) for name, values in scores.metrics().items()}
    place = {key: i for i, key in enumerate(zip(scores.models, scores.checkpoints, strict=True))}
    rows = backtest_rows(scores, "f", "b")
    for row in rows:
        i = place[row["model"], row["checkpoint"]]
        assert row["observed"] == pytest.approx(seen[row["metric"]][i], rel=1e-12)
        assert row["horizon"] == pytest.approx(np.log10(row["flops"]) - row["origin"])
        assert row["bin"] == bin_of(row["horizon"])
        if row["method"] == "last":
            assert row["forecast"] == row["last_value"]
            assert row["sd"] is None and row["low80"] is None
        if row["method"] == "km" and row["sd"] is not None:
            assert row["low95"] <= row["low80"] <= row["low50"] <= row["high50"] <= row["high80"] <= row["high95"]
    first = [row for row in rows if row["protocol"] == "R" and row["method"] == "last" and row["metric"] == "accuracy"]
    by_origin = {row["origin"]: row["last_value"] for row in first}
    x = np.log10(scores.flops)
    for origin, value in by_origin.items():
        assert value == pytest.approx(seen["accuracy"][np.flatnonzero(x <= origin + 1e-9)[-1]])
    assert pl.DataFrame(rows, infer_schema_length=None)["status"].unique().to_list() == [""]


def test_few_checkpoints_say_why_there_is_no_law():
    scores = one_axis(np.geomspace(1e8, 3e9, 6))
    few = scores.of_checkpoints(np.arange(2))
    training, observed = few, scores.of_checkpoints(np.array([4]))
    targets = backtests.Targets(observed.parameters, observed.tokens, observed.flops)
    forecasts = backtests.forecast_all(training, targets, draws=10, seeds=[[1]])
    origin = backtests.Origin("R", float(np.log10(few.flops.max())), np.arange(2), np.array([4]))
    rows = list(rows_of(backtests.Judged(origin, forecasts, training, observed)))
    own = [row for row in rows if row["method"] == "km"]
    assert all(row["status"] == "2 checkpoints are too few for a law: the last value stands in" for row in own)
    assert all(row["forecast"] == row["last_value"] and row["sd"] is None for row in own)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=30), st.floats(-6, 6))
def test_crps_and_pit_of_draws(draws, observed):
    draws = np.array(draws)
    found = describe_draws(Prediction(float(draws.mean()), draws), observed)
    pairs = np.abs(draws[:, None] - draws).sum() / (len(draws) * (len(draws) - 1))
    assert found["crps"] == pytest.approx(np.abs(draws - observed).mean() - pairs / 2, abs=1e-9)
    assert found["pit"] == pytest.approx(((draws < observed) + (draws == observed) / 2).mean())
    assert found["sd"] == pytest.approx(draws.std(), abs=1e-9)


def test_a_constant_benchmark_is_forecast_without_an_error():
    scores = ladder()
    sure = replace(scores, margins=np.full(scores.margins.shape, 5.0))
    for row in backtest_rows(sure, "f", "b"):
        if row["metric"] == "accuracy" and row["method"] in ("km", "last", "mean3", "linear"):
            assert row["forecast"] == pytest.approx(1, abs=1e-12)
        if row["metric"] == "accuracy" and row["method"] == "km":
            assert row["high95"] - row["low95"] == 0
