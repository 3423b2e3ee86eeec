"""On what the loss of correlation at p_choices depends: number of choices, their length, and how they move together."""

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
    "num_choices": "number of choices",
    "choice_length": "log10 of the choices' length",
    "comovement": "co-movement of wrong and right choices",
}


def _tidy(drops: pd.DataFrame, benchmarks: Sequence[Benchmark], families: Mapping[str, str]) -> pd.DataFrame:
    """One row a point: a group of items of one benchmark."""
    names = {b.name: b.label for b in benchmarks}
    chosen = drops[drops["benchmark"].isin(names) & drops["family"].isin(families)]
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


def plot(drops: pd.DataFrame, benchmarks: Sequence[Benchmark], families: Mapping[str, str]) -> p9.ggplot:
    """Draw the mean loss in groups of items; ``drops`` is the table mechanism_drops."""
    frame = _tidy(drops, benchmarks, families)
    few = len(benchmarks) <= 16
    colour = {"color": "benchmark", "shape": "benchmark"} if few else {}
    lines = frame[frame.groupby(["family", "factor", "benchmark"], observed=True)["level"].transform("size") > 1]
    fixed = {} if few else {"color": "#3591A8"}
    figure = (
        p9.ggplot(frame, p9.aes("level", "drop", group="benchmark", **colour))
        + p9.geom_hline(yintercept=0, size=0.3, color="#999999")
        + p9.geom_linerange(p9.aes(ymin="drop_low", ymax="drop_high"), size=0.3, alpha=0.5, na_rm=True, **fixed)
        + p9.geom_line(data=lines, size=0.4, alpha=1 if few else 0.5, **fixed)
        + p9.geom_point(size=1.3 if few else 0.9, stroke=0, **fixed)
        + p9.facet_grid(
            "family", "factor", scales="free_x", labeller=p9.labeller(rows=lambda label: style.wrap([label], 18)[0])
        )
        + p9.labs(x="mean of the group of items", y="correlation lost at p_choices", color="", shape="")
        + p9.scale_x_continuous(breaks=_breaks)
        + style.theme(style.PAGE_WIDTH, (1.2 if few else 0.7) + 1.5 * len(families))
        + p9.theme(strip_text_y=p9.element_text(size=7, rotation=270), strip_text_x=p9.element_text(size=7))
    )
    if few:
        labels = [b.label for b in benchmarks]
        figure += p9.scale_color_manual(style.family_colours(labels), limits=labels, labels=style.wrap)
        figure += p9.scale_shape_manual(style.family_shapes(labels), limits=labels, labels=style.wrap)
        figure += p9.guides(color=p9.guide_legend(nrow=2), shape=p9.guide_legend(nrow=2))
        figure += p9.theme(legend_position="bottom", legend_box_spacing=0.02)
    return figure


def caption_text(mechanism: pd.DataFrame, benchmarks: Sequence[Benchmark], families: Mapping[str, str]) -> str:
    """What the figure shows, with its numbers."""
    first = next(iter(families))
    names = [b.name for b in benchmarks]
    own = mechanism[(mechanism["family"] == first) & mechanism["benchmark"].isin(names)].set_index("quantity")

    def sentence(quantity: str, text: str) -> str:
        values = own.loc[[quantity], "value"].dropna() if quantity in own.index else own["value"][:0]
        if values.empty:
            return f"{text} cannot be told"
        return f"{text} {style.format_range(values.min(), values.max())}"

    models = mechanism.groupby("family")["num_models"].max()
    members = "; ".join(f"“{label}” ({models[name]} checkpoints)" for name, label in families.items())
    items = ", ".join(f"{b.label} {b.num_items:,}" for b in benchmarks)
    found = style.join(
        [
            sentence("drop_with_comovement", "with co-movement"),
            sentence("drop_with_choice_length", "with the length of the choices"),
            sentence("drop_with_num_choices", "with their number"),
        ]
    )
    return (
        "On what the loss of correlation at p_choices depends.\n\n"
        "Vertical axis: Spearman correlation with compute that an item loses from log p_vocab to p_choices, mean over "
        "a group of items with its 95 % interval. Horizontal axes: number of choices; log10 of their mean length in "
        "characters, four groups of equally many items; Spearman correlation over the checkpoints between the "
        "log-likelihoods of the wrong choices and of the right one, four groups. One line is one benchmark, one row "
        "one family.\n\n"
        f"Items: {items}. Families: {members}.\n\n"
        f"What to see: in “{families[first]}” the rank correlation over items of the loss is, from benchmark to "
        f"benchmark, {found}."
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
    save_figure(plot(frame, benchmarks, families), caption_text(quantities, benchmarks, families), outputs)
