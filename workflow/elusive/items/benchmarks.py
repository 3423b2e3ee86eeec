"""The built-in benchmarks: how a row of the hub's dataset becomes an item, one definition each.

Prompts, choices and gold indexes are those of lm-eval 0.4.13, byte for byte: the context is description + solved
examples, if any are asked for, + ``doc_to_text``, a continuation is the delimiter (one space) + a choice. A definition
does not know where its rows come from; any source that yields rows of the hub's schema will do.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

Row = Mapping[str, Any]

DELIMITER = " "
EXAMPLE_DELIMITER = "\n\n"


def protocol(num_fewshot: int) -> str:
    """What tables call the way in which built-in benchmarks are asked."""
    return f"lm-eval-0.4 {f'{num_fewshot}-shot' if num_fewshot else 'zero-shot'}"


def cluster_of(text: str) -> str | None:
    """A name for the items that share ``text``: the start of its SHA-256; None when there is no text to share."""
    return hashlib.sha256(text.encode()).hexdigest()[:16] if text.strip() else None


@dataclass(frozen=True, slots=True)
class Item:
    """One question with its answers.

    ``contexts`` and ``continuations`` hold one string per choice or one shared by all. ``choices`` holds, per
    choice, the text whose length normalises its log-likelihood: the continuation without the delimiter. ``item`` is
    the dataset's own id, if it has one, until the table is built, and the id of the table after that. Items of the
    same ``cluster`` ask about the same text, so that a model's scores on them depend on each other.
    """

    contexts: tuple[str, ...]
    continuations: tuple[str, ...]
    choices: tuple[str, ...]
    gold: int
    subject: str | None = None
    item: str | None = None
    cluster: str | None = None

    @property
    def num_choices(self) -> int:
        """Number of choices."""
        return len(self.choices)

    def requests(self) -> list[tuple[str, str]]:
        """One (context, continuation) per choice, with shared strings repeated."""
        count = self.num_choices
        contexts = self.contexts if len(self.contexts) == count else self.contexts * count
        continuations = self.continuations if len(self.continuations) == count else self.continuations * count
        return list(zip(contexts, continuations, strict=True))

    def solved(self) -> str:
        """The item as a solved example: its context, the right answer, and the line that ends an example.

        Without an answer to give (a sentence whose blank stands last) lm-eval ends an example right there.
        """
        context, continuation = self.requests()[self.gold]
        return context + continuation + EXAMPLE_DELIMITER if self.choices[self.gold] else context


@dataclass(frozen=True)
class BenchmarkDefinition:
    """A built-in benchmark.

    ``dataset``, ``configs`` (empty: the only one) and ``split`` name the data on the hub, ``revision`` the commit
    (None: the newest). ``num_items`` gives the number of items of each split in use, ``subjects`` that of each
    subject, ``golds`` how many items have the first, second, ... choice as their right one. ``num_choices`` are the
    numbers of choices that occur. ``version`` is raised whenever :meth:`render` changes an item.

    ``question`` makes an item of a row, ``description`` the text before it all. ``shared`` gives the text that a row
    may have in common with others. Solved examples are taken from ``shots_split``: the first ones of it, of the same
    subject, if ``first_shots``, else drawn from all of it; None: there is no other split than the questions' own.
    ``max_shots`` is how many there are of each subject. ``subject`` is that of a benchmark that is a part of another.
    Up to ``unusable`` rows may lack the right choice, or have an empty one, and are left out; ``num_items`` counts
    them.
    """

    name: str
    label: str
    dataset: str
    configs: tuple[str, ...]
    split: str
    num_items: Mapping[str, int]
    num_choices: tuple[int, ...]
    version: int
    question: Callable[[Row], Item]
    revision: str | None = None
    description: Callable[[Row], str] = lambda row: ""
    shared: Callable[[Row], str] | None = None
    subjects: Mapping[str, int] = field(default_factory=dict)
    subject: str | None = None
    golds: tuple[int, ...] | None = None
    shots_split: str | None = None
    first_shots: bool = False
    max_shots: int | None = None
    unusable: int = 0

    def render(self, row: Row, shots: Sequence[Row] = ()) -> Item:
        """The item of ``row``, with ``shots``, rows too, as solved examples before the question."""
        item = self.question(row)
        before = self.description(row) + "".join(self.question(shot).solved() for shot in shots)
        contexts = tuple(before + context for context in item.contexts) if before else item.contexts
        return replace(item, contexts=contexts, cluster=cluster_of(self.shared(row)) if self.shared else None)


def _ask(context: str, choices: list[str], gold: int, subject: str | None = None, item: str | None = None) -> Item:
    """An item with one context and one continuation per choice."""
    continuations = tuple(DELIMITER + choice for choice in choices)
    return Item((context,), continuations, tuple(choices), gold, subject, item)


def _arc(row: Row) -> Item:
    gold = row["choices"]["label"].index(row["answerKey"])
    return _ask(f"Question: {row['question']}\nAnswer:", row["choices"]["text"], gold, item=row["id"])


def _hellaswag_text(text: str) -> str:
    """Undo the marks that WikiHow articles left in the text. Doubled spaces are halved once, as lm-eval does."""
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


def _hellaswag(row: Row) -> Item:
    # The dataset's `ind` is no id: 433 rows share theirs with another.
    context = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}"
    return _ask(_hellaswag_text(context), [_hellaswag_text(ending) for ending in row["endings"]], int(row["label"]))


def _mathqa(row: Row) -> Item:
    # The options are one text: "a ) 38 , b ) 27.675 , c ) 30 , d ) data inadequate , e ) none of these". A comma within
    # an option cuts it short, and rarely makes the pattern find more or fewer than five.
    options = [option[4:].rstrip(" ,") for option in re.findall(r"[abcd] \) .*?, |e \) .*?$", row["options"])]
    return _ask(f"Question: {row['Problem']}\nAnswer:", options, "abcde".index(row["correct"]))


def _mc_taco(row: Row) -> Item:
    context = f"{row['sentence']}\nQuestion: {row['question']}\nAnswer: {row['answer']}\nPlausible:"
    choices = ["no", "yes"]
    # The hub numbers the labels, the published file spells them out.
    return _ask(context, choices, choices.index(row["label"]) if row["label"] in choices else int(row["label"]))


def _mmlu_description(row: Row) -> str:
    subject = row["subject"].replace("_", " ")
    return f"The following are multiple choice questions (with answers) about {subject}.\n\n"


def _mmlu(row: Row) -> Item:
    a, b, c, d = row["choices"]
    context = f"{row['question'].strip()}\nA. {a}\nB. {b}\nC. {c}\nD. {d}\nAnswer:"
    return _ask(context, ["A", "B", "C", "D"], int(row["answer"]), subject=row["subject"])


def _openbookqa(row: Row) -> Item:
    gold = row["choices"]["label"].index(row["answerKey"].lstrip())
    return _ask(row["question_stem"], row["choices"]["text"], gold, item=row["id"])


def _piqa(row: Row) -> Item:
    return _ask(f"Question: {row['goal']}\nAnswer:", [row["sol1"], row["sol2"]], int(row["label"]))


_RACE_CLOZE = "  _  ."


def _race(row: Row, version: int) -> Item:
    """One article with its problems: the last one is asked, those before it are given with their answers.

    A problem that ends with a blank is completed with its answer. Version 2 of lm-eval's task, which the paper used,
    kept the end of such a problem where it should have kept what comes before.
    """
    problems = row["problems"]
    if isinstance(problems, str):  # a Python literal on the hub
        problems = ast.literal_eval(problems)
    context = f"Article: {row['article']}\n\n"
    for problem in problems[:-1]:
        question, answer = problem["question"], problem["options"]["ABCD".index(problem["answer"])]
        if question.endswith(_RACE_CLOZE):
            # Five characters, so that one of the two blanks before the underscore stays.
            context += (question[-5:] if version == 2 else question[:-5]) + answer + "\n"
        else:
            context += f"Question: {question}\nAnswer: {answer}\n"
    last = problems[-1]
    return _ask(context + last["question"], [last["options"][i] for i in range(4)], "ABCD".index(last["answer"]))


def _sciq(row: Row) -> Item:
    # The right answer always comes last; a row without a passage starts with the line break.
    context = f"{row['support'].lstrip()}\nQuestion: {row['question']}\nAnswer:"
    return _ask(context, [row["distractor1"], row["distractor2"], row["distractor3"], row["correct_answer"]], 3)


def _social_iqa(row: Row) -> Item:
    choices = [row["answerA"], row["answerB"], row["answerC"]]
    return _ask(f"Q: {row['context']} {row['question']}\nA:", choices, int(row["label"]) - 1)


def _winogrande(row: Row) -> Item:
    """Partial evaluation: the options stand in the contexts, what is scored is the rest of the sentence."""
    blank = row["sentence"].index("_")
    before, after = row["sentence"][:blank], row["sentence"][blank + 1 :].strip()
    contexts = (before + row["option1"], before + row["option2"])
    return Item(contexts, (DELIMITER + after,), (after, after), int(row["answer"]) - 1)


_MMLU_COUNTS = """
abstract_algebra 100 anatomy 135 astronomy 152 business_ethics 100 clinical_knowledge 265 college_biology 144
college_chemistry 100 college_computer_science 100 college_mathematics 100 college_medicine 173 college_physics 102
computer_security 100 conceptual_physics 235 econometrics 114 electrical_engineering 145 elementary_mathematics 378
formal_logic 126 global_facts 100 high_school_biology 310 high_school_chemistry 203 high_school_computer_science 100
high_school_european_history 165 high_school_geography 198 high_school_government_and_politics 193
high_school_macroeconomics 390 high_school_mathematics 270 high_school_microeconomics 238 high_school_physics 151
high_school_psychology 545 high_school_statistics 216 high_school_us_history 204 high_school_world_history 237
human_aging 223 human_sexuality 131 international_law 121 jurisprudence 108 logical_fallacies 163
machine_learning 112 management 103 marketing 234 medical_genetics 100 miscellaneous 783 moral_disputes 346
moral_scenarios 895 nutrition 306 philosophy 311 prehistory 324 professional_accounting 282 professional_law 1534
professional_medicine 272 professional_psychology 612 public_relations 110 security_studies 245 sociology 201
us_foreign_policy 100 virology 166 world_religions 171
"""
_WORDS = _MMLU_COUNTS.split()
_MMLU_SUBJECTS = {name: int(count) for name, count in zip(_WORDS[::2], _WORDS[1::2], strict=True)}

_MMLU = BenchmarkDefinition(
    name="mmlu",
    label="MMLU",
    dataset="cais/mmlu",
    configs=tuple(_MMLU_SUBJECTS),
    split="test",
    num_items={"test": 14042},
    num_choices=(4,),
    version=1,
    question=_mmlu,
    description=_mmlu_description,
    subjects=_MMLU_SUBJECTS,
    shots_split="dev",
    first_shots=True,
    max_shots=5,
)

_DEFINITIONS = (
    BenchmarkDefinition(
        name="arc_easy",
        label="ARC-Easy",
        dataset="allenai/ai2_arc",
        configs=("ARC-Easy",),
        split="test",
        num_items={"test": 2376},
        num_choices=(3, 4, 5),
        version=1,
        question=_arc,
        revision="210d026faf9955653af8916fad021475a3f00453",
        shots_split="train",
    ),
    BenchmarkDefinition(
        name="arc_challenge",
        label="ARC-Challenge",
        dataset="allenai/ai2_arc",
        configs=("ARC-Challenge",),
        split="test",
        num_items={"test": 1172},
        num_choices=(3, 4, 5),
        version=1,
        question=_arc,
        revision="210d026faf9955653af8916fad021475a3f00453",
        shots_split="train",
    ),
    BenchmarkDefinition(
        name="hellaswag",
        label="HellaSwag",
        dataset="Rowan/hellaswag",
        configs=(),
        split="validation",
        num_items={"validation": 10042},
        num_choices=(4,),
        version=1,
        question=_hellaswag,
        shared=lambda row: row.get("source_id", ""),
        shots_split="train",
    ),
    BenchmarkDefinition(
        name="mathqa",
        label="MathQA",
        dataset="regisss/math_qa",
        configs=(),
        split="test",
        num_items={"test": 2985},
        num_choices=(2, 3, 4, 5, 6, 7),
        unusable=30,
        version=1,
        question=_mathqa,
        shots_split="train",
    ),
    BenchmarkDefinition(
        name="mc_taco",
        label="MC-TACO",
        dataset="CogComp/mc_taco",
        configs=(),
        split="test",
        num_items={"test": 9442},
        num_choices=(2,),
        version=1,
        question=_mc_taco,
        revision="refs/convert/parquet",
        shared=lambda row: row["sentence"],
        golds=(6244, 3198),
        shots_split="validation",
    ),
    _MMLU,
    BenchmarkDefinition(
        name="openbookqa",
        label="OpenBookQA",
        dataset="allenai/openbookqa",
        configs=("main",),
        split="test",
        num_items={"test": 500},
        num_choices=(4,),
        version=1,
        question=_openbookqa,
        revision="388097ea7776314e93a529163e0fea805b8a6454",
        shots_split="train",
    ),
    BenchmarkDefinition(
        name="piqa",
        label="PIQA",
        dataset="baber/piqa",
        configs=(),
        split="validation",
        num_items={"validation": 1838},
        num_choices=(2,),
        version=1,
        question=_piqa,
        shared=lambda row: row["goal"],
        shots_split="train",
    ),
    BenchmarkDefinition(
        name="race",
        label="RACE",
        dataset="EleutherAI/race",
        configs=("high",),
        split="test",
        num_items={"test": 1045},
        num_choices=(4,),
        version=1,
        question=partial(_race, version=3),
        shared=lambda row: row["article"],
    ),
    BenchmarkDefinition(
        name="sciq",
        label="SciQ",
        dataset="allenai/sciq",
        configs=(),
        split="test",
        num_items={"test": 1000, "validation": 1000},
        num_choices=(4,),
        version=1,
        question=_sciq,
        revision="2c94ad3e1aafab77146f384e23536f97a4849815",
        shared=lambda row: row["support"],
        shots_split="train",
    ),
    BenchmarkDefinition(
        name="social_iqa",
        label="Social IQa",
        dataset="lighteval/siqa",
        configs=(),
        split="validation",
        num_items={"validation": 1954},
        num_choices=(3,),
        version=1,
        question=_social_iqa,
        shared=lambda row: row["context"],
        shots_split="train",
    ),
    BenchmarkDefinition(
        name="winogrande",
        label="WinoGrande",
        dataset="allenai/winogrande",
        configs=("winogrande_xl",),
        split="validation",
        num_items={"validation": 1267},
        num_choices=(2,),
        version=1,
        question=_winogrande,
        shots_split="train",
    ),
    BenchmarkDefinition(
        name="xwinograd_en",
        label="XWinograd (English)",
        dataset="Muennighoff/xwinograd",
        configs=("en",),
        split="test",
        num_items={"test": 2325},
        num_choices=(2,),
        version=1,
        question=_winogrande,
    ),
    BenchmarkDefinition(
        name="race_v2",
        label="RACE (task version 2)",
        dataset="EleutherAI/race",
        configs=("high",),
        split="test",
        num_items={"test": 1045},
        num_choices=(4,),
        version=1,
        question=partial(_race, version=2),
        shared=lambda row: row["article"],
    ),
)


def _mmlu_subject(subject: str, count: int) -> BenchmarkDefinition:
    """One subject of MMLU as a benchmark of its own, named as lm-eval names it."""
    return replace(
        _MMLU,
        name=f"mmlu_{subject}",
        label=f"MMLU {subject.replace('_', ' ')}",
        configs=(subject,),
        num_items={"test": count},
        subjects={subject: count},
        subject=subject,
    )


#: name -> definition of every built-in benchmark.
BENCHMARKS: dict[str, BenchmarkDefinition] = {
    definition.name: definition
    for definition in (*_DEFINITIONS, *(_mmlu_subject(*counted) for counted in _MMLU_SUBJECTS.items()))
}
