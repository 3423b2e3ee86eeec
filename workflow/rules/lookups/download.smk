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


# The following ask for what they need of a job to be derived, as :func:`get_score_settings` is: weights that are kept
# are as good as before whatever else is asked for.


def get_download_settings(wildcards, threads):
    """What scoring is told of the checkpoint, on all benchmarks."""
    settings = json.loads(get_spec(wildcards, REGISTRY.benchmarks))
    return json.dumps(
        {key: settings[key] for key in settings.keys() - get_hub_source(wildcards).keys()}, sort_keys=True
    )


def get_download_partial(wildcards, output):
    results = get_results(output[0], CHECKPOINT)
    return str(results / "checkpoints" / ".partial" / wildcards.model / wildcards.checkpoint)


def get_download_options(wildcards, output):
    """When to wait for scoring, and where to see whether weights are needed. They are where they are to be kept."""
    if is_kept():
        return ""
    results = get_results(output[0], CHECKPOINT)
    items = [str(results.parent / ITEMS.format(benchmark=benchmark)) for benchmark in REGISTRY.benchmarks]
    places = ["--finished", results / "finished", "--token-cache", results / "tokens", "--items", *items]
    return shlex.join(map(str, ["--ahead", REGISTRY.hub["ahead"] or 0, "--since", STARTED, *places]))


def is_kept():
    return REGISTRY.hub["keep"] or workflow.storage_settings.notemp


def get_download_disk(wildcards):
    return REGISTRY.models[wildcards.model].weights_bytes // 10**6 + 10
