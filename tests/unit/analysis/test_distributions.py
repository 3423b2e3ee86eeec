"""Intervals for other items, by independent references: dense matrices, root finding, scipy, and simulation."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import linalg, optimize, stats

from elusive.analysis.distributions import LEAST_CLUSTERS, LEAST_ITEMS, Sample, distribution_statistics

COVERAGE = Path(__file__).parents[2] / "benchmarks/coverage.py"
SIZES = [[4, 4, 4, 4, 4, 4], [1, 2, 3, 5, 9, 20], [1] * 11, [30, 2, 2, 2, 2, 2, 2]]


def dense(values: np.ndarray, sizes: list[int]) -> tuple[float, float]:
    """CR2 variance of a mean and its Satterthwaite degrees of freedom, from the matrices of Bell and McCaffrey."""
    n, codes = len(values), np.repeat(np.arange(len(sizes)), sizes)
    ones = np.ones((n, 1))
    residual_maker = np.eye(n) - ones @ ones.T / n
    residual = residual_maker @ values
    variance, columns = 0.0, []
    for g in range(len(sizes)):
        rows = np.flatnonzero(codes == g)
        adjust = linalg.fractional_matrix_power(residual_maker[np.ix_(rows, rows)], -0.5).real
        variance += (ones[rows].T @ adjust @ residual[rows]).item() ** 2 / n**2
        columns.append(residual_maker[:, rows] @ adjust @ ones[rows] / n)
    matrix = np.hstack(columns)
    spectrum = np.linalg.eigvalsh(matrix.T @ matrix)
    return variance, float(spectrum.sum() ** 2 / (spectrum**2).sum())


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_variance_and_freedom_are_those_of_bell_and_mccaffrey(sizes):
    values = np.random.default_rng(len(sizes)).normal(size=sum(sizes))
    codes = np.repeat(np.arange(len(sizes)), sizes)
    for clusters in (codes, None) if max(sizes) == 1 else (codes,):
        sample = Sample.of(values[:, None], clusters)
        variance, freedom = dense(values, sizes)
        assert sample.variance(sample.residual(sample.values))[0] == pytest.approx(variance, rel=1e-9)
        assert sample.freedom[0] == pytest.approx(freedom, rel=1e-9)


def test_equal_clusters_are_as_their_means():
    values = np.random.default_rng(1).normal(size=(12, 5)).mean(axis=1, keepdims=True) + np.zeros((12, 5))
    sample = Sample.of(values.reshape(-1, 1), np.repeat(np.arange(12), 5))
    assert sample.freedom[0] == pytest.approx(11)
    assert np.sqrt(sample.variance(sample.residual(sample.values)))[0] == pytest.approx(stats.sem(values[:, 0]))


@pytest.mark.parametrize("shape", [(1, 3), (3, 1), (2, 2)])
def test_mean_interval_solves_halls_transformation(shape):
    values = np.random.default_rng(2).beta(*shape, size=25)
    mean, low, high = (column[0] for column in Sample.of(values[:, None], None).mean_interval())
    n, skew = len(values), stats.skew(values, bias=False) / np.sqrt(len(values))

    def transformed(truth: float) -> float:
        t = (values.mean() - truth) / stats.sem(values)
        return t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / 6

    bound = stats.t.ppf(0.975, n - 1)
    assert mean == pytest.approx(values.mean())
    assert low == pytest.approx(optimize.brentq(lambda m: transformed(m) - bound, mean - 5, mean), abs=1e-9)
    assert high == pytest.approx(optimize.brentq(lambda m: transformed(m) + bound, mean, mean + 5), abs=1e-9)
    symmetric = np.r_[values, 2 * values.mean() - values]
    _, low, high = (column[0] for column in Sample.of(symmetric[:, None], None).mean_interval())
    expected = stats.t.interval(0.95, len(symmetric) - 1, symmetric.mean(), stats.sem(symmetric))
    assert (low, high) == pytest.approx(expected, abs=1e-9)


def test_shares_of_single_items_have_wilsons_interval():
    values = np.where(np.arange(40)[:, None] < [[0, 3, 20, 40, 1, 2]], 0.9, 0.1) + 1e-3 * np.arange(40)[:, None]
    found = distribution_statistics(values, None)
    for i, count in enumerate((0, 3, 20, 40, 1, 2)):
        expected = stats.binomtest(count, 40).proportion_ci(0.95, method="wilson")
        ends = found["fraction_above_075_low"][i], found["fraction_above_075_high"][i]
        assert ends[1] == pytest.approx(expected.high, abs=1e-12)
        low = stats.chi2.ppf(0.05, 2 * count) / 80 if 0 < count < 3 else expected.low
        assert ends[0] == pytest.approx(low, abs=1e-12)


def test_a_share_that_no_item_has_counts_its_clusters():
    values = np.random.default_rng(3).uniform(0, 0.5, (1000, 1))
    codes = np.repeat(np.arange(10), 100)
    high = distribution_statistics(values, codes)["fraction_above_075_high"][0]
    t = stats.t.ppf(0.975, 9)
    assert high == pytest.approx(t**2 / (10 + t**2))
    # What one item has tells hardly more of how it clusters: the interval is no narrower by an order.
    one = distribution_statistics(np.r_[[[0.9]], values[1:]], codes)["fraction_above_075_high"][0]
    assert high / 2 < one < high
    assert distribution_statistics(values, None)["fraction_above_075_high"][0] < 0.005
    # A large cluster among eleven is worth less than the others' number.
    codes = np.r_[np.zeros(300, int), 1 + np.arange(700) // 70]
    assert high < distribution_statistics(values, codes)["fraction_above_075_high"][0] < 0.6


def test_where_there_are_too_few_a_note_says_so():
    values = np.random.default_rng(4).uniform(-1, 1, (60, 4))
    values[LEAST_ITEMS - 1 :, 1] = np.nan
    values[:, 2] = 0.1 + 0.2
    values[30:, 3] = np.nan
    alone = distribution_statistics(values, None)
    assert alone["note"].tolist() == [
        None,
        "an interval needs 10 items with a value, here 9",
        "all values are equal: no interval of the mean",
        None,
    ]
    assert np.isnan(alone["median_low"]).tolist() == [False, True, False, False]
    assert np.isnan(alone["mean_high"]).tolist() == [False, True, True, False]
    codes = np.repeat(np.arange(LEAST_CLUSTERS), 10)
    clustered = distribution_statistics(values, codes)
    assert clustered["note"].tolist()[::3] == [None, "an interval needs 6 clusters of items, here 3"]
    assert np.isnan(clustered["iqr_high"]).tolist() == [False, True, False, True]
    few = distribution_statistics(values, codes // 2)
    assert few["note"][0] == "an interval needs 6 clusters of items, here 3"
    assert np.isnan([few[name] for name in few if name.endswith(("_low", "_high"))]).all()


def test_unequal_clusters_that_are_worth_too_few_have_no_interval():
    values = np.random.default_rng(6).uniform(-1, 1, (60, 1))
    for sizes, note in (
        ([25, 7, 7, 7, 7, 7], "an interval needs clusters worth 5 of one size, here 6 unequal ones are worth 4.1"),
        ([15, 9, 9, 9, 9, 9], None),
    ):
        found = distribution_statistics(values, np.repeat(np.arange(6), sizes))
        assert found["note"][0] == note
        ends = [found[name][0] for name in found if name.endswith(("_low", "_high"))]
        assert np.isnan(ends).all() if note else np.isfinite(ends).all()


def test_a_spread_that_one_cluster_makes_has_no_interval_of_the_mean():
    codes = np.repeat(np.arange(20), 5)
    noise = 1e-3 * np.random.default_rng(7).normal(size=100)
    values = np.stack([0.2 + 0.7 * (codes < k) + noise for k in (1, 2)] + [np.tile([0.1, 0.2, 0.3, 0.4, 0.5], 20)]).T
    found = distribution_statistics(values, codes)
    assert found["note"].tolist() == [
        "one cluster of items makes nearly all the spread: no interval of the mean",
        None,
        "the clusters' means are equal: no interval of the mean",
    ]
    assert np.isnan(found["mean_low"][:2]).tolist() == [True, False]
    assert np.isfinite(found["median_low"]).all()
    assert distribution_statistics(values[:, :1], None)["note"][0] is None


@pytest.mark.parametrize("skew", [1, -1])
def test_no_end_of_clusters_is_nearer_than_students(skew):
    generator = np.random.default_rng(8)
    values = 0.1 * skew * generator.exponential(size=(12, 300)).repeat(4, axis=0)
    sample = Sample.of(values, np.arange(12).repeat(4))
    mean, low, high = sample.mean_interval()
    reach = stats.t.ppf(0.975, 11) * stats.sem(values[::4], axis=0)
    known = np.isfinite(low)
    below, above = ((side / reach)[known] for side in (mean - low, high - mean))
    assert known.mean() > 0.9 and min(below.min(), above.min()) >= 1 - 1e-9
    assert ((above, below)[skew < 0] > 1.1).mean() > 0.8


@pytest.fixture(scope="module")
def coverage():
    spec = importlib.util.spec_from_file_location("coverage_of_intervals", COVERAGE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["coverage_of_intervals"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["coverage_of_intervals"]


def test_cases_name_what_they_are(coverage):
    names = [case.name for case in coverage.cases()]
    assert len(set(names)) == len(names) > 60
    assert len(coverage.MMLU) == 57 and sum(coverage.MMLU) == 14_042


#: Case -> statistic -> least and most share of 1,000 intervals that hold the truth (standard error 0.7 points).
EXPECTED = {
    "20 items, skewed": {"mean": (0.93, 0.98), "median": (0.94, 1), "fraction_below_0": (0.92, 0.99)},
    "40 items, 6 checkpoints": {"mean": (0.93, 0.98), "iqr": (0.95, 1)},
    "300 items, 4 checkpoints": {"mean": (0.93, 0.98), "iqr": (0.95, 1)},
    "6 clusters of 20, skewed, 0.3 alike": {"mean": (0.93, 0.97)},
    "12 clusters of 5 to 300, 0.1 alike": {"mean": (0.93, 0.975), "median": (0.93, 0.99), "q25": (0.93, 0.99)},
    "12 clusters of 5 to 300, skewed, 0.3 alike": {"mean": (0.93, 0.98)},
    "20 clusters of 5 to 300, 0.5 alike": {
        "mean": (0.93, 0.97),
        "median": (0.93, 0.99),
        "fraction_above_075": (0.94, 1),
    },
    "a tenth of 20 clusters of 5 to 300, 1 alike": {"mean": (0.93, 0.975), "fraction_above_075": (0.93, 1)},
    "MMLU's sizes / 50, 0.5 alike": {"mean": (0.92, 0.97), "fraction_below_0": (0.93, 0.99)},
    "a tenth of 10 clusters of 100, 1 alike": {"fraction_above_075": (0.95, 1)},
}


@pytest.mark.parametrize("name", EXPECTED)
def test_intervals_cover(coverage, name):
    case = next(case for case in coverage.cases() if case.name == name)
    found = coverage.coverage(case, 1000, seed=5)
    for statistic, (least, most) in EXPECTED[name].items():
        covered, given = found[statistic]
        # Whole clusters of 0.9 or 0.2: of three samples one has at most one cluster of 0.9, or a mean with no interval.
        assert given > (0.5 if "1 alike" in name and statistic == "mean" else 0.98)
        assert least < covered <= most, (statistic, covered)


@pytest.mark.parametrize(
    "name", ["3 clusters of 50, 0.1 alike", "8 clusters of 5 to 300, 0 alike", "3 items, skewed", "5 items, skewed"]
)
def test_too_few_items_or_clusters_have_no_interval(coverage, name):
    case = next(case for case in coverage.cases() if case.name == name)
    assert {given for _, given in coverage.coverage(case, 20).values()} == {0.0}


def test_coverage_prints_a_table(coverage, capsys):
    coverage.main(["--replicates", "50", "--cases", "10 items, skewed", "3 clusters of 50, 0 alike"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["case", "mean"]
    assert [line[:30].strip() for line in lines[1:]] == ["10 items, skewed", "3 clusters of 50, 0 alike"]
    assert lines[2].count("none") == 7
