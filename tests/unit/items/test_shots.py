"""Solved examples: those that lm-eval's own tasks put before each question, byte for byte."""

import json
from pathlib import Path

import pytest

from benchmark_rows import mathqa_row, race_row, real
from elusive.errors import ElusiveError
from elusive.items.archive import Archive
from elusive.items.benchmarks import BENCHMARKS
from elusive.items.build import build_items, item_set, load_items
from elusive.items.shots import SEED, draw_shots
from elusive.items.sources import ARCHIVED, Rows, archive_rows
from elusive.tables import read_metadata
from lm_eval_tasks import lm_eval_task, task_file

DRAWN = sorted(name for name, d in BENCHMARKS.items() if d.shots_split and not d.first_shots and not d.subject)


@pytest.fixture(scope="module")
def rows(archive_path):
    """Some rows of each benchmark in the hub's schema."""
    with Archive(archive_path) as archive:
        some = {name: archive_rows(name, archive).rows[:90] for name in ARCHIVED}
    options = "a ) {} , b ) {} , c ) 3 , d ) 4 , e ) none of these"
    some["mathqa"] = [mathqa_row(f"what is {n} ?", options.format(n, -n), "abcde"[n % 5]) for n in range(90)]
    some["mc_taco"] = real("mc_taco")[:90]
    return some


def lm_eval_shots(name, questions, pool, count):
    """Requests of all of ``questions`` with ``count`` examples out of ``pool``, and lm-eval's default seed."""
    task = lm_eval_task(task_file(name, questions[0]), questions, count, pool)
    task.set_fewshot_seed(SEED)
    task.build_all_requests()
    return [instance.args for instance in task.instances]


def our_shots(name, questions, pool, count):
    shots = draw_shots(questions, pool, count, BENCHMARKS[name].split != "test")
    items = [BENCHMARKS[name].render(row, examples) for row, examples in zip(questions, shots, strict=True)]
    return [request for item in items for request in item.requests()]


def test_the_seed_is_lm_evals_default():
    from lm_eval.defaults import DEFAULT_OTHER_SEED

    assert SEED == DEFAULT_OTHER_SEED


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("name", DRAWN)
def test_prompts_are_lm_evals(rows, name, count):
    questions, pool = rows[name][:25], rows[name][40:]
    ours = our_shots(name, questions, pool, count)
    assert ours == lm_eval_shots(name, questions, pool, count)
    assert len({context for context, _ in ours}) >= len(questions)


@pytest.mark.parametrize("name", ["hellaswag", "openbookqa", "piqa", "winogrande"])
def test_questions_among_the_examples(rows, name):
    """Only tasks whose questions are no test split drop the question; with copies of it they draw again."""
    questions = rows[name][:12]
    for pool in (rows[name][:12], rows[name][:3] * 5 + rows[name][3:6]):
        assert our_shots(name, questions, pool, 3) == lm_eval_shots(name, questions, pool, 3)


def test_an_example_whose_blank_stands_last(rows):
    pool = [row | {"sentence": row["sentence"].partition("_")[0] + "_"} for row in rows["winogrande"][40:50]]
    questions = rows["winogrande"][:5]
    assert our_shots("winogrande", questions, pool, 2) == lm_eval_shots("winogrande", questions, pool, 2)


def test_benchmarks_without_another_split():
    assert {name for name, d in BENCHMARKS.items() if not d.shots_split} == {"race", "race_v2", "xwinograd_en"}
    problem = {"question": "q", "answer": "A", "options": list("abcd")}
    with pytest.raises(ElusiveError, match="race: num_fewshot is 1, but there are no solved examples"):
        build_items({"name": "race", "source": "hub", "num_fewshot": 1}, "never.parquet", None)
    assert BENCHMARKS["race"].render(race_row("a", [problem])).gold == 0


def test_too_few_to_draw_from(rows):
    some = rows["piqa"]
    with pytest.raises(ElusiveError, match="num_fewshot is 5: 5 rows would be drawn, but there are 4 to draw from"):
        draw_shots(some[:2], some[:4], 5, without_question=False)
    with pytest.raises(ElusiveError, match="num_fewshot is 5: 6 rows would be drawn, but there are 5 to draw from"):
        draw_shots(some[:2], some[:5], 5, without_question=True)
    with pytest.raises(ElusiveError, match="num_fewshot is 2, but only 1 rows are not the question"):
        draw_shots(some[:1], [some[0], some[0], some[0], some[1]], 2, without_question=True)
    source = Rows("file", some, "x", "validation", "x", shots=some[:3], shots_origin="train.jsonl")
    with pytest.raises(ElusiveError, match=r"piqa: train\.jsonl: num_fewshot is 3: 4 rows would be drawn"):
        item_set(BENCHMARKS["piqa"], source, 3)


