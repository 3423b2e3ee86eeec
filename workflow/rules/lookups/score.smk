"""What the scoring rules look up."""

import json
from pathlib import Path

from elusive.configuration.directory import decisive_files
from elusive.plan import demand
from elusive.scoring.version import SCORER_VERSION


def get_checkpoint_directory(wildcards):
    rerun_interrupted_jobs()
    weights = REGISTRY.checkpoint(wildcards.model, wildcards.checkpoint)
    return local(weights.path) if weights.path else CHECKPOINT.format(model=weights.model, checkpoint=weights.name)


def get_local_files(wildcards):
    """Files of a checkpoint of the user's own: a directory is as old as ever when one is written into it anew."""
    path = REGISTRY.checkpoint(wildcards.model, wildcards.checkpoint).path
    return [local(str(file)) for file in decisive_files(Path(path))] if path else []


def get_score_spec(batch):
    """What decides the tables of a scoring job of ``batch``, as a function of what Snakemake knows of it."""

    def get_spec(wildcards):
        model = REGISTRY.models[wildcards.model]
        spec = {
            "model": model.name,
            "checkpoint": wildcards.checkpoint,
            "source": model.source,
            "parameters": model.parameters,
            "dtype": model.dtype,
            "add_bos_token": model.add_bos_token,
            "unconditional": [name for name in REGISTRY.batches[batch] if REGISTRY.benchmarks[name].unconditional],
        }
        if model.source == "hub":
            spec |= get_hub_source(wildcards)
        return json.dumps(spec, sort_keys=True)

    return get_spec


def get_score_settings(wildcards, threads):
    """What leaves the log-likelihoods as they are: how they are computed, and what else a table says of its model.

    Snakemake counts a parameter whose function asks for ``threads`` as derived, so that a change of it runs no job:
    it would download the weights again, and score nothing.
    """
    model = REGISTRY.models[wildcards.model]
    settings = {key: REGISTRY.scoring[key] for key in ("device", "token_budget", "threads")} | {
        "parameters_nonembedding": model.parameters_nonembedding,
        "tokens": REGISTRY.checkpoint(model.name, wildcards.checkpoint).tokens,
    }
    return json.dumps(settings, sort_keys=True)


def get_score_runtime(batch):
    """Minutes of a scoring job of ``batch``, as a function of what Snakemake knows of it."""
    benchmarks = [REGISTRY.benchmarks[name] for name in REGISTRY.batches[batch]]
    how = {key: REGISTRY.scoring[key] for key in ("device", "threads")}
    return lambda wildcards, attempt: demand.score_minutes(
        REGISTRY.models[wildcards.model], benchmarks, **how, attempt=attempt
    )
