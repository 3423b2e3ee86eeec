"""Distribution statistics by independent means, the coverage of their intervals, and the tables written from them."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from elusive.analysis.checkpoints import write_checkpoints
from elusive.analysis.correlations import METHODS, write_correlations
from elusive.analysis.distributions import (
    FURTHER,
    LEAST_CLUSTERS,
    LEAST_EQUAL,
    LEAST_ITEMS,
    STATISTICS,
    distribution_statistics,
)
from elusive.analysis.metrics import METRICS, VARIANTS
from elusive.analysis.scores import write_scores
from elusive.analysis.statistics import NAN_POLICIES, medians, write_statistics
from elusive.errors import ElusiveError
from elusive.tables import SCHEMAS, read_metadata, read_table, write_table
from score_tables import about, logprobs_table, random_run, write_family, write_items

#: The metrics of tables without unconditional scores.
FOUND = (*METRICS, *(name for name in VARIANTS if not name.endswith("pmi")))
CORRELATIONS = st.one_of(
    st.floats(-1, 1).map(lambda value: round(value, 6)), st.sampled_from([-1.0, 0.0, 0.75, 1.0, np.nan])
)


def area_under_survival(values: np.ndarray) -> float:
    """Integral over [-1, 1] of the share of values above c, step by step."""
    steps = np.unique(np.concatenate([[-1.0, 1.0], values]))
    return float(sum((values > low).mean() * (high - low) for low, high in itertools.pairwise(steps)))


def authors_area(values: np.ndarray) -> float:
    """The area under the survival function as the paper's code computes it."""
    survival = stats.ecdf(values).sf
    c, height = np.r_[-1.0, survival.quantiles, 1.0], np.r_[1.0, survival.probabilities, 0.0]
    return float(np.trapezoid(height, c))


@settings(deadline=None)
@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 30), st.integers(1, 4)), elements=CORRELATIONS))
def test_statistics_equal_their_definitions(values):
    found = distribution_statistics(values, None)
    for column, all_values in enumerate(values.T):
        defined = all_values[~np.isnan(all_values)]
        assert found["nan_fraction"][column] == np.isnan(all_values).mean()
        if len(defined) == 0:
            assert all(np.isnan(found[name][column]) for name in (*STATISTICS, *FURTHER, "auc_trapezoid"))
            continue
        distances = [stats.wasserstein_distance(defined, [ideal]) for ideal in (-1, 1)]
        expected = {
            "mean": defined.mean(),
            "median": np.median(defined),
            "auc": area_under_survival(defined),
            "neg_wasserstein": -min(distances),
            "fraction_above_075": (defined > 0.75).mean(),
            "q25": np.quantile(defined, 0.25),
            "q75": np.quantile(defined, 0.75),
            "iqr": stats.iqr(defined),
            "fraction_below_0": (defined < 0).mean(),
            "auc_trapezoid": authors_area(defined),
        }
        assert set(expected) == {*STATISTICS, *FURTHER, "auc_trapezoid"}
        for name, value in expected.items():
            assert found[name][column] == pytest.approx(value, abs=1e-12), name


@settings(deadline=None)
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 40), st.integers(1, 4)), elements=CORRELATIONS),
    st.one_of(st.none(), st.integers(1, 12)),
)
def test_intervals_are_within_range_and_hold_the_statistic(values, clusters):
    codes = None if clusters is None else np.arange(len(values)) % clusters
    found = distribution_statistics(values, codes)
    drawn = np.arange(len(values)) if codes is None else codes
    for column, all_values in enumerate(values.T):
        defined = all_values[~np.isnan(all_values)]
        few = len(defined) < LEAST_ITEMS
        if codes is not None and len(defined):
            sizes = np.unique(drawn[~np.isnan(all_values)], return_counts=True)[1]
            few |= len(sizes) < LEAST_CLUSTERS or sizes.sum() ** 2 / (sizes**2).sum() < LEAST_EQUAL - 1e-9
        equal = len(set(defined)) < 2
        ranges = [(-1, 1), (-1, 1), (0, 2), (-1, 0), (0, 1), (-1, 1), (-1, 1), (0, 2), (0, 1)]
        for name, (least, most) in zip((*STATISTICS, *FURTHER), ranges, strict=True):
            low, value, high = (found[name + bound][column] for bound in ("_low", "", "_high"))
            if few or (equal and name in ("mean", "auc", "neg_wasserstein")):
                assert np.isnan([low, high]).all(), name
                continue
            if name in ("mean", "auc", "neg_wasserstein") and np.isnan(low):
                # Clusters whose means are equal, or all but one, tell nothing of how these differ.
                assert codes is not None
                continue
            assert least - 1e-9 <= low <= value + 1e-9 <= high + 2e-9 <= most + 3e-9, name
        assert (found["note"][column] is None) == (not np.isnan(found["mean_low"][column]))


