"""The items table of a benchmark: rows rendered to items, checked, named, and cut to a limit.

Order is that of the source. Ids are the dataset's own where it has them, else the benchmark's name and a running
number from 0 in the full set, or the subject's name and a running number within it (as lm-eval numbers documents).
A limit neither changes ids nor order.
"""

from __future__ import annotations

import difflib
import hashlib
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from elusive import logs
from elusive.errors import ElusiveError
from elusive.files import sha256_file
from elusive.items import benchmarks, own
from elusive.items.archive import Archive
from elusive.items.benchmarks import BENCHMARKS, BenchmarkDefinition, Item
from elusive.items.sources import archive_rows, archive_shots
from elusive.tables import SCHEMAS, read_metadata, read_table, write_table

logger = logs.get(__name__)


@dataclass(frozen=True)
class ItemSet:
    """An items table in memory: its metadata and its items in order."""

    metadata: dict[str, Any]
    items: list[Item]


def build_items(spec: dict[str, Any], output: str | os.PathLike[str], archive: str | os.PathLike[str] | None) -> None:
    """Write the items table of the benchmark ``spec`` to ``output``.

    ``spec`` holds ``name`` and optionally ``label``, ``limit`` (the number of items to keep) and ``seed`` (default
    0, which items those are) and ``num_fewshot`` (solved examples before the question, where the benchmark's definition
    has them); a benchmark of one's own has the keys of :mod:`elusive.items.own` besides. Built-in
    benchmarks are read from ``archive``. Besides the contract's columns the table has ``choices``, list<string>
    with one text per choice. Raises :class:`ElusiveError` when an item does not fit its benchmark.
    """
    name, limit, seed = spec["name"], spec.get("limit"), spec.get("seed") or 0
    if "file" in spec:
        full = _own_set(spec)
    else:
        definition = _definition(name)
        if archive is None:
            raise ElusiveError(f"benchmark {name!r} is read from the archive, but no --source was given")
        with Archive(archive) as opened:
            full = archive_set(definition, opened, spec.get("num_fewshot", 0))
    kept = [full.items[index] for index in choose(full.items, limit, seed)]
    metadata = {
        **full.metadata,
        "label": spec.get("label") or full.metadata["label"],
        "num_items_total": len(full.items),
        "limit": limit if len(kept) < len(full.items) else None,
        "seed": seed,
        "chance": math.fsum(1 / item.num_choices for item in kept) / len(kept),
    }
    write_table(_table(kept), output, "items", metadata)
    logger.info("%s: %d of %d items", name, len(kept), len(full.items))


def load_items(path: str | os.PathLike[str]) -> ItemSet:
    """Read an items table, its items in the table's order."""
    table = read_table(path, "items")
    columns = ["contexts", "continuations", "choices", "gold", "subject", "item"]
    rows = zip(*(table[column].to_pylist() for column in columns), strict=True)
    items = [Item(tuple(c), tuple(k), tuple(t), gold, subject, item) for c, k, t, gold, subject, item in rows]
    return ItemSet(read_metadata(path), items)


def evaluated_texts(archive: Archive) -> Iterator[str]:
    """The text of every item of every built-in benchmark, full sets, for a search of training text for test items.

    One string per item: each context followed by its continuation; when all choices share a context, it is followed
    by the right one, and the others stand on lines of their own.
    """
    for definition in BENCHMARKS.values():
        for item in archive_set(definition, archive).items:
            if len(item.contexts) > 1:
                yield "\n".join(context + continuation for context, continuation in item.requests())
            else:
                others = [text for index, text in enumerate(item.continuations) if index != item.gold]
                yield "\n".join([item.contexts[0] + item.continuations[item.gold], *others])


def archive_set(definition: BenchmarkDefinition, archive: Archive, num_fewshot: int = 0) -> ItemSet:
    """All items of a built-in benchmark from the archive, checked against the definition."""
    source = archive_rows(definition.name, archive)
    if num_fewshot > definition.max_shots:
        raise ElusiveError(f"{definition.name}: num_fewshot is {num_fewshot}, at most {definition.max_shots} are there")
    if num_fewshot:
        shots = archive_shots(definition.name, definition.shots_split, archive)
        items = [definition.render_shots(row, shots[row["subject"]][:num_fewshot]) for row in source.rows]
    else:
        items = [definition.render(row) for row in source.rows]
    check(definition, source.split, items)
    metadata = {
        "benchmark": definition.name,
        "label": definition.label,
        "source": "archive",
        "dataset": definition.dataset,
        "split": source.split,
        "split_note": source.split_note,
        "origin": source.origin,
        "protocol": benchmarks.protocol(num_fewshot),
        "num_fewshot": num_fewshot,
        "version": definition.version,
    }
    return ItemSet(metadata, with_ids(definition.name, items))


