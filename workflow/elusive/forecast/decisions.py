"""Which score at a small scale orders models as accuracy does at the end.

A group is a set of models, compared at the numbers of tokens that all of them have a checkpoint of, the largest being
the end. For a metric at some of these tokens:

- ``decision_accuracy``: share of the pairs of models that the metric (losses negated) orders there as accuracy does at
  the end; ties of the metric count half, pairs tied at the end are left out;
- ``larger_wins``: share of the pairs of different size in which the larger model has the higher accuracy at the end,
  what one would have decided without any score;
- ``decidable``: whether the final accuracies differ by more than items explain: their standard deviation over models is
  at least twice their standard error over items;
- ``signal_to_noise``: standard deviation of a plane in n and d (a line in x) fitted to the mean metric over the group's
  checkpoints up to there, over the standard deviation of its residuals (T - 3, or T - 2), with the sign of the fitted
  score's correlation with compute: below 0 the score gets worse with compute.

``margin_scaled`` is the mean of all margins of right over wrong choices, each in units of its own scale ``s_j`` over
the checkpoints up to there; ``margin_log`` that of the margin over the best wrong choice, in nats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from elusive.analysis.metrics import FilePath
from elusive.configuration.forecasting import shared_tokens
from elusive.forecast.margins import series_scale
from elusive.forecast.points import axes_of, select_for_kriging
from elusive.forecast.scores import METRICS, Scores
from elusive.tables import read_table, write_csv, write_table

#: Metrics that decisions are made by, with the sign that makes larger better.
DECIDING = {name: 1 if better else -1 for name, better in METRICS.items()} | {"margin_log": 1, "margin_scaled": 1}


def deciding_means(scores: Scores) -> dict[str, np.ndarray]:
    """Mean of every metric of :data:`DECIDING`, larger being better, [checkpoints]; margins scaled over all of them."""
    means = {name: DECIDING[name] * values.mean(axis=1) for name, values in scores.metrics().items()}
    best = np.where(scores.exists, scores.margins, np.inf).min(axis=2)
    series = scores.margins[:, scores.exists]
    scaled = series / series_scale(np.log10(scores.flops), series)
    return means | {"margin_log": best.mean(axis=1), "margin_scaled": scaled.mean(axis=1)}


def signal_to_noise(scores: Scores, means: np.ndarray) -> float | None:
    """Signed signal to noise of ``means`` [checkpoints], None with too few checkpoints or without noise."""
    rows = select_for_kriging(scores.parameters, scores.tokens, scores.flops)
    axes = axes_of(scores.parameters[rows], scores.tokens[rows], scores.flops[rows])
    design, y = axes.design(), means[rows]
    free = len(y) - design.shape[1]
    if free < 1 or np.ptp(axes.x) == 0:
        return None
    beta, *_ = np.linalg.lstsq(design, y)
    fitted = design @ beta
    noise = np.sqrt(((y - fitted) ** 2).sum() / free)
    # What is left of a constant, or of an exact plane, is rounding.
    if not noise > 1e-12 * np.abs(y).max():
        return None
    sign = np.sign(((fitted - fitted.mean()) * (axes.x - axes.x.mean())).sum())
    return float(sign * fitted.std() / noise)


def decision_accuracy(values: np.ndarray, final: np.ndarray) -> tuple[float | None, int]:
    """Share of pairs that ``values`` [models] orders as ``final`` [models] does, and the number of pairs not tied."""
    first, second = np.triu_indices(len(final), 1)
    wanted = np.sign(final[first] - final[second])
    given = np.sign(values[first] - values[second])
    known = wanted != 0
    if not known.any():
        return None, 0
    return float(np.where(given == 0, 0.5, given == wanted)[known].mean()), int(known.sum())


def decide(scores: Scores, group: str, benchmark: str) -> list[dict[str, Any]]:
    """Rows of the table ``decisions`` of one group, whose checkpoints ``scores`` has; none without shared tokens."""
    models = list(dict.fromkeys(scores.models))
    rows_of = {model: [i for i, name in enumerate(scores.models) if name == model] for model in models}
    steps = shared_tokens({model: [scores.tokens[i] for i in rows] for model, rows in rows_of.items()})
    if len(models) < 2 or len(steps) < 2:
        return []

    def at(step: Mapping[str, float]) -> list[int]:
        return [next(i for i in rows_of[model] if scores.tokens[i] == step[model]) for model in models]

    end = at(steps[-1])
    accuracy = scores.metrics()["accuracy"][end].mean(axis=1)
    error = float(np.sqrt((accuracy * (1 - accuracy)).mean() / len(scores.items)))
    spread = float(accuracy.std(ddof=1))
    larger, sized = decision_accuracy(scores.parameters[end], accuracy)
    same = np.ptp(scores.parameters[end]) == 0
    result = []
    for step in steps:
        limit = max(step.values())
        known = scores.of_checkpoints(np.flatnonzero(scores.tokens <= limit))
        place = {key: i for i, key in enumerate(zip(known.models, known.checkpoints, strict=True))}
        own = [place[scores.models[i], scores.checkpoints[i]] for i in at(step)]
        for metric, means in deciding_means(known).items():
            share, pairs = decision_accuracy(means[own], accuracy)
            result.append(
                {
                    "group": group,
                    "benchmark": benchmark,
                    "tokens": int(limit),
                    "is_end": step is steps[-1],
                    "metric": metric,
                    "num_models": len(models),
                    "num_pairs": pairs,
                    "num_items": len(scores.items),
                    "decision_accuracy": share,
                    "larger_wins": None if same or not sized else larger,
                    "decidable": bool(pairs > 0 and spread >= 2 * error),
                    "spread": spread,
                    "standard_error": error,
                    "signal_to_noise": signal_to_noise(known, means),
                }
            )
    return result


def write_decisions(*, parts: Sequence[FilePath], output_parquet: FilePath, output_csv: FilePath) -> None:
    """Write the table ``decisions`` from the files of all benchmarks, as Parquet and CSV."""
    tables = [read_table(path, "decisions") for path in parts]
    write_table(pa.concat_tables(tables).combine_chunks(), output_parquet, "decisions")
    write_csv(read_table(output_parquet, "decisions"), output_csv)
