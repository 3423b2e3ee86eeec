"""What a benchmark gives to the tables of forecasts, one family after the other, and to the table of decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from elusive import logs
from elusive.analysis.metrics import FilePath, Member
from elusive.configuration.forecasting import Target
from elusive.forecast.backtests import judge, origins, rows_of
from elusive.forecast.choice_laws import laws_of
from elusive.forecast.decisions import decide
from elusive.forecast.items import reliability, reliability_table
from elusive.forecast.methods import Forecasts
from elusive.forecast.scores import Reader, Scores, by_subject
from elusive.forecast.subsets import item_subsets
from elusive.forecast.targets import forecast_targets, item_rows, target_rows
from elusive.tables import SCHEMAS, write_table

logger = logs.get(__name__)

#: File of a family and benchmark -> the table that its rows are of.
PARTS = {
    "targets": "forecasts",
    "probabilities": "forecast_items",
    "backtests": "backtests",
    "laws": "choice_laws",
    "means": "choice_means",
    "reliability": "forecast_reliability",
    "subsets": "item_subsets",
    "members": "item_subset_members",
}


def write_cells(
    *,
    logprobs: Sequence[FilePath],
    items: FilePath,
    families: Mapping[str, Sequence[Member]],
    groups: Mapping[str, Sequence[Member]],
    benchmark: str,
    targets: Sequence[Target],
    metrics: Sequence[str],
    draws: int,
    subjects: bool,
    outputs: Mapping[str, Mapping[str, FilePath]],
    decisions: FilePath,
) -> None:
    """Write every part of :data:`PARTS` of each of ``families`` to ``outputs`` (family -> part -> file).

    ``logprobs`` are the tables of all members of families and ``groups`` on the benchmark, ``items`` its items table.
    Rows of targets have ``metrics``; ``subjects`` asks for rows of each subject as well. Intervals in these files rest
    on draws alone: what earlier errors say, they say over all benchmarks together. The rows of the table ``decisions``
    on this benchmark, one group of models after the other, go to the file of that name.
    """
    reader = Reader(logprobs, items)
    about = {"benchmark": benchmark}
    for family, members in families.items():
        scores = reader.scores(members)
        own = [target for target in targets if target.family == family]
        rows = cell_rows(scores, family, benchmark, own, metrics, draws, subjects)
        for part, name in PARTS.items():
            table = pa.Table.from_pylist(rows[part], SCHEMAS[name])
            write_table(table, outputs[family][part], name, about | {"family": family})
        logger.info(
            "forecasts of %s on %s: %d checkpoints × %d items, %d targets, %d forecasts judged",
            family,
            benchmark,
            len(scores.flops),
            len(scores.items),
            len(own),
            sum(row["method"] == "km" and row["metric"] == "accuracy" for row in rows["backtests"]),
        )
    decided = [row for group, members in groups.items() for row in decide(reader.scores(members), group, benchmark)]
    write_table(pa.Table.from_pylist(decided, SCHEMAS["decisions"]), decisions, "decisions", about)


def cell_rows(
    scores: Scores,
    family: str,
    benchmark: str,
    targets: Sequence[Target],
    metrics: Sequence[str],
    draws: int,
    subjects: bool,
) -> dict[str, list[dict[str, Any]]]:
    """Part -> rows of its table, of one family and benchmark."""
    rows: dict[str, list[dict[str, Any]]] = {part: [] for part in PARTS}
    sums: list[dict[str, Any]] = []
    parts: dict[str | None, Scores] = {None: scores}
    if subjects:
        parts |= by_subject(scores)
    for subject, own in parts.items():
        names = {"family": family, "benchmark": benchmark, "subject": subject}
        # Draws of a subject are its own.
        label = benchmark if subject is None else f"{benchmark}/{subject}"
        for origin in origins(own):
            judged = judge(own, origin, family, label)
            rows["backtests"] += [_NO_ERRORS[row["sd"] is None] | names | row for row in rows_of(judged)]
            if subject is None:
                sums += [{"family": family, "benchmark": benchmark} | row for row in reliability(judged)]
        if targets:
            found = forecast_targets(own, targets, family=family, benchmark=label, draws=draws)
            rows["targets"] += target_rows(found, own, targets, names, metrics)
            if subject is None:
                rows["probabilities"] += _items(found, own, targets, names)
    rows["reliability"] = reliability_table(sums).to_dicts()
    rows["laws"], rows["means"] = laws_of(scores, family, benchmark)
    rows["subsets"], rows["members"] = item_subsets(scores, family, benchmark)
    return rows


#: What the columns of earlier errors hold before any are known, with draws (False) and without (True).
_NO_ERRORS = {
    False: {"interval": "draws", "inflation": 1.0, "num_inflation": 0},
    True: {"interval": "none", "inflation": None, "num_inflation": 0},
}


def _items(
    found: Forecasts, scores: Scores, targets: Sequence[Target], names: Mapping[str, Any]
) -> list[dict[str, Any]]:
    return item_rows(found.items, scores, targets, names) if found.items else []
