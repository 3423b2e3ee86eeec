"""The benchmarks that the archive holds: every item, and lm-eval's own templates on the same rows."""

from collections import Counter

import pytest

from elusive.errors import ElusiveError
from elusive.items.archive import Archive
from elusive.items.benchmarks import BENCHMARKS, Item
from elusive.items.build import archive_set, check
from elusive.items.sources import ARCHIVED, archive_rows, rows_of_requests
from lm_eval_tasks import lm_eval_items, lm_eval_task

# benchmark: items, how many items have how many choices, and items whose gold answer is the first, second, ...
EXPECTED = {
    "arc_easy": (2376, {4: 2365, 3: 7, 5: 4}, [596, 585, 633, 561, 1]),
    "arc_challenge": (1172, {4: 1165, 3: 4, 5: 3}, [266, 311, 310, 285]),
    "hellaswag": (10042, {4: 10042}, [2515, 2485, 2584, 2458]),
    "mmlu": (14042, {4: 14042}, [3222, 3462, 3582, 3776]),
    "openbookqa": (500, {4: 500}, [138, 126, 132, 104]),
    "piqa": (1838, {2: 1838}, [910, 928]),
    "sciq": (1000, {4: 1000}, [0, 0, 0, 1000]),
    "social_iqa": (1954, {3: 1954}, [643, 654, 657]),
    "winogrande": (1267, {2: 1267}, [628, 639]),
}
# Rows to compare with lm-eval: every n-th; rows with an unusual number of choices always.
STRIDE = {"arc_easy": 4, "arc_challenge": 4, "hellaswag": 40, "mmlu": 40, "piqa": 6, "social_iqa": 6, "sciq": 2}


@pytest.fixture(scope="module")
def sets(archive_path):
    with Archive(archive_path) as archive:
        return {name: archive_set(BENCHMARKS[name], archive) for name in EXPECTED}


@pytest.fixture(scope="module")
def rows(archive_path):
    with Archive(archive_path) as archive:
        return {name: archive_rows(name, archive).rows for name in EXPECTED}


def test_every_archived_benchmark_has_an_expectation():
    assert set(EXPECTED) == ARCHIVED


@pytest.mark.parametrize("name", EXPECTED)
def test_counts(sets, name):
    count, num_choices, golds = EXPECTED[name]
    items = sets[name].items
    assert len(items) == count
    assert Counter(item.num_choices for item in items) == num_choices
    assert [Counter(item.gold for item in items)[index] for index in range(len(golds))] == golds
    assert sum(golds) == count
    assert len({item.item for item in items}) == count


@pytest.mark.parametrize("name", EXPECTED)
def test_shapes(sets, name):
    for item in sets[name].items:
        if name == "winogrande":
            assert (len(item.contexts), len(item.continuations)) == (2, 1)
            assert item.continuations == (" " + item.choices[0],)
            assert item.choices[0] == item.choices[1]
        else:
            assert len(item.contexts) == 1
            assert item.continuations == tuple(" " + choice for choice in item.choices)
        assert (item.subject is not None) == (name == "mmlu")


# benchmark: how many texts its items share, and how many items have no text to share
CLUSTERS = {"hellaswag": (8407, 0), "piqa": (1803, 0), "sciq": (887, 113), "social_iqa": (1930, 0)}


@pytest.mark.parametrize("name", EXPECTED)
def test_clusters(sets, name):
    clusters = [item.cluster for item in sets[name].items]
    expected = CLUSTERS.get(name, (0, len(clusters)))
    assert (len(set(clusters) - {None}), clusters.count(None)) == expected


def test_mmlu_subjects(sets):
    found = Counter(item.subject for item in sets["mmlu"].items)
    assert found == BENCHMARKS["mmlu"].subjects
    assert len(found) == 57
    assert found["professional_law"] == 1534


def test_split_is_said(sets):
    splits = {name: sets[name].metadata["split"] for name in EXPECTED}
    assert {name for name, split in splits.items() if split != BENCHMARKS[name].split} == {"sciq"}
    notes = {name: sets[name].metadata["split_note"] for name in EXPECTED}
    assert notes.pop("sciq") == "the archive lacks the test split; its validation split (1000 items) stands in"
    assert set(notes.values()) == {None}


@pytest.mark.parametrize("name", EXPECTED)
def test_prompts_are_those_of_lm_eval(rows, name):
    usual = 4 if name.startswith("arc_") else None
    stride = STRIDE.get(name, 1)
    chosen = [
        row
        for number, row in enumerate(rows[name])
        if number % stride == 0 or (usual and len(row["choices"]["text"]) != usual)
    ]
    assert len(chosen) >= 250
    if usual:
        assert {len(row["choices"]["text"]) for row in chosen} == {3, 4, 5}
    for row, theirs in zip(chosen, lm_eval_items(name, chosen), strict=True):
        ours = BENCHMARKS[name].render(row)
        assert ours.requests() == theirs.requests
        assert ours.gold == theirs.gold
        if name != "winogrande":  # where lm-eval's doc_to_choice gives the contexts
            assert list(ours.choices) == theirs.choices


