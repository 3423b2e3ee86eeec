"""Which device a job takes, and that jobs side by side take different GPUs."""

from __future__ import annotations

import contextlib
import subprocess
import threading

import pytest

from elusive.errors import ElusiveError
from elusive.scoring.devices import choose
from scoring_checkpoints import start_python


@pytest.mark.parametrize(
    ("device", "machine", "chosen"),
    [
        ("auto", {"cuda_count": 0}, "cpu"),
        ("auto", {"cuda_count": 0, "mps": True}, "mps"),
        ("auto", {"cuda_count": 1, "mps": True}, "cuda:0"),
        ("cpu", {"cuda_count": 4}, "cpu"),
        ("cuda", {"cuda_count": 1}, "cuda:0"),
        ("cuda:2", {"cuda_count": 4}, "cuda:2"),
        ("mps", {"cuda_count": 0, "mps": True}, "mps"),
    ],
)
def test_without_a_choice_among_gpus(device, machine, chosen):
    with choose(device, **machine) as found:
        assert found == chosen


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("gpu", "'gpu' is not one of auto, cpu"),
        ("cuda:x", "not one of"),
        ("cpu:1", "not one of"),
        ("mps", "'mps' was asked for"),
        ("cuda", "torch sees 0 CUDA devices"),
        ("cuda:3", "torch sees 0 CUDA devices"),
    ],
)
def test_devices_that_are_not_there(device, message):
    with pytest.raises(ElusiveError, match=message), choose(device, cuda_count=0):
        pass


def test_each_job_takes_a_free_gpu(tmp_path):
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(choose("auto", 3, lock_directory=tmp_path)) for _ in range(3)]
        assert held == ["cuda:0", "cuda:1", "cuda:2"]
    with choose("auto", 3, lock_directory=tmp_path) as again:
        assert again == "cuda:0"


def test_a_job_waits_until_one_is_free(tmp_path):
    taken = []

    def job():
        with choose("cuda", 2, lock_directory=tmp_path, interval=0.01) as device:
            taken.append(device)

    with choose("cuda", 2, lock_directory=tmp_path):
        with choose("cuda", 2, lock_directory=tmp_path):
            waiting = threading.Thread(target=job)
            waiting.start()
            waiting.join(0.1)
            assert taken == []
        waiting.join(10)
    assert taken == ["cuda:1"]


def test_a_scheduler_s_single_device_is_taken_as_it_is(tmp_path):
    # It is the only visible one, whatever its number on the machine, and needs no lock.
    for _ in range(2):
        with choose("auto", 1, environment={"CUDA_VISIBLE_DEVICES": "5"}, lock_directory=tmp_path) as device:
            assert device == "cuda:0"
    assert not list(tmp_path.iterdir())


def test_locks_go_by_the_machine_s_numbers(tmp_path):
    with (
        choose("auto", 2, environment={"CUDA_VISIBLE_DEVICES": "3,1"}, lock_directory=tmp_path) as first,
        choose("auto", 2, environment={"CUDA_VISIBLE_DEVICES": "1,3"}, lock_directory=tmp_path) as second,
    ):
        assert (first, second) == ("cuda:0", "cuda:0")  # device 3 of the machine, then device 1


def test_a_job_that_is_killed_frees_its_gpu(tmp_path):
    code = (
        "import sys, time, pathlib; from elusive.scoring.devices import choose\n"
        "with choose('auto', 2, lock_directory=pathlib.Path(sys.argv[1])) as d: print(d, flush=True); time.sleep(60)"
    )
    process = start_python(code, str(tmp_path), stdout=subprocess.PIPE)
    assert process.stdout.readline().strip() == "cuda:0"
    with choose("auto", 2, lock_directory=tmp_path) as device:
        assert device == "cuda:1"
    process.kill()
    process.wait()
    process.stdout.close()
    with choose("auto", 2, lock_directory=tmp_path) as device:
        assert device == "cuda:0"
