"""The benchmarks that the archive lacks: prompts as lm-eval's own templates make them, on real and on made-up rows."""

import string
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import lm_eval_tasks
from benchmark_rows import DATA, mathqa_row, race_row, real
from elusive.errors import ElusiveError
from elusive.items.benchmarks import BENCHMARKS, cluster_of
from elusive.items.build import item_set
from elusive.items.sources import Rows, local_rows
from lm_eval_tasks import lm_eval_items

load = lm_eval_tasks.load_yaml


def assert_prompts_are_lm_evals(name, rows, definition=None):
    definition = definition or BENCHMARKS[name]
    for row, theirs in zip(rows, lm_eval_items(name, rows), strict=True):
        ours = definition.render(row)
        assert ours.requests() == theirs.requests
        assert ours.gold == theirs.gold
        if len(ours.contexts) == 1:  # else lm-eval's doc_to_choice gives the contexts
            assert list(ours.choices) == theirs.choices


@pytest.mark.parametrize(("name", "count"), [("mc_taco", 169), ("xwinograd_en", 155)])
def test_real_rows(name, count):
    rows = real(name)
    assert len(rows) == count
    assert_prompts_are_lm_evals(name, rows)


def test_published_file_of_mc_taco_and_hub_rows_give_the_same_items():
    published = local_rows("mc_taco", DATA / "mc_taco.tsv", "test").rows
    render = BENCHMARKS["mc_taco"].render
    assert [render(row) for row in published] == [render(row) for row in real("mc_taco")]
    assert {row["label"] for row in published} == {"no", "yes"}
    quoted = next(row for row in published if '"' in row["sentence"] + row["answer"])
    assert '"' in render(quoted).contexts[0]


# Text as data sets have it, with what templates, patterns and stripping might trip over.
TEXT = st.text(alphabet=string.ascii_letters + string.digits + " .,_?!'\"\n\t{}%[]()\\éß“中", max_size=60)
WORDS = TEXT.filter(lambda text: text.strip())
OPTION = st.text(alphabet=string.ascii_letters + string.digits + " ./%$", min_size=1, max_size=12).map(str.strip)
ROWS = settings(max_examples=40)


@ROWS
@given(problem=TEXT, options=st.lists(OPTION.filter(bool), min_size=5, max_size=5), correct=st.sampled_from("abcde"))
def test_mathqa(problem, options, correct):
    written = " , ".join(f"{letter} ) {option}" for letter, option in zip("abcde", options, strict=True))
    row = mathqa_row(problem, written, correct)
    assert_prompts_are_lm_evals("mathqa", [row])
    assert BENCHMARKS["mathqa"].render(row).num_choices == 5


@pytest.mark.parametrize(
    ("options", "choices"),
    [
        (
            "a ) 38 , b ) 27.675 , c ) 30 , d ) data inadequate , e ) none of these",
            ["38", "27.675", "30", "data inadequate", "none of these"],
        ),
        # A comma ends an option, and its rest is lost.
        ("a ) 1 , 000 , b ) 2 , c ) 3 , d ) 4 , e ) 5 , 000", ["1", "2", "3", "4", "5 , 000"]),
        # Some rows hold a list as Python writes it.
        (
            "['a ) rs . 400', 'b ) rs . 300', 'c ) rs . 500', 'd ) rs . 350', 'e ) none of these']",
            ["rs . 400'", "rs . 300'", "rs . 500'", "rs . 350'", "none of these']"],
        ),
        ("a ) 1 , b ) 2 , c ) 3 , d ) 4", ["1", "2", "3"]),
        ("a ) 7 , 5 ( one ) , b ) 2 , c ) 3 , d ) 4 , e ) 5", ["7", ", b ) 2 , c ) 3 , d ) 4 , e ) 5"]),
    ],
)
def test_mathqa_options(options, choices):
    row = mathqa_row("how much ?", options, "a")
    assert list(BENCHMARKS["mathqa"].render(row).choices) == choices
    assert_prompts_are_lm_evals("mathqa", [row])


