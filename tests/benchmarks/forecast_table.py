"""How forecasts did in a finished run, as the prototype's table has it (workflow/docs/forecasts.md).

    python tests/benchmarks/forecast_table.py [RESULTS] [--family ladder] [--moves sciq]

Prints mean absolute errors of accuracy in points by protocol, class of horizons and method, of the benchmark that moves
and as the mean over the others that are no text of the ladder; and the paired differences over benchmarks, with the
95 % interval of a bootstrap over them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl

METHODS = ("km", "last", "mean3", "power_error", "two_step")
BINS = ("x1.5", "x3", "x10", "x30")


def errors(results: Path, family: str, keys: tuple[str, ...]) -> pl.DataFrame:
    """Mean absolute error in points by ``keys``, benchmark and method: over targets, then origins."""
    table = pl.read_parquet(results / "tables" / "backtests.parquet")
    chosen = table.filter(
        (pl.col("family") == family) & (pl.col("metric") == "accuracy") & pl.col("subject").is_null()
    ).filter(pl.col("method").is_in(METHODS) & ~pl.col("benchmark").str.starts_with("ladder_"))
    chosen = chosen.with_columns(error=100 * (pl.col("forecast") - pl.col("observed")).abs())
    by = [*keys, "benchmark", "method"]
    return chosen.group_by([*by, "origin"]).agg(pl.col("error").mean()).group_by(by).agg(pl.col("error").mean())


def paired(found: pl.DataFrame, protocol: str, one: str, other: str) -> str:
    """Mean difference of two methods over benchmarks, and its interval."""
    wide = found.filter(pl.col("protocol") == protocol).pivot("method", index="benchmark", values="error").drop_nulls()
    wide = wide.sort("benchmark")  # whose order the draws are of
    values = (wide[one] - wide[other]).to_numpy()
    drawn = values[np.random.default_rng(0).integers(len(values), size=(10_000, len(values)))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    better = f"{(values < 0).sum()} of {len(values)}"
    return f"{protocol}: {one} − {other} {values.mean():+.2f} [{low:+.2f}, {high:+.2f}], {better}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="?", default=Path("results"))
    parser.add_argument("--family", default="ladder")
    parser.add_argument("--moves", default="sciq")
    args = parser.parse_args()
    by_bin = errors(args.results, args.family, ("protocol", "bin"))
    whole = errors(args.results, args.family, ("protocol",))
    print(f"| protocol | | {' | '.join(METHODS)} |")
    for protocol, bins in (("R", BINS), ("S", (None,)), ("T", (None,))):
        for each in bins:
            rows = (by_bin.filter(pl.col("bin") == each) if each else whole).filter(pl.col("protocol") == protocol)
            is_moving = pl.col("benchmark") == args.moves
            for name, own in (("others", rows.filter(~is_moving)), (args.moves, rows.filter(is_moving))):
                means = dict(own.group_by("method").agg(pl.col("error").mean()).iter_rows())
                cells = [f"{means[method]:.1f}" if method in means else "–" for method in METHODS]
                print(f"| {protocol} {each or ''} | {name} ({own['benchmark'].n_unique()}) | {' | '.join(cells)} |")
    for protocol, other in (("R", "last"), ("R", "power_error"), ("R", "two_step"), ("S", "last"), ("T", "last")):
        print(paired(whole, protocol, "km", other))


if __name__ == "__main__":
    main()
