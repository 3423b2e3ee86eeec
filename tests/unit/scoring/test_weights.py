"""A checkpoint is scored whole or not at all: tensors, types, prefixes, heads, adapters, and what no file holds."""

from __future__ import annotations

import json
import logging
import shutil

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers

from elusive.errors import ElusiveError
from elusive.scoring import loading, reference, weights
from scoring_checkpoints import neox_config, random_model, save_checkpoint, train_tokenizer
from small_models import small_model

LLAMA = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}


def llama(**more: object) -> transformers.PreTrainedModel:
    return random_model(transformers.LlamaConfig(**LLAMA, max_position_embeddings=64, **more))


@pytest.fixture
def directory(tmp_path):
    """An untied Llama of two layers."""
    llama().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def tensors_of(directory):
    return safetensors.torch.load_file(directory / "model.safetensors")


def save(directory, tensors):
    safetensors.torch.save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def configure(directory, **changes):
    path = directory / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def refused(directory, match, **options):
    with pytest.raises(ElusiveError, match=match) as error:
        loading.load_model(directory, **options)
    assert str(directory) in str(error.value)
    return str(error.value)


def test_a_whole_checkpoint_is_loaded(directory):
    notes: list[str] = []
    model = loading.load_model(directory, notes=notes)
    assert notes == []
    saved = tensors_of(directory)
    assert {name: torch.equal(tensor, saved[name]) for name, tensor in model.state_dict().items()} == dict.fromkeys(
        saved, True
    )


@pytest.mark.parametrize("name", sorted(llama().state_dict()))
def test_no_tensor_may_be_missing(directory, name):
    save(directory, {key: tensor for key, tensor in tensors_of(directory).items() if key != name})
    refused(directory, rf"lack 1 tensor of the model .* would leave it random: '{name}'")


def test_nor_of_pickled_weights(directory):
    tensors = tensors_of(directory)
    (directory / "model.safetensors").unlink()
    torch.save(tensors, directory / "pytorch_model.bin")
    assert torch.equal(loading.load_model(directory).lm_head.weight, tensors["lm_head.weight"])
    del tensors["model.norm.weight"]
    torch.save(tensors, directory / "pytorch_model.bin")
    refused(directory, "lack 1 tensor .*'model.norm.weight'")


def test_a_base_model_without_head_is_named_as_one(directory):
    tensors = tensors_of(directory)
    del tensors["lm_head.weight"]
    save(directory, tensors)
    refused(directory, "'lm_head.weight'; without its output layer it is a base model, which predicts no tokens")
    save(directory, {name.removeprefix("model."): tensor for name, tensor in tensors.items()})
    refused(directory, "'lm_head.weight'; without its output layer it is a base model")


def test_a_base_model_whose_head_is_its_embedding_is_whole(tmp_path):
    tied = llama(tie_word_embeddings=True)
    tied.save_pretrained(tmp_path / "causal")
    tied.model.save_pretrained(tmp_path / "base")
    assert not any(name.startswith("model.") for name in tensors_of(tmp_path / "base"))
    tokens = torch.arange(9)[None]
    expected = tied(tokens).logits
    for name in ("causal", "base"):
        assert torch.equal(loading.load_model(tmp_path / name)(tokens).logits, expected)


def test_more_layers_in_the_configuration_than_in_the_files(directory):
    configure(directory, num_hidden_layers=3)
    refused(directory, "lack 9 tensors .*'model.layers.2.*config.json names 3 layers, the files have 2")


def test_layers_without_end_are_not_made(directory):
    configure(directory, num_hidden_layers=10**9)
    refused(directory, r"config.json: num_hidden_layers: 1000000000 layers, but the files hold 21 tensors")


def test_more_layers_in_the_files_than_in_the_configuration(directory):
    configure(directory, num_hidden_layers=1)
    refused(directory, r"hold 'model.layers.1.* and 5 more, .* of more layers or parts than config.json gives it")


