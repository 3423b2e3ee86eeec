"""Quantiles of correlations: steps stay steps, and the curve drawn from them is the empirical one."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elusive.report.curves import LEVELS, SCALE, SERIES, chance_curves, quantiles, read_curves
from elusive.report.drawings import survival_points
from synthetic_run import SyntheticRun


@pytest.fixture(scope="module")
def run(shared_run: Callable[..., SyntheticRun]) -> SyntheticRun:
    return shared_run(40, ("arc_easy", "sciq"), forecasts=True)


@given(st.lists(st.integers(-10, 10), min_size=1, max_size=300))
def test_quantiles_are_the_inverse_of_the_distribution_function(numbers: list[int]) -> None:
    values = np.array(numbers) / 10
    found = np.array(quantiles(values)) / SCALE
    # The share of items at each value or below, as a fraction: in floating point 56 / 200 of 25 items are more than 7.
    shares = {value: Fraction(int((values <= value).sum()), len(values)) for value in np.unique(values)}
    levels = [Fraction(level, LEVELS - 1) for level in range(LEVELS)]
    expected = [min(value for value, share in shares.items() if share >= level) for level in levels]
    np.testing.assert_allclose(found, expected, atol=1e-9)


@given(st.lists(st.integers(-10, 10), min_size=1, max_size=200))
def test_the_curve_is_the_share_above_every_value(numbers: list[int]) -> None:
    values = np.array(numbers) / 10
    points = survival_points(quantiles(values))
    assert points[0] == (-1.0, 1.0) and points[-1][0] == 1.0
    assert all(a[0] <= b[0] and a[1] >= b[1] for a, b in itertools.pairwise(points))
    for c in np.arange(-1.05, 1.0, 0.1):
        drawn = [above for at, above in points if at <= c]
        # Quantiles at 201 levels know shares to half a percent.
        assert (drawn[-1] if drawn else 1.0) == pytest.approx(float((values > c).mean()), abs=0.0051)


def test_undefined_correlations_are_left_out_and_none_is_none() -> None:
    assert quantiles(np.array([np.nan, np.nan])) is None
    assert quantiles(np.array([0.5, np.nan])) == [5000] * LEVELS


def test_curves_are_of_the_correlations_table(run: SyntheticRun) -> None:
    path = run.root / "correlations/ladder/sciq.parquet"
    found = read_curves(path)
    table = pl.read_parquet(path)
    assert found["num_items"] == 40 and found["num_models"] == 35 and len(found["curves"]) == len(SERIES) == 13
    for (method, metric), curve, undefined in zip(SERIES, found["curves"], found["undefined"], strict=True):
        values = table.filter(method=method, metric=metric)["correlation"]
        assert undefined == values.null_count()
        assert curve[0] == round(values.min() * SCALE) and curve[-1] == round(values.max() * SCALE)


def test_chance_is_of_the_null_curves_table(run: SyntheticRun) -> None:
    table = pl.read_parquet(run.table("null_curves"))
    found = chance_curves(table.to_pandas(), "ladder-sizes")
    assert (
        set(found) == {"pearson", "spearman", "kendall"} and found["spearman"]["step"] and not found["pearson"]["step"]
    )
    own = table.filter(family="ladder-sizes", method="spearman")
    np.testing.assert_allclose(np.array(found["spearman"]["c"]) / SCALE, own["correlation"], atol=1e-4)
    np.testing.assert_allclose(np.array(found["spearman"]["above"]) / SCALE, own["survival"], atol=1e-4)
    assert chance_curves(table.to_pandas(), "no such family") == {}
