"""The plan: exact counts, estimates against them, costs computed by hand, and the budget."""

import math
from pathlib import Path

import polars as pl
import pytest

from count_tokens import count, neox_tokenizer, requests_of
from elusive.configuration import models, registry
from elusive.configuration.benchmarks import Benchmark
from elusive.errors import ElusiveError
from elusive.items.archive import Archive
from elusive.items.benchmarks import BENCHMARKS
from elusive.items.build import archive_set, build_items, choose
from elusive.plan import budget, estimate, text
from elusive.plan.budget import Job
from elusive.plan.estimate import Paths
from elusive.plan.sizes import BYTES_PER_TOKEN, Size, bytes_per_token, counted, measure, size, tree
from elusive.scoring.plan import Limits, plan

SMALL = ["arc_easy", "arc_challenge", "openbookqa", "piqa", "sciq", "social_iqa", "winogrande"]
# Counted by another program: items, nodes of a tree over the whole benchmark, and of one tree an item.
KNOWN = {
    "hellaswag": (10042, 1_565_860, 1_651_248),
    "piqa": (1838, 82_212, 89_651),
    "sciq": (1000, 107_351, 108_645),
    "social_iqa": (1954, 63_381, 72_830),
    "winogrande": (1267, 27_943, 34_650),
    "mmlu": (14042, 1_314_584, 1_731_531),
}


@pytest.fixture(scope="module")
def tokenizer(archive_path):
    return neox_tokenizer(archive_path)


@pytest.fixture(scope="module")
def items(archive_path):
    with Archive(archive_path) as archive:
        return {name: archive_set(BENCHMARKS[name], archive).items for name in SMALL}


@pytest.fixture
def paths(tmp_path):
    return Paths(
        items=f"{tmp_path}/items/{{benchmark}}.parquet",
        checkpoint=f"{tmp_path}/checkpoints/{{model}}/{{checkpoint}}",
        logprobs=f"{tmp_path}/logprobs/{{model}}/{{checkpoint}}/{{benchmark}}.parquet",
        finished=f"{tmp_path}/finished/{{model}}/{{checkpoint}}/{{benchmark}}.parquet",
    )


def benchmark(name, /, **spec):
    return Benchmark(name, name, spec.pop("source", "archive"), spec.pop("files", ()), spec)


def test_tree_of_a_few_words():
    assert tree([b"abc", b"abd", b"ab", b"x", b"abc"]) == 5  # a, b, c, d, x
    assert tree([]) == 0


def test_measure_counts_what_is_shared_once():
    # Fed is everything but the last word; "the " is read from in both choices, and so is the end of the context.
    nodes, positions = measure([[("the sky", " is blue"), ("the sky", " is red")]])
    assert nodes == len("the sky is")
    assert positions == pytest.approx(1 + len(" is") / BYTES_PER_TOKEN)


@pytest.mark.parametrize("name", KNOWN)
def test_counts_agree_with_another_program(name):
    row = counted()[name, 0]
    assert (row.items, row.tokens, row.tokens_alone) == KNOWN[name]


@pytest.mark.parametrize("name", ["arc_easy", "openbookqa", "winogrande"])
def test_the_table_is_what_counting_gives(name, items, tokenizer):
    assert counted()[name, 0] == count(items[name], tokenizer)


def test_every_built_in_benchmark_has_its_size():
    for name, definition in BENCHMARKS.items():
        row = counted()[name, 0]
        assert row.items == definition.num_items[definition.split]
        for shots in range((definition.max_shots or 0) + 1):
            assert counted()[name, shots].items == row.items
    subjects = [counted()[f"mmlu_{subject}", 0] for subject in BENCHMARKS["mmlu"].subjects]
    assert sum(row.items for row in subjects) == counted()["mmlu", 0].items


