"""Figures: what is drawn equals the data, the files are sound and reproducible, and the captions state real numbers."""

from __future__ import annotations

import itertools
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import polars as pl
import polars.selectors as cs
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from docutils import core
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter
from PIL import Image

import synthetic_run
from elusive.errors import ElusiveError
from elusive.figures import (
    accuracy,
    agreement,
    by_family,
    choices,
    distributions,
    example,
    loss,
    masses,
    means,
    pairs,
    save,
    scores,
    statistics,
    style,
    subjects,
    survival,
)
from elusive.figures.benchmark import METRICS_COLUMNS, read_correlations
from elusive.figures.data import Benchmark, nesting, read_benchmark, read_frame, read_metrics
from elusive.figures.null import Chance, null_curve, read_chance
from elusive.files import sha256_file
from elusive.report.pictures import KINDS
from synthetic_run import PER_BENCHMARK, SyntheticRun, draw_figure, make_run

BENCHMARKS = ("arc_challenge", "mmlu", "piqa", "sciq")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRun:
    return make_run(tmp_path_factory.mktemp("run"), num_items=60, benchmarks=BENCHMARKS)


FIGURES = (
    "hero",
    *(f"{kind}/arc_challenge" for kind in PER_BENCHMARK),
    "statistics/pearson",
    "statistics/spearman",
    "subjects/mmlu-spearman",
    "attribution/pearson",
    "attribution/spearman",
    "mechanism",
    "loss",
    "accuracy",
    "scaling",
    "example",
)


#: What is drawn every day.
DAILY = ("attribution/spearman", "example", "loss")


@pytest.mark.parametrize(
    "figure", [pytest.param(name, marks=[] if name in DAILY else pytest.mark.slow) for name in FIGURES]
)
def test_files_are_sound_and_the_same_twice(figure: str, run: SyntheticRun, tmp_path: Path) -> None:
    first, second = (draw_figure(run, figure, tmp_path / folder) for folder in "ab")
    for name in first:
        assert sha256_file(first[name]) == sha256_file(second[name]), name
    with Image.open(first["png"]) as image:
        image.verify()
        assert image.info["dpi"][0] >= 200
        assert 3.3 <= image.width / image.info["dpi"][0] <= 7.05
    pdf = first["pdf"].read_bytes()
    assert pdf.startswith(b"%PDF") and pdf.rstrip().endswith(b"%%EOF")
    assert b"CreationDate" not in pdf and len(pdf) < 600_000
    assert "What to see:" in first["caption"].read_text(encoding="utf-8")
    # The caption is plain reStructuredText. Level 2 is a warning: nothing in it may look like markup that is not there.
    include = f".. include:: {first['caption']}\n   :encoding: utf-8\n"
    body = core.publish_parts(include, writer="html", settings_overrides={"halt_level": 2})["body"]
    assert json.dumps("What to see")[1:-1] in body
    data = pl.read_csv(first["data"])
    assert len(data) and all("\n" not in value for value in data.select(cs.string()).to_series(0).drop_nulls())


