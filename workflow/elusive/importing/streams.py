"""Log files as streams: compressed or not, with or without a byte order mark, JSON by lines or as one array.

What a file is shows in its first bytes, never in its name.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from elusive.errors import ElusiveError

BOM = b"\xef\xbb\xbf"
LFS = b"version https://git-lfs.github.com/spec/"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
#: Bytes that are read to find out what a file is.
HEAD = 1 << 16

#: Called with the number of bytes read from the disk since the last call.
Progress = Callable[[int], None]


@contextlib.contextmanager
def open_bytes(path: str | Path, progress: Progress | None = None) -> Iterator[BinaryIO]:
    """The decompressed bytes of a file, behind its byte order mark if it has one.

    Raises :class:`ElusiveError` when it cannot be read, is a Git LFS pointer, or its compression is damaged.
    """
    try:
        with contextlib.ExitStack() as stack:
            raw = stack.enter_context(_Counting(path, progress))
            start = raw.peek(HEAD)
            stream: Any = raw
            if start.startswith(_GZIP):
                stream = stack.enter_context(gzip.GzipFile(fileobj=raw))
            elif start.startswith(_ZSTD):
                import pyarrow as pa  # only for the few files that need it

                stream = stack.enter_context(pa.CompressedInputStream(pa.PythonFile(raw, "r"), "zstd"))
            buffered = stack.enter_context(io.BufferedReader(_Raw(stream), 1 << 20)) if stream is not raw else raw
            start = buffered.peek(len(BOM))
            if start.startswith(BOM):
                buffered.read(len(BOM))
            if buffered.peek(len(LFS)).startswith(LFS):
                raise ElusiveError(f"{path}: a Git LFS pointer, not the data; run git lfs pull")
            yield buffered
    except (EOFError, gzip.BadGzipFile, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise ElusiveError(f"{path}: cannot be read: {error.strerror}") from error
        raise ElusiveError(f"{path}: its compression is damaged or it was cut off ({error})") from error


class _Counting(io.BufferedReader):
    """A file that says how much of it was read."""

    def __init__(self, path: str | Path, progress: Progress | None) -> None:
        raw: Any = _CountingRaw(path, progress) if progress else io.FileIO(path)
        super().__init__(raw, 1 << 20)


class _CountingRaw(io.FileIO):
    def __init__(self, path: str | Path, progress: Progress) -> None:
        super().__init__(path)
        self._progress = progress

    def readinto(self, buffer: Any) -> int | None:
        count = super().readinto(buffer)
        self._progress(count or 0)
        return count


class _Raw(io.RawIOBase):
    """What decompresses, as something that can be buffered."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def head(path: str | Path) -> bytes:
    """The first :data:`HEAD` decompressed bytes."""
    with open_bytes(path) as stream:
        return stream.read(HEAD)


def objects(path: str | Path, progress: Progress | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number, from 1, and object of each line of a JSONL file, or of each element of a JSON array.

    Raises :class:`ElusiveError` naming the line of whatever is no JSON object, in the last line too.
    """
    with open_bytes(path, progress) as stream:
        start = stream.peek(HEAD)[:HEAD].lstrip()
        if start.startswith(b"["):
            yield from _array(path, stream.read())
            return
        decode = json.JSONDecoder().raw_decode
        for number, line in enumerate(stream, 1):
            if line.isspace():
                continue
            try:
                text = line.decode("utf-8").strip()
                found, end = decode(text)
                if end < len(text):
                    raise json.JSONDecodeError("Extra data", text, end)
            except ValueError as error:
                raise ElusiveError(f"{path}, line {number}: {_reason(line, error)}") from error
            if not isinstance(found, dict):
                raise ElusiveError(f"{path}, line {number}: no JSON object, but {type(found).__name__}")
            yield number, found


def _reason(line: bytes, error: ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 text ({error.reason})"
    if not line.endswith(b"\n"):
        return "cut off: the file does not end with a whole line; copy it again, or run the harness again"
    return f"not valid JSON ({getattr(error, 'msg', error)})"


_SPACE = re.compile(r"[ \t\r\n]*")


def _array(path: str | Path, data: bytes) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ElusiveError(f"{path}, line {line}: not UTF-8 text ({error.reason})") from error
    decode = json.JSONDecoder().raw_decode
    position, line, seen = text.index("[") + 1, 1, 0
    while True:
        position = _SPACE.match(text, position).end()
        line, seen = line + text.count("\n", seen, position), position
        if position >= len(text):
            raise ElusiveError(f"{path}, line {line}: cut off: the array does not end; copy the file again")
        if text[position] == "]":
            return
        try:
            found, position = decode(text, position)
        except json.JSONDecodeError as error:
            raise ElusiveError(f"{path}, line {error.lineno}: cut off or not valid JSON ({error.msg})") from error
        if not isinstance(found, dict):
            raise ElusiveError(f"{path}, line {line}: no JSON object, but {type(found).__name__}")
        yield line, found
        position = _SPACE.match(text, position).end()
        if position < len(text) and text[position] == ",":
            position += 1


def document(path: str | Path) -> dict[str, Any]:
    """The object of a file that is one JSON document. Raises :class:`ElusiveError`."""
    with open_bytes(path) as stream:
        data = stream.read()
    try:
        found = json.loads(data)
    except ValueError as error:
        raise ElusiveError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(found, dict):
        raise ElusiveError(f"{path}: no JSON object")
    return found
