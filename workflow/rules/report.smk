"""The report: one page that opens without a network."""


include: "lookups/report.smk"


rule drilldown:
    input:
        lost=get_lost_logprobs,
        items_table=ITEMS,
        correlations=expand(CORRELATIONS, family=get_plotted_families(), allow_missing=True),
        probabilities=expand(FORECAST_ITEMS, family=get_plotted_families(), allow_missing=True),
    output:
        DRILLDOWN,
    log:
        "results/logs/drilldown/{benchmark}.log",
    benchmark:
        "results/benchmarks/drilldown/{benchmark}.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("drilldown"),
        logprobs=get_logprobs_place,
        label=get_benchmark_label,
        families=list(get_plotted_families()),
        members={name: get_described_families()[name] for name in get_plotted_families()},
        benchmarks=len(REGISTRY.benchmarks),
    message:
        "Items to look at on {wildcards.benchmark}"
    script:
        "../scripts/drilldown.py"


rule report:
    input:
        **{name: get_table(name)["parquet"] for name in REPORT_TABLES},
        **get_report_forecasts(),
        items_table=expand(ITEMS, benchmark=REGISTRY.benchmarks),
        logprobs=get_first_logprobs(),
        drilldowns=expand(DRILLDOWN, benchmark=REGISTRY.benchmarks),
        pngs=get_figure_files("png"),
        captions=get_figure_files("txt"),
    output:
        report=REPORT,
        gallery=GALLERY,
        record=RECORD,
    log:
        "results/logs/report.log",
    benchmark:
        "results/benchmarks/report.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("report"),
        labels=get_benchmark_labels(),
        figures=get_all_figures(),
        tables=REPORT_TABLES,
        forecasts=list(get_report_forecasts()),
        families=get_family_labels(),
        plotted=list(get_plotted_families()),
        members=get_family_members(),
    message:
        "Report: results/report.html"
    script:
        "../scripts/report.py"
