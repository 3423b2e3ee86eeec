"""Probability mass on the correct choice against the mass on all incorrect ones (figure 5 of the paper).

Both axes are log10 of a probability and share their limits; one panel a family. Tiles say where the pairs of item and
checkpoint lie; on top, the checkpoints' medians, coloured by compute, say which way training moves them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotnine as p9

from elusive.analysis.spread import spread_at_fixed_mass
from elusive.figures import style
from elusive.figures.data import Benchmark

#: Tiles along each axis.
TILES = 60

#: A correlation above this one in size is called a movement together, or against each other.
_TOGETHER = 0.3


def _decades(metrics: pd.DataFrame) -> pd.DataFrame:
    """``correct`` and ``incorrect`` mass in powers of ten, ``compute`` in log10 FLOPs, and names; no step 0."""
    metrics = metrics[metrics["flops"] > 0]
    return pd.DataFrame(
        {
            "correct": metrics["log_p_vocab_correct"] / np.log(10),
            "incorrect": metrics["log_p_vocab_incorrect"] / np.log(10),
            "compute": np.log10(metrics["flops"]),
            "family": metrics["family"],
            "model": metrics["model"],
            "checkpoint": metrics["checkpoint"],
        }
    )


def _limits(frame: pd.DataFrame) -> tuple[float, float]:
    """Limits of both axes: from the smaller of the two 0.5 % quantiles to the largest mass."""
    masses = frame[["correct", "incorrect"]]
    return float(masses.quantile(0.005).min()), float(masses.max().max())


def tiles(frame: pd.DataFrame, families: Mapping[str, str]) -> pd.DataFrame:
    """Filled tiles: ``family`` ``correct`` ``incorrect`` (their centres) and ``share`` of the family's pairs."""
    low, high = _limits(frame)
    edges = np.linspace(low, max(high, low + 1e-6), TILES + 1)
    centres = (edges[:-1] + edges[1:]) / 2
    parts = []
    for name, label in families.items():
        own = frame[frame["family"] == name]
        counts, _, _ = np.histogram2d(own["correct"], own["incorrect"], bins=(edges, edges))
        x, y = np.nonzero(counts)
        share = counts[x, y] / len(own)
        parts.append(pd.DataFrame({"family": label, "correct": centres[x], "incorrect": centres[y], "share": share}))
    found = pd.concat(parts, ignore_index=True)
    return found.assign(family=pd.Categorical(found["family"], list(families.values())))


def path(frame: pd.DataFrame, families: Mapping[str, str]) -> pd.DataFrame:
    """Medians over the items of every checkpoint; ``line`` joins those of a model, or all where each has one."""
    keys = ["family", "model", "checkpoint", "compute"]
    medians = frame.groupby(keys, as_index=False)[["correct", "incorrect"]].median()
    medians = medians[medians["family"].isin(families)].sort_values(["family", "compute"], kind="stable")
    several = medians.groupby(["family", "model"]).size().groupby("family").max() > 1
    return medians.assign(
        line=medians["family"] + " " + medians["model"].where(medians["family"].map(several), ""),
        family=pd.Categorical(medians["family"].map(families), list(families.values())),
    )


def plot(metrics: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str]) -> p9.ggplot:
    """Draw the masses; ``metrics`` holds the rows of the metrics tables of all ``families`` (name -> label)."""
    frame = _decades(metrics)
    low, high = _limits(frame)
    breaks = style.whole_powers((low, high), most=4, margin=0.06)
    axis = {"limits": (low, high), "breaks": breaks, "labels": style.power_labels}
    columns = min(len(families), 3)
    rows = -(-len(families) // columns)
    medians = path(frame, families)
    size = (high - low) / TILES
    return (
        p9.ggplot(tiles(frame, families), p9.aes("correct", "incorrect"))
        + p9.geom_tile(p9.aes(alpha="share"), fill="#3A3A3A", width=size, height=size, raster=True)
        + p9.geom_abline(slope=1, intercept=0, size=0.4, linetype="dashed", color="#555555")
        + p9.geom_path(p9.aes(color="compute", group="line"), data=medians, size=0.5)
        + p9.geom_point(p9.aes(color="compute"), data=medians, size=1.3, stroke=0)
        + p9.facet_wrap("family", ncol=columns, labeller=style.strips(32))
        + p9.scale_alpha_continuous(range=(0.06, 0.75), trans="sqrt", guide=None)
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
    pairs = "; ".join(f"“{label}” {counts[name]:,}" for name, label in families.items())
    rows = frame[frame["family"] == next(iter(families))]
    together = rows["correct"].corr(rows["incorrect"])
    spread = spread_at_fixed_mass(rows["correct"].to_numpy(), rows["incorrect"].to_numpy())
    return (
        f"{benchmark.label}: mass on the correct choice and on the incorrect ones.\n\n"
        "Horizontal axis: probability of the correct choice given the question, p_vocab; vertical axis: sum of the "
        "probabilities of all incorrect choices; both logarithmic, with the same limits. Dashed line: equal masses. "
        "Grey tiles: where the pairs of item and checkpoint lie, the darker the more; dots: median over the items of "
        "one checkpoint, the darker the more training FLOPs, those of one model joined. Pairs: "
        f"{pairs}; {style.format_share(outside, 1)} of all lie outside the limits."
        f"\n\n{benchmark.describe_items()}\n\n"
        f"What to see: in “{next(iter(families.values()))}” {_together(together)} (correlation of their logarithms "
        f"{'undefined' if np.isnan(together) else style.format_number(together)}). At a given mass on the correct "
        f"choice the middle 90 % of the masses on the incorrect ones span {spread:.1f} powers of ten: which of the two "
        "is larger decides the share of the correct choice."
    )


def _together(correlation: float) -> str:
    """What the two masses do over the pairs, as far as their correlation says anything."""
    if np.isnan(correlation):
        return "one of the two masses is the same in all pairs"
    if correlation > _TOGETHER:
        return "the two masses rise together over the pairs"
    if correlation < -_TOGETHER:
        return "one mass falls where the other rises"
    return "the two masses hardly depend on each other"