def test_layers_that_predict_further_ahead_are_left_out(directory):
    configure(directory, num_hidden_layers=1, num_nextn_predict_layers=1)
    notes: list[str] = []
    loading.load_model(directory, notes=notes)
    assert notes and "9 tensors in the files that the model does not use" in notes[0]


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        ("_orig_mod.", "torch.compile has wrapped"),
        ("module.", "DataParallel, DeepSpeed"),
        ("base_model.model.", "as PEFT saves them; merge the adapter"),
    ],
)
def test_names_of_a_wrapped_model(directory, prefix, said):
    save(directory, {prefix + name: tensor for name, tensor in tensors_of(directory).items()})
    message = refused(directory, said)
    assert repr(prefix) in message


def test_names_of_compiled_layers(directory):
    tensors = tensors_of(directory)
    save(directory, {name.replace("layers.0.", "layers.0._orig_mod."): tensor for name, tensor in tensors.items()})
    refused(directory, "lack 9 tensors .*have '_orig_mod.', as a model saves them that torch.compile has wrapped")


def test_shapes_are_those_of_the_configuration(directory):
    tensors = tensors_of(directory)
    save(directory, tensors | {"model.layers.1.mlp.up_proj.weight": torch.randn(47, 32)})
    refused(directory, r"'model.layers.1.mlp.up_proj.weight' has the shape \(47, 32\) in the files, but \(48, 32\)")
    save(directory, tensors)
    configure(directory, vocab_size=10**9)  # which would take 256 GB
    refused(directory, r"has the shape \(64, 32\) in the files, but \(1000000000, 32\) by config.json \(and 1 more")


def test_a_head_for_another_task_is_refused(directory):
    tensors = tensors_of(directory)
    score = {"score.weight": torch.randn(2, 32)}
    save(directory, {name: tensor for name, tensor in tensors.items() if name != "lm_head.weight"} | score)
    refused(directory, r"'lm_head.weight'; they hold 'score.weight' instead, the head of a model for another task")
    # With tied weights nothing is missing.
    tied = llama(tie_word_embeddings=True)
    tied.save_pretrained(directory)
    save(directory, tensors_of(directory) | score)
    refused(directory, r"hold 'score.weight', which the model does not have: the head of a model for another task")
    configure(directory, architectures=["LlamaForSequenceClassification"])
    refused(directory, r"config.json: architectures: LlamaForSequenceClassification has another output than")


def test_what_is_left_over_and_harmless_is_said(directory):
    save(directory, tensors_of(directory) | {"model.rotary_emb.inv_freq": torch.ones(4), "ema.decay": torch.ones(1)})
    notes: list[str] = []
    loading.load_model(directory, notes=notes)
    assert notes == ["1 tensor in the files that the model does not use: 'ema.decay'"]


@pytest.mark.parametrize("file", ["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"])
def test_an_adapter_beside_the_weights_is_not_passed_over(directory, file):
    (directory / file).write_text("{}")
    message = refused(directory, "merge the adapter first")
    assert str(directory / file) in message


def test_adapters_among_the_weights_are_not_passed_over(directory):
    name = "model.layers.0.self_attn.q_proj.lora_A.default.weight"
    save(directory, tensors_of(directory) | {name: torch.ones(2, 32)})
    refused(directory, f"hold '{name}', .*an adapter that is not merged")


@pytest.mark.parametrize(
    "quantized",
    [
        {"quantization_config": {"quant_method": "gptq", "bits": 4}},
        {"text_config": {"quantization_config": {"quant_method": "fp8"}}},
        {"compression_config": {"format": "pack-quantized"}},
    ],
)
def test_quantised_weights_are_refused(directory, quantized):
    configure(directory, **quantized)
    refused(directory, r"config.json: (text_config\.)?(quantization|compression)_config.*the weights are quantised")


def test_weights_that_are_whole_numbers_are_quantised(directory):
    tensors = tensors_of(directory)
    save(directory, tensors | {"lm_head.weight": (tensors["lm_head.weight"] * 100).to(torch.int8)})
    refused(directory, "'lm_head.weight' is of type I8, which a weight is only when it is quantised")
    save(directory, tensors | {"model.layers.0.mlp.up_proj.weight_scale": torch.ones(48)})
    refused(directory, "weight_scale', which the model does not have: the weights are quantised")


def test_an_encoder_decoder_is_refused(tmp_path):
    config = transformers.T5Config(
        vocab_size=64, d_model=32, d_kv=8, d_ff=48, num_layers=1, num_heads=4, decoder_start_token_id=0
    )
    transformers.T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    refused(tmp_path, r"config.json: is_encoder_decoder: an encoder-decoder model \(t5\)")
    path = tmp_path / "config.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "is_encoder_decoder"}))
    refused(tmp_path, "is of no causal language model that transformers knows")


