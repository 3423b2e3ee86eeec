"""Jinja for the templates of a user's own benchmark: what they can reach, and what they refuse to guess.

Configurations are passed around, so templates run in Jinja's sandbox: they reach the fields of a row, pure functions of
text, numbers and lists, and nothing else. What would run for ever or fill the memory is bounded. And where Jinja or
Python would make something of a missing or odd value (0 of an empty cell, ``"None"`` of a null, the text of a list in
the middle of a prompt), there is an error, since what comes of it would look like any other item.

Filters beyond Jinja's: ``letter`` (A is 0, B is 1, ...) and ``parse`` (a list or mapping written as text). Those for
HTML and ``random`` are not there.
"""

from __future__ import annotations

import ast
import datetime
import decimal
import functools
import io
import itertools
import json
import math
import re
import tokenize
from collections.abc import Callable, Iterable
from typing import Any

import jinja2
import jinja2.meta
from jinja2 import nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

from elusive.items.jsontext import loads

#: Characters, or entries of a list, that one operation may make.
LARGEST = 1_000_000
#: Steps of a range, and of what else a number says the size.
LONGEST = 1_000
_LOOPS = 2
_SHOWN = 100

_SCALARS = (str, int, float, decimal.Decimal, datetime.date, datetime.time)
_SEARCHES = ("index", "rindex", "find", "rfind", "count")
#: Widths and precisions in the formats of Python that are larger than anything is, or stand in a field.
_WIDTH = re.compile(r"%(?:\(\w*\))?[-+ #0]*(?:\d{4,}|\*|\d*\.(?:\d{4,}|\*))|\{[^{}]*:[^{}]*\d{4,}|\{[^{}]+\{")
_WHOLE_NUMBER = re.compile(r"\s*[-+]?[0-9]+\s*")
#: Methods of texts whose number says how long the result is.
_FILLING = ("center", "ljust", "rjust", "zfill", "expandtabs")
_REFUSED = {
    nodes.Macro: "macro",
    nodes.CallBlock: "call",
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "import",
    nodes.Extends: "extends",
    nodes.Block: "block",
}
_NOT_FOR_PROMPTS = ("random", "e", "escape", "forceescape", "safe", "urlize", "xmlattr", "filesizeformat", "pprint")


def short(value: Any) -> str:
    """``value`` as Python writes it, cut to what a message has room for."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def as_text(value: Any) -> str:
    """``value`` as the text that it is or is written as.

    Raises ValueError for a null, for what is no number, and for halves of characters, TypeError for lists and whatever
    else has no writing of its own.
    """
    return _whole(str(_printable(value)))


class _Missing:
    """A null or NaN of a row: false, equal to none, and an error wherever it would become text."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __bool__(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, _Missing)

    def __hash__(self) -> int:
        return hash(None)

    def __repr__(self) -> str:
        return self._what

    def __str__(self) -> str:
        raise ValueError(f"a field is {self._what}; give a default such as {{{{ field or '' }}}}")


_NULL, _NAN = _Missing("null"), _Missing("nan, a missing value")


class _List(list[Any]):
    """A list of a row, which no filter makes text of."""

    def __str__(self) -> str:
        raise TypeError(f"expected text, found {short(self)}; a list becomes text by {{{{ field | join(', ') }}}}")


class _Mapping(dict[Any, Any]):
    """A mapping of a row, which no filter makes text of."""

    def __str__(self) -> str:
        raise TypeError(f"expected text, found {short(self)}")


def guarded(value: Any) -> Any:
    """A row, or a part of one, as templates see it: what is no text cannot become one by mistake."""
    if value is None:
        return _NULL
    if isinstance(value, dict):
        return _Mapping({key: guarded(part) for key, part in value.items()})
    if isinstance(value, list | tuple):
        return _List(guarded(part) for part in value)
    return _NAN if isinstance(value, float) and math.isnan(value) else value


def is_missing(value: Any) -> bool:
    """Whether a value is a null, or a null or NaN of a row."""
    return value is None or isinstance(value, _Missing)


def _printable(value: Any) -> Any:
    """What a prompt may show of a value; asked for every ``{{ … }}`` and every part of ``… ~ …``."""
    if isinstance(value, jinja2.Undefined):
        return value  # raises by itself, naming what is undefined
    if is_missing(value):
        str(_NULL if value is None else value)
    if isinstance(value, list | tuple):
        raise TypeError(f"expected text, found {short(value)}; a list becomes text by {{{{ field | join(', ') }}}}")
    if not isinstance(value, _SCALARS):
        raise TypeError(f"expected text, found {short(value)}")
    if isinstance(value, float | decimal.Decimal) and not math.isfinite(value):
        raise ValueError(f"a field is {value}, a missing value; give a default or leave the row out")
    return value


