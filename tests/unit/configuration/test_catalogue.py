"""The catalogue of published models: against the paper's own list of checkpoints, and against transformers."""

import csv
import re
from pathlib import Path

import pytest
import torch
import yaml
from transformers import AutoConfig, AutoModelForCausalLM

from elusive.configuration import catalogue, schema

PAPER = Path(__file__).parents[1] / "data" / "paper_models.csv"
PRESET = Path(__file__).parents[3] / "workflow" / "presets" / "paper.yaml"
SCHEMA = yaml.safe_load(schema.SCHEMA.read_text())
MODELS = catalogue.load()
#: One model of every architecture: PolyPythias are like the Pythia model of their size.
DIFFERENT = {repr(sorted(entry.architecture.items())): name for name, entry in reversed(MODELS.items())}.values()


def paper() -> list[dict[str, str]]:
    """The 112 checkpoints of the paper's models.csv, with exact numbers beside the rounded ones."""
    with PAPER.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def step(name: str) -> int | None:
    found = re.search(r"step-?(\d+)", name)
    return int(found[1]) if found else None


def checkpoint_of(row: dict[str, str]) -> dict:
    """The checkpoint of the catalogue for a row of the paper's list."""
    entry = MODELS[row["model"]]
    if row["model"] != "olmo-1b":
        return entry.checkpoint(row["revision"])
    # allenai/OLMo-1B and its conversion OLMo-1B-hf name the same steps differently.
    (name,) = (name for name in entry.names() if step(name) == step(row["revision"]))
    return entry.checkpoint(name)


def test_the_paper_has_112_checkpoints():
    assert len(paper()) == 112
    assert len({row["nickname"] for row in paper()}) == 112


@pytest.mark.parametrize("row", paper(), ids=lambda row: row["nickname"])
def test_checkpoint_of_the_paper(row):
    entry, checkpoint = MODELS[row["model"]], checkpoint_of(row)
    assert entry.described["repo"] == row["repo"]
    for key in ("parameters", "parameters_nonembedding", "parameters_nominal"):
        assert entry.described[key] == int(row[key]), key
    for key in ("tokens", "tokens_nominal"):
        assert checkpoint[key] == int(row[key]), key
    assert checkpoint["name"] in entry.default


@pytest.mark.parametrize("name", sorted({row["model"] for row in paper()}))
def test_the_default_checkpoints_are_those_of_the_paper(name):
    expected = {checkpoint_of(row)["name"] for row in paper() if row["model"] == name}
    assert set(MODELS[name].default) == expected


@pytest.mark.parametrize("name", DIFFERENT)
def test_parameters_are_those_of_the_architecture(name):
    entry = MODELS[name]
    shape = dict(entry.architecture)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(shape.pop("model_type"), **shape))
    everything = {id(parameter): parameter.numel() for parameter in model.parameters()}
    assert sum(everything.values()) == entry.described["parameters"]
    embeddings = [model.get_input_embeddings().weight, model.get_output_embeddings().weight]
    embeddings += [model.transformer.wpe.weight] if entry.architecture["model_type"] == "gpt2" else []
    for parameter in embeddings:
        everything.pop(id(parameter), None)
    assert sum(everything.values()) == entry.described["parameters_nonembedding"]


@pytest.mark.parametrize("name", MODELS)
def test_entry(name):
    entry = MODELS[name]
    assert set(entry.described) <= set(SCHEMA["$defs"]["hubModel"]["properties"]), "keys of a hub model"
    assert re.fullmatch(SCHEMA["$defs"]["name"]["pattern"], name)
    assert entry.default and all(entry.checkpoint(asked) for asked in entry.default)
    assert entry.verified or entry.notes, "what is not confirmed is said"
    names = list(entry.names())
    assert len(set(names)) == len(names)
    pattern = re.compile(SCHEMA["$defs"]["name"]["pattern"])
    for checkpoint in map(entry.checkpoint, names):
        assert pattern.fullmatch(checkpoint["name"]) and isinstance(checkpoint["tokens"], int)
        if billions := re.search(r"tokens(\d+)B", checkpoint["name"]):
            # Rounded up or down, or up to 0.1 % less.
            lowest, highest = 0.999 * checkpoint["tokens"] - 1e9, checkpoint["tokens"] + 1e9
            assert lowest < int(billions[1]) * 1e9 < highest, checkpoint
        if "tokens_nominal" in checkpoint and step(checkpoint["name"]) != 0:
            assert checkpoint["tokens_nominal"] == pytest.approx(checkpoint["tokens"], rel=0.1) or name == "amber"


def test_tokens_grow_with_the_steps():
    for name, entry in MODELS.items():
        steps = [(step(n), entry.checkpoint(n)["tokens"]) for n in entry.names() if step(n) is not None]
        assert sorted(steps) == sorted(steps, key=lambda pair: (pair[1], pair[0])), name


def test_the_steps_of_pythia():
    names = set(MODELS["pythia-410m"].names())
    assert len(names) == 154
    assert {"step0", "step512", "step1000", "step142000", "step143000"} <= names
    assert not {"step3", "step1024", "step1500", "step144000", "main"} & names
    entry = MODELS["pythia-410m"].checkpoint("step64000")
    assert entry == {"name": "step64000", "tokens": 64000 * 2097152, "tokens_nominal": 128 * 10**9}


def test_amber_counts_the_end_of_each_part():
    amber = MODELS["amber"]
    assert amber.checkpoint("ckpt_359") is None
    assert amber.checkpoint("ckpt_000") == {"name": "ckpt_000", "tokens": 3497583333, "tokens_nominal": 0}
    assert amber.checkpoint("ckpt_358")["tokens"] == round(359 * 1259.13e9 / 360)
    assert amber.checkpoint("main")["tokens"] == 1259130000000
    assert len(list(amber.names())) == 360


def test_names_of_olmo():
    olmo, olmo2 = MODELS["olmo-7b"], MODELS["olmo-2-1b"]
    # As in the revisions.txt of allenai/OLMo-7B, rounded to the nearest.
    for name in ("step0-tokens0B", "step2000-tokens9B", "step226000-tokens1000B", "step452000-tokens2000B"):
        assert olmo.checkpoint(name), name
    # Rounded up.
    for name in ("stage1-step23100-tokens49B", "stage1-step950000-tokens1993B", "stage1-step1907359-tokens4001B"):
        assert olmo2.checkpoint(name), name


def test_the_preset_has_the_checkpoints_of_the_paper():
    names = [entry["name"] for entry in yaml.safe_load(PRESET.read_text())["models"]]
    # OLMo-7B does not load with a current transformers: another training of it stands in, with as many checkpoints.
    assert set(names) == {row["model"] for row in paper()} - {"olmo-7b"} | {"olmo-7b-0424"}
    assert sum(len(MODELS[name].default) for name in names) == 112
