"""One family on one benchmark: every score's correlations with compute, without some checkpoints, and by chance.

What the tables over checkpoints (``checkpoint_intervals``, ``headline``, ``predictability``) have in common, computed
once: the correlations of every item, metric and method with all checkpoints; the same without each checkpoint, and
without each model of a family that has several; and the means over items when compute is shuffled
(:mod:`elusive.analysis.shuffles`). In a mean over all items an undefined correlation counts as 0.

The jackknife: with ``t(-g)`` a statistic without group ``g`` of ``n`` checkpoints, its standard error is
``sqrt((n-1)/n * sum_g (t(-g) - mean t(-g))^2)``, and the interval reaches Student's t (n-1) times that. Groups of
unequal size enter as in the delete-m_j jackknife (Busing, Meijer and van der Leeden 1999).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

from elusive.analysis.correlations import LOSSES, metric_correlations, ranked, scale_of, unit
from elusive.analysis.leaving import average_ranks, correlations_without, scatter
from elusive.analysis.metrics import present
from elusive.analysis.shuffles import Shuffles, rounded

#: Fewest groups to leave out one of, and fewest checkpoints that must remain.
LEAST_CHECKPOINTS, LEAST_MODELS, LEAST_LEFT = 5, 3, 4

Key = tuple[str, str]

# Items taken at a time; no result depends on it but by rounding.
_BLOCK = 2048
# A jackknife's reach below this is rounding.
_NOTHING = 1e-12


@dataclass(frozen=True)
class Partition:
    """Groups of checkpoints left out in turn.

    ``sizes`` [groups] counts the checkpoints of each, ``left`` maps (metric, method) to the correlations without it,
    float64 [groups, items].
    """

    sizes: np.ndarray
    left: dict[Key, np.ndarray]

    @cached_property
    def means(self) -> dict[Key, np.ndarray]:
        """Mean over all items without each group, undefined correlations as 0: float64 [groups] each."""
        items = next(iter(self.left.values())).shape[1]
        return {key: np.nansum(values, axis=1) / items for key, values in self.left.items()}


@dataclass(frozen=True)
class Resampled:
    """Correlations of one family on one benchmark, by (metric, method).

    ``x`` [models] is log10 FLOPs; ``metrics`` and ``scores`` [models, items] are those correlated, losses negated, and
    ``ranked`` what these are ranked by;
    ``full`` float64 [items], NaN where undefined; ``partitions`` has those of ``checkpoints`` and ``models`` that the
    family has enough of. ``shuffled`` maps each method to the means over all items in every order of compute, float64
    [orders, metrics], and ``means`` to those in the real one, [metrics], both with undefined correlations as 0.
    """

    x: np.ndarray
    runs: np.ndarray
    metrics: list[str]
    scores: dict[str, np.ndarray]
    ranked: dict[str, np.ndarray]
    full: dict[Key, np.ndarray]
    partitions: dict[str, Partition]
    shuffles: Shuffles
    shuffled: dict[str, np.ndarray]
    means: dict[str, np.ndarray]

    @property
    def num_runs(self) -> int:
        """Number of models that the checkpoints belong to."""
        return len(np.unique(self.runs))

    @cached_property
    def bands(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Ends of the band of each method's means, [metrics] each."""
        return {method: self.shuffles.band(values) for method, values in self.shuffled.items()}

    @cached_property
    def p_values(self) -> dict[str, np.ndarray]:
        """Share of the orders whose mean is no less than the real one, [metrics], by method."""
        return {method: self.shuffles.p_values(found, self.means[method]) for method, found in self.shuffled.items()}


def resample(
    flops: np.ndarray, models: Sequence[str], scores: Mapping[str, np.ndarray], shuffles: Shuffles | None = None
) -> Resampled:
    """Everything that is to be known of a family with checkpoints of ``models`` [models] at ``flops`` [models].

    ``scores`` maps metrics and variants (each probability with its logarithm) to [models, items]; ``shuffles`` are
    those of log10 ``flops``, where they are at hand.
    """
    x = np.log10(flops)
    metrics = present(scores)
    names = sorted(set(models))
    runs = np.array([names.index(model) for model in models], np.int64)
    partitions: dict[str, Partition] = {}
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
        partitions[name] = Partition(sizes, correlations_without(flops, scores, groups, metrics))
    full = metric_correlations(flops, dict(scores))
    shuffles = shuffles or Shuffles.of(x)
    signed = {name: -scores[name] if name in LOSSES else scores[name] for name in metrics}
    by = {name: ranked(name, scores) for name in metrics}
    shuffled, means = mean_correlations(shuffles, [(by[name], scale_of(name)) for name in metrics])
    return Resampled(x, runs, metrics, signed, by, full, partitions, shuffles, shuffled, means)


