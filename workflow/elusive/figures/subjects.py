"""Subjects of one benchmark: a heat map of mean correlations with compute, a row a subject, a column a metric.

A subject of few items has a noisy mean. Each mean is drawn towards that of all its benchmark's subjects, as far as
noise explains its distance (empirical Bayes with a normal prior, the variance between subjects by the method of
moments of DerSimonian and Laird 1986). Subjects of fewer than 30 items are left out.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotnine as p9

from elusive.figures import style
from elusive.figures.data import Benchmark, PathLike, read_benchmark
from elusive.figures.save import Outputs, save_figure
from elusive.figures.statistics import read_statistics

MIN_ITEMS = 30
#: Half a 95 % interval in standard errors.
_Z = 1.959964


def pooled(means: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """``means`` [subjects] drawn towards their weighted mean, by their standard ``errors`` [subjects].

    With weights 1/e² and Q their weighted sum of squares around the weighted mean, the variance between subjects is
    max(0, (Q - (k - 1)) / (sum w - sum w² / sum w)); each mean keeps the share variance / (variance + e²) of its
    distance. Of a single subject nothing is known, and it stays.
    """
    if len(means) < 2:
        return means.copy()
    weights = 1 / np.maximum(errors, 1e-9) ** 2
    centre = np.average(means, weights=weights)
    excess = (weights * (means - centre) ** 2).sum() - (len(means) - 1)
    between = max(0.0, excess / (weights.sum() - (weights**2).sum() / weights.sum()))
    centre = np.average(means, weights=1 / (between + errors**2)) if between > 0 else centre
    return centre + (means - centre) * between / (between + np.maximum(errors, 1e-9) ** 2)


def tidy(statistics: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str], method: str) -> pd.DataFrame:
    """One row a tile: ``family`` ``subject`` ``num_items`` ``metric`` ``mean`` ``pooled``; undefined counts as 0."""
    metrics = [m.column for m in style.metrics_seen_by(method)]
    own = statistics[
        (statistics["benchmark"] == benchmark.name)
        & statistics["subject"].notna()
        & (statistics["num_items"] >= MIN_ITEMS)
        & (statistics["method"] == method)
        & (statistics["nan_policy"] == "zero")
        & statistics["metric"].isin(metrics)
        & statistics["family"].isin(families)
    ].dropna(subset=["mean", "mean_low", "mean_high"])
    parts = []
    for _, rows in own.groupby(["family", "metric"], sort=False):
        errors = ((rows["mean_high"] - rows["mean_low"]) / (2 * _Z)).to_numpy()
        parts.append(rows.assign(pooled=pooled(rows["mean"].to_numpy(), errors)))
    columns = ["family", "subject", "num_items", "metric", "mean", "pooled"]
    frame = pd.concat(parts)[columns] if parts else pd.DataFrame({name: [] for name in columns})
    return frame.assign(
        metric=pd.Categorical(frame["metric"], metrics),
        family=pd.Categorical(frame["family"].map(families), list(families.values())),
    )


def plot(statistics: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str], method: str) -> p9.ggplot:
    """Draw the heat map; ``statistics`` is the whole table correlation_statistics."""
    frame = tidy(statistics, benchmark, families, method)
    math = {m.column: m.math for m in style.METRICS}
    theme = style.theme(style.PAGE_WIDTH, 1.2 + 0.13 * max(frame["subject"].nunique(), 8))
    if frame.empty:
        note = pd.DataFrame({"x": [0.0], "y": [0.0], "note": [f"no subject has {MIN_ITEMS} items"]})
        return (
            p9.ggplot(note, p9.aes("x", "y", label="note"))
            + p9.geom_text(size=9, color="#555555")
            + p9.labs(x="", y="", title=style.escape(benchmark.label))
            + style.theme(style.PAGE_WIDTH, 1.5)
            + p9.theme(axis_text=p9.element_blank(), axis_ticks=p9.element_blank(), panel_grid=p9.element_blank())
        )
    counts = frame.groupby("subject")["num_items"].max()
    names = {subject: f"{subject.replace('_', ' ')} ({counts[subject]})" for subject in sorted(counts.index)}
    frame = frame.assign(row=pd.Categorical(frame["subject"].map(names), list(names.values())[::-1]))
    frame["text"] = [style.format_number(value, 1) for value in frame["pooled"]]
    frame["ink"] = np.where(frame["pooled"].abs() > 0.55, "#FFFFFF", "#222222")
    return (
        p9.ggplot(frame, p9.aes("metric", "row"))
        + p9.geom_tile(p9.aes(fill="pooled"))
        + p9.geom_text(p9.aes(label="text", color="ink"), size=5, show_legend=False)
        + p9.facet_wrap("family", nrow=1, labeller=style.strips(24))
        + p9.scale_fill_gradient2(low="#B40426", mid="#F7F7F7", high="#3B4CC0", midpoint=0, limits=(-1, 1))
        + p9.scale_color_identity()
        + p9.scale_x_discrete(labels=lambda columns: [math[column] for column in columns])
        + p9.labs(x="", y="", fill=f"mean\n{method.capitalize()}", title=style.escape(benchmark.label))
        + theme
        + p9.theme(
            axis_text_y=p9.element_text(size=5.5),
            axis_text_x=p9.element_text(size=6, rotation=40, ha="right"),
            panel_grid_major=p9.element_blank(),
        )
    )


def caption_text(statistics: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str], method: str) -> str:
    """What the heat map shows, with its numbers."""
    frame = tidy(statistics, benchmark, families, method)
    first = next(iter(families.values()))
    own = frame[frame["family"] == first]
    models = statistics.groupby("family")["num_models"].max()
    members = "; ".join(f"“{label}” ({models[name]} checkpoints)" for name, label in families.items())
    number = frame["subject"].nunique()
    left = benchmark.num_subjects - number
    parts = []
    for metric in style.metrics_seen_by(method):
        values = own.loc[own["metric"] == metric.column, "pooled"]
        if len(values):
            parts.append(f"{style.format_range(values.min(), values.max())} in {metric.plain}")
    over = f"goes, over the {number} subjects, from" if number > 1 else "of the one subject is"
    found = (
        f"in “{first}” the mean correlation {over} {'; '.join(parts)}."
        if parts
        else f"no subject has {MIN_ITEMS} items, fewer of which say nothing by themselves."
    )
    omitted = f" {left} subjects of fewer than {MIN_ITEMS} items are left out." if left and number else ""
    return (
        f"{benchmark.label}: mean {method.capitalize()} correlation with compute, by subject.\n\n"
        f"Rows: {number} of {benchmark.num_subjects} subjects, with their numbers of items; columns: metrics in the "
        "order of the chain, −Brier negated; panels: families. Colour and number: mean over the items of the "
        "correlation of an item's score with log10 of the training FLOPs, undefined counted as 0, drawn towards the "
        f"mean of all subjects as far as few items explain its distance.{omitted}\n\n"
        f"{benchmark.describe_items()} Families: {members}.\n\n"
        f"What to see: {found}"
    )


def write_subjects(
    *, statistics: PathLike, items: PathLike, families: Mapping[str, str], method: str, outputs: Outputs
) -> None:
    """Draw and describe the subjects of one benchmark for one ``method``.

    ``statistics``: the table correlation_statistics; ``items``: the benchmark's items table; ``families``: name ->
    label, in drawing order; ``outputs``: where to write.
    """
    frame, benchmark = read_statistics(statistics), read_benchmark(items)
    about = (frame, benchmark, families, method)
    save_figure(plot(*about), caption_text(*about), outputs, families)
