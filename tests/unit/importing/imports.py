"""The commands as the rules call them, on logs of a test's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from elusive.__main__ import main
from elusive.tables import read_table

STEPS = ("step1", "step2", "step3")


def command(*arguments: Any) -> int:
    """Exit status of a command."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


class Project:
    """A folder with logs of the model ``m``, one folder a checkpoint, and what is made of them."""

    def __init__(self, home: Path, path: str = "logs/{checkpoint}", source: str = "lm_eval") -> None:
        self.home, self.source = home, source
        self.logs: dict[str, Any] = {"path": str(home / path)}
        self.checkpoints: list[dict[str, Any]] = [{"name": step, "revision": step} for step in STEPS]
        self.benchmarks: list[dict[str, Any]] = [{"name": "own", "task": ["quiz"], "items": "strict"}]
        self.builtin: dict[str, Path] = {}
        self.parameters = 1000

    def folder(self, step: str) -> Path:
        """Where the logs of a checkpoint belong."""
        return Path(str(self.logs["path"]).replace("{checkpoint}", step))

    def index(self) -> int:
        """``import-index``."""
        spec = {"model": "m", "source": self.source, "logs": self.logs, "parameters": self.parameters}
        spec["checkpoints"] = self.checkpoints
        spec["benchmarks"] = [{"name": b["name"], "tasks": b.get("task", [])} for b in self.benchmarks]
        spec["benchmarks"] += [{"name": name} for name in self.builtin]
        return command("import-index", "--spec", json.dumps(spec), "--output", self.home / "index.json")

    def items(self) -> int:
        """``import-items`` of every benchmark whose items are those of the logs."""
        status = 0
        for benchmark in self.benchmarks:
            output = self.home / f"{benchmark['name']}.items.parquet"
            status |= command(
                "import-items",
                "--spec",
                json.dumps(benchmark),
                "--indexes",
                self.home / "index.json",
                "--output",
                output,
            )
        return status

    def tables(self, step: str) -> int:
        """``import`` of a checkpoint."""
        names = [benchmark["name"] for benchmark in self.benchmarks]
        items = [self.home / f"{name}.items.parquet" for name in names] + list(self.builtin.values())
        outputs = [self.table_file(step, name) for name in [*names, *self.builtin]]
        return command(
            *("import", "--index", self.home / "index.json", "--checkpoint", step),
            *("--parameters", self.parameters, "--items", *items, "--outputs", *outputs),
        )

    def all(self) -> int:
        """Everything, until something fails."""
        status = self.index() or self.items()
        for checkpoint in self.checkpoints:
            status = status or self.tables(checkpoint["name"])
        return status

    def table_file(self, step: str, benchmark: str = "own") -> Path:
        """Where a table is written."""
        return self.home / f"tables/{step}/{benchmark}.parquet"

    def table(self, step: str, benchmark: str = "own") -> pa.Table:
        """A table of log-likelihoods."""
        return read_table(self.table_file(step, benchmark), "logprobs")

    def made_items(self, benchmark: str = "own") -> pa.Table:
        """An items table."""
        return read_table(self.home / f"{benchmark}.items.parquet", "items")
