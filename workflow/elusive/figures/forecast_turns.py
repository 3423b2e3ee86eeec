"""The items that are most likely to turn right, or wrong, at a target."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import plotnine as p9

from elusive.figures import style
from elusive.figures.data import Benchmark
from elusive.figures.forecast_empty import NO_LAW, nothing

TO_RIGHT, TO_WRONG = "wrong, likely to turn right", "right, likely to turn wrong"
MOST = 12
_ID_LENGTH = 34


def tidy(items: pd.DataFrame) -> pd.DataFrame:
    """The items with the largest probability of a turn: ``kind`` ``item`` ``turn`` ``p_right`` ``row`` (its height)."""
    frames = []
    for kind, chosen, turn in (
        (TO_RIGHT, items["last_accuracy"] == 0, items["p_right"]),
        (TO_WRONG, items["last_accuracy"] == 1, 1 - items["p_right"]),
    ):
        own = items[chosen].assign(kind=kind, turn=turn[chosen])
        own = own.sort_values(["turn", "item"], ascending=[False, True], kind="stable").head(MOST)
        frames.append(own.assign(row=range(len(own), 0, -1)))
    frame = pd.concat(frames, ignore_index=True)[["kind", "item", "turn", "p_right", "row"]]
    return frame.assign(kind=pd.Categorical(frame["kind"], [TO_RIGHT, TO_WRONG]))


def plot(items: pd.DataFrame, benchmark: Benchmark) -> p9.ggplot:
    """Draw the probability of a turn, a line an item; ``items`` is forecast_items of one target."""
    frame = tidy(items)
    if frame.empty:
        return nothing(NO_LAW)
    frame = frame.assign(label=[style.escape(_short(name)) for name in frame["item"]])
    return (
        p9.ggplot(frame, p9.aes("turn", "row", color="kind"))
        + p9.geom_segment(p9.aes(x=0, xend="turn", yend="row"), size=0.4)
        + p9.geom_point(size=1.4, stroke=0)
        + p9.geom_text(p9.aes(label="label"), x=0.01, ha="left", nudge_y=0.38, size=5.5, color="#333333")
        + p9.facet_wrap("kind", ncol=2)
        + p9.scale_x_continuous(limits=(0, 1), breaks=[0, 0.5, 1], labels=["0", "0.5", "1"], minor_breaks=[])
        + p9.scale_y_continuous(breaks=[], limits=(0.5, MOST + 0.9), expand=(0, 0))
        + p9.scale_color_manual([style.RIGHT, style.WRONG], guide=None)
        + p9.labs(x="probability of a turn at the target", y="", title=style.escape(benchmark.label))
        + style.theme(style.PAGE_WIDTH, 3.6)
    )


def _short(name: str) -> str:
    return name if len(name) <= _ID_LENGTH else name[: _ID_LENGTH - 1] + "…"


def caption_text(items: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str]) -> str:
    """What the figure of one benchmark shows, with its numbers; ``families`` holds the one that is drawn."""
    label = next(iter(families.values()))
    if items.empty:
        return f"{benchmark.label}: items likely to turn.\n\nNothing is drawn: {NO_LAW}."
    right = items["last_accuracy"] == 1
    gained, lost = float(items["p_right"][~right].sum()), float((1 - items["p_right"][right]).sum())
    target = items["target"].iloc[0]
    about_even = 0.8 < gained / max(lost, 1e-9) < 1.25
    flips = ": about as many turn one way as the other, as flips do" if about_even else ""
    return (
        f"{benchmark.label}: items likely to turn.\n\n"
        "Horizontal axis: probability that an item which the checkpoint with the most compute has wrong (left) or "
        f"right (right) is answered the other way at the target, by kriging of margins; up to {MOST} items of each "
        f"kind, by their ids. Family “{label}”, target “{target}” "
        f"({style.format_power(items['flops'].iloc[0])} FLOPs). {benchmark.describe_items()}\n\n"
        f"What to see: of {int((~right).sum()):,} wrong items {gained:.0f} are expected to turn right, and of "
        f"{int(right.sum()):,} right ones {lost:.0f} to turn wrong{flips}. A jump from chance is not in these numbers."
    )
