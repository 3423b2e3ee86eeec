"""A user's own benchmark: the same items from every kind of file, and a message for every mistake."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from elusive.errors import ElusiveError
from elusive.items.build import build_items, load_items
from elusive.items.own import validate_own
from elusive.tables import read_metadata

ROWS = [
    {"qid": "one", "area": "sums", "question": "1 + 1?", "right": "2", "wrong": "3"},
    {"qid": "two", "area": "sums", "question": "[2, 3]?", "right": "[2]", "wrong": "None"},
    {"qid": "drei", "area": "", "question": "Grün, “blau”\nund?", "right": "rot", "wrong": "{{ x }}"},
]
TEMPLATES = {"context": "Q: {{ question }}\nA:", "choices": "[wrong, right]", "gold": "1", "id": "qid"}


def _write(path, rows):
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    elif path.suffix == ".tsv":
        lines = ["\t".join(rows[0]), *("\t".join(map(str, row.values())) for row in rows)]
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def _spec(path, **changes):
    spec = {"name": "mine", "file": str(path), **TEMPLATES, **changes}
    return {key: value for key, value in spec.items() if value is not None}


def _items(tmp_path, rows, suffix=".jsonl", **changes):
    output = tmp_path / "mine.parquet"
    build_items(_spec(_write(tmp_path / f"rows{suffix}", rows), **changes), output, None)
    return load_items(output).items


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".parquet"])
def test_every_kind_of_file_gives_the_same_items(tmp_path, suffix):
    items = _items(tmp_path, ROWS, suffix, subject="{{ area }}")
    assert [item.item for item in items] == ["one", "two", "drei"]
    assert [item.subject for item in items] == ["sums", "sums", None]
    assert [item.gold for item in items] == [1, 1, 1]
    assert [item.contexts for item in items] == [
        ("Q: 1 + 1?\nA:",),
        ("Q: [2, 3]?\nA:",),
        ("Q: Grün, “blau”\nund?\nA:",),
    ]
    # Text that looks like a number, a list, a null or a template stays the text it is.
    assert [item.choices for item in items] == [("3", "2"), ("None", "[2]"), ("{{ x }}", "rot")]
    assert [item.continuations for item in items] == [(" 3", " 2"), (" None", " [2]"), (" {{ x }}", " rot")]


def test_quotation_marks_of_a_tsv_file_are_text(tmp_path):
    rows = [{"question": '"Why?" he "said', "right": '"', "wrong": "''"}]
    (item,) = _items(tmp_path, rows, ".tsv", id=None)
    assert item.contexts == ('Q: "Why?" he "said\nA:',)
    assert item.choices == ("''", '"')


@pytest.mark.parametrize(
    "content",
    [
        # As text there are two rows, quoted one, whose first field has a line break and a tab.
        'right\twrong\n"x\ty\nz"\tw\n',
        # As pandas writes texts with line breaks and tabs.
        'question\tright\twrong\n"one\nand two"\t"a\tb"\tc\n',
    ],
)
def test_a_tsv_file_of_two_readings(tmp_path, content):
    file = tmp_path / "rows.tsv"
    file.write_text(content)
    with pytest.raises(ElusiveError, match=r"rows\.tsv: quotation marks can be read in two ways"):
        build_items(_spec(file, id=None, context="{{ right }}"), tmp_path / "x.parquet", None)


def test_objects_a_line_in_a_json_file(tmp_path):
    lines = "".join(json.dumps(row) + "\r\n" for row in ROWS)
    file = tmp_path / "rows.json"
    file.write_bytes(b"\xef\xbb\xbf" + lines.encode())
    build_items(_spec(file), tmp_path / "x.parquet", None)
    assert load_items(tmp_path / "x.parquet").items == _items(tmp_path, ROWS)


def test_line_separators_within_texts(tmp_path):
    """U+2028 and its like end no line of JSON."""
    rows = [{**ROWS[0], "question": "a\u2028b\x85c\x0bd\x0ce"}]
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(rows[0], ensure_ascii=False) + "\n", encoding="utf-8")
    build_items(_spec(file), tmp_path / "x.parquet", None)
    assert load_items(tmp_path / "x.parquet").items[0].contexts == ("Q: a\u2028b\x85c\x0bd\x0ce\nA:",)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_ends_of_lines(tmp_path, end):
    file = tmp_path / "rows.csv"
    file.write_bytes(end.join(["question,right,wrong", 'q,"r\rs",w', ""]).encode())
    build_items(_spec(file, id=None), tmp_path / "x.parquet", None)
    assert load_items(tmp_path / "x.parquet").items[0].choices == ("w", "r\rs")


def test_long_fields(tmp_path):
    (item,) = _items(tmp_path, [{**ROWS[0], "question": "x" * 200_000}], ".csv")
    assert len(item.contexts[0]) == 200_000 + len("Q: \nA:")
    assert csv.field_size_limit() == 131072


def test_lists_as_text_of_a_cell(tmp_path):
    rows = [
        {"question": "q", "options": json.dumps(["six", 'e"ight']), "answer": "B"},
        {"question": "q", "options": str(["six", "e'ight"]), "answer": "a"},
    ]
    first, second = _items(tmp_path, rows, ".csv", choices="options | parse", gold="answer | letter", id=None)
    assert (first.choices, first.gold) == (("six", 'e"ight'), 1)
    assert (second.choices, second.gold) == (("six", "e'ight"), 0)
    rows[1]["options"] = "['six' 'eight']"
    with pytest.raises(ElusiveError, match=r"line 3: choices: two texts without a comma between them, as numpy prints"):
        _items(tmp_path, rows, ".csv", choices="options | parse", gold="answer | letter", id=None)


def test_a_field_that_is_called_as_a_method_of_mappings(tmp_path):
    row = {"question": "q", "choices": {"values": ["a", "b"], "items": "c"}, "answer": 1}
    (item,) = _items(tmp_path, [row], context="{{ choices.items }}", choices="choices.values", gold="answer", id=None)
    assert (item.contexts, item.choices) == (("c",), ("a", "b"))


def test_nan_and_null_are_missing(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"question": "q", "note": NaN, "more": null, "right": "r", "wrong": "w"}\n')
    build_items(_spec(file, id=None, context="{{ question }}{{ note or more or '-' }}"), tmp_path / "x.parquet", None)
    assert load_items(tmp_path / "x.parquet").items[0].contexts == ("q-",)
    with pytest.raises(ElusiveError, match=r"line 1: context: a field is nan, a missing value; .*; note is nan"):
        build_items(_spec(file, id=None, context="{{ note }}"), tmp_path / "x.parquet", None)


def test_a_file_in_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    _write(tmp_path / "rows.jsonl", ROWS)
    build_items(_spec("~/rows.jsonl"), tmp_path / "x.parquet", None)
    assert len(load_items(tmp_path / "x.parquet").items) == 3
    with pytest.raises(
        ElusiveError, match=r"benchmark 'mine': key 'file': '~no-such-user/x.csv' is of a user who does"
    ):
        validate_own(_spec("~no-such-user/x.csv"))


# --- notes


def _notes(tmp_path, rows, **changes):
    _items(tmp_path, rows, **{"choices": "options", "gold": "answer", "id": None, **changes})
    return read_metadata(tmp_path / "mine.parquet").get("notes")


def _quiz(number, **changes):
    return {"question": f"q{number}", "options": [f"a{number}", f"b{number}"], "answer": number % 2, **changes}


def test_nothing_is_noted_of_a_sound_file(tmp_path):
    assert _notes(tmp_path, [_quiz(n) for n in range(40)]) is None


def test_repeated_questions_are_noted(tmp_path, caplog):
    caplog.set_level("WARNING")
    rows = [_quiz(0), _quiz(1), _quiz(1), _quiz(2), _quiz(2, options=["b2", "a2"], answer=0)]
    assert _notes(tmp_path, rows) == [
        "items repeat an earlier one, question and choices: mine-00002 (as mine-00001)",
        "items repeat an earlier one, question and choices, and have another right choice: mine-00004 (as mine-00003)",
    ]
    assert "mine: items repeat an earlier one, question and choices: mine-00002" in caplog.text
    assert _notes(tmp_path, [_quiz(2), _quiz(2, options=["b2", "a2"], answer=1)]) == [
        "items repeat an earlier one, question and choices: mine-00001 (as mine-00000)"
    ]
    # The same question with other choices is another one.
    assert _notes(tmp_path, [_quiz(1), _quiz(1, options=["c", "d"])]) is None


def test_repeated_questions_behind_solved_examples_are_noted(tmp_path):
    pool = _write(tmp_path / "pool.jsonl", [_quiz(n) for n in range(30, 50)])
    rows = [_quiz(n % 3) for n in range(6)]
    (note,) = _notes(tmp_path, rows, shots_file=str(pool), num_fewshot=3)
    assert note.endswith("mine-00003 (as mine-00000), mine-00004 (as mine-00001), mine-00005 (as mine-00002)")


def test_choices_that_are_the_same_are_noted(tmp_path):
    rows = [_quiz(0), _quiz(1, options=["x", "y", "x"], answer=1), _quiz(2, options=["x", "y", "x"], answer=2)]
    assert _notes(tmp_path, rows) == [
        "items have two choices that are the same: mine-00001, mine-00002",
        "the right choice is one of these, so that its place decides: mine-00002",
    ]


def test_a_gold_index_that_is_never_0_is_noted(tmp_path):
    rows = [_quiz(n, answer=1) for n in range(7)]
    expected = ["the right choice is never the first one in 7 items: is gold counted from 0?"]
    assert _notes(tmp_path, rows) == expected
    assert _notes(tmp_path, rows[:6]) is None, "1 in 64 is chance"
    assert _notes(tmp_path, rows, gold="1") is None, "as the template says"
    assert _notes(tmp_path, [*rows, _quiz(8)]) is None


def test_damaged_texts_and_blanks_are_noted(tmp_path):
    rows = [_quiz(0, question="caf\ufffd"), _quiz(1, options=[" a", "b"])]
    assert _notes(tmp_path, rows) == [
        "texts hold the character U+FFFD, which a wrong encoding leaves: mine-00000",
        "choices begin or end with white space, besides the delimiter ' ': mine-00001",
    ]
    assert len(_notes(tmp_path, rows, delimiter="")) == 1


def test_long_lists_of_ids_are_cut(tmp_path):
    (note,) = _notes(tmp_path, [_quiz(0)] * 9)
    assert note.endswith("mine-00005 (as mine-00000), … 8 in all")


def test_clusters(tmp_path):
    items = _items(tmp_path, ROWS, cluster="area")
    assert items[0].cluster == items[1].cluster is not None
    assert items[2].cluster is None
    braced = _items(tmp_path, ROWS, cluster="{{ area }}-{{ qid }}")
    assert len({item.cluster for item in braced}) == 3


def test_metadata(tmp_path):
    file = _write(tmp_path / "rows.jsonl", ROWS)
    build_items(_spec(file, label="Mine", limit=2), tmp_path / "x.parquet", None)
    metadata = read_metadata(tmp_path / "x.parquet")
    assert metadata["source"] == "file"
    assert metadata["dataset"] == str(file)
    assert (metadata["label"], metadata["limit"], metadata["num_items_total"]) == ("Mine", 2, 3)
    assert metadata["chance"] == 0.5
    assert metadata["templates"]["context"] == TEMPLATES["context"]
    assert metadata["split"] is None
    assert metadata["split_note"] is None


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    file = tmp_path / "rows.csv"
    file.write_text("question,right,wrong\nq,r,w\n", encoding="utf-8-sig")
    build_items(_spec(file, id=None), tmp_path / "x.parquet", None)
    assert load_items(tmp_path / "x.parquet").items[0].contexts == ("Q: q\nA:",)


def test_one_context_per_choice(tmp_path):
    rows = [{"before": "the", "options": ["cat", "dog"], "after": "sleeps.", "answer": "B"}]
    (item,) = _items(
        tmp_path,
        rows,
        context=None,
        contexts="{{ [before ~ ' ' ~ options[0], before ~ ' ' ~ options[1]] }}",
        choices="{{ [after] }}",
        gold="{{ 'AB'.index(answer) }}",
        id=None,
        delimiter=" … ",
    )
    assert item.contexts == ("the cat", "the dog")
    assert item.continuations == (" … sleeps.",)
    assert item.choices == ("sleeps.", "sleeps.")
    assert (item.num_choices, item.gold, item.item) == (2, 1, "mine-00000")


def test_empty_delimiter(tmp_path):
    (item,) = _items(tmp_path, ROWS[:1], delimiter="")
    assert item.continuations == ("3", "2")


@pytest.mark.parametrize("value", [1, "1", " 1 ", 1.0, True])
def test_gold_may_be_written_in_many_ways(tmp_path, value):
    (item,) = _items(tmp_path, [{**ROWS[0], "answer": value}], gold="answer")
    assert item.gold == 1


def test_ids_and_subjects_by_templates(tmp_path):
    items = _items(tmp_path, ROWS, id="{{ area }}-{{ qid }}", subject="{% if area %}{{ area }}{% endif %}")
    assert [(item.item, item.subject) for item in items] == [
        ("sums-one", "sums"),
        ("sums-two", "sums"),
        ("-drei", None),
    ]


def test_ids_by_subject(tmp_path):
    items = _items(tmp_path, ROWS[:2], id=None, subject="area")
    assert [item.item for item in items] == ["sums-0000", "sums-0001"]


def test_lists_and_records_of_the_hub(tmp_path):
    """ARC's schema by templates alone gives what the built-in definition gives."""
    from elusive.items.benchmarks import BENCHMARKS

    row = {"id": "m1", "question": "Why?", "choices": {"text": ["a", "b"], "label": ["1", "2"]}, "answerKey": "2"}
    (item,) = _items(
        tmp_path,
        [row],
        context="Question: {{ question }}\nAnswer:",
        choices="{{ choices.text }}",
        gold="{{ choices.label.index(answerKey) }}",
        id="id",
    )
    assert item == BENCHMARKS["arc_easy"].render(row)


