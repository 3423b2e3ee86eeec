"""The metric chain against exact arithmetic and lm-eval, and the table it is written to."""

from __future__ import annotations

from decimal import Decimal, localcontext
from types import SimpleNamespace

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lm_eval.api.task import ConfigurableTask
from scipy import special

from elusive.analysis.choices import write_choices
from elusive.analysis.metrics import METRICS, VARIANTS, choice_metrics, variant_metrics, write_metrics
from elusive.errors import ElusiveError
from elusive.tables import SCHEMAS, read_metadata, read_table, write_table
from score_tables import about, logprobs_table, members, random_run, write_family, write_items

# Ties are common among the whole numbers; the range goes far beyond what exp() can hold.
LOG_LIKELIHOODS = st.one_of(
    st.floats(-3000, 0, allow_subnormal=False), st.integers(-6, 0).map(float), st.floats(-2, 0, allow_subnormal=False)
)


@st.composite
def questions(draw: st.DrawFn) -> tuple[list[float], list[int], int]:
    """Log-likelihoods and lengths of one item's choices, and its gold index."""
    scores = draw(st.lists(LOG_LIKELIHOODS, min_size=2, max_size=6))
    chars = draw(st.lists(st.integers(1, 200), min_size=len(scores), max_size=len(scores)))
    return scores, chars, draw(st.integers(0, len(scores) - 1))


def of_items(*items: tuple[list[float], list[int], int]) -> dict[str, np.ndarray]:
    """Metrics of several items at once, padded with values that must not matter."""
    width = max(len(scores) for scores, _, _ in items)
    padded = np.array([scores + [1e6] * (width - len(scores)) for scores, _, _ in items])
    chars = np.array([chars + [-3] * (width - len(chars)) for _, chars, _ in items], float)
    return choice_metrics(
        padded, chars, np.array([gold for _, _, gold in items]), np.array([len(scores) for scores, _, _ in items])
    )


def exactly(scores: list[float], gold: int) -> dict[str, Decimal]:
    """The chain in decimal arithmetic, which has no underflow here."""
    masses = [Decimal(score).exp() for score in scores]
    total = sum(masses)
    shares = [mass / total for mass in masses]
    masses_wrong = [mass for i, mass in enumerate(masses) if i != gold]
    wrong = sum(masses_wrong)
    return {
        "log_p_vocab_correct": Decimal(scores[gold]),
        "p_vocab_correct": masses[gold],
        "log_p_vocab_incorrect": wrong.ln(),
        "p_vocab_incorrect": wrong,
        "log_p_choices_correct": shares[gold].ln(),
        "p_choices_correct": shares[gold],
        "brier": ((wrong / total) ** 2 + sum((mass / total) ** 2 for mass in masses_wrong)) / len(shares),
        "log_brier": (((wrong / total) ** 2 + sum((mass / total) ** 2 for mass in masses_wrong)) / 2).ln(),
        "margin_log": Decimal(scores[gold]) - max(Decimal(s) for i, s in enumerate(scores) if i != gold),
    }


@settings(deadline=None)
@given(questions())
@example(([-5000.0, -1.0], [1, 1], 0))
@example(([-1.0, -60.0, -60.0], [1, 1, 1], 0))
@example(([-745.5, -745.5], [1, 1], 1))
@example(([0.0, 0.0, -14.0], [1, 1, 1], 0))
@example(([-80.0, -100.0, -10.0, -75.0], [1, 1, 1, 1], 0))
@example(([-10.0, -80.0, -75.0], [1, 1, 1], 0))
def test_chain_equals_exact_arithmetic(question):
    scores, _, gold = question
    found = of_items(question)
    # Enough digits that 1 - 1e-300 is not 1.
    with localcontext(prec=340):
        expected = {name: float(value) for name, value in exactly(scores, gold).items()}
    for name, value in expected.items():
        # exp() of a large negative number loses the digits that the number has before its point, and a sum of
        # probabilities near 1 those that its logarithm would have.
        relative = 1e-12 if "vocab" not in name else 1e-11
        absolute = 1e-15 if name == "log_p_vocab_incorrect" else 1e-300
        assert found[name][0] == pytest.approx(value, rel=relative, abs=absolute), name


