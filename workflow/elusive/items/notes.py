"""What is odd about the items of a user's own benchmark, in words.

None of it is wrong by itself, and all of it is what a mistake in a file or a template looks like. The notes stand in
the log of the job and in the metadata of the items table.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from elusive.items.benchmarks import Item

_SHOWN = 5
#: A gold index that is missing among so few items says nothing.
_SURPRISING = 0.01


def notes(items: Sequence[Item], delimiter: str, fixed_gold: bool = False) -> list[str]:
    """What is odd about ``items``, a sentence each; ``fixed_gold``: the right choice's place is the template's."""
    found = [
        *_repeated(items),
        *_alike(items),
        *([] if fixed_gold else _never_first(items)),
        *_damaged(items),
        *_blanks(items, delimiter),
    ]
    return [f"{text}: {_listed(ids)}" if ids else text for text, ids in found]


Found = Iterable[tuple[str, list[str]]]


def _listed(ids: list[str]) -> str:
    return ", ".join(ids[:_SHOWN]) + (f", … {len(ids)} in all" if len(ids) > _SHOWN else "")


def _id(item: Item) -> str:
    return str(item.item)


def _right(item: Item) -> tuple[str, str]:
    return item.requests()[item.gold]


def _repeated(items: Sequence[Item]) -> Found:
    """Items that ask what an earlier one asks, and among them those that give another answer."""
    first: dict[frozenset[tuple[str, str]], Item] = {}
    repeated, contradicting = [], []
    for item in items:
        before = first.setdefault(frozenset(item.requests()), item)
        if before is not item:
            (repeated if _right(before) == _right(item) else contradicting).append(f"{_id(item)} (as {_id(before)})")
    if repeated:
        yield "items repeat an earlier one, question and choices", repeated
    if contradicting:
        yield "items repeat an earlier one, question and choices, and have another right choice", contradicting


def _alike(items: Sequence[Item]) -> Found:
    """Items of which two choices are the same."""
    alike = [item for item in items if len(set(item.requests())) < item.num_choices]
    undecided = [item for item in alike if item.requests().count(_right(item)) > 1]
    if alike:
        yield "items have two choices that are the same", [_id(item) for item in alike]
    if undecided:
        yield "the right choice is one of these, so that its place decides", [_id(item) for item in undecided]


def _never_first(items: Sequence[Item]) -> Found:
    """A gold index that is never 0 may have been counted from 1."""
    by_chance = math.prod(1 - 1 / item.num_choices for item in items)
    if by_chance < _SURPRISING and all(item.gold for item in items):
        yield f"the right choice is never the first one in {len(items)} items: is gold counted from 0?", []


def _damaged(items: Sequence[Item]) -> Found:
    """Text with the character that stands for bytes which could not be decoded."""
    damaged = [_id(item) for item in items if "\ufffd" in "".join((*item.contexts, *item.continuations))]
    if damaged:
        yield "texts hold the character U+FFFD, which a wrong encoding leaves", damaged


def _blanks(items: Sequence[Item], delimiter: str) -> Found:
    """Choices with white space around them, which becomes a part of what is scored."""
    if not delimiter:
        return  # then it may be meant
    around = [_id(item) for item in items if any(choice != choice.strip() for choice in item.choices)]
    if around:
        yield f"choices begin or end with white space, besides the delimiter {delimiter!r}", around
