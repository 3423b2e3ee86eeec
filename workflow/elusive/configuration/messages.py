"""What is wrong with a configuration, in words: where the mistake stands, what was meant, what is allowed."""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from elusive.errors import ElusiveError

NAMES_SHOWN = 20
VALUE_CHARACTERS = 100
COMMAND_LINE = "configuration (--config)"
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Blame:
    """Finds the configuration file that a value comes from and words the error."""

    def __init__(self, files: list[Path], config: Any) -> None:
        self._files = files
        self._config = config

    def error(self, path: Iterable[str | int], message: str) -> ElusiveError:
        """The error of the value at ``path``, a sequence of keys and positions, with the file that it comes from."""
        path = list(path)
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
        file = self._file(path)
        return ElusiveError(f"{file}: {where}: {message}" if where else f"{file}: {message}")

    def on_command_line(self, path: Iterable[str | int]) -> bool:
        """Whether the value at ``path`` is in none of the configuration files, so that ``--config`` gave it."""
        return bool(self._files) and self._file(list(path)) == COMMAND_LINE

    def _file(self, path: list[str | int]) -> str:
        # Files are merged key by key, later ones overrule earlier ones; lists are replaced as a whole.
        keys = list(itertools.takewhile(lambda part: not isinstance(part, int), path))
        if not keys:
            return ", ".join(map(str, self._files)) or "configuration"
        for file in reversed(self._files):
            try:
                content = yaml.load(file.read_text(encoding="utf-8"), Loader=Loader)
            except (OSError, ValueError, yaml.YAMLError):
                continue
            found, value = _at(content, keys)
            merged = _at(self._config, keys)[1]
            # A section may come from several files: the last one that has a part of it.
            part = isinstance(value, dict) and isinstance(merged, dict) and value.items() <= merged.items()
            if found and (value == merged or part):
                return str(file)
        return COMMAND_LINE


def _at(content: Any, keys: list[str | int]) -> tuple[bool, Any]:
    """Whether ``content`` has the value at ``keys``, and the value."""
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            return False, None
        content = content[key]
    return True, content


def suggestion(name: Any, known: Iterable[str]) -> str:
    """'; did you mean …?' and the known names, for the end of a message about an unknown name."""
    known = list(known)
    shown = ", ".join(known[:NAMES_SHOWN]) + (f", … {len(known)} in all" if len(known) > NAMES_SHOWN else "")
    return f"{did_you_mean(name, known)} (allowed: {shown})"


def did_you_mean(name: Any, known: Iterable[Any]) -> str:
    """'; did you mean …?' where one of the ``known`` names is close to ``name``, else nothing."""
    by_lower = {str(other).lower(): other for other in known}
    close = difflib.get_close_matches(str(name).lower(), by_lower, n=1)
    return f"; did you mean {by_lower[close[0]]!r}?" if close else ""


def short(value: Any) -> str:
    """``value`` as Python writes it, cut to what a message has room for."""
    text = repr(value)
    return text if len(text) <= VALUE_CHARACTERS else text[: VALUE_CHARACTERS - 1] + "…"


_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "a mapping of keys to values",
    "string": "text",
}


def _types(error: jsonschema.ValidationError) -> list[str]:
    value = error.validator_value
    return [value] if isinstance(value, str) else list(value)


def allowed_values(error: jsonschema.ValidationError) -> str:
    """The end of the sentence 'it must be …'."""
    value = error.validator_value
    match error.validator:
        case "enum":
            return f"one of {', '.join(map(str, value))}"
        case "const":
            return str(value)
        case "type":
            return " or ".join(_TYPES[name] for name in _types(error))
        case "minimum":
            return f"at least {value}"
        case "exclusiveMinimum":
            return f"more than {value}"
        case "maximum":
            return f"at most {value}"
        case "multipleOf":
            return f"a multiple of {value}"
        case "minItems":
            return "a list that is not empty" if value == 1 else f"a list of at least {value} entries"
        case "minLength":
            return "text that is not empty"
        case "uniqueItems":
            repeated = [entry for i, entry in enumerate(error.instance) if entry in error.instance[:i]]
            return f"a list of different entries, but {repeated[0]!r} stands there twice"
        case "pattern":
            examples = error.schema.get("examples")
            return f"like {', '.join(examples)} (pattern {value})" if examples else f"text that matches {value}"
        case "anyOf":
            return " or ".join(dict.fromkeys(allowed_values(context) for context in error.context))
        case _:
            return f"as the schema says: {error.message}"


def hint(error: jsonschema.ValidationError) -> str:
    """What the value may have been meant to be."""
    value = error.instance
    leaves = [error, *(error.context or ())]
    types = {name for leaf in leaves if leaf.validator == "type" for name in _types(leaf)}
    if types & {"integer", "number"} and isinstance(value, str | float):
        # YAML reads 1e9 as text and 1.0e+9 as a fraction.
        try:
            number = float(value)
        except ValueError:
            return ""
        if math.isfinite(number) and ("number" in types or number.is_integer()):
            return f"; write {int(number) if number.is_integer() else number}"
    elif "string" in types and isinstance(value, int | float):
        return f'; write "{str(value).lower() if isinstance(value, bool) else value}"'
    for leaf in leaves:
        if leaf.validator == "enum" and isinstance(value, str):
            return did_you_mean(value, leaf.validator_value)
    return ""
