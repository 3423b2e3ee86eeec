"""What a log lacks stays null down the line: metrics that take it are left out for all checkpoints of a benchmark."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from elusive.analysis.aggregates import write_aggregates
from elusive.analysis.attribution import write_attribution
from elusive.analysis.authors import write_authors_variants
from elusive.analysis.choices import write_choices
from elusive.analysis.correlations import write_correlations
from elusive.analysis.mechanism import Inputs, write_mechanism
from elusive.analysis.metrics import METRICS, VARIANTS, write_metrics
from elusive.analysis.over_checkpoints import TABLES, write_over_checkpoints
from elusive.analysis.scores import write_scores
from elusive.analysis.statistics import write_statistics
from elusive.errors import ElusiveError
from elusive.report.drilldown import NOT_KNOWN, write_drilldown
from elusive.tables import SCHEMAS, data_dictionary, read_metadata, read_table, write_table
from logged import questions

COUNT = 20
MODELS = 5
NEEDS = {
    "num_tokens": {"p_choices_correct_per_token", "accuracy_per_token"},
    "num_bytes": {"p_choices_correct_per_byte", "margin_per_byte", "accuracy_per_byte"},
    "num_chars": {"p_choices_correct_per_char", "accuracy_norm"},
    "is_greedy": {"is_greedy"},
}


class Family:
    """Tables of five checkpoints on one benchmark, and everything that is made of them."""

    def __init__(self, home, lacking=(), only=None, texts=True, **metadata) -> None:
        self.home = home
        asked = questions(COUNT)
        rows = {
            "item": [f"i{question.number}" for question in asked],
            "subject": [None] * COUNT,
            "contexts": [question.contexts[:1] if texts else None for question in asked],
            "continuations": [question.continuations if texts else None for question in asked],
            "gold": [question.gold for question in asked],
            "num_choices": [3] * COUNT,
            "choices": [question.choices if texts else None for question in asked],
        }
        about = {"benchmark": "quiz", "label": "Quiz", "split": None, "num_items_total": COUNT, "chance": 1 / 3}
        write_table(
            pa.table(rows, schema=pa.schema([*SCHEMAS["items"], pa.field("choices", pa.list_(pa.string()))])),
            home / "items.parquet",
            "items",
            about,
        )
        self.members, self.logprobs = [], []
        for seed in range(MODELS):
            member = {"model": "m", "checkpoint": f"step{seed}", "parameters": 10, "tokens": 100 + seed}
            self.members.append(member | {"flops": 6.0 * 10 * (100 + 50 * seed)})
            values = np.array([value for question in questions(COUNT, seed) for value in question.values])
            texts_of = [text for question in asked for text in question.choices]
            columns = {
                "item": np.repeat(rows["item"], 3).tolist(),
                "choice": list(range(3)) * COUNT,
                "is_gold": [i == question.gold for question in asked for i in range(3)],
                "log_likelihood": values,
                "num_tokens": [1, 2, 2] * COUNT,
                "num_bytes": [len(text.encode()) for text in texts_of],
                "num_chars": [len(text) for text in texts_of],
                "is_greedy": [False, True, False] * COUNT,
            }
            for column in lacking:
                if only is None or seed in only:
                    columns[column] = pa.nulls(3 * COUNT, SCHEMAS["logprobs"].field(column).type)
            file = home / f"logprobs/step{seed}.parquet"
            write_table(pa.table(columns), file, "logprobs", member | {k: v[seed] for k, v in metadata.items()})
            self.logprobs.append(file)

    def path(self, name):
        return self.home / f"{name}.parquet"

    def metrics(self):
        families = {"f": self.members}
        scored = {"logprobs": self.logprobs, "items": self.path("items"), "families": families, "benchmark": "quiz"}
        write_metrics(**scored, outputs={"f": self.path("metrics")})
        write_choices(**scored, outputs={"f": self.path("choices")})
        return read_table(self.path("metrics"), "metrics")

    def everything(self):
        """All tables, each written and read again."""
        metrics, items = self.path("metrics"), self.path("items")
        write_correlations(metrics={"f": metrics}, benchmark="quiz", outputs={"f": self.path("correlations")})

        def outputs(name, prefix="output"):
            return {f"{prefix}_parquet": self.path(name), f"{prefix}_csv": self.home / f"{name}.csv"}

        write_statistics(correlations=[self.path("correlations")], items=[items], **outputs("correlation_statistics"))
        write_scores(metrics=[metrics], **outputs("scores"))
        both = {name: (self.path(name), self.home / f"{name}.csv") for name in TABLES}
        write_over_checkpoints(metrics=[metrics], items=[items], outputs=both)
        write_attribution(correlations=[self.path("correlations")], items=[items], **outputs("attribution"))
        write_authors_variants(metrics=[metrics], **outputs("authors_variants"))
        write_aggregates(
            metrics=[metrics],
            items=[items],
            families={"f": self.members},
            **outputs("means", "means"),
            **outputs("aggregates", "aggregates"),
        )
        inputs = Inputs(self.path("choices"), self.path("correlations"), metrics)
        write_mechanism(
            inputs=[inputs], items=[items], **outputs("mechanism", "mechanism"), **outputs("drops", "drops")
        )
        write_drilldown(
            logprobs=self.logprobs,
            items=items,
            correlations={"f": self.path("correlations")},
            members={"f": self.members},
            output=self.home / "drilldown.json",
        )

    def names(self, table, column="metric"):
        return set(pl.read_parquet(self.path(table))[column].unique())


EVERY = {name for name in (*METRICS, *VARIANTS) if not name.endswith("_pmi")}


@pytest.mark.parametrize("only", [None, {3}])
@pytest.mark.parametrize("lacking", [("num_tokens",), ("num_bytes",), ("num_chars",), ("is_greedy",), tuple(NEEDS)])
def test_metrics_that_take_what_is_lacking_are_left_out(tmp_path, lacking, only, caplog):
    """Also where one checkpoint alone lacks it: all of a benchmark have the same metrics."""
    family = Family(tmp_path, lacking, only)
    with caplog.at_level("INFO", logger="elusive"):
        metrics = family.metrics()
    gone = set().union(*(NEEDS[column] for column in lacking))
    there = {name for name in metrics.column_names if name in EVERY and not metrics[name].null_count}
    assert there == EVERY - gone
    assert metrics["accuracy_norm"].null_count == (len(metrics) if "accuracy_norm" in gone else 0)
    for name in gone:
        assert (
            f"quiz: {name} is {'null' if name == 'accuracy_norm' else 'left out'}, since what it takes" in caplog.text
        )
    family.everything()
    for table in ("correlations", "correlation_statistics", "means", "aggregates"):
        assert family.names(table) == EVERY - gone, table
    assert not family.names("predictability") & gone
    assert family.names("checkpoint_intervals") == set(METRICS) - gone
    assert "accuracy_norm" not in family.names("authors_variants") & gone
    scores = pl.read_parquet(family.path("scores"))
    assert scores["accuracy_norm"].null_count() == (MODELS if "accuracy_norm" in gone else 0)
    assert scores["accuracy"].null_count() == 0


def test_what_is_there_is_as_before(tmp_path):
    """A lacking column changes no other metric."""
    whole = Family(tmp_path / "a").metrics()
    less = Family(tmp_path / "b", tuple(NEEDS)).metrics()
    for name in less.column_names:
        if name != "accuracy_norm":
            assert less[name].equals(whole[name]), name


def test_no_correlation_with_lengths_where_there_are_none(tmp_path):
    family = Family(tmp_path, ("num_chars", "num_bytes"), texts=False)
    family.metrics()
    family.everything()
    mechanism = pl.read_parquet(family.path("mechanism"))
    row = mechanism.filter(pl.col("quantity") == "drop_with_choice_length")
    assert row["value"].to_list() == [None] and row["num_items"].to_list() == [0]
    assert "choice_length" not in set(pl.read_parquet(family.path("drops"))["factor"])
    text = (tmp_path / "drilldown.json").read_text()
    assert NOT_KNOWN in text and '"choice 1"' in text


def test_equal_numbers_in_two_imported_checkpoints(tmp_path):
    """A request cache that is keyed by the request alone gives the second model the first one's numbers."""
    family = Family(tmp_path)
    family.metrics()
    metadata = read_metadata(family.logprobs[2])
    write_table(read_table(family.logprobs[0], "logprobs"), family.logprobs[2], "logprobs", metadata)
    with pytest.raises(ElusiveError) as caught:
        family.metrics()
    text = re.sub(r"\s+", " ", str(caught.value))
    assert f"m/step0 and m/step2 have the same log-likelihoods on all {COUNT} items of quiz" in text
    assert "its requests were answered from the other one's cache" in text


