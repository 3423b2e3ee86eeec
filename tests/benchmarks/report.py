"""How large the report is at the paper's scale, and how long a browser takes over it.

    python tests/benchmarks/report.py [--families 24] [--plotted 6] [--benchmarks 69] [--figures 12] [--items 600]

The tables of a synthetic run of 112 checkpoints are repeated under other names until there are as many families and
benchmarks, so that the numbers are those of two benchmarks, and their number the paper's. Items have texts of random
words, about 500 characters a question, and no two families the same correlations, so that nothing packs better than
real items would. Printed are rows, sizes by what they are of, seconds to write the page, and from headless Chromium the
milliseconds until it is loaded, and until its table has been filtered, sorted and turned to the next page, its curves
drawn for another benchmark, and the items of one found.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "workflow"), str(ROOT / "tests")]


from browser import Browser, find  # noqa: E402
from elusive import tables  # noqa: E402
from elusive.report.drilldown import MOST_VALUES, write_drilldown  # noqa: E402
from elusive.report.report import Tables, write_report  # noqa: E402
from synthetic_run import SyntheticRun, World, draw_figure, drilldown_inputs, make_run, report_inputs  # noqa: E402

_SEEDS = ("arc_easy", "sciq")
#: 16 models × 7 steps: the paper's 112 checkpoints.
_WORLD = World(sizes=tuple(200_000 + 120_000 * i for i in range(16)))


def _renamed(table: pa.Table, column: str, old: str, new: str) -> pa.Table:
    rows = table.filter(pc.equal(table[column], old))
    place = rows.column_names.index(column)
    return rows.set_column(place, rows.schema.field(place), pa.array([new] * len(rows), pa.string()))


def _noisy(table: pa.Table, generator: np.random.Generator) -> pa.Table:
    """Every float of the table a little changed, so that equal rows under other names do not pack to nothing."""
    for place, field in enumerate(table.schema):
        if pa.types.is_floating(field.type):
            values = table[field.name].to_numpy().astype(float)
            values = values * (1 + 0.02 * generator.standard_normal(len(values)))
            column = pa.array(values, pa.float64(), from_pandas=True)
            table = table.set_column(place, field, column)
    return table


def _texts(generator: np.random.Generator, count: int, words: int) -> list[str]:
    """Texts of random words, of a vocabulary in which few words are most of the text."""
    letters = np.array(list("etaoinshrdlucmfwypvbgk"))
    vocabulary = ["".join(generator.choice(letters, generator.integers(2, 9))) for _ in range(4000)]
    ranks = np.arange(1, len(vocabulary) + 1)
    weights = 1 / ranks / (1 / ranks).sum()
    return [" ".join(generator.choice(vocabulary, words, p=weights)) for _ in range(count)]


def _drilldown(
    found: dict[str, Any], name: str, families: dict[str, str], plotted: list[str], generator: np.random.Generator
) -> dict[str, Any]:
    """A drilldown under another name, its families each with the correlations of other items."""
    count, cards = len(found["items"]), found["cards"]
    described, order = {}, {family: generator.permutation(count) for family in plotted}
    places = {family: generator.permutation(len(cards)) for family in plotted}
    for family in plotted:
        own = found["families"][families[family]]
        mixed = {key: [own[key][i] for i in order[family]] for key in ("before", "after")}
        described[family] = own | mixed
    questions = _texts(generator, len(cards), 85)
    choices = _texts(generator, sum(len(card["choices"]) for card in cards), 8)
    result = []
    for number, card in enumerate(cards):
        texts = [choices.pop() for _ in card["choices"]]
        of = {family: cards[places[family][number]]["families"][families[family]] for family in plotted}
        result.append(card | {"question": questions[number], "choices": texts, "families": of})
    items = [f"{name}-{generator.integers(10**6):06d}" for _ in range(count)]
    about = {"benchmark": name, "label": f"Benchmark {name[10:]}", "items": items}
    return found | about | {"families": described, "cards": result}


def enlarge(
    run: SyntheticRun, folder: Path, families: int, plotted: int, benchmarks: int, figures: int
) -> dict[str, Any]:
    """Inputs of ``write_report`` for so many families and benchmarks, made of those of ``run``, in ``folder``."""
    inputs = report_inputs(run, run.root / "figures")
    old_families = list(run.families)
    family_names = {f"family-{i}": old_families[i % len(old_families)] for i in range(families)}
    shown = list(family_names)[:plotted]
    names = {f"benchmark_{i}": _SEEDS[i % len(_SEEDS)] for i in range(benchmarks)}
    paths = {}
    for field in fields(Tables):
        table = pq.read_table(getattr(inputs["summary"], field.name)).replace_schema_metadata(None)
        if "benchmark" in table.column_names:
            table = pa.concat_tables([_renamed(table, "benchmark", old, new) for new, old in names.items()])
        if "family" in table.column_names:
            table = pa.concat_tables([_renamed(table, "family", old, new) for new, old in family_names.items()])
        if field.name not in ("checkpoints", "scores", "means", "reference", "null_curves"):
            table = _noisy(table, np.random.default_rng(len(table)))
        paths[field.name] = folder / f"{field.name}.parquet"
        tables.write_table(table, paths[field.name], field.name)
    seeds = {}
    for old in _SEEDS:
        seeds[old] = folder / f"{old}.json"
        write_drilldown(**drilldown_inputs(run, old), output=seeds[old], values=MOST_VALUES // benchmarks)
    items, drilldowns, pngs, captions, figure_names = [], [], [], [], []
    for number, (new, old) in enumerate(names.items()):
        source = run.root / f"items/{old}.parquet"
        items.append(folder / f"items/{new}.parquet")
        metadata = tables.read_metadata(source) | {"benchmark": new, "label": f"Benchmark {new[10:]}"}
        tables.write_table(tables.read_table(source, "items"), items[-1], "items", metadata)
        found = json.loads(seeds[old].read_text(encoding="utf-8"))
        drilldowns.append(folder / f"{new}.json")
        changed = _drilldown(found, new, family_names, shown, np.random.default_rng(number))
        drilldowns[-1].write_text(json.dumps(changed))
        for kind in range(figures):
            figure_names.append(f"kind{kind}/{new}")
            pngs.append(run.root / f"figures/survival/{old}.png")
            captions.append(run.root / f"figures/survival/{old}.txt")
    for name in ("attribution/spearman", "mechanism", "loss"):
        figure_names.append(name)
        pngs.append(run.root / f"figures/{name}.png")
        captions.append(run.root / f"figures/{name}.txt")
    return inputs | {
        "items": items,
        "summary": replace(inputs["summary"], **paths),
        "drilldowns": drilldowns,
        "figures": figure_names,
        "pngs": pngs,
        "captions": captions,
        "families": {new: f"{run.families[old]} {new}" for new, old in family_names.items()},
        "plotted": shown,
        "members": {new: inputs["members"][old] for new, old in family_names.items()},
        "gallery": folder / "figures.html",
    }


def in_browser(page: Path, folder: Path) -> dict[str, float] | None:
    """Milliseconds of what a reader does; None without a browser."""
    program = find()
    if program is None:
        return None
    browser = Browser(program, folder / "profile")
    try:
        with browser.open(page.as_uri(), 1200) as tab:
            return tab.run(
                """
                const found = {loaded: performance.getEntriesByType("navigation")[0].loadEventEnd};
                const until = async ready => { while (!ready()) await new Promise(done => setTimeout(done, 5)); };
                const time = async (name, act, ready) => {
                  const before = performance.now();
                  act();
                  if (ready) await until(ready);
                  document.documentElement.getBoundingClientRect();
                  found[name] = performance.now() - before;
                };
                const $ = name => document.querySelector(name);
                const choose = (select, value) => {
                  select.value = value;
                  select.dispatchEvent(new Event("change"));
                };
                const table = $('[data-table="statistics"]');
                await time("table", () => table.scrollIntoView(), () => $("#statistics-table tbody tr"));
                const method = [...table.querySelectorAll("label")].find(l => l.textContent.startsWith("method"));
                await time("method", () => choose(method.querySelector("select"), ""));
                const median = [...table.querySelectorAll(".table-sort")].find(b => b.textContent === "median");
                await time("sort", () => median.click());
                await time("next", () => [...table.querySelectorAll(".pager button")].at(-1).click());
                await time("items", () => $("#items").scrollIntoView(), () => $("#item-cards .item"));
                await time("benchmark", () => choose($("nav select[data-filter=benchmark]"), "benchmark_1"),
                  () => $("#scatter-caption").textContent.startsWith("Benchmark 1"));
                choose($("nav select[data-filter=benchmark]"), "");
                const search = $("#items-filter input");
                const list = $("#item-list").innerHTML;
                await time("search", () => { search.value = "benchmark_3"; search.dispatchEvent(new Event("input")); },
                  () => $("#item-list").innerHTML !== list);
                return found;
                """
            )
    finally:
        browser.close()


def main() -> None:
    """Make the page, measure it, print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", type=int, default=24)
    parser.add_argument("--plotted", type=int, default=6)
    parser.add_argument("--benchmarks", type=int, default=69)
    parser.add_argument("--figures", type=int, default=12, help="kinds of figures that every benchmark has")
    parser.add_argument("--items", type=int, default=600, help="items of a benchmark")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = make_run(folder / "run", num_items=args.items, benchmarks=_SEEDS, world=_WORLD)
        for figure in [*(f"survival/{b}" for b in _SEEDS), "attribution/spearman", "mechanism", "loss"]:
            draw_figure(run, figure, run.root / "figures")
        inputs = enlarge(run, folder / "large", args.families, args.plotted, args.benchmarks, args.figures)
        started = time.perf_counter()
        write_report(**inputs, output=folder / "report.html")
        seconds = time.perf_counter() - started
        page = (folder / "report.html").read_text(encoding="utf-8")
        sizes = {"all": len(page.encode()), "pictures": sum(map(len, re.findall(r'src="(data:image[^"]*)"', page)))}
        for part, text in re.findall(r'<script type="application/json" id="data-(\w+)">(.*?)</script>', page, re.S):
            sizes[part] = len(text)
        for part, text in re.findall(r'<script type="text/plain" id="data-(\w+)">([^<]*)</script>', page):
            sizes[part] = len(text)
        sizes["items"] = sum(map(len, re.findall(r'<script type="text/plain" id="items-\d+">([^<]*)</script>', page)))
        sizes["HTML"] = sizes["all"] - sum(size for part, size in sizes.items() if part != "all")
        rows = pq.read_metadata(inputs["summary"].correlation_statistics).num_rows
        print(f"{rows:,} rows of statistics, {len(inputs['figures']):,} figures, written in {seconds:.1f} s")
        print("MB:", ", ".join(f"{part} {size / 1e6:.2f}" for part, size in sizes.items()))
        found = in_browser(folder / "report.html", folder)
        print("no browser here" if found is None else "ms: " + ", ".join(f"{k} {v:.0f}" for k, v in found.items()))


if __name__ == "__main__":
    main()
