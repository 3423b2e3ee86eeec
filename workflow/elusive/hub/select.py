"""Which files of a repository a checkpoint needs: configuration, tokenizer, and one set of weights.

The order of preference is that of transformers, but safetensors always come before pickled weights: a single file, then
shards, which an index names. Nothing else is downloaded, and code (``*.py``) only where a model's entry trusts it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from pathlib import PurePosixPath

from elusive.configuration.directory import CONFIG, TOKENIZER, TOKENIZER_ESSENTIAL, WEIGHTS
from elusive.errors import ElusiveError

_SHOWN = 12


def needed_files(files: Collection[str], trust_remote_code: bool, origin: str) -> list[str]:
    """Names of the files to download, the weights' last; an index stands for its shards (:func:`shards`).

    ``origin`` begins the message of the :class:`ElusiveError` that a repository without configuration, tokenizer or
    weights gets.
    """
    if CONFIG not in files:
        raise ElusiveError(f"{origin}: has no {CONFIG}, so it is no model for transformers; {_listed(files)}")
    tokenizer = [name for name in TOKENIZER if name in files]
    if not set(tokenizer) & set(TOKENIZER_ESSENTIAL):
        raise ElusiveError(f"{origin}: has no tokenizer (one of {', '.join(TOKENIZER_ESSENTIAL)}); {_listed(files)}")
    weights = next((name for name in WEIGHTS if name in files), None)
    if weights is None:
        raise ElusiveError(f"{origin}: has no weights (one of {', '.join(WEIGHTS)}); {_listed(files)}")
    code = sorted(name for name in files if name.endswith(".py") and "/" not in name) if trust_remote_code else []
    return [CONFIG, *tokenizer, *code, weights]


def is_index(name: str) -> bool:
    """Whether the file names others that hold the weights."""
    return name.endswith(".index.json")


def shards(index: bytes, name: str, files: Collection[str], origin: str) -> list[str]:
    """Files that the index ``name`` with content ``index`` names; :class:`ElusiveError` where one is not there."""
    try:
        named = sorted(set(json.loads(index)["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ElusiveError(f"{origin}: {name} is no index of weights (a mapping 'weight_map' to files)") from error
    if strange := [shard for shard in named if not isinstance(shard, str) or PurePosixPath(shard).name != shard]:
        raise ElusiveError(f"{origin}: {name} names {strange[0]!r}, which is no file beside it")
    if missing := [shard for shard in named if shard not in files]:
        raise ElusiveError(f"{origin}: {name} names {', '.join(missing)}, which the repository has not")
    return named


def _listed(files: Iterable[str]) -> str:
    names = sorted(files)
    more = f", … {len(names)} in all" if len(names) > _SHOWN else ""
    return f"its files are: {', '.join(names[:_SHOWN]) or 'none'}{more}"
