"""Rows of benchmarks that the archive lacks: real ones, and made-up ones in the published schema."""

import json
from pathlib import Path

from elusive.items.sources import local_rows

DATA = Path(__file__).parent / "data"


def real(name):
    """Real rows in the hub's schema, where the label of MC-TACO is a number."""
    if name == "xwinograd_en":
        return [json.loads(line) for line in (DATA / "xwinograd_en.jsonl").read_text(encoding="utf-8").splitlines()]
    rows = local_rows(name, DATA / "mc_taco.tsv", "test").rows
    return [row | {"label": ["no", "yes"].index(row["label"])} for row in rows]


def mathqa_row(problem, options, correct, **fields):
    return {"Problem": problem, "Rationale": "", "options": options, "correct": correct, "category": "gain", **fields}


def race_row(article, problems):
    return {"article": article, "problems": repr(problems)}
