"""A small random model of every architecture that transformers knows as a causal language model."""

from __future__ import annotations

import dataclasses

import torch
import transformers
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from scoring_checkpoints import random_model

VOCABULARY = 512
#: Positions that the small models have.
LENGTH = 256
#: Small values for what configurations call their sizes; each takes those that it knows.
SMALL = {
    "vocab_size": VOCABULARY,
    "unpadded_vocab_size": VOCABULARY,
    "output_vocab_size": VOCABULARY,
    "vocab_size_per_layer_input": VOCABULARY,
    "max_position_embeddings": LENGTH,
    "n_positions": LENGTH,
    "n_ctx": LENGTH,
    "max_seq_len": LENGTH,
    **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"), 0),
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "embedding_size", "word_embed_proj_dim", "dim"), 64),
    **dict.fromkeys(("emb_dim", "attention_hidden_size", "backbone_hidden_size", "lru_width"), 64),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "encoder_layers"), 2),
    **dict.fromkeys(("num_decoder_layers", "num_encoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads", "swa_num_attention_heads"), 4),
    **dict.fromkeys(("decoder_attention_heads", "encoder_attention_heads", "num_decoder_attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "swa_num_key_value_heads", "num_kv_heads"), 2),
    **dict.fromkeys(
        ("head_dim", "swa_head_dim", "dim_head", "attention_head_dim", "kv_channels", "linear_head_dim"), 16
    ),
    **dict.fromkeys(("v_head_dim", "qk_rope_head_dim", "qk_nope_head_dim", "rotary_dim", "local_head_dim"), 16),
    **dict.fromkeys(("intermediate_size", "n_inner", "decoder_ffn_dim", "encoder_ffn_dim", "ffn_dim", "dff"), 96),
    **dict.fromkeys(("ffn_hidden_size", "dim_ff", "shared_intermediate_size", "intermediate_size_mlp"), 96),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "expert_ffn_hidden_size"), 32),
    **dict.fromkeys(("shared_experts_intermediate_size", "moe_shared_expert_intermediate_size"), 32),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4),
    **dict.fromkeys(("num_experts_per_tok", "moe_k", "moe_topk", "top_k_experts"), 2),
    **dict.fromkeys(("n_group", "topk_group", "n_shared_experts", "num_shared_experts", "moe_num_shared_experts"), 1),
    **dict.fromkeys(("num_expert_group", "first_k_dense_replace", "num_dense_layers"), 1),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "o_lora_rank"), 32),
    **dict.fromkeys(("index_head_dim",), 32),
    **dict.fromkeys(("index_n_heads",), 2),
    **dict.fromkeys(("sliding_window", "window_size", "index_topk", "sliding_window_size"), 16),
    **dict.fromkeys(("attention_window_size", "attention_chunk_size", "local_attention"), 16),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim", "hidden_size_per_layer_input"), 16),
    **dict.fromkeys(("linear_num_key_heads", "linear_num_heads"), 2),
    **dict.fromkeys(("linear_num_value_heads",), 4),
    **dict.fromkeys(("state_size", "mamba_d_state", "ssm_state_size"), 16),
    **dict.fromkeys(("mamba_n_heads", "mamba_num_heads", "n_mamba_heads"), 4),
    **dict.fromkeys(("mamba_d_head", "mamba_head_dim"), 32),
    "mamba_n_groups": 1,
    "n_groups": 1,
}


def _fill(kind: type, more: dict[str, object]) -> transformers.PreTrainedConfig:
    known = {field.name for field in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else set(SMALL)
    return kind(**({name: value for name, value in SMALL.items() if name in known} | more))


def small_config(model_type: str, **more: object) -> transformers.PreTrainedConfig:
    """A configuration of a type with small sizes, and ``more``; may raise anything where they do not go together."""
    kind = CONFIG_MAPPING[model_type]
    more = OWN.get(model_type, {}) | more
    parts = {}
    for name, part in (getattr(kind, "sub_configs", None) or {}).items():
        if "text" in name and isinstance(part, type) and part is not transformers.AutoConfig:
            parts[name] = _fill(part, OWN.get(part.model_type, {})).to_dict()
    return _fill(kind, parts | more)


def small_model(model_type: str, **more: object) -> transformers.PreTrainedModel:
    """A random model of the type, of at most a few million parameters."""
    config = small_config(model_type, **more)
    with torch.device("meta"):
        size = sum(p.numel() for p in transformers.AutoModelForCausalLM.from_config(config).parameters())
    if size > 20_000_000:
        raise ValueError(f"{size:,} parameters")
    return random_model(config)


#: What some types need besides, or instead.
_ONE_GROUP = {"num_key_value_heads": 4}
_HYBRID = {"num_hidden_layers": 4}
OWN: dict[str, dict[str, object]] = {
    **dict.fromkeys(
        (
            *("axk1", "axk2", "deepseek_v2", "deepseek_v3", "deepseek_v32", "dots3_note", "dots3_note_text"),
            *("glm4_moe_lite", "glm_moe_dsa", "longcat_flash", "minicpm3", "sarvam_mla", "youtu"),
        ),
        _ONE_GROUP,
    ),
    **dict.fromkeys(("qwen3_5_moe_text", "qwen3_5_text", "qwen3_next", "lfm3"), _HYBRID),
    "bailing_hybrid": {"num_hidden_layers": 4, "layer_group_size": 2, "num_key_value_heads": 4},
    "bamba": {"attn_layer_indices": [1]},
    "falcon_h1": {"mamba_d_ssm": 128},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"]},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "kimi_linear": {"layer_types": ["linear_attention", "full_attention"], "num_key_value_heads": 4},
    "mamba2": {"num_heads": 8, "head_dim": 16, "n_groups": 1},
    "recurrent_gemma": {"num_hidden_layers": 3},
    "reformer": {
        "is_decoder": True,
        "attn_layers": ["local", "lsh"],
        "axial_pos_shape": [16, 16],
        "axial_pos_embds_dim": [32, 32],
        "attention_head_size": 16,
        "feed_forward_size": 96,
        "num_buckets": 8,
    },
    "xlstm": {"qk_dim_factor": 1.0, "chunk_size": 16},
    "dory": {"num_hidden_layers": 4, "n_input_layers": 1, "n_output_layers": 1},
    "lfm2_moe": {"num_hidden_layers": 4, "layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 10000.0}}},
    "gemma3n_text": {
        "num_hidden_layers": 4,
        "num_kv_shared_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    },
    "qwen4_exp_text": {
        "num_hidden_layers": 4,
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 32,
        "indexer_budget": 32,
        "indexer_compress_ratio": 4,
        "output_gate_type": "sigmoid",
    },
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "zamba": {
        "num_key_value_heads": 4,
        "attention_hidden_size": 128,
        "attention_head_dim": 32,
        "num_hidden_layers": 6,
        "layers_block_type": ["linear_attention", "linear_attention", "hybrid"] * 2,
    },
    "zamba2": {
        "num_hidden_layers": 6,
        "layers_block_type": ["linear_attention", "linear_attention", "hybrid"] * 2,
        "num_mem_blocks": 1,
    },
    "zaya": {"num_experts_per_tok": 1},
}
TYPES = tuple(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
