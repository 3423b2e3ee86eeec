"""Laws of right choices, wrong ones and margins: their slopes, and intervals that hold the truth."""

import numpy as np
import pytest

from elusive.forecast.choice_laws import QUANTITIES, laws_of
from known_truth import Truth, generate


def test_slopes_are_least_squares_on_the_selected_checkpoints():
    scores = generate(0)
    laws, means = laws_of(scores, "f", "b")
    assert [law["quantity"] for law in laws] == list(QUANTITIES)
    chosen = [row for row in means if row["quantity"] == "right" and row["selected"]]
    design = np.array([[1, np.log10(row["parameters"]), np.log10(row["tokens"])] for row in chosen])
    beta, *_ = np.linalg.lstsq(design, np.array([row["mean"] for row in chosen]))
    right = laws[0]
    assert (right["slope_n"], right["slope_d"]) == (pytest.approx(beta[1]), pytest.approx(beta[2]))
    assert right["num_models"] == len(chosen)
    assert [row["fitted"] for row in chosen] == pytest.approx((design @ beta).tolist())
    for law in laws:
        assert law["slope_n_low"] < law["slope_n"] < law["slope_n_high"]
        assert law["status"] == "" and law["both_axes"]


def test_right_minus_wrong_is_the_margin():
    scores = generate(1)
    laws, means = laws_of(scores, "f", "b")
    by = {law["quantity"]: law for law in laws}
    assert by["margin"]["slope_n"] == pytest.approx(by["right"]["slope_n"] - by["wrong"]["slope_n"])
    values = {(row["quantity"], row["model"], row["checkpoint"]): row["mean"] for row in means}
    for (quantity, *key), value in values.items():
        if quantity == "margin":
            assert value == pytest.approx(values["right", *key] - values["wrong", *key])
    assert by["margin"]["movement"] > 0 and by["right"]["movement"] is None


def test_intervals_hold_the_slope_of_the_margins():
    """Scales of items multiply the path: the mean margin's slope is the path's times the mean scale."""
    inside = []
    for seed in range(60):
        truth = Truth(items=100)
        law = laws_of(generate(seed, truth), "f", "b")[0][2]
        scale = np.exp(0.5**2 / 2)
        for axis, slope in (("n", truth.slope_n), ("d", truth.slope_d)):
            inside.append(law[f"slope_{axis}_low"] <= slope * scale <= law[f"slope_{axis}_high"])
    assert 0.85 <= np.mean(inside) <= 1


def test_one_axis_has_one_slope():
    scores = generate(2)
    one = scores.of_checkpoints(np.flatnonzero(scores.parameters == scores.parameters.max()))
    laws, _ = laws_of(one, "f", "b")
    for law in laws:
        assert not law["both_axes"]
        assert law["slope_n"] is not None and law["slope_d"] is None and law["length_d"] is None


def test_too_few_checkpoints_have_means_and_no_law():
    laws, means = laws_of(generate(3).of_checkpoints(np.arange(2)), "f", "b")
    assert all(law["slope_n"] is None and law["c"] is None for law in laws)
    assert all(law["status"].startswith("2 checkpoints are too few") for law in laws)
    assert len(means) == 6 and all(row["fitted"] is None for row in means)
