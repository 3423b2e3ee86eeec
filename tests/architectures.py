"""The causal language models of the pinned transformers, and what the configuration has to know of them.

``python tests/architectures.py`` writes workflow/registry/architectures.json: it makes every model in its default size,
without memory for its weights, and gives every model's tokenizer a sentencepiece model to read.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import sentencepiece
import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from elusive.configuration.architectures import FILE, Architecture, contradictions, parameters

#: What some configurations lack to be one.
NEEDED: dict[str, dict[str, Any]] = {
    "hunyuan_v1_dense": {"head_dim": 128},
    "hunyuan_v1_moe": {"head_dim": 128},
    "lfm2_moe": {"layer_types": ["full_attention"] * 32},
    "ministral": {"head_dim": 128},
    "nemotron": {"num_key_value_heads": 8},
}


@dataclass(frozen=True)
class Shape:
    """A tensor without its numbers."""

    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return torch.Size(self.shape).numel()


@dataclass(frozen=True)
class Described:
    """A model of a type: its config.json, the tensors of a file with all its names, and torch's count.

    ``owners`` says which parameter a name stands for, so that tied ones have the same.
    """

    config: dict[str, Any]
    tied: bool
    tensors: dict[str, Shape]
    buffers: list[str]
    owners: dict[str, int]
    parameters: int

    def same(self, one: str, other: str) -> bool:
        return self.owners[one] == self.owners[other]

    def fits(self, architecture: Architecture) -> bool:
        """Whether the rules give torch's count, and see nothing wrong."""
        counted = parameters(self.tensors, self.config, architecture, self.same)
        return counted == self.parameters and not list(contradictions(self.tensors, self.config, architecture))


def describe(model_type: str) -> Described:
    """The model of a type in its default size."""
    config = CONFIG_MAPPING[model_type](**NEEDED.get(model_type, {}))
    if "text_config" in config.sub_configs:
        raise NotImplementedError("a model of several models")
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        model = transformers.AutoModelForCausalLM.from_config(config)
    named = dict(model.named_parameters(remove_duplicate=False))
    state = model.state_dict()
    return Described(
        config=json.loads(config.to_json_string()),
        tied=bool(getattr(config, "tie_word_embeddings", False)),
        tensors={name: Shape(tuple(tensor.shape)) for name, tensor in state.items()},
        buffers=[name for name in state if name not in named],
        owners={name: id(named.get(name, name)) for name in state},
        parameters=sum(parameter.numel() for parameter in model.parameters()),
    )


TEXTS = ("hello world the cat", "the dog\nran on? é", "hello  world ")


@functools.cache
def piece_models() -> tuple[Path, ...]:
    """Two small sentencepiece models, with and without a blank before the text as Llama and Gemma have it."""
    folder = Path(tempfile.mkdtemp())
    words = ["hello", "world", "the", "cat", "sat", "on", "mat", "dog", "ran"]
    (folder / "text.txt").write_text("\n".join(" ".join(words[i % 9 :] + words[: i * 7 % 9]) for i in range(500)))
    for name in ("blank", "none"):
        sentencepiece.SentencePieceTrainer.train(
            input=str(folder / "text.txt"),
            model_prefix=str(folder / name),
            vocab_size=400,
            model_type="bpe",
            hard_vocab_limit=False,
            byte_fallback=True,
            add_dummy_prefix=name == "blank",
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            minloglevel=2,
        )
    return folder / "blank.model", folder / "none.model"


def reads_pieces(model_type: str) -> bool:
    """Whether a directory with a sentencepiece model alone becomes a tokenizer with sentencepiece's own tokens."""
    for model in piece_models():
        own = sentencepiece.SentencePieceProcessor(model_file=str(model))
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(model, Path(folder) / "tokenizer.model")
            (Path(folder) / "config.json").write_text(json.dumps({"model_type": model_type}))
            try:
                tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            except Exception:  # another kind of tokenizer
                continue
            if all(tokenizer(text, add_special_tokens=False)["input_ids"] == own.encode(text) for text in TEXTS):
                return True
    return False


def entry(model_type: str) -> dict[str, Any]:
    """The type's entry in the file."""
    return _sizes(model_type) | ({} if reads_pieces(model_type) else {"pieces": False})


def _sizes(model_type: str) -> dict[str, Any]:
    try:
        described = describe(model_type)
    except Exception:  # some have no default size, or need packages that are not here
        return {"counted": False}
    buffers = sorted({name.rpartition(".")[2] for name in described.buffers})
    found: dict[str, Any] = {"tied": True} if described.tied else {}
    found |= {"buffers": [f".{name}" for name in buffers]} if buffers else {}
    architecture = Architecture(described.tied, tuple(f".{name}" for name in buffers))
    return found if described.fits(architecture) else found | {"counted": False}


def main() -> None:
    """Write the file."""
    lines = []
    for model_type in sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES):
        lines.append(f"    {json.dumps(model_type)}: {json.dumps(entry(model_type))}")
        print(lines[-1], flush=True)
    FILE.write_text(
        f'{{\n  "transformers": {json.dumps(transformers.__version__)},\n  "architectures": {{\n'
        + ",\n".join(lines)
        + "\n  }\n}\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
