"""Question files as people and programs write them, and as accidents leave them.

One property: a clear error that names the file, or the items that another reader's rows give; never a traceback, never
another item. The environment variable ELUSIVE_EXAMPLES says how many files are tried.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import tempfile
import warnings
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from elusive.errors import ElusiveError
from elusive.items.build import build_items, load_items

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("ELUSIVE_EXAMPLES", 150))
FIELDS = ("question", "good", "bad", "key")
SPEC = {
    "name": "mine",
    "context": "Q: {{ question }}\nA:",
    "choices": "[good, bad] if key in ('A', 'a') else [bad, good]",
    "gold": "key | letter",
}
ODD = "\"',;\t\n\r |\\{}%é“”\u2028\x85\ufeff\U0001f600_0A"
TEXT = st.text(alphabet=st.sampled_from(ODD), max_size=6) | st.text(
    alphabet=st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=12
)
CHOICE = st.tuples(TEXT, st.sampled_from("xY7é"), TEXT).map("".join)
ROWS = st.lists(
    st.fixed_dictionaries({"question": TEXT, "good": CHOICE, "bad": CHOICE, "key": st.sampled_from(["A", "B"])}),
    min_size=1,
    max_size=4,
)


def written_json(data, rows):
    """A list, or an object a line."""
    ascii_only = data.draw(st.booleans())
    suffix = data.draw(st.sampled_from([".json", ".jsonl"]))
    lines = [json.dumps(row, ensure_ascii=ascii_only) for row in rows]
    if suffix == ".json" and (len(rows) == 1 or data.draw(st.booleans())):
        text = json.dumps(rows, ensure_ascii=ascii_only, indent=data.draw(st.sampled_from([None, 1])))
        return suffix, text.encode(), rows
    end = data.draw(st.sampled_from(["\n", "\r\n", "\n\n", "\r"]))
    return suffix, (end.join(lines) + data.draw(st.sampled_from(["", end]))).encode(), rows


def written_csv(data, rows):
    """By Python's or by pandas' writer."""
    quoting = data.draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]))
    end = data.draw(st.sampled_from(["\n", "\r\n"]))
    if end == "\n" and quoting == csv.QUOTE_MINIMAL:
        # Python's writer, which pandas uses, leaves carriage returns bare then.
        rows = [{name: text.replace("\r", "") or "x" for name, text in row.items()} for row in rows]
        rows = [row for row in rows if row["good"].strip() and row["bad"].strip()]
        assume(rows)
    if data.draw(st.booleans()):
        text = pd.DataFrame(rows).to_csv(index=data.draw(st.booleans()), quoting=quoting, lineterminator=end)
        return ".csv", text.encode(), rows
    out = io.StringIO()
    writer = csv.DictWriter(out, FIELDS, quoting=quoting, lineterminator=end)
    writer.writeheader()
    writer.writerows(rows)
    return ".csv", out.getvalue().encode(), rows


def written_parquet(data, rows):
    table = pa.Table.from_pylist(rows)
    kind = data.draw(st.sampled_from([pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]))
    table = table.cast(pa.schema([(name, kind) for name in table.column_names]))
    out = io.BytesIO()
    compression = data.draw(st.sampled_from(["none", "zstd", "snappy"]))
    pq.write_table(table, out, compression=compression, write_page_checksum=data.draw(st.booleans()))
    return ".parquet", out.getvalue(), rows


def written_tsv(data, rows):
    """As it stands, or quoted as pandas does."""
    # A carriage return before a line feed is the end of a line, whoever wrote it.
    rows = [{name: text.rstrip("\r") for name, text in row.items()} for row in rows]
    assume(all(row["good"].strip() and row["bad"].strip() for row in rows))
    if data.draw(st.booleans()):
        text = pd.DataFrame(rows).to_csv(sep="\t", index=data.draw(st.booleans()), lineterminator="\n")
    else:
        text = "".join("\t".join(line) + "\n" for line in [FIELDS, *([row[name] for name in FIELDS] for row in rows)])
    return ".tsv", text.encode(), rows


PLAIN = st.text(alphabet=st.sampled_from("ab é\"',"), min_size=1, max_size=5).map(lambda text: f"w{text}") | st.just(
    "word"
)
PLAIN_ROWS = st.lists(
    st.fixed_dictionaries({"question": PLAIN, "good": PLAIN, "bad": PLAIN, "key": st.sampled_from(["A", "B"])}),
    min_size=1,
    max_size=3,
)
WRITERS = [written_json, written_csv, written_parquet]


def expected(rows):
    """The items that rows give, in a few lines of Python; None where a row gives none."""
    items = []
    for row in rows:
        try:
            question, good, bad, key = (row[name] for name in FIELDS)
        except (KeyError, TypeError):
            return None
        texts = [str(value) for value in (question, good, bad)]
        plain = all(isinstance(value, str | int | float) for value in (question, good, bad))
        finite = all(not isinstance(value, float) or math.isfinite(value) for value in (question, good, bad))
        if not plain or not finite or not isinstance(key, str) or not all(text.strip() for text in texts[1:]):
            return None
        question, good, bad = texts
        if key.strip() not in ("A", "B", "a", "b"):
            return None
        choices = (good, bad) if key in ("A", "a") else (bad, good)
        items.append((f"Q: {question}\nA:", choices, "ab".index(key.strip().lower())))
    return items or None


def outcome(suffix, content):
    """The items of a file, or None where it is refused; a refusal names the file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"questions{suffix}"
        file.write_bytes(content)
        table = Path(folder) / "items.parquet"
        try:
            build_items(SPEC | {"file": str(file)}, table, None)
        except ElusiveError as error:
            assert str(file) in str(error)
            assert not table.exists()
            return None
        return [(item.contexts[0], item.choices, item.gold) for item in load_items(table).items]


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(st.data(), ROWS, st.sampled_from(WRITERS))
def test_what_programs_write_is_read(data, rows, writer):
    suffix, content, rows = writer(data, rows)
    if suffix != ".parquet" and data.draw(st.booleans()):
        content = b"\xef\xbb\xbf" + content
    assert outcome(suffix, content) == expected(rows)


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(st.data(), ROWS)
def test_a_tsv_file_is_read_as_meant_or_not_at_all(data, rows):
    """Whoever wrote it, with quotation or without."""
    suffix, content, rows = written_tsv(data, rows)
    found = outcome(suffix, content)
    assert found is None or found == expected(rows)


