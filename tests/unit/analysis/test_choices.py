"""Single choices against compute, and what the loss of correlation depends on, on data whose laws are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from elusive.analysis.choices import choice_laws, write_choices
from elusive.analysis.correlations import write_correlations
from elusive.analysis.mechanism import FACTORS, QUANTITIES, Inputs, write_mechanism
from elusive.analysis.metrics import write_metrics
from elusive.analysis.spread import spread_at_fixed_mass
from elusive.errors import ElusiveError
from elusive.tables import SCHEMAS, read_table, write_table
from score_tables import about, logprobs_table, members, random_run, write_items


@settings(deadline=None, max_examples=60)
@given(st.integers(3, 9), st.integers(0, 2**32 - 1))
def test_laws_of_a_choice_equal_scipy(models, seed):
    generator = np.random.default_rng(seed)
    x = np.sort(generator.uniform(15, 22, models))
    # Whole numbers tie; the last choice never changes.
    scores = np.round(generator.normal(-20, 3, (models, 5)) + x[:, None])
    scores[:, 4] = -7.0
    correct = np.array([0, 0, 0, 3, 3])
    found = choice_laws(x, scores, correct)
    for choice, gold in enumerate(correct):
        own, theirs = scores[:, choice], scores[:, gold]
        line = stats.linregress(x, own)
        assert found["slope"][choice] == pytest.approx(line.slope, abs=1e-9)
        residual = own - line.intercept - line.slope * x
        assert found["residual_sd"][choice] == pytest.approx(np.sqrt((residual**2).sum() / (models - 2)), abs=1e-9)
        if np.ptp(own) == 0:
            assert np.isnan(found["spearman"][choice]) and found["slope"][choice] == 0
        else:
            assert found["pearson"][choice] == pytest.approx(stats.pearsonr(x, own).statistic, abs=1e-9)
            assert found["spearman"][choice] == pytest.approx(stats.spearmanr(x, own).statistic, abs=1e-12)
        if choice == gold or np.ptp(own) == 0 or np.ptp(theirs) == 0:
            assert np.isnan(found["comovement"][choice])
            continue
        assert found["comovement"][choice] == pytest.approx(stats.spearmanr(own, theirs).statistic, abs=1e-12)
        other = stats.linregress(x, theirs)
        residuals = residual, theirs - other.intercept - other.slope * x
        if min(np.abs(r).max() for r in residuals) > 1e-6:
            assert found["comovement_partial"][choice] == pytest.approx(stats.pearsonr(*residuals).statistic, abs=1e-7)


def test_blocks_do_not_matter(monkeypatch):
    generator = np.random.default_rng(0)
    scores = generator.normal(0, 1, (6, 50))
    correct = np.repeat(np.arange(10) * 5 + 2, 5)
    whole = choice_laws(np.arange(6.0), scores, correct)
    monkeypatch.setattr("elusive.analysis.choices._BLOCK", 7)
    parts = choice_laws(np.arange(6.0), scores, correct)
    for name, values in whole.items():
        np.testing.assert_array_equal(values, parts[name], err_msg=name)


def test_one_compute_has_no_law():
    found = choice_laws(np.array([20.0, 20.0, 20.0]), np.zeros((3, 2)), np.array([0, 0]))
    assert all(np.isnan(values).all() for values in found.values())


def test_spread_at_fixed_mass_recovers_a_known_spread():
    generator = np.random.default_rng(0)
    correct = generator.uniform(-30, -5, 40_000)
    incorrect = np.floor(correct) + generator.uniform(0, 4, 40_000)
    assert spread_at_fixed_mass(correct, incorrect) == pytest.approx(0.9 * 4, abs=0.1)


def tables_of(folder: Path, logprobs: list[Path], items: Path, family: str = "small") -> Inputs:
    """Choices, correlations and metrics of one family of all these checkpoints."""
    run = {"logprobs": logprobs, "items": items, "families": {family: members(logprobs)}, "benchmark": "quiz"}
    inputs = Inputs(*(folder / f"{family}_{kind}.parquet" for kind in ("choices", "correlations", "metrics")))
    write_metrics(**run, outputs={family: inputs.metrics})
    write_choices(**run, outputs={family: inputs.choices})
    write_correlations(metrics={family: inputs.metrics}, benchmark="quiz", outputs={family: inputs.correlations})
    return inputs


def write_scores(folder: Path, scores: np.ndarray, chars: list[list[int]]) -> tuple[list[Path], Path]:
    """Logprobs of ``scores`` [models, items, choices] whose correct choice is always the first; items table."""
    gold = [0] * scores.shape[1]
    items = write_items(folder / "items.parquet", gold, [scores.shape[2]] * len(gold))
    paths = []
    for n, values in enumerate(scores.tolist()):
        paths.append(folder / f"{n}.parquet")
        write_table(logprobs_table(gold, values, chars), paths[-1], "logprobs", about("m", f"s{n}", 100, 10 ** (n + 1)))
    return paths, items


def summary_of(folder: Path, inputs: list[Inputs], items: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    outputs = {
        f"{name}_{kind}": folder / f"{name}.{kind}" for name in ("mechanism", "drops") for kind in ("parquet", "csv")
    }
    write_mechanism(inputs=inputs, items=[items], **outputs)
    frames = [pl.read_parquet(outputs[f"{name}_parquet"]) for name in ("mechanism", "drops")]
    for name, frame in zip(("mechanism", "drops"), frames, strict=True):
        assert pl.read_csv(outputs[f"{name}_csv"], schema=frame.schema).equals(frame)
    return frames[0], frames[1]


def test_known_slopes_and_co_movement_are_recovered(tmp_path):
    generator = np.random.default_rng(4)
    models, items = 8, 240
    x = np.arange(models, dtype=float)  # log10 FLOPs up to a constant
    shared = generator.normal(0, 0.3, (models, items, 1))
    scores = -30 + x[:, None, None] * np.array([2.0, 1.5, 1.0]) + shared + generator.normal(0, 0.1, (models, items, 3))
    chars = generator.integers(5, 50, (items, 3)).tolist()
    paths, items_path = write_scores(tmp_path, scores, chars)
    found, _ = summary_of(tmp_path, [tables_of(tmp_path, paths, items_path)], items_path)
    assert found["quantity"].to_list() == list(QUANTITIES)
    values = {row["quantity"]: row for row in found.iter_rows(named=True)}
    for name, slope in (("slope_correct", 2.0), ("slope_incorrect", 1.25), ("slope_difference", 0.75)):
        assert values[name]["value_low"] < slope < values[name]["value_high"], name
    # Both residuals are the shared noise plus their own: correlation 0.3² / (0.3² + 0.1²), biased down a little by n.
    assert values["comovement_partial"]["value"] == pytest.approx(0.9, abs=0.03)
    assert values["correlation_correct"]["value"] > values["correlation_incorrect"]["value"] > 0.95
    assert abs(values["drop_with_choice_length"]["value"]) < 0.2, "the loss has nothing to do with the length"
    assert values["drop_with_num_choices"]["value"] is None, "every item has three choices"


def test_the_loss_grows_with_co_movement_where_that_is_its_cause(tmp_path):
    generator = np.random.default_rng(6)
    models, items = 9, 300
    x = np.arange(models, dtype=float)
    # The wrong choices of item i rise with compute as a share of what the right one does.
    share = np.linspace(0, 1, items)
    slopes = np.stack([np.ones(items), share, share], axis=1)
    scores = -20 + x[:, None, None] * slopes + generator.normal(0, 0.8, (models, items, 3))
    paths, items_path = write_scores(tmp_path, scores, [[9, 9, 9]] * items)
    found, drops = summary_of(tmp_path, [tables_of(tmp_path, paths, items_path)], items_path)
    row = found.row(by_predicate=pl.col("quantity") == "drop_with_comovement", named=True)
    assert 0.3 < row["value_low"] < row["value"] < row["value_high"] < 1
    groups = drops.filter(factor="comovement").sort("level")
    assert groups["group"].to_list() == [0, 1, 2, 3] and groups["num_items"].sum() == items
    assert groups["drop"][3] > groups["drop"][0] + 0.2
    assert drops.filter(factor="choice_length")["num_items"].to_list() == [items], "equal lengths are one group"
    expected = pl.read_parquet(tmp_path / "small_correlations.parquet").filter(method="spearman")
    wide = expected.pivot("metric", index="item", values="correlation")
    total = (wide["log_p_vocab_correct"] - wide["p_choices_correct"]).mean()
    assert drops.filter(factor="num_choices")["drop"].to_list() == [pytest.approx(total, abs=1e-9)]


def test_tables_follow_the_contract(tmp_path):
    run = random_run(tmp_path, subjects=True)
    inputs = [tables_of(tmp_path, run["logprobs"], run["items"], family) for family in ("b", "a")]
    table = read_table(inputs[0].choices, "choices")
    assert table.column_names == SCHEMAS["choices"].names
    frame = pl.from_arrow(table)
    items = pl.from_arrow(read_table(run["items"], "items"))
    assert frame["item"].unique(maintain_order=True).equals(items["item"])
    assert frame.filter(pl.col("is_gold"))["choice"].equals(items["gold"].alias("choice"))
    assert frame["num_models"].unique().to_list() == [5], "the checkpoint without tokens is left out"
    assert frame.filter(pl.col("is_gold"))["comovement"].null_count() == len(items)
    # The correct choice's law is that of log p_vocab.
    log_p = pl.read_parquet(inputs[0].correlations).filter(metric="log_p_vocab_correct", method="spearman")
    assert frame.filter(pl.col("is_gold"))["spearman"].equals(log_p["correlation"].alias("spearman"))
    found, drops = summary_of(tmp_path, inputs, run["items"])
    assert found.select("family", "quantity").rows() == [(f, q) for f in ("a", "b") for q in QUANTITIES]
    assert drops["family"].unique().to_list() == ["a", "b"] or set(drops["family"]) == {"a", "b"}
    assert drops.filter(factor="num_choices", family="a")["level"].to_list() == [2, 3, 4, 5]
    assert set(drops["factor"]) == set(FACTORS)


def test_a_member_without_scores_is_refused(tmp_path):
    run = random_run(tmp_path, items=5)
    absent = {**members(run["logprobs"])[1], "checkpoint": "step99"}
    with pytest.raises(ElusiveError, match="family 'f': no log-likelihoods of model1/step99 on 'quiz'"):
        write_choices(**run, families={"f": [absent]}, benchmark="quiz", outputs={"f": tmp_path / "c.parquet"})


def test_two_files_of_one_checkpoint_are_refused(tmp_path):
    run = random_run(tmp_path, items=5)
    families = {"f": members(run["logprobs"])}
    repeated = {**run, "logprobs": [*run["logprobs"], run["logprobs"][0]]}
    with pytest.raises(ElusiveError, match="model0/step0 is already in"):
        write_choices(**repeated, families=families, benchmark="quiz", outputs={"f": tmp_path / "c.parquet"})
