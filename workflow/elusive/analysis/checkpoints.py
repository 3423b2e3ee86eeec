"""The table of checkpoints: sizes, tokens, compute and, of models trained here, validation losses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pyarrow as pa

from elusive.analysis.metrics import FilePath, Member
from elusive.errors import ElusiveError
from elusive.tables import SCHEMAS, write_csv, write_table


def write_checkpoints(
    *,
    checkpoints: Sequence[Member],
    training: Sequence[FilePath],
    output_parquet: FilePath,
    output_csv: FilePath,
    losses: Mapping[tuple[str, str], float] | None = None,
) -> None:
    """Write the table ``checkpoints`` as Parquet and CSV, sorted by parameters, model, tokens and checkpoint.

    ``checkpoints`` are those of the registry, with ``parameters_nonembedding`` (None where it is not known) besides;
    ``training`` holds the ``training.json`` of those that the workflow trained itself, ``losses`` are those that a
    published data set has of its (model, checkpoint): without one, ``validation_loss`` (nats per token) is null.
    ``flops_nonembedding`` is 6·N·D with the parameters outside the embeddings.
    """
    losses = dict(losses or {})
    for path in training:
        try:
            with open(path, encoding="utf-8") as file:
                record = json.load(file)
            losses[record["model"], record["checkpoint"]] = record["validation_loss"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ElusiveError(f"{path}: not a readable record of training ({error!r})") from error
    rows = []
    for about in checkpoints:
        outside = about["parameters_nonembedding"]
        rows.append(
            {
                **about,
                "flops_nonembedding": None if outside is None else 6.0 * outside * about["tokens"],
                "validation_loss": losses.get((about["model"], about["checkpoint"])),
            }
        )
    rows.sort(key=lambda r: (r["parameters"], r["model"], r["tokens"], r["checkpoint"]))
    table = pa.Table.from_pylist(rows, SCHEMAS["checkpoints"])
    write_table(table, output_parquet, "checkpoints")
    write_csv(table, output_csv)
