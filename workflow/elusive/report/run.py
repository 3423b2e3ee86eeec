"""What was run, for the page: models, families, and what the scores rest on."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import os
import platform
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from elusive import tables
from elusive.figures.style import format_count, format_power, format_range
from elusive.files import atomic_path

ROOT = Path(__file__).parents[3]


def spread(values: pd.Series, text: Any) -> str:
    """Smallest to largest of ``values`` as ``text`` writes them."""
    low, high = text(values.min()), text(values.max())
    return low if low == high else f"{low} to {high}"


def model_rows(checkpoints: pd.DataFrame) -> list[dict[str, str]]:
    """One row a model for the table of what was run."""
    rows = []
    for name, found in checkpoints.groupby("model", sort=False):
        losses = found.sort_values("tokens")["validation_loss"].dropna()
        outside = found["parameters_nonembedding"].iloc[0]
        rows.append(
            {
                "model": str(name),
                "parameters": f"{found['parameters'].iloc[0]:,}",
                "nonembedding": "" if pd.isna(outside) else f"{int(outside):,}",
                "checkpoints": str(len(found)),
                "tokens": spread(found["tokens"], format_count),
                "flops": spread(found["flops"], format_power),
                "loss": format_range(losses.iloc[0], losses.iloc[-1]) if len(losses) else "",
            }
        )
    return rows


def family_rows(
    checkpoints: pd.DataFrame, families: Mapping[str, str], members: Mapping[str, Sequence[Sequence[str]]]
) -> list[dict[str, str]]:
    """One row a family: how many checkpoints, and over which sizes, tokens and compute."""
    by_key = checkpoints.set_index(["model", "checkpoint"])
    rows = []
    for family, label in families.items():
        found = by_key.loc[[tuple(member) for member in members[family]]]
        found = found[found["flops"] > 0]
        known = len(found) > 0
        rows.append(
            {
                "name": family,
                "label": label,
                "checkpoints": str(len(found)),
                "parameters": spread(found["parameters"], format_count) if known else "–",
                "tokens": spread(found["tokens"], format_count) if known else "–",
                "flops": spread(found["flops"], format_power) if known else "–",
                "decades": f"{math.log10(found['flops'].max() / found['flops'].min()):.1f}" if known else "–",
            }
        )
    return rows


def schema_digest() -> str:
    """Twelve hex digits that change with any table's columns, types or units."""
    columns = tables.data_dictionary().drop_columns(["meaning"]).to_pylist()
    return hashlib.sha256(json.dumps(columns, sort_keys=True).encode()).hexdigest()[:12]


def workflow_commit(root: Path = ROOT) -> tuple[str, str] | None:
    """Commit and its date of the workflow's code, ``+ changes`` behind it where files differ; None without git."""
    git = ["git", "-C", str(root)]
    try:
        shown = subprocess.run(
            [*git, "show", "-s", "--format=%H %cs", "HEAD"], capture_output=True, text=True, timeout=30
        )
        top = subprocess.run([*git, "rev-parse", "--show-toplevel"], capture_output=True, text=True, timeout=30)
        # A copy without .git inside another repository has nothing to do with that one's commits.
        if shown.returncode or top.returncode or Path(top.stdout.strip()).resolve() != root.resolve():
            return None
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    commit, date = shown.stdout.split()
    return commit + (" + changes" if changed.stdout.strip() else ""), date


def config_digest(config: Mapping[str, Any]) -> str:
    """Hex SHA-256 of the configuration as resolved."""
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()


def newest(paths: Sequence[str | os.PathLike[str]]) -> str:
    """The day, in UTC, of the newest of the files."""
    latest = max(os.stat(path).st_mtime for path in paths)
    return datetime.datetime.fromtimestamp(latest, datetime.UTC).date().isoformat()


