"""The real Snakefile on logs: models that are all imported, without network and torch; and a family that is mixed."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from elusive.items.build import load_items
from elusive.tables import read_metadata, read_table
from logged import Question, long_rows, questions, sample, winograd, write_csv, write_olmes, write_run
from runs import Run, copy_training_text

STEPS = ("step1", "step2", "step3", "step4")
COUNT = 30

#: Breaks off whatever would load torch or open a connection.
SITE = """
import importlib.machinery, socket, sys

class Refused:
    def find_spec(self, name, path=None, target=None):  # libraries may ask whether it is there
        if name.partition(".")[0] in ("torch", "transformers", "tokenizers", "datasets", "huggingface_hub"):
            return importlib.machinery.ModuleSpec(name, self)

    def create_module(self, spec):
        raise ImportError(f"{spec.name} must not be needed")

    def exec_module(self, module):
        pass

sys.meta_path.insert(0, Refused())

def refused(*arguments):
    raise OSError("no network")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refused
"""


class Offline(Run):
    """A run that can neither load torch nor reach a network."""

    def environment(self) -> dict[str, str]:
        home = self.directory / "site"
        home.mkdir(exist_ok=True)
        (home / "sitecustomize.py").write_text(SITE)
        kept = {name: value for name, value in super().environment().items() if not name.startswith("ELUSIVE")}
        return kept | {"PYTHONPATH": str(home), "no_proxy": "*"}


def logs_of(folder: Path) -> None:
    """Two models: lm-eval's logs of one, with subjects, a winograd and PMI; OLMES' without texts of the other."""
    for seed, step in enumerate(STEPS):
        tasks = {
            "quiz": [sample(q) for q in questions(COUNT, seed)],
            "wino": [sample(q) for q in winograd(COUNT, seed)],
        }
        tasks |= {f"mmlu_{s}": [sample(q) for q in questions(6, seed, task=s)] for s in ("law", "art", "sea")}
        write_run(folder / "a" / step, tasks)


@pytest.fixture(scope="module")
def imported(repository, archive_path, tmp_path_factory):
    """A finished run of everything, from nothing but logs and a configuration."""
    config = {
        "models": [
            {"name": "a", "source": "lm_eval", "path": "logs/a/{checkpoint}", "tokens_per_step": 1000}
            | {"checkpoints": list(STEPS)}
        ],
        "families": [{"name": "all", "label": "All", "members": ["*/*"]}],
        "benchmarks": [
            {"name": "quiz", "label": "Quiz", "source": "logs", "task": "quiz"},
            {"name": "wino", "source": "logs", "task": "wino", "limit": 20},
            {"name": "subjects", "source": "logs", "task": "mmlu_*"},
        ],
    }
    run = Offline(repository, tmp_path_factory.mktemp("imported"), config, archive_path)
    logs_of(run.directory / "logs")
    run.output = run.succeed()
    return run


@pytest.mark.slow
def test_every_target_from_nothing_but_logs(imported):
    assert (imported.directory / "results/report.html").stat().st_size > 1e5
    assert not (imported.directory / "results/sources").exists()
    assert not list((imported.directory / "results").glob("checkpoints/*"))
    assert imported.planned() == {}
    scores = pl.read_parquet(imported.directory / "results/tables/scores.parquet")
    quiz = scores.filter(pl.col("benchmark") == "quiz").sort("flops")
    assert quiz["accuracy"].to_list() == [
        pytest.approx(np.mean([q.accuracy() for q in questions(COUNT, seed)])) for seed in range(4)
    ]
    assert quiz["parameters"].unique().to_list() == [1000]  # as the log says
    assert scores.filter(pl.col("benchmark") == "wino")["num_items"].unique().to_list() == [20]
    statistics = pl.read_parquet(imported.directory / "results/tables/correlation_statistics.parquet")
    assert set(statistics.filter(benchmark="subjects")["subject"].unique()) == {None, "law", "art", "sea"}
    assert not {"accuracy_per_token", "p_choices_correct_per_token"} & set(statistics["metric"])
    assert {"accuracy_norm", "accuracy_per_byte", "is_greedy"} <= set(statistics["metric"])


@pytest.mark.slow
def test_the_report_says_that_it_is_of_logs(imported):
    page = (imported.directory / "results/report.html").read_text()
    assert "The log-likelihoods of 4 of 4 checkpoints were not computed here but imported from logs of" in page
    assert (
        "Left out on Quiz, wino and subjects, since what they take is not in every log: p_choices per token and" in page
    )
    assert "lm-evaluation-harness 0.4.13" in page
    caption = (imported.directory / "results/figures/survival/quiz.txt").read_text()
    assert "All 30 items of its logs." in caption


@pytest.mark.slow
def test_the_plan_counts_imported_models_as_nothing(imported):
    text = imported.succeed("plan")
    (line,) = [line for line in text.splitlines() if line.startswith("total, each checkpoint once")]
    assert line.split()[-6:] == ["12", "0", "0", "0", "0", "0"] or line.split()[-5:] == ["0"] * 5, line


@pytest.mark.slow
def test_a_new_checkpoint_and_a_changed_log_are_imported(imported, tmp_path, archive_path):
    shutil.copytree(imported.directory, tmp_path / "run", symlinks=True)
    run = Offline(
        imported.repository, tmp_path / "run", json.loads((tmp_path / "run/mine.yaml").read_text()), archive_path
    )
    target = "results/logprobs/a/step2/quiz.parquet"
    assert run.planned(target) == {}
    write_run(run.directory / "logs/a/step2", {"quiz": [sample(q) for q in questions(COUNT, 9)]})
    planned = run.planned(target)
    assert planned["import"] == 1
    run.succeed(target)
    values = read_table(run.directory / target, "logprobs")["log_likelihood"].to_pylist()
    assert values == [value for q in questions(COUNT, 9) for value in q.values]


@pytest.mark.slow
def test_mistakes_end_the_run_with_all_of_them(imported, tmp_path, archive_path):
    config = json.loads((imported.directory / "mine.yaml").read_text())
    run = Offline(imported.repository, tmp_path / "run", config, archive_path)
    shutil.copytree(imported.directory / "logs", run.directory / "logs")
    for step in STEPS[:2]:
        (file,) = (run.directory / "logs/a" / step).glob("samples_quiz_*")
        file.write_text(file.read_text()[:-30])
    output = run.fail("results/logprobs/a/step1/quiz.parquet")
    # The index reads the first items only.
    assert output.count("line 30: cut off: the file does not end with a whole line") == 1
    assert "line 30: cut off" in (run.directory / "results/logs/items/quiz.log").read_text()
    for step in STEPS[2:]:
        shutil.rmtree(run.directory / "logs/a" / step)
        (run.directory / "logs/a" / step).mkdir()
    output = run.fail("results/imports/a.json")
    assert "logs are missing (complete are: step1, step2):" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_an_imported_and_a_scored_checkpoint_in_one_family(repository, finished, archive_path, tmp_path, small_config):
    """Built-in items are found in the logs by their texts; what the log lacks is left out for the family."""
    config = {
        "ladder": small_config["ladder"],
        "scoring": small_config["scoring"],
        "models": [model for model in small_config["models"] if model["name"] == "small-d64"],
        "families": [{"name": "both", "members": ["*/*"]}],
        "benchmarks": [{"name": "winogrande", "limit": 15}],
    }
    run = Run(repository, tmp_path / "run", config, archive_path)
    copy_training_text(finished, run.directory)
    shutil.copytree(
        finished.directory / "results/checkpoints/small-d64", run.directory / "results/checkpoints/small-d64"
    )
    run.succeed("results/items/winogrande.parquet")
    for seed, step in enumerate(STEPS):
        numbers = np.random.default_rng(seed)
        asked = []
        for number, item in enumerate(load_items(run.directory / "results/items/winogrande.parquet").items):
            contexts, continuations = map(list, zip(*item.requests(), strict=True))
            values = (-numbers.uniform(1, 90, item.num_choices)).tolist()
            asked.append(sample(Question(number, contexts, continuations, item.gold, values)))
        write_run(run.directory / "logs" / step, {"winogrande": asked[::-1]})
    logged = {"name": "logged", "source": "lm_eval", "path": "logs/{checkpoint}", "tokens_per_step": 10**6}
    config["models"] = [*config["models"], logged | {"checkpoints": list(STEPS)}]
    run.configure(config)
    assert run.planned("results/report.html").keys() & {"score", "train", "import"} == {"score", "import"}
    run.succeed("results/report.html")
    metrics = pl.read_parquet(run.directory / "results/metrics/both/winogrande.parquet")
    assert set(metrics["model"]) == {"small-d64", "logged"}
    assert "accuracy_per_token" not in metrics.columns and metrics["accuracy_norm"].null_count() == 0
    scored = run.directory / "results/logprobs/small-d64/step2/winogrande.parquet"
    imported = run.directory / "results/logprobs/logged/step2/winogrande.parquet"
    assert read_table(scored, "logprobs")["item"].equals(read_table(imported, "logprobs")["item"])
    assert read_metadata(scored)["items"] == read_metadata(imported)["items"]
    page = (run.directory / "results/report.html").read_text()
    assert "The log-likelihoods of 4 of 7 checkpoints were not computed here" in page


@pytest.mark.slow
def test_every_other_format_down_to_the_statistics(repository, archive_path, tmp_path):
    """OLMES without texts beside a plain table: no lengths, so no accuracy per character."""
    for seed, step in enumerate(STEPS):
        write_olmes(tmp_path / "run/olmes" / step, "quiz", questions(COUNT, seed), requests=False)
    rows = [row | {"checkpoint": s} for i, s in enumerate(STEPS) for row in long_rows(questions(COUNT, i))]
    write_csv(tmp_path / "run/tables/quiz.csv", rows)
    common = {"parameters": 1000, "tokens_per_step": 1000, "checkpoints": list(STEPS)}
    for name, model in {
        "olmes": {"source": "olmes", "path": "olmes/{checkpoint}"},
        "table": {"source": "table", "path": "tables/quiz.csv"},
    }.items():
        config = {
            "models": [{"name": name} | model | common],
            "families": [{"name": "all", "members": ["*/*"]}],
            "benchmarks": [{"name": "quiz", "source": "logs", "task": "quiz"}],
        }
        run = Offline(repository, tmp_path / "run", config, archive_path)
        shutil.rmtree(run.directory / "results", ignore_errors=True)
        run.succeed("results/report.html")
        scores = pl.read_parquet(run.directory / "results/tables/scores.parquet")
        assert scores["accuracy"].to_list() == [
            pytest.approx(np.mean([q.accuracy() for q in questions(COUNT, seed)])) for seed in range(4)
        ]
        assert scores["accuracy_norm"].null_count() == (4 if name == "olmes" else 0)
        page = (run.directory / "results/report.html").read_text()
        assert ("accuracy per character" in page.partition("Left out on quiz")[2][:400]) == (name == "olmes")


def test_the_environment_of_these_tests_refuses_torch(repository, archive_path, tmp_path):
    import subprocess
    import sys

    run = Offline(repository, tmp_path, {}, archive_path)
    done = subprocess.run(
        [sys.executable, "-c", "import torch"], env=os.environ | run.environment(), capture_output=True, text=True
    )
    assert done.returncode and "torch must not be needed" in done.stderr
    assert yaml.safe_load("a: 1") == {"a": 1}