ROW = {"question": "q", "options": ["a", "b"], "answer": 0, "nothing": None, "key": "A"}
BASE = {"context": "{{ question }}", "choices": "options", "gold": "answer", "id": None}


@pytest.mark.parametrize(
    ("changes", "row", "message"),
    [
        ({}, {"answer": 2}, r"gold: 2 is out of range, choices are counted 0 to 1; answer is 2"),
        ({}, {"answer": ""}, r"gold: expected the index of a choice, found ''"),
        ({}, {"answer": "1_0"}, r"gold: expected the index of a choice, found '1_0'"),
        ({}, {"answer": "1.0"}, r"gold: expected the index of a choice, found '1\.0'"),
        ({}, {"answer": ["B"]}, r"gold: expected text, found \['B'\]; .*; answer is \['B'\]"),
        ({}, {"answer": float("nan")}, r"gold: a field is nan, a missing value; .*; answer is nan"),
        ({"gold": "'ABCD'.index(key)"}, {"key": ""}, r"gold: 'ABCD'\.index\(''\) looks for nothing; .*`letter`"),
        ({"gold": "'ABCD'.index(key)"}, {"key": "AB"}, r"gold: 'ABCD'\.index\('AB'\) looks for several char"),
        ({"gold": "'ABCD'.index(key)"}, {"key": 7}, r"gold: 'ABCD'\.index\(7\) looks for text; .*; key is 7"),
        ({"gold": "'ABCD'.index(key)"}, {"key": "E"}, r"gold: substring not found; key is 'E'"),
        (
            {"gold": "key | letter"},
            {"key": ""},
            r"gold: expected a single letter from A to Z, found ''; key is ''",
        ),
        ({"gold": "key | letter"}, {"key": "C"}, r"gold: 2 is out of range, .*; key is 'C'"),
        ({"gold": "answer | int"}, {"answer": ""}, r"gold: expected a whole number, found ''; answer is ''"),
        ({"gold": "answer | int"}, {"answer": "x"}, r"gold: expected a whole number, found 'x'"),
        ({}, {"options": ["a", "\ud83d"]}, r"choices: half of a character \('\\ud83d', a lone surrogate\) in"),
        ({}, {"question": "\udc00"}, r"context: half of a character"),
        ({}, {"question": ["a", "b"]}, r"context: expected text, found \['a', 'b'\]; .*join\(', '\)"),
        ({}, {"question": {"a": 1}}, r"context: expected text, found \{'a': 1\}"),
        ({}, {"question": float("inf")}, r"context: a field is inf"),
        ({"context": "{{ 'Q: ' ~ question }}"}, {"question": None}, r"context: a field is null"),
        ({"context": "{{ question | upper }}"}, {"question": None}, r"context: a field is null"),
        ({"context": "{{ question.upper }}"}, {}, r"context: expected text, found <built-in method upper"),
        ({}, {"answer": -1}, r"gold: -1 is out of range"),
        ({}, {"answer": "B"}, r"gold: expected the index of a choice, found 'B'; .*answer \| letter; answer is 'B'"),
        ({}, {"answer": 0.5}, r"gold: expected the index of a choice, found 0\.5"),
        ({}, {"answer": None}, r"gold: a field is null"),
        ({}, {"options": ["a"]}, r"choices: 2 to 127 are needed, found 1"),
        ({}, {"options": []}, r"choices: 2 to 127 are needed, found 1"),
        ({}, {"options": ["a"] * 128}, r"choices: 2 to 127 are needed, found 128"),
        ({}, {"options": ["a", " "]}, r"choices: number 1 \(counted from 0\) is empty"),
        ({}, {"options": ["a", None]}, r"choices: a field is null"),
        ({}, {"options": ["a", ["b"]]}, r"choices: expected text, found \['b'\]"),
        (
            {},
            {"options": "ab"},
            r"choices: expected a list, found 'ab'; a list .* by the filter `parse`; options is 'ab'",
        ),
        ({"context": "{{ qestion }}"}, {}, r"context: 'qestion' is undefined; .* question, options, answer, nothing"),
        ({"context": "{{ nothing }}"}, {}, r"context: a field is null"),
        ({"choices": "opions"}, {}, r"choices: 'opions' is undefined; .* question, options"),
        ({"choices": "[question, wrong]"}, {}, r"choices: 'wrong' is undefined"),
        ({"choices": "question.text"}, {}, r"choices: .*has no attribute 'text'"),
        ({"gold": "options.index('c')"}, {}, r"gold: 'c' is not in list"),
        ({"subject": "area"}, {}, r"subject: 'area' is undefined"),
        ({"context": None, "contexts": "['x', 'y', 'z']"}, {}, r"contexts: 3 do not go with 2 choices"),
        ({"context": None, "contexts": "[]"}, {}, r"contexts: 0 do not go with 2 choices"),
    ],
)
def test_bad_row(tmp_path, changes, row, message):
    rows = [ROW, {**ROW, **row}]
    with pytest.raises(ElusiveError, match=rf"rows\.jsonl: line [12]: {message}") as caught:
        _items(tmp_path, rows, **{**BASE, **changes})
    if row:
        assert "line 2" in str(caught.value)
    assert not (tmp_path / "mine.parquet").exists()


