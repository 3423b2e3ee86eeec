"""Correlations against scipy item by item, their exact properties, and the paper's mechanism on synthetic scores."""

from __future__ import annotations

import itertools
import warnings
from decimal import Decimal, localcontext

import numpy as np
import polars as pl
import pyarrow.compute as pc
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from elusive.analysis.correlations import (
    METHODS,
    correlate,
    metric_correlations,
    pearson,
    rank_correlations,
    write_correlations,
)
from elusive.analysis.metrics import METRICS, VARIANTS
from elusive.errors import ElusiveError
from elusive.tables import SCHEMAS, read_table, write_table
from score_tables import random_run, scores_of, write_family

SCIPY = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}


def ours(x: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(METHODS, (pearson(x, scores), *rank_correlations(x, scores)), strict=True))


def theirs(x: np.ndarray, scores: np.ndarray, method: str) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.array([SCIPY[method](x, column).statistic for column in scores.T])


@st.composite
def columns(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """x [models] and scores [models, items], both often tied, sometimes constant."""
    models, items = draw(st.integers(2, 14)), draw(st.integers(1, 8))
    few = st.integers(-2, 2).map(float)
    x = draw(hnp.arrays(np.float64, models, elements=st.one_of(few, st.floats(15, 25))))
    many = st.floats(-1e4, 1e4).map(lambda value: round(value, 6))
    scores = draw(
        hnp.arrays(np.float64, (models, items), elements=draw(st.sampled_from([few, many, st.one_of(few, many)])))
    )
    return x, scores


@settings(deadline=None)
@given(columns())
def test_each_method_equals_scipy(data):
    x, scores = data
    # Of a nearly constant column scipy itself warns that its Pearson correlation may be inaccurate.
    spread = np.abs(scores - scores.mean(axis=0)).max(axis=0)
    assume(((spread == 0) | (spread > 1e-4 * np.abs(scores).max(axis=0))).all())
    assume(np.ptp(x) == 0 or np.ptp(x) > 1e-3)
    found = ours(x, scores)
    for method in METHODS:
        np.testing.assert_allclose(found[method], theirs(x, scores, method), rtol=0, atol=1e-12, err_msg=method)


@pytest.mark.parametrize("ties", [False, True])
def test_each_method_equals_scipy_across_blocks(ties):
    generator = np.random.default_rng(1)
    x = np.array([1.0, 2, 2, 3, 4, 4, 4, 7]) if ties else np.linspace(18, 22, 8)
    scores = generator.normal(size=(8, 9000))
    if ties:
        scores = np.round(scores)
    found = ours(x, scores)
    sample = [*range(0, 9000, 450), 4095, 4096, 8191, 8192, 8999]
    for method in METHODS:
        expected = theirs(x, scores[:, sample], method)
        np.testing.assert_allclose(found[method][sample], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("models", [2, 3, 7, 40])
def test_monotone_columns_have_exactly_one(models):
    x = np.sqrt(np.arange(models))
    scores = np.stack([np.exp(x), -np.exp(x)], axis=1)
    for values in rank_correlations(x, scores):
        assert values.tolist() == [1.0, -1.0]
    assert pearson(x, np.stack([3 * x + 1, -x], axis=1)) == pytest.approx([1, -1], abs=1e-15)


def test_undefined_is_nan():
    x = np.array([1.0, 2, 3, 4])
    scores = np.array([[0.1, 1, 5, np.nan], [0.1, 1, 6, 2], [0.1, 1, 8, 1], [0.1, 1, 9, 4]])
    for values in ours(x, scores).values():
        assert np.isnan(values).tolist() == [True, True, False, True]
    for models in (0, 1):
        assert all(np.isnan(v).all() and len(v) == 4 for v in ours(x[:models], scores[:models]).values())
    assert all(np.isnan(v).all() for v in ours(np.full(4, 20.0), scores).values())


def test_a_column_that_varies_by_rounding_alone_has_a_correlation():
    x, pattern = np.arange(5.0), np.array([[0.0], [1], [0], [1], [1]])
    scores = np.where(pattern == 1, 0.1 + 0.2, 0.3)
    for method, values in ours(x, scores).items():
        # scipy's Pearson loses such a column to the rounding of its mean, hence the pattern.
        assert values == pytest.approx(theirs(x, pattern, method), abs=1e-12)


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, -400.0, -3000.0]))
def test_ranks_cannot_see_the_exponential(seed, level):
    log_likelihood = level + np.random.default_rng(seed).normal(-20, 8, (7, 12, 4))
    found = metric_correlations(np.logspace(18, 22, 7), scores_of(log_likelihood))
    for method in ("spearman", "kendall"):
        assert np.array_equal(found["log_p_vocab_correct", method], found["p_vocab_correct", method])
        assert np.array_equal(found["log_p_choices_correct", method], found["p_choices_correct", method])
    assert (np.abs(found["log_p_vocab_correct", "pearson"] - found["p_vocab_correct", "pearson"]) > 1e-6).all()


