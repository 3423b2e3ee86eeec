"""The plan as a table and as text."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from elusive.configuration.models import Checkpoint
from elusive.configuration.registry import Registry
from elusive.files import atomic_path
from elusive.plan import estimate
from elusive.plan.budget import LIMITS, number, sizes_of
from elusive.plan.estimate import Cost, Paths, Todo
from elusive.plan.sizes import BYTES_PER_TOKEN, Size

if TYPE_CHECKING:
    import polars as pl

_WIDTH = 120
_BASIS = {
    "items": "from its items table",
    "counted": "counted on the full set",
    "estimated": "rough: from typical lengths",
    "file": "rough: from the file's size",
    "published": "of a published data set: nothing to score",
    "unknown": "unknown before its items table is made, counted as nothing",
}


@dataclass(frozen=True)
class Line:
    """A family, the models that are in none, or everything with each checkpoint once."""

    name: str
    label: str
    checkpoints: int
    cells: int
    cells_done: int
    cost: Cost


def write_plan(
    registry: Registry,
    paths: Paths,
    output_text: str | os.PathLike[str],
    output_parquet: str | os.PathLike[str],
    output_csv: str | os.PathLike[str],
) -> str:
    """Write what remains to be done of ``registry`` as text, Parquet and CSV; returns the text."""
    from elusive.tables import SCHEMA_KEY, SCHEMA_VERSION

    sizes = sizes_of(registry, paths)
    plan = lines(registry, sizes, estimate.remaining(registry, paths))
    wording = text(registry, sizes, plan) + "\n"
    with atomic_path(output_text) as temporary:
        temporary.write_text(wording, encoding="utf-8")
    with atomic_path(output_parquet) as temporary:
        table(plan).write_parquet(temporary, metadata={SCHEMA_KEY.decode(): str(SCHEMA_VERSION)})
    with atomic_path(output_csv) as temporary:
        table(plan).write_csv(temporary)
    return wording


def lines(registry: Registry, sizes: Mapping[str, Size], todo: Todo) -> list[Line]:
    """One line a family, one for checkpoints in no family if there are any, and the total. A checkpoint of several
    families counts in each of them and once in the total, which is therefore not the sum."""
    everything = [checkpoint for model in registry.models.values() for checkpoint in model.checkpoints]
    in_families = {(c.model, c.name) for family in registry.families.values() for c in family.members}
    rest = [c for c in everything if (c.model, c.name) not in in_families]

    def line(name: str, label: str, members: Sequence[Checkpoint]) -> Line:
        part = todo.only((c.model, c.name) for c in members)
        cells = len(members) * len(registry.benchmarks)
        cost = estimate.cost(registry, sizes, part)
        return Line(name, label, len(members), cells, cells - cost.cells, cost)

    result = [line(f.name, f.label, f.members) for f in registry.families.values()]
    if rest:
        result.append(line("", "in no family", rest))
    return [*result, line("total", "total, each checkpoint once", everything)]


def table(plan: Sequence[Line]) -> pl.DataFrame:
    """One row a line: counts as integers, sizes in bytes, FLOPs and hours as float64. The total comes last."""
    import polars as pl

    return pl.DataFrame(
        [
            {
                "family": line.name,
                "label": line.label,
                "checkpoints": line.checkpoints,
                "cells": line.cells,
                "cells_done": line.cells_done,
                "downloads": line.cost.downloads,
                "trainings": line.cost.trainings,
                "scoring_jobs": line.cost.scoring_jobs,
                "download_bytes": line.cost.download_bytes,
                "peak_disk_bytes": line.cost.peak_disk_bytes,
                "train_flops": line.cost.train_flops,
                "score_flops": line.cost.score_flops,
                "gpu_hours": line.cost.gpu_hours,
            }
            for line in plan
        ]
    )


def text(registry: Registry, sizes: Mapping[str, Size], plan: Sequence[Line]) -> str:
    """The plan for a terminal: families, benchmarks, what was assumed or is not confirmed, and the budget."""
    texts = [*_assumptions(registry), *_unverified(registry)]
    notes = [line for note in texts for line in textwrap.wrap(note, _WIDTH)]
    parts: tuple[Iterable[str], ...] = (_families(plan), _benchmarks(registry, sizes), notes, _budget(registry, plan))
    return "\n\n".join("\n".join(part) for part in parts).rstrip()


def _families(plan: Sequence[Line]) -> Iterator[str]:
    yield "What remains to be done (estimates; nothing was downloaded, trained or scored)"
    yield ""
    header = ["family", "checkpoints", "cells done", "jobs", "download GB", "peak disk GB", "FLOPs", "GPU-hours"]
    rows = [
        [
            line.label,
            f"{line.checkpoints:,}",
            f"{line.cells_done:,} of {line.cells:,}",
            f"{line.cost.jobs:,}",
            *map(number, (line.cost.download_bytes / 1e9, line.cost.peak_disk_bytes / 1e9)),
            *map(number, (line.cost.flops, line.cost.gpu_hours)),
        ]
        for line in plan
    ]
    yield from _aligned([header, *rows])


def _benchmarks(registry: Registry, sizes: Mapping[str, Size]) -> Iterator[str]:
    header = ["benchmark", "items", "choices", "tokens run", "positions read"]
    rows = [
        [
            registry.benchmarks[name].label,
            *(f"{round(value):,}" for value in (size.items, size.choices, size.tokens, size.positions)),
        ]
        for name, size in sizes.items()
    ]
    bases = [_BASIS[size.basis] for size in sizes.values()]
    for line, basis in zip(_aligned([header, *rows]), ["source of the numbers", *bases], strict=True):
        yield f"{line}  {basis}"


def _aligned(rows: list[list[str]]) -> Iterator[str]:
    """Columns of equal width, the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        yield "  ".join(cells).rstrip()


