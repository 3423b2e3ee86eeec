"""Items to look at: of every one how it follows compute before and after the wrong choices enter, of many all choices.

The drop of an item is its Spearman correlation with compute in log p_vocab minus that in p_choices, over the
checkpoints of one family. Every item has both in ``scatter``. A card shows an item in full: question, choices, and the
log-likelihood of each choice under every checkpoint. Cards come in this order until they hold as many log-likelihoods
as are asked for: for each family in turn the :data:`LARGEST` items with the largest drop, then of the others the
:data:`SMALLEST` with the smallest (the most negative, where p_choices follows compute better), then of what is left the
:data:`KEPT` whose drop is nearest to 0; after these, items spread evenly over the rest. Equal drops are taken in items
order; items where one of the two correlations is undefined have no drop. The first family's come whatever they hold.

The result is a JSON object::

    benchmark, label, method: strings
    checkpoints: [{model, checkpoint, flops}], those of all families with FLOPs, by (flops, model, checkpoint)
    families: {name: {checkpoints: [places in the above], threshold: 97.5 % quantile of a correlation by chance,
               num_items (with a drop), before: [C in log p_vocab, one an item], after: [C in p_choices],
               curves: what elusive.report.curves.read_curves returns,
               foreseen: what elusive.report.foreseen.read_foreseen returns}}
    items: [name, one an item]
    cards: [{at: place in items, subject, question, gold, choices: their texts,
             log_likelihood: [[nats, one a checkpoint], one list a choice],
             families: {name: {group: largest, smallest, kept or null, correlations: {metric: value or null},
                        spearman: [one a choice], title: what the choices do, in words}}}]
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from elusive import logs
from elusive.analysis.correlations import rank_correlations
from elusive.analysis.metrics import Choices, FilePath, Member, dropped_items, match_choices, read_checkpoint
from elusive.analysis.null import null_distributions
from elusive.errors import ElusiveError
from elusive.files import atomic_path
from elusive.report.curves import read_curves
from elusive.report.foreseen import read_foreseen
from elusive.report.titles import title
from elusive.tables import read_metadata, read_table

logger = logs.get(__name__)

LARGEST, SMALLEST, KEPT = 6, 2, 2

#: Log-likelihoods that the cards of all benchmarks of one page hold at most, the first family's own items aside.
MOST_VALUES = 1_200_000

#: Characters of a question that are kept: its end, since the examples or the passage stand before what is asked.
LONGEST = 4000

#: In place of a question whose text is not known here.
NOT_KNOWN = "The text of this item is not part of the data."

METHOD = "spearman"
BEFORE, AFTER = "log_p_vocab_correct", "p_choices_correct"
_METRICS = (BEFORE, AFTER, "brier", "accuracy")


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


def chance_threshold(flops: Sequence[float]) -> float:
    """The 97.5 % quantile of Spearman's correlation of a score that has nothing to do with compute; 1 if unknown."""
    x = np.unique(np.asarray(flops, np.float64), return_inverse=True)[1].astype(np.float64)
    nulls = null_distributions(np.sort(x)) if len(x) >= 3 else {}
    return nulls[METHOD].quantile(0.975) if METHOD in nulls else 1.0


def cards_in_order(drops: Sequence[np.ndarray], num_items: int) -> tuple[list[int], int]:
    """Places of the items in the order in which they get cards, and how many of these are the first family's own."""
    chosen = [[position for _, position in select(drop)] for drop in drops]
    first = list(dict.fromkeys(itertools.chain.from_iterable(chosen)))
    taken = set(first)
    rest = [position for position in range(num_items) if position not in taken]
    # Halving steps: any number of them from the start is spread over all.
    spread = sorted(range(len(rest)), key=lambda i: (_bit_reversed(i), i))
    return [*first, *(rest[i] for i in spread)], len(chosen[0]) if chosen else 0


def _bit_reversed(value: int) -> float:
    """The binary digits of ``value`` mirrored at the point: 0, 1/2, 1/4, 3/4, 1/8, ... for 0, 1, 2, 3, 4, ..."""
    result, unit = 0.0, 0.5
    while value:
        result += unit * (value & 1)
        value >>= 1
        unit /= 2
    return result


def _read_correlations(path: FilePath, items: Sequence[str]) -> pl.DataFrame:
    """Spearman correlations of a family: a row for each of ``items``, a column for each metric, NaN if undefined."""
    found = pl.from_arrow(read_table(path, "correlations", ["item", "metric", "method", "correlation"]))
    wide = found.filter(pl.col("method") == METHOD, pl.col("metric").is_in(_METRICS)).pivot(
        "metric", index="item", values="correlation"
    )
    joined = pl.DataFrame({"item": items}).join(wide, on="item", how="left", maintain_order="left")
    if missing := [name for name in _METRICS if name not in joined.columns]:
        raise ElusiveError(f"{path}: has no rows for metric {missing[0]!r} by method {METHOD!r}")
    return joined.with_columns(pl.col(_METRICS).cast(pl.Float64).fill_null(np.nan))


