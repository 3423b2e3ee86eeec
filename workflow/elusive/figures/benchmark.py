"""All figures of one benchmark in one go: their tables are read once, and plotnine is loaded once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from elusive.figures import (
    agreement,
    by_family,
    choices,
    distributions,
    masses,
    means,
    pairs,
    scores,
    survival,
)
from elusive.figures.data import PathLike, read_benchmark, read_extra, read_frame, read_metrics
from elusive.figures.null import read_chance
from elusive.figures.save import Outputs, Plot, save_figure
from elusive.figures.statistics import read_statistics
from elusive.figures.style import METRICS

METRICS_COLUMNS = ["model", "checkpoint", "flops", "num_choices", "log_p_vocab_correct", "log_p_vocab_incorrect"]
METRICS_COLUMNS += ["p_choices_correct", "brier", "accuracy", "is_greedy"]
CORRELATIONS_COLUMNS = ["family", "item", "metric", "method", "correlation", "num_models"]
_CHOICES_COLUMNS = ["family", "is_gold", "spearman", "comovement", "comovement_partial"]
_OTHERS = ("log_p_vocab_incorrect", "margin_log")


def read_correlations(paths: Sequence[PathLike]) -> pd.DataFrame:
    """Correlations of the metrics that figures draw, all families' tables below one another."""
    frame = pd.concat([read_frame(path, "correlations", CORRELATIONS_COLUMNS) for path in paths], ignore_index=True)
    return frame[frame["metric"].isin([*(m.column for m in METRICS), *_OTHERS])]


def write_benchmark(
    *,
    metrics: Sequence[PathLike],
    correlations: Sequence[PathLike],
    single_choices: Sequence[PathLike],
    means_table: PathLike,
    statistics: PathLike,
    null_bands: PathLike,
    null_curves: PathLike,
    items: PathLike,
    families: Mapping[str, str],
    outputs: Mapping[str, Outputs],
) -> None:
    """Draw and describe figures of one benchmark.

    ``metrics``, ``correlations``, ``single_choices`` (choices): one table of each a family; ``means_table``,
    ``statistics``, ``null_bands``, ``null_curves``: the tables means, correlation_statistics, null_bands and
    null_curves; ``items``: the benchmark's items table; ``families``: name -> label, in drawing order; ``outputs``:
    kind of figure -> where to write. Only kinds that are asked for are drawn.
    """
    about = (read_benchmark(items), families)
    name = about[0].name
    scored = read_metrics(metrics, families, METRICS_COLUMNS)
    members = scored[["family", "model", "checkpoint"]].drop_duplicates()
    found = read_correlations(correlations)
    single = pd.concat([read_frame(p, "choices", _CHOICES_COLUMNS) for p in single_choices], ignore_index=True)
    average = read_extra(means_table, ["model", "checkpoint", "flops", "benchmark", "metric", "mean", "se"])
    average = average[average["benchmark"] == name]
    table, chance = read_statistics(statistics), read_chance(null_bands, null_curves, name, families)

    #: kind -> functions of the plot and of the caption, and what both are called with
    kinds: dict[str, tuple[Callable[..., Plot], Callable[..., str], tuple[object, ...]]] = {
        "survival": (survival.plot, survival.caption_text, (found, chance, *about)),
        "scores": (scores.plot, scores.caption_text, (scored, *about)),
        "masses": (masses.plot, masses.caption_text, (scored, *about)),
        "choices": (choices.plot, choices.caption_text, (single, found, *about)),
        "means": (means.plot, means.caption_text, (average, members, *about)),
        "entropy": (means.plot_masses, means.masses_caption, (average, scored, *about)),
        "methods": (distributions.plot_survival, distributions.survival_caption, (found, chance, *about)),
        "densities": (distributions.plot_density, distributions.density_caption, (found, chance, *about)),
        "by_family": (by_family.plot, by_family.caption_text, (table, *about)),
        "pairs": (pairs.plot, pairs.caption_text, (scored, *about)),
        "agreement": (agreement.plot_methods, agreement.methods_caption, (found, *about)),
        "families": (agreement.plot_families, agreement.families_caption, (found, *about)),
    }
    for kind, where in outputs.items():
        draw, describe, arguments = kinds[kind]
        save_figure(draw(*arguments), describe(*arguments), where, families)
