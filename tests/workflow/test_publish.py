"""The real Snakefile publishes its tables, pushes them, and starts from what was published."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import polars as pl
import pytest

from elusive.items.fetch import VARIABLE
from elusive.report.drilldown import NOT_KNOWN
from elusive.tables import data_dictionary
from hub_server import HubServer
from runs import ROOT, Run

pytestmark = pytest.mark.slow

DOCS = ROOT / "workflow" / "docs" / "publishing.md"


class OfflineRun(Run):
    """A run that reaches nothing outside of this machine, and has no archive."""

    def environment(self) -> dict[str, str]:
        nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
        nowhere |= {"PIP_INDEX_URL": "http://127.0.0.1:9", "PIP_NO_INDEX": "1", "HF_ENDPOINT": "http://127.0.0.1:9"}
        known = super().environment()
        return {key: value for key, value in known.items() if key != VARIABLE} | nowhere | {"HF_HUB_OFFLINE": "1"}


class HubRun(Run):
    """A run whose hub is the local server."""

    server: HubServer
    token = ""

    def environment(self) -> dict[str, str]:
        return super().environment() | self.server.environment(self.directory / "home", self.token)


@pytest.fixture(scope="module")
def published(finished, repository, archive_path, tmp_path_factory):
    """A copy of the finished run that has published."""
    directory = tmp_path_factory.mktemp("published") / "run"
    shutil.copytree(finished.directory, directory, symlinks=True)
    run = Run(repository, directory, json.loads((directory / "mine.yaml").read_text()), archive_path)
    run.output = run.succeed("publish", cores=1)
    return run


@pytest.fixture(scope="module")
def again(published, archive_path, tmp_path_factory):
    """What one line of configuration makes of the set, in an empty directory without a network."""
    config = {"published": str(published.directory / "results" / "publish")}
    run = OfflineRun(published.repository, tmp_path_factory.mktemp("again"), config, archive_path)
    run.output = run.succeed()
    return run


def test_publishing_is_a_target_of_its_own(copy_of_finished, published):
    assert "publish" not in copy_of_finished.planned("--rerun-triggers", "mtime")
    assert published.planned("publish") == {}
    files = {path.name for path in (published.directory / "results" / "publish").iterdir()}
    assert {"README.md", "data", "manifest.json", "SHA256SUMS", "CITATION.cff", "croissant.json"} <= files


def test_a_licence_publishes_anew_and_runs_nothing_else(published, small_config):
    published.configure(small_config | {"publish": {"license": "mit"}})
    try:
        assert published.planned("publish") == {"publish": 1}
    finally:
        published.configure(small_config)


def test_the_card_is_about_this_run(published, finished):
    text = (published.directory / "results" / "publish" / "README.md").read_text()
    assert "2 language models" in text and "at 6 checkpoints on 81 items of 3 multiple-choice benchmarks" in text
    assert "The models that the workflow trained learnt from prose" in text
    assert str(finished.directory) not in text


def test_one_line_gives_the_same_numbers_byte_for_byte(published, again):
    tables = sorted((published.directory / "results" / "tables").iterdir())
    assert len(tables) >= 27
    for path in tables:
        assert (again.directory / "results" / "tables" / path.name).read_bytes() == path.read_bytes(), path.name
    for path in (published.directory / "results" / "logprobs").rglob("*.parquet"):
        place = path.relative_to(published.directory)
        assert (again.directory / place).read_bytes() == path.read_bytes(), place


def test_nothing_was_trained_scored_or_fetched(again):
    rules = set(re.findall(r"^(?:local)?rule (\w+):", again.output, re.MULTILINE))
    ran = {path.name for path in (again.directory / "results" / "logs").iterdir()}
    assert not {"score", "train", "download", "items", "archive.log", "ladder"} & (ran | rules)
    assert {"published_items", "published_logprobs"} <= ran
    assert again.planned() == {}


def test_report_and_figures_do_without_the_texts(published, again):
    page = (again.directory / "results" / "report.html").read_text()
    assert NOT_KNOWN in page
    assert NOT_KNOWN not in (published.directory / "results" / "report.html").read_text()
    for kind in ("txt", "csv"):
        for path in sorted((published.directory / "results" / "figures").rglob(f"*.{kind}")):
            place = path.relative_to(published.directory)
            assert (again.directory / place).read_bytes() == path.read_bytes(), place


def test_the_set_of_a_set_is_the_set(published, again):
    again.succeed("publish", cores=1)
    first, second = (run.directory / "results" / "publish" / "data" for run in (published, again))
    for path in sorted(first.iterdir()):
        assert (second / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_damaged_set_is_refused(published, archive_path, tmp_path):
    copy = shutil.copytree(published.directory / "results" / "publish", tmp_path / "set")
    (copy / "data" / "choices.parquet").write_bytes(b"PAR1")
    run = OfflineRun(published.repository, tmp_path / "run", {"published": str(copy)}, archive_path)
    said = run.fail("results/tables/scores.csv")
    assert "choices.parquet: is not the file that" in said and "download the data set again" in said
    (copy / "manifest.json").unlink()
    assert "so it is no published data set" in run.fail("-n")


def test_own_models_beside_published_ones(published, finished, archive_path, tmp_path):
    """A copy of a published checkpoint, scored here on the built-in items, has the published scores."""
    models = tmp_path / "mine"
    for step in (2, 4, 8):
        shutil.copytree(finished.directory / f"results/checkpoints/small-d32/step{step}", models / f"step{step}")
    about = json.loads((models / "step2" / "training.json").read_text())
    config = {
        "published": str(published.directory / "results" / "publish"),
        "models": [
            {"name": "small-*", "source": "published"},
            {
                "name": "mine",
                "source": "local",
                "path": f"{models}/{{checkpoint}}",
                "parameters": about["parameters"],
                "tokens_per_step": about["tokens"] // about["step"],
                "checkpoints": ["step2", "step4", "step8"],
            },
        ],
        "families": [{"name": "all", "members": ["*/*"], "allow_duplicates": True}],
        "benchmarks": [{"name": "arc_easy", "limit": 12}, {"name": "winogrande", "limit": 5}],
    }
    run = Run(published.repository, tmp_path / "run", config, archive_path)
    run.succeed("results/tables/scores.parquet")
    scores = pl.read_parquet(run.directory / "results/tables/scores.parquet")
    assert scores["model"].n_unique() == 3
    wide = {
        name: scores.filter(pl.col("model") == name).sort("benchmark", "checkpoint").drop("model")
        for name in ("mine", "small-d32")
    }
    assert wide["mine"].equals(wide["small-d32"])
    run.configure(config | {"benchmarks": [{"name": "arc_easy", "limit": 13}]})
    said = run.fail("results/tables/scores.parquet")
    assert re.search(r"item '[^']+' of arc_easy is not in .*, which has 12 items: take its limit and seed", said)


def test_push_needs_a_target_and_goes_there(published, archive_path, small_config):
    assert "publish.push: names no dataset on the hub to push to: set it to owner/name" in published.fail("push")
    with HubServer() as server:
        run = HubRun(published.repository, published.directory, small_config, archive_path)
        run.server, run.token = server, server.token
        run.configure(small_config | {"publish": {"push": "somebody/small"}})
        try:
            assert run.planned("push") == {"push": 1}, "where it goes to changes nothing of the set"
            said = run.succeed("push", cores=1)
        finally:
            run.configure(small_config)
        repository = server.repositories["dataset", "somebody/small"]
        files = repository.commits[repository.branches["main"]]
    assert repository.private and "about to push" in said
    assert {name: file.read() for name, file in files.items() if name != ".gitattributes"} == {
        path.relative_to(run.directory / "results/publish").as_posix(): path.read_bytes()
        for path in (run.directory / "results/publish").rglob("*")
        if path.is_file() and not path.name.startswith(".snakemake")
    }


def test_every_eval_ever_is_a_target(published):
    published.succeed("every_eval_ever", cores=1)
    files = list((published.directory / "results" / "every_eval_ever").rglob("*_samples.jsonl"))
    assert len(files) == 6
    assert all(len(path.read_text().splitlines()) == 81 for path in files)


def scripts():
    return re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)


#: What any of the libraries made, as rows of model, checkpoint and accuracy.
TO_ROWS = """
import polars
if hasattr(accuracy, "reset_index"):
    accuracy = accuracy.reset_index()
