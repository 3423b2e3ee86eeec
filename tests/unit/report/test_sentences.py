"""Every sentence of the page, where the tables bear it out and where they do not."""

from __future__ import annotations

import pandas as pd
import pytest

from elusive.figures.states import CHANCE, FALLS, FOLLOWS, UNKNOWN
from elusive.report import sentences
from report_tables import (
    FAMILY,
    MEMBERS,
    attribution,
    benchmarks,
    ceiling,
    headline,
    mechanism,
    predictability,
    scores,
    statistics,
    strip,
)


def level(log_p: float, share: float, accuracy: float, states: str = "FCC") -> list[tuple[float, str]]:
    """Levels of the strip: −Brier is between share and accuracy; ``states`` of log p, share and accuracy by letter."""
    names = {"F": FOLLOWS, "C": CHANCE, "D": FALLS, "U": UNKNOWN}
    first, second, last = (names[letter] for letter in states)
    return [(log_p, first), (share, second), ((share + accuracy) / 2, second), (accuracy, last)]


def test_where_benchmarks_are_counted_and_named() -> None:
    a, b, c = benchmarks("A", "B", "C")
    assert sentences.on([a, b, c], 3) == "on all 3 benchmarks" and sentences.on([], 3) == "on none of 3 benchmarks"
    assert sentences.on([a, b], 2) == "on both benchmarks" and sentences.on([], 2) == "on neither benchmark"
    assert (
        sentences.on([a], 2) == "on 1 of 2 benchmarks (A)"
        and sentences.on([a, b], 3) == "on 2 of 3 benchmarks (A and B)"
    )
    assert sentences.on([a, b, c], 9) == "on 3 of 9 benchmarks", "more than two are only counted"
    assert sentences.on([a], 1) == "on A" and sentences.on([], 1) == "nowhere"


def test_long_lists_end_in_a_count() -> None:
    assert sentences.some(["A", "B"]) == "A and B" and sentences.some(list("ABC"), 3) == "A, B and C"
    assert sentences.some(list("ABCDE"), 3) == "A, B and 3 more"


def test_what_follows_compute() -> None:
    some = strip({"A": level(0.6, 0.3, 0.2, "FFF"), "B": level(0.5, 0.0, 0.0), "C": level(0.1, 0.0, 0.0, "CCC")})
    assert sentences.what_follows(some) == (
        "The log-likelihood of the right answer follows compute on 2 of 3 benchmarks (A and B), accuracy on 1 (A)."
    )
    all_ = strip({label: level(0.6, 0.3, 0.2, "FFF") for label in "ABC"})
    assert sentences.what_follows(all_).endswith("follows compute on all 3 benchmarks, and so does accuracy.")
    none = strip({label: level(0.1, 0.0, 0.0, "CCC") for label in "ABC"})
    assert sentences.what_follows(none).endswith("follows compute on none of 3 benchmarks, nor does accuracy.")
    only_right = strip({"A": level(0.1, 0.0, 0.2, "CCF"), "B": level(0.1, 0.0, 0.0, "CCC")})
    assert sentences.what_follows(only_right).endswith("follows compute on neither benchmark, accuracy on 1 (A).")
    falling = strip({"A": level(-0.6, 0.0, 0.0, "DCC"), "B": level(0.6, 0.0, 0.0)})
    assert sentences.what_follows(falling) == (
        "The log-likelihood of the right answer follows compute on 1 of 2 benchmarks (B), accuracy on none; the "
        "log-likelihood falls with compute on 1 of 2 benchmarks (A)."
    )
    assert "falls" not in sentences.what_follows(some)


CHANCE_TOO = "does not follow compute beyond chance"


@pytest.mark.parametrize(
    ("states", "text"),
    [
        ("FFF", "follows compute, and so does accuracy."),
        ("FCC", f"follows compute; accuracy {CHANCE_TOO}."),
        ("CCC", f"{CHANCE_TOO}, nor does accuracy."),
        ("DCC", f"falls with compute; accuracy {CHANCE_TOO}."),
        ("DDD", "falls with compute, and so does accuracy."),
    ],
)
def test_one_benchmark_is_named_and_not_counted(states: str, text: str) -> None:
    found = sentences.what_follows(strip({"A": level(0.6, 0.3, 0.2, states)}))
    assert found == f"On A the log-likelihood of the right answer {text}"


