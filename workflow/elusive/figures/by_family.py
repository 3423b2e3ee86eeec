"""Statistics of the correlations of one benchmark by family: a row of panels a metric, a column a statistic."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotnine as p9

from elusive.analysis.correlations import METHODS
from elusive.figures import style
from elusive.figures.data import Benchmark
from elusive.figures.statistics import STATISTICS


def tidy(statistics: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str]) -> pd.DataFrame:
    """One row a mark: ``metric`` ``panel`` ``family`` ``method`` ``value`` ``low`` ``high`` and ``place``."""
    chosen = statistics[
        (statistics["benchmark"] == benchmark.name)
        & (statistics["nan_policy"] == "drop")
        & statistics["subject"].isna()
        & statistics["family"].isin(families)
    ]
    seen = [chosen[(chosen["method"] == m) & (chosen["metric"] == c.column)] for m in METHODS for c in style.METRICS
            if c in style.metrics_seen_by(m)]  # fmt: skip
    chosen = pd.concat(seen)
    names = list(families)
    height = len(names) - 1 - chosen["family"].map(names.index) - 0.22 * (chosen["method"].map(METHODS.index) - 1)
    frames = [
        pd.DataFrame(
            {
                "panel": title,
                "metric": chosen["metric"],
                "family": chosen["family"].map(families),
                "method": chosen["method"],
                "value": chosen[statistic],
                "low": chosen[f"{statistic}_low"],
                "high": chosen[f"{statistic}_high"],
                "place": height,
            }
        )
        for statistic, title in STATISTICS.items()
    ]
    frame = pd.concat(frames, ignore_index=True).dropna(subset=["value"])
    return frame.assign(
        panel=pd.Categorical(frame["panel"], list(STATISTICS.values())),
        metric=pd.Categorical(frame["metric"], [m.column for m in style.METRICS]),
        family=pd.Categorical(frame["family"], list(families.values())),
        method=pd.Categorical(frame["method"], list(METHODS)),
    )


def plot(statistics: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str]) -> p9.ggplot:
    """Draw the statistics of ``benchmark``; ``statistics`` is the whole table correlation_statistics."""
    frame = tidy(statistics, benchmark, families)
    labels = list(families.values())
    math = {m.column: m.math for m in style.METRICS}
    return (
        p9.ggplot(frame, p9.aes("value", "place", color="family", shape="method"))
        + p9.geom_segment(
            p9.aes(x="low", xend="high", yend="place"), size=0.35, alpha=0.75, na_rm=True, show_legend=False
        )
        + p9.geom_point(size=1.4, stroke=0.2)
        + p9.facet_grid(
            "metric",
            "panel",
            scales="free_x",
            labeller=p9.labeller(rows=lambda name: math[name], cols=style.strips(20)),
        )
        + p9.scale_color_manual(style.family_colours(labels), guide=None)
        + p9.scale_shape_manual(style.METHOD_SHAPES, labels=lambda names: [name.capitalize() for name in names])
        + p9.scale_y_continuous(
            minor_breaks=[],
            breaks=list(range(len(labels)))[::-1],
            labels=style.wrap(labels, 22),
            limits=(-0.5, len(labels) - 0.5),
            expand=(0, 0),
        )
        + p9.labs(
            x="statistic of the items' correlations with log FLOPs",
            y="",
            shape="",
            title=style.escape(benchmark.label),
        )
        + style.theme(style.PAGE_WIDTH, 1.3 + 5 * (0.3 + 0.24 * min(len(labels), 8)))
        + p9.theme(
            legend_position="bottom",
            legend_box_spacing=0.01,
            strip_text_y=p9.element_text(size=7.5, rotation=270),
            strip_text_x=p9.element_text(size=7),
            axis_text_y=p9.element_text(size=6, ma="right"),
        )
    )


def caption_text(statistics: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str]) -> str:
    """What the figure of one benchmark shows, with its numbers."""
    frame = tidy(statistics, benchmark, families)
    medians = frame[(frame["panel"] == STATISTICS["median"]) & (frame["method"] == "spearman")]
    falls = []
    for label in families.values():
        own = medians[medians["family"] == label].set_index("metric")["value"]
        if {"log_p_vocab_correct", "p_choices_correct"} <= set(own.index):
            before, after = (style.format_number(own[m]) for m in ("log_p_vocab_correct", "p_choices_correct"))
            falls.append(f"from {before} to {after} in “{label}”")
    models = statistics.groupby("family")["num_models"].max()
    members = "; ".join(f"“{label}” ({models[name]} checkpoints)" for name, label in families.items())
    return (
        f"{benchmark.label}: statistics of the correlations, by family.\n\n"
        "Rows of panels: metrics in the order of the chain, −Brier negated; columns: statistics of the items' "
        "correlations with log FLOPs; within a panel, a line is a family and a marker a method. Thin lines: 95 % "
        "intervals over items. p_vocab is drawn under Pearson alone. Undefined correlations are left out.\n\n"
        f"{benchmark.describe_items()} Families: {members}.\n\n"
        f"What to see: by Spearman, the median goes from log p_vocab to p_choices {style.join(falls) or 'unknown'}."
    )