def _whole(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = text[error.start]
        raise ValueError(
            f"half of a character ({half!r}, a lone surrogate) in {short(text)}: the text was cut or decoded wrongly"
        ) from None
    return text


def letter(value: Any) -> int:
    """The index that a single letter stands for: 0 for A or a, 1 for B, ... Raises ValueError for anything else."""
    text = as_text(value).strip()
    if len(text) != 1 or not (text.isascii() and text.isalpha()):
        raise ValueError(f"expected a single letter from A to Z, found {short(value)}")
    return ord(text.upper()) - ord("A")


def parse(value: Any) -> Any:
    """The list or mapping that a text writes, as JSON or as Python does. Raises ValueError for any other text.

    What numpy writes without commas is refused: Python would join its texts.
    """
    if isinstance(value, list | dict):
        return value
    text = as_text(value)
    try:
        found = loads(text)
    except json.JSONDecodeError:
        found = _literal(text)
    if not isinstance(found, list | tuple | dict):
        raise ValueError(f"expected a list or mapping as JSON or Python writes it, found {short(text)}")
    return guarded(found)


def _literal(text: str) -> Any:
    """A Python literal of lists, mappings, texts and numbers."""
    try:
        words = [word.type for word in tokenize.generate_tokens(io.StringIO(text.strip()).readline)]
        tree = ast.parse(text.strip(), mode="eval")
        found = ast.literal_eval(tree)
    except (SyntaxError, ValueError, tokenize.TokenError, RecursionError, MemoryError, TypeError):
        raise ValueError(f"expected a list or mapping as JSON or Python writes it, found {short(text)}") from None
    written = [word for word in words if word not in (tokenize.NL, tokenize.COMMENT)]
    if any(one == other == tokenize.STRING for one, other in itertools.pairwise(written)):
        raise ValueError(f"two texts without a comma between them, as numpy prints arrays, in {short(text)}")
    for node in ast.walk(tree):
        keys = [ast.dump(key) for key in node.keys if key is not None] if isinstance(node, ast.Dict) else []
        if len(set(keys)) < len(keys):
            raise ValueError(f"a mapping has a key twice, and only one of them can count, in {short(text)}")
    odd = [part for part in _parts(found) if not isinstance(part, str | int | float | None)]
    if odd:
        raise ValueError(f"expected texts and numbers, found {short(odd[0])} in {short(text)}")
    return found


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, list | tuple):
        for part in value:
            yield from _parts(part)
    elif isinstance(value, dict):
        for key, part in value.items():
            yield key
            yield from _parts(part)
    else:
        yield value


_NONE_GIVEN = object()


def _integer(value: Any, default: Any = _NONE_GIVEN, base: int = 10) -> Any:
    """Jinja's ``int``, which makes 0 of what is no number, and 3 of 3.7, without the guesses."""
    try:
        if not isinstance(value, str):
            return _exact(value)
        if base != 10 or _WHOLE_NUMBER.fullmatch(value):
            return int(value, base)
        return _exact(_number(value))
    except (TypeError, ValueError, OverflowError):
        if default is _NONE_GIVEN:
            raise ValueError(f"expected a whole number, found {short(value)}") from None
        return default


def _number(value: Any) -> float:
    """A number, or the one that a text writes in plain digits. Raises ValueError, TypeError."""
    if isinstance(value, str) and ("_" in value or not value.isascii()):
        raise ValueError
    return float(value)


def _exact(value: Any) -> int:
    whole = int(value)
    if whole != value:
        raise ValueError
    return whole


def _floating(value: Any, default: Any = _NONE_GIVEN) -> Any:
    """Jinja's ``float``, which makes 0.0 of what is no number, without the guess."""
    try:
        number = _number(value)
        if math.isfinite(number):
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    if default is _NONE_GIVEN:
        raise ValueError(f"expected a number, found {short(value)}")
    return default


def _json(value: Any, indent: int | None = None) -> str:
    """Jinja's ``tojson`` without the marks for HTML; a missing value is null."""
    return json.dumps(
        value,
        ensure_ascii=False,
        allow_nan=False,
        indent=indent,
        default=lambda part: None if is_missing(part) else part,
    )


def _join(value: Iterable[Any], d: str = "", attribute: str | None = None) -> str:
    """Jinja's ``join`` of texts and numbers."""
    parts = value if attribute is None else [part[attribute] for part in value]
    return as_text(d).join(map(as_text, parts))


def _format(value: Any, *args: Any, **kwargs: Any) -> str:
    """Jinja's ``format``, without enormous widths."""
    _check_format(as_text(value))
    return as_text(value) % (kwargs or args)


def _range(*arguments: int) -> range:
    steps = range(*arguments)
    if len(steps) > LONGEST:
        raise ValueError(f"a range of {len(steps):,} steps is too long; {LONGEST:,} are allowed")
    return steps


def _check_format(text: Any) -> None:
    if isinstance(text, str) and _WIDTH.search(text):
        raise ValueError(f"{short(text)} asks for a width that is too large or stands in a field")


def _check_numbers(name: str, arguments: Iterable[Any]) -> None:
    for argument in arguments:
        if isinstance(argument, int) and abs(argument) > LONGEST:
            raise ValueError(f"{name}: {argument:,} is too large; {LONGEST:,} is allowed")


