"""What the rule of downloads looks up."""

import json
import shlex
import time

from elusive.plan.estimate import DOWNLOADS_AT_ONCE

STARTED = int(time.time())


def get_download_output():
    """Weights are removed after the last job that scores them, unless they are to be kept."""
    return directory(CHECKPOINT) if REGISTRY.hub["keep"] else temp(directory(CHECKPOINT))


def get_hub_source(wildcards):
    model, checkpoint = REGISTRY.models[wildcards.model], REGISTRY.checkpoint(wildcards.model, wildcards.checkpoint)
    return {"repo": model.repo, "revision": checkpoint.revision, "trust_remote_code": model.trust_remote_code}


def get_download_spec(wildcards):
    return json.dumps(get_hub_source(wildcards), sort_keys=True)


def get_download_partial(wildcards, output):
    results = get_results(output[0], CHECKPOINT)
    return str(results.parent / PARTIAL.format(model=wildcards.model, checkpoint=wildcards.checkpoint))


def get_download_waiting(wildcards, output, threads):
    """Options: what the scoring jobs are asked for, where to see whether they need weights, and when to wait for them.

    Derived, as :func:`get_score_settings` is: weights that are kept are as good as before whatever else is asked for.
    """
    spec = json.loads(get_spec(wildcards, REGISTRY.benchmarks))
    settings = {key: value for key, value in spec.items() if key not in get_hub_source(wildcards)}
    options = ["--settings", json.dumps(settings, sort_keys=True)]
    # What is to be kept comes whether it is needed now or later.
    if not (REGISTRY.hub["keep"] or workflow.storage_settings.notemp):
        results = get_results(output[0], CHECKPOINT)
        items = [results.parent / ITEMS.format(benchmark=benchmark) for benchmark in REGISTRY.benchmarks]
        options += ["--ahead", REGISTRY.hub["ahead"] or 0, "--since", STARTED, "--finished", results / "finished"]
        options += ["--token-cache", results / "tokens", "--items", *items]
    return shlex.join(map(str, options))


def get_download_disk(wildcards):
    return REGISTRY.models[wildcards.model].weights_bytes // 10**6 + 10
