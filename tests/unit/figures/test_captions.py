"""Sentences of captions: each where it is true, and where it is false and another stands in its place."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from elusive.figures import accuracy, agreement, attribution, choices, hero, loss, masses, mechanism, statistics
from elusive.figures.data import Benchmark
from elusive.figures.states import CHANCE, FALLS, FOLLOWS, UNKNOWN, kept
from report_tables import FAMILY, benchmarks, ceiling, headline
from report_tables import attribution as attribution_table
from report_tables import mechanism as mechanism_table

FAMILIES = {FAMILY: "Family"}


def _seen(text: str) -> str:
    return text.split("What to see: ")[1]


def _hero(levels: dict[str, list[tuple[float | None, str]]], loss_correlation: float | None = None) -> str:
    about = benchmarks(*levels)
    return hero.caption_text(headline(levels), ceiling(loss_correlation), about, FAMILY, "Family")


GOOD = [(0.9, FOLLOWS), (0.5, FOLLOWS), (0.4, FOLLOWS), (0.3, FOLLOWS)]
HALF = [(0.7, FOLLOWS), (0.02, CHANCE), (0.0, CHANCE), (-0.2, FALLS)]
NOTHING = [(0.1, UNKNOWN), (0.0, UNKNOWN), (0.0, UNKNOWN), (None, UNKNOWN)]


def test_the_hero_counts_what_follows_compute() -> None:
    text = _hero({"A": HALF, "B": GOOD}, 0.95)
    assert "2 of 2 for log p of the right answer (0.80 on average)" in text
    assert "1 of 2 for accuracy (0.05 on average)" in text
    assert "Dashed" in text and "0.95" in text and "Light bands" in text
    assert "The higher a benchmark" in text and "too few" not in text


def test_the_hero_claims_nothing_of_too_few_checkpoints() -> None:
    text = _hero({"A": NOTHING})
    assert _seen(text) == "too few checkpoints to tell any mean from chance."
    assert "Dashed" not in text and "Light bands" not in text and "The higher a benchmark" not in text
    assert "There is no band of shuffled compute" in text


def test_the_hero_puts_what_keeps_most_at_the_top() -> None:
    frame = hero.tidy(headline({"A": HALF, "B": GOOD, "C": NOTHING}), benchmarks("A", "B", "C"), FAMILY)
    assert frame.drop_duplicates("benchmark")["benchmark"].tolist() == ["b", "a", "c"]
    assert frame.groupby("benchmark")["place"].first().to_dict() == {"b": 2, "a": 1, "c": 0}
    assert kept([FOLLOWS, CHANCE, FOLLOWS]) == 1 and kept([FOLLOWS] * 4) == 4 and kept([UNKNOWN]) == 0


@pytest.mark.parametrize("levels", [{"A": HALF}, {"A": NOTHING}, {"A": GOOD, "B": HALF}])
def test_the_hero_draws_what_there_is(levels: dict[str, list[tuple[float | None, str]]]) -> None:
    about = benchmarks(*levels)
    known = sum(mean is not None for scores in levels.values() for mean, _ in scores)
    plot = hero.plot(headline(levels), ceiling(0.9), about, FAMILY)
    assert plot.data["mean"].notna().sum() == known
    plot.draw()
    missing = hero.plot(headline(levels).iloc[:0], ceiling(None), about, FAMILY)
    assert missing.data["mean"].isna().all() and len(missing.data) == 4 * len(about)
    missing.draw()


def _attribution(steps: dict[str, float], method: str, **more: float | tuple[float, float]) -> str:
    table = attribution_table({"A": steps}, **more).assign(num_models=6)
    return _seen(attribution.caption_text(table, benchmarks("A"), FAMILIES, method))


def test_attribution_says_loss_gain_and_nothing() -> None:
    lost = _attribution({"renormalise": 0.4, "threshold": 0.1}, "spearman")
    assert lost == (
        "in “Family”, by Spearman renormalising over the choices loses 0.40 and thresholding loses 0.10; the whole way "
        "from log p_vocab to accuracy loses 0.50."
    )
    gained = _attribution({"renormalise": -0.2, "threshold": 0.001}, "spearman", width=0.003)
    assert "renormalising over the choices gains 0.20 and thresholding changes nothing" in gained
    assert "the whole way from log p_vocab to accuracy gains 0.20" in gained and "loses" not in gained
    little = _attribution({"renormalise": 0.4, "threshold": 0.002}, "spearman", width=0.001)
    assert "thresholding loses less than 0.01" in little


def test_attribution_calls_nothing_within_its_interval_a_loss() -> None:
    for drop, between in ((0.005, "−0.01 to 0.02"), (-0.02, "−0.04 to 0.00")):
        text = _attribution({"renormalise": drop, "threshold": 0.3}, "spearman", width=0.016 if drop > 0 else 0.021)
        assert f"renormalising over the choices neither loses nor gains beyond its interval (loss {between})" in text
        assert "thresholding loses 0.30" in text
    unknown = _attribution({"renormalise": 0.4, "threshold": -0.1}, "spearman", width=float("nan"))
    assert "renormalising over the choices takes 0.40 (no interval) and thresholding takes −0.10 (no int" in unknown
    assert "loses" not in unknown and "gains" not in unknown


def test_a_mean_over_benchmarks_is_known_better_than_each() -> None:
    steps = {label: {"renormalise": 0.03, "threshold": 0.3} for label in "ABCD"}
    table = attribution_table(steps, width=0.04).assign(num_models=6)
    text = _seen(attribution.caption_text(table, benchmarks(*"ABCD"), FAMILIES, "spearman"))
    assert "averaged over the benchmarks, by Spearman renormalising over the choices loses 0.03" in text
    text = _seen(attribution.caption_text(table, benchmarks("A"), FAMILIES, "spearman"))
    assert "renormalising over the choices neither loses nor gains" in text


def test_attribution_by_pearson_is_led_by_spearman_and_a_range_over_both_orders() -> None:
    text = _attribution({"renormalise": 0.4, "threshold": 0.05}, "pearson", exponentiate=(0.05, 0.23))
    assert text.startswith("in “Family”, by Spearman renormalising over the choices loses 0.40")
    assert "depends on which of the two comes first" in text
    assert "exponentiating 0.05 to 0.23, renormalising over the choices 0.17 to 0.35 and thresholding 0.05" in text
    same = _attribution({"renormalise": 0.4, "threshold": 0.05}, "pearson", exponentiate=(0.1, 0.1))
    assert "hardly depends on their order" in same and "depends on which" not in same


def test_attribution_without_numbers_says_so() -> None:
    table = attribution_table({"A": {"renormalise": 0.4, "threshold": 0.1}}).assign(num_models=6)
    numbers = ["drop", "drop_low", "drop_high", "drop_least", "drop_most"]
    table = table.assign(**dict.fromkeys(numbers, np.nan))
    for method in ("spearman", "pearson"):
        text = _seen(attribution.caption_text(table, benchmarks("A"), FAMILIES, method))
        assert text == "in “Family”, there is no mean correlation to follow."


def test_mechanism_gives_the_dependences_that_there_are() -> None:
    found = {"A": {"drop_with_comovement": 0.3, "drop_with_choice_length": -0.1}, "B": {"drop_with_comovement": 0.5}}
    text = _seen(mechanism.caption_text(mechanism_table(found).assign(num_models=6), benchmarks("A", "B"), FAMILIES))
    assert "0.30 to 0.50 with the co-movement of its choices and −0.10 with their length, each from" in text
    assert "number" not in text
    nothing = mechanism_table({"A": {"other": 0.3}}).assign(num_models=6)
    text = _seen(mechanism.caption_text(nothing, benchmarks("A"), FAMILIES))
    assert text == "in “Family”, no loss varies with what its item's choices are like, as far as it is defined."


@pytest.mark.parametrize(
    ("median", "said"),
    [
        (0.9, "A wrong choice and the right one move together"),
        (0.1, "A wrong choice and the right one hardly move together"),
        (-0.8, "A wrong choice falls over the checkpoints where the right one rises"),
        (np.nan, "How choices move together over the checkpoints cannot be told."),
    ],
)
def test_choices_move_together_only_where_they_do(median: float, said: str) -> None:
    items = 6
    table = pd.DataFrame(
        {
            "family": FAMILY,
            "item": np.repeat(np.arange(items), 2).astype(str),
            "is_gold": [True, False] * items,
            "spearman": [0.5, np.nan] * items,
            "comovement": [np.nan, median] * items,
            "comovement_partial": np.nan,
        }
    )
    rows = {"family": FAMILY, "method": "spearman", "num_models": 6, "correlation": 0.5}
    correlations = pd.DataFrame([rows | {"metric": metric} for metric in ("log_p_vocab_incorrect", "margin_log")])
    text = _seen(choices.caption_text(table, correlations, benchmarks("A")[0], FAMILIES))
    assert said in text and "at equal compute" not in text and "nan" not in text
    assert "is 0.50 for the right choice, unknown for a wrong one" in text


@pytest.mark.parametrize(
    ("slope", "said"),
    [(1.0, "rise together"), (-1.0, "one mass falls where the other rises"), (0.0, "hardly depend on each other")],
)
def test_masses_rise_together_only_where_they_do(slope: float, said: str) -> None:
    noise = np.random.default_rng(1).normal(size=(2, 400))
    correct = -20 + noise[0]
    table = pd.DataFrame(
        {
            "log_p_vocab_correct": correct,
            "log_p_vocab_incorrect": -15 + slope * noise[0] + (1 - abs(slope)) * noise[1],
            "flops": 1e12,
            "family": FAMILY,
            "model": "m",
            "checkpoint": "c",
        }
    )
    sentences = {"rise together", "one mass falls where the other rises", "hardly depend on each other"}
    text = _seen(masses.caption_text(table, benchmarks("A")[0], FAMILIES))
    assert {s for s in sentences if s in text} == {said}


def test_the_loss_of_one_checkpoint_has_no_correlation() -> None:
    table = pd.DataFrame(
        {"model": "m", "parameters": 10, "flops": [1e12, 1e13, 1e14], "validation_loss": [4.0, 3.0, 2.5]}
    )
    assert "correlation of log loss" in loss.caption_text(table)
    single = loss.caption_text(table.iloc[:1])
    assert _seen(single) == "the loss is 4.00 nats at 1 × 10¹² FLOPs." or "correlation" not in single
    flat = loss.caption_text(table.assign(validation_loss=3.0))
    assert "correlation" not in flat and "nan" not in flat


def test_a_margin_over_chance_is_said_where_there_is_one() -> None:
    rows = {"benchmark": "a", "model": "m", "checkpoint": ["c", "d"], "flops": [1e12, 1e13], "parameters": 10}
    table = pd.DataFrame(rows | {"chance": 0.25, "accuracy": [0.2, 0.3], "above_chance_se": [-1.0, 3.0]})
    text = accuracy.caption_text(table, benchmarks("A"))
    assert "the largest margin over chance is on A, 0.300 against 0.250" in text and "2 checkpoints of 1 model." in text
    assert "On A some checkpoint is better" in text
    below = accuracy.caption_text(table.assign(accuracy=0.2, above_chance_se=-1.0), benchmarks("A"))
    assert _seen(below).startswith("no accuracy is above chance. On A no checkpoint") and "margin" not in below


def test_kendall_is_said_to_be_smaller_where_it_is() -> None:
    wide = pd.DataFrame({"spearman": [0.5, 0.8, np.nan, 0.0], "kendall": [0.4, 0.8, 0.2, 0.0]})
    assert "For 33 % of the items Kendall's is nearer to 0" in agreement._nearer(wide)
    assert agreement._nearer(wide[:0]) == agreement._nearer(wide[1:2]) == "", "none, or none that differs"


def test_the_statistics_name_benchmarks_only_where_there_are_several() -> None:
    rows = [
        {"family": FAMILY, "benchmark": b, "subject": None, "metric": "accuracy", "method": "spearman"}
        | {"nan_policy": policy, "num_items": 10, "num_models": 6}
        | {
            f"{s}{end}": value if policy == "zero" else 0.9
            for s in statistics.STATISTICS
            for end in ("", "_low", "_high")
        }
        for b, value in (("a", 0.1), ("b", 0.3))
        for policy in ("zero", "drop")
    ]
    table = pd.DataFrame(rows)
    both = _seen(statistics.caption_text(table, benchmarks("A", "B"), FAMILIES, "spearman"))
    assert (
        both
        == "from the lowest to the highest benchmark, the mean correlation in “Family” is 0.10 to 0.30 for accuracy."
    )
    one = _seen(statistics.caption_text(table, benchmarks("A"), FAMILIES, "spearman"))
    assert one == "the mean correlation in “Family” is 0.10 for accuracy."


def test_checkpoints_without_compute_are_not_counted_by_family():
    benchmark = Benchmark("a", "A", "test", None, 3, 3, 0.5, ((2, 3),))
    flops = [0.0, 1e10, 2e10, 3e10]
    means = pd.DataFrame({"model": "m", "checkpoint": [f"s{i}" for i in range(4)], "flops": flops})
    means = means.assign(benchmark="a", metric="accuracy", mean=[0.5, 0.51, 0.52, 0.53], se=0.01)
    members = means[["model", "checkpoint"]].assign(family="f")
    caption = accuracy.scaling_caption(means, members, [benchmark], {"f": "Fam"})
    assert "“Fam” (3 checkpoints)" in caption
    assert caption.endswith("over the checkpoints is 1.00 (A).")
