"""Write a published set: a directory of tables, with a card, a manifest, checksums and a citation.

Nothing in it depends on when or where it is written: the same tables give the same bytes. The directory appears as a
whole, or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

import elusive
from elusive import logs
from elusive.analysis.metrics import FilePath
from elusive.configuration.published import FORMAT, FORMAT_VERSION, MANIFEST
from elusive.errors import ElusiveError
from elusive.files import atomic_path, sha256_file
from elusive.publish import croissant, parts
from elusive.publish.card import ABOUT, Content, summary, write_card
from elusive.publish.citation import bibtex, citation_file
from elusive.tables import SCHEMA_VERSION, data_dictionary, read_metadata, read_table, write_parts, write_table

logger = logs.get(__name__)

#: Table of the set -> its name in the contract. Other tables have one name.
CONTRACT = {
    "choices": "published_choices",
    "items": "published_items",
    "runs": "published_runs",
    "metrics": "metric_descriptions",
}
CHECKSUMS = "SHA256SUMS"


def write_dataset(
    *,
    items: Sequence[FilePath],
    logprobs: Sequence[FilePath],
    tables: Mapping[str, FilePath],
    dictionary: FilePath,
    described: Mapping[str, Any],
    made_by: Mapping[str, Any],
    output: FilePath,
) -> None:
    """Write the published set to the directory ``output``, in place of what is there.

    ``items`` are the items tables and ``logprobs`` all tables of log-likelihoods, in any order; ``tables`` are the
    summary tables by name, ``checkpoints`` among them; ``dictionary`` is the data dictionary (CSV); ``described`` is
    that of :func:`elusive.publish.description.describe`; ``made_by`` that of :func:`workflow_version`. Raises
    :class:`ElusiveError` when tables do not fit each other or what is described.
    """
    by_name = {str(read_metadata(path)["benchmark"]): path for path in items}
    names = [entry["name"] for entry in described["benchmarks"]]
    if set(names) != set(by_name):
        raise ElusiveError(f"items tables of {sorted(by_name)}, but the configuration has {sorted(names)}")
    benchmarks = {name: by_name[name] for name in names}
    grouped: dict[str, list[FilePath]] = defaultdict(list)
    for path in logprobs:
        grouped[str(read_metadata(path).get("benchmark", Path(path).stem))].append(path)
    checkpoints = read_table(tables["checkpoints"], "checkpoints")
    rows = checkpoints.select(["flops", "model", "checkpoint"]).to_pylist()
    order = [(row["model"], row["checkpoint"]) for row in sorted(rows, key=lambda row: tuple(row.values()))]
    texts = {entry["name"]: entry["kept_back"] is None for entry in described["benchmarks"]}
    for entry in described["benchmarks"]:
        if described["settings"]["texts"] and entry["kept_back"]:
            logger.warning("the texts of %s are kept back: %s", entry["name"], entry["kept_back"])
    with atomic_path(output) as directory:
        data = directory / "data"
        data.mkdir(parents=True)
        files = {name: data / f"{name}.parquet" for name in (*_own_tables(), *tables)}
        write_parts(
            parts.choice_parts(benchmarks, grouped, order),
            files["choices"],
            "published_choices",
            {"benchmarks": names, "order": "benchmark, item, choice, then checkpoints by FLOPs"},
            split=("log_likelihood", parts.UNCONDITIONAL),
        )
        write_table(parts.item_table(benchmarks, texts), files["items"], "published_items")
        write_table(parts.run_table(benchmarks, grouped, order), files["runs"], "published_runs")
        write_table(parts.family_table(described["families"]), files["families"], "families")
        about = parts.benchmark_table(described["benchmarks"], benchmarks, texts)
        write_table(about, files["benchmarks"], "benchmarks")
        write_table(parts.metric_table(_metrics(tables)), files["metrics"], "metric_descriptions")
        for name, path in tables.items():
            shutil.copyfile(path, files[name])
        shutil.copyfile(dictionary, directory / "data_dictionary.csv")
        metadata = {name: parts.item_metadata(path) for name, path in benchmarks.items()}
        partial = {name: parts.is_partial(path) for name, path in benchmarks.items()}
        _describe(directory, files, checkpoints, described, made_by, metadata, partial)
    logger.info("%s: %d tables, %.1f MB", output, len(files), _size(Path(output)) / 1e6)


def _own_tables() -> tuple[str, ...]:
    return ("choices", "items", "runs", "families", "benchmarks", "metrics")


def _metrics(tables: Mapping[str, FilePath]) -> list[str]:
    if "means" not in tables:
        return list(parts.METRICS)
    return read_table(tables["means"], "means", columns=["metric"])["metric"].unique().to_pylist()


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _describe(
    directory: Path,
    files: Mapping[str, Path],
    checkpoints: pa.Table,
    described: Mapping[str, Any],
    made_by: Mapping[str, Any],
    metadata: Mapping[str, Mapping[str, Any]],
    partial: Mapping[str, bool],
) -> None:
    """Everything beside the tables."""
    settings = described["settings"]
    family = next(family for family in described["families"] if family["plotted"])
    title = settings["title"] or f"Log-likelihoods of answer choices: {family['label']}"
    version = f"{SCHEMA_VERSION}.0.0"
    counts, schemas = {}, {}
    for name, path in files.items():
        with pq.ParquetFile(path) as file:
            counts[name], schemas[name] = file.metadata.num_rows, file.schema_arrow
    shown = ("benchmarks", "runs", "checkpoints", "headline")
    content = Content(
        title=title,
        described=described,
        frames={
            name: pl.from_arrow(read_table(files[name], CONTRACT.get(name, name))) for name in shown if name in files
        },
        rows=counts,
        dictionary=_dictionary(schemas),
        made_by=made_by["text"],
        metadata=metadata,
    )
    _write(directory / "README.md", write_card(content))
    _write(directory / "CITATION.cff", citation_file(title, settings["authors"], settings["license"], version))
    _write(directory / "configuration.yaml", described["configuration"])
    entries = {
        name: {"path": f"data/{name}.parquet", "bytes": path.stat().st_size, "sha256": sha256_file(path)}
        for name, path in files.items()
    }
    described_to_programs = croissant.describe(
        name=title,
        description=summary(content),
        license=settings["license"],
        cite_as=bibtex(title, settings["authors"], ()),
        version=version,
        files=entries,
        schemas=schemas,
        about={name: ABOUT.get(name, name) for name in files},
    )
    _write(directory / "croissant.json", _json(described_to_programs))
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "schema_version": SCHEMA_VERSION,
        "title": title,
        "license": settings["license"],
        "made_by": {key: value for key, value in made_by.items() if key != "text"},
        "seed": described["seed"],
        "compute": described["compute"],
        "models": _with_losses(described["models"], checkpoints),
        "families": described["families"],
        "benchmarks": [
            {
                **{key: value for key, value in entry.items() if key != "kept_back"},
                "texts": entry["kept_back"] is None,
                "partial": partial[entry["name"]],
                "num_items": _items(content, entry["name"]),
                "metadata": metadata[entry["name"]],
            }
            for entry in described["benchmarks"]
        ],
        "tables": {name: entries[name] | {"rows": counts[name]} for name in files},
    }
    others = sorted(path for path in directory.iterdir() if path.is_file())
    manifest["files"] = {path.name: {"bytes": path.stat().st_size, "sha256": sha256_file(path)} for path in others}
    _write(directory / MANIFEST, _json(manifest))
    everything = sorted(path for path in directory.rglob("*") if path.is_file())
    lines = [f"{sha256_file(path)}  {path.relative_to(directory).as_posix()}\n" for path in everything]
    _write(directory / CHECKSUMS, "".join(lines))


def _items(content: Content, benchmark: str) -> int:
    return content.frames["benchmarks"].filter(pl.col("benchmark") == benchmark)["num_items"].item()


def _with_losses(models: Sequence[Mapping[str, Any]], checkpoints: pa.Table) -> list[dict[str, Any]]:
    """The described models, with the validation losses that the table of checkpoints has."""
    losses = {(row["model"], row["checkpoint"]): row["validation_loss"] for row in checkpoints.to_pylist()}
    return [
        {
            **model,
            "checkpoints": [
                checkpoint
                | (
                    {}
                    if (loss := losses.get((model["name"], checkpoint["name"]))) is None
                    else {"validation_loss": loss}
                )
                for checkpoint in model["checkpoints"]
            ],
        }
        for model in models
    ]


def _dictionary(schemas: Mapping[str, pa.Schema]) -> dict[str, list[dict[str, str]]]:
    """The data dictionary's rows of the columns that each table of the set has."""
    rows = data_dictionary().to_pylist()
    return {
        name: [row for row in rows if row["table"] == CONTRACT.get(name, name) and row["column"] in schema.names]
        for name, schema in schemas.items()
    }


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def workflow_version(root: FilePath) -> dict[str, Any]:
    """Which version of the workflow in the directory ``root`` runs: ``version``, ``commit`` and ``text`` for people.

    ``commit`` is git's, None where it is not known; ``changed`` whether files differ from it.
    """

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", os.fspath(root), *arguments], capture_output=True, text=True, check=True, timeout=60
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    top = git("rev-parse", "--show-toplevel")
    commit = git("rev-parse", "HEAD") if top and Path(top).resolve() == Path(root).resolve() else None
    changed = bool(git("status", "--porcelain", "--untracked-files=no")) if commit else None
    text = f"version {elusive.__version__}"
    if commit:
        text += f" (commit {commit[:12]}{', with changes' if changed else ''})"
    return {"version": elusive.__version__, "commit": commit, "changed": changed, "text": text}
