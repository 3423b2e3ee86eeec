"""Attribution: how much of the fall from log p_vocab to a score each transformation of the chain causes.

For one family × benchmark × method, with C(m) the mean over items of metric m's correlation with compute, the fall
C(log p_vocab) - C(score) is the sum of the steps on the way::

    exponentiate   log p_vocab -> p_vocab          or   log p_choices -> p_choices
    renormalise    p_vocab -> p_choices            or   log p_vocab -> log p_choices
    threshold      p_choices -> accuracy           (the score is accuracy)
    square         p_choices -> -Brier             (the score is the Brier score, negated)

The first two commute, and how much each causes depends on which comes first: ``order`` says which
(``exponentiate_first`` is the paper's). Ranks do not see an exponential, so that under Spearman and Kendall
exponentiating causes exactly nothing. A step that gains correlation has a negative drop; the drops of a path add up
exactly to its ``total``.

All metrics of a path must be on the same items. ``nan_policy`` ``drop`` keeps the items on which all of them are
defined, ``zero`` keeps every item and takes an undefined correlation as none at all, 0.

``*_low`` and ``*_high`` are 95 % intervals for drawing other items, as in :mod:`elusive.statistics`. ``share`` is the
step's drop in units of the total; its interval is that of the mean of the linearised ratio, and both are null where the
interval of the total has 0 in it: a share of nothing says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from elusive import logs
from elusive.correlations import METHODS
from elusive.errors import ElusiveError
from elusive.metrics import FilePath
from elusive.statistics import NAN_POLICIES, bootstrap_seed, distribution_statistics, drawing_units
from elusive.tables import SCHEMAS, read_metadata, read_table, write_csv, write_table

logger = logs.get(__name__)

#: score -> order -> the steps (name, metric after it), starting from log_p_vocab_correct.
PATHS: dict[str, dict[str, tuple[tuple[str, str], ...]]] = {
    score: {
        "exponentiate_first": (
            ("exponentiate", "p_vocab_correct"),
            ("renormalise", "p_choices_correct"),
            (last, score),
        ),
        "renormalise_first": (
            ("renormalise", "log_p_choices_correct"),
            ("exponentiate", "p_choices_correct"),
            (last, score),
        ),
    }
    for score, last in (("accuracy", "threshold"), ("brier", "square"))
}
START = "log_p_vocab_correct"
STEPS = ("exponentiate", "renormalise", "threshold", "square", "total")


def decompose(path: np.ndarray, clusters: np.ndarray | None, seed: int) -> dict[str, np.ndarray]:
    """Drops of a path: ``path`` [items, metrics] holds correlations without NaN, from the first metric to the last.

    Returns columns of the table, float64 [steps + 1], the total last. ``clusters`` [items] and ``seed`` are
    those of :func:`~elusive.statistics.distribution_statistics`. All NaN for no items.
    """
    before = np.concatenate([path[:, :-1], path[:, :1]], axis=1)
    after = np.concatenate([path[:, 1:], path[:, -1:]], axis=1)
    drops = before - after
    names = ("correlation_before", "correlation_after", "drop", "drop_low", "drop_high")
    names += ("share", "share_low", "share_high")
    result = {name: np.full(drops.shape[1], np.nan) for name in names}
    if len(path) == 0:
        return result
    found = distribution_statistics(drops, clusters, seed)
    result |= {"correlation_before": before.mean(axis=0), "correlation_after": after.mean(axis=0)}
    result |= {f"drop{bound}": found[f"mean{bound}"] for bound in ("", "_low", "_high")}
    total, low, high = (result[f"drop{bound}"][-1] for bound in ("", "_low", "_high"))
    if low * high > 0:
        share = result["drop"] / total
        linear = share + (drops - share * drops[:, -1:]) / total
        found = distribution_statistics(linear, clusters, seed)
        result |= {"share": share, "share_low": found["mean_low"], "share_high": found["mean_high"]}
    return result


def attribute(correlations: pa.Table, path: FilePath, items: FilePath | None = None) -> pa.Table:
    """The attribution rows of one correlations table; ``path`` names it in error messages.

    ``items`` is the benchmark's items table, which says what items are drawn together.
    """
    frame = pl.from_arrow(correlations)
    family, benchmark, num_models = frame.select("family", "benchmark", "num_models").unique().row(0)
    wide = {
        method: frame.filter(method=method).pivot("metric", index=["item", "subject"], values="correlation")
        for method in METHODS
    }
    rows = []
    clusters = drawing_units(wide[METHODS[0]], items)
    for method, columns in wide.items():
        for score, orders in PATHS.items():
            for order, steps in orders.items():
                metrics = [START, *(metric for _, metric in steps)]
                if missing := [metric for metric in metrics if metric not in columns.columns]:
                    raise ElusiveError(f"{path}: has no rows for metric {missing[0]!r} by method {method!r}")
                values = columns.select(metrics).to_numpy()
                for policy in NAN_POLICIES:
                    kept = ~np.isnan(values).any(axis=1) if policy == "drop" else np.ones(len(values), bool)
                    found = decompose(
                        np.nan_to_num(values[kept], nan=0.0),
                        None if clusters is None else clusters[kept],
                        bootstrap_seed(benchmark, None),
                    )
                    key = {"family": family, "benchmark": benchmark, "method": method, "score": score, "order": order}
                    key |= {"nan_policy": policy, "num_items": int(kept.sum()), "num_models": num_models}
                    for i, step in enumerate((*(name for name, _ in steps), "total")):
                        numbers = {name: float(column[i]) for name, column in found.items()}
                        rows.append(key | {"step": step} | {k: None if v != v else v for k, v in numbers.items()})
    return pa.Table.from_pylist(rows, SCHEMAS["attribution"])


def write_attribution(
    *,
    correlations: Sequence[FilePath],
    output_parquet: FilePath,
    output_csv: FilePath,
    items: Sequence[FilePath] = (),
) -> None:
    """Write the attribution table of all ``correlations`` tables as Parquet and CSV.

    ``items`` are the benchmarks' items tables. Rows are sorted by family and benchmark, then by method, score,
    order, NaN policy and step in the orders of each, whatever the order of the files.
    """
    columns = ["family", "benchmark", "subject", "item", "metric", "method", "correlation", "num_models"]
    about = {read_metadata(path)["benchmark"]: path for path in items}
    tables = []
    for path in correlations:
        table = read_table(path, "correlations", columns)
        tables.append(attribute(table, path, about.get(table["benchmark"][0].as_py())))
    if not tables:
        raise ElusiveError(f"{output_parquet}: there are no correlations to attribute")
    tables.sort(key=lambda table: (table["family"][0].as_py(), table["benchmark"][0].as_py()))
    table = pa.concat_tables(tables).combine_chunks()
    write_table(table, output_parquet, "attribution")
    write_csv(table, output_csv)
    logger.info("attribution: %d rows of %d families × benchmarks", len(table), len(tables))
