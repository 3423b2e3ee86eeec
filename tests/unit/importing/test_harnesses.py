"""OLMES and DataDecide, olmo-eval, lighteval and the first leaderboard, and lm-eval before 0.4."""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from elusive.items.build import build_items as build_builtin
from elusive.items.build import load_items
from elusive.tables import read_metadata
from logged import (
    prediction,
    questions,
    request_rows,
    winograd,
    write_lines,
    write_olmes,
    write_olmo_eval,
)
from unit.importing.imports import STEPS, Project

COUNT = 6


def said(capsys):
    return re.sub(r"\s+", " ", capsys.readouterr().err)


def values_of(project, step, column="log_likelihood"):
    return project.table(step)[column].to_pylist()


@pytest.fixture
def olmes(tmp_path):
    project = Project(tmp_path, source="olmes")
    for seed, step in enumerate(STEPS):
        write_olmes(project.folder(step), "quiz", questions(COUNT, seed))
    return project


def test_olmes_with_requests(olmes):
    assert olmes.all() == 0
    asked = questions(COUNT)
    items = olmes.made_items()
    assert items["contexts"].to_pylist() == [question.contexts[:1] for question in asked]
    assert items["continuations"].to_pylist() == [question.continuations for question in asked]
    assert items["choices"].to_pylist() == [question.choices for question in asked]
    table = olmes.table("step2")
    assert table["log_likelihood"].to_pylist() == [value for q in questions(COUNT, 1) for value in q.values]
    assert table["num_tokens"].to_pylist() == [1, 2, 3] * COUNT
    assert table["num_chars"].to_pylist() == [len(text) for q in asked for text in q.choices]  # without the space
    assert table["is_greedy"].to_pylist() == [False] * 3 * COUNT
    unconditional = [value - 1.5 + i for q in questions(COUNT, 1) for i, value in enumerate(q.values)]
    assert table["log_likelihood_unconditional"].to_pylist() == unconditional
    metadata = read_metadata(olmes.table_file("step2"))
    assert metadata["unconditional_context"] == "Answer:"
    assert metadata["imported"]["harness"] == "OLMES" and metadata["imported"]["num_fewshot"] == 5
    assert metadata["revision"] is None  # what is inside misleads


def test_olmes_without_requests_has_neither_texts_nor_lengths(olmes, capsys):
    for step in STEPS:
        (olmes.folder(step) / "task-000-quiz-requests.jsonl").unlink()
    assert olmes.all() == 0
    table, items = olmes.table("step1"), olmes.made_items()
    assert table["num_chars"].null_count == table["num_bytes"].null_count == table.num_rows
    assert table["num_tokens"].null_count == 0
    assert items["choices"].null_count == COUNT and items["contexts"].to_pylist() == [None] * COUNT
    assert "no requests beside it" in said(capsys)


def test_olmes_items_without_texts_are_those_of_one_configuration(olmes, capsys):
    for step in STEPS:
        (olmes.folder(step) / "task-000-quiz-requests.jsonl").unlink()
    lines = [prediction(question, task_hash="other") for question in questions(COUNT, 1)]
    write_lines(olmes.folder("step2") / "task-000-quiz-predictions.jsonl", lines)
    assert olmes.index() == 1
    text = said(capsys)
    assert "quiz: other configurations of the task (task_hash) in some logs" in text
    assert "abc: step1, step3; other: step2" in text


def test_olmes_winograd(tmp_path):
    project = Project(tmp_path, source="olmes")
    for seed, step in enumerate(STEPS):
        write_olmes(project.folder(step), "quiz", winograd(COUNT, seed))
    assert project.all() == 0
    assert project.made_items()["continuations"].to_pylist() == [[" was heavy."]] * COUNT
    assert project.made_items()["gold"].to_pylist() == [0, 1] * (COUNT // 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": [0, 1]}, "item 2 has 2 right answers, one is needed"),
        ({"label": "B"}, "does not say which choice of item 2 is right (its label is 'B')"),
        ({"label": None}, "does not say which choice of item 2 is right (its label is None)"),
        ({"metrics": {"no_answer": 1}}, "item 2 has no answer (no_answer is 1)"),
        ({"metrics": {"predicted_index_raw": 7}}, "item 2: predicted_index_raw is 7 in the log, but"),
        ({"metrics": {"acc_per_char": 0.5}}, "item 2: acc_per_char is 0.5 in the log, but"),
    ],
)
def test_what_is_wrong_with_predictions(olmes, capsys, change, message):
    lines = [prediction(question) for question in questions(COUNT)]
    lines[2] |= change
    file = write_lines(olmes.folder("step1") / "task-000-quiz-predictions.jsonl", lines)
    assert olmes.all() == 1
    text = said(capsys)
    assert str(file) in text and message in text


