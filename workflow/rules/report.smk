"""The report: one page that opens without a network."""


include: "lookups/report.smk"


rule drilldown:
    input:
        logprobs=get_drilldown_logprobs,
        items_table=ITEMS,
        correlations=expand(CORRELATIONS, family=get_drilldown_family(), allow_missing=True),
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
        members=get_described_families()[get_drilldown_family()],
    message:
        "Items to look at on {wildcards.benchmark}"
    script:
        "../scripts/drilldown.py"


rule report:
    input:
        **{name: get_table(name)["parquet"] for name in REPORT_TABLES},
        items_table=expand(ITEMS, benchmark=REGISTRY.benchmarks),
        logprobs=get_all_logprobs([next(iter(REGISTRY.benchmarks))]),
        drilldowns=expand(DRILLDOWN, benchmark=REGISTRY.benchmarks),
        pngs=get_figure_files("png"),
        captions=get_figure_files("txt"),
    output:
        REPORT,
    log:
        "results/logs/report.log",
    benchmark:
        "results/benchmarks/report.tsv"
    localrule: True
    conda:
        "../../envs/elusive.yaml"
    params:
        code=get_code("report"),
        figures=get_all_figures(),
        tables=REPORT_TABLES,
        families=get_family_labels(),
        plotted=list(get_plotted_families()),
        members=get_family_members(),
    message:
        "Report: results/report.html"
    script:
        "../scripts/report.py"
