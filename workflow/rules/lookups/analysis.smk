"""What the rules of the analysis look up."""

PUBLISHED = [str(ROOT / "workflow" / "registry" / "reference" / name) for name in ("cerebras.csv", "pythia.csv")]
DATA_DICTIONARY = TABLE.format(table="data_dictionary", format="csv")

#: Tables over all benchmarks, each as Parquet and CSV.
TABLES = [
    "correlation_statistics",
    "attribution",
    "null_bands",
    "checkpoint_intervals",
    "authors_variants",
    "mechanism",
    "mechanism_drops",
    "predictability",
    "means",
    "aggregates",
    "scores",
    "checkpoints",
    "reference",
]


def get_benchmark_logprobs(wildcards):
    members = {(c.model, c.name) for family in REGISTRY.families.values() for c in family.members}
    return [LOGPROBS.format(model=m, checkpoint=c, benchmark=wildcards.benchmark) for m, c in sorted(members)]
