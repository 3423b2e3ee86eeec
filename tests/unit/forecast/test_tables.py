"""The stage from logprobs to tables, and the command that answers from finished ones."""

import os
import re
import shutil
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from elusive.__main__ import main
from elusive.forecast import cells
from elusive.forecast.gather import TABLES
from elusive.tables import read_metadata, read_table, write_table
from synthetic_run import SIZES, STEPS, make_forecasts

BENCHMARKS = ("arc_easy", "sciq")


@pytest.fixture(scope="module")
def run(shared_run):
    return shared_run(40, BENCHMARKS, forecasts=True)


def table(run, name):
    return pl.from_arrow(read_table(run.table(name), name))


def test_every_table_is_there_as_parquet_and_csv(run):
    for name in (*TABLES, "decisions"):
        rows = table(run, name)
        assert len(rows)
        assert len(pl.read_csv(run.table(name).with_suffix(".csv"), infer_schema_length=None)) == len(rows)


def test_cells_cover_families_and_benchmarks(run):
    everything = {(family, benchmark) for family in run.families for benchmark in BENCHMARKS}
    for name in ("forecasts", "backtests", "choice_laws", "choice_means", "forecast_reliability"):
        assert set(table(run, name).select("family", "benchmark").unique().rows()) == everything, name
    # Five sizes are too few to be halved.
    halved = {cell for cell in everything if cell[0] != "ladder-sizes"}
    assert set(table(run, "item_subsets").select("family", "benchmark").unique().rows()) == halved
    assert table(run, "decisions")["group"].unique().to_list() == ["ladder"]


def test_forecasts_agree_with_the_items(run):
    rows = table(run, "forecasts").filter((pl.col("metric") == "accuracy") & (pl.col("method") == "km"))
    for row in rows.rows(named=True):
        path = run.root / f"forecast_items/{row['family']}/{row['benchmark']}.parquet"
        items = pl.from_arrow(read_table(path, "forecast_items"))
        assert len(items) == row["num_items"] == 40
        assert items["p_right"].mean() == pytest.approx(row["forecast"], abs=1e-9)
        assert items["last_accuracy"].mean() == pytest.approx(row["last_value"])


def test_reliability_is_of_probabilities(run):
    rows = table(run, "forecast_reliability")
    assert ((rows["bin"] / 10 - 1e-6 <= rows["forecast"]) & (rows["forecast"] <= (rows["bin"] + 1) / 10 + 1e-6)).all()
    assert rows["observed"].is_between(0, 1).all() and rows["brier"].is_between(0, 1).all()
    assert not rows.select("family", "benchmark", "protocol", "method", "bin").is_duplicated().any()
    targets = table(run, "backtests").filter((pl.col("method") == "km") & (pl.col("metric") == "accuracy"))
    counts = (
        rows.filter(pl.col("method") == "km").group_by("family", "benchmark", "protocol").agg(pl.col("num_items").sum())
    )
    for family, benchmark, protocol, number in counts.rows():
        own = targets.filter((pl.col("family") == family) & (pl.col("benchmark") == benchmark))
        # Where the last value is the forecast, no item has a probability.
        assert number == 40 * len(own.filter(pl.col("protocol") == protocol, pl.col("status") == ""))


def test_means_and_observed_values_are_those_of_the_analysis(run):
    means = {
        (row["benchmark"], row["model"], row["checkpoint"], row["metric"]): row["mean"]
        for row in table(run, "means").rows(named=True)
    }
    for row in table(run, "backtests").rows(named=True):
        key = (row["benchmark"], row["model"], row["checkpoint"], row["metric"])
        assert row["observed"] == pytest.approx(means[key], rel=1e-9)
    for row in table(run, "choice_means").filter(pl.col("quantity") == "right").rows(named=True):
        key = (row["benchmark"], row["model"], row["checkpoint"], "log_p_vocab_correct")
        assert row["mean"] == pytest.approx(means[key], rel=1e-9)


