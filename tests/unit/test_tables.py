"""The data contract: what is refused on writing and reading, and that no half-written file is left behind."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from elusive import files, tables
from elusive.analysis.distributions import FURTHER
from elusive.analysis.metrics import VARIANTS
from elusive.errors import ElusiveError
from elusive.tables import (
    OPTIONAL,
    SCHEMA_KEY,
    SCHEMA_VERSION,
    SCHEMAS,
    content_hash,
    contract_digests,
    data_dictionary,
    read_metadata,
    read_table,
    write_parts,
    write_table,
)
from score_tables import logprobs_table


@pytest.fixture
def table() -> pa.Table:
    return logprobs_table([0, 1], [[-1.0, -2.0], [-3.0, -4.0, -5.0]])


def replaced(table: pa.Table, column: str, values: pa.Array | list) -> pa.Table:
    return table.set_column(table.column_names.index(column), column, pa.chunked_array([values]))


def test_what_is_written_is_read_again(tmp_path, table):
    path = tmp_path / "new folder" / "logprobs.parquet"
    shuffled = table.select([*reversed(table.column_names)]).append_column("extra", pa.array(range(5)))
    write_table(shuffled, path, "logprobs", {"model": "m", "a": None})
    found = read_table(path, "logprobs")
    assert found.column_names == [*SCHEMAS["logprobs"].names, "extra"]
    assert found.select(SCHEMAS["logprobs"].names).schema.remove_metadata() == SCHEMAS["logprobs"]
    assert found.select(table.column_names).to_pydict() == table.to_pydict()
    assert read_metadata(path) == {"model": "m", "a": None}
    assert read_table(path, "logprobs", columns=["item", "choice"]).column_names == ["item", "choice"]
    assert {p.name for p in path.parent.iterdir()} == {path.name}


def test_the_same_table_gives_the_same_bytes(tmp_path, table):
    paths = [tmp_path / f"{n}.parquet" for n in range(2)]
    write_table(table, paths[0], "logprobs", {"b": 1, "a": 2})
    write_table(
        pa.concat_tables([table.slice(0, 2), table.slice(2)]).combine_chunks(), paths[1], "logprobs", {"a": 2, "b": 1}
    )
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns(["is_gold"]), r"a logprobs table needs the columns \['is_gold'\]"),
        (lambda t: replaced(t, "choice", pa.array([0, 1, 0, 1, 300])), "do not fit a logprobs table"),
        (lambda t: replaced(t, "num_tokens", pa.array([1.5] * 5)), "do not fit a logprobs table"),
        (lambda t: replaced(t, "log_likelihood", pa.array(["low"] * 5)), "do not fit a logprobs table"),
        (lambda t: replaced(t, "item", pa.array(["a", "b", None, "c", "d"])), "column 'item' .* may not hold nulls"),
    ],
)
def test_tables_against_the_contract_are_not_written(tmp_path, table, change, message):
    path = tmp_path / "logprobs.parquet"
    with pytest.raises(ElusiveError, match=f"{path}: .*{message}"):
        write_table(change(table), path, "logprobs")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns(["is_gold"]), "column 'is_gold' is missing, which every logprobs table has"),
        (
            lambda t: replaced(t, "log_likelihood", t["log_likelihood"].cast(pa.float32()).combine_chunks()),
            "column 'log_likelihood' has type float, a logprobs table has double",
        ),
    ],
)
def test_tables_against_the_contract_are_not_read(tmp_path, table, change, message):
    path = tmp_path / "logprobs.parquet"
    pq.write_table(change(table), path)
    with pytest.raises(ElusiveError, match=f"{path}: {message}"):
        read_table(path, "logprobs")
    with pytest.raises(ElusiveError, match=f"{path}: was not written by elusive"):
        read_metadata(path)


def test_missing_and_truncated_files_are_named(tmp_path, table):
    path = tmp_path / "logprobs.parquet"
    with pytest.raises(ElusiveError, match=f"{path}: there is no such logprobs table"):
        read_table(path, "logprobs")
    write_table(table, path, "logprobs")
    whole = path.read_bytes()
    for length in (0, 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ElusiveError, match=f"{path}: not a readable Parquet file .* delete it and run again"):
            read_table(path, "logprobs")
        with pytest.raises(ElusiveError, match=f"{path}: not a readable Parquet file"):
            read_metadata(path)
    # The size is right but bytes in the middle are not.
    path.write_bytes(whole[:4] + bytes(len(whole) - 8) + whole[-4:])
    with pytest.raises(ElusiveError, match=f"{path}: not a readable Parquet file"):
        read_table(path, "logprobs")


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("before", [None, b"what was there"])
def test_full_disk_leaves_the_final_name_as_it_was(tmp_path, table, monkeypatch, call, before):
    path = tmp_path / "logprobs.parquet"
    if before is not None:
        path.write_bytes(before)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, call, full)
    with pytest.raises(ElusiveError, match=f"{path}: no space left on the disk"):
        write_table(table, path, "logprobs")
    assert [p.read_bytes() for p in tmp_path.iterdir()] == ([] if before is None else [before])


FILL = """
import sys, numpy as np, pyarrow as pa
from elusive.errors import ElusiveError
from elusive.tables import write_table
count = 100_000
table = pa.table({
    "family": pa.repeat("f", count), "benchmark": pa.repeat("b", count), "subject": pa.nulls(count, pa.string()),
    "item": [str(n) for n in range(count)], "metric": pa.repeat("m", count), "method": pa.repeat("p", count),
    "correlation": np.random.default_rng(0).normal(size=count), "num_models": pa.repeat(3, count),
})
try:
    write_table(table, sys.argv[1], "correlations")
