"""How large the report is at the paper's scale, and how long a browser takes over it.

    python tests/benchmarks/report.py [--families 24] [--plotted 6] [--benchmarks 69] [--figures 12]

The tables of a small synthetic run are repeated under other names until there are as many families and benchmarks, so
that the numbers are those of two benchmarks, and their number the paper's. Every benchmark gets a real figure for each
of its kinds. Printed are rows, sizes by what they are of, seconds to write the page, and from headless Chromium the
milliseconds until it is loaded and until its table has been filtered, sorted and turned to the next page.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "tests")]


from elusive import tables  # noqa: E402
from elusive.report.report import Tables, write_report  # noqa: E402
from synthetic_run import SyntheticRun, draw_figure, make_run, report_inputs  # noqa: E402

_SEEDS = ("arc_easy", "sciq")


def _renamed(table: pa.Table, column: str, old: str, new: str) -> pa.Table:
    rows = table.filter(pc.equal(table[column], old))
    place = rows.column_names.index(column)
    return rows.set_column(place, rows.schema.field(place), pa.array([new] * len(rows), pa.string()))


def enlarge(
    run: SyntheticRun, folder: Path, families: int, plotted: int, benchmarks: int, figures: int
) -> dict[str, Any]:
    """Inputs of ``write_report`` for so many families and benchmarks, made of those of ``run``, in ``folder``."""
    inputs = report_inputs(run, run.root / "figures")
    old_families = list(run.families)
    family_names = {f"family-{i}": old_families[i % len(old_families)] for i in range(families)}
    names = {f"benchmark_{i}": _SEEDS[i % len(_SEEDS)] for i in range(benchmarks)}
    paths = {}
    for field in fields(Tables):
        table = pq.read_table(getattr(inputs["summary"], field.name)).replace_schema_metadata(None)
        if "benchmark" in table.column_names:
            table = pa.concat_tables([_renamed(table, "benchmark", old, new) for new, old in names.items()])
        if "family" in table.column_names:
            table = pa.concat_tables([_renamed(table, "family", old, new) for new, old in family_names.items()])
        paths[field.name] = folder / f"{field.name}.parquet"
        tables.write_table(table, paths[field.name], field.name)
    items, drilldowns, pngs, captions, figure_names = [], [], [], [], []
    for new, old in names.items():
        source = run.root / f"items/{old}.parquet"
        items.append(folder / f"items/{new}.parquet")
        metadata = tables.read_metadata(source) | {"benchmark": new, "label": f"Benchmark {new[10:]}"}
        tables.write_table(tables.read_table(source, "items"), items[-1], "items", metadata)
        found = json.loads(run.drilldown(old).read_text(encoding="utf-8"))
        for item in found["items"]:
            item["question"] = "What is asked of a passage of some length? " * 20
        drilldowns.append(folder / f"{new}.json")
        drilldowns[-1].write_text(json.dumps(found | {"benchmark": new, "label": f"Benchmark {new[10:]}"}))
        for kind in range(figures):
            figure_names.append(f"kind{kind}/{new}")
            pngs.append(run.root / f"figures/survival/{old}.png")
            captions.append(run.root / f"figures/survival/{old}.txt")
    return inputs | {
        "items": items,
        "summary": replace(inputs["summary"], **paths),
        "drilldowns": drilldowns,
        "figures": figure_names,
        "pngs": pngs,
        "captions": captions,
        "families": {new: f"{run.families[old]} {new}" for new, old in family_names.items()},
        "plotted": list(family_names)[:plotted],
        "members": {new: inputs["members"][old] for new, old in family_names.items()},
    }


def in_browser(page: Path, folder: Path) -> dict[str, float] | None:
    """Milliseconds of what a reader does; None without a browser."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        return None
    harness = folder / "harness.html"
    harness.write_text(
        f"""<!DOCTYPE html><meta charset="utf-8"><pre id="result"></pre>
        <iframe width="1200" height="900"></iframe><script>
        const frame = document.querySelector("iframe"), started = performance.now();
        frame.onload = () => {{
          const page = frame.contentDocument, view = frame.contentWindow;
          const found = {{loaded: performance.now() - started}};
          const time = (name, act) => {{
            const before = performance.now();
            act();
            page.documentElement.getBoundingClientRect();
            found[name] = performance.now() - before;
          }};
          const table = page.querySelector('[data-table="statistics"]');
          const choose = (select, value) => {{ select.value = value; select.dispatchEvent(new view.Event("change")); }};
          time("method", () => choose(table.querySelector("select[data-filter=method]"), ""));
          time("sort", () => [...table.querySelectorAll(".table-sort")].find(b => b.textContent === "median").click());
          time("next", () => [...table.querySelectorAll(".pager button")].at(-1).click());
          time("benchmark", () => choose(page.querySelector("nav select[data-filter=benchmark]"), "Benchmark 1"));
          document.getElementById("result").textContent = JSON.stringify(found);
        }};
        frame.src = {json.dumps(page.as_uri())};
        </script>""",
        encoding="utf-8",
    )
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    command += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=100000", "--dump-dom", harness.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    result = re.search(r'<pre id="result">(.+?)</pre>', done.stdout, re.S)
    return json.loads(html.unescape(result.group(1))) if result else {}


def main() -> None:
    """Make the page, measure it, print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", type=int, default=24)
    parser.add_argument("--plotted", type=int, default=6)
    parser.add_argument("--benchmarks", type=int, default=69)
    parser.add_argument("--figures", type=int, default=12, help="kinds of figures that every benchmark has")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = make_run(folder / "run", num_items=40, benchmarks=_SEEDS)
        for benchmark in _SEEDS:
            draw_figure(run, f"survival/{benchmark}", run.root / "figures")
        inputs = enlarge(run, folder / "large", args.families, args.plotted, args.benchmarks, args.figures)
        started = time.perf_counter()
        write_report(**inputs, output=folder / "report.html")
        seconds = time.perf_counter() - started
        page = (folder / "report.html").read_text(encoding="utf-8")
        sizes = {"page": len(page), "figures": sum(map(len, re.findall(r'src="(data:image[^"]*)"', page)))}
        for part, text in re.findall(r'<script type="application/json" id="data-(\w+)">(.*?)</script>', page, re.S):
            sizes[part] = len(text)
        sizes["HTML"] = len(page) - sum(size for part, size in sizes.items() if part != "page")
        rows = pq.read_metadata(inputs["summary"].correlation_statistics).num_rows
        print(f"{rows:,} rows of statistics, {len(inputs['figures']):,} figures, written in {seconds:.1f} s")
        print("MB:", ", ".join(f"{part} {size / 1e6:.2f}" for part, size in sizes.items()))
        found = in_browser(folder / "report.html", folder)
        print("no browser here" if found is None else "ms: " + ", ".join(f"{k} {v:.0f}" for k, v in found.items()))


if __name__ == "__main__":
    main()
