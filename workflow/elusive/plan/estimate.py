"""What remains to be done, and what it costs.

Floating-point operations (FLOPs):

- scoring a checkpoint on a benchmark: 2 · (tokens run · N_body + positions read · N_head), with N_body the parameters
  outside the embeddings and N_head those of the embeddings. N_head is the output layer where it is tied to the input
  embeddings; where it is not, the input embeddings are counted in vain. Attention's products of queries and keys are
  left out: a few per cent at these lengths. A model whose ``parameters_nonembedding`` is not known counts all its
  parameters for every token.
- training a model of the ladder: 6 · N · D up to its last checkpoint.

GPU time is scoring's FLOPs by the peak of the GPU in the model's type times the share of it that is reached, and for
each job the start of a process and the reading of the weights. Training runs on CPUs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from elusive.configuration.catalogue import BYTES
from elusive.configuration.models import Model
from elusive.configuration.registry import Registry
from elusive.plan.sizes import BYTES_PER_TOKEN, Size, bytes_per_token

#: Seconds from the start of a scoring job to the reading of weights, and bytes of weights read in a second.
JOB_SECONDS = 10.0
WEIGHTS_PER_SECOND = 1e9
#: Downloads that run at once unless `--resources download=N` says otherwise.
DOWNLOADS_AT_ONCE = 2

# Bytes of results, measured on runs of the ladder: of a table of log-likelihoods and each of its rows, and of an item's
# rows in the metrics and correlations of a family, for each of its checkpoints.
_TABLE_BYTES = 4096
_CHOICE_BYTES = 13
_METRICS_BYTES = 75

Key = tuple[str, str]


@dataclass(frozen=True)
class Todo:
    """What remains to be done. A checkpoint is (model, name).

    ``cells`` has the benchmarks that each checkpoint has still to be scored on, ``jobs`` how many jobs score it,
    ``downloads`` the checkpoints to be downloaded and ``trainings`` the models to be trained.
    """

    cells: Mapping[Key, tuple[str, ...]]
    jobs: Mapping[Key, int]
    downloads: frozenset[Key]
    trainings: frozenset[str]

    def only(self, keys: Iterable[Key]) -> Todo:
        """What remains to be done for the checkpoints ``keys``."""
        chosen = set(keys)
        models = {model for model, _ in chosen}
        return Todo(
            cells={key: names for key, names in self.cells.items() if key in chosen},
            jobs={key: number for key, number in self.jobs.items() if key in chosen},
            downloads=self.downloads & chosen,
            trainings=frozenset(self.trainings & models),
        )


@dataclass(frozen=True)
class Paths:
    """Where the workflow keeps things, with the wildcards of the rules.

    ``finished`` are the tables of ``logprobs`` under their second names, from which a job takes what is still valid.
    """

    items: str
    checkpoint: str
    logprobs: str
    finished: str

    def has_scored(self, key: Key, benchmark: str) -> bool:
        """Whether there is a table of the checkpoint ``key``, from which a job takes what it need not compute."""
        names = {"model": key[0], "checkpoint": key[1], "benchmark": benchmark}
        return any(os.path.exists(path.format(**names)) for path in (self.logprobs, self.finished))


@dataclass(frozen=True)
class Cost:
    """What a part of the run costs. ``peak_disk_bytes`` are weights on the disk at once and the results."""

    downloads: int = 0
    trainings: int = 0
    scoring_jobs: int = 0
    cells: int = 0
    download_bytes: int = 0
    peak_disk_bytes: int = 0
    train_flops: float = 0.0
    score_flops: float = 0.0
    gpu_hours: float = 0.0

    @property
    def jobs(self) -> int:
        """Downloads, trainings and scoring jobs; what follows them is not counted."""
        return self.downloads + self.trainings + self.scoring_jobs

    @property
    def flops(self) -> float:
        """Of training and scoring."""
        return self.train_flops + self.score_flops


def remaining(registry: Registry, paths: Paths) -> Todo:
    """What remains to be done of everything that the configuration asks for.

    A job wherever a table is missing; a cell is scored where it has no table under its second name either, and only
    then weights of the hub come, unless they are to be kept.
    """
    cells: dict[Key, tuple[str, ...]] = {}
    lacking: dict[Key, list[str]] = {}
    downloads, trainings = set(), set()
    for model in registry.scored_models:  # importing costs next to nothing
        for checkpoint in model.checkpoints:
            key = (model.name, checkpoint.name)
            missing = [
                name
                for name in registry.benchmarks
                if not os.path.exists(paths.logprobs.format(model=key[0], checkpoint=key[1], benchmark=name))
            ]
            if not missing:
                continue
            cells[key] = tuple(name for name in missing if not paths.has_scored(key, name))
            lacking[key] = missing
            if not Path(paths.checkpoint.format(model=key[0], checkpoint=key[1])).is_dir():
                if model.source == "hub" and (cells[key] or registry.hub["keep"]):
                    downloads.add(key)
                elif model.source == "ladder":
                    trainings.add(model.name)
    return Todo(cells, _count_jobs(registry, lacking), frozenset(downloads), frozenset(trainings))


def _count_jobs(registry: Registry, lacking: Mapping[Key, Sequence[str]]) -> dict[Key, int]:
    """Scoring jobs by checkpoint; one of several checkpoints counts with the first that is ``lacking`` a table."""
    jobs = dict.fromkeys(lacking, 0)
    for kind in registry.scoring_jobs.values():
        asked = set(kind.benchmarks)
        for model in kind.models:
            singly = [(checkpoint.name,) for checkpoint in registry.models[model].checkpoints]
            for names in [kind.checkpoints] if kind.checkpoints else singly:
                keys = ((model, name) for name in names)
                first = next((key for key in keys if not asked.isdisjoint(lacking.get(key, ()))), None)
                if first:
                    jobs[first] += 1
    return jobs


def cost(registry: Registry, sizes: Mapping[str, Size], todo: Todo) -> Cost:
    """What ``todo`` costs, with every checkpoint counted once."""
    score_flops = gpu_seconds = 0.0
    for key, benchmarks in todo.cells.items():
        flops = checkpoint_flops(registry, sizes, key, benchmarks)
        score_flops += flops
        gpu_seconds += checkpoint_gpu_seconds(registry, flops, key, todo.jobs[key])
    return Cost(
        downloads=len(todo.downloads),
        trainings=len(todo.trainings),
        scoring_jobs=sum(todo.jobs.values()),
        cells=sum(map(len, todo.cells.values())),
        download_bytes=sum(weights_bytes(registry.models[model]) for model, _ in todo.downloads),
        peak_disk_bytes=_peak_disk(registry, sizes, todo),
        train_flops=sum(training_flops(registry.models[model]) for model in todo.trainings),
        score_flops=score_flops,
        gpu_hours=gpu_seconds / 3600,
    )


def checkpoint_flops(registry: Registry, sizes: Mapping[str, Size], key: Key, benchmarks: Iterable[str]) -> float:
    """FLOPs of scoring the checkpoint ``key`` on ``benchmarks``."""
    model = registry.models[key[0]]
    body = model.parameters if model.parameters_nonembedding is None else model.parameters_nonembedding
    head = model.parameters - body
    # Sizes are in tokens of a vocabulary of 50,000; the ladder's tokenizer cuts text into smaller pieces.
    finer = BYTES_PER_TOKEN / bytes_per_token(registry.ladder["vocabulary"]) if model.source == "ladder" else 1.0
    asked = [sizes[name] for name in benchmarks]
    return 2.0 * finer * (sum(s.tokens for s in asked) * body + sum(s.positions for s in asked) * head)


def checkpoint_gpu_seconds(registry: Registry, flops: float, key: Key, jobs: int) -> float:
    """Seconds on a GPU of ``jobs`` jobs with ``flops`` FLOPs together; none where scoring is asked to use a CPU."""
    if registry.scoring["device"] == "cpu":
        return 0.0
    model = registry.models[key[0]]
    peak = registry.plan["gpu_tflops"][model.dtype] * 1e12 * registry.plan["utilisation"]
    return flops / peak + jobs * (JOB_SECONDS + model.parameters * BYTES[model.dtype] / WEIGHTS_PER_SECOND)


def training_flops(model: Model) -> float:
    """FLOPs of training a model of the ladder to its last checkpoint."""
    return 6.0 * model.parameters * max(checkpoint.tokens for checkpoint in model.checkpoints)


def weights_bytes(model: Model) -> int:
    """Bytes of one checkpoint's weights as they are downloaded or, of the ladder, written."""
    if model.source == "ladder":
        return model.parameters * BYTES["float32"]
    return model.weights_bytes or model.parameters * BYTES[model.dtype]


def checkpoints_on_disk(registry: Registry) -> int | None:
    """How many downloaded checkpoints lie on the disk at once, at most; None: all of them."""
    ahead = registry.hub["ahead"]
    return None if registry.hub["keep"] or ahead is None else ahead + DOWNLOADS_AT_ONCE


def _peak_disk(registry: Registry, sizes: Mapping[str, Size], todo: Todo) -> int:
    """The largest checkpoints of the hub that lie on the disk at once, what the ladder keeps, and results."""
    temporary = sorted((weights_bytes(registry.models[model]) for model, _ in todo.downloads), reverse=True)
    kept = sum(weights_bytes(registry.models[m]) * len(registry.models[m].checkpoints) for m in todo.trainings)
    tables = sum(_TABLE_BYTES + _CHOICE_BYTES * sizes[n].choices for names in todo.cells.values() for n in names)
    metrics = sum(
        _METRICS_BYTES * sizes[name].items
        for family in registry.families.values()
        for member in family.members
        for name in todo.cells.get((member.model, member.name), ())
    )
    return sum(temporary[: checkpoints_on_disk(registry)]) + kept + tables + metrics
