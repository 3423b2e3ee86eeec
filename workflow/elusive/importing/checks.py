"""The one checker: every record of every reader goes through it, and what the log says of an item is recomputed.

A log-likelihood must be a finite number and no more than 0 (rounding aside). Each metric that the log has for an item
must come out of its log-likelihoods, gold and lengths again, the first of equal maxima winning: a difference means that
gold, order or delimiter were misread, or that the file was edited.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from elusive.errors import ElusiveError
from elusive.importing.records import MOST_CHOICES, Record

#: A log-likelihood may exceed 0 by this much, as sums of rounded logarithms do.
SLACK = 1e-3
#: What some servers write for a value that they did not return.
NOT_RETURNED = -999.0


def check(record: Record, file: str) -> None:
    """Raise :class:`ElusiveError`, naming ``file``, item, choice and values, unless the record can be trusted.

    Its gold index must be known by now.
    """
    check_numbers(record, file)
    if record.gold is None:
        raise ElusiveError(f"{file}: does not say which choice of item {record.name} is right")
    if not 0 <= record.gold < record.num_choices:
        raise ElusiveError(
            f"{file}: item {record.name}: choice {record.gold} is to be right, but there are {record.num_choices}, "
            "counted from 0"
        )
    for name, value in record.logged.items():
        recompute = RULES.get(name)
        if recompute is None:
            continue
        expected = recompute(record)
        if expected is not None and not _equal(value, expected):
            raise ElusiveError(
                f"{file}: item {record.name}: {name} is {value} in the log, but {expected} by its log-likelihoods "
                f"{list(record.log_likelihood)} and choice {record.gold} as the right one; gold, order or delimiter "
                "are not what they seem, or the file was edited"
            )


def check_numbers(record: Record, file: str) -> None:
    """The part of :func:`check` that needs no gold index: number of choices, and values of the log-likelihoods."""
    if not 2 <= record.num_choices <= MOST_CHOICES:
        raise ElusiveError(
            f"{file}: item {record.name} has {record.num_choices} choices; 2 to {MOST_CHOICES} can be imported"
        )
    for values, what in ((record.log_likelihood, "log-likelihood"), (record.unconditional, "unconditional one")):
        # A sum is finite unless one of its terms is not.
        if values is None or (max(values) <= SLACK and math.isfinite(sum(values)) and NOT_RETURNED not in values):
            continue
        for choice, value in enumerate(values):
            if not (value <= SLACK) or value == -math.inf or value == NOT_RETURNED:
                raise ElusiveError(f"{file}: item {record.name}, choice {choice}: the {what} is {_blame(value)}")


def _blame(value: float) -> str:
    if math.isnan(value) or math.isinf(value):
        return f"{value}, not a finite number; float16 overflows on some models"
    if value == NOT_RETURNED:
        return f"{value}, which stands for a value that the server did not return"
    return f"{value}, above 0: a loss or a probability, not a log-likelihood"


def _equal(value: Any, expected: float) -> bool:
    try:
        return float(value) == expected
    except (TypeError, ValueError):
        return False


def first_maximum(scores: Sequence[float]) -> int:
    """Index of the largest of ``scores``, the first of equal ones."""
    return scores.index(max(scores))


def per_length(record: Record, lengths: Sequence[int] | None) -> list[float] | None:
    """Log-likelihoods by length; one of no length is infinitely low, as division by zero gives in lm-eval."""
    if lengths is None:
        return None
    return [
        value / length if length else -math.inf for value, length in zip(record.log_likelihood, lengths, strict=True)
    ]


def _hit(scores: Sequence[float] | None, record: Record) -> float | None:
    return None if scores is None else float(first_maximum(scores) == record.gold)


def _choice(scores: Sequence[float] | None) -> float | None:
    return None if scores is None else float(first_maximum(scores))


def _characters(record: Record) -> Sequence[int] | None:
    if "characters" in record.measures:
        return record.measures["characters"]
    return record.num_chars if record.choices is None else [len(text) for text in record.choices]


def _bytes(record: Record) -> Sequence[int] | None:
    if record.choices is None:
        return record.num_bytes
    return [len(text.encode("utf-8", "surrogatepass")) for text in record.choices]


def _informative(record: Record) -> list[float] | None:
    """Log-likelihoods less the unconditional ones that the log has, whether or not the record keeps them."""
    less = record.measures.get("unconditional", record.unconditional)
    return None if less is None else [a - b for a, b in zip(record.log_likelihood, less, strict=True)]


def _greedy(record: Record) -> float | None:
    return None if record.is_greedy is None else float(record.is_greedy[record.gold])


#: Name of a log's metric -> what it must be; None where the log lacks what it takes.
RULES: dict[str, Callable[[Record], float | None]] = {
    "acc": lambda r: _hit(r.log_likelihood, r),
    "acc_norm": lambda r: _hit(per_length(r, _characters(r)), r),
    "acc_bytes": lambda r: _hit(per_length(r, _bytes(r)), r),
    "acc_mutual_info": lambda r: _hit(_informative(r), r),
    "exact_match": _greedy,
    "predicted_index_raw": lambda r: _choice(r.log_likelihood),
    "predicted_index_per_token": lambda r: _choice(per_length(r, r.num_tokens)),
    "predicted_index_per_char": lambda r: _choice(per_length(r, _characters(r))),
    "predicted_index_uncond": lambda r: _choice(_informative(r)),
    "acc_raw": lambda r: _hit(r.log_likelihood, r),
    "acc_per_token": lambda r: _hit(per_length(r, r.num_tokens), r),
    "acc_per_char": lambda r: _hit(per_length(r, _characters(r)), r),
    "acc_uncond": lambda r: _hit(_informative(r), r),
}


class Precision:
    """Whether all log-likelihoods of a file are numbers of half precision, and how often the best choice is tied."""

    def __init__(self) -> None:
        self.items = self.tied = 0
        self._values: list[tuple[float, ...]] = []
        self._half = {"float16": True, "bfloat16": True}

    def add(self, values: tuple[float, ...]) -> None:
        """Take note of the log-likelihoods of one item."""
        self.items += 1
        best = max(values)
        self.tied += values.count(best) > 1
        if any(self._half.values()):
            self._values.append(values)
            if len(self._values) >= 256:
                self._look()

    def _look(self) -> None:
        found = np.array([value for values in self._values for value in values])
        self._values = []
        with np.errstate(over="ignore"):
            if self._half["float16"]:
                self._half["float16"] = bool((found.astype(np.float16) == found).all())
            if self._half["bfloat16"]:
                single = found.astype(np.float32)
                coarse = (single.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
                self._half["bfloat16"] = bool((coarse == found).all())

    @property
    def half(self) -> str | None:
        """``float16`` or ``bfloat16`` if all values are such, else None."""
        if self._values:
            self._look()
        return next((name for name, so in self._half.items() if so), None) if self.items else None

    @property
    def tied_share(self) -> float:
        """Share of the items whose best choice is tied."""
        return self.tied / self.items if self.items else 0.0
