"""Statistics of the distribution over items of score–compute correlations, with intervals; and two tables beside them.

For the correlations ``C`` of one family × benchmark (and each subject of it) × metric × method:

- ``mean``, ``median`` (halfway between the two middle ones), ``fraction_above_075`` = P(C > 0.75);
- ``auc``: area under the survival function P(C > c) over [-1, 1]. Of a step function that is exactly 1 + mean;
- ``neg_wasserstein``: minus the Wasserstein-1 distance to the nearer of all +1 and all -1. That is exactly |mean| - 1.

``num_items`` counts all items and ``nan_fraction`` those of them whose correlation is undefined; ``nan_policy`` says
what became of these: ``drop`` leaves them out, ``zero`` counts them as 0. A statistic of no items is null.

The ``*_low`` and ``*_high`` columns are 95 % intervals for drawing other *items* from the same source. Checkpoints are
taken as given, so the intervals do not cover what another training run would change. A subject's items are drawn one
by one; those of a whole benchmark with subjects (MMLU) in clusters, subject by subject.

- mean: percentile bootstrap with 2,000 resamples, at levels widened for few items (Hesterberg 2015, "expanded
  percentile": Student's t and sqrt(n/(n-1))). ``auc`` follows by its formula, ``neg_wasserstein`` as the image of the
  mean's interval. The seed comes from benchmark and subject alone: every family, metric, method and policy sees the
  same resamples, whatever else is computed and in which order. Correlations enter rounded to 2^-32, so that every sum
  of the matrix product is exact and no number of threads changes a bit.
- median: the order statistics whose ranks the binomial distribution gives (exact coverage of at least 95 % for six or
  more items without ties); fraction: Wilson's interval, which keeps a width at 0 and 1. Clusters widen both by the
  linearised design effect, with Student's t for their number.

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
from elusive.files import atomic_path
from elusive.metrics import METRICS, VARIANTS, FilePath, Member, present
from elusive.tables import METADATA_KEY, read_table, write_table

logger = logs.get(__name__)

NAN_POLICIES = ("drop", "zero")
STATISTICS = ("mean", "median", "auc", "neg_wasserstein", "fraction_above_075")
RESAMPLES = 2000

# Multiples of 2^-32 below 1 in size, up to 2^20 of them: their sums are exact in float64, in whatever order.
_EXACT = 2.0**32
_NORMAL = special.ndtri(0.975)
# Counts of a bootstrap drawn at a time, which bounds its memory.
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

    def design_effect(self, rows: np.ndarray) -> np.ndarray:
        """How many times more the mean of ``rows`` varies when clusters are drawn instead of items; at least 1."""
        if self.starts is None:
            return np.ones(len(self.n))
        residual = np.where(self.defined, rows - self.mean(rows), 0.0)
        between = (self.sums(residual) ** 2).sum(axis=0) * self.groups / (self.groups - 1)
        effect = between / ((residual**2).sum(axis=0) * self.n / (self.n - 1))
        return np.where(np.isfinite(effect), np.maximum(effect, 1.0), 1.0)


def distribution_statistics(values: np.ndarray, clusters: np.ndarray | None, seed: int) -> dict[str, np.ndarray]:
    """Statistics, and their 95 % intervals, of each column of ``values`` [items, columns]: float64 [columns] each.

    The result has ``nan_fraction`` and every name in :data:`STATISTICS`, by itself and with ``_low`` and ``_high``.
    NaNs in ``values`` are left out; a statistic that does not exist is NaN. ``clusters`` [items] holds whole numbers,
    equal for items that are drawn together, or is None when items are drawn one by one; ``seed`` is the bootstrap's.
    """
    sample = _Sample.of(values, clusters)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = sample.mean(sample.values)
        low, high = _mean_interval(sample, seed)
        nearest = np.where(low * high <= 0, 0.0, np.minimum(abs(low), abs(high)))
        columns = {
            "mean": (mean, low, high),
            "median": _median(sample),
            "auc": (1 + mean, 1 + low, 1 + high),
            "neg_wasserstein": (abs(mean) - 1, nearest - 1, np.maximum(abs(low), abs(high)) - 1),
            "fraction_above_075": _fraction(sample, sample.values > 0.75),
        }
    return {"nan_fraction": (len(values) - sample.n) / len(values)} | {
        name + bound: column
        for name in STATISTICS
        for bound, column in zip(("", "_low", "_high"), columns[name], strict=True)
    }


def _mean_interval(sample: _Sample, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Expanded percentile interval of the mean, by drawing the clusters with replacement."""
    rounded = np.where(sample.defined, np.rint(sample.values * _EXACT) / _EXACT, 0.0)
    totals, counts = sample.sums(rounded), sample.sums(sample.defined.astype(np.float64))
    # A resample without any defined item has no mean: NaN, and sorted last.
    means = np.concatenate([(draws @ totals) / (draws @ counts) for draws in _resamples(len(totals), seed)])
    means = np.sort(means, axis=0)
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


