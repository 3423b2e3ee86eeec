"""How far the mean and the median correlation of a family depend on its checkpoints, and what compute shuffled gives.

Intervals over items (:mod:`elusive.analysis.statistics`) take the checkpoints as given. Here the items are, and
checkpoints are left out one at a time, by the jackknife of :mod:`elusive.analysis.resampling`. Where a family has
several models (runs), whole models are left out as well: their checkpoints follow one another in training and are not
independent draws. The median's interval comes from that of the share of items below it, and ends at the quantiles of
these levels (Woodruff 1952): rank correlations of few checkpoints take few values, among which the median itself may
not move at all. Of fewer than :data:`LEAST_MEDIAN` groups it often spans most of the scale, and is left out.

Undefined correlations are left out, with or without a checkpoint. Besides, per family × benchmark × metric × method:

- ``mean_shuffled_low/high``: the band of the mean correlation when compute is shuffled among the checkpoints, beyond
  which on either side lie at most 2.5 % of the orders, and ``p_shuffled``, the share of the orders whose mean is no
  less (:mod:`elusive.analysis.shuffles`).
- ``lag1_autocorrelation``: of what a score's ranks leave over after a straight line in the ranks of compute, between
  neighbouring checkpoints of one model, pooled over items and corrected for the fit's own expectation.
- ``effective_checkpoints`` = n (1 - r) / (1 + r) with that r (no less than 0): as many independent checkpoints would
  say as much, if the noise were a first-order autoregression.

``note`` says what is missing for want of checkpoints: with four or fewer the best of all orders comes by chance more
often than in 2.5 % of cases, so that there is no band, and with fewer than five there are no intervals.

What this can and cannot say. The intervals hold for other checkpoints of the same kind, drawn independently given
compute. Checkpoints of one run are not: their noise has memory (r > 0), and a bend in the relation with compute looks
the same as such memory. So within one run the interval is too narrow, roughly by sqrt(n / effective_checkpoints), and
no resampling of one run shows what another seed, another order of the data or another architecture would give. The
intervals over models are wider and nearer to that, but have few groups. Six to thirteen checkpoints give a standard
error that is itself uncertain by a quarter or more. In simulations with noise that items share, intervals of the mean
cover 91 to 95 % with six to thirteen independent checkpoints and 62 % with thirteen whose noise has an autocorrelation
of 0.8; those of the median 97 to 99 % with eight or thirteen, and 88 % with that noise
(tests/unit/analysis/test_checkpoint_intervals.py prints them).
"""

from __future__ import annotations

import itertools

import numpy as np

from elusive.analysis.correlations import METHODS
from elusive.analysis.leaving import average_ranks, scatter
from elusive.analysis.metrics import METRICS
from elusive.analysis.resampling import LEAST_CHECKPOINTS, Resampled, jackknife, mean_interval

STATISTICS = ("mean", "median")
#: Fewest groups of checkpoints for an interval of the median.
LEAST_MEDIAN = 8


