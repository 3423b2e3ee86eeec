"""The optimiser of matrices, against PyTorch's own and against the singular value decomposition."""

import pytest
import torch

from elusive.ladder.muon import Muon, orthogonalise

SHAPES = [(32, 32), (96, 32), (32, 128), (48, 16)]


@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_come_near_one_and_directions_stay(shape):
    torch.manual_seed(0)
    matrices = torch.randn(3, *shape)
    found = orthogonalise(matrices)
    assert found.shape == matrices.shape
    for given, made in zip(matrices, found, strict=True):
        left, singular, right = torch.linalg.svd(given, full_matrices=False)
        # The same singular vectors, so that between them stands a diagonal matrix of the new singular values.
        core = left.T @ made @ right.T
        values = core.diagonal()
        assert (core - torch.diag(values)).abs().max() < 1e-4
        assert (values < 1.25).all() and (values[singular > 0.005 * given.norm()] > 0.65).all()


@pytest.mark.parametrize("shape", [(512, 128), (128, 384), (128, 128)])
def test_products_rounded_to_bfloat16_do(shape):
    """Where the processor has such products; training asks for them."""
    torch.manual_seed(5)
    # Singular values over four orders of magnitude, as those of gradients are.
    left, _, right = torch.linalg.svd(torch.randn(2, *shape), full_matrices=False)
    given = left * torch.logspace(0, -4, min(shape)) @ right
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("highest")
        exact = orthogonalise(given)
        torch.set_float32_matmul_precision("medium")
        found = orthogonalise(given)
    finally:
        torch.set_float32_matmul_precision(before)
    if torch.equal(exact, found):
        pytest.skip("this processor does not round products to bfloat16")
    core = left.mT @ found @ right.mT
    values = core.diagonal(dim1=-2, dim2=-1)
    large = torch.logspace(0, -4, min(shape)) > 0.05
    assert (torch.linalg.matrix_norm(found, ord=2) < 1.3).all()
    assert (values[:, large] > 0.6).all()


def test_matrices_of_one_shape_do_not_mix():
    torch.manual_seed(1)
    matrices = torch.randn(4, 24, 16)
    alone = torch.cat([orthogonalise(matrix[None]) for matrix in matrices])
    torch.testing.assert_close(orthogonalise(matrices), alone, rtol=0, atol=1e-5)


def test_steps_are_those_of_pytorch_but_for_its_rounding():
    torch.manual_seed(2)
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in [*SHAPES, SHAPES[0]]]
    theirs = [torch.nn.Parameter(matrix.detach().clone()) for matrix in ours]
    optimizers = Muon(ours, lr=0.02), torch.optim.Muon(theirs, lr=0.02, weight_decay=0.0)
    before = [matrix.detach().clone() for matrix in ours]
    for _ in range(5):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(mine.shape)
            other.grad = mine.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for mine, other, start in zip(ours, theirs, before, strict=True):
        moved, expected = mine.detach() - start, other.detach() - start
        # bfloat16 keeps 8 bits.
        assert (moved - expected).norm() < 0.03 * expected.norm()


def test_a_saved_state_goes_on_with_the_same_bits():
    def fresh():
        torch.manual_seed(3)
        matrices = [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES]
        return matrices, Muon(matrices, lr=0.1)

    def steps(matrices, optimizer, seeds):
        for seed in seeds:
            torch.manual_seed(seed)
            for matrix in matrices:
                matrix.grad = torch.randn(matrix.shape)
            optimizer.step()

    whole, optimizer = fresh()
    steps(whole, optimizer, range(4))
    first, optimizer = fresh()
    steps(first, optimizer, range(2))
    second, resumed = fresh()
    resumed.load_state_dict(optimizer.state_dict())
    with torch.no_grad():
        for matrix, saved in zip(second, first, strict=True):
            matrix.copy_(saved)
    steps(second, resumed, range(2, 4))
    assert all(torch.equal(a, b) for a, b in zip(whole, second, strict=True))
