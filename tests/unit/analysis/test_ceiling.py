"""The ceiling of any score: correlations of the validation loss by independent means, and where it is not known."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import stats

from elusive.analysis.ceiling import axis, family_ceiling, write_ceiling
from elusive.analysis.checkpoints import write_checkpoints
from elusive.errors import ElusiveError
from elusive.tables import SCHEMAS, read_table

SIZES, TOKENS = (100, 400, 900), (0, 1000, 3000, 9000)


def members() -> list[dict]:
    return [
        {
            **{"model": f"m{n}", "checkpoint": f"t{d}", "parameters": n, "parameters_nonembedding": None},
            **{"tokens": d, "flops": 6.0 * n * d},
        }
        for n in SIZES
        for d in TOKENS
    ]


def loss_of(member: dict) -> float:
    """Falls with tokens more than with parameters, and not at every step."""
    wobble = np.sin(member["parameters"] + member["tokens"])
    return 9 - 0.5 * np.log(member["tokens"] + 1) - 0.05 * np.log(member["parameters"]) + 0.3 * wobble


def test_axis_is_what_varies():
    assert axis([5, 5], [1, 2]) == "tokens" and axis([5, 6], [1, 1]) == "parameters"
    assert axis([5, 6], [1, 2]) == "both" and axis([5, 5], [1, 1]) == axis([], []) == "neither"


def test_correlations_are_scipys():
    everything = members()
    rows = family_ceiling(everything, [loss_of(m) for m in everything])
    assert [(r["variable"], r["method"]) for r in rows] == [
        (v, m) for v in ("flops", "tokens", "parameters") for m in ("pearson", "spearman", "kendall")
    ]
    trained = [m for m in everything if m["flops"] > 0]
    losses = -np.array([loss_of(m) for m in trained])
    functions = {"pearson": stats.pearsonr, "spearman": stats.spearmanr, "kendall": stats.kendalltau}
    for row in rows:
        assert (row["axis"], row["num_models"], row["num_runs"], row["num_losses"]) == ("both", 9, 3, 9)
        x = np.log10([float(m[row["variable"]]) for m in trained])
        assert row["correlation"] == pytest.approx(functions[row["method"]](x, losses).statistic, abs=1e-12)
        left = [functions[row["method"]](np.delete(x, k), np.delete(losses, k)).statistic for k in range(9)]
        half = stats.t.ppf(0.975, 8) * np.sqrt(8 / 9 * ((np.array(left) - np.mean(left)) ** 2).sum())
        assert row["correlation_low"] == pytest.approx(max(row["correlation"] - half, -1), abs=1e-6)
        assert row["above_shuffled"] == (row["p_value"] <= 0.025) and row["note"] is None
    found = {(r["variable"], r["method"]): r for r in rows}
    assert found["tokens", "spearman"]["correlation"] > found["parameters", "spearman"]["correlation"]
    assert found["tokens", "spearman"]["above_shuffled"] and not found["parameters", "spearman"]["above_shuffled"]


def test_what_is_not_known_is_said():
    everything = members()
    one_size = [m for m in everything if m["parameters"] == 400]
    rows = family_ceiling(one_size, [loss_of(m) for m in one_size])
    own = {(r["variable"], r["method"]): r for r in rows}
    assert own["tokens", "spearman"]["axis"] == "tokens"
    assert own["tokens", "spearman"]["correlation"] is not None
    falling = family_ceiling(everything, [9 - np.log10(m["tokens"] + 1) for m in everything])
    perfect = next(r for r in falling if (r["variable"], r["method"]) == ("tokens", "spearman"))
    assert perfect["correlation"] == 1 and perfect["correlation_low"] is None, "no checkpoint makes a difference"
    assert own["tokens", "spearman"]["note"].startswith("3 checkpoints: too few")
    assert own["parameters", "kendall"]["correlation"] is None
    assert own["parameters", "kendall"]["note"] == "the loss or the variable is the same at every checkpoint"
    rows = family_ceiling(everything, [None] * len(everything))
    assert {r["note"] for r in rows} == {"the validation loss is known of 0 of 9 checkpoints"}
    some = family_ceiling(everything, [loss_of(m) if m["parameters"] == 900 else None for m in everything])
    assert {r["num_losses"] for r in some} == {3} and some[0]["num_models"] == 9


def test_table_of_the_ceiling(tmp_path):
    everything = members()
    training = []
    for member in everything[4:]:
        path = tmp_path / f"{member['model']}-{member['checkpoint']}.json"
        record = pl.DataFrame([{"model": member["model"], "checkpoint": member["checkpoint"]}])
        record = record.with_columns(validation_loss=pl.lit(loss_of(member)))
        path.write_text(record.write_json()[1:-1])
        training.append(path)
    checkpoints = tmp_path / "checkpoints.parquet"
    write_checkpoints(
        checkpoints=everything, training=training, output_parquet=checkpoints, output_csv=tmp_path / "checkpoints.csv"
    )
    outputs = {"output_parquet": tmp_path / "ceiling.parquet", "output_csv": tmp_path / "ceiling.csv"}
    write_ceiling(families={"b": everything, "a": everything[:4]}, checkpoints=checkpoints, **outputs)
    table = read_table(outputs["output_parquet"], "ceiling")
    assert table.column_names == SCHEMAS["ceiling"].names
    frame = pl.from_arrow(table)
    assert pl.read_csv(outputs["output_csv"], schema=frame.schema).equals(frame)
    assert frame["family"].to_list() == ["a"] * 9 + ["b"] * 9
    assert frame["num_losses"].unique().sort().to_list() == [0, 6]
    stranger = [everything[0] | {"model": "stranger"}]
    with pytest.raises(ElusiveError, match="has no row for stranger/t0 of family 'c'"):
        write_ceiling(families={"c": stranger}, checkpoints=checkpoints, **outputs)
