"""Checkpoints that something happened to: an error that names the place, or the numbers of what the files say.

Set ELUSIVE_EXAMPLES for more examples than a test run takes.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from elusive.errors import ElusiveError
from elusive.items.build import build_items
from elusive.scoring import tokenize
from elusive.scoring.cells import score_cells
from elusive.scoring.loglikelihood import tolerance_of
from elusive.scoring.prompts import choices
from elusive.scoring.spec import Spec
from elusive.tables import read_table
from scoring_checkpoints import random_model, save_checkpoint, train_tokenizer

EXAMPLES = int(os.environ.get("ELUSIVE_EXAMPLES", "40"))
SIZES = {"vocab_size": 512, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
SIZES |= {"max_position_embeddings": 128, "intermediate_size": 48, "bos_token_id": 0, "eos_token_id": 0}
CONFIGS = {
    "llama": lambda: transformers.LlamaConfig(**SIZES, num_key_value_heads=2),
    "tied": lambda: transformers.LlamaConfig(**SIZES, tie_word_embeddings=True),
    "gpt2": lambda: transformers.GPT2Config(
        vocab_size=512, n_embd=32, n_layer=2, n_head=4, n_positions=128, bos_token_id=0, eos_token_id=0
    ),
    "mistral": lambda: transformers.MistralConfig(**SIZES, num_key_value_heads=2, sliding_window=16),
}


@pytest.fixture(scope="module")
def origin(archive_path, tmp_path_factory):
    """Checkpoints by name, and an items table."""
    directory = tmp_path_factory.mktemp("origin")
    tokenizer = train_tokenizer(archive_path, directory / "tokenizer", vocabulary=512)
    for name, config in CONFIGS.items():
        save_checkpoint(random_model(config()), tokenizer, directory / name)
    build_items({"name": "arc_easy", "limit": 4}, directory / "items.parquet", archive_path)
    return directory


# What may happen to a checkpoint: each takes its directory, its tensors, and what it draws.


class Mangled:
    """A checkpoint's directory with its tensors in memory, written as they are in the end."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.tensors = safetensors.torch.load_file(directory / "model.safetensors")
        self.written = False

    @property
    def file(self) -> Path:
        return self.directory / "model.safetensors"

    def name(self, draw) -> str | None:
        return draw(st.sampled_from(sorted(self.tensors))) if self.tensors else None

    def write(self) -> None:
        if not self.written and self.file.exists():
            safetensors.torch.save_file(self.tensors, self.file, metadata={"format": "pt"})


def drop(it, draw):
    it.tensors.pop(it.name(draw), None)


def drop_many(it, draw):
    word = draw(st.sampled_from(["norm", "layers.1", "h.1", "mlp", "embed", "lm_head", "bias", "weight"]))
    it.tensors = {name: tensor for name, tensor in it.tensors.items() if word not in name}


def rename(it, draw):
    if name := it.name(draw):
        tensor, other = it.tensors.pop(name), it.name(draw) or name
        new = draw(st.sampled_from([other, f"module.{name}", f"x.{name}", name.removeprefix("model."), name + "s"]))
        it.tensors[new] = tensor


def prefix(it, draw):
    added = draw(st.sampled_from(["_orig_mod.", "module.", "model.", "base_model.model.", "transformer.", "x."]))
    it.tensors = {added + name: tensor for name, tensor in it.tensors.items()}


def swap(it, draw):
    one, other = it.name(draw), it.name(draw)
    if one:
        it.tensors[one], it.tensors[other] = it.tensors[other].clone(), it.tensors[one].clone()


def resize(it, draw):
    if name := it.name(draw):
        tensor = it.tensors[name]
        how = draw(st.integers(0, 5))
        it.tensors[name] = [
            lambda: tensor[:-1].contiguous(),
            lambda: torch.cat([tensor, tensor[:1]]),
            lambda: tensor.T.contiguous() if tensor.ndim == 2 else tensor[None],
            lambda: tensor.flatten(),
            lambda: tensor[..., :0].contiguous(),
            lambda: tensor[None].contiguous(),
        ][how]()


def duplicate(it, draw):
    if name := it.name(draw):
        new = draw(st.sampled_from([f"model.{name}", name.removeprefix("model."), f"{name}.copy", "score.weight", "x"]))
        it.tensors[new] = it.tensors[name].clone() + draw(st.sampled_from([0.0, 1.0]))


def more_layers(it, draw):
    for name in [name for name in it.tensors if ".1." in name]:
        it.tensors[name.replace(".1.", ".2.")] = it.tensors[name].clone()


