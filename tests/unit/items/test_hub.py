"""Rows from the hub, by ``datasets`` against a local server: the archive's items, and a message for every failure."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from elusive.items.archive import Archive
from elusive.items.build import build_items, load_items
from elusive.items.sources import archive_rows, local_rows
from elusive.tables import read_metadata
from hub_datasets import add_converted, add_dataset
from hub_server import HubServer

pytestmark = pytest.mark.slow

WORKFLOW = Path(__file__).parents[3] / "workflow"
MC_TACO = Path(__file__).parents[1] / "data" / "mc_taco.tsv"


@pytest.fixture(scope="module")
def archive(archive_path):
    with Archive(archive_path) as opened:
        yield opened


@pytest.fixture
def hub(archive, tmp_path):
    """A server with whole splits of real rows, an unrelated first split beside them, and one that is cut short."""
    piqa = archive_rows("piqa", archive).rows
    anatomy = archive_rows("mmlu_anatomy", archive, with_shots=True)
    with HubServer() as server:
        add_dataset(server, tmp_path, "baber/piqa", {"default": {"train": piqa[:9], "validation": piqa}})
        rows = {
            "validation": archive.rows("openbookqa/main/validation"),
            "test": archive_rows("openbookqa", archive).rows,
        }
        add_dataset(server, tmp_path, "allenai/openbookqa", {"additional": {"test": rows["test"][:3]}, "main": rows})
        add_dataset(server, tmp_path, "cais/mmlu", {"anatomy": {"test": anatomy.rows, "dev": anatomy.shots}})
        add_dataset(
            server,
            tmp_path,
            "Rowan/hellaswag",
            {"default": {"validation": archive_rows("hellaswag", archive).rows[:30]}},
        )
        yield server


class Command:
    """``python -m elusive items`` with the server as its hub and an empty cache."""

    def __init__(self, hub, folder):
        self.hub, self.folder = hub, folder

    def run(self, home="home", environment=None, **spec):
        output = self.folder / "items.parquet"
        output.unlink(missing_ok=True)
        variables = os.environ | self.hub.environment(self.folder / home) | {"PYTHONPATH": str(WORKFLOW)}
        command = [sys.executable, "-m", "elusive", "items", "--spec", json.dumps(spec), "--output", str(output)]
        # The rule passes `--source` and nothing more.
        done = subprocess.run(
            [*command, "--source"], env=variables | (environment or {}), capture_output=True, text=True
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert output.exists() == (done.returncode == 0), done.stderr
        return done, output

    def succeed(self, **spec):
        done, output = self.run(**spec)
        assert done.returncode == 0, done.stderr
        return output

    def fail(self, **spec):
        done, _ = self.run(**spec)
        assert done.returncode != 0
        return done.stderr


@pytest.fixture
def command(hub, tmp_path):
    return Command(hub, tmp_path)


SAME = {
    "piqa": {},
    # Its commit is pinned to one of the real hub.
    "openbookqa": {"revision": "main"},
    "mmlu_anatomy": {},
    "mmlu_anatomy with solved examples": {"num_fewshot": 5},
}


@pytest.mark.parametrize("case", SAME)
def test_hub_and_archive_give_the_same_items(command, archive_path, tmp_path, case):
    spec = {"name": case.split()[0], **SAME[case]}
    ours = command.succeed(source="hub", **spec)
    spec.pop("revision", None)
    build_items(spec, tmp_path / "archive.parquet", archive_path)
    assert load_items(ours).items == load_items(tmp_path / "archive.parquet").items
    hub, archive = read_metadata(ours), read_metadata(tmp_path / "archive.parquet")
    commit = command.hub.repositories["dataset", hub["dataset"]].branches["main"]
    differ = {key for key in hub if hub[key] != archive[key]}
    assert differ == {"source", "revision", "commit", "origin"} | ({"shots"} if "num_fewshot" in spec else set())
    assert (hub["source"], hub["revision"], hub["commit"]) == ("hub", "main", commit)
    assert f"{hub['dataset']}@{commit}" in hub["origin"]
    assert hub["split"] == archive["split"]


def test_a_dataset_cut_short_is_refused(command):
    said = command.fail(name="hellaswag", source="hub")
    assert "hellaswag: found 30 items of the validation split, expected 10042" in said


def test_parquet_conversion_of_a_dataset_that_is_a_script(command, tmp_path):
    rows = [row | {"label": ["no", "yes"].index(row["label"])} for row in local_rows("mc_taco", MC_TACO, "test").rows]
    add_converted(command.hub, tmp_path, "CogComp/mc_taco", "plain_text", {"test": rows, "validation": rows[:5]})
    # They are all read, but too few.
    assert "mc_taco: found 169 items of the test split, expected 9442" in command.fail(name="mc_taco", source="hub")
    own = {
        "name": "mine",
        "dataset": "CogComp/mc_taco",
        "split": "test",
        "context": "{{ sentence }}\nQuestion: {{ question }}\nAnswer: {{ answer }}\nPlausible:",
        "choices": "['no', 'yes']",
        "gold": "label",
    }
    said = command.fail(**own)
    assert "scripts are no longer supported" in said and "`revision: refs/convert/parquet`" in said
    items = load_items(command.succeed(**own, revision="refs/convert/parquet")).items
    assert [item.gold for item in items] == [row["label"] for row in rows]


MISSING = {
    "dataset": ({"name": "piqa", "dataset": "nobody/piqa"}, ["dataset nobody/piqa@main", "'dataset'", "HF_TOKEN"]),
    "revision": ({"name": "piqa", "revision": "v9"}, ["dataset baber/piqa@v9", "no such revision", "'revision'"]),
    "commit": ({"name": "piqa", "revision": "0" * 40}, [f"baber/piqa@{'0' * 40}", "no such revision"]),
    "configuration": ({"name": "mmlu_virology"}, ["cais/mmlu", "'virology' not found", "anatomy", "'config'"]),
    "one of several configurations": (
        {"name": "x", "dataset": "allenai/openbookqa", "split": "test"},
        ["allenai/openbookqa", "additional", "main", "'config'"],
    ),
    "split": (
        {"name": "x", "dataset": "baber/piqa", "split": "test"},
        ["dataset baber/piqa@main: there is no split 'test'; its splits are: train, validation"],
    ),
}


@pytest.mark.parametrize("what", MISSING)
def test_missing(command, what):
    spec, expected = MISSING[what]
    own = {"context": "{{ goal }}", "choices": "[sol1, sol2]", "gold": "label"} if spec["name"] == "x" else {}
    said = command.fail(source="hub", **spec, **own)
    for part in expected:
        assert part in said


def test_gated(command, tmp_path, archive):
    rows = archive_rows("piqa", archive).rows
    add_dataset(command.hub, tmp_path, "closed/piqa", {"default": {"validation": rows}}, gated=True)
    said = command.fail(name="piqa", source="hub", dataset="closed/piqa")
    assert "gated" in said and "HF_TOKEN" in said
    assert command.succeed(
        name="piqa", source="hub", dataset="closed/piqa", environment={"HF_TOKEN": command.hub.token}
    )


def test_private(command, tmp_path, archive):
    rows = archive_rows("piqa", archive).rows
    add_dataset(command.hub, tmp_path, "own/piqa", {"default": {"validation": rows}}, private=True)
    assert "or it is private" in command.fail(name="piqa", source="hub", dataset="own/piqa")
    assert command.succeed(name="piqa", source="hub", dataset="own/piqa", environment={"HF_TOKEN": command.hub.token})


def test_the_hub_is_asked_again_when_it_is_out_of_order(command):
    command.hub.fail("/api/datasets/baber/piqa/revision/*", "status", status=503, times=2)
    command.hub.fail("/api/datasets/baber/piqa/tree/*", "status", status=500, times=1)
    done, _ = command.run(name="piqa", source="hub")
    assert done.returncode == 0, done.stderr
    assert "baber/piqa: the hub does not answer" in done.stderr and "trying again in 2 s" in done.stderr


@pytest.mark.parametrize("at", [10_000, 60_000, -1000])
def test_files_that_break_off_or_arrive_damaged(command, tmp_path, archive_path, at):
    """One byte differs, in the rows or in what says where they are; the first file breaks off besides."""
    command.hub.fail("baber/piqa@*/default/train*", "drop", times=2, after=500)
    command.hub.fail("baber/piqa@*/default/validation*", "corrupt", at=at)
    done, output = command.run(name="piqa", source="hub")
    assert done.returncode == 0, done.stderr
    assert all(fault.times == 0 for fault in command.hub._faults), "every fault was met"
    assert "did not arrive as the hub announced it (wrong checksum)" in done.stderr
    build_items({"name": "piqa"}, tmp_path / "archive.parquet", archive_path)
    assert load_items(output).items == load_items(tmp_path / "archive.parquet").items


def test_jobs_side_by_side_share_the_cache(command, tmp_path):
    """As the subjects of MMLU do, each a job."""
    variables = os.environ | command.hub.environment(tmp_path / "home") | {"PYTHONPATH": str(WORKFLOW)}
    start = [
        sys.executable,
        "-m",
        "elusive",
        "items",
        "--spec",
        json.dumps({"name": "piqa", "source": "hub"}),
        "--output",
    ]
    outputs = [tmp_path / f"{number}.parquet" for number in range(3)]
    jobs = [subprocess.Popen([*start, str(o)], env=variables, stderr=subprocess.PIPE, text=True) for o in outputs]
    for job in jobs:
        assert job.wait() == 0, job.stderr.read()
        job.stderr.close()
    assert len({output.read_bytes() for output in outputs}) == 1


def test_no_network(command):
    said = command.fail(name="piqa", source="hub", environment={"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert "the hub does not answer: check the network, HF_ENDPOINT and the proxies" in said
    assert "`source: archive`" in said and "`source: file`" in said


def test_offline_with_and_without_the_cache(command, tmp_path, archive):
    offline = {"HF_HUB_OFFLINE": "1"}
    said = command.fail(name="piqa", source="hub", environment=offline)
    assert "HF_HUB_OFFLINE is set, and this is not in the cache" in said
    online = command.succeed(name="piqa", source="hub").read_bytes()
    asked = len(command.hub.requests)
    assert command.succeed(name="piqa", source="hub", environment=offline).read_bytes() == online
    assert (
        command.succeed(name="piqa", source="hub", environment={"HF_ENDPOINT": "http://127.0.0.1:9"}).read_bytes()
        == online
    )
    assert len(command.hub.requests) == asked


def test_the_cache_never_stands_in_for_another_commit(command, tmp_path, archive):
    """``datasets`` takes what it cached last, whatever revision is asked for, when it is offline."""
    rows = archive_rows("piqa", archive).rows
    first = command.hub.repositories["dataset", "baber/piqa"].branches["main"]
    expected = command.succeed(name="piqa", source="hub", revision=first).read_bytes()
    changed = [row | {"goal": "changed"} for row in rows]
    second = add_dataset(command.hub, tmp_path, "baber/piqa", {"default": {"validation": changed}})
    assert second != first
    newest = load_items(command.succeed(name="piqa", source="hub")).items
    assert {item.contexts for item in newest} == {("Question: changed\nAnswer:",)}
    offline = {"HF_HUB_OFFLINE": "1"}
    assert command.succeed(name="piqa", source="hub", revision=first, environment=offline).read_bytes() == expected
    assert load_items(command.succeed(name="piqa", source="hub", environment=offline)).items == newest
    third = "1" * 40
    said = command.fail(name="piqa", source="hub", revision=third, environment=offline)
    assert f"baber/piqa@{third}" in said and "HF_HUB_OFFLINE is set, and this is not in the cache" in said


def test_own_benchmark_of_a_dataset_with_solved_examples(command, archive):
    spec = {
        "name": "mine",
        "dataset": "allenai/openbookqa",
        "config": "main",
        "split": "test",
        "context": "{{ question_stem }}",
        "choices": "choices.text",
        "gold": "choices.label.index(answerKey)",
        "id": "id",
        "cluster": "question_stem",
    }
    output = command.succeed(**spec)
    ours, theirs = load_items(output), archive_rows("openbookqa", archive).rows
    assert [item.item for item in ours.items] == [row["id"] for row in theirs]
    assert [item.contexts[0] for item in ours.items] == [row["question_stem"] for row in theirs]
    assert (ours.metadata["source"], ours.metadata["split"]) == ("hub", "test")
    assert ours.metadata["commit"] == command.hub.repositories["dataset", "allenai/openbookqa"].branches["main"]
    assert "shots" not in ours.metadata
    assert len({item.cluster for item in ours.items}) == len({row["question_stem"] for row in theirs})
    solved = load_items(command.succeed(**spec, num_fewshot=2, shots_split="validation"))
    examples = {
        f"{row['question_stem']} {row['choices']['text']['ABCD'.index(row['answerKey'])]}\n\n"
        for row in archive.rows("openbookqa/main/validation")
    }
    for item, row in zip(solved.items, theirs, strict=True):
        before = item.contexts[0].removesuffix(row["question_stem"])
        assert sum(before.count(example) for example in examples) >= 2
    assert solved.metadata["shots"].endswith("(main): validation")
