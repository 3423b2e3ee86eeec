"""The audit: what it says, and that it says nothing where there is nothing to say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from elusive.analysis import audit, equality
from elusive.analysis.aggregates import write_aggregates
from elusive.analysis.audit import off_trend, run_trends, write_audit
from elusive.analysis.metrics import write_metrics
from elusive.errors import ElusiveError
from elusive.tables import SCHEMAS, read_metadata, read_table, write_table
from score_tables import about, logprobs_table, members, write_items

KEY = ("m", "step4")
CHECKPOINTS, ITEMS, CHOICES = 8, 40, 3


# Sentences: where each is said, and where it is not.


def test_cut_prompts_are_counted():
    said = audit.truncated_text(KEY, "quiz", 3, 40, 8)
    assert said == (
        "m/step4: 3 of 40 items of quiz have prompts longer than the 8 tokens that the model is fed; their beginnings "
        "were cut."
    )
    assert "prompts longer; their" in audit.truncated_text(KEY, "quiz", 3, 40, None)
    assert audit.truncated_text(KEY, "quiz", 0, 40, 8) is None


def test_dropped_items_are_counted():
    said = "m/step4: 2 items of quiz could not be scored, and are left out for all checkpoints."
    assert audit.dropped_text(KEY, "quiz", 2) == said
    assert "1 item of quiz" in audit.dropped_text(KEY, "quiz", 1)
    assert audit.dropped_text(KEY, "quiz", 0) is None


@pytest.mark.parametrize(("share", "dtype", "is_said"), [(0.02, "bfloat16", True), (0.009, "float16", False)])
def test_ties_are_said_where_they_are_many(share, dtype, is_said):
    said = audit.ties_text(KEY, "quiz", share, dtype)
    assert (said is not None) == is_said
    if is_said:
        assert said.startswith("m/step4: in bfloat16, on 2.0% of the items of quiz the right choice and a wrong one")


def test_ties_in_single_precision_are_no_fault_of_it():
    assert audit.ties_text(KEY, "quiz", 0.5, "float32") is None


def test_mixtures_name_the_members():
    several = {"float32": [("a", "1")], "float16": [("b", str(i)) for i in range(5)]}
    assert audit.mixture_text("types of the weights", several) == (
        "Members were scored with different types of the weights: float16 (b/0, b/1, b/2 and 2 more); float32 (a/1)."
    )
    assert audit.mixture_text("types of the weights", {"float32": [("a", "1"), ("b", "2")]}) is None
    assert audit.mixture_text("types of the weights", {}) is None


def test_a_distance_is_said_where_there_is_one():
    assert audit.off_trend_text(KEY, None) is None
    assert "by 0.80 of the range of the run's other checkpoints" in audit.off_trend_text(KEY, 0.8)


def test_twins_are_said_by_what_is_equal():
    twin = equality.Twin(("a", "1"), ("a", "2"))
    assert equality.text(twin, "on quiz") == "a/1 and a/2 have the same log-likelihoods on quiz."
    twin = equality.Twin(("a", "1"), ("a", "2"), "c0ffee")
    assert equality.text(twin, "on quiz") == "a/1 and a/2 have the same weights (revision c0ffee)."


# Trends.


def curve(kind: str, x: np.ndarray) -> np.ndarray:
    """Mean log-likelihoods of a run, relative to their size."""
    t = (x - x[0]) / (x[-1] - x[0])
    shapes = {
        "power": -np.exp(-3 * t),
        "sigmoid": 1 / (1 + np.exp(-12 * (t - 0.4))),
        "line": t,
        "annealed": np.where(t == 1, 0.15, 0) - np.exp(-3 * t),
        "falls": -(t**2),
        "turns": -((t - 0.5) ** 2),
        "late": np.maximum(0, t - 0.6) * 2,
        "flat": 0 * t,
    }
    return -1 + 0.3 * shapes[kind]


KINDS = ["power", "sigmoid", "line", "annealed", "falls", "turns", "late", "flat"]


@pytest.mark.parametrize("kind", KINDS)
@given(count=st.integers(5, 40), even=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_a_curve_is_no_wrong_upload(kind, count, even, seed):
    assume(count >= 10 or kind not in ("turns", "late"))  # of few points, a sharp turn may as well be an odd one
    generator = np.random.default_rng(seed)
    x = np.linspace(8, 11.5, count)
    if not even:  # steps in the ratio of 1 to 2 at most
        x = 8 + np.cumsum(generator.uniform(1, 2, count)) * 3.5 / (2 * count)
    assert off_trend(x, curve(kind, x)) == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_hardly_ever_one(kind):
    """Half a per cent of the log-likelihood from checkpoint to checkpoint, more than real runs have at their end."""
    generator = np.random.default_rng(0)
    said = 0
    for _ in range(500):
        x = np.linspace(8, 11.5, generator.integers(6, 30))
        said += bool(off_trend(x, curve(kind, x) + 0.005 * generator.standard_normal(len(x))))
    assert said <= 10


@pytest.mark.parametrize("kind", ["power", "sigmoid", "line"])
def test_weights_of_another_step_are_found(kind):
    generator = np.random.default_rng(1)
    found = wrong = tried = 0
    while tried < 300:
        x = np.linspace(8, 11.5, 13)
        y = curve(kind, x) + 0.002 * generator.standard_normal(13)
        here, there = generator.choice(13, 2, replace=False)
        if abs(y[here] - y[there]) < 0.5 * np.ptp(y):
            continue
        tried += 1
        y[here] = y[there]
        said = off_trend(x, y)
        found += here in said
        wrong += bool(said.keys() - {here - 1, here, here + 1})
    assert found > 0.75 * tried
    assert wrong < 0.02 * tried


def test_two_wrong_uploads_are_both_found():
    x = np.linspace(8, 11.5, 30)
    y = curve("line", x)
    y[7], y[21] = y[28], y[1]
    assert off_trend(x, y).keys() == {7, 21}


def means_table(curves: dict[str, np.ndarray], model: str = "m") -> pa.Table:
    rows = [
        {
            "model": model,
            "checkpoint": f"step{i}",
            "parameters": 1,
            "tokens": 10 * 2**i,
            "flops": 1.0,
            "benchmark": benchmark,
            "metric": metric,
            "num_items": 10,
            "mean": float(value),
            "se": 0.1,
        }
        for benchmark, values in curves.items()
        for i, value in enumerate(values)
        for metric in ("log_p_vocab_correct", "accuracy")
    ]
    return pa.Table.from_pylist(rows, SCHEMAS["means"])


def test_most_benchmarks_have_to_agree():
    x = np.arange(10.0)
    right = curve("power", x)
    wrong = right.copy()
    wrong[6] = right[0]
    table = means_table({"a": 40 * wrong, "b": 7 * wrong, "c": 90 * right})
    assert run_trends(table).keys() == {("m", "step6")}
    assert run_trends(means_table({"a": 40 * wrong, "b": 7 * right, "c": 90 * right})) == {}
    assert run_trends(means_table({"a": 40 * wrong[:4]})) == {}, "too few for a trend"


def test_a_model_of_several_runs_has_no_trend():
    table = means_table({"a": -np.arange(1.0, 9.0)})
    doubled = table.set_column(table.schema.get_field_index("tokens"), "tokens", pa.array([5] * len(table)))
    assert run_trends(doubled) == {}


# The whole table.


def write_run(folder: Path, change=lambda n, scores, metadata: (scores, metadata)) -> dict:
    """The tables of a run of one model on one benchmark, each of which ``change`` may alter."""
    generator = np.random.default_rng(0)
    gold = generator.integers(0, CHOICES, ITEMS).tolist()
    base = generator.normal(-40, 5, (ITEMS, CHOICES))
    paths = []
    for n in range(CHECKPOINTS):
        scores = base + 3 * n + generator.normal(0, 0.5, (ITEMS, CHOICES))
        metadata = about("m", f"step{n}", 1000, 1000 * 2**n, revision=f"{n:040x}", dtype="bfloat16", device="cpu")
        metadata |= {"path": "packed", "versions": {"torch": "2.13.0"}, "max_length": 8}
        scores, metadata = change(n, scores, metadata)
        paths.append(folder / f"logprobs/m/step{n}/quiz.parquet")
        write_table(logprobs_table(gold, scores.tolist()), paths[-1], "logprobs", metadata)
    items = write_items(folder / "items/quiz.parquet", gold, [CHOICES] * ITEMS)
    return {"logprobs": paths, "items": items, "families": {"f": members(paths)}, "benchmark": "quiz"}


def audited(folder: Path, run: dict, duplicates: bool = False) -> list[dict]:
    metrics = folder / "metrics.parquet"
    write_metrics(**run, outputs={"f": metrics}, allow_duplicates=["f"] if duplicates else [])
    places = {name: folder / f"{name}.parquet" for name in ("means", "aggregates", "audit")}
    write_aggregates(
        metrics=[metrics],
        items=[run["items"]],
        families=run["families"],
        means_parquet=places["means"],
        means_csv=folder / "means.csv",
        aggregates_parquet=places["aggregates"],
        aggregates_csv=folder / "aggregates.csv",
    )
    write_audit(
        logprobs=run["logprobs"],
        metrics={("f", "quiz"): metrics},
        items={"quiz": run["items"]},
        means=places["means"],
        families=run["families"],
        output_parquet=places["audit"],
        output_csv=folder / "audit.csv",
    )
    return read_table(places["audit"], "audit").to_pylist()


def test_all_is_well_has_no_rows(tmp_path):
    assert audited(tmp_path, write_run(tmp_path)) == []
    assert (tmp_path / "audit.csv").read_text() == "family,kind,model,checkpoint,benchmark,value,text\n"


def of_step(number: int, **metadata):
    return lambda n, scores, old: (scores, old | (metadata if n == number else {}))


@pytest.mark.parametrize(
    ("metadata", "kind", "value", "said"),
    [
        ({"truncated_items": 4}, "truncated", 0.1, "4 of 40 items of quiz have prompts longer than the 8 tokens"),
        ({"warnings": ["BOS is overruled"]}, "warning", None, "m/step3: BOS is overruled."),
        ({"dtype": "float32"}, "mixture", None, "different types of the weights: bfloat16 (m/step0, m/step1, m/step2"),
        ({"device": "cuda"}, "mixture", None, "different devices"),
        ({"path": "single"}, "mixture", None, "different ways of running the model"),
        ({"versions": {"torch": "2.0"}}, "mixture", None, "different versions of torch: 2.13.0 "),
    ],
)
def test_what_tables_say_of_themselves(tmp_path, metadata, kind, value, said):
    (row,) = audited(tmp_path, write_run(tmp_path, of_step(3, **metadata)))
    assert (row["family"], row["kind"], row["value"]) == ("f", kind, value)
    assert said in row["text"]
    assert row["benchmark"] == ("quiz" if kind == "truncated" else None)


def test_a_warning_that_only_counts_is_said_once(tmp_path):
    cut = {"truncated_items": 4, "warnings": ["4 items have prompts longer than 8 tokens, which were cut"]}
    assert [row["kind"] for row in audited(tmp_path, write_run(tmp_path, of_step(3, **cut)))] == ["truncated"]


def test_ties_count_where_choices_differ(tmp_path):
    def coarse(n, scores, metadata):
        return (np.round(scores / 8) * 8 if n == 2 else scores), metadata

    run = write_run(tmp_path, coarse)
    (row,) = audited(tmp_path, run)
    assert (row["kind"], row["checkpoint"], row["benchmark"]) == ("ties", "step2", "quiz")
    table = read_table(run["items"], "items")
    same = table.set_column(
        table.schema.get_field_index("continuations"), "continuations", pa.array([[" one"] * CHOICES] * ITEMS)
    )
    write_table(same, run["items"], "items", read_metadata(run["items"]))
    assert audited(tmp_path, run) == [], "equal choices tie in any precision"


def test_a_wrong_upload_is_named(tmp_path):
    def wrong(n, scores, metadata):
        return (scores - 15 if n == 5 else scores), metadata

    (row,) = audited(tmp_path, write_run(tmp_path, wrong))
    assert (row["kind"], row["model"], row["checkpoint"], row["benchmark"]) == ("off_trend", "m", "step5", None)
    assert row["value"] > 0.25


def equal_scores(n, scores, metadata, state={}):  # noqa: B006
    if n == 3:
        state["scores"] = scores
    return (state["scores"] if n == 4 else scores), metadata


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (equal_scores, "m/step3 and m/step4 have the same log-likelihoods on all 40 items of quiz"),
        (of_step(4, revision=f"{3:040x}"), r"m/step3 and m/step4 have the same weights \(revision 0{39}3\)"),
    ],
)
def test_equal_members_are_an_error_unless_they_are_allowed(tmp_path, change, said):
    run = write_run(tmp_path, change)
    with pytest.raises(ElusiveError, match=f"family 'f': {said}.* `allow_duplicates: true`"):
        audited(tmp_path, run)
    assert not (tmp_path / "metrics.parquet").exists()
    rows = [row for row in audited(tmp_path, run, duplicates=True) if row["kind"] == "equal"]
    assert [row["checkpoint"] for row in rows] == ["step4"]
    assert rows[0]["text"].startswith("m/step3 and m/step4 have the same")


def test_many_equal_members_make_a_short_message(tmp_path):
    state: dict = {}
    run = write_run(tmp_path, lambda n, scores, metadata: (state.setdefault("scores", scores), metadata))
    with pytest.raises(
        ElusiveError, match=r"m/step0 and m/step3 have the same .*quiz\. So have 4 more pairs\. A "
    ) as e:
        audited(tmp_path, run)
    assert str(e.value).count("have the same") == 3


def test_two_untrained_checkpoints_may_be_equal():
    two = [{"model": "m", "checkpoint": f"seed{i}", "flops": 0.0} for i in range(2)]
    same = {("m", "seed0"): "digest", ("m", "seed1"): "digest"}
    assert equality.twins(two, {}, same) == []
    trained = [two[0], two[1] | {"flops": 1.0}]
    assert equality.twins(trained, {}, same) == [equality.Twin(("m", "seed0"), ("m", "seed1"))]
    assert equality.twins(trained, {("m", "seed0"): None, ("m", "seed1"): None}, {}) == [], "nothing is known"
