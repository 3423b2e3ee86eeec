"""The report in a browser: headless Chromium opens the file without a network, and what a reader does works."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from elusive.report.report import write_report
from synthetic_run import draw_figure, make_run, planted_disagreements, report_inputs

pytestmark = pytest.mark.slow

BENCHMARKS = ("arc_easy", "mmlu", "sciq")
FIGURES = ("survival/arc_easy", "survival/sciq", "statistics/spearman", "masses/sciq", "loss")
PHONE = 390

#: Ten metrics of the contract and eight variants, those that need an unconditional score left out.
METRICS = 18

#: Text of an item that is no markup, and longer than a card shows at once.
EVIL = """</script><script>document.title = "broken"</script><img src=x onerror="document.title='broken'"> &amp; """
EVIL += "\n".join(f"line {i}" for i in range(200)) + " THE END"


@pytest.fixture(scope="module")
def chromium() -> str:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        pytest.skip("NO BROWSER: install Chromium (Debian: apt-get install chromium) to test the report in one")
    return found


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = make_run(tmp_path_factory.mktemp("run"), num_items=40, benchmarks=BENCHMARKS)
    for name in FIGURES:
        draw_figure(run, name, run.root / "figures")
    output = run.root / "report.html"
    reference = planted_disagreements(tmp_path_factory.mktemp("planted"))
    drilldown = json.loads(run.drilldown("sciq").read_text(encoding="utf-8"))
    drilldown["items"][0] |= {"question": EVIL, "choices": [f"{EVIL} {k}" for k in range(4)]}
    run.drilldown("sciq").write_text(json.dumps(drilldown), encoding="utf-8")
    inputs = report_inputs(run, run.root / "figures")
    write_report(**inputs | {"summary": replace(inputs["summary"], reference=reference)}, output=output)
    return output


def _open(chromium: str, address: str, tmp_path: Path) -> str:
    """The page's document after its scripts have run; fails on any message in the browser's console."""
    command = [
        chromium,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--allow-file-access-from-files",
        f"--user-data-dir={tmp_path / 'profile'}",
        "--enable-logging=stderr",
        "--dump-dom",
        address,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not console, console
    return done.stdout


def _in_frame(chromium: str, report: Path, tmp_path: Path, script: str, width: int, hash_: str = "") -> Any:
    """What ``script`` returns, run with ``page`` (document) and ``view`` (window) of the report in a frame so wide."""
    frame = f"{report.as_uri()}{hash_}"
    harness = tmp_path / "harness.html"
    harness.write_text(
        f"""<!DOCTYPE html><meta charset="utf-8"><body><pre id="result"></pre>
        <iframe style="width:{width}px;height:844px;border:0"></iframe><script>
        const frame = document.querySelector("iframe");
        frame.onload = () => {{
          const view = frame.contentWindow, page = frame.contentDocument;
          const result = (() => {{ {script} }})();
          document.getElementById("result").textContent = JSON.stringify(result);
        }};
        frame.src = {json.dumps(frame)};
        </script></body>""",
        encoding="utf-8",
    )
    document = _open(chromium, harness.as_uri(), tmp_path)
    result = re.search(r'<pre id="result">(.*?)</pre>', document, re.S)
    assert result and result.group(1), "the script in the harness did not finish"
    return json.loads(html.unescape(result.group(1)))


def test_the_page_opens_offline_and_fills_its_table(chromium: str, report: Path, tmp_path: Path) -> None:
    document = _open(chromium, report.as_uri(), tmp_path)
    body = document.split('id="statistics-table"')[1].split("</table>")[0]
    # Three families, three benchmarks and each metric, for one method and one policy, a hundred rows at a time.
    assert body.count("<tr") == 1 + 100
    assert f"{3 * 3 * METRICS} of {3 * 3 * METRICS * 6 + 90:,} rows, 1 to 100 shown" in document


COLUMN = """
  const table = page.querySelector('[data-table="statistics"]');
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
  const choose = (select, value) => { select.value = value; select.dispatchEvent(new view.Event("change")); };
