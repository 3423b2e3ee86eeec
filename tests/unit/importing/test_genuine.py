"""Logs that the pinned lm-eval wrote itself, imported, against our own scores of the same checkpoints."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

from elusive.importing.index import Index, Order, build_index
from elusive.importing.items import build_items
from elusive.importing.logprobs import import_checkpoint
from elusive.items.build import build_items as build_builtin
from elusive.items.build import load_items
from elusive.scoring.cells import score_cells
from elusive.scoring.spec import Spec
from elusive.tables import read_metadata, read_table
from lm_eval_logs import FILES, FORMS, PMI, add_builtin_task, evaluate, rewrite
from scoring_checkpoints import neox_config, random_model, save_checkpoint, train_tokenizer

LIMIT = 30
CHECKPOINTS = ("step1", "step2")


class Logs:
    """Items, checkpoints, our own scores of them, and what lm-eval logged."""

    def __init__(self, home, archive_path, tokenizer) -> None:
        self.home = home
        self.items = {}
        for name in FILES:
            self.items[name] = home / f"items/{name}.parquet"
            build_builtin({"name": name, "limit": LIMIT}, self.items[name], archive_path)
            options = {"metric_list": PMI} if name == "arc_easy" else {}
            add_builtin_task(home / "tasks", name, self.items[name], archive_path, **options)
        for seed, step in enumerate(CHECKPOINTS):
            weights = save_checkpoint(random_model(neox_config(), seed), tokenizer, home / "weights" / step)
            spec = Spec("m", step, "local", unconditional=("arc_easy",), device="cpu")
            outputs = [home / f"scored/{step}/{name}.parquet" for name in FILES]
            score_cells(spec, weights, list(self.items.values()), outputs)
            run = evaluate(home / "tasks", list(FILES), weights, home / "raw" / step)
            shutil.copytree(run, home / "logs" / step)

    def order(self, path: str, benchmarks=None, **more) -> Order:
        benchmarks = benchmarks or [{"name": name} for name in FILES]
        values = {"model": "m", "source": "lm_eval", "logs": {"path": path}, "benchmarks": benchmarks}
        values["checkpoints"] = [{"name": step, "revision": step} for step in CHECKPOINTS]
        return Order.from_json(values | more)

    def imported(self, path: str, output, checkpoints=CHECKPOINTS):
        """Import the logs at ``path`` onto the built-in items; step -> benchmark -> table."""
        index = build_index(self.order(path))
        tables = {}
        for step in checkpoints:
            outputs = [output / step / f"{name}.parquet" for name in FILES]
            import_checkpoint(index, step, None, list(self.items.values()), outputs)
            tables[step] = {name: read_table(file, "logprobs") for name, file in zip(FILES, outputs, strict=True)}
        return tables


@pytest.fixture(scope="module")
def genuine(archive_path, tmp_path_factory):
    home = tmp_path_factory.mktemp("genuine")
    return Logs(home, archive_path, train_tokenizer(archive_path, tmp_path_factory.mktemp("tokenizer")))


@pytest.fixture(scope="module")
def imported(genuine):
    return genuine.imported(str(genuine.home / "logs/{checkpoint}"), genuine.home / "imported")


@pytest.mark.parametrize("step", CHECKPOINTS)
@pytest.mark.parametrize("benchmark", FILES)
def test_imported_scores_equal_our_own(genuine, imported, benchmark, step):
    ours = read_table(genuine.home / f"scored/{step}/{benchmark}.parquet", "logprobs")
    theirs = imported[step][benchmark]
    assert theirs.num_rows == ours.num_rows > LIMIT
    for column in ("item", "choice", "is_gold", "num_bytes", "num_chars", "is_greedy"):
        assert theirs[column].equals(ours[column]), column
    assert theirs["num_tokens"].null_count == theirs.num_rows
    columns = ["log_likelihood"] + ["log_likelihood_unconditional"] * (benchmark == "arc_easy")
    assert ("log_likelihood_unconditional" in theirs.column_names) == (benchmark == "arc_easy")
    for column in columns:
        a, b = ours[column].to_numpy(), theirs[column].to_numpy()
        assert np.ptp(a) > 1
        assert (np.abs(a - b) <= 1e-4 + 1e-6 * np.abs(a)).all(), np.abs(a - b).max()


def test_metadata_say_where_it_comes_from_and_name_no_path(genuine, imported):
    metadata = read_metadata(genuine.home / "imported/step1/arc_easy.parquet")
    assert (metadata["model"], metadata["checkpoint"], metadata["source"]) == ("m", "step1", "lm_eval")
    assert metadata["imported"]["harness"] == "lm-evaluation-harness"
    assert metadata["imported"]["harness_version"] == "0.4.13"
    assert metadata["dtype"] == "float32" and metadata["imported"]["num_fewshot"] == 0
    assert metadata["lacking"] == ["num_tokens"]
    assert metadata["items"] == read_metadata(genuine.home / "scored/step1/arc_easy.parquet")["items"]
    assert str(genuine.home) not in json.dumps(metadata)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_logs_gives_the_same_tables(genuine, imported, form, tmp_path):
    for step in CHECKPOINTS:
        rewrite(genuine.home / "logs" / step, tmp_path / "logs" / step, form, step)
    genuine.imported(str(tmp_path / "logs/{checkpoint}"), tmp_path / "tables")
    for step in CHECKPOINTS:
        for name in FILES:
            files = [home / step / f"{name}.parquet" for home in (genuine.home / "imported", tmp_path / "tables")]
            first, second = (pq.read_table(file).replace_schema_metadata() for file in files)
            written = [tmp_path / f"{i}.parquet" for i in range(2)]
            for file, table in zip(written, (first, second), strict=True):
                pq.write_table(table, file)
            assert written[0].read_bytes() == written[1].read_bytes(), (step, name)


@pytest.mark.parametrize("form", ["0.4.2", "gzip"])
def test_revisions_tell_checkpoints_apart_without_a_path(genuine, imported, form, tmp_path):
    """As of a repository of the hub: lm-eval puts the logs of all revisions into one folder."""
    for step in CHECKPOINTS:
        rewrite(genuine.home / "logs" / step, tmp_path / "each" / step, form, step)
        for file in (tmp_path / "each" / step).iterdir():
            if form == "gzip" and file.suffix == ".json":
                found = json.loads(file.read_text())
                found["config"]["model_revision"] = step
                file.write_text(json.dumps(found))
            (tmp_path / "logs").mkdir(exist_ok=True)
            shutil.copy(file, tmp_path / "logs")
    tables = genuine.imported(str(tmp_path / "logs"), tmp_path / "tables")
    for step in CHECKPOINTS:
        for name in FILES:
            assert tables[step][name].equals(imported[step][name])


def test_items_from_the_logs_are_those_of_the_benchmark(genuine, tmp_path):
    benchmarks = [{"name": "arc", "tasks": ["arc_easy"]}, {"name": "wino", "tasks": ["winogrande"]}]
    index = build_index(genuine.order(str(genuine.home / "logs/{checkpoint}"), benchmarks))
    index.write(tmp_path / "index.json")
    assert Index.read(tmp_path / "index.json") == index
    for name, task in (("arc", "arc_easy"), ("wino", "winogrande")):
        spec = {"name": name, "task": [task], "items": "strict"}
        build_items(spec, [tmp_path / "index.json"], tmp_path / f"{name}.parquet")
        made, builtin = load_items(tmp_path / f"{name}.parquet"), load_items(genuine.items[task])
        texts = {(item.contexts, item.continuations): item for item in made.items}
        for item in builtin.items:
            same = texts[item.contexts, item.continuations]
            assert (same.gold, same.choices) == (item.gold, item.choices)
        assert [item.item for item in made.items] == [f"{name}-{i:05d}" for i in range(len(made.items))]
    outputs = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    import_checkpoint(index, "step2", None, [tmp_path / "arc.parquet", tmp_path / "wino.parquet"], outputs)
    ours = read_table(genuine.home / "scored/step2/winogrande.parquet", "logprobs")
    theirs = read_table(outputs[1], "logprobs")
    shared = set(np.round(ours["log_likelihood"].to_numpy(), 2)) & set(np.round(theirs["log_likelihood"].to_numpy(), 2))
    assert len(shared) > LIMIT


def test_a_dummy_model_is_logged_in_full(genuine, tmp_path):
    """lm-eval's own model without weights: random numbers, all of them above 0 less a number below 1."""
    run = evaluate(genuine.home / "tasks", ["winogrande"], tmp_path, tmp_path / "logs" / "x", model="dummy")
    assert run.name != "x"
    order = genuine.order(str(tmp_path / "logs/{checkpoint}"), [{"name": "winogrande"}])
    order = Order("m", "lm_eval", order.path, (order.checkpoints[0].__class__("x"),), order.tasks)
    import_checkpoint(build_index(order), "x", None, [genuine.items["winogrande"]], [tmp_path / "out.parquet"])
    values = read_table(tmp_path / "out.parquet", "logprobs")["log_likelihood"].to_numpy()
    assert ((values >= -1) & (values <= 0)).all()
