"""Plain tables of anybody's: CSV, TSV, JSONL or Parquet, a row an item and choice, or a row an item with lists.

Long rows have ``item``, ``choice`` (from 0, without gaps), ``log_likelihood``, ``is_gold`` or ``gold`` (an index) and
``choice_text`` or ``num_chars``; wide ones ``item``, ``gold``, ``choices`` and ``log_likelihoods``. Ids are text.
``columns`` of the configuration says what else these are called, ``unit`` and ``aggregated`` how log-likelihoods were
written.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from elusive.errors import ElusiveError
from elusive.importing import streams
from elusive.importing.checks import NOT_RETURNED
from elusive.importing.records import Record, other_identity, shared

#: Names that a file may be divided by.
PARTS = ("model", "checkpoint", "benchmark")
#: What a log-likelihood of this unit is multiplied by to be one in nats.
UNITS = {"nats": 1.0, "bits": math.log(2), "log10": math.log(10)}
_LONG = {
    "log_likelihood": "log_likelihoods",
    "choice_text": "choices",
    "continuation": "continuations",
    "context": "contexts",
    "num_tokens": "num_tokens",
    "num_bytes": "num_bytes",
    "num_chars": "num_chars",
    "is_greedy": "is_greedy",
    "log_likelihood_unconditional": "log_likelihoods_unconditional",
}


@dataclass(frozen=True)
class Layout:
    """How a user's tables are written: ``columns`` maps our names to theirs."""

    columns: Mapping[str, str] = field(default_factory=dict)
    unit: str = "nats"
    aggregated: str = "sum"

    def ours(self, names: Sequence[str]) -> dict[str, str]:
        """Theirs -> ours, of the columns ``names`` of a file."""
        renamed = {theirs: ours for ours, theirs in self.columns.items()}
        return {name: renamed.get(name, name) for name in names if name not in self.columns or name in renamed}


def is_table(columns: Sequence[str], layout: Layout) -> bool:
    """Whether a file with these columns is a table of log-likelihoods."""
    names = set(layout.ours(columns).values())
    return "item" in names and bool(names & {"log_likelihood", "log_likelihoods"})


def _rows(path: str, progress: streams.Progress | None, where: Mapping[str, str]) -> Iterator[tuple[str, dict]]:
    """Place and row of every row of a file; of Parquet only those that have the values ``where`` (column -> value)."""
    with streams.open_bytes(path, progress) as stream:
        start = stream.peek(streams.HEAD)[: streams.HEAD]
        if start.startswith(b"PAR1"):
            yield from _parquet_rows(path, where)
        elif start.lstrip().startswith((b"{", b"[")):
            for number, found in streams.objects(path):
                yield f"line {number}", found
        else:
            text, reader = io.TextIOWrapper(stream, encoding="utf-8", newline=""), None
            try:
                header = text.readline()
                dialect: dict[str, Any] = {"delimiter": "\t" if "\t" in header else ",", "strict": True}
                columns = next(csv.reader([header], **dialect), [])
                if twice := next((column for column in columns if columns.count(column) > 1), None):
                    raise ElusiveError(f"{path}: has two columns {twice!r}")
                reader = csv.reader(text, **dialect)
                for row in reader:
                    if not row:
                        continue
                    if len(row) != len(columns):
                        raise ElusiveError(
                            f"{path}, line {reader.line_num + 1}: {len(row)} values for {len(columns)} columns; the "
                            "file may be cut off"
                        )
                    yield f"line {reader.line_num + 1}", dict(zip(columns, row, strict=True))
            except csv.Error as error:
                raise ElusiveError(
                    f"{path}, line {reader.line_num + 1 if reader else 1}: not readable as a table: {error}; text with "
                    'quotation marks stands in quotation marks itself, with each of its own doubled (""), or in .jsonl'
                ) from error
            except UnicodeDecodeError as error:
                raise ElusiveError(f"{path}: not readable as a table: {error}") from error
            finally:
                text.detach()


def _parquet_rows(path: str, where: Mapping[str, str]) -> Iterator[tuple[str, dict]]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            start = 0
            for batch in file.iter_batches(65536, use_threads=False):
                numbers = pa.array(range(start, start + batch.num_rows))
                start += batch.num_rows
                kept = pa.array([True] * batch.num_rows)
                for column, value in where.items():
                    kept = pc.and_(kept, pc.equal(batch[column].cast(pa.string()), value))
                chosen = zip(numbers.filter(kept).to_pylist(), batch.filter(kept).to_pylist(), strict=True)
                yield from ((f"row {number}", row) for number, row in chosen)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise ElusiveError(f"{path}: not a readable Parquet file ({error}); it may be cut off") from error


