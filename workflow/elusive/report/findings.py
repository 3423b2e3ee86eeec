"""What the report says in words, computed from the tables: medians, the order of the metrics, signal against chance."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from elusive.figures.data import Benchmark
from elusive.figures.style import Metric, format_number, format_range, format_share, join, metrics_seen_by
from elusive.report.summaries import METRIC_NAMES

METHODS = ("pearson", "spearman")

#: The paper expects log p_vocab ≥ p_vocab > p_choices ≥ −Brier > accuracy: whether a metric may equal the one before.
_MAY_EQUAL = {"p_vocab_correct": True, "p_choices_correct": False, "brier": True, "accuracy": False}


@dataclass(frozen=True)
class Median:
    """Median correlation of a metric over items, with its 95 % interval; None where no correlation is defined."""

    metric: Metric
    method: str
    value: float | None
    low: float | None
    high: float | None


def chain_medians(statistics: pd.DataFrame, family: str, benchmark: str, method: str) -> list[Median]:
    """The medians of one family on one whole benchmark, in the order of the chain; undefined items are left out."""
    rows = statistics[
        (statistics["family"] == family)
        & (statistics["benchmark"] == benchmark)
        & (statistics["method"] == method)
        & (statistics["nan_policy"] == "drop")
        & statistics["subject"].isna()
    ].set_index("metric")

    def cell(metric: Metric, column: str) -> float | None:
        value = rows.at[metric.column, column]
        return None if pd.isna(value) else float(value)

    return [
        Median(metric, method, cell(metric, "median"), cell(metric, "median_low"), cell(metric, "median_high"))
        for metric in metrics_seen_by(method)
    ]


def _overlap(a: Median, b: Median) -> bool:
    if None in (a.low, a.high, b.low, b.high):
        return True
    return a.low <= b.high and b.low <= a.high


@dataclass(frozen=True)
class Order:
    """Whether medians are in the paper's order.

    ``holds``: they are; ``contradicted``: some are not, by more than their intervals; ``text``: a sentence with the
    numbers, in which ≈ stands between medians whose intervals overlap.
    """

    holds: bool
    contradicted: bool
    text: str


def paper_order(medians: Sequence[Median]) -> Order:
    """Compare each metric's median with that of the metric before it in the chain."""
    name = medians[0].method.capitalize()
    missing = [m.metric.plain for m in medians if m.value is None]
    if missing:
        return Order(False, False, f"{name}: no correlation is defined for {join(missing)}.")
    numbers, breaks, contradicted = format_number(medians[0].value), [], False
    for before, after in itertools.pairwise(medians):
        close = _overlap(before, after)
        sign = "≈" if close else ">" if before.value > after.value else "<"
        numbers += f" {sign} {format_number(after.value)}"
        if before.value > after.value or (before.value == after.value and _MAY_EQUAL[after.metric.column]):
            continue
        relation = "equals" if before.value == after.value else "lies above"
        excuse = ", but their intervals overlap" if close else ""
        breaks.append(f"{after.metric.plain} {relation} {before.metric.plain}{excuse}")
        contradicted |= not close
    verdict = f"not in the paper's order: {'; '.join(breaks)}" if breaks else "in the paper's order"
    return Order(not breaks, contradicted, f"{name} {numbers}: {verdict}.")


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
    luck = (
        f"Guessing alone would put about {0.0228 * count:.1f} of {count} checkpoints that far above chance on a "
        "benchmark, were they independent."
    )
    silent = [s for s in found if s.above == 0]
    if not silent:
        return f"On every benchmark some checkpoint is better than chance by more than two standard errors. {luck}"
    within = [s.benchmark.label for s in silent if s.below == 0]
    beneath = [f"{s.benchmark.label} ({s.below} of {s.checkpoints})" for s in silent if s.below]
    if len(silent) == len(found):
        text = "On no benchmark is any checkpoint better than chance by more than two standard errors."
    else:
        where = join([s.benchmark.label for s in silent])
        text = f"On {where} no checkpoint is better than chance by more than two standard errors."
    text += " There, low correlations of accuracy partly mean that the models have no signal yet, not that the metric "
    text += "hides it."
    if within:
        text += f" All checkpoints are within two standard errors of chance on {join(within)}."
    if beneath:
        text += (
            f" Some are further below it on {join(beneath)}, as happens where short choices, which summed "
            "log-likelihoods favour, are right less often than others."
        )
    return f"{text} {luck}"


