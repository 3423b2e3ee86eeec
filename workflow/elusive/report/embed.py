"""Tables packed for the page's script: by columns, each as few bytes as its values need, in Base64.

At the paper's scale the statistics are tens of thousands of rows; as JSON rows they would be the larger part of the
page, and slow to read. A column is one of

- ``key``: texts, as positions (uint8 or uint16) in its list of ``values``;
- ``number``: positions in ``values`` as above for few different whole numbers, int16 of the value times :data:`SCALE`
  where four digits after the point are enough and fit, else float32. Nothing is -32768 or NaN. ``low`` and ``high`` are
  the ends of the interval.

Everything is little-endian, as in any browser's typed arrays.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

SCALE = 10_000
_NOTHING = -32_768


@dataclass(frozen=True)
class Key:
    """A column of texts to filter by: ``labels`` maps what the table holds to what is shown, in order of choice.

    What ``labels`` lacks is shown as it is, after them. ``chosen``: what the filter starts with, None being all.
    ``named``: whether the script needs what the table holds as well, as ``names`` beside ``values``.
    """

    column: str
    title: str
    labels: Mapping[Any, str] | None = None
    chosen: str | None = None
    named: bool = False


@dataclass(frozen=True)
class Number:
    """A column of numbers; ``style``: ``number`` (two digits), ``share`` (of 100 %), ``count`` or ``significant``.

    ``interval``: whether the columns ``*_low`` and ``*_high`` are the ends of its interval; a pair of names: these.
    """

    column: str
    title: str
    style: str = "number"
    interval: bool | tuple[str, str] = False


def _text(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode()


def _codes(codes: np.ndarray, count: int) -> dict[str, Any]:
    kind = "u1" if count <= 256 else "u2"
    return {"type": kind, "data": _text(codes.astype(f"<{kind}"))}


def pack_numbers(values: np.ndarray, significant: bool = False) -> dict[str, Any]:
    """``values`` (float, NaN where there is none) as the script unpacks them: ``type``, ``data``, maybe ``values``.

    ``significant``: values span many powers of ten, of which four digits after the point keep too little.
    """
    values = np.asarray(values, dtype=np.float64)
    known = np.isfinite(values)
    distinct = np.unique(values[known])
    if len(distinct) < 256 and (distinct == np.round(distinct)).all():
        codes = np.where(known, np.searchsorted(distinct, np.where(known, values, 0)), len(distinct))
        return _codes(codes, len(distinct) + 1) | {"values": [*(int(v) for v in distinct), None]}
    if not significant and np.abs(distinct).max() * SCALE < -_NOTHING - 1:
        packed = np.where(known, np.round(np.where(known, values, 0) * SCALE), _NOTHING)
        return {"type": "i2", "data": _text(packed.astype("<i2"))}
    return {"type": "f4", "data": _text(np.where(known, values, np.nan).astype("<f4"))}


def pack_table(frame: pd.DataFrame, keys: Sequence[Key], numbers: Sequence[Number]) -> dict[str, Any]:
    """``frame`` for the script: ``rows`` (their number) and ``columns``, the keys before the numbers."""
    columns: list[dict[str, Any]] = []
    for key in keys:
        labels = dict(key.labels or {})
        held = [None if pd.isna(value) else value for value in frame[key.column]]
        shown = [labels.get(value, value) for value in held]
        present = set(shown)
        values = [value for value in dict.fromkeys([*labels.values(), *shown]) if value in present]
        codes = {value: code for code, value in enumerate(values)}
        packed = _codes(np.array([codes[value] for value in shown], dtype=np.int64), len(values))
        chosen = key.chosen if key.chosen in present else None
        column = {"name": key.title, "kind": "key", "values": values, "chosen": chosen} | packed
        if key.named:
            raw = {label: name for name, label in labels.items()}
            column["names"] = [raw.get(value, value) for value in values]
        columns.append(column)
    for number in numbers:
        column = {"name": number.title, "kind": "number", "style": number.style}
        column |= pack_numbers(frame[number.column].to_numpy(float), number.style == "significant")
        if number.interval:
            default = (f"{number.column}_low", f"{number.column}_high")
            low, high = default if number.interval is True else number.interval
            for bound, name in {"low": low, "high": high}.items():
                column[bound] = pack_numbers(frame[name].to_numpy(float), number.style == "significant")
        columns.append(column)
    return {"rows": len(frame), "columns": columns}


def _unpack(packed: Mapping[str, Any]) -> list[float | None]:
    array = np.frombuffer(base64.b64decode(packed["data"]), dtype=f"<{packed['type']}")
    if "values" in packed:
        return [packed["values"][code] for code in array]
    if packed["type"] == "i2":
        return [None if value == _NOTHING else value / SCALE for value in array.tolist()]
    return [None if value != value else value for value in array.tolist()]


def unpack_table(packed: Mapping[str, Any]) -> pd.DataFrame:
    """What the page's script makes of a packed table: a column for each, ends of intervals as ``NAME low`` and so on.

    For tests, and for whoever wants the numbers out of a page.
    """
    result: dict[str, list[Any]] = {}
    for column in packed["columns"]:
        result[column["name"]] = _unpack(column)
        for bound in ("low", "high"):
            if bound in column:
                result[f"{column['name']} {bound}"] = _unpack(column[bound])
    return pd.DataFrame(result)
