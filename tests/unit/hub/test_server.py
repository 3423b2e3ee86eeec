"""The local hub server answers huggingface_hub and datasets as the hub does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hub_server import HubServer


@pytest.fixture
def hub():
    with HubServer() as server:
        yield server


def python(hub: HubServer, home: Path, code: str, token: str = "") -> subprocess.CompletedProcess:
    environment = os.environ | hub.environment(home, token)
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


def test_a_snapshot_is_the_repository(hub, tmp_path):
    files = {"config.json": b"{}", "deep/er/a b.txt": b"text", "model.safetensors": bytes(range(256)) * 1000}
    repository = hub.add("org/tiny")
    repository.commit({"other": b"x"})
    commit = repository.commit(files, "step1")
    hub.page = 2
    code = "import huggingface_hub; print(huggingface_hub.snapshot_download('org/tiny', revision='step1'))"
    done = python(hub, tmp_path, code)
    assert done.returncode == 0, done.stderr
    directory = Path(done.stdout.strip())
    assert directory.name == commit
    assert {str(p.relative_to(directory)): p.read_bytes() for p in directory.rglob("*") if p.is_file()} == files


def test_revisions_tags_and_missing_things(hub, tmp_path):
    repository = hub.add("org/tiny")
    commit = repository.commit({"config.json": b"{}"}, "step1")
    repository.tag("v1", commit)
    hub.add("org/secret", private=True).commit({"config.json": b"{}"})
    hub.add("org/gated", gated=True).commit({"config.json": b"{}"})
    code = """
import huggingface_hub as h
refs = h.list_repo_refs("org/tiny")
print([b.name for b in refs.branches], [t.name for t in refs.tags], h.model_info("org/tiny", revision="v1").sha)
for name, revision in (("org/tiny", "step2"), ("org/none", None), ("org/secret", None), ("org/gated", None)):
    try:
        h.hf_hub_download(name, "config.json", revision=revision or "main")
        print("fine")
    except Exception as error:
        print(type(error).__name__)
"""
    done = python(hub, tmp_path / "without", code)
    errors = ["RevisionNotFoundError", "RepositoryNotFoundError", "RepositoryNotFoundError", "GatedRepoError"]
    assert done.stdout.split("\n")[:-1] == [f"['step1'] ['v1'] {commit}", *errors], done.stderr
    done = python(hub, tmp_path / "with", code, hub.token)
    assert done.stdout.split("\n")[1:-1] == [*errors[:2], "fine", "fine"], done.stderr
    at_store = [headers for _, path, headers in hub.requests if path.startswith("/store/")]
    assert not any("authorization" in headers for headers in at_store), "the token is for the hub alone"


def test_datasets_load_from_it(hub, tmp_path):
    table = pa.table({"question": ["a", "b", "c"], "answer": [0, 1, 2]})
    pq.write_table(table, tmp_path / "rows.parquet")
    repository = hub.add("org/rows", type="dataset")
    repository.commit({"README.md": b"# nothing"})
    repository.commit({"hard/test/0000.parquet": tmp_path / "rows.parquet"}, "refs/convert/parquet")
    commit = repository.commit({"test.jsonl": b'{"question": "d", "answer": 3}\n'}, "old")
    code = f"""
import datasets
print(datasets.load_dataset("org/rows", revision="{commit}", split="test").to_list())
print(datasets.load_dataset("org/rows", data_dir="hard", revision="refs/convert/parquet", split="test").to_list())
"""
    done = python(hub, tmp_path / "home", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str([{"question": "d", "answer": 3}]), str(table.to_pylist())]
