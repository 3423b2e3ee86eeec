"""The finished tables as a data set for others: written offline, and uploaded on request alone."""


include: "lookups/publish.smk"


rule publish:
    input:
        **get_published_tables(),
        items_table=expand(ITEMS, benchmark=REGISTRY.benchmarks),
        logprobs=get_all_logprobs(),
        dictionary=DATA_DICTIONARY,
        facts=str(BENCHMARK_FACTS),
    output:
        directory(PUBLISH),
    log:
        "results/logs/publish.log",
    benchmark:
        "results/benchmarks/publish.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("publish"),
        tables=list(get_published_tables()),
        described=get_publish_description(),
        root=lambda wildcards, threads: str(ROOT),
    message:
        "Data set: results/publish"
    script:
        "../scripts/publish.py"


# Without declared outputs, so that what is on the hub is looked at each time.
rule push:
    input:
        PUBLISH,
    log:
        "results/logs/push.log",
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        target=get_push_target(),
        visibility="--private" if REGISTRY.publish["private"] else "--public",
    message:
        "Uploading the data set to {params.target}"
    shell:
        "python -m elusive push --directory {input:q} --repo {params.target:q} {params.visibility} --log {log:q}"
