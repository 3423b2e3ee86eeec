"""Pushing a published set to a hub: all of it in one commit or nothing, and nothing that was not said before."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from elusive.publish.dataset import CHECKSUMS
from hub_server import HubServer
from published_set import published_run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
REPO = "somebody/elusive-set"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return published_run(tmp_path_factory.mktemp("run"), num_items=8)


@pytest.fixture(scope="module")
def published(made, tmp_path_factory):
    return made.publish(tmp_path_factory.mktemp("set") / "publish")


@pytest.fixture
def hub():
    with HubServer() as server:
        yield server


@pytest.fixture
def push(hub, published, tmp_path):
    """Run the command as a rule does; (exit status, what it said)."""

    def run(*options, directory=published, repo=REPO, token=hub.token):
        environment = os.environ | hub.environment(tmp_path / "home", token) | {"PYTHONPATH": str(ROOT / "workflow")}
        command = [sys.executable, "-m", "elusive", "push", "--directory", str(directory), "--repo", repo, *options]
        command += ["--log", str(tmp_path / "push.log")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        return done.returncode, (tmp_path / "push.log").read_text()

    return run


def content(directory):
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def on_hub(hub, repo=REPO):
    repository = hub.repositories["dataset", repo]
    files = repository.commits[repository.branches["main"]]
    return {name: file.read() for name, file in files.items() if name != ".gitattributes"}


def commits(hub, repo=REPO):
    return len(hub.repositories["dataset", repo].commits)


def test_the_set_arrives_in_one_commit_and_loads(hub, push, published, tmp_path):
    status, said = push()
    assert status == 0, said
    assert on_hub(hub) == content(published)
    assert commits(hub) == 2, "the hub's own first one, and ours"
    assert hub.repositories["dataset", REPO].private
    tables = sorted(path.stem for path in published.glob("data/*"))
    code = f"""
