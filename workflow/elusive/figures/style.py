"""What every figure shares: names and colours of metrics and families, the theme, and how numbers are written."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import matplotlib

matplotlib.use("Agg")  # before plotnine: no figure ever needs a display

import plotnine as p9


@dataclass(frozen=True)
class Metric:
    """A step of the chain: its column in the tables, its name in mathematical and in plain type, its colour."""

    column: str
    math: str
    plain: str
    colour: str


#: The chain in its order, from blue to red through grey, each with a contrast of at least 3 to white paper.
METRICS = (
    Metric("log_p_vocab_correct", r"$\log p^{\mathrm{Vocab}}$", "log p_vocab", "#3B4CC0"),
    Metric("p_vocab_correct", r"$p^{\mathrm{Vocab}}$", "p_vocab", "#5F86DE"),
    Metric("p_choices_correct", r"$p^{\mathrm{Choices}}$", "p_choices", "#6E6E6E"),
    Metric("brier", r"$-$Brier score", "−Brier", "#D9622B"),
    Metric("accuracy", "Accuracy", "accuracy", "#B40426"),
)

#: Okabe and Ito's colours, which people with any common colour blindness can tell apart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D31")
_FAMILY_SHAPES = ("o", "^", "s", "D", "v", "P", "X", "*")

#: A marker for each method of correlation.
METHOD_SHAPES = {"pearson": "o", "spearman": "^", "kendall": "s"}

#: Masses on the right and on the wrong choices.
RIGHT, WRONG = "#3B4CC0", "#B40426"

#: Light to dark: the more compute or the more parameters, the darker.
SEQUENTIAL = ("#9ADBC0", "#4DBDAD", "#3591A8", "#38639D", "#403C76", "#1F1430")

#: Inches: a page's text width, and one column of two.
PAGE_WIDTH, COLUMN_WIDTH = 7.0, 3.4

#: What is said and drawn where nothing follows from compute, or can.
UNDEFINED = "no correlation is defined"


def metrics_seen_by(method: str) -> tuple[Metric, ...]:
    """The metrics that a correlation method tells apart: ranks cannot see that p_vocab is exp of log p_vocab."""
    return tuple(m for m in METRICS if method == "pearson" or m.column != "p_vocab_correct")


def family_colours(labels: Sequence[str]) -> dict[str, str]:
    """A colour for each family label, in order; beyond eight families colours repeat and shapes tell them apart."""
    return {label: PALETTE[i % len(PALETTE)] for i, label in enumerate(labels)}


def family_shapes(labels: Sequence[str]) -> dict[str, str]:
    """A marker for each family label, in order; a ninth family starts one marker later than its colour."""
    count = len(_FAMILY_SHAPES)
    return {label: _FAMILY_SHAPES[(i + i // count) % count] for i, label in enumerate(labels)}


def parameter_scale(parameters: Iterable[float]) -> p9.scale_color_gradientn:
    """The colour scale of models by size: a key for each size where they are few, else a colour bar."""
    sizes = sorted(set(parameters))
    few = len(sizes) <= 8
    return p9.scale_color_gradientn(
        SEQUENTIAL,
        trans="log10",
        guide=p9.guide_legend(reverse=True) if few else p9.guide_colorbar(),
        labels=lambda breaks: [format_count(value) for value in breaks],
        **({"breaks": sizes} if few else {}),
    )


def theme(width: float, height: float) -> p9.theme:
    """The look of all figures, for a figure of ``width`` × ``height`` inches."""
    return p9.theme_bw(base_size=8, base_family="DejaVu Sans") + p9.theme(
        figure_size=(width, height),
        plot_title=p9.element_text(size=9, weight="bold", ha="left"),
        plot_subtitle=p9.element_text(size=7, color="#444444", ha="left"),
        panel_grid_minor=p9.element_blank(),
        panel_grid_major=p9.element_line(size=0.3, color="#E6E6E6"),
        panel_border=p9.element_rect(size=0.5, color="#555555"),
        axis_ticks=p9.element_line(size=0.4, color="#555555"),
        axis_ticks_minor=p9.element_blank(),
        axis_ticks_length=2,
        axis_title=p9.element_text(size=8),
        axis_text=p9.element_text(size=7, color="#222222"),
        strip_background=p9.element_blank(),
        strip_text=p9.element_text(size=8, ha="left", ma="left", color="#111111"),
        legend_title=p9.element_text(size=7.5),
        legend_text=p9.element_text(size=7, ma="left"),
        legend_key=p9.element_blank(),
        legend_background=p9.element_blank(),
        panel_spacing_x=0.025,
        plot_margin=0.01,
    )


@dataclass(frozen=True)
class Panels:
    """How ``count`` panels are laid out across a page: at most 6 in a row and 16 rows of them at full size."""

    columns: int
    height: float
    many: bool

    @classmethod
    def of(cls, count: int) -> Panels:
        """Three in a row, and six small ones in a row from 19 on; ``height`` is that of all rows in inches."""
        many = count > 18
        columns = min(count, 6 if many else 3)
        rows = -(-count // columns)
        return cls(columns, rows * (min(0.95, 15 / rows) if many else 1.6), many)

    def theme(self) -> p9.theme:
        """Smaller type for small panels."""
        if not self.many:
            return p9.theme()
        return p9.theme(strip_text=p9.element_text(size=5.5, ha="left", ma="left"), axis_text=p9.element_text(size=5))


def format_count(value: float) -> str:
    """A number of parameters or tokens to three digits: ``1.05 M``, ``12.6 B``."""
    for size, unit in ((1e12, " T"), (1e9, " B"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def format_number(value: float, digits: int = 2) -> str:
    """A number with a proper minus sign and no negative zero, ``−0.12``; a word for one that is not defined."""
    if math.isnan(value):
        return "undefined"
    text = f"{value:.{digits}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def format_range(low: float, high: float) -> str:
    """Two numbers as ``−0.12 to 0.30``, or one where both are written the same."""
    texts = format_number(low), format_number(high)
    return texts[0] if texts[0] == texts[1] else f"{texts[0]} to {texts[1]}"


def format_share(value: float, digits: int = 0) -> str:
    """A share as a percentage: ``12 %``; ``< 1 %`` and ``> 99 %`` for what would round to none and all but is not."""
    if math.isnan(value):
        return "undefined"
    text = f"{100 * value:.{digits}f}"
    if value < 1 and float(text) == 100:
        return f"> {100 - 10**-digits:g} %"
    return f"< {10**-digits:g} %" if float(text) == 0 < value else f"{text} %"


def format_power(value: float) -> str:
    """A number, not negative, as ``2.1 × 10¹⁵``."""
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def whole_powers(limits: tuple[float, float], most: int = 5, margin: float = 0.0) -> list[int]:
    """Breaks of a scale of exponents: at most ``most`` multiples of 1, 2, 5, 10, ... within ``limits``.

    None is closer to a limit than ``margin`` times their distance, where its label would touch the next panel's.
    """
    edge = margin * (limits[1] - limits[0])
    low, high = limits[0] + edge, limits[1] - edge
    for step in (1, 2, 5, 10, 20, 50, 100, 200, 500):
        breaks = [step * k for k in range(math.ceil(low / step), math.floor(high / step) + 1)]
        if len(breaks) <= most:
            break
    return breaks


def colour_of(column: str) -> str:
    """The colour of a metric, by its column in the tables."""
    return next(metric.colour for metric in METRICS if metric.column == column)


def power_labels(breaks: Sequence[float]) -> list[str]:
    """Axis labels of powers of ten given by their exponents."""
    return [f"$10^{{{value:g}}}$" for value in breaks]


def compute_breaks(limits: tuple[float, float], most: int = 5) -> list[float]:
    """Powers of ten within ``limits``, at most ``most``; with 2 and 5 times them where there are fewer than two."""
    low, high = math.log10(limits[0]), math.log10(limits[1])
    breaks = [10.0**k for k in whole_powers((low, high), most)]
    if len(breaks) >= 2:
        return breaks
    every = [m * 10.0**k for k in range(math.floor(low), math.ceil(high) + 1) for m in (1, 2, 5)]
    return [value for value in every if limits[0] <= value <= limits[1]]


def compute_label(value: float) -> str:
    """A break of :func:`compute_breaks` as maths: ``10^22`` or ``2 x 10^22``."""
    power = math.floor(math.log10(value) + 1e-9)
    mantissa = round(value / 10.0**power)
    return f"$10^{{{power}}}$" if mantissa == 1 else rf"${mantissa}\times10^{{{power}}}$"


def compute_scale(most: int = 5) -> p9.scale_x_log10:
    """The axis of training FLOPs, with the breaks of :func:`compute_breaks` within each panel's own limits."""
    return p9.scale_x_log10(
        breaks=lambda limits: compute_breaks(limits, most),
        labels=lambda breaks: [compute_label(value) for value in breaks],
        minor_breaks=[],
    )


