"""What the rule of downloads looks up."""

import json
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
    return str(results / "checkpoints" / ".partial" / wildcards.model / wildcards.checkpoint)


def get_download_waiting(wildcards, threads):
    """Options for when to wait for scoring; derived, as :func:`get_score_settings` is."""
    kept = REGISTRY.hub["keep"] or workflow.storage_settings.notemp
    return f"--ahead {0 if kept else REGISTRY.hub['ahead'] or 0} --since {STARTED}"


def get_download_disk(wildcards):
    return REGISTRY.models[wildcards.model].weights_bytes // 10**6 + 10
