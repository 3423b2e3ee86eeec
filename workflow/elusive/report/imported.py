"""What the report says of checkpoints whose log-likelihoods come out of logs: how they differ, what is lacking."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from elusive.analysis.metrics import METRICS, VARIANTS
from elusive.figures.data import Benchmark
from elusive.figures.style import format_share, join
from elusive.importing.index import COMPARED
from elusive.report.summaries import METRIC_NAMES

#: What is compared over the checkpoints of a family: facts at the top of the metadata, or among what was imported.
_AT_TOP = ("dtype", "quantised")
_NAMES_SHOWN = 4


def facts(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """What a table's metadata say of the run that was logged, by the names of :data:`COMPARED`."""
    known = metadata.get("imported", {})
    return {key: metadata.get(key) if key in _AT_TOP else known.get(key) for key in COMPARED}


def imported_notes(
    metadata: Sequence[Mapping[str, Any]],
    statistics: pd.DataFrame,
    benchmarks: Sequence[Benchmark],
    families: Mapping[str, str],
    members: Mapping[str, Sequence[Sequence[str]]],
) -> list[str]:
    """Sentences for the report's notes; none where nothing was imported.

    ``metadata`` are those of one table of log-likelihoods a checkpoint, on the first of ``benchmarks``; ``statistics``
    the table correlation_statistics, ``families`` name -> label, ``members`` name -> (model, checkpoint).
    """
    imported = {(m["model"], m["checkpoint"]): m for m in metadata if "importer" in m}
    if not imported:
        return []
    harnesses = sorted({str(m.get("imported", {}).get("harness", "plain tables")) for m in imported.values()})
    notes = [
        f"The log-likelihoods of {len(imported):,} of {len(metadata):,} checkpoints were not computed here but "
        f"imported from logs of {join(harnesses)}; accuracies that the logs have were recomputed item by item."
    ]
    for name, label in families.items():
        own = {key: imported[key] for key in map(tuple, members[name]) if key in imported}
        notes += _differences(label, own)
    coarse = [m for m in imported.values() if m.get("half_precision")]
    if coarse:
        tied, items = sum(m["tied"] for m in coarse), len(coarse) * benchmarks[0].num_items
        kinds = sorted({m["half_precision"] for m in coarse})
        notes.append(
            f"All logged log-likelihoods of {len(coarse):,} checkpoints on {benchmarks[0].label} are numbers of "
            f"{join(kinds)}: they are coarse, and the best choice is tied for {format_share(tied / items, 1)} of the "
            "items, where accuracy depends on the order of the choices."
        )
    return notes + _left_out(statistics, benchmarks)


def _differences(label: str, own: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[str]:
    """In what the logged runs of one family differ."""
    found = []
    for key, what in COMPARED.items():
        groups: dict[str, list[str]] = defaultdict(list)
        for (model, checkpoint), metadata in own.items():
            value = facts(metadata)[key]
            groups["not known" if value is None else str(value)].append(f"{model}/{checkpoint}")
        if len(groups) > 1:
            said = "; ".join(f"{value} for {_some(names)}" for value, names in sorted(groups.items()))
            found.append(f"Of the imported checkpoints of “{label}” the {what} differs: {said}.")
    return found


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _left_out(statistics: pd.DataFrame, benchmarks: Sequence[Benchmark]) -> list[str]:
    """Which metrics a benchmark lacks, PMI aside, which takes more than a log has to have."""
    expected = [name for name in (*METRICS, *VARIANTS) if not name.endswith("_pmi")]
    groups: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for benchmark in benchmarks:
        there = set(statistics.loc[statistics["benchmark"] == benchmark.name, "metric"])
        if lacking := tuple(name for name in expected if name not in there):
            groups[lacking].append(benchmark.label)
    return [
        f"Left out on {join(labels)}, since what they take is not in every log: "
        f"{join([METRIC_NAMES.get(name, name) for name in lacking])}."
        for lacking, labels in groups.items()
    ]
