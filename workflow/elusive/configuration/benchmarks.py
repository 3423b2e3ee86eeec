"""Benchmarks from the entries of a configuration, patterns among them, and the batches in which they are scored."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elusive.configuration.messages import Blame, did_you_mean, suggestion
from elusive.errors import ElusiveError
from elusive.items.benchmarks import BENCHMARKS
from elusive.items.held_out import HELD_OUT, NUM_ITEMS
from elusive.items.sources import FILE_SUFFIXES, archive_has, user_path

_TEMPLATE_KEYS = ("context", "contexts", "choices", "gold", "id", "subject", "cluster", "delimiter")
_HUB_KEYS = ("dataset", "config", "split", "revision", "shots_split")
LADDER = "ladder"


@dataclass(frozen=True)
class Benchmark:
    """A benchmark as configured. ``source`` of its rows is archive, hub, file with ``files``, logs or ladder.

    ``unconditional`` asks for every choice's log-likelihood behind an empty context too. ``spec`` is what its items
    are made by. ``tasks`` are what logs call it, where the configuration says so.
    """

    name: str
    label: str
    source: str
    files: tuple[str, ...]
    spec: dict[str, Any]
    unconditional: bool = False
    tasks: tuple[str, ...] = ()

    @property
    def has_subjects(self) -> bool:
        """Whether its items are of several subjects, by which statistics are kept too."""
        builtin = BENCHMARKS.get(self.name)
        return bool(builtin.subjects and not builtin.subject) if builtin else "subject" in self.spec

    def items_spec(self, seed: int) -> dict[str, Any]:
        """What decides its items: not its label, nor a limit or ``seed`` that leaves none of them out."""
        spec = {key: value for key, value in self.spec.items() if key != "label" and value is not None}
        builtin = BENCHMARKS.get(self.name)
        every = max(builtin.num_items.values()) if builtin else NUM_ITEMS if self.source == LADDER else None
        if every is not None and spec.get("limit", 0) >= every:
            del spec["limit"]
        return spec | ({"seed": seed} if "limit" in spec or self.source == LADDER else {})


def expand_patterns(entries: Iterable[tuple[int, dict[str, Any]]], blame: Blame) -> list[tuple[int, dict[str, Any]]]:
    """Position in the configuration, and entry, of each benchmark: one per built-in name that a pattern matches."""
    expanded: list[tuple[int, dict[str, Any]]] = []
    for i, entry in entries:
        pattern = entry["name"]
        if not _is_pattern(pattern):
            expanded.append((i, entry))
            continue
        names = [name for name in BENCHMARKS if fnmatch.fnmatchcase(name, pattern)]
        if not names:
            raise blame.error(
                ["benchmarks", i, "name"], f"no built-in benchmark matches {pattern!r}{_builtin_suggestion(pattern)}"
            )
        for key in ("label", "file", "dataset", "task", *_TEMPLATE_KEYS):
            if key in entry:
                raise blame.error(
                    ["benchmarks", i, key], f"{pattern!r} stands for {len(names)} built-in benchmarks: give it to one"
                )
        expanded += [(i, entry | {"name": name}) for name in names]
    return expanded


def _builtin_suggestion(name: str) -> str:
    # The subjects would hide all other names.
    names = [
        *(known for known, definition in BENCHMARKS.items() if not definition.subject),
        "mmlu_<subject>",
        *HELD_OUT,
    ]
    return f"{did_you_mean(name, [*BENCHMARKS, *HELD_OUT])} (allowed: {', '.join(names)})"


def _is_pattern(name: str) -> bool:
    return "*" in name or "?" in name


def build_benchmark(entry: dict[str, Any], index: int, sources: list[str], blame: Blame) -> Benchmark:
    """The benchmark of an entry at ``index``; ``sources`` are the configuration's, in order of preference."""
    where = ["benchmarks", index]
    name = entry["name"]
    for key in ("file", "shots_file"):
        if key in entry:
            try:
                entry = entry | {key: str(user_path(entry[key]))}
            except ElusiveError as error:
                raise blame.error([*where, key], str(error)) from error
    unconditional = entry.get("unconditional", False)
    spec = {key: value for key, value in entry.items() if key not in ("unconditional", "task")}
    if "file" in entry and "dataset" in entry:
        raise blame.error([*where, "file"], "rows come from a 'file' or from a 'dataset' of the hub, not from both")
    if name in BENCHMARKS:
        return _builtin(spec, where, sources, unconditional, blame)
    if name in HELD_OUT:
        others = [key for key in (*_TEMPLATE_KEYS, *_HUB_KEYS, "file", "shots_file") if key in entry]
        _refuse_keys(entry, others, where, f"{name} is made of the ladder's held-out text", blame)
        if entry.get("num_fewshot"):
            raise blame.error([*where, "num_fewshot"], f"is not allowed: {name} has no solved examples")
        if entry.get("source", LADDER) != LADDER:
            raise blame.error(
                [*where, "source"], f"{entry['source']!r} is not allowed: {name} is made of held-out text"
            )
        return Benchmark(
            name, entry.get("label", HELD_OUT[name].label), LADDER, (), spec | {"source": LADDER}, unconditional
        )
    if "file" not in entry and "dataset" not in entry:
        raise blame.error(
            [*where, "name"],
            f"unknown benchmark {name!r}{_builtin_suggestion(name)}; an own benchmark needs the key 'file' or "
            "'dataset', or `source: logs` where models are imported",
        )
    source = "file" if "file" in entry else "hub"
    if entry.get("source", source) != source:
        key = "file" if source == "file" else "dataset"
        raise blame.error([*where, "source"], f"{entry['source']!r} is not allowed: with {key!r} it is {source}")
    if source == "file":
        _refuse_keys(entry, _HUB_KEYS, where, "this key goes with 'dataset', and the rows come from a file", blame)
    from elusive.items.own import validate_own  # imports Jinja, which only own benchmarks need

    spec = {**spec, "source": source}
    try:
        validate_own(spec)
    except ElusiveError as error:
        raise blame.error(where, str(error)) from error
    return Benchmark(name, entry.get("label", name), source, _files(entry), spec, unconditional)


