"""Statistics of the distribution over items of score–compute correlations, with intervals; and two tables beside them.

For the correlations ``C`` of one family × benchmark (and each subject of it) × metric × method:

- ``mean``, ``median`` (halfway between the two middle ones), ``fraction_above_075`` = P(C > 0.75);
- ``auc``: area under the survival function P(C > c) over [-1, 1]. Of a step function that is exactly 1 + mean;
- ``neg_wasserstein``: minus the Wasserstein-1 distance to the nearer of all +1 and all -1. That is exactly |mean| - 1;
- ``q25``, ``q75``, ``iqr`` (quartiles, linear between order statistics, and their difference), ``fraction_below_0`` =
  P(C < 0); ``auc_trapezoid``, without an interval: the area as the paper's authors compute it, by the trapezoid rule
  through the steps' ends with (-1, 1) and (1, 0) added. Of n items at one value c it is (1 + c)/2, not 1 + c.

``num_items`` counts all items and ``nan_fraction`` those of them whose correlation is undefined; ``nan_policy`` says
what became of these: ``drop`` leaves them out, ``zero`` counts them as 0. A statistic of no items is null.

The ``*_low`` and ``*_high`` columns are 95 % intervals for drawing other *items* from the same source. Checkpoints are
taken as given, so the intervals do not cover what another training run would change
(:mod:`elusive.checkpoint_intervals` looks at those). Items that depend on each other are drawn together: a whole
benchmark with subjects (MMLU) in clusters, subject by subject; other items by the items table's column ``cluster``
(questions on one text), if it has that; the rest one by one. ``num_clusters`` says how many are drawn.

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

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import special, stats

from elusive import logs
from elusive.correlations import METHODS, checkpoint_blocks
from elusive.errors import ElusiveError
from elusive.metrics import METRICS, VARIANTS, FilePath, Member, present
from elusive.tables import SCHEMAS, read_metadata, read_table, write_csv, write_table

logger = logs.get(__name__)

NAN_POLICIES = ("drop", "zero")
#: Statistics of the contract, and further ones; each has an interval.
STATISTICS = ("mean", "median", "auc", "neg_wasserstein", "fraction_above_075")
FURTHER = ("q25", "q75", "iqr", "fraction_below_0")
RESAMPLES = 2000

# Multiples of 2^-32 below 1 in size, up to 2^20 of them: their sums are exact in float64, in whatever order.
_EXACT = 2.0**32
_NORMAL = special.ndtri(0.975)
# Counts of a bootstrap drawn at a time, and columns summarised at a time, which bound the memory.
_BLOCK = 4_000_000
_COLUMNS = 256


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


@dataclass(frozen=True)
class _Family:
    """Correlations of one family on one benchmark: ``values`` float64 [metrics × methods, items], NaN where undefined.

    ``keys`` are the pairs of metric and method in the table's order; ``items`` has the columns item and subject.
    """

    family: str
    benchmark: str
    num_models: int
    items: pl.DataFrame
    keys: list[tuple[str, str]]
    values: np.ndarray

    @classmethod
    def read(cls, path: FilePath) -> _Family:
        """Of a correlations table. Raises :class:`ElusiveError` unless it has every metric and method for every item.

        After :data:`~elusive.metrics.METRICS` come the variants that the table has.
        """
        frame = pl.from_arrow(read_table(path, "correlations"))
        about = frame.select(pl.col("family", "benchmark", "num_models").unique().implode()).row(0)
        if any(len(values) != 1 for values in about):
            raise ElusiveError(f"{path}: a correlations table holds one family on one benchmark, this one does not")
        parts = frame.select("metric", "method", "subject", "item", "correlation").partition_by(
            "metric", "method", as_dict=True, maintain_order=True
        )
        metrics = list(dict.fromkeys([*METRICS, *present(metric for metric, _ in parts)]))
        keys = list(product(metrics, METHODS))
        missing = [key for key in keys if key not in parts]
        if missing:
            raise ElusiveError(f"{path}: has no rows for metric {missing[0][0]!r} by method {missing[0][1]!r}")
        items = parts[keys[0]].select("item", "subject")
        if items["item"].is_duplicated().any() or not all(
            part["item"].equals(items["item"]) for part in parts.values()
        ):
            raise ElusiveError(f"{path}: each metric and method must have the same items in the same order, once each")
        values = np.stack([parts[key]["correlation"].to_numpy() for key in keys])
        return cls(*(values[0] for values in about), items, keys, values)


def _codes(names: Sequence[str | None]) -> np.ndarray:
    """A whole number per name, equal for equal names; one of its own for each that is None."""
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(i if name is None else name, len(numbers)) for i, name in enumerate(names)])


def _clusters(items: pl.DataFrame, path: FilePath | None) -> np.ndarray:
    """The number, int64 [items], of the cluster that each item is drawn with, by the items table ``path``, if any."""
    if path is None or "cluster" not in pq.read_schema(path).names:
        return np.arange(len(items))
    known = pl.from_arrow(read_table(path, "items", columns=["item", "cluster"]))
    joined = items.join(known, on="item", how="left", maintain_order="left", coalesce=False)
    absent = joined.filter(pl.col("item_right").is_null())
    if len(absent):
        raise ElusiveError(f"{path}: item {absent['item'][0]!r} has correlations but is not in the items table")
    return _codes(joined["cluster"].to_list())


def drawing_units(items: pl.DataFrame, path: FilePath | None) -> np.ndarray | None:
    """Numbers, int64 [items], equal for items of a whole benchmark that are drawn together; None for one by one.

    ``items`` has the columns ``item`` and ``subject``: items of one subject belong together where there are several,
    else those of one cluster in the items table ``path``.
    """
    several = items["subject"].drop_nulls().n_unique() > 1
    units = _codes(items["subject"].fill_null("").to_list()) if several else _clusters(items, path)
    return units if len(np.unique(units)) < len(units) else None


def summarise(families: Sequence[_Family], items: FilePath | None) -> list[pa.Table]:
    """The correlation_statistics rows of each of ``families``, all on the same items of the same benchmark.

    The whole benchmark comes first, then each subject by name. Within these, rows are ordered by metric (as
    :data:`~elusive.metrics.METRICS`, then others), method and NaN policy as :data:`~elusive.correlations.METHODS` and
    :data:`NAN_POLICIES` are. ``items`` is the items table whose ``cluster`` column says what is drawn together.
    """
    first = families[0]
    subjects = first.items["subject"].to_list()
    names = sorted({name for name in subjects if name is not None})
    clusters = _clusters(first.items, items)
    # Many columns are equal: without undefined correlations the policies are, and the ranks of p are those of log p.
    columns: dict[bytes, int] = {}
    kept: list[np.ndarray] = []
    places = []
    for family in families:
        # [metrics × methods × policies, items]; -0.0 and 0.0 are the same number.
        values = np.stack([family.values, np.nan_to_num(family.values, nan=0.0)], axis=1) + 0.0
        place = []
        for column in values.reshape(-1, len(subjects)):
            place.append(columns.setdefault(hashlib.sha256(column).digest(), len(kept)))
            if place[-1] == len(kept):
                kept.append(column)
        places.append(place)
    parts: list[list[pa.Table]] = [[] for _ in families]
    codes = np.array([-1 if name is None else names.index(name) for name in subjects])
    for subject in (None, *names):
        rows = slice(None) if subject is None else codes == names.index(subject)
        drawn = codes if subject is None and len(names) > 1 else clusters[rows]
        num_clusters = len(np.unique(drawn))
        results = [
            distribution_statistics(
                np.stack(kept[start : start + _COLUMNS])[:, rows].T,
                drawn if num_clusters < len(drawn) else None,
                bootstrap_seed(first.benchmark, subject),
            )
            for start in range(0, len(kept), _COLUMNS)
        ]
        result = {name: np.concatenate([part[name] for part in results]) for name in results[0]}
        for family, place, tables in zip(families, places, parts, strict=True):
            found = {name: column[place] for name, column in result.items()}
            # The policies share their items, of which only ``drop`` shows how many are undefined.
            found["nan_fraction"] = np.repeat(found["nan_fraction"][::2], 2)
            keys = [(*key, policy) for key, policy in product(family.keys, NAN_POLICIES)]
            constant = {"family": family.family, "benchmark": family.benchmark, "subject": subject}
            counts = {"num_items": len(drawn), "num_models": family.num_models, "num_clusters": num_clusters}
            tables.append(
                pa.table(
                    {name: pa.array([value] * len(keys), pa.string()) for name, value in constant.items()}
                    | {name: [key[i] for key in keys] for i, name in enumerate(("metric", "method", "nan_policy"))}
                    | {name: pa.array([count] * len(keys), pa.int32()) for name, count in counts.items()}
                    | {name: pa.array(column, from_pandas=True) for name, column in found.items()}
                )
            )
    return [pa.concat_tables(tables) for tables in parts]


def bootstrap_seed(benchmark: str, subject: str | None) -> int:
    """The bootstrap's seed of one set of items."""
    return int.from_bytes(hashlib.sha256(json.dumps([benchmark, subject]).encode()).digest()[:8], "big")


