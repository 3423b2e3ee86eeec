"""Training text and tokenizer of the ladder.

The text is the prose that the data archive carries for tasks that are *not* evaluated: encyclopedia passages (BoolQ,
DROP, SQuAD), stories and news (CoQA without its passages from RACE, a benchmark), novels (LAMBADA) and medical
explanations (MedMCQA). A passage that shares a 13-gram of words with any evaluated item, itself or in its questions, is
dropped.

Looking things up in the context is the one benchmark skill that models of this size can learn, so the text asks for it:
a piece of a passage is followed by the questions on it that came with it, and by cloze questions, which repeat a
sentence with one of its rare words replaced by "what". The text begins with single sentences, each with its cloze
question: on these a small model learns within some 600,000 tokens to look back, and once it can, it uses that on
whole passages. Without that start, models of this size had not learnt it after two million tokens.
"""

from __future__ import annotations

import ast
import errno
import io
import itertools
import json
import os
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from elusive import logs
from elusive.errors import ElusiveError
from elusive.files import atomic_path
from elusive.items.archive import Archive
from elusive.items.build import evaluated_texts

logger = logs.get(__name__)

END_OF_TEXT = "<|endoftext|>"
OVERLAP_WORDS = 13
MAX_CHARACTERS = 500
MAX_QUESTIONS = 4
CLOZE_MAX_FREQUENCY = 400
CLOZE_CHARACTERS = range(31, 220)
FIRST_TOKENS = 700_000
SENTENCES_AMONG_PASSAGES = 1 / 3
VALIDATION_FRACTION = 0.02

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_WORD = re.compile(r"(?<![\w'-])[A-Za-z][\w'-]{2,}")


@dataclass
class Passage:
    """A text and the questions on it with their answers."""

    text: str
    questions: list[tuple[str, str]] = field(default_factory=list)


def passages(archive: Archive) -> list[Passage]:
    """All passages of the tasks used, each once, in the archive's order."""
    found: dict[str, Passage] = {}

    def add(text: str, question: str | None = None, answer: str | None = None) -> None:
        text = re.sub(r"\s+", " ", text).strip()
        passage = found.setdefault(text, Passage(text))
        if question and answer and (question, answer) not in passage.questions:
            passage.questions.append((question, answer))

    for request in archive.requests("boolq/rc_0shot"):
        doc = request["doc"]
        passage, question = doc["query"].removesuffix("\nAnswer:").rsplit("\nQuestion: ", 1)
        # "Title -- passage"; the questions come in lower case.
        add(passage.split(" -- ", 1)[-1], question[:1].upper() + question[1:], doc["choices"][doc["gold"]])
    for request in archive.requests("coqa/bpb_0shot"):
        doc = request["doc"]
        if doc["source"] != "race":
            add(doc["story"], doc["question"], doc["choices"][0])
    for request in archive.requests("drop/bpb_5shot"):
        doc = request["doc"]
        # An answer of several spans is written as a Python tuple.
        answer = request["request"]["continuation"].strip()
        spans = ast.literal_eval(answer) if answer.startswith("(") else (answer,)
        add(doc["passage"], doc["question"], ", ".join(map(str, spans)))
    for request in archive.requests("squad/bpb_5shot"):
        doc = request["doc"]
        passage, question = doc["query"].removesuffix("\nAnswer:").rsplit("\nQuestion: ", 1)
        add(passage.split("\nBackground: ", 1)[-1], question, doc["choices"][0])
    for request in archive.requests("lambada/bpb_0shot"):
        add(request["doc"]["query"] + request["request"]["continuation"])
    for request in archive.requests("medmcqa/rc_5shot"):
        doc = request["doc"]
        if doc["exp"]:
            add(doc["exp"], doc["question"], doc["choices"][doc["gold"]])
    return list(found.values())


def split(text: str, limit: int = MAX_CHARACTERS) -> list[str]:
    """Cut ``text`` between sentences into pieces of at most ``limit`` characters (or one long sentence)."""
    pieces: list[str] = []
    for sentence in _SENTENCE_END.split(text):
        if pieces and len(pieces[-1]) + len(sentence) < limit:
            pieces[-1] = f"{pieces[-1]} {sentence}"
        else:
            pieces.append(sentence)
    return pieces


