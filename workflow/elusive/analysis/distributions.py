"""Statistics of a sample of correlations, with 95 % intervals for drawing other items, clusters of them together.

For the correlations ``C`` of some items:

- ``mean``, ``median`` (halfway between the two middle ones), ``fraction_above_075`` = P(C > 0.75);
- ``auc``: area under the survival function P(C > c) over [-1, 1]. Of a step function that is exactly 1 + mean;
- ``neg_wasserstein``: minus the Wasserstein-1 distance to the nearer of all +1 and all -1. That is exactly |mean| - 1;
- ``q25``, ``q75``, ``iqr`` (quartiles, linear between order statistics, and their difference), ``fraction_below_0`` =
  P(C < 0); ``auc_trapezoid``, without an interval: the area as the paper's authors compute it, by the trapezoid rule
  through the steps' ends with (-1, 1) and (1, 0) added. Of n items at one value c it is (1 + c)/2, not 1 + c.

The ``*_low`` and ``*_high`` columns are the intervals:

- mean: percentile bootstrap with 2,000 resamples, at levels widened for few items (Hesterberg 2015, "expanded
  percentile": Student's t and sqrt(n/(n-1))). ``auc`` follows by its formula, ``neg_wasserstein`` as the image of the
  mean's interval. The seed comes from benchmark and subject alone: every family, metric, method and policy sees the
  same resamples, whatever else is computed and in which order. Correlations enter rounded to 2^-32, so that every sum
  of the matrix product is exact and no number of threads changes a bit.
- median and quartiles: the order statistics whose ranks the binomial distribution gives, and -1 or 1 where there are
  too few for one (exact coverage of at least 95 %); fractions: Wilson's interval, which keeps a width at 0 and 1.
  Clusters widen both by the linearised design effect, with Student's t for their number. ``iqr``: from the quartiles'
  intervals by the method of variance estimates recovery (Zou and Donner 2008), with the quartiles' correlation, 1/3
  for items drawn one by one.

Fewer than two defined correlations (or clusters with any) have no interval.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special, stats

#: Statistics of the contract, and further ones; each has an interval.
STATISTICS = ("mean", "median", "auc", "neg_wasserstein", "fraction_above_075")
FURTHER = ("q25", "q75", "iqr", "fraction_below_0")
RESAMPLES = 2000

# Multiples of 2^-32 below 1 in size, up to 2^20 of them: their sums are exact in float64, in whatever order.
_EXACT = 2.0**32
_NORMAL = special.ndtri(0.975)
# Counts of a bootstrap drawn at a time, which bounds the memory.
_BLOCK = 4_000_000


@dataclass(frozen=True)
class _Sample:
    """Columns of correlations and the clusters in which their items are drawn.

    ``values`` and ``defined`` are [items, columns], NaN and False where undefined; ``starts`` holds the first row of
    each cluster, or is None when items are drawn one by one.
    """

    values: np.ndarray
    defined: np.ndarray
    starts: np.ndarray | None

    @classmethod
    def of(cls, values: np.ndarray, clusters: np.ndarray | None) -> _Sample:
        starts = None
        if clusters is not None:
            order = np.argsort(clusters, kind="stable")
            values, clusters = values[order], clusters[order]
            starts = np.flatnonzero(np.diff(clusters, prepend=clusters[0] - 1))
        return cls(values, ~np.isnan(values), starts)

    @cached_property
    def n(self) -> np.ndarray:
        """Defined values per column, int64 [columns]."""
        return self.defined.sum(axis=0)

    @cached_property
    def groups(self) -> np.ndarray:
        """Clusters with a defined value per column, int64 [columns]."""
        return (self.sums(self.defined.astype(np.int64)) > 0).sum(axis=0)

    @cached_property
    def student(self) -> np.ndarray:
        """The 97.5 % quantile of Student's t for the number of clusters; NaN for fewer than two."""
        return np.where(self.groups > 1, special.stdtrit(self.groups - 1.0, 0.975), np.nan)

    @cached_property
    def critical(self) -> np.ndarray:
        """How many standard errors an interval reaches: Student's t for clusters, the normal's for single items."""
        return self.student if self.starts is not None else np.where(self.groups > 1, _NORMAL, np.nan)

    def sums(self, rows: np.ndarray) -> np.ndarray:
        """``rows`` [items, columns] summed within clusters: [clusters, columns]."""
        return rows if self.starts is None else np.add.reduceat(rows, self.starts, axis=0)

    def mean(self, rows: np.ndarray) -> np.ndarray:
        """Mean of ``rows`` [items, columns] over the defined items."""
        return np.where(self.defined, rows, 0.0).sum(axis=0) / self.n

    def residual(self, rows: np.ndarray) -> np.ndarray:
        """``rows`` [items, columns] less their mean; 0 where undefined."""
        return np.where(self.defined, rows - self.mean(rows), 0.0)

    def design_effect(self, rows: np.ndarray) -> np.ndarray:
        """How many times more the mean of ``rows`` varies when clusters are drawn instead of items; at least 1."""
        if self.starts is None:
            return np.ones(len(self.n))
        residual = self.residual(rows)
        between = (self.sums(residual) ** 2).sum(axis=0) * self.groups / (self.groups - 1)
        effect = between / ((residual**2).sum(axis=0) * self.n / (self.n - 1))
        return np.where(np.isfinite(effect), np.maximum(effect, 1.0), 1.0)


