"""A user's own benchmark: rows of a file or of a dataset on the hub, and Jinja templates that turn a row into an item.

``file`` names a file, or ``dataset``, ``config`` (optional), ``split`` and ``revision`` (optional) a split on the hub.

``context`` is a template for the text before the choices (``"Question: {{ question }}\\nAnswer:"``), or ``contexts``
an expression for a list of them, one per choice. ``choices`` is an expression for the list of choices
(``[good, bad]``, ``options | parse`` of a list that is written as text) and ``gold`` one for the index of the right
choice, counted from 0 (``answer``, or ``answer | letter`` of a letter).
``id``, ``subject`` and ``cluster`` (what several rows share, a passage or its name) are optional, and templates or
expressions. An expression may be written with or without braces around it; these three with braces are templates
(``{{ area }}-{{ number }}``). With ``num_fewshot``, solved examples drawn from ``shots_file`` or ``shots_split`` stand
before each question, as :mod:`elusive.items.shots` says.

What templates can do, and what they refuse, is said in :mod:`elusive.items.templates`. Only the standard library and
Jinja are imported here, so that a configuration can be checked while Snakemake parses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2

from elusive.errors import ElusiveError
from elusive.items.benchmarks import DELIMITER, Item, Row, cluster_of
from elusive.items.sources import FILE_SUFFIXES, user_path
from elusive.items.templates import as_text, expression, fields_of, guarded, is_missing, short, template

VERSION = 1

_NUMBER = re.compile(r"\s*[-+]?[0-9]{1,9}\s*")
_MAXIMUM_CHOICES = 127  # num_choices is an int8
_HUB_KEYS = ("dataset", "config", "split", "revision", "shots_split")


def protocol(num_fewshot: int) -> str:
    """What tables call the way in which own benchmarks are asked."""
    return f"own templates, {f'{num_fewshot}-shot' if num_fewshot else 'zero-shot'}"


@dataclass(frozen=True)
class Field:
    """A key of the specification: ``evaluate`` gives its value for a row, from the row's fields ``used``."""

    evaluate: Callable[[Row], Any]
    used: tuple[str, ...]

    def said(self, row: Row) -> str:
        """The values of the fields that are used, for the end of a message."""
        return "".join(f"; {name} is {short(row[name])}" for name in self.used if name in row)


@dataclass(frozen=True)
class OwnBenchmark:
    """A checked specification: ``fields`` evaluates each key that was given on a row of ``file`` or of ``dataset``."""

    name: str
    file: Path | None
    dataset: str | None
    config: str | None
    split: str | None
    revision: str | None
    shots_file: Path | None
    shots_split: str | None
    num_fewshot: int
    delimiter: str
    fields: dict[str, Field]

    def items(self, rows: Sequence[Row], where: Sequence[str], shots: Sequence[Sequence[Row]]) -> list[Item]:
        """One item per row, with ``shots`` before its question. ``where`` names each row in messages.

        Raises :class:`ElusiveError` with place, key and reason.
        """
        items = []
        places: dict[str, str] = {}
        for row, place, examples in zip(rows, where, shots, strict=True):
            item = self._item(row, place)
            if item.item is not None and places.setdefault(item.item, place) != place:
                raise ElusiveError(f"{place}: id: {item.item!r} is already that of {places[item.item].split(': ')[-1]}")
            if examples:
                before = "".join(self._item(example, f"{place}: a solved example").solved() for example in examples)
                item = replace(item, contexts=tuple(before + context for context in item.contexts))
            items.append(item)
        return items

    def _item(self, row: Row, place: str) -> Item:
        values = {}
        fields = guarded(row)
        for key, field in self.fields.items():
            try:
                values[key] = _CONVERSIONS[key](field.evaluate(fields))
            except jinja2.UndefinedError as error:
                names = ", ".join(map(str, row))
                raise ElusiveError(f"{place}: {key}: {error.message}; the fields of this row are: {names}") from error
            except Exception as error:  # a template may run into anything, a missing list entry for instance
                raise ElusiveError(f"{place}: {key}: {error or type(error).__name__}{field.said(row)}") from error
        contexts = values["contexts"] if "contexts" in values else [values["context"]]
        choices = values["choices"]
        count = max(len(contexts), len(choices))
        if not 2 <= count <= _MAXIMUM_CHOICES:
            raise ElusiveError(f"{place}: choices: 2 to {_MAXIMUM_CHOICES} are needed, found {count}")
        if {len(contexts), len(choices)} - {1, count}:
            raise ElusiveError(f"{place}: contexts: {len(contexts)} do not go with {len(choices)} choices")
        for index, choice in enumerate(choices):
            if not choice.strip():
                raise ElusiveError(f"{place}: choices: number {index} (counted from 0) is empty")
        if not 0 <= values["gold"] < count:
            raise ElusiveError(
                f"{place}: gold: {values['gold']} is out of range, choices are counted 0 to {count - 1}"
                f"{self.fields['gold'].said(row)}"
            )
        return Item(
            contexts=tuple(contexts),
            continuations=tuple(self.delimiter + choice for choice in choices),
            choices=tuple(choices) if len(choices) == count else tuple(choices * count),
            gold=values["gold"],
            subject=values.get("subject"),
            item=values.get("id"),
            cluster=cluster_of(values.get("cluster") or ""),
        )


