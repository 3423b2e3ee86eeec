"""The ceiling of any score: how closely the validation loss itself follows compute, tokens and parameters.

No score of a benchmark can be expected to follow compute more closely than the loss that training lowers. For each
family whose checkpoints' validation losses are known: the correlation of the loss, negated so that better is more, with
log10 FLOPs, log10 tokens and log10 parameters, each with its interval over checkpoints
(:mod:`elusive.analysis.resampling`) and the share of the orders of that variable that give as much or more
(:mod:`elusive.analysis.shuffles`).

``axis`` says along what the family varies: ``tokens`` (checkpoints of one size), ``parameters`` (sizes trained on as
many tokens), ``both``, or ``neither``. Checkpoints of no tokens are left out, as everywhere. ``note`` says why a
correlation is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from elusive import logs
from elusive.analysis.correlations import METHODS, as_it_is, pearson, rank_correlations
from elusive.analysis.leaving import pearson_without_each, ranks_without_each
from elusive.analysis.metrics import FilePath, Member
from elusive.analysis.resampling import LEAST_CHECKPOINTS, mean_correlations, mean_interval
from elusive.analysis.shuffles import LEVEL, Shuffles
from elusive.errors import ElusiveError
from elusive.tables import SCHEMAS, read_table, write_csv, write_table

logger = logs.get(__name__)

VARIABLES = ("flops", "tokens", "parameters")


def axis(parameters: Sequence[int], tokens: Sequence[int]) -> str:
    """Along what checkpoints of these numbers of parameters and tokens vary."""
    varying = (len(set(parameters)) > 1, len(set(tokens)) > 1)
    return {(True, True): "both", (True, False): "parameters", (False, True): "tokens"}.get(varying, "neither")


def loss_correlations(variable: np.ndarray, losses: np.ndarray) -> dict[str, dict[str, Any]]:
    """By method: the correlation of minus the ``losses`` with log10 ``variable``, both [models], and what is known of
    it: columns of the table."""
    x, scores = np.log10(variable), -losses[:, None]
    shuffles = Shuffles.of(x)
    shuffled, found = mean_correlations(shuffles, [(scores, as_it_is)])
    values = dict(zip(METHODS, (pearson(x, scores), *rank_correlations(x, scores)), strict=True))
    left = dict(zip(METHODS, (pearson_without_each(x, scores), *ranks_without_each(x, scores)), strict=True))
    defined = np.ptp(x) > 0 and np.ptp(losses) > 0
    result = {}
    for method in METHODS:
        row: dict[str, Any] = dict.fromkeys(
            ("correlation", "correlation_low", "correlation_high", "p_value", "above_shuffled", "note")
        )
        if not defined:
            row["note"] = "the loss or the variable is the same at every checkpoint"
        else:
            value = float(values[method][0])
            row["correlation"] = value
            if shuffles.conclusive:
                row["p_value"] = float(shuffles.p_values(shuffled[method], found[method])[0])
                row["above_shuffled"] = row["p_value"] <= LEVEL
            else:
                row["note"] = shuffles.note()
            if len(x) >= LEAST_CHECKPOINTS and not np.isnan(left[method]).any():
                ends = mean_interval(value, left[method][:, 0], np.ones(len(x)))
                if not np.isnan(ends).any():
                    row["correlation_low"], row["correlation_high"] = ends
        result[method] = row
    return result


def family_ceiling(members: Sequence[Member], losses: Sequence[float | None]) -> list[dict[str, Any]]:
    """Rows of the table ceiling, without the family, for its ``members`` and their validation ``losses``, None where
    unknown: by variable, then method."""
    trained = [(member, loss) for member, loss in zip(members, losses, strict=True) if member["flops"] > 0]
    known = [(member, float(loss)) for member, loss in trained if loss is not None]
    columns = {name: [member[name] for member, _ in trained] for name in ("parameters", "tokens")}
    about = {
        "axis": axis(columns["parameters"], columns["tokens"]),
        "num_models": len(trained),
        "num_runs": len({member["model"] for member, _ in trained}),
        "num_losses": len(known),
    }
    rows = []
    for variable in VARIABLES:
        if len(known) >= 2:
            values = np.array([member[variable] for member, _ in known], np.float64)
            found = loss_correlations(values, np.array([loss for _, loss in known]))
        else:
            note = f"the validation loss is known of {len(known)} of {len(trained)} checkpoints"
            found = {method: {"note": note} for method in METHODS}
        rows += [about | {"variable": variable, "method": method} | found[method] for method in METHODS]
    return rows


def write_ceiling(
    *,
    families: Mapping[str, Sequence[Member]],
    checkpoints: FilePath,
    output_parquet: FilePath,
    output_csv: FilePath,
) -> None:
    """Write the table ceiling as Parquet and CSV, sorted by family, then as :func:`family_ceiling` says.

    ``families`` are the registry's, ``checkpoints`` the table of that name, which has the validation losses.
    """
    table = read_table(checkpoints, "checkpoints", ["model", "checkpoint", "validation_loss"])
    losses = {(row["model"], row["checkpoint"]): row["validation_loss"] for row in table.to_pylist()}
    rows = []
    for family in sorted(families):
        keys = [(str(member["model"]), str(member["checkpoint"])) for member in families[family]]
        for key in keys:
            if key not in losses:
                raise ElusiveError(f"{checkpoints}: has no row for {'/'.join(key)} of family {family!r}")
        rows += [{"family": family} | row for row in family_ceiling(families[family], [losses[key] for key in keys])]
    write_table(pa.Table.from_pylist(rows, SCHEMAS["ceiling"]), output_parquet, "ceiling", {"level": 0.95})
    write_csv(read_table(output_parquet, "ceiling"), output_csv)
    logger.info("ceiling: %d families", len(families))
