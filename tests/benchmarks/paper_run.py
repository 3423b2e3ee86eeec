"""What the real workflow takes at the paper's scale once everything is scored: time and memory by stage.

    python tests/benchmarks/paper_run.py [--scale 1.0] [--cores 2] [--figures all] [--folder DIRECTORY] [--keep]

The models and families of ``workflow/presets/paper.yaml`` (112 checkpoints, 24 families, six of them in figures) and 69
tasks of the published sizes, the subjects of MMLU each a task of its own. Items are the workflow's own, made of random
words; log-likelihoods are drawn: those of an item's choices rise with compute nearly alike, as in
``tests/synthetic_run.py``. Then `snakemake --cores 2` makes everything after scoring, and what it recorded of its jobs
is printed: seconds by the clock and of CPU summed over a stage's jobs, and the largest memory of one of them. The run
is real, process starts included; the scores are not. At full scale the files take about 15 GB.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "workflow"))

from elusive.configuration import registry  # noqa: E402
from elusive.tables import read_table, write_table  # noqa: E402

PRESET = ROOT / "workflow" / "presets" / "paper.yaml"
#: Benchmark -> items and choices. The subjects of MMLU come from the registry's list of sizes.
BENCHMARKS = {
    "arc_easy": (2376, 4),
    "arc_challenge": (1172, 4),
    "hellaswag": (10042, 4),
    "mathqa": (2985, 5),
    "mc_taco": (9442, 2),
    "openbookqa": (500, 4),
    "piqa": (1838, 2),
    "race": (1045, 4),
    "sciq": (1000, 4),
    "social_iqa": (1954, 3),
    "winogrande": (1267, 2),
    "xwinograd_en": (2325, 2),
}
#: Where a job's record lies below results/benchmarks -> the stage that it is counted with, if not that folder's name.
STAGES = {"figures": "figures", "drilldown": "items of the report"}


def tasks(scale: float) -> dict[str, tuple[int, int]]:
    """Task -> items and choices, ``scale`` of the published number of items and eight at least."""
    with open(ROOT / "workflow" / "registry" / "sizes.csv", newline="") as file:
        subjects = {
            row["benchmark"]: (int(row["items"]), 4)
            for row in csv.DictReader(file)
            if row["benchmark"].startswith("mmlu_") and row["num_fewshot"] == "0"
        }
    every = BENCHMARKS | subjects
    assert len(every) == 69, len(every)
    return {name: (max(8, round(items * scale)), choices) for name, (items, choices) in every.items()}


def write_questions(path: Path, items: int, choices: int, generator: np.random.Generator) -> None:
    """Rows of a benchmark of random words, about 200 characters a question."""
    words = np.array([f"w{number:04d}" for number in range(5000)])
    with path.open("w") as file:
        for number in range(items):
            row = {
                "question": f"{number} " + " ".join(generator.choice(words, 30)),
                "options": [" ".join([str(k), *generator.choice(words, 4)]) for k in range(choices)],
                "answer": int(generator.integers(choices)),
            }
            file.write(json.dumps(row) + "\n")


def configuration(sizes: dict[str, tuple[int, int]], figures: str, folder: Path) -> dict:
    """The preset with own benchmarks in the place of those of the hub, scored on this machine's CPU."""
    own = {"context": "{{ question }}", "choices": "options", "gold": "answer"}
    benchmarks = [{"name": f"drawn_{name}", "file": str(folder / f"{name}.jsonl"), **own} for name in sizes]
    changed = {"benchmarks": benchmarks, "figures": figures, "scoring": {"device": "cpu"}}
    return yaml.safe_load(PRESET.read_text()) | changed


def write_scores(run: Path, asked: registry.Registry, name: str, generator: np.random.Generator) -> None:
    """Log-likelihoods of every checkpoint on the benchmark ``name``, whose items are there."""
    items = read_table(run / f"results/items/{name}.parquet", "items").to_pydict()
    count, choices = len(items["item"]), items["num_choices"][0]
    gold = np.array(items["gold"])[:, None] == np.arange(choices)
    level = generator.normal(-40, 8, (count, 1)) + generator.normal(0, 3, (count, choices))
    slope = generator.normal(4, 2, (count, 1)) + generator.normal(0, 0.6, (count, choices)) + 0.6 * gold
    chars = generator.integers(5, 80, count * choices)
    for model in asked.models.values():
        for checkpoint in model.checkpoints:
            about = asked.describe(checkpoint)
            noise = generator.normal(0, 0.8, (count, choices))
            scores = np.minimum(level + slope * (np.log10(max(about["flops"], 1.0)) - 20) + noise, -0.01)
            table = pa.table(
                {
                    "item": np.repeat(items["item"], choices),
                    "choice": np.tile(np.arange(choices), count),
                    "is_gold": gold.ravel(),
                    "log_likelihood": scores.ravel(),
                    "num_tokens": chars // 4 + 1,
                    "num_bytes": chars,
                    "num_chars": chars,
                    "is_greedy": scores.ravel() > -2,
                }
            )
            about |= {"source": "hub", "dtype": "float32", "device": "cpu", "path": "plain", "add_bos_token": False}
            about |= {"scorer": 1, "max_length": 2048, "revision": "drawn", "protocol": "lm-eval-0.4 zero-shot"}
            path = run / f"results/logprobs/{model.name}/{checkpoint.name}/{name}.parquet"
            write_table(table, path, "logprobs", about)


