"""Outputs appear under their final name complete or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from elusive.errors import ElusiveError

#: Bytes of a file that is read whenever Snakemake parses the workflow.
_SMALL = 2**16


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` and rename it to ``path`` when the block ends without an error.

    Works for files and directories; an existing directory under the final name is replaced. On any error the
    temporary is removed and the final name is left as it was. A full disk is reported as :class:`ElusiveError`.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    # The suffix is kept, since figure writers choose the format by it.
    holder = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
    temporary = holder / final.name
    try:
        yield temporary
        if temporary.is_file():
            with temporary.open("rb") as handle:
                os.fsync(handle.fileno())
        if final.is_dir() and not final.is_symlink():
            shutil.rmtree(final)
        os.replace(temporary, final)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ElusiveError(
                f"{final}: no space left on the disk; free some and run the same command again"
            ) from error
        raise
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def link(existing: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Give the file ``existing`` the name ``path`` as well, replacing what is there; a copy where links cannot be."""
    with atomic_path(path) as temporary:
        try:
            os.link(existing, temporary)
        except OSError:
            shutil.copy2(existing, temporary)


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Hex SHA-256 of a file's bytes."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_files(paths: list[Path]) -> str:
    """Hex SHA-256 over names and contents of several files, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(paths, key=lambda p: p.name):
        digest.update(f"{path.name}\0{sha256_file(path)}\n".encode())
    return digest.hexdigest()


def identity(path: str | os.PathLike[str]) -> str:
    """What tells a file from another one that is put in its place: its content where it is small, else what the disk
    knows of it. Empty where there is none.
    """
    try:
        about = os.stat(path)
        if about.st_size <= _SMALL:
            return f"{os.path.basename(path)} {sha256_file(path)}"
    except OSError:
        return ""
    return f"{os.path.basename(path)} {about.st_size} {about.st_mtime_ns} {about.st_ino}"
