"""Instance results in the schema of Every Eval Ever: valid by its JSON schemas, and equal to our scores."""

from __future__ import annotations

import hashlib
import json
import uuid
from pathlib import Path

import jsonschema
import polars as pl
import pytest

from elusive.configuration.published import Published
from elusive.publish.every_eval_ever import SCHEMA_VERSION, export
from published_set import BENCHMARKS, published_run

pytestmark = pytest.mark.slow

SCHEMAS = Path(__file__).parents[1] / "data" / "every_eval_ever"


def validator(name):
    schema = json.loads((SCHEMAS / f"{name}.schema.json").read_text())
    assert schema["version"] == SCHEMA_VERSION
    kind = jsonschema.validators.validator_for(schema)
    kind.check_schema(schema)
    return kind(schema)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return published_run(tmp_path_factory.mktemp("run"), num_items=8)


@pytest.fixture(scope="module", params=["bare", "texts"])
def exported(request, made, tmp_path_factory):
    texts = list(BENCHMARKS) if request.param == "texts" else False
    directory = made.publish(tmp_path_factory.mktemp(request.param) / "publish", texts=texts)
    output = tmp_path_factory.mktemp("export") / "eee"
    lines = export(Published.open(str(directory)), output, timestamp=1_700_000_000)
    assert lines == 35 * 8 * 3
    return directory, output, bool(texts)


def test_every_file_is_valid_and_they_belong_together(exported):
    _, output, texts = exported
    aggregate, instance = validator("eval"), validator("instance_level_eval")
    logs = sorted(output.rglob("*.json"))
    assert len(logs) == 35
    for path in logs:
        log = json.loads(path.read_text())
        aggregate.validate(log)
        assert uuid.UUID(path.stem).version == 4
        details = log["detailed_evaluation_results"]
        samples = output / details["file_path"]
        assert samples == path.with_name(f"{path.stem}_samples.jsonl")
        assert hashlib.sha256(samples.read_bytes()).hexdigest() == details["checksum"]
        lines = [json.loads(line) for line in samples.read_text().splitlines()]
        assert len(lines) == details["total_rows"] == 24
        results = {result["evaluation_result_id"]: result for result in log["evaluation_results"]}
        for line in lines:
            instance.validate(line)
            assert (line["evaluation_id"], line["model_id"]) == (log["evaluation_id"], log["model_info"]["id"])
            assert line["evaluation_result_id"] in results
            assert ("sample_hash" in line) == texts
        for identifier, result in results.items():
            own = [line["evaluation"]["score"] for line in lines if line["evaluation_result_id"] == identifier]
            assert sum(own) / len(own) == result["score_details"]["score"]


def test_accuracies_are_ours(exported):
    directory, output, _ = exported
    ours = {
        (row["model"], row["checkpoint"], row["benchmark"]): row["accuracy"]
        for row in pl.read_parquet(directory / "data/scores.parquet").to_dicts()
    }
    found = {}
    for path in output.rglob("*.json"):
        log = json.loads(path.read_text())
        model, checkpoint = log["model_info"]["name"].split()
        for result in log["evaluation_results"]:
            found[model, checkpoint, result["evaluation_name"]] = result["score_details"]["score"]
    assert found == pytest.approx(ours)


def test_texts_where_they_are_published_and_digests_elsewhere(exported):
    directory, output, texts = exported
    path = next(iter(sorted(output.rglob("*_samples.jsonl"))))
    line = json.loads(path.read_text().splitlines()[0])
    items = pl.read_parquet(directory / "data/items.parquet").row(0, named=True)
    assert line["sample_id"] == items["item"]
    if texts:
        assert line["input"]["raw"] == "Question?" and line["input"]["choices"][2] == "choice 2 of item 0"
        content = {"raw": line["input"]["raw"], "reference": line["input"]["reference"]}
        expected = json.dumps(content, sort_keys=True, separators=(",", ":")).encode()
        assert line["sample_hash"] == hashlib.sha256(expected).hexdigest()
    else:
        assert line["input"]["raw"] == f"SHA-256 {items['prompt_sha256']}"
        assert line["input"]["choices"] == [f"choice {choice}" for choice in range(4)]
        assert "Question?" not in path.read_text()
    values = json.loads(line["metadata"]["log_likelihoods"])
    assert int(line["metadata"]["predicted"]) == values.index(max(values))
    assert line["evaluation"]["is_correct"] == (line["metadata"]["predicted"] == line["metadata"]["gold"])


def test_the_same_set_and_time_give_the_same_bytes(exported, tmp_path, monkeypatch):
    directory, output, _ = exported
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    export(Published.open(str(directory)), tmp_path / "again")
    for path in output.rglob("*"):
        if path.is_file():
            assert (tmp_path / "again" / path.relative_to(output)).read_bytes() == path.read_bytes()
