"""Whether a model is what its files say: every tensor of the model from the files, every tensor of the files in it.

transformers loads what it can: weights that are missing are drawn at random, those that it does not know are left out,
an adapter beside them is passed over, and the result computes. Here the files are read once more, apart from it: which
tensors they hold, of what shape and type, and whether the model has their values. What is missing, of another shape,
there twice or there for another kind of model is refused by name.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elusive.configuration.headers import read_header
from elusive.errors import ElusiveError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

CONFIG = "config.json"
_SINGLE = ("model.safetensors", "pytorch_model.bin")
_INDEX = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_ADAPTER = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")
#: Shards of torch's distributed checkpoints, which transformers prefers to everything else.
_DISTRIBUTED = re.compile(r"shard-\d{5}-model-\d{5}-of-\d{5}\.safetensors")
_QUANTIZED = ("quantization_config", "compression_config")
#: What the classes of transformers are called that have another output than the next token's logits.
_OTHER_TASK = re.compile(
    r"For(SequenceClassification|TokenClassification|QuestionAnswering|MultipleChoice|MaskedLM|Reward\w*|"
    r"NextSentencePrediction|ImageClassification|AudioClassification|Pretraining|PreTraining)$"
)
_OTHER_HEAD = re.compile(
    r"^(score|classifier|classification_head|qa_outputs|v_head|value_head|reward_head|regression_head|rm_head)\."
)
_WRAPPED = {
    "_orig_mod.": "as a model saves them that torch.compile has wrapped; save the wrapped one's `_orig_mod`",
    "module.": "as a model saves them that DataParallel, DeepSpeed or an averager has wrapped; save its `module`",
    "base_model.model.": "as PEFT saves them; merge the adapter (`merge_and_unload`) and save the result",
}
_ADAPTED = re.compile(r"\.(lora_[AB]|lora_embedding_[AB]|lora_magnitude_vector|ia3_l|oft_[RS])(\.|$)|\.base_layer\.")
_QUANTIZED_TENSOR = re.compile(
    r"\.(qweight|qzeros|g_idx|weight_scale(_inv)?|weight_packed|absmax|quant_map|quant_state\..*|SCB|input_scale)$"
)
_FLOATS = {"F64", "F32", "F16", "BF16"}
#: What configurations call the number of a decoder's layers. Other keys with layers in their name may exceed it.
_DEPTHS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "num_decoder_layers", "decoder_layers")
#: Values that are compared of each tensor. What was mixed up differs in nearly all of them.
_COMPARED = 256
#: Names in a message, at the most.
_NAMED = 4


@dataclass(frozen=True)
class Entry:
    """A tensor in a safetensors file: its shape, its type as the format names it, and its bytes' place."""

    file: Path
    shape: tuple[int, ...]
    dtype: str
    start: int
    end: int


def check_directory(directory: Path) -> None:
    """Refuse what no model of next tokens can be made of, by configuration and file names alone.

    Raises :class:`ElusiveError`, naming the file, for an adapter that is not merged, quantised weights, an
    encoder-decoder, a model with another output, and files that would be loaded without being part of the checkpoint.
    """
    names = sorted(path.name for path in directory.iterdir())
    if adapter := [name for name in _ADAPTER if name in names]:
        raise ElusiveError(
            f"{directory / adapter[0]}: an adapter lies beside the weights, and would not be used: merge the adapter "
            "first (PEFT's merge_and_unload, then save_pretrained into another directory), or take the file away to "
            "score the model without it"
        )
    if shards := [name for name in names if _DISTRIBUTED.fullmatch(name)]:
        raise ElusiveError(
            f"{directory / shards[0]}: a distributed checkpoint's shard, which transformers would load in place of the "
            "other weights; save the model by save_pretrained without distributed_checkpoint"
        )
    path = directory / CONFIG
    config = read_config(path)
    for where, part in (("", config), *((f"{k}.", v) for k, v in config.items() if isinstance(v, dict))):
        for key in _QUANTIZED:
            if part.get(key):
                how = part[key].get("quant_method", "") if isinstance(part[key], dict) else ""
                raise ElusiveError(
                    f"{path}: {where}{key}{f' ({how})' if how else ''}: the weights are quantised, which is another "
                    "model than the one they were made from and is not supported; use weights in float32, bfloat16 or "
                    "float16"
                )
    if config.get("is_encoder_decoder") is True:
        raise ElusiveError(
            f"{path}: is_encoder_decoder: an encoder-decoder model ({config.get('model_type')}) gives its choices "
            "other probabilities than a causal language model does, and is not supported"
        )
    classes = config.get("architectures")
    others = [c for c in classes if isinstance(c, str)] if isinstance(classes, list) else []
    if others and all(_OTHER_TASK.search(c) for c in others) and not config.get("is_decoder"):
        raise ElusiveError(
            f"{path}: architectures: {', '.join(others)} has another output than the next token's logits; save it "
            "as a causal language model"
        )


