"""Correlations of one benchmark by every method: survival curves and densities, a row a metric, a column a method."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotnine as p9

from elusive.analysis.correlations import METHODS
from elusive.figures import style
from elusive.figures.data import Benchmark
from elusive.figures.null import Chance, chance_text, describe_null, null_curve
from elusive.figures.survival import survival_steps

#: Ends of the stretches of which a density has the shares; a value at an end belongs to the stretch above it.
EDGES = np.linspace(-1, 1, 21).round(1)

#: Decimals of a correlation that say on which side of an end it is: further ones are rounding.
DECIMALS = 9

#: Of fewer checkpoints, a rank correlation has so few values that a density would draw a comb.
MIN_MODELS = 15

#: Corners of a curve that are drawn at most: more than a panel of this size can show.
MAX_CORNERS = 400


def density(values: np.ndarray) -> np.ndarray:
    """Density [stretches of :data:`EDGES`] of correlations ``values`` [items]; empty where none is defined."""
    values = values[~np.isnan(values)]
    if not len(values):
        return np.empty(0)
    counts, _ = np.histogram(np.clip(values, -1, 1).round(DECIMALS), bins=EDGES)
    return counts / (len(values) * np.diff(EDGES))


def null_density(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The same of chance, from the corners ``x``, ``y`` of its survival curve: of a staircase the exact shares."""
    if not len(x):
        return np.empty(0)
    x = x.round(DECIMALS)
    # The share of values at an end or above it: where the curve falls at an end, its height before the fall.
    at = np.searchsorted(x, EDGES, side="left")
    before = np.maximum(at - 1, 0)
    rise = np.where(x[at] > x[before], (EDGES - x[before]) / np.where(x[at] > x[before], x[at] - x[before], 1), 1)
    above = y[before] + rise * (y[at] - y[before])
    above[0], above[-1] = 1.0, 0.0  # what lies at the ends belongs to the first and the last stretch
    return -np.diff(above) / np.diff(EDGES)


