"""Runs of the real Snakefile on small real data."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from runs import SMALL, FinishedRun, Run, copy_repository
from sharing import make_once, state


@pytest.fixture
def small_config() -> dict:
    """The configuration of small.yaml."""
    return yaml.safe_load(SMALL.read_text())


@pytest.fixture(scope="session")
def repository(tmp_path_factory) -> Path:
    """A copy of the repository that tests may touch, but not change."""
    return make_once(tmp_path_factory, "clone", copy_repository)


@pytest.fixture(scope="session")
def finished(tmp_path_factory, repository, archive_path) -> Iterator[FinishedRun]:
    """A finished run of small.yaml, the same for all workers. Tests change only copies of it."""

    def make(directory: Path) -> None:
        run = Run(repository, directory, yaml.safe_load(SMALL.read_text()), archive_path)
        (directory / "printed").write_text(run.succeed())

    directory = make_once(tmp_path_factory, "finished", make)
    before = state(directory)
    yield FinishedRun(repository, directory, archive_path)
    assert state(directory) == before, "a test has changed the finished run that all tests share"


@pytest.fixture
def copy_of_finished(finished, tmp_path, archive_path, small_config) -> Run:
    """A copy of the finished run, modification times and Snakemake's records included."""
    shutil.copytree(finished.directory, tmp_path / "run", symlinks=True)
    return Run(finished.repository, tmp_path / "run", small_config, archive_path)
