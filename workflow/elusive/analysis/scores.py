"""The table of mean scores: accuracy of every checkpoint on every benchmark, against chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from elusive.analysis.correlations import checkpoint_blocks
from elusive.analysis.metrics import FilePath
from elusive.errors import ElusiveError
from elusive.tables import SCHEMAS, read_table, write_csv, write_table


def write_scores(*, metrics: Sequence[FilePath], output_parquet: FilePath, output_csv: FilePath) -> None:
    """Write the table ``scores`` as Parquet and CSV, sorted by benchmark, flops, model and checkpoint.

    ``metrics`` holds metrics tables of any families; a checkpoint in several of them has one row. ``chance`` is the
    mean of 1/K over the items; ``accuracy_se`` the standard error of ``accuracy`` over items (null for a single one);
    ``above_chance_se`` is accuracy minus chance in standard errors that guessing at random would have.
    """
    rows: dict[tuple[str, str, str], dict[str, object]] = {}
    for path in metrics:
        table = read_table(path, "metrics")
        checkpoints, items = checkpoint_blocks(table, path)
        guess = 1 / items["num_choices"].to_numpy()
        n = len(items)
        columns = ("accuracy", "accuracy_norm", "p_choices_correct", "brier", "log_p_vocab_correct")
        means = {
            column: [None] * len(checkpoints)
            if table[column].null_count
            else table[column].to_numpy().reshape(-1, n).mean(axis=1).tolist()
            for column in columns
        }
        for i, about in enumerate(
            checkpoints.select(["model", "checkpoint", "parameters", "tokens", "flops", "benchmark"]).to_pylist()
        ):
            accuracy = means["accuracy"][i]
            row = about | {column: means[column][i] for column in columns}
            row |= {
                "num_items": n,
                "chance": float(guess.mean()),
                "accuracy_se": (accuracy * (1 - accuracy) / (n - 1)) ** 0.5 if n > 1 else None,
                "above_chance_se": float((accuracy - guess.mean()) / np.sqrt((guess * (1 - guess)).sum()) * n),
            }
            key = (about["benchmark"], about["model"], about["checkpoint"])
            if rows.setdefault(key, row) != row:
                raise ElusiveError(f"{path}: scores {'/'.join(key[1:])} on {key[0]} otherwise than another file does")
    ordered = sorted(rows.values(), key=lambda r: (r["benchmark"], r["flops"], r["model"], r["checkpoint"]))
    table = pa.Table.from_pylist(ordered, SCHEMAS["scores"])
    write_table(table, output_parquet, "scores")
    write_csv(table, output_csv)
