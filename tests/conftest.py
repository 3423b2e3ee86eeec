"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from elusive.items.archive import FILE_NAME
from elusive.items.fetch import VARIABLE, check_archive, fetch_archive
from sharing import Scheduling, rank

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
