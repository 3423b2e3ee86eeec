"""Figures, each as PNG and PDF with its caption as text and its data as CSV.

All of a benchmark are one job: to load what draws them takes longer than to draw one.
"""


include: "lookups/figures.smk"


rule figure_benchmark:
    input:
        metrics=expand(METRICS, family=get_plotted_families(), allow_missing=True),
        correlations=expand(CORRELATIONS, family=get_plotted_families(), allow_missing=True),
        choices=expand(CHOICES, family=get_plotted_families(), allow_missing=True),
        means=get_table("means")["parquet"],
        statistics=get_table("correlation_statistics")["parquet"],
        null_bands=get_table("null_bands")["parquet"],
        null_curves=get_table("null_curves")["parquet"],
        items_table=ITEMS,
        backtests=get_table("backtests")["parquet"],
        forecasts=get_table("forecasts")["parquet"],
        laws=get_table("choice_laws")["parquet"],
        law_means=get_table("choice_means")["parquet"],
        probabilities=expand(FORECAST_ITEMS, family=get_forecast_family(), allow_missing=True),
    output:
        **get_figures({kind: f"{kind}/{{benchmark}}" for kind in get_benchmark_figures()}),
        **get_figures({kind: f"{kind}/{{benchmark}}" for kind in get_forecast_benchmark_figures()}),
    log:
        "results/logs/figures/benchmark/{benchmark}.log",
    benchmark:
        "results/benchmarks/figures/benchmark/{benchmark}.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("figure_benchmark"),
        label=get_benchmark_label,
        families=get_plotted_families(),
        members=get_family_members()[get_forecast_family()],
        kinds=get_benchmark_figures(),
        forecast_kinds=get_forecast_benchmark_figures(),
    message:
        "Figures of {wildcards.benchmark}"
    script:
        "../scripts/figure_benchmark.py"


rule figure_hero:
    input:
        headline=get_table("headline")["parquet"],
        ceiling=get_table("ceiling")["parquet"],
        items_table=expand(ITEMS, benchmark=REGISTRY.benchmarks),
    output:
        **get_figure("hero", "hero"),
    log:
        "results/logs/figures/hero.log",
    benchmark:
        "results/benchmarks/figures/hero.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("figure_hero"),
        labels=get_benchmark_labels(),
        families=get_plotted_families(),
    message:
        "Figure: which scores of which benchmark follow compute"
    script:
        "../scripts/figure_hero.py"


rule figure_statistics:
    input:
        statistics=get_table("correlation_statistics")["parquet"],
        intervals=get_table("headline")["parquet"],
        items_table=expand(ITEMS, benchmark=REGISTRY.benchmarks),
    output:
        **get_figure("statistics/{method}", "statistics"),
    log:
        "results/logs/figures/statistics/{method}.log",
    benchmark:
        "results/benchmarks/figures/statistics/{method}.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("figure_statistics"),
        labels=get_benchmark_labels(),
        families=get_plotted_families(),
    message:
        "Figure: correlation statistics of all benchmarks ({wildcards.method})"
    script:
        "../scripts/figure_statistics.py"


rule figure_subjects:
    input:
        statistics=get_table("correlation_statistics")["parquet"],
        items_table=ITEMS,
    output:
        **get_figure("subjects/{benchmark}-{method}", "subjects"),
    log:
        "results/logs/figures/subjects/{benchmark}-{method}.log",
    benchmark:
        "results/benchmarks/figures/subjects/{benchmark}-{method}.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("figure_subjects"),
        families=get_plotted_families(),
    message:
        "Figure: subjects of {wildcards.benchmark} ({wildcards.method})"
    script:
        "../scripts/figure_subjects.py"


rule figure_attribution:
    input:
        attribution=get_table("attribution")["parquet"],
        items_table=expand(ITEMS, benchmark=REGISTRY.benchmarks),
    output:
        **get_figure("attribution/{method}", "attribution"),
    log:
        "results/logs/figures/attribution/{method}.log",
    benchmark:
        "results/benchmarks/figures/attribution/{method}.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("figure_attribution"),
        labels=get_benchmark_labels(),
        families=get_plotted_families(),
    message:
        "Figure: what each transformation of the chain costs ({wildcards.method})"
    script:
        "../scripts/figure_attribution.py"


rule figure_mechanism:
    input:
        mechanism=get_table("mechanism")["parquet"],
        drops=get_table("mechanism_drops")["parquet"],
        items_table=expand(ITEMS, benchmark=REGISTRY.benchmarks),
    output:
        **get_figure("mechanism", "mechanism"),
    log:
        "results/logs/figures/mechanism.log",
    benchmark:
        "results/benchmarks/figures/mechanism.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("figure_mechanism"),
        labels=get_benchmark_labels(),
        families=get_plotted_families(),
    message:
        "Figure: how the loss at p_choices depends on the choices"
    script:
        "../scripts/figure_mechanism.py"


rule figure_accuracy:
    input:
        scores=get_table("scores")["parquet"],
        means=get_table("means")["parquet"],
        items_table=expand(ITEMS, benchmark=REGISTRY.benchmarks),
    output:
        **get_figures({"accuracy": "accuracy", "scaling": "scaling"}),
    log:
        "results/logs/figures/accuracy.log",
    benchmark:
        "results/benchmarks/figures/accuracy.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("figure_accuracy"),
        labels=get_benchmark_labels(),
        families=get_plotted_families(),
        members=get_family_members(),
    message:
        "Figures: mean accuracy against compute, by model and by family"
    script:
        "../scripts/figure_accuracy.py"


rule figure_example:
    output:
        **get_figure("example", "example"),
    log:
        "results/logs/figures/example.log",
    benchmark:
        "results/benchmarks/figures/example.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("figure_example"),
    message:
        "Figure: how to read a survival curve"
    script:
        "../scripts/figure_example.py"


rule figure_loss:
    input:
        checkpoints=get_table("checkpoints")["parquet"],
    output:
        **get_figure("loss", "loss"),
    log:
        "results/logs/figures/loss.log",
    benchmark:
        "results/benchmarks/figures/loss.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("figure_loss"),
    message:
        "Figure: validation loss against compute"
    script:
        "../scripts/figure_loss.py"


rule figure_forecast:
    input:
        summary=get_table("backtest_summary")["parquet"],
        coverage=get_table("backtest_coverage")["parquet"],
        reliability=get_table("forecast_reliability")["parquet"],
        laws=get_table("choice_laws")["parquet"],
        items_table=expand(ITEMS, benchmark=REGISTRY.benchmarks),
    output:
        **get_figures({kind: kind for kind in get_forecast_overall_figures()}),
    log:
        "results/logs/figures/forecast.log",
    benchmark:
        "results/benchmarks/figures/forecast.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("figure_forecast"),
        families=get_plotted_families(),
        kinds=get_forecast_overall_figures(),
    message:
        "Figures: how well forecasts did"
    script:
        "../scripts/figure_forecast.py"