def test_predictions_and_requests_of_different_runs(olmes, capsys):
    rows = [row for question in questions(COUNT, task="else") for row in request_rows(question)]
    write_lines(olmes.folder("step1") / "task-000-quiz-requests.jsonl", rows)
    assert olmes.index() == 1
    text = said(capsys)
    assert re.search(r"item \d: (choice|its choices have)", text) and "requests.jsonl" in text


def test_more_choices_than_olmes_keeps(olmes, capsys):
    lines = [prediction(question) for question in questions(COUNT)]
    lines[2]["model_output"] = [{"sum_logits": -float(i), "num_tokens": 1, "num_chars": 1} for i in range(100)]
    for step in STEPS:
        (olmes.folder(step) / "task-000-quiz-requests.jsonl").unlink()
    write_lines(olmes.folder("step1") / "task-000-quiz-predictions.jsonl", lines)
    assert olmes.index() == 1
    assert "item 2 has 100 choices or more, of which OLMES keeps 100" in said(capsys)


def datadecide(folder):
    """Evaluation instances as DataDecide publishes them: predictions by step, requests once for all."""
    for seed, step in enumerate(STEPS):
        write_olmes(folder / "models/c4/1B/seed-14" / step, "quiz", questions(COUNT, seed), requests=False, prefix="")
    rows = [row for question in questions(COUNT) for row in request_rows(question)]
    file = write_lines(folder / "requests/quiz-requests.jsonl", rows)
    (folder / "requests/quiz-requests.jsonl.gz").write_bytes(gzip.compress(file.read_bytes()))
    file.unlink()


def test_datadecide_unpacked(tmp_path):
    datadecide(tmp_path)
    project = Project(tmp_path, path="models/c4/1B/seed-14/{checkpoint}", source="olmes")
    assert project.all() == 0
    assert project.made_items()["choices"].to_pylist() == [question.choices for question in questions(COUNT)]
    assert values_of(project, "step3")[:3] == questions(1, 2)[0].values


@pytest.mark.parametrize("nested", [False, True])
def test_datadecide_in_its_archive(tmp_path, nested):
    datadecide(tmp_path)
    models = tmp_path / "models"
    with tarfile.open(models / "c4.tar.gz", "w:gz") as archive:
        if nested:
            inner = io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w:gz") as packed:
                packed.add(models / "c4/1B/seed-14", "seed-14")
            entry = tarfile.TarInfo("c4/1B/1B.tar.gz")
            entry.size = len(inner.getvalue())
            archive.addfile(entry, io.BytesIO(inner.getvalue()))
        else:
            archive.add(models / "c4", "c4")
    shutil.rmtree(models / "c4")
    inside = "seed-14/{checkpoint}" if nested else "1B/seed-14/{checkpoint}"
    project = Project(tmp_path, path=f"models/c4.tar.gz/{inside}", source="olmes")
    assert project.all() == 0
    assert project.made_items()["choices"].to_pylist() == [question.choices for question in questions(COUNT)]
    for seed, step in enumerate(STEPS):
        assert values_of(project, step) == [value for q in questions(COUNT, seed) for value in q.values]


