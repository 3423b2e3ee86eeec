"""Score–compute correlations: per item, each metric against log10 FLOPs over a family's checkpoints.

For one item the scores of the family's checkpoints are one column of a matrix [models, items]; the same x (log10 of
6·N·D) goes with every column, so each method is a handful of operations on whole matrices:

- ``pearson``: product moment of centred, scaled columns;
- ``spearman``: product moment of average ranks. The sum over ``j`` of ``sign(y_i - y_j)`` is twice the centred
  average rank of ``y_i``, a whole number, so monotone columns give exactly ±1;
- ``kendall``: tau-b, from the same signs.

They equal ``scipy.stats`` within 1e-12. As there, a correlation is undefined (null) only when the column, or x, is
constant to the last bit, or when fewer than two checkpoints are left; a column that varies by rounding noise alone has
a correlation. Losses (``brier``) are negated first; checkpoints without compute have no log FLOPs and are left out.

Probabilities are correlated through the logarithms that the metrics table holds beside them: the ranks of ``p`` are
those of ``log p``, and Pearson takes ``exp(log p - max log p) - 1``, which differs from ``p`` by a shift and a factor.
So neither underflow (p_vocab below 1e-308) nor rounding to 1 (p_choices) makes ties that are not in the numbers, and
Spearman and Kendall of ``p_vocab`` and ``log p_vocab`` are the same to the last bit. The same goes for ``brier``, whose
values round to 2/K where the correct choice is far behind: it is taken through ``log_brier``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from elusive import logs
from elusive.analysis.metrics import LOG_BRIER, FilePath, measured, present
from elusive.errors import ElusiveError
from elusive.tables import read_metadata, read_table, write_table

logger = logs.get(__name__)

METHODS = ("pearson", "spearman", "kendall")

#: Metrics of which less is better.
LOSSES = frozenset({"brier"})

#: Probabilities and the Brier score, and the column with their logarithm, but for a constant.
LOGARITHMS = {
    "p_vocab_correct": "log_p_vocab_correct",
    "p_vocab_incorrect": "log_p_vocab_incorrect",
    "p_choices_correct": "log_p_choices_correct",
    "brier": LOG_BRIER,
}

# Items taken at a time: the matrices of one block stay in the processor's cache. No result depends on it.
_BLOCK = 4096


def ranked(metric: str, scores: Mapping[str, np.ndarray]) -> np.ndarray:
    """What ``metric`` is ranked by, more being better: its logarithm where it has one, negated for a loss."""
    values = scores[LOGARITHMS.get(metric, metric)]
    return -values if metric in LOSSES else values


def scale_of(metric: str) -> Callable[[np.ndarray], np.ndarray]:
    """The function that turns :func:`ranked` scores [models, items] into those whose product moment is taken.

    It differs from the metric by a shift and a factor that every column has of its own.
    """
    if metric not in LOGARITHMS:
        return as_it_is
    return _loss if metric in LOSSES else _probability


def as_it_is(scores: np.ndarray) -> np.ndarray:
    """The scale of what has no logarithm."""
    return scores


def _probability(logarithms: np.ndarray) -> np.ndarray:
    return np.expm1(logarithms - logarithms.max(axis=0, initial=-np.inf))


def _loss(negated: np.ndarray) -> np.ndarray:
    return -np.expm1(negated.min(axis=0, initial=np.inf) - negated)


def with_logarithms(names: Iterable[str], columns: Iterable[str]) -> list[str]:
    """``names`` of metrics, and behind them the ``columns`` of a metrics table that these are ranked by."""
    names, columns = list(names), set(columns)
    more = dict.fromkeys(LOGARITHMS[name] for name in names if name in LOGARITHMS)
    return [*names, *(name for name in more if name in columns and name not in names)]


def pearson(x: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Pearson correlation of ``x`` [models] with each column of ``scores`` [models, items]: float64 [items].

    NaN where either is constant or holds a NaN.
    """
    result = np.full(scores.shape[1], np.nan)
    if len(x) == 0:
        return result
    x = unit(np.asarray(x, np.float64)[:, None])
    for start in range(0, scores.shape[1], _BLOCK):
        block = np.asarray(scores[:, start : start + _BLOCK], np.float64)
        result[start : start + _BLOCK] = (x * unit(block)).sum(axis=0)
    return np.clip(result, -1.0, 1.0)


