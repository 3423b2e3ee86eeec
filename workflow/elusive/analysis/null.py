"""What correlations, and their mean and median over items, are when scores have nothing to do with compute.

With few checkpoints high correlations come by chance: P(rho > 0.75) is 5.14 % for six, 2.40 % for seven, 1.84 % for
eight, 0.31 % for twelve and 0.21 % for thirteen. Families of different sizes are comparable only against their own
chance level.

The null distribution of one correlation, for the family's values of compute (ties included):

- Spearman and Kendall: every order of the scores is equally likely, without ties among them. All of them are counted
  (``exact``) for Kendall and, up to 14 checkpoints, Spearman when compute is not tied, up to nine when it is; else
  100,000 are drawn with a fixed seed (``monte_carlo``).
- Pearson: scores are independent normal (``normal_scores``), for which (1 + r)/2 follows Beta(n/2 - 1, n/2 - 1)
  exactly, whatever the values of compute.

How far the mean, the median and P(C > 0.75) over ``num_items`` items stray from it depends on how items depend on each
other. The table has the two extremes: ``independent`` items, whose mean is normal with the standard error of one
correlation over sqrt(items), and whose median and fraction are those of independent draws; and items that are fully
``dependent``, all sharing one order of the scores, so that mean and median are one correlation and the fraction is 0
or 1. Real items share their checkpoints and lie between; ``shuffled_low/high`` of the table headline measure where.

``least_p_value`` is 1 over the number of different orders of a family's compute: no test by shuffling can be below it.
With four checkpoints it is 1/24, more than the 2.5 % outside of a band on one side, and ``note`` says so.

The table ``null_curves`` has the whole distribution of one item's correlation, P(C > c), for the figures: at every
value that a rank correlation can take (``is_step``: it stays as it is up to the next), or at :data:`GRID` values of c
where these are more; Pearson's, which is smooth, at so many.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy import special

from elusive import logs
from elusive.analysis.correlations import METHODS, rank_correlations
from elusive.analysis.metrics import FilePath, Member
from elusive.analysis.shuffles import Shuffles
from elusive.errors import ElusiveError
from elusive.tables import SCHEMAS, read_metadata, read_table, write_csv, write_table

logger = logs.get(__name__)

#: All orders of up to so many checkpoints are counted, with ties in compute and without; of more, so many are drawn.
ENUMERATED, COUNTED = 9, 14
DRAWS = 100_000
#: Values of c in null_curves, from -1 to 1, unless there are fewer that a correlation can take.
GRID = 401

_TOLERANCE = 1e-9
_LEVELS = {"q025": 0.025, "q25": 0.25, "median": 0.5, "q75": 0.75, "q975": 0.975}


@dataclass(frozen=True)
class Null:
    """Distribution of one correlation under the null: float64 ``values`` ascending and their ``probabilities``.

    Both are None for Pearson's, which is continuous. ``source`` says where it comes from, as the table does; ``models``
    is the number of checkpoints.
    """

    source: str
    models: int
    values: np.ndarray | None = None
    probabilities: np.ndarray | None = None

    def quantile(self, level: float) -> float:
        """The least c with P(C <= c) >= level."""
        if self.values is None:
            shape = self.models / 2 - 1
            return float(2 * special.betaincinv(shape, shape, level) - 1)
        # The allowance is for the rounding of the sums.
        place = np.searchsorted(np.cumsum(self.probabilities), level - 1e-12)
        return float(self.values[min(place, len(self.values) - 1)])

    def above(self, bound: float) -> float:
        """P(C > bound)."""
        if self.values is None:
            shape = self.models / 2 - 1
            return float(special.betaincc(shape, shape, (1 + bound) / 2))
        # A value that equals the bound but for rounding is not above it.
        return float(self.probabilities[self.values > bound + _TOLERANCE].sum())

    def below(self, bound: float) -> float:
        """P(C < bound)."""
        if self.values is None:
            return self.above(-bound)
        return float(self.probabilities[self.values < bound - _TOLERANCE].sum())

    @property
    def deviation(self) -> float:
        """Standard deviation of C, whose mean is 0."""
        if self.values is None:
            return float((self.models - 1) ** -0.5)
        return float(np.sqrt((self.probabilities * self.values**2).sum()))

    def curve(self) -> tuple[np.ndarray, np.ndarray, bool]:
        """Ascending values of c, P(C > c) at each, and whether that is a staircase: it holds up to the next value."""
        grid = np.linspace(-1.0, 1.0, GRID)
        if self.values is None:
            shape = self.models / 2 - 1
            return grid, special.betaincc(shape, shape, (1 + grid) / 2), False
        kept = self.probabilities > 0
        values, survival = self.values[kept], 1 - np.cumsum(self.probabilities[kept])
        survival = np.clip(survival, 0.0, 1.0)
        survival[-1] = 0.0
        if len(values) > GRID:
            place = np.searchsorted(values, grid + _TOLERANCE, side="right")
            values, survival = grid, np.r_[1.0, survival][place]
        return values, survival, True


def null_distributions(x: np.ndarray) -> dict[str, Null]:
    """The null distribution of each method for checkpoints at ``x`` [models], three or more; empty for constant x."""
    models = len(x)
    if models < 3:
        raise ElusiveError(f"a null distribution needs at least three checkpoints, not {models}")
    if np.ptp(x) == 0:
        return {}
    tied = len(np.unique(x)) < models
    nulls = {"pearson": Null("normal_scores", models)}
    if not tied and models <= COUNTED:
        nulls["spearman"] = _count_spearman(models)
    if not tied:
        nulls["kendall"] = _count_kendall(models)
    if len(nulls) < len(METHODS):
        if models <= ENUMERATED:
            source, orders = "exact", np.array(list(itertools.permutations(range(models)))).T
        else:
            shuffled = np.random.default_rng(models).permuted(np.tile(np.arange(models), (DRAWS, 1)), axis=1)
            source, orders = "monte_carlo", shuffled.T
        # rank_correlations only ever compares, and short integers compare faster.
        for method, values in zip(METHODS[1:], rank_correlations(x, orders.astype(np.int16)), strict=True):
            found, counts = np.unique(values, return_counts=True)
            nulls.setdefault(method, Null(source, models, found, counts / counts.sum()))
    return nulls


def _count_spearman(models: int) -> Null:
    """Spearman's rho over all orders, from how many have each sum of squared rank differences.

    Ranks are given to one checkpoint after the other; of those given so far only the set matters for the rest.
    """
    most = (models**3 - models) // 3
    counts = {0: np.eye(1, most + 1, dtype=np.int64)[0]}
    for i in range(models):
        further: dict[int, np.ndarray] = {}
        for taken, count in counts.items():
            for j in range(models):
                if not taken >> j & 1:
                    total = further.setdefault(taken | 1 << j, np.zeros(most + 1, np.int64))
                    total[(i - j) ** 2 :] += count[: most + 1 - (i - j) ** 2]
        counts = further
    (count,) = counts.values()
    distances = np.flatnonzero(count)[::-1]
    return Null("exact", models, 1 - 3 * distances / (most * 3 / 2), count[distances] / count.sum())


def _count_kendall(models: int) -> Null:
    """Kendall's tau over all orders: the inversions are a sum of independent uniform numbers below 1, 2, ..."""
    probabilities = np.ones(1)
    for k in range(1, models + 1):
        probabilities = np.convolve(probabilities, np.full(k, 1 / k))
    pairs = models * (models - 1) // 2
    values = (2 * np.arange(pairs + 1) - pairs) / pairs
    return Null("exact", models, values, probabilities)