def test_a_path_in_an_archive_that_fits_two_models(tmp_path, capsys):
    datadecide(tmp_path)
    models = tmp_path / "models"
    shutil.copytree(models / "c4/1B", models / "c4/4M")
    with tarfile.open(models / "c4.tar.gz", "w:gz") as archive:
        archive.add(models / "c4", "c4")
    shutil.rmtree(models / "c4")
    project = Project(tmp_path, path="models/c4.tar.gz/seed-14/{checkpoint}", source="olmes")
    assert project.index() == 1
    assert "fits 'c4/1B/seed-14/step1' and 'c4/4M/seed-14/step1' in it: write more of the path" in said(capsys)
    project.logs["path"] = str(tmp_path / "models/c4.tar.gz/1B/seed-14/{checkpoint}")
    assert project.all() == 0


def test_a_damaged_archive(tmp_path, capsys):
    datadecide(tmp_path)
    models = tmp_path / "models"
    with tarfile.open(models / "c4.tar.gz", "w:gz") as archive:
        archive.add(models / "c4", "c4")
    whole = (models / "c4.tar.gz").read_bytes()
    (models / "c4.tar.gz").write_bytes(whole[: len(whole) // 2])
    shutil.rmtree(models / "c4")
    project = Project(tmp_path, path="models/c4.tar.gz/1B/seed-14/{checkpoint}", source="olmes")
    assert project.index() == 1
    assert "c4.tar.gz: not a readable archive" in said(capsys)


@pytest.mark.parametrize("requests", [True, False])
def test_olmo_eval(tmp_path, requests):
    project = Project(tmp_path, source="olmo_eval")
    for seed, step in enumerate(STEPS):
        write_olmo_eval(project.folder(step), "model", "quiz", questions(COUNT, seed), requests)
    assert project.all() == 0
    asked = questions(COUNT)
    items, table = project.made_items(), project.table("step2")
    assert items["contexts"].to_pylist() == [question.contexts[:1] if requests else None for question in asked]
    assert items["choices"].to_pylist() == [question.choices for question in asked]
    assert table["log_likelihood"].to_pylist() == [value for q in questions(COUNT, 1) for value in q.values]
    assert set(table["num_tokens"].to_pylist()) == {2}
    assert set(table["is_greedy"].to_pylist()) == {False}  # known, since contexts were counted as well
    metadata = read_metadata(project.table_file("step2"))
    assert (metadata["revision"], metadata["dtype"]) == ("step2", "bfloat16")
    assert metadata["imported"]["num_fewshot"] == 5


def test_olmo_eval_greedy_that_is_not_known_and_unconditional_outputs(tmp_path):
    project = Project(tmp_path, source="olmo_eval")
    for seed, step in enumerate(STEPS):
        folder = write_olmo_eval(project.folder(step), "model", "quiz", questions(COUNT, seed))
        file = folder / "predictions/model/quiz_0a1b2c-predictions.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        for line in lines:
            for output in line["model_output"]:
                output["num_tokens_all"] = output["num_tokens"]
            line["model_output"] += [output | {"sum_logits": -4.5} for output in line["model_output"]]
        write_lines(file, lines)
    assert project.all() == 0
    table = project.table("step1")
    assert table["is_greedy"].null_count == table.num_rows == 3 * COUNT
    assert set(table["log_likelihood_unconditional"].to_pylist()) == {-4.5}


def test_olmo_eval_label_as_a_text(tmp_path, capsys):
    project = Project(tmp_path, source="olmo_eval")
    for seed, step in enumerate(STEPS):
        folder = write_olmo_eval(project.folder(step), "model", "quiz", questions(COUNT, seed))
        file = folder / "predictions/model/quiz_0a1b2c-predictions.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        for line, question in zip(lines, questions(COUNT, seed), strict=True):
            line["label"] = question.choices[question.gold]
        write_lines(file, lines)
    assert project.all() == 0
    assert project.made_items()["gold"].to_pylist() == [question.gold for question in questions(COUNT)]
    lines[2]["label"] = "nothing of these"
    write_lines(file, lines)
    assert project.index() == 1
    assert "does not say which choice of item 2 is right (its label is 'nothing of these')" in said(capsys)


def details(question, schema, **changes):
    """A row of details in one of lighteval's schemas."""
    values = question.values
    context, choices, gold = question.contexts[0], question.continuations, question.gold
    accuracy = question.accuracy()
    match schema:
        case "0.11":
            tokens = [[5, 6, -1], [7, -1, -1], [8, 9, 10]]
            document = {"query": context, "choices": choices, "gold_index": [gold], "id": str(question.number)}
            response = {"logprobs": values, "output_tokens": tokens[: len(values)], "text": []}
            row = {"doc": document, "model_response": response, "metric": {"acc": accuracy}}
        case "0.8":
            pairs = [[value, 0.0] for value in values]
            row = {"full_prompt": context, "choices": choices, "gold_index": [gold], "predictions": pairs}
            row |= {"metrics": {"acc": accuracy}}
        case "0.6":
            pairs = repr([(value, False) for value in values])
            row = {"full_prompt": context, "choices": repr(choices), "gold_index": repr([gold]), "predictions": pairs}
            row |= {"acc": repr(accuracy)}
        case "leaderboard":
            row = {"example": context, "choices": choices, "gold": gold, "predictions": values}
            row |= {"acc": accuracy}
        case "leaderboard of 2023-07":
            row = {"example": f"hash {question.number}", "query": context, "choices": choices, "gold": gold}
            row |= {"predictions": values, "acc": accuracy}
    return row | changes


SCHEMAS = ("0.11", "0.8", "0.6", "leaderboard", "leaderboard of 2023-07")
TASK = "harness|quiz|25"


def write_details(folder, schema, asked, time="2024-01-02T03-04-05.678901", **changes):
    folder.mkdir(parents=True, exist_ok=True)
    rows = [details(question, schema, **changes) for question in asked]
    pq.write_table(pa.Table.from_pylist(rows), folder / f"details_{TASK}_{time}.parquet")
    config = {"model_name": "owner/model", "revision": "main", "dtype": "torch.bfloat16"}
    results = {"config_general": {"lighteval_sha": "abc", "model_config": config}, "results": {}}
    (folder / f"results_{time}.json").write_text(json.dumps(results))


@pytest.mark.parametrize("schema", SCHEMAS)
def test_lighteval_and_the_first_leaderboard(tmp_path, schema):
    project = Project(tmp_path, source="lighteval")
    project.benchmarks[0]["task"] = [TASK]
    for seed, step in enumerate(STEPS):
        write_details(project.folder(step), schema, questions(COUNT, seed))
    assert project.all() == 0
    items, table = project.made_items(), project.table("step2")
    assert items["contexts"].to_pylist() == [question.contexts[:1] for question in questions(COUNT)]
    assert items["choices"].to_pylist() == [question.choices for question in questions(COUNT)]
    assert table["log_likelihood"].to_pylist() == [value for q in questions(COUNT, 1) for value in q.values]
    if schema == "0.11":
        assert table["num_tokens"].to_pylist() == [2, 1, 3] * COUNT
    else:
        assert table["num_tokens"].null_count == table.num_rows
    assert (table["is_greedy"].null_count == 0) == (schema == "0.6")
    metadata = read_metadata(project.table_file("step2"))
    assert metadata["dtype"] == "bfloat16" and metadata["imported"]["num_fewshot"] == 25


@pytest.mark.parametrize(
    ("schema", "changes", "message"),
    [
        ("0.11", {"model_response": {"logprobs": [], "text": ["42"]}}, "generates text; only tasks that score"),
        ("leaderboard", {"acc": 0.5}, "item 0: acc is 0.5 in the log, but"),
        ("0.8", {"gold_index": [0, 1]}, "item 0 has 2 right answers, one is needed"),
        ("0.6", {"predictions": "__import__('os').getcwd()"}, "generates text; only tasks that score each choice"),
    ],
)
def test_what_is_wrong_with_details(tmp_path, capsys, schema, changes, message):
    project = Project(tmp_path, source="lighteval")
    project.benchmarks[0]["task"] = [TASK]
    for seed, step in enumerate(STEPS):
        write_details(project.folder(step), schema, questions(COUNT, seed), **(changes if step == "step1" else {}))
    assert project.all() == 1
    assert message in said(capsys)


@pytest.fixture
def builtin(tmp_path, archive_path):
    """Items of WinoGrande and OpenBookQA, and a project with what lm-eval before 0.4 wrote of them."""
    project = Project(tmp_path)
    project.benchmarks = []
    for name in ("winogrande", "openbookqa"):
        project.builtin[name] = tmp_path / f"{name}.parquet"
        build_builtin({"name": name, "limit": 4}, project.builtin[name], archive_path)
    return project


def write_before(project, name, texts=False, **changes):
    items = load_items(project.builtin[name]).items
    for seed, step in enumerate(STEPS):
        rows = []
        for number, item in enumerate(items[::-1]):
            values = [-5.0 - ((seed + 1) * (number + 2) * (i + 3) % 7) - i / 8 for i in range(item.num_choices)]
            row = {"doc_id": number, "truth": item.choices[item.gold] if texts else item.gold}
            row["acc"] = str(float(values.index(max(values)) == item.gold))
            for i, (context, continuation) in enumerate(item.requests()):
                row |= {f"prompt_{i}": context + continuation, f"logit_{i}": values[i]}
            rows.append(row | changes)
        project.folder(step).mkdir(parents=True, exist_ok=True)
        (project.folder(step) / f"{name}_write_out_info.json").write_text(json.dumps(rows, indent=4))
    return items


@pytest.mark.parametrize("texts", [False, True])
def test_lm_eval_before_0_4_onto_built_in_items(builtin, texts):
    for name in builtin.builtin:
        write_before(builtin, name, texts and name == "openbookqa")
    assert builtin.all() == 0
    for name, file in builtin.builtin.items():
        items = load_items(file).items
        table = builtin.table("step2", name)
        assert table["item"].unique().to_pylist() == [item.item for item in items]
        assert table["num_tokens"].null_count == table["is_greedy"].null_count == table.num_rows
        assert table["num_chars"].to_pylist() == [len(text) for item in items for text in item.choices]
        first = [-5.0 - (2 * (3 + 2) * (i + 3) % 7) - i / 8 for i in range(items[0].num_choices)]
        assert table["log_likelihood"].to_pylist()[: len(first)] == first  # the last row of the file


def test_lm_eval_before_0_4_makes_no_items(builtin, capsys):
    write_before(builtin, "openbookqa")
    builtin.builtin, builtin.benchmarks = {}, [{"name": "own", "task": ["openbookqa"], "items": "strict"}]
    assert builtin.index() == 0
    assert builtin.items() == 1
    assert "has context and choice in one piece, as lm-eval wrote them before 0.4: only built-in" in said(capsys)


def test_lm_eval_before_0_4_with_another_gold(builtin, capsys):
    builtin.builtin.pop("winogrande")
    items = write_before(builtin, "openbookqa", texts=True, truth="something else")
    assert builtin.index() == 0
    assert builtin.tables("step1") == 1
    text = said(capsys)
    assert f"item {items[0].item!r}: 'something else' is right in the log, but choice {items[0].gold} in" in text


def test_lm_eval_0_5_development(tmp_path, capsys):
    """An index as target with several contexts too, a nested filtered_resps, and acc_norm that counts the delimiter."""
    from logged import sample, write_run

    project = Project(tmp_path)
    project.benchmarks.append({"name": "wino", "task": ["wino"], "items": "strict"})

    def line(question):
        made = sample(question, target=question.gold, acc=int(question.accuracy()))
        made["filtered_resps"] = made["resps"]
        if "acc_norm" in made:
            made["acc_norm"] = question.accuracy([len(text) for text in question.continuations])
        return made

    for seed, step in enumerate(STEPS):
        tasks = {"quiz": [line(q) for q in questions(COUNT, seed)], "wino": [line(q) for q in winograd(COUNT, seed)]}
        for made in tasks["wino"]:
            made["doc"] = {}
        write_run(project.folder(step), tasks)
    assert project.all() == 0
    assert project.made_items("wino")["gold"].to_pylist() == [0, 1] * (COUNT // 2)
    assert "written by a development version of lm-eval, 0.5.0.dev1" in said(capsys)
