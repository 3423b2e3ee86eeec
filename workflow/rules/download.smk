"""Checkpoints of the Hugging Face hub, each for as long as it has to be scored."""


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
    resources:
        download=1,
        disk_mb=get_download_disk,
    params:
        spec=get_download_spec,
        partial=CHECKPOINT_PARTIAL,
        version=1,
    message:
        "Downloading {wildcards.model}/{wildcards.checkpoint}"
    shell:
        "python -m elusive download --spec {params.spec:q} --output {output} --partial {params.partial} --log {log}"
