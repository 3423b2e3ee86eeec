"""What is known of the benchmarks' texts, and what may be published by it."""

import re

import pytest

from elusive.configuration import facts
from elusive.configuration.facts import Facts, obstacle, of_benchmark, with_texts
from elusive.items.benchmarks import BENCHMARKS
from elusive.items.held_out import HELD_OUT

NAMES = [name for name, definition in BENCHMARKS.items() if not definition.subject]


@pytest.mark.parametrize("name", NAMES)
def test_every_built_in_benchmark_has_its_facts(name):
    found = facts.load()[name]
    assert found.license_source and found.homepage.startswith("http")
    assert re.fullmatch(r"@\w+\{\w+,\n.*\n\}", found.citation, re.DOTALL)
    assert found.citation.count("{") == found.citation.count("}")
    assert re.search(r"\byear = \{\d{4}\}", found.citation)
    if found.license is None:
        assert found.share is None and re.match("none stated", found.license_source)
    else:
        assert "http" in found.license_source and found.share in ("yes", "noncommercial", "no")


def test_nothing_is_said_of_benchmarks_that_are_not_there():
    assert set(facts.load()) == {*NAMES, *HELD_OUT}


def test_non_commercial_and_unknown_licences_are_not_taken_for_free_ones():
    known = facts.load()
    assert {name for name, each in known.items() if each.share == "yes"} == {
        *("arc_easy", "arc_challenge", "hellaswag", "mathqa", "mmlu", "piqa", "winogrande", "xwinograd_en")
    }
    assert known["sciq"].share == "noncommercial" and "NC" in known["sciq"].license
    assert known["race"].share == "no"
    assert not any("NC" in each.license for each in known.values() if each.share == "yes")


def test_a_subject_of_mmlu_has_the_facts_of_mmlu():
    assert of_benchmark("mmlu_anatomy") == of_benchmark("mmlu") != Facts()
    assert of_benchmark("quiz") == Facts()


def test_what_stands_in_the_way_of_texts():
    assert obstacle("arc_easy", of_benchmark("arc_easy"), named=False) is None
    assert "non-commercial purposes only" in obstacle("sciq", of_benchmark("sciq"), named=False)
    assert obstacle("sciq", of_benchmark("sciq"), named=True) is None
    assert "does not allow" in obstacle("race", of_benchmark("race"), named=True)
    assert "not known (none stated" in obstacle("openbookqa", of_benchmark("openbookqa"), named=True)
    assert "not known" in obstacle("quiz", Facts(), named=False)
    assert obstacle("quiz", Facts(license="mit"), named=True) is None


def test_texts_are_kept_back_unless_asked_for():
    known = {name: of_benchmark(name) for name in ("arc_easy", "sciq", "race")}
    assert all(with_texts({"texts": False}, known).values())
    assert all(with_texts({"texts": []}, known).values())
    assert [name for name, why in with_texts({"texts": True}, known).items() if why is None] == ["arc_easy"]
    assert [name for name, why in with_texts({"texts": ["sciq"]}, known).items() if why is None] == ["sciq"]


def test_every_part_of_the_ladders_text_has_its_source():
    texts = facts.ladder_texts()
    assert {text["name"].split()[0] for text in texts} == {"BoolQ", "CoQA", "DROP", "LAMBADA", "MedMCQA", "SQuAD"}
    assert all(text["license_source"].startswith("http") and text["license"] for text in texts)