@settings(deadline=None)
@given(questions())
def test_accuracies_equal_lm_eval(question):
    scores, chars, gold = question
    task = SimpleNamespace(
        config=SimpleNamespace(process_results=None),
        OUTPUT_TYPE="multiple_choice",
        _metric_fn_list={"acc": None, "acc_norm": None},
        doc_to_choice=lambda doc: ["é" * n for n in chars],
        doc_to_target=lambda doc: gold,
        multiple_input=False,
        multiple_target=False,
    )
    theirs = ConfigurableTask.process_results(task, {}, [(score, False) for score in scores])
    ours = of_items(question)
    assert (ours["accuracy"][0], ours["accuracy_norm"][0]) == (theirs["acc"], theirs["acc_norm"])


def test_choice_without_characters_never_wins():
    found = of_items(([-1.0, -9.0], [0, 4], 0), ([-1.0, -9.0], [0, 4], 1), ([-1.0, -9.0], [0, 0], 0))
    assert found["accuracy_norm"].tolist() == [0.0, 1.0, 1.0]


@settings(deadline=None)
@given(questions())
def test_accuracy_brackets_the_probability(question):
    found, choices = of_items(question), len(question[0])
    if found["accuracy"][0] == 1:
        assert found["p_choices_correct"][0] >= 1 / choices - 1e-9
    if found["p_choices_correct"][0] > 0.5:
        assert found["accuracy"][0] == 1
    assert 0 <= found["brier"][0] * choices <= 2
    assert np.sign(found["margin_log"][0]) >= 2 * found["accuracy"][0] - 1 or found["margin_log"][0] == 0


@settings(deadline=None)
@given(st.integers(2, 6), st.floats(-3000, 0), st.data())
def test_equal_choices_share_the_mass(choices, score, data):
    gold = data.draw(st.integers(0, choices - 1))
    found = of_items(([score] * choices, [3] * choices, gold))
    assert found["p_choices_correct"][0] == pytest.approx(1 / choices, rel=1e-15)
    assert found["brier"][0] == pytest.approx((1 - 1 / choices) / choices, rel=1e-14)
    assert found["accuracy"][0] == float(gold == 0)
    assert found["margin_log"][0] == 0


@settings(deadline=None)
@given(st.lists(questions(), min_size=1, max_size=8))
def test_items_with_different_numbers_of_choices_do_not_mix(items):
    together = of_items(*items)
    for name in METRICS:
        alone = [of_items(item)[name][0] for item in items]
        np.testing.assert_allclose(together[name], alone, rtol=1e-15, atol=0)


@st.composite
def full_questions(draw: st.DrawFn) -> dict[str, list]:
    """One item with all that variants look at."""
    scores, chars, gold = draw(questions())
    size = len(scores)
    integers = st.lists(st.integers(1, 400), min_size=size, max_size=size)
    return {
        "scores": scores,
        "char": chars,
        "byte": draw(integers),
        "token": draw(integers),
        "unconditional": draw(st.lists(LOG_LIKELIHOODS, min_size=size, max_size=size)),
        "greedy": draw(st.lists(st.booleans(), min_size=size, max_size=size)),
        "gold": gold,
    }


def variants_of(*items: dict[str, list], pmi: bool = True) -> dict[str, np.ndarray]:
    """Variants of several items at once, padded with values that must not matter."""
    width = max(len(item["scores"]) for item in items)

    def matrix(key: str) -> np.ndarray:
        return np.array([[*item[key], *[-7.0] * (width - len(item[key]))] for item in items], float)

    return variant_metrics(
        matrix("scores"),
        {unit: matrix(unit) for unit in ("token", "byte", "char")},
        np.array([item["gold"] for item in items]),
        np.array([len(item["scores"]) for item in items]),
        matrix("greedy"),
        matrix("unconditional") if pmi else None,
    )


