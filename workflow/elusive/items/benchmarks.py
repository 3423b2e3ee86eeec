"""The built-in benchmarks: how a row of the hub's dataset becomes an item, one definition each.

Prompts, choices and gold indexes are those of lm-eval 0.4.13, byte for byte: the context is description + solved
examples, if any are asked for, + ``doc_to_text``, a continuation is the delimiter (one space) + a choice. A definition
does not know where its rows come from; any source that yields rows of the hub's schema will do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = Mapping[str, Any]

DELIMITER = " "


def protocol(num_fewshot: int) -> str:
    """What tables call the way in which built-in benchmarks are asked."""
    return f"lm-eval-0.4 {f'{num_fewshot}-shot' if num_fewshot else 'zero-shot'}"


@dataclass(frozen=True, slots=True)
class Item:
    """One question with its answers.

    ``contexts`` and ``continuations`` hold one string per choice or one shared by all. ``choices`` holds, per
    choice, the text whose length normalises its log-likelihood: the continuation without the delimiter. ``item`` is
    the dataset's own id, if it has one, until the table is built, and the id of the table after that.
    """

    contexts: tuple[str, ...]
    continuations: tuple[str, ...]
    choices: tuple[str, ...]
    gold: int
    subject: str | None = None
    item: str | None = None

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


@dataclass(frozen=True)
class BenchmarkDefinition:
    """A built-in benchmark.

    ``dataset``, ``configs`` (empty: the only one) and ``split`` name the data on the hub; ``num_items`` gives the
    number of items of each split in use, ``subjects`` that of each subject. ``num_choices`` are the numbers of
    choices that occur. ``version`` is raised whenever ``render`` changes an item. Up to ``max_shots`` solved examples
    can stand before the question: ``render_shots`` takes their rows (of the split ``shots_split``, in its order).
    """

    name: str
    label: str
    dataset: str
    configs: tuple[str, ...]
    split: str
    num_items: Mapping[str, int]
    num_choices: tuple[int, ...]
    version: int
    render: Callable[[Row], Item]
    subjects: Mapping[str, int] = field(default_factory=dict)
    shots_split: str | None = None
    max_shots: int = 0
    render_shots: Callable[[Row, Sequence[Row]], Item] | None = None


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


def _mmlu_question(row: Row) -> str:
    a, b, c, d = row["choices"]
    return f"{row['question'].strip()}\nA. {a}\nB. {b}\nC. {c}\nD. {d}\nAnswer:"


def _mmlu(row: Row, shots: Sequence[Row] = ()) -> Item:
    subject = row["subject"]
    description = f"The following are multiple choice questions (with answers) about {subject.replace('_', ' ')}.\n\n"
    solved = "".join(f"{_mmlu_question(shot)}{DELIMITER}{'ABCD'[shot['answer']]}\n\n" for shot in shots)
    return _ask(description + solved + _mmlu_question(row), ["A", "B", "C", "D"], row["answer"], subject=subject)


def _openbookqa(row: Row) -> Item:
    gold = row["choices"]["label"].index(row["answerKey"].lstrip())
    return _ask(row["question_stem"], row["choices"]["text"], gold, item=row["id"])


def _piqa(row: Row) -> Item:
    return _ask(f"Question: {row['goal']}\nAnswer:", [row["sol1"], row["sol2"]], row["label"])


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


_MMLU = """
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
_WORDS = _MMLU.split()
_MMLU_SUBJECTS = {name: int(count) for name, count in zip(_WORDS[::2], _WORDS[1::2], strict=True)}

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
        render=_arc,
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
        render=_arc,
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
        render=_hellaswag,
    ),
    BenchmarkDefinition(
        name="mmlu",
        label="MMLU",
        dataset="cais/mmlu",
        configs=tuple(_MMLU_SUBJECTS),
        split="test",
        num_items={"test": 14042},
        num_choices=(4,),
        version=1,
        render=_mmlu,
        subjects=_MMLU_SUBJECTS,
        shots_split="dev",
        max_shots=5,
        render_shots=_mmlu,
    ),
    BenchmarkDefinition(
        name="openbookqa",
        label="OpenBookQA",
        dataset="allenai/openbookqa",
        configs=("main",),
        split="test",
        num_items={"test": 500},
        num_choices=(4,),
        version=1,
        render=_openbookqa,
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
        render=_piqa,
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
        render=_sciq,
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
        render=_social_iqa,
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
        render=_winogrande,
    ),
)

#: name -> definition of every built-in benchmark.
BENCHMARKS: dict[str, BenchmarkDefinition] = {definition.name: definition for definition in _DEFINITIONS}
