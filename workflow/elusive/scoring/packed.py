"""Many rows in one sequence without padding: every layer but attention sees the bare tokens.

Attention alone is done per row: queries, keys and values are spread out into padded rows, a mask lets a node see its
ancestors in the row's tree, and the result is gathered back. The keys and values of a group's prefix come from a run
of their own and are seen by every node. Positions are given explicitly, so a model needs position ids that it honours
(rotary or learned positions) and an attention that can be exchanged; what else it does with its keys, values or
positions (ALiBi, sliding windows, recurrence) rules packing out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "elusive_packed"
_ROPE_FREE_OF_LENGTH = {"default", "linear", "llama3", "yarn", "proportional"}

KeysValues = tuple[torch.Tensor, torch.Tensor]  # each [1, heads, tokens, width]


@dataclass
class Layout:
    """How the nodes of one forward pass lie in rows; handed through the model to every attention layer."""

    spread: torch.Tensor  # [rows, width] node of every place, 0 for padding
    gather: torch.Tensor  # [nodes] place of every node
    mask: torch.Tensor  # [rows, 1, width, prefix + width] additive
    prefix: list[KeysValues]  # by layer, empty without a prefix
    keep: bool = False  # whether to keep keys and values, in ``kept``
    kept: list[KeysValues] = field(default_factory=list)
    layers_run: int = 0


class Unfit(Exception):
    """The model asks its attention for something that packing does not provide."""


def layout(
    row_lengths: np.ndarray,
    ends: np.ndarray,
    prefix: list[KeysValues],
    device: torch.device,
    dtype: torch.dtype,
    keep: bool = False,
) -> Layout:
    """The layout of rows with ``row_lengths`` nodes and subtrees that end at ``ends``, behind ``prefix``."""
    rows, width = len(row_lengths), int(row_lengths.max())
    before = prefix[0][0].shape[2] if prefix else 0
    starts = np.concatenate([[0], np.cumsum(row_lengths)])
    row = np.repeat(np.arange(rows), row_lengths)
    gather = row * width + np.arange(len(row)) - starts[row]
    spread = np.zeros(rows * width, np.int64)
    spread[gather] = np.arange(len(row))
    padded_ends = np.tile(np.arange(1, width + 1), rows)  # a padded place is seen by itself alone
    padded_ends[gather] = ends
    place = torch.arange(width, device=device)
    last = torch.from_numpy(padded_ends).to(device).view(rows, 1, 1, width)
    hidden = (place[:, None] < place[None, :]) | (place[:, None] >= last)
    mask = torch.zeros(rows, 1, width, before + width, device=device, dtype=dtype)
    mask[..., before:].masked_fill_(hidden, -torch.inf)
    return Layout(
        spread=torch.from_numpy(spread).to(device).view(rows, width),
        gather=torch.from_numpy(gather).to(device),
        mask=mask,
        prefix=prefix,
        keep=keep,
    )


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    elusive_layout: Layout | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """An attention function in transformers' sense; query, key and value are [1, heads, nodes, width]."""
    if elusive_layout is None:
        raise Unfit("the model does not hand its options on to attention")
    if asked := [name for name in ("softcap", "position_bias", "s_aux") if options.get(name) is not None]:
        raise Unfit(f"attention with {asked}")
    now = elusive_layout
    if now.keep:
        now.kept.append((key, value))
    rows, width = now.spread.shape
    places = now.spread.view(-1)
    query, key, value = (
        x[0].transpose(0, 1).index_select(0, places).view(rows, width, x.shape[1], x.shape[3]).transpose(1, 2)
        for x in (query, key, value)
    )
    if now.prefix:
        before = now.prefix[now.layers_run]
        key, value = (
            torch.cat([b.expand(rows, -1, -1, -1), x], dim=2) for b, x in zip(before, (key, value), strict=True)
        )
    now.layers_run += 1
    if (repeats := query.shape[1] // key.shape[1]) > 1:
        key, value = (x.repeat_interleave(repeats, dim=1) for x in (key, value))
    out = F.scaled_dot_product_attention(query, key, value, attn_mask=now.mask, scale=scaling)
    out = out.transpose(1, 2).reshape(rows * width, out.shape[1], out.shape[3])
    return out.index_select(0, now.gather).unsqueeze(0), None


def fits(model: PreTrainedModel, max_length: int) -> bool:
    """Whether what is known about the model's class and configuration allows packing; a trial has to confirm it."""
    config = model.config.get_text_config()
    windows = [getattr(config, name, None) for name in ("sliding_window", "attention_window_size", "window_size")]
    ropes = getattr(config, "rope_parameters", None) or {}
    ropes = ropes.values() if all(isinstance(v, dict) for v in ropes.values()) else [ropes]
    return (
        bool(getattr(model, "_supports_attention_backend", False))
        and not getattr(config, "is_encoder_decoder", False)
        and not getattr(config, "alibi", False)
        and all(w is None or (isinstance(w, int) and w >= max_length) for w in windows)
        and all(rope.get("rope_type", "default") in _ROPE_FREE_OF_LENGTH for rope in ropes)
    )


def use(model: PreTrainedModel) -> str:
    """Make ``model`` use :func:`attention`; returns what ``set_attn_implementation`` takes to undo it."""
    from transformers import AttentionInterface

    before = model.config._attn_implementation
    AttentionInterface.register(NAME, attention)
    model.set_attn_implementation(NAME)
    return before