@settings(deadline=None)
@given(full_questions())
def test_variants_equal_scipy_and_lm_eval(item):
    found, gold = variants_of(item), item["gold"]
    assert tuple(found) == VARIANTS
    scores = np.array(item["scores"])
    assert found["log_p_vocab_choices"][0] == pytest.approx(special.logsumexp(scores), rel=1e-13, abs=1e-13)
    assert found["is_greedy"][0] == item["greedy"][gold]
    rescored = {f"per_{unit}": scores / item[unit] for unit in ("token", "byte", "char")}
    rescored["pmi"] = scores - item["unconditional"]
    for name, values in rescored.items():
        assert found[f"p_choices_correct_{name}"][0] == pytest.approx(
            special.softmax(values)[gold], rel=1e-11, abs=1e-300
        )
        if f"margin_{name}" in found:
            assert found[f"margin_{name}"][0] == values[gold] - np.delete(values, gold).max()
    assert found["log_p_vocab_correct_pmi"][0] == rescored["pmi"][gold]
    task = SimpleNamespace(
        config=SimpleNamespace(process_results=None),
        OUTPUT_TYPE="multiple_choice",
        _metric_fn_list={"acc_bytes": None, "acc_mutual_info": None, "exact_match": None},
        doc_to_choice=lambda doc: ["x" * length for length in item["byte"]],
        doc_to_target=lambda doc: gold,
        multiple_input=False,
        multiple_target=False,
    )
    requests = [*zip(scores.tolist(), item["greedy"], strict=True), *((u, False) for u in item["unconditional"])]
    theirs = ConfigurableTask.process_results(task, {}, requests)
    ours = (found["accuracy_per_byte"][0], found["accuracy_pmi"][0], found["is_greedy"][0])
    assert ours == (theirs["acc_bytes"], theirs["acc_mutual_info"], theirs["exact_match"])
    assert found["accuracy_per_token"][0] == (np.argmax(scores / item["token"]) == gold)


@settings(deadline=None)
@given(st.lists(full_questions(), min_size=1, max_size=6))
def test_variants_of_items_with_different_numbers_of_choices_do_not_mix(items):
    together = variants_of(*items)
    for name, values in together.items():
        np.testing.assert_allclose(values, [variants_of(item)[name][0] for item in items], rtol=1e-14, atol=0)
    assert list(variants_of(*items, pmi=False)) == [name for name in VARIANTS if not name.endswith("pmi")]


def test_variants_stand_after_the_contracts_columns(tmp_path):
    run = random_run(tmp_path, items=8)
    output = tmp_path / "metrics.parquet"
    write_family(**run, output=output)
    without = [name for name in VARIANTS if not name.endswith("pmi")]
    assert read_table(output, "metrics").column_names == [*SCHEMAS["metrics"].names, *without]
    for path in run["logprobs"]:
        table = read_table(path, "logprobs")
        unconditional = pc.multiply(table["log_likelihood"], 0.5)
        write_table(
            table.append_column("log_likelihood_unconditional", unconditional), path, "logprobs", read_metadata(path)
        )
    write_family(**run, output=output)
    frame = pl.read_parquet(output)
    assert frame.columns == [*SCHEMAS["metrics"].names, *VARIANTS]
    assert frame["accuracy_pmi"].equals(frame["accuracy"].alias("accuracy_pmi"))
    assert frame["margin_pmi"].to_numpy() == pytest.approx(frame["margin_log"].to_numpy() / 2, rel=1e-12)


def test_underflow_keeps_the_logarithms():
    found = of_items(([-9000.0, -9001.0, -9003.0], [1, 1, 1], 1))
    assert found["p_vocab_correct"][0] == found["p_vocab_incorrect"][0] == 0
    shares = np.exp([-1.0, -2.0, -4.0])
    assert found["p_choices_correct"][0] == pytest.approx(shares[1] / shares.sum(), rel=1e-14)
    assert found["log_p_vocab_incorrect"][0] == pytest.approx(-9000 + np.log1p(np.exp(-3)), rel=1e-15)
    assert found["margin_log"][0] == -1


def test_probability_near_one_is_not_one_minus_itself():
    found = of_items(([0.0, -50.0], [1, 1], 0))
    assert found["p_choices_correct"][0] == 1
    assert found["log_p_choices_correct"][0] == pytest.approx(-np.exp(-50), rel=1e-14)
    assert found["brier"][0] == pytest.approx(np.exp(-100), rel=1e-13)


def test_table_follows_the_contract(tmp_path):
    run = random_run(tmp_path, subjects=True)
    output = tmp_path / "metrics.parquet"
    write_family(**run, output=output)
    table = read_table(output, "metrics")
    assert table.column_names[: len(SCHEMAS["metrics"].names)] == SCHEMAS["metrics"].names
    frame = pl.from_arrow(table)
    assert frame.null_count().sum_horizontal().item() == 0
    assert len(frame) == 6 * 60 == frame.select("model", "checkpoint", "item").n_unique()
    members = frame.select("flops", "model", "checkpoint").unique(maintain_order=True)
    assert members.equals(members.sort("flops", "model", "checkpoint"))
    assert read_metadata(output)["members"] == [list(row) for row in members.select("model", "checkpoint").iter_rows()]
    items = pl.from_arrow(read_table(run["items"], "items")).select("subject", "item", "num_choices")
    for _, block in frame.group_by("model", "checkpoint", maintain_order=True):
        assert block.select("subject", "item", "num_choices").equals(items)


