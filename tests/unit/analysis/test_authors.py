"""The authors' scores against their code's formulas, and how little the table says that they change."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from elusive.analysis.authors import METRICS, STATISTICS, authors_scores, compare, write_authors_variants
from elusive.analysis.correlations import METHODS
from elusive.errors import ElusiveError
from elusive.tables import SCHEMAS, read_table
from score_tables import random_run, scores_of, write_family


def softmax(scores: np.ndarray, epsilon: float) -> np.ndarray:
    """As in the authors' code, along the last axis."""
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / (epsilon + e.sum(axis=-1, keepdims=True))


@settings(deadline=None)
@given(
    hnp.arrays(
        np.float64, st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(2, 5)), elements=st.floats(-900, 0)
    )
)
def test_scores_are_those_of_the_authors_formulas(log_likelihood):
    num_choices = np.full(log_likelihood.shape[1], log_likelihood.shape[2])
    found = authors_scores(scores_of(log_likelihood), num_choices)
    p = softmax(log_likelihood, 1e-8)[..., 0]
    np.testing.assert_allclose(found["p_choices_correct"], p, rtol=1e-12, atol=1e-300)
    p = softmax(log_likelihood, 1e-9)
    brier = ((p - (np.arange(p.shape[-1]) == 0)) ** 2).mean(axis=-1)
    np.testing.assert_allclose(found["brier"], brier, rtol=1e-9, atol=1e-15)
    assert np.array_equal(found["p_vocab_correct"], np.exp(log_likelihood[..., 0]))


def test_what_underflow_and_rounding_do_to_correlations():
    flops = np.logspace(18, 22, 5)
    rising = np.array([0.0, 1.5, 1.0, 4.0, 6.0])
    scores = scores_of(np.stack([rising - 800, np.full(5, -900.0)], axis=1)[:, None, :])
    rows = {(r["metric"], r["method"], r["statistic"]): r for r in compare(flops, scores, np.array([2]))}
    row = rows["p_vocab_correct", "spearman", "nan_fraction"]
    assert (row["ours"], row["authors"], row["largest_difference"]) == (0.0, 1.0, None)
    # The wrong choice has e^-100 of the mass: theirs is 1/(1 + 1e-8) for every checkpoint.
    row = rows["p_choices_correct", "spearman", "mean"]
    assert row["ours"] == pytest.approx(0.9) and row["authors"] is None and row["difference"] is None
    row = rows["log_p_vocab_correct", "spearman", "auc"]
    assert row["ours"] == pytest.approx(1.9)
    assert row["authors"] == pytest.approx(0.95), "half of what it is, as all correlations are 0.9"


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> tuple[pl.DataFrame, dict]:
    folder = tmp_path_factory.mktemp("authors")
    inputs = random_run(folder, items=80)
    metrics = folder / "metrics.parquet"
    write_family(inputs["logprobs"], inputs["items"], metrics, "all")
    outputs = {"output_parquet": folder / "a.parquet", "output_csv": folder / "a.csv"}
    write_authors_variants(metrics=[metrics], **outputs)
    found = read_table(outputs["output_parquet"], "authors_variants")
    assert found.column_names == SCHEMAS["authors_variants"].names
    with pytest.raises(ElusiveError, match="'all' on 'quiz' are already in another file"):
        write_authors_variants(metrics=[metrics, metrics], **outputs)
    with pytest.raises(ElusiveError, match="no metrics to compare"):
        write_authors_variants(metrics=[], **outputs)
    frame = pl.from_arrow(found)
    assert pl.read_csv(outputs["output_csv"], schema=frame.schema, infer_schema=False).equals(frame)
    return frame, {"metrics": metrics}


def test_table_compares_every_metric_and_statistic(table):
    frame, paths = table
    keys = list(itertools.product(METRICS, METHODS, STATISTICS))
    assert list(frame.select("metric", "method", "statistic").iter_rows()) == keys
    # Ordinary scores are hardly touched by an epsilon of 1e-8; the trapezoid rule is another matter.
    touched = frame.filter(pl.col("statistic").is_in(["mean", "median"]), pl.col("method") == "pearson")
    assert touched["difference"].abs().max() < 1e-6
    assert frame.filter(metric="log_p_vocab_correct")["largest_difference"].max() == 0
    metrics = pl.from_arrow(read_table(paths["metrics"], "metrics")).filter(pl.col("tokens") > 0)
    x = metrics.filter(item="i0")["flops"].log10()
    correlations = [stats.spearmanr(x, rows["log_p_vocab_correct"]).statistic for _, rows in metrics.group_by("item")]
    survival = stats.ecdf(correlations).sf
    area = np.trapezoid(np.r_[1, survival.probabilities, 0], np.r_[-1, survival.quantiles, 1])
    row = frame.filter(metric="log_p_vocab_correct", method="spearman", statistic="auc").row(0, named=True)
    assert row["authors"] == pytest.approx(area, abs=1e-12)
    assert row["ours"] == pytest.approx(1 + np.mean(correlations), abs=1e-12)
    assert row["difference"] == row["authors"] - row["ours"] < 0