"""


def test_clicking_a_column_sorts_by_it(chromium: str, report: Path, tmp_path: Path) -> None:
    script = (
        COLUMN
        + """
      click("median");
      const down = numbers("median");
      click("median");
      const up = numbers("median");
      const sorted = page.querySelector("[aria-sort]").textContent + " " + page.querySelector("[aria-sort]").ariaSort;
      click("metric");
      return {down, up, sorted, metrics: column("metric"), hash: view.location.hash};
    """
    )
    found = _in_frame(chromium, report, tmp_path, script, 1200)
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


def test_the_address_keeps_sorting_and_filters(chromium: str, report: Path, tmp_path: Path) -> None:
    script = COLUMN + 'return {mean: numbers("mean"), benchmark: column("benchmark"), method: column("method")};'
    hash_ = "#sort=mean&dir=asc&benchmark=SciQ&method=kendall&undefined=zero"
    found = _in_frame(chromium, report, tmp_path, script, 1200, hash_)
    assert set(found["benchmark"]) == {"SciQ"} and set(found["method"]) == {"kendall"}
    assert found["mean"] == sorted(found["mean"]) and len(found["mean"]) == 3 * METRICS


def test_filters_show_what_was_chosen(chromium: str, report: Path, tmp_path: Path) -> None:
    script = (
        COLUMN
        + """
      const shown = () => [...page.querySelectorAll("figure")].filter(f => f.offsetHeight > 0).map(f => f.id);
      const select = name => page.querySelector(`nav select[data-filter=${name}]`);
      const all = shown();
      choose(select("kind"), "survival");
      const kind = shown();
      choose(select("benchmark"), "SciQ");
      const both = shown();
      choose(select("kind"), "");
      const benchmark = shown();
      choose(select("family"), select("family").options[1].value);
      const families = new Set(column("family"));
      const tables = [...page.querySelectorAll("#findings [data-family]")].filter(n => n.offsetHeight > 0).length;
      return {all, kind, both, benchmark, families: [...families], tables};
    """
    )
    found = _in_frame(chromium, report, tmp_path, script, 1200)
    assert len(found["all"]) == len(FIGURES)
    assert found["kind"] == ["figure-survival-arc_easy", "figure-survival-sciq"]
    assert found["both"] == ["figure-survival-sciq"]
    # Figures of all benchmarks stay when one benchmark is chosen.
    assert set(found["benchmark"]) == set(found["all"]) - {"figure-survival-arc_easy"}
    assert found["families"] == ["Ladder (all)"] and found["tables"] == 1


def test_published_accuracies_can_be_sorted(chromium: str, report: Path, tmp_path: Path) -> None:
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
    found = _in_frame(chromium, report, tmp_path, script, 1200)
    assert found["before"][0] == "✗ differs" and found["before"][-1] == "– not comparable"
    z = [float(text.replace("−", "-")) for text in found["z"] if text != "–"]
    assert z == sorted(z, reverse=True) and found["z"][-2:] == ["–", "–"] and found["sort"] == "descending"
    assert [float(text.replace("−", "-")) for text in found["rising"][:-2]] == z[::-1]
    assert found["rising"][-2:] == ["–", "–"], "what cannot be compared stays last"
    assert found["checkpoints"] == sorted(found["checkpoints"]) and len(set(found["checkpoints"])) == 3
    assert found["states"][0] == "✗ differs"


def test_nothing_overflows_on_a_phone(chromium: str, report: Path, tmp_path: Path) -> None:
    script = """
      const width = () => page.documentElement.scrollWidth;
      const closed = width();
      for (const details of page.querySelectorAll("details")) details.open = true;
      const open = width();
      const button = page.querySelector(".picture button"), picture = button.querySelector("img");
      const fitted = picture.getBoundingClientRect().width;
      button.click();
      const full = picture.getBoundingClientRect().width;
      return {inner: view.innerWidth, closed, open, fitted, full, zoomed: width()};
    """
    found = _in_frame(chromium, report, tmp_path, script, PHONE)
    assert found["inner"] == PHONE
    assert found["closed"] <= PHONE and found["open"] <= PHONE and found["zoomed"] <= PHONE
    assert 300 < found["fitted"] < PHONE < 1000 < found["full"], (
        "a touch shows a figure in full size, scrolled in its frame"
    )


def test_a_link_to_a_hidden_figure_shows_it(chromium: str, report: Path, tmp_path: Path) -> None:
    script = """
      page.querySelector('a[href="#figure-loss"]').click();
      view.dispatchEvent(new view.HashChangeEvent("hashchange"));
      return {shown: page.getElementById("figure-loss").offsetHeight > 0, hash: view.location.hash};
    """
    found = _in_frame(chromium, report, tmp_path, script, 1200, "#kind=survival")
    assert found == {"shown": True, "hash": "#figure-loss"}


def test_subjects_are_there_to_be_chosen(chromium: str, report: Path, tmp_path: Path) -> None:
    script = (
        COLUMN
        + """
      const select = table.querySelector("select[data-filter=subject]");
      const found = {before: [...new Set(column("subject"))], options: [...select.options].map(o => o.textContent)};
      choose(select, "subject_1");
      found.after = [...new Set(column("subject"))];
      found.benchmarks = [...new Set(column("benchmark"))];
      found.rows = column("metric").length;
      found.hash = view.location.hash;
      return found;
    """
    )
    found = _in_frame(chromium, report, tmp_path, script, 1200)
    assert found["before"] == ["whole benchmark"]
    assert found["options"] == ["all", "whole benchmark", "subject_0", "subject_1", "subject_2"]
    assert found["after"] == ["subject_1"] and found["benchmarks"] == ["MMLU"] and found["rows"] == 3 * 5
    assert "subject=subject_1" in found["hash"]


def test_full_tables_are_filled_when_they_are_opened(chromium: str, report: Path, tmp_path: Path) -> None:
    script = """
      const found = {};
      for (const details of page.querySelectorAll("details.full")) {
        const node = details.querySelector(".data-table");
        const before = node.querySelectorAll("tr").length;
        details.open = true;
        details.dispatchEvent(new view.Event("toggle"));
        const count = name => node.querySelectorAll(name).length;
        found[node.dataset.table] = [before, count("tbody tr"), count("select")];
      }
      return found;
    """
    found = _in_frame(chromium, report, tmp_path, script, 1200)
    assert set(found) == {"predictability", "attribution", "mechanism", "aggregates", "checkpoint_intervals"}
    assert all(before == 0 and after > 30 and selects >= 3 for before, after, selects in found.values())


ITEMS = """
  const cards = () => [...page.querySelectorAll("#item-cards .item")];
  const select = page.querySelector("#items-filter select");
  const choose = (select, value) => { select.value = value; select.dispatchEvent(new view.Event("change")); };