def coverage(found: dict[str, np.ndarray], name: str, truth: float) -> float:
    return float(((found[f"{name}_low"] <= truth) & (truth <= found[f"{name}_high"])).mean())


@pytest.mark.parametrize("items", [10, 40, 400])
def test_intervals_cover_at_the_nominal_rate(items):
    # Correlations as they come: skewed, near their upper bound. 1 - 2 Beta(1, 3) has mean 0.5.
    distribution = stats.beta(1, 3)
    values = 1 - 2 * distribution.rvs((items, 1500), random_state=np.random.default_rng(items))
    found = distribution_statistics(values, None)
    truths = {
        "mean": 0.5,
        "auc": 1.5,
        "neg_wasserstein": -0.5,
        "median": 1 - 2 * distribution.ppf(0.5),
        "fraction_above_075": distribution.cdf(0.125),
        "q25": 1 - 2 * distribution.ppf(0.75),
        "q75": 1 - 2 * distribution.ppf(0.25),
        "iqr": 2 * (distribution.ppf(0.75) - distribution.ppf(0.25)),
        "fraction_below_0": distribution.sf(0.5),
    }
    for name, truth in truths.items():
        # Order statistics and Wilson's interval cannot hit 95 % exactly with few items.
        least, most = (0.93, 0.985 if name in FURTHER else 0.97) if items >= 40 else (0.91, 1.001)
        print(f"{items} items, {name}: {coverage(found, name, truth):.3f}")
        assert least < coverage(found, name, truth) < most, name


def test_intervals_of_clustered_items_cover_at_the_nominal_rate():
    generator = np.random.default_rng(7)
    clusters, each, columns = 40, 10, 1500
    codes = np.repeat(np.arange(clusters), each)
    values = 0.2 * (generator.normal(size=(clusters, columns))[codes] + generator.normal(size=(len(codes), columns)))
    order = generator.permutation(len(codes))
    found = distribution_statistics(values[order], codes[order])
    above = stats.norm.sf(0.75 / np.hypot(0.2, 0.2))
    for name, truth in {"mean": 0.0, "median": 0.0}.items():
        assert 0.93 < coverage(found, name, truth) < 0.975, name
    quartile = np.hypot(0.2, 0.2) * stats.norm.ppf(0.75)
    for name, truth in {"q25": -quartile, "q75": quartile, "iqr": 2 * quartile, "fraction_below_0": 0.5}.items():
        print(f"clusters, {name}: {coverage(found, name, truth):.3f}")
        assert 0.92 < coverage(found, name, truth) < 0.985, name
    assert 0.9 < coverage(found, "fraction_above_075", above) < 0.995
    alone = distribution_statistics(values, None)
    assert coverage(alone, "mean", 0.0) < 0.75, "items that share a cluster are not independent"


