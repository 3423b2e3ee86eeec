"""What the page says of benchmarks and families at large: accuracies against guessing, and notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from elusive.figures.data import Benchmark
from elusive.figures.style import format_share
from elusive.report.sentences import some

#: Checkpoints of a family with which an item's correlation is high by luck often enough to be said.
_FEW = 8


@dataclass(frozen=True)
class Signal:
    """How the accuracies of all checkpoints on a benchmark compare with chance.

    ``above`` and ``below`` count the checkpoints further than two standard errors from it on either side.
    """

    benchmark: Benchmark
    checkpoints: int
    above: int
    below: int
    best: float
    best_checkpoint: str


def signals(scores: pd.DataFrame, benchmarks: Sequence[Benchmark]) -> list[Signal]:
    """One :class:`Signal` a benchmark, from the scores table."""
    result = []
    for benchmark in benchmarks:
        rows = scores[scores["benchmark"] == benchmark.name]
        best = rows.loc[rows["accuracy"].idxmax()]
        above, below = int((rows["above_chance_se"] > 2).sum()), int((rows["above_chance_se"] < -2).sum())
        name = f"{best['model']} {best['checkpoint']}"
        result.append(Signal(benchmark, len(rows), above, below, float(best["accuracy"]), name))
    return result


def signal_text(found: Sequence[Signal]) -> str:
    """On which benchmarks no checkpoint is better than guessing yet, and what that means for the correlations."""
    count = found[0].checkpoints
    expected = f"{0.0228 * count:.1f}"
    luck = ""
    if float(expected) > 0:
        luck = (
            f" Guessing alone would put about {expected} of {count} checkpoints that far above chance on a benchmark, "
            "were they independent."
        )
    silent = [s for s in found if s.above == 0]
    if not silent:
        where = f"On {found[0].benchmark.label}" if len(found) == 1 else "On every benchmark"
        return f"{where} some checkpoint is better than chance by more than two standard errors.{luck}"
    within = [s.benchmark.label for s in silent if s.below == 0]
    beneath = [f"{s.benchmark.label} ({s.below} of {s.checkpoints})" for s in silent if s.below]
    where = some([s.benchmark.label for s in silent])
    text = (
        f"On {where} no checkpoint is better than chance by more than two standard errors: there, low correlations of "
    )
    text += "accuracy partly mean that the models have no signal yet, not that the metric hides it."
    if within:
        text += f" All checkpoints are within two standard errors of chance on {some(within)}."
    if beneath:
        text += f" Some are further below it on {some(beneath)}."
    return f"{text}{luck}"


_GENERAL = (
    "Checkpoints of one training run depend on each other, and the intervals are for drawing other items: what "
    "another training run would change is not in them.",
    "Spearman's and Kendall's coefficients see only ranks. exp keeps ranks, so they cannot tell p_vocab from log "
    "p_vocab; only Pearson's can.",
    "With two choices the Brier score is (1 − p_choices)², which keeps the ranks of p_choices: Spearman's and "
    "Kendall's coefficients of the two are identical there.",
    "Mean, area under the survival function and Wasserstein distance are one number in three forms: the area is 1 + "
    "mean, the negative distance is the size of the mean minus 1. Only the median and the share above 0.75 add to it.",
    "An item that every checkpoint gets right, or every one gets wrong, has no correlation of accuracy. Such items "
    "count as 0 here, and are left out where a table says undefined: drop. Left out, accuracy is judged on fewer and "
    "different items than the other metrics.",
    "The Brier score is negated before correlating, so that larger is better for every metric.",
)


def notes(benchmarks: Sequence[Benchmark], families: Mapping[str, str], null_bands: pd.DataFrame) -> list[str]:
    """What a reader must know to judge the numbers.

    ``families`` maps names to labels; ``null_bands`` is the table of that name.
    """
    result = [f"{b.label}: {b.split_note}." for b in benchmarks if b.split_note]
    limited = [b for b in benchmarks if b.num_items < b.num_items_total]
    if limited:
        counts = some([f"{b.label} {b.num_items:,} of {b.num_items_total:,}" for b in limited])
        result.append(f"Not all items were used, but a random draw with a fixed seed: {counts}.")
    bands = null_bands[null_bands["method"] == "spearman"].dropna(subset=["fraction_above_075"])
    for name, label in families.items():
        own = bands[bands["family"] == name]
        # Items in one benchmark's tables may be of fewer checkpoints; the family has the most.
        for _, row in own.sort_values("num_models").tail(1).iterrows():
            count = int(row["num_models"])
            if count > _FEW:
                continue
            share = format_share(float(row["fraction_above_075"]), 1)
            result.append(
                f"“{label}” has only {count} checkpoints. By luck alone {share} of items without any relation to "
                "compute would have a Spearman correlation above 0.75. Curves of families of different sizes are not "
                "comparable."
            )
    return [*result, *_GENERAL]
