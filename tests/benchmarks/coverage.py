"""How often the 95 % intervals for other items hold the truth, by simulation.

    python tests/benchmarks/coverage.py [--replicates 4000] [--cases WORD ...]

Draws samples of items from populations whose mean, quartiles and shares are known, in clusters of equal and unequal
sizes, few and many, with and without skewness and ties, and prints for each case and statistic the share of intervals
that hold the truth: about 95 for an interval that is right, more where a statistic takes few values only. Where there
is an interval for fewer than all samples (there are too few items or clusters, or all values are equal) the share of
samples with one follows in brackets; "none" where no sample has any.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from elusive.analysis.distributions import distribution_statistics

STATISTICS = ("mean", "median", "fraction_above_075", "fraction_below_0", "q25", "q75", "iqr")
#: Items of the 57 subjects of MMLU's test split.
MMLU = (100, 135, 152, 265, 144, 100, 100, 100, 173, 102, 100, 235, 114, 145, 378, 126, 100, 310, 203, 100, 165, 198)
MMLU += (193, 390, 270, 238, 151, 545, 216, 204, 237, 223, 131, 121, 108, 163, 112, 103, 234, 100, 783, 346, 895, 306)
MMLU += (311, 324, 282, 1534, 272, 612, 110, 245, 201, 100, 166, 171, 100)

Draw = Callable[[np.random.Generator, int], np.ndarray]


@dataclass(frozen=True)
class Case:
    """A population: ``draw`` gives values [items, replicates]; ``sizes`` of the clusters, None for items one by one.

    ``truth`` maps statistics to their values in the population; None finds them from a very large sample of ``draw``
    (of single items) instead.
    """

    name: str
    draw: Draw
    sizes: tuple[int, ...] | None = None
    truth: Mapping[str, float] | None = None


def normal(sizes: tuple[int, ...], alike: float) -> Draw:
    """Normal items around 0.2 with deviation 0.3, of which the share ``alike`` of the variance is the cluster's."""

    def draw(generator: np.random.Generator, replicates: int) -> np.ndarray:
        codes = np.repeat(np.arange(len(sizes)), sizes)
        common = generator.normal(size=(len(sizes), replicates))[codes]
        own = generator.normal(size=(len(codes), replicates))
        return 0.2 + 0.3 * (np.sqrt(alike) * common + np.sqrt(1 - alike) * own)

    return draw


#: Of the population that :func:`normal` draws from; quartiles and P(normal > 0.75), P(normal < 0).
NORMAL = {"mean": 0.2, "median": 0.2, "fraction_above_075": 0.0333765, "fraction_below_0": 0.2524925}
NORMAL |= {"q25": -0.002347, "q75": 0.402347, "iqr": 0.404694}


def skewed(sizes: tuple[int, ...], alike: float) -> Draw:
    """As :func:`normal`, but the clusters' own part is 1 less an exponential number, of skewness -2."""

    def draw(generator: np.random.Generator, replicates: int) -> np.ndarray:
        codes = np.repeat(np.arange(len(sizes)), sizes)
        common = 1 - generator.exponential(size=(len(sizes), replicates))[codes]
        own = generator.normal(size=(len(codes), replicates))
        return 0.2 + 0.3 * (np.sqrt(alike) * common + np.sqrt(1 - alike) * own)

    return draw


def shares(sizes: tuple[int, ...], alike: float, share: float = 0.1) -> Draw:
    """Values of 0.9 in a ``share`` of the items, else 0.2: whole clusters of them (``alike`` 1) or single items (0)."""

    def draw(generator: np.random.Generator, replicates: int) -> np.ndarray:
        codes = np.repeat(np.arange(len(sizes)), sizes)
        shape = (len(sizes), replicates)
        if alike >= 1:
            chance = (generator.random(shape) < share).astype(float)
        elif alike > 0:
            chance = generator.beta(share * (1 / alike - 1), (1 - share) * (1 / alike - 1), shape)
        else:
            chance = np.full(shape, share)
        return np.where(generator.random((len(codes), replicates)) < chance[codes], 0.9, 0.2)

    return draw


def beta(items: int, a: float = 1.0, b: float = 3.0) -> Draw:
    """Skewed, near the upper bound, as correlations are: 1 - 2 Beta(a, b)."""
    return lambda generator, replicates: 1 - 2 * generator.beta(a, b, (items, replicates))


def ranked(items: int, models: int, slope: float, undefined: float = 0.0) -> Draw:
    """Spearman's correlations of ``models`` checkpoints with a trend; the share ``undefined`` of them is 0."""

    def draw(generator: np.random.Generator, replicates: int) -> np.ndarray:
        x = np.arange(models)
        scores = generator.normal(size=(models, items * replicates)) + slope * x[:, None]
        distance = ((scores.argsort(axis=0).argsort(axis=0) - x[:, None]) ** 2).sum(axis=0)
        values = 1 - 6 * distance / (models * (models**2 - 1))
        return np.where(generator.random(len(values)) < undefined, 0.0, values).reshape(items, replicates)

    return draw


