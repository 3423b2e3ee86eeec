"""Skill against the last value, benchmark by benchmark in the order of their movement."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd
import plotnine as p9

from elusive.figures import style
from elusive.figures.data import Benchmark
from elusive.figures.forecast_empty import NO_BACKTESTS, nothing
from elusive.forecast.names import BINS, KRIGING, LABELS

#: Methods that are drawn, with their colours and markers.
METHODS = {
    KRIGING: ("#D55E00", "D"),
    "mean3": ("#8A8A8A", "o"),
    "power_error": ("#0072B2", "^"),
    "mean_kriging": ("#CC79A7", "s"),
}
ALL = "all benchmarks"
LEAST = -1.0


def tidy(summary: pd.DataFrame, laws: pd.DataFrame, benchmarks: Sequence[Benchmark], family: str) -> pd.DataFrame:
    """One row a mark: ``row`` (label with movement) ``bin`` ``method`` ``skill`` ``low`` ``high``; below −1 as −1.

    Where the last value had no error, a forecast that had one is as far below as any, and one that had none is at 0.
    ``summary`` is backtest_summary, ``laws`` choice_laws; accuracy in backtests that roll by compute.
    """
    names = {b.name: b.label for b in benchmarks}
    movement = laws[(laws["family"] == family) & (laws["quantity"] == "margin")].set_index("benchmark")["movement"]
    ordered = sorted(names, key=lambda name: -1.0 if pd.isna(movement.get(name)) else float(movement[name]))
    own = summary[
        (summary["family"] == family)
        & (summary["protocol"] == "R")
        & summary["bin"].notna()
        & summary["subject"].isna()
        & (summary["metric"] == "accuracy")
        & summary["method"].isin(METHODS)
        & (summary["benchmark"].isin(names) | summary["benchmark"].isna())
    ]
    labels = {
        name: names[name] if pd.isna(movement.get(name)) else f"{names[name]} ({movement[name]:.3g})"
        for name in ordered
    }
    lost = own["mae"].gt(0).map({True: -math.inf, False: 0.0}).where(own["mae"].notna())
    rows = own["benchmark"].map(lambda name: ALL if pd.isna(name) else labels[name])
    drawn = [name for name in METHODS if (own["method"] == name).any()]
    return pd.DataFrame(
        {
            "row": pd.Categorical(rows, [ALL, *labels.values()]),
            "bin": pd.Categorical(own["bin"], [name for name in BINS if (own["bin"] == name).any()]),
            "method": pd.Categorical(own["method"].map(LABELS), [LABELS[name] for name in drawn]),
            "skill": own["skill"].fillna(lost).clip(lower=LEAST),
            "low": own["skill_low"].clip(lower=LEAST).where(own["method"] == KRIGING),
            "high": own["skill_high"].where(own["method"] == KRIGING),
            "num_clusters": own["num_clusters"],
        }
    ).dropna(subset=["skill"])


def plot(summary: pd.DataFrame, laws: pd.DataFrame, benchmarks: Sequence[Benchmark], family: str) -> p9.ggplot:
    """Draw skills, a panel a class of horizons."""
    frame = tidy(summary, laws, benchmarks, family)
    if frame.empty:
        return nothing(NO_BACKTESTS)
    names = list(frame["method"].cat.categories)
    look = {LABELS[name]: about for name, about in METHODS.items()}
    return (
        p9.ggplot(frame, p9.aes("skill", "row", color="method", shape="method"))
        + p9.geom_vline(xintercept=0, size=0.5, color="#000000")
        + p9.geom_segment(p9.aes(x="low", xend="high", yend="row"), size=0.5, na_rm=True, show_legend=False)
        + p9.geom_point(size=1.5, stroke=0)
        + p9.facet_wrap("bin", ncol=4)
        + p9.scale_color_manual([look[name][0] for name in names])
        + p9.scale_shape_manual([look[name][1] for name in names])
        + p9.scale_x_continuous(limits=(LEAST, 1), breaks=[-1, 0, 1], labels=["≤ −1", "0", "1"], minor_breaks=[])
        + p9.scale_y_discrete(labels=lambda labels: style.wrap(labels, 30))
        + p9.labs(x="skill: 1 − error / error of the last value", y="", color="", shape="")
        + style.theme(style.PAGE_WIDTH, 1.2 + 0.2 * min(len(benchmarks) + 1, 60))
        + p9.theme(legend_position="bottom", legend_box_spacing=0.01, axis_text_y=p9.element_text(size=6.5))
    )


def caption_text(
    summary: pd.DataFrame,
    laws: pd.DataFrame,
    benchmarks: Sequence[Benchmark],
    family: str,
    families: Mapping[str, str],
) -> str:
    """What the figure shows, with its numbers."""
    frame = tidy(summary, laws, benchmarks, family)
    if frame.empty:
        return f"Skill against the last value, by benchmark.\n\nNothing is drawn: {NO_BACKTESTS}."
    own = frame[(frame["method"] == LABELS[KRIGING])]
    parts = []
    for name in own["bin"].cat.categories:
        rows = own[own["bin"] == name]
        single = rows[rows["row"] != ALL]
        whole = rows[rows["row"] == ALL].iloc[0]
        interval = (
            ""
            if pd.isna(whole["low"])
            else f" (95 % interval {style.format_range(whole['low'], whole['high'])}, {whole['num_clusters']} clusters)"
        )
        parts.append(
            f"at {name} better on {(single['skill'] > 0).sum()} of {len(single)}, over all "
            f"{style.format_number(whole['skill'])}{interval}"
        )
    return (
        "Skill against the last value, by benchmark.\n\n"
        "Horizontal axis: 1 minus the mean absolute error of accuracy over that of the last value, in backtests that "
        "roll by compute: above 0 a forecast was better than to expect no change; what lies below −1 is drawn there. "
        "Vertical axis: benchmarks by the movement common to their items (in brackets), the still ones below; lowest "
        "row: all, with the interval from drawing benchmarks again. Single benchmarks have no interval: their rows "
        f"depend on each other. Panels: classes of horizons. Family “{families[family]}”.\n\n"
        f"What to see: {LABELS[KRIGING]} was {'; '.join(parts) or 'not judged'}. Jumps from chance are not covered by "
        "any of these methods."
    )
