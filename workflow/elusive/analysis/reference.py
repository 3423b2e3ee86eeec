"""Compare measured accuracies with published ones, where model, checkpoint, benchmark and metric are the same.

The published values are those of ``workflow/registry/reference``, whose README says where they come from. Published
and measured accuracy are of the same weights on the same items, so that which items the benchmark happens to have
cancels in their difference. What remains is numerics: items whose two best choices are so close that half precision,
another batch or another rule for ties decides otherwise. How many these are cannot be told from the two accuracies, so
the difference is held against a scale: the standard error of the published accuracy over its N items, ::

    s = sqrt(p (1 - p) / (N - 1)),    z = (measured - published) / s,    p the published accuracy

Flips of a share f of the items move an accuracy by about sqrt(f / N): |z| = 1 takes a share of p (1 - p) of them to
flip without preference, or about one in a hundred to flip the same way. A correct measurement of a trained model in
float32 differs from a published one in float16 by 0.002 to 0.01, which is at most one s; at the first steps of
training, where many log-likelihoods tie, by one to two. Hence the status: ``agrees`` for |z| ≤ 1, ``near`` for
|z| ≤ 2, else ``differs``.

A limit makes the measured items a random sample of n of the N published ones, drawn without replacement, whose
accuracy has the variance ``s² (N / n - 1)`` about that of all. With the scale's own s² that makes ``s² N / n``: then
z is the difference over ``s sqrt(N / n)``, the standard error of an accuracy of n items.

``not comparable`` are values measured on another split or under another protocol than lm-eval's without examples, and
of a model that this workflow trained and that only shares the name; they have no z, and ``note`` says why.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from elusive import logs
from elusive.analysis.metrics import FilePath
from elusive.errors import ElusiveError
from elusive.items.benchmarks import BENCHMARKS, protocol
from elusive.tables import SCHEMAS, read_metadata, read_table, write_csv, write_table

logger = logs.get(__name__)

METRICS = ("accuracy", "accuracy_norm")
STATUSES = ("agrees", "near", "differs", "not comparable")
#: Largest |z| of the statuses ``agrees`` and ``near``.
AGREES, NEAR = 1.0, 2.0

_COLUMNS = ("model", "checkpoint", "benchmark", "metric", "value", "standard_error", "source")


@dataclass(frozen=True)
class Published:
    """A published accuracy of one checkpoint on all items of a benchmark, in (0, 1), and its standard error."""

    model: str
    checkpoint: str
    benchmark: str
    metric: str
    value: float
    standard_error: float
    source: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What it must have in common with a measured accuracy."""
        return self.model, self.checkpoint, self.benchmark, self.metric


def binomial_error(accuracy: float, num_items: int) -> float | None:
    """The standard error of an accuracy over items, as lm-eval computes it; None for fewer than two items."""
    return math.sqrt(accuracy * (1 - accuracy) / (num_items - 1)) if num_items > 1 else None


def published_items(benchmark: str) -> int:
    """The number of items of the split that published accuracies on a built-in benchmark are of."""
    definition = BENCHMARKS[benchmark]
    return definition.num_items[definition.split]


def read_published(paths: Sequence[FilePath]) -> dict[tuple[str, str, str, str], Published]:
    """The published accuracies in CSV files by their :attr:`Published.key`.

    The columns are model, checkpoint, benchmark (a built-in one), metric (one of :data:`METRICS`), value,
    standard_error (empty: that of the binomial over all items) and source. Raises :class:`ElusiveError` naming file,
    line and value of whatever is wrong, a value that is there twice included.
    """
    found: dict[tuple[str, str, str, str], Published] = {}
    for path in paths:
        try:
            with open(path, encoding="utf-8", newline="") as file:
                reader = csv.DictReader(file)
                rows = [(reader.line_num, row) for row in reader]
        except OSError as error:
            raise ElusiveError(f"{path}: cannot read published accuracies ({error.strerror})") from error
        if tuple(reader.fieldnames or ()) != _COLUMNS:
            raise ElusiveError(f"{path}: has the columns {reader.fieldnames}, must have {list(_COLUMNS)}")
        for line, row in rows:
            published = _published(row, f"{path}, line {line}")
            if published.key in found:
                raise ElusiveError(f"{path}, line {line}: {' '.join(published.key)} already has a published value")
            found[published.key] = published
    return found