def _median(sample: _Sample) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Median and the order statistics that enclose it."""
    n, ascending = sample.n, np.sort(sample.values, axis=0)  # NaNs last

    def nth(rank: np.ndarray) -> np.ndarray:
        return np.take_along_axis(ascending, np.maximum(rank, 1)[None].astype(np.int64) - 1, axis=0)[0]

    median = (nth((n + 1) // 2) + nth(n // 2 + 1)) / 2
    # Values equal to the median count half on either side, so that ties do not hide how much clusters differ.
    effect = sample.design_effect((sample.values < median) + 0.5 * (sample.values == median))
    known = ~np.isnan(sample.critical)
    reach = (n / 2 - np.maximum(stats.binom.ppf(0.025, n, 0.5), 1)) * np.sqrt(effect) * sample.critical / _NORMAL
    rank = np.maximum(np.floor(n / 2 - np.where(known, reach, 0.0)), 1)
    return median, np.where(known, nth(rank), np.nan), np.where(known, nth(n + 1 - rank), np.nan)


def _fraction(sample: _Sample, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of the defined items where ``rows`` [items, columns] is true, and its Wilson interval."""
    share = sample.mean(rows)
    error = sample.critical**2 * sample.design_effect(rows) / sample.n
    centre = (share + error / 2) / (1 + error)
    half = np.sqrt(share * (1 - share) * error + error**2 / 4) / (1 + error)
    return share, np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)


def summarise(correlations: pa.Table, path: FilePath) -> pa.Table:
    """The correlation_statistics rows of one correlations table: the whole benchmark first, then each subject by name.

    Within these, rows are ordered by metric, method and NaN policy as :data:`~elusive.metrics.METRICS` (and after them
    the variants that the table has), :data:`~elusive.correlations.METHODS` and :data:`NAN_POLICIES` are. ``path`` names
    the table in error messages.
    Raises :class:`ElusiveError` unless it has one family, one benchmark, and all metrics and methods for every item.
    """
    frame = pl.from_arrow(correlations)
    if frame.select("family", "benchmark", "num_models").n_unique() != 1:
        raise ElusiveError(f"{path}: a correlations table holds one family on one benchmark, this one does not")
    parts = frame.partition_by("metric", "method", as_dict=True, maintain_order=True)
    metrics = list(dict.fromkeys([*METRICS, *present(metric for metric, _ in parts)]))
    missing = [key for key in product(metrics, METHODS) if key not in parts]
    if missing:
        raise ElusiveError(f"{path}: has no rows for metric {missing[0][0]!r} by method {missing[0][1]!r}")
    items = parts[METRICS[0], METHODS[0]]
    if items["item"].is_duplicated().any() or not all(part["item"].equals(items["item"]) for part in parts.values()):
        raise ElusiveError(f"{path}: each metric and method must have the same items in the same order, once each")
    # [items, metrics × methods × policies]
    dropped = np.stack([parts[key]["correlation"].to_numpy() for key in product(metrics, METHODS)], axis=1)
    values = np.stack([dropped, np.nan_to_num(dropped, nan=0.0)], axis=2).reshape(len(items), -1)
    keys = list(product(metrics, METHODS, NAN_POLICIES))
    family, benchmark, num_models = frame.select("family", "benchmark", "num_models").row(0)
    subjects = items["subject"].to_list()
    names = sorted({name for name in subjects if name is not None})
    codes = np.array([-1 if name is None else names.index(name) for name in subjects])
    tables = []
    for subject in (None, *names):
        rows = slice(None) if subject is None else codes == names.index(subject)
        result = distribution_statistics(
            values[rows], codes if subject is None and len(names) > 1 else None, _seed(benchmark, subject)
        )
        # The policies share their items, of which only ``drop`` shows how many are undefined.
        result["nan_fraction"] = np.repeat(result["nan_fraction"][::2], 2)
        constant = {"family": family, "benchmark": benchmark, "subject": subject}
        tables.append(
            pa.table(
                {name: pa.array([value] * len(keys), pa.string()) for name, value in constant.items()}
                | {name: [key[i] for key in keys] for i, name in enumerate(("metric", "method", "nan_policy"))}
                | {"num_items": [len(values[rows])] * len(keys), "num_models": [num_models] * len(keys)}
                | {name: pa.array(column, from_pandas=True) for name, column in result.items()}
            )
        )
    return pa.concat_tables(tables)


