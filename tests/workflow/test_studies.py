"""The example of one's own models and questions, run as its first lines say: a study has a directory of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from local_checkpoints import write_checkpoint
from runs import ROOT

EXAMPLE = ROOT / "workflow" / "presets" / "own.yaml"


@pytest.fixture
def study(tmp_path) -> Path:
    """What the example names, beside a copy of it."""
    for step in ("step1000", "step2000", "step4000"):
        write_checkpoint(tmp_path / "study" / "checkpoints" / step)
    shown = re.search(r'^  # (\{"question".*\})$', EXAMPLE.read_text(), re.M)[1]
    (tmp_path / "study" / "quiz.jsonl").write_text(f"{shown}\n")
    (tmp_path / "study" / "own.yaml").write_text(EXAMPLE.read_text())
    return tmp_path / "study"


def snakemake(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--cores", "1", *arguments],
        cwd=directory,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def test_in_the_directory_of_the_study(study):
    command = re.search(r"-s /path/to/elusive/(\S+) --cores all (--configfile \S+)", EXAMPLE.read_text())
    assert command, "the example says how it is run"
    done = snakemake(study, "-s", str(ROOT / command[1]), *command[2].split())
    assert done.returncode == 0, done.stdout[-2000:]
    assert "results/logprobs/mine/step1000/quiz.parquet" in done.stdout


@pytest.mark.slow
def test_from_elsewhere(study, tmp_path):
    assert "`--directory /path/to/study`" in EXAMPLE.read_text()
    arguments = ["-s", str(ROOT / "Snakefile"), "--directory", str(study), "--configfile", str(study / "own.yaml")]
    done = snakemake(tmp_path, *arguments)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "results/logprobs/mine/step1000/quiz.parquet" in done.stdout


def test_what_is_wrong_with_checkpoints_stops_before_any_job(study):
    (study / "checkpoints" / "step2000" / "adapter_config.json").write_text("{}")
    (study / "checkpoints" / "step4000" / "tokenizer.json").unlink()
    done = snakemake(study, "-s", str(ROOT / "Snakefile"), "--configfile", "own.yaml")
    assert done.returncode != 0 and "Traceback" not in done.stdout
    assert "2 local checkpoints cannot be scored:" in done.stdout
    assert (
        "own.yaml: models[0].checkpoints[1]: checkpoints/step2000 has an adapter (adapter_config.json)" in done.stdout
    )
    assert "own.yaml: models[0].checkpoints[2]: checkpoints/step4000 has no tokenizer" in done.stdout
    assert not (study / "results").exists()