@pytest.fixture(scope="module", params=["all", pytest.param("part", marks=pytest.mark.slow)])
def alike(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> SyntheticRun:
    """A run whose checkpoints all have the same scores, or those of its first family."""
    with pytest.MonkeyPatch.context() as patch:
        draw, members, write = (
            getattr(synthetic_run, name) for name in ("_log_likelihoods", "_family_members", "write_metrics")
        )

        def same(*arguments):
            values = draw(*arguments)
            last = slice(len(synthetic_run.STEPS) - 1, None, len(synthetic_run.STEPS))
            some = slice(None) if request.param == "all" else last
            values[some] = values[some][0]
            return values

        patch.setattr(synthetic_run, "_log_likelihoods", same)
        patch.setattr(synthetic_run, "_family_members", lambda *a: dict(reversed(members(*a).items())))
        patch.setattr(synthetic_run, "write_metrics", lambda **k: write(**k, allow_duplicates=list(k["families"])))
        yield make_run(tmp_path_factory.mktemp("alike"), num_items=20, benchmarks=("arc_challenge", "mmlu"))


#: What is drawn of correlations alone, without those that are undefined.
OF_CORRELATIONS = ("by_family/arc_challenge", "agreement/arc_challenge", "families/arc_challenge", "mechanism")


@pytest.mark.slow
@pytest.mark.parametrize("figure", FIGURES)
def test_checkpoints_that_are_all_alike_are_drawn(
    figure: str, alike: SyntheticRun, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    drawn = draw_figure(alike, figure, tmp_path)
    with Image.open(drawn["png"]) as image:
        image.verify()
    text = drawn["caption"].read_text(encoding="utf-8")
    assert not re.search(r"\bnan\b", text)
    assert len(re.findall("What to see:", text)) == 1
    if figure in OF_CORRELATIONS and request.node.callspec.params["alike"] == "all":
        assert "What to see: nothing is drawn, since no correlation is defined: " in text
        assert pl.read_csv(drawn["data"]).is_empty()


@given(
    st.lists(st.one_of(st.just(float("nan")), st.floats(-1, 1), st.sampled_from([-1.0, 0.0, 0.5, 1.0])), max_size=40)
)
def test_survival_steps_are_the_exact_survival_function(values: list[float]) -> None:
    x, y = survival.survival_steps(np.array(values))
    defined = [v for v in values if v == v]
    if not defined:
        assert len(x) == len(y) == 0
        return
    assert (x[0], y[0], x[-1], y[-1]) == (-1.0, 1.0, 1.0, 0.0)
    assert (np.diff(x) >= 0).all() and (np.diff(y) <= 0).all()
    for c in [*defined, -0.3, 0.25, 0.999]:
        height = y[np.searchsorted(x, c, side="right") - 1]
        assert height == pytest.approx(np.mean([v > c for v in defined]), abs=1e-12)
    area = float(np.sum(y[:-1] * np.diff(x)))
    assert area == pytest.approx(1 + np.mean(defined), abs=1e-9)


def test_survival_draws_every_family_in_every_panel(run: SyntheticRun) -> None:
    frame = pd.concat(read_frame(p, "correlations", _CORRELATION_COLUMNS) for p in run.correlations("arc_challenge"))
    benchmark = read_benchmark(run.root / "items/arc_challenge.parquet")
    plot = survival.plot(frame, _chance(run, "arc_challenge"), benchmark, run.families)
    drawn = plot.data.groupby(["panel", "family"], observed=True).size()
    assert len(drawn) == 5 * 3
    panels = list(plot.data["panel"].cat.categories)
    assert ["Vocab" in panels[0], "Choices" in panels[1], "Vocab" in panels[4]] == [True, True, True]
    assert [("Spearman" in p) for p in panels] == [True, True, True, True, False], "another ruler stands apart"


def _chance(run: SyntheticRun, benchmark: str) -> Chance:
    return read_chance(run.table("null_bands"), run.table("null_curves"), benchmark, run.families)


_CORRELATION_COLUMNS = ["family", "metric", "method", "correlation", "num_models"]


def test_survival_caption_states_the_shares_of_the_table(run: SyntheticRun) -> None:
    frame = pd.concat(read_frame(p, "correlations", _CORRELATION_COLUMNS) for p in run.correlations("sciq"))
    text = survival.caption_text(
        frame, _chance(run, "sciq"), read_benchmark(run.root / "items/sciq.parquet"), run.families
    )
    rows = frame[(frame["family"] == "ladder") & (frame["method"] == "spearman")]
    accuracy_rows = rows.loc[rows["metric"] == "accuracy", "correlation"]
    first = rows.loc[rows["metric"] == "log_p_vocab_correct", "correlation"]
    assert f"{first.mean():.2f} for log p_vocab ({100 * (first > 0.75).mean():.0f} % above 0.75)" in text
    share = (accuracy_rows.dropna() > 0.75).mean()
    assert f"{accuracy_rows.fillna(0).mean():.2f} for accuracy ({100 * share:.0f} % above 0.75)" in text
    assert f"in accuracy for {100 * accuracy_rows.isna().mean():.0f} % (“Ladder (all)”)" in text
    assert "60 of the 1,172 items of the validation split" in text
    assert "the validation split stands in for the test split" in text
    assert "(35 checkpoints)" in text and "(7 checkpoints)" in text and "(5 checkpoints)" in text


def test_a_family_without_any_defined_correlation_is_drawn_as_none(run: SyntheticRun, tmp_path: Path) -> None:
    frame = pd.concat(read_frame(p, "correlations", _CORRELATION_COLUMNS) for p in run.correlations("piqa"))
    gone = (frame["family"] == "ladder-sizes") & (frame["metric"] == "accuracy")
    frame.loc[gone, "correlation"] = np.nan
    chance, benchmark = _chance(run, "piqa"), read_benchmark(run.root / "items/piqa.parquet")
    survival.plot(frame, chance, benchmark, run.families).draw()
    notes = survival.undefined_shares(frame, run.families).set_index("family")
    assert notes.loc["Ladder, end of training (parameter scaling)", "text"] == "undefined: 100 %"
    frame.loc[frame["metric"] == "accuracy", "correlation"] = np.nan
    text = survival.caption_text(frame, chance, benchmark, run.families)
    assert "unknown for accuracy" in text and "nan" not in text
    assert notes["y"].is_unique and (notes["panel"] == "Accuracy (Spearman)").all()


@pytest.mark.parametrize("method", ["pearson", "spearman", "kendall"])
def test_statistics_marks_are_the_table(method: str, run: SyntheticRun) -> None:
    table = pq.read_table(run.table("correlation_statistics")).to_pandas()
    benchmarks = [read_benchmark(path) for path in run.items()]
    data = statistics.plot(table, benchmarks, run.families, method).data
    metrics = 5 if method == "pearson" else 4
    assert len(data) == 4 * len(BENCHMARKS) * metrics * 3
    assert ("p_vocab_correct" in set(data["metric"])) == (method == "pearson")
    # A mark's height says which benchmark it belongs to.
    row = (len(BENCHMARKS) - 1 - data["place"].round()).astype(int)
    keys = table[(table["method"] == method) & (table["nan_policy"] == "zero") & table["subject"].isna()]
    keys = keys.set_index(["benchmark", "metric", "family"])["median"]
    names = {label: name for name, label in run.families.items()}
    medians = data[data["panel"] == "median"]
    expected = [keys[BENCHMARKS[row[m.Index]], m.metric, names[m.family]] for m in medians.itertuples()]
    assert medians["value"].tolist() == expected
    assert data.groupby(["panel", "place"], observed=True).size().max() == 1


def test_statistics_without_any_accuracy_are_drawn(run: SyntheticRun) -> None:
    table = pq.read_table(run.table("correlation_statistics")).to_pandas()
    values = [c for c in table if c.startswith(tuple(statistics.STATISTICS))]
    table.loc[table["metric"] == "accuracy", values] = np.nan
    benchmarks = [read_benchmark(path) for path in run.items()]
    statistics.plot(table, benchmarks, run.families, "pearson").draw()
    text = statistics.caption_text(table, benchmarks, run.families, "pearson")
    assert "for −Brier." in text and "nan" not in text


def test_statistics_caption_says_what_ranks_cannot_see(run: SyntheticRun) -> None:
    table = pq.read_table(run.table("correlation_statistics")).to_pandas()
    benchmarks = [read_benchmark(path) for path in run.items()]
    assert "p_vocab is left out" in statistics.caption_text(table, benchmarks, run.families, "spearman")
    assert "p_vocab is left out" not in statistics.caption_text(table, benchmarks, run.families, "pearson")


def test_accuracy_in_bins_uses_centres_and_counts() -> None:
    p = np.array([0.0, 0.01, 0.5, 0.999, 1.0])
    bins = scores.accuracy_in_bins(p, np.array([0.0, 1.0, 1.0, 1.0, 0.0]), bins=10)
    assert bins["center"].tolist() == pytest.approx([0.05, 0.55, 0.95])
    assert bins["accuracy"].tolist() == [0.5, 1.0, 0.5]
    assert bins["count"].tolist() == [2, 1, 2]


def test_accuracy_is_settled_outside_the_undecided_stretch(run: SyntheticRun) -> None:
    frame = read_metrics(run.metrics("arc_challenge"), run.families, ["p_choices_correct", "accuracy"])
    bins = scores.accuracy_in_bins(frame["p_choices_correct"].to_numpy(), frame["accuracy"].to_numpy())
    assert (bins.loc[bins["center"] > 0.5 + 1 / 30, "accuracy"] == 1).all()
    assert (bins.loc[bins["center"] < 0.25 - 1 / 30, "accuracy"] == 0).all()


def test_points_are_limited_and_the_caption_says_so(run: SyntheticRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "MAX_POINTS", 100)
    benchmark = read_benchmark(run.root / "items/piqa.parquet")
    frame = read_metrics(run.metrics("piqa"), run.families, METRICS_COLUMNS)
    third = list(scores.plot(frame, benchmark, run.families))[-1]
    assert third.data.groupby("family", observed=True).size().tolist() == [100, 100, 100]
    assert "“Ladder (all)” 100 of 2,100" in scores.caption_text(frame, benchmark, run.families)
    assert "(1 − p_choices)²" in scores.caption_text(frame, benchmark, run.families)
    frame = read_metrics(run.metrics("piqa"), run.families, METRICS_COLUMNS)
    assert "“Ladder (all)” 2,100" in masses.caption_text(frame, benchmark, run.families)


def test_masses_share_their_limits_and_are_powers_of_ten(run: SyntheticRun) -> None:
    frame = read_metrics(run.metrics("piqa"), run.families, METRICS_COLUMNS)
    plot = masses.plot(frame, read_benchmark(run.root / "items/piqa.parquet"), run.families)
    x, y = (plot.scales.get_scales(axis) for axis in "xy")
    assert tuple(x.limits) == tuple(y.limits)
    assert plot.data["correct"].max() <= frame["log_p_vocab_correct"].max() / np.log(10)


def test_loss_without_any_loss_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints.parquet"
    columns = {"model": ["m"], "parameters": [1], "flops": [1.0], "validation_loss": pa.array([None], pa.float64())}
    pq.write_table(pa.table(columns), path)
    with pytest.raises(ElusiveError, match="no checkpoint has a validation loss"):
        loss.write_loss(
            checkpoints=path, outputs={name: tmp_path / f"figure.{name}" for name in ("png", "pdf", "caption", "data")}
        )
    assert not list(tmp_path.glob("figure.*"))


def test_accuracy_caption_names_what_stays_at_chance(run: SyntheticRun) -> None:
    frame = pq.read_table(run.table("scores")).to_pandas()
    benchmarks = [read_benchmark(path) for path in run.items()]
    frame["above_chance_se"] = frame["benchmark"].map({"arc_challenge": 2.1, "piqa": 1.5, "sciq": -3.0})
    text = accuracy.caption_text(frame, benchmarks)
    assert "On PIQA and SciQ no checkpoint is better than chance by more than two standard errors." in text
    assert "SciQ: the validation split stands in for the test split." in text


def test_all_items_used_is_said_plainly() -> None:
    benchmark = Benchmark("b", "B", "test", None, num_items=10, num_items_total=10, chance=0.5)
    assert benchmark.describe_items() == "All 10 items of the test split."
    own = replace(benchmark, split=None, num_items=4)
    assert own.describe_items() == "4 of the 10 items of its file, drawn at random."


def test_numbers_are_written_as_in_print() -> None:
    assert style.format_number(-0.001) == "0.00" and style.format_number(-0.126) == "−0.13"
    assert style.format_power(2.14e15) == "2.1 × 10¹⁵" and style.format_power(3e-7) == "3.0 × 10⁻⁷"
    assert style.format_count(1_520_000) == "1.52 M" and style.format_count(12) == "12"
    assert [style.format_share(v) for v in (0, 0.002, 0.126)] == ["0 %", "< 1 %", "13 %"]
    assert [style.format_share(v) for v in (0.994, 0.996, 1.0)] == ["99 %", "> 99 %", "100 %"]
    assert style.format_share(0.9996, 1) == "> 99.9 %"
    assert style.format_share(0.0002, 1) == "< 0.1 %" and style.format_range(0.101, 0.104) == "0.10"
    assert style.join(["a"]) == "a" and style.join(["a", "b", "c"]) == "a, b and c"
    assert style.whole_powers((-28.3, -1.2)) == [-25, -20, -15, -10, -5]


@pytest.mark.slow
def test_data_of_a_figure_are_what_it_draws(run: SyntheticRun, tmp_path: Path) -> None:
    data = pl.read_csv(draw_figure(run, "scores/piqa", tmp_path)["data"])
    assert data["part"].unique().sort().to_list() == [1, 2, 3]
    dots = data.filter(part=3).drop_nulls("brier")
    columns = ["brier", "p_choices_correct"]
    for name in run.families:  # names, not labels; seven digits
        metrics = pl.read_parquet(run.root / f"metrics/{name}/piqa.parquet")
        drawn = dots.filter(family=name).select(columns).sort(columns)
        assert drawn.equals(metrics.select(pl.col(columns).round_sig_figs(7)).sort(columns))
    statistic = pl.read_csv(draw_figure(run, "statistics/pearson", tmp_path)["data"])
    assert statistic.columns == ["panel", "benchmark", "metric", "family", "value", "low", "high"]
    assert set(statistic["family"]) == set(run.families)


def test_axes_have_minus_signs() -> None:
    figure = plt.figure()
    axis = figure.add_subplot().xaxis
    axis.set_major_formatter(FixedFormatter(["-1", "-0.5", "0", "a-b", "-x"]))
    save._print_minus_signs(axis)
    assert axis.get_major_formatter().seq == ["−1", "−0.5", "0", "a-b", "-x"]
    plt.close(figure)


def test_colours_of_metrics_stand_out_from_white_paper() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for metric in style.METRICS:
        assert 1.05 / (luminance(metric.colour) + 0.05) >= 3, metric.plain


def test_breaks_of_scales() -> None:
    assert style.whole_powers((-80.0, 0.0), most=4, margin=0.06) == [-60, -40, -20]
    assert style.compute_breaks((3e10, 2e13)) == [1e11, 1e12, 1e13]
    assert style.compute_breaks((1.5e22, 6e22)) == [2e22, 5e22]
    assert [style.compute_label(10 ** math.log10(v)) for v in (2e22, 1e22)] == [r"$2\times10^{22}$", "$10^{22}$"]


@pytest.mark.slow
@pytest.mark.parametrize("spread", [1.5, 4, 30, 1e5])
def test_means_over_any_range_of_compute_are_drawn(spread: float, run: SyntheticRun) -> None:
    table = pq.read_table(run.table("means")).to_pandas()
    own = table[table["benchmark"] == "piqa"]
    place = np.log(own["flops"] / own["flops"].min()) / np.log(own["flops"].max() / own["flops"].min())
    own = own.assign(flops=2.9e8 * spread**place)
    benchmark = read_benchmark(run.root / "items/piqa.parquet")
    means.plot(own, _members(run), benchmark, run.families).draw()
    scored = _metrics(run, "piqa")
    scored = scored.assign(flops=2.9e8 * scored["flops"] / scored["flops"].min())
    means.plot_masses(own, scored, benchmark, run.families).draw()


def test_nine_families_still_differ() -> None:
    names = [f"family {i}" for i in range(24)]
    colours, shapes = style.family_colours(names), style.family_shapes(names)
    assert len({(colours[n], shapes[n]) for n in names}) == 24


def _metrics(run: SyntheticRun, benchmark: str) -> pd.DataFrame:
    return read_metrics(run.metrics(benchmark), run.families, METRICS_COLUMNS)


def _members(run: SyntheticRun) -> pd.DataFrame:
    rows = [(f, *member) for f, members in run.members().items() for member in members]
    return pd.DataFrame(rows, columns=["family", "model", "checkpoint"])


def test_null_curve_is_the_distribution_of_the_table(run: SyntheticRun) -> None:
    chance = _chance(run, "piqa")
    # Kendall's tau of five checkpoints: all 120 orders have 0 to 10 inversions.
    orders = list(itertools.permutations(range(5)))
    tau = np.array([1 - sum(b < a for a, b in itertools.combinations(order, 2)) / 5 for order in orders])
    x, y = null_curve(chance, "ladder-sizes", "kendall")
    assert (x[0], y[0], x[-1], y[-1]) == (-1, 1, 1, 0) and (np.diff(x) >= 0).all() and (np.diff(y) <= 1e-12).all()
    for value in np.unique(tau):
        heights = y[np.abs(x - value) < 1e-9]
        assert heights.max() == pytest.approx((tau > value - 1e-9).mean())
        assert heights.min() == pytest.approx((tau > value + 1e-9).mean())
    x, y = null_curve(chance, "ladder-sizes", "pearson")
    assert np.interp(0, x, y) == pytest.approx(0.5) and (np.diff(y) <= 0).all()
    # With seven checkpoints Pearson's r is above 0.75 as often as t(5) is above 2.54.
    x, y = null_curve(chance, "ladder-tokens", "pearson")
    assert np.interp(0.75, x, y) == pytest.approx(0.0261, abs=2e-4)
    assert len(null_curve(chance, "another", "kendall")[0]) == 0


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=30))
def test_a_density_has_area_one(values: list[float]) -> None:
    y = distributions.density(np.array([*values, np.nan]))
    assert (y * np.diff(distributions.EDGES)).sum() == pytest.approx(1) and (y >= 0).all()
    chance = distributions.null_density(*survival.survival_steps(np.array(values)))
    assert (chance * np.diff(distributions.EDGES)).sum() == pytest.approx(1)