def read_spec(spec: dict[str, Any]) -> OwnBenchmark:
    """Check the keys, templates and file of ``spec``; raises :class:`ElusiveError` naming benchmark and key."""
    where = f"benchmark {spec.get('name')!r}"
    needed = ("name", "dataset", "split") if spec.get("dataset") is not None else ("name", "file")
    for key in (*needed, "choices", "gold"):
        if spec.get(key) is None:
            raise ElusiveError(f"{where}: key {key!r} is missing")
    shots_key = "shots_split" if "dataset" in needed else "shots_file"
    num_fewshot = spec.get("num_fewshot") or 0
    if num_fewshot and spec.get(shots_key) is None:
        raise ElusiveError(f"{where}: key {shots_key!r} is missing: solved examples have to come from somewhere")
    keys = [key for key in _CONVERSIONS if spec.get(key) is not None]
    if ("context" in keys) == ("contexts" in keys):
        raise ElusiveError(f"{where}: give either 'context', a template, or 'contexts', an expression for a list")
    delimiter = DELIMITER if spec.get("delimiter") is None else spec["delimiter"]
    of_source = [key for key in ("file", "shots_file", *_HUB_KEYS) if spec.get(key) is not None]
    for key, value in [("delimiter", delimiter), *((key, spec[key]) for key in (*of_source, *keys))]:
        if not isinstance(value, str):
            raise ElusiveError(f"{where}: key {key!r}: expected text, found {value!r}")
    files: dict[str, Path] = {}
    for key in ("file", "shots_file"):
        if key not in of_source:
            continue
        try:
            files[key] = file = user_path(spec[key])
        except ElusiveError as error:
            raise ElusiveError(f"{where}: key {key!r}: {error}") from error
        if file.suffix.lower() not in FILE_SUFFIXES:
            raise ElusiveError(f"{where}: key {key!r}: {file} must end in one of {', '.join(FILE_SUFFIXES)}")
        if not file.is_file():
            raise ElusiveError(f"{where}: key {key!r}: there is no file {file}")
    fields: dict[str, Field] = {}
    for key in keys:
        source = spec[key]
        try:
            is_template = key == "context" or (key in ("id", "subject", "cluster") and "{{" in source)
            evaluate = template(source) if is_template else expression(source, gold=key == "gold")
            fields[key] = Field(evaluate, tuple(fields_of(source, is_template)))
        except jinja2.TemplateSyntaxError as error:
            raise ElusiveError(f"{where}: key {key!r}: {error.message} in {source!r}") from error
        except RecursionError as error:
            raise ElusiveError(f"{where}: key {key!r}: nested too deeply: {short(source)}") from error
    if "context" in keys and not fields["context"].used:
        found = spec["context"]
        raise ElusiveError(f"{where}: key 'context': {found!r} uses no field; write a field as {{{{ question }}}}")
    hub = {key: spec.get(key) for key in _HUB_KEYS}
    return OwnBenchmark(
        name=spec["name"],
        file=files.get("file"),
        shots_file=files.get("shots_file"),
        num_fewshot=num_fewshot,
        delimiter=delimiter,
        fields=fields,
        **hub,
    )


def validate_own(spec: dict[str, Any]) -> None:
    """Check the specification of a user's own benchmark without reading its rows.

    Raises :class:`ElusiveError` that names the benchmark and the key: a missing key, a template that is not Jinja,
    a file that does not exist or is of no known kind.
    """
    read_spec(spec)


def _as_texts(value: Any) -> list[str]:
    if isinstance(value, jinja2.Undefined):
        str(value)  # raises, naming what is undefined
    if not isinstance(value, list | tuple):
        hint = "; a list that is written as text is read by the filter `parse`" if isinstance(value, str) else ""
        raise TypeError(f"expected a list, found {short(value)}{hint}")
    return [as_text(entry) for entry in value]


def _as_index(value: Any) -> int:
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    text = as_text(value)
    if not _NUMBER.fullmatch(text):
        hint = "; a letter becomes an index by the filter `letter`, as in answer | letter" if text.isalpha() else ""
        raise ValueError(f"expected the index of a choice, found {short(value)}{hint}")
    return int(text)


def _as_label(value: Any) -> str | None:
    return None if is_missing(value) else as_text(value) or None


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "context": as_text,
    "contexts": _as_texts,
    "choices": _as_texts,
    "gold": _as_index,
    "id": as_text,
    "subject": _as_label,
    "cluster": _as_label,
}
