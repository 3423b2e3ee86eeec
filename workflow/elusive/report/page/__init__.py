"""What the page is made of: templates (a file a section), the style sheet, and the scripts.

The scripts are plain files that become one, in the order of :data:`SCRIPTS`, inside a function of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from elusive.figures.style import format_number, format_share
from elusive.report.words import mark, term

SCRIPTS = ("core", "tables", "charts", "curves", "items", "page")
_HERE = Path(__file__).parent


def style() -> str:
    """The style sheet."""
    return (_HERE / "page.css").read_text(encoding="utf-8")


def script() -> str:
    """All scripts."""
    parts = [(_HERE / f"{name}.js").read_text(encoding="utf-8") for name in SCRIPTS]
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n"


def _heat(value: float | None) -> Markup:
    """Attributes that colour a cell by a correlation: blue above 0, red below, stronger further from 0."""
    if value is None:
        return Markup("")
    return Markup(' class="{}" style="--h:{}"').format("up" if value >= 0 else "down", f"{min(abs(value), 1.0):.2f}")


def _values(cell: Any) -> Markup:
    """Attributes with the numbers of a cell as downloads have them."""
    value = getattr(cell, "value", None) if hasattr(cell, "value") else cell.mean
    numbers = {"v": value, "low": cell.low, "high": cell.high}
    return Markup("").join(
        Markup(' data-{}="{}"').format(name, f"{number:.7g}") for name, number in numbers.items() if number is not None
    )


def _breakable(name: str) -> Markup:
    """``name`` with places after its underscores where a line may end: without them a long one ends inside words."""
    return escape(name).replace("_", Markup("_<wbr>"))


def environment() -> jinja2.Environment:
    """The templates with the filters that they use."""
    result = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    # A NaN would not be JSON, and the page's script would stop at it.
    result.policies["json.dumps_kwargs"] = {"sort_keys": True, "allow_nan": False, "separators": (",", ":")}
    result.globals["term"] = term
    result.filters |= {
        "breakable": _breakable,
        "heat": _heat,
        "values": _values,
        "terms": mark,
        "number": lambda value: "–" if value is None else format_number(value),
        "signed": lambda value, digits: ("+" if round(value, digits) > 0 else "") + format_number(value, digits),
        "share": format_share,
        # Of an axis of correlation that ends at 1.
        "width": lambda value, floor=0.0: f"{100 * min(abs(value), 1.0) / (1 - floor):.1f}%",
        "place": lambda value, floor=0.0: f"{100 * (min(value, 1.0) - floor) / (1 - floor):.1f}%",
        "count": lambda value: f"{value:,}",
    }
    return result
