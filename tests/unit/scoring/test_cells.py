"""One job of the scoring stage: its tables, what it reuses, and what it says when something is wrong."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import sentencepiece
import torch
import transformers
from tokenizers import processors

from elusive import imports
from elusive.configuration.directory import CheckpointDirectory
from elusive.errors import ElusiveError
from elusive.items.archive import Archive
from elusive.items.build import build_items
from elusive.scoring import cells as scoring_cells
from elusive.scoring import command, identity, loading, loglikelihood
from elusive.scoring import prompts as scoring_prompts
from elusive.scoring.spec import Spec
from elusive.scoring.tokenize import TokenCache
from elusive.tables import SCHEMAS, content_hash, read_metadata, read_table, write_table
from scoring_checkpoints import (
    END,
    JOB,
    lm_eval_scores,
    neox_config,
    random_model,
    save_checkpoint,
    spec,
    start_python,
    train_tokenizer,
)

BENCHMARKS = ("arc_challenge", "winogrande", "mmlu")


@pytest.fixture(scope="module")
def items(archive_path, tmp_path_factory):
    directory = tmp_path_factory.mktemp("items")
    for name in BENCHMARKS:
        build_items({"name": name, "limit": 12}, directory / f"{name}.parquet", archive_path)
    return [directory / f"{name}.parquet" for name in BENCHMARKS]


@pytest.fixture(scope="module")
def checkpoint(archive_path, tmp_path_factory):
    tokenizer = train_tokenizer(archive_path, tmp_path_factory.mktemp("tokenizer"))
    return save_checkpoint(random_model(neox_config()), tokenizer, tmp_path_factory.mktemp("models") / "step1")


def outputs(directory: Path) -> list[Path]:
    return [directory / f"{name}.parquet" for name in BENCHMARKS]


def arguments(checkpoint, items, outputs, **overrides) -> list[str]:
    paths = [["--items", *items], ["--outputs", *outputs]]
    if finished := overrides.pop("finished", None):
        paths.append(["--finished", finished])
    flat = [str(value) for some in paths for value in some]
    return ["--checkpoint", str(checkpoint), *flat, "--spec", spec(device="cpu", **overrides)]


def run(checkpoint, items, outputs, **overrides) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    command.run(parser.parse_args(arguments(checkpoint, items, outputs, **overrides)))


@pytest.fixture(scope="module")
def scored(checkpoint, items, tmp_path_factory):
    paths = outputs(tmp_path_factory.mktemp("logprobs"))
    run(checkpoint, items, paths, parameters=198_144)
    return paths


def test_tables_fulfil_the_contract(scored, items, checkpoint):
    for path, source in zip(scored, items, strict=True):
        table, item_table = read_table(path, "logprobs"), read_table(source, "items")
        assert table.schema.names == SCHEMAS["logprobs"].names
        columns, given = table.to_pydict(), item_table.to_pylist()
        expected = [(row["item"], k, k == row["gold"]) for row in given for k in range(row["num_choices"])]
        assert list(zip(columns["item"], columns["choice"], columns["is_gold"], strict=True)) == expected
        assert len(set(zip(columns["item"], columns["choice"], strict=True))) == table.num_rows
        texts = [text for row in given for text in row["choices"]]
        assert columns["num_chars"] == [len(text) for text in texts]
        assert columns["num_bytes"] == [len(text.encode()) for text in texts]
        values = np.array(columns["log_likelihood"])
        assert np.isfinite(values).all() and (values < 0).all()
        assert min(columns["num_tokens"]) >= 1
        metadata = read_metadata(path)
        wanted = {
            "model": "tiny",
            "checkpoint": "step1",
            "source": "local",
            "benchmark": path.stem,
            "parameters": 198_144,
            "parameters_nonembedding": None,
            "tokens": 1000,
            "flops": 6.0 * 198_144 * 1000,
            "dtype": "float32",
            "device": "cpu",
            "items": content_hash(item_table),
            "protocol": "lm-eval-0.4 zero-shot",
            "scorer": scoring_cells.SCORER_VERSION,
            "add_bos_token": False,
            "max_length": 512,
        }
        assert {key: metadata[key] for key in wanted} == wanted
        for key in ("revision", "tokenizer", "fingerprint"):
            assert len(metadata[key]) == 64
        assert metadata["path"].startswith("packed+")
        assert set(metadata["versions"]) == {"elusive", "torch", "transformers"}
        assert set(metadata["libraries"]) == {"transformers", "tokenizers"}
        assert len(metadata["prompts"]) == len(metadata["token_ids"]) == 64


def test_two_runs_give_the_same_bytes(scored, items, checkpoint, tmp_path):
    run(checkpoint, items, outputs(tmp_path), parameters=198_144)
    assert [p.read_bytes() for p in outputs(tmp_path)] == [p.read_bytes() for p in scored]


def state(paths):
    return [(path.read_bytes(), path.stat().st_mtime_ns) for path in paths]


@pytest.fixture
def copy(scored, tmp_path):
    return [shutil.copy2(path, tmp_path) and tmp_path / path.name for path in scored]


def test_what_is_up_to_date_is_left_alone_and_loads_nothing(checkpoint, items, copy):
    before = state(copy)
    code = JOB + "import sys\nprint([m for m in ('torch', 'transformers', 'tokenizers') if m in sys.modules])"
    process = start_python(code, *arguments(checkpoint, items, copy), stdout=subprocess.PIPE)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert printed.strip() == "[]"
    assert state(copy) == before


def test_only_what_is_missing_or_broken_is_scored(checkpoint, items, copy, scored):
    before = state(copy)
    copy[0].unlink()
    copy[1].write_bytes(copy[1].read_bytes()[:1000])
    run(checkpoint, items, copy, parameters=198_144)
    assert [p.read_bytes() for p in copy] == [p.read_bytes() for p in scored]
    assert copy[2].stat().st_mtime_ns == before[2][1]


def test_finished_tables_come_back_when_outputs_were_deleted(checkpoint, items, scored, tmp_path):
    finished = tmp_path / "finished"
    paths = [tmp_path / "out" / path.name for path in scored]
    options = {"finished": finished, "parameters": 198_144}
    run(checkpoint, items, paths, **options)
    kept = [finished / "tiny" / "step1" / path.name for path in paths]
    assert all(path.samefile(second) for path, second in zip(paths, kept, strict=True)), "a link takes no space"
    paths[0].unlink()
    paths[1].unlink()
    kept[1].write_bytes(kept[1].read_bytes()[:1000])
    before = state([kept[0], paths[2]])
    run(checkpoint, items, paths, **options)
    assert state([paths[0], paths[2]]) == before, "not scored again"
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in scored]
    assert paths[1].samefile(kept[1])
    # What is wanted now is something else.
    paths[0].unlink()
    run(checkpoint, items[:1], paths[:1], add_bos_token=True, **options)
    assert read_metadata(paths[0])["add_bos_token"] is True
    assert paths[0].samefile(kept[0])
    assert read_metadata(paths[2])["add_bos_token"] is False


@pytest.mark.slow
@pytest.mark.parametrize("change", ["scorer", "dtype", "max_length", "add_bos_token", "weights", "code", "items"])
def test_what_changes_results_is_scored_again(checkpoint, items, copy, tmp_path, monkeypatch, change):
    directory, sources, overrides = checkpoint, list(items), {}
    if change == "scorer":
        monkeypatch.setattr(identity, "SCORER_VERSION", identity.SCORER_VERSION + 1)
    elif change == "code":
        overrides["trust_remote_code"] = True
    elif change in ("dtype", "max_length", "add_bos_token"):
        overrides[change] = {"dtype": "bfloat16", "max_length": 300, "add_bos_token": True}[change]
    elif change == "weights":
        directory = shutil.copytree(checkpoint, tmp_path / "other")
        model = transformers.AutoModelForCausalLM.from_pretrained(directory)
        with torch.no_grad():
            model.get_output_embeddings().weight[3] += 1
        model.save_pretrained(directory)
    else:
        table = read_table(sources[1], "items")
        metadata = read_metadata(sources[1])
        sources[1] = tmp_path / "changed.parquet"
        write_table(table.slice(1), sources[1], "items", metadata)
    again = scored_cells(monkeypatch)
    run(directory, sources, copy, **overrides)
    assert again == (["winogrande"] if change == "items" else list(BENCHMARKS))


def rewritten(path: Path, target: Path, metadata: dict | None = None, **columns) -> Path:
    """The items table at ``path`` with other ``metadata`` and, made of the present values of each, other columns."""
    table = read_table(path, "items")
    for name, make in columns.items():
        old = table[name]
        made = pa.chunked_array([pa.array(make(old.to_pylist()), old.type)])
        table = table.set_column(table.schema.get_field_index(name), name, made)
    write_table(table, target, "items", read_metadata(path) | (metadata or {}))
    return target


#: What an items table may say of the items without another word for the model to read.
NOT_SCORED = {
    "gold": {"gold": lambda golds: [(gold + 1) % 2 for gold in golds]},
    "ids": {"item": lambda ids: [f"{name}-renamed" for name in ids]},
    "subject": {"subject": lambda subjects: ["all of one" for _ in subjects]},
    "cluster": {"cluster": lambda clusters: ["text" for _ in clusters]},
    "texts of choices": {"choices": lambda rows: [[f"({text})" for text in row] for row in rows]},
    "protocol": {"metadata": {"protocol": "under another name"}},
}


@pytest.mark.slow
@pytest.mark.parametrize("change", NOT_SCORED)
def test_what_is_not_scored_is_written_into_the_table_as_it_was(checkpoint, items, copy, tmp_path, change):
    """Nothing heavy is loaded, and the table has the bytes of one that was scored with the items as they are now."""
    other = rewritten(items[0], tmp_path / "changed.parquet", **NOT_SCORED[change])
    before = state(copy)
    code = JOB + "import sys\nprint([m for m in ('torch', 'transformers', 'tokenizers') if m in sys.modules])"
    given = arguments(checkpoint, [other, *items[1:]], copy, parameters=198_144)
    process = start_python(code, *given, stdout=subprocess.PIPE)
    printed, _ = process.communicate(timeout=60)
    assert (process.returncode, printed.strip()) == (0, "[]")
    assert state(copy)[1:] == before[1:]
    fresh = outputs(tmp_path / "fresh")
    run(checkpoint, [other, *items[1:]], fresh, parameters=198_144)
    assert copy[0].read_bytes() == fresh[0].read_bytes() != before[0][0]
    golds = [row["gold"] for row in read_table(other, "items").to_pylist()]
    table = read_table(copy[0], "logprobs").to_pylist()
    assert [row["choice"] for row in table if row["is_gold"]] == golds


def test_another_order_or_number_of_items_is_scored_again(checkpoint, items, copy, tmp_path, monkeypatch):
    tables = iter([items[0], items[1]])
    reordered = rewritten(next(tables), tmp_path / "a.parquet", contexts=lambda rows: rows[::-1])
    merged = rewritten(
        next(tables),
        tmp_path / "b.parquet",
        contexts=lambda rows: [[f"{context} " for context in row] for row in rows],
    )
    scored_again = scored_cells(monkeypatch)
    run(checkpoint, [reordered, merged, items[2]], copy, parameters=198_144)
    assert scored_again == ["arc_challenge", "winogrande"]


def scored_cells(monkeypatch) -> list[str]:
    """A list that gets the name of every benchmark that is scored from here on."""
    names: list[str] = []
    score_stale = scoring_cells._score_stale

    def noted(spec, checkpoint, stale, *rest):
        names.extend(cell.benchmark for cell in stale)
        return score_stale(spec, checkpoint, stale, *rest)

    monkeypatch.setattr(scoring_cells, "_score_stale", noted)
    return names


def with_metadata(path: Path, change) -> None:
    """Let ``change`` make other metadata of the table's."""
    write_table(read_table(path, "logprobs"), path, "logprobs", change(read_metadata(path)))


