"""The report's tables besides the statistics: what each says in short, a row a benchmark, and what it holds in full."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from elusive.figures.data import Benchmark
from elusive.figures.style import METRICS, format_number, format_range, format_share
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
    """A cell: its text, the ends of its interval, the value that colours it (a correlation), and its numbers.

    All but the text may be None.
    """

    text: str
    interval: str | None = None
    heat: float | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Row:
    """A row of a short table: the benchmark's name (None: of no single one), the row's head and its cells."""

    benchmark: str | None
    head: str
    cells: list[Cell]


@dataclass(frozen=True)
class Short:
    """A short table of one family (its name, None for all of them) below ``columns``, ``head`` being the first."""

    family: str | None
    columns: list[str]
    rows: list[Row]
    head: str = "benchmark"


def _cell(row: Mapping[str, Any] | None, column: str, heat: bool = False, share: bool = False) -> Cell:
    """The value in ``column`` with its interval, as far as there are any."""
    if row is None or pd.isna(row[column]):
        return Cell("–")
    text = format_share if share else format_number
    low, high = row.get(f"{column}_low"), row.get(f"{column}_high")
    known = low is not None and high is not None and not (pd.isna(low) or pd.isna(high))
    value = float(row[column])
    if not known:
        return Cell(text(value), None, value if heat else None, value)
    return Cell(text(value), f"{text(low)} to {text(high)}", value if heat else None, value, float(low), float(high))


def _by(frame: pd.DataFrame, columns: Sequence[str]) -> dict[tuple[Any, ...], dict[str, Any]]:
    return {tuple(row[c] for c in columns): row for row in frame.to_dict("records")}


def _shorts(
    families: Mapping[str, str], benchmarks: Sequence[Benchmark], columns: list[str], cells: Any
) -> list[Short]:
    """A short table for each family: ``cells(family, benchmark)`` are those of a row."""
    return [
        Short(family, columns, [Row(b.name, b.label, cells(family, b.name)) for b in benchmarks]) for family in families
    ]


def recommended(table: pd.DataFrame, families: Mapping[str, str], benchmarks: Sequence[Benchmark]) -> list[Short]:
    """Of the table ``predictability``: the scores of each kind that cannot be told from the best, or none and why."""
    groups = dict(list(table.groupby(["family", "benchmark", "method", "kind"], sort=False)))
    which = [("comparison", "spearman"), ("comparison", "pearson"), ("mass", "spearman")]
    titles = {"mass": "the text's mass", "comparison": "right against wrong choices"}

    def cells(family: str, benchmark: str) -> list[Cell]:
        result = []
        for kind, method in which:
            rows = groups.get((family, benchmark, method, kind))
            if rows is None:
                result.append(Cell("–"))
                continue
            rows = rows.sort_values("rank")
            found = rows[rows["recommended"]]
            if found.empty:
                reason = rows["reason"].iloc[0]
                result.append(Cell("none", None if pd.isna(reason) else str(reason)))
                continue
            names = [f"{METRIC_NAMES.get(r.metric, r.metric)} {format_number(r.mean)}" for r in found.itertuples()]
            value = float(found["mean"].iloc[0])
            result.append(Cell(", ".join(names), None, value, value))
        return result

    return _shorts(families, benchmarks, [f"{titles[kind]}, {method.capitalize()}" for kind, method in which], cells)


def attribution(table: pd.DataFrame, families: Mapping[str, str], benchmarks: Sequence[Benchmark]) -> list[Short]:
    """Of the table ``attribution``: what each step costs by Spearman, and by Pearson the range over both orders."""
    kept = table[(table["order"] == "exponentiate_first") & (table["nan_policy"] == "zero")]
    rows = _by(kept, ["family", "benchmark", "method", "score", "step"])
    steps = [("accuracy", step) for step in ("renormalise", "threshold", "total")]
    steps += [("brier", "square"), ("brier", "total")]
    titles = ["C of log p_vocab", "renormalise", "threshold", "all, to accuracy", "to −Brier", "all, to −Brier"]
    ranged = ("exponentiate", "renormalise", "threshold")

    def span(row: Mapping[str, Any] | None) -> Cell:
        if row is None or pd.isna(row["drop_least"]) or pd.isna(row["drop_most"]):
            return Cell("–")
        least, most = float(row["drop_least"]), float(row["drop_most"])
        return Cell(format_range(least, most), None, None, (least + most) / 2, least, most)

    def cells(family: str, benchmark: str) -> list[Cell]:
        first = rows.get((family, benchmark, "spearman", "accuracy", "renormalise"))
        return [
            _cell(first, "correlation_before", heat=True),
            *(_cell(rows.get((family, benchmark, "spearman", *step)), "drop") for step in steps),
            *(span(rows.get((family, benchmark, "pearson", "accuracy", step))) for step in ranged),
        ]

    return _shorts(families, benchmarks, titles + [f"Pearson: {step}" for step in ranged], cells)


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
    """Of the table ``aggregates``: signal over noise of the mean of each metric, and what pure noise would give."""
    rows = _by(table, ["family", "benchmark", "metric"])

    def cells(family: str, benchmark: str) -> list[Cell]:
        result = []
        for metric in _CHAIN:
            row = rows.get((family, benchmark, metric))
            if row is None or pd.isna(row["signal_to_noise"]):
                result.append(Cell("–"))
                continue
            value, chance = float(row["signal_to_noise"]), row["signal_to_noise_chance"]
            beyond = row["above_noise"] is not None and not pd.isna(row["above_noise"]) and bool(row["above_noise"])
            beside = None if pd.isna(chance) else f"{'beyond' if beyond else 'within'} ±{format_number(chance, 1)}"
            result.append(Cell(format_number(value, 1), beside, float(row["spearman"]) if beyond else None, value))
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
            if not known:
                cells += [Cell("–"), Cell("–")]
                continue
            low, high, above = (float(row[name]) for name in ("q025", "q975", "fraction_above_075"))
            cells.append(Cell(f"{format_number(low)} to {format_number(high)}", None, None, None, low, high))
            cells.append(Cell("< 0.1 %" if above < 0.0005 else format_share(above, 1), None, None, above))
        result.append(Row(None, label, cells))
    columns = ["checkpoints"]
    for method in methods:
        columns += [f"{method.capitalize()}: middle 95 %", "above 0.75"]
    return [Short(None, columns, result, "family")]


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
            value = float(worst["difference"])
            if abs(value) < 0.0005:
                cells.append(Cell("0" if value == 0 else "< 0.001", None, None, value))
            else:
                where = f"{labels.get(worst['benchmark'], worst['benchmark'])}, {worst['method']}"
                cells.append(Cell(("+" if value > 0 else "") + format_number(value, 3), where, None, value))
        rows.append(Row(None, METRIC_NAMES.get(str(metric), str(metric)), cells))
    return [Short(None, list(statistics.values()), rows, "metric")]


def _plotted(frame: pd.DataFrame, families: Mapping[str, str]) -> pd.DataFrame:
    return frame[frame["family"].isin(list(families))]


def _keys(families: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, Key]:
    return {
        "family": Key("family", "family", families, named=True),
        "benchmark": Key("benchmark", "benchmark", labels, named=True),
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
        "headline": (
            [*about, keys["metric"], keys["method"]],
            [
                Number("mean", "mean", interval=True),
                Number("mean", "mean, other checkpoints", interval=("mean_checkpoints_low", "mean_checkpoints_high")),
                Number("mean", "mean, other models", interval=("mean_models_low", "mean_models_high")),
                Number("shuffled_low", "shuffled, from"),
                Number("shuffled_high", "to"),
                Number("p_value", "p", "significant"),
                Number("median", "median"),
                Number("nan_fraction", "share undefined", "share"),
                Number("benchmark_correlation", "C of the mean score"),
                *n,
            ],
        ),
        "predictability": (
            [
                *about,
                Key("kind", "kind", kinds),
                keys["metric"],
                keys["method"],
                Key("recommended", "recommended", {True: "yes", False: "no"}),
                Key("reason", "why not", {None: ""}),
            ],
            [
                Number("rank", "rank", "count"),
                Number("mean", "mean"),
                Number("gap", "behind the best", interval=True),
                Number("p_adjusted", "p, adjusted", "significant"),
                Number("skill_right", "C on right items"),
                Number("skill_wrong", "C on wrong items"),
                Number("median", "median", interval=True),
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
                        "mean_of_orders": "mean of both",
                        "exponentiate_first": "exponentiate first",
                        "renormalise_first": "renormalise first",
                    },
                    chosen="mean of both",
                ),
                Key("method", "method", chosen="spearman"),
                Key("nan_policy", "undefined", chosen="zero"),
            ],
            [
                Number("correlation_before", "before"),
                Number("correlation_after", "after"),
                Number("drop", "drop", interval=True),
                Number("drop_least", "smaller of both orders"),
                Number("drop_most", "larger"),
                Number("drop_undefined", "due to undefined"),
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
                Number("signal_to_noise_chance", "± by pure noise", "significant"),
                Number("p_value", "p", "significant"),
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
