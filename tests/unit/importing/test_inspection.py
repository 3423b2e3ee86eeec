"""Looking through a folder: models, checkpoints, tasks and items, all problems, and a configuration that works."""

from __future__ import annotations

import re

import pytest
import yaml

from elusive.configuration import registry
from elusive.importing.inspection import FILL_IN
from logged import TIME, long_rows, questions, sample, winograd, write_csv, write_lines, write_olmes, write_run
from unit.importing.imports import STEPS, command

COUNT = 6


def lines(seed, task="quiz", count=COUNT):
    return [sample(question) for question in questions(count, seed, task=task)]


def local(home, model="70m", tasks=("quiz",), offset=0):
    """Logs of local checkpoints as lm-eval puts them: a folder of the checkpoint's path."""
    for seed, step in enumerate(STEPS):
        folder = home / "out" / f"__ckpt__{model}__{step}"
        arguments = {"pretrained": f"/ckpt/{model}/{step}"}
        write_run(folder, {task: lines(seed + offset, task) for task in tasks}, model_args=arguments)


def hub(home, model="pythia-70m", offset=0):
    """Logs of a repository of the hub: all revisions in one folder."""
    for seed, step in enumerate(STEPS):
        config = {"model_args": {"pretrained": f"owner/{model}", "revision": step}, "model_revision": step}
        folder = home / f"owner__{model}"
        write_run(folder, {"quiz": lines(seed + offset)}, time=f"2026-01-0{seed + 1}T00-00-00", **config)


def inspect(folder, *more):
    return command("inspect-logs", folder, "--cores", 1, *more)