def distribution_statistics(values: np.ndarray, clusters: np.ndarray | None, seed: int) -> dict[str, np.ndarray]:
    """Statistics, and their 95 % intervals, of each column of ``values`` [items, columns]: float64 [columns] each.

    The result has ``nan_fraction``, every name in :data:`STATISTICS` and :data:`FURTHER`, by itself and with ``_low``
    and ``_high``, and ``auc_trapezoid``. NaNs in ``values`` are left out; a statistic that does not exist is NaN.
    ``clusters`` [items] holds whole numbers, equal for items that are drawn together, or is None when items are drawn
    one by one; ``seed`` is the bootstrap's.
    """
    sample = _Sample.of(values, clusters)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = sample.mean(sample.values)
        low, high = _mean_interval(sample, seed)
        nearest = np.where(low * high <= 0, 0.0, np.minimum(abs(low), abs(high)))
        ascending = np.sort(sample.values, axis=0)  # NaNs last
        q25, q75 = (_quantile(sample, ascending, level) for level in (0.25, 0.75))
        columns = {
            "mean": (mean, low, high),
            "median": _quantile(sample, ascending, 0.5),
            "auc": (1 + mean, 1 + low, 1 + high),
            "neg_wasserstein": (abs(mean) - 1, nearest - 1, np.maximum(abs(low), abs(high)) - 1),
            "fraction_above_075": _fraction(sample, sample.values > 0.75),
            "q25": q25,
            "q75": q75,
            "iqr": _range(sample, q25, q75),
            "fraction_below_0": _fraction(sample, sample.values < 0),
        }
        area = trapezoid(ascending, sample.n)
    bounded = {
        name + bound: column
        for name in (*STATISTICS, *FURTHER)
        for bound, column in zip(("", "_low", "_high"), columns[name], strict=True)
    }
    return {"nan_fraction": (len(values) - sample.n) / len(values), **bounded, "auc_trapezoid": area}


