"""Attention of the ladder, against PyTorch's and against finite differences."""

import pytest
import torch
from transformers import GPTNeoXForCausalLM

from elusive.ladder import attention
from elusive.ladder.attention import ROWS, causal_attention
from elusive.ladder.training import build_model


def states(number, length, size, dtype=torch.float64):
    generator = torch.Generator().manual_seed(length)
    return [torch.randn(number, length, size, dtype=dtype, generator=generator).requires_grad_() for _ in range(3)]


@pytest.mark.parametrize("length", [1, 2, ROWS - 1, ROWS, ROWS + 1, 2 * ROWS, 2 * ROWS + 37])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_attention_and_gradients_equal_torchs(length, dtype, tolerance):
    inputs = states(3, length, 8, dtype)
    gradient = torch.randn(3, length, 8, dtype=dtype, generator=torch.Generator().manual_seed(0))
    found = causal_attention(*inputs, 0.3)
    expected = torch.nn.functional.scaled_dot_product_attention(*inputs, is_causal=True, scale=0.3)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    ours, theirs = (torch.autograd.grad(output, inputs, gradient) for output in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def test_products_rounded_to_bfloat16_stay_near():
    """Where the processor has such products; training asks for them."""
    inputs = states(4, 2 * ROWS, 32, torch.float32)
    gradient = torch.randn(4, 2 * ROWS, 32, generator=torch.Generator().manual_seed(0))
    before = torch.get_float32_matmul_precision()
    found = {}
    try:
        for precision in ("highest", "medium"):
            torch.set_float32_matmul_precision(precision)
            output = causal_attention(*inputs, 32**-0.5)
            found[precision] = [output.detach(), *torch.autograd.grad(output, inputs, gradient)]
    finally:
        torch.set_float32_matmul_precision(before)
    if torch.equal(found["highest"][0], found["medium"][0]):
        pytest.skip("this processor does not round products to bfloat16")
    for exact, rounded in zip(*found.values(), strict=True):
        # bfloat16 keeps 8 bits.
        assert (exact - rounded).norm() < 0.01 * exact.norm()


def test_masks_and_caches_are_refused():
    query, key, value = (torch.randn(1, 2, 5, 4) for _ in range(3))
    module = torch.nn.Identity()
    output, _ = attention.attend(module, query, key, value, None, 0.5)
    assert output.shape == (1, 5, 2, 4)
    with pytest.raises(ValueError, match="no mask"):
        attention.attend(module, query, key, value, torch.zeros(1, 1, 5, 5), 0.5)
    with pytest.raises(ValueError, match="no cache"):
        attention.attend(module, query[:, :, -1:], key, value, None, 0.5)


def test_attention_gradcheck(monkeypatch):
    monkeypatch.setattr(attention, "ROWS", 3)
    assert torch.autograd.gradcheck(lambda *inputs: causal_attention(*inputs, 0.7), states(2, 8, 3))


def test_later_tokens_change_nothing():
    query, key, value = states(2, 2 * ROWS, 4)
    before = causal_attention(query, key, value, 1.0)
    with torch.no_grad():
        key[:, ROWS + 5 :] += 1
        value[:, ROWS + 5 :] -= 1
    after = causal_attention(query, key, value, 1.0)
    assert torch.equal(before[:, : ROWS + 5], after[:, : ROWS + 5])
    assert not torch.isclose(before[:, ROWS + 5 :], after[:, ROWS + 5 :]).any()


def test_a_model_has_the_logits_that_it_has_elsewhere(tmp_path):
    model = build_model(300, 64, 2, 0).eval()
    model.save_pretrained(tmp_path)
    assert attention.NAME not in (tmp_path / "config.json").read_text()
    elsewhere = GPTNeoXForCausalLM.from_pretrained(tmp_path, attn_implementation="eager").eval()
    tokens = torch.randint(300, (3, ROWS + 20), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(
            model(input_ids=tokens).logits, elsewhere(input_ids=tokens).logits, rtol=0, atol=2e-5
        )
