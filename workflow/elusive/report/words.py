"""The page's words: what each term means, in a sentence, for tooltips and the glossary."""

from __future__ import annotations

import re
from dataclasses import dataclass

from markupsafe import Markup, escape

#: The four scores of the strip in the chain's order, as the page names them at first.
PLAIN = {
    "log_p_vocab_correct": "log p of the right answer",
    "p_choices_correct": "share among the choices",
    "brier": "−Brier",
    "accuracy": "accuracy",
}


@dataclass(frozen=True)
class Word:
    """A term: its ``key`` in addresses, its name, what it means, and other ``forms`` in which texts have it."""

    key: str
    name: str
    meaning: str
    forms: tuple[str, ...] = ()


WORDS = (
    Word("item", "item", "One question of a benchmark with its answer choices, of which one is right."),
    Word("checkpoint", "checkpoint", "The weights of a model at one point of its training."),
    Word("family", "family", "A set of checkpoints over which scores are compared with compute."),
    Word(
        "compute",
        "compute",
        "Training compute: 6 × parameters × tokens seen, in floating-point operations (FLOPs). Scores are compared "
        "with its logarithm.",
        ("FLOPs",),
    ),
    Word(
        "correlation",
        "C",
        "An item's correlation: how closely one score of the item follows log compute over the checkpoints of a "
        "family, from −1 to 1.",
    ),
    Word(
        "spearman",
        "Spearman",
        "Correlation of ranks: it asks only whether more compute comes with a larger score. Kendall's does the same by "
        "counting pairs.",
    ),
    Word("pearson", "Pearson", "Correlation of values: 1 where the score is a straight line in log compute."),
    Word(
        "mean",
        "mean correlation",
        "Mean over all items of a benchmark of their correlation C by Spearman. An item whose score never changes has "
        "none and counts as 0.",
    ),
    Word(
        "shuffled",
        "shuffled compute",
        "What the mean correlation is when compute is dealt out to the checkpoints at random: above its 97.5 % "
        "quantile a score follows compute more than chance explains.",
        ("shuffles",),
    ),
    Word(
        "log_p_vocab",
        "log p_vocab",
        "Log-likelihood of the right answer's text: the sum over its tokens of the log-probability that the model "
        "gives them, among all tokens that it knows.",
        ("log p of the right answer", "log-likelihood of the right answer"),
    ),
    Word("p_vocab", "p_vocab", "The same as a probability: exp(log p_vocab)."),
    Word(
        "p_choices",
        "p_choices",
        "The right answer's share of the probability of all choices' texts. Its logarithm is log p_choices.",
        ("share among the choices",),
    ),
    Word(
        "brier",
        "−Brier",
        "Brier score: mean over the choices of (1 if right, else 0, minus the choice's share)². Less is better, so the "
        "page has its negative.",
        ("Brier score",),
    ),
    Word("accuracy", "accuracy", "1 if the right answer is the likeliest of the choices, else 0."),
    Word("chance", "guessing", "Accuracy of drawing a choice at random: 1 over the number of choices.", ("chance",)),
    Word("margin", "margin", "Log-likelihood of the right answer minus that of the best wrong one."),
    Word(
        "interval",
        "95 % interval",
        "Where the number would be, in 95 of 100 cases, had other items of the same kind been drawn.",
        ("interval", "intervals"),
    ),
    Word("two_se", "two standard errors", "Twice the standard deviation that guessing alone would give the accuracy."),
    Word(
        "exponentiate",
        "exponentiate",
        "The step from log p_vocab to p_vocab (or from log p_choices to p_choices): exp.",
    ),
    Word(
        "renormalise",
        "renormalise",
        "The step that brings the wrong choices in: dividing the right answer's probability by that of all choices.",
        ("renormalising",),
    ),
    Word("threshold", "threshold", "The step from a share to right or wrong, all or nothing.", ("thresholding",)),
    Word(
        "undefined",
        "undefined",
        "A score that is the same at every checkpoint has no correlation, as where an item is always answered right.",
    ),
)

#: Terms that texts are searched for. "mean", "item" and others are so common that marking them would only be noise.
_MARKED = {
    form: word
    for word in WORDS
    if word.key not in ("item", "checkpoint", "family", "compute", "correlation", "chance", "interval", "accuracy")
    for form in (word.name, *word.forms)
}
_TERM = re.compile("|".join(rf"(?<![\w−-]){re.escape(form)}(?!\w)" for form in sorted(_MARKED, key=len, reverse=True)))
_BY_KEY = {word.key: word for word in WORDS}


def term(key: str, text: str | None = None) -> Markup:
    """The term called ``key`` as it stands in a text, with its meaning for whoever points at it."""
    word = _BY_KEY[key]
    return Markup('<abbr class="term" tabindex="0" data-tip="{}">{}</abbr>').format(word.meaning, text or word.name)


def mark(text: str) -> Markup:
    """``text``, escaped, with the first occurrence of every term marked as by :func:`term`."""
    seen: set[str] = set()
    parts, end = [], 0
    for found in _TERM.finditer(text):
        word = _MARKED[found.group()]
        if word.key in seen:
            continue
        seen.add(word.key)
        parts += [escape(text[end : found.start()]), term(word.key, found.group())]
        end = found.end()
    return Markup("").join([*parts, escape(text[end:])])
