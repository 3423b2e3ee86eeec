"""What the page draws without scripts: the chain on one item, arrows, and the first state of every chart."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from elusive.figures.data import Benchmark
from elusive.figures.states import FOLLOWS
from elusive.figures.style import METRICS, format_number, format_power, format_share
from elusive.report.curves import LEVELS, SCALE, SERIES
from elusive.report.headline import Line, Strip
from elusive.report.svg import Panel, Series, chart, nice_ticks, power_ticks
from elusive.report.titles import shorten

#: Classes of the chain's colours.
COLOURS = {metric.column: f"c{position}" for position, metric in enumerate(METRICS)}
#: Axis of the arrows: from and to, where nothing is below.
ARROWS = (-0.2, 1.0)
_CORRELATION_TICKS = [(-1.0, "−1"), (-0.5, "−0.5"), (0.0, "0"), (0.5, "0.5"), (1.0, "1")]
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#: Characters of a question, and of a choice, that are read at a glance.
_QUESTION, _CHOICE = 320, 40
_LONG = 700


def letter(position: int) -> str:
    """The letter of a choice."""
    return _LETTERS[position % len(_LETTERS)]


def wrong_class(position: int, gold: int) -> str:
    """Class of the colour of a choice."""
    if position == gold:
        return "right"
    return f"wrong{(position if position < gold else position - 1) % 5}"


def shares(log_likelihoods: Sequence[float]) -> np.ndarray:
    """Each choice's share of the probability of all."""
    values = np.asarray(log_likelihoods, np.float64)
    mass = np.exp(values - values.max())
    return mass / mass.sum()


def _power(log_value: float) -> str:
    """exp(log_value) as ``2.1 × 10⁻¹⁸``, whether or not a float can hold it."""
    exponent = math.floor(log_value / math.log(10))
    mantissa = math.exp(log_value - exponent * math.log(10))
    if f"{mantissa:.1f}" == "10.0":
        mantissa, exponent = 1.0, exponent + 1
    if -3 <= exponent <= 0:
        return format_number(mantissa * 10.0**exponent, 3)
    return f"{mantissa:.1f} × 10{str(exponent).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def _end(text: str, longest: int) -> str:
    """The end of a text, from a word's beginning: what is asked stands last."""
    if len(text) <= longest:
        return text
    cut = text[-longest:]
    return "… " + cut[cut.find(" ") + 1 :]


_ARROW_SCORES = ("log_p_vocab_correct", "p_choices_correct", "accuracy")


def arrow_range(strips: Iterable[Strip]) -> tuple[float, float]:
    """The axis of the arrows of all ``strips``: :data:`ARROWS`, further down to a quarter where a mean is lower."""
    means = [line.level(m).mean or 0.0 for strip in strips for line in strip.lines for m in _ARROW_SCORES]
    low = min(means, default=0.0)
    return (ARROWS[0] if low >= ARROWS[0] else max(np.floor(4 * low) / 4, -1.0), ARROWS[1])


def _along(value: float, axis: tuple[float, float]) -> float:
    """Where a correlation stands on the axis, in percent of the track."""
    return (value - axis[0]) / (axis[1] - axis[0]) * 100


def _arrow(a: float, b: float, colour: str, y: int) -> str:
    """An arrow from one place to another, in percent of the track; short ones are a head alone."""
    line = f'<line class="line {colour}" x1="{a:.2f}%" x2="{b:.2f}%" y1="{y}" y2="{y}"/>' if abs(a - b) > 0.4 else ""
    if abs(a - b) <= 0.8:
        return line
    way = -1 if b < a else 1
    head = f'<svg x="{b:.2f}%" y="{y - 5}" width="10" height="10" overflow="visible">'
    # Before the dot that stands at the end.
    head += f'<path class="dot {colour}" d="M{-4 * way},5l{-7 * way},-4v8z"/></svg>'
    return line + head


