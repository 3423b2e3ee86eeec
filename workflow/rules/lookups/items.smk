"""What the rules of the items look up."""

import json

from elusive.items import archive

ARCHIVE = f"results/sources/{archive.FILE_NAME}"


def get_items_source(wildcards):
    prepare_run()
    benchmark = REGISTRY.benchmarks[wildcards.benchmark]
    if benchmark.source == "ladder":
        return [TOKENIZER, *(f"{CORPUS}/{name}" for name in ("train.npy", "validation.npy"))]
    return ARCHIVE if benchmark.source == "archive" else [local(file) for file in benchmark.files]


def get_items_spec(wildcards):
    return json.dumps(REGISTRY.benchmarks[wildcards.benchmark].items_spec(REGISTRY.seed), sort_keys=True)


def get_items_identities(wildcards):
    return get_identities(get_items_source(wildcards)) if REGISTRY.benchmarks[wildcards.benchmark].files else []
