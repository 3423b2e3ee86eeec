"""The headline statistic: how closely the items of a benchmark follow compute, against compute shuffled.

The mean over all items of the correlation between an item's score and log10 FLOPs, undefined correlations counted as 0;
Spearman's where nothing else is said. It is additive over items, of the same items for every metric of the chain, and
has one meaning by chance: 0, and the band that shuffled compute gives (:mod:`elusive.analysis.shuffles`). One row per
family × benchmark × metric × method:

- ``mean``, with intervals for other items (``mean_low/high``, :mod:`elusive.analysis.distributions`), other checkpoints
  (``mean_checkpoints_low/high``) and other models (``mean_models_low/high``, :mod:`elusive.analysis.resampling`);
- ``shuffled_low/high``: beyond which on either side lie at most 2.5 % of the orders of compute; ``p_value``: share of
  the orders whose mean is no less; ``above_shuffled`` and ``below_shuffled``: whether the mean lies outside of that
  band; ``p_adjusted``: the p-value corrected for choosing the best of a benchmark's scores and methods, null for the
  masses on wrong choices, which are no scores;
- ``median`` and ``nan_fraction`` over items;
- ``benchmark_correlation``: the correlation of the benchmark's mean score with log10 FLOPs, another quantity, since in
  a mean the items whose scores move most decide, and its ``benchmark_p_value`` by the same orders. Where the two means
  have opposite signs, most items go one way and the benchmark the other;
- ``note``: why there is no band, with four checkpoints or fewer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from elusive.analysis.correlations import METHODS, as_it_is, pearson, rank_correlations
from elusive.analysis.distributions import Sample, interval_notes
from elusive.analysis.metrics import METRICS, VARIANTS
from elusive.analysis.resampling import Resampled, mean_correlations, mean_interval, missing_partitions
from elusive.analysis.shuffles import LEVEL, adjusted_p_values

#: Scores of the text of the right choice alone, or of all choices; the others compare right with wrong choices.
MASSES = frozenset(
    {"log_p_vocab_correct", "p_vocab_correct", "log_p_vocab_choices", "is_greedy", "log_p_vocab_correct_pmi"}
)
#: Of the wrong choices alone: no scores of a model.
NO_SCORES = frozenset({"log_p_vocab_incorrect", "p_vocab_incorrect"})
ORDER = {name: number for number, name in enumerate((*METRICS, *VARIANTS))}


def is_score(metric: str, method: str) -> bool:
    """Whether a metric is one to choose from: ranks do not see p_vocab, which is one under Pearson alone."""
    return metric not in NO_SCORES and (metric != "p_vocab_correct" or method == "pearson")


def zero_policy(family: Resampled) -> dict[tuple[str, str], np.ndarray]:
    """Every item's correlation, undefined ones as 0: float64 [items] by (metric, method)."""
    return {key: np.nan_to_num(values, nan=0.0) for key, values in family.full.items()}


def adjusted(family: Resampled) -> dict[tuple[str, str], float]:
    """The corrected p-value of each score by (metric, method)."""
    chosen = {method: [i for i, name in enumerate(family.metrics) if is_score(name, method)] for method in METHODS}
    shuffled = {method: family.shuffled[method][:, places] for method, places in chosen.items()}
    observed = {method: family.means[method][places] for method, places in chosen.items()}
    found = adjusted_p_values(family.shuffles, shuffled, observed)
    return {
        (family.metrics[place], method): float(value)
        for method, places in chosen.items()
        for place, value in zip(places, found[method], strict=True)
    }


def benchmark_correlations(family: Resampled) -> dict[tuple[str, str], tuple[float, float]]:
    """Correlation of each mean score with compute, and its p-value, by (metric, method); NaN if undefined."""
    averages = np.stack([family.scores[metric].mean(axis=1) for metric in family.metrics], axis=1)
    shuffled, found = mean_correlations(family.shuffles, [(column[:, None], as_it_is) for column in averages.T])
    values = (pearson(family.x, averages), *rank_correlations(family.x, averages))
    result = {}
    for method, own in zip(METHODS, values, strict=True):
        shares = family.shuffles.p_values(shuffled[method], found[method])
        for metric, value, share in zip(family.metrics, own, shares, strict=True):
            enough = family.shuffles.conclusive and not np.isnan(value)
            result[metric, method] = (float(value), float(share) if enough else float("nan"))
    return result


def family_headline(family: Resampled, units: np.ndarray | None) -> list[dict[str, Any]]:
    """Rows of the table headline, without family and benchmark: by metric, then method; NaN where undefined.

    ``units`` [items] are equal for items drawn together, None for items drawn one by one.
    """
    values, keys = zero_policy(family), [(metric, method) for metric in family.metrics for method in METHODS]
    items = len(next(iter(values.values())))
    matrix = np.stack([values[key] for key in keys], axis=1)
    sample = Sample.of(matrix, units)
    mean, low, high = sample.mean_interval()
    notes, missing = interval_notes(sample, low), missing_partitions(family)
    medians = np.median(matrix, axis=0)
    shuffles = family.shuffles
    bands, above = family.bands, family.p_values
    below = {method: shuffles.p_values(-found, -family.means[method]) for method, found in family.shuffled.items()}
    corrected, benchmark = adjusted(family), benchmark_correlations(family)
    rows = []
    for i, (metric, method) in enumerate(keys):
        place = family.metrics.index(metric)
        row: dict[str, Any] = {"metric": metric, "method": method, "num_items": items, "num_models": len(family.x)}
        row |= {"num_runs": family.num_runs, "nan_fraction": float(np.isnan(family.full[metric, method]).mean())}
        row |= {"mean": float(mean[i]), "mean_low": max(low[i], -1.0), "mean_high": min(high[i], 1.0)}
        alike: list[str] = []
        for name in ("checkpoints", "models"):
            ends = (float("nan"), float("nan"))
            if partition := family.partitions.get(name):
                ends = mean_interval(float(mean[i]), partition.means[metric, method], partition.sizes)
                if np.isnan(ends[0]):
                    alike.append(f"the mean is the same without any one of the {name}: no interval over them")
            row |= {f"mean_{name}_low": ends[0], f"mean_{name}_high": ends[1]}
        row["median"] = float(medians[i])
        if shuffles.conclusive:
            share, other = float(above[method][place]), float(below[method][place])
            row |= {"shuffled_low": float(bands[method][0][place]), "shuffled_high": float(bands[method][1][place])}
            row |= {"p_value": share, "p_adjusted": corrected.get((metric, method), float("nan"))}
            row |= {"above_shuffled": share <= LEVEL, "below_shuffled": other <= LEVEL}
        else:
            row |= dict.fromkeys(("shuffled_low", "shuffled_high", "p_value", "p_adjusted"), float("nan"))
            row |= dict.fromkeys(("above_shuffled", "below_shuffled"))
        row |= {"num_orders": len(shuffles.orders), "exact": shuffles.exact, "least_p_value": shuffles.least}
        row["benchmark_correlation"], row["benchmark_p_value"] = benchmark[metric, method]
        row["interval_note"] = "; ".join(filter(None, [notes[i], *missing, *alike])) or None
        rows.append(row | {"note": shuffles.note()})
    return rows
