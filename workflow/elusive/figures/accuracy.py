"""Mean accuracy of every checkpoint against training compute, one panel a benchmark."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotnine as p9

from elusive.figures import style
from elusive.figures.data import Benchmark, PathLike, read_benchmark, read_extra
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
    columns = min(len(benchmarks), 3)
    rows = -(-len(benchmarks) // columns)
    return (
        p9.ggplot(frame, p9.aes("flops", "accuracy", color="parameters", group="model"))
        + p9.geom_hline(p9.aes(yintercept="chance"), linetype="dashed", size=0.4, color="#555555")
        + p9.geom_linerange(p9.aes(ymin="low", ymax="high"), size=0.3, alpha=0.35)
        + p9.geom_line(size=0.4)
        + p9.geom_point(size=0.9, stroke=0)
        + p9.facet_wrap("panel", ncol=columns, scales="free_y")
        + style.compute_scale(frame["flops"])
        + style.parameter_scale(scores["parameters"])
        + p9.labs(x="training FLOPs (6·N·D)", y="accuracy", color="parameters")
        + style.theme(style.PAGE_WIDTH, 0.7 + 1.6 * rows)
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
    chance = (
        f"On {style.join(flat)} no checkpoint is better than chance by more than two standard errors."
        if flat
        else "On every benchmark some checkpoint is better than chance by more than two standard errors."
    )
    checkpoints = scores[["model", "checkpoint"]].drop_duplicates()
    return (
        "Mean accuracy against compute.\n\n"
        "Horizontal axis: training FLOPs (6·N·D), logarithmic; vertical axis: share of items answered right, with a "
        "scale of its own in each panel. Thin vertical lines: ± 2 standard errors over items; dashed line: chance. One "
        f"line is one model, darker with more parameters; {len(checkpoints)} checkpoints of "
        f"{checkpoints['model'].nunique()} models. Items: {', '.join(items)}.{notes}\n\n"
        f"What to see: the largest margin over chance is on {label}, {top['accuracy']:.3f} against {top['chance']:.3f} "
        f"({style.format_number(margin, 3)}, {top['model']} {top['checkpoint']}). {chance}"
    )


def write_accuracy(*, scores: PathLike, items: Sequence[PathLike], outputs: Outputs) -> None:
    """Draw and describe mean accuracy against compute.

    ``scores`` and ``checkpoints``: the summary tables; ``items``: items tables in the order of the panels;
    ``outputs``: where to write.
    """
    frame = read_extra(scores, _COLUMNS)
    frame = frame[frame["flops"] > 0]
    benchmarks = [read_benchmark(path) for path in items]
    save_figure(plot(frame, benchmarks), caption_text(frame, benchmarks), outputs)
