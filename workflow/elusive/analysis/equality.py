"""Members of a family that are the same checkpoint under two names: equal weights, or equal scores.

Published series have had one checkpoint uploaded in the place of another, and directories get copied. As independent
points of a correlation they would narrow every interval.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Model and checkpoint.
Key = tuple[str, str]


@dataclass(frozen=True)
class Twin:
    """Two members of a family, and the revision of their weights if that is what is equal, else None."""

    first: Key
    second: Key
    revision: str | None = None

    @property
    def names(self) -> str:
        """Both, as messages call them."""
        return f"{'/'.join(self.first)} and {'/'.join(self.second)}"


def scores_digest(scores: Mapping[str, np.ndarray]) -> str:
    """A digest of a checkpoint's log-likelihoods, by its metrics: of the right choices, and of the wrong ones' sums.

    Different weights do not give equal digests: each of many float64 numbers would have to agree in every bit.
    """
    digest = hashlib.sha256()
    for name in ("log_p_vocab_correct", "log_p_vocab_incorrect"):
        digest.update(np.ascontiguousarray(scores[name], np.float64).tobytes())
    return digest.hexdigest()


def twins(
    members: Sequence[Mapping[str, Any]], revisions: Mapping[Key, str | None], digests: Mapping[Key, str]
) -> list[Twin]:
    """Pairs of ``members`` with equal weights or equal scores, each member with the first one that it equals.

    ``revisions`` has the hash or commit of a member's weights where it is known, ``digests`` its
    :func:`scores_digest`. Two checkpoints without compute (before the first step) may well be equal, and count in no
    correlation.
    """
    found = []
    for i, member in enumerate(members):
        key = (member["model"], member["checkpoint"])
        for other in members[:i]:
            before = (other["model"], other["checkpoint"])
            if not (member["flops"] > 0 or other["flops"] > 0):
                continue
            weights = revisions.get(key) is not None and revisions.get(key) == revisions.get(before)
            if weights or (key in digests and digests[key] == digests.get(before)):
                found.append(Twin(before, key, revisions[key] if weights else None))
                break
    return found


def text(twin: Twin, where: str) -> str:
    """What is equal, as a sentence; ``where`` says on what the scores are."""
    if twin.revision is not None:
        return f"{twin.names} have the same weights (revision {twin.revision})."
    return f"{twin.names} have the same log-likelihoods {where}."