def _between(low: int, high: int, count: int) -> tuple[int, ...]:
    """So many sizes, each by the same factor larger than the one before."""
    return tuple(int(size) for size in np.rint(np.geomspace(low, high, count)))


def cases() -> list[Case]:
    """Every case, those of single items first."""
    found = [Case(f"{n} items, skewed", beta(n)) for n in (3, 5, 10, 20, 100)]
    found.append(Case("10 items, strongly skewed", beta(10, 0.5)))
    for n in (10, 40, 300):
        found.append(Case(f"{n} items, 6 checkpoints", ranked(n, 6, 0.3)))
        found.append(Case(f"{n} items, 4 checkpoints", ranked(n, 4, 0.8)))
        found.append(Case(f"{n} items, 6 checkpoints, half undefined", ranked(n, 6, 0.4, 0.5)))
        found.append(Case(f"{n} items, 30 checkpoints", ranked(n, 30, 0.05)))
    sizes = {
        "3 clusters of 50": (50,) * 3,
        "3 clusters of 20, 50, 100": (20, 50, 100),
        "6 clusters of 20": (20,) * 6,
        "8 clusters of 5 to 300": _between(5, 300, 8),
        "12 clusters of 5 to 300": _between(5, 300, 12),
        "20 clusters of 5 to 300": _between(5, 300, 20),
        "40 clusters of 10": (10,) * 40,
        "MMLU's sizes": MMLU,
        "MMLU's sizes / 50": tuple(max(1, round(size / 50)) for size in MMLU),
    }
    for name, own in sizes.items():
        for alike in (0.0, 0.1, 0.5):
            found.append(Case(f"{name}, {alike:g} alike", normal(own, alike), own, NORMAL))
        found.append(Case(f"{name}, skewed, 0.3 alike", skewed(own, 0.3), own, {"mean": 0.2}))
    uneven = [f"{count} clusters of 5 to 300" for count in (8, 12, 20)]
    for name in ("6 clusters of 20", *uneven, "40 clusters of 10", "MMLU's sizes / 50"):
        for alike in (0.0, 0.3, 1.0):
            truth = {"fraction_above_075": 0.1, "mean": 0.27}
            found.append(Case(f"a tenth of {name}, {alike:g} alike", shares(sizes[name], alike), sizes[name], truth))
    ten = (100,) * 10
    truth = {"fraction_above_075": 0.1}
    found.append(Case("a tenth of 10 clusters of 100, 1 alike", shares(ten, 1.0), ten, truth))
    return found


def truth_of(case: Case) -> Mapping[str, float]:
    """The statistics of the population, exactly or from a sample of two million items."""
    if case.truth is not None:
        return case.truth
    items = len(case.draw(np.random.default_rng(0), 1))
    many = np.concatenate(
        [case.draw(np.random.default_rng(seed), 100_000 // items).ravel() for seed in range(1000, 1020)]
    )
    q25, median, q75 = np.quantile(many, [0.25, 0.5, 0.75])
    found = {"mean": many.mean(), "median": median, "q25": q25, "q75": q75, "iqr": q75 - q25}
    found |= {"fraction_above_075": (many > 0.75).mean(), "fraction_below_0": (many < 0).mean()}
    return {name: float(value) for name, value in found.items()}


def coverage(case: Case, replicates: int, seed: int = 0) -> dict[str, tuple[float, float]]:
    """By statistic: the share of intervals that hold the truth (NaN where there are none), and the share there is."""
    truth = truth_of(case)
    codes = None if case.sizes is None else np.repeat(np.arange(len(case.sizes)), case.sizes)
    block = max(1, min(replicates, 4_000_000 // (sum(case.sizes) if case.sizes else 300)))
    hits, given, done = dict.fromkeys(truth, 0), dict.fromkeys(truth, 0), 0
    generator = np.random.default_rng(seed)
    while done < replicates:
        count = min(block, replicates - done)
        found = distribution_statistics(np.clip(case.draw(generator, count), -1, 1), codes)
        for name, value in truth.items():
            low, high = found[f"{name}_low"], found[f"{name}_high"]
            given[name] += int((~np.isnan(low)).sum())
            hits[name] += int(((low <= value + 1e-9) & (value - 1e-9 <= high)).sum())
        done += count
    return {n: (hits[n] / given[n] if given[n] else float("nan"), given[n] / replicates) for n in truth}


def main(arguments: list[str] | None = None) -> None:
    """Print the table of coverage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=4000, help="samples of each case")
    parser.add_argument("--cases", nargs="*", default=[""], help="only cases whose name has one of these words")
    args = parser.parse_args(arguments)
    print(f"{'case':48}" + "".join(f"{name.replace('fraction_', 'P '):>14}" for name in STATISTICS))
    for case in cases():
        if not any(word in case.name for word in args.cases):
            continue
        found = coverage(case, args.replicates)
        cells = []
        for name in STATISTICS:
            covered, given = found.get(name, (0.0, None))
            if given is None:
                cells.append("")
            elif given == 0:
                cells.append("none")
            else:
                cells.append(f"{100 * covered:.1f}" + (f" [{100 * given:.0f}]" if given < 1 else ""))
        print(f"{case.name:48}" + "".join(f"{cell:>14}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
