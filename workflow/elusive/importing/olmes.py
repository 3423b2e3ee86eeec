"""OLMES (oe-eval) and the evaluation instances of DataDecide: predictions, and the requests that have the texts.

``{task}-predictions.jsonl`` has a line an item with ``model_output``, an entry a choice; ``{task}-requests.jsonl`` a
row a choice with context and continuation; ``{task}-metrics.json`` the configuration. Model and step are those of the
path: names inside mislead. Without the requests there are no texts: an item is then known by task, ``task_hash``,
number, number of choices and gold, and what takes lengths is null.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from elusive.errors import ElusiveError
from elusive.importing import streams
from elusive.importing.records import Record, other_identity, shared, text_identity

DELIMITER = " "
#: Rows of requests from this number on are the same continuations behind another context.
UNCONDITIONAL = 1_000_000
#: What that context is where the requests are not there to say it.
UNCONDITIONAL_CONTEXT = "Answer:"
#: Choices that ``model_output`` keeps.
MOST = 100
_NAME = re.compile(
    r"(?:task-\d+-)?(?P<task>.+)-(?P<kind>predictions\.jsonl|requests\.jsonl|metrics\.json)(?:\.gz|\.zst)?$"
)
_METRICS = (
    *(f"predicted_index_{rule}" for rule in ("raw", "per_token", "per_char", "uncond")),
    *(f"acc_{rule}" for rule in ("raw", "per_token", "per_char", "uncond")),
)


def is_predictions(found: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a line of predictions."""
    return "doc_id" in found and isinstance(found.get("model_output"), list) and "instance_metrics" not in found


