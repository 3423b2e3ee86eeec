"""The report's tables besides the statistics: what each says in short, a row a benchmark, and what it holds in full."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from elusive.figures.data import Benchmark
from elusive.figures.style import METRICS, format_number, format_share
from elusive.report.embed import Key, Number, pack_table

#: Every metric in plain words: the chain first.
METRIC_NAMES = {metric.column: metric.plain for metric in METRICS} | {
    "log_p_vocab_incorrect": "log p_vocab of the wrong choices",
    "p_vocab_incorrect": "p_vocab of the wrong choices",
    "log_p_choices_correct": "log p_choices",
    "accuracy_norm": "accuracy per character",
    "margin_log": "margin to the best wrong choice",
    "log_p_vocab_choices": "log p_vocab of all choices",
    "p_choices_correct_per_token": "p_choices per token",
    "p_choices_correct_per_byte": "p_choices per byte",
    "p_choices_correct_per_char": "p_choices per character",
    "margin_per_byte": "margin per byte",
    "accuracy_per_token": "accuracy per token",
    "accuracy_per_byte": "accuracy per byte",
    "is_greedy": "right answer is greedy",
    "log_p_vocab_correct_pmi": "PMI of the right choice",
    "p_choices_correct_pmi": "p_choices of PMI",
    "margin_pmi": "margin of PMI",
    "accuracy_pmi": "accuracy by PMI",
}

STEP_NAMES = {
    "exponentiate": "exponentiate",
    "renormalise": "renormalise over choices",
    "threshold": "threshold",
    "square": "square",
    "total": "all steps",
}

QUANTITY_NAMES = {
    "correlation_correct": "correlation of the right choice",
    "correlation_incorrect": "correlation of a wrong choice",
    "fraction_above_075_incorrect": "wrong choices with C > 0.75",
    "slope_correct": "slope of the right choice (nats per tenfold compute)",
    "slope_incorrect": "slope of a wrong choice (nats per tenfold compute)",
    "slope_difference": "by how much the right choice rises faster",
    "comovement": "co-movement of wrong with right",
    "comovement_partial": "co-movement at equal compute",
    "drop": "drop at p_choices",
    "spread_p_choices": "spread of p_choices at fixed p_vocab",
    "spread_incorrect": "spread of the wrong mass at fixed p_vocab (decades)",
    "drop_with_num_choices": "drop against number of choices",
    "drop_with_choice_length": "drop against length of choices",
    "drop_with_comovement": "drop against co-movement",
}

#: Statistics of one item's chain are embedded for all of these; more rows than :data:`MOST_ROWS` keep only the chain.
MOST_ROWS = 60_000
_CHAIN = tuple(metric.column for metric in METRICS)
WHOLE = "whole benchmark"


@dataclass(frozen=True)
class Cell:
    """A cell: its text, the ends of its interval, and the value that colours it (a correlation), all maybe None."""

    text: str
    interval: str | None = None
    heat: float | None = None


@dataclass(frozen=True)
class Row:
    """A row of a short table: the benchmark's label (None: of no single one), the row's head and its cells."""

    benchmark: str | None
    head: str
    cells: list[Cell]


@dataclass(frozen=True)
class Short:
    """A short table of one family (``family``: its label, None for all of them) below ``columns``."""

    family: str | None
    columns: list[str]
    rows: list[Row]


def _cell(row: Mapping[str, Any] | None, column: str, heat: bool = False, share: bool = False) -> Cell:
    """The value in ``column`` with its interval, as far as there are any."""
    if row is None or pd.isna(row[column]):
        return Cell("–")
    text = format_share if share else format_number
    low, high = row.get(f"{column}_low"), row.get(f"{column}_high")
    known = low is not None and high is not None and not (pd.isna(low) or pd.isna(high))
    interval = f"{text(low)} to {text(high)}" if known else None
    return Cell(text(row[column]), interval, float(row[column]) if heat else None)


def _by(frame: pd.DataFrame, columns: Sequence[str]) -> dict[tuple[Any, ...], dict[str, Any]]:
    return {tuple(row[c] for c in columns): row for row in frame.to_dict("records")}


def _shorts(
    families: Mapping[str, str], benchmarks: Sequence[Benchmark], columns: list[str], cells: Any
) -> list[Short]:
    """A short table for each family: ``cells(family, benchmark)`` are those of a row."""
    return [
        Short(label, columns, [Row(b.label, b.label, cells(family, b.name)) for b in benchmarks])
        for family, label in families.items()
    ]


def recommended(table: pd.DataFrame, families: Mapping[str, str], benchmarks: Sequence[Benchmark]) -> list[Short]:
    """Of the table ``predictability``: the scores of each kind that are recommended, best first, or none."""
    rows = dict(iter(table[table["recommended"]].groupby(["family", "benchmark", "method", "kind"])))
    which = [(method, kind) for kind in ("comparison", "mass") for method in ("spearman", "pearson")]
    titles = {"mass": "the text's mass", "comparison": "right against wrong choices"}

    def cells(family: str, benchmark: str) -> list[Cell]:
        result = []
        for method, kind in which:
            own = rows.get((family, benchmark, method, kind))
            if own is None:
                result.append(Cell("none"))
                continue
            own = own.sort_values("rank")
            value = float(own["mean"].iloc[0])
            names = ", ".join(METRIC_NAMES.get(name, name) for name in own["metric"])
            result.append(Cell(f"{names}: {format_number(value)}", None, value))
        return result

    return _shorts(families, benchmarks, [f"{titles[kind]}, {method.capitalize()}" for method, kind in which], cells)


def attribution(table: pd.DataFrame, families: Mapping[str, str], benchmarks: Sequence[Benchmark]) -> list[Short]:
    """Of the table ``attribution``: what each step costs in Pearson correlation, in the paper's order of steps."""
    paper = table[
        (table["order"] == "exponentiate_first") & (table["nan_policy"] == "zero") & (table["method"] == "pearson")
    ]
    rows = _by(paper, ["family", "benchmark", "score", "step"])
    steps = [("accuracy", step) for step in ("exponentiate", "renormalise", "threshold", "total")]
    steps += [("brier", "square"), ("brier", "total")]
    titles = [
        "C of log p_vocab",
        "exponentiate",
        "renormalise",
        "threshold",
        "all, to accuracy",
        "square",
        "all, to −Brier",
    ]

    def cells(family: str, benchmark: str) -> list[Cell]:
        first = rows.get((family, benchmark, "accuracy", "exponentiate"))
        return [
            _cell(first, "correlation_before", heat=True),
            *(_cell(rows.get((family, benchmark, *step)), "drop") for step in steps),
        ]

    return _shorts(families, benchmarks, titles, cells)


