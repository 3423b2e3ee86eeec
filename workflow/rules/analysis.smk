"""Metrics, correlations with compute, and their statistics: no model is needed from here on."""


include: "lookups/analysis.smk"


rule metrics:
    input:
        logprobs=get_benchmark_logprobs,
        items_table=ITEMS,
    output:
        metrics=expand(METRICS, family=REGISTRY.families, allow_missing=True),
        choices=expand(CHOICES, family=REGISTRY.families, allow_missing=True),
    log:
        "results/logs/metrics/{benchmark}.log",
    benchmark:
        "results/benchmarks/metrics/{benchmark}.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("metrics"),
        families=get_described_families(),
        allow_duplicates=get_families_with_duplicates(),
    message:
        "Metrics on {wildcards.benchmark}"
    script:
        "../scripts/metrics.py"


rule correlations:
    input:
        expand(METRICS, family=REGISTRY.families, allow_missing=True),
    output:
        expand(CORRELATIONS, family=REGISTRY.families, allow_missing=True),
    log:
        "results/logs/correlations/{benchmark}.log",
    benchmark:
        "results/benchmarks/correlations/{benchmark}.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("correlations"),
        families=list(REGISTRY.families),
    message:
        "Correlations with compute on {wildcards.benchmark}"
    script:
        "../scripts/correlations.py"


rule statistics:
    input:
        correlations=expand(CORRELATIONS, family=REGISTRY.families, benchmark=REGISTRY.benchmarks),
        items_tables=expand(ITEMS, benchmark=REGISTRY.benchmarks),
    output:
        **get_table("correlation_statistics"),
    log:
        "results/logs/statistics.log",
    benchmark:
        "results/benchmarks/statistics.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("statistics"),
    message:
        "Statistics of the correlations"
    script:
        "../scripts/statistics.py"


rule mechanism:
    input:
        choices=expand(CHOICES, family=REGISTRY.families, benchmark=REGISTRY.benchmarks),
        correlations=expand(CORRELATIONS, family=REGISTRY.families, benchmark=REGISTRY.benchmarks),
        metrics=expand(METRICS, family=REGISTRY.families, benchmark=REGISTRY.benchmarks),
        items_table=expand(ITEMS, benchmark=REGISTRY.benchmarks),
    output:
        **get_table("mechanism"),
        drops_parquet=get_table("mechanism_drops")["parquet"],
        drops_csv=get_table("mechanism_drops")["csv"],
    log:
        "results/logs/mechanism.log",
    benchmark:
        "results/benchmarks/mechanism.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("mechanism"),
    message:
        "What the wrong choices do"
    script:
        "../scripts/mechanism.py"


rule attribution:
    input:
        correlations=expand(CORRELATIONS, family=REGISTRY.families, benchmark=REGISTRY.benchmarks),
        items_table=expand(ITEMS, benchmark=REGISTRY.benchmarks),
    output:
        **get_table("attribution"),
    log:
        "results/logs/attribution.log",
    benchmark:
        "results/benchmarks/attribution.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("attribution"),
    message:
        "What each transformation of the chain costs"
    script:
        "../scripts/attribution.py"


rule null_bands:
    input:
        items_tables=expand(ITEMS, benchmark=REGISTRY.benchmarks),
    output:
        **get_table("null_bands"),
        curves_parquet=get_table("null_curves")["parquet"],
        curves_csv=get_table("null_curves")["csv"],
    log:
        "results/logs/null_bands.log",
    benchmark:
        "results/benchmarks/null_bands.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("null_bands"),
        families=get_described_families(),
    message:
        "What correlations are by chance"
    script:
        "../scripts/null_bands.py"


rule checkpoint_intervals:
    input:
        metrics=expand(METRICS, family=REGISTRY.families, benchmark=REGISTRY.benchmarks),
        items_table=expand(ITEMS, benchmark=REGISTRY.benchmarks),
    output:
        checkpoint_intervals=get_table("checkpoint_intervals")["parquet"],
        checkpoint_intervals_csv=get_table("checkpoint_intervals")["csv"],
        headline=get_table("headline")["parquet"],
        headline_csv=get_table("headline")["csv"],
        predictability=get_table("predictability")["parquet"],
        predictability_csv=get_table("predictability")["csv"],
    log:
        "results/logs/checkpoint_intervals.log",
    benchmark:
        "results/benchmarks/checkpoint_intervals.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("checkpoint_intervals"),
    message:
        "How far the correlations depend on single checkpoints, and which scores follow compute"
    script:
        "../scripts/checkpoint_intervals.py"


