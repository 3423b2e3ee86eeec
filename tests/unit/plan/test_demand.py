"""What jobs ask a cluster for."""

import dataclasses
import itertools

import pytest

from elusive.configuration.benchmarks import Benchmark
from elusive.configuration.models import Checkpoint, Model
from elusive.plan import demand


def model(parameters, dtype="float16", tokens=10**9):
    checkpoint = Checkpoint("m", "c", tokens, 6.0 * parameters * tokens)
    return Model("m", "local", parameters, None, (checkpoint,), dtype)


def benchmark(name, **spec):
    return Benchmark(name, name, "archive", (), {"name": name} | spec)


HELLASWAG, OWN = benchmark("hellaswag"), benchmark("quiz")


def test_number_of_items():
    assert demand.num_items(HELLASWAG) == 10042
    assert demand.num_items(benchmark("hellaswag", limit=300)) == 300
    assert demand.num_items(benchmark("hellaswag", limit=10**6)) == 10042
    assert demand.num_items(OWN) == demand.UNKNOWN_ITEMS
    assert demand.num_items(benchmark("quiz", limit=7)) == 7
    subjects = [name for name in demand.BENCHMARKS if name.startswith("mmlu_")]
    assert sum(demand.num_items(benchmark(name)) for name in subjects) == demand.num_items(benchmark("mmlu"))


def test_memory_holds_the_weights_and_grows():
    sizes = [10**6, 10**8, 10**9, 12 * 10**9]
    asked = [demand.memory_mb(model(size)) for size in sizes]
    assert asked == sorted(set(asked))
    assert all(mb * 1e6 > 8 * size + 1e9 for size, mb in zip(sizes, asked, strict=True))
    assert [demand.memory_mb(model(10**9), attempt) for attempt in (1, 2, 3)] == [11000, 22000, 33000]


def test_time_grows_with_what_is_computed():
    small, large = model(70 * 10**6), model(12 * 10**9)
    assert demand.score_minutes(small, [HELLASWAG]) < demand.score_minutes(large, [HELLASWAG])
    assert demand.score_minutes(large, [HELLASWAG]) < demand.score_minutes(large, [HELLASWAG, OWN])
    assert demand.score_minutes(large, [HELLASWAG]) < demand.score_minutes(model(12 * 10**9, "float32"), [HELLASWAG])
    assert demand.score_minutes(small, [HELLASWAG], "auto") < demand.score_minutes(small, [HELLASWAG], "cpu")
    assert demand.score_minutes(small, [HELLASWAG], "cpu", 4) < demand.score_minutes(small, [HELLASWAG], "cpu", 1)
    assert demand.train_minutes(model(10**6, tokens=10**6)) < demand.train_minutes(model(10**6, tokens=10**9))


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:1", "cpu", "mps"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "auto"])
def test_every_attempt_may_take_twice_as_long(device, dtype):
    asked = [demand.score_minutes(model(10**9, dtype), [HELLASWAG], device, 1, n) for n in (1, 2, 3)]
    assert all(isinstance(minutes, int) and minutes % 5 == 0 and minutes >= demand.BASE_MINUTES for minutes in asked)
    most = demand.MOST_MINUTES
    assert all(
        min(2 * before - 5, most) <= after <= min(2 * before, most) for before, after in itertools.pairwise(asked)
    )


def test_the_largest_model_of_the_paper_fits_usual_limits():
    """Twelve billion parameters on every built-in benchmark: within a day and 128 GB at the first attempt."""
    every = [benchmark(name) for name in demand.BENCHMARKS]
    pythia = model(12 * 10**9)
    assert demand.score_minutes(pythia, every) < 24 * 60
    assert demand.memory_mb(pythia) < 128_000


def test_nothing_else_of_a_model_matters():
    first, second = model(10**9), dataclasses.replace(model(10**9), name="n", source="hub")
    assert demand.memory_mb(first) == demand.memory_mb(second)
