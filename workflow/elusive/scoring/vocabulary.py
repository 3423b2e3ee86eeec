"""From hidden states to the log-probabilities of single tokens, without ever holding a whole row of logits on a CPU.

log p(token) = (logit - M) - log Σ exp(logit - M), with M the largest logit, all in float32. The vocabulary is worked
off in blocks small enough for the processor's cache; a block's own maximum and log-sum are combined at the end. A
token is greedy when its logit is M and no lower token has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F

from elusive.scoring import onednn

#: Rows and tokens of a block of logits on a CPU: 4 MB in float32.
CPU_BLOCK = (512, 2048)
#: The most memory that a block of float32 logits takes on an accelerator.
ACCELERATOR_BYTES = 1 << 30


def read(
    blocks: Iterable[tuple[int, torch.Tensor]], row: torch.Tensor, token: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability (float32) and greediness of ``token[m]`` in the distribution ``row[m]``.

    ``blocks`` yields (first token, logits [rows, tokens]), together the whole vocabulary in order.
    """
    maxima, log_sums, firsts = [], [], []
    values = torch.empty(len(token), dtype=torch.float32, device=token.device)
    lowest = torch.zeros(len(token), dtype=torch.bool, device=token.device)
    for first, logits in blocks:
        logits = logits.float()
        firsts.append(first)
        maximum = logits.amax(dim=-1)
        maxima.append(maximum)
        # The largest of a block's log-probabilities is that of its maximum: minus the block's log-sum.
        log_sums.append(-torch.log_softmax(logits, dim=-1).amax(dim=-1))
        here = ((token >= first) & (token < first + logits.shape[-1])).nonzero().squeeze(-1)
        inside = token[here] - first
        values[here] = logits[row[here], inside]
        top = values[here] == maximum[row[here]]
        candidates = here[top]
        lowest[candidates] = logits[row[candidates]].argmax(dim=-1) == inside[top]
    maxima, log_sums = torch.stack(maxima), torch.stack(log_sums)
    overall, block = maxima.max(dim=0)  # the first block among equals
    log_total = torch.logsumexp(maxima - overall + log_sums, dim=0)
    edges = torch.tensor(firsts, device=token.device)
    own_block = torch.searchsorted(edges, token, right=True) - 1
    greedy = lowest & (values == overall[row]) & (own_block == block[row])
    return (values - overall[row]) - log_total[row], greedy


class Head:
    """A model's output layer in blocks of the vocabulary."""

    def __init__(self, layer: torch.nn.Linear, prepacked: bool) -> None:
        weight, bias = layer.weight.detach(), layer.bias
        self._dtype = weight.dtype
        self._cpu = weight.device.type == "cpu"
        self._prepacked = prepacked and self._cpu and weight.dtype == torch.float32
        size = CPU_BLOCK[1] if self._cpu else len(weight)
        self._rows = CPU_BLOCK[0] if self._cpu else max(1, ACCELERATOR_BYTES // (4 * len(weight)))
        self._blocks = []
        for first in range(0, len(weight), size):
            part = weight[first : first + size]
            part_bias = None if bias is None else bias.detach()[first : first + size]
            self._blocks.append((first, onednn.prepack(part) if self._prepacked else part, part_bias))

    def _logits(self, hidden: torch.Tensor) -> Iterator[tuple[int, torch.Tensor]]:
        multiply = onednn.multiply if self._prepacked else F.linear
        for first, weight, bias in self._blocks:
            yield first, multiply(hidden, weight, bias)

    def read(self, hidden: torch.Tensor, row: torch.Tensor, token: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """As :func:`read`, for distributions behind ``hidden`` [rows, width]; ``row`` ascends."""
        # Parts of equal size: a small last one would take nearly as long as a full one.
        parts = max(1, -(-len(hidden) // self._rows))
        size = -(-len(hidden) // parts)
        hidden = hidden.to(self._dtype)  # some models keep what runs past their layers in float32
        edges = torch.searchsorted(row, torch.arange(0, (parts + 1) * size, size, device=row.device)).tolist()
        values, greedy = [], []
        for part, (start, end) in enumerate(pairwise(edges)):
            chunk = hidden[part * size : (part + 1) * size]
            some = read(self._logits(chunk), row[start:end] - part * size, token[start:end])
            values.append(some[0])
            greedy.append(some[1])
        return torch.cat(values), torch.cat(greedy)