def test_correlations_of_metrics_equal_scipy_on_the_stored_columns():
    generator = np.random.default_rng(3)
    flops = np.logspace(18, 22, 8)
    scores = scores_of(np.log10(flops)[:, None, None] * 2 + generator.normal(-60, 2, (8, 50, 4)))
    found = metric_correlations(flops, scores)
    for metric, method in itertools.product(METRICS, METHODS):
        sign = -1 if metric == "brier" else 1
        expected = theirs(np.log10(flops), sign * scores[metric], method)
        np.testing.assert_allclose(found[metric, method], expected, rtol=0, atol=1e-12, err_msg=f"{metric} {method}")


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([4.0, 40.0, 120.0]))
def test_with_two_choices_brier_ranks_as_p_choices(seed, spread):
    found = metric_correlations(
        np.logspace(18, 22, 8), scores_of(np.random.default_rng(seed).normal(-700, spread, (8, 20, 2)))
    )
    for method in ("spearman", "kendall"):
        np.testing.assert_allclose(found["p_choices_correct", method], found["brier", method], rtol=0, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([3.0, 40.0, 120.0]), st.integers(2, 5))
def test_brier_correlates_as_in_exact_arithmetic(seed, spread, choices):
    """Also where the correct choice is so far behind, or ahead, that all Brier scores round to one number."""
    log_likelihood = np.random.default_rng(seed).normal(-400, spread, (6, 3, choices))
    found = metric_correlations(np.logspace(18, 22, 6), scores_of(log_likelihood))
    for item in range(3):
        with localcontext(prec=700):
            brier = []
            for row in log_likelihood[:, item]:
                masses = [Decimal(value).exp() for value in row]
                shares = [mass / sum(masses) for mass in masses]
                brier.append((shares[0] - 1) ** 2 + sum(share**2 for share in shares[1:]))
            ranks = [sum(other >= value for other in brier) for value in brier]
            least, most = min(brier), max(brier)
            line = [float((most - value) / (most - least)) for value in brier]
        x = np.arange(6.0)
        assert found["brier", "spearman"][item] == pytest.approx(stats.spearmanr(x, ranks).statistic, abs=1e-12)
        assert found["brier", "kendall"][item] == pytest.approx(stats.kendalltau(x, ranks).statistic, abs=1e-12)
        assert found["brier", "pearson"][item] == pytest.approx(stats.pearsonr(x, line).statistic, abs=1e-9)


@pytest.mark.parametrize("level", [-700.0, -800.0, -5000.0])
def test_probabilities_that_underflow_keep_their_correlation(level):
    logs = level + np.array([0.0, 1.5, 1.0, 4.0, 6.0])
    flops = np.logspace(18, 22, 5)
    log_likelihood = np.stack([logs, np.full(5, level)], axis=1)[:, None, :]
    found = metric_correlations(flops, scores_of(log_likelihood))
    assert found["p_vocab_correct", "spearman"][0] == pytest.approx(0.9, abs=1e-15)
    assert np.isnan(found["p_vocab_incorrect", "pearson"][0])
    with localcontext(prec=60):
        p, x = [Decimal(value).exp() for value in logs], [Decimal(value) for value in range(18, 23)]
        dp, dx = ([v - sum(values) / 5 for v in values] for values in (p, x))
        dot = sum(a * b for a, b in zip(dp, dx, strict=True))
        expected = float(dot / (sum(v * v for v in dp) * sum(v * v for v in dx)).sqrt())
    assert found["p_vocab_correct", "pearson"][0] == pytest.approx(expected, abs=1e-12)


