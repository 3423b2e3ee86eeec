"""How often intervals held what came, against how often they say, before and after earlier errors widen them."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotnine as p9

from elusive.figures import style
from elusive.figures.forecast_empty import NO_BACKTESTS, nothing
from elusive.forecast.names import BINS, KRIGING

METRICS = {
    "accuracy": "accuracy",
    "p_choices_correct": "p_choices",
    "brier": "Brier score",
    "log_p_vocab_correct": "log p_vocab",
}
GROUPS = {"still": "no common movement", "moving": "common movement"}
BEFORE, AFTER = "as drawn", "widened"


def tidy(coverage: pd.DataFrame, family: str) -> pd.DataFrame:
    """One row a mark: ``metric`` ``bin`` ``group`` ``kind`` ``level`` ``value``, and numbers of targets and clusters.

    ``coverage`` is the table backtest_coverage; rows of ``family`` that roll by compute, of kriging of margins.
    """
    own = coverage[
        (coverage["family"] == family)
        & (coverage["protocol"] == "R")
        & (coverage["method"] == KRIGING)
        & coverage["bin"].notna()
        & coverage["group"].isin(GROUPS)
    ]
    frames = [
        pd.DataFrame(
            {
                "metric": pd.Categorical(own["metric"].map(METRICS), list(METRICS.values())),
                "bin": pd.Categorical(own["bin"], [name for name in BINS if (own["bin"] == name).any()]),
                "group": pd.Categorical(own["group"].map(GROUPS), list(GROUPS.values())),
                "kind": kind,
                "level": own["level"],
                "value": own[column],
                "num_targets": own["num_targets"],
                "num_clusters": own["num_clusters"],
            }
        )
        for kind, column in ((BEFORE, "coverage"), (AFTER, "coverage_inflated"))
    ]
    frame = pd.concat(frames, ignore_index=True)
    return frame.assign(kind=pd.Categorical(frame["kind"], [BEFORE, AFTER]))


def plot(coverage: pd.DataFrame, family: str) -> p9.ggplot:
    """Draw coverage against the nominal level: a column a class of horizons, a row a metric."""
    frame = tidy(coverage, family)
    if frame.empty:
        return nothing(NO_BACKTESTS)
    frame = frame.assign(line=frame["group"].astype(str) + frame["kind"].astype(str))
    return (
        p9.ggplot(frame, p9.aes("level", "value", color="group", linetype="kind", shape="kind", group="line"))
        + p9.geom_abline(slope=1, intercept=0, size=0.3, color="#999999")
        + p9.geom_line(size=0.5)
        + p9.geom_point(size=1.2, stroke=0.3)
        + p9.facet_grid("metric", "bin")
        + p9.scale_color_manual(["#0072B2", "#D55E00"])
        + p9.scale_shape_manual(["o", "^"])
        + p9.scale_linetype_manual(["dashed", "solid"])
        + p9.scale_x_continuous(limits=(0.4, 1), breaks=[0.5, 0.8, 0.95], minor_breaks=[])
        + p9.scale_y_continuous(limits=(0, 1), breaks=[0, 0.5, 0.8, 1], minor_breaks=[])
        + p9.labs(x="level of the interval", y="share of what came that it held", color="", linetype="", shape="")
        + style.theme(style.PAGE_WIDTH, 5.6)
        + p9.theme(
            legend_position="bottom",
            legend_box_spacing=0.01,
            strip_text_y=p9.element_text(size=7, rotation=270, ha="center"),
        )
    )


def caption_text(coverage: pd.DataFrame, family: str, families: Mapping[str, str]) -> str:
    """What the figure shows, with its numbers."""
    frame = tidy(coverage, family)
    if frame.empty:
        return f"Coverage of the intervals.\n\nNothing is drawn: {NO_BACKTESTS}."
    own = frame[(frame["level"] == 0.8) & (frame["metric"] == METRICS["accuracy"]) & (frame["kind"] == AFTER)]
    parts = []
    for label in GROUPS.values():
        rows = own[own["group"] == label]
        if rows.empty:
            continue
        held = ", ".join(f"{row.bin} {style.format_share(row.value)}" for row in rows.itertuples())
        parts.append(f"origins with {label}: {held} ({style.count(int(rows['num_clusters'].max()), 'benchmark')})")
    return (
        "Coverage of the intervals.\n\n"
        "Horizontal axis: level of an interval by kriging of margins; vertical axis: share of the targets whose score "
        "it held, in backtests that roll by compute; on the line the two agree. Columns: classes of horizons; rows: "
        "metrics. Colour: whether items had a common movement at the origin (5 or more). Dashed: intervals as drawn; "
        f"solid: widened by earlier errors of the family “{families[family]}”. Targets of an origin, and benchmarks of "
        "a run, depend on each other.\n\n"
        f"What to see: the 80 % intervals of accuracy, widened, held: {'; '.join(parts) or 'nothing is known'}. "
        "Intervals made of the past do not cover a jump from chance, and no factor mends that."
    )
