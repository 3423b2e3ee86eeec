"""What the rules of the analysis look up."""

PUBLISHED = [str(ROOT / "workflow" / "registry" / "reference" / name) for name in ("cerebras.csv", "pythia.csv")]
DATA_DICTIONARY = TABLE.format(table="data_dictionary", format="csv")

#: Tables over all benchmarks, each as Parquet and CSV.
TABLES = [
    "correlation_statistics",
    "attribution",
    "null_bands",
    "null_curves",
    "ceiling",
    "headline",
    "checkpoint_intervals",
    "authors_variants",
    "mechanism",
    "mechanism_drops",
    "predictability",
    "means",
    "aggregates",
    "scores",
    "audit",
    "checkpoints",
    "reference",
]


def get_published_losses():
    """Validation losses that a published data set has of its checkpoints, as [model, checkpoint, loss]."""
    return [
        [model.name, checkpoint, loss]
        for model in REGISTRY.published_models
        for checkpoint, loss in model.validation_losses.items()
    ]


def get_families_with_duplicates():
    return [family.name for family in REGISTRY.families.values() if family.allow_duplicates]


# Asked while this is read: later Snakemake has forgotten it. Paths of a workflow that is imported get their prefix after
# functions of its inputs have run, which therefore cannot see what is there.
IS_MAIN = workflow.modifier.is_main_snakefile()


@functools.cache
def is_analysed(benchmark):
    return all(os.path.exists(METRICS.format(family=name, benchmark=benchmark)) for name in REGISTRY.families)


def get_lost_logprobs(wildcards):
    """Of the members of families, tables that have gone since the metrics were made of them, on one benchmark or all.

    What reads behind the metrics does not name the others: to name every table as an input of every rule that reads it
    takes Snakemake most of its time in a large study.
    """
    members = sorted({(c.model, c.name) for family in REGISTRY.families.values() for c in family.members})
    asked = [wildcards.benchmark] if hasattr(wildcards, "benchmark") else REGISTRY.benchmarks
    paths = [
        LOGPROBS.format(model=model, checkpoint=name, benchmark=benchmark)
        for benchmark in asked
        if not IS_MAIN or is_analysed(benchmark)
        for model, name in members
    ]
    return [path for path in paths if not (IS_MAIN and os.path.exists(path))]


def get_wanted_logprobs(wildcards):
    """Log-likelihoods that nothing else asks for: of checkpoints in no family, and tables that are lost."""
    members = {(c.model, c.name) for family in REGISTRY.families.values() for c in family.members}
    others = [
        LOGPROBS.format(model=checkpoint.model, checkpoint=checkpoint.name, benchmark=benchmark)
        for checkpoint in get_all_checkpoints()
        if (checkpoint.model, checkpoint.name) not in members
        for benchmark in REGISTRY.benchmarks
    ]
    return others + get_lost_logprobs(wildcards)


def get_benchmark_logprobs(wildcards):
    members = {(c.model, c.name) for family in REGISTRY.families.values() for c in family.members}
    return [LOGPROBS.format(model=m, checkpoint=c, benchmark=wildcards.benchmark) for m, c in sorted(members)]
