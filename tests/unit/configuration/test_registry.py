"""The registry: what a configuration becomes, and what is said about every mistake in one."""

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from elusive.configuration import catalogue, messages, registry, schema
from elusive.configuration.models import flops, ladder_parameters
from elusive.configuration.registry import load
from elusive.configuration.schema import check_syntax
from elusive.errors import ElusiveError
from elusive.items.benchmarks import BENCHMARKS
from elusive.items.held_out import HELD_OUT
from elusive.items.sources import ARCHIVED
from elusive.ladder.training import MAX_LENGTH
from local_checkpoints import PARAMETERS, llama_tensors, write_checkpoint

ROOT = Path(__file__).parents[3]
DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text())
SCHEMA = yaml.safe_load(schema.SCHEMA.read_text())
SIZES = (32, 64, 96)
BASE = {
    "seed": 0,
    "ladder": {"vocabulary": 4096, "context": 256, "batch": 4, "checkpoints": [40, 80, 160], "learning_rate": 0.01},
    "models": [{"name": f"ladder-d{size}", "source": "ladder", "width": size, "layers": 2} for size in SIZES],
    "families": [
        {"name": "ladder", "label": "Ladder (all)", "members": ["ladder-*/*"]},
        {"name": "ladder-size", "members": ["ladder-*/step160"]},
    ],
    "benchmarks": [{"name": name, "limit": 400} for name in ("arc_easy", "sciq", "piqa", "mmlu")],
    "scoring": {"device": "auto", "token_budget": None, "threads": 1, "on_unscorable": "error", "batches": "all"},
}
NAMES = [entry["name"] for entry in BASE["benchmarks"]]


@pytest.fixture
def config():
    return copy.deepcopy(BASE)


@pytest.fixture
def local(tmp_path):
    """A model in directories of the user's own."""
    for step in ("step1", "step2", "step3", "final"):
        write_checkpoint(tmp_path / "mine" / step)
    return {
        "name": "mine",
        "source": "local",
        "path": str(tmp_path / "mine" / "{checkpoint}"),
        "parameters": PARAMETERS,
        "tokens_per_step": 10,
        "checkpoints": ["step1", "step3", "step2"],
    }


@pytest.fixture
def own(tmp_path):
    """A benchmark of the user's own."""
    (tmp_path / "quiz.jsonl").write_text('{"q": "?", "a": ["x", "y"], "g": 0}\n')
    return {
        "name": "quiz",
        "file": str(tmp_path / "quiz.jsonl"),
        "context": "{{ q }}",
        "choices": "{{ a }}",
        "gold": "{{ g }}",
    }


def with_local(config, local, **changes):
    config["models"] = [local | changes]
    config["families"] = [{"name": "f", "members": ["mine/*"]}]
    return config


def with_models(config, *models):
    config["models"] = list(models)
    config["families"] = [{"name": "f", "members": ["*/*"]}]
    return config


def with_own(config, own, **changes):
    config["benchmarks"] = [{"name": "sciq"}, own | changes]
    return config


def put(config, path, value):
    *parents, last = path
    for part in parents:
        config = config[part]
    config[last] = value


def message(config, files=()):
    with pytest.raises(ElusiveError) as caught:
        load(config, files)
    return str(caught.value)


# --- the default configuration


def test_held_out_text_has_the_seed_in_what_decides_its_items(config):
    config["benchmarks"] = [{"name": "ladder_cloze", "limit": 250}, {"name": "ladder_continuation", "limit": 20}]
    config["seed"] = 7
    cloze, continuation = load(config).benchmarks.values()
    assert cloze.items_spec(7) == {"name": "ladder_cloze", "source": "ladder", "seed": 7}
    assert continuation.items_spec(7)["limit"] == 20


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"name": "ladder_cloze", "file": "x.jsonl"}, "benchmarks[0].file: this key|ladder's held-out text"),
        ({"name": "ladder_cloze", "num_fewshot": 2}, "has no solved examples"),
        ({"name": "ladder_cloze", "source": "hub"}, "'hub' is not allowed"),
        ({"name": "arc_easy", "source": "ladder"}, "'ladder' is not allowed: arc_easy is none of its benchmarks"),
    ],
)
def test_held_out_text_comes_from_nowhere_else(config, entry, said):
    config["benchmarks"] = [entry]
    with pytest.raises(ElusiveError) as error:
        load(config)
    assert any(part in str(error.value) for part in said.split("|"))


def test_held_out_text_is_left_out_without_a_ladder(config, local):
    config["benchmarks"] = [{"name": "ladder_cloze"}, {"name": "arc_easy"}]
    assert load(config).left_out == () and "ladder_cloze" in load(config).benchmarks
    config["models"] = [local]
    config["families"] = [{"name": "f", "label": "F", "members": [f"{local['name']}/*"]}]
    loaded = load(config)
    assert loaded.left_out == ("ladder_cloze",) and list(loaded.benchmarks) == ["arc_easy"]
    assert loaded.batches == {"score": ("arc_easy",)}
    config["benchmarks"] = [{"name": "ladder_cloze"}]
    with pytest.raises(ElusiveError, match=r"nothing is left but .*: ladder_cloze; no model has `source: ladder`"):
        load(config)


def test_default_configuration():
    config = copy.deepcopy(DEFAULT)
    loaded = load(config, [ROOT / "config.yaml"])
    assert set(loaded.benchmarks) == ARCHIVED | set(HELD_OUT)
    for benchmark in loaded.benchmarks.values():
        assert benchmark.source == ("ladder" if benchmark.name in HELD_OUT else "archive")
    assert loaded.ladder_models == list(loaded.models.values())
    sizes, steps = len(config["models"]), config["ladder"]["checkpoints"]
    # all of the ladder, its largest model, the end of training
    assert [len(family.members) for family in loaded.families.values()] == [sizes * len(steps), len(steps), sizes]
    for family in loaded.families.values():
        assert [c.flops for c in family.members] == sorted(c.flops for c in family.members)
    largest = max(loaded.models.values(), key=lambda model: model.parameters).name
    assert {c.model for c in loaded.families["ladder-data"].members} == {largest}
    for entry in config["models"]:
        model, width = loaded.models[entry["name"]], entry["width"]
        parameters = entry["layers"] * (12 * width**2 + 13 * width) + 2 * width + config["ladder"]["vocabulary"] * width
        assert (model.parameters, model.shape) == (parameters, {"width": width, "layers": entry["layers"]})
        for step in steps:
            checkpoint = loaded.checkpoint(entry["name"], f"step{step}")
            assert checkpoint.tokens == step * config["ladder"]["batch"] * config["ladder"]["context"]
            assert checkpoint.flops == 6 * parameters * checkpoint.tokens
    assert loaded.batches == {"score": tuple(entry["name"] for entry in config["benchmarks"])}
    with pytest.raises(KeyError):
        loaded.checkpoint("ladder-d64", "step0")


def test_loading_leaves_the_configuration_alone(config):
    config["ladder"]["checkpoints"].reverse()
    before = copy.deepcopy(config)
    loaded = load(config)
    assert config == before
    assert loaded.ladder["checkpoints"] == [40, 80, 160]


@pytest.mark.parametrize("section", ["ladder", "scoring", "plan", "budget", "publish"])
def test_the_default_file_shows_every_key_with_its_default(section):
    properties = SCHEMA["$defs"][section]["properties"]
    assert DEFAULT[section] == {key: entry["default"] for key, entry in properties.items()}
    assert SCHEMA["properties"]["seed"]["default"] == DEFAULT["seed"]
    assert set(DEFAULT) == set(SCHEMA["properties"])


@pytest.mark.parametrize("section", ["ladder", "scoring", "plan", "budget", "publish"])
def test_a_section_left_out_has_the_defaults(section):
    config = copy.deepcopy(DEFAULT)
    del config[section]
    assert getattr(load(config), section) == DEFAULT[section]


def commented(word):
    """The keys of the commented example in config.yaml that begins with the line ``# - name: word``."""
    lines = (ROOT / "config.yaml").read_text().splitlines()
    start = lines.index(f"#   - name: {word}")
    block = []
    for line in lines[start:]:
        if not line.startswith("#   "):
            break
        block.append(line[4:])
    return yaml.safe_load("\n".join(block))[0]


def test_the_commented_examples_are_valid(config, local, own, tmp_path):
    model, benchmark = commented("mine"), commented("quiz")
    assert set(model) == set(SCHEMA["$defs"]["localModel"]["properties"]) - {"parameters_nonembedding"}
    model |= {"path": local["path"], "parameters": PARAMETERS}
    for step in model["checkpoints"]:
        write_checkpoint(tmp_path / "mine" / step)
    config["models"] += [model, commented("theirs")]
    benchmark["file"] = own["file"]
    config["benchmarks"].append(benchmark)
    loaded = load(config)
    assert loaded.checkpoint("mine", "step3000").tokens == 3000 * 2097152
    assert loaded.checkpoint("theirs", "final").revision == "main"
    assert loaded.benchmarks["quiz"].files == (own["file"],)


