"""Every reason for which logs are refused or warned of: the message, the exit status, and the way out."""

from __future__ import annotations

import gzip
import json
import re

import pytest

from elusive.items.build import build_items as build_builtin
from elusive.items.build import load_items
from logged import TIME, Question, prediction, questions, sample, winograd, write_lines, write_olmes, write_run
from unit.importing.imports import STEPS, Project, command

COUNT = 6


@pytest.fixture
def project(tmp_path):
    """Complete logs of three checkpoints."""
    made = Project(tmp_path)
    for seed, step in enumerate(STEPS):
        write_run(made.folder(step), {"quiz": [sample(question) for question in questions(COUNT, seed)]})
    return made


def change(project, step, **changes):
    """Write the logs of a checkpoint anew, with ``changes`` to item 2 alone."""
    lines = [sample(question) for question in questions(COUNT, STEPS.index(step))]
    lines[2] |= changes
    return write_run(project.folder(step), {"quiz": lines}) / f"samples_quiz_{TIME}.jsonl"


def said(capsys):
    """What the commands said, in one line, without the datasets' own ids behind the numbers of items."""
    return re.sub(r"\s+", " ", re.sub(r" \(q\d+\)", "", capsys.readouterr().err))


def test_complete_logs_are_imported(project, capsys):
    assert project.all() == 0
    assert project.table("step3").num_rows == 3 * COUNT
    assert "warning" not in said(capsys)


GENERATED = {"arguments": {"gen_args_0": {"arg_0": "Q", "arg_1": {"until": ["\n"]}}}, "resps": [["It is 42."]]}
SINGLE = {"arguments": {"gen_args_0": {"arg_0": "Q", "arg_1": " a"}}, "resps": [[["-3.0", "False"]]]}
PERPLEXITY = {"arguments": {"gen_args_0": {"arg_0": "a whole text"}}, "resps": [["-400.5"]]}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        (GENERATED, "generates text"),
        (SINGLE, "scores a single text for each item"),
        (PERPLEXITY, "scores a single text for each item"),
    ],
)
def test_tasks_without_choices(project, capsys, changes, what):
    file = write_lines(project.folder("step1") / f"samples_quiz_{TIME}.jsonl", [sample(questions(1)[0]) | changes])
    assert project.index() == 1
    assert f"{file}: task quiz {what}; only tasks that score each choice can be imported" in said(capsys)
    assert not (project.home / "index.json").exists()


@pytest.mark.parametrize("target", ["[0, 2]", [0, 2]])
def test_several_right_answers(project, capsys, target):
    file = change(project, "step1", target=target, metrics=[], acc=None)
    assert project.index() == 1
    assert f"{file}: item 2 has 2 right answers, one is needed (of TruthfulQA, mc1 can be imported)" in said(capsys)


def test_truthfulqa_mc2(project, capsys):
    question = questions(3)[2]
    document = {"mc2_targets": {"choices": question.choices, "labels": [1, 1, 0]}, "mc1_targets": {"choices": ["a"]}}
    file = change(project, "step1", doc=document, acc=0.73, target="0")
    assert project.index() == 1
    assert f"{file}: item 2 has 2 right answers" in said(capsys)


def test_one_right_answer_in_a_list_is_one(project):
    for step in STEPS:
        change(project, step, target=f"[{questions(COUNT)[2].gold}]")
    assert project.all() == 0


@pytest.mark.parametrize("target", ["-100", "7", "no choice", None, -100, "[a", True])
def test_gold_that_is_not_in_the_log(project, capsys, target):
    file = change(project, "step1", target=target)
    assert project.index() == 0
    assert project.items() == 1
    assert f"{file}: does not say which choice of item 2 is right" in said(capsys)


@pytest.mark.parametrize("kind", ["text", "number"])
def test_gold_as_a_text_or_as_a_number(project, kind):
    question = questions(COUNT)[2]
    for step in STEPS:
        change(project, step, target=question.choices[question.gold] if kind == "text" else question.gold)
    assert project.all() == 0
    assert project.made_items()["gold"].to_pylist() == [question.gold for question in questions(COUNT)]


def winograd_logs(project, **changes):
    for seed, step in enumerate(STEPS):
        write_run(project.folder(step), {"quiz": [sample(question) | changes for question in winograd(COUNT, seed)]})


