"""A user's own benchmark: a file of rows, and Jinja templates that turn a row into an item.

``context`` is a template for the text before the choices (``"Question: {{ question }}\\nAnswer:"``), or ``contexts``
an expression for a list of them, one per choice. ``choices`` is an expression for the list of choices
(``[good, bad]``) and ``gold`` one for the index of the right choice, counted from 0 (``"ABCD".index(answer)``).
``id`` and ``subject`` are optional, and templates or expressions. An expression may be written with or without braces
around it; ``id`` and ``subject`` with braces are templates (``{{ area }}-{{ number }}``).

Only the standard library and Jinja are imported here, so that a configuration can be checked while Snakemake parses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta

from elusive.errors import ElusiveError
from elusive.items.benchmarks import DELIMITER, Item, Row
from elusive.items.sources import FILE_SUFFIXES, file_rows

PROTOCOL = "own templates, zero-shot"
VERSION = 1

_MAXIMUM_CHOICES = 127  # num_choices is an int8


def _no_null(value: Any) -> Any:
    # Jinja would print a null as the word "None" in the middle of a prompt.
    if value is None:
        raise ValueError("a field is null; give a default such as {{ field or '' }}")
    return value


_JINJA = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, finalize=_no_null)


@dataclass(frozen=True)
class OwnBenchmark:
    """A checked specification; ``fields`` evaluates each key that was given on a row."""

    name: str
    file: Path
    delimiter: str
    fields: dict[str, Callable[[Row], Any]]

    def items(self) -> list[Item]:
        """One item per row of the file. Raises :class:`ElusiveError` with file, row, key and reason."""
        items = []
        places: dict[str, str] = {}
        for place, row in file_rows(self.file):
            item = self._item(row, f"{self.file}: {place}")
            if item.item is not None and places.setdefault(item.item, place) != place:
                raise ElusiveError(f"{self.file}: {place}: id: {item.item!r} is already that of {places[item.item]}")
            items.append(item)
        if not items:
            raise ElusiveError(f"{self.file}: has no rows")
        return items

    def _item(self, row: Row, place: str) -> Item:
        values = {}
        for key, evaluate in self.fields.items():
            try:
                values[key] = _CONVERSIONS[key](evaluate(row))
            except jinja2.UndefinedError as error:
                names = ", ".join(row)
                raise ElusiveError(f"{place}: {key}: {error.message}; the fields of this row are: {names}") from error
            except Exception as error:  # a template may run into anything, a missing list entry for instance
                raise ElusiveError(f"{place}: {key}: {error}") from error
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
            raise ElusiveError(f"{place}: gold: {values['gold']} is out of range, choices are counted 0 to {count - 1}")
        return Item(
            contexts=tuple(contexts),
            continuations=tuple(self.delimiter + choice for choice in choices),
            choices=tuple(choices) if len(choices) == count else tuple(choices * count),
            gold=values["gold"],
            subject=values.get("subject"),
            item=values.get("id"),
        )


def read_spec(spec: dict[str, Any]) -> OwnBenchmark:
    """Check the keys, templates and file of ``spec``; raises :class:`ElusiveError` naming benchmark and key."""
    where = f"benchmark {spec.get('name')!r}"
    for key in ("name", "file", "choices", "gold"):
        if spec.get(key) is None:
            raise ElusiveError(f"{where}: key {key!r} is missing")
    keys = [key for key in _CONVERSIONS if spec.get(key) is not None]
    if ("context" in keys) == ("contexts" in keys):
        raise ElusiveError(f"{where}: give either 'context', a template, or 'contexts', an expression for a list")
    delimiter = DELIMITER if spec.get("delimiter") is None else spec["delimiter"]
    for key, value in [("file", spec["file"]), ("delimiter", delimiter), *((key, spec[key]) for key in keys)]:
        if not isinstance(value, str):
            raise ElusiveError(f"{where}: key {key!r}: expected text, found {value!r}")
    file = Path(spec["file"])
    if file.suffix.lower() not in FILE_SUFFIXES:
        raise ElusiveError(f"{where}: key 'file': {file} must end in one of {', '.join(FILE_SUFFIXES)}")
    if not file.is_file():
        raise ElusiveError(f"{where}: key 'file': there is no file {file}")
    fields: dict[str, Callable[[Row], Any]] = {}
    for key in keys:
        try:
            is_template = key == "context" or (key in ("id", "subject") and "{{" in spec[key])
            fields[key] = _template(spec[key]) if is_template else _expression(spec[key])
        except jinja2.TemplateSyntaxError as error:
            raise ElusiveError(f"{where}: key {key!r}: {error.message} in {spec[key]!r}") from error
    if "context" in keys and not jinja2.meta.find_undeclared_variables(_JINJA.parse(spec["context"])):
        found = spec["context"]
        raise ElusiveError(f"{where}: key 'context': {found!r} uses no field; write a field as {{{{ question }}}}")
    return OwnBenchmark(spec["name"], file, delimiter, fields)


def validate_own(spec: dict[str, Any]) -> None:
    """Check the specification of a user's own benchmark without reading its rows.

    Raises :class:`ElusiveError` that names the benchmark and the key: a missing key, a template that is not Jinja,
    a file that does not exist or is of no known kind.
    """
    read_spec(spec)


def _template(source: str) -> Callable[[Row], str]:
    return _JINJA.from_string(source).render


def _expression(source: str) -> Callable[[Row], Any]:
    inner = source.strip()
    if inner.startswith("{{") and inner.endswith("}}"):
        inner = inner[2:-2]
    # Not a native template: that would parse text once more and make the number 7 of the answer "7".
    return _JINJA.compile_expression(inner, undefined_to_none=False)


def _as_text(value: Any) -> str:
    if isinstance(value, dict | list | tuple):
        raise TypeError(f"expected text, found {value!r}")
    return str(_no_null(value))


def _as_texts(value: Any) -> list[str]:
    if isinstance(value, jinja2.Undefined):
        str(value)  # raises, naming what is undefined
    if not isinstance(value, list | tuple):
        raise TypeError(f"expected a list, found {value!r}")
    return [_as_text(entry) for entry in value]


def _as_index(value: Any) -> int:
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return int(value)
    text = _as_text(value)
    try:
        return int(text)
    except ValueError:
        hint = "; a letter is turned into an index by 'ABCD'.index(field)" if text.isalpha() else ""
        raise ValueError(f"expected the index of a choice, found {value!r}{hint}") from None


def _as_label(value: Any) -> str | None:
    return None if value is None else _as_text(value) or None


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "context": _as_text,
    "contexts": _as_texts,
    "choices": _as_texts,
    "gold": _as_index,
    "id": _as_text,
    "subject": _as_label,
}
