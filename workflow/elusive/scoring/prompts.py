"""The prompts of a job: every choice of an items table as texts, and as tokens, which a cache may already have."""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from elusive.configuration.directory import CheckpointDirectory
from elusive.errors import ElusiveError
from elusive.scoring.identity import tokenizer_identity
from elusive.scoring.spec import Spec
from elusive.scoring.tokenize import (
    Requests,
    TokenCache,
    configured_max_length,
    pack,
    resolve_max_length,
    tokenize,
    why_unscorable,
)
from elusive.tables import read_table

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

    from elusive.scoring.cells import Cell

#: The most benchmarks that take part in the trial of how to run a model.
_TRIAL_BENCHMARKS = 12


@dataclass(frozen=True)
class Choices:
    """One entry per item × choice, sorted by items order, then choice."""

    item: list[str]
    item_index: np.ndarray  # [choices] int64
    choice: np.ndarray  # [choices] int8
    is_gold: np.ndarray  # [choices] bool
    context: list[str]
    continuation: list[str]
    text: list[str]  # without delimiter

    @property
    def names(self) -> list[str]:
        """How error messages call them."""
        return [f"item {item!r}, choice {choice}" for item, choice in zip(self.item, self.choice, strict=True)]

    def take(self, kept: np.ndarray) -> Choices:
        """The choices at the indices ``kept``, of whole items."""
        lists = {name: [getattr(self, name)[i] for i in kept] for name in ("item", "context", "continuation", "text")}
        _, index = np.unique(self.item_index[kept], return_inverse=True)
        return Choices(item_index=index, choice=self.choice[kept], is_gold=self.is_gold[kept], **lists)


@dataclass(frozen=True)
class Prepared:
    """The prompts of a benchmark: a request per choice, and if asked for one more per choice behind nothing, after all
    the others. ``dropped`` are the items that cannot be scored, which ``choices`` and ``requests`` lack.
    """

    choices: Choices
    requests: Requests
    dropped: list[str]

    @property
    def num_truncated(self) -> int:
        """How many items have a prompt that was cut."""
        cut = np.flatnonzero(self.requests.truncated) % max(1, len(self.choices.item))
        return len(np.unique(self.choices.item_index[cut])) if len(cut) else 0


def choices(items: pa.Table) -> Choices:
    """All choices of an items table: one context or continuation of an item may serve all its choices."""
    columns = {name: items[name].to_pylist() for name in ("item", "contexts", "continuations", "gold", "num_choices")}
    # Where the table has no texts, the continuation less the space that delimits it.
    texts = items["choices"].to_pylist() if "choices" in items.column_names else [None] * items.num_rows
    result = Choices([], np.zeros(0), np.zeros(0), np.zeros(0), [], [], [])
    index, number, gold = [], [], []
    for i in range(items.num_rows):
        count, contexts, continuations = (columns[key][i] for key in ("num_choices", "contexts", "continuations"))
        for choice in range(count):
            continuation = continuations[choice if len(continuations) > 1 else 0]
            result.item.append(columns["item"][i])
            result.context.append(contexts[choice if len(contexts) > 1 else 0])
            result.continuation.append(continuation)
            result.text.append(texts[i][choice] if texts[i] is not None else continuation.removeprefix(" "))
            index.append(i)
            number.append(choice)
            gold.append(choice == columns["gold"][i])
    arrays = {
        "item_index": np.array(index, np.int64),
        "choice": np.array(number, np.int8),
        "is_gold": np.array(gold, bool),
    }
    return Choices(**{**vars(result), **arrays})