@pytest.mark.parametrize("document", [{"answer": None}, {}])
def test_gold_of_a_winograd_from_its_accuracy(project, document):
    """The target is the text behind both contexts; of two choices, accuracy says which one is right."""
    winograd_logs(project, doc=document)
    assert project.all() == 0
    assert project.made_items()["gold"].to_pylist() == [0, 1] * (COUNT // 2)
    table = project.made_items()
    assert table["continuations"].to_pylist()[0] == [" was heavy."]
    assert len(table["contexts"].to_pylist()[0]) == 2


def test_gold_of_a_winograd_from_its_document(project):
    winograd_logs(project, metrics=[])
    for step in STEPS:
        file = project.folder(step) / f"samples_quiz_{TIME}.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        write_lines(file, [{key: value for key, value in line.items() if key != "acc"} for line in lines])
    assert project.all() == 0
    assert project.made_items()["gold"].to_pylist() == [0, 1] * (COUNT // 2)


def test_gold_of_a_winograd_that_nothing_says(project, capsys):
    winograd_logs(project, doc={}, metrics=[], acc=None)
    assert project.index() == 0
    assert project.items() == 1
    assert "does not say which choice of item 0 is right" in said(capsys)


def test_aggregates_only(project, capsys):
    (project.folder("step2") / f"samples_quiz_{TIME}.jsonl").unlink()
    assert project.index() == 1
    assert f"{project.folder('step2')}: results but no samples; run the harness with --log_samples" in said(capsys)


@pytest.mark.parametrize("name", ["samples_quiz_2026-01-02T03-04-05.678901.jsonl", "results.json"])
def test_git_lfs_pointer(project, capsys, name):
    file = project.folder("step2") / name
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n")
    assert project.index() == 1
    assert f"{file}: a Git LFS pointer, not the data; run git lfs pull" in said(capsys)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:-40], "line 6: cut off: the file does not end with a whole line"),
        (lambda text: text.replace('"doc_id": 3,', '"doc_id": 3;'), "line 4: not valid JSON"),
        (lambda text: text.replace('"resps": [[["', '"resps": [[["x', 1), "line 1: not as lm-eval writes samples"),
        (lambda text: text + "[1, 2]\n", "line 7: no JSON object, but list"),
    ],
)
def test_damaged_lines_name_file_and_line_and_nothing_is_imported(project, capsys, damage, message):
    file = project.folder("step1") / f"samples_quiz_{TIME}.jsonl"
    file.write_text(damage(file.read_text()))
    assert project.all() == 1
    assert f"{file}, {message}" in said(capsys)
    assert not project.table_file("step1").exists()


def test_a_damaged_archive(project, capsys):
    import gzip

    file = project.folder("step1") / f"samples_quiz_{TIME}.jsonl"
    packed = file.with_suffix(".jsonl.gz")
    packed.write_bytes(gzip.compress(file.read_bytes())[:-30])
    file.unlink()
    assert project.all() == 1
    assert f"{packed}: its compression is damaged or it was cut off" in said(capsys)


def test_bytes_that_are_no_text(project, capsys):
    file = project.folder("step1") / f"samples_quiz_{TIME}.jsonl"
    file.write_bytes(file.read_bytes().replace(b"number 4", b"number \xff"))
    assert project.all() == 1
    assert f"{file}, line 5: not UTF-8 text" in said(capsys)


def test_missing_tasks_are_listed_by_checkpoint(project, capsys):
    project.benchmarks.append({"name": "more", "task": ["mmlu_*"], "items": "strict", "subject": "task"})
    for step, subjects in zip(STEPS, (("law", "art", "sea"), ("law",), ("art", "sea")), strict=True):
        tasks = {f"mmlu_{s}": [sample(question) for question in questions(2, task=s)] for s in subjects}
        write_run(project.folder(step), tasks, time="2026-01-03T00-00-00")
    (project.folder("step3") / f"samples_quiz_{TIME}.jsonl").unlink()
    assert project.index() == 1
    text = said(capsys)
    assert "logs are missing (complete are: step1)" in text
    assert "step2: mmlu_art, mmlu_sea" in text and "step3: mmlu_law, quiz" in text


def test_a_task_that_no_log_has(project, capsys):
    project.benchmarks = [{"name": "own", "task": ["quizz"], "items": "strict"}]
    assert project.index() == 1
    assert "no log is of quizz (benchmark own); did you mean 'quiz'? (there are: quiz)" in said(capsys)


