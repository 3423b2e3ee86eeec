"""What is to be forecast, and which models to decide between: the configuration's sections forecast and decide."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from elusive.configuration.families import Family
from elusive.configuration.messages import Blame, suggestion
from elusive.configuration.models import Model
from elusive.configuration.schema import with_defaults

#: Numbers of training tokens that differ by less than this share are the same.
TOLERANCE = 0.01


@dataclass(frozen=True)
class Target:
    """Parameters N and training tokens D at which the scores of a family are forecast, and what tables call it."""

    family: str
    parameters: int
    tokens: int
    label: str


@dataclass(frozen=True)
class ForecastSettings:
    """The section ``forecast``: targets, their metrics, the number of draws, and whether subjects have forecasts."""

    targets: tuple[Target, ...] = ()
    metrics: tuple[str, ...] = ()
    draws: int = 200
    subjects: bool = False


@dataclass(frozen=True)
class Group:
    """Models to decide between, by the names of their checkpoints: model -> checkpoints."""

    name: str
    label: str
    members: Mapping[str, tuple[str, ...]]


def build_forecast(
    section: Mapping[str, Any], models: Mapping[str, Model], families: Mapping[str, Family], blame: Blame
) -> ForecastSettings:
    """The settings of ``section``, with a target of every plotted family for one that names none.

    Raises :class:`ElusiveError` for an unknown family, a target without N or D, and a label used twice.
    """
    settings = with_defaults(dict(section), "forecast")
    targets: list[Target] = []
    for i, entry in enumerate(settings["targets"]):
        where = ["forecast", "targets", i]
        if "family" in entry and entry["family"] not in families:
            known = suggestion(entry["family"], families)
            raise blame.error([*where, "family"], f"no family is called {entry['family']!r}{known}")
        for key in ("parameters", "tokens"):
            given = [name for name in (key, f"{key}_times") if name in entry]
            if len(given) == 2:
                raise blame.error([*where, given[1]], f"a target has {given[0]!r} or {given[1]!r}, not both")
            if not given:
                raise blame.error(where, f"a target needs {key!r} or '{key}_times'")
        for name in [entry["family"]] if "family" in entry else [f.name for f in families.values() if f.plotted]:
            largest = families[name].members[-1]
            sizes = {"parameters": models[largest.model].parameters, "tokens": largest.tokens}
            numbers = {
                key: entry[key] if key in entry else max(1, round(entry[f"{key}_times"] * size))
                for key, size in sizes.items()
            }
            label = entry.get("label", f"{numbers['parameters']} parameters, {numbers['tokens']} tokens")
            if any((target.family, target.label) == (name, label) for target in targets):
                at = [*where, "label"] if "label" in entry else where
                raise blame.error(at, f"family {name!r} already has a target called {label!r}")
            targets.append(Target(name, **numbers, label=label))
    return ForecastSettings(tuple(targets), tuple(settings["metrics"]), settings["draws"], settings["subjects"])


def forecast_families(settings: ForecastSettings, families: Mapping[str, Family]) -> list[str]:
    """The families that have forecasts: those that figures show, and those that a target names."""
    asked = {target.family for target in settings.targets}
    return [name for name, family in families.items() if family.plotted or name in asked]


def build_groups(
    entries: Sequence[Mapping[str, Any]],
    models: Mapping[str, Model],
    families: Mapping[str, Family],
    forecast: Sequence[str],
    blame: Blame,
) -> dict[str, Group]:
    """Groups by name: those of ``entries``, after the ``forecast`` families whose models share two numbers of tokens.

    Raises :class:`ElusiveError` for a name in use, a pattern that matches nothing, and models that cannot be compared.
    """
    groups: dict[str, Group] = {}
    for name in forecast:
        members: dict[str, dict[str, int]] = {}
        for checkpoint in families[name].members:
            if checkpoint.tokens > 0:
                members.setdefault(checkpoint.model, {})[checkpoint.name] = checkpoint.tokens
        if len(members) > 1 and len(_shared(members)) > 1:
            groups[name] = Group(name, families[name].label, _names(members))
    for i, entry in enumerate(entries):
        where = ["decide", i]
        if entry["name"] in groups or entry["name"] in families:
            kind = "a family" if entry["name"] in families else "another group"
            raise blame.error([*where, "name"], f"{entry['name']!r} is already the name of {kind}")
        members = {}
        for j, pattern in enumerate(entry["models"]):
            found = [model for model in models.values() if fnmatch.fnmatchcase(model.name, pattern)]
            if not found:
                raise blame.error([*where, "models", j], f"no model is called {pattern!r}{suggestion(pattern, models)}")
            for model in found:
                members[model.name] = {c.name: c.tokens for c in model.checkpoints if c.tokens > 0}
        if len(members) < 2:
            raise blame.error([*where, "models"], f"a decision needs two models at least, and there is {len(members)}")
        shared = _shared(members)
        if len(shared) < 2:
            held = "; ".join(
                f"{name} has {', '.join(map(str, sorted(own.values()))) or 'none'}" for name, own in members.items()
            )
            raise blame.error(
                [*where, "models"],
                f"the models must share two numbers of training tokens at least, one to decide at and the end, and "
                f"they share {len(shared)}: {held}",
            )
        groups[entry["name"]] = Group(entry["name"], entry.get("label", entry["name"]), _names(members))
    return groups


def _names(members: Mapping[str, Mapping[str, int]]) -> dict[str, tuple[str, ...]]:
    return {model: tuple(checkpoints) for model, checkpoints in members.items()}


def _shared(members: Mapping[str, Mapping[str, int]]) -> list[dict[str, int]]:
    return shared_tokens({model: list(checkpoints.values()) for model, checkpoints in members.items()})


def shared_tokens(tokens: Mapping[str, Sequence[float]]) -> list[dict[str, float]]:
    """The numbers of tokens, by model, that all models of a group have a checkpoint of, ascending.

    ``tokens`` are those of each model's checkpoints. Numbers that differ by less than a hundredth are the same.
    """
    if not tokens or not all(tokens.values()):
        return []
    found = []
    for value in sorted(set(next(iter(tokens.values())))):
        nearest = {name: min(own, key=lambda other: abs(other - value)) for name, own in tokens.items()}
        if all(abs(other - value) <= TOLERANCE * value for other in nearest.values()):
            found.append(nearest)
    return found