def missing_partitions(family: Resampled) -> list[str]:
    """Why there are no intervals over checkpoints, or over models."""
    reasons = {
        "checkpoints": f"intervals over checkpoints need {LEAST_CHECKPOINTS}, here {len(family.x)}",
        "models": f"intervals over models need {LEAST_MODELS}, with {LEAST_LEFT} checkpoints left without any one of "
        f"them, here {family.num_runs}",
    }
    return [reason for name, reason in reasons.items() if name not in family.partitions]


def mean_correlations(
    shuffles: Shuffles, columns: Sequence[tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Mean over items, undefined as 0, of correlations with compute in every order, by method: float64 [orders,
    columns]; and the same with compute as it is: [columns].

    Each of the ``columns`` is scores [models, items] by which to rank, and the function that makes of them those whose
    product moment is to be taken.
    """
    models = len(shuffles.x)
    values, ranks = np.zeros((2, models, len(columns)))
    pairs = np.zeros((models * (models - 1) // 2, len(columns)))
    x_pairs = np.count_nonzero(shuffles.x[:, None] - shuffles.x) / 2
    known: dict[int, int] = {}
    for place, (scores, scale) in enumerate(columns if models > 1 else ()):
        values[:, place] = _mean_column(scale(scores))
        # The ranks of p are those of log p.
        same = known.setdefault(id(scores), place)
        if same != place:
            ranks[:, place], pairs[:, place] = ranks[:, same], pairs[:, same]
        else:
            ranks[:, place], pairs[:, place] = _mean_ranks(scores, x_pairs)

    def means(orders: Shuffles) -> dict[str, np.ndarray]:
        found = {"pearson": orders.products(values, "pearson"), "spearman": orders.products(ranks, "spearman")}
        return found | {"kendall": orders.pairs(pairs)}

    real = means(Shuffles(shuffles.x, np.arange(models)[None], True))
    return means(shuffles), {method: found[0] for method, found in real.items()}


def _mean_column(scores: np.ndarray) -> np.ndarray:
    """Mean over all items of the columns of ``scores`` [models, items], centred and of length 1, else 0: [models]."""
    total = np.zeros(len(scores))
    for start in range(0, scores.shape[1], _BLOCK):
        total += np.nan_to_num(unit(scores[:, start : start + _BLOCK]), nan=0.0).sum(axis=1)
    return total / max(scores.shape[1], 1)


def _mean_ranks(scores: np.ndarray, x_pairs: float) -> tuple[np.ndarray, np.ndarray]:
    """The same of the items' ranks: [models]; and of the signs of their changes from one checkpoint to another, in
    units that make Kendall's tau-b of them: [pairs], in the order of ``np.triu_indices``."""
    models, items = scores.shape
    ranked, paired = np.zeros(models), np.zeros(models * (models - 1) // 2)
    for start in range(0, items, _BLOCK):
        block = np.ascontiguousarray(scores[:, start : start + _BLOCK])
        block = block[:, ~np.isnan(block).any(axis=0)]
        order, first, end = average_ranks(block)
        distinct = (models**2 - (end - first).sum(axis=0)) / 2
        moving = distinct > 0
        ranks, distinct = scatter(order, first + end - models, np.int16)[:, moving], distinct[moving]
        centred = ranks.astype(np.float64)
        ranked += (centred / np.sqrt(np.einsum("ij,ij->j", centred, centred))).sum(axis=1)
        if x_pairs:
            # Rounded, so that sums are exact and no number of threads changes a bit.
            weights = rounded(1 / np.sqrt(distinct * x_pairs))
            change, stop = np.empty_like(ranks), 0
            for a in range(models - 1):
                later = change[a + 1 :]
                np.subtract(ranks[a + 1 :], ranks[a], out=later)
                np.clip(later, -1, 1, out=later)
                start_of, stop = stop, stop + models - 1 - a
                paired[start_of:stop] += later @ weights
    return ranked / max(items, 1), paired / max(items, 1)


def jackknife(value: float, without: np.ndarray, sizes: np.ndarray) -> float:
    """Half the width of a statistic's 95 % interval, from what it is without each group.

    ``without`` [groups] holds the statistic without each group and ``sizes`` [groups] how many checkpoints that has.
    """
    groups, share = len(without), sizes.sum() / sizes
    centre = groups * value - ((1 - 1 / share) * without).sum()
    pseudo = share * value - (share - 1) * without
    error = np.sqrt(((pseudo - centre) ** 2 / (share - 1)).mean())
    return float(special.stdtrit(groups - 1, 0.975) * error)


def mean_interval(value: float, without: np.ndarray, sizes: np.ndarray, bound: float = 1.0) -> tuple[float, float]:
    """The interval of a mean of size at most ``bound`` by :func:`jackknife`, whose arguments these are.

    NaN where no group makes a difference: that shows nothing of what other checkpoints would.
    """
    reach = jackknife(value, without, sizes)
    if not reach > _NOTHING:
        return float("nan"), float("nan")
    return max(value - reach, -bound), min(value + reach, bound)
