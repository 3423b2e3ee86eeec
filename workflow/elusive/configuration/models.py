"""Models and their checkpoints, from the entries of a configuration: built-in, of the hub, or of the ladder.

Those in directories of the user's own are read by :mod:`elusive.configuration.local`.

Compute is 6·N·D floating-point operations (Kaplan et al. 2020), with N all parameters, as in the paper.
``compute: nominal`` takes the rounded N and D that the paper took.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any

from elusive.configuration import catalogue
from elusive.configuration.messages import NAMES_SHOWN, Blame, suggestion


@dataclass(frozen=True)
class Checkpoint:
    """One set of weights.

    ``tokens`` it was trained on and, where there is one, the paper's rounded number of them, ``tokens_nominal``;
    ``flops`` = 6·N·D by exact or nominal N and D, as :attr:`Registry.compute` says; ``path`` of a local one and
    ``weights``, its files by device and inode; ``revision`` (branch, tag or commit) of one on the hub.
    """

    model: str
    name: str
    tokens: int
    flops: float
    path: str | None = None
    revision: str | None = None
    tokens_nominal: int | None = None
    weights: frozenset[tuple[int, int]] = frozenset()


@dataclass(frozen=True)
class Model:
    """A model and its checkpoints in order of tokens.

    ``source`` is ``hub``, ``local`` or ``ladder``; a built-in model is one of the hub. ``parameters`` counts all of
    them, tied weights once. ``add_bos_token`` puts the tokenizer's BOS before each context or never does, None leaves
    it to the tokenizer. ``max_length`` is the most tokens that it is fed, None its own length. ``shape`` holds width
    and layers of a ladder model. For a model of the hub, ``repo`` is its repository, ``weights_bytes`` an estimate of
    what one checkpoint weighs in bytes, and ``verified`` what the catalogue says of a built-in one (None of one that
    the configuration describes). Of one from a published data set, ``source`` is ``published``, ``origin`` the source
    that it had, and ``validation_losses`` (nats per token) are those of its checkpoints, as far as they are known.
    """

    name: str
    source: str
    parameters: int
    parameters_nonembedding: int | None
    checkpoints: tuple[Checkpoint, ...]
    dtype: str = "float32"
    add_bos_token: bool | None = None
    max_length: int | None = None
    shape: dict[str, int] = field(default_factory=dict)
    repo: str | None = None
    parameters_nominal: int | None = None
    trust_remote_code: bool = False
    weights_bytes: int | None = None
    verified: bool | None = None
    notes: str = ""
    origin: str | None = None
    validation_losses: dict[str, float] = field(default_factory=dict)

    @property
    def trained_here(self) -> bool:
        """Whether this workflow trained it, in this run or in the one that published it."""
        return "ladder" in (self.source, self.origin)

    @property
    def scoring_options(self) -> dict[str, Any]:
        """What a scoring job is told of this model where the configuration sets it, by the keys of the job."""
        options: dict[str, Any] = {} if self.max_length is None else {"max_length": self.max_length}
        # Of a model of the hub the download is told it too.
        return options | ({"trust_remote_code": True} if self.source == "local" and self.trust_remote_code else {})


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
    """The model of an entry at ``index``, no local one; ``ladder`` is the configuration's section with its defaults."""
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
        # The ladder's tokenizer adds none by itself.
        return Model(entry["name"], "ladder", parameters, nonembedding, checkpoints, add_bos_token=False, shape=shape)
    return _hub_model(entry, index, blame)


def checkpoint_names(entry: dict[str, Any], index: int, blame: Blame) -> list[str]:
    """The names of an entry's checkpoints. Raises :class:`ElusiveError` where one stands there twice."""
    names = [item["name"] if isinstance(item, dict) else item for item in entry["checkpoints"]]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise blame.error(["models", index, "checkpoints", i], f"{name!r} stands there twice")
    return names


def check_nonembedding(parameters: int, entry: dict[str, Any], index: int, blame: Blame) -> None:
    """Raise :class:`ElusiveError` where a part of the ``parameters`` is more than all of them."""
    if entry.get("parameters_nonembedding", 0) > parameters:
        raise blame.error(
            ["models", index, "parameters_nonembedding"],
            f"{entry['parameters_nonembedding']} is more than all 'parameters', {parameters}",
        )


#: A name that says step and nothing else. A number behind another word may be a seed, a size, or billions of tokens.
_STEP = re.compile(r"(?:(?:global[-_]?)?steps?|iter(?:s|ations?)?|checkpoint|ckpt)?[-_.]?(\d+)", re.IGNORECASE)
_STEP_EXAMPLES = "step1000, global_step1000, iter_1000, checkpoint-1000, ckpt_1000 or 1000"


def tokens(entry: dict[str, Any], index: int, position: int, blame: Blame) -> int:
    """Training tokens of a checkpoint, as given or by the step in its name.

    Raises :class:`ElusiveError` where there are none and the name does not say a step.
    """
    item = entry["checkpoints"][position]
    name, given = (item["name"], item.get("tokens")) if isinstance(item, dict) else (item, None)
    if given is not None:
        return given
    step = _STEP.fullmatch(name)
    if step is None or "tokens_per_step" not in entry:
        where = ["models", index, "checkpoints", position]
        unknown = f"the training tokens of {name!r} are not known: write {{name: {name}, tokens: …}}"
        if step is not None:
            raise blame.error(where, f"{unknown}, or give the model tokens_per_step")
        raise blame.error(where, f"{unknown}; tokens_per_step goes with names that say a step, as {_STEP_EXAMPLES}")
    return int(step[1]) * entry["tokens_per_step"]


def _hub_model(entry: dict[str, Any], index: int, blame: Blame) -> Model:
    checkpoint_names(entry, index, blame)
    check_nonembedding(entry["parameters"], entry, index, blame)
    checkpoints: list[Checkpoint] = []
    for i, item in enumerate(entry["checkpoints"]):
        described = item if isinstance(item, dict) else {"name": item}
        trained = tokens(entry, index, i, blame)
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
                trained,
                flops(entry["parameters"], trained),
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
        add_bos_token=entry.get("add_bos_token"),
        max_length=entry.get("max_length"),
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
    if model.source != "hub":
        lack = "no nominal numbers, since it is not one of the hub"
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
