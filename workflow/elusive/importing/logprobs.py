"""Tables of log-likelihoods out of a checkpoint's logs, the same tables as scoring makes.

A column that the log lacks for one of the items is null for all of them. Lengths of choices are those of the items
table's texts, so that every checkpoint of a benchmark has the same.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import pyarrow as pa

import elusive
from elusive import logs
from elusive.errors import ElusiveError
from elusive.files import sha256_file
from elusive.importing import checks
from elusive.importing.index import Index
from elusive.importing.items import read_logged
from elusive.importing.matching import Items, Logged, match
from elusive.importing.problems import Problems
from elusive.importing.records import Record
from elusive.importing.version import IMPORTER_VERSION
from elusive.tables import SCHEMAS, write_table

logger = logs.get(__name__)

#: What the log says of a run -> how the metadata call it.
_FACTS = (
    "harness",
    "harness_version",
    "harness_commit",
    "transformers_version",
    "task_version",
    "task_hash",
    "dataset",
    "num_fewshot",
    "fewshot_seed",
    "limit",
    "chat_template",
    "backend",
    "batch_size",
    "request_cache",
    "adapter",
)


def import_checkpoint(
    index: Index,
    checkpoint: str,
    parameters: int | None,
    items: Sequence[str | os.PathLike[str]],
    outputs: Sequence[str | os.PathLike[str]],
) -> None:
    """Write a table for each of the items tables ``items`` to ``outputs``, pairwise.

    Raises :class:`ElusiveError` with what is wrong in each benchmark's logs; then some tables may have been written.
    """
    if len(items) != len(outputs):
        raise ElusiveError(f"{len(items)} items tables but {len(outputs)} outputs; they must be equally many")
    if checkpoint not in index.checkpoints:
        raise ElusiveError(f"the index of {index.model} has no checkpoint {checkpoint!r}")
    problems = Problems()
    progress = logs.Progress(f"importing {index.model}/{checkpoint}", len(items), "benchmarks")
    coarse: dict[str, tuple[str, int, int]] = {}
    for path, output in zip(items, outputs, strict=True):
        with problems.collecting():
            table = Items.read(path)
            precision = _import(index, checkpoint, parameters, table, output)
            if precision.half:
                coarse[table.benchmark] = (precision.half, precision.tied, precision.items)
        progress.update(1)
    if coarse:
        kinds = ", ".join(sorted({half for half, _, _ in coarse.values()}))
        tied, total = (sum(entry[i] for entry in coarse.values()) for i in (1, 2))
        problems.warn(
            f"{index.model}/{checkpoint}: all log-likelihoods on {', '.join(coarse)} are numbers of {kinds}: they are "
            f"coarse, and the best choice is tied for {tied:,} of {total:,} items ({tied / total:.1%})"
        )
    problems.settle(f"importing {index.model}/{checkpoint}")
    logger.info("imported %s/%s: %d tables", index.model, checkpoint, len(items))


def _import(
    index: Index, checkpoint: str, parameters: int | None, items: Items, output: str | os.PathLike[str]
) -> checks.Precision:
    logged = read_logged(index, checkpoint, items.benchmark)
    matched = match(items, logged)
    precision = checks.Precision()
    for record, source in matched:
        checks.check(record, source.file)
        precision.add(record.log_likelihood)
    records = [record for record, _ in matched]
    table = _table(items, records)
    about = {"model": index.model, "checkpoint": checkpoint, "source": index.source, "parameters": parameters}
    write_table(table, output, "logprobs", about | _metadata(items, logged, table, precision, records))
    return precision


def _table(items: Items, records: Sequence[Record]) -> pa.Table:
    """The rows of all items in the order of the table ``items``."""
    counts = np.array(items.counts, np.int64)
    choice = np.concatenate([np.arange(count) for count in counts])
    texts = [
        [record.num_chars, record.num_bytes] if own is None else _lengths(own)
        for record, own in zip(records, items.texts, strict=True)
    ]
    columns: dict[str, Any] = {
        "item": np.repeat(np.array(items.ids, object), counts).tolist(),
        "choice": choice.astype(np.int8),
        "is_gold": choice == np.repeat(np.array(items.golds, np.int64), counts),
        "log_likelihood": [value for record in records for value in record.log_likelihood],
        "num_tokens": _joined([record.num_tokens for record in records]),
        "num_bytes": _joined([length for _, length in texts]),
        "num_chars": _joined([length for length, _ in texts]),
        "is_greedy": _joined([record.is_greedy for record in records]),
    }
    schema = list(SCHEMAS["logprobs"])
    unconditional = _joined([record.unconditional for record in records])
    if unconditional is not None:
        columns["log_likelihood_unconditional"] = unconditional
        schema.append(pa.field("log_likelihood_unconditional", pa.float64()))
    length = len(choice)
    arrays = [
        pa.nulls(length, field.type) if columns[field.name] is None else pa.array(columns[field.name], field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(arrays, names=[field.name for field in schema])


def _joined(values: Sequence[Sequence[Any] | None]) -> list[Any] | None:
    """All values in a row, None as soon as one item has none."""
    if any(value is None for value in values):
        return None
    return [entry for value in values for entry in value or ()]


def _lengths(texts: Sequence[str]) -> tuple[list[int], list[int]]:
    return [len(text) for text in texts], [len(text.encode("utf-8", "surrogatepass")) for text in texts]


def _metadata(
    items: Items,
    logged: Sequence[Logged],
    table: pa.Table,
    precision: checks.Precision,
    records: Sequence[Record],
) -> dict[str, Any]:
    """Where the table came from: no path and no name of a user."""
    abouts = [entry.source.about for entry in logged]
    values = np.ascontiguousarray(table["log_likelihood"].to_numpy())
    lacking = [name for name in ("num_tokens", "num_bytes", "num_chars", "is_greedy") if table[name].null_count]
    contexts = sorted({record.measures.get("unconditional_context", "") for record in records})
    facts = {key: _one([about.get(key) for about in abouts]) for key in _FACTS}
    return {
        "benchmark": items.benchmark,
        "items": items.content,
        "protocol": items.metadata.get("protocol", ""),
        "revision": _one([about.get("revision") for about in abouts]),
        "commit": _one([about.get("commit") for about in abouts]),
        "dtype": _one([about.get("dtype") for about in abouts]),
        "quantised": _one([about.get("quantised") for about in abouts]),
        "importer": IMPORTER_VERSION,
        "imported": {key: value for key, value in facts.items() if value is not None},
        "logs": [
            {
                "file": PurePath(entry.source.file).name,
                "sha256": sha256_file(entry.source.file),
                "task": entry.source.task,
                **({"run": entry.source.run} if entry.source.run else {}),
            }
            for entry in logged
        ],
        "lacking": lacking,
        "half_precision": precision.half,
        "tied": precision.tied,
        "choices": len(values),
        "digest": hashlib.sha256(values.astype("<f8").tobytes()).hexdigest(),
        **({"unconditional_context": contexts[0]} if "log_likelihood_unconditional" in table.column_names else {}),
        "versions": {"elusive": elusive.__version__},
    }


def _one(values: Sequence[Any]) -> Any:
    """The value that all tasks have, else a list of the different ones."""
    different = list(dict.fromkeys(value for value in values if value is not None))
    return different[0] if len(different) == 1 else different or None
