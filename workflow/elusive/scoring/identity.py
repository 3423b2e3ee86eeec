"""What decides the tokens of a prompt, and the numbers in a table: the keys of caches, and the fingerprints of tables.

Tokens follow from the texts, the tokenizer's files, the class that transformers makes of them, the rules for BOS and
length, and the versions of the libraries. The class follows from the names in the model's configuration, so that models
with equal files may have other tokenizers. Nothing here loads one: a job whose tokens are known does without.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from elusive.configuration.directory import CONFIG, TOKENIZER
from elusive.errors import ElusiveError
from elusive.files import sha256_files
from elusive.scoring.spec import Spec
from elusive.scoring.version import SCORER_VERSION

#: Libraries that turn every text into tokens.
LIBRARIES = ("transformers", "tokenizers")
#: What else reads vocabularies, where there is no tokenizer.json.
_FURTHER_LIBRARIES = ("sentencepiece", "tiktoken")
#: Files of a directory that a tokenizer may be made of, besides those that are known by name.
_TOKENIZER_FILES = ("*tokenizer*", "*.tiktoken", "*.model", "*.vocab", "*.bpe", "tekken*", "vocab*", "merges*")


def prompts_hash(items: pa.Table) -> str:
    """Hex SHA-256 over what is scored of an items table: contexts, continuations and numbers of choices, in order.

    Ids, gold, subjects and clusters have no part in it.
    """
    columns = [items[name].to_pylist() for name in ("contexts", "continuations", "num_choices")]
    return _hash(columns)


def fingerprint(spec: Spec, revision: str, prompts: str, unconditional: bool) -> str:
    """Hex SHA-256 over what decides a table's numbers, the versions of :func:`libraries` apart.

    ``revision`` stands for the checkpoint's files, its tokenizer's among them; ``prompts`` is :func:`prompts_hash`.
    """
    decisive = _protocol(spec, revision, unconditional) | {"prompts": prompts}
    # Code beside the weights is run in place of transformers' own where it is trusted.
    return _hash(decisive | ({"trust_remote_code": True} if spec.trust_remote_code else {}))


def fingerprint_by_items(spec: Spec, revision: str, items: str, protocol: str, unconditional: bool) -> str:
    """The fingerprint of tables whose metadata have no ``prompts``: over the whole content ``items`` of the table.

    Such tables name the version of transformers alone.
    """
    return _hash(_protocol(spec, revision, unconditional) | {"items": items, "protocol": protocol})


def _protocol(spec: Spec, revision: str, unconditional: bool) -> dict[str, Any]:
    return {
        "revision": revision,
        "dtype": spec.dtype,
        "add_bos_token": spec.add_bos_token,
        "max_length": spec.max_length,
        "scorer": SCORER_VERSION,
        **({"unconditional": True} if unconditional else {}),
    }


def libraries(directory: Path) -> dict[str, str]:
    """Name -> version of the libraries that turn text into tokens for the checkpoint in ``directory``."""
    names = list(LIBRARIES)
    if not (directory / "tokenizer.json").is_file():
        names += [name for name in _FURTHER_LIBRARIES if version(name)]
    return {name: version(name) for name in names}


def are_installed(versions: Mapping[str, str]) -> bool:
    """Whether the libraries that a table names are there, in the versions that it names."""
    return all(version(name) == number for name, number in versions.items())


@functools.cache
def version(name: str) -> str:
    """Version of an installed package, empty where there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def tokenizer_identity(directory: Path, trust_remote_code: bool) -> dict[str, Any]:
    """All that decides which tokenizer :func:`~elusive.scoring.loading.load_tokenizer` makes of a directory's files.

    Numbers and lists of the model's configuration choose no class and are left out, so that the sizes of a series of
    models share their tokens. Raises :class:`ElusiveError` where the configuration cannot be read.
    """
    path = directory / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ElusiveError(f"{path}: not readable as JSON: {error}") from error
    files = {directory / name for name in TOKENIZER}
    files |= {found for pattern in _TOKENIZER_FILES for found in directory.glob(pattern)}
    if trust_remote_code:
        files |= set(directory.glob("*.py"))
    return {
        "files": sha256_files([file for file in files if file.is_file()]),
        "config": _names(config),
        "trust_remote_code": trust_remote_code,
        "libraries": libraries(directory),
    }


def _names(config: Any) -> Any:
    """The entries of a configuration that are text or truth values, those of its parts included."""
    if not isinstance(config, dict):
        return None
    kept = {key: value for key, value in config.items() if isinstance(value, str | bool) and key != "_name_or_path"}
    return kept | {key: _names(value) for key, value in config.items() if isinstance(value, dict)}


def _hash(value: Mapping[str, Any] | Sequence[Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
