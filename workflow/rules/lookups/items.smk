"""What the rules of the items look up."""

import json

from elusive.items import archive

ARCHIVE = f"results/sources/{archive.FILE_NAME}"


def get_items_source(wildcards):
    rerun_interrupted_jobs()
    benchmark = REGISTRY.benchmarks[wildcards.benchmark]
    return ARCHIVE if benchmark.source == "archive" else [local(file) for file in benchmark.files]


def get_items_spec(wildcards):
    return json.dumps(REGISTRY.benchmarks[wildcards.benchmark].spec | {"seed": REGISTRY.seed}, sort_keys=True)
