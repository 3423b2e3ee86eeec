"""How much the paper's own computation of the scores and statistics changes what the tables say.

Where the authors' code differs from this library:

- ``p_choices_correct``: their softmax is ``e_c / (1e-8 + sum_i e_i)`` with ``e_i = exp(l_i - max l)``;
- ``brier``: the same with 1e-9, then the mean over choices of the squared error (as here);
- ``p_vocab_correct``: ``exp(l_c)`` in float64, which is 0 below -745 nats, so that such checkpoints tie;
- ``auc``: the trapezoid rule over the empirical survival function, with (-1, 1) and (1, 0) added.

Both softmaxes follow from the metrics table: the margin says whether the correct choice is the largest, and the mass on
the wrong choices gives the sum. Correlations of their scores are taken as they are, without the logarithms that
:mod:`elusive.analysis.correlations` uses against rounding. Scores that their variant does not touch have only ``auc``
changed.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from elusive import logs
from elusive.analysis.correlations import METHODS, metric_correlations, pearson, rank_correlations, trained_scores
from elusive.analysis.distributions import trapezoid
from elusive.analysis.metrics import FilePath
from elusive.errors import ElusiveError
from elusive.tables import read_table, write_csv, write_table

logger = logs.get(__name__)

#: The metrics that the paper correlates, in the order of the chain.
METRICS = ("log_p_vocab_correct", "p_vocab_correct", "p_choices_correct", "brier", "accuracy", "accuracy_norm")
EPSILON_CHOICES, EPSILON_BRIER = 1e-8, 1e-9
STATISTICS = ("mean", "median", "auc", "nan_fraction")

_COLUMNS = ("log_p_vocab_correct", "log_p_vocab_incorrect", "log_p_choices_correct", "p_vocab_correct")
_COLUMNS += ("p_choices_correct", "brier", "log_brier", "accuracy", "accuracy_norm", "margin_log")


def authors_scores(metrics: dict[str, np.ndarray], num_choices: np.ndarray) -> dict[str, np.ndarray]:
    """The scores that the authors' code computes otherwise, float64 in the shape of those in ``metrics``.

    ``metrics`` holds columns of a metrics table, of any shape that ends in [items]; ``num_choices`` is [items].
    """
    correct, wrong = metrics["log_p_vocab_correct"], metrics["log_p_vocab_incorrect"]
    largest = correct - np.minimum(metrics["margin_log"], 0.0)
    correct, wrong = np.exp(correct - largest), np.exp(wrong - largest)
    total = correct + wrong
    p = correct / (EPSILON_BRIER + total)
    # Exact: brier × K = (1 - p_c)^2 + sum of the squares of the others, and 1 - p_c is their sum.
    others = np.maximum(metrics["brier"] * num_choices - (wrong / total) ** 2, 0.0)
    brier = ((1 - p) ** 2 + others * (total / (EPSILON_BRIER + total)) ** 2) / num_choices
    return {
        "p_vocab_correct": metrics["p_vocab_correct"],
        "p_choices_correct": correct / (EPSILON_CHOICES + total),
        "brier": brier,
    }


def compare(flops: np.ndarray, metrics: dict[str, np.ndarray], num_choices: np.ndarray) -> list[dict[str, object]]:
    """Rows of the table authors_variants, without family and benchmark: by metric, method and statistic.

    ``flops`` (positive) is [models], ``metrics`` maps columns of a metrics table to scores [models, items].
    """
    x = np.log10(flops)
    ours = metric_correlations(flops, {name: metrics[name] for name in _COLUMNS if name in metrics})
    theirs = dict(ours)
    for metric, scores in authors_scores(metrics, num_choices).items():
        scores = -scores if metric == "brier" else scores
        for method, values in zip(METHODS, (pearson(x, scores), *rank_correlations(x, scores)), strict=True):
            theirs[metric, method] = values
    rows = []
    for metric in (name for name in METRICS if name in metrics):
        for method in METHODS:
            here, there = ours[metric, method], theirs[metric, method]
            both = np.abs(here - there)
            largest = None if np.isnan(both).all() else float(np.nanmax(both))
            found = [_statistics(here, 1 + _mean(here)), _statistics(there, _trapezoid(there))]
            for statistic in STATISTICS:
                a, b = (values[statistic] for values in found)
                rows.append(
                    {
                        "metric": metric,
                        "method": method,
                        "statistic": statistic,
                        "num_items": len(here),
                        "num_models": len(x),
                        "ours": a,
                        "authors": b,
                        "difference": None if a is None or b is None else b - a,
                        "largest_difference": largest,
                    }
                )
    return rows


def _mean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def _trapezoid(values: np.ndarray) -> float:
    return float(trapezoid(np.sort(values)[:, None], np.array([(~np.isnan(values)).sum()]))[0])


def _statistics(values: np.ndarray, auc: float) -> dict[str, float | None]:
    """The statistics of one metric and method, None where there is none; ``auc`` is given."""
    defined = values[~np.isnan(values)]
    found = {"mean": _mean(values), "median": float(np.median(defined)) if len(defined) else float("nan"), "auc": auc}
    found["nan_fraction"] = 1 - len(defined) / len(values)
    return {name: None if np.isnan(value) else value for name, value in found.items()}


def write_authors_variants(*, metrics: Sequence[FilePath], output_parquet: FilePath, output_csv: FilePath) -> None:
    """Write the table authors_variants of all ``metrics`` tables, as Parquet and as CSV.

    Rows are sorted by family and benchmark, then as :func:`compare` says, whatever the order of the files.
    """
    found: dict[tuple[str, str], list[dict[str, object]]] = {}
    for key, checkpoints, items, scores in trained_scores(metrics, _COLUMNS, ["num_choices"]):
        num_choices = items["num_choices"].to_numpy().astype(np.float64)
        found[key] = compare(checkpoints["flops"].to_numpy(), scores, num_choices)
        logger.info("the authors' variants of %s on %s", *key)
    if not found:
        raise ElusiveError(f"{output_parquet}: there are no metrics to compare")
    rows = [{"family": key[0], "benchmark": key[1]} | row for key in sorted(found) for row in found[key]]
    write_table(pa.Table.from_pylist(rows), output_parquet, "authors_variants")
    write_csv(read_table(output_parquet, "authors_variants"), output_csv)
