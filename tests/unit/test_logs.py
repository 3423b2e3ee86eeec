"""Log files and progress lines: where messages go and how errors end."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from elusive import logs
from elusive.errors import ElusiveError

WORKFLOW = Path(__file__).parents[2] / "workflow"


def run(code, *arguments):
    """A process of its own, as a job is."""
    environment = os.environ | {"PYTHONPATH": str(WORKFLOW)}
    preamble = "import sys\nfrom elusive import logs\nfrom elusive.errors import ElusiveError\n"
    return subprocess.run(
        [sys.executable, "-c", preamble + code, *map(str, arguments)], env=environment, capture_output=True, text=True
    )


def test_messages_go_to_the_file_with_times_and_to_standard_error(tmp_path):
    log = tmp_path / "deep" / "down" / "job.log"
    done = run("with logs.to_file(sys.argv[1]): logs.get('elusive.stage').info('%d items', 3)", log)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "3 items\n")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} INFO 3 items\n", log.read_text())


def test_without_a_file(tmp_path):
    done = run("with logs.to_file(None): logs.get('elusive.stage').warning('so')")
    assert (done.returncode, done.stderr) == (0, "so\n")


def test_the_users_mistake_ends_with_its_message_alone(tmp_path):
    log = tmp_path / "job.log"
    done = run("with logs.to_file(sys.argv[1]): raise ElusiveError('config.yaml: seed: no')", log)
    assert (done.returncode, done.stderr) == (1, "error: config.yaml: seed: no\n")
    assert log.read_text().endswith("ERROR error: config.yaml: seed: no\n")
    assert "Traceback" not in log.read_text()


def test_a_mistake_without_a_file(tmp_path):
    done = run("with logs.to_file(None): raise ElusiveError('no')")
    assert (done.returncode, done.stderr) == (1, "error: no\n")


def test_other_errors_keep_their_traceback(tmp_path):
    log = tmp_path / "job.log"
    done = run("def broken():\n  return {}['key']\nwith logs.to_file(sys.argv[1]): broken()", log)
    assert done.returncode == 1
    for text in (done.stderr, log.read_text()):
        assert text.count("Traceback") == 1
        assert "in broken" in text
        assert "KeyError: 'key'" in text
    assert "ERROR unexpected error" in log.read_text()


def test_an_old_log_is_replaced(tmp_path):
    log = tmp_path / "job.log"
    log.write_text("of yesterday\n")
    run("with logs.to_file(sys.argv[1]): logs.get('elusive').info('of today')", log)
    assert "yesterday" not in log.read_text()


def test_nothing_stays_behind(tmp_path):
    root = logging.getLogger("elusive")
    before = list(root.handlers), root.level
    with logs.to_file(tmp_path / "a.log"), logs.to_file(tmp_path / "b.log"):
        logs.get("elusive.x").info("both")
    logs.get("elusive.x").info("neither")
    assert (list(root.handlers), root.level) == before
    for name in ("a.log", "b.log"):
        assert (tmp_path / name).read_text().count("\n") == 1
    with pytest.raises(SystemExit) as caught, logs.to_file(tmp_path / "a.log"):
        raise ElusiveError("no")
    assert caught.value.code == 1
    assert (list(root.handlers), root.level) == before


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: now[0])
    return now


def test_progress(clock, caplog):
    caplog.set_level("INFO", "elusive")
    progress = logs.Progress("scoring m/step1", 200, "items", interval=5)
    progress.update(10)
    clock[0] += 4.9
    progress.update(10)
    assert not caplog.messages
    clock[0] += 0.1
    progress.update(20, "loss 3.00")
    assert caplog.messages == ["scoring m/step1: 40 of 200 items, 8 items/s, 20 s left, loss 3.00"]
    clock[0] += 5
    progress.update(0)
    assert caplog.messages[1:] == ["scoring m/step1: 40 of 200 items, 4 items/s, 40 s left"]
    assert progress.seconds == 10


def test_progress_without_any(clock, caplog):
    caplog.set_level("INFO", "elusive")
    progress = logs.Progress("waiting", 3, "steps", interval=1)
    clock[0] += 2
    progress.update(0)
    assert caplog.messages == ["waiting: 0 of 3 steps, 0 steps/s, inf s left"]


def test_messages_of_a_logger_that_was_silent_before(tmp_path):
    """A logger keeps in mind that its level was not enabled; the file must have its messages all the same."""
    logger = logs.get("elusive.asked_before")
    logger.info("to nobody")
    with logs.to_file(tmp_path / "log"):
        logger.info("to the file")
    assert "to the file" in (tmp_path / "log").read_text()
    assert "to nobody" not in (tmp_path / "log").read_text()
