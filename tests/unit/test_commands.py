"""The command line that the workflow's rules call."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from elusive.__main__ import COMMANDS, main

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "transformers", "polars", "pyarrow", "numpy", "pandas", "scipy", "datasets", "tokenizers", "jinja2")


def run(*arguments, cwd=None):
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    command = [sys.executable, "-m", "elusive", *map(str, arguments)]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True)


def imported(*arguments):
    """Heavy modules that ``python -m elusive ARGUMENTS`` has imported when it ends."""
    code = (
        "import sys\nfrom elusive.__main__ import main\ntry: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        f"print('MODULES', [n for n in {HEAVY} if n in sys.modules], file=sys.stderr)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    done = subprocess.run([sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True)
    return re.search(r"MODULES (.*)", done.stderr)[1]


def test_help_lists_the_commands():
    done = run("--help")
    assert done.returncode == 0
    for name, (text, *_) in COMMANDS.items():
        assert re.search(rf"{name}\s+{text[:20]}", done.stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert f"usage: python -m elusive {command}" in text
    assert "--log" in text
    assert "--output" in text or command == "push", "what is pushed leaves the machine"


@pytest.mark.parametrize("arguments", [["--help"], *([command, "--help"] for command in COMMANDS), ["train"]])
def test_help_imports_nothing_heavy(arguments):
    assert imported(*arguments) == "[]"


def test_rules_call_commands_with_arguments_that_exist(capsys):
    """Every option in a rule's shell line is one of its command."""
    calls = []
    for file in sorted((ROOT / "workflow" / "rules").glob("*.smk")):
        for block in re.findall(r"shell:\n((?:\s+\".*\"\n)+)", file.read_text()):
            line = "".join(re.findall(r'"(.*)"', block))
            calls += re.findall(r"python -m elusive ([\w-]+)(.*)", line)
    # People call these: before there are results, and from finished tables for what they have in mind.
    for_people = {"inspect-logs", "forecast"}
    assert {command for command, _ in calls} == set(COMMANDS) - for_people
    for command, options in calls:
        with pytest.raises(SystemExit):
            main([command, "--help"])
        text = capsys.readouterr().out
        for option in re.findall(r"--[\w-]+", options):
            assert re.search(rf"{option}\b", text), (command, option)


def test_unknown_command():
    done = run("scroe")
    assert done.returncode == 2
    assert "invalid choice: 'scroe'" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_command():
    done = run()
    assert done.returncode == 2
    assert "required: command" in done.stderr


def test_missing_arguments():
    done = run("corpus")
    assert done.returncode == 2
    assert "required: --archive, --vocabulary, --seed, --output" in done.stderr


def test_a_mistake_ends_with_its_message_in_the_log(tmp_path):
    done = run(
        "corpus",
        "--archive",
        "absent.whl",
        "--vocabulary",
        300,
        "--seed",
        0,
        "--output",
        "ladder",
        "--log",
        "logs/corpus.log",
        cwd=tmp_path,
    )
    assert done.returncode == 1
    assert re.fullmatch(r"error: absent\.whl: not a readable archive .*\n", done.stderr)
    assert "error: absent.whl" in (tmp_path / "logs" / "corpus.log").read_text()
    assert not (tmp_path / "ladder").exists()


@pytest.mark.parametrize("command", ["items", "score"])
def test_a_specification_that_is_not_json(tmp_path, command):
    arguments = {"items": ["--output", "x"], "score": ["--checkpoint", "x", "--items", "x", "--outputs", "x"]}[command]
    done = run(command, "--spec", "{oops", *arguments, cwd=tmp_path)
    assert done.returncode == 1
    assert "--spec: not JSON" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_train_and_its_log(tmp_path):
    """The command as the rule writes it, on a corpus of a few hundred tokens."""
    import numpy as np

    from elusive.ladder.corpus import _save_tokenizer, train_tokenizer

    home = tmp_path / "ladder"
    tokenizer = train_tokenizer(["the river runs to the sea"] * 3, 260)
    _save_tokenizer(tokenizer, home / "tokenizer")
    (home / "corpus").mkdir()
    for name, count in (("train", 700), ("validation", 100)):
        np.save(home / "corpus" / f"{name}.npy", (np.arange(count) % 260).astype(np.uint16))
    spec = {
        "model": "m",
        "width": 32,
        "layers": 1,
        "vocabulary": 260,
        "context": 16,
        "batch": 2,
        "checkpoints": [1, 3],
        "learning_rate": 0.01,
        "seed": 0,
    }
    done = run(
        "train",
        "--corpus",
        home,
        "--spec",
        json.dumps(spec),
        "--outputs",
        "m/step1",
        "m/step3",
        "--log",
        "train.log",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["step1", "step3"]
    lines = (tmp_path / "train.log").read_text().splitlines()
    assert [re.sub(r".* INFO ", "", line).split(":")[0] for line in lines[:2]] == ["m step 1", "m step 3"]
    assert re.search(r"INFO trained m in \d+ s$", lines[-1])
    assert "Writing" not in done.stderr
    assert "validation loss" in done.stderr
