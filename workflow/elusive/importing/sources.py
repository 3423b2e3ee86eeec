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
from elusive.importing import formats, lighteval, lm_eval, lm_eval_before, olmes, olmo_eval, plain, streams
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
        any_item = False
        for record in distinct(self._records(), self.source.file):
            any_item = True
            yield record
        if not any_item:
            raise ElusiveError(f"{self.source.file}: has no items")

    def _records(self) -> Iterator[Record]:
        source = self.source
        match source.format:
            case "table":
                yield from plain.read(source.file, source.task, self._layout, source.where, self._progress)
            case "olmes":
                requests = source.beside.get("requests")
                if requests is None:
                    self.warnings.append(
                        f"{source.file}: no requests beside it (*-requests.jsonl), which have the texts: what takes "
                        "lengths is left out, accuracy per character is null, and items are known by their numbers"
                    )
                yield from olmes.read(source.file, source.task, requests, self._progress)
            case "olmo_eval":
                yield from olmo_eval.read(source.file, source.task, source.beside.get("requests"), self._progress)
            case "lighteval":
                yield from lighteval.read(source.file, source.task, self._progress)
            case _:
                if source.about.get("before"):
                    yield from lm_eval_before.read(source.file, source.task, self._progress)
                else:
                    yield from self._samples()

    def _samples(self) -> Iterator[Record]:
        """Of lm-eval from 0.4 on."""
        source = self.source
        version = source.about.get("harness_version")
        reader = lm_eval.SampleReader(source.file, source.task, source.about.get("delimiter"), version)
        yield from reader.read(self._progress)
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
        if reader.development:
            self.warnings.append(
                f"{source.file}: written by a development version of lm-eval, 0.5.0.dev1, whose format was not final"
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
    files were of which kind, ``broken`` the files of which it cannot be said, ``found`` what the others are.
    """

    sources: list[Source] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    kinds: dict[str, int] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
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
        result.broken.append(file)
        with problems.collecting():
            found = formats.recognise(file, layout)
            result.broken.pop()
            result.kinds[found.kind] = result.kinds.get(found.kind, 0) + 1
            if found.kind in formats.REFUSED:
                raise ElusiveError(f"{file}: is {formats.REFUSED[found.kind]}")
            result.found[file] = found
    of_kind: dict[str, dict[str, Found]] = defaultdict(dict)
    for file, found in result.found.items():
        of_kind[found.kind][file] = found
    _lm_eval(of_kind, result, tasks)
    _others(of_kind, result, problems)
    for file in of_kind["table"]:
        with problems.collecting():
            for part in plain.parts(file, layout):
                task = part.get("benchmark", _stem(file))
                names = [part["checkpoint"]] if "checkpoint" in part else []
                about = {"names": names} | ({"model": part["model"]} if "model" in part else {})
                result.sources.append(Source("table", file, task, about=about, where=part))
    result.sources.sort(key=lambda source: (source.file, source.task))
    return result


def _others(of_kind: Mapping[str, Mapping[str, Found]], result: Survey, problems: Problems) -> None:
    """Sources of the other harnesses."""
    for file in of_kind["lm_eval.before"]:
        about = {"harness": "lm-evaluation-harness", "harness_version": "before 0.4", "before": True}
        result.sources.append(Source("lm_eval", file, lm_eval_before.task_name(file), about=about, described=True))
    for file in of_kind["olmes.predictions"]:
        about: dict[str, Any] = {"harness": "OLMES"}
        with problems.collecting():
            if metrics := olmes.beside(file, "metrics.json"):
                about = olmes.about(streams.document(metrics))
        requests = olmes.beside(file, "requests.jsonl")
        near = {"requests": requests} if requests else {}
        result.sources.append(Source("olmes", file, olmes.task_name(file), about=about, beside=near))
    for file in of_kind["olmo_eval.predictions"]:
        near, about = olmo_eval.beside(file), {"harness": "olmo-eval"}
        with problems.collecting():
            if "metrics" in near:
                about = olmo_eval.about(streams.document(near["metrics"]), file)
        result.sources.append(Source("olmo_eval", file, olmo_eval.task_name(file), about=about, beside=near))
    results = {lighteval.results_time(file): found.first for file, found in of_kind["lighteval.results"].items()}
    for file in of_kind["lighteval.details"]:
        task, time = lighteval.task_and_time(file)
        known = results.get(time) if time else None
        about = lighteval.about(known, task) if known else {"harness": "lighteval"}
        result.sources.append(Source("lighteval", file, task, time, about, described=known is not None))


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
    with_samples |= {str(PurePath(file).parent) for file in result.broken}
    folders = dict.fromkeys([*(folder for folder, _ in timed), *untimed])
    result.empty += [folder for folder in folders if folder not in with_samples]
