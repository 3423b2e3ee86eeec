"""How much of a benchmark goes through a model: items, choices, tokens run, and positions that the output layer reads.

The scorer runs what choices and items share at their beginning once (see :mod:`elusive.scoring.plan`), so that the
tokens run are about the nodes of the prefix tree over all of a benchmark's inputs, an input being context +
continuation without its last token. That is what is estimated here, without a tokenizer:

- of an items table, from the bytes of the same tree over its texts, each without its last word: a built-in benchmark
  by its own bytes per token, any other by :data:`BYTES_PER_TOKEN`, which is within 10 % for the benchmarks counted;
- of a built-in benchmark without a table, from ``workflow/registry/sizes.csv``: full sets counted exactly with the
  GPT-NeoX tokenizer for a window of 2,048 tokens, cut to a limit. Rows marked ``estimated`` are of benchmarks that no
  counted copy is at hand of; their numbers come from typical lengths and may be a third off;
- of files of one's own, from their size.

Other tokenizers differ: vocabularies of 32,000 to 100,000 entries by some 10 %, the ladder's small ones by what
:func:`bytes_per_token` says.
"""

from __future__ import annotations

import csv
import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from elusive.configuration.benchmarks import Benchmark

TABLE = Path(__file__).parents[2] / "registry" / "sizes.csv"

#: Bytes of the tree for each token of GPT-NeoX's tokenizer, middle of nine benchmarks (4.07 PIQA to 4.77 SciQ).
BYTES_PER_TOKEN = 4.4
#: The same for byte-level BPEs of the ladder: entries of the vocabulary -> bytes, means over eight benchmarks.
_BY_VOCABULARY = ((257, 1.0), (512, 1.82), (4096, 3.16), (50254, BYTES_PER_TOKEN))
#: Choices of an item where nothing is known about them.
_CHOICES = 4


@dataclass(frozen=True)
class Size:
    """A benchmark as one model sees it.

    ``tokens`` go through the layers and ``positions`` through the output layer, by GPT-NeoX's tokenizer. ``choices``
    are log-likelihoods of an item summed over the items. ``basis`` says where the numbers come from: ``items``,
    ``counted``, ``estimated``, ``file``, or ``unknown`` with nothing but zeros, for data that are yet to be fetched.
    """

    items: int
    choices: int
    tokens: float
    positions: float
    basis: str


@dataclass(frozen=True)
class Counted:
    """A row of ``sizes.csv``: a full set, ``tokens_alone`` if no item shared anything with another."""

    items: int
    choices: int
    groups: int
    tree_bytes: int
    tokens: int
    tokens_alone: int
    positions: int
    basis: str

    def cut(self, limit: int | None) -> Size:
        """The size of ``limit`` items. What items share is taken to be one beginning in each of ``groups``."""
        items = self.items if limit is None else min(limit, self.items)
        shared = (self.tokens_alone - self.tokens) / max(1, self.items - self.groups)
        tokens = self.tokens_alone * items / self.items - shared * max(0, items - self.groups)
        share = items / self.items
        return Size(items, math.ceil(self.choices * share), tokens, self.positions * share, self.basis)


@functools.cache
def counted() -> dict[tuple[str, int], Counted]:
    """(benchmark, solved examples) -> its row of ``sizes.csv``."""
    with TABLE.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    names = ("items", "choices", "groups", "tree_bytes", "tokens", "tokens_alone", "positions")
    return {
        (row["benchmark"], int(row["num_fewshot"])): Counted(*(int(row[name]) for name in names), row["basis"])
        for row in rows
    }


def bytes_per_token(vocabulary: int) -> float:
    """Bytes of English text in a token of a byte-level BPE with so many entries, between those measured."""
    for (low, at_low), (high, at_high) in pairwise(_BY_VOCABULARY):
        if vocabulary <= high:
            part = (math.log(max(vocabulary, low)) - math.log(low)) / (math.log(high) - math.log(low))
            return at_low + part * (at_high - at_low)
    return BYTES_PER_TOKEN


