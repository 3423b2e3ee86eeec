"""Items to look at in the report: which are chosen, and that what is said of them is in the tables."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from elusive import tables
from elusive.errors import ElusiveError
from elusive.report.drilldown import (
    LONGEST,
    NOT_KNOWN,
    cards_in_order,
    chance_threshold,
    question_and_choices,
    select,
    write_drilldown,
)
from elusive.report.titles import title
from synthetic_run import SyntheticRun, drilldown_inputs, make_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(shared_run: Callable[..., SyntheticRun]) -> SyntheticRun:
    return shared_run(40, ("mmlu", "sciq"))


def test_items_are_chosen_by_their_drop_and_ties_by_their_order() -> None:
    drop = np.array([0.5, np.nan, -1.0, 0.5, 0.9, 0.0, 0.5, 0.5, 0.5, 0.5, -0.2, 0.01, -1.0, 0.4])
    found = select(drop)
    assert found[:6] == [("largest", i) for i in (4, 0, 3, 6, 7, 8)]
    assert found[6:] == [("smallest", 2), ("smallest", 12), ("kept", 5), ("kept", 11)]
    assert select(np.array([np.nan, 0.1, np.nan])) == [("largest", 1)] and select(np.full(3, np.nan)) == []


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=60), st.integers(1, 60))
def test_the_first_cards_are_each_familys_and_the_rest_is_spread(drops: list[float], count: int) -> None:
    first, second = np.array(drops), np.array(drops[::-1])
    order, own = cards_in_order([first, second], len(drops))
    assert sorted(order) == list(range(len(drops))) and own == len(select(first))
    assert order[:own] == [position for _, position in select(first)]
    assert {position for _, position in select(second)} <= set(order[: own + len(select(second))])
    rest = order[len({*(p for _, p in select(first)), *(p for _, p in select(second))}) :]
    taken = sorted(rest[:count])
    # However many are taken, no gap is more than four times as long as it had to be.
    places = [sorted(rest).index(position) for position in taken]
    gaps = np.diff([-1, *places, len(rest)])
    assert gaps.max() <= 4 * max(len(rest) / (len(taken) + 1), 1)


def test_chance_is_the_exact_quantile() -> None:
    flops = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    threshold = chance_threshold(flops)
    every = np.array([stats.spearmanr(range(6), order).statistic for order in itertools.permutations(range(6))])
    assert (every > threshold + 1e-9).mean() <= 0.025 < (every > threshold - 1e-9).mean()
    assert chance_threshold([1.0, 2.0]) == 1.0 and chance_threshold([1.0, 1.0, 1.0]) == 1.0


def test_question_and_choices() -> None:
    assert question_and_choices(["Q?\nAnswer:"], [" a", " b"], 2) == ("Q?\nAnswer:", ["a", "b"])
    contexts = ["He saw that Mary", "He saw that Mark"]
    assert question_and_choices(contexts, [" left."], 2) == ("He saw that", ["Mary left.", "Mark left."])


def test_every_item_has_its_two_correlations(run: SyntheticRun) -> None:
    found = json.loads(run.drilldown("mmlu").read_text(encoding="utf-8"))
    assert list(found["families"]) == list(run.families)
    for family, own in found["families"].items():
        table = pl.read_parquet(run.root / f"correlations/{family}/mmlu.parquet").filter(method="spearman")
        for key, metric in {"before": "log_p_vocab_correct", "after": "p_choices_correct"}.items():
            expected = dict(table.filter(metric=metric).select("item", "correlation").iter_rows())
            assert own[key] == [None if expected[i] is None else round(expected[i], 4) for i in found["items"]]
        assert own["num_items"] == sum(
            a is not None and b is not None for a, b in zip(own["before"], own["after"], strict=True)
        )
        members = [found["checkpoints"][place] for place in own["checkpoints"]]
        assert {(m["model"], m["checkpoint"]) for m in members} == {tuple(m) for m in run.members()[family]}
        assert [m["flops"] for m in members] == sorted(m["flops"] for m in members)


def test_what_a_card_shows_is_in_the_tables(run: SyntheticRun) -> None:
    found = json.loads(run.drilldown("mmlu").read_text(encoding="utf-8"))
    assert len(found["cards"]) == len(found["items"]) == 40
    items = pq.read_table(run.root / "items/mmlu.parquet").to_pylist()
    for family, own in found["families"].items():
        single = pl.read_parquet(run.root / f"choices/{family}/mmlu.parquet")
        flops = [found["checkpoints"][place]["flops"] for place in own["checkpoints"]]
        for card in found["cards"]:
            item = items[card["at"]]
            assert found["items"][card["at"]] == item["item"]
            assert card["subject"] == item["subject"] and card["gold"] == item["gold"]
            assert card["choices"] == [text.strip() for text in item["continuations"]]
            of = card["families"][family]
            expected = single.filter(item=item["item"]).sort("choice")
            assert of["spearman"] == [round(v, 4) for v in expected["spearman"]]
            matrix = np.array(card["log_likelihood"])
            assert matrix.shape == (4, 35)
            members = matrix[:, own["checkpoints"]]
            np.testing.assert_allclose(members.mean(axis=1), expected["mean_log_likelihood"].to_numpy(), atol=5.1e-3)
            assert of["correlations"]["log_p_vocab_correct"] == own["before"][card["at"]]
            slopes = np.polyfit(np.log10(flops), members.T, 1)[0]
            share = np.nan if own["after"][card["at"]] is None else own["after"][card["at"]]
            assert of["title"] == title(
                np.array(of["spearman"]), slopes, share, own["threshold"], card["gold"], card["choices"]
            )
    groups = [card["families"]["ladder"]["group"] for card in found["cards"]]
    assert groups[:10] == ["largest"] * 6 + ["smallest"] * 2 + ["kept"] * 2 and set(groups[10:]) == {None}


def test_cards_hold_no_more_than_is_asked_for(run: SyntheticRun, tmp_path: Path) -> None:
    def cards(values: int) -> list[int]:
        write_drilldown(**drilldown_inputs(run, "sciq"), output=tmp_path / "a.json", values=values)
        return [card["at"] for card in json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["cards"]]

    every = cards(10**6)
    assert len(every) == 40 and cards(25 * 4 * 35) == every[:25]
    assert cards(0) == every[:10], "the first family's own are always there"


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
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    for card in found["cards"]:
        number = int(found["items"][card["at"]].split("/")[1])
        assert card["question"].endswith(f"passage What of {number}?")
        assert "characters left out] …" in card["question"] and len(card["question"]) < LONGEST + 50


def test_a_member_without_scores_is_an_error(run: SyntheticRun, tmp_path: Path) -> None:
    inputs = drilldown_inputs(run, "sciq")
    with pytest.raises(ElusiveError, match=r"family 'ladder': no log-likelihoods of ladder-0/tokens-\d+ on 'sciq'"):
        write_drilldown(**inputs | {"logprobs": inputs["logprobs"][1:]}, output=tmp_path / "a.json")


def test_correlations_without_a_metric_are_an_error(run: SyntheticRun, tmp_path: Path) -> None:
    inputs = drilldown_inputs(run, "sciq")
    path = inputs["correlations"]["ladder"]
    table = tables.read_table(path, "correlations")
    kept = table.filter(pl.from_arrow(table)["metric"].ne("brier").to_arrow())
    tables.write_table(kept, tmp_path / "fewer.parquet", "correlations", tables.read_metadata(path))
    correlations = inputs["correlations"] | {"ladder": tmp_path / "fewer.parquet"}
    with pytest.raises(ElusiveError, match=r"fewer\.parquet: has no rows for metric 'brier' by method 'spearman'"):
        write_drilldown(**inputs | {"correlations": correlations}, output=tmp_path / "a.json")


def test_items_that_were_not_scored_are_not_shown(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", num_items=40, benchmarks=("sciq",))
    inputs = drilldown_inputs(run, "sciq")
    before = json.loads(run.drilldown("sciq").read_text(encoding="utf-8"))
    lost = sorted(before["items"][card["at"]] for card in before["cards"])[:2]
    path = inputs["logprobs"][3]
    table, metadata = tables.read_table(path, "logprobs"), tables.read_metadata(path)
    kept = table.filter(pc.invert(pc.is_in(table["item"], pa.array(lost))))
    tables.write_table(kept, path, "logprobs", metadata | {"dropped_items": lost})
    write_drilldown(**inputs, output=tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert found["items"] == [item for item in before["items"] if item not in lost]
    assert all(family["num_items"] <= 38 for family in found["families"].values())
    kept = {before["items"][card["at"]]: card["question"] for card in before["cards"]}
    assert all(card["question"] == kept[found["items"][card["at"]]] for card in found["cards"])


def test_items_whose_text_is_not_known_are_shown_by_their_numbers(run: SyntheticRun, tmp_path: Path) -> None:
    inputs = drilldown_inputs(run, "sciq")
    table = tables.read_table(inputs["items"], "items")
    for name in ("contexts", "continuations"):
        place = table.column_names.index(name)
        empty = pa.nulls(len(table), tables.SCHEMAS["items"].field(name).type)
        table = table.set_column(place, tables.SCHEMAS["items"].field(name), empty)
    tables.write_table(table, tmp_path / "items.parquet", "items", tables.read_metadata(inputs["items"]))
    write_drilldown(**inputs | {"items": tmp_path / "items.parquet", "label": "Mine"}, output=tmp_path / "out.json")
    found = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert found["label"] == "Mine"
    assert {card["question"] for card in found["cards"]} == {NOT_KNOWN}
    assert found["cards"][0]["choices"] == ["choice 1", "choice 2", "choice 3", "choice 4"]
