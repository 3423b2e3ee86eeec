"""The report: one page that opens without a network."""


rule report:
    input:
        items_table=expand(ITEMS, benchmark=REGISTRY.benchmarks),
        logprobs=get_all_logprobs(),
        checkpoints=get_table("checkpoints")["parquet"],
        scores=get_table("scores")["parquet"],
        statistics=get_table("correlation_statistics")["parquet"],
        reference=get_table("reference")["parquet"],
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
        figures=get_all_figures(),
        families=get_family_labels(),
        members=get_family_members(),
    message:
        "Report: results/report.html"
    script:
        "../scripts/report.py"
