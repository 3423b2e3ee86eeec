"""Titles of items: each says what the item's choices do, and nothing that chance explains."""

from __future__ import annotations

import numpy as np
import pytest

from elusive.report.titles import shorten, title

WORDS = ["stone", "respiratory", "water", "wind"]


def found(spearman: list[float], share: float = 0.0, gold: int = 0, slopes: list[float] | None = None) -> str:
    values = np.array(spearman)
    return title(values, np.array(slopes or spearman), share, 0.36, gold, WORDS[: len(values)])


@pytest.mark.parametrize(
    ("spearman", "gold", "text"),
    [
        ([0.6, 0.9, 0.5, 0.4], 0, "All four choices get likelier, “respiratory” fastest"),
        ([0.9, 0.6, 0.5, 0.4], 0, "All four choices get likelier, the right one fastest"),
        ([0.9, 0.6], 1, "Both choices get likelier, “stone” fastest"),
        ([-0.9, -0.6, -0.5], 1, "All three choices get less likely"),
        ([0.3, 0.2, -0.3, 0.0], 1, "No choice changes beyond chance"),
        ([0.9, 0.2, -0.3, 0.0], 0, "Only the right choice gets likelier"),
        ([0.9, 0.2, -0.3, 0.0], 1, "Only 1 of 3 wrong"),
        ([0.9, 0.2], 1, "Only the wrong choice gets likelier"),
        ([0.1, 0.9, 0.8, 0.7], 0, "All three wrong choices get likelier, “respiratory” fastest"),
        (
            [0.8, 0.9, -0.8, 0.0],
            0,
            "The right choice and one of three wrong ones get likelier, one of three wrong choices",
        ),
        ([0.0, 0.9, 0.8, 0.0], 0, "Two of three wrong choices get likelier, “respiratory” fastest"),
        ([-0.9, 0.9, 0.8, 0.7], 0, "All three wrong choices get likelier, the right choice gets less likely"),
    ],
)
def test_what_the_choices_do(spearman: list[float], gold: int, text: str) -> None:
    text = text.replace("Only 1 of 3 wrong", "Only one of three wrong choices gets likelier")
    assert found(spearman, gold=gold).startswith(text)


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.5, "rises"), (-0.5, "falls"), (0.36, "shows no trend"), (-0.2, "shows no trend"), (np.nan, "shows no trend")],
)
def test_what_the_share_of_the_right_choice_does(share: float, text: str) -> None:
    assert found([0.9, 0.5], share).endswith(f": the right one's share {text}")


def test_equally_fast_choices_are_not_ranked() -> None:
    assert "fastest" not in found([0.9, 0.9], slopes=[2.0, 2.0]) and "fastest" in found([0.9, 0.9], slopes=[2.0, 2.1])


def test_undefined_choices_do_not_change() -> None:
    assert found([np.nan, 0.9, 0.8, 0.7], gold=0).startswith("All three wrong choices get likelier")


def test_with_too_few_checkpoints_there_is_nothing_to_tell() -> None:
    assert title(np.ones(4), np.ones(4), 1.0, 1.0, 0, WORDS) == "Too few checkpoints to tell a change from chance"


def test_long_texts_are_shortened() -> None:
    text = title(
        np.array([0.5, 0.9]), np.array([1.0, 2.0]), 0.0, 0.36, 0, ["short", "a  choice\nof many " + "words " * 20]
    )
    assert "“a choice of many words words words…” fastest" in text
    assert shorten("x" * 50, 20) == "x" * 19 + "…" and shorten("short", 20) == "short"
