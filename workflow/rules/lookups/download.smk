"""What the rule of downloads looks up."""

import json
import shlex
import time

from elusive.plan.estimate import DOWNLOADS_AT_ONCE

STARTED = int(time.time())


def get_download_output():
    """Weights are removed after the last job that scores them, unless they are to be kept."""
    return directory(CHECKPOINT) if REGISTRY.hub["keep"] else temp(directory(CHECKPOINT))


def get_hub_source(model, name):
    model, checkpoint = REGISTRY.models[model], REGISTRY.checkpoint(model, name)
    return {"repo": model.repo, "revision": checkpoint.revision, "trust_remote_code": model.trust_remote_code}


def get_download_spec(wildcards):
    return get_json(get_hub_source(wildcards.model, wildcards.checkpoint))


def get_download_partial(wildcards, output):
    results = get_results(output[0], CHECKPOINT)
    return str(results.parent / PARTIAL.format(model=wildcards.model, checkpoint=wildcards.checkpoint))


def get_download_waiting(wildcards, output, threads):
    """Options: what the scoring jobs are asked for, where to see whether they need weights, and when to wait for them.

    Derived, as :func:`get_score_settings` is: weights that are kept are as good as before whatever else is asked for.
    """
    spec = get_spec(wildcards.model, wildcards.checkpoint, REGISTRY.benchmarks)
    source = get_hub_source(wildcards.model, wildcards.checkpoint)
    options = ["--settings", get_json({key: value for key, value in spec.items() if key not in source})]
    # What is to be kept comes whether it is needed now or later.
    if not (REGISTRY.hub["keep"] or workflow.storage_settings.notemp):
        results = get_results(output[0], CHECKPOINT)
        items = [results.parent / ITEMS.format(benchmark=benchmark) for benchmark in REGISTRY.benchmarks]
        options += ["--ahead", REGISTRY.hub["ahead"] or 0, "--since", STARTED, "--finished", results / "finished"]
        options += ["--token-cache", results / "tokens", "--items", *items]
    return shlex.join(map(str, options))


def get_download_disk(wildcards):
    return REGISTRY.models[wildcards.model].weights_bytes // 10**6 + 10