def test_with_too_few_checkpoints_nothing_is_claimed() -> None:
    few = strip({"A": level(0.9, 0.9, 0.9, "UUU"), "B": level(0.9, 0.0, 0.0, "UUU")})
    text = (
        "no score can be told from chance: even the best of all orders of their compute comes up by luck 1 time in 24."
    )
    assert text in sentences.what_follows(few)
    steps = attribution({label: {"renormalise": 0.3, "threshold": 0.3} for label in "AB"})
    moves = mechanism(
        {
            label: dict.fromkeys(
                (
                    "correlation_correct",
                    "correlation_incorrect",
                    "comovement",
                    "comovement_partial",
                    "drop_with_comovement",
                ),
                0.9,
            )
            for label in "AB"
        }
    )
    assert sentences.where_it_is_lost(few, steps) is None and sentences.pearson_range(few, steps) is None
    assert sentences.costly_steps(few, steps) is None and sentences.why(few, moves) is None
    assert sentences.together(few, moves) is None and sentences.loss_with_comovement(few, moves) is None
    assert sentences.beyond_chance(few) is None


def lost(
    log_p: float, share: float, accuracy: float, undefined: float = 0.0, states: str = "FCC", width: float = 0.002
) -> str | None:
    steps = {"renormalise": log_p - share, "threshold": share - accuracy}
    return sentences.where_it_is_lost(
        strip({label: level(log_p, share, accuracy, states) for label in "AB"}),
        attribution({"A": steps, "B": steps}, undefined, width),
    )


def test_what_is_within_its_interval_is_neither_lost_nor_gained() -> None:
    start = "Of a mean correlation of 0.60 over the benchmarks, "
    # The mean of two benchmarks with intervals of ± 0.04 has one of ± 0.028.
    assert lost(0.6, 0.2, 0.17, width=0.04) == start + (
        "0.40 is lost where the wrong choices enter, and 0.03 more where only right or wrong is kept."
    )
    for last in (0.18, 0.22):
        assert lost(0.6, 0.2, last, 0.02, width=0.04) == start + (
            "0.40 is lost where the wrong choices enter, and nothing more is lost beyond the interval for other items "
            "where only right or wrong is kept."
        )
    assert lost(0.6, 0.58, 0.2, width=0.04) == start + (
        "nothing is lost beyond the interval for other items where the wrong choices enter, and 0.38 is lost where "
        "only right or wrong is kept."
    )
    assert lost(0.6, 0.2, 0.196, width=0.001) == start + (
        "0.40 is lost where the wrong choices enter, and less than 0.01 more is lost where only right or wrong is kept."
    )
    assert lost(0.6, 0.2, 0.1, width=float("nan")) == start + (
        "0.20 is left where the wrong choices enter, and 0.10 where only right or wrong is kept; how other items would "
        "change that is not known."
    )


def test_losses_are_rounded_themselves_and_not_made_of_rounded_levels() -> None:
    # 0.4955 and 0.1226 round to 0.50 and 0.12, whose difference is 0.38.
    assert lost(0.4955, 0.1226, 0.0512) == (
        "Of a mean correlation of 0.50 over the benchmarks, 0.37 is lost where the wrong choices enter, and 0.07 more "
        "where only right or wrong is kept."
    )


def test_where_correlation_is_lost() -> None:
    start = "Of a mean correlation of 0.60 over the benchmarks, "
    assert lost(0.6, 0.2, 0.1) == start + (
        "0.40 is lost where the wrong choices enter, and 0.10 more where only right or wrong is kept."
    )
    assert lost(0.6, 0.2, 0.2) == start + (
        "0.40 is lost where the wrong choices enter, and nothing more is lost where only right or wrong is kept."
    )
    assert lost(0.6, 0.2, 0.3) == start + (
        "0.40 is lost where the wrong choices enter, and 0.10 is gained where only right or wrong is kept."
    )
    assert lost(0.6, 0.7, 0.3) == start + (
        "0.10 is gained where the wrong choices enter, and 0.40 is lost where only right or wrong is kept."
    )
    assert lost(0.6, 0.6, 0.2) == start + (
        "nothing is lost where the wrong choices enter, and 0.40 is lost where only right or wrong is kept."
    )
    assert lost(0.6, 0.59, 0.58) == "Of a mean correlation of 0.60 over the benchmarks, 0.58 is left in accuracy."