def size(benchmark: Benchmark, items_table: Path) -> Size:
    """The size of ``benchmark``, from ``items_table`` if it is there."""
    if benchmark.source == "published":
        return Size(benchmark.spec["num_items"], 0, 0.0, 0.0, "published")
    limit, shots = benchmark.spec.get("limit"), benchmark.spec.get("num_fewshot", 0)
    known = counted().get((benchmark.name, shots))
    result = _of_table(items_table, limit, shots, known) if items_table.is_file() else None
    if result is None and known is not None:
        result = known.cut(limit)
    elif result is None and (plain := counted().get((benchmark.name, 0))) is not None:
        # Solved examples differ from item to item and are about as long as the item: nothing is shared.
        result = plain.cut(limit)
        share = result.items / plain.items
        result = replace(result, tokens=share * plain.tokens_alone * (1 + shots), basis="estimated")
    elif result is None:
        result = _of_files(benchmark, limit)
    if not benchmark.unconditional:
        return result
    # Every choice once more, behind one token: its tokens are about the positions read behind the context.
    return replace(
        result, choices=2 * result.choices, tokens=result.tokens + result.positions, positions=2 * result.positions
    )


def measure(requests: Sequence[Sequence[tuple[str, str]]]) -> tuple[int, float]:
    """(bytes of the tree, positions read) of items given as (context, continuation) of every choice."""
    inputs: list[bytes] = []
    positions = 0.0
    for item in requests:
        read: dict[str, list[bytes]] = {}
        for context, continuation in item:
            text = (context + continuation).encode().rstrip()
            text = text[: max(text.rfind(b" "), text.rfind(b"\n"), 0)]
            inputs.append(text)
            read.setdefault(context, []).append(text[len(context.encode()) :])
        positions += sum(1 + tree(texts) / BYTES_PER_TOKEN for texts in read.values())
    return tree(inputs), positions


def tree(sequences: Iterable[Sequence]) -> int:
    """Nodes of the prefix tree over ``sequences`` (of bytes, or of tokens)."""
    ordered = sorted(set(sequences))
    shared = sum(_common_prefix(a, b) for a, b in pairwise(ordered))
    return sum(map(len, ordered)) - shared


def _common_prefix(a: Sequence, b: Sequence) -> int:
    low, high = 0, min(len(a), len(b))
    while low < high:  # slices compare far faster than single elements
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _of_table(path: Path, limit: int | None, shots: int, known: Counted | None) -> Size | None:
    """The size of an items table, None for one that is about to be made anew or cannot be read."""
    from elusive.errors import ElusiveError
    from elusive.tables import read_metadata, read_table

    try:
        table, metadata = read_table(path, "items"), read_metadata(path)
    except ElusiveError:  # what is wrong with it is for the job that makes or reads it to say
        return None
    total = metadata.get("num_items_total", table.num_rows)
    if table.num_rows != min(limit or total, total) or metadata.get("num_fewshot", 0) != shots:
        return None
    columns = (table[name].to_pylist() for name in ("contexts", "continuations", "num_choices"))
    requests = [
        [(contexts[i % len(contexts)], continuations[i % len(continuations)]) for i in range(count)]
        for contexts, continuations, count in zip(*columns, strict=True)
    ]
    nodes, positions = measure(requests)
    choices = sum(map(len, requests))
    if known is not None and len(requests) == known.items:
        return Size(len(requests), choices, known.tokens * nodes / known.tree_bytes, known.positions, "items")
    ratio = BYTES_PER_TOKEN if known is None else known.tree_bytes / known.tokens
    return Size(len(requests), choices, nodes / ratio, positions, "items")


def _of_files(benchmark: Benchmark, limit: int | None) -> Size:
    """One item a line, about; its bytes once, a fifth of them in the choices."""
    if not benchmark.files:
        return Size(0, 0, 0.0, 0.0, "unknown")
    contents = [Path(file).read_bytes() for file in benchmark.files]
    lines = max(1, sum(content.count(b"\n") for content in contents))
    items = lines if limit is None else min(limit, lines)
    tokens = sum(map(len, contents)) / BYTES_PER_TOKEN * items / lines
    return Size(items, _CHOICES * items, tokens, tokens / 5, "file")