def _mean_interval(sample: _Sample, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Expanded percentile interval of the mean, by drawing the clusters with replacement."""
    rounded = np.where(sample.defined, np.rint(sample.values * _EXACT) / _EXACT, 0.0)
    totals, counts = sample.sums(rounded), sample.sums(sample.defined.astype(np.float64))
    # Columns that lack no item share their counts.
    full = sample.n == len(sample.values)
    kinds = np.concatenate([sample.sums(np.ones((len(rounded), 1))), counts[:, ~full]], axis=1)
    which = np.where(full, 0, np.cumsum(~full))
    # A resample without any defined item has no mean: NaN, and sorted last.
    means = [(draws @ totals) / (draws @ kinds)[:, which] for draws in _resamples(len(totals), seed)]
    means = np.sort(np.concatenate(means), axis=0)
    last = (~np.isnan(means)).sum(axis=0) - 1
    level = special.ndtr(-np.sqrt(sample.groups / (sample.groups - 1)) * sample.student)

    def quantile(level: np.ndarray) -> np.ndarray:
        position = np.where(np.isnan(level), 0.0, level) * last
        below = np.floor(position).astype(np.int64)
        rows = np.stack([below, np.minimum(below + 1, last)])
        first, second = np.take_along_axis(means, rows, axis=0)
        return np.where(np.isnan(level), np.nan, first + (second - first) * (position - below))

    return quantile(level), quantile(1 - level)


def _resamples(size: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of ``size`` clusters is drawn: float64 [RESAMPLES, size], a block of rows at a time."""
    generator = np.random.default_rng(seed)
    block = max(1, _BLOCK // size)
    for start in range(0, RESAMPLES, block):
        rows = min(block, RESAMPLES - start)
        drawn = generator.integers(size, size=(rows, size)) + size * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size).astype(np.float64)


def _quantile(sample: _Sample, ascending: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Quantile, linear between order statistics, and the order statistics that enclose it."""
    n = sample.n

    def nth(rank: np.ndarray) -> np.ndarray:
        inside = np.clip(rank, 1, np.maximum(n, 1))[None].astype(np.int64)
        value = np.take_along_axis(ascending, inside - 1, axis=0)[0]
        return np.where(rank < 1, -1.0, np.where(rank > n, 1.0, value))

    position = (n - 1) * level
    below = np.floor(position)
    upper = position - below
    value = np.where(n > 0, nth(below + 1) * (1 - upper) + nth(np.minimum(below + 2, n)) * upper, np.nan)
    # Values equal to the quantile count on either side, so that ties do not hide how much clusters differ.
    effect = sample.design_effect(_below(sample, value, level))
    known = ~np.isnan(sample.critical)
    widening = np.sqrt(effect) * sample.critical / _NORMAL

    def rank(level: float) -> np.ndarray:
        reach = (n * level - stats.binom.ppf(0.025, n, level)) * widening
        return np.floor(n * level - np.where(known, reach, 0.0))

    return value, np.where(known, nth(rank(level)), np.nan), np.where(known, nth(n + 1 - rank(1 - level)), np.nan)


def _below(sample: _Sample, value: np.ndarray, level: float) -> np.ndarray:
    """1 for values below ``value`` [columns], ``level`` for those at it: float64 [items, columns]."""
    return (sample.values < value) + level * (sample.values == value)


def _range(sample: _Sample, lower: tuple[np.ndarray, ...], upper: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Difference of the two quartiles, given with their intervals, and its interval."""
    (q25, low25, high25), (q75, low75, high75) = lower, upper
    correlation = np.full(len(q25), 1 / 3)
    if sample.starts is not None:
        first, second = (
            sample.sums(sample.residual(_below(sample, value, level))) for value, level in ((q25, 0.25), (q75, 0.75))
        )
        found = (first * second).sum(axis=0) / np.sqrt((first**2).sum(axis=0) * (second**2).sum(axis=0))
        correlation = np.where(np.isfinite(found), found, correlation)

    def reach(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.sqrt(np.maximum(a**2 + b**2 - 2 * correlation * a * b, 0.0))

    value = q75 - q25
    low = np.maximum(value - reach(q75 - low75, high25 - q25), 0.0)
    return value, low, np.minimum(value + reach(high75 - q75, q25 - low25), 2.0)


def trapezoid(ascending: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Area under each column's survival function by the trapezoid rule, as in the paper's code: float64 [columns].

    ``ascending`` [items, columns] is sorted with NaNs last, ``n`` [columns] counts the others; NaN where there is none.
    """
    if len(ascending) == 0:
        return np.full(len(n), np.nan)
    index = np.arange(len(ascending))[:, None]
    # How many values are at most this one: the last index of its ties, plus 1.
    last = np.where(np.diff(ascending, axis=0, append=np.inf) > 0, index, len(ascending))
    last[-1:] = index[-1]
    at_most = np.minimum(np.minimum.accumulate(last[::-1], axis=0)[::-1] + 1, n)
    survival = 1 - at_most / np.maximum(n, 1)
    c = np.concatenate([np.full((1, len(n)), -1.0), np.where(index < n, ascending, 1.0), np.ones((1, len(n)))])
    ends = np.zeros((1, len(n)))
    height = np.concatenate([ends + 1, np.where(index < n, survival, 0.0), ends])
    return np.where(n > 0, np.trapezoid(height, c, axis=0), np.nan)


def _fraction(sample: _Sample, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of the defined items where ``rows`` [items, columns] is true, and its Wilson interval."""
    share = sample.mean(rows)
    error = sample.critical**2 * sample.design_effect(rows) / sample.n
    centre = (share + error / 2) / (1 + error)
    half = np.sqrt(share * (1 - share) * error + error**2 / 4) / (1 + error)
    return share, np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)