def _builtin(
    entry: dict[str, Any], where: list[str | int], sources: list[str], unconditional: bool, blame: Blame
) -> Benchmark:
    name, definition = entry["name"], BENCHMARKS[entry["name"]]
    templates = [key for key in _TEMPLATE_KEYS if key in entry]
    if templates and ("file" in entry or "dataset" in entry):
        raise blame.error([*where, "name"], f"{name!r} is the name of a built-in benchmark: choose another one")
    _refuse_keys(entry, templates, where, f"{name} is built in; this key goes with an own benchmark", blame)
    _refuse_keys(entry, ("split", "shots_split"), where, f"{name} is built in; its splits are given", blame)
    shots = entry.get("num_fewshot", 0)
    if shots and definition.shots_split is None:
        text = f"{name} has no solved examples: there is no split but the one with the questions"
        raise blame.error([*where, "num_fewshot"], f"{shots} is not allowed: {text}")
    if definition.max_shots is not None and shots > definition.max_shots:
        text = f"{name} has at most {definition.max_shots} solved examples"
        raise blame.error([*where, "num_fewshot"], f"{shots} is not allowed: {text}")
    source = entry.get("source")
    if source == LADDER:
        allowed = ", ".join(HELD_OUT)
        raise blame.error([*where, "source"], f"'ladder' is not allowed: {name} is none of its benchmarks, {allowed}")
    of_hub = [key for key in _HUB_KEYS if key in entry]
    if source is None:
        held = [each for each in sources if each != "archive" or archive_has(name, shots)]
        if "file" in entry:
            source = "file"
        elif of_hub:
            source = "hub"
        elif held:
            source = held[0]
        else:
            raise blame.error(
                [*where, "name"],
                f"the archive does not hold {_asked(name, shots)}: add hub to the 'sources', or give a 'file'",
            )
    if source == "archive" and not archive_has(name, shots):
        raise blame.error([*where, "source"], f"the archive does not hold {_asked(name, shots)}: write hub or file")
    if source != "hub":
        _refuse_keys(entry, of_hub, where, f"this key goes with the source hub, not with {source}", blame)
    if source != "file":
        _refuse_keys(entry, ("file", "shots_file"), where, f"this key goes with the source file, not {source}", blame)
        spec = entry | {"source": source}
        return Benchmark(name, entry.get("label", definition.label), source, (), spec, unconditional)
    for key in ("file", "shots_file") if shots else ("file",):
        if key not in entry:
            raise blame.error(where, f"the key {key!r} is missing: {name} is to come from a file")
        if not Path(entry[key]).is_file():
            raise blame.error([*where, key], f"there is no file {entry[key]}")
        if Path(entry[key]).suffix.lower() not in FILE_SUFFIXES:
            raise blame.error([*where, key], f"{entry[key]} must end in one of {', '.join(FILE_SUFFIXES)}")
    spec = entry | {"source": source}
    return Benchmark(name, entry.get("label", definition.label), source, _files(entry), spec, unconditional)


def _files(entry: dict[str, Any]) -> tuple[str, ...]:
    return tuple(entry[key] for key in ("file", "shots_file") if key in entry)


def _asked(name: str, shots: int) -> str:
    return f"{name} with solved examples" if shots else name


def _refuse_keys(
    entry: dict[str, Any], keys: Iterable[str], where: list[str | int], message: str, blame: Blame
) -> None:
    for key in keys:
        if key in entry:
            raise blame.error([*where, key], message)


def build_batches(batches: str | list[list[str]], names: list[str], blame: Blame) -> dict[str, tuple[str, ...]]:
    """Names of the scoring rules and the benchmarks of each."""
    if batches == "all":
        return {"score": tuple(names)}
    if batches == "each":
        return {f"score_{name}": (name,) for name in names}
    expanded: list[list[str]] = []
    for i, batch in enumerate(batches):
        expanded.append([])
        for j, pattern in enumerate(batch):
            where = ["scoring", "batches", i, j]
            found = (
                [name for name in names if fnmatch.fnmatchcase(name, pattern)] if _is_pattern(pattern) else [pattern]
            )
            if not found or found[0] not in names:
                raise blame.error(where, f"{pattern!r} is not among the benchmarks{suggestion(pattern, names)}")
            for name in found:
                if any(name in other for other in expanded):
                    raise blame.error(where, f"{name!r} stands in the batches twice")
            expanded[-1] += found
    missing = [name for name in names if not any(name in batch for batch in expanded)]
    if missing:
        raise blame.error(["scoring", "batches"], f"no batch has {', '.join(missing)}")
    return {f"score_{i + 1}": tuple(batch) for i, batch in enumerate(expanded)}