def retype(it, draw):
    types = [torch.float16, torch.float64, torch.bfloat16, torch.int8, torch.int64, torch.float8_e4m3fn, torch.bool]
    if name := it.name(draw):
        it.tensors[name] = it.tensors[name].to(draw(st.sampled_from(types)))


def spoil(it, draw):
    if (name := it.name(draw)) and it.tensors[name].numel():
        tensor = it.tensors[name].clone()
        tensor.view(-1)[draw(st.integers(0, tensor.numel() - 1))] = draw(
            st.sampled_from([float("nan"), float("inf"), 1e38, 0.0])
        )
        it.tensors[name] = tensor


def shards(it, draw):
    """Two shards with an index that may be wrong about them."""
    names = sorted(it.tensors)
    cut = draw(st.integers(0, len(names)))
    files = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    parts = [names[:cut], names[cut:]]
    if names and draw(st.booleans()):
        parts[draw(st.integers(0, 1))].append(it.name(draw))
    index = {name: file for file, part in zip(files, parts, strict=True) for name in part}
    if names and draw(st.booleans()):
        index.pop(it.name(draw), None)
    for file, part in zip(files, parts, strict=True):
        held = {name: it.tensors[name].clone() for name in part}
        if part and draw(st.booleans()):
            held[part[-1]] = held[part[-1]] + (1 if held[part[-1]].is_floating_point() else 0)
            if names.count(part[-1]) and part[-1] in held:
                it.tensors[part[-1]] = held[part[-1]]
        safetensors.torch.save_file(held, it.directory / file, metadata={"format": "pt"})
    if draw(st.booleans()):
        it.file.unlink(missing_ok=True)
    if draw(st.integers(0, 4)) == 0:
        (it.directory / files[draw(st.integers(0, 1))]).unlink()
    (it.directory / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    it.written = not it.file.exists()


def pickled(it, draw):
    torch.save(it.tensors, it.directory / "pytorch_model.bin", _use_new_zipfile_serialization=draw(st.booleans()))
    if draw(st.booleans()):
        it.file.unlink(missing_ok=True)
        it.written = True


def damage(it, draw):
    """Bytes that were lost, added or turned over."""
    it.write()
    files = sorted(path for path in it.directory.iterdir() if path.suffix in (".safetensors", ".bin", ".json"))
    if not files:
        return
    path = draw(st.sampled_from(files))
    content = bytearray(path.read_bytes())
    where = draw(st.integers(0, min(len(content), 3000)))
    how = draw(st.integers(0, 3))
    if how == 0:
        content = content[:where]
    elif how == 1:
        content += b"\0" * 9
    elif where < len(content):
        content[where] ^= draw(st.integers(1, 255))
    path.write_bytes(bytes(content))
    it.written = it.written or path == it.file


ODD = [None, 0, -1, 1, 3, 7, 64, 10**9, 0.5, 1e308, "x", "", [], {}, True, False, [1, 2], {"a": 1}]


def configure(it, draw):
    path = it.directory / "config.json"
    try:
        config = json.loads(path.read_text())
    except ValueError:
        return
    if not isinstance(config, dict) or not config:
        return
    key = draw(st.sampled_from(sorted(config)))
    values = {
        "model_type": ["mistral", "llama", "gpt2", "bert", "t5", "qwen2", "xlstm", "gemma", "opt", "nothing", ""],
        "architectures": [["LlamaForSequenceClassification"], ["LlamaModel"], "x", [3]],
    }
    config[key] = draw(st.sampled_from(values.get(key, []) + ODD))
    if draw(st.integers(0, 3)) == 0:
        del config[key]
    path.write_text(json.dumps(config))


def add_key(it, draw):
    path = it.directory / "config.json"
    try:
        config = json.loads(path.read_text())
    except ValueError:
        return
    if isinstance(config, dict):
        added = [
            {"quantization_config": {"quant_method": "gptq", "bits": 4}},
            {"is_encoder_decoder": True},
            {"is_decoder": True},
            {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}},
            {"rope_scaling": {"type": "linear", "factor": 4.0}},
            {"sliding_window": 8},
            {"auto_map": {"AutoModelForCausalLM": "own.Model"}},
            {"transformers_weights": "model.safetensors"},
            {"transformers_weights": "other.safetensors"},
            {"text_config": {"hidden_size": 3}},
            {"attn_implementation": "flash_attention_2"},
            {"dtype": "float16"},
            {"torch_dtype": "int8"},
            {"num_nextn_predict_layers": 1},
            {"n_positions": -1},
        ]
        path.write_text(json.dumps(config | draw(st.sampled_from(added))))


