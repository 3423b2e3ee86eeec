"""No end of an interval is missing without a reason beside it, and no reason stands beside whole intervals."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from elusive.analysis.headline import family_headline
from elusive.analysis.resampling import resample
from score_tables import scores_of
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


@pytest.mark.slow
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


def test_a_mean_that_no_checkpoint_changes_says_so():
    """Every item follows compute exactly or against it, with any of the checkpoints left out."""
    generator = np.random.default_rng(0)
    rising = generator.random((1, 40, 4)) < 0.7
    steps = np.arange(8)[:, None, None] * np.where(rising, 1.0, -1.0)
    values = -60 + generator.normal(0, 5, (1, 40, 4)) + steps
    family = resample(np.logspace(18, 22, 8), ["a", "b"] * 4, scores_of(values))
    rows = [row for row in family_headline(family, None) if row["metric"] == "log_p_vocab_correct"]
    (row,) = [row for row in rows if row["method"] == "spearman"]
    assert np.isfinite(row["mean_low"]) and np.isnan(row["mean_checkpoints_low"])
    assert "the mean is the same without any one of the checkpoints: no interval over them" in row["interval_note"]
