"""Attribution: how much of the fall from log p_vocab to a score each transformation of the chain causes.

For one family × benchmark × method, with C(m) the mean over items of metric m's correlation with compute, the fall
C(log p_vocab) - C(score) is the sum of the steps on the way::

    exponentiate   log p_vocab -> p_vocab          or   log p_choices -> p_choices
    renormalise    p_vocab -> p_choices            or   log p_vocab -> log p_choices
    threshold      p_choices -> accuracy           (the score is accuracy)
    square         p_choices -> -Brier             (the score is the Brier score, negated)

The first two commute, and how much each causes depends on which comes first: ``order`` says which
(``exponentiate_first`` is the paper's). Ranks do not see an exponential, so that under Spearman and Kendall
exponentiating causes exactly nothing. A step that gains correlation has a negative drop; the drops of a path add up
exactly to its ``total``.

All metrics of a path must be on the same items. ``nan_policy`` ``drop`` keeps the items on which all of them are
defined, ``zero`` keeps every item and takes an undefined correlation as none at all, 0.

``*_low`` and ``*_high`` are 95 % intervals for drawing other items, as in :mod:`elusive.analysis.statistics`. ``share``
is the step's drop in units of the total; its interval is that of the mean of the linearised ratio, and both are null
where the interval of the total has 0 in it: a share of nothing says nothing.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from elusive import logs
from elusive.analysis.correlations import METHODS
from elusive.analysis.distributions import distribution_statistics
from elusive.analysis.metrics import FilePath
from elusive.analysis.statistics import NAN_POLICIES, bootstrap_seed, drawing_units
from elusive.errors import ElusiveError
from elusive.tables import SCHEMAS, read_metadata, read_table, write_csv, write_table

logger = logs.get(__name__)

#: score -> order -> the steps (name, metric after it), starting from log_p_vocab_correct.
PATHS: dict[str, dict[str, tuple[tuple[str, str], ...]]] = {
    score: {
        "exponentiate_first": (
            ("exponentiate", "p_vocab_correct"),
            ("renormalise", "p_choices_correct"),
            (last, score),
        ),
        "renormalise_first": (
            ("renormalise", "log_p_choices_correct"),
            ("exponentiate", "p_choices_correct"),
            (last, score),
        ),
    }
    for score, last in (("accuracy", "threshold"), ("brier", "square"))
}
START = "log_p_vocab_correct"
# Rows of correlations looked at in one go, which bounds the memory.
_ROWS = 256
STEPS = ("exponentiate", "renormalise", "threshold", "square", "total")


@dataclass(frozen=True)
class _Path:
    """One way down the chain for one family: its keys, and ``correlations`` [metrics, items], NaN where undefined."""

    key: dict[str, Any]
    steps: tuple[str, ...]
    correlations: np.ndarray


def decompose(paths: Sequence[np.ndarray], units: np.ndarray | None, seed: int) -> list[dict[str, np.ndarray]]:
    """Drops of paths over the same items, each [metrics, items], from the first metric to the last.

    Items on which a metric of a path is NaN are left out of that path. For each path the result has columns of the
    table, float64 [steps + 1], the total last; all NaN for no items. ``units`` [items] and ``seed`` are those of
    :func:`~elusive.analysis.statistics.distribution_statistics`: every path sees the same resamples.
    """
    kept = [np.where(np.isnan(path).any(axis=0), np.nan, path) for path in paths]
    drops = [np.concatenate([path[:-1] - path[1:], path[:1] - path[-1:]]) for path in kept]
    found = _mean_intervals(drops, units, seed)
    results, linear = [], []
    for path, drop, (mean, low, high) in zip(kept, drops, found, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the mean of no items is NaN
            level = np.nanmean(path, axis=1)
        result = {"correlation_before": np.r_[level[:-1], level[0]], "correlation_after": np.r_[level[1:], level[-1]]}
        result |= {"drop": mean, "drop_low": low, "drop_high": high}
        known = low[-1] * high[-1] > 0
        share = mean / mean[-1] if known else np.full(len(mean), np.nan)
        results.append(result | {"share": share})
        linear.append(
            share[:, None] + (drop - share[:, None] * drop[-1]) / mean[-1] if known else np.full_like(drop, np.nan)
        )
    for result, (_, low, high) in zip(results, _mean_intervals(linear, units, seed), strict=True):
        result |= {"share_low": low, "share_high": high}
    return results


def _mean_intervals(
    groups: Sequence[np.ndarray], units: np.ndarray | None, seed: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Mean, and lower and upper end of its interval, of every row of every group [rows, items].

    Many rows are equal (ranks do not see an exponential, and the paths share steps): each is looked at once.
    """
    places: dict[bytes, int] = {}
    rows: list[np.ndarray] = []
    position = []
    for row in np.ascontiguousarray(np.concatenate(groups) + 0.0):
        position.append(places.setdefault(hashlib.sha256(row).digest(), len(rows)))
        if position[-1] == len(rows):
            rows.append(row)
    parts = [
        distribution_statistics(np.stack(rows[start : start + _ROWS]).T, units, seed)
        for start in range(0, len(rows), _ROWS)
    ]
    found = np.stack([np.concatenate([part[f"mean{bound}"] for part in parts]) for bound in ("", "_low", "_high")])
    ends = np.cumsum([len(group) for group in groups])
    return [tuple(part) for part in np.split(found[:, position], ends[:-1], axis=1)]


