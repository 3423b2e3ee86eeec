"""Where the rules of import.smk find their logs, and what they ask for."""

import json

from elusive.configuration.imported import log_files
from elusive.importing.version import IMPORTER_VERSION

IMPORTED = "results/imports/{model}.json"


def get_model_logs(wildcards):
    """Every file that may be a log of the model: what they are shows when they are read."""
    prepare_run()
    model = REGISTRY.models[wildcards.model]
    roots = dict.fromkeys(model.logs["path"].replace("{checkpoint}", c.name) for c in model.checkpoints)
    return [local(file) for root in roots for file in log_files(root)]


def get_checkpoint_logs(wildcards):
    prepare_run()
    root = REGISTRY.models[wildcards.model].logs["path"].replace("{checkpoint}", wildcards.checkpoint)
    return [local(file) for file in log_files(root)]


def get_items_logs(wildcards):
    """The logs that items are made from: all of them, or those of the first checkpoint, which decide alone."""
    prepare_run()
    pairs = [(model, checkpoint) for model in REGISTRY.imported_models for checkpoint in model.checkpoints]
    common = REGISTRY.benchmarks[wildcards.benchmark].spec["items"] == "common"
    roots = dict.fromkeys(m.logs["path"].replace("{checkpoint}", c.name) for m, c in (pairs if common else pairs[:1]))
    return [local(file) for root in roots for file in log_files(root)]


def get_index_spec(wildcards):
    """What decides which logs are looked for."""
    model = REGISTRY.models[wildcards.model]
    spec = {
        "model": model.name,
        "source": model.source,
        "logs": model.logs,
        "parameters": model.parameters,
        "checkpoints": [{"name": c.name, "revision": c.revision, "run": c.run} for c in model.checkpoints],
        "benchmarks": [{"name": b.name, "tasks": b.tasks} for b in REGISTRY.benchmarks.values()],
    }
    return json.dumps(spec, sort_keys=True)


def get_parameters(wildcards):
    return REGISTRY.models[wildcards.model].parameters