def is_requests(found: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a row of requests."""
    request = found.get("request")
    return (
        "doc_id" in found and "request_type" in found and isinstance(request, dict) and "continuations" not in request
    )


def is_metrics(found: Mapping[str, Any]) -> bool:
    """Whether a JSON document has the metrics of a task."""
    return "task_config" in found and "metrics" in found


def task_name(file: str) -> str:
    """The task by the name of a file."""
    name = PurePath(file).name
    found = _NAME.match(name)
    return found["task"] if found else name.split(".")[0]


def beside(file: str, kind: str) -> str | None:
    """The file of the same task with ``requests.jsonl`` or ``metrics.json``, if there is one.

    DataDecide has one folder ``requests`` for all models and checkpoints, which lies further up.
    """
    path = Path(file)
    found = _NAME.match(path.name)
    if found is None:
        return None
    before = path.name[: found.start("kind")]
    for suffix in ("", ".gz", ".zst"):
        if (near := path.with_name(f"{before}{kind}{suffix}")).is_file():
            return str(near)
    if kind == "requests.jsonl":
        for folder in path.resolve().parents:
            for suffix in (".gz", "", ".zst"):
                far = folder / "requests" / f"{found['task']}-{kind}{suffix}"
                if far.is_file():
                    return str(far)
    return None


def about(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What a task's metrics file says of the run, as far as it is known. Its names of model and revision mislead."""
    task, model = metrics.get("task_config") or {}, metrics.get("model_config") or {}
    metadata = task.get("metadata") or {}
    found = {
        "harness": "OLMES",
        "harness_version": metrics.get("version") or metadata.get("version"),
        "task_version": metadata.get("alias"),
        "task_hash": metrics.get("task_hash"),
        "dataset": task.get("dataset_path"),
        "num_fewshot": task.get("num_shots"),
        "fewshot_seed": task.get("fewshot_seed"),
        "limit": task.get("limit"),
        "sample_seed": task.get("random_subsample_seed"),
        "num_items": metrics.get("num_instances"),
        "backend": model.get("model_type"),
        "batch_size": (metrics.get("compute_config") or {}).get("batch_size"),
    }
    return {key: value for key, value in found.items() if value is not None}


class Requests:
    """Texts of every item: contexts and continuations by choice, and the context of the unconditional ones."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.labels: dict[int, Any] = {}
        self.unconditional_context: str | None = None
        self._pairs: dict[int, dict[int, tuple[str, str]]] = {}
        self._shared: dict[str, str] = {}
        for line, found in streams.objects(file):
            try:
                number, choice = int(found["doc_id"]), int(found["idx"])
                context, continuation = found["request"]["context"], found["request"]["continuation"]
            except (KeyError, TypeError, ValueError) as error:
                raise ElusiveError(f"{file}, line {line}: not a request for a choice ({error!r})") from error
            if number >= UNCONDITIONAL:
                self.unconditional_context = context
                continue
            context = self._shared.setdefault(context, context)
            self._pairs.setdefault(number, {})[choice] = (context, continuation)
            self.labels[number] = found.get("label")

    def texts(self, number: int) -> tuple[list[str], list[str]] | None:
        """Contexts and continuations of an item in the order of its choices, None if it has none."""
        found = self._pairs.get(number)
        if found is None:
            return None
        if sorted(found) != list(range(len(found))):
            raise ElusiveError(f"{self.file}: item {number}: its choices are {sorted(found)}, not counted from 0")
        ordered = [found[choice] for choice in range(len(found))]
        return [context for context, _ in ordered], [continuation for _, continuation in ordered]


def read(
    file: str, task: str, requests: str | None = None, progress: streams.Progress | None = None
) -> Iterator[Record]:
    """The records of a file of predictions, with the texts of the file ``requests``. Raises :class:`ElusiveError`."""
    texts = Requests(requests) if requests else None
    for line, found in streams.objects(file, progress):
        try:
            yield _record(file, task, found, texts)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ElusiveError(f"{file}, line {line}: not as OLMES writes predictions ({error!r})") from error


def _record(file: str, task: str, found: Mapping[str, Any], requests: Requests | None) -> Record:
    number, outputs, metrics = int(found["doc_id"]), found["model_output"], found.get("metrics") or {}
    if metrics.get("no_answer"):
        raise ElusiveError(f"{file}: item {number} has no answer (no_answer is {metrics['no_answer']})")
    values = log_likelihoods(file, task, number, outputs)
    count = len(values)
    label = found.get("label")
    if isinstance(label, list) and len(label) != 1:
        from elusive.importing.lm_eval import several_right

        raise several_right(file, number, len(label))
    gold = label[0] if isinstance(label, list) else label
    if isinstance(gold, bool) or not isinstance(gold, int):
        raise ElusiveError(f"{file}: does not say which choice of item {number} is right (its label is {label!r})")
    texts = requests.texts(number) if requests else None
    if requests is not None and texts is None:
        raise ElusiveError(f"{file}: item {number} has no rows in {requests.file}; they are of different runs")
    given = [output.get("num_chars") for output in outputs]
    contexts = continuations = choices = None
    identity = None
    if texts is not None:
        if len(texts[0]) != count:
            more = ", of which OLMES keeps 100" if count == MOST < len(texts[0]) else ""
            raise ElusiveError(
                f"{file}: item {number} has {count} choices, but {len(texts[0])} in {requests.file}{more}"
            )
        if requests.labels[number] != label:
            raise ElusiveError(
                f"{file}: item {number}: choice {label} is right, but {requests.labels[number]} in {requests.file}"
            )
        if any(length not in (len(text), 1, None) for length, text in zip(given, texts[1], strict=True)):
            raise ElusiveError(
                f"{file}: item {number}: its choices have {given} characters, but {[len(text) for text in texts[1]]} "
                f"in {requests.file}; they are of different runs"
            )
        contexts, continuations = shared(*texts)
        own = all(text.startswith(DELIMITER) for text in continuations)
        choices = tuple(text[len(DELIMITER) :] if own else text for text in texts[1])
        identity = text_identity(contexts, continuations)
    elif count == MOST:
        raise ElusiveError(f"{file}: item {number} has {count} choices or more, of which OLMES keeps {MOST}")
    measures: dict[str, Any] = {}
    if identity is None:
        identity = other_identity("olmes", task, found.get("task_hash"), number, count, gold)
        measures["task_hash"] = found.get("task_hash")
    behind = requests.unconditional_context if requests else None
    measures["unconditional_context"] = UNCONDITIONAL_CONTEXT if behind is None else behind
    if all(isinstance(length, int) and length for length in given):
        measures["characters"] = given
    native = found.get("native_id")
    return Record(
        task=task,
        number=number,
        contexts=contexts,
        continuations=continuations,
        choices=choices,
        gold=gold,
        log_likelihood=values,
        identity=identity,
        is_greedy=_all(outputs, "is_greedy", bool),
        num_tokens=_all(outputs, "num_tokens", int),
        unconditional=_all(outputs, "sum_logits_uncond", float),
        native_id=None if native is None else str(native),
        logged={
            name: metrics[name]
            for name in _METRICS
            if name in metrics and ("characters" in measures or not name.endswith("per_char"))
        },
        measures=measures,
    )


def log_likelihoods(file: str, task: str, number: int, outputs: Sequence[Mapping[str, Any]]) -> tuple[float, ...]:
    """``sum_logits`` of every choice; raises :class:`ElusiveError` for what was generated."""
    if any("sum_logits" not in output for output in outputs):
        raise ElusiveError(f"{file}: task {task} generates text; only tasks that score each choice can be imported")
    if len(outputs) == 1:
        raise ElusiveError(
            f"{file}: task {task} scores a single text for each item; only tasks that score each choice can be imported"
        )
    values = [output["sum_logits"] for output in outputs]
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        raise ElusiveError(f"{file}: item {number}: its log-likelihoods are {values}, not all numbers")
    return tuple(map(float, values))


def _all(outputs: Sequence[Mapping[str, Any]], key: str, kind: type) -> tuple[Any, ...] | None:
    """The value of every choice, None unless all have one of its kind."""
    values = [output.get(key) for output in outputs]
    if any(value is None or isinstance(value, bool) != (kind is bool) for value in values):
        return None
    return tuple(kind(value) for value in values)
