"""olmo-eval: ``predictions/{model}/{task}_{hash}-predictions.jsonl``, requests of the same name, and ``metrics.json``.

A line of predictions has ``model_output``, an entry a choice with its ``text``, the continuation; the requests have one
line an item with the context (``continuation_prompts``: one a choice). ``doc_id`` counts the documents that were drawn,
so that it names an item in one run only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from elusive.errors import ElusiveError
from elusive.importing import streams
from elusive.importing.lm_eval import several_right
from elusive.importing.olmes import log_likelihoods
from elusive.importing.records import Record, other_identity, shared, text_identity

DELIMITER = " "
_NAME = re.compile(r"(?P<task>.+?)(?:_(?P<hash>[0-9a-f]{6}))?-(?:predictions|requests)\.jsonl(?:\.gz|\.zst)?$")


def is_predictions(found: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a line of predictions."""
    return "doc_id" in found and isinstance(found.get("model_output"), list) and "instance_metrics" in found


def is_requests(found: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a line of requests."""
    request = found.get("request")
    return "doc_id" in found and "request_type" in found and isinstance(request, dict) and "continuations" in request


def is_metrics(found: Mapping[str, Any]) -> bool:
    """Whether a JSON document has the metrics of a run."""
    config = found.get("config")
    return isinstance(found.get("tasks"), list) and isinstance(config, dict) and "provider" in config


def task_name(file: str) -> str:
    """The task by the name of a file."""
    found = _NAME.match(PurePath(file).name)
    return found["task"] if found else PurePath(file).name.split(".")[0]


def beside(file: str) -> dict[str, str]:
    """Requests and metrics of a file of predictions, as far as they are there."""
    path = Path(file)
    found: dict[str, str] = {}
    if len(path.parents) > 2 and path.parent.parent.name == "predictions":
        root = path.parent.parent.parent
        stem = path.name.replace("-predictions.jsonl", "-requests.jsonl")
        for suffix in ("", ".gz", ".zst"):
            requests = root / "requests" / path.parent.name / f"{stem.removesuffix('.gz').removesuffix('.zst')}{suffix}"
            if requests.is_file():
                found["requests"] = str(requests)
        if (root / "metrics.json").is_file():
            found["metrics"] = str(root / "metrics.json")
    return found


def about(metrics: Mapping[str, Any], file: str) -> dict[str, Any]:
    """What ``metrics.json`` says of the run of a file of predictions."""
    provider = metrics["config"].get("provider") or {}
    task = task_name(file)
    named = [entry for entry in metrics["tasks"] if str(entry.get("alias") or entry.get("task_name") or "") == task]
    named = named or [entry for entry in metrics["tasks"] if _fits(entry, task)]
    config = (named[0].get("config") or {}) if named else {}
    revision, model = provider.get("revision"), provider.get("model")
    found = {
        "harness": "olmo-eval",
        "harness_version": metrics["config"].get("version"),
        "task_hash": (named[0].get("task_hash") if named else None),
        "num_fewshot": config.get("num_fewshot"),
        "limit": config.get("limit"),
        "fewshot_seed": config.get("fewshot_seed"),
        "sample_seed": config.get("seed"),
        "revision": revision,
        "dtype": provider.get("dtype"),
        "backend": provider.get("kind") or provider.get("name"),
        "model": PurePath(model).name if isinstance(model, str) else None,
        "names": [str(name) for name in (revision, isinstance(model, str) and PurePath(model).name) if name],
    }
    return {key: value for key, value in found.items() if value is not None}


def _fits(entry: Mapping[str, Any], task: str) -> bool:
    """Whether an entry of ``tasks`` is the one whose files are called ``task``: names lose what no file may have."""
    names = (entry.get("alias"), entry.get("task_name"), entry.get("name"), entry.get("spec"))
    return any(isinstance(name, str) and re.sub(r"\W", "_", name) == re.sub(r"\W", "_", task) for name in names)


def read(
    file: str, task: str, requests: str | None = None, progress: streams.Progress | None = None
) -> Iterator[Record]:
    """The records of a file of predictions, with the texts of the file ``requests``. Raises :class:`ElusiveError`."""
    asked = {}
    for line, found in streams.objects(requests) if requests else ():
        try:
            asked[found["doc_id"]] = found
        except KeyError as error:
            raise ElusiveError(f"{requests}, line {line}: has no {error}") from error
    lines = []
    greedy = False
    for line, found in streams.objects(file, progress):
        lines.append((line, found))
        outputs = found.get("model_output") or ()
        greedy = greedy or any(output.get("num_tokens_all") != output.get("num_tokens") for output in outputs)
    for line, found in lines:
        try:
            yield _record(file, task, found, asked.get(found["doc_id"]) if requests else None, greedy)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ElusiveError(f"{file}, line {line}: not as olmo-eval writes predictions ({error!r})") from error


def _record(
    file: str, task: str, found: Mapping[str, Any], asked: Mapping[str, Any] | None, greedy_known: bool
) -> Record:
    number, outputs = int(found["doc_id"]), found["model_output"]
    values = log_likelihoods(file, task, number, outputs)
    count = len(values)
    own = [output["text"] for output in outputs]
    contexts: list[str] | None = None
    behind = "not known"
    document: Mapping[str, Any] = {}
    if asked is not None:
        if asked.get("native_id") != found.get("native_id"):
            raise ElusiveError(
                f"{file}: item {number} is {found.get('native_id')!r}, but {asked.get('native_id')!r} in its requests; "
                "they are of different runs"
            )
        document = asked.get("doc") or {}
        request = asked["request"]
        continuations = request.get("continuations") or []
        if len(continuations) and count == 2 * len(continuations):
            count = len(continuations)
        prompts = request.get("continuation_prompts")
        contexts = list(prompts[:count]) if prompts else [request["context"]] * count
        behind = prompts[count] if prompts and len(prompts) > count else behind
        if own[:count] != list(continuations[:count]):
            raise ElusiveError(
                f"{file}: item {number}: its texts are not those of its requests; they are of different runs"
            )
    elif count > 2 and count % 2 == 0 and own[: count // 2] == own[count // 2 :]:
        count //= 2
    unconditional = values[count:] or None
    continuations = own[:count]
    spaced = all(text.startswith(DELIMITER) for text in continuations)
    choices = tuple(text[len(DELIMITER) :] if spaced else text for text in continuations)
    gold = _gold(file, number, found.get("label"), choices, document.get("choices"))
    native = document.get("index", found.get("native_id"))
    texts: tuple[tuple[str, ...] | None, tuple[str, ...]] = (None, tuple(continuations))
    identity = other_identity("olmo_eval", task, str(native), continuations)
    if contexts is not None:
        texts = shared(contexts, continuations)
        identity = text_identity(*texts)
    tokens = [output.get("num_tokens") for output in outputs[:count]]
    greedy = [output.get("is_greedy") for output in outputs[:count]]
    known = greedy_known and all(isinstance(flag, bool) for flag in greedy)
    return Record(
        task=task,
        number=number,
        contexts=texts[0],
        continuations=texts[1],
        choices=choices,
        gold=gold,
        log_likelihood=values[:count],
        identity=identity,
        is_greedy=tuple(greedy) if known else None,
        num_tokens=tuple(tokens) if all(isinstance(length, int) and length for length in tokens) else None,
        unconditional=unconditional,
        native_id=None if native is None else str(native),
        measures={"unconditional_context": behind},
    )


def _gold(file: str, number: int, label: Any, choices: tuple[str, ...], listed: Any) -> int:
    """The index of the right choice: ``label`` is one, or a choice's text."""
    if isinstance(label, list):
        if len(label) != 1:
            raise several_right(file, number, len(label))
        label = label[0]
    if isinstance(label, int) and not isinstance(label, bool):
        return label
    if isinstance(label, str):
        for texts in (choices, tuple(text.strip() for text in choices), tuple(listed or ())):
            if texts.count(label) == 1 and len(texts) == len(choices):
                return texts.index(label)
    raise ElusiveError(f"{file}: does not say which choice of item {number} is right (its label is {label!r})")