class Cloze:
    """Makes cloze questions. A word is rare when it stands fewer than 400 times in ``texts``."""

    def __init__(self, texts: Iterable[str], rng: random.Random) -> None:
        self._frequency = Counter(word for text in texts for word in _WORD.findall(text))
        self._rng = rng

    def question(self, sentence: str) -> tuple[str, str] | None:
        """``sentence`` with one of its four rarest words replaced by "what", and that word; None if there is none."""
        words = {word for word in _WORD.findall(sentence) if self._frequency[word] < CLOZE_MAX_FREQUENCY}
        if len(sentence) not in CLOZE_CHARACTERS or not words:
            return None
        word = self._rng.choice(sorted(words, key=lambda word: (self._frequency[word], word))[:4])
        place = next(match for match in _WORD.finditer(sentence) if match[0] == word)
        return (sentence[: place.start()] + "what" + sentence[place.end() :]).rstrip(".!?") + "?", word


def document(text: str, questions: list[tuple[str, str]]) -> str:
    """``text`` and questions on it, in the form in which benchmarks ask them."""
    return text + "".join(f"\nQuestion: {question}\nAnswer: {answer}" for question, answer in questions)


def documents(found: list[Passage], seed: int) -> tuple[list[str], list[str]]:
    """Training documents on single sentences and on pieces of passages, each in a seeded random order."""
    rng = random.Random(seed)
    cloze = Cloze((passage.text for passage in found), rng)
    sentences, pieces = [], []
    for passage in found:
        for sentence in _SENTENCE_END.split(passage.text):
            if question := cloze.question(sentence):
                sentences.append(document(sentence, [question]))
        for piece in split(passage.text):
            # Of the questions on a whole passage, those whose answer stands in this piece.
            questions = [(q, a) for q, a in passage.questions if a in ("yes", "no") or a.lower() in piece.lower()]
            asked = [cloze.question(sentence) for sentence in _SENTENCE_END.split(piece) if rng.random() < 0.5]
            questions += [question for question in asked if question]
            rng.shuffle(questions)
            pieces.append(document(piece, questions[:MAX_QUESTIONS]))
    rng.shuffle(sentences)
    rng.shuffle(pieces)
    return sentences, pieces


