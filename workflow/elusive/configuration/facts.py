"""What is known of a benchmark's texts: licence, whether they may be passed on, homepage and citation.

``workflow/registry/benchmarks.yaml`` holds it for the built-in benchmarks; what its keys mean stands at its head.
Nothing heavy is imported.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from elusive.configuration.messages import Blame, suggestion
from elusive.items.benchmarks import BENCHMARKS
from elusive.items.held_out import HELD_OUT

FILE = Path(__file__).parents[2] / "registry" / "benchmarks.yaml"
_SUBJECT_OF = "mmlu"


@dataclass(frozen=True)
class Facts:
    """Facts of a benchmark's texts; None where they are not known.

    ``share`` is ``yes``, ``noncommercial`` or ``no``: whether the licence lets anybody pass the texts on.
    """

    license: str | None = None
    license_source: str | None = None
    license_note: str | None = None
    share: str | None = None
    homepage: str | None = None
    citation: str | None = None


@functools.cache
def _content() -> dict[str, Any]:
    return yaml.load(FILE.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@functools.cache
def load() -> dict[str, Facts]:
    """Facts of the benchmarks that the file names."""
    found = {}
    for entry in _content()["benchmarks"]:
        facts = {key: value.strip() if isinstance(value, str) else value for key, value in entry.items()}
        names = facts.pop("names")
        found |= dict.fromkeys(names, Facts(**facts))
    return found


def of_benchmark(name: str) -> Facts:
    """Facts of the benchmark ``name``; those of MMLU for one of its subjects, nothing for one that is not built in."""
    definition = BENCHMARKS.get(name)
    return load().get(_SUBJECT_OF if definition and definition.subject else name, Facts())


def ladder_texts() -> list[dict[str, str]]:
    """``name``, ``license``, ``license_source`` and perhaps ``license_note`` of each part of the ladder's text."""
    return [dict(entry) for entry in _content()["ladder"]]


def obstacle(name: str, facts: Facts, named: bool) -> str | None:
    """Why the texts of the benchmark ``name`` may not be published, or None.

    ``named``: whether they were asked for by name, so that whoever did so has seen what the licence asks.
    """
    if facts.share == "yes":
        return None
    if facts.share == "noncommercial":
        return None if named else f"its licence, {facts.license}, allows that for non-commercial purposes only"
    if facts.share == "no":
        return f"its licence does not allow that: {facts.license_note or facts.license}"
    if name in BENCHMARKS:
        return f"its licence is not known ({facts.license_source})"
    return None if named else "its licence is not known"


def check_texts(settings: Mapping[str, Any], facts: Mapping[str, Facts], blame: Blame) -> None:
    """Raise :class:`ElusiveError` for a name in ``publish`` that is none, or texts that may not be published.

    ``settings`` is the section with its defaults, ``facts`` has what is known of each configured benchmark.
    """
    named = settings["texts"] if isinstance(settings["texts"], list) else []
    for i, name in enumerate(named):
        if name not in facts:
            raise blame.error(["publish", "texts", i], f"{name!r} is not among the benchmarks{suggestion(name, facts)}")
        if problem := obstacle(name, facts[name], named=True):
            raise blame.error(["publish", "texts", i], f"the texts of {name} may not be published: {problem}")
    for name in settings["licenses"]:
        if name not in facts:
            raise blame.error(["publish", "licenses", name], f"is not among the benchmarks{suggestion(name, facts)}")
        if name in BENCHMARKS or name in HELD_OUT:
            raise blame.error(
                ["publish", "licenses", name], "is built in; workflow/registry/benchmarks.yaml has its licence"
            )


def with_texts(settings: Mapping[str, Any], facts: Mapping[str, Facts]) -> dict[str, str | None]:
    """Benchmark -> None if its texts are to be published, else why not."""
    asked = settings["texts"]
    if not asked:
        return dict.fromkeys(facts, "texts were not asked for")
    if isinstance(asked, list):
        return {name: None if name in asked else "its texts were not asked for" for name in facts}
    return {name: obstacle(name, entry, named=False) for name, entry in facts.items()}
