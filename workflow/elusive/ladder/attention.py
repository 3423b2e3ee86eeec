"""Causal attention of short sequences, forwards and backwards.

The fused kernel of PyTorch multiplies blocks so small that, where products may be rounded to bfloat16, most of its time
goes into their conversion: a training step then waits for it longer than for anything else. Here a block is
:data:`ROWS` queries of all heads at once, against the keys up to its last one. The probabilities are kept for the
gradient, which at 256 tokens costs less than to make them again.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

ROWS = 128
#: What ``attn_implementation`` of a model is called that uses :func:`attend`.
NAME = "ladder"


class _CausalAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
        length = query.shape[1]
        output = torch.empty_like(query)
        later = query.new_full((ROWS, ROWS), float("-inf")).triu_(1)
        scaled = key.mT * scale
        kept = []
        for start in range(0, length, ROWS):
            stop = min(start + ROWS, length)
            logits = torch.bmm(query[:, start:stop], scaled[:, :, :stop])
            logits[:, :, start:] += later[: stop - start, : stop - start]
            probabilities = torch.softmax(logits, -1)
            output[:, start:stop] = torch.bmm(probabilities, value[:, :stop])
            kept.append(probabilities)
        ctx.save_for_backward(query, key, value, output, *kept)
        ctx.scale = scale
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: torch.Tensor):
        query, key, value, output, *kept = ctx.saved_tensors
        length = query.shape[1]
        # What softmax takes from the gradient of each row: the sum over keys of probability times gradient.
        mean = (gradient * output).sum(-1, keepdim=True)
        of_query, of_key, of_value = torch.empty_like(query), torch.zeros_like(key), torch.zeros_like(value)
        for start, probabilities in zip(range(0, length, ROWS), kept, strict=True):
            stop = min(start + ROWS, length)
            rows = gradient[:, start:stop]
            of_value[:, :stop].baddbmm_(probabilities.mT, rows)
            of_logits = torch.bmm(rows, value.mT[:, :, :stop]).sub_(mean[:, start:stop]).mul_(probabilities)
            of_query[:, start:stop] = torch.bmm(of_logits, key[:, :stop])
            of_key[:, :stop].baddbmm_(of_logits.mT, query[:, start:stop])
        return of_query.mul_(ctx.scale), of_key.mul_(ctx.scale), of_value, None


def causal_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
    """softmax(``scale`` · QKᵀ, of a query's own and earlier keys) · V, all of [n, length, size]."""
    return _CausalAttention.apply(query, key, value, scale)


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """:func:`causal_attention` as transformers calls it.

    ``query``, ``key`` and ``value`` are [sequences, heads, length, size], the output is [sequences, length, heads,
    size]. Every sequence is full and seen as a whole: raises ValueError for a mask, or for keys of earlier calls.
    """
    if attention_mask is not None or key.shape[2] != query.shape[2]:
        raise ValueError("this attention knows no mask and no cache of keys")
    flat = (states.flatten(0, 1) for states in (query, key, value))
    return causal_attention(*flat, scaling).unflatten(0, query.shape[:2]).transpose(1, 2), None
