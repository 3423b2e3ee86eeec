"""A published set as a source: its items tables, and its log-likelihoods as scoring would have written them.

Files are checked against the manifest before they are read. Log-likelihoods belong to items by id, and an id to a text
by SHA-256: items that come from elsewhere, as those of a built-in benchmark do, must be the very same ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from elusive import logs
from elusive.analysis.metrics import FilePath
from elusive.configuration.published import Published
from elusive.errors import ElusiveError
from elusive.files import sha256_file
from elusive.publish.dataset import CONTRACT
from elusive.publish.identity import DIGESTS, digests
from elusive.publish.parts import UNCONDITIONAL
from elusive.tables import SCHEMAS, check_version, read_table, write_table

logger = logs.get(__name__)

_TEXTS = ("contexts", "continuations", "choices")


def read_part(published: Published, table: str, benchmark: str) -> pa.Table:
    """The rows of ``benchmark`` in a table of the set, in their order.

    Raises :class:`ElusiveError` when the file is missing, is not the one that the manifest lists, or lacks a column.
    """
    path = published.file(table)
    known = published.manifest["tables"].get(table, {}).get("sha256")
    try:
        found = sha256_file(path)
    except OSError as error:
        raise ElusiveError(f"{path}: cannot be read ({error.strerror}); download the data set again") from error
    if found != known:
        raise ElusiveError(
            f"{path}: is not the file that {published.path} lists (SHA-256); download the data set again"
        )
    check_version(published.manifest["schema_version"], published.path)
    rows = pq.read_table(path, filters=[("benchmark", "=", benchmark)], use_threads=False)
    missing = [column for column in SCHEMAS[CONTRACT.get(table, table)].names if column not in rows.column_names]
    if missing:
        raise ElusiveError(f"{path}: column {missing[0]!r} is missing")
    return rows


def write_items(published: Published, benchmark: str, output: FilePath) -> None:
    """Write the items table of ``benchmark``, without texts where the set keeps them back: these are null then.

    With texts, the table is the one that was published, byte for byte.
    """
    rows = read_part(published, "items", benchmark)
    entry = next(entry for entry in published.manifest["benchmarks"] if entry["name"] == benchmark)
    count, metadata = len(rows), dict(entry["metadata"])
    if count != entry["num_items"]:
        raise ElusiveError(f"{published.path}: {benchmark} has {entry['num_items']} items, but there are {count}")
    columns = {name: rows[name] for name in ("item", "subject", "gold", "num_choices")}
    if entry["texts"]:
        known = [name for name in _TEXTS if name in rows.column_names and rows[name].null_count < count]
        columns |= {name: rows[name] for name in (*known, "cluster")}
    else:
        columns |= {name: pa.nulls(count, pa.list_(pa.string())) for name in _TEXTS}
        columns |= {name: rows[name] for name in ("cluster", *DIGESTS)}
        metadata["partial"] = entry["partial"]
    write_table(pa.table(columns), output, "items", metadata)
    texts = "with" if entry["texts"] else "without"
    logger.info("%s: %d items of %s, %s texts", benchmark, count, published.directory, texts)


def write_logprobs(
    published: Published, benchmark: str, items: FilePath, outputs: Mapping[tuple[str, str], FilePath]
) -> None:
    """Write the tables of log-likelihoods of ``benchmark`` to ``outputs``, (model, checkpoint) -> file.

    ``items`` is the items table in use: the set's own, or one whose items are all in the set. Raises
    :class:`ElusiveError` when one of them is not, or is another one there.
    """
    wanted = read_table(items, "items")
    check_items(wanted, read_part(published, "items", benchmark), items, published, benchmark)
    choices = read_part(published, "choices", benchmark)
    runs = read_part(published, "runs", benchmark)
    described = {(row["model"], row["checkpoint"]): row["metadata"] for row in runs.to_pylist()}
    choices = choices.filter(pc.is_in(choices["item"], value_set=wanted["item"].combine_chunks()))
    names = [*SCHEMAS["logprobs"].names, *(name for name in (UNCONDITIONAL,) if name in choices.column_names)]
    for key, output in outputs.items():
        if key not in described:
            raise ElusiveError(f"{published.file('runs')}: has nothing of {'/'.join(key)} on {benchmark}")
        own = choices.filter(pc.and_(pc.equal(choices["model"], key[0]), pc.equal(choices["checkpoint"], key[1])))
        table = _in_order(own.select(names), wanted)
        if UNCONDITIONAL in names and table[UNCONDITIONAL].null_count == len(table):
            table = table.drop_columns([UNCONDITIONAL])
        write_table(table, output, "logprobs", json.loads(described[key]))
    logger.info("%s: log-likelihoods of %d checkpoints, from %s", benchmark, len(outputs), published.directory)


def _in_order(table: pa.Table, items: pa.Table) -> pa.Table:
    """``table`` in the order of the items, then the choice."""
    position = pc.index_in(table["item"], value_set=items["item"].combine_chunks())
    keyed = table.append_column("__position", position)
    order = pc.sort_indices(keyed, sort_keys=[("__position", "ascending"), ("choice", "ascending")])
    return table.take(order).combine_chunks()


def check_items(wanted: pa.Table, of_set: pa.Table, path: FilePath, published: Published, benchmark: str) -> None:
    """Raise :class:`ElusiveError` unless each wanted item is in the set with the same texts, choices and gold."""
    there = {row["item"]: row for row in of_set.to_pylist()}
    own = digests(wanted)
    columns = ("item", "gold", "num_choices")
    for i, (item, gold, count) in enumerate(zip(*(wanted[name].to_pylist() for name in columns), strict=True)):
        where = f"{path}: item {item!r} of {benchmark}"
        if item not in there:
            raise ElusiveError(
                f"{where} is not in {published.directory}, which has {len(there)} items: take its limit and seed "
                f"(configuration.yaml there), or its own items with `{{name: {benchmark}, source: published}}`"
            )
        row = there[item]
        if (gold, count) != (row["gold"], row["num_choices"]):
            raise ElusiveError(f"{where} has right choice {gold} of {count}, in {published.directory} {_gold(row)}")
        for name, column in DIGESTS.items():
            if own[name][i] is None or own[name][i] != row[name]:
                raise ElusiveError(
                    f"{where} is another one in {published.directory}: its {column} have SHA-256 {own[name][i]}, there "
                    f"{row[name]}"
                )


def _gold(row: Mapping[str, Any]) -> str:
    return f"{row['gold']} of {row['num_choices']}"


def outputs_of(files: Sequence[FilePath], keys: Sequence[Sequence[str]]) -> dict[tuple[str, str], FilePath]:
    """(model, checkpoint) -> file, of as many ``keys`` as ``files``."""
    return {(model, checkpoint): file for file, (model, checkpoint) in zip(files, keys, strict=True)}
