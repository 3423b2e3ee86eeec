"""Sentences about forecasts: each is written where it is true, with its numbers, and not where it is false."""

import pandas as pd
import pytest

from elusive.forecast import summary as words
from elusive.forecast.targets import FEW, NEAR_CHANCE, STILL

LABELS = {"sciq": "SciQ", "arc": "ARC", "piqa": "PIQA"}


def summary_rows(errors, metric="accuracy", name="x1.5", interval=(-0.02, -0.01), benchmarks=("sciq", "arc")):
    """Rows of backtest_summary: ``errors`` is method -> error, the same on all benchmarks unless it is a list."""
    rows = []
    for method, value in errors.items():
        values = value if isinstance(value, list) else [value] * len(benchmarks)
        about = {"family": "f", "subject": None, "protocol": "R", "bin": name, "metric": metric, "method": method}
        last = errors["last"] if isinstance(errors["last"], list) else [errors["last"]] * len(benchmarks)
        for benchmark, mae, other in zip(benchmarks, values, last, strict=True):
            rows.append(about | {"benchmark": benchmark, "mae": mae, "minus_last": mae - other, "num_clusters": 1})
        mean, mean_last = sum(values) / len(values), sum(last) / len(last)
        low, high = interval if method not in ("last", "mean3") else (0.0, 0.0) if method == "last" else (-0.01, 0.01)
        rows.append(
            about
            | {
                "benchmark": None,
                "mae": mean,
                "minus_last": mean - mean_last,
                "minus_last_low": low,
                "minus_last_high": high,
                "num_clusters": len(benchmarks),
            }
        )
    return pd.DataFrame(rows)


def law_rows(movement, slopes=None):
    """Rows of choice_laws of margins: benchmark -> movement, and -> interval of both slopes."""
    slopes = slopes or dict.fromkeys(movement, (-1.0, 1.0))
    return pd.DataFrame(
        [
            {
                "family": "f",
                "benchmark": name,
                "quantity": "margin",
                "movement": value,
                "both_axes": True,
                "slope_n": sum(slopes[name]) / 2,
                "slope_n_low": slopes[name][0],
                "slope_n_high": slopes[name][1],
                "slope_d": sum(slopes[name]) / 2,
                "slope_d_low": slopes[name][0],
                "slope_d_high": slopes[name][1],
            }
            for name, value in movement.items()
        ]
    )


def forecast_rows(status, num_models=20, inflation=1.0):
    """Rows of forecasts: benchmark -> status."""
    return pd.DataFrame(
        [
            {
                "family": "f",
                "benchmark": name,
                "subject": None,
                "metric": metric,
                "method": "km",
                "status": text,
                "num_models": num_models,
                "inflation": inflation if metric == "brier" else 1.0,
                "num_inflation": 90,
            }
            for name, text in status.items()
            for metric in ("accuracy", "brier")
        ]
    )


def test_the_first_sentence_says_what_can_be_forecast_how_well_and_what_cannot():
    found = words.what_can_be_forecast(
        summary_rows({"km": [0.06, 0.013], "last": [0.10, 0.0135]}),
        law_rows({"sciq": 400.0, "arc": 2.0}),
        forecast_rows({"sciq": "", "arc": f"{STILL}; {NEAR_CHANCE}"}),
        "f",
        LABELS,
    )
    assert found == (
        "On SciQ, whose items move together, kriging of margins missed accuracy by 6.0 points at up to 2.2 times the "
        "compute, less than the last value (10.0 points); on ARC, whose items have no common movement, kriging of "
        "margins missed accuracy by 1.3 points at up to 2.2 times the compute, about as much as the last value (1.4 "
        "points); what cannot be forecast is whether and when ARC will leave chance."
    )


def test_the_first_sentence_names_the_benchmarks():
    names = [f"b{i:02d}" for i in range(14)]
    rows = summary_rows({"km": 0.05, "last": 0.05}, benchmarks=tuple(names))
    labels = {name: name.upper() for name in names}

    other = {"c": ""}

    def said(still, chance):
        marks = chance if isinstance(chance, dict) else dict.fromkeys(chance, NEAR_CHANCE)
        laws, forecasts = law_rows(dict.fromkeys(still, 2.0)), forecast_rows(marks)
        return words.what_can_be_forecast(rows, laws, forecasts, "f", labels)

    found = said(names[:3], names[:3])
    assert found.startswith("On B00, B01 and B02, whose items have no common movement,")
    assert found.endswith("whether and when these will leave chance."), "they were named a line before"
    assert said(names[:3], names[:2]).endswith("whether and when B00 and B01 will leave chance.")
    assert said(names[:1], names[:1]).endswith("whether and when B00 will leave chance.")
    assert said(names[:12], other).startswith("On B00, B01, B02, B03, B04, B05, B06, B07, B08, B09, B10 and B11, whose")
    assert said(names, other).startswith("On B00, B01, B02, B03, B04, B05 and 8 others, whose")