def test_the_density_of_chance_is_exact() -> None:
    """Every order of five ranks is as likely; values at an end of a stretch belong to the one above."""
    found = [1 - sum((i - r) ** 2 for i, r in enumerate(o)) / 20 for o in itertools.permutations(range(5))]
    values, counts = np.unique(np.round(found, 9), return_counts=True)
    above = 1 - np.cumsum(counts) / len(found)
    x, y = np.repeat(values, 2), np.repeat(np.concatenate([[1.0], above]), 2)[1:-1]
    corners = np.concatenate([[-1.0], x, [1.0]]), np.concatenate([[1.0], y, [0.0]])
    np.testing.assert_allclose(distributions.null_density(*corners), distributions.density(np.array(found)), atol=1e-9)
    straight = distributions.null_density(np.array([-1.0, 1.0]), np.array([1.0, 0.0]))
    np.testing.assert_allclose(straight, 0.5)


def test_densities_need_many_checkpoints(run: SyntheticRun) -> None:
    frame, chance = read_correlations(run.correlations("piqa")), _chance(run, "piqa")
    about = (read_benchmark(run.root / "items/piqa.parquet"), run.families)
    drawn = distributions.plot_density(frame, chance, *about).data
    assert set(drawn["family"]) == {"Ladder (all)"}, "the others have 7 and 5 checkpoints"
    text = distributions.density_caption(frame, chance, *about)
    assert all(f"“{label}”" in text.split("Not drawn")[1] for label in list(run.families.values())[1:])