def _read(path: FilePath) -> tuple[pl.DataFrame, list[_Path]]:
    """The items (``item``, ``subject``) of a correlations table and all paths through it."""
    columns = ["family", "benchmark", "subject", "item", "metric", "method", "correlation", "num_models"]
    frame = pl.from_arrow(read_table(path, "correlations", columns))
    family, benchmark, num_models = frame.select("family", "benchmark", "num_models").unique().row(0)
    about = {"family": family, "benchmark": benchmark, "num_models": num_models}
    paths = []
    for method in METHODS:
        wide = frame.filter(method=method).pivot("metric", index=["item", "subject"], values="correlation")
        for score, orders in PATHS.items():
            for order, steps in orders.items():
                metrics = [START, *(metric for _, metric in steps)]
                if missing := [metric for metric in metrics if metric not in wide.columns]:
                    raise ElusiveError(f"{path}: has no rows for metric {missing[0]!r} by method {method!r}")
                values = wide.select(metrics).to_numpy().T
                key = about | {"method": method, "score": score, "order": order}
                for policy in NAN_POLICIES:
                    filled = values if policy == "drop" else np.nan_to_num(values, nan=0.0)
                    paths.append(_Path(key | {"nan_policy": policy}, tuple(name for name, _ in steps), filled))
    return wide.select("item", "subject"), paths


def attribute(correlations: Sequence[FilePath], items: FilePath | None = None) -> list[dict[str, Any]]:
    """The attribution rows of the ``correlations`` tables of any families on one benchmark.

    ``items`` is the benchmark's items table, which says what items are drawn together.
    """
    groups: dict[bytes, tuple[pl.DataFrame, list[_Path]]] = {}
    for path in correlations:
        frame, paths = _read(path)
        digest = hashlib.sha256(json.dumps(frame.to_dict(as_series=False)).encode()).digest()
        groups.setdefault(digest, (frame, []))[1].extend(paths)
    rows = []
    for frame, paths in groups.values():
        seed = bootstrap_seed(paths[0].key["benchmark"], None)
        for path, found in zip(
            paths, decompose([p.correlations for p in paths], drawing_units(frame, items), seed), strict=True
        ):
            number = int((~np.isnan(path.correlations).any(axis=0)).sum())
            for i, step in enumerate((*path.steps, "total")):
                numbers = {name: None if column[i] != column[i] else float(column[i]) for name, column in found.items()}
                rows.append(path.key | {"step": step, "num_items": number} | numbers)
    return rows


def write_attribution(
    *,
    correlations: Sequence[FilePath],
    output_parquet: FilePath,
    output_csv: FilePath,
    items: Sequence[FilePath] = (),
) -> None:
    """Write the attribution table of all ``correlations`` tables as Parquet and CSV.

    ``items`` are the benchmarks' items tables. Rows are sorted by family and benchmark, then by method, score,
    order, NaN policy and step in the orders of each, whatever the order of the files.
    """
    about = {read_metadata(path)["benchmark"]: path for path in items}
    tables: dict[str, list[FilePath]] = {}
    for path in correlations:
        benchmark = read_table(path, "correlations", ["benchmark"])["benchmark"][0].as_py()
        tables.setdefault(benchmark, []).append(path)
    if not tables:
        raise ElusiveError(f"{output_parquet}: there are no correlations to attribute")
    rows = [row for name, paths in sorted(tables.items()) for row in attribute(paths, about.get(name))]
    rows.sort(key=lambda row: (row["family"], row["benchmark"]))
    table = pa.Table.from_pylist(rows, SCHEMAS["attribution"])
    write_table(table, output_parquet, "attribution")
    write_csv(table, output_csv)
    logger.info("attribution: %d rows of %d families × benchmarks", len(table), len(correlations))
