"""The index of a model's logs: which files are which checkpoint and task, and everything that is wrong with them.

It is made from names, aggregates and the first lines of files, so that a run that cannot succeed says so before
anything is imported, and says all at once.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from elusive import logs
from elusive.configuration.imported import log_files
from elusive.configuration.messages import did_you_mean
from elusive.errors import ElusiveError
from elusive.files import atomic_path
from elusive.importing import archives, checks, plain
from elusive.importing.formats import KINDS
from elusive.importing.problems import Problems
from elusive.importing.records import Record
from elusive.importing.sources import FIRST, Reading, Source, Survey, survey
from elusive.importing.version import IMPORTER_VERSION
from elusive.items.benchmarks import BENCHMARKS

logger = logs.get(__name__)

#: What the log says of a run that should be the same for all checkpoints -> how warnings call it.
COMPARED = {
    "harness": "harness",
    "harness_version": "version of the harness",
    "task_version": "version of the task",
    "dtype": "type of the weights",
    "backend": "backend",
    "batch_size": "batch size",
    "quantised": "quantisation",
    "adapter": "adapter",
    "chat_template": "chat template",
    "dataset": "dataset",
    "dataset_revision": "revision of the dataset",
    "fewshot_seed": "seed of the solved examples",
}
_NAMES_SHOWN = 12


@dataclass(frozen=True)
class Wanted:
    """A checkpoint as configured: its name, and by what its logs are found where the path does not name it."""

    name: str
    revision: str | None = None
    run: str | None = None


@dataclass(frozen=True)
class Task:
    """What a benchmark asks for: names of tasks, all of which must be there if ``exact``, or patterns of names."""

    benchmark: str
    patterns: tuple[str, ...]
    exact: bool

    def of(self, names: Iterable[str]) -> list[str]:
        """Those of ``names`` that are asked for, in the patterns' order, then by name."""
        names = sorted(set(names))
        return list(dict.fromkeys(n for p in self.patterns for n in names if n == p or fnmatch.fnmatchcase(n, p)))


@dataclass(frozen=True)
class Order:
    """What an index is made of: a model as configured, and the tasks that are asked for.

    What is taken out of archives is put below ``unpack``.
    """

    model: str
    source: str
    path: str
    checkpoints: tuple[Wanted, ...]
    tasks: tuple[Task, ...]
    parameters: int | None = None
    layout: plain.Layout = field(default_factory=plain.Layout)
    unpack: str = "unpacked"

    @classmethod
    def from_json(cls, values: Mapping[str, Any], unpack: str = "unpacked") -> Order:
        """From the specification that the rule passes."""
        given = values["logs"]
        return cls(
            model=values["model"],
            source=values["source"],
            path=given["path"],
            checkpoints=tuple(Wanted(**entry) for entry in values["checkpoints"]),
            tasks=tuple(task_of(entry) for entry in values["benchmarks"]),
            parameters=values.get("parameters"),
            layout=plain.Layout(**{key: given[key] for key in ("columns", "unit", "aggregated") if key in given}),
            unpack=unpack,
        )


def task_of(entry: Mapping[str, Any]) -> Task:
    """The tasks of a benchmark, ``name`` and ``tasks``: of a built-in one without any, what lm-eval calls it."""
    name, given = entry["name"], tuple(entry.get("tasks", ()))
    if given:
        return Task(name, given, exact=not any(set(task) & set("*?[") for task in given))
    definition = BENCHMARKS[name]
    if definition.subjects and not definition.subject:
        return Task(name, tuple(f"{name}_{subject}" for subject in definition.subjects), exact=True)
    return Task(name, (name,), exact=True)


