"""Mean accuracy of every checkpoint against training compute, one panel a benchmark, by model and by family."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd
import plotnine as p9

from elusive.figures import style
from elusive.figures.data import Benchmark, PathLike, nesting, read_benchmark, read_extra
from elusive.figures.means import Z, family_means
from elusive.figures.save import Outputs, save_figure

_COLUMNS = ["model", "checkpoint", "parameters", "flops", "benchmark"]
_COLUMNS += ["chance", "accuracy", "accuracy_se", "above_chance_se"]


def plot(scores: pd.DataFrame, benchmarks: Sequence[Benchmark]) -> p9.ggplot:
    """Draw accuracy with ±2 standard errors and the chance level; ``scores`` is the table of that name."""
    names = {b.name: b.label for b in benchmarks}
    frame = scores[scores["benchmark"].isin(names)]
    frame = frame.assign(
        panel=pd.Categorical(frame["benchmark"].map(names), list(names.values())),
        low=frame["accuracy"] - 2 * frame["accuracy_se"],
        high=frame["accuracy"] + 2 * frame["accuracy_se"],
    )
    panels = style.Panels.of(len(benchmarks))
    return (
        p9.ggplot(frame, p9.aes("flops", "accuracy", color="parameters", group="model"))
        + p9.geom_hline(p9.aes(yintercept="chance"), linetype="dashed", size=0.4, color="#555555")
        + p9.geom_linerange(p9.aes(ymin="low", ymax="high"), size=0.3, alpha=0.35)
        + p9.geom_line(size=0.4)
        + p9.geom_point(size=0.9, stroke=0)
        + p9.facet_wrap("panel", ncol=panels.columns, scales="free_y", labeller=style.strips(20))
        + style.compute_scale(most=3 if panels.many else 5)
        + p9.scale_y_continuous(minor_breaks=[], breaks=few_breaks)
        + style.parameter_scale(scores["parameters"])
        + p9.labs(x="training FLOPs (6·N·D)", y="accuracy", color="parameters")
        + style.theme(style.PAGE_WIDTH, 0.7 + panels.height)
        + panels.theme()
    )


def caption_text(scores: pd.DataFrame, benchmarks: Sequence[Benchmark]) -> str:
    """What the accuracy figure shows, with its numbers."""
    best, flat, items = [], [], []
    for benchmark in benchmarks:
        rows = scores[scores["benchmark"] == benchmark.name]
        top = rows.loc[rows["accuracy"].idxmax()]
        items.append(f"{benchmark.label} {benchmark.num_items:,}")
        best.append((top["accuracy"] - top["chance"], top, benchmark.label))
        if (rows["above_chance_se"] <= 2).all():
            flat.append(benchmark.label)
    margin, top, label = max(best, key=lambda entry: entry[0])
    notes = "".join(f" {b.label}: {b.split_note}." for b in benchmarks if b.split_note)
    largest = (
        f"the largest margin over chance is on {label}, {top['accuracy']:.3f} against {top['chance']:.3f} "
        f"({style.format_number(margin, 3)}, {top['model']} {top['checkpoint']})."
        if margin > 0
        else "no accuracy is above chance."
    )
    chance = (
        f"On {style.join(flat)} no checkpoint is better than chance by more than two standard errors."
        if flat
        else f"On {'every benchmark' if len(benchmarks) > 1 else benchmarks[0].label} some checkpoint is better than "
        "chance by more than two standard errors."
    )
    checkpoints = scores[["model", "checkpoint"]].drop_duplicates()
    return (
        "Mean accuracy against compute.\n\n"
        "Horizontal axis: training FLOPs (6·N·D), logarithmic; vertical axis: share of items answered right, with a "
        "scale of its own in each panel. Thin vertical lines: ± 2 standard errors over items; dashed line: chance. One "
        f"line is one model, darker with more parameters; {style.count(len(checkpoints), 'checkpoint')} of "
        f"{style.count(checkpoints['model'].nunique(), 'model')}. Items: {', '.join(items)}.{notes}\n\n"
        f"What to see: {largest} {chance}"
    )


def few_breaks(limits: tuple[float, float]) -> list[float]:
    """At most four round breaks of a scale of shares."""
    for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1):
        breaks = [round(step * k, 2) for k in range(math.ceil(limits[0] / step), math.floor(limits[1] / step) + 1)]
        if len(breaks) <= 4:
            break
    return breaks


def scaling(
    means: pd.DataFrame, members: pd.DataFrame, benchmarks: Sequence[Benchmark], families: Mapping[str, str]
) -> pd.DataFrame:
    """Accuracy of every family's checkpoints: the rows of :func:`elusive.figures.means.family_means` that are drawn."""
    labels, names = list(families.values()), {b.name: b.label for b in benchmarks}
    frame = family_means(means[means["benchmark"].isin(names)], members, ["accuracy"])
    depth = nesting(members, families)
    lines = [
        line
        for family in sorted(families, key=lambda family: depth[family])
        for line in dict.fromkeys(frame.loc[frame["family"] == family, "line"])
    ]
    return frame.assign(
        panel=pd.Categorical(frame["benchmark"].map(names), list(dict.fromkeys(names.values()))),
        low=frame["value"] - Z * frame["se"],
        high=frame["value"] + Z * frame["se"],
        line=pd.Categorical(frame["line"], lines),
        family=pd.Categorical(frame["family"].map(families), labels),
    ).sort_values(["panel", "line", "flops"], kind="stable")