def test_nothing_is_lost_where_there_is_nothing() -> None:
    assert lost(0.02, 0.0, 0.0, states="CCC") == (
        "There is no correlation to lose: it is 0.02 over the benchmarks already for the log-likelihood of the right "
        "answer."
    )
    # Whatever its size, what shuffled compute gives as well is not lost.
    assert lost(0.2, 0.0, 0.0, states="CCC").startswith("There is no correlation to lose: it is 0.20")
    assert lost(0.03, 0.0, 0.0).startswith("There is hardly any correlation to lose: it is 0.03")
    falls = "The mean correlation of the right answer's log-likelihood with compute is −0.64 over the benchmarks."
    assert lost(-0.64, 0.0, 0.0, states="DCC") == falls


def test_a_loss_by_undefined_accuracies_is_named() -> None:
    because = "because items that every checkpoint answers alike count as 0."
    assert lost(0.6, 0.2, 0.1, 0.095).endswith(f"kept, nearly all of that {because}")
    assert lost(0.6, 0.2, 0.1, 0.06).endswith(f"kept, most of that {because}")
    assert lost(0.6, 0.2, 0.1, 0.04).endswith("is kept.")
    assert lost(0.6, 0.2, 0.3, 0.09).endswith("is kept."), "where that step gained"


def wrong_choices(right: float, wrong: float, states: str = "FCC", clear: str = "", width: float = 0.01) -> str | None:
    values = {label: {"correlation_correct": right, "correlation_incorrect": wrong} for label in "ABC"}
    for label in clear:
        values[label] = {"correlation_correct": right, "correlation_incorrect": right - 0.05}
    return sentences.why(strip({label: level(0.6, 0.1, 0.0, states) for label in "ABC"}), mechanism(values, width))


def test_how_closely_wrong_choices_follow_compute() -> None:
    assert (
        wrong_choices(0.6, 0.6)
        == "Wrong choices follow compute as closely as right ones (0.60 against 0.60 on average)."
    )
    assert wrong_choices(0.6, 0.58).startswith(
        "Wrong choices follow compute nearly as closely as right ones (0.58 against"
    )
    assert wrong_choices(0.6, 0.62).startswith(
        "Wrong choices follow compute at least as closely as right ones (0.62 against 0.60"
    )
    assert (
        wrong_choices(0.6, 0.3)
        == "Wrong choices follow compute less closely than right ones (0.30 against 0.60 on average)."
    )
    # Three benchmarks: the difference of the means is known to 0.3 · √2 / √3 = 0.24, or to 0.4 · √2 / √3 = 0.33.
    assert wrong_choices(0.6, 0.3, width=0.3).endswith("(0.30 against 0.60 on average).")
    for width in (0.4, float("nan")):
        assert wrong_choices(0.6, 0.3, width=width).endswith(
            "on average), though by no more than other items could change."
        )
    assert wrong_choices(0.6, 0.6, clear="B").endswith("on average), clearly less only on B.")
    assert "clearly" not in wrong_choices(0.6, 0.6, clear="ABC"), "more than two are not named"
    # Where nothing follows compute there is nothing to compare.
    assert wrong_choices(0.6, 0.6, "CCC") is None and wrong_choices(0.02, 0.02) is None


def test_no_accuracy_to_predict() -> None:
    shown = strip({label: level(0.6, 0.1, 0.0) for label in "ABC"})
    silent, loud = [1.9] * 6, [0.0] * 5 + [2.1]
    text = sentences.no_accuracy_yet(shown, scores({"A": silent, "B": loud, "C": [-5.0] * 6}), MEMBERS)
    assert text == (
        "On 2 of 3 benchmarks (A and C) no checkpoint beats guessing by two standard errors: there is no accuracy "
        "above it to predict yet."
    )
    assert sentences.no_accuracy_yet(shown, scores(dict.fromkeys("ABC", loud)), MEMBERS) is None
    assert sentences.no_accuracy_yet(shown, scores(dict.fromkeys("ABC", silent)), MEMBERS).startswith("On all 3")
    # Of the family's checkpoints alone.
    assert sentences.no_accuracy_yet(shown, scores(dict.fromkeys("ABC", loud)), MEMBERS[:5]).startswith("On all 3")
    one = strip({"A": level(0.6, 0.1, 0.0)})
    assert sentences.no_accuracy_yet(one, scores({"A": silent}), MEMBERS).startswith(
        "On A no checkpoint beats guessing"
    )
    assert sentences.no_accuracy_yet(one, scores({"A": loud}), MEMBERS) is None


