"""Every architecture gives lm-eval's numbers, and is run packed exactly where it can be."""

from __future__ import annotations

import copy
import types

import numpy as np
import pytest
import torch
import transformers

from elusive.items.archive import Archive
from elusive.items.benchmarks import BENCHMARKS
from elusive.items.sources import archive_rows
from elusive.scoring import loglikelihood, onednn, packed, precision
from elusive.scoring.tokenize import resolve_max_length, tokenize
from scoring_checkpoints import lm_eval_scores, random_model, train_tokenizer

SMALL = {
    "vocab_size": 512,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "intermediate_size": 96,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
GQA = {**SMALL, "num_key_value_heads": 2}

# name -> (configuration, way in which it is run, less the part that depends on the processor)
ARCHITECTURES = {
    "gpt_neox": (transformers.GPTNeoXConfig(**SMALL), "packed+head"),
    "gpt_neox_sequential": (transformers.GPTNeoXConfig(**SMALL, use_parallel_residual=False), "packed+head"),
    "gpt2": (
        transformers.GPT2Config(vocab_size=512, n_embd=64, n_layer=2, n_head=4, n_positions=256, bos_token_id=0),
        "packed+head",
    ),
    "llama": (transformers.LlamaConfig(**GQA), "packed+head"),
    "llama_tied": (transformers.LlamaConfig(**GQA, tie_word_embeddings=True), "packed+head"),
    "olmo": (transformers.OlmoConfig(**SMALL), "packed+head"),
    "olmo2": (transformers.Olmo2Config(**GQA), "packed+head"),
    "qwen2": (transformers.Qwen2Config(**GQA), "packed+head"),
    "gemma": (transformers.GemmaConfig(**GQA, head_dim=16), "packed+head"),
    "phi": (transformers.PhiConfig(**SMALL), "packed+head"),  # its output layer has a bias
    "opt": (
        transformers.OPTConfig(
            vocab_size=512,
            hidden_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            ffn_dim=96,
            max_position_embeddings=256,
            word_embed_proj_dim=64,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=0,
        ),
        "packed+head",
    ),
    # Logits are rescaled after the output layer, so the model's own forward has to compute them.
    "granite": (transformers.GraniteConfig(**GQA, logits_scaling=8.0), "packed"),
    # A window within the model's length, so that not every node sees the whole path to it.
    "mistral_window": (transformers.MistralConfig(**GQA, sliding_window=20), "plain+head"),
    "gemma2": (transformers.Gemma2Config(**GQA, head_dim=16, sliding_window=16), "plain"),
    "llama4_chunks": (
        transformers.Llama4TextConfig(
            **GQA, head_dim=16, attention_chunk_size=16, intermediate_size_mlp=96, num_local_experts=1, moe_layers=[]
        ),
        "plain",
    ),
    "gpt_neo_local": (
        transformers.GPTNeoConfig(
            vocab_size=512,
            hidden_size=64,
            num_layers=2,
            num_heads=4,
            attention_types=[[["global", "local"], 1]],
            window_size=16,
            max_position_embeddings=256,
            bos_token_id=0,
            eos_token_id=0,
        ),
        "plain+head",
    ),
    # No positions that could be given, or no attention at all.
    "bloom": (transformers.BloomConfig(vocab_size=512, hidden_size=64, n_layer=2, n_head=4), "plain+head"),
    "falcon_alibi": (transformers.FalconConfig(**SMALL, alibi=True), "plain+head"),
    "mpt": (transformers.MptConfig(vocab_size=512, d_model=64, n_layers=2, n_heads=4, max_seq_len=256), "plain+head"),
    "mamba": (transformers.MambaConfig(vocab_size=512, hidden_size=64, num_hidden_layers=2), "plain+head"),
}


@pytest.fixture(scope="module")
def tokenizer(archive_path, tmp_path_factory):
    directory = train_tokenizer(archive_path, tmp_path_factory.mktemp("tokenizer"), vocabulary=512)
    return transformers.AutoTokenizer.from_pretrained(directory)


@pytest.fixture(scope="module")
def pairs(archive_path):
    with Archive(archive_path) as archive:
        rows = {name: archive_rows(name, archive).rows[:4] for name in ("arc_easy", "winogrande", "mmlu")}
    real = [pair for name in rows for row in rows[name] for pair in BENCHMARKS[name].render(row).requests()]
    return [*real, ("", " alone"), ("the same", " text"), ("the", " same text"), ("a b " * 80, " is cut from the left")]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["gpt_neox", "llama", "granite", "bloom"])
def test_a_gpu_gives_the_same(tokenizer, pairs, name):
    config, path = ARCHITECTURES[name]
    model = random_model(copy.deepcopy(config))
    values, greedy = lm_eval_scores(model, tokenizer, pairs)
    contexts, continuations = zip(*pairs, strict=True)
    max_length = resolve_max_length(model.config, tokenizer)
    requests = tokenize(tokenizer, contexts, continuations, max_length)
    scorer = loglikelihood.Scorer(model.cuda(), requests, max_length)
    scores = scorer.score(requests)
    assert scorer.path == path
    np.testing.assert_allclose(scores.log_likelihood, values, atol=1e-3, rtol=1e-5)
    assert (scores.is_greedy == greedy).all()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_equals_lm_eval(tokenizer, pairs, name):
    config, path = ARCHITECTURES[name]
    model = random_model(copy.deepcopy(config))
    values, greedy = lm_eval_scores(model, tokenizer, pairs)
    contexts, continuations = zip(*pairs, strict=True)
    max_length = resolve_max_length(model.config, tokenizer)
    requests = tokenize(tokenizer, contexts, continuations, max_length)
    scorer = loglikelihood.Scorer(model, requests, max_length)
    scores = scorer.score(requests)
    tolerance = loglikelihood.tolerance_of(values)
    assert (np.abs(scores.log_likelihood - values) <= tolerance).all(), np.abs(scores.log_likelihood - values).max()
    assert (scores.is_greedy == greedy).all()
    assert scorer.path.replace("+onednn", "") == path
    # Mamba reads the weights of its linear layers itself.
    assert ("+onednn" in scorer.path) == (onednn.available() and name != "mamba")


@pytest.fixture(scope="module")
def sample(tokenizer, pairs):
    contexts, continuations = zip(*pairs, strict=True)
    return lambda model: tokenize(tokenizer, contexts, continuations, resolve_max_length(model.config, tokenizer))


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_half_precision_hides_no_wrong_way(sample, monkeypatch, name):
    """Even where nothing is known about the architecture, rounding is not taken for an excuse."""
    config, path = ARCHITECTURES[name]
    monkeypatch.setattr(packed, "fits", lambda *_: True)
    model = random_model(copy.deepcopy(config)).bfloat16()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    scorer = loglikelihood.Scorer(model, sample(model), 256)
    assert scorer.path == path
    after = model.state_dict()
    assert all(after[key].dtype == value.dtype and torch.equal(after[key], value) for key, value in before.items())


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_half_precision_without_memory_for_float32(sample, monkeypatch, name):
    """Then a way is held against what rounding may do: enough for packing, if not for a cap that changes little."""
    config, path = ARCHITECTURES[name]
    monkeypatch.setattr(packed, "fits", lambda *_: True)
    monkeypatch.setattr(precision.psutil, "virtual_memory", lambda: types.SimpleNamespace(available=1 << 20))
    model = random_model(copy.deepcopy(config)).bfloat16()
    scorer = loglikelihood.Scorer(model, sample(model), 256)
    assert scorer.path == ("plain+head" if name == "gemma2" else path)
