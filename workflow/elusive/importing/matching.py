"""Find the items of an items table in a checkpoint's log, by their texts, and word what is not there.

Equal texts are one item, whatever its number in the log: the harness counts documents in its own way. Where a benchmark
asks the same thing twice, as MMLU does, equal texts are paired in the order of their numbers, those with the right gold
first.
"""

from __future__ import annotations

import itertools
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from elusive.errors import ElusiveError
from elusive.importing.records import Record, item_identity, joined_identity, text_identity
from elusive.importing.sources import Source
from elusive.tables import content_hash, read_metadata, read_table

#: Characters that a message shows of a text from where it differs, and before.
_AFTER, _BEFORE = 60, 25


@dataclass(frozen=True)
class Logged:
    """The records of one task in a log, by number, and where they come from."""

    source: Source
    records: Sequence[Record]


@dataclass(frozen=True)
class Items:
    """An items table as the importer sees it.

    ``identities`` are those of :attr:`Record.identity`, or of the texts alone for a built-in benchmark
    (``from_logs`` false); ``joined`` those of contexts and continuations in one. ``texts`` has the text of each choice,
    where the table has them.
    """

    path: str
    benchmark: str
    ids: Sequence[str]
    identities: Sequence[bytes]
    joined: Sequence[bytes]
    golds: Sequence[int]
    counts: Sequence[int]
    texts: Sequence[Sequence[str] | None]
    contexts: Sequence[Sequence[str] | None]
    continuations: Sequence[Sequence[str] | None]
    metadata: Mapping[str, Any]
    content: str

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Items:
        """Read the table at ``path``. Raises :class:`ElusiveError` where nothing says what its items are."""
        table, metadata = read_table(path, "items"), read_metadata(path)
        columns = {name: table[name].to_pylist() for name in table.column_names}
        texts = list(zip(columns["contexts"], columns["continuations"], columns["num_choices"], strict=True))
        if "identity" in columns:
            identities = [bytes.fromhex(identity) for identity in columns["identity"]]
        else:
            if any(contexts is None or continuations is None for contexts, continuations, _ in texts):
                raise ElusiveError(
                    f"{path}: has no texts, so that items of logs cannot be found in it; take the benchmark from a "
                    "source that has them, or from the logs (source: logs)"
                )
            identities = [item_identity(*entry) for entry in texts]
        return cls(
            path=str(path),
            benchmark=metadata["benchmark"],
            ids=columns["item"],
            identities=identities,
            joined=[] if "identity" in columns else [joined_identity(*entry) for entry in texts],
            golds=columns["gold"],
            counts=columns["num_choices"],
            texts=columns.get("choices", [None] * table.num_rows),
            contexts=columns["contexts"],
            continuations=columns["continuations"],
            metadata=metadata,
            content=content_hash(table),
        )

    @property
    def from_logs(self) -> bool:
        """Whether the table was made from logs."""
        return self.metadata.get("source") == "logs"

    @property
    def strict(self) -> bool:
        """Whether every log must have these items and no others."""
        return self.from_logs and self.metadata.get("items") == "strict"

    def identity(self, record: Record) -> bytes | None:
        """What a record is known by in this table, None if it has no texts to be known by."""
        if self.from_logs:
            return record.identity
        if "joined" in record.measures:
            return record.identity
        if record.contexts is None or record.continuations is None:
            return None
        return text_identity(record.contexts, record.continuations)


def match(items: Items, logged: Sequence[Logged]) -> list[tuple[Record, Source]]:
    """The record of each item, and its source, in the order of the table.

    Raises :class:`ElusiveError` when an item is not in the log, has another gold there, or, where the log must have
    these items alone, when it has others.
    """
    rows = [(record, entry.source) for entry in logged for record in entry.records]
    found: dict[bytes | None, list[int]] = defaultdict(list)
    for position, (record, _) in enumerate(rows):
        found[items.identity(record)].append(position)
    if None in found:
        _, source = rows[found[None][0]]
        raise ElusiveError(
            f"{source.file}: has no texts as they were scored, by which the items of {items.benchmark} could be found; "
            "import it with `source: logs` under a name of its own"
        )
    result: list[tuple[Record, Source] | None] = []
    wrong: tuple[int, int] | None = None
    one_piece = bool(rows) and "joined" in rows[0][0].measures and not items.from_logs
    identities = items.joined if one_piece else items.identities
    for index, (identity, gold) in enumerate(zip(identities, items.golds, strict=True)):
        candidates = found.get(identity, [])
        fitting = [position for position in candidates if _right(items, index, rows[position][0])]
        if candidates and not fitting:
            wrong = wrong or (index, candidates[0])
        if not fitting:
            result.append(None)
            continue
        candidates.remove(fitting[0])
        record, source = rows[fitting[0]]
        result.append((record._replace(gold=gold, choices=record.choices or items.texts[index]), source))
    missing = [index for index, entry in enumerate(result) if entry is None]
    if wrong is not None:
        raise _other_gold(items, wrong[0], *rows[wrong[1]])
    more = sum(map(len, found.values()))
    expected = items.metadata.get("num_items_total", len(items.ids))
    if missing or (items.strict and len(rows) != expected):
        raise _other_items(items, missing, more, rows)
    return [entry for entry in result if entry is not None]