def without_prompts(metadata: dict) -> dict:
    """Metadata as tables have them whose fingerprint is over the items' whole content."""
    decisive = {
        "revision": metadata["revision"],
        "items": metadata["items"],
        "protocol": metadata["protocol"],
        "dtype": "float32",
        "add_bos_token": False,
        "max_length": None,
        "scorer": metadata["scorer"],
    }
    own = hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()
    kept = {key: metadata[key] for key in metadata if key not in ("prompts", "token_ids", "libraries")}
    return kept | {"fingerprint": own}


def test_tables_with_a_fingerprint_over_the_items_stay_valid(checkpoint, items, copy, tmp_path, monkeypatch):
    whole = [read_table(path, "logprobs") for path in copy]
    for path in copy:
        with_metadata(path, without_prompts)
    again = scored_cells(monkeypatch)
    run(checkpoint, items, copy, parameters=198_144)
    assert again == []
    assert [read_table(path, "logprobs") for path in copy] == whole
    metadata = read_metadata(copy[0])
    assert metadata["prompts"] == identity.prompts_hash(read_table(items[0], "items"))
    # From then on they are as good as others.
    before = state(copy)
    run(checkpoint, items, copy, parameters=198_144)
    assert state(copy) == before
    other = rewritten(items[0], tmp_path / "changed.parquet", **NOT_SCORED["gold"])
    run(checkpoint, [other, *items[1:]], copy, parameters=198_144)
    assert again == []


@pytest.mark.parametrize("change", ["items", "protocol", "transformers"])
def test_tables_with_a_fingerprint_over_the_items_are_valid_for_these_alone(
    checkpoint, items, copy, tmp_path, monkeypatch, change
):
    def older(metadata):
        made = without_prompts(metadata)
        return made | ({"versions": {"transformers": "4.0.0"}} if change == "transformers" else {})

    with_metadata(copy[0], older)
    sources = list(items)
    if change != "transformers":
        made = NOT_SCORED["gold" if change == "items" else "protocol"]
        sources[0] = rewritten(items[0], tmp_path / "changed.parquet", **made)
    again = scored_cells(monkeypatch)
    run(checkpoint, sources, copy, parameters=198_144)
    assert again == ["arc_challenge"]


def test_the_fingerprint_over_the_items_as_it_stands_in_tables(monkeypatch):
    """Of the default run's ladder-d32/step80 on ARC-Easy."""
    monkeypatch.setattr(identity, "SCORER_VERSION", 2)
    found = identity.fingerprint_by_items(
        Spec("ladder-d32", "step80", "ladder"),
        "2738ab3e8fe09c41a32fc88379b8a3e70820f97c5bd2723cf8c3983a246d2e4a",
        "15e46c1a43cfe75aa157ff85937b7ea5ba9e7d5577002a445271cef1efb7cc6b",
        "lm-eval-0.4 zero-shot",
        False,
    )
    assert found == "ac15a30edd7141832bc209fe9dda34b61fee2781d383d6a4d14fd5a1bdcf66b9"


