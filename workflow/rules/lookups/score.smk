"""What the scoring rules look up."""

import json
from pathlib import Path

from elusive.configuration.directory import decisive_files, lacks_weights
from elusive.plan import demand
from elusive.scoring.version import SCORER_VERSION


def get_names_of(names, wildcards):
    """The checkpoints of a job: ``names``, or without any the one that its files name."""
    return names or [wildcards.checkpoint]


def get_score_output(job):
    if not job.checkpoints:
        return expand(LOGPROBS, benchmark=job.benchmarks, allow_missing=True)
    return expand(LOGPROBS, checkpoint=job.checkpoints, benchmark=job.benchmarks, allow_missing=True)


def get_score_record(job):
    """Where the log of a job goes, without folder and suffix: by the first and last of its checkpoints."""
    if not job.checkpoints:
        return f"{job.rule}/{{model}}/{{checkpoint}}"
    batch = job.rule.partition("_")[2]
    return f"{batch}/{{model}}/{'..'.join(dict.fromkeys([job.checkpoints[0], job.checkpoints[-1]]))}"


def get_score_message(job):
    if not job.checkpoints:
        return "Scoring {wildcards.model}/{wildcards.checkpoint}"
    return f"Scoring {{wildcards.model}}: {', '.join(job.checkpoints)}"


def get_checkpoint_directories(names):
    return lambda wildcards: [
        get_checkpoint_directory(wildcards.model, name) for name in get_names_of(names, wildcards)
    ]


def get_checkpoint_directory(model, name):
    prepare_run()
    weights = REGISTRY.checkpoint(model, name)
    if weights.path:
        return local(weights.path)
    directory = CHECKPOINT.format(model=weights.model, checkpoint=weights.name)
    # Left by a run that was interrupted: whether weights are needed has to be seen anew.
    if weights.revision and lacks_weights(Path(directory)):
        workflow.dag.forcefiles.add(directory)
    return directory


def get_local_files(names):
    """Files of checkpoints of the user's own: a directory is as old as ever when one is written into it anew."""

    def find(wildcards):
        paths = [REGISTRY.checkpoint(wildcards.model, name).path for name in get_names_of(names, wildcards)]
        return [local(str(file)) for path in paths if path for file in decisive_files(Path(path))]

    return find


def get_local_identities(names):
    files = get_local_files(names)
    return lambda wildcards: get_identities(files(wildcards))


def get_spec(model, name, benchmarks):
    """What decides the tables of a checkpoint on ``benchmarks``."""
    model = REGISTRY.models[model]
    spec = {
        "model": model.name,
        "checkpoint": name,
        "source": model.source,
        "parameters": model.parameters,
        "dtype": model.dtype,
        "add_bos_token": model.add_bos_token,
        "unconditional": [each for each in benchmarks if REGISTRY.benchmarks[each].unconditional],
    }
    spec |= model.scoring_options
    if model.source == "hub":
        spec |= get_hub_source(model.name, name)
    return spec


def get_json(values):
    return json.dumps(values, sort_keys=True)


def get_score_spec(job):
    """What decides the tables of a scoring job, as a function of what Snakemake knows of it."""
    if not job.checkpoints:
        return lambda wildcards: get_json(get_spec(wildcards.model, wildcards.checkpoint, job.benchmarks))
    return lambda wildcards: get_json([get_spec(wildcards.model, name, job.benchmarks) for name in job.checkpoints])


def get_settings(model, name):
    """What leaves the log-likelihoods as they are: how they are computed, and what else a table says of its model."""
    model = REGISTRY.models[model]
    return {key: REGISTRY.scoring[key] for key in ("device", "token_budget", "threads", "on_unscorable")} | {
        "parameters_nonembedding": model.parameters_nonembedding,
        "tokens": REGISTRY.checkpoint(model.name, name).tokens,
    }


def get_score_settings(names):
    """The settings of a scoring job.

    Snakemake counts a parameter whose function asks for ``threads`` as derived, so that a change of it runs no job:
    it would download the weights again, and score nothing.
    """
    if not names:
        return lambda wildcards, threads: get_json(get_settings(wildcards.model, wildcards.checkpoint))
    return lambda wildcards, threads: get_json([get_settings(wildcards.model, name) for name in names])


def get_score_runtime(job):
    """Minutes of a scoring job, as a function of what Snakemake knows of it."""
    benchmarks = [REGISTRY.benchmarks[name] for name in job.benchmarks]
    how = {key: REGISTRY.scoring[key] for key in ("device", "threads")} | {"checkpoints": max(1, len(job.checkpoints))}
    return lambda wildcards, attempt: demand.score_minutes(
        REGISTRY.models[wildcards.model], benchmarks, **how, attempt=attempt
    )
