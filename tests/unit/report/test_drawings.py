"""What the page draws without scripts, and says of it: arrows point where scores go, numbers are the item's."""

from __future__ import annotations

import json
import re

import numpy as np
import pyarrow.parquet as pq
import pytest

from elusive.figures.data import read_benchmark
from elusive.figures.states import CHANCE, FOLLOWS
from elusive.report.curves import chance_curves
from elusive.report.drawings import (
    Drawings,
    _power,
    arrow_axis,
    arrow_range,
    arrow_rows,
    arrow_zero,
    letter,
    shares,
    wrong_class,
)
from elusive.report.headline import make_strip
from elusive.report.svg import nice_ticks, power_ticks
from report_tables import strip
from synthetic_run import SyntheticRun, make_run

BENCHMARKS = ("arc_easy", "sciq")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRun:
    return make_run(tmp_path_factory.mktemp("run"), num_items=60, benchmarks=BENCHMARKS)


@pytest.fixture(scope="module")
def drawn(run: SyntheticRun) -> Drawings:
    names = ("headline", "checkpoints", "ceiling", "means", "null_curves")
    frames = {name: pq.read_table(run.table(name)).to_pandas() for name in names}
    benchmarks = [read_benchmark(path) for path in run.items()]
    found = make_strip(frames, benchmarks, "ladder", run.families["ladder"], run.members()["ladder"])
    runs = [json.loads(run.drilldown(b).read_text(encoding="utf-8")) for b in BENCHMARKS]
    return Drawings(found, benchmarks, runs, frames["means"], chance_curves(frames["null_curves"], "ladder"))


def test_arrows_point_from_score_to_score() -> None:
    levels = [(0.6, FOLLOWS), (0.2, FOLLOWS), (0.1, FOLLOWS), (0.4, CHANCE)]
    (row,) = arrow_rows(strip({"A": levels}))
    lines = re.findall(r'<line class="line (c\d)" x1="([\d.]+)%" x2="([\d.]+)%"', row["svg"])
    # The axis is from −0.2 to 1.
    places = {colour: (float(start), float(end)) for colour, start, end in lines}
    assert places["c2"] == pytest.approx((0.8 / 1.2 * 100, 0.4 / 1.2 * 100), abs=0.01)
    assert places["c4"] == pytest.approx((0.4 / 1.2 * 100, 0.6 / 1.2 * 100), abs=0.01)
    heads = re.findall(r'class="dot (c\d)" d="M(-?\d+),5l(-?\d+)', row["svg"])
    assert heads == [("c2", "4", "7"), ("c4", "-4", "-7")], "a loss points to the left, a gain to the right"
    assert "log p_vocab 0.60, p_choices 0.20, accuracy 0.40" in row["svg"]


def test_the_axis_of_arrows_goes_down_to_the_lowest_mean() -> None:
    shown = strip({"A": [(-0.64, FOLLOWS), (0.2, FOLLOWS), (-0.9, FOLLOWS), (0.4, CHANCE)]})
    axis = arrow_range([shown])
    assert axis == (-0.75, 1.0) and arrow_zero(axis) == "42.857%"
    (row,) = arrow_rows(shown, axis)
    start = float(re.search(r'class="line c2" x1="([\d.]+)%"', row["svg"])[1])
    assert start == pytest.approx(0.11 / 1.75 * 100, abs=0.01)
    texts = re.findall(r'x="([\d.]+)%"[^>]*>([^<]+)', arrow_axis(axis))
    assert [text for _, text in texts] == ["−0.5", "0", "0.5", "1"] and texts[1][0] == "42.86"
    higher = arrow_range([strip({"A": [(0.6, FOLLOWS), (-0.1, FOLLOWS), (-0.9, FOLLOWS), (None, CHANCE)]})])
    assert higher == (-0.2, 1.0) and arrow_zero(higher) == "16.667%"


def test_a_step_that_changes_nothing_has_no_arrow() -> None:
    (row,) = arrow_rows(strip({"A": [(0.6, FOLLOWS), (0.2, FOLLOWS), (0.2, FOLLOWS), (0.2, FOLLOWS)]}))
    assert row["svg"].count('class="dot c4" d=') == 0 and row["svg"].count("<circle") == 3


def test_an_unknown_mean_has_no_arrow() -> None:
    (row,) = arrow_rows(strip({"A": [(0.6, FOLLOWS), (0.2, FOLLOWS), (0.2, FOLLOWS), (None, CHANCE)]}))
    assert "<svg" not in row["svg"]