def test_another_version_of_a_library_that_gives_the_same_tokens_scores_nothing(
    checkpoint, items, copy, monkeypatch, caplog
):
    version = identity.version
    monkeypatch.setattr(identity, "version", lambda name: "99.0" if name == "tokenizers" else version(name))
    again = scored_cells(monkeypatch)
    with caplog.at_level("INFO", logger="elusive"):
        run(checkpoint, items, copy, parameters=198_144)
    assert again == []
    assert "other versions of libraries give the same tokens: arc_challenge, winogrande, mmlu" in caplog.text
    assert read_metadata(copy[0])["libraries"]["tokenizers"] == "99.0"
    before = state(copy)
    run(checkpoint, items, copy, parameters=198_144)
    assert state(copy) == before


def test_another_version_of_a_library_that_gives_other_tokens_scores_again(checkpoint, items, copy, monkeypatch):
    version, tokenize = identity.version, scoring_prompts.tokenize
    monkeypatch.setattr(identity, "version", lambda name: "99.0" if name == "transformers" else version(name))

    def other(tokenizer, contexts, *rest):
        changed = [context.replace("Question", "question") for context in contexts]
        return tokenize(tokenizer, changed, *rest)

    monkeypatch.setattr(scoring_prompts, "tokenize", other)
    with_metadata(copy[2], lambda metadata: {k: v for k, v in metadata.items() if k != "token_ids"})
    again = scored_cells(monkeypatch)
    run(checkpoint, items, copy, parameters=198_144)
    # WinoGrande's prompts have no such word; of the third table it is not known which tokens it was made with.
    assert again == ["arc_challenge", "mmlu"]


def test_a_table_that_lacks_items_keeps_its_numbers_where_ids_say_which(checkpoint, items, copy, tmp_path, monkeypatch):
    whole, source = read_table(copy[0], "logprobs"), read_table(items[0], "items")
    lost = source["item"].to_pylist()[3]
    kept = whole.filter(pa.array([item != lost for item in whole["item"].to_pylist()]))
    write_table(kept, copy[0], "logprobs", read_metadata(copy[0]) | {"dropped_items": [lost]})
    again = scored_cells(monkeypatch)
    other = rewritten(items[0], tmp_path / "gold.parquet", **NOT_SCORED["gold"])
    run(checkpoint, [other, *items[1:]], copy, parameters=198_144, on_unscorable="drop")
    assert again == []
    table = read_table(copy[0], "logprobs")
    assert table["log_likelihood"].equals(kept["log_likelihood"]) and table["item"].equals(kept["item"])
    golds = {row["item"]: row["gold"] for row in read_table(other, "items").to_pylist()}
    assert {row["item"]: row["choice"] for row in table.to_pylist() if row["is_gold"]} == {
        item: gold for item, gold in golds.items() if item != lost
    }
    # With other ids nothing says which one is lacking.
    renamed = rewritten(items[0], tmp_path / "ids.parquet", **NOT_SCORED["ids"])
    run(checkpoint, [renamed, *items[1:]], copy, parameters=198_144, on_unscorable="drop")
    assert again == ["arc_challenge"]
    assert read_table(copy[0], "logprobs").num_rows == whole.num_rows


def hub_directory(path: Path, commit: str, **source) -> Path:
    path.mkdir()
    (path / "source.json").write_text(json.dumps({"repo": "o/r", "revision": "main", "commit": commit, **source}))
    return path


def test_a_checkpoint_without_weights_serves_while_no_table_is_missing(checkpoint, items, tmp_path):
    full = shutil.copytree(checkpoint, tmp_path / "full")
    (full / "source.json").write_text(json.dumps({"repo": "o/r", "revision": "main", "commit": "c" * 40}))
    finished, paths = tmp_path / "finished", outputs(tmp_path / "out")
    options = {"finished": finished, "parameters": 198_144, "repo": "o/r", "revision": "main", "source": "hub"}
    run(full, items, paths, **options)
    made = state(paths)
    for path in paths:
        path.unlink()
    empty = hub_directory(tmp_path / "empty", "c" * 40, weights=False)
    run(empty, items, paths, **options)
    assert state(paths) == made
    paths[1].unlink()
    (finished / "tiny" / "step1" / paths[1].name).unlink()
    with pytest.raises(ElusiveError, match=r"empty: has no weights, .*now winogrande has none\. Run the same command"):
        run(empty, items, paths, **options)
    moved = hub_directory(tmp_path / "moved", "d" * 40, weights=False)
    with pytest.raises(ElusiveError, match="now arc_challenge, winogrande, mmlu has none"):
        run(moved, items, paths, **options)
    unmarked = hub_directory(tmp_path / "unmarked", "c" * 40)
    with pytest.raises(ElusiveError, match=r"has no config\.json"):
        run(unmarked, items, paths, **options)


def test_a_new_label_does_not_make_a_table_stale(checkpoint, items, copy, tmp_path):
    before = state(copy)
    metadata = read_metadata(items[0]) | {"label": "Another name"}
    write_table(read_table(items[0], "items"), tmp_path / "relabelled.parquet", "items", metadata)
    run(checkpoint, [tmp_path / "relabelled.parquet", *items[1:]], copy, parameters=198_144)
    assert state(copy) == before


def test_budget_and_threads_do_not_make_a_table_stale(checkpoint, items, copy):
    before = state(copy)
    run(checkpoint, items, copy, token_budget=77, threads=2, parameters=198_144)
    assert state(copy) == before


def test_a_table_of_other_parameters_than_configured_is_no_table_of_the_model(checkpoint, items, copy):
    before = state(copy)
    with pytest.raises(ElusiveError, match=r"arc_challenge.parquet: has 198,144 parameters.*says 198,145 for"):
        run(checkpoint, items, copy, parameters=198_145)
    assert state(copy) == before


def test_settings_add_to_every_spec(checkpoint, items, scored, tmp_path):
    target = tmp_path / scored[0].name
    asked = arguments(checkpoint, items[:1], [target])
    own = json.loads(spec(parameters=198_144))
    del own["tokens"]
    asked[asked.index("--spec") + 1] = json.dumps(own)
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    command.run(parser.parse_args([*asked, "--settings", '{"device": "cpu", "tokens": 12345}']))
    assert read_metadata(target)["tokens"] == 12345
    assert read_metadata(target)["flops"] == 6.0 * 198_144 * 12345
    assert read_table(target, "logprobs").equals(read_table(scored[0], "logprobs"))
    with pytest.raises(ElusiveError, match="--settings: parameters is in --spec too"):
        command.run(parser.parse_args([*asked, "--settings", '{"parameters": 1}']))
    with pytest.raises(ElusiveError, match="--settings: not JSON"):
        command.run(parser.parse_args([*asked, "--settings", "{"]))


@pytest.mark.slow
def test_killed_job_leaves_complete_tables_only(checkpoint, items, scored, tmp_path):
    # Slow enough to be killed while it works: every benchmark is scored by itself, many times over.
    sources = [items[i % 3] for i in range(60)]
    targets = [tmp_path / "out" / f"{i}.parquet" for i in range(60)]
    given = arguments(checkpoint, sources, targets, token_budget=1, parameters=198_144)
    process = start_python(JOB, *given, stderr=subprocess.DEVNULL)
    try:
        while not targets[1].exists():
            assert process.poll() is None
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = [path for path in targets if path.exists()]
    assert 2 <= len(done) < 60
    for path in done:
        read_table(path, "logprobs")
    kept = state(done)
    rest = targets[: len(done) + 2]
    run(checkpoint, sources[: len(rest)], rest, token_budget=1, parameters=198_144)
    assert state(done) == kept
    assert all(read_table(path, "logprobs").num_rows for path in rest)