def test_distributions_draw_each_method_that_sees_a_metric(run: SyntheticRun) -> None:
    frame = read_correlations(run.correlations("piqa"))
    about = (read_benchmark(run.root / "items/piqa.parquet"), run.families)
    for plot in (
        distributions.plot_survival(frame, _chance(run, "piqa"), *about),
        distributions.plot_density(frame, _chance(run, "piqa"), *about),
    ):
        panels = set(zip(plot.data["metric"], plot.data["method"], strict=True))
        assert len(panels) == 5 + 4 + 4
        assert [method for metric, method in panels if metric == "p_vocab_correct"] == ["pearson"]
    drawn = distributions.plot_survival(frame, _chance(run, "piqa"), *about).data
    own = drawn[(drawn["metric"] == "brier") & (drawn["method"] == "kendall") & (drawn["family"] == "Ladder (all)")]
    rows = frame[(frame["metric"] == "brier") & (frame["method"] == "kendall") & (frame["family"] == "ladder")]
    for x, y in zip(own["x"].iloc[1:-1], own["y"].iloc[1:-1], strict=True):
        assert y == pytest.approx((rows["correlation"].dropna() > x).mean(), abs=1e-12)


def test_means_are_the_table_and_chance_is_even_shares(run: SyntheticRun) -> None:
    table = pq.read_table(run.table("means")).to_pandas()
    benchmark = read_benchmark(run.root / "items/sciq.parquet")
    own = table[table["benchmark"] == "sciq"]
    data = means.plot(own, _members(run), benchmark, run.families).data
    metrics = _metrics(run, "sciq")
    for family, label in run.families.items():
        drawn = data[(data["family"] == label) & (data["metric"] == "brier")]
        found = metrics[metrics["family"] == family].groupby("flops")["brier"].mean()
        assert drawn.sort_values("flops")["value"].tolist() == pytest.approx(found.tolist(), abs=1e-12)
        logarithm = data[(data["family"] == label) & (data["metric"] == "p_vocab_correct")].sort_values("flops")
        exact = np.exp(metrics[metrics["family"] == family].set_index("flops")["log_p_vocab_correct"])
        assert logarithm["value"].tolist() == pytest.approx(np.log10(exact.groupby("flops").mean()).tolist(), abs=1e-9)
    assert data.groupby("family", observed=True)["line"].nunique().tolist() == [5, 1, 1]
    mixed = replace(benchmark, choices=((4, 3), (2, 1)))
    assert means.chance_levels(mixed) == pytest.approx(
        {"p_choices_correct": 0.3125, "accuracy": 0.3125, "brier": (3 * 3 / 16 + 1 / 4) / 4}
    )


