"""A checkpoint's directory in Hugging Face format: what must be there, and which weights they are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from elusive.errors import ElusiveError
from elusive.files import sha256_files

CONFIG = "config.json"
#: Says where downloaded weights come from: repository, revision as asked for, and the commit that it was; and whether
#: they were left out, since no table needs them.
SOURCE = "source.json"
TOKENIZER = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
#: Any of these is a tokenizer of its own, the other files only add to it.
TOKENIZER_ESSENTIAL = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "vocab.txt",
)
#: Weights in the order in which they are looked for. An index names the files that hold them.
WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin", "*.index.json")


@dataclass(frozen=True)
class CheckpointDirectory:
    """A directory in Hugging Face format.

    ``revision`` is the hub's commit of downloaded weights, else SHA-256 over the files that matter, as ``tokenizer``
    is over the tokenizer's. Without ``has_weights`` the directory stands for a commit whose weights nobody needs.
    """

    directory: Path
    revision: str
    tokenizer: str
    has_weights: bool = True

    @classmethod
    def open(cls, directory: Path, revision: str | None = None, repo: str | None = None) -> CheckpointDirectory:
        """Check that the directory has a configuration, weights and a tokenizer, and find out its revision.

        Downloaded weights must be those of ``repo`` at ``revision`` as asked for, where these are given. For other
        directories ``revision`` replaces the hash. Raises :class:`ElusiveError`.
        """
        if not directory.is_dir():
            raise ElusiveError(f"{directory}: there is no such checkpoint directory")
        if repo is not None and lacks_weights(directory):
            return cls(directory, _commit(directory, repo, revision), sha256_files(_tokenizer(directory)), False)
        if not (directory / CONFIG).is_file():
            raise ElusiveError(f"{directory}: has no {CONFIG}, so it is no checkpoint in Hugging Face format")
        weights = _weights(directory)
        if not any(path.suffix in (".safetensors", ".bin") for path in weights):
            raise ElusiveError(f"{directory}: has no weights (*.safetensors or pytorch_model*.bin)")
        tokenizer = _tokenizer(directory)
        if not any(path.name in TOKENIZER_ESSENTIAL for path in tokenizer):
            raise ElusiveError(f"{directory}: has no tokenizer (one of {', '.join(TOKENIZER_ESSENTIAL)})")
        if repo is not None:
            revision = _commit(directory, repo, revision)
        else:
            revision = revision or sha256_files(decisive_files(directory))
        return cls(directory, revision, sha256_files(tokenizer))


def lacks_weights(directory: Path) -> bool:
    """Whether ``directory`` is one of the hub's whose weights were left out, since every table was there."""
    try:
        return json.loads((directory / SOURCE).read_text(encoding="utf-8")).get("weights") is False
    except (OSError, ValueError, AttributeError):
        return False


def decisive_files(directory: Path) -> list[Path]:
    """The files of a checkpoint that decide its scores, as far as they exist.

    They are its configuration, weights and tokenizer, and its code, which is run where a model's entry trusts it.
    """
    files = (directory / CONFIG, *_weights(directory), *_tokenizer(directory), *sorted(directory.glob("*.py")))
    return [path for path in files if path.is_file()]


def _weights(directory: Path) -> list[Path]:
    return sorted({path for pattern in _WEIGHTS for path in directory.glob(pattern)})


def _tokenizer(directory: Path) -> list[Path]:
    return [path for name in TOKENIZER if (path := directory / name).is_file()]


def _commit(directory: Path, repo: str, revision: str | None) -> str:
    """The commit that ``directory`` was downloaded from, if that is what was asked for."""
    path = directory / SOURCE
    try:
        source = json.loads(path.read_text(encoding="utf-8"))
        found, commit = (source["repo"], source["revision"]), source["commit"]
    except FileNotFoundError as error:
        raise ElusiveError(f"{directory}: has no {SOURCE}, so it is not known which commit of {repo} it is") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ElusiveError(f"{path}: is damaged; remove {directory} and run the workflow again") from error
    if found != (repo, revision):
        raise ElusiveError(
            f"{directory}: holds {found[0]} at {found[1]}, but {repo} at {revision} is asked for; remove it and run "
            "the workflow again"
        )
    return commit