def test_mathqa_of_every_number_of_choices_at_once():
    options = [
        "a ) 1 , b ) 2 , c ) 3 , d ) 4 , e ) 5",
        "a ) 1 , b ) 2 , c ) 3 , d ) 4",
        "a ) 1 , b ) 2 , a ) 1 , e ) 5",
    ]
    rows = [mathqa_row("p", text, "a") for text in options]
    assert [BENCHMARKS["mathqa"].render(row).num_choices for row in rows] == [5, 3, 4]
    assert_prompts_are_lm_evals("mathqa", rows)


@ROWS
@given(sentence=TEXT, question=TEXT, answer=TEXT, label=st.sampled_from([0, 1]))
def test_mc_taco(sentence, question, answer, label):
    row = {"sentence": sentence, "question": question, "answer": answer, "label": label, "category": 0}
    assert_prompts_are_lm_evals("mc_taco", [row])


QUESTION = st.one_of(
    WORDS, st.builds("{}{}".format, TEXT, st.sampled_from(["  _  .", "  _  . ", " _ .", "  _", "_  ."]))
)
PROBLEM = st.fixed_dictionaries(
    {
        "question": QUESTION,
        "answer": st.sampled_from("ABCD"),
        "options": st.lists(WORDS, min_size=4, max_size=5),
    }
)


@ROWS
@given(article=TEXT, problems=st.lists(PROBLEM, min_size=1, max_size=4))
@example(
    article="Tom  has a dog .",
    problems=[
        {"question": "I have  _  .", "answer": "B", "options": ["a cat", "a dog", "a cow", "a hen"]},
        {"question": "Who ?", "answer": "D", "options": ["I", "you", "she", "Tom"]},
        {"question": "The dog is  _  .", "answer": "A", "options": ["Tom's", "mine", "yours", "hers"]},
    ],
)
def test_race(article, problems):
    row = race_row(article, problems)
    assert_prompts_are_lm_evals("race", [row])
    # The hub holds the problems as text, a file may hold them as they are.
    assert BENCHMARKS["race"].render(row) == BENCHMARKS["race"].render({"article": article, "problems": problems})


def test_race_of_different_numbers_of_problems_at_once():
    problem = {"question": "Why  _  .", "answer": "C", "options": ["a", "b", "c", "d"]}
    rows = [race_row(f"article {count}", [problem] * count) for count in (1, 2, 5)]
    assert_prompts_are_lm_evals("race", rows)


@pytest.fixture
def lm_eval_race_v2(monkeypatch):
    """lm-eval's task as version 2.0 had it: with the end of the question where what comes before belongs."""
    from lm_eval.tasks.race import preprocess_race as current

    source = Path(current.__file__).read_text()
    assert source.count('["question"][:-5]') == 1
    before = {}
    exec(source.replace('["question"][:-5]', '["question"][-5:]'), before)
    monkeypatch.setattr(
        lm_eval_tasks,
        "load_yaml",
        lambda path: load(path) | {key: before[key] for key in ("doc_to_text", "doc_to_target", "doc_to_choice")},
    )


def test_race_version_2(lm_eval_race_v2):
    cloze = {"question": "I have  _  .", "answer": "B", "options": ["a cat", "a dog", "a cow", "a hen"]}
    open_question = {"question": "Who ?", "answer": "D", "options": ["I", "you", "she", "Tom"]}
    rows = [
        race_row("Tom has a dog .", problems) for problems in ([cloze, open_question], [open_question, cloze, cloze])
    ]
    assert_prompts_are_lm_evals("race", rows, BENCHMARKS["race_v2"])
    contexts = {name: BENCHMARKS[name].render(rows[0]).contexts[0] for name in ("race", "race_v2")}
    assert contexts["race"] == "Article: Tom has a dog .\n\nI have a dog\nWho ?"
    assert contexts["race_v2"] == "Article: Tom has a dog .\n\n _  .a dog\nWho ?"


@ROWS
@given(before=TEXT, after=WORDS, options=st.tuples(WORDS, WORDS), answer=st.sampled_from("12"))
def test_xwinograd(before, after, options, answer):
    sentence = before.replace("_", "-") + "_" + after
    row = {"sentence": sentence, "option1": options[0], "option2": options[1], "answer": answer}
    assert_prompts_are_lm_evals("xwinograd_en", [row])


