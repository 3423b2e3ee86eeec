"""Small tables with chosen contents, as the report's sentences read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from elusive.figures.data import Benchmark
from elusive.figures.states import FALLS, FOLLOWS, UNKNOWN
from elusive.report.headline import SCORES, Strip, make_strip

FAMILY = "f"
MEMBERS = [["m", f"c{i}"] for i in range(6)]


def benchmarks(*labels: str) -> list[Benchmark]:
    """Benchmarks of ten items; names are the labels in lower case."""
    return [Benchmark(label.lower(), label, "test", None, 10, 10, 0.25) for label in labels]


def headline(levels: Mapping[str, Sequence[tuple[float | None, str]]], method: str = "spearman") -> pd.DataFrame:
    """The table headline: of each benchmark (by label) the mean and the state of the strip's four scores."""
    rows = []
    for label, scores in levels.items():
        for metric, (mean, state) in zip(SCORES, scores, strict=True):
            known = state != UNKNOWN
            rows.append(
                {
                    "family": FAMILY,
                    "benchmark": label.lower(),
                    "metric": metric,
                    "method": method,
                    "num_models": 6,
                    "mean": mean,
                    "mean_low": None if mean is None else mean - 0.02,
                    "mean_high": None if mean is None else mean + 0.02,
                    "median": mean,
                    "nan_fraction": 0.0,
                    "shuffled_low": -0.1 if known else None,
                    "shuffled_high": 0.1 if known else None,
                    "above_shuffled": state == FOLLOWS if known else None,
                    "below_shuffled": state == FALLS if known else None,
                    "least_p_value": 1 / 720 if known else 1 / 24,
                    "benchmark_correlation": mean,
                    "benchmark_p_value": 0.5,
                }
            )
    return pd.DataFrame(rows)


def checkpoints(losses: Sequence[float | None] = (None,) * 6) -> pd.DataFrame:
    """Six checkpoints of one model."""
    return pd.DataFrame(
        {
            "model": "m",
            "checkpoint": [f"c{i}" for i in range(6)],
            "parameters": 100,
            "tokens": [10 * 2**i for i in range(6)],
            "flops": [6000.0 * 2**i for i in range(6)],
            "validation_loss": losses,
        }
    )


def ceiling(flops: float | None = None, tokens: float | None = None, parameters: float | None = None) -> pd.DataFrame:
    """The table ceiling with these Spearman correlations of minus the loss."""
    axis = "both" if tokens is not None and parameters is not None else "tokens"
    values = {"flops": flops, "tokens": tokens, "parameters": parameters}
    return pd.DataFrame(
        [
            {"family": FAMILY, "method": "spearman", "variable": variable, "axis": axis, "correlation": value}
            for variable, value in values.items()
        ]
    )


def strip(levels: Mapping[str, Sequence[tuple[float | None, str]]], reference: float | None = None) -> Strip:
    """The strip of these levels."""
    frames = {"headline": headline(levels), "checkpoints": checkpoints(), "ceiling": ceiling(reference)}
    return make_strip(frames, benchmarks(*levels), FAMILY, "Family", MEMBERS)


def attribution(
    steps: Mapping[str, Mapping[str, float]],
    undefined: float = 0.0,
    width: float = 0.01,
    exponentiate: tuple[float, float] = (0.0, 0.0),
) -> pd.DataFrame:
    """The table attribution: label -> step -> drop, down to accuracy, by Spearman and by Pearson.

    ``undefined``: part of each drop at the threshold; ``width``: half of each interval; ``exponentiate``: range over
    both orders of that step's drop by Pearson, whose sum with renormalising stays.
    """
    rows = []
    for label, drops in steps.items():
        for method in ("spearman", "pearson"):
            every = {"exponentiate": 0.0, **drops}
            every["total"] = sum(every.values())
            for step, drop in every.items():
                least = most = drop
                if method == "pearson" and step == "exponentiate":
                    least, most = exponentiate
                if method == "pearson" and step == "renormalise":
                    least, most = drop - exponentiate[1], drop - exponentiate[0]
                rows.append(
                    {
                        "family": FAMILY,
                        "benchmark": label.lower(),
                        "method": method,
                        "score": "accuracy",
                        "order": "exponentiate_first",
                        "nan_policy": "zero",
                        "step": step,
                        "drop": drop,
                        "drop_low": drop - width,
                        "drop_high": drop + width,
                        "drop_least": least,
                        "drop_most": most,
                        "drop_undefined": undefined if step in ("threshold", "total") else 0.0,
                    }
                )
    return pd.DataFrame(rows)


def mechanism(values: Mapping[str, Mapping[str, float]], width: float = 0.01) -> pd.DataFrame:
    """The table mechanism: label -> quantity -> value, with intervals ``width`` to both sides."""
    return pd.DataFrame(
        [
            {
                "family": FAMILY,
                "benchmark": label.lower(),
                "quantity": quantity,
                "value": value,
                "value_low": value - width,
                "value_high": value + width,
            }
            for label, quantities in values.items()
            for quantity, value in quantities.items()
        ]
    )


def scores(above: Mapping[str, Sequence[float]]) -> pd.DataFrame:
    """The table scores: label -> standard errors above guessing of every checkpoint."""
    trained = checkpoints()
    return pd.concat(
        [
            trained.assign(benchmark=label.lower(), above_chance_se=list(values), accuracy=0.25)
            for label, values in above.items()
        ],
        ignore_index=True,
    )


def statistics(undefined: Mapping[str, float]) -> pd.DataFrame:
    """The table correlation_statistics: label -> share of items whose accuracy has no correlation."""
    row: dict[str, Any] = {"family": FAMILY, "method": "spearman", "metric": "accuracy", "nan_policy": "zero"}
    return pd.DataFrame(
        [
            row | {"benchmark": label.lower(), "subject": None, "nan_fraction": share}
            for label, share in undefined.items()
        ]
    )


def predictability(found: Mapping[str, Sequence[tuple[str, str | None]]]) -> pd.DataFrame:
    """The table predictability: label -> (metric, reason against it, None if recommended), best first."""
    return pd.DataFrame(
        [
            {
                "family": FAMILY,
                "benchmark": label.lower(),
                "method": "spearman",
                "kind": "comparison",
                "rank": rank + 1,
                "metric": metric,
                "recommended": reason is None,
                "reason": reason,
                "mean": 0.3,
            }
            for label, metrics in found.items()
            for rank, (metric, reason) in enumerate(metrics)
        ]
    )
