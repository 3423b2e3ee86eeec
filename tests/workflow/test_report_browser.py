"""The report in a browser: headless Chromium opens the file without a network, and what a reader does works."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from elusive.report.report import write_report
from synthetic_run import draw_figure, make_run, planted_disagreements, report_inputs

BENCHMARKS = ("arc_easy", "sciq")
FIGURES = ("survival/arc_easy", "survival/sciq", "statistics/spearman", "masses/sciq", "loss")
PHONE = 390


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
    write_report(**report_inputs(run, run.root / "figures") | {"reference": reference}, output=output)
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
    # Three families, two benchmarks, ten metrics, for one method and one policy.
    assert body.count("<tr") == 1 + 3 * 2 * 10
    assert "60 of 360 rows" in document


COLUMN = """
  const column = name => {
    const names = [...page.querySelectorAll("#statistics-table thead th")].map(cell => cell.textContent);
    const at = names.indexOf(name);
    return [...page.querySelectorAll("#statistics-table tbody tr")].map(row => row.cells[at].firstChild.textContent);
  };
  const numbers = name => column(name).map(text => text === "–" ? null : Number(text.replace("−", "-")));
  const click = name => [...page.querySelectorAll(".table-sort")].find(b => b.textContent === name).click();
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
    assert len(found["down"]) == 60 and None not in found["down"]
    assert found["down"] == sorted(found["down"], reverse=True) and found["down"][0] > found["down"][-1]
    assert found["up"] == found["down"][::-1]
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
    assert found["mean"] == sorted(found["mean"]) and len(found["mean"]) == 30


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