except ElusiveError as error:
    sys.exit(f"refused: {error}")
"""


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs a small file system of its own to fill")
def test_disk_that_fills_while_writing(tmp_path):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount a file system here")
    try:
        path = tmp_path / "correlations.parquet"
        source = os.path.dirname(os.path.dirname(files.__file__))
        result = subprocess.run(
            [sys.executable, "-c", FILL, path],
            env=os.environ | {"PYTHONPATH": source},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 1, result.stderr
        assert f"refused: {path}: no space left on the disk" in result.stderr
        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_an_error_inside_the_block_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), files.atomic_path(tmp_path / "table.parquet") as temporary:
        temporary.write_bytes(b"half of")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_directory_is_replaced_whole(tmp_path):
    final = tmp_path / "checkpoint"
    for content in ("old", "new"):
        with files.atomic_path(final) as temporary:
            temporary.mkdir()
            (temporary / content).write_text(content)
    assert [p.name for p in final.iterdir()] == ["new"]


def test_every_table_of_the_contract_can_be_empty(tmp_path):
    for name, schema in SCHEMAS.items():
        path = tmp_path / f"{name}.parquet"
        write_table(schema.empty_table(), path, name)
        assert read_table(path, name).schema.remove_metadata() == schema


def test_not_a_number_is_not_null(tmp_path, table):
    path = tmp_path / "logprobs.parquet"
    write_table(replaced(table, "log_likelihood", pa.array([np.nan] * 5)), path, "logprobs")
    assert read_table(path, "logprobs")["log_likelihood"].null_count == 0


def test_every_column_has_a_meaning():
    assert [f"{row['table']}.{row['column']}" for row in data_dictionary().to_pylist() if not row["meaning"]] == []


def test_every_column_that_a_run_writes_is_described(shared_run):
    """In the files of synthetic runs, which the real stages wrote but for items and log-likelihoods."""
    with_forecasts = shared_run(40, ("arc_easy", "sciq"), forecasts=True)
    with_subjects = shared_run(40, ("mmlu", "sciq"))
    dictionary = data_dictionary().to_pylist()
    for name in SCHEMAS:
        kept = [row for row in dictionary if row["table"] == name]
        if kept[0]["file"].startswith("publish/"):  # those of the published set have a test of their own
            continue
        known = {row["column"]: row for row in kept}
        assert len(known) == len(kept) and all(row["meaning"] for row in kept)
        folder = kept[0]["file"].split("/")[0]
        paths = [
            path
            for run in (with_subjects, with_forecasts)
            for path in ([run.table(name)] if folder == "tables" else sorted((run.root / folder).rglob("*.parquet")))
            if path.exists()
        ]
        assert paths
        for path in paths:
            for field in pq.read_schema(path):
                row = known[field.name]
                assert field.metadata[b"description"].decode() == row["meaning"]
                assert field.metadata.get(b"unit", b"").decode() == row["unit"]
                assert row["type"] in (str(field.type), "list<string>") and field.nullable == (row["nulls"] == "yes")
            assert pl.read_parquet(path).columns == pq.read_schema(path).names


def test_optional_columns_are_those_of_the_stages():
    """What the stages can add beyond a synthetic run is described under the same names."""
    assert set(VARIANTS) == set(OPTIONAL["metrics"].names)
    assert {f"{name}{end}" for name in FURTHER for end in ("", "_low", "_high")} < set(
        OPTIONAL["correlation_statistics"].names
    )


def test_descriptions_keep_bytes_values_and_hashes(tmp_path, table):
    write_table(table, tmp_path / "a.parquet", "logprobs")
    again = read_table(tmp_path / "a.parquet", "logprobs")
    write_table(again, tmp_path / "b.parquet", "logprobs")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    bare = pa.table(list(again.columns), schema=pa.schema([f.remove_metadata() for f in again.schema]))
    assert content_hash(bare) == content_hash(again)
    joined = pa.concat_tables([bare, again])
    assert len(joined) == 2 * len(table), "tables of files with and without descriptions go together"


def test_optional_columns_get_their_type(tmp_path, table):
    extra = table.append_column("log_likelihood_unconditional", pa.array([-1] * len(table), pa.int32()))
    write_table(extra, tmp_path / "a.parquet", "logprobs")
    assert read_table(tmp_path / "a.parquet", "logprobs")["log_likelihood_unconditional"].type == pa.float64()
    wrong = table.append_column("log_likelihood_unconditional", pa.array(["x"] * len(table)))
    with pytest.raises(ElusiveError, match="do not fit a logprobs table"):
        write_table(wrong, tmp_path / "a.parquet", "logprobs")


VERSIONS = Path(__file__).parent / "data" / "schema_versions.json"


def test_a_changed_contract_raises_the_version():
    """The digests of each version are on record; a change under a number that is there already is found here."""
    known = json.loads(VERSIONS.read_text())
    assert [int(version) for version in known] == list(range(1, SCHEMA_VERSION + 1))
    assert len({json.dumps(digests, sort_keys=True) for digests in known.values()}) == SCHEMA_VERSION
    recorded, found = known[str(SCHEMA_VERSION)], contract_digests()
    changed = sorted(name for name in {*recorded, *found} if recorded.get(name) != found.get(name))
    advice = json.dumps({str(SCHEMA_VERSION + 1): found}, indent=1)[1:-1].strip()
    assert not changed, (
        f"the contract of {', '.join(changed)} has changed: raise SCHEMA_VERSION in workflow/elusive/tables.py by one, "
        f"and put this behind the last version in {VERSIONS}:\n{advice}"
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields[:-1],
        lambda fields: [fields[1], fields[0], *fields[2:]],
        lambda fields: [fields[0].with_name("id"), *fields[1:]],
        lambda fields: [fields[0].with_type(pa.large_string()), *fields[1:]],
        lambda fields: [fields[0].with_nullable(True), *fields[1:]],
        lambda fields: [fields[0].with_metadata({"unit": "metres"}), *fields[1:]],
    ],
)
def test_every_change_of_a_column_changes_the_digest(monkeypatch, change):
    before = contract_digests()
    monkeypatch.setitem(SCHEMAS, "logprobs", pa.schema(change(list(SCHEMAS["logprobs"]))))
    after = contract_digests()
    assert after.pop("logprobs") != before.pop("logprobs")
    assert after == before


def test_a_better_wording_is_no_new_contract(monkeypatch):
    before = contract_digests()
    worded = [f.with_metadata({**(f.metadata or {}), "description": "other words"}) for f in SCHEMAS["logprobs"]]
    monkeypatch.setitem(SCHEMAS, "logprobs", pa.schema(worded))
    assert contract_digests() == before


def test_files_say_their_version_and_those_without_one_are_read(tmp_path, table):
    path = tmp_path / "logprobs.parquet"
    write_table(table, path, "logprobs", {"fingerprint": "f"})
    assert pq.read_schema(path).metadata[SCHEMA_KEY] == str(SCHEMA_VERSION).encode()
    schema = read_table(path, "logprobs").schema
    for version, message in (
        (str(SCHEMA_VERSION + 1), f"has schema version {SCHEMA_VERSION + 1}, .* up to {SCHEMA_VERSION}: update it"),
        ("new", "has the schema version b'new', which is no number"),
        (None, None),
    ):
        metadata = {k: v for k, v in schema.metadata.items() if k != SCHEMA_KEY}
        metadata |= {SCHEMA_KEY: version.encode()} if version else {}
        pq.write_table(read_as_it_is(path).replace_schema_metadata(metadata), path)
        if message:
            with pytest.raises(ElusiveError, match=f"{path}: {message}"):
                read_table(path, "logprobs")
        else:
            assert read_table(path, "logprobs").to_pydict() == read_as_it_is(path).to_pydict()
        assert read_metadata(path) == {"fingerprint": "f"}, "which a score table is found again by"


def read_as_it_is(path: Path) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return file.read()


def test_parts_are_row_groups_and_the_same_rows(tmp_path, table):
    parts = [table.slice(0, 2), table.slice(2)]
    write_parts(iter(parts), tmp_path / "parts.parquet", "logprobs", {"a": 1})
    write_table(table, tmp_path / "whole.parquet", "logprobs", {"a": 1})
    with pq.ParquetFile(tmp_path / "parts.parquet") as file:
        assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [2, 3]
    found = [read_table(tmp_path / f"{name}.parquet", "logprobs") for name in ("parts", "whole")]
    assert found[0].equals(found[1], check_metadata=True)
    with pytest.raises(ElusiveError, match="needs the columns"):
        write_parts(iter([parts[0], parts[1].drop_columns(["choice"])]), tmp_path / "new" / "bad.parquet", "logprobs")
    assert not list((tmp_path / "new").iterdir())


def run_code(*lines: str) -> None:
    known = os.environ | {"PYTHONPATH": str(Path(tables.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], env=known, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_analysis_loads_pandas_only_if_it_asks_for_it(tmp_path, table):
    """Arrow's conversions would load it, and know its series still once it is loaded."""
    write_table(table, tmp_path / "t.parquet", "logprobs")
    run_code(
        "import sys",
        "import numpy as np, pyarrow as pa",
        "import elusive.analysis.metrics, elusive.analysis.choices",
        "from elusive.tables import read_table",
        f"table = read_table({str(tmp_path / 't.parquet')!r}, 'logprobs')",
        "table['choice'].to_numpy(), pa.array(np.arange(2)), pa.Table.from_pylist([{'a': 1}])",
        "assert 'pandas' not in sys.modules",
        "frame = table.to_pandas()",
        "assert len(frame) == table.num_rows and 'pandas' in sys.modules",
        "assert pa.array(frame['log_likelihood'] * np.nan).null_count == table.num_rows",
    )


@pytest.mark.parametrize("modules", ["items.sources", "importing.plain", "importing.lighteval", "scoring.cells"])
def test_what_reads_files_of_others_reads_all_their_types(modules):
    """Arrow needs pandas for times in nanoseconds."""
    run_code(
        f"import elusive.{modules}",
        "import pyarrow as pa",
        "times = pa.array([1_000_000_001], pa.timestamp('ns'))",
        "assert times.to_pylist()[0].nanosecond == 1",
    )


@pytest.mark.parametrize("module", ["figures.benchmark", "figures.forecasts", "figures.hero", "report.report"])
def test_figures_and_report_have_all_of_pandas(module):
    run_code(
        f"import elusive.{module}",
        "import pandas as pd, pyarrow as pa",
        "assert pa.array(pd.Series(['a', 'a'], dtype='category')).type.index_type == pa.int8()",
        "assert pa.array([1_000_000_001], pa.timestamp('ns')).to_pylist()[0].nanosecond == 1",
    )
