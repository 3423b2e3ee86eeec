"""Look through a folder of logs before anything is configured: what is there, what is wrong, and how to import it.

Every file is read as a whole and checked as an import would check it, several at once. Of each only sums are kept: its
number of items, digests of their texts and of their log-likelihoods. Items of one task are compared between all
checkpoints, and so are their numbers.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import PurePath

import numpy as np

from elusive import logs
from elusive.configuration.imported import log_files
from elusive.errors import ElusiveError
from elusive.importing import archives, checks, plain
from elusive.importing.formats import KINDS
from elusive.importing.problems import Problems, listing
from elusive.importing.sources import Reading, Source, Survey, survey
from elusive.items.benchmarks import BENCHMARKS

logger = logs.get(__name__)

FILL_IN = "FILL IN"
_STEP = re.compile(r"(?i)(global)?[_-]?(step|iter|ckpt|checkpoint|epoch|tokens?|samples?)s?[_-]?\d+\w*|\d+")
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Content:
    """What a file holds on one task: ``items`` of them, or the ``error`` that stops its import.

    ``identities`` are 8 bytes a text and gold, sorted; ``digest`` is one of these, ``values`` one of all
    log-likelihoods in that order. ``half`` is the half precision that the numbers have, ``tied`` how many items have a
    tied best choice. ``sharp`` says whether gold indexes were known.
    """

    source: Source
    items: int = 0
    error: str | None = None
    warnings: tuple[str, ...] = ()
    identities: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint64))
    digest: str = ""
    values: str = ""
    half: str | None = None
    tied: int = 0


def read_content(sources: Sequence[Source], layout: plain.Layout) -> list[Content]:
    """Read and check the ``sources`` of one file."""
    if sources[0].format == "table":
        try:
            parts = plain.read_parts(sources[0].file, layout, [(s.task, s.where) for s in sources])
        except ElusiveError as error:
            return [Content(source, error=str(error)) for source in sources]
        return [_content(source, lambda found=found: iter(found)) for source, found in zip(sources, parts, strict=True)]
    return [_content(source) for source in sources]


def _content(source: Source, records: Callable[[], Iterator] | None = None) -> Content:
    reading = Reading(source)
    precision = checks.Precision()
    found: list[tuple[bytes, tuple[float, ...]]] = []
    try:
        for record in records() if records else reading:
            if record.gold is None and source.format == "lm_eval" and record.task in BENCHMARKS:
                checks.check_numbers(record, source.file)  # a built-in item knows it
            else:
                checks.check(record, source.file)
            precision.add(record.log_likelihood)
            found.append((record.identity[:7] + bytes((record.gold or 0,)), record.log_likelihood))
    except ElusiveError as error:
        return Content(source, error=str(error))
    found.sort(key=lambda entry: entry[0])
    identities = b"".join(identity for identity, _ in found)
    values = np.array([value for _, own in found for value in own])
    return Content(
        source,
        items=len(found),
        warnings=tuple(reading.warnings),
        identities=np.frombuffer(identities, ">u8").astype(np.uint64),
        digest=hashlib.sha256(identities).hexdigest(),
        values=hashlib.sha256(values.tobytes()).hexdigest(),
        half=precision.half,
        tied=precision.tied,
    )


@dataclass
class Inspection:
    """What a folder holds, for people.

    ``contents`` are those of model -> checkpoint -> task; ``problems`` everything that is wrong.
    """

    folder: str
    survey: Survey
    problems: Problems
    models: dict[str, dict[str, dict[str, Content]]]
    paths: dict[str, str | None]
    items: dict[str, dict[str, np.ndarray]]
    layout: plain.Layout
    tokens_per_step: int | None = None

    @property
    def tasks(self) -> list[str]:
        """Tasks that can be imported from every checkpoint, by name."""
        counts = Counter(task for c in self._checkpoints() for task, content in c.items() if not content.error)
        return sorted(task for task, count in counts.items() if count == sum(1 for _ in self._checkpoints()))

    def _checkpoints(self) -> Iterator[dict[str, Content]]:
        return (tasks for checkpoints in self.models.values() for tasks in checkpoints.values())


def inspect(
    folder: str,
    cores: int | None = None,
    layout: plain.Layout | None = None,
    tokens_per_step: int | None = None,
) -> Inspection:
    """Look through ``folder`` with ``cores`` processes (default: as many as there are)."""
    if not os.path.exists(folder):
        raise ElusiveError(f"{folder}: there is no such folder")
    layout, problems = layout or plain.Layout(), Problems()
    files = log_files(folder)
    seen = survey(files, problems, layout, BENCHMARKS)
    for file, found in seen.found.items():
        if found.kind == "archive":
            with problems.collecting():
                _look_into(file, problems)
    for empty in seen.empty:
        problems.error(f"{empty}: results but no samples; run the harness with --log_samples")
    contents = _read_all(seen.sources, layout, cores or os.cpu_count() or 1)
    models = _models(folder, contents, problems)
    inspection = Inspection(
        folder=folder,
        survey=seen,
        problems=problems,
        models=models,
        paths={model: _path(folder, model, models) for model in models},
        items=defaultdict(dict),
        layout=layout,
        tokens_per_step=tokens_per_step,
    )
    _compare(inspection)
    return inspection


def _look_into(file: str, problems: Problems) -> None:
    """Say what an archive holds, which is not read any further here."""
    folders = archives.contents(file)
    if folders:
        first = next(iter(folders))
        problems.warn(
            f"{file}: holds {sum(folders.values()):,} files of predictions in {len(folders):,} folders, as {first}. "
            f"They are not looked at here. To import them: source: olmes, and path: {file}/<folder> with {{checkpoint}}"
        )


def _read_all(sources: Sequence[Source], layout: plain.Layout, cores: int) -> list[Content]:
    of_file: dict[str, list[Source]] = defaultdict(list)
    for source in sources:
        of_file[source.file].append(source)
    sizes = {file: os.path.getsize(file) for file in of_file}
    progress = logs.Progress("reading logs", max(1, round(sum(sizes.values()) / 1e6)), "MB")
    found: dict[str, list[Content]] = {}
    behind = 0.0

    def done(file: str, contents: list[Content]) -> None:
        nonlocal behind
        found[file] = contents
        behind += sizes[file] / 1e6
        whole = int(behind)
        behind -= whole
        progress.update(whole, f"{len(found)} of {len(of_file)} files")

    if cores > 1 and len(of_file) > 1:
        with ProcessPoolExecutor(min(cores, len(of_file))) as pool:
            # The largest first, so that none is left alone at the end.
            order = sorted(of_file, key=lambda file: -sizes[file])
            running = {pool.submit(read_content, of_file[file], layout): file for file in order}
            for future in as_completed(running):
                done(running[future], future.result())
    else:
        for file, own in of_file.items():
            done(file, read_content(own, layout))
    return [content for file in of_file for content in found[file]]


def _models(folder: str, contents: Sequence[Content], problems: Problems) -> dict[str, dict[str, dict[str, Content]]]:
    """The contents by model, checkpoint and task; of several runs the latest, if they say the same."""
    found: dict[tuple[str, str], dict[str, list[Content]]] = defaultdict(lambda: defaultdict(list))
    for content in contents:
        found[_names(folder, content.source)][content.source.task].append(content)
    result: dict[str, dict[str, dict[str, Content]]] = {}
    for model, checkpoint in sorted(found, key=lambda key: (key[0], _step(key[1]), key[1])):
        tasks = result.setdefault(model, {}).setdefault(checkpoint, {})
        for task, runs in sorted(found[model, checkpoint].items()):
            runs.sort(key=lambda content: (content.source.run or "", content.source.file))
            tasks[task] = runs[-1]
            whole = [content for content in runs if not content.error]
            if len({(content.digest, content.values) for content in whole}) > 1:
                one, other = next(c for c in whole if c.values != whole[-1].values), whole[-1]
                problems.error(
                    f"{model}/{checkpoint}: two runs of {task} differ, choose one with run: {one.source.describe()}, "
                    f"and {other.source.describe()}"
                )
            elif len(runs) > 1:
                problems.warn(f"{model}/{checkpoint}: {len(runs)} runs of {task} with equal numbers; the latest counts")
    return result


def _step(name: str) -> int:
    number = re.search(r"\d+", name)
    return int(number[0]) if number else -1


def _folders(folder: str, source: Source) -> list[str]:
    """The folders between the one that is looked through and the file."""
    return list(PurePath(os.path.relpath(source.file, folder)).parent.parts)


def _names(folder: str, source: Source) -> tuple[str, str]:
    """Model and checkpoint that a file seems to be of."""
    if "checkpoint" in source.where:
        model = source.where.get("model") or source.about.get("model") or PurePath(source.file).name.split(".")[0]
        return model, source.where["checkpoint"]
    revision, named = source.about.get("revision"), source.about.get("model")
    folders = _folders(folder, source)
    # lm-eval makes a folder of the model's name, a path with its slashes doubled.
    spelt = [part for name in folders for part in name.split("__") if part]
    root = PurePath(os.path.abspath(folder)).name
    if revision and revision != "main":
        return named or root, str(revision)
    if named and _STEP.fullmatch(named):
        before = [part for part in spelt if part != named and not _STEP.fullmatch(part)]
        return (before[-1] if before else root), named
    steps = [part for part in spelt if _STEP.fullmatch(part)]
    others = [part for part in spelt if not _STEP.fullmatch(part)]
    if steps:
        return named or (others[-1] if others else root), steps[-1]
    if source.format == "table":
        stem = PurePath(source.file).name.split(".")[0]
        return (folders[-1] if folders else root), stem
    return (named or root), (str(revision) if revision else named or (spelt[-1] if spelt else "only"))


def _path(folder: str, model: str, models: Mapping[str, Mapping[str, Mapping[str, Content]]]) -> str | None:
    """What ``path`` of the configuration must be for a model; None where no path tells its checkpoints apart."""
    everything = [
        (name, checkpoint, content.source)
        for name, checkpoints in models.items()
        for checkpoint, tasks in checkpoints.items()
        for content in tasks.values()
    ]
    own = [(checkpoint, source) for name, checkpoint, source in everything if name == model]
    if any(source.where for _, source in own):
        return _common([source.file for _, source in own])
    shortest: set[str] | None = None
    for checkpoint, source in own:
        options = set(_patterns(folder, checkpoint, source))
        shortest = options if shortest is None else shortest & options
    for pattern in sorted(shortest or (), key=len):
        if all(
            (name, other) == (model, checkpoint)
            for checkpoint in models[model]
            for name, other, source in everything
            if PurePath(source.file).is_relative_to(pattern.replace("{checkpoint}", checkpoint))
        ):
            return pattern
    if len({checkpoint for checkpoint, _ in own}) == 1:
        return _common([source.file for _, source in own])
    if all(checkpoint in source.names for checkpoint, source in own):
        return _common([os.path.dirname(source.file) for _, source in own])
    return None


def _patterns(folder: str, checkpoint: str, source: Source) -> Iterator[str]:
    """Paths with {checkpoint} that lead to the file, the shortest first."""
    parts: list[str] = []
    for part in [*_folders(folder, source), PurePath(source.file).name]:
        name = re.sub(rf"(?<![A-Za-z0-9]){re.escape(checkpoint)}(?![A-Za-z0-9])", "{checkpoint}", part)
        parts.append(name)
        if any("{checkpoint}" in before for before in parts):
            yield os.path.join(folder, *parts)


def _common(paths: Sequence[str]) -> str:
    return os.path.commonpath(paths)


def _compare(inspection: Inspection) -> None:
    """Add what is wrong with the contents, and between them, to the problems."""
    problems = inspection.problems
    tasks = sorted({task for own in inspection._checkpoints() for task in own})
    missing: dict[str, list[str]] = defaultdict(list)
    half: dict[str, list[tuple[str, Content]]] = defaultdict(list)
    undescribed: list[str] = []
    for model, checkpoints in inspection.models.items():
        for checkpoint, own in checkpoints.items():
            for task in tasks:
                content = own.get(task)
                if content is None:
                    missing[f"{model}/{checkpoint}"].append(task)
                elif content.error:
                    problems.error(content.error)
                else:
                    inspection.items[task].setdefault(content.digest, content.identities)
                    if content.half:
                        half[content.half].append((f"{model}/{checkpoint}", content))
                    for warning in content.warnings:
                        problems.warn(warning)
                    if not content.source.described and content.source.format == "lm_eval":
                        undescribed.append(content.source.file)
    if missing:
        lines = [
            f"    {name}: {', '.join(absent[:8])}{', …' if len(absent) > 8 else ''}" for name, absent in missing.items()
        ]
        problems.error("logs are missing:\n" + "\n".join(lines))
    for task in tasks:
        _compare_items(inspection, task)
        _compare_values(inspection, task)
    for kind, found in half.items():
        tied, items = (sum(getattr(content, name) for _, content in found) for name in ("tied", "items"))
        names = list(dict.fromkeys(name for name, _ in found))
        problems.warn(
            f"all log-likelihoods are numbers of {kind} in {len(found)} files of {_some(names)}: they are coarse, and "
            f"the best choice is tied for {tied:,} of {items:,} items ({tied / items:.1%})"
        )
    if undescribed:
        problems.warn(
            f"{len(undescribed)} files have no results beside them, as {undescribed[0]}: the delimiter is taken to be "
            "a space, and version, shots and type of the weights are not known"
        )


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f", … {len(names)} in all" if len(names) > 4 else "")


def _compare_items(inspection: Inspection, task: str) -> None:
    """Say where logs of one task have different items."""
    sets = inspection.items.get(task, {})
    if len(sets) < 2:
        return
    groups: dict[str, list[str]] = defaultdict(list)
    for model, checkpoints in inspection.models.items():
        for checkpoint, own in checkpoints.items():
            if task in own and not own[task].error:
                groups[own[task].digest].append(f"{model}/{checkpoint}")
    shared = common(list(sets.values()))
    said = "; ".join(f"{len(sets[digest]):,} in {_some(names)}" for digest, names in groups.items())
    way_out = "`items: common` takes these" if shared else "they cannot be in one benchmark"
    inspection.problems.error(
        f"{task}: other items (texts or gold) in some logs: {said}; all share {shared:,}. {way_out}"
    )


def common(sets: Sequence[np.ndarray]) -> int:
    """Number of items that all have, equal ones as often as the one with the fewest of them has them."""
    counts = [Counter(entry.tolist()) for entry in sets]
    smallest = min(counts, key=len)
    return sum(min(other[key] for other in counts) for key in smallest)


def _compare_values(inspection: Inspection, task: str) -> None:
    """Say which checkpoints have the same numbers."""
    groups: dict[str, list[str]] = defaultdict(list)
    counts: dict[str, int] = {}
    for model, checkpoints in inspection.models.items():
        for checkpoint, own in checkpoints.items():
            if task in own and not own[task].error:
                groups[own[task].values].append(f"{model}/{checkpoint}")
                counts[own[task].values] = own[task].items
    for values, names in groups.items():
        if len(names) > 1:
            inspection.problems.error(
                f"{task}: {_some(names)} are identical in all log-likelihoods of {counts[values]:,} items; was a "
                "request cache used?"
            )


def text(inspection: Inspection) -> str:
    """What was found, for a terminal: kinds of files, models and checkpoints, tasks and items, problems."""
    kinds = [f"{count} × {KINDS[kind]}" for kind, count in sorted(inspection.survey.kinds.items()) if kind != "other"]
    other = inspection.survey.kinds.get("other", 0)
    parts = [
        f"{inspection.folder}: " + (", ".join(kinds) or "no logs") + (f", {other} × something else" if other else "")
    ]
    harnesses = Counter(
        " ".join(
            str(content.source.about[key]) for key in ("harness", "harness_version") if key in content.source.about
        )
        for own in inspection._checkpoints()
        for content in own.values()
    )
    if any(harnesses):
        said = ", ".join(f"{name or 'version not known'} ({count} files)" for name, count in harnesses.most_common())
        parts.append(f"written by {said}")
    for model, checkpoints in inspection.models.items():
        parts.append(f"\n{model}: {len(checkpoints)} checkpoint{'s' if len(checkpoints) > 1 else ''}")
        rows = [["checkpoint", "tasks", "items", "refused"]]
        for checkpoint, own in checkpoints.items():
            good = [content for content in own.values() if not content.error]
            rows.append([checkpoint, f"{len(own)}", f"{sum(c.items for c in good):,}", f"{len(own) - len(good) or ''}"])
        parts += [f"  {line}" for line in _aligned(rows)]
    rows = [["task", "items", "checkpoints", "shots"]]
    for task in sorted({task for own in inspection._checkpoints() for task in own}):
        holding = [own[task] for own in inspection._checkpoints() if task in own]
        good = [content for content in holding if not content.error]
        counts = sorted({content.items for content in good})
        shown = "–" if not counts else f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
        shots = sorted(
            {str(content.source.about["num_fewshot"]) for content in good if "num_fewshot" in content.source.about}
        )
        state = ", ".join(shots) if good else "cannot be imported"
        rows.append([task, shown, f"{len(good)}", state])
    if len(rows) > 1:
        parts += ["", *_aligned(rows)]
    if inspection.problems.errors:
        parts.append(f"\nProblems ({len(inspection.problems.errors)}):\n{listing(inspection.problems.errors)}")
    if inspection.problems.warnings:
        parts.append(f"\nWarnings ({len(inspection.problems.warnings)}):\n{listing(inspection.problems.warnings)}")
    return "\n".join(parts)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i in (0, len(widths) - 1) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def configuration(inspection: Inspection) -> str | None:
    """A configuration that imports what can be imported, to copy; None if there is nothing."""
    tasks = inspection.tasks
    if not tasks or not any(inspection.paths.values()):
        return None
    lines = ["models:"]
    for model, checkpoints in inspection.models.items():
        lines += _model_lines(inspection, model, checkpoints)
    lines += ["families:", '  - {name: all, label: All checkpoints, members: ["*/*"]}', "benchmarks:"]
    for pattern, members in _patterns_of(tasks):
        name = _UNFIT.sub("-", pattern.replace("_*", "").replace("*", "")).strip("-._") or "logs"
        label = BENCHMARKS[name].label if name in BENCHMARKS else pattern.removesuffix("_*")
        spelt = f'"{pattern}"' if set(pattern) & set("*?[|:{},&#'\"") else pattern
        sets = [inspection.items[task] for task in members]
        more = ", items: common" if any(len(own) > 1 for own in sets) else ""
        if any(len(own) > 1 and not common(list(own.values())) for own in sets):
            continue
        lines.append(f"  - {{name: {name}_logs, label: {_spelt(label)}, source: logs, task: {spelt}{more}}}")
        if name in BENCHMARKS:
            lines.append(f"  # or, with the built-in items of the same texts (fetches the archive): {{name: {name}}}")
    return "\n".join(lines) + "\n"


def _model_lines(inspection: Inspection, model: str, checkpoints: Mapping[str, Mapping[str, Content]]) -> Iterator[str]:
    path = inspection.paths[model]
    contents = [content for own in checkpoints.values() for content in own.values()]
    if path is None:
        yield f"  # {model}: nothing tells its checkpoints apart; put the logs of each into a folder of its own"
        return
    source = contents[0].source.format
    yield f"  - name: {_UNFIT.sub('-', model).strip('-._') or 'model'}"
    yield f"    source: {source}"
    yield f"    path: {_spelt(path)}"
    sizes = {c.source.about["parameters"] for c in contents if "parameters" in c.source.about}
    if len(sizes) == 1 and not any(c.source.about.get(key) for c in contents for key in ("quantised", "adapter")):
        yield f"    parameters: {sizes.pop()}    # as the logs say; embeddings included, tied weights once"
    else:
        yield f"    parameters: {FILL_IN}    # exact number, embeddings included, tied weights once"
    steps = all(re.fullmatch(r"\D*(\d+)", name) for name in checkpoints)
    if steps:
        per_step = FILL_IN if inspection.tokens_per_step is None else inspection.tokens_per_step
        yield f"    tokens_per_step: {per_step}    # training tokens in a step"
        yield f"    checkpoints: [{', '.join(_spelt(name) for name in checkpoints)}]"
        return
    yield "    checkpoints:"
    for name in checkpoints:
        yield f"      - {{name: {_spelt(name)}, tokens: {FILL_IN}}}"


def _spelt(text: str) -> str:
    plain_text = re.fullmatch(r"[A-Za-z_/.][A-Za-z0-9_./ -]*", text) and not re.fullmatch(
        r"(?i)true|false|null|yes|no", text
    )
    return text if plain_text else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _patterns_of(tasks: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The tasks, those of MMLU as one pattern."""
    groups = [name for name, definition in BENCHMARKS.items() if definition.subjects and not definition.subject]
    result: list[tuple[str, list[str]]] = []
    taken: set[str] = set()
    for group in groups:
        members = [task for task in tasks if task.startswith(f"{group}_")]
        if len(members) > 1:
            result.append((f"{group}_*", members))
            taken |= set(members)
    return sorted([*result, *((task, [task]) for task in tasks if task not in taken)])
