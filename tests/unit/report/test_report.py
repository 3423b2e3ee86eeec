"""The report: what it states is in the tables, it needs nothing outside itself, and two runs give the same bytes."""

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
from scipy import stats

from elusive import tables
from elusive.errors import ElusiveError
from elusive.figures.data import read_benchmark
from elusive.figures.style import format_number
from elusive.report import findings, summaries
from elusive.report.embed import pack_numbers, unpack_table
from elusive.report.findings import Median, paper_order
from elusive.report.report import provenance, read_figure, write_report
from synthetic_run import SyntheticRun, draw_figure, make_run, planted_disagreements, report_inputs

BENCHMARKS = ("arc_easy", "mmlu", "sciq", "winogrande")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRun:
    run = make_run(tmp_path_factory.mktemp("run"), num_items=60, benchmarks=BENCHMARKS)
    for name in ["survival/sciq", "statistics/spearman", "loss"]:
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
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


def _packed(page: str, name: str) -> dict:
    found = re.search(rf'<script type="application/json" id="data-{name}">(.*?)</script>', page, re.S)
    return json.loads(found.group(1))


def _shown(page: str, name: str) -> pd.DataFrame:
    return unpack_table(_packed(page, name))


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
    write_report(**inputs | {"summary": replace(inputs["summary"], audit=path)}, output=tmp_path / "report.html")
    audited = (tmp_path / "report.html").read_text(encoding="utf-8")
    section = _text(audited.split('id="audit"')[1].split("</section>")[0])
    assert "Checkpoints off the trend of their run m/3: off. Prompts that were cut m/0 <cut>." in section
    assert "m/11 <cut>. 3 more in the table." in section and "m/12" not in section
    assert 'href="#audit"' in audited


def test_every_benchmark_family_and_figure_is_there(page: str, run: SyntheticRun) -> None:
    text = _text(page)
    for label in ["ARC-Easy", "MMLU", "SciQ", "WinoGrande", *run.families.values()]:
        assert label in text
    for anchor in ["figure-survival-sciq", "figure-statistics-spearman", "figure-loss"]:
        assert f'id="{anchor}"' in page and f'href="#{anchor}"' in page
    assert page.count("data:image/webp;base64,") == 3
    assert "SciQ: the validation split stands in for the test split." in text
    assert "ARC-Easy 60 of 1,172" in text


