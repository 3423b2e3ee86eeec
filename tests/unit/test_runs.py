"""A run as its jobs and the next run see it. The processes are real ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

import elusive
from elusive import runs
from elusive.errors import ElusiveError
from elusive.hub.download import wait_for_scoring
from elusive.runs import Owner, Watch, follow, release_locks

#: A run that holds a lock, starts a job of a minute, and waits.
RUN = """
import os, subprocess, sys, time
from pathlib import Path
from elusive import runs
home, local, job = Path(sys.argv[1]), sys.argv[2] == "local", sys.argv[3] == "job"
lock = home / "locks" / "0.output.lock"
lock.parent.mkdir(parents=True)
lock.write_text("results/x\\n")
state = {"ending": False, "pending": None}
runs.follow(home, lambda: [str(lock)], lambda: (home / "fail").exists(), lambda: 3, local, poll=0.01)
child = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL) if job else None
print(os.environ[runs.VARIABLE], child.pid if child else 0, flush=True)
time.sleep(60)
"""


class Started:
    """A run in a process of its own."""

    def __init__(self, home: Path, local: bool = True, job: bool = False) -> None:
        environment = {**os.environ, "PYTHONPATH": str(Path(elusive.__file__).parents[1])}
        arguments = [str(home), "local" if local else "cluster", "job" if job else "none"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, *arguments], env=environment, text=True, stdout=subprocess.PIPE
        )
        record, child = self.process.stdout.readline().split()
        self.record, self.child = Path(record), int(child)
        self.lock = home / "locks" / "0.output.lock"
        until(lambda: json.loads(self.record.read_text())["locks"])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def end_child(self) -> None:
        os.kill(self.child, signal.SIGKILL)
        until(lambda: not runs._started(self.child))


def until(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def started(tmp_path, monkeypatch):
    monkeypatch.delenv(runs.VARIABLE, raising=False)
    made: list[Started] = []

    def start(**options) -> Started:
        made.append(Started(tmp_path / "home", **options))
        return made[-1]

    yield start
    for run in made:
        run.kill()
        if run.child and runs._started(run.child):
            run.end_child()


def test_the_lock_of_a_killed_run_is_removed(started, tmp_path):
    run = started()
    assert release_locks(tmp_path / "home") == [] and run.lock.exists(), "it goes on"
    run.kill()
    (said,) = release_locks(tmp_path / "home")
    assert said == f"the run of process {run.process.pid}, which was killed, has left its lock behind, which is removed"
    assert not run.lock.exists() and not run.record.exists()
    assert release_locks(tmp_path / "home") == []


def test_the_lock_stays_while_a_job_is_at_work(started, tmp_path):
    run = started(job=True)
    run.kill()
    (said,) = release_locks(tmp_path / "home")
    assert f"has left jobs at work (process {run.child}): its lock is left as it is; wait for them" in said
    assert run.lock.exists()
    run.end_child()
    assert "which is removed" in release_locks(tmp_path / "home")[0]
    assert not run.lock.exists()


def test_the_lock_stays_where_jobs_were_elsewhere(started, tmp_path):
    run = started(local=False)
    run.kill()
    (said,) = release_locks(tmp_path / "home")
    assert "had jobs on other machines: its lock is left as it is, see --unlock" in said
    assert run.lock.exists()


def test_a_lock_that_is_not_the_runs_stays(started, tmp_path):
    run = started()
    run.kill()
    # Somebody has locked since, under the same name; and there is one of a run that wrote nothing down.
    run.lock.unlink()
    run.lock.write_text("results/y\n")
    other = run.lock.with_name("1.input.lock")
    other.write_text("results/z\n")
    assert release_locks(tmp_path / "home") == []
    assert run.lock.exists() and other.exists()


@pytest.mark.parametrize(
    ("elsewhere", "is_gone"),
    [
        ({"host": "another"}, False),
        ({"machine": "another"}, False),
        ({"namespace": "pid:[1]"}, False),
        ({"started": ""}, False),
        ({"boot": "before"}, True),  # the machine has been off since
        ({"boot": "before", "machine": ""}, False),
        ({"started": "1"}, True),  # another process has the number
        ({}, False),
    ],
)
def test_only_what_is_certain_counts_as_gone(elsewhere, is_gone, monkeypatch):
    place = runs._place() | {"machine": "" if elsewhere.get("machine") == "" else "installation"}
    monkeypatch.setattr(runs, "_place", lambda: place)
    assert replace(Owner.here(), **elsewhere).is_gone == is_gone


def test_what_is_no_record_is_left_alone(tmp_path):
    folder = tmp_path / "elusive-runs"
    folder.mkdir()
    (folder / "a.json").write_text("{")
    (folder / "b.json").write_text('{"owner": {}}')
    assert release_locks(tmp_path) == []
    assert len(list(folder.glob("*.json"))) == 2


def test_a_job_ends_with_its_run(started, tmp_path):
    run = started()
    watch = Watch(run.record, poll=0)
    watch.check()
    assert watch.pending == 3
    (tmp_path / "home" / "fail").touch()
    until(lambda: json.loads(run.record.read_text())["ending"])
    with pytest.raises(ElusiveError, match=r"another job of this run has failed.*what has come is kept"):
        watch.check()


def test_a_job_of_a_killed_run_ends(started):
    run = started()
    watch = Watch(run.record, poll=0)
    watch.check()
    run.kill()
    with pytest.raises(ElusiveError, match="the run that this job belongs to has ended"):
        watch.check()
    assert Watch(run.record.with_name("gone.json")).check() is None, "nothing is known of a run that wrote nothing"


def test_a_watch_looks_once_in_a_while(started):
    run = started()
    watch = Watch(run.record, poll=1000)
    watch.check()
    run.kill()
    watch.check()


def test_outside_of_a_run_nothing_is_waited_for(monkeypatch):
    monkeypatch.delenv(runs.VARIABLE, raising=False)
    watch = Watch()
    watch.check()
    assert watch.pending == 0


def test_a_record_goes_with_its_process(tmp_path):
    code = (
        "import sys; from pathlib import Path; from elusive import runs\n"
        "r = runs.follow(Path(sys.argv[1]), list, lambda: False, lambda: 0, True); assert r.is_file(); print(r)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(elusive.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], env=environment, text=True, capture_output=True, check=True
    )
    assert not Path(done.stdout.strip()).exists()


def test_a_waiting_download_ends_with_the_run(started, tmp_path):
    run = started()
    (tmp_path / "a/step1").mkdir(parents=True)
    (tmp_path / "a/step1/source.json").write_text("{}")
    found: list[str] = []

    def wait() -> None:
        try:
            wait_for_scoring(tmp_path, 1, poll=0.01, check=Watch(run.record, poll=0).check)
        except ElusiveError as error:
            found.append(str(error))

    waiting = threading.Thread(target=wait)
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    run.kill()
    waiting.join(60)
    assert found and "has ended" in found[0]


def test_a_run_that_cannot_answer_is_asked_again(tmp_path):
    answers = iter([RuntimeError("changed size during iteration"), OSError("no space"), 2])

    def pending() -> int:
        answer = next(answers, 1)
        if isinstance(answer, Exception):
            raise answer
        return answer

    record = follow(tmp_path / "home", list, lambda: False, pending, True, poll=0.01)
    try:
        until(lambda: Watch(record).pending == 1)
    finally:
        os.environ.pop(runs.VARIABLE)
