"""The workflow as a part of another one, several studies beside each other, and paths that a shell might take apart."""

import json
import shutil
import subprocess
import sys

from runs import Run

IMPORTING = """
module {name}:
    snakefile: {snakefile!r}
    prefix: {prefix!r}
    config: {config!r}


use rule * from {name} as {name}_*
"""
TABLES = ("scores.csv", "correlation_statistics.csv", "attribution.csv")


def test_two_studies_in_one_importing_workflow(finished, repository, tmp_path, small_config):
    """Each with a configuration and a directory of its own, and the same numbers as a run by itself."""
    two = small_config | {"benchmarks": [small_config["benchmarks"][0]]}
    studies = {"whole": ("one study", small_config), "part": ("it's another", two)}
    text = "".join(
        IMPORTING.format(name=name, snakefile=str(repository / "Snakefile"), prefix=prefix, config=config)
        for name, (prefix, config) in studies.items()
    )
    (tmp_path / "Snakefile").write_text(text)
    targets = [f"one study/results/tables/{table}" for table in TABLES] + ["it's another/results/tables/scores.csv"]
    # What is finished need not be trained again: it is a study's results that are tested here, not the training.
    for prefix, _ in studies.values():
        for stage in ("sources", "ladder", "checkpoints"):
            shutil.copytree(finished.directory / "results" / stage, tmp_path / prefix / "results" / stage)
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *targets, "--rerun-triggers", "mtime"]
    done = subprocess.run(
        command, cwd=tmp_path, env=finished.environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.returncode == 0, done.stdout[-6000:]
    for table in TABLES:
        ours = (tmp_path / "one study" / "results" / "tables" / table).read_bytes()
        assert ours == (finished.directory / "results" / "tables" / table).read_bytes()
    assert (tmp_path / "it's another" / "results" / "finished" / "small-d32" / "step2" / "arc_easy.parquet").is_file()
    assert (tmp_path / "one study" / "results" / "tokens").is_dir()
    assert not (tmp_path / "results").exists(), "nothing lands outside of the studies"
    again = subprocess.run([*command, "-n"], cwd=tmp_path, env=finished.environment(), text=True, capture_output=True)
    assert "Nothing to be done" in again.stderr + again.stdout


def test_without_prefix_and_with_the_plan(finished, repository, tmp_path, small_config):
    (tmp_path / "mine.yaml").write_text(json.dumps(small_config))
    (tmp_path / "Snakefile").write_text(
        "configfile: 'mine.yaml'\n\n\nmodule elusive:\n"
        f"    snakefile: {str(repository / 'Snakefile')!r}\n    config: config\n\n\nuse rule * from elusive\n"
    )
    run = [sys.executable, "-m", "snakemake", "--cores", "1"]
    done = subprocess.run([*run, "-n"], cwd=tmp_path, env=finished.environment(), text=True, capture_output=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "rule all:" in done.stdout + done.stderr
    planned = subprocess.run([*run, "plan"], cwd=tmp_path, env=finished.environment(), text=True, capture_output=True)
    assert planned.returncode == 0, planned.stderr[-4000:]
    assert (tmp_path / "results" / "plan.txt").is_file()
    (tmp_path / "mine.yaml").write_text(json.dumps(small_config | {"budget": {"jobs": 1}}))
    refused = subprocess.run([*run, "-n"], cwd=tmp_path, env=finished.environment(), text=True, capture_output=True)
    assert refused.returncode != 0
    assert "budget: Snakemake checks no budget in a workflow that is imported" in refused.stderr + refused.stdout


def test_paths_with_spaces_and_quotes(finished, tmp_path, repository, archive_path, small_config):
    models = tmp_path / "it's my study" / "my models"
    for step in (2, 4, 8):
        shutil.copytree(finished.directory / "results/checkpoints/small-d32" / f"step{step}", models / f"step{step}")
    rows = [{"q": f"What is {i} + 1?", "options": [str(i + 1), str(i + 2)], "answer": 0} for i in range(4)]
    (models.parent / 'a "quiz".jsonl').write_text("\n".join(map(json.dumps, rows)))
    config = {
        "models": [
            {
                "name": "mine",
                "source": "local",
                "path": "my models/{checkpoint}",
                "parameters": json.loads((models / "step2" / "training.json").read_text())["parameters"],
                "tokens_per_step": 256,
                "checkpoints": ["step2", "step4", "step8"],
                "add_bos_token": False,
            }
        ],
        "families": [{"name": "mine", "members": ["mine/*"]}],
        "benchmarks": [
            {"name": "quiz", "file": 'a "quiz".jsonl', "context": "{{ q }}", "choices": "options", "gold": "answer"}
        ],
    }
    run = Run(repository, models.parent, config, archive_path)
    run.succeed("results/tables/scores.csv")
    assert (models.parent / "results/logprobs/mine/step8/quiz.parquet").is_file()
