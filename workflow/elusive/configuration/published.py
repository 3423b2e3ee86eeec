"""A published data set as a source: its models, families and benchmarks, as its manifest describes them.

With the key ``published`` the set's models, families and benchmarks take the place of those of ``config.yaml``; a
section of the user's own overrules the set's, and takes from it what has ``source: published``. Snakemake reads a
manifest whenever it parses such a configuration, so nothing heavy is imported.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from elusive.configuration.benchmarks import Benchmark
from elusive.configuration.facts import Facts
from elusive.configuration.messages import Blame, Loader, suggestion
from elusive.configuration.models import Checkpoint, Model
from elusive.errors import ElusiveError

#: The source of models and benchmarks that come from the set.
SOURCE = "published"
MANIFEST = "manifest.json"
FORMAT, FORMAT_VERSION = "elusive published set", 1
DEFAULT = Path(__file__).parents[3] / "config.yaml"
SECTIONS = ("models", "families", "benchmarks")
# Names become parts of paths, and a manifest is anybody's.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Published:
    """A published data set: its ``directory`` as configured, and the content of its manifest."""

    directory: str
    manifest: dict[str, Any]

    @classmethod
    def open(cls, directory: str) -> Published:
        """Read and check the manifest in ``directory``; raises :class:`ElusiveError`."""
        path = Path(directory) / MANIFEST
        try:
            path = path.expanduser()
            manifest = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, RuntimeError) as error:
            raise ElusiveError(
                f"published: {directory}: has no readable {MANIFEST} ({getattr(error, 'strerror', None) or error}), so "
                "it is no published data set; name the directory that `snakemake publish` wrote or that was downloaded"
            ) from error
        except ValueError as error:
            raise ElusiveError(f"{path}: is no JSON ({error}); download the data set again") from error
        if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
            raise ElusiveError(f"{path}: is no manifest of a published data set")
        if manifest.get("format_version") != FORMAT_VERSION:
            raise ElusiveError(
                f"{path}: has version {manifest.get('format_version')} of the format, and this version of elusive "
                f"knows {FORMAT_VERSION}: update it"
            )
        found = cls(str(path.parent), manifest)
        try:
            found._check_names()
            for benchmark in found.benchmarks():
                found.facts(benchmark.name)
            found.models()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ElusiveError(f"{path}: is damaged ({error!r}); download the data set again") from error
        return found

    def _check_names(self) -> None:
        names = [entry["name"] for section in SECTIONS for entry in self.manifest[section]]
        names += [checkpoint["name"] for model in self.manifest["models"] for checkpoint in model["checkpoints"]]
        for name in names:
            if not _NAME.fullmatch(name):
                raise ValueError(f"the name {name!r}")

    @property
    def path(self) -> str:
        """The manifest's file."""
        return str(Path(self.directory) / MANIFEST)

    def file(self, table: str) -> str:
        """The file of a table."""
        return str(Path(self.directory) / "data" / f"{table}.parquet")

    def models(self) -> dict[str, Model]:
        """The set's models, by name."""
        return {entry["name"]: _model(entry) for entry in self.manifest["models"]}

    def benchmarks(self) -> list[Benchmark]:
        """The set's benchmarks, in its order."""
        return [_benchmark(entry) for entry in self.manifest["benchmarks"]]

    def has_texts(self, benchmark: str) -> bool:
        """Whether the texts of a benchmark's items are in the set."""
        return bool(self._benchmark(benchmark)["texts"])

    def facts(self, benchmark: str) -> Facts:
        """What the set says of a benchmark's texts."""
        return Facts(**self._benchmark(benchmark)["facts"])

    def _benchmark(self, name: str) -> dict[str, Any]:
        return next(entry for entry in self.manifest["benchmarks"] if entry["name"] == name)

    def family_entries(self) -> list[dict[str, Any]]:
        """The set's families, as a configuration spells them."""
        return list(self.manifest["families"])


