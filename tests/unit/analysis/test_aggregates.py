"""Mean scores against compute and the ranking of scores, against independent computations and known truths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from elusive.analysis.aggregates import difference_noise, family_aggregates, standard_errors, write_aggregates
from elusive.analysis.correlations import METHODS, write_correlations
from elusive.analysis.metrics import METRICS, VARIANTS, write_metrics
from elusive.analysis.predictability import rank_scores, write_predictability
from elusive.analysis.statistics import write_statistics
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


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.3])
def test_noise_is_what_a_smooth_trend_does_not_explain(noise):
    generator = np.random.default_rng(2)
    x = np.sort(generator.uniform(15, 22, 60))
    smooth = 1 / (1 + np.exp(-(x - 19) / 2))
    found = [difference_noise(x, smooth + generator.normal(0, noise, 60)) for _ in range(200)]
    assert np.sqrt(np.mean(np.square(found))) == pytest.approx(noise, rel=0.05, abs=0.002)


def test_noise_of_equal_compute_and_of_few_checkpoints():
    # A straight line has none, wherever its points lie; among equal x the spread is all noise.
    assert difference_noise(np.array([1.0, 2.0, 9.0, 4.0]), np.array([2.0, 4.0, 18.0, 8.0])) == pytest.approx(
        0, abs=1e-12
    )
    generator = np.random.default_rng(3)
    same = [difference_noise(np.zeros(3), generator.permutation([0.0, 1.0, 2.0])) for _ in range(3)]
    assert len(set(same)) == 1, "the order of the rows does not matter"
    assert difference_noise(np.zeros(2), np.zeros(2)) is None


def test_family_aggregates_are_scipys():
    generator = np.random.default_rng(4)
    flops, means = 10 ** generator.uniform(15, 22, 9), generator.uniform(0, 1, 9)
    found = family_aggregates(flops, means, np.full(9, 0.01), -1)
    assert found["pearson"] == pytest.approx(stats.pearsonr(np.log10(flops), -means).statistic)
    assert found["spearman"] == pytest.approx(stats.spearmanr(flops, -means).statistic)
    assert found["range"] == pytest.approx(means.max() - means.min())
    assert found["signal_to_noise"] == pytest.approx(found["signal"] / found["noise"])
    assert found["item_noise"] == 0.01
    constant = family_aggregates(flops, np.full(9, 0.25), np.zeros(9), 1)
    assert (constant["spearman"], constant["range"], constant["signal"]) == (None, 0.0, 0.0)
    assert constant["signal_to_noise"] is None


def test_signal_is_what_noise_does_not_explain():
    generator = np.random.default_rng(7)
    flops = np.logspace(15, 22, 200)
    trend = np.linspace(0, 1, 200)
    for slope, expected in ((1.0, trend.std() / 0.1), (0.0, 0.0)):
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


def statistics_rows(medians: dict[str, tuple[float | None, float | None]], method: str = "spearman") -> pl.DataFrame:
    """Rows of a statistics table with these medians and lower ends of their intervals."""
    return pl.DataFrame(
        [
            {
                **{"family": "f", "benchmark": "b", "subject": None, "metric": metric, "method": method},
                **{"nan_policy": "zero", "num_items": 9, "num_models": 5, "median": median, "median_low": low},
                **{"median_high": None, "mean": median, "fraction_above_075": 0.0, "nan_fraction": 0.0},
            }
            for metric, (median, low) in medians.items()
        ],
        schema_overrides={
            "subject": pl.String,
            "median": pl.Float64,
            "median_low": pl.Float64,
            "median_high": pl.Float64,
        },
    )


def test_ranking_by_kind():
    rows = statistics_rows(
        {
            "accuracy": (0.2, 0.1),
            "brier": (0.4, -0.1),
            "margin_log": (0.3, 0.2),
            "log_p_vocab_correct": (0.9, 0.8),
            "p_vocab_correct": (0.9, 0.8),
            "log_p_vocab_incorrect": (0.95, 0.9),
            "is_greedy": (0.0, 0.0),
        }
    )
    found = rank_scores(rows)
    assert found.select("kind", "rank", "metric", "recommended").rows() == [
        ("comparison", 1, "brier", False),
        ("comparison", 2, "margin_log", True),
        ("comparison", 3, "accuracy", False),
        ("mass", 1, "log_p_vocab_correct", True),
        ("mass", 2, "is_greedy", False),
    ]
    pearson = rank_scores(rows.with_columns(method=pl.lit("pearson")))
    assert pearson.filter(kind="mass")["metric"].to_list() == ["log_p_vocab_correct", "p_vocab_correct", "is_greedy"]


def test_nothing_that_follows_compute_is_not_recommended():
    found = rank_scores(statistics_rows({"accuracy": (0.0, 0.0), "log_p_vocab_correct": (None, None)}))
    assert not found["recommended"].any()
    assert found["rank"].to_list() == [1, 1]


def test_table_of_a_run(tmp_path):
    run = random_run(tmp_path)
    metrics, correlations = tmp_path / "metrics.parquet", tmp_path / "correlations.parquet"
    family = {"small": members(run["logprobs"])}
    write_metrics(**run, families=family, benchmark="quiz", outputs={"small": metrics})
    write_correlations(metrics={"small": metrics}, benchmark="quiz", outputs={"small": correlations})
    statistics = tmp_path / "s.parquet"
    write_statistics(correlations=[correlations], output_parquet=statistics, output_csv=tmp_path / "s.csv")
    output = {"output_parquet": tmp_path / "p.parquet", "output_csv": tmp_path / "p.csv"}
    write_predictability(statistics=statistics, **output)
    found = pl.read_parquet(output["output_parquet"])
    assert found.columns == SCHEMAS["predictability"].names
    assert pl.read_csv(output["output_csv"], schema=found.schema).equals(found)
    assert found["method"].unique().sort().to_list() == sorted(METHODS)
    for _, rows in found.group_by("method", "kind", maintain_order=True):
        medians = rows["median"].to_list()
        assert medians == sorted(medians, reverse=True) and rows["rank"].to_list() == [*range(1, len(rows) + 1)]
        assert rows["recommended"].sum() <= 1
    # The synthetic scores rise with compute: the mass on the right choice is recommended.
    best = found.filter(method="spearman", kind="mass", recommended=True)
    assert best["metric"].item() in ("log_p_vocab_correct", "log_p_vocab_choices")
    empty = pl.from_arrow(read_table(statistics, "correlation_statistics")).filter(nan_policy="drop")
    write_table(empty.to_arrow(), statistics, "correlation_statistics")
    with pytest.raises(ElusiveError, match="no statistics of whole benchmarks to rank"):
        write_predictability(statistics=statistics, **output)
