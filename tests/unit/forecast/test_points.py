"""Which checkpoints a forecast learns from, and when N and D are two axes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elusive.forecast.points import axes_of, select, select_for_kriging, select_for_laws

N = np.repeat([1e6, 3e6, 1e7, 3e7], 5)
D = np.tile([1e7, 1e8, 5e8, 1e9, 2e9], 4)


def flops(parameters, tokens):
    return 6 * np.asarray(parameters) * np.asarray(tokens)


def test_early_training_and_small_compute_are_left_out():
    rows = select_for_kriging(N, D, flops(N, D))
    assert (D[rows] >= 2e8).all()
    x = np.log10(flops(N, D))
    assert (x[rows] >= x.max() - 1.3).all()
    left = np.setdiff1d(np.arange(20), rows)
    assert ((D[left] < 2e8) | (x[left] < x.max() - 1.3)).all()
    assert (np.diff(flops(N, D)[rows]) >= 0).all()


def test_few_points_are_kept_where_the_window_holds_fewer():
    tokens = np.geomspace(1e6, 1e9, 7)
    parameters = np.full(7, 1e6)
    rows = select_for_kriging(parameters, tokens, flops(parameters, tokens))
    # Three have a tenth of the tokens: so all may be used, and the six largest are.
    assert rows.tolist() == [1, 2, 3, 4, 5, 6]
    assert select_for_laws(parameters, tokens, flops(parameters, tokens)).tolist() == [2, 3, 4, 5, 6]
    assert select_for_kriging(parameters[:4], tokens[:4], flops(parameters, tokens)[:4]).tolist() == [0, 1, 2, 3]


def test_the_tenth_of_the_tokens_belongs_to_the_window():
    tokens = np.array([1, 2, 3, 4, 5, 10, 10, 10]) * 1e9 * 0.1
    parameters = np.array([1, 1, 1, 1, 1, 1, 2, 3]) * 1e6
    assert 0 in select(parameters, tokens, flops(parameters, tokens), tokens_ratio=10, decades=9, least=1)


@given(st.permutations(range(20)))
def test_the_selection_does_not_depend_on_the_order(order):
    order = list(order)
    chosen = select_for_kriging(N, D, flops(N, D))
    shuffled = select_for_kriging(N[order], D[order], flops(N, D)[order])
    assert [order[i] for i in shuffled] == chosen.tolist()


@pytest.mark.parametrize(
    ("parameters", "tokens", "both"),
    [
        ([1e6, 1e7, 1e8], [1e9, 1e9, 1e9], False),
        ([1e6, 1e6, 1e6], [1e8, 1e9, 1e10], False),
        # Twenty tokens a parameter, rounded: one axis, however far both of them reach.
        ([1.11e8, 2.56e8, 5.9e8, 1.3e9, 2.7e9], [2.2e9, 5.1e9, 11.8e9, 26e9, 53e9], False),
        (N, D, True),
    ],
)
def test_two_axes_are_two_only_where_they_vary_independently(parameters, tokens, both):
    axes = axes_of(np.array(parameters), np.array(tokens), flops(parameters, tokens))
    assert axes.both is both
    assert axes.design().shape[1] == (3 if both else 2)
    assert np.linalg.matrix_rank(axes.design()) == axes.design().shape[1]
    assert max(axes.n.max(), axes.d.max(), axes.x.max()) == 0


def test_targets_are_counted_from_the_same_origin():
    axes = axes_of(N, D, flops(N, D))
    target = axes.at(np.array([3e8]), np.array([2e10]), flops([3e8], [2e10]))
    assert [target.n[0], target.d[0], target.x[0]] == pytest.approx([1, 1, 2])