def mechanism(table: pd.DataFrame, families: Mapping[str, str], benchmarks: Sequence[Benchmark]) -> list[Short]:
    """Of the table ``mechanism``: how right and wrong choices move with compute and with each other."""
    rows = _by(table, ["family", "benchmark", "quantity"])
    shown = {
        "correlation_correct": ("right choice with compute", True),
        "correlation_incorrect": ("wrong choice with compute", True),
        "fraction_above_075_incorrect": ("wrong choices with C > 0.75", False),
        "comovement": ("wrong with right choice", True),
        "comovement_partial": ("the same at equal compute", True),
        "drop": ("drop from log p_vocab to p_choices", False),
        "drop_with_comovement": ("drop against co-movement", True),
    }

    def cells(family: str, benchmark: str) -> list[Cell]:
        return [
            _cell(rows.get((family, benchmark, quantity)), "value", heat, quantity.startswith("fraction"))
            for quantity, (_, heat) in shown.items()
        ]

    return _shorts(families, benchmarks, [title for title, _ in shown.values()], cells)


def signal_to_noise(table: pd.DataFrame, families: Mapping[str, str], benchmarks: Sequence[Benchmark]) -> list[Short]:
    """Of the table ``aggregates``: signal over noise of the mean of each metric of the chain."""
    rows = _by(table, ["family", "benchmark", "metric"])

    def cells(family: str, benchmark: str) -> list[Cell]:
        result = []
        for metric in _CHAIN:
            row = rows.get((family, benchmark, metric))
            if row is None or pd.isna(row["signal_to_noise"]):
                result.append(Cell("–"))
                continue
            follows = None if pd.isna(row["spearman"]) else f"C {format_number(row['spearman'])}"
            result.append(Cell(format_number(row["signal_to_noise"], 1), follows))
        return result

    return _shorts(families, benchmarks, [METRIC_NAMES[metric] for metric in _CHAIN], cells)