def _assumptions(registry: Registry) -> Iterator[str]:
    peaks = ", ".join(f"{dtype} {number(peak)}" for dtype, peak in registry.plan["gpu_tflops"].items())
    yield (
        "A checkpoint of several families counts in each of them and once in the total. Jobs are downloads, trainings "
        "and scoring jobs."
    )
    yield (
        "Tokens: of the prefix tree over a benchmark's items, by GPT-NeoX's tokenizer "
        f"({BYTES_PER_TOKEN} bytes a token where they were not counted). FLOPs: 2 x (tokens x parameters outside the "
        "embeddings + positions x those in them), and 6ND for training."
    )
    if registry.scoring["device"] == "cpu":
        yield "GPU-hours: none, scoring.device is cpu."
    else:
        yield (
            f"GPU-hours: {registry.plan['utilisation']:.0%} of a peak of {peaks} TFLOP/s (plan.utilisation and "
            f"plan.gpu_tflops), {estimate.JOB_SECONDS:.0f} s for each scoring job, and weights read at "
            f"{estimate.WEIGHTS_PER_SECOND / 1e9:.0f} GB/s. Training the ladder takes CPUs."
        )
    at_once = estimate.checkpoints_on_disk(registry)
    yield (
        f"Peak disk: {'all downloaded checkpoints' if at_once is None else f'the {at_once} largest checkpoints'} "
        "at once (hub.ahead, and those being downloaded), and the results."
    )


def _unverified(registry: Registry) -> Iterator[str]:
    """What is to be checked on the hub before a run that takes days."""
    for model in registry.models.values():
        if model.verified is False:
            yield f"{model.name} is not verified in every point (workflow/registry/models.yaml): {model.notes}"


def _budget(registry: Registry, plan: Sequence[Line]) -> Iterator[str]:
    total = plan[-1].cost
    for limit in LIMITS:
        allowed = registry.budget.get(limit.key)
        if allowed is not None:
            amount = limit.amount(total)
            verdict = "EXCEEDED: a run of everything would stop at once" if amount > allowed else "kept"
            yield f"budget.{limit.key}: {number(amount)} of {number(allowed)} {limit.unit}: {verdict}"
