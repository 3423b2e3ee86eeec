"""Null distributions against theory and against shuffled compute, and the bands made from them."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from scipy import stats

from elusive.analysis.correlations import METHODS, pearson, rank_correlations
from elusive.analysis.null import bands, null_distributions, write_null_bands
from elusive.errors import ElusiveError
from elusive.tables import SCHEMAS, read_table, write_table
from score_tables import write_items


@pytest.mark.parametrize("models, percent", [(6, 5.14), (7, 2.40), (8, 1.84)])
def test_share_of_high_spearman_is_that_of_all_orders(models, percent):
    # rho > 3/4 means sum d^2 < (n^3 - n) / 24, in whole numbers.
    high = sum(
        24 * sum((i - p) ** 2 for i, p in enumerate(order)) < models**3 - models
        for order in itertools.permutations(range(models))
    )
    expected = Fraction(high, len(list(itertools.permutations(range(models)))))
    null = null_distributions(np.arange(models, dtype=np.float64))["spearman"]
    assert null.source == "exact"
    assert null.above(0.75) == pytest.approx(float(expected), rel=1e-12)
    assert round(100 * null.above(0.75), 2) == percent


@pytest.mark.parametrize("models", [4, 7])
def test_counted_distributions_are_those_of_all_orders(models):
    x = np.sqrt(np.arange(models))
    orders = np.array(list(itertools.permutations(range(models)))).T
    nulls = null_distributions(x)
    for method, values in zip(METHODS[1:], rank_correlations(x, orders), strict=True):
        found, counts = np.unique(np.round(values, 12), return_counts=True)
        kept = nulls[method].probabilities > 0
        np.testing.assert_allclose(nulls[method].values[kept], found, rtol=0, atol=1e-12)
        np.testing.assert_allclose(nulls[method].probabilities[kept], counts / counts.sum(), rtol=1e-12)


@pytest.mark.parametrize("models", [5, 12, 40])
def test_moments_are_the_known_ones(models):
    nulls = null_distributions(np.arange(models, dtype=np.float64))
    known = {"pearson": 1 / (models - 1), "spearman": 1 / (models - 1)}
    known["kendall"] = 2 * (2 * models + 5) / (9 * models * (models - 1))
    for method, null in nulls.items():
        # The deviation of 100,000 draws is within 1 % (4.5 standard errors).
        drawn = null.source == "monte_carlo"
        assert drawn == (method == "spearman" and models == 40)
        assert null.deviation == pytest.approx(np.sqrt(known[method]), rel=0.01 if drawn else 1e-12), method
        assert null.quantile(0.975) == pytest.approx(-null.quantile(0.025), abs=0.02 if drawn else 1e-12)
        assert null.above(0.3) == pytest.approx(null.below(-0.3), abs=0.003 if drawn else 1e-12)
    if models == 12:
        assert nulls["spearman"].above(0.75) == pytest.approx(0.0031188664, abs=1e-9)
        shuffled = np.random.default_rng(0).normal(size=(models, 100_000))
        found = (rank_correlations(np.arange(12.0), shuffled)[0] > 0.75).mean()
        assert found == pytest.approx(0.0031188664, abs=4 * np.sqrt(0.0031 / 100_000))


def test_normal_scores_give_pearsons_distribution_for_any_compute():
    x = np.log10([1.0, 2, 4, 1000, 1e6, 1e6, 3e9])
    drawn = pearson(x, np.random.default_rng(1).normal(size=(7, 200_000)))
    null = null_distributions(x)["pearson"]
    for level in (0.025, 0.25, 0.5, 0.9):
        assert (drawn <= null.quantile(level)).mean() == pytest.approx(level, abs=4 * np.sqrt(level / 200_000))
    assert (drawn > 0.75).mean() == pytest.approx(null.above(0.75), abs=4 * np.sqrt(null.above(0.75) / 200_000))
    assert null.below(0.0) == pytest.approx(0.5)


def test_ties_in_compute_count():
    x = np.array([1.0, 1, 2, 3, 3, 4])
    nulls = null_distributions(x)
    orders = np.array(list(itertools.permutations(range(6)))).T
    for method, function in (("spearman", stats.spearmanr), ("kendall", stats.kendalltau)):
        expected = np.sort([function(x, order).statistic for order in orders.T[:: 720 // 90]])
        assert np.isin(np.round(expected, 9), np.round(nulls[method].values, 9)).all()
        assert nulls[method].probabilities.sum() == pytest.approx(1, abs=1e-12)
    assert nulls["spearman"].above(0.99) == 0, "with ties in compute alone rho stays below 1"


@pytest.mark.parametrize("items", [25, 400])
@pytest.mark.parametrize("method", METHODS)
def test_bands_of_independent_and_dependent_items_hold_what_shuffling_gives(items, method):
    """Coverage of the 95 % bands over 2,000 shuffled data sets of 7 checkpoints."""
    models, sets = 7, 2000
    generator = np.random.default_rng(items)
    x = np.linspace(18, 22, models)
    null = null_distributions(x)[method]
    band = bands(null, items)

    def correlate(scores: np.ndarray) -> np.ndarray:
        return pearson(x, scores) if method == "pearson" else rank_correlations(x, scores)[METHODS.index(method) - 1]

    alone = correlate(generator.normal(size=(models, sets * items))).reshape(sets, items)
    found = {"mean": alone.mean(axis=1), "median": np.median(alone, axis=1), "fraction_above_075": None}
    found["fraction_above_075"] = (alone > 0.75).mean(axis=1)
    for name, values in found.items():
        inside = (band[f"{name}_independent_low"] - 1e-12 <= values) & (
            values <= band[f"{name}_independent_high"] + 1e-12
        )
        # Medians and fractions take few values, so that more than 95 % lie within.
        assert 0.935 < inside.mean() < (0.965 if name == "mean" else 1.001), (name, inside.mean())
    together = correlate(generator.normal(size=(models, sets)))
    inside = (band["mean_dependent_low"] <= together) & (together <= band["mean_dependent_high"])
    assert 0.935 < inside.mean() < 0.98
    assert band["mean_independent_high"] < band["mean_dependent_high"] / 4


def test_table_of_null_bands(tmp_path):
    paths = []
    for benchmark, count in (("quiz", 40), ("other", 9)):
        paths.append(write_items(tmp_path / f"{benchmark}.parquet", [0] * count, [2] * count))
        if benchmark == "other":
            write_table(read_table(paths[-1], "items"), paths[-1], "items", {"benchmark": benchmark})
    families = {
        "seven": [{"tokens": t, "flops": 1e18 * t} for t in range(8)],
        "tied": [{"tokens": t, "flops": 1e18 * t} for t in (1, 1, 2, 3)],
        "few": [{"tokens": t, "flops": 1e18 * t} for t in (0, 1, 2)],
        "constant": [{"tokens": 1, "flops": 1e18}] * 4,
    }
    outputs = {"output_parquet": tmp_path / "null.parquet", "output_csv": tmp_path / "null.csv"}
    write_null_bands(families=families, items=paths, **outputs)
    table = read_table(outputs["output_parquet"], "null_bands")
    assert table.column_names == SCHEMAS["null_bands"].names
    frame = pl.from_arrow(table)
    assert pl.read_csv(outputs["output_csv"], schema=frame.schema).equals(frame)
    keys = list(itertools.product(("seven", "tied"), ("other", "quiz"), METHODS))
    assert list(frame.select("family", "benchmark", "method").iter_rows()) == keys
    row = frame.filter(family="seven", benchmark="other", method="spearman").row(0, named=True)
    assert (row["num_models"], row["num_items"], row["source"]) == (7, 9, "exact")
    assert row["fraction_above_075"] == pytest.approx(0.0240, abs=5e-5)
    write_null_bands(families={"few": families["few"]}, items=paths, **outputs)
    assert len(read_table(outputs["output_parquet"], "null_bands")) == 0
    with pytest.raises(ElusiveError, match="at least three checkpoints, not 2"):
        null_distributions(np.arange(2.0))
