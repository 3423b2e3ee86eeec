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


def get_benchmark_logprobs(wildcards):
    members = {(c.model, c.name) for family in REGISTRY.families.values() for c in family.members}
    return [LOGPROBS.format(model=m, checkpoint=c, benchmark=wildcards.benchmark) for m, c in sorted(members)]


def get_member_logprobs():
    members = {(c.model, c.name) for family in REGISTRY.families.values() for c in family.members}
    return [
        LOGPROBS.format(model=m, checkpoint=c, benchmark=benchmark)
        for m, c in sorted(members)
        for benchmark in REGISTRY.benchmarks
    ]