def test_summaries_are_of_the_backtests(run):
    rows = table(run, "backtests").filter((pl.col("protocol") == "T") & (pl.col("family") == "ladder"))
    rows = rows.filter((pl.col("benchmark") == "sciq") & (pl.col("metric") == "accuracy") & (pl.col("method") == "km"))
    error = rows.with_columns(error=(pl.col("forecast") - pl.col("observed")).abs())
    expected = error.group_by("origin", "num_models").agg(pl.col("error").mean())["error"].mean()
    summary = table(run, "backtest_summary").filter(
        (pl.col("family") == "ladder")
        & (pl.col("benchmark") == "sciq")
        & (pl.col("protocol") == "T")
        & pl.col("bin").is_null()
        & (pl.col("metric") == "accuracy")
        & (pl.col("method") == "km")
    )
    assert summary["mae"].to_list() == [pytest.approx(expected)]


def shuffled(run, folder):
    """A copy of the run's items and logprobs with all rows in another order, and of what items are looked at with."""
    shutil.copytree(run.root / "correlations", folder / "correlations")
    generator = np.random.default_rng(0)
    for path in [*run.items(), *run.logprobs()]:
        target = folder / path.relative_to(run.root)
        target.parent.mkdir(parents=True, exist_ok=True)
        name = "items" if "items" in path.parts else "logprobs"
        rows = read_table(path, name)
        write_table(rows.take(generator.permutation(len(rows))), target, name, read_metadata(path))
    return folder


@pytest.mark.slow
def test_the_order_of_items_and_files_changes_no_byte(run, tmp_path):
    """Rows of the items and logprobs tables, and the tables themselves, in any order give the same files."""
    folder = shuffled(run, tmp_path / "shuffled")
    other = type(run)(folder, run.families, run.benchmarks)
    make_forecasts(other)
    for name in (*TABLES, "decisions"):
        assert other.table(name).read_bytes() == run.table(name).read_bytes(), name
    path = "forecast_items/ladder/sciq.parquet"
    assert (folder / path).read_bytes() == (run.root / path).read_bytes()


@pytest.mark.slow
def test_subjects_have_rows_of_their_own(run):
    scores = cells.Reader(sorted(run.root.glob("logprobs/*/*/sciq.parquet")), run.root / "items/sciq.parquet").scores(
        _members(run)
    )
    subjects = tuple("odd" if i % 2 else "even" for i in range(40))
    parts = replace(scores, subjects=subjects)
    rows = cells.cell_rows(parts, "ladder", "sciq", [], ["accuracy"], 50, subjects=True)
    found = {row["subject"] for row in rows["backtests"]}
    assert found == {None, "odd", "even"}
    whole = cells.cell_rows(parts, "ladder", "sciq", [], ["accuracy"], 50, subjects=False)
    assert [row for row in rows["backtests"] if row["subject"] is None] == whole["backtests"]
    assert rows["reliability"] == whole["reliability"] and rows["targets"] == []


def _members(run):
    metrics = pl.from_arrow(read_table(run.metrics("sciq")[0], "metrics"))
    return metrics.select("model", "checkpoint", "parameters", "tokens", "flops").unique(maintain_order=True).to_dicts()


def command(capsys, *arguments):
    main(["forecast", *map(str, arguments)])
    return capsys.readouterr().out


def ask(run, *more, family="ladder", benchmark="sciq"):
    target = ("--parameters", 2 * SIZES[-1], "--tokens", 2 * STEPS[-1])
    return ("--family", family, "--benchmark", benchmark, *target, "--results", run.root, "--draws", 50, *more)


