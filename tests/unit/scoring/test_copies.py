"""The copies of models that scores of single sequences are expected from: each is as the model was before any run."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scoring_checkpoints import Copies


class Remembering(nn.Module):
    """Counts its runs in a buffer, in a number, and in a list; two layers share their weights."""

    def __init__(self, activation) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.register_buffer("runs", torch.zeros(1))
        self.activation, self.number, self.seen = activation, 0, []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.runs += 1
        self.number += 1
        self.seen.append(x)
        return self.second(self.activation(self.first(x))) + self.runs


# A function without a name cannot be pickled.
@pytest.mark.parametrize("activation", [torch.tanh, lambda x: torch.tanh(x)])
def test_no_copy_knows_of_the_runs_of_another(activation):
    model, x = Remembering(activation), torch.ones(2, 3)
    copies = Copies(model)
    assert (copies._pickled is None) == (activation is not torch.tanh)
    expected = model(x)
    for _ in range(2):
        made = copies.make()
        assert (made.number, made.seen, float(made.runs)) == (0, [], 0.0)
        assert made.second.weight is made.first.weight and made.first.weight is not model.first.weight
        assert isinstance(made.first.weight, nn.Parameter) and len(list(made.parameters())) == 3
        assert torch.equal(made(x), expected)
        with torch.no_grad():
            made.first.weight.zero_()
    assert model.number == 1
