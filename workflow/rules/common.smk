"""Configuration, paths and the functions that look things up for the rules."""

import json
import os
import sys
import time
from pathlib import Path

from snakemake.exceptions import WorkflowError

CONFIG = os.path.join(workflow.basedir, "config.yaml")
sys.path.insert(0, os.path.join(workflow.basedir, "workflow"))

from elusive.plan import demand
from elusive import environment
from elusive.configuration import registry
from elusive.configuration.schema import check_syntax
from elusive.errors import ElusiveError
from elusive.items import archive
from elusive.plan import budget
from elusive.plan.estimate import DOWNLOADS_AT_ONCE, Paths
from elusive.configuration.directory import decisive_files
from elusive.scoring.version import SCORER_VERSION

environment.prepare()

try:
    check_syntax(CONFIG)
except ElusiveError as error:
    raise WorkflowError(str(error)) from None


configfile: CONFIG


try:
    REGISTRY = registry.load(config, files=[CONFIG, *workflow.config_settings.configfiles])
except ElusiveError as error:
    raise WorkflowError(str(error)) from None


wildcard_constraints:
    model="[^/]+",
    checkpoint="[^/]+",
    benchmark="|".join(REGISTRY.benchmarks),
    family="|".join(REGISTRY.families),
    method="pearson|spearman|kendall",


ARCHIVE = f"results/sources/{archive.FILE_NAME}"
ITEMS = "results/items/{benchmark}.parquet"
CORPUS = "results/ladder/corpus"
TOKENIZER = "results/ladder/tokenizer"
CHECKPOINT = "results/checkpoints/{model}/{checkpoint}"
CHECKPOINT_PARTIAL = "results/checkpoints/.partial/{model}/{checkpoint}"
LOGPROBS = "results/logprobs/{model}/{checkpoint}/{benchmark}.parquet"
FINISHED = "results/finished/{model}/{checkpoint}/{benchmark}.parquet"
METRICS = "results/metrics/{family}/{benchmark}.parquet"
CORRELATIONS = "results/correlations/{family}/{benchmark}.parquet"
CHOICES = "results/choices/{family}/{benchmark}.parquet"
DRILLDOWN = "results/drilldown/{benchmark}.json"
TABLE = "results/tables/{table}.{format}"
FIGURE = "results/figures/{figure}.{format}"
REPORT = "results/report.html"
PLAN = "results/plan.txt"
STARTED = int(time.time())
DATA_DICTIONARY = TABLE.format(table="data_dictionary", format="csv")
PUBLISHED = [
    os.path.join(workflow.basedir, "workflow", "registry", "reference", name) for name in ("cerebras.csv", "pythia.csv")
]


def get_table(table):
    return {format: TABLE.format(table=table, format=format) for format in ("parquet", "csv")}


def get_figure(figure, kind):
    """Outputs of a figure: `report` puts the PNG into what `snakemake --report` makes."""
    files = {"png": "png", "pdf": "pdf", "caption": "txt", "data": "csv"}
    paths = {name: FIGURE.format(figure=figure, format=format) for name, format in files.items()}
    labels = {name: f"{{{name}}}" for name in ("benchmark", "method") if f"{{{name}}}" in figure} or {"figure": kind}
    about = {
        "caption": "../report/figure.rst",
        "category": f"{kind.replace('_', ' ').capitalize()} figures",
        "labels": labels,
    }
    return paths | {"png": report(paths["png"], **about)}


def get_figures(figures):
    """Outputs of a job with several figures (key -> figure), named by key and format."""
    return {
        f"{key}_{name}": path
        for key, figure in figures.items()
        for name, path in get_figure(figure, figure.split("/")[0]).items()
    }


def get_benchmark_figures():
    kinds = ["survival", "scores", "masses", "choices", "means", "entropy", "methods", "densities"]
    kinds += ["by_family", "pairs", "agreement"]
    return kinds + (["families"] if len(get_plotted_families()) > 1 else [])


def get_benchmarks_with_subjects():
    return [name for name, benchmark in REGISTRY.benchmarks.items() if benchmark.has_subjects]