def headlines(
    statistics: pd.DataFrame, benchmarks: Sequence[Benchmark], family: str, label: str, models: int
) -> list[str]:
    """The main findings for one family, a sentence or two each."""
    medians = {method: [chain_medians(statistics, family, b.name, method) for b in benchmarks] for method in METHODS}

    def values(method: str, position: int) -> np.ndarray:
        found = [m[position].value for m in medians[method]]
        return np.array([v for v in found if v is not None])

    ranges = []
    for position, metric in enumerate(metrics_seen_by("spearman")):
        found = values("spearman", position)
        if len(found):
            ranges.append(f"{format_range(found.min(), found.max())} for {metric.plain}")
    first = (
        f"In “{label}” ({models} checkpoints), the median Spearman correlation of an item's score with compute is, "
        f"over the {len(benchmarks)} benchmarks, {join(ranges)}."
    )
    chain = metrics_seen_by("pearson")
    means = [values("pearson", i).mean() if len(values("pearson", i)) else np.nan for i in range(len(chain))]
    falls = -np.diff(means)
    steps = [
        f"{a.plain} → {b.plain} {format_number(-fall)}"
        for (a, b), fall in zip(itertools.pairwise(chain), falls, strict=True)
    ]
    at = int(np.nanargmax(falls))
    second = (
        "Change of the median Pearson correlation at each step of the chain, averaged over the benchmarks: "
        f"{join(steps)}. The largest fall is at {chain[at].plain} → {chain[at + 1].plain}, from "
        f"{format_number(means[at])} to {format_number(means[at + 1])}."
    )
    orders = {method: [paper_order(m) for m in medians[method]] for method in METHODS}
    total = len(benchmarks)
    kept = {method: sum(order.holds for order in found) for method, found in orders.items()}
    against = {method: sum(order.contradicted for order in found) for method, found in orders.items()}
    third = (
        "The medians are in the paper's order, log p_vocab ≥ p_vocab > p_choices ≥ −Brier > accuracy, on "
        f"{kept['pearson']} of {total} benchmarks by Pearson and on {kept['spearman']} by Spearman, which does not see "
        f"p_vocab. Against it by more than the intervals of the medians are {against['pearson']} of {total} by Pearson "
        f"and {against['spearman']} by Spearman."
    )
    return [first, second, third]


def attribution_text(attribution: pd.DataFrame, benchmarks: Sequence[Benchmark], family: str) -> str:
    """Which step costs the most of the way from log p_vocab to accuracy, and on how many benchmarks beyond doubt."""
    rows = attribution[
        (attribution["family"] == family)
        & (attribution["method"] == "pearson")
        & (attribution["score"] == "accuracy")
        & (attribution["order"] == "exponentiate_first")
        & (attribution["nan_policy"] == "zero")
        & attribution["benchmark"].isin([b.name for b in benchmarks])
    ]
    drops = rows.pivot(index="benchmark", columns="step", values="drop").dropna()
    if drops.empty:
        return "Nothing can be said of what each step costs: no benchmark has correlations of every metric."
    mean = drops.mean()
    steps = {
        "exponentiate": "exponentiating",
        "renormalise": "renormalising over the choices",
        "threshold": "thresholding",
    }
    parts = [f"{format_number(mean[step])} goes to {name}" for step, name in steps.items()]
    largest = drops[list(steps)].idxmax(axis=1).value_counts()
    most = [f"{steps[step]} on {largest[step]}" for step in steps if step in largest]
    low = rows.pivot(index="benchmark", columns="step", values="drop_low")
    sure = int((low["renormalise"] > 0).sum())
    return (
        f"Of the mean Pearson correlation, {format_number(mean['total'])} is lost from log p_vocab to accuracy, "
        f"averaged over {len(drops)} benchmarks (undefined correlations counted as 0): {join(parts)}. The costliest "
        f"step is {join(most)}. Renormalising costs more than nothing, by its interval for other items, on {sure}."
    )


