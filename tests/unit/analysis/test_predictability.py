"""The headline statistic, and the scores recommended by it, against independent computations and known truths."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from elusive.analysis.correlations import METHODS, metric_correlations
from elusive.analysis.distributions import distribution_statistics
from elusive.analysis.headline import MASSES, family_headline, is_score
from elusive.analysis.metrics import METRICS, VARIANTS
from elusive.analysis.over_checkpoints import TABLES, write_over_checkpoints
from elusive.analysis.predictability import LEVEL, rank_scores
from elusive.analysis.resampling import resample
from elusive.analysis.shuffles import Shuffles
from elusive.errors import ElusiveError
from elusive.tables import read_table, whole_schema
from score_tables import random_run, scores_of, write_family

SHUFFLED = Path(__file__).parents[2] / "benchmarks/shuffled_recommendations.py"


def real_like(models: int, items: int = 120, choices: int = 4, seed: int = 0) -> np.ndarray:
    """Log-likelihoods [models, items, choices] as small models give them: the checkpoints differ in ways that all items
    share (how long choices fare, how sharp the distribution is), most of it without any skill."""
    generator = np.random.default_rng(seed)
    length = generator.integers(2, 12, (items, choices))
    base = -4.0 * length + generator.normal(0, 2, (items, choices))
    per_token = generator.normal(0, 0.4, (models, 1, 1))
    sharp = 1 + generator.normal(0, 0.15, (models, 1, 1))
    topic = generator.normal(size=(models, 8)) @ generator.normal(size=(8, items * choices))
    own = generator.normal(0, 0.7, (models, items, choices))
    return sharp * base + per_token * length + 0.5 * topic.reshape(models, items, choices) + own


def family_of(values: np.ndarray, models: list[str] | None = None):
    flops = np.logspace(18, 22, len(values))
    return resample(flops, models or ["m"] * len(values), scores_of(values))


def rows_of(values: np.ndarray, models: list[str] | None = None) -> tuple[list[dict], list[dict]]:
    family = family_of(values, models)
    headline = family_headline(family, None)
    return headline, rank_scores(family, headline, None)


def test_headline_is_the_mean_with_undefined_correlations_as_0():
    values = real_like(9)
    values[:, :30, 0] += 60
    scores = scores_of(values)
    flops = np.logspace(18, 22, 9)
    found = {(row["metric"], row["method"]): row for row in rows_of(values)[0]}
    assert list(found) == [(metric, method) for metric in METRICS for method in METHODS]
    with pytest.warns(stats.ConstantInputWarning):
        expected = [stats.spearmanr(np.log10(flops), column).statistic for column in scores["accuracy"].T]
    assert np.isnan(expected).any()
    row = found["accuracy", "spearman"]
    assert row["mean"] == pytest.approx(np.nan_to_num(expected).mean(), abs=1e-12)
    assert row["median"] == pytest.approx(np.median(np.nan_to_num(expected)))
    assert row["nan_fraction"] == np.isnan(expected).mean()
    interval = distribution_statistics(np.nan_to_num(expected)[:, None], None)
    assert (row["mean_low"], row["mean_high"]) == pytest.approx((interval["mean_low"][0], interval["mean_high"][0]))
    # The mean score of the benchmark is another quantity.
    for method, function in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr), ("kendall", stats.kendalltau)):
        mean_score = -scores["brier"].mean(axis=1)
        assert found["brier", method]["benchmark_correlation"] == pytest.approx(
            function(np.log10(flops), mean_score).statistic, abs=1e-12
        )
    assert (
        found["log_p_vocab_incorrect", "spearman"]["p_adjusted"]
        != found["log_p_vocab_incorrect", "spearman"]["p_value"]
    )


def test_jackknife_of_the_headline_is_that_of_leaving_checkpoints_out():
    values = real_like(7)
    scores, flops = scores_of(values), np.logspace(18, 22, 7)
    found = {(row["metric"], row["method"]): row for row in rows_of(values)[0]}
    for method in METHODS:
        whole = np.nan_to_num(metric_correlations(flops, scores)["margin_log", method]).mean()
        left = [
            np.nan_to_num(
                metric_correlations(np.delete(flops, k), {n: np.delete(v, k, axis=0) for n, v in scores.items()})[
                    "margin_log", method
                ]
            ).mean()
            for k in range(7)
        ]
        half = stats.t.ppf(0.975, 6) * np.sqrt(6 / 7 * ((np.array(left) - np.mean(left)) ** 2).sum())
        row = found["margin_log", method]
        assert row["mean_checkpoints_high"] == pytest.approx(whole + half, abs=1e-9)
        assert row["mean_checkpoints_low"] == pytest.approx(whole - half, abs=1e-9)
        assert np.isnan(row["mean_models_low"])


def test_what_falls_is_below_and_what_rises_above_shuffled_compute():
    x = np.linspace(0, 1, 8)[:, None, None]
    rising = real_like(8) + 20 * x * (np.arange(4) == 0)
    headline = {(row["metric"], row["method"]): row for row in rows_of(rising)[0]}
    row = headline["margin_log", "spearman"]
    assert row["above_shuffled"] and not row["below_shuffled"] and row["exact"] and row["num_orders"] == 40_320
    falling = {(row["metric"], row["method"]): row for row in rows_of(rising[::-1])[0]}["margin_log", "spearman"]
    assert falling["below_shuffled"] and not falling["above_shuffled"]
    assert falling["mean"] < falling["shuffled_low"] and row["mean"] > row["shuffled_high"]
    assert falling["p_value"] > 0.99 and row["p_adjusted"] <= LEVEL


def test_ranking_and_ties():
    x = np.linspace(0, 1, 12)[:, None, None]
    generator = np.random.default_rng(1)
    values = generator.normal(-40, 4, (1, 200, 3)) + generator.normal(0, 1, (12, 200, 3))
    values = values + 4 * x * (np.arange(3) == 0)
    headline, rows = rows_of(values)
    about = {(row["metric"], row["method"]): row for row in headline}
    for method in METHODS:
        for kind in ("comparison", "mass"):
            own = [row for row in rows if (row["method"], row["kind"]) == (method, kind)]
            assert [row["rank"] for row in own] == [*range(1, len(own) + 1)]
            assert [row["mean"] for row in own] == sorted((row["mean"] for row in own), reverse=True)
            names = {row["metric"] for row in own}
            assert names == {m for m in METRICS if is_score(m, method) and (m in MASSES) == (kind == "mass")}
            assert all(row["mean"] == about[row["metric"], method]["mean"] for row in own)
    own = {row["metric"]: row for row in rows if row["method"] == "spearman"}
    # Ranks do not see the logarithm: the two are one score, and no interval tells them apart.
    twins = own["log_p_choices_correct"], own["p_choices_correct"]
    assert twins[0]["recommended"] and twins[1]["recommended"]
    best = next(row for row in own.values() if row["kind"] == "comparison" and row["rank"] == 1)
    assert (best["gap"], best["gap_low"], best["gap_checkpoints_high"]) == (0, 0, 0) and best["tied"]
    assert not own["accuracy"]["tied"] and own["accuracy"]["reason"] == "behind the best score of its kind"
    assert own["accuracy"]["gap_low"] > 0 and own["accuracy"]["gap_checkpoints_low"] > 0
    family = family_of(values)
    full = metric_correlations(np.logspace(18, 22, 12), scores_of(values))
    gap = np.nan_to_num(full[best["metric"], "spearman"]) - np.nan_to_num(full["accuracy", "spearman"])
    assert own["accuracy"]["gap"] == pytest.approx(gap.mean(), abs=1e-12)
    interval = distribution_statistics(gap[:, None], None)
    assert own["accuracy"]["gap_high"] == pytest.approx(interval["mean_high"][0], abs=1e-12)
    assert family.num_runs == 1
    for row in rows:
        assert row["recommended"] == (row["reason"] is None) == (row["follows"] and row["skill"] and row["tied"])


@pytest.mark.parametrize("models", [3, 4])
def test_few_checkpoints_recommend_nothing_and_say_why(models):
    x = np.linspace(0, 1, models)[:, None, None]
    _, rows = rows_of(real_like(models) + 30 * x * (np.arange(4) == 0))
    assert not any(row["recommended"] or row["follows"] for row in rows)
    orders = {3: 6, 4: 24}[models]
    assert {row["reason"] for row in rows} == {
        f"{models} checkpoints: too few, the best of all orders of compute comes by chance 1 time in {orders}"
    }


def test_reasons_are_those_of_the_first_thing_missing():
    generator = np.random.default_rng(2)
    x = np.linspace(0, 1, 6)[:, None, None]
    base = generator.normal(-40, 8, (1, 150, 1)) + generator.normal(0, 3, (1, 150, 4))
    noise = generator.normal(0, 0.5, (6, 150, 4))
    _, nothing = rows_of(base + noise)
    assert {row["reason"] for row in nothing} == {
        "not above what shuffled compute gives, corrected for the number of scores"
    }
    _, shrinking = rows_of((1 - 0.5 * x) * base + noise)
    own = {row["metric"]: row for row in shrinking if row["method"] == "spearman"}
    assert own["margin_log"]["follows"] and not own["margin_log"]["skill"]
    assert own["margin_log"]["reason"] == "no skill shown: on items that are right it falls"
    assert own["log_p_vocab_correct"]["mean"] == 1 and np.isnan(own["log_p_vocab_correct"]["mean_checkpoints_low"])
    assert own["log_p_vocab_correct"]["reason"] == own["margin_log"]["reason"], "a mass does not tell right from wrong"
    # All of the trend comes from one checkpoint.
    jump = base + noise + np.where(np.arange(6)[:, None, None] == 5, 8.0, 0.0) * (np.arange(4) == 0)
    jump[3] -= 6.0 * (np.arange(4) == 0)
    _, rows = rows_of(jump)
    reasons = {row["reason"] for row in rows if row["metric"] == "margin_log"}
    assert reasons <= {
        "its interval over checkpoints reaches 0",
        "not above what shuffled compute gives, corrected for the number of scores",
    }
    # Models that differ: the interval over models counts as well.
    runs = ["a", "a", "b", "b", "c", "c"]
    _, rows = rows_of(base + noise + 6 * x * (np.arange(4) == 0), runs)
    assert all(not np.isnan(row["mean_models_low"]) for row in rows if row["metric"] == "margin_log")


@pytest.mark.slow
@pytest.mark.parametrize("models", [4, 6, 12, 30])
def test_shuffled_compute_recommends_nothing_in_95_percent_of_cases(models):
    """Real-like scores of checkpoints in random order: they share much, so that means over items stray far."""
    shuffled = _shuffled_recommendations()
    generator = np.random.default_rng(models)
    flops = np.logspace(18, 22, models)
    scores = scores_of(real_like(models, seed=models))
    shuffles = Shuffles.of(np.log10(flops))
    found = []
    for _ in range(60):
        order = generator.permutation(models)
        found.append(shuffled.recommended(flops, {name: values[order] for name, values in scores.items()}, shuffles))
    chosen, _, follows = np.mean(found, axis=0)
    print(f"{models} checkpoints: {100 * chosen:.1f} % recommend anything, in {100 * follows:.1f} % something follows")
    assert chosen <= 0.05
    assert follows <= (0.0 if models == 4 else 0.14)  # 5 % and three standard errors


def _shuffled_recommendations():
    spec = importlib.util.spec_from_file_location("shuffled_recommendations", SHUFFLED)
    module = importlib.util.module_from_spec(spec)
    sys.modules["shuffled_recommendations"] = module
    spec.loader.exec_module(module)
    return module


def test_shuffled_recommendations_of_files(tmp_path, capsys):
    inputs = random_run(tmp_path, checkpoints=8)
    metrics = tmp_path / "metrics.parquet"
    write_family(inputs["logprobs"], inputs["items"], metrics)
    _shuffled_recommendations().main([str(metrics), "--checkpoints", "4", "6", "--repeats", "4"])
    printed = capsys.readouterr().out
    assert printed.startswith("4 checkpoints: 0.0 %") and "6 checkpoints: " in printed and "quiz" in printed


def test_tables_of_a_run(tmp_path):
    inputs = random_run(tmp_path, checkpoints=8)
    metrics = {name: tmp_path / f"{name}.parquet" for name in ("small", "all")}
    for name, path in metrics.items():
        write_family(inputs["logprobs"][: 5 if name == "small" else None], inputs["items"], path, name)
    outputs = {name: (tmp_path / f"t/{name}.parquet", tmp_path / f"t/{name}.csv") for name in TABLES}
    write_over_checkpoints(metrics=list(metrics.values()), items=[inputs["items"]], outputs=outputs)
    frames = {}
    for name, (parquet, csv) in outputs.items():
        table = read_table(parquet, name)
        frames[name] = pl.from_arrow(table)
        assert table.column_names == whole_schema(name).names
        assert pl.read_csv(csv, schema=frames[name].schema, infer_schema_length=None).equals(frames[name])
    headline, ranked = frames["headline"], frames["predictability"]
    present = [name for name in (*METRICS, *VARIANTS) if not name.endswith("pmi")]
    keys = [(family, "quiz", metric, method) for family in ("all", "small") for metric in present for method in METHODS]
    assert headline.select("family", "benchmark", "metric", "method").rows() == keys
    small = ranked.filter(family="small")
    assert small["num_models"].unique().to_list() == [4] and not small["recommended"].any()
    assert headline.filter(family="small")["above_shuffled"].null_count() == len(keys) // 2
    assert headline.filter(family="small")["note"].unique().len() == 1
    # All choices rise together with compute: the mass on the right one follows, and nothing shows skill.
    mass = ranked.filter(family="all", method="spearman", metric="log_p_vocab_correct").row(0, named=True)
    assert mass["follows"] and not mass["skill"] and not mass["recommended"]
    # The order of the files does not matter.
    again = {name: (tmp_path / f"u/{name}.parquet", tmp_path / f"u/{name}.csv") for name in TABLES}
    write_over_checkpoints(metrics=list(metrics.values())[::-1], items=[inputs["items"]], outputs=again)
    for name in TABLES:
        assert [path.read_bytes() for path in outputs[name]] == [path.read_bytes() for path in again[name]]
    with pytest.raises(ElusiveError, match="no metrics to look at"):
        write_over_checkpoints(metrics=[], outputs=outputs)
