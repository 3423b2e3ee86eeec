"""Checkpoints of the Hugging Face hub, each for as long as it has to be scored."""


include: "lookups/download.smk"


# Unless `--resources download=N` says otherwise: Snakemake has room for few jobs that need no core.
if REGISTRY.hub_models and "download" not in workflow.global_resources:
    workflow.register_resource("download", DOWNLOADS_AT_ONCE)


rule download:
    output:
        get_download_output(),
    log:
        "results/logs/download/{model}/{checkpoint}.log",
    benchmark:
        "results/benchmarks/download/{model}/{checkpoint}.tsv"
    wildcard_constraints:
        model="|".join(model.name for model in REGISTRY.hub_models) or "(?!)",
    # What the job itself does not outlast, a second one may; it goes on with what has come.
    retries: 2
    # Where jobs go to a cluster, this one stays: compute nodes often reach no network.
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    # It needs the network, not a core, and must not hold one while it waits for scoring.
    threads: 0
    resources:
        download=1,
        disk_mb=get_download_disk,
    params:
        spec=get_download_spec,
        partial=get_download_partial,
        waiting=get_download_waiting,
        version=1,
    message:
        "Downloading {wildcards.model}/{wildcards.checkpoint}"
    shell:
        "python -m elusive download --spec {params.spec:q} --output {output:q} --partial {params.partial:q} "
        "{params.waiting} --log {log:q}"
