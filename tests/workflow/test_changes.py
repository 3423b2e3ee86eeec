"""Which change makes what run, for models of the ladder, of the user's own, and of the hub.

The table in workflow/docs/changes.md is that of :data:`CHANGES`, and each of its rows is a run.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import transformers

from elusive.tables import read_metadata, read_table
from hub_server import HubServer
from runs import ROOT, Run, copy_training_text, jobs
from scoring_checkpoints import random_model, save_checkpoint, train_tokenizer
from sharing import make_once

DOCUMENT = ROOT / "workflow" / "docs" / "changes.md"
SHAPE = {
    "vocab_size": 512,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "intermediate_size": 96,
    "bos_token_id": 0,
    "eos_token_id": 0,
}
SOURCES = {"ladder": ("small", "step2"), "local": ("mine", "step20"), "hub": ("far", "step30")}
BENCHMARKS = ("quiz", "riddles")
LOGPROBS = [f"results/logprobs/{m}/{c}/{b}.parquet" for m, c in SOURCES.values() for b in BENCHMARKS]

# What a job of scoring does, in the words of the table.
NOTHING, TAKEN, WRITTEN, QUIZ, ALL = "–", "taken back", "written anew", "scored: that benchmark", "scored"


class ChangedRun(Run):
    """A run whose hub is the local server, on one checkpoint of each source."""

    server: HubServer
    offline = False

    def environment(self) -> dict[str, str]:
        own = self.server.environment(self.directory / "home")
        return super().environment() | own | ({"HF_HUB_OFFLINE": "1"} if self.offline else {})

    def edit(self, **sections) -> None:
        """Replace sections of the configuration."""
        self.config = self.config | sections
        self.configure(self.config)

    def edit_model(self, name: str, **keys) -> None:
        """Replace keys of one model."""
        models = [model | (keys if model["name"] == name else {}) for model in self.config["models"]]
        self.edit(models=models)

    def edit_quiz(self, **keys) -> None:
        """Replace keys of the own benchmark; None takes one out."""
        quiz, *others = self.config["benchmarks"]
        self.edit(benchmarks=[{k: v for k, v in (quiz | keys).items() if v is not None}, *others])


def questions() -> list[dict]:
    """Rows of a benchmark; both have the same, and are told apart by their names."""
    return [
        {"q": f"What is {i} + 2?", "options": [str(i + 2), str(i + 3), "none"], "answer": 0, "of": "sums"}
        for i in range(6)
    ]


def write_questions(path: Path, rows: list[dict], time: int | None = None) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if time is not None:
        os.utime(path, (time, time))


@dataclass(frozen=True)
class Change:
    """A row of the table: what is changed, whether items are made, and what becomes of the tables of each source.

    ``hub`` is what the download brings: nothing at all where there is no job, ``commit`` or ``weights``.
    """

    what: str
    make: Callable[[ChangedRun], None]
    items: tuple[str, ...] = ()
    ladder: str = NOTHING
    local: str = NOTHING
    hub: str = NOTHING
    download: str = NOTHING
    trains: bool = False
    options: dict = field(default_factory=dict)

    @property
    def cells(self) -> list[str]:
        """The row in the words of the table."""
        ladder = f"trained, {self.ladder}" if self.trains else self.ladder
        hub = self.hub if self.download == NOTHING else f"{self.download}; {self.hub}"
        return [self.what, ", ".join(self.items) or NOTHING, ladder, self.local, hub]


def same(worth: str, download: str) -> dict:
    return {"ladder": worth, "local": worth, "hub": worth, "download": download}


def gold(run):
    rows = questions()
    rows[2]["answer"] = 1
    write_questions(run.directory / "quiz.jsonl", rows)


def older_questions(run):
    rows = questions()
    rows[0]["q"] = "What is 0 + 2, then?"
    write_questions(run.directory / "quiz.jsonl", rows, time=10**9)


def older_weights(run):
    replace_weights(run, "other")
    for path in (run.directory / "weights" / "step20").iterdir():
        os.utime(path, (10**9, 10**9))


def copied_weights(run):
    replace_weights(run, "step20")


def replace_weights(run, name):
    """Put a copy of the weights ``name`` in the place of the run's own."""
    place = run.directory / "weights"
    all_weights = place.resolve()
    place.unlink()
    shutil.copytree(all_weights / name, place / "step20")


def offline(run):
    run.offline = True
    gold(run)


def moved_branch(run):
    repository = run.server.repositories["model", "tests/far"]
    repository.branches["step30"] = repository.branches["moved"]
    gold(run)


