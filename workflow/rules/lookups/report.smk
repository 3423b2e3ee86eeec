"""What the rules of the report look up."""

REPORT = "results/report.html"
DRILLDOWN = "results/drilldown/{benchmark}.json"

#: Tables that the report reads.
REPORT_TABLES = [
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
