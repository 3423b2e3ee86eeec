"""What each transformation of the chain costs: from log p_vocab down to the Brier score and to accuracy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import plotnine as p9

from elusive.figures import style
from elusive.figures.changes import LEAST, Change, down_to_accuracy, mean_drops
from elusive.figures.data import Benchmark, PathLike, read_benchmark, read_extra
from elusive.figures.save import Outputs, save_figure

#: Steps in the order of the paper's chain: their names in the key, and the colour of the metric that they end at.
STEPS = {
    "exponentiate": ("exponentiate (log p_vocab to p_vocab)", style.colour_of("p_vocab_correct")),
    "renormalise": ("renormalise (to p_choices)", style.colour_of("p_choices_correct")),
    "square": ("square (to −Brier)", style.colour_of("brier")),
    "threshold": ("threshold (to accuracy)", style.colour_of("accuracy")),
}
_KEYS = ["family", "benchmark", "method", "score", "order", "nan_policy", "step", "num_models"]
_DROPS = ["drop", "drop_low", "drop_high", "drop_least", "drop_most"]
_COLUMNS = [*_KEYS, "correlation_before", "correlation_after", *_DROPS]
_ROW_SHARE = 0.8

#: Orders of the first two steps, and what panels call them. By ranks they are the same.
ORDERS = {"exponentiate_first": "exponentiate first", "renormalise_first": "renormalise first"}
_NAMES = {
    "exponentiate": "exponentiating",
    "renormalise": "renormalising over the choices",
    "threshold": "thresholding",
}


def _tidy(
    attribution: pd.DataFrame, benchmarks: Sequence[Benchmark], families: Mapping[str, str], method: str
) -> pd.DataFrame:
    """One row an arrow: where it starts and ends, the interval of its end given its start, and its height ``place``."""
    names = [b.name for b in benchmarks]
    steps = list(STEPS) if method == "pearson" else [step for step in STEPS if step != "exponentiate"]
    orders = list(ORDERS)[: 2 if method == "pearson" else 1]
    exchanged = ["renormalise", "exponentiate", *steps[2:]]
    # The first two steps are the same on the way to either score.
    wanted = (attribution["score"] == "accuracy") | (attribution["step"] == "square")
    chosen = attribution[
        wanted
        & (attribution["method"] == method)
        & attribution["order"].isin(orders)
        & (attribution["nan_policy"] == "zero")
        & attribution["step"].isin(steps)
        & attribution["benchmark"].isin(names)
        & attribution["family"].isin(families)
    ]
    first = chosen["order"] == "exponentiate_first"
    lane = chosen["step"].map(steps.index).where(first, chosen["step"].map(exchanged.index) if len(orders) > 1 else 0)
    lane = (lane + 0.5) / len(steps) - 0.5
    return pd.DataFrame(
        {
            "family": pd.Categorical(chosen["family"].map(families), list(families.values())),
            "benchmark": chosen["benchmark"],
            "order": pd.Categorical(chosen["order"].map(ORDERS), [ORDERS[order] for order in orders]),
            "step": pd.Categorical(chosen["step"].map(lambda s: STEPS[s][0]), [STEPS[s][0] for s in steps]),
            "before": chosen["correlation_before"],
            "after": chosen["correlation_after"],
            "after_low": chosen["correlation_before"] - chosen["drop_high"],
            "after_high": chosen["correlation_before"] - chosen["drop_low"],
            "place": len(names) - 1 - chosen["benchmark"].map(names.index) - _ROW_SHARE * lane,
        }
    )


def plot(
    attribution: pd.DataFrame, benchmarks: Sequence[Benchmark], families: Mapping[str, str], method: str
) -> p9.ggplot:
    """Draw the steps of one method; ``attribution`` is the whole table, ``families`` maps name to label."""
    frame = _tidy(attribution, benchmarks, families, method)
    rows = len(benchmarks)
    orders = frame["order"].cat.categories
    columns = min(len(families), 3)
    # By ranks one panel a family; else a row of panels for each order, as many columns as families.
    bands = len(orders) if len(orders) > 1 else -(-len(families) // columns)
    # Two rows of panels of the 69 tasks of the paper fit on a tall page.
    row = 0.3 if rows <= 14 else max(0.1, min(0.16, 7.5 / rows))
    colours = {label: colour for label, colour in STEPS.values() if label in set(frame["step"])}
    return (
        p9.ggplot(frame, p9.aes(y="place", yend="place", color="step"))
        + p9.geom_vline(xintercept=0, size=0.4, color="#999999")
        + p9.geom_hline(yintercept=[i + 0.5 for i in range(rows - 1)], size=0.3, color="#CFCFCF")
        + p9.geom_segment(
            p9.aes(x="before", xend="after"), size=0.8, lineend="butt", arrow=p9.arrow(length=0.05, type="closed")
        )
        + p9.geom_segment(p9.aes(x="after_low", xend="after_high"), size=0.3, na_rm=True, show_legend=False)
        + (
            p9.facet_grid("order", "family", labeller=p9.labeller(cols=style.strips(30 if len(families) <= 3 else 14)))
            if len(orders) > 1
            else p9.facet_wrap("family", ncol=columns, labeller=style.strips())
        )
        + p9.scale_color_manual(colours)
        + p9.scale_y_continuous(
            breaks=[rows - 1 - i for i in range(rows)],
            labels=[style.escape(b.label) for b in benchmarks],
            limits=(-0.5, rows - 0.5),
            expand=(0, 0),
        )
        + p9.labs(x=f"mean over items of the {method.capitalize()} correlation with log FLOPs", y="", color="")
        + p9.guides(color=p9.guide_legend(nrow=2))
        + style.theme(style.PAGE_WIDTH, 1.1 + bands * (0.3 + row * rows))
        + p9.theme(
            axis_text_y=p9.element_text(size=5.5 if rows > 14 else 7),
            legend_position="top",
            legend_justification="left",
            legend_box_spacing=0.01,
            panel_grid_major_y=p9.element_blank(),
            axis_ticks_major_y=p9.element_blank(),
            strip_text_y=p9.element_text(size=7, rotation=270),
        )
    )


def _cost(name: str, change: Change) -> str:
    """What a step does to the mean correlation, as far as its interval tells."""
    number = f"{abs(change.drop):.2f}" if abs(change.drop) >= LEAST else "less than 0.01"
    if change.sign:
        return f"{name} {'loses' if change.sign > 0 else 'gains'} {number}"
    if not change.known:
        return f"{name} takes {style.format_number(change.drop)} (no interval)"
    if max(abs(change.low), abs(change.high)) < LEAST:
        return f"{name} changes nothing"
    between = style.format_range(change.low, change.high)
    return f"{name} neither loses nor gains beyond its interval (loss {between})"


def _by_ranks(attribution: pd.DataFrame, benchmarks: Sequence[Benchmark], family: str, method: str) -> str | None:
    """What the steps cost by ranks, under which neither exponentiating nor the order of the steps matters."""
    found = mean_drops(attribution, benchmarks, family, method)
    steps = ["renormalise", "threshold"]
    if not {*steps, "total"} <= set(found):
        return None
    parts = style.join([_cost(_NAMES[step], found[step]) for step in steps])
    whole = _cost("the whole way from log p_vocab to accuracy", found["total"])
    return f"by {method.capitalize()} {parts}; {whole}."


def _by_size(attribution: pd.DataFrame, benchmarks: Sequence[Benchmark], family: str) -> str | None:
    """What the steps cost by Pearson, as ranges over both orders of the first two."""
    rows = down_to_accuracy(attribution, benchmarks, family, "pearson")
    found = rows.groupby("step")[["drop", "drop_least", "drop_most"]].mean().reindex([*_NAMES, "total"])
    if found.isna().any(axis=None):
        return None
    spans = found["drop_most"] - found["drop_least"]
    depends = "depends on which of the two comes first" if spans.max() >= 0.01 else "hardly depends on their order"
    parts = [
        f"{name} {style.format_range(found.at[step, 'drop_least'], found.at[step, 'drop_most'])}"
        for step, name in _NAMES.items()
    ]
    return (
        f"By Pearson, which sees the size of probabilities, what the first two steps cost {depends}: "
        f"{style.join(parts)}."
    )


def caption_text(
    attribution: pd.DataFrame, benchmarks: Sequence[Benchmark], families: Mapping[str, str], method: str
) -> str:
    """What the attribution figure of one method shows, with its numbers."""
    first = next(iter(families))
    ranks = "spearman" if method == "pearson" else method
    found = [_by_ranks(attribution, benchmarks, first, ranks)]
    found += [_by_size(attribution, benchmarks, first)] if method == "pearson" else []
    said = " ".join(sentence for sentence in found if sentence) or "there is no mean correlation to follow."
    over = ", averaged over the benchmarks" if len(benchmarks) > 1 else ""
    orders = (
        " Rows of panels: the two orders of exponentiating and renormalising, which lead to the same p_choices."
        if method == "pearson"
        else ""
    )
    models = attribution.groupby("family")["num_models"].max()
    members = "; ".join(f"“{label}” ({models[name]} checkpoints)" for name, label in families.items())
    items = ", ".join(f"{b.label} {b.num_items:,}" for b in benchmarks)
    omitted = (
        ""
        if method == "pearson"
        else f" Exponentiating is left out: {method.capitalize()}'s coefficient sees only ranks, which stay."
    )
    return (
        f"What each transformation costs, by benchmark ({method.capitalize()}).\n\n"
        "Rows: benchmarks. Horizontal axis: mean over items of the correlation between an item's score and log10 of "
        "the training FLOPs. Each arrow is one transformation, from the mean correlation before it to the one after; "
        "to the left correlation is lost, to the right some is gained. The first arrow of a row starts at log p_vocab; "
        "squaring and thresholding both start at p_choices. Thin lines: 95 % interval of the loss, drawn at its end. "
        f"The losses add up to the whole fall. An undefined correlation counts as 0.{omitted}{orders}\n\n"
        f"Items: {items}. Families: {members}.\n\n"
        f"What to see: in “{families[first]}”{over}, {said}"
    )


def write_attribution(
    *,
    attribution: PathLike,
    items: Sequence[PathLike],
    families: Mapping[str, str],
    method: str,
    outputs: Outputs,
) -> None:
    """Draw and describe what each transformation costs for one ``method``.

    ``attribution``: the table of that name; ``items``: the benchmarks' items tables, in the order of the rows;
    ``families``: name -> label, in drawing order; ``outputs``: where to write.
    """
    frame = read_extra(attribution, _COLUMNS)
    benchmarks = [read_benchmark(path) for path in items]
    text = caption_text(frame, benchmarks, families, method)
    save_figure(plot(frame, benchmarks, families, method), text, outputs, families)
