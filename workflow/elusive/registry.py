"""The registry: models, checkpoints, families and benchmarks of a configuration, checked before anything runs.

:func:`load` turns the configuration that Snakemake merged from its files into frozen objects. Whatever is wrong
with it ends in an :class:`ElusiveError` that names the file, the key, the value and what is allowed. Compute is
6·N·D floating-point operations (Kaplan et al. 2020), with N all parameters, as in the paper. ``compute: nominal``
takes the rounded N and D that the paper took.

Snakemake imports this module whenever it parses the workflow, so it imports nothing heavy.
"""

from __future__ import annotations

import dataclasses
import difflib
import fnmatch
import functools
import itertools
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from elusive import catalogue
from elusive.errors import ElusiveError
from elusive.items.benchmarks import BENCHMARKS
from elusive.items.sources import FILE_SUFFIXES, archive_has

SCHEMA = Path(__file__).parent.parent / "schemas" / "config.schema.yaml"
MIN_CHECKPOINTS = 3
NAMES_SHOWN = 20
VALUE_CHARACTERS = 100
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Checkpoint:
    """One set of weights.

    ``tokens`` it was trained on and, where there is one, the paper's rounded number of them, ``tokens_nominal``;
    ``flops`` = 6·N·D by exact or nominal N and D, as :attr:`Registry.compute` says; ``path`` of a local one,
    ``revision`` (branch, tag or commit) of one on the hub.
    """

    model: str
    name: str
    tokens: int
    flops: float
    path: str | None = None
    revision: str | None = None
    tokens_nominal: int | None = None


