"""Published accuracies: the shipped values are sound, and planted agreements and disagreements are told apart."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from elusive import tables
from elusive.analysis.reference import published_items, read_published
from elusive.configuration.registry import load
from elusive.configuration.schema import SCHEMA
from elusive.errors import ElusiveError
from elusive.items.benchmarks import BENCHMARKS
from synthetic_run import PUBLISHED, Planted, make_planted_reference, make_run, planted_disagreements

HEADER = "model,checkpoint,benchmark,metric,value,standard_error,source\n"


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return planted_disagreements(tmp_path_factory.mktemp("planted"))


def _rows(path: Path) -> dict[tuple[str, str, str], dict]:
    found = tables.read_table(path, "reference").to_pylist()
    return {(row["model"], row["benchmark"], row["metric"]): row for row in found}


def test_shipped_values_are_accuracies_on_our_items() -> None:
    """Each Pythia value is a whole number of right answers over our number of items, with the error of that number."""
    published = read_published(PUBLISHED)
    pythia = [p for p in published.values() if p.model.startswith("pythia")]
    assert len(pythia) == 8 * 27 * 9 and len(published) - len(pythia) == 7 * 6
    given = 0
    with open(next(p for p in PUBLISHED if p.name == "pythia.csv"), encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row, p in zip(rows, pythia, strict=True):
        n = published_items(p.benchmark)
        assert p.value * n == pytest.approx(round(p.value * n), abs=1e-9), p
        assert p.standard_error == pytest.approx(math.sqrt(p.value * (1 - p.value) / (n - 1)), rel=1e-12), p
        given += row["standard_error"] != ""
    assert given == 8 * 27 * 5
    assert not [p for p in published.values() if p.benchmark == "mmlu"]
    assert all(len({q.source for q in published.values() if q.model == p.model}) == 1 for p in published.values())


def test_shipped_names_are_those_of_the_model_registry() -> None:
    """The built-in registry has every model that has published values, and every checkpoint of it by that name."""
    published = read_published(PUBLISHED)
    wanted = {
        p.model: sorted({q.checkpoint for q in published.values() if q.model == p.model}) for p in published.values()
    }
    config = yaml.safe_load((SCHEMA.parent.parent.parent / "config.yaml").read_text(encoding="utf-8"))
    config |= {
        "models": [{"name": model, "checkpoints": checkpoints} for model, checkpoints in wanted.items()],
        "families": [{"name": "all", "label": "All", "members": ["*/*"]}],
    }
    registry = load(config)
    assert {name: sorted(c.name for c in model.checkpoints) for name, model in registry.models.items()} == wanted
    assert all(model.source == "hub" for model in registry.models.values())


def test_planted_agreements_and_disagreements(planted: Path) -> None:
    rows = _rows(planted)
    statuses = {key: row["status"] for key, row in rows.items()}
    assert statuses == {
        ("pythia-70m", "arc_easy", "accuracy"): "agrees",
        ("pythia-70m", "arc_easy", "accuracy_norm"): "near",
        ("cerebras-gpt-111m", "arc_easy", "accuracy"): "differs",
        ("cerebras-gpt-256m", "arc_easy", "accuracy"): "agrees",
        ("pythia-70m", "sciq", "accuracy"): "not comparable",
        ("pythia-70m", "sciq", "accuracy_norm"): "not comparable",
    }
    exact = rows["pythia-70m", "arc_easy", "accuracy"]
    assert exact["difference"] == pytest.approx(0, abs=1e-15) and exact["z"] == pytest.approx(0, abs=1e-12)
    assert exact["measured_se"] == pytest.approx(exact["published_se"], rel=1e-12)
    near = rows["pythia-70m", "arc_easy", "accuracy_norm"]
    assert near["difference"] == pytest.approx(35 / 2376, rel=1e-12)
    assert near["z"] == pytest.approx(35 / 2376 / math.sqrt(832 / 2376 * 1544 / 2376 / 2375), rel=1e-9)
    differs = rows["cerebras-gpt-111m", "arc_easy", "accuracy"]
    assert differs["measured"] == pytest.approx(983 / 2376) and differs["z"] > 3
    split = rows["pythia-70m", "sciq", "accuracy"]
    assert split["z"] is None and split["difference"] == pytest.approx(0)
    assert split["note"] == "measured on the validation split, published on the test split"
    assert all(
        row["source"] and row["num_items_published"] == published_items(row["benchmark"]) for row in rows.values()
    )


def test_the_csv_holds_the_same(planted: Path) -> None:
    with open(planted.with_suffix(".csv"), encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    table = pq.read_table(planted).to_pylist()
    assert [list(row) for row in rows] == [tables.SCHEMAS["reference"].names] * len(table)
    assert [float(row["measured"]) for row in rows] == [row["measured"] for row in table]
    assert [row["z"] for row in rows] == ["" if row["z"] is None else repr(row["z"]) for row in table]


@pytest.mark.parametrize(("excess", "status"), [(7, "agrees"), (15, "near"), (23, "differs")])
def test_a_limit_makes_the_measured_items_a_sample(tmp_path: Path, excess: int, status: str) -> None:
    # Published on WinoGrande: 669 of 1,267. One standard error of an accuracy of 400 items is 10 items; of all 1,267
    # items it is 0.014, against which 7, 15 and 23 of 400 items would be 1.2, 2.7 and 4.1.
    correct = round(669 / 1267 * 400) + excess
    planted = [Planted("pythia-70m", "step143000", "winogrande", correct, correct)]
    items = {"winogrande": {"num_items": 400, "num_items_total": 1267, "split": "validation"}}
    (row,) = _rows(make_planted_reference(tmp_path, planted, items)).values()
    p = 669 / 1267
    assert row["z"] == pytest.approx((correct / 400 - p) / math.sqrt(p * (1 - p) / 1266 * 1267 / 400), rel=1e-9)
    assert (row["num_items"], row["num_items_published"], row["status"]) == (400, 1267, status)


@pytest.mark.parametrize(
    ("about", "trained", "note"),
    [
        ({"protocol": "lm-eval-0.4 5-shot"}, (), "asked as 'lm-eval-0.4 5-shot', published as zero-shot"),
        ({"protocol": "own templates", "split": None}, (), "asked as 'own templates', published as zero-shot"),
        ({}, ("pythia-70m",), "trained by this workflow"),
    ],
)
def test_what_only_looks_alike_is_not_compared(tmp_path: Path, about: dict, trained: tuple, note: str) -> None:
    items = {"piqa": {"num_items": 50, "num_items_total": 1838, "split": "validation"} | about}
    path = make_planted_reference(tmp_path, [Planted("pythia-70m", "step1", "piqa", 20, 20)], items, trained=trained)
    for row in _rows(path).values():
        assert (row["status"], row["z"], row["note"]) == ("not comparable", None, note)


def test_model_and_step_must_both_match(tmp_path: Path) -> None:
    planted = [Planted("pythia-70m", step, "piqa", 20, 20) for step in ("step1", "step2", "step5", "main")]
    planted += [Planted("pythia-70m-deduped", "step1", "piqa", 20, 20)]
    items = {"piqa": {"num_items": 50, "num_items_total": 1838, "split": "validation"}}
    table = tables.read_table(make_planted_reference(tmp_path, planted, items), "reference")
    assert set(zip(table["model"].to_pylist(), table["checkpoint"].to_pylist(), strict=True)) == {
        ("pythia-70m", "step1"),
        ("pythia-70m", "step2"),
    }


def test_without_a_published_value_the_table_is_empty_and_typed(tmp_path: Path) -> None:
    run = make_run(tmp_path, num_items=20, benchmarks=("arc_easy",))
    table = tables.read_table(run.table("reference"), "reference")
    assert table.num_rows == 0 and table.schema.names == tables.SCHEMAS["reference"].names
    header = run.table("reference").with_suffix(".csv").read_text(encoding="utf-8").splitlines()
    assert header == [",".join(table.schema.names)]


def test_two_runs_give_the_same_bytes(planted: Path, tmp_path: Path) -> None:
    assert planted_disagreements(tmp_path).read_bytes() == planted.read_bytes()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("m,c,arc_eazy,accuracy,0.5,,s", r"a\.csv, line 2: benchmark is 'arc_eazy', must be one of .*arc_easy"),
        ("m,c,arc_easy,acc,0.5,,s", r"line 2: metric is 'acc', must be one of accuracy, accuracy_norm"),
        ("m,c,arc_easy,accuracy,50,,s", r"line 2: value is '50', must be a number above 0 and below 1"),
        ("m,c,arc_easy,accuracy,nan,,s", r"value is 'nan'"),
        ("m,c,arc_easy,accuracy,0.5,0,s", r"standard_error is '0', must be a number above 0"),
        ("m,c,arc_easy,accuracy,0.5", r"line 2: needs 7 values"),
        ("m,c,arc_easy,accuracy,0.5,,s,more", r"line 2: needs 7 values"),
        ("m,c,arc_easy,accuracy,0.5,,s\nm,c,arc_easy,accuracy,0.6,,s", r"line 3: m c arc_easy accuracy already has"),
    ],
)
def test_bad_published_values_are_errors(tmp_path: Path, row: str, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{HEADER}{row}\n", encoding="utf-8")
    with pytest.raises(ElusiveError, match=message):
        read_published([path])


def test_other_columns_or_no_file_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with pytest.raises(ElusiveError, match=r"a\.csv: cannot read published accuracies"):
        read_published([path])
    path.write_text("model,value\n", encoding="utf-8")
    with pytest.raises(ElusiveError, match=r"has the columns \['model', 'value'\], must have"):
        read_published([path])


def test_every_benchmark_knows_how_many_items_are_published() -> None:
    assert all(published_items(name) > 1 for name in BENCHMARKS)