def arrow_rows(strip: Strip, axis: tuple[float, float] = ARROWS) -> list[dict[str, Any]]:
    """A row a benchmark: from log p_vocab to p_choices to accuracy, as arrows over one ``axis`` of correlation."""
    rows = []
    for line in strip.lines:
        levels = [line.level(metric) for metric in _ARROW_SCORES]
        if any(level.mean is None for level in levels):
            rows.append({"benchmark": line.benchmark, "svg": Markup("<span>–</span>")})
            continue
        values = [float(level.mean) for level in levels]
        places = [_along(value, axis) for value in values]
        parts = [_arrow(places[0], places[1], "c2", 9), _arrow(places[1], places[2], "c4", 21)]
        for at, colour, y in zip(places, ("c0", "c2", "c4"), (9, 9, 21), strict=True):
            parts.append(f'<circle class="dot {colour}" cx="{at:.2f}%" cy="{y}" r="4"/>')
        words = ", ".join(
            f"{name} {format_number(v)}"
            for name, v in zip(("log p_vocab", "p_choices", "accuracy"), values, strict=True)
        )
        svg = f'<svg role="img" width="100%" height="30" aria-label="{words}"><title>{words}</title>'
        rows.append({"benchmark": line.benchmark, "svg": Markup(f"{svg}{''.join(parts)}</svg>")})
    return rows


def arrow_axis(axis: tuple[float, float] = ARROWS) -> Markup:
    """The axis below the arrows, marked at every quarter, or every half where it is long."""
    low, high = axis
    step = 0.25 if low > -0.5 else 0.5
    parts = []
    for number in range(int(np.ceil(low / step)), round(high / step) + 1):
        value = number * step
        anchor = "end" if value == high else "start" if value == low else "middle"
        text = f"{value:g}".replace("-", "−")
        parts.append(f'<text x="{_along(value, axis):.2f}%" y="14" text-anchor="{anchor}">{text}</text>')
    return Markup(f'<svg width="100%" height="18" aria-hidden="true">{"".join(parts)}</svg>')


def arrow_zero(axis: tuple[float, float]) -> str:
    """Where 0 is on the axis."""
    return f"{_along(0.0, axis):.3f}%"


