"""Models and benchmarks whose log-likelihoods come out of the logs of other harnesses.

Only names of files are looked at here, since Snakemake imports this whenever it parses the workflow. The exception are
the aggregates of a model whose ``parameters`` are not given.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from elusive.configuration.benchmarks import Benchmark
from elusive.configuration.messages import NAMES_SHOWN, Blame
from elusive.configuration.models import (
    Checkpoint,
    Model,
    check_nonembedding,
    checkpoint_names,
    flops,
    tokens,
)
from elusive.items.benchmarks import BENCHMARKS

#: The values of a model's ``source`` that stand for logs.
SOURCES = ("lm_eval", "olmes", "olmo_eval", "lighteval", "table")
#: The value of a benchmark's ``source`` whose items are made from logs.
LOGS = "logs"
_TABLE_KEYS = ("columns", "unit", "aggregated")
_BENCHMARK_KEYS = ("name", "label", "limit", "source", "task", "items")
_AGGREGATES = re.compile(r"results.*\.json$|_\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(\.\d+)?\.json$")


def log_files(path: str | os.PathLike[str]) -> list[str]:
    """Every file below ``path``, or that itself, in the order of their names; none of hidden folders or names.

    A path that leads into an archive is the archive.
    """
    if os.path.isfile(path):
        return [str(path)]
    if archive := _archive(path):
        return [archive]
    found: list[str] = []
    seen: set[str] = set()
    for folder, folders, names in os.walk(path, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [os.path.join(folder, name) for name in names if not name.startswith(".")]
    return sorted(found)


def _archive(path: str | os.PathLike[str]) -> str | None:
    """The archive that ``path`` leads into as if it were a folder, if it is one."""
    if os.path.exists(path):
        return None
    return next((str(folder) for folder in Path(path).parents if folder.is_file()), None)


def build_imported(entry: dict[str, Any], index: int, blame: Blame) -> Model:
    """The imported model of an entry at ``index``."""
    where: list[str | int] = ["models", index]
    names = checkpoint_names(entry, index, blame)
    for key in _TABLE_KEYS:
        if key in entry and entry["source"] != "table":
            raise blame.error([*where, key], f"this key goes with the source table, not with {entry['source']}")
    logs = {"path": _expanded(entry, where, blame)}
    logs |= {key: entry[key] for key in (*_TABLE_KEYS, "run") if key in entry}
    described = [item if isinstance(item, dict) else {"name": item} for item in entry["checkpoints"]]
    for i, name in enumerate(names):
        folder = logs["path"].replace("{checkpoint}", name)
        if not os.path.exists(folder) and _archive(folder) is None:
            key = ["checkpoints", i] if "{checkpoint}" in logs["path"] else ["path"]
            raise blame.error([*where, *key], f"there are no logs {os.path.abspath(folder)} of {entry['name']}/{name}")
    if "parameters" not in entry:
        entry = entry | {"parameters": _logged_parameters(entry, logs["path"], names, where, blame)}
    check_nonembedding(entry["parameters"], entry, index, blame)
    checkpoints = []
    for i, item in enumerate(described):
        trained = tokens(entry, index, i, blame)
        checkpoints.append(
            Checkpoint(
                entry["name"],
                item["name"],
                trained,
                flops(entry["parameters"], trained),
                revision=item.get("revision", item["name"]),
                tokens_nominal=item.get("tokens_nominal"),
                run=item.get("run", entry.get("run")),
            )
        )
    return Model(
        name=entry["name"],
        source=entry["source"],
        parameters=entry["parameters"],
        parameters_nonembedding=entry.get("parameters_nonembedding"),
        checkpoints=tuple(sorted(checkpoints, key=lambda c: (c.tokens, c.name))),
        parameters_nominal=entry.get("parameters_nominal"),
        logs=logs,
    )


def _expanded(entry: dict[str, Any], where: list[str | int], blame: Blame) -> str:
    try:
        return str(Path(entry["path"]).expanduser())
    except RuntimeError as error:
        raise blame.error([*where, "path"], f"{entry['path']!r} is of a user who does not exist") from error


def _logged_parameters(entry: dict[str, Any], path: str, names: list[str], where: list[str | int], blame: Blame) -> int:
    """The number of parameters in the first aggregates of lm-eval that have one."""
    last = "no aggregates were found"
    if entry["source"] == "lm_eval":
        for file, found in _aggregates(path, names):
            config = found.get("config")
            config = config if isinstance(config, dict) else {}
            if changed := changed_weights(config):
                last = f"model_num_parameters in {file} is of weights changed by {', '.join(changed)}"
                continue
            number = config.get("model_num_parameters")
            if isinstance(number, int) and not isinstance(number, bool) and number > 0:
                return number
            last = f"model_num_parameters is {number} in {file}"
    else:
        last = f"logs of the source {entry['source']} have no exact number"
    raise blame.error(
        where,
        f"the key 'parameters' is missing, and the logs do not say how many {entry['name']} has ({last}): write "
        "the exact number, embeddings included, tied weights once",
    )


def model_arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """``model_args`` of lm-eval's ``config``, which are text before 0.4.10 and a mapping from then on."""
    given = config.get("model_args")
    if isinstance(given, dict):
        return given
    parts = (part.partition("=") for part in str(given or "").split(","))
    return {name.strip(): value for name, equals, value in parts if equals}