def bands(null: Null, num_items: int) -> dict[str, float]:
    """95 % bands of the statistics of ``num_items`` items, independent or fully dependent, and quantiles of one."""
    # Loading it takes a second, and most jobs that load this module have no use for it.
    from scipy import stats

    row = {name: null.quantile(level) for name, level in _LEVELS.items()}
    above = null.above(0.75)
    row |= {"deviation": null.deviation, "fraction_above_075": above, "fraction_below_0": null.below(0.0)}
    reach = float(special.ndtri(0.975)) * null.deviation / num_items**0.5
    # The median of m draws lies below c when half of them do: in terms of P(C <= c) it follows Beta((m+1)/2, (m+1)/2).
    half = (num_items + 1) / 2
    medians = [null.quantile(float(special.betaincinv(half, half, level))) for level in (0.025, 0.975)]
    fractions = [float(stats.binom.ppf(level, num_items, above)) / num_items for level in (0.025, 0.975)]
    one = [null.quantile(level) for level in (0.025, 0.975)]
    either = [float(stats.bernoulli.ppf(level, above)) for level in (0.025, 0.975)]
    for name, independent, dependent in (
        ("mean", [max(-reach, -1.0), min(reach, 1.0)], one),
        ("median", medians, one),
        ("fraction_above_075", fractions, either),
    ):
        for kind, (low, high) in (("independent", independent), ("dependent", dependent)):
            row |= {f"{name}_{kind}_low": low, f"{name}_{kind}_high": high}
    return row


