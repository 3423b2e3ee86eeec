"""The report: what it states is in the tables, it needs nothing outside itself, and two runs give the same bytes."""

from __future__ import annotations

import html
import itertools
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy import stats

from elusive import tables
from elusive.errors import ElusiveError
from elusive.figures.data import read_benchmark
from elusive.report import findings
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


def _statistics(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="statistics-data">(.*?)</script>', page, re.S)
    return json.loads(found.group(1))


def test_every_benchmark_family_and_figure_is_there(page: str, run: SyntheticRun) -> None:
    text = _text(page)
    for label in ["ARC-Easy", "MMLU", "SciQ", "WinoGrande", *run.families.values()]:
        assert label in text
    for anchor in ["figure-survival-sciq", "figure-statistics-spearman", "figure-loss"]:
        assert f'id="{anchor}"' in page and f'href="#{anchor}"' in page
    assert page.count("data:image/png;base64,") == 3
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


def test_the_sortable_table_holds_every_row_of_whole_benchmarks(page: str, run: SyntheticRun) -> None:
    data = _statistics(page)
    table = pq.read_table(run.table("correlation_statistics")).to_pandas()
    whole = table[table["subject"].isna()]
    assert len(whole) < len(table), "the synthetic run has subjects, which the page leaves out"
    assert len(data["rows"]) == len(whole)
    found = (row[data["columns"].index("mean")][0] for row in data["rows"])
    means = sorted(value for value in found if value is not None)
    assert means == sorted(round(value, 4) for value in whole["mean"].dropna())


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
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in parser.found)
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|import\(", page)
    assert "default-src 'none'" in page


def test_without_published_values_the_report_says_so(page: str) -> None:
    section = page.split('<section id="published">')[1].split("</section>")[0]
    assert "No accuracy of this run has a published one for the same model" in section
    assert "<table" not in section and "z is" not in section


def test_published_accuracies_stand_beside_the_measured_ones(run: SyntheticRun, tmp_path: Path) -> None:
    reference = planted_disagreements(tmp_path / "planted")
    inputs = report_inputs(run, run.root / "figures") | {"reference": reference}
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
    families = {name: f"{label} {evil}" for name, label in inputs["families"].items()}
    caption = tmp_path / "caption.txt"
    caption.write_text(f"{evil}.\n\nWhat to see: {evil}\n", encoding="utf-8")
    captions = [caption for _ in inputs["captions"]]
    changed = inputs | {"items": items, "families": families, "captions": captions}
    write_report(**changed, output=tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page and "<img src=x" not in page
    assert page.count("<script") == 2 and page.count("</script>") == 2
    assert "&lt;img src=x onerror=alert(2)&gt;" in page
    assert any(evil in str(row[1]) for row in _statistics(page)["rows"])


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


def test_provenance_lists_every_value_once() -> None:
    metadata = [{"dtype": "float32", "versions": {"torch": "2.13.0"}}] * 2 + [{"dtype": "bfloat16", "versions": {}}]
    rows = dict(provenance(metadata))
    assert rows["Precision of the weights"] == "float32, bfloat16"
    assert rows["Version of torch"] == "2.13.0, not recorded"
    assert rows["Tables of log-likelihoods"] == "3"