def test_columns_do_not_depend_on_each_other():
    values = np.random.default_rng(9).uniform(-1, 1, (500, 60))
    values[3, 7] = np.nan
    codes = np.arange(500) // 20
    for clusters in (None, codes):
        together = distribution_statistics(values, clusters)
        alone = distribution_statistics(values[:, [4]], clusters)
        for name in set(together) - {"note"}:
            np.testing.assert_allclose(together[name][4], alone[name][0], rtol=0, atol=1e-13, err_msg=name)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> dict[str, list[Path]]:
    """Metrics and correlations of two families on a benchmark with subjects."""
    folder = tmp_path_factory.mktemp("run")
    inputs = random_run(folder, items=60, subjects=True)
    paths = {"metrics": [], "correlations": [], "logprobs": inputs["logprobs"]}
    for family, members in (("small", slice(0, 5)), ("all", slice(None))):
        metrics, correlations = (folder / f"{kind}/{family}/quiz.parquet" for kind in ("metrics", "correlations"))
        logprobs = inputs["logprobs"][members]
        write_family(logprobs, inputs["items"], metrics, family)
        write_correlations(metrics={family: metrics}, benchmark="quiz", outputs={family: correlations})
        paths["metrics"].append(metrics)
        paths["correlations"].append(correlations)
    return paths


@pytest.fixture(scope="module")
def statistics(run, tmp_path_factory) -> pl.DataFrame:
    output = tmp_path_factory.mktemp("statistics") / "statistics.parquet"
    write_statistics(correlations=run["correlations"], output_parquet=output, output_csv=output.with_suffix(".csv"))
    table = read_table(output, "correlation_statistics")
    contract = SCHEMAS["correlation_statistics"].names
    assert table.column_names[: len(contract)] == contract
    frame = pl.from_arrow(table)
    assert pl.read_csv(output.with_suffix(".csv"), schema=frame.schema).equals(frame)
    return frame


def test_rows_of_the_statistics_table(statistics):
    subjects = [None, *(f"subject {n}" for n in range(5))]
    keys = itertools.product(["all", "small"], ["quiz"], subjects, FOUND, METHODS, NAN_POLICIES)
    names = ["family", "benchmark", "subject", "metric", "method", "nan_policy"]
    assert list(statistics.select(names).iter_rows()) == list(keys)
    assert statistics.filter(family="small")["num_models"].unique().to_list() == [4]
    assert statistics.filter(pl.col("subject").is_null())["num_items"].unique().to_list() == [60]
    assert statistics.filter(pl.col("subject").is_not_null())["num_items"].unique().to_list() == [12]
    assert statistics.filter(pl.col("subject").is_null())["num_clusters"].unique().to_list() == [5]
    for name in (*STATISTICS, *FURTHER):
        known = statistics.filter(pl.col(name).is_not_null())
        assert not known[name].is_nan().any()


def test_statistics_of_the_table_are_those_of_the_correlations(run, statistics):
    correlations = pl.concat(pl.from_arrow(read_table(path, "correlations")) for path in run["correlations"])
    for subject, policy in itertools.product((None, "subject 3"), NAN_POLICIES):
        rows = correlations if subject is None else correlations.filter(subject=subject)
        keep = pl.col("correlation").fill_null(0) if policy == "zero" else pl.col("correlation").drop_nulls()
        expected = rows.group_by("family", "metric", "method").agg(
            keep.mean().alias("mean"),
            keep.median().alias("median"),
            pl.col("correlation").is_null().mean().alias("nan_fraction"),
        )
        found = statistics.filter(pl.col("subject").eq_missing(pl.lit(subject)), nan_policy=policy)
        both = found.join(expected, on=["family", "metric", "method"], suffix="_expected")
        assert len(both) == len(found) == 2 * len(FOUND) * len(METHODS)
        for name in ("mean", "median", "nan_fraction"):
            np.testing.assert_allclose(both[name], both[f"{name}_expected"], rtol=0, atol=1e-12)
    assert statistics.filter(metric="accuracy")["nan_fraction"].max() > 0


def test_without_any_defined_correlation_there_are_no_statistics(run, tmp_path):
    table = pl.from_arrow(read_table(run["correlations"][0], "correlations"))
    value = pl.when(metric="accuracy").then(None).otherwise("correlation").alias("correlation")
    path, output = tmp_path / "correlations.parquet", tmp_path / "statistics.parquet"
    write_table(table.with_columns(value).to_arrow(), path, "correlations")
    write_statistics(correlations=[path], output_parquet=output, output_csv=tmp_path / "statistics.csv")
    rows = pl.from_arrow(read_table(output, "correlation_statistics")).filter(metric="accuracy", method="pearson")
    assert rows["nan_fraction"].unique().to_list() == [1.0]
    dropped, zero = rows.filter(nan_policy="drop"), rows.filter(nan_policy="zero")
    assert dropped["mean", "median_low", "auc_high", "fraction_above_075"].null_count().sum_horizontal().sum() == 24
    assert zero["mean"].unique().to_list() == [0.0]