CHANGES = [
    Change("nothing", lambda run: None),
    Change("label of a benchmark", lambda run: run.edit_quiz(label="A quiz")),
    Change("label or members of a family", lambda run: run.edit(families=[{"name": "f", "members": ["*/*"]}])),
    Change(
        "device, threads, token budget",
        lambda run: run.edit(scoring={"device": "auto", "threads": 2, "token_budget": 99}),
    ),
    Change(
        "tokens of a checkpoint",
        lambda run: run.edit_model("far", checkpoints=[{"name": "step30", "tokens": 9000}]),
    ),
    Change("a question's gold", gold, ("quiz",), **same(WRITTEN, "commit")),
    Change("subjects", lambda run: run.edit_quiz(subject="of"), ("quiz",), **same(WRITTEN, "commit")),
    Change("ids", lambda run: run.edit_quiz(id="{{ q }}"), ("quiz",), **same(WRITTEN, "commit")),
    Change("a benchmark less", lambda run: run.edit(benchmarks=run.config["benchmarks"][:1]), **same(TAKEN, "commit")),
    Change(
        "a benchmark more",
        lambda run: run.edit(benchmarks=[*run.config["benchmarks"], {"name": "sciq", "limit": 4}]),
        ("sciq",),
        **same(QUIZ, "weights"),
    ),
    Change("a limit that keeps all items", lambda run: run.edit_quiz(limit=50), ("quiz",), **same(TAKEN, "commit")),
    Change("a limit that keeps fewer", lambda run: run.edit_quiz(limit=3), ("quiz",), **same(QUIZ, "weights")),
    Change(
        "seed, where nothing is drawn",
        lambda run: run.edit(seed=7),
        ladder=ALL,
        trains=True,
    ),
    Change(
        "a prompt's text",
        lambda run: run.edit_quiz(context="{{ q }} Answer:"),
        ("quiz",),
        **same(QUIZ, "weights"),
    ),
    Change("batches", lambda run: run.edit(scoring={"device": "cpu", "batches": "each"}), **same(TAKEN, "commit")),
    Change("a lost table of results/logprobs", lambda run: lose(run, "logprobs"), **same(TAKEN, "commit")),
    Change(
        "a lost table of results/logprobs and results/finished",
        lambda run: (lose(run, "logprobs"), lose(run, "finished")),
        **same(QUIZ, "weights"),
    ),
    Change("type of an own model", lambda run: run.edit_model("mine", dtype="bfloat16"), local=ALL),
    Change(
        "type of a hub's model",
        lambda run: run.edit_model("far", dtype="bfloat16"),
        hub=ALL,
        download="weights",
    ),
    Change("own weights, others in their place, even older ones", older_weights, local=ALL),
    Change("own weights, a copy in their place", copied_weights, local=TAKEN),
    Change(
        "own questions, others in their place, even older ones", older_questions, ("quiz",), **same(QUIZ, "weights")
    ),
    Change(
        "a branch that has moved, with a question's gold", moved_branch, ("quiz",), WRITTEN, WRITTEN, ALL, "weights"
    ),
    Change("a question's gold, with HF_HUB_OFFLINE=1", offline, ("quiz",), **same(WRITTEN, "commit")),
]


def lose(run, folder):
    for model, checkpoint in SOURCES.values():
        (run.directory / "results" / folder / model / checkpoint / "quiz.parquet").unlink()


@pytest.fixture(scope="session")
def models(archive_path, tmp_path_factory):
    """Directories of random weights: one of the user's own, another, and two for the hub; and their parameters."""

    def make(place: Path) -> None:
        tokenizer = train_tokenizer(archive_path, place / "tokenizer", vocabulary=512)
        for seed, name in enumerate(("step20", "other", "far", "moved")):
            save_checkpoint(random_model(transformers.GPTNeoXConfig(**SHAPE), seed=seed), tokenizer, place / name)

    place = make_once(tmp_path_factory, "models", make)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(place / "other")
    return place, sum(parameter.numel() for parameter in loaded.parameters())


@pytest.fixture(scope="session")
def server(models):
    """A hub with the branch of the run, and one that it may move to."""
    place, _ = models
    with HubServer() as server:
        for branch, name in {"step30": "far", "moved": "moved"}.items():
            server.add("tests/far").commit({path.name: path for path in (place / name).iterdir()}, branch)
        yield server


@pytest.fixture(scope="session")
def base(server, models, finished, repository, archive_path, tmp_path_factory):
    """The directory of a run in which every table is there, and its configuration."""
    place, parameters = models
    own = {"parameters": parameters, "tokens_per_step": 100, "dtype": "float32"}
    config = {
        "ladder": {"vocabulary": 512, "context": 64, "batch": 4, "checkpoints": [2], "learning_rate": 0.01},
        "models": [
            {"name": "small", "source": "ladder", "width": 32, "layers": 1},
            {"name": "mine", "source": "local", "path": "weights/{checkpoint}", "checkpoints": ["step20"], **own},
            {"name": "far", "source": "hub", "repo": "tests/far", "checkpoints": ["step30"], **own},
        ],
        "families": [{"name": "all", "members": ["*/*"]}],
        "benchmarks": [
            {"name": "quiz", "file": "quiz.jsonl", "context": "{{ q }}", "choices": "options", "gold": "answer"},
            {"name": "riddles", "file": "riddles.jsonl", "context": "{{ q }}", "choices": "options", "gold": "answer"},
        ],
        "scoring": {"device": "cpu"},
    }

    def make(directory: Path) -> None:
        # With a training text that is there already: only another seed makes it anew.
        copy_training_text(finished, directory)
        run = ChangedRun(repository, directory, config, archive_path)
        run.server = server
        # A link, so that a copy of the run has the same files.
        (directory / "weights").symlink_to(place)
        for name in BENCHMARKS:
            write_questions(directory / f"{name}.jsonl", questions())
        run.succeed(*LOGPROBS)

    return make_once(tmp_path_factory, "changes", make), config


