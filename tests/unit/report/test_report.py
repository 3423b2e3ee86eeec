"""The report: what it shows is in the tables, it needs nothing outside itself, and two runs give the same bytes."""

from __future__ import annotations

import base64
import html
import io
import itertools
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import synthetic_run
from elusive import tables
from elusive.analysis.null import null_distributions
from elusive.errors import ElusiveError
from elusive.figures.data import read_benchmark
from elusive.figures.style import format_number
from elusive.report import findings, pictures, summaries
from elusive.report.curves import LEVELS, SERIES
from elusive.report.embed import pack_numbers, unpack_table
from elusive.report.report import pack_items, unpack_text, write_report
from synthetic_run import SyntheticRun, draw_figure, make_run, planted_disagreements, report_inputs

BENCHMARKS = ("arc_easy", "mmlu", "sciq", "winogrande")
FIGURES = ("survival/sciq", "statistics/spearman", "loss")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRun:
    run = make_run(tmp_path_factory.mktemp("run"), num_items=60, benchmarks=BENCHMARKS)
    for name in FIGURES:
        draw_figure(run, name, run.root / "figures")
    return run


@pytest.fixture(scope="module")
def page(run: SyntheticRun) -> str:
    output = run.root / "report.html"
    write_report(**report_inputs(run, run.root / "figures"), output=output)
    return output.read_text(encoding="utf-8")


def _text(page: str) -> str:
    """What a reader sees: the page without scripts, styles and tags."""
    page = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.S)
    page = re.sub(r"</?(?:abbr|a|b|i|s|span|strong)\b[^>]*>", "", page)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


def _packed(page: str, name: str) -> dict:
    found = re.search(rf'<script type="application/json" id="data-{name}">(.*?)</script>', page, re.S)
    return json.loads(found.group(1))


def _shown(page: str, name: str) -> pd.DataFrame:
    found = re.search(rf'<script type="text/plain" id="data-{name}">([^<]+)</script>', page)
    return unpack_table(unpack_text(found.group(1)))


def _section(page: str, name: str) -> str:
    return page.split(f'<section id="{name}"')[1].split("</section>")[0]


@pytest.mark.slow
def test_the_audit_is_there_when_it_has_something_to_say(page: str, run: SyntheticRun, tmp_path: Path) -> None:
    assert "Audit" not in _text(page) and 'id="audit"' not in page
    rows = [
        {"family": family, "kind": "truncated", "text": f"m/{i} <cut>."} for family in ("a", "b") for i in range(15)
    ]
    rows.append({"family": "a", "kind": "off_trend", "text": "m/3: off."})
    path = tmp_path / "audit.parquet"
    columns = tables.SCHEMAS["audit"].names
    tables.write_table(
        pa.Table.from_pylist([dict.fromkeys(columns) | row for row in rows], tables.SCHEMAS["audit"]), path, "audit"
    )
    inputs = report_inputs(run, run.root / "figures")
    inputs |= {"summary": replace(inputs["summary"], audit=path), "gallery": tmp_path / "figures.html"}
    write_report(**inputs, output=tmp_path / "report.html")
    audited = (tmp_path / "report.html").read_text(encoding="utf-8")
    section = re.sub(r" #(?= )", "", _text(_section(audited, "audit")))
    assert "Checkpoints off the trend of their run m/3: off. Prompts that were cut m/0 <cut>." in section
    assert "m/11 <cut>. 3 more in the table." in section and "m/12" not in section
    assert 'href="#audit"' in audited
    assert "Before you trust the numbers: 16 findings of the audit" in _text(audited)
    assert "findings of the audit" not in _text(page)


@pytest.mark.slow
def test_every_benchmark_family_and_figure_is_there(page: str, run: SyntheticRun) -> None:
    text = _text(page)
    for label in ["ARC-Easy", "MMLU", "SciQ", "WinoGrande", *run.families.values()]:
        assert label in text
    for name in FIGURES:
        anchor = f"figure-{name.replace('/', '-')}"
        assert f'href="figures.html#{anchor}"' in page and f'href="figures/{name}.pdf"' in page
        assert f'href="figures/{name}.csv"' in page
    assert page.count("data:image/webp;base64,") == 1, "of figures of single benchmarks there are links alone"
    assert "SciQ: the validation split stands in for the test split." in text
    assert "ARC-Easy 60 of 1,172" in text