def test_the_command_says_what_the_table_says(run, capsys, tmp_path):
    text = command(capsys, *ask(run, "--output", tmp_path / "out.csv"))
    row = table(run, "forecasts").filter(
        (pl.col("family") == "ladder") & (pl.col("benchmark") == "sciq") & (pl.col("metric") == "accuracy")
    )
    km = row.filter(pl.col("method") == "km").rows(named=True)[0]
    assert f"km          {km['forecast']:.3f}" in text
    assert f"80 % {km['low80']:.3f} to {km['high80']:.3f}" in text
    assert f"last        {km['last_value']:.3f}" in text
    assert f"movement    {km['movement']:.3g}" in text
    assert "4 times the largest compute of 35 checkpoints" in text
    written = pl.read_csv(tmp_path / "out.csv")
    both = row.select("method", "forecast").join(written.select("method", "forecast"), on="method")
    assert len(both) == len(row) and both["forecast"].to_list() == pytest.approx(both["forecast_right"].to_list())


def test_the_command_prints_the_backtest_error_at_the_horizon(run, capsys):
    text = command(capsys, *ask(run, "--metric", "accuracy", "log_p_vocab_correct"))
    summary = table(run, "backtest_summary").filter(
        (pl.col("family") == "ladder") & (pl.col("protocol") == "R") & (pl.col("bin") == "x3")
    )
    own = summary.filter((pl.col("benchmark") == "sciq") & (pl.col("metric") == "accuracy"))
    errors = dict(own.select("method", "mae").iter_rows())
    assert f"sciq at x3: mean error km {100 * errors['km']:.1f} points, last {100 * errors['last']:.1f} points" in text
    assert re.search(r"all benchmarks at x3: mean error km \d+\.\d points", text)
    assert re.search(r"mean error km \d+\.\d nats", text)


def test_the_command_marks_what_to_mind(run, capsys):
    text = command(capsys, *ask(run, "--draws", 50))
    far = ("--family", "ladder", "--benchmark", "sciq", "--parameters", "1e12", "--tokens", "1e12")
    assert "beyond the tested horizons" not in text
    text = command(capsys, *far, "--results", run.root)
    assert "mind        beyond the tested horizons" in text and "none at such a horizon" in text


def test_the_command_works_before_any_backtest_is_finished(run, capsys, tmp_path):
    for part in ("items", "logprobs", "metrics"):
        shutil.copytree(run.root / part, tmp_path / part)
    text = command(capsys, *ask(type(run)(tmp_path, run.families, run.benchmarks)))
    assert "backtests   none are finished: make the table backtest_summary" in text
    assert "80 %" in text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"--family": "laddr"},
            "--family: no family is called 'laddr' (there are: ladder, ladder-sizes, ladder-tokens)",
        ),
        ({"--benchmark": "piqa"}, "--benchmark: ladder has no scores on 'piqa' (there are: arc_easy, sciq)"),
        ({"--results": "elsewhere"}, "there are no tables of metrics: run the workflow, or name its --results"),
        ({"--draws": "1"}, "--draws: 1 is not allowed: it must be at least 2"),
    ],
)
def test_mistakes_are_named(run, capsys, changes, expected):
    arguments = [str(value) for value in ask(run)]
    for key, value in changes.items():
        arguments[arguments.index(key) + 1] = value
    with pytest.raises(SystemExit) as caught:
        main(["forecast", *arguments])
    assert caught.value.code == 1
    assert expected in capsys.readouterr().err


def test_a_missing_logprobs_table_is_named(run, capsys, tmp_path):
    for part in ("items", "logprobs", "metrics"):
        shutil.copytree(run.root / part, tmp_path / part)
    missing = tmp_path / "logprobs/ladder-2/tokens-32768/sciq.parquet"
    os.remove(missing)
    with pytest.raises(SystemExit):
        main(["forecast", *map(str, ask(type(run)(tmp_path, run.families, run.benchmarks)))])
    assert f"{missing}: there is no such logprobs table, and a forecast needs every choice's" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "number"), [("3e6", 3_000_000), ("3_000", 3000), ("7", 7)])
def test_numbers_may_be_short(text, number):
    from elusive.forecast.command import _count

    assert _count(text) == number