def test_a_group_in_the_place_of_its_tasks(project, capsys):
    for step in STEPS:
        tasks = {f"mmlu_{s}": [sample(question) for question in questions(2, task=s)] for s in ("law", "art")}
        write_run(project.folder(step), tasks, time="2026-01-03T00-00-00")
    project.benchmarks = [{"name": "own", "task": ["mmlu"], "items": "strict"}]
    assert project.index() == 1
    assert 'mmlu is a group of 2 tasks here: write task: "mmlu_*"' in said(capsys)


def second_run(project, seed, count=COUNT, **config):
    time = "2026-05-06T07-08-09"
    write_run(project.folder("step1"), {"quiz": [sample(q) for q in questions(count, seed)]}, time=time, **config)
    return time


def test_two_runs_with_equal_numbers(project, capsys):
    assert project.all() == 0
    before = project.table("step1")
    time = second_run(project, 0)
    assert project.all() == 0
    text = said(capsys)
    assert f"samples_quiz_{time}.jsonl: 2 runs of quiz with equal numbers; this one is taken" in text
    assert project.table("step1").equals(before)


def test_two_runs_with_different_numbers(project, capsys):
    time = second_run(project, 7, limit=6, shots=5)
    assert project.index() == 1
    text = said(capsys)
    assert "two runs of quiz differ, choose one with run:" in text
    assert f"run {TIME}, version 0.4.13, shots 0" in text and f"run {time}, version 0.4.13, shots 5, limit 6" in text
    project.checkpoints[0]["run"] = TIME
    assert project.all() == 0
    assert project.table("step1")["log_likelihood"].to_pylist()[:3] == questions(1)[0].values


def test_two_runs_that_differ_behind_the_first_lines(project, capsys):
    lines = [sample(question) for question in questions(40)]
    other = [*lines[:-1], sample(questions(40, 3)[-1])]
    for step in STEPS[:1]:
        write_run(project.folder(step), {"quiz": lines})
        write_run(project.folder(step), {"quiz": other}, time="2026-05-06T07-08-09")
    assert project.index() == 0
    assert project.items() == 1
    assert "two runs of quiz differ, choose one with run:" in said(capsys)


def test_a_run_in_a_folder_of_its_own(project):
    for name, seed in (("first", 0), ("second", 5)):
        write_run(project.folder("step1") / name, {"quiz": [sample(q) for q in questions(COUNT, seed)]})
    (project.folder("step1") / f"samples_quiz_{TIME}.jsonl").unlink()
    project.checkpoints[0]["run"] = "second"
    assert project.all() == 0
    assert project.table("step1")["log_likelihood"].to_pylist()[:3] == questions(1, 5)[0].values


def test_a_limited_run_beside_a_full_one(project, capsys):
    second_run(project, 0, count=3, limit=3)
    assert project.index() == 0
    assert project.items() == 1
    assert "two runs of quiz differ, choose one with run:" in said(capsys)


def test_samples_without_aggregates_where_the_path_names_the_checkpoint(project, capsys):
    (project.folder("step2") / f"results_{TIME}.json").unlink()
    assert project.all() == 0
    text = said(capsys)
    assert "no results beside it: the delimiter is taken to be a space" in text


def test_samples_without_aggregates_and_nothing_that_tells_checkpoints_apart(tmp_path, capsys):
    project = Project(tmp_path, path="logs")
    for seed in range(len(STEPS)):
        time = f"2026-01-0{seed + 1}T00-00-00"
        lines = [sample(question) for question in questions(COUNT, seed)]
        write_run(tmp_path / "logs", {"quiz": lines}, time=time, described=False)
        project.checkpoints[seed]["known"] = time
    times = [checkpoint.pop("known") for checkpoint in project.checkpoints]
    assert project.index() == 1
    assert "cannot tell checkpoints apart; set run for each" in said(capsys)
    for checkpoint, time in zip(project.checkpoints, times, strict=True):
        checkpoint["run"] = time
    assert project.all() == 0
    assert project.table("step2")["log_likelihood"].to_pylist()[:3] == questions(1, 1)[0].values


