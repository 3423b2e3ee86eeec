"""Muon (Jordan et al. 2024): momentum whose matrices are made orthogonal before they are applied.

PyTorch's own orthogonalises in bfloat16, which takes most of a training step on processors that have no products of
that type. This one works in float32, on all matrices of one shape at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch

MOMENTUM = 0.95
#: Coefficients of the quintic x·(a + b·x² + c·x⁴), whose iterates bring all singular values near 1 fastest.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
_SMALLEST_NORM = 1e-7


def orthogonalise(matrices: torch.Tensor) -> torch.Tensor:
    """The nearest matrices with orthonormal rows or columns, about, to ``matrices`` [n, rows, columns].

    Newton-Schulz iterations of :data:`COEFFICIENTS` after division by the Frobenius norm. Singular values above some
    thousandth of the norm come out between 0.7 and 1.2.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp_min(_SMALLEST_NORM)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov's momentum for matrices; the step of a tall one is larger by the root of rows / columns."""

    def __init__(self, matrices: Iterable[torch.Tensor], lr: float) -> None:
        super().__init__(matrices, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Apply the gradients, which every matrix has to have."""
        for group in self.param_groups:
            shapes: defaultdict[torch.Size, list[torch.Tensor]] = defaultdict(list)
            for matrix in group["params"]:
                shapes[matrix.shape].append(matrix)
            for (rows, columns), matrices in shapes.items():
                gradients = [matrix.grad for matrix in matrices]
                momenta = [self._momentum(matrix) for matrix in matrices]
                torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
                ahead = torch._foreach_lerp(gradients, momenta, MOMENTUM)
                rate = group["lr"] * max(1.0, rows / columns) ** 0.5
                torch._foreach_add_(matrices, list(orthogonalise(torch.stack(ahead)).unbind()), alpha=-rate)

    def _momentum(self, matrix: torch.Tensor) -> torch.Tensor:
        state = self.state[matrix]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(matrix)
        return state["momentum"]