def chance(table: pd.DataFrame, families: Mapping[str, str]) -> list[Short]:
    """Of the table ``null_bands``: what one item's correlation is when its score has nothing to do with compute."""
    methods = ("pearson", "spearman", "kendall")
    first = _by(table.drop_duplicates(["family", "method"]), ["family", "method"])
    result = []
    for family, label in families.items():
        cells = [Cell("–" if (family, "pearson") not in first else f"{first[family, 'pearson']['num_models']:,}")]
        for method in methods:
            row = first.get((family, method))
            known = row is not None and not pd.isna(row["q025"])
            cells.append(Cell(f"{format_number(row['q025'])} to {format_number(row['q975'])}" if known else "–"))
            cells.append(Cell(format_share(row["fraction_above_075"], 1) if known else "–"))
        result.append(Row(None, label, cells))
    columns = ["checkpoints"]
    for method in methods:
        columns += [f"{method.capitalize()}: middle 95 %", "above 0.75"]
    return [Short(None, columns, result)]


def authors(table: pd.DataFrame, labels: Mapping[str, str]) -> list[Short]:
    """Of the table ``authors_variants``: the largest difference that the authors' computation makes, and where."""
    statistics = {"mean": "mean", "median": "median", "auc": "area", "nan_fraction": "share undefined"}
    rows = []
    for metric, group in table.groupby("metric", sort=False):
        cells = []
        for statistic in statistics:
            own = group[(group["statistic"] == statistic) & group["difference"].notna()]
            if own.empty:
                cells.append(Cell("–"))
                continue
            worst = own.loc[own["difference"].abs().idxmax()]
            if worst["difference"] == 0:
                cells.append(Cell("0"))
            else:
                where = f"{labels.get(worst['benchmark'], worst['benchmark'])}, {worst['method']}"
                style = "+.2f" if abs(worst["difference"]) >= 0.01 else "+.0e"
                cells.append(Cell(format(worst["difference"], style).replace("-", "−"), where))
        rows.append(Row(None, METRIC_NAMES.get(str(metric), str(metric)), cells))
    return [Short(None, list(statistics.values()), rows)]


def _plotted(frame: pd.DataFrame, families: Mapping[str, str]) -> pd.DataFrame:
    return frame[frame["family"].isin(list(families))]


def _keys(families: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, Key]:
    return {
        "family": Key("family", "family", families),
        "benchmark": Key("benchmark", "benchmark", labels),
        "metric": Key("metric", "metric", METRIC_NAMES),
        "method": Key("method", "method", chosen="spearman"),
        "undefined": Key("nan_policy", "undefined", chosen="drop"),
    }


def statistics_rows(statistics: pd.DataFrame, families: Mapping[str, str]) -> tuple[pd.DataFrame, bool]:
    """The rows of correlation_statistics that the page holds, and whether only those of the chain.

    Of the plotted families, whole benchmarks in every metric, and subjects in the metrics of the chain with undefined
    correlations left out.
    """
    frame = _plotted(statistics, families)
    chain = frame["metric"].isin(_CHAIN)
    whole = frame["subject"].isna()
    only_chain = int(whole.sum()) > MOST_ROWS
    kept = whole & (chain | (not only_chain))
    subjects = ~whole & chain & (frame["nan_policy"] == "drop") & (frame["method"] != "kendall")
    if int(kept.sum()) + int(subjects.sum()) <= 2 * MOST_ROWS:
        kept |= subjects
    return frame[kept], only_chain