def read_config(path: Path) -> dict[str, Any]:
    """The JSON object of a configuration file; raises :class:`ElusiveError` where it is none."""
    try:
        config = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise ElusiveError(f"{path}: cannot be read as JSON: {error}") from error
    except RecursionError as error:
        raise ElusiveError(f"{path}: cannot be read as JSON: it is nested too deeply") from error
    if not isinstance(config, dict):
        raise ElusiveError(f"{path}: must be a JSON object, not {type(config).__name__}")
    return config


def weight_files(directory: Path, explicit: object = None) -> list[Path]:
    """The files that transformers takes weights from: ``explicit`` (``transformers_weights``), else its first choice.

    Raises :class:`ElusiveError` where an index is damaged or names a file that is not there.
    """
    candidates = [explicit] if isinstance(explicit, str) else [_SINGLE[0], _INDEX[0], _SINGLE[1], _INDEX[1]]
    for name in candidates:
        path = directory / name
        if not path.is_file():
            continue
        if not name.endswith(".index.json"):
            return [path]
        index = read_config(path)
        shards = index.get("weight_map")
        if not isinstance(shards, dict) or not shards or not all(isinstance(s, str) for s in shards.values()):
            raise ElusiveError(f"{path}: has no weight_map from names of tensors to names of files")
        files = [directory / shard for shard in sorted(set(shards.values()))]
        for file in files:
            if not file.is_file():
                raise ElusiveError(f"{path}: names {file.name}, which is not there")
        return files
    return []


def check_depth(directory: Path, config: Mapping[str, Any], headers: Mapping[str, Sequence[Entry]]) -> None:
    """Refuse a configuration of so many layers that making them would take for ever, with few tensors to fill them."""
    for key in _DEPTHS:
        value = config.get(key)
        if isinstance(value, int) and headers and value > 1000 + len(headers):
            raise ElusiveError(
                f"{directory / CONFIG}: {key}: {value} layers, but the files hold {len(headers)} tensors"
            )


def other_sets(directory: Path, used: Sequence[Path]) -> list[str]:
    """Names of weight files of the directory that are not ``used``, where they are of the same format's naming."""
    pattern = re.compile(r"(model|pytorch_model)(-\d{5}-of-\d{5})?\.(safetensors|bin)")
    names = {path.name for path in used}
    suffixes = {path.suffix for path in used}
    return sorted(
        path.name
        for path in directory.iterdir()
        if pattern.fullmatch(path.name) and path.name not in names and path.suffix in suffixes
    )


def check_pickled(files: Sequence[Path]) -> None:
    """Refuse pickled weights in several ``files`` of which two hold a tensor of one name, naming it and them."""
    import torch

    where: dict[str, Path] = {}
    for file in files if len(files) > 1 else []:
        try:
            held = torch.load(file, map_location="meta", weights_only=True, mmap=True)
        except RuntimeError:  # torch's first format, which cannot be mapped
            held = torch.load(file, map_location="meta", weights_only=True)
        for name in held:
            if name in where:
                raise ElusiveError(
                    f"{file.parent}: tensor {name!r} is there twice (in {where[name].name} and in {file.name}), and "
                    "nothing says which one is meant; keep the files of one saving only"
                )
            where[name] = file


