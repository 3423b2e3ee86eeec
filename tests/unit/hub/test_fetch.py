"""Whether a checkpoint's weights come follows from the fingerprints of its finished tables, before anything does."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest
from huggingface_hub import constants

from elusive.errors import ElusiveError
from elusive.hub.client import Hub
from elusive.hub.download import wait_for_scoring
from elusive.items.build import build_items
from elusive.scoring import cells as scoring_cells
from elusive.scoring import identity
from elusive.scoring import prompts as scoring_prompts
from elusive.scoring.fetch import Finished, fetch
from elusive.scoring.spec import Spec
from elusive.scoring.tokenize import TokenCache
from elusive.tables import read_metadata, read_table, write_table
from hub_server import HubServer
from scoring_checkpoints import neox_config, random_model, save_checkpoint, train_tokenizer

BENCHMARKS = ("sciq", "winogrande")
ASKED = {"model": "m", "checkpoint": "step1", "source": "hub", "repo": "org/tiny", "device": "cpu"}


@pytest.fixture(scope="module")
def items(archive_path, tmp_path_factory):
    directory = tmp_path_factory.mktemp("items")
    for name in BENCHMARKS:
        build_items({"name": name, "limit": 6}, directory / f"{name}.parquet", archive_path)
    return [directory / f"{name}.parquet" for name in BENCHMARKS]


@pytest.fixture(scope="module")
def checkpoint(archive_path, tmp_path_factory):
    tokenizer = train_tokenizer(archive_path, tmp_path_factory.mktemp("tokenizer"))
    return save_checkpoint(random_model(neox_config()), tokenizer, tmp_path_factory.mktemp("models") / "step1")


@pytest.fixture(scope="module")
def server(checkpoint):
    with HubServer() as server:
        server.add("org/tiny").commit(checkpoint, "step1")
        yield server


@pytest.fixture(scope="module")
def scored(server, checkpoint, items, tmp_path_factory):
    """Finished tables of the branch and, under another name, of the commit."""
    place = tmp_path_factory.mktemp("scored")
    commit = server.repositories["model", "org/tiny"].branches["step1"]
    for name, revision in {"step1": "step1", "pinned": commit}.items():
        directory = shutil.copytree(checkpoint, place / f"weights-{name}")
        source = {"repo": "org/tiny", "revision": revision, "commit": commit}
        (directory / "source.json").write_text(json.dumps(source))
        spec = Spec.from_mapping(ASKED | {"checkpoint": name, "revision": revision})
        outputs = [place / "logprobs" / name / path.name for path in items]
        scoring_cells.score_cells(spec, directory, items, outputs, finished=place / "finished")
    return place / "finished"


class Fetching:
    """A checkpoint of the server fetched into a directory, with what there is of it."""

    def __init__(self, server: HubServer, scored: Path, items: list[Path], place: Path) -> None:
        self.server, self.place = server, place
        self.directory = shutil.copytree(scored, place / "finished")
        self.items = [Path(shutil.copy2(path, place)) for path in items]
        self.spec = ASKED | {"revision": "step1"}
        self.waited = 0
        self.pending = lambda: 0
        self.tokens = TokenCache(place / "tokens")

    def __call__(self, **changes: object) -> bool:
        finished = Finished(self.items, self.directory, self.tokens, self.pending)
        hub = Hub(self.server.endpoint, cache=self.place / "hub", tries=2, wait=0.01, timeout=5)
        spec = Spec.from_mapping(self.spec | changes)
        self.asked, self.served = len(self.server.requests), self.server.served.copy()
        return fetch(hub, spec, self.place / "out/m/step1", self.place / "partial", finished, self.wait)

    def wait(self) -> None:
        self.waited += 1

    @property
    def came(self) -> set[str]:
        """Names of the files that the last fetch has brought."""
        return {name for name, count in self.server.served.items() if count > self.served[name]}

    @property
    def requests(self) -> int:
        return len(self.server.requests) - self.asked

    @property
    def source(self) -> dict:
        return json.loads((self.place / "out/m/step1/source.json").read_text())

    def score(self, outputs: Path, **changes: object) -> list[scoring_cells.Cell]:
        """What the scoring job that follows has to score."""
        spec = Spec.from_mapping(self.spec | changes)
        paths = [outputs / path.name for path in self.items]
        place = self.place / "out/m/step1"
        return scoring_cells.score_cells(spec, place, self.items, paths, self.tokens, self.directory)


@pytest.fixture
def fetching(server, scored, items, tmp_path):
    return Fetching(server, scored, items, tmp_path)


def test_where_every_table_is_there_only_the_commit_is_asked_for(fetching, server, tmp_path):
    assert fetching() is False
    assert fetching.requests == 1 and not fetching.came and not fetching.waited
    commit = server.repositories["model", "org/tiny"].branches["step1"]
    assert fetching.source == {"repo": "org/tiny", "revision": "step1", "commit": commit, "weights": False}
    assert fetching.score(tmp_path / "logprobs") == []
    assert not (tmp_path / "partial").exists()


def gold(fetching):
    path = fetching.items[0]
    table = read_table(path, "items")
    golds = [(value + 1) % 2 for value in table["gold"].to_pylist()]
    index = table.schema.get_field_index("gold")
    write_table(table.set_column(index, "gold", [golds]), path, "items", read_metadata(path))


def test_another_gold_needs_no_weights(fetching, tmp_path):
    gold(fetching)
    assert fetching() is False and not fetching.came
    assert fetching.score(tmp_path / "logprobs") == []
    table = read_table(tmp_path / "logprobs" / fetching.items[0].name, "logprobs")
    golds = read_table(fetching.items[0], "items")["gold"].to_pylist()
    assert [row["choice"] for row in table.to_pylist() if row["is_gold"]] == golds


def missing(fetching):
    (fetching.directory / "m/step1/sciq.parquet").unlink()


def truncated(fetching):
    path = fetching.directory / "m/step1/sciq.parquet"
    path.write_bytes(path.read_bytes()[:-100])


def other_prompts(fetching):
    path = fetching.items[0]
    write_table(read_table(path, "items").slice(1), path, "items", read_metadata(path))


@pytest.mark.parametrize("change", [missing, truncated, other_prompts])
def test_weights_come_where_a_table_is_not_as_it_should_be(fetching, change, tmp_path):
    change(fetching)
    assert fetching() is True
    assert "model.safetensors" in fetching.came and fetching.waited == 1
    assert "weights" not in fetching.source
    assert [cell.benchmark for cell in fetching.score(tmp_path / "logprobs")] == ["sciq"]


@pytest.mark.parametrize("change", [{"dtype": "bfloat16"}, {"add_bos_token": True}, {"unconditional": ["sciq"]}])
def test_weights_come_where_something_else_is_asked_for(fetching, change):
    assert fetching(**change) is True
    assert "model.safetensors" in fetching.came


def test_a_branch_that_has_moved_is_another_checkpoint(fetching, server, checkpoint):
    branches = server.repositories["model", "org/tiny"].branches
    before = branches["step1"]
    try:
        files = {path.name: path for path in checkpoint.iterdir()}
        commit = server.add("org/tiny").commit(files | {"README.md": b"about"}, "step1")
        assert fetching() is True
        assert fetching.source["commit"] == commit != before
    finally:
        branches["step1"] = before


def test_a_commit_needs_no_hub(fetching, server, monkeypatch):
    commit = server.repositories["model", "org/tiny"].branches["step1"]
    assert fetching(checkpoint="pinned", revision=commit) is False
    assert fetching.requests == 0
    monkeypatch.setattr(constants, "is_offline_mode", lambda: True)
    assert fetching(checkpoint="pinned", revision=commit) is False


def test_offline_a_revision_is_what_it_was(fetching, server, monkeypatch, caplog):
    monkeypatch.setattr(constants, "is_offline_mode", lambda: True)
    commit = server.repositories["model", "org/tiny"].branches["step1"]
    assert fetching() is False
    assert fetching.requests == 0 and fetching.source["commit"] == commit
    assert f"HF_HUB_OFFLINE is set: step1 is taken to be the commit {commit}, as before" in caplog.text
    # Weights are not to be had so.
    with pytest.raises(ElusiveError, match="HF_HUB_OFFLINE is set, but the Hugging Face cache"):
        fetching(dtype="bfloat16")


@pytest.mark.parametrize("change", [{"repo": "org/other"}, {"revision": "step2"}])
def test_offline_nothing_is_known_of_another_revision(fetching, monkeypatch, change):
    monkeypatch.setattr(constants, "is_offline_mode", lambda: True)
    with pytest.raises(ElusiveError, match="HF_HUB_OFFLINE is set, but the Hugging Face cache"):
        fetching(**change)


def test_offline_a_revision_that_was_two_commits_is_neither(fetching, monkeypatch):
    path = fetching.directory / "m/step1/sciq.parquet"
    write_table(read_table(path, "logprobs"), path, "logprobs", read_metadata(path) | {"revision": "d" * 40})
    monkeypatch.setattr(constants, "is_offline_mode", lambda: True)
    with pytest.raises(ElusiveError, match="HF_HUB_OFFLINE is set, but the Hugging Face cache"):
        fetching()


def newer_library(monkeypatch):
    version = identity.version
    monkeypatch.setattr(identity, "version", lambda name: "99.0" if name == "transformers" else version(name))


def test_a_newer_library_brings_the_tokenizer_alone(fetching, monkeypatch, tmp_path):
    newer_library(monkeypatch)
    assert fetching() is False
    assert "tokenizer.json" in fetching.came and "model.safetensors" not in fetching.came and not fetching.waited
    assert fetching.source["weights"] is False
    assert fetching.score(tmp_path / "logprobs") == []
    assert read_metadata(tmp_path / "logprobs/sciq.parquet")["libraries"]["transformers"] == "99.0"
    assert fetching() is False and not fetching.came, "the tables say so from then on"


def test_a_newer_library_that_gives_other_tokens_brings_all(fetching, monkeypatch, tmp_path):
    newer_library(monkeypatch)
    tokenize = scoring_prompts.tokenize
    monkeypatch.setattr(
        scoring_prompts,
        "tokenize",
        lambda tokenizer, contexts, *rest: tokenize(tokenizer, [text.replace("?", "!") for text in contexts], *rest),
    )
    assert fetching() is True
    assert "model.safetensors" in fetching.came and fetching.waited == 1
    # WinoGrande asks no questions.
    assert [cell.benchmark for cell in fetching.score(tmp_path / "logprobs")] == ["sciq"]


def test_items_that_are_being_made_are_waited_for(fetching, tmp_path):
    waiting = threading.Event()
    answers = iter([None, 2, 1])

    def pending() -> int | None:
        waiting.set()
        left = next(answers, 0)
        if left == 0:
            gold(fetching)  # the items are there only now
        return left

    fetching.pending = pending
    assert fetching() is False
    assert waiting.is_set() and next(answers, None) is None


def test_items_that_nothing_comes_of_are_not_waited_for(fetching, caplog):
    finished = Finished(fetching.items, fetching.directory, fetching.tokens, lambda: 3)
    spec = Spec.from_mapping(fetching.spec)
    assert finished.can_tell(spec, lambda: None, patience=0.05, poll=0.01) is False
    assert "weights are downloaded without them" in caplog.text

    def ended() -> None:
        raise ElusiveError("the run has ended")

    with pytest.raises(ElusiveError, match="the run has ended"):
        finished.can_tell(spec, ended)


def test_without_a_table_of_each_nothing_is_waited_for(fetching):
    missing(fetching)
    finished = Finished(fetching.items, fetching.directory, fetching.tokens, lambda: pytest.fail("asked"))
    assert finished.can_tell(Spec.from_mapping(fetching.spec), lambda: None) is False


def test_items_that_are_not_there_bring_weights(fetching):
    fetching.items[0].unlink()
    assert fetching() is True


def test_what_has_no_weights_is_not_waited_for(fetching, tmp_path):
    assert fetching() is False
    wait_for_scoring(tmp_path / "out", 1, patience=0.01, poll=0.01, check=lambda: pytest.fail("waited"))
