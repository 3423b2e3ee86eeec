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
#: Queries that attention takes at a time on a CPU.
CPU_STEP = 32
_ROPE_FREE_OF_LENGTH = {"default", "linear", "llama3", "yarn", "proportional"}

KeysValues = tuple[torch.Tensor, torch.Tensor]  # each [1, heads, tokens, width]


@dataclass
class Layout:
    """How the nodes of one forward pass lie in rows; handed through the model to every attention layer."""

    rows: int
    width: int
    spread: torch.Tensor | None  # [rows·width] node of every place, 0 for padding; None: nodes are places
    gather: torch.Tensor | None  # [nodes] place of every node; None likewise
    mask: torch.Tensor  # [rows, 1, width, prefix + width] additive
    prefix: list[KeysValues]  # by layer, empty without a prefix
    keep: bool = False  # whether to keep keys and values, in ``kept``
    kept: list[KeysValues] = field(default_factory=list)
    layers_run: int = 0


class Unfit(Exception):
    """The model asks its attention for something that packing does not provide."""


def places(row_lengths: np.ndarray) -> np.ndarray:
    """The place [nodes] of every node among the rows padded to the longest, counted row by row."""
    starts = np.concatenate([[0], np.cumsum(row_lengths)])
    row = np.repeat(np.arange(len(row_lengths)), row_lengths)
    return row * row_lengths.max() + np.arange(len(row)) - starts[row]


def to_device(values: np.ndarray, device: torch.device) -> torch.Tensor:
    """``values`` on ``device``; a GPU gets them from pinned memory, while the processor goes on."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def layout(
    row_lengths: np.ndarray,
    ends: np.ndarray,
    prefix: list[KeysValues],
    device: torch.device,
    dtype: torch.dtype,
    padded: bool = False,
    keep: bool = False,
) -> Layout:
    """The layout of rows with ``row_lengths`` nodes and subtrees that end at ``ends``, behind ``prefix``.

    ``padded`` says that the model is given padded rows, so that nothing has to be spread out for attention.
    """
    rows, width = len(row_lengths), int(row_lengths.max())
    before = prefix[0][0].shape[2] if prefix else 0
    gather = places(row_lengths)
    spread = np.zeros(rows * width, np.int64)
    spread[gather] = np.arange(len(gather))
    padded_ends = np.tile(np.arange(1, width + 1), rows)  # a padded place is seen by itself alone
    padded_ends[gather] = ends
    place = torch.arange(width, device=device)
    last = to_device(padded_ends, device).view(rows, 1, 1, width)
    hidden = (place[:, None] < place[None, :]) | (place[:, None] >= last)
    mask = torch.zeros(rows, 1, width, before + width, device=device, dtype=dtype)
    mask[..., before:].masked_fill_(hidden, -torch.inf)
    return Layout(
        rows=rows,
        width=width,
        spread=None if padded else to_device(spread, device),
        gather=None if padded else to_device(gather, device),
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
    query, key, value = (_rows(x[0].transpose(0, 1), now) for x in (query, key, value))
    before = 0
    if now.prefix:
        shared = now.prefix[now.layers_run]
        before = shared[0].shape[2]
        key, value = (
            torch.cat([s.expand(now.rows, -1, -1, -1), x], dim=2) for s, x in zip(shared, (key, value), strict=True)
        )
    now.layers_run += 1
    if (repeats := query.shape[1] // key.shape[1]) > 1:
        key, value = (x.repeat_interleave(repeats, dim=1) for x in (key, value))
    # No node sees a later one: on a CPU, where time goes by pairs, queries are taken in steps, each with the keys up to
    # its end. Behind a prefix, which all of them see, this would gain nothing.
    step = CPU_STEP if query.device.type == "cpu" and not now.prefix else now.width
    parts = [
        F.scaled_dot_product_attention(
            query[:, :, start : start + step],
            key[:, :, : before + start + step],
            value[:, :, : before + start + step],
            attn_mask=now.mask[:, :, start : start + step, : before + start + step],
            scale=scaling,
        )
        for start in range(0, now.width, step)
    ]
    out = parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
    out = out.transpose(1, 2).reshape(-1, out.shape[1], out.shape[3])
    return (out if now.gather is None else out.index_select(0, now.gather)).unsqueeze(0), None


def _rows(x: torch.Tensor, now: Layout) -> torch.Tensor:
    """From [nodes, heads, width] to [rows, heads, places, width]."""
    if now.spread is not None:
        x = x.index_select(0, now.spread)
    return x.reshape(now.rows, now.width, x.shape[1], x.shape[2]).transpose(1, 2)


def fits(model: PreTrainedModel, max_length: int) -> bool:
    """Whether what is known about the model's class and configuration allows packing; a trial has to confirm it."""
    config = model.config.get_text_config()
    names = ("sliding_window", "attention_window_size", "window_size", "attention_chunk_size")
    windows = [getattr(config, name, None) for name in names]
    ropes = getattr(config, "rope_parameters", None) or {}
    if not isinstance(ropes, dict):
        return False
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