def test_cross_entropy_and_mass_are_those_of_the_metrics(run: SyntheticRun) -> None:
    table = pq.read_table(run.table("means")).to_pandas()
    data = means.mass_means(table[table["benchmark"] == "piqa"], _metrics(run, "piqa"), run.families)
    assert len(data) == 5 * (35 + 7 + 5)
    metrics = _metrics(run, "piqa")
    own = metrics[metrics["family"] == "ladder-sizes"].groupby("flops")
    drawn = data[(data["family"] == run.families["ladder-sizes"]) & (data["curve"] == "all wrong choices together")]
    entropy = drawn[drawn["panel"] == means.CROSS_ENTROPY].sort_values("flops")
    assert entropy["value"].tolist() == pytest.approx((-own["log_p_vocab_incorrect"].mean()).tolist(), abs=1e-9)
    gaps = data[(data["family"] == run.families["ladder-sizes"]) & (data["panel"] == means.DIFFERENCE)]
    paired = (metrics["log_p_vocab_correct"] - metrics["log_p_vocab_incorrect"]).groupby(
        [metrics["family"], metrics["flops"]]
    )
    mean, error = paired.mean()["ladder-sizes"], paired.std()["ladder-sizes"] / np.sqrt(60)
    assert gaps.sort_values("flops")["value"].tolist() == pytest.approx(mean.tolist(), abs=1e-9)
    assert gaps.sort_values("flops")["se"].tolist() == pytest.approx(error.tolist(), abs=1e-9)
    mass = drawn[drawn["panel"] == means.MASS].sort_values("flops")
    exact = own["log_p_vocab_incorrect"].apply(lambda rows: np.log10(np.exp(rows).mean()))
    assert mass["value"].tolist() == pytest.approx(exact.tolist(), abs=1e-9)


