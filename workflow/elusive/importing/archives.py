"""Predictions of OLMES inside tar archives, as DataDecide publishes them: an archive a recipe, maybe archives in it.

A path leads into an archive as if it were unpacked: ``models/c4.tar.gz/1B/seed-14/{checkpoint}``. The archive is
streamed once. The predictions that are asked for are written beside the index, compressed; all else is passed over.
"""

from __future__ import annotations

import contextlib
import fnmatch
import gzip
import os
import shutil
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath, PurePosixPath
from typing import IO, Any

from elusive import logs
from elusive.errors import ElusiveError
from elusive.files import atomic_path
from elusive.importing import olmes

logger = logs.get(__name__)

_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.zst")


def inside(path: str) -> tuple[str, str] | None:
    """The archive that ``path`` leads into, and the folder in it; None for any other path."""
    if os.path.exists(path) and not (os.path.isfile(path) and path.endswith(_SUFFIXES)):
        return None
    for folder in (PurePath(path), *PurePath(path).parents):
        if os.path.isfile(folder):
            return str(folder), PurePath(path).relative_to(folder).as_posix()
    return None


def members(archive: str) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    """Path and content of every file in an archive and in the archives in it, in their order.

    The path of what lies in an inner archive goes on behind the folder of that. Raises :class:`ElusiveError`.
    """
    with _reading(archive), tarfile.open(archive, mode="r|*") as opened:
        yield from _members(opened, PurePosixPath())


@contextlib.contextmanager
def _reading(archive: str) -> Iterator[None]:
    """Errors of an archive that is cut off or damaged, named; also what comes while a member's content is read."""
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise ElusiveError(f"{archive}: not a readable archive ({error}); it may be cut off") from error


def _members(opened: tarfile.TarFile, folder: PurePosixPath) -> Iterator[tuple[PurePosixPath, IO[bytes]]]:
    for member in opened:
        content: Any = opened.extractfile(member) if member.isfile() else None
        if content is None:
            continue
        path = folder / PurePosixPath(member.name)
        if path.name.endswith(_SUFFIXES):
            with tarfile.open(fileobj=content, mode="r|*") as inner:
                yield from _members(inner, path.parent / path.name.split(".tar")[0].removesuffix(".tgz"))
        else:
            yield path, content


def unpack(
    archive: str, folders: Mapping[str, str], patterns: Sequence[str], target: str | os.PathLike[str]
) -> dict[str, list[str]]:
    """Write predictions and metrics of the tasks ``patterns`` to ``target``, a folder a checkpoint; returns the files.

    ``folders`` maps names of checkpoints to folders in the archive, of which the first parts may be left out, as long
    as what is left fits one folder alone. Requests that lie beside the archive, or further up, get a name in
    ``target``.
    """
    shutil.rmtree(target, ignore_errors=True)
    wanted = {name: PurePosixPath(folder).parts for name, folder in folders.items()}
    found: dict[str, list[str]] = {name: [] for name in folders}
    origins: dict[str, PurePosixPath] = {}
    for path, content in members(archive):
        kind = next((kind for kind in ("predictions.jsonl", "metrics.json") if f"-{kind}" in path.name), None)
        task = olmes.task_name(path.name)
        if kind is None or not any(task == pattern or fnmatch.fnmatchcase(task, pattern) for pattern in patterns):
            continue
        for name, parts in wanted.items():
            if path.parent.parts[len(path.parent.parts) - len(parts) :] == parts:
                if (origin := origins.setdefault(name, path.parent)) != path.parent:
                    raise ElusiveError(
                        f"{archive}: {folders[name]!r} fits {str(origin)!r} and {str(path.parent)!r} in it: write more "
                        "of the path, from the first folder that tells them apart"
                    )
                file = Path(target) / name / f"{path.name.removesuffix('.gz')}.gz"
                with atomic_path(file) as temporary, temporary.open("wb") as raw:
                    plain: Any = gzip.GzipFile(fileobj=content) if path.name.endswith(".gz") else content
                    with (
                        _reading(archive),
                        gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as compressed,
                    ):
                        shutil.copyfileobj(plain, compressed, 1 << 20)
                found[name].append(str(file))
    for folder in Path(archive).resolve().parents:
        if (folder / "requests").is_dir():
            Path(target).mkdir(parents=True, exist_ok=True)
            (Path(target) / "requests").symlink_to(folder / "requests")
            break
    logger.info("%s: took %d files", archive, sum(map(len, found.values())))
    return {name: sorted(files) for name, files in found.items()}


def contents(archive: str) -> Counter[str]:
    """Folder in the archive -> number of files of predictions in it."""
    return Counter(str(path.parent) for path, _ in members(archive) if "-predictions.jsonl" in path.name)
