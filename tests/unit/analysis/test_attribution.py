"""The decomposition of the fall along the chain: it adds up, and finds the transformation that causes a known fall."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from elusive.analysis.attribution import (
    LEAST_TOTAL,
    MEAN_ORDER,
    PATHS,
    STEPS,
    decompose,
    mean_path,
    path_of,
    write_attribution,
)
from elusive.analysis.correlations import METHODS, write_correlations
from elusive.analysis.statistics import NAN_POLICIES
from elusive.errors import ElusiveError
from elusive.tables import read_table, whole_schema, write_table
from score_tables import about, logprobs_table, random_run, write_family, write_items

CORRELATIONS = st.floats(-1, 1)


STEPS_OF = ("exponentiate", "renormalise", "threshold")


def path(correlations: np.ndarray, policy: str = "drop", steps: tuple[str, ...] = STEPS_OF):
    """A path through ``correlations`` [steps + 1, items]."""
    return path_of({"nan_policy": policy, "order": "exponentiate_first"}, steps[: len(correlations) - 1], correlations)


@settings(deadline=None, max_examples=50)
@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 14), st.integers(3, 4)), elements=CORRELATIONS))
def test_drops_add_up(correlations):
    found = decompose([path(correlations.T)], None)[0]
    assert found["drop"][:-1].sum() == pytest.approx(found["drop"][-1], abs=1e-12)
    assert found["drop"][-1] == pytest.approx((correlations[:, 0] - correlations[:, -1]).mean(), abs=1e-12)
    np.testing.assert_allclose(found["correlation_before"][1:-1], found["correlation_after"][:-2], atol=1e-15)
    np.testing.assert_array_equal(found["drop_undefined"], 0.0)
    if not np.isnan(found["share"][-1]):
        assert found["share"][-1] == 1 == pytest.approx(found["share"][:-1].sum(), abs=1e-9)


def test_intervals_cover_drops_and_shares_at_the_nominal_rate():
    generator = np.random.default_rng(5)
    # Falls of 0.5 and 0.2 on average, with noise that the two steps share.
    truth = {"drop": (0.5, 0.2, 0.7), "share": (0.5 / 0.7, 0.2 / 0.7, 1.0)}
    hits = {name: np.zeros(3) for name in truth}
    runs, items = 400, 120
    paths = []
    for _ in range(runs):
        first = 0.9 - 0.1 * generator.random(items)
        second = first - 0.5 + generator.normal(0, 0.2, items)
        third = second - 0.2 + generator.normal(0, 0.2, items)
        paths.append(path(np.stack([first, second, third])))
    for found in decompose(paths, None):
        for name, values in truth.items():
            hits[name] += (found[f"{name}_low"] <= np.array(values)) & (np.array(values) <= found[f"{name}_high"])
        assert found["costliest"][:2].tolist() == [1, 0]
    # 95 % of 400 within four standard deviations of a binomial; the total's share is 1 by definition.
    assert (np.abs(hits["drop"] / runs - 0.95) < 0.044).all(), hits["drop"] / runs
    assert (np.abs(hits["share"][:2] / runs - 0.95) < 0.044).all(), hits["share"] / runs
    assert hits["share"][2] == runs


def test_no_fall_has_no_shares():
    generator = np.random.default_rng(6)
    flat = generator.uniform(-0.5, 0.5, (3, 60))
    small = np.stack([0.5 + generator.normal(0, 0.01, 200) - 0.02 * k for k in range(3)])
    found, less, empty = (decompose([path(values)], None)[0] for values in (flat, small, np.full((3, 20), np.nan)))
    assert np.isnan(found["share"]).all() and np.isfinite(found["drop"]).all()
    assert less["drop_low"][-1] > 0 and less["drop"][-1] < LEAST_TOTAL
    assert np.isnan([less["share"], less["share_low"], less["costliest"]]).all(), "a share of next to nothing"
    assert set(empty.pop("interval_note")) == {"an interval needs 10 items with a value, here 0"}
    assert all(note.startswith("no share of a total below") for note in found["interval_note"])
    assert all(np.isnan(column).all() for name, column in empty.items())
    few = decompose([path(np.stack([np.full(8, 0.9), np.full(8, 0.2), np.linspace(0, 0.1, 8)]))], None)[0]
    assert np.isnan([few["drop_low"], few["share"]]).all(), "too few items for an interval, and so for a share"


def test_a_step_that_gains_is_not_the_costliest():
    generator = np.random.default_rng(9)
    first = generator.normal(0.1, 0.1, 150)
    up = first + 0.5 + generator.normal(0, 0.1, 150)
    found = decompose([path(np.stack([first, up, up - 0.4 + generator.normal(0, 0.1, 150)]))], None)[0]
    assert found["drop"][0] < 0 < found["drop"][1] and found["drop"][2] < 0
    assert found["costliest"][:2].tolist() == [0, 1]
    # Two steps that cost the same: neither is the costliest beyond doubt.
    second = first - 0.3 + generator.normal(0, 0.1, 150)
    found = decompose([path(np.stack([first, second, second - 0.3 + generator.normal(0, 0.1, 150)]))], None)[0]
    assert found["costliest"][:2].tolist() == [0, 0]


def test_undefined_correlations_are_told_apart():
    before = np.full(40, 0.8)
    after = np.r_[np.full(30, 0.5), np.full(10, np.nan)]
    zero, drop = (decompose([path(np.stack([before, before, after]), policy)], None)[0] for policy in ("zero", "drop"))
    assert zero["drop"][1] == pytest.approx(30 / 40 * 0.3 + 10 / 40 * 0.8)
    assert zero["drop_undefined"][1] == pytest.approx(10 / 40 * 0.8) == zero["drop_undefined"][2]
    assert drop["drop"][1] == pytest.approx(0.3) and drop["drop_undefined"][1] == 0


def test_the_mean_of_the_orders_is_shapleys_value():
    generator = np.random.default_rng(10)
    start, end, last = (generator.uniform(-1, 1, 80) for _ in range(3))
    paths = []
    for middle, steps in ((0.2, STEPS_OF), (-0.3, ("renormalise", "exponentiate", "threshold"))):
        levels = np.stack([start, start + middle + 0.1 * generator.normal(size=80), end, last])
        paths.append(path(levels, "drop", steps))
    first, second, mean = decompose([*paths, mean_path(paths)], None)
    # The value of a player: the mean over the orders of what it adds when it comes.
    assert mean["drop"][0] == pytest.approx((first["drop"][0] + second["drop"][1]) / 2, abs=1e-12)
    assert mean["drop"][1] == pytest.approx((first["drop"][1] + second["drop"][0]) / 2, abs=1e-12)
    np.testing.assert_allclose(mean["drop"][2:], first["drop"][2:], atol=1e-12)
    assert mean["drop"][:3].sum() == pytest.approx(mean["drop"][3], abs=1e-12)
    assert np.isnan([mean["correlation_after"][0], mean["correlation_before"][1]]).all()


def test_what_is_nothing_for_every_item_has_an_interval_of_nothing():
    levels = np.random.default_rng(11).uniform(-1, 1, (3, 50))
    found = decompose([path(np.stack([levels[0], levels[0], levels[1]]))], None)[0]
    assert [found[f"drop{end}"][0] for end in ("", "_low", "_high")] == [0, 0, 0]
    assert found["drop_low"][1] < found["drop_high"][1]


def test_a_share_without_an_interval_says_why():
    """One step makes the whole fall of every item, so that its share is 1 in every sample."""
    fall = 0.5 + np.random.default_rng(3).normal(0, 0.1, 60)
    (found,) = decompose([path(np.stack([np.full(60, 0.9), np.full(60, 0.9), np.full(60, 0.9), 0.9 - fall]))], None)
    missing = np.isnan(found["share_low"])
    assert missing.any() and np.isfinite(found["drop_low"]).all()
    assert [note is not None for note in found["interval_note"]] == missing.tolist()
    assert found["interval_note"][2] == "share: all values are equal: no interval of the mean"


def test_paths_do_not_depend_on_each_other():
    generator = np.random.default_rng(8)
    values = [generator.uniform(-1, 1, (4, 40)) for _ in range(3)]
    values[1][2, 5] = np.nan
    units = np.arange(40) // 4
    paths = [path(own) for own in values]
    together = decompose(paths, units)
    for own, found in zip(paths, together, strict=True):
        alone = decompose([own], units)[0]
        assert list(found.pop("interval_note")) == list(alone.pop("interval_note"))
        for name, column in alone.items():
            np.testing.assert_allclose(found[name], column, atol=1e-12, err_msg=name)
    left = np.delete(values[1], 5, axis=1)
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
    run = random_run(tmp_path)
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
        for order, steps in [*orders.items(), (MEAN_ORDER, orders["exponentiate_first"])]
        for policy in NAN_POLICIES
        for step in (*(name for name, _ in steps), "total")
    ]
    assert found.select("family", "benchmark", "method", "score", "order", "nan_policy", "step").rows() == keys
    assert set(found["step"]) == set(STEPS) and found.columns == whole_schema("attribution").names
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
    own = found.filter(family="a", method="pearson", score="accuracy", nan_policy="zero", step="renormalise")
    drops = dict(zip(own["order"], own["drop"], strict=True))
    assert drops[MEAN_ORDER] == pytest.approx((drops["exponentiate_first"] + drops["renormalise_first"]) / 2)
    assert own["drop_least"].unique().to_list() == [min(drops.values())]
    assert own["drop_most"].unique().to_list() == [max(drops.values())]
    # Ranks do not see an exponential: the order does not matter.
    ranks = found.filter(pl.col("method") != "pearson", step="renormalise")
    assert (ranks["drop_most"] - ranks["drop_least"]).abs().max() < 1e-12
    nothing = found.filter(pl.col("method") != "pearson", step="exponentiate")
    assert nothing["drop"].unique().to_list() == nothing["drop_high"].unique().to_list() == [0.0]


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