def pack_statistics(statistics: pd.DataFrame, families: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, Any]:
    """The statistics table for the page's script: the rows of :func:`statistics_rows`, whole benchmarks first."""
    frame, only_chain = statistics_rows(statistics, families)
    frame = pd.concat([frame[frame["subject"].isna()], frame[frame["subject"].notna()]])
    keys = _keys(families, labels)
    columns = [keys["family"], keys["benchmark"]]
    if frame["subject"].notna().any():
        columns.append(Key("subject", "subject", {None: WHOLE}, chosen=WHOLE))
    columns += [keys["metric"], keys["method"], keys["undefined"]]
    numbers = [
        Number("num_items", "items", "count"),
        Number("num_models", "checkpoints", "count"),
        Number("nan_fraction", "share undefined", "share"),
        Number("mean", "mean", interval=True),
        Number("median", "median", interval=True),
        Number("fraction_above_075", "C > 0.75", "share", interval=True),
    ]
    for column, title, style in (
        ("fraction_below_0", "C < 0", "share"),
        ("q25", "lower quartile", "number"),
        ("q75", "upper quartile", "number"),
        ("auc", "area", "number"),
        ("neg_wasserstein", "−Wasserstein", "number"),
    ):
        if column in frame:
            numbers.append(Number(column, title, style))
    return pack_table(frame, columns, numbers) | {"only_chain": only_chain}


def pack_all(
    frames: Mapping[str, pd.DataFrame], families: Mapping[str, str], labels: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """The other tables in full for the page's script, plotted families only: table name -> packed table."""
    keys = _keys(families, labels)
    few, n = keys["family"], [Number("num_items", "items", "count"), Number("num_models", "checkpoints", "count")]
    about = [few, keys["benchmark"]]
    kinds = {"comparison": "right against wrong", "mass": "mass of the text"}
    layouts: dict[str, tuple[list[Key], list[Number]]] = {
        "predictability": (
            [*about, Key("kind", "kind", kinds), keys["metric"], keys["method"]],
            [
                Number("rank", "rank", "count"),
                Number("median", "median", interval=True),
                Number("mean", "mean"),
                Number("fraction_above_075", "C > 0.75", "share"),
                Number("nan_fraction", "share undefined", "share"),
                *n,
            ],
        ),
        "attribution": (
            [
                *about,
                Key("score", "score", {"accuracy": "accuracy", "brier": "−Brier"}, chosen="accuracy"),
                Key("step", "step", STEP_NAMES),
                Key(
                    "order",
                    "order",
                    {
                        "exponentiate_first": "exponentiate first",
                        "renormalise_first": "renormalise first",
                        "mean_of_orders": "mean of both",
                    },
                    chosen="exponentiate first",
                ),
                Key("method", "method", chosen="pearson"),
                Key("nan_policy", "undefined", chosen="zero"),
            ],
            [
                Number("correlation_before", "before"),
                Number("correlation_after", "after"),
                Number("drop", "drop", interval=True),
                Number("share", "share of all", "share", interval=True),
                *n,
            ],
        ),
        "mechanism": (
            [*about, Key("quantity", "quantity", QUANTITY_NAMES)],
            [Number("value", "value", interval=True), *n],
        ),
        "aggregates": (
            [*about, keys["metric"]],
            [
                Number("pearson", "Pearson"),
                Number("spearman", "Spearman"),
                Number("range", "range", "significant"),
                Number("signal", "signal", "significant"),
                Number("noise", "noise", "significant"),
                Number("item_noise", "noise of items", "significant"),
                Number("signal_to_noise", "signal / noise", "significant"),
                *n,
            ],
        ),
        "checkpoint_intervals": (
            [*about, keys["metric"], keys["method"]],
            [
                Number("mean", "mean", interval=("mean_checkpoints_low", "mean_checkpoints_high")),
                Number("mean", "mean, other models", interval=("mean_models_low", "mean_models_high")),
                Number("median", "median", interval=("median_checkpoints_low", "median_checkpoints_high")),
                Number("mean_shuffled_low", "shuffled, from"),
                Number("mean_shuffled_high", "to"),
                Number("lag1_autocorrelation", "autocorrelation"),
                Number("effective_checkpoints", "effective checkpoints", "significant"),
                Number("num_runs", "models", "count"),
                *n,
            ],
        ),
    }
    return {
        name: pack_table(_plotted(frames[name], families), columns, numbers)
        for name, (columns, numbers) in layouts.items()
    }


def labels_of(benchmarks: Iterable[Benchmark]) -> dict[str, str]:
    """Name -> label of the benchmarks, in their order."""
    return {benchmark.name: benchmark.label for benchmark in benchmarks}
