"""How long a run will take, against runs that are played through job by job."""

from __future__ import annotations

import heapq

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elusive.plan.duration import Expected, Remaining, expected_seconds, slowness, tell, worded


def play(jobs: dict, cores: int, factor: float = 1.0, until: float = float("inf"), seen: Remaining | None = None):
    """Run jobs as they get ready, in their order; when all are over, or what runs at ``until``."""
    now, free, over, running = 0.0, cores, set(), []
    waiting = list(jobs)
    while waiting or running:
        for name in list(waiting):
            job = jobs[name]
            if set(job.waits) <= over and job.threads <= free:
                waiting.remove(name)
                free -= job.threads
                heapq.heappush(running, (now + factor * job.seconds, name))
        if seen:
            seen.see({name for _, name in running}, over.__contains__, now)
        if running[0][0] > until:
            return {name for _, name in running}
        now, name = heapq.heappop(running)
        free += jobs[name].threads
        over.add(name)
    return now


CHAIN = {
    "corpus": Expected("corpus", 10),
    "small": Expected("train", 20, waits=("corpus",)),
    "large": Expected("train", 60, waits=("corpus",)),
    "scores": Expected("score", 30, waits=("small", "large")),
}


def test_the_longest_chain_or_the_work_by_cores():
    assert Remaining(CHAIN, 4).seconds(0) == 100
    assert Remaining(CHAIN, 1).seconds(0) == 120
    assert Remaining({i: Expected("x", 10) for i in range(10)}, 2).seconds(0) == 50
    assert Remaining({i: Expected("x", 10, threads=8) for i in range(3)}, 4).seconds(0) == 30


@given(
    seconds=st.lists(st.integers(1, 60), min_size=1, max_size=12),
    cores=st.integers(1, 4),
    factor=st.sampled_from([0.5, 1.0, 3.0]),
)
def test_what_is_expected_is_what_a_run_takes(seconds, cores, factor):
    jobs = {i: Expected("x", float(s), waits=(i - 1,) if i % 3 == 1 else ()) for i, s in enumerate(seconds)}
    expected = Remaining(jobs, cores, factor).seconds(0.0)
    took = play(jobs, cores, factor)
    # No schedule is faster, and whoever starts what is ready is never twice as slow (Graham 1966).
    assert expected <= took + 1e-6 <= 2 * expected + 1e-5


def test_a_factor_is_learnt_from_jobs_that_are_over():
    jobs = {i: Expected("train", 10.0) for i in range(6)} | {"figure": Expected("figures", 5.0, waits=tuple(range(6)))}
    remaining = Remaining(jobs, 2)
    running = play(jobs, 2, factor=3.0, until=60.0, seen=remaining)
    assert running == {4, 5} and list(remaining.timed) == ["train"]
    # Two take 30 s from the 60th on, and the figure is as much slower as everything so far.
    assert remaining.seconds(60.0) == pytest.approx(30 + 15)
    assert remaining.seconds(80.0) == pytest.approx(10 + 15)
    # Whoever takes longer than was expected is about to end.
    assert remaining.seconds(500.0) == pytest.approx(15)
    remaining.see(set(), lambda job: True, 500.0)
    assert remaining.seconds(500.0) == pytest.approx(5 * (120 + 440 * 2) / 60), "what has not begun is left"


def test_a_job_that_has_failed_says_nothing_of_its_kind():
    jobs = {i: Expected("train", 100.0) for i in range(3)}
    remaining = Remaining(jobs, 1)
    remaining.see({0}, lambda job: False, 0.0)
    remaining.see(set(), lambda job: False, 1.0)
    remaining.see(set(), lambda job: False, 2.0)
    assert not remaining.timed and remaining.seconds(2.0) == 300
    # It is tried again, and then seen at its end a moment before Snakemake says so.
    remaining.see({0}, lambda job: False, 10.0)
    remaining.see(set(), lambda job: False, 60.0)
    remaining.see({1}, lambda job: job == 0, 61.0)
    assert remaining.seconds(61.0) == pytest.approx(2 * 50)
    # One that nobody saw at work is done nevertheless.
    assert remaining.seconds(61.0, {2}.__contains__) == pytest.approx(50)


def test_a_chain_longer_than_pythons_stack():
    jobs = {i: Expected("x", 1.0, waits=(i - 1,) if i else ()) for i in range(5000)}
    assert Remaining(jobs, 8).seconds(0.0) == 5000


def test_jobs_that_are_not_needed_are_waited_for_by_nobody():
    assert Remaining({"b": Expected("x", 3.0, waits=("done before",))}, 1).seconds(0.0) == 3


def test_more_flops_take_longer():
    assert expected_seconds("train", 4e12) - expected_seconds("train", 2e12) == pytest.approx(100)
    assert expected_seconds("score", 0.0) > 0 and expected_seconds("a rule of tomorrow") > 0
    assert 0.01 < slowness() < 100


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3, "10 seconds"),
        (44, "40 seconds"),
        (58, "1 minute"),
        (89, "1 minute"),
        (600, "10 minutes"),
        (5399, "1.5 hours"),
        (40_000, "11 hours"),
    ],
)
def test_times_in_words(seconds, words):
    assert worded(seconds) == words


def follow(jobs: dict, steps: list[set], **how) -> list[str]:
    """What is said of a run whose running jobs are those of ``steps``, one after the other, and of none at the end."""
    said, left, over = [], list(steps), set()

    def running():
        now = left.pop(0) if left else set()
        over.update(*[step - now for step in steps[: len(steps) - len(left)]])
        return now

    thread = tell(Remaining(jobs, 1), running, over.__contains__, said.append, every=0.02, poll=0.005, **how)
    thread.join(30)
    assert not thread.is_alive()
    return said


def test_it_is_said_before_and_in_between():
    jobs = {"a": Expected("x", 600.0), "b": Expected("y", 60.0, waits=("a",))}
    first, *others = follow(jobs, [{"a"}] * 20 + [{"b"}] * 20)
    assert first == "This run is expected to take about 11 minutes."
    assert others and all(text.startswith("About ") and " left, after 10 seconds." in text for text in others)


def test_nothing_is_said_of_what_is_not_known():
    jobs = {"a": Expected("score", 600.0), "b": Expected("y", 60.0, waits=("a",))}
    steps = [{"a"}] * 20 + [{"b"}] * 40
    assert not any("expected" in text for text in follow(jobs, steps, unsure=["score"]))
    assert follow(jobs, steps, unsure=["score"]), "once a job has shown it"
    assert follow({"a": Expected("y", 600.0)}, [{"a"}] * 5, unsure=["y"]) == []
    assert not any("expected" in text for text in follow({"a": Expected("x", 0.001)}, [{"a"}] * 3))


def test_nothing_is_said_once_a_job_has_failed():
    jobs = {"a": Expected("x", 600.0), "b": Expected("y", 60.0, waits=("a",))}
    failed: list[str] = []
    said = []

    def running():
        if len(said) > 2:
            failed.append("a")
        return {"a"} if not failed else set()

    thread = tell(
        Remaining(jobs, 1),
        running,
        lambda job: False,
        said.append,
        is_ending=lambda: bool(failed),
        every=0.02,
        poll=0.005,
    )
    thread.join(30)
    assert not thread.is_alive() and len(said) == 3