def unit(columns: np.ndarray) -> np.ndarray:
    """The columns centred and divided by their Euclidean norm, without underflow; NaN for a constant one."""
    with np.errstate(divide="ignore", invalid="ignore"):
        # Relative to the first row a constant column is exactly 0, whatever the rounding of its mean.
        columns = columns - columns[0]
        columns = columns / np.abs(columns).max(axis=0)
        columns = columns - columns.mean(axis=0)
        return columns / np.sqrt((columns**2).sum(axis=0))


def rank_correlations(x: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spearman's rho and Kendall's tau-b of ``x`` [models] with each column of ``scores`` [models, items].

    Two float64 [items]; NaN where either is constant or holds a NaN. Ties share their average rank.
    """
    order = np.argsort(x, kind="stable")
    x, scores = np.asarray(x, np.float64)[order], scores[order]
    models, items = scores.shape
    # With x ascending, checkpoint i is tied in x with those before its group's end and below all that follow.
    group_end = np.searchsorted(x, x, side="right")
    x_ranks = np.searchsorted(x, x, side="left") + group_end - models
    x_pairs = int((models - group_end).sum())
    spearman, kendall = np.full(items, np.nan), np.full(items, np.nan)
    for start in range(0, items, _BLOCK):
        block = np.ascontiguousarray(scores[:, start : start + _BLOCK])
        ranks = np.zeros(block.shape, np.int32)
        concordance, pairs = np.zeros((2, block.shape[1]), np.int64)
        for i in range(models - 1):
            later = block[i + 1 :]
            signs = (later > block[i]).view(np.int8) - (later < block[i]).view(np.int8)
            ranks[i + 1 :] += signs
            ranks[i] -= signs.sum(axis=0, dtype=np.int32)
            pairs += np.count_nonzero(signs, axis=0)
            concordance += signs[group_end[i] - i - 1 :].sum(axis=0, dtype=np.int32)
        # Both rankings are twice the centred average ranks: whole numbers, and the factors cancel in the quotient.
        products = (x_ranks[:, None] * ranks).sum(axis=0)
        squares = (ranks.astype(np.float64) ** 2).sum(axis=0) * float((x_ranks**2).sum())
        known = ~np.isnan(block).any(axis=0)
        chunk = slice(start, start + _BLOCK)
        np.divide(products, np.sqrt(squares), out=spearman[chunk], where=known & (squares > 0))
        squares = pairs * float(x_pairs)
        np.divide(concordance, np.sqrt(squares), out=kendall[chunk], where=known & (squares > 0))
    return spearman, kendall


def metric_correlations(flops: np.ndarray, metrics: dict[str, np.ndarray]) -> dict[tuple[str, str], np.ndarray]:
    """Correlations, float64 [items] with NaN where undefined, of every metric with log10 FLOPs by every method.

    ``flops`` [models] is positive; ``metrics`` maps names in :data:`~elusive.analysis.metrics.METRICS` (each
    probability and loss with its logarithm) and :data:`~elusive.analysis.metrics.VARIANTS` to scores [models, items].
    The result is keyed by (metric, method), metrics first.
    """
    x = np.log10(flops)
    ranks: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    result: dict[tuple[str, str], np.ndarray] = {}
    for metric in present(metrics):
        column, scores = LOGARITHMS.get(metric, metric), ranked(metric, metrics)
        if column not in ranks:
            ranks[column] = rank_correlations(x, scores)
        for method, values in zip(METHODS, (pearson(x, scale_of(metric)(scores)), *ranks[column]), strict=True):
            result[metric, method] = values
    return result


def correlate(table: pa.Table, path: FilePath, family: str) -> pa.Table:
    """The correlations table of a metrics table: rows by metric, then method, then item, in the orders of each.

    ``path`` names the metrics table in error messages, ``family`` fills the column. Raises :class:`ElusiveError` unless
    the rows are one block of the same items in the same order per checkpoint.
    """
    checkpoints, items = checkpoint_blocks(table, path)
    flops = checkpoints["flops"].to_numpy()
    trained = np.flatnonzero(flops > 0)
    if len(np.unique(flops[trained])) < 3:
        logger.warning(
            "%s: family %s has %d checkpoints with compute, at %d different FLOPs; correlations of so few say nothing",
            *(path, family, len(trained), len(np.unique(flops[trained]))),
        )
    names = with_logarithms(measured(table), table.column_names)
    scores = {m: table[m].to_numpy().reshape(len(checkpoints), len(items))[trained] for m in names}
    result = metric_correlations(flops[trained], scores)
    blocks = [
        pa.table(
            {
                "family": pa.repeat(family, len(items)),
                **{column: items[column] for column in ("benchmark", "subject", "item")},
                "metric": pa.repeat(metric, len(items)),
                "method": pa.repeat(method, len(items)),
                "correlation": pa.array(values, from_pandas=True),
                "num_models": pa.repeat(pa.scalar(len(trained), pa.int32()), len(items)),
            }
        )
        for (metric, method), values in result.items()
    ]
    return pa.concat_tables(blocks).combine_chunks()


def checkpoint_blocks(table: pa.Table, path: FilePath) -> tuple[pa.Table, pa.Table]:
    """Of a metrics table: the first row of every checkpoint, and the rows of the first checkpoint.

    The former says which checkpoints there are and the latter which items; any column reshaped to [models, items] has
    them as its rows and columns. Raises :class:`ElusiveError`, naming ``path``, unless the table is one block of the
    same items in the same order per checkpoint.
    """
    codes = {
        column: table[column].combine_chunks().dictionary_encode().indices.to_numpy()
        for column in ("model", "checkpoint", "item")
    }
    num_items = int(codes["item"].max(initial=-1)) + 1
    if num_items == 0 or len(table) % num_items:
        raise ElusiveError(f"{path}: not every checkpoint has every item")
    blocks = {column: code.reshape(-1, num_items) for column, code in codes.items()}
    members = set(zip(blocks["model"][:, 0].tolist(), blocks["checkpoint"][:, 0].tolist(), strict=True))
    if (
        (blocks["item"] != np.arange(num_items)).any()
        or any((blocks[column] != blocks[column][:, :1]).any() for column in ("model", "checkpoint"))
        or len(members) < len(blocks["item"])
    ):
        raise ElusiveError(
            f"{path}: its rows must be one block per checkpoint, each of the same items in the same order"
        )
    return table.take(np.arange(0, len(table), num_items)), table.slice(0, num_items)


def trained_scores(
    metrics: Sequence[FilePath], names: Sequence[str] | None = None, columns: Sequence[str] = ()
) -> Iterator[tuple[tuple[str, str], pa.Table, pa.Table, dict[str, np.ndarray]]]:
    """Family and benchmark, checkpoints, items and scores of each of the ``metrics`` tables.

    The checkpoints are those with FLOPs above zero: one row each with model, checkpoint, flops, benchmark and
    ``columns``, which the rows of items have too. The scores are float64 [models, items] by the ``names`` of metrics,
    or by all metrics and variants that the table has without any, and what these are ranked by; those that are null are
    left out.
    Raises :class:`ElusiveError` as :func:`checkpoint_blocks` does, and when a family's benchmark is there twice.
    """
    seen: set[tuple[str, str]] = set()
    for path in metrics:
        there = pq.read_schema(path).names
        chosen = present(there) if names is None else names
        wanted = ["model", "checkpoint", "item", "benchmark", "flops", *columns, *with_logarithms(chosen, there)]
        table = read_table(path, "metrics", columns=wanted)
        checkpoints, items = checkpoint_blocks(table, path)
        key = (str(read_metadata(path)["family"]), checkpoints["benchmark"][0].as_py())
        if key in seen:
            raise ElusiveError(f"{path}: the metrics of {key[0]!r} on {key[1]!r} are already in another file")
        seen.add(key)
        trained = np.flatnonzero(checkpoints["flops"].to_numpy() > 0)
        known = with_logarithms(measured(table, chosen), there)
        scores = {name: table[name].to_numpy().reshape(len(checkpoints), len(items))[trained] for name in known}
        yield key, checkpoints.take(trained), items, scores


def write_correlations(*, metrics: Mapping[str, FilePath], benchmark: str, outputs: Mapping[str, FilePath]) -> None:
    """Write the correlations tables of one benchmark, one per family, to ``outputs``.

    ``metrics`` and ``outputs`` map each family to its metrics table and to the table to write.
    """
    for family, path in metrics.items():
        table = read_table(path, "metrics")
        if table["benchmark"].unique().to_pylist() != [benchmark]:
            raise ElusiveError(f"{path}: is not a metrics table of {benchmark!r} alone")
        correlations = correlate(table, path, family)
        write_table(correlations, outputs[family], "correlations", {**read_metadata(path), "family": family})
        undefined = correlations["correlation"].null_count / len(correlations)
        logger.info(
            *("correlations of %s on %s: %d rows, %.1f %% undefined", family, benchmark),
            *(len(correlations), 100 * undefined),
        )