def test_incomplete_checkpoints_are_named(checkpoint, items, tmp_path):
    target = [tmp_path / "out.parquet"]
    with pytest.raises(ElusiveError, match="no such checkpoint directory"):
        run(tmp_path / "absent", items[:1], target)
    for name, message in [
        ("config.json", "has no config.json"),
        ("model.safetensors", "has no weights"),
        ("tokenizer.json", "has no tokenizer"),
    ]:
        directory = shutil.copytree(checkpoint, tmp_path / f"without-{name}")
        (directory / name).unlink()
        with pytest.raises(ElusiveError, match=message):
            run(directory, items[:1], target)
    broken = shutil.copytree(checkpoint, tmp_path / "broken")
    (broken / "model.safetensors").write_bytes((broken / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(ElusiveError, match=r"model.safetensors: is cut off: its tensors are .+ bytes, of which"):
        run(broken, items[:1], target)
    assert not target[0].exists()


def test_wrong_specs_are_named(checkpoint, items, tmp_path):
    target = [tmp_path / "out.parquet"]
    with pytest.raises(ElusiveError, match=r"has 198,144 parameters.*says 300,000 for tiny/step1"):
        run(checkpoint, items[:1], target, parameters=300_000)
    with pytest.raises(ElusiveError, match="unknown keys \\['colour'\\]"):
        run(checkpoint, items[:1], target, colour="red")
    with pytest.raises(ElusiveError, match="dtype 'float8' is not one of"):
        run(checkpoint, items[:1], target, dtype="float8")
    with pytest.raises(ElusiveError, match="1 of them, but 1 checkpoints on 2 items tables"):
        run(checkpoint, items[:2], target)
    with pytest.raises(ElusiveError, match="not JSON"):
        command.run(argparse.Namespace(spec="{", checkpoint=[checkpoint], items=items[:1], outputs=target))
    with pytest.raises(ElusiveError, match=r"the keys \['model'"):
        scoring_cells.Spec.from_mapping({})


def test_tied_weights_count_once(archive_path, items, tmp_path):
    tokenizer = train_tokenizer(archive_path, tmp_path / "tokenizer")
    model = random_model(neox_config(tie_word_embeddings=True))
    directory = save_checkpoint(model, tokenizer, tmp_path / "tied")
    run(directory, items[:1], [tmp_path / "out.parquet"], parameters=198_144 - 1024 * 64)


def test_several_checkpoints_in_one_job(checkpoint, items, scored, tmp_path):
    second = shutil.copytree(checkpoint, tmp_path / "second")
    model = transformers.AutoModelForCausalLM.from_pretrained(second)
    with torch.no_grad():
        model.get_output_embeddings().weight[3] += 1
    model.save_pretrained(second)
    targets = [*outputs(tmp_path / "a"), *outputs(tmp_path / "b"), *outputs(tmp_path / "c")]
    specs = [json.loads(spec(device="cpu", parameters=198_144)) | {"checkpoint": name} for name in ("step1", "step2")]
    given = argparse.Namespace(
        checkpoint=[checkpoint, second, checkpoint],
        items=items,
        outputs=targets,
        spec=json.dumps([*specs, specs[0]]),
        settings="{}",
        token_cache=tmp_path / "tokens",
        finished=None,
    )
    command.run(given)
    every = [path.read_bytes() for path in targets]
    assert every[:3] == every[6:] == [path.read_bytes() for path in scored]
    assert all(a != b for a, b in zip(every[:3], every[3:6], strict=True))
    assert read_metadata(targets[4])["checkpoint"] == "step2"
    with pytest.raises(ElusiveError, match="3 entries for 2 checkpoints"):
        command.run(argparse.Namespace(**{**vars(given), "checkpoint": [checkpoint] * 2}))
    with pytest.raises(ElusiveError, match="8 of them, but 3 checkpoints on 3 items tables"):
        command.run(argparse.Namespace(**{**vars(given), "outputs": targets[:8]}))


def test_a_checkpoint_that_cannot_be_scored_keeps_no_other_from_it(checkpoint, items, scored, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    targets = [*outputs(tmp_path / "a"), *outputs(tmp_path / "b")]
    specs = [json.loads(spec(device="cpu", parameters=198_144)) | {"checkpoint": name} for name in ("step0", "step1")]
    settings = [{"tokens": 5}, {"tokens": json.loads(spec()).get("tokens", 7)}]
    specs = [{key: value for key, value in each.items() if key != "tokens"} for each in specs]
    given = argparse.Namespace(
        checkpoint=[empty, checkpoint],
        items=items,
        outputs=targets,
        spec=json.dumps(specs),
        settings=json.dumps(settings),
        token_cache=None,
        finished=None,
    )
    with pytest.raises(ElusiveError, match="empty"):
        command.run(given)
    assert not targets[0].exists()
    for path, expected in zip(targets[3:], scored, strict=True):
        assert read_table(path, "logprobs").equals(read_table(expected, "logprobs"))
        assert read_metadata(path)["tokens"] == settings[1]["tokens"]
    with pytest.raises(ElusiveError, match="1 entries for the 2 of --spec"):
        command.run(argparse.Namespace(**{**vars(given), "settings": json.dumps(settings[:1])}))
    with pytest.raises(ElusiveError, match="tokens is in --spec too"):
        repeated = json.dumps([each | {"tokens": 5} for each in specs])
        command.run(argparse.Namespace(**{**vars(given), "spec": repeated}))


def test_cached_tokens_give_the_same_table(checkpoint, items, scored, tmp_path, monkeypatch):
    cache = tmp_path / "tokens"
    given = {
        "settings": "{}",
        "checkpoint": [checkpoint],
        "items": items,
        "spec": spec(device="cpu", parameters=198_144),
    }
    command.run(argparse.Namespace(**given, outputs=outputs(tmp_path / "a"), token_cache=cache, finished=None))
    files = sorted(cache.iterdir())
    assert len(files) == 3 + 2  # one for each benchmark, the trial's, and what the tokenizer does by default
    largest = max(files, key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:100])  # damaged: made anew
    calls = []
    tokenize = scoring_prompts.tokenize
    monkeypatch.setattr(scoring_prompts, "tokenize", lambda *args: calls.append(1) or tokenize(*args))
    command.run(argparse.Namespace(**given, outputs=outputs(tmp_path / "b"), token_cache=cache, finished=None))
    assert len(calls) == 1
    for name in ("a", "b"):
        assert [p.read_bytes() for p in outputs(tmp_path / name)] == [p.read_bytes() for p in scored]


def test_two_tokenizers_of_the_same_files_share_no_tokens(archive_path, items, tmp_path):
    """GPT-2's and Qwen2's classes cut text differently, and only the model's configuration says which one it is."""
    tokenizer = train_tokenizer(archive_path, tmp_path / "tokenizer")
    shape = {"vocab_size": 1024, "bos_token_id": 0, "eos_token_id": 0}
    qwen2 = transformers.Qwen2Config(
        **shape,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=96,
        max_position_embeddings=512,
    )
    gpt2 = transformers.GPT2Config(**shape, n_embd=64, n_layer=2, n_head=4, n_positions=512)
    alone, together = [], []
    for name, config in (("gpt2", gpt2), ("qwen2", qwen2)):
        directory = tmp_path / name
        random_model(config).save_pretrained(directory)
        shutil.copy(tokenizer / "tokenizer.json", directory)
        for found, cache in ((alone, tmp_path / f"{name}-tokens"), (together, tmp_path / "tokens")):
            path = tmp_path / f"{name}-{len(alone)}-{cache.name}.parquet"
            given = arguments(directory, items[:1], [path], parameters=None)
            parser = argparse.ArgumentParser()
            command.add_arguments(parser)
            command.run(parser.parse_args([*given, "--token-cache", str(cache)]))
            found.append(read_table(path, "logprobs"))
    assert alone[0]["num_tokens"] != alone[1]["num_tokens"], "or the test shows nothing"
    assert together == alone
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "qwen2")
    own = transformers.AutoTokenizer.from_pretrained(tmp_path / "qwen2")
    rows = read_table(items[0], "items").to_pylist()
    pairs = [(row["contexts"][0], text) for row in rows for text in row["continuations"]]
    values, _ = lm_eval_scores(model, own, pairs)
    np.testing.assert_allclose(together[1]["log_likelihood"], values, atol=1e-3)


@pytest.mark.parametrize("change", ["prompts", "bos", "length", "class", "version", "sentencepiece", "files", "code"])
def test_a_key_of_cached_tokens_has_all_that_decides_them(checkpoint, items, tmp_path, monkeypatch, change):
    directory, version = shutil.copytree(checkpoint, tmp_path / "model"), identity.version
    config = transformers.AutoConfig.from_pretrained(directory)
    keys: list[str] = []

    class Noted(TokenCache):
        def get(self, decisive, make):
            keys.append(json.dumps(decisive, sort_keys=True))
            return scoring_prompts.pack([(np.array([1]), np.array([2]))])

    def ask(source=items[0], **overrides):
        made = Spec.from_mapping(json.loads(spec(**overrides)))
        (cell,) = scoring_cells.cells(made, "revision", [source], [tmp_path / "out.parquet"])
        scoring_prompts.Prompts(made, CheckpointDirectory.open(directory), config, Noted()).of(cell)

    ask()
    ask()
    other = rewritten(items[0], tmp_path / "gold.parquet", **NOT_SCORED["gold"])
    ask(other)
    (directory / "config.json").write_text(json.dumps(json.loads(config.to_json_string()) | {"hidden_size": 4096}))
    ask()
    assert len(set(keys)) == 1, "sizes and gold have no part in it"
    if change == "prompts":
        ask(rewritten(items[0], tmp_path / "c.parquet", contexts=lambda rows: [["Q: what?"] for _ in rows]))
    elif change in ("bos", "length"):
        ask(**{"bos": {"add_bos_token": None}, "length": {"max_length": 100}}[change])
    elif change == "class":
        (directory / "config.json").write_text(json.dumps(config.to_dict() | {"tokenizer_class": "Qwen2Tokenizer"}))
        ask()
    elif change == "version":
        monkeypatch.setattr(identity, "version", lambda name: "99.0" if name == "tokenizers" else version(name))
        ask()
    elif change == "sentencepiece":
        (directory / "tokenizer.json").rename(directory / "tokenizer.model")
        ask()
        monkeypatch.setattr(identity, "version", lambda name: "99.0" if name == "sentencepiece" else version(name))
        ask()
        assert len(set(keys[-2:])) == 2
    elif change == "files":
        (directory / "tekken.json").write_text("{}")
        ask()
    else:
        ask(trust_remote_code=True)
        (directory / "tokenization_own.py").write_text("pass")
        ask(trust_remote_code=True)
        assert len(set(keys[-2:])) == 2
    assert keys[-1] != keys[0]


def test_unconditional_scores_are_those_behind_nothing(checkpoint, items, scored, copy):
    run(checkpoint, items, copy, parameters=198_144, unconditional=["arc_challenge"])
    assert [a.read_bytes() == b.read_bytes() for a, b in zip(copy, scored, strict=True)] == [False, True, True]
    plain, table = read_table(scored[0], "logprobs"), read_table(copy[0], "logprobs")
    difference = plain["log_likelihood"].to_numpy() - table["log_likelihood"].to_numpy()
    assert np.abs(difference).max() < 1e-4
    assert table.drop_columns(["log_likelihood", "log_likelihood_unconditional"]).equals(
        plain.drop_columns(["log_likelihood"])
    )
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    continuations = [text for row in read_table(items[0], "items").to_pylist() for text in row["continuations"]]
    expected, _ = lm_eval_scores(model, tokenizer, [("", continuation) for continuation in continuations])
    np.testing.assert_allclose(table["log_likelihood_unconditional"], expected, atol=1e-4)


def test_a_continuation_too_long_names_the_item(checkpoint, items, tmp_path):
    with pytest.raises(ElusiveError, match=r"arc_challenge: item '.+', choice 0: the continuation has \d+ tokens"):
        run(checkpoint, items[:1], [tmp_path / "out.parquet"], max_length=1)


def test_weights_that_are_no_numbers_are_named(checkpoint, items, tmp_path):
    directory = shutil.copytree(checkpoint, tmp_path / "nan")
    model = transformers.AutoModelForCausalLM.from_pretrained(directory)
    with torch.no_grad():
        model.get_output_embeddings().weight[5, 0] = float("nan")
    model.save_pretrained(directory)
    with pytest.raises(
        ElusiveError, match=r"nan: .*1 of the values of 'lm_head.weight' are no finite numbers"
    ) as error:
        run(directory, items[:1], [tmp_path / "out.parquet"])
    assert str(directory) in str(error.value)
    assert "float32" not in str(error.value), "no advice to do what was done"
    assert not (tmp_path / "out.parquet").exists()


def test_a_log_likelihood_that_is_no_number_names_item_and_reason(checkpoint, items, tmp_path, monkeypatch):
    """A token that no prompt of the trial has."""
    everything = tokens_of(checkpoint, items[0])
    trials = []
    trial = scoring_prompts.Prompts.trial
    monkeypatch.setattr(scoring_prompts.Prompts, "trial", lambda *args: trials.append(trial(*args)) or trials[-1])
    run(checkpoint, items[:1], [tmp_path / "out.parquet"])
    rare = min(set(everything.tokens.tolist()) - set(trials[0].tokens.tolist()))
    directory = shutil.copytree(checkpoint, tmp_path / "nan")
    model = transformers.AutoModelForCausalLM.from_pretrained(directory)
    with torch.no_grad():
        model.get_input_embeddings().weight[rare] = float("inf")
    model.save_pretrained(directory)
    with pytest.raises(
        ElusiveError, match=r"log-likelihood of item '.+', choice \d is nan: .*'gpt_neox.embed_in.weight'"
    ):
        run(directory, items[:1], [tmp_path / "out.parquet"])


def test_half_precision_is_close_to_single(checkpoint, items, scored, tmp_path):
    run(checkpoint, items[:1], [tmp_path / "out.parquet"], dtype="bfloat16")
    single, half = read_table(scored[0], "logprobs"), read_table(tmp_path / "out.parquet", "logprobs")
    assert read_metadata(tmp_path / "out.parquet")["dtype"] == "bfloat16"
    difference = np.abs(single["log_likelihood"].to_numpy() - half["log_likelihood"].to_numpy())
    assert 0 < difference.max() < 0.02 * np.abs(single["log_likelihood"].to_numpy()).max()


def test_choices_of_a_table_without_texts():
    table = pa.table(
        {
            "item": ["a", "b"],
            "contexts": [["Q:"], ["one", "two"]],
            "continuations": [[" yes", " no", "–"], [" rest"]],
            "gold": pa.array([1, 0], pa.int8()),
            "num_choices": pa.array([3, 2], pa.int8()),
        }
    )
    every = scoring_prompts.choices(table)
    assert every.context == ["Q:"] * 3 + ["one", "two"]
    assert every.continuation == [" yes", " no", "–", " rest", " rest"]
    assert every.text == ["yes", "no", "–", "rest", "rest"]
    assert every.is_gold.tolist() == [False, True, False, True, False]
    assert every.names[4] == "item 'b', choice 1"


@pytest.mark.slow
def test_a_job_imports_no_compiler_and_no_tokenizer_it_does_not_need(checkpoint, items, tmp_path):
    names = (
        "torch._dynamo",
        "torch.distributed.tensor",
        "scipy",
        "pandas",
        "transformers.models.auto.tokenization_auto",
    )
    code = (
        JOB
        + f"""
import sys
print([name for name in {names} if name in sys.modules])
import torch
print(callable(torch._dynamo.optimize), torch._dynamo.__name__, torch.compiler.is_compiling())
"""
    )
    for path in (tmp_path / "first", tmp_path / "second"):
        given = [*arguments(checkpoint, items, outputs(path)), "--token-cache", str(tmp_path / "tokens")]
        process = start_python(code, *given, stdout=subprocess.PIPE)
        printed, _ = process.communicate(timeout=600)
        assert process.returncode == 0
        expected = ["transformers.models.auto.tokenization_auto"] if path.name == "first" else []
        assert printed.splitlines() == [str(expected), "True torch._dynamo False"]


def test_a_model_that_lean_imports_break_is_loaded_with_all_of_them(checkpoint, monkeypatch):
    @contextlib.contextmanager
    def broken():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", lambda *_, **__: 1 / 0)
            yield

    monkeypatch.setattr(imports, "lean", broken)
    assert loading.load_model(checkpoint).num_parameters() == 198_144


def test_tokenising_ahead_gives_the_same_bytes(checkpoint, items, scored, tmp_path, monkeypatch):
    ahead, threads = scoring_cells._ahead, set()
    tokenize = scoring_prompts.tokenize

    def noted(*args):
        threads.add(threading.current_thread().name)
        return tokenize(*args)

    monkeypatch.setattr(scoring_prompts, "tokenize", noted)
    monkeypatch.setattr(scoring_cells, "_ahead", lambda prepare, every, in_thread: ahead(prepare, every, True))
    run(checkpoint, items, outputs(tmp_path), parameters=198_144)
    assert [p.read_bytes() for p in outputs(tmp_path)] == [p.read_bytes() for p in scored]
    assert threads == {"MainThread", "tokenize_0"}  # the trial's and the benchmarks'


@pytest.mark.parametrize("in_thread", [False, True])
def test_what_was_prepared_comes_in_order_and_errors_in_their_turn(in_thread):
    made, taken = [], []

    def prepare(number):
        made.append(number)
        if number == 3:
            raise ElusiveError("mmlu: no")
        return number * 10

    with pytest.raises(ElusiveError, match="mmlu: no"):
        for number, ready in scoring_cells._ahead(prepare, [1, 2, 3, 4], in_thread):
            time.sleep(0.05)
            assert len(made) == len(taken) + 1 + in_thread
            taken.append((number, ready))
    assert taken == [(1, 10), (2, 20)]
    assert made == [1, 2, 3]


def test_the_trial_takes_part_of_every_benchmark(checkpoint, items, scored, copy, monkeypatch):
    """Whatever is stale: how a model is run may not depend on it."""
    trials = []
    trial = scoring_prompts.Prompts.trial
    monkeypatch.setattr(scoring_prompts.Prompts, "trial", lambda *args: trials.append(trial(*args)) or trials[-1])
    run(checkpoint, items, copy[:1] + outputs(copy[0].parent / "others")[1:], parameters=198_144)
    copy[0].unlink()
    run(checkpoint, items, copy, parameters=198_144)
    assert copy[0].read_bytes() == scored[0].read_bytes()
    first, second = trials
    assert (first.tokens == second.tokens).all()
    whole = [tokens_of(checkpoint, path) for path in items]
    found = {first.fed(i).tobytes() for i in range(len(first))}
    for requests in whole:
        every = [requests.fed(i).tobytes() for i in range(len(requests))]
        tried = [some for some in every if some in found]
        assert 4 <= len(tried) < len(every)
        assert max(map(len, tried)) > 0.8 * max(map(len, every))  # the longest in characters


def tokens_of(checkpoint, path):
    every = scoring_prompts.choices(read_table(path, "items"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    return scoring_prompts.tokenize(tokenizer, every.context, every.continuation, 512)


def test_examples_before_every_question_of_an_own_benchmark_run_once(checkpoint, tmp_path, monkeypatch):
    """The prompts of an own benchmark that starts with solved examples, through items, job and table."""
    examples = "".join(f"Question: what is {n} + {n}?\nAnswer: it is {2 * n}\n\n" for n in range(5))
    with (tmp_path / "quiz.jsonl").open("w") as file:
        for n in range(60):
            row = {"question": f"which number is {n}{' really' * (n % 7)}?", "options": [f"it is {n}", "none", "all"]}
            file.write(json.dumps(row | {"answer": n % 3}) + "\n")
    own = {"name": "quiz", "file": str(tmp_path / "quiz.jsonl"), "choices": "options", "gold": "answer"}
    own["context"] = examples.replace("\n", "\\n").join(['{{ "', '" }}']) + "Question: {{ question }}\nAnswer:"
    build_items(own, tmp_path / "quiz.parquet", None)
    results = []
    score = loglikelihood.Scorer.score
    monkeypatch.setattr(loglikelihood.Scorer, "score", lambda *args: results.append(score(*args)) or results[-1])
    run(checkpoint, [tmp_path / "quiz.parquet"], [tmp_path / "out.parquet"], parameters=198_144)
    (scores,) = results
    assert scores.tokens_run < scores.tokens_asked / 10
    items = read_table(tmp_path / "quiz.parquet", "items").to_pylist()
    assert items[7]["contexts"] == [examples + "Question: which number is 7?\nAnswer:"]
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    expected, _ = lm_eval_scores(
        model, tokenizer, [(item["contexts"][0], text) for item in items for text in item["continuations"]]
    )
    found = read_table(tmp_path / "out.parquet", "logprobs")["log_likelihood"].to_numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-6)


def resaved(checkpoint, directory, tokenizer=None, model=None):
    """A copy of the checkpoint with another tokenizer or model."""
    shutil.copytree(checkpoint, directory)
    if tokenizer is not None:
        tokenizer.save_pretrained(directory)
    if model is not None:
        model.save_pretrained(directory)
    return directory


def own_items(path, rows, **options):
    """The items table of own questions, {question, options, answer}."""
    with path.with_suffix(".jsonl").open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    own = {"name": path.stem, "file": str(path.with_suffix(".jsonl")), "choices": "options", "gold": "answer"}
    build_items(own | {"context": "{{ question }}"} | options, path, None)
    return path


@pytest.mark.parametrize("place", ["choice", "context"])
def test_tokens_that_the_model_does_not_have_name_the_item(checkpoint, tmp_path, place):
    """A tokenizer with added tokens, and a model that was not resized for them."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    tokenizer.add_tokens(["<unheard>"])
    directory = resaved(checkpoint, tmp_path / "added", tokenizer)
    rows = [{"question": f"which number is {n}?", "options": [f"it is {n}", "none"], "answer": 0} for n in range(20)]
    if place == "choice":
        rows[13]["options"][1] = "<unheard>"
    else:
        rows[13]["question"] = "<unheard> is what?"
    items = own_items(tmp_path / "quiz.parquet", rows)
    choice, part = (1, "the output layer") if place == "choice" else (0, "the embedding")
    with pytest.raises(
        ElusiveError,
        match=rf"added: quiz: item '.*', choice {choice} has the token 1024, but {part} of the model has 1024 rows",
    ):
        run(directory, [items], [tmp_path / "out.parquet"])
    assert not (tmp_path / "out.parquet").exists()
    # In the item that the trial takes first as well.
    with pytest.raises(ElusiveError, match=r"has the token 1024, but"):
        run(directory, [own_items(tmp_path / "first.parquet", rows[13:])], [tmp_path / "out.parquet"])
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
    model.resize_token_embeddings(1025)
    run(resaved(directory, tmp_path / "resized", model=model), [items], [tmp_path / "out.parquet"])
    assert np.isfinite(read_table(tmp_path / "out.parquet", "logprobs")["log_likelihood"].to_numpy()).all()


def test_prompts_that_are_cut_are_counted(checkpoint, tmp_path, capsys):
    rows = [{"question": "so " * n + "?", "options": ["yes", "no"], "answer": 0} for n in (1, 2, 30, 60)]
    items = own_items(tmp_path / "quiz.parquet", rows)
    run(checkpoint, [items], [tmp_path / "whole.parquet"])
    metadata = read_metadata(tmp_path / "whole.parquet")
    assert (metadata["max_length"], metadata["truncated_items"], metadata["warnings"]) == (512, 0, [])
    run(checkpoint, [items], [tmp_path / "cut.parquet"], max_length=16)
    metadata = read_metadata(tmp_path / "cut.parquet")
    assert (metadata["max_length"], metadata["truncated_items"]) == (16, 2)
    assert metadata["warnings"] == ["prompts longer than 16 tokens were cut, of 2 items"]
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    given = read_table(items, "items").to_pylist()
    pairs = [(item["contexts"][0], text) for item in given for text in item["continuations"]]
    expected, _ = lm_eval_scores(model, tokenizer, pairs, max_length=16)
    found = read_table(tmp_path / "cut.parquet", "logprobs")["log_likelihood"].to_numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.abs(found - read_table(tmp_path / "whole.parquet", "logprobs")["log_likelihood"].to_numpy()).max() > 0.01


def test_an_exact_fit_is_not_cut(checkpoint, tmp_path):
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    rows = [{"question": "so so so so?", "options": ["yes", "no"], "answer": 0}]
    items = own_items(tmp_path / "quiz.parquet", rows)
    fed = max(len(tokenizer(f"so so so so? {word}").input_ids) for word in ("yes", "no")) - 1
    for length, cut in ((fed, 0), (fed - 1, 1)):
        run(checkpoint, [items], [tmp_path / "out.parquet"], max_length=length)
        assert read_metadata(tmp_path / "out.parquet")["truncated_items"] == cut


def test_a_length_beyond_the_model_s_own(checkpoint, tmp_path):
    rows = [{"question": "so " * n + "?", "options": ["yes", "no"], "answer": 0} for n in (1, 300, 700)]
    items = own_items(tmp_path / "quiz.parquet", rows)
    run(checkpoint, [items], [tmp_path / "out.parquet"], max_length=900)
    metadata = read_metadata(tmp_path / "out.parquet")
    assert (metadata["max_length"], metadata["truncated_items"]) == (900, 0)
    assert metadata["warnings"] == ["max_length 900 exceeds the 512 tokens that the model is made for"]
    learned = transformers.GPT2Config(vocab_size=1024, n_embd=64, n_layer=1, n_head=4, n_positions=512)
    directory = save_checkpoint(random_model(learned), checkpoint, tmp_path / "learned")
    with pytest.raises(
        ElusiveError, match=r"learned: GPT2LMHeadModel cannot be run on a sequence of .* tokens: IndexError"
    ):
        run(directory, [items], [tmp_path / "out.parquet"], max_length=900)


@pytest.mark.parametrize("value", [0, -5, 1.5, "512", True])
def test_a_length_is_a_number_of_tokens(checkpoint, items, tmp_path, value):
    with pytest.raises(ElusiveError, match=r"max_length .* is not a whole number of tokens"):
        run(checkpoint, items[:1], [tmp_path / "out.parquet"], max_length=value)


UNSCORABLE = [
    {"question": "which number is 1?", "options": ["it is 1", "none"], "answer": 0},
    {"question": "what do fish live in? in wat", "options": ["er", "none"], "answer": 0},  # " water" is one token
    {"question": "which number is 3?", "options": ["it is 3", "none"], "answer": 0},
]


@pytest.mark.parametrize("unconditional", [False, True])
def test_an_item_that_cannot_be_scored_ends_the_job_or_is_left_out(checkpoint, tmp_path, unconditional, capsys):
    items = own_items(tmp_path / "quiz.parquet", UNSCORABLE, delimiter="")
    whole = own_items(tmp_path / "rest.parquet", [UNSCORABLE[0], UNSCORABLE[2]], delimiter="")
    options = {"unconditional": ["quiz", "rest"] if unconditional else []}
    targets = [tmp_path / "out.parquet", tmp_path / "rest_out.parquet"]
    with pytest.raises(
        ElusiveError,
        match=r"quiz: item '.*', choice 0: the continuation 'er' has no token .*set scoring.on_unscorable to drop",
    ):
        run(checkpoint, [items], targets[:1], **options)
    assert not targets[0].exists()
    run(checkpoint, [items, whole], targets, on_unscorable="drop", **options)
    given = read_table(items, "items")["item"].to_pylist()
    metadata = read_metadata(targets[0])
    assert metadata["dropped_items"] == [given[1]]
    assert "1 item cannot be scored and is left out" in metadata["warnings"]
    table, rest = (read_table(path, "logprobs") for path in targets)
    assert table["item"].to_pylist() == [given[0]] * 2 + [given[2]] * 2
    for column in ("choice", "is_gold", "num_tokens", "num_chars", "is_greedy"):
        assert table[column].to_pylist() == rest[column].to_pylist()
    for column in ("log_likelihood", "log_likelihood_unconditional")[: 1 + unconditional]:
        np.testing.assert_allclose(table[column], rest[column], atol=1e-4)
    assert read_metadata(targets[1])["dropped_items"] == []


def test_a_table_without_an_item_is_none_where_that_is_an_error(checkpoint, tmp_path):
    items, target = own_items(tmp_path / "quiz.parquet", UNSCORABLE, delimiter=""), [tmp_path / "out.parquet"]
    run(checkpoint, [items], target, on_unscorable="drop")
    before = state(target)
    run(checkpoint, [items], target, on_unscorable="drop")
    assert state(target) == before
    with pytest.raises(ElusiveError, match="has no token of its own"):
        run(checkpoint, [items], target, on_unscorable="error")
    # A whole table is one under either policy.
    whole, other = own_items(tmp_path / "rest.parquet", UNSCORABLE[:1], delimiter=""), [tmp_path / "whole.parquet"]
    run(checkpoint, [whole], other)
    before = state(other)
    run(checkpoint, [whole], other, on_unscorable="drop")
    assert state(other) == before


def test_cached_tokens_know_what_cannot_be_scored(checkpoint, tmp_path):
    items, target = own_items(tmp_path / "quiz.parquet", UNSCORABLE, delimiter=""), tmp_path / "out.parquet"
    given = {"settings": "{}", "checkpoint": [checkpoint], "items": [items], "outputs": [target]}
    given |= {"token_cache": tmp_path / "tokens", "finished": None}
    tables = []
    for _ in range(2):
        target.unlink(missing_ok=True)
        command.run(argparse.Namespace(**given, spec=spec(device="cpu", on_unscorable="drop")))
        tables.append(target.read_bytes())
    assert tables[0] == tables[1]
    target.unlink()
    with pytest.raises(ElusiveError, match="the continuation 'er' has no token of its own"):
        command.run(argparse.Namespace(**given, spec=spec(device="cpu")))


def test_a_benchmark_of_which_nothing_can_be_scored(checkpoint, tmp_path):
    items = own_items(tmp_path / "quiz.parquet", UNSCORABLE[1:2], delimiter="")
    with pytest.raises(ElusiveError, match=r"quiz: no item can be scored; the first: .*has no token of its own"):
        run(checkpoint, [items], [tmp_path / "out.parquet"], on_unscorable="drop")


def test_policies_are_named(checkpoint, items, tmp_path):
    with pytest.raises(ElusiveError, match="on_unscorable 'ignore' is not one of error, drop"):
        run(checkpoint, items[:1], [tmp_path / "out.parquet"], on_unscorable="ignore")


@pytest.fixture(scope="module")
def begins(checkpoint, tmp_path_factory):
    """The checkpoint with a tokenizer that puts BOS first by default."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{END} $A", special_tokens=[(END, tokenizer.bos_token_id)]
    )
    return resaved(checkpoint, tmp_path_factory.mktemp("begins") / "step1", tokenizer)


@pytest.mark.slow
@pytest.mark.parametrize("cached", [False, True])
def test_a_tokenizer_s_default_that_is_overruled_is_said(begins, checkpoint, items, tmp_path, caplog, cached):
    targets = {}
    for name, directory, bos in (
        ("own", begins, None),
        ("off", begins, False),
        ("on", begins, True),
        ("none", checkpoint, False),
        ("put", checkpoint, None),
    ):
        for _ in range(1 + cached):  # the second time the tokenizer is not read at all
            targets[name] = tmp_path / f"{name}.parquet"
            targets[name].unlink(missing_ok=True)
            command.run(
                argparse.Namespace(
                    checkpoint=[directory],
                    items=items[:1],
                    outputs=[targets[name]],
                    spec=spec(device="cpu", add_bos_token=bos),
                    settings="{}",
                    token_cache=tmp_path / "tokens" if cached else None,
                    finished=None,
                )
            )
    metadata = {name: read_metadata(path) for name, path in targets.items()}
    assert {name: some["bos_overruled"] for name, some in metadata.items()} == {
        **dict.fromkeys(("own", "on", "none", "put"), False),
        "off": True,
    }
    (said,) = metadata["off"]["warnings"]
    assert "by its own default adds special tokens (BOS)" in said and "add_bos_token: false" in said
    assert said in caplog.text
    assert all(metadata[name]["warnings"] == [] for name in ("own", "on", "none", "put"))
    # The default is lm-eval's, the other the paper's.
    tables = {name: read_table(path, "logprobs")["log_likelihood"].to_numpy() for name, path in targets.items()}
    assert np.abs(tables["own"] - tables["off"]).max() > 0.1
    assert (tables["own"] == tables["on"]).all()
    model = transformers.AutoModelForCausalLM.from_pretrained(begins)
    tokenizer = transformers.AutoTokenizer.from_pretrained(begins)
    given = read_table(items[0], "items").to_pylist()
    pairs = [(item["contexts"][0], text) for item in given for text in item["continuations"]]
    for name, bos in (("own", None), ("off", False)):
        expected, _ = lm_eval_scores(model, tokenizer, pairs, add_bos_token=bos)
        np.testing.assert_allclose(tables[name], expected, atol=1e-4)


@pytest.fixture(scope="module")
def sentencepieces(archive_path, tmp_path_factory):
    """A SentencePiece model of 1,000 pieces, alone in a directory."""
    with Archive(archive_path) as archive:
        rows = archive.rows("sciq/none/validation")
    directory = tmp_path_factory.mktemp("pieces")
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([f"{row['support']} {row['question']}" for row in rows]),
        model_prefix=str(directory / "tokenizer"),
        vocab_size=1000,
        model_type="bpe",
        byte_fallback=True,
        minloglevel=2,
        **{"unk_id": 0, "bos_id": 1, "eos_id": 2, "pad_id": -1},
    )
    return directory / "tokenizer.model"


