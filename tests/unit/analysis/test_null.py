"""Null distributions against theory and against shuffled compute, and the bands made from them."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from scipy import stats

from elusive.analysis.correlations import METHODS, pearson, rank_correlations
from elusive.analysis.null import GRID, bands, null_distributions, write_null_bands
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


@pytest.mark.parametrize("models", [5, 12, 30])
def test_curves_are_those_of_shuffled_ranks_and_of_students_t(models):
    nulls = null_distributions(np.arange(models, dtype=np.float64))
    c, survival, step = nulls["pearson"].curve()
    # r sqrt((n - 2) / (1 - r²)) follows Student's t with n - 2 degrees of freedom.
    inner = np.abs(c) < 1
    expected = stats.t.sf(c[inner] * np.sqrt((models - 2) / (1 - c[inner] ** 2)), models - 2)
    np.testing.assert_allclose(survival[inner], expected, atol=1e-12)
    assert not step and (survival[0], survival[-1]) == (1, 0)
    orders = np.random.default_rng(0).permuted(np.tile(np.arange(models), (40_000, 1)), axis=1).T
    for method, values in zip(METHODS[1:], rank_correlations(np.arange(models), orders), strict=True):
        c, survival, step = nulls[method].curve()
        assert step and len(c) <= GRID and survival[-1] == 0 and (np.diff(survival) <= 0).all()
        for at in (-0.505, -0.1, 0.0, 0.3003, 0.75, 0.9):
            place = np.searchsorted(c, at + 1e-9, side="right")
            here = 1.0 if place == 0 else survival[place - 1]
            # A grid has the curve at every 0.005.
            near = [(values > at + shift + 1e-9).mean() for shift in (0.0, -0.005)]
            assert near[0] - 0.015 < here < near[1] + 0.015, (method, at)
    if models == 30:
        c, survival, _ = nulls["spearman"].curve()
        assert survival[np.searchsorted(c, 0.75 - 1e-9)] < 1e-4, "a straight line through quantiles gives 1 %"


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
    outputs |= {"curves_parquet": tmp_path / "curves.parquet", "curves_csv": tmp_path / "curves.csv"}
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
    assert row["least_p_value"] == pytest.approx(1 / 5040) and row["note"] is None
    tied = frame.filter(family="tied", benchmark="quiz", method="kendall").row(0, named=True)
    assert tied["least_p_value"] == pytest.approx(1 / 12)
    assert tied["note"] == "4 checkpoints: too few, the best of all orders of compute comes by chance 1 time in 12"
    curves = pl.from_arrow(read_table(outputs["curves_parquet"], "null_curves"))
    assert pl.read_csv(outputs["curves_csv"], schema=curves.schema).equals(curves)
    assert curves.columns == SCHEMAS["null_curves"].names
    for (family, method), rows in curves.group_by("family", "method"):
        own = frame.filter(family=family, method=method, benchmark="quiz").row(0, named=True)
        assert rows["correlation"].is_sorted() and rows["survival"].is_sorted(descending=True)
        above = rows.filter(pl.col("correlation") <= 0.75 + 1e-9)["survival"].to_list()[-1]
        assert above == pytest.approx(own["fraction_above_075"], abs=1e-9), (family, method)
        assert rows["is_step"].unique().to_list() == [method != "pearson"]
    write_null_bands(families={"few": families["few"]}, items=paths, **outputs)
    assert len(read_table(outputs["output_parquet"], "null_bands")) == 0
    assert len(read_table(outputs["curves_parquet"], "null_curves")) == 0
    with pytest.raises(ElusiveError, match="at least three checkpoints, not 2"):
        null_distributions(np.arange(2.0))
