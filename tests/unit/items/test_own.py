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


ROW = {"question": "q", "options": ["a", "b"], "answer": 0, "nothing": None}
BASE = {"context": "{{ question }}", "choices": "options", "gold": "answer", "id": None}


@pytest.mark.parametrize(
    ("changes", "row", "message"),
    [
        ({}, {"answer": 2}, r"gold: 2 is out of range, choices are counted 0 to 1"),
        ({}, {"answer": -1}, r"gold: -1 is out of range"),
        ({}, {"answer": "B"}, r"gold: expected the index of a choice, found 'B'; .*'ABCD'\.index\(field\)"),
        ({}, {"answer": 0.5}, r"gold: expected the index of a choice, found 0\.5"),
        ({}, {"answer": None}, r"gold: a field is null"),
        ({}, {"options": ["a"]}, r"choices: 2 to 127 are needed, found 1"),
        ({}, {"options": []}, r"choices: 2 to 127 are needed, found 1"),
        ({}, {"options": ["a"] * 128}, r"choices: 2 to 127 are needed, found 128"),
        ({}, {"options": ["a", " "]}, r"choices: number 1 \(counted from 0\) is empty"),
        ({}, {"options": ["a", None]}, r"choices: a field is null"),
        ({}, {"options": ["a", ["b"]]}, r"choices: expected text, found \['b'\]"),
        ({}, {"options": "ab"}, r"choices: expected a list, found 'ab'"),
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
    with pytest.raises(ElusiveError, match=r"rows\.csv: row 3: id: 'one' is already that of row 1"):
        _items(tmp_path, [*ROWS[:2], ROWS[0]], ".csv")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"question": "q", "right": "r", "wrong": "w"}\n\n{"question": \n', "line 3: not JSON"),
        ("a.jsonl", b"[1]\n", "line 1: expected an object with named fields, found list"),
        ("a.jsonl", b"\n", "has no rows"),
        ("a.json", b"[{]", "not JSON"),
        ("a.json", b'{"question": ["q"]}', "expected a list of objects, found dict"),
        ("a.json", b'["q"]', "row 1: expected an object with named fields, found str"),
        ("a.csv", b"question,right,wrong\nq,r\n", "row 1: not as many fields as the header has"),
        ("a.csv", b"question,right,wrong\nq,r,w,x\n", "row 1: not as many fields as the header has"),
        ("a.csv", b"question,right,right\nq,r,w\n", "the header names a field twice"),
        ("a.csv", b'question,right,wrong\n"q"x,r,w\n', "line 2: not CSV"),
        ("a.csv", b"", "has no rows"),
        ("a.tsv", b"question\tright\twrong\nq\tr\n", "row 1: not as many fields as the header has"),
        ("a.tsv", b"question\tright\tright\nq\tr\tw\n", "the header names a field twice"),
        ("a.tsv", b"question\tright\twrong\n", "has no rows"),
        ("a.csv", b"question,right,wrong\n\xff,r,w\n", "is not UTF-8 text"),
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
