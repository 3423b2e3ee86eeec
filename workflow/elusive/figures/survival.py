"""Survival curves of per-item score–compute correlations, one panel a metric (figure 2 of the paper).

For one benchmark: P(C > c), the share of items whose correlation C between score and log10 FLOPs over a family's
checkpoints exceeds c, drawn as the exact step function of the items at hand.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotnine as p9

from elusive.figures import style
from elusive.figures.data import Benchmark
from elusive.figures.null import Chance, chance_text, null_curve


def method_of(metric: str) -> str:
    """Spearman, but Pearson for p_vocab, whose ranks are those of log p_vocab."""
    return "pearson" if metric == "p_vocab_correct" else "spearman"


def survival_steps(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners ``c`` and heights P(C > c) of the survival function of ``values`` [items], from (−1, 1) to (1, 0).

    The height belongs to the stretch to the right of its corner. NaN values are left out; with nothing left, both
    arrays are empty.
    """
    values = np.clip(values[~np.isnan(values)], -1.0, 1.0)  # rounding may go past the ends
    if not len(values):
        return np.empty(0), np.empty(0)
    corners, counts = np.unique(values, return_counts=True)
    heights = 1.0 - np.cumsum(counts) / len(values)
    heights[-1] = 0.0
    return np.concatenate([[-1.0], corners, [1.0]]), np.concatenate([[1.0], heights, [0.0]])


def _panel_title(metric: style.Metric) -> str:
    return f"{metric.math} ({method_of(metric.column).capitalize()})"


def _groups(correlations: pd.DataFrame, families: Mapping[str, str]) -> list[tuple[style.Metric, str, pd.DataFrame]]:
    """(metric, family label, rows) for each panel and curve, in drawing order."""
    groups = dict(iter(correlations.groupby(["metric", "method", "family"], sort=False)))
    keys = [(m, f) for m in style.METRICS for f in families]
    return [(m, families[f], groups[m.column, method_of(m.column), f]) for m, f in keys]


def undefined_shares(correlations: pd.DataFrame, families: Mapping[str, str]) -> pd.DataFrame:
    """Notes on the items without a correlation, one for each curve that leaves some out.

    Columns ``panel`` ``family`` ``text`` and the place ``x`` ``y``: stacked in the lower left corner of the panel.
    """
    notes = []
    for metric, label, rows in _groups(correlations, families):
        share = rows["correlation"].isna().mean()
        if share > 0:
            above = len(families) - 1 - list(families.values()).index(label)
            place = {"x": -0.96, "y": 0.05 + min(0.085, 0.4 / len(families)) * above}
            text = f"undefined: {style.format_share(share)}"
            notes.append({"panel": _panel_title(metric), "family": label, "text": text, **place})
    return pd.DataFrame(notes)