def snakemake(run: Path, *arguments: str) -> float:
    """Run the real Snakefile in ``run``; returns seconds. Prints the end of what it said where it fails."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile")]
    command += ["--directory", str(run), "--configfile", "paper.yaml", *arguments]
    start = time.perf_counter()
    with (run / "printed").open("a") as printed:
        failed = subprocess.run(command, cwd=run, stdout=printed, stderr=printed, check=False).returncode
    if failed:
        sys.exit(f"snakemake failed:\n{(run / 'printed').read_text()[-4000:]}")
    return time.perf_counter() - start


def stages(run: Path) -> dict[str, tuple[int, float, float, float]]:
    """Stage -> jobs, their seconds by the clock and of CPU, and the largest memory of one in GB."""
    found: dict[str, tuple[int, float, float, float]] = {}
    folder = run / "results" / "benchmarks"
    for path in sorted(folder.rglob("*.tsv")):
        parts = path.relative_to(folder).with_suffix("").parts
        stage = STAGES.get(parts[0], parts[0])
        with path.open(newline="") as file:
            (row,) = csv.DictReader(file, delimiter="\t")
        # A job that is over before it was looked at has no numbers of CPU and memory.
        numbers = [float(row[key]) if row[key] not in ("NA", "-") else 0.0 for key in ("s", "cpu_time", "max_rss")]
        jobs, wall, cpu, memory = found.get(stage, (0, 0.0, 0.0, 0.0))
        found[stage] = (jobs + 1, wall + numbers[0], cpu + numbers[1], max(memory, numbers[2] / 1024))
    return found


def main() -> None:
    """Make the scores, run the workflow, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the items of every task")
    parser.add_argument("--tasks", type=int, help="only the first so many tasks")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--figures", choices=["main", "all"], default="all", help="the preset has all")
    parser.add_argument("--folder", type=Path, help="where to put the files")
    parser.add_argument("--keep", action="store_true", help="leave the files there")
    args = parser.parse_args()
    run = Path(tempfile.mkdtemp(prefix="paper-run-", dir=args.folder)).resolve()
    try:
        sizes = dict(list(tasks(args.scale).items())[: args.tasks])
        generator = np.random.default_rng(0)
        for name, (items, choices) in sizes.items():
            write_questions(run / f"{name}.jsonl", items, choices, generator)
        config = configuration(sizes, args.figures, run)
        (run / "paper.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        cores = ("--cores", str(args.cores))
        names = [f"drawn_{name}" for name in sizes]
        seconds = snakemake(run, *cores, *(f"results/items/{name}.parquet" for name in names))
        print(f"items: {seconds:.0f} s", flush=True)
        shutil.rmtree(run / "results" / "benchmarks")
        asked = registry.load(config, files=[str(run / "paper.yaml")])
        start = time.perf_counter()
        for name in names:
            write_scores(run, asked, name, generator)
        print(f"scores drawn: {time.perf_counter() - start:.0f} s", flush=True)
        planned = (run / "printed").stat().st_size
        dry = snakemake(run, *cores, "--dry-run", "--quiet", "rules")
        said = (run / "printed").read_text()[planned:]
        asked_for = [rule for rule in asked.scoring_jobs if re.search(rf"^{re.escape(rule)} +\d", said, re.MULTILINE)]
        assert not asked_for, f"something would be scored: {asked_for}"
        whole = snakemake(run, *cores)
        rows = stages(run)
        print(f"{'stage':<24}{'jobs':>6}{'s':>9}{'CPU s':>9}{'GB':>7}")
        for stage, (jobs, wall, cpu, memory) in sorted(rows.items(), key=lambda entry: -entry[1][2]):
            print(f"{stage:<24}{jobs:>6}{wall:>9.0f}{cpu:>9.0f}{memory:>7.2f}")
        jobs, wall, cpu = (sum(row[place] for row in rows.values()) for place in range(3))
        print(f"{'together':<24}{jobs:>6}{wall:>9.0f}{cpu:>9.0f}{max(row[3] for row in rows.values()):>7.2f}")
        items = sum(count for count, _ in sizes.values())
        print(
            f"{items} items, {len(sizes)} tasks, {len(asked.families)} families: {whole:.0f} s on {args.cores} cores "
            f"({os.cpu_count()} here), and {dry:.0f} s for a dry run before"
        )
        for page in ("report.html", "figures.html"):
            print(f"{page}: {(run / 'results' / page).stat().st_size / 1e6:.1f} MB")
    finally:
        if args.keep:
            print(f"the files are in {run}")
        else:
            shutil.rmtree(run)


if __name__ == "__main__":
    main()