def test_rows_and_files_may_come_in_any_order(tmp_path):
    run = random_run(tmp_path)
    outputs = [tmp_path / "in_order.parquet", tmp_path / "shuffled.parquet"]
    write_family(**run, output=outputs[0])
    path = run["logprobs"][3]
    table, metadata = read_table(path, "logprobs"), read_metadata(path)
    write_table(table.take(np.random.default_rng(0).permutation(len(table))), path, "logprobs", metadata)
    run["logprobs"].reverse()
    write_family(**run, output=outputs[1])
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def _without(row):
    return lambda table: table.filter(pc.not_equal(np.arange(len(table)), row))


def _with(column, row, value):
    def change(table):
        values = table[column].to_pylist()
        values[row] = value
        return table.set_column(table.column_names.index(column), column, [values])

    return change


# i0 has choices in rows 0 and 1, i1 in rows 2 to 4.
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without(3), "item 'i1', choice 1 has no log-likelihood"),
        (lambda table: table.slice(0, 0), "item 'i0', choice 0 has no log-likelihood"),
        (_with("log_likelihood", 4, float("nan")), "item 'i1', choice 2 has a log-likelihood that is not finite"),
        (_with("log_likelihood", 4, -np.inf), "item 'i1', choice 2 has a log-likelihood that is not finite"),
        (_with("is_gold", 1, False), "item 'i0', choice 1 has another gold choice than in the items table"),
        (lambda table: table.take([0, 1, 2, 3, 4, 2]), "item 'i1', choice 0 appears more than once"),
    ],
)
def test_scores_that_do_not_fit_the_items_are_refused(tmp_path, change, message):
    items = write_items(tmp_path / "items.parquet", gold=[1, 0], num_choices=[2, 3])
    table = change(logprobs_table([1, 0], [[-1.0, -2.0], [-1.0, -2.0, -3.0]]))
    path, output = tmp_path / "logprobs.parquet", tmp_path / "metrics.parquet"
    write_table(table, path, "logprobs", about("m", "c", 10, 10))
    with pytest.raises(ElusiveError, match=f"{path}: {message}"):
        write_family([path], items, output)
    assert not output.exists()


def test_scores_of_other_items_are_refused(tmp_path):
    items = write_items(tmp_path / "items.parquet", gold=[1], num_choices=[2])
    path = tmp_path / "logprobs.parquet"
    write_table(logprobs_table([1, 0], [[-1.0, -2.0]] * 2), path, "logprobs", about("m", "c", 10, 10))
    with pytest.raises(ElusiveError, match="item 'i1', choice 0 is not in the items table"):
        write_family([path], items, tmp_path / "metrics.parquet")


def test_items_need_a_choice_between_choices(tmp_path):
    items = write_items(tmp_path / "items.parquet", gold=[0, 2], num_choices=[2, 2])
    with pytest.raises(ElusiveError, match="item 'i1' needs at least two choices, and its gold index among them"):
        write_family([], items, tmp_path / "metrics.parquet")


def test_checkpoints_need_metadata_and_are_not_repeated(tmp_path):
    items = write_items(tmp_path / "items.parquet", gold=[0], num_choices=[2])
    table = logprobs_table([0], [[-1.0, -2.0]])
    paths = [tmp_path / f"{n}.parquet" for n in range(2)]
    output = tmp_path / "metrics.parquet"
    for path in paths:
        write_table(table, path, "logprobs", about("m", "c", 10, 10))
    with pytest.raises(ElusiveError, match=rf"1\.parquet: m/c is already in {paths[0]}"):
        write_family(paths, items, output)
    other = {**members(paths)[0], "checkpoint": "d"}
    arguments = {"items": items, "benchmark": "quiz", "outputs": {"f": output}}
    with pytest.raises(ElusiveError, match="family 'f': no log-likelihoods of m/d on 'quiz'"):
        write_metrics(logprobs=paths[:1], families={"f": [other]}, **arguments)
    with pytest.raises(ElusiveError, match="family 'f' has no checkpoints"):
        write_metrics(logprobs=paths[:1], families={"f": []}, **arguments)
    write_table(table, paths[0], "logprobs", {"model": "m"})
    with pytest.raises(ElusiveError, match="must name model and checkpoint; it lacks 'checkpoint'"):
        write_metrics(logprobs=paths[:1], families={"f": [other]}, **arguments)
    pq.write_table(table, paths[0])
    with pytest.raises(ElusiveError):
        write_metrics(logprobs=paths[:1], families={"f": [other]}, **arguments)