def centres(values: np.ndarray) -> dict[str, np.ndarray]:
    """Mean and median of the defined entries of each row of ``values`` [rows, items]; NaN where there is none."""
    ascending = np.sort(values, axis=1)  # NaNs last
    n = (~np.isnan(values)).sum(axis=1)
    rows = np.arange(len(values))
    low, high = (ascending[rows, np.maximum(place, 0)] for place in ((n + 1) // 2 - 1, n // 2))
    return {"mean": _mean(values), "median": np.where(n > 0, (low + high) / 2, np.nan)}


def _mean(values: np.ndarray) -> np.ndarray:
    """Mean of the defined entries of each row of ``values`` [rows, items]; NaN where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nansum(values, axis=1) / (~np.isnan(values)).sum(axis=1)


def share_below(values: np.ndarray, bound: float) -> np.ndarray:
    """Share of the defined entries of each row of ``values`` [rows, items] below ``bound``, half of those at it."""
    with np.errstate(divide="ignore", invalid="ignore"):
        counts = (values < bound).sum(axis=1) + 0.5 * (values == bound).sum(axis=1)
        return counts / (~np.isnan(values)).sum(axis=1)


def intervals(values: np.ndarray, without: np.ndarray, sizes: np.ndarray) -> dict[str, tuple[float, float]]:
    """95 % intervals of mean and median of correlations ``values`` [items], by leaving groups of checkpoints out.

    ``without`` [groups, items] holds the correlations without each group and ``sizes`` [groups] how many checkpoints
    that has. NaN where a statistic does not exist for all of them, and for the median of fewer than
    :data:`LEAST_MEDIAN` groups.
    """
    mean, ends = float(_mean(values[None])[0]), (np.nan, np.nan)
    within = mean_interval(mean, _mean(without), sizes)
    if len(sizes) < LEAST_MEDIAN:
        return {"mean": within, "median": ends}
    median = float(centres(values[None])["median"][0])
    below = float(share_below(values[None], median)[0])
    level = jackknife(below, share_below(without, median), sizes)
    if not np.isnan(level):
        defined = np.sort(values[~np.isnan(values)])
        low, high = np.quantile(defined, np.clip([0.5 - level, 0.5 + level], 0, 1))
        ends = (float(low), float(high)) if level < 0.5 else (-1.0, 1.0)
    return {"mean": within, "median": ends}


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


def family_intervals(family: Resampled, tokens: np.ndarray) -> list[dict[str, object]]:
    """Rows of the table checkpoint_intervals, without family and benchmark: by metric, then method.

    ``tokens`` [models] puts a model's checkpoints in order. Metrics of the family's that its tables lack have no rows.
    """
    x, count = family.x, len(family.x)
    order = np.lexsort([tokens, family.runs])
    neighbours = np.array([[a, b] for a, b in itertools.pairwise(order) if family.runs[a] == family.runs[b]])
    x_ranks = np.sign(x[:, None] - x).sum(axis=1)
    notes = [note] if (note := family.shuffles.note()) else []
    if "checkpoints" not in family.partitions:
        notes.append(f"intervals over checkpoints need {LEAST_CHECKPOINTS} checkpoints, here {count}")
    elif count < LEAST_MEDIAN:
        notes.append(f"an interval of the median needs {LEAST_MEDIAN} checkpoints, here {count}")
    rows = []
    for metric in (name for name in METRICS if name in family.metrics):
        place = family.metrics.index(metric)
        ordered, first, end = average_ranks(family.ranked[metric])
        ranks = scatter(ordered, first + end - count, np.float64)
        lag = lag1_autocorrelation(x_ranks, ranks, neighbours) if count > 1 else np.nan
        memory = max(lag, 0.0)
        for method in METHODS:
            full = family.full[metric, method]
            row: dict[str, object] = {"metric": metric, "method": method, "num_items": len(full)}
            row |= {"num_models": count, "num_runs": family.num_runs}
            row |= {name: float(value[0]) for name, value in centres(full[None]).items()}
            for name in ("checkpoints", "models"):
                found: dict[str, tuple[float, float]] = {}
                if partition := family.partitions.get(name):
                    found = intervals(full, partition.left[metric, method], partition.sizes)
                for statistic in STATISTICS:
                    low, high = found.get(statistic, (np.nan, np.nan))
                    row |= {f"{statistic}_{name}_low": low, f"{statistic}_{name}_high": high}
            defined = int((~np.isnan(full)).sum())
            known = family.shuffles.conclusive and defined > 0
            # Over the defined items: over all of them, undefined ones are 0.
            scale = len(full) / defined if defined else np.nan
            low, high = (float(end[place]) * scale if known else np.nan for end in family.bands[method])
            row |= {"mean_shuffled_low": low, "mean_shuffled_high": high}
            row["p_shuffled"] = float(family.p_values[method][place]) if known else np.nan
            row |= {"num_orders": len(family.shuffles.orders), "lag1_autocorrelation": lag}
            row |= {"effective_checkpoints": count * (1 - memory) / (1 + memory), "note": "; ".join(notes) or None}
            rows.append(row)
    return rows