class Prompts:
    """The job's prompts as tokens. The tokenizer is loaded when there is something that the cache does not have."""

    def __init__(
        self, spec: Spec, checkpoint: CheckpointDirectory, config: PreTrainedConfig, tokens: TokenCache
    ) -> None:
        self._spec, self._checkpoint, self._tokens = spec, checkpoint, tokens
        length = spec.max_length or configured_max_length(config)
        self.max_length = length or resolve_max_length(config, self._tokenizer)
        self.configured_length = configured_max_length(config)

    @functools.cached_property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        from elusive.scoring.loading import load_tokenizer

        spec = self._spec
        # Of a relative path transformers takes the first folders for the name of a repository, and chooses by it.
        directory = self._checkpoint.directory.absolute()
        return load_tokenizer(directory, spec.add_bos_token, spec.threads, spec.trust_remote_code)

    @property
    def bos(self) -> str | None:
        """What the configuration does to the tokenizer's own way with special tokens, None if it leaves it alone."""
        chosen = self._spec.add_bos_token
        if chosen is None:
            return None

        def make() -> Requests:
            from elusive.scoring.loading import load_tokenizer

            spec, text = self._spec, "a"
            own = load_tokenizer(self._checkpoint.directory, None, spec.threads, spec.trust_remote_code)
            found = own(text).input_ids, self._tokenizer(text, add_special_tokens=chosen).input_ids
            return pack([(np.array(ids, np.int64), np.zeros(1, np.int64)) for ids in found])

        probe = self._cached({"probe": "special tokens"}, make)
        own, configured = (probe.fed(i).tolist() for i in range(2))
        if own == configured:
            return None
        does = "adds special tokens (BOS)" if len(own) > len(configured) else "adds fewer special tokens (no BOS)"
        return (
            f"the tokenizer by its own default {does} to a text; add_bos_token: {json.dumps(chosen)} of the "
            "configuration overrules it, so that log-likelihoods are not those of lm-eval's defaults"
        )

    def of(self, cell: Cell) -> Prepared:
        """The prompts of a benchmark.

        Raises :class:`ElusiveError` for an item that cannot be scored, unless such items are to be dropped.
        """
        every = choices(read_table(cell.items, "items"))
        contexts, continuations, names = every.context, every.continuation, every.names
        if cell.unconditional:
            contexts = [*contexts, *[""] * len(contexts)]
            continuations, names = continuations * 2, names * 2
        decisive = {"prompts": cell.prompts_sha256, "unconditional": cell.unconditional}
        names = [f"{cell.benchmark}: {name}" for name in names]
        requests = self._cached(decisive, lambda: self._encode(contexts, continuations, names))
        bad = np.flatnonzero(requests.num_targets == 0)
        if not len(bad):
            return Prepared(every, requests, [])
        first = int(bad[0])
        why = why_unscorable(names[first], continuations[first], int(requests.too_long[first]), self.max_length)
        if self._spec.on_unscorable != "drop":
            raise ElusiveError(why)
        lost = np.unique(every.item_index[bad % len(every.item)])
        kept = np.flatnonzero(~np.isin(every.item_index, lost))
        dropped = list(dict.fromkeys(every.item[i] for i in np.flatnonzero(np.isin(every.item_index, lost))))
        if not len(kept):
            raise ElusiveError(f"{cell.benchmark}: no item can be scored; the first: {why}")
        both = np.concatenate([kept + start for start in range(0, len(requests), len(every.item))])
        return Prepared(every.take(kept), requests.take(both), dropped)

    def trial(self, every: Sequence[Cell]) -> Requests:
        """A few requests of every benchmark: neighbours, different choices of one item, the longest item.

        Of very many benchmarks some are taken. What cannot be tokenised is left out, for its error comes at its turn.
        """
        some = every[:: -(-len(every) // _TRIAL_BENCHMARKS)]

        def make() -> Requests:
            requests: list[Requests] = []
            problems: list[ElusiveError] = []
            for cell in some:
                try:
                    found = self._encode(*_trial_pairs(read_table(cell.items, "items"), cell))
                    requests.append(found.take(np.flatnonzero(found.num_targets)))
                except ElusiveError as error:
                    problems.append(error)
            if not requests:
                raise problems[0]
            return functools.reduce(operator.add, requests)

        return self._cached({"trial": [[cell.prompts_sha256, cell.unconditional] for cell in some]}, make)

    def _encode(self, contexts: Sequence[str], continuations: Sequence[str], names: Sequence[str]) -> Requests:
        bos = self._spec.add_bos_token
        return tokenize(self._tokenizer, contexts, continuations, self.max_length, bos, names, "keep")

    def _cached(self, decisive: dict[str, Any], make: Callable[[], Requests]) -> Requests:
        general = {
            "tokenizer": self._identity,
            "max_length": self.max_length,
            "add_bos_token": self._spec.add_bos_token,
        }
        return self._tokens.get({**general, **decisive}, make)

    @functools.cached_property
    def _identity(self) -> dict[str, Any]:
        return tokenizer_identity(self._checkpoint.directory, self._spec.trust_remote_code)


def _trial_pairs(items: pa.Table, cell: Cell) -> tuple[list[str], list[str], list[str]]:
    """Contexts, continuations and names of a benchmark's part of the trial."""
    texts = zip(items["contexts"].to_pylist(), items["continuations"].to_pylist(), strict=True)
    longest = int(np.argmax([max(map(len, contexts)) + max(map(len, others)) for contexts, others in texts]))
    rows = np.unique([0, min(1, items.num_rows - 1), longest])
    every = choices(items.take(arrow_numbers(rows)))
    first = every.choice == 0
    picked = np.flatnonzero(first | np.append(first[1:], True))  # every item's first and last choice
    triples = [(every.context[i], every.continuation[i], f"{cell.benchmark}: {every.names[i]}") for i in picked]
    if cell.unconditional:
        triples.append(("", *triples[0][1:]))
    contexts, continuations, names = map(list, zip(*triples, strict=True))
    return contexts, continuations, names


# Arrow's own conversions first import pandas, which takes as long as loading a small model.
def arrow_numbers(values: np.ndarray) -> pa.Array:
    """Numbers as an Arrow array of the same type."""
    kind = pa.from_numpy_dtype(values.dtype)
    return pa.Array.from_buffers(kind, len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


def arrow_strings(values: Sequence[str]) -> pa.Array:
    """Strings as an Arrow array."""
    encoded = [value.encode() for value in values]
    offsets = np.concatenate([[0], np.cumsum([len(value) for value in encoded])]).astype(np.int32)
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded)))
