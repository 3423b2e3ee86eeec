"""Equation (1): log p(continuation | context), the sum over the continuation's tokens of their log-probabilities.

Logits are turned into log-probabilities in float32 whatever the model's own type, and the float32 values of a
continuation's tokens are summed in float64. ``is_greedy`` says whether every token is the most probable one (lowest
token id among equals). Logits are computed only behind the positions that predict a continuation's token.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from elusive.errors import ElusiveError
from elusive.scoring.plan import Batch, halve, plan
from elusive.scoring.tokenize import Requests

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: The most memory that one block of float32 logits may take, by device type.
LOGITS_BYTES = {"cpu": 32 << 20}
LOGITS_BYTES_ACCELERATOR = 1 << 30


@dataclass(frozen=True)
class Scores:
    """One value per request."""

    log_likelihood: np.ndarray  # [requests] float64, nats
    is_greedy: np.ndarray  # [requests] bool
    num_tokens: np.ndarray  # [requests] int32, tokens of the continuation
    tokens_run: int  # tokens that went through the model, padding included


def score(
    model: PreTrainedModel,
    requests: Requests,
    token_budget: int | None = None,
    progress: Callable[[np.ndarray, int], None] | None = None,
) -> Scores:
    """Scores of ``requests`` under ``model``, on the device where it lies.

    ``token_budget`` bounds the tokens of a batch; None chooses by the model's width. Results depend on it by no more
    than float32 rounding. ``progress`` is called after every batch with the requests it settled and its tokens.
    """
    device = model.device
    vocabulary = model.get_output_embeddings().weight.shape[0]
    select_limit = max(1, LOGITS_BYTES.get(device.type, LOGITS_BYTES_ACCELERATOR) // (4 * vocabulary))
    log_likelihood = np.zeros(len(requests))
    is_greedy = np.zeros(len(requests), bool)
    tokens_run = 0
    pending = plan(requests, token_budget or default_token_budget(model), select_limit)[::-1]
    with torch.inference_mode():
        while pending:
            batch = pending.pop()
            try:
                values, greedy = _run(model, batch, select_limit)
            except torch.OutOfMemoryError as error:
                halves = halve(batch)
                if halves is None:
                    raise ElusiveError(
                        f"out of memory on {device} with a single sequence of {len(batch.tokens)} tokens; "
                        "choose a shorter max_length or another device"
                    ) from error
                torch.cuda.empty_cache()
                pending.extend(halves[::-1])
                continue
            starts = np.flatnonzero(np.diff(batch.pick_request, prepend=-1))
            settled = batch.pick_request[starts]
            log_likelihood[settled] = np.add.reduceat(values.astype(np.float64), starts)
            is_greedy[settled] = np.logical_and.reduceat(greedy, starts)
            run = len(batch.row_lengths) * int(batch.row_lengths.max())
            tokens_run += run
            if progress is not None:
                progress(settled, run)
    return Scores(log_likelihood, is_greedy, requests.num_targets, tokens_run)


def default_token_budget(model: PreTrainedModel) -> int:
    """Tokens per batch whose activations stay in the processor's cache, or fill an accelerator."""
    if model.device.type != "cpu":
        return 16384
    return int(np.clip((1 << 17) // model.config.get_text_config().hidden_size, 1024, 4096))


def _run(model: PreTrainedModel, batch: Batch, select_limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Log-probability (float32) and greediness of every pick, one padded row per input."""
    device = model.device
    rows, width = len(batch.row_lengths), int(batch.row_lengths.max())
    row_of_node = np.repeat(np.arange(rows), batch.row_lengths)
    tokens = np.zeros((rows, width), np.int64)
    # Padding is on the right with token 0 and without a mask, as lm-eval does it: causal models do not see it.
    tokens[row_of_node, batch.positions] = batch.tokens
    tokens = torch.from_numpy(tokens).to(device)
    flat = row_of_node[batch.select] * width + batch.positions[batch.select]

    values = np.zeros(len(batch.pick_token), np.float32)
    greedy = np.zeros(len(batch.pick_token), bool)
    # More than one round only for a single row with more continuation tokens than the logits' memory allows.
    for first in range(0, len(flat), select_limit):
        keep = torch.zeros(rows * width, dtype=torch.bool)
        keep[torch.from_numpy(flat[first : first + select_limit])] = True
        keep = keep.view(rows, width).to(device)
        logits = model(input_ids=tokens, use_cache=False, logits_to_keep=keep).logits
        log_p = torch.log_softmax(logits.view(int(keep.sum()), -1), dim=-1, dtype=torch.float32)
        picks = np.flatnonzero((batch.pick_select >= first) & (batch.pick_select < first + select_limit))
        row = torch.from_numpy(batch.pick_select[picks] - first).to(device)
        token = torch.from_numpy(batch.pick_token[picks]).to(device)
        values[picks] = log_p[row, token].cpu().numpy()
        greedy[picks] = (log_p.argmax(dim=-1)[row] == token).cpu().numpy()
    return values, greedy
