"""Forecasts of scores at more compute, backtests of them, and which score orders models early on."""


include: "lookups/forecast.smk"


rule forecast:
    input:
        metrics=expand(METRICS, family=REGISTRY.forecast_families, allow_missing=True),
        lost=get_lost_logprobs,
        logprobs=get_group_logprobs,
        items_table=ITEMS,
    output:
        **get_forecast_parts(),
        decisions=DECISIONS,
    log:
        "results/logs/forecast/{benchmark}.log",
    benchmark:
        "results/benchmarks/forecast/{benchmark}.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("forecast"),
        logprobs=get_logprobs_place,
        families=get_forecast_families(),
        groups=get_groups(),
        parts=[*FORECAST_PARTS, "probabilities"],
        targets=get_forecast_targets(),
        metrics=list(REGISTRY.forecast.metrics),
        draws=REGISTRY.forecast.draws,
        subjects=REGISTRY.forecast.subjects,
    message:
        "Forecasts and backtests on {wildcards.benchmark}"
    script:
        "../scripts/forecast.py"


rule forecasts:
    input:
        **get_forecast_files(),
        decisions=expand(DECISIONS, benchmark=REGISTRY.benchmarks),
    output:
        **get_forecast_tables(),
    log:
        "results/logs/forecasts.log",
    benchmark:
        "results/benchmarks/forecasts.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("forecasts"),
    message:
        "Tables of forecasts and how well they did"
    script:
        "../scripts/forecasts.py"
