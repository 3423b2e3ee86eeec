"""lighteval and the Open LLM Leaderboard's first version: a Parquet file of details a task.

From lighteval 0.11 a row has ``doc`` (query, choices, gold_index) and ``model_response`` (logprobs: a number a choice);
before, ``full_prompt``, ``choices``, ``gold_index`` and ``predictions``, up to 0.6 each as text that holds a Python
literal. The leaderboard's ``predictions`` are the numbers themselves. There are no ids: identity is the text.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from elusive.errors import ElusiveError
from elusive.importing import streams
from elusive.importing.lm_eval import TIME, several_right
from elusive.importing.records import Record, shared, text_identity

DELIMITER = " "
_NAME = re.compile(rf"details_(?P<task>.+?)(?:_(?P<time>{TIME}))?\.parquet$")
_RESULTS = re.compile(rf"results_(?P<time>{TIME})\.json$")
#: What padding is written as in lists of tokens.
_PADDING = -1


def is_details(columns: Sequence[str]) -> bool:
    """Whether the columns are those of details."""
    names = set(columns)
    return {"doc", "model_response"} <= names or ("predictions" in names and bool(names & {"gold_index", "gold"}))


def is_results(found: Mapping[str, Any]) -> bool:
    """Whether a JSON document has the results of a run."""
    return "config_general" in found and "results" in found


def task_and_time(file: str) -> tuple[str, str | None]:
    """Task, with the number of shots behind it, and time of a run by the name of a file."""
    found = _NAME.match(PurePath(file).name)
    return (found["task"], found["time"]) if found else (PurePath(file).name.split(".")[0], None)


def results_time(file: str) -> str | None:
    """Time of a run by the name of its results."""
    found = _RESULTS.search(PurePath(file).name)
    return found["time"] if found else None


def about(results: Mapping[str, Any], task: str) -> dict[str, Any]:
    """What the results say of the run of ``task``."""
    general = results["config_general"]
    config = general.get("model_config") or {}
    named = config.get("model_name") or config.get("pretrained") or general.get("model_name")
    revision = config.get("revision") or general.get("model_sha")
    shots = task.rsplit("|", 1)[-1]
    found = {
        "harness": "lighteval",
        "harness_version": general.get("lighteval_version"),
        "harness_commit": general.get("lighteval_sha"),
        "revision": revision,
        "dtype": str(config.get("dtype") or general.get("model_dtype") or "").removeprefix("torch.") or None,
        "num_fewshot": int(shots) if shots.isdigit() else None,
        "limit": general.get("max_samples"),
        "model": PurePath(named).name if isinstance(named, str) else None,
        "names": [str(name) for name in (revision, isinstance(named, str) and PurePath(named).name) if name],
    }
    return {key: value for key, value in found.items() if value is not None}


def read(file: str, task: str, progress: streams.Progress | None = None) -> Iterator[Record]:
    """The records of a file of details, numbered by its rows. Raises :class:`ElusiveError`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with streams.open_bytes(file):
        pass  # a Git LFS pointer says what it is
    number = 0
    try:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(256, use_threads=False):
                for row in batch.to_pylist():
                    try:
                        yield _record(file, task, number, {key: _literal(value) for key, value in row.items()})
                    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
                        raise ElusiveError(
                            f"{file}, row {number}: not as lighteval writes details ({error!r})"
                        ) from error
                    number += 1
    except (pa.ArrowInvalid, OSError) as error:
        raise ElusiveError(f"{file}: not a readable Parquet file ({error}); it may be cut off") from error
    if progress:
        progress(Path(file).stat().st_size)


def _literal(value: Any) -> Any:
    """Text that holds a Python list, tuple or mapping as what it holds: never evaluated."""
    if isinstance(value, str) and value[:1] in "[({" and value[-1:] in "])}":
        try:
            return ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return value
    return value


def _record(file: str, task: str, number: int, row: Mapping[str, Any]) -> Record:
    if "model_response" in row:
        document, response = row["doc"], row["model_response"]
        values, flags = list(response.get("logprobs") or ()), None
        context, choices, gold = document["query"], document["choices"], document["gold_index"]
        native, metrics = document.get("id"), row.get("metric") or {}
        tokens = response.get("output_tokens")
        behind = document.get("unconditioned_query")
    else:
        predictions = row["predictions"]
        predictions = predictions if isinstance(predictions, list) else [predictions]
        pairs = bool(predictions) and all(isinstance(entry, list | tuple) and len(entry) == 2 for entry in predictions)
        values = [entry[0] for entry in predictions] if pairs else list(predictions)
        flags = [entry[1] for entry in predictions] if pairs else None
        context = row.get("full_prompt") or row.get("query") or row.get("example")
        choices, gold = row["choices"], row.get("gold_index", row.get("gold"))
        native, metrics = None, row.get("metrics") or row
        tokens, behind = row.get("cont_tokens"), None
    if not values or any(isinstance(value, bool) or not isinstance(value, int | float) for value in values):
        raise ElusiveError(f"{file}: task {task} generates text; only tasks that score each choice can be imported")
    count = len(choices)
    unconditional = None
    if len(values) == 2 * count:
        values, unconditional = values[:count], values[count:]
    if len(values) != count:
        raise ElusiveError(f"{file}: item {number} has {count} choices but {len(values)} log-likelihoods")
    golds = list(gold) if isinstance(gold, list | tuple) else [gold]
    if len(golds) > 1:
        raise several_right(file, number, len(golds))
    right = int(golds[0]) if golds and str(golds[0]).lstrip("-").isdigit() else None
    if not isinstance(context, str):
        raise ElusiveError(f"{file}: item {number} has no text of its prompt")
    contexts, continuations = shared([context] * count, choices)
    spaced = all(text.startswith(DELIMITER) for text in continuations)
    accuracy = metrics.get("acc") if isinstance(metrics, Mapping) else None
    greedy = flags is not None and all(isinstance(flag, bool) for flag in flags)
    return Record(
        task=task,
        number=number,
        contexts=contexts,
        continuations=continuations,
        choices=tuple(text[len(DELIMITER) :] if spaced else text for text in continuations),
        gold=right,
        log_likelihood=tuple(map(float, values)),
        identity=text_identity(contexts, continuations),
        is_greedy=tuple(flags) if greedy and flags is not None else None,
        num_tokens=_lengths(tokens, count),
        unconditional=None if unconditional is None else tuple(map(float, unconditional)),
        native_id=str(native) if native not in (None, "") else None,
        logged={} if accuracy is None else {"acc": accuracy},
        measures={} if unconditional is None else {"unconditional_context": behind or "not known"},
    )


def _lengths(tokens: Any, count: int) -> tuple[int, ...] | None:
    """Tokens of each choice, without padding; None unless there is a list a choice."""
    if not isinstance(tokens, list) or len(tokens) not in (count, 2 * count):
        return None
    if not all(isinstance(own, list | tuple) and own for own in tokens):
        return None
    lengths = [sum(1 for token in _flat(own) if token != _PADDING) for own in tokens[:count]]
    return tuple(lengths) if all(lengths) else None


def _flat(tokens: Sequence[Any]) -> list[Any]:
    return [entry for token in tokens for entry in (token if isinstance(token, list | tuple) else [token])]
