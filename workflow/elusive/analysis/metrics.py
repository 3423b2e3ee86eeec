"""Metrics per item of every checkpoint: the paper's chain from log-likelihoods to accuracy, and two neighbours of it.

With ``l_i`` the summed log-likelihood of choice ``i`` of ``K``, and ``c`` the correct one::

    log p_vocab  = l_c                                        (1)
    p_vocab      = exp(l_c)                                   (2)
    log p_choices = l_c - logsumexp_i(l_i)                    (3)
    accuracy     = 1[argmax_i l_i = c], lowest index on ties  (4)
    brier        = mean_i (1[i = c] - p_choices_i)^2          (5), the mean over choices as in the authors' code

and besides them the mass on the wrong choices, lm-eval's ``acc_norm`` (argmax of ``l_i`` per character), and the
margin ``l_c - max_{i != c} l_i``. Everything is computed from logarithms without an epsilon: the two probabilities
that can round to 1 (the correct choice's, and the wrong ones' in the Brier score) each come from the difference
``l_c - logsumexp_{i != c}(l_i)``, so neither is one minus the other. ``p_vocab`` is 0 below about -745 nats, where
float64 ends; its logarithm beside it is not.

``brier`` itself rounds to 2/K, its largest value, where the correct choice is some 40 nats behind. ``log_brier``, the
logarithm of brier·K/2, does not, down to the 745 nats: with w the likeliest wrong choice and o the other wrong ones::

    1 - brier K/2 = p_c - p_c²/2 + d - d²/2 - sum_o p_o²/2,  d = 1 - p_w = p_c + sum_o p_o          (6)
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from elusive import logs
from elusive.analysis import equality
from elusive.errors import ElusiveError
from elusive.files import sha256_file
from elusive.tables import read_metadata, read_table, write_table

logger = logs.get(__name__)

#: The metrics in the order of the tables and figures: the chain first, then its variants.
METRICS = (
    "log_p_vocab_correct",
    "p_vocab_correct",
    "log_p_vocab_incorrect",
    "p_vocab_incorrect",
    "log_p_choices_correct",
    "p_choices_correct",
    "brier",
    "accuracy",
    "accuracy_norm",
    "margin_log",
)

#: Neighbours of the chain, in columns after the contract's: what normalising by length (``per_token``, ``per_byte``,
#: ``per_char``), the total mass on the choices, greedy decoding or the mass behind an empty context make of it.
#: ``log_p_vocab_correct`` per token, byte or character is left out: per item it is the same number times a constant,
#: with the same correlations. The last four exist where choices were scored without context as well.
VARIANTS = (
    "log_p_vocab_choices",
    "p_choices_correct_per_token",
    "p_choices_correct_per_byte",
    "p_choices_correct_per_char",
    "margin_per_byte",
    "accuracy_per_token",
    "accuracy_per_byte",
    "is_greedy",
    "log_p_vocab_correct_pmi",
    "p_choices_correct_pmi",
    "margin_pmi",
    "accuracy_pmi",
)

#: No metric of its own: what the Brier score is ranked by.
LOG_BRIER = "log_brier"

#: Metrics of the contract that are null where imported logs lack what they take.
NULLABLE = ("accuracy_norm",)

FilePath = str | os.PathLike[str]

#: A checkpoint as the registry describes it: ``model``, ``checkpoint``, ``parameters``, ``tokens`` and ``flops``.
Member = Mapping[str, Any]
_UNCONDITIONAL = "log_likelihood_unconditional"
_CHOICE_COLUMNS = ("num_tokens", "num_bytes", "num_chars", "is_greedy")
#: Pairs of equal members in a message, at the most.
_NAMED_TWINS = 3
_MEMBER = {"model": str, "checkpoint": str, "parameters": int, "tokens": int, "flops": float}


@dataclass(frozen=True)
class Choices:
    """The choices that a benchmark's items offer, as the scoring of every checkpoint must cover them.

    ``frame`` has one row per item × choice (``item``, ``choice``, ``is_gold``), in items order, then choice;
    ``gold`` and ``num_choices`` are int64 [items]. ``dropped`` are items that are left out.
    """

    items: pa.Table
    frame: pl.DataFrame
    gold: np.ndarray
    num_choices: np.ndarray
    dropped: frozenset[str] = frozenset()

    @classmethod
    def of(cls, items: pa.Table, path: FilePath, dropped: Iterable[str] = ()) -> Choices:
        """The choices of the items table read from ``path``, which only error messages use, less those ``dropped``."""
        dropped = frozenset(dropped)
        if dropped:
            items = items.filter(pa.array([item not in dropped for item in items["item"].to_pylist()], pa.bool_()))
        gold, num_choices = (items[column].to_numpy().astype(np.int64) for column in ("gold", "num_choices"))
        if len(items) == 0 and dropped:
            raise ElusiveError(f"{path}: no item is left that every checkpoint was scored on ({len(dropped)} dropped)")
        if len(items) == 0:
            raise ElusiveError(f"{path}: the table has no items")
        bad = (num_choices < 2) | (gold < 0) | (gold >= num_choices)
        if bad.any():
            item = items["item"][int(bad.argmax())].as_py()
            raise ElusiveError(f"{path}: item {item!r} needs at least two choices, and its gold index among them")
        choice = np.concatenate([np.arange(k) for k in num_choices])
        frame = pl.DataFrame(
            {
                "item": np.repeat(items["item"].to_numpy(zero_copy_only=False), num_choices).tolist(),
                "choice": choice.astype(np.int8),
                "is_gold": choice == np.repeat(gold, num_choices),
            },
            schema={"item": pl.String, "choice": pl.Int8, "is_gold": pl.Boolean},
        )
        return cls(items, frame, gold, num_choices, dropped)


def choice_metrics(
    log_likelihood: np.ndarray, num_chars: np.ndarray | None, gold: np.ndarray, num_choices: np.ndarray
) -> dict[str, np.ndarray]:
    """Every metric of :data:`METRICS`, and :data:`LOG_BRIER`, as a float64 [items].

    ``accuracy_norm`` is left out where ``num_chars`` is None.

    ``log_likelihood`` (float64, nats) and ``num_chars`` (characters of the choice's text) are [items, K], K being the
    largest number of choices; entries past an item's ``num_choices`` are ignored. ``gold`` and ``num_choices`` are
    integers [items]. A choice of no characters has an infinitely low score per character, as division by zero gives
    in lm-eval.
    """
    rows, width = np.arange(len(gold)), log_likelihood.shape[1]
    exists = np.arange(width) < num_choices[:, None]
    wrong = exists & (np.arange(width) != gold[:, None])
    scores = np.where(exists, log_likelihood, -np.inf)
    correct = scores[rows, gold]
    scores_wrong = np.where(wrong, scores, -np.inf)
    log_wrong = _logsumexp(scores_wrong)
    # log(p / (1 - p)) of the correct choice: both tails keep their relative precision.
    log_odds = correct - log_wrong
    log_p_choices = -np.logaddexp(0.0, -log_odds)
    p_wrong_total = np.exp(-np.logaddexp(0.0, log_odds))
    # p of each wrong choice = its share among the wrong ones × their total; exp(-inf) = 0 where there is no choice.
    among_wrong = np.exp(scores_wrong - log_wrong[:, None])
    p_wrong = among_wrong * p_wrong_total[:, None]
    p_choices = np.exp(log_p_choices)
    result = {
        "log_p_vocab_correct": correct,
        "p_vocab_correct": np.exp(correct),
        "log_p_vocab_incorrect": log_wrong,
        "p_vocab_incorrect": np.exp(log_wrong),
        "log_p_choices_correct": log_p_choices,
        "p_choices_correct": p_choices,
        "brier": (p_wrong_total**2 + (p_wrong**2).sum(axis=1)) / num_choices,
        LOG_BRIER: _log_brier(p_choices, p_wrong, -np.logaddexp(0.0, log_odds), (among_wrong**2).sum(axis=1)),
        "accuracy": (scores.argmax(axis=1) == gold).astype(np.float64),
        "margin_log": correct - scores_wrong.max(axis=1),
    }
    if num_chars is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            per_character = np.where(exists, log_likelihood / np.where(exists, num_chars, 1), -np.inf)
        result["accuracy_norm"] = (per_character.argmax(axis=1) == gold).astype(np.float64)
    return {name: result[name] for name in (*METRICS, LOG_BRIER) if name in result}


def _log_brier(
    p_correct: np.ndarray, p_wrong: np.ndarray, log_p_wrong_total: np.ndarray, squares_among_wrong: np.ndarray
) -> np.ndarray:
    """Logarithm of brier·K/2 [items] by equation (6) where it is near 0, else of the squares themselves.

    ``p_wrong`` [items, K] has 0 for the correct choice, ``squares_among_wrong`` [items] the sum of the squares of the
    wrong choices' shares among themselves.
    """
    others = np.sort(p_wrong, axis=1)[:, :-1]
    rest = p_correct + others.sum(axis=1)
    gain = p_correct - p_correct**2 / 2 + rest - rest**2 / 2 - (others**2).sum(axis=1) / 2
    plain = 2 * log_p_wrong_total + np.log1p(squares_among_wrong) - np.log(2)
    return np.where(gain < 0.5, np.log1p(-np.minimum(gain, 0.5)), plain)


def variant_metrics(
    log_likelihood: np.ndarray,
    lengths: Mapping[str, np.ndarray],
    gold: np.ndarray,
    num_choices: np.ndarray,
    is_greedy: np.ndarray | None,
    unconditional: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """The metrics of :data:`VARIANTS`, float64 [items] each, as far as there is what they take.

    Those of PMI take ``unconditional``, the others their entry of ``lengths``, or ``is_greedy``.

    With ``n_i`` the length of choice ``i`` and ``u_i`` its log-likelihood behind an empty context::

        log_p_vocab_choices   = logsumexp_i(l_i)            exceeds 0 where choices are not disjoint events
        *_per_token, ...      = of l_i / n_i in place of l_i
        *_pmi                 = of l_i - u_i in place of l_i, lm-eval's acc_mutual_info
        is_greedy             = whether the correct choice is what greedy decoding gives

    ``log_likelihood``, ``unconditional`` (float64, nats), ``is_greedy`` and the ``lengths`` (by ``token``, ``byte`` and
    ``char``) are [items, K]; entries past an item's ``num_choices`` are ignored. A choice of no length has an
    infinitely low score, as in :func:`choice_metrics`; where all are such, shares and margins are NaN.
    """
    rows = np.arange(len(gold))
    exists = np.arange(log_likelihood.shape[1]) < num_choices[:, None]
    result = {"log_p_vocab_choices": _logsumexp(np.where(exists, log_likelihood, -np.inf))}
    scores = {}
    for unit, length in lengths.items():
        with np.errstate(divide="ignore", invalid="ignore"):
            scores[f"per_{unit}"] = np.where(exists, log_likelihood / np.where(exists, length, 1), -np.inf)
    if unconditional is not None:
        scores["pmi"] = np.where(exists, log_likelihood - unconditional, -np.inf)
    for name, score in scores.items():
        correct = score[rows, gold]
        wrong = np.where(np.arange(score.shape[1]) != gold[:, None], score, -np.inf)
        with np.errstate(invalid="ignore"):
            log_odds = correct - _logsumexp(wrong)
            result[f"margin_{name}"] = correct - wrong.max(axis=1)
        result[f"log_p_vocab_correct_{name}"] = correct
        result[f"p_choices_correct_{name}"] = np.exp(-np.logaddexp(0.0, -log_odds))
        result[f"accuracy_{name}"] = (score.argmax(axis=1) == gold).astype(np.float64)
    if is_greedy is not None:
        result["is_greedy"] = is_greedy[rows, gold].astype(np.float64)
    return {name: result[name] for name in VARIANTS if name in result}


def _logsumexp(values: np.ndarray) -> np.ndarray:
    """Logarithm of the sum of exponentials along the last axis; -inf entries count nothing, one entry is exact."""
    peak = values.max(axis=-1, initial=-np.inf)
    with np.errstate(invalid="ignore", divide="ignore"):
        sums = peak + np.log(np.exp(values - peak[..., None]).sum(axis=-1))
    return np.where(peak == -np.inf, -np.inf, sums)


def match_choices(choices: Choices, logprobs: pa.Table, path: FilePath) -> pl.DataFrame:
    """The rows of one checkpoint's ``logprobs`` in the order of ``choices``, one per item and choice.

    Columns: ``item``, ``choice``, ``is_gold``, ``log_likelihood``, ``num_tokens``, ``num_bytes``, ``num_chars``,
    ``is_greedy`` and, where the table has it, ``log_likelihood_unconditional``. ``logprobs`` may be in any order, and
    may have the items that are dropped from ``choices``.
    Raises :class:`ElusiveError`, naming ``path`` and the first item concerned, when a choice is missing, superfluous or
    repeated, when ``is_gold`` disagrees, or when a log-likelihood is not finite.
    """
    extra = [name for name in (_UNCONDITIONAL,) if name in logprobs.column_names]
    found = pl.from_arrow(logprobs.select(["item", "choice", "is_gold", "log_likelihood", *_CHOICE_COLUMNS, *extra]))
    if choices.dropped:
        found = found.filter(~pl.col("item").is_in(list(choices.dropped)))
    joined = choices.frame.join(found, on=["item", "choice"], how="left", maintain_order="left", suffix="_found")
    # The order of the checks lets each rely on the ones before it.
    for what, rows in (
        ("has no log-likelihood", joined.filter(pl.col("log_likelihood").is_null())),
        ("is not in the items table", found.join(choices.frame, on=["item", "choice"], how="anti")),
        ("appears more than once", joined.filter(pl.struct("item", "choice").is_duplicated())),
        (
            "has another gold choice than in the items table",
            joined.filter(pl.col("is_gold") != pl.col("is_gold_found")),
        ),
        ("has a log-likelihood that is not finite", joined.filter(~pl.col("log_likelihood").is_finite())),
    ):
        if len(rows):
            item, choice = rows.row(0)[:2]
            raise ElusiveError(f"{path}: item {item!r}, choice {choice} {what} ({len(rows)} such rows)")
    return joined.drop("is_gold_found")


def checkpoint_metrics(choices: Choices, logprobs: pa.Table, path: FilePath) -> dict[str, np.ndarray]:
    """Metrics and variants, float64 [items] each, of one checkpoint on exactly the items and choices of ``choices``.

    Those that take a column with nulls are left out. Raises :class:`ElusiveError` as :func:`match_choices` does.
    """
    joined = match_choices(choices, logprobs, path)
    shape = (len(choices.gold), int(choices.num_choices.max()))
    exists = np.arange(shape[1]) < choices.num_choices[:, None]

    def matrix(column: str) -> np.ndarray | None:
        if column not in joined.columns or joined[column].null_count():
            return None
        values = np.zeros(shape)
        values[exists] = joined[column].to_numpy()
        return values

    log_likelihood = matrix("log_likelihood")
    lengths = {unit: matrix(f"num_{unit}s") for unit in ("token", "byte", "char")}
    key = (choices.gold, choices.num_choices)
    known = {unit: length for unit, length in lengths.items() if length is not None}
    return choice_metrics(log_likelihood, lengths["char"], *key) | variant_metrics(
        log_likelihood, known, *key, matrix("is_greedy"), matrix(_UNCONDITIONAL)
    )


def present(columns: Iterable[str]) -> list[str]:
    """Metrics and variants among ``columns``, in the order of :data:`METRICS`, then :data:`VARIANTS`."""
    columns = set(columns)
    return [name for name in (*METRICS, *VARIANTS) if name in columns]


def measured(table: pa.Table, columns: Iterable[str] | None = None) -> list[str]:
    """:func:`present` of a metrics table's columns (or those of ``columns``), without what its logs lacked: nulls."""
    names = present(table.column_names if columns is None else columns)
    return [name for name in names if not table[name].null_count]


def write_metrics(
    *,
    logprobs: Sequence[FilePath],
    items: FilePath,
    families: Mapping[str, Sequence[Member]],
    benchmark: str,
    outputs: Mapping[str, FilePath],
    allow_duplicates: Collection[str] = (),
) -> None:
    """Write the metrics tables of one benchmark, one per family, to ``outputs``.

    ``logprobs`` holds one logprobs table per checkpoint, in any order, all of them over the items of the table
    ``items``; ``families`` the members of each family. Rows are sorted by (flops, model, checkpoint), then in items
    order. An item that one checkpoint could not be scored on is left out for all, and so is a metric that cannot be
    computed for one of them, or it is null where the contract has it. Raises :class:`ElusiveError` when a file does not
    fit the items, lacks its metadata or repeats a checkpoint, when a member has no file, or when two members have equal
    weights or log-likelihoods and their family is none of ``allow_duplicates``.
    """
    dropped = dropped_items(logprobs)
    whole = read_table(items, "items", ["item", "subject", "gold", "num_choices"])
    choices = Choices.of(whole, items, dropped)
    items_table = choices.items
    if dropped:
        logger.warning(
            "metrics on %s: %d of %d items are left out, since a checkpoint could not be scored on them",
            benchmark,
            len(dropped),
            len(whole),
        )
    digest = sha256_file(items)
    paths = by_checkpoint(logprobs)
    # A checkpoint may belong to many families, and is read once.
    scores: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for family, members in families.items():
        if not members:
            raise ElusiveError(f"family {family!r} has no checkpoints to compute metrics of")
        for member in members:
            key = (member["model"], member["checkpoint"])
            if key not in paths:
                raise ElusiveError(f"family {family!r}: no log-likelihoods of {'/'.join(key)} on {benchmark!r}")
            if key not in scores:
                scores[key] = checkpoint_metrics(choices, read_table(paths[key], "logprobs"), paths[key])
    about = {key: read_metadata(paths[key]) for key in scores}
    revisions = {key: equality.weights(metadata) for key, metadata in about.items()}
    digests = {key: equality.scores_digest(own) for key, own in scores.items()}
    names = _shared_names(scores, about, benchmark)
    for family, members in families.items():
        tables = []
        for member in sorted(members, key=lambda m: (m["flops"], m["model"], m["checkpoint"])):
            own = scores[member["model"], member["checkpoint"]]
            described = {column: convert(member[column]) for column, convert in _MEMBER.items()}
            tables.append(
                pa.table(
                    {
                        **{column: pa.repeat(value, len(items_table)) for column, value in described.items()},
                        "benchmark": pa.repeat(benchmark, len(items_table)),
                        **{column: items_table[column] for column in ("subject", "item", "num_choices")},
                        **{name: pa.nulls(len(items_table), pa.float64()) for name in NULLABLE if name not in names},
                        **{name: own[name] for name in (*names, LOG_BRIER)},
                    }
                )
            )
        if family not in allow_duplicates:
            _check_duplicates(family, members, revisions, digests, f"on all {len(items_table)} items of {benchmark}")
        metadata = {
            "family": family,
            "benchmark": benchmark,
            "members": [[table["model"][0].as_py(), table["checkpoint"][0].as_py()] for table in tables],
            "items": digest,
            "dropped_items": dropped,
        }
        write_table(pa.concat_tables(tables).combine_chunks(), outputs[family], "metrics", metadata)
        logger.info("metrics of %s on %s: %d checkpoints × %d items", family, benchmark, len(tables), len(items_table))


def _check_duplicates(
    family: str,
    members: Sequence[Member],
    revisions: Mapping[tuple[str, str], str | None],
    digests: Mapping[tuple[str, str], str],
    where: str,
) -> None:
    if found := equality.twins(members, revisions, digests):
        said = " ".join(equality.text(twin, where) for twin in found[:_NAMED_TWINS])
        if len(found) > _NAMED_TWINS:
            said += f" So have {len(found) - _NAMED_TWINS} more pairs."
        raise ElusiveError(
            f"family {family!r}: {said} A checkpoint was copied or uploaded in the place of another, or its requests "
            "were answered from the other one's cache; as independent points they would narrow every interval. Leave "
            "one out, or write `allow_duplicates: true` in the family if both are meant to count"
        )


def _shared_names(
    scores: Mapping[tuple[str, str], Mapping[str, np.ndarray]],
    about: Mapping[tuple[str, str], Mapping[str, Any]],
    benchmark: str,
) -> list[str]:
    """The metrics that every checkpoint has; what is left out is said, with the first checkpoint that lacks it.

    ``about`` are the metadata of the tables of log-likelihoods.
    """
    names = present(name for own in scores.values() for name in own)
    shared = [name for name in names if all(name in own for own in scores.values())]
    contexts = {metadata.get("unconditional_context", "") for metadata in about.values()}
    if "accuracy_pmi" in shared and len(contexts) > 1:
        shared = [name for name in shared if not name.endswith("_pmi")]
        logger.warning(
            "%s: no metrics of PMI: their log-likelihoods stand behind different contexts: %s",
            *(benchmark, ", ".join(map(repr, sorted(contexts)))),
        )
    # Those of PMI take more than a table has to have.
    for name in present([*names, *(name for name in (*METRICS, *VARIANTS) if not name.endswith("_pmi"))]):
        lacking = next(("/".join(key) for key, own in scores.items() if name not in own), None)
        if lacking is not None:
            what = "is null" if name in NULLABLE else "is left out"
            logger.info("%s: %s %s, since what it takes is not in the table of %s", benchmark, name, what, lacking)
    return shared


def by_checkpoint(logprobs: Iterable[FilePath]) -> dict[tuple[str, str], FilePath]:
    """The file of each (model, checkpoint); raises :class:`ElusiveError` when two files are of one checkpoint."""
    paths: dict[tuple[str, str], FilePath] = {}
    for path in logprobs:
        key = read_checkpoint(path)
        if key in paths:
            raise ElusiveError(f"{path}: {'/'.join(key)} is already in {paths[key]}")
        paths[key] = path
    return paths


def dropped_items(logprobs: Iterable[FilePath]) -> list[str]:
    """The items, in order, that some of the logprobs files say they were made without."""
    return sorted({item for path in logprobs for item in read_metadata(path).get("dropped_items") or ()})


def read_checkpoint(path: FilePath) -> tuple[str, str]:
    """Model and checkpoint that a logprobs file's metadata names."""
    metadata = read_metadata(path)
    try:
        return str(metadata["model"]), str(metadata["checkpoint"])
    except KeyError as error:
        raise ElusiveError(f"{path}: its metadata must name model and checkpoint; it lacks {error}") from error
