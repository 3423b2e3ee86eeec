"""Results that a configuration no longer has: files of benchmarks, models and families that were taken out of it.

A file is one of these where a rule's path with wildcards fits it, and the values of the wildcards are none of the
configuration's. Nothing else below the results is looked at, and nothing outside of them.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from elusive.configuration.registry import Registry
from elusive.errors import ElusiveError
from elusive.files import atomic_path

_WILDCARD = re.compile(r"\{(\w+)(?:,[^{}]*(?:\{[^{}]*\}[^{}]*)*)?\}")
_HEAD = """\
# Results that the configuration no longer has. Nothing was removed by writing this;
# `snakemake --cores 1 remove_leftovers`, with the same --configfile, removes them.
"""


def find(registry: Registry, patterns: Iterable[str], results: Path) -> list[Path]:
    """Files and directories below ``results`` that fit one of ``patterns`` with other names than the configuration's.

    Patterns have the wildcards ``model``, ``checkpoint``, ``benchmark`` and ``family``, or others, which do not matter.
    """
    found: set[Path] = set()
    for pattern in sorted({_WILDCARD.sub(r"{\1}", pattern) for pattern in patterns}):
        path = Path(pattern)
        if not {"model", "benchmark", "family"} & set(_WILDCARD.findall(pattern)) or results not in path.parents:
            continue
        fits = re.compile(_regex(pattern))
        for candidate in results.parent.glob(_glob(str(path.relative_to(results.parent)))):
            match = fits.fullmatch(str(candidate))
            if match and not _is_asked_for(registry, match.groupdict()):
                found.add(candidate)
    # Of a directory and what is in it the directory is enough.
    return sorted(path for path in found if not found & set(path.parents))


def _regex(pattern: str) -> str:
    names: set[str] = set()
    parts = []
    for number, part in enumerate(_WILDCARD.split(pattern)):
        if number % 2 == 0:
            parts.append(re.escape(part))
        else:
            # No name begins with a dot: such are files in the making.
            parts.append(f"(?P={part})" if part in names else f"(?P<{part}>[^/.][^/]*)")
            names.add(part)
    return "".join(parts)


def _glob(pattern: str) -> str:
    # A name may hold what has a meaning in patterns.
    return "".join(
        "*" if n % 2 else re.sub(r"([*?[])", r"[\1]", part) for n, part in enumerate(_WILDCARD.split(pattern))
    )


def _is_asked_for(registry: Registry, names: Mapping[str, str]) -> bool:
    model, checkpoint = names.get("model"), names.get("checkpoint")
    if model is not None:
        if model not in registry.models:
            return False
        if checkpoint is not None and checkpoint not in {c.name for c in registry.models[model].checkpoints}:
            return False
    if names.get("family", next(iter(registry.families))) not in registry.families:
        return False
    return names.get("benchmark", next(iter(registry.benchmarks))) in registry.benchmarks


def write_list(paths: Iterable[Path], output: Path) -> str:
    """Write the paths with their sizes to ``output``; returns what was written, or says that there are none."""
    sizes = {path: _size(path) for path in paths}
    lines = [f"{size:>14,}  {path}" for path, size in sizes.items()]
    text = f"{_HEAD}# {len(lines)} files and directories, {sum(sizes.values()) / 1e9:.3f} GB\n"
    text += "".join(f"{line}\n" for line in lines)
    with atomic_path(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return text


def remove(paths: Iterable[Path], listed: Path, results: Path) -> int:
    """Remove ``paths`` if the file ``listed`` lists these and no others; returns how many there were.

    Directories that are empty then go too. Raises :class:`ElusiveError` where the list is missing, or is another one:
    it may be of another configuration, or have been read by nobody.
    """
    paths = list(paths)
    try:
        lines = listed.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise ElusiveError(
            f"{listed}: is not there; `snakemake --cores 1 leftovers` writes it, to be read first"
        ) from error
    if {line[16:] for line in lines if not line.startswith("#")} != {str(path) for path in paths}:
        raise ElusiveError(
            f"{listed}: does not list what this configuration leaves over; run `snakemake --cores 1 leftovers` with "
            "the same --configfile, and read it. Nothing was removed"
        )
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        for parent in path.parents:
            if parent == results or any(parent.iterdir()):
                break
            parent.rmdir()
    listed.unlink()
    return len(paths)


def _size(path: Path) -> int:
    """Bytes of a file, or of all files of a directory; links are not followed."""
    if path.is_dir() and not path.is_symlink():
        return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())
    return path.lstat().st_size
