"""Titles of items: which choices get likelier with compute, which fastest, and what the right one's share does.

"Likelier" means that the Spearman correlation of the choice's log-likelihood with compute is above the 97.5 % quantile
of what a score has that has nothing to do with compute, "less likely" that it is below minus that; in between, nothing
is claimed. "Fastest" is the largest least-squares slope of log-likelihood on log compute among the choices that get
likelier. What the right choice's share does is judged by its own correlation in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
#: Characters of a choice's text in a title.
LONGEST = 40


def direction(correlation: float, threshold: float) -> int:
    """1 for a rise, -1 for a fall, 0 where chance explains ``correlation`` (or there is none)."""
    return int(correlation > threshold) - int(correlation < -threshold)


def number(value: int) -> str:
    """A small whole number as a word."""
    return _NUMBERS[value] if value < len(_NUMBERS) else str(value)


def shorten(text: str, longest: int) -> str:
    """The beginning of a text, in whole words where that leaves most of it."""
    if len(text) <= longest:
        return text
    cut = text[: longest - 1]
    space = cut.rfind(" ")
    return (cut[:space] if space > longest // 2 else cut).rstrip() + "…"


def _quote(text: str) -> str:
    return f"“{shorten(' '.join(text.split()), LONGEST)}”"


def _movement(moves: Sequence[int], gold: int) -> str:
    """Which choices get likelier, or less likely; ``moves`` has a direction for each."""
    count = len(moves)
    up, down = [k for k in range(count) if moves[k] > 0], [k for k in range(count) if moves[k] < 0]
    every = "Both choices get" if count == 2 else f"All {number(count)} choices get"
    if len(up) == count:
        return f"{every} likelier"
    if len(down) == count:
        return f"{every} less likely"
    if not up and not down:
        return "No choice changes beyond chance"
    parts = []
    for places, what in ((up, "likelier"), (down, "less likely")):
        if not places:
            continue
        get = "gets" if len(places) == 1 else "get"
        wrong = [k for k in places if k != gold]
        if places == [gold]:
            who = "the right choice"
        elif len(wrong) == len(places) == count - 1:
            who = "the wrong choice" if count == 2 else f"all {number(count - 1)} wrong choices"
        elif wrong == places:
            who = f"{number(len(places))} of {number(count - 1)} wrong choices"
        else:
            rest = len(places) - 1
            who = f"the right choice and {number(rest)} of {number(count - 1)} wrong ones"
        parts.append(f"{who} {get} {what}")
    text = ", ".join(parts)
    return f"Only {text}" if len(up) + len(down) == 1 else text[0].upper() + text[1:]


def title(
    spearman: np.ndarray, slopes: np.ndarray, share: float, threshold: float, gold: int, choices: Sequence[str]
) -> str:
    """What one item's choices do with compute.

    ``spearman`` and ``slopes`` [choices] are of the choices' log-likelihoods (NaN where undefined), ``share`` is the
    correlation of the right choice's share, NaN where there is none; ``threshold`` the bound of chance, 1 or more where
    no correlation could be beyond it.
    """
    if threshold >= 1:
        return "Too few checkpoints to tell a change from chance"
    moves = [direction(value, threshold) for value in spearman]
    text = _movement(moves, gold)
    rising = [k for k, move in enumerate(moves) if move > 0]
    if len(rising) > 1:
        fastest = max(rising, key=lambda k: slopes[k])
        if sum(slopes[k] >= slopes[fastest] for k in rising) == 1:
            text += ", the right one fastest" if fastest == gold else f", {_quote(choices[fastest])} fastest"
    trend = {1: "rises", -1: "falls", 0: "shows no trend"}[direction(share, threshold)]
    return f"{text}: the right one's share {trend}"