def test_probabilities_that_round_to_one_keep_their_correlation():
    logs = np.stack([np.zeros(5), -np.array([60.0, 61, 62, 63, 64])], axis=1)[:, None, :]
    scores = scores_of(logs)
    assert (scores["p_choices_correct"] == 1).all()
    found = metric_correlations(np.logspace(18, 22, 5), scores)
    assert [found["p_choices_correct", method][0] for method in METHODS[1:]] == [1, 1]
    expected = stats.pearsonr(np.arange(5), -np.exp(-np.arange(5.0))).statistic
    assert found["p_choices_correct", "pearson"][0] == pytest.approx(expected, abs=1e-12)
    assert np.isnan(found["accuracy", "spearman"][0])


@pytest.mark.parametrize("models", [6, 7, 8])
def test_all_orders_of_compute_give_the_null_distribution(models):
    orders = np.array(list(itertools.permutations(range(models)))).T
    spearman, kendall = rank_correlations(np.arange(models, dtype=np.float64), orders.astype(np.float64))
    assert spearman.mean() == pytest.approx(0, abs=1e-12)
    assert kendall.mean() == pytest.approx(0, abs=1e-12)
    # rho = 1 - 6 sum d^2 / (n^3 - n), so rho > 3/4 in whole numbers is:
    distances = ((orders - np.arange(models)[:, None]) ** 2).sum(axis=0)
    assert np.array_equal(spearman > 0.75, 24 * distances < models**3 - models)
    assert spearman.var() == pytest.approx(1 / (models - 1), rel=1e-12)
    assert kendall.var() == pytest.approx(2 * (2 * models + 5) / (9 * models * (models - 1)), rel=1e-12)


def test_shuffled_compute_gives_the_null_distribution():
    models, items = 12, 40_000
    scores = np.random.default_rng(4).normal(size=(models, items))
    for values in ours(np.linspace(18, 22, models), scores).values():
        assert abs(values.mean()) < 4 / np.sqrt((models - 1) * items)
    spearman, _ = rank_correlations(np.arange(models, dtype=np.float64), scores)
    assert abs((spearman > 0.75).mean() - 0.0025) < 4 * np.sqrt(0.0025 / items)


def test_a_trend_that_all_choices_share_leaves_p_choices_flat():
    generator = np.random.default_rng(5)
    models, items, choices = 8, 200, 4
    x = np.linspace(18, 22, models)
    own = generator.normal(-100, 5, (items, choices))
    # Multiples of 1/8, so that no rounding enters the differences between choices.
    shared = np.round(8 * 3.0 * x)[:, None, None] / 8 + np.round(8 * own) / 8
    found = metric_correlations(10**x, scores_of(shared))
    assert found["log_p_vocab_correct", "pearson"].min() > 0.9999
    assert (found["p_vocab_correct", "spearman"] == 1).all()
    for metric in ("margin_log", "accuracy"):
        assert np.isnan(found[metric, "spearman"]).all()
    scores = scores_of(shared)
    assert np.ptp(scores["log_p_choices_correct"], axis=0).max() < 1e-12

    # With noise of the size of sigma on each choice, p_choices follows that noise alone.
    noise = generator.normal(0, 0.5, (models, items, choices))
    found = metric_correlations(10**x, scores_of(shared + noise))
    assert np.median(found["log_p_vocab_correct", "spearman"]) > 0.95
    assert abs(found["p_choices_correct", "spearman"].mean()) < 4 / np.sqrt((models - 1) * items)


def test_margin_has_the_correlation_that_its_slopes_give():
    """Slope b on x and noise sigma give r^2 = 1 / (1 + sigma^2 / (b^2 var x)); a margin has two noises, and b - b'."""
    generator = np.random.default_rng(6)
    models, items, sigma = 400, 300, 0.7
    x = np.linspace(18, 22, models)
    slopes = np.array([2.0, 1.5])
    log_likelihood = -90 + slopes * x[:, None, None] + generator.normal(0, sigma, (models, items, 2))
    found = metric_correlations(10**x, scores_of(log_likelihood))
    for metric, slope, noise in (("log_p_vocab_correct", 2.0, sigma), ("margin_log", 0.5, np.sqrt(2) * sigma)):
        expected = 1 / np.sqrt(1 + noise**2 / (slope**2 * x.var()))
        assert found[metric, "pearson"].mean() == pytest.approx(expected, abs=0.005)


