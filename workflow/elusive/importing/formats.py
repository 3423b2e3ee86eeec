"""What a file of logs is, by its content."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from elusive.errors import ElusiveError
from elusive.importing import lighteval, lm_eval, lm_eval_before, olmes, olmo_eval, plain, streams

#: Kind of a file -> what messages call it.
KINDS = {
    "lm_eval.samples": "samples of lm-evaluation-harness",
    "lm_eval.aggregates": "results of lm-evaluation-harness",
    "lm_eval.before": "written-out items of lm-evaluation-harness before 0.4",
    "olmes.predictions": "predictions of OLMES",
    "olmes.requests": "requests of OLMES",
    "olmes.metrics": "metrics of OLMES",
    "olmo_eval.predictions": "predictions of olmo-eval",
    "olmo_eval.requests": "requests of olmo-eval",
    "olmo_eval.metrics": "metrics of olmo-eval",
    "lighteval.details": "details of lighteval or the Open LLM Leaderboard",
    "lighteval.results": "results of lighteval or the Open LLM Leaderboard",
    "table": "plain table",
    "archive": "tar archive",
    "helm": "HELM scenario state",
    "opencompass": "predictions of OpenCompass",
    "every_eval_ever": "record of Every Eval Ever",
    "inspect": "log of Inspect",
    "other": "something else",
}

#: Kinds that are recognised and cannot be imported -> why, and the way out.
REFUSED = {
    "helm": "a HELM scenario state, which cannot be imported: in its method `joint` the model answers with one letter, "
    "and only log-likelihoods of every choice can be used; run the benchmark with lm-evaluation-harness --log_samples",
    "opencompass": "predictions of OpenCompass, which cannot be imported: they hold the mean loss over prompt and "
    "answer without the number of tokens, from which no log-likelihood of the choice follows; run the benchmark with "
    "lm-evaluation-harness --log_samples",
    "every_eval_ever": "a record of Every Eval Ever, which cannot be imported: it holds scores and chosen texts, not "
    "the log-likelihood of every choice; import the harness's own logs",
    "inspect": "a log of Inspect, which cannot be imported: it holds the chosen text and its score, not the "
    "log-likelihood of every choice; run the benchmark with lm-evaluation-harness --log_samples",
}


@dataclass(frozen=True)
class Found:
    """What a file was found to be: its ``kind``, one of :data:`KINDS`.

    ``first`` is the first object of a JSONL file or array, or the whole of a JSON document; ``columns`` are those of a
    table or Parquet file.
    """

    kind: str
    first: Mapping[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] = ()


def recognise(path: str, layout: plain.Layout | None = None) -> Found:
    """What the file at ``path`` is; ``layout`` says how plain tables are written.

    Raises :class:`ElusiveError` for one that begins as JSON and is none, and for a Git LFS pointer.
    """
    layout = layout or plain.Layout()
    with streams.open_bytes(path) as stream:
        start = stream.peek(streams.HEAD)[: streams.HEAD]
        if start.startswith(b"PAR1"):
            columns = _parquet_columns(path)
            return Found(_kind_of_columns(columns, layout), columns=columns)
        if start.startswith(b"PK\x03\x04"):
            return Found("inspect" if b"_journal/" in start or b"header.json" in start else "other")
        if start[257:262] == b"ustar":
            return Found("archive")
        if b"\0" in start:
            return Found("other")
        stripped = start.lstrip()
        if stripped.startswith(b"["):
            found = _first_of_array(path, stream)
            return Found(_kind_of_object(found, layout), found, tuple(found))
        if stripped.startswith(b"{"):
            found = _first_object(path, stream)
            return Found(_kind_of_object(found, layout), found, tuple(found))
        columns = table_columns(start)
        return Found(_kind_of_columns(columns, layout), columns=columns)


def _parquet_columns(path: str) -> tuple[str, ...]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return tuple(pq.read_schema(path).names)
    except (pa.ArrowInvalid, OSError) as error:
        raise ElusiveError(f"{path}: not a readable Parquet file ({error}); it may be cut off") from error


def table_columns(start: bytes) -> tuple[str, ...]:
    """The columns in the header line of a CSV or TSV file that begins with ``start``."""
    line = start.splitlines()[0] if start.strip() else b""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return ()
    return tuple(next(csv.reader([text], delimiter="\t" if "\t" in text else ","), ()))


def _first_of_array(path: str, stream: Any) -> dict[str, Any]:
    """The first element of an array, of which no more is read than it takes."""
    data, size = b"", streams.HEAD
    while True:
        piece = stream.read(size)
        data, size = data + piece, 4 * size
        text = data.decode("utf-8", "ignore").lstrip()[1:].lstrip()
        if text.startswith("]"):
            return {}
        try:
            found, _ = json.JSONDecoder().raw_decode(text)
        except json.JSONDecodeError as error:
            if piece:
                continue
            raise ElusiveError(f"{path}: cut off or not valid JSON ({error.msg})") from error
        return found if isinstance(found, dict) else {}


def _first_object(path: str, stream: Any) -> dict[str, Any]:
    """The object in the first line, or the file's only one if it takes several lines."""
    line = stream.readline()
    while line.isspace():
        line = stream.readline()
    try:
        return json.loads(line)
    except ValueError:
        try:
            return json.loads(line + stream.read())
        except ValueError as error:
            raise ElusiveError(f"{path}, line 1: cut off or not valid JSON ({error})") from error


def _kind_of_object(found: Mapping[str, Any], layout: plain.Layout) -> str:
    for kind, belongs in _BY_OBJECT.items():
        if belongs(found):
            return kind
    return _kind_of_columns(tuple(found), layout)


def _kind_of_columns(columns: tuple[str, ...], layout: plain.Layout) -> str:
    if lighteval.is_details(columns):
        return "lighteval.details"
    return "table" if plain.is_table(columns, layout) else "other"


def _is_helm(found: Mapping[str, Any]) -> bool:
    return "adapter_spec" in found and "request_states" in found


def _is_opencompass(found: Mapping[str, Any]) -> bool:
    first = found.get("0")
    return isinstance(first, dict) and (
        "origin_prompt" in first or any("PPL" in v for v in first.values() if isinstance(v, dict))
    )


def _is_every_eval_ever(found: Mapping[str, Any]) -> bool:
    return "evaluation_id" in found or ("schema_version" in found and "evaluation_results" in found)


def _is_inspect(found: Mapping[str, Any]) -> bool:
    return isinstance(found.get("eval"), dict) and "plan" in found and ("samples" in found or "results" in found)


#: Kind -> whether a JSON object is of it, in the order in which they are asked.
_BY_OBJECT: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "lm_eval.samples": lm_eval.is_sample,
    "lm_eval.aggregates": lm_eval.is_aggregates,
    "lm_eval.before": lm_eval_before.is_items,
    "olmes.predictions": olmes.is_predictions,
    "olmes.requests": olmes.is_requests,
    "olmes.metrics": olmes.is_metrics,
    "olmo_eval.predictions": olmo_eval.is_predictions,
    "olmo_eval.requests": olmo_eval.is_requests,
    "olmo_eval.metrics": olmo_eval.is_metrics,
    "lighteval.results": lighteval.is_results,
    "helm": _is_helm,
    "opencompass": _is_opencompass,
    "every_eval_ever": _is_every_eval_ever,
    "inspect": _is_inspect,
}
