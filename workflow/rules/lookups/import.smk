"""What the rules that import logs look up."""

import json

from elusive.configuration.imported import log_files
from elusive.importing.version import IMPORTER_VERSION

IMPORTED = "results/imports/{model}.json"


def get_log_files(model, checkpoints):
    """Every file that may be a log of the checkpoints: what they are shows when they are read."""
    prepare_run()
    roots = dict.fromkeys(model.logs["path"].replace("{checkpoint}", checkpoint.name) for checkpoint in checkpoints)
    return [local(file) for root in roots for file in log_files(root)]


def get_model_logs(wildcards):
    model = REGISTRY.models[wildcards.model]
    return get_log_files(model, model.checkpoints)


def get_checkpoint_logs(wildcards):
    model = REGISTRY.models[wildcards.model]
    return get_log_files(model, [REGISTRY.checkpoint(model.name, wildcards.checkpoint)])


def get_logs_of_items(wildcards):
    """The logs that items are made from: all of them, or those of the first checkpoint, which decide alone."""
    models = REGISTRY.imported_models
    if REGISTRY.benchmarks[wildcards.benchmark].spec["items"] == "common":
        return [file for model in models for file in get_log_files(model, model.checkpoints)]
    return get_log_files(models[0], models[0].checkpoints[:1])


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