def test_the_first_sentence_does_not_praise_what_is_worse():
    found = words.what_can_be_forecast(
        summary_rows({"km": 0.08, "last": 0.05}),
        law_rows({"sciq": 9.0, "arc": 8.0}),
        forecast_rows({"sciq": ""}),
        "f",
        {},
    )
    assert "more than the last value" in found and "less than" not in found
    assert "no common movement" not in found and "leave chance" not in found


def test_the_first_sentence_where_the_last_value_had_no_error():
    def said(error):
        rows = summary_rows({"km": error, "last": 0.0})
        return words.what_can_be_forecast(rows, law_rows({"sciq": 9.0}), forecast_rows({"sciq": ""}), "f", LABELS)

    assert "by 2.2 points" in said(0.022) and "more than the last value (0.0 points)" in said(0.022)
    assert "about as much as the last value (0.0 points)" in said(0.0)


def test_the_first_sentence_without_backtests_or_laws():
    none = summary_rows({"km": 0.1, "last": 0.1}).iloc[:0]
    args = (law_rows({"sciq": 9.0}), forecast_rows({"sciq": ""}), "f", LABELS)
    assert words.what_can_be_forecast(none, *args).startswith(
        "What can be forecast here is not known: there are too few"
    )
    empty = law_rows({"sciq": 9.0}).iloc[:0]
    found = words.what_can_be_forecast(summary_rows({"km": 0.1, "last": 0.1}), empty, *args[1:])
    assert found == "What can be forecast here is not known: no benchmark has enough checkpoints for a law."


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((-0.02, -0.001), "it is better."),
        ((0.001, 0.02), "it is worse."),
        ((-0.02, 0.001), "the two cannot be told apart."),
    ],
)
def test_better_and_worse_need_an_interval_without_zero(interval, verdict):
    found = words.against_last(summary_rows({"km": 0.03, "last": 0.04}, interval=interval), "f", "accuracy", "x1.5")
    assert found.endswith(verdict)
    assert "missed accuracy by 3.0 points, the last value by 4.0 points (difference −1.0, 95 % interval" in found
    assert "over 2 benchmarks" in found


def test_one_benchmark_gives_no_verdict():
    rows = summary_rows({"km": 0.03, "last": 0.04}, interval=(float("nan"), float("nan")), benchmarks=("sciq",))
    found = words.against_last(rows, "f", "accuracy", "x1.5")
    assert "better" not in found and "worse" not in found
    assert words.against_last(rows, "f", "accuracy", "x30") is None


def test_where_nothing_beats_the_last_value_it_is_said():
    doubtful = summary_rows({"km": 0.03, "last": 0.04, "mean3": 0.039}, interval=(-0.02, 0.01))
    clear = summary_rows({"km": 0.03, "last": 0.04}, name="x3", interval=(-0.02, -0.01))
    found = words.nothing_beats_last(pd.concat([doubtful, clear]), "f")
    assert found == "No method beats the last value beyond doubt for accuracy at x1.5."
    assert words.nothing_beats_last(clear, "f") is None


def test_another_method_is_named_where_it_is_clearly_best():
    rows = summary_rows({"km": 0.03, "last": 0.04, "mean_kriging": 0.02})
    found = words.best_method(rows, "f", "accuracy", "x1.5")
    assert "“kriging of the mean” has the least error of accuracy" in found and "2.0 points against 3.0 points" in found
    assert (
        words.best_method(summary_rows({"km": 0.03, "last": 0.04, "mean_kriging": 0.029}), "f", "accuracy", "x1.5")
        is None
    )
    assert words.best_method(summary_rows({"km": 0.03, "last": 0.04}), "f", "accuracy", "x1.5") is None


def backtest_rows(observed, last=0.25, low=0.2, high=0.3):
    return pd.DataFrame(
        [
            {
                "family": "f",
                "benchmark": "sciq",
                "subject": None,
                "protocol": "R",
                "metric": "accuracy",
                "method": "km",
                "forecast": 0.26,
                "observed": value,
                "last_value": last,
                "low80": low,
                "high80": high,
                "inflation": 1.0,
            }
            for value in observed
        ]
    )


SCORES = pd.DataFrame({"benchmark": ["sciq"], "chance": [0.25]})


