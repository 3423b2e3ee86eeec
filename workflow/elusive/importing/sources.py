"""Which file of a folder of logs is which task under which checkpoint, by names, aggregates and first lines."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import PurePath
from typing import Any

from elusive.errors import ElusiveError
from elusive.importing import formats, lm_eval, plain, streams
from elusive.importing.formats import Found
from elusive.importing.problems import Problems
from elusive.importing.records import Record, distinct

#: Items of each file that are looked at before anything is imported.
FIRST = 20


@dataclass(frozen=True)
class Source:
    """One task under one checkpoint in one run: a file of a format, or a part of a plain table.

    ``run`` is the time of the run where names have it. ``about`` is what the log says of the run; its ``names`` are
    what the checkpoint may be called by. ``beside`` are files that belong to it, by what they are. ``described`` says
    whether aggregates were found. ``where`` are the values of model, checkpoint and benchmark in a plain table.
    """

    format: str
    file: str
    task: str
    run: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    beside: Mapping[str, str] = field(default_factory=dict)
    described: bool = True
    where: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """What the checkpoint may be called by."""
        return list(self.about.get("names", ()))

    def describe(self) -> str:
        """File, version, shots and limit, for messages about two runs or two files."""
        facts = {
            "run": self.run,
            "version": self.about.get("harness_version"),
            "shots": self.about.get("num_fewshot"),
            "limit": self.about.get("limit"),
            "fewshot_seed": self.about.get("fewshot_seed"),
            "chat template": "yes" if self.about.get("chat_template") else None,
        }
        known = ", ".join(f"{name} {value}" for name, value in facts.items() if value is not None)
        return f"{self.file} ({known})" if known else self.file

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Source:
        """From what :meth:`to_json` gave."""
        return cls(**values)


class Reading:
    """The records of a source, and what turned out on the way: warnings."""

    def __init__(
        self, source: Source, layout: plain.Layout | None = None, progress: streams.Progress | None = None
    ) -> None:
        self.source = source
        self._layout = layout or plain.Layout()
        self._progress = progress
        self.warnings: list[str] = []

    def __iter__(self) -> Iterator[Record]:
        """The records in the file's order, repeated ones once."""
        source = self.source
        if source.format == "table":
            yield from plain.read(source.file, source.task, self._layout, source.where, self._progress)
            return
        delimiter, version = source.about.get("delimiter"), source.about.get("harness_version")
        reader = lm_eval.SampleReader(source.file, source.task, delimiter, version)
        any_item = False
        for record in distinct(reader.read(self._progress), source.file):
            any_item = True
            yield record
        if not any_item:
            raise ElusiveError(f"{source.file}: has no items")
        if reader.dropped_unconditional:
            self.warnings.append(
                f"{source.file}: log-likelihoods behind an empty context are left out, since their continuations are "
                "others than the item's (lm-eval before 0.4.9 wrote them without the space)"
            )
        if reader.unchecked:
            self.warnings.append(
                f"{source.file}: has no metric of any item (--predict_only), so that nothing of it can be recomputed "
                "and checked"
            )
        if version and str(version).startswith("0.5"):
            self.warnings.append(
                f"{source.file}: written by lm-eval {version}, a development version whose format was not final"
            )

    def ordered(self) -> list[Record]:
        """The records by number: several GPUs write theirs one after the other."""
        return sorted(self, key=lambda record: record.number)

    def first(self, count: int = FIRST) -> list[Record]:
        """The first records."""
        return list(islice(iter(self), count))


@dataclass
class Survey:
    """What a folder holds.

    ``sources`` are the files that can be read, ``empty`` the folders with aggregates but no samples, ``kinds`` how many
    files were of which kind, ``samples`` the number of their bytes.
    """

    sources: list[Source] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    kinds: dict[str, int] = field(default_factory=dict)
    found: dict[str, Found] = field(default_factory=dict)


def survey(
    files: Sequence[str], problems: Problems, layout: plain.Layout | None = None, tasks: Iterable[str] = ()
) -> Survey:
    """What ``files`` hold. What is wrong with one is added to ``problems``.

    ``tasks`` are names that may be asked for: the file names of lm-eval 0.4.0 to 0.4.2 do not say where a task's name
    begins.
    """
    layout = layout or plain.Layout()
    result = Survey()
    for file in files:
        with problems.collecting():
            found = formats.recognise(file, layout)
            result.kinds[found.kind] = result.kinds.get(found.kind, 0) + 1
            if found.kind in formats.REFUSED:
                raise ElusiveError(f"{file}: is {formats.REFUSED[found.kind]}")
            result.found[file] = found
    of_kind: dict[str, dict[str, Found]] = defaultdict(dict)
    for file, found in result.found.items():
        of_kind[found.kind][file] = found
    _lm_eval(of_kind, result, tasks)
    for file in of_kind["table"]:
        with problems.collecting():
            for part in plain.parts(file, layout):
                task = part.get("benchmark", _stem(file))
                names = [part["checkpoint"]] if "checkpoint" in part else []
                about = {"names": names} | ({"model": part["model"]} if "model" in part else {})
                result.sources.append(Source("table", file, task, about=about, where=part))
    result.sources.sort(key=lambda source: (source.file, source.task))
    return result


def _stem(file: str) -> str:
    return PurePath(file).name.split(".")[0]


def _lm_eval(of_kind: Mapping[str, Mapping[str, Found]], result: Survey, tasks: Iterable[str]) -> None:
    """Samples of lm-eval 0.4, with the aggregates of the same run."""
    timed: dict[tuple[str, str], Mapping[str, Any]] = {}
    untimed: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for file, found in of_kind["lm_eval.aggregates"].items():
        path, time = PurePath(file), lm_eval.aggregates_time(PurePath(file).name)
        if time is None:
            untimed[str(path.parent)].append(found.first)
        else:
            timed[str(path.parent), time] = found.first
    used: set[str] = set()
    for file in of_kind["lm_eval.samples"]:
        path = PurePath(file)
        folder = str(path.parent)
        task, time = lm_eval.samples_name(path.name)
        aggregates = timed.get((folder, time)) if time is not None else None
        about: dict[str, Any] = {}
        if time is None:
            task, about, aggregates = lm_eval.untimed_samples(path.name, untimed[folder], tasks)
        if aggregates is not None:
            about = lm_eval.about(aggregates, task)
            used.add(folder)
        result.sources.append(Source("lm_eval", file, task, time, about, described=aggregates is not None))
    with_samples = {str(PurePath(source.file).parent) for source in result.sources if source.format == "lm_eval"}
    folders = dict.fromkeys([*(folder for folder, _ in timed), *untimed])
    result.empty += [folder for folder in folders if folder not in with_samples]
