"""A published set as a source: the same tables again, and nothing that is not the set's."""

from __future__ import annotations

import json
import shutil

import polars as pl
import pytest

from elusive.configuration.published import Published
from elusive.errors import ElusiveError
from elusive.publish.dataset import CHECKSUMS
from elusive.publish.unpack import outputs_of, write_items, write_logprobs
from elusive.tables import read_metadata, read_table, write_table
from published_set import BENCHMARKS, published_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return published_run(tmp_path_factory.mktemp("run"), num_items=8)


@pytest.fixture(scope="module", params=["bare", "texts"])
def published(request, made, tmp_path_factory):
    texts = list(BENCHMARKS) if request.param == "texts" else False
    return Published.open(str(made.publish(tmp_path_factory.mktemp(request.param) / "publish", texts=texts)))


@pytest.fixture
def bare(made, tmp_path):
    return Published.open(str(made.publish(tmp_path / "publish")))


def keys_of(made, benchmark):
    paths = [path for path in made.run.logprobs() if path.stem == benchmark]
    return [(path.parts[-3], path.parts[-2]) for path in paths], paths


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_log_likelihoods_come_back_byte_for_byte(published, made, benchmark, tmp_path):
    items = tmp_path / "items.parquet"
    write_items(published, benchmark, items)
    keys, originals = keys_of(made, benchmark)
    outputs = outputs_of([tmp_path / f"{model}-{checkpoint}.parquet" for model, checkpoint in keys], keys)
    write_logprobs(published, benchmark, items, outputs)
    for output, original in zip(outputs.values(), originals, strict=True):
        assert output.read_bytes() == original.read_bytes()


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_items_come_back_as_far_as_they_were_published(published, made, benchmark, tmp_path):
    path, original = tmp_path / "items.parquet", made.run.root / f"items/{benchmark}.parquet"
    write_items(published, benchmark, path)
    if published.has_texts(benchmark):
        assert path.read_bytes() == original.read_bytes()
        return
    found, expected = read_table(path, "items"), read_table(original, "items")
    for column in ("item", "subject", "gold", "num_choices", "cluster"):
        assert found[column].to_pylist() == expected[column].to_pylist()
    for column in ("contexts", "continuations", "choices"):
        assert found[column].null_count == len(found), "unknown, not empty"
    assert read_metadata(path) == read_metadata(original) | {"partial": False}


def test_a_text_common_to_all_choices_is_remembered(made, tmp_path, monkeypatch):
    """Captions say so of WinoGrande, and must go on to where the texts are not known."""
    from elusive.figures.data import read_benchmark

    paths = []
    for path in made.run.items():
        table = read_table(path, "items")
        if path.stem == "sciq":
            shared = pl.Series([[" rest"]] * len(table)).to_arrow()
            table = table.set_column(table.column_names.index("continuations"), "continuations", shared)
        paths.append(tmp_path / "items" / path.name)
        write_table(table, paths[-1], "items", read_metadata(path))
    monkeypatch.setattr(type(made.run), "items", lambda self: paths)
    published = Published.open(str(made.publish(tmp_path / "publish")))
    for benchmark in BENCHMARKS:
        write_items(published, benchmark, tmp_path / f"{benchmark}.parquet")
        before, after = (read_benchmark(d / f"{benchmark}.parquet") for d in (tmp_path / "items", tmp_path))
        assert before == after and after.partial == (benchmark == "sciq")


def test_built_in_items_are_matched_by_their_texts(bare, made, tmp_path):
    """The items table of this run may hold texts, and some of the items only."""
    table = read_table(made.run.root / "items/arc_easy.parquet", "items")
    some = tmp_path / "some.parquet"
    write_table(table.take([5, 1, 2]), some, "items", {"benchmark": "arc_easy"})
    keys, originals = keys_of(made, "arc_easy")
    write_logprobs(bare, "arc_easy", some, {keys[0]: tmp_path / "logprobs.parquet"})
    names = table.take([5, 1, 2])["item"].to_pylist()
    found = pl.read_parquet(tmp_path / "logprobs.parquet")
    assert found["item"].unique(maintain_order=True).to_list() == names
    original = pl.read_parquet(originals[0]).filter(pl.col("item").is_in(names))
    assert found.sort("item", "choice").equals(original.sort("item", "choice"))