rule authors_variants:
    input:
        metrics=expand(METRICS, family=REGISTRY.families, benchmark=REGISTRY.benchmarks),
    output:
        **get_table("authors_variants"),
    log:
        "results/logs/authors_variants.log",
    benchmark:
        "results/benchmarks/authors_variants.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("authors_variants"),
    message:
        "What the paper's own computation changes"
    script:
        "../scripts/authors_variants.py"


rule aggregates:
    input:
        metrics=expand(METRICS, family=REGISTRY.families, benchmark=REGISTRY.benchmarks),
        items_table=expand(ITEMS, benchmark=REGISTRY.benchmarks),
    output:
        **get_table("aggregates"),
        means_parquet=get_table("means")["parquet"],
        means_csv=get_table("means")["csv"],
    log:
        "results/logs/aggregates.log",
    benchmark:
        "results/benchmarks/aggregates.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("aggregates"),
        families=get_described_families(),
    message:
        "Mean scores and how well they follow compute"
    script:
        "../scripts/aggregates.py"


rule scores:
    input:
        metrics=expand(METRICS, family=REGISTRY.families, benchmark=REGISTRY.benchmarks),
    output:
        **get_table("scores"),
    log:
        "results/logs/scores.log",
    benchmark:
        "results/benchmarks/scores.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("scores"),
    message:
        "Mean scores of every checkpoint"
    script:
        "../scripts/scores.py"


rule audit:
    input:
        metrics=expand(METRICS, family=REGISTRY.families, benchmark=REGISTRY.benchmarks),
        lost=get_lost_logprobs,
        items_table=expand(ITEMS, benchmark=REGISTRY.benchmarks),
        means=get_table("means")["parquet"],
    output:
        **get_table("audit"),
    log:
        "results/logs/audit.log",
    benchmark:
        "results/benchmarks/audit.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("audit"),
        logprobs=get_logprobs_place,
        families=get_described_families(),
        benchmarks=list(REGISTRY.benchmarks),
    message:
        "What to look at before one trusts the numbers"
    script:
        "../scripts/audit.py"


rule checkpoints:
    input:
        training=get_training_records(),
    output:
        **get_table("checkpoints"),
    log:
        "results/logs/checkpoints.log",
    benchmark:
        "results/benchmarks/checkpoints.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("checkpoints"),
        checkpoints=[REGISTRY.describe(member) for member in get_all_checkpoints()],
        losses=get_published_losses(),
    message:
        "Table of checkpoints"
    script:
        "../scripts/checkpoints.py"


rule ceiling:
    input:
        checkpoints=get_table("checkpoints")["parquet"],
    output:
        **get_table("ceiling"),
    log:
        "results/logs/ceiling.log",
    benchmark:
        "results/benchmarks/ceiling.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("ceiling"),
        families=get_described_families(),
    message:
        "How closely the validation loss follows compute"
    script:
        "../scripts/ceiling.py"


rule reference:
    input:
        scores=get_table("scores")["parquet"],
        items_table=expand(ITEMS, benchmark=REGISTRY.benchmarks),
        published=PUBLISHED,
    output:
        **get_table("reference"),
    log:
        "results/logs/reference.log",
    benchmark:
        "results/benchmarks/reference.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("reference"),
        trained=[model.name for model in REGISTRY.models.values() if model.trained_here],
    message:
        "Comparison with published accuracies"
    script:
        "../scripts/reference.py"


rule data_dictionary:
    input:
        str(ROOT / "workflow" / "elusive" / "tables.py"),
    output:
        DATA_DICTIONARY,
    log:
        "results/logs/data_dictionary.log",
    benchmark:
        "results/benchmarks/data_dictionary.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("data_dictionary"),
    message:
        "What the columns of the tables mean"
    script:
        "../scripts/data_dictionary.py"
