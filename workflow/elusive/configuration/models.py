"""Models and their checkpoints, from the entries of a configuration: built-in, of the hub, local, or of the ladder.

Compute is 6·N·D floating-point operations (Kaplan et al. 2020), with N all parameters, as in the paper.
``compute: nominal`` takes the rounded N and D that the paper took.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elusive.configuration import catalogue
from elusive.configuration.messages import NAMES_SHOWN, Blame, suggestion


@dataclass(frozen=True)
class Checkpoint:
    """One set of weights.

    ``tokens`` it was trained on and, where there is one, the paper's rounded number of them, ``tokens_nominal``;
    ``flops`` = 6·N·D by exact or nominal N and D, as :attr:`Registry.compute` says; ``path`` of a local one,
    ``revision`` (branch, tag or commit) of one on the hub, or by which its logs are found; ``run`` (its time, or a
    folder) of the logs that are meant.
    """

    model: str
    name: str
    tokens: int
    flops: float
    path: str | None = None
    revision: str | None = None
    tokens_nominal: int | None = None
    run: str | None = None


@dataclass(frozen=True)
class Model:
    """A model and its checkpoints in order of tokens.

    ``source`` is ``hub``, ``local`` or ``ladder``, or a format of logs; a built-in model is one of the hub.
    ``parameters`` counts all of them, tied weights once. ``shape`` holds width and layers of a ladder model. For a
    model of the hub, ``repo`` is its repository, ``weights_bytes`` an estimate of what one checkpoint weighs in bytes,
    and ``verified`` what the catalogue says of a built-in one (None of one that the configuration describes). ``logs``
    of an imported model says where they lie (``path``) and how they are to be read.
    """

    name: str
    source: str
    parameters: int
    parameters_nonembedding: int | None
    checkpoints: tuple[Checkpoint, ...]
    dtype: str = "float32"
    add_bos_token: bool | None = False
    shape: dict[str, int] = field(default_factory=dict)
    repo: str | None = None
    parameters_nominal: int | None = None
    trust_remote_code: bool = False
    weights_bytes: int | None = None
    verified: bool | None = None
    notes: str = ""
    logs: dict[str, Any] = field(default_factory=dict)


def ladder_parameters(vocabulary: int, width: int, layers: int) -> tuple[int, int]:
    """Parameters of a ladder model: all (tied embeddings counted once), and without embeddings.

    A GPT-NeoX layer of width d has the attention's 4d² + 4d, the feed-forward's 8d² + 5d and two layer norms' 4d;
    the final layer norm has 2d.
    """
    nonembedding = layers * (12 * width**2 + 13 * width) + 2 * width
    return nonembedding + vocabulary * width, nonembedding


def flops(parameters: int, tokens: int) -> float:
    """Pretraining compute 6·N·D in floating-point operations."""
    return 6.0 * parameters * tokens


def build_model(entry: dict[str, Any], index: int, ladder: dict[str, Any], blame: Blame) -> Model:
    """The model of an entry at ``index``; ``ladder`` is the configuration's section with its defaults."""
    if "source" not in entry:
        return _builtin_model(entry, index, blame)
    if entry["source"] == "ladder":
        parameters, nonembedding = ladder_parameters(ladder["vocabulary"], entry["width"], entry["layers"])
        per_step = ladder["batch"] * ladder["context"]
        checkpoints = tuple(
            Checkpoint(entry["name"], f"step{step}", step * per_step, flops(parameters, step * per_step))
            for step in ladder["checkpoints"]
        )
        shape = {"width": entry["width"], "layers": entry["layers"]}
        return Model(entry["name"], "ladder", parameters, nonembedding, checkpoints, shape=shape)
    if entry["source"] == "hub":
        return _hub_model(entry, index, blame)
    return _local_model(entry, index, blame)


def checkpoint_names(entry: dict[str, Any], index: int, blame: Blame) -> list[str]:
    """Names of the checkpoints of an entry at ``index``, which must differ."""
    names = [item["name"] if isinstance(item, dict) else item for item in entry["checkpoints"]]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise blame.error(["models", index, "checkpoints", i], f"{name!r} stands there twice")
    return names


def check_parameters(entry: dict[str, Any], index: int, blame: Blame) -> None:
    """Raise :class:`ElusiveError` when an entry has more parameters outside the embeddings than in all."""
    if entry.get("parameters_nonembedding", 0) > entry["parameters"]:
        raise blame.error(
            ["models", index, "parameters_nonembedding"],
            f"{entry['parameters_nonembedding']} is more than all 'parameters', {entry['parameters']}",
        )


def training_tokens(entry: dict[str, Any], index: int, position: int, blame: Blame) -> int:
    """Training tokens of a checkpoint, as given or by the step in its name."""
    item = entry["checkpoints"][position]
    name, tokens = (item["name"], item.get("tokens")) if isinstance(item, dict) else (item, None)
    if tokens is not None:
        return tokens
    step = re.fullmatch(r"\D*(\d+)", name)
    if step is None or "tokens_per_step" not in entry:
        raise blame.error(
            ["models", index, "checkpoints", position],
            f"the training tokens of {name!r} are not known: write {{name: {name}, tokens: …}}, or give the model "
            "tokens_per_step and name the checkpoint by its step, as in step1000",
        )
    return int(step[1]) * entry["tokens_per_step"]


