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


def get_wanted_logprobs(wildcards):
    """Log-likelihoods that nothing else asks for: of checkpoints in no family, and tables that have gone since.

    The others are inputs of the metrics. Paths of a workflow that is imported get their prefix later than this looks.
    """
    if not workflow.modifier.is_main_snakefile():
        return get_all_logprobs()
    members = {(c.model, c.name) for family in REGISTRY.families.values() for c in family.members}
    others = [c for c in get_all_checkpoints() if (c.model, c.name) not in members]
    wanted = []
    for benchmark in REGISTRY.benchmarks:
        is_made = all(os.path.exists(METRICS.format(family=name, benchmark=benchmark)) for name in REGISTRY.families)
        for checkpoint in get_all_checkpoints() if is_made else others:
            path = LOGPROBS.format(model=checkpoint.model, checkpoint=checkpoint.name, benchmark=benchmark)
            if not is_made or not os.path.exists(path):
                wanted.append(path)
    return wanted


def get_benchmark_logprobs(wildcards):
    members = {(c.model, c.name) for family in REGISTRY.families.values() for c in family.members}
    return [LOGPROBS.format(model=m, checkpoint=c, benchmark=wildcards.benchmark) for m, c in sorted(members)]
