"""What is kept of each benchmark's correlation with compute from log p_vocab to accuracy: the run in one figure.

A row a benchmark, a column a score; a bar is the mean over the items of their Spearman correlation with compute, an
undefined one counting as 0, of the first plotted family. Behind it lies what compute shuffled among the checkpoints
gives, and a line marks how closely the validation loss itself follows compute, where it is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotnine as p9

from elusive.figures import style
from elusive.figures.data import Benchmark, PathLike, read_benchmark, read_extra
from elusive.figures.save import Outputs, save_figure
from elusive.figures.states import CHANCE, FALLS, FOLLOWS, UNKNOWN, judge, kept, place

METHOD = "spearman"
SCORES = {
    "log_p_vocab_correct": "log p of the\nright answer",
    "p_choices_correct": "share among\nthe choices",
    "brier": "−Brier\nscore",
    "accuracy": "accuracy",
}
_KEYS = {
    FOLLOWS: "above shuffled compute",
    CHANCE: "within it",
    FALLS: "below it",
    UNKNOWN: "too few checkpoints to tell",
}
_COLOURS = {FOLLOWS: "#3B4CC0", CHANCE: "#9A9FA8", FALLS: "#B40426", UNKNOWN: "#D9DCE1"}
#: Rows beyond which numbers are too small to be read, and the mean beyond which a number stands inside of its bar.
_NUMBERED, _INSIDE = 24, 0.5


def tidy(headline: pd.DataFrame, benchmarks: Sequence[Benchmark], family: str) -> pd.DataFrame:
    """One row a bar: ``benchmark`` ``label`` ``metric`` ``mean`` ``shuffled_low`` ``shuffled_high`` ``state``, and its
    ``place`` from the bottom; benchmarks on which most is kept first. ``headline`` is the whole table."""
    own = headline[(headline["family"] == family) & (headline["method"] == METHOD)].set_index(["benchmark", "metric"])
    rows = []
    for benchmark in benchmarks:
        levels = []
        for metric in SCORES:
            key = (benchmark.name, metric)
            row = own.loc[key] if key in own.index else None
            value = {name: None if row is None else row[name] for name in ("mean", "shuffled_low", "shuffled_high")}
            state = UNKNOWN if row is None else judge(row["above_shuffled"], row["below_shuffled"])
            levels.append({"benchmark": benchmark.name, "label": benchmark.label, "metric": metric, "state": state})
            levels[-1] |= {name: np.nan if pd.isna(found) else float(found) for name, found in value.items()}
        rows.append(levels)
    rows.sort(key=lambda levels: place([e["state"] for e in levels], [_known(e["mean"]) for e in levels]))
    columns = ["benchmark", "label", "metric", "mean", "shuffled_low", "shuffled_high", "state", "place"]
    numbered = [entry | {"place": len(rows) - 1 - i} for i, levels in enumerate(rows) for entry in levels]
    return pd.DataFrame(numbered, columns=columns)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else value


def loss_correlation(ceiling: pd.DataFrame, family: str) -> float | None:
    """Spearman correlation of minus the validation loss with compute, from the table ceiling; None if not known."""
    found = ceiling[(ceiling["family"] == family) & (ceiling["method"] == METHOD) & (ceiling["variable"] == "flops")][
        "correlation"
    ].dropna()
    return float(found.iloc[0]) if len(found) else None


def plot(headline: pd.DataFrame, ceiling: pd.DataFrame, benchmarks: Sequence[Benchmark], family: str) -> p9.ggplot:
    """Draw the bars of one family; ``headline`` and ``ceiling`` are the whole tables."""
    frame = tidy(headline, benchmarks, family)
    loss = loss_correlation(ceiling, family)
    rows = len(benchmarks)
    labels = frame.drop_duplicates("place").sort_values("place")["label"].tolist()
    states = [state for state in _KEYS if (frame["state"] == state).any()]
    frame = frame.assign(
        metric=pd.Categorical(frame["metric"], list(SCORES)), state=pd.Categorical(frame["state"], states)
    )
    row = 0.27 if rows <= _NUMBERED else max(0.11, min(0.2, 8.5 / rows))
    lowest = min(0.0, float(np.nanmin([*frame["mean"], *frame["shuffled_low"], 0.0])))
    bars = frame.dropna(subset=["mean"])
    bands = bars.dropna(subset=["shuffled_low", "shuffled_high"])
    figure = (
        p9.ggplot(frame)
        + p9.geom_blank(p9.aes(x=0, y="place"))  # a panel for every score, whatever is known of it
        + p9.facet_wrap("metric", nrow=1, labeller=lambda name: SCORES[name])
        + p9.scale_fill_manual(_COLOURS, labels=lambda found: [_KEYS[state] for state in found])
        + p9.scale_x_continuous(
            limits=(lowest, 1.0), breaks=[0, 0.5, 1], labels=["0", "0.5", "1"], minor_breaks=[], expand=(0.03, 0)
        )
        + p9.scale_y_continuous(
            breaks=range(rows), labels=[style.escape(label) for label in labels], limits=(-0.5, rows - 0.5),
            expand=(0, 0),
        )
        + p9.labs(x="mean over the items of the Spearman correlation with compute", y="", fill="")
        + style.theme(style.PAGE_WIDTH, 1.15 + row * rows)
        + p9.theme(
            axis_text_y=p9.element_text(size=5.5 if rows > _NUMBERED else 8),
            legend_position="bottom",
            legend_box_spacing=0.02,
            panel_grid_major=p9.element_blank(),
            axis_ticks_major_y=p9.element_blank(),
            panel_spacing_x=0.015,
        )
    )  # fmt: skip
    # plotnine cannot draw a layer of no rows.
    if len(bands):
        ends = p9.aes(xmin="shuffled_low", xmax="shuffled_high", ymin="place - 0.46", ymax="place + 0.46")
        figure += p9.geom_rect(ends, data=bands, fill="#E9EBEF")
    if len(bars):
        ends = p9.aes(xmin=0, xmax="mean", ymin="place - 0.3", ymax="place + 0.3", fill="state")
        figure += p9.geom_rect(ends, data=bars)
    figure += p9.geom_vline(xintercept=0, size=0.4, color="#555555")
    if loss is not None:
        figure += p9.geom_vline(xintercept=loss, size=0.5, linetype="dashed", color="#222222")
    if rows <= _NUMBERED:
        texts = bars.assign(text=[style.format_number(value) for value in bars["mean"]])
        long = texts["mean"] > _INSIDE
        for own, at, side, ink in (
            (texts[~long], np.maximum(texts["mean"][~long], 0) + 0.03, "left", "#222222"),
            (texts[long], texts["mean"][long] - 0.03, "right", "#FFFFFF"),
        ):
            if len(own):
                places = p9.aes("at", "place", label="text")
                style_of = {"ha": side, "va": "center", "size": 6.5, "color": ink}
                figure += p9.geom_text(places, data=own.assign(at=at), **style_of)
    return figure


def caption_text(
    headline: pd.DataFrame, ceiling: pd.DataFrame, benchmarks: Sequence[Benchmark], family: str, label: str
) -> str:
    """What the figure shows, with its numbers."""
    frame = tidy(headline, benchmarks, family)
    loss = loss_correlation(ceiling, family)
    own = headline[headline["family"] == family]
    models = int(own["num_models"].max()) if len(own) else 0
    items = ", ".join(f"{b.label} {b.num_items:,}" for b in benchmarks)
    by_benchmark = frame.groupby("benchmark", sort=False)["state"]
    order = [kept(list(states)) for _, states in by_benchmark]
    dashed = (
        f" Dashed: the same correlation of the validation loss, negated: {style.format_number(loss)}."
        if loss is not None
        else ""
    )
    behind = (
        " Light bands: the middle 95 % of the means that compute shuffled among the checkpoints gives."
        if frame["shuffled_low"].notna().any()
        else " There is no band of shuffled compute: the checkpoints are too few, or all alike in compute."
    )
    sorted_by = (
        " The higher a benchmark, the further down the chain compute is followed." if len(set(order)) > 1 else ""
    )
    return (
        "Which scores follow compute.\n\n"
        "Rows: benchmarks; columns: scores, from the log-likelihood of the right answer down the chain to accuracy. A "
        "bar is the mean over a benchmark's items of the Spearman correlation of the item's score with training "
        f"compute (6·N·D), undefined ones counted as 0, over the {models} checkpoints of “{label}”; the Brier score is "
        f"negated.{behind}{dashed}{sorted_by}\n\n"
        f"Items: {items}.\n\n"
        f"What to see: {_to_see(frame, len(benchmarks))}"
    )


def _to_see(frame: pd.DataFrame, total: int) -> str:
    if (frame["state"] == UNKNOWN).all():
        return "too few checkpoints to tell any mean from chance."
    parts = []
    for metric, name in SCORES.items():
        rows = frame[frame["metric"] == metric]
        following = int((rows["state"] == FOLLOWS).sum())
        values = rows["mean"].dropna()
        average = f", {style.format_number(values.mean())} on average" if len(values) else ""
        parts.append(f"{following} of {total} for {' '.join(name.split())} (mean{average})".replace("(mean, ", "("))
    return f"the number of benchmarks on which a score is above shuffled compute: {'; '.join(parts)}."


def write_hero(
    *,
    headline: PathLike,
    ceiling: PathLike,
    items: Sequence[PathLike],
    families: Mapping[str, str],
    outputs: Outputs,
) -> None:
    """Draw and describe what is kept in the first of ``families`` (name -> label).

    ``headline``, ``ceiling``: the tables of these names; ``items``: the benchmarks' items tables; ``outputs``: where to
    write.
    """
    columns = ["family", "benchmark", "metric", "method", "num_models", "mean", "shuffled_low", "shuffled_high"]
    found = read_extra(headline, [*columns, "above_shuffled", "below_shuffled"])
    losses = read_extra(ceiling, ["family", "method", "variable", "correlation"])
    benchmarks = [read_benchmark(path) for path in items]
    family, label = next(iter(families.items()))
    text = caption_text(found, losses, benchmarks, family, label)
    save_figure(plot(found, losses, benchmarks, family), text, outputs)
