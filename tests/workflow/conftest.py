"""Runs of the real Snakefile on small real data."""

import shutil
from pathlib import Path

import pytest
import yaml

from runs import SMALL, Run, copy_repository


@pytest.fixture
def small_config() -> dict:
    """The configuration of small.yaml."""
    return yaml.safe_load(SMALL.read_text())


@pytest.fixture(scope="session")
def repository(tmp_path_factory) -> Path:
    """A copy of the repository that tests may touch, but not change."""
    return copy_repository(tmp_path_factory.mktemp("clone"))


@pytest.fixture(scope="session")
def finished(tmp_path_factory, repository, archive_path) -> Run:
    """A finished run of small.yaml. Tests must leave it as it is, or work on a copy (:func:`copy_of`)."""
    config = yaml.safe_load(SMALL.read_text())
    run = Run(repository, tmp_path_factory.mktemp("finished"), config, archive_path)
    run.output = run.succeed()
    return run


@pytest.fixture
def copy_of_finished(finished, tmp_path, archive_path, small_config) -> Run:
    """A copy of the finished run, modification times and Snakemake's records included."""
    shutil.copytree(finished.directory, tmp_path / "run", symlinks=True)
    return Run(finished.repository, tmp_path / "run", small_config, archive_path)