def test_items_that_are_answered_alike() -> None:
    shown = benchmarks("A", "B", "C")
    text = sentences.answered_alike(statistics({"A": 0.6, "B": 0.4, "C": 0.82}), shown, FAMILY)
    assert text == (
        "On A and C most items (60 % to 82 %) are answered alike by every checkpoint, always right or always wrong: "
        "their accuracy has no correlation and counts as 0."
    )
    assert sentences.answered_alike(statistics({"A": 0.5, "B": 0.4, "C": 0.0}), shown, FAMILY) is None
    every = statistics(dict.fromkeys("ABC", 1.0))
    assert sentences.answered_alike(every, shown, FAMILY).startswith("On A, B and C all items are answered alike")
    assert sentences.answered_alike(every, shown, FAMILY, 2).startswith(
        "On all 3 benchmarks all items are answered alike"
    )


def test_which_score_to_use() -> None:
    shown = benchmarks("A", "B", "C")
    no = "not above what shuffled compute gives"
    found = {"A": [("margin_log", None), ("brier", None)], "B": [("brier", no)], "C": [("brier", no)]}
    assert sentences.which_score(predictability(found), shown, FAMILY) == (
        "Scores of right against wrong choices can be recommended on 1 of 3 benchmarks (A); 2 of them cannot be told "
        f"from the best. Elsewhere none can: {no}."
    )
    single = found | {"A": [("margin_log", None), ("brier", "behind")]}
    assert sentences.which_score(predictability(single), shown, FAMILY).startswith(
        "A score of right against wrong choices can be recommended on 1 of 3 benchmarks (A). Elsewhere none can"
    )
    everywhere = {label: [("margin_log", None)] for label in "ABC"}
    assert sentences.which_score(predictability(everywhere), shown, FAMILY) == (
        "A score of right against wrong choices can be recommended on all 3 benchmarks."
    )
    nowhere = {"A": [("margin_log", no)], "B": [("brier", no)], "C": [("brier", "its interval reaches 0")]}
    assert sentences.which_score(predictability(nowhere), shown, FAMILY) == (
        "No score of right against wrong choices can be recommended on any benchmark, mostly (2 of 3) for this reason: "
        f"{no}."
    )
    mixed = {"A": [("margin_log", "one")], "B": [("brier", "two")], "C": [("brier", "three")]}
    assert sentences.which_score(predictability(mixed), shown, FAMILY).endswith(
        "on any benchmark, for the reasons in the table."
    )
    assert sentences.which_score(predictability({"A": [("brier", no)]}), shown[:1], FAMILY).endswith(
        f"recommended on A: {no}."
    )


def test_along_what_checkpoints_vary_and_how_the_loss_follows() -> None:
    shown = strip({"A": level(0.6, 0.1, 0.0)}, 0.92)
    assert sentences.reference_text(shown, ceiling(0.92)) == (
        "The checkpoints differ in tokens seen alone, not in size. The validation loss, negated, has a correlation of "
        "0.92 with compute."
    )
    frames = ceiling(0.92, 0.95, 0.27)
    both = strip({"A": level(0.6, 0.1, 0.0)})
    both = type(both)(**{**both.__dict__, "reference": {"flops": 0.92, "tokens": 0.95, "parameters": 0.27}})
    assert sentences.reference_text(both, frames).endswith(
        "0.92 with compute, 0.95 with tokens seen and 0.27 with size."
    )
    unknown = strip({"A": level(0.6, 0.1, 0.0)})
    assert sentences.reference_text(unknown, ceiling()) == "The checkpoints differ in tokens seen alone, not in size."


