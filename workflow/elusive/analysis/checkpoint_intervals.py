"""How far the mean and the median correlation of a family depend on its checkpoints, and what compute shuffled gives.

Intervals over items (:mod:`elusive.analysis.statistics`) take the checkpoints as given. Here the items are, and
checkpoints are left out one at a time: with ``t(-g)`` the statistic without checkpoint ``g`` of ``n``, the jackknife's
standard error is ``sqrt((n-1)/n * sum_g (t(-g) - mean t(-g))^2)``, and the interval reaches Student's t (n-1) times
that. Where a family has several models (runs), whole models are left out as well: their checkpoints follow one another
in training and are not independent draws. Groups of unequal size enter as in the delete-m_j jackknife (Busing, Meijer
and van der Leeden 1999). The median's interval comes from that of the share of items below it, and ends at the
quantiles of these levels (Woodruff 1952): rank correlations of few checkpoints take few values, among which the median
itself may not move at all. Where a level passes 0 or 1, it ends at -1 or 1.

Undefined correlations are left out, with or without a checkpoint. Besides, per family × benchmark × metric × method:

- ``mean_shuffled_low/high``: 2.5 % and 97.5 % quantiles of the mean correlation when compute is shuffled among the
  checkpoints, with one permutation for all items, so that what items have in common stays (Pearson and Spearman).
- ``lag1_autocorrelation``: of what a score's ranks leave over after a straight line in the ranks of compute, between
  neighbouring checkpoints of one model, pooled over items and corrected for the fit's own expectation.
- ``effective_checkpoints`` = n (1 - r) / (1 + r) with that r (no less than 0): as many independent checkpoints would
  say as much, if the noise were a first-order autoregression.

What this can and cannot say. The intervals hold for other checkpoints of the same kind, drawn independently given
compute. Checkpoints of one run are not: their noise has memory (r > 0), and a bend in the relation with compute looks
the same as such memory. So within one run the interval is too narrow, roughly by sqrt(n / effective_checkpoints), and
no resampling of one run shows what another seed, another order of the data or another architecture would give. The
intervals over models are wider and nearer to that, but have few groups. Six to thirteen checkpoints give a standard
error that is itself uncertain by a quarter or more. In simulations with noise that items share, intervals of the mean
cover 91 to 95 % with six to thirteen independent checkpoints and 62 % with thirteen whose noise has an autocorrelation
of 0.8; those of the median 97 to 99 % and 88 % (tests/unit/analysis/test_checkpoint_intervals.py prints them).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from scipy import special

from elusive import logs
from elusive.analysis.correlations import (
    LOGARITHMS,
    LOSSES,
    METHODS,
    metric_correlations,
    pearson,
    trained_scores,
    unit,
)
from elusive.analysis.metrics import METRICS, FilePath
from elusive.errors import ElusiveError
from elusive.tables import read_table, write_csv, write_table

logger = logs.get(__name__)

#: Fewest groups to leave out one of, and fewest checkpoints that must remain.
LEAST_CHECKPOINTS, LEAST_MODELS, LEAST_LEFT = 5, 3, 4
SHUFFLES = 5000
STATISTICS = ("mean", "median")

# Items taken at a time, as in elusive.analysis.correlations; no result depends on it.
_BLOCK = 4096


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
        ranks, concordance, pairs = _ranks(x_signs, np.ascontiguousarray(block))
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
            np.divide(x_ranks @ rest, np.sqrt(squares), out=spearman[group, chunk], where=known & (squares > 0))
            squares = distinct * (np.count_nonzero(x_left) / 2)
            np.divide(concordant, np.sqrt(squares), out=kendall[group, chunk], where=known & (squares > 0))
    return spearman, kendall


def _signs(rows: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Sign of ``rows`` minus ``row``: int8."""
    return (rows > row).view(np.int8) - (rows < row).view(np.int8)


def _weigh(weights: np.ndarray, signs: np.ndarray) -> np.ndarray:
    """Sum of ``signs`` [models, items] with ``weights`` [models] of -1, 0 and 1: int32 [items]."""
    plus, minus = (signs[weights == weight].sum(axis=0, dtype=np.int32) for weight in (1, -1))
    return plus - minus