def _right(items: Items, index: int, record: Record) -> bool:
    """Whether a record has the item's gold, or does not say which it has."""
    text, texts = record.measures.get("right_text"), items.texts[index]
    if isinstance(text, str) and texts is not None:
        return text.strip() == texts[items.golds[index]].strip()
    return record.gold in (items.golds[index], None)


def _other_gold(items: Items, index: int, record: Record, source: Source) -> ElusiveError:
    said = repr(record.measures["right_text"]) if "right_text" in record.measures else f"choice {record.gold}"
    return ElusiveError(
        f"{source.describe()}: item {items.ids[index]!r}: {said} is right in the log, but choice "
        f"{items.golds[index]} in {_reference(items)}"
    )


def _reference(items: Items) -> str:
    """Where the items come from, as far as it matters to somebody whose log differs from them."""
    if items.from_logs:
        return str(items.metadata.get("reference", "the first log"))
    return f"the built-in items ({items.metadata.get('protocol', 'protocol not known')})"


def _other_items(
    items: Items, missing: Sequence[int], more: int, rows: Sequence[tuple[Record, Source]]
) -> ElusiveError:
    sources = list(dict.fromkeys(source.file for _, source in rows))
    first = rows[0][1] if rows else None
    where = first.describe() if first and len(sources) == 1 else f"{len(sources)} files, {first.describe()} the first"
    name, total = items.benchmark, len(items.ids)
    way_out = f"another prompt is imported as it is by `source: logs`, under another name than {name}"
    if items.from_logs:
        way_out = "`items: common` takes the items that all logs have"
    if len(missing) == total:
        text = f"none of its {len(rows)} items has the texts of {name}"
    else:
        text = f"has {total - len(missing)} of the {total} items of {name}"
        text += f", and {more} others" if more else ""
    difference = ""
    if missing and (len(missing) == total or len(rows) == total):
        candidate = _counterpart(items, missing[0], rows)
        if candidate is not None:
            difference = (
                f". First difference, item {items.ids[missing[0]]!r}: {_difference(items, missing[0], candidate)}"
            )
    elif missing:
        difference = f". First one missing: {items.ids[missing[0]]!r}"
    shots = first.about.get("num_fewshot") if first else None
    asked = items.metadata.get("num_fewshot")
    hint = ""
    if shots is not None and asked is not None and shots != asked:
        hint = f". The log has {shots} solved examples before each question, {name} has {asked} (num_fewshot)"
        if not items.from_logs:
            hint += f"; write num_fewshot: {shots} if they are drawn as lm-eval 0.4.13 draws them"
    return ElusiveError(f"{where}: {text}; compared with {_reference(items)}{difference}{hint}. Else {way_out}")


def _counterpart(items: Items, index: int, rows: Sequence[tuple[Record, Source]]) -> Record | None:
    """The record that seems to be meant for an item: at the same place, as far as they can be counted."""
    if index < len(rows):
        return rows[index][0]
    return rows[-1][0] if rows else None


def _difference(items: Items, index: int, record: Record) -> str:
    """In what the texts of an item and of a record differ."""
    if record.num_choices != items.counts[index]:
        return f"{record.num_choices} choices in the log, {items.counts[index]} there"
    for what, own, others in (
        ("context", record.contexts, items.contexts[index]),
        ("continuation", record.continuations, items.continuations[index]),
    ):
        if not own or not others:
            continue
        count = max(len(own), len(others))
        pairs = zip(_spread(own, count), _spread(others, count), strict=True)
        for number, (ours, theirs) in enumerate(pairs):
            if ours != theirs:
                same = sum(
                    1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(ours, theirs, strict=False))
                )
                return (
                    f"{what} {number} is {_excerpt(ours, same)} in the log and {_excerpt(theirs, same)} there, from "
                    f"character {same} on"
                )
    return "the texts are equal, but not what else identifies it"


def _spread(texts: Sequence[str], count: int) -> Sequence[str]:
    return texts if len(texts) == count else list(texts) * count


def _excerpt(text: str, same: int) -> str:
    start, end = max(0, same - _BEFORE), same + _AFTER
    return repr(("…" if start else "") + text[start:end] + ("…" if end < len(text) else ""))


def only_run(runs: Iterable[Logged]) -> Logged:
    """The run that stands for all of one checkpoint and task: the latest, if they say the same.

    Raises :class:`ElusiveError` naming two that differ.
    """
    from elusive.importing.index import different_runs

    *others, last = runs
    numbers = {record.identity: record.log_likelihood for record in last.records}
    for other in others:
        if {record.identity: record.log_likelihood for record in other.records} != numbers:
            raise ElusiveError(different_runs(other.source, last.source))
    return last