def get_all_figures():
    methods = ["pearson", "spearman", "kendall"]
    kinds = {kind: REGISTRY.benchmarks for kind in get_benchmark_figures()} | {
        "statistics": methods,
        "subjects": [f"{name}-{method}" for name in get_benchmarks_with_subjects() for method in methods],
        "attribution": ["pearson", "spearman"],
    }
    names = [f"{kind}/{name}" for kind, members in kinds.items() for name in members]
    names += ["accuracy", "scaling", "mechanism", "example"]
    return names + (["loss"] if REGISTRY.ladder_models else [])


def get_figure_files(format):
    return expand(FIGURE, figure=get_all_figures(), format=format)


def get_family_labels():
    return {family.name: family.label for family in REGISTRY.families.values()}


def get_plotted_families():
    return {family.name: family.label for family in REGISTRY.families.values() if family.plotted}


def get_described_families():
    """What the tables say of each family's members."""
    return {
        name: [REGISTRY.describe(member) for member in family.members] for name, family in REGISTRY.families.items()
    }


def get_family_members():
    return {
        family.name: [[member.model, member.name] for member in family.members] for family in REGISTRY.families.values()
    }


def get_ladder_checkpoints():
    steps = [f"step{step}" for step in REGISTRY.ladder["checkpoints"]]
    return expand(CHECKPOINT, checkpoint=steps, allow_missing=True)


def get_training_records():
    return [
        CHECKPOINT.format(model=checkpoint.model, checkpoint=checkpoint.name)
        for model in REGISTRY.ladder_models
        for checkpoint in model.checkpoints
    ]


def get_items_source(wildcards):
    rerun_interrupted_jobs()
    benchmark = REGISTRY.benchmarks[wildcards.benchmark]
    return ARCHIVE if benchmark.source == "archive" else benchmark.files


def get_items_spec(wildcards):
    return json.dumps(REGISTRY.benchmarks[wildcards.benchmark].spec | {"seed": REGISTRY.seed}, sort_keys=True)


def get_train_spec(wildcards):
    model = REGISTRY.models[wildcards.model]
    spec = REGISTRY.ladder | model.shape | {"model": model.name, "seed": REGISTRY.seed}
    return json.dumps(spec, sort_keys=True)


def rerun_interrupted_jobs():
    """What `--rerun-incomplete` does, and safe here: outputs appear complete or not at all.

    Snakemake has its settings only after it has read the Snakefile, so functions that look up inputs call this.
    """
    workflow.dag_settings.force_incomplete = True


def get_checkpoint_directory(wildcards):
    rerun_interrupted_jobs()
    weights = REGISTRY.checkpoint(wildcards.model, wildcards.checkpoint)
    return weights.path or CHECKPOINT.format(model=weights.model, checkpoint=weights.name)


def get_local_files(wildcards):
    """Files of a checkpoint of the user's own: a directory is as old as ever when one is written into it anew."""
    path = REGISTRY.checkpoint(wildcards.model, wildcards.checkpoint).path
    return [str(file) for file in decisive_files(Path(path))] if path else []


def get_download_output():
    """Weights are removed after the last job that scores them, unless they are to be kept."""
    return directory(CHECKPOINT) if REGISTRY.hub["keep"] else temp(directory(CHECKPOINT))


def get_hub_source(wildcards):
    model, checkpoint = REGISTRY.models[wildcards.model], REGISTRY.checkpoint(wildcards.model, wildcards.checkpoint)
    return {"repo": model.repo, "revision": checkpoint.revision, "trust_remote_code": model.trust_remote_code}


def get_download_spec(wildcards):
    return json.dumps(get_hub_source(wildcards), sort_keys=True)


def get_download_waiting(wildcards, threads):
    """Options for when to wait for scoring; derived, as :func:`get_score_settings` is."""
    kept = REGISTRY.hub["keep"] or workflow.storage_settings.notemp
    return f"--ahead {0 if kept else REGISTRY.hub['ahead'] or 0} --since {STARTED}"


def get_download_disk(wildcards):
    return REGISTRY.models[wildcards.model].weights_bytes // 10**6 + 10


def get_score_spec(batch):
    """What decides the tables of a scoring job of ``batch``, as a function of what Snakemake knows of it."""

    def get_spec(wildcards):
        model = REGISTRY.models[wildcards.model]
        spec = {
            "model": model.name,
            "checkpoint": wildcards.checkpoint,
            "source": model.source,
            "parameters": model.parameters,
            "dtype": model.dtype,
            "add_bos_token": model.add_bos_token,
            "unconditional": [name for name in REGISTRY.batches[batch] if REGISTRY.benchmarks[name].unconditional],
        }
        if model.source == "hub":
            spec |= get_hub_source(wildcards)
        return json.dumps(spec, sort_keys=True)

    return get_spec


