"""The real Snakefile on models of the hub: downloaded through faults, scored as lm-eval scores them, and removed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter

import numpy as np
import polars as pl
import pytest
import torch
import transformers

from elusive.scoring import loglikelihood
from elusive.tables import read_metadata, read_table
from hub_server import HubServer
from runs import Run
from scoring_checkpoints import lm_eval_scores, random_model, save_checkpoint, train_tokenizer

SMALL = {
    "vocab_size": 512,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "intermediate_size": 96,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}
ARCHITECTURES = {
    "gpt_neox": transformers.GPTNeoXConfig(**SMALL),
    "gpt2": transformers.GPT2Config(vocab_size=512, n_embd=64, n_layer=2, n_head=4, n_positions=256, bos_token_id=0),
    "llama": transformers.LlamaConfig(**SMALL, num_key_value_heads=2),
    "olmo": transformers.OlmoConfig(**SMALL),
    "olmo2": transformers.Olmo2Config(**SMALL, num_key_value_heads=2),
}
pytestmark = pytest.mark.slow

#: Revisions of each: every architecture is there, and one has several.
STEPS = {"gpt_neox": (1, 2), "gpt2": (1,), "llama": (1,), "olmo": (1,), "olmo2": (1,)}
CHECKPOINTS = [(name, step) for name, steps in STEPS.items() for step in steps]
SCORES = "results/tables/scores.parquet"


class HubRun(Run):
    """A run whose hub is the local server."""

    server: HubServer

    def environment(self) -> dict[str, str]:
        return super().environment() | self.server.environment(self.directory / "home")


def commit_model(server: HubServer, architecture: str, step: int, directory) -> None:
    """One checkpoint in one of the forms that checkpoints have on the hub."""
    if architecture == "llama":  # sharded
        model = transformers.AutoModelForCausalLM.from_pretrained(directory)
        (directory / "model.safetensors").unlink()
        model.save_pretrained(directory, max_shard_size="100KB")
        assert (directory / "model.safetensors.index.json").exists()
    elif architecture == "gpt2":  # pickled only
        model = transformers.AutoModelForCausalLM.from_pretrained(directory)
        (directory / "model.safetensors").unlink()
        torch.save(model.state_dict(), directory / "pytorch_model.bin")
    files = {path.name: path for path in directory.iterdir()}
    files |= {"README.md": b"About it", "flax_model.msgpack": bytes(10**6)}
    server.add(f"tests/{architecture}").commit(files, f"step{step}")


@pytest.fixture(scope="module")
def checkpoints(archive_path, tmp_path_factory):
    """(architecture, step) -> directory of random weights with a real tokenizer."""
    tokenizer = train_tokenizer(archive_path, tmp_path_factory.mktemp("tokenizer"), vocabulary=512)
    place = tmp_path_factory.mktemp("models")
    return {
        (name, step): save_checkpoint(random_model(ARCHITECTURES[name], seed=step), tokenizer, place / f"{name}-{step}")
        for name, step in CHECKPOINTS
    }


@pytest.fixture(scope="module")
def server(checkpoints):
    with HubServer() as server:
        for (name, step), directory in checkpoints.items():
            commit_model(server, name, step, directory)
        yield server


@pytest.fixture(scope="module")
def config(checkpoints):
    models = []
    for name in ARCHITECTURES:
        loaded = transformers.AutoModelForCausalLM.from_pretrained(checkpoints[name, 1])
        parameters = sum(parameter.numel() for parameter in loaded.parameters())
        steps = [{"name": f"early-{step}", "revision": f"step{step}", "tokens": 1000 * step} for step in STEPS[name]]
        own = {"source": "hub", "repo": f"tests/{name}", "parameters": parameters, "checkpoints": steps}
        models.append({"name": name, **own})
    return {
        "models": models,
        "families": [{"name": "tiny", "members": ["*/*"]}],
        "benchmarks": [{"name": "arc_easy", "limit": 4}],
        "scoring": {"device": "cpu"},
        "hub": {"ahead": 1},
    }


@pytest.fixture(scope="module")
def finished(server, config, repository, archive_path, tmp_path_factory):
    """A finished run that met every fault that passes."""
    weights = {"gpt_neox": "model.safetensors", "olmo": "model.safetensors", "olmo2": "model.safetensors"}
    server.fail("/api/models/tests/gpt2/*", "status", status=429, retry_after=1)
    server.fail("/api/models/tests/llama/*", "status", status=500)
    server.fail("/tests/olmo2/resolve/*", "status", status=503)
    server.fail("tests/gpt2@*/pytorch_model.bin", "drop", times=2, after=50_000)
    server.fail("tests/llama@*/model-*.safetensors", "drop", times=3, after=20_000)
    server.fail(f"tests/olmo@*/{weights['olmo']}", "corrupt")
    server.fail(f"tests/gpt_neox@*/{weights['gpt_neox']}", "slow", delay=0.1)
    run = HubRun(repository, tmp_path_factory.mktemp("hub"), config, archive_path)
    run.server = server
    run.output = run.succeed(SCORES)
    assert all(fault.times == 0 for fault in server._faults), "every fault was met"
    return run


def of(run, name, step, benchmark="arc_easy"):
    return run.directory / f"results/logprobs/{name}/early-{step}/{benchmark}.parquet"


def test_every_architecture_scores_as_lm_eval_does(finished, checkpoints):
    items = read_table(finished.directory / "results/items/arc_easy.parquet", "items").to_pylist()
    pairs = [(item["contexts"][0], continuation) for item in items for continuation in item["continuations"]]
    for (name, step), directory in checkpoints.items():
        table = pl.from_arrow(read_table(of(finished, name, step), "logprobs"))
        model = transformers.AutoModelForCausalLM.from_pretrained(directory).eval()
        values, greedy = lm_eval_scores(model, transformers.AutoTokenizer.from_pretrained(directory), pairs)
        difference = np.abs(table["log_likelihood"].to_numpy() - values)
        assert (difference <= loglikelihood.tolerance_of(values)).all(), (name, step, difference.max())
        assert (table["is_greedy"].to_numpy() == greedy).all()


def test_tables_know_repository_and_commit(finished, server):
    for name, step in CHECKPOINTS:
        metadata = read_metadata(of(finished, name, step))
        assert metadata["source"] == "hub"
        assert metadata["repo"] == f"tests/{name}"
        assert metadata["revision"] == server.repositories["model", f"tests/{name}"].branches[f"step{step}"]


def test_weights_are_gone(finished):
    left = [path for path in (finished.directory / "results/checkpoints").rglob("*") if path.is_file()]
    assert not left
    assert not list((finished.directory / "home").rglob("*.safetensors"))
    assert finished.planned(SCORES) == {}


def test_downloads_do_not_run_far_ahead(finished):
    logs = [path.read_text() for path in (finished.directory / "results/logs/download").glob("*/*.log")]
    waited = [text for text in logs if "waiting for scoring" in text]
    # Two are downloaded at once by default, so whoever comes after them finds one that waits to be scored.
    assert len(logs) == len(CHECKPOINTS) and len(waited) >= 2
    assert not any("going on without waiting" in text for text in logs)


def test_only_what_is_needed_was_downloaded(finished, server):
    assert not {"README.md", "flax_model.msgpack"} & set(server.served)
    for name in ARCHITECTURES:
        log = (finished.directory / f"results/logs/download/{name}/early-1.log").read_text()
        commit = server.repositories["model", f"tests/{name}"].branches["step1"]
        assert f"tests/{name} at step1 is commit {commit}: " in log.splitlines()[-1]


@pytest.fixture
def copy(finished, tmp_path, server, config, archive_path):
    shutil.copytree(finished.directory, tmp_path / "run", symlinks=True)
    run = HubRun(finished.repository, tmp_path / "run", config, archive_path)
    run.server = server
    return run


def test_a_benchmark_added_later_scores_only_itself(copy, config, server):
    copy.configure(config | {"benchmarks": [*config["benchmarks"], {"name": "sciq", "limit": 4}]})
    planned = copy.planned(SCORES)
    assert planned["download"] == planned["score"] == len(CHECKPOINTS)
    before, asked = copy.files("logprobs/*/*/*"), len(server.requests)
    copy.succeed("results/logprobs/gpt_neox/early-2/sciq.parquet")
    after = copy.files("logprobs/*/*/*")
    assert after.keys() - before.keys() == {"logprobs/gpt_neox/early-2/sciq.parquet"}
    assert {name: after[name][0] for name in before} == {name: content for name, (content, _) in before.items()}
    assert "1 of 2 tables are up to date" in (copy.directory / "results/logs/score/gpt_neox/early-2.log").read_text()
    repositories = Counter("tests/gpt_neox" in path for _, path, _ in server.requests[asked:])
    assert repositories.keys() == {True}, "no other checkpoint was asked for"
    assert not (copy.directory / "results/checkpoints/gpt_neox/early-2").exists()


def test_only_the_checkpoint_that_lacks_a_table_comes_again(copy):
    of(copy, "gpt2", 1).unlink()
    tables = [str(of(copy, name, step).relative_to(copy.directory)) for name, step in CHECKPOINTS]
    assert copy.planned(*tables) == {"download": 1, "score": 1}


def test_what_changes_no_score_downloads_nothing(copy, config):
    before = copy.files("logprobs/*/*/*")
    settings = {"scoring": {"device": "auto", "threads": 2, "token_budget": 500}}
    steps = [{"name": f"early-{step}", "revision": f"step{step}", "tokens": 3000 * step} for step in (1, 2)]
    neox, *others = config["models"]
    models = [neox | {"checkpoints": steps, "parameters_nonembedding": 1000, "download_gb": 1.5}, *others]
    families = [*config["families"], {"name": "more", "members": ["gpt*/*"]}]
    copy.configure(config | settings | {"models": models, "families": families})
    planned = copy.planned(SCORES, "results/tables/checkpoints.parquet")
    assert planned == {"metrics": 1, "scores": 1, "checkpoints": 1}
    copy.succeed(SCORES)
    scores = pl.read_parquet(copy.directory / SCORES).filter(model="gpt_neox").sort("tokens")
    assert scores["tokens"].unique().sort().to_list() == [3000, 6000], "the tables have what the configuration says"
    assert scores["flops"].unique().sort().to_list() == [6.0 * neox["parameters"] * step for step in (3000, 6000)]
    assert copy.files("logprobs/*/*/*") == before


@pytest.mark.parametrize("change", [{"dtype": "bfloat16"}, {"add_bos_token": True}])
def test_what_changes_scores_downloads_again(copy, config, change):
    neox, *others = config["models"]
    copy.configure(config | {"models": [neox | change, *others]})
    planned = copy.planned(SCORES)
    assert planned["download"] == planned["score"] == len(STEPS["gpt_neox"])


def test_weights_stay_on_request(copy, config):
    copy.configure(config | {"hub": {"keep": True}})
    assert copy.planned(SCORES) == {}, "what is done is done"
    of(copy, "olmo", 1).unlink()
    copy.succeed("results/logprobs/olmo/early-1/arc_easy.parquet")
    source = json.loads((copy.directory / "results/checkpoints/olmo/early-1/source.json").read_text())
    assert source["repo"] == "tests/olmo"
    # With `ahead: 1`, a later run that does not keep them must not wait for these.
    copy.configure(config)
    of(copy, "llama", 1).unlink()
    copy.succeed("results/logprobs/llama/early-1/arc_easy.parquet")
    assert "waiting" not in (copy.directory / "results/logs/download/llama/early-1.log").read_text()


def test_a_repository_that_is_not_there_ends_with_its_reason(copy, config):
    models = [{**model, "repo": model["repo"].replace("olmo2", "olmo3")} for model in config["models"]]
    copy.configure(config | {"models": models})
    planned = copy.planned(SCORES)
    assert (planned["download"], planned["score"]) == (1, 1), "another repository is another model"
    said = copy.fail("results/logprobs/olmo2/early-1/arc_easy.parquet", "--retries", "0")
    assert "there is no repository tests/olmo3" in said


def test_kept_weights_stay_whatever_is_said_of_the_items(copy, config):
    copy.configure(config | {"hub": {"keep": True}})
    of(copy, "olmo", 1).unlink()
    copy.succeed("results/logprobs/olmo/early-1/arc_easy.parquet")
    weights = copy.directory / "results/checkpoints/olmo/early-1/model.safetensors"
    before = weights.stat().st_ino, weights.stat().st_mtime_ns
    other = {"hub": {"keep": True}, "benchmarks": [{"name": "arc_easy", "limit": 3}, {"name": "sciq", "limit": 3}]}
    copy.configure(config | other)
    assert copy.planned("results/logprobs/olmo/early-1/arc_easy.parquet") == {"items": 2, "score": 1}
    copy.succeed("results/logprobs/olmo/early-1/arc_easy.parquet")
    assert (weights.stat().st_ino, weights.stat().st_mtime_ns) == before


def test_a_checkpoint_without_weights_of_an_interrupted_run_is_fetched_anew(copy, server):
    """What stands for weights that nobody needs says nothing of what is needed in the next run."""
    target = "results/logprobs/gpt2/early-1/arc_easy.parquet"
    left = copy.directory / "results/checkpoints/gpt2/early-1"
    left.mkdir(parents=True)
    commit = server.repositories["model", "tests/gpt2"].branches["step1"]
    source = {"repo": "tests/gpt2", "revision": "step1", "commit": commit, "weights": False}
    (left / "source.json").write_text(json.dumps(source))
    assert copy.planned(target) == {"download": 1, "score": 1}
    of(copy, "gpt2", 1).unlink()
    (copy.directory / "results/finished/gpt2/early-1/arc_easy.parquet").unlink()
    copy.succeed(target)
    assert "scored gpt2/early-1" in (copy.directory / "results/logs/score/gpt2/early-1.log").read_text()
    assert not left.exists() and copy.planned(target) == {}


def test_a_failed_run_ends_though_a_download_waits(copy, config, server):
    of(copy, "llama", 1).unlink()
    (copy.directory / "results/finished/llama/early-1/arc_easy.parquet").unlink()
    # A checkpoint that nobody scores lies there, from now on.
    lying = copy.directory / "results/checkpoints/other/step1"
    lying.mkdir(parents=True)
    (lying / "source.json").write_text("{}")
    os.utime(lying / "source.json", (2**31, 2**31))
    # Long enough for the download to begin to wait, and wrong at its end.
    row = json.dumps({"q": "What is it?", "c": ["this", "that"], "g": 0})
    (copy.directory / "rows.jsonl").write_text(f"{row}\n" * 200_000 + "no JSON\n")
    own = {"name": "own", "file": "rows.jsonl", "context": "{{ q }}", "choices": "c", "gold": "g"}
    copy.configure(config | {"benchmarks": [*config["benchmarks"], own], "scoring": {"batches": "each"}})
    served, log = server.served.copy(), copy.directory / "results/logs/download/llama/early-1.log"
    process = subprocess.Popen(
        copy.command("results/logprobs/llama/early-1/arc_easy.parquet", "results/items/own.parquet"),
        cwd=copy.directory,
        env=copy.environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    said, _ = process.communicate(timeout=1200)
    assert process.returncode == 1
    assert "rows.jsonl" in said and "At least one job did not complete successfully" in said
    assert server.served == served, "nothing was downloaded"
    text = log.read_text()
    assert "waiting for scoring: 1 checkpoints lie there (other/step1)" in text
    assert "another job of this run has failed, so this one does not go on" in text