@dataclass(frozen=True)
class Index:
    """Checkpoint -> benchmark -> task -> its runs, in the order of their times. ``layout`` is that of plain tables."""

    model: str
    source: str
    checkpoints: Mapping[str, Mapping[str, Mapping[str, Sequence[Source]]]]
    layout: plain.Layout

    def write(self, output: str | os.PathLike[str]) -> None:
        """Write it as JSON."""
        checkpoints = {
            checkpoint: {
                benchmark: {task: [source.to_json() for source in runs] for task, runs in tasks.items()}
                for benchmark, tasks in benchmarks.items()
            }
            for checkpoint, benchmarks in self.checkpoints.items()
        }
        layout = {key: getattr(self.layout, key) for key in ("columns", "unit", "aggregated")}
        content = {"model": self.model, "source": self.source, "importer": IMPORTER_VERSION, "layout": layout}
        with atomic_path(output) as temporary:
            text = json.dumps(content | {"checkpoints": checkpoints}, indent=1, ensure_ascii=False)
            temporary.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Index:
        """From the file that :meth:`write` made. Raises :class:`ElusiveError`."""
        try:
            found = json.loads(Path(path).read_text(encoding="utf-8"))
            checkpoints = {
                checkpoint: {
                    benchmark: {task: [Source.from_json(run) for run in runs] for task, runs in tasks.items()}
                    for benchmark, tasks in benchmarks.items()
                }
                for checkpoint, benchmarks in found["checkpoints"].items()
            }
            return cls(found["model"], found["source"], checkpoints, plain.Layout(**found["layout"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ElusiveError(f"{path}: not a readable index of logs ({error!r}); delete it and run again") from error


def build_index(order: Order) -> Index:
    """The index of a model's logs. Raises :class:`ElusiveError` with everything that is wrong."""
    problems = Problems()
    of_checkpoint = _assign(order, problems)
    index: dict[str, dict[str, dict[str, list[Source]]]] = {}
    missing: dict[str, list[str]] = defaultdict(list)
    everything = {source.task for sources in of_checkpoint.values() for source in sources}
    for task in order.tasks:
        names = list(task.patterns) if task.exact else task.of(everything)
        absent = [name for name in names if name not in everything] if names else list(task.patterns)
        if len(absent) == len(names) and everything:
            problems.error(_no_task(order, task, absent, everything))
            continue
        for checkpoint, sources in of_checkpoint.items():
            own: dict[str, list[Source]] = index.setdefault(checkpoint, {}).setdefault(task.benchmark, {})
            for name in names:
                own[name] = sorted((s for s in sources if s.task == name), key=lambda s: (s.run or "", s.file))
                if not own[name]:
                    missing[checkpoint].append(name)
    if missing:
        problems.error(_missing(order, missing, of_checkpoint))
    _look_inside(order, index, problems)
    _compare(order, index, problems)
    problems.settle(f"logs of {order.model}")
    return Index(order.model, order.source, index, order.layout)


def _assign(order: Order, problems: Problems) -> dict[str, list[Source]]:
    """The sources of each checkpoint, by the path or by what their logs say of them."""
    asked = [name for task in order.tasks for name in task.patterns]
    if "{checkpoint}" in order.path:
        found = {}
        unpacked = _unpacked(order, asked)
        for wanted in order.checkpoints:
            root = order.path.replace("{checkpoint}", wanted.name)
            files = unpacked[wanted.name] if wanted.name in unpacked else log_files(root)
            seen = survey(files, problems, order.layout, asked)
            sources = _of_format(order, root, seen, problems)
            found[wanted.name] = _of_run(wanted, _of_part(order, wanted, sources, problems))
            _say_what_is_missing(root, seen, found[wanted.name], problems)
            _check_revisions(order, wanted, found[wanted.name], problems)
        return found
    seen = survey(log_files(order.path), problems, order.layout, asked)
    sources = _of_format(order, order.path, seen, problems)
    _say_what_is_missing(order.path, seen, sources, problems)
    if len(order.checkpoints) == 1 and not any(_is_of(order.checkpoints[0], source) for source in sources):
        wanted = order.checkpoints[0]
        found = {wanted.name: _of_run(wanted, _of_part(order, wanted, sources, problems))}
        _check_revisions(order, wanted, found[wanted.name], problems)
        return found
    found = {wanted.name: [source for source in sources if _is_of(wanted, source)] for wanted in order.checkpoints}
    if unknown := [s for s in sources if not s.names and not any(s in own for own in found.values())]:
        shown = ", ".join(source.file for source in unknown[:3])
        problems.error(
            f"{order.path}: cannot tell checkpoints apart; set run for each, or write {{checkpoint}} into the path. "
            f"Nothing says whose these are: {shown}{', …' if len(unknown) > 3 else ''}"
        )
    elif lost := [name for name, own in found.items() if not own and sources]:
        known = sorted({name for source in sources for name in source.names})
        problems.error(
            f"{order.path}: has no logs of {', '.join(lost)}; its logs are of: {', '.join(known[:_NAMES_SHOWN])}. The "
            "key 'revision' of a checkpoint says by what its logs are found"
        )
    return found


def _unpacked(order: Order, asked: Sequence[str]) -> dict[str, list[str]]:
    """Files of each checkpoint whose path leads into an archive, taken out of it."""
    folders: dict[str, dict[str, str]] = defaultdict(dict)
    for wanted in order.checkpoints:
        if place := archives.inside(order.path.replace("{checkpoint}", wanted.name)):
            folders[place[0]][wanted.name] = place[1]
    found: dict[str, list[str]] = {}
    for number, (archive, of_checkpoint) in enumerate(folders.items()):
        found |= archives.unpack(archive, of_checkpoint, asked, os.path.join(order.unpack, str(number)))
    return found


def _is_of(wanted: Wanted, source: Source) -> bool:
    if wanted.run is not None:
        return _in_run(wanted.run, source)
    return (wanted.revision or wanted.name) in source.names


def _in_run(run: str, source: Source) -> bool:
    return run == source.run or run in PurePath(source.file).parts


def _of_run(wanted: Wanted, sources: list[Source]) -> list[Source]:
    return sources if wanted.run is None else [source for source in sources if _in_run(wanted.run, source)]


def _of_part(order: Order, wanted: Wanted, sources: list[Source], problems: Problems) -> list[Source]:
    """Of plain tables with a column for it, what is of this checkpoint and model."""
    kept = []
    for source in sources:
        where = source.where
        if "checkpoint" in where and (wanted.revision or wanted.name) != where["checkpoint"]:
            continue
        if "model" in where and where["model"] != order.model:
            continue
        kept.append(source)
    if sources and not kept:
        there = sorted({"/".join(s.where[key] for key in ("model", "checkpoint") if key in s.where) for s in sources})
        problems.error(
            f"{order.path.replace('{checkpoint}', wanted.name)}: has no rows of {order.model}/{wanted.name}; its rows "
            f"are of: {', '.join(there[:_NAMES_SHOWN])}"
        )
    return kept


def _of_format(order: Order, root: str, seen: Survey, problems: Problems) -> list[Source]:
    sources = [source for source in seen.sources if source.format == order.source]
    if order.source == "table":
        sources = [s for s in sources if s.where.get("model", order.model) == order.model]
    others = {source.format for source in seen.sources} - {order.source}
    if not sources and others:
        what = ", ".join(KINDS[kind] for kind in seen.kinds if kind in KINDS and kind != "other")
        problems.error(f"{root}: holds {what}; write source: {' or '.join(sorted(others))}")
    return sources


def _say_what_is_missing(root: str, seen: Survey, sources: Sequence[Source], problems: Problems) -> None:
    if sources:
        return
    for folder in seen.empty:
        problems.error(f"{folder}: results but no samples; run the harness with --log_samples")
    if not seen.empty and not problems.errors:
        kinds = ", ".join(f"{count} {KINDS[kind]}" for kind, count in seen.kinds.items()) or "no files"
        problems.error(f"{root}: no logs were found there, only {kinds}")


def _check_revisions(order: Order, wanted: Wanted, sources: Sequence[Source], problems: Problems) -> None:
    """A revision in the logs contradicts a checkpoint that they are found for by their place, or as the only one.

    It does so when it is another checkpoint's, another than the one that the configuration gives, or another step than
    the checkpoint's name: ``step9000`` of ``step1000``. Logs that say main, or a commit, may be of any revision.
    """
    own = wanted.revision or wanted.name
    others = {w.revision or w.name for w in order.checkpoints} - {own}
    for source in sources:
        revision = source.about.get("revision")
        if not revision or own in source.names:
            continue
        given = own != wanted.name and revision != "main" and not re.fullmatch(r"[0-9a-f]{7,40}", str(revision))
        steps = [re.fullmatch(r"(\D*)(\d+)(\D*)", str(name)) for name in (own, revision)]
        another_step = all(steps) and steps[0].group(1, 3) == steps[1].group(1, 3)
        if revision in others or given or another_step:
            problems.error(
                f"{source.file}: lies where the logs of {wanted.name} do, but says that it is of revision {revision}; "
                "if that is right, give the checkpoint this 'revision' and its tokens"
            )
            return


def _no_task(order: Order, task: Task, absent: Sequence[str], there: Iterable[str]) -> str:
    names = sorted(there)
    close = did_you_mean(absent[0], names)
    grouped = [name for name in names if name.startswith(f"{absent[0]}_")]
    if grouped and not set(absent[0]) & set("*?["):
        close = f'; {absent[0]} is a group of {len(grouped)} tasks here: write task: "{absent[0]}_*"'
    more = ", …" if len(names) > _NAMES_SHOWN else ""
    return (
        f"{order.path}: no log is of {', '.join(absent[:_NAMES_SHOWN])}{', …' if len(absent) > _NAMES_SHOWN else ''} "
        f"(benchmark {task.benchmark}){close} (there are: {', '.join(names[:_NAMES_SHOWN])}{more})"
    )


def _missing(order: Order, missing: Mapping[str, Sequence[str]], found: Mapping[str, Sequence[Source]]) -> str:
    def cut(names: Sequence[str]) -> str:
        return ", ".join(names[:_NAMES_SHOWN]) + (f", … {len(names)} in all" if len(names) > _NAMES_SHOWN else "")

    lines = [f"    {name}: {cut(sorted(set(tasks)))}" for name, tasks in missing.items()]
    whole = [name for name in found if name not in missing]
    complete = f"complete are: {cut(whole)}" if whole else "no checkpoint is complete"
    return f"{order.path}: logs are missing ({complete}):\n" + "\n".join(lines)


def _look_inside(
    order: Order, index: Mapping[str, Mapping[str, Mapping[str, Sequence[Source]]]], problems: Problems
) -> None:
    """Read the first items of every file: are they of a kind that can be imported, and do runs agree?"""
    seen: dict[tuple[str, str], dict[str, list[Record]]] = defaultdict(dict)
    for checkpoint, benchmarks in index.items():
        for benchmark, tasks in benchmarks.items():
            for task, runs in tasks.items():
                first: list[list[Record]] = []
                for source in runs:
                    with problems.collecting():
                        records = Reading(source, order.layout).first()
                        for record in records:
                            checks.check_numbers(record, source.file)
                        first.append(records)
                    if not source.described and source.format == "lm_eval":
                        problems.warn(
                            f"{source.file}: no results beside it: the delimiter is taken to be a space, and version, "
                            "shots and type of the weights are not known"
                        )
                if len(first) == len(runs) > 1:
                    _compare_runs(runs, first, problems)
                if first:
                    seen[benchmark, task][checkpoint] = first[-1]
    for (_, task), of_checkpoint in seen.items():
        _compare_checkpoints(task, of_checkpoint, problems)


def _compare_runs(runs: Sequence[Source], first: Sequence[Sequence[Record]], problems: Problems) -> None:
    """Several runs of one task and checkpoint: the latest may stand for all only where they say the same."""
    latest = {record.number: record for record in first[-1]}
    for source, records in zip(runs[:-1], first[:-1], strict=True):
        shared = [record for record in records if record.number in latest]
        if any(record.log_likelihood != latest[record.number].log_likelihood for record in shared):
            problems.error(different_runs(source, runs[-1]))


def different_runs(one: Source, other: Source) -> str:
    """The message about two runs of one checkpoint and task that differ."""
    return f"two runs of {one.task} differ, choose one with run: {one.describe()}, and {other.describe()}"


def _compare_checkpoints(task: str, first: Mapping[str, Sequence[Record]], problems: Problems) -> None:
    """Warn of checkpoints that begin with the same numbers, and of texts that come from different documents."""
    by_values: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    hashes: dict[bytes, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for checkpoint, records in first.items():
        if len(records) == FIRST:
            by_values[tuple(record.log_likelihood for record in records)].append(checkpoint)
        for record in records:
            if "doc_hash" in record.measures:
                hashes[record.identity][record.measures["doc_hash"]].append(checkpoint)
    for names in by_values.values():
        if len(names) > 1:
            problems.warn(
                f"{task}: {' and '.join(names)} are identical in the first {FIRST} items; if they are in all of them, "
                "they cannot be in one family: was a request cache used?"
            )
    kinds: dict[str, list[str]] = defaultdict(list)
    for checkpoint, records in first.items():
        if records[:1] and "task_hash" in records[0].measures:
            kinds[str(records[0].measures["task_hash"])].append(checkpoint)
    if len(kinds) > 1:
        said = "; ".join(f"{name}: {_some(names)}" for name, names in kinds.items())
        problems.error(
            f"{task}: other configurations of the task (task_hash) in some logs, and no requests with the texts by "
            f"which items could be compared: {said}"
        )
    if any(len(of_item) > 1 for of_item in hashes.values()):
        groups = next(of_item for of_item in hashes.values() if len(of_item) > 1)
        said = "; ".join(", ".join(names[:4]) + (", …" if len(names) > 4 else "") for names in groups.values())
        problems.warn(f"{task}: equal texts come from different documents of the dataset (doc_hash) in: {said}")


def _compare(
    order: Order, index: Mapping[str, Mapping[str, Mapping[str, Sequence[Source]]]], problems: Problems
) -> None:
    """Compare what the logs say of the runs: parameters with the configuration, all else between checkpoints."""
    facts: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    sizes: dict[int, str] = {}
    special: dict[str, list[str]] = defaultdict(list)
    for checkpoint, benchmarks in index.items():
        for tasks in benchmarks.values():
            for task, runs in tasks.items():
                if not runs:
                    continue
                about = runs[-1].about
                for key in COMPARED:
                    of_task = key in ("task_version", "dataset", "dataset_revision")
                    value = "not known" if about.get(key) is None else str(about[key])
                    facts[f"{key} {task}" if of_task else key][value].add(checkpoint)
                changed = about.get("quantised") or about.get("adapter")
                if changed:
                    special["quantised" if about.get("quantised") else "adapter"].append(checkpoint)
                elif "parameters" in about:
                    sizes.setdefault(about["parameters"], runs[-1].file)
    for key, values in facts.items():
        if len(values) > 1:
            name, _, task = key.partition(" ")
            said = "; ".join(f"{value}: {_some(sorted(names))}" for value, names in sorted(values.items()))
            problems.warn(f"{order.model}: the {COMPARED[name]}{f' {task}' if task else ''} differs: {said}")
    if special["quantised"]:
        names = _some(list(dict.fromkeys(special["quantised"])))
        problems.warn(f"{order.model}: the weights were quantised to 4 or 8 bits in {names}: scores are coarse")
    if special["adapter"]:
        problems.warn(
            f"{order.model}: an adapter was put on the weights in {_some(list(dict.fromkeys(special['adapter'])))}"
        )
    wrong = {size: file for size, file in sizes.items() if size != order.parameters}
    if order.parameters is not None and wrong:
        size, file = next(iter(wrong.items()))
        problems.error(
            f"{file}: says that the model has {size:,} parameters, but the configuration says "
            f"{order.parameters:,} for {order.model}"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f", … {len(names)} in all" if len(names) > 4 else "")
