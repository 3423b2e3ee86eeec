"""The paper's order: a tie supports nothing, and what has no correlation is no fall."""

from __future__ import annotations

import pandas as pd

from elusive.report.order import Order, find_order, sign, summary
from report_tables import FAMILY, benchmarks


def tables(
    drops: dict[tuple[str, str], float], means: dict[str, float], undefined: float = 0.0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    about = {"family": FAMILY, "benchmark": "a", "method": "spearman"}
    steps = [
        about
        | {"order": "exponentiate_first", "nan_policy": "zero", "score": score, "step": step}
        | {"drop_low": drop - 0.05, "drop_high": drop + 0.05}
        for (score, step), drop in drops.items()
    ]
    levels = [
        about
        | {"metric": metric, "mean": mean, "mean_low": mean - 0.02, "mean_high": mean + 0.02, "nan_fraction": undefined}
        for metric, mean in means.items()
    ]
    return pd.DataFrame(steps), pd.DataFrame(levels)


def order(renormalise: float, square: float, threshold: float, follows: bool = True, undefined: float = 0.0) -> Order:
    share = 0.6 - renormalise
    means = {
        "log_p_vocab_correct": 0.6,
        "p_choices_correct": share,
        "brier": share - square,
        "accuracy": share - threshold,
    }
    drops = {
        ("accuracy", "renormalise"): renormalise,
        ("accuracy", "threshold"): threshold,
        ("brier", "square"): square,
    }
    return find_order(*tables(drops, means, undefined), "spearman", follows)


def test_differences_have_signs_beyond_their_intervals() -> None:
    assert sign(0.01, 0.2) == ">" and sign(-0.2, -0.01) == "<" and sign(-0.1, 0.1) == "≈" and sign(None, None) == "·"


def test_the_order_is_there() -> None:
    found = order(0.3, 0.1, 0.2)
    assert found.verdict == "there" and found.mark == "✓" and found.text == "Spearman 0.60 > 0.30 > 0.20 > 0.10"
    assert order(0.3, 0.0, 0.2).verdict == "there", "p_choices may equal −Brier"


def test_ties_support_nothing() -> None:
    assert order(0.01, 0.1, 0.2).verdict == "open", "no fall to p_choices"
    assert order(0.3, 0.0, 0.01).verdict == "open", "no fall to accuracy"
    assert order(0.01, 0.0, 0.01).mark == "?"


def test_a_rise_is_against_it() -> None:
    assert order(-0.2, 0.1, 0.2).verdict == "against" and order(0.3, -0.1, 0.2).verdict == "against"
    found = order(0.3, 0.0, -0.2)
    assert found.verdict == "against" and found.mark == "✗" and "0.30 ≈ 0.30 < 0.50" in found.text


def test_where_nothing_follows_compute_there_is_no_order() -> None:
    assert (
        order(0.3, 0.1, 0.2, follows=False).verdict == "open" and order(-0.3, 0.1, 0.2, follows=False).verdict == "open"
    )


def test_undefined_accuracies_are_no_fall() -> None:
    assert (
        order(0.3, 0.1, 0.2, undefined=0.6).verdict == "open" and order(0.3, 0.1, 0.2, undefined=0.4).verdict == "there"
    )


def test_an_unknown_mean_is_said() -> None:
    drops = {("accuracy", "renormalise"): 0.1, ("accuracy", "threshold"): 0.1, ("brier", "square"): 0.1}
    frames = tables(drops, {"log_p_vocab_correct": 0.6, "p_choices_correct": 0.1, "brier": 0.1})
    assert find_order(*frames, "spearman", True) == Order("open", "Spearman: nothing is known of accuracy.")


def test_summary_counts_both_methods() -> None:
    a, b, c = benchmarks("A", "B", "C")
    there, against, neither = (Order(verdict, "") for verdict in ("there", "against", "open"))
    found = [(a, [there, against]), (b, [there, neither]), (c, [neither, neither])]
    assert summary(found, True) == (
        "By Spearman it is there on 2 of 3 benchmarks (A and B); something is against it on none of 3 benchmarks. By "
        "Pearson it is there on none of 3 benchmarks; something is against it on 1 of 3 benchmarks (A)."
    )
    assert summary(found, False) == "There are too few checkpoints to tell: any order could come by chance."
