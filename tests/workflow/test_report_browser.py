"""The report in a browser: headless Chromium opens the file without a network, and what a reader does works."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from browser import Browser, find
from elusive.report.report import write_report
from synthetic_run import (
    SIZES,
    STEPS,
    SyntheticRun,
    World,
    draw_figure,
    make_forecasts,
    make_run,
    planted_disagreements,
    report_inputs,
)
from worlds import WORLDS

pytestmark = pytest.mark.slow

BENCHMARKS = ("arc_easy", "mmlu", "sciq")
FIGURES = ("survival/arc_easy", "survival/sciq", "statistics/spearman", "masses/sciq", "loss")
PHONE, DESK = 390, 1400

#: Ten metrics of the contract and eight variants, those that need an unconditional score left out.
METRICS = 18

#: Text of an item that is no markup, and longer than a card shows at once.
EVIL = """</script><script>document.title = "broken"</script><img src=x onerror="document.title='broken'"> &amp; """
EVIL += "\n".join(f"line {i}" for i in range(200)) + " THE END"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = find()
    if program is None:
        pytest.skip("NO BROWSER: install Chromium (Debian: apt-get install chromium) to test the report in one")
    browser = Browser(program, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRun:
    run = make_run(tmp_path_factory.mktemp("run"), num_items=40, benchmarks=BENCHMARKS)
    for name in FIGURES:
        draw_figure(run, name, run.root / "figures")
    return run


@pytest.fixture(scope="module")
def report(run: SyntheticRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = run.root / "report.html"
    reference = planted_disagreements(tmp_path_factory.mktemp("planted"))
    drilldown = json.loads(run.drilldown("sciq").read_text(encoding="utf-8"))
    drilldown["cards"][0] |= {"question": EVIL, "choices": [f"{EVIL} {k}" for k in range(4)]}
    # Not all items in full: the last ones are dots alone.
    drilldown["cards"] = drilldown["cards"][:30]
    changed = tmp_path_factory.mktemp("items") / "sciq.json"
    changed.write_text(json.dumps(drilldown), encoding="utf-8")
    inputs = report_inputs(run, run.root / "figures")
    inputs |= {"summary": replace(inputs["summary"], reference=reference)}
    inputs |= {"drilldowns": [changed if b == "sciq" else run.drilldown(b) for b in BENCHMARKS]}
    write_report(**inputs, output=output)
    return output


@pytest.fixture(scope="module")
def falling(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a world in which scores fall with compute."""
    benchmarks, items, world = WORLDS["falling"]
    run = make_run(tmp_path_factory.mktemp("falling"), num_items=items, benchmarks=benchmarks, world=world)
    output = run.root / "report.html"
    write_report(**report_inputs(run, run.root / "figures"), output=output)
    return output


