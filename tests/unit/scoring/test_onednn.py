"""Prepacked linear layers: the same products, and nothing of them where they do not work."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from elusive.scoring import onednn

needs_onednn = pytest.mark.skipif(not onednn.available(), reason="torch has no such operators here")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 24)
        self.inner = nn.Sequential(nn.Linear(24, 8, bias=False), Conv1D(12, 8))
        self.rounded = nn.Linear(12, 12).bfloat16()
        self.head = nn.Linear(12, 40)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rounded(self.inner(self.first(x)).bfloat16()).float())


@needs_onednn
@pytest.mark.parametrize("rows", [1, 7, 600])
def test_layers_are_replaced_and_restored(rows):
    torch.manual_seed(0)
    net = Net()
    x = torch.randn(rows, 16)
    with torch.inference_mode():
        expected = net(x)
        replaced = onednn.replace_linears(net, keep=net.head)
        assert set(replaced) == {"first", "inner.0", "inner.1"}
        assert type(net.first) is onednn.Linear
        torch.testing.assert_close(net(x), expected, rtol=0.02, atol=0.02)  # bfloat16 rounds in between
        torch.testing.assert_close(net.first(x), replaced["first"](x))
        onednn.restore(net, replaced)
        assert torch.equal(net(x), expected)
    assert type(net.first) is nn.Linear


def absent(*_):
    raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_linear_pointwise'")


def wrong(x, packed, bias):
    return torch.zeros(x.shape[0], 48)


@pytest.mark.parametrize("multiply", [absent, wrong])
def test_operators_that_are_absent_or_wrong_are_not_used(monkeypatch, multiply):
    onednn.available.cache_clear()
    monkeypatch.setattr(onednn, "multiply", multiply)
    assert not onednn.available()
    onednn.available.cache_clear()