def test_local_checkpoints(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    local(tmp_path, tasks=("quiz", "mmlu_law", "mmlu_art"))
    assert inspect("out", "--output", "mine.yaml") == 0
    text = capsys.readouterr().out
    assert "out: 3 × results of lm-evaluation-harness, 9 × samples of lm-evaluation-harness" in text
    assert "70m: 3 checkpoints" in text
    assert re.search(r"step2 +3 +18", text) and re.search(r"quiz +6 +3 +0", text)
    assert "Problems" not in text and "Warnings" not in text
    config = yaml.safe_load((tmp_path / "mine.yaml").read_text())
    (model,) = config["models"]
    assert model["path"] == "out/__ckpt__70m__{checkpoint}"
    assert (model["parameters"], model["checkpoints"]) == (1000, list(STEPS))
    assert model["tokens_per_step"] == FILL_IN
    assert [entry["task"] for entry in config["benchmarks"]] == ["mmlu_*", "quiz"]
    assert (tmp_path / "mine.yaml").read_text() in text


def test_the_printed_configuration_is_one(tmp_path, capsys, monkeypatch):
    """It lacks nothing but what no log says, and that is asked for by its key."""
    monkeypatch.chdir(tmp_path)
    local(tmp_path, tasks=("quiz", "arc_easy"))
    assert inspect("out", "--output", "asked.yaml") == 0
    with pytest.raises(Exception, match=r"models\[0\].tokens_per_step: 'FILL IN' is not allowed: it must be a whole"):
        registry.load(yaml.safe_load((tmp_path / "asked.yaml").read_text()))
    assert inspect("out", "--output", "mine.yaml", "--tokens-per-step", 1024) == 0
    made = registry.load(yaml.safe_load((tmp_path / "mine.yaml").read_text()))
    assert [checkpoint.tokens for checkpoint in made.models["70m"].checkpoints] == [1024, 2048, 3072]
    assert set(made.benchmarks) == {"quiz_logs", "arc_easy_logs"}
    assert made.benchmarks["arc_easy_logs"].label == "ARC-Easy"


def test_revisions_in_one_folder_and_several_models(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hub(tmp_path)
    hub(tmp_path, "pythia-160m", offset=5)
    assert inspect(".", "--output", "mine.yaml", "--tokens-per-step", 1024) == 0
    config = yaml.safe_load((tmp_path / "mine.yaml").read_text())
    paths = {model["name"]: model["path"] for model in config["models"]}
    assert paths == {"pythia-70m": "owner__pythia-70m", "pythia-160m": "owner__pythia-160m"}
    made = registry.load(config)
    assert len(made.families["all"].members) == 6


def test_a_folder_a_checkpoint(tmp_path, capsys):
    for model, offset in (("a", 0), ("b", 10)):
        for seed, step in enumerate(STEPS):
            write_olmes(tmp_path / model / step, "quiz", questions(COUNT, seed + offset))
    assert inspect(tmp_path) == 0
    text = capsys.readouterr().out
    assert "6 × metrics of OLMES, 6 × predictions of OLMES, 6 × requests of OLMES" in text
    config = yaml.safe_load(text.partition("A configuration that imports this:")[2])
    assert [model["path"] for model in config["models"]] == [f"{tmp_path}/{name}/{{checkpoint}}" for name in "ab"]
    assert {model["parameters"] for model in config["models"]} == {FILL_IN}


def test_plain_tables(tmp_path, capsys):
    rows = [row | {"checkpoint": s} for i, s in enumerate(STEPS) for row in long_rows(questions(COUNT, i))]
    write_csv(tmp_path / "quiz.csv", rows)
    assert inspect(tmp_path) == 0
    config = yaml.safe_load(capsys.readouterr().out.partition("A configuration that imports this:")[2])
    assert config["models"][0]["path"] == f"{tmp_path}/quiz.csv"
    assert config["models"][0]["checkpoints"] == list(STEPS)


def test_checkpoints_without_a_step_ask_for_their_tokens(tmp_path, capsys):
    for name, seed in (("small", 0), ("large", 1)):
        write_olmes(tmp_path / "runs" / name, "quiz", questions(COUNT, seed))
    assert inspect(tmp_path) == 0
    config = yaml.safe_load(capsys.readouterr().out.partition("A configuration that imports this:")[2])
    entries = [entry for model in config["models"] for entry in model["checkpoints"]]
    assert all(entry["tokens"] == FILL_IN for entry in entries)


def test_all_problems_at_once(tmp_path, capsys):
    local(tmp_path, tasks=("quiz", "good"))
    folders = [tmp_path / "out" / f"__ckpt__70m__{step}" for step in STEPS]
    lost = write_lines(folders[0] / f"samples_generated_{TIME}.jsonl", lines(0, count=1))
    text = lost.read_text().replace('"arg_1": " ', '"arg_1": {"until": ["')
    lost.write_text(re.sub(r'\{"until": \["[^"]*"', '{"until": ["x"]}', text))
    damaged = folders[1] / f"samples_quiz_{TIME}.jsonl"
    damaged.write_text(damaged.read_text()[:-50])
    (folders[2] / f"samples_quiz_{TIME}.jsonl").unlink()
    assert inspect(tmp_path / "out") == 1
    done = capsys.readouterr()
    for part in (
        f"{lost}: task generated generates text; only tasks that score each choice can be imported",
        f"{damaged}, line 6: cut off",
        "logs are missing",
        "70m/step3: generated, quiz",
    ):
        assert part in done.out, part
    assert "problems, see above; what the configuration names can be imported" in done.err
    config = yaml.safe_load(done.out.partition("A configuration that imports this:")[2])
    assert [entry["task"] for entry in config["benchmarks"]] == ["good"]


def test_other_items_and_equal_numbers(tmp_path, capsys):
    local(tmp_path)
    folders = [tmp_path / "out" / f"__ckpt__70m__{step}" for step in STEPS]
    write_lines(folders[1] / f"samples_quiz_{TIME}.jsonl", lines(1, count=4))
    write_lines(folders[2] / f"samples_quiz_{TIME}.jsonl", lines(0))
    assert inspect(tmp_path / "out") == 1
    text = capsys.readouterr().out
    assert "quiz: other items (texts or gold) in some logs" in text
    assert "6 in 70m/step1, 70m/step3; 4 in 70m/step2; all share 4. `items: common` takes these" in text
    assert "70m/step1, 70m/step3 are identical in all log-likelihoods of 6 items; was a request cache used?" in text
    assert "items: common" in text.partition("A configuration that imports this:")[2]


def test_a_folder_with_nothing_in_it(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("nothing")
    assert inspect(tmp_path) == 0
    assert f"{tmp_path}: no logs, 1 × something else" in capsys.readouterr().out
    assert inspect(tmp_path / "absent") == 1
    assert "there is no such folder" in capsys.readouterr().err


def test_results_without_samples(tmp_path, capsys):
    local(tmp_path)
    folder = tmp_path / "out" / "__ckpt__70m__step2"
    (folder / f"samples_quiz_{TIME}.jsonl").unlink()
    assert inspect(tmp_path) == 1
    assert f"{folder}: results but no samples; run the harness with --log_samples" in capsys.readouterr().out


def test_cores_change_nothing(tmp_path, capsys):
    local(tmp_path, tasks=("quiz", "mmlu_law"))
    write_run(tmp_path / "out" / "__ckpt__70m__step1", {"wino": [sample(q) for q in winograd(COUNT)]}, time="x")
    outputs = []
    for cores in (1, 3):
        command("inspect-logs", tmp_path, "--cores", cores)
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1]
