"""The budget: limits on what one run may cost, checked before its first job starts.

What counts is what the run would do: the jobs that Snakemake has found to be needed, and of a scoring job the
benchmarks that have no table yet. Where a job runs since its parameters changed (another type, say, or a new version
of the scorer), its tables may be out of date, and all of them count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from elusive.configuration.registry import Registry
from elusive.errors import ElusiveError
from elusive.plan import estimate
from elusive.plan.estimate import Cost, Key, Paths, Todo
from elusive.plan.sizes import Size, size

_SHOWN = 3


@dataclass(frozen=True)
class Limit:
    """A key of the section ``budget``: its unit, and the amount of a cost in that unit."""

    key: str
    unit: str
    amount: Callable[[Cost], float]


LIMITS = (
    Limit("jobs", "jobs", lambda cost: cost.jobs),
    Limit("download_gb", "GB to download", lambda cost: cost.download_bytes / 1e9),
    Limit("disk_gb", "GB on the disk at once", lambda cost: cost.peak_disk_bytes / 1e9),
    Limit("flops", "FLOPs", lambda cost: cost.flops),
    Limit("gpu_hours", "GPU-hours", lambda cost: cost.gpu_hours),
)


@dataclass(frozen=True)
class Job:
    """A job that a run would do: its rule, its wildcards, and whether its parameters or command have changed."""

    rule: str
    wildcards: Mapping[str, str]
    changed: bool = False


def check(registry: Registry, paths: Paths, jobs: Iterable[Job]) -> None:
    """Raise :class:`ElusiveError` when ``jobs`` cost more than the configuration's ``budget`` allows.

    The message names the key, the amount, the limit, and the models that take most of it.
    """
    if all(limit is None for limit in registry.budget.values()):
        return
    todo = todo_of(registry, paths, jobs)
    sizes = sizes_of(registry, paths)
    total = estimate.cost(registry, sizes, todo)
    for limit in LIMITS:
        allowed, amount = registry.budget.get(limit.key), limit.amount(total)
        if allowed is not None and amount > allowed:
            raise ElusiveError(
                f"budget.{limit.key}: this run would take about {number(amount)} {limit.unit}, more than the "
                f"{number(allowed)} that are allowed. {_largest(registry, sizes, todo, limit)}Nothing was started. "
                "`snakemake --cores 1 plan` shows what everything costs; ask for less, or raise the limit"
            )


def todo_of(registry: Registry, paths: Paths, jobs: Iterable[Job]) -> Todo:
    """What ``jobs`` do, as far as it costs anything."""
    cells: dict[Key, tuple[str, ...]] = {}
    numbers: dict[Key, int] = {}
    downloads, trainings = set(), set()
    for job in jobs:
        model, name = job.wildcards.get("model", ""), job.wildcards.get("checkpoint", "")
        if job.rule == "download":
            downloads.add((model, name))
        elif job.rule == "train":
            trainings.add(model)
        elif kind := registry.scoring_jobs.get(job.rule):
            for number, each in enumerate(kind.checkpoints or (name,)):
                key = (model, each)
                asked = (b for b in kind.benchmarks if job.changed or not paths.has_scored(key, b))
                cells[key] = (*cells.get(key, ()), *asked)
                # A job counts once, with the first of its checkpoints.
                numbers[key] = numbers.get(key, 0) + (number == 0)
    # Where every table is there, the hub is asked for a commit, and no weights come but those that are to be kept.
    needed = {key for key in downloads if registry.hub["keep"] or key not in cells or cells[key]}
    return Todo(cells, numbers, frozenset(needed), frozenset(trainings))


def sizes_of(registry: Registry, paths: Paths) -> dict[str, Size]:
    """The size of every benchmark, from its items table where there is one."""
    return {
        name: size(benchmark, Path(paths.items.format(benchmark=name)))
        for name, benchmark in registry.benchmarks.items()
    }


def number(value: float) -> str:
    """A number as messages and the plan have it: three digits and, from ten million on, a power of ten."""
    if value and not 1e-3 <= abs(value) < 1e7:
        return f"{value:.2e}"
    if abs(value) >= 100 or float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _largest(registry: Registry, sizes: Mapping[str, Size], todo: Todo, limit: Limit) -> str:
    amounts = {}
    for model in registry.models.values():
        keys = [(model.name, checkpoint.name) for checkpoint in model.checkpoints]
        amounts[model.name] = limit.amount(estimate.cost(registry, sizes, todo.only(keys)))
    most = sorted(amounts.items(), key=lambda entry: -entry[1])[:_SHOWN]
    named = ", ".join(f"{name} {number(amount)}" for name, amount in most if amount)
    return f"Most of it: {named}. " if named else ""