def test_the_example_is_the_item_that_loses_most(drawn: Drawings, run: SyntheticRun) -> None:
    drops = {}
    for benchmark in BENCHMARKS:
        found = json.loads(run.drilldown(benchmark).read_text(encoding="utf-8"))["families"]["ladder"]
        drops[benchmark] = np.array(found["before"], float) - np.array(found["after"], float)
    best = max(BENCHMARKS, key=lambda name: np.nanmax(drops[name]))
    assert drawn.example["benchmark"] == best and drawn.card["at"] == int(np.nanargmax(drops[best]))


def test_long_items_and_letters_are_no_examples(drawn: Drawings, run: SyntheticRun) -> None:
    runs = [json.loads(json.dumps(drawn.runs[name])) for name in BENCHMARKS]
    place = BENCHMARKS.index(drawn.example["benchmark"])
    for card in runs[place]["cards"]:
        card["choices"] = list("ABCD")
    other = Drawings(drawn.strip, drawn.benchmarks, runs, drawn.means, drawn.chance)
    assert other.example["benchmark"] == BENCHMARKS[1 - place]
    for card in runs[1 - place]["cards"]:
        card["question"] = "long " * 200
    none = Drawings(drawn.strip, drawn.benchmarks, runs, drawn.means, drawn.chance)
    assert none.example["benchmark"] == none.line.benchmark.name and none.card is none.example["cards"][0]


def test_the_chain_holds_the_items_numbers(drawn: Drawings) -> None:
    found = drawn.chain_item()
    place = drawn.example["families"]["ladder"]["checkpoints"][-1]
    flops = [c["flops"] for c in drawn.example["checkpoints"]]
    assert flops[place] == max(flops)
    values = np.array([column[place] for column in drawn.card["log_likelihood"]])
    mass = np.exp(values - values.max())
    expected = mass / mass.sum()
    gold = drawn.card["gold"]
    assert [choice["share"] for choice in found["choices"]] == pytest.approx(list(expected))
    assert [choice["right"] for choice in found["choices"]] == [k == gold for k in range(4)]
    brier = float((((np.arange(4) == gold) - expected) ** 2).mean())
    assert float(found["brier"].replace("−", "-")) == pytest.approx(-brier, abs=0.0051)
    assert found["accuracy"] == str(int(values.argmax() == gold)) and found["likeliest"] == letter(int(values.argmax()))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.log(0.25), "0.250"),
        (0.0, "1.000"),
        (-50.0, "1.9 × 10⁻²²"),
        (-1050.5, "5.9 × 10⁻⁴⁵⁷"),
        (np.log(9.96e-9), "1.0 × 10⁻⁸"),
    ],
)
def test_probabilities_below_what_a_float_holds(value: float, text: str) -> None:
    assert _power(value) == text


def test_how_to_read_says_a_share_of_the_table(drawn: Drawings, run: SyntheticRun) -> None:
    text = drawn.how_to_read()
    c = float(re.search(r"at c = (\S+) the", text)[1].replace("−", "-"))
    share = int(re.search(r"about (\d+) % of the items", text)[1])
    path = run.root / f"correlations/ladder/{drawn.line.benchmark.name}.parquet"
    table = pq.read_table(path).to_pandas()
    own = table[(table["method"] == "spearman") & (table["metric"] == "log_p_vocab_correct")]["correlation"].dropna()
    assert share == pytest.approx(100 * float((own > c).mean()), abs=1.1) and drawn.line.benchmark.label in text


def test_shares_and_colours_of_choices() -> None:
    assert shares([-1000.0, -1000.0]).tolist() == [0.5, 0.5]
    assert [wrong_class(k, 1) for k in range(4)] == ["wrong0", "right", "wrong1", "wrong2"]


def test_ticks() -> None:
    assert nice_ticks(0.0, 1.0) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0] and nice_ticks(-61.0, -39.0) == [
        -60,
        -55,
        -50,
        -45,
        -40,
    ]
    assert nice_ticks(2.0, 2.0) == [2.0]
    assert power_ticks(10.9, 13.1) == [(11.0, "10¹¹"), (12.0, "10¹²"), (13.0, "10¹³")]
    assert [text for _, text in power_ticks(12.1, 12.9)] == ["2·10¹²", "5·10¹²"]
    assert len(power_ticks(0.0, 30.0)) <= 7