def _jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.slow
def test_built_in_benchmark_from_files(archive_path, tmp_path):
    """All of its rows, with examples from another file: as lm-eval has it on its training split."""
    with Archive(archive_path) as archive:
        questions, pool = archive_rows("openbookqa", archive).rows, archive.rows("openbookqa/main/validation")
    spec = {"name": "openbookqa", "source": "file", "num_fewshot": 3, "limit": 50}
    files = {"file": _jsonl(tmp_path / "test.jsonl", questions), "shots_file": _jsonl(tmp_path / "train.jsonl", pool)}
    build_items(spec | files, tmp_path / "x.parquet", None)
    metadata = read_metadata(tmp_path / "x.parquet")
    assert metadata["protocol"] == "lm-eval-0.4 3-shot"
    assert metadata["shots"].startswith("train.jsonl, SHA-256 ")
    assert (metadata["source"], metadata["num_items_total"]) == ("file", 500)
    theirs = lm_eval_shots("openbookqa", questions, pool, 3)
    of_item = {row["id"]: theirs[4 * number : 4 * number + 4] for number, row in enumerate(questions)}
    # A limit does not change what stands before a question.
    for item in load_items(tmp_path / "x.parquet").items:
        assert item.requests() == of_item[item.item]


@pytest.mark.parametrize("count", [1, 5])
def test_own_benchmark(archive_path, tmp_path, count):
    """An own benchmark with a built-in one's templates, with examples from another file, is asked as that one is."""
    with Archive(archive_path) as archive:
        questions, pool = archive_rows("openbookqa", archive).rows[:30], archive.rows("openbookqa/main/validation")[:40]
    spec = {
        "name": "mine",
        "file": _jsonl(tmp_path / "test.jsonl", questions),
        "shots_file": _jsonl(tmp_path / "train.jsonl", pool),
        "num_fewshot": count,
        "context": "{{ question_stem }}",
        "choices": "choices.text",
        "gold": "choices.label.index(answerKey)",
    }
    build_items(spec, tmp_path / "x.parquet", None)
    ours = [request for item in load_items(tmp_path / "x.parquet").items for request in item.requests()]
    assert ours == lm_eval_shots("openbookqa", questions, pool, count)
    assert read_metadata(tmp_path / "x.parquet")["protocol"] == f"own templates, {count}-shot"


@pytest.mark.parametrize("spelt", ["as it is", "otherwise", "a link"])
def test_own_benchmark_that_is_its_own_source_of_examples(archive_path, tmp_path, spelt):
    with Archive(archive_path) as archive:
        rows = archive_rows("piqa", archive).rows[:20]
    file = _jsonl(tmp_path / "rows.jsonl", rows)
    shots = str(tmp_path / "link.jsonl") if spelt == "a link" else file
    if spelt == "a link":
        Path(shots).symlink_to(file)
    spec = {
        "name": "mine",
        "file": file,
        "shots_file": f"{tmp_path}/../{tmp_path.name}/rows.jsonl" if spelt == "otherwise" else shots,
        "num_fewshot": 4,
        "context": "Question: {{ goal }}\nAnswer:",
    }
    build_items(spec | {"choices": "[sol1, sol2]", "gold": "label"}, tmp_path / "x.parquet", None)
    items = load_items(tmp_path / "x.parquet").items
    # lm-eval calls this a validation split, and then never shows the question itself, as must be here.
    assert [request for item in items for request in item.requests()] == lm_eval_shots("piqa", rows, rows, 4)
    assert all(item.contexts[0].count(f"Question: {row['goal']}\n") == 1 for item, row in zip(items, rows, strict=True))


def test_a_question_with_a_missing_value_is_not_its_own_example():
    """NaN is not equal to itself, and a file that is read twice has it twice."""

    def read():
        return [{"question": f"q{n}", "note": float("nan")} for n in range(4)]

    for row, shots in zip(read(), draw_shots(read(), read(), 3, without_question=True), strict=True):
        assert row["question"] not in [shot["question"] for shot in shots]
        assert len(shots) == 3