def _ranks(x_signs: np.ndarray, block: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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


def correlations_without(
    flops: np.ndarray, metrics: dict[str, np.ndarray], groups: np.ndarray
) -> dict[tuple[str, str], np.ndarray]:
    """What :func:`~elusive.analysis.correlations.metric_correlations` gives without each group in turn: [groups, items]
    each.

    ``metrics`` holds each probability with its logarithm.
    """
    x = np.log10(flops)
    number = int(groups.max(initial=-1)) + 1
    ranks: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    result: dict[tuple[str, str], np.ndarray] = {}
    for metric in metrics:
        column = LOGARITHMS.get(metric, metric)
        scores = -metrics[column] if metric in LOSSES else metrics[column]
        if column not in ranks:
            ranks[column] = ranks_without(x, scores, groups)
        moment = np.empty((number, scores.shape[1]))
        for group in range(number):
            left = scores[groups != group]
            if metric in LOGARITHMS:
                left = np.expm1(left - left.max(axis=0, initial=-np.inf))
            moment[group] = pearson(x[groups != group], left)
        for method, values in zip(METHODS, (moment, *ranks[column]), strict=True):
            result[metric, method] = values
    return result


def centres(values: np.ndarray) -> dict[str, np.ndarray]:
    """Mean and median of the defined entries of each row of ``values`` [rows, items]; NaN where there is none."""
    ascending = np.sort(values, axis=1)  # NaNs last
    n = (~np.isnan(values)).sum(axis=1)
    rows = np.arange(len(values))
    low, high = (ascending[rows, np.maximum(place, 0)] for place in ((n + 1) // 2 - 1, n // 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(np.isnan(values), 0.0, values).sum(axis=1) / n
    return {"mean": mean, "median": np.where(n > 0, (low + high) / 2, np.nan)}


def jackknife(value: float, without: np.ndarray, sizes: np.ndarray) -> float:
    """Half the width of a statistic's 95 % interval, from what it is without each group.

    ``without`` [groups] holds the statistic without each group and ``sizes`` [groups] how many checkpoints that has.
    """
    groups, share = len(without), sizes.sum() / sizes
    centre = groups * value - ((1 - 1 / share) * without).sum()
    pseudo = share * value - (share - 1) * without
    error = np.sqrt(((pseudo - centre) ** 2 / (share - 1)).mean())
    return float(special.stdtrit(groups - 1, 0.975) * error)


def share_below(values: np.ndarray, bound: float) -> np.ndarray:
    """Share of the defined entries of each row of ``values`` [rows, items] below ``bound``, half of those at it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        counts = (values < bound).sum(axis=1) + 0.5 * (values == bound).sum(axis=1)
        return counts / (~np.isnan(values)).sum(axis=1)


def intervals(values: np.ndarray, without: np.ndarray, sizes: np.ndarray) -> dict[str, tuple[float, float]]:
    """95 % intervals of mean and median of correlations ``values`` [items], by leaving groups of checkpoints out.

    ``without`` [groups, items] holds the correlations without each group and ``sizes`` [groups] how many checkpoints
    that has. NaN where a statistic does not exist for all of them.
    """
    found = {name: float(value[0]) for name, value in centres(values[None]).items()}
    mean, median = found["mean"], found["median"]
    reach = jackknife(mean, centres(without)["mean"], sizes)
    below = float(share_below(values[None], median)[0])
    level = jackknife(below, share_below(without, median), sizes)
    if np.isnan(level):
        return dict.fromkeys(STATISTICS, (np.nan, np.nan))
    defined = np.sort(values[~np.isnan(values)])
    low, high = np.quantile(defined, np.clip([0.5 - level, 0.5 + level], 0, 1))
    return {
        "mean": (max(mean - reach, -1.0), min(mean + reach, 1.0)),
        "median": (float(low) if level < 0.5 else -1.0, float(high) if level < 0.5 else 1.0),
    }


def shuffled_mean(x: np.ndarray, units: np.ndarray) -> tuple[float, float]:
    """2.5 % and 97.5 % quantiles of the mean over items of a correlation with shuffled ``x`` [models].

    ``units`` [models, items] are scores (or ranks) centred and of length 1, NaN columns being left out; as the
    correlation is their product with centred ``x`` of length 1, its mean over items needs only their mean.
    """
    x = unit(x[:, None])[:, 0]
    defined = ~np.isnan(units).any(axis=0)
    if not defined.any() or np.isnan(x).any():
        return np.nan, np.nan
    mean = units[:, defined].mean(axis=1)
    generator = np.random.default_rng(len(x))
    shuffles = generator.permuted(np.tile(x, (SHUFFLES, 1)), axis=1)
    low, high = np.quantile((shuffles * mean).sum(axis=1), [0.025, 0.975])
    return float(low), float(high)


def lag1_autocorrelation(x_ranks: np.ndarray, ranks: np.ndarray, neighbours: np.ndarray) -> float:
    """Autocorrelation of rank residuals between neighbouring checkpoints, pooled over items; NaN without neighbours.

    ``x_ranks`` [models] and ``ranks`` [models, items] are centred; ``neighbours`` [pairs, 2] holds the rows of
    checkpoints that follow one another in a run. Residuals are taken about the line through the ranks of compute,
    which by itself makes neighbours' residuals correlate; the expectation of that is taken off.
    """
    models = len(x_ranks)
    squares = float(x_ranks @ x_ranks)
    if len(neighbours) == 0 or squares == 0 or models < 4:
        return np.nan
    residual = ranks - x_ranks[:, None] * (np.einsum("i,ij->j", x_ranks, ranks) / squares)
    total = np.einsum("ij,ij->j", residual, residual)
    first, second = neighbours.T
    kept = total > 1e-9 * np.maximum(np.einsum("ij,ij->j", ranks, ranks), 1.0)
    if not kept.any():
        return np.nan
    found = (np.einsum("ij,ij->j", residual[first], residual[second])[kept] / total[kept]).mean()
    projection = np.eye(models) - 1 / models - np.outer(x_ranks, x_ranks) / squares
    expected = projection[first, second].sum() / (models - 2)
    return float(np.clip((found - expected) * (models - 2) / len(neighbours), -1.0, 1.0))


def family_intervals(
    flops: np.ndarray, models: Sequence[str], tokens: np.ndarray, metrics: dict[str, np.ndarray]
) -> list[dict[str, object]]:
    """Rows of the table checkpoint_intervals, without family and benchmark: by metric, then method.

    ``flops`` (positive), ``models`` and ``tokens`` [models] describe the checkpoints; ``metrics`` maps the names in
    :data:`~elusive.analysis.metrics.METRICS` to scores [models, items], as far as there are any.
    """
    x = np.log10(flops)
    names = sorted(set(models))
    runs = np.array([names.index(model) for model in models], np.int64)
    full = metric_correlations(flops, metrics)
    partitions: dict[str, dict[tuple[str, str], dict[str, tuple[float, float]]]] = {}
    for name, groups, least in (
        ("checkpoints", np.arange(len(x)), LEAST_CHECKPOINTS),
        ("models", runs, LEAST_MODELS),
    ):
        sizes = np.bincount(groups)
        if len(sizes) < least or len(x) - sizes.max(initial=0) < LEAST_LEFT:
            continue
        if len(sizes) == len(x) and "checkpoints" in partitions:
            # One checkpoint a model: leaving out models is leaving out checkpoints.
            partitions[name] = partitions["checkpoints"]
            continue
        left = correlations_without(flops, metrics, groups)
        partitions[name] = {key: intervals(full[key], left[key], sizes) for key in left}
    order = np.lexsort([tokens, runs])
    neighbours = np.array([[a, b] for a, b in itertools.pairwise(order) if runs[a] == runs[b]])
    x_ranks = np.sign(x[:, None] - x).sum(axis=1)
    enough = len(x) > 1
    rows = []
    for metric in (name for name in METRICS if name in metrics):
        column = LOGARITHMS.get(metric, metric)
        scores = -metrics[column] if metric in LOSSES else metrics[column]
        ranks = _ranks(np.sign(x[:, None] - x).astype(np.int8), scores)[0].astype(np.float64)
        lag = lag1_autocorrelation(x_ranks, ranks, neighbours) if enough else np.nan
        if metric in LOGARITHMS:
            scores = np.expm1(scores - scores.max(axis=0, initial=-np.inf))
        shuffled = {}
        if enough:
            shuffled = {"pearson": shuffled_mean(x, unit(scores)), "spearman": shuffled_mean(x_ranks, unit(ranks))}
        memory = max(lag, 0.0)
        for method in METHODS:
            row: dict[str, object] = {"metric": metric, "method": method, "num_items": scores.shape[1]}
            row |= {"num_models": len(x), "num_runs": len(names)}
            row |= {name: float(value[0]) for name, value in centres(full[metric, method][None]).items()}
            for name in ("checkpoints", "models"):
                found = partitions.get(name, {}).get((metric, method), {})
                for statistic in STATISTICS:
                    low, high = found.get(statistic, (np.nan, np.nan))
                    row |= {f"{statistic}_{name}_low": low, f"{statistic}_{name}_high": high}
            row["mean_shuffled_low"], row["mean_shuffled_high"] = shuffled.get(method, (np.nan, np.nan))
            row |= {"lag1_autocorrelation": lag, "effective_checkpoints": len(x) * (1 - memory) / (1 + memory)}
            rows.append(row)
    return rows


def write_checkpoint_intervals(*, metrics: Sequence[FilePath], output_parquet: FilePath, output_csv: FilePath) -> None:
    """Write the table checkpoint_intervals of all ``metrics`` tables, as Parquet and as CSV.

    Rows are sorted by family and benchmark, then as :func:`family_intervals` says, whatever the order of the files.
    """
    found: dict[tuple[str, str], list[dict[str, object]]] = {}
    for key, checkpoints, _, scores in trained_scores(metrics, METRICS, ["tokens"]):
        found[key] = family_intervals(
            checkpoints["flops"].to_numpy(),
            checkpoints["model"].to_pylist(),
            checkpoints["tokens"].to_numpy(),
            scores,
        )
        logger.info("intervals over the checkpoints of %s on %s: %d of them", *key, len(checkpoints))
    if not found:
        raise ElusiveError(f"{output_parquet}: there are no metrics to look at")
    rows = [
        {"family": key[0], "benchmark": key[1]}
        | {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in row.items()}
        for key in sorted(found)
        for row in found[key]
    ]
    write_table(pa.Table.from_pylist(rows), output_parquet, "checkpoint_intervals", {"level": 0.95})
    write_csv(read_table(output_parquet, "checkpoint_intervals"), output_csv)