def test_the_page_of_all_figures_shows_every_one(page: str, run: SyntheticRun) -> None:
    gallery = (run.root / "figures.html").read_text(encoding="utf-8")
    for name in FIGURES:
        assert f'id="figure-{name.replace("/", "-")}"' in gallery and f'src="figures/{name}.png"' in gallery
        for suffix in ("png", "pdf", "csv"):
            assert f'href="figures/{name}.{suffix}"' in gallery and (run.root / f"figures/{name}.{suffix}").is_file()
    assert 'href="report.html"' in gallery and "<script" not in gallery


def test_links_lead_to_files_beside_the_page(page: str, run: SyntheticRun) -> None:
    linked = set(re.findall(r'href="([^"#]+\.csv)"', page)) - {"tables/data_dictionary.csv"}
    assert {"tables/headline.csv", "tables/attribution.csv", "tables/correlation_statistics.csv"} <= linked
    for address in linked:
        assert (run.root / address).is_file(), address


def test_every_heading_can_be_linked_to(page: str) -> None:
    body = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.S)
    ids = re.findall(r'\bid="([^"]+)"', body)
    assert len(ids) == len(set(ids))
    heads = re.findall(r"<h([23])([^>]*)>(.*?)</h\1>", body, re.S)
    assert len(heads) > 15
    for _, attributes, inside in heads:
        anchor = re.search(r'id="([^"]+)"', attributes)
        assert anchor and f'href="#{anchor.group(1)}"' in inside
    for target in re.findall(r'href="#([^"]+)"', body):
        assert target in ids, target


def test_the_sortable_table_holds_whole_benchmarks_and_subjects(page: str, run: SyntheticRun) -> None:
    shown = _shown(page, "statistics")
    table = pq.read_table(run.table("correlation_statistics")).to_pandas()
    whole, subjects = table[table["subject"].isna()], table[table["subject"].notna()]
    assert (shown["subject"] == "whole benchmark").sum() == len(whole) > 0
    names = {"mean": "mean", "median": "median", "fraction_above_075": "C > 0.75", "q25": "lower quartile"}
    names |= {"auc": "area", "neg_wasserstein": "−Wasserstein", "nan_fraction": "share undefined"}
    names |= {f"{name}_{end}": f"{title} {end}" for name, title in list(names.items())[:3] for end in ("low", "high")}
    for column, title in names.items():
        np.testing.assert_allclose(
            shown[title][: len(whole)].astype(float), whole[column].astype(float), atol=5.1e-5, equal_nan=True
        )
    assert list(shown["items"][: len(whole)]) == list(whole["num_items"])
    chain = {"log_p_vocab_correct", "p_vocab_correct", "p_choices_correct", "brier", "accuracy"}
    wanted = subjects[
        subjects["metric"].isin(chain) & (subjects["nan_policy"] == "drop") & (subjects["method"] != "kendall")
    ]
    found = shown[shown["subject"] != "whole benchmark"]
    assert len(found) == len(wanted) == 3 * 3 * 5 * 2
    assert list(found["subject"]) == list(wanted["subject"])


