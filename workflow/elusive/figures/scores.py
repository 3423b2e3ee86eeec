"""How the metrics of one benchmark map onto each other, item by item (figure 4 of the paper).

Three panels: p_choices against log p_vocab, accuracy against p_choices, and the Brier score against p_choices. A dot
is one item under one checkpoint; accuracy is the share of right answers in bins of p_choices.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotnine as p9
from plotnine.composition import Compose

from elusive.figures import style
from elusive.figures.data import Benchmark, nesting

BINS = 30

#: Dots drawn for each family, chosen by a seeded draw: more hide each other and swell the PDF.
MAX_POINTS = 2500


def binned_shares(x: np.ndarray, y: np.ndarray, low: float, high: float, bins: int = BINS) -> pd.DataFrame:
    """Mean of ``y`` in equal bins of ``x`` on [low, high]: columns ``center`` ``mean`` ``count``.

    Both arrays are [pairs of item and checkpoint]. Empty bins are left out; x = high belongs to the last bin.
    """
    width = (high - low) / bins or 1.0
    index = np.clip(((x - low) / width).astype(int), 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    total = np.bincount(index, weights=y, minlength=bins)
    filled = np.flatnonzero(count)
    return pd.DataFrame(
        {"center": low + (filled + 0.5) * width, "mean": total[filled] / count[filled], "count": count[filled]}
    )


def accuracy_in_bins(p_choices: np.ndarray, accuracy: np.ndarray, bins: int = BINS) -> pd.DataFrame:
    """Mean accuracy in equal bins of p_choices on [0, 1]: columns ``center`` ``accuracy`` ``count``."""
    return binned_shares(p_choices, accuracy, 0.0, 1.0, bins).rename(columns={"mean": "accuracy"})


def sample_pairs(metrics: pd.DataFrame, families: Mapping[str, str], most: int) -> pd.DataFrame:
    """At most ``most`` rows of each family, in an order of drawing in which no family hides another.

    A family whose checkpoints all belong to another one comes after it, since the other's dots lie in the same places;
    families that share nothing are mixed.
    """
    parts = [rows.sample(min(len(rows), most), random_state=0) for _, rows in metrics.groupby("family")]
    drawn = pd.concat(parts).sample(frac=1.0, random_state=0)
    depth = drawn["family"].map(nesting(metrics, families))
    drawn = drawn.iloc[np.argsort(depth.to_numpy(), kind="stable")]
    return drawn.assign(family=pd.Categorical(drawn["family"].map(families), list(families.values())))


def plot(metrics: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str]) -> Compose:
    """Draw the three panels; ``metrics`` holds the rows of the metrics tables of all ``families`` (name -> label)."""
    labels = list(families.values())
    key_rows = style.key_rows(labels)
    points = sample_pairs(metrics, families, MAX_POINTS)
    binned = pd.concat(
        [
            accuracy_in_bins(rows["p_choices_correct"].to_numpy(), rows["accuracy"].to_numpy()).assign(
                family=families[name], share=lambda bins: bins["count"] / bins["count"].sum()
            )
            for name, rows in metrics.groupby("family")
        ]
    )
    binned["family"] = pd.Categorical(binned["family"], labels)
    left = float(metrics["log_p_vocab_correct"].quantile(0.01))
    colours = p9.scale_color_manual(style.family_colours(labels), name="family", labels=style.wrap)
    unit = {"limits": (0, 1), "breaks": [0, 0.25, 0.5, 0.75, 1], "labels": ["0", "0.25", "0.5", "0.75", "1"]}
    dots = {"raster": True, "size": 0.7, "alpha": 0.35, "stroke": 0}
    x_choices = p9.scale_x_continuous(**unit, expand=(0.05, 0))
    theme = style.theme(style.PAGE_WIDTH, 2.7 + 0.2 * key_rows) + p9.theme(
        legend_position="none", plot_title=p9.element_text(size=8)
    )

    seen = points[points["log_p_vocab_correct"] >= left]
    first = (
        p9.ggplot(seen, p9.aes("log_p_vocab_correct", "p_choices_correct", color="family"))
        + p9.geom_point(**dots)
        + p9.scale_x_continuous(expand=(0.02, 0))
        + p9.scale_y_continuous(**unit, expand=(0.02, 0))
        + colours
        + p9.labs(x=style.METRICS[0].math, y=style.METRICS[2].math, title=style.escape(benchmark.label))
        + theme
    )
    second = (
        p9.ggplot(binned, p9.aes("center", "accuracy", color="family"))
        + p9.geom_vline(xintercept=0.5, linetype="dashed", size=0.4, color="#555555")
        + p9.geom_vline(xintercept=benchmark.chance, linetype="dotted", size=0.5, color="#555555")
        + p9.geom_line(size=0.4)
        + p9.geom_point(p9.aes(size="share"), fill="none", stroke=0.5)
        + p9.scale_size_area(max_size=4, guide=None)
        + x_choices
        + p9.scale_y_continuous(**unit, expand=(0.05, 0))
        + colours
        + p9.labs(x=style.METRICS[2].math, y="mean accuracy")
        + p9.guides(color=p9.guide_legend(nrow=key_rows, override_aes={"size": 1.5}))
        + theme
        + p9.theme(legend_position="bottom", legend_box_spacing=0.01, legend_margin=0)
    )
    third = (
        p9.ggplot(points, p9.aes("p_choices_correct", "brier", color="family"))
        + p9.geom_point(**dots)
        + x_choices
        + p9.scale_y_continuous(expand=(0.02, 0))
        + colours
        + p9.labs(x=style.METRICS[2].math, y="Brier score")
        + theme
    )
    return first | second | third


def caption_text(metrics: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str]) -> str:
    """What the figure of one benchmark shows, with its numbers."""
    first = next(iter(families))
    rows = metrics[metrics["family"] == first]
    rank = rows["log_p_vocab_correct"].rank().corr(rows["p_choices_correct"].rank())
    counts = metrics["family"].value_counts()
    drawn = {name: min(int(counts[name]), MAX_POINTS) for name in families}
    dots = "; ".join(f"“{families[n]}” {drawn[n]:,} of {counts[n]:,}" for n in families)
    choices = rows["num_choices"]
    lowest = f"1/{choices.max()}"
    if choices.max() == 2:
        to_see = (
            "with two choices p_choices alone settles the answer, and the Brier score is (1 − p_choices)², the single "
            "curve on the right."
        )
    else:
        between = style.format_share(rows["p_choices_correct"].between(1 / choices, 0.5).mean())
        to_see = f"{between} of the pairs lie between chance and 0.5, where p_choices does not settle the answer."
    return (
        f"{benchmark.label}: what one metric says about the next.\n\n"
        "Left: p_choices against log p_vocab of the correct choice, in nats; the 1 % of pairs with the smallest log "
        f"p_vocab are cut off. Middle: share of right answers in {BINS} equal bins of p_choices, drawn at the bins' "
        "centres, the larger a point the larger the share of the family's pairs in its bin. Right of the dashed line "
        f"at 0.5 the answer is always right, left of {lowest} always wrong; the dotted line is chance. Right: Brier "
        "score (mean over choices) against p_choices. One dot is one item under one checkpoint. Dots drawn, chosen at "
        f"random: {dots}; the middle panel uses all. A family that is a part of another is drawn over it.\n\n"
        f"{benchmark.describe_items()}\n\n"
        f"What to see: in “{families[first]}” the rank correlation between log p_vocab and p_choices over all pairs is "
        f"{style.format_number(rank)}; {to_see}"
    )