@pytest.mark.parametrize("name", SMALL)
def test_bytes_give_tokens_within_ten_per_cent(name, items):
    nodes, positions = measure([item.requests() for item in items[name]])
    row = counted()[name, 0]
    assert nodes == row.tree_bytes
    assert nodes / BYTES_PER_TOKEN == pytest.approx(row.tokens, rel=0.1)
    # SciQ's answers are a word or two, of which the last is not fed.
    assert positions == pytest.approx(row.positions, rel=0.2 if name == "sciq" else 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_the_scorer_runs_about_the_tokens_of_the_tree(name, items, tokenizer):
    batches = plan(requests_of(items[name], tokenizer), Limits(tokens=8192, branching=True))
    run = sum(len(batch.tokens) + len(batch.prefix) for batch in batches)
    assert counted()[name, 0].tokens <= run <= 1.1 * counted()[name, 0].tokens


@pytest.mark.parametrize("name", ["arc_easy", "piqa", "social_iqa"])
def test_a_limit_is_estimated_with_and_without_a_table(name, items, tokenizer, archive_path, tmp_path):
    exact = count([items[name][i] for i in choose(items[name], 300, 0)], tokenizer)
    asked = benchmark(name, name=name, limit=300)
    table = tmp_path / "items.parquet"
    before = size(asked, table)
    assert (before.basis, before.items) == ("counted", 300)
    assert before.tokens == pytest.approx(exact.tokens, rel=0.1)
    build_items({"name": name, "limit": 300}, table, archive_path)
    after = size(asked, table)
    assert (after.basis, after.items, after.choices) == ("items", 300, exact.choices)
    assert after.tokens == pytest.approx(exact.tokens, rel=0.05)
    assert after.positions == pytest.approx(exact.positions, rel=0.1)
    # A table of another limit is about to be replaced.
    assert size(benchmark(name, name=name, limit=299), table).basis == "counted"


def test_a_full_table_gives_the_count(archive_path, tmp_path):
    build_items({"name": "openbookqa"}, tmp_path / "items.parquet", archive_path)
    row = counted()["openbookqa", 0]
    found = size(benchmark("openbookqa", name="openbookqa"), tmp_path / "items.parquet")
    assert found == Size(500, 2000, row.tokens, row.positions, "items")


def test_few_shots_of_few_items_keep_their_examples():
    few, row = counted()["mmlu", 5].cut(57), counted()["mmlu", 5]
    # One item a subject shares its examples with no other.
    assert few.tokens == pytest.approx(row.tokens_alone * 57 / row.items, rel=1e-9)
    assert row.cut(None).tokens == pytest.approx(row.tokens, rel=1e-9)


def test_own_benchmarks_by_the_size_of_their_files(tmp_path):
    file = tmp_path / "quiz.jsonl"
    file.write_text('{"q": "What is it?"}\n' * 100)
    found = size(benchmark("quiz", source="file", files=(str(file),), limit=50), tmp_path / "none")
    assert (found.items, found.basis) == (50, "file")
    assert found.tokens == pytest.approx(file.stat().st_size / BYTES_PER_TOKEN / 2)
    unknown = size(benchmark("far", source="hub", dataset="a/b"), tmp_path / "none")
    assert (unknown.tokens, unknown.basis) == (0, "unknown")


def test_an_empty_context_doubles_what_is_read():
    plain = benchmark("sciq", name="sciq")
    both = Benchmark("sciq", "SciQ", "archive", (), {"name": "sciq"}, unconditional=True)
    one, two = size(plain, Path("none")), size(both, Path("none"))
    assert (two.choices, two.positions, two.tokens) == (2 * one.choices, 2 * one.positions, one.tokens + one.positions)


def test_bytes_per_token_between_vocabularies():
    values = [bytes_per_token(v) for v in (257, 512, 1024, 4096, 30000, 60000)]
    assert values == sorted(values) and values[-1] == BYTES_PER_TOKEN


CONFIG = {
    "ladder": {"vocabulary": 4096, "context": 256, "batch": 4, "checkpoints": [10, 20, 40]},
    "models": [
        {
            "name": "big",
            "source": "hub",
            "repo": "some/big",
            "parameters": 1_000_000_000,
            "parameters_nonembedding": 800_000_000,
            "tokens_per_step": 1000,
            "checkpoints": ["step1", "step2", "step3"],
            "dtype": "float16",
        },
        {"name": "tiny", "source": "ladder", "width": 32, "layers": 1},
    ],
    "families": [
        {"name": "big", "label": "Big", "members": ["big/*"]},
        {"name": "all", "label": "All", "members": ["*/*"]},
    ],
    "benchmarks": [{"name": "arc_easy"}, {"name": "sciq"}],
    "plan": {"gpu_tflops": {"float16": 100}, "utilisation": 0.5},
}
SIZES = {"arc_easy": Size(10, 40, 1000.0, 100.0, "items"), "sciq": Size(20, 80, 3000.0, 50.0, "items")}


def load(**sections):
    return registry.load(CONFIG | sections)


def test_costs_by_hand(paths):
    asked = load()
    todo = estimate.remaining(asked, paths)
    assert (len(todo.cells), len(todo.downloads), todo.trainings) == (6, 3, {"tiny"})
    key = ("big", "step1")
    # 2 x (4000 tokens x 8e8 + 150 positions x 2e8)
    assert estimate.checkpoint_flops(asked, SIZES, key, ["arc_easy", "sciq"]) == pytest.approx(6.46e12)
    # 6.46e12 / (1e14 x 0.5), a job's ten seconds, and 2 GB of weights at 1 GB/s
    assert estimate.checkpoint_gpu_seconds(asked, 6.46e12, key, 1) == pytest.approx(0.1292 + 10 + 2)
    cost = estimate.cost(asked, SIZES, todo.only([("big", f"step{i}") for i in (1, 2, 3)]))
    assert (cost.downloads, cost.trainings, cost.scoring_jobs, cost.jobs, cost.cells) == (3, 0, 3, 6, 6)
    assert cost.download_bytes == 3 * 2_000_000_000
    assert cost.score_flops == pytest.approx(3 * 6.46e12)
    assert cost.gpu_hours == pytest.approx(3 * 12.1292 / 3600)
    tables = 3 * (2 * 4096 + 13 * 120)
    assert cost.peak_disk_bytes == 3 * 2_000_000_000 + tables + 2 * 3 * 75 * 30, "the items of two families"


def test_costs_of_a_ladder_by_hand(paths):
    asked = load()
    parameters, body = models.ladder_parameters(4096, 32, 1)
    finer = BYTES_PER_TOKEN / bytes_per_token(4096)
    flops = estimate.checkpoint_flops(asked, SIZES, ("tiny", "step10"), ["arc_easy"])
    assert flops == pytest.approx(2 * finer * (1000 * body + 100 * 4096 * 32))
    total = estimate.cost(asked, SIZES, estimate.remaining(asked, paths))
    assert total.train_flops == 6 * parameters * 40 * 1024
    assert total.download_bytes == 3 * 2_000_000_000


def test_weights_on_disk_are_as_many_as_lie_there_at_once(paths, monkeypatch):
    def peak(**sections):
        asked = load(**sections)
        return estimate.cost(asked, SIZES, estimate.remaining(asked, paths)).peak_disk_bytes

    assert estimate.checkpoints_on_disk(load(hub={"ahead": 3})) == 5, "two more are being downloaded"
    monkeypatch.setattr(estimate, "DOWNLOADS_AT_ONCE", 1)
    every = peak(hub={"ahead": None})
    assert every - peak(hub={"ahead": 1}) == 2_000_000_000, "two of three"
    assert peak(hub={"ahead": 1, "keep": True}) == every


def test_no_gpu_hours_on_a_cpu(paths):
    asked = load(scoring={"device": "cpu"})
    assert estimate.cost(asked, SIZES, estimate.remaining(asked, paths)).gpu_hours == 0


def touch(path):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).touch()


