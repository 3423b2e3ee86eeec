"""What the forecasts say of every single item, for the items to look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import polars as pl

from elusive.analysis.metrics import FilePath
from elusive.errors import ElusiveError
from elusive.tables import read_table


def read_foreseen(path: FilePath | None, items: Sequence[str]) -> dict[str, Any]:
    """P(right) of each of ``items`` at every target of ``path``, a table forecast_items; nothing without a path.

    ``targets``: their labels, by compute; ``p_right``: for each target the probabilities in percent, one an item;
    ``last``: 1 where the checkpoint with the most compute is right, else 0. Raises :class:`ElusiveError` where the
    table lacks an item.
    """
    if path is None:
        return {"targets": [], "p_right": [], "last": []}
    columns = ["target", "flops", "item", "p_right", "last_accuracy"]
    table = pl.from_arrow(read_table(path, "forecast_items", columns))
    labels = table.sort("flops", maintain_order=True)["target"].unique(maintain_order=True).to_list()
    named = pl.DataFrame({"item": items}, schema={"item": pl.String})
    found: dict[str, Any] = {"targets": labels, "p_right": [], "last": []}
    for label in labels:
        own = named.join(table.filter(target=label), on="item", how="left", maintain_order="left")
        if own["p_right"].null_count():
            missing = own.filter(pl.col("p_right").is_null())["item"][0]
            raise ElusiveError(f"{path}: has no forecast of the item {missing!r} at {label!r}; delete it and run again")
        found["p_right"].append((own["p_right"] * 100).round().cast(pl.Int64).to_list())
        found["last"] = own["last_accuracy"].cast(pl.Int64).to_list()
    return found
