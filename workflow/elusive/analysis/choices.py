"""How the mass on each single choice, right or wrong, moves with compute: the test that the paper leaves open.

For one family, with ``l`` the log-likelihood of one choice under each of its checkpoints, x = log10 of 6·N·D, and
``l_c`` the log-likelihood of the item's correct choice:

- ``pearson``, ``spearman``, ``kendall``: correlation of ``l`` with x;
- ``slope`` (nats per tenfold compute) and ``residual_sd`` (nats, n - 2 in the denominator): the least-squares line of
  ``l`` on x, the simplest scaling law of a choice;
- ``comovement``: Spearman's correlation of ``l`` with ``l_c`` over the checkpoints, how far a wrong choice rises and
  falls with the right one;
- ``comovement_partial``: Pearson's correlation of the two lines' residuals, what is left of that at equal compute.

Both are null for the correct choice itself. A correlation of a constant is undefined, and null. Checkpoints with no
FLOPs are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from elusive import logs
from elusive.analysis.correlations import METHODS, pearson, rank_correlations
from elusive.analysis.metrics import Choices, FilePath, Member, by_checkpoint, dropped_items, match_choices
from elusive.errors import ElusiveError
from elusive.tables import read_table, write_table

logger = logs.get(__name__)

# Choices taken at a time, which bounds the memory. No result depends on it.
_BLOCK = 20_000


def choice_laws(x: np.ndarray, log_likelihood: np.ndarray, correct: np.ndarray) -> dict[str, np.ndarray]:
    """Correlations, line and co-movement of every choice: float64 [choices] each, NaN where undefined.

    ``x`` [models] is log10 FLOPs, ``log_likelihood`` [models, choices] in nats, ``correct`` [choices] the column of the
    correct choice of each choice's item.
    """
    spearman, kendall = rank_correlations(x, log_likelihood)
    result = dict(zip(METHODS, (pearson(x, log_likelihood), spearman, kendall), strict=True))
    count = log_likelihood.shape[1]
    result |= {name: np.full(count, np.nan) for name in ("slope", "residual_sd", "comovement", "comovement_partial")}
    models, centred = len(x), x - x.mean() if len(x) else x
    if len(np.unique(x)) < 2:
        return result
    for start in range(0, count, _BLOCK):
        chunk = slice(start, start + _BLOCK)
        # With the correct choices of a block's items come all the columns that it needs.
        columns, inverse = np.unique(np.r_[np.arange(count)[chunk], correct[chunk]], return_inverse=True)
        own, theirs = np.split(inverse, 2)
        # Relative to the first checkpoint a constant is exactly 0.
        block = log_likelihood[:, columns] - log_likelihood[0, columns]
        slope = (centred[:, None] * block).sum(axis=0) / (centred**2).sum()
        residual = block - block.mean(axis=0) - centred[:, None] * slope
        result["slope"][chunk] = slope[own]
        if models > 2:
            result["residual_sd"][chunk] = np.sqrt((residual**2).sum(axis=0) / (models - 2))[own]
            result["comovement_partial"][chunk] = _column_correlation(residual[:, own], residual[:, theirs])
        ranks = _centred_ranks(block)
        result["comovement"][chunk] = _column_correlation(ranks[:, own], ranks[:, theirs])
    alone = correct == np.arange(count)
    for name in ("comovement", "comovement_partial"):
        result[name][alone] = np.nan
    return result


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    """Average ranks down each column of ``values`` [models, columns], minus their mean."""
    # As scipy.stats has them, which takes a second to load.
    order = values.argsort(axis=0, kind="stable")
    ascending = np.take_along_axis(values, order, axis=0)
    place = np.broadcast_to(np.arange(len(values))[:, None], values.shape)
    changes = ascending[1:] != ascending[:-1]
    ends = np.ones_like(changes[:1], shape=(1, values.shape[1]))
    first = np.maximum.accumulate(np.where(np.concatenate([ends, changes]), place, 0))
    last = np.minimum.accumulate(np.where(np.concatenate([changes, ends]), place, len(values) - 1)[::-1])[::-1]
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (first + last - (len(values) - 1)) / 2, axis=0)
    return ranks


def _column_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlation of each column of ``first`` with the same one of ``second``, both centred; NaN for constants."""
    squares = (first**2).sum(axis=0) * (second**2).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.clip((first * second).sum(axis=0) / np.sqrt(squares), -1.0, 1.0)


def write_choices(
    *,
    logprobs: Sequence[FilePath],
    items: FilePath,
    families: Mapping[str, Sequence[Member]],
    benchmark: str,
    outputs: Mapping[str, FilePath],
) -> None:
    """Write the choices tables of one benchmark, one per family, to ``outputs``.

    Arguments as of :func:`~elusive.analysis.metrics.write_metrics`. One row per item and choice, in items order.
    """
    items_table = read_table(items, "items", columns=["item", "subject", "gold", "num_choices"])
    choices = Choices.of(items_table, items, dropped_items(logprobs))
    items_table = choices.items
    start = np.cumsum(choices.num_choices) - choices.num_choices
    correct = np.repeat(start + choices.gold, choices.num_choices)
    paths = by_checkpoint(logprobs)
    scores: dict[tuple[str, str], np.ndarray] = {}
    lengths: pa.Table | None = None
    for family, members in families.items():
        trained = [member for member in members if member["flops"] > 0]
        for member in trained:
            key = (member["model"], member["checkpoint"])
            if key not in paths:
                raise ElusiveError(f"family {family!r}: no log-likelihoods of {'/'.join(key)} on {benchmark!r}")
            if key not in scores:
                matched = match_choices(choices, read_table(paths[key], "logprobs"), paths[key])
                scores[key] = matched["log_likelihood"].to_numpy()
                # Characters are the same under every checkpoint; tokens are not.
                lengths = lengths if lengths is not None else matched.select("num_chars").to_arrow()
        x = np.log10([member["flops"] for member in trained])
        matrix = np.stack([scores[member["model"], member["checkpoint"]] for member in trained])
        laws = choice_laws(x, matrix, correct)
        count = len(correct)
        table = pa.table(
            {
                "family": pa.repeat(family, count),
                "benchmark": pa.repeat(benchmark, count),
                "subject": items_table["subject"].take(np.repeat(np.arange(len(items_table)), choices.num_choices)),
                **{name: choices.frame[name].to_arrow() for name in ("item", "choice", "is_gold")},
                "num_choices": np.repeat(choices.num_choices, choices.num_choices),
                "num_chars": lengths["num_chars"],
                "num_models": pa.repeat(len(trained), count),
                "mean_log_likelihood": matrix.mean(axis=0),
                **{name: pa.array(values, from_pandas=True) for name, values in laws.items()},
            }
        )
        write_table(table, outputs[family], "choices", {"family": family, "benchmark": benchmark})
        logger.info("choices of %s on %s: %d checkpoints × %d choices", family, benchmark, len(trained), count)
