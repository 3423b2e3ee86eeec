"""What was run, and what the page rests on: the same for the same tables, with a record beside it of what is not."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from elusive import tables
from elusive.report import run
from report_tables import checkpoints


def test_provenance_lists_every_value_once() -> None:
    metadata = [{"dtype": "float32", "versions": {"torch": "2.13.0"}}] * 2 + [{"dtype": "bfloat16", "versions": {}}]
    rows = dict(run.provenance(metadata))
    assert rows["Precision of the weights"] == "float32, bfloat16"
    assert rows["Version of torch"] == "2.13.0, not recorded"
    assert rows["Checkpoints scored"] == "3" and "Seed" not in rows


def test_provenance_counts_imported_checkpoints_apart() -> None:
    scored, imported = {"dtype": "float32"}, {"importer": 3}
    rows = dict(run.provenance([scored, imported, imported]))
    assert rows["Checkpoints scored"] == "1" and rows["Checkpoints imported from logs"] == "2"
    assert "Checkpoints imported from logs" not in dict(run.provenance([scored]))
    rows = dict(run.provenance([imported] * 4))
    assert rows["Checkpoints imported from logs"] == "4" and "Checkpoints scored" not in rows


def test_provenance_of_bos() -> None:
    """Left to the tokenizer is recorded too."""
    rows = dict(run.provenance([{"add_bos_token": None}] * 3 + [{"add_bos_token": False}] * 2 + [{}]))
    assert rows["BOS token put first"] == "as the tokenizer does by itself, False, not recorded"


def test_provenance_has_configuration_seed_and_day() -> None:
    rows = dict(run.provenance([{}], {"seed": 7, "models": []}, "2026-11-26"))
    assert rows["Seed"] == "7" and rows["Newest score, day (UTC)"] == "2026-11-26"
    assert rows["Configuration (SHA-256)"] == run.config_digest({"models": [], "seed": 7}), "whatever the keys' order"
    assert rows["Configuration (SHA-256)"] != run.config_digest({"models": [], "seed": 8})
    contract = rf"{tables.SCHEMA_VERSION} \(columns [0-9a-f]{{12}}\)"
    assert re.fullmatch(contract, rows["Version of the tables' contract"])


def test_the_schemas_digest_follows_columns_and_not_their_descriptions(monkeypatch: pytest.MonkeyPatch) -> None:
    before = run.schema_digest()
    table = tables.data_dictionary()
    meaning = table.column_names.index("meaning")
    renamed = table.set_column(meaning, "meaning", [["other"] * len(table)])
    monkeypatch.setattr(tables, "data_dictionary", lambda: renamed)
    assert run.schema_digest() == before
    monkeypatch.setattr(tables, "data_dictionary", lambda: table.slice(1))
    assert run.schema_digest() != before


def test_the_commit_is_of_this_very_checkout(tmp_path: Path) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=A", "-c", "user.email=a@example.org"]
    assert run.workflow_commit(tmp_path) is None, "no repository"
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "a").write_text("1")
    subprocess.run([*git, "add", "a"], check=True)
    subprocess.run(
        [*git, "commit", "-qm", "First"], check=True, env=os.environ | {"GIT_COMMITTER_DATE": "2026-01-02T03:04:05"}
    )
    commit, date = run.workflow_commit(tmp_path)
    assert re.fullmatch(r"[0-9a-f]{40}", commit) and date == "2026-01-02"
    (tmp_path / "a").write_text("2")
    assert run.workflow_commit(tmp_path) == (f"{commit} + changes", date)
    (tmp_path / "inside").mkdir()
    assert run.workflow_commit(tmp_path / "inside") is None, "a copy inside of another repository"


def test_the_day_is_that_of_the_newest_file(tmp_path: Path) -> None:
    for name, time in {"a": 1_700_000_000, "b": 1_600_000_000}.items():
        (tmp_path / name).write_text("")
        os.utime(tmp_path / name, (time, time))
    assert run.newest([tmp_path / "a", tmp_path / "b"]) == "2023-11-14"


def test_the_record_has_what_differs_between_equal_runs(tmp_path: Path) -> None:
    folder = tmp_path / "benchmarks"
    (folder / "score").mkdir(parents=True)
    head = "s\th:m:s\tmax_rss\tcpu_time\n"
    (folder / "score/a.tsv").write_text(head + "10.5\t0:00:10\t300\t9.5\n")
    (folder / "score/b.tsv").write_text(head + "1.5\t0:00:01\t300\t-\n")
    (folder / "report.tsv").write_text(head + "2.0\t0:00:02\t300\t2.0\n")
    (folder / "broken.tsv").write_text("")
    run.write_record(tmp_path / "run.json", folder)
    found = json.loads((tmp_path / "run.json").read_text(encoding="utf-8"))
    assert found["jobs"]["score"] == {"jobs": 2, "seconds": 12.0, "cpu_seconds": 9.5}
    assert found["seconds_of_all_jobs"] == 14.0 and set(found["jobs"]) == {"score", "report"}
    assert found["machine"]["cores"] == os.cpu_count() and re.match(r"\d{4}-\d\d-\d\dT", found["written"])


def test_models_and_families() -> None:
    frame = checkpoints([3.0, 2.5, 2.0, 1.5, 1.2, 1.0]).assign(parameters_nonembedding=50)
    (model,) = run.model_rows(frame)
    assert model["checkpoints"] == "6" and model["loss"] == "3.00 to 1.00" and model["nonembedding"] == "50"
    frame.loc[0, "flops"] = 0.0
    members = {"all": [["m", f"c{i}"] for i in range(6)], "none": [["m", "c0"]]}
    found = run.family_rows(frame, {"all": "All", "none": "None with compute"}, members)
    assert found[0]["checkpoints"] == "5" and found[0]["decades"] == "1.2"
    assert found[1]["checkpoints"] == "0" and found[1]["flops"] == "–"
    assert run.spread(pd.Series([2.0, 2.0]), str) == "2.0"