@pytest.fixture
def run(base, server, repository, tmp_path, archive_path):
    """A copy of the finished run, and the hub as it was then."""
    directory, config = base
    branches = server.repositories["model", "tests/far"].branches
    before = dict(branches)
    shutil.copytree(directory, tmp_path / "run", symlinks=True)
    run = ChangedRun(repository, tmp_path / "run", config, archive_path)
    run.server, run.config = server, config
    yield run
    branches.update(before)


def targets(run) -> list[str]:
    names = [entry["name"] for entry in run.config["benchmarks"]]
    return [f"results/logprobs/{m}/{c}/{b}.parquet" for m, c in SOURCES.values() for b in names]


def done(run, source: str, before: dict[str, float]) -> str:
    """What the run has done for a source, in the words of the table, by the log of its jobs."""
    logs = [
        path
        for path in (run.directory / "results/logs").glob(f"score*/{'/'.join(SOURCES[source])}.log")
        if path.stat().st_mtime_ns != before.get(str(path))
    ]
    texts = [path.read_text() for path in logs]
    if not texts:
        return NOTHING
    scored = sum(int(number) for text in texts for number in re.findall(r"scored \S+ \(.*\): (\d+) tables", text))
    if scored:
        return ALL if scored == len(targets(run)) // len(SOURCES) else QUIZ
    assert all(" tables are up to date" in text for text in texts)
    return WRITTEN if any("the numbers stay" in text for text in texts) else TAKEN


#: Of these rows, one of each kind, a second run is tried too.
TWICE = (
    "nothing",
    "a question's gold",
    "a benchmark less",
    "a benchmark more",
    "own weights, others in their place, even older ones",
    "own weights, a copy in their place",
    "a branch that has moved, with a question's gold",
)


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.what)
def test_what_runs(run, change):
    results = run.directory / "results"
    times = {str(path): path.stat().st_mtime_ns for path in results.glob("logs/**/*.log")}
    asked, served = len(run.server.requests), run.server.served["model.safetensors"]
    change.make(run)
    planned = jobs(run.succeed(*targets(run)))
    expensive = {rule: count for rule, count in planned.items() if rule in ("items", "train", "corpus", "download")}
    assert expensive == {
        **({"items": len(change.items)} if change.items else {}),
        **({"train": 1, "corpus": 1} if change.trains else {}),
        **({"download": 1} if change.download != NOTHING else {}),
    }
    if not planned:
        assert change.cells[1:] == [NOTHING] * 4
    for source in SOURCES:
        assert done(run, source, times) == getattr(change, source), source
    paths = {path for _, path, _ in run.server.requests[asked:]}
    assert bool(run.server.served["model.safetensors"] - served) == (change.download == "weights")
    if change.download == "commit":
        assert run.offline or paths == {"/api/models/tests/far/revision/step30"}
        log = (results / "logs/download/far/step30.log").read_text()
        assert "tables are there, no weights are needed" in log
    assert not list((results / "checkpoints").glob("far/*/*")), "neither weights nor what stands for them stay"
    if change.what in TWICE:
        assert run.planned(*targets(run)) == {}, "and a second run does nothing"
    # Whatever was not scored: every table has what the items say now, and the numbers of the weights as they are now.
    items = read_table(results / "items/quiz.parquet", "items")
    commit = run.server.repositories["model", "tests/far"].branches["step30"]
    for model, checkpoint in SOURCES.values():
        path = results / f"logprobs/{model}/{checkpoint}/quiz.parquet"
        rows = read_table(path, "logprobs").to_pylist()
        assert [row["choice"] for row in rows if row["is_gold"]] == items["gold"].to_pylist()
        assert list(dict.fromkeys(row["item"] for row in rows)) == items["item"].to_pylist()
        assert model != "far" or read_metadata(path)["revision"] == commit


def test_the_table_of_the_documentation_is_this_one():
    lines = ["| Change | Items made | Ladder | Own weights | Hub |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join(change.cells)} |" for change in CHANGES]
    text = DOCUMENT.read_text(encoding="utf-8")
    found = [line for line in text.splitlines() if line.startswith("|")]
    assert found == lines, "\n".join(lines)