def test_every_key_of_the_schema_is_described():
    described = [SCHEMA, *SCHEMA["$defs"].values()]
    for definition in described:
        for key, entry in definition.get("properties", {}).items():
            if key not in ("name", "label") and "$ref" not in entry and "const" not in entry:
                assert entry.get("description"), key


def test_limits_of_the_schema_are_those_of_the_code():
    ladder = SCHEMA["$defs"]["ladder"]["properties"]
    assert ladder["context"]["maximum"] == MAX_LENGTH
    assert ladder["vocabulary"]["maximum"] == 2**16  # token ids are stored as uint16


def test_nothing_heavy_is_imported(own, tmp_path):
    """Snakemake imports the registry whenever it parses; an own benchmark may cost Jinja, no more."""
    config = {**DEFAULT, "benchmarks": [*DEFAULT["benchmarks"], own]}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    code = (
        "import sys, yaml; from elusive import environment; from elusive.configuration import registry; "
        f"registry.load(yaml.safe_load(open({str(tmp_path / 'config.yaml')!r}))); "
        "print([n for n in ('torch', 'transformers', 'polars', 'pyarrow', 'numpy', 'pandas', 'scipy', 'datasets', "
        "'tokenizers', 'plotnine', 'snakemake') if n in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


# --- compute


@given(st.integers(1, 10**12), st.integers(0, 10**13))
def test_flops(parameters, tokens):
    assert flops(parameters, tokens) == pytest.approx(6 * parameters * tokens, rel=1e-15)


def test_flops_of_pythia():
    assert flops(14067712, 2097152 * 1000) == 6 * 14067712 * 2097152000


@given(st.integers(257, 65536), st.integers(1, 64), st.integers(1, 64))
def test_parameters_grow_with_every_size(vocabulary, heads, layers):
    width = 32 * heads
    everything, nonembedding = ladder_parameters(vocabulary, width, layers)
    assert everything - nonembedding == vocabulary * width
    assert ladder_parameters(vocabulary, width, layers + 1)[1] > nonembedding
    assert ladder_parameters(vocabulary, width + 32, layers)[1] > nonembedding


# --- models, families, benchmarks


def test_local_model(config, local):
    model = load(with_local(config, local)).models["mine"]
    assert [(c.name, c.tokens, c.flops) for c in model.checkpoints] == [
        (f"step{step}", 10 * step, 6 * PARAMETERS * 10 * step) for step in (1, 2, 3)
    ]
    assert model.checkpoints[0].path == local["path"].replace("{checkpoint}", "step1")
    assert (model.dtype, model.add_bos_token, model.parameters_nonembedding) == ("float32", None, None)


def test_tokens_of_a_checkpoint_overrule_the_step(config, local):
    checkpoints = ["step1", {"name": "step2", "tokens": 7}, {"name": "final", "tokens": 500}]
    model = load(with_local(config, local, checkpoints=checkpoints)).models["mine"]
    assert [(c.name, c.tokens) for c in model.checkpoints] == [("step2", 7), ("step1", 10), ("final", 500)]


@pytest.mark.parametrize("value", [True, False, None])
def test_add_bos_token(config, local, value):
    assert load(with_local(config, local, add_bos_token=value)).models["mine"].add_bos_token is value


def test_bos_is_the_tokenizers_own_unless_the_paper_says_otherwise(config, local):
    """Described models are as lm-eval's default; built-in ones as the paper, which added none; the ladder adds none."""
    described = load(with_models(config, {**local}, THEIRS)).models
    assert [described[name].add_bos_token for name in ("mine", "theirs")] == [None, None]
    names = list(catalogue.load())
    built_in = load(with_models(config, *({"name": name} for name in names))).models
    assert {model.add_bos_token for model in built_in.values()} == {False}
    assert {model.add_bos_token for model in load(copy.deepcopy(BASE)).models.values()} == {False}


@pytest.mark.parametrize("source", ["local", "hub", "built-in"])
def test_options_of_a_scoring_job(config, local, source):
    entries = {"local": local, "hub": THEIRS, "built-in": {"name": "pythia-14m"}}
    (model,) = load(with_models(config, entries[source])).models.values()
    assert (model.max_length, model.scoring_options) == (None, {})
    (model,) = load(with_models(config, entries[source] | {"max_length": 16})).models.values()
    assert (model.max_length, model.scoring_options) == (16, {"max_length": 16})
    assert "max_length: 0 is not allowed" in message(with_models(config, entries[source] | {"max_length": 0}))


def test_code_of_a_local_model(config, local):
    (model,) = load(with_local(config, local, trust_remote_code=True)).models.values()
    assert (model.trust_remote_code, model.scoring_options) == (True, {"trust_remote_code": True})


# --- names that say a step


@pytest.mark.parametrize(
    "name",
    [
        "1000",
        "step1000",
        "Step1000",
        "steps1000",
        "step-1000",
        "step_1000",
        "step.1000",
        "step01000",
        "global_step1000",
        "global_step_1000",
        "global-step-1000",
        "globalstep1000",
        "iter1000",
        "iter_0001000",
        "iteration-1000",
        "checkpoint-1000",
        "ckpt_1000",
        "ckpt1000",
    ],
)
def test_a_name_that_says_a_step(config, local, tmp_path, name):
    write_checkpoint(tmp_path / "mine" / name)
    loaded = load(with_local(config, local, checkpoints=[name, "step1", "step2"]))
    assert loaded.checkpoint("mine", name).tokens == 10_000


@pytest.mark.parametrize(
    "name",
    [
        "seed3",
        "s1000",
        "run1",
        "epoch3",
        "tokens1000",
        "part2",
        "v2",
        "mine-7",
        "step1000b",
        "step1e3",
        "step1000-final",
        "stage1-step1000",
        "1B",
        "b1000",
        "rank0",
        "size160",
    ],
)
@pytest.mark.parametrize("source", ["local", "hub"])
def test_a_name_that_says_something_else(config, local, tmp_path, name, source):
    write_checkpoint(tmp_path / "mine" / name)
    entry = {"local": local, "hub": THEIRS}[source]
    text = message(with_models(config, entry | {"checkpoints": ["step1", "step2", name]}))
    assert f"models[0].checkpoints[2]: the training tokens of {name!r} are not known: write {{name: {name}, tok" in text
    assert "names that say a step, as step1000, global_step1000, iter_1000, checkpoint-1000, ckpt_1000 or 1000" in text
    tokens = [{"name": other, "tokens": i + 5} for i, other in enumerate(["step1", "step2", name])]
    assert load(with_models(config, entry | {"checkpoints": tokens})).checkpoint(entry["name"], name).tokens == 7


# --- local checkpoints, before anything runs


def without_parameters(local):
    return {key: value for key, value in local.items() if key != "parameters"}


def test_parameters_are_counted(config, local):
    model = load(with_models(config, without_parameters(local))).models["mine"]
    assert model.parameters == PARAMETERS
    assert model.checkpoints[0].flops == 6 * PARAMETERS * 10


def test_parameters_that_the_weights_have_not(config, local):
    text = message(with_local(config, local, parameters=PARAMETERS + 1))
    assert (
        f"models[0].parameters: {PARAMETERS + 1} is not what the weights have, {PARAMETERS} (counted in step1" in text
    )


def test_parameters_of_an_architecture_that_is_not_known_are_believed(config, local, tmp_path):
    """Where the rules do not hold for sure, loading decides."""
    own = {"model_type": "mine", "auto_map": {"AutoModelForCausalLM": "modeling_mine.Mine"}}
    for step in ("step1", "step2", "step3"):
        (write_checkpoint(tmp_path / "mine" / step, **own) / "modeling_mine.py").write_text("")
    assert load(with_local(config, local, parameters=7, trust_remote_code=True)).models["mine"].parameters == 7


def test_checkpoints_of_different_models(config, local, tmp_path):
    shapes = llama_tensors() | {"model.layers.1.self_attn.q_proj.bias": (4,)}
    write_checkpoint(tmp_path / "mine" / "step3", shapes=shapes)
    text = message(with_models(config, without_parameters(local)))
    assert f"models[0].checkpoints[1]: step3 has {PARAMETERS + 4:,} parameters, step1 has {PARAMETERS:,}" in text
    assert "not checkpoints of one model" in text


def test_parameters_of_pickled_weights_are_needed(config, local, tmp_path):
    for step in ("step1", "step2", "step3"):
        weights = tmp_path / "mine" / step / "model.safetensors"
        weights.rename(weights.with_name("pytorch_model.bin"))
    text = message(with_models(config, without_parameters(local)))
    assert "models[0]: the key 'parameters' is missing" in text and "those of mine are pickled (*.bin)" in text
    assert load(with_local(config, local)).models["mine"].parameters == PARAMETERS


def test_all_that_is_wrong_with_checkpoints_is_said_at_once(config, local, tmp_path):
    (tmp_path / "mine" / "step1" / "tokenizer.json").unlink()
    (tmp_path / "mine" / "step2" / "tokenizer.json").unlink()
    (tmp_path / "mine" / "step3" / "adapter_config.json").write_text("{}")
    other = local | {"name": "other", "path": str(tmp_path / "other" / "{checkpoint}"), "checkpoints": ["step7"]}
    text = message(with_models(config, local, other))
    lines = text.splitlines()
    assert lines[0] == "4 local checkpoints cannot be scored:"
    assert "models[0].checkpoints[0]: " in lines[1] and "step1 has no tokenizer" in lines[1]
    assert lines[1].endswith("(the same holds for 1 more: step2)")
    assert "models[0].checkpoints[1]: " in lines[2] and "step3 has an adapter (adapter_config.json)" in lines[2]
    assert "models[1].checkpoints[0]: there is no directory" in lines[3]
    assert len(lines) == 4


def test_one_mistake_is_one_line(config, local, tmp_path):
    (tmp_path / "mine" / "step2" / "model.safetensors").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    text = message(with_local(config, local))
    assert len(text.splitlines()) == 1
    assert (
        "models[0].checkpoints[2]: " in text and "step2 holds model.safetensors, which is a pointer of Git LFS" in text
    )


def test_more_tokens_than_a_model_has_positions(config, local, tmp_path):
    for step in ("step1", "step2", "step3"):
        write_checkpoint(tmp_path / "mine" / step, shapes=llama_tensors() | {"transformer.wpe.weight": (32, 4)})
    text = message(with_models(config, without_parameters(local) | {"max_length": 64}))
    assert (
        "step1 has 32 positions (transformer.wpe.weight), so it cannot be fed max_length = 64 tokens (the same" in text
    )


@pytest.mark.parametrize("kind", ["link of the file", "link of the directory", "symbolic link of the file"])
def test_two_members_that_are_the_same_files(config, local, tmp_path, kind):
    weights, copy_of = tmp_path / "mine" / "step3" / "model.safetensors", tmp_path / "mine" / "final"
    (copy_of / "model.safetensors").unlink()
    if kind == "link of the file":
        os.link(weights, copy_of / "model.safetensors")
    elif kind == "link of the directory":
        shutil.rmtree(copy_of)
        copy_of.symlink_to(weights.parent)
    else:
        (copy_of / "model.safetensors").symlink_to(weights)
    checkpoints = [*local["checkpoints"], {"name": "final", "tokens": 1000}]
    with_local(config, local, checkpoints=checkpoints)
    text = message(config)
    assert "families[0].members: mine/step3 (" in text and f") and mine/final ({copy_of}) of family 'f' have" in text
    assert "allow_duplicates: true" in text
    config["families"][0]["allow_duplicates"] = True
    assert len(load(config).families["f"].members) == 4
    # In different families they do not count twice.
    config["families"] = [
        {"name": "f", "members": ["mine/step*"]},
        {"name": "g", "members": ["mine/step[12]", "mine/step1", "mine/step2", "mine/final"]},
    ]
    assert [family.allow_duplicates for family in load(config).families.values()] == [False, False]


def test_two_members_that_are_the_same_revision(config):
    again = THEIRS | {"name": "again", "checkpoints": ["step7", {"name": "x", "revision": "step2", "tokens": 9}]}
    with_models(config, THEIRS, again)
    text = message(config)
    assert (
        "again/x (owner/theirs@step2) and theirs/step2 (owner/theirs@step2) of family 'f' have the same weights" in text
    )
    config["families"][0]["allow_duplicates"] = True
    assert len(load(config).families["f"].members) == 5
    # Of another repository they are others.
    assert len(load(with_models(config, THEIRS, again | {"repo": "owner/others"})).families["f"].members) == 5


def test_equal_bytes_in_two_files_are_not_the_same_files(config, local):
    """Whether weights are equal is known once they are read; here all three are."""
    assert len(load(with_local(config, local)).families["f"].members) == 3


# --- values of the command line


def on_command_line(config, tmp_path, **sections):
    """``config`` in a file, and over it what Snakemake makes of ``--config key='{…}'``: everything inside is text."""
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    merged = copy.deepcopy(config)
    for key, value in sections.items():
        value = yaml.load(value, Loader=yaml.BaseLoader)
        merged[key] = {**merged.get(key, {}), **value} if isinstance(value, dict) else value
    before = copy.deepcopy(merged)
    try:
        return load(merged, [file])
    finally:
        assert merged == before


def test_values_of_the_command_line_are_read_as_in_a_file(config, tmp_path):
    loaded = on_command_line(config, tmp_path, scoring="{threads: 2, token_budget: null}", hub="{keep: true}")
    assert (loaded.scoring["threads"], loaded.scoring["token_budget"], loaded.hub["keep"]) == (2, None, True)
    loaded = on_command_line(config, tmp_path, benchmarks="[{name: piqa, limit: 5}, {name: mmlu, unconditional: true}]")
    assert (loaded.benchmarks["piqa"].spec["limit"], loaded.benchmarks["mmlu"].unconditional) == (5, True)
    models = "[{name: '7', source: ladder, width: 32, layers: 2}]"
    loaded = on_command_line(config, tmp_path, models=models, families="[{name: f, members: ['*/*']}]")
    assert loaded.models["7"].shape == {"width": 32, "layers": 2}
    assert on_command_line(config, tmp_path, budget="{gpu_hours: 2.5}").budget["gpu_hours"] == 2.5


def test_values_of_the_command_line_that_fit_no_type(config, tmp_path):
    with pytest.raises(
        ElusiveError, match=r"configuration \(--config\): scoring.threads: 'two' is not allowed: it must be"
    ):
        on_command_line(config, tmp_path, scoring="{threads: two}")
    with pytest.raises(
        ElusiveError, match=r"configuration \(--config\): scoring.threads: 0 is not allowed.*at least 1"
    ):
        on_command_line(config, tmp_path, scoring="{threads: 0}")
    # What a file holds is not read a second time.
    config["scoring"]["threads"] = "2"
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert "scoring.threads: '2' is not allowed" in message(config, [tmp_path / "config.yaml"])


def test_path_relative_to_home(config, local, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    loaded = load(with_local(config, local, path="~/mine/{checkpoint}"))
    assert loaded.checkpoint("mine", "step1").path == str(tmp_path / "mine" / "step1")


def test_figures_need_a_family(config):
    config["families"][0]["plotted"] = False
    loaded = registry.load(config)
    assert [family.plotted for family in loaded.families.values()] == [False] + [True] * (len(loaded.families) - 1)
    for family in config["families"]:
        family["plotted"] = False
    with pytest.raises(ElusiveError, match="families: no family is plotted"):
        registry.load(config)


def test_a_checkpoint_may_belong_to_several_families_and_patterns(config):
    config["families"] = [
        {"name": "a", "members": ["ladder-d32/*", "ladder-*/step40", "ladder-d32/step40"]},
        {"name": "b", "members": ["ladder-d32/*"]},
    ]
    loaded = load(config)
    assert len(loaded.families["a"].members) == 3 + 2
    assert set(loaded.families["b"].members) < set(loaded.families["a"].members)
    assert loaded.families["b"].label == "b"


def test_checkpoints_without_training_do_not_make_a_family(config, local):
    checkpoints = [{"name": "final", "tokens": 0}, "step1", "step2"]
    text = message(with_local(config, local, checkpoints=checkpoints))
    assert "families[0].members: family 'f' has 2 checkpoint(s) of distinct compute above zero" in text
    assert "at least 3" in text
    assert "mine/final with 0 tokens" in text
    # A fourth one is enough, and the untrained one stays a member.
    loaded = load(with_local(config, local, checkpoints=[*checkpoints, "step3"]))
    assert len(loaded.families["f"].members) == 4


def test_equal_compute_does_not_make_a_family(config, local):
    checkpoints = [{"name": name, "tokens": 5} for name in ("step1", "step2", "step3", "final")]
    assert "has 1 checkpoint(s) of distinct compute" in message(with_local(config, local, checkpoints=checkpoints))


def test_a_file_in_the_home_directory(config, own, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    loaded = load(with_own(config, own, file="~/quiz.jsonl", shots_file="~/quiz.jsonl"))
    assert loaded.benchmarks["quiz"].files == (own["file"], own["file"])
    assert loaded.benchmarks["quiz"].spec["file"] == own["file"]
    text = message(with_own(config, own, file="~no-such-user/quiz.jsonl"))
    assert "benchmarks[1].file: '~no-such-user/quiz.jsonl' is of a user who does not exist" in text


def test_own_benchmark(config, own):
    loaded = load(with_own(config, own, label="Quiz", limit=3))
    assert (loaded.benchmarks["quiz"].files, loaded.benchmarks["quiz"].label) == ((own["file"],), "Quiz")
    assert loaded.benchmarks["quiz"].spec["limit"] == 3
    assert loaded.benchmarks["sciq"].files == ()
    assert loaded.benchmarks["sciq"].label == BENCHMARKS["sciq"].label


def test_solved_examples_and_unconditional_scores(config):
    config["benchmarks"][3] |= {"num_fewshot": 5, "unconditional": True}
    benchmarks = load(config).benchmarks
    assert benchmarks["mmlu"].spec["num_fewshot"] == 5
    assert [name for name, entry in benchmarks.items() if entry.unconditional] == ["mmlu"]
    # Items do not depend on it, so it must not make them anew.
    assert "unconditional" not in benchmarks["mmlu"].spec


@pytest.mark.parametrize(
    ("name", "number", "expected"),
    [("mmlu", 6, "at most 5"), ("mmlu_virology", 6, "at most 5"), ("race", 1, "no solved examples")],
)
def test_more_solved_examples_than_a_benchmark_has(config, name, number, expected):
    config["benchmarks"] = [{"name": name, "num_fewshot": number}]
    text = message(config)
    assert f"benchmarks[0].num_fewshot: {number} is not allowed" in text and expected in text


def test_batches(config):
    config["benchmarks"] = [{"name": name} for name in ("sciq", "piqa", "mmlu")]
    config["scoring"]["batches"] = "each"
    assert load(config).batches == {"score_sciq": ("sciq",), "score_piqa": ("piqa",), "score_mmlu": ("mmlu",)}
    config["scoring"]["batches"] = [["mmlu"], ["piqa", "sciq"]]
    assert load(config).batches == {"score_1": ("mmlu",), "score_2": ("piqa", "sciq")}


# --- models of the hub

THEIRS = {
    "name": "theirs",
    "source": "hub",
    "repo": "owner/theirs",
    "parameters": 1000,
    "tokens_per_step": 10,
    "checkpoints": ["step2", "step1", {"name": "final", "revision": "main", "tokens": 70}],
}
NOMINAL = THEIRS | {
    "parameters_nominal": 900,
    "checkpoints": [
        {"name": f"step{step}", "tokens_nominal": 9 * step - 9, "revision": f"refs/pr/{step}"} for step in (1, 2, 3, 4)
    ],
}


def test_hub_model(config):
    loaded = load(with_models(config, THEIRS))
    model = loaded.models["theirs"]
    assert loaded.hub_models == [model] and loaded.ladder_models == []
    assert [(c.name, c.revision, c.tokens, c.flops, c.path) for c in model.checkpoints] == [
        ("step1", "step1", 10, 6e4, None),
        ("step2", "step2", 20, 12e4, None),
        ("final", "main", 70, 42e4, None),
    ]
    assert (model.source, model.repo, model.trust_remote_code, model.verified) == ("hub", "owner/theirs", False, None)
    assert (model.dtype, model.add_bos_token, model.weights_bytes) == ("float32", None, 4000)


def test_size_of_a_download(config):
    half = load(with_models(config, THEIRS | {"dtype": "bfloat16"})).models["theirs"]
    assert half.weights_bytes == 2000
    given = load(with_models(config, THEIRS | {"download_gb": 1.5})).models["theirs"]
    assert given.weights_bytes == 1_500_000_000


def test_nominal_compute(config):
    exact = load(with_models(config, NOMINAL))
    assert (exact.compute, [c.flops for c in exact.models["theirs"].checkpoints]) == ("exact", [6e4, 12e4, 18e4, 24e4])
    nominal = load(with_models(config | {"compute": "nominal"}, NOMINAL))
    checkpoints = nominal.models["theirs"].checkpoints
    assert nominal.compute == "nominal"
    assert [c.flops for c in checkpoints] == [6 * 900 * tokens for tokens in (0, 9, 18, 27)]
    assert [c.tokens for c in checkpoints] == [10, 20, 30, 40], "what it was trained on is the same"
    assert [c.flops for c in nominal.families["f"].members] == [c.flops for c in checkpoints]
    # Without nominal tokens a checkpoint has no compute, and two are too few for a correlation.
    few = NOMINAL | {"checkpoints": NOMINAL["checkpoints"][:3]}
    assert "has 2 checkpoint(s) of distinct compute" in message(with_models(config | {"compute": "nominal"}, few))


def test_nominal_compute_is_all_or_nothing(config, local):
    config["compute"] = "nominal"
    assert "models[0]: ladder-d32 has no nominal numbers" in message(copy.deepcopy(config))
    without = {key: value for key, value in NOMINAL.items() if key != "parameters_nominal"}
    text = message(with_models(config, NOMINAL | {"name": "first"}, without))
    assert "models[1]: theirs has no nominal number of parameters (parameters_nominal)" in text
    assert "`compute: exact` takes exact numbers" in text
    mixed = NOMINAL | {"checkpoints": [*NOMINAL["checkpoints"], "step9"]}
    assert "theirs has no nominal number of tokens (tokens_nominal) for step9" in message(with_models(config, mixed))
    assert "pythia-31m has no nominal number of parameters" in message(with_models(config, {"name": "pythia-31m"}))


def test_built_in_model(config):
    loaded = load(with_models(config, {"name": "pythia-410m"}))
    model = loaded.models["pythia-410m"]
    assert loaded.hub_models == [model]
    assert [c.name for c in model.checkpoints] == [
        f"step{step}" for step in (1, 32, 1000, 3000, 10000, 30000, 100000, 143000)
    ]
    assert model.checkpoints[2].flops == 6 * 405334016 * 2097152000
    assert all(c.revision == c.name for c in model.checkpoints)
    assert (model.repo, model.dtype, model.verified) == ("EleutherAI/pythia-410m", "float16", True)
    assert (model.parameters, model.parameters_nonembedding, model.parameters_nominal) == (
        405334016,
        302311424,
        410000000,
    )
    assert model.weights_bytes == 2 * 405334016


def test_built_in_model_with_changes(config):
    changes = {"checkpoints": ["step64000", "step2", "step0"], "dtype": "float32", "add_bos_token": None}
    config["families"] = [{"name": "f", "members": ["ladder-*/*"]}]
    config["models"].append({"name": "pythia-14m"} | changes)
    model = load(config).models["pythia-14m"]
    assert [(c.name, c.tokens) for c in model.checkpoints] == [
        ("step0", 0),
        ("step2", 2 * 2097152),
        ("step64000", 64000 * 2097152),
    ]
    assert (model.dtype, model.add_bos_token) == ("float32", None)
    assert model.weights_bytes == 2 * 14067712, "what is stored does not depend on what is computed with"


def test_one_name_for_a_built_in_and_a_described_model(config):
    config["models"].append(THEIRS | {"name": "pythia-14m"})
    assert load(config).models["pythia-14m"].repo == "owner/theirs"


@pytest.mark.parametrize("compute", ["exact", "nominal"])
def test_the_preset_of_the_paper(compute):
    path = ROOT / "workflow" / "presets" / "paper.yaml"
    loaded = load(DEFAULT | yaml.safe_load(path.read_text()) | {"compute": compute}, [ROOT / "config.yaml", path])
    assert sum(len(model.checkpoints) for model in loaded.models.values()) == 112
    sizes = {name: len(family.members) for name, family in loaded.families.items()}
    plotted = {"cerebras": 7, "incite-7b": 6, "amber": 13, "olmo-7b": 7, "pythia-12b": 8, "pythia-300b-tokens": 9}
    assert list(sizes.items())[:6] == list(plotted.items())
    wider = {name: size for name, size in sizes.items() if name not in plotted}
    assert [wider.pop(name) for name in ("pythia-all", "olmo-1b", "olmo-all")] == [72, 7, 14]
    assert sorted(wider.values()) == [8] * 8 + [9] * 7
    for family in loaded.families.values():
        # By the paper's count of tokens, Amber's first checkpoint has none.
        with_compute = [c for c in family.members if c.flops > 0]
        assert len(family.members) - len(with_compute) == (family.name == "amber" and compute == "nominal")


def test_batches_may_have_patterns(config):
    config["benchmarks"] = [{"name": name} for name in ("sciq", "mmlu_virology", "mmlu_anatomy", "piqa")]
    config["scoring"]["batches"] = [["mmlu_*"], ["piqa", "s*"]]
    assert load(config).batches == {"score_1": ("mmlu_virology", "mmlu_anatomy"), "score_2": ("piqa", "sciq")}
    config["scoring"]["batches"] = [["*a*"], ["sciq", "piqa"]]
    assert "batches[1][1]: 'piqa' stands in the batches twice" in message(config)
    config["scoring"]["batches"] = [["race*"], ["*"]]
    assert "batches[0][0]: 'race*' is not among the benchmarks" in message(config)


# --- where the rows of benchmarks come from


def sources_of(config, *entries, sources=None):
    config["benchmarks"] = [{"name": entry} if isinstance(entry, str) else entry for entry in entries]
    if sources:
        config["sources"] = sources
    return {name: benchmark.source for name, benchmark in load(config).benchmarks.items()}


def test_the_first_source_that_has_a_benchmark_is_taken(config):
    names = ["piqa", "race", "sciq", "mmlu", "mmlu_virology"]
    held = {"piqa": "archive", "race": "hub", "sciq": "archive", "mmlu": "archive", "mmlu_virology": "archive"}
    assert sources_of(config, *names) == held
    assert sources_of(config, *names, sources=["archive", "hub"]) == held
    assert set(sources_of(config, *names, sources=["hub", "archive"]).values()) == {"hub"}
    assert set(sources_of(config, *names, sources=["hub"]).values()) == {"hub"}
    del config["sources"]
    assert sources_of(config, *names) == held


def test_the_archive_alone_lacks_some(config):
    config["sources"] = ["archive"]
    config["benchmarks"] = [{"name": "piqa"}, {"name": "race"}]
    assert "benchmarks[1].name: the archive does not hold race: add hub to the 'sources', or give a" in message(config)
    config["benchmarks"] = [{"name": "piqa", "num_fewshot": 2}]
    assert "the archive does not hold piqa with solved examples: add hub" in message(config)
    config["benchmarks"] = [{"name": "mmlu", "num_fewshot": 2}]
    assert load(config).benchmarks["mmlu"].source == "archive"


def test_a_benchmark_may_name_its_source(config, tmp_path):
    file = tmp_path / "rows.parquet"
    file.touch()
    entries = [
        {"name": "piqa", "source": "hub"},
        {"name": "sciq", "revision": "main"},
        {"name": "openbookqa", "dataset": "mirror/openbookqa"},
        {"name": "arc_easy", "num_fewshot": 5},
        {"name": "mathqa", "file": str(file)},
        {"name": "race", "source": "file", "file": str(file)},
        {"name": "hellaswag", "file": str(file), "shots_file": str(file), "num_fewshot": 1},
    ]
    assert sources_of(config, *entries) == {
        "piqa": "hub",
        "sciq": "hub",
        "openbookqa": "hub",
        "arc_easy": "hub",
        "mathqa": "file",
        "race": "file",
        "hellaswag": "file",
    }
    benchmarks = load(config).benchmarks
    assert benchmarks["hellaswag"].files == (str(file), str(file))
    assert benchmarks["piqa"].files == ()
    assert benchmarks["openbookqa"].spec["dataset"] == "mirror/openbookqa"
    assert {benchmark.spec["source"] for benchmark in benchmarks.values()} == {"hub", "file"}


TEMPLATES = {"context": "{{ q }}", "choices": "c", "gold": "g"}
SOURCE_MISTAKES = [
    ({"name": "race", "source": "archive"}, "[0].source: the archive does not hold race: write hub or file"),
    ({"name": "piqa", "source": "net"}, "[0].source: 'net' is not allowed: it must be one of archive, hub, file"),
    ({"name": "race", "source": "file"}, "[0]: the key 'file' is missing: race is to come from a file"),
    ({"name": "race", "file": "absent.jsonl"}, "[0].file: there is no file absent.jsonl"),
    ({"name": "race", "file": "FILE.txt"}, "must end in one of .jsonl, .json, .csv, .tsv, .parquet"),
    ({"name": "race", "source": "hub", "file": "FILE.jsonl"}, "[0].file: this key goes with the source file, not hub"),
    ({"name": "piqa", "source": "archive", "revision": "x"}, "[0].revision: this key goes with the source hub, not"),
    ({"name": "piqa", "file": "FILE.jsonl", "config": "x"}, "[0].config: this key goes with the source hub, not with"),
    ({"name": "piqa", "file": "FILE.jsonl", "num_fewshot": 1}, "[0]: the key 'shots_file' is missing"),
    ({"name": "piqa", "split": "test"}, "[0].split: piqa is built in; its splits are given"),
    ({"name": "piqa", "file": "FILE.jsonl", "dataset": "a/b"}, "[0].file: rows come from a 'file' or from a 'dataset'"),
    ({"name": "piqa", "dataset": "piqa"}, "[0].dataset: 'piqa' is not allowed: it must be like allenai/ai2_arc"),
    ({"name": "mine", "dataset": "a/b", **TEMPLATES}, "key 'split' is missing"),
    ({"name": "mine", "dataset": "a/b", "split": "s", **TEMPLATES, "context": "q"}, "key 'context': 'q' uses no field"),
    (
        {"name": "mine", "dataset": "a/b", "source": "file", **TEMPLATES},
        "[0].source: 'file' is not allowed: with 'dataset' it is hub",
    ),
    (
        {"name": "mine", "file": "FILE.jsonl", "split": "test", **TEMPLATES},
        "[0].split: this key goes with 'dataset', and the rows come from a file",
    ),
]


@pytest.mark.parametrize(("entry", "expected"), SOURCE_MISTAKES)
def test_mistake_in_where_rows_come_from(config, tmp_path, entry, expected):
    for suffix in (".jsonl", ".txt"):
        (tmp_path / f"FILE{suffix}").touch()
    place = str(tmp_path / "FILE")
    config["benchmarks"] = [{k: v.replace("FILE", place) if k == "file" else v for k, v in entry.items()}]
    assert expected in message(config)


def test_own_benchmark_of_a_dataset(config):
    entry = {"name": "mine", "dataset": "a/b", "split": "test", **TEMPLATES}
    config["benchmarks"] = [entry]
    mine = load(config).benchmarks["mine"]
    assert (mine.source, mine.files, mine.spec) == ("hub", (), entry | {"source": "hub"})


# --- patterns of names


def test_a_pattern_stands_for_all_built_in_names_that_match(config):
    config["benchmarks"] = [
        {"name": "mmlu_*", "limit": 20, "unconditional": True},
        {"name": "arc_?a*"},
        {"name": "mmlu"},
    ]
    benchmarks = load(config).benchmarks
    subjects = [name for name, definition in BENCHMARKS.items() if definition.subject]
    assert list(benchmarks) == [*subjects, "arc_easy", "mmlu"]
    assert len(subjects) == 57
    for name in subjects:
        assert benchmarks[name].spec == {"name": name, "limit": 20, "source": "archive"}
        assert benchmarks[name].unconditional
    assert benchmarks["mmlu_high_school_us_history"].label == "MMLU high school us history"
    assert "limit" not in benchmarks["mmlu"].spec


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([{"name": "mlu_*"}], ["benchmarks[0].name: no built-in benchmark matches 'mlu_*'", "mmlu_<subject>"]),
        ([{"name": "mmlu_*"}, {"name": "mmlu_virology"}], ["benchmarks[1].name: 'mmlu_virology' is already", "[0]"]),
        ([{"name": "arc_*", "label": "ARC"}], ["[0].label: 'arc_*' stands for 2 built-in benchmarks: give it to one"]),
        ([{"name": "arc_*", "file": "x.csv"}], ["benchmarks[0].file: 'arc_*' stands for 2"]),
        ([{"name": "arc_[ec]*"}], ["benchmarks[0].name: 'arc_[ec]*' is not allowed", "mmlu_*"]),
    ],
)
def test_mistake_in_a_pattern(config, entries, expected):
    config["benchmarks"] = entries
    text = message(config)
    for part in expected:
        assert part in text


# --- mistakes: (where the value is put, value, what the message says)

MISTAKES = {
    "unknown section": (["bencmarks"], [], ["bencmarks: unknown key", "did you mean 'benchmarks'?", "allowed: seed,"]),
    "unknown ladder key": (["ladder", "vocabulry"], 9, ["ladder.vocabulry: unknown key", "'vocabulary'"]),
    "unknown model key": (["models", 1, "widht"], 9, ["models[1].widht: unknown key", "'width'", "name, source,"]),
    "unknown family key": (["families", 0, "member"], [], ["families[0].member: unknown key", "'members'"]),
    "unknown benchmark key": (["benchmarks", 2, "limt"], 9, ["benchmarks[2].limt: unknown key", "'limit'"]),
    "unknown scoring key": (["scoring", "devcie"], "cpu", ["scoring.devcie: unknown key", "'device'"]),
    "key that is true": (["ladder", True], 1, ["ladder: unknown key True", "allowed: vocabulary,"]),
    "key that is a number": ([1], 1, ["unknown key 1", "allowed: seed,"]),
    "key that is null": ([None], 1, ["unknown key None"]),
    "key of the other kind of model": (["models", 0, "path"], "x", ["models[0].path: unknown key", "width, layers"]),
    "misspelt source": (
        ["models", 0, "source"],
        "laddr",
        ["models[0].source: 'laddr'", "hub, ladder, local", "'ladder'?"],
    ),
    "empty source": (["models", 0, "source"], None, ["models[0].source: an empty value", "one of hub, ladder, local"]),
    "no models": (["models"], [], ["models: [] is not allowed", "a list that is not empty"]),
    "empty models": (["models"], None, ["models: an empty value (null)", "a list"]),
    "mapping of models": (["models"], {"a": {}}, ["models: {'a': {}} is not allowed", "a list"]),
    "name for a model": (["models", 0], "d32", ["models[0]: 'd32' is not allowed", "a mapping of keys to values"]),
    "name for a benchmark": (["benchmarks", 0], "mmlu", ["benchmarks[0]: 'mmlu' is not allowed", "a mapping"]),
    "misspelt compute": (["compute"], "nominl", ["compute: 'nominl'", "one of exact, nominal", "'nominal'?"]),
    "empty section": (["ladder"], None, ["ladder: an empty value (null) is not allowed", "a mapping"]),
    "list for a section": (["scoring"], [1], ["scoring: [1] is not allowed", "a mapping"]),
    "bool for a number": (["seed"], True, ["seed: True is not allowed", "a whole number"]),
    "text for a number": (["seed"], "1", ["seed: '1' is not allowed", "a whole number; write 1"]),
    "fraction for a number": (["models", 0, "width"], 32.0, ["models[0].width: 32.0", "a whole number; write 32"]),
    "negative seed": (["seed"], -1, ["seed: -1 is not allowed", "at least 0"]),
    "huge seed": (["seed"], 2**32, ["seed: 4294967296 is not allowed", "at most 4294967295"]),
    "odd width": (["models", 0, "width"], 40, ["models[0].width: 40 is not allowed", "a multiple of 16"]),
    "no layers": (["models", 0, "layers"], 0, ["models[0].layers: 0 is not allowed", "at least 1"]),
    "learning rate as YAML reads it": (["ladder", "learning_rate"], "1e-2", ["learning_rate: '1e-2'", "write 0.01"]),
    "learning rate zero": (["ladder", "learning_rate"], 0, ["ladder.learning_rate: 0", "more than 0"]),
    "learning rate nan": (["ladder", "learning_rate"], float("nan"), ["ladder.learning_rate: nan", "a number"]),
    "learning rate inf": (["ladder", "learning_rate"], float("inf"), ["ladder.learning_rate: inf", "a number"]),
    "long context": (["ladder", "context"], 2048, ["ladder.context: 2048 is not allowed", "at most 1024"]),
    "repeated steps": (["ladder", "checkpoints"], [9, 9], ["ladder.checkpoints: [9, 9]", "9 stands there twice"]),
    "negative step": (["ladder", "checkpoints", 1], -1, ["ladder.checkpoints[1]: -1 is not allowed", "at least 1"]),
    "no steps": (["ladder", "checkpoints"], [], ["ladder.checkpoints: []", "a list that is not empty"]),
    "repeated model": (["models", 1, "name"], "ladder-d32", ["models[1].name: 'ladder-d32' is already", "models[0]"]),
    "repeated family": (["families", 1, "name"], "ladder", ["families[1].name: 'ladder' is already", "families[0]"]),
    "repeated benchmark": (["benchmarks", 1, "name"], "arc_easy", ["benchmarks[1].name: 'arc_easy' is already"]),
    "repeated label": (["families", 1, "label"], "Ladder (all)", ["families[1].label: 'Ladder (all)' is already"]),
    "label of another": (["benchmarks", 0, "label"], "MMLU", ["benchmarks[3].name: 'MMLU' is already the label of"]),
    "slash in a name": (["models", 0, "name"], "a/b", ["models[0].name: 'a/b' is not allowed", "like pythia-410m"]),
    "line break in a name": (["models", 0, "name"], "a\n", ["models[0].name: 'a\\n' is not allowed"]),
    "number for a name": (["models", 0, "name"], 7, ["models[0].name: 7 is not allowed", 'text; write "7"']),
    "empty name": (["models", 0, "name"], "", ["models[0].name: '' is not allowed"]),
    "small family": (
        ["families", 0, "members"],
        ["ladder-d32/step40", "ladder-d32/step80"],
        ["families[0].members: family 'ladder' has 2 checkpoint(s)", "at least 3", "ladder-d32/step80 with 81920"],
    ),
    "unknown member": (
        ["families", 0, "members"],
        ["laddr-d32/*"],
        ["members[0]: no model is called 'laddr-d32'", "did you mean 'ladder-d32'?", "allowed: ladder-d32, ladder-d64"],
    ),
    "pattern without a match": (["families", 0, "members"], ["mine-*/*"], ["members[0]: no model is called 'mine-*'"]),
    "unknown checkpoint": (
        ["families", 0, "members"],
        ["ladder-*/step41"],
        ["members[0]: ladder-* has no checkpoint", "'step41'", "did you mean 'step40'?", "allowed: step40, step80"],
    ),
    "member without a checkpoint": (
        ["families", 0, "members", 0],
        "ladder-d32",
        ["members[0]: 'ladder-d32' is not", "pythia-410m/step1000"],
    ),
    "member with a third part": (["families", 0, "members", 0], "a/b/c", ["families[0].members[0]: 'a/b/c' is not"]),
    "text for members": (["families", 0, "members"], "ladder-*/*", ["families[0].members: 'ladder-*/*'", "a list"]),
    "no members": (["families", 0, "members"], [], ["families[0].members: []", "a list that is not empty"]),
    "unknown benchmark": (
        ["benchmarks", 0, "name"],
        "arc_esy",
        [
            "benchmarks[0].name: unknown benchmark 'arc_esy'",
            "did you mean 'arc_easy'?",
            "xwinograd_en",
            "mmlu_<subject>, ladder_cloze, ladder_continuation)",
            "'file'",
        ],
    ),
    "benchmark in its paper's spelling": (["benchmarks", 0, "name"], "ARC-Easy", ["did you mean 'arc_easy'?"]),
    "limit zero": (["benchmarks", 0, "limit"], 0, ["benchmarks[0].limit: 0 is not allowed", "at least 1 or null"]),
    "limit true": (["benchmarks", 0, "limit"], True, ["benchmarks[0].limit: True", "a whole number or null"]),
    "template for a built-in": (["benchmarks", 0, "gold"], "{{ g }}", ["benchmarks[0].gold: arc_easy is built in"]),
    "batches misspelt": (
        ["scoring", "batches"],
        "eech",
        ["scoring.batches: 'eech'", "one of all, each or a list", "did you mean 'each'?"],
    ),
    "batches not nested": (["scoring", "batches"], ["mmlu"], ["scoring.batches[0]: 'mmlu' is not allowed", "a list"]),
    "no batches": (["scoring", "batches"], [], ["scoring.batches: [] is not allowed"]),
    "an empty batch": (["scoring", "batches"], [["mmlu"], []], ["scoring.batches[1]: []", "a list that is not empty"]),
    "unknown in a batch": (
        ["scoring", "batches"],
        [["mmlu", "piqaa"]],
        ["scoring.batches[0][1]: 'piqaa' is not", "did you mean 'piqa'?"],
    ),
    "missing in batches": (["scoring", "batches"], [NAMES[1:]], ["scoring.batches: no batch has arc_easy"]),
    "twice in a batch": (["scoring", "batches"], [["mmlu", "mmlu"]], ["scoring.batches[0][1]: 'mmlu' stands"]),
    "twice in batches": (["scoring", "batches"], [["mmlu"], ["mmlu"]], ["scoring.batches[1][0]: 'mmlu' stands"]),
    "unknown device": (["scoring", "device"], "gpu", ["scoring.device: 'gpu'", "like auto, cpu, mps, cuda, cuda:1"]),
    "no threads": (["scoring", "threads"], 0, ["scoring.threads: 0 is not allowed", "at least 1"]),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake(config, mistake):
    path, value, expected = MISTAKES[mistake]
    put(config, path, value)
    text = message(config)
    for part in expected:
        assert part in text


@pytest.mark.parametrize("key", ["models", "families", "benchmarks"])
def test_missing_section(config, key):
    del config[key]
    assert f"the key '{key}' is missing" in message(config)


@pytest.mark.parametrize(
    ("section", "key"),
    [("models", "name"), ("models", "source"), ("models", "width"), ("families", "members"), ("benchmarks", "name")],
)
def test_missing_key(config, section, key):
    del config[section][0][key]
    assert f"{section}[0]: the key '{key}' is missing" in message(config)


def test_missing_source_of_a_local_model(config, local):
    del local["source"]
    assert "models[0]: the key 'source' is missing" in message(with_local(config, local))


HUB_MISTAKES = {
    "no repository": ({"repo": None}, ["repo: an empty value (null) is not allowed", "text"]),
    "repository without owner": ({"repo": "gpt2"}, ["repo: 'gpt2' is not allowed", "like EleutherAI/pythia-410m"]),
    "address for a repository": ({"repo": "https://huggingface.co/a/b"}, ["repo: 'https://huggingface.co/a/b' is not"]),
    "leaves its directory": ({"repo": "../b"}, ["repo: '../b' is not allowed"]),
    "branch that is an option": (
        {"checkpoints": [{"name": "a", "revision": "--help", "tokens": 1}]},
        ["checkpoints[0].revision: '--help'", "like main, step1000"],
    ),
    "number for a revision": (
        {"checkpoints": [{"name": "a", "revision": 7, "tokens": 1}]},
        ["checkpoints[0].revision: 7 is not allowed", 'write "7"'],
    ),
    "unknown tokens": ({"checkpoints": ["final"]}, ["checkpoints[0]: the training tokens of 'final' are not known"]),
    "repeated checkpoint": ({"checkpoints": ["step1", "step1"]}, ["checkpoints[1]: 'step1' stands there twice"]),
    "repeated revision": (
        {"checkpoints": ["step1", {"name": "first", "revision": "step1", "tokens": 3}]},
        ["checkpoints[1]: 'first' and 'step1' are both revision 'step1'"],
    ),
    "misspelt revision": (
        {"checkpoints": [{"name": "a", "revison": "main", "tokens": 1}]},
        ["checkpoints[0].revison: unknown key", "did you mean 'revision'?"],
    ),
    "path of a local model": ({"path": "x"}, ["path: unknown key", "repo"]),
    "text for trust": ({"trust_remote_code": "yes"}, ["trust_remote_code: 'yes' is not allowed", "true or false"]),
    "more without embeddings": ({"parameters_nonembedding": 1001}, ["parameters_nonembedding: 1001 is more than"]),
    "fraction of parameters": ({"parameters": 4.1e8}, ["parameters: 410000000.0 is not", "write 410000000"]),
    "nothing to download": ({"download_gb": 0}, ["download_gb: 0 is not allowed", "more than 0"]),
    "unknown type": ({"dtype": "fp16"}, ["dtype: 'fp16' is not allowed", "float32, bfloat16, float16"]),
}


@pytest.mark.parametrize("mistake", HUB_MISTAKES)
def test_mistake_in_a_hub_model(config, mistake):
    changes, expected = HUB_MISTAKES[mistake]
    text = message(with_models(config, THEIRS | changes))
    for part in [f"models[0].{expected[0]}", *expected[1:]]:
        assert part in text


@pytest.mark.parametrize("key", ["repo", "parameters", "checkpoints"])
def test_missing_key_of_a_hub_model(config, key):
    entry = {k: value for k, value in THEIRS.items() if k != key}
    assert f"models[0]: the key '{key}' is missing" in message(with_models(config, entry))


BUILT_IN_MISTAKES = {
    "unknown model": (
        {"name": "pythia-410"},
        ["models[0]: the key 'source' is missing", "'pythia-410' is no built-in model", "did you mean 'pythia-410m'?"],
    ),
    "name of a repository": ({"name": "Cerebras-GPT-13B"}, ["models[0]: ", "did you mean 'cerebras-gpt-13b'?"]),
    "misspelt source": ({"name": "mine", "sorce": "local"}, ["models[0].sorce: unknown key", "did you mean 'source'?"]),
    "misspelt key": (
        {"name": "pythia-14m", "checkpoint": ["step1"]},
        [
            "models[0].checkpoint: unknown key",
            "'checkpoints'?",
            "(allowed: name, checkpoints, dtype, add_bos_token, max_length)",
        ],
    ),
    "key of another kind": ({"name": "pythia-14m", "parameters": 3}, ["models[0].parameters: unknown key"]),
    "unknown checkpoint": (
        {"name": "pythia-14m", "checkpoints": ["step1000", "step1500"]},
        ["models[0].checkpoints[1]: pythia-14m has no checkpoint 'step1500'", "did you mean 'step", "154 in all"],
    ),
    "end of training by its branch": (
        {"name": "pythia-14m", "checkpoints": ["main"]},
        ["pythia-14m has no checkpoint 'main'", "`source: hub`"],
    ),
    "name of the paper's repository": (
        {"name": "olmo-1b", "checkpoints": ["step20000-tokens84B"]},
        ["olmo-1b has no checkpoint 'step20000-tokens84B'", "did you mean 'step20000-tokens83B'?"],
    ),
    "tokens of a built-in checkpoint": (
        {"name": "pythia-14m", "checkpoints": [{"name": "step1", "tokens": 3}]},
        ["models[0].checkpoints[0]: {'name': 'step1', 'tokens': 3} is not allowed", "text"],
    ),
    "repeated checkpoint": (
        {"name": "pythia-14m", "checkpoints": ["step1", "step1"]},
        ["models[0].checkpoints[1]: 'step1' stands there twice"],
    ),
    "no checkpoints": ({"name": "pythia-14m", "checkpoints": []}, ["models[0].checkpoints: []", "not empty"]),
    "unknown type": ({"name": "pythia-14m", "dtype": "auto"}, ["models[0].dtype: 'auto'", "float32, bfloat16"]),
}


@pytest.mark.parametrize("mistake", BUILT_IN_MISTAKES)
def test_mistake_in_a_built_in_model(config, mistake):
    entry, expected = BUILT_IN_MISTAKES[mistake]
    text = message(with_models(config, entry))
    for part in expected:
        assert part in text


LOCAL_MISTAKES = {
    "negative tokens": (
        {"checkpoints": [{"name": "step1", "tokens": -3}]},
        ["checkpoints[0].tokens: -3", "at least 0"],
    ),
    "tokens as YAML reads them": (
        {"checkpoints": ["step1", {"name": "final", "tokens": "3e9"}]},
        ["checkpoints[1].tokens: '3e9' is not allowed", "write 3000000000"],
    ),
    "tokens true": ({"checkpoints": [{"name": "step1", "tokens": True}]}, ["checkpoints[0].tokens: True", "whole"]),
    "misspelt tokens": (
        {"checkpoints": [{"name": "step1", "token": 3}]},
        ["checkpoints[0].token: unknown key", "did you mean 'tokens'?"],
    ),
    "no tokens": ({"checkpoints": [{"name": "step1"}]}, ["checkpoints[0]: the key 'tokens' is missing"]),
    "unknown tokens": ({"checkpoints": ["final"]}, ["checkpoints[0]: the training tokens of 'final'", "tokens: …"]),
    "number for a checkpoint": ({"checkpoints": [1000]}, ["checkpoints[0]: 1000 is not allowed", 'write "1000"']),
    "no checkpoints": ({"checkpoints": []}, ["checkpoints: [] is not allowed"]),
    "repeated checkpoint": ({"checkpoints": ["step1", "step1"]}, ["checkpoints[1]: 'step1' stands there twice"]),
    "parent directory": ({"checkpoints": [".."]}, ["checkpoints[0]: '..' is not allowed"]),
    "no directory": ({"checkpoints": ["step1", "step9"]}, ["checkpoints[1]: there is no directory", "mine/step9"]),
    "one directory for all": ({"path": "/"}, ["path: '/' is the same directory for all 3", "{checkpoint}"]),
    "home of nobody": ({"path": "~no-such-user/{checkpoint}"}, ["path: '~no-such-user/step1' is of a user"]),
    "empty path": ({"path": ""}, ["path: '' is not allowed", "text that is not empty"]),
    "number for a path": ({"path": 3}, ["path: 3 is not allowed", "text"]),
    "no parameters": ({"parameters": 0}, ["parameters: 0 is not allowed", "at least 1"]),
    "more without embeddings": (
        {"parameters_nonembedding": PARAMETERS + 1},
        [f"parameters_nonembedding: {PARAMETERS + 1} is more than", str(PARAMETERS)],
    ),
    "unknown type": ({"dtype": "fp16"}, ["dtype: 'fp16' is not allowed", "float32, bfloat16, float16"]),
    "spelling of a type": ({"dtype": "Float32"}, ["dtype: 'Float32' is not allowed", "did you mean 'float32'?"]),
    "text for a bool": ({"add_bos_token": "no"}, ["add_bos_token: 'no' is not allowed", "true or false or null"]),
    "key of a ladder model": ({"width": 32}, ["width: unknown key", "allowed: name, source, path"]),
}


@pytest.mark.parametrize("mistake", LOCAL_MISTAKES)
def test_mistake_in_a_local_model(config, local, mistake):
    changes, expected = LOCAL_MISTAKES[mistake]
    text = message(with_local(config, local, **changes))
    for part in [f"models[0].{expected[0]}", *expected[1:]]:
        assert part in text


def test_tokens_per_step_missing(config, local):
    del local["tokens_per_step"]
    assert "models[0].checkpoints[0]: the training tokens of 'step1' are not known" in message(
        with_local(config, local)
    )


def test_directory_without_config(config, local, tmp_path):
    (tmp_path / "mine" / "step2" / "config.json").unlink()
    text = message(with_local(config, local))
    assert "models[0].checkpoints[2]" in text
    assert f"{tmp_path / 'mine' / 'step2'} has no config.json" in text


OWN_MISTAKES = {
    "no file": ({"file": "nowhere.jsonl"}, ["key 'file': there is no file nowhere.jsonl"]),
    "unknown kind of file": ({"file": "quiz.txt"}, ["key 'file': quiz.txt must end in one of .jsonl, .json"]),
    "broken template": ({"context": "{{ q "}, ["key 'context': unexpected end of template", "'{{ q '"]),
    "macro": ({"context": "{% macro m() %}{% endmacro %}{{ q }}"}, ["key 'context': {% macro %} is not allowed"]),
    "loops within loops": (
        {"context": "{% for a in q %}{% for b in q %}{% for c in q %}{% endfor %}{% endfor %}{% endfor %}"},
        ["key 'context': loops may be two deep and not recursive"],
    ),
    "nested too deeply": ({"choices": "(" * 3000 + "a" + ")" * 3000}, ["key 'choices': nested too deeply: '((("]),
    "broken expression": ({"choices": "{{ a + }}"}, ["key 'choices': unexpected"]),
    "empty expression": ({"gold": ""}, ["key 'gold': "]),
    "unknown filter": ({"context": "{{ q | shout }}"}, ["key 'context': No filter named 'shout'"]),
    "unknown test": ({"gold": "g is nice"}, ["key 'gold': No test named 'nice'"]),
    "template without a field": ({"context": "Question:"}, ["key 'context': 'Question:' uses no field", "{{ question"]),
    "context and contexts": ({"contexts": "[q, q]"}, ["either 'context', a template, or 'contexts'"]),
    "number for gold": ({"gold": 1}, [".gold: 1 is not allowed", 'text; write "1"']),
    "null for a delimiter": ({"delimiter": None}, [".delimiter: an empty value (null) is not allowed", "text"]),
    "name of a built-in": ({"name": "piqa"}, [".name: 'piqa' is the name of a built-in benchmark"]),
}


@pytest.mark.parametrize("mistake", OWN_MISTAKES)
def test_mistake_in_an_own_benchmark(config, own, mistake):
    changes, expected = OWN_MISTAKES[mistake]
    text = message(with_own(config, own, **changes))
    assert "benchmarks[1]" in text
    for part in expected:
        assert part in text


@pytest.mark.parametrize("key", ["context", "choices", "gold"])
def test_missing_key_of_an_own_benchmark(config, own, key):
    del own[key]
    text = message(with_own(config, own))
    assert "benchmarks[1]: benchmark 'quiz'" in text
    assert f"'{key}'" in text


def test_long_values_and_lists_are_cut(config):
    config["models"] = {f"model-{i}": {"width": 32} for i in range(500)}
    assert len(message(config)) < 300
    assert "… 30 in all" in messages.suggestion("x", [str(i) for i in range(30)])


# --- which file


def test_the_file_whose_value_counts_is_named(config, tmp_path):
    default, mine = tmp_path / "config.yaml", tmp_path / "mine.yaml"
    default.write_text(yaml.safe_dump(config))

    def error(section):
        mine.write_text(yaml.safe_dump(section))
        merged = copy.deepcopy(config)
        for key, value in section.items():
            merged[key] = {**merged[key], **value} if isinstance(value, dict) else value
        return message(merged, [default, mine])

    assert error({"seed": -1}).startswith(f"{mine}: seed: ")
    assert error({"families": [{"name": "a"}]}).startswith(f"{mine}: families[0]: ")
    assert error({"ladder": {"batch": 0}}).startswith(f"{mine}: ladder.batch: ")
    assert error({"ladder": {True: 1}}).startswith(f"{mine}: ladder: unknown key True")
    assert error({"ladder": [1]}).startswith(f"{mine}: ladder: ")
    # The section stands in both files, the wrong key in the default one alone.
    config["ladder"]["context"] = 5
    default.write_text(yaml.safe_dump(config))
    assert error({"ladder": {"batch": 8}}).startswith(f"{default}: ladder.context: ")


def test_a_value_of_the_command_line_is_not_blamed_on_a_file(config):
    config["seed"] = -5
    assert message(config, [ROOT / "config.yaml"]).startswith("configuration (--config): seed: -5")


def test_configuration_that_is_no_mapping():
    for value in (None, [], "text", 3):
        assert "a mapping of keys to values" in message(value, ["absent.yaml"])


@pytest.mark.parametrize(
    ("text", "key", "lines"),
    [
        ("seed: 1\nladder: {}\nseed: 2\n", "seed", (3, 1)),
        ("models:\n  - name: a\n    width: 32\n    width: 64\n", "width", (4, 3)),
    ],
)
def test_a_key_that_stands_twice(config, tmp_path, text, key, lines):
    (tmp_path / "mine.yaml").write_text(text)
    found = message(config, [ROOT / "config.yaml", tmp_path / "mine.yaml"])
    assert f"mine.yaml: line {lines[0]}: the key '{key}' stands there twice, first in line {lines[1]}" in found


def test_json_configuration_files_may_hold_what_yaml_does_not(config, tmp_path):
    (tmp_path / "mine.json").write_text('{\n\t"seed": 4}')
    assert load(config | json.loads('{"seed": 4}'), [ROOT / "config.yaml", tmp_path / "mine.json"]).seed == 4


# --- YAML


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"models:\n  - {name: a\n", "line 3, column 1"),
        (b"models:\n\t- a\n", "line 2, column 1"),
        (b"a: b: c\n", "line 1, column 5"),
        (b"a: !!python/object/apply:os.getcwd []\n", "could not determine a constructor"),
        (b"a: \xff\n", "not UTF-8 text: invalid start byte at byte 3"),
        (b"a: \x00\n", "not valid YAML"),
        (b"? [1, 2]\n: 3\n", "unhashable key"),
    ],
)
def test_syntax_errors(tmp_path, content, expected):
    file = tmp_path / "mine.yaml"
    file.write_bytes(content)
    with pytest.raises(ElusiveError) as caught:
        check_syntax(file)
    assert str(caught.value).startswith(f"{file}: not ")
    assert expected in str(caught.value)


def test_unreadable_files(tmp_path):
    with pytest.raises(ElusiveError, match=r"absent\.yaml: cannot be read: No such file"):
        check_syntax(tmp_path / "absent.yaml")
    with pytest.raises(ElusiveError, match="cannot be read: Is a directory"):
        check_syntax(tmp_path)


# --- anything at all

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


def places(value, path=()):
    """The path to everything inside a configuration."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


@given(st.sampled_from(list(places(BASE))), JSON)
def test_any_value_anywhere_is_accepted_or_explained(path, value):
    config = copy.deepcopy(BASE)
    put(config, path, value)
    try:
        loaded = load(config)
    except ElusiveError as error:
        assert str(error).count(": ") >= 1
    else:
        json.dumps([loaded.ladder, loaded.scoring, loaded.seed], allow_nan=False)


@given(JSON)
def test_any_configuration_is_refused_or_explained(value):
    with pytest.raises(ElusiveError):
        load(value)
