"""Models in directories of the user's own: their checkpoints are looked at while the configuration is read.

What is wrong with checkpoints is gathered from all of them and said at once, since a run over many of them would
otherwise stop once for each.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elusive.configuration.inspection import Inspection, inspect
from elusive.configuration.messages import Blame
from elusive.configuration.models import Checkpoint, Model, check_nonembedding, checkpoint_names, flops, tokens
from elusive.errors import ElusiveError

_SHOWN = 20


@dataclass(frozen=True)
class _Fault:
    """What is wrong with a checkpoint: a sentence, and the part of it that is the same for others of its kind."""

    model: int
    position: int
    checkpoint: str
    sentence: str
    kind: str


class Faults:
    """What is wrong with local checkpoints, gathered until it is said."""

    def __init__(self) -> None:
        self._found: list[_Fault] = []

    def add(self, model: int, position: int, checkpoint: str, sentence: str, kind: str) -> None:
        """Note what is wrong with a checkpoint, which stands at ``position`` of the model at ``model``."""
        self._found.append(_Fault(model, position, checkpoint, sentence, kind))

    def check(self, blame: Blame) -> None:
        """Raise one :class:`ElusiveError` for all that was noted."""
        groups: dict[tuple[int, str], list[_Fault]] = {}
        for fault in self._found:
            groups.setdefault((fault.model, fault.kind), []).append(fault)
        if not groups:
            return
        errors = [str(self._error(group, blame)) for group in groups.values()]
        if len(errors) == 1:
            raise ElusiveError(errors[0])
        count = len({(fault.model, fault.position) for fault in self._found})
        more = [f"… and {len(errors) - _SHOWN} more"] if len(errors) > _SHOWN else []
        lines = "\n".join(f"  {line}" for line in [*errors[:_SHOWN], *more])
        raise ElusiveError(f"{count} local checkpoint{'s' * (count > 1)} cannot be scored:\n{lines}")

    @staticmethod
    def _error(group: list[_Fault], blame: Blame) -> ElusiveError:
        first, *others = group
        text = first.sentence
        if others:
            names = ", ".join(fault.checkpoint for fault in others[:_SHOWN]) + (", …" if len(others) > _SHOWN else "")
            text += f" (the same holds for {len(others)} more: {names})"
        return blame.error(["models", first.model, "checkpoints", first.position], text)


def build_local_model(entry: dict[str, Any], index: int, blame: Blame, faults: Faults) -> Model:
    """The model of an entry at ``index``; what is wrong with the directories of its checkpoints goes to ``faults``.

    Where something is, the model has no parameters and no compute. Raises :class:`ElusiveError` for other
    mistakes.
    """
    names = checkpoint_names(entry, index, blame)
    if len(names) > 1 and "{checkpoint}" not in entry["path"]:
        raise blame.error(
            ["models", index, "path"],
            f"{entry['path']!r} is the same directory for all {len(names)} checkpoints: write {{checkpoint}} where "
            "their names stand",
        )
    trained = [tokens(entry, index, i, blame) for i in range(len(names))]
    paths = [_path(entry, name, index, blame) for name in names]
    inspections = [_inspect(entry, index, i, names[i], paths[i], faults) for i in range(len(names))]
    parameters = 0
    if not any(inspection.problems for inspection in inspections):
        parameters = _parameters(entry, index, names, inspections, blame)
        check_nonembedding(parameters, entry, index, blame)
    checkpoints = [
        Checkpoint(entry["name"], name, d, flops(parameters, d), str(path), weights=inspection.weights)
        for name, d, path, inspection in zip(names, trained, paths, inspections, strict=True)
    ]
    return Model(
        name=entry["name"],
        source="local",
        parameters=parameters,
        parameters_nonembedding=entry.get("parameters_nonembedding"),
        checkpoints=tuple(sorted(checkpoints, key=lambda c: (c.tokens, c.name))),
        dtype=entry.get("dtype", "float32"),
        add_bos_token=entry.get("add_bos_token"),
        max_length=entry.get("max_length"),
        trust_remote_code=entry.get("trust_remote_code", False),
    )


def _path(entry: dict[str, Any], name: str, index: int, blame: Blame) -> Path:
    path = Path(entry["path"].replace("{checkpoint}", name))
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise blame.error(["models", index, "path"], f"{str(path)!r} is of a user who does not exist") from error


def _inspect(entry: dict[str, Any], index: int, position: int, name: str, path: Path, faults: Faults) -> Inspection:
    if not path.is_dir():
        missing = f"there is no directory {path.absolute()} for {entry['name']}/{name}"
        faults.add(index, position, name, missing, "missing")
        return Inspection(("missing",))
    inspection = inspect(path, entry.get("trust_remote_code", False), entry.get("max_length"))
    for problem in inspection.problems:
        faults.add(index, position, name, f"{path} {problem}", problem)
    return inspection


def _parameters(
    entry: dict[str, Any], index: int, names: list[str], inspections: list[Inspection], blame: Blame
) -> int:
    """The model's parameters: as counted, which must be as given where they are."""
    where, given = ["models", index, "parameters"], entry.get("parameters")
    counts = [inspection.parameters for inspection in inspections]
    known = Counter(count for count in counts if count is not None)
    if not known:
        if given is None:
            raise blame.error(
                where[:2],
                "the key 'parameters' is missing: they are counted where weights are safetensors, and those of "
                f"{entry['name']} are pickled (*.bin)",
            )
        return given
    usual = known.most_common(1)[0][0]
    other = next((i for i, count in enumerate(counts) if count not in (None, usual)), None)
    if other is not None:
        raise blame.error(
            ["models", index, "checkpoints", other],
            f"{names[other]} has {counts[other]:,} parameters, {names[counts.index(usual)]} has {usual:,}: they are "
            "not checkpoints of one model; describe each as a model of its own",
        )
    if given is not None and given != usual and any(inspection.certain for inspection in inspections):
        raise blame.error(
            where,
            f"{given} is not what the weights have, {usual} (counted in {names[counts.index(usual)]}, tied weights "
            "once); without the key they are counted",
        )
    return usual if given is None else given
