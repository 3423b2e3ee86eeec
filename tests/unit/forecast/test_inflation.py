"""Intervals from earlier errors: the rule, and that no error is used before it could be known."""

import math

import numpy as np
import polars as pl
import pytest
from scipy import integrate, stats

from elusive.forecast import inflation
from elusive.forecast.backtests import backtest_rows
from elusive.forecast.inflation import factor_of, normal_interval, quantile80, scale_of, widened, with_intervals
from known_truth import Truth, generate


@pytest.fixture(scope="module")
def rows():
    found = []
    for number, benchmark in enumerate("abcdef"):
        scores = generate(number, Truth(items=30))
        names = {"family": "f", "benchmark": benchmark, "subject": None}
        found += [names | row for row in backtest_rows(scores, "f", benchmark)]
    table = pl.DataFrame(found, infer_schema_length=None)
    return table.with_columns(pl.col("subject").cast(pl.String))


def test_the_quantile_holds_a_new_value_four_times_in_five():
    assert quantile80(np.arange(1, 31)) == 25  # ceil(0.8 * 31)
    assert quantile80(np.arange(1, 10)) == 8
    assert quantile80(np.array([1.0, 2.0, 3.0])) == math.inf
    generator = np.random.default_rng(0)
    inside = [generator.random() <= quantile80(generator.random(40)) for _ in range(4000)]
    assert np.mean(inside) == pytest.approx(0.8, abs=0.03)


def test_the_factor_widens_and_never_narrows():
    errors = stats.norm.ppf((np.arange(200) + 0.5) / 200)
    assert factor_of(errors, np.full(200, 1.0))[0] == pytest.approx(1, abs=0.02)
    assert factor_of(errors, np.full(200, 0.4))[0] == pytest.approx(2.5, abs=0.05)
    assert factor_of(errors, np.full(200, 3.0)) == (1.0, 200)
    assert factor_of(errors, np.full(200, 0.01)) == (5.0, 200)
    assert factor_of(errors[:29], np.full(29, 0.01)) == (1.0, 29)


def test_forecasts_without_spread_count_only_where_they_were_wrong():
    errors, spreads = np.r_[np.zeros(30), np.ones(40)], np.r_[np.zeros(30), np.ones(40)]
    assert factor_of(errors, spreads)[1] == 40
    wrong = np.r_[np.ones(20), np.zeros(20)]
    assert factor_of(np.r_[wrong, np.ones(40)], np.r_[np.zeros(40), np.ones(40)]) == (5.0, 60)


def test_the_scale_of_errors_grows_with_the_horizon():
    horizons = np.tile([0.1, 0.4, 1.0], 100)
    errors = 0.02 * np.sqrt(horizons + 0.1) * np.random.default_rng(1).standard_normal(300)
    scale, count = scale_of(errors, horizons)
    assert (scale, count) == (pytest.approx(0.02, rel=0.15), 300)
    assert scale_of(errors[:29], horizons[:29]) == (None, 29)


def test_normal_intervals_and_their_scores():
    found = normal_interval(0.5, 0.1, 0.62)
    assert found["low80"] == pytest.approx(stats.norm.ppf(0.1, 0.5, 0.1))
    assert found["high95"] == pytest.approx(stats.norm.ppf(0.975, 0.5, 0.1))
    assert found["pit"] == pytest.approx(stats.norm.cdf(1.2))

    def gap(value):
        return (stats.norm.cdf(value, 0.5, 0.1) - (value >= 0.62)) ** 2

    expected = integrate.quad(gap, -0.5, 0.62)[0] + integrate.quad(gap, 0.62, 1.5)[0]
    assert found["crps"] == pytest.approx(expected, rel=1e-6)
    sure = normal_interval(0.5, 0.0, 0.6)
    assert (sure["crps"], sure["pit"], sure["low95"]) == (pytest.approx(0.1), 1.0, 0.5)


def test_widened_intervals_keep_their_forecast():
    row = {"forecast": 0.4} | {f"{end}{level}": 0.4 + sign * 0.1 for level in (50, 80, 95)
                               for end, sign in (("low", -1), ("high", 1))}  # fmt: skip
    found = widened(row, 2.0)
    assert found["low80"] == pytest.approx(0.2) and found["high50"] == pytest.approx(0.6)


def test_every_row_says_where_its_interval_comes_from(rows):
    found = with_intervals(rows)
    assert (
        found.select(rows.columns)
        .drop("sd", "crps", "pit", *[c for c in rows.columns if c[:3] in ("low", "hig")])
        .equals(rows.drop("sd", "crps", "pit", *[c for c in rows.columns if c[:3] in ("low", "hig")]))
    )
    drawn = found.filter(pl.col("method") == "km")
    assert drawn["interval"].unique().to_list() == ["draws"]
    assert drawn["inflation"].is_between(1, 5).all()
    laws = found.filter(pl.col("method") == "linear")
    assert set(laws["interval"].unique()) == {"errors", "none"}
    assert laws["inflation"].is_null().all()
    assert (laws.filter(pl.col("interval") == "none")["num_inflation"] < 30).all()
    assert (laws.filter(pl.col("interval") == "errors")["num_inflation"] >= 30).all()
    assert laws.filter(pl.col("interval") == "errors")["crps"].is_not_null().all()
    assert laws.filter(pl.col("interval") == "none")["crps"].is_null().all()


@pytest.mark.parametrize("protocol", ["R", "S", "T"])
def test_no_interval_knows_what_came_later(rows, protocol):
    """What is observed at an origin's own targets, or later ones, changes no interval at that origin."""
    before = with_intervals(rows)
    own = rows.filter(pl.col("protocol") == protocol)
    columns = ["inflation", "num_inflation", "low80", "high80", "sd"]
    groups = own.select("origin", "num_models").unique(maintain_order=True).rows()
    assert len(groups) > 1
    for origin, count in groups:
        chosen = (pl.col("protocol") == protocol) & (pl.col("origin") == origin) & (pl.col("num_models") == count)
        targets = rows.filter(chosen)["checkpoint", "model"].unique().rows()
        is_target = pl.struct("checkpoint", "model").is_in([{"checkpoint": c, "model": m} for c, m in targets])
        later = is_target | (pl.col("flops").log10() > origin + 1e-6) if protocol == "R" else is_target
        changed = rows.with_columns(observed=pl.when(later).then(pl.col("observed") + 7).otherwise("observed"))
        after = with_intervals(changed)
        assert after.filter(chosen).select(columns).equals(before.filter(chosen).select(columns))


def test_later_origins_learn_from_earlier_errors(rows):
    worse = rows.with_columns(
        observed=pl.when(pl.col("method") == "km").then(pl.col("forecast") + 100 * pl.col("sd")).otherwise("observed")
    )
    found = with_intervals(worse).filter((pl.col("method") == "km") & (pl.col("protocol") == "R"))
    enough = found["num_inflation"] >= inflation.LEAST_ERRORS
    assert enough.any()
    assert (found.filter(enough)["inflation"] == 5).all()
    assert (found.filter(~enough)["inflation"] == 1).all()


def test_subjects_give_no_errors(rows):
    parts = pl.concat([rows, rows.with_columns(subject=pl.lit("one"), observed=pl.col("observed") + 50)])
    whole = with_intervals(parts).filter(pl.col("subject").is_null())
    assert whole.equals(with_intervals(rows))