def key_rows(labels: Sequence[str]) -> int:
    """Rows of a key across the page that holds a label for each family: three in a row."""
    return -(-len(labels) // 3)


def correlation_scale(axis: str = "x") -> p9.scale_x_continuous:
    """The axis of correlations, from −1 to 1."""
    scale = p9.scale_x_continuous if axis == "x" else p9.scale_y_continuous
    return scale(
        limits=(-1, 1),
        breaks=[-1, -0.5, 0, 0.5, 1],
        labels=["−1", "−0.5", "0", "0.5", "1"],
        minor_breaks=[],
        expand=(0.01, 0),
    )


def escape(label: str) -> str:
    """A label as matplotlib is to draw it to the letter: two dollar signs would make what is between them maths."""
    return str(label).replace("$", r"\$")


def wrap(labels: Sequence[str], width: int = 28) -> list[str]:
    """Names of families or benchmarks, for keys and strips: drawn to the letter, in lines of ``width`` characters."""
    return [escape(textwrap.fill(str(label), width)) for label in labels]


def strips(width: int = 28) -> Callable[[str], str]:
    """The labeller of panels that are families or benchmarks."""
    return lambda label: wrap([label], width)[0]


def count(number: int, what: str) -> str:
    """``1 model``, ``1,200 models``."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def join(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``; nothing of nothing."""
    return "".join(parts) if len(parts) < 2 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def nothing(title: str) -> p9.ggplot:
    """What stands in the place of a figure of which no row is left to draw, under its title."""
    return (
        p9.ggplot()
        + p9.annotate("text", x=0, y=0, label=UNDEFINED.capitalize(), size=9, color="#555555")
        + p9.labs(title=title, x="", y="")
        + theme(PAGE_WIDTH, 1.2)
        + p9.theme(axis_text=p9.element_blank(), axis_ticks=p9.element_blank(), panel_grid=p9.element_blank())
    )
