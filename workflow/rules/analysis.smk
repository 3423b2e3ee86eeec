"""Metrics, correlations with compute, and their statistics: no model is needed from here on."""


rule metrics:
    input:
        logprobs=get_family_logprobs,
        items_table=ITEMS,
    output:
        METRICS,
    log:
        "results/logs/metrics/{family}/{benchmark}.log",
    benchmark:
        "results/benchmarks/metrics/{family}/{benchmark}.tsv"
    conda:
        "../../envs/elusive.yaml"
    params:
        family="{family}",
        benchmark="{benchmark}",
    message:
        "Metrics of {wildcards.family} on {wildcards.benchmark}"
    script:
        "../scripts/metrics.py"


rule correlations:
    input:
        metrics=METRICS,
    output:
        CORRELATIONS,
    log:
        "results/logs/correlations/{family}/{benchmark}.log",
    benchmark:
        "results/benchmarks/correlations/{family}/{benchmark}.tsv"
    conda:
        "../../envs/elusive.yaml"
    params:
        family="{family}",
        benchmark="{benchmark}",
    message:
        "Correlations with compute of {wildcards.family} on {wildcards.benchmark}"
    script:
        "../scripts/correlations.py"


rule statistics:
    input:
        correlations=expand(CORRELATIONS, family=REGISTRY.families, benchmark=REGISTRY.benchmarks),
    output:
        **get_table("correlation_statistics"),
    log:
        "results/logs/statistics.log",
    benchmark:
        "results/benchmarks/statistics.tsv"
    conda:
        "../../envs/elusive.yaml"
    message:
        "Statistics of the correlations"
    script:
        "../scripts/statistics.py"


rule scores:
    input:
        metrics=expand(METRICS, family=REGISTRY.families, benchmark=REGISTRY.benchmarks),
    output:
        **get_table("scores"),
    log:
        "results/logs/scores.log",
    benchmark:
        "results/benchmarks/scores.tsv"
    conda:
        "../../envs/elusive.yaml"
    message:
        "Mean scores of every checkpoint"
    script:
        "../scripts/scores.py"


rule checkpoints:
    input:
        logprobs=get_all_logprobs(benchmarks=list(REGISTRY.benchmarks)[:1]),
        training=get_training_records(),
    output:
        **get_table("checkpoints"),
    log:
        "results/logs/checkpoints.log",
    benchmark:
        "results/benchmarks/checkpoints.tsv"
    conda:
        "../../envs/elusive.yaml"
    message:
        "Table of checkpoints"
    script:
        "../scripts/checkpoints.py"
