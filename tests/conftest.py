"""Fixtures shared by all tests."""

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from elusive.items.archive import FILE_NAME
from elusive.items.fetch import VARIABLE, check_archive, fetch_archive
from sharing import Scheduling, make_once, rank, state

# Test files run side by side, and small matrices gain nothing from more threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Machines that run tests are busy at times: no test may fail for being slow.
settings.register_profile("elusive", deadline=None)
settings.load_profile("elusive")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long files first."""
    items.sort(key=lambda item: rank(item, config.rootpath))


def pytest_xdist_make_scheduler(config: pytest.Config, log) -> Scheduling | None:
    """The order of work that ``sharing.py`` describes, unless the command line asks for another."""
    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def archive_path() -> Path:
    """The archive of benchmark rows: the file named by ELUSIVE_ARCHIVE, else one fetched once into the user's cache."""
    if named := os.environ.get(VARIABLE):
        check_archive(Path(named), f"{named}, named by {VARIABLE},")
        return Path(named)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = cache / "elusive" / FILE_NAME
    fetch_archive(path)
    return path


@pytest.fixture(scope="session")
def shared_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """A synthetic run by arguments of ``make_run``, with forecasts if ``forecasts``, the same for all workers.

    Tests leave it as it is.
    """
    from synthetic_run import made_run, make_forecasts, make_run

    before: dict[Path, dict[str, tuple[int, int]]] = {}

    def get(num_items: int, benchmarks: tuple[str, ...], forecasts: bool = False, **world: Any) -> Any:
        def make(root: Path) -> None:
            run = make_run(root, num_items=num_items, benchmarks=benchmarks, **world)
            if forecasts:
                make_forecasts(run)

        wanted = repr((num_items, benchmarks, forecasts, world))
        root = make_once(tmp_path_factory, f"run-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}", make)
        before.setdefault(root, state(root))
        return made_run(root, benchmarks, **world)

    yield get
    for root, files in before.items():
        assert state(root) == files, "a test has changed a synthetic run that all tests share"