rows = accuracy.pl() if hasattr(accuracy, "pl") else polars.DataFrame(getattr(accuracy, "collect", lambda: accuracy)())
print("ROWS", rows.sort("model", "checkpoint").rows())
"""


@pytest.mark.parametrize("library", ["polars", "duckdb", "pandas"])
def test_the_scripts_of_the_docs_run(published, library):
    (code,) = [code for code in scripts() if code.startswith(f"import {library}")]
    assert len([line for line in code.splitlines() if line]) == 5
    code += TO_ROWS
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=published.directory / "results" / "publish",
        env=os.environ | {"POLARS_FMT_TBL_ROWS": "2"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = eval(done.stdout.split("ROWS ")[1])
    scores = pl.read_parquet(published.directory / "results/publish/data/scores.parquet")
    expected = scores.filter(pl.col("benchmark") == "arc_easy").sort("model", "checkpoint")
    assert [row[:2] for row in found] == expected.select("model", "checkpoint").rows()
    assert [row[2] for row in found] == pytest.approx(expected["accuracy"].to_list())


def test_the_checksum_of_the_docs_is_the_sets(published):
    (code,) = [code for code in scripts() if "hashlib" in code]
    item = pl.read_parquet(published.directory / "results/items/arc_easy.parquet").row(0, named=True)
    code = re.sub(r"texts = .*", lambda _: f"texts = {list(item['contexts'])!r}", code)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    items = pl.read_parquet(published.directory / "results/publish/data/items.parquet")
    assert done.stdout.strip() == items.filter(pl.col("item") == item["item"])["prompt_sha256"].item()


def test_the_dictionary_of_the_run_knows_the_set(finished):
    rows = data_dictionary().to_pylist()
    assert {row["file"] for row in rows if row["file"].startswith("publish/")} == {
        f"publish/data/{name}.parquet" for name in ("choices", "items", "runs", "families", "benchmarks", "metrics")
    }
