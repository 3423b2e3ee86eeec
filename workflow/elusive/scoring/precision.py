"""What half precision does to log-likelihoods: how far two right ways of computing them may lie apart.

Every token's log-probability carries a rounding error of about the same size, so that the error of a sum over n tokens
grows as the root of n. Noise here is the root mean square, over requests, of the difference divided by that root.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import psutil
import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: How much noisier than single sequences a right way may be. Measured on 18 architectures: 0.9 to 1.15.
NOISE_RATIO = 2.0
#: Noise of half precision in units of its rounding error and of the root of the number of layers, at the most.
#: Measured on two layers: 0.6 to 3.
_UNITS = 8.0
_HALF = (torch.bfloat16, torch.float16)


def noise(difference: np.ndarray, num_targets: np.ndarray) -> float:
    """Noise of a ``difference`` [requests] in nats between log-likelihoods of ``num_targets`` [requests] tokens."""
    return float(np.sqrt(np.mean(difference**2 / num_targets)))


def expected_noise(model: PreTrainedModel) -> float:
    """An upper limit, in nats, to the noise between two right ways of running ``model`` in half precision."""
    layers = getattr(model.config.get_text_config(), "num_hidden_layers", None) or 1
    return _UNITS * torch.finfo(model.dtype).eps / 2 * layers**0.5


@contextlib.contextmanager
def in_float32(model: PreTrainedModel) -> Iterator[bool]:
    """Hold the half-precision weights of ``model`` as float32 in the block, which is exact, and so is the way back.

    Yields False, with the model as it is, where memory does not suffice for it.
    """
    tensors = {id(x): x for x in [*model.parameters(), *model.buffers()] if x.dtype in _HALF}.values()
    before = [(x, x.dtype) for x in tensors]
    size = sum(x.numel() * x.element_size() for x in tensors)  # what is needed on top of what is there
    if model.device.type == "cuda":
        torch.cuda.empty_cache()
        free = torch.cuda.mem_get_info(model.device)[0]
    else:
        free = psutil.virtual_memory().available
    if free < 1.5 * size + (1 << 30):
        yield False
        return
    try:
        for x in tensors:
            x.data = x.data.float()
        yield True
    finally:
        for x, dtype in before:
            x.data = x.data.to(dtype)
        if model.device.type == "cuda":
            torch.cuda.empty_cache()
