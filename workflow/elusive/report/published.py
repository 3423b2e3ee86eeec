"""What the report says on measured accuracies beside published ones, from the table ``reference``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from elusive.analysis.reference import AGREES, NEAR, STATUSES
from elusive.figures.style import format_number

_METRICS = {"accuracy": "accuracy", "accuracy_norm": "per character"}
#: Status -> mark and CSS class.
_MARKS = {"agrees": ("✓", "yes"), "near": ("?", "open"), "differs": ("✗", "no"), "not comparable": ("–", "soft")}


def published_rows(reference: pd.DataFrame, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """The rows of the table as shown: each cell a text and, where it is a number, the value to sort by.

    Those that differ come first, then by |z| downwards, what cannot be compared last. ``labels``: benchmark -> label.
    """
    severity = {status: i for i, status in enumerate(("differs", "near", "agrees", "not comparable"))}
    order = reference.assign(rank=reference["status"].map(severity), size=-reference["z"].astype(float).abs())
    rows = []
    for row in order.sort_values(["rank", "size"], kind="stable").to_dict("records"):
        items = f"{row['num_items']:,}"
        if row["num_items"] != row["num_items_published"]:
            items += f" of {row['num_items_published']:,}"
        note = None if pd.isna(row["note"]) else row["note"]
        rows.append(
            {
                "name": row["benchmark"],
                "benchmark": labels[row["benchmark"]],
                "model": f"{row['model']} {row['checkpoint']}",
                "metric": _METRICS[row["metric"]],
                "items": items,
                "num_items": row["num_items"],
                "measured": row["measured"],
                "measured_se": None if pd.isna(row["measured_se"]) else row["measured_se"],
                "published": row["published"],
                "published_se": row["published_se"],
                "difference": row["difference"],
                "z": None if pd.isna(row["z"]) else row["z"],
                "status": row["status"],
                "severity": severity[row["status"]],
                "mark": _MARKS[row["status"]][0],
                "class": _MARKS[row["status"]][1],
                "note": note,
                "source": row["source"],
            }
        )
    return rows


def published_summary(reference: pd.DataFrame, labels: Mapping[str, str]) -> str:
    """How many accuracies were compared and how they turned out, in a sentence or two."""
    if reference.empty:
        return (
            "No accuracy of this run has a published one for the same model, checkpoint and benchmark to compare with."
        )
    counts = {status: int((reference["status"] == status).sum()) for status in STATUSES}
    compared = reference[reference["status"] != "not comparable"]
    aside = ""
    if counts["not comparable"]:
        aside = f" {_plural(counts['not comparable'], 'other')} cannot be compared, for the reasons in the table."
    if compared.empty:
        total = _plural(len(reference), "accuracy", "accuracies")
        return f"{total} of this run also stand in a published table, but none can be compared, for the reasons below."
    checkpoints = len(compared[["model", "checkpoint"]].drop_duplicates())
    worst = compared.loc[compared["z"].abs().idxmax()]
    where = f"{worst['model']} {worst['checkpoint']} on {labels[worst['benchmark']]} ({_METRICS[worst['metric']]})"
    return (
        f"{_plural(len(compared), 'accuracy', 'accuracies')} of {_plural(checkpoints, 'checkpoint')} compared with "
        f"published ones: {counts['agrees']} within {AGREES:g} standard error, {counts['near']} within {NEAR:g}, "
        f"{counts['differs']} further away. The largest difference in standard errors is that of {where}: "
        f"{worst['measured']:.4f} measured, {worst['published']:.4f} published, z = {format_number(worst['z'], 1)}."
        f"{aside}"
    )


def published_sources(reference: pd.DataFrame) -> list[str]:
    """Where the published values of the table stand."""
    return sorted(set(reference["source"]))


def _plural(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"