def get_score_settings(wildcards, threads):
    """What leaves the log-likelihoods as they are: how they are computed, and what else a table says of its model.

    Snakemake counts a parameter whose function asks for ``threads`` as derived, so that a change of it runs no job:
    it would download the weights again, and score nothing.
    """
    model = REGISTRY.models[wildcards.model]
    settings = {key: REGISTRY.scoring[key] for key in ("device", "token_budget", "threads")} | {
        "parameters_nonembedding": model.parameters_nonembedding,
        "tokens": REGISTRY.checkpoint(model.name, wildcards.checkpoint).tokens,
    }
    return json.dumps(settings, sort_keys=True)


def get_memory(wildcards, attempt):
    return demand.memory_mb(REGISTRY.models[wildcards.model], attempt)


def get_train_runtime(wildcards, attempt):
    return demand.train_minutes(REGISTRY.models[wildcards.model], attempt)


def get_score_runtime(batch):
    """Minutes of a scoring job of ``batch``, as a function of what Snakemake knows of it."""
    benchmarks = [REGISTRY.benchmarks[name] for name in REGISTRY.batches[batch]]
    how = {key: REGISTRY.scoring[key] for key in ("device", "threads")}
    return lambda wildcards, attempt: demand.score_minutes(
        REGISTRY.models[wildcards.model], benchmarks, **how, attempt=attempt
    )


def get_benchmark_logprobs(wildcards):
    members = {(c.model, c.name) for family in REGISTRY.families.values() for c in family.members}
    return [LOGPROBS.format(model=m, checkpoint=c, benchmark=wildcards.benchmark) for m, c in sorted(members)]


def get_report_tables():
    return [
        "checkpoints",
        "scores",
        "correlation_statistics",
        "attribution",
        "mechanism",
        "null_bands",
        "checkpoint_intervals",
        "authors_variants",
        "predictability",
        "aggregates",
        "reference",
    ]


def get_drilldown_family():
    """The family whose items the report shows: the first one that figures have."""
    return next(iter(get_plotted_families()))


def get_drilldown_logprobs(wildcards):
    members = REGISTRY.families[get_drilldown_family()].members
    return [LOGPROBS.format(model=c.model, checkpoint=c.name, benchmark=wildcards.benchmark) for c in members]


def get_all_checkpoints():
    return [checkpoint for model in REGISTRY.models.values() for checkpoint in model.checkpoints]


def get_all_logprobs(benchmarks=None):
    return [
        LOGPROBS.format(model=checkpoint.model, checkpoint=checkpoint.name, benchmark=benchmark)
        for checkpoint in get_all_checkpoints()
        for benchmark in benchmarks or REGISTRY.benchmarks
    ]


def get_all_outputs():
    names = ["correlation_statistics", "attribution", "null_bands", "checkpoint_intervals", "authors_variants"]
    names += [
        "headline",
        "null_curves",
        "ceiling",
        "mechanism",
        "mechanism_drops",
        "predictability",
        "means",
        "aggregates",
        "scores",
        "checkpoints",
        "reference",
    ]
    tables = [path for name in names for path in get_table(name).values()]
    return [REPORT, DATA_DICTIONARY, *tables, *get_all_logprobs(), *get_figure_files("png"), *get_figure_files("pdf")]


def get_plan_paths():
    return {"items": ITEMS, "checkpoint": CHECKPOINT, "logprobs": LOGPROBS, "finished": FINISHED}


def get_needed_jobs():
    """Jobs that this run would do, and whether something in the rule makes earlier results doubtful."""
    for job in workflow.dag.needrun_jobs(exclude_finished=False):
        reason = workflow.dag.reason(job)
        yield budget.Job(job.rule.name, job.wildcards_dict, bool(reason.params_changed or reason.code_changed))


def check_budget():
    try:
        budget.check(REGISTRY, Paths(**get_plan_paths()), get_needed_jobs())
    except ElusiveError as error:
        raise WorkflowError(str(error)) from None
