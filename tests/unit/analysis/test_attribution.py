"""The decomposition of the fall along the chain: it adds up, and finds the transformation that causes a known fall."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from elusive.analysis.attribution import PATHS, STEPS, decompose, write_attribution
from elusive.analysis.correlations import METHODS, write_correlations
from elusive.analysis.statistics import NAN_POLICIES
from elusive.errors import ElusiveError
from elusive.tables import SCHEMAS, read_table, write_table
from score_tables import about, logprobs_table, random_run, write_family, write_items

CORRELATIONS = st.floats(-1, 1)


@settings(deadline=None, max_examples=50)
@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 12), st.integers(2, 4)), elements=CORRELATIONS))
def test_drops_add_up(path):
    found = decompose([path.T], None, seed=1)[0]
    assert found["drop"][:-1].sum() == pytest.approx(found["drop"][-1], abs=1e-12)
    assert found["drop"][-1] == pytest.approx((path[:, 0] - path[:, -1]).mean(), abs=1e-12)
    np.testing.assert_allclose(found["correlation_before"][1:-1], found["correlation_after"][:-2], atol=1e-15)
    if not np.isnan(found["share"][-1]):
        assert found["share"][-1] == 1 == pytest.approx(found["share"][:-1].sum(), abs=1e-9)


def test_intervals_cover_drops_and_shares_at_the_nominal_rate():
    generator = np.random.default_rng(5)
    # Falls of 0.5 and 0.2 on average, with noise that the two steps share.
    truth = {"drop": (0.5, 0.2, 0.7), "share": (0.5 / 0.7, 0.2 / 0.7, 1.0)}
    hits = {name: np.zeros(3) for name in truth}
    runs, items = 200, 120
    for run in range(runs):
        first = 0.9 - 0.1 * generator.random(items)
        second = first - 0.5 + generator.normal(0, 0.2, items)
        third = second - 0.2 + generator.normal(0, 0.2, items)
        found = decompose([np.stack([first, second, third])], None, seed=run)[0]
        for name, values in truth.items():
            hits[name] += (found[f"{name}_low"] <= np.array(values)) & (np.array(values) <= found[f"{name}_high"])
    # 95 % of 200 within four standard deviations of a binomial; the total's share is 1 by definition.
    assert (np.abs(hits["drop"] / runs - 0.95) < 0.062).all(), hits["drop"] / runs
    assert (np.abs(hits["share"][:2] / runs - 0.95) < 0.062).all(), hits["share"] / runs


def test_no_fall_has_no_shares():
    flat, none = np.array([[0.5, 0.5, 0.4], [0.1, 0.2, 0.1], [0.5, 0.4, 0.5]]), np.full((3, 3), np.nan)
    found, empty = decompose([flat, none], None, seed=0)
    assert np.isnan(found["share"]).all() and np.isfinite(found["drop"]).all()
    assert all(np.isnan(column).all() for column in empty.values())


def test_paths_do_not_depend_on_each_other():
    generator = np.random.default_rng(8)
    paths = [generator.uniform(-1, 1, (4, 30)) for _ in range(3)]
    paths[1][2, 5] = np.nan
    units = np.arange(30) // 3
    together = decompose(paths, units, seed=3)
    for path, found in zip(paths, together, strict=True):
        for name, column in decompose([path], units, seed=3)[0].items():
            np.testing.assert_allclose(found[name], column, atol=1e-12, err_msg=name)
    left = np.delete(paths[1], 5, axis=1)
    np.testing.assert_allclose(together[1]["drop"][-1], (left[0] - left[-1]).mean(), atol=1e-12)


def correlations_of(folder: Path, scores: list[list[list[float]]]) -> Path:
    """The correlations table of checkpoints whose log-likelihoods are ``scores`` [models][items][choices]."""
    gold, sizes = [0] * len(scores[0]), [len(choices) for choices in scores[0]]
    items = write_items(folder / "items.parquet", gold, sizes)
    paths = []
    for n, values in enumerate(scores):
        paths.append(folder / f"{n}.parquet")
        write_table(logprobs_table(gold, values), paths[-1], "logprobs", about("m", f"step{n}", 100, 10 ** (n + 1)))
    write_family(paths, items, folder / "metrics.parquet")
    output = folder / "correlations.parquet"
    write_correlations(metrics={"small": folder / "metrics.parquet"}, benchmark="quiz", outputs={"small": output})
    return output


def rows_of(correlations: list[Path], folder: Path, **keys: str) -> pl.DataFrame:
    output = folder / "attribution.parquet"
    write_attribution(correlations=correlations, output_parquet=output, output_csv=folder / "attribution.csv")
    frame = pl.read_parquet(output)
    assert pl.read_csv(folder / "attribution.csv", schema=frame.schema).equals(frame)
    return frame.filter(**keys)


def test_a_common_trend_is_lost_by_renormalising(tmp_path):
    generator = np.random.default_rng(2)
    models, items, choices = 9, 200, 4
    # All choices of an item rise together exactly; what tells them apart has nothing to do with compute.
    trend = 2.0 * np.arange(models)[:, None, None] + generator.normal(-60, 5, (1, items, choices))
    scores = trend + generator.normal(0, 1, (models, items, choices))
    correlations = correlations_of(tmp_path, scores.tolist())
    found = rows_of(
        [correlations], tmp_path, method="spearman", score="brier", order="exponentiate_first", nan_policy="drop"
    )
    share = dict(zip(found["step"], found["share"], strict=True))
    assert share["exponentiate"] == 0
    assert share["renormalise"] == pytest.approx(1, abs=0.05)


def test_a_trend_of_the_right_choice_alone_survives_renormalising(tmp_path):
    generator = np.random.default_rng(3)
    models, items = 9, 200
    scores = generator.normal(0, 0.2, (models, items, 3)) - 10
    scores[..., 0] += 0.3 * np.arange(models)[:, None] + generator.normal(-1.2, 0.3, items)
    correlations = correlations_of(tmp_path, scores.tolist())
    found = rows_of([correlations], tmp_path, method="spearman", score="accuracy", order="exponentiate_first")
    drop = {row["step"]: row["drop"] for row in found.filter(nan_policy="drop").iter_rows(named=True)}
    assert abs(drop["renormalise"]) < 0.02
    assert drop["threshold"] > 5 * abs(drop["renormalise"])


def test_rows_follow_the_schema_and_the_policies_their_items(tmp_path):
    run = random_run(tmp_path, subjects=True)
    metrics, paths = tmp_path / "metrics.parquet", {name: tmp_path / f"{name}.parquet" for name in ("b", "a")}
    for name, path in paths.items():
        write_family(**run, output=metrics, family=name)
        write_correlations(metrics={name: metrics}, benchmark="quiz", outputs={name: path})
    found = rows_of(list(paths.values()), tmp_path)
    keys = [
        (family, "quiz", method, score, order, policy, step)
        for family in ("a", "b")
        for method in METHODS
        for score, orders in PATHS.items()
        for order, steps in orders.items()
        for policy in NAN_POLICIES
        for step in (*(name for name, _ in steps), "total")
    ]
    assert found.select("family", "benchmark", "method", "score", "order", "nan_policy", "step").rows() == keys
    assert set(found["step"]) == set(STEPS) and found.columns == SCHEMAS["attribution"].names
    wide = (
        pl.from_arrow(read_table(paths["a"], "correlations"))
        .filter(method="pearson")
        .pivot("metric", index="item", values="correlation")
    )
    rows = found.filter(family="a", method="pearson", score="accuracy", order="renormalise_first", step="total")
    every = wide.select("log_p_vocab_correct", "log_p_choices_correct", "p_choices_correct", "accuracy")
    ends = {"drop": every.drop_nulls(), "zero": every.fill_null(0)}
    for policy, expected in ends.items():
        row = rows.row(by_predicate=pl.col("nan_policy") == policy, named=True)
        assert row["num_items"] == len(expected)
        assert row["correlation_after"] == pytest.approx(expected["accuracy"].mean(), abs=1e-12)
        assert row["drop"] == pytest.approx((expected["log_p_vocab_correct"] - expected["accuracy"]).mean(), abs=1e-12)
        assert row["drop_low"] < row["drop"] < row["drop_high"]
    assert len(ends["drop"]) < len(ends["zero"])


def test_a_table_without_the_chain_is_refused(tmp_path):
    run = random_run(tmp_path)
    metrics, path = tmp_path / "metrics.parquet", tmp_path / "correlations.parquet"
    write_family(**run, output=metrics)
    write_correlations(metrics={"small": metrics}, benchmark="quiz", outputs={"small": path})
    table = pl.from_arrow(read_table(path, "correlations")).filter(pl.col("metric") != "p_choices_correct")
    write_table(table.to_arrow(), path, "correlations")
    outputs = {"output_parquet": tmp_path / "a.parquet", "output_csv": tmp_path / "a.csv"}
    with pytest.raises(ElusiveError, match="has no rows for metric 'p_choices_correct' by method 'pearson'"):
        write_attribution(correlations=[path], **outputs)
    with pytest.raises(ElusiveError, match="no correlations to attribute"):
        write_attribution(correlations=[], **outputs)