# --- accidents


def damaged(data, content):
    """One accident."""
    place = data.draw(st.integers(0, max(0, len(content) - 1)))
    kind = data.draw(
        st.sampled_from(["set", "cut", "end", "insert", "copy", "odd", "encoding", "line", "twice", "surrogate"])
    )
    if kind == "set":
        return content[:place] + bytes([data.draw(st.integers(0, 255))]) + content[place + 1 :]
    if kind == "cut":
        return content[:place] + content[place + data.draw(st.integers(1, 9)) :]
    if kind == "end":
        return content[:place]
    if kind == "insert":
        return content[:place] + data.draw(st.binary(min_size=1, max_size=3)) + content[place:]
    if kind == "copy":
        other = data.draw(st.integers(0, len(content)))
        return content[:place] + content[other : other + 12] + content[place:]
    if kind == "odd":
        words = [
            '"',
            '""',
            "\t",
            ",",
            "\n",
            "\r",
            "\r\n",
            " ",
            "\\",
            "'",
            ";",
            "NaN",
            "null",
            "[]",
            "{",
            "}",
            "\0",
            "1",
        ]
        words += ['"a": 1, ', '"question": "x", ', "Infinity", "1e5", "true", '["a"]', "\ufeff", "\x1a", "\u2028", "﻿"]
        return content[:place] + data.draw(st.sampled_from(words)).encode() + content[place:]
    if kind == "encoding":
        try:
            text = content.decode()
            return text.encode(data.draw(st.sampled_from(["utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252"])))
        except UnicodeError:
            return content
    lines = content.split(b"\n")
    line = data.draw(st.integers(0, len(lines) - 1))
    if kind == "line":
        return b"\n".join(lines[:line] + lines[line + 1 :])
    if kind == "twice":
        return b"\n".join([*lines[:line], lines[line], *lines[line:]])
    return (
        content[:place]
        + data.draw(st.sampled_from([rb"\ud83d", rb"\udc00", rb"\u0000", b"\xed\xa0\x80"]))
        + content[place:]
    )


