"""Summaries of backtests: means in the stated order, and intervals from clusters alone."""

import numpy as np
import polars as pl
import pytest

from elusive.forecast.backtests import backtest_rows
from elusive.forecast.inflation import with_intervals
from elusive.forecast.summaries import cells, coverage, summarise
from known_truth import NULL, Truth, generate


@pytest.fixture(scope="module")
def rows():
    found = []
    for number, benchmark in enumerate("abcde"):
        scores = generate(number, Truth(items=30) if number else NULL)
        names = {"family": "f", "benchmark": benchmark, "subject": None}
        found += [names | row for row in backtest_rows(scores, "f", benchmark)]
    table = pl.DataFrame(found, infer_schema_length=None).with_columns(pl.col("subject").cast(pl.String))
    return with_intervals(table)


@pytest.fixture(scope="module")
def summary(rows):
    return summarise(rows)


def one(table, **keys):
    chosen = table
    for key, value in keys.items():
        chosen = chosen.filter(pl.col(key).is_null() if value is None else pl.col(key) == value)
    (row,) = chosen.rows(named=True)
    return row


def test_errors_are_means_over_targets_then_origins(rows, summary):
    own = rows.filter((pl.col("benchmark") == "b") & (pl.col("protocol") == "R") & (pl.col("bin") == "x3"))
    own = own.filter((pl.col("metric") == "accuracy") & (pl.col("method") == "km"))
    per_origin = {}
    for row in own.iter_rows(named=True):
        per_origin.setdefault(row["origin"], []).append(abs(row["forecast"] - row["observed"]))
    expected = np.mean([np.mean(values) for values in per_origin.values()])
    found = one(summary, benchmark="b", protocol="R", bin="x3", metric="accuracy", method="km")
    assert found["mae"] == pytest.approx(expected)
    assert (found["num_origins"], found["num_targets"]) == (len(per_origin), len(own))
    last = one(summary, benchmark="b", protocol="R", bin="x3", metric="accuracy", method="last")
    assert found["skill"] == pytest.approx(1 - found["mae"] / last["mae"])
    assert found["minus_last"] == pytest.approx(found["mae"] - last["mae"])
    # Rows of one benchmark depend on each other: they give no interval.
    assert found["skill_low"] is None and found["minus_last_low"] is None
    assert found["num_clusters"] == 1


def test_all_benchmarks_are_the_mean_of_their_cells(rows, summary):
    table = cells(rows)
    for method in ("km", "last", "logit"):
        own = table.filter((pl.col("protocol") == "T") & pl.col("bin").is_null() & (pl.col("method") == method))
        own = own.filter(pl.col("metric") == "brier")
        found = one(summary, benchmark=None, protocol="T", bin=None, metric="brier", method=method)
        assert found["mae"] == pytest.approx(own["mae"].mean())
        assert found["bias"] == pytest.approx(own["bias"].mean())
        assert found["num_clusters"] == 5
        last = table.filter((pl.col("protocol") == "T") & pl.col("bin").is_null() & (pl.col("method") == "last"))
        pairs = own.join(last.filter(pl.col("metric") == "brier"), on="benchmark")
        assert found["wins"] == (pairs["mae"] < pairs["mae_right"]).sum()


def test_the_interval_is_that_of_drawing_benchmarks(summary, rows):
    table = cells(rows).filter((pl.col("protocol") == "R") & pl.col("bin").is_null() & (pl.col("metric") == "accuracy"))
    errors = {m: table.filter(pl.col("method") == m).sort("benchmark")["mae"].to_numpy() for m in ("km", "last")}
    difference = errors["km"] - errors["last"]
    generator = np.random.default_rng(1)
    drawn = difference[generator.integers(0, 5, (20_000, 5))].mean(axis=1)
    found = one(summary, benchmark=None, protocol="R", bin=None, metric="accuracy", method="km")
    assert [found["minus_last_low"], found["minus_last_high"]] == pytest.approx(
        np.quantile(drawn, [0.025, 0.975]), abs=6e-4
    )
    assert found["minus_last"] == pytest.approx(difference.mean())
    assert found["skill_low"] <= found["skill"] <= found["skill_high"]


