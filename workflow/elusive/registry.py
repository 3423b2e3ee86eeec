"""The registry: models, checkpoints, families and benchmarks of a configuration, checked before anything runs.

:func:`load` turns the configuration that Snakemake merged from its files into frozen objects. Whatever is wrong
with it ends in an :class:`ElusiveError` that names the file, the key, the value and what is allowed. Compute is
6·N·D floating-point operations (Kaplan et al. 2020), with N all parameters, as in the paper.

Snakemake imports this module whenever it parses the workflow, so it imports nothing heavy.
"""

from __future__ import annotations

import difflib
import fnmatch
import functools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from elusive.errors import ElusiveError
from elusive.items.benchmarks import BENCHMARKS

SCHEMA = Path(__file__).parent.parent / "schemas" / "config.schema.yaml"
MIN_CHECKPOINTS = 3


@dataclass(frozen=True)
class Checkpoint:
    """One set of weights: ``tokens`` it was trained on, ``flops`` = 6·N·D, ``path`` of a local one."""

    model: str
    name: str
    tokens: int
    flops: float
    path: str | None = None


@dataclass(frozen=True)
class Model:
    """A model and its checkpoints in order of tokens. ``shape`` holds width and layers of a ladder model."""

    name: str
    source: str
    parameters: int
    parameters_nonembedding: int | None
    checkpoints: tuple[Checkpoint, ...]
    dtype: str = "float32"
    add_bos_token: bool | None = False
    shape: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Family:
    """Checkpoints over which scores are correlated with compute, in order of FLOPs."""

    name: str
    label: str
    members: tuple[Checkpoint, ...]


@dataclass(frozen=True)
class Benchmark:
    """A benchmark as configured. ``file`` is the data file of an own benchmark, None for a built-in one."""

    name: str
    label: str
    file: str | None
    spec: dict[str, Any]


@dataclass(frozen=True)
class Registry:
    """Everything a configuration asks for, checked."""

    seed: int
    models: dict[str, Model]
    families: dict[str, Family]
    benchmarks: dict[str, Benchmark]
    ladder: dict[str, Any]
    scoring: dict[str, Any]
    batches: dict[str, tuple[str, ...]]

    def checkpoint(self, model: str, name: str) -> Checkpoint:
        """The checkpoint ``name`` of ``model``; raises KeyError."""
        return self._checkpoints[model, name]

    @functools.cached_property
    def _checkpoints(self) -> dict[tuple[str, str], Checkpoint]:
        return {(c.model, c.name): c for model in self.models.values() for c in model.checkpoints}

    @property
    def ladder_models(self) -> list[Model]:
        """The models that the workflow trains."""
        return [model for model in self.models.values() if model.source == "ladder"]


def load(config: dict[str, Any], files: Iterable[str | Path] = ()) -> Registry:
    """Check ``config`` and build the registry.

    ``files`` are the configuration files in the order in which they were merged; they serve only to say in which
    one a mistake stands. Raises :class:`ElusiveError`.
    """
    blame = _Blame([Path(file) for file in files])
    _check_schema(config, blame)
    ladder = _with_defaults(config.get("ladder", {}), "ladder")
    scoring = _with_defaults(config.get("scoring", {}), "scoring")
    ladder["checkpoints"] = sorted(ladder["checkpoints"])
    for section in ("models", "families", "benchmarks"):
        _check_unique(config[section], section, blame)
    models = {entry["name"]: _model(entry, i, ladder, blame) for i, entry in enumerate(config["models"])}
    families = {entry["name"]: _family(entry, i, models, blame) for i, entry in enumerate(config["families"])}
    benchmarks = {entry["name"]: _benchmark(entry, i, blame) for i, entry in enumerate(config["benchmarks"])}
    return Registry(
        seed=config.get("seed", 0),
        models=models,
        families=families,
        benchmarks=benchmarks,
        ladder=ladder,
        scoring=scoring,
        batches=_batches(scoring["batches"], list(benchmarks), blame),
    )


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


class _Blame:
    """Finds the configuration file that a key comes from and words the error."""

    def __init__(self, files: list[Path]) -> None:
        self._files = files

    def error(self, path: Iterable[str | int], message: str) -> ElusiveError:
        path = list(path)
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
        file = self._file(path[0] if path else None)
        return ElusiveError(f"{file}: {where}: {message}" if where else f"{file}: {message}")

    def _file(self, key: str | int | None) -> str:
        # Later files overrule earlier ones.
        for file in reversed(self._files):
            try:
                content = yaml.safe_load(file.read_text(encoding="utf-8"))
            except (OSError, yaml.YAMLError):
                continue
            if key is None or (isinstance(content, dict) and key in content):
                return str(file)
        return "configuration (--config)"


