"""Datasets on the local hub server, in the layouts that the hub has: a card with configurations, or its conversion."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import datasets

from hub_server import HubServer

Rows = list[dict[str, Any]]


def add_dataset(
    hub: HubServer, folder: Path, name: str, configs: Mapping[str, Mapping[str, Rows]], **options: Any
) -> str:
    """Serve Parquet files of ``configs`` (name -> split -> rows) with a card on the main branch; returns the commit."""
    card = ["---", "configs:"]
    files: dict[str, bytes] = {}
    for config, splits in configs.items():
        card += [f"- config_name: {config}", "  data_files:"]
        for split, rows in splits.items():
            path = f"{config}/{split}-00000-of-00001.parquet"
            files[path] = parquet(folder, rows)
            card += [f"  - split: {split}", f"    path: {path}"]
    files["README.md"] = "\n".join([*card, "---", ""]).encode()
    return hub.add(name, type="dataset", **options).commit(files)


def add_converted(hub: HubServer, folder: Path, name: str, config: str, splits: Mapping[str, Rows]) -> str:
    """A dataset that is a script, and its conversion under refs/convert/parquet; returns the conversion's commit."""
    repository = hub.add(name, type="dataset")
    repository.commit(
        {"README.md": b"---\n{}\n---\n", f"{name.split('/')[1]}.py": b"raise SystemExit('a script ran')\n"}
    )
    files = {f"{config}/{split}/0000.parquet": parquet(folder, rows) for split, rows in splits.items()}
    return repository.commit(files, "refs/convert/parquet")


def parquet(folder: Path, rows: Rows) -> bytes:
    """``rows`` as ``datasets`` writes them."""
    path = folder / "rows.parquet"
    datasets.Dataset.from_list(rows).to_parquet(path)
    return path.read_bytes()