def chance_text(
    intervals: pd.DataFrame, null_bands: pd.DataFrame, benchmarks: Sequence[Benchmark], family: str, label: str
) -> str:
    """What chance gives the family's items, and on how many benchmarks their mean is more than that."""
    of_family = null_bands[(null_bands["family"] == family) & (null_bands["method"] == "spearman")]
    text = ""
    if len(of_family) and not pd.isna(of_family["q025"].iloc[0]):
        band = of_family.iloc[0]
        above = band["fraction_above_075"]
        text = (
            f"With the {band['num_models']} checkpoints of “{label}”, the Spearman correlation of a score that has "
            f"nothing to do with compute is between {format_number(band['q025'])} and {format_number(band['q975'])} in "
            f"95 % of cases, and above 0.75 in {format_share(above, 1) if above else 'practically none'}. "
        )
    rows = intervals[(intervals["family"] == family) & (intervals["method"] == "spearman")]
    rows = rows.set_index(["benchmark", "metric"])
    parts = []
    total = len(benchmarks)
    for metric in metrics_seen_by("spearman"):
        keys = [(b.name, metric.column) for b in benchmarks if (b.name, metric.column) in rows.index]
        found = rows.loc[keys].dropna(subset=["mean", "mean_shuffled_low", "mean_shuffled_high"])
        above = int((found["mean"] > found["mean_shuffled_high"]).sum())
        parts.append(f"{above} for {metric.plain}")
    text += (
        "Items share their checkpoints, so that means over many items stray almost as far: the mean Spearman "
        "correlation is above what 97.5 % of shuffles of compute give on "
        f"{join(parts)}, of {total} benchmarks."
    )
    return text


def predictability_text(predictability: pd.DataFrame, benchmarks: Sequence[Benchmark], family: str) -> str:
    """Which scores of right against wrong choices are recommended, and where none is."""
    rows = predictability[
        (predictability["family"] == family)
        & (predictability["method"] == "spearman")
        & (predictability["kind"] == "comparison")
        & predictability["recommended"]
    ]
    parts, none = [], []
    for benchmark in benchmarks:
        own = rows[rows["benchmark"] == benchmark.name].sort_values("rank")
        if own.empty:
            none.append(benchmark.label)
            continue
        names = join([METRIC_NAMES.get(name, name) for name in own["metric"]])
        parts.append(
            f"{names} on {benchmark.label} (best mean Spearman correlation {format_number(own['mean'].max())})"
        )
    if not parts:
        return (
            "No score that compares the right choice with the wrong ones can be recommended on any benchmark: none is "
            "above what shuffled compute gives and rises on right as well as on wrong items."
        )
    text = (
        "Of the scores that compare the right choice with the wrong ones, these are above what shuffled compute gives, "
        f"rise on right as well as on wrong items, and cannot be told from the best of them: {'; '.join(parts)}."
    )
    return f"{text} None can be recommended on {join(none)}." if none else text


def spearman_by_luck(models: int) -> float:
    """P(Spearman's coefficient > 0.75) for ``models`` ≤ 8 checkpoints whose scores have nothing to do with compute.

    Exact, over all orders of the scores.
    """
    ranks = np.arange(models)
    orders = np.array(list(itertools.permutations(ranks)))
    distances = ((orders - ranks) ** 2).sum(axis=1)
    return float((1 - 6 * distances / (models * (models**2 - 1)) > 0.75).mean())


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
    "are left out (undefined: drop) or counted as 0 (undefined: zero). Left out, accuracy is judged on fewer and "
    "different items than the other metrics.",
    "The Brier score is negated before correlating, so that larger is better for every metric.",
)


def notes(benchmarks: Sequence[Benchmark], models: Mapping[str, int]) -> list[str]:
    """What a reader must know to judge the numbers; ``models`` maps family labels to their number of checkpoints."""
    result = [f"{b.label}: {b.split_note}." for b in benchmarks if b.split_note]
    limited = [b for b in benchmarks if b.num_items < b.num_items_total]
    if limited:
        counts = "; ".join(f"{b.label} {b.num_items:,} of {b.num_items_total:,}" for b in limited)
        result.append(f"Not all items were used, but a random draw with a fixed seed: {counts}.")
    for label, count in models.items():
        if count <= 8:
            share = format_share(spearman_by_luck(count), 1)
            result.append(
                f"“{label}” has only {count} checkpoints. By luck alone {share} of items without any relation to "
                "compute would have a Spearman correlation above 0.75. Curves of families of different sizes are not "
                "comparable."
            )
    return [*result, *_GENERAL]