def read_headers(files: Iterable[Path]) -> dict[str, list[Entry]]:
    """Every tensor of the safetensors ``files`` by name, with all places where it stands.

    Raises :class:`ElusiveError` for a damaged file, naming it.
    """
    found: dict[str, list[Entry]] = {}
    for file in files:
        for name, tensor in read_header(file).items():
            found.setdefault(name, []).append(Entry(file, tensor.shape, tensor.dtype, tensor.start, tensor.end))
    for name, entries in found.items():
        if len(entries) > 1 and len({_content(entry) for entry in entries}) > 1:
            where = " and in ".join(sorted({entry.file.name for entry in entries}))
            raise ElusiveError(
                f"{entries[0].file.parent}: tensor {name!r} is there twice with different values (in {where}), and "
                "nothing says which one is meant; keep the files of one saving only"
            )
    return found


def _content(entry: Entry) -> tuple[object, ...]:
    with entry.file.open("rb") as stream:
        stream.seek(entry.start)
        return entry.shape, entry.dtype, stream.read(entry.end - entry.start)


@contextlib.contextmanager
def refusing(directory: Path) -> Iterator[None]:
    """In the block, transformers stops where it would go on to draw random weights for tensors that it did not get.

    What :func:`check_loaded` refuses is refused before memory is taken for it, which a damaged configuration may make
    any size. Raises :class:`ElusiveError`, naming the tensors.
    """
    import transformers

    owner = transformers.PreTrainedModel
    original = vars(owner).get("_finalize_model_loading")
    if not isinstance(original, staticmethod):  # check_loaded has to do
        yield
        return

    def finalize(model: PreTrainedModel, load_config: Any, info: Any) -> Any:
        if info.conversion_errors:
            name, error = next(iter(info.conversion_errors.items()))
            raise ElusiveError(
                f"{directory}: {name!r} cannot be made of the tensors in the files (some are missing, or of another "
                f"shape): {str(error).strip().splitlines()[-1]}"
            )
        tied = getattr(model, "all_tied_weights_keys", None) or {}
        ignored = getattr(model, "_keys_to_ignore_on_load_missing", None) or ()
        missing = {
            name
            for name in info.missing_keys
            if name not in tied and name not in tied.values() and not any(re.search(p, name) for p in ignored)
        }
        if model.is_custom_code():  # may share whole modules under several names
            missing = set()
        _check_complete(model, directory, sorted(missing), sorted(info.mismatched_keys), sorted(info.unexpected_keys))
        return original.__func__(model, load_config, info)

    owner._finalize_model_loading = staticmethod(finalize)
    try:
        yield
    finally:
        owner._finalize_model_loading = original


def check_loaded(
    model: PreTrainedModel, directory: Path, info: Mapping[str, Any], headers: Mapping[str, Sequence[Entry]]
) -> list[str]:
    """Refuse a ``model`` that is not whole; returns what is to be said of one that is.

    ``info`` is transformers' account of the loading, ``headers`` what :func:`read_headers` found (empty for pickled
    weights). Raises :class:`ElusiveError`, naming the tensors.
    """
    names = _Names(model)
    missing = sorted({*info["missing_keys"], *_never_read(model, headers, names)})
    unexpected = sorted(info["unexpected_keys"])
    _check_complete(model, directory, missing, sorted(info["mismatched_keys"]), unexpected)
    if info.get("error_msgs"):
        raise ElusiveError(f"{directory}: transformers cannot load this checkpoint: {info['error_msgs'][0]}")
    _check_unexpected(model, directory, unexpected)
    _check_values(directory, headers, names)
    notes = []
    if unexpected:
        notes += [f"{_count(len(unexpected), 'tensor')} in the files that the model does not use: {_some(unexpected)}"]
    return notes + _untied(model)


def _check_complete(
    model: PreTrainedModel,
    directory: Path,
    missing: Sequence[str],
    mismatched: Sequence[tuple[str, Sequence[int], Sequence[int]]],
    unexpected: Sequence[str],
) -> None:
    if missing:
        raise ElusiveError(
            f"{directory}: the files lack {_count(len(missing), 'tensor')} of the model that {CONFIG} describes, "
            f"and would leave {'it' if len(missing) == 1 else 'them'} random: {_some(missing)}"
            + (_wrapped(unexpected) or _why_missing(model, missing, unexpected))
        )
    if mismatched:
        name, found, expected = mismatched[0]
        raise ElusiveError(
            f"{directory}: tensor {name!r} has the shape {tuple(found)} in the files, but {tuple(expected)} by "
            f"{CONFIG}" + (f" (and {len(mismatched) - 1} more differ)" if len(mismatched) > 1 else "")
        )