@pytest.mark.parametrize("path", ["logs", "logs/{checkpoint}"])
@pytest.mark.parametrize(
    ("checkpoint", "logged", "allowed"),
    [
        ({"name": "final", "revision": "step3"}, "step1000", False),
        ({"name": "final", "revision": "step1000"}, "step1000", True),
        ({"name": "final", "revision": "final"}, "step1000", True),
        ({"name": "step1000", "revision": "step1000"}, "step9000", False),
        ({"name": "step1000", "revision": "step1000"}, "step1000-tokens4B", True),
        ({"name": "step1000", "revision": "step1000"}, "main", True),
        ({"name": "final", "revision": "step3"}, "main", True),
        ({"name": "final", "revision": "step3"}, "0a1b2c3d4e5f", True),
    ],
)
def test_a_log_of_another_revision_than_its_only_checkpoint(tmp_path, capsys, path, checkpoint, logged, allowed):
    project = Project(tmp_path, path=path)
    project.checkpoints = [checkpoint]
    lines = [sample(question) for question in questions(COUNT)]
    write_run(project.folder(checkpoint["name"]), {"quiz": lines}, model_revision=logged)
    assert project.index() == (0 if allowed else 1)
    assert allowed or f"says that it is of revision {logged}" in said(capsys)


def test_a_compressed_log_with_a_damaged_byte(tmp_path, capsys):
    """Whichever byte it is, what is wrong is said."""
    project = Project(tmp_path, path="logs")
    project.checkpoints = project.checkpoints[:1]
    write_run(tmp_path / "logs", {"quiz": [sample(question) for question in questions(COUNT)]})
    (plain,) = (tmp_path / "logs").rglob("samples_*.jsonl")
    whole = gzip.compress(plain.read_bytes(), mtime=0)
    plain.unlink()
    packed = plain.with_name(f"{plain.name}.gz")
    for place in range(20, len(whole), max(1, len(whole) // 60)):
        packed.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        assert project.index() == 1
    assert "its compression is damaged" in said(capsys)


@pytest.mark.parametrize("key", ["config", "configs", "versions", "n-shot", "n-samples"])
@pytest.mark.parametrize("value", [None, "text", {"quiz": None}])
def test_aggregates_that_lack_what_they_name(tmp_path, capsys, key, value):
    project = Project(tmp_path, path="logs")
    project.checkpoints = project.checkpoints[:1]
    write_run(tmp_path / "logs", {"quiz": [sample(question) for question in questions(COUNT)]})
    for file in (tmp_path / "logs").rglob("results_*.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    # Read without it, or not taken for aggregates.
    assert project.index() in (0, 1)
    assert command("inspect-logs", tmp_path / "logs") in (0, 1)
    assert "Traceback" not in said(capsys)


def test_a_number_beyond_all_numbers(tmp_path, capsys):
    project = Project(tmp_path, path="logs")
    project.checkpoints = project.checkpoints[:1]
    lines = [sample(question) for question in questions(COUNT)]
    write_run(tmp_path / "logs", {"quiz": [lines[0] | {"doc_id": float("inf")}, *lines[1:]]})
    (file,) = (tmp_path / "logs").rglob("samples_*.jsonl")
    file.write_text(file.read_text().replace("Infinity", "1e400"))
    assert project.index() == 1
    assert "line 1: not as lm-eval writes samples (OverflowError" in said(capsys)


def test_a_revision_that_no_log_is_of(tmp_path, capsys):
    project = Project(tmp_path, path="logs")
    for seed, step in enumerate(STEPS[:2]):
        lines = [sample(question) for question in questions(COUNT, seed)]
        write_run(tmp_path / "logs", {"quiz": lines}, time=f"2026-01-0{seed + 1}T00-00-00", model_revision=step)
    assert project.index() == 1
    assert "has no logs of step3; its logs are of: model, step1, step2" in said(capsys)


def test_a_path_that_contradicts_the_revision(project, capsys):
    write_run(project.folder("step2"), {"quiz": [sample(q) for q in questions(COUNT, 1)]}, model_revision="step3")
    assert project.index() == 1
    assert "lies where the logs of step2 do, but says that it is of revision step3" in said(capsys)


def test_other_texts(project, capsys):
    lines = [sample(question) for question in questions(COUNT, 1)]
    lines[2]["arguments"]["gen_args_1"]["arg_1"] = " red"
    write_run(project.folder("step2"), {"quiz": lines}, shots=0, fewshot_seed=99)
    assert project.index() == 0 and project.items() == 0 and project.tables("step1") == 0
    assert project.tables("step2") == 1
    text = said(capsys)
    assert f"samples_quiz_{TIME}.jsonl (run {TIME}, version 0.4.13, shots 0, fewshot_seed 99)" in text
    assert "has 5 of the 6 items of own, and 1 others" in text
    assert f"compared with samples_quiz_{TIME}.jsonl of m/step1 (run {TIME}, version 0.4.13, shots 0" in text
    assert "First difference, item 'own-00002': continuation 1 is ' red' in the log" in text
    assert "`items: common` takes the items that all logs have" in text


def test_other_shots(project, capsys):
    lines = [sample(question) for question in questions(COUNT, 1)]
    for line in lines:
        for entry in line["arguments"].values():
            entry["arg_0"] = "Question: 1 + 1?\nAnswer: 2\n\n" + entry["arg_0"]
    write_run(project.folder("step2"), {"quiz": lines}, shots=1)
    assert project.index() == 0 and project.items() == 0
    assert project.tables("step2") == 1
    text = said(capsys)
    assert "none of its 6 items has the texts of own" in text
    assert "First difference, item 'own-00000': context 0 is 'Question: 1 + 1?" in text
    assert "The log has 1 solved examples before each question, own has 0 (num_fewshot)" in text


def test_other_gold(project, capsys):
    question = questions(COUNT, 1)[2]
    other = Question(2, question.contexts, question.continuations, (question.gold + 1) % 3, question.values)
    change(project, "step2", **sample(other))
    assert project.index() == 0 and project.items() == 0
    assert project.tables("step2") == 1
    text = said(capsys)
    assert f"item 'own-00002': choice {other.gold} is right in the log, but choice {question.gold} in" in text


def test_other_items(project, capsys):
    write_run(project.folder("step2"), {"quiz": [sample(q) for q in questions(4, 1)]}, limit=4)
    assert project.index() == 0 and project.items() == 0
    assert project.tables("step2") == 1
    text = said(capsys)
    assert "limit 4" in text and "has 4 of the 6 items of own" in text and "First one missing: 'own-00004'" in text
    project.benchmarks[0]["items"] = "common"
    assert project.all() == 0
    assert "own: 4 items are in all logs, of 6 in that of step1" in said(capsys)
    assert project.made_items()["item"].to_pylist() == [f"own-{i:05d}" for i in range(4)]
    assert all(project.table(step).num_rows == 12 for step in STEPS)


def test_more_items_than_in_the_first_log(project, capsys):
    write_run(project.folder("step2"), {"quiz": [sample(q) for q in questions(8, 1)]})
    assert project.index() == 0 and project.items() == 0
    assert project.tables("step2") == 1
    assert "has 6 of the 6 items of own, and 2 others" in said(capsys)


def test_nothing_in_common(project, capsys):
    project.benchmarks[0]["items"] = "common"
    write_run(project.folder("step3"), {"quiz": [sample(q) for q in questions(4, 1, task="else")]})
    assert project.index() == 0
    assert project.items() == 1
    assert "own: no item is in all logs: that of m/step3 shares none with those before it" in said(capsys)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("nan", "the log-likelihood is nan, not a finite number"),
        ("-inf", "the log-likelihood is -inf, not a finite number"),
        ("-999.0", "-999.0, which stands for a value that the server did not return"),
        ("0.25", "the log-likelihood is 0.25, above 0: a loss or a probability, not a log-likelihood"),
        ("41.5", "above 0"),
    ],
)
def test_numbers_that_are_no_log_likelihoods(project, capsys, value, message):
    line = sample(questions(COUNT)[2])
    line["resps"][1] = [[value, "False"]]
    file = change(project, "step1", **line)
    assert project.index() == 1
    text = said(capsys)
    assert f"{file}: item 2, choice 1: " in text and message in text


@pytest.mark.parametrize("metric", ["acc", "acc_norm"])
def test_a_metric_that_comes_out_differently(project, capsys, metric):
    question = questions(COUNT)[2]
    wrong = 1 - sample(question)[metric]
    file = change(project, "step1", **{metric: wrong})
    assert project.index() == 0 and project.items() == 1
    text = said(capsys)
    assert f"{file}: item 2: {metric} is {wrong} in the log, but {1 - wrong} by its log-likelihoods [" in text


def test_an_edited_number_is_found_by_the_accuracy(project, capsys):
    question = questions(COUNT)[2]
    line = sample(question)
    best = question.values.index(max(question.values))
    line["resps"][best] = [["-90.0", "False"]]
    change(project, "step1", **line)
    assert project.index() == 0
    status = project.items()
    right = question.gold in (best, sorted(range(3), key=question.values.__getitem__)[1])
    assert status == int(right)
    assert ("or the file was edited" in said(capsys)) == right


def test_parameters_that_differ_from_the_configuration(project, capsys):
    project.parameters = 1001
    assert project.index() == 1
    assert "says that the model has 1,000 parameters, but the configuration says 1,001 for m" in said(capsys)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_dtype": "torch.float16"}, "the type of the weights differs: float16: step2; float32: step1, step3"),
        ({"model": "vllm"}, "the backend differs: hf: step1, step3; vllm: step2"),
        ({"batch_size": 64}, "the batch size differs: 64: step2; 8: step1, step3"),
        (
            {"model_args": {"pretrained": "owner/model", "load_in_4bit": True}},
            "the weights were quantised to 4 or 8 bits in step2",
        ),
        ({"model_args": {"pretrained": "owner/model", "peft": "a/b"}}, "an adapter was put on the weights in step2"),
    ],
)
def test_differences_between_checkpoints_are_one_warning(project, capsys, config, message):
    write_run(project.folder("step2"), {"quiz": [sample(q) for q in questions(COUNT, 1)]}, **config)
    assert project.index() == 0
    text = said(capsys)
    assert text.count(message) == 1, text


