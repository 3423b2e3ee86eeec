"""What is said of a checkpoint's directory before anything runs, and that its parameters are torch's count."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

import architectures
from elusive.configuration import architectures as known
from elusive.configuration import inspection
from elusive.configuration.directory import decisive_files
from elusive.configuration.headers import LFS_POINTER, read_header
from elusive.configuration.inspection import inspect
from elusive.errors import ElusiveError
from local_checkpoints import LLAMA, PARAMETERS, llama_tensors, safetensors, write_checkpoint


def problems(directory, **options):
    return " | ".join(inspect(directory, **options).problems)


@pytest.fixture
def mine(tmp_path):
    return write_checkpoint(tmp_path / "mine")


# --- headers


def reference(path):
    """Name -> (dtype, shape) by the safetensors library; None for what it refuses."""
    try:
        with safe_open(path, "pt") as file:
            names = list(file.keys())
            return {name: (file.get_slice(name).get_dtype(), tuple(file.get_slice(name).get_shape())) for name in names}
    except (SafetensorError, UnicodeDecodeError):
        return None


def test_a_header_is_read_as_by_the_library(tmp_path):
    path = tmp_path / "x.safetensors"
    tensors = {
        "a": torch.zeros(3, 4),
        "b": torch.zeros(0, 2),
        "c": torch.tensor(1.0, dtype=torch.bfloat16),
        "d": torch.zeros(5, dtype=torch.int64),
        "e": torch.zeros(2, 2, 2, dtype=torch.float16),
        "ü": torch.zeros(1, dtype=torch.bool),
        "f8": torch.zeros(4, dtype=torch.float8_e4m3fn),
    }
    save_file(tensors, path, metadata={"format": "pt"})
    assert {name: (tensor.dtype, tensor.shape) for name, tensor in read_header(path).items()} == reference(path)
    content = path.read_bytes()
    for name, tensor in read_header(path).items():
        assert content[tensor.start : tensor.end] == tensors[name].flatten().view(torch.uint8).numpy().tobytes() or (
            tensors[name].numel() == 0 or tensors[name].ndim == 0
        )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (LFS_POINTER + b"v1\noid sha256:00\nsize 9\n", "is a pointer of Git LFS, not the weights: run `git lfs pull`"),
        (b"<!DOCTYPE html><html>", "is no safetensors file"),
        (b"PK\x03\x04" + bytes(40), "is no safetensors file"),
        (bytes(7), "is no safetensors file"),
        (safetensors({"a": (2, 3)})[:20], "is cut off: its header alone would be"),
        (safetensors({"a": (2, 3)})[:-1], r"is cut off: its tensors are 24 bytes, of which 23 are there"),
        (safetensors({"a": (2, 3)}) + b"x", "has 1 bytes more than its header tells of"),
        (safetensors({"a": (2, 3)}).replace(b"F32", b"X32"), "its header is damaged: a: "),
        (safetensors({"a": (2, 3)}).replace(b"[2, 3]", b"[2, 4]"), "its header is damaged: a: "),
        (safetensors({"a": (2,), "b": (2,)}).replace(b'"b"', b'"a"'), "'a' stands there twice"),
        (safetensors({"a": (2,), "b": (2,)}).replace(b"[8, 16]", b"[0, 8] "), "b does not follow the tensor before"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(tmp_path, content, message):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ElusiveError, match=f"model.safetensors: .*{message}"):
        read_header(path)
    assert reference(path) is None


WHOLE = safetensors({"a": (2, 3), "b.weight": (4,), "c": ()})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(st.data())
def test_any_bytes_are_refused_or_read_as_by_the_library(tmp_path, data):
    content = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        kind = data.draw(st.sampled_from(["set", "cut", "insert", "repeat"]))
        if kind == "set":
            content[place] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del content[place : place + data.draw(st.integers(1, 20))]
        elif kind == "insert":
            content[place:place] = data.draw(st.binary(min_size=1, max_size=9))
        else:
            content += content[place : place + 30]
        if not content:
            break
    path = tmp_path / "model.safetensors"
    path.write_bytes(bytes(content))
    try:
        found = read_header(path)
    except ElusiveError as error:
        assert str(error).startswith(f"{path}: ")
    else:
        assert {name: (tensor.dtype, tensor.shape) for name, tensor in found.items()} == reference(path)


# --- what keeps a directory from being scored


def test_nothing_is_said_of_a_whole_checkpoint(mine):
    assert inspect(mine).problems == ()
    assert (inspect(mine).parameters, inspect(mine).certain) == (PARAMETERS, True)


CONFIG_PROBLEMS = {
    "quantised": ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "is quantised (quantization_config in"),
    "quantised in an unknown way": ({"quantization_config": {"bits": 4}}, "config.json: of an unknown kind)"),
    "encoder": ({"model_type": "t5", "is_encoder_decoder": True}, "is a model with encoder and decoder"),
    "classifier": (
        {"architectures": ["LlamaForSequenceClassification"]},
        "is a LlamaForSequenceClassification, which has no language model's output layer",
    ),
    "masked": ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "sees the tokens that it would have to"),
    "no type": ({"model_type": None}, "has a config.json without model_type"),
    "unknown type": ({"model_type": "lama"}, "is a model of type 'lama', of which transformers"),
    "only an encoder": ({"model_type": "vit"}, "is a model of type 'vit', of which transformers"),
    "own code": (
        {"model_type": "mine", "auto_map": {"AutoModelForCausalLM": "modeling_mine.Mine"}},
        "needs code of its own (modeling_mine.py): add `trust_remote_code: true`",
    ),
    "another vocabulary": ({"vocab_size": 17}, "no matrix of the weights has the 17 rows that vocab_size"),
    "a layer more": ({"num_hidden_layers": 3}, "config.json says 3 layers, but the weights have nothing for layer 2"),
}


@pytest.mark.parametrize("case", CONFIG_PROBLEMS)
def test_what_config_json_betrays(tmp_path, case):
    changes, expected = CONFIG_PROBLEMS[case]
    assert expected in problems(write_checkpoint(tmp_path / "mine", **changes))


def test_a_masked_model_as_a_decoder_is_left_to_loading(tmp_path):
    changes = {"model_type": "bert", "architectures": ["BertForMaskedLM"], "is_decoder": True}
    assert "sees the tokens" not in problems(write_checkpoint(tmp_path / "mine", **changes))


def test_an_unknown_type_is_left_to_another_version_of_transformers(tmp_path, monkeypatch):
    monkeypatch.setattr(inspection, "_installed", lambda package: "9.9.9")
    assert problems(write_checkpoint(tmp_path / "mine", model_type="lama")) == ""


def test_code_of_its_own(tmp_path):
    own = {"model_type": "mine", "auto_map": {"AutoModelForCausalLM": "modeling_mine.Mine"}}
    directory = write_checkpoint(tmp_path / "mine", **own)
    assert "names code of its own, modeling_mine.py, which is not there" in problems(directory, trust_remote_code=True)
    (directory / "modeling_mine.py").write_text("raise SystemExit('it ran')")
    assert problems(directory, trust_remote_code=True) == ""
    assert (inspect(directory, True).parameters, inspect(directory, True).certain) == (PARAMETERS, False)
    own["auto_map"]["AutoModelForCausalLM"] = "owner/repo--modeling_mine.Mine"
    write_checkpoint(directory, **own)
    assert "names code of another repository (owner/repo)" in problems(directory, trust_remote_code=True)
    # What transformers has code for needs no other.
    write_checkpoint(directory, auto_map=own["auto_map"])
    assert problems(directory) == ""


def renamed(change):
    return safetensors({change(name): shape for name, shape in llama_tensors().items()})


WEIGHTS_PROBLEMS = {
    "compiled": (renamed(lambda name: f"_orig_mod.{name}"), "names torch.compile has changed (_orig_mod.model.embed"),
    "compiled inside": (renamed(lambda name: name.replace("model.", "model._orig_mod.")), "names torch.compile has"),
    "distributed": (renamed(lambda name: f"module.{name}"), "names DistributedDataParallel has changed"),
    "sharded": (renamed(lambda name: f"_fsdp_wrapped_module.{name}"), "names FullyShardedDataParallel has changed"),
    "adapter": (renamed(lambda name: f"base_model.model.{name}"), "has tensors of an adapter (base_model.model.model"),
    "part of an adapter": (
        safetensors(llama_tensors() | {"model.layers.0.self_attn.q_proj.lora_A.weight": (2, 4)}),
        "has tensors of an adapter (model.layers.0.self_attn.q_proj.lora_A.weight",
    ),
    "whole numbers": (
        safetensors(llama_tensors(), dtype="I32"),
        "has quantised weights (model.embed_tokens.weight is I32)",
    ),
    "eight bits": (safetensors(llama_tensors(), dtype="F8_E4M3"), "has quantised weights (model.embed_tokens.weight"),
    "no output layer": (safetensors(llama_tensors(tied=True)), "the weights have no output layer: model.embed_tokens."),
    "a layer less": (safetensors(llama_tensors(layers=1)), "the weights have nothing for layer 1 (counted from 0)"),
    "pointer": (LFS_POINTER + b"v1\n", "holds model.safetensors, which is a pointer of Git LFS"),
    "cut off": (safetensors(llama_tensors())[:-5], "holds model.safetensors, which is cut off: its tensors are"),
    "empty": (b"", "holds model.safetensors, which is empty"),
}


@pytest.mark.parametrize("case", WEIGHTS_PROBLEMS)
def test_what_the_weights_betray(mine, case):
    content, expected = WEIGHTS_PROBLEMS[case]
    (mine / "model.safetensors").write_bytes(content)
    assert expected in problems(mine)


FILE_PROBLEMS = {
    "no configuration": ("rm config.json", "has no config.json: it is no checkpoint in Hugging Face format"),
    "no weights": ("rm model.safetensors", "has no weights (one of model.safetensors, model.safetensors.index.json"),
    "weights of another program": ("mv model.safetensors model.pth", "model.pth is not loaded"),
    "no tokenizer": ("rm tokenizer.json", "has no tokenizer (one of tokenizer.json, tokenizer.model"),
    "half a tokenizer": ("mv tokenizer.json vocab.json", "has a vocab.json without its merges.txt"),
    "adapter beside": (
        "put adapter_config.json {}",
        "has an adapter (adapter_config.json), which would not be applied",
    ),
    "adapter alone": ("swap config.json adapter_config.json", "is an adapter (adapter_config.json) without its model"),
    "broken configuration": ("put config.json {", "has a config.json that is not JSON: "),
    "odd configuration": ("put config.json []", "has a config.json that is no JSON object"),
    "deep configuration": ("deep config.json", "has a config.json that is not JSON"),
    "pointer for a configuration": ("lfs config.json", "has a pointer of Git LFS in place of config.json"),
    "pointer for a tokenizer": ("lfs tokenizer.json", "has a pointer of Git LFS in place of tokenizer.json"),
    "cut tokenizer": ('put tokenizer.json {"model": {', "holds tokenizer.json, which is cut off or damaged"),
    "broken tokenizer settings": ("put tokenizer_config.json {", "has a tokenizer_config.json that is not JSON"),
    "two sets of weights": (
        "put model.safetensors.index.json {}",
        "has model.safetensors and model.safetensors.index.json, which are two sets of weights",
    ),
}


@pytest.mark.parametrize("case", FILE_PROBLEMS)
def test_what_the_files_betray(mine, case):
    command, expected = FILE_PROBLEMS[case]
    what, name, *rest = command.split(maxsplit=2)
    if what == "rm":
        (mine / name).unlink()
    elif what in ("mv", "swap"):
        (mine / name).rename(mine / rest[0])
    elif what == "put":
        (mine / name).write_text(rest[0])
    elif what == "deep":
        (mine / name).write_text("[" * 200_000)
    else:
        (mine / name).write_bytes(LFS_POINTER + b"v1\n")
    assert expected in problems(mine)


def test_all_problems_of_a_directory_are_said(tmp_path):
    directory = write_checkpoint(tmp_path / "mine", quantization_config={"quant_method": "awq"})
    (directory / "tokenizer.json").unlink()
    (directory / "model.safetensors").unlink()
    found = inspect(directory).problems
    assert [problem.split(" (")[0] for problem in found] == ["is quantised", "has no weights", "has no tokenizer"]


def sharded(directory, parts):
    """The small Llama in shards; ``parts`` says which tensors the index promises of each."""
    (directory / "model.safetensors").unlink()
    shapes = llama_tensors()
    names = list(shapes)
    half = {"model-1.safetensors": names[:9], "model-2.safetensors": names[9:]}
    for file, inside in half.items():
        (directory / file).write_bytes(safetensors({name: shapes[name] for name in inside}))
    index = {"metadata": {}, "weight_map": {name: file for file, inside in half.items() for name in inside} | parts}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))


def test_shards(mine):
    sharded(mine, {})
    assert (problems(mine), inspect(mine).parameters) == ("", PARAMETERS)
    sharded_again = mine.parent / "again"
    shutil.copytree(mine, sharded_again)
    (sharded_again / "model-2.safetensors").unlink()
    assert problems(sharded_again) == "lacks model-2.safetensors, which model.safetensors.index.json names"
    whole = (mine / "model-2.safetensors").read_bytes()
    (mine / "model-2.safetensors").write_bytes(whole[:-3])
    assert "holds model-2.safetensors, which is cut off" in problems(mine)
    (mine / "model-2.safetensors").write_bytes((mine / "model-1.safetensors").read_bytes())
    assert "has model.embed_tokens.weight twice, in model-1.safetensors and model-2.safetensors" in problems(mine)
    (mine / "model-2.safetensors").write_bytes(safetensors({"x": (1,)}))
    assert "has shards without tensors that model.safetensors.index.json names: lm_head.weight" in problems(mine)
    for index in ({}, {"weight_map": []}, {"weight_map": {"a": 1}}, {"weight_map": {}}):
        (mine / "model.safetensors.index.json").write_text(json.dumps(index))
        assert "is no index of weights" in problems(mine)


def test_pickled_weights(mine):
    (mine / "model.safetensors").unlink()
    file = mine / "pytorch_model.bin"
    torch.save({"model.embed_tokens.weight": torch.zeros(16, 4)}, file)
    assert zipfile.is_zipfile(file)
    assert (inspect(mine).problems, inspect(mine).parameters) == ((), None)
    whole = file.read_bytes()
    for content, expected in [
        (whole[:-30], "holds pytorch_model.bin, which is cut off or damaged"),
        (b"", "holds pytorch_model.bin, which is empty"),
        (LFS_POINTER + b"v1\n", "has a pointer of Git LFS in place of pytorch_model.bin"),
    ]:
        file.write_bytes(content)
        assert expected in problems(mine)


def test_more_tokens_than_learned_positions(tmp_path):
    shapes = llama_tensors() | {"transformer.wpe.weight": (32, 4)}
    directory = write_checkpoint(tmp_path / "mine", shapes=shapes)
    assert problems(directory, max_length=32) == ""
    expected = "has 32 positions (transformer.wpe.weight), so it cannot be fed max_length = 33 tokens"
    assert problems(directory, max_length=33) == expected
    assert problems(write_checkpoint(tmp_path / "rotary"), max_length=33) == ""


def test_unreadable_directories(tmp_path):
    assert problems(tmp_path / "absent") == "cannot be read: No such file or directory"
    (tmp_path / "file").write_text("")
    assert problems(tmp_path / "file") == "cannot be read: Not a directory"
    directory = write_checkpoint(tmp_path / "mine")
    (directory / "config.json").unlink()
    (directory / "config.json").mkdir()
    assert "has a config.json that cannot be read: Is a directory" in problems(directory)


# --- tokenizers of sentencepiece


@pytest.fixture
def pieces(mine):
    """A checkpoint whose tokenizer is a sentencepiece model alone."""
    (mine / "tokenizer.json").unlink()
    shutil.copy(architectures.piece_models()[0], mine / "tokenizer.model")
    return mine


def test_a_sentencepiece_model_alone_is_enough(pieces):
    assert problems(pieces) == ""
    assert transformers.AutoTokenizer.from_pretrained(pieces)("hello world")["input_ids"]


@pytest.mark.parametrize(
    ("lacking", "said"),
    [({"sentencepiece"}, "install sentencepiece, or"), ({"google.protobuf"}, "install protobuf, or")],
)
def test_packages_that_a_sentencepiece_model_needs(pieces, monkeypatch, lacking, said):
    monkeypatch.setattr(inspection, "_importable", lambda module: module not in lacking)
    assert f"has a sentencepiece tokenizer (tokenizer.model) alone: {said}" in problems(pieces)


def test_a_sentencepiece_model_for_a_tokenizer_of_another_kind(pieces):
    write_config = json.dumps(LLAMA | {"model_type": "gpt_neox"})
    (pieces / "config.json").write_text(write_config)
    assert "has tokenizer.model alone, which a tokenizer of model_type 'gpt_neox' does not read" in problems(pieces)
    (pieces / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}')
    assert problems(pieces) == ""


def test_what_is_no_sentencepiece_model(pieces):
    (pieces / "tokenizer.model").write_text("aGVs 0\nbG8= 1\n")  # tiktoken's format
    assert "has a tokenizer.model that is no sentencepiece model, and no tokenizer.json" in problems(pieces)
    (pieces / "tokenizer.model").write_bytes(LFS_POINTER)
    assert "has a pointer of Git LFS in place of tokenizer.model" in problems(pieces)


# --- parameters: torch's count

SMALL = {
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
MODELS = {
    "llama": (transformers.LlamaConfig, {}),
    "gpt_neox": (transformers.GPTNeoXConfig, {"num_key_value_heads": None}),
    "gpt2": (transformers.GPT2Config, {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 40}),
    "opt": (transformers.OPTConfig, {"ffn_dim": 24, "word_embed_proj_dim": 16}),
    "bloom": (transformers.BloomConfig, {"n_head": 2, "n_layer": 2}),
    "gemma": (transformers.GemmaConfig, {"head_dim": 8}),
    "qwen2": (transformers.Qwen2Config, {}),
    "falcon": (transformers.FalconConfig, {}),
    "phi3": (transformers.Phi3Config, {}),
    "mamba": (transformers.MambaConfig, {"state_size": 4}),
    "mixtral": (transformers.MixtralConfig, {"num_local_experts": 3}),
    "olmo2": (transformers.Olmo2Config, {}),
    "deepseek_v3": (
        transformers.DeepseekV3Config,
        {
            "num_key_value_heads": 2,
            "q_lora_rank": 8,
            "kv_lora_rank": 8,
            "qk_rope_head_dim": 4,
            "qk_nope_head_dim": 4,
            "v_head_dim": 8,
            "n_routed_experts": 4,
            "num_experts_per_tok": 2,
            "n_group": 2,
            "topk_group": 1,
            "moe_intermediate_size": 8,
            "first_k_dense_replace": 1,
        },
    ),
}


def saved(tmp_path, name, **options):
    config_class, changes = MODELS[name]
    torch.manual_seed(0)
    config = config_class(**{**SMALL, **changes, **options})
    model = transformers.AutoModelForCausalLM.from_config(config)
    directory = tmp_path / name
    write_checkpoint(directory)
    (directory / "model.safetensors").unlink()
    model.save_pretrained(directory, max_shard_size="8KB" if options.get("shards") else "5GB")
    return directory


def by_torch(directory):
    model = transformers.AutoModelForCausalLM.from_pretrained(directory)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_parameters_are_those_that_torch_counts(tmp_path, name, tied):
    directory = saved(tmp_path, name, tie_word_embeddings=tied)
    found = inspect(directory)
    assert (found.problems, found.certain, found.parameters) == ((), True, by_torch(directory))


@pytest.mark.parametrize("name", ["llama", "gpt2", "mixtral"])
def test_parameters_of_shards(tmp_path, name):
    directory = saved(tmp_path, name, shards=True)
    assert not (directory / "model.safetensors").exists()
    assert inspect(directory).parameters == by_torch(directory)


@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize(
    ("name", "embedding", "head"),
    [
        ("llama", "model.embed_tokens.weight", "lm_head.weight"),
        ("gpt2", "transformer.wte.weight", "lm_head.weight"),
        ("gpt_neox", "gpt_neox.embed_in.weight", "embed_out.weight"),
    ],
)
def test_tied_weights_under_both_names_count_once(tmp_path, name, embedding, head, equal):
    """Where they differ, transformers does not tie them, whatever the configuration says."""
    directory = saved(tmp_path, name, tie_word_embeddings=True)
    file = directory / "model.safetensors"
    tensors = load_file(file)
    tensors[head] = tensors[embedding].clone() + (0 if equal else 1)
    save_file(tensors, file, metadata={"format": "pt"})
    found = inspect(directory)
    assert (found.problems, found.parameters) == ((), by_torch(directory))
    assert found.parameters == sum(tensor.numel() for tensor in tensors.values()) - (640 if equal else 0)


def test_a_tie_that_config_json_leaves_to_the_architecture(tmp_path):
    for name in ("gpt2", "llama"):
        directory = saved(tmp_path, name)
        config = json.loads((directory / "config.json").read_text())
        del config["tie_word_embeddings"]
        (directory / "config.json").write_text(json.dumps(config))
        assert (inspect(directory).problems, inspect(directory).parameters) == ((), by_torch(directory))


def test_buffers_of_old_files_are_no_parameters(tmp_path):
    buffers = {
        "gpt2": {
            "transformer.h.0.attn.bias": torch.ones(1, 1, 40, 40),
            "transformer.h.0.attn.masked_bias": torch.zeros(()),
        },
        "gpt_neox": {
            "gpt_neox.layers.0.attention.bias": torch.ones(1, 1, 32, 32, dtype=torch.bool),
            "gpt_neox.layers.0.attention.masked_bias": torch.zeros(()),
            "gpt_neox.layers.0.attention.rotary_emb.inv_freq": torch.ones(4),
        },
        "llama": {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)},
    }
    for name, extra in buffers.items():
        directory = saved(tmp_path, name)
        file = directory / "model.safetensors"
        save_file(load_file(file) | extra, file, metadata={"format": "pt"})
        assert (inspect(directory).problems, inspect(directory).parameters) == ((), by_torch(directory))


def test_layers_that_are_not_loaded_are_no_parameters(tmp_path):
    directory = saved(tmp_path, "deepseek_v3")
    file = directory / "model.safetensors"
    extra = {"model.layers.2.eh_proj.weight": torch.ones(16, 32), "mtp.layers.0.x.weight": torch.ones(3)}
    save_file(load_file(file) | extra, file, metadata={"format": "pt"})
    assert inspect(directory).parameters == by_torch(directory)


def test_the_list_of_architectures_is_that_of_the_pinned_transformers():
    version, entries = known.load()
    assert version == transformers.__version__
    assert set(entries) == set(architectures.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


@pytest.mark.slow
def test_every_architecture_is_as_the_list_says():
    """Each causal model of transformers in its default size: the rules give torch's count and see nothing wrong."""
    content = json.loads(known.FILE.read_text())["architectures"]
    assert {name: architectures.entry(name) for name in content} == content


