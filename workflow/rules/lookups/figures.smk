"""What the rules of the figures look up."""


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


#: Figures of every benchmark that carry the argument, and the further ones of the paper's appendix.
BENCHMARK_FIGURES = ["survival", "choices", "scores", "masses", "means"]
FURTHER_BENCHMARK_FIGURES = ["entropy", "methods", "densities", "by_family", "pairs", "agreement"]


def are_all_figures_wanted():
    return REGISTRY.figures == "all"


def get_benchmark_figures():
    kinds = list(BENCHMARK_FIGURES)
    if are_all_figures_wanted():
        kinds += FURTHER_BENCHMARK_FIGURES
        kinds += ["families"] if len(get_plotted_families()) > 1 else []
    return kinds


def get_benchmarks_with_subjects():
    return [name for name, benchmark in REGISTRY.benchmarks.items() if benchmark.has_subjects]


def get_all_figures():
    kinds = {kind: REGISTRY.benchmarks for kind in get_benchmark_figures()}
    has_losses = bool(REGISTRY.ladder_models or any(model.validation_losses for model in REGISTRY.published_models))
    names = ["hero", "mechanism", "example", "accuracy", "scaling"] + (["loss"] if has_losses else [])
    methods = ["spearman", "pearson"]
    if are_all_figures_wanted():
        methods += ["kendall"]
        kinds["subjects"] = [f"{name}-{method}" for name in get_benchmarks_with_subjects() for method in methods]
    kinds |= {"statistics": methods, "attribution": ["spearman", "pearson"]}
    paper = [f"{kind}/{name}" for kind, members in kinds.items() for name in members] + names
    return paper + get_forecast_figures()


def get_forecast_family():
    """The family that figures of forecasts show: the first one that figures have."""
    return next(iter(get_plotted_families()))


def get_forecast_benchmark_figures():
    asked = any(target.family == get_forecast_family() for target in REGISTRY.forecast.targets)
    further = ["forecast_laws", *(["forecast_turns"] if asked else [])]
    return ["forecast_fan", *(further if are_all_figures_wanted() else [])]


def get_forecast_overall_figures():
    kinds = ["forecast_errors", "forecast_coverage", "forecast_skill"]
    return kinds + (["forecast_reliability"] if are_all_figures_wanted() else [])


def get_forecast_figures():
    names = [f"{kind}/{name}" for kind in get_forecast_benchmark_figures() for name in REGISTRY.benchmarks]
    return [*get_forecast_overall_figures(), *names]


def get_figure_files(format):
    return expand(FIGURE, figure=get_all_figures(), format=format)
