"""Log-likelihoods out of other harnesses' logs: the same tables as scoring makes, without weights."""


include: "lookups/import.smk"


rule import_index:
    input:
        logs=get_model_logs,
    output:
        IMPORTED,
    log:
        "results/logs/import_index/{model}.log",
    benchmark:
        "results/benchmarks/import_index/{model}.tsv"
    wildcard_constraints:
        model=get_names(REGISTRY.imported_models),
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        spec=get_index_spec,
        own_files=lambda wildcards: get_identities(get_model_logs(wildcards)),
        version=IMPORTER_VERSION,
    message:
        "Looking through the logs of {wildcards.model}"
    shell:
        "python -m elusive import-index --spec {params.spec:q} --output {output:q} --log {log:q}"


rule import_items:
    input:
        indexes=expand(IMPORTED, model=[model.name for model in REGISTRY.imported_models]),
        logs=get_logs_of_items,
    output:
        ITEMS,
    log:
        "results/logs/items/{benchmark}.log",
    benchmark:
        "results/benchmarks/items/{benchmark}.tsv"
    wildcard_constraints:
        benchmark=get_names(each for each in REGISTRY.benchmarks.values() if each.source == "logs"),
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        spec=get_items_spec,
        own_files=lambda wildcards: get_identities(get_logs_of_items(wildcards)),
        version=IMPORTER_VERSION,
    message:
        "Items of {wildcards.benchmark}, from the logs"
    shell:
        "python -m elusive import-items --spec {params.spec:q} --indexes {input.indexes:q} --output {output:q} "
        "--log {log:q}"


rule import:
    input:
        index=IMPORTED,
        logs=get_checkpoint_logs,
        items_table=expand(ITEMS, benchmark=REGISTRY.benchmarks),
    output:
        expand(LOGPROBS, benchmark=REGISTRY.benchmarks, allow_missing=True),
    log:
        "results/logs/import/{model}/{checkpoint}.log",
    benchmark:
        "results/benchmarks/import/{model}/{checkpoint}.tsv"
    wildcard_constraints:
        model=get_names(REGISTRY.imported_models),
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        parameters=get_parameters,
        own_files=lambda wildcards: get_identities(get_checkpoint_logs(wildcards)),
        version=IMPORTER_VERSION,
    message:
        "Importing {wildcards.model}/{wildcards.checkpoint}"
    shell:
        "python -m elusive import --index {input.index:q} --checkpoint {wildcards.checkpoint:q} "
        "--parameters {params.parameters} --items {input.items_table:q} --outputs {output:q} --log {log:q}"
