"""Figures of forecasts: what is drawn is what the tables say, captions state real numbers, and few checkpoints do."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image

from elusive.figures import (
    forecast_coverage,
    forecast_errors,
    forecast_fan,
    forecast_laws,
    forecast_reliability,
    forecast_skill,
    forecast_turns,
)
from elusive.figures.accuracy import few_breaks
from elusive.figures.data import Benchmark, read_benchmark
from elusive.figures.forecasts import OVERALL, PER_BENCHMARK, write_forecast_benchmark, write_forecast_overview
from elusive.files import sha256_file
from elusive.forecast.names import LABELS
from elusive.tables import read_table

BENCHMARKS = ("arc_easy", "sciq")


@pytest.fixture(scope="module")
def run(shared_run):
    return shared_run(40, BENCHMARKS, forecasts=True)


@pytest.fixture(scope="module")
def drawn(run, tmp_path_factory):
    """The files of every figure."""
    return draw(run, tmp_path_factory.mktemp("figures"))


def frame(run, name):
    return read_table(run.table(name), name).to_pandas()


def files(folder, kinds):
    suffixes = {"png": "png", "pdf": "pdf", "caption": "txt", "data": "csv"}
    return {kind: {key: folder / f"{kind}.{suffix}" for key, suffix in suffixes.items()} for kind in kinds}


def draw(run, folder, family="ladder", benchmark="sciq"):
    single, overall = files(folder, PER_BENCHMARK), files(folder, OVERALL)
    write_forecast_benchmark(
        means=run.table("means"),
        backtests=run.table("backtests"),
        forecasts=run.table("forecasts"),
        laws=run.table("choice_laws"),
        law_means=run.table("choice_means"),
        probabilities=run.root / f"forecast_items/{family}/{benchmark}.parquet",
        items=run.root / f"items/{benchmark}.parquet",
        family=family,
        label=run.families[family],
        members=run.members()[family],
        outputs=single,
    )
    write_forecast_overview(
        summary=run.table("backtest_summary"),
        coverage=run.table("backtest_coverage"),
        reliability=run.table("forecast_reliability"),
        laws=run.table("choice_laws"),
        items=run.items(),
        families={family: run.families[family]},
        outputs=overall,
    )
    return single | overall


@pytest.mark.slow
def test_files_are_sound_and_the_same_twice(run, drawn, tmp_path):
    second = draw(run, tmp_path)
    for kind, paths in drawn.items():
        for name, path in paths.items():
            assert sha256_file(path) == sha256_file(second[kind][name]), (kind, name)
        with Image.open(paths["png"]) as image:
            image.verify()
            assert 3.3 <= image.width / image.info["dpi"][0] <= 7.05
        caption = paths["caption"].read_text()
        assert "What to see: " in caption, kind
        assert len(pl.read_csv(paths["data"])) > 0


def test_captions_of_forecasts_say_that_jumps_are_not_covered(drawn):
    for kind, paths in drawn.items():
        caption = paths["caption"].read_text()
        assert kind == "forecast_laws" or re.search(r"[Jj]umps? from chance", caption), kind


def test_the_fan_is_of_the_backtests(run):
    means = frame(run, "means").query("metric == 'accuracy' and benchmark == 'sciq'")
    judged = frame(run, "backtests").query(
        "family == 'ladder' and benchmark == 'sciq' and protocol == 'R' and metric == 'accuracy' and method == 'km'"
    )
    asked = frame(run, "forecasts").query(
        "family == 'ladder' and benchmark == 'sciq' and metric == 'accuracy' and method == 'km'"
    )
    drawn = forecast_fan.tidy(means, judged, asked)
    last = judged[judged["origin"] == judged["origin"].max()]
    panel = drawn["panel"].cat.categories[-2]
    own = drawn[drawn["panel"] == panel]
    assert sorted(own.loc[own["kind"] == "came later", "value"]) == pytest.approx(sorted(last["observed"]))
    assert sorted(own.loc[own["kind"] == "forecast", "value"]) == pytest.approx(sorted(last["forecast"]))
    seen = means[means["flops"] <= 10 ** last["origin"].iloc[0] * (1 + 1e-9)]
    assert (own["kind"] == "learnt from").sum() == len(seen) == last["num_models"].iloc[0]
    caption = forecast_fan.caption_text(
        means, judged, asked, read_benchmark(run.root / "items/sciq.parquet"), {"ladder": "Ladder (all)"}
    )
    assert f"“Twice both” {asked['forecast'].iloc[0]:.3f}" in caption


def test_errors_are_those_of_the_summary(run):
    summary = frame(run, "backtest_summary")
    drawn = forecast_errors.tidy(summary, {"ladder": "Ladder (all)"})
    row = summary.query(
        "family == 'ladder' and benchmark.isna() and protocol == 'R' and bin == 'x3' and metric == 'accuracy' "
        "and method == 'km'"
    ).iloc[0]
    own = drawn[(drawn["bin"] == "x3") & (drawn["method"] == LABELS["km"])].iloc[0]
    assert own["error"] == pytest.approx(100 * row["mae"])
    assert own["high"] == pytest.approx(100 * (row["mae"] + row["minus_last_high"] - row["minus_last"]))
    assert f"at x3 kriging of margins {100 * row['mae']:.1f}" in forecast_errors.caption_text(
        summary, {"ladder": "Ladder (all)"}
    )


def test_every_method_has_a_look_of_its_own_and_the_last_value_is_boldest():
    looks = forecast_errors.METHODS
    assert len(set(looks.values())) == len(looks)
    assert {"power_error", "power_loss"} <= set(looks) <= set(LABELS)
    assert all(
        width < forecast_errors.WIDTHS["last"] for name, width in forecast_errors.WIDTHS.items() if name != "last"
    )


@pytest.mark.parametrize("limits", [(0.07, 0.93), (0.0, 1.0), (0.2, 0.31), (0.24, 0.26), (0.48, 0.52)])
def test_an_axis_of_shares_has_several_breaks_that_are_what_they_say(limits):
    breaks = few_breaks(limits)
    assert 2 <= len(breaks) <= 4 and limits[0] <= breaks[0] and breaks[-1] <= limits[1]
    assert [float(text) for text in forecast_fan.break_labels(breaks)] == breaks


def test_only_what_is_asked_for_is_drawn(run, tmp_path):
    asked = files(tmp_path, ["forecast_coverage"])
    write_forecast_overview(
        summary=run.table("backtest_summary"),
        coverage=run.table("backtest_coverage"),
        reliability=run.table("forecast_reliability"),
        laws=run.table("choice_laws"),
        items=run.items(),
        families={"ladder": "Ladder (all)"},
        outputs=asked,
    )
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in asked["forecast_coverage"].values()}


def test_coverage_is_that_of_the_table(run):
    covered = frame(run, "backtest_coverage")
    drawn = forecast_coverage.tidy(covered, "ladder")
    row = covered.query(
        "family == 'ladder' and protocol == 'R' and method == 'km' and metric == 'brier' and level == 0.8 "
        "and bin == 'x3' and group != 'all'"
    ).iloc[0]
    own = drawn[
        (drawn["bin"] == "x3")
        & (drawn["metric"] == "Brier score")
        & (drawn["level"] == 0.8)
        & (drawn["group"] == forecast_coverage.GROUPS[row["group"]])
    ].set_index("kind")
    assert own.loc["as drawn", "value"] == row["coverage"]
    assert own.loc["widened", "value"] == row["coverage_inflated"]


def test_skills_are_sorted_by_movement(run):
    summary, laws = frame(run, "backtest_summary"), frame(run, "choice_laws")
    benchmarks = [read_benchmark(path) for path in run.items()]
    drawn = forecast_skill.tidy(summary, laws, benchmarks, "ladder")
    movement = laws.query("family == 'ladder' and quantity == 'margin'").sort_values("movement")
    expected = [f"({value:.3g})" for value in movement["movement"]]
    assert [label.split(" ")[-1] for label in drawn["row"].cat.categories[1:]] == expected
    caption = forecast_skill.caption_text(summary, laws, benchmarks, "ladder", run.families)
    assert "2 clusters" in caption


def test_a_benchmark_whose_last_value_had_no_error_is_drawn_and_counted(run):
    summary, laws = frame(run, "backtest_summary"), frame(run, "choice_laws")
    benchmarks = [read_benchmark(path) for path in run.items()]
    name = benchmarks[0].name
    own = (summary["benchmark"] == name) & summary["subject"].isna() & (summary["metric"] == "accuracy")
    for error, skill in ((0.02, -1.0), (0.0, 0.0)):
        changed = summary.assign(
            skill=summary["skill"].mask(own), mae=summary["mae"].mask(own & (summary["method"] == "km"), error)
        )
        drawn = forecast_skill.tidy(changed, laws, benchmarks, "ladder").query("method == 'kriging of margins'")
        rows = drawn[drawn["row"].str.startswith(benchmarks[0].label)]
        assert len(rows) and (rows["skill"] == skill).all()
        caption = forecast_skill.caption_text(changed, laws, benchmarks, "ladder", run.families)
        assert f" of {len(benchmarks)}, over all" in caption and f" of {len(benchmarks) - 1}, over all" not in caption


def test_a_forecast_without_intervals_is_said_to_be_in_none():
    benchmark = Benchmark("a", "A", "test", None, 3, 3, 0.5, ((2, 3),))
    rows = pd.DataFrame({"origin": [10.0] * 2, "horizon": 0.3, "observed": 0.5, "forecast": 0.5, "inflation": np.nan})
    rows = rows.assign(**dict.fromkeys(("low50", "high50", "low80", "high80"), np.nan), num_models=3)
    means = pd.DataFrame({"flops": [1e10], "mean": [0.5]})
    caption = forecast_fan.caption_text(means, rows, pd.DataFrame(), benchmark, {"f": "Fam"})
    assert "lay within" not in caption and "the furthest came to 0.500 where 0.500 was forecast" in caption
    assert "“Fam”, 1 checkpoint." in caption


def test_item_scores_are_means_over_benchmarks(run):
    reliable = frame(run, "forecast_reliability")
    found = forecast_reliability.scores(reliable, "ladder", "S")
    own = reliable.query("family == 'ladder' and protocol == 'S' and method == 'last'")
    expected = [
        (part["brier"] * part["num_items"]).sum() / part["num_items"].sum() for _, part in own.groupby("benchmark")
    ]
    assert found["last"] == pytest.approx(sum(expected) / 2)


def test_the_likeliest_turns_are_drawn(run):
    items = read_table(run.root / "forecast_items/ladder/sciq.parquet", "forecast_items").to_pandas()
    drawn = forecast_turns.tidy(items)
    wrong = items[items["last_accuracy"] == 0].sort_values("p_right", ascending=False)
    own = drawn[drawn["kind"] == forecast_turns.TO_RIGHT]
    assert own["turn"].tolist() == wrong["p_right"].head(forecast_turns.MOST).tolist()
    caption = forecast_turns.caption_text(items, read_benchmark(run.root / "items/sciq.parquet"), {"ladder": "L"})
    assert f"of {len(wrong)} wrong items {wrong['p_right'].sum():.0f} are expected to turn right" in caption


def test_the_caption_of_flips_is_true():
    about = pd.DataFrame({"last_accuracy": [0, 0, 1, 1], "target": "t", "flops": 1e20})
    benchmark = read_none()
    even = forecast_turns.caption_text(about.assign(p_right=[0.5, 0.5, 0.5, 0.5]), benchmark, {"f": "F"})
    assert "as flips do" in even
    rising = forecast_turns.caption_text(about.assign(p_right=[0.9, 0.9, 0.9, 0.9]), benchmark, {"f": "F"})
    assert "as flips do" not in rising


def read_none():
    from elusive.figures.data import Benchmark

    return Benchmark("b", "B", "test", None, 4, 4, 0.25)


def test_the_caption_of_a_law_says_whether_there_is_movement(run):
    means, laws = frame(run, "choice_means"), frame(run, "choice_laws")
    means = means.query("family == 'ladder' and benchmark == 'sciq'")
    own = laws.query("family == 'ladder' and benchmark == 'sciq'")
    about = (read_benchmark(run.root / "items/sciq.parquet"), {"ladder": "Ladder"})
    moving = own.assign(movement=own["movement"].where(own["quantity"] != "margin", 50.0))
    still = own.assign(movement=own["movement"].where(own["quantity"] != "margin", 2.0))
    assert "would give: a common movement" in forecast_laws.caption_text(means, moving, *about)
    assert "would give: no common movement" in forecast_laws.caption_text(means, still, *about)


def test_too_few_checkpoints_are_drawn_and_said(run, tmp_path):
    """Two checkpoints of a family have no law and no backtest: every figure is there, and says so."""
    from elusive.forecast.cells import PARTS, write_cells
    from elusive.forecast.gather import TABLES, write_forecasts
    from synthetic_run import SIZES, STEPS, Target

    few = run.members()["ladder-sizes"][:2]
    means = read_table(run.table("means"), "means").to_pandas()
    described = [
        row
        for row in means[["model", "checkpoint", "parameters", "tokens", "flops"]].drop_duplicates().to_dict("records")
        if [row["model"], row["checkpoint"]] in few
    ]

    def file(part):
        return tmp_path / (f"forecast_items/ladder/{part}.parquet" if part == "probabilities" else f"{part}.parquet")

    write_cells(
        logprobs=[run.root / f"logprobs/{m}/{c}/sciq.parquet" for m, c in few],
        items=run.root / "items/sciq.parquet",
        families={"ladder": described},
        groups={},
        benchmark="sciq",
        targets=[Target("ladder", 2 * SIZES[-1], 2 * STEPS[-1], "Twice both")],
        metrics=["accuracy"],
        draws=50,
        subjects=False,
        outputs={"ladder": {part: file(part) for part in PARTS}},
        decisions=tmp_path / "decisions.parquet",
    )
    write_forecasts(
        parts={part: [file(part)] for part in PARTS if part != "probabilities"},
        outputs={f"{n}_{s}": tmp_path / f"tables/{n}.{s}" for n in TABLES for s in ("parquet", "csv")},
    )
    (tmp_path / "tables/means.parquet").write_bytes(run.table("means").read_bytes())
    outputs = files(tmp_path / "figures", (*PER_BENCHMARK, *OVERALL))
    write_forecast_benchmark(
        means=tmp_path / "tables/means.parquet",
        backtests=tmp_path / "tables/backtests.parquet",
        forecasts=tmp_path / "tables/forecasts.parquet",
        laws=tmp_path / "tables/choice_laws.parquet",
        law_means=tmp_path / "tables/choice_means.parquet",
        probabilities=file("probabilities"),
        items=run.root / "items/sciq.parquet",
        family="ladder",
        label="Ladder",
        members=few,
        outputs={kind: outputs[kind] for kind in PER_BENCHMARK},
    )
    write_forecast_overview(
        summary=tmp_path / "tables/backtest_summary.parquet",
        coverage=tmp_path / "tables/backtest_coverage.parquet",
        reliability=tmp_path / "tables/forecast_reliability.parquet",
        laws=tmp_path / "tables/choice_laws.parquet",
        items=[run.root / "items/sciq.parquet"],
        families={"ladder": "Ladder"},
        outputs={kind: outputs[kind] for kind in OVERALL},
    )
    for kind, paths in outputs.items():
        with Image.open(paths["png"]) as image:
            image.verify()
        text = Path(paths["caption"]).read_text()
        assert re.search("[Tt]oo few", text), kind
