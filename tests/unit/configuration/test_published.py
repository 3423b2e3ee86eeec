"""A published set in a configuration: what it brings, what overrules it, and what does not go together."""

from __future__ import annotations

import json

import pytest
import yaml

from elusive.configuration import registry
from elusive.configuration.published import Published
from elusive.errors import ElusiveError
from runs import ROOT

CONFIG = ROOT / "config.yaml"
MODELS = [
    {
        "name": name,
        "source": "ladder",
        "parameters": parameters,
        "parameters_nonembedding": parameters // 2,
        "checkpoints": [
            {
                "name": f"step{step}",
                "tokens": 100 * step,
                "flops": 600.0 * parameters * step,
                "validation_loss": 5.0 / step,
            }
            for step in (1, 2, 4)
        ],
    }
    for name, parameters in (("small", 1000), ("large", 3000))
]
FACTS = {"license": "MIT", "license_source": "somewhere", "license_note": None, "share": "yes"}
FACTS |= {"homepage": None, "citation": None}


def benchmark(name, label, texts=False, subjects=False):
    about = {"name": name, "label": label, "texts": texts, "subjects": subjects, "facts": FACTS, "num_items": 5}
    return about | {"partial": False, "metadata": {"benchmark": name}}


MANIFEST = {
    "format": "elusive published set",
    "format_version": 1,
    "schema_version": 1,
    "compute": "exact",
    "models": MODELS,
    "families": [
        {"name": "both", "label": "Both", "plotted": True, "members": ["small/step1", "small/step2", "large/step4"]}
    ],
    "benchmarks": [benchmark("arc_easy", "ARC-Easy"), benchmark("quiz", "My quiz", texts=True, subjects=True)],
    "tables": {},
}


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "manifest.json").write_text(json.dumps(MANIFEST))
    return tmp_path / "set"


@pytest.fixture
def load(directory, tmp_path):
    """Load a configuration of one's own on top of config.yaml, as Snakemake merges them."""

    def run(**own):
        mine = {"published": str(directory), **own}
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
        return registry.load(yaml.safe_load(CONFIG.read_text()) | mine, [CONFIG, tmp_path / "mine.yaml"])

    return run


def test_one_line_brings_models_families_and_benchmarks(load, directory):
    found = load()
    assert list(found.models) == ["small", "large"]
    model = found.models["large"]
    assert (model.source, model.origin, model.parameters, model.trained_here) == ("published", "ladder", 3000, True)
    assert next((c.name, c.tokens, c.flops) for c in model.checkpoints) == ("step1", 100, 1_800_000.0)
    assert model.validation_losses == {"step1": 5.0, "step2": 2.5, "step4": 1.25}
    assert [(m.model, m.name) for m in found.families["both"].members] == [
        ("small", "step1"),
        ("small", "step2"),
        ("large", "step4"),
    ]
    assert {name: (b.label, b.source, b.has_subjects) for name, b in found.benchmarks.items()} == {
        "arc_easy": ("ARC-Easy", "published", False),
        "quiz": ("My quiz", "published", True),
    }
    assert found.published.directory == str(directory) and not found.scored_models and not found.ladder_models
    assert found.facts["quiz"].license == "MIT"


def test_without_config_yaml_the_line_is_enough(directory):
    """As a workflow that imports this one has it."""
    assert list(registry.load({"published": str(directory)}).benchmarks) == ["arc_easy", "quiz"]


def test_own_families_and_benchmarks_overrule_the_sets(load):
    found = load(
        families=[{"name": "mine", "members": ["small/*"]}],
        benchmarks=[{"name": "arc_*", "source": "published"}],
    )
    assert list(found.families) == ["mine"] and list(found.benchmarks) == ["arc_easy"]
    assert load(benchmarks=[{"name": "arc_easy", "limit": 5}]).benchmarks["arc_easy"].source == "archive"


def test_own_models_beside_the_sets(load):
    ladder = {"name": "mine", "source": "ladder", "width": 32, "layers": 1}
    found = load(
        models=[{"name": "sm*", "source": "published"}, ladder],
        families=[{"name": "all", "members": ["*/*"]}],
        benchmarks=[{"name": "arc_easy"}],
    )
    assert [model.source for model in found.models.values()] == ["published", "ladder"]
    assert [model.name for model in found.scored_models] == ["mine"]
    assert [model.name for model in found.published_models] == ["small"]


