"""Statistics of a sample of correlations, with 95 % intervals for drawing other items, clusters of them together.

For the correlations ``C`` of some items:

- ``mean``, ``median`` (halfway between the two middle ones), ``fraction_above_075`` = P(C > 0.75);
- ``auc``: area under the survival function P(C > c) over [-1, 1]. Of a step function that is exactly 1 + mean;
- ``neg_wasserstein``: minus the Wasserstein-1 distance to the nearer of all +1 and all -1. That is exactly |mean| - 1;
- ``q25``, ``q75``, ``iqr`` (quartiles, linear between order statistics, and their difference), ``fraction_below_0`` =
  P(C < 0); ``auc_trapezoid``, without an interval: the area as the paper's authors compute it, by the trapezoid rule
  through the steps' ends with (-1, 1) and (1, 0) added. Of n items at one value c it is (1 + c)/2, not 1 + c.

The ``*_low`` and ``*_high`` columns are the intervals. With ``N`` items in clusters of ``n_g`` (of one item each, where
items are drawn one by one), residuals' sums ``R_g`` over clusters and ``h_g = 1 - n_g/N``:

- the variance of a mean is ``sum_g R_g² / h_g / N²``, the bias-reduced cluster estimate CR2 (Bell and McCaffrey 2002),
  and Student's t has the degrees of freedom by which that estimate varies when items are independent (Satterthwaite),
  ``N² / (sum_g n_g² (1 - 2 n_g/N) / h_g² + (sum_g n_g²/h_g)² / N²)``: G - 1 for G equal clusters, else fewer;
- mean: t is corrected for skewness by Hall's monotone transformation (1992, J. R. Stat. Soc. B 54). The third moment is
  that of the clusters' sums in units of their standard deviations, which the intraclass correlation gives. Of clusters
  it is known only roughly, so that the correction may lengthen an end there, but shortens none. ``auc`` follows by its
  formula, ``neg_wasserstein`` as the image of the mean's interval;
- median and quartiles: the order statistics whose ranks the binomial distribution gives, and -1 or 1 where there are
  too few for one (exact coverage of at least 95 % for items drawn one by one); fractions: Wilson's interval, which
  keeps a width at 0 and 1, with Poisson's bound where one to three items make the share (Brown, Cai and DasGupta 2001,
  Statistical Science 16). Clusters widen both by t and by the design effect, the larger of CR2's and that which the
  intraclass correlation gives. A share of 0 or 1 does not show how it clusters: it counts as if whole clusters had it
  or had it not, N² / sum_g n_g² of them; of one that c items have, or lack, the 1/(1 + c)-th part counts so;
- ``iqr``: from the quartiles' intervals by the method of variance estimates recovery (Zou and Donner 2008), with the
  quartiles' correlation, 1/3 for items drawn one by one. Where a quartile's interval has fewer different values than
  half its ranks, such as rank correlations of few checkpoints, it is the widest that the two intervals allow.

There is no interval of fewer than :data:`LEAST_ITEMS` defined correlations or :data:`LEAST_CLUSTERS` clusters with any,
nor of clusters so unequal that N² / sum_g n_g² is below :data:`LEAST_EQUAL`. There is none of the mean of equal
correlations, nor where one cluster makes nearly all the spread: with S_g the clusters' sums in units of their standard
deviations, less their mean, (sum_g S_g²)² / sum_g S_g⁴ counts the clusters that make it, and must be at least
:data:`LEAST_SPREAD`. ``note`` says why. tests/benchmarks/coverage.py measures how often the intervals hold the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import special

#: Statistics of the contract, and further ones; each has an interval.
STATISTICS = ("mean", "median", "auc", "neg_wasserstein", "fraction_above_075")
FURTHER = ("q25", "q75", "iqr", "fraction_below_0")
#: Fewest items with a correlation, and fewest clusters of these, that an interval is made of.
LEAST_ITEMS, LEAST_CLUSTERS = 10, 6
#: Fewest clusters of one size that unequal ones must be worth, and fewest clusters that must make the spread of a mean.
LEAST_EQUAL, LEAST_SPREAD = 5.0, 1.5

_NORMAL = special.ndtri(0.975)


@dataclass(frozen=True)
class Sample:
    """Columns of numbers and the clusters in which their items are drawn.

    ``values`` and ``defined`` are [items, columns], NaN and False where undefined; ``starts`` holds the first row of
    each cluster, or is None when items are drawn one by one.
    """

    values: np.ndarray
    defined: np.ndarray
    starts: np.ndarray | None

    @classmethod
    def of(cls, values: np.ndarray, clusters: np.ndarray | None) -> Sample:
        """Of ``values`` [items, columns]; ``clusters`` [items] as for :func:`distribution_statistics`."""
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
    def sizes(self) -> np.ndarray:
        """Defined values per cluster and column: float64 [clusters, columns]."""
        return self.sums(self.defined.astype(np.float64))

    @cached_property
    def groups(self) -> np.ndarray:
        """Clusters with a defined value per column, int64 [columns]."""
        return (self.sizes > 0).sum(axis=0)

    @cached_property
    def enough(self) -> np.ndarray:
        """Whether a column has the items and clusters that an interval needs: bool [columns]."""
        if self.starts is None:
            return self.n >= LEAST_ITEMS
        # Equal clusters are worth their number, whatever the rounding.
        return (self.n >= LEAST_ITEMS) & (self.groups >= LEAST_CLUSTERS) & (self.whole > LEAST_EQUAL - 1e-9)

    @cached_property
    def left(self) -> np.ndarray:
        """Share of a column's items outside each cluster: float64 [clusters, columns]."""
        return 1 - self.sizes / self.n

    @cached_property
    def freedom(self) -> np.ndarray:
        """Degrees of freedom of :meth:`variance` for independent items, float64 [columns]."""
        if self.starts is None:
            return self.n - 1.0
        share = self.sizes / self.n
        first = (share**2 * (1 - 2 * share) / self.left**2).sum(axis=0)
        return 1 / (first + (share**2 / self.left).sum(axis=0) ** 2)

    @cached_property
    def student(self) -> np.ndarray:
        """The 97.5 % quantile of Student's t; NaN for columns without an interval."""
        return np.where(self.enough, special.stdtrit(np.where(self.enough, self.freedom, 1.0), 0.975), np.nan)

    @cached_property
    def critical(self) -> np.ndarray:
        """How many standard errors a rank or share reaches: Student's t for clusters, the normal's for single items."""
        return self.student if self.starts is not None else np.where(self.enough, _NORMAL, np.nan)

    @cached_property
    def whole(self) -> np.ndarray:
        """As many clusters of one size would say as much, if a cluster's items were all alike: float64 [columns]."""
        return 1 / ((self.sizes / self.n) ** 2).sum(axis=0)

    def sums(self, rows: np.ndarray) -> np.ndarray:
        """``rows`` [items, columns] summed within clusters: [clusters, columns]."""
        return rows if self.starts is None else np.add.reduceat(rows, self.starts, axis=0)

    def mean(self, rows: np.ndarray) -> np.ndarray:
        """Mean of ``rows`` [items, columns] over the defined items."""
        return np.where(self.defined, rows, 0.0).sum(axis=0) / self.n

    def residual(self, rows: np.ndarray) -> np.ndarray:
        """``rows`` [items, columns] less their mean; 0 where undefined."""
        return np.where(self.defined, rows - self.mean(rows), 0.0)

    def variance(self, residual: np.ndarray) -> np.ndarray:
        """Variance of the mean whose residuals [items, columns] these are: float64 [columns]."""
        return (self.sums(residual) ** 2 / self.left).sum(axis=0) / self.n.astype(np.float64) ** 2

    def alike(self, residual: np.ndarray) -> np.ndarray:
        """Intraclass correlation in clusters, by one-way analysis of variance, within 0 and 1: float64 [columns]."""
        groups, sizes = self.groups, self.sizes
        between = np.where(sizes > 0, self.sums(residual) ** 2 / sizes, 0.0).sum(axis=0)
        within = ((residual**2).sum(axis=0) - between) / (self.n - groups)
        between = between / (groups - 1)
        usual = (self.n - (sizes**2).sum(axis=0) / self.n) / (groups - 1)
        return np.clip(np.nan_to_num((between - within) / (between + (usual - 1) * within)), 0.0, 1.0)

    def expected(self, residual: np.ndarray) -> np.ndarray:
        """Variance of each cluster's sum in units of an item's variance: float64 [clusters, columns]."""
        if self.starts is None:
            return self.sizes
        return self.sizes * (1 + np.maximum(self.sizes - 1, 0) * self.alike(residual))

    def shape(self, residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Skewness of the mean whose residuals [items, columns] these are, and how many clusters make its spread.

        float64 [columns] each.
        """
        groups, present, expected = self.groups, self.sizes > 0, self.expected(residual)
        scaled = np.where(present, self.sums(residual) / np.sqrt(expected * self.left), 0.0)
        scaled = np.where(present, scaled - scaled.sum(axis=0) / groups, 0.0)
        square = scaled**2
        third, second = (square * scaled).sum(axis=0) / groups, square.sum(axis=0) / groups
        skewness = third / second**1.5 * np.sqrt(groups * (groups - 1)) / (groups - 2)
        spread = square.sum(axis=0) ** 2 / (square**2).sum(axis=0)
        return skewness * (expected**1.5).sum(axis=0) / expected.sum(axis=0) ** 1.5, spread

    def mean_interval(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean of each column and the ends of its interval: float64 [columns] each."""
        with np.errstate(divide="ignore", invalid="ignore"):
            # Relative to a value of the column, equal ones have no residual, whatever the rounding of their mean.
            first = self.values[self.defined.argmax(axis=0), np.arange(self.values.shape[1])]
            residual = self.residual(self.values - first)
            error, (skew, spread) = np.sqrt(self.variance(residual)), self.shape(residual)
            error = np.where(error > 0, error, np.nan)
            below, above = _hall(self.student, skew), -_hall(-self.student, skew)
            if self.starts is not None:
                error = np.where(spread >= LEAST_SPREAD, error, np.nan)
                below, above = np.maximum(below, self.student), np.maximum(above, self.student)
            mean = first + self.mean(self.values - first)
            return mean, mean - error * below, mean + error * above


def _hall(bound: np.ndarray, skew: np.ndarray) -> np.ndarray:
    """The t whose transform t + a t²/3 + a² t³/27 + a/6 is ``bound``, with the mean's skewness a = ``skew``."""
    a = np.where(np.abs(skew) > 1e-6, skew, np.nan)
    return np.where(np.isnan(a), bound, 3 / a * (np.cbrt(1 + a * (bound - a / 6)) - 1))


def distribution_statistics(values: np.ndarray, clusters: np.ndarray | None) -> dict[str, np.ndarray]:
    """Statistics, and their 95 % intervals, of each column of ``values`` [items, columns]: float64 [columns] each.

    The result has ``nan_fraction``, every name in :data:`STATISTICS` and :data:`FURTHER`, by itself and with ``_low``
    and ``_high``, ``auc_trapezoid``, and ``note`` (text, None where every interval is there). NaNs in ``values`` are
    left out; a statistic that does not exist is NaN. ``clusters`` [items] holds whole numbers, equal for items that are
    drawn together, or is None when items are drawn one by one.
    """
    sample = Sample.of(values, clusters)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean, low, high = sample.mean_interval()
        low, high = np.maximum(low, -1.0), np.minimum(high, 1.0)
        nearest = np.where(low * high <= 0, 0.0, np.minimum(abs(low), abs(high)))
        nearest = np.where(np.isnan(low), np.nan, nearest)
        ascending = np.sort(sample.values, axis=0)  # NaNs last
        q25, q75 = (_quantile(sample, ascending, level) for level in (0.25, 0.75))
        columns = {
            "mean": (mean, low, high),
            "median": _quantile(sample, ascending, 0.5)[:3],
            "auc": (1 + mean, 1 + low, 1 + high),
            "neg_wasserstein": (abs(mean) - 1, nearest - 1, np.maximum(abs(low), abs(high)) - 1),
            "fraction_above_075": _fraction(sample, sample.values > 0.75),
            "q25": q25[:3],
            "q75": q75[:3],
            "iqr": _range(sample, q25, q75),
            "fraction_below_0": _fraction(sample, sample.values < 0),
        }
        area = trapezoid(ascending, sample.n)
    bounded = {
        name + bound: column
        for name in (*STATISTICS, *FURTHER)
        for bound, column in zip(("", "_low", "_high"), columns[name], strict=True)
    }
    share = (len(values) - sample.n) / len(values)
    return {"nan_fraction": share, **bounded, "auc_trapezoid": area, "note": interval_notes(sample, low)}


def interval_notes(sample: Sample, low: np.ndarray) -> np.ndarray:
    """Why a column has no interval, or none of the mean, whose lower ends ``low`` are: text or None [columns]."""
    notes = np.full(len(low), None, dtype=object)
    for i in np.flatnonzero(np.isnan(low)):
        n, groups = int(sample.n[i]), int(sample.groups[i])
        if n < LEAST_ITEMS:
            notes[i] = f"an interval needs {LEAST_ITEMS} items with a value, here {n}"
        elif groups < LEAST_CLUSTERS and sample.starts is not None:
            notes[i] = f"an interval needs {LEAST_CLUSTERS} clusters of items, here {groups}"
        elif not sample.enough[i]:
            worth = np.floor(10 * sample.whole[i]) / 10
            notes[i] = (
                f"an interval needs clusters worth {LEAST_EQUAL:g} of one size, here {groups} unequal ones are worth "
                f"{worth:.1f}"
            )
        elif np.ptp(sample.values[sample.defined[:, i], i]) == 0:
            notes[i] = "all values are equal: no interval of the mean"
        elif sample.starts is None or np.ptp(_cluster_means(sample, i)) < 1e-12:
            notes[i] = "the clusters' means are equal: no interval of the mean"
        else:
            notes[i] = "one cluster of items makes nearly all the spread: no interval of the mean"
    return notes


def _cluster_means(sample: Sample, column: int) -> np.ndarray:
    """Mean of a column in each cluster that has a value of it: float64 [clusters]."""
    sizes = sample.sizes[:, column]
    sums = sample.sums(np.where(sample.defined, sample.values, 0.0)[:, [column]])[:, 0]
    return sums[sizes > 0] / sizes[sizes > 0]


def _quantile(sample: Sample, ascending: np.ndarray, level: float) -> tuple[np.ndarray, ...]:
    """Quantile, linear between order statistics, the order statistics that enclose it, and whether these tie."""
    n = sample.n

    def nth(rank: np.ndarray) -> np.ndarray:
        inside = np.clip(rank, 1, np.maximum(n, 1))[None].astype(np.int64)
        value = np.take_along_axis(ascending, inside - 1, axis=0)[0]
        return np.where(rank < 1, -1.0, np.where(rank > n, 1.0, value))

    # Loading it takes a second, and most jobs that load this module have no use for it.
    from scipy import stats

    position = (n - 1) * level
    below = np.floor(position)
    upper = position - below
    value = np.where(n > 0, nth(below + 1) * (1 - upper) + nth(np.minimum(below + 2, n)) * upper, np.nan)
    # Values equal to the quantile count on either side, so that ties do not hide how much clusters differ.
    widening = np.sqrt(n / _equivalent(sample, _below(sample, value, level))) * sample.critical / _NORMAL
    known = ~np.isnan(sample.critical)

    def rank(level: float) -> np.ndarray:
        reach = (n * level - stats.binom.ppf(0.025, n, level)) * widening
        return np.floor(n * level - np.where(known, reach, 0.0))

    first, last = rank(level), n + 1 - rank(1 - level)
    ends = [np.clip(bound, 1, np.maximum(n, 1)).astype(np.int64) - 1 for bound in (first, last)]
    steps = np.cumsum(np.diff(ascending, axis=0, prepend=ascending[:1]) > 0, axis=0)
    seen = [np.take_along_axis(steps, end[None], axis=0)[0] for end in ends]
    tied = 2 * (seen[1] - seen[0] + 1) < ends[1] - ends[0] + 1
    return value, np.where(known, nth(first), np.nan), np.where(known, nth(last), np.nan), tied


def _below(sample: Sample, value: np.ndarray, level: float) -> np.ndarray:
    """1 for values below ``value`` [columns], ``level`` for those at it: float64 [items, columns]."""
    return (sample.values < value) + level * (sample.values == value)


def _equivalent(sample: Sample, rows: np.ndarray) -> np.ndarray:
    """As many items drawn one by one would tell the mean of ``rows`` [items, columns] as well: float64 [columns]."""
    n = sample.n.astype(np.float64)
    if sample.starts is None:
        return n
    residual = sample.residual(rows)
    alone = (residual**2).sum(axis=0) / np.maximum(n - 1, 1)
    found = np.minimum(alone / sample.variance(residual), n**2 / sample.expected(residual).sum(axis=0))
    return np.where(alone > 1e-12, np.clip(found, np.minimum(sample.whole, n), n), sample.whole)


def _alike(sample: Sample) -> np.ndarray:
    """The same of a share whose clusters are each all or nothing: float64 [columns]."""
    return sample.n.astype(np.float64) if sample.starts is None else sample.whole


def _range(sample: Sample, lower: tuple[np.ndarray, ...], upper: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """Difference of the two quartiles, given with their intervals, and its interval."""
    (q25, low25, high25, tied25), (q75, low75, high75, tied75) = lower, upper
    correlation = np.full(len(q25), 1 / 3)
    if sample.starts is not None:
        first, second = (
            sample.sums(sample.residual(_below(sample, value, level))) for value, level in ((q25, 0.25), (q75, 0.75))
        )
        found = (first * second).sum(axis=0) / np.sqrt((first**2).sum(axis=0) * (second**2).sum(axis=0))
        correlation = np.where(np.isfinite(found), found, correlation)
    correlation = np.where(tied25 | tied75, -1.0, correlation)

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


def _fraction(sample: Sample, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of the defined items where ``rows`` [items, columns] is true, and its Wilson interval."""
    share = sample.mean(rows)
    unseen = 1 / (1 + np.minimum(share, 1 - share) * sample.n)
    error = sample.critical**2 * (unseen / _alike(sample) + (1 - unseen) / _equivalent(sample, rows))
    centre = (share + error / 2) / (1 + error)
    half = np.sqrt(share * (1 - share) * error + error**2 / 4) / (1 + error)
    low, high = np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)
    if sample.starts is None:
        low, high = _few(share, low, sample.n), 1 - _few(1 - share, 1 - high, sample.n)
    return share, low, high


def _few(share: np.ndarray, low: np.ndarray, n: np.ndarray) -> np.ndarray:
    """The lower end of a share that only one to three items have, from the Poisson distribution of their number."""
    count = np.rint(share * n)
    few = ~np.isnan(low) & (count >= 1) & (count <= np.where(n > 50, 3, 2))
    return np.where(few, np.minimum(low, special.gammaincinv(np.maximum(count, 1), 0.05) / n), low)
