"""Probability mass on the correct choice against the mass on all incorrect ones (figure 5 of the paper).

Both axes are log10 of a probability and share their limits; a dot is one item under one checkpoint, coloured by the
checkpoint's compute; one panel a family.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotnine as p9

from elusive.analysis.mechanism import spread_at_fixed_mass
from elusive.figures import style
from elusive.figures.data import Benchmark

#: Dots drawn for each family, chosen by a seeded draw.
MAX_POINTS = 4000


def _decades(metrics: pd.DataFrame) -> pd.DataFrame:
    """``correct`` and ``incorrect`` mass in powers of ten, ``compute`` in log10 FLOPs, and ``family``; no step 0."""
    metrics = metrics[metrics["flops"] > 0]
    return pd.DataFrame(
        {
            "correct": metrics["log_p_vocab_correct"] / np.log(10),
            "incorrect": metrics["log_p_vocab_incorrect"] / np.log(10),
            "compute": np.log10(metrics["flops"]),
            "family": metrics["family"],
        }
    )


def _limits(frame: pd.DataFrame) -> tuple[float, float]:
    """Limits of both axes: from the smaller of the two 0.5 % quantiles to the largest mass."""
    masses = frame[["correct", "incorrect"]]
    return float(masses.quantile(0.005).min()), float(masses.max().max())


def plot(metrics: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str]) -> p9.ggplot:
    """Draw the masses; ``metrics`` holds the rows of the metrics tables of all ``families`` (name -> label)."""
    frame = _decades(metrics)
    low, high = _limits(frame)
    parts = [rows.sample(min(len(rows), MAX_POINTS), random_state=0) for _, rows in frame.groupby("family")]
    points = pd.concat(parts)
    points = points[(points["correct"] >= low) & (points["incorrect"] >= low)]
    points["family"] = pd.Categorical(points["family"].map(families), list(families.values()))
    breaks = style.whole_powers((low, high), most=4, margin=0.06)
    axis = {"limits": (low, high), "breaks": breaks, "labels": style.power_labels}
    columns = min(len(families), 3)
    rows = -(-len(families) // columns)
    return (
        p9.ggplot(points, p9.aes("correct", "incorrect", color="compute"))
        + p9.geom_abline(slope=1, intercept=0, size=0.4, linetype="dashed", color="#555555")
        + p9.geom_point(raster=True, size=0.7, alpha=0.6, stroke=0)
        + p9.facet_wrap("family", ncol=columns, labeller=style.strips(32))
        + p9.scale_color_gradientn(style.SEQUENTIAL, breaks=style.whole_powers, labels=style.power_labels)
        + p9.scale_x_continuous(**axis)
        + p9.scale_y_continuous(**axis)
        + p9.coord_fixed()
        + p9.labs(
            x="mass on the correct choice",
            y="mass on the incorrect choices",
            color="FLOPs",
            title=style.escape(benchmark.label),
        )
        + style.theme(style.PAGE_WIDTH, 0.6 + 2.2 * rows)
        + p9.theme(legend_key_width=8, legend_key_height=60)
    )


def caption_text(metrics: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str]) -> str:
    """What the figure of one benchmark shows, with its numbers."""
    frame = _decades(metrics)
    low = _limits(frame)[0]
    outside = (frame[["correct", "incorrect"]] < low).any(axis=1).mean()
    counts = frame["family"].value_counts()
    dots = "; ".join(
        f"“{label}” {min(counts[name], MAX_POINTS):,} of {counts[name]:,}" for name, label in families.items()
    )
    rows = frame[frame["family"] == next(iter(families))]
    together = rows["correct"].corr(rows["incorrect"])
    spread = spread_at_fixed_mass(rows["correct"].to_numpy(), rows["incorrect"].to_numpy())
    return (
        f"{benchmark.label}: mass on the correct choice and on the incorrect ones.\n\n"
        "Horizontal axis: probability of the correct choice given the question, p_vocab; vertical axis: sum of the "
        "probabilities of all incorrect choices; both logarithmic, with the same limits. Dashed line: equal masses. "
        "Colour: training FLOPs of the checkpoint, the darker the more. One dot is one item under one checkpoint; "
        f"dots drawn, chosen at random: {dots}. Outside the limits lie {style.format_share(outside, 1)} of all pairs."
        f"\n\n{benchmark.describe_items()}\n\n"
        f"What to see: in “{next(iter(families.values()))}” the two masses rise together (correlation of their "
        f"logarithms {style.format_number(together)}), but at a given mass on the correct choice the middle 90 % of "
        f"the masses on the incorrect ones span {spread:.1f} powers of ten, which decide the answer."
    )
