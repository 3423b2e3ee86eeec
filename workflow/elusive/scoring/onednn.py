"""Linear layers on weights that oneDNN has laid out beforehand: about twice torch's float32 speed on AMD processors.

The operators are the ones that torch's own compiler emits, but they are not public. They are used through this module
alone, only after a product on this machine has come out right, and never needed: without them everything runs on
``torch.nn.functional.linear``.
"""

from __future__ import annotations

import functools

import torch
from torch import nn


@functools.cache
def available() -> bool:
    """Whether the operators are there and multiply correctly on this machine."""
    try:
        generator = torch.Generator().manual_seed(0)
        x, weight = (torch.randn(5, 32, generator=generator), torch.randn(48, 32, generator=generator))
        return torch.allclose(multiply(x, prepack(weight), None), x @ weight.T, atol=1e-4)
    except (AttributeError, RuntimeError, NotImplementedError):
        return False


def prepack(weight: torch.Tensor) -> torch.Tensor:
    """A copy of a float32 ``weight`` [out, in] in oneDNN's layout, good for any number of rows."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), 512)


def multiply(x: torch.Tensor, packed: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """``x @ weight.T + bias`` for a prepacked weight."""
    return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")


class Linear(nn.Module):
    """Stands in for an ``nn.Linear`` or a transposed one (GPT-2's ``Conv1D``)."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.packed = prepack(weight)
        self.bias = bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The layer's output."""
        return multiply(x, self.packed, self.bias)


def replace_linears(model: nn.Module, keep: nn.Module | None = None) -> dict[str, nn.Module]:
    """Put :class:`Linear` in place of every float32 linear layer of ``model`` but ``keep``; returns those replaced."""
    from transformers.pytorch_utils import Conv1D

    replaced = {}
    for name, module in list(model.named_modules()):
        if module is keep or type(module) not in (nn.Linear, Conv1D) or module.weight.dtype != torch.float32:
            continue
        weight = module.weight if type(module) is nn.Linear else module.weight.T
        replaced[name] = module
        model.set_submodule(name, Linear(weight, module.bias))
    return replaced


def restore(model: nn.Module, replaced: dict[str, nn.Module]) -> None:
    """Undo :func:`replace_linears`."""
    for name, module in replaced.items():
        model.set_submodule(name, module)
