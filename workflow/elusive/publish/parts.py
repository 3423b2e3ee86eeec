"""The tables of a published set, out of the workflow's: choices, items, runs, families, benchmarks and metrics.

``choices`` has a row for each item, choice and checkpoint. Rows follow the benchmarks and their items, then the choice,
then the checkpoints by compute: what differs from row to row are log-likelihoods alone, and a benchmark, which begins a
row group of its own, is read without the others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from elusive.analysis.correlations import LOSSES
from elusive.analysis.metrics import METRICS, VARIANTS, Choices, FilePath, by_checkpoint, match_choices
from elusive.errors import ElusiveError
from elusive.publish.identity import digests
from elusive.tables import OPTIONAL, SCHEMAS, read_metadata, read_table

Key = tuple[str, str]

CHAIN = ("log_p_vocab_correct", "p_vocab_correct", "p_choices_correct", "brier", "accuracy")
#: Metrics of which a larger value is neither better nor worse.
_NEUTRAL = frozenset({"log_p_vocab_incorrect", "p_vocab_incorrect", "log_p_vocab_choices"})
UNCONDITIONAL = "log_likelihood_unconditional"
_TEXTS = ("contexts", "continuations", "choices")


def choice_parts(
    benchmarks: Mapping[str, FilePath], logprobs: Mapping[str, Sequence[FilePath]], order: Sequence[Key]
) -> Iterator[pa.Table]:
    """The table ``published_choices`` of each benchmark in turn.

    ``benchmarks`` has the items table of each, ``logprobs`` its tables of log-likelihoods, ``order`` the checkpoints.
    The column ``log_likelihood_unconditional`` is there if any benchmark has it, null where one has not. Raises
    :class:`ElusiveError` when a checkpoint has no table, or one that does not fit the items.
    """
    paths = {name: by_checkpoint(files) for name, files in logprobs.items()}
    for name, found in paths.items():
        for key in order:
            if key not in found:
                raise ElusiveError(f"no log-likelihoods of {'/'.join(key)} on {name!r}")
    unconditional = {
        name: {key: UNCONDITIONAL in _columns(path) for key, path in found.items()} for name, found in paths.items()
    }
    any_has_it = any(value for found in unconditional.values() for value in found.values())
    for name, items in benchmarks.items():
        table = read_table(items, "items", columns=["item", "subject", "gold", "num_choices", "cluster"])
        yield _choices(table, items, name, [(key, paths[name][key]) for key in order], any_has_it)


def _columns(path: FilePath) -> list[str]:
    import pyarrow.parquet as pq

    return pq.read_schema(path).names


def _choices(
    items: pa.Table, path: FilePath, benchmark: str, checkpoints: Sequence[tuple[Key, FilePath]], unconditional: bool
) -> pa.Table:
    choices = Choices.of(items, path)
    frames = [match_choices(choices, read_table(file, "logprobs"), file) for _, file in checkpoints]
    rows, count = len(choices.frame), len(frames)
    # One row after the other, all checkpoints of each.
    place = np.repeat(np.arange(rows), count)
    item_of_row = np.repeat(np.arange(len(items)), choices.num_choices)
    own = pa.array(item_of_row[place])
    described = choices.frame.to_arrow()

    def each(column: str, type: pa.DataType) -> pa.Array:
        """A column of every checkpoint, theirs side by side in each row."""
        if all(column in frame.columns for frame in frames):
            stacked = pl.DataFrame({str(i): frame[column] for i, frame in enumerate(frames)})
        else:
            empty = pl.Series([None] * rows, dtype=pl.Float64)
            stacked = pl.DataFrame(
                {str(i): frame[column] if column in frame.columns else empty for i, frame in enumerate(frames)}
            )
        merged = pa.chunked_array([stacked[name].to_arrow() for name in stacked.columns]).combine_chunks()
        order = pa.array(np.arange(rows * count).reshape(count, rows).T.ravel())
        return merged.take(order).cast(type)

    schema = SCHEMAS["published_choices"]
    columns: dict[str, Any] = {
        "model": pa.array([key[0] for key, _ in checkpoints] * rows, pa.string()),
        "checkpoint": pa.array([key[1] for key, _ in checkpoints] * rows, pa.string()),
        "benchmark": pa.repeat(benchmark, rows * count),
        "item": items["item"].combine_chunks().take(own),
        "choice": described["choice"].combine_chunks().take(pa.array(place)),
        "is_gold": described["is_gold"].combine_chunks().take(pa.array(place)),
    }
    for name in ("log_likelihood", "num_tokens", "num_bytes", "num_chars", "is_greedy"):
        columns[name] = each(name, schema.field(name).type)
    for name in ("subject", "cluster"):
        known = name in items.column_names
        columns[name] = items[name].combine_chunks().take(own) if known else pa.nulls(rows * count, pa.string())
    if unconditional:
        columns[UNCONDITIONAL] = each(UNCONDITIONAL, pa.float64())
    return pa.table(columns)


def item_table(benchmarks: Mapping[str, FilePath], texts: Mapping[str, bool]) -> pa.Table:
    """The table ``published_items``: ``texts`` says of each benchmark whether its texts go in.

    Without texts of any, their columns are left out. Raises :class:`ElusiveError` where texts are asked for that the
    items table has not.
    """
    some = any(texts.values())
    fields = [*SCHEMAS["published_items"], *(OPTIONAL["published_items"] if some else ())]
    schema = pa.schema([field.remove_metadata() for field in fields])
    tables = []
    for name, path in benchmarks.items():
        table, metadata = read_table(path, "items"), read_metadata(path)
        count = len(table)
        nothing = pa.nulls(count, pa.string())
        columns: dict[str, Any] = {column: table[column] for column in ("item", "subject", "gold", "num_choices")}
        columns["cluster"] = table["cluster"] if "cluster" in table.column_names else nothing
        columns |= digests(table)
        about = origin(metadata)
        constant = {"benchmark": name, **{key: about[key] for key in ("dataset", "revision", "split")}}
        columns |= {key: nothing if value is None else pa.repeat(str(value), count) for key, value in constant.items()}
        if some:
            columns |= {column: pa.nulls(count, pa.list_(pa.string())) for column in _TEXTS}
        if texts[name]:
            if table["contexts"].null_count or table["continuations"].null_count:
                raise ElusiveError(f"{path}: the texts of {name} are to be published, but it does not have them")
            columns |= {column: table[column] for column in _TEXTS if column in table.column_names}
        tables.append(pa.table({field.name: columns[field.name] for field in schema}, schema=schema))
    return pa.concat_tables(tables)


def origin(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """``dataset``, ``revision`` (a commit where one is known) and ``split`` of items with such ``metadata``.

    Of a file only its name: where it lies concerns nobody.
    """
    dataset = metadata.get("dataset")
    if dataset is not None and metadata.get("source") == "file":
        dataset = PurePath(dataset).name
    return {
        "dataset": dataset,
        "revision": metadata.get("commit") or metadata.get("revision"),
        "split": metadata.get("split"),
    }


def item_metadata(path: FilePath) -> dict[str, Any]:
    """The metadata of an items table, without where a file lies."""
    metadata = read_metadata(path)
    return metadata | ({"dataset": origin(metadata)["dataset"]} if metadata.get("source") == "file" else {})


def is_partial(path: FilePath) -> bool:
    """Whether in every item of an items table one text, common to its choices, is scored.

    Where the texts are not known, what the metadata say of them.
    """
    column = read_table(path, "items", columns=["continuations"])["continuations"]
    if column.null_count:
        return bool(read_metadata(path).get("partial", False))
    return bool(pc.all(pc.equal(pc.list_value_length(column), 1)).as_py())


def run_table(
    benchmarks: Mapping[str, FilePath], logprobs: Mapping[str, Sequence[FilePath]], order: Sequence[Key]
) -> pa.Table:
    """The table ``published_runs``: what is recorded of each checkpoint on each benchmark."""
    rows = []
    for name, path in benchmarks.items():
        count = len(read_table(path, "items", columns=["item"]))
        found = by_checkpoint(logprobs[name])
        for key in order:
            metadata = read_metadata(found[key])
            row = {"model": key[0], "checkpoint": key[1], "benchmark": name, "num_items": count}
            row |= {c: metadata.get(c) for c in ("source", "repo", "revision", "dtype", "device", "protocol")}
            rows.append(row | {"metadata": json.dumps(metadata, sort_keys=True)})
    return pa.Table.from_pylist(rows, schema=SCHEMAS["published_runs"])


def family_table(families: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The table ``families``: a row a member, of families as a configuration spells them."""
    rows = [
        {"family": family["name"], "label": family["label"], "plotted": family["plotted"], "model": m, "checkpoint": c}
        for family in families
        for m, c in (member.split("/") for member in family["members"])
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMAS["families"])


