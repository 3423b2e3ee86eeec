"""Genuine logs of the pinned lm-eval, offline: its own tasks on rows given in memory, its own model class and writer.

``tasks`` are lm-eval's YAML files with another dataset, ``evaluate`` runs them on a checkpoint as ``lm_eval run
--log_samples`` does. ``rewrite`` turns what it wrote into what earlier versions wrote.
"""

from __future__ import annotations

import ast
import contextlib
import gzip
import json
import random
from pathlib import Path
from typing import Any

import lm_eval
import lm_eval.tasks
import pyarrow as pa
import yaml
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

from elusive.items.archive import Archive
from elusive.items.benchmarks import BENCHMARKS
from elusive.items.build import archive_set, load_items
from elusive.items.sources import archive_rows

#: Built-in benchmark -> the file of lm-eval's task, below its folder of tasks.
FILES = {
    "arc_easy": "arc/arc_easy.yaml",
    "winogrande": "winogrande/default.yaml",
    "mmlu_anatomy": "mmlu/default/mmlu_anatomy.yaml",
}
PMI = [{"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_mutual_info")]


def add_task(folder: Path, name: str, file: str, rows: list[dict[str, Any]], **overrides: Any) -> None:
    """Write the task ``file`` of lm-eval as ``name`` into ``folder``, with ``rows`` as every one of its splits."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    splits = dict.fromkeys(("train", "validation", "test", "dev"), str(data))
    own = {"include": str(Path(lm_eval.tasks.__file__).parent / file), "task": name, "tag": None}
    own |= {"dataset_path": "json", "dataset_name": None, "dataset_kwargs": {"data_files": splits}}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(own | overrides))


def add_builtin_task(folder: Path, name: str, items: Path, archive_path: Path, **overrides: Any) -> None:
    """Write lm-eval's task of the built-in benchmark ``name`` into ``folder``, on the rows of the table ``items``.

    There are more rows than the table has, and in another order: texts decide.
    """
    with Archive(archive_path) as archive:
        rows = archive_rows(name, archive).rows
        every = archive_set(BENCHMARKS[name], archive).items
    assert len(rows) == len(every)
    position = {item.item: i for i, item in enumerate(every)}
    kept = [position[item.item] for item in load_items(items).items]
    others = [row for row in range(3) if row not in kept]
    add_task(folder, name, FILES[name], [rows[row] for row in [*others, *kept[::-1]]], **overrides)


def evaluate(
    folder: Path, tasks: list[str], checkpoint: Path, output: Path, model: str | None = "hf", **options: Any
) -> Path:
    """Evaluate ``checkpoint`` on tasks of ``folder`` and log samples below ``output``; returns the run's folder."""
    arguments = {"pretrained": str(checkpoint), "dtype": "float32", "logits_cache": False, "add_bos_token": False}
    tracker = EvaluationTracker(output_path=str(output))
    results = lm_eval.simple_evaluate(
        model=model,
        model_args=arguments if model == "hf" else {},
        tasks=tasks,
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        device="cpu",
        batch_size=8,
        bootstrap_iters=0,
        log_samples=True,
        evaluation_tracker=tracker,
        **options,
    )
    samples = results.pop("samples")
    tracker.save_results_aggregated(results=results, samples=samples)
    for task in results["configs"]:
        tracker.save_results_samples(task_name=task, samples=samples[task])
    (run,) = (path.parent for path in output.rglob("results_*.json"))
    return run


def read_lines(file: Path) -> list[dict[str, Any]]:
    """The lines of a file of samples."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _numbers(line: dict[str, Any]) -> dict[str, Any]:
    """A line as 0.4.0 to 0.4.2 have it: numbers and lists, without filter, metrics and hashes."""

    def value(text: Any) -> Any:
        if isinstance(text, list):
            return [value(entry) for entry in text]
        return text == "True" if text in ("True", "False") else float(text)

    pairs = [list(entry.values()) for entry in line["arguments"].values()]
    target = line["target"]
    with contextlib.suppress(ValueError, SyntaxError):
        target = ast.literal_eval(target)
    kept = {k: v for k, v in line.items() if k not in ("filter", "metrics") and not k.endswith("_hash")}
    return kept | {
        "target": target,
        "arguments": pairs,
        "resps": value(line["resps"]),
        "filtered_resps": value(line["filtered_resps"]),
    }


def rewrite(run: Path, output: Path, how: str, revision: str = "step1") -> None:
    """Write the run of ``evaluate`` in the folder ``run`` to ``output`` in another form, with the same content."""
    output.mkdir(parents=True)
    (aggregates,) = run.glob("results_*.json")
    found = json.loads(aggregates.read_text())
    for file in run.glob("samples_*.jsonl"):
        lines = read_lines(file)
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        if how == "0.4.2":
            given = f"pretrained=owner/model,revision={revision}"
            found["config"] = {"model": "hf", "model_args": given, "model_num_parameters": None}
            task = file.name.removeprefix("samples_").rpartition("_")[0]
            name = f"pretrained__owner__model,revision__{revision}_{task}.jsonl"
            array = json.dumps([_numbers(line) for line in lines], indent=2, ensure_ascii=False)
            (output / name).write_text(array)
        elif how == "0.4.3":
            kept = [{k: v for k, v in line.items() if k not in ("filter", "metrics")} for line in lines]
            (output / file.name).write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept))
        elif how == "gzip":
            (output / f"{file.name}.gz").write_bytes(gzip.compress(text.encode()))
        elif how == "zstd":
            (output / f"{file.name}.zst").write_bytes(pa.compress(text.encode(), "zstd", asbytes=True))
        elif how == "no extension":
            (output / file.name.removesuffix(".jsonl")).write_text(text)
        elif how == "shuffled":
            random.Random(0).shuffle(lines)
            (output / file.name).write_text("".join(json.dumps(line) + "\n" for line in lines))
        elif how == "doubled":
            (output / file.name).write_text(text + text)
        elif how == "ranks":  # two GPUs, one after the other
            (output / file.name).write_text("".join(json.dumps(line) + "\n" for line in lines[::2] + lines[1::2]))
        elif how == "BOM and CRLF":
            (output / file.name).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
        elif how == "filters":
            other = [line | {"filter": "second", "acc": None} for line in lines]
            (output / file.name).write_text("".join(json.dumps(line) + "\n" for line in lines + other))
        else:
            raise ValueError(how)
    name = "results.json" if how == "0.4.2" else aggregates.name
    if how == "0.4.3":
        found.pop("lm_eval_version")
        found["config"]["model_args"] = ",".join(f"{k}={v}" for k, v in found["config"]["model_args"].items())
    (output / name).write_text(json.dumps(found))


#: Every form of :func:`rewrite`.
FORMS = ("0.4.2", "0.4.3", "gzip", "zstd", "shuffled", "doubled", "ranks", "BOM and CRLF", "filters", "no extension")
