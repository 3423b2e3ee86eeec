"""How often a score is recommended when compute has nothing to do with the scores, on real score tables.

    python tests/benchmarks/shuffled_recommendations.py results/metrics/ladder/*.parquet [--checkpoints 4 6 12 30]

Takes so many checkpoints of each metrics table, spread evenly over compute, gives them each other's compute in a random
order, and makes the recommendations of ``predictability`` anew. Prints for each number of checkpoints in what share of
the shuffles any score of any kind is recommended under any method, under Spearman alone, and follows compute at all.
Shuffles that leave every checkpoint at its own compute count like any other.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from elusive.analysis.correlations import trained_scores
from elusive.analysis.headline import family_headline
from elusive.analysis.predictability import rank_scores
from elusive.analysis.resampling import resample
from elusive.analysis.shuffles import Shuffles


def recommended(flops: np.ndarray, scores: dict[str, np.ndarray], shuffles: Shuffles) -> tuple[bool, bool, bool]:
    """Whether anything is recommended under any method, under Spearman, and whether anything follows compute.

    ``scores`` [models, items] by metric, of checkpoints of one model at ``flops`` [models].
    """
    family = resample(flops, ["model"] * len(flops), scores, shuffles)
    rows = rank_scores(family, family_headline(family, None), None)
    chosen = [row for row in rows if row["recommended"]]
    return bool(chosen), any(row["method"] == "spearman" for row in chosen), any(row["follows"] for row in rows)


def spread(count: int, models: int) -> np.ndarray:
    """``count`` of ``models`` rows in order of compute, the first and the last among them."""
    return np.unique(np.rint(np.linspace(0, models - 1, count)).astype(int))


def shares(paths: Sequence[Path], count: int, repeats: int, seed: int = 0) -> dict[str, np.ndarray]:
    """By benchmark: what share of ``repeats`` shuffles of ``count`` checkpoints gives each of :func:`recommended`."""
    result = {}
    for (_, benchmark), checkpoints, _, scores in trained_scores(paths):
        flops = checkpoints["flops"].to_numpy()
        rows = np.argsort(flops, kind="stable")[spread(count, len(flops))]
        generator = np.random.default_rng([seed, count])
        own = {name: values[rows] for name, values in scores.items()}
        found, shuffles = [], Shuffles.of(np.log10(flops[rows]))
        for _ in range(repeats):
            # The scores move instead of compute, so that all shuffles have the orders of one x.
            order = generator.permutation(len(rows))
            found.append(recommended(flops[rows], {name: values[order] for name, values in own.items()}, shuffles))
        result[benchmark] = np.mean(found, axis=0)
    return result


def main(arguments: list[str] | None = None) -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("metrics", type=Path, nargs="+", help="metrics tables")
    parser.add_argument("--checkpoints", type=int, nargs="+", default=[4, 6, 12, 30], help="how many to take")
    parser.add_argument("--repeats", type=int, default=200, help="shuffles of each table")
    args = parser.parse_args(arguments)
    for count in args.checkpoints:
        found = shares(args.metrics, count, args.repeats)
        chosen, spearman, follows = 100 * np.mean(list(found.values()), axis=0)
        print(f"{count} checkpoints: {chosen:.1f} % (Spearman {spearman:.1f} %, follows {follows:.1f} %)")
        for benchmark, row in found.items():
            print(f"    {benchmark:20} {100 * row[0]:5.1f} {100 * row[1]:5.1f} {100 * row[2]:5.1f}", flush=True)


if __name__ == "__main__":
    main()