def test_table_follows_the_contract(tmp_path):
    run = random_run(tmp_path, subjects=True)
    metrics, output = tmp_path / "metrics.parquet", tmp_path / "correlations.parquet"
    write_family(**run, output=metrics)
    write_correlations(metrics={"small": metrics}, benchmark="quiz", outputs={"small": output})
    table = read_table(output, "correlations")
    assert table.column_names == SCHEMAS["correlations"].names
    found = pl.from_arrow(table)
    assert found["num_models"].unique().to_list() == [5], "the checkpoint without tokens is left out"
    assert not found["correlation"].is_nan().any(), "undefined is null"
    variants = [name for name in VARIANTS if not name.endswith("pmi")]
    keys = [(metric, method) for metric in (*METRICS, *variants) for method in METHODS]
    assert list(found.select("metric", "method").unique(maintain_order=True).iter_rows()) == keys
    scores = pl.from_arrow(read_table(metrics, "metrics")).filter(pl.col("tokens") > 0)
    items = pl.from_arrow(read_table(run["items"], "items")).select("subject", "item")
    for (metric, method), rows in found.group_by("metric", "method", maintain_order=True):
        assert rows.select("subject", "item").equals(items)
        for item in ("i0", "i31"):
            column = scores.filter(pl.col("item") == item).select(pl.col("flops").log10(), metric).to_numpy().T
            sign = -1 if metric == "brier" else 1
            expected = theirs(column[0], sign * column[1][:, None], method)[0]
            value = rows.filter(pl.col("item") == item)["correlation"].item()
            assert (value is None) == np.isnan(expected)
            assert value is None or value == pytest.approx(expected, abs=1e-12)


def test_a_checkpoint_without_nominal_compute_is_left_out(tmp_path):
    """Amber's first one was trained on 3.5e9 tokens, of which the paper counts none."""
    metrics = tmp_path / "metrics.parquet"
    write_family(**random_run(tmp_path), output=metrics)
    table = read_table(metrics, "metrics")
    first = pc.and_(
        pc.greater(table["tokens"], 0),
        pc.equal(table["flops"], pc.min(table.filter(pc.greater(table["tokens"], 0))["flops"])),
    )
    nominal = table.set_column(table.column_names.index("flops"), "flops", pc.if_else(first, 0.0, table["flops"]))
    found = pl.from_arrow(correlate(nominal, metrics, "small"))
    assert found["num_models"].unique().to_list() == [4]
    without = table.filter(pc.invert(first))
    assert found.equals(pl.from_arrow(correlate(without, metrics, "small")))


def test_accuracy_that_never_changes_is_null(tmp_path):
    run = random_run(tmp_path)
    metrics = tmp_path / "metrics.parquet"
    write_family(**run, output=metrics)
    table = read_table(metrics, "metrics")
    found = pl.from_arrow(correlate(table, metrics, "small")).filter(pl.col("metric") == "accuracy")
    trained = pl.from_arrow(table).filter(pl.col("tokens") > 0)
    constant = trained.group_by("item").agg(pl.col("accuracy").n_unique() == 1)
    both = found.join(constant, on="item")
    assert both["accuracy"].sum() > 0
    assert both["correlation"].is_null().equals(both["accuracy"].alias("correlation"))


def test_incomplete_or_disordered_metrics_are_refused(tmp_path):
    run = random_run(tmp_path, items=10)
    metrics, output = tmp_path / "metrics.parquet", tmp_path / "correlations.parquet"
    write_family(**run, output=metrics)
    with pytest.raises(ElusiveError, match="not a metrics table of 'other' alone"):
        write_correlations(metrics={"small": metrics}, benchmark="other", outputs={"small": output})
    table = read_table(metrics, "metrics")
    count = np.arange(len(table))
    for rows in (
        count[:-1],
        count[:0],
        np.roll(count, 1),
        np.r_[count, count[:10]],
        np.r_[count[:10][::-1], count[10:]],
    ):
        write_table(table.take(rows), metrics, "metrics")
        with pytest.raises(ElusiveError, match=str(metrics)):
            write_correlations(metrics={"small": metrics}, benchmark="quiz", outputs={"small": output})
    assert not output.exists()