def _stairs(heights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the outline of a histogram over :data:`EDGES`."""
    return (EDGES, np.append(heights, heights[-1])) if len(heights) else (np.empty(0), np.empty(0))


def _thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(x) <= MAX_CORNERS:
        return x, y
    kept = np.unique(np.linspace(0, len(x) - 1, MAX_CORNERS).round().astype(int))
    return x[kept], y[kept]


def _panels(correlations: pd.DataFrame, families: Mapping[str, str]) -> dict[tuple[str, str, str], np.ndarray]:
    """(metric, method, family) -> correlations [items], NaN where undefined; p_vocab only where methods see it."""
    groups = correlations.groupby(["metric", "method", "family"], sort=False)["correlation"]
    values = {key: group.to_numpy(dtype=float) for key, group in groups}
    return {
        (m.column, method, family): values[m.column, method, family]
        for method in METHODS
        for m in style.metrics_seen_by(method)
        for family in families
    }


def _frame(curves: list[dict[str, object]], families: Mapping[str, str]) -> pd.DataFrame:
    frame = pd.concat([pd.DataFrame(curve) for curve in curves], ignore_index=True)
    return frame.assign(
        metric=pd.Categorical(frame["metric"], [m.column for m in style.METRICS]),
        method=pd.Categorical(frame["method"], list(METHODS)),
        family=pd.Categorical(frame["family"], list(families.values())),
    )


def _grid(frame: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str], **facets: str) -> list[object]:
    """What both figures share: panels, colours, axis, key, size."""
    labels = list(families.values())
    math = {m.column: m.math for m in style.METRICS}
    rows = style.key_rows(labels)
    same = pd.DataFrame(
        {
            "metric": "p_vocab_correct",
            "method": [m for m in METHODS if m != "pearson"],
            "text": "ranks of the row above",
        }
    )
    same = same.assign(
        metric=pd.Categorical(same["metric"], list(math)), method=pd.Categorical(same["method"], list(METHODS))
    )
    return [
        p9.facet_grid(
            "metric",
            "method",
            labeller=p9.labeller(rows=lambda name: math[name], cols=lambda name: name.capitalize()),
            **facets,
        ),
        p9.scale_color_manual(style.family_colours(labels), labels=style.wrap),
        style.correlation_scale(),
        p9.geom_text(
            p9.aes("x", "y", label="text"), data=same.assign(x=0.0, y=0.5), inherit_aes=False, size=6, color="#777777"
        ),
        p9.guides(color=p9.guide_legend(nrow=rows)),
        style.theme(style.PAGE_WIDTH, 6.6 + 0.2 * rows),
        p9.theme(
            legend_position="bottom",
            legend_box_spacing=0.01,
            strip_text_y=p9.element_text(size=7.5, rotation=270),
        ),
    ]


def plot_survival(
    correlations: pd.DataFrame, chance: Chance, benchmark: Benchmark, families: Mapping[str, str]
) -> p9.ggplot:
    """Draw the survival curves over those of ``chance``."""
    curves, expected = [], []
    for (metric, method, family), values in _panels(correlations, families).items():
        about = {"metric": metric, "method": method, "family": families[family]}
        for found, (x, y) in (
            (curves, _thin(*survival_steps(values))),
            (expected, null_curve(chance, family, method)),
        ):
            found.append({"x": x, "y": y} | about)
    frame = pd.concat(
        [_frame(curves, families).assign(kind="measured"), _frame(expected, families).assign(kind="chance")]
    )
    return (
        p9.ggplot(frame[frame["kind"] == "measured"], p9.aes("x", "y", color="family"))
        + p9.geom_line(data=frame[frame["kind"] == "chance"], size=0.4, linetype="dotted", show_legend=False)
        + p9.geom_step(size=0.5)
        + p9.scale_y_continuous(limits=(0, 1), breaks=[0, 0.5, 1], minor_breaks=[], expand=(0.02, 0))
        + p9.labs(
            x=r"correlation $c$ of an item's score with $\log_{10}$ FLOPs",
            y=r"share of items with correlation $> c$",
            color="",
            title=style.escape(benchmark.label),
        )
        + _grid(frame, benchmark, families)
    )


def _dense(correlations: pd.DataFrame, families: Mapping[str, str]) -> dict[str, str]:
    """The families of at least :data:`MIN_MODELS` checkpoints."""
    models = correlations.groupby("family")["num_models"].max()
    return {name: label for name, label in families.items() if models[name] >= MIN_MODELS}


def plot_density(
    correlations: pd.DataFrame, chance: Chance, benchmark: Benchmark, families: Mapping[str, str]
) -> p9.ggplot:
    """Draw the densities over those of ``chance``, each row of panels with a scale of its own."""
    kept = _dense(correlations, families)
    drawn = kept or families
    curves, expected = [], []
    for (metric, method, family), values in _panels(correlations, drawn).items():
        about = {"metric": metric, "method": method, "family": families[family]}
        for found, heights in (
            (curves, density(values)),
            (expected, null_density(*null_curve(chance, family, method))),
        ):
            x, y = _stairs(heights if family in kept else np.empty(0))
            found.append({"x": x, "y": y} | about)
    frame = pd.concat([_frame(curves, drawn).assign(kind="measured"), _frame(expected, drawn).assign(kind="chance")])
    return (
        p9.ggplot(frame[frame["kind"] == "measured"], p9.aes("x", "y", color="family"))
        + p9.geom_vline(xintercept=0, size=0.3, color="#999999")
        + p9.geom_step(data=frame[frame["kind"] == "chance"], size=0.4, linetype="dotted", show_legend=False)
        + p9.geom_step(size=0.5)
        + p9.scale_y_continuous(expand=(0.03, 0), breaks=_few, minor_breaks=[])
        + p9.expand_limits(y=[0, 1])
        + p9.labs(
            x=r"correlation $c$ of an item's score with $\log_{10}$ FLOPs",
            y="density of the items",
            color="",
            title=style.escape(benchmark.label),
            subtitle="" if kept else f"no family has {MIN_MODELS} checkpoints: nothing to draw",
        )
        + _grid(frame, benchmark, drawn, scales="free_y")
    )


def _few(limits: tuple[float, float]) -> list[float]:
    step = next(step for step in (0.25, 0.5, 1, 2, 5, 10, 20) if limits[1] / step <= 3)
    return [step * k for k in range(int(limits[1] / step) + 1)]


def _medians(correlations: pd.DataFrame, families: Mapping[str, str]) -> str:
    """Medians of the first family by metric and method, as a phrase."""
    first = next(iter(families))
    parts = []
    for metric in style.METRICS:
        rows = correlations[(correlations["family"] == first) & (correlations["metric"] == metric.column)]
        medians = rows.groupby("method")["correlation"].median()
        seen = [m for m in METHODS if metric in style.metrics_seen_by(m)]
        found = "/".join("–" if np.isnan(medians[m]) else style.format_number(medians[m]) for m in seen)
        parts.append(f"{found} for {metric.plain}" + (" (Pearson)" if len(seen) == 1 else ""))
    return style.join(parts)


def _caption(
    title: str, axes: str, correlations: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str]
) -> str:
    models = correlations.groupby("family")["num_models"].max()
    members = "; ".join(f"“{label}” ({models[name]} checkpoints)" for name, label in families.items())
    first = next(iter(families))
    spread = correlations[(correlations["family"] == first) & (correlations["metric"] == "accuracy")]
    undefined = spread["correlation"].isna().mean()
    order = "/".join(method.capitalize() for method in METHODS)
    return (
        f"{benchmark.label}: {title}\n\n"
        "Horizontal axis: correlation, over a family's checkpoints, of one item's score with log10 of the training "
        f"FLOPs. {axes} Rows: metrics, −Brier negated; columns: methods. p_vocab is drawn under Pearson alone: ranks "
        "cannot see the exponential.\n\n"
        f"{benchmark.describe_items()} Families: {members}.\n\n"
        f"What to see: in “{families[first]}” the median correlation ({order}) is {_medians(correlations, families)}. "
        f"Accuracy has no correlation for {style.format_share(undefined)} of the items."
    )


def survival_caption(
    correlations: pd.DataFrame, chance: Chance, benchmark: Benchmark, families: Mapping[str, str]
) -> str:
    """What the survival curves show, with their numbers."""
    axes = (
        "Vertical axis: share of items whose correlation is larger. "
        f"{chance_text(chance, families, ('kendall', 'spearman'))}"
    )
    return _caption("survival curves of the correlations, by method.", axes, correlations, benchmark, families)


def density_caption(
    correlations: pd.DataFrame, chance: Chance, benchmark: Benchmark, families: Mapping[str, str]
) -> str:
    """What the densities show, with their numbers."""
    few = [label for name, label in families.items() if name not in _dense(correlations, families)]
    left = (
        f" Not drawn, having fewer than {MIN_MODELS} checkpoints: {style.join([f'“{f}”' for f in few])}." if few else ""
    )
    drawn = _dense(correlations, families)
    known = any(describe_null(chance, {name: label}, "spearman") for name, label in drawn.items())
    dotted = " Dotted: what chance alone gives with as many checkpoints." if known else ""
    axes = (
        f"Vertical axis: density of the items over stretches of {EDGES[1] - EDGES[0]:.1f}, with a scale of its own for "
        f"each metric.{dotted}{left}"
    )
    return _caption("densities of the correlations, by method.", axes, correlations, benchmark, families)
