"""Downloads from the hub: what comes, what does not, and what happens when the connection or the hub is bad."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

import elusive
from elusive.errors import ElusiveError
from elusive.hub.client import Hub
from elusive.hub.download import download, wait_for_scoring
from elusive.hub.select import needed_files
from hub_server import HubServer

SIZE = 3_000_000
WEIGHTS = random.Random(1).randbytes(SIZE)
FILES = {"config.json": b'{"model_type": "gpt2"}', "tokenizer.json": b'{"a": 1}', "model.safetensors": WEIGHTS}
USELESS = {"README.md": b"words", "pytorch_model.bin": b"pickled", "model.onnx": b"x", "modeling_own.py": b"code"}


@pytest.fixture
def server():
    with HubServer() as server:
        server.add("org/tiny").commit(FILES | USELESS, "step1")
        yield server


class Downloads:
    """Downloads into ``output`` with short pauses."""

    def __init__(self, server: HubServer, directory: Path) -> None:
        self.output, self.partial = directory / "model" / "step1", directory / ".partial" / "model" / "step1"
        self.hub = Hub(server.endpoint, cache=directory / "hub", tries=4, wait=0.01, timeout=5)

    def __call__(self, repo: str = "org/tiny", revision: str = "step1", **options: object) -> str:
        return download(self.hub, repo, revision, self.output, self.partial, **options)

    @property
    def content(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.output.iterdir() if path.name != "source.json"}


@pytest.fixture
def downloads(server, tmp_path):
    return Downloads(server, tmp_path)


def command(server: HubServer, directory: Path, token: str = "", **options: object) -> dict:
    """How to run the command in a process of its own."""
    spec = {"repo": "org/tiny", "revision": "step1", "trust_remote_code": False}
    settings = ["--settings", json.dumps({"model": "tiny", "checkpoint": "step1"})]
    places = [
        "--output",
        str(directory / "out"),
        "--partial",
        str(directory / "partial"),
        "--log",
        str(directory / "log"),
    ]
    own = {"PYTHONPATH": str(Path(elusive.__file__).parents[1])}
    return {
        "args": [sys.executable, "-m", "elusive", "download", "--spec", json.dumps(spec), *settings, *places],
        "env": os.environ | server.environment(directory / "home", token) | own | options,
        "stderr": subprocess.PIPE,
        "text": True,
    }


# What comes


def test_only_what_is_needed_comes(server, downloads):
    commit = downloads()
    assert downloads.content == FILES
    source = json.loads((downloads.output / "source.json").read_text())
    assert source == {"repo": "org/tiny", "revision": "step1", "commit": commit}
    assert commit == server.repositories["model", "org/tiny"].branches["step1"]
    assert set(server.served) == set(FILES)
    assert not downloads.partial.exists()
    assert not downloads.hub.cache.exists(), "weights that are removed after scoring are not in the cache either"


def test_code_comes_only_where_it_is_trusted(downloads):
    downloads(trust_remote_code=True)
    assert downloads.content == FILES | {"modeling_own.py": b"code"}


@pytest.mark.parametrize(("suffix", "stem"), [("safetensors", "model"), ("bin", "pytorch_model")])
def test_shards_are_those_of_the_index(server, downloads, suffix, stem):
    shards = [f"{stem}-0000{i}-of-00002.{suffix}" for i in (1, 2)]
    index = json.dumps({"weight_map": {"a": shards[0], "b": shards[1], "c": shards[0]}}).encode()
    small = {name: FILES[name] for name in ("config.json", "tokenizer.json")}
    files = small | {shards[0]: b"1", shards[1]: b"22", f"{stem}.{suffix}.index.json": index}
    server.add("org/tiny").commit(files | {f"{stem}-00003-of-00003.{suffix}": b"old"}, "sharded")
    downloads(revision="sharded")
    assert downloads.content == files


def test_a_missing_shard_is_named(server, downloads):
    index = json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "../x"}}).encode()
    small = {name: FILES[name] for name in ("config.json", "tokenizer.json")}
    server.add("org/tiny").commit(small | {"model.safetensors.index.json": index}, "bad")
    with pytest.raises(ElusiveError, match=r"names '\.\./x', which is no file beside it"):
        downloads(revision="bad")
    index = index.replace(b"../x", b"model-2.safetensors")
    server.add("org/tiny").commit(small | {"model.safetensors.index.json": index, "model-1.safetensors": b"1"}, "bad")
    with pytest.raises(ElusiveError, match=r"names model-2\.safetensors, which the repository has not"):
        downloads(revision="bad")


@pytest.mark.parametrize(
    ("lacking", "said"),
    [("config.json", "has no config.json"), ("tokenizer.json", "no tokenizer"), ("model.safetensors", "no weights")],
)
def test_an_incomplete_repository_is_refused(lacking, said):
    files = [name for name in FILES if name != lacking] + ["tf_model.h5"]
    with pytest.raises(ElusiveError, match=f"org/tiny: .*{said}.*its files are: .*tf_model.h5"):
        needed_files(files, False, "org/tiny")
    assert needed_files([*files, lacking], False, "org/tiny")[-1] == "model.safetensors"


def test_tags_and_commits_are_revisions(server, downloads):
    repository = server.repositories["model", "org/tiny"]
    commit = repository.branches["step1"]
    repository.tag("v1", commit)
    assert downloads(revision="v1") == downloads(revision=commit) == commit


# Faults that pass


@pytest.mark.parametrize("pattern", ["/api/models/org/tiny*", "/org/tiny/resolve/*", "org/tiny@*/model.safetensors"])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_error_is_survived(server, downloads, pattern, status, caplog):
    server.fail(pattern, "status", status=status, times=3)
    with caplog.at_level("WARNING", logger="elusive"):
        downloads()
    assert downloads.content == FILES
    assert sum(f"status {status}" in record.message for record in caplog.records) == 3


def test_the_pause_doubles_or_is_what_the_hub_asks_for(server, downloads, caplog):
    downloads.hub = replace(downloads.hub, tries=8, longest=0.03)
    server.fail("*/revision/*", "status", status=500, times=3)
    server.fail("*/revision/*", "status", status=429, retry_after=1)
    server.fail("*/revision/*", "status", status=429, headers={"RateLimit": '"api";r=0;t=0'})
    with caplog.at_level("WARNING", logger="elusive"):
        started = time.monotonic()
        downloads()
    assert time.monotonic() - started >= 1
    pauses = [re.search(r"again in (\S+) s", record.message)[1] for record in caplog.records]
    assert pauses == ["0.01", "0.02", "0.03", "1", "0"]


def test_a_hub_that_asks_for_hours_is_left_alone(server, downloads):
    server.fail("/api/*", "status", status=429, retry_after=7200)
    with pytest.raises(ElusiveError, match=r"asks to come back in 7200 s"):
        downloads()


def test_an_error_that_stays_ends_with_advice(server, downloads):
    server.fail("org/tiny@*/model.safetensors", "status", status=502, times=100)
    with pytest.raises(ElusiveError, match=r"4 attempts, last with status 502.*HF_ENDPOINT.*HF_HUB_OFFLINE=1"):
        downloads()
    assert not downloads.output.exists()


def test_a_dropped_connection_is_taken_up_where_it_broke(server, downloads):
    server.fail("*/model.safetensors", "drop", times=10, after=250_000)
    downloads()
    assert downloads.content == FILES
    # More drops than attempts: whoever gets on has patience. And no byte comes twice.
    assert server.served["model.safetensors"] == SIZE


def test_a_hub_without_ranges_gives_it_anew(server, downloads):
    server.fail("*/model.safetensors", "drop", after=1_000_000)
    server.fail("*/model.safetensors", "no-range")
    downloads()
    assert downloads.content == FILES
    assert server.served["model.safetensors"] == SIZE + 1_000_000


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_wrong_checksum_is_discarded(server, downloads, name, caplog):
    server.fail(f"*/{name}", "corrupt", times=2)
    with caplog.at_level("WARNING", logger="elusive"):
        downloads()
    assert downloads.content == FILES
    assert [f"{name} of org/tiny at step1: has not the announced checksum" in r.message for r in caplog.records]
    assert server.served[name] == 3 * len(FILES[name])


def test_a_checksum_that_stays_wrong_is_an_error(server, downloads):
    server.fail("*/model.safetensors", "corrupt", times=3)
    with pytest.raises(ElusiveError, match=f"model.safetensors came 3 times.*{hashlib.sha256(WEIGHTS).hexdigest()}"):
        downloads()
    assert not downloads.output.exists()


# Faults that stay


def test_a_missing_revision_names_near_ones(server, downloads):
    repository = server.add("org/tiny")
    for i in range(20):
        repository.commit({"config.json": b"{}"}, f"step{1000 * i}")
    with pytest.raises(ElusiveError, match=r"no revision 'step13001'; did you mean 'step13000' or .*, … 21 in all\)"):
        downloads(revision="step13001")


def test_missing_private_and_gated_repositories_say_what_to_do(server, downloads):
    server.add("org/secret", private=True).commit(FILES)
    server.add("org/gated", gated=True).commit(FILES)
    for repo in ("org/none", "org/secret"):
        with pytest.raises(ElusiveError, match=f"no repository {repo} at {server.endpoint}/{repo}.*set HF_TOKEN"):
            downloads(repo, "main")
    with pytest.raises(ElusiveError, match=f"gated, and there is no token: .*{server.endpoint}/org/gated.*HF_TOKEN"):
        downloads("org/gated", "main")
    downloads.hub = replace(downloads.hub, token="hf_of_somebody_else")
    with pytest.raises(ElusiveError, match="the account of the token in use has not done so"):
        downloads("org/gated", "main")
    downloads.hub = replace(downloads.hub, token=server.token)
    with pytest.raises(ElusiveError, match="the token in use may not read it"):
        downloads("org/none", "main")
    for repo in ("org/secret", "org/gated"):
        downloads(repo, "main")
        assert downloads.content == FILES


@pytest.mark.parametrize(("status", "said"), [(403, "forbidden"), (404, "a file that it has not"), (418, "status 418")])
def test_other_refusals_are_not_tried_again(server, downloads, status, said):
    code = "EntryNotFound" if status == 404 else ""
    server.fail("org/tiny@*/model.safetensors", "status", status=status, code=code, times=9)
    with pytest.raises(ElusiveError, match=said):
        downloads()
    assert server.count("GET", "/org/tiny/resolve/*/model.safetensors") == 1


def test_no_room_is_noticed_before(server, downloads):
    repository = server.add("org/tiny")
    commit = repository.commit(FILES, "huge")
    files = repository.commits[commit]
    files["model.safetensors"] = replace(files["model.safetensors"], size=10**17)
    with pytest.raises(ElusiveError, match=r"needs 100000000\.0 GB, but the disk of .* has .* GB left"):
        downloads(revision="huge")
    assert server.served["model.safetensors"] == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_disk_that_fills_up_keeps_what_has_come(server, downloads):
    server.fail("*/model.safetensors", "drop", times=4, after=0)
    with pytest.raises(ElusiveError, match="attempts"):
        downloads()
    (incomplete,) = downloads.partial.glob("*.incomplete")
    incomplete.unlink()
    incomplete.symlink_to("/dev/full")
    with pytest.raises(ElusiveError, match="no space left on the disk; free some and run the same command again"):
        downloads()
    incomplete.unlink()
    downloads()
    assert downloads.content == FILES
    assert server.served["config.json"] == len(FILES["config.json"])


def test_nobody_there_is_said(downloads):
    downloads.hub = replace(downloads.hub, endpoint="http://127.0.0.1:9", tries=2)
    with pytest.raises(ElusiveError, match=r"127\.0\.0\.1:9 did not answer .* 2 attempts, last with ConnectError"):
        downloads()
    downloads.hub = replace(downloads.hub, endpoint="hub.example")
    with pytest.raises(ElusiveError, match=r"hub\.example is no hub that can be reached, check HF_ENDPOINT"):
        downloads()


# From job to job


def test_a_killed_job_is_gone_on_with(server, tmp_path):
    server.fail("*/model.safetensors", "slow", delay=0.05, times=1)
    process = subprocess.Popen(**command(server, tmp_path))
    while server.served["model.safetensors"] < SIZE // 3:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (incomplete,) = (tmp_path / "partial").glob("*.incomplete")
    have = incomplete.stat().st_size
    assert have > 0
    assert not (tmp_path / "out").exists()
    time.sleep(0.2)  # until the server has noticed
    before = server.served.copy()
    done = subprocess.run(**command(server, tmp_path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/model.safetensors").read_bytes() == WEIGHTS
    assert server.served["model.safetensors"] - before["model.safetensors"] == SIZE - have
    assert server.served["config.json"] == before["config.json"]
    assert f"{have / 1e6 + 0.0:.1f} MB from an earlier job" in (tmp_path / "log").read_text()


def test_a_branch_that_moves_between_jobs_does_no_harm(server, downloads):
    server.fail("*/model.safetensors", "drop", times=1, after=1_000_000)
    server.fail("*/model.safetensors", "drop", times=4, after=0)
    with pytest.raises(ElusiveError, match="attempts"):
        downloads()
    other = FILES | {"config.json": b'{"model_type": "llama"}', "model.safetensors": WEIGHTS[::-1]}
    commit = server.add("org/tiny").commit(other, "step1")
    assert downloads() == commit
    assert downloads.content == other
    assert not downloads.partial.exists()


def test_a_job_killed_while_it_names_files_is_gone_on_with(server, downloads):
    downloads()
    complete = downloads.partial / "complete"
    complete.parent.mkdir(parents=True)
    downloads.output.rename(complete)
    (complete / "config.json").unlink()
    before = server.served["model.safetensors"]
    downloads()
    assert downloads.content == FILES
    assert server.served["model.safetensors"] == before


# Not too far ahead of scoring


def test_a_download_waits_until_a_checkpoint_is_scored(server, tmp_path, caplog):
    for name in ("a/step1", "a/step2", "b/step1"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "source.json").write_text("{}")
    (tmp_path / "local/step1").mkdir(parents=True)
    wait_for_scoring(tmp_path, 4)
    waiting = threading.Thread(target=wait_for_scoring, args=(tmp_path, 2, 0, 60, 0.01))
    with caplog.at_level("INFO", logger="elusive"):
        waiting.start()
        shutil.rmtree(tmp_path / "a/step1")
        waiting.join(0.3)
        assert waiting.is_alive(), "two are still as many as may"
        shutil.rmtree(tmp_path / "b/step1")
        waiting.join(30)
    assert not waiting.is_alive()
    assert "waiting for scoring: 2 checkpoints lie there (a/step2, b/step1)" in caplog.text


def test_a_download_does_not_wait_for_what_lay_there_before(tmp_path, caplog):
    for name, time_of in {"a/step1": 1000, "a/step2": 2000, "b/step1": 3000}.items():
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "source.json").write_text("{}")
        os.utime(tmp_path / name / "source.json", (time_of, time_of))
    with caplog.at_level("INFO", logger="elusive"):
        wait_for_scoring(tmp_path, 2, since=2001)
        assert not caplog.records
        wait_for_scoring(tmp_path, 2, since=2000, patience=0.1, poll=0.01)
    assert "waiting for scoring: 2 checkpoints lie there (a/step2, b/step1)" in caplog.text


def test_a_download_does_not_wait_for_ever(tmp_path, caplog):
    (tmp_path / "a/step1").mkdir(parents=True)
    (tmp_path / "a/step1/source.json").write_text("{}")
    wait_for_scoring(tmp_path, 1, patience=0.1, poll=0.01)
    assert "going on without waiting" in caplog.text


# The user's cache and environment

FILL = "import huggingface_hub; huggingface_hub.snapshot_download('org/tiny', revision='step1')"


def test_the_users_cache_is_used_and_linked(server, tmp_path):
    process = command(server, tmp_path)
    subprocess.run([sys.executable, "-c", FILL], env=process["env"], check=True, capture_output=True)
    before = server.served.copy()
    done = subprocess.run(**process)
    assert done.returncode == 0, done.stderr
    assert server.served == before
    weights = tmp_path / "out/model.safetensors"
    assert weights.read_bytes() == WEIGHTS
    assert weights.stat().st_nlink == 2, "the disk holds them once"
    assert not weights.is_symlink()


def test_a_damaged_cache_is_left_aside(server, tmp_path):
    process = command(server, tmp_path)
    subprocess.run([sys.executable, "-c", FILL], env=process["env"], check=True, capture_output=True)
    (cached,) = (tmp_path / "home/hub").glob("models--org--tiny/snapshots/*/model.safetensors")
    cached.resolve().write_bytes(WEIGHTS[:-1] + bytes([WEIGHTS[-1] ^ 1]))
    done = subprocess.run(**process)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/model.safetensors").read_bytes() == WEIGHTS
    done = subprocess.run(**command(server, tmp_path, HF_HUB_OFFLINE="1"))
    assert done.returncode == 1
    assert "not in the Hugging Face cache as it should be, and HF_HUB_OFFLINE is set" in done.stderr


@pytest.mark.parametrize("by", ["branch", "commit"])
def test_offline_with_a_warm_cache(server, tmp_path, by):
    process = command(server, tmp_path, HF_HUB_OFFLINE="1")
    commit = server.repositories["model", "org/tiny"].branches["step1"]
    if by == "commit":
        process["args"] = [argument.replace("step1", commit) for argument in process["args"]]
    done = subprocess.run(**process)
    assert done.returncode == 1
    assert "HF_HUB_OFFLINE is set, but the Hugging Face cache" in done.stderr and "hf download" in done.stderr
    environment = process["env"] | {"HF_HUB_OFFLINE": "0"}
    subprocess.run([sys.executable, "-c", FILL], env=environment, check=True, capture_output=True)
    asked = len(server.requests)
    done = subprocess.run(**process)
    assert done.returncode == 0, done.stderr
    assert len(server.requests) == asked
    assert (tmp_path / "out/model.safetensors").read_bytes() == WEIGHTS
    assert json.loads((tmp_path / "out/source.json").read_text())["commit"] == commit


def test_the_token_of_the_environment_is_for_the_hub_alone(server, tmp_path):
    server.repositories["model", "org/tiny"].private = True
    done = subprocess.run(**command(server, tmp_path))
    assert done.returncode == 1
    assert "set HF_TOKEN" in done.stderr
    assert not server.served
    done = subprocess.run(**command(server, tmp_path, token=server.token))
    assert done.returncode == 0, done.stderr
    at_store = [headers for _, path, headers in server.requests if path.startswith("/store/")]
    assert at_store and not any("authorization" in headers for headers in at_store)


def test_a_proxy_is_used(server, tmp_path):
    proxy = {"HF_ENDPOINT": "http://hub.invalid", "http_proxy": server.endpoint, "no_proxy": "", "NO_PROXY": ""}
    done = subprocess.run(**command(server, tmp_path, **proxy))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/model.safetensors").read_bytes() == WEIGHTS
    assert {headers["host"] for _, path, headers in server.requests if "api" in path} == {"hub.invalid"}


def test_the_log_says_what_came(server, tmp_path):
    done = subprocess.run(**command(server, tmp_path))
    assert done.returncode == 0, done.stderr
    commit = server.repositories["model", "org/tiny"].branches["step1"]
    last = (tmp_path / "log").read_text().splitlines()[-1]
    assert f"org/tiny at step1 is commit {commit}: 3.0 MB (3.0 MB downloaded, 0.0 MB from" in last