def _bounded(name: str, function: Callable[..., Any], first: int) -> Callable[..., Any]:
    """``function`` where no number from argument ``first`` on is large: they are widths and counts."""

    @functools.wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        _check_numbers(name, (*args[first:], *kwargs.values()))
        return function(*args, **kwargs)

    return bounded


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox; with ``single``, only one character can be searched for in a text."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def __init__(self, single: bool) -> None:
        # Not optimised: constants would be computed while a configuration is read.
        super().__init__(
            undefined=jinja2.StrictUndefined, keep_trailing_newline=True, finalize=_printable, optimized=False
        )
        self._single = single
        self.globals = {"range": _range, "dict": dict}
        filters = self.filters
        for name in _NOT_FOR_PROMPTS:
            del filters[name]
        filters |= {"letter": letter, "parse": parse, "int": _integer, "float": _floating, "tojson": _json}
        filters |= {"join": _join, "string": as_text, "_shown": _printable}
        self.tests["none"] = is_missing
        for name, first in [("center", 1), ("indent", 1), ("batch", 1), ("slice", 1), ("round", 1), ("tojson", 1)]:
            filters[name] = _bounded(name, filters[name], first)
        for name, first in [("wordwrap", 2), ("truncate", 2)]:
            filters[name] = _bounded(name, filters[name], first)
        filters["format"] = _format

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A mapping's own entry, whatever methods mappings have: ``choices.values`` is a field."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        # Of `~`, Jinja makes text by itself.
        for node in list(source.find_all(nodes.Concat)):
            node.nodes = [nodes.Filter(part, "_shown", [], [], None, None, lineno=node.lineno) for part in node.nodes]
        return super()._generate(source, *args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Products, powers and formats that are not larger than anything is."""
        if operator == "%":
            _check_format(left)
        elif operator == "**" and isinstance(left, int) and isinstance(right, int):
            if abs(left) > 1 and left.bit_length() * right > LONGEST:
                raise ValueError(f"{left} ** {right} is too large")
        elif operator == "*":
            for one, other in ((left, right), (right, left)):
                if isinstance(one, str | list | tuple) and isinstance(other, int) and len(one) * other > LARGEST:
                    raise ValueError(f"{short(one)} * {other:,} is too long")
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """``str.format`` in the sandbox, without enormous widths."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        def checked(*args: Any, **kwargs: Any) -> str:
            _check_format(value.__self__)
            return wrapped(*args, **kwargs)

        return checked

    def call(__self, __context: Any, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        """A call, where searching a text and filling it up are as meant."""
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if isinstance(owner, str):
            if name in _SEARCHES and args:
                __self._check_search(owner, name, args[0])
            if name in _FILLING:
                _check_numbers(name, (*args, *kwargs.values()))
        return super().call(__context, __obj, *args, **kwargs)

    def _check_search(self, owner: str, name: str, wanted: Any) -> None:
        call = f"{short(owner)}.{name}({short(wanted)})"
        if not isinstance(wanted, str):
            raise ValueError(f"{call} looks for text; a letter becomes an index by the filter `letter`")
        if not wanted or (self._single and len(wanted) != 1):
            what = "nothing" if not wanted else "several characters"
            raise ValueError(f"{call} looks for {what}; a letter becomes an index by the filter `letter`")


_ANY = _Environment(single=False)
_GOLD = _Environment(single=True)


def template(source: str) -> Callable[[dict[str, Any]], str]:
    """A function from a row to the text of the template. Raises jinja2.TemplateSyntaxError."""
    _check(_ANY.parse(source))
    return _ANY.from_string(source).render


def expression(source: str, gold: bool = False) -> Callable[[dict[str, Any]], Any]:
    """A function from a row to the value of the expression, which may stand in braces.

    Of a ``gold`` one, which finds the right choice, nothing but single characters are searched for in a text. Raises
    jinja2.TemplateSyntaxError.
    """
    # Not a native template: that would parse text once more and make the number 7 of the answer "7".
    return (_GOLD if gold else _ANY).compile_expression(inner(source), undefined_to_none=False)


def inner(source: str) -> str:
    """An expression without the braces around it."""
    stripped = source.strip()
    return stripped[2:-2] if stripped.startswith("{{") and stripped.endswith("}}") else stripped


def fields_of(source: str, is_template: bool) -> list[str]:
    """Names of the fields of a row that a template or an expression uses."""
    text = source if is_template else f"{{{{ {inner(source)} }}}}"
    return sorted(jinja2.meta.find_undeclared_variables(_ANY.parse(text)) - {"range", "dict"})


def _check(node: nodes.Node, loops: int = 0) -> None:
    """Raise where a template holds what could call itself, or loops within loops within loops."""
    for kind, name in _REFUSED.items():
        if isinstance(node, kind):
            raise jinja2.TemplateSyntaxError(f"{{% {name} %}} is not allowed in a prompt", node.lineno)
    if isinstance(node, nodes.For):
        loops += 1
        if node.recursive or loops > _LOOPS:
            raise jinja2.TemplateSyntaxError("loops may be two deep and not recursive", node.lineno)
    for child in node.iter_child_nodes():
        _check(child, loops)
