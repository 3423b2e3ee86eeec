"""What a safetensors file says of its tensors, read from its header alone.

The format (https://github.com/huggingface/safetensors): eight bytes with the length of the header, little endian; the
header, a JSON object from a tensor's name to its ``dtype``, ``shape`` and ``data_offsets``; and the tensors' bytes, one
after the other without a gap. So names, shapes and whether the file is whole are known from a few kilobytes of it.
Nothing but the standard library is imported: Snakemake reads headers whenever it parses a configuration.
"""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elusive.errors import ElusiveError

#: Bits of an element, by the format's names.
BITS = {"F64": 64, "I64": 64, "U64": 64, "C64": 64, "F32": 32, "I32": 32, "U32": 32, "BF16": 16, "F16": 16, "I16": 16}
BITS |= {"U16": 16, "I8": 8, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F6_E2M3": 6, "F6_E3M2": 6}
BITS |= {"F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F4": 4}
LFS_POINTER = b"version https://git-lfs.github.com/spec/"

_LENGTH_BYTES = 8
_LONGEST_HEADER = 100_000_000  # the format's own limit
_WINDOWS, _WINDOW_BYTES = 16, 4096


@dataclass(frozen=True)
class Tensor:
    """A tensor of a file: ``dtype`` by the format's name, ``shape``, and its first and last byte counted from 0."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def read_header(path: Path) -> Mapping[str, Tensor]:
    """Name -> tensor of a safetensors file. Raises :class:`ElusiveError` for a file that is none, or is not whole."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(len(LFS_POINTER))
            if not start:
                raise ElusiveError(f"{path}: is empty")
            if start == LFS_POINTER:
                raise ElusiveError(
                    f"{path}: is a pointer of Git LFS, not the weights: run `git lfs pull` where it was cloned"
                )
            length = int.from_bytes(start[:_LENGTH_BYTES], "little")
            if start[_LENGTH_BYTES : _LENGTH_BYTES + 1] != b"{" or length > _LONGEST_HEADER:
                raise ElusiveError(f"{path}: is no safetensors file: it does not begin with a header")
            if _LENGTH_BYTES + length > size:
                raise ElusiveError(
                    f"{path}: is cut off: its header alone would be {length:,} bytes, the whole file has {size:,}"
                )
            file.seek(_LENGTH_BYTES)
            text = file.read(length)
        return _parsed(text, size)
    except OSError as error:
        raise ElusiveError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ElusiveError(f"{path}: {error}") from error


# The checkpoints of a model have the same header: it is understood once.
@functools.lru_cache(maxsize=64)
def _parsed(text: bytes, size: int) -> Mapping[str, Tensor]:
    """The tensors of a header in a file of ``size`` bytes. Raises ValueError."""
    try:
        header = json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its header is damaged: {error}") from error
    if not isinstance(header, dict):
        raise ValueError("its header is damaged: it is no object")
    header.pop("__metadata__", None)
    first = _LENGTH_BYTES + len(text)
    tensors = {name: _tensor(name, entry, first) for name, entry in header.items()}
    end = first
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].start, item[1].end)):
        if tensor.start != end:
            raise ValueError(f"its header is damaged: {name} does not follow the tensor before it")
        end = tensor.end
    if end > size:
        raise ValueError(f"is cut off: its tensors are {end - first:,} bytes, of which {size - first:,} are there")
    if end < size:
        raise ValueError(f"is damaged: it has {size - end:,} bytes more than its header tells of")
    return tensors


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands there twice")
    return result


def _tensor(name: str, entry: Any, first: int) -> Tensor:
    try:
        dtype, shape, (start, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        bits = BITS[dtype] * math.prod(shape)
        whole = all(isinstance(n, int) and n >= 0 for n in (*shape, start, end)) and (end - start) * 8 == bits
    except (KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        raise ValueError(f"its header is damaged: {name}: {json.dumps(entry)[:200]}")
    return Tensor(dtype, shape, first + start, first + end)


def same_content(first: tuple[Path, Tensor], second: tuple[Path, Tensor]) -> bool:
    """Whether two tensors hold the same numbers, judged by a few windows of their bytes that are spread evenly."""
    (_, one), (_, other) = first, second
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    last = max(0, one.end - one.start - _WINDOW_BYTES)
    places = sorted({round(last * i / (_WINDOWS - 1)) for i in range(_WINDOWS)})
    return _windows(*first, places) == _windows(*second, places)


def _windows(path: Path, tensor: Tensor, places: list[int]) -> list[bytes]:
    with path.open("rb") as file:
        found = []
        for place in places:
            file.seek(tensor.start + place)
            found.append(file.read(min(_WINDOW_BYTES, tensor.end - tensor.start)))
    return found
