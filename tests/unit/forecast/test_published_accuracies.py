"""Laws of mean scores on Pythia's published accuracies, which rise: what fitting the right checkpoints is worth.

``workflow/registry/reference/README.md`` names the source of the accuracies. Eight sizes and 26 steps of five
benchmarks; origins are nine quantiles of compute from 0.3 to 0.9.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from elusive.forecast.backtests import bin_of
from elusive.forecast.laws import Means, fit_law
from elusive.forecast.names import BINS
from elusive.forecast.points import axes_of

REGISTRY = Path(__file__).parents[3] / "workflow/registry"
TOKENS_PER_STEP = 2_097_152
CHANCE = {"arc_challenge": 0.25, "arc_easy": 0.25, "piqa": 0.5, "sciq": 0.25, "winogrande": 0.5}


@pytest.fixture(scope="module")
def published() -> pd.DataFrame:
    models = yaml.safe_load((REGISTRY / "models.yaml").read_text(encoding="utf-8"))["models"]
    sizes = {model["name"]: model["parameters"] for model in models if "name" in model and "parameters" in model}
    found = pd.read_csv(REGISTRY / "reference/pythia.csv").query("metric == 'accuracy'")
    found["tokens"] = found["checkpoint"].str.removeprefix("step").astype(float) * TOKENS_PER_STEP
    found["parameters"] = found["model"].map(sizes).astype(float)
    return found[found["tokens"] > 0].assign(flops=lambda rows: 6 * rows["parameters"] * rows["tokens"])


def errors(published: pd.DataFrame, least_tokens: float, decades: float, methods: tuple[str, ...]) -> pd.DataFrame:
    """Mean absolute errors in points: a row a method, a column a bin of horizons, means over benchmarks.

    Of checkpoints with ``least_tokens`` those within ``decades`` of compute of the largest are learnt from.
    """
    rows = []
    for benchmark, own in published[published["tokens"] >= least_tokens].groupby("benchmark"):
        own = own.sort_values(["flops", "parameters"])
        about = [own[name].to_numpy() for name in ("parameters", "tokens", "flops")]
        x, y = np.log10(about[2]), own["value"].to_numpy()
        for origin in np.quantile(x, np.linspace(0.3, 0.9, 9)):
            known = np.flatnonzero(x <= origin)
            points = known[x[known] >= x[known].max() - decades]
            axes = axes_of(*(values[points] for values in about))
            means = Means(axes, y[points], y[points], y[points], float(y[known[-1]]), CHANCE[benchmark])
            later = np.flatnonzero(x > x[known].max() + 0.08)
            at = axes.at(*(values[later] for values in about))
            for method in methods:
                missed = 100 * np.abs(fit_law(method, "accuracy", means)(at) - y[later])
                horizons = x[later] - x[known].max()
                rows += [(benchmark, method, bin_of(h), e) for h, e in zip(horizons, missed, strict=True)]
    frame = pd.DataFrame(rows, columns=["benchmark", "method", "bin", "error"]).dropna()
    cells = frame.groupby(["benchmark", "method", "bin"])["error"].mean().reset_index()
    return cells.pivot_table(index="method", columns="bin", values="error")[list(BINS)]


def test_the_first_steps_of_training_ruin_a_law(published):
    found = errors(published, 0, 99, ("last", "power_error"))
    assert (found.loc["power_error", ["x1.5", "x3", "x10"]] > found.loc["last", ["x1.5", "x3", "x10"]]).all()
    # A prototype of the same protocol had 6.0, 7.9, 10.4 and 14.3 points.
    assert np.allclose(found.loc["power_error"], [6.0, 7.9, 10.4, 14.3], atol=0.3)


def test_where_accuracy_moves_laws_beat_the_last_value(published):
    decade = errors(published, 2e9, 1.0, ("last", "logit", "power_error"))
    for law in ("logit", "power_error"):
        assert (decade.loc[law] < 0.75 * decade.loc["last"]).all()
    late = errors(published, 2e10, 1.5, ("last", "power_error", "logit2"))
    assert (late.loc[["power_error", "logit2"]] < 0.6 * late.loc["last"]).all(axis=None)
    assert late.loc["logit2", "x30"] < 0.75 * late.loc["power_error", "x30"], "two axes reach further than one"
