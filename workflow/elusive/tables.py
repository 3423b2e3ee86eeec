"""The data contract: the tables that leave the workflow, their columns, types and order, and how they are kept.

Every table is Parquet with zstd compression and one row group order that depends on the data alone, so that two
runs give the same bytes. Extra columns are allowed, the ones below never miss. The Parquet key-value metadata
``elusive`` carries a JSON object saying where the table came from.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from elusive.errors import ElusiveError
from elusive.files import atomic_path

METADATA_KEY = b"elusive"


def _schema(*fields: tuple[str, pa.DataType] | tuple[str, pa.DataType, bool]) -> pa.Schema:
    return pa.schema([pa.field(f[0], f[1], nullable=len(f) == 3 and f[2]) for f in fields])


_STATISTICS = ["mean", "median", "auc", "neg_wasserstein", "fraction_above_075"]

#: table name -> required columns (name, type, nullable), in the order in which they are written.
SCHEMAS: dict[str, pa.Schema] = {
    "items": _schema(
        ("item", pa.string()),
        ("subject", pa.string(), True),
        ("contexts", pa.list_(pa.string())),
        ("continuations", pa.list_(pa.string())),
        ("gold", pa.int8()),
        ("num_choices", pa.int8()),
    ),
    "logprobs": _schema(
        ("item", pa.string()),
        ("choice", pa.int8()),
        ("is_gold", pa.bool_()),
        ("log_likelihood", pa.float64()),
        ("num_tokens", pa.int32()),
        ("num_bytes", pa.int32()),
        ("num_chars", pa.int32()),
        ("is_greedy", pa.bool_()),
    ),
    "metrics": _schema(
        ("model", pa.string()),
        ("checkpoint", pa.string()),
        ("parameters", pa.int64()),
        ("tokens", pa.int64()),
        ("flops", pa.float64()),
        ("benchmark", pa.string()),
        ("subject", pa.string(), True),
        ("item", pa.string()),
        ("num_choices", pa.int8()),
        ("log_p_vocab_correct", pa.float64()),
        ("p_vocab_correct", pa.float64()),
        ("log_p_vocab_incorrect", pa.float64()),
        ("p_vocab_incorrect", pa.float64()),
        ("log_p_choices_correct", pa.float64()),
        ("p_choices_correct", pa.float64()),
        ("brier", pa.float64()),
        ("accuracy", pa.float64()),
        ("accuracy_norm", pa.float64()),
        ("margin_log", pa.float64()),
    ),
    "correlations": _schema(
        ("family", pa.string()),
        ("benchmark", pa.string()),
        ("subject", pa.string(), True),
        ("item", pa.string()),
        ("metric", pa.string()),
        ("method", pa.string()),
        ("correlation", pa.float64(), True),
        ("num_models", pa.int32()),
    ),
    "correlation_statistics": _schema(
        ("family", pa.string()),
        ("benchmark", pa.string()),
        ("subject", pa.string(), True),
        ("metric", pa.string()),
        ("method", pa.string()),
        ("nan_policy", pa.string()),
        ("num_items", pa.int32()),
        ("num_models", pa.int32()),
        ("nan_fraction", pa.float64()),
        *[(f"{statistic}{bound}", pa.float64(), True) for statistic in _STATISTICS for bound in ("", "_low", "_high")],
    ),
    "attribution": _schema(
        ("family", pa.string()),
        ("benchmark", pa.string()),
        ("method", pa.string()),
        ("score", pa.string()),
        ("order", pa.string()),
        ("nan_policy", pa.string()),
        ("step", pa.string()),
        ("num_items", pa.int32()),
        ("num_models", pa.int32()),
        ("correlation_before", pa.float64(), True),
        ("correlation_after", pa.float64(), True),
        ("drop", pa.float64(), True),
        ("drop_low", pa.float64(), True),
        ("drop_high", pa.float64(), True),
        ("share", pa.float64(), True),
        ("share_low", pa.float64(), True),
        ("share_high", pa.float64(), True),
    ),
    "checkpoints": _schema(
        ("model", pa.string()),
        ("checkpoint", pa.string()),
        ("parameters", pa.int64()),
        ("parameters_nonembedding", pa.int64(), True),
        ("tokens", pa.int64()),
        ("flops", pa.float64()),
        ("flops_nonembedding", pa.float64(), True),
        ("validation_loss", pa.float64(), True),
    ),
    "scores": _schema(
        ("model", pa.string()),
        ("checkpoint", pa.string()),
        ("parameters", pa.int64()),
        ("tokens", pa.int64()),
        ("flops", pa.float64()),
        ("benchmark", pa.string()),
        ("num_items", pa.int32()),
        ("chance", pa.float64()),
        ("accuracy", pa.float64()),
        ("accuracy_se", pa.float64(), True),
        ("above_chance_se", pa.float64()),
        ("accuracy_norm", pa.float64()),
        ("p_choices_correct", pa.float64()),
        ("brier", pa.float64()),
        ("log_p_vocab_correct", pa.float64()),
    ),
    "reference": _schema(
        ("model", pa.string()),
        ("checkpoint", pa.string()),
        ("flops", pa.float64()),
        ("benchmark", pa.string()),
        ("metric", pa.string()),
        ("num_items", pa.int32()),
        ("num_items_published", pa.int32()),
        ("measured", pa.float64()),
        ("measured_se", pa.float64(), True),
        ("published", pa.float64()),
        ("published_se", pa.float64()),
        ("difference", pa.float64()),
        ("z", pa.float64(), True),
        ("status", pa.string()),
        ("note", pa.string(), True),
        ("source", pa.string()),
    ),
}


def write_table(
    table: pa.Table, path: str | os.PathLike[str], name: str, metadata: dict[str, Any] | None = None
) -> None:
    """Check ``table`` against the contract of ``name`` and write it to ``path`` in one piece.

    Required columns come first in the contract's order, extra ones after them in the order given. ``metadata`` is
    stored as JSON (sorted keys) under the key ``elusive``. Raises :class:`ElusiveError` on a missing column, a
    value that does not fit its type, or a null where the contract has none.
    """
    required = SCHEMAS[name]
    extra = [field for field in table.schema if field.name not in required.names]
    missing = [column for column in required.names if column not in table.column_names]
    if missing:
        raise ElusiveError(f"{path}: a {name} table needs the columns {missing}")
    schema = pa.schema([*required, *extra])
    try:
        table = table.select(schema.names).cast(pa.schema([f.with_nullable(True) for f in schema]))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise ElusiveError(f"{path}: the columns do not fit a {name} table: {error}") from error
    for field in required:
        if not field.nullable and table[field.name].null_count:
            raise ElusiveError(f"{path}: column {field.name!r} of a {name} table may not hold nulls")
    table = table.cast(schema)
    note = json.dumps(metadata or {}, sort_keys=True)
    table = table.replace_schema_metadata({METADATA_KEY: note.encode()})
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_table(path: str | os.PathLike[str], name: str, columns: list[str] | None = None) -> pa.Table:
    """Read the table ``name`` from ``path`` and check its columns and types against the contract.

    Raises :class:`ElusiveError` when the file is missing, is not (or only the first part of) a Parquet file, or
    lacks a required column.
    """
    try:
        # memory_map and threads change nothing in the result; one thread keeps a job within its `threads:`.
        with pq.ParquetFile(path) as file:
            table = file.read(columns=columns, use_threads=False)
    except FileNotFoundError as error:
        raise ElusiveError(f"{path}: there is no such {name} table") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise ElusiveError(
            f"{path}: not a readable Parquet file ({error}). It may be truncated: delete it and run again"
        ) from error
    wanted = SCHEMAS[name] if columns is None else [f for f in SCHEMAS[name] if f.name in columns]
    for field in wanted:
        if field.name not in table.column_names:
            raise ElusiveError(f"{path}: column {field.name!r} is missing, which every {name} table has")
        if table.schema.field(field.name).type != field.type:
            found = table.schema.field(field.name).type
            raise ElusiveError(f"{path}: column {field.name!r} has type {found}, a {name} table has {field.type}")
    return table


def write_csv(table: pa.Table, output: str | os.PathLike[str]) -> None:
    """Write a table without lists as CSV: a header line, nulls as nothing, floats with every digit they need."""
    with atomic_path(output) as temporary:
        # Not at the top of the module: whoever only reads tables does not wait for polars.
        import polars as pl

        pl.from_arrow(table).write_csv(temporary)


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The JSON object under the key ``elusive`` of a Parquet file; raises :class:`ElusiveError` if unreadable."""
    try:
        raw = pq.read_schema(Path(path)).metadata or {}
    except (pa.ArrowInvalid, OSError) as error:
        raise ElusiveError(f"{path}: not a readable Parquet file ({error})") from error
    if METADATA_KEY not in raw:
        raise ElusiveError(f"{path}: was not written by elusive (no {METADATA_KEY.decode()!r} metadata)")
    return json.loads(raw[METADATA_KEY])


def content_hash(table: pa.Table) -> str:
    """Hex SHA-256 over the columns and rows of a table, whatever its file and its metadata look like."""
    return hashlib.sha256(json.dumps(table.to_pydict(), sort_keys=True).encode()).hexdigest()