def write_statistics(
    *,
    correlations: Sequence[FilePath],
    output_parquet: FilePath,
    output_csv: FilePath,
    items: Sequence[FilePath] = (),
) -> None:
    """Write the correlation_statistics table of all ``correlations`` tables, as Parquet and as CSV.

    ``items`` are the benchmarks' items tables; for a benchmark without one, items are drawn one by one (or by
    subject). Rows are sorted by family, benchmark and subject (the whole benchmark first), then as :func:`summarise`
    says, whatever the order of the files.
    """
    about = {read_metadata(path)["benchmark"]: path for path in items}
    paths: dict[tuple[str, str], FilePath] = {}
    groups: dict[tuple[str, bytes], list[_Family]] = {}
    for path in correlations:
        family = _Family.read(path)
        key = (family.family, family.benchmark)
        if key in paths:
            raise ElusiveError(f"{path}: the correlations of {key[0]!r} on {key[1]!r} are already in another file")
        paths[key] = path
        digest = hashlib.sha256(json.dumps(family.items.to_dict(as_series=False)).encode()).digest()
        groups.setdefault((family.benchmark, digest), []).append(family)
    if not groups:
        raise ElusiveError(f"{output_parquet}: there are no correlations to summarise")
    tables: dict[tuple[str, str], pa.Table] = {}
    for (benchmark, _), families in groups.items():
        for family, table in zip(families, summarise(families, about.get(benchmark)), strict=True):
            tables[family.family, benchmark] = table
        logger.info("statistics of %d families on %s: %d items", len(families), benchmark, len(families[0].items))
    table = pa.concat_tables(tables[key] for key in sorted(tables)).combine_chunks()
    write_table(table, output_parquet, "correlation_statistics", {"resamples": RESAMPLES, "level": 0.95})
    write_csv(read_table(output_parquet, "correlation_statistics"), output_csv)
    logger.info("statistics: %d rows of %d families × benchmarks", len(table), len(tables))