def test_a_tokenizer_of_sentencepiece_alone_is_read(sentencepieces, items, tmp_path):
    config = transformers.LlamaConfig(
        vocab_size=1000, hidden_size=64, num_hidden_layers=1, num_attention_heads=4, intermediate_size=96
    )
    directory = tmp_path / "llama"
    model = random_model(config)
    model.save_pretrained(directory)
    shutil.copy(sentencepieces, directory)
    run(directory, items[:1], [tmp_path / "out.parquet"], add_bos_token=None)
    table = read_table(tmp_path / "out.parquet", "logprobs")
    given = read_table(items[0], "items").to_pylist()
    pairs = [(item["contexts"][0], text) for item in given for text in item["continuations"]]
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(sentencepieces))
    counts = [len(pieces.encode(context + text)) - len(pieces.encode(context)) for context, text in pairs]
    assert table["num_tokens"].to_pylist() == counts
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory)
    expected, _ = lm_eval_scores(model, tokenizer, pairs, add_bos_token=None)
    np.testing.assert_allclose(table["log_likelihood"], expected, atol=1e-4)


def test_a_tokenizer_that_is_not_what_sentencepiece_reads_is_refused(checkpoint, sentencepieces, items, tmp_path):
    """transformers takes the pieces for those of the class that it chooses by the model's type."""
    directory = shutil.copytree(checkpoint, tmp_path / "neox")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (directory / name).unlink()
    shutil.copy(sentencepieces, directory)
    with pytest.raises(ElusiveError, match=r"tokenizer.model: the \w+ that transformers makes of it splits 'What is"):
        run(directory, items[:1], [tmp_path / "out.parquet"])
    (directory / "tokenizer.model").write_bytes(b"aGVsbG8= 0\nd29ybGQ= 1\n")  # tiktoken's format
    with pytest.raises(ElusiveError, match=r"tokenizer.model: is no SentencePiece model|cannot load"):
        run(directory, items[:1], [tmp_path / "out.parquet"])


def test_a_tokenizer_that_draws_random_numbers_is_refused(checkpoint, items, tmp_path):
    directory = shutil.copytree(checkpoint, tmp_path / "random")
    tokenizer = json.loads((directory / "tokenizer.json").read_text())
    tokenizer["model"]["dropout"] = 0.1
    (directory / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ElusiveError, match=r"random/tokenizer.json: model.dropout is 0.1, so that the same text has"):
        run(directory, items[:1], [tmp_path / "out.parquet"])
    assert not (tmp_path / "out.parquet").exists()