def _seed(benchmark: str, subject: str | None) -> int:
    """The bootstrap's seed of one set of items."""
    return int.from_bytes(hashlib.sha256(json.dumps([benchmark, subject]).encode()).digest()[:8], "big")


def write_statistics(*, correlations: Sequence[FilePath], output_parquet: FilePath, output_csv: FilePath) -> None:
    """Write the correlation_statistics table of all ``correlations`` tables, as Parquet and as CSV.

    Rows are sorted by family, benchmark and subject (the whole benchmark first), then as :func:`summarise` says,
    whatever the order of the files.
    """
    tables: dict[tuple[str, str], pa.Table] = {}
    for path in correlations:
        table = summarise(read_table(path, "correlations"), path)
        key = (table["family"][0].as_py(), table["benchmark"][0].as_py())
        if key in tables:
            raise ElusiveError(f"{path}: the correlations of {key[0]!r} on {key[1]!r} are already in another file")
        tables[key] = table
    if not tables:
        raise ElusiveError(f"{output_parquet}: there are no correlations to summarise")
    table = pa.concat_tables(tables[key] for key in sorted(tables)).combine_chunks()
    write_table(table, output_parquet, "correlation_statistics", {"resamples": RESAMPLES, "level": 0.95})
    _write_csv(read_table(output_parquet, "correlation_statistics"), output_csv)
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


#: One row per checkpoint: what was trained, on how much, and how well it predicts held-out text.
CHECKPOINTS = pa.schema(
    {
        "model": pa.string(),
        "checkpoint": pa.string(),
        "parameters": pa.int64(),
        "parameters_nonembedding": pa.int64(),
        "tokens": pa.int64(),
        "flops": pa.float64(),
        "flops_nonembedding": pa.float64(),
        "validation_loss": pa.float64(),
    }
)


def write_checkpoints(
    *, checkpoints: Sequence[Member], training: Sequence[FilePath], output_parquet: FilePath, output_csv: FilePath
) -> None:
    """Write the table :data:`CHECKPOINTS` as Parquet and CSV, sorted by parameters, model, tokens and checkpoint.

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
    _write_both(pa.Table.from_pylist(rows, CHECKPOINTS), output_parquet, output_csv)


#: One row per checkpoint × benchmark: its mean scores, and how far its accuracy is from guessing.
SCORES = pa.schema(
    {
        "model": pa.string(),
        "checkpoint": pa.string(),
        "parameters": pa.int64(),
        "tokens": pa.int64(),
        "flops": pa.float64(),
        "benchmark": pa.string(),
        "num_items": pa.int32(),
        "chance": pa.float64(),
        "accuracy": pa.float64(),
        "accuracy_se": pa.float64(),
        "above_chance_se": pa.float64(),
        "accuracy_norm": pa.float64(),
        "p_choices_correct": pa.float64(),
        "brier": pa.float64(),
        "log_p_vocab_correct": pa.float64(),
    }
)


def write_scores(*, metrics: Sequence[FilePath], output_parquet: FilePath, output_csv: FilePath) -> None:
    """Write the table :data:`SCORES` as Parquet and CSV, sorted by benchmark, flops, model and checkpoint.

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
    _write_both(pa.Table.from_pylist(ordered, SCORES), output_parquet, output_csv)


def _write_both(table: pa.Table, output_parquet: FilePath, output_csv: FilePath) -> None:
    table = table.replace_schema_metadata({METADATA_KEY: b"{}"})
    with atomic_path(output_parquet) as temporary:
        pq.write_table(table, temporary, compression="zstd")
    _write_csv(table, output_csv)


def _write_csv(table: pa.Table, output: FilePath) -> None:
    with atomic_path(output) as temporary:
        pl.from_arrow(table).write_csv(temporary)