def _untied(model: PreTrainedModel) -> list[str]:
    """What is to be said of tensors that the configuration ties and for which the files hold different values.

    transformers uses both as they are; lm-eval ties them once more, to the values of one.
    """
    import torch

    if model.is_custom_code():
        return []
    own = dict(model.named_parameters(remove_duplicate=False))
    pairs = [
        (own.get(target), own.get(source), target, source)
        for target, source in model.get_expanded_tied_weights_keys(all_submodels=True).items()
    ]
    return [
        f"{CONFIG} ties {target!r} to {source!r}, but the files hold different values, and both are used as they are. "
        "lm-eval gives the one the values of the other, and so other log-likelihoods. Write tie_word_embeddings: false "
        f"into {CONFIG}, or take {target!r} out of the files, whichever is meant"
        for one, other, target, source in pairs
        if one is not None and other is not None and one is not other and not torch.equal(one, other)
    ]


class _Names:
    """A model's tensors by name, and which of them a name in a file stands for."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.own: dict[str, torch.Tensor] = dict(model.state_dict(keep_vars=True))
        self._prefix = f"{model.base_model_prefix}."
        used = getattr(model, "_weight_conversions", None) or []
        self._made = [conversion for conversion in used if getattr(conversion, "operations", None)]
        self._renamed = [conversion for conversion in used if not getattr(conversion, "operations", None)]

    def resolve(self, name: str) -> str | None:
        """The model's tensor that a file's ``name`` stands for, with or without the base model's prefix.

        None for one that the model does not have, or makes of it and others.
        """
        for conversion in self._renamed:
            name, _ = conversion.rename_source_key(name)
        if any(conversion.rename_source_key(name)[1] is not None for conversion in self._made):
            return None
        for candidate in (name, self._prefix + name, name.removeprefix(self._prefix)):
            if candidate in self.own:
                return candidate
        return None


def _never_read(model: PreTrainedModel, headers: Mapping[str, Sequence[Entry]], names: _Names) -> list[str]:
    """Matrices that transformers does not count as missing though no file has them, since a pattern says so."""
    patterns = getattr(model, "_keys_to_ignore_on_load_missing", None)
    if not patterns or not headers:
        return []
    there = {names.resolve(name) for name in headers}
    storages = {names.own[name].data_ptr() for name in there if name is not None}
    return [
        name
        for name, tensor in names.own.items()
        if tensor.ndim >= 2
        and name not in there
        and tensor.data_ptr() not in storages
        and any(re.search(pattern, name) for pattern in patterns)
    ]


def _check_unexpected(model: PreTrainedModel, directory: Path, unexpected: Sequence[str]) -> None:
    """Refuse tensors that are left over and show that the files are those of another model."""

    def refuse(names: Sequence[str], why: str) -> None:
        raise ElusiveError(f"{directory}: the files hold {_some(names)}, which the model does not have: {why}")

    if wrapped := _wrapped(unexpected):
        refuse(unexpected, wrapped.removeprefix("; "))
    if adapted := [name for name in unexpected if _ADAPTED.search(name)]:
        refuse(adapted, "an adapter that is not merged; merge it first (PEFT's merge_and_unload)")
    if quantized := [name for name in unexpected if _QUANTIZED_TENSOR.search(name)]:
        refuse(quantized, "the weights are quantised; use weights in float32, bfloat16 or float16")
    if heads := [name for name in unexpected if _OTHER_HEAD.search(name)]:
        refuse(heads, "the head of a model for another task; save it as a causal language model")
    own = {_pattern(name) for name in model.state_dict()}
    layers = [name for name in unexpected if _pattern(name) in own]
    config = model.config.get_text_config()
    # Layers that predict further tokens ahead lie behind the last one, and are used in generation alone.
    ahead = max((getattr(config, key, None) or 0 for key in ("num_nextn_predict_layers", "mtp_num_layers")), default=0)
    depth = getattr(config, "num_hidden_layers", None)
    if isinstance(depth, int) and ahead:
        layers = [name for name in layers if not any(depth <= n < depth + ahead for n in _numbers(name))]
    if layers:
        refuse(layers, f"they are of more layers or parts than {CONFIG} gives it")


def _check_values(directory: Path, headers: Mapping[str, Sequence[Entry]], names: _Names) -> None:
    """Compare some values of every tensor that has the same name and shape in the files and in the model."""
    from safetensors import safe_open

    seen: dict[str, str] = {}
    by_file: dict[Path, list[str]] = {}
    for name, entries in headers.items():
        own = names.resolve(name)
        if own is None:
            continue
        entry, tensor = entries[0], names.own[own]
        if tensor.is_floating_point() and entry.dtype not in _FLOATS:
            raise ElusiveError(
                f"{entry.file}: tensor {name!r} is of type {entry.dtype}, which a weight is only when it is quantised; "
                "use weights in float32, bfloat16 or float16"
            )
        if own in seen:
            raise ElusiveError(
                f"{directory}: tensors {seen[own]!r} and {name!r} both stand for {own!r} of the model, and nothing "
                "says which one is meant"
            )
        seen[own] = name
        if tuple(tensor.shape) == entry.shape and tensor.numel():
            by_file.setdefault(entry.file, []).append(name)
    for file, some in by_file.items():
        with safe_open(file, framework="pt") as stream:
            for name in some:
                tensor = names.own[names.resolve(name)].detach()
                part = stream.get_slice(name)
                kept = part[-1:] if tensor.ndim else part[...]
                expected = kept.reshape(-1)[-_COMPARED:].to(tensor.dtype)
                found = (tensor[-1:] if tensor.ndim else tensor).reshape(-1)[-_COMPARED:].cpu()
                if not _same(found, expected):
                    raise ElusiveError(
                        f"{file}: tensor {name!r} has other values in the loaded model than in the file; transformers "
                        "takes the model's weights for those of another format"
                    )


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors of a type are equal, with NaN equal to itself."""
    import torch

    return torch.equal(a, b) or (a.is_floating_point() and torch.allclose(a, b, rtol=0, atol=0, equal_nan=True))


