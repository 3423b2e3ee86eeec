"""The remaining pairs of scores of one benchmark: what log p_vocab says of the Brier score and of accuracy.

Beside them, whether greedy decoding gives the right choice, against p_choices and log p_vocab. A dot is one item under
one checkpoint; shares are means in bins.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotnine as p9

from elusive.figures import style
from elusive.figures.data import Benchmark
from elusive.figures.scores import BINS, binned_shares, sample_pairs

#: Dots drawn for each family.
MAX_POINTS = 1500


def _limits(metrics: pd.DataFrame) -> tuple[float, float]:
    """Range of log p_vocab that is drawn: from its 1 % quantile."""
    values = metrics["log_p_vocab_correct"]
    return float(values.quantile(0.01)), float(values.max())


def _bins(metrics: pd.DataFrame, x: str, y: str, families: Mapping[str, str]) -> pd.DataFrame:
    """Shares of ``y`` in bins of ``x`` for each family, and the ``share`` of its pairs in the bin."""
    low, high = _limits(metrics) if x == "log_p_vocab_correct" else (0.0, 1.0)
    frames = []
    for name, label in families.items():
        rows = metrics[(metrics["family"] == name) & metrics[x].between(low, high)]
        found = binned_shares(rows[x].to_numpy(), rows[y].to_numpy(), low, high)
        frames.append(found.assign(family=label, share=found["count"] / found["count"].sum()))
    frame = pd.concat(frames).rename(columns={"mean": y, "center": x})
    return frame.assign(family=pd.Categorical(frame["family"], list(families.values())))


#: Panels: what is drawn against what, and the names on the strips. The first one is dots, the others are in bins.
_LOG_P, _P = "log_p_vocab_correct", "p_choices_correct"
PANELS = {
    ("brier", _LOG_P): rf"Brier score against {style.METRICS[0].math}",
    ("accuracy", _LOG_P): rf"mean accuracy against {style.METRICS[0].math}",
    ("is_greedy", _P): rf"share greedy against {style.METRICS[2].math}",
    ("is_greedy", _LOG_P): rf"share greedy against {style.METRICS[0].math}",
}


def _some_greedy(metrics: pd.DataFrame) -> bool:
    """Whether greedy decoding writes the right choice of any pair: else its panels would be flat."""
    return "is_greedy" in metrics and bool((metrics["is_greedy"] > 0).any())


def points(metrics: pd.DataFrame, families: Mapping[str, str]) -> pd.DataFrame:
    """One row a mark: ``panel`` ``family`` ``x`` ``y``, and in bins the ``share`` of the family's pairs (else NaN)."""
    dots = sample_pairs(metrics, families, MAX_POINTS)
    dots = dots[dots[_LOG_P] >= _limits(metrics)[0]]
    parts = []
    for (y, x), title in PANELS.items():
        if y == "is_greedy" and not _some_greedy(metrics):
            continue
        part = dots.assign(share=np.nan) if y == "brier" else _bins(metrics, x, y, families)
        parts.append(part[["family", "share"]].assign(panel=title, x=part[x], y=part[y]))
    frame = pd.concat(parts, ignore_index=True)
    return frame.assign(panel=pd.Categorical(frame["panel"], list(dict.fromkeys(frame["panel"]))))


def plot(metrics: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str]) -> p9.ggplot:
    """Draw the panels; ``metrics``: rows of the metrics tables of all ``families``; ``is_greedy`` may be missing."""
    frame = points(metrics, families)
    labels = list(families.values())
    binned = frame["share"].notna()
    panels = frame["panel"].cat.categories
    ends = pd.DataFrame({"panel": list(panels[1:]) * 2, "y": [0.0] * (len(panels) - 1) + [1.0] * (len(panels) - 1)})
    ends["panel"] = pd.Categorical(ends["panel"], panels)
    ends = ends.merge(frame.groupby("panel", observed=True)["x"].mean().reset_index(), on="panel")
    rows = style.key_rows(labels)
    return (
        p9.ggplot(frame, p9.aes("x", "y", color="family"))
        + p9.geom_blank(data=ends, inherit_aes=False, mapping=p9.aes("x", "y"))
        + p9.geom_point(data=frame[~binned], raster=True, size=0.7, alpha=0.35, stroke=0)
        + p9.geom_line(data=frame[binned], size=0.4)
        + p9.geom_point(p9.aes(size="share"), data=frame[binned], fill="none", stroke=0.5)
        + p9.facet_wrap("panel", ncol=2, scales="free")
        + p9.scale_size_area(max_size=3.5, guide=None)
        + p9.scale_color_manual(style.family_colours(labels), labels=style.wrap)
        + p9.scale_x_continuous(expand=(0.03, 0), minor_breaks=[])
        + p9.scale_y_continuous(expand=(0.04, 0), minor_breaks=[])
        + p9.labs(x="", y="", color="", title=style.escape(benchmark.label))
        + p9.guides(color=p9.guide_legend(nrow=rows, override_aes={"size": 1.5}))
        + style.theme(style.PAGE_WIDTH, (5.0 if len(panels) > 2 else 2.8) + 0.2 * rows)
        + p9.theme(legend_position="bottom", legend_box_spacing=0.0)
    )


def caption_text(metrics: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str]) -> str:
    """What the figure shows, with its numbers."""
    first = next(iter(families))
    own = metrics[metrics["family"] == first]
    log_p = own["log_p_vocab_correct"]
    halves = [own.loc[half, "accuracy"].mean() for half in (log_p <= log_p.median(), log_p > log_p.median())]
    rank = log_p.rank().corr(-own["brier"].rank())
    counts = metrics["family"].value_counts()
    drawn = "; ".join(f"“{label}” {min(counts[n], MAX_POINTS):,} of {counts[n]:,}" for n, label in families.items())
    greedy = (
        " Lower panels: share of pairs whose right choice greedy decoding would write, in bins of p_choices and of log "
        "p_vocab."
        if _some_greedy(metrics)
        else ""
    )
    found = (
        f" Greedy decoding writes the right choice for {style.format_share(own['is_greedy'].mean())} of the pairs."
        if _some_greedy(metrics)
        else " Greedy decoding writes the right choice of no pair."
        if "is_greedy" in metrics
        else ""
    )
    return (
        f"{benchmark.label}: Brier score, accuracy and greedy choice against the metrics before them.\n\n"
        "Upper left: Brier score (mean over choices) against log p_vocab of the right choice, in nats, without the 1 % "
        "of pairs with the smallest; one dot is one item under one checkpoint, dots drawn, chosen at random: "
        f"{drawn}. Upper right: mean accuracy in {BINS} equal bins of log p_vocab, drawn at the bins' centres, the "
        f"larger a point the larger the share of the family's pairs in its bin.{greedy}\n\n"
        f"{benchmark.describe_items()}\n\n"
        f"What to see: in “{families[first]}” the rank correlation over all pairs between log p_vocab and the "
        f"negated Brier score is {'undefined' if np.isnan(rank) else style.format_number(rank)}; accuracy is "
        f"{halves[0]:.2f} in the half with the smaller log p_vocab and {halves[1]:.2f} in the other.{found}"
    )
