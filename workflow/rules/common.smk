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


include: "lookups/runs.smk"


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


def get_all_logprobs(wildcards):
    return [
        LOGPROBS.format(model=checkpoint.model, checkpoint=checkpoint.name, benchmark=benchmark)
        for checkpoint in get_all_checkpoints()
        for benchmark in REGISTRY.benchmarks
    ]


def get_logprobs_place(wildcards, input):
    """LOGPROBS where the rule's items are, for scripts that read what the metrics among their inputs are made of."""
    items = input.items_table if isinstance(input.items_table, str) else input.items_table[0]
    return str(get_results(items, ITEMS) / Path(*Path(LOGPROBS).parts[1:]))