def _published(row: Mapping[str, Any], where: str) -> Published:
    if None in row or None in row.values():
        raise ElusiveError(f"{where}: needs {len(_COLUMNS)} values, one per column")
    for column, allowed in (("benchmark", tuple(BENCHMARKS)), ("metric", METRICS)):
        if row[column] not in allowed:
            raise ElusiveError(f"{where}: {column} is {row[column]!r}, must be one of {', '.join(allowed)}")

    def number(column: str) -> float:
        try:
            value = float(row[column])
        except ValueError:
            value = math.nan
        if not 0 < value < 1:
            raise ElusiveError(f"{where}: {column} is {row[column]!r}, must be a number above 0 and below 1")
        return value

    value = number("value")
    known = row["standard_error"] != ""
    error = number("standard_error") if known else binomial_error(value, published_items(row["benchmark"]))
    assert error is not None, "every built-in benchmark has more than one item"
    key = {column: row[column] for column in _COLUMNS[:4]}
    return Published(**key, value=value, standard_error=error, source=row["source"])


def compare(measured: float, num_items: int, published: Published) -> tuple[float, str]:
    """z and the status of an accuracy measured on ``num_items`` of the published items."""
    scale = published.standard_error * math.sqrt(published_items(published.benchmark) / num_items)
    z = (measured - published.value) / scale
    return z, "agrees" if abs(z) <= AGREES else "near" if abs(z) <= NEAR else "differs"


def obstacle(benchmark: str, items: Mapping[str, Any]) -> str | None:
    """Why accuracies on the items with the metadata ``items`` are not comparable with published ones, or None."""
    definition = BENCHMARKS[benchmark]
    if items.get("protocol") != protocol(0):
        return f"asked as {items.get('protocol')!r}, published as zero-shot"
    if items.get("split") != definition.split:
        return f"measured on the {items.get('split')} split, published on the {definition.split} split"
    return None


def write_reference(
    *,
    scores: FilePath,
    items: Sequence[FilePath],
    published: Sequence[FilePath],
    trained: Collection[str],
    output_parquet: FilePath,
    output_csv: FilePath,
) -> None:
    """Write the table ``reference`` as Parquet and CSV: a row for each measured accuracy that has a published one.

    ``scores`` is the scores table, ``items`` the items tables of all its benchmarks (of which only the metadata are
    read), ``published`` CSV files for :func:`read_published`, ``trained`` the names of models that the workflow trained
    itself. Rows are sorted by benchmark, metric, FLOPs, model and checkpoint. Nothing in common gives a table without
    rows. Raises :class:`ElusiveError`.
    """
    values = read_published(published)
    obstacles = {}
    for path in items:
        metadata = read_metadata(path)
        name = metadata["benchmark"]
        obstacles[name] = obstacle(name, metadata) if name in BENCHMARKS else None
    rows = []
    for row in read_table(scores, "scores").to_pylist():
        if row["benchmark"] not in obstacles:
            raise ElusiveError(f"{scores}: has scores on {row['benchmark']!r}, whose items table is missing")
        for metric in METRICS:
            found = values.get((row["model"], row["checkpoint"], row["benchmark"], metric))
            if found is None or row[metric] is None:
                continue
            note = "trained by this workflow" if row["model"] in trained else obstacles[row["benchmark"]]
            z, status = (None, "not comparable") if note else compare(row[metric], row["num_items"], found)
            rows.append(
                {column: row[column] for column in ("model", "checkpoint", "flops", "benchmark", "num_items")}
                | {
                    "metric": metric,
                    "num_items_published": published_items(row["benchmark"]),
                    "measured": row[metric],
                    "measured_se": binomial_error(row[metric], row["num_items"]),
                    "published": found.value,
                    "published_se": found.standard_error,
                    "difference": row[metric] - found.value,
                    "z": z,
                    "status": status,
                    "note": note,
                    "source": found.source,
                }
            )
    rows.sort(key=lambda r: (r["benchmark"], r["metric"], r["flops"], r["model"], r["checkpoint"]))
    table = pa.Table.from_pylist(rows, SCHEMAS["reference"])
    write_table(table, output_parquet, "reference", {"agrees": AGREES, "near": NEAR})
    write_csv(table, output_csv)
    counts = ", ".join(f"{sum(row['status'] == status for row in rows)} {status}" for status in STATUSES)
    logger.info("published accuracies: %d known, %d measured: %s", len(values), len(rows), counts)
