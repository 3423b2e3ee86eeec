"""Predictability: which score of a benchmark follows compute best, item by item, ranked.

For one family × benchmark × method, the scores are ranked by the median over items of their correlation with compute,
undefined correlations counting as 0 (an item whose score never changes says nothing of scale); ties go to the larger
mean, then to the earlier in the metrics' order. There are two kinds, each with a ranking of its own:

- ``mass``: of the text of the right choice alone, or of all choices: they follow compute, but do not tell whether the
  model would choose right;
- ``comparison``: of the right choice with the wrong ones, as accuracy is.

The mass on wrong choices is no score and left out. ``recommended`` marks the first of each kind whose median exceeds 0
by its whole 95 % interval (for other items); a kind without any has no recommendation: on that benchmark nothing of the
kind follows these checkpoints' compute. Ranks do not see p_vocab, which is left out except under Pearson.
"""

from __future__ import annotations

import polars as pl

from elusive import logs
from elusive.analysis.metrics import METRICS, VARIANTS, FilePath
from elusive.errors import ElusiveError
from elusive.tables import read_table, write_csv, write_table

logger = logs.get(__name__)

MASSES = frozenset(
    {"log_p_vocab_correct", "p_vocab_correct", "log_p_vocab_choices", "is_greedy", "log_p_vocab_correct_pmi"}
)
_NO_SCORES = frozenset({"log_p_vocab_incorrect", "p_vocab_incorrect"})
_VALUES = ["median", "median_low", "median_high", "mean", "fraction_above_075", "nan_fraction"]


def rank_scores(statistics: pl.DataFrame) -> pl.DataFrame:
    """The ``predictability`` rows of a correlation_statistics table: whole benchmarks, undefined counted as 0.

    Rows are sorted by family, benchmark, method, kind and rank.
    """
    order = {name: number for number, name in enumerate((*METRICS, *VARIANTS))}
    unseen = (pl.col("metric") == "p_vocab_correct") & (pl.col("method") != "pearson")
    scores = statistics.filter(
        pl.col("subject").is_null(), pl.col("nan_policy") == "zero", ~pl.col("metric").is_in(_NO_SCORES), ~unseen
    ).with_columns(
        pl.when(pl.col("metric").is_in(MASSES)).then(pl.lit("mass")).otherwise(pl.lit("comparison")).alias("kind"),
        pl.col("metric").replace_strict(order, return_dtype=pl.Int32).alias("order"),
    )
    groups = ["family", "benchmark", "method", "kind"]
    ranked = scores.sort(
        *groups, "median", "mean", "order", descending=[False] * 4 + [True, True, False], nulls_last=True
    ).with_columns(pl.int_range(1, pl.len() + 1, dtype=pl.Int32).over(groups).alias("rank"))
    convincing = (pl.col("median_low") > 0).fill_null(False)
    first = pl.col("rank").filter(convincing).min().over(groups)
    return ranked.with_columns((convincing & (pl.col("rank") == first)).alias("recommended")).select(
        *groups, "rank", "metric", "recommended", "num_items", "num_models", *_VALUES
    )


def write_predictability(*, statistics: FilePath, output_parquet: FilePath, output_csv: FilePath) -> None:
    """Write the table ``predictability`` of a correlation_statistics table as Parquet and CSV."""
    keys = ["family", "benchmark", "subject", "metric", "method", "nan_policy", "num_items", "num_models"]
    table = rank_scores(pl.from_arrow(read_table(statistics, "correlation_statistics", [*keys, *_VALUES])))
    if table.is_empty():
        raise ElusiveError(f"{statistics}: has no statistics of whole benchmarks to rank")
    write_table(table.to_arrow(), output_parquet, "predictability")
    write_csv(read_table(output_parquet, "predictability"), output_csv)
    logger.info("predictability: %d rows, %d recommended", len(table), table["recommended"].sum())