def test_statistics_by_family_are_the_table(run: SyntheticRun) -> None:
    table = statistics.read_statistics(run.table("correlation_statistics"))
    data = by_family.tidy(table, read_benchmark(run.root / "items/piqa.parquet"), run.families)
    assert len(data) == 4 * 3 * (5 + 4 + 4)
    keys = ["metric", "method", "family"]
    chosen = table[(table["benchmark"] == "piqa") & (table["nan_policy"] == "drop")]
    expected = chosen.assign(family=chosen["family"].map(run.families)).set_index(keys)["auc"]
    areas = data[data["panel"] == statistics.STATISTICS["auc"]]
    assert areas["value"].tolist() == expected.loc[list(areas[keys].itertuples(index=False, name=None))].tolist()
    assert data.groupby(["metric", "panel", "place"], observed=True).size().max() == 1


def test_subjects_of_few_items_are_left_out_and_others_pooled(run: SyntheticRun, monkeypatch) -> None:
    table = statistics.read_statistics(run.table("correlation_statistics"))
    benchmark = read_benchmark(run.root / "items/mmlu.parquet")
    about = (table, benchmark, run.families, "spearman")
    assert subjects.tidy(*about).empty, "20 items each"
    assert "no subject has 30 items" in subjects.caption_text(*about)
    assert subjects.plot(*about).data["note"].tolist() == ["no subject has 30 items"]
    monkeypatch.setattr(subjects, "MIN_ITEMS", 20)
    data = subjects.plot(*about).data
    assert len(data) == 3 * 4 * 3 and set(data["subject"]) == {"subject_0", "subject_1", "subject_2"}
    assert "goes, over the 3 subjects, from" in subjects.caption_text(*about)
    single = table[table["subject"].isna() | (table["subject"] == "subject_1")], *about[1:]
    assert "the mean correlation of the one subject is" in subjects.caption_text(*single)
    asked = table[(table["metric"] == "brier") & (table["method"] == "spearman") & (table["nan_policy"] == "zero")]
    asked = asked[asked["subject"] == "subject_1"].set_index("family")["mean"]
    one = data[(data["subject"] == "subject_1") & (data["metric"] == "brier")]
    assert dict(zip(one["family"], one["mean"], strict=True)) == {run.families[f]: v for f, v in asked.items()}


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0.01, 1)), min_size=2, max_size=30))
def test_pooled_means_lie_between_their_own_and_a_common_one(pairs: list[tuple[float, float]]) -> None:
    means, errors = (np.array(column) for column in zip(*pairs, strict=True))
    found = subjects.pooled(means, errors)
    low, high = means.min() - 1e-12, means.max() + 1e-12
    assert ((found >= low) & (found <= high)).all()
    kept = (found - found.mean()).std() <= means.std() + 1e-12
    assert kept


