"""JSON as it is meant: no key twice, and every failure a ValueError."""

from __future__ import annotations

import json
from typing import Any


def loads(text: str) -> Any:
    """What a JSON text says. ``NaN`` and infinities are read as such.

    Raises ValueError where it is not JSON, where an object has a key twice, of which a reader would take the last
    without a word, and where it is nested too deeply or has a number of too many digits.
    """
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object has the key {repeated!r} twice, and only one of them can count")
    return result