def plot(correlations: pd.DataFrame, chance: Chance, benchmark: Benchmark, families: Mapping[str, str]) -> p9.ggplot:
    """Draw the survival curves of one benchmark, and those of chance behind them.

    ``correlations`` holds the rows of the correlations tables of all ``families`` (name -> label), ``chance`` what
    chance gives. The accuracy panel and any other with undefined correlations say for which share of items
    there is none.
    """
    curves, expected = [], []
    names = {label: name for name, label in families.items()}
    for metric, label, rows in _groups(correlations, families):
        x, y = survival_steps(rows["correlation"].to_numpy(dtype=float))
        curves.append(pd.DataFrame({"x": x, "y": y, "panel": _panel_title(metric), "family": label}))
        x, y = null_curve(chance, names[label], method_of(metric.column))
        expected.append(pd.DataFrame({"x": x, "y": y, "panel": _panel_title(metric), "family": label}))
    notes = undefined_shares(correlations, families)
    # The one panel of another method stands apart, last: between the others its dip would be a change of ruler.
    panels = [_panel_title(metric) for metric in sorted(style.METRICS, key=lambda m: method_of(m.column) == "pearson")]
    labels = list(families.values())

    def ordered(frame: pd.DataFrame) -> pd.DataFrame:
        return frame.assign(
            panel=pd.Categorical(frame["panel"], panels), family=pd.Categorical(frame["family"], labels)
        )

    models = correlations.groupby("family")["num_models"].max()
    keys = {label: f"{label} (n\u00a0=\u00a0{models[name]})" for name, label in families.items()}
    figure = (
        p9.ggplot(ordered(pd.concat(curves)), p9.aes("x", "y", color="family"))
        + p9.geom_vline(xintercept=0, size=0.3, color="#999999")
        + p9.geom_line(data=ordered(pd.concat(expected)), size=0.4, linetype="dotted", show_legend=False)
        + p9.geom_step(size=0.55)
        + p9.facet_wrap("panel", ncol=3)
        + p9.scale_color_manual(style.family_colours(labels), labels=lambda names: style.wrap([keys[n] for n in names]))
        + style.correlation_scale()
        + p9.scale_y_continuous(limits=(0, 1), breaks=[0, 0.25, 0.5, 0.75, 1], minor_breaks=[], expand=(0.01, 0))
        + p9.labs(
            x=r"correlation $c$ of an item's score with $\log_{10}$ FLOPs",
            y=r"share of items with correlation $> c$",
            color="family (checkpoints)",
            title=style.escape(benchmark.label),
            subtitle=f"{benchmark.num_items:,} items",
        )
    )
    if len(families) <= 4:  # the key fits into the place of a sixth panel
        figure += style.theme(style.PAGE_WIDTH, 4.3)
        figure += p9.theme(legend_position=(0.99, 0.2), legend_direction="vertical")
    else:
        figure += style.theme(style.PAGE_WIDTH, 4.5 + 0.25 * style.key_rows(labels))
        figure += p9.guides(color=p9.guide_legend(nrow=style.key_rows(labels)))
        figure += p9.theme(legend_position="bottom")
    if len(notes):
        figure += p9.geom_text(
            p9.aes(label="text"), data=ordered(notes), ha="left", va="bottom", size=6.5, show_legend=False
        )
    return figure


def caption_text(correlations: pd.DataFrame, chance: Chance, benchmark: Benchmark, families: Mapping[str, str]) -> str:
    """What the survival figure of one benchmark shows, with its numbers."""
    models = correlations.groupby("family")["num_models"].max()
    members = "; ".join(f"“{label}” ({models[name]} checkpoints)" for name, label in families.items())
    first = next(iter(families.values()))
    shares, undefined = [], {}
    for metric, label, rows in _groups(correlations, families):
        if label == first:
            defined = rows["correlation"].dropna()
            share = style.format_share((defined > 0.75).mean())
            mean = style.format_number(rows["correlation"].fillna(0.0).mean())
            name = metric.plain + (" by Pearson" if method_of(metric.column) == "pearson" else "")
            found = f"{mean} for {name} ({share} above 0.75)" if len(defined) else f"unknown for {name}"
            shares.append(found)
        missing = rows["correlation"].isna().mean()
        if missing > 0:
            undefined.setdefault(metric.plain, []).append(f"{style.format_share(missing)} (“{label}”)")
    left_out = [f"in {metric} for {style.join(found)} of the items" for metric, found in undefined.items()]
    return (
        f"{benchmark.label}: how closely each item's score follows compute.\n\n"
        "Horizontal axis: correlation, over a family's checkpoints, between the score of one item and log10 of the "
        "training FLOPs (6·N·D). Vertical axis: share of items whose correlation is larger; the further right and up "
        "a curve, the better the metric follows compute. The correlation is Spearman's, except for p_vocab, where it "
        "is Pearson's, in the last panel: ranks cannot see the exponential between log p_vocab and p_vocab. The Brier "
        "score is negated, so that larger is better in every panel. "
        f"{chance_text(chance, families, ['spearman'])}\n\n"
        f"{benchmark.describe_items()} Families: {members}.\n\n"
        f"What to see: in “{first}”, the mean correlation over all items, undefined ones counted as 0, and the share "
        f"of defined ones above 0.75: {style.join(shares)}."
        + (
            " An item whose score is the same under every checkpoint has no correlation, and the curves leave it out: "
            f"{'; '.join(left_out)}."
            if left_out
            else ""
        )
    )
