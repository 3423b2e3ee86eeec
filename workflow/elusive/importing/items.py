"""Items tables out of logs, for benchmarks whose items are what the logs say (``source: logs``).

Texts, order and ids come from the first checkpoint: ``{benchmark}-{number:05d}``, or ``{subject}-{number:04d}`` where
several tasks make up the benchmark; plain tables keep their own ids. ``items: common`` keeps those that all logs have.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import pyarrow as pa

from elusive import logs
from elusive.errors import ElusiveError
from elusive.importing import checks
from elusive.importing.index import Index
from elusive.importing.matching import Logged, only_run
from elusive.importing.sources import Reading
from elusive.importing.version import IMPORTER_VERSION
from elusive.items.build import choose
from elusive.tables import OPTIONAL, SCHEMAS, write_table

logger = logs.get(__name__)


@dataclass(frozen=True)
class Row:
    """A row of the items table, and the task that it is from."""

    item: str
    subject: str | None
    contexts: Sequence[str] | None
    continuations: Sequence[str] | None
    gold: int
    num_choices: int
    choices: Sequence[str] | None
    cluster: str | None
    identity: str
    task: str


def read_logged(index: Index, checkpoint: str, benchmark: str) -> list[Logged]:
    """What the logs of a checkpoint have on a benchmark, task by task, of several runs the one that counts."""
    result = []
    for runs in index.checkpoints[checkpoint][benchmark].values():
        logged = []
        for source in runs:
            reading = Reading(source, index.layout)
            logged.append(Logged(source, reading.ordered()))
            for warning in reading.warnings:
                logger.warning("warning: %s", warning)
        if len(logged) > 1:
            kept = only_run(logged)
            logger.warning(
                "warning: %s: %d runs of %s with equal numbers; this one is taken",
                *(kept.source.file, len(logged)),
                kept.source.task,
            )
            logged = [kept]
        result += logged
    return result


def build_items(spec: Mapping[str, Any], indexes: Sequence[str | os.PathLike[str]], output: str) -> None:
    """Write the items table of the benchmark ``spec`` to ``output``.

    ``spec`` has the keys of :func:`elusive.configuration.imported.build_logged` and ``seed``; ``indexes`` are those of
    the imported models, in the configuration's order. Besides the contract's columns the table has ``choices``,
    ``cluster`` and ``identity``, by which the logs of other checkpoints are matched.
    """
    name = spec["name"]
    every = [Index.read(path) for path in indexes]
    pairs = [(index, checkpoint) for index in every for checkpoint in index.checkpoints]
    first, reference = pairs[0]
    logged = read_logged(first, reference, name)
    rows = list(_rows(spec, logged))
    total = len(rows)
    if spec["items"] == "common" and len(pairs) > 1:
        rows = _common(name, rows, pairs[1:])
        logger.info("%s: %d items are in all logs, of %d in that of %s", name, len(rows), total, reference)
    note = None
    if len(rows) < total:
        note = f"the {len(rows):,} items that all logs have, of {total:,} in that of {first.model}/{reference}"
    kept = [rows[i] for i in choose(rows, spec.get("limit"), spec.get("seed") or 0)]
    shots = {entry.source.about.get("num_fewshot") for entry in logged}
    about = logged[0].source.about
    harness = about.get("harness", {"table": "a plain table"}.get(first.source, first.source))
    asked = next(iter(shots)) if len(shots) == 1 else None
    metadata = {
        "benchmark": name,
        "label": spec.get("label", name),
        "source": "logs",
        "items": spec["items"],
        "dataset": about.get("dataset"),
        "split": None,
        "split_note": note,
        "origin": f"the logs of {first.model}/{reference}",
        "reference": _reference(first, reference, logged),
        "protocol": f"as logged by {harness}" + ("" if asked is None else f", {asked}-shot"),
        "num_fewshot": asked,
        "num_items_total": len(rows),
        "limit": spec.get("limit") if len(kept) < len(rows) else None,
        "seed": spec.get("seed") or 0,
        "chance": math.fsum(1 / row.num_choices for row in kept) / len(kept),
        "importer": IMPORTER_VERSION,
    }
    write_table(_table(kept), output, "items", metadata)
    logger.info("%s: %d items, from %s", name, len(kept), metadata["origin"])


def _reference(index: Index, checkpoint: str, logged: Sequence[Logged]) -> str:
    facts = logged[0].source.describe().partition(" (")[2]
    name = PurePath(logged[0].source.file).name
    return f"{name} of {index.model}/{checkpoint}" + (f" ({facts}" if facts else "")


def _rows(spec: Mapping[str, Any], logged: Sequence[Logged]) -> Iterator[Row]:
    """The rows of the items table, of each task in turn."""
    name, seen = spec["name"], {}
    for entry in logged:
        source = entry.source
        subject = subject_of(source.task, spec["task"]) if spec.get("subject") == "task" else None
        for record in entry.records:
            if "joined" in record.measures:
                raise ElusiveError(
                    f"{source.file}: has context and choice in one piece, as lm-eval wrote them before 0.4: only "
                    "built-in benchmarks can be found in it, by their texts"
                )
            checks.check(record, source.file)
            if source.format == "table":
                own = record.native_id
            else:
                own = f"{name}-{record.number:05d}" if subject is None else f"{subject}-{record.number:04d}"
            if own in seen:
                raise ElusiveError(f"{source.file}: the id {own!r} of an item is already that of one in {seen[own]}")
            seen[own] = source.file
            yield Row(
                item=own,
                subject=record.subject if subject is None else subject,
                contexts=record.contexts or None,
                continuations=record.continuations or None,
                gold=record.gold,
                num_choices=record.num_choices,
                choices=record.choices,
                cluster=record.cluster,
                identity=record.identity.hex(),
                task=source.task,
            )


def subject_of(task: str, patterns: Sequence[str]) -> str:
    """The subject that a task stands for: what the only * of the only pattern matches, else its whole name."""
    if len(patterns) == 1 and patterns[0].count("*") == 1 and not set(patterns[0]) & set("?["):
        before, after = map(re.escape, patterns[0].split("*"))
        found = re.fullmatch(f"{before}(.+){after}", task)
        return found[1] if found else task
    return task


def _common(name: str, rows: list[Row], others: Sequence[tuple[Index, str]]) -> list[Row]:
    """The rows whose items all ``others`` have too, equal ones as often as in the log with the fewest of them."""
    for index, checkpoint in others:
        logged = read_logged(index, checkpoint, name)
        golds: dict[tuple[str, str], set[int | None]] = {}
        there: Counter[tuple[str, str]] = Counter()
        for entry in logged:
            for record in entry.records:
                key = (entry.source.task, record.identity.hex())
                there[key] += 1
                golds.setdefault(key, set()).add(record.gold)
        kept = []
        for row in rows:
            key = (row.task, row.identity)
            if not there[key]:
                continue
            if not golds[key] & {row.gold, None}:
                raise ElusiveError(
                    f"{index.model}/{checkpoint}: item {row.item!r}: choice {golds[key].pop()} is right in its log, "
                    f"but choice {row.gold} in the first one"
                )
            there[key] -= 1
            kept.append(row)
        rows = kept
        if not rows:
            raise ElusiveError(
                f"{name}: no item is in all logs: that of {index.model}/{checkpoint} shares none with those before it"
            )
    return rows


def _table(rows: Sequence[Row]) -> pa.Table:
    fields = [*SCHEMAS["items"], *(OPTIONAL["items"].field(column) for column in ("choices", "cluster", "identity"))]
    columns = {field.name: [getattr(row, field.name) for row in rows] for field in fields}
    return pa.table(columns, schema=pa.schema(fields))
