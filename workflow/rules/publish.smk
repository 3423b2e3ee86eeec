"""The finished tables as a data set for others: written offline, and uploaded on request alone."""


include: "lookups/publish.smk"


rule publish:
    input:
        **get_published_tables(),
        items_table=expand(ITEMS, benchmark=REGISTRY.benchmarks),
        logprobs=get_all_logprobs,
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
        described=get_publish_description,
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


rule every_eval_ever:
    input:
        PUBLISH,
    output:
        directory("results/every_eval_ever"),
    log:
        "results/logs/every_eval_ever.log",
    benchmark:
        "results/benchmarks/every_eval_ever.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("every_eval_ever"),
    message:
        "Instance results in the schema of Every Eval Ever: results/every_eval_ever"
    script:
        "../scripts/every_eval_ever.py"


# What follows takes a published data set for a source, and is there only where the configuration names one.
if REGISTRY.published is not None:

    rule published_items:
        input:
            get_set_files("items"),
        output:
            ITEMS,
        log:
            "results/logs/published_items/{benchmark}.log",
        benchmark:
            "results/benchmarks/published_items/{benchmark}.tsv"
        wildcard_constraints:
            benchmark=get_names(each for each in REGISTRY.benchmarks.values() if each.source == "published"),
        localrule: True
        conda:
            "../../envs/elusive.yaml"
        params:
            code=get_code("published_items"),
        message:
            "Items of {wildcards.benchmark}, from a published data set"
        script:
            "../scripts/published_items.py"


if get_published_checkpoints():

    rule published_logprobs:
        input:
            get_set_files("items", "choices", "runs"),
            items_table=ITEMS,
        output:
            get_published_logprobs(),
        log:
            "results/logs/published_logprobs/{benchmark}.log",
        benchmark:
            "results/benchmarks/published_logprobs/{benchmark}.tsv"
        localrule: True
        conda:
            "../../envs/elusive.yaml"
        params:
            code=get_code("published_logprobs"),
            checkpoints=[[each.model, each.name] for each in get_published_checkpoints()],
        message:
            "Log-likelihoods on {wildcards.benchmark}, from a published data set"
        script:
            "../scripts/published_logprobs.py"