def _checked(path: str, names: Mapping[str, str], layout: Layout) -> None:
    """Raise unless the columns (theirs -> ours) are enough."""
    have = set(names.values())
    long = "log_likelihoods" not in have
    needed: list[tuple[str, ...]] = [("item",)]
    needed += [("choice",), ("log_likelihood",), ("is_gold", "gold"), ("choice_text", "num_chars")] if long else []
    needed += [] if long else [("gold",), ("choices", "num_chars")]
    needed += [("num_tokens",)] if layout.aggregated == "mean_token" else []
    missing = [" or ".join(map(repr, choice)) for choice in needed if not have & set(choice)]
    absent = sorted(theirs for theirs in layout.columns.values() if theirs not in names)
    if absent:
        raise ElusiveError(
            f"{path}: has no column {absent[0]!r}, which 'columns' names; its columns are: {', '.join(names)}"
        )
    if missing:
        raise ElusiveError(
            f"{path}: has no column {missing[0]}; its columns are: {', '.join(names)}. The key 'columns' of the model "
            "says what else a column is called"
        )


def parts(path: str, layout: Layout, progress: streams.Progress | None = None) -> list[dict[str, str]]:
    """The different combinations of model, checkpoint and benchmark in a file, in order, as far as it has columns."""
    found: dict[tuple[str, ...], dict[str, str]] = {}
    names: dict[str, str] | None = None
    for place, row in _rows(path, progress, {}):
        if names is None:
            names = layout.ours(list(row))
            _checked(path, names, layout)
            keys, seen = {ours: theirs for theirs, ours in names.items() if ours in PARTS}, set(row)
        elif more := row.keys() - seen:
            seen |= more
            if further := set(layout.ours(list(more)).values()) & set(PARTS):
                raise ElusiveError(f"{path}, {place}: says which {min(further)} it is of, and earlier rows do not")
        try:
            values = {ours: _text(row[theirs]) for ours, theirs in keys.items()}
        except (KeyError, ValueError) as error:
            raise ElusiveError(f"{path}, {place}: has no value in the column {error}") from error
        found.setdefault(tuple(values.values()), values)
    if names is None:
        raise ElusiveError(f"{path}: has no rows")
    return list(found.values())


def read(
    path: str, task: str, layout: Layout, where: Mapping[str, str], progress: streams.Progress | None = None
) -> list[Record]:
    """The records of one part of a file, that with the values ``where`` of model, checkpoint and benchmark.

    In the order of the items' first rows. Raises :class:`ElusiveError`.
    """
    return read_parts(path, layout, [(task, where)], progress)[0]


def read_parts(
    path: str,
    layout: Layout,
    parts: Sequence[tuple[str, Mapping[str, str]]],
    progress: streams.Progress | None = None,
) -> list[list[Record]]:
    """:func:`read` of several parts (task and values), all with values of the same columns, in one go."""
    theirs = [layout.columns.get(ours, ours) for ours in parts[0][1]]
    asked = {tuple(where.values()): position for position, (_, where) in enumerate(parts)}
    chosen = dict(zip(theirs, next(iter(asked)), strict=True)) if len(asked) == 1 else {}
    names: dict[str, str] | None = None
    items: list[dict[str, list[tuple[str, dict[str, Any]]]]] = [{} for _ in parts]
    for place, raw in _rows(path, progress, chosen):
        if names is None:
            names = layout.ours(list(raw))
            _checked(path, names, layout)
            seen = set(raw)
        elif more := raw.keys() - seen:
            # Objects need not have the same names.
            seen |= more
            names |= layout.ours(list(more))
        try:
            position = asked.get(tuple([_text(raw[column]) for column in theirs]))
            if position is None:
                continue
            row = {names[name]: value for name, value in raw.items() if name in names}
            items[position].setdefault(_text(row["item"]), []).append((place, row))
        except (KeyError, ValueError) as error:
            raise ElusiveError(f"{path}, {place}: an id or name is missing ({error})") from error
    return [
        [_record(path, task, number, name, rows, layout) for number, (name, rows) in enumerate(own.items())]
        for (task, _), own in zip(parts, items, strict=True)
    ]


def _record(
    path: str, task: str, number: int, name: str, rows: list[tuple[str, dict[str, Any]]], layout: Layout
) -> Record:
    wide = "log_likelihoods" in rows[0][1]
    try:
        row = _wide(rows, name) if wide else _wide_of_long(rows, name)
        return _record_of(row, task, number, name, layout)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        said = f"no value for {error}" if isinstance(error, KeyError) else error
        raise ElusiveError(f"{path}, {rows[0][0]}: item {name!r}: {said}") from error


def _wide(rows: list[tuple[str, dict[str, Any]]], name: str) -> dict[str, Any]:
    if len(rows) > 1:
        raise ValueError(f"is there twice, in {rows[1][0]} again")
    return rows[0][1]