def medians(statistics: pl.DataFrame, family: str, nan_policy: str = "drop") -> pl.DataFrame:
    """Median correlation of each metric on each whole benchmark for ``family``.

    ``statistics`` is a correlation_statistics table. Columns: ``benchmark``, ``metric``, one per method in
    :data:`~elusive.correlations.METHODS` (float64), ``nan_fraction`` (the largest of theirs); rows by benchmark, then
    metric.
    """
    rows = statistics.filter(
        pl.col("subject").is_null(), pl.col("family") == family, pl.col("nan_policy") == nan_policy
    )
    by_method = [pl.col("median").filter(pl.col("method") == method).first().alias(method) for method in METHODS]
    return (
        rows.group_by("benchmark", pl.col("metric").cast(pl.Enum([*METRICS, *VARIANTS])))
        .agg(*by_method, pl.col("nan_fraction").max())
        .sort("benchmark", "metric")
        .with_columns(pl.col("metric").cast(pl.String))
    )


def write_checkpoints(
    *, checkpoints: Sequence[Member], training: Sequence[FilePath], output_parquet: FilePath, output_csv: FilePath
) -> None:
    """Write the table ``checkpoints`` as Parquet and CSV, sorted by parameters, model, tokens and checkpoint.

    ``checkpoints`` are those of the registry, with ``parameters_nonembedding`` (None where it is not known) besides;
    ``training`` holds the ``training.json`` of those that the workflow trained itself: without one,
    ``validation_loss`` (nats per token) is null. ``flops_nonembedding`` is 6·N·D with the parameters outside the
    embeddings.
    """
    losses = {}
    for path in training:
        try:
            with open(path, encoding="utf-8") as file:
                record = json.load(file)
            losses[record["model"], record["checkpoint"]] = record["validation_loss"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ElusiveError(f"{path}: not a readable record of training ({error!r})") from error
    rows = []
    for about in checkpoints:
        outside = about["parameters_nonembedding"]
        rows.append(
            {
                **about,
                "flops_nonembedding": None if outside is None else 6.0 * outside * about["tokens"],
                "validation_loss": losses.get((about["model"], about["checkpoint"])),
            }
        )
    rows.sort(key=lambda r: (r["parameters"], r["model"], r["tokens"], r["checkpoint"]))
    table = pa.Table.from_pylist(rows, SCHEMAS["checkpoints"])
    write_table(table, output_parquet, "checkpoints")
    write_csv(table, output_csv)


def write_scores(*, metrics: Sequence[FilePath], output_parquet: FilePath, output_csv: FilePath) -> None:
    """Write the table ``scores`` as Parquet and CSV, sorted by benchmark, flops, model and checkpoint.

    ``metrics`` holds metrics tables of any families; a checkpoint in several of them has one row. ``chance`` is the
    mean of 1/K over the items; ``accuracy_se`` the standard error of ``accuracy`` over items (null for a single one);
    ``above_chance_se`` is accuracy minus chance in standard errors that guessing at random would have.
    """
    rows: dict[tuple[str, str, str], dict[str, object]] = {}
    for path in metrics:
        table = read_table(path, "metrics")
        checkpoints, items = checkpoint_blocks(table, path)
        guess = 1 / items["num_choices"].to_numpy()
        n = len(items)
        columns = ("accuracy", "accuracy_norm", "p_choices_correct", "brier", "log_p_vocab_correct")
        means = {column: table[column].to_numpy().reshape(-1, n).mean(axis=1).tolist() for column in columns}
        for i, about in enumerate(
            checkpoints.select(["model", "checkpoint", "parameters", "tokens", "flops", "benchmark"]).to_pylist()
        ):
            accuracy = means["accuracy"][i]
            row = about | {column: means[column][i] for column in columns}
            row |= {
                "num_items": n,
                "chance": float(guess.mean()),
                "accuracy_se": (accuracy * (1 - accuracy) / (n - 1)) ** 0.5 if n > 1 else None,
                "above_chance_se": float((accuracy - guess.mean()) / np.sqrt((guess * (1 - guess)).sum()) * n),
            }
            key = (about["benchmark"], about["model"], about["checkpoint"])
            if rows.setdefault(key, row) != row:
                raise ElusiveError(f"{path}: scores {'/'.join(key[1:])} on {key[0]} otherwise than another file does")
    ordered = sorted(rows.values(), key=lambda r: (r["benchmark"], r["flops"], r["model"], r["checkpoint"]))
    table = pa.Table.from_pylist(ordered, SCHEMAS["scores"])
    write_table(table, output_parquet, "scores")
    write_csv(table, output_csv)
