"""Time and memory of forecasts and their backtests, against a fit for every choice by scipy.

    python tests/benchmarks/forecast.py [--items 50000] [--sample 300] [--tasks sciq arc_easy]

On synthetic log-likelihoods, in CPU seconds on one thread:

1. a forecast of 50,000 items with four choices from 13 checkpoints, at four targets with 200 draws;
2. the naive way to the same: scipy's line (``linregress``) and power law with a floor (``curve_fit``) for each choice,
   of a sample of items, carried over to all;
3. backtests of the six families and the 69 tasks of the paper, from a part of the tasks (``--tasks``), whose time is
   carried over by numbers of items and of tasks.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
sys.path.insert(0, str(Path(__file__).parents[2] / "workflow"))

import numpy as np
from scipy import optimize, stats

from elusive.forecast import margins
from elusive.forecast.cells import cell_rows
from elusive.forecast.methods import fit_kriging
from elusive.forecast.scores import Scores

#: Items of each kind of task of the paper, how many choices they have, and how many such tasks there are.
TASKS = {
    "arc_easy": (2376, 4, 1),
    "arc_challenge": (1172, 4, 1),
    "hellaswag": (10042, 4, 1),
    "mathqa": (2985, 5, 1),
    "mc_taco": (9442, 2, 1),
    "mmlu subject": (246, 4, 57),
    "openbookqa": (500, 4, 1),
    "piqa": (1838, 2, 1),
    "race": (1045, 4, 1),
    "sciq": (1000, 4, 1),
    "social_iqa": (1954, 3, 1),
    "winogrande": (1267, 2, 1),
    "xwinograd_en": (2325, 2, 1),
}


@dataclass(frozen=True)
class Plan:
    """Parameters and tokens of a family's checkpoints."""

    parameters: np.ndarray
    tokens: np.ndarray


def plans() -> dict[str, Plan]:
    """The six families that the paper plots, by the sizes and numbers of checkpoints that it has of them."""
    cerebras = np.array([1.11e8, 2.56e8, 5.9e8, 1.3e9, 2.7e9, 6.7e9, 1.3e10])
    pythia = np.array([1.4e7, 7e7, 1.6e8, 4.1e8, 1.0e9, 1.4e9, 2.8e9, 6.9e9, 1.2e10])
    return {
        "cerebras": Plan(cerebras, 20 * cerebras),
        "incite-7b": Plan(np.full(11, 6.9e9), np.linspace(2.4e11, 1e12, 11)),
        "amber": Plan(np.full(13, 6.7e9), np.geomspace(3.5e9, 1.26e12, 13)),
        "olmo-7b": Plan(np.full(7, 6.9e9), np.geomspace(4e9, 2e12, 7)),
        "pythia-12b": Plan(np.full(8, 1.2e10), np.geomspace(2.1e6, 3e11, 8)),
        "pythia-300b-tokens": Plan(pythia, np.full(9, 3e11)),
    }


def synthetic(parameters: np.ndarray, tokens: np.ndarray, items: int, choices: int, seed: int = 0) -> Scores:
    """Scores whose choices share most of how they move, with a right choice that rises a little faster."""
    generator = np.random.default_rng(seed)
    flops = 6 * parameters * tokens
    order = np.lexsort((parameters, flops))
    parameters, tokens, flops = parameters[order], tokens[order], flops[order]
    x = (np.log10(flops) - np.log10(flops).max())[:, None]
    count = len(x)
    right = -40 + 8 * generator.standard_normal(items) + (4 + 2 * generator.standard_normal(items)) * x
    level, slope = generator.standard_normal((2, items, choices - 1)) * np.array([3.0, 0.6])[:, None, None]
    noise = generator.standard_normal((count, items, choices - 1))
    return Scores(
        models=tuple(f"m{value:.3g}" for value in parameters),
        checkpoints=tuple(f"t{value:.3g}" for value in tokens),
        parameters=parameters,
        tokens=tokens,
        flops=flops,
        items=tuple(f"i{i:06d}" for i in range(items)),
        subjects=(None,) * items,
        right=right,
        margins=1 + level + (0.3 + slope) * x[:, :, None] + 0.8 * noise,
        exists=np.ones((items, choices - 1), dtype=bool),
        wins_ties=np.ones((items, choices - 1), dtype=bool),
    )


