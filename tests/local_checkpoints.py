"""Checkpoint directories as a user has them, written byte by byte: small, and without torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

VOCABULARY, WIDTH, LAYERS = 16, 4, 2
LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": VOCABULARY,
    "hidden_size": WIDTH,
    "intermediate_size": 6,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 1,
    "max_position_embeddings": 32,
    "tie_word_embeddings": False,
}
TOKENIZER = {
    "version": "1.0",
    "added_tokens": [],
    "model": {"type": "BPE", "vocab": {chr(97 + i): i for i in range(VOCABULARY)}, "merges": []},
}


def llama_tensors(layers: int = LAYERS, tied: bool = False) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors of a small Llama."""
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (VOCABULARY, WIDTH),
        "model.norm.weight": (WIDTH,),
    }
    for i in range(layers):
        layer = f"model.layers.{i}"
        shapes |= {f"{layer}.self_attn.{name}_proj.weight": (WIDTH, WIDTH) for name in "qkvo"}
        shapes |= {f"{layer}.mlp.{name}_proj.weight": (6, WIDTH) for name in ("gate", "up")}
        shapes |= {f"{layer}.mlp.down_proj.weight": (WIDTH, 6)}
        shapes |= {f"{layer}.{name}_layernorm.weight": (WIDTH,) for name in ("input", "post_attention")}
    return shapes if tied else shapes | {"lm_head.weight": (VOCABULARY, WIDTH)}


#: Of the small Llama: two matrices for the vocabulary, a norm, and two layers.
PARAMETERS = 2 * VOCABULARY * WIDTH + WIDTH + LAYERS * (4 * WIDTH**2 + 3 * 6 * WIDTH + 2 * WIDTH)


def safetensors(
    shapes: Mapping[str, Sequence[int]], dtype: str = "F32", content: Mapping[str, int] | None = None, fill: int = 0
) -> bytes:
    """A safetensors file: every tensor's bytes are ``fill``, or what ``content`` has under its name."""
    element = {"F32": 4, "F16": 2, "BF16": 2, "I32": 4, "I8": 1, "U8": 1, "F8_E4M3": 1, "I64": 8}[dtype]
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, shape in shapes.items():
        size = element * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + size]}
        data += bytes([(content or {}).get(name, fill)]) * size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def write_checkpoint(
    directory: Path,
    config: Mapping[str, Any] = LLAMA,
    shapes: Mapping[str, Sequence[int]] | None = None,
    **changes: Any,
) -> Path:
    """A directory with config.json (``config`` with ``changes``), weights and a tokenizer; returns it."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps({**config, **changes}))
    (directory / "model.safetensors").write_bytes(safetensors(llama_tensors() if shapes is None else shapes))
    (directory / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    return directory