def test_items_of_one_text_are_drawn_together(run, tmp_path):
    correlations = pl.from_arrow(read_table(run["correlations"][0], "correlations"))
    plain = correlations.with_columns(subject=pl.lit(None, pl.String))
    path = tmp_path / "correlations.parquet"
    write_table(plain.to_arrow(), path, "correlations")
    names = [f"i{n}" for n in range(60)]

    def statistics(clusters: list[str | None] | None, name: str) -> pl.DataFrame:
        items = write_items(tmp_path / f"{name}-items.parquet", [0] * 60, [2] * 60)
        if clusters is not None:
            table = read_table(items, "items").append_column("cluster", pa.array(clusters, pa.string()))
            # Another order than the correlations'.
            write_table(table.take(list(range(60))[::-1]), items, "items", {"benchmark": "quiz"})
        output = tmp_path / f"{name}.parquet"
        write_statistics(
            correlations=[path], items=[items], output_parquet=output, output_csv=output.with_suffix(".csv")
        )
        return pl.from_arrow(read_table(output, "correlation_statistics"))

    alone = statistics(None, "alone")
    assert statistics([None] * 60, "null").equals(alone), "items without a cluster are drawn one by one"
    assert statistics(names, "single").equals(alone)
    assert alone["num_clusters"].unique().to_list() == [60]
    texts = [f"text {n // 4}" if n < 40 else None for n in range(60)]
    together = statistics(texts, "texts")
    assert together["num_clusters"].unique().to_list() == [30]
    row = {"metric": "log_p_vocab_correct", "method": "pearson", "nan_policy": "drop"}
    values = plain.filter(metric=row["metric"], method=row["method"])["correlation"].to_numpy()
    codes = np.array([n // 4 if n < 40 else n for n in range(60)])
    expected = distribution_statistics(values[:, None], codes)
    for name in ("mean_low", "median_low", "q75_high", "iqr_low", "fraction_above_075_high"):
        assert together.filter(**row)[name].item() == pytest.approx(expected[name][0], abs=1e-12)
    with pytest.raises(ElusiveError, match="'i59' has correlations but is not in the items table"):
        short = tmp_path / "short.parquet"
        table = read_table(write_items(short, [0] * 60, [2] * 60), "items")
        table = table.append_column("cluster", pa.array(texts, pa.string())).slice(0, 59)
        write_table(table, short, "items", {"benchmark": "quiz"})
        write_statistics(
            correlations=[path], items=[short], output_parquet=tmp_path / "s.parquet", output_csv=tmp_path / "s.csv"
        )


def test_order_of_files_does_not_matter(run, tmp_path):
    for name, order in (("a", 1), ("b", -1)):
        write_statistics(
            correlations=run["correlations"][::order],
            output_parquet=tmp_path / f"{name}.parquet",
            output_csv=tmp_path / f"{name}.csv",
        )
    for kind in ("parquet", "csv"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_correlations_that_do_not_fit_are_refused(run, tmp_path):
    first = run["correlations"][0]
    outputs = {"output_parquet": tmp_path / "s.parquet", "output_csv": tmp_path / "s.csv"}
    with pytest.raises(ElusiveError, match="no correlations to summarise"):
        write_statistics(correlations=[], **outputs)
    with pytest.raises(ElusiveError, match="correlations of 'small' on 'quiz' are already in another file"):
        write_statistics(correlations=[first, first], **outputs)
    table, path = pl.from_arrow(read_table(first, "correlations")), tmp_path / "correlations.parquet"
    for changed, message in (
        (table.filter(pl.col("metric") != "brier"), "no rows for metric 'brier' by method 'pearson'"),
        (table.slice(1), "same items in the same order"),
        (pl.concat([table, table]), "same items in the same order"),
        (table.with_columns(family=pl.Series(["a", "b"] * (len(table) // 2))), "one family on one benchmark"),
    ):
        write_table(changed.to_arrow(), path, "correlations")
        with pytest.raises(ElusiveError, match=message):
            write_statistics(correlations=[path], **outputs)
    assert not any(path.exists() for path in outputs.values())


def test_medians_are_those_of_whole_benchmarks(statistics):
    table = medians(statistics, "all")
    assert table.columns == ["benchmark", "metric", *METHODS, "nan_fraction"]
    assert table["metric"].to_list() == list(FOUND)
    row = statistics.row(
        by_predicate=(pl.col("family") == "all")
        & pl.col("subject").is_null()
        & (pl.col("metric") == "brier")
        & (pl.col("method") == "spearman")
        & (pl.col("nan_policy") == "drop"),
        named=True,
    )
    assert table.filter(metric="brier")["spearman"].item() == row["median"]


SCRIPT = """
import sys
from pathlib import Path
from elusive.analysis.authors import write_authors_variants
from elusive.analysis.correlations import write_correlations
from elusive.analysis.null import write_null_bands
from elusive.analysis.over_checkpoints import TABLES, write_over_checkpoints
from elusive.analysis.checkpoints import write_checkpoints
from elusive.analysis.scores import write_scores
from elusive.analysis.statistics import write_statistics
from score_tables import members, write_family
out, items, *logprobs = map(Path, sys.argv[1:])
metrics, correlations = out / "metrics.parquet", out / "correlations.parquet"
write_family(logprobs, items, metrics, "all")
write_correlations(metrics={"all": metrics}, benchmark="quiz", outputs={"all": correlations})
def both(name):
    return {"output_parquet": out / f"{name}.parquet", "output_csv": out / f"{name}.csv"}
write_statistics(correlations=[correlations], **both("statistics"))
write_scores(metrics=[metrics], **both("scores"))
outputs = {name: tuple(both(name).values()) for name in TABLES}
write_over_checkpoints(metrics=[metrics], items=[items], outputs=outputs)
write_authors_variants(metrics=[metrics], **both("authors_variants"))
curves = {"curves_parquet": out / "curves.parquet", "curves_csv": out / "curves.csv"}
write_null_bands(families={"all": members(logprobs)}, items=[items], **both("null_bands"), **curves)
write_checkpoints(checkpoints=members(logprobs), training=[], **both("checkpoints"))
"""


@pytest.mark.slow
def test_two_runs_with_other_numbers_of_threads_give_the_same_bytes(tmp_path):
    inputs = random_run(tmp_path / "in", items=700, checkpoints=12, subjects=True)
    source = Path(__file__).parents[3] / "workflow"
    outputs = []
    for threads in ("1", "2", "2"):
        out = tmp_path / f"out{len(outputs)}"
        counts = dict.fromkeys(("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
        subprocess.run(
            [sys.executable, "-c", SCRIPT, out, inputs["items"], *inputs["logprobs"]],
            env=os.environ | counts | {"PYTHONPATH": f"{source}{os.pathsep}{Path(__file__).parents[1]}"},
            check=True,
        )
        outputs.append({path.name: path.read_bytes() for path in sorted(out.iterdir())})
    assert len(outputs[0]) == 20
    assert outputs[0] == outputs[1] == outputs[2]


def test_table_of_checkpoints(tmp_path):
    checkpoints = [
        {
            "model": model,
            "checkpoint": f"t{tokens}",
            "parameters": parameters,
            "parameters_nonembedding": outside,
            "tokens": tokens,
            "flops": 6.0 * parameters * tokens,
        }
        for model, parameters, outside in (("b", 500, 100), ("a", 2000, None))
        for tokens in (1000, 20)
    ]
    record = {"model": "b", "checkpoint": "t1000", "tokens": 1000, "validation_loss": 5.25, "train_loss": 5.0}
    training = tmp_path / "training.json"
    training.write_text(json.dumps(record))
    output = {"output_parquet": tmp_path / "c.parquet", "output_csv": tmp_path / "c.csv"}
    write_checkpoints(checkpoints=checkpoints, training=[training], **output)
    found = pl.read_parquet(output["output_parquet"])
    assert found.rows() == [
        ("b", "t20", 500, 100, 20, 60_000.0, 12_000.0, None),
        ("b", "t1000", 500, 100, 1000, 3e6, 6e5, 5.25),
        ("a", "t20", 2000, None, 20, 240_000.0, None, None),
        ("a", "t1000", 2000, None, 1000, 1.2e7, None, None),
    ]
    assert pl.read_csv(output["output_csv"], schema=found.schema).equals(found)
    assert read_metadata(output["output_parquet"]) == {}
    for text in ("{", "[]", '{"model": "b"}'):
        training.write_text(text)
        with pytest.raises(ElusiveError, match=r"training\.json: not a readable record of training"):
            write_checkpoints(checkpoints=checkpoints, training=[training], **output)


def test_table_of_scores(run, tmp_path):
    output = {"output_parquet": tmp_path / "s.parquet", "output_csv": tmp_path / "s.csv"}
    write_scores(metrics=run["metrics"], **output)
    found = pl.read_parquet(output["output_parquet"])
    metrics = pl.concat(pl.from_arrow(read_table(path, "metrics")) for path in run["metrics"]).unique()
    assert len(found) == 6, "checkpoints in two families have one row"
    assert found.select("flops", "model", "checkpoint").equals(
        found.select("flops", "model", "checkpoint").sort("flops", "model", "checkpoint")
    )
    chance = 1 / metrics["num_choices"].cast(pl.Float64)
    expected = (
        metrics.with_columns(chance=chance, guess=chance * (1 - chance))
        .group_by("model", "checkpoint")
        .agg(
            pl.col("chance", "accuracy_norm", "p_choices_correct", "brier", "log_p_vocab_correct").mean(),
            pl.col("accuracy").mean(),
            (pl.col("accuracy").std() / pl.len().sqrt()).alias("accuracy_se"),
            ((pl.col("accuracy").sum() - pl.col("chance").sum()) / pl.col("guess").sum().sqrt()).alias(
                "above_chance_se"
            ),
        )
    )
    both = found.join(expected, on=["model", "checkpoint"], suffix="_expected")
    for name in expected.columns[2:]:
        np.testing.assert_allclose(both[name], both[f"{name}_expected"], rtol=1e-12, err_msg=name)


def test_guessing_is_within_chance(tmp_path):
    generator = np.random.default_rng(10)
    gold = generator.integers(0, 4, 4000).tolist()
    items = write_items(tmp_path / "items.parquet", gold, [4] * len(gold))
    path, metrics = tmp_path / "logprobs.parquet", tmp_path / "metrics.parquet"
    for shift, near in ((0.0, True), (0.5, False)):
        scores = generator.normal(-9, 1, (len(gold), 4))
        scores[np.arange(len(gold)), gold] += shift
        write_table(logprobs_table(gold, scores.tolist()), path, "logprobs", about("m", "c", 10, 10))
        write_family([path], items, metrics)
        write_scores(metrics=[metrics], output_parquet=tmp_path / "s.parquet", output_csv=tmp_path / "s.csv")
        row = pl.read_parquet(tmp_path / "s.parquet").row(0, named=True)
        assert row["chance"] == 0.25
        assert (abs(row["above_chance_se"]) < 4) == near


def test_families_that_disagree_on_a_checkpoint_are_refused(run, tmp_path):
    table = pl.from_arrow(read_table(run["metrics"][0], "metrics"))
    path = tmp_path / "metrics.parquet"
    write_table(table.with_columns(accuracy_norm=1 - pl.col("accuracy_norm")).to_arrow(), path, "metrics")
    with pytest.raises(ElusiveError, match="on quiz otherwise than another file does"):
        write_scores(
            metrics=[run["metrics"][0], path], output_parquet=tmp_path / "s.parquet", output_csv=tmp_path / "s.csv"
        )