def test_jumps_are_told_with_what_intervals_held():
    found = words.jumps(backtest_rows([0.65, 0.45, 0.27]), SCORES, "f", LABELS)
    assert found == (
        "On SciQ accuracy left chance after the origin of 2 forecasts: it rose by 30 points on average, where 1 were "
        "forecast, and the 80 % intervals held 0 % of what came."
    )
    assert "held 50 %" in words.jumps(backtest_rows([0.65, 0.45], high=0.5), SCORES, "f", LABELS)


def test_without_a_jump_none_is_told():
    assert words.jumps(backtest_rows([0.27, 0.2]), SCORES, "f", LABELS) is None
    # A rise of a benchmark that was above chance already is no jump.
    assert words.jumps(backtest_rows([0.65], last=0.4), SCORES, "f", LABELS) is None
    # Nor is one from below chance to chance.
    assert words.jumps(backtest_rows([0.24, 0.34], last=0.12), SCORES, "f", LABELS) is None


def test_a_jump_without_intervals_says_nothing_of_them():
    found = words.jumps(backtest_rows([0.65], low=None, high=None), SCORES, "f", LABELS)
    assert found == (
        "On SciQ accuracy left chance after the origin of 1 forecast: it rose by 40 points, where 1 were forecast."
    )


def test_laws_that_cancel_and_laws_that_part():
    laws = law_rows({"sciq": 9.0, "arc": 2.0, "piqa": 1.0}, {"sciq": (2.0, 9.0), "arc": (-1, 1), "piqa": (-1, 2)})
    found = words.laws_cancel(laws, "f", LABELS)
    assert found.startswith(
        "On 2 of 3 benchmarks the log-likelihoods of right and of wrong choices follow laws whose slopes"
    )
    assert found.endswith("; they part on SciQ.")
    assert words.laws_cancel(law_rows({"sciq": 9.0}, {"sciq": (2.0, 9.0)}), "f", LABELS) is None
    one = law_rows({"arc": 1.0}).assign(both_axes=False, slope_d_low=5.0, slope_d_high=9.0)
    assert words.laws_cancel(one, "f", LABELS).startswith("On ARC the log"), (
        "without a second axis there is no second slope"
    )


def coverage_rows(groups):
    return pd.DataFrame(
        [
            {
                "family": "f",
                "protocol": "R",
                "bin": None,
                "metric": "accuracy",
                "method": "km",
                "group": group,
                "level": 0.8,
                "coverage": 0.1,
                "coverage_inflated": value,
                "num_targets": 50,
                "num_clusters": 4,
            }
            for group, value in groups.items()
        ]
    )


def test_intervals_are_told_apart_by_movement():
    found = words.intervals_hold(coverage_rows({"all": 0.7, "still": 0.84, "moving": 0.42}), "f")
    assert found == (
        "The 80 % intervals of accuracy held 84 % where items had no common movement (50 forecasts on 4 benchmarks) "
        "and 42 % where items moved together (50 forecasts on 4 benchmarks) of what came."
    )
    assert "moved together" not in words.intervals_hold(coverage_rows({"still": 0.84}), "f")
    assert words.intervals_hold(coverage_rows({"all": 0.8}), "f") is None
    one = coverage_rows({"still": 1.0}).assign(num_targets=1, num_clusters=1)
    assert "(1 forecast on 1 benchmark)" in words.intervals_hold(one, "f")


def test_widened_intervals_are_named():
    found = words.intervals_widened(forecast_rows({"sciq": ""}, inflation=1.34), "f")
    assert found == "Earlier errors widen the intervals of the Brier score 1.3 times (from 90 errors)."
    assert words.intervals_widened(forecast_rows({"sciq": ""}, inflation=1.05), "f") is None


def test_few_checkpoints_are_told():
    found = words.few_checkpoints(forecast_rows({"sciq": FEW}, num_models=4), "f")
    assert found.startswith("With 4 checkpoints to learn from, fewer than five, the last value is the forecast to use")
    assert words.few_checkpoints(forecast_rows({"sciq": NEAR_CHANCE}), "f") is None
    assert words.few_checkpoints(forecast_rows({"sciq": FEW}, num_models=1), "f").startswith("With 1 checkpoint to")


def reliability_rows(brier):
    return pd.DataFrame(
        [
            {"family": "f", "benchmark": b, "protocol": "S", "method": method, "num_items": 100, "brier": value}
            for method, value in brier.items()
            for b in ("sciq", "arc")
        ]
    )


def test_single_items_against_their_best_rival():
    found = words.single_items(reliability_rows({"km": 0.085, "last": 0.137, "p_choices": 0.097}), "f")
    assert found == (
        "The probabilities of single items have a mean squared error of 0.085 at the next size, better than the best "
        "simple one, p_choices under the last checkpoint (0.097)."
    )
    worse = words.single_items(reliability_rows({"km": 0.11, "last3": 0.10}), "f")
    assert "no better than the best simple one, the share of the last three checkpoints (0.100)" in worse
    assert words.single_items(reliability_rows({"last": 0.1}), "f") is None


