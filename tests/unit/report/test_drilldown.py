"""Items to look at in the report: which are chosen, and that what is said of them is in the tables."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from scipy import stats

from elusive import tables
from elusive.errors import ElusiveError
from elusive.report.drilldown import LONGEST, question_and_choices, select, write_drilldown
from synthetic_run import SyntheticRun, drilldown_inputs, make_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRun:
    return make_run(tmp_path_factory.mktemp("run"), num_items=40, benchmarks=("mmlu", "sciq"))


def test_items_are_chosen_by_their_drop_and_ties_by_their_order() -> None:
    drop = np.array([0.5, np.nan, -1.0, 0.5, 0.9, 0.0, 0.5, 0.5, 0.5, 0.5, -0.2, 0.01, -1.0, 0.4])
    found = select(drop)
    assert found[:6] == [("largest", i) for i in (4, 0, 3, 6, 7, 8)]
    assert found[6:] == [("smallest", 2), ("smallest", 12), ("kept", 5), ("kept", 11)]
    assert select(np.array([np.nan, 0.1, np.nan])) == [("largest", 1)] and select(np.full(3, np.nan)) == []


def test_question_and_choices() -> None:
    assert question_and_choices(["Q?\nAnswer:"], [" a", " b"], 2) == ("Q?\nAnswer:", ["a", "b"])
    contexts = ["He saw that Mary", "He saw that Mark"]
    assert question_and_choices(contexts, [" left."], 2) == ("He saw that", ["Mary left.", "Mark left."])


def test_what_is_shown_is_in_the_tables(run: SyntheticRun) -> None:
    found = json.loads(run.drilldown("mmlu").read_text(encoding="utf-8"))
    correlations = pl.read_parquet(run.root / "correlations/ladder/mmlu.parquet").filter(method="spearman")
    wide = correlations.pivot("metric", index="item", values="correlation").with_columns(
        drop=pl.col("log_p_vocab_correct") - pl.col("p_choices_correct")
    )
    largest = wide.sort("drop", descending=True).head(6)
    shown = [entry for entry in found["items"] if entry["group"] == "largest"]
    assert [entry["drop"] for entry in shown] == [round(v, 4) for v in largest["drop"]]
    assert {entry["item"] for entry in shown} == set(largest["item"])
    assert len(found["items"]) == 10 and found["num_items"] == 40 and found["family"] == "ladder"
    assert len(found["models"]) == len(found["checkpoints"]) == len(found["flops"]) == 35
    assert found["flops"] == sorted(found["flops"])
    choices = pl.read_parquet(run.root / "choices/ladder/mmlu.parquet")
    items = pq.read_table(run.root / "items/mmlu.parquet").to_pylist()
    for entry in found["items"]:
        item = next(row for row in items if row["item"] == entry["item"])
        assert entry["subject"] == item["subject"] and entry["gold"] == item["gold"]
        assert entry["choices"] == [text.strip() for text in item["continuations"]]
        expected = choices.filter(item=entry["item"]).sort("choice")
        assert entry["spearman"] == [round(v, 4) for v in expected["spearman"]]
        matrix = np.array(entry["log_likelihood"])
        assert matrix.shape == (4, 35)
        np.testing.assert_allclose(matrix.mean(axis=1), expected["mean_log_likelihood"].to_numpy(), atol=1e-3)
        own = stats.spearmanr(np.log10(found["flops"]), matrix[entry["gold"]]).statistic
        assert entry["correlations"]["log_p_vocab_correct"] == pytest.approx(own, abs=0.02)


def test_same_inputs_give_the_same_bytes(run: SyntheticRun, tmp_path: Path) -> None:
    inputs = drilldown_inputs(run, "sciq")
    write_drilldown(**inputs | {"logprobs": inputs["logprobs"][::-1]}, output=tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == run.drilldown("sciq").read_bytes()


def test_a_long_question_keeps_its_end(run: SyntheticRun, tmp_path: Path) -> None:
    inputs = drilldown_inputs(run, "sciq")
    table = tables.read_table(inputs["items"], "items")
    contexts = [["passage " * 1000 + f"What of {i}?"] for i in range(len(table))]
    table = table.set_column(table.column_names.index("contexts"), table.schema.field("contexts"), [contexts])
    tables.write_table(table, tmp_path / "items.parquet", "items", tables.read_metadata(inputs["items"]))
    write_drilldown(**inputs | {"items": tmp_path / "items.parquet"}, output=tmp_path / "found.json")
    for entry in json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))["items"]:
        number = int(entry["item"].split("/")[1])
        assert entry["question"].endswith(f"passage What of {number}?")
        assert "characters left out] …" in entry["question"] and len(entry["question"]) < LONGEST + 50


def test_a_member_without_scores_is_an_error(run: SyntheticRun, tmp_path: Path) -> None:
    inputs = drilldown_inputs(run, "sciq")
    with pytest.raises(ElusiveError, match=r"no log-likelihoods of ladder-0/tokens-\d+ on 'sciq'"):
        write_drilldown(**inputs | {"logprobs": inputs["logprobs"][1:]}, output=tmp_path / "a.json")


def test_items_that_were_not_scored_are_not_shown(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", num_items=40, benchmarks=("sciq",))
    inputs = drilldown_inputs(run, "sciq")
    shown = {entry["item"] for entry in json.loads(run.drilldown("sciq").read_text(encoding="utf-8"))["items"]}
    lost = sorted(shown)[:2]
    path = inputs["logprobs"][3]
    table, metadata = tables.read_table(path, "logprobs"), tables.read_metadata(path)
    kept = table.filter(pc.invert(pc.is_in(table["item"], pa.array(lost))))
    tables.write_table(kept, path, "logprobs", metadata | {"dropped_items": lost})
    write_drilldown(**inputs, output=tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert not {entry["item"] for entry in found["items"]} & set(lost)
    assert found["num_items"] == 38