def check(definition: BenchmarkDefinition, split: str, items: Sequence[Item]) -> None:
    """Raise :class:`ElusiveError` unless counts, numbers of choices and gold indexes are what they must be."""
    name = definition.name
    expected = definition.num_items[split]
    if len(items) != expected:
        raise ElusiveError(f"{name}: found {len(items)} items of the {split} split, expected {expected}")
    if definition.subjects:
        found = Counter(item.subject for item in items)
        wrong = {s: (found[s], n) for s, n in definition.subjects.items() if found[s] != n}
        if wrong:
            raise ElusiveError(f"{name}: numbers of items per subject (found, expected) are wrong: {wrong}")
    for number, item in enumerate(items):
        if item.num_choices not in definition.num_choices:
            raise ElusiveError(f"{name}: row {number}: {item.num_choices} choices, expected {definition.num_choices}")
        if not 0 <= item.gold < item.num_choices:
            raise ElusiveError(f"{name}: row {number}: gold index {item.gold}, but {item.num_choices} choices")
        if not all(choice.strip() for choice in item.choices):
            raise ElusiveError(f"{name}: row {number}: an empty choice in {list(item.choices)}")


def with_ids(benchmark: str, items: Sequence[Item]) -> list[Item]:
    """The items with their final ids; dataset ids must be unique."""
    natives = [item.item for item in items]
    if None not in natives:
        repeated = [native for native, count in Counter(natives).items() if count > 1]
        if repeated:
            raise ElusiveError(f"{benchmark}: ids that occur more than once: {repeated[:5]}")
        return list(items)
    if any(item.subject is None for item in items):
        return [replace(item, item=f"{benchmark}-{number:05d}") for number, item in enumerate(items)]
    numbers: Counter[str | None] = Counter()
    named = []
    for item in items:
        named.append(replace(item, item=f"{item.subject}-{numbers[item.subject]:04d}"))
        numbers[item.subject] += 1
    return named


def choose(items: Sequence[Item], limit: int | None, seed: int) -> list[int]:
    """Positions, ascending, of the at most ``limit`` items to keep.

    Within a subject items are ranked by a hash of seed and id, so that a choice depends on nothing else. The item of
    rank r of a subject with n items comes at (r + 1/2) / n, and the first ``limit`` are kept: every subject gets its
    share to within rounding (the Sainte-Laguë method), and a larger limit keeps every item of a smaller one, which
    rounding by largest remainders would not ensure.
    """
    if limit is None or limit >= len(items):
        return list(range(len(items)))
    if limit < 1:
        raise ElusiveError(f"limit: {limit} items cannot be kept; give a number of at least 1, or none for all")
    ranked = sorted((hashlib.sha256(f"{seed}\0{item.item}".encode()).digest(), i) for i, item in enumerate(items))
    subjects = defaultdict(list)
    for digest, position in ranked:
        subjects[items[position].subject].append((digest, position))
    keys = [
        ((2 * rank + 1) / len(members), digest, position)
        for members in subjects.values()
        for rank, (digest, position) in enumerate(members)
    ]
    return sorted(position for _, _, position in sorted(keys)[:limit])


def _definition(name: str) -> BenchmarkDefinition:
    if name not in BENCHMARKS:
        near = difflib.get_close_matches(name, BENCHMARKS, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ElusiveError(f"there is no built-in benchmark {name!r}{hint}. Built in are: {', '.join(BENCHMARKS)}")
    return BENCHMARKS[name]


def _own_set(spec: dict[str, Any]) -> ItemSet:
    benchmark = own.read_spec(spec)
    templates = {key: spec[key] for key in benchmark.fields}
    metadata = {
        "benchmark": benchmark.name,
        "label": benchmark.name,
        "source": "file",
        "dataset": spec["file"],
        "split": None,
        "split_note": None,
        "origin": f"{benchmark.file.name}, SHA-256 {sha256_file(benchmark.file)}",
        "protocol": own.PROTOCOL,
        "templates": {**templates, "delimiter": benchmark.delimiter},
        "version": own.VERSION,
    }
    return ItemSet(metadata, with_ids(benchmark.name, benchmark.items()))


def _table(items: Sequence[Item]) -> pa.Table:
    fields = [*SCHEMAS["items"], pa.field("choices", pa.list_(pa.string()))]
    columns = {name: [getattr(item, name) for item in items] for name in (field.name for field in fields)}
    return pa.table(columns, schema=pa.schema(fields))
