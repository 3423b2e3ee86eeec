"""The catalogue: models that a configuration may name without describing them.

``workflow/registry/models.yaml`` holds repositories, exact and nominal sizes and the naming of the checkpoints of
published model families; what its keys mean stands at its head. A checkpoint is named by its revision on the hub,
and what is left out here cannot be asked for by name alone. Nothing heavy is imported: Snakemake reads this whenever
it parses a configuration that names such a model.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).parents[2] / "registry" / "models.yaml"
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Series:
    """How the checkpoints of a model are named, and how many tokens each was trained on.

    ``pattern`` is a name with ``{step}`` (``{step:03d}`` is padded) and, for OLMo, ``{billions}``, tokens in units of
    10⁹ rounded by ``rounding``. ``steps`` are the published ones. Step s was trained on (s + ``offset``) ·
    ``tokens_per_step`` tokens, nominally on s · ``tokens_per_step_nominal``.
    """

    pattern: str
    steps: tuple[int, ...]
    tokens_per_step: Fraction
    tokens_per_step_nominal: int | None = None
    offset: int = 0
    rounding: str = "nearest"

    def tokens(self, step: int) -> int:
        """Training tokens of ``step``, to the nearest whole one."""
        return round((step + self.offset) * self.tokens_per_step)

    def name(self, step: int) -> str:
        """The name of the checkpoint at ``step``."""
        tokens = self.tokens(step)
        billions = -(-tokens // 10**9) if self.rounding == "up" else round(Fraction(tokens, 10**9))
        return self.pattern.format(step=step, billions=billions)

    def entry(self, step: int) -> dict[str, Any]:
        """Name and tokens of the checkpoint at ``step``, as a configuration would spell them."""
        entry: dict[str, Any] = {"name": self.name(step), "tokens": self.tokens(step)}
        if self.tokens_per_step_nominal is not None:
            entry["tokens_nominal"] = step * self.tokens_per_step_nominal
        return entry


@dataclass(frozen=True)
class Entry:
    """A model of the catalogue. ``described`` has the keys of a ``source: hub`` model, all but its checkpoints.

    ``default`` are the checkpoints of a configuration that names none. ``architecture`` is the transformers
    configuration that the exact parameter counts were computed from. ``verified`` says whether repository, naming
    and tokens were confirmed from a public source, which ``notes`` names along with departures from the paper.
    """

    name: str
    described: dict[str, Any]
    listed: dict[str, dict[str, Any]]
    series: Series | None
    default: tuple[str, ...]
    weights_dtype: str
    verified: bool
    notes: str
    architecture: dict[str, Any] = field(default_factory=dict)

    def checkpoint(self, name: str) -> dict[str, Any] | None:
        """Name, revision and tokens of the checkpoint ``name``, None where there is none of that name."""
        if name in self.listed:
            return self.listed[name]
        return self._of_series.get(name)

    def names(self) -> Iterator[str]:
        """The names of all checkpoints: those listed, then those of the series."""
        yield from self.listed
        yield from self._of_series

    @functools.cached_property
    def _of_series(self) -> dict[str, dict[str, Any]]:
        if self.series is None:
            return {}
        entries = (self.series.entry(step) for step in self.series.steps)
        return {entry["name"]: entry for entry in entries if entry["name"] not in self.listed}

    @property
    def weights_bytes(self) -> int:
        """Estimate of what a checkpoint weighs: its parameters, in the type that they are stored in."""
        return self.described["parameters"] * BYTES[self.weights_dtype]


@functools.cache
def load() -> dict[str, Entry]:
    """Name -> model, in the order of the file."""
    content = yaml.load(FILE.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    series = {name: _series(entry) for name, entry in content["series"].items()}
    models: dict[str, dict[str, Any]] = {}
    for entry in content["models"]:
        for model in _alike(entry, models) if "like" in entry else (entry,):
            models[model["name"]] = model
    return {name: _entry(model, series) for name, model in models.items()}


def _alike(entry: dict[str, Any], models: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    changes = {key: value for key, value in entry.items() if key not in ("like", "names")}
    for name in entry["names"]:
        yield models[entry["like"]] | changes | {"name": name, "repo": entry["repo"].replace("{name}", name)}


def _series(entry: dict[str, Any]) -> Series:
    steps = set(entry.get("steps", ()))
    for first, last, every in entry.get("ranges", ()):
        steps.update(range(first, last + 1, every))
    return Series(
        pattern=entry["pattern"],
        steps=tuple(sorted(steps)),
        tokens_per_step=Fraction(entry["tokens_per_step"]),
        tokens_per_step_nominal=entry.get("tokens_per_step_nominal"),
        offset=entry.get("offset", 0),
        rounding=entry.get("rounding", "nearest"),
    )


def _entry(entry: dict[str, Any], series: dict[str, Series]) -> Entry:
    own = ("series", "checkpoints", "default", "weights_dtype", "verified", "notes", "architecture")
    described = {key: value for key, value in entry.items() if key not in own}
    of_model = series[entry["series"]] if "series" in entry else None
    listed = {item["name"]: _listed(item, of_model) for item in entry.get("checkpoints", ())}
    return Entry(
        name=entry["name"],
        described={"source": "hub"} | described,
        listed=listed,
        series=of_model,
        default=tuple(entry.get("default", listed)),
        weights_dtype=entry.get("weights_dtype", entry["dtype"]),
        verified=entry["verified"],
        notes=" ".join(entry.get("notes", "").split()),
        architecture=entry["architecture"],
    )


def _listed(item: dict[str, Any], series: Series | None) -> dict[str, Any]:
    """A checkpoint as listed, its tokens reckoned from the series where only its step is known."""
    if "tokens" in item or series is None:
        return item
    step = int(re.search(r"\d+", item["name"].rpartition("step")[2] or item["name"])[0])
    return series.entry(step) | item
