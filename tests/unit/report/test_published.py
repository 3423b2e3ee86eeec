"""What is said of measured beside published accuracies."""

from __future__ import annotations

import pandas as pd

from elusive.report.published import published_rows, published_summary

ROW = {
    "model": "m",
    "checkpoint": "c",
    "benchmark": "a",
    "metric": "accuracy",
    "num_items": 100,
    "num_items_published": 200,
    "measured": 0.5,
    "measured_se": 0.05,
    "published": 0.48,
    "published_se": 0.035,
    "difference": 0.02,
    "z": 0.4,
    "status": "agrees",
    "note": None,
    "source": "somewhere",
}


def table(*changes: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame([ROW | change for change in changes])


def test_counts_and_the_largest_difference() -> None:
    text = published_summary(table({}, {"z": -1.5, "status": "near"}, {"z": 3.0, "status": "differs"}), {"a": "A"})
    assert text.startswith(
        "3 accuracies of 1 checkpoint compared with published ones: 1 within 1 standard error, 1 within 2"
    )
    assert "1 further away" in text and "z = 3.0." in text and "cannot be compared" not in text


def test_none_and_none_comparable() -> None:
    assert published_summary(table().reindex(columns=list(ROW)), {"a": "A"}).startswith("No accuracy of this run")
    other = {"z": None, "status": "not comparable", "note": "another split"}
    text = published_summary(table(other), {"a": "A"})
    assert text.startswith("1 accuracy of this run also stand") and "none can be compared" in text
    assert "1 other cannot be compared" in published_summary(table({}, other), {"a": "A"})


def test_rows_are_sorted_by_how_much_they_differ() -> None:
    rows = published_rows(table({}, {"z": 3.0, "status": "differs"}, {"z": -1.5, "status": "near"}), {"a": "A"})
    assert [row["status"] for row in rows] == ["differs", "near", "agrees"] and rows[0]["items"] == "100 of 200"