def test_imported_models_beside_the_sets(load, tmp_path, monkeypatch):
    """Neither is scored here; what the logs call the set's benchmark, its entry says."""
    monkeypatch.chdir(tmp_path)
    logged = {"name": "logged", "source": "lm_eval", "path": "logs/{checkpoint}", "parameters": 1000}
    logged |= {"tokens_per_step": 10, "checkpoints": ["step1", "step2", "step3"]}
    for name in logged["checkpoints"]:
        (tmp_path / "logs" / name).mkdir(parents=True)
    own = {
        "models": [{"name": "sm*", "source": "published"}, logged],
        "families": [{"name": "all", "members": ["*/*"]}],
    }
    found = load(**own, benchmarks=[{"name": "arc_easy", "task": "their_arc"}])
    assert found.scored_models == [] and [model.name for model in found.imported_models] == ["logged"]
    assert found.benchmarks["arc_easy"].tasks == ("their_arc",)
    with pytest.raises(ElusiveError, match="source: items from the logs do not go with models that have no logs"):
        load(**own, benchmarks=[{"name": "other", "source": "logs", "task": "quiz"}])


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"models": [{"name": "huge", "source": "published"}]}, r"mine.yaml: models\[0\].name: .* has no 'huge'"),
        ({"benchmarks": [{"name": "qiz", "source": "published"}]}, r"has no 'qiz'; did you mean 'quiz'\?"),
        (
            {"models": [{"name": "small", "source": "published", "dtype": "float16"}]},
            r"mine.yaml: models\[0\].dtype: unknown key",
        ),
        (
            {"benchmarks": [{"name": "quiz", "source": "published", "limit": 3}]},
            r"benchmarks\[0\].limit: this key does not go with `source: published`: the set decides",
        ),
        ({"benchmarks": [{"name": "sciq"}]}, r"mine.yaml: benchmarks: .* has no benchmark 'sciq'"),
        (
            {
                "models": [
                    {"name": "*", "source": "published"},
                    {"name": "mine", "source": "ladder", "width": 32, "layers": 1},
                ]
            },
            "mine cannot be scored on 'arc_easy' of .*, which has no texts: name the built-in benchmark",
        ),
        (
            {"models": [{"name": "small", "source": "published"}]},
            r"manifest.json: families\[0\].members\[2\]: no model",
        ),
        ({"published": 7}, "published: 7 is not allowed: it must be text"),
        ({"compute": "nominal"}, r"mine.yaml: compute: 'nominal' is not allowed: the compute of .* is exact"),
    ],
)
def test_what_does_not_go_together_is_named(load, own, message):
    with pytest.raises(ElusiveError, match=message):
        load(**own)


def test_the_sets_own_compute_is_taken(load, directory):
    (directory / "manifest.json").write_text(json.dumps(MANIFEST | {"compute": "nominal"}))
    assert load().compute == "nominal"
    ladder = {"name": "mine", "source": "ladder", "width": 32, "layers": 1}
    with pytest.raises(ElusiveError, match=r"'exact' is not allowed: the compute of .* is nominal"):
        load(models=[{"name": "*", "source": "published"}, ladder], benchmarks=[{"name": "arc_easy"}])


@pytest.mark.parametrize(
    "entry",
    [{"models": [{"name": "a", "source": "published"}]}, {"benchmarks": [{"name": "a", "source": "published"}]}],
)
def test_the_source_needs_a_set(entry):
    config = yaml.safe_load(CONFIG.read_text()) | entry
    with pytest.raises(ElusiveError, match=r"\[0\].source: the key 'published' is missing, which names the directory"):
        registry.load(config)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "has no readable manifest.json .*it is no published data set"),
        ("{", "manifest.json: is no JSON"),
        ("[]", "manifest.json: is no manifest of a published data set"),
        ('{"format": "other"}', "manifest.json: is no manifest of a published data set"),
        (json.dumps(MANIFEST | {"format_version": 2}), "has version 2 of the format, .* knows 1: update it"),
        (json.dumps({k: v for k, v in MANIFEST.items() if k != "families"}), r"manifest.json: is damaged \(KeyError"),
        (json.dumps(MANIFEST | {"models": [MODELS[0] | {"name": "../../outside"}]}), "is damaged .*the name"),
        (json.dumps(MANIFEST | {"models": [MODELS[0] | {"checkpoints": [{"name": "/etc"}]}]}), "is damaged"),
        (json.dumps(MANIFEST | {"models": [MODELS[0] | {"parameters": "many"}]}), "is damaged"),
        (json.dumps(MANIFEST | {"models": 7}), "is damaged"),
    ],
)
def test_a_manifest_that_is_none_is_refused(directory, content, message):
    path = directory / "manifest.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(ElusiveError, match=message):
        Published.open(str(directory))


def test_texts_that_may_not_be_published_are_refused_early(load):
    for texts, message in (
        (["arc_easy", "nothing"], r"publish.texts\[1\]: 'nothing' is not among the benchmarks"),
        (True, None),
        (["quiz"], None),
    ):
        if message is None:
            load(publish={"texts": texts})
            continue
        with pytest.raises(ElusiveError, match=message):
            load(publish={"texts": texts})
    config = yaml.safe_load(CONFIG.read_text()) | {"publish": {"texts": ["openbookqa"]}}
    with pytest.raises(ElusiveError, match=r"the texts of openbookqa may not be published: its licence is not known"):
        registry.load(config)
    config |= {"publish": {"licenses": {"arc_easy": "mit"}}}
    with pytest.raises(
        ElusiveError, match=r"publish.licenses.arc_easy: is built in; workflow/registry/benchmarks.yaml"
    ):
        registry.load(config)
    with pytest.raises(ElusiveError, match=r"publish.push: 'nowhere' is not allowed"):
        registry.load(config | {"publish": {"push": "nowhere"}})
