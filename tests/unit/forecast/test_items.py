"""Probabilities of single items: rivals by hand, calibration of the method on a known truth, and the table."""

import numpy as np
import polars as pl
import pytest

from elusive.forecast.backtests import judge, origins
from elusive.forecast.items import reliability, reliability_table, rivals
from elusive.forecast.names import ITEM_METHODS
from known_truth import Truth, generate, of_margins


def right_or_wrong(rows):
    """Scores of checkpoints whose items are right (1) or wrong (0) as given."""
    values = np.where(np.array(rows)[:, :, None] == 1, 1.0, -1.0)
    count = len(rows)
    parameters, tokens = np.full(count, 1e6), np.geomspace(1e8, 1e9, count)
    return of_margins(values, parameters, tokens, 6 * parameters * tokens)


def test_rivals_by_hand():
    scores = right_or_wrong([[0, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 0, 1, 0, 0]])
    found = rivals(scores)
    assert found["last"].tolist() == [1, 0, 1, 0, 0]
    assert found["last3"] == pytest.approx([1, 2 / 3, 2 / 3, 0, 0])
    # Of three that were right, two stayed; of two wrong ones none came.
    assert found["transitions"] == pytest.approx([3 / 5, 1 / 4, 3 / 5, 1 / 4, 1 / 4])
    assert found["p_choices"] == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))] * 2 + [1 / (1 + np.exp(1))])


def judged_rows(seeds):
    found = []
    for seed in seeds:
        scores = generate(seed, Truth(items=150))
        for origin in origins(scores):
            if origin.protocol == "S":
                names = {"family": "f", "benchmark": "b"}
                found += [names | row for row in reliability(judge(scores, origin, "f", str(seed)))]
    return found


def test_probabilities_are_calibrated_and_beat_their_rivals():
    table = reliability_table(judged_rows(range(12)))
    own = table.filter(pl.col("method") == "km")
    assert own["num_items"].sum() == 12 * 2 * 150
    full = own.filter(pl.col("num_items") > 60)
    assert len(full) >= 8
    assert (full["forecast"] - full["observed"]).abs().max() < 0.15
    brier = {
        method: (part["brier"] * part["num_items"]).sum() / part["num_items"].sum()
        for (method,), part in table.partition_by("method", as_dict=True).items()
    }
    assert set(brier) == set(ITEM_METHODS)
    assert all(brier["km"] < brier[other] for other in ITEM_METHODS[1:])


def test_the_table_averages_over_origins():
    rows = [
        {"protocol": "S", "method": "km", "bin": 3, "num_items": n, "forecast": f, "observed": o, "brier": b}
        for n, f, o, b in ((4, 1.4, 1.0, 0.9), (6, 2.0, 3.0, 1.1))
    ]
    (row,) = reliability_table([{"family": "f", "benchmark": "b"} | row for row in rows]).rows(named=True)
    assert (row["num_items"], row["forecast"], row["observed"], row["brier"]) == (
        10, pytest.approx(0.34), pytest.approx(0.4), pytest.approx(0.2)
    )  # fmt: skip


def test_bins_hold_their_probabilities():
    table = reliability_table(judged_rows([0]))
    for row in table.rows(named=True):
        assert row["bin"] / 10 - 1e-6 <= row["forecast"] <= (row["bin"] + 1) / 10 + 1e-6


def test_without_a_law_there_are_no_probabilities():
    scores = right_or_wrong([[0, 1, 0]] * 2 + [[1, 1, 0]] * 2)
    few = scores.of_checkpoints(np.arange(4))
    origin = origins(few)[0]
    cut = type(origin)("R", origin.compute, origin.training[:2], origin.targets)
    assert reliability(judge(few, cut, "f", "b")) == []