def test_pearson_is_a_range_over_both_orders() -> None:
    shown = strip({label: level(0.6, 0.2, 0.1) for label in "AB"})
    steps = {label: {"renormalise": 0.4, "threshold": 0.1} for label in "AB"}
    assert sentences.pearson_range(shown, attribution(steps, exponentiate=(0.05, 0.25))) == (
        "By Pearson, which sees the size of probabilities, what the first two steps take depends on which of the two "
        "comes first: exponentiating 0.05 to 0.25, renormalising 0.15 to 0.35 and thresholding 0.10, means over the "
        "benchmarks."
    )
    assert "hardly depends on which comes first" in sentences.pearson_range(shown, attribution(steps))
    nothing = {label: {"renormalise": 0.01, "threshold": 0.0} for label in "AB"}
    assert sentences.pearson_range(shown, attribution(nothing, exponentiate=(0.0, 0.2))) is None
    chance = strip({label: level(0.6, 0.2, 0.1, "CCC") for label in "AB"})
    assert sentences.pearson_range(chance, attribution(steps, exponentiate=(0.05, 0.25))) is None


def test_steps_that_cost_beyond_their_intervals() -> None:
    levels = {"A": level(0.6, 0.2, 0.1), "B": level(0.6, 0.2, 0.1), "C": level(0.1, 0.0, 0.0, "CCC")}
    steps = {
        "A": {"renormalise": 0.4, "threshold": 0.005},
        "B": {"renormalise": 0.4, "threshold": -0.2},
        "C": {"renormalise": 0.4, "threshold": 0.2},
    }
    assert sentences.costly_steps(strip(levels), attribution(steps)) == (
        "Beyond the intervals for other items, bringing the wrong choices in costs some on both benchmarks and keeping "
        "only right or wrong gains some on 1 of 2 benchmarks (B), of those where log p_vocab follows compute."
    )
    assert sentences.costly_steps(strip(levels), attribution(steps, width=0.5)) is None


def test_choices_that_move_together() -> None:
    shown = strip({label: level(0.6, 0.2, 0.1) for label in "AB"})

    def moves(a: float, b: float, partial_a: float, partial_b: float) -> pd.DataFrame:
        return mechanism(
            {
                "A": {"comovement": a, "comovement_partial": partial_a},
                "B": {"comovement": b, "comovement_partial": partial_b},
            }
        )

    start = "Over the checkpoints a wrong choice's log-likelihood moves with the right one's on both benchmarks"
    assert sentences.together(shown, moves(0.6, 0.8, 0.5, 0.5)) == (
        f"{start}, with a mean correlation of 0.70, and does so at equal compute as well."
    )
    assert sentences.together(shown, moves(0.6, 0.8, 0.5, 0.0)).endswith("at equal compute on 1 of 2 benchmarks (A).")
    assert sentences.together(shown, moves(0.6, 0.8, 0.0, 0.0)).endswith("; at equal compute it does not.")
    assert "on 1 of 2 benchmarks (B), with a correlation of 0.80" in sentences.together(
        shown, moves(0.05, 0.8, 0.0, 0.0)
    )
    assert sentences.together(shown, moves(0.05, -0.8, 0.0, 0.0)) is None


def test_items_whose_choices_move_together_lose_more() -> None:
    levels = {"A": level(0.6, 0.2, 0.1), "B": level(0.6, 0.2, 0.1), "C": level(0.1, 0.0, 0.0, "CCC")}

    def found(a: float, b: float, c: float) -> str | None:
        table = mechanism({label: {"drop_with_comovement": v} for label, v in zip("ABC", (a, b, c), strict=True)})
        return sentences.loss_with_comovement(strip(levels), table)

    start = "Items whose wrong choices move more closely with the right one "
    assert found(0.3, 0.2, 0.0) == start + "lose more on both benchmarks, of those where log p_vocab follows compute."
    assert found(0.3, -0.2, 0.0).startswith(
        start + "lose more on 1 of 2 benchmarks (A) and lose less on 1 of 2 benchmarks (B)"
    )
    assert found(0.0, 0.0, 0.9) is None, "nothing is lost where nothing follows compute"