def test_repeated_id(tmp_path):
    with pytest.raises(ElusiveError, match=r"rows\.csv: line 4: id: 'one' is already that of line 2"):
        _items(tmp_path, [*ROWS[:2], ROWS[0]], ".csv")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"question": "q", "right": "r", "wrong": "w"}\n\n{"question": \n', "line 3: not JSON"),
        ("a.jsonl", b"[1]\n", "line 1: expected an object with named fields, found list"),
        ("a.jsonl", b"\n", "has no rows"),
        ("a.json", b"[{]", "not JSON"),
        ("a.json", b'{"question": ["q"]}', "expected a list of objects or an object a line, found dict"),
        ("a.json", b'["q"]', "row 1: expected an object with named fields, found str"),
        ("a.csv", b"question,right,wrong\nq,r\n", r"line 2: not as many fields as the header has \(2, not 3\)"),
        ("a.csv", b"question,right,wrong\nq,r,w,x\n", "line 2: not as many fields as the header has"),
        ("a.csv", b"question,right,right\nq,r,w\n", "the header names a field twice"),
        ("a.csv", b'question,right,wrong\n"q"x,r,w\n', "line 2: not CSV"),
        ("a.csv", b"", "has no rows"),
        ("a.tsv", b"question\tright\twrong\nq\tr\n", "line 2: not as many fields as the header has"),
        ("a.tsv", b"question\tright\tright\nq\tr\tw\n", "the header names a field twice"),
        ("a.tsv", b"question\tright\twrong\n", "has no rows"),
        ("a.csv", b"question,right,wrong\n\xff,r,w\n", r"line 2: is not UTF-8 text \(invalid start byte\)"),
        ("a.csv", "question,right,wrong\nq,r,w\n".encode("utf-16"), "line 1: is not UTF-8 text"),
        ("a.csv", "question,right,wrong\nq,r,w\n".encode("utf-16-le"), "line 1: holds NUL characters, as UTF-16 has"),
        ("a.jsonl", "{}\n".encode("utf-16-be"), "line 1: holds NUL characters"),
        ("a.csv", b'question,right,wrong\nq, "r, s",w\n', "line 2: a quotation mark stands behind a blank"),
        ("a.csv", b'question,right,wrong\nq, "r",w\n', "line 2: a quotation mark stands behind a blank"),
        ("a.csv", b'question,right,wrong\nq,r,w\nq, "r,w\n', "line 3: a quotation mark stands behind a blank"),
        ("a.csv", b"question,right,wrong\n\rq,r,w\n", "line 2: not CSV: a carriage return within a line"),
        ("a.tsv", b"question\tright\twrong\nq\tr\rs\tw\n", "line 2: not TSV: a carriage return within a line"),
        ("a.tsv", b"question\tright\twrong\nq\tr\tw\n\n\tr\tw\n", "line 3: is empty, and rows follow it"),
        ("a.csv", b'question,right,wrong\nq,"r,w\n', "line 2: not CSV: unexpected end of data"),
        ("a.tsv", b'question\tright\twrong\n"He said ""hi"""\tr\tw\n', 'line 2: "He said ""hi""" stands in quotation'),
        ("a.tsv", b'question\tright\twrong\n"q"\tr\tw\na\t"b\tc\n', 'line 2: "q" stands in quotation marks'),
        (
            "a.jsonl",
            b'{"question": "a", "question": "b"}\n',
            "line 1: not JSON: an object has the key 'question' twice",
        ),
        ("a.jsonl", b"{}\n" + b"[" * 100_000, "line 2: not JSON: nested too deeply"),
        ("a.jsonl", b'{"question": ' + b"1" * 5000 + b"}", "line 1: not JSON: Exceeds the limit"),
        ("a.json", b'{"question": "a"}\n["b"]\n', "line 2: expected an object with named fields, found list"),
        ("a.json", b'{"question": "a"}\n{"question"\n', "line 2: not JSON: "),
        ("a.json", b"[1] [2]", "not JSON: Extra data"),
        ("a.json", b'[{"a": {"b": 1, "b": 2}}]', "not JSON: an object has the key 'b' twice"),
        ("a.parquet", b"PAR1 and no more", "not a readable Parquet file"),
        ("a.parquet", b"", "not a readable Parquet file"),
    ],
)
def test_bad_file(tmp_path, name, content, message):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(ElusiveError, match=rf"{name}: {message}"):
        build_items(_spec(file, id=None), tmp_path / "x.parquet", None)
    assert not (tmp_path / "x.parquet").exists()


