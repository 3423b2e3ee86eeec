"""Small logs in every format, written as the harnesses write them, for the tests of the importing stage.

An item is a question with choices whose log-likelihoods follow from the seed, so that two checkpoints differ.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIME = "2026-01-02T03-04-05.678901"
WORDS = ("stone", "blue", "river", "seven", "north", "glass")


@dataclass(frozen=True)
class Question:
    """One item: texts as scored, gold, and log-likelihoods."""

    number: int
    contexts: list[str]
    continuations: list[str]
    gold: int
    values: list[float]

    @property
    def choices(self) -> list[str]:
        return [text.removeprefix(" ") for text in self.continuations]

    def accuracy(self, lengths: Sequence[float] | None = None) -> float:
        scores = self.values if lengths is None else [v / n for v, n in zip(self.values, lengths, strict=True)]
        return float(scores.index(max(scores)) == self.gold)


def questions(count: int, seed: int = 0, choices: int = 3, task: str = "quiz") -> list[Question]:
    """``count`` questions of ``task``, the same for every seed; of a seed, their log-likelihoods."""
    texts, numbers = random.Random(task), random.Random(f"{task} {seed}")
    found = []
    for number in range(count):
        picked = texts.sample(WORDS, choices)
        context = f"Question: Which is number {number} of {task}?\nAnswer:"
        gold = texts.randrange(choices)
        values = [-numbers.uniform(0.5, 30) for _ in range(choices)]
        found.append(Question(number, [context] * choices, [f" {word}" for word in picked], gold, values))
    return found


def winograd(count: int, seed: int = 0) -> list[Question]:
    """Questions with a context a choice and one continuation."""
    numbers = random.Random(f"winograd {seed}")
    found = []
    for number in range(count):
        contexts = [f"Ann gave Eve bag {number} because {who}" for who in ("Ann", "the bag")]
        values = [-numbers.uniform(5, 30) for _ in range(2)]
        found.append(Question(number, contexts, [" was heavy."] * 2, number % 2, values))
    return found


def sample(question: Question, **changes: Any) -> dict[str, Any]:
    """A line of lm-eval 0.4.13."""
    pairs = zip(question.contexts, question.continuations, strict=True)
    several = len(set(question.contexts)) > 1
    target = question.continuations[0].removeprefix(" ") if several else str(question.gold)
    line = {
        "doc_id": question.number,
        "doc": {"answer": str(question.gold + 1)} if several else {"id": f"q{question.number}"},
        "target": target,
        "arguments": {f"gen_args_{i}": {"arg_0": a, "arg_1": b} for i, (a, b) in enumerate(pairs)},
        "resps": [[[repr(value), "False"]] for value in question.values],
        "filtered_resps": [[repr(value), "False"] for value in question.values],
        "filter": "none",
        "metrics": ["acc"] if several else ["acc", "acc_norm"],
        "doc_hash": f"hash {question.number}",
        "acc": question.accuracy(),
    }
    if not several:
        line["acc_norm"] = question.accuracy([len(text) for text in question.choices])
    return line | changes


def write_lines(file: Path, lines: Sequence[dict[str, Any]]) -> Path:
    """Write JSON lines."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return file


def aggregates(tasks: Sequence[str], **config: Any) -> dict[str, Any]:
    """Results as of lm-eval 0.4.13."""
    known = {"model": "hf", "model_args": {"pretrained": "owner/model"}, "model_num_parameters": 1000}
    known |= {"model_revision": "main", "model_dtype": "torch.float32", "batch_size": 8, "limit": None}
    return {
        "results": {task: {} for task in tasks},
        "configs": {task: {"target_delimiter": " ", "num_fewshot": 0, "dataset_path": "owner/data"} for task in tasks},
        "versions": dict.fromkeys(tasks, 1.0),
        "n-shot": dict.fromkeys(tasks, config.pop("shots", 0)),
        "config": known | {"fewshot_seed": 1234} | config,
        "lm_eval_version": "0.4.13",
    }


def write_run(
    folder: Path, tasks: dict[str, Sequence[dict[str, Any]]], time: str = TIME, described: bool = True, **config: Any
) -> Path:
    """Write samples, and with ``described`` aggregates, of one run of lm-eval; returns the folder."""
    for task, lines in tasks.items():
        write_lines(folder / f"samples_{task}_{time}.jsonl", lines)
    if described:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"results_{time}.json").write_text(json.dumps(aggregates(list(tasks), **config), indent=2))
    return folder


