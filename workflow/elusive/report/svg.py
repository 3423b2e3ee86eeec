"""Charts that the page has without scripts: small SVGs whose colours come from the page's style sheet.

A chart has panels below each other on one axis of compute or correlation. Colours are classes (``c0`` to ``c4`` for the
metrics of the chain, ``right`` and ``wrong0`` ... for choices, ``chance``), so that they follow the reader's light or
dark mode. Coordinates are rounded, so that the same numbers give the same bytes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

LEFT, RIGHT, TOP, BOTTOM, GAP = 46, 26, 20, 34, 34


@dataclass(frozen=True)
class Series:
    """A line through ``points`` (x, y) in the colour of class ``colour``; ``dots``: with a mark at each point.

    ``step``: the line goes level to the next point, then up or down. ``label`` stands at its end.
    """

    points: Sequence[tuple[float, float]]
    colour: str
    dots: bool = False
    step: bool = False
    label: str = ""
    faint: bool = False


@dataclass(frozen=True)
class Panel:
    """A panel of ``height`` units with a title above it, its range and ticks of y, and what is drawn in it."""

    title: str
    height: int
    low: float
    high: float
    ticks: Sequence[float]
    series: Sequence[Series]
    level: float | None = None
    notes: Sequence[str] = field(default=())


def nice_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between ``low`` and ``high``, at most about ``most`` of them."""
    if not high > low:
        return [low]
    raw = (high - low) / most
    unit = 10.0 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def power_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Ticks of an axis of log10 FLOPs: whole powers, with 2 and 5 times them where there are fewer than two."""
    whole = list(range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1))
    while len(whole) > 7:
        whole = whole[::2]
    if len(whole) >= 2:
        return [(float(k), f"10{_raised(k)}") for k in whole]
    found = []
    for k in range(math.floor(low), math.ceil(high) + 1):
        for factor in (1, 2, 5):
            at = k + math.log10(factor)
            if low <= at <= high:
                found.append((at, f"{'' if factor == 1 else f'{factor}·'}10{_raised(k)}"))
    return found


def _raised(value: int) -> str:
    return str(value).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")


def chart(
    panels: Sequence[Panel],
    x_low: float,
    x_high: float,
    x_ticks: Sequence[tuple[float, str]],
    x_title: str,
    title: str,
    width: int = 560,
) -> Markup:
    """The panels as one SVG; ``title`` says in words what it shows."""
    if x_high <= x_low:
        x_low, x_high = x_low - 0.5, x_high + 0.5
    inner = width - LEFT - RIGHT

    def px(value: float) -> float:
        return LEFT + (value - x_low) / (x_high - x_low) * inner

    height = TOP + sum(panel.height for panel in panels) + GAP * (len(panels) - 1) + BOTTOM
    parts = [
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>"
    ]
    top = TOP
    for panel in panels:
        bottom = top + panel.height
        span = panel.high - panel.low or 1.0

        def py(value: float, bottom: int = bottom, panel: Panel = panel, span: float = span) -> float:
            return bottom - (value - panel.low) / span * panel.height

        parts.append(f'<text x="{LEFT}" y="{top - 7}">{escape(panel.title)}</text>')
        for tick in panel.ticks:
            y = py(tick)
            parts.append(f'<path class="grid" d="M{LEFT},{y:.1f}h{inner}"/>')
            parts.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{_number(tick)}</text>')
        for at, _ in x_ticks:
            parts.append(f'<path class="grid" d="M{px(at):.1f},{top}v{panel.height}"/>')
        parts.append(f'<rect class="frame" x="{LEFT}" y="{top}" width="{inner}" height="{panel.height}"/>')
        if panel.level is not None:
            parts.append(f'<path class="level" d="M{LEFT},{py(panel.level):.1f}h{inner}"/>')
        ends = []
        for series in panel.series:
            places = [(px(x), py(y)) for x, y in series.points]
            if len(places) > 1:
                path = f"M{places[0][0]:.1f},{places[0][1]:.1f}"
                for x, y in places[1:]:
                    path += f"H{x:.1f}V{y:.1f}" if series.step else f"L{x:.1f},{y:.1f}"
                faint = " faint" if series.faint else ""
                parts.append(f'<path class="line{faint} {series.colour}" d="{path}"/>')
            if series.dots:
                marks = "".join(f"M{x - 2.6:.1f},{y:.1f}a2.6,2.6 0 1,0 5.2,0a2.6,2.6 0 1,0 -5.2,0" for x, y in places)
                parts.append(f'<path class="dot {series.colour}" d="{marks}"/>')
            if series.label and places:
                ends.append([places[-1][1], series])
        # Labels at the lines' ends are pushed apart.
        ends.sort(key=lambda end: end[0])
        for before, after in itertools.pairwise(ends):
            after[0] = max(after[0], before[0] + 12)
        for y, series in ends:
            parts.append(
                f'<text class="{series.colour} tag" x="{width - RIGHT + 4}" y="{y + 4:.1f}">'
                f"{escape(series.label)}</text>"
            )
        top = bottom + GAP
    end = top - GAP
    for at, label in x_ticks:
        parts.append(f'<text x="{px(at):.1f}" y="{end + 16}" text-anchor="middle">{label}</text>')
    parts.append(f'<text x="{width - RIGHT}" y="{end + 30}" text-anchor="end">{escape(x_title)}</text></svg>')
    return Markup("".join(parts))