def test_what_is_done_costs_nothing(paths):
    asked = load(scoring={"batches": "each"})
    for name in ("arc_easy", "sciq"):
        touch(paths.logprobs.format(model="big", checkpoint="step1", benchmark=name))
    touch(paths.logprobs.format(model="big", checkpoint="step2", benchmark="sciq"))
    Path(paths.checkpoint.format(model="big", checkpoint="step3")).mkdir(parents=True)
    for step in (10, 20, 40):
        Path(paths.checkpoint.format(model="tiny", checkpoint=f"step{step}")).mkdir(parents=True)
    todo = estimate.remaining(asked, paths)
    assert ("big", "step1") not in todo.cells
    assert todo.cells["big", "step2"] == ("arc_easy",) and todo.jobs["big", "step2"] == 1
    assert todo.cells["big", "step3"] == ("arc_easy", "sciq") and todo.jobs["big", "step3"] == 2
    assert todo.downloads == {("big", "step2")} and not todo.trainings


def test_a_table_under_its_second_name_needs_a_job_but_no_scoring(paths):
    asked = load()
    for name in ("arc_easy", "sciq"):
        touch(paths.finished.format(model="big", checkpoint="step1", benchmark=name))
    todo = estimate.remaining(asked, paths)
    assert todo.cells["big", "step1"] == () and todo.jobs["big", "step1"] == 1
    jobs = [Job(rule, {"model": "big", "checkpoint": "step1"}) for rule in ("download", "score")]
    assert budget.todo_of(asked, paths, jobs).cells == {("big", "step1"): ()}
    for keep in (False, True):
        asked = load(hub={"keep": keep})
        assert (("big", "step1") in estimate.remaining(asked, paths).downloads) == keep
        assert bool(budget.todo_of(asked, paths, jobs).downloads) == keep
    changed = [jobs[0], Job("score", {"model": "big", "checkpoint": "step1"}, changed=True)]
    assert budget.todo_of(load(), paths, changed).downloads == {("big", "step1")}