def test_every_subject_of_mmlu_is_a_benchmark_named_as_in_lm_eval():
    folder = Path(lm_eval_tasks.lm_eval.tasks.__file__).parent / "mmlu" / "default"
    names = {load(path)["task"] for path in folder.glob("mmlu_*.yaml")}
    subjects = {name for name, definition in BENCHMARKS.items() if definition.subject}
    assert len(names) == 57
    assert subjects == names
    row = {"question": " Q? ", "choices": ["w", "x", "y", "z"], "answer": 2, "subject": "college_physics"}
    assert BENCHMARKS["mmlu_college_physics"].render(row) == BENCHMARKS["mmlu"].render(row)
    assert_prompts_are_lm_evals("mmlu", [row])


# --- what is known of the whole sets


@pytest.mark.parametrize(
    ("name", "count"), [("mathqa", 2985), ("mc_taco", 9442), ("race", 1045), ("xwinograd_en", 2325)]
)
def test_counts_are_asserted(name, count):
    definition = BENCHMARKS[name]
    assert definition.num_items == {"test": count}
    rows = {
        "mathqa": [mathqa_row("p", "a ) 1 , b ) 2 , c ) 3 , d ) 4 , e ) 5", "b")],
        "race": [race_row("a", [{"question": "q", "answer": "A", "options": list("abcd")}])],
    }
    some = rows.get(name) or real(name)
    with pytest.raises(ElusiveError, match=rf"{name}: found {len(some)} items of the test split, expected {count}"):
        item_set(definition, Rows("file", some, "x", "test", "x"))


def test_labels_of_mc_taco_are_asserted():
    rows = [{"sentence": f"s{n}", "question": "q", "answer": "a", "label": int(n < 3198)} for n in range(9442)]
    source = Rows("file", rows, "x", "test", "x")
    items = item_set(BENCHMARKS["mc_taco"], source)
    assert Counter(item.gold for item in items.items) == {0: 6244, 1: 3198}
    rows[0] = rows[0] | {"label": 0}
    with pytest.raises(ElusiveError, match=r"mc_taco: the right choices are \(6245, 3197\) times each"):
        item_set(BENCHMARKS["mc_taco"], source)


def mathqa_rows(unusable):
    good = "a ) 1 , b ) 2 , c ) 3 , d ) 4 , e ) 5"
    return [mathqa_row(f"p{n}", "a ) 1 , b ) 2 , c ) 3 , " if n < unusable else good, "e") for n in range(2985)]


def test_rows_without_the_right_choice_are_left_out_and_named():
    items = item_set(BENCHMARKS["mathqa"], Rows("file", mathqa_rows(2), "x", "test", "x"))
    assert len(items.items) == 2983
    assert items.metadata["left_out"] == ["mathqa-00000", "mathqa-00001"]
    # What is left keeps the numbers that lm-eval gives.
    assert items.items[0].item == "mathqa-00002"
    with pytest.raises(ElusiveError, match=r"mathqa: 31 items have no right choice or an empty one, at most 30"):
        item_set(BENCHMARKS["mathqa"], Rows("file", mathqa_rows(31), "x", "test", "x"))


def test_row_that_is_not_of_the_schema():
    rows = [{"sentence": "s", "question": "q", "answer": "a", "lable": 1}]
    with pytest.raises(
        ElusiveError, match=r"mc_taco: row 1 of here is not as in CogComp/mc_taco: KeyError: 'label'; .*lable"
    ):
        item_set(BENCHMARKS["mc_taco"], Rows("hub", rows, "x", "test", "here"))


# --- clusters


def test_items_about_the_same_text_share_a_cluster():
    rows = real("mc_taco")
    clusters = [BENCHMARKS["mc_taco"].render(row).cluster for row in rows]
    assert (
        len(set(clusters))
        == len({row["sentence"] for row in rows})
        < len({(r["sentence"], r["question"]) for r in rows})
    )
    problem = {"question": "q", "answer": "A", "options": list("abcd")}
    one, other = (BENCHMARKS["race"].render(race_row("same", [problem | {"question": q}])) for q in "xy")
    assert one.cluster == other.cluster == cluster_of("same") != cluster_of("another")
    assert cluster_of("") is None
    assert replace(one, cluster=None) != one