def test_documents_that_differ_under_equal_texts(project, capsys):
    change(project, "step2", doc_hash="another column")
    assert project.index() == 0
    assert "quiz: equal texts come from different documents of the dataset (doc_hash)" in said(capsys)


def test_half_precision(project, capsys):
    import numpy as np

    def coarse(question):
        values = [float(np.float16(value)) for value in question.values]
        values[1] = values[0]
        return Question(question.number, question.contexts, question.continuations, question.gold, values)

    write_run(project.folder("step2"), {"quiz": [sample(coarse(q)) for q in questions(COUNT, 1)]})
    assert project.all() == 0
    tied = sum(max(v := coarse(q).values) == v[0] for q in questions(COUNT, 1))
    text = said(capsys)
    assert "m/step2: all log-likelihoods on own are numbers of float16" in text
    assert f"the best choice is tied for {tied} of {COUNT} items" in text
    assert "m/step1: all" not in text


def test_a_log_with_nothing_to_check(project, capsys):
    lines = [sample(question, metrics=[]) for question in questions(COUNT, 1)]
    for line in lines:
        line.pop("acc"), line.pop("acc_norm")
    write_run(project.folder("step2"), {"quiz": lines})
    assert project.all() == 0
    assert "has no metric of any item (--predict_only), so that nothing of it can be recomputed" in said(capsys)