def test_only_plotted_families_have_numbers(run: SyntheticRun, tmp_path: Path) -> None:
    inputs = report_inputs(run, run.root / "figures") | {"plotted": ["ladder-sizes"], "gallery": tmp_path / "f.html"}
    write_report(**inputs, output=tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for name in ("statistics", "headline", "predictability", "attribution", "mechanism", "aggregates"):
        assert set(_shown(page, name)["family"]) == {"Ladder, end of training (parameter scaling)"}
    assert _packed(page, "curves")["families"] == ["ladder-sizes"]
    assert "2 further families" in _text(page) and "Ladder (all)" in _text(page), "what was run lists them all"


def test_beyond_a_number_of_rows_only_the_chain_is_there(run: SyntheticRun, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pq.read_table(run.table("correlation_statistics")).to_pandas()
    whole = int(table["subject"].isna().sum())
    every, only_chain = summaries.statistics_rows(table, run.families)
    assert not only_chain and every["metric"].nunique() > 10
    monkeypatch.setattr(summaries, "MOST_ROWS", whole - 1)
    fewer, only_chain = summaries.statistics_rows(table, run.families)
    assert only_chain and fewer["metric"].nunique() == 5
    assert len(fewer[fewer["subject"].isna()]) == whole * 5 / table["metric"].nunique()


@pytest.mark.parametrize(
    ("name", "column", "title"),
    [
        ("headline", "shuffled_high", "to"),
        ("predictability", "median", "median"),
        ("attribution", "drop", "drop"),
        ("mechanism", "value", "value"),
        ("aggregates", "signal", "signal"),
        ("checkpoint_intervals", "mean_shuffled_low", "shuffled, from"),
    ],
)
def test_the_other_tables_are_there_in_full(page: str, run: SyntheticRun, name: str, column: str, title: str) -> None:
    shown, table = _shown(page, name), pq.read_table(run.table(name)).to_pandas()
    assert len(shown) == len(table) and set(shown["family"]) == set(run.families.values())
    expected = table[column].astype(float)
    assert expected.notna().sum() > 10
    np.testing.assert_allclose(shown[title].astype(float), expected, atol=5.1e-5, rtol=1e-6, equal_nan=True)


def _cells(page: str, section: str, benchmark: str) -> list[tuple[str, dict[str, float]]]:
    """The texts of a benchmark's row in the first short table of a section, and the numbers that downloads have."""
    part = _section(page, section).split('<table class="short')[1].split("</table>")[0]
    row = part.split(f'<tr data-benchmark="{benchmark}"><th>')[1].split("</tr>")[0]
    result = []
    for attributes, cell in re.findall(r"<td([^>]*)>(.*?)</td>", row):
        numbers = {name: float(value) for name, value in re.findall(r'data-(v|low|high)="([^"]+)"', attributes)}
        result.append((_text(cell).strip(), numbers))
    return result


def test_short_tables_are_their_tables(page: str, run: SyntheticRun) -> None:
    def number(value: float, digits: int = 2) -> str:
        return format_number(value, digits)

    table = pq.read_table(run.table("attribution")).to_pandas()
    own = table[(table["family"] == "ladder") & (table["benchmark"] == "sciq") & (table["nan_policy"] == "zero")]
    own = own[own["order"] == "exponentiate_first"].set_index(["method", "score", "step"])
    cells = _cells(page, "lost", "sciq")
    assert cells[0][0] == number(own.at[("spearman", "accuracy", "renormalise"), "correlation_before"])
    steps = [("accuracy", s) for s in ("renormalise", "threshold", "total")] + [("brier", "square"), ("brier", "total")]
    for (cell, numbers), step in zip(cells[1:6], steps, strict=True):
        row = own.loc[("spearman", *step)]
        assert cell == f"{number(row['drop'])} {number(row['drop_low'])} to {number(row['drop_high'])}"
        expected = {"v": row["drop"], "low": row["drop_low"], "high": row["drop_high"]}
        assert numbers == pytest.approx(expected, rel=1e-6, abs=1e-9)
    for (cell, numbers), step in zip(cells[6:], ("exponentiate", "renormalise", "threshold"), strict=True):
        row = own.loc[("pearson", "accuracy", step)]
        texts = dict.fromkeys([number(row["drop_least"]), number(row["drop_most"])])
        assert cell == " to ".join(texts)
        assert numbers["low"] == pytest.approx(row["drop_least"], rel=1e-6, abs=1e-9)
        assert numbers["high"] == pytest.approx(row["drop_most"], rel=1e-6, abs=1e-9)

    table = pq.read_table(run.table("predictability")).to_pandas()
    own = table[(table["family"] == "ladder") & (table["method"] == "spearman") & (table["kind"] == "mass")]
    for benchmark in BENCHMARKS:
        rows = own[own["benchmark"] == benchmark].sort_values("rank")
        chosen = rows[rows["recommended"]]
        cell = _cells(page, "scores", benchmark)[2][0]
        if chosen.empty:
            assert cell == f"none {rows['reason'].iloc[0]}"
        else:
            names = [f"{summaries.METRIC_NAMES[r.metric]} {number(r.mean)}" for r in chosen.itertuples()]
            assert cell == ", ".join(names)

    table = pq.read_table(run.table("mechanism")).to_pandas()
    own = table[(table["family"] == "ladder") & (table["benchmark"] == "mmlu")].set_index("quantity")["value"]
    cells = _cells(page, "why", "mmlu")
    assert cells[0][0].startswith(number(own["correlation_correct"])) and cells[3][0].startswith(
        number(own["comovement"])
    )

    table = pq.read_table(run.table("aggregates")).to_pandas()
    own = table[(table["family"] == "ladder") & (table["benchmark"] == "mmlu")].set_index("metric").loc["accuracy"]
    beyond = "beyond" if own["above_noise"] else "within"
    expected = f"{number(own['signal_to_noise'], 1)} {beyond} ±{number(own['signal_to_noise_chance'], 1)}"
    assert _cells(page, "means", "mmlu")[4][0] == expected

    bands = pq.read_table(run.table("null_bands")).to_pandas().set_index(["family", "method"])
    band = bands.loc[("ladder-sizes", "spearman")].iloc[0]
    section = _text(_section(page, "chance").split("</table>")[0])
    assert f"{number(band['q025'])} to {number(band['q975'])} {100 * band['fraction_above_075']:.1f} %" in section


def test_every_table_says_what_its_download_is_called(page: str) -> None:
    body = re.sub(r"<(script|style)\b.*?</\1>", " ", page, flags=re.S)
    names = re.findall(r'<table class="(?:strip|short|published)[^"]*"(?: data-csv="([^"]+)")?', body)
    assert len(names) > 15 and all(names) and len(set(names)) == len(names)


def test_the_authors_differences_are_the_largest(run: SyntheticRun) -> None:
    table = pq.read_table(run.table("authors_variants")).to_pandas()
    (short,) = summaries.authors(table, {"sciq": "SciQ"})
    assert len(short.rows) == table["metric"].nunique()
    areas = table[(table["statistic"] == "auc") & (table["metric"] == "accuracy")]["difference"]
    row = next(row for row in short.rows if row.head == "accuracy")
    assert abs(row.cells[2].value) == pytest.approx(areas.abs().max()) and areas.abs().max() > 0.01
    assert not any("e−" in cell.text for row in short.rows for cell in row.cells)


def test_items_are_embedded_as_they_were_written(page: str, run: SyntheticRun) -> None:
    for number, benchmark in enumerate(BENCHMARKS):
        packed = re.search(rf'<script type="text/plain" id="items-{number}">([^<]+)</script>', page).group(1)
        written = json.loads(run.drilldown(benchmark).read_text(encoding="utf-8"))
        found = unpack_text(packed)
        assert found == pack_items(written) and found["benchmark"] == benchmark
        for card, original in zip(found["cards"], written["cards"], strict=True):
            np.testing.assert_allclose(np.array(card["log_likelihood"]) / 100, original["log_likelihood"], atol=1e-9)


def test_curves_are_embedded_as_they_were_written(page: str, run: SyntheticRun) -> None:
    packed = _packed(page, "curves")
    values = np.frombuffer(base64.b64decode(packed["data"]), "<i2").reshape(len(BENCHMARKS), 3, len(SERIES), LEVELS)
    for b, benchmark in enumerate(BENCHMARKS):
        written = json.loads(run.drilldown(benchmark).read_text(encoding="utf-8"))
        for f, family in enumerate(packed["families"]):
            found = written["families"][family]["curves"]
            for s, curve in enumerate(found["curves"]):
                assert values[b, f, s].tolist() == ([-32768] * LEVELS if curve is None else curve)
            start = (b * 3 + f) * len(SERIES)
            assert packed["undefined"][start : start + len(SERIES)] == found["undefined"]
            assert packed["items"][b * 3 + f] == 60


def test_mean_scores_are_embedded(page: str, run: SyntheticRun) -> None:
    packed = _packed(page, "means")
    values = np.frombuffer(base64.b64decode(packed["data"]), "<f4")
    values = values.reshape(len(BENCHMARKS), len(packed["metrics"]), len(packed["flops"]))
    table = (
        pq.read_table(run.table("means")).to_pandas().set_index(["benchmark", "metric", "model", "checkpoint"])["mean"]
    )
    assert packed["flops"] == sorted(packed["flops"]) and len(packed["flops"]) == 35
    for (b, benchmark), (m, metric) in itertools.product(enumerate(BENCHMARKS), enumerate(packed["metrics"])):
        keys = zip(packed["models"], packed["checkpoints"], strict=True)
        expected = [table[benchmark, metric, model, checkpoint] for model, checkpoint in keys]
        np.testing.assert_allclose(values[b, m], expected, rtol=1e-6)


@pytest.mark.parametrize(
    "values",
    [
        [0.12345, -1.0, np.nan, 1.0],
        [1.0, 2.0, np.nan, 70_000.0],
        [1e-9, 0.5, np.nan, 3.0],
        [12.5, np.nan, -4e6, 0.25],
        [np.nan, np.nan],
        list(np.arange(300.0)),
    ],
)
@pytest.mark.parametrize("significant", [True, False])
def test_packed_numbers_come_back(values: list[float], significant: bool) -> None:
    packed = pack_numbers(np.array(values), significant)
    column = {"name": "x", "kind": "number", "style": "number"} | packed
    found = unpack_table({"rows": len(values), "columns": [column]})["x"].astype(float)
    tolerance = {"atol": 0, "rtol": 1e-6} if significant else {"atol": 5e-5, "rtol": 1e-6}
    np.testing.assert_allclose(found, values, equal_nan=True, **tolerance)


class _References(HTMLParser):
    """Every address that the page would load, and every one that it links to."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "srcset", "data", "action", "poster") or (name == "href" and tag != "a"):
                self.loaded.append(value or "")
            elif name == "href":
                self.linked.append(value or "")


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    parser = _References()
    parser.feed(page)
    assert len(parser.linked) > 50
    assert all(address.startswith("data:image/webp;base64,") for address in parser.loaded)
    elsewhere = [a for a in parser.linked if not a.startswith(("#", "tables/", "figures/", "figures.html"))]
    assert elsewhere == ["https://arxiv.org/abs/2406.04391"], "a link that only a reader follows"
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", page)
    assert "default-src 'none'" in page


def test_without_scripts_tables_and_main_pictures_are_there(page: str) -> None:
    body = re.sub(r"<script\b.*?</script>", " ", page, flags=re.S)
    for place in ("strip", "right-and-wrong", "one-item", "scatter", "curves-figure", "means-figure"):
        part = body.split(f'id="{place}"')[1]
        assert "<svg" in part[:20_000] or place == "strip", place
    assert body.count("<svg") >= 5 + 4 * 3 and body.count("<table") > 20
    assert len(re.findall(r'class="arrows"', body)) == 3


def test_the_slot_of_forecasts_stands_after_the_reasons() -> None:
    template = (Path(pictures.__file__).parent / "page/layout.html.j2").read_text(encoding="utf-8")
    order = [template.index(part) for part in ("why.html.j2", "block forecast", "forecast.html.j2", "details.html.j2")]
    assert order == sorted(order)


def test_without_published_values_the_report_says_so(page: str) -> None:
    section = _section(page, "published")
    assert "No accuracy of this run has a published one for the same model" in section
    assert "<table" not in section and "z is" not in section


def test_published_accuracies_stand_beside_the_measured_ones(run: SyntheticRun, tmp_path: Path) -> None:
    reference = planted_disagreements(tmp_path / "planted")
    inputs = report_inputs(run, run.root / "figures") | {"gallery": tmp_path / "f.html"}
    inputs["summary"] = replace(inputs["summary"], reference=reference)
    write_report(**inputs, output=tmp_path / "report.html")
    section = _section((tmp_path / "report.html").read_text(encoding="utf-8"), "published")
    text = _text(section)
    assert (
        "4 accuracies of 3 checkpoints compared with published ones: 2 within 1 standard error, 1 within 2, 1 further "
        "away. The largest difference in standard errors is that of cerebras-gpt-111m main on ARC-Easy (accuracy): "
        "0.4137 measured, 0.3800 published, z = 3.4. 2 others cannot be compared" in text
    )
    lines = [_text(line).strip() for line in re.findall(r"<tr class=.*?</tr>", section, re.S)]
    assert len(lines) == 6
    assert lines[0].startswith(
        "ARC-Easy cerebras-gpt-111m main accuracy 2,376 0.4137 ± 0.0101 0.3800 ± 0.0100 +0.0337 +3.39"
    )
    assert lines[0].endswith("✗ differs") and lines[1].endswith("? near") and lines[2].endswith("✓ agrees")
    assert lines[-1].endswith("– not comparable measured on the validation split, published on the test split")
    assert "EleutherAI/pythia@a19eecb" in text and "cerebras/Cerebras-GPT-111M model card" in text


def test_same_inputs_give_the_same_bytes(run: SyntheticRun, page: str, tmp_path: Path) -> None:
    before = (run.root / "figures.html").read_bytes()
    write_report(**report_inputs(run, run.root / "figures"), output=run.root / "report.html")
    assert (run.root / "report.html").read_text(encoding="utf-8") == page
    assert (run.root / "figures.html").read_bytes() == before


def test_labels_cannot_inject_markup(run: SyntheticRun, tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    inputs = report_inputs(run, run.root / "figures") | {"gallery": tmp_path / "figures.html"}
    items = []
    for path in inputs["items"]:
        metadata = tables.read_metadata(path)
        if metadata["benchmark"] == "sciq":
            metadata |= {"label": evil, "split_note": evil}
        items.append(tmp_path / path.name)
        tables.write_table(tables.read_table(path, "items"), items[-1], "items", metadata)
    drilldowns = []
    for path in inputs["drilldowns"]:
        found = json.loads(path.read_text(encoding="utf-8"))
        found["label"] = evil
        for card in found["cards"]:
            card |= {"question": evil, "choices": [evil for _ in card["choices"]], "subject": evil}
            for own in card["families"].values():
                own["title"] = evil
        drilldowns.append(tmp_path / path.name)
        drilldowns[-1].write_text(json.dumps(found), encoding="utf-8")
    families = {name: f"{label} {evil}" for name, label in inputs["families"].items()}
    caption = tmp_path / "caption.txt"
    caption.write_text(f"{evil}.\n\nWhat to see: {evil}\n", encoding="utf-8")
    captions = [caption for _ in inputs["captions"]]
    changed = inputs | {"items": items, "drilldowns": drilldowns, "families": families, "captions": captions}
    write_report(**changed, output=tmp_path / "report.html")
    for name in ("report.html", "figures.html"):
        page = (tmp_path / name).read_text(encoding="utf-8")
        assert "<script>alert" not in page and "<img src=x" not in page
        assert "&lt;img src=x onerror=alert(2)&gt;" in page
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<script") == page.count("</script>") == 15
    assert evil in set(_shown(page, "statistics")["benchmark"])


def test_pictures_are_embedded_without_loss(run: SyntheticRun) -> None:
    path = run.root / "figures/loss.png"
    data = base64.b64decode(pictures.embed(path).removeprefix("data:image/webp;base64,"))
    drawn, embedded = (np.asarray(Image.open(file).convert("RGB")) for file in (path, io.BytesIO(data)))
    np.testing.assert_array_equal(drawn, embedded)
    figure = pictures.read_figure("loss", path, path.with_suffix(".txt"), {}, run.root / "report.html")
    assert (figure.height, figure.width) == drawn.shape[:2] and len(data) < path.stat().st_size
    assert figure.png == "figures/loss.png" and figure.pdf == "figures/loss.pdf"


def test_the_page_holds_few_pictures(run: SyntheticRun, monkeypatch: pytest.MonkeyPatch) -> None:
    path = run.root / "figures/loss.png"
    names = ["attribution/pearson", "attribution/spearman", "loss", "mechanism", "agreement", "survival/sciq"]
    listed = [
        pictures.read_figure(n, path, path.with_suffix(".txt"), {"sciq": "SciQ"}, run.root / "a.html") for n in names
    ]
    pngs = dict.fromkeys(names, path)
    shown = [figure.name for figure, _ in pictures.shown_on_page(listed, pngs)]
    assert shown == ["attribution/spearman", "mechanism", "loss"]
    monkeypatch.setattr(pictures, "MOST_BYTES", int(1.5 * len(pictures.embed(path))))
    assert [figure.name for figure, _ in pictures.shown_on_page(listed, pngs)] == ["attribution/spearman"]


def test_a_picture_that_is_no_png_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "a.txt").write_text("Title.\n")
    with pytest.raises(ElusiveError, match=r"a\.png: not a PNG picture"):
        pictures.read_figure("loss", tmp_path / "a.png", tmp_path / "a.txt", {}, tmp_path / "a.html")


def test_signal_against_chance(run: SyntheticRun) -> None:
    scores = pq.read_table(run.table("scores")).to_pandas()
    benchmarks = [read_benchmark(path) for path in run.items()]
    scores["above_chance_se"] = scores["benchmark"].map({"arc_easy": 1.9, "mmlu": -1.9, "sciq": 5.0, "winogrande": -4})
    found = findings.signals(scores, benchmarks)
    assert [(s.above, s.below) for s in found] == [(0, 0), (0, 0), (35, 0), (0, 35)]
    text = findings.signal_text(found)
    assert "On ARC-Easy, MMLU and WinoGrande no checkpoint is better than chance by more than two" in text
    assert "All checkpoints are within two standard errors of chance on ARC-Easy and MMLU." in text
    assert "Some are further below it on WinoGrande (35 of 35)" in text
    assert "about 0.8 of 35 checkpoints" in text
    everywhere = findings.signal_text([replace(s, above=0, below=0) for s in found])
    assert everywhere.startswith("On ARC-Easy, MMLU, SciQ and WinoGrande no checkpoint is better")
    assert "further below" not in everywhere
    above = findings.signal_text([replace(s, above=1) for s in found])
    assert above.startswith("On every benchmark some checkpoint") and "no signal yet" not in above
    assert findings.signal_text([replace(found[2], checkpoints=2)]) == (
        "On SciQ some checkpoint is better than chance by more than two standard errors."
    ), "no luck to speak of"


def test_notes_are_of_what_is_there(run: SyntheticRun) -> None:
    benchmarks = [read_benchmark(path) for path in run.items()]
    # Six checkpoints two by two at the same compute, as of two seeds: fewer of the orders exceed 0.75 than of six.
    pairs = null_distributions(np.repeat([1.0, 2.0, 3.0], 2))["spearman"].above(0.75)
    bands = [("few", 5, 8 / 120), ("paired", 6, pairs), ("many", 30, 1e-7), ("one", 1, None)]
    null_bands = pd.DataFrame(bands, columns=["family", "num_models", "fraction_above_075"]).assign(method="spearman")
    families = {"few": "Few", "paired": "Paired", "many": "Many", "one": "One"}
    notes = " ".join(findings.notes(benchmarks, families, null_bands))
    assert "“Few” has only 5 checkpoints. By luck alone 6.7 % of items" in notes and "“Many”" not in notes
    assert "“Paired” has only 6 checkpoints. By luck alone 3.3 % of items" in notes and "“One”" not in notes
    whole = [replace(b, num_items_total=b.num_items, split_note=None) for b in benchmarks]
    notes = " ".join(findings.notes(whole, {}, null_bands))
    assert "random draw" not in notes and "stands in" not in notes


@pytest.mark.slow
def test_checkpoints_that_are_all_alike_have_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, write = synthetic_run._log_likelihoods, synthetic_run.write_metrics
    monkeypatch.setattr(synthetic_run, "_log_likelihoods", lambda *a: np.repeat(draw(*a)[:1], len(a[3]), axis=0))
    monkeypatch.setattr(synthetic_run, "write_metrics", lambda **k: write(**k, allow_duplicates=list(k["families"])))
    run = make_run(tmp_path, num_items=20, benchmarks=("arc_easy",))
    draw_figure(run, "statistics/spearman", run.root / "figures")
    write_report(**report_inputs(run, run.root / "figures"), output=tmp_path / "report.html")
    text = _text((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert not re.search(r"\b(nan|NaN)\b", text)
