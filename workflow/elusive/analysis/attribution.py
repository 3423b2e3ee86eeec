"""Attribution: how much of the fall from log p_vocab to a score each transformation of the chain causes.

For one family × benchmark × method, with C(m) the mean over items of metric m's correlation with compute, the fall
C(log p_vocab) - C(score) is the sum of the steps on the way::

    exponentiate   log p_vocab -> p_vocab          or   log p_choices -> p_choices
    renormalise    p_vocab -> p_choices            or   log p_vocab -> log p_choices
    threshold      p_choices -> accuracy           (the score is accuracy)
    square         p_choices -> -Brier             (the score is the Brier score, negated)

The first two commute, and how much each causes depends on which comes first: ``order`` says which
(``exponentiate_first`` is the paper's), and ``mean_of_orders`` has the mean over both (Shapley's value of a step), with
no correlation before or after the two. ``drop_least`` and ``drop_most`` are the range of a step's drop over the orders.
Ranks do not see an exponential, so that under Spearman and Kendall exponentiating causes exactly nothing, and the order
does not matter. A step that gains correlation has a negative drop; the drops of a path add up exactly to its ``total``.

All metrics of a path must be on the same items. ``nan_policy`` ``drop`` keeps the items on which all of them are
defined, ``zero`` keeps every item and takes an undefined correlation as none at all, 0. ``drop_undefined`` is the part
of a drop that is due to this: to items whose correlation one of the two metrics of the step lacks.

``*_low`` and ``*_high`` are 95 % intervals for drawing other items, as in :mod:`elusive.analysis.statistics`.
``costliest`` says whether a step's drop is above 0, and above that of every other step of its path, by the lower ends
of the intervals of the drop and of the items' differences. ``share`` is the step's drop in units of the total; its
interval is that of the mean of the linearised ratio. All are null where the total is less than :data:`LEAST_TOTAL` in
size or its interval has 0 in it, or there is none: a share of next to nothing says nothing.
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
from elusive.analysis.distributions import Sample, interval_notes
from elusive.analysis.metrics import FilePath
from elusive.analysis.statistics import NAN_POLICIES, drawing_units
from elusive.errors import ElusiveError
from elusive.tables import read_metadata, read_table, whole_schema, write_csv, write_table

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
#: The order whose drops are the means over the others, and the steps that differ between these.
MEAN_ORDER, COMMUTING = "mean_of_orders", ("exponentiate", "renormalise")
#: Smallest fall of the mean correlation, without sign, of which shares are given.
LEAST_TOTAL = 0.05
# Rows of correlations looked at in one go, which bounds the memory.
_ROWS = 256
STEPS = ("exponentiate", "renormalise", "threshold", "square", "total")


@dataclass(frozen=True)
class _Path:
    """One way down the chain for one family: its keys and steps, and for each step what every item loses.

    ``levels`` [steps + 1, items] are the correlations of its metrics, NaN where they do not exist; ``drops`` and
    ``undefined`` [steps, items] the fall of each item at each step, and whether one of its two correlations is
    undefined.
    """

    key: dict[str, Any]
    steps: tuple[str, ...]
    levels: np.ndarray
    drops: np.ndarray
    undefined: np.ndarray


def path_of(key: dict[str, Any], steps: tuple[str, ...], correlations: np.ndarray) -> _Path:
    """The path through ``correlations`` [steps + 1, items] under the ``nan_policy`` of ``key``."""
    missing = np.isnan(correlations)
    levels = np.where(missing, 0.0, correlations)
    if key["nan_policy"] == "drop":
        levels = np.where(missing.any(axis=0), np.nan, correlations)
    return _Path(key, steps, levels, levels[:-1] - levels[1:], missing[:-1] | missing[1:])


def mean_path(paths: Sequence[_Path]) -> _Path:
    """The path whose drops are the means over ``paths``, which take the same steps in different orders."""
    first = paths[0]
    places = [[path.steps.index(step) for step in first.steps] for path in paths]
    drops = np.mean([path.drops[place] for path, place in zip(paths, places, strict=True)], axis=0)
    undefined = np.mean([path.undefined[place] for path, place in zip(paths, places, strict=True)], axis=0)
    levels = np.where(np.isnan(drops).any(axis=0), np.nan, first.levels)
    levels[1] = np.nan
    return _Path(first.key | {"order": MEAN_ORDER}, first.steps, levels, drops, undefined)


def decompose(paths: Sequence[_Path], units: np.ndarray | None) -> list[dict[str, np.ndarray]]:
    """Columns of the table for paths over the same items: [steps + 1] each, float64, the total last.

    Items on which a drop is NaN are left out of that path; all is NaN for no items. ``units`` [items] are as for
    :func:`~elusive.analysis.distributions.distribution_statistics`. ``costliest`` is 0, 1 or NaN. ``interval_note`` is
    text or None: why the drop has no interval, or the share has none.
    """
    rows = []
    for path in paths:
        count = len(path.steps)
        total = np.where(np.isnan(path.levels[[0, -1]]).any(axis=0), np.nan, path.levels[0] - path.levels[-1])
        others = [path.drops[i] - path.drops[j] for i in range(count) for j in range(count) if i != j]
        rows.append(np.stack([*path.drops, total, *others]))
    found = _mean_intervals(rows, units)
    results, linear = [], []
    for path, drops, (mean, low, high, notes) in zip(paths, rows, found, strict=True):
        count = len(path.steps)
        own = slice(0, count + 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the mean of no items is NaN
            level = np.nanmean(path.levels, axis=1)
            part = np.nanmean(np.where(path.undefined, path.undefined * path.drops, 0.0 * path.drops), axis=1)
        result = {"correlation_before": np.r_[level[:-1], level[0]], "correlation_after": np.r_[level[1:], level[-1]]}
        result |= {"drop": mean[own], "drop_low": low[own], "drop_high": high[own]}
        result["drop_undefined"] = np.r_[part, part.sum()]
        known = low[count] * high[count] > 0 and abs(mean[count]) >= LEAST_TOTAL
        ahead = low[count + 1 :].reshape(count, count - 1).min(axis=1) > 0
        result["costliest"] = np.r_[(low[:count] > 0) & ahead if known else np.full(count, np.nan), np.nan]
        share = mean[own] / mean[count] if known else np.full(count + 1, np.nan)
        if not known:
            why = f"no share of a total below {LEAST_TOTAL:g}, or whose interval has 0 in it or is not there"
            notes = np.array([note or why for note in notes], dtype=object)
        results.append(result | {"share": share, "interval_note": notes[own]})
        drop = drops[own]
        linear.append(
            share[:, None] + (drop - share[:, None] * drop[-1]) / mean[count] if known else np.full_like(drop, np.nan)
        )
    for result, (_, low, high, notes) in zip(results, _mean_intervals(linear, units), strict=True):
        # The total is all of itself, in every sample.
        whole = result["share"][-1]
        result["share_low"], result["share_high"] = np.r_[low[:-1], whole], np.r_[high[:-1], whole]
        of_share = [f"share: {note}" if note else None for note in notes[:-1]] + [None]
        own = zip(result["interval_note"], of_share, strict=True)
        result["interval_note"] = np.array([note or other for note, other in own], dtype=object)
    return results


def _mean_intervals(
    groups: Sequence[np.ndarray], units: np.ndarray | None
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Mean, lower and upper end of its interval, and why there is none, of every row of every group [rows, items].

    Many rows are equal (ranks do not see an exponential, and the paths share steps): each is looked at once. What is
    exactly 0 for every item is so by mathematics, and its interval is 0 to 0.
    """
    places: dict[bytes, int] = {}
    rows: list[np.ndarray] = []
    position = []
    for row in np.ascontiguousarray(np.concatenate(groups) + 0.0):
        position.append(places.setdefault(hashlib.sha256(row).digest(), len(rows)))
        if position[-1] == len(rows):
            rows.append(row)
    parts = []
    for start in range(0, len(rows), _ROWS):
        sample = Sample.of(np.stack(rows[start : start + _ROWS]).T, units)
        mean, low, high = sample.mean_interval()
        nothing = sample.enough & ~np.where(sample.defined, sample.values, 0.0).any(axis=0)
        low, high = np.where(nothing, 0.0, low), np.where(nothing, 0.0, high)
        parts.append((mean, low, high, interval_notes(sample, low)))
    ends = np.cumsum([len(group) for group in groups])[:-1]
    columns = (np.concatenate(column)[position] for column in zip(*parts, strict=True))
    return list(zip(*(np.split(column, ends) for column in columns), strict=True))


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
            policies: dict[str, list[_Path]] = {policy: [] for policy in NAN_POLICIES}
            for order, steps in orders.items():
                metrics = [START, *(metric for _, metric in steps)]
                if missing := [metric for metric in metrics if metric not in wide.columns]:
                    raise ElusiveError(f"{path}: has no rows for metric {missing[0]!r} by method {method!r}")
                values = wide.select(metrics).to_numpy().T
                key = about | {"method": method, "score": score, "order": order}
                for policy, own in policies.items():
                    own.append(path_of(key | {"nan_policy": policy}, tuple(name for name, _ in steps), values))
            # By order, then policy.
            kinds = [[*own, mean_path(own)] for own in policies.values()]
            paths.extend(path for together in zip(*kinds, strict=True) for path in together)
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
        for path, found in zip(paths, decompose(paths, drawing_units(frame, items)), strict=True):
            number = int((~np.isnan(path.levels[0])).sum())
            for i, step in enumerate((*path.steps, "total")):
                numbers = {
                    name: None if column[i] != column[i] else float(column[i])
                    for name, column in found.items()
                    if name != "interval_note"
                }
                if numbers["costliest"] is not None:
                    numbers["costliest"] = bool(numbers["costliest"])
                note = {"interval_note": found["interval_note"][i]}
                rows.append(path.key | {"step": step, "num_items": number} | numbers | note)
    _add_ranges(rows)
    return rows


def _add_ranges(rows: Sequence[dict[str, Any]]) -> None:
    """Put the range of each step's drop over the orders into all rows of the step."""
    names = ("family", "benchmark", "method", "score", "nan_policy", "step")
    drops: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        found = drops.setdefault(tuple(row[name] for name in names), [])
        if row["order"] != MEAN_ORDER and row["drop"] is not None:
            found.append(row["drop"])
    for row in rows:
        found = drops[tuple(row[name] for name in names)]
        row["drop_least"], row["drop_most"] = min(found, default=None), max(found, default=None)


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
    table = pa.Table.from_pylist(rows, whole_schema("attribution"))
    write_table(table, output_parquet, "attribution")
    write_csv(table, output_csv)
    logger.info("attribution: %d rows of %d families × benchmarks", len(table), len(correlations))