def benchmark_table(
    described: Sequence[Mapping[str, Any]], benchmarks: Mapping[str, FilePath], texts: Mapping[str, bool]
) -> pa.Table:
    """The table ``benchmarks``; ``described`` are the benchmarks of :func:`elusive.publish.description.describe`."""
    rows = []
    for entry in described:
        path = benchmarks[entry["name"]]
        metadata, items = read_metadata(path), read_table(path, "items", columns=["subject"])
        facts = entry["facts"]
        rows.append(
            {
                "benchmark": entry["name"],
                "label": entry["label"],
                "num_items": len(items),
                "num_items_total": metadata.get("num_items_total"),
                "num_subjects": pc.count_distinct(items["subject"]).as_py(),
                "chance": metadata["chance"],
                **origin(metadata),
                **{key: metadata.get(key) for key in ("split_note", "origin", "protocol", "num_fewshot")},
                **{key: facts[key] for key in ("license", "license_source", "license_note", "homepage", "citation")},
                "texts": texts[entry["name"]],
            }
        )
    return pa.Table.from_pylist(rows, schema=SCHEMAS["benchmarks"])


def metric_table(present: Sequence[str]) -> pa.Table:
    """The table ``metric_descriptions`` of the metrics ``present``."""
    fields = {field.name: field for field in (*SCHEMAS["metrics"], *OPTIONAL["metrics"])}
    rows = []
    for name in (name for name in (*METRICS, *VARIANTS) if name in set(present)):
        about = {key.decode(): value.decode() for key, value in (fields[name].metadata or {}).items()}
        rows.append(
            {
                "metric": name,
                "description": about["description"],
                "unit": about.get("unit"),
                "higher_is_better": None if name in _NEUTRAL else name not in LOSSES,
                "in_chain": name in CHAIN,
            }
        )
    return pa.Table.from_pylist(rows, schema=SCHEMAS["metric_descriptions"])
