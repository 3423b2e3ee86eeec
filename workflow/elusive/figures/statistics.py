"""Statistics of the correlation distributions, all benchmarks in one figure for one method (figure 3 of the paper).

Panels: mean, median, area under the survival function and negative Wasserstein distance to the ideal distribution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotnine as p9

from elusive.figures import style
from elusive.figures.data import Benchmark, PathLike, read_benchmark, read_frame
from elusive.figures.save import Outputs, save_figure

STATISTICS = {
    "mean": "mean",
    "median": "median",
    "auc": "area under the survival function",
    "neg_wasserstein": "negative Wasserstein distance",
}

#: Height of a benchmark's row that its marks fill; the rest separates it from the next.
_ROW_SHARE = 0.76


def _tidy(
    statistics: pd.DataFrame, benchmarks: Sequence[Benchmark], families: Mapping[str, str], method: str
) -> pd.DataFrame:
    """One row a mark: ``panel`` ``metric`` ``family`` ``value`` ``low`` ``high`` and its height ``place``."""
    metrics = [m.column for m in style.metrics_seen_by(method)]
    names = [b.name for b in benchmarks]
    chosen = statistics[
        (statistics["method"] == method)
        & (statistics["nan_policy"] == "zero")
        & statistics["subject"].isna()
        & statistics["metric"].isin(metrics)
        & statistics["benchmark"].isin(names)
        & statistics["family"].isin(families)
    ]
    lane = chosen["metric"].map(metrics.index) * len(families) + chosen["family"].map(list(families).index)
    lanes = len(metrics) * len(families)
    row = chosen["benchmark"].map(names.index)
    y = len(names) - 1 - row + _ROW_SHARE * (0.5 - (lane + 0.5) / lanes)
    panels = [
        pd.DataFrame(
            {
                "panel": title,
                "benchmark": chosen["benchmark"],
                "metric": chosen["metric"],
                "family": chosen["family"].map(families),
                "value": chosen[statistic],
                "low": chosen[f"{statistic}_low"],
                "high": chosen[f"{statistic}_high"],
                "place": y,
            }
        )
        for statistic, title in STATISTICS.items()
    ]
    frame = pd.concat(panels, ignore_index=True).dropna(subset=["value"])
    return frame.assign(
        panel=pd.Categorical(frame["panel"], list(STATISTICS.values())),
        metric=pd.Categorical(frame["metric"], metrics),
        family=pd.Categorical(frame["family"], list(families.values())),
    )


def chance_spans(frame: pd.DataFrame, shuffled: pd.DataFrame) -> pd.DataFrame:
    """Between which values a mark of ``frame`` would lie by chance: ``panel`` ``place`` ``low`` ``high``.

    ``shuffled`` has the rows of the table headline on one method: ``family`` (label) ``benchmark``
    ``metric`` and the 95 % of means under shuffled compute, ``shuffled_low`` and ``_high``. Area and Wasserstein
    distance follow from the mean; the median has no span.
    """
    found = frame.merge(shuffled, on=["family", "benchmark", "metric"]).dropna(subset=["shuffled_low"])
    low, high = found["shuffled_low"], found["shuffled_high"]
    spans = {
        "mean": (low, high),
        "auc": (1 + low, 1 + high),
        "neg_wasserstein": (0 * low - 1, np.maximum(low.abs(), high.abs()) - 1),
    }
    parts = [
        found[["panel", "place"]].assign(low=ends[0], high=ends[1])[found["panel"] == STATISTICS[statistic]]
        for statistic, ends in spans.items()
    ]
    return pd.concat(parts).assign(panel=lambda part: pd.Categorical(part["panel"], list(STATISTICS.values())))


def plot(
    statistics: pd.DataFrame,
    benchmarks: Sequence[Benchmark],
    families: Mapping[str, str],
    method: str,
    intervals: pd.DataFrame | None = None,
) -> p9.ggplot:
    """Draw the statistics of one method; ``statistics`` is the whole table, ``families`` maps name to label.

    ``intervals``: the table headline, whose means under shuffled compute are drawn behind the marks.
    """
    frame = _tidy(statistics, benchmarks, families, method)
    spans = frame[:0].assign(low=[], high=[])
    if intervals is not None:
        own = intervals[(intervals["method"] == method) & intervals["family"].isin(families)]
        spans = chance_spans(frame, own.assign(family=own["family"].map(families)))
    metrics = style.metrics_seen_by(method)
    math = {m.column: m.math for m in metrics}
    labels = list(families.values())
    rows = len(benchmarks)
    many = rows > 14
    width = 20 if many else 40
    key_rows = style.key_rows(labels)
    if many:  # one row of narrow panels, so that a hundred rows fit a page
        height = 1.4 + max(0.1, min(0.22, 15 / rows)) * rows
    else:
        marks = rows * len(metrics) * len(families)
        height = 1.3 + 2 * min(4.0, max(1.2, 0.024 * marks + 0.12 * rows))
    return (
        p9.ggplot(frame, p9.aes("value", "place", color="metric", shape="family"))
        + p9.geom_hline(yintercept=[i + 0.5 for i in range(rows - 1)], size=0.3, color="#CFCFCF")
        + p9.geom_segment(
            p9.aes("low", "place", xend="high", yend="place"),
            data=spans,
            inherit_aes=False,
            size=0.7 if many else 1.6,
            color="#DCDCDC",
            lineend="butt",
        )
        + p9.geom_segment(
            p9.aes(x="low", xend="high", yend="place"), size=0.35, alpha=0.75, na_rm=True, show_legend=False
        )
        + p9.geom_point(size=0.9 if many else 1.5, stroke=0.2)
        + p9.facet_wrap(
            "panel", ncol=4 if many else 2, scales="free_x", labeller=lambda title: style.wrap([title], width)[0]
        )
        + p9.scale_color_manual(
            {m.column: m.colour for m in metrics}, labels=lambda names: [math[name] for name in names]
        )
        + p9.scale_shape_manual(style.family_shapes(labels), labels=style.wrap)
        + p9.scale_y_continuous(
            breaks=[rows - 1 - i for i in range(rows)],
            labels=[style.escape(b.label) for b in benchmarks],
            limits=(-0.5, rows - 0.5),
            expand=(0, 0),
        )
        + p9.labs(x=f"statistic of the items' {method.capitalize()} correlations with log FLOPs", y="")
        + p9.guides(color=p9.guide_legend(order=1, nrow=1), shape=p9.guide_legend(order=2, nrow=key_rows))
        + style.theme(style.PAGE_WIDTH, height + 0.2 * key_rows)
        + p9.theme(
            axis_text_y=p9.element_text(size=5.5 if many else 7),
            legend_position="top",
            legend_box="vertical",
            legend_justification="left",
            panel_grid_major_y=p9.element_blank(),
            axis_ticks_major_y=p9.element_blank(),
            legend_box_spacing=0.01,
        )
    )


def caption_text(
    statistics: pd.DataFrame,
    benchmarks: Sequence[Benchmark],
    families: Mapping[str, str],
    method: str,
    intervals: pd.DataFrame | None = None,
) -> str:
    """What the statistics figure of one method shows, with its numbers."""
    frame = _tidy(statistics, benchmarks, families, method)
    first = next(iter(families.values()))
    means = frame[(frame["panel"] == STATISTICS["mean"]) & (frame["family"] == first)]
    ranges = []
    for metric in style.metrics_seen_by(method):
        values = means.loc[means["metric"] == metric.column, "value"]
        if len(values):
            ranges.append(f"{style.format_range(values.min(), values.max())} for {metric.plain}")
    over = "from the lowest to the highest benchmark, " if len(benchmarks) > 1 else ""
    models = statistics.groupby("family")["num_models"].max()
    members = "; ".join(f"“{label}” ({models[name]} checkpoints)" for name, label in families.items())
    items = ", ".join(f"{b.label} {b.num_items:,}" for b in benchmarks)
    notes = " ".join(f"{b.label}: {b.split_note}." for b in benchmarks if b.split_note)
    spans = intervals is not None and intervals.loc[intervals["method"] == method, "shuffled_low"].notna().any()
    chance = (
        " Grey bars: the middle 95 % of what the mean, and so area and distance, would be if compute were shuffled "
        "among the checkpoints: a mark on its bar is what chance gives, and the fewer the checkpoints, the wider."
        if spans
        else ""
    )
    omitted = (
        ""
        if method == "pearson"
        else f" p_vocab is left out: {method.capitalize()}'s coefficient sees only ranks, and so gives it the values "
        "of log p_vocab."
    )
    return (
        f"Distribution of the per-item {method.capitalize()} correlations with compute, by benchmark.\n\n"
        "Rows: benchmarks. Horizontal axes: mean, median, area under the survival function (0 to 2) and negative "
        "Wasserstein distance to the nearer of the two ideal distributions, all correlations +1 or all −1. Colours: "
        f"metrics, in the order of the chain; markers: families; thin lines: 95 % intervals.{omitted} Undefined "
        "correlations count as 0. Mean, area and Wasserstein distance are one number in three forms "
        f"(1 + mean; absolute mean − 1), so only the median adds to the mean.{chance}\n\n"
        f"Items: {items}. {notes} Families: {members}.\n\n".replace("  ", " ")
        + f"What to see: {over}the mean correlation in “{first}” is {style.join(ranges) or 'unknown'}."
    )


def read_statistics(path: PathLike) -> pd.DataFrame:
    """The columns of the table correlation_statistics that the figures draw."""
    keys = ["family", "benchmark", "subject", "metric", "method", "nan_policy", "num_items", "num_models"]
    values = [f"{s}{bound}" for s in STATISTICS for bound in ("", "_low", "_high")]
    return read_frame(path, "correlation_statistics", keys + values)


def read_intervals(path: PathLike) -> pd.DataFrame:
    """What the table headline says of means under shuffled compute."""
    columns = ["family", "benchmark", "metric", "method", "shuffled_low", "shuffled_high"]
    return read_frame(path, "headline", columns)


def write_statistics(
    *,
    statistics: PathLike,
    intervals: PathLike,
    items: Sequence[PathLike],
    families: Mapping[str, str],
    method: str,
    outputs: Outputs,
) -> None:
    """Draw and describe the correlation statistics of all benchmarks for one ``method``.

    ``statistics``, ``intervals``: the tables correlation_statistics and headline; ``items``: the
    benchmarks' items tables, in the order of the rows; ``families``: name -> label, in drawing order; ``outputs``:
    where to write.
    """
    frame, shuffled = read_statistics(statistics), read_intervals(intervals)
    benchmarks = [read_benchmark(path) for path in items]
    about = (frame, benchmarks, families, method, shuffled)
    save_figure(plot(*about), caption_text(*about), outputs, families)
