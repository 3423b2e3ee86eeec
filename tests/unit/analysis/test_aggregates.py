"""Mean scores against compute, against independent computations and known truths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from elusive.analysis.aggregates import degree, family_aggregates, smooth_curve, standard_errors, write_aggregates
from elusive.analysis.metrics import METRICS, VARIANTS, write_metrics
from elusive.errors import ElusiveError
from elusive.tables import SCHEMAS, read_table, write_table
from score_tables import members, random_run


def test_standard_error_of_single_items_is_scipys():
    values = np.random.default_rng(0).normal(size=(3, 50))
    np.testing.assert_allclose(standard_errors(values, None), stats.sem(values, axis=1), rtol=1e-12)
    assert np.isnan(standard_errors(values[:, :1], None)).all()


def test_standard_error_of_clusters_covers_what_clusters_do():
    generator = np.random.default_rng(1)
    # 40 texts with five questions each, whose scores share most of their variation.
    units = np.repeat(np.arange(40), 5)
    texts = generator.normal(0, 1, (4000, 40))
    values = np.repeat(texts, 5, axis=1) + generator.normal(0, 0.5, (4000, 200))
    shuffled = generator.permutation(200)
    errors = standard_errors(values[:, shuffled], units[shuffled])
    truth = values.mean(axis=1).std()
    assert np.median(errors) == pytest.approx(truth, rel=0.05)
    assert np.median(standard_errors(values, None)) < 0.6 * truth


@pytest.mark.parametrize("models", [6, 12, 40])
def test_noise_is_what_a_bend_does_not_explain(models):
    generator = np.random.default_rng(2)
    flops = 10 ** np.linspace(15, 22, models)
    x = np.log10(flops)
    bends = {"straight": 0.1 * x, "saturating": 1 - np.exp(-(x - 14.5) / 6), "dip": 0.02 * (x - 17) ** 2}
    for name, curve in bends.items():
        found = [
            family_aggregates(flops, curve + generator.normal(0, 0.02, models), np.ones(models), 1)["noise"]
            for _ in range(200)
        ]
        assert np.sqrt(np.mean(np.square(found))) == pytest.approx(0.02, rel=0.12), name


def test_noise_is_the_residual_of_numpys_polynomial():
    generator = np.random.default_rng(3)
    for models, expected in ((4, 1), (5, 2), (9, 2), (10, 3), (30, 3)):
        x, y = generator.uniform(15, 22, models), generator.normal(size=models)
        assert degree(models) == expected
        residual = y - np.polynomial.Polynomial.fit(x, y, expected)(x)
        chosen, rest = smooth_curve(x, y)
        assert (chosen, rest) == (expected, pytest.approx((residual**2).sum(), rel=1e-9))
    assert smooth_curve(np.arange(3.0), np.arange(3.0)) is None
    # Two models at each of three FLOPs leave no more than a line through three points.
    assert smooth_curve(np.repeat([1.0, 2.0, 3.0], 2), generator.normal(size=6)) is None
    assert smooth_curve(np.arange(6.0), np.arange(6.0) ** 2) == (2, 0.0)


@pytest.mark.slow
@pytest.mark.parametrize("models", [4, 5, 6, 8, 13, 30])
def test_signal_by_chance_is_that_of_pure_noise(models):
    """Independent normal means: 5 % of 1,500 have more signal than the yardstick, whatever the FLOPs (error 0.56)."""
    generator = np.random.default_rng(models)
    flops = 10 ** generator.uniform(15, 22, models)
    found = [family_aggregates(flops, generator.normal(size=models), np.ones(models), 1) for _ in range(1500)]
    sizes = np.array([abs(row["signal_to_noise"]) for row in found])
    yardstick = found[0]["signal_to_noise_chance"]
    assert (sizes > yardstick).mean() == pytest.approx(0.05, abs=0.02)
    above = np.array([row["above_noise"] for row in found])
    np.testing.assert_array_equal(above, sizes >= yardstick)
    shares = np.array([row["p_value"] for row in found])
    assert stats.kstest(shares, "uniform").pvalue > 0.001


def test_a_falling_score_has_negative_signal():
    flops, rising = np.logspace(15, 22, 8), np.linspace(0, 1, 8)
    noise = np.random.default_rng(5).normal(0, 0.02, 8)
    up, down = (family_aggregates(flops, sign * rising + noise, np.ones(8), 1) for sign in (1, -1))
    assert up["signal_to_noise"] > 5 and down["signal_to_noise"] < -5 and down["signal"] < 0 < down["noise"]
    assert up["above_noise"] and down["above_noise"], "a fall is no noise either"
    loss = family_aggregates(flops, -rising + noise, np.ones(8), -1)
    assert loss["signal_to_noise"] > 5, "a loss that falls is a score that rises"


def test_family_aggregates_are_scipys():
    generator = np.random.default_rng(4)
    flops, means = 10 ** generator.uniform(15, 22, 9), generator.uniform(0, 1, 9)
    found = family_aggregates(flops, means, np.full(9, 0.01), -1)
    assert found["pearson"] == pytest.approx(stats.pearsonr(np.log10(flops), -means).statistic)
    assert found["spearman"] == pytest.approx(stats.spearmanr(flops, -means).statistic)
    assert found["range"] == pytest.approx(means.max() - means.min())
    assert found["signal_to_noise"] == pytest.approx(found["signal"] / found["noise"])
    assert found["signal_to_noise"] * (found["pearson"] or 0) >= 0
    assert found["item_noise"] == 0.01
    constant = family_aggregates(flops, np.full(9, 0.25), np.zeros(9), 1)
    assert (constant["spearman"], constant["range"], constant["signal"]) == (None, 0.0, 0.0)
    assert constant["signal_to_noise"] is None and constant["above_noise"] is None


def test_signal_is_what_noise_does_not_explain():
    generator = np.random.default_rng(7)
    flops = np.logspace(15, 22, 200)
    trend = np.linspace(0, 1, 200)
    for slope, expected in ((1.0, trend.std() / 0.1), (-1.0, -trend.std() / 0.1), (0.0, 0.0)):
        found = [
            family_aggregates(flops, slope * trend + generator.normal(0, 0.1, 200), np.zeros(200), 1)["signal_to_noise"]
            for _ in range(50)
        ]
        assert np.median(found) == pytest.approx(expected, rel=0.05, abs=0.35)


def tables_of(folder: Path, run: dict, families: dict) -> tuple[dict[str, Path], pl.DataFrame, pl.DataFrame]:
    metrics = {family: folder / f"{family}.parquet" for family in families}
    write_metrics(**run, families=families, benchmark="quiz", outputs=metrics)
    outputs = {f"{n}_{kind}": folder / f"{n}.{kind}" for n in ("means", "aggregates") for kind in ("parquet", "csv")}
    write_aggregates(metrics=list(metrics.values()), items=[run["items"]], families=families, **outputs)
    frames = [pl.read_parquet(outputs[f"{name}_parquet"]) for name in ("means", "aggregates")]
    for name, frame in zip(("means", "aggregates"), frames, strict=True):
        assert frame.columns == SCHEMAS[name].names
        assert pl.read_csv(outputs[f"{name}_csv"], schema=frame.schema).equals(frame)
    return metrics, *frames


def test_means_and_aggregates_of_a_run(tmp_path):
    run = random_run(tmp_path, subjects=True)
    everything = members(run["logprobs"])
    metrics, means, aggregates = tables_of(tmp_path, run, {"b": everything, "a": everything[:4]})
    table = pl.read_parquet(metrics["b"])
    names = [name for name in (*METRICS, *VARIANTS) if name in table.columns]
    assert len(means) == 6 * len(names), "a checkpoint of two families is there once"
    assert means["metric"].unique(maintain_order=True).to_list() == names
    for name in ("brier", "is_greedy", "p_choices_correct_per_byte"):
        expected = table.group_by("model", "checkpoint").agg(pl.col(name).mean(), pl.col("flops").first())
        both = means.filter(metric=name).join(expected, on=["model", "checkpoint"])
        np.testing.assert_allclose(both["mean"], both[name], rtol=1e-12)
    assert aggregates.select("family", "benchmark", "metric").rows() == [(f, "quiz", n) for f in "ab" for n in names]
    assert aggregates.filter(family="a")["num_models"].unique().to_list() == [3], "no tokens, no FLOPs"
    row = aggregates.row(by_predicate=(pl.col("family") == "b") & (pl.col("metric") == "brier"), named=True)
    trained = means.filter(pl.col("tokens") > 0, metric="brier").sort("flops")
    assert row["spearman"] == pytest.approx(stats.spearmanr(trained["flops"], -trained["mean"]).statistic)
    assert row["item_noise"] == trained["se"].median()


def test_other_scores_of_the_same_checkpoint_are_refused(tmp_path):
    run = random_run(tmp_path, items=10)
    families = {"a": members(run["logprobs"]), "b": members(run["logprobs"])}
    metrics, _, _ = tables_of(tmp_path, run, families)
    table = pl.from_arrow(read_table(metrics["b"], "metrics")).with_columns(accuracy=1 - pl.col("accuracy"))
    write_table(table.to_arrow(), metrics["b"], "metrics")
    outputs = {f"{n}_{kind}": tmp_path / f"x{n}.{kind}" for n in ("means", "aggregates") for kind in ("parquet", "csv")}
    with pytest.raises(ElusiveError, match=r"b\.parquet: .*has other scores on quiz than in another file"):
        write_aggregates(metrics=list(metrics.values()), items=[run["items"]], families=families, **outputs)
