"""Which modules of this package a script runs, and a digest of them.

Snakemake notices that a script changed, but not a module that it imports. The digest is a parameter of every rule whose
results are cheap to make again, so that these follow the code. It is worked out whenever Snakemake parses the workflow,
in a few milliseconds: imports are found by a pattern, for the language's own parser takes a hundred times as long.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

LIBRARY = Path(__file__).parent
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(elusive[\w.]*)[ \t]+import[ \t]*(\([^)]*\)|[^\n(]+)|import[ \t]+(elusive[\w.]*))",
    re.MULTILINE,
)
_NAME = re.compile(r"(\w+)(?:[ \t]+as[ \t]+\w+)?")


def digest(script: Path) -> str:
    """Hex SHA-256 over the files that ``script`` depends on, without the script itself: see :func:`files`."""
    result = hashlib.sha256()
    for path in files(script):
        result.update(f"{path.relative_to(LIBRARY)}\0{_sha256(path)}\n".encode())
    return result.hexdigest()


def files(script: Path) -> list[Path]:
    """The package's modules that ``script`` imports, directly or through others, and the data files beside them.

    Imports inside functions count. Data files are those of a module's folder that are no Python, such as templates.
    """
    found: set[Path] = set()
    waiting = list(_imported(script))
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += _imported(path)
    folders = {path.parent for path in found}
    return sorted(found.union(*(_data_files(folder) for folder in folders)))


@functools.cache
def _imported(path: Path) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(_resolve(path.read_text(encoding="utf-8"))))


def _resolve(source: str) -> Iterator[Path]:
    for package, names, plain in _IMPORT.findall(source):
        module = (package or plain).split(".")[1:]
        yield from _modules(LIBRARY.joinpath(*module))
        for name in _NAME.findall(re.sub(r"#.*", "", names)):
            yield from _modules(LIBRARY.joinpath(*module, name))


@functools.cache
def _modules(path: Path) -> tuple[Path, ...]:
    """The file of the module or package at ``path``, if it is one and not a name inside of one."""
    return tuple(file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file())


@functools.cache
def _data_files(folder: Path) -> frozenset[Path]:
    return frozenset(path for path in folder.iterdir() if path.is_file() and path.suffix not in (".py", ".pyc"))


@functools.cache
def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