def write_null_bands(
    *,
    families: Mapping[str, Sequence[Member]],
    items: Sequence[FilePath],
    output_parquet: FilePath,
    output_csv: FilePath,
    curves_parquet: FilePath,
    curves_csv: FilePath,
) -> None:
    """Write the tables null_bands, a row per family × benchmark × method, and null_curves, as Parquet and as CSV.

    ``families`` are the registry's, with the checkpoints' ``flops``; ``items`` the items tables. Rows of null_bands are
    sorted by family and benchmark, then method; those of null_curves by family, method and c. Families of fewer than
    three checkpoints with compute, or all at the same compute, have no rows.
    """
    counts = {str(read_metadata(p)["benchmark"]): len(read_table(p, "items", columns=["item"])) for p in items}
    known: dict[bytes, dict[str, Null]] = {}
    rows, curves = [], []
    for family in sorted(families):
        x = np.sort(np.log10([member["flops"] for member in families[family] if member["flops"] > 0]))
        if len(x) < 3:
            logger.warning("family %s has %d checkpoints with compute: too few for a null band", family, len(x))
            continue
        # Ranks see which values are tied, not where they lie.
        pattern = np.unique(x, return_inverse=True)[1].astype(np.int64)
        if pattern.tobytes() not in known:
            known[pattern.tobytes()] = null_distributions(pattern.astype(np.float64))
        nulls = known[pattern.tobytes()]
        shuffles = Shuffles(x, np.arange(len(x))[None], True)
        said = {"least_p_value": shuffles.least, "note": shuffles.note()}
        methods = [method for method in METHODS if method in nulls]
        for method in methods:
            values, survival, step = nulls[method].curve()
            key = {"family": family, "method": method, "source": nulls[method].source, "num_models": len(x)}
            curves += [
                key | {"correlation": float(c), "survival": float(share), "is_step": step}
                for c, share in zip(values, survival, strict=True)
            ]
        for benchmark, count in sorted(counts.items()):
            for method in methods:
                null = nulls[method]
                about = {"family": family, "benchmark": benchmark, "method": method, "source": null.source}
                rows.append(about | {"num_models": len(x), "num_items": count} | bands(null, count) | said)
    about = {"draws": DRAWS, "level": 0.95}
    for name, lines, parquet, csv in (
        ("null_bands", rows, output_parquet, output_csv),
        ("null_curves", curves, curves_parquet, curves_csv),
    ):
        write_table(pa.Table.from_pylist(lines, SCHEMAS[name]), parquet, name, about)
        write_csv(read_table(parquet, name), csv)
