"""Which checkpoints a scoring job takes."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elusive.configuration.jobs import SMALL_PARAMETERS, TOGETHER, checkpoints_per_job, scoring_jobs
from elusive.configuration.models import Checkpoint, Model


def model(name, count, source="ladder", parameters=1000):
    checkpoints = tuple(Checkpoint(name, f"step{i}", i + 1, 6.0) for i in range(count))
    return Model(name, source, parameters, None, checkpoints)


BATCHES = {"score": ("a", "b")}


@pytest.mark.parametrize(
    ("source", "parameters", "asked", "expected"),
    [
        ("ladder", 10**9, "auto", TOGETHER),
        ("local", SMALL_PARAMETERS, "auto", TOGETHER),
        ("local", SMALL_PARAMETERS + 1, "auto", 1),
        ("local", 10**10, 3, 3),
        ("ladder", 1000, 1, 1),
        ("hub", 1000, "auto", 1),
        ("hub", 1000, 7, 1),
    ],
)
def test_small_models_that_lie_here_are_scored_together(source, parameters, asked, expected):
    assert checkpoints_per_job(model("m", 6, source, parameters), asked) == expected


@given(
    st.lists(st.tuples(st.integers(1, 12), st.sampled_from(["ladder", "local", "hub"])), min_size=1, max_size=5),
    st.one_of(st.just("auto"), st.integers(1, 7)),
    st.integers(1, 3),
)
def test_every_checkpoint_has_one_job_for_each_batch(shapes, asked, num_batches):
    models = [model(f"m{i}", count, source) for i, (count, source) in enumerate(shapes)]
    batches = {f"score_{i + 1}": (f"b{i}",) for i in range(num_batches)}
    found = []
    for job in scoring_jobs(batches, models, asked).values():
        for name in job.models:
            every = [checkpoint.name for checkpoint in next(m for m in models if m.name == name).checkpoints]
            assert len(job.checkpoints) <= (TOGETHER if asked == "auto" else asked)
            found += [(name, checkpoint, job.benchmarks) for checkpoint in job.checkpoints or every]
    expected = [(m.name, c.name, each) for m in models for c in m.checkpoints for each in batches.values()]
    assert sorted(found) == sorted(expected)


def test_checkpoints_are_shared_out_evenly_and_models_that_agree_have_one_rule():
    jobs = scoring_jobs(BATCHES, [model("x", 8), model("y", 8), model("z", 8, "hub")], "auto")
    assert [dataclasses.astuple(job) for job in jobs.values()] == [
        ("score", ("a", "b"), ("z",), ()),
        ("together1_score", ("a", "b"), ("x", "y"), ("step0", "step1", "step2", "step3")),
        ("together2_score", ("a", "b"), ("x", "y"), ("step4", "step5", "step6", "step7")),
    ]
    assert list(scoring_jobs(BATCHES, [model("x", 3)], "auto")) == ["score", "together_score"]


def test_no_benchmark_has_the_name_of_a_rule_of_several_checkpoints():
    batches = {f"score_{name}": (name,) for name in ("together", "together_1", "a")}
    jobs = scoring_jobs(batches, [model("x", 12), model("y", 6)], "auto")
    assert len(jobs) == 3 + 3 * 2 and {job.rule for job in jobs.values()} == set(jobs)
