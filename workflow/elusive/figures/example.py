"""How to read a survival curve: four made-up distributions of correlations, as histogram and as survival curve.

All near +1, near −1 or near 0, and uniform between −1 and 1: the figure that the paper's appendix teaches with.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotnine as p9
from plotnine.composition import Compose

from elusive.figures import style
from elusive.figures.save import Outputs, save_figure
from elusive.figures.survival import survival_steps

#: Draws of each distribution, bins of the histogram, and points of a curve.
DRAWS, BINS, POINTS = 100_000, 100, 400

_COLOURS = {"correlated": "#3B4CC0", "uncorrelated": "#8A8A8A", "uniform": "#F0895F", "anticorrelated": "#B40426"}


def distributions() -> dict[str, np.ndarray]:
    """Correlations [draws] of four kinds: around ±0.99 and 0 with a deviation of 0.01, and uniform; a fixed seed."""
    generator = np.random.default_rng(0)
    return {
        "correlated": np.clip(generator.normal(0.99, 0.01, DRAWS), -1, 1),
        "uncorrelated": generator.normal(0.0, 0.01, DRAWS),
        "uniform": generator.uniform(-1, 1, DRAWS),
        "anticorrelated": np.clip(generator.normal(-0.99, 0.01, DRAWS), -1, 1),
    }


def plot() -> Compose:
    """Draw histogram and survival curve side by side."""
    bars, curves = [], []
    for name, values in distributions().items():
        counts, edges = np.histogram(values, bins=BINS, range=(-1, 1))
        filled = counts > 0
        bars.append(
            pd.DataFrame(
                {"center": (edges[:-1] + edges[1:])[filled] / 2, "count": counts[filled], "distribution": name}
            )
        )
        x, y = survival_steps(values)
        kept = np.unique(np.linspace(0, len(x) - 1, POINTS).round().astype(int))
        curves.append(pd.DataFrame({"x": x[kept], "y": y[kept], "distribution": name}))
    histogram, survival = (
        frame.assign(distribution=pd.Categorical(frame["distribution"], list(_COLOURS)))
        for frame in (pd.concat(bars), pd.concat(curves))
    )
    theme = style.theme(style.PAGE_WIDTH, 2.6)
    left = (
        p9.ggplot(histogram, p9.aes("center", "count", fill="distribution"))
        + p9.geom_col(width=2 / BINS, position="identity", alpha=0.8)
        + p9.scale_y_log10(labels=lambda breaks: [f"$10^{{{np.log10(value):.0f}}}$" for value in breaks])
        + p9.scale_fill_manual(_COLOURS)
        + style.correlation_scale()
        + p9.labs(x="correlation $c$", y="number of items")
        + theme
        + p9.theme(legend_position="none")
    )
    right = (
        p9.ggplot(survival, p9.aes("x", "y", color="distribution"))
        + p9.geom_step(size=0.7)
        + p9.scale_color_manual(_COLOURS)
        + style.correlation_scale()
        + p9.scale_y_continuous(limits=(0, 1), breaks=[0, 0.25, 0.5, 0.75, 1], expand=(0.01, 0))
        + p9.labs(x="correlation $c$", y="share with correlation $> c$", color="")
        + theme
    )
    return left | right


def caption_text() -> str:
    """What the figure shows, with its numbers."""
    parts = [
        f"{style.format_share((values > 0.75).mean())} ({name}, area {style.format_number(1 + values.mean())})"
        for name, values in distributions().items()
    ]
    return (
        "How to read a survival curve.\n\n"
        f"Four made-up distributions, {DRAWS:,} correlations each, nothing measured: around 0.99 (correlated), 0 "
        "(uncorrelated) and −0.99 (anticorrelated), each with a standard deviation of 0.01, and uniform between −1 and "
        f"1. Left: histogram in {BINS} bins with a logarithmic vertical axis. Right: the share of correlations larger "
        "than the value on the horizontal axis.\n\n"
        "What to see: where items follow compute the curve stays at 1 until far right and then falls; where they fall "
        f"as compute grows it drops at once at the left. The share of correlations above 0.75 is {style.join(parts)}."
    )


def write_example(*, outputs: Outputs) -> None:
    """Draw and describe the four distributions; ``outputs``: where to write."""
    save_figure(plot(), caption_text(), outputs)
