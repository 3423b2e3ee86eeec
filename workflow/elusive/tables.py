"""The data contract: the tables that leave the workflow, their columns, types and order, and how they are kept.

Every table is Parquet with zstd compression and one row group order that depends on the data alone, so that two
runs give the same bytes. Extra columns are allowed, the ones below never miss. The Parquet key-value metadata
``elusive`` carries a JSON object saying where the table came from, ``elusive_schema`` the version of this contract.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from elusive.errors import ElusiveError
from elusive.files import atomic_path

METADATA_KEY = b"elusive"

#: Version of the contract below: of the tables, their columns in order, types, units, and where nulls may be. It stands
#: in every file. A test holds a digest of each version, so that the contract cannot change under an old number; who
#: changes what a column means under the same name and type raises it as well.
SCHEMA_VERSION = 4
SCHEMA_KEY = b"elusive_schema"


@dataclass(frozen=True)
class _Column:
    """A column of the contract: what it means stands in the files as well, as metadata of the field."""

    name: str
    type: pa.DataType
    meaning: str
    unit: str = ""
    nullable: bool = False

    def field(self) -> pa.Field:
        about = {"description": self.meaning} | ({"unit": self.unit} if self.unit else {})
        return pa.field(self.name, self.type, nullable=self.nullable, metadata=about)


def _schema(*columns: _Column | tuple[str, pa.DataType] | tuple[str, pa.DataType, bool]) -> pa.Schema:
    """A schema of columns; a tuple (name, type, nullable) is one whose meaning is not written down yet."""
    return pa.schema(
        [
            column.field() if isinstance(column, _Column) else pa.field(*column[:2], nullable=column[2:] == (True,))
            for column in columns
        ]
    )


_MODEL = _Column("model", pa.string(), "name of the model")
_CHECKPOINT = _Column("checkpoint", pa.string(), "name of the checkpoint")
_PARAMETERS = _Column("parameters", pa.int64(), "N, parameters of the model, embeddings included")
_TOKENS = _Column("tokens", pa.int64(), "D, tokens that the checkpoint was trained on", "tokens")
_FLOPS = _Column("flops", pa.float64(), "training compute 6·N·D; of rounded N and D under compute: nominal", "FLOPs")
_FAMILY = _Column("family", pa.string(), "name of the family of checkpoints")
_BENCHMARK = _Column("benchmark", pa.string(), "name of the benchmark")
_ITEM = _Column("item", pa.string(), "id of the item, unique within its benchmark")
_SUBJECT = _Column("subject", pa.string(), "subject of the item; null for benchmarks without subjects", nullable=True)
_CLUSTER = _Column("cluster", pa.string(), "equal for items that ask about the same text; null for others", "", True)
_DATASET = _Column("dataset", pa.string(), "repository of the data set on the hub, or name of the file", "", True)
_REVISION = _Column("revision", pa.string(), "commit of that repository; null if not known", "", True)
_SPLIT = _Column("split", pa.string(), "its split; null for a file", "", True)
_WHOLE = replace(_SUBJECT, meaning="subject that the row is of; null for the whole benchmark")
_NUM_CHOICES = _Column("num_choices", pa.int8(), "K, number of choices of the item")
_METRIC = _Column("metric", pa.string(), "name of the metric, a column of the metrics tables")
_METHOD = _Column("method", pa.string(), "pearson, spearman or kendall")
_NUM_MODELS = _Column("num_models", pa.int32(), "number of checkpoints correlated")
_NUM_ITEMS = _Column("num_items", pa.int32(), "number of items")
_INTERVAL_NOTE = _Column(
    "interval_note", pa.string(), "why intervals are missing; null where all are there", nullable=True
)
_NUM_RUNS = _Column("num_runs", pa.int32(), "number of models that these checkpoints belong to")


_PROTOCOL = _Column(
    "protocol", pa.string(), "R: rolling by compute, S: the next size, T: training of the largest model"
)
_ORIGIN = _Column("origin", pa.float64(), "log10 of the largest compute learnt from", "log10 FLOPs")
_HORIZON = _Column("horizon", pa.float64(), "log10 of the target's compute over the largest learnt from", "decades")
_BIN = _Column("bin", pa.string(), "class of horizons: x1.5, x3, x10 or x30 times the compute", "", True)
_FORECAST_METHOD = _Column("method", pa.string(), "how it is forecast: km, last or another of elusive.forecast.methods")
_TARGET = [
    _Column("target", pa.string(), "what the configuration calls the target"),
    replace(_PARAMETERS, meaning="N of the target, embeddings included"),
    replace(_TOKENS, meaning="D of the target, training tokens"),
    replace(_FLOPS, meaning="6·N·D of the target"),
]


def _score(name: str, meaning: str, unit: str = "", nullable: bool = False) -> _Column:
    return _Column(name, pa.float64(), meaning, unit, nullable)


def _with_interval(statistics: Mapping[str, str]) -> list[_Column]:
    """Columns of each statistic and of the ends of its interval."""
    ends = {"": "", "_low": ": lower end of its 95 % interval", "_high": ": upper end of its 95 % interval"}
    return [
        _Column(f"{name}{end}", pa.float64(), f"{meaning}{text}", nullable=True)
        for name, meaning in statistics.items()
        for end, text in ends.items()
    ]


_INTERVALS = [
    _Column(f"{end}{level}", pa.float64(), f"{text} end of the {level} % interval", "", True)
    for level in (50, 80, 95)
    for end, text in (("low", "lower"), ("high", "upper"))
]
_INFLATION = [
    _Column("interval", pa.string(), "where intervals come from: draws, errors (earlier ones) or none"),
    _Column("inflation", pa.float64(), "factor by which earlier errors say to widen intervals of draws", "", True),
    _Column("num_inflation", pa.int32(), "number of earlier errors that the interval, or its factor, rests on"),
]
_MOVEMENT = _score("movement", "common wandering of the items over that of as many independent ones", "", True)

#: table name -> required columns with their types, meanings and units, in the order in which they are written.
SCHEMAS: dict[str, pa.Schema] = {
    "items": _schema(
        _ITEM,
        _SUBJECT,
        _Column(
            "contexts",
            pa.list_(pa.string()),
            "what stands before the scored text: one per choice, or one for all; null where texts are not known",
            nullable=True,
        ),
        _Column(
            "continuations",
            pa.list_(pa.string()),
            "the scored text: one per choice, or one for all; null where texts are not known",
            nullable=True,
        ),
        _Column("gold", pa.int8(), "index of the correct choice, from 0"),
        _NUM_CHOICES,
    ),
    "logprobs": _schema(
        _ITEM,
        _Column("choice", pa.int8(), "index of the choice, from 0"),
        _Column("is_gold", pa.bool_(), "whether the choice is the correct one"),
        _Column("log_likelihood", pa.float64(), "natural log of P(continuation | context), summed over tokens", "nats"),
        _Column("num_tokens", pa.int32(), "tokens of the continuation; null if imported logs lack it", "tokens", True),
        _Column(
            "num_bytes",
            pa.int32(),
            "UTF-8 bytes of the choice's text; null if imported logs have no texts",
            "bytes",
            True,
        ),
        _Column(
            "num_chars",
            pa.int32(),
            "characters of the choice's text; null if imported logs have no texts",
            "characters",
            True,
        ),
        _Column(
            "is_greedy",
            pa.bool_(),
            "whether each token of the continuation is the likeliest one at its place; null if imported logs lack it",
            "",
            True,
        ),
    ),
    "metrics": _schema(
        _MODEL,
        _CHECKPOINT,
        _PARAMETERS,
        _TOKENS,
        _FLOPS,
        _BENCHMARK,
        _SUBJECT,
        _ITEM,
        _NUM_CHOICES,
        _score("log_p_vocab_correct", "log-likelihood of the correct choice", "nats"),
        _score("p_vocab_correct", "probability of the correct choice's text"),
        _score("log_p_vocab_incorrect", "log of the summed probabilities of the wrong choices' texts", "nats"),
        _score("p_vocab_incorrect", "summed probabilities of the wrong choices' texts"),
        _score("log_p_choices_correct", "log of p_choices_correct", "nats"),
        _score("p_choices_correct", "the correct choice's share of the probability of all choices"),
        _score(
            "brier", "mean over choices of (1 if correct, else 0, minus the choice's share) squared; lower is better"
        ),
        _score("log_brier", "log of brier times num_choices / 2: what brier is ranked by, since it rounds to no ties"),
        _score("accuracy", "1 if the correct choice has the largest log-likelihood (the first of equal ones), else 0"),
        _score(
            "accuracy_norm",
            "1 if it has the largest log-likelihood per character, else 0: lm-eval's acc_norm; null if imported logs "
            "lack the texts of the choices",
            "",
            True,
        ),
        _score("margin_log", "log-likelihood of the correct choice minus that of the best wrong one", "nats"),
    ),
    "correlations": _schema(
        _FAMILY,
        _BENCHMARK,
        _SUBJECT,
        _ITEM,
        _METRIC,
        _METHOD,
        _Column(
            "correlation",
            pa.float64(),
            "of the item's metric (losses negated) with log10 FLOPs over the family's checkpoints; null if undefined",
            nullable=True,
        ),
        _NUM_MODELS,
    ),
    "correlation_statistics": _schema(
        _FAMILY,
        _BENCHMARK,
        _WHOLE,
        _METRIC,
        _METHOD,
        _Column("nan_policy", pa.string(), "undefined correlations: drop leaves them out, zero counts them as 0"),
        _NUM_ITEMS,
        _NUM_MODELS,
        _Column("nan_fraction", pa.float64(), "share of the items whose correlation is undefined"),
        *_with_interval(
            {
                "mean": "mean correlation over items",
                "median": "median correlation over items",
                "auc": "area under the survival function P(C > c) over [-1, 1]: 1 + mean",
                "neg_wasserstein": "minus the Wasserstein distance to the nearer of all +1 and all -1: |mean| - 1",
                "fraction_above_075": "share of items with a correlation above 0.75",
            }
        ),
    ),
    "choices": _schema(
        _FAMILY,
        _BENCHMARK,
        _SUBJECT,
        _ITEM,
        _Column("choice", pa.int8(), "index of the choice, from 0"),
        _Column("is_gold", pa.bool_(), "whether the choice is the correct one"),
        _NUM_CHOICES,
        _Column(
            "num_chars",
            pa.int32(),
            "characters of the choice's text; null if imported logs have no texts",
            "characters",
            True,
        ),
        _NUM_MODELS,
        _score("mean_log_likelihood", "mean over the checkpoints of the choice's log-likelihood", "nats"),
        *[
            _score(method, f"{method.capitalize()} correlation of its log-likelihood with log10 FLOPs", "", True)
            for method in ("pearson", "spearman", "kendall")
        ],
        _score("slope", "least-squares slope of its log-likelihood on log10 FLOPs", "nats per tenfold compute", True),
        _score("residual_sd", "standard deviation around that line, n - 2 degrees of freedom", "nats", True),
        _score(
            "comovement",
            "Spearman correlation over the checkpoints with the correct choice's log-likelihood; null for that itself",
            "",
            True,
        ),
        _score(
            "comovement_partial",
            "Pearson correlation of its residuals with the correct choice's; null for that itself",
            "",
            True,
        ),
    ),
    "mechanism": _schema(
        _FAMILY,
        _BENCHMARK,
        _Column("quantity", pa.string(), "what the value is, one of those that elusive.analysis.mechanism describes"),
        _Column("num_items", pa.int32(), "number of items on which the quantity is defined"),
        _NUM_MODELS,
        *_with_interval({"value": "value of the quantity"}),
    ),
    "mechanism_drops": _schema(
        _FAMILY,
        _BENCHMARK,
        _Column("factor", pa.string(), "by what items are grouped: num_choices, choice_length or comovement"),
        _Column("group", pa.int32(), "number of the group, from 0, in ascending order of the factor"),
        _score("level", "mean of the factor in the group"),
        _NUM_ITEMS,
        _NUM_MODELS,
        *_with_interval({"drop": "mean Spearman correlation with compute lost from log p_vocab to p_choices"}),
    ),
    "predictability": _schema(
        _FAMILY,
        _BENCHMARK,
        _METHOD,
        _Column(
            "kind", pa.string(), "mass: of the right choice or of all; comparison: of the right with the wrong ones"
        ),
        _Column("rank", pa.int32(), "rank within the kind by the mean correlation, 1 being the best"),
        _METRIC,
        _Column(
            "recommended", pa.bool_(), "whether it follows compute, shows skill and is not behind the best of its kind"
        ),
        _Column("reason", pa.string(), "the first thing that it lacks to be recommended; null if it is", nullable=True),
        _NUM_ITEMS,
        _NUM_MODELS,
        _score("median", "median over items of the correlation with compute, undefined ones counted as 0", "", True),
        _score("median_low", "lower end of its 95 % interval", "", True),
        _score("median_high", "upper end of its 95 % interval", "", True),
        _score("mean", "mean over items of the correlation, as in headline", "", True),
        _score("mean_checkpoints_low", "lower end of its 95 % interval, by leaving single checkpoints out", "", True),
        _score("mean_models_low", "lower end of its 95 % interval, by leaving whole models out", "", True),
        _score("fraction_above_075", "share of items whose correlation exceeds 0.75", "", True),
        _score("nan_fraction", "share of items whose correlation is undefined"),
        _score("p_value", "share of the orders of compute whose mean is no less, as in headline", "", True),
        _score("p_adjusted", "the same, corrected for choosing among all scores and methods", "", True),
        _Column(
            "follows", pa.bool_(), "whether p_adjusted is at most 0.05 and its intervals over checkpoints are above 0"
        ),
        _Column(
            "skill", pa.bool_(), "whether it rises on right and on wrong items, as no change of temperature makes it do"
        ),
        _score("skill_right", "Kendall correlation with compute on items that other checkpoints get right", "", True),
        _score("skill_wrong", "the same on items that other checkpoints get wrong", "", True),
        _score("skill_p_value", "the larger of the two sides' shares of orders of compute with as much", "", True),
        _Column("tied", pa.bool_(), "whether it cannot be told from the best of its kind by the intervals of gap"),
        _score("gap", "mean over items of the best score's correlation minus its own", "", True),
        *[
            _score(f"gap{how}_{bound}", f"{end} end of its 95 % interval{over}", "", True)
            for how, over in {
                "": " for other items",
                "_checkpoints": ", by leaving single checkpoints out",
                "_models": ", by leaving whole models out",
            }.items()
            for bound, end in {"low": "lower", "high": "upper"}.items()
        ],
    ),
    "headline": _schema(
        _FAMILY,
        _BENCHMARK,
        _METRIC,
        _METHOD,
        _NUM_ITEMS,
        _NUM_MODELS,
        _NUM_RUNS,
        _score("nan_fraction", "share of items whose correlation is undefined"),
        _score("mean", "mean over all items of the correlation with compute, undefined ones counted as 0"),
        *[
            _score(f"mean{how}_{bound}", f"{end} end of its 95 % interval{over}", "", True)
            for how, over in {
                "": " for other items",
                "_checkpoints": ", by leaving single checkpoints out",
                "_models": ", by leaving whole models out",
            }.items()
            for bound, end in {"low": "lower", "high": "upper"}.items()
        ],
        _score("median", "median over all items of the correlation, undefined ones counted as 0"),
        _score("shuffled_low", "the mean is below it in at most 2.5 % of the orders of compute", "", True),
        _score("shuffled_high", "the mean is above it in at most 2.5 % of the orders of compute", "", True),
        _score("p_value", "share of the orders of compute, the real one among them, whose mean is no less", "", True),
        _score("p_adjusted", "the same, corrected for choosing among the benchmark's scores and methods", "", True),
        _Column("above_shuffled", pa.bool_(), "whether the mean is above shuffled_high (p_value ≤ 0.025)", "", True),
        _Column("below_shuffled", pa.bool_(), "whether the mean is below shuffled_low", "", True),
        _Column("num_orders", pa.int32(), "number of orders of compute compared"),
        _Column("exact", pa.bool_(), "whether these are all orders; else they are drawn"),
        _score("least_p_value", "smallest p_value that so many checkpoints can give"),
        _score("benchmark_correlation", "correlation with log10 FLOPs of the score's mean over items", "", True),
        _score("benchmark_p_value", "share of the orders of compute in which that is no less", "", True),
        _Column("note", pa.string(), "why nothing can be said of shuffled compute; null where it can", nullable=True),
    ),
    "means": _schema(
        _MODEL,
        _CHECKPOINT,
        _PARAMETERS,
        _TOKENS,
        _FLOPS,
        _BENCHMARK,
        _METRIC,
        _NUM_ITEMS,
        _score("mean", "mean of the metric over the items"),
        _score("se", "its standard error for drawing other items, those of one text or subject together", "", True),
    ),
    "aggregates": _schema(
        _FAMILY,
        _BENCHMARK,
        _METRIC,
        _NUM_ITEMS,
        _NUM_MODELS,
        _score("pearson", "Pearson correlation of the mean score (losses negated) with log10 FLOPs", "", True),
        _score("spearman", "Spearman correlation of the mean score (losses negated) with FLOPs", "", True),
        _score("range", "largest minus smallest mean score of the checkpoints", "", True),
        _score("noise", "standard deviation of the mean scores around a smooth curve of log10 FLOPs", "", True),
        _score("signal", "standard deviation of the mean scores beyond that noise; below 0 if they fall", "", True),
        _score("item_noise", "median standard error of the mean scores over items", "", True),
        _score("signal_to_noise", "signal / noise", "", True),
        _score("signal_to_noise_chance", "its size that pure noise exceeds in 5 % of cases", "", True),
        _score("p_value", "probability that pure noise has as much signal", "", True),
        _Column("above_noise", pa.bool_(), "whether p_value is at most 0.05", "", True),
    ),
    "attribution": _schema(
        _FAMILY,
        _BENCHMARK,
        _METHOD,
        _Column("score", pa.string(), "metric that the path from log_p_vocab_correct ends in: accuracy or brier"),
        _Column(
            "order",
            pa.string(),
            "which of two steps comes first: exponentiate_first or renormalise_first; mean_of_orders: the mean of both",
        ),
        _Column(
            "nan_policy", pa.string(), "undefined correlations: drop leaves their items out, zero counts them as 0"
        ),
        _Column("step", pa.string(), "exponentiate, renormalise, threshold or square; total: all steps of the path"),
        replace(_NUM_ITEMS, meaning="number of items, the same for all metrics of the path"),
        _NUM_MODELS,
        _score("correlation_before", "mean correlation over items of the metric before the step", "", True),
        _score("correlation_after", "mean correlation over items of the metric after the step", "", True),
        *_with_interval(
            {
                "drop": "correlation_before minus correlation_after",
                "share": "drop in units of the path's total; null where that is below 0.05 or its interval has 0 in it",
            }
        ),
        _score("drop_undefined", "part of the drop due to items that lack a correlation before or after", "", True),
        _score("drop_least", "smaller of the drops of the step in the two orders", "", True),
        _score("drop_most", "larger of the drops of the step in the two orders", "", True),
        _Column(
            "costliest",
            pa.bool_(),
            "whether the drop is above 0 and above every other step's beyond the intervals; null where share is, "
            "and for the total",
            nullable=True,
        ),
    ),
    "checkpoints": _schema(
        _MODEL,
        _CHECKPOINT,
        _PARAMETERS,
        _Column("parameters_nonembedding", pa.int64(), "parameters outside the embeddings; null if unknown", "", True),
        _TOKENS,
        _FLOPS,
        _Column("flops_nonembedding", pa.float64(), "6·D times the parameters outside the embeddings", "FLOPs", True),
        _Column("validation_loss", pa.float64(), "loss on held-out text, if trained here", "nats per token", True),
    ),
    "ceiling": _schema(
        _FAMILY,
        _Column("axis", pa.string(), "along what the checkpoints vary: tokens, parameters, both or neither"),
        _NUM_MODELS,
        _NUM_RUNS,
        _Column("num_losses", pa.int32(), "number of checkpoints whose validation loss is known"),
        _Column("variable", pa.string(), "flops, tokens or parameters, of which the logarithm is correlated"),
        _METHOD,
        _score("correlation", "correlation with it of the validation loss, negated", "", True),
        _score("correlation_low", "lower end of its 95 % interval, by leaving single checkpoints out", "", True),
        _score("correlation_high", "upper end of its 95 % interval, by leaving single checkpoints out", "", True),
        _score("p_value", "share of the orders of the variable in which it is no less", "", True),
        _Column("above_shuffled", pa.bool_(), "whether p_value is at most 0.025", "", True),
        _Column("note", pa.string(), "why a correlation or its p_value is missing; null if none is", nullable=True),
    ),
    "audit": _schema(
        _FAMILY,
        _Column("kind", pa.string(), "equal, off_trend, truncated, dropped, warning, ties or mixture"),
        replace(_MODEL, meaning="name of the model; null where it is about several", nullable=True),
        replace(_CHECKPOINT, meaning="name of the checkpoint; null where it is about several", nullable=True),
        replace(_BENCHMARK, meaning="name of the benchmark; null where it is about all", nullable=True),
        _score(
            "value",
            "share of the items concerned (truncated, dropped, ties), or distance (off_trend) in units of the range of "
            "the other checkpoints",
            "",
            True,
        ),
        _Column("text", pa.string(), "what there is to look at, as a sentence"),
    ),
    "scores": _schema(
        _MODEL,
        _CHECKPOINT,
        _PARAMETERS,
        _TOKENS,
        _FLOPS,
        _BENCHMARK,
        _NUM_ITEMS,
        _score("chance", "expected accuracy of guessing: mean over items of 1/K"),
        _score("accuracy", "share of items whose correct choice has the largest log-likelihood"),
        _score("accuracy_se", "standard error of accuracy over items; null for a single one", nullable=True),
        _score("above_chance_se", "accuracy minus chance, in the standard errors that guessing would have"),
        _score(
            "accuracy_norm",
            "share of items whose correct choice has the largest log-likelihood per character; null if imported logs "
            "lack the texts of the choices",
            "",
            True,
        ),
        _score("p_choices_correct", "mean over items of the correct choice's share among the choices"),
        _score("brier", "mean Brier score over items; lower is better"),
        _score("log_p_vocab_correct", "mean log-likelihood of the correct choice over items", "nats"),
    ),
    "null_bands": _schema(
        _FAMILY,
        _BENCHMARK,
        _METHOD,
        _Column("source", pa.string(), "exact, monte_carlo, or normal_scores (exact for scores that are normal)"),
        _NUM_MODELS,
        _NUM_ITEMS,
        *[
            _score(name, f"{what} of one item's correlation when scores have nothing to do with compute")
            for name, what in {
                "q025": "2.5 % quantile",
                "q25": "lower quartile",
                "median": "median",
                "q75": "upper quartile",
                "q975": "97.5 % quantile",
                "deviation": "standard deviation",
            }.items()
        ],
        _score("fraction_above_075", "probability that it is above 0.75"),
        _score("fraction_below_0", "probability that it is below 0"),
        *[
            _score(f"{statistic}_{kind}{bound}", f"{level} quantile of {what} if {how}")
            for statistic, what in {
                "mean": "the mean over num_items items",
                "median": "their median",
                "fraction_above_075": "their share above 0.75",
            }.items()
            for kind, how in {
                "independent": "items are independent of each other",
                "dependent": "all items follow one order of the checkpoints",
            }.items()
            for bound, level in {"_low": "2.5 %", "_high": "97.5 %"}.items()
        ],
        _score("least_p_value", "smallest p-value that shuffling the checkpoints' compute can give"),
        _Column("note", pa.string(), "why shuffling can tell nothing; null where it can", nullable=True),
    ),
    "null_curves": _schema(
        _FAMILY,
        _METHOD,
        _Column("source", pa.string(), "exact, monte_carlo, or normal_scores (exact for scores that are normal)"),
        _NUM_MODELS,
        _score("correlation", "value c of one item's correlation"),
        _score("survival", "probability that it is above c when scores have nothing to do with compute"),
        _Column("is_step", pa.bool_(), "whether the probability holds up to the next c; else it is smooth"),
    ),
    "checkpoint_intervals": _schema(
        _FAMILY,
        _BENCHMARK,
        _METRIC,
        _METHOD,
        _NUM_ITEMS,
        _NUM_MODELS,
        _NUM_RUNS,
        _score("mean", "mean correlation over items", nullable=True),
        _score("median", "median correlation over items", nullable=True),
        *[
            _score(f"{statistic}_{name}{bound}", f"{end} end of its 95 % interval, by leaving {what} out", "", True)
            for name, what in {"checkpoints": "single checkpoints", "models": "whole models"}.items()
            for statistic in ("mean", "median")
            for bound, end in {"_low": "lower", "_high": "upper"}.items()
        ],
        *[
            _score(
                f"mean_shuffled_{bound}", f"the mean is {where} it in at most 2.5 % of the orders of compute", "", True
            )
            for bound, where in {"low": "below", "high": "above"}.items()
        ],
        _score("p_shuffled", "share of the orders of compute whose mean is no less", "", True),
        _Column("num_orders", pa.int32(), "number of orders of compute compared"),
        _score("lag1_autocorrelation", "of rank residuals between a model's neighbouring checkpoints", "", True),
        _score("effective_checkpoints", "independent checkpoints that would say as much, by it", "", True),
        _Column("note", pa.string(), "what is missing for want of checkpoints; null if nothing is", nullable=True),
    ),
    "authors_variants": _schema(
        _FAMILY,
        _BENCHMARK,
        _METRIC,
        _METHOD,
        _Column("statistic", pa.string(), "mean, median, auc or nan_fraction of the correlations over items"),
        _NUM_ITEMS,
        _NUM_MODELS,
        _score("ours", "its value as in correlation_statistics", nullable=True),
        _score("authors", "its value as the paper's code computes it", nullable=True),
        _score("difference", "authors minus ours", nullable=True),
        _score("largest_difference", "largest difference of one item's correlation, without sign", nullable=True),
    ),
    "reference": _schema(
        _MODEL,
        _CHECKPOINT,
        _FLOPS,
        _BENCHMARK,
        replace(_METRIC, meaning="accuracy or accuracy_norm"),
        replace(_NUM_ITEMS, meaning="number of items measured"),
        replace(_NUM_ITEMS, name="num_items_published", meaning="number of items of the published accuracy"),
        _score("measured", "accuracy of this run"),
        _score("measured_se", "its standard error over items; null for a single one", nullable=True),
        _score("published", "published accuracy"),
        _score("published_se", "its standard error over items"),
        _score("difference", "measured minus published"),
        _score("z", "difference in standard errors of an accuracy of num_items items", nullable=True),
        _Column("status", pa.string(), "agrees (|z| ≤ 1), near (|z| ≤ 2), differs, or not comparable"),
        _Column("note", pa.string(), "why the two are not comparable", nullable=True),
        _Column("source", pa.string(), "where the published value stands"),
    ),
    "published_choices": _schema(
        _MODEL,
        _CHECKPOINT,
        _BENCHMARK,
        _ITEM,
        _Column("choice", pa.int8(), "index of the choice, from 0"),
        _Column("is_gold", pa.bool_(), "whether the choice is the correct one"),
        _Column("log_likelihood", pa.float64(), "natural log of P(continuation | context), summed over tokens", "nats"),
        _Column("num_tokens", pa.int32(), "tokens of the continuation; null if not known", "tokens", True),
        _Column("num_bytes", pa.int32(), "UTF-8 bytes of the choice's text; null if not known", "bytes", True),
        _Column("num_chars", pa.int32(), "characters of the choice's text; null if not known", "characters", True),
        _Column(
            "is_greedy",
            pa.bool_(),
            "whether each token of the continuation is the likeliest one at its place; null if not known",
            "",
            True,
        ),
        _SUBJECT,
        _CLUSTER,
    ),
    "published_items": _schema(
        _BENCHMARK,
        _ITEM,
        _SUBJECT,
        _CLUSTER,
        _Column("gold", pa.int8(), "index of the correct choice, from 0"),
        _NUM_CHOICES,
        _DATASET,
        _REVISION,
        _SPLIT,
        _Column(
            "prompt_sha256",
            pa.string(),
            "SHA-256 of the list of contexts as JSON without spaces, in UTF-8; null if the texts are not known",
            "",
            True,
        ),
        _Column(
            "choices_sha256",
            pa.string(),
            "SHA-256 of the list of scored continuations as JSON without spaces, in UTF-8; null if they are not known",
            "",
            True,
        ),
        _Column(
            "gold_is_repeated",
            pa.bool_(),
            "whether a wrong choice has the context and the text of the right one; null if the texts are not known",
            "",
            True,
        ),
    ),
    "published_runs": _schema(
        _MODEL,
        _CHECKPOINT,
        _BENCHMARK,
        _NUM_ITEMS,
        _Column("source", pa.string(), "where the model comes from: hub, local, ladder, or a format of logs", "", True),
        _Column("repo", pa.string(), "its repository on the hub", "", True),
        _Column(
            "revision",
            pa.string(),
            "the hub's commit of the weights, or SHA-256 over their files; of logs what they call it",
            "",
            True,
        ),
        _Column("dtype", pa.string(), "type of weights and activations", "", True),
        _Column("device", pa.string(), "kind of processor that computed the log-likelihoods", "", True),
        _Column("protocol", pa.string(), "how items were asked", "", True),
        _Column("metadata", pa.string(), "all that is recorded of the log-likelihoods, as a JSON object"),
    ),
    "families": _schema(
        _FAMILY,
        _Column("label", pa.string(), "how figures and the report call the family"),
        _Column("plotted", pa.bool_(), "whether figures show the family"),
        _MODEL,
        _CHECKPOINT,
    ),
    "benchmarks": _schema(
        _BENCHMARK,
        _Column("label", pa.string(), "how figures and the report call the benchmark"),
        _NUM_ITEMS,
        _Column("num_items_total", pa.int32(), "number of items of the split, or of the file", "", True),
        _Column("num_subjects", pa.int32(), "number of subjects among the items; 0 without subjects"),
        _Column("chance", pa.float64(), "expected accuracy of guessing: mean over items of 1/K"),
        _DATASET,
        _REVISION,
        _SPLIT,
        _Column("split_note", pa.string(), "in what the split departs from the one that is usual", "", True),
        _Column("origin", pa.string(), "where the items were found", "", True),
        _Column("protocol", pa.string(), "how items were asked", "", True),
        _Column("num_fewshot", pa.int32(), "solved examples before each question", "", True),
        _Column("license", pa.string(), "licence of the benchmark's texts; null if none could be found", "", True),
        _Column("license_source", pa.string(), "where the licence, or that there is none, is stated", "", True),
        _Column("license_note", pa.string(), "what else must be known of it", "", True),
        _Column("homepage", pa.string(), "page of the benchmark", "", True),
        _Column("citation", pa.string(), "BibTeX entry of the benchmark", "", True),
        _Column("texts", pa.bool_(), "whether the texts of the items are part of the data set"),
    ),
    "metric_descriptions": _schema(
        _METRIC,
        _Column("description", pa.string(), "what the metric is"),
        _Column("unit", pa.string(), "unit of its values", "", True),
        _Column(
            "higher_is_better",
            pa.bool_(),
            "whether a larger value is a better one; null where neither is",
            nullable=True,
        ),
        _Column("in_chain", pa.bool_(), "whether it is a step of the chain from log p_vocab to accuracy"),
    ),
    "forecasts": _schema(
        _FAMILY,
        _BENCHMARK,
        _WHOLE,
        _METRIC,
        _FORECAST_METHOD,
        *_TARGET,
        _HORIZON,
        replace(_NUM_MODELS, meaning="number of checkpoints that kriging learns from"),
        _NUM_ITEMS,
        _score("forecast", "forecast of the mean over items"),
        *[replace(column, meaning=f"{column.meaning}, widened by inflation") for column in _INTERVALS],
        *_INFLATION,
        _score("last_value", "mean at the largest compute"),
        _score("chance", "expected accuracy of guessing: mean over items of 1/K"),
        _MOVEMENT,
        _Column("recommended", pa.bool_(), "whether this is the method to use, by a rule that knows no backtest"),
        _Column("status", pa.string(), "what to be careful about, separated by semicolons; empty: nothing"),
    ),
    "forecast_items": _schema(
        _FAMILY,
        _BENCHMARK,
        *_TARGET,
        _ITEM,
        _SUBJECT,
        _score("p_right", "probability that the item is answered right at the target"),
        _score("p_choices", "expected share of the correct choice among the choices"),
        _score("margin_mean", "expected margin of the correct choice over the best wrong one", "nats"),
        _score("margin_sd", "standard deviation of that margin", "nats"),
        _score("last_accuracy", "1 if the item is right at the largest compute, else 0"),
    ),
    "backtests": _schema(
        _FAMILY,
        _BENCHMARK,
        _WHOLE,
        _PROTOCOL,
        _ORIGIN,
        replace(_NUM_MODELS, meaning="number of checkpoints that may be learnt from"),
        _Column("num_selected", pa.int32(), "number of them that kriging learns from"),
        _MOVEMENT,
        replace(_MODEL, meaning="model of the target"),
        replace(_CHECKPOINT, meaning="checkpoint of the target"),
        replace(_PARAMETERS, meaning="N of the target"),
        replace(_TOKENS, meaning="D of the target"),
        replace(_FLOPS, meaning="training compute of the target"),
        _HORIZON,
        _BIN,
        _METRIC,
        _FORECAST_METHOD,
        _score("forecast", "forecast of the mean over items"),
        _score("observed", "what it came to be"),
        _score("last_value", "mean at the largest compute learnt from"),
        _score("sd", "standard deviation of the forecast's draws, or by earlier errors", "", True),
        _score("crps", "continuous ranked probability score of the forecast; lower is better", "", True),
        *[replace(column, meaning=f"{column.meaning}, not widened") for column in _INTERVALS],
        _score("pit", "share of the forecast's distribution below what was observed", "", True),
        *_INFLATION,
        _Column("status", pa.string(), "why the method fell back on the last value; empty: it did not"),
    ),
    "backtest_summary": _schema(
        _FAMILY,
        replace(_BENCHMARK, meaning="name of the benchmark; null for all of them", nullable=True),
        _WHOLE,
        _PROTOCOL,
        replace(_BIN, meaning="class of horizons: x1.5, x3, x10 or x30 times the compute; null for all"),
        _METRIC,
        _FORECAST_METHOD,
        _Column("num_origins", pa.int32(), "number of origins, over all benchmarks"),
        _Column("num_targets", pa.int32(), "number of forecasts, over all origins and benchmarks"),
        _score("mae", "mean absolute error: over targets, then origins, then benchmarks"),
        _score("bias", "mean of forecast minus observed, likewise"),
        _score("crps", "mean continuous ranked probability score, where the method has intervals", "", True),
        _score("crps_km", "that of km on the same forecasts", "", True),
        *[
            _score(f"coverage{level}", f"share of what came within the {level} % intervals, not widened", "", True)
            for level in (50, 80, 95)
        ],
        _score("coverage80_inflated", "share within the 80 % intervals, widened by inflation", "", True),
        _score("width80", "mean width of the 80 % intervals, not widened", "", True),
        _score("skill", "1 minus the error over that of the last value; null if that is 0", "", True),
        _score("skill_low", "lower end of its 95 % interval, from drawing benchmarks; null for a single one", "", True),
        _score("skill_high", "upper end of it", "", True),
        *[
            _score(f"minus_{name}{end}", f"{text}{of}", "", True)
            for name, of in (("last", "that of the last value"), ("power", "that of power_error"))
            for end, text in (
                ("", "error minus "),
                ("_low", "lower end of the 95 % interval of error minus "),
                ("_high", "upper end of the 95 % interval of error minus "),
            )
        ],
        _Column("wins", pa.int32(), "number of benchmarks on which the error is below the last value's", "", True),
        _Column("num_clusters", pa.int32(), "number of benchmarks, which intervals draw"),
    ),
    "backtest_coverage": _schema(
        _FAMILY,
        _PROTOCOL,
        replace(_BIN, meaning="class of horizons; null for all"),
        _METRIC,
        _FORECAST_METHOD,
        _Column("group", pa.string(), "origins: all, still (movement below 5) or moving"),
        _score("level", "nominal level of the intervals"),
        _score("coverage", "share of what came within them, not widened"),
        _score("coverage_inflated", "share of what came within them, widened by inflation"),
        _Column("num_targets", pa.int32(), "number of forecasts"),
        _Column("num_clusters", pa.int32(), "number of benchmarks that they are of"),
    ),
    "choice_laws": _schema(
        _FAMILY,
        _BENCHMARK,
        _Column(
            "quantity", pa.string(), "right, wrong (log-likelihood of such choices) or margin, of right over wrong"
        ),
        *[
            _score(f"slope_{axis}{end}", f"{text}slope of the mean over items on {of}", "nats per tenfold", True)
            for axis, of in (("n", "log10 N, or on log10 compute if that is the one axis"), ("d", "log10 D"))
            for end, text in (("", ""), ("_low", "lower 95 % end of the "), ("_high", "upper 95 % end of the "))
        ],
        _score("item_sd_n", "standard deviation over items of their own slopes on that axis", "scales of items", True),
        _score("item_sd_d", "standard deviation over items of their own slopes on log10 D", "scales of items", True),
        _score("noise_sd", "standard deviation of a checkpoint's noise in one item", "scales of items", True),
        _score("length_n", "length over which wandering is correlated, in log10 N (or compute)", "decades", True),
        _score("length_d", "length over which wandering is correlated, in log10 D", "decades", True),
        _score("c", "scale of the common path's wandering", "", True),
        _MOVEMENT,
        _score("rho", "correlation of an item's margins beyond the law", "", True),
        _Column("both_axes", pa.bool_(), "whether N and D vary independently"),
        replace(_NUM_MODELS, meaning="number of checkpoints that the law is fitted to"),
        _NUM_ITEMS,
        _Column("status", pa.string(), "why there is no law; empty: there is one"),
    ),
    "choice_means": _schema(
        _FAMILY,
        _BENCHMARK,
        _Column("quantity", pa.string(), "right, wrong or margin, as in choice_laws"),
        _MODEL,
        _CHECKPOINT,
        _PARAMETERS,
        _TOKENS,
        _FLOPS,
        _score("mean", "mean over items and choices", "nats"),
        _score("fitted", "plane (or line) fitted to the means of the selected checkpoints", "nats", True),
        _Column("selected", pa.bool_(), "whether the checkpoint is learnt from"),
    ),
    "forecast_reliability": _schema(
        _FAMILY,
        _BENCHMARK,
        _PROTOCOL,
        _Column("method", pa.string(), "km, or a rival of elusive.forecast.items"),
        _Column("bin", pa.int32(), "tenth of P(right), from 0"),
        _Column("num_items", pa.int64(), "number of items, over all targets"),
        _score("forecast", "their mean P(right)"),
        _score("observed", "share of them that were right"),
        _score("brier", "mean of (P(right) - right) squared"),
    ),
    "decisions": _schema(
        _Column("group", pa.string(), "name of the group of models: a family, or one of the section decide"),
        _BENCHMARK,
        _Column("tokens", pa.int64(), "D at which the metric decides, the largest of the group's there", "tokens"),
        _Column("is_end", pa.bool_(), "whether these are the last shared tokens"),
        replace(_METRIC, meaning="metric that decides: a column of the metrics tables, or margin_scaled"),
        _Column("num_models", pa.int32(), "number of models"),
        _Column("num_pairs", pa.int32(), "number of pairs of models that end with different accuracies"),
        _NUM_ITEMS,
        _score("decision_accuracy", "share of pairs ordered as by accuracy at the end", "", True),
        _score("larger_wins", "share of pairs whose larger model ends with the higher accuracy", "", True),
        _Column("decidable", pa.bool_(), "whether final accuracies spread by at least two standard errors"),
        _score("spread", "standard deviation over models of the accuracy at the end"),
        _score("standard_error", "standard error over items of an accuracy at the end"),
        _score("signal_to_noise", "of the mean over checkpoints up to there; below 0: worse with compute", "", True),
    ),
    "item_subsets": _schema(
        _FAMILY,
        _BENCHMARK,
        _Column("selection", pa.string(), "chosen, all, random, shuffled or judged: see elusive.forecast.subsets"),
        _NUM_ITEMS,
        _Column("num_sets", pa.int32(), "number of sets of items that the row is the mean of"),
        _Column("num_models_inside", pa.int32(), "number of checkpoints of the smaller half by compute"),
        _Column("num_models_held_out", pa.int32(), "number of checkpoints of the larger half"),
        _score("spearman_inside", "Spearman correlation of their accuracy with compute, smaller half", "", True),
        _score("spearman_held_out", "the same on the larger half, which the choice did not see", "", True),
    ),
    "item_subset_members": _schema(
        _FAMILY,
        _BENCHMARK,
        _ITEM,
        _score("correlation", "of margin_log with log10 compute on the smaller half of the checkpoints", "", True),
        _Column("chosen", pa.bool_(), "whether the item is in the chosen quarter, another benchmark than the whole"),
    ),
}

#: table name -> columns that a table may have after the required ones, with their types, meanings and units.
OPTIONAL: dict[str, pa.Schema] = {
    "items": _schema(
        _Column(
            "choices",
            pa.list_(pa.string()),
            "text of each choice, whose length normalises its log-likelihood",
            "",
            True,
        ),
        _CLUSTER,
        _Column("prompt_sha256", pa.string(), "of a published item without texts, as published", "", True),
        _Column("choices_sha256", pa.string(), "of a published item without texts, as published", "", True),
        _Column("gold_is_repeated", pa.bool_(), "of a published item without texts, as published", "", True),
        _Column("identity", pa.string(), "what logs are matched by, of items that were made from logs", "", True),
    ),
    "logprobs": _schema(
        _Column(
            "log_likelihood_unconditional",
            pa.float64(),
            "log-likelihood behind an empty context, or of imported logs behind the one that the metadata name",
            "nats",
            True,
        ),
    ),
    "metrics": _schema(
        _score("log_p_vocab_choices", "log of the summed probabilities of all choices' texts", "nats", True),
        *[
            _score(f"p_choices_correct_per_{unit}", f"p_choices_correct of log-likelihoods per {unit}", "", True)
            for unit in ("token", "byte", "char")
        ],
        _score("margin_per_byte", "margin_log of log-likelihoods per byte", "nats per byte", True),
        _score("accuracy_per_token", "accuracy of log-likelihoods per token", "", True),
        _score("accuracy_per_byte", "accuracy of log-likelihoods per byte", "", True),
        _score("is_greedy", "1 if greedy decoding gives the correct choice, else 0", "", True),
        _score(
            "log_p_vocab_correct_pmi",
            "log-likelihood of the correct choice minus that behind an empty context",
            "nats",
            True,
        ),
        _score(
            "p_choices_correct_pmi",
            "p_choices_correct of log-likelihoods minus those behind an empty context",
            "",
            True,
        ),
        _score("margin_pmi", "margin_log of log-likelihoods minus those behind an empty context", "nats", True),
        _score("accuracy_pmi", "accuracy of log-likelihoods minus those behind an empty context", "", True),
    ),
    "published_choices": _schema(
        _Column("log_likelihood_unconditional", pa.float64(), "log-likelihood behind an empty context", "nats", True),
    ),
    "published_items": _schema(
        _Column("contexts", pa.list_(pa.string()), "what stands before the scored text; null if kept back", "", True),
        _Column("continuations", pa.list_(pa.string()), "the scored text; null if kept back", "", True),
        _Column("choices", pa.list_(pa.string()), "text whose length num_chars is; null if kept back", "", True),
    ),
    "correlation_statistics": _schema(
        _Column("num_clusters", pa.int32(), "number of clusters in which items are drawn for the intervals", "", True),
        *_with_interval(
            {
                "q25": "lower quartile of the correlations",
                "q75": "upper quartile of the correlations",
                "iqr": "distance between the quartiles",
                "fraction_below_0": "share of items with a correlation below 0",
            }
        ),
        _score(
            "auc_trapezoid", "auc as the paper's authors compute it, by the trapezoid rule; biased by ties", "", True
        ),
        _INTERVAL_NOTE,
    ),
    "headline": _schema(_INTERVAL_NOTE),
    "attribution": _schema(_INTERVAL_NOTE),
    "mechanism": _schema(_INTERVAL_NOTE),
    "mechanism_drops": _schema(_INTERVAL_NOTE),
}


def whole_schema(name: str) -> pa.Schema:
    """The required columns of the table ``name``, and behind them the optional ones."""
    return pa.schema([*SCHEMAS[name], *OPTIONAL.get(name, ())])


#: Tables that are many files -> where below results/; the others are files of their name in tables/.
_FILES = {
    "items": "items/{benchmark}.parquet",
    "logprobs": "logprobs/{model}/{checkpoint}/{benchmark}.parquet",
    "metrics": "metrics/{family}/{benchmark}.parquet",
    "correlations": "correlations/{family}/{benchmark}.parquet",
    "choices": "choices/{family}/{benchmark}.parquet",
    "published_choices": "publish/data/choices.parquet",
    "published_items": "publish/data/items.parquet",
    "published_runs": "publish/data/runs.parquet",
    "families": "publish/data/families.parquet",
    "benchmarks": "publish/data/benchmarks.parquet",
    "metric_descriptions": "publish/data/metrics.parquet",
    "forecast_items": "forecast_items/{family}/{benchmark}.parquet",
}


def file_of(name: str, **about: str) -> str:
    """Where below results/ the table ``name`` is kept: the path that ``about`` (family, benchmark, ...) fills in."""
    return _FILES.get(name, f"tables/{name}.parquet").format(**about)


def data_dictionary() -> pa.Table:
    """Every column of every table, in the tables' order: where it is, what type it has, and what it means.

    Columns, all strings: ``table``, ``file`` (below results/), ``column``, ``type``, ``nulls`` (whether it may have
    some), ``always`` (no: only in some runs), ``unit`` (empty: none), ``meaning``.
    """
    rows = []
    for name, required in SCHEMAS.items():
        optional = OPTIONAL.get(name, pa.schema([]))
        for field in [*required, *optional]:
            about = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
            rows.append(
                {
                    "table": name,
                    "file": _FILES.get(name, f"tables/{name}.parquet"),
                    "column": field.name,
                    "type": "list<string>" if pa.types.is_list(field.type) else str(field.type),
                    "nulls": "yes" if field.nullable else "no",
                    "always": "no" if field.name in optional.names else "yes",
                    "unit": about.get("unit", ""),
                    "meaning": about.get("description", ""),
                }
            )
    return pa.Table.from_pylist(rows)


def write_table(
    table: pa.Table, path: str | os.PathLike[str], name: str, metadata: dict[str, Any] | None = None
) -> None:
    """Check ``table`` against the contract of ``name`` and write it to ``path`` in one piece.

    Required columns come first in the contract's order, extra ones after them in the order given. Columns that the
    contract knows carry their meaning and unit as the Arrow field's metadata ``description`` and ``unit``. ``metadata``
    is stored as JSON (sorted keys) under the key ``elusive``, the version of the contract under ``elusive_schema``.
    Raises :class:`ElusiveError` on a missing column, a value that does not fit its type, or a null where the contract
    has none.
    """
    write_parts([table], path, name, metadata)


def write_parts(
    parts: Iterable[pa.Table],
    path: str | os.PathLike[str],
    name: str,
    metadata: dict[str, Any] | None = None,
    split: Iterable[str] = (),
) -> None:
    """Write the tables ``parts``, at least one, as one file, as :func:`write_table` does.

    Each part begins a row group, so that it can be read without the others, and only one is held at a time. All have
    the columns of the first. The numbers in the columns ``split`` are stored byte by byte (byte-stream split), which
    compresses better where few of them are equal.
    """
    note = {METADATA_KEY: json.dumps(metadata or {}, sort_keys=True).encode(), SCHEMA_KEY: str(SCHEMA_VERSION).encode()}
    fitted = (_fitted(part, path, name).replace_schema_metadata(note) for part in parts)
    first = next(fitted)
    encodings = {column: "BYTE_STREAM_SPLIT" for column in split if column in first.column_names}
    options: dict[str, Any] = {"compression": "zstd"}
    if encodings:
        rest = [column for column in first.column_names if column not in encodings]
        options |= {"use_dictionary": rest, "column_encoding": encodings}
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, first.schema, **options) as writer:
        for table in itertools.chain([first], fitted):
            writer.write_table(table)


def _fitted(table: pa.Table, path: str | os.PathLike[str], name: str) -> pa.Table:
    """``table`` with the columns, types and descriptions of the contract; see :func:`write_table`."""
    required = SCHEMAS[name]
    known = {field.name: field for field in OPTIONAL.get(name, ())}
    extra = [known.get(field.name, field) for field in table.schema if field.name not in required.names]
    missing = [column for column in required.names if column not in table.column_names]
    if missing:
        raise ElusiveError(f"{path}: a {name} table needs the columns {missing}")
    schema = pa.schema([*required, *extra])
    try:
        table = table.select(schema.names).cast(pa.schema([f.with_nullable(True) for f in schema]))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise ElusiveError(f"{path}: the columns do not fit a {name} table: {error}") from error
    for field in required:
        if not field.nullable and table[field.name].null_count:
            raise ElusiveError(f"{path}: column {field.name!r} of a {name} table may not hold nulls")
    return table.cast(schema)


def read_table(path: str | os.PathLike[str], name: str, columns: list[str] | None = None) -> pa.Table:
    """Read the table ``name`` from ``path`` and check its columns and types against the contract.

    A file without a version of the contract is read as one of this version. Raises :class:`ElusiveError` when the file
    is missing, is not (or only the first part of) a Parquet file, lacks a required column, or has a later version.
    """
    try:
        # memory_map and threads change nothing in the result; one thread keeps a job within its `threads:`.
        with pq.ParquetFile(path) as file:
            table = file.read(columns=columns, use_threads=False)
    except FileNotFoundError as error:
        raise ElusiveError(f"{path}: there is no such {name} table") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise ElusiveError(
            f"{path}: not a readable Parquet file ({error}). It may be truncated: delete it and run again"
        ) from error
    check_version((table.schema.metadata or {}).get(SCHEMA_KEY), path)
    wanted = SCHEMAS[name] if columns is None else [f for f in SCHEMAS[name] if f.name in columns]
    for field in wanted:
        if field.name not in table.column_names:
            raise ElusiveError(f"{path}: column {field.name!r} is missing, which every {name} table has")
        if table.schema.field(field.name).type != field.type:
            found = table.schema.field(field.name).type
            raise ElusiveError(f"{path}: column {field.name!r} has type {found}, a {name} table has {field.type}")
    return table


def check_version(version: bytes | str | int | None, path: str | os.PathLike[str]) -> None:
    """Raise :class:`ElusiveError` when ``path`` has a later ``version`` of the contract than is known here."""
    if version is None:
        return
    try:
        number = int(version)
    except ValueError:
        raise ElusiveError(f"{path}: has the schema version {version!r}, which is no number") from None
    if number > SCHEMA_VERSION:
        raise ElusiveError(
            f"{path}: has schema version {number}, and this version of elusive knows them up to {SCHEMA_VERSION}: "
            "update it"
        )


def contract_digests() -> dict[str, str]:
    """Table name -> digest of its contract: columns in order, types, units, nulls, and which may be missing."""
    result = {}
    for name, required in SCHEMAS.items():
        described = [
            [field.name, str(field.type), field.nullable, (field.metadata or {}).get(b"unit", b"").decode(), must]
            for fields, must in ((required, True), (OPTIONAL.get(name, ()), False))
            for field in fields
        ]
        text = json.dumps([_FILES.get(name), described])
        result[name] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return result


def write_csv(table: pa.Table, output: str | os.PathLike[str]) -> None:
    """Write a table without lists as CSV: a header line, nulls as nothing, floats with every digit they need."""
    with atomic_path(output) as temporary:
        # Not at the top of the module: whoever only reads tables does not wait for polars.
        import polars as pl

        pl.from_arrow(table).write_csv(temporary)


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The JSON object under the key ``elusive`` of a Parquet file; raises :class:`ElusiveError` if unreadable."""
    try:
        raw = pq.read_schema(Path(path)).metadata or {}
    except (pa.ArrowInvalid, OSError) as error:
        raise ElusiveError(f"{path}: not a readable Parquet file ({error})") from error
    if METADATA_KEY not in raw:
        raise ElusiveError(f"{path}: was not written by elusive (no {METADATA_KEY.decode()!r} metadata)")
    return json.loads(raw[METADATA_KEY])


def content_hash(table: pa.Table) -> str:
    """Hex SHA-256 over the columns and rows of a table, whatever its file and its metadata look like."""
    return hashlib.sha256(json.dumps(table.to_pydict(), sort_keys=True).encode()).hexdigest()


class _NoPandas:
    """A finder of modules that refuses pandas."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        if name == "pandas":
            raise ImportError("not loaded to ask whether a value is one of its own")


def leave_pandas_out() -> None:
    """Let Arrow ask now, in vain, whether there is pandas, unless it is loaded already.

    At its first conversion Arrow loads pandas only to know whether what it is given is a value of pandas, which is
    half of what a short job takes. ``to_pandas`` goes on to work, and loads it. But what Arrow converts by way of
    pandas fails in this process from then on: times in nanoseconds, ``NaT`` and ``NA``. So this is for stages that
    read tables of the contract alone, not for those that read other people's files.
    """
    if "pandas" not in sys.modules:
        sys.meta_path.insert(0, _NoPandas)
        try:
            pa.array([0])
        finally:
            sys.meta_path.remove(_NoPandas)