def test_means_and_items_that_point_in_opposite_directions() -> None:
    table = headline({"A": level(0.6, 0.2, 0.1), "B": level(0.6, 0.2, 0.1)})
    assert sentences.opposite_means(table, benchmarks("A", "B"), FAMILY) == []
    place = (table["benchmark"] == "a") & (table["metric"] == "p_choices_correct")
    table.loc[place, ["benchmark_correlation", "benchmark_p_value"]] = [-0.46, 0.99]
    assert sentences.opposite_means(table, benchmarks("A", "B"), FAMILY) == [
        "The mean score falls with compute although more than half of the items rise, of p_choices on A (−0.46; median "
        "item 0.20): the items that do not rise outweigh the others."
    ]
    table.loc[place, "benchmark_p_value"] = 0.9
    assert sentences.opposite_means(table, benchmarks("A", "B"), FAMILY) == [], "as shuffled compute gives it too"
    table.loc[place, ["median", "benchmark_correlation", "benchmark_p_value"]] = [-0.2, 0.5, 0.01]
    assert sentences.opposite_means(table, benchmarks("A", "B"), FAMILY)[0].startswith(
        "The mean score rises with compute although more than half of the items fall, of p_choices on A (0.50; median"
    )
    table.loc[place, "median"] = 0.0
    assert sentences.opposite_means(table, benchmarks("A", "B"), FAMILY) == []


def test_what_chance_gives_one_item() -> None:
    band = {
        "family": FAMILY,
        "method": "spearman",
        "num_models": 6,
        "q025": -0.83,
        "q975": 0.83,
        "fraction_above_075": 0.0514,
    }
    text = sentences.one_by_chance(pd.DataFrame([band]), FAMILY, "Six")
    assert text.startswith("With the 6 checkpoints of “Six”") and text.endswith(
        "between −0.83 and 0.83 in 95 % of cases, and above 0.75 in 5.1 %."
    )
    rare = pd.DataFrame([band | {"fraction_above_075": 0.0001}])
    assert sentences.one_by_chance(rare, FAMILY, "Six").endswith("above 0.75 in less than one in a thousand.")
    assert sentences.one_by_chance(pd.DataFrame([band | {"q025": None}]), FAMILY, "Six") is None
    assert sentences.one_by_chance(pd.DataFrame([band]), "other", "Other") is None


def test_how_many_means_are_beyond_chance() -> None:
    shown = strip({"A": level(0.6, 0.2, 0.1, "FFC"), "B": level(-0.6, 0.2, 0.1, "DCC")})
    assert sentences.beyond_chance(shown) == (
        "The mean correlation is above what 97.5 % of shuffles of compute give on 1 for log p_vocab (below it on 1), 1 "
        "for p_choices, 1 for −Brier and 0 for accuracy, of 2 benchmarks."
    )
    many = strip({f"B{i}": level(0.6, 0.2, 0.1) for i in range(40)})
    assert sentences.beyond_chance(many).endswith("of 40 benchmarks; by luck alone each score would be on about 1.0.")


def test_the_first_screen_has_four_sentences_and_ten_numbers() -> None:
    import re

    levels = {label: level(0.6, 0.2, 0.1) for label in "ABCDEFG"} | {"H": level(0.6, 0.5, 0.4, "FFF")}
    values = {label: {"correlation_correct": 0.6, "correlation_incorrect": 0.58} for label in levels}
    frames = {
        "attribution": attribution({label: {"renormalise": 0.4, "threshold": 0.1} for label in levels}, 0.09),
        "mechanism": mechanism(values),
        "scores": scores({label: [0.0] * 6 for label in "ABCDEFG"} | {"H": [9.0] * 6}),
        "correlation_statistics": statistics(dict.fromkeys(levels, 0.8)),
    }
    found = sentences.first_screen(strip(levels), frames, MEMBERS)
    assert [place for _, place in found] == ["scores", "lost", "why", "run"]
    numbers = re.findall(r"\d[\d.]*", " ".join(sentence for sentence, _ in found))
    assert len(numbers) == 10
    # Where every benchmark is above guessing, the last sentence is about items that say nothing, if most do not.
    frames["scores"] = scores({label: [9.0] * 6 for label in levels})
    assert sentences.first_screen(strip(levels), frames, MEMBERS)[-1][0].startswith(
        "On all 8 benchmarks most items (80 %)"
    )
    frames["correlation_statistics"] = statistics(dict.fromkeys(levels, 0.1))
    assert len(sentences.first_screen(strip(levels), frames, MEMBERS)) == 3
