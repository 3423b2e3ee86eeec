"""What the rules of the report look up."""

REPORT = "results/report.html"
GALLERY = "results/figures.html"
RECORD = "results/run.json"
DRILLDOWN = "results/drilldown/{benchmark}.json"

#: Tables that the report reads.
REPORT_TABLES = [
    "checkpoints",
    "scores",
    "headline",
    "correlation_statistics",
    "attribution",
    "mechanism",
    "null_bands",
    "null_curves",
    "ceiling",
    "checkpoint_intervals",
    "authors_variants",
    "predictability",
    "means",
    "aggregates",
    "reference",
    "audit",
]


def get_first_logprobs():
    """A table of every checkpoint, in a family or not, for what it says of the checkpoint."""
    first = next(iter(REGISTRY.benchmarks))
    return [LOGPROBS.format(model=c.model, checkpoint=c.name, benchmark=first) for c in get_all_checkpoints()]


def get_report_forecasts():
    """Tables of forecasts that the report reads, by name."""
    unread = ("choice_means", "item_subset_members")
    return {name: get_table(name)["parquet"] for name in FORECAST_TABLES if name not in unread}