def test_equal_names_of_revisions_are_not_equal_weights(tmp_path):
    Family(tmp_path, revision=["step1"] * MODELS).metrics()
    with pytest.raises(ElusiveError, match="have the same weights"):
        Family(tmp_path / "commits", revision=[f"{n % 4:040x}" for n in range(MODELS)]).metrics()


def test_unconditional_numbers_behind_different_contexts_are_not_mixed(tmp_path, caplog):
    family = Family(tmp_path, unconditional_context=["", "", "Answer:", "", ""])
    for file in family.logprobs:
        table = read_table(file, "logprobs").append_column("log_likelihood_unconditional", pa.array([-5.0] * 3 * COUNT))
        metadata = {"model": "m", "checkpoint": file.stem}
        metadata |= {"unconditional_context": "Answer:"} if file.stem == "step2" else {}
        write_table(table, file, "logprobs", metadata)
    metrics = family.metrics()
    assert not any(name.endswith("_pmi") for name in metrics.column_names)
    assert "no metrics of PMI: their log-likelihoods stand behind different contexts: '', 'Answer:'" in caplog.text


def test_the_dictionary_says_why_a_column_may_be_null():
    rows = {(row["table"], row["column"]): row for row in data_dictionary().to_pylist()}
    for table, column in [
        *(("logprobs", name) for name in NEEDS),
        ("metrics", "accuracy_norm"),
        ("scores", "accuracy_norm"),
    ]:
        assert rows[table, column]["nulls"] == "yes"
        assert "null if imported logs" in rows[table, column]["meaning"]