def test_compute_is_the_registrys_and_families_share_checkpoints(tmp_path):
    run = random_run(tmp_path)
    everything = members(run["logprobs"])
    rounded = [{**member, "parameters": 2000, "flops": 6.0 * 2000 * member["tokens"]} for member in everything[1:]]
    outputs = {name: tmp_path / f"{name}.parquet" for name in ("all", "rounded")}
    families = {"all": everything, "rounded": rounded}
    write_metrics(**run, families=families, benchmark="quiz", outputs=outputs)
    alone = tmp_path / "alone.parquet"
    write_family(**run, output=alone, family="all")
    assert alone.read_bytes() == outputs["all"].read_bytes()
    found = pl.read_parquet(outputs["rounded"])
    assert found.select("checkpoint", "parameters", "flops").unique(maintain_order=True).rows() == [
        (f"step{n}", 2000, 12_000.0 * 10**n) for n in range(1, 6)
    ]
    both = found.join(pl.read_parquet(alone), on=["model", "checkpoint", "item"], suffix="_all")
    assert both["brier"].equals(both["brier_all"].alias("brier"))


def drop_items(path, items):
    """Make a logprobs table one that was scored without these items."""
    table, metadata = read_table(path, "logprobs"), read_metadata(path)
    kept = table.filter(pc.invert(pc.is_in(table["item"], pa.array(items, pa.string()))))
    write_table(kept, path, "logprobs", metadata | {"dropped_items": items})


def test_an_item_that_one_checkpoint_was_not_scored_on_is_left_out_for_all(tmp_path, caplog):
    run = random_run(tmp_path, items=12)
    whole = tmp_path / "whole.parquet"
    write_family(**run, output=whole)
    drop_items(run["logprobs"][1], ["i3", "i7"])
    drop_items(run["logprobs"][4], ["i7", "i11"])
    with caplog.at_level("INFO", "elusive"):
        write_family(**run, output=tmp_path / "less.parquet")
    assert "3 of 12 items are left out, since a checkpoint could not be scored on them" in caplog.text
    assert read_metadata(tmp_path / "less.parquet")["dropped_items"] == ["i11", "i3", "i7"]
    assert read_metadata(whole)["dropped_items"] == []
    expected = pl.read_parquet(whole).filter(~pl.col("item").is_in(["i11", "i3", "i7"]))
    assert len(expected) == 6 * 9
    assert pl.read_parquet(tmp_path / "less.parquet").equals(expected)


def test_so_in_families_of_other_checkpoints_and_in_the_choices(tmp_path):
    """All that belongs to a benchmark has the same items."""
    run = random_run(tmp_path, items=12)
    drop_items(run["logprobs"][1], ["i3"])
    every = members(run["logprobs"])
    families = {"first": every[:3], "last": every[3:]}
    for write, kind in ((write_metrics, "metrics"), (write_choices, "choices")):
        outputs = {name: tmp_path / f"{kind}-{name}.parquet" for name in families}
        write(logprobs=run["logprobs"], items=run["items"], families=families, benchmark="quiz", outputs=outputs)
        for path in outputs.values():
            assert pl.read_parquet(path)["item"].unique().sort().to_list() == sorted(
                {f"i{n}" for n in range(12)} - {"i3"}
            )


def test_an_item_that_is_missing_without_a_word_is_an_error(tmp_path):
    run = random_run(tmp_path, items=12)
    drop_items(run["logprobs"][1], ["i3"])
    metadata = read_metadata(run["logprobs"][1])
    write_table(
        read_table(run["logprobs"][1], "logprobs"), run["logprobs"][1], "logprobs", metadata | {"dropped_items": []}
    )
    with pytest.raises(ElusiveError, match="item 'i3', choice 0 has no log-likelihood"):
        write_family(**run, output=tmp_path / "out.parquet")


def test_a_benchmark_of_which_every_item_is_dropped(tmp_path):
    run = random_run(tmp_path, items=2)
    drop_items(run["logprobs"][0], ["i0"])
    drop_items(run["logprobs"][1], ["i1"])
    with pytest.raises(ElusiveError, match="no item is left that every checkpoint was scored on"):
        write_family(**run, output=tmp_path / "out.parquet")
