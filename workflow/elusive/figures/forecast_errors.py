"""Error of backtested forecasts against their horizon, a line a method, the last value in bold."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotnine as p9

from elusive.figures import style
from elusive.figures.forecast_empty import NO_BACKTESTS, nothing
from elusive.forecast.names import BINS, KRIGING, LABELS

_BLUE, _RED, _GREEN, _PINK, _ORANGE, _SKY, _BLACK, _BROWN = style.PALETTE
#: Methods that are drawn, in the order of the key: a colour of the house and a kind of line, together of one method.
METHODS = {
    KRIGING: (_RED, "solid"),
    "last": (_BLACK, "solid"),
    "mean3": ("#8A8A8A", "solid"),
    "linear": (_ORANGE, "solid"),
    "power_error": (_BLUE, "solid"),
    "power_loss": (_GREEN, "dashed"),
    "logit2": (_SKY, "solid"),
    "two_step": (_GREEN, "solid"),
    "mean_kriging": (_PINK, "solid"),
    "choice_lines": (_BROWN, "solid"),
    "clusters": (_PINK, "dashed"),
}
#: Line widths in mm; the last value, which all are held against, is the boldest.
WIDTHS = {"last": 1.5, KRIGING: 0.95}
_WIDTH = 0.5
METRICS = {
    "accuracy": "accuracy\n(points)",
    "p_choices_correct": "p_choices\n(points)",
    "brier": "Brier score\n(× 100)",
    "log_p_vocab_correct": "log p_vocab\n(nats)",
}


def tidy(summary: pd.DataFrame, families: Mapping[str, str]) -> pd.DataFrame:
    """One row a mark: ``family`` ``metric`` ``bin`` ``method`` ``error``, and ``low`` ``high`` of the recommended one.

    ``summary`` is the table backtest_summary; its rows over all benchmarks that roll by compute are drawn.
    """
    own = summary[
        summary["benchmark"].isna()
        & (summary["protocol"] == "R")
        & summary["bin"].notna()
        & summary["method"].isin(METHODS)
        & summary["metric"].isin(METRICS)
        & summary["family"].isin(families)
    ]
    factor = own["metric"].map(lambda name: 1.0 if name == "log_p_vocab_correct" else 100.0).astype(float)
    recommended = own["method"] == KRIGING
    frame = pd.DataFrame(
        {
            "family": pd.Categorical(own["family"].map(families), list(dict.fromkeys(families.values()))),
            "metric": pd.Categorical(own["metric"].map(METRICS), list(METRICS.values())),
            "bin": pd.Categorical(own["bin"], list(BINS)),
            "method": own["method"],
            "error": factor * own["mae"],
            "low": (factor * (own["mae"] - own["minus_last"] + own["minus_last_low"])).clip(lower=0).where(recommended),
            "high": (factor * (own["mae"] - own["minus_last"] + own["minus_last_high"])).where(recommended),
            "num_clusters": own["num_clusters"],
        }
    )
    used = [name for name in METHODS if (frame["method"] == name).any()]
    return frame.assign(method=pd.Categorical(frame["method"].map(LABELS), [LABELS[name] for name in used]))


def plot(summary: pd.DataFrame, families: Mapping[str, str]) -> p9.ggplot:
    """Draw mean errors over all benchmarks: a column a family, a row a metric."""
    frame = tidy(summary, families)
    if frame.empty:
        return nothing(NO_BACKTESTS)
    names = list(frame["method"].cat.categories)
    looks = {LABELS[name]: look for name, look in METHODS.items()}
    bold = {LABELS[name]: width for name, width in WIDTHS.items()}
    band = frame[frame["low"].notna()]
    rows = 3 if frame["family"].nunique() > 1 else 5
    return (
        p9.ggplot(frame, p9.aes("bin", "error", color="method", group="method"))
        + p9.geom_ribbon(p9.aes(ymin="low", ymax="high", group="method"), data=band, fill=_RED, alpha=0.18, color=None)
        + p9.geom_line(p9.aes(size="method", linetype="method"))
        + p9.geom_point(size=0.9, stroke=0)
        + p9.facet_grid("metric", "family", scales="free_y", labeller=p9.labeller(cols=style.strips(24)))
        + p9.scale_color_manual([looks[name][0] for name in names])
        + p9.scale_linetype_manual([looks[name][1] for name in names])
        + p9.scale_size_manual([bold.get(name, _WIDTH) for name in names], guide=None)
        + p9.scale_y_continuous(minor_breaks=[])
        + p9.labs(
            x="compute of the target over the largest learnt from", y="mean absolute error", color="", linetype=""
        )
        + p9.guides(
            color=p9.guide_legend(nrow=rows),
            linetype=p9.guide_legend(nrow=rows),
        )
        + style.theme(style.PAGE_WIDTH, 6.6)
        + p9.theme(
            legend_position="bottom",
            legend_box_spacing=0.01,
            strip_text_y=p9.element_text(size=7, rotation=270, ha="center"),
            strip_text_x=p9.element_text(size=7, ha="left"),
        )
    )


def caption_text(summary: pd.DataFrame, families: Mapping[str, str]) -> str:
    """What the figure shows, with its numbers."""
    frame = tidy(summary, families)
    if frame.empty:
        return f"Error of forecasts against their horizon.\n\nNothing is drawn: {NO_BACKTESTS}."
    first = next(iter(dict.fromkeys(frame["family"])))
    own = frame[(frame["family"] == first) & (frame["metric"] == METRICS["accuracy"])]
    parts = []
    for name in [name for name in BINS if (own["bin"] == name).any()]:
        rows = own[own["bin"] == name].set_index("method")["error"]
        best = rows.idxmin()
        parts.append(
            f"at {name} {LABELS[KRIGING]} {rows[LABELS[KRIGING]]:.1f}, last value {rows[LABELS['last']]:.1f}"
            + ("" if best in (LABELS[KRIGING], LABELS["last"]) else f", the least {rows[best]:.1f} ({best})")
        )
    clusters = frame.groupby("family", observed=True)["num_clusters"].max()
    counts = "; ".join(f"“{label}” {count}" for label, count in clusters.items())
    return (
        "Error of forecasts against their horizon.\n\n"
        "Horizontal axis: classes of the target's compute over the largest learnt from (below 2.2, 5.5, 17 and 63 "
        "times); vertical axis: mean absolute error over targets, then origins, then benchmarks, of backtests that "
        "roll by compute. Rows: metrics; columns: families. Boldest: the last value; bold: the recommended method; "
        "band: the 95 % interval of its difference to the last value when benchmarks are drawn again, around it. "
        f"Clusters (benchmarks): {counts}. The longest horizons have the fewest origins, and the earliest ones.\n\n"
        f"What to see: in “{first}” the errors of accuracy are, in points, {'; '.join(parts)}. A method that is best "
        "here was not chosen by this figure. Jumps from chance are not covered by any of these methods."
    )