def check_syntax(file: str | Path) -> None:
    """Raise :class:`ElusiveError` with line and column when ``file`` is missing or not YAML."""
    try:
        yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise ElusiveError(f"{file}: cannot be read: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ElusiveError(f"{file}: not valid YAML: {error}") from error


@functools.cache
def _schema() -> dict[str, Any]:
    return yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))


def _with_defaults(section: dict[str, Any], name: str) -> dict[str, Any]:
    properties = _schema()["$defs"][name]["properties"]
    return {key: entry["default"] for key, entry in properties.items() if "default" in entry} | section


def suggestion(name: str, known: Iterable[str]) -> str:
    """'; did you mean …?' and the known names, for the end of a message about an unknown name."""
    known = list(known)
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"{hint} (allowed: {', '.join(known)})"


def _leaves(errors: Iterable[jsonschema.ValidationError]) -> Iterator[jsonschema.ValidationError]:
    for error in errors:
        # if/then branches wrap their errors; the message that helps is the one inside.
        if error.validator in ("if", "allOf") and error.context:
            yield from _leaves(error.context)
        else:
            yield error


def _check_schema(config: dict[str, Any], blame: _Blame) -> None:
    validator = jsonschema.Draft202012Validator(_schema())
    errors = list(_leaves(validator.iter_errors(config)))
    if not errors:
        return
    # A misspelt key also makes a required one missing: say the misspelling.
    error = min(errors, key=lambda e: (e.validator != "additionalProperties", e.validator == "required", str(e.path)))
    path = list(error.absolute_path)
    if error.validator == "additionalProperties":
        allowed = error.schema.get("properties", {})
        key = next(key for key in error.instance if key not in allowed)
        raise blame.error([*path, key], f"unknown key{suggestion(key, allowed)}")
    if error.validator == "required":
        missing = [key for key in error.validator_value if key not in error.instance]
        raise blame.error(path, f"the key {missing[0]!r} is missing")
    raise blame.error(path, f"{error.instance!r} is not allowed: {_explain(error)}")


def _explain(error: jsonschema.ValidationError) -> str:
    value = error.validator_value
    match error.validator:
        case "enum":
            return f"use one of {', '.join(map(str, value))}"
        case "type":
            return f"it must be of type {' or '.join([value] if isinstance(value, str) else value)}"
        case "minimum" | "exclusiveMinimum":
            return f"it must be {'at least' if error.validator == 'minimum' else 'more than'} {value}"
        case "maximum":
            return f"it must be at most {value}"
        case "multipleOf":
            return f"it must be a multiple of {value}"
        case "minItems":
            return f"it needs at least {value} entry"
        case "uniqueItems":
            return "an entry stands there twice"
        case "pattern":
            return f"it must match {value}"
        case "anyOf":
            return "it must be one of: " + "; ".join(sorted({_explain(context) for context in error.context}))
        case _:
            return error.message


def _check_unique(entries: list[dict[str, Any]], section: str, blame: _Blame) -> None:
    seen: dict[str, int] = {}
    for i, entry in enumerate(entries):
        if entry["name"] in seen:
            first = seen[entry["name"]]
            raise blame.error([section, i, "name"], f"{entry['name']!r} is already the name of {section}[{first}]")
        seen[entry["name"]] = i


def _model(entry: dict[str, Any], index: int, ladder: dict[str, Any], blame: _Blame) -> Model:
    if entry["source"] == "ladder":
        parameters, nonembedding = ladder_parameters(ladder["vocabulary"], entry["width"], entry["layers"])
        per_step = ladder["batch"] * ladder["context"]
        checkpoints = tuple(
            Checkpoint(entry["name"], f"step{step}", step * per_step, flops(parameters, step * per_step))
            for step in ladder["checkpoints"]
        )
        shape = {"width": entry["width"], "layers": entry["layers"]}
        return Model(entry["name"], "ladder", parameters, nonembedding, checkpoints, shape=shape)
    checkpoints = tuple(_local_checkpoint(entry, index, i, blame) for i in range(len(entry["checkpoints"])))
    names = [checkpoint.name for checkpoint in checkpoints]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise blame.error(["models", index, "checkpoints", i], f"{name!r} stands there twice")
    return Model(
        name=entry["name"],
        source="local",
        parameters=entry["parameters"],
        parameters_nonembedding=entry.get("parameters_nonembedding"),
        checkpoints=tuple(sorted(checkpoints, key=lambda c: (c.tokens, c.name))),
        dtype=entry.get("dtype", "float32"),
        add_bos_token=entry.get("add_bos_token", False),
    )


