"""A mistake in the configuration stops before any job runs, with a message that a person can act on."""

import resource
import subprocess
import sys

import pytest

from runs import ROOT, Run, copy_repository


def change(**sections):
    return lambda config: config | sections


LOCAL = {"name": "mine", "source": "local", "parameters": 1000, "tokens_per_step": 10}

MISTAKES = {
    "unknown benchmark": (
        change(benchmarks=[{"name": "hellaswagg"}]),
        ["mine.yaml", "benchmarks[0].name", "hellaswagg", "did you mean 'hellaswag'?"],
    ),
    "unknown key": (
        change(scoring={"token_buget": 10}),
        ["mine.yaml", "scoring.token_buget", "unknown key", "did you mean 'token_budget'?"],
    ),
    "family with one checkpoint": (
        change(families=[{"name": "one", "members": ["small-d32/step2"]}]),
        ["mine.yaml", "families[0]", "'one' has 1 checkpoint", "at least 3"],
    ),
    "negative tokens": (
        lambda config: (
            config
            | {"models": [*config["models"], LOCAL | {"path": "x", "checkpoints": [{"name": "a", "tokens": -5}]}]}
        ),
        ["mine.yaml", "models[2].checkpoints[0]", "-5"],
    ),
    "missing checkpoint directory": (
        lambda config: (
            config | {"models": [*config["models"], LOCAL | {"path": "nowhere/{checkpoint}", "checkpoints": ["step1"]}]}
        ),
        ["mine.yaml", "models[2].checkpoints[0]", "nowhere/step1", "no directory"],
    ),
    "checkpoint directory without config.json": (
        lambda config: (
            config | {"models": [*config["models"], LOCAL | {"path": "empty/{checkpoint}", "checkpoints": ["step1"]}]}
        ),
        ["mine.yaml", "models[2].checkpoints[0]", "empty/step1", "config.json"],
    ),
    "unknown member of a family": (
        change(families=[{"name": "f", "members": ["smal-d32/*"]}]),
        ["mine.yaml", "families[0].members[0]", "smal-d32", "did you mean 'small-d32'?"],
    ),
    "duplicate name": (
        lambda config: config | {"models": [*config["models"], config["models"][0]]},
        ["mine.yaml", "models[2].name", "'small-d32' is already the name of models[0]"],
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_stops_before_any_job(mistake, repository, tmp_path, small_config, archive_path):
    alter, expected = MISTAKES[mistake]
    run = Run(repository, tmp_path, alter(small_config), archive_path)
    (tmp_path / "empty/step1").mkdir(parents=True)
    output = run.fail()
    for part in expected:
        assert part in output, output[-2000:]
    assert "Traceback" not in output
    assert not (tmp_path / "results").exists()


def test_yaml_syntax_error(repository, tmp_path, small_config, archive_path):
    run = Run(repository, tmp_path, small_config, archive_path)
    run.configure("models:\n  - {name: a\n")
    output = run.fail()
    assert "not valid" in output and "YAML" in output
    assert not (tmp_path / "results").exists()


def test_yaml_syntax_error_in_the_default_configuration(tmp_path, repository):
    clone = copy_repository(tmp_path / "clone")
    (clone / "config.yaml").write_text("seed: 0\nmodels: [\n")
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n"],
        cwd=clone,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode != 0
    assert "config.yaml" in done.stdout and "line 3" in done.stdout and "Traceback" not in done.stdout


def test_the_default_dag_takes_few_times_what_an_empty_one_takes(tmp_path):
    """In seconds of CPU, whatever the machine: most of it is the start of Snakemake."""
    empty = tmp_path / "Snakefile"
    empty.write_text("rule report:\n    output: 'x'\n    shell: 'touch x'\n")

    def seconds(snakefile):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "snakemake", "-n", "--snakefile", str(snakefile), "--directory", str(tmp_path)]
        done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0 and "report" in done.stdout, done.stdout[-2000:]
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    used, start = seconds(ROOT / "Snakefile"), seconds(empty)
    assert used < 5 * start, f"{used:.1f} s of CPU, {start:.1f} s of an empty one"