def test_an_unconditional_half_without_the_space_is_dropped(project, capsys):
    def with_half(question, space):
        line = sample(question)
        count = len(question.values)
        for i, text in enumerate(question.choices):
            line["arguments"][f"gen_args_{count + i}"] = {"arg_0": "", "arg_1": f"{space}{text}"}
            line["resps"].append([[repr(-5.0 - i), "False"]])
        scores = [value + 5.0 + i for i, value in enumerate(question.values)]
        return line | {"acc_mutual_info": float(scores.index(max(scores)) == question.gold)}

    for space, has in ((" ", True), ("", False)):
        for seed, step in enumerate(STEPS):
            write_run(project.folder(step), {"quiz": [with_half(q, space) for q in questions(COUNT, seed)]})
        assert project.all() == 0
        assert ("log_likelihood_unconditional" in project.table("step1").column_names) == has
        assert project.table("step1").num_rows == 3 * COUNT
        assert ("log-likelihoods behind an empty context are left out" in said(capsys)) != has


def test_repeats_must_be_equal(project, capsys):
    line = sample(questions(COUNT)[2])
    line["resps"][0] = [["-1.0", "False"], ["-2.0", "False"]]
    change(project, "step1", **line)
    assert project.index() == 1
    assert "item 2, choice 0: its repeats differ, which should be equal" in said(capsys)


def test_two_runs_in_one_file(project, capsys):
    lines = [sample(q) for seed in (0, 4) for q in questions(COUNT, seed)]
    write_lines(project.folder("step1") / f"samples_quiz_{TIME}.jsonl", lines)
    assert project.index() == 1
    assert "is there twice, with log-likelihoods" in said(capsys)