def _slopes(x: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Least-squares slopes of ``columns`` [models, n] on ``x`` [models]: float64 [n]; NaN for a constant ``x``."""
    centred = x - x.mean()
    squares = float((centred**2).sum())
    return centred @ columns / squares if squares > 0 else np.full(columns.shape[1], np.nan)


def write_drilldown(
    *,
    logprobs: Sequence[FilePath],
    items: FilePath,
    correlations: Mapping[str, FilePath],
    members: Mapping[str, Sequence[Member]],
    output: FilePath,
    values: int = MOST_VALUES,
    label: str | None = None,
    probabilities: Mapping[str, FilePath] | None = None,
) -> None:
    """Write the items to look at on one benchmark, for families in the order of ``correlations``, as JSON.

    ``correlations``: family -> its correlations table; ``members``: family -> its checkpoints; ``logprobs``: at least
    the tables of these on the benchmark, in any order; ``values``: how many log-likelihoods the cards may hold;
    ``label``: what to call the benchmark, by default what the items table does; ``probabilities``: family -> its table
    forecast_items, where there are forecasts. Items that a checkpoint left out are not there. Raises
    :class:`ElusiveError` when a member has no table, or a file does not fit the items.
    """
    about = read_metadata(items)
    choices = Choices.of(read_table(items, "items"), items, dropped_items(logprobs))
    table = choices.items
    names = table["item"].to_pylist()
    tables = {family: _read_correlations(path, names) for family, path in correlations.items()}
    drops = [(wide[BEFORE] - wide[AFTER]).to_numpy() for wide in tables.values()]

    keys = {
        (m["flops"], m["model"], m["checkpoint"]): family
        for family in reversed(tables)
        for m in members[family]
        if m["flops"] > 0
    }
    trained = sorted(keys)
    places = {key[1:]: place for place, key in enumerate(trained)}
    paths = {read_checkpoint(path): path for path in logprobs}
    scores = []
    for key in trained:
        if key[1:] not in paths:
            family = keys[key]
            raise ElusiveError(
                f"family {family!r}: no log-likelihoods of {'/'.join(key[1:])} on {about['benchmark']!r}"
            )
        matched = match_choices(choices, read_table(paths[key[1:]], "logprobs"), paths[key[1:]])
        scores.append(matched["log_likelihood"].to_numpy())
    matrix = np.stack(scores) if scores else np.empty((0, int(choices.num_choices.sum())))
    flops = np.array([key[0] for key in trained])
    start = np.cumsum(choices.num_choices) - choices.num_choices

    described: dict[str, dict[str, Any]] = {}
    single: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for family, drop in zip(tables, drops, strict=True):
        rows = sorted(places[m["model"], m["checkpoint"]] for m in members[family] if m["flops"] > 0)
        x = np.log10(flops[rows])
        single[family] = (rank_correlations(x, matrix[rows])[0], _slopes(x, matrix[rows]))
        described[family] = {
            "checkpoints": rows,
            "threshold": round(chance_threshold(flops[rows]), 4),
            "num_items": int(np.isfinite(drop).sum()),
            "before": [_number(value, 4) for value in tables[family][BEFORE]],
            "after": [_number(value, 4) for value in tables[family][AFTER]],
            "curves": read_curves(correlations[family]),
            "foreseen": read_foreseen((probabilities or {}).get(family), names),
        }

    groups = {family: {p: group for group, p in select(drop)} for family, drop in zip(tables, drops, strict=True)}
    order, own = cards_in_order(drops, len(names))
    cards: list[dict[str, Any]] = []
    held = 0
    for position in order:
        count = int(choices.num_choices[position])
        held += count * len(trained)
        if held > values and len(cards) >= own:
            break
        row = {name: table[name][position].as_py() for name in ("subject", "contexts", "continuations")}
        span = slice(int(start[position]), int(start[position]) + count)
        if row["contexts"] and row["continuations"]:
            question, texts = question_and_choices(row["contexts"], row["continuations"], count)
        else:
            question = " ".join(dict.fromkeys(row["contexts"] or ())) or NOT_KNOWN
            known = table["choices"][position].as_py() if "choices" in table.column_names else None
            texts = known or [f"choice {number}" for number in range(1, count + 1)]
        gold = int(choices.gold[position])
        cards.append(
            {
                "at": position,
                "subject": row["subject"],
                "question": _shorten(question),
                "gold": gold,
                "choices": [_shorten(text) for text in texts],
                "log_likelihood": [[_number(value, 2) for value in column] for column in matrix[:, span].T],
                "families": {
                    family: {
                        "group": groups[family].get(position),
                        "correlations": {name: _number(wide[name][position], 4) for name in _METRICS},
                        "spearman": [_number(value, 4) for value in single[family][0][span]],
                        "title": title(
                            single[family][0][span],
                            single[family][1][span],
                            wide[AFTER][position],
                            described[family]["threshold"],
                            gold,
                            texts,
                        ),
                    }
                    for family, wide in tables.items()
                },
            }
        )
    result = {
        "benchmark": about["benchmark"],
        "label": label or about["label"],
        "method": METHOD,
        "checkpoints": [{"model": m, "checkpoint": c, "flops": f} for f, m, c in trained],
        "families": described,
        "items": names,
        "cards": cards,
    }
    with atomic_path(output) as temporary:
        temporary.write_text(json.dumps(result, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
    logger.info("%s: %d of %d items with all their choices", output, len(cards), len(table))


def _number(value: float | None, digits: int) -> float | None:
    return None if value is None or not np.isfinite(value) else round(float(value), digits)
