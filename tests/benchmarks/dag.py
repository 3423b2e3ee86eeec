"""What the workflow costs Snakemake itself: parsing, building the DAG, and running every job with an empty body.

    python tests/benchmarks/dag.py [--configfile workflow/presets/paper.yaml] [--batches each] [--cores 2] [--no-run]
    python tests/benchmarks/dag.py --grid 350 10 --no-run

A grid is a study of so many models of the hub with so many checkpoints each, on nine benchmarks, in a family of all and
one of every tenth model. Prints CPU seconds, wall seconds and the largest resident set. For the run, the rules of a
copy of the repository make their outputs and nothing else: what is measured is scheduling, not scoring.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "workflow"))
sys.path.insert(0, str(ROOT / "workflow"))

from runs import copy_repository  # noqa: E402

#: A rule's command is its last directive: from its line to the next one that is indented less.
BODY = re.compile(r"^(?P<indent> +)(?:shell|script):\n(?:(?P=indent) +.*\n)+", re.MULTILINE)
#: Outputs with a suffix are files, the others directories.
EMPTY = 'for path in {output}; do case "${{path##*/}}" in *.*) : > "$path" ;; *) mkdir -p "$path" ;; esac; done'


def grid(models: int, checkpoints: int) -> dict:
    """The configuration of a grid of models of the hub."""
    steps = [f"step{1000 * number}" for number in range(1, checkpoints + 1)]
    common = {"source": "hub", "parameters": 10**7, "tokens_per_step": 10**6, "checkpoints": steps}
    names = [f"grid{number % 10}-{number}" for number in range(models)]
    benchmarks = (
        "arc_easy",
        "arc_challenge",
        "hellaswag",
        "mmlu",
        "openbookqa",
        "piqa",
        "sciq",
        "social_iqa",
        "winogrande",
    )
    return {
        "models": [{"name": name, "repo": f"somebody/{name}"} | common for name in names],
        "families": [{"name": "all", "members": ["*/*"]}]
        + [{"name": f"tenth{digit}", "members": [f"grid{digit}-*/*"]} for digit in range(10)],
        "benchmarks": [{"name": name} for name in benchmarks],
    }


def empty_bodies(repository: Path) -> int:
    """Let every rule of the workflow in ``repository`` only make its outputs; returns how many rules there are."""
    count = 0
    for path in sorted((repository / "workflow" / "rules").glob("*.smk")):
        text, changed = BODY.subn(
            lambda match: f"{match['indent']}shell:\n{match['indent']}    '{EMPTY}'\n", path.read_text()
        )
        path.write_text(text)
        count += changed
    return count


def measure(name: str, command: list[str], directory: Path) -> None:
    """Run ``command`` and print its cost, that of its jobs included, and how many jobs it says there are."""
    start = time.perf_counter()
    process = subprocess.Popen(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status:
        sys.exit(f"{name} failed:\n{output[-3000:]}")
    jobs = re.search(r"^total +(\d+)", output, re.MULTILINE)
    print(
        f"{name:<8} {usage.ru_utime + usage.ru_stime:6.1f} s CPU {wall:7.1f} s wall {usage.ru_maxrss / 1024:6.0f} MB"
        + (f"  {jobs[1]} jobs" if jobs else ""),
        flush=True,
    )


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configfile", type=Path, default=ROOT / "workflow" / "presets" / "paper.yaml")
    parser.add_argument("--grid", type=int, nargs=2, metavar=("MODELS", "CHECKPOINTS"), help="instead of --configfile")
    parser.add_argument("--batches", choices=["all", "each"], help="replaces scoring.batches of the configuration")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--scheduler", nargs="*", default=["--scheduler", "greedy", "--scheduler-subsample", "100"])
    parser.add_argument("--no-run", action="store_true", help="parse and dry run alone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        repository = copy_repository(Path(temporary) / "repository")
        directory = Path(temporary) / "run"
        directory.mkdir()
        config = grid(*options.grid) if options.grid else yaml.safe_load(options.configfile.read_text())
        if options.batches:
            config["scoring"] = config.get("scoring", {}) | {"batches": options.batches}
        (directory / "config.yaml").write_text(yaml.safe_dump(config))
        snakemake = [sys.executable, "-m", "snakemake", "--snakefile", str(repository / "Snakefile")]
        snakemake += ["--configfile", "config.yaml"]
        measure("parse", [*snakemake, "--list-rules"], directory)
        measure("dry run", [*snakemake, "-n", "-q", "rules"], directory)
        if options.no_run:
            return
        print(f"{empty_bodies(repository)} rules with empty bodies")
        arguments = ["--cores", str(options.cores), "--resources", "gpu=1", "-q", "rules", "progress"]
        measure("run", [*snakemake, *arguments, *options.scheduler], directory)
        measure("again", [*snakemake, "-n", "-q", "rules"], directory)


if __name__ == "__main__":
    main()
