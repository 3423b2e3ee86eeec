"""What was run, out of the registry: for the manifest, and as a configuration that runs it again.

Everything is plain JSON, since Snakemake hands it to the job as a parameter. Nothing heavy is imported.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import PurePath
from typing import Any

import yaml

from elusive.configuration.benchmarks import Benchmark
from elusive.configuration.facts import with_texts
from elusive.configuration.models import Model
from elusive.configuration.published import SOURCE
from elusive.configuration.registry import Registry

_HEAD = """\
# The configuration of the run that this data set comes from, with every default and every pattern filled in:
#     snakemake --cores all --configfile configuration.yaml
# Paths of the machine that it ran on are cut to their ends.
"""
_PATHS = ("path", "file", "shots_file")


def describe(registry: Registry, config: dict[str, Any]) -> dict[str, Any]:
    """Models, families and benchmarks as the manifest has them, and the configuration, whose merged form is ``config``.

    Keys: ``settings`` (the section ``publish``), ``seed``, ``compute``, ``models``, ``families``, ``benchmarks``,
    ``configuration`` (YAML).
    """
    kept_back = with_texts(registry.publish, registry.facts)
    return {
        "settings": {key: value for key, value in registry.publish.items() if key not in ("push", "private")},
        "seed": registry.seed,
        "compute": registry.compute,
        "models": [_model(model) for model in registry.models.values()],
        "families": _family_entries(registry),
        "benchmarks": [
            {
                "name": name,
                "label": benchmark.label,
                "subjects": benchmark.has_subjects,
                "facts": dataclasses.asdict(registry.facts[name]),
                "kept_back": kept_back[name],
            }
            for name, benchmark in registry.benchmarks.items()
        ],
        "configuration": _HEAD + as_yaml(resolved(registry, config)),
    }


def _model(model: Model) -> dict[str, Any]:
    checkpoints = []
    for checkpoint in model.checkpoints:
        about = {"name": checkpoint.name, "tokens": checkpoint.tokens, "flops": checkpoint.flops}
        about |= {"revision": checkpoint.revision, "tokens_nominal": checkpoint.tokens_nominal}
        checkpoints.append({key: value for key, value in about.items() if value is not None})
    about = {
        "name": model.name,
        "source": model.origin or model.source,
        "repo": model.repo,
        "parameters": model.parameters,
        "parameters_nonembedding": model.parameters_nonembedding,
        "parameters_nominal": model.parameters_nominal,
        "dtype": model.dtype,
        "add_bos_token": model.add_bos_token,
    }
    return {key: value for key, value in about.items() if value is not None} | {"checkpoints": checkpoints}


def resolved(registry: Registry, config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with every default and pattern filled in, the user's paths cut to their ends.

    Loaded again, it gives the same registry but for such paths, and for what was taken from another published set,
    which it names.
    """
    result: dict[str, Any] = {"seed": registry.seed, "compute": registry.compute}
    if registry.published:
        result["published"] = _cut(registry.published.directory)
    if registry.ladder_models:
        result["ladder"] = dict(registry.ladder)
    entries = {entry["name"]: entry for entry in config.get("models") or () if entry.get("source") != SOURCE}
    result["models"] = [_model_entry(model, entries.get(model.name, {})) for model in registry.models.values()]
    result["families"] = _family_entries(registry)
    result["benchmarks"] = [_benchmark_entry(benchmark) for benchmark in registry.benchmarks.values()]
    result["scoring"] = dict(registry.scoring)
    result["publish"] = dict(registry.publish) | {"push": None}
    return result


def _family_entries(registry: Registry) -> list[dict[str, Any]]:
    """The families as a configuration spells them, each member by its name."""
    return [
        {
            "name": family.name,
            "label": family.label,
            "plotted": family.plotted,
            "members": [f"{member.model}/{member.name}" for member in family.members],
        }
        for family in registry.families.values()
    ]


def _model_entry(model: Model, entry: dict[str, Any]) -> dict[str, Any]:
    if model.source == SOURCE:
        return {"name": model.name, "source": SOURCE}
    if "source" not in entry:  # a built-in one, perhaps with its default checkpoints
        entry = entry | {"name": model.name, "checkpoints": [checkpoint.name for checkpoint in model.checkpoints]}
    return {key: _cut(value) if key in _PATHS else value for key, value in entry.items()}


def _benchmark_entry(benchmark: Benchmark) -> dict[str, Any]:
    if benchmark.source == SOURCE:
        return {"name": benchmark.name, "source": SOURCE}
    entry = {key: _cut(value) if key in _PATHS else value for key, value in benchmark.spec.items()}
    return entry | ({"unconditional": True} if benchmark.unconditional else {})


def _cut(path: str) -> str:
    """A path that says nothing of the machine: relative ones as they are, of others the last part.

    A part that stands for the checkpoint's name does not count.
    """
    pure = PurePath(path)
    if not pure.is_absolute() and ".." not in pure.parts and not path.startswith("~"):
        return path
    parts = pure.parts
    keep = 1
    while keep < len(parts) - 1 and parts[-keep] == "{checkpoint}":
        keep += 1
    return str(PurePath(*parts[-keep:]))


def as_yaml(value: Any) -> str:
    """``value``, which JSON can hold, as YAML in its own order.

    Snakemake merges configurations into mappings of a type that YAML's safe writer does not know.
    """
    return yaml.dump(
        json.loads(json.dumps(value)), Dumper=yaml.SafeDumper, sort_keys=False, allow_unicode=True, width=120
    )