def test_all_problems_are_said_at_once(project, capsys):
    (project.folder("step1") / f"samples_quiz_{TIME}.jsonl").write_text("{oops\n")
    change(project, "step2", **{"resps": [[["nan", "False"]]] * 3})
    (project.folder("step3") / f"samples_quiz_{TIME}.jsonl").unlink()
    assert project.index() == 1
    text = said(capsys)
    assert re.search(r"logs of m: [4-6] problems", text)
    for part in ("line 1: cut off or not valid JSON", "item 2, choice 0", "logs are missing"):
        assert part in text
    assert text.count("results but no samples") == 1  # the samples of step1 are there, only damaged


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"adapter_spec": {}, "request_states": []}, "a HELM scenario state, which cannot be imported"),
        ({"0": {"origin_prompt": "x", "prediction": "y"}}, "predictions of OpenCompass, which cannot be imported"),
        ({"schema_version": "1", "evaluation_results": []}, "a record of Every Eval Ever, which cannot be imported"),
        ({"eval": {"task": "t"}, "plan": {}, "samples": []}, "a log of Inspect, which cannot be imported"),
    ],
)
def test_formats_without_the_log_likelihood_of_every_choice(project, capsys, content, message):
    (project.folder("step1") / "other.json").write_text(json.dumps(content, indent=1))
    assert project.index() == 1
    assert message in said(capsys)


def test_logs_of_another_format_than_configured(project, capsys):
    project.source = "olmes"
    assert project.index() == 1
    text = said(capsys)
    assert "holds results of lm-evaluation-harness, samples of lm-evaluation-harness; write source: lm_eval" in text


def test_more_choices_than_a_table_can_hold(project, capsys):
    words = [f" word {i}" for i in range(130)]
    question = Question(2, ["Q"] * 130, words, 3, [-float(i + 1) for i in range(130)])
    change(project, "step1", **sample(question))
    assert project.index() == 1
    assert "item 2 has 130 choices; 2 to 127 can be imported" in said(capsys)


def test_a_built_in_benchmark_names_the_way_out(project, capsys, archive_path):
    """Items are found by their texts: fewer is an error, and so is another gold."""
    project.benchmarks = []
    project.builtin = {"openbookqa": project.home / "openbookqa.parquet"}
    build_builtin({"name": "openbookqa", "limit": 5}, project.builtin["openbookqa"], archive_path)
    items = load_items(project.builtin["openbookqa"]).items

    def logged(seed, kept=items, number=100):
        found = []
        for i, item in enumerate(kept):
            values = [-float(3 + (i * 7 + seed * 5 + k * 3) % 11) for k in range(4)]
            found.append(Question(number - i, list(item.contexts) * 4, list(item.continuations), item.gold, values))
        return found

    for seed, step in enumerate(STEPS):
        write_run(project.folder(step), {"openbookqa": [sample(question) for question in logged(seed)]})
    assert project.all() == 0
    assert project.table("step1", "openbookqa")["item"].unique().to_pylist() == [item.item for item in items]

    write_run(project.folder("step2"), {"openbookqa": [sample(question) for question in logged(1, items[:3])]})
    assert project.index() == 0 and project.tables("step2") == 1
    text = said(capsys)
    assert "has 3 of the 5 items of openbookqa; compared with the built-in items (lm-eval-0.4 zero-shot)" in text
    assert "another prompt is imported as it is by `source: logs`, under another name than openbookqa" in text

    wrong = [Question(q.number, q.contexts, q.continuations, (q.gold + 1) % 4, q.values) for q in logged(1)]
    write_run(project.folder("step2"), {"openbookqa": [sample(question) for question in wrong]})
    assert project.tables("step2") == 1
    assert f"item {items[0].item!r}: choice {(items[0].gold + 1) % 4} is right in the log" in said(capsys)


def test_a_task_of_olmes_that_generates(tmp_path, capsys):
    project = Project(tmp_path, source="olmes")
    for seed, step in enumerate(STEPS):
        write_olmes(project.folder(step), "quiz", questions(COUNT, seed))
    line = prediction(questions(1)[0]) | {"model_output": [{"continuation": "42"}]}
    file = write_lines(project.folder("step1") / "task-000-quiz-predictions.jsonl", [line])
    assert project.index() == 1
    assert f"{file}: task quiz generates text; only tasks that score each choice can be imported" in said(capsys)