def peak_gigabytes() -> float:
    """Largest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def forecast_once(scores: Scores, targets: int, draws: int) -> None:
    """Fit the law of ``scores`` and forecast ``targets`` targets."""
    law, points, selected, status = fit_kriging(scores)
    assert law is not None, status
    assert len(selected) == len(scores.flops), "all checkpoints are learnt from"
    for i in range(targets):
        times = 2.0 ** (i + 1)
        at = points.at(
            *(
                np.array([value])
                for value in (scores.parameters[-1], times * scores.tokens[-1], times * scores.flops[-1])
            )
        )
        margins.forecast(law, at, draws, margins.seed_of("benchmark", i))


def power_law(x: np.ndarray, floor: float, level: float, slope: float) -> np.ndarray:
    """E + exp(level - slope x) of minus a log-likelihood."""
    return floor + np.exp(level - slope * x)


def choice_by_choice(scores: Scores, items: int, law: str) -> None:
    """A fit by scipy for every choice of the first ``items`` items, and the winner at one target."""
    x = np.log10(scores.flops) - np.log10(scores.flops).max()
    wrong = scores.right[:, :items, None] - scores.margins[:, :items]
    series = np.concatenate([scores.right[:, :items, None], wrong], axis=2)
    found = np.empty(series.shape[1:])
    for i in range(items):
        for k in range(series.shape[2]):
            y = series[:, i, k]
            if law == "linregress":
                line = stats.linregress(x, y)
                found[i, k] = line.intercept + line.slope
                continue
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    best, _ = optimize.curve_fit(
                        power_law, x, -y, p0=(0.0, np.log(max(-y[-1], 1e-3)), 0.1), maxfev=2000
                    )
                found[i, k] = -power_law(1.0, *best)
            except RuntimeError:
                found[i, k] = y[-1]
    assert np.isfinite(found.argmax(axis=1)).all()


def seconds(function, *arguments) -> float:
    """CPU seconds of a call."""
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Measure, print, and return the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=50_000)
    parser.add_argument("--sample", type=int, default=300, help="items that scipy fits choice by choice")
    parser.add_argument("--tasks", nargs="+", default=["mmlu subject", "sciq", "arc_easy"], choices=list(TASKS))
    args = parser.parse_args(arguments)

    pythia = Plan(np.full(13, 1.2e10), np.geomspace(3e10, 3e11, 13))
    scores = synthetic(pythia.parameters, pythia.tokens, args.items, 4)
    ours = seconds(forecast_once, scores, 4, 200)
    print(
        f"forecast: {args.items} items x 4 choices x 13 checkpoints x 4 targets, 200 draws: {ours:.1f} s CPU, one "
        "thread"
    )
    result = {"forecast": ours}
    for law in ("linregress", "curve_fit"):
        sample = seconds(choice_by_choice, scores, args.sample, law)
        theirs = sample * args.items / args.sample
        result[f"ratio_{law}"] = theirs / ours
        print(
            f"a fit per choice by scipy's {law}, one target, no interval: {theirs:.1f} s CPU (from {args.sample} "
            f"items), {theirs / ours:.1f} times"
        )
    print(f"largest memory so far {peak_gigabytes():.2f} GB")
    del scores

    rows = []
    for task in args.tasks:
        items, choices, _ = TASKS[task]
        for family, plan in plans().items():
            own = synthetic(plan.parameters, plan.tokens, items, choices)
            spent = seconds(cell_rows, own, family, task, [], ["accuracy"], 200, False)
            rows.append((family, items * (choices - 1), spent))
        print(f"{task}: {sum(spent for *_, spent in rows[-6:]):.1f} s CPU for six families", flush=True)
    total = 0.0
    for family in plans():
        own = np.array([(size, spent) for name, size, spent in rows if name == family])
        # Time is a part for every task and one for every margin.
        slope, intercept = np.polyfit(own[:, 0], own[:, 1], 1) if len(own) > 1 else (own[0, 1] / own[0, 0], 0.0)
        for items, choices, count in TASKS.values():
            total += count * max(intercept + slope * items * (choices - 1), 0.0)
    result |= {"backtests_cpu": total, "peak_gigabytes": peak_gigabytes()}
    print(
        f"backtests of six families on 69 tasks, carried over from {len(args.tasks)} kinds of tasks: {total / 60:.1f} "
        f"minutes CPU, {total / 120:.1f} minutes on two cores; largest memory {result['peak_gigabytes']:.2f} GB"
    )
    return result


if __name__ == "__main__":
    main()