import datasets
choices = datasets.load_dataset("{REPO}", split="train")
print(len(choices), sorted(datasets.get_dataset_config_names("{REPO}")) == {tables})
print(datasets.load_dataset("{REPO}", "benchmarks", split="train")["license"][:])
"""
    environment = os.environ | hub.environment(tmp_path / "other", hub.token)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"{35 * 8 * 12} True", "['CC-BY-SA-4.0', 'MIT', 'CC-BY-NC-3.0']"], done.stderr


def test_what_will_happen_is_said_before_anything_is_sent(hub, push, published):
    hub.fail("/api/repos/create", "status", times=99, status=403)
    status, said = push()
    assert status == 1 and not hub.repositories
    assert f"about to push {published} to the dataset {REPO}, which does not exist yet and will be private" in said
    for name in content(published):
        assert f"new      {name} (" in said
    assert "no licence has been chosen for the numbers" in said and "texts of items: none" in said
    assert hub.count("POST", "*preupload*") == 0
    assert said.index("about to push") < said.index("the hub refused: the token may not write to")


def test_a_dry_run_says_it_and_sends_nothing(hub, push):
    status, said = push("--dry-run", "--public")
    assert status == 0 and "will be PUBLIC: anybody can read it" in said and said.rstrip().endswith("nothing was sent")
    assert not hub.repositories and all(method in ("GET", "HEAD") for method, _, _ in hub.requests)


def test_a_public_one_only_where_it_is_asked_for(hub, push):
    assert push("--public")[0] == 0
    assert not hub.repositories["dataset", REPO].private


@pytest.mark.parametrize("token", ["", "hf_wrong"])
def test_without_a_login_nothing_happens(hub, push, token):
    status, said = push(token=token)
    assert status == 1 and "not logged in to" in said and "hf auth login" in said
    assert not hub.repositories


def test_an_interrupted_push_shows_nothing_and_goes_on(hub, push, published):
    """The store refuses some large files; what has arrived is not sent again."""
    large = {path.name for path in published.glob("data/*.parquet")}
    hub.fail("/uploads/*", "status", times=3, status=400)
    status, said = push()
    assert status == 1
    assert f"{REPO} shows all of this push or nothing of it; the same command goes on with what has arrived" in said
    assert set(on_hub(hub)) == set(), "nothing but what the hub put there itself"
    arrived = dict(hub.stored)
    assert len(arrived) < len(large)
    hub.heal()
    before = hub.count("PUT", "/uploads/*")
    assert push()[0] == 0
    assert on_hub(hub) == content(published) and commits(hub) == 2
    assert hub.count("PUT", "/uploads/*") - before == len(large) - len(arrived)


def test_cut_connections_are_outlasted(hub, push, published):
    hub.fail("/uploads/*", "cut", times=3, after=500)
    status, said = push()
    assert status == 0, said
    assert on_hub(hub) == content(published)


def test_a_commit_that_fails_leaves_what_was_there(hub, push, published, made, tmp_path):
    assert push()[0] == 0
    before = on_hub(hub)
    changed = made.publish(tmp_path / "second", title="Another")
    hub.fail(f"/api/datasets/{REPO}/commit/*", "status", times=1, status=500)
    status, said = push(directory=changed)
    assert status == 1 and "goes on" in said and on_hub(hub) == before
    assert push(directory=changed)[0] == 0
    assert on_hub(hub) == content(changed) and commits(hub) == 3


def test_a_commit_whose_answer_is_lost_is_not_made_twice(hub, push, published, monkeypatch):
    """The hub took it, and the connection ended: the same command finds nothing to do."""
    from hub_server import _Handler

    taken = _Handler._take

    def lose(self, repository, branch):
        monkeypatch.undo()
        answer = self._json
        self._json = lambda *_: None
        taken(self, repository, branch)
        self._json = answer
        self.close_connection = True

    monkeypatch.setattr(_Handler, "_take", lose)
    status, said = push()
    assert status == 1 and "interrupted" in said
    assert on_hub(hub) == content(published)
    status, said = push()
    assert status == 0 and "nothing to upload" in said and commits(hub) == 2


def test_the_same_again_sends_nothing(hub, push):
    assert push()[0] == 0
    before = len(hub.requests)
    status, said = push()
    assert status == 0 and "nothing to upload" in said and commits(hub) == 2
    assert all(method in ("GET", "HEAD") for method, _, _ in hub.requests[before:])


def test_only_what_changed_is_sent_and_what_is_gone_is_removed(hub, push, published, made, tmp_path):
    assert push()[0] == 0
    second = made.publish(tmp_path / "second", license="mit")
    (second / "data/scores.parquet").unlink()
    lines = [line for line in (second / CHECKSUMS).read_text().splitlines(True) if "scores.parquet" not in line]
    (second / CHECKSUMS).write_text("".join(lines))
    before = hub.count("PUT", "/uploads/*")
    status, said = push(directory=second)
    assert status == 0, said
    assert on_hub(hub) == content(second) and commits(hub) == 3
    assert "removed  data/scores.parquet" in said and "changed  README.md" in said
    assert re.search(r"as it is there already: \d+ files", said) and "no licence" not in said
    assert hub.count("PUT", "/uploads/*") == before, "no table changed"


def test_a_dataset_with_other_things_is_left_alone(hub, push):
    repository = hub.add(REPO, type="dataset")
    commit = repository.commit({"README.md": b"# Mine", "train.csv": b"a,b\n"})
    status, said = push()
    assert status == 1 and "is a dataset with other things in it (train.csv), which a push would remove" in said
    assert repository.branches["main"] == commit
    other = hub.add("somebody/other", type="dataset")
    other.commit({"manifest.json": b'{"format": "something else"}'})
    assert push(repo="somebody/other")[0] == 1


def test_a_dataset_made_in_the_browser_is_taken(hub, push, published):
    hub.add(REPO, type="dataset").commit({".gitattributes": b"", "README.md": b"---\nlicense: mit\n---\n"})
    status, said = push()
    assert status == 0, said
    assert on_hub(hub) == content(published) and "which is PUBLIC: anybody can read it" in said


def test_somebody_elses_commit_meanwhile_is_not_overwritten(hub, push, monkeypatch):
    """The commit names the one that was looked at; a dataset that has moved on refuses it."""
    from hub_server import _Handler

    assert push()[0] == 0
    repository = hub.repositories["dataset", REPO]
    preupload = _Handler._preupload

    def meanwhile(self, repository):
        repository.change({"note.txt": None}, "main")
        preupload(self, repository)

    first = dict(on_hub(hub))
    repository.change({"README.md": None})
    monkeypatch.setattr(_Handler, "_preupload", meanwhile)
    status, said = push()
    assert status == 1 and "was changed by somebody else meanwhile" in said
    monkeypatch.undo()
    assert push()[0] == 0 and on_hub(hub) == first


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: (d / "data/scores.parquet").write_bytes(b"PAR1"), "data/scores.parquet differs from SHA256SUMS"),
        (lambda d: (d / "data/scores.parquet").unlink(), "data/scores.parquet is missing, which SHA256SUMS lists"),
        (lambda d: (d / "notes.txt").write_text("private"), "notes.txt is not in SHA256SUMS; remove it"),
        (lambda d: (d / CHECKSUMS).unlink(), "SHA256SUMS: cannot be read"),
        (lambda d: (d / "manifest.json").unlink(), "it is no published data set"),
        (lambda d: (d / "manifest.json").write_text(json.dumps({"format": "x"})), "is no manifest of a published data"),
    ],
)
def test_only_a_whole_set_is_pushed(hub, push, published, tmp_path, change, message):
    copy = Path(shutil.copytree(published, tmp_path / "copy"))
    change(copy)
    status, said = push(directory=copy)
    assert status == 1 and message in said
    assert not hub.requests
