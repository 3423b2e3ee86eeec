"""Whether methods, and families, agree on how an item follows compute: one correlation against another, by item."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotnine as p9

from elusive.analysis.correlations import METHODS
from elusive.figures import style
from elusive.figures.data import Benchmark

#: Items drawn for each panel and family, chosen by a seeded draw.
MAX_POINTS, MAX_POINTS_PAIR = 250, 500

#: Pairs of families drawn at most, in the order of the families.
MAX_PAIRS = 15

_DOTS = {"raster": True, "size": 0.8, "alpha": 0.4, "stroke": 0}


def _wide(correlations: pd.DataFrame, columns: str, rows: list[str], most: int) -> pd.DataFrame:
    """Correlations spread over ``columns`` (method or family), one row for each of ``rows`` and item.

    At most ``most`` items, the same everywhere.
    """
    items = correlations["item"].drop_duplicates()
    kept = items.sample(min(len(items), most), random_state=0)
    chosen = correlations[correlations["item"].isin(kept)]
    return chosen.pivot(index=[*rows, "item"], columns=columns, values="correlation").reset_index()


def _title(pair: tuple[str, str]) -> str:
    return " and ".join(method.capitalize() for method in pair)


def method_pairs(correlations: pd.DataFrame, families: Mapping[str, str]) -> pd.DataFrame:
    """One row a dot of :func:`plot_methods`: ``family`` ``item`` ``metric`` ``pair``, ``first`` and ``second``."""
    seen = correlations[correlations["metric"].isin([m.column for m in style.METRICS])]
    wide = _wide(seen, "method", ["family", "metric"], MAX_POINTS)
    pairs = list(itertools.combinations(METHODS, 2))
    frames = [
        wide[["family", "metric", "item"]].assign(pair=_title(pair), first=wide[pair[0]], second=wide[pair[1]])
        for pair in pairs
    ]
    frame = pd.concat(frames, ignore_index=True).dropna(subset=["first", "second"])
    return frame.assign(
        metric=pd.Categorical(frame["metric"], [m.column for m in style.METRICS]),
        pair=pd.Categorical(frame["pair"], [_title(pair) for pair in pairs]),
        family=pd.Categorical(frame["family"].map(families), list(families.values())),
    )


def plot_methods(correlations: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str]) -> p9.ggplot:
    """Draw the correlation by one method against that by another, a row a metric."""
    frame = method_pairs(correlations, families).sample(frac=1.0, random_state=0)
    labels = list(families.values())
    math = {m.column: m.math for m in style.METRICS}
    rows = style.key_rows(labels)
    return (
        p9.ggplot(frame, p9.aes("first", "second", color="family"))
        + p9.geom_abline(slope=1, intercept=0, size=0.3, color="#999999")
        + p9.geom_point(**_DOTS)
        + p9.facet_grid("metric", "pair", labeller=p9.labeller(rows=lambda name: math[name]))
        + p9.scale_color_manual(style.family_colours(labels), labels=style.wrap)
        + style.correlation_scale()
        + style.correlation_scale("y")
        + p9.labs(
            x="correlation by the first method",
            y="correlation by the second method",
            color="",
            title=style.escape(benchmark.label),
        )
        + p9.guides(color=p9.guide_legend(nrow=rows, override_aes={"size": 1.5, "alpha": 1}))
        + style.theme(style.PAGE_WIDTH, 7.0 + 0.2 * rows)
        + p9.theme(
            legend_position="bottom",
            legend_box_spacing=0.01,
            strip_text_y=p9.element_text(size=7.5, rotation=270),
        )
    )


def methods_caption(correlations: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str]) -> str:
    """What :func:`plot_methods` shows, with its numbers."""
    first = next(iter(families))
    own = correlations[(correlations["family"] == first) & (correlations["metric"] == "log_p_vocab_correct")]
    wide = own.pivot(index="item", columns="method", values="correlation")
    parts = [
        f"{style.format_number((wide[a] - wide[b]).abs().median())} between {a.capitalize()} and {b.capitalize()}"
        for a, b in itertools.combinations(METHODS, 2)
    ]
    drawn = min(benchmark.num_items, MAX_POINTS)
    return (
        f"{benchmark.label}: correlations of the same items by different methods.\n\n"
        "A dot is one item in one family. Axes: its correlation with compute by the first and by the second method "
        "named above the panel; line: equal correlations. Rows: metrics, −Brier negated. Spearman and Kendall see only "
        "ranks, so that of p_vocab they give what they give of log p_vocab. "
        f"Items drawn, chosen at random: {drawn:,} of {benchmark.num_items:,}; undefined correlations are left out.\n\n"
        f"{benchmark.describe_items()}\n\n"
        f"What to see: in “{families[first]}” the median distance between an item's correlations of log p_vocab is "
        f"{style.join(parts)}.{_nearer(wide)}"
    )


def _nearer(wide: pd.DataFrame) -> str:
    """For how many items Kendall's coefficient is the smaller one; nothing where it is for none."""
    both = wide[["spearman", "kendall"]].dropna().abs()
    if both.empty:
        return ""
    nearer = (both["kendall"] < both["spearman"] - 1e-9).mean()
    if not nearer > 0:
        return ""
    share = style.format_share(nearer)
    return f" For {share} of the items Kendall's is nearer to 0 than Spearman's: the two measure on different scales."