def _model(entry: dict[str, Any]) -> Model:
    known = [checkpoint for checkpoint in entry["checkpoints"] if "validation_loss" in checkpoint]
    checkpoints = [
        Checkpoint(
            entry["name"],
            checkpoint["name"],
            int(checkpoint["tokens"]),
            float(checkpoint["flops"]),
            revision=checkpoint.get("revision"),
            tokens_nominal=checkpoint.get("tokens_nominal"),
        )
        for checkpoint in entry["checkpoints"]
    ]
    return Model(
        name=entry["name"],
        source=SOURCE,
        parameters=int(entry["parameters"]),
        parameters_nonembedding=entry.get("parameters_nonembedding"),
        checkpoints=tuple(checkpoints),
        dtype=entry.get("dtype", "float32"),
        add_bos_token=entry.get("add_bos_token"),
        repo=entry.get("repo"),
        parameters_nominal=entry.get("parameters_nominal"),
        origin=entry["source"],
        validation_losses={checkpoint["name"]: float(checkpoint["validation_loss"]) for checkpoint in known},
    )


def _benchmark(entry: dict[str, Any]) -> Benchmark:
    spec = {"name": entry["name"], "source": SOURCE, "num_items": int(entry["num_items"])}
    spec |= {"subject": "its own"} if entry["subjects"] else {}
    return Benchmark(entry["name"], entry["label"], SOURCE, (), spec)


def with_published(config: dict[str, Any], files: Sequence[Path]) -> tuple[dict[str, Any], Published | None]:
    """``config`` with the sections that the published set fills, and the set; None without one.

    A section that is as in ``config.yaml``, one of ``files``, is nobody's own, and the set's takes its place.
    """
    directory = config.get("published") if isinstance(config, dict) else None
    if not isinstance(directory, str) or not directory:
        return config, None
    published = Published.open(directory)
    default = {}
    if any(file.resolve() == DEFAULT.resolve() for file in files):
        default = yaml.load(DEFAULT.read_text(encoding="utf-8"), Loader=Loader)
    filled = {
        "models": [{"name": "*", "source": SOURCE}],
        "families": published.family_entries(),
        "benchmarks": [{"name": "*", "source": SOURCE}],
    }
    nobodys = [section for section in SECTIONS if config.get(section) in (None, default.get(section))]
    return config | {section: filled[section] for section in nobodys}, published


def expand(
    section: str, entries: Sequence[Any], published: Published | None, blame: Blame
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Position and entry of each of a section's ``entries``: one for each name of the set that a pattern matches.

    Raises :class:`ElusiveError` where an entry has ``source: published`` and there is no set, or nothing of that name.
    """
    for i, entry in enumerate(entries):
        if entry.get("source") != SOURCE:
            yield i, entry
            continue
        if published is None:
            raise blame.error(
                [section, i, "source"], "the key 'published' is missing, which names the directory of the data set"
            )
        # What logs call a benchmark, the set cannot know.
        own = ("name", "source", "task") if section == "benchmarks" else ("name", "source")
        other = [key for key in entry if key not in own]
        if other:
            raise blame.error([section, i, other[0]], "this key does not go with `source: published`: the set decides")
        known = [each["name"] for each in published.manifest[section]]
        found = [name for name in known if fnmatch.fnmatchcase(name, entry["name"])]
        if not found:
            raise blame.error(
                [section, i, "name"],
                f"{published.directory} has no {entry['name']!r}{suggestion(entry['name'], known)}",
            )
        yield from ((i, entry | {"name": name}) for name in found)


def check(
    published: Published | None, models: dict[str, Model], benchmarks: dict[str, Benchmark], compute: str, blame: Blame
) -> None:
    """Raise :class:`ElusiveError` where what comes from the set does not go with the rest of the configuration."""
    taken = [model for model in models.values() if model.source == SOURCE]
    own = [model.name for model in models.values() if model.source != SOURCE]
    if published is None:
        return
    of_set = {benchmark.name for benchmark in published.benchmarks()}
    for name, benchmark in benchmarks.items():
        if taken and name not in of_set:
            raise blame.error(
                ["benchmarks"], f"{published.directory} has no benchmark {name!r}{suggestion(name, of_set)}"
            )
        if own and benchmark.source == SOURCE and not published.has_texts(name):
            raise blame.error(
                ["benchmarks"],
                f"{own[0]} cannot be scored on {name!r} of {published.directory}, which has no texts: name the "
                "built-in benchmark in 'benchmarks', whose items are matched by their SHA-256",
            )
    theirs = published.manifest["compute"]
    if taken and theirs != compute and (own or compute == "nominal"):
        raise blame.error(["compute"], f"{compute!r} is not allowed: the compute of {published.directory} is {theirs}")
