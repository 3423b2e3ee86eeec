"""Correlations with compute when checkpoints are left out: each in turn, or groups of them.

What is left of an item's ranks without one checkpoint follows from the ranks of all, so that no ranking is made anew.
With ``R_i`` twice the centred average rank of checkpoint ``i`` among ``n``, ``S_ik`` the sign of ``y_i - y_k``, and
``X_i``, ``A_ik`` the same of compute, leaving ``k`` out takes ``S_ik`` off ``R_i``, and::

    sum_i (X_i - A_ik)(R_i - S_ik) = sum_i X_i R_i - X_k R_k - sum_i A_ik R_i - sum_i X_i S_ik + sum_i A_ik S_ik

where the last sum is also what Kendall's concordance loses. The sum of the squared ranks of ``m`` checkpoints is
``(m³ - m)/3`` less ``(t³ - t)/3`` for every ``t`` that tie. All are whole numbers, so that the results equal those of
correlating the others to the last bit. Pearson's follow from the centred columns of length 1, except where one
checkpoint holds nearly all of a column's variance: there the others are correlated anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from elusive.analysis.correlations import LOGARITHMS, METHODS, as_it_is, pearson, ranked, scale_of, unit
from elusive.analysis.metrics import present

# Items taken at a time, so that a block stays in the processor's cache; no result depends on it.
_BLOCK = 2048
# Share of a column's variance that must remain for the difference of two sums to be exact to 1e-11.
_LEFT = 1e-4


def ranks_without_each(x: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spearman's rho and Kendall's tau-b without each checkpoint in turn: float64 [models, items] each.

    ``x`` [models] and ``scores`` [models, items] are as for :func:`~elusive.analysis.correlations.rank_correlations`,
    which gives the same to the last bit on the checkpoints that remain.
    """
    order = np.argsort(x, kind="stable")
    x, scores = np.asarray(x, np.float64)[order], scores[order]
    models, items = scores.shape
    spearman, kendall = np.full((2, models, items), np.nan)
    if models < 3:
        return spearman, kendall
    x_signs = np.sign(x[:, None] - x).astype(np.float64)
    x_ranks = x_signs.sum(axis=1)
    x_ties = (x_signs == 0).sum(axis=1)
    x_squares = _squares_without(float((x_ranks**2).sum()), x_ties, models)
    x_pairs = np.count_nonzero(x_signs) / 2 - (models - x_ties)
    group_end = np.searchsorted(x, x, side="right")
    for start in range(0, items, _BLOCK):
        block = np.ascontiguousarray(scores[:, start : start + _BLOCK])
        known = ~np.isnan(block).any(axis=0)
        ranks, ties, shifts = _places(block, x_ranks)
        concordance = _concordance(ranks, group_end)
        values = ranks.astype(np.float64)
        products = x_ranks @ values - x_ranks[:, None] * values - x_signs.T @ values - shifts + concordance
        squares = _squares_without((values**2).sum(axis=0), ties, models) * x_squares[:, None]
        pairs = (models * (models - 1) - (ties - 1).sum(axis=0)) / 2 - (models - ties)
        concordant = concordance.sum(axis=0, dtype=np.float64) / 2 - concordance
        chunk = slice(start, start + _BLOCK)
        spearman[order, chunk] = _quotient(products, squares, known)
        kendall[order, chunk] = _quotient(concordant, pairs * x_pairs[:, None], known)
    return spearman, kendall


def _squares_without(squares: np.ndarray | float, ties: np.ndarray, models: int) -> np.ndarray:
    """Sum of the squares of twice the centred ranks without each checkpoint, from that of all; ``ties`` counts its own
    value's checkpoints."""
    rest = models - 1
    lost = (models**3 - models) / 3 - squares
    return (rest**3 - rest) / 3 - lost + ties * (ties - 1.0)


