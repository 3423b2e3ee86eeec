"""Whether items that are forecast to be right with some probability are right as often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import plotnine as p9

from elusive.figures import style
from elusive.figures.data import Benchmark
from elusive.figures.forecast_empty import NO_LAW, nothing
from elusive.forecast.names import ITEM_METHODS, KRIGING

PROTOCOLS = {"R": "rolling by compute", "S": "the next size", "T": "training of the largest model"}
LEAST_ITEMS = 10


def tidy(reliability: pd.DataFrame, benchmarks: Sequence[Benchmark], family: str) -> pd.DataFrame:
    """One row a mark: ``benchmark`` ``protocol`` ``forecast`` ``observed`` ``num_items``; no bins of few items."""
    names = {b.name: b.label for b in benchmarks}
    own = reliability[
        (reliability["family"] == family)
        & (reliability["method"] == KRIGING)
        & reliability["benchmark"].isin(names)
        & (reliability["num_items"] >= LEAST_ITEMS)
    ]
    present = [name for name in PROTOCOLS if (own["protocol"] == name).any()]
    return own.assign(
        benchmark=pd.Categorical(own["benchmark"].map(names), list(names.values())),
        protocol=pd.Categorical(own["protocol"].map(PROTOCOLS), [PROTOCOLS[name] for name in present]),
    )[["benchmark", "protocol", "forecast", "observed", "num_items"]]


def plot(reliability: pd.DataFrame, benchmarks: Sequence[Benchmark], family: str) -> p9.ggplot:
    """Draw the share of right items against P(right), a panel a benchmark."""
    frame = tidy(reliability, benchmarks, family)
    if frame.empty:
        return nothing(NO_LAW)
    panels = style.Panels.of(frame["benchmark"].nunique() or 1)
    names = list(frame["protocol"].cat.categories)
    colours = dict(zip(PROTOCOLS.values(), ("#8A8A8A", "#D55E00", "#0072B2"), strict=True))
    scale = {"limits": (0, 1), "breaks": [0, 0.5, 1], "labels": ["0", "0.5", "1"], "minor_breaks": []}
    return (
        p9.ggplot(frame, p9.aes("forecast", "observed", color="protocol"))
        + p9.geom_abline(slope=1, intercept=0, size=0.3, color="#999999")
        + p9.geom_line(size=0.4)
        + p9.geom_point(p9.aes(size="num_items"), stroke=0, alpha=0.8)
        + p9.facet_wrap("benchmark", ncol=panels.columns, labeller=style.strips(20))
        + p9.scale_color_manual([colours[name] for name in names])
        + p9.scale_size(range=(0.5, 3.2), trans="log10", labels=lambda values: [style.format_count(v) for v in values])
        + p9.scale_x_continuous(**scale)
        + p9.scale_y_continuous(**scale)
        + p9.labs(x="forecast P(right)", y="share that was right", color="", size="items")
        + style.theme(style.PAGE_WIDTH, 1.2 + panels.height)
        + panels.theme()
        + p9.theme(legend_position="bottom", legend_box_spacing=0.01, legend_box="vertical")
    )


def scores(reliability: pd.DataFrame, family: str, protocol: str) -> dict[str, float]:
    """Brier score of the probabilities of single items by method: the mean over benchmarks of the mean over items."""
    own = reliability[(reliability["family"] == family) & (reliability["protocol"] == protocol)]
    found = {}
    for method in ITEM_METHODS:
        rows = own[own["method"] == method]
        if len(rows):
            sums = (
                rows.assign(total=rows["brier"] * rows["num_items"]).groupby("benchmark")[["total", "num_items"]].sum()
            )
            found[method] = float((sums["total"] / sums["num_items"]).mean())
    return found


def caption_text(
    reliability: pd.DataFrame, benchmarks: Sequence[Benchmark], family: str, families: Mapping[str, str]
) -> str:
    """What the figure shows, with its numbers."""
    if tidy(reliability, benchmarks, family).empty:
        return f"Reliability of the probabilities of single items.\n\nNothing is drawn: {NO_LAW}."
    parts = []
    for protocol, label in PROTOCOLS.items():
        found = scores(reliability, family, protocol)
        if found:
            rivals = {name: value for name, value in found.items() if name != KRIGING}
            best = min(rivals, key=rivals.__getitem__)
            parts.append(f"{label} {found[KRIGING]:.3f}, the best rival ({_RIVALS[best]}) {rivals[best]:.3f}")
    return (
        "Reliability of the probabilities of single items.\n\n"
        "Horizontal axis: probability that an item is right at the target, by kriging of margins; vertical axis: share "
        "of such items that were right when the target came; on the line the two agree. A dot is a tenth of "
        f"probabilities with at least {LEAST_ITEMS} items, larger with more, over all targets. Colour: protocol of the "
        f"backtests. Family “{families[family]}”, {len(benchmarks)} benchmarks. An item counts at each of its "
        "targets, and these depend on each other.\n\n"
        "What to see: the mean squared error of the probabilities, averaged over benchmarks, is: "
        f"{'; '.join(parts)}. They do not cover a jump from chance."
    )


_RIVALS = {
    "last": "right or wrong under the last checkpoint",
    "last3": "share of the last three",
    "p_choices": "p_choices under the last checkpoint",
    "transitions": "transition frequencies",
}
