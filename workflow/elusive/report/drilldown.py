"""Items to look at: those that lose most of their correlation with compute at p_choices, and some that do not.

The drop of an item is its Spearman correlation with compute in log p_vocab minus that in p_choices, over the
checkpoints of one family. Of each benchmark are taken the :data:`LARGEST` items with the largest drop, then of the
others the :data:`SMALLEST` with the smallest (the most negative, where p_choices follows compute better), then of what
is left the :data:`KEPT` whose drop is nearest to 0. Equal drops are taken in items order; items where one of the two
correlations is undefined are left out.

The result is a JSON object::

    benchmark, label, family, num_items (with a drop), method: strings and a number
    models, checkpoints, flops: the family's checkpoints with FLOPs, by (flops, model, checkpoint)
    items: [{item, subject, group (largest, smallest or kept), drop, question, gold, choices (their texts),
             correlations: {metric: value or null}, spearman: [one a choice],
             log_likelihood: [[nats, one a checkpoint], one list a choice]}]
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from elusive import logs
from elusive.analysis.correlations import rank_correlations
from elusive.analysis.metrics import Choices, FilePath, Member, dropped_items, match_choices, read_checkpoint
from elusive.errors import ElusiveError
from elusive.files import atomic_path
from elusive.tables import read_metadata, read_table

logger = logs.get(__name__)

LARGEST, SMALLEST, KEPT = 6, 2, 2

#: Characters of a question that are kept: its end, since the examples or the passage stand before what is asked.
LONGEST = 4000

#: In place of a question whose text is not known here.
NOT_KNOWN = "The text of this item is not part of the data."

METHOD = "spearman"
_METRICS = ("log_p_vocab_correct", "p_choices_correct", "brier", "accuracy")


def select(drop: np.ndarray) -> list[tuple[str, int]]:
    """Group and position of the items to show, given the ``drop`` [items] of each, NaN where it is undefined."""
    left = np.flatnonzero(np.isfinite(drop))
    chosen: list[tuple[str, int]] = []
    for group, count, key in (
        ("largest", LARGEST, -drop),
        ("smallest", SMALLEST, drop),
        ("kept", KEPT, np.abs(drop)),
    ):
        first = left[np.argsort(key[left], kind="stable")][:count]
        chosen += [(group, int(position)) for position in first]
        left = left[~np.isin(left, first)]
    return chosen


def question_and_choices(contexts: Sequence[str], continuations: Sequence[str], count: int) -> tuple[str, list[str]]:
    """What an item's ``count`` choices have in common, and the text of each, without white space at the ends.

    Of an item with a context per choice, the question is what the contexts begin with, in whole words; the rest of the
    context belongs to the choice.
    """
    same = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*contexts, strict=False))
    common = "".join(letters[0] for letters in same)
    if len(contexts) > 1:
        common = common[: max(common.rfind(" "), common.rfind("\n")) + 1]
    texts = [contexts[i % len(contexts)][len(common) :] + continuations[i % len(continuations)] for i in range(count)]
    return common.strip(), [text.strip() for text in texts]


def _shorten(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    return f"[{len(text) - LONGEST:,} characters left out] …{text[-LONGEST:]}"


def write_drilldown(
    *,
    logprobs: Sequence[FilePath],
    items: FilePath,
    correlations: FilePath,
    members: Sequence[Member],
    output: FilePath,
    label: str | None = None,
) -> None:
    """Write the items to look at on one benchmark in one family, the one of the table ``correlations``, as JSON.

    ``logprobs``: at least the tables of the family's ``members`` on the benchmark, in any order; ``label``: what to
    call the benchmark, by default what the items table does. Raises :class:`ElusiveError` when a member has none, or a
    file does not fit the items.
    """
    about = read_metadata(items)
    choices = Choices.of(read_table(items, "items"), items, dropped_items(logprobs))
    table = choices.items
    found = pl.from_arrow(
        read_table(correlations, "correlations", ["family", "item", "metric", "method", "correlation"])
    )
    family = found["family"][0]
    wide = found.filter(pl.col("method") == METHOD, pl.col("metric").is_in(_METRICS)).pivot(
        "metric", index="item", values="correlation"
    )
    named = pl.DataFrame({"item": table["item"].to_pylist()})
    wide = named.join(wide, on="item", how="left", maintain_order="left")
    drop = wide["log_p_vocab_correct"].to_numpy() - wide["p_choices_correct"].to_numpy()

    trained = sorted((m for m in members if m["flops"] > 0), key=lambda m: (m["flops"], m["model"], m["checkpoint"]))
    paths = {read_checkpoint(path): path for path in logprobs}
    scores = []
    for member in trained:
        key = (member["model"], member["checkpoint"])
        if key not in paths:
            raise ElusiveError(f"family {family!r}: no log-likelihoods of {'/'.join(key)} on {about['benchmark']!r}")
        matched = match_choices(choices, read_table(paths[key], "logprobs"), paths[key])
        scores.append(matched["log_likelihood"].to_numpy())
    matrix = np.stack(scores)
    start = np.cumsum(choices.num_choices) - choices.num_choices
    x = np.log10([member["flops"] for member in trained])

    shown: list[dict[str, Any]] = []
    for group, position in select(drop):
        row = {name: table[name][position].as_py() for name in ("item", "subject", "contexts", "continuations")}
        count = int(choices.num_choices[position])
        own = matrix[:, start[position] : start[position] + count]
        if row["contexts"] and row["continuations"]:
            question, texts = question_and_choices(row["contexts"], row["continuations"], count)
        else:
            question = " ".join(dict.fromkeys(row["contexts"] or ())) or NOT_KNOWN
            known = table["choices"][position].as_py() if "choices" in table.column_names else None
            texts = known or [f"choice {number}" for number in range(1, count + 1)]
        shown.append(
            {
                "item": row["item"],
                "subject": row["subject"],
                "group": group,
                "drop": _number(drop[position], 4),
                "question": _shorten(question),
                "gold": int(choices.gold[position]),
                "choices": [_shorten(text) for text in texts],
                "correlations": {name: _number(wide[name][position], 4) for name in _METRICS},
                "spearman": [_number(value, 4) for value in rank_correlations(x, own)[0]],
                "log_likelihood": [[_number(value, 3) for value in column] for column in own.T],
            }
        )
    result = {
        "benchmark": about["benchmark"],
        "label": label or about["label"],
        "family": family,
        "method": METHOD,
        "num_items": int(np.isfinite(drop).sum()),
        "models": [member["model"] for member in trained],
        "checkpoints": [member["checkpoint"] for member in trained],
        "flops": [member["flops"] for member in trained],
        "items": shown,
    }
    with atomic_path(output) as temporary:
        temporary.write_text(json.dumps(result, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    logger.info("%s: %d of %d items to look at", output, len(shown), len(table))


def _number(value: float | None, digits: int) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), digits)