class Drawings:
    """The static drawings of a page, of its first family.

    ``runs`` are the drilldowns in the order of ``benchmarks``; ``means`` is the table of that name; ``chance`` the
    distribution of one correlation by chance, by method.
    """

    def __init__(
        self,
        strip: Strip,
        benchmarks: Sequence[Benchmark],
        runs: Sequence[Mapping[str, Any]],
        means: pd.DataFrame,
        chance: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.strip, self.benchmarks, self.means, self.chance = strip, list(benchmarks), means, chance
        self.runs = {run["benchmark"]: run for run in runs}
        self.family = strip.family
        self.line = self._most_lost()
        self.run = self.runs[self.line.benchmark.name]
        self.example, self.card = self._example()

    def _most_lost(self) -> Line:
        """The benchmark that loses most from log p_vocab to p_choices, of those that have it to lose if any do."""

        def lost(line: Line) -> float:
            before, after = line.level("log_p_vocab_correct").mean, line.level("p_choices_correct").mean
            return -math.inf if before is None or after is None else before - after

        lines = sorted(self.strip.lines, key=lambda line: self.benchmarks.index(line.benchmark))
        following = [line for line in lines if line.level("log_p_vocab_correct").state == FOLLOWS]
        return max(following or lines, key=lost)

    def _example(self) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
        """The item to explain with, and its run: of the items that lose most the one that loses most of all.

        Of benchmarks where log p_vocab follows compute, if there are any, and among items that are short enough to be
        read at a glance and whose choices are more than letters; the first item of the chart's benchmark if none is.
        """
        names = [b.name for b in self.strip.with_state("log_p_vocab_correct", FOLLOWS)]
        found = []
        for position, name in enumerate(b.name for b in self.benchmarks if not names or b.name in names):
            run = self.runs[name]
            for card in run["cards"]:
                own = card["families"][self.family]
                lengths = [len(text) for text in card["choices"]]
                readable = len(card["question"]) <= _QUESTION and max(lengths) <= _CHOICE and min(lengths) > 1
                if own["group"] == "largest" and readable:
                    before, after = (own["correlations"][m] for m in ("log_p_vocab_correct", "p_choices_correct"))
                    found.append((after - before, position, card["at"], run, card))
        if not found:
            return self.run, next(iter(self.run["cards"]), None)
        *_, run, card = min(found, key=lambda entry: entry[:3])
        return run, card

    def _members(self, run: Mapping[str, Any]) -> list[int]:
        return list(run["families"][self.family]["checkpoints"])

    def chain_item(self) -> dict[str, Any] | None:
        """One item through the chain under the checkpoint with most compute; None where the page has no item."""
        if self.card is None or not self._members(self.example):
            return None
        place = self._members(self.example)[-1]
        checkpoint = self.example["checkpoints"][place]
        values = [column[place] for column in self.card["log_likelihood"]]
        gold, found = self.card["gold"], shares(values)
        target = np.arange(len(values)) == gold
        best = int(np.argmax(values))
        return {
            "about": (
                f"An item of {self.example['label']} under {checkpoint['model']} {checkpoint['checkpoint']} "
                f"({format_power(checkpoint['flops'])} FLOPs)."
            ),
            "question": _end(self.card["question"], _QUESTION),
            "choices": [
                {
                    "letter": letter(k),
                    "text": shorten(self.card["choices"][k], _CHOICE),
                    "right": k == gold,
                    "log_likelihood": format_number(value, 1),
                    "probability": _power(value),
                    "share": float(found[k]),
                }
                for k, value in enumerate(values)
            ],
            "brier": format_number(-float(((target - found) ** 2).mean())),
            "accuracy": "1" if best == gold else "0",
            "likeliest": letter(best),
        }

    def _compute_axis(self, flops: Sequence[float]) -> tuple[float, float, list[tuple[float, str]]]:
        x = [math.log10(value) for value in flops]
        low, high = (min(x), max(x)) if x else (0.0, 1.0)
        pad = 0.02 * (high - low or 1.0)
        return low - pad, high + pad, power_ticks(low - pad, high + pad)

    def one_item(self) -> dict[str, Any] | None:
        """The item with the largest drop on the benchmark that loses most: question, choices and chart."""
        if self.card is None or not self._members(self.example):
            return None
        card, run, members = self.card, self.example, self._members(self.example)
        flops = [run["checkpoints"][place]["flops"] for place in members]
        x = [math.log10(value) for value in flops]
        columns = [[column[place] for place in members] for column in card["log_likelihood"]]
        share = [float(shares(values)[card["gold"]]) for values in zip(*columns, strict=True)]
        every = [value for column in columns for value in column]
        low, high = min(every), max(every)
        pad = 0.06 * (high - low or 1.0)
        series = [
            Series(list(zip(x, column, strict=True)), wrong_class(k, card["gold"]), dots=True, label=letter(k))
            for k, column in enumerate(columns)
        ]
        series.sort(key=lambda entry: entry.colour == "right")
        panels = [
            Panel(
                "log-likelihood (nats)",
                180,
                low - pad,
                high + pad,
                nice_ticks(low - pad, high + pad),
                self._joined(run, series),
            ),
            Panel(
                "p_choices of the right choice",
                64,
                0.0,
                1.0,
                (0.0, 0.5, 1.0),
                self._joined(run, [Series(list(zip(x, share, strict=True)), "right", dots=True)]),
                1 / len(columns),
            ),
        ]
        of_family = card["families"][self.family]
        about = [run["label"], run["items"][card["at"]]]
        if card["subject"]:
            about.append(card["subject"].replace("_", " "))
        before, after = (of_family["correlations"][name] for name in ("log_p_vocab_correct", "p_choices_correct"))
        about.append(f"C {_known(before)} in log p_vocab, {_known(after)} in p_choices")
        title = f"{len(columns)} choices, and p_choices of the right one, under {len(members)} checkpoints"
        return {
            "title": of_family["title"],
            "meta": " · ".join(about),
            "question": _end(card["question"], _LONG),
            "svg": chart(panels, *self._compute_axis(flops), "training FLOPs", title, 480),
            "choices": [
                {
                    "letter": letter(k),
                    "text": shorten(text, 180),
                    "right": k == card["gold"],
                    "colour": wrong_class(k, card["gold"]),
                    "spearman": _known(of_family["spearman"][k]),
                }
                for k, text in enumerate(card["choices"])
            ],
        }

    def _joined(self, run: Mapping[str, Any], series: Sequence[Series]) -> list[Series]:
        """Lines join a model's checkpoints only: each series as its dots, and a faint line a model."""
        models = [run["checkpoints"][place]["model"] for place in self._members(run)]
        if len(set(models)) in (1, len(models)):
            return list(series)
        result = []
        for entry in series:
            for name in dict.fromkeys(models):
                points = [point for point, model in zip(entry.points, models, strict=True) if model == name]
                result.append(Series(points, entry.colour, faint=True))
            result += [Series([point], entry.colour, dots=True) for point in entry.points[:-1]]
            result.append(Series(entry.points[-1:], entry.colour, dots=True, label=entry.label))
        return result

    def _mean_columns(self, benchmark: str, metrics: Sequence[str]) -> tuple[list[dict[str, Any]], list[list[float]]]:
        """Checkpoints of the family by compute, and the mean of each metric under them."""
        checkpoints = [self.run["checkpoints"][place] for place in self._members(self.run)]
        rows = self.means[self.means["benchmark"] == benchmark]
        found = rows.set_index(["metric", "model", "checkpoint"])["mean"].to_dict()
        keys = [(c["model"], c["checkpoint"]) for c in checkpoints]
        return checkpoints, [[float(found.get((metric, *key), math.nan)) for key in keys] for metric in metrics]

    def _mean_chart(self, metrics: Mapping[str, str], names: Sequence[str], y_title: str, title: str) -> Markup | None:
        checkpoints, columns = self._mean_columns(self.line.benchmark.name, list(metrics))
        every = [value for column in columns for value in column]
        if not every or any(math.isnan(value) for value in every):
            return None
        x = [math.log10(c["flops"]) for c in checkpoints]
        low, high = min(every), max(every)
        pad = 0.06 * (high - low or 1.0)
        series = [
            Series(list(zip(x, column, strict=True)), colour, dots=True, label=name)
            for column, colour, name in zip(columns, metrics.values(), names, strict=True)
        ]
        panel = Panel(
            y_title, 220, low - pad, high + pad, nice_ticks(low - pad, high + pad), self._joined(self.run, series)
        )
        return chart([panel], *self._compute_axis([c["flops"] for c in checkpoints]), "training FLOPs", title, 480)

    def right_and_wrong(self) -> dict[str, Any] | None:
        """Mean log-likelihood of the right choice, and of the wrong ones together, against compute."""
        svg = self._mean_chart(
            {"log_p_vocab_correct": "right", "log_p_vocab_incorrect": "wrong0"},
            ("", ""),
            "mean log-likelihood (nats)",
            "Mean log-likelihood of right and wrong choices against compute",
        )
        if svg is None:
            return None
        caption = Markup(
            '{}, mean over items: <span class="right">● the right choice</span>, '
            '<span class="wrong0">● all wrong choices together</span> (log of their summed probability).'
        ).format(self.line.benchmark.label)
        return {"svg": svg, "caption": caption}

    def mean_scores(self) -> Markup:
        """Accuracy against compute: the first state of the chart of mean scores."""
        svg = self._mean_chart(
            {"accuracy": "c4"}, ("",), "mean accuracy", f"Accuracy on {self.line.benchmark.label} against compute"
        )
        return svg if svg is not None else Markup("")

    def mean_scores_caption(self) -> str:
        """What that shows."""
        return f"{self.line.benchmark.label}: mean accuracy over the items of every checkpoint."

    def scatter(self) -> Markup:
        """Every item's correlation before and after the wrong choices enter."""
        family = self.run["families"][self.family]
        points = [
            (before, after)
            for before, after in zip(family["before"], family["after"], strict=True)
            if before is not None and after is not None
        ]
        width, size = 420, 360

        def at(value: float, flip: bool) -> float:
            part = (value + 1) / 2
            return 30 + (1 - part if flip else part) * (size - 40)

        marks = "".join(f"M{at(x, False) + 14:.1f},{at(y, True) - 20:.1f}h0" for x, y in points)
        title = f"{len(points)} items of {self.line.benchmark.label}: C in log p_vocab and in p_choices"
        low, high = at(-1, False) + 14, at(1, False) + 14
        top, bottom = at(1, True) - 20, at(-1, True) - 20
        parts = [
            f'<svg class="chart" viewBox="0 0 {width} {size}" role="img" aria-label="{title}"><title>{title}</title>',
            f'<rect class="frame" x="{low:.1f}" y="{top:.1f}" width="{high - low:.1f}" height="{bottom - top:.1f}"/>',
            f'<path class="level" d="M{low:.1f},{bottom:.1f}L{high:.1f},{top:.1f}"/>',
            f'<path class="cloud" d="{marks}"/>',
        ]
        for value, label in _CORRELATION_TICKS:
            parts.append(
                f'<text x="{at(value, False) + 14:.1f}" y="{bottom + 16:.1f}" text-anchor="middle">{label}</text>'
            )
            parts.append(f'<text x="{low - 5:.1f}" y="{at(value, True) - 16:.1f}" text-anchor="end">{label}</text>')
        parts.append(f'<text x="{high:.1f}" y="{bottom + 32:.1f}" text-anchor="end">C in log p_vocab</text>')
        parts.append(f'<text x="{low:.1f}" y="{top - 6:.1f}">C in p_choices</text></svg>')
        return Markup("".join(parts))

    def _curves(self, method: str = "spearman") -> list[tuple[str, list[int]]]:
        found = self.run["families"][self.family]["curves"]["curves"]
        return [
            (metric, curve)
            for (by, metric), curve in zip(SERIES, found, strict=True)
            if by == method and curve is not None
        ]

    def survival(self) -> Markup:
        """Survival curves of the chain by Spearman on the benchmark that loses most."""
        series = []
        if "spearman" in self.chance:
            found = self.chance["spearman"]
            places = [(c / SCALE, above / SCALE) for c, above in zip(found["c"], found["above"], strict=True)]
            series.append(Series([(-1.0, 1.0), *places], "chance", step=found["step"]))
        series += [Series(survival_points(curve), COLOURS[metric], step=True) for metric, curve in self._curves()]
        title = f"Survival curves of the Spearman correlations on {self.line.benchmark.label}"
        panel = Panel("share of items with a correlation above c", 250, 0.0, 1.0, (0.0, 0.25, 0.5, 0.75, 1.0), series)
        return chart([panel], -1.0, 1.0, _CORRELATION_TICKS, "c", title)

    def survival_caption(self) -> Markup:
        """What the curves are."""
        plain = {m.column: m.plain for m in METRICS}
        key = Markup(", ").join(
            Markup('<span class="{}">● {}</span>').format(COLOURS[metric], plain[metric])
            for metric, _ in self._curves()
        )
        dotted = ". Dotted: a score that has nothing to do with compute" if "spearman" in self.chance else ""
        return Markup("{}, Spearman: {}{}.").format(self.line.benchmark.label, key, dotted)

    def how_to_read(self) -> str | None:
        """One point of a curve in words."""
        curves = dict(self._curves())
        if "log_p_vocab_correct" not in curves:
            return None
        curve = np.array(curves["log_p_vocab_correct"][1:]) / SCALE
        shares = {c: float((curve > c).mean()) for c in (0.5, 0.25, 0.75, 0.0, 0.9, -0.25, -0.5, -0.75)}
        c = next((c for c, share in shares.items() if 0.05 <= share <= 0.95), 0.5)
        share = format_share(shares[c])
        return (
            f"How to read it: at c = {f'{c:g}'.replace('-', '−')} the curve of log p_vocab is at {share}, "
            f"so about {share} of the items of {self.line.benchmark.label} have a correlation with compute above that. "
            "The further a curve lies to the right, the more closely items follow compute."
        )


def survival_points(quantiles: Sequence[int]) -> list[tuple[float, float]]:
    """P(C > c) as corners of steps: 1 from −1 on, and at every quantile what is left above it."""
    values = np.array(quantiles) / SCALE
    distinct, last = np.unique(values, return_index=False), None
    points = [(-1.0, 1.0)]
    for value in distinct:
        above = float((values[1:] > value).sum()) / (LEVELS - 1)
        if last is None or above != last:
            points.append((float(value), above))
        last = above
    points.append((1.0, points[-1][1] if points[-1][0] < 1 else 0.0))
    return points


def _known(value: float | None) -> str:
    return "–" if value is None else format_number(value)
