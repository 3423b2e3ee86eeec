"""Terms in texts: marked once each, with their meaning, and never inside other words."""

from __future__ import annotations

import re

from elusive.report.page import environment
from elusive.report.words import WORDS, mark, term


def test_every_word_has_a_meaning_and_a_key_of_its_own() -> None:
    assert len({word.key for word in WORDS}) == len(WORDS)
    assert all(word.meaning.endswith(".") and len(word.meaning) > 20 for word in WORDS)


def test_the_first_occurrence_of_each_term_is_marked() -> None:
    text = mark("Of log p_vocab and p_choices, log p_vocab follows compute <more> than −Brier.")
    assert re.findall(r'<abbr class="term" tabindex="0" data-tip="[^"]+">([^<]+)</abbr>', text) == [
        "log p_vocab",
        "p_choices",
        "−Brier",
    ]
    assert "&lt;more&gt;" in text and re.sub(r"<[^>]+>", "", text).startswith(
        "Of log p_vocab and p_choices, log p_vocab"
    )


def test_parts_of_other_words_are_no_terms() -> None:
    assert mark("log p_vocab_other") == "log p_vocab_other" and mark("thresholds") == "thresholds"
    assert "abbr" in mark("a threshold")


def test_a_term_can_stand_under_another_text() -> None:
    assert term("renormalise", "÷ all choices").endswith(">÷ all choices</abbr>")


def test_long_names_break_after_underscores_only():
    text = environment().from_string("{{ name | breakable }}").render(name="logical_deduction_<7>")
    assert text == "logical_<wbr>deduction_<wbr>&lt;7&gt;"