def test_a_masked_language_model_is_refused(tmp_path):
    bert = small_model("bert", is_decoder=False)
    transformers.BertForMaskedLM(bert.config).save_pretrained(tmp_path)
    refused(tmp_path, "architectures: BertForMaskedLM has another output")


def test_a_tensor_in_two_shards(directory):
    tensors = tensors_of(directory)
    (directory / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[:9], "model-00002-of-00002.safetensors": names[9:]}
    index = {"metadata": {}, "weight_map": {name: shard for shard, some in shards.items() for name in some}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))

    def write(more):
        for shard, some in shards.items():
            held = {name: tensors[name] for name in some} | (more if shard.startswith("model-00002") else {})
            safetensors.torch.save_file(held, directory / shard, metadata={"format": "pt"})

    write({})
    assert torch.equal(loading.load_model(directory).lm_head.weight, tensors["lm_head.weight"])
    write({names[0]: tensors[names[0]].clone()})
    assert torch.equal(loading.load_model(directory).lm_head.weight, tensors["lm_head.weight"])
    write({names[0]: tensors[names[0]] + 1})
    refused(directory, rf"'{names[0]}' is there twice with different values \(in model-00001-.* and in model-00002-")
    write({})
    (directory / "model-00002-of-00002.safetensors").unlink()
    refused(directory, r"index.json: names model-00002-of-00002.safetensors, which is not there")


def test_a_tensor_in_two_pickled_shards(directory):
    tensors = tensors_of(directory)
    (directory / "model.safetensors").unlink()
    shards = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]
    index = {"metadata": {}, "weight_map": dict.fromkeys(tensors, shards[0]) | {"lm_head.weight": shards[1]}}
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    torch.save(tensors, directory / shards[0])
    torch.save({"lm_head.weight": tensors["lm_head.weight"] + 1}, directory / shards[1])
    refused(directory, rf"'lm_head.weight' is there twice \(in {shards[0]} and in {shards[1]}\)")


def test_two_names_of_one_tensor(directory):
    tensors = tensors_of(directory)
    save(directory, tensors | {"embed_tokens.weight": torch.randn(64, 32)})
    refused(directory, "'embed_tokens.weight' and 'model.embed_tokens.weight' both stand for|has other values")


def test_another_set_of_weights_is_said(directory):
    shutil.copy(directory / "model.safetensors", directory / "model-00001-of-00001.safetensors")
    notes: list[str] = []
    loading.load_model(directory, notes=notes)
    assert notes == [
        "the directory holds model-00001-of-00001.safetensors too; the weights are those of model.safetensors"
    ]


@pytest.mark.parametrize("verbosity", [logging.WARNING, logging.CRITICAL])
def test_a_tied_head_with_values_of_its_own_is_said(tmp_path, verbosity):
    """Whatever transformers is allowed to say."""
    llama(tie_word_embeddings=True).save_pretrained(tmp_path)
    save(tmp_path, tensors_of(tmp_path) | {"lm_head.weight": torch.randn(64, 32)})
    notes: list[str] = []
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity(verbosity)
    try:
        model = loading.load_model(tmp_path, notes=notes)
    finally:
        transformers.logging.set_verbosity(before)
    assert torch.equal(model.lm_head.weight, tensors_of(tmp_path)["lm_head.weight"])
    assert len(notes) == 1
    assert "config.json ties 'lm_head.weight' to 'model.embed_tokens.weight', but the files hold different" in notes[0]
    # What the note says of lm-eval, which calls this.
    model.tie_weights()
    assert model.lm_head.weight is model.model.embed_tokens.weight
    # Twice the same values is no contradiction.
    save(tmp_path, tensors_of(tmp_path) | {"lm_head.weight": tensors_of(tmp_path)["model.embed_tokens.weight"].clone()})
    notes.clear()
    loading.load_model(tmp_path, notes=notes)
    assert notes == []


def test_a_distributed_checkpoint_would_be_loaded_instead(directory):
    shutil.copy(directory / "model.safetensors", directory / "shard-00001-model-00001-of-00001.safetensors")
    refused(directory, "shard-00001-model-00001-of-00001.safetensors: a distributed checkpoint's shard")


