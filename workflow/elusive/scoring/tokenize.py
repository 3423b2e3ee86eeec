"""Prompts to tokens, by the rule of lm-eval 0.4.13 (``_encode_pair``, ``tok_encode`` and ``_loglikelihood_tokens``).

Trailing whitespace of a context moves to the front of its continuation. Context and context + continuation are
encoded separately; the continuation's tokens are those of the whole beyond the length of the context's, and the model
is fed the context's own tokens followed by them. (If a merge crosses the boundary this is not the encoding of the
whole.) An empty context becomes the tokenizer's prefix token. At most ``max_length + 1`` tokens take part, counted
from the right, and the last of them is only predicted.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from elusive.errors import ElusiveError
from elusive.files import atomic_path

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

#: lm-eval's, where neither the configuration nor the tokenizer gives a length.
DEFAULT_MAX_LENGTH = 2048
_UNSET_LENGTH = int(1e30)


@dataclass(frozen=True)
class Requests:
    """Token sequences to score: sequence i is ``tokens[offsets[i]:offsets[i + 1]]``, context first.

    Its last ``num_targets[i]`` tokens are the continuation; all but its last token are fed to the model. A request that
    cannot be scored has no tokens.
    """

    tokens: np.ndarray  # [total] int32
    offsets: np.ndarray  # [requests + 1] int64
    num_targets: np.ndarray  # [requests] int32
    truncated: np.ndarray  # [requests] bool, whether tokens were cut off its context
    too_long: np.ndarray  # [requests] int32, tokens of a continuation that has more than the model can be fed, else 0

    def __len__(self) -> int:
        return len(self.num_targets)

    def fed(self, index: int) -> np.ndarray:
        """Tokens fed to the model for request ``index``."""
        return self.tokens[self.offsets[index] : self.offsets[index + 1] - 1]

    def targets(self, index: int) -> np.ndarray:
        """Tokens of the continuation of request ``index``, predicted from the last positions of ``fed(index)``."""
        end = self.offsets[index + 1]
        return self.tokens[end - self.num_targets[index] : end]

    @property
    def sha256(self) -> str:
        """Hex SHA-256 over all tokens and where each sequence and its continuation begin."""
        digest = hashlib.sha256()
        for array in (self.tokens, self.offsets, self.num_targets):
            digest.update(len(array).to_bytes(8, "little") + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def take(self, indices: Sequence[int]) -> Requests:
        """The requests at ``indices``, in that order."""
        indices = np.asarray(indices, np.int64)
        pairs = [(self.fed(i), self.targets(i)) if self.num_targets[i] else _UNSCORABLE for i in indices]
        return pack(pairs, self.truncated[indices], self.too_long[indices])

    def __add__(self, others: Requests) -> Requests:
        return Requests(
            np.concatenate([self.tokens, others.tokens]),
            np.concatenate([self.offsets, others.offsets[1:] + self.offsets[-1]]),
            np.concatenate([self.num_targets, others.num_targets]),
            np.concatenate([self.truncated, others.truncated]),
            np.concatenate([self.too_long, others.too_long]),
        )


_UNSCORABLE = (np.zeros(0, np.int32), np.zeros(0, np.int32))


def pack(
    pairs: Sequence[tuple[np.ndarray, np.ndarray]],
    truncated: Sequence[bool] | None = None,
    too_long: Sequence[int] | None = None,
) -> Requests:
    """Requests from pairs of (tokens fed, targets); a pair without targets is one that cannot be scored."""
    lengths = [len(fed) + 1 if len(targets) else 0 for fed, targets in pairs]
    pieces = [piece for fed, targets in pairs if len(targets) for piece in (fed, targets[-1:])]
    return Requests(
        tokens=np.concatenate(pieces).astype(np.int32) if pieces else np.zeros(0, np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        num_targets=np.array([len(targets) for _, targets in pairs], np.int32),
        truncated=np.zeros(len(pairs), bool) if truncated is None else np.array(truncated, bool),
        too_long=np.zeros(len(pairs), np.int32) if too_long is None else np.array(too_long, np.int32),
    )


class TokenCache:
    """Requests that were made before from the same prompts by the same tokenizer, so that the checkpoints of a family
    tokenise each benchmark once: in memory and, if given, as files of ``directory``.
    """

    #: Raised by hand whenever the rule above would give other tokens.
    VERSION = 2

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self._known: dict[str, Requests] = {}

    def get(self, decisive: dict[str, Any], make: Callable[[], Requests]) -> Requests:
        """The requests that ``decisive`` (JSON-able: all that decides them) stands for, made by ``make`` if unknown."""
        note = json.dumps({**decisive, "version": self.VERSION}, sort_keys=True)
        key = hashlib.sha256(note.encode()).hexdigest()
        if key not in self._known:
            self._known[key] = self._read(key) or self._write(key, make())
        return self._known[key]

    def _read(self, key: str) -> Requests | None:
        if self._directory is None:
            return None
        try:
            with np.load(self._directory / f"{key}.npz", allow_pickle=False) as arrays:
                return Requests(**{field.name: arrays[field.name] for field in fields(Requests)})
        except (OSError, ValueError, KeyError, zipfile.BadZipFile):  # missing or damaged: made anew
            return None

    def _write(self, key: str, requests: Requests) -> Requests:
        if self._directory is not None:
            with atomic_path(self._directory / f"{key}.npz") as temporary:
                np.savez(temporary, **vars(requests))
        return requests


def configured_max_length(config: object) -> int | None:
    """The most tokens that a model is made for, by its configuration."""
    config = getattr(config, "text_config", None) or config
    for attribute in ("n_positions", "max_position_embeddings", "n_ctx"):
        if isinstance(value := getattr(config, attribute, None), int) and value > 0:
            return value
    return None


def resolve_max_length(config: object, tokenizer: PreTrainedTokenizerBase, requested: int | None = None) -> int:
    """The most tokens a model is fed, as lm-eval resolves it: asked for, configured, the tokenizer's, or 2048."""
    if requested is not None:
        return requested
    if (configured := configured_max_length(config)) is not None:
        return configured
    value = getattr(tokenizer, "model_max_length", None)
    return int(value) if value is not None and value < _UNSET_LENGTH else DEFAULT_MAX_LENGTH