def test_pooling_removes_noise_and_keeps_differences() -> None:
    noise = np.random.default_rng(0)
    errors = np.full(400, 0.2)
    alike = subjects.pooled(0.3 + errors * noise.normal(size=400), errors)
    assert np.ptp(alike) < 0.2 and alike.mean() == pytest.approx(0.3, abs=0.03)
    truth = noise.normal(0.0, 0.4, size=400)
    measured = truth + errors * noise.normal(size=400)
    assert ((subjects.pooled(measured, errors) - truth) ** 2).mean() < 0.85 * ((measured - truth) ** 2).mean()
    assert subjects.pooled(np.array([0.7]), np.array([0.5])).tolist() == [0.7]


def test_spans_of_chance_follow_from_the_shuffled_mean(run: SyntheticRun) -> None:
    table = statistics.read_statistics(run.table("correlation_statistics"))
    shuffled = statistics.read_intervals(run.table("headline"))
    benchmarks = [read_benchmark(path) for path in run.items()]
    own = shuffled[shuffled["method"] == "spearman"]
    marks = statistics.plot(table, benchmarks, run.families, "spearman", shuffled).data
    spans = statistics.chance_spans(marks, own.assign(family=own["family"].map(run.families)))
    own = shuffled[(shuffled["method"] == "spearman") & shuffled["metric"].isin([m.column for m in style.METRICS])]
    own = own[own["metric"] != "p_vocab_correct"].dropna()
    by_panel = dict(iter(spans.groupby("panel", observed=True)))
    assert sorted(by_panel["mean"]["low"]) == pytest.approx(sorted(own["shuffled_low"]))
    assert sorted(by_panel[statistics.STATISTICS["auc"]]["high"]) == pytest.approx(sorted(1 + own["shuffled_high"]))
    assert (by_panel[statistics.STATISTICS["neg_wasserstein"]]["low"] == -1).all() and "median" not in by_panel
    plain = statistics.caption_text(table, benchmarks, run.families, "kendall")
    assert "Grey bars" not in plain
    assert "Grey bars" in statistics.caption_text(table, benchmarks, run.families, "pearson", shuffled)


def test_methods_and_families_meet_item_by_item(run: SyntheticRun) -> None:
    frame = read_correlations(run.correlations("piqa"))
    wide = frame.pivot(index=["family", "metric", "item"], columns="method", values="correlation")
    dots = agreement.method_pairs(frame, run.families)
    names = {label: name for name, label in run.families.items()}
    for dot in dots[dots["pair"] == "Spearman and Kendall"].itertuples():
        row = wide.loc[(names[dot.family], dot.metric, dot.item)]
        assert (dot.first, dot.second) == (row["spearman"], row["kendall"])
    dots = agreement.family_points(frame, run.families)
    assert dots["pair"].cat.categories.tolist() == ["1 and 2", "1 and 3", "2 and 3"]
    spearman = wide["spearman"]
    for dot in dots[dots["pair"] == "2 and 3"].itertuples():
        assert dot.first == spearman["ladder-tokens", dot.metric, dot.item]
        assert dot.second == spearman["ladder-sizes", dot.metric, dot.item]
    many = {f"family {i}": "" for i in range(9)}
    assert len(agreement.family_pairs(many)) == agreement.MAX_PAIRS