@pytest.mark.parametrize(
    ("task", "dataset", "question", "count"),
    [
        ("arc_easy", "ai2_arc/ARC-Easy", "question", 570),
        ("arc_challenge", "ai2_arc/ARC-Challenge", "question", 299),
        ("openbookqa", "openbookqa/main", "question_stem", 500),
    ],
)
def test_rows_from_prompts_are_the_datasets_rows(archive_path, task, dataset, question, count):
    """The archive has these validation splits twice, as rows and as prompts: rows taken out of prompts lose nothing."""
    with Archive(archive_path) as archive:
        original = archive.rows(f"{dataset}/validation")
        recovered = rows_of_requests(archive.requests(f"{task}/val_rc_5shot"), question)
    assert len(recovered) == len(original) == count
    render = BENCHMARKS[task].render
    for ours, theirs in zip(recovered, original, strict=True):
        assert (ours["id"], ours[question]) == (theirs["id"], theirs[question])
        assert ours["choices"]["text"] == theirs["choices"]["text"]
        assert render(ours) == render(theirs)
    labels = {tuple(row["choices"]["label"]) for row in recovered}
    assert {"".join(label) for label in labels} <= {"ABC", "ABCD", "ABCDE"}


def test_numeric_labels():
    row = {"id": "x", "question": "Why?", "choices": {"text": ["a", "b"], "label": ["1", "2"]}, "answerKey": "2"}
    assert BENCHMARKS["arc_easy"].render(row).gold == 1


def test_hellaswag_marks():
    row = {
        "activity_label": "Baking",
        "ctx_a": "[header] How to bake [title] Mix the flour.",
        "ctx_b": "then WAIT",
        "endings": ["[step] stir  it   well. ", "a", "b", "c"],
        "label": "0",
    }
    item = BENCHMARKS["hellaswag"].render(row)
    assert item.contexts == ("Baking: How to bake. Mix the flour. Then wait",)
    # Stripped before the mark is removed, and three blanks become two: lm-eval does just that.
    assert item.continuations[0] == "  stir it  well."


def _items(count, **changes):
    return [Item((f"q{n}",), (" a", " b"), **{"choices": ("a", "b"), "gold": 0, **changes}) for n in range(count)]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (_items(1837), "piqa: found 1837 items of the validation split, expected 1838"),
        (_items(1838, choices=("a", "b", "c")), r"piqa: row 0: 3 choices, expected \(2,\)"),
        (_items(1838, gold=2), "piqa: row 0: gold index 2, but 2 choices"),
        (_items(1838, gold=-1), "piqa: row 0: gold index -1, but 2 choices"),
        (_items(1838, choices=("a", " ")), "piqa: row 0: an empty choice"),
    ],
)
def test_check_refuses(items, message):
    check(BENCHMARKS["piqa"], "validation", _items(1838))
    with pytest.raises(ElusiveError, match=message):
        check(BENCHMARKS["piqa"], "validation", items)


def test_check_refuses_wrong_subjects(sets):
    from dataclasses import replace

    items = [replace(item, subject="virology") for item in sets["mmlu"].items]
    with pytest.raises(ElusiveError, match=r"mmlu: numbers of items per subject .*'anatomy': \(0, 135\)"):
        check(BENCHMARKS["mmlu"], "test", items)


@pytest.mark.slow
@pytest.mark.parametrize("num_fewshot", [1, 5])
@pytest.mark.parametrize("subject", ["anatomy", "high_school_european_history", "formal_logic"])
def test_solved_examples_are_lm_evals(archive_path, subject, num_fewshot):
    with Archive(archive_path) as archive:
        source = archive_rows("mmlu", archive, with_shots=True)
        items = archive_set(BENCHMARKS["mmlu"], archive, num_fewshot).items
    rows = [row for row in source.rows if row["subject"] == subject][:40]
    shots = [row for row in source.shots if row["subject"] == subject]
    assert len(shots) == 5
    task = lm_eval_task(f"mmlu/default/mmlu_{subject}.yaml", rows, num_fewshot, shots)
    task.build_all_requests()
    expected = [instance.args for instance in task.instances]
    ours = [item for item in items if item.subject == subject][: len(rows)]
    assert [request for item in ours for request in item.requests()] == expected


def test_more_solved_examples_than_there_are(archive_path):
    with Archive(archive_path) as archive:
        with pytest.raises(ElusiveError, match=r"piqa: the archive does not hold it"):
            archive_set(BENCHMARKS["piqa"], archive, 1)
        with pytest.raises(ElusiveError, match=r"mmlu: num_fewshot is 6, at most 5 are there"):
            archive_set(BENCHMARKS["mmlu"], archive, 6)