# --- any directory


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    return {name: saved(folder, name, tie_word_embeddings=tied) for name, tied in [("llama", False), ("gpt2", True)]}


def mangle(data, directory):
    """Change one thing of a checkpoint."""
    file = directory / "model.safetensors"
    kind = data.draw(st.sampled_from(["drop", "rename", "resize", "repeat", "type", "config", "file", "bytes"]))
    if kind in ("drop", "rename", "resize", "repeat", "type"):
        try:
            tensors = load_file(file)
        except (SafetensorError, FileNotFoundError, OSError):
            return
        if not tensors:
            return
        name = data.draw(st.sampled_from(sorted(tensors)))
        if kind == "drop":
            del tensors[name]
        elif kind == "rename":
            new = data.draw(
                st.sampled_from(["_orig_mod." + name, "module." + name, name + "_", name.replace(".0.", ".7.")])
            )
            tensors[new] = tensors.pop(name)
        elif kind == "resize":
            tensors[name] = torch.cat([tensors[name], tensors[name][:1]])
        elif kind == "repeat":
            new = data.draw(st.sampled_from(["lm_head.weight", "copy", "model.layers.9.x.weight", "x.inv_freq"]))
            tensors[new] = tensors[name].clone()
        else:
            tensors[name] = tensors[name].to(data.draw(st.sampled_from([torch.float16, torch.int32, torch.int8])))
        save_file(tensors, file, metadata={"format": "pt"})
    elif kind == "config":
        path = directory / "config.json"
        try:
            config = json.loads(path.read_text())
        except (OSError, ValueError):
            return
        if not isinstance(config, dict):
            return
        key = data.draw(st.sampled_from([*sorted(config), "quantization_config", "auto_map", "n_layer"]))
        value = data.draw(st.sampled_from([None, 0, -1, 1, 2, 3, 41, "x", True, False, [], {}, [1], {"a": {}}, 0.5]))
        if data.draw(st.booleans()):
            config[key] = value
        else:
            config.pop(key, None)
        path.write_text(json.dumps(config))
    else:
        names = sorted(os.listdir(directory))
        if not names:
            return
        path = directory / data.draw(st.sampled_from(names))
        if kind == "file":
            if data.draw(st.booleans()):
                path.unlink()
            else:
                path.rename(
                    directory / data.draw(st.sampled_from(["vocab.json", "pytorch_model.bin", "x.safetensors"]))
                )
        else:
            content = path.read_bytes()
            place = data.draw(st.integers(0, max(0, len(content) - 1)))
            path.write_bytes(data.draw(st.sampled_from([content[:place], content + b"}", b"", content[place:]])))


