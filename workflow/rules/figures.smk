"""Figures: one rule a kind of figure, each as PNG and PDF with its caption as text."""


rule figure_survival:
    input:
        correlations=expand(CORRELATIONS, family=get_plotted_families(), allow_missing=True),
        items_table=ITEMS,
    output:
        **get_figure("survival/{benchmark}", "survival"),
    log:
        "results/logs/figures/survival/{benchmark}.log",
    benchmark:
        "results/benchmarks/figures/survival/{benchmark}.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        families=get_plotted_families(),
    message:
        "Figure: survival curves of {wildcards.benchmark}"
    script:
        "../scripts/figure_survival.py"


rule figure_scores:
    input:
        metrics=expand(METRICS, family=get_plotted_families(), allow_missing=True),
        items_table=ITEMS,
    output:
        **get_figure("scores/{benchmark}", "scores"),
    log:
        "results/logs/figures/scores/{benchmark}.log",
    benchmark:
        "results/benchmarks/figures/scores/{benchmark}.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        families=get_plotted_families(),
    message:
        "Figure: how the metrics of {wildcards.benchmark} map onto each other"
    script:
        "../scripts/figure_scores.py"


rule figure_masses:
    input:
        metrics=expand(METRICS, family=get_plotted_families(), allow_missing=True),
        items_table=ITEMS,
    output:
        **get_figure("masses/{benchmark}", "masses"),
    log:
        "results/logs/figures/masses/{benchmark}.log",
    benchmark:
        "results/benchmarks/figures/masses/{benchmark}.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        families=get_plotted_families(),
    message:
        "Figure: mass on correct and incorrect choices of {wildcards.benchmark}"
    script:
        "../scripts/figure_masses.py"


rule figure_statistics:
    input:
        statistics=get_table("correlation_statistics")["parquet"],
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
        families=get_plotted_families(),
    message:
        "Figure: correlation statistics of all benchmarks ({wildcards.method})"
    script:
        "../scripts/figure_statistics.py"


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
        families=get_plotted_families(),
    message:
        "Figure: what each transformation of the chain costs ({wildcards.method})"
    script:
        "../scripts/figure_attribution.py"


rule figure_choices:
    input:
        choices=expand(CHOICES, family=get_plotted_families(), allow_missing=True),
        correlations=expand(CORRELATIONS, family=get_plotted_families(), allow_missing=True),
        items_table=ITEMS,
    output:
        **get_figure("choices/{benchmark}", "choices"),
    log:
        "results/logs/figures/choices/{benchmark}.log",
    benchmark:
        "results/benchmarks/figures/choices/{benchmark}.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        families=get_plotted_families(),
    message:
        "Figure: right and wrong choices of {wildcards.benchmark} against compute"
    script:
        "../scripts/figure_choices.py"


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
        families=get_plotted_families(),
    message:
        "Figure: how the loss at p_choices depends on the choices"
    script:
        "../scripts/figure_mechanism.py"


rule figure_accuracy:
    input:
        scores=get_table("scores")["parquet"],
        items_table=expand(ITEMS, benchmark=REGISTRY.benchmarks),
    output:
        **get_figure("accuracy", "accuracy"),
    log:
        "results/logs/figures/accuracy.log",
    benchmark:
        "results/benchmarks/figures/accuracy.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    message:
        "Figure: mean accuracy against compute"
    script:
        "../scripts/figure_accuracy.py"


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
    message:
        "Figure: validation loss against compute"
    script:
        "../scripts/figure_loss.py"
