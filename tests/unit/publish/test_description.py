"""What was run, as a configuration that loads to the same, and without a word of the machine."""

import json
from collections import OrderedDict

import pytest
import yaml

from elusive.configuration import registry
from elusive.publish.description import _cut, describe, resolved
from runs import ROOT
from scoring_checkpoints import neox_config, random_model, save_checkpoint, train_tokenizer

DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text())
PAPER = yaml.safe_load((ROOT / "workflow" / "presets" / "paper.yaml").read_text())


@pytest.mark.parametrize("config", [DEFAULT, DEFAULT | PAPER], ids=["default", "paper"])
def test_the_resolved_configuration_is_the_same_run(config):
    loaded = registry.load(config)
    again = registry.load(yaml.safe_load(describe(loaded, config)["configuration"]))
    for name in ("seed", "models", "families", "benchmarks", "ladder", "compute"):
        assert getattr(again, name) == getattr(loaded, name), name
    assert again.scoring == loaded.scoring


def test_a_configuration_that_snakemake_merged_can_be_written():
    config = json.loads(json.dumps(DEFAULT), object_pairs_hook=OrderedDict)
    assert describe(registry.load(config), config) == describe(registry.load(DEFAULT), DEFAULT)


def test_patterns_and_defaults_are_filled_in():
    config = DEFAULT | {
        "models": [{"name": "pythia-14m"}],
        "families": [{"name": "all", "members": ["*/*"]}],
        "benchmarks": [{"name": "mmlu_a*"}],
    }
    loaded = registry.load(config)
    found = resolved(loaded, config)
    assert found["models"][0]["checkpoints"] == [
        checkpoint.name for checkpoint in loaded.models["pythia-14m"].checkpoints
    ]
    assert [entry["name"] for entry in found["benchmarks"]] == [
        "mmlu_abstract_algebra",
        "mmlu_anatomy",
        "mmlu_astronomy",
    ]
    assert "*" not in json.dumps(found["families"])
    assert found["scoring"]["token_budget"] is None


def test_a_target_and_paths_stay_at_home(tmp_path, archive_path):
    tokenizer = train_tokenizer(archive_path, tmp_path / "tokenizer")
    for seed, step in enumerate(("step1", "step2", "step3")):
        save_checkpoint(random_model(neox_config(), seed), tokenizer, tmp_path / "secret" / "mine" / step)
    (tmp_path / "secret" / "quiz.jsonl").write_text('{"q": "?", "options": ["a", "b"], "answer": 0}')
    config = DEFAULT | {
        "models": [
            {
                "name": "mine",
                "source": "local",
                "path": f"{tmp_path}/secret/mine/{{checkpoint}}",
                "tokens_per_step": 100,
                "checkpoints": ["step1", "step2", "step3"],
            }
        ],
        "families": [{"name": "mine", "members": ["mine/*"]}],
        "benchmarks": [
            {
                "name": "quiz",
                "file": f"{tmp_path}/secret/quiz.jsonl",
                "choices": "options",
                "gold": "answer",
                "context": "{{ q }}",
            }
        ],
        "publish": {"push": "somebody/something"},
    }
    said = json.dumps(describe(registry.load(config), config))
    assert str(tmp_path) not in said and "secret" not in said and "somebody" not in said
    found = yaml.safe_load(describe(registry.load(config), config)["configuration"])
    assert found["models"][0]["path"] == "mine/{checkpoint}" and found["benchmarks"][0]["file"] == "quiz.jsonl"


@pytest.mark.parametrize(
    ("path", "left"),
    [
        ("models/{checkpoint}", "models/{checkpoint}"),
        ("quiz.jsonl", "quiz.jsonl"),
        ("/home/me/quiz.jsonl", "quiz.jsonl"),
        ("~/models/70m/{checkpoint}", "70m/{checkpoint}"),
        ("../../me/models/{checkpoint}/hf", "hf"),
        ("/{checkpoint}", "{checkpoint}"),
    ],
)
def test_paths_are_cut_to_their_ends(path, left):
    assert _cut(path) == left