def average_ranks(block: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How each column of ``block`` [models, items] is ordered: the rows in ascending order, and for each of these
    places the first and, less 1, the last one with the same value. Twice the centred average ranks are their sum less
    the number of models.
    """
    order = np.argsort(block, axis=0)
    ascending = np.take_along_axis(block, order, axis=0)
    index = np.arange(len(block))[:, None]
    new, last = np.ones((2, *block.shape), bool)
    new[1:] = ascending[1:] != ascending[:-1]
    last[:-1] = new[1:]
    first = np.maximum.accumulate(np.where(new, index, 0), axis=0)
    return order, first, np.minimum.accumulate(np.where(last, index, len(block))[::-1], axis=0)[::-1] + 1


def scatter(order: np.ndarray, values: np.ndarray, dtype: type) -> np.ndarray:
    """``values`` of the places of :func:`average_ranks` put back to their rows."""
    result = np.empty(order.shape, dtype)
    np.put_along_axis(result, order, values.astype(dtype), axis=0)
    return result


def _places(block: np.ndarray, x_ranks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each column of ``block`` [models, items]: twice the centred ranks (int16), how many checkpoints have each
    one's value, and the sum of ``x_ranks`` over those above it less that over those below."""
    order, first, end = average_ranks(block)
    total = np.zeros((len(block) + 1, block.shape[1]))
    np.cumsum(x_ranks[order], axis=0, out=total[1:])
    # Whole numbers, and the ranks of compute add up to 0.
    shift = -np.take_along_axis(total, end, axis=0) - np.take_along_axis(total, first, axis=0)
    ranks = scatter(order, first + end - len(block), np.int16)
    return ranks, scatter(order, end - first, np.float64), scatter(order, shift, np.float64)


def _concordance(ranks: np.ndarray, group_end: np.ndarray) -> np.ndarray:
    """Concordant less discordant pairs of each checkpoint with the others: int16 [models, items].

    ``ranks`` int16 [models, items] is in order of compute, ``group_end`` [models] the first checkpoint of more.
    """
    found = np.zeros_like(ranks)
    change = np.empty_like(ranks)
    for i, end in enumerate(group_end[:-1]):
        later = change[end:]
        np.subtract(ranks[end:], ranks[i], out=later)
        np.clip(later, -1, 1, out=later)
        found[end:] += later
        found[i] += later.sum(axis=0, dtype=np.int16)
    return found


def _quotient(numbers: np.ndarray, squares: np.ndarray, known: np.ndarray) -> np.ndarray:
    result = np.full(numbers.shape, np.nan)
    where = known & (squares > 0)
    return np.divide(numbers, np.sqrt(np.where(where, squares, 1.0)), out=result, where=where)


def ranks_without(x: np.ndarray, scores: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spearman's rho and Kendall's tau-b without each group of checkpoints in turn: float64 [groups, items] each.

    ``x`` [models] and ``scores`` [models, items] are as for :func:`~elusive.analysis.correlations.rank_correlations`;
    ``groups`` [models] holds each checkpoint's group, 0 to the number of groups less 1. The result equals that
    function's on the checkpoints that remain. Twice the centred average rank of ``i`` is the sum over ``j`` of
    ``sign(y_i - y_j)``, so that leaving ``j`` out takes one term away.
    """
    order = np.argsort(x, kind="stable")
    x, scores, groups = np.asarray(x, np.float64)[order], scores[order], groups[order]
    items = scores.shape[1]
    number = int(groups.max(initial=-1)) + 1
    x_signs = np.sign(x[:, None] - x).astype(np.int8)
    spearman, kendall = np.full((2, number, items), np.nan)
    for start in range(0, items, _BLOCK):
        block = scores[:, start : start + _BLOCK]
        known = ~np.isnan(block).any(axis=0)
        chunk = slice(start, start + _BLOCK)
        ranks, concordance, pairs = _rank_sums(x_signs, np.ascontiguousarray(block))
        for group in range(number):
            out, left = np.flatnonzero(groups == group), np.flatnonzero(groups != group)
            if len(left) < 2:
                continue
            # Ranks compare as the scores do, and are shorter.
            remaining = ranks[left]
            concordant, distinct, rest = concordance.copy(), pairs.copy(), remaining.astype(np.int16)
            for k in out:
                signs = _signs(remaining, ranks[k])
                rest -= signs
                distinct -= np.count_nonzero(signs, axis=0)
                concordant -= _weigh(x_signs[left, k], signs)
            for n, k in enumerate(out[:-1]):
                signs = _signs(ranks[out[n + 1 :]], ranks[k])
                distinct -= np.count_nonzero(signs, axis=0)
                concordant -= _weigh(x_signs[out[n + 1 :], k], signs)
            x_left = x_signs[np.ix_(left, left)]
            x_ranks = x_left.sum(axis=1, dtype=np.float64)
            # Whole numbers below 2^53: no order of summation changes a bit.
            rest = rest.astype(np.float64)
            squares = np.einsum("ij,ij->j", rest, rest) * float((x_ranks**2).sum())
            spearman[group, chunk] = _quotient(x_ranks @ rest, squares, known)
            kendall[group, chunk] = _quotient(concordant, distinct * (np.count_nonzero(x_left) / 2), known)
    return spearman, kendall


def _signs(rows: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Sign of ``rows`` minus ``row``: int8."""
    return (rows > row).view(np.int8) - (rows < row).view(np.int8)


def _weigh(weights: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Sum of ``signs`` [models, items] with ``weights`` [models] of -1, 0 and 1: int32 [items]."""
    plus, minus = (signs[weights == weight].sum(axis=0, dtype=np.int32) for weight in (1, -1))
    return plus - minus


def _rank_sums(x_signs: np.ndarray, block: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Twice the centred average ranks, int16 [models, items], concordant less discordant pairs, and untied pairs."""
    ranks = np.zeros(block.shape, np.int16)
    concordance, pairs = np.zeros((2, block.shape[1]), np.int64)
    for i in range(len(block) - 1):
        signs = _signs(block[i + 1 :], block[i])
        ranks[i + 1 :] += signs
        ranks[i] -= signs.sum(axis=0, dtype=np.int16)
        pairs += np.count_nonzero(signs, axis=0)
        concordance += _weigh(x_signs[i + 1 :, i], signs)
    return ranks, concordance, pairs


def pearson_without_each(
    x: np.ndarray, scores: np.ndarray, scale: Callable[[np.ndarray], np.ndarray] = as_it_is
) -> np.ndarray:
    """Pearson's correlation without each checkpoint in turn: float64 [models, items], NaN where undefined.

    ``x`` is [models], ``scores`` [models, items]; ``scale`` makes of them what is correlated. An item with a NaN has
    none, whichever checkpoint is left out.
    """
    models = len(scores)
    columns, line = unit(scale(scores)), unit(np.asarray(x, np.float64)[:, None])
    if models < 3 or np.isnan(line).any():
        return np.full(scores.shape, np.nan)
    factor = models / (models - 1)
    left = 1 - columns**2 * factor
    with np.errstate(invalid="ignore", divide="ignore"):
        result = (line * columns).sum(axis=0) - line * columns * factor
        result = np.clip(result / np.sqrt(left * (1 - line**2 * factor)), -1.0, 1.0)
    for k in range(models):
        few = np.flatnonzero(left[k] < _LEFT) if 1 - line[k, 0] ** 2 * factor > _LEFT else slice(None)
        rest = np.delete(scores[:, few], k, axis=0)
        if rest.size:
            result[k, few] = pearson(np.delete(x, k), scale(rest))
    return np.where(np.isnan(scores).any(axis=0), np.nan, result)


def correlations_without(
    flops: np.ndarray, metrics: Mapping[str, np.ndarray], groups: np.ndarray, wanted: Sequence[str] = ()
) -> dict[tuple[str, str], np.ndarray]:
    """What :func:`~elusive.analysis.correlations.metric_correlations` gives without each group in turn: [groups, items]
    each.

    ``metrics`` holds each probability with its logarithm; ``wanted`` names those to correlate, all when it is empty.
    Pearson's correlations are equal within 1e-11, the others to the last bit.
    """
    x = np.log10(flops)
    number = int(groups.max(initial=-1)) + 1
    each = number == len(x) and np.array_equal(groups, np.arange(number))
    ranks: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    result: dict[tuple[str, str], np.ndarray] = {}
    for metric in wanted or present(metrics):
        column, scores = LOGARITHMS.get(metric, metric), ranked(metric, metrics)
        if column not in ranks:
            ranks[column] = ranks_without_each(x, scores) if each else ranks_without(x, scores, groups)
        if each:
            moment = pearson_without_each(x, scores, scale_of(metric))
        else:
            moment = np.empty((number, scores.shape[1]))
            for group in range(number):
                left = scores[groups != group]
                moment[group] = pearson(x[groups != group], scale_of(metric)(left))
        for method, values in zip(METHODS, (moment, *ranks[column]), strict=True):
            result[metric, method] = values
    return result
