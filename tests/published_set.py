"""A published set of a synthetic run, with a registry that describes it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from elusive.configuration import registry
from elusive.publish.dataset import write_dataset
from elusive.publish.description import describe
from elusive.tables import data_dictionary, read_metadata, read_table, write_csv, write_table
from synthetic_run import SyntheticRun, make_run

BENCHMARKS = ("arc_easy", "mmlu", "sciq")
MADE_BY = {"version": "0", "commit": None, "changed": False, "text": "version 0"}


@dataclass(frozen=True)
class PublishedRun:
    """A synthetic run, its configuration, and what :meth:`publish` makes of them."""

    run: SyntheticRun
    config: dict[str, Any]

    @property
    def tables(self) -> dict[str, Path]:
        return {path.stem: path for path in sorted((self.run.root / "tables").glob("*.parquet"))}

    def publish(self, output: Path, **settings: Any) -> Path:
        config = self.config | {"publish": settings}
        dictionary = self.run.root / "data_dictionary.csv"
        write_csv(data_dictionary(), dictionary)
        write_dataset(
            items=self.run.items(),
            logprobs=self.run.logprobs(),
            tables=self.tables,
            dictionary=dictionary,
            described=describe(registry.load(config), config),
            made_by=MADE_BY,
            output=output,
        )
        return output


def published_run(root: Path, num_items: int = 12, benchmarks: tuple[str, ...] = BENCHMARKS) -> PublishedRun:
    """A synthetic run below ``root``. Its models are described as those of a hub that is never asked."""
    run = make_run(root, num_items=num_items, benchmarks=benchmarks)
    for path in run.items():  # with the columns that the real stage adds
        table = read_table(path, "items")
        texts = [[text.removeprefix(" ") for text in texts] for texts in table["continuations"].to_pylist()]
        clusters = pa.array(["same" if i < 2 else None for i in range(len(table))], pa.string())
        table = table.append_column("choices", pa.array(texts)).append_column("cluster", clusters)
        write_table(table, path, "items", read_metadata(path))
    models: dict[str, dict[str, Any]] = {}
    for row in read_table(run.table("checkpoints"), "checkpoints").to_pylist():
        own = {"source": "hub", "repo": f"tests/{row['model']}", "parameters": row["parameters"], "checkpoints": []}
        own |= {"parameters_nonembedding": row["parameters_nonembedding"]}
        entry = models.setdefault(row["model"], {"name": row["model"], **own})
        entry["checkpoints"].append({"name": row["checkpoint"], "tokens": row["tokens"]})
    members = run.members()
    families = [
        {"name": name, "label": label, "members": ["/".join(member) for member in members[name]]}
        for name, label in run.families.items()
    ]
    config = {"models": list(models.values()), "families": families, "benchmarks": [{"name": b} for b in benchmarks]}
    return PublishedRun(run, config)