def prediction(question: Question, **changes: Any) -> dict[str, Any]:
    """A line of OLMES' predictions; lengths count the leading space."""
    lengths = [len(text) for text in question.continuations]
    outputs = []
    for i, value in enumerate(question.values):
        own = {"sum_logits": value, "num_tokens": 1 + i, "num_tokens_all": 40 + i, "is_greedy": i == 5}
        own |= {"logits_per_token": value / (1 + i), "logits_per_char": value / lengths[i], "num_chars": lengths[i]}
        outputs.append(own | {"sum_logits_uncond": value - 1.5 + i, "logits_per_byte": 2.0})
    per_token = [value / (1 + i) for i, value in enumerate(question.values)]
    per_char = [value / length for value, length in zip(question.values, lengths, strict=True)]
    informative = [1.5 - i for i in range(len(outputs))]
    metrics: dict[str, Any] = {"correct_choice": 0}
    for name, scores in {"raw": question.values, "per_token": per_token, "per_char": per_char}.items():
        metrics[f"predicted_index_{name}"] = scores.index(max(scores))
        metrics[f"acc_{name}"] = int(metrics[f"predicted_index_{name}"] == question.gold)
    metrics["predicted_index_uncond"] = informative.index(max(informative))
    metrics["acc_uncond"] = int(metrics["predicted_index_uncond"] == question.gold)
    line = {"doc_id": question.number, "native_id": None, "label": question.gold, "metrics": metrics}
    return line | {"model_output": outputs, "task_hash": "abc", "model_hash": "def"} | changes


def request_rows(question: Question) -> list[dict[str, Any]]:
    """OLMES' rows of requests of one item, those behind another context included."""
    rows = []
    for offset in (0, 1_000_000):
        for i, (context, continuation) in enumerate(zip(question.contexts, question.continuations, strict=True)):
            request = {"context": "Answer:" if offset else context, "continuation": continuation}
            row = {"request_type": "loglikelihood", "doc": {}, "request": request, "idx": i, "task_name": "quiz"}
            rows.append(row | {"doc_id": question.number + offset, "native_id": None, "label": question.gold})
    return rows


def write_olmes(
    folder: Path, task: str, asked: Sequence[Question], requests: bool = True, prefix: str = "task-000-"
) -> Path:
    """Write predictions, metrics and, unless told otherwise, requests of one task; returns the folder."""
    write_lines(folder / f"{prefix}{task}-predictions.jsonl", [prediction(question) for question in asked])
    config = {
        "task_core": task,
        "num_shots": 5,
        "limit": 1000,
        "fewshot_seed": 1234,
        "metadata": {"alias": f"{task}:rc"},
    }
    metrics = {"task_name": task, "task_hash": "abc", "model_config": {"model": "misleading", "revision": "wrong"}}
    metrics |= {"task_config": config, "metrics": {}, "num_instances": len(asked)}
    (folder / f"{prefix}{task}-metrics.json").write_text(json.dumps(metrics))
    if requests:
        rows = [row for question in asked for row in request_rows(question)]
        write_lines(folder / f"{prefix}{task}-requests.jsonl", rows)
    return folder


def write_olmo_eval(folder: Path, model: str, task: str, asked: Sequence[Question], requests: bool = True) -> Path:
    """Write predictions, metrics and requests of one task as olmo-eval does; returns the folder."""
    lines, rows = [], []
    for question in asked:
        outputs = [
            {"text": text, "extracted_answer": None, "is_greedy": False, "sum_logits": value, "num_tokens": 2}
            | {"num_tokens_all": 20, "num_chars": len(text)}
            for text, value in zip(question.continuations, question.values, strict=True)
        ]
        line = {"doc_id": question.number, "native_id": f"n{question.number}", "model_output": outputs}
        lines.append(line | {"instance_metrics": {"acc": {"acc": question.accuracy()}}, "label": question.gold})
        request: dict[str, Any] = {"context": question.contexts[0], "continuations": question.continuations}
        if len(set(question.contexts)) > 1:
            request["continuation_prompts"] = question.contexts
        row = {"request_type": "loglikelihood", "doc": {"query": "…"}, "request": request, "idx": 0, "task_name": task}
        rows.append(row | {"doc_id": question.number, "native_id": f"n{question.number}", "label": question.gold})
    write_lines(folder / "predictions" / model / f"{task}_0a1b2c-predictions.jsonl", lines)
    if requests:
        write_lines(folder / "requests" / model / f"{task}_0a1b2c-requests.jsonl", rows)
    provider = {"model": f"owner/{model}", "revision": folder.name, "dtype": "bfloat16", "kind": "vllm"}
    config = {"num_fewshot": 5, "limit": None, "seed": 42}
    metrics = {"config": {"provider": provider}, "tasks": [{"alias": task, "config": config, "task_hash": "0a1b2c"}]}
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1))
    return folder


def long_rows(asked: Sequence[Question], **more: Any) -> list[dict[str, Any]]:
    """A plain table's rows, one a choice, with ids as text that looks like numbers."""
    return [
        {"item": f"{question.number:03d}", "choice": i, "choice_text": text, "log_likelihood": value}
        | {"is_gold": i == question.gold, **more}
        for question in asked
        for i, (text, value) in enumerate(zip(question.choices, question.values, strict=True))
    ]


def write_csv(file: Path, rows: Sequence[dict[str, Any]], separator: str = ",") -> Path:
    """Write rows as CSV or TSV, truth as true and false."""
    file.parent.mkdir(parents=True, exist_ok=True)

    def cell(value: Any) -> str:
        return (
            str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, float) else str(value)
        )

    lines = [separator.join(rows[0]), *(separator.join(cell(value) for value in row.values()) for row in rows)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file
