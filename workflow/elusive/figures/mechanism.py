"""On what the loss of correlation at p_choices depends: how the choices move together, and how long they are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotnine as p9

from elusive.figures import style
from elusive.figures.data import Benchmark, PathLike, read_benchmark, read_extra
from elusive.figures.save import Outputs, save_figure

#: Factors in the order of the panels, and what the panels call them.
FACTORS = {
    "comovement": "co-movement of the wrong choices with the right one",
    "choice_length": "length of the choices (log10 of characters)",
}

#: Benchmarks that have lines and names of their own; of more, only the cloud can be seen.
_NAMED = 16
#: Letters in a line of a name, and the height of a line by that of a panel.
_WRAP, _LINE = 16, 0.06


def _tidy(drops: pd.DataFrame, benchmarks: Sequence[Benchmark], families: Mapping[str, str]) -> pd.DataFrame:
    """One row a point: a group of items of one benchmark."""
    names = {b.name: b.label for b in benchmarks}
    wanted = drops["benchmark"].isin(names) & drops["family"].isin(families) & drops["factor"].isin(FACTORS)
    chosen = drops[wanted]
    length = chosen["factor"] == "choice_length"
    return pd.DataFrame(
        {
            "family": pd.Categorical(chosen["family"].map(families), list(families.values())),
            "factor": pd.Categorical(chosen["factor"].map(FACTORS), list(FACTORS.values())),
            "benchmark": chosen["benchmark"].map(names),
            "level": chosen["level"].mask(length, np.log10(chosen["level"].where(length))),
            "drop": chosen["drop"],
            "drop_low": chosen["drop_low"],
            "drop_high": chosen["drop_high"],
            "num_items": chosen["num_items"],
        }
    )


def _breaks(limits: tuple[float, float]) -> list[float]:
    """At most five breaks, whole numbers where two of them fit in."""
    whole = [float(value) for value in range(math.ceil(limits[0]), math.floor(limits[1]) + 1)]
    if 2 <= len(whole) <= 5 and limits[1] > 1.5:
        return whole
    step = next(step for step in (0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10, 50) if (limits[1] - limits[0]) / step <= 5)
    return [step * k for k in range(math.ceil(limits[0] / step), math.floor(limits[1] / step) + 1)]


def _names(frame: pd.DataFrame) -> pd.DataFrame:
    """Where each benchmark's name stands, in a column at the right of its panel, and the end of its line.

    Names are in the order of the lines' ends (``level``, ``drop``), at ``place`` and ``height``, none nearer to the
    next than it is high.
    """
    ends = frame.sort_values("level", kind="stable").groupby(["family", "factor", "benchmark"], observed=True).tail(1)
    if ends["drop"].isna().all():
        return ends.assign(height=0.0, place=0.0, text="")
    low, high = np.nanmin(frame[["drop", "drop_low"]]), np.nanmax(frame[["drop", "drop_high"]])
    line = _LINE * (max(high, 0.0) - min(low, 0.0))
    parts = []
    for (_, factor), own in ends.dropna(subset="drop").groupby(["family", "factor"], observed=True):
        own = own.sort_values("drop", kind="stable")
        texts = style.wrap(own["benchmark"].tolist(), _WRAP)
        heights = own["drop"].to_numpy(copy=True)
        lines = np.array([text.count("\n") + 1 for text in texts])
        for i in range(1, len(heights)):
            heights[i] = max(heights[i], heights[i - 1] + line * (lines[i] + lines[i - 1]) / 2)
        heights -= (heights - own["drop"].to_numpy()).mean()
        heights -= max(heights[-1] - high, 0.0)
        heights += max(low - heights[0], 0.0)
        levels = frame.loc[frame["factor"] == factor, "level"]
        place = levels.max() + 0.08 * (np.ptp(levels) or 1.0)
        parts.append(own.assign(height=heights, place=place, text=[" " + text.replace("\n", "\n ") for text in texts]))
    return pd.concat(parts)


def plot(drops: pd.DataFrame, benchmarks: Sequence[Benchmark], families: Mapping[str, str]) -> p9.ggplot:
    """Draw the mean loss in groups of items; ``drops`` is the table mechanism_drops."""
    frame = _tidy(drops, benchmarks, families)
    few = len(benchmarks) <= _NAMED
    lines = frame[frame.groupby(["family", "factor", "benchmark"], observed=True)["level"].transform("size") > 1]
    ink = "#3591A8"
    figure = (
        p9.ggplot(frame, p9.aes("level", "drop", group="benchmark"))
        + p9.geom_hline(yintercept=0, size=0.3, color="#999999")
        + p9.geom_linerange(p9.aes(ymin="drop_low", ymax="drop_high"), size=0.3, alpha=0.35, na_rm=True, color=ink)
        + p9.geom_line(data=lines, size=0.4, alpha=0.9 if few else 0.5, color=ink)
        + p9.geom_point(size=1.2 if few else 0.8, stroke=0, color=ink)
        + p9.facet_grid(
            "family", "factor", scales="free_x", labeller=p9.labeller(rows=lambda label: style.wrap([label], 24)[0])
        )
        + p9.labs(x="mean of the group of items", y="correlation lost at p_choices")
        + p9.scale_x_continuous(breaks=_breaks, expand=(0.04, 0, 0.3 if few else 0.04, 0))
        + style.theme(style.PAGE_WIDTH, 0.8 + (2.1 if few else 1.5) * len(families))
        + p9.theme(strip_text_y=p9.element_text(size=7, rotation=270), strip_text_x=p9.element_text(size=7))
    )
    if few:
        names = _names(frame)
        figure += p9.geom_segment(
            p9.aes(xend="place", yend="height"), data=names, size=0.25, linetype="dotted", color="#777777"
        )
        figure += p9.geom_text(
            p9.aes("place", "height", label="text"), data=names, ha="left", va="center", size=5.5, color="#222222"
        )
    return figure


def caption_text(mechanism: pd.DataFrame, benchmarks: Sequence[Benchmark], families: Mapping[str, str]) -> str:
    """What the figure shows, with its numbers."""
    first = next(iter(families))
    names = [b.name for b in benchmarks]
    own = mechanism[(mechanism["family"] == first) & mechanism["benchmark"].isin(names)].set_index("quantity")

    def depends(quantity: str, text: str) -> str | None:
        values = own.loc[[quantity], "value"].dropna() if quantity in own.index else own["value"][:0]
        return f"{style.format_range(values.min(), values.max())} with {text}" if len(values) else None

    models = mechanism.groupby("family")["num_models"].max()
    members = "; ".join(f"“{label}” ({models[name]} checkpoints)" for name, label in families.items())
    items = ", ".join(f"{b.label} {b.num_items:,}" for b in benchmarks)
    parts = [
        depends("drop_with_comovement", "the co-movement of its choices"),
        depends("drop_with_choice_length", "their length"),
        depends("drop_with_num_choices", "their number (not drawn)"),
    ]
    told = [part for part in parts if part]
    over = ", each from the lowest of a benchmark to the highest" if len(benchmarks) > 1 else ""
    found = (
        f"over the items of a benchmark, the rank correlation of an item's loss is {style.join(told)}{over}."
        if told
        else "no loss varies with what its item's choices are like, as far as it is defined."
    )
    return (
        "On what the loss of correlation at p_choices depends.\n\n"
        "Vertical axis: what an item's Spearman correlation with compute loses from log p_vocab to p_choices, mean "
        "over a group of items with its 95 % interval. Left: groups by co-movement, the Spearman correlation over the "
        "checkpoints between the log-likelihoods of the wrong choices and of the right one. Right: groups by log10 of "
        "the choices' mean length in characters. Each benchmark's items are in four groups of equal size (fewer where "
        "values tie) along one line; a row is a family.\n\n"
        f"Items: {items}. Families: {members}.\n\n"
        f"What to see: in “{families[first]}”, {found}"
    )


def write_mechanism(
    *,
    mechanism: PathLike,
    drops: PathLike,
    items: Sequence[PathLike],
    families: Mapping[str, str],
    outputs: Outputs,
) -> None:
    """Draw and describe on what the loss depends.

    ``mechanism``, ``drops``: the tables mechanism and mechanism_drops; ``items``: the benchmarks' items tables;
    ``families``: name -> label, in drawing order; ``outputs``: where to write.
    """
    columns = ["family", "benchmark", "factor", "level", "num_items", "drop", "drop_low", "drop_high"]
    frame = read_extra(drops, columns)
    quantities = read_extra(mechanism, ["family", "benchmark", "quantity", "num_models", "value"])
    benchmarks = [read_benchmark(path) for path in items]
    names = dict(families) | {b.name: b.label for b in benchmarks}
    save_figure(plot(frame, benchmarks, families), caption_text(quantities, benchmarks, families), outputs, names)