def decision_rows(shares, decidable=("sciq",), larger=0.8):
    return pd.DataFrame(
        [
            {
                "group": "f",
                "benchmark": benchmark,
                "is_end": end,
                "metric": metric,
                "num_pairs": 10,
                "decision_accuracy": 1.0 if end else share,
                "larger_wins": larger,
                "decidable": benchmark in decidable,
            }
            for benchmark in ("sciq", "arc")
            for metric, share in shares.items()
            for end in (False, True)
        ]
    )


def test_decisions_are_told_where_they_can_be_made():
    found = words.decisions_early(decision_rows({"accuracy": 0.6, "margin_log": 0.9}), "f", LABELS)
    assert found == (
        "On SciQ, the margin before the end orders 90 % of the pairs of models as accuracy does at the end, accuracy "
        "itself 60 %; that the larger model wins holds for 80 %; at most 10 pairs that share their models are a "
        "demonstration, no evidence. On the other one it is not decidable."
    )
    best = words.decisions_early(
        decision_rows({"accuracy": 0.9, "margin_log": 0.6}, decidable=("sciq", "arc")), "f", LABELS
    )
    assert "accuracy before the end orders 90 %" in best and "accuracy itself" not in best
    assert "not decidable" not in best
    pair = words.decisions_early(decision_rows({"accuracy": 0.9}).assign(num_pairs=1), "f", LABELS)
    assert "; one pair is a demonstration, no evidence." in pair


def test_decisions_that_cannot_be_made_are_not_told():
    found = words.decisions_early(decision_rows({"accuracy": 0.9}, decidable=()), "f", LABELS)
    assert found.startswith("Which score orders the models early on is not decidable: on none of 2 benchmarks")
    assert words.decisions_early(decision_rows({"accuracy": 0.9}), "other", LABELS) is None
    one = decision_rows({"accuracy": 0.9}, decidable=()).query("benchmark == 'arc'")
    assert words.decisions_early(one, "f", LABELS).endswith(
        "on ARC their final accuracies do not spread by two standard errors."
    )


def subset_rows(values):
    return pd.DataFrame(
        [
            {"family": "f", "benchmark": "sciq", "selection": s, "spearman_inside": i, "spearman_held_out": h}
            for s, (i, h) in values.items()
        ]
    )


def test_subsets_are_told_with_what_they_are_held_against():
    found = words.subsets_that_scale(
        subset_rows({"chosen": (0.8, 0.7), "random": (0.4, 0.4), "judged": (0.2, 0.85)}), "f"
    )
    assert "0.80 and on the larger half with 0.70, more than random quarters (0.40)" in found
    assert "chosen where it is judged it would show 0.85" in found
    little = words.subsets_that_scale(
        subset_rows({"chosen": (0.7, 0.15), "random": (0.0, 0.05), "judged": (0.1, 0.8)}), "f"
    )
    assert "little more than random quarters" in little
    noise = words.subsets_that_scale(
        subset_rows({"chosen": (0.7, 0.0), "random": (0.0, 0.05), "judged": (0.1, 0.8)}), "f"
    )
    assert "no more than random quarters" in noise
    assert words.subsets_that_scale(subset_rows({"all": (0.1, 0.2)}), "f") is None


def test_the_number_of_clusters_is_told():
    rows = summary_rows({"km": 0.03, "last": 0.04})
    found = words.clusters(pd.concat([rows, rows.assign(bin=None)]), "f")
    assert found.startswith("Everything said over benchmarks rests on 2 of them;")
    assert words.clusters(rows.iloc[:0], "f") is None


def test_a_section_of_nothing_says_so():
    """Without backtests only the first sentence is left."""
    empty = {
        "summary": summary_rows({"km": 0.1, "last": 0.1}).iloc[:0],
        "coverage": coverage_rows({"all": 0.8}).iloc[:0],
        "backtests": backtest_rows([0.3]).iloc[:0],
        "forecasts": forecast_rows({"sciq": ""}).iloc[:0],
        "laws": law_rows({"sciq": 1.0}).iloc[:0],
        "reliability": reliability_rows({"km": 0.1}).iloc[:0],
        "decisions": decision_rows({"accuracy": 0.5}).iloc[:0],
        "subsets": subset_rows({"all": (0.1, 0.1)}).iloc[:0],
        "scores": SCORES,
    }
    found = words.section(**empty, family="f", labels=LABELS)
    assert found == ["What can be forecast here is not known: there are too few checkpoints to judge a forecast by."]
