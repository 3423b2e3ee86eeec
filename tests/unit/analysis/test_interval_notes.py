"""No end of an interval is missing without a reason beside it, and no reason stands beside whole intervals."""

from __future__ import annotations

import polars as pl
import pytest

from synthetic_run import World

#: Table -> the columns whose ends ``interval_note`` speaks of.
INTERVALS = {
    "correlation_statistics": ("mean", "median", "auc", "fraction_above_075", "q25", "q75", "iqr", "fraction_below_0"),
    "headline": ("mean", "mean_checkpoints", "mean_models"),
    "attribution": ("drop", "share"),
    "mechanism": ("value",),
    "mechanism_drops": ("drop",),
}
WORLDS = {
    "many items": (60, ("arc_easy", "mmlu"), {}),
    "few items": (9, ("sciq",), {}),
    "few checkpoints": (30, ("mmlu",), {"world": World(steps=(10**5, 10**6), sizes=(300_000, 10**6))}),
}


@pytest.mark.parametrize("name", INTERVALS)
@pytest.mark.parametrize("world", WORLDS)
def test_a_missing_end_has_a_reason(shared_run, world, name):
    items, benchmarks, others = WORLDS[world]
    table = pl.read_parquet(shared_run(items, benchmarks, **others).table(name))
    ends = [f"{column}_{end}" for column in INTERVALS[name] for end in ("low", "high")]
    missing = table.filter(pl.any_horizontal(pl.col(end).is_null() for end in ends))
    assert missing["interval_note"].null_count() == 0, missing.filter(pl.col("interval_note").is_null()).head(3)
    whole = table.filter(pl.all_horizontal(pl.col(end).is_not_null() for end in ends))
    assert whole["interval_note"].null_count() == len(whole), whole.filter(pl.col("interval_note").is_not_null()).head(
        3
    )
    assert len(missing) + len(whole) == len(table) > 0
    if world == "few items":
        assert set(missing["interval_note"]) and "interval needs 10 items" in "".join(missing["interval_note"])
