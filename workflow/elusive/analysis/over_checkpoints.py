"""The tables of what depends on a family's checkpoints: checkpoint_intervals, headline and predictability.

They share :mod:`elusive.analysis.resampling`, which is most of the work, and so are written in one go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from elusive import logs
from elusive.analysis.checkpoint_intervals import family_intervals
from elusive.analysis.correlations import trained_scores
from elusive.analysis.headline import family_headline
from elusive.analysis.metrics import FilePath
from elusive.analysis.predictability import rank_scores
from elusive.analysis.resampling import resample
from elusive.analysis.shuffles import Shuffles
from elusive.analysis.statistics import drawing_units
from elusive.errors import ElusiveError
from elusive.tables import read_metadata, read_table, whole_schema, write_csv, write_table

logger = logs.get(__name__)

TABLES = ("checkpoint_intervals", "headline", "predictability")


def write_over_checkpoints(
    *, metrics: Sequence[FilePath], items: Sequence[FilePath] = (), outputs: Mapping[str, tuple[FilePath, FilePath]]
) -> None:
    """Write the :data:`TABLES`, each as Parquet and as CSV to the two paths that ``outputs`` has for it.

    ``metrics`` are the metrics tables of any families and benchmarks, ``items`` the benchmarks' items tables, which say
    what items are drawn together. Rows are sorted by family and benchmark, then as
    :func:`~elusive.analysis.checkpoint_intervals.family_intervals`, :func:`~elusive.analysis.headline.family_headline`
    and :func:`~elusive.analysis.predictability.rank_scores` say, whatever the order of the files.
    """
    about = {read_metadata(path)["benchmark"]: path for path in items}
    found: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
    known: dict[bytes, Shuffles] = {}
    for key, checkpoints, rows, scores in trained_scores(metrics, None, ["tokens", "subject"]):
        flops = checkpoints["flops"].to_numpy()
        x = np.log10(flops)
        if x.tobytes() not in known:
            known[x.tobytes()] = Shuffles.of(x)
        family = resample(flops, checkpoints["model"].to_pylist(), scores, known[x.tobytes()])
        units = drawing_units(pl.from_arrow(rows.select(["item", "subject"])), about.get(key[1]))
        headline = family_headline(family, units)
        found[key] = {
            "checkpoint_intervals": family_intervals(family, checkpoints["tokens"].to_numpy()),
            "headline": headline,
            "predictability": rank_scores(family, headline, units),
        }
        logger.info("%s on %s: %d checkpoints, %d scores", *key, len(checkpoints), len(scores))
    if not found:
        raise ElusiveError(f"{outputs[TABLES[0]][0]}: there are no metrics to look at")
    for name in TABLES:
        lines = [
            {"family": key[0], "benchmark": key[1]}
            | {column: None if isinstance(value, float) and np.isnan(value) else value for column, value in row.items()}
            for key in sorted(found)
            for row in found[key][name]
        ]
        parquet, csv = outputs[name]
        write_table(pa.Table.from_pylist(lines, whole_schema(name)), parquet, name, {"level": 0.95})
        write_csv(read_table(parquet, name), csv)
    chosen = sum(row["recommended"] for tables in found.values() for row in tables["predictability"])
    logger.info("%d families × benchmarks, %d scores recommended", len(found), chosen)