def test_crps_is_compared_on_the_same_forecasts(rows, summary):
    own = rows.filter((pl.col("benchmark") == "c") & (pl.col("protocol") == "R") & (pl.col("metric") == "accuracy"))
    law = own.filter((pl.col("method") == "linear") & pl.col("crps").is_not_null())
    assert 0 < len(law) < len(own.filter(pl.col("method") == "linear"))
    keys = ["origin", "num_models", "model", "checkpoint"]
    both = law.join(own.filter(pl.col("method") == "km"), on=keys)
    expected = both.group_by("origin").agg(pl.col("crps_right").mean())["crps_right"].mean()
    found = one(summary, benchmark="c", protocol="R", bin=None, metric="accuracy", method="linear")
    assert found["crps_km"] == pytest.approx(expected)
    assert found["crps"] == pytest.approx(both.group_by("origin").agg(pl.col("crps").mean())["crps"].mean())


def test_a_perfect_method_has_skill_one_and_the_last_value_none(rows):
    perfect = rows.with_columns(forecast=pl.when(pl.col("method") == "km").then("observed").otherwise("forecast"))
    table = summarise(perfect)
    found = one(table, benchmark=None, protocol="R", bin=None, metric="accuracy", method="km")
    assert (found["skill"], found["skill_low"], found["mae"], found["wins"]) == (1, 1, 0, 5)
    found = one(table, benchmark=None, protocol="R", bin=None, metric="accuracy", method="last")
    assert (found["skill"], found["wins"]) == (0, 0)


def test_one_benchmark_alone_has_no_interval(rows):
    table = summarise(rows.filter(pl.col("benchmark") == "a"))
    found = one(table, benchmark=None, protocol="R", bin=None, metric="accuracy", method="km")
    assert found["num_clusters"] == 1
    assert found["skill_low"] is None and found["minus_last_low"] is None


def test_subjects_have_rows_and_are_no_clusters(rows):
    parts = pl.concat([rows, rows.filter(pl.col("benchmark") == "a").with_columns(subject=pl.lit("physics"))])
    table = summarise(parts)
    assert one(table, benchmark=None, protocol="R", bin=None, metric="accuracy", method="km")["num_clusters"] == 5
    subject = one(table, benchmark="a", subject="physics", protocol="R", bin=None, metric="accuracy", method="km")
    whole = one(table, benchmark="a", subject=None, protocol="R", bin=None, metric="accuracy", method="km")
    assert subject["mae"] == whole["mae"]


def test_coverage_by_movement(rows):
    table = coverage(rows)
    own = rows.filter((pl.col("protocol") == "R") & (pl.col("metric") == "accuracy") & (pl.col("method") == "km"))
    for group, chosen in (
        ("all", own),
        ("still", own.filter(pl.col("movement") < 5)),
        ("moving", own.filter(pl.col("movement") >= 5)),
    ):
        assert len(chosen)
        found = one(table, protocol="R", bin=None, metric="accuracy", method="km", group=group, level=0.8)
        inside = chosen["observed"].is_between(chosen["low80"], chosen["high80"])
        assert found["coverage"] == pytest.approx(inside.mean())
        assert found["num_targets"] == len(chosen)
        assert found["num_clusters"] == chosen["benchmark"].n_unique()
        half = chosen["inflation"] * (chosen["forecast"] - chosen["low80"])
        top = chosen["inflation"] * (chosen["high80"] - chosen["forecast"])
        wide = chosen["observed"].is_between(chosen["forecast"] - half, chosen["forecast"] + top)
        assert found["coverage_inflated"] == pytest.approx(wide.mean())
