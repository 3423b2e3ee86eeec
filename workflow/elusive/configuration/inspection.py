"""A local checkpoint's directory, looked at before anything runs: what keeps it from being scored, and its parameters.

Directories, file lists, small JSON files and the headers of safetensors are read, no tensor and nothing that could be
run. What is found here would otherwise surface when the checkpoint is loaded, hours later. Loading checks again, and
more: a checkpoint of which nothing is said here may still be refused there.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import json
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elusive.configuration import architectures
from elusive.configuration.directory import CONFIG, TOKENIZER_ESSENTIAL, WEIGHTS
from elusive.configuration.headers import LFS_POINTER, Tensor, read_header, same_content
from elusive.errors import ElusiveError

ADAPTER = "adapter_config.json"

_NO_CAUSAL_HEAD = re.compile(
    r"For(SequenceClassification|TokenClassification|QuestionAnswering|MultipleChoice|NextSentencePrediction)$"
)
#: What training programs put before the names of a model's own tensors.
_WRAPPERS = {
    "_orig_mod": "torch.compile",
    "module": "DistributedDataParallel",
    "_fsdp_wrapped_module": "FullyShardedDataParallel",
    "_forward_module": "Lightning Fabric",
}
_PACKED = ("I8", "U8", "I16", "U16", "I32", "U32", "F4", "F6_E2M3", "F6_E3M2")
_POSITIONS = ("wpe.weight", "embed_positions.weight", "position_embeddings.weight", "positions_embed.weight")
_LENGTHS = ("n_positions", "max_position_embeddings", "n_ctx")
_SENTENCEPIECE = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
_SHOWN = 8


@dataclass(frozen=True)
class Inspection:
    """What a directory says.

    ``problems`` are the reasons why it cannot be scored, each the rest of a sentence that begins with the directory.
    ``parameters`` are all of them, tied weights once, None where they cannot be told; ``certain`` says that this is
    what torch would count. ``weights`` identify the files that hold the weights, by device and inode.
    """

    problems: tuple[str, ...] = ()
    parameters: int | None = None
    certain: bool = False
    weights: frozenset[tuple[int, int]] = frozenset()


class _Problem(Exception):
    """What is wrong, as a part of a sentence."""


@dataclass
class _Weights:
    """The files that transformers would load, and the tensors in them with the file of each; none of pickled ones."""

    files: list[Path] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    places: dict[str, Path] = field(default_factory=dict)

    def same(self, one: str, other: str) -> bool:
        """Whether two tensors hold the same numbers."""
        return same_content((self.places[one], self.tensors[one]), (self.places[other], self.tensors[other]))


def inspect(directory: Path, trust_remote_code: bool = False, max_length: int | None = None) -> Inspection:
    """Look at the checkpoint in ``directory``, which is to be fed ``max_length`` tokens at most (None: its own length).

    Never raises: what is wrong is among the problems.
    """
    try:
        names = frozenset(os.listdir(directory))
    except OSError as error:
        return Inspection((f"cannot be read: {error.strerror}",))
    problems: list[str] = []
    config: dict[str, Any] | None = None
    weights: _Weights | None = None
    try:
        problems += _adapter_problems(names)
        if CONFIG in names:
            config = _read_json(directory / CONFIG)
            problems += _config_problems(config, names, trust_remote_code)
        elif ADAPTER not in names:
            problems.append(f"has no {CONFIG}: it is no checkpoint in Hugging Face format")
    except _Problem as problem:
        problems.append(str(problem))
    if CONFIG in names:
        try:
            weights = _read_weights(directory, names)
            problems += _name_problems(weights.tensors)
        except _Problem as problem:
            problems.append(str(problem))
        try:
            problems += _tokenizer_problems(directory, names, config or {})
        except _Problem as problem:
            problems.append(str(problem))
    if problems or config is None or weights is None:
        return Inspection(tuple(problems))
    return _measured(weights, config, trust_remote_code, max_length)


def _measured(weights: _Weights, config: dict[str, Any], trust_remote_code: bool, max_length: int | None) -> Inspection:
    """What the tensors of a directory without other problems say."""
    identity = frozenset((status.st_dev, status.st_ino) for status in map(os.stat, weights.files))
    if not weights.tensors:
        return Inspection(weights=identity)
    known = None if _has_own_code(config) and trust_remote_code else _architecture(config)
    certain = known is not None and known.counted
    problems: list[str] = []
    if certain:
        problems += architectures.contradictions(weights.tensors, config, known)
    problems += _length_problems(weights.tensors, config, max_length)
    count = architectures.parameters(weights.tensors, config, known or architectures.Architecture(), weights.same)
    return Inspection(tuple(problems), count, certain, identity)


def _architecture(config: Mapping[str, Any]) -> architectures.Architecture | None:
    return architectures.load()[1].get(str(config.get("model_type")))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
        if content.startswith(LFS_POINTER):
            raise _Problem(_pointer(path.name))
        value = json.loads(content)
    except OSError as error:
        raise _Problem(f"has a {path.name} that cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise _Problem(f"has a {path.name} that is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise _Problem(f"has a {path.name} that is no JSON object")
    return value


def _pointer(name: str) -> str:
    return f"has a pointer of Git LFS in place of {name}: run `git lfs pull` where it was cloned"


def _adapter_problems(names: frozenset[str]) -> Iterator[str]:
    if ADAPTER in names:
        merge = "merge it first (PEFT's model.merge_and_unload(), then save_pretrained()) and give that directory"
        if CONFIG in names:
            yield f"has an adapter ({ADAPTER}), which would not be applied: {merge}; if that is done, remove {ADAPTER}"
        else:
            yield f"is an adapter ({ADAPTER}) without its model: {merge}"


def _has_own_code(config: Mapping[str, Any]) -> bool:
    auto_map = config.get("auto_map")
    return isinstance(auto_map, dict) and "AutoModelForCausalLM" in auto_map


def _config_problems(config: dict[str, Any], names: frozenset[str], trust_remote_code: bool) -> Iterator[str]:
    """Why a model of this configuration is not scored."""
    if config.get("quantization_config"):
        settings = config["quantization_config"]
        method = settings.get("quant_method", "of an unknown kind") if isinstance(settings, dict) else settings
        yield (
            f"is quantised (quantization_config in {CONFIG}: {method}), and quantised weights are not scored: give the "
            "directory of the weights before quantisation"
        )
    if config.get("is_encoder_decoder"):
        yield f"is a model with encoder and decoder (is_encoder_decoder in {CONFIG}); only causal ones are scored"
        return
    heads = config.get("architectures")
    heads = [str(head) for head in heads] if isinstance(heads, list) else []
    for head in heads:
        if _NO_CAUSAL_HEAD.search(head):
            yield f"is a {head}, which has no language model's output layer: give the language model's directory"
            return
        if head.endswith("ForMaskedLM") and not config.get("is_decoder"):
            yield f"is a {head}, which sees the tokens that it would have to predict; only causal models are scored"
            return
    model_type = config.get("model_type") or None
    if model_type is not None and not isinstance(model_type, str):
        yield f"has a {CONFIG} whose model_type is no text: {model_type!r}"
        return
    version, known = architectures.load()
    if _has_own_code(config) and (trust_remote_code or model_type not in known):
        yield from _code_problems(str(config["auto_map"]["AutoModelForCausalLM"]), names, trust_remote_code)
    elif model_type is None:
        yield f"has a {CONFIG} without model_type, so nothing says what model it is"
    elif model_type not in known and _installed("transformers") == version:
        yield f"is a model of type {model_type!r}, of which transformers {version} has no causal language model"


def _code_problems(reference: str, names: frozenset[str], trust_remote_code: bool) -> Iterator[str]:
    repository, dashes, inside = reference.rpartition("--")
    file = f"{inside.split('.')[0]}.py"
    if not trust_remote_code:
        yield (
            f"needs code of its own ({file}): add `trust_remote_code: true` to the model if you trust it like your own "
            "programs"
        )
    elif dashes:
        yield f"names code of another repository ({repository}): copy its {file} into the directory, and name it there"
    elif file not in names:
        yield f"names code of its own, {file}, which is not there"


@functools.cache
def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _read_weights(directory: Path, names: frozenset[str]) -> _Weights:
    """The weights that transformers would take."""
    both = [name for name in WEIGHTS[:2] if name in names]
    if len(both) == 2:
        raise _Problem(f"has {both[0]} and {both[1]}, which are two sets of weights: remove the one that is not meant")
    name = next((name for name in WEIGHTS if name in names), None)
    if name is None:
        others = sorted(other for other in names if other.endswith((".safetensors", ".bin", ".pt", ".pth", ".gguf")))
        found = f"; {', '.join(others[:_SHOWN])} is not loaded" if others else ""
        raise _Problem(f"has no weights (one of {', '.join(WEIGHTS)}){found}")
    files = _shards(directory, name, names) if name.endswith(".index.json") else [directory / name]
    weights = _Weights(files)
    for file in files:
        if file.suffix != ".safetensors":
            _check_pickled(file)
            continue
        try:
            header = read_header(file)
        except ElusiveError as error:
            raise _Problem(f"holds {file.name}, which {str(error).removeprefix(f'{file}: ')}") from error
        for tensor in header:
            if tensor in weights.places:
                raise _Problem(f"has {tensor} twice, in {weights.places[tensor].name} and {file.name}")
            weights.places[tensor] = file
        weights.tensors |= header
    if name == WEIGHTS[1]:
        missing = sorted(set(_read_json(directory / name)["weight_map"]) - set(weights.tensors))
        if missing:
            raise _Problem(f"has shards without tensors that {name} names: {', '.join(missing[:_SHOWN])}")
    return weights


def _shards(directory: Path, name: str, names: frozenset[str]) -> list[Path]:
    named = _read_json(directory / name).get("weight_map")
    if not isinstance(named, dict) or not named or not all(isinstance(file, str) for file in named.values()):
        raise _Problem(f"has a {name} that is no index of weights (a mapping 'weight_map' to files)")
    files = sorted(set(named.values()))
    if missing := [file for file in files if file not in names]:
        raise _Problem(f"lacks {', '.join(missing[:_SHOWN])}, which {name} names")
    return [directory / file for file in files]


def _check_pickled(file: Path) -> None:
    """Raise where a pickled file is empty, cut off or a pointer; its content stays unread."""
    try:
        with file.open("rb") as opened:
            start = opened.read(len(LFS_POINTER))
    except OSError as error:
        raise _Problem(f"has a {file.name} that cannot be read: {error.strerror}") from error
    if start == LFS_POINTER:
        raise _Problem(_pointer(file.name))
    if not start:
        raise _Problem(f"holds {file.name}, which is empty")
    # torch writes zip files, which have their table of contents at the end.
    if start.startswith(b"PK") and not zipfile.is_zipfile(file):
        raise _Problem(f"holds {file.name}, which is cut off or damaged")


def _name_problems(tensors: Mapping[str, Tensor]) -> Iterator[str]:
    """What names and types of tensors betray."""
    adapters = [name for name in tensors if name.startswith("base_model.model.") or ".lora_" in name]
    if adapters:
        yield f"has tensors of an adapter ({adapters[0]}, …): merge it into the model first, and save that"
        return
    for part, program in _WRAPPERS.items():
        wrapped = [name for name in tensors if name.startswith(f"{part}.") or f".{part}." in name]
        # Within a name `module` may be the model's own.
        if wrapped and (part != "module" or all(name.startswith("module.") for name in tensors)):
            yield (
                f"has tensors whose names {program} has changed ({wrapped[0]}, …), so that they would not be loaded: "
                f"save the model inside, or take {part + '.'!r} out of the names"
            )
            return
    packed = [
        name
        for name, tensor in tensors.items()
        if tensor.dtype.startswith("F8")
        or (tensor.dtype in _PACKED and len(tensor.shape) == 2 and not name.endswith((".bias", "mask")))
    ]
    if packed:
        yield (
            f"has quantised weights ({packed[0]} is {tensors[packed[0]].dtype}), which are not scored: give the "
            "directory of the weights before quantisation"
        )


def _length_problems(tensors: Mapping[str, Tensor], config: Mapping[str, Any], max_length: int | None) -> Iterator[str]:
    positions = next((name for name in tensors if name.endswith(_POSITIONS)), None)
    length = next((config[key] for key in _LENGTHS if isinstance(config.get(key), int)), None)
    if max_length is not None and positions is not None and length is not None and max_length > length:
        yield f"has {length} positions ({positions}), so it cannot be fed max_length = {max_length} tokens"


def _tokenizer_problems(directory: Path, names: frozenset[str], config: Mapping[str, Any]) -> Iterator[str]:
    """Why the tokenizer cannot be read."""
    if not names & set(TOKENIZER_ESSENTIAL):
        some = ", ".join(TOKENIZER_ESSENTIAL)
        yield f"has no tokenizer (one of {some}): save it there too, with tokenizer.save_pretrained()"
        return
    settings = _read_json(directory / "tokenizer_config.json") if "tokenizer_config.json" in names else {}
    if "tokenizer.json" in names:
        yield from _whole(directory / "tokenizer.json")
        return
    pieces = next((name for name in _SENTENCEPIECE if name in names), None)
    if pieces is not None:
        yield from _sentencepiece_problems(directory / pieces, settings, config)
    elif "vocab.json" in names and "merges.txt" not in names:
        yield "has a vocab.json without its merges.txt: save the tokenizer again, with tokenizer.save_pretrained()"


def _whole(path: Path) -> Iterator[str]:
    """What the ends of a JSON file betray: it may be too large to be read each time."""
    try:
        with path.open("rb") as file:
            start = file.read(len(LFS_POINTER))
            file.seek(max(0, os.fstat(file.fileno()).st_size - 64))
            end = file.read()
    except OSError as error:
        raise _Problem(f"has a {path.name} that cannot be read: {error.strerror}") from error
    if start == LFS_POINTER:
        yield _pointer(path.name)
    elif not start.lstrip().startswith(b"{") or not end.rstrip().endswith(b"}"):
        yield f"holds {path.name}, which is cut off or damaged"


def _sentencepiece_problems(path: Path, settings: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    try:
        with path.open("rb") as file:
            start = file.read(len(LFS_POINTER))
    except OSError as error:
        raise _Problem(f"has a {path.name} that cannot be read: {error.strerror}") from error
    if start == LFS_POINTER:
        yield _pointer(path.name)
        return
    save = "load it where it can be read and save it with tokenizer.save_pretrained(), which writes tokenizer.json"
    # The message of a sentencepiece model begins with its first piece, field 1.
    if not start.startswith(b"\n"):
        yield f"has a {path.name} that is no sentencepiece model, and no tokenizer.json: {save}"
        return
    lacking = [
        name
        for name, module in {"sentencepiece": "sentencepiece", "protobuf": "google.protobuf"}.items()
        if not _importable(module)
    ]
    if lacking:
        yield f"has a sentencepiece tokenizer ({path.name}) alone: install {' and '.join(lacking)}, or {save}"
        return
    known = _architecture(config)
    if not (settings.get("tokenizer_class") or config.get("tokenizer_class") or known is None or known.pieces):
        yield (
            f"has {path.name} alone, which a tokenizer of model_type {config.get('model_type')!r} does not read: name "
            f"the one that does as tokenizer_class in tokenizer_config.json, or {save}"
        )


@functools.cache
def _importable(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its package
        return False
