"""The section on forecasts: its table holds the numbers of the tables, and each sentence stands where it is true."""

from __future__ import annotations

import html
import json
import re

import pandas as pd
import pytest
from PIL import Image

from elusive.figures.data import read_benchmark
from elusive.figures.style import format_number
from elusive.forecast import summary
from elusive.report import forecast, pictures
from elusive.report.report import write_report
from synthetic_run import report_inputs


@pytest.fixture(scope="module")
def run(shared_run):
    return shared_run(40, ("arc_easy", "sciq"), forecasts=True)


@pytest.fixture(scope="module")
def frames(run):
    return forecast.read(run.forecasts())


def test_the_table_has_the_recommended_forecasts(run, frames):
    benchmarks = [read_benchmark(path) for path in run.items()]
    scores = run.table("scores")

    found = forecast.sections(frames, pd.read_parquet(scores), benchmarks, ["ladder", "nobody"])
    assert [section.family for section in found] == ["ladder"], "a family without forecasts has no section"
    (section,) = found
    assert section.targets == ["Twice both"] and len(section.rows) == 2
    rows = frames["forecasts"].query("family == 'ladder' and metric == 'accuracy' and recommended")
    for row in section.rows:
        (own,) = rows[rows["benchmark"] == row.benchmark.name].to_dict("records")
        assert row.cells[0].text == format_number(own["forecast"]) and row.last == format_number(own["last_value"])
        assert row.cells[0].interval == f"{format_number(own['low80'])} to {format_number(own['high80'])}"
        assert bool(row.cells[0].note) == bool(own["status"])
    said = {note.split(": ", 1)[1] for note in section.notes}
    assert said == {f"{status}." for status in rows["status"] if status}


def test_the_page_has_it_where_there_are_forecasts(run, frames, tmp_path):
    inputs = report_inputs(run, tmp_path / "figures")
    write_report(**inputs, output=tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert '<section id="forecast"' in page and '<a href="#forecast">Forecast</a>' in page
    text = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", "", page)))
    labels = {b.name: b.label for b in (read_benchmark(path) for path in run.items())}

    sentences = summary.section(**frames, scores=pd.read_parquet(run.table("scores")), family="ladder", labels=labels)
    assert sentences
    for sentence in sentences:
        assert sentence in text
    write_report(**(inputs | {"forecasts": {}}), output=tmp_path / "without.html")
    assert 'id="forecast"' not in (tmp_path / "without.html").read_text()


def test_the_section_holds_its_pictures_and_the_other_page_all(run, tmp_path, monkeypatch):
    benchmarks = [read_benchmark(path) for path in run.items()]
    laws = forecast.read(run.forecasts())["laws"]
    moving = forecast.most_moving(laws, benchmarks, "ladder")
    known = laws.query("family == 'ladder' and quantity == 'margin'").set_index("benchmark")["movement"]
    assert known[moving] == known.max()
    assert forecast.most_moving(laws.iloc[:0], benchmarks, "ladder") == benchmarks[0].name

    names = ["forecast_skill", "forecast_errors", "forecast_coverage"]
    names += [f"forecast_fan/{b}" for b in run.benchmarks]
    folder = tmp_path / "figures"
    for name in names:
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 20), "white").save(path)
        path.with_suffix(".txt").write_text(f"{name}.\n\nAxes.\n\nWhat to see: nothing.\n", encoding="utf-8")
    inputs = report_inputs(run, folder) | {"gallery": tmp_path / "figures.html"}
    write_report(**inputs, output=tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    places = [page.index(f'<section id="{name}"') for name in ("why", "forecast", "items")]
    assert places == sorted(places), "right after the reasons, as the bar has it"
    section = page[places[1] : places[2]]
    shown = re.findall(r'<figure id="figure-(forecast_[\w-]+)">', page)
    assert shown == [f"forecast_fan-{moving}", "forecast_errors", "forecast_skill"]
    assert section.count("data:image/webp") == 3, "they stand in the section, each once"
    gallery = (tmp_path / "figures.html").read_text()
    for name in names:
        assert f'id="figure-{name.replace("/", "-")}"' in gallery
    for kind in ("forecast_fan", "forecast_errors", "forecast_coverage", "forecast_skill"):
        assert f'href="figures.html#kind-{kind}"' in section and f'id="kind-{kind}"' in gallery
    assert "kind-forecast_laws" not in section, "it was not drawn"

    monkeypatch.setattr(pictures, "MOST_FORECAST_BYTES", 10)
    write_report(**inputs, output=tmp_path / "report.html")
    assert 'id="figure-forecast_errors"' not in (tmp_path / "report.html").read_text()


def test_every_item_to_look_at_has_its_probabilities(run):
    for benchmark in run.benchmarks:
        found = json.loads(run.drilldown(benchmark).read_text(encoding="utf-8"))
        for family, own in found["families"].items():
            table = pd.read_parquet(run.root / f"forecast_items/{family}/{benchmark}.parquet").set_index("item")
            table = table.loc[found["items"]]
            assert own["foreseen"]["targets"] == ["Twice both"]
            assert own["foreseen"]["p_right"] == [(100 * table["p_right"]).round().astype(int).tolist()]
            assert own["foreseen"]["last"] == table["last_accuracy"].astype(int).tolist()
            assert 0 < sum(own["foreseen"]["last"]) < 60, "some are right, some are wrong"
