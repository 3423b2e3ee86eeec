"""Forecasts of single items for the items to look at: by the items of the page, rounded, and never of other items."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from elusive.errors import ElusiveError
from elusive.report.foreseen import read_foreseen
from elusive.tables import SCHEMAS, write_table

TARGETS = {"far": (3.0e9, [0.004, 0.996, 0.505]), "near": (2.0e9, [0.1, 0.2, 0.999])}


def _table(path: Path, targets: dict[str, tuple[float, list[float]]]) -> Path:
    rows = [
        dict.fromkeys(SCHEMAS["forecast_items"].names)
        | {"family": "f", "benchmark": "b", "target": target, "parameters": 1, "tokens": 1, "flops": flops}
        | {"item": item, "p_right": p, "p_choices": p, "margin_mean": 0.0, "margin_sd": 1.0, "last_accuracy": last}
        for target, (flops, shares) in targets.items()
        for item, p, last in zip(("a", "b", "c"), shares, (0.0, 1.0, 1.0), strict=True)
    ]
    write_table(pa.Table.from_pylist(rows, SCHEMAS["forecast_items"]), path, "forecast_items", {})
    return path


def test_items_come_as_the_page_has_them_and_targets_by_compute(tmp_path: Path) -> None:
    path = _table(tmp_path / "items.parquet", TARGETS)
    found = read_foreseen(path, ["c", "a", "b"])
    assert found == {"targets": ["near", "far"], "p_right": [[100, 10, 20], [50, 0, 100]], "last": [1, 0, 1]}
    assert read_foreseen(path, ["b"])["p_right"] == [[20], [100]], "items that the page lacks are left out"


def test_without_forecasts_there_is_nothing(tmp_path: Path) -> None:
    nothing = {"targets": [], "p_right": [], "last": []}
    assert read_foreseen(None, ["a"]) == nothing
    assert read_foreseen(_table(tmp_path / "empty.parquet", {}), ["a"]) == nothing


def test_an_item_without_a_forecast_is_an_error(tmp_path: Path) -> None:
    path = _table(tmp_path / "items.parquet", TARGETS)
    with pytest.raises(ElusiveError, match=r"items\.parquet: has no forecast of the item 'd' at 'near'"):
        read_foreseen(path, ["a", "d"])