def other_files(it, draw):
    name = draw(
        st.sampled_from(
            ["adapter_config.json", "adapter_model.safetensors", "generation_config.json", "tokenizer_config.json"]
        )
    )
    (it.directory / name).write_text(draw(st.sampled_from(["", "{}", "[]", '{"a": 1}'])))


def retokenize(it, draw):
    path = it.directory / "tokenizer.json"
    how = draw(st.integers(0, 3))
    if how == 0:
        path.unlink(missing_ok=True)
    elif how == 1 and path.exists():
        tokenizer = json.loads(path.read_text(errors="replace") or "{}")
        if isinstance(tokenizer, dict) and tokenizer.get("model"):
            tokenizer["model"]["vocab"] = {
                text: number + draw(st.sampled_from([0, 1, 500]))
                for text, number in tokenizer["model"]["vocab"].items()
            }
            path.write_text(json.dumps(tokenizer))
    elif how == 2:
        (it.directory / "tokenizer_config.json").unlink(missing_ok=True)
    else:
        (it.directory / "tokenizer.model").write_bytes(b"\n\x03abc")


HAPPENINGS = [
    *(drop, drop_many, rename, prefix, swap, resize, duplicate, more_layers, retype, spoil, shards, pickled, damage),
    *(configure, configure, add_key, other_files, retokenize),
]


def plainly(directory: Path, items: Path) -> np.ndarray:
    """Log-likelihoods of what the files say, by torch's own strict loading into a model made of the configuration."""
    config = transformers.AutoConfig.from_pretrained(directory)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    tensors: dict[str, torch.Tensor] = {}
    for file in weight_files(directory):
        loader = safetensors.torch.load_file if file.suffix == ".safetensors" else torch.load
        tensors |= loader(file)
    own, base = model.state_dict(), f"{model.base_model_prefix}."
    tensors = {
        next((k for k in (name, base + name, name.removeprefix(base)) if k in own), name): tensor.float()
        for name, tensor in tensors.items()
    }
    missing, _ = model.load_state_dict(tensors, strict=False)
    output, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    tied = output.weight is embedding.weight
    assert set(missing) <= ({"lm_head.weight", "model.embed_tokens.weight"} if tied else set()), missing
    if tied and "lm_head.weight" in tensors and (embedding_name := base + "embed_tokens.weight") in tensors:
        embedding.weight = torch.nn.Parameter(tensors[embedding_name])
        output.weight = torch.nn.Parameter(tensors["lm_head.weight"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory, add_bos_token=False)
    every = choices(read_table(items, "items"))
    length = tokenize.resolve_max_length(config, tokenizer)
    requests = tokenize.tokenize(tokenizer, every.context, every.continuation, length)
    values = []
    for i in range(len(requests)):
        with torch.no_grad():
            logits = model(torch.from_numpy(requests.fed(i).astype(np.int64))[None]).logits[0]
        targets = torch.from_numpy(requests.targets(i).astype(np.int64))
        rows = torch.log_softmax(logits[-len(targets) :].double(), dim=-1)
        values.append(float(rows[torch.arange(len(targets)), targets].sum()))
    return np.array(values)


def weight_files(directory: Path) -> list[Path]:
    """What transformers reads, by the order of its documentation."""
    explicit = json.loads((directory / "config.json").read_text()).get("transformers_weights")
    names = ["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"]
    for name in [explicit] if explicit else names:
        if (directory / name).is_file():
            if name.endswith(".index.json"):
                shards = json.loads((directory / name).read_text())["weight_map"].values()
                return [directory / shard for shard in sorted(set(shards))]
            return [directory / name]
    raise AssertionError("no weights")


@pytest.mark.slow
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
)
@given(data=st.data())
def test_an_error_that_names_the_place_or_the_numbers_of_the_files(origin, tmp_path_factory, data):
    name = data.draw(st.sampled_from(sorted(CONFIGS)))
    directory = tmp_path_factory.mktemp("mangled") / "checkpoint"
    shutil.copytree(origin / name, directory)
    it = Mangled(directory)
    for happening in data.draw(st.lists(st.sampled_from(HAPPENINGS), min_size=1, max_size=3)):
        happening(it, data.draw)
    it.write()
    items, output = origin / "items.parquet", directory.parent / "out.parquet"
    try:
        score_cells(Spec("m", "c", "local", device="cpu"), directory, [items], [output])
    except ElusiveError as error:
        assert str(directory) in str(error) or "m/c" in str(error), error
        assert len(str(error)) < 2000
        assert not output.exists()
    else:
        found = read_table(output, "logprobs")["log_likelihood"].to_numpy()
        expected = plainly(directory, items)
        assert (np.abs(found - expected) <= tolerance_of(expected)).all(), (found, expected)
    finally:
        shutil.rmtree(directory.parent)
