"""Instance results of a published set in the schema (0.3.0) of Every Eval Ever, the shared collection of evaluations.

A checkpoint is an evaluation: an aggregate file with its accuracy on each benchmark, and beside it a line an item,
``data/elusive/{developer}/{model}/{uuid}.json`` and ``{uuid}_samples.jsonl``. The schema has room for one answer and
whether it is right; the log-likelihoods of all choices stand in each line's ``metadata``. Where the set keeps texts
back, SHA-256 takes the place of the prompt, and numbers that of the choices.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

import elusive
from elusive import logs
from elusive.analysis.metrics import FilePath
from elusive.analysis.reference import binomial_error
from elusive.configuration.published import Published
from elusive.files import atomic_path
from elusive.publish.unpack import read_part
from elusive.report.drilldown import question_and_choices

logger = logs.get(__name__)

SCHEMA_VERSION = "0.3.0"
COLLECTION = "elusive"
METHOD = "the choice with the largest summed log-likelihood, the first of equal ones"
_LIBRARY = {"name": "elusive", "version": elusive.__version__}


def export(published: Published, output: FilePath, timestamp: int | None = None) -> int:
    """Write the evaluations of all checkpoints below the directory ``output``; returns the number of lines.

    ``timestamp``: seconds since 1970 that the files say they were made at; by default SOURCE_DATE_EPOCH, or now.
    Everything else in them follows from the set. Raises :class:`ElusiveError` when the set is damaged.
    """
    if timestamp is None:
        timestamp = int(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
    benchmarks = [entry["name"] for entry in published.manifest["benchmarks"]]
    about = {name: read_part(published, "benchmarks", name).to_pylist()[0] for name in benchmarks}
    answers = {name: _answers(published, name) for name in benchmarks}
    total = 0
    with atomic_path(output) as directory:
        for model in published.manifest["models"]:
            for checkpoint in model["checkpoints"]:
                total += _evaluation(directory, published, model, checkpoint, about, answers, timestamp)
    logger.info("%s: %d lines", output, total)
    return total


def _answers(published: Published, benchmark: str) -> pl.DataFrame:
    """A row a checkpoint and item: the log-likelihoods of its choices, the gold one, and what is known of the item."""
    choices = pl.from_arrow(read_part(published, "choices", benchmark))
    items = pl.from_arrow(read_part(published, "items", benchmark)).with_row_index("position")
    grouped = choices.group_by("model", "checkpoint", "item", maintain_order=True).agg(
        pl.col("log_likelihood"), pl.col("num_tokens")
    )
    return grouped.join(items, on="item", how="left").sort("model", "checkpoint", "position")


def _evaluation(
    directory: Path,
    published: Published,
    model: Mapping[str, Any],
    checkpoint: Mapping[str, Any],
    about: Mapping[str, Mapping[str, Any]],
    answers: Mapping[str, pl.DataFrame],
    timestamp: int,
) -> int:
    developer, name = _identity(model, checkpoint)
    identifier = f"{COLLECTION}/{developer}_{name}_{checkpoint['name']}/{timestamp}"
    of_set = published.manifest["tables"]["choices"]["sha256"]
    digest = hashlib.sha256(f"{of_set}/{model['name']}/{checkpoint['name']}".encode()).digest()
    stem = str(uuid.UUID(bytes=digest[:16], version=4))
    folder = directory / "data" / COLLECTION / developer / name
    folder.mkdir(parents=True, exist_ok=True)
    samples = folder / f"{stem}_samples.jsonl"
    results, rows, checksum = [], 0, hashlib.sha256()
    with samples.open("wb") as file:
        for benchmark, frame in answers.items():
            own = frame.filter(pl.col("model") == model["name"], pl.col("checkpoint") == checkpoint["name"])
            result_id = f"{identifier}/{benchmark}/accuracy"
            right = 0
            for line in _lines(own, about[benchmark], identifier, f"{developer}/{name}", result_id):
                right += line["evaluation"]["is_correct"]
                text = json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
                checksum.update(text)
                file.write(text)
            rows += len(own)
            results.append(_result(about[benchmark], result_id, right, len(own)))
    log = {
        "schema_version": SCHEMA_VERSION,
        "evaluation_id": identifier,
        "retrieved_timestamp": str(timestamp),
        "source_metadata": {
            "source_name": published.manifest["title"],
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "third_party" if model["source"] == "hub" else "first_party",
        },
        "eval_library": _LIBRARY,
        "model_info": {
            "name": f"{model['name']} {checkpoint['name']}",
            "id": f"{developer}/{name}",
            "developer": developer,
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": "open_weights" if model["source"] == "hub" else "unknown",
                "checkpoint": checkpoint["name"],
                "parameters": str(model["parameters"]),
                "training_tokens": str(checkpoint["tokens"]),
                **({"revision": checkpoint["revision"]} if "revision" in checkpoint else {}),
            },
        },
        "evaluation_results": results,
        "detailed_evaluation_results": {
            "format": "jsonl",
            "file_path": f"data/{COLLECTION}/{developer}/{name}/{samples.name}",
            "hash_algorithm": "sha256",
            "checksum": checksum.hexdigest(),
            "total_rows": rows,
        },
    }
    (folder / f"{stem}.json").write_text(json.dumps(log, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return rows


def _identity(model: Mapping[str, Any], checkpoint: Mapping[str, Any]) -> tuple[str, str]:
    """Developer and name: the hub's for a model of the hub, whose checkpoints are revisions, else our own."""
    if model.get("repo"):
        developer, _, name = model["repo"].partition("/")
        return developer, name
    return COLLECTION, f"{model['name']}-{checkpoint['name']}"