def family_pairs(families: Mapping[str, str]) -> list[tuple[str, str]]:
    """The pairs of families that are drawn."""
    return list(itertools.combinations(families, 2))[:MAX_PAIRS]


def family_points(correlations: pd.DataFrame, families: Mapping[str, str]) -> pd.DataFrame:
    """One row a dot of :func:`plot_families`: ``metric`` ``item`` ``pair`` (``1 and 2``), ``first`` and ``second``."""
    metrics = style.metrics_seen_by("spearman")
    chosen = correlations[
        (correlations["method"] == "spearman") & correlations["metric"].isin([m.column for m in metrics])
    ]
    wide = _wide(chosen, "family", ["metric"], MAX_POINTS_PAIR)
    number = {name: place for place, name in enumerate(families, 1)}
    pairs = family_pairs(families)
    names = [f"{number[a]} and {number[b]}" for a, b in pairs]
    frames = [
        wide[["metric", "item"]].assign(pair=name, first=wide[a], second=wide[b])
        for (a, b), name in zip(pairs, names, strict=True)
    ]
    frame = pd.concat(frames, ignore_index=True).dropna(subset=["first", "second"])
    return frame.assign(
        metric=pd.Categorical(frame["metric"], [m.column for m in metrics]), pair=pd.Categorical(frame["pair"], names)
    )


def plot_families(correlations: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str]) -> p9.ggplot:
    """Draw the Spearman correlation in one family against that in another, a row a pair, a column a metric."""
    frame = family_points(correlations, families)
    metrics = style.metrics_seen_by("spearman")
    math = {m.column: m.math for m in metrics}
    rows = len(family_pairs(families))
    key = "; ".join(f"{place} {label}" for place, label in enumerate(families.values(), 1))
    lines = style.wrap([key], 110)[0]
    return (
        p9.ggplot(frame, p9.aes("first", "second", color="metric"))
        + p9.geom_abline(slope=1, intercept=0, size=0.3, color="#999999")
        + p9.geom_point(show_legend=False, **_DOTS)
        + p9.facet_grid("pair", "metric", labeller=p9.labeller(cols=lambda name: math[name]))
        + p9.scale_color_manual({m.column: m.colour for m in metrics})
        + style.correlation_scale()
        + style.correlation_scale("y")
        + p9.labs(
            x="Spearman correlation in the first family",
            y="Spearman correlation in the second family",
            title=style.escape(benchmark.label),
            subtitle=lines,
        )
        + style.theme(style.PAGE_WIDTH, 1.0 + 0.12 * lines.count("\n") + (1.6 if rows <= 3 else 0.72) * rows)
        + p9.theme(
            strip_text_y=p9.element_text(size=7.5, rotation=270),
            axis_text=p9.element_text(size=7 if rows <= 3 else 5),
        )
    )


def families_caption(correlations: pd.DataFrame, benchmark: Benchmark, families: Mapping[str, str]) -> str:
    """What :func:`plot_families` shows, with its numbers."""
    spearman = correlations[correlations["method"] == "spearman"]
    a, b = family_pairs(families)[0]
    parts = []
    for metric in style.metrics_seen_by("spearman"):
        rows = spearman[spearman["metric"] == metric.column]
        wide = rows.pivot(index="item", columns="family", values="correlation")
        rank = wide[a].corr(wide[b], method="spearman")
        parts.append(f"{'undefined' if np.isnan(rank) else style.format_number(rank)} for {metric.plain}")
    models = correlations.groupby("family")["num_models"].max()
    members = "; ".join(f"{i} “{label}” ({models[n]} checkpoints)" for i, (n, label) in enumerate(families.items(), 1))
    count = len(list(itertools.combinations(families, 2)))
    left = "" if count <= MAX_PAIRS else f" {MAX_PAIRS} of the {count} pairs of families are drawn."
    return (
        f"{benchmark.label}: do families agree on which items follow compute?\n\n"
        "A dot is one item. Axes: its Spearman correlation with compute in the first and in the second family of the "
        f"pair at the right; line: equal correlations. Columns: metrics, −Brier negated. Families: {members}. "
        f"Families may share checkpoints, which makes them agree.{left} Items drawn, chosen at random: "
        f"{min(benchmark.num_items, MAX_POINTS_PAIR):,} of {benchmark.num_items:,}.\n\n{benchmark.describe_items()}\n\n"
        f"What to see: between “{families[a]}” and “{families[b]}” the rank correlation over items of their "
        f"correlations is {style.join(parts)}."
    )