def test_experts_that_are_incomplete_are_named(tmp_path):
    made = small_model("mixtral")
    made.save_pretrained(tmp_path)
    tensors = tensors_of(tmp_path)
    names = [name for name in tensors if ".experts." in name]
    assert len(names) > 4
    del tensors[names[1]]
    save(tmp_path, tensors)
    message = refused(tmp_path, "experts")
    assert "lack" in message or "shape" in message or "cannot be made of" in message


def test_a_renamed_architecture_is_compared_by_its_own_names(archive_path, tmp_path):
    """GPT-NeoX's tensors have other names in files than in transformers."""
    tokenizer = train_tokenizer(archive_path, tmp_path / "tokenizer")
    directory = save_checkpoint(random_model(neox_config()), tokenizer, tmp_path / "neox")
    model = loading.load_model(directory)
    headers = weights.read_headers([directory / "model.safetensors"])
    names = weights._Names(model)
    assert all(names.resolve(name) in names.own for name in headers)
    with torch.no_grad():
        model.get_output_embeddings().weight[-1, -1] += 1
    with pytest.raises(ElusiveError, match="has other values in the loaded model than in the file"):
        weights._check_values(directory, headers, weights._Names(model))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\xff" * 7, "does not begin with a header"),
        (b"\x08" + b"\0" * 7 + b"[1, 2, 3", "does not begin with a header"),
        (b"\x02" + b"\0" * 7 + b"{}", "lack"),
        (b"\xff" * 64, "does not begin with a header"),
        (b"\x10" + b"\0" * 7 + b'{"a": {"b": 12}}', "its header is damaged: a"),
        (b"\x10\x10" + b"\0" * 6 + b"{" + b" " * 15, "cut off"),
    ],
)
def test_damaged_files_are_named(directory, content, said):
    (directory / "model.safetensors").write_bytes(content)
    refused(directory, said)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"model_type": "llama", "hidden_size": "many"}', "[" * 100_000])
def test_damaged_configurations_are_named(directory, text):
    (directory / "config.json").write_text(text)
    refused(directory, "config.json|transformers cannot load this checkpoint")


OWN = """
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput


class OwnConfig(PretrainedConfig):
    model_type = "own"

    def __init__(self, vocab_size=64, hidden_size=32, **options):
        self.vocab_size, self.hidden_size = vocab_size, hidden_size
        super().__init__(**options)


class OwnModel(PreTrainedModel):
    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)
        self.embed = nn.Embedding(config.vocab_size, config.hidden_size)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.register_buffer("decay", torch.linspace(0.1, 0.9, config.hidden_size), persistent=False)
        self.scales = torch.linspace(1.0, 2.0, config.hidden_size)
        self.post_init()

    def get_input_embeddings(self):
        return self.embed

    def forward(self, input_ids):
        state, states = 0, []
        for x in self.embed(input_ids).unbind(1):
            state = state * self.decay + x
            states.append(torch.tanh(state) * self.scales)
        return CausalLMOutput(logits=self.head(torch.stack(states, 1)))
"""


def test_what_a_model_s_own_code_computes_is_computed(tmp_path, monkeypatch):
    """transformers makes models without memory, and what their code computes then is whatever the memory held."""
    monkeypatch.setattr(transformers.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    directory = tmp_path / "own"
    directory.mkdir()
    classes = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    (directory / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": classes}))
    (directory / "own.py").write_text(OWN)
    generator = torch.Generator().manual_seed(0)
    made = {name: torch.randn(64, 32, generator=generator) for name in ("embed.weight", "head.weight")}
    save(directory, made)
    model = loading.load_model(directory, trust_remote_code=True)
    assert torch.equal(model.decay, torch.linspace(0.1, 0.9, 32))
    tokens = np.array([3, 1, 4, 1, 5])
    state, expected = torch.zeros(32), []
    for token in tokens:
        state = state * torch.linspace(0.1, 0.9, 32) + made["embed.weight"][token]
        expected.append(made["head.weight"] @ (torch.tanh(state) * torch.linspace(1.0, 2.0, 32)))
    torch.testing.assert_close(reference.Reference(model).logits(tokens), torch.stack(expected))
