"""From nothing but logs to the report, as a new user goes: lm-eval's own command on checkpoints that were trained and
scored here, `inspect-logs`, the configuration that it prints, and one run without network and torch.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from elusive.items.build import load_items
from elusive.tables import read_metadata, read_table
from lm_eval_logs import FILES, add_builtin_task
from runs import Run, copy_training_text
from test_importing import Offline

MODEL = "ladder-d32"
STEPS = ("step2", "step4", "step8")
LIMIT = 40
LADDER = {"vocabulary": 512, "context": 256, "batch": 4, "checkpoints": [2, 4, 8], "learning_rate": 0.01}
#: The command `lm-eval` once for each list of arguments, in one process: it takes seconds to start.
COMMANDS = """
import json, sys
from lm_eval.__main__ import cli_evaluate
for sys.argv in json.loads(sys.argv[1]):
    cli_evaluate()
"""


class Offered(Offline):
    """What a user has who has nothing but logs; ``log_files`` are looked through from the directory of the run."""

    def inspect(self, *arguments: str) -> subprocess.CompletedProcess:
        """`envs/run python -m elusive inspect-logs`."""
        environment = self.environment()
        environment["PYTHONPATH"] = os.pathsep.join([str(self.repository / "workflow"), environment["PYTHONPATH"]])
        command = [sys.executable, "-m", "elusive", "inspect-logs", *arguments]
        return subprocess.run(command, cwd=self.directory, env=environment, text=True, capture_output=True)


@pytest.fixture(scope="module")
def scored(repository, finished, archive_path, tmp_path_factory) -> Run:
    """A ladder model that was trained and scored here."""
    config = {
        "ladder": LADDER,
        "models": [{"name": MODEL, "source": "ladder", "width": 32, "layers": 1}],
        "families": [{"name": "ladder", "members": ["*/*"]}],
        "benchmarks": [{"name": name, "limit": LIMIT} for name in FILES],
    }
    run = Run(repository, tmp_path_factory.mktemp("scored"), config, archive_path)
    copy_training_text(finished, run.directory)
    run.succeed(*(f"results/logprobs/{MODEL}/{step}/{name}.parquet" for step in STEPS for name in FILES))
    return run


@pytest.fixture(scope="module")
def logs(scored, archive_path, tmp_path_factory) -> Path:
    """What `lm-eval run --log_samples` writes for each checkpoint."""
    home = tmp_path_factory.mktemp("evaluated")
    for name in FILES:
        items = scored.directory / f"results/items/{name}.parquet"
        add_builtin_task(home / "tasks", name, items, archive_path)
    commands = []
    for step in STEPS:
        weights = scored.directory / f"results/checkpoints/{MODEL}/{step}"
        command = ["lm-eval", "run", "--model", "hf", "--device", "cpu", "--batch_size", "8"]
        command += ["--model_args", f"pretrained={weights},dtype=float32", "--include_path", str(home / "tasks")]
        commands.append([*command, "--tasks", ",".join(FILES), "--log_samples", "--output_path", str(home / "logs")])
    own = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(home / "cache")}
    program = [sys.executable, "-c", COMMANDS, json.dumps(commands)]
    done = subprocess.run(program, env=os.environ | own, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return home / "logs"


@pytest.fixture(scope="module")
def offered(logs, scored, repository, archive_path, tmp_path_factory) -> Offered:
    """A finished run of the configuration that was printed, in a directory that had nothing but logs."""
    run = Offered(repository, tmp_path_factory.mktemp("offered"), {}, archive_path)
    (run.directory / "mine.yaml").unlink()
    shutil.copytree(logs, run.directory / "logs")
    done = run.inspect("logs", "--tokens-per-step", str(LADDER["batch"] * LADDER["context"]))
    assert done.returncode == 0, done.stdout + done.stderr
    run.printed = done.stdout
    run.configure(done.stdout.partition("A configuration that imports this:\n")[2])
    run.output = run.succeed()
    return run


def close(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether log-likelihoods are equal within the tolerance of scoring."""
    return bool((np.abs(a - b) <= 1e-4 + 1e-6 * np.abs(a)).all())


@pytest.mark.slow
def test_logs_and_the_printed_configuration_make_the_report(offered):
    for line in ("lm-evaluation-harness 0.4.13 (9 files)", f"{MODEL}: 3 checkpoints"):
        assert line in offered.printed
    page = (offered.directory / "results/report.html").read_text()
    assert "The log-likelihoods of 3 of 3 checkpoints were not computed here but imported from logs of" in page
    assert not (offered.directory / "results/sources").exists() and offered.planned() == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_imported_items_and_numbers_are_our_own(scored, offered, name):
    """Items that were made from the logs: texts and right choices exactly, log-likelihoods as scoring has them."""
    builtin = load_items(scored.directory / f"results/items/{name}.parquet").items
    made = load_items(offered.directory / f"results/items/{name}_logs.parquet").items
    of_texts = {(item.contexts, item.continuations): item for item in builtin}
    pairs = [(item, of_texts.get((item.contexts, item.continuations))) for item in made]
    pairs = [(item, own) for item, own in pairs if own is not None]
    assert len(pairs) == len(of_texts) == LIMIT <= len(made)
    assert all(item.gold == own.gold for item, own in pairs)
    renamed = pl.DataFrame({"logged": [item.item for item, _ in pairs], "item": [own.item for _, own in pairs]})
    for step in STEPS:
        table = pl.read_parquet(scored.directory / f"results/logprobs/{MODEL}/{step}/{name}.parquet")
        logged = pl.read_parquet(offered.directory / f"results/logprobs/{MODEL}/{step}/{name}_logs.parquet")
        both = table.join(renamed, on="item").join(logged, left_on=["logged", "choice"], right_on=["item", "choice"])
        assert len(both) == len(table) and (both["is_gold"] == both["is_gold_right"]).all()
        assert (both["is_greedy"] == both["is_greedy_right"]).all()
        assert close(both["log_likelihood"].to_numpy(), both["log_likelihood_right"].to_numpy())


@pytest.mark.slow
def test_the_built_in_items_of_the_same_texts(scored, offered, archive_path, tmp_path):
    """As the comments of the printed configuration say: the built-in benchmarks, which keep their ids."""
    config = yaml.safe_load((offered.directory / "mine.yaml").read_text())
    for name in FILES:
        assert f"{{name: {name}}}" in (offered.directory / "mine.yaml").read_text()
    config["benchmarks"] = [{"name": name, "limit": LIMIT} for name in FILES]
    run = Offline(offered.repository, tmp_path / "run", config, archive_path)
    shutil.copytree(offered.directory / "logs", run.directory / "logs")
    run.environment = lambda: Offline.environment(run) | {"ELUSIVE_ARCHIVE": str(archive_path)}
    files = [f"results/logprobs/{MODEL}/{step}/{name}.parquet" for step in STEPS for name in FILES]
    run.succeed(*files)
    for file in files:
        ours, theirs = (read_table(home / file, "logprobs") for home in (scored.directory, run.directory))
        for column in ("item", "choice", "is_gold", "num_bytes", "num_chars", "is_greedy"):
            assert theirs[column].equals(ours[column]), (file, column)
        assert close(ours["log_likelihood"].to_numpy(), theirs["log_likelihood"].to_numpy())
        assert read_metadata(run.directory / file)["items"] == read_metadata(scored.directory / file)["items"]