def test_checkpoints_shared_by_families_count_once_in_the_total(paths):
    asked = load()
    big, everything, total = text.lines(asked, SIZES, estimate.remaining(asked, paths))
    assert (big.checkpoints, everything.checkpoints, total.checkpoints) == (3, 6, 6)
    assert everything.cost == total.cost
    assert big.cost.score_flops < total.cost.score_flops < big.cost.score_flops + everything.cost.score_flops


def test_checkpoints_in_no_family_have_a_line(paths):
    asked = load(families=CONFIG["families"][:1])
    labels = [line.label for line in text.lines(asked, SIZES, estimate.remaining(asked, paths))]
    assert labels == ["Big", "in no family", "total, each checkpoint once"]


def test_the_plan_says_what_is_not_confirmed(paths, tmp_path):
    outputs = [tmp_path / name for name in ("plan.txt", "plan.parquet", "plan.csv")]
    asked = load(
        models=[{"name": "pythia-14m"}, {"name": "smollm2-135m"}],
        families=[{"name": "all", "members": ["*/*"]}],
    )
    wording = " ".join(text.write_plan(asked, paths, *outputs).split())
    notes = asked.models["smollm2-135m"].notes
    assert f"smollm2-135m is not verified in every point (workflow/registry/models.yaml): {notes}" in wording
    assert "pythia-14m is not verified" not in wording


