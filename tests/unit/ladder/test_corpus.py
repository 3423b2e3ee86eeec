"""The ladder's text: what it is made of, what it must not hold, and how it is asked about."""

import functools
import json
import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elusive.errors import ElusiveError
from elusive.files import sha256_file
from elusive.items.archive import Archive
from elusive.items.build import evaluated_texts
from elusive.ladder import corpus
from elusive.ladder.corpus import (
    CLOZE_CHARACTERS,
    OVERLAP_WORDS,
    VALIDATION_FRACTION,
    Cloze,
    Overlap,
    Passage,
    build_corpus,
    document,
    documents,
    passages,
    split,
    train_tokenizer,
)

VOCABULARY = 512
# Few different words, so that n-grams are shared at times; upper case and punctuation, which must not matter.
TEXT = st.lists(st.sampled_from(["a", "b", "A", "Ü", "c1", "-", "b,", ". "]), max_size=25).map(" ".join)


@pytest.fixture(scope="module")
def found(archive_path):
    with Archive(archive_path) as archive:
        return passages(archive)


@pytest.fixture(scope="module")
def evaluated(archive_path):
    with Archive(archive_path) as archive:
        return list(evaluated_texts(archive))


@pytest.fixture(scope="module")
def built(archive_path, tmp_path_factory):
    """The corpus of the real archive, with a small vocabulary."""
    directory = tmp_path_factory.mktemp("ladder")
    build_corpus(archive_path, VOCABULARY, 0, directory)
    return directory


# --- passages


def test_passages_are_unique_prose(found):
    texts = [passage.text for passage in found]
    assert len(set(texts)) == len(texts) > 10_000
    assert all(text == " ".join(text.split()) and text for text in texts)
    assert sum(map(len, texts)) > 5_000_000


def test_no_passage_of_race(found, archive_path):
    with Archive(archive_path) as archive:
        docs = [request["doc"] for request in archive.requests("coqa/bpb_0shot")]
    stories = {
        source: {" ".join(d["story"].split()) for d in docs if d["source"] == source}
        for source in {d["source"] for d in docs}
    }
    texts = {passage.text for passage in found}
    assert len(stories["race"]) > 50
    assert not stories.pop("race") & texts
    assert len(stories) >= 4
    assert all(of_source <= texts for of_source in stories.values())


def test_questions_come_with_answers(found):
    questions = [question for passage in found for question in passage.questions]
    assert len(questions) > 10_000
    assert all(question.strip() and answer.strip() for question, answer in questions)
    # No template of another task, and no list as Python writes it.
    assert not any("Question:" in question or "Answer:" in question for question, _ in questions)
    assert not any(answer.startswith("(") and answer.endswith(",)") for _, answer in questions)


# --- overlap with evaluated items


def brute_force(texts, others, n):
    def grams(text):
        words = re.findall(r"\w+", text.lower())
        return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}

    tested = set().union(*map(grams, others))
    return {i for i, text in enumerate(texts) if grams(text) & tested}


@settings(max_examples=300)
@given(st.lists(TEXT, max_size=6), st.lists(TEXT, max_size=6), st.integers(1, 6))
def test_overlap_equals_brute_force(texts, others, n):
    assert Overlap(texts, n).shared(others) == brute_force(texts, others, n)


def words_of(text):
    return re.findall(r"\w+", text)


@pytest.mark.slow
def test_planted_13_grams_are_found(evaluated):
    planted, expected = [], set()
    long = [text for text in evaluated if len(words_of(text)) > 20]
    for item in (long[0], long[1234], long[20_000], long[-1]):
        start = len(words_of(item)) // 3
        gram = words_of(item)[start : start + OVERLAP_WORDS]
        assert len(gram) == OVERLAP_WORDS == 13
        yes = [
            "Zebra quilts " + " ".join(gram) + " zebra quilts.",
            "Zebra quilts: " + ",  ".join(word.upper() for word in gram) + "! Zebra",
            " ".join(gram),
        ]
        no = [
            "Zebra quilts " + " ".join(gram[:-1]) + " zebra quilts.",
            "Zebra quilts " + " ".join(gram[1:]) + " zebra quilts.",
            "Zebra quilts " + " ".join([*gram[:6], "zebra", *gram[6:]]) + " zebra quilts.",
        ]
        expected |= set(range(len(planted), len(planted) + len(yes)))
        planted += yes + no
    assert Overlap(planted).shared(evaluated) == expected


@pytest.mark.slow
def test_no_document_shares_a_13_gram_with_an_evaluated_item(built, evaluated):
    """Documents as they are trained on, questions included; every fourth, to be quick."""
    assert Overlap(decoded(built, "train")[::4]).shared(evaluated) == set()


