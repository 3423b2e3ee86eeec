"""The published set: complete, the same each time, checked by other people's programs, and true."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import mlcroissant
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from elusive.analysis.audit import REPEATED, ambiguous_items
from elusive.errors import ElusiveError
from elusive.publish import card
from elusive.publish.dataset import CHECKSUMS, CONTRACT, workflow_version
from elusive.publish.identity import DIGESTS, digest, repeated
from elusive.tables import (
    SCHEMA_KEY,
    SCHEMA_VERSION,
    data_dictionary,
    read_metadata,
    read_table,
    write_table,
)
from published_set import BENCHMARKS, published_run


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return published_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def published(made, tmp_path_factory):
    """The set without texts."""
    return made.publish(tmp_path_factory.mktemp("set") / "publish")


@pytest.fixture(scope="module")
def with_texts(made, tmp_path_factory):
    """The set with the texts that may be passed on by anybody for any purpose."""
    return made.publish(tmp_path_factory.mktemp("texts") / "publish", texts=True, license="cc-by-4.0", title="Mine")


def files(directory):
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def test_what_is_in_it(published, made):
    names = {"choices", "items", "runs", "families", "benchmarks", "metrics", *made.tables}
    others = {"README.md", "CITATION.cff", "configuration.yaml", "croissant.json", "manifest.json", CHECKSUMS}
    assert set(files(published)) == others | {"data_dictionary.csv"} | {f"data/{name}.parquet" for name in names}
    for name, path in made.tables.items():
        assert (published / f"data/{name}.parquet").read_bytes() == path.read_bytes()


def test_the_same_tables_give_the_same_bytes(published, made, tmp_path):
    assert files(made.publish(tmp_path / "again")) == files(published)


def test_checksums_and_manifest(published):
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", CHECKSUMS], cwd=published, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    manifest = json.loads((published / "manifest.json").read_text())
    listed = {**manifest["files"], **{table["path"]: table for table in manifest["tables"].values()}}
    assert set(listed) | {"manifest.json", CHECKSUMS} == set(files(published))
    for name, entry in listed.items():
        content = (published / name).read_bytes()
        assert (entry["bytes"], entry["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    for name, entry in manifest["tables"].items():
        assert entry["rows"] == pq.read_metadata(published / f"data/{name}.parquet").num_rows
    assert manifest["schema_version"] == SCHEMA_VERSION


def test_every_column_is_described_and_has_a_version(published, with_texts):
    rows = data_dictionary().to_pylist()
    for path in [*published.glob("data/*.parquet"), *with_texts.glob("data/*.parquet")]:
        known = {row["column"]: row for row in rows if row["table"] == CONTRACT.get(path.stem, path.stem)}
        schema = pq.read_schema(path)
        assert schema.metadata[SCHEMA_KEY] == str(SCHEMA_VERSION).encode()
        for field in schema:
            assert field.metadata[b"description"].decode() == known[field.name]["meaning"]
            assert field.nullable == (known[field.name]["nulls"] == "yes")


def test_choices_are_those_of_every_table(published, made):
    choices = pl.read_parquet(published / "data/choices.parquet")
    order = [(row["model"], row["checkpoint"]) for row in choices.unique(["model", "checkpoint"]).to_dicts()]
    assert len(order) == 35
    columns = ["item", "choice", "is_gold", "log_likelihood", "num_tokens", "num_bytes", "num_chars", "is_greedy"]
    total = 0
    for path in made.run.logprobs():
        about = read_metadata(path)
        own = choices.filter(
            pl.col("model") == about["model"],
            pl.col("checkpoint") == about["checkpoint"],
            pl.col("benchmark") == path.stem,
        )
        assert own.select(columns).equals(pl.read_parquet(path).select(columns))
        total += len(own)
    assert total == len(choices)
    subjects = choices.filter(pl.col("benchmark") == "mmlu")["subject"]
    assert subjects.n_unique() == 3 and choices.filter(pl.col("benchmark") == "sciq")["subject"].null_count() > 0


def test_rows_follow_benchmark_item_choice_and_compute(published):
    choices = pl.read_parquet(published / "data/choices.parquet")
    checkpoints = pl.read_parquet(published / "data/checkpoints.parquet")
    position = {name: i for i, name in enumerate(BENCHMARKS)}
    keyed = choices.join(checkpoints.select("model", "checkpoint", "flops"), on=["model", "checkpoint"], how="left")
    keyed = keyed.with_columns(pl.col("benchmark").replace_strict(position).alias("place"))
    assert keyed.equals(keyed.sort(["place", "item", "choice", "flops", "model", "checkpoint"], maintain_order=True))
    with pq.ParquetFile(published / "data/choices.parquet") as file:
        groups = [file.read_row_group(i)["benchmark"].unique().to_pylist() for i in range(file.num_row_groups)]
    assert groups == [[name] for name in BENCHMARKS], "a benchmark is read without the others"


def test_items_are_identified_by_their_texts(published, with_texts, made):
    bare, full = (pl.read_parquet(path / "data/items.parquet") for path in (published, with_texts))
    assert not {"contexts", "continuations", "choices"} & set(bare.columns)
    assert bare.equals(full.select(bare.columns))
    for path in made.run.items():
        table = read_table(path, "items").to_pylist()
        own = bare.filter(pl.col("benchmark") == path.stem)
        assert own["item"].to_list() == [row["item"] for row in table]
        for column, texts in DIGESTS.items():
            text = [json.dumps(row[texts], ensure_ascii=False, separators=(",", ":")) for row in table]
            assert own[column].to_list() == [hashlib.sha256(each.encode()).hexdigest() for each in text]


def test_texts_are_published_only_where_a_licence_allows_it(published, with_texts, made, tmp_path):
    question = b"choice 0 of item 3"
    assert not any(question in content for content in files(published).values())
    items = pl.read_parquet(with_texts / "data/items.parquet")
    kept = dict(items.group_by("benchmark").agg(pl.col("contexts").null_count()).iter_rows())
    assert kept == {"arc_easy": 0, "mmlu": 0, "sciq": 12}, "SciQ's licence is a non-commercial one"
    named = made.publish(tmp_path / "named", texts=["sciq"])
    items = pl.read_parquet(named / "data/items.parquet")
    assert dict(items.group_by("benchmark").agg(pl.col("contexts").null_count()).iter_rows())["sciq"] == 0
    table = {row["benchmark"]: row for row in pl.read_parquet(named / "data/benchmarks.parquet").to_dicts()}
    assert [table[name]["texts"] for name in BENCHMARKS] == [False, False, True]
    assert table["sciq"]["license"] == "CC-BY-NC-3.0"


def test_families_runs_and_metrics(published, made):
    families = pl.read_parquet(published / "data/families.parquet")
    found = {
        name: sorted(map(list, rows.select("model", "checkpoint").iter_rows()))
        for (name,), rows in families.group_by("family")
    }
    assert found == {name: sorted(members) for name, members in made.run.members().items()}
    runs = pl.read_parquet(published / "data/runs.parquet")
    assert len(runs) == 35 * 3
    first = runs.row(0, named=True)
    path = made.run.root / "logprobs" / first["model"] / first["checkpoint"] / f"{first['benchmark']}.parquet"
    assert json.loads(first["metadata"]) == read_metadata(path)
    metrics = {row["metric"]: row for row in pl.read_parquet(published / "data/metrics.parquet").to_dicts()}
    assert set(metrics) == set(pl.read_parquet(published / "data/means.parquet")["metric"])
    assert metrics["brier"]["higher_is_better"] is False and metrics["accuracy"]["higher_is_better"] is True
    assert metrics["p_vocab_incorrect"]["higher_is_better"] is None


def header(directory):
    return yaml.safe_load((directory / "README.md").read_text().split("---\n")[1])


def test_the_hub_reads_the_header(published, with_texts):
    about = header(published)
    assert "license" not in about and "none chosen" in about["license_details"]
    assert header(with_texts)["license"] == "cc-by-4.0" and header(with_texts)["pretty_name"] == "Mine"
    tables = {path.stem for path in published.glob("data/*.parquet")}
    assert {config["config_name"] for config in about["configs"]} == tables
    for config in about["configs"]:
        (data,) = config["data_files"]
        assert (published / data["path"]).is_file()
    assert [config["config_name"] for config in about["configs"] if config.get("default")] == ["choices"]
    assert about["size_categories"] == ["1K<n<10K"] and "multiple-choice" in about["task_categories"]


def test_the_card_says_what_the_tables_say(published, made):
    text = (published / "README.md").read_text()
    assert "5 language models (280,000 to 1,520,000 parameters) at 35 checkpoints on 36 items of 3 multiple-ch" in text
    statistics = read_table(made.run.table("correlation_statistics"), "correlation_statistics").to_pylist()
    chosen = {"family": "ladder", "method": "spearman", "nan_policy": "zero", "subject": None}
    means = {
        (row["benchmark"], row["metric"]): row["mean"]
        for row in statistics
        if all(row[key] == value for key, value in chosen.items())
    }
    lines = [line for line in text.splitlines() if re.match(r"\| (ARC-Easy|MMLU|SciQ) \| \**[−\d]", line)]
    assert len(lines) == 3
    # A checkpoint of step 0 is a member, but has no compute.
    used = pl.read_parquet(published / "data/headline.parquet").filter(pl.col("family") == "ladder")["num_models"].max()
    assert f"follows training compute over the {used} checkpoints of “" in text
    for line, name in zip(lines, BENCHMARKS, strict=True):
        cells = [cell.strip(" *").replace("−", "-") for cell in line.strip("|").split("|")][1:]
        for cell, metric in zip(cells, ("log_p_vocab_correct", "p_choices_correct", "brier", "accuracy"), strict=True):
            assert float(cell) == pytest.approx(means[name, metric], abs=0.005001)
    assert "ARC-Easy has 12 of the 1,172 items of the test split, drawn at random with seed 0." in text
    assert "SciQ: the validation split stands in for the test split." in text
    assert "| CC-BY-NC-3.0 | https://huggingface.co/datasets/allenai/sciq (dataset card) |" in text
    assert text.count("<details>") == len(list(published.glob("data/*.parquet")))
    assert "models that the workflow trained" not in text, "these models come from a hub"
    files = re.findall(r"^\| `data/(\w+)\.parquet` \| [\d,]+ \| (.*) \|$", text, re.M)
    assert len(files) == len(list(published.glob("data/*.parquet"))) and all(about for _, about in files)


def test_every_table_of_the_workflow_is_described():
    """The card says of each what one of its rows is."""
    rules = (Path(__file__).parents[3] / "workflow/rules/lookups/analysis.smk").read_text(encoding="utf-8")
    names = re.findall(r'"(\w+)"', re.search(r"^TABLES = \[(.*?)^\]", rules, re.M | re.S)[1])
    assert len(names) > 15 and "audit" in names
    assert [name for name in names if not card.ABOUT.get(name)] == []


def test_what_is_above_shuffled_compute_is_bold(published):
    lines = {line.split(" | ")[0].strip("| "): line for line in (published / "README.md").read_text().splitlines()}
    table = pl.read_parquet(published / "data/headline.parquet").filter(
        pl.col("family") == "ladder", pl.col("method") == "spearman"
    )
    rows = {(row["benchmark"], row["metric"]): row for row in table.to_dicts()}
    seen = set()
    for label, name in (("ARC-Easy", "arc_easy"), ("MMLU", "mmlu"), ("SciQ", "sciq")):
        cells = lines[label].strip("| ").split(" | ")[1:]
        for cell, metric in zip(cells, ("log_p_vocab_correct", "p_choices_correct", "brier", "accuracy"), strict=True):
            row = rows[name, metric]
            assert cell.startswith("**") == row["above_shuffled"] == (row["mean"] > row["shuffled_high"])
            seen.add(cell.startswith("**"))
    assert seen == {True, False}


def run_in(directory, code, monkeypatch):
    monkeypatch.chdir(directory)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "script", "exec"), {})
    return printed.getvalue()


def test_the_script_of_the_card_recomputes_its_number(published, monkeypatch):
    text = (published / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert "duckdb" in code and len(code.splitlines()) <= 10
    stated = float(re.search(r"It prints (-?[\d.]+), up to", text)[1])
    value = float(run_in(published, code, monkeypatch))
    assert value == pytest.approx(stated, abs=1e-6)
    statistics = pl.read_parquet(published / "data/correlation_statistics.parquet").filter(
        pl.col("family") == "ladder",
        pl.col("benchmark") == "arc_easy",
        pl.col("subject").is_null(),
        pl.col("metric") == "log_p_vocab_correct",
        pl.col("method") == "spearman",
        pl.col("nan_policy") == "zero",
    )
    assert value == pytest.approx(statistics["mean"].item(), abs=1e-12)


def test_the_script_counts_ties_and_constants_as_the_tables_do(tmp_path, monkeypatch):
    """A choice that never changes has no correlation, and equal values have their mean rank."""
    (tmp_path / "data").mkdir()
    values = {"a": [-1.0, -1.0, -2.0, -0.5], "b": [-3.0, -3.0, -3.0, -3.0]}
    rows = [
        {
            "model": "m",
            "checkpoint": str(c),
            "benchmark": "@benchmark@",
            "item": item,
            "is_gold": True,
            "log_likelihood": v,
        }
        for item, series in values.items()
        for c, v in enumerate(series)
    ]
    flops = [1.0, 2.0, 2.0, 4.0]
    pl.DataFrame(rows).write_parquet(tmp_path / "data/choices.parquet")
    pl.DataFrame([{"family": "@family@", "model": "m", "checkpoint": str(c)} for c in range(4)]).write_parquet(
        tmp_path / "data/families.parquet"
    )
    pl.DataFrame([{"model": "m", "checkpoint": str(c), "flops": f} for c, f in enumerate(flops)]).write_parquet(
        tmp_path / "data/checkpoints.parquet"
    )
    expected = pd.Series(values["a"]).corr(pd.Series(flops), method="spearman") / 2
    assert float(run_in(tmp_path, card.SCRIPT, monkeypatch)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("fixture", ["published", "with_texts"])
def test_croissant_is_accepted(fixture, request, tmp_path):
    directory = request.getfixturevalue(fixture)
    code = "import sys; from mlcroissant.scripts.cli import main; sys.argv[0] = 'mlcroissant'; main()"
    arguments = ["validate", "--jsonld", str(directory / "croissant.json")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0 and "Done." in done.stderr and "error" not in done.stderr.lower(), done.stderr
    dataset = mlcroissant.Dataset(jsonld=str(directory / "croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    for name in ("scores", "benchmarks", "items"):
        table = pl.read_parquet(directory / f"data/{name}.parquet")
        records = list(dataset.records(record_set=name))
        assert len(records) == len(table)
        assert {key.removeprefix(f"{name}/") for key in records[0]} == set(table.columns)
    first = next(iter(dataset.records(record_set="scores")))
    assert first["scores/accuracy"] == pl.read_parquet(directory / "data/scores.parquet")["accuracy"][0]


def test_citation(published, with_texts, made, tmp_path):
    plain, licensed = (yaml.safe_load((d / "CITATION.cff").read_text()) for d in (published, with_texts))
    assert plain["cff-version"] == "1.2.0" and plain["type"] == "dataset" and "license" not in plain
    assert licensed["license"] == "CC-BY-4.0" and licensed["title"] == "Mine"
    own = made.publish(tmp_path / "own", authors=["Ada Lovelace", "Charles Babbage"])
    assert yaml.safe_load((own / "CITATION.cff").read_text())["authors"] == [
        {"name": "Ada Lovelace"},
        {"name": "Charles Babbage"},
    ]
    bibtex = re.search(r"```bibtex\n(.*?)```", (own / "README.md").read_text(), re.DOTALL)[1]
    assert "author = {Ada Lovelace and Charles Babbage}" in bibtex
    keys = re.findall(r"^@\w+\{(\w+),$", bibtex, re.MULTILINE)
    assert keys == ["published_choices", "schaeffer2024elusive", "clark2018arc", "hendrycks2021mmlu", "welbl2017sciq"]
    assert bibtex.count("{") == bibtex.count("}")


def test_nothing_says_where_it_was_made(published, made):
    place = str(made.run.root).encode()
    assert not any(place in content for content in files(published).values())


def test_a_missing_table_is_named(made, tmp_path, monkeypatch):
    logprobs = [path for path in made.run.logprobs() if path.stem != "mmlu" or "ladder-3" not in str(path)]
    monkeypatch.setattr(type(made.run), "logprobs", lambda self: logprobs)
    with pytest.raises(ElusiveError, match=r"no log-likelihoods of ladder-3/tokens-.* on 'mmlu'"):
        made.publish(tmp_path / "publish")
    assert not (tmp_path / "publish").exists()


def test_log_likelihoods_without_context_are_published_where_there_are_any(made, tmp_path, monkeypatch):
    paths = []
    for path in made.run.logprobs():
        table = read_table(path, "logprobs")
        if path.stem == "sciq":
            table = table.append_column("log_likelihood_unconditional", pl.Series([-1.5] * len(table)).to_arrow())
        paths.append(tmp_path / "logprobs" / path.relative_to(made.run.root))
        write_table(table, paths[-1], "logprobs", read_metadata(path))
    monkeypatch.setattr(type(made.run), "logprobs", lambda self: paths)
    choices = pl.read_parquet(made.publish(tmp_path / "publish") / "data/choices.parquet")
    found = choices.group_by("benchmark").agg(pl.col("log_likelihood_unconditional").null_count() == 0)
    assert dict(found.iter_rows()) == {"arc_easy": False, "mmlu": False, "sciq": True}


def test_duckdb_polars_and_pandas_read_the_same_numbers(published):
    path = published / "data/choices.parquet"
    total = pl.read_parquet(path)["log_likelihood"].sum()
    assert duckdb.sql(f"SELECT sum(log_likelihood) FROM '{path}'").fetchall()[0][0] == pytest.approx(total)
    assert pd.read_parquet(path)["log_likelihood"].sum() == pytest.approx(total)


def test_repeated_right_choices_are_known_without_texts():
    texts = {
        "item": ["a", "b", "c"],
        "contexts": [["q"], ["q"], ["q", "r"]],
        "continuations": [[" x", " x"], [" x", " y"], [" x"]],
        "gold": [0, 0, 1],
        "num_choices": [2, 2, 2],
    }
    items = pa.table(texts)
    assert repeated(items) == [True, False, False]
    bare = pa.table({**texts, "contexts": [None] * 3, "continuations": [None] * 3})
    assert repeated(bare) == [None] * 3
    assert ambiguous_items(bare) == {"a", "b", "c"}, "nobody can tell why they would tie"
    kept = bare.append_column(REPEATED, pa.array(repeated(items)))
    assert repeated(kept) == repeated(items) and ambiguous_items(kept) == ambiguous_items(items) == {"a"}


def test_digests_tell_texts_apart():
    assert digest(["a", "b"]) != digest(["ab"]) != digest(["a,b"])
    assert digest(["é"]) == hashlib.sha256('["é"]'.encode()).hexdigest()


def test_the_dictionary_is_a_table(published):
    with (published / "data_dictionary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {"table", "file", "column", "type", "meaning"} <= set(rows[0])
    assert "publish/data/choices.parquet" in {row["file"] for row in rows}


def test_the_version_of_the_workflow(tmp_path):
    assert workflow_version(tmp_path)["commit"] is None, "a folder that git does not know"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "file").write_text("a")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "a"]):
        subprocess.run([*git, *arguments], check=True)
    found = workflow_version(tmp_path)
    assert len(found["commit"]) == 40 and not found["changed"]
    assert workflow_version(tmp_path / "below")["commit"] is None
    (tmp_path / "file").write_text("b")
    assert "with changes" in workflow_version(tmp_path)["text"]
