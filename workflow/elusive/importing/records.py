"""What every reader yields: one record an item, and what identifies it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from elusive.errors import ElusiveError

#: num_choices is an int8.
MOST_CHOICES = 127


class Record(NamedTuple):
    """One item under one checkpoint, as a log has it. K is the number of choices.

    ``task`` and ``number`` (lm-eval's ``doc_id``) name it; ``native_id`` is the dataset's own id, which may repeat.
    ``contexts`` and ``continuations`` are the texts as scored, one for all choices or K, None if the log has no texts;
    ``choices`` the K texts that normalise length: the continuations without the delimiter. ``gold`` is the index of the
    right choice, None if the log does not say it. ``log_likelihood`` [K] in nats is summed over the continuation's
    tokens, ``unconditional`` [K] the same behind another context than the item's. ``is_greedy``, ``num_tokens``,
    ``num_bytes`` and ``num_chars`` [K] are None where the log does not have them. ``logged`` are the log's own metrics
    by their names there, ``measures`` what they were computed from where it is not what the record has. ``identity``
    are 16 bytes that are equal for the same item and, as good as surely, for nothing else: :func:`text_identity` or, of
    an item without all texts, :func:`other_identity`.
    """

    task: str
    number: int
    contexts: tuple[str, ...] | None
    continuations: tuple[str, ...] | None
    choices: tuple[str, ...] | None
    gold: int | None
    log_likelihood: tuple[float, ...]
    identity: bytes
    is_greedy: tuple[bool, ...] | None = None
    num_tokens: tuple[int, ...] | None = None
    unconditional: tuple[float, ...] | None = None
    native_id: str | None = None
    logged: Mapping[str, Any] = {}
    measures: Mapping[str, Any] = {}
    num_chars: tuple[int, ...] | None = None
    num_bytes: tuple[int, ...] | None = None
    subject: str | None = None
    cluster: str | None = None

    @property
    def num_choices(self) -> int:
        """K, the number of choices."""
        return len(self.log_likelihood)

    @property
    def name(self) -> str:
        """How messages call the item."""
        return f"{self.number}" if self.native_id is None else f"{self.number} ({self.native_id})"


def text_identity(contexts: Sequence[str], continuations: Sequence[str]) -> bytes:
    """The identity of an item by its texts, in the form of :func:`shared`."""
    text = "\0".join((*contexts, *continuations))
    count = len(contexts) + len(continuations)
    # Without a zero byte in a text, the text can be divided in one way only.
    lengths = [len(text) for text in (*contexts, *continuations)] if text.count("\0") >= count else ""
    whole = f"{len(contexts)} {count} {lengths} {text}"
    return hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def other_identity(*parts: Any) -> bytes:
    """The identity of an item by other things than its texts alone; all of ``parts`` have a ``repr`` of their own."""
    return hashlib.blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def shared(contexts: Sequence[str], continuations: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The K contexts and K continuations of an item, with one in place of K equal ones, contexts first.

    At least one of the two is K long, so that the texts of an item have one form only.
    """
    if contexts.count(contexts[0]) == len(contexts):
        return (contexts[0],), tuple(continuations)
    if continuations.count(continuations[0]) == len(continuations):
        return tuple(contexts), (continuations[0],)
    return tuple(contexts), tuple(continuations)


def item_identity(contexts: Sequence[str], continuations: Sequence[str], count: int) -> bytes:
    """:func:`text_identity` of a row of an items table, which may have one text or ``count`` of them."""
    all_contexts = contexts if len(contexts) == count else list(contexts) * count
    all_continuations = continuations if len(continuations) == count else list(continuations) * count
    return text_identity(*shared(all_contexts, all_continuations))


def joined_identity(contexts: Sequence[str], continuations: Sequence[str], count: int) -> bytes:
    """:func:`text_identity` of a row of an items table with every context and its continuation in one."""
    all_contexts = contexts if len(contexts) == count else list(contexts) * count
    all_continuations = continuations if len(continuations) == count else list(continuations) * count
    return text_identity([a + b for a, b in zip(all_contexts, all_continuations, strict=True)], ())


def distinct(records: Iterable[Record], file: str) -> Iterator[Record]:
    """The records without those that repeat an earlier one to the last digit, as files appended to twice have them.

    Raises :class:`ElusiveError` when one number has different texts or log-likelihoods.
    """
    seen: dict[int, tuple[bytes, tuple[float, ...]]] = {}
    for record in records:
        found = (record.identity, record.log_likelihood)
        before = seen.setdefault(record.number, found)
        if before is found:
            yield record
        elif before[0] != found[0]:
            raise ElusiveError(f"{file}: item {record.name} is there twice, with different texts")
        elif before[1] != found[1]:
            raise ElusiveError(
                f"{file}: item {record.name} is there twice, with log-likelihoods {list(before[1])} and "
                f"{list(found[1])}; two runs were written into one file"
            )
