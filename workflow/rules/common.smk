"""The registry of what the configuration asks for, the paths, and the look-ups that several stages use."""

import functools
import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

ROOT = Path(workflow.current_basedir).parents[1]
CONFIG = str(ROOT / "config.yaml")
sys.path.insert(0, str(ROOT / "workflow"))

from elusive import dependencies, environment, files, runs
from elusive.configuration import registry
from elusive.configuration.schema import check_syntax
from elusive.errors import ElusiveError

environment.prepare()

try:
    check_syntax(CONFIG)
except ElusiveError as error:
    raise WorkflowError(str(error)) from None


configfile: CONFIG


# A workflow that imports this one brings its own configuration, and config.yaml has no part in it.
CONFIG_FILES = [*([CONFIG] if CONFIG in workflow.configfiles else []), *workflow.config_settings.configfiles]

try:
    REGISTRY = registry.load(config, files=CONFIG_FILES)
except ElusiveError as error:
    raise WorkflowError(str(error)) from None

if REGISTRY.left_out and workflow.is_main_process:
    logger.warning(
        f"{', '.join(REGISTRY.left_out)}: left out, since no model has `source: ladder`: made of text that the ladder is "
        "not trained on, which other models may know"
    )


wildcard_constraints:
    model="[^/]+",
    checkpoint="[^/]+",
    benchmark="|".join(REGISTRY.benchmarks),
    family="|".join(REGISTRY.families),
    method="pearson|spearman|kendall",


ITEMS = "results/items/{benchmark}.parquet"
CHECKPOINT = "results/checkpoints/{model}/{checkpoint}"
LOGPROBS = "results/logprobs/{model}/{checkpoint}/{benchmark}.parquet"
PARTIAL = "results/checkpoints/.partial/{model}/{checkpoint}"
FINISHED = "results/finished/{model}/{checkpoint}/{benchmark}.parquet"
METRICS = "results/metrics/{family}/{benchmark}.parquet"
CORRELATIONS = "results/correlations/{family}/{benchmark}.parquet"
CHOICES = "results/choices/{family}/{benchmark}.parquet"
TABLE = "results/tables/{table}.{format}"
FIGURE = "results/figures/{figure}.{format}"
FIGURE_FORMATS = ("png", "pdf", "txt", "csv")


def get_table(table):
    return {format: TABLE.format(table=table, format=format) for format in ("parquet", "csv")}


def get_results(path, template):
    """The directory results/ of a file ``path`` of a rule that has it as ``template``.

    A workflow that imports this one may have put it elsewhere; Snakemake then changes inputs and outputs alone.
    """
    return Path(path).parents[template.count("/") - 1]


def get_code(script):
    """A digest of the library's modules that ``script`` runs, so that its results follow them."""
    return dependencies.digest(ROOT / "workflow" / "scripts" / f"{script}.py")


def get_identities(paths):
    """What tells files of the user's own from others that are put in their place, be these newer or older."""
    return [files.identity(path) for path in paths]


def prepare_run():
    """Settings that Snakemake has only after it has read the Snakefile; functions that look up inputs call this.

    What `--rerun-incomplete` does is safe here: outputs appear complete or not at all. And a run that does jobs takes
    away the lock of one that was killed, and lets its jobs see how it goes on.
    """
    workflow.dag_settings.force_incomplete = True
    if workflow.executor_plugin and workflow.is_main_process and not workflow.dryrun and not workflow.touch:
        follow_run()


@functools.cache
def follow_run():
    home = Path(workflow.persistence.path)
    for said in runs.release_locks(home):
        logger.warning(said)
    runs.follow(home, get_locks, is_run_ending, count_pending_items, local=workflow.local_exec)


def get_locks():
    # Snakemake makes no more known of its locks than whether there are any.
    return list(getattr(workflow.persistence, "_lockfile", {}).values())


@functools.cache
def get_items_jobs():
    # In a workflow that imports this one, its name comes before the rule's.
    return [job for job in workflow.dag.needrun_jobs() if job.rule.name.endswith("items")]


def count_pending_items():
    """How many items tables this run has still to make; None before it has begun."""
    if workflow.scheduler is None:
        return None
    failed = workflow.scheduler.failed
    return sum(not workflow.dag.finished(job) and job not in failed for job in get_items_jobs())


def is_run_ending():
    """Whether the run starts no more jobs, since one has failed or somebody has asked for its end."""
    scheduler = workflow.scheduler
    failed = scheduler and scheduler.failed and not scheduler.keepgoing
    return bool(failed or getattr(scheduler, "_user_kill", None))


def get_benchmark_labels():
    return [benchmark.label for benchmark in REGISTRY.benchmarks.values()]


def get_benchmark_label(wildcards):
    return REGISTRY.benchmarks[wildcards.benchmark].label


def get_family_labels():
    return {family.name: family.label for family in REGISTRY.families.values()}


def get_plotted_families():
    return {family.name: family.label for family in REGISTRY.families.values() if family.plotted}


def get_family_members():
    return {
        family.name: [[member.model, member.name] for member in family.members] for family in REGISTRY.families.values()
    }


@functools.cache
def get_described_families():
    """What the tables say of each family's members."""
    return {
        name: [REGISTRY.describe(member) for member in family.members] for name, family in REGISTRY.families.items()
    }


def get_names(entries):
    """A pattern that matches the names of models or benchmarks and no others."""
    return "|".join(entry.name for entry in entries) or "(?!)"


def get_all_checkpoints():
    return [checkpoint for model in REGISTRY.models.values() for checkpoint in model.checkpoints]


def get_all_logprobs(benchmarks=None):
    return [
        LOGPROBS.format(model=checkpoint.model, checkpoint=checkpoint.name, benchmark=benchmark)
        for checkpoint in get_all_checkpoints()
        for benchmark in benchmarks or REGISTRY.benchmarks
    ]
