"""Read what the figures and the report need from the workflow's tables."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq

from elusive import tables
from elusive.errors import ElusiveError

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Labelled(os.PathLike):
    """The path of an items table, and what the configuration calls its benchmark in print."""

    path: PathLike
    label: str

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __str__(self) -> str:
        return str(self.path)


def labelled(items: Sequence[PathLike], labels: Iterable[str]) -> list[Labelled]:
    """Items tables and the labels of their benchmarks, in the same order."""
    return [Labelled(path, label) for path, label in zip(items, labels, strict=True)]


@dataclass(frozen=True)
class Benchmark:
    """What a caption says about a benchmark, from the metadata of its items table."""

    name: str
    label: str
    split: str | None
    split_note: str | None
    num_items: int
    num_items_total: int
    chance: float
    choices: tuple[tuple[int, int], ...] = ()  # (K, items with K choices), the most frequent first
    num_subjects: int = 0
    partial: bool = False  # the choices stand in the context, and one text common to all is scored

    def describe_items(self) -> str:
        """How many items of which split were used, as a sentence."""
        whole = f"the {self.split} split" if self.split else "its file"
        if self.num_items < self.num_items_total:
            text = f"{self.num_items:,} of the {self.num_items_total:,} items of {whole}, drawn at random."
        else:
            text = f"All {self.num_items:,} items of {whole}."
        if len(self.choices) == 1:
            text += f" Choices per item: {self.choices[0][0]}."
        elif self.choices:
            text += f" Choices per item: {', '.join(f'{k} ({count:,} items)' for k, count in self.choices)}."
        if self.num_subjects:
            text += f" The items of {self.num_subjects} subjects are taken together."
        if self.partial:
            text += (
                " A choice is put into the sentence, and what follows it is scored: p_vocab is the probability of that "
                "rest, and those of the choices may add up to more than 1."
            )
        return f"{text} Note: {self.split_note}." if self.split_note else text

    def describe_choices(self) -> str:
        """Number of choices in short: ``4``, or ``3 to 5``."""
        numbers = [k for k, _ in self.choices]
        return f"{min(numbers)} to {max(numbers)}" if len(numbers) > 1 else str(numbers[0]) if numbers else "?"


def read_benchmark(items: PathLike) -> Benchmark:
    """The description of the benchmark whose items table is at ``items``; its label is that of a :class:`Labelled`."""
    metadata = tables.read_metadata(items)
    columns = tables.read_table(items, "items", ["num_choices", "subject", "continuations"])
    counts = columns["num_choices"].value_counts().to_pylist()
    choices = sorted(((entry["values"], entry["counts"]) for entry in counts), key=lambda c: (-c[1], c[0]))
    if columns["continuations"].null_count:  # the texts are not known
        shared = metadata.get("partial", False)
    else:
        shared = pc.all(pc.equal(pc.list_value_length(columns["continuations"]), 1)).as_py()
    return Benchmark(
        name=metadata["benchmark"],
        label=items.label if isinstance(items, Labelled) else metadata["label"],
        split=metadata["split"],
        split_note=(metadata.get("split_note") or "").rstrip(".") or None,
        num_items=len(columns),
        num_items_total=metadata["num_items_total"],
        chance=metadata["chance"],
        choices=tuple(choices),
        num_subjects=pc.count_distinct(columns["subject"]).as_py(),
        partial=bool(shared),
    )


def read_frame(path: PathLike, name: str, columns: Sequence[str]) -> pd.DataFrame:
    """Some columns of a table of the data contract as a data frame."""
    return tables.read_table(path, name, list(columns)).to_pandas()


def read_metrics(paths: Sequence[PathLike], families: Iterable[str], columns: Sequence[str]) -> pd.DataFrame:
    """Metrics tables of ``families``, in the same order as ``paths``, one below the other with a column ``family``."""
    frames = [
        read_frame(path, "metrics", columns).assign(family=family) for path, family in zip(paths, families, strict=True)
    ]
    return pd.concat(frames, ignore_index=True)


def read_extra(path: PathLike, columns: Sequence[str]) -> pd.DataFrame:
    """Some columns of a summary table (``checkpoints``, ``scores``) as a data frame."""
    try:
        return pq.read_table(path, columns=list(columns), use_threads=False).to_pandas()
    except FileNotFoundError as error:
        raise ElusiveError(f"{path}: there is no such table") from error


def nesting(frame: pd.DataFrame, families: Iterable[str]) -> dict[str, int]:
    """For each family, how many others have all its checkpoints and more; ``frame`` has ``family model checkpoint``."""
    pairs = frame[["family", "model", "checkpoint"]].drop_duplicates()
    members = {name: set(zip(rows["model"], rows["checkpoint"], strict=True)) for name, rows in pairs.groupby("family")}
    return {name: sum(members[name] < members[other] for other in families) for name in families}