def plot_scaling(
    means: pd.DataFrame, members: pd.DataFrame, benchmarks: Sequence[Benchmark], families: Mapping[str, str]
) -> p9.ggplot:
    """Draw mean accuracy against compute by family, one panel a benchmark; ``means`` is the table of that name."""
    frame = scaling(means, members, benchmarks, families)
    labels = list(families.values())
    chance = pd.DataFrame({"panel": [b.label for b in benchmarks], "level": [b.chance for b in benchmarks]})
    chance["panel"] = pd.Categorical(chance["panel"], frame["panel"].cat.categories)
    panels, rows = style.Panels.of(len(benchmarks)), style.key_rows(labels)
    return (
        p9.ggplot(frame, p9.aes("flops", "value", color="family", group="line"))
        + p9.geom_hline(p9.aes(yintercept="level"), data=chance, linetype="dashed", size=0.4, color="#555555")
        + p9.geom_linerange(p9.aes(ymin="low", ymax="high"), size=0.3, alpha=0.4, na_rm=True)
        + p9.geom_line(size=0.45)
        + p9.geom_point(p9.aes(shape="family"), size=0.7 if panels.many else 1.0, stroke=0)
        + p9.facet_wrap("panel", ncol=panels.columns, scales="free_y", labeller=style.strips(20))
        + style.compute_scale(most=3 if panels.many else 5)
        + p9.scale_y_continuous(minor_breaks=[], breaks=few_breaks)
        + p9.scale_color_manual(style.family_colours(labels), labels=style.wrap)
        + p9.scale_shape_manual(style.family_shapes(labels), labels=style.wrap)
        + p9.labs(x="training FLOPs (6·N·D)", y="accuracy", color="", shape="")
        + p9.guides(color=p9.guide_legend(nrow=rows), shape=p9.guide_legend(nrow=rows))
        + style.theme(style.PAGE_WIDTH, 0.7 + panels.height + 0.2 * rows)
        + panels.theme()
        + p9.theme(legend_position="bottom", legend_box_spacing=0.02)
    )


def scaling_caption(
    means: pd.DataFrame, members: pd.DataFrame, benchmarks: Sequence[Benchmark], families: Mapping[str, str]
) -> str:
    """What the figure of accuracy by family shows, with its numbers."""
    frame = scaling(means, members, benchmarks, families)
    first = next(iter(families.values()))
    own = frame[frame["family"] == first]
    rises = []
    for benchmark in benchmarks:
        rows = own[own["panel"] == benchmark.label].sort_values("flops", kind="stable")
        rises.append((rows["flops"].rank().corr(rows["value"].rank()), benchmark.label))
    ranked = sorted((rank, label) for rank, label in rises if not math.isnan(rank))
    found = (
        f"is {style.format_number(ranked[0][0])} ({ranked[0][1]})"
        if len(ranked) == 1
        else f"goes from {style.format_number(ranked[0][0])} ({ranked[0][1]}) to {style.format_number(ranked[-1][0])} "
        f"({ranked[-1][1]})"
        if ranked
        else "is undefined"
    )
    counts = {label: len(rows[["model", "checkpoint"]].drop_duplicates()) for label, rows in frame.groupby("family")}
    about = "; ".join(f"“{label}” ({style.count(counts.get(label, 0), 'checkpoint')})" for label in families.values())
    choices = ", ".join(f"{b.label} {b.describe_choices()}" for b in benchmarks)
    return (
        "Accuracy against compute, by family.\n\n"
        "Horizontal axis: training FLOPs (6·N·D), logarithmic; vertical axis: mean accuracy, with a scale of its own "
        "in each panel. Thin vertical lines: 95 % interval over items; dashed line: chance. Of a family with several "
        "checkpoints of a model, the checkpoints of one model are joined; a family that is a part of another is drawn "
        f"over it. Choices per item: {choices}. Families: {about}.\n\n"
        f"What to see: in “{first}” the rank correlation of accuracy with compute over the checkpoints {found}."
    )


def write_accuracy(
    *,
    scores: PathLike,
    means: PathLike,
    items: Sequence[PathLike],
    families: Mapping[str, str],
    members: Mapping[str, Sequence[Sequence[str]]],
    outputs: Outputs,
    scaling_outputs: Outputs,
) -> None:
    """Draw and describe mean accuracy against compute, by model (``outputs``) and by family (``scaling_outputs``).

    ``scores``, ``means``: the tables of that name; ``items``: items tables in the order of the panels; ``families``:
    name -> label, in drawing order; ``members``: name -> list of (model, checkpoint).
    """
    frame = read_extra(scores, _COLUMNS)
    frame = frame[frame["flops"] > 0]
    benchmarks = [read_benchmark(path) for path in items]
    save_figure(plot(frame, benchmarks), caption_text(frame, benchmarks), outputs)
    average = read_extra(means, ["model", "checkpoint", "flops", "benchmark", "metric", "mean", "se"])
    rows = [(family, model, checkpoint) for family in families for model, checkpoint in members[family]]
    about = (average, pd.DataFrame(rows, columns=["family", "model", "checkpoint"]), benchmarks, families)
    save_figure(plot_scaling(*about), scaling_caption(*about), scaling_outputs)
