"""Mean scores of a benchmark against compute: the chain's metrics by family, and masses on right and wrong choices."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotnine as p9

from elusive.figures import style
from elusive.figures.data import Benchmark, nesting

#: Half a 95 % interval in standard errors.
Z = 1.959964

#: Panels of the second figure: column of the metrics table -> panel and curve.
CROSS_ENTROPY, MASS = "cross-entropy (nats)", r"$\log_{10}$ probability mass"
DIFFERENCE = "wrong − right (nats)"
MASSES = {
    "log_p_vocab_correct": (CROSS_ENTROPY, "the right choice"),
    "log_p_vocab_incorrect": (CROSS_ENTROPY, "all wrong choices together"),
    "p_vocab_correct": (MASS, "the right choice"),
    "p_vocab_incorrect": (MASS, "all wrong choices together"),
}
_PAIRED = "difference of the two"
_COLOURS = {"the right choice": style.RIGHT, "all wrong choices together": style.WRONG, _PAIRED: "#222222"}


def family_means(means: pd.DataFrame, members: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """The rows of the table ``means`` of metrics ``columns``, once for each family: ``value`` and its error ``se``.

    ``members``: rows ``family`` ``model`` ``checkpoint``. Beside them ``flops`` ``metric`` and ``line``, which joins
    the checkpoints of a model, or all of a family that has one checkpoint of each model. Those without compute are left
    out.
    """
    frame = means[(means["flops"] > 0) & means["metric"].isin(columns)].merge(members, on=["model", "checkpoint"])
    frame = frame.rename(columns={"mean": "value"})
    several = members.groupby(["family", "model"])["checkpoint"].nunique().groupby("family").max() > 1
    frame["line"] = frame["family"] + " " + frame["model"].where(frame["family"].map(several), "")
    return frame.sort_values(["family", "metric", "model", "flops"], kind="stable", ignore_index=True)


def logarithms(frame: pd.DataFrame, where: pd.Series) -> pd.DataFrame:
    """``frame`` with log10 of ``value`` and the standard error of that in the rows ``where``; NaN for a value of 0."""
    value = frame["value"].where(frame["value"] > 0)
    return frame.assign(
        value=np.log10(value).where(where, frame["value"]),
        se=(frame["se"] / value / math.log(10)).where(where, frame["se"]),
    )


def chance_levels(benchmark: Benchmark) -> dict[str, float]:
    """Means of the metrics when every choice has the same share: chance for p_choices, accuracy and the Brier score."""
    total = sum(count for _, count in benchmark.choices)
    even = {"p_choices_correct": lambda k: 1 / k, "brier": lambda k: (k - 1) / k**2, "accuracy": lambda k: 1 / k}
    return {m: sum(count * level(k) for k, count in benchmark.choices) / total for m, level in even.items()}


def plot(means: pd.DataFrame, members: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str]) -> p9.ggplot:
    """Draw the means of the chain's metrics; ``means``: the benchmark's rows of that table."""
    columns = [m.column for m in style.METRICS]
    math_names = {m.column: m.math.replace("$-$", "") for m in style.METRICS}
    math_names["p_vocab_correct"] = r"$\log_{10}$ of mean $p^{\mathrm{Vocab}}$"
    frame = family_means(means, members, columns)
    depth = nesting(frame, families)
    order = sorted(families, key=lambda family: depth[family])
    labels = list(families.values())
    frame = logarithms(frame, frame["metric"] == "p_vocab_correct")
    lines = [line for f in order for line in dict.fromkeys(frame.loc[frame["family"] == f, "line"])]
    frame = frame.assign(
        low=frame["value"] - Z * frame["se"],
        high=frame["value"] + Z * frame["se"],
        metric=pd.Categorical(frame["metric"], columns),
        line=pd.Categorical(frame["line"], lines),
        family=pd.Categorical(frame["family"].map(families), labels),
    ).sort_values(["metric", "line", "flops"], kind="stable")
    chance = pd.DataFrame(chance_levels(benchmark).items(), columns=["metric", "level"])
    chance["metric"] = pd.Categorical(chance["metric"], columns)
    figure = (
        p9.ggplot(frame, p9.aes("flops", "value", color="family", group="line"))
        + p9.geom_hline(p9.aes(yintercept="level"), data=chance, linetype="dashed", size=0.4, color="#555555")
        + p9.geom_linerange(p9.aes(ymin="low", ymax="high"), size=0.3, alpha=0.5, na_rm=True)
        + p9.geom_line(size=0.45)
        + p9.geom_point(p9.aes(shape="family"), size=1.1, stroke=0)
        + p9.facet_wrap("metric", ncol=3, scales="free_y", labeller=lambda name: math_names[name])
        + style.compute_scale()
        + p9.scale_color_manual(style.family_colours(labels), labels=style.wrap)
        + p9.scale_shape_manual(style.family_shapes(labels), labels=style.wrap)
        + p9.labs(
            x="training FLOPs (6·N·D)",
            y="mean over the items",
            color="family",
            shape="family",
            title=style.escape(benchmark.label),
        )
    )
    if len(families) <= 4:  # the key fits into the place of a sixth panel
        return (
            figure
            + style.theme(style.PAGE_WIDTH, 3.9)
            + p9.theme(legend_position=(0.99, 0.2), legend_direction="vertical")
        )
    rows = style.key_rows(labels)
    return (
        figure
        + style.theme(style.PAGE_WIDTH, 4.1 + 0.25 * rows)
        + p9.guides(color=p9.guide_legend(nrow=rows), shape=p9.guide_legend(nrow=rows))
        + p9.theme(legend_position="bottom")
    )


def caption_text(means: pd.DataFrame, members: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str]) -> str:
    """What the figure of mean metrics shows, with its numbers."""
    frame = family_means(means, members, [m.column for m in style.METRICS])
    first = next(iter(families))
    own = frame[frame["family"] == first]
    parts = []
    for metric in style.METRICS:
        rows = own[own["metric"] == metric.column]
        rank = rows["flops"].rank().corr(rows["value"].rank())
        rank = -rank if metric.column == "brier" else rank
        parts.append(f"{'undefined' if math.isnan(rank) else style.format_number(rank)} for {metric.plain}")
    counts = frame.groupby("family")[["model", "checkpoint"]].apply(lambda rows: len(rows.drop_duplicates()))
    members = "; ".join(f"“{label}” ({counts[name]} checkpoints)" for name, label in families.items())
    return (
        f"{benchmark.label}: mean scores against compute.\n\n"
        "Horizontal axis: training FLOPs (6·N·D), logarithmic; vertical axis: mean of a metric over all items, log "
        "p_vocab in nats, and log10 of the mean p_vocab, which few likely items decide. Thin vertical lines: 95 % "
        "interval of the mean over items; dashed line: the score when every choice has the same share. Of a family "
        "with several checkpoints of a model, the checkpoints of one model are joined. "
        f"The Brier score (mean over choices) is better the lower.\n\n{benchmark.describe_items()} Families: "
        f"{members}.\n\n"
        f"What to see: in “{families[first]}”, over the checkpoints, the rank correlation of the mean score with "
        f"compute is {style.join(parts)}, the Brier score negated."
    )


def plot_masses(
    means: pd.DataFrame, metrics: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str]
) -> p9.ggplot:
    """Draw cross-entropies, their difference and masses of right and wrong choices against compute, ± 2 errors."""
    frame = mass_means(means, metrics, families)
    narrow = len(families) > 3
    return (
        p9.ggplot(frame, p9.aes("flops", "value", color="curve", group="group"))
        + p9.geom_linerange(p9.aes(ymin="low", ymax="high"), size=0.3, alpha=0.6, na_rm=True)
        + p9.geom_line(size=0.45)
        + p9.geom_point(size=0.9, stroke=0)
        + p9.facet_grid("panel", "family", scales="free", labeller=p9.labeller(cols=style.strips(16 if narrow else 28)))
        + p9.scale_color_manual(_COLOURS)
        + style.compute_scale(most=3 if narrow else 5)
        + p9.labs(x="training FLOPs (6·N·D)", y="", color="", title=style.escape(benchmark.label))
        + style.theme(style.PAGE_WIDTH, 5.2)
        + p9.theme(
            legend_position="bottom",
            legend_box_spacing=0.01,
            strip_text_x=p9.element_text(size=6.5 if narrow else 8),
            strip_text_y=p9.element_text(rotation=270, size=7.5),
            axis_text_x=p9.element_text(size=6 if narrow else 7),
        )
    )


def differences(metrics: pd.DataFrame) -> pd.DataFrame:
    """How much less likely all wrong choices together are than the right one, item by item: mean and its error.

    ``metrics``: rows of the metrics tables with ``family``. One row a checkpoint of a family, with ``value`` the mean
    over the items of log p_vocab minus the log of the wrong choices' mass, in nats, and ``se`` its standard error: the
    items' noise that both share cancels, so that it is smaller than either's.
    """
    own = metrics[metrics["flops"] > 0]
    own = own.assign(gap=own["log_p_vocab_correct"] - own["log_p_vocab_incorrect"])
    groups = own.groupby(["family", "model", "checkpoint", "flops"], as_index=False)["gap"]
    return groups.agg(value="mean", se="sem")


def mass_means(means: pd.DataFrame, metrics: pd.DataFrame, families: Mapping[str, str]) -> pd.DataFrame:
    """One row a point of :func:`plot_masses`: ``panel`` ``curve`` ``family`` ``flops`` ``value`` ``low`` ``high``.

    Cross-entropy is minus the mean log probability. Of a mean mass log10 is taken, with the standard error of that. The
    difference is that of :func:`differences`.
    """
    members = metrics[["family", "model", "checkpoint"]].drop_duplicates()
    frame = family_means(means, members, list(MASSES))
    masses = frame["metric"].isin([metric for metric, (panel, _) in MASSES.items() if panel == MASS])
    frame = logarithms(frame, masses)
    frame["value"] = frame["value"].where(masses, -frame["value"])
    frame["panel"], frame["curve"] = (frame["metric"].map(lambda m, i=i: MASSES[m][i]) for i in (0, 1))
    gaps = differences(metrics).assign(panel=DIFFERENCE, curve=_PAIRED)
    lines = frame[["family", "model", "checkpoint", "line"]].drop_duplicates()
    frame = pd.concat([frame, gaps.merge(lines, on=["family", "model", "checkpoint"])], ignore_index=True)
    frame = frame.sort_values(["family", "panel", "curve", "model", "flops"], kind="stable", ignore_index=True)
    value, se = frame["value"], frame["se"]
    return frame.assign(
        low=value - 2 * se,
        high=value + 2 * se,
        panel=pd.Categorical(frame["panel"], [CROSS_ENTROPY, DIFFERENCE, MASS]),
        curve=pd.Categorical(frame["curve"], list(_COLOURS)),
        group=frame["line"] + " " + frame["curve"],
        family=pd.Categorical(frame["family"].map(families), list(families.values())),
    ).dropna(subset=["value"])


def masses_caption(
    means: pd.DataFrame, metrics: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str]
) -> str:
    """What the figure of cross-entropies and masses shows, with its numbers."""
    first = next(iter(families.values()))
    frame = mass_means(means, metrics, families)
    own = frame[frame["family"] == first].sort_values("flops", kind="stable")
    parts = []
    for panel, curve, name in (
        (CROSS_ENTROPY, "the right choice", "the right choice's cross-entropy"),
        (CROSS_ENTROPY, "all wrong choices together", "that of all wrong choices together"),
        (DIFFERENCE, _PAIRED, "their difference"),
    ):
        rows = own[(own["panel"] == panel) & (own["curve"] == curve)]
        low, high = rows.iloc[0], rows.iloc[-1]
        ends = f"{style.format_number(low['value'], 1)} to {style.format_number(high['value'], 1)}"
        parts.append(f"{name} goes from {ends} nats" + (f" (± {2 * high['se']:.1f})" if curve == _PAIRED else ""))
    flops = f"{style.format_power(own['flops'].min())} to {style.format_power(own['flops'].max())}"
    return (
        f"{benchmark.label}: cross-entropy and mass of right and wrong choices against compute.\n\n"
        "Horizontal axis: training FLOPs (6·N·D), logarithmic. Top: cross-entropy, minus the mean over items of log "
        "p_vocab; of the wrong choices, whose probabilities are summed first. Middle: the mean over items of the "
        "difference, above 0 where the right choice outweighs all wrong ones. Bottom: log10 of the mean over items of "
        "p_vocab, which few likely items decide. Thin vertical lines: ± 2 standard errors over items, those of the "
        "difference its own. Each column is a family; the checkpoints of one model are joined.\n\n"
        f"{benchmark.describe_items()}\n\n"
        f"What to see: in “{first}”, from {flops} FLOPs, {style.join(parts)}."
    )