def changed_weights(config: Mapping[str, Any]) -> list[str]:
    """Arguments of the model in lm-eval's ``config`` by which its parameters are not those that were trained."""
    arguments = model_arguments(config)
    keys = ("load_in_4bit", "load_in_8bit", "gptq", "autogptq", "quantization", "peft", "delta")
    return [key for key in keys if arguments.get(key) not in (None, False, "", "False", "false", "None")]


def _aggregates(path: str, names: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in names:
        for file in log_files(path.replace("{checkpoint}", name)):
            if _AGGREGATES.search(os.path.basename(file)):
                try:
                    found = json.loads(Path(file).read_bytes())
                except (OSError, ValueError):
                    continue  # whoever reads the logs says so
                if isinstance(found, dict) and isinstance(found.get("config"), dict):
                    yield file, found
        if "{checkpoint}" not in path:
            return


def build_logged(entry: dict[str, Any], index: int, blame: Blame) -> Benchmark:
    """The benchmark of an entry at ``index`` whose items are made from logs."""
    where: list[str | int] = ["benchmarks", index]
    name = entry["name"]
    if name in BENCHMARKS:
        raise blame.error(
            [*where, "name"],
            f"{name!r} is the name of a built-in benchmark: items from the logs need another one, as {name}_logs",
        )
    for key in entry:
        if key not in _BENCHMARK_KEYS:
            raise blame.error([*where, key], "this key does not go with items from the logs (source: logs)")
    if "task" not in entry:
        raise blame.error(
            where, "the key 'task' is missing: what the logs call the benchmark, as arc_easy or \"mmlu_*\""
        )
    tasks = [entry["task"]] if isinstance(entry["task"], str) else list(entry["task"])
    spec = {**entry, "task": tasks, "items": entry.get("items", "strict")}
    if len(tasks) > 1 or any(set(task) & set("*?[") for task in tasks):
        spec["subject"] = "task"
    return Benchmark(name, entry.get("label", name), LOGS, (), spec)


def with_tasks(benchmark: Benchmark, entry: dict[str, Any]) -> Benchmark:
    """``benchmark`` with what its ``entry`` says that logs call it."""
    given = entry.get("task", ())
    return dataclasses.replace(benchmark, tasks=(given,) if isinstance(given, str) else tuple(given))


def check_imports(models: dict[str, Model], benchmarks: dict[str, Benchmark], entries: Any, blame: Blame) -> None:
    """Raise :class:`ElusiveError` where models and benchmarks do not go together; ``entries`` are the benchmarks'."""
    imported = [model for model in models.values() if model.source in SOURCES]
    others = [model.name for model in models.values() if model.source not in SOURCES]
    for index, entry in entries:
        where: list[str | int] = ["benchmarks", index]
        benchmark = benchmarks[entry["name"]]
        if benchmark.source == LOGS:
            if not imported:
                raise blame.error([*where, "source"], f"no model has logs (source: {', '.join(SOURCES)})")
            if others:
                raise blame.error(
                    [*where, "source"],
                    f"items from the logs do not go with models that have no logs ({', '.join(others[:NAMES_SHOWN])}): "
                    "take the built-in benchmark, whose items are found in the logs by their texts",
                )
            continue
        if "items" in entry:
            raise blame.error([*where, "items"], "this key goes with items from the logs (source: logs)")
        if "task" in entry and not imported:
            raise blame.error([*where, "task"], f"no model has logs (source: {', '.join(SOURCES)})")
        if imported and benchmark.name not in BENCHMARKS and "task" not in entry:
            raise blame.error(
                where,
                f"the key 'task' is missing: what the logs of {imported[0].name} call {benchmark.name}",
            )