def _encode(tokenizer: PreTrainedTokenizerBase, strings: Iterable[str], add_special: bool | None) -> dict[str, list]:
    """Token ids of every distinct string, with special tokens as asked for (None: the tokenizer's default)."""
    distinct = list(dict.fromkeys(strings))
    if not distinct:
        return {}
    options = {} if add_special is None else {"add_special_tokens": add_special}
    # verbose=False: sequences beyond the tokenizer's own limit are expected, they are truncated below.
    ids = tokenizer(
        distinct, return_attention_mask=False, return_token_type_ids=False, truncation=False, verbose=False, **options
    )["input_ids"]
    return dict(zip(distinct, ids, strict=True))


def tokenize(
    tokenizer: PreTrainedTokenizerBase,
    contexts: Sequence[str],
    continuations: Sequence[str],
    max_length: int,
    add_bos_token: bool | None = False,
    names: Sequence[str] | None = None,
    unscorable: Literal["error", "keep"] = "error",
) -> Requests:
    """Requests for the pairs of ``contexts`` and ``continuations`` (equally many).

    ``add_bos_token``: False and True fix the special tokens, None leaves them to the tokenizer. ``names`` says in
    error messages which item a pair belongs to. Raises :class:`ElusiveError` for a tokenizer that puts a special token
    behind every text; for an empty context under one that has neither BOS nor EOS; and for a continuation without
    tokens or longer than ``max_length``, of which a request without tokens is made where ``unscorable`` says ``keep``.
    """
    prefix = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    prefix_string = tokenizer.decode(prefix) if prefix is not None else None

    def bare(string: str) -> bool:
        """Whether a string already starts with the prefix token, so that none is to be added."""
        return prefix_string is not None and string.startswith(prefix_string)

    moved = [(c.rstrip(), c[len(c.rstrip()) :] + k) for c, k in zip(contexts, continuations, strict=True)]
    # Alone behind the prefix token: empty contexts, and those of whitespace alone, at which lm-eval stops.
    alone = [continuation for context, continuation in moved if not context]
    strings = [s for context, continuation in moved if context for s in (context, context + continuation)]
    if strings:
        _check_end(tokenizer, add_bos_token)
    encoded = _encode(tokenizer, (s for s in strings if not bare(s)), add_bos_token)
    encoded |= _encode(tokenizer, (s for s in strings if bare(s)), False)
    encoded_alone = _encode(tokenizer, alone, False)

    pairs, truncated, too_long = [], [], []
    for index, (context, continuation) in enumerate(moved):
        name = names[index] if names is not None else f"request {index}"
        if context:
            fed = encoded[context]
            targets = encoded[context + continuation][len(fed) :]
        else:
            if prefix is None:
                raise ElusiveError(f"{name}: the context is empty and the tokenizer has neither a BOS nor an EOS token")
            targets = encoded_alone[continuation]
            fed = [prefix]
            if targets[:1] == fed:
                targets = targets[1:]
        excess = len(targets) if len(targets) > max_length else 0
        if (not targets or excess) and unscorable == "error":
            raise ElusiveError(why_unscorable(name, continuation, excess, max_length))
        truncated.append(len(fed) + len(targets) > max_length + 1)
        too_long.append(excess)
        whole = (fed + targets)[-(max_length + 1) :]
        pairs.append(_UNSCORABLE if excess or not targets else (whole[:-1], targets))
    return pack(pairs, truncated, too_long)


def _check_end(tokenizer: PreTrainedTokenizerBase, add_special: bool | None) -> None:
    """Raise :class:`ElusiveError` where the special tokens that are added end a text.

    A choice would be scored behind the end of its context, by tokens that end with the special one: all choices of one
    token would have that one's log-likelihood. lm-eval scores so without a word.
    """
    text = "a"
    (alone,), (ids,) = _encode(tokenizer, [text], False).values(), _encode(tokenizer, [text], add_special).values()
    if ids and ids[-1] in tokenizer.all_special_ids and ids[-1:] != alone[-1:]:
        raise ElusiveError(
            f"the tokenizer puts {tokenizer.decode(ids[-1:])!r} behind every text, so that a choice would not stand "
            "behind its context: set add_bos_token of the model to true or false, which keep the token away, or "
            "take it out of the tokenizer's post-processor"
        )


def why_unscorable(name: str, continuation: str, too_long: int, max_length: int) -> str:
    """Why the request called ``name`` cannot be scored, and what can be done about it."""
    if too_long:
        why = f"the continuation has {too_long} tokens, the model can be fed {max_length}"
        advice = "raise max_length if the model allows it"
    else:
        why = f"the continuation {continuation!r} has no token of its own"
        advice = (
            "a choice needs at least one token beyond those of its context: let it begin with a space (`delimiter`)"
        )
    return f"{name}: {why}; {advice}, or set scoring.on_unscorable to drop, which leaves the item out everywhere"
