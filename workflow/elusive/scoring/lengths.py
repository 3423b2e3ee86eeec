"""Lengths at which a model changes how it computes, as its configuration names them.

Sequences on both sides of such a length have to be tried before a way of running the model is trusted: within a
window nothing shows that it is ignored. Some models compute every position otherwise when a sequence is longer
(``longrope``, ``dynamic`` position encodings), so that what a sequence gets depends on the others of its batch: there
only sequences of one length may share a batch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from elusive.scoring.tokenize import Requests, pack

_NAMES = re.compile(r"window|chunk|position|topk|top_k|block|context|n_ctx|seq|length|compress|stride|local|sparse")
_BY_LENGTH = {"dynamic", "longrope", "su", "ntk", "dynamic_ntk"}
#: Switches of models with code of their own that have the same effect.
_SWITCHES = ("use_dynamic_ntk", "use_logn_attn")
#: The most lengths that are tried.
_MOST = 12


def _walk(config: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Every value of a configuration, however deep, with the name it has there."""
    if depth > 6:
        return
    if isinstance(config, dict):
        for key, value in config.items():
            yield from _walk(value, str(key), depth + 1)
    elif isinstance(config, (list, tuple)):
        for value in config[:256]:
            yield from _walk(value, name, depth + 1)
    else:
        yield name, config


def named(config: object) -> list[int]:
    """The lengths, ascending, that a model's configuration names for windows, chunks, positions and selections."""
    found = {
        value
        for name, value in _walk(_plain(config))
        if isinstance(value, int) and not isinstance(value, bool) and 2 <= value < 1 << 24 and _NAMES.search(name)
    }
    return sorted(found)


def changed_by_length(config: object) -> str | None:
    """Why the positions of a sequence are encoded by how long it is, in the configuration's words; None if not."""
    for name, value in _walk(_plain(config)):
        if name in ("rope_type", "type") and isinstance(value, str) and value in _BY_LENGTH:
            return f"{name} {value}"
        if name in _SWITCHES and value is True:
            return name
    return None


def remembered(config: object) -> bool:
    """Whether transformers keeps the encoding of the longest sequence so far until it is run on a short one."""
    return any(name in ("rope_type", "type") and value == "dynamic" for name, value in _walk(_plain(config)))


def _plain(config: object) -> Any:
    return config.to_dict() if hasattr(config, "to_dict") else vars(config)


def around(requests: Requests, lengths: Sequence[int]) -> Requests:
    """The longest request cut from the left, as long prompts are, to each of ``lengths`` and to one token more.

    Lengths that it does not exceed, or that its continuation alone does, are left out.
    """
    sizes = np.diff(requests.offsets) - 1
    longest = int(sizes.argmax())
    fed, targets = requests.fed(longest), requests.targets(longest)
    crossed = [n for n in lengths if len(targets) <= n < len(fed)][-_MOST:]
    return pack([(fed[-size:], targets) for n in crossed for size in (n, n + 1) if size < len(fed)])


def alike(requests: Requests, count: int = 3) -> Requests:
    """Different requests cut from the left to one length: ``count`` of the longest ones, and as many of medium length.

    Sequences share a batch only with others of their length where the length matters, and a sample has few such.
    """
    sizes = np.diff(requests.offsets) - 1
    order = np.argsort(-sizes, kind="stable")
    pairs = []
    for start in (0, len(order) // 2):
        seen: dict[bytes, int] = {}
        for i in order[start:].tolist():
            if len(seen) < count:
                seen.setdefault(requests.fed(i).tobytes(), i)
        size = min((int(sizes[i]) for i in seen.values()), default=0)
        pairs += [
            (requests.fed(i)[-size:], requests.targets(i)) for i in seen.values() if requests.num_targets[i] <= size
        ]
    return pack(pairs)


def crossed(lengths: Sequence[int], shortest: int, longest: int) -> list[int]:
    """Those of ``lengths`` that a sequence of ``longest`` tokens exceeds and one of ``shortest`` does not."""
    return [n for n in lengths if shortest <= n < longest]