@dataclass(frozen=True)
class Model:
    """A model and its checkpoints in order of tokens.

    ``source`` is ``hub``, ``local`` or ``ladder``; a built-in model is one of the hub. ``parameters`` counts all of
    them, tied weights once. ``shape`` holds width and layers of a ladder model. For a model of the hub, ``repo`` is
    its repository, ``weights_bytes`` an estimate of what one checkpoint weighs in bytes, and ``verified`` what the
    catalogue says of a built-in one (None of one that the configuration describes).
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


@dataclass(frozen=True)
class Family:
    """Checkpoints over which scores are correlated with compute, in order of FLOPs."""

    name: str
    label: str
    members: tuple[Checkpoint, ...]
    plotted: bool = True


@dataclass(frozen=True)
class Benchmark:
    """A benchmark as configured. ``source`` is where its rows come from: archive, hub or file; ``files`` are the files.

    ``unconditional`` asks for every choice's log-likelihood behind an empty context too. ``spec`` is what its items
    are made by.
    """

    name: str
    label: str
    source: str
    files: tuple[str, ...]
    spec: dict[str, Any]
    unconditional: bool = False

    @property
    def has_subjects(self) -> bool:
        """Whether its items are of several subjects, by which statistics are kept too."""
        builtin = BENCHMARKS.get(self.name)
        return bool(builtin.subjects and not builtin.subject) if builtin else "subject" in self.spec


@dataclass(frozen=True)
class Registry:
    """Everything a configuration asks for, checked."""

    seed: int
    models: dict[str, Model]
    families: dict[str, Family]
    benchmarks: dict[str, Benchmark]
    ladder: dict[str, Any]
    scoring: dict[str, Any]
    hub: dict[str, Any]
    batches: dict[str, tuple[str, ...]]
    compute: str = "exact"
    plan: dict[str, Any] = field(default_factory=lambda: plan_settings({}))
    budget: dict[str, float | None] = field(default_factory=dict)

    def checkpoint(self, model: str, name: str) -> Checkpoint:
        """The checkpoint ``name`` of ``model``; raises KeyError."""
        return self._checkpoints[model, name]

    def describe(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """What the tables say of a checkpoint: its names, ``parameters``, ``tokens`` and the FLOPs of 6·N·D."""
        model = self.models[checkpoint.model]
        return {
            "model": checkpoint.model,
            "checkpoint": checkpoint.name,
            "parameters": model.parameters,
            "parameters_nonembedding": model.parameters_nonembedding,
            "tokens": checkpoint.tokens,
            "flops": checkpoint.flops,
        }

    @functools.cached_property
    def _checkpoints(self) -> dict[tuple[str, str], Checkpoint]:
        return {(c.model, c.name): c for model in self.models.values() for c in model.checkpoints}

    @property
    def ladder_models(self) -> list[Model]:
        """The models that the workflow trains."""
        return [model for model in self.models.values() if model.source == "ladder"]

    @property
    def hub_models(self) -> list[Model]:
        """The models that are downloaded from the hub."""
        return [model for model in self.models.values() if model.source == "hub"]


def load(config: dict[str, Any], files: Iterable[str | Path] = ()) -> Registry:
    """Check ``config`` and build the registry.

    ``files`` are the configuration files in the order in which they were merged; they serve only to say in which
    one a mistake stands. Raises :class:`ElusiveError`.
    """
    files = [Path(file) for file in files]
    for file in files:
        _check_repeated_keys(file)
    blame = _Blame(files, config)
    _check_schema(config, blame)
    ladder = _with_defaults(config.get("ladder", {}), "ladder")
    scoring = _with_defaults(config.get("scoring", {}), "scoring")
    hub = _with_defaults(config.get("hub", {}), "hub")
    ladder["checkpoints"] = sorted(ladder["checkpoints"])
    entries = {section: list(enumerate(config[section])) for section in ("models", "families")}
    entries["benchmarks"] = _expand(config["benchmarks"], blame)
    for section in ("models", "families", "benchmarks"):
        _check_unique(entries[section], section, blame)
    for section in ("families", "benchmarks"):
        _check_labels(entries[section], section, blame)
    compute = config.get("compute", "exact")
    models = {entry["name"]: _model(entry, i, ladder, blame) for i, entry in enumerate(config["models"])}
    if compute == "nominal":
        models = {model.name: _with_nominal_flops(model, i, blame) for i, model in enumerate(models.values())}
    families = {entry["name"]: _family(entry, i, models, blame) for i, entry in enumerate(config["families"])}
    if not any(family.plotted for family in families.values()):
        raise blame.error(["families"], "no family is plotted: figures need at least one with 'plotted: true'")
    sources = config.get("sources", _schema()["properties"]["sources"]["default"])
    benchmarks = {entry["name"]: _benchmark(entry, i, sources, blame) for i, entry in entries["benchmarks"]}
    return Registry(
        seed=config.get("seed", 0),
        models=models,
        families=families,
        benchmarks=benchmarks,
        ladder=ladder,
        scoring=scoring,
        hub=hub,
        batches=_batches(scoring["batches"], list(benchmarks), blame),
        compute=compute,
        plan=plan_settings(config.get("plan", {})),
        budget=_with_defaults(config.get("budget", {}), "budget"),
    )


def plan_settings(section: dict[str, Any]) -> dict[str, Any]:
    """The configuration's section ``plan`` with every default filled in, those of the GPU's peaks too."""
    defaults = _with_defaults({}, "plan")
    return defaults | section | {"gpu_tflops": defaults["gpu_tflops"] | section.get("gpu_tflops", {})}


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
    """Finds the configuration file that a value comes from and words the error."""

    def __init__(self, files: list[Path], config: Any) -> None:
        self._files = files
        self._config = config

    def error(self, path: Iterable[str | int], message: str) -> ElusiveError:
        path = list(path)
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
        file = self._file(path)
        return ElusiveError(f"{file}: {where}: {message}" if where else f"{file}: {message}")

    def _file(self, path: list[str | int]) -> str:
        # Files are merged key by key, later ones overrule earlier ones; lists are replaced as a whole.
        keys = list(itertools.takewhile(lambda part: not isinstance(part, int), path))
        if not keys:
            return ", ".join(map(str, self._files)) or "configuration"
        for file in reversed(self._files):
            try:
                content = yaml.load(file.read_text(encoding="utf-8"), Loader=_Loader)
            except (OSError, ValueError, yaml.YAMLError):
                continue
            found, value = _at(content, keys)
            merged = _at(self._config, keys)[1]
            # A section may come from several files: the last one that has a part of it.
            part = isinstance(value, dict) and isinstance(merged, dict) and value.items() <= merged.items()
            if found and (value == merged or part):
                return str(file)
        return "configuration (--config)"


def _at(content: Any, keys: list[str | int]) -> tuple[bool, Any]:
    """Whether ``content`` has the value at ``keys``, and the value."""
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            return False, None
        content = content[key]
    return True, content


def check_syntax(file: str | Path) -> None:
    """Raise :class:`ElusiveError` with line and column when ``file`` is missing or not YAML."""
    try:
        yaml.load(Path(file).read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise ElusiveError(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ElusiveError(f"{file}: not UTF-8 text: {error.reason} at byte {error.start}") from error
    except yaml.YAMLError as error:
        raise ElusiveError(f"{file}: not valid YAML: {error}") from error


def _check_repeated_keys(file: Path) -> None:
    # YAML readers take the last of two equal keys without a word.
    try:
        nodes = [yaml.compose(file.read_text(encoding="utf-8"), Loader=_Loader)]
    except (OSError, ValueError, yaml.YAMLError):
        return  # whoever reads it says so
    while nodes:
        node = nodes.pop()
        if isinstance(node, yaml.SequenceNode):
            nodes += node.value
        elif isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                nodes.append(value)
                line = key.start_mark.line + 1
                if isinstance(key, yaml.ScalarNode) and lines.setdefault(key.value, line) != line:
                    raise ElusiveError(
                        f"{file}: line {line}: the key {key.value!r} stands there twice, first in line "
                        f"{lines[key.value]}: only one of them can count"
                    )


@functools.cache
def _schema() -> dict[str, Any]:
    return yaml.load(SCHEMA.read_text(encoding="utf-8"), Loader=_Loader)


def _with_defaults(section: dict[str, Any], name: str) -> dict[str, Any]:
    properties = _schema()["$defs"][name]["properties"]
    return {key: entry["default"] for key, entry in properties.items() if "default" in entry} | section


def suggestion(name: Any, known: Iterable[str]) -> str:
    """'; did you mean …?' and the known names, for the end of a message about an unknown name."""
    known = list(known)
    shown = ", ".join(known[:NAMES_SHOWN]) + (f", … {len(known)} in all" if len(known) > NAMES_SHOWN else "")
    return f"{_did_you_mean(name, known)} (allowed: {shown})"


def _did_you_mean(name: Any, known: Iterable[Any]) -> str:
    by_lower = {str(other).lower(): other for other in known}
    close = difflib.get_close_matches(str(name).lower(), by_lower, n=1)
    return f"; did you mean {by_lower[close[0]]!r}?" if close else ""


def _is_integer(_: Any, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(_: Any, value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[jsonschema.ValidationError]:
    # `$` also matches before a line break at the end.
    if isinstance(value, str) and (not re.search(pattern, value) or value.endswith("\n")):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


# JSON knows no difference between 32 and 32.0, file names made of them do; and no infinity, which YAML knows.
_Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    {"pattern": _pattern},
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine_many(
        {"integer": _is_integer, "number": _is_number}
    ),
)


def _leaves(errors: Iterable[jsonschema.ValidationError]) -> Iterator[jsonschema.ValidationError]:
    for error in errors:
        # Of several alternatives, the one that was meant is the one that fits as a whole and fails inside.
        inside = [
            e for e in error.context or () if e.relative_path or e.validator in ("additionalProperties", "required")
        ]
        if error.validator == "anyOf" and inside:
            yield from _leaves(inside)
        else:
            yield error


def _check_schema(config: Any, blame: _Blame) -> None:
    _check_sources(config, blame)
    errors = list(_leaves(_Validator(_schema()).iter_errors(config)))
    if not errors:
        return
    # A misspelt key also makes a required one missing: say the misspelling.
    error = min(errors, key=lambda e: (e.validator != "additionalProperties", e.validator == "required"))
    path = list(error.absolute_path)
    if error.validator == "additionalProperties":
        allowed = error.schema.get("properties", {})
        key = next(key for key in error.instance if key not in allowed)
        if not isinstance(key, str):  # YAML reads `on:` as true and `1:` as a number
            raise blame.error(path, f"unknown key {key}{suggestion(key, allowed)}")
        raise blame.error([*path, key], f"unknown key{suggestion(key, allowed)}")
    if error.validator == "required":
        missing = next(key for key in error.validator_value if key not in error.instance)
        present = f" (there are: {', '.join(map(str, error.instance))})" if error.instance else ""
        raise blame.error(path, f"the key {missing!r} is missing{present}")
    value = error.instance
    said = "an empty value (null)" if value is None else _short(value)
    raise blame.error(path, f"{said} is not allowed: it must be {_allowed(error)}{_hint(error)}")


def _check_sources(config: Any, blame: _Blame) -> None:
    """A model without a source must be a built-in one: else say so before its other keys are found wrong."""
    entries = config.get("models") if isinstance(config, dict) else None
    for i, entry in enumerate(entries if isinstance(entries, list) else []):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or "source" in entry:
            continue
        if entry["name"] in catalogue.load():
            continue
        close = difflib.get_close_matches("source", [key for key in entry if isinstance(key, str)], n=1)
        if close:
            raise blame.error(["models", i, close[0]], "unknown key; did you mean 'source'?")
        there = f" (there are: {', '.join(map(str, entry))})"
        raise blame.error(
            ["models", i],
            f"the key 'source' is missing{there}, and {entry['name']!r} is no built-in model"
            f"{suggestion(entry['name'], catalogue.load())}",
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= VALUE_CHARACTERS else text[: VALUE_CHARACTERS - 1] + "…"


_TYPES = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "a mapping of keys to values",
    "string": "text",
}


def _types(error: jsonschema.ValidationError) -> list[str]:
    value = error.validator_value
    return [value] if isinstance(value, str) else list(value)


def _allowed(error: jsonschema.ValidationError) -> str:
    """The end of the sentence 'it must be …'."""
    value = error.validator_value
    match error.validator:
        case "enum":
            return f"one of {', '.join(map(str, value))}"
        case "const":
            return str(value)
        case "type":
            return " or ".join(_TYPES[name] for name in _types(error))
        case "minimum":
            return f"at least {value}"
        case "exclusiveMinimum":
            return f"more than {value}"
        case "maximum":
            return f"at most {value}"
        case "multipleOf":
            return f"a multiple of {value}"
        case "minItems":
            return "a list that is not empty" if value == 1 else f"a list of at least {value} entries"
        case "minLength":
            return "text that is not empty"
        case "uniqueItems":
            repeated = [entry for i, entry in enumerate(error.instance) if entry in error.instance[:i]]
            return f"a list of different entries, but {repeated[0]!r} stands there twice"
        case "pattern":
            examples = error.schema.get("examples")
            return f"like {', '.join(examples)} (pattern {value})" if examples else f"text that matches {value}"
        case "anyOf":
            return " or ".join(dict.fromkeys(_allowed(context) for context in error.context))
        case _:
            return f"as the schema says: {error.message}"


def _hint(error: jsonschema.ValidationError) -> str:
    """What the value may have been meant to be."""
    value = error.instance
    leaves = [error, *(error.context or ())]
    types = {name for leaf in leaves if leaf.validator == "type" for name in _types(leaf)}
    if types & {"integer", "number"} and isinstance(value, str | float):
        # YAML reads 1e9 as text and 1.0e+9 as a fraction.
        try:
            number = float(value)
        except ValueError:
            return ""
        if math.isfinite(number) and ("number" in types or number.is_integer()):
            return f"; write {int(number) if number.is_integer() else number}"
    elif "string" in types and isinstance(value, int | float):
        return f'; write "{str(value).lower() if isinstance(value, bool) else value}"'
    for leaf in leaves:
        if leaf.validator == "enum" and isinstance(value, str):
            return _did_you_mean(value, leaf.validator_value)
    return ""


def _check_unique(entries: list[tuple[int, dict[str, Any]]], section: str, blame: _Blame) -> None:
    seen: dict[str, int] = {}
    for i, entry in entries:
        if entry["name"] in seen:
            first = seen[entry["name"]]
            raise blame.error([section, i, "name"], f"{entry['name']!r} is already the name of {section}[{first}]")
        seen[entry["name"]] = i


def _check_labels(entries: list[tuple[int, dict[str, Any]]], section: str, blame: _Blame) -> None:
    # Figures and the report tell them apart by their labels.
    builtin = {name: definition.label for name, definition in BENCHMARKS.items()} if section == "benchmarks" else {}
    seen: dict[str, int] = {}
    for i, entry in entries:
        label = entry.get("label", builtin.get(entry["name"], entry["name"]))
        if seen.setdefault(label, i) != i:
            key = "label" if "label" in entry else "name"
            raise blame.error([section, i, key], f"{label!r} is already the label of {section}[{seen[label]}]")


def _model(entry: dict[str, Any], index: int, ladder: dict[str, Any], blame: _Blame) -> Model:
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


def _checkpoint_names(entry: dict[str, Any], index: int, blame: _Blame) -> list[str]:
    names = [item["name"] if isinstance(item, dict) else item for item in entry["checkpoints"]]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise blame.error(["models", index, "checkpoints", i], f"{name!r} stands there twice")
    return names


def _check_parameters(entry: dict[str, Any], index: int, blame: _Blame) -> None:
    if entry.get("parameters_nonembedding", 0) > entry["parameters"]:
        raise blame.error(
            ["models", index, "parameters_nonembedding"],
            f"{entry['parameters_nonembedding']} is more than all 'parameters', {entry['parameters']}",
        )


def _tokens(entry: dict[str, Any], index: int, position: int, blame: _Blame) -> int:
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


def _local_model(entry: dict[str, Any], index: int, blame: _Blame) -> Model:
    names = _checkpoint_names(entry, index, blame)
    if len(names) > 1 and "{checkpoint}" not in entry["path"]:
        raise blame.error(
            ["models", index, "path"],
            f"{entry['path']!r} is the same directory for all {len(names)} checkpoints: write {{checkpoint}} where "
            "their names stand",
        )
    _check_parameters(entry, index, blame)
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


def _local_checkpoint(entry: dict[str, Any], index: int, position: int, blame: _Blame) -> Checkpoint:
    where = ["models", index, "checkpoints", position]
    item = entry["checkpoints"][position]
    name = item["name"] if isinstance(item, dict) else item
    tokens = _tokens(entry, index, position, blame)
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


def _hub_model(entry: dict[str, Any], index: int, blame: _Blame) -> Model:
    _checkpoint_names(entry, index, blame)
    _check_parameters(entry, index, blame)
    checkpoints: list[Checkpoint] = []
    for i, item in enumerate(entry["checkpoints"]):
        described = item if isinstance(item, dict) else {"name": item}
        tokens = _tokens(entry, index, i, blame)
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


def _builtin_model(entry: dict[str, Any], index: int, blame: _Blame) -> Model:
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


def _with_nominal_flops(model: Model, index: int, blame: _Blame) -> Model:
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
    distinct = {c.flops for c in members.values() if c.flops > 0}
    if len(distinct) < MIN_CHECKPOINTS:
        raise blame.error(
            ["families", index, "members"],
            f"family {entry['name']!r} has {len(distinct)} checkpoint(s) of distinct compute above zero; "
            f"a correlation needs at least {MIN_CHECKPOINTS}. Its members are: "
            + ", ".join(f"{c.model}/{c.name} with {c.tokens} tokens" for c in members.values()),
        )
    ordered = tuple(sorted(members.values(), key=lambda c: (c.flops, c.model, c.name)))
    return Family(entry["name"], entry.get("label", entry["name"]), ordered, entry.get("plotted", True))


_TEMPLATE_KEYS = ("context", "contexts", "choices", "gold", "id", "subject", "cluster", "delimiter")
_HUB_KEYS = ("dataset", "config", "split", "revision", "shots_split")


def _expand(entries: list[dict[str, Any]], blame: _Blame) -> list[tuple[int, dict[str, Any]]]:
    """Position in the configuration, and entry, of each benchmark: one per built-in name that a pattern matches."""
    expanded: list[tuple[int, dict[str, Any]]] = []
    for i, entry in enumerate(entries):
        pattern = entry["name"]
        if not _is_pattern(pattern):
            expanded.append((i, entry))
            continue
        names = [name for name in BENCHMARKS if fnmatch.fnmatchcase(name, pattern)]
        if not names:
            raise blame.error(
                ["benchmarks", i, "name"], f"no built-in benchmark matches {pattern!r}{_builtin_suggestion(pattern)}"
            )
        for key in ("label", "file", "dataset", *_TEMPLATE_KEYS):
            if key in entry:
                raise blame.error(
                    ["benchmarks", i, key], f"{pattern!r} stands for {len(names)} built-in benchmarks: give it to one"
                )
        expanded += [(i, entry | {"name": name}) for name in names]
    return expanded


def _builtin_suggestion(name: str) -> str:
    # The subjects would hide all other names.
    names = [*(known for known, definition in BENCHMARKS.items() if not definition.subject), "mmlu_<subject>"]
    return f"{_did_you_mean(name, BENCHMARKS)} (allowed: {', '.join(names)})"


def _is_pattern(name: str) -> bool:
    return "*" in name or "?" in name


def _benchmark(entry: dict[str, Any], index: int, sources: list[str], blame: _Blame) -> Benchmark:
    where = ["benchmarks", index]
    name = entry["name"]
    unconditional = entry.get("unconditional", False)
    spec = {key: value for key, value in entry.items() if key != "unconditional"}
    if "file" in entry and "dataset" in entry:
        raise blame.error([*where, "file"], "rows come from a 'file' or from a 'dataset' of the hub, not from both")
    if name in BENCHMARKS:
        return _builtin(spec, where, sources, unconditional, blame)
    if "file" not in entry and "dataset" not in entry:
        raise blame.error(
            [*where, "name"],
            f"unknown benchmark {name!r}{_builtin_suggestion(name)}; an own benchmark needs the key 'file' or "
            "'dataset'",
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
    entry: dict[str, Any], where: list[str | int], sources: list[str], unconditional: bool, blame: _Blame
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
    entry: dict[str, Any], keys: Iterable[str], where: list[str | int], message: str, blame: _Blame
) -> None:
    for key in keys:
        if key in entry:
            raise blame.error([*where, key], message)


def _batches(batches: str | list[list[str]], names: list[str], blame: _Blame) -> dict[str, tuple[str, ...]]:
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
