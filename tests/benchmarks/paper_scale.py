"""Time and memory of the analysis at the paper's scale, against a scipy call per item as in the authors' code.

    python tests/benchmarks/paper_scale.py [--scale 1.0] [--sample 200] [--folder DIRECTORY]

Makes synthetic log-likelihoods of 112 checkpoints on 13 benchmarks (50,000 items at ``--scale 1``) and runs metrics,
correlations, statistics and the tables beside them of 30 families: the library's functions, on files, one stage after
the other in this process. Prints wall and CPU seconds of each stage and the largest memory. Then it computes the
correlations of a sample of the items by one call of scipy.stats for each item, metric and method, and prints the ratio
of the CPU times in memory, the ratio to the whole stage with its files, and the largest difference.

Log-likelihoods are ``level + slope * log10(FLOPs) + noise``, the slope mostly shared by an item's choices. At full
scale the files take about 10 GB below ``--folder`` (a temporary directory by default), removed at the end.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("POLARS_MAX_THREADS", "2")
sys.path.insert(0, str(Path(__file__).parents[2] / "workflow"))

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import stats

from elusive.analysis.aggregates import write_aggregates
from elusive.analysis.attribution import write_attribution
from elusive.analysis.authors import write_authors_variants
from elusive.analysis.choices import write_choices
from elusive.analysis.correlations import (
    LOSSES,
    METHODS,
    checkpoint_blocks,
    metric_correlations,
    with_logarithms,
    write_correlations,
)
from elusive.analysis.mechanism import Inputs, write_mechanism
from elusive.analysis.metrics import present, write_metrics
from elusive.analysis.null import write_null_bands
from elusive.analysis.over_checkpoints import TABLES, write_over_checkpoints
from elusive.analysis.statistics import write_statistics
from elusive.tables import read_table, write_table

#: Benchmark -> items, choices and subjects; the numbers of items are the published ones.
BENCHMARKS = {
    "arc_easy": (2376, 4, 0),
    "arc_challenge": (1172, 4, 0),
    "hellaswag": (10042, 4, 0),
    "mathqa": (2985, 5, 0),
    "mc_taco": (9442, 2, 0),
    "mmlu": (14042, 4, 57),
    "openbookqa": (500, 4, 0),
    "piqa": (1838, 2, 0),
    "race": (1045, 4, 0),
    "sciq": (1000, 4, 0),
    "social_iqa": (1954, 3, 0),
    "winogrande": (1267, 2, 0),
    "xwinograd_en": (2325, 2, 0),
}
#: Model -> parameters; a run of several has one checkpoint for every number of tokens in its RUNS entry.
PYTHIA = [14e6, 70e6, 160e6, 410e6, 1.0e9, 1.4e9, 2.8e9, 6.9e9, 12e9]
PYTHIA_TOKENS = [2.1e6, 6.7e7, 2.1e9, 6.3e9, 2.1e10, 6.3e10, 2.1e11, 3.0e11]
CEREBRAS = [1.1e8, 2.6e8, 5.9e8, 1.3e9, 2.7e9, 6.7e9, 13e9]
AMBER_CHUNKS = [0, 1, 2, 3, 5, 9, 14, 25, 42, 72, 123, 211, 358]
INCITE_TOKENS = [2.4e11, 2.8e11, 4.0e11, 5.0e11, 7.0e11, 1.0e12]
OLMO_TOKENS = [4e9, 4.4e10, 1.33e11, 4.42e11, 8.85e11, 1.548e12, 2.429e12]
#: The families of the paper's figures; a sample of these is computed both ways.
PLOTTED = ("cerebras", "incite", "amber", "olmo-7b", "data-pythia-12000m", f"size-{PYTHIA_TOKENS[-1]:.0f}")

SCIPY = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}


def checkpoints() -> list[dict[str, object]]:
    """The 112 checkpoints as the registry would describe them."""
    runs = {f"pythia-{n / 1e6:.0f}m": (n, PYTHIA_TOKENS) for n in PYTHIA}
    runs |= {f"cerebras-{n / 1e6:.0f}m": (n, [20 * n]) for n in CEREBRAS}
    runs["amber"] = (6.7e9, [(k + 1) * 3.4976e9 for k in AMBER_CHUNKS])
    runs["incite"] = (6.9e9, INCITE_TOKENS)
    runs |= {"olmo-1b": (1.2e9, [0.9 * t for t in OLMO_TOKENS]), "olmo-7b": (6.9e9, OLMO_TOKENS)}
    return [
        {
            "model": model,
            "checkpoint": f"tokens{tokens:.3g}",
            "parameters": int(parameters),
            "tokens": int(tokens),
            "flops": 6.0 * int(parameters) * int(tokens),
        }
        for model, (parameters, all_tokens) in runs.items()
        for tokens in all_tokens
    ]


def families() -> dict[str, list[dict[str, object]]]:
    """The six plotted families, every data and parameter scaling slice of Pythia, and wider ones: 30 in all."""
    every = checkpoints()

    def members(*prefixes: str) -> list[dict[str, object]]:
        return [c for c in every if str(c["model"]).startswith(prefixes)]

    pythia = members("pythia")
    result = {name: members(name) for name in ("cerebras", "incite", "amber", "olmo-7b", "olmo-1b", "olmo")}
    result |= {
        f"data-{model}": [c for c in pythia if c["model"] == model] for model in {str(c["model"]): 0 for c in pythia}
    }
    result |= {f"size-{t:.0f}": [c for c in pythia if c["tokens"] == int(t)] for t in PYTHIA_TOKENS}
    final = {str(c["model"]): c for c in every}
    result |= {
        "all": every,
        "pythia": pythia,
        "pythia-small": [c for c in pythia if c["parameters"] < 1e9],
        "pythia-large": [c for c in pythia if c["parameters"] >= 1e9],
        "pythia-late": [c for c in pythia if c["tokens"] > 1e9],
        "seven-billion": [c for c in every if 6e9 < c["parameters"] < 7e9],
        "final": list(final.values()),
    }
    assert len(every) == 112 and len(result) == 30
    return result


@dataclass
class Stages:
    """Wall and CPU seconds by stage."""

    seconds: dict[str, tuple[float, float]] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        before = self.seconds.get(stage, (0.0, 0.0))
        spent = time.perf_counter() - wall, time.process_time() - cpu
        self.seconds[stage] = (before[0] + spent[0], before[1] + spent[1])


def peak_gigabytes() -> float:
    """The largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def write_scores(folder: Path, benchmark: str, scale: float) -> tuple[Path, list[Path]]:
    """The items table and every checkpoint's log-likelihoods of one benchmark."""
    full, choices, subjects = BENCHMARKS[benchmark]
    count = max(8, round(full * scale))
    generator = np.random.default_rng([len(benchmark), full])
    gold = generator.integers(0, choices, count)
    names = np.array([f"{benchmark}/{i:05d}" for i in range(count)])
    items = pa.table(
        {
            "item": names,
            "subject": pa.array(
                [f"subject {i * subjects // count}" if subjects else None for i in range(count)], pa.string()
            ),
            "contexts": [["Question?"]] * count,
            "continuations": [[f" choice {k}" for k in range(choices)]] * count,
            "gold": gold,
            "num_choices": [choices] * count,
        }
    )
    path = folder / f"items/{benchmark}.parquet"
    write_table(items, path, "items", {"benchmark": benchmark})
    level = generator.normal(-40, 8, (count, 1)) + generator.normal(0, 3, (count, choices))
    slope = generator.normal(4, 2, (count, 1)) + generator.normal(0, 0.6, (count, choices))
    slope += 0.3 * (np.arange(choices) == gold[:, None])
    repeated, choice = np.repeat(names, choices), np.tile(np.arange(choices), count)
    chars = generator.integers(5, 80, count * choices)
    paths = []
    for member in checkpoints():
        noise = generator.normal(0, 0.8, (count, choices))
        scores = np.minimum(level + slope * (np.log10(float(str(member["flops"]))) - 20) + noise, -0.01)
        table = pa.table(
            {
                "item": repeated,
                "choice": choice,
                "is_gold": choice == np.repeat(gold, choices),
                "log_likelihood": scores.ravel(),
                "num_tokens": chars // 4 + 1,
                "num_bytes": chars,
                "num_chars": chars,
                "is_greedy": scores.ravel() > -2,
            }
        )
        paths.append(folder / f"logprobs/{member['model']}/{member['checkpoint']}/{benchmark}.parquet")
        write_table(table, paths[-1], "logprobs", member)
    return path, paths


