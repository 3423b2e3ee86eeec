# elusive: which benchmark scores can be predicted from pretraining compute, which cannot, and why?
#
# One stage a file in workflow/rules, in the order of the flow. Everything is written below results/, where the path
# says what a file holds: results/<stage>/<model or family>/<checkpoint>/<benchmark>.parquet. Rules only connect
# files with code; what is computed stands in workflow/elusive, where a module is a stage.
# `snakemake --cores all` makes everything that config.yaml asks for.
from snakemake.utils import min_version

min_version("9.27")


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/plan.smk"
include: "workflow/rules/items.smk"
include: "workflow/rules/ladder.smk"
include: "workflow/rules/download.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/import.smk"
include: "workflow/rules/analysis.smk"
include: "workflow/rules/forecast.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/publish.smk"


rule all:
    default_target: True
    input:
        REPORT,
        DATA_DICTIONARY,
        [path for table in [*TABLES, *FORECAST_TABLES] for path in get_table(table).values()],
        expand(FORECAST_ITEMS, family=REGISTRY.forecast_families, benchmark=REGISTRY.benchmarks),
        get_wanted_logprobs,
        get_figure_files("png"),
        get_figure_files("pdf"),


remember_signatures()