@pytest.mark.slow
def test_passages_that_overlap_are_dropped(archive_path, tmp_path, monkeypatch, found, evaluated):
    """One text with an evaluated item in it, one with such an item as its question, among the archive's."""
    item = next(text for text in evaluated if len(words_of(text)) > 30)
    harmless = found[:1500]
    planted = [
        Passage("Somebody wrote this on the web. " + item),
        Passage("Somebody asked this.", [(item.replace("\n", " "), "Somebody")]),
    ]
    monkeypatch.setattr(corpus, "passages", lambda _: planted + harmless)
    monkeypatch.setattr(corpus, "evaluated_texts", lambda _: [item])
    build_corpus(archive_path, VOCABULARY, 0, tmp_path)
    summary = json.loads((tmp_path / "corpus" / "corpus.json").read_text())
    assert (summary["passages"], summary["passages_dropped_for_overlap"]) == (1502, 2)
    text = "\n".join(decoded(tmp_path, "train") + decoded(tmp_path, "validation"))
    assert "Somebody wrote this" not in text
    assert "Somebody asked this" not in text
    assert harmless[0].text[:40] in text


# --- pieces and questions


SENTENCES = st.lists(st.text(st.sampled_from("ab .!?é"), min_size=1, max_size=40), max_size=20).map(
    lambda parts: " ".join(" ".join(parts).split())
)


@given(SENTENCES, st.integers(1, 80))
def test_split_keeps_all_text(text, limit):
    pieces = split(text, limit)
    assert " ".join(pieces) == text
    for piece in pieces:
        assert len(piece) <= limit or not re.search(r"[.!?]\s", piece)


def test_split_of_real_passages(found):
    for passage in found[:2000]:
        assert " ".join(split(passage.text)) == passage.text


def fill(question, word):
    """All sentences (without their end) that the cloze ``question`` with the answer ``word`` may come from."""
    body = question.removesuffix("?")
    return {body[: m.start()] + word + body[m.end() :] for m in re.finditer("what", body)}


def test_cloze_questions_of_real_sentences(found):
    texts = [passage.text for passage in found[:500]]
    cloze = Cloze(texts, random.Random(0))
    made = 0
    for text in texts:
        for sentence in re.split(r"(?<=[.!?])\s+", text):
            if question := cloze.question(sentence):
                asked, word = question
                assert word in sentence
                assert sentence.rstrip(".!?") in fill(asked, word)
                assert len(sentence) in CLOZE_CHARACTERS
                made += 1
    assert made > 1000


def test_cloze_asks_for_rare_words_only():
    common = "the river runs down to the sea near the town of the king"
    cloze = Cloze([common] * 400 + ["the zebra"], random.Random(0))
    assert cloze.question(f"{common}.") is None
    assert cloze.question(f"{common} zebra.") == (f"{common} what?", "zebra")
    assert cloze.question("the zebra.") is None  # too short
    assert cloze.question("zebra " * 50) is None  # too long


def test_cloze_draws_from_the_four_rarest():
    texts = ["alpha bravo charlie delta echo foxtrot golf", "echo foxtrot golf " * 3]
    cloze = Cloze(texts, random.Random(0))
    words = {cloze.question(texts[0])[1] for _ in range(200)}
    assert words == {"alpha", "bravo", "charlie", "delta"}


def test_document():
    assert document("Text.", []) == "Text."
    assert document("Text.", [("Who?", "I"), ("Why?", "So")]) == (
        "Text.\nQuestion: Who?\nAnswer: I\nQuestion: Why?\nAnswer: So"
    )


def test_documents_are_the_same_for_the_same_seed(found):
    some = found[:300]
    first = documents(some, 7)
    assert documents(some, 7) == first
    assert documents(some, 8) != first


def test_documents_hold_every_passage(found):
    some = found[:300]
    _, pieces = documents(some, 0)
    stems = {piece.split("\nQuestion: ")[0] for piece in pieces}
    assert {piece for passage in some for piece in split(passage.text)} == stems
    assert all(piece.count("\nQuestion: ") <= corpus.MAX_QUESTIONS for piece in pieces)


def test_answers_stand_in_their_document(found):
    sentences, pieces = documents(found[:300], 0)
    for text in sentences + pieces:
        stem, *asked = text.split("\nQuestion: ")
        for question in asked:
            answer = question.split("\nAnswer: ")[1]
            assert answer in ("yes", "no") or answer.lower() in stem.lower()


# --- the built corpus


def tokenizer_of(directory):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(directory / "tokenizer")


@functools.cache
def decoded(directory, name):
    """The documents of one of the arrays, as text."""
    tokens = np.load(directory / "corpus" / f"{name}.npy")
    bounds = np.flatnonzero(tokens == 0)
    assert bounds[0] == 0
    parts = [part[1:].tolist() for part in np.split(tokens, bounds[1:])]
    return tokenizer_of(directory)._tokenizer.decode_batch(parts)


@pytest.mark.slow
def test_arrays(built):
    for name in ("train", "validation"):
        tokens = np.load(built / "corpus" / f"{name}.npy")
        assert tokens.dtype == np.uint16
        assert tokens.ndim == 1
        assert tokens[0] == 0
        assert tokens.max() < VOCABULARY
        # Bytes that no document holds and merges made useless by others are rare.
        assert len(np.unique(tokens)) > 0.7 * VOCABULARY