class Overlap:
    """The n-grams of words of some texts, to ask which of them another text shares.

    Words are compared in lower case without punctuation. N-grams are kept as 64-bit hashes: with some 10^7 of them
    the chance that any two different ones agree is below 1e-5.
    """

    def __init__(self, texts: Iterable[str], n: int = OVERLAP_WORDS) -> None:
        self.n = n
        self._ids: defaultdict[str, int] = defaultdict(itertools.count(1).__next__)
        self._hashes, self._owners = self._ngrams(texts)

    def _ngrams(self, texts: Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
        """Hashes (uint64) of all n-grams of ``texts``, and the index of the text that each stands in."""
        ids: list[int] = []
        lengths: list[int] = []
        for text in texts:
            words = re.findall(r"\w+", text.lower())
            ids.extend(map(self._ids.__getitem__, words))
            lengths.append(len(words))
        words_of = np.repeat(np.arange(len(lengths)), np.array(lengths, dtype=np.int64))
        words = np.array(ids, dtype=np.uint64)
        hashes = np.zeros(max(len(words) - self.n + 1, 0), dtype=np.uint64)
        for offset in range(self.n):
            # An odd multiplier and a shift mix each word into all bits.
            hashes = (hashes ^ words[offset : offset + len(hashes)]) * np.uint64(0x9E3779B97F4A7C15)
            hashes ^= hashes >> np.uint64(29)
        first, last = words_of[: len(hashes)], words_of[self.n - 1 :]
        within = first == last
        return hashes[within], first[within]

    def shared(self, texts: Iterable[str]) -> set[int]:
        """Indexes of the texts given at construction that share an n-gram with any of ``texts``."""
        hashes = np.sort(self._ngrams(texts)[0])
        # Several times as fast as np.isin
        places = [np.searchsorted(hashes, self._hashes, side) for side in ("left", "right")]
        return set(self._owners[places[0] < places[1]].tolist())


def train_tokenizer(texts: list[str], vocabulary: int):
    """A byte-level BPE tokenizer (``tokenizers.Tokenizer``) with ``vocabulary`` entries; entry 0 ends a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() != vocabulary:
        raise ElusiveError(f"the text gives only {tokenizer.get_vocab_size()} entries: lower ladder.vocabulary")
    return tokenizer


def build_corpus(archive: str | os.PathLike[str], vocabulary: int, seed: int, output: Path) -> None:
    """Write ``output``/corpus/{train,validation}.npy, corpus.json and ``output``/tokenizer/.

    The arrays hold token ids (uint16) of documents, each after an end-of-text token, in the order of training.
    Validation documents are of passages that training never saw.
    """
    with Archive(archive) as data:
        found = passages(data)
        logger.info("%d passages; comparing them with every evaluated item", len(found))
        whole = (document(passage.text, passage.questions) for passage in found)
        overlapping = Overlap(whole).shared(evaluated_texts(data))
    kept = [passage for i, passage in enumerate(found) if i not in overlapping]
    logger.info("%d passages share a %d-gram with an evaluated item and are dropped", len(overlapping), OVERLAP_WORDS)

    rng = random.Random(seed)
    rng.shuffle(kept)
    held_out = round(len(kept) * VALIDATION_FRACTION)
    documents_of = {"validation": documents(kept[:held_out], seed), "train": documents(kept[held_out:], seed)}
    tokenizer = train_tokenizer([text for kind in documents_of["train"] for text in kind], vocabulary)
    tokens, used = {}, {}
    for name, (sentences, pieces) in documents_of.items():
        first = [] if name == "validation" else _encode_until(tokenizer, sentences, FIRST_TOKENS)
        more = sentences[len(first) : len(first) + round(len(sentences) * SENTENCES_AMONG_PASSAGES)]
        rest = _encode(tokenizer, more + pieces)
        rng.shuffle(rest)
        tokens[name], used[name] = np.concatenate(first + rest), len(first) + len(rest)
        _save_array(tokens[name], output / "corpus" / f"{name}.npy")
    _save_tokenizer(tokenizer, output / "tokenizer")
    summary = {
        "passages": len(found),
        "passages_dropped_for_overlap": len(overlapping),
        "overlap_ngram_words": OVERLAP_WORDS,
        "documents": used,
        "tokens": {name: len(array) for name, array in tokens.items()},
        "vocabulary": vocabulary,
    }
    with atomic_path(output / "corpus" / "corpus.json") as temporary:
        temporary.write_text(json.dumps(summary, indent=1) + "\n")
    logger.info("%d training tokens, %d validation tokens", len(tokens["train"]), len(tokens["validation"]))


def _encode(tokenizer, texts: list[str]) -> list[np.ndarray]:
    return [np.array([0, *encoding.ids], dtype=np.uint16) for encoding in tokenizer.encode_batch(texts)]


def _encode_until(tokenizer, texts: list[str], tokens: int) -> list[np.ndarray]:
    """As many of the first ``texts`` as have fewer than ``tokens`` tokens together."""
    encoded: list[np.ndarray] = []
    while len(encoded) < len(texts) and sum(map(len, encoded)) < tokens:
        encoded += _encode(tokenizer, texts[len(encoded) : len(encoded) + 2000])
    return encoded[: int(np.searchsorted(np.cumsum([len(ids) for ids in encoded]), tokens))]


def _save_array(array: np.ndarray, path: Path) -> None:
    # Not straight to the file, because numpy would hide that the disk is full.
    buffer = io.BytesIO()
    np.save(buffer, array)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def _save_tokenizer(tokenizer, path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END_OF_TEXT, eos_token=END_OF_TEXT, unk_token=END_OF_TEXT
    )
    with atomic_path(path) as temporary:
        try:
            fast.save_pretrained(temporary)
        except (
            Exception
        ) as error:  # tokenizers has no class of its own, and atomic_path knows a full disk by its number
            if "No space left" in str(error):
                raise OSError(errno.ENOSPC, str(error)) from error
            raise
