"""The real Snakefile with rows from the hub and from files, as the example of own models and benchmarks has them."""

from __future__ import annotations

import json
import re
import shutil

import polars as pl
import pytest
import transformers
import yaml

from elusive.items.archive import Archive
from elusive.items.build import build_items, load_items
from elusive.items.sources import archive_rows
from elusive.tables import read_metadata
from hub_datasets import add_dataset
from hub_server import HubServer
from runs import ROOT, Run
from scoring_checkpoints import random_model, save_checkpoint, train_tokenizer

EXAMPLE = ROOT / "workflow" / "presets" / "own.yaml"
TABLES = ["results/tables/scores.parquet", "results/tables/correlation_statistics.parquet"]


class HubRun(Run):
    """A run whose hub is the local server."""

    server: HubServer

    def environment(self) -> dict[str, str]:
        return super().environment() | self.server.environment(self.directory / "home")


@pytest.fixture(scope="module")
def server(archive_path, tmp_path_factory):
    """OpenBookQA's real rows: the main configuration, and one with a field more, as on the hub."""
    folder = tmp_path_factory.mktemp("rows")
    with Archive(archive_path) as archive:
        splits = {
            "validation": archive.rows("openbookqa/main/validation"),
            "test": archive_rows("openbookqa", archive).rows,
        }
    facts = {
        split: [row | {"fact1": f"{row['question_stem']} has an answer"} for row in rows]
        for split, rows in splits.items()
    }
    with HubServer() as server:
        add_dataset(server, folder, "allenai/openbookqa", {"main": splits, "additional": facts})
        yield server


@pytest.fixture(scope="module")
def example(server, repository, archive_path, tmp_path_factory):
    """A finished run of the example, in a directory with what it names."""
    config = yaml.safe_load(EXAMPLE.read_text())
    run = HubRun(repository, tmp_path_factory.mktemp("own"), config, archive_path)
    run.server = server
    (mine,) = config["models"]
    tokenizer = train_tokenizer(archive_path, tmp_path_factory.mktemp("tokenizer"))
    shape = transformers.GPTNeoXConfig(
        vocab_size=50304, hidden_size=128, num_hidden_layers=6, num_attention_heads=4, intermediate_size=512
    )
    for seed, name in enumerate(mine["checkpoints"]):
        save_checkpoint(random_model(shape, seed=seed), tokenizer, run.directory / "checkpoints" / name)
    shown = re.search(r'^  # (\{"question".*\})$', EXAMPLE.read_text(), re.M)[1]
    more = json.dumps({"question": "2 + 2?", "options": ["4", "5", "6"], "answer": "A", "topic": "sums"})
    (run.directory / "quiz.jsonl").write_text(f"{shown}\n{more}\n")
    run.output = run.succeed(*TABLES)
    return run


def items_of(run, benchmark):
    return load_items(run.directory / f"results/items/{benchmark}.parquet")


@pytest.mark.slow
def test_the_example_runs_as_it_is(example):
    scores = pl.read_parquet(example.directory / TABLES[0])
    assert set(scores["benchmark"].unique()) == {"piqa", "quiz", "openbookqa_with_fact"}
    assert set(scores["checkpoint"].unique()) == {"step1000", "step2000", "step4000"}
    statistics = pl.read_parquet(example.directory / TABLES[1])
    assert set(statistics.filter(pl.col("benchmark") == "quiz")["subject"].unique()) >= {"animals", "sums"}
    assert example.planned(*TABLES) == {}


@pytest.mark.slow
def test_items_of_the_example(example, server):
    quiz = items_of(example, "quiz")
    assert quiz.metadata["source"] == "file"
    first = quiz.items[0]
    assert first.contexts == ("Question: How many legs has a spider?\nAnswer:",)
    assert (first.choices, first.gold, first.subject) == (("six", "eight"), 1, "animals")
    facts = items_of(example, "openbookqa_with_fact")
    assert facts.metadata["commit"] == server.repositories["dataset", "allenai/openbookqa"].branches["main"]
    assert (facts.metadata["protocol"], facts.metadata["num_items_total"]) == ("own templates, 2-shot", 500)
    for item in facts.items:
        assert item.contexts[0].count("Fact: ") == 3
    table = example.directory / "results/logprobs/mine/step1000/openbookqa_with_fact.parquet"
    assert read_metadata(table)["protocol"] == "own templates, 2-shot"
    assert pl.read_parquet(table)["log_likelihood"].is_finite().all()


@pytest.mark.slow
def test_hub_in_the_place_of_the_archive(server, repository, archive_path, tmp_path, small_config):
    """A built-in benchmark has the same items from the hub; changing its source remakes them and nothing else."""
    benchmark = {"name": "openbookqa", "limit": 40}
    run = HubRun(
        repository, tmp_path / "run", small_config | {"benchmarks": [benchmark], "sources": ["archive"]}, archive_path
    )
    run.server = server
    target = "results/items/openbookqa.parquet"
    run.succeed(target)
    assert items_of(run, "openbookqa").metadata["source"] == "archive"
    from_archive = items_of(run, "openbookqa").items
    # The pinned commit is one of the real hub.
    hub = {**benchmark, "revision": "main"}
    run.configure(small_config | {"benchmarks": [hub], "sources": ["hub", "archive"]})
    assert run.planned(target) == {"items": 1}
    shutil.rmtree(run.directory / "results/sources")
    run.succeed(target)
    assert items_of(run, "openbookqa").metadata["source"] == "hub"
    assert items_of(run, "openbookqa").items == from_archive
    run.configure(small_config | {"benchmarks": [{**hub, "revision": "nowhere"}], "sources": ["hub"]})
    output = run.fail(target)
    assert "dataset allenai/openbookqa@nowhere" in output and "no such revision" in output
    assert "Traceback" not in output


def test_built_in_benchmark_from_a_file(repository, archive_path, tmp_path, small_config):
    """Rows on one's own disk, in the hub's schema: no archive and no hub."""
    with Archive(archive_path) as archive:
        rows = archive_rows("openbookqa", archive).rows
    run = Run(repository, tmp_path / "run", small_config, archive_path)
    (run.directory / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run.configure(small_config | {"benchmarks": [{"name": "openbookqa", "file": "rows.jsonl"}]})
    assert run.planned("results/items/openbookqa.parquet") == {"items": 1}
    run.succeed("results/items/openbookqa.parquet")
    build_items({"name": "openbookqa"}, tmp_path / "archive.parquet", archive_path)
    assert items_of(run, "openbookqa").items == load_items(tmp_path / "archive.parquet").items
