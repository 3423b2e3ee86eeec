"""What the rules of the forecasts look up."""

FORECAST = "results/forecasts/{family}/{benchmark}/{part}.parquet"
FORECAST_ITEMS = "results/forecast_items/{family}/{benchmark}.parquet"
DECISIONS = "results/decisions/{benchmark}.parquet"

#: Files of a family and benchmark that become parts of tables.
FORECAST_PARTS = ["targets", "backtests", "laws", "means", "reliability", "subsets", "members"]

#: Tables over all families and benchmarks, each as Parquet and CSV.
FORECAST_TABLES = [
    "forecasts",
    "backtests",
    "backtest_summary",
    "backtest_coverage",
    "choice_laws",
    "choice_means",
    "forecast_reliability",
    "item_subsets",
    "item_subset_members",
    "decisions",
]


def get_forecast_parts():
    """Outputs of a benchmark, by part: a file a family, in their order."""
    families = REGISTRY.forecast_families
    parts = {part: expand(FORECAST, family=families, part=part, allow_missing=True) for part in FORECAST_PARTS}
    return parts | {"probabilities": expand(FORECAST_ITEMS, family=families, allow_missing=True)}


def get_forecast_files():
    """The files of all families and benchmarks, by part."""
    names = {"family": REGISTRY.forecast_families, "benchmark": REGISTRY.benchmarks}
    return {part: expand(FORECAST, **names, part=part) for part in FORECAST_PARTS}


def get_forecast_tables():
    """Outputs of all forecasts together, named by table and format."""
    return {f"{name}_{format}": path for name in FORECAST_TABLES for format, path in get_table(name).items()}


def get_forecast_families():
    """What the tables say of the members of each family that has forecasts."""
    described = get_described_families()
    return {name: described[name] for name in REGISTRY.forecast_families}


def get_forecast_targets():
    return [[t.family, t.parameters, t.tokens, t.label] for t in REGISTRY.forecast.targets]


def get_groups():
    """What the tables say of the checkpoints of each group of models to decide between."""
    return {
        group.name: [
            REGISTRY.describe(REGISTRY.checkpoint(model, name))
            for model, checkpoints in group.members.items()
            for name in checkpoints
        ]
        for group in REGISTRY.groups.values()
    }


def get_group_logprobs(wildcards):
    """Of checkpoints to decide between that are in no family with forecasts: the others are inputs of the metrics."""
    families = {(a["model"], a["checkpoint"]) for members in get_forecast_families().values() for a in members}
    members = {(about["model"], about["checkpoint"]) for group in get_groups().values() for about in group}
    return [
        LOGPROBS.format(model=m, checkpoint=c, benchmark=wildcards.benchmark) for m, c in sorted(members - families)
    ]