def item_by_item(x: np.ndarray, scores: dict[str, np.ndarray]) -> dict[tuple[str, str], np.ndarray]:
    """What :func:`metric_correlations` computes, by a scipy call for every item."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            (metric, method): np.array([function(x, column).statistic for column in columns])
            for metric, values in scores.items()
            for columns in [np.ascontiguousarray((-values if metric in LOSSES else values).T)]
            for method, function in SCIPY.items()
        }


def shortest(function: Callable[[], object], runs: int = 3) -> float:
    """CPU seconds of the fastest of some runs."""
    seconds = []
    for _ in range(runs):
        start = time.process_time()
        function()
        seconds.append(time.process_time() - start)
    return min(seconds)


def well_conditioned(scores: np.ndarray) -> np.ndarray:
    """Which columns of ``scores`` [models, items] are constant or vary by more than 1e-4 of their size.

    Of others the rounding of scipy's mean shows in its Pearson correlation, and of stored probabilities near 1 the
    rounding of the probability, where :func:`metric_correlations` has the logarithm.
    """
    spread = np.ptp(scores, axis=0)
    return (spread == 0) | (spread > 1e-4 * np.abs(scores).max(axis=0))


def compare(tables: list[Path], sample: int, stage: float, columns: int) -> dict[str, float]:
    """CPU seconds of both ways on ``sample`` items of each metrics table, and the largest differences.

    ``stage`` is what the whole stage took and ``columns`` how many item × family columns it correlated.
    """
    ours = theirs = largest = largest_rounded = 0.0
    sampled = 0
    for path in tables:
        table = read_table(path, "metrics")
        members, items = checkpoint_blocks(table, path)
        chosen = np.sort(np.random.default_rng(0).permutation(len(items))[:sample])
        flops = members["flops"].to_numpy()
        scores = {
            metric: np.ascontiguousarray(table[metric].to_numpy().reshape(len(members), -1)[:, chosen])
            for metric in present(table.column_names)
        }
        ranked_by = {
            name: np.ascontiguousarray(table[name].to_numpy().reshape(len(members), -1)[:, chosen])
            for name in with_logarithms(scores, table.column_names)
        }
        ours += shortest(lambda: metric_correlations(flops, ranked_by))  # noqa: B023
        start = time.process_time()
        expected = item_by_item(np.log10(flops), scores)
        theirs += time.process_time() - start
        found = metric_correlations(flops, ranked_by)
        assert list(found) == list(expected)
        for key, values in expected.items():
            assert np.array_equal(np.isnan(found[key]), np.isnan(values)), f"undefined for other items: {key}"
            difference = np.nan_to_num(np.abs(found[key] - values))
            fine = well_conditioned(scores[key[0]])
            largest = max(largest, float(difference[fine].max(initial=0.0)))
            largest_rounded = max(largest_rounded, float(difference[~fine].max(initial=0.0)))
        sampled += len(chosen)
    return {
        "ours": ours,
        "theirs": theirs,
        "ratio": theirs / ours,
        "stage_ratio": theirs * columns / sampled / stage,
        "largest_difference": largest,
        "largest_rounded": largest_rounded,
    }


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Run the stages, print what they take, and return the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the items of every benchmark")
    parser.add_argument("--sample", type=int, default=200, help="items of each table that scipy is called for")
    parser.add_argument("--benchmarks", nargs="+", default=list(BENCHMARKS), choices=list(BENCHMARKS))
    parser.add_argument("--folder", type=Path, help="where to put the files")
    args = parser.parse_args(arguments)
    root = Path(tempfile.mkdtemp(prefix="paper-scale-", dir=args.folder))
    stages = Stages()
    named = families()
    try:
        tables: dict[str, list[Path]] = {"metrics": [], "correlations": [], "choices": [], "items": []}
        columns = 0
        for benchmark in args.benchmarks:
            with stages.timed("synthetic scores"):
                items, logprobs = write_scores(root, benchmark, args.scale)
            outputs = {
                kind: {family: root / f"{kind}/{family}/{benchmark}.parquet" for family in named}
                for kind in ("metrics", "correlations", "choices")
            }
            scored = {"logprobs": logprobs, "items": items, "families": named, "benchmark": benchmark}
            with stages.timed("metrics"):
                write_metrics(**scored, outputs=outputs["metrics"])
            with stages.timed("choices"):
                write_choices(**scored, outputs=outputs["choices"])
            shutil.rmtree(root / "logprobs")
            with stages.timed("correlations"):
                write_correlations(metrics=outputs["metrics"], benchmark=benchmark, outputs=outputs["correlations"])
            tables["items"].append(items)
            for kind, paths in outputs.items():
                tables[kind].extend(paths.values())
            columns += len(named) * max(8, round(BENCHMARKS[benchmark][0] * args.scale))
            print(f"{benchmark}: done, largest memory so far {peak_gigabytes():.2f} GB", flush=True)
        with stages.timed("statistics"):
            write_statistics(
                correlations=tables["correlations"],
                items=tables["items"],
                output_parquet=root / "statistics.parquet",
                output_csv=root / "statistics.csv",
            )
        both = {"output_parquet": root / "table.parquet", "output_csv": root / "table.csv"}
        with stages.timed("checkpoint intervals"):
            outputs = {name: (root / f"{name}.parquet", root / f"{name}.csv") for name in TABLES}
            write_over_checkpoints(metrics=tables["metrics"], items=tables["items"], outputs=outputs)
        with stages.timed("authors' variants"):
            write_authors_variants(metrics=tables["metrics"], **both)
        with stages.timed("null bands"):
            curves = {"curves_parquet": root / "curves.parquet", "curves_csv": root / "curves.csv"}
            write_null_bands(families=named, items=tables["items"], **both, **curves)
        with stages.timed("attribution"):
            write_attribution(correlations=tables["correlations"], items=tables["items"], **both)
        with stages.timed("mechanism"):
            kinds = (tables[kind] for kind in ("choices", "correlations", "metrics"))
            write_mechanism(
                inputs=[Inputs(*paths) for paths in zip(*kinds, strict=True)],
                items=tables["items"],
                mechanism_parquet=root / "mechanism.parquet",
                mechanism_csv=root / "mechanism.csv",
                drops_parquet=root / "drops.parquet",
                drops_csv=root / "drops.csv",
            )
        with stages.timed("aggregates"):
            write_aggregates(
                metrics=tables["metrics"],
                items=tables["items"],
                families=named,
                means_parquet=root / "means.parquet",
                means_csv=root / "means.csv",
                aggregates_parquet=root / "aggregates.parquet",
                aggregates_csv=root / "aggregates.csv",
            )
        peak = peak_gigabytes()
        size = sum(path.stat().st_size for path in root.rglob("*.parquet")) / 2**30
        metrics = len(present(pq.read_schema(tables["metrics"][0]).names))
        print(
            f"{columns // len(named)} items × 112 checkpoints, 30 families, {metrics} metrics × {len(METHODS)} methods"
        )
        for stage, (wall, cpu) in stages.seconds.items():
            print(f"{stage:20} {wall:8.1f} s wall {cpu:8.1f} s CPU")
        print(f"largest memory       {peak:8.2f} GB, tables {size:.2f} GB")
        sampled = [b for b in ("arc_challenge", "piqa") if b in args.benchmarks] or args.benchmarks[:1]
        chosen = [root / f"metrics/{family}/{benchmark}.parquet" for family in PLOTTED for benchmark in sampled]
        result = compare(chosen, args.sample, stages.seconds["correlations"][1], columns)
        print(
            f"sample of {args.sample} items of {len(chosen)} tables, {' + '.join(METHODS)}, CPU: scipy per item "
            f"{result['theirs']:.2f} s, here {result['ours']:.4f} s: {result['ratio']:.0f} times; "
            f"all items by scipy against the whole stage with its files: {result['stage_ratio']:.0f} times"
        )
        print(
            f"max |Δ| {result['largest_difference']:.1e}; of columns that vary by less than 1e-4 of their size, where "
            f"scipy's rounding shows, {result['largest_rounded']:.1e}"
        )
        return result | {"peak_gigabytes": peak, "items": columns / len(named)}
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