def _why_missing(model: PreTrainedModel, missing: Sequence[str], unexpected: Sequence[str]) -> str:
    """What the names of the missing tensors say about the cause, to be appended to the message; may be empty."""
    if heads := [name for name in unexpected if _OTHER_HEAD.search(name)]:
        return f"; they hold {_some(heads)} instead, the head of a model for another task"
    output = model.get_output_embeddings()
    head = {id(p) for p in output.parameters()} if output is not None else set()
    own = dict(model.named_parameters(remove_duplicate=False))
    if all(id(own.get(name)) in head for name in missing) and not unexpected:
        return (
            "; without its output layer it is a base model, which predicts no tokens: save it as a causal language "
            "model, or set tie_word_embeddings where the output layer is the embedding"
        )
    depth = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    layers = {n for name in missing for n in _numbers(name)[:1]}
    if isinstance(depth, int) and layers and layers == set(range(min(layers), depth)) and min(layers) > 0:
        return f"; {CONFIG} names {depth} layers, the files have {min(layers)}"
    return f"; they hold {_some(unexpected)} instead" if unexpected else ""


def _wrapped(names: Iterable[str]) -> str:
    """What wrapped the model that was saved, by a prefix or part of its tensors' names; empty if nothing did."""
    for prefix, how in _WRAPPED.items():
        # torch.compile wraps single layers as well.
        inside = f".{prefix}" if prefix == "_orig_mod." else None
        if some := [name for name in names if name.startswith(prefix) or (inside and inside in name)]:
            return f"; names such as {sorted(some)[0]!r} have {prefix!r}, {how}"
    return ""


def _pattern(name: str) -> str:
    return re.sub(r"\b\d+\b", "*", name)


def _numbers(name: str) -> list[int]:
    return [int(part) for part in name.split(".") if part.isdigit()]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _some(names: Sequence[str]) -> str:
    """Names for a message: the first few, and how many more there are."""
    shown = ", ".join(repr(name) for name in names[:_NAMED])
    return shown + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
