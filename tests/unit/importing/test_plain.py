"""Plain tables: the same items in every form, names and units of others, and what is wrong with a table."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logged import long_rows, questions, write_csv, write_lines
from unit.importing.imports import STEPS, Project

DOCS = Path(__file__).parents[3] / "workflow" / "docs" / "importing.md"
COUNT = 7


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path, path="{checkpoint}", source="table")


def long(seed, **more):
    return long_rows(questions(COUNT, seed), **more)


def wide(seed):
    return [
        {"item": f"{q.number:03d}", "gold": q.gold, "choices": q.choices, "log_likelihoods": q.values}
        for q in questions(COUNT, seed)
    ]


def write(folder, form, seed):
    """The table ``quiz`` in one of its forms."""
    rows = long(seed)
    folder.mkdir(parents=True, exist_ok=True)
    match form:
        case "csv":
            write_csv(folder / "quiz.csv", rows)
        case "tsv":
            write_csv(folder / "quiz.tsv", rows, "\t")
        case "csv with BOM and CRLF":
            file = write_csv(folder / "quiz.csv", rows)
            file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
        case "long jsonl":
            write_lines(folder / "quiz.jsonl", rows)
        case "long json array":
            (folder / "quiz.json").write_text(json.dumps(rows, indent=1))
        case "wide jsonl":
            write_lines(folder / "quiz.jsonl", wide(seed))
        case "long parquet":
            pq.write_table(pa.Table.from_pylist(rows), folder / "quiz.parquet")
        case "wide parquet":
            pq.write_table(pa.Table.from_pylist(wide(seed)), folder / "quiz.parquet")
        case "mixed rows":
            write_csv(folder / "quiz.csv", sorted(rows, key=lambda row: (row["choice"], row["item"])))
        case "gold as index":
            golds = [q.gold for q in questions(COUNT, seed) for _ in q.values]
            rows = [row | {"gold": gold} for row, gold in zip(rows, golds, strict=True)]
            write_csv(folder / "quiz.csv", [{k: v for k, v in row.items() if k != "is_gold"} for row in rows])


FORMS = (
    *("csv", "tsv", "csv with BOM and CRLF", "long jsonl", "long json array", "wide jsonl", "long parquet"),
    *("wide parquet", "mixed rows", "gold as index"),
)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_tables(project, form):
    for seed, step in enumerate(STEPS):
        write(project.folder(step), form, seed)
    assert project.all() == 0
    items = project.made_items()
    assert items["item"].to_pylist() == [f"{i:03d}" for i in range(COUNT)]  # ids are text
    asked = questions(COUNT)
    assert items["choices"].to_pylist() == [question.choices for question in asked]
    assert items["gold"].to_pylist() == [question.gold for question in asked]
    for seed, step in enumerate(STEPS):
        table = project.table(step)
        assert table["log_likelihood"].to_pylist() == [v for q in questions(COUNT, seed) for v in q.values]
        assert table["num_chars"].to_pylist() == [len(text) for q in asked for text in q.choices]
        assert table["num_tokens"].null_count == table["is_greedy"].null_count == table.num_rows


def test_the_smallest_file(project):
    for step, value in zip(STEPS, (-3.25, -3.5, -4), strict=True):
        project.folder(step).mkdir()
        text = f"item,choice,choice_text,log_likelihood,is_gold\nq1,0,stone,-9.5,false\nq1,1,blue,{value},true\n"
        (project.folder(step) / "quiz.csv").write_text(text)
    assert project.all() == 0
    assert project.table("step2")["log_likelihood"].to_pylist() == [-9.5, -3.5]


def test_the_tables_of_the_docs(project):
    text = DOCS.read_text(encoding="utf-8")
    for step, value in zip(STEPS, ("-3.25", "-3.5", "-4"), strict=True):
        project.folder(step).mkdir()
        csv = text.split("```csv\n")[1].split("```")[0]
        wide = re.search(r'`(\{"item".*\})`', text)[1] + "\n"
        file, own = ("quiz.csv", csv) if step == STEPS[0] else ("quiz.jsonl", wide)
        (project.folder(step) / file).write_text(own.replace("-3.25", value))
    assert project.all() == 0
    assert [project.table(step)["log_likelihood"].to_pylist()[1] for step in STEPS] == [-3.25, -3.5, -4]


def test_one_file_of_many_models_checkpoints_and_benchmarks(tmp_path):
    project = Project(tmp_path, path="all.parquet", source="table")
    rows = [
        row | {"model": model, "checkpoint": step, "benchmark": benchmark}
        for model in ("m", "other")
        for seed, step in enumerate(STEPS)
        for benchmark in ("quiz", "else")
        for row in long_rows(questions(COUNT, seed + 10 * (model == "other"), task=benchmark))
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "all.parquet")
    assert project.all() == 0
    for seed, step in enumerate(STEPS):
        values = [value for question in questions(COUNT, seed) for value in question.values]
        assert project.table(step)["log_likelihood"].to_pylist() == values


def test_a_checkpoint_that_no_row_is_of(tmp_path, capsys):
    project = Project(tmp_path, path="all.csv", source="table")
    write_csv(tmp_path / "all.csv", [row for s in STEPS[:2] for row in long(0, checkpoint=s, benchmark="quiz")])
    assert project.index() == 1
    assert "has no logs of step3; its logs are of: step1, step2" in capsys.readouterr().err


def test_names_of_others(project):
    project.logs["columns"] = {"item": "id", "choice": "option", "log_likelihood": "ll", "is_gold": "right"}
    for seed, step in enumerate(STEPS):
        rows = [
            {"id": r["item"], "option": r["choice"], "choice_text": r["choice_text"], "ll": r["log_likelihood"]}
            | {"right": int(r["is_gold"]), "log_likelihood": "not this one"}
            for r in long(seed)
        ]
        write_csv(project.folder(step) / "quiz.csv", rows)
    assert project.all() == 0
    assert project.table("step1")["log_likelihood"].to_pylist()[:3] == questions(1)[0].values


@pytest.mark.parametrize(("unit", "factor"), [("nats", 1.0), ("bits", math.log(2)), ("log10", math.log(10))])
@pytest.mark.parametrize("aggregated", ["sum", "mean_token"])
def test_units_and_means_are_converted(project, unit, factor, aggregated):
    project.logs |= {"unit": unit, "aggregated": aggregated}
    for seed, step in enumerate(STEPS):
        rows = []
        for row in long(seed):
            tokens = 1 + row["choice"]
            divisor = factor * (tokens if aggregated == "mean_token" else 1)
            rows.append(row | {"num_tokens": tokens, "log_likelihood": row["log_likelihood"] / divisor})
        write_csv(project.folder(step) / "quiz.csv", rows)
    assert project.all() == 0
    found = project.table("step1")
    expected = [row["log_likelihood"] for row in long(0)]
    assert found["log_likelihood"].to_pylist() == pytest.approx(expected, rel=1e-14)
    assert found["num_tokens"].to_pylist() == [1 + row["choice"] for row in long(0)]


def test_columns_that_need_not_be_there(project):
    for seed, step in enumerate(STEPS):
        rows = [
            row
            | {"subject": "art" if row["item"] < "003" else "law", "cluster": "c", "num_tokens": 2, "is_greedy": True}
            | {"context": "Q:", "continuation": f" {row['choice_text']}", "log_likelihood_unconditional": -7.5}
            for row in long(seed)
        ]
        write_csv(project.folder(step) / "quiz.csv", rows)
    assert project.all() == 0
    items, table = project.made_items(), project.table("step2")
    assert items["subject"].to_pylist() == ["art"] * 3 + ["law"] * 4
    assert items["contexts"].to_pylist()[0] == ["Q:"]
    assert set(items["cluster"].to_pylist()) == {"c"}
    assert set(table["num_tokens"].to_pylist()) == {2} and set(table["is_greedy"].to_pylist()) == {True}
    assert set(table["log_likelihood_unconditional"].to_pylist()) == {-7.5}


def test_lengths_without_texts(project):
    for seed, step in enumerate(STEPS):
        rows = [{k: v for k, v in row.items() if k != "choice_text"} | {"num_chars": 4} for row in long(seed)]
        write_csv(project.folder(step) / "quiz.csv", rows)
    assert project.all() == 0
    table = project.table("step1")
    assert set(table["num_chars"].to_pylist()) == {4}
    assert table["num_bytes"].null_count == table.num_rows
    assert project.made_items()["choices"].null_count == COUNT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.pop(1), "item '000': its choices are [0, 2]; they must be counted from 0 without gaps"),
        (lambda rows: rows.append(rows[0]), "item '000': choice 0 is there twice, in line 23 again"),
        (lambda rows: rows[0].update(log_likelihood="x"), "item '000': log_likelihood is 'x', not a number"),
        (lambda rows: rows[0].update(log_likelihood=-999.0), "which stands for a value that the server did not return"),
        (lambda rows: [row.update(is_gold=False) for row in rows], "item '000': has 0 right answers, one is needed"),
        (lambda rows: [row.update(is_gold=True) for row in rows], "item '000': has 3 right answers, one is needed"),
        (lambda rows: rows[0].update(is_gold="maybe"), "is_gold is 'maybe'; write true or false"),
        (lambda rows: rows[0].update(item=""), "line 2: an id or name is missing"),
        (lambda rows: [row.update(num_chars=99) for row in rows], "num_chars are [99, 99, 99], but the texts have"),
        (lambda rows: [row.pop("choice_text") for row in rows], "has no column 'choice_text' or 'num_chars'"),
        (lambda rows: [row.pop("is_gold") for row in rows], "has no column 'is_gold' or 'gold'"),
        (
            lambda rows: [row.pop("choice") for row in rows],
            "has no column 'choice'; its columns are: item, choice_text",
        ),
    ],
)
def test_what_is_wrong_with_a_table(project, capsys, change, message):
    for seed, step in enumerate(STEPS):
        rows = long(seed)
        if step == "step1":
            change(rows)
        write_csv(project.folder(step) / "quiz.csv", rows)
    assert project.all() == 1
    assert message in re.sub(r"\s+", " ", capsys.readouterr().err)


@pytest.mark.parametrize("delimiter", [",", "\t"])
@pytest.mark.parametrize("text", ['"hi" she said', '"yes', 'a "b'])
def test_quotation_marks_that_quote_nothing(project, capsys, delimiter, text):
    """Read as they come, they lose themselves and swallow what follows up to the next one."""
    for seed, step in enumerate(STEPS):
        rows = long(seed)
        columns = list(rows[0])
        rows[1]["choice_text"] = text
        lines = [delimiter.join(str(row[column]) for column in columns) for row in rows]
        write_text = "\n".join([delimiter.join(columns), *lines]) + "\n"
        folder = project.folder(step)
        folder.mkdir(parents=True)
        (folder / "quiz.csv").write_text(write_text)
    if text.startswith('"'):
        assert project.all() == 1
        assert "quiz.csv, line" in (said := capsys.readouterr().err) and "not readable as a table" in said
        assert "in quotation marks itself" in said
    else:
        assert project.all() == 0
        assert project.made_items()["choices"][0].as_py()[1] == text


def test_a_column_that_is_there_twice(project, capsys):
    for seed, step in enumerate(STEPS):
        write_csv(project.folder(step) / "quiz.csv", long(seed))
    file = project.folder("step1") / "quiz.csv"
    lines = file.read_text().splitlines()
    name = lines[0].split(",")[0]
    file.write_text("\n".join([f"{lines[0]},{name}", *(f"{line},x" for line in lines[1:])]) + "\n")
    assert project.index() == 1
    assert f"has two columns '{name}'" in capsys.readouterr().err


def test_a_log_likelihood_that_stands_for_none_in_another_unit(project, capsys):
    project.logs["unit"] = "bits"
    for seed, step in enumerate(STEPS):
        rows = long(seed)
        rows[0]["log_likelihood"] = -999
        write_csv(project.folder(step) / "quiz.csv", rows)
    assert project.all() == 1
    assert "stands for a value that the server did not return" in re.sub(r"\s+", " ", capsys.readouterr().err)


def test_objects_of_which_only_later_ones_have_a_name(project):
    for seed, step in enumerate(STEPS):
        rows = [row | {"subject": "s"} for row in long(seed)]
        for row in rows:
            if row["item"] == rows[0]["item"]:
                del row["subject"]
        write_lines(project.folder(step) / "quiz.jsonl", rows)
    assert project.all() == 0
    assert project.made_items()["subject"].to_pylist() == [None, *["s"] * (COUNT - 1)]


def test_objects_of_which_only_later_ones_say_whose_they_are(project, capsys):
    for seed, step in enumerate(STEPS):
        rows = long(seed)
        rows[-1]["checkpoint"] = "step2"
        write_lines(project.folder(step) / "quiz.jsonl", rows)
    assert project.index() == 1
    assert "says which checkpoint it is of, and earlier rows do not" in capsys.readouterr().err


def test_a_column_that_is_not_there(project, capsys):
    project.logs["columns"] = {"is_gold": "correct"}
    for seed, step in enumerate(STEPS):
        write_csv(project.folder(step) / "quiz.csv", long(seed))
    assert project.index() == 1
    assert "has no column 'correct', which 'columns' names" in capsys.readouterr().err


def test_means_need_numbers_of_tokens(project, capsys):
    project.logs["aggregated"] = "mean_token"
    for seed, step in enumerate(STEPS):
        write_csv(project.folder(step) / "quiz.csv", long(seed))
    assert project.index() == 1
    assert "has no column 'num_tokens'" in capsys.readouterr().err


def test_a_line_that_is_cut_off(project, capsys):
    for seed, step in enumerate(STEPS):
        write_csv(project.folder(step) / "quiz.csv", long(seed))
    file = project.folder("step1") / "quiz.csv"
    file.write_text(file.read_text().rstrip().rpartition(",")[0])
    assert project.all() == 1
    assert "line 22: 4 values for 5 columns; the file may be cut off" in capsys.readouterr().err


def test_built_in_items_need_texts_as_they_were_scored(project, capsys, archive_path):
    from elusive.items.build import build_items

    project.benchmarks, project.builtin = [], {"openbookqa": project.home / "openbookqa.parquet"}
    build_items({"name": "openbookqa", "limit": 3}, project.builtin["openbookqa"], archive_path)
    for seed, step in enumerate(STEPS):
        write_csv(project.folder(step) / "openbookqa.csv", long(seed))
    assert project.index() == 0
    assert project.tables("step1") == 1
    text = re.sub(r"\s+", " ", capsys.readouterr().err)
    assert "has no texts as they were scored, by which the items of openbookqa could be found" in text
    assert "import it with `source: logs` under a name of its own" in text


def test_built_in_items_are_found_by_their_texts(project, archive_path):
    from elusive.items.build import build_items, load_items

    project.benchmarks, project.builtin = [], {"winogrande": project.home / "winogrande.parquet"}
    build_items({"name": "winogrande", "limit": 4}, project.builtin["winogrande"], archive_path)
    items = load_items(project.builtin["winogrande"]).items
    for seed, step in enumerate(STEPS):
        rows = [
            {"item": f"mine-{i}", "gold": item.gold, "choices": list(item.choices), "contexts": list(item.contexts)}
            | {"continuations": list(item.continuations) * 2, "log_likelihoods": [-1.0 - i - seed, -2.5]}
            for i, item in enumerate(items)
        ]
        write_lines(project.folder(step) / "winogrande.jsonl", rows[::-1])
    assert project.all() == 0
    table = project.table("step2", "winogrande")
    assert table["item"].to_pylist()[::2] == [item.item for item in items]
    assert table["log_likelihood"].to_pylist()[::2] == [-2.0, -3.0, -4.0, -5.0]