@pytest.fixture(scope="module")
def forecast_run(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRun:
    families = ("ladder", "ladder-sizes")
    world = World(sizes=tuple(SIZES[:3]), steps=tuple(STEPS[-4:]), families=families)
    run = make_run(tmp_path_factory.mktemp("run"), num_items=40, benchmarks=("arc_easy", "sciq"), world=world)
    make_forecasts(run)
    write_report(**report_inputs(run, run.root / "figures"), output=run.root / "report.html")
    return run


#: What scripts of tests use: waiting for what the page does in its own time, and a reader's hands.
HANDS = """
  const view = window, page = document;
  const wait = ms => new Promise(done => setTimeout(done, ms));
  const until = async (found, what) => {
    for (let i = 0; i < 400; i++) { const value = found(); if (value) return value; await wait(50); }
    throw new Error("waited in vain for " + (what ?? found));
  };
  const $ = name => page.querySelector(name), $$ = name => [...page.querySelectorAll(name)];
  const seen = name => $$(name).filter(node => node.checkVisibility());
  const choose = (select, value) => { select.value = value; select.dispatchEvent(new Event("change")); };
  const press = (node, key) => node.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  const tip = () => page.getElementById("tip").hidden ? null : page.getElementById("tip").textContent;
  const go = id => page.getElementById(id).scrollIntoView();
  // What a click on a download would save: name and text.
  const saved = async button => {
    let blob, name;
    const { createObjectURL } = URL, { click } = HTMLAnchorElement.prototype;
    URL.createObjectURL = found => { blob = found; return "blob:x"; };
    HTMLAnchorElement.prototype.click = function () { name = this.download; };
    button.click();
    URL.createObjectURL = createObjectURL;
    HTMLAnchorElement.prototype.click = click;
    return [name, await blob.text()];
  };
  const middle = node => {
    const box = node.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2];
  };
"""


def _run(browser: Browser, report: Path, script: str, width: int = DESK, hash_: str = "", **how: Any) -> Any:
    """What ``script`` returns on the report, opened in a window so wide; fails on any message that the page logs."""
    with browser.open(f"{report.as_uri()}{hash_}", width, **how) as page:
        found = page.run(HANDS + script)
        assert not page.messages, page.messages
    return found


FIRST = """
  const words = [];
  const strip = $("#strip");
  const walker = page.createTreeWalker(page.body, 4);
  for (let node = walker.nextNode(); node && !strip.contains(node); node = walker.nextNode()) {
    const parent = node.parentElement;
    if (!node.data.trim() || !parent.checkVisibility() || parent.closest("select, script, style, .skip")) continue;
    words.push(...node.data.trim().split(/\\s+/));
  }
  const box = strip.getBoundingClientRect();
  const answer = seen(".answer p").map(p => p.textContent);
  return { words, top: box.top + view.scrollY, bottom: box.bottom + view.scrollY, answer,
    colours: new Set($$("#strip td i").map(i => view.getComputedStyle(i).backgroundColor)).size };
"""


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_the_first_screen_has_a_picture_and_few_words_before_it(browser: Browser, report: Path, width: int) -> None:
    found = _run(browser, report, FIRST, width)
    assert 50 < found["top"] < 600 and found["bottom"] < 844, "all of it on the first screen"
    assert 10 < len(found["words"]) <= 120, found["words"]
    assert 3 <= len(found["answer"]) <= 4
    assert len(re.findall(r"\d[\d.]*", " ".join(found["answer"]))) <= 10


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_bars_point_to_the_side_of_their_sign(browser: Browser, report: Path, falling: Path, width: int) -> None:
    script = """
      return $$("#strip td").map(cell => {
        const value = Number(cell.textContent.replace("−", "-"));
        const box = cell.querySelector("a").getBoundingClientRect(), zero = cell.querySelector("u");
        const at = node => node.getBoundingClientRect(), bar = at(cell.querySelector("i"));
        return {value, zero: zero ? at(zero).left - box.left : 0, from: bar.left - box.left, to: bar.right - box.left,
          width: box.width};
      });
    """
    for page, some_below in ((report, False), (falling, True)):
        cells = _run(browser, page, script, width)
        values = [cell["value"] for cell in cells]
        lowest = min(0, *values)
        assert (lowest < -0.3) == some_below
        for cell in cells:
            unit = cell["width"] / (1 - lowest)
            # Numbers are written with two digits.
            slack = 1 + 0.011 * cell["width"]
            assert abs(cell["zero"] + lowest * unit) < slack
            ends = sorted((0, cell["value"]))
            assert abs(cell["from"] - cell["zero"] - ends[0] * unit) < slack, cell
            assert abs(cell["to"] - cell["zero"] - ends[1] * unit) < slack, cell


def test_nothing_is_loaded_and_nothing_is_logged(browser: Browser, report: Path) -> None:
    script = """
      for (const section of $$("main > section")) { section.scrollIntoView(); await wait(100); }
      for (const details of $$("details")) details.open = true;
      await wait(300);
      return view.performance.getEntriesByType("resource").map(entry => entry.name);
    """
    assert _run(browser, report, script, DESK) == []


COLUMN = """
  const table = page.querySelector('[data-table="statistics"]');
  go("statistics");
  await until(() => page.querySelector("#statistics-table tbody tr"));
  const rows = () => [...page.querySelectorAll("#statistics-table tbody tr")];
  const next = () => [...table.querySelectorAll(".pager button")].at(-1);
  const column = name => {
    const names = [...page.querySelectorAll("#statistics-table thead th")].map(cell => cell.textContent);
    const at = names.indexOf(name);
    const found = [];
    const before = () => table.querySelector(".pager button");
    while (!before().disabled) before().click();
    for (;;) {
      found.push(...rows().map(row => row.cells[at].firstChild.textContent));
      if (next().disabled) return found;
      next().click();
    }
  };
  const numbers = name => column(name).map(text => text === "–" ? null : Number(text.replace("−", "-")));
  const click = name => [...table.querySelectorAll(".table-sort")].find(b => b.textContent === name).click();
"""


def test_the_long_table_is_filled_when_the_reader_comes_near(browser: Browser, report: Path) -> None:
    script = """
      const before = $$("#statistics-table tr").length;
      go("statistics");
      await until(() => $("#statistics-table tbody tr"));
      return [before, $$("#statistics-table tr").length, $('[data-table="statistics"] [role=status]').textContent];
    """
    before, after, text = _run(browser, report, script, DESK)
    # Three families, three benchmarks and each metric, for one method and one policy, a hundred rows at a time.
    assert before == 0 and after == 1 + 100
    assert text == f"{3 * 3 * METRICS} of {3 * 3 * METRICS * 6 + 90:,} rows, 1 to 100 shown"


def test_clicking_a_column_sorts_by_it(browser: Browser, report: Path) -> None:
    script = (
        COLUMN
        + """
      click("median");
      const down = numbers("median");
      click("median");
      const up = numbers("median");
      const sorted = table.querySelector("[aria-sort]").textContent + " " + table.querySelector("[aria-sort]").ariaSort;
      click("metric");
      return {down, up, sorted, metrics: column("metric"), hash: view.location.hash};
    """
    )
    found = _run(browser, report, script, 1200)
    down = [value for value in found["down"] if value is not None]
    assert len(found["down"]) == 3 * 3 * METRICS and len(down) > 100
    assert down == sorted(down, reverse=True) and down[0] > down[-1] and found["down"][: len(down)] == down
    assert found["up"] == down[::-1] + found["down"][len(down) :], "undefined ones stay last"
    assert found["sorted"] == "median ascending"
    chain = list(dict.fromkeys(found["metrics"]))
    assert chain[:5] == ["log p_vocab", "p_vocab", "p_choices", "−Brier", "accuracy"], (
        "in the chain's order, not by name"
    )
    assert "sort=metric" in found["hash"]


def test_the_address_keeps_place_filters_and_sorting(browser: Browser, report: Path) -> None:
    script = COLUMN + (
        'return {mean: numbers("mean"), benchmark: column("benchmark"), method: column("method"), '
        "top: $('#statistics').getBoundingClientRect().top, bar: $('nav select[data-filter=benchmark]').value, "
        "hash: view.location.hash};"
    )
    hash_ = "#statistics&sort=mean&dir=asc&benchmark=sciq&table_method=kendall&undefined=zero"
    found = _run(browser, report, script, 1200, hash_)
    assert set(found["benchmark"]) == {"SciQ"} and set(found["method"]) == {"kendall"} and found["bar"] == "sciq"
    assert found["mean"] == sorted(found["mean"]) and len(found["mean"]) == 3 * METRICS
    assert abs(found["top"]) < 120, "the section stands at the top"
    assert found["hash"].startswith("#statistics&") and "benchmark=sciq" in found["hash"]


def test_a_click_on_the_bar_keeps_the_filters(browser: Browser, report: Path) -> None:
    script = """
      choose($("nav select[data-filter=benchmark]"), "mmlu");
      choose($("nav select[data-filter=family]"), "ladder-sizes");
      $('nav a[href^="#why"]').click();
      const after = view.location.hash;
      $('nav a[href^="#lost"]').click();
      const place = $("#lost").getBoundingClientRect().top;
      view.history.back();
      await until(() => view.location.hash === after);
      return { after, place, filters: $$("nav select").map(s => s.value) };
    """
    found = _run(browser, report, script, DESK)
    assert found["after"] == "#why&benchmark=mmlu&family=ladder-sizes"
    assert abs(found["place"]) < 120 and sorted(found["filters"]) == ["ladder-sizes", "mmlu"]


def test_an_unknown_address_does_no_harm(browser: Browser, report: Path) -> None:
    script = "return { filters: $$('nav select').map(s => s.value), shown: $('#strip').checkVisibility() };"
    found = _run(browser, report, script, DESK, "#nowhere&family=gone&benchmark=gone&method=x&item=y")
    assert found == {"filters": ["", ""], "shown": True}


def test_filters_show_what_was_chosen(browser: Browser, report: Path) -> None:
    script = (
        COLUMN
        + """
      const heads = place => seen(place + " > .scroll tbody th").map(n => n.textContent);
      const strips = () => seen("#overview .strip-figure").map(n => n.dataset.family);
      const found = { before: strips(), rows: heads("#lost div[data-family=ladder]") };
      choose($("nav select[data-filter=benchmark]"), "mmlu");
      found.short = heads("#lost div[data-family=ladder]");
      found.strip = seen("#strip tbody tr").length;
      found.chosen = $$("#strip tr.chosen").map(n => n.dataset.benchmark);
      choose($("nav select[data-filter=family]"), "ladder-tokens");
      found.after = strips();
      found.lead = seen("#overview .lead").map(n => n.innerText).join(" ");
      found.families = [...new Set(column("family"))];
      found.reasons = seen("#why > div[data-family]").map(n => n.dataset.family);
      return found;
    """
    )
    found = _run(browser, report, script, DESK)
    assert found["before"] == ["ladder"] and found["after"] == ["ladder-tokens"]
    assert found["rows"] == ["ARC-Easy", "MMLU", "SciQ"] and found["short"] == ["MMLU"]
    assert found["strip"] == 3 and found["chosen"] == ["mmlu"], "the strip stays whole"
    assert found["families"] == ["Ladder, largest model (data scaling)"] and found["reasons"] == ["ladder-tokens"]
    assert "Ladder (all)" not in found["lead"]


def test_downloads_are_the_tables(browser: Browser, report: Path, run: SyntheticRun) -> None:
    script = """
      const strip = await saved($(".answer .get-csv"));
      const steps = await saved($("#lost div[data-family=ladder] .get-csv"));
      const details = $$("details.full").find(d => d.querySelector('[data-table="headline"]'));
      details.open = true;
      await until(() => details.querySelector("tbody tr"));
      choose($("nav select[data-filter=benchmark]"), "sciq");
      const headline = await saved(details.querySelector(".get-csv"));
      const curves = await saved($("#curves-get .get-csv"));
      return { strip, steps, headline, curves };
    """
    found = _run(browser, report, script, DESK)

    def frame(name: str) -> tuple[str, pd.DataFrame]:
        file, text = found[name]
        return file, pd.read_csv(io.StringIO(text))

    table = pq.read_table(run.table("headline")).to_pandas()
    own = table[(table["family"] == "ladder") & (table["method"] == "spearman")].set_index(["benchmark", "metric"])
    labels = {"ARC-Easy": "arc_easy", "MMLU": "mmlu", "SciQ": "sciq"}
    file, strip = frame("strip")
    assert file == "strip.csv" and len(strip) == 3
    for row in strip.to_dict("records"):
        for title, metric in {"log p of the right answer": "log_p_vocab_correct", "accuracy": "accuracy"}.items():
            expected = own.loc[(labels[row["benchmark"]], metric)]
            assert row[title] == pytest.approx(expected["mean"], rel=1e-6, abs=1e-9, nan_ok=True)
            high = row[f"{title} shuffled high"]
            assert high == pytest.approx(expected["shuffled_high"], rel=1e-6, abs=1e-9, nan_ok=True)

    table = pq.read_table(run.table("attribution")).to_pandas()
    own = table[(table["family"] == "ladder") & (table["method"] == "spearman") & (table["score"] == "accuracy")]
    own = own[(own["order"] == "exponentiate_first") & (own["nan_policy"] == "zero")].set_index(["benchmark", "step"])
    file, steps = frame("steps")
    assert file == "steps-ladder.csv" and len(steps) == 3
    for row in steps.to_dict("records"):
        expected = own.loc[(labels[row["benchmark"]], "renormalise")]
        assert row["renormalise"] == pytest.approx(expected["drop"], rel=1e-6, abs=1e-9, nan_ok=True)
        assert row["renormalise low"] == pytest.approx(expected["drop_low"], rel=1e-6, abs=1e-9, nan_ok=True)

    file, headline = frame("headline")
    expected = pq.read_table(run.table("headline")).to_pandas()
    expected = expected[(expected["benchmark"] == "sciq") & (expected["method"] == "spearman")]
    assert file == "headline.csv" and len(headline) == len(expected) == 3 * METRICS
    assert set(headline["benchmark"]) == {"SciQ"}
    for title, name in {"mean": "mean", "mean low": "mean_low", "shuffled, from": "shuffled_low"}.items():
        np.testing.assert_allclose(headline[title], expected[name].astype(float), atol=5.1e-5, equal_nan=True)

    file, curves = frame("curves")
    correlations = pq.read_table(run.root / "correlations/ladder/sciq.parquet").to_pandas()
    values = correlations[(correlations["method"] == "spearman") & (correlations["metric"] == "p_choices_correct")]
    shown = curves[curves["curve"] == "p_choices"]
    assert file == "curves.csv" and len(shown) == 201
    np.testing.assert_allclose(shown["share"], 1 - np.arange(201) / 200, atol=1e-12)
    expected = np.quantile(values["correlation"].dropna(), np.arange(201) / 200, method="inverted_cdf")
    np.testing.assert_allclose(shown["correlation"], expected, atol=5.1e-5)


def test_texts_with_commas_and_quotes_are_downloaded_whole(browser: Browser, report: Path) -> None:
    script = 'return await saved($$("#run .get-csv").at(-1));'
    file, text = _run(browser, report, script, DESK)
    rows = list(csv.reader(io.StringIO(text)))
    assert file == "families.csv" and {len(row) for row in rows} == {6}
    assert [row[0] for row in rows[1:]] == [
        "Ladder (all)",
        "Ladder, largest model (data scaling)",
        "Ladder, end of training (parameter scaling)",
    ]


def test_a_cell_leads_to_its_curve_and_its_items(browser: Browser, report: Path) -> None:
    script = """
      $('#strip tr[data-benchmark=sciq] td:nth-child(5) a').click();
      const found = { hash: view.location.hash, top: $("#curves").getBoundingClientRect().top };
      found.caption = $("#curves-caption").innerText;
      found.faint = $$("#curves-figure .line.faint").length;
      found.files = $$("#curves-get a").map(a => a.getAttribute("href"));
      $$("#curves-get a").at(-1).click();
      await until(() => $("#item-cards .item"));
      found.items = view.location.hash;
      found.title = $("#scatter-caption").textContent;
      return found;
    """
    found = _run(browser, report, script, DESK)
    assert found["hash"] == "#curves&benchmark=sciq&family=ladder&metric=accuracy" and abs(found["top"]) < 120
    assert "SciQ, Ladder (all) (35 checkpoints), Spearman" in found["caption"] and found["faint"] == 3
    assert "figures/survival/sciq.pdf" in found["files"] and "figures.html#figure-survival-sciq" in found["files"]
    assert found["items"].startswith("#items&") and found["title"].startswith("SciQ, Ladder (all): 40 items")


def test_curves_are_read_by_pointer_and_by_keys(browser: Browser, report: Path, run: SyntheticRun) -> None:
    found = {}
    with browser.open(report.as_uri()) as page:
        x, y = page.run(
            HANDS
            + """
            go("curves");
            choose($("#curves-filter select[data-filter=benchmark]"), "sciq");
            await wait(300);
            return middle($("#curves-figure svg"));
            """
        )
        page.point(x, y)
        found["tip"] = page.run(HANDS + 'return await until(tip, "a note at the pointer");')
        near = page.run(
            HANDS
            + """
            const box = page.getElementById("tip").getBoundingClientRect();
            return [box.left, box.right, box.bottom];
            """
        )
        page.point(5, 5)
        found["left"] = page.run(HANDS + "await wait(200); return tip();")
        page.run('document.querySelector("#curves-figure svg").focus()')
        for _ in range(126):
            page.press("ArrowRight")
        found["keys"] = page.run(HANDS + "return tip();")
        page.press("Escape")
        found["closed"] = page.run(HANDS + "return tip();")
        assert not page.messages
    assert found["tip"].startswith("share above c = ") and found["tip"].count("\n") == 5
    assert "by chance: " in found["tip"] and found["left"] is None and found["closed"] is None
    assert near[0] < x + 30 and near[1] > x - 30 and abs(near[2] - y) < 200, "the note is at the pointer"
    correlations = pq.read_table(run.root / "correlations/ladder/sciq.parquet").to_pandas()
    values = correlations[(correlations["method"] == "spearman") & (correlations["metric"] == "p_choices_correct")]
    share = float((values["correlation"].dropna() > 0.25).mean())
    shown = re.search(r"c = 0\.25\n(?:.*\n)*?p_choices: (\d+) %", found["keys"])
    assert float(shown[1]) == pytest.approx(100 * share, abs=1.1)


def test_curves_compare_what_is_asked_for(browser: Browser, report: Path) -> None:
    script = """
      const found = {}, texts = () => $$("#curves-caption .legend span").map(n => n.textContent);
      choose($("#curves-filter select[data-filter=method]"), "pearson");
      found.pearson = texts();
      choose($("#curves-filter select[data-filter=compare]"), "families");
      found.families = texts();
      choose($("#curves-filter select[data-filter=metric]"), "brier");
      choose($("#curves-filter select[data-filter=compare]"), "methods");
      found.methods = texts();
      choose($("#curves-filter select[data-filter=compare]"), "benchmarks");
      found.benchmarks = texts();
      found.hash = location.hash;
      return found;
    """
    found = _run(browser, report, script)
    assert found["pearson"] == ["● log p_vocab", "● p_vocab", "● p_choices", "● −Brier", "● accuracy"]
    assert found["families"][0] == "● Ladder (all)" and len(found["families"]) == 3
    assert found["methods"] == ["● Pearson", "● Spearman", "● Kendall"]
    assert found["benchmarks"] == ["● ARC-Easy", "● MMLU", "● SciQ"]
    assert "compare=benchmarks" in found["hash"] and "metric=brier" in found["hash"]


def test_mean_scores_follow_benchmark_family_and_score(browser: Browser, report: Path, run: SyntheticRun) -> None:
    script = """
      go("means");
      choose($("#means-filter select[data-filter=benchmark]"), "sciq");
      choose($("#means-filter select[data-filter=family]"), "ladder-tokens");
      const svg = () => $("#means-figure svg");
      const marks = () => ($("#means-figure .dot").getAttribute("d").match(/M/g) ?? []).length;
      const found = { marks: marks(), level: $$("#means-figure .level").length };
      for (let i = 0; i < 7; i++) press(svg(), "ArrowRight");
      found.tip = tip();
      choose($("#means-filter select[data-filter=mean]"), "margin_log");
      found.caption = $("#means-caption").textContent;
      found.after = $$("#means-figure .level").length;
      found.pair = $$("#right-and-wrong .dot").length;
      return found;
    """
    found = _run(browser, report, script, DESK)
    assert found["marks"] == 7 and found["level"] == 1 and found["after"] == 0 and found["pair"] == 2
    means = pq.read_table(run.table("means")).to_pandas()
    last = means[(means["benchmark"] == "sciq") & (means["metric"] == "accuracy") & (means["model"] == "ladder-4")]
    row = last.sort_values("flops").iloc[-1]
    shown = float(f"{row['mean']:.4g}")
    assert found["tip"].startswith(f"ladder-4 {row['checkpoint']}\n") and found["tip"].endswith(f"accuracy: {shown:g}")
    assert "mean margin to the best wrong choice" in found["caption"] and "guessing" not in found["caption"]


def test_published_accuracies_can_be_sorted(browser: Browser, report: Path) -> None:
    script = """
      const table = page.querySelector("#published table");
      const column = i => [...table.tBodies[0].rows].map(row => row.cells[i].firstChild.textContent.trim());
      const click = i => table.tHead.rows[0].cells[i].querySelector("button").click();
      const found = {before: column(8)};
      click(7); found.z = column(7); found.sort = table.tHead.rows[0].cells[7].getAttribute("aria-sort");
      click(7); found.rising = column(7);
      click(1); found.checkpoints = column(1);
      click(8); found.states = column(8);
      return found;
    """
    found = _run(browser, report, script, 1200)
    assert found["before"][0] == "✗ differs" and found["before"][-1] == "– not comparable"
    z = [float(text.replace("−", "-")) for text in found["z"] if text != "–"]
    assert z == sorted(z, reverse=True) and found["z"][-2:] == ["–", "–"] and found["sort"] == "descending"
    assert [float(text.replace("−", "-")) for text in found["rising"][:-2]] == z[::-1]
    assert found["rising"][-2:] == ["–", "–"], "what cannot be compared stays last"
    assert found["checkpoints"] == sorted(found["checkpoints"]) and len(set(found["checkpoints"])) == 3
    assert found["states"][0] == "✗ differs"


def test_nothing_overflows_on_a_phone(browser: Browser, report: Path) -> None:
    script = """
      const width = () => page.documentElement.scrollWidth;
      const closed = width();
      for (const section of $$("main > section")) { section.scrollIntoView(); await wait(60); }
      for (const details of $$("details")) details.open = true;
      await wait(300);
      const open = width();
      const button = page.querySelector(".picture button"), picture = button.querySelector("img");
      const fitted = picture.getBoundingClientRect().width;
      button.click();
      const full = picture.getBoundingClientRect().width;
      const table = $("#lost .scroll"), head = table.querySelector("tbody th");
      const before = head.getBoundingClientRect().left;
      table.scrollLeft = 150;
      const after = head.getBoundingClientRect().left;
      const texts = Math.min(...$$("#curves-figure svg text").map(t => t.getBoundingClientRect().height));
      return {inner: view.innerWidth, closed, open, fitted, full, zoomed: width(), moved: before - after,
        scrolled: table.scrollLeft, texts};
    """
    found = _run(browser, report, script, PHONE)
    assert found["inner"] == PHONE
    assert found["closed"] <= PHONE and found["open"] <= PHONE and found["zoomed"] <= PHONE
    assert 300 < found["fitted"] < PHONE < 800 < found["full"], (
        "a touch shows a figure in full size, scrolled in its frame"
    )
    assert found["scrolled"] > 100 and abs(found["moved"]) < 2, "a table's first column stays"
    assert found["texts"] > 9, "charts are drawn for the width, their text as large as on a desk"


def test_a_link_into_what_is_folded_or_hidden_opens_it(browser: Browser, report: Path) -> None:
    script = """
      const add = href => Object.assign(page.body.appendChild(page.createElement("a")), { href });
      add("#order").click();
      const found = { open: $("#order").open, top: $("#order").getBoundingClientRect().top };
      choose($("nav select[data-filter=family]"), "ladder-tokens");
      add("#strip-ladder-sizes").click();
      found.shown = $("#strip-ladder-sizes").checkVisibility();
      return found;
    """
    found = _run(browser, report, script, DESK)
    assert found["open"] and abs(found["top"]) < 400 and found["shown"]


def test_subjects_are_there_to_be_chosen(browser: Browser, report: Path) -> None:
    script = (
        COLUMN
        + """
      const select = table.querySelector("select[data-filter=subject]") ??
        [...table.querySelectorAll("label")].find(l => l.textContent.startsWith("subject")).querySelector("select");
      const found = {before: [...new Set(column("subject"))], options: [...select.options].map(o => o.textContent)};
      choose(select, "subject_1");
      found.after = [...new Set(column("subject"))];
      found.benchmarks = [...new Set(column("benchmark"))];
      found.rows = column("metric").length;
      found.hash = view.location.hash;
      return found;
    """
    )
    found = _run(browser, report, script, 1200)
    assert found["before"] == ["whole benchmark"]
    assert found["options"] == ["all", "whole benchmark", "subject_0", "subject_1", "subject_2"]
    assert found["after"] == ["subject_1"] and found["benchmarks"] == ["MMLU"] and found["rows"] == 3 * 5
    assert "subject=subject_1" in found["hash"]


def test_full_tables_are_filled_when_they_are_opened(browser: Browser, report: Path) -> None:
    script = """
      const found = {};
      for (const details of page.querySelectorAll("details.full")) {
        const node = details.querySelector(".data-table");
        const before = node.querySelectorAll("tr").length;
        details.open = true;
        await until(() => node.querySelector("tbody tr"));
        const count = name => node.querySelectorAll(name).length;
        found[node.dataset.table] = [before, count("tbody tr"), count("select")];
      }
      return found;
    """
    found = _run(browser, report, script, 1200)
    assert set(found) == {
        "headline",
        "predictability",
        "attribution",
        "mechanism",
        "aggregates",
        "checkpoint_intervals",
    }
    assert all(before == 0 and after > 30 and selects >= 3 for before, after, selects in found.values())


ITEMS = """
  go("items");
  await until(() => $("#item-cards .item"), "the first card");
  const card = () => $("#item-cards .item");
  const select = $("#items-filter select[data-filter=benchmark]");
  const family = $("#items-filter select[data-filter=family]");
  const pick = async (which, value) => {
    const before = $("#scatter svg");
    choose(which, value);
    await until(() => $("#scatter svg") !== before && $("#item-cards .item"));
  };
"""


def test_items_are_drawn_and_follow_benchmark_and_family(browser: Browser, report: Path, run: SyntheticRun) -> None:
    script = (
        ITEMS
        + """
      const found = {};
      await pick($("nav select[data-filter=benchmark]"), "mmlu");
      found.followed = select.value;
      found.meta = card().querySelector(".meta").textContent;
      found.title = card().querySelector(".item-title").textContent;
      found.right = card().querySelectorAll("li.right").length;
      found.groups = $$("#item-list button").map(b => b.textContent.split(":")[0]);
      found.marks = card().querySelectorAll(".chart .dot").length;
      found.points = (card().querySelector(".chart .dot").getAttribute("d").match(/M/g) || []).length;
      const chart = card().querySelector(".chart");
      press(chart, "ArrowRight"); press(chart, "ArrowRight"); press(chart, "ArrowLeft");
      found.tip = tip();
      found.opacities = [...new Set([...chart.querySelectorAll(".line:not(.guide)")].map(p => p.style.opacity))].sort();
      press(chart, "Escape");
      found.restored = [...new Set([...chart.querySelectorAll(".line")].map(p => p.style.opacity))];
      found.focusable = chart.getAttribute("tabindex");
      await pick(family, "ladder-sizes");
      found.fewer = (card().querySelector(".chart .dot").getAttribute("d").match(/M/g) || []).length;
      found.other = card().querySelector(".item-title").textContent;
      found.caption = $("#scatter-caption").textContent;
      return found;
    """
    )
    found = _run(browser, report, script, 1200)
    written = json.loads(run.drilldown("mmlu").read_text(encoding="utf-8"))
    first = written["cards"][0]
    assert found["followed"] == "mmlu" and found["title"] == first["families"]["ladder"]["title"] + "."
    assert written["items"][first["at"]] in found["meta"] and first["subject"].replace("_", " ") in found["meta"]
    assert found["groups"] == ["loses most"] * 6 + ["loses least"] * 2 + ["keeps all"] * 2
    assert found["right"] == 1 and found["marks"] == 5 and found["points"] == 35 and found["fewer"] == 5
    flops = written["checkpoints"][0]["flops"]
    assert re.fullmatch(
        rf"ladder-0 tokens-32768\n{flops / 10**10:.1f} × 10¹⁰ FLOPs\n"
        r"A −[\d.]+( ✓)?\nB −[\d.]+( ✓)?\nC −[\d.]+( ✓)?\nD −[\d.]+( ✓)?\np_choices 0\.\d{3}",
        found["tip"],
    ), found["tip"]
    assert found["tip"].count("✓") == 1
    assert found["opacities"] == ["0.1", "1"], "the pointed model's lines stand out"
    assert found["restored"] == [""] and found["focusable"] == "0"
    assert "Ladder, end of training (parameter scaling)" in found["caption"]
    own = [c for c in written["cards"] if c["families"]["ladder-sizes"]["group"] == "largest"]
    titles = {c["families"]["ladder-sizes"]["title"] + "." for c in own}
    assert found["other"] in titles or found["other"] == first["families"]["ladder-sizes"]["title"] + "."


def test_every_item_is_a_dot_that_opens_it(browser: Browser, report: Path, run: SyntheticRun) -> None:
    with browser.open(report.as_uri()) as page:
        found = page.run(
            HANDS
            + ITEMS
            + """
            await pick(select, "sciq");
            const found = {};
            found.dots = $$("#scatter .cloud").map(p => (p.getAttribute("d").match(/M/g) ?? []).length);
            found.caption = $("#scatter-caption").textContent;
            $("#scatter svg").focus();
            return found;
            """
        )
        for key in ("ArrowRight", "ArrowRight", "ArrowLeft"):
            page.press(key)
        found["tip"] = page.run(HANDS + "return tip();")
        page.press("Enter")
        found["hash"] = page.run("return location.hash;")
        # A dot that the page has not in full opens what is known of it.
        x, y = page.run(
            HANDS
            + """
            const svg = $("#scatter svg"), [, , width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
            const place = /M([\\d.]+),([\\d.]+)/g;
            const dots = path => [...path.getAttribute("d").matchAll(place)].map(m => m.slice(1).map(Number));
            const every = $$("#scatter .cloud").flatMap(dots);
            // The one that stands most alone, since a click counts whole pixels.
            const room = ([x, y]) => every.map(([a, b]) => Math.hypot(a - x, b - y)).sort((a, b) => a - b)[1];
            const [x, y] = dots($(".cloud:not(.has)")).sort((a, b) => room(b) - room(a))[0];
            const box = svg.getBoundingClientRect();
            return [box.left + x / width * box.width, box.top + y / height * box.height];
            """
        )
        page.point(x, y)
        found["other"] = page.run(HANDS + "await wait(100); return await until(tip);")
        page.point(x, y, click=True)
        found["short"] = page.run(HANDS + "await wait(200); return $('#item-cards .item').innerText;")
        assert not page.messages
    written = json.loads(run.drilldown("sciq").read_text(encoding="utf-8"))
    known = [
        (b, a, i)
        for b, a, i in zip(
            written["families"]["ladder"]["before"],
            written["families"]["ladder"]["after"],
            written["items"],
            strict=True,
        )
        if b is not None and a is not None
    ]
    assert sum(found["dots"]) == len(known) == 40 and found["dots"][1] == 30
    below = sum(b > a for b, a, _ in known)
    assert found["caption"].startswith(f"SciQ, Ladder (all): 40 items, {below} of them below the diagonal.")
    assert "the 30 that this page has in full" in found["caption"]
    item, change = found["tip"].split("\n")[:2]
    before, after = next((b, a) for b, a, i in known if i == item)
    assert change == f"C {before:.2f} → {after:.2f}".replace("-", "−")
    assert f"item={item.replace('/', '%2F')}" in found["hash"]
    assert "This page has 30 of the 40 items of SciQ in full" in found["short"]
    assert found["other"].split("\n")[0] in found["short"]


def test_items_are_found_by_word_and_by_name(browser: Browser, report: Path, run: SyntheticRun) -> None:
    script = (
        ITEMS
        + """
      const field = $("#items-filter input"), found = {};
      const type = async text => {
        const before = $("#item-list").innerHTML;
        field.value = text;
        field.dispatchEvent(new view.Event("input"));
        await until(() => $("#item-list").innerHTML !== before);
        return $$("#item-list button").map(b => b.textContent);
      };
      found.word = await type("choice 2 of ITEM 17");
      found.name = await type("mmlu/00003");
      found.nothing = [await type("no such word"), $("#item-list").textContent];
      found.again = await type("mmlu/00003");
      $("#item-list button").click();
      await until(() => card().querySelector(".meta").textContent.includes("mmlu/00003"));
      found.hash = view.location.hash;
      found.benchmark = select.value;
      found.groups = (await type("")).length;
      const title = card().querySelector(".meta").textContent;
      [...$$("#items-filter button")].at(-1).click();
      await wait(200);
      found.random = card().querySelector(".meta").textContent.startsWith("MMLU");
      return found;
    """
    )
    found = _run(browser, report, script, DESK)
    assert [text.split(":")[0] for text in found["word"]] == [
        "ARC-Easy arc_easy/00017",
        "MMLU mmlu/00017",
        "SciQ sciq/00017",
    ] or len(found["word"]) == 2
    assert len(found["name"]) == 1 and found["name"][0].startswith("MMLU mmlu/00003: ")
    assert found["nothing"] == [[], "nothing found"]
    assert "item=mmlu%2F00003" in found["hash"] and found["benchmark"] == "mmlu"
    assert found["groups"] == 10 and found["random"]


@pytest.mark.parametrize("kind", ["right", "wrong"])
def test_items_that_are_likely_to_turn_come_in_their_order(
    browser: Browser, forecast_run: SyntheticRun, kind: str
) -> None:
    script = (
        ITEMS
        + f"""
      const turn = $("#items-filter select[data-filter=turn]"), found = {{}};
      const lines = () => $$("#item-list button").map(b => b.textContent);
      found.before = lines();
      found.targets = [...turn.querySelectorAll("optgroup")].map(group => group.label);
      choose(turn, "{kind}-0");
      await until(() => lines().join() !== found.before.join());
      found.list = lines();
      found.items = $$("#item-list button").map(b => b.dataset.item);
      found.what = $("#item-list .note").textContent;
      found.hash = view.location.hash;
      $$("#item-list button")[1].click();
      await until(() => card().querySelector(".meta").textContent.includes(found.items[1]));
      found.card = card().querySelector(".foreseen").textContent;
      // Another family has its own probabilities; its few checkpoints are said.
      await pick(family, "ladder-sizes");
      found.few = card().querySelector(".foreseen").textContent;
      choose(turn, "");
      await until(() => !$("#item-list .note"));
      found.after = lines().length;
      return found;
    """
    )
    found = _run(browser, forecast_run.root / "report.html", script, DESK, "#items&benchmark=sciq")
    table = pd.read_parquet(forecast_run.root / "forecast_items/ladder/sciq.parquet")
    own = table[table["last_accuracy"] == (0 if kind == "right" else 1)]
    order = own.assign(p=(100 * own["p_right"]).round()).sort_values(
        ["p", "item"], ascending=[kind == "wrong", True], kind="stable"
    )
    assert found["targets"] == ["at “Twice both”"] and "turn=" + kind + "-0" in found["hash"]
    assert found["items"] == order["item"].head(12).tolist()
    assert [line.split(":")[0] for line in found["list"]] == [_percent(p) for p in order["p"].head(12)]
    state = "wrong" if kind == "right" else "right"
    count = min(12, len(own))
    assert f"{count} of the {len(own)} items that are {state} at the largest compute" in found["what"]
    second = order.iloc[1]
    assert (
        found["card"] == f"P(right), forecast: {_percent(second['p'])} at “Twice both”; {state} at the largest compute."
    )
    other = pd.read_parquet(forecast_run.root / "forecast_items/ladder-sizes/sciq.parquet").set_index("item")
    share = _percent(round(100 * other.loc[found["items"][1], "p_right"]))
    assert share in found["few"] and found["few"].endswith("Fewer than five checkpoints were learnt from.")
    assert found["after"] == len(found["before"])


def _percent(value: float) -> str:
    return "< 1 %" if value < 1 else "> 99 %" if value > 99 else f"{value:.0f} %"


def test_without_forecasts_items_have_none(browser: Browser, report: Path) -> None:
    script = ITEMS + 'return [seen("#items-filter select[data-filter=turn]").length, $$(".foreseen").length];'
    assert _run(browser, report, script) == [0, 0]
    script = ITEMS + 'return [$$("#item-list button").length, $$("#item-list .note").length];'
    assert _run(browser, report, script, DESK, "#items&benchmark=sciq&turn=right-0") == [10, 0], "an old address"


def test_forecasts_do_not_overflow_on_a_phone(browser: Browser, forecast_run: SyntheticRun) -> None:
    script = ITEMS + "return page.documentElement.scrollWidth;"
    hash_ = "#items&benchmark=sciq&turn=wrong-0"
    assert _run(browser, forecast_run.root / "report.html", script, PHONE, hash_) <= PHONE


def test_an_address_opens_an_item(browser: Browser, report: Path) -> None:
    script = ITEMS + 'return card().querySelector(".meta").textContent;'
    found = _run(browser, report, script, DESK, "#items&benchmark=arc_easy&item=arc_easy%2F00007")
    assert found.startswith("ARC-Easy · arc_easy/00007 ·")


def test_texts_of_items_are_texts_and_long_ones_open(browser: Browser, report: Path) -> None:
    script = (
        ITEMS
        + """
      await pick(select, "sciq");
      const question = card().querySelector(".question");
      const more = question.querySelector(".more-text");
      const found = {closed: question.textContent, tall: question.offsetHeight};
      more.click();
      found.open = question.firstChild.data;
      found.markup = page.querySelectorAll("#items img, #items script").length;
      found.title = page.title;
      found.width = page.documentElement.scrollWidth;
      return found;
    """
    )
    found = _run(browser, report, script, PHONE)
    assert "THE END" in found["closed"] and "<script>" not in found["closed"] and found["tall"] < 1500
    assert found["open"] == EVIL
    assert found["markup"] == 0 and found["title"] == "Which benchmark scores follow pretraining compute"
    assert found["width"] <= PHONE


def test_terms_say_what_they_mean_where_they_stand(browser: Browser, report: Path) -> None:
    script = """
      const terms = $$("abbr.term");
      const some = terms.filter(n => n.checkVisibility()).slice(0, 12);
      const meanings = terms.every(n => n.dataset.tip.length > 20 && n.tabIndex === 0);
      const found = { count: terms.length, meanings, wide: [] };
      for (const node of some) {
        node.focus();
        const shown = view.getComputedStyle(node, "::after").content;
        if (!shown.includes(node.dataset.tip.slice(0, 20).replaceAll('"', '\\\\"'))) found.wide.push(shown);
      }
      found.scroll = page.documentElement.scrollWidth;
      return found;
    """
    for width in (PHONE, DESK):
        found = _run(browser, report, script, width)
        assert found["count"] > 30 and found["meanings"] and found["wide"] == [] and found["scroll"] <= width


def test_bibtex_can_be_copied(browser: Browser, report: Path) -> None:
    script = """
      let copied = null;
      Object.defineProperty(view.navigator, "clipboard", { value: { writeText: async text => { copied = text; } } });
      const button = [...page.querySelectorAll("#provenance button")].at(-1);
      button.click();
      await until(() => button.textContent === "Copied");
      return copied;
    """
    assert _run(browser, report, script, DESK).startswith("@inproceedings{")


def test_the_bar_stays_and_leads_to_every_part(browser: Browser, report: Path) -> None:
    script = """
      const nav = page.querySelector("nav"), links = [...nav.querySelectorAll(".links a")];
      view.scrollTo(0, page.documentElement.scrollHeight / 2);
      await wait(300);
      const box = nav.getBoundingClientRect();
      return {
        top: box.top, height: box.height,
        missing: links.filter(a => !page.getElementById(a.hash.slice(1).split("&")[0])).length,
        links: links.map(a => a.hash.slice(1).split("&")[0]),
        current: links.filter(a => a.hasAttribute("aria-current")).length,
      };
    """
    for width in (PHONE, 1280):
        found = _run(browser, report, script, width)
        assert found["top"] == 0 and found["height"] < 130 and found["missing"] == 0 and found["current"] == 1
        assert found["links"] == ["overview", "scores", "lost", "why", "items", "curves", "run"]


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_contrast(browser: Browser, report: Path, dark: bool) -> None:
    script = """
      const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
      const background = node => {
        const layers = [];
        for (; node; node = node.parentElement) {
          const [r, g, b, a = 1] = parse(view.getComputedStyle(node).backgroundColor);
          if (a > 0) layers.push([r, g, b, a]);
          if (a === 1) break;
        }
        const over = (under, [r, g, b, a]) => [r, g, b].map((c, i) => a * c + (1 - a) * under[i]);
        return layers.reverse().reduce(over, dark ? [20, 24, 31] : [255, 255, 255]);
      };
      const light = rgb => rgb.map(c => c / 255).map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
      const worst = {};
      const dark = view.matchMedia("(prefers-color-scheme: dark)").matches;
      for (const section of $$("main > section")) { section.scrollIntoView(); await wait(60); }
      for (const details of page.querySelectorAll("details")) details.open = true;
      await wait(500);
      for (const node of page.querySelectorAll("body *:not(svg *)")) {
        if (!node.checkVisibility() || ![...node.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
        const [a, b] = [light(parse(view.getComputedStyle(node).color).slice(0, 3)), light(background(node))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) worst[node.tagName + "." + node.className + ": " + node.textContent.slice(0, 30)] = ratio;
      }
      // Lines and texts of charts against the page: 3 to 1 is asked of graphics.
      const paper = light(background(page.body));
      for (const node of page.querySelectorAll("svg .line:not(.faint), svg .dot, svg text")) {
        const style = view.getComputedStyle(node);
        const colour = node.matches(".line") ? style.stroke : style.fill;
        const value = light(parse(colour).slice(0, 3));
        const ratio = (Math.max(value, paper) + 0.05) / (Math.min(value, paper) + 0.05);
        if (ratio < (node.tagName === "text" ? 4.5 : 3)) worst[node.getAttribute("class") + " " + colour] = ratio;
      }
      return { dark, worst };
    """
    found = _run(browser, report, script, 1280, dark=dark)
    assert found == {"dark": dark, "worst": {}}


def test_without_scripts_the_answer_and_the_pictures_are_there(browser: Browser, report: Path) -> None:
    script = """
      return {
        scripts: $("#filters").hidden,
        strip: $$("#strip td").length,
        charts: $$("main svg.chart").filter(n => n.getBoundingClientRect().height > 100).length,
        arrows: $$(".arrows svg line").length,
        rows: seen("main table tbody tr").length,
      };
    """
    found = _run(browser, report, script, scripts=False)
    assert found["scripts"] and found["strip"] == 12 and found["charts"] == 5 and found["arrows"] >= 10
    assert found["rows"] > 40


def test_a_print_is_a_summary(browser: Browser, report: Path) -> None:
    with browser.open(report.as_uri()) as page:
        assert 1 <= page.pdf_pages() <= 6