def test_unreadable_file(tmp_path):
    folder = tmp_path / "a.jsonl"
    folder.mkdir()
    with pytest.raises(ElusiveError, match=r"'file': there is no file .*a\.jsonl"):
        build_items(_spec(folder), tmp_path / "x.parquet", None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"choices": None}, "key 'choices' is missing"),
        ({"gold": None}, "key 'gold' is missing"),
        ({"context": None}, "give either 'context', a template, or 'contexts'"),
        ({"contexts": "[a]"}, "give either 'context', a template, or 'contexts'"),
        ({"context": "{{ question"}, "key 'context': unexpected end of template"),
        ({"context": "{% if %}"}, "key 'context': Expected an expression"),
        ({"context": "question"}, r"key 'context': 'question' uses no field; write a field as {{ question }}"),
        ({"choices": "[a, b"}, "key 'choices': "),
        ({"choices": "{{ a }}{{ b }}"}, "key 'choices': chunk after expression"),
        ({"gold": ""}, "key 'gold': "),
        ({"gold": 1}, "key 'gold': expected text, found 1"),
        ({"delimiter": 3}, "key 'delimiter': expected text, found 3"),
        ({"id": "a b"}, "key 'id': "),
        ({"file": "rows.txt"}, r"key 'file': rows\.txt must end in one of \.jsonl, \.json, \.csv, \.tsv, \.parquet"),
        ({"file": "absent.csv"}, r"key 'file': there is no file absent\.csv"),
        ({"num_fewshot": 1}, "key 'shots_file' is missing: solved examples have to come from somewhere"),
        ({"shots_file": "absent.csv"}, r"key 'shots_file': there is no file absent\.csv"),
        ({"dataset": "a/b"}, "key 'split' is missing"),
        ({"dataset": "a/b", "split": "test", "num_fewshot": 2}, "key 'shots_split' is missing"),
    ],
)
def test_validation_names_benchmark_and_key(tmp_path, changes, message):
    file = _write(tmp_path / "rows.jsonl", ROWS)
    validate_own(_spec(file))
    with pytest.raises(ElusiveError, match=f"benchmark 'mine': {message}"):
        validate_own(_spec(file, **changes))


def test_validation_wants_a_file(tmp_path):
    with pytest.raises(ElusiveError, match="benchmark 'mine': key 'file' is missing"):
        validate_own({"name": "mine", **TEMPLATES})
