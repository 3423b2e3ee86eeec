"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from elusive.items.archive import FILE_NAME
from elusive.items.fetch import VARIABLE, check_archive, fetch_archive

# Test files run side by side, and small matrices gain nothing from more threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Machines that run tests are busy at times: no test may fail for being slow.
settings.register_profile("elusive", deadline=None)
settings.load_profile("elusive")


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
