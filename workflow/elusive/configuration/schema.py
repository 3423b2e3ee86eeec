"""The schema of a configuration: types, allowed values, defaults and repeated keys.

``workflow/schemas/config.schema.yaml`` says what is allowed. This module reads it, words its errors for people, and
fills in its defaults.
"""

from __future__ import annotations

import copy
import difflib
import functools
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from elusive.configuration import catalogue
from elusive.configuration.messages import Blame, Loader, allowed_values, hint, short, suggestion
from elusive.errors import ElusiveError

_DEPTH = 10  # of what is read wrongly because of what is around it
SCHEMA = Path(__file__).parents[2] / "schemas" / "config.schema.yaml"


def check_syntax(file: str | Path) -> None:
    """Raise :class:`ElusiveError` with line and column when ``file`` is missing or not YAML."""
    try:
        yaml.load(Path(file).read_text(encoding="utf-8"), Loader=Loader)
    except OSError as error:
        raise ElusiveError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ElusiveError(f"{file}: not UTF-8 text: {error.reason} at byte {error.start}") from error
    except yaml.YAMLError as error:
        raise ElusiveError(f"{file}: not valid YAML: {error}") from error


def check_repeated_keys(file: Path) -> None:
    """Raise :class:`ElusiveError` when a mapping in ``file`` has a key twice."""
    # YAML readers take the last of two equal keys without a word.
    try:
        nodes = [yaml.compose(file.read_text(encoding="utf-8"), Loader=Loader)]
    except (OSError, ValueError, yaml.YAMLError):
        return  # whoever reads it says so
    while nodes:
        node = nodes.pop()
        if isinstance(node, yaml.SequenceNode):
            nodes += node.value
        elif isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                nodes.append(value)
                line = key.start_mark.line + 1
                if isinstance(key, yaml.ScalarNode) and lines.setdefault(key.value, line) != line:
                    raise ElusiveError(
                        f"{file}: line {line}: the key {key.value!r} stands there twice, first in line "
                        f"{lines[key.value]}: only one of them can count"
                    )


@functools.cache
def schema() -> dict[str, Any]:
    """The JSON schema of a configuration."""
    return yaml.load(SCHEMA.read_text(encoding="utf-8"), Loader=Loader)


def with_defaults(section: dict[str, Any], name: str) -> dict[str, Any]:
    """The configuration's ``section`` called ``name`` in the schema, with every default filled in."""
    properties = schema()["$defs"][name]["properties"]
    return {key: entry["default"] for key, entry in properties.items() if "default" in entry} | section


def plan_settings(section: dict[str, Any]) -> dict[str, Any]:
    """The configuration's section ``plan`` with every default filled in, those of the GPU's peaks too."""
    defaults = with_defaults({}, "plan")
    return defaults | section | {"gpu_tflops": defaults["gpu_tflops"] | section.get("gpu_tflops", {})}


def _is_integer(_: Any, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(_: Any, value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[jsonschema.ValidationError]:
    # `$` also matches before a line break at the end.
    if isinstance(value, str) and (not re.search(pattern, value) or value.endswith("\n")):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


# JSON knows no difference between 32 and 32.0, file names made of them do; and no infinity, which YAML knows.
_Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    {"pattern": _pattern},
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"integer": _is_integer, "number": _is_number}
    ),
)


def _leaves(errors: Iterable[jsonschema.ValidationError]) -> Iterator[jsonschema.ValidationError]:
    for error in errors:
        # Of several alternatives, the one that was meant is the one that fits as a whole and fails inside.
        inside = [
            e for e in error.context or () if e.relative_path or e.validator in ("additionalProperties", "required")
        ]
        if error.validator == "anyOf" and inside:
            yield from _leaves(inside)
        else:
            yield error


def with_types(config: Any, blame: Blame) -> tuple[Any, list[jsonschema.ValidationError]]:
    """``config``, where texts of the command line are what a configuration file would read in their place.

    Beside it what the schema finds wrong with it. Snakemake leaves all that stands in braces or brackets of
    ``--config`` text: ``--config 'scoring={threads: 2}'``.
    """
    validator = _Validator(schema())
    errors = list(_leaves(validator.iter_errors(config)))
    for _ in range(_DEPTH):
        texts = [error for error in errors if isinstance(error.instance, str)]
        read = [(error, _read(error.instance)) for error in texts if blame.on_command_line(error.absolute_path)]
        fitting = [(e, value) for e, value in read if not isinstance(value, str) and _has_type(validator, e, value)]
        if not fitting:
            break
        config = copy.deepcopy(config)
        for error, value in fitting:
            *parents, last = error.absolute_path
            functools.reduce(lambda part, key: part[key], parents, config)[last] = value
        errors = list(_leaves(validator.iter_errors(config)))
    return config, errors


def _has_type(validator: Any, error: jsonschema.ValidationError, value: Any) -> bool:
    """Whether ``value`` is of a type that is wanted in the place of ``error``, whatever else is wrong with it."""
    errors = validator.evolve(schema=error.schema).iter_errors(value)
    return not any(all(leaf.validator == "type" for leaf in (found.context or [found])) for found in errors)


def _read(text: str) -> Any:
    try:
        return yaml.load(text, Loader=Loader)
    except yaml.YAMLError:
        return text


def check_schema(config: Any, errors: list[jsonschema.ValidationError], blame: Blame) -> None:
    """Raise :class:`ElusiveError` for the first of the schema's ``errors`` in ``config``, in words."""
    _check_model_sources(config, blame)
    if not errors:
        return
    # A misspelt key also makes a required one missing: say the misspelling.
    error = min(errors, key=lambda e: (e.validator != "additionalProperties", e.validator == "required"))
    path = list(error.absolute_path)
    if error.validator == "additionalProperties":
        allowed = error.schema.get("properties", {})
        key = next(key for key in error.instance if key not in allowed)
        if not isinstance(key, str):  # YAML reads `on:` as true and `1:` as a number
            raise blame.error(path, f"unknown key {key}{suggestion(key, allowed)}")
        raise blame.error([*path, key], f"unknown key{suggestion(key, allowed)}")
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        present = f" (there are: {', '.join(map(str, error.instance))})" if error.instance else ""
        raise blame.error(path, f"the key {missing!r} is missing{present}")
    value = error.instance
    said = "an empty value (null)" if value is None else short(value)
    raise blame.error(path, f"{said} is not allowed: it must be {allowed_values(error)}{hint(error)}")


def _check_model_sources(config: Any, blame: Blame) -> None:
    """A model without a source must be a built-in one: else say so before its other keys are found wrong."""
    entries = config.get("models") if isinstance(config, dict) else None
    for i, entry in enumerate(entries if isinstance(entries, list) else []):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or "source" in entry:
            continue
        if entry["name"] in catalogue.load():
            continue
        close = difflib.get_close_matches("source", [key for key in entry if isinstance(key, str)], n=1)
        if close:
            raise blame.error(["models", i, close[0]], "unknown key; did you mean 'source'?")
        there = f" (there are: {', '.join(map(str, entry))})"
        raise blame.error(
            ["models", i],
            f"the key 'source' is missing{there}, and {entry['name']!r} is no built-in model"
            f"{suggestion(entry['name'], catalogue.load())}",
        )