"""


def test_items_are_drawn_and_follow_the_benchmark(chromium: str, report: Path, tmp_path: Path) -> None:
    script = (
        ITEMS
        + """
      const found = {first: cards().map(card => card.querySelector(".meta").textContent)};
      choose(page.querySelector("nav select[data-filter=benchmark]"), "MMLU");
      found.followed = select.value;
      found.subjects = cards().every(card => card.querySelector(".meta").textContent.includes("subject: subject "));
      found.groups = cards().map(card => card.querySelector(".meta").textContent.split(" · ")[1]);
      found.drops = cards().map(card => card.querySelector("h4").textContent.split(":")[0].replace("−", "-"));
      const card = cards()[0];
      found.right = card.querySelectorAll("li.right").length;
      found.blue = card.querySelector("li.right path").getAttribute("fill");
      found.colours = new Set([...card.querySelectorAll("li path")].map(p => p.getAttribute("fill"))).size;
      // Four choices and p_choices: markers and lines of five models.
      found.paths = card.querySelectorAll(".chart path").length;
      found.marks = (card.querySelectorAll(".chart path[fill-opacity]")[4].getAttribute("d").match(/M/g) || []).length;
      const chart = card.querySelector(".chart");
      const press = key => chart.dispatchEvent(new view.KeyboardEvent("keydown", {key}));
      press("ArrowRight"); press("ArrowRight"); press("ArrowLeft");
      found.readout = card.querySelector(".readout").textContent;
      found.focusable = chart.getAttribute("tabindex");
      return found;
    """
    )
    found = _in_frame(chromium, report, tmp_path, script, 1200)
    assert len(found["first"]) == 10 and all(text.startswith("arc_easy/") for text in found["first"])
    assert found["followed"] == "MMLU" and found["subjects"]
    groups = ["one of the largest drops"] * 6 + ["one of the smallest drops"] * 2 + ["nearest to no drop"] * 2
    assert found["groups"] == groups
    drops = [float(text.removeprefix("Drop ")) for text in found["drops"]]
    assert drops[:6] == sorted(drops[:6], reverse=True) and drops[0] > 0.5 > drops[6] and drops[6] <= drops[7]
    assert found["right"] == 1 and found["blue"] == "#3b4cc0" and found["colours"] == 4
    assert found["paths"] == 5 + 5 * 5 and found["marks"] == 35
    assert re.fullmatch(
        r"ladder-0 tokens-32768, \d\.\d × 10¹⁰ FLOPs: A −[\d.]+, B −[\d.]+, C −[\d.]+, D −[\d.]+; p_choices 0\.\d{3}",
        found["readout"],
    ), found["readout"]
    assert found["focusable"] == "0"


def test_texts_of_items_are_texts_and_long_ones_open(chromium: str, report: Path, tmp_path: Path) -> None:
    script = (
        ITEMS
        + """
      choose(select, "SciQ");
      const question = cards()[0].querySelector(".question");
      const more = question.querySelector(".more");
      const found = {closed: question.textContent, tall: question.offsetHeight};
      more.click();
      found.open = question.firstChild.data;
      found.markup = page.querySelectorAll("#items img, #items script").length;
      found.title = page.title;
      found.width = page.documentElement.scrollWidth;
      return found;
    """
    )
    found = _in_frame(chromium, report, tmp_path, script, PHONE)
    assert "THE END" in found["closed"] and "<script>" not in found["closed"] and found["tall"] < 1500
    assert found["open"] == EVIL
    assert found["markup"] == 0 and found["title"] == "Which benchmark scores follow pretraining compute"
    assert found["width"] <= PHONE


def test_contents_stay_reachable_and_name_every_section(chromium: str, report: Path, tmp_path: Path) -> None:
    script = """
      const nav = page.querySelector("nav"), links = [...nav.querySelectorAll(".links a")];
      view.scrollTo(0, page.documentElement.scrollHeight / 2);
      const box = nav.getBoundingClientRect();
      return {
        top: box.top, height: box.height,
        missing: links.filter(a => !page.getElementById(a.hash.slice(1))).length,
        sections: [...page.querySelectorAll("main > section")].map(s => s.id),
        links: links.map(a => a.hash.slice(1)),
      };
    """
    for width in (PHONE, 1280):
        found = _in_frame(chromium, report, tmp_path, script, width)
        assert found["top"] == 0 and found["height"] < 130 and found["missing"] == 0
        assert found["links"] == found["sections"]


def test_text_has_contrast(chromium: str, report: Path, tmp_path: Path) -> None:
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
        return layers.reverse().reduce(over, [255, 255, 255]);
      };
      const light = rgb => rgb.map(c => c / 255).map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
      const worst = {};
      for (const details of page.querySelectorAll("details")) {
        details.open = true;
        details.dispatchEvent(new view.Event("toggle"));
      }
      for (const node of page.querySelectorAll("body *")) {
        if (!node.offsetHeight || ![...node.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
        const [a, b] = [light(parse(view.getComputedStyle(node).color).slice(0, 3)), light(background(node))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) worst[node.tagName + "." + node.className + ": " + node.textContent.slice(0, 30)] = ratio;
      }
      return worst;
    """
    assert _in_frame(chromium, report, tmp_path, script, 1280) == {}
