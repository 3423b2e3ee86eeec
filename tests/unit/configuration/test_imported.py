"""Models and benchmarks from logs: what a configuration may say, and what is wrong with one."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml

from elusive.configuration import registry
from elusive.configuration.imported import log_files
from elusive.errors import ElusiveError
from logged import aggregates

DOCS = Path(__file__).parents[3] / "workflow" / "docs" / "importing.md"
STEPS = ("step1", "step2", "step3")


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for step in STEPS:
        (tmp_path / "logs" / step).mkdir(parents=True)
    model = {"name": "mine", "source": "lm_eval", "path": "logs/{checkpoint}", "parameters": 1000}
    return {
        "models": [model | {"tokens_per_step": 100, "checkpoints": list(STEPS)}],
        "families": [{"name": "all", "members": ["*/*"]}],
        "benchmarks": [{"name": "quiz", "source": "logs", "task": "my_quiz"}, {"name": "arc_easy"}],
    }


def message(config):
    with pytest.raises(ElusiveError) as caught:
        registry.load(config)
    return str(caught.value)


def test_an_imported_model(config):
    made = registry.load(config)
    (model,) = made.imported_models
    assert made.scored_models == []
    assert (model.source, model.parameters, model.logs) == ("lm_eval", 1000, {"path": "logs/{checkpoint}"})
    assert [(c.name, c.tokens, c.flops, c.revision, c.run) for c in model.checkpoints] == [
        (step, 100 * i, 6.0 * 1000 * 100 * i, step, None) for i, step in enumerate(STEPS, 1)
    ]
    assert made.benchmarks["quiz"].source == "logs"
    assert made.benchmarks["quiz"].spec["task"] == ["my_quiz"] and made.benchmarks["quiz"].spec["items"] == "strict"
    assert not made.benchmarks["quiz"].has_subjects


def test_several_tasks_are_subjects(config):
    config["benchmarks"][0]["task"] = "mmlu_*"
    assert registry.load(config).benchmarks["quiz"].has_subjects
    config["benchmarks"][0]["task"] = ["a", "b"]
    made = registry.load(config).benchmarks["quiz"]
    assert made.has_subjects and made.tasks == ("a", "b")


def test_checkpoints_that_say_more(config):
    entry = {"name": "final", "revision": "main", "tokens": 7, "run": "2026-01-02T03-04-05.678901"}
    config["models"][0] |= {"path": "logs", "checkpoints": ["step1", "step2", entry]}
    made = registry.load(config).models["mine"]
    assert [(c.name, c.revision, c.run) for c in made.checkpoints] == [
        ("final", "main", entry["run"]),
        ("step1", "step1", None),
        ("step2", "step2", None),
    ]


def write_aggregates(folder, number, name="results_2026-01-02T03-04-05.json"):
    (folder / name).write_text(json.dumps(aggregates(["quiz"], model_num_parameters=number)))


@pytest.mark.parametrize("path", ["logs/{checkpoint}", "logs"])
def test_parameters_as_the_logs_say(config, path):
    del config["models"][0]["parameters"]
    config["models"][0]["path"] = path
    write_aggregates(Path("logs/step2"), 1234)
    assert registry.load(config).models["mine"].parameters == 1234
    write_aggregates(Path("logs/step2"), -1)
    assert "do not say how many mine has (model_num_parameters is -1 in logs/step2/results_" in message(config)


@pytest.mark.parametrize(
    "arguments",
    [{"pretrained": "x", "load_in_4bit": True}, "pretrained=x,load_in_8bit=True", "pretrained=x,peft=y", {"gptq": "f"}],
)
def test_the_parameters_of_changed_weights_are_not_the_models(config, arguments):
    del config["models"][0]["parameters"]
    found = aggregates(["quiz"], model_num_parameters=3752071168, model_args=arguments)
    Path("logs/step2/results_2026-01-02T03-04-05.json").write_text(json.dumps(found))
    assert "do not say how many mine has (model_num_parameters in logs/step2/results_" in message(config)
    assert "is of weights changed by" in message(config)
    Path("logs/step2/results_2026-01-02T03-04-05.json").write_text(
        json.dumps(aggregates(["quiz"], model_num_parameters=1234, model_args="pretrained=x,load_in_4bit=False,peft="))
    )
    assert registry.load(config).models["mine"].parameters == 1234


def test_parameters_that_no_log_says(config):
    del config["models"][0]["parameters"]
    assert "models[0]: the key 'parameters' is missing, and the logs do not say how many mine has" in message(config)
    config["models"][0]["source"] = "olmes"
    assert "logs of the source olmes have no exact number" in message(config)


@pytest.mark.parametrize(
    ("where", "changes", "expected"),
    [
        ("models", {"path": "nowhere/{checkpoint}"}, "models[0].checkpoints[0]: there are no logs"),
        ("models", {"path": "nowhere"}, "models[0].path: there are no logs"),
        ("models", {"checkpoints": ["step1", "step2", "step9"]}, "models[0].checkpoints[2]: there are no logs"),
        ("models", {"source": "lm-eval"}, "did you mean 'lm_eval'?"),
        (
            "models",
            {"columns": {"item": "x"}},
            "models[0].columns: this key goes with the source table, not with lm_eval",
        ),
        ("models", {"source": "table", "columns": {"ll": "x"}}, "models[0].columns.ll: unknown key"),
        ("models", {"source": "table", "unit": "nat"}, "did you mean 'nats'?"),
        ("models", {"repo": "a/b"}, "models[0].repo: unknown key"),
        ("models", {"checkpoints": ["a", "b", "c"]}, "there are no logs"),
        ("models", {"parameters_nonembedding": 5000}, "5000 is more than all 'parameters', 1000"),
        (
            "benchmarks",
            {"name": "arc_challenge"},
            "'arc_challenge' is the name of a built-in benchmark: items from the logs",
        ),
        ("benchmarks", {"unconditional": True}, "this key does not go with items from the logs"),
        ("benchmarks", {"num_fewshot": 5}, "this key does not go with items from the logs"),
        ("benchmarks", {"items": "some"}, "must be one of strict, common"),
        ("benchmarks", {"task": []}, "must be"),
    ],
)
def test_what_is_wrong_with_a_configuration(config, where, changes, expected):
    config[where][0] |= changes
    assert expected in message(config)


def test_a_benchmark_without_its_task(config):
    del config["benchmarks"][0]["task"]
    assert "benchmarks[0]: the key 'task' is missing: what the logs call the benchmark" in message(config)


def test_items_goes_with_items_from_the_logs(config):
    config["benchmarks"][1]["items"] = "common"
    assert "benchmarks[1].items: this key goes with items from the logs" in message(config)


def test_items_from_logs_need_logs_and_no_scored_models(config):
    ladder = {"name": "small", "source": "ladder", "width": 32, "layers": 1}
    mixed = copy.deepcopy(config)
    mixed["models"].append(ladder)
    text = message(mixed)
    assert "benchmarks[0].source: items from the logs do not go with models that have no logs (small)" in text
    alone = copy.deepcopy(config)
    alone["models"] = [ladder]
    assert "benchmarks[0].source: no model has logs" in message(alone)
    alone["benchmarks"] = [{"name": "arc_easy", "task": "arc"}]
    assert "benchmarks[0].task: no model has logs" in message(alone)
    built_in = copy.deepcopy(mixed)
    built_in["benchmarks"] = [{"name": "arc_easy", "task": "my_arc"}]
    assert registry.load(built_in).benchmarks["arc_easy"].tasks == ("my_arc",)


def test_tokens_and_computes_as_for_other_sources(config):
    del config["models"][0]["tokens_per_step"]
    assert "the training tokens of 'step1' are not known" in message(config)
    config["models"][0] |= {"tokens_per_step": 100, "checkpoints": ["step1", "step2"]}
    assert "has 2 checkpoint(s) of distinct compute above zero; a correlation needs at least 3" in message(config)


def test_nominal_compute(config):
    config["compute"] = "nominal"
    assert "models[0]: mine has no nominal number of parameters" in message(config)
    checkpoints = [{"name": step, "tokens_nominal": 10 * i} for i, step in enumerate(STEPS, 1)]
    config["models"][0] |= {"parameters_nominal": 2000, "checkpoints": checkpoints}
    made = registry.load(config)
    assert [c.flops for c in made.models["mine"].checkpoints] == [6.0 * 2000 * 10 * i for i in (1, 2, 3)]


def test_log_files(tmp_path):
    for name in ("b/x.jsonl", "a/y", ".git/z", "a/.hidden", "c.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    names = [file.removeprefix(f"{tmp_path}/") for file in log_files(tmp_path)]
    assert names == ["a/y", "b/x.jsonl", "c.json"]
    assert log_files(tmp_path / "c.json") == [str(tmp_path / "c.json")]
    assert log_files(tmp_path / "c.json/in/it") == [str(tmp_path / "c.json")]
    assert log_files(tmp_path / "absent") == []


def test_the_configuration_of_the_docs_is_one(tmp_path, monkeypatch):
    config = yaml.safe_load(DOCS.read_text(encoding="utf-8").split("```yaml")[1].split("```")[0])
    monkeypatch.chdir(tmp_path)
    for name in ("step1000", "step8000", "final"):
        (tmp_path / "logs/70m" / name).mkdir(parents=True)
    made = registry.load(config)
    assert [c.name for c in made.models["mine-70m"].checkpoints] == ["step1000", "step8000", "final"]
    assert {name: each.source for name, each in made.benchmarks.items()}["mmlu_theirs"] == "logs"