@pytest.mark.parametrize(
    ("column", "change", "message"),
    [
        ("item", lambda v: "another", "item 'another' of arc_easy is not in .* which has 8 items: take its limit and"),
        ("contexts", lambda v: ["What?"], "is another one in .*: its contexts have SHA-256"),
        ("continuations", lambda v: [f"{text}!" for text in v], "its continuations have SHA-256"),
        ("gold", lambda v: (v + 1) % 4, "has right choice . of 4, in .* . of 4"),
        ("contexts", lambda v: None, "its contexts have SHA-256 None"),
    ],
)
def test_other_items_are_refused(bare, made, tmp_path, column, change, message):
    table = read_table(made.run.root / "items/arc_easy.parquet", "items")
    values = table[column].to_pylist()
    values[3] = change(values[3])
    place = table.column_names.index(column)
    changed = table.set_column(place, column, pl.Series(values).to_arrow().cast(table.schema.field(column).type))
    write_table(changed, tmp_path / "items.parquet", "items", {"benchmark": "arc_easy"})
    keys, _ = keys_of(made, "arc_easy")
    with pytest.raises(ElusiveError, match=message):
        write_logprobs(bare, "arc_easy", tmp_path / "items.parquet", {keys[0]: tmp_path / "logprobs.parquet"})
    assert not (tmp_path / "logprobs.parquet").exists()


def test_a_changed_or_missing_file_is_refused(bare, tmp_path):
    path = tmp_path / "publish/data/items.parquet"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"?")
    with pytest.raises(ElusiveError, match=r"items.parquet: is not the file that .*json lists \(SHA-256\)"):
        write_items(bare, "sciq", tmp_path / "items.parquet")
    path.unlink()
    with pytest.raises(ElusiveError, match=r"items.parquet: cannot be read \(No such file or directory\)"):
        write_items(bare, "sciq", tmp_path / "items.parquet")


def test_a_checkpoint_that_is_not_there_is_named(bare, tmp_path):
    write_items(bare, "sciq", tmp_path / "items.parquet")
    with pytest.raises(ElusiveError, match=r"runs.parquet: has nothing of ladder-0/nowhere on sciq"):
        write_logprobs(bare, "sciq", tmp_path / "items.parquet", {("ladder-0", "nowhere"): tmp_path / "l.parquet"})


def test_a_set_of_a_later_schema_is_refused(bare, tmp_path):
    path = tmp_path / "publish/manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest | {"schema_version": 99}))
    with pytest.raises(ElusiveError, match=r"manifest.json: has schema version 99, .* update it"):
        write_items(Published.open(str(tmp_path / "publish")), "sciq", tmp_path / "items.parquet")


def test_publishing_a_set_again_gives_the_same_numbers(bare, made, tmp_path):
    """Out of what was unpacked: the log-likelihoods, items and identities are the same."""
    items, logprobs = [], []
    for benchmark in BENCHMARKS:
        items.append(tmp_path / f"again/items/{benchmark}.parquet")
        write_items(bare, benchmark, items[-1])
        keys, _ = keys_of(made, benchmark)
        paths = [tmp_path / f"again/logprobs/{m}/{c}/{benchmark}.parquet" for m, c in keys]
        write_logprobs(bare, benchmark, items[-1], outputs_of(paths, keys))
        logprobs += paths
    shutil.copytree(made.run.root / "tables", tmp_path / "again/tables")
    again = type(made)(type(made.run)(tmp_path / "again", made.run.families, made.run.benchmarks), made.config)
    second = again.publish(tmp_path / "second")
    assert len((second / CHECKSUMS).read_text()) == len((tmp_path / "publish" / CHECKSUMS).read_text())
    for name in ("choices", "items", "runs", "families", "benchmarks", "metrics"):
        assert (second / f"data/{name}.parquet").read_bytes() == (
            tmp_path / f"publish/data/{name}.parquet"
        ).read_bytes()