def _local_checkpoint(entry: dict[str, Any], index: int, position: int, blame: _Blame) -> Checkpoint:
    where = ["models", index, "checkpoints", position]
    item = entry["checkpoints"][position]
    name, tokens = (item["name"], item["tokens"]) if isinstance(item, dict) else (item, None)
    if tokens is None:
        step = re.fullmatch(r"\D*(\d+)", name)
        if step is None or "tokens_per_step" not in entry:
            raise blame.error(
                where,
                f"the training tokens of {name!r} are not known: write {{name: {name}, tokens: …}}, or give the model "
                "tokens_per_step and name the checkpoint by its step, as in step1000",
            )
        tokens = int(step[1]) * entry["tokens_per_step"]
    path = Path(entry["path"].replace("{checkpoint}", name)).expanduser()
    if not path.is_dir():
        raise blame.error(where, f"there is no directory {path} for {entry['name']}/{name}")
    if not (path / "config.json").is_file():
        raise blame.error(where, f"{path} has no config.json: it is no checkpoint in Hugging Face format")
    return Checkpoint(entry["name"], name, tokens, flops(entry["parameters"], tokens), str(path))


def _family(entry: dict[str, Any], index: int, models: dict[str, Model], blame: _Blame) -> Family:
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
    distinct = {c.flops for c in members.values() if c.tokens > 0}
    if len(distinct) < MIN_CHECKPOINTS:
        raise blame.error(
            ["families", index],
            f"family {entry['name']!r} has {len(distinct)} checkpoint(s) of distinct compute above zero; "
            f"a correlation needs at least {MIN_CHECKPOINTS}",
        )
    ordered = tuple(sorted(members.values(), key=lambda c: (c.flops, c.model, c.name)))
    return Family(entry["name"], entry.get("label", entry["name"]), ordered)


def _benchmark(entry: dict[str, Any], index: int, blame: _Blame) -> Benchmark:
    name = entry["name"]
    where = ["benchmarks", index]
    own_keys = ("file", "context", "contexts", "choices", "gold", "id", "subject", "delimiter")
    if "file" not in entry:
        if name not in BENCHMARKS:
            raise blame.error(
                [*where, "name"],
                f"unknown benchmark {name!r}{suggestion(name, BENCHMARKS)}; an own benchmark needs the key 'file'",
            )
        for key in own_keys:
            if key in entry:
                raise blame.error([*where, key], f"{name} is built in; this key goes with 'file' (an own benchmark)")
        return Benchmark(name, entry.get("label", BENCHMARKS[name].label), None, dict(entry))
    if name in BENCHMARKS:
        raise blame.error([*where, "name"], f"{name!r} is the name of a built-in benchmark: choose another one")
    from elusive.items.own import validate_own  # imports Jinja, which only own benchmarks need

    try:
        validate_own(entry)
    except ElusiveError as error:
        raise blame.error(where, str(error)) from error
    return Benchmark(name, entry.get("label", name), entry["file"], dict(entry))


def _batches(batches: str | list[list[str]], names: list[str], blame: _Blame) -> dict[str, tuple[str, ...]]:
    """Names of the scoring rules and the benchmarks of each."""
    if batches == "all":
        return {"score": tuple(names)}
    if batches == "each":
        return {f"score_{name}": (name,) for name in names}
    for i, batch in enumerate(batches):
        for j, name in enumerate(batch):
            where = ["scoring", "batches", i, j]
            if name not in names:
                raise blame.error(where, f"{name!r} is not among the benchmarks{suggestion(name, names)}")
            if any(name in other for other in batches[:i]) or name in batch[:j]:
                raise blame.error(where, f"{name!r} stands in the batches twice")
    missing = [name for name in names if not any(name in batch for batch in batches)]
    if missing:
        raise blame.error(["scoring", "batches"], f"no batch has {', '.join(missing)}")
    return {f"score_{i + 1}": tuple(batch) for i, batch in enumerate(batches)}