def _local_model(entry: dict[str, Any], index: int, blame: Blame) -> Model:
    names = checkpoint_names(entry, index, blame)
    if len(names) > 1 and "{checkpoint}" not in entry["path"]:
        raise blame.error(
            ["models", index, "path"],
            f"{entry['path']!r} is the same directory for all {len(names)} checkpoints: write {{checkpoint}} where "
            "their names stand",
        )
    check_parameters(entry, index, blame)
    checkpoints = tuple(_local_checkpoint(entry, index, i, blame) for i in range(len(names)))
    return Model(
        name=entry["name"],
        source="local",
        parameters=entry["parameters"],
        parameters_nonembedding=entry.get("parameters_nonembedding"),
        checkpoints=tuple(sorted(checkpoints, key=lambda c: (c.tokens, c.name))),
        dtype=entry.get("dtype", "float32"),
        add_bos_token=entry.get("add_bos_token", False),
    )


def _local_checkpoint(entry: dict[str, Any], index: int, position: int, blame: Blame) -> Checkpoint:
    where = ["models", index, "checkpoints", position]
    item = entry["checkpoints"][position]
    name = item["name"] if isinstance(item, dict) else item
    tokens = training_tokens(entry, index, position, blame)
    path = Path(entry["path"].replace("{checkpoint}", name))
    try:
        path = path.expanduser()
    except RuntimeError as error:
        raise blame.error(["models", index, "path"], f"{str(path)!r} is of a user who does not exist") from error
    if not path.is_dir():
        raise blame.error(where, f"there is no directory {path.absolute()} for {entry['name']}/{name}")
    if not (path / "config.json").is_file():
        raise blame.error(where, f"{path} has no config.json: it is no checkpoint in Hugging Face format")
    return Checkpoint(entry["name"], name, tokens, flops(entry["parameters"], tokens), str(path))


def _hub_model(entry: dict[str, Any], index: int, blame: Blame) -> Model:
    checkpoint_names(entry, index, blame)
    check_parameters(entry, index, blame)
    checkpoints: list[Checkpoint] = []
    for i, item in enumerate(entry["checkpoints"]):
        described = item if isinstance(item, dict) else {"name": item}
        tokens = training_tokens(entry, index, i, blame)
        revision = described.get("revision", described["name"])
        same = next((other for other in checkpoints if other.revision == revision), None)
        if same is not None:
            raise blame.error(
                ["models", index, "checkpoints", i],
                f"{described['name']!r} and {same.name!r} are both revision {revision!r}",
            )
        checkpoints.append(
            Checkpoint(
                entry["name"],
                described["name"],
                tokens,
                flops(entry["parameters"], tokens),
                revision=revision,
                tokens_nominal=described.get("tokens_nominal"),
            )
        )
    dtype = entry.get("dtype", "float32")
    gigabytes = entry.get("download_gb")
    return Model(
        name=entry["name"],
        source="hub",
        parameters=entry["parameters"],
        parameters_nonembedding=entry.get("parameters_nonembedding"),
        checkpoints=tuple(sorted(checkpoints, key=lambda c: (c.tokens, c.name))),
        dtype=dtype,
        add_bos_token=entry.get("add_bos_token", False),
        repo=entry["repo"],
        parameters_nominal=entry.get("parameters_nominal"),
        trust_remote_code=entry.get("trust_remote_code", False),
        weights_bytes=entry["parameters"] * catalogue.BYTES[dtype] if gigabytes is None else round(gigabytes * 1e9),
    )


def _builtin_model(entry: dict[str, Any], index: int, blame: Blame) -> Model:
    built_in = catalogue.load()[entry["name"]]
    asked = list(entry.get("checkpoints", built_in.default))
    found = [built_in.checkpoint(name) for name in asked]
    for i, (name, checkpoint) in enumerate(zip(asked, found, strict=True)):
        if checkpoint is None:
            raise blame.error(
                ["models", index, "checkpoints", i],
                f"{entry['name']} has no checkpoint {name!r}{suggestion(name, built_in.names())}; one that is not "
                "listed here can be described by a model with `source: hub`",
            )
    described = {**built_in.described, **entry, "checkpoints": found}
    model = _hub_model(described, index, blame)
    return dataclasses.replace(
        model, weights_bytes=built_in.weights_bytes, verified=built_in.verified, notes=built_in.notes
    )


def with_nominal_flops(model: Model, index: int, blame: Blame) -> Model:
    """``model`` with the compute of the paper's rounded numbers. Raises :class:`ElusiveError` where one is missing."""
    if model.source in ("local", "ladder"):
        lack = f"no nominal numbers, since its source is {model.source}"
    elif model.parameters_nominal is None:
        lack = "no nominal number of parameters (parameters_nominal)"
    elif without := [checkpoint.name for checkpoint in model.checkpoints if checkpoint.tokens_nominal is None]:
        lack = f"no nominal number of tokens (tokens_nominal) for {', '.join(without[:NAMES_SHOWN])}"
    else:
        lack = None
    if lack is not None:
        raise blame.error(
            ["models", index],
            f"{model.name} has {lack}, and `compute: nominal` takes nothing else; `compute: exact` takes exact numbers",
        )
    checkpoints = tuple(
        dataclasses.replace(checkpoint, flops=flops(model.parameters_nominal, checkpoint.tokens_nominal))
        for checkpoint in model.checkpoints
    )
    return dataclasses.replace(model, checkpoints=checkpoints)
