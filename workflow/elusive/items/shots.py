"""Which solved examples stand before which question, as lm-eval 0.4.13 chooses them.

lm-eval draws the examples of all questions, in the order of the questions, from one generator seeded with 1234, its
default. A task whose questions come from the split that examples come from, or which calls its questions' split a
validation split, draws one example more than it needs and drops the question itself; that changes which ones are drawn
even where the question is not among them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from elusive.errors import ElusiveError
from elusive.items.benchmarks import Row

SEED = 1234


def draw_shots(rows: Sequence[Row], pool: Sequence[Row], count: int, without_question: bool) -> list[list[Row]]:
    """``count`` rows of ``pool`` for each of ``rows``; ``without_question``: never the row itself.

    Raises :class:`ElusiveError` when the pool is too small.
    """
    drawn = count + 1 if without_question else count
    if drawn > len(pool):
        raise ElusiveError(
            f"num_fewshot is {count}: {drawn} rows would be drawn, but there are {len(pool)} to draw from"
        )
    generator = random.Random(SEED)
    shots = []
    for row in rows:
        chosen = generator.sample(range(len(pool)), drawn)
        if without_question:
            chosen = [index for index in chosen if not _same(pool[index], row)][:count]
            if len(chosen) < count:  # the pool holds the question more than once
                others = [index for index, other in enumerate(pool) if not _same(other, row)]
                if len(others) < count:
                    raise ElusiveError(f"num_fewshot is {count}, but only {len(others)} rows are not the question")
                chosen = generator.sample(others, count)
        shots.append([pool[index] for index in chosen])
    return shots


def _same(row: Row, other: Row) -> bool:
    # NaN is not equal to itself, and a question with one must not stand among its own examples.
    return row == other or repr(row) == repr(other)
