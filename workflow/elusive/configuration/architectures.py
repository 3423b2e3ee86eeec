"""What the names and shapes of a checkpoint's tensors say of the model: parameters, layers, vocabulary.

``workflow/registry/architectures.json`` holds, for each causal language model of the pinned transformers, what cannot
be read off a checkpoint: whether input and output embeddings are one matrix where config.json does not say so
(``tied``), and the ends of the names of its buffers, which lie in a file but are no parameters (``buffers``). Where the
rules below do not give the number of parameters that torch counts, ``counted`` is false. ``pieces`` is false where a
sentencepiece model without more beside it becomes a tokenizer with other tokens than sentencepiece's own.
``tests/architectures.py`` writes the file, and a test compares every entry with the model itself.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

FILE = Path(__file__).parents[2] / "registry" / "architectures.json"

#: Buffers that checkpoints of older versions of transformers hold: rotary frequencies, causal masks, positions.
_OLD_BUFFERS = ("inv_freq", "masked_bias", "position_ids", "causal_mask")
_MASK = re.compile(r"(?:^|\.)(?:attn|attention|self_attn|self_attention|crossattention)\.bias$")
#: Layers beyond the last one, which predict further tokens and are not loaded.
_FURTHER = re.compile(r"(?:^|\.)mtp(?:_\w+)?\.")
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|layer|block|decoder)\.(\d+)\.")
_NUMBER_OF_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")


class Shaped(Protocol):
    """A tensor as far as it matters here."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""

    @property
    def size(self) -> int:
        """Number of elements."""


@dataclass(frozen=True)
class Architecture:
    """A causal language model of transformers: see the module."""

    tied: bool = False
    buffers: tuple[str, ...] = ()
    counted: bool = True
    pieces: bool = True


@functools.cache
def load() -> tuple[str, Mapping[str, Architecture]]:
    """The version of transformers that the file is of, and model_type -> architecture."""
    content = json.loads(FILE.read_text(encoding="utf-8"))
    known = {
        name: Architecture(**(entry | {"buffers": tuple(entry.get("buffers", ()))}))
        for name, entry in content["architectures"].items()
    }
    return content["transformers"], known


def is_tied(config: Mapping[str, Any], architecture: Architecture) -> bool:
    """Whether input and output embeddings are one matrix."""
    tied = config.get("tie_word_embeddings")
    return architecture.tied if tied is None else bool(tied)


def number_of_layers(config: Mapping[str, Any]) -> int | None:
    """Layers of the model by its config.json, None where that does not say, or says it twice and differently."""
    found = {number for key in _NUMBER_OF_LAYERS if type(number := config.get(key)) is int and number > 0}
    return found.pop() if len(found) == 1 else None


def parameters(
    tensors: Mapping[str, Shaped],
    config: Mapping[str, Any],
    architecture: Architecture,
    same: Callable[[str, str], bool],
) -> int:
    """Number of parameters as loaded, as torch counts them: no buffers, tied weights once.

    ``tensors`` are all of the checkpoint's. Embeddings that are tied may stand in it under both names: they count once
    if they hold the same numbers, which ``same`` tells of two names.
    """
    layers, buffers = number_of_layers(config), (*_OLD_BUFFERS, *architecture.buffers)
    counted = {name: tensor for name, tensor in tensors.items() if _is_parameter(name, tensor, layers, buffers)}
    total = sum(tensor.size for tensor in counted.values())
    if is_tied(config, architecture):
        distinct: list[str] = []
        # With the output layer goes its bias, which some models save twice as well.
        for name in (*vocabulary_matrices(counted, config), *_by_vocabulary(counted, config, 1)):
            if any(counted[name].shape == counted[other].shape and same(name, other) for other in distinct):
                total -= counted[name].size
            else:
                distinct.append(name)
    return total


def _is_parameter(name: str, tensor: Shaped, layers: int | None, buffers: tuple[str, ...]) -> bool:
    if name.endswith(buffers) or (len(tensor.shape) == 4 and _MASK.search(name)):
        return False
    layer = _layer(name)
    beyond = layers is not None and layer is not None and layer >= layers
    return not (beyond or _FURTHER.search(name))


def _layer(name: str) -> int | None:
    """Number of the layer that a tensor belongs to."""
    found = _LAYER.search(name)
    return int(found[1]) if found else None


def vocabulary_matrices(tensors: Mapping[str, Shaped], config: Mapping[str, Any]) -> list[str]:
    """Names of the matrices with a row for each entry of the vocabulary: embeddings and output layer."""
    return _by_vocabulary(tensors, config, 2)


def _by_vocabulary(tensors: Mapping[str, Shaped], config: Mapping[str, Any], dimensions: int) -> list[str]:
    rows = config.get("vocab_size")
    return [n for n, tensor in tensors.items() if len(tensor.shape) == dimensions and tensor.shape[0] == rows]


def contradictions(
    tensors: Mapping[str, Shaped], config: Mapping[str, Any], architecture: Architecture
) -> Iterator[str]:
    """What of config.json does not fit the tensors, in words."""
    layers = number_of_layers(config)
    found = {layer for name in tensors if (layer := _layer(name)) is not None}
    if layers is not None and found and (missing := sorted(set(range(layers)) - found)):
        some = ", ".join(map(str, missing[:5])) + (", …" if len(missing) > 5 else "")
        yield f"config.json says {layers} layers, but the weights have nothing for layer {some} (counted from 0)"
    rows = config.get("vocab_size")
    if isinstance(rows, int):
        matrices = vocabulary_matrices(tensors, config)
        if not matrices:
            yield f"no matrix of the weights has the {rows:,} rows that vocab_size in config.json says"
        elif len(matrices) == 1 and not is_tied(config, architecture):
            yield (
                f"the weights have no output layer: {matrices[0]} alone has vocab_size = {rows:,} rows, and "
                "tie_word_embeddings is not true"
            )
