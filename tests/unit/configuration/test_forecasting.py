"""Targets of forecasts and groups of models to decide between, as a configuration asks for them."""

import copy
from pathlib import Path

import pytest
import yaml

from elusive.configuration.forecasting import shared_tokens
from elusive.configuration.registry import load
from elusive.errors import ElusiveError

ROOT = Path(__file__).parents[3]
DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text())
SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text())


@pytest.fixture
def config():
    return copy.deepcopy(DEFAULT)


def target(**changes):
    return {"family": "ladder", "parameters": 10**7, "tokens": 10**7} | changes


def message(config):
    with pytest.raises(ElusiveError) as caught:
        load(config)
    return str(caught.value)


def test_the_default_configuration_has_targets_beyond_every_family(config):
    registry = load(config)
    assert {found.family for found in registry.forecast.targets} == set(registry.families)
    for found in registry.forecast.targets:
        last = registry.families[found.family].members[-1]
        assert 6.0 * found.parameters * found.tokens > 3 * last.flops
    first = registry.forecast.targets[0]
    assert (first.parameters, first.tokens) == (2 * registry.models["ladder-d128"].parameters, 2 * 960 * 1024)
    assert registry.forecast_families == ["ladder", "ladder-data", "ladder-size"]
    properties = SCHEMA["$defs"]["forecast"]["properties"]
    assert DEFAULT["forecast"].keys() == properties.keys()
    for key in ("metrics", "draws", "subjects"):
        assert DEFAULT["forecast"][key] == properties[key]["default"]


def test_sections_left_out_have_defaults(config):
    del config["forecast"], config["decide"]
    registry = load(config)
    assert registry.forecast.targets == ()
    assert registry.forecast.draws == 200 and not registry.forecast.subjects
    assert registry.forecast.metrics == ("accuracy", "p_choices_correct", "brier", "log_p_vocab_correct")


def test_targets_have_a_label(config):
    config["forecast"] = {"targets": [target(), target(label="next", tokens=2 * 10**7)], "draws": 400}
    registry = load(config)
    assert [t.label for t in registry.forecast.targets] == ["10000000 parameters, 10000000 tokens", "next"]
    assert registry.forecast.draws == 400


def test_a_family_that_is_not_plotted_is_forecast_when_a_target_names_it(config):
    for family in config["families"][1:]:
        family["plotted"] = False
    config["forecast"] = {"targets": [target(family="ladder-size")]}
    assert load(config).forecast_families == ["ladder", "ladder-size"]


def test_families_of_models_with_shared_tokens_are_groups(config):
    groups = load(config).groups
    assert list(groups) == ["ladder"]
    assert set(groups["ladder"].members) == {model["name"] for model in config["models"]}
    assert groups["ladder"].members["ladder-d32"] == tuple(f"step{s}" for s in config["ladder"]["checkpoints"])


def test_groups_of_the_configuration(config):
    config["decide"] = [{"name": "small", "label": "Small ones", "models": ["ladder-d32", "ladder-d6*"]}]
    groups = load(config).groups
    assert list(groups) == ["ladder", "small"]
    assert groups["small"].label == "Small ones"
    assert list(groups["small"].members) == ["ladder-d32", "ladder-d64"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"forecast": {"targets": [target(family="lader")]}},
            "forecast.targets[0].family: no family is called 'lader'; did you mean 'ladder'?",
        ),
        (
            {"forecast": {"targets": [target(), target()]}},
            "forecast.targets[1]: family 'ladder' already has a target called '10000000 parameters, 10000000 tokens'",
        ),
        (
            {"forecast": {"targets": [target(label="a"), target(label="a", tokens=5)]}},
            "forecast.targets[1].label: family 'ladder' already has a target called 'a'",
        ),
        (
            {"forecast": {"targets": [target(tokens="3e9")]}},
            "forecast.targets[0].tokens: '3e9' is not allowed: it must be a whole number; write 3000000000",
        ),
        (
            {"forecast": {"targets": [{"family": "ladder", "tokens": 5}]}},
            "forecast.targets[0]: a target needs 'parameters' or 'parameters_times'",
        ),
        (
            {"forecast": {"targets": [target(tokens_times=2)]}},
            "forecast.targets[0].tokens_times: a target has 'tokens' or 'tokens_times', not both",
        ),
        (
            {"forecast": {"targets": [{"parameters_times": 0, "tokens_times": 2}]}},
            "forecast.targets[0].parameters_times: 0 is not allowed: it must be more than 0",
        ),
        ({"forecast": {"metrics": ["acuracy"]}}, "did you mean 'accuracy'?"),
        ({"forecast": {"draws": 10}}, "forecast.draws: 10 is not allowed: it must be at least 50"),
        ({"forecast": {"target": []}}, "forecast.target: unknown key; did you mean 'targets'?"),
        (
            {"decide": [{"name": "x", "models": ["lader-*"]}]},
            "decide[0].models[0]: no model is called 'lader-*'",
        ),
        (
            {"decide": [{"name": "x", "models": ["ladder-d32"]}]},
            "decide[0].models: a decision needs two models at least, and there is 1",
        ),
        (
            {"decide": [{"name": "ladder", "models": ["ladder-*"]}]},
            "decide[0].name: 'ladder' is already the name of a family",
        ),
        (
            {"decide": [{"name": "x", "models": ["ladder-*"]}, {"name": "x", "models": ["ladder-*"]}]},
            "decide[1].name: 'x' is already the name of another group",
        ),
    ],
)
def test_mistakes_are_named(config, changes, expected):
    assert expected in message(config | changes)


def test_models_that_share_no_tokens_cannot_be_compared(config):
    config["models"].append({"name": "pythia-70m"})
    config["decide"] = [{"name": "x", "models": ["ladder-d32", "pythia-70m"]}]
    text = message(config)
    assert (
        "decide[0].models: the models must share two numbers of training tokens at least, one to decide at and" in text
    )
    assert "ladder-d32 has 81920, 163840" in text


def test_tokens_within_a_hundredth_are_the_same():
    tokens = {"a": [100.0, 200.0, 400.0], "b": [100.5, 210.0, 398.0], "c": [400.0, 99.5]}
    assert shared_tokens(tokens) == [
        {"a": 100.0, "b": 100.5, "c": 99.5},
        {"a": 400.0, "b": 398.0, "c": 400.0},
    ]
    assert shared_tokens({"a": [1.0], "b": []}) == []
    assert shared_tokens({}) == []
