"""Time of the correlations of all items at once against a scipy call per item, and the largest difference.

    python tests/benchmarks/correlations.py [--models 8] [--items 20000] [--sample 2000] [--ties]

Scores are synthetic. scipy runs on a sample of the items, its time is scaled up to all of them. One thread each.
"""

import argparse
import os
import sys
import time
import warnings
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).parents[2] / "workflow"))

import numpy as np
from scipy import stats

from elusive.analysis.correlations import METHODS, pearson, rank_correlations


def timed(function, *arguments) -> tuple[float, object]:
    """Shortest of three runs in seconds, and the result."""
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        result = function(*arguments)
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def main() -> None:
    """Print one line per method and one for all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=8)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--sample", type=int, default=2_000, help="items that scipy is timed on")
    parser.add_argument("--ties", action="store_true", help="scores of few different values")
    args = parser.parse_args()
    generator = np.random.default_rng(0)
    x = np.linspace(18, 22, args.models)
    scores = 0.5 * x[:, None] + generator.normal(size=(args.models, args.items))
    if args.ties:
        scores = np.round(scores)
    sample = np.ascontiguousarray(scores[:, : args.sample].T)
    scale = args.items / len(sample)
    functions = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}

    def item_by_item(method: str) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.array([functions[method](x, column).statistic for column in sample])

    product_moment, pearsons = timed(pearson, x, scores)
    ranks, (spearmans, kendalls) = timed(rank_correlations, x, scores)
    ours = dict(zip(METHODS, (pearsons, spearmans, kendalls), strict=True))
    print(f"{args.models} models × {args.items} items, scipy on {len(sample)} of them")
    total = 0.0
    for method in METHODS:
        start = time.perf_counter()
        expected = item_by_item(method)
        theirs = (time.perf_counter() - start) * scale
        total += theirs
        found = ours[method][: len(sample)]
        assert np.array_equal(np.isnan(found), np.isnan(expected)), "undefined for different items"
        print(f"{method:9} scipy {theirs:8.3f} s   max |Δ| {np.nanmax(np.abs(found - expected)):.1e}")
    print(f"ours: pearson {product_moment:.4f} s, spearman and kendall together {ranks:.4f} s")
    print(f"all three: {total:.2f} s / {product_moment + ranks:.4f} s = {total / (product_moment + ranks):.0f} times")


if __name__ == "__main__":
    main()