@settings(suppress_health_check=list(HealthCheck), max_examples=int(os.environ.get("ELUSIVE_EXAMPLES", 25)))
@given(st.data())
def test_any_directory_is_refused_or_counted_as_torch_does(real, tmp_path_factory, data):
    """Never a traceback; and where all tensors are the model's, torch counts the same."""
    directory = tmp_path_factory.mktemp("any") / "mine"
    shutil.copytree(real[data.draw(st.sampled_from(["llama", "gpt2"]))], directory)
    for _ in range(data.draw(st.integers(1, 2))):
        mangle(data, directory)
    try:
        found = inspect(directory, data.draw(st.booleans()), data.draw(st.sampled_from([None, 8, 64])))
        assert all(isinstance(problem, str) for problem in found.problems)
        if found.problems or not found.certain:
            return
        try:
            model, report = transformers.AutoModelForCausalLM.from_pretrained(directory, output_loading_info=True)
        except Exception:  # left to the loader
            return
        if any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")):
            return
        assert found.parameters == sum(parameter.numel() for parameter in model.parameters())
    finally:
        shutil.rmtree(directory.parent)


def test_a_directory_is_left_as_it_is(mine):
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in mine.iterdir()}
    inspect(mine)
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in Path(mine).iterdir()}


def test_files_that_decide_the_scores(mine):
    """Code decides too where it is run, and so does a tokenizer of any kind."""
    for name in ("modeling_mine.py", "spiece.model", "training.json", "README.md"):
        (mine / name).write_text("x")
    names = {path.name for path in decisive_files(mine)}
    assert names == {"config.json", "model.safetensors", "tokenizer.json", "spiece.model", "modeling_mine.py"}
