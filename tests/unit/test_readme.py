"""The front page: short, its numbers those of the committed table of results, its links and pictures there."""

import re
from pathlib import Path

import pytest
from PIL import Image

import example_results

ROOT = Path(__file__).parents[2]
TEXT = example_results.README.read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "workflow/docs").glob("*.md")), ROOT / "workflow/report/FIGURES.md"]


def test_it_is_short():
    assert len(TEXT.splitlines()) <= 110


def test_its_numbers_are_those_of_the_table():
    rows = example_results.read()
    assert {row["date"] for row in rows} == {rows[0]["date"]} and re.fullmatch(r"\d{4}-\d\d-\d\d", rows[0]["date"])
    assert rows[0]["machine"]
    part = TEXT.split(example_results.BEGIN)[1].split(example_results.END)[0]
    assert part.strip() == example_results.block(rows), "run tests/example_results.py after a default run"


@pytest.mark.parametrize("quantity", ["mean_spearman", "loss_spearman", "correlation_incorrect"])
def test_another_table_makes_other_sentences(quantity):
    rows = example_results.read()
    changed = [r | {"value": str(float(r["value"]) + 0.02)} if r["quantity"] == quantity else r for r in rows]
    assert example_results.block(changed) != example_results.block(rows)


def test_what_a_table_does_not_show_is_not_said():
    rows = example_results.read()
    nothing = [r | {"state": "chance"} for r in rows]
    with pytest.raises(AssertionError):
        example_results.block(nothing)
    skilled = [r | {"value": "5"} if r["quantity"] == "standard_errors_above_guessing" else r for r in rows]
    with pytest.raises(AssertionError):
        example_results.block(skilled)


def test_the_table_has_every_benchmark_and_score():
    rows = [row for row in example_results.read() if row["quantity"] == "mean_spearman"]
    benchmarks = list(dict.fromkeys(row["benchmark"] for row in rows))
    assert len(benchmarks) == 11
    assert {(r["benchmark"], r["metric"]) for r in rows} == {(b, m) for b in benchmarks for m in example_results.SCORES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_pictures_are_pictures():
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", TEXT)
    assert len(pictures) == 2
    for path in pictures:
        with Image.open(ROOT / path) as picture:
            assert picture.width > 1000
