"""The benchmarks of the ladder's held-out text, made of a text written here."""

import json
import random
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from elusive.errors import ElusiveError
from elusive.items import held_out
from elusive.items.build import build_items
from elusive.ladder.corpus import document, train_tokenizer

RNG = random.Random(0)
WORDS = ["".join(RNG.choices("abcdefghiklmnoprstu", k=RNG.randint(3, 9))) for _ in range(400)]


def sentence(rng):
    return " ".join(rng.choices(WORDS, k=30)).capitalize() + "."


@pytest.fixture(scope="module")
def texts():
    rng = random.Random(1)
    return {kind: [sentence(rng) for _ in range(count)] for kind, count in (("train", 900), ("validation", 300))}


@pytest.fixture(scope="module")
def sources(texts, tmp_path_factory):
    """Tokenizer, training and validation tokens, as the ladder's corpus has them."""
    folder = tmp_path_factory.mktemp("ladder")
    tokenizer = train_tokenizer(texts["train"], 400)
    (folder / "tokenizer").mkdir()
    tokenizer.save(str(folder / "tokenizer" / "tokenizer.json"))
    for kind, some in texts.items():
        documents = [document(text, [("What is it?", "nothing")]) for text in some]
        ids = [np.array([0, *tokenizer.encode(text).ids], dtype=np.uint16) for text in documents]
        np.save(folder / f"{kind}.npy", np.concatenate(ids))
    return [folder / "tokenizer", folder / "train.npy", folder / "validation.npy"]


@pytest.mark.parametrize("name", held_out.HELD_OUT)
def test_every_item_is_cut_out_of_held_out_text(name, sources, texts):
    items = held_out.held_out_items(name, sources, seed=0)
    assert len(items) == held_out.NUM_ITEMS
    every = "\n".join(texts["validation"])
    for item in items:
        right = item.contexts[0] + item.continuations[item.gold]
        assert right in every and right not in "\n".join(texts["train"])
        assert len(set(item.choices)) == held_out.CHOICES
        own = next(text for text in texts["validation"] if right in text)
        for number, choice in enumerate(item.choices):
            assert item.continuations[number] == " " + choice
            # A wrong choice stands in another text, and not in this one.
            assert number == item.gold or (choice in every and choice not in own)
        lengths = [len(choice) for choice in item.choices]
        assert max(lengths) - min(lengths) <= 2 * held_out.HELD_OUT[name].length_tolerance
    golds = np.bincount([item.gold for item in items], minlength=held_out.CHOICES)
    assert golds.min() > 0.15 * len(items)


@pytest.mark.parametrize("name", held_out.HELD_OUT)
def test_frequency_and_length_do_not_tell_the_right_choice(name, sources):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(sources[0] / "tokenizer.json"))
    counts = np.bincount(np.load(sources[1]), minlength=400) + 1
    surprise = -np.log2(counts / counts.sum())
    items = [item for seed in range(4) for item in held_out.held_out_items(name, sources, seed)]
    for score in (lambda text: surprise[tokenizer.encode(text).ids].sum(), len):
        values = np.array([[score(text) for text in item.continuations] for item in items])
        gold = np.array([item.gold for item in items])
        for sign in (1, -1):
            best = sign * values == (sign * values).max(1, keepdims=True)
            accuracy = (best[np.arange(len(gold)), gold] / best.sum(1)).mean()
            # Chance is 1/4; three standard errors of 1,000 items, which share texts, and what a tie leaves.
            assert accuracy < 0.25 + 0.06, (accuracy, sign)


def test_the_seed_decides_and_nothing_else(sources):
    first, again, other = (held_out.held_out_items("ladder_cloze", sources, seed) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_no_text_comes_twice_where_there_are_enough(sources):
    items = held_out.held_out_items("ladder_cloze", sources, seed=0)
    assert len({item.cluster for item in items}) == len(items)


def test_a_text_that_is_part_of_another_counts_once():
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit

    tokenizer = Tokenizer(WordLevel({"<end>": 0, "one": 1, "two": 2, "three": 3}, unk_token="<end>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    assert held_out.texts(np.array([0, 1, 2, 3, 0, 2, 3, 0, 3, 1, 0, 1, 2, 3]), tokenizer) == [
        "one two three",
        "three one",
    ]


def test_too_little_text_is_refused(sources, tmp_path):
    short = tmp_path / "validation.npy"
    np.save(short, np.load(sources[2])[:2000])
    with pytest.raises(
        ElusiveError, match=r"ladder_cloze: the ladder's held-out text gives \d+ items, and 250 are needed"
    ):
        held_out.held_out_items("ladder_cloze", [*sources[:2], short], seed=0)


def test_the_items_table_says_what_it_is_made_of(sources, tmp_path):
    from elusive.tables import read_metadata

    output = tmp_path / "items.parquet"
    spec = {"name": "ladder_cloze", "source": "ladder", "limit": 20, "seed": 3}
    command = [sys.executable, "-m", "elusive", "items", "--spec", json.dumps(spec), "--output", str(output)]
    subprocess.run([*command, "--source", *map(str, sources)], check=True)
    table, metadata = pl.read_parquet(output), read_metadata(output)
    assert table.height == 20 and metadata["num_items_total"] == held_out.NUM_ITEMS
    assert metadata["label"] == "Cloze (held-out text)"
    assert metadata["chance"] == 0.25 and metadata["source"] == "ladder"
    # A limit keeps items as they are.
    build_items({"name": "ladder_cloze", "source": "ladder", "seed": 3}, tmp_path / "all.parquet", *sources)
    every = pl.read_parquet(tmp_path / "all.parquet")
    assert table.equals(every.filter(pl.col("item").is_in(table["item"].to_list())))
    with pytest.raises(ElusiveError, match="give them as --source"):
        build_items(spec, output, sources[0])
