"""The table of statistics of score–compute correlations: by family, benchmark, subject, metric, method and policy.

The statistics and their intervals are those of :mod:`elusive.analysis.distributions`. ``num_items`` counts all items
and ``nan_fraction`` those of them whose correlation is undefined; ``nan_policy`` says what became of these: ``drop``
leaves them out, ``zero`` counts them as 0. A statistic of no items is null.

The ``*_low`` and ``*_high`` columns are 95 % intervals for drawing other *items* from the same source. Checkpoints are
taken as given, so the intervals do not cover what another training run would change
(:mod:`elusive.analysis.checkpoint_intervals` looks at those). Items that depend on each other are drawn together: a
whole benchmark with subjects (MMLU) in clusters, subject by subject; other items by the items table's column
``cluster`` (questions on one text), if it has that; the rest one by one. ``num_clusters`` says how many are drawn, and
``interval_note`` why an interval is missing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from elusive import logs
from elusive.analysis.correlations import METHODS
from elusive.analysis.distributions import distribution_statistics
from elusive.analysis.metrics import METRICS, NULLABLE, VARIANTS, FilePath, present
from elusive.errors import ElusiveError
from elusive.tables import read_metadata, read_table, write_csv, write_table

logger = logs.get(__name__)

NAN_POLICIES = ("drop", "zero")

# Columns summarised at a time, which bounds the memory.
_COLUMNS = 256


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

        After :data:`~elusive.analysis.metrics.METRICS` come the variants that the table has. Of the metrics, those that
        may be null may be missing.
        """
        frame = pl.from_arrow(read_table(path, "correlations"))
        about = frame.select(pl.col("family", "benchmark", "num_models").unique().implode()).row(0)
        if any(len(values) != 1 for values in about):
            raise ElusiveError(f"{path}: a correlations table holds one family on one benchmark, this one does not")
        parts = frame.select("metric", "method", "subject", "item", "correlation").partition_by(
            "metric", "method", as_dict=True, maintain_order=True
        )
        found = present(metric for metric, _ in parts)
        metrics = present([*found, *(metric for metric in METRICS if metric not in NULLABLE)])
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
    :data:`~elusive.analysis.metrics.METRICS`, then others), method and NaN policy as
    :data:`~elusive.analysis.correlations.METHODS` and :data:`NAN_POLICIES` are. ``items`` is the items table whose
    ``cluster`` column says what is drawn together.
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
            )
            for start in range(0, len(kept), _COLUMNS)
        ]
        result = {name: np.concatenate([part[name] for part in results]) for name in results[0]}
        for family, place, tables in zip(families, places, parts, strict=True):
            found = {name: column[place] for name, column in result.items()}
            # The policies share their items, of which only ``drop`` shows how many are undefined.
            found["nan_fraction"] = np.repeat(found["nan_fraction"][::2], 2)
            notes = pa.array(found.pop("note"), pa.string())
            keys = [(*key, policy) for key, policy in product(family.keys, NAN_POLICIES)]
            constant = {"family": family.family, "benchmark": family.benchmark, "subject": subject}
            counts = {"num_items": len(drawn), "num_models": family.num_models, "num_clusters": num_clusters}
            tables.append(
                pa.table(
                    {name: pa.array([value] * len(keys), pa.string()) for name, value in constant.items()}
                    | {name: [key[i] for key in keys] for i, name in enumerate(("metric", "method", "nan_policy"))}
                    | {name: pa.array([count] * len(keys), pa.int32()) for name, count in counts.items()}
                    | {name: pa.array(column, from_pandas=True) for name, column in found.items()}
                    | {"interval_note": notes}
                )
            )
    return [pa.concat_tables(tables) for tables in parts]


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
    write_table(table, output_parquet, "correlation_statistics", {"level": 0.95})
    write_csv(read_table(output_parquet, "correlation_statistics"), output_csv)
    logger.info("statistics: %d rows of %d families × benchmarks", len(table), len(tables))


def medians(statistics: pl.DataFrame, family: str, nan_policy: str = "drop") -> pl.DataFrame:
    """Median correlation of each metric on each whole benchmark for ``family``.

    ``statistics`` is a correlation_statistics table. Columns: ``benchmark``, ``metric``, one per method in
    :data:`~elusive.analysis.correlations.METHODS` (float64), ``nan_fraction`` (the largest of theirs); rows by
    benchmark, then metric.
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