def test_the_plan_is_written_as_text_and_tables(paths, tmp_path):
    asked = load(budget={"gpu_hours": 0.001, "download_gb": 10})
    outputs = [tmp_path / "out" / name for name in ("plan.txt", "plan.parquet", "plan.csv")]
    wording = text.write_plan(asked, paths, *outputs)
    assert outputs[0].read_text() == wording
    assert "0 of 12" in wording and "counted on the full set" in wording
    assert "budget.download_gb: 6 of 10 GB to download: kept" in wording
    assert "budget.gpu_hours" in wording and "EXCEEDED" in wording
    table = pl.read_parquet(outputs[1])
    assert table.equals(pl.read_csv(outputs[2], schema=table.schema))
    total = table.row(-1, named=True)
    assert total["family"] == "total" and total["download_bytes"] == 6_000_000_000
    row = counted()["arc_easy", 0], counted()["sciq", 0]
    body, head = sum(r.tokens for r in row), sum(r.positions for r in row)
    one = 2 * (8e8 * body + 2e8 * head)
    assert table.row(0, named=True)["score_flops"] == pytest.approx(3 * one)


ALL_JOBS = [
    *(Job("download", {"model": "big", "checkpoint": f"step{i}"}) for i in (1, 2, 3)),
    *(Job("score", {"model": "big", "checkpoint": f"step{i}"}) for i in (1, 2, 3)),
    Job("train", {"model": "tiny"}),
    Job("score", {"model": "tiny", "checkpoint": "step40"}),
    Job("metrics", {"benchmark": "sciq"}),
]


@pytest.mark.parametrize(
    ("key", "low", "high", "shown"),
    [
        ("download_gb", 5.9, 6.1, "6 GB to download"),
        ("disk_gb", 5.9, 6.1, "6 GB on the disk at once"),
        ("jobs", 7, 8, "8 jobs"),
        ("flops", 5e14, 1.5e15, "FLOPs"),
        ("gpu_hours", 0.001, 1, "GPU-hours"),
    ],
)
def test_a_run_beyond_the_budget_is_stopped(key, low, high, shown, paths):
    budget.check(load(budget={key: high}), paths, ALL_JOBS)
    budget.check(load(budget={key: None}), paths, ALL_JOBS)
    with pytest.raises(ElusiveError) as caught:
        budget.check(load(budget={key: low}), paths, ALL_JOBS)
    message = str(caught.value)
    assert f"budget.{key}" in message and shown in message and budget.number(low) in message
    assert "Most of it: big" in message and "Nothing was started" in message


def test_only_what_the_run_does_counts(paths):
    asked = load(budget={"download_gb": 2.5})
    budget.check(asked, paths, ALL_JOBS[:1])
    with pytest.raises(ElusiveError, match=r"budget\.download_gb"):
        budget.check(asked, paths, ALL_JOBS[:2])


def test_tables_that_may_be_out_of_date_count(paths):
    touch(paths.logprobs.format(model="big", checkpoint="step1", benchmark="sciq"))
    wildcards = {"model": "big", "checkpoint": "step1"}
    asked = load()
    assert budget.todo_of(asked, paths, [Job("score", wildcards)]).cells == {("big", "step1"): ("arc_easy",)}
    changed = budget.todo_of(asked, paths, [Job("score", wildcards, changed=True)])
    assert changed.cells == {("big", "step1"): ("arc_easy", "sciq")}


@pytest.mark.parametrize(
    ("section", "value", "expected"),
    [
        ("budget", {"gpu_hour": 1}, "did you mean 'gpu_hours'"),
        ("budget", {"flops": "1e20"}, "budget.flops"),
        ("budget", {"jobs": -1}, "at least 0"),
        ("plan", {"utilisation": 1.5}, "at most 1"),
        ("plan", {"gpu_tflops": {"float8": 1}}, "plan.gpu_tflops.float8"),
    ],
)
def test_mistakes_in_plan_and_budget(section, value, expected):
    with pytest.raises(ElusiveError, match=expected.replace(".", r"\.")):
        load(**{section: value})


def test_numbers_are_short():
    assert [budget.number(v) for v in (0, 8, 0.08336, 12.34, 1149.2, 2.59e18, 1e-5)] == [
        "0",
        "8",
        "0.0834",
        "12.3",
        "1,149",
        "2.59e+18",
        "1.00e-05",
    ]
    assert math.isclose(float(budget.number(2.594e18)), 2.59e18)
