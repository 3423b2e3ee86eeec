"""Scores of a family: read from logprobs tables, and the same metrics as the analysis makes of them."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from elusive.analysis.metrics import choice_metrics
from elusive.errors import ElusiveError
from elusive.forecast.scores import METRICS, by_subject, read_scores, shares
from elusive.tables import read_table, write_table
from score_tables import about, logprobs_table, members, random_run, write_family, write_items


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    run = random_run(folder, subjects=True)
    write_family(run["logprobs"], run["items"], folder / "metrics.parquet")
    return run | {"metrics": folder / "metrics.parquet", "members": members(run["logprobs"])}


def read(run):
    return read_scores(logprobs=run["logprobs"], items=run["items"], members=run["members"])


def test_the_metrics_are_those_of_the_analysis(run):
    scores = read(run)
    table = pl.from_arrow(read_table(run["metrics"], "metrics")).filter(pl.col("flops") > 0)
    for name, values in scores.metrics().items():
        for row, (model, checkpoint) in enumerate(zip(scores.models, scores.checkpoints, strict=True)):
            own = table.filter((pl.col("model") == model) & (pl.col("checkpoint") == checkpoint))
            expected = dict(zip(own["item"], own[name], strict=True))
            assert values[row] == pytest.approx([expected[item] for item in scores.items], rel=1e-12, abs=1e-15), name


def test_checkpoints_come_in_order_of_compute_without_those_of_none(run):
    scores = read(run)
    assert (np.diff(scores.flops) >= 0).all()
    assert len(scores.models) == sum(member["flops"] > 0 for member in run["members"])
    assert scores.flops == pytest.approx(6 * scores.parameters * scores.tokens)
    assert list(scores.items) == sorted(scores.items)


def test_items_of_different_numbers_of_choices_are_masked(run):
    scores = read(run)
    counts = dict(
        zip(*(read_table(run["items"], "items")[c].to_pylist() for c in ("item", "num_choices")), strict=True)
    )
    assert scores.num_choices.tolist() == [counts[item] for item in scores.items]
    assert len(set(counts.values())) > 1
    assert scores.chance == pytest.approx(np.mean([1 / k for k in counts.values()]))


def test_ties_go_to_the_first_choice(tmp_path):
    gold = [0, 1, 1]
    table = logprobs_table(gold, [[-1.0, -1.0], [-1.0, -1.0], [-2.0, -1.0, -1.0]])
    write_table(table, tmp_path / "a.parquet", "logprobs", about("m", "c", 10, 10))
    items = write_items(tmp_path / "items.parquet", gold, [2, 2, 3])
    scores = read_scores(logprobs=[tmp_path / "a.parquet"], items=items, members=members([tmp_path / "a.parquet"]))
    assert scores.metrics()["accuracy"].tolist() == [[1.0, 0.0, 1.0]]


@given(hnp.arrays(float, (5, 4), elements=st.floats(-900, 0)), hnp.arrays(int, 5, elements=st.integers(0, 3)))
def test_shares_of_margins_are_the_paper_s_metrics(log_likelihood, gold):
    expected = choice_metrics(log_likelihood, np.ones((5, 4)), gold, np.full(5, 4))
    rows = np.arange(5)
    wrong = np.array([[k for k in range(4) if k != g] for g in gold])
    margins = log_likelihood[rows, gold][:, None] - log_likelihood[rows[:, None], wrong]
    p_right, brier = shares(margins, np.ones((5, 3), bool), np.full(5, 4))
    assert p_right == pytest.approx(expected["p_choices_correct"], rel=1e-9, abs=1e-300)
    assert brier == pytest.approx(expected["brier"], rel=1e-9, abs=1e-300)


def test_subjects_are_parts_of_the_whole(run):
    scores = read(run)
    parts = by_subject(scores)
    assert sorted(item for part in parts.values() for item in part.items) == list(scores.items)
    whole = scores.metrics()
    for name, part in parts.items():
        rows = [i for i, subject in enumerate(scores.subjects) if subject == name]
        for metric in METRICS:
            assert part.metrics()[metric] == pytest.approx(whole[metric][:, rows], rel=1e-12)


def test_a_member_without_a_table_is_named(run):
    with pytest.raises(ElusiveError, match=r"quiz.parquet: no log-likelihoods of model1/step5 on its items"):
        read_scores(logprobs=run["logprobs"][:-1], items=run["items"], members=run["members"])


def test_a_family_of_untrained_checkpoints_is_refused(run):
    untrained = [member for member in run["members"] if member["flops"] == 0]
    with pytest.raises(ElusiveError, match="no checkpoint of the family has any training compute"):
        read_scores(logprobs=run["logprobs"], items=run["items"], members=untrained)