def _result(about: Mapping[str, Any], result_id: str, right: int, count: int) -> dict[str, Any]:
    error = binomial_error(right / count, count)
    uncertainty: dict[str, Any] = {"num_samples": count}
    if error is not None:
        uncertainty["standard_error"] = {"value": error, "method": "analytic"}
    details = {key: str(about[key]) for key in ("protocol", "revision", "split_note") if about[key] is not None}
    source: dict[str, Any] = {"dataset_name": about["benchmark"]}
    if about["dataset"] and "/" in about["dataset"]:
        source |= {"source_type": "hf_dataset", "hf_repo": about["dataset"], "samples_number": count}
        source |= {"hf_split": about["split"]} if about["split"] else {}
    else:
        source |= {"source_type": "other"}
    return {
        "evaluation_result_id": result_id,
        "evaluation_name": about["benchmark"],
        "source_data": source | ({"additional_details": details} if details else {}),
        "metric_config": {
            "evaluation_description": f"{about['label']}: share of items whose right choice is the likeliest one",
            "metric_id": "accuracy",
            "metric_name": "Accuracy",
            "metric_kind": "accuracy",
            "metric_unit": "proportion",
            "lower_is_better": False,
            "score_type": "continuous",
            "min_score": 0.0,
            "max_score": 1.0,
        },
        "score_details": {"score": right / count, "uncertainty": uncertainty},
    }


def _lines(
    own: pl.DataFrame, about: Mapping[str, Any], identifier: str, model_id: str, result_id: str
) -> Iterator[dict[str, Any]]:
    for row in own.iter_rows(named=True):
        values = row["log_likelihood"]
        predicted = max(range(len(values)), key=lambda choice: (values[choice], -choice))
        prompt, choices = _texts(row, len(values))
        correct = predicted == row["gold"]
        facts = {
            "log_likelihoods": json.dumps(values),
            "gold": str(row["gold"]),
            "predicted": str(predicted),
            "texts": "yes" if row.get("contexts") is not None else "kept back: SHA-256 and numbers in their place",
            **{key: row[key] for key in ("subject", "prompt_sha256", "choices_sha256") if row[key] is not None},
        }
        line: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "evaluation_id": identifier,
            "model_id": model_id,
            "evaluation_name": about["benchmark"],
            "evaluation_result_id": result_id,
            "sample_id": row["item"],
            "interaction_type": "single_turn",
            "input": {"raw": prompt, "reference": [choices[row["gold"]]], "choices": choices},
            "output": {"raw": [choices[predicted]]},
            "answer_attribution": [
                {
                    "turn_idx": 0,
                    "source": "output.raw",
                    "extracted_value": choices[predicted],
                    "extraction_method": METHOD,
                    "is_terminal": True,
                }
            ],
            "evaluation": {"score": float(correct), "is_correct": correct},
            "metadata": facts,
        }
        if row.get("contexts") is not None:
            line["sample_hash"] = sample_hash(prompt, line["input"]["reference"])
        yield line


def _texts(row: Mapping[str, Any], count: int) -> tuple[str, list[str]]:
    """The prompt and the text of each choice; where the contexts differ, each choice has its own part of them."""
    contexts, continuations = row.get("contexts"), row.get("continuations")
    if contexts is None or continuations is None:
        return f"SHA-256 {row['prompt_sha256']}", [f"choice {choice}" for choice in range(count)]
    return question_and_choices(contexts, continuations, count)


def sample_hash(prompt: str, reference: Sequence[str]) -> str:
    """What the collection matches samples of different models by."""
    content = {"raw": prompt, "reference": list(reference)}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
