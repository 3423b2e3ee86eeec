"""Read what the figures and the report need from the workflow's tables."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd
import pyarrow.parquet as pq

from elusive import tables
from elusive.errors import ElusiveError

PathLike = str | os.PathLike[str]


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

    def describe_items(self) -> str:
        """How many items of which split were used, as a sentence."""
        whole = f"the {self.split} split" if self.split else "its file"
        if self.num_items < self.num_items_total:
            text = f"{self.num_items:,} of the {self.num_items_total:,} items of {whole}, drawn at random."
        else:
            text = f"All {self.num_items:,} items of {whole}."
        return f"{text} Note: {self.split_note}." if self.split_note else text


def read_benchmark(items: PathLike) -> Benchmark:
    """The description of the benchmark whose items table is at ``items``."""
    metadata = tables.read_metadata(items)
    num_items = pq.read_metadata(items).num_rows
    return Benchmark(
        name=metadata["benchmark"],
        label=metadata["label"],
        split=metadata["split"],
        split_note=(metadata.get("split_note") or "").rstrip(".") or None,
        num_items=num_items,
        num_items_total=metadata["num_items_total"],
        chance=metadata["chance"],
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
