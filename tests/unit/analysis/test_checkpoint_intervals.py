"""Correlations without some checkpoints, the jackknife's coverage, shuffled compute and memory between checkpoints."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from elusive.analysis.checkpoint_intervals import centres, family_intervals, intervals, lag1_autocorrelation
from elusive.analysis.correlations import METHODS, metric_correlations
from elusive.analysis.leaving import correlations_without
from elusive.analysis.metrics import METRICS
from elusive.analysis.over_checkpoints import TABLES, write_over_checkpoints
from elusive.analysis.resampling import jackknife, mean_interval, resample
from elusive.errors import ElusiveError
from elusive.tables import SCHEMAS, read_table
from score_tables import random_run, scores_of, write_family


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=st.floats(-1, 1)), st.data())
def test_centres_are_those_of_what_is_defined(values, data):
    values = np.where(data.draw(hnp.arrays(bool, values.shape)), np.nan, values)
    found = centres(values)
    for row, mean, median in zip(values, found["mean"], found["median"], strict=True):
        defined = row[~np.isnan(row)]
        expected = (defined.mean(), np.median(defined)) if len(defined) else (np.nan, np.nan)
        assert (mean, median) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_jackknife_of_a_mean_is_students_interval():
    values = np.random.default_rng(1).uniform(-0.3, 0.3, 9)
    without = np.array([np.delete(values, i).mean() for i in range(9)])
    half = 2.306004135 * values.std(ddof=1) / 3
    assert jackknife(values.mean(), without, np.ones(9)) == pytest.approx(half, abs=1e-8)
    # Groups of different sizes: without spread between them there is none.
    assert jackknife(0.5, np.full(3, 0.5), np.array([4, 3, 2])) == pytest.approx(0, abs=1e-12)
    assert np.isnan(mean_interval(0.5, np.full(3, 0.5), np.array([4, 3, 2]))).all(), "and no interval"
    left = np.array([0.7, 0.95, 1.0])[:, None]
    assert intervals(np.array([0.9]), left, np.ones(3))["mean"][1] == 1.0
    assert np.isnan(intervals(np.array([0.9]), np.full((3, 1), np.nan), np.ones(3))["median"]).all()


def runs(generator: np.random.Generator, count: int, models: int, memory: float, items: int = 60) -> np.ndarray:
    """Scores [runs, models, items]: each item's own slope, noise that a run's items share, and noise of their own."""
    x = np.linspace(-1, 1, models)
    shared = generator.normal(size=(count, models))
    for t in range(1, models):
        shared[:, t] = memory * shared[:, t - 1] + np.sqrt(1 - memory**2) * shared[:, t]
    slopes = np.random.default_rng(5).normal(1.0, 0.5, items)
    own = generator.normal(0, 0.7, (count, models, items))
    return slopes * x[:, None] + shared[:, :, None] + own


def coverage(models: int, memory: float, method: str, count: int = 1000) -> dict[str, float]:
    """Share of simulated runs whose interval holds the expected statistic of such runs."""
    flops, generator = np.logspace(18, 22, models), np.random.default_rng(models)
    many = runs(generator, 4000, models, memory)
    flat = np.moveaxis(many, 1, 0).reshape(models, -1)
    truth = centres(metric_correlations(flops, {"margin_log": flat})["margin_log", method].reshape(4000, -1))
    data = many[:count]
    flat = np.moveaxis(data, 1, 0).reshape(models, -1)
    full = metric_correlations(flops, {"margin_log": flat})["margin_log", method].reshape(count, -1)
    left = correlations_without(flops, {"margin_log": flat}, np.arange(models))["margin_log", method]
    left = left.reshape(models, count, -1)
    found = [intervals(full[r], left[:, r], np.ones(models)) for r in range(count)]
    result = {}
    for name in ("mean", "median"):
        expected = truth[name].mean()
        ends = np.array([row[name] for row in found])
        if np.isnan(ends).all():
            continue
        result[name] = float(((ends[:, 0] <= expected) & (expected <= ends[:, 1])).mean())
    return result


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("models", [6, 8, 13])
def test_intervals_over_independent_checkpoints_cover(models, method):
    """Coverage in 1,000 runs (binomial standard error 0.7 points): mean 91 to 95 %, median 97 to 99 %."""
    found = coverage(models, 0.0, method)
    assert set(found) == ({"mean"} if models == 6 else {"mean", "median"})
    for name, share in found.items():
        print(f"{models} checkpoints, {method} {name}: {share:.3f}")
        least, most = (0.89, 0.97) if name == "mean" else (0.95, 0.998)
        assert least < share < most, name


def test_intervals_over_checkpoints_that_remember_cover_less():
    independent, dependent = coverage(13, 0.0, "spearman"), coverage(13, 0.8, "spearman")
    print(f"13 checkpoints: independent {independent}, autocorrelation 0.8 {dependent}")
    assert dependent["mean"] < independent["mean"] - 0.1


@pytest.mark.parametrize("memory", [0.0, 0.6])
def test_autocorrelation_of_residuals_is_recovered(memory):
    models = 40
    x_ranks = 2 * np.arange(models) - models + 1.0
    neighbours = np.array(list(itertools.pairwise(range(models))))
    found = []
    for scores in runs(np.random.default_rng(2), 60, models, memory):
        ranks = (2 * scores.argsort(axis=0).argsort(axis=0) - models + 1).astype(np.float64)
        found.append(lag1_autocorrelation(x_ranks, ranks, neighbours))
    # The items' own noise, of variance 0.49 beside 1, has no memory. A line fitted to 40 checkpoints takes some of the
    # memory away: estimates are low by about (1 + 3 r) / 40 and more, never high.
    assert memory / 1.49 - 0.12 < np.mean(found) < memory / 1.49 + 0.03
    assert np.isnan(lag1_autocorrelation(x_ranks, ranks, np.empty((0, 2), int)))
    assert np.isnan(lag1_autocorrelation(x_ranks, np.zeros((models, 3)), neighbours))


def test_rows_of_families_of_one_and_of_several_models():
    generator = np.random.default_rng(4)
    scores = scores_of(generator.normal(-40, 4, (6, 30, 3)))
    flops, tokens = np.logspace(18, 22, 6), np.arange(1, 7)

    def rows(models: list[str], few: int = 6) -> dict[tuple[object, object], dict[str, object]]:
        family = resample(flops[:few], models, {name: values[:few] for name, values in scores.items()})
        return {(r["metric"], r["method"]): r for r in family_intervals(family, tokens[:few])}

    one, several, each = rows(["a"] * 6), rows(list("aabbcc")), rows(list("abcdef"))
    assert list(one) == list(itertools.product(METRICS, METHODS))
    key = ("margin_log", "spearman")
    found = metric_correlations(flops, scores)[key]
    assert one[key]["mean"] == pytest.approx(np.nanmean(found), abs=1e-12)
    assert (one[key]["num_runs"], several[key]["num_runs"], each[key]["num_runs"]) == (1, 3, 6)
    for bound in ("low", "high"):
        assert np.isnan(one[key][f"mean_models_{bound}"]) and not np.isnan(several[key][f"mean_models_{bound}"])
        assert one[key][f"mean_checkpoints_{bound}"] == several[key][f"mean_checkpoints_{bound}"]
        assert each[key][f"mean_models_{bound}"] == each[key][f"mean_checkpoints_{bound}"]
    assert np.isnan(each[key]["lag1_autocorrelation"]), "no two checkpoints of one model"
    assert one[key]["note"] == "an interval of the median needs 8 checkpoints, here 6"
    assert one[key]["num_orders"] == 720 and 0 < one[key]["p_shuffled"] <= 1
    for few in (0, 1, 2):
        (row, *_) = rows(["a"] * few, few).values()
        assert np.isnan(row["mean"]) == (few < 2) and np.isnan(row["median_models_high"])
        assert np.isnan(row["mean_shuffled_high"]) and f"{few} checkpoints: too few" in row["note"]
    short = rows(["a"] * 4, 4)[key]
    assert np.isnan(short["mean_checkpoints_low"]) and not np.isnan(short["mean"])
    assert np.isnan([short[name] for name in ("mean_shuffled_low", "mean_shuffled_high", "p_shuffled")]).all()
    assert short["note"] == (
        "4 checkpoints: too few, the best of all orders of compute comes by chance 1 time in 24; "
        "intervals over checkpoints need 5 checkpoints, here 4"
    )


def test_shuffled_means_leave_out_what_is_undefined():
    generator = np.random.default_rng(3)
    flops = np.logspace(18, 22, 7)
    values = generator.normal(-9, 1, (7, 40, 3)) + generator.normal(0, 2, (7, 1, 1)) * (np.arange(3) == 0)
    values[:, :8, 0] += 40.0
    scores = scores_of(values)
    family = resample(flops, ["a"] * 7, scores)
    found = {(r["metric"], r["method"]): r for r in family_intervals(family, np.arange(7))}
    assert np.isnan(family.full["accuracy", "spearman"]).any()
    for method in METHODS:
        means = []
        for _ in range(2000):
            order = generator.permutation(7)
            shuffled = metric_correlations(flops[order], {"accuracy": scores["accuracy"]})
            means.append(np.nanmean(shuffled["accuracy", method]))
        row = found["accuracy", method]
        ends = row["mean_shuffled_low"], row["mean_shuffled_high"]
        assert ends == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.05)
        assert row["p_shuffled"] == pytest.approx(np.mean(np.array(means) >= row["mean"]), abs=0.05)


def test_the_median_of_few_groups_has_no_interval():
    values = np.random.default_rng(6).uniform(-0.5, 0.5, 50)
    without = np.stack([values + 0.01 * k for k in range(8)])
    few, enough = (intervals(values, without[:n], np.ones(n)) for n in (7, 8))
    assert np.isnan(few["median"]).all() and few["mean"][0] < values.mean() < few["mean"][1]
    assert enough["median"][0] < np.median(values) < enough["median"][1]


def test_table_of_checkpoint_intervals(tmp_path):
    inputs = random_run(tmp_path, items=40, checkpoints=7)
    paths = []
    for family, members in (("small", slice(0, 4)), ("all", slice(None))):
        paths.append(tmp_path / f"metrics/{family}.parquet")
        write_family(inputs["logprobs"][members], inputs["items"], paths[-1], family)
    outputs = {name: (tmp_path / f"{name}.parquet", tmp_path / f"{name}.csv") for name in TABLES}
    write_over_checkpoints(metrics=paths, items=[inputs["items"]], outputs=outputs)
    parquet, csv = outputs["checkpoint_intervals"]
    table = read_table(parquet, "checkpoint_intervals")
    assert table.column_names == SCHEMAS["checkpoint_intervals"].names
    frame = pl.from_arrow(table)
    assert pl.read_csv(csv, schema=frame.schema).equals(frame)
    keys = list(itertools.product(["all", "small"], METRICS, METHODS))
    assert list(frame.select("family", "metric", "method").iter_rows()) == keys
    assert frame.filter(family="small")["mean_checkpoints_low"].null_count() == len(keys) // 2
    row = frame.filter(family="all", metric="log_p_vocab_correct", method="pearson").row(0, named=True)
    assert row["mean_checkpoints_low"] < row["mean"] < row["mean_checkpoints_high"]
    assert row["num_models"] == 6, "the checkpoint without tokens is left out"
    with pytest.raises(ElusiveError, match="'all' on 'quiz' are already in another file"):
        write_over_checkpoints(metrics=[paths[1], paths[1]], outputs=outputs)
    with pytest.raises(ElusiveError, match="no metrics to look at"):
        write_over_checkpoints(metrics=[], outputs=outputs)