def test_other_pairs_of_scores_are_those_of_the_metrics(run: SyntheticRun) -> None:
    frame = _metrics(run, "sciq")
    marks = pairs.points(frame, run.families)
    assert len(marks["panel"].cat.categories) == 4
    binned = marks[marks["panel"] == pairs.PANELS["is_greedy", "p_choices_correct"]]
    for name, label in run.families.items():
        own, drawn = frame[frame["family"] == name], binned[binned["family"] == label]
        assert (drawn["y"] * drawn["share"]).sum() == pytest.approx(own["is_greedy"].mean(), abs=1e-12)
    assert frame["is_greedy"].mean() > 0
    without = pairs.points(frame.drop(columns="is_greedy"), run.families)
    assert len(without["panel"].cat.categories) == 2
    benchmark = read_benchmark(run.root / "items/sciq.parquet")
    assert "reedy" not in pairs.caption_text(frame.drop(columns="is_greedy"), benchmark, run.families).split("\n", 1)[1]


def test_a_part_of_a_family_is_drawn_over_it(run: SyntheticRun) -> None:
    frame = _metrics(run, "piqa")
    assert nesting(frame, run.families) == {"ladder": 0, "ladder-tokens": 1, "ladder-sizes": 1}
    order = scores.sample_pairs(frame, run.families, 50)["family"].tolist()
    assert set(order[:50]) == {"Ladder (all)"} and len(order) == 150


def test_accuracy_by_family_is_the_table_of_means(run: SyntheticRun) -> None:
    table = pq.read_table(run.table("means")).to_pandas()
    benchmarks = [read_benchmark(path) for path in run.items()]
    data = accuracy.scaling(table, _members(run), benchmarks, run.families)
    assert len(data) == len(BENCHMARKS) * (35 + 7 + 5)
    exact = table[table["metric"] == "accuracy"].set_index(["benchmark", "model", "checkpoint"])["mean"]
    assert all(exact[m.benchmark, m.model, m.checkpoint] == m.value for m in data.itertuples())


def test_example_has_the_four_distributions() -> None:
    values = example.distributions()
    assert values["correlated"].mean() == pytest.approx(0.99, abs=2e-3)
    assert values["anticorrelated"].mean() == pytest.approx(-0.99, abs=2e-3)
    assert values["uncorrelated"].std() == pytest.approx(0.01, abs=2e-4)
    assert (values["uniform"] > 0.75).mean() == pytest.approx(0.125, abs=0.005)


def test_dollar_signs_in_labels_are_drawn(run: SyntheticRun) -> None:
    label = "a $5 and $6 model"
    families = {name: f"{label} {name}" for name in run.families}
    benchmark = replace(read_benchmark(run.root / "items/piqa.parquet"), label="$1 or $2")
    frame, single = read_correlations(run.correlations("piqa")), _choices(run, "piqa")
    for plot in (
        survival.plot(frame, _chance(run, "piqa"), benchmark, families),
        choices.plot(single, frame, benchmark, families),
        masses.plot(_metrics(run, "piqa"), benchmark, families),
    ):
        texts = [text.get_text() for text in plot.draw().findobj(Text)]
        assert r"\$1 or \$2" in texts
        assert sum(r"\$5" in text and r"\$6" in text for text in texts) == 3


def _choices(run: SyntheticRun, benchmark: str) -> pd.DataFrame:
    columns = ["family", "is_gold", "spearman", "comovement", "comovement_partial"]
    paths = [run.root / f"choices/{family}/{benchmark}.parquet" for family in run.families]
    return pd.concat([read_frame(path, "choices", columns) for path in paths], ignore_index=True)


def test_captions_say_how_many_choices() -> None:
    own = Benchmark("b", "B", "test", None, 10, 10, 0.3, choices=((4, 8), (3, 2)), num_subjects=2, partial=True)
    text = own.describe_items()
    assert "Choices per item: 4 (8 items), 3 (2 items)." in text and "of 2 subjects" in text and "more than 1" in text
    assert own.describe_choices() == "3 to 4" and replace(own, choices=((2, 10),)).describe_choices() == "2"
    assert "Choices per item: 2." in replace(own, choices=((2, 10),)).describe_items()


@pytest.mark.parametrize("count", [1, 9, 18, 19, 69, 200])
def test_pages_of_panels_are_bounded(count: int) -> None:
    panels = style.Panels.of(count)
    assert panels.height <= 15 and panels.columns <= 6


def test_the_comparison_with_the_paper_names_every_figure() -> None:
    text = (Path(__file__).parents[3] / "workflow/report/FIGURES.md").read_text(encoding="utf-8")
    named = {name.split("/")[0] for name in re.findall(r"`([a-z_]+(?:/\{[bm]\}(?:-\{m\})?)?)`", text)}
    kinds = {figure.split("/")[0] for figure in FIGURES}
    forecasts = {kind for kind in KINDS if kind.startswith("forecast_")}
    assert set(KINDS) == kinds | forecasts and kinds | forecasts <= named