def _wide_of_long(rows: list[tuple[str, dict[str, Any]]], name: str) -> dict[str, Any]:
    """The rows of one item's choices as one row with lists."""
    by_choice: dict[int, dict[str, Any]] = {}
    for place, row in rows:
        choice = _integer(row["choice"], "choice")
        if choice in by_choice:
            raise ValueError(f"choice {choice} is there twice, in {place} again")
        by_choice[choice] = row
    if sorted(by_choice) != list(range(len(by_choice))):
        raise ValueError(f"its choices are {sorted(by_choice)}; they must be counted from 0 without gaps")
    ordered = [by_choice[choice] for choice in range(len(by_choice))]
    # Of objects each may have other names.
    there = set().union(*ordered)
    result: dict[str, Any] = {wide: [row.get(long) for row in ordered] for long, wide in _LONG.items() if long in there}
    for column in ("subject", "cluster"):
        if column in there:
            values = {_optional(row.get(column)) for row in ordered}
            if len(values) > 1:
                raise ValueError(f"its choices have different values of {column!r}: {sorted(map(str, values))}")
            result[column] = values.pop()
    if "is_gold" in there:
        right = [choice for choice, row in enumerate(ordered) if _boolean(row["is_gold"], "is_gold")]
        if len(right) != 1:
            raise ValueError(f"has {len(right)} right answers, one is needed")
        result["gold"] = right[0]
    if "gold" in there:
        golds = {_integer(row["gold"], "gold") for row in ordered} | ({result["gold"]} if "gold" in result else set())
        if len(golds) > 1:
            raise ValueError(f"says that different choices are right: {sorted(golds)}")
        result["gold"] = golds.pop()
    return result


def _record_of(row: Mapping[str, Any], task: str, number: int, name: str, layout: Layout) -> Record:
    values = [_number(value, "log_likelihood") for value in row["log_likelihoods"]]
    if NOT_RETURNED in values:  # before units make another number of it
        raise ValueError(f"a log-likelihood is {NOT_RETURNED}, which stands for a value that the server did not return")
    count = len(values)

    def listed(column: str, convert: Any) -> tuple[Any, ...] | None:
        entries = row.get(column)
        if entries is None or all(entry is None or entry == "" for entry in entries):
            return None
        if len(entries) != count:
            raise ValueError(f"{len(entries)} {column} for {count} log-likelihoods")
        return tuple(convert(entry, column) for entry in entries)

    tokens = listed("num_tokens", _integer)
    unconditional = listed("log_likelihoods_unconditional", _number)
    factors = [UNITS[layout.unit]] * count
    if layout.aggregated == "mean_token":
        if tokens is None:
            raise ValueError("log-likelihoods are means over tokens, and there is no number of tokens")
        factors = [factor * length for factor, length in zip(factors, tokens, strict=True)]
    if factors != [1.0] * count:
        values = [value * factor for value, factor in zip(values, factors, strict=True)]
        if unconditional is not None:
            unconditional = tuple(value * factor for value, factor in zip(unconditional, factors, strict=True))
    texts = listed("choices", _string)
    context = row.get("context", row.get("contexts"))
    context = (context,) if isinstance(context, str) else context
    contexts = None
    if context is not None and not all(entry is None for entry in context):
        contexts = tuple(_string(entry, "context") for entry in context)
        if len(contexts) not in (1, count):
            raise ValueError(f"{len(contexts)} contexts for {count} log-likelihoods")
        contexts = contexts * count if len(contexts) == 1 else contexts
    continuations = listed("continuations", _string)
    if contexts is not None and continuations is not None:
        contexts, continuations = shared(contexts, continuations)
    elif contexts is not None and len(set(contexts)) == 1:
        contexts = contexts[:1]
    lengths = {column: listed(column, _integer) for column in ("num_chars", "num_bytes")}
    if texts is not None:
        measured = {"num_chars": [len(text) for text in texts], "num_bytes": [len(text.encode()) for text in texts]}
        for column, given in lengths.items():
            if given is not None and list(given) != measured[column]:
                raise ValueError(f"{column} are {list(given)}, but the texts have {measured[column]}")
        lengths = {column: tuple(found) for column, found in measured.items()}
    return Record(
        task=task,
        number=number,
        contexts=contexts,
        continuations=continuations,
        choices=texts,
        gold=_integer(row["gold"], "gold"),
        log_likelihood=tuple(values),
        is_greedy=listed("is_greedy", _boolean),
        num_tokens=tokens,
        unconditional=unconditional,
        native_id=name,
        num_chars=lengths["num_chars"],
        num_bytes=lengths["num_bytes"],
        subject=_optional(row.get("subject")),
        cluster=_optional(row.get("cluster")),
        identity=other_identity("item", name, contexts, continuations, texts, count),
    )


def _text(value: Any) -> str:
    """An id or name as text; numbers as they are counted."""
    if isinstance(value, bool) or value is None or value == "":
        raise ValueError("is empty")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def _optional(value: Any) -> str | None:
    return None if value is None or value == "" else _text(value)


def _string(value: Any, column: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{column} is {value!r}, not text")
    return value


def _number(value: Any, column: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{column} is {value!r}, not a number")
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"{column} is {value!r}, not a number") from None


def _integer(value: Any, column: str) -> int:
    number = _number(value, column)
    if not number.is_integer():
        raise ValueError(f"{column} is {value!r}, not a whole number")
    return int(number)


def _boolean(value: Any, column: str) -> bool:
    found = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}.get(str(value).lower())
    if found is None:
        raise ValueError(f"{column} is {value!r}; write true or false")
    return found
