"""What is made once for all workers of a test run, and which tests a worker gets."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock
from xdist.scheduler import LoadFileScheduling

#: Files whose tests share no fixture but those of a session, so that any worker may take any of them.
APART = frozenset(
    f"tests/workflow/{name}.py"
    for name in ("test_changes", "test_configuration", "test_modules", "test_planning", "test_run")
)

#: Files of a worker's work that come first, the longest at the head: whoever is last should not be alone with a long
#: one. The first needs the finished run and makes it; others that need it stand behind those that do not.
FIRST = (
    "tests/workflow/test_slurm.py",
    "tests/workflow/test_hub.py",
    "tests/workflow/test_sources.py",
    "tests/unit/scoring/test_every_architecture.py",
    "tests/unit/figures/test_figures.py",
    "tests/workflow/test_paper.py",
    "tests/workflow/test_publish.py",
    "tests/workflow/test_run.py",
    "tests/workflow/test_changes.py",
    "tests/workflow/test_modules.py",
    "tests/workflow/test_planning.py",
)


class Scheduling(LoadFileScheduling):
    """A file's tests stay on one worker, since they share fixtures, apart from those of the files in APART."""

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return nodeid if file in APART else file


def rank(item: pytest.Item, root: Path) -> int:
    """Where a test's file stands in the order of work."""
    file = item.path.relative_to(root).as_posix()
    return FIRST.index(file) if file in FIRST else len(FIRST)


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """The directory ``name``, filled by ``make`` in the first worker that asks; the others wait for it.

    Whoever gets it leaves it as it is. Where making it failed, every test that asks fails at once with the reason.
    """
    place = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # A worker has a directory of its own below that of the test run.
        place = place.parent
    place = place / "once" / name
    made, failed = place.with_name(f"{name}.made"), place.with_name(f"{name}.failed")
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place.with_name(f"{name}.lock")):
        if failed.exists():
            pytest.fail(f"{name} was made for all tests, which failed:\n{failed.read_text()}")
        if not made.exists():
            try:
                make(place)
            except BaseException as error:
                failed.write_text(f"{type(error).__name__}: {error}")
                raise
            made.touch()
    return place


def state(directory: Path) -> dict[str, tuple[int, int]]:
    """Path -> size and modification time in ns of every file of a directory."""
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}