def json_rows(content):
    """By Python's reader: a list, or an object a line."""
    text = content.decode("utf-8-sig")
    try:
        return json.loads(text)
    except ValueError:
        return [json.loads(line) for line in io.StringIO(text, newline=None) if line.strip()]


def pandas_rows(content, **style):
    frame = pd.read_csv(
        io.BytesIO(content),
        dtype=str,
        keep_default_na=False,
        na_filter=False,
        index_col=False,
        encoding="utf-8-sig",
        **style,
    )
    return frame.to_dict("records")


def readings(suffix, content):
    """What other readers make of a file; one for each way to read it that they succeed with."""
    readers = {
        ".json": [json_rows],
        ".jsonl": [
            lambda c: [json.loads(line) for line in io.StringIO(c.decode("utf-8-sig"), newline=None) if line.strip()]
        ],
        ".csv": [pandas_rows],
        ".tsv": [
            lambda c: pandas_rows(c, sep="\t", quoting=csv.QUOTE_NONE),
            lambda c: pandas_rows(c, sep="\t"),
        ],
    }
    found = []
    for reader in readers[suffix]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.append(reader(content))
        except Exception:
            continue
    return found


@settings(max_examples=2 * EXAMPLES, suppress_health_check=list(HealthCheck))
@given(st.data(), ROWS | PLAIN_ROWS, st.sampled_from([*WRITERS, written_tsv]))
def test_a_damaged_file_is_refused_or_read_as_others_read_it(data, rows, writer):
    suffix, content, rows = writer(data, rows)
    for _ in range(data.draw(st.sampled_from([1, 1, 1, 2, 3]))):
        content = damaged(data, content)
    found = outcome(suffix, content)
    event(f"{suffix} {'refused' if found is None else 'read'}")
    # Parquet has no other reader that survives damage; without checksums, none could tell that of its numbers.
    if found is None or suffix == ".parquet":
        return
    others = [expected(rows) for rows in readings(suffix, content) if isinstance(rows, list)]
    assert found in others


def test_parquet_files_with_checksums_are_held_against_them():
    table = pa.table({"question": ["q"], "good": ["right"], "bad": ["wrong"], "key": ["A"]})
    out = io.BytesIO()
    pq.write_table(table, out, compression="none", use_dictionary=False, write_page_checksum=True)
    whole = out.getvalue()
    assert outcome(".parquet", whole) == [("Q: q\nA:", ("right", "wrong"), 0)]
    assert outcome(".parquet", whole.replace(b"right", b"rigid")) is None


def test_the_accidents_leave_some_files_readable():
    """Else the property would hold of a reader that refuses everything."""
    kept = refused = 0
    row = {"question": "q", "good": "g", "bad": "b", "key": "A"}
    whole = (json.dumps(row) + "\n").encode() * 2
    for place in range(len(whole)):
        if outcome(".jsonl", whole[:place] + b" " + whole[place:]) is None:
            refused += 1
        else:
            kept += 1
    assert kept > 20 and refused > 5


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv", ".tsv", ".parquet"])
@settings(max_examples=EXAMPLES // 5, suppress_health_check=list(HealthCheck))
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_refused(suffix, content):
    assert outcome(suffix, content) is None
