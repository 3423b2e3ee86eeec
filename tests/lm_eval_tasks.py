"""lm-eval's own task definitions, run on rows given in memory instead of the hub's dataset.

The task's YAML file and Python helpers are those of the installed lm-eval; only its dataset is replaced, by lm-eval's
own ``custom_dataset`` hook. Contexts and requests are made by lm-eval's ``build_all_requests``.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import lm_eval.tasks
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks._yaml_loader import load_yaml

_FILES = {
    "arc_easy": "arc/arc_easy.yaml",
    "arc_challenge": "arc/arc_challenge.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml",
    "mathqa": "mathqa/mathqa.yaml",
    "mc_taco": "mc_taco/default.yaml",
    "openbookqa": "openbookqa/openbookqa.yaml",
    "piqa": "piqa/piqa.yaml",
    "race": "race/race.yaml",
    "sciq": "sciq/sciq.yaml",
    "social_iqa": "siqa/siqa.yaml",
    "winogrande": "winogrande/default.yaml",
    "xwinograd_en": "xwinograd/xwinograd_en.yaml",
}


@dataclass(frozen=True)
class LmEvalItem:
    """What lm-eval makes of a row: its requests in order of the choices, the gold index, and ``doc_to_choice``."""

    requests: list[tuple[str, str]]
    gold: int
    choices: list[str]


def lm_eval_task(
    file: str, rows: list[dict[str, Any]], num_fewshot: int = 0, shots: list[dict[str, Any]] | None = None
) -> ConfigurableTask:
    """The task defined in ``file`` (below lm-eval's tasks folder) with ``rows`` as the split that it evaluates.

    ``shots`` are the rows of the split from which it takes ``num_fewshot`` solved examples.
    """
    config = load_yaml(Path(lm_eval.tasks.__file__).parent / file)
    config.pop("tag", None)
    evaluated = config.get("test_split") or config["validation_split"]
    splits = {config.get(f"{kind}_split") for kind in ("training", "validation", "test", "fewshot")} - {None}
    # Other splits only have to exist, nothing is asked of them without few-shot examples.
    data = {split: datasets.Dataset.from_list(rows if split == evaluated else shots or rows[:1]) for split in splits}
    config["num_fewshot"] = num_fewshot
    config["custom_dataset"] = lambda **_: datasets.DatasetDict(data)
    return ConfigurableTask(config=config)


def task_file(benchmark: str, row: dict[str, Any]) -> str:
    """Where lm-eval defines the task that asks about ``row``, below its tasks folder."""
    return f"mmlu/default/mmlu_{row['subject']}.yaml" if benchmark == "mmlu" else _FILES[benchmark]


def lm_eval_items(benchmark: str, rows: list[dict[str, Any]]) -> list[LmEvalItem]:
    """One :class:`LmEvalItem` per row of the hub's schema, in the order of ``rows``."""
    files = defaultdict(list)
    for number, row in enumerate(rows):
        files[task_file(benchmark, row)].append(number)
    items: dict[int, LmEvalItem] = {}
    for file, numbers in files.items():
        task = lm_eval_task(file, [rows[number] for number in numbers])
        task.build_all_requests()
        requests = defaultdict(list)
        for instance in task.instances:
            requests[instance.doc_id].append(instance.args)
        for doc_id, doc in enumerate(task.eval_docs):
            # In tasks with one context per choice lm-eval swaps the roles of text and target.
            gold = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
            items[numbers[doc_id]] = LmEvalItem(requests[doc_id], gold, task.doc_to_choice(doc))
    return [items[number] for number in range(len(rows))]


def lm_eval_requests(benchmark: str, rows: list[dict[str, Any]]) -> list[list[tuple[str, str]]]:
    """The (context, continuation) pairs that lm-eval scores, per row and in order of the choices."""
    return [item.requests for item in lm_eval_items(benchmark, rows)]
