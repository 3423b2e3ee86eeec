"""Accuracy against compute with forecasts from three origins and what came, and with the forecasts asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import plotnine as p9

from elusive.figures import style
from elusive.figures.accuracy import few_breaks
from elusive.figures.data import Benchmark

LEARNT, CAME, FORECAST = "learnt from", "came later", "forecast"
_COLOURS = {LEARNT: "#B8B8B8", CAME: "#000000", FORECAST: style.RIGHT}
_SHAPES = {LEARNT: "o", CAME: "o", FORECAST: "D"}


def _origins(backtests: pd.DataFrame) -> list[float]:
    """The first, the middle and the last origin that roll by compute."""
    known = sorted(backtests["origin"].unique())
    return list(dict.fromkeys([known[0], known[len(known) // 2], known[-1]])) if known else []


def _widened(rows: pd.DataFrame) -> pd.DataFrame:
    """``rows`` with the ends of 50 and 80 % intervals widened by the factor beside them."""
    factor = rows["inflation"].fillna(1.0)
    ends = {name: rows["forecast"] + factor * (rows[name] - rows["forecast"]) for name in _ENDS}
    return rows.assign(**{name: values.clip(0, 1) for name, values in ends.items()})


_ENDS = ("low50", "high50", "low80", "high80")


def tidy(means: pd.DataFrame, backtests: pd.DataFrame, forecasts: pd.DataFrame) -> pd.DataFrame:
    """One row a mark: ``panel`` ``kind`` ``flops`` ``value`` and, of forecasts, the ends of 50 and 80 % intervals.

    All three tables are of one family and benchmark: ``means`` its mean accuracy at every checkpoint, ``backtests`` the
    rows of kriging of margins that roll by compute, ``forecasts`` those of what is asked for.
    """
    frames = []
    for origin in _origins(backtests):
        own = _widened(backtests[backtests["origin"] == origin])
        panel = f"up to {style.format_power(10**origin)} FLOPs:\n{own['num_models'].iloc[0]} checkpoints"
        seen = means[means["flops"] <= 10**origin * (1 + 1e-9)]
        frames.append(seen.assign(panel=panel, kind=LEARNT, value=seen["mean"]))
        frames.append(own.assign(panel=panel, kind=FORECAST, value=own["forecast"]))
        frames.append(own.assign(panel=panel, kind=CAME, value=own["observed"])[["panel", "kind", "flops", "value"]])
    if len(forecasts):
        panel = f"what is asked for:\n{len(means)} checkpoints"
        frames.append(means.assign(panel=panel, kind=LEARNT, value=means["mean"]))
        frames.append(forecasts.assign(panel=panel, kind=FORECAST, value=forecasts["forecast"]))
    if not frames:
        frames.append(means.assign(panel="too few checkpoints to forecast from", kind=LEARNT, value=means["mean"]))
    frame = pd.concat(frames, ignore_index=True).reindex(columns=["panel", "kind", "flops", "value", *_ENDS])
    panels = list(dict.fromkeys(frame["panel"]))
    kinds = [kind for kind in (LEARNT, FORECAST, CAME) if (frame["kind"] == kind).any()]
    return frame.assign(panel=pd.Categorical(frame["panel"], panels), kind=pd.Categorical(frame["kind"], kinds))


def break_labels(breaks: Sequence[float]) -> list[str]:
    """Breaks of an axis of shares to the last digit: 0.5 alone is no 0."""
    return [f"{value:g}" for value in breaks]


def plot(means: pd.DataFrame, backtests: pd.DataFrame, forecasts: pd.DataFrame, benchmark: Benchmark) -> p9.ggplot:
    """Draw forecasts with 50 and 80 % intervals, and what came."""
    frame = tidy(means, backtests, forecasts)
    drawn = frame[frame["kind"] == FORECAST]
    kinds = list(frame["kind"].cat.categories)
    panels = len(frame["panel"].cat.categories)
    blue = {"color": _COLOURS[FORECAST], "na_rm": True}
    return (
        p9.ggplot(frame, p9.aes("flops", "value"))
        + p9.geom_hline(yintercept=benchmark.chance, linetype="dashed", size=0.4, color="#555555")
        + p9.geom_linerange(p9.aes(ymin="low80", ymax="high80"), data=drawn, size=0.4, alpha=0.55, **blue)
        + p9.geom_linerange(p9.aes(ymin="low50", ymax="high50"), data=drawn, size=1.1, alpha=0.45, **blue)
        + p9.geom_point(p9.aes(color="kind", shape="kind"), size=1.1, stroke=0)
        + p9.facet_wrap("panel", ncol=min(panels, 4))
        + style.compute_scale(most=3)
        + p9.scale_y_continuous(minor_breaks=[], breaks=few_breaks, labels=break_labels)
        + p9.scale_color_manual([_COLOURS[kind] for kind in kinds])
        + p9.scale_shape_manual([_SHAPES[kind] for kind in kinds])
        + p9.labs(x="training FLOPs (6·N·D)", y="accuracy", color="", shape="", title=style.escape(benchmark.label))
        + style.theme(style.PAGE_WIDTH, 2.5)
        + p9.theme(legend_position="bottom", legend_box_spacing=0.02, strip_text=p9.element_text(size=6.5, ha="left"))
    )


def caption_text(
    means: pd.DataFrame,
    backtests: pd.DataFrame,
    forecasts: pd.DataFrame,
    benchmark: Benchmark,
    families: Mapping[str, str],
) -> str:
    """What the figure of one benchmark shows, with its numbers; ``families`` holds the one that is drawn."""
    label = next(iter(families.values()))
    held = []
    for origin in _origins(backtests):
        own = _widened(backtests[backtests["origin"] == origin])
        known = own.dropna(subset=["low80"])
        inside = ((known["observed"] >= known["low80"]) & (known["observed"] <= known["high80"])).sum()
        furthest = own.loc[own["horizon"].idxmax()]
        share = f"{inside} of {len(known)} lay within the 80 % interval, and " if len(known) else ""
        held.append(
            f"from up to {style.format_power(10**origin)} FLOPs, {share}the furthest came to "
            f"{furthest['observed']:.3f} where {furthest['forecast']:.3f} was forecast"
        )
    if held:
        found = "; ".join(held)
        found = found[:1].upper() + found[1:] + "."
    else:
        found = "There are too few checkpoints for a backtest."
    asked = ""
    if len(forecasts):
        texts = [
            f"“{row.target}” {row.forecast:.3f}"
            + ("" if pd.isna(row.low80) else f" ({row.low80:.3f} to {row.high80:.3f})")
            for row in forecasts.itertuples()
        ]
        asked = f" Asked for, with 80 % intervals: {style.join(texts)}."
    return (
        f"{benchmark.label}: forecasts of accuracy, and what came.\n\n"
        "Horizontal axis: training FLOPs (6·N·D), logarithmic; vertical axis: mean accuracy. A panel is an origin: "
        "grey are the checkpoints that may be learnt from, blue the forecasts by kriging of margins with their 50 % "
        "(thick) and 80 % intervals, widened by what earlier errors say, black what came. What is asked for has not "
        "come yet. Dashed: chance. "
        f"Family “{label}”, {style.count(len(means), 'checkpoint')}. {benchmark.describe_items()}\n\n"
        f"What to see: {found}{asked} Intervals are made of the past: a jump from chance is not covered by them."
    )
