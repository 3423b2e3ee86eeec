"""Families: the sets of checkpoints over which scores are correlated with compute."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import Any

from elusive.configuration.messages import Blame, suggestion
from elusive.configuration.models import Checkpoint, Model

MIN_CHECKPOINTS = 3


@dataclass(frozen=True)
class Family:
    """Checkpoints over which scores are correlated with compute, in order of FLOPs.

    ``allow_duplicates``: members may have the same weights or scores.
    """

    name: str
    label: str
    members: tuple[Checkpoint, ...]
    plotted: bool = True
    allow_duplicates: bool = False


def build_family(entry: dict[str, Any], index: int, models: dict[str, Model], blame: Blame) -> Family:
    """The family of an entry at ``index``.

    Raises :class:`ElusiveError` for a pattern that matches no checkpoint, for too few checkpoints, and for two with the
    same weights unless the entry allows it.
    """
    everything = [checkpoint for model in models.values() for checkpoint in model.checkpoints]
    members: dict[tuple[str, str], Checkpoint] = {}
    for i, pattern in enumerate(entry["members"]):
        model_pattern, checkpoint_pattern = pattern.split("/")
        of_model = [c for c in everything if fnmatch.fnmatchcase(c.model, model_pattern)]
        found = [c for c in of_model if fnmatch.fnmatchcase(c.name, checkpoint_pattern)]
        if not of_model:
            raise blame.error(
                ["families", index, "members", i],
                f"no model is called {model_pattern!r}{suggestion(model_pattern, models)}",
            )
        if not found:
            names = dict.fromkeys(c.name for c in of_model)
            raise blame.error(
                ["families", index, "members", i],
                f"{model_pattern} has no checkpoint {checkpoint_pattern!r}{suggestion(checkpoint_pattern, names)}",
            )
        members |= {(c.model, c.name): c for c in found}
    distinct = {c.flops for c in members.values() if c.flops > 0}
    if len(distinct) < MIN_CHECKPOINTS:
        raise blame.error(
            ["families", index, "members"],
            f"family {entry['name']!r} has {len(distinct)} checkpoint(s) of distinct compute above zero; "
            f"a correlation needs at least {MIN_CHECKPOINTS}. Its members are: "
            + ", ".join(f"{c.model}/{c.name} with {c.tokens} tokens" for c in members.values()),
        )
    ordered = tuple(sorted(members.values(), key=lambda c: (c.flops, c.model, c.name)))
    allow_duplicates = entry.get("allow_duplicates", False)
    if not allow_duplicates:
        _check_duplicates(entry["name"], ordered, models, index, blame)
    return Family(
        entry["name"], entry.get("label", entry["name"]), ordered, entry.get("plotted", True), allow_duplicates
    )


def _check_duplicates(
    name: str, members: tuple[Checkpoint, ...], models: dict[str, Model], index: int, blame: Blame
) -> None:
    """Raise where two members' weights are the same: the same files, or the same revision of a repository."""
    seen: dict[object, Checkpoint] = {}
    for checkpoint in members:
        weights = checkpoint.weights or (models[checkpoint.model].repo, checkpoint.revision)
        if weights == (None, None):
            continue
        first = seen.setdefault(weights, checkpoint)
        if first is not checkpoint:
            both = " and ".join(f"{c.model}/{c.name} ({_place(c, models)})" for c in (first, checkpoint))
            raise blame.error(
                ["families", index, "members"],
                f"{both} of family {name!r} have the same weights: leave one out, or, if both are meant to count, "
                "write `allow_duplicates: true` in the family",
            )


def _place(checkpoint: Checkpoint, models: dict[str, Model]) -> str:
    return checkpoint.path or f"{models[checkpoint.model].repo}@{checkpoint.revision}"