def provenance(
    metadata: Sequence[Mapping[str, Any]], config: Mapping[str, Any] | None = None, scored: str | None = None
) -> list[tuple[str, str]]:
    """What the page rests on: each fact with its value, the same for the same tables, configuration and code.

    ``metadata`` are those of a table of log-likelihoods a checkpoint; of each fact the values over them are given, the
    commonest first. ``config``: the resolved configuration, if known; ``scored``: the day of the newest such table.
    """

    def values(key: str) -> str:
        found = Counter(json.dumps(m.get(key, "not recorded")) for m in metadata)
        texts = [json.loads(value) for value, _ in sorted(found.items(), key=lambda e: (-e[1], e[0]))]
        unset = "as the tokenizer does by itself" if key == "add_bos_token" else "not recorded"
        shown = [unset if text is None else str(text) for text in texts]
        return ", ".join(shown[:6]) + (f" and {len(shown) - 6} more" if len(shown) > 6 else "")

    packages = sorted({package for m in metadata for package in m.get("versions", {})})
    facts = {
        "Prompt protocol": "protocol",
        "Source of the models": "source",
        "Revision of the weights": "revision",
        "Tokenizer (SHA-256)": "tokenizer",
        "Precision of the weights": "dtype",
        "Device": "device",
        "Way of scoring": "path",
        "Scorer version": "scorer",
        "BOS token put first": "add_bos_token",
        "Longest input in tokens": "max_length",
    }
    if any("importer" in m for m in metadata):
        facts |= {"Harness of imported logs": "harness", "Importer version": "importer"}
        metadata = [m | {"harness": _harness(m)} for m in metadata]
    rows = []
    if scored:
        rows.append(("Newest score, day (UTC)", scored))
    commit = workflow_commit()
    rows.append(("Commit of the workflow", f"{commit[0]} of {commit[1]}" if commit else "not a git checkout"))
    if config is not None:
        rows.append(("Configuration (SHA-256)", config_digest(config)))
        rows.append(("Seed", str(config.get("seed", "not set"))))
    rows.append(("Version of the tables' contract", f"{tables.SCHEMA_VERSION} (columns {schema_digest()})"))
    imported = sum("importer" in m for m in metadata)
    if imported < len(metadata) or not metadata:
        rows.append(("Checkpoints scored", f"{len(metadata) - imported:,}"))
    if imported:
        rows.append(("Checkpoints imported from logs", f"{imported:,}"))
    rows += [(name, values(key)) for name, key in facts.items()]
    for package in packages:
        versions = sorted({str(m.get("versions", {}).get(package, "not recorded")) for m in metadata})
        rows.append((f"Version of {package}", ", ".join(versions)))
    return rows


def _harness(metadata: Mapping[str, Any]) -> str | None:
    known = metadata.get("imported", {})
    return " ".join(str(known[key]) for key in ("harness", "harness_version") if key in known) or None


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _command() -> str | None:
    """The command line of the Snakemake that runs this, from the outermost process that is one; None if unknown."""
    found, process = None, os.getpid()
    try:
        while process > 1:
            line = Path(f"/proc/{process}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
            if any(Path(part).name == "snakemake" or part == "snakemake" for part in line[:4]):
                found = " ".join(line[1:] if Path(line[0]).name.startswith("python") else line)
            status = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
            process = int(status.rsplit(")", 1)[1].split()[1])
    except (OSError, ValueError, IndexError):
        return found
    return found


def _job_seconds(folder: Path) -> dict[str, dict[str, float]]:
    """Of each kind of job with a file below ``folder``: how many, and their seconds of time and of processor."""
    result: dict[str, dict[str, float]] = {}
    for path in sorted(folder.glob("**/*.tsv")):
        try:
            row = pd.read_csv(path, sep="\t").iloc[-1]
        except (OSError, ValueError, IndexError):
            continue
        kind = path.relative_to(folder).parts[0].removesuffix(".tsv")
        entry = result.setdefault(kind, {"jobs": 0, "seconds": 0.0, "cpu_seconds": 0.0})
        entry["jobs"] += 1
        for name, column in (("seconds", "s"), ("cpu_seconds", "cpu_time")):
            value = pd.to_numeric(row.get(column), errors="coerce")
            entry[name] = round(entry[name] + (0.0 if pd.isna(value) else float(value)), 2)
    return result


def write_record(output: str | os.PathLike[str], benchmarks: str | os.PathLike[str]) -> None:
    """Write what differs between two runs that are otherwise the same, as JSON: date, command, times, machine.

    ``benchmarks`` is the folder in which Snakemake keeps each job's time.
    """
    jobs = _job_seconds(Path(benchmarks))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    record = {
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": _command(),
        "machine": {
            "system": platform.platform(),
            "python": platform.python_version(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_bytes": memory,
        },
        "seconds_of_all_jobs": round(sum(entry["seconds"] for entry in jobs.values()), 1),
        "cpu_seconds_of_all_jobs": round(sum(entry["cpu_seconds"] for entry in jobs.values()), 1),
        "jobs": jobs,
    }
    with atomic_path(output) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