@pytest.mark.slow
def test_summary(built):
    summary = json.loads((built / "corpus" / "corpus.json").read_text())
    for name in ("train", "validation"):
        assert summary["tokens"][name] == len(np.load(built / "corpus" / f"{name}.npy"))
    assert summary["vocabulary"] == VOCABULARY
    assert summary["overlap_ngram_words"] == 13
    assert summary["passages_dropped_for_overlap"] == 0
    assert 0.005 < summary["tokens"]["validation"] / summary["tokens"]["train"] < 0.05


@pytest.mark.slow
def test_validation_passages_are_not_trained_on(built, found):
    pieces = {name: {t.split("\nQuestion: ")[0] for t in decoded(built, name)} for name in ("train", "validation")}
    owner = {}
    for number, passage in enumerate(found):
        for piece in [*split(passage.text), *re.split(r"(?<=[.!?])\s+", passage.text)]:
            owner.setdefault(piece, set()).add(number)
    # Only text of a single passage says where it comes from.
    sources = {name: {min(owner[t]) for t in texts if len(owner[t]) == 1} for name, texts in pieces.items()}
    assert not sources["train"] & sources["validation"]
    assert len(sources["validation"]) == pytest.approx(VALIDATION_FRACTION * len(found), rel=0.02)
    assert len(sources["train"]) > 0.95 * len(found)


@pytest.mark.slow
def test_training_begins_with_single_sentences(built):
    texts = decoded(built, "train")
    assert all(text.count("\nQuestion: ") == 1 and "what" in text for text in texts[:1000])
    later = texts[len(texts) // 2 :]
    assert np.mean([text.count("\nQuestion: ") != 1 for text in later]) > 0.3


@pytest.mark.slow
def test_tokenizer(built):
    tokenizer = tokenizer_of(built)
    assert len(tokenizer) == VOCABULARY
    assert tokenizer.bos_token_id == tokenizer.eos_token_id == tokenizer.unk_token_id == 0
    for text in ("Question: What is it?\nAnswer: Zürich, 東京 😀\t ", "", " leading", "<|endoftext|>"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert tokenizer("a")["input_ids"] != tokenizer(" a")["input_ids"]
    assert 0 not in tokenizer("Question: a?\nAnswer: b")["input_ids"]


@pytest.mark.slow
def test_a_second_build_gives_the_same_bytes(archive_path, tmp_path, monkeypatch, found, evaluated):
    # A part of the real passages, to be quick; what is left out is only reading and the comparison with the items.
    monkeypatch.setattr(corpus, "passages", lambda _: found[:1000])
    monkeypatch.setattr(corpus, "evaluated_texts", lambda _: evaluated[:100])
    for name in ("a", "b"):
        build_corpus(archive_path, 400, 5, tmp_path / name)
    files = {
        name: {p.relative_to(tmp_path / name): sha256_file(p) for p in (tmp_path / name).rglob("*") if p.is_file()}
        for name in ("a", "b")
    }
    assert len(files["a"]) >= 5
    assert files["a"] == files["b"]


@pytest.mark.parametrize("tokens", [0, 1, 5, 6, 5999, 6000, 6001, 6002, 14_999, 15_000, 15_001, 99_999])
def test_as_many_of_the_first_documents_as_have_fewer_tokens(tokens):
    tokenizer = train_tokenizer(["ab"], 257)
    texts = ["ab"] * 5000  # three tokens each, with the one that begins a document
    found = corpus._encode_until(tokenizer, texts, tokens)
    assert sum(map(len, found)) == min(max(tokens - 1, 0) // 3, 5000) * 3
    assert all(np.array_equal(ids, [0, *tokenizer.encode("ab").ids]) for ids in found)


def test_too_large_a_vocabulary():
    with pytest.raises(ElusiveError, match=r"only 2\d\d entries: lower ladder\.vocabulary"):
        train_tokenizer(["ab ab"], 4096)


def test_arrays_are_written_as_numpy_writes_them(tmp_path):
    array = np.arange(1000, dtype=np.uint16)
    corpus._save_array(array, tmp_path / "ours.npy")
    np.save(tmp_path / "theirs.npy", array)
    assert sha256_file(tmp_path / "ours.npy") == sha256_file(tmp_path / "theirs.npy")


@pytest.mark.parametrize(
    ("said", "raised"), [("No space left on device (os error 28)", ElusiveError), ("?", Exception)]
)
def test_a_full_disk_at_the_tokenizer(tmp_path, monkeypatch, said, raised):
    """tokenizers' error for a full disk becomes the one that says so, and no other does."""
    from transformers import PreTrainedTokenizerFast

    def fail(*_, **__):
        raise Exception(said)

    monkeypatch.setattr(PreTrainedTokenizerFast, "save_pretrained", fail)
    with pytest.raises(raised) as caught:
        corpus._save_tokenizer(train_tokenizer(["ab ab"], 257), tmp_path / "tokenizer")
    assert isinstance(caught.value, ElusiveError) == (raised is ElusiveError)
    assert ("no space left on the disk" in str(caught.value)) == (raised is ElusiveError)
    assert not list(tmp_path.iterdir())
