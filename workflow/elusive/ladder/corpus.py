"""Training text and tokenizer of the ladder.

The text is the prose that the data archive carries for tasks that are *not* evaluated: encyclopedia passages (BoolQ,
DROP, SQuAD), stories and news (CoQA without its passages from RACE, a benchmark), novels (LAMBADA) and medical
explanations (MedMCQA). Each passage is followed by questions and answers on it, those of its task and cloze
questions made from its own sentences: looking things up in the context is the one benchmark skill that models of
this size can learn. A passage that shares a 13-gram of words with any evaluated item is dropped.
"""

from __future__ import annotations

import ast
import json
import os
import random
import re
from collections import Counter
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
MAX_CHARACTERS = 900
CLOZE_QUESTIONS = 6
CLOZE_MAX_FREQUENCY = 400
VALIDATION_FRACTION = 0.02

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_WORD = re.compile(r"[A-Za-z][\w'-]{2,}")


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


def cloze(text: str, frequency: Counter[str], count: int, rng: random.Random) -> list[tuple[str, str]]:
    """Up to ``count`` questions that repeat a sentence of ``text`` with a rare word of it replaced by "what"."""
    sentences = [sentence for sentence in _SENTENCE_END.split(text) if 30 < len(sentence) < 200]
    rng.shuffle(sentences)
    questions = []
    for sentence in sentences[:count]:
        words = [word for word in _WORD.findall(sentence) if frequency[word] < CLOZE_MAX_FREQUENCY]
        if words:
            word = rng.choice(sorted(set(words), key=lambda word: (frequency[word], word))[:4])
            questions.append((sentence.replace(word, "what", 1).rstrip(".!?") + "?", word))
    return questions


def documents(found: Iterable[Passage], seed: int) -> list[str]:
    """Training documents: a piece of a passage, then the questions that it answers, in a seeded random order."""
    found = list(found)
    rng = random.Random(seed)
    frequency = Counter(word for passage in found for word in _WORD.findall(passage.text))
    texts = []
    for passage in found:
        for piece in split(passage.text):
            answered = [(q, a) for q, a in passage.questions if a.lower() in piece.lower() or a in ("yes", "no")]
            questions = answered + cloze(piece, frequency, CLOZE_QUESTIONS, rng)
            rng.shuffle(questions)
            texts.append(piece + "".join(f"\nQuestion: {q}\nAnswer: {a}" for q, a in questions))
    rng.shuffle(texts)
    return texts


class Overlap:
    """The n-grams of words of some texts, to ask which of them another text shares.

    Words are compared in lower case without punctuation. N-grams are kept as 64-bit hashes: with some 10^7 of them
    the chance that any two different ones agree is below 1e-5.
    """

    def __init__(self, texts: Iterable[str], n: int = OVERLAP_WORDS) -> None:
        self.n = n
        self._ids: dict[str, int] = {}
        self._texts = [self._hashes(text) for text in texts]
        owners = np.repeat(np.arange(len(self._texts)), [len(hashes) for hashes in self._texts])
        flat = np.concatenate([*self._texts, np.empty(0, np.uint64)])
        order = np.argsort(flat, kind="stable")
        self._sorted, self._owners = flat[order], owners[order]

    def _hashes(self, text: str) -> np.ndarray:
        words = re.findall(r"\w+", text.lower())
        ids = np.array([self._ids.setdefault(word, len(self._ids) + 1) for word in words], dtype=np.uint64)
        if len(ids) < self.n:
            return np.empty(0, np.uint64)
        hashes = np.zeros(len(ids) - self.n + 1, dtype=np.uint64)
        for offset in range(self.n):
            # An odd multiplier and a shift mix each word into all bits.
            hashes = (hashes ^ ids[offset : offset + len(hashes)]) * np.uint64(0x9E3779B97F4A7C15)
            hashes ^= hashes >> np.uint64(29)
        return hashes

    def shared(self, texts: Iterable[str]) -> set[int]:
        """Indexes of the texts given at construction that share an n-gram with any of ``texts``."""
        found: set[int] = set()
        for text in texts:
            hashes = self._hashes(text)
            left = np.searchsorted(self._sorted, hashes, "left")
            right = np.searchsorted(self._sorted, hashes, "right")
            for start, stop in zip(left[left < right], right[left < right], strict=True):
                found.update(self._owners[start:stop].tolist())
        return found


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

    The arrays hold token ids (uint16) of documents, each after an end-of-text token. Validation documents are of
    passages that training never saw.
    """
    with Archive(archive) as data:
        found = passages(data)
        logger.info("%d passages; comparing them with every evaluated item", len(found))
        overlapping = Overlap(passage.text for passage in found).shared(evaluated_texts(data))
    kept = [passage for i, passage in enumerate(found) if i not in overlapping]
    logger.info("%d passages share a %d-gram with an evaluated item and are dropped", len(overlapping), OVERLAP_WORDS)

    random.Random(seed).shuffle(kept)
    held_out = round(len(kept) * VALIDATION_FRACTION)
    texts = {"validation": documents(kept[:held_out], seed), "train": documents(kept[held_out:], seed)}
    tokenizer = train_tokenizer(texts["train"], vocabulary)
    tokens = {}
    for name, documents_ in texts.items():
        encodings = tokenizer.encode_batch(documents_)
        tokens[name] = np.concatenate([np.array([0, *encoding.ids], dtype=np.uint16) for encoding in encodings])
        with atomic_path(output / "corpus" / f"{name}.npy") as temporary:
            np.save(temporary, tokens[name])
    _save_tokenizer(tokenizer, output / "tokenizer")
    summary = {
        "passages": len(found),
        "passages_dropped_for_overlap": len(overlapping),
        "overlap_ngram_words": OVERLAP_WORDS,
        "documents": {name: len(documents_) for name, documents_ in texts.items()},
        "bytes": {name: sum(len(text.encode()) for text in documents_) for name, documents_ in texts.items()},
        "tokens": {name: len(array) for name, array in tokens.items()},
        "vocabulary": vocabulary,
    }
    with atomic_path(output / "corpus" / "corpus.json") as temporary:
        temporary.write_text(json.dumps(summary, indent=1) + "\n")
    logger.info("%d training tokens, %d validation tokens", len(tokens["train"]), len(tokens["validation"]))


def _save_tokenizer(tokenizer, path: Path) -> None:
    from transformers import PreTrainedTokenizerFast

    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=END_OF_TEXT, eos_token=END_OF_TEXT, unk_token=END_OF_TEXT
    )
    with atomic_path(path) as temporary:
        fast.save_pretrained(temporary)