def test_the_median_table_is_the_statistics_table(page: str, run: SyntheticRun) -> None:
    table = pq.read_table(run.table("correlation_statistics")).to_pandas()
    rows = table[table["subject"].isna() & (table["nan_policy"] == "drop") & (table["method"] == "pearson")]
    for family, label in run.families.items():
        block = page.split(f"Median correlation with compute: {label}</h3>")[1].split("</table>")[0]
        cells = re.findall(r"<td[^>]*>([^<]+)<small>", block)
        medians = rows[rows["family"] == family].set_index(["benchmark", "metric"])["median"]
        expected = f"{medians['sciq', 'p_vocab_correct']:.2f}".replace("-", "−")
        assert cells[9 * BENCHMARKS.index("sciq") + 1] == expected


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
    inputs = report_inputs(run, run.root / "figures") | {"plotted": ["ladder-sizes"]}
    write_report(**inputs, output=tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for name in ("statistics", "predictability", "attribution", "mechanism", "aggregates", "checkpoint_intervals"):
        assert set(_shown(page, name)["family"]) == {"Ladder, end of training (parameter scaling)"}
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


@pytest.mark.parametrize("name", ["predictability", "attribution", "mechanism", "aggregates", "checkpoint_intervals"])
def test_the_other_tables_are_there_in_full(page: str, run: SyntheticRun, name: str) -> None:
    shown, table = _shown(page, name), pq.read_table(run.table(name)).to_pandas()
    assert len(shown) == len(table) and set(shown["family"]) == set(run.families.values())
    titles = {"predictability": ("median", "median"), "attribution": ("drop", "drop"), "mechanism": ("value", "value")}
    titles |= {"aggregates": ("signal", "signal"), "checkpoint_intervals": ("mean_shuffled_low", "shuffled, from")}
    column, title = titles[name]
    expected = table[column].astype(float)
    assert expected.notna().sum() > 10
    np.testing.assert_allclose(shown[title].astype(float), expected, atol=5.1e-5, rtol=1e-6, equal_nan=True)


def _cells(page: str, section: str, benchmark: str) -> list[str]:
    """The texts of a benchmark's row in the first short table of a section."""
    part = page.split(f'<section id="{section}">')[1].split("</table>")[0]
    row = part.split(f'<tr data-benchmark="{benchmark}"><th>')[1].split("</tr>")[0]
    return [_text(cell).strip() for cell in re.findall(r"<td[^>]*>(.*?)</td>", row)]


def test_short_tables_are_their_tables(page: str, run: SyntheticRun) -> None:
    def number(value: float, digits: int = 2) -> str:
        return format_number(value, digits)

    table = pq.read_table(run.table("attribution")).to_pandas()
    own = table[(table["family"] == "ladder") & (table["benchmark"] == "sciq") & (table["method"] == "pearson")]
    own = own[(own["order"] == "exponentiate_first") & (own["nan_policy"] == "zero")].set_index(["score", "step"])
    cells = _cells(page, "attribution", "SciQ")
    before = own.at[("accuracy", "exponentiate"), "correlation_before"]
    assert cells[0] == number(before)
    steps = [("accuracy", s) for s in ("exponentiate", "renormalise", "threshold", "total")]
    steps += [("brier", "square"), ("brier", "total")]
    for cell, step in zip(cells[1:], steps, strict=True):
        row = own.loc[step]
        assert cell == f"{number(row['drop'])} {number(row['drop_low'])} to {number(row['drop_high'])}"

    table = pq.read_table(run.table("predictability")).to_pandas()
    best = table[(table["family"] == "ladder") & table["recommended"] & (table["benchmark"] == "sciq")]
    row = best[(best["method"] == "spearman") & (best["kind"] == "mass")].iloc[0]
    assert summaries.METRIC_NAMES[row["metric"]] + f": {number(row['median'])}" in _cells(page, "scores", "SciQ")[2]
    sure = set(
        table[(table["family"] == "ladder") & table["recommended"] & (table["kind"] == "comparison")]["benchmark"]
    )
    without = [b for b in BENCHMARKS if b not in sure]
    labels = {"arc_easy": "ARC-Easy", "mmlu": "MMLU", "winogrande": "WinoGrande", "sciq": "SciQ"}
    assert without and all(_cells(page, "scores", labels[b])[0] == "none" for b in without)

    table = pq.read_table(run.table("mechanism")).to_pandas()
    own = table[(table["family"] == "ladder") & (table["benchmark"] == "mmlu")].set_index("quantity")["value"]
    cells = _cells(page, "mechanism", "MMLU")
    assert cells[0].startswith(number(own["correlation_correct"])) and cells[3].startswith(number(own["comovement"]))

    table = pq.read_table(run.table("aggregates")).to_pandas()
    own = table[(table["family"] == "ladder") & (table["benchmark"] == "mmlu")].set_index("metric")["signal_to_noise"]
    assert _cells(page, "means", "MMLU")[4].startswith(number(own["accuracy"], 1))

    bands = pq.read_table(run.table("null_bands")).to_pandas().set_index(["family", "method"])
    band = bands.loc[("ladder-sizes", "spearman")].iloc[0]
    section = _text(page.split('<section id="chance">')[1].split("</table>")[0])
    assert f"{number(band['q025'])} to {number(band['q975'])} {100 * band['fraction_above_075']:.1f} %" in section


def test_the_authors_differences_are_the_largest(run: SyntheticRun) -> None:
    table = pq.read_table(run.table("authors_variants")).to_pandas()
    (short,) = summaries.authors(table, {"sciq": "SciQ"})
    assert len(short.rows) == table["metric"].nunique()
    areas = table[(table["statistic"] == "auc") & (table["metric"] == "accuracy")]["difference"]
    row = next(row for row in short.rows if row.head == "accuracy")
    shown = float(row.cells[2].text.replace("−", "-"))
    assert abs(shown) == pytest.approx(areas.abs().max(), abs=0.005) and areas.abs().max() > 0.01


def test_items_are_embedded_as_they_were_written(page: str, run: SyntheticRun) -> None:
    assert _packed(page, "items") == [json.loads(run.drilldown(b).read_text(encoding="utf-8")) for b in BENCHMARKS]


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
    """Every address that the page would load or link to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = ("src", "href", "srcset", "data", "action", "poster")
        self.found += [value or "" for name, value in attrs if name in names]


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    parser = _References()
    parser.feed(page)
    assert len(parser.found) > 10
    assert all(address.startswith(("#", "data:image/webp;base64,")) for address in parser.found)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", page)
    assert "default-src 'none'" in page


def test_without_published_values_the_report_says_so(page: str) -> None:
    section = page.split('<section id="published">')[1].split("</section>")[0]
    assert "No accuracy of this run has a published one for the same model" in section
    assert "<table" not in section and "z is" not in section


def test_published_accuracies_stand_beside_the_measured_ones(run: SyntheticRun, tmp_path: Path) -> None:
    reference = planted_disagreements(tmp_path / "planted")
    inputs = report_inputs(run, run.root / "figures")
    inputs["summary"] = replace(inputs["summary"], reference=reference)
    write_report(**inputs, output=tmp_path / "report.html")
    section = (tmp_path / "report.html").read_text(encoding="utf-8").split('<section id="published">')[1]
    section = section.split("</section>")[0]
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
    write_report(**report_inputs(run, run.root / "figures"), output=tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == page


def test_labels_cannot_inject_markup(run: SyntheticRun, tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
    inputs = report_inputs(run, run.root / "figures")
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
        if found["benchmark"] == "sciq":
            for item in found["items"]:
                item |= {"question": evil, "choices": [evil for _ in item["choices"]]}
        drilldowns.append(tmp_path / path.name)
        drilldowns[-1].write_text(json.dumps(found), encoding="utf-8")
    families = {name: f"{label} {evil}" for name, label in inputs["families"].items()}
    caption = tmp_path / "caption.txt"
    caption.write_text(f"{evil}.\n\nWhat to see: {evil}\n", encoding="utf-8")
    captions = [caption for _ in inputs["captions"]]
    changed = inputs | {"items": items, "drilldowns": drilldowns, "families": families, "captions": captions}
    write_report(**changed, output=tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page and "<img src=x" not in page
    assert page.count("<script") == page.count("</script>") == 8
    assert "&lt;img src=x onerror=alert(2)&gt;" in page
    assert evil in set(_shown(page, "statistics")["benchmark"])
    shown = next(run for run in _packed(page, "items") if run["benchmark"] == "sciq")
    assert all(item["question"] == evil and item["choices"] == [evil] * 4 for item in shown["items"])


def test_pictures_are_embedded_without_loss(run: SyntheticRun) -> None:
    path = run.root / "figures/loss.png"
    figure = read_figure("loss", path, path.with_suffix(".txt"), [])
    data = base64.b64decode(figure.uri.removeprefix("data:image/webp;base64,"))
    drawn, embedded = (np.asarray(Image.open(file).convert("RGB")) for file in (path, io.BytesIO(data)))
    np.testing.assert_array_equal(drawn, embedded)
    assert (figure.height, figure.width) == drawn.shape[:2] and len(data) < path.stat().st_size


def test_a_picture_that_is_no_png_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "a.txt").write_text("Title.\n")
    with pytest.raises(ElusiveError, match=r"a\.png: not a PNG picture"):
        read_figure("loss", tmp_path / "a.png", tmp_path / "a.txt", [])


def _chain(values: list[float | None], width: float, method: str = "pearson") -> list[Median]:
    metrics = findings.metrics_seen_by(method)
    return [
        Median(m, method, v, None if v is None else v - width, None if v is None else v + width)
        for m, v in zip(metrics, values, strict=True)
    ]


def test_paper_order() -> None:
    holds = paper_order(_chain([0.9, 0.5, 0.3, 0.2, 0.1], 0.01))
    assert holds.holds and not holds.contradicted and "0.90 > 0.50 > 0.30 > 0.20 > 0.10" in holds.text
    # Equality is allowed between p_choices and Brier, not between Brier and accuracy.
    assert paper_order(_chain([0.9, 0.9, 0.3, 0.3, 0.1], 0.01)).holds
    equal = paper_order(_chain([0.9, 0.5, 0.3, 0.2, 0.2], 0.01))
    assert not equal.holds and not equal.contradicted and "accuracy equals −Brier" in equal.text
    unclear = paper_order(_chain([0.9, 0.5, 0.2, 0.21, 0.1], 0.01))
    assert not unclear.holds and not unclear.contradicted
    assert "−Brier lies above p_choices, but their intervals overlap" in unclear.text and "0.20 ≈ 0.21" in unclear.text
    against = paper_order(_chain([0.9, 0.5, 0.2, 0.4, 0.1], 0.01))
    assert against.contradicted and "0.20 < 0.40" in against.text
    assert "no correlation is defined for accuracy" in paper_order(_chain([0.9, 0.5, 0.2, 0.1, None], 0.01)).text
    assert paper_order(_chain([0.9, 0.3, 0.2, 0.1], 0.01, "spearman")).holds


@pytest.mark.parametrize("models", [3, 5, 6, 7])
def test_spearman_by_luck_is_the_permutation_distribution(models: int) -> None:
    x = np.arange(models)
    values = [stats.spearmanr(x, order).statistic for order in itertools.permutations(range(models))]
    assert findings.spearman_by_luck(models) == pytest.approx(np.mean(np.array(values) > 0.75 + 1e-12), abs=1e-12)


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
    assert everywhere.startswith("On no benchmark is any checkpoint better")
    assert findings.signal_text([replace(s, above=1) for s in found]).startswith("On every benchmark some checkpoint")


def test_headlines_state_the_largest_fall() -> None:
    rows = []
    values = dict(zip(findings._MAY_EQUAL, [0.8, 0.3, 0.25, 0.2], strict=True)) | {"log_p_vocab_correct": 0.9}
    for metric, method in itertools.product(values, ["pearson", "spearman"]):
        row = {"family": "f", "benchmark": "b", "subject": None, "metric": metric, "method": method}
        value = values["log_p_vocab_correct" if (metric, method) == ("p_vocab_correct", "spearman") else metric]
        row |= {"nan_policy": "drop", "median": value, "median_low": value - 0.01, "median_high": value + 0.01}
        rows.append(row)
    frame = pd.DataFrame(rows)
    benchmark = findings.Benchmark("b", "B", "test", None, 10, 10, 0.25)
    first, second, third = findings.headlines(frame, [benchmark], "f", "Family", 6)
    assert "0.90 for log p_vocab, 0.30 for p_choices" in first
    assert "The largest fall is at p_vocab → p_choices, from 0.80 to 0.30." in second
    assert "on 1 of 1 benchmarks by Pearson and on 1 by Spearman" in third


def test_findings_state_the_tables(page: str, run: SyntheticRun) -> None:
    text = _text(page)
    table = pq.read_table(run.table("attribution")).to_pandas()
    own = table[(table["family"] == "ladder") & (table["method"] == "pearson") & (table["score"] == "accuracy")]
    own = own[(own["order"] == "exponentiate_first") & (own["nan_policy"] == "zero")]
    means = own.groupby("step")["drop"].mean()
    assert (
        f"Of the mean Pearson correlation, {means['total']:.2f} is lost from log p_vocab to accuracy, averaged over 4 "
        f"benchmarks (undefined correlations counted as 0): {means['exponentiate']:.2f} goes to exponentiating, "
        f"{means['renormalise']:.2f} goes to renormalising over the choices and {means['threshold']:.2f} goes to "
        "thresholding."
    ) in text
    intervals = pq.read_table(run.table("checkpoint_intervals")).to_pandas()
    own = intervals[(intervals["family"] == "ladder") & (intervals["method"] == "spearman")]
    above = own[own["mean"] > own["mean_shuffled_high"]].groupby("metric").size()
    assert f"{above['log_p_vocab_correct']} for log p_vocab, {above['p_choices_correct']} for p_choices" in text


def test_where_nothing_follows_compute_nothing_is_recommended() -> None:
    benchmarks = [findings.Benchmark(name, name.upper(), "test", None, 10, 10, 0.25) for name in "abc"]
    row = {"family": "f", "method": "spearman", "kind": "comparison", "median": 0.4}
    rows = [row | {"benchmark": "a", "metric": "brier", "recommended": True}]
    rows += [row | {"benchmark": "b", "metric": "brier", "recommended": False}]
    text = findings.predictability_text(pd.DataFrame(rows), benchmarks, "f")
    assert "is −Brier on 1 of 3 benchmarks, with median Spearman correlations of 0.40." in text
    assert text.endswith("None does beyond doubt on B and C.")
    rows[0]["recommended"] = False
    assert "none can be recommended" in findings.predictability_text(pd.DataFrame(rows), benchmarks, "f")


def test_provenance_lists_every_value_once() -> None:
    metadata = [{"dtype": "float32", "versions": {"torch": "2.13.0"}}] * 2 + [{"dtype": "bfloat16", "versions": {}}]
    rows = dict(provenance(metadata))
    assert rows["Precision of the weights"] == "float32, bfloat16"
    assert rows["Version of torch"] == "2.13.0, not recorded"
    assert rows["Checkpoints scored"] == "3"


def test_provenance_of_bos() -> None:
    """Left to the tokenizer is recorded too."""
    rows = dict(provenance([{"add_bos_token": None}] * 3 + [{"add_bos_token": False}] * 2 + [{}]))
    assert rows["BOS token put first"] == "as the tokenizer does by itself, False, not recorded"
