"""Benchmarks made of text that the ladder is not trained on, with choices that its small models can tell apart.

Accuracy on the other benchmarks hardly moves while models are small. On these it rises gradually, so that the whole
chain can be seen at work. They measure nothing that anybody wants of a model, and say so in their labels:

- ``ladder_cloze``: a text up to a word; which of four words comes next?
- ``ladder_continuation``: a text up to a place within it; which of four runs of eight words comes next?

The text is that of the validation documents (:mod:`elusive.ladder.corpus`), without the questions on it. Wrong choices
come from other such documents. They are about as long and, token by token, about as frequent in the training text as
the right one, so that neither length nor frequency gives it away. Everything is drawn with the configuration's seed.
"""

from __future__ import annotations

import heapq
import itertools
import random
import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from elusive.errors import ElusiveError
from elusive.items.benchmarks import DELIMITER, Item, cluster_of

if TYPE_CHECKING:
    import numpy as np
    from tokenizers import Tokenizer

VERSION = 1
PROTOCOL = "held-out text, zero-shot"
NUM_ITEMS = 250
CHOICES = 4
#: Names of the files that the items are made of, in the order in which they are given.
FILES = ("tokenizer", "train.npy", "validation.npy")

_QUESTIONS = "\nQuestion: "
_CONTEXT_CHARACTERS = 80
_RUN_WORDS = 8
#: Of so many candidates that are most nearly as frequent, wrong choices are drawn.
_CANDIDATES = 12
_CLOZE_WORD = re.compile(r"(?<= )[a-z]{4,}(?=[ ,.;:])")
_START_OF_WORD = re.compile(r"(?<= )\S")


@dataclass(frozen=True)
class Definition:
    """A benchmark of this kind. ``places`` finds (start, end) of what may be a choice in a text."""

    name: str
    label: str
    places: Callable[[str], list[tuple[int, int]]]
    length_tolerance: int


def _words(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in _CLOZE_WORD.finditer(text)]


def _runs(text: str) -> list[tuple[int, int]]:
    """Runs of :data:`_RUN_WORDS` words, which may end within a sentence as well as begin there."""
    starts = [match.start() for match in _START_OF_WORD.finditer(text)]
    ends = [start - 1 for start in starts[1:]] + [len(text)]
    return list(zip(starts, ends[_RUN_WORDS - 1 :], strict=False))


HELD_OUT = {
    each.name: each
    for each in (
        Definition("ladder_cloze", "Cloze (held-out text)", _words, length_tolerance=1),
        Definition("ladder_continuation", "Continuation (held-out text)", _runs, length_tolerance=6),
    )
}


@dataclass(frozen=True)
class _Place:
    """What stands at a place of text number ``text``: ``surprise`` is its -log2 by the frequencies of its tokens."""

    text: int
    start: int
    words: str
    surprise: float


def texts(validation: np.ndarray, tokenizer: Tokenizer) -> list[str]:
    """The texts of the validation documents, by length of the alphabet: each once, none that is part of another.

    ``validation`` are token ids, each document behind token 0.
    """
    ends = [*(validation == 0).nonzero()[0].tolist(), len(validation)]
    documents = [validation[start + 1 : end].tolist() for start, end in pairwise(ends)]
    found = {tokenizer.decode(ids).split(_QUESTIONS)[0] for ids in documents}
    kept: list[str] = []
    for text in sorted(found, key=lambda text: (-len(text), text)):
        if not any(text in other for other in kept):
            kept.append(text)
    return sorted(kept)


def held_out_items(name: str, sources: Sequence[Path], seed: int) -> list[Item]:
    """:data:`NUM_ITEMS` items of the benchmark ``name``; ``sources`` are the :data:`FILES`.

    Raises :class:`ElusiveError` where the text gives too few.
    """
    import numpy as np
    from tokenizers import Tokenizer

    definition = HELD_OUT[name]
    folder, train, validation = sources
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    counts = np.bincount(np.load(train), minlength=tokenizer.get_vocab_size()) + 1
    surprises = -np.log2(counts / counts.sum())
    rng = random.Random(f"{seed} {name}")
    every = texts(np.load(validation), tokenizer)
    places = _places(definition, every, tokenizer, surprises)
    choices = sorted({place.words: place for place in places}.values(), key=lambda place: (place.surprise, place.words))
    items: list[Item] = []
    for place in _drawn(places, rng):
        wrong = _wrong(definition, place, every[place.text], choices, rng)
        if wrong is not None:
            items.append(_item(every[place.text], place, wrong, rng))
        if len(items) == NUM_ITEMS:
            return items
    raise ElusiveError(f"{name}: the ladder's held-out text gives {len(items)} items, and {NUM_ITEMS} are needed")


def _places(definition: Definition, every: Sequence[str], tokenizer: Tokenizer, surprises: np.ndarray) -> list[_Place]:
    found = [
        (number, start, text[start:end]) for number, text in enumerate(every) for start, end in definition.places(text)
    ]
    encoded = tokenizer.encode_batch([DELIMITER + words for _, _, words in found])
    return [_Place(*place, float(surprises[each.ids].sum())) for place, each in zip(found, encoded, strict=True)]


def _drawn(places: Sequence[_Place], rng: random.Random) -> Iterator[_Place]:
    """The places with enough text before them, in an order in which no text comes again before all have come."""
    of_text: dict[int, list[_Place]] = {}
    for place in places:
        if place.start > _CONTEXT_CHARACTERS:
            of_text.setdefault(place.text, []).append(place)
    remaining = list(of_text.values())
    for some in remaining:
        rng.shuffle(some)
    rng.shuffle(remaining)
    while remaining:
        yield from (some.pop() for some in remaining)
        remaining = [some for some in remaining if some]


def _wrong(
    definition: Definition, right: _Place, text: str, choices: Sequence[_Place], rng: random.Random
) -> list[str] | None:
    """Wrong choices for a place of ``text`` out of ``choices``, in order of surprise; None if there are too few."""
    middle = bisect_left(choices, right.surprise, key=lambda place: place.surprise)
    above, below = iter(choices[middle:]), iter(choices[:middle][::-1])
    nearest = heapq.merge(above, below, key=lambda place: abs(place.surprise - right.surprise))
    fitting = (
        place.words
        for place in nearest
        if abs(len(place.words) - len(right.words)) <= definition.length_tolerance and place.words not in text
    )
    candidates = list(itertools.islice(fitting, _CANDIDATES))
    return rng.sample(candidates, CHOICES - 1) if len(candidates) == _CANDIDATES else None


def _item(text: str, right: _Place, wrong: list[str], rng: random.Random) -> Item:
    gold = rng.randrange(CHOICES)
    choices = (*wrong[:gold], right.words, *wrong[gold:])
    continuations = tuple(DELIMITER + choice for choice in choices)
    context = text[: right.start - len(DELIMITER)]
    return Item((context,), continuations, choices, gold, cluster=cluster_of(text))
