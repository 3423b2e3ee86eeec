"""What identifies the texts of an item where the texts themselves are kept back: their SHA-256.

Anybody who has the benchmark can compute it again::

    hashlib.sha256(json.dumps(texts, ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()

with ``texts`` the list of contexts (``prompt_sha256``) or of scored continuations (``choices_sha256``) of an item: one
for each choice, or one that all share.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

#: Column of a published item -> column of the items table that it is the digest of.
DIGESTS = {"prompt_sha256": "contexts", "choices_sha256": "continuations"}


def digest(texts: Sequence[str]) -> str:
    """Hex SHA-256 of a list of texts as JSON without spaces, in UTF-8."""
    return hashlib.sha256(json.dumps(list(texts), ensure_ascii=False, separators=(",", ":")).encode()).hexdigest()


def digests(items: pa.Table) -> dict[str, list[Any]]:
    """The columns of :data:`DIGESTS` for an items table, a str or None an item.

    Of an item without texts, the digest that the table itself has, if it has one: it came from a published set.
    """
    found: dict[str, list[Any]] = {}
    for name, column in DIGESTS.items():
        given = items[name].to_pylist() if name in items.column_names else [None] * len(items)
        texts = items[column].to_pylist()
        found[name] = [known if own is None else digest(own) for own, known in zip(texts, given, strict=True)]
    return found
