"""What a configuration leaves over: exactly the files of names that it no longer has."""

import pytest

from elusive.configuration import registry
from elusive.errors import ElusiveError
from elusive.plan import leftovers

PATTERNS = [
    "results/items/{benchmark,arc_easy|a{1,3}}.parquet",
    "results/checkpoints/{model,[^/]+}/{checkpoint}",
    "results/checkpoints/.partial/{model}/{checkpoint}",
    "results/logprobs/{model}/{checkpoint}/{benchmark}.parquet",
    "results/metrics/{family}/{benchmark}.parquet",
    "results/figures/statistics/{method}.png",
    "results/figures/subjects/{benchmark}-{method}.png",
    "results/logs/score/{model}/{checkpoint}.log",
    "results/tables/scores.csv",
]
KEPT = [
    "results/items/arc_easy.parquet",
    "results/items/.arc_easy.parquet.x1/arc_easy.parquet",
    "results/checkpoints/ladder/step2/config.json",
    "results/checkpoints/.partial/ladder/step4/abc.incomplete",
    "results/logprobs/ladder/step2/arc_easy.parquet",
    "results/metrics/all/arc_easy.parquet",
    "results/figures/statistics/pearson.png",
    "results/figures/subjects/mmlu-pearson.png",
    "results/logs/score/ladder/step2.log",
    "results/tables/scores.csv",
    "results/notes/of mine.txt",
    "results/items/mine.csv",
    "elsewhere/items/gone.parquet",
]
LEFT = [
    "results/items/gone.parquet",
    "results/checkpoints/gone/step2/config.json",
    "results/checkpoints/ladder/step9/config.json",
    "results/checkpoints/.partial/gone/step2/abc.incomplete",
    "results/logprobs/ladder/step2/gone.parquet",
    "results/logprobs/ladder/step9/arc_easy.parquet",
    "results/metrics/gone/arc_easy.parquet",
    "results/metrics/all/gone.parquet",
    "results/figures/subjects/own-quiz-pearson.png",
    "results/logs/score/gone/step2.log",
]


@pytest.fixture
def configured():
    return registry.load(
        {
            "ladder": {"checkpoints": [2, 4, 8]},
            "models": [{"name": "ladder", "source": "ladder", "width": 32, "layers": 1}],
            "families": [{"name": "all", "members": ["*/*"]}],
            "benchmarks": [{"name": "arc_easy"}, {"name": "mmlu"}],
        }
    )


@pytest.fixture
def place(tmp_path):
    for name in (*KEPT, *LEFT):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("12345")
    return tmp_path


def found(place, configured):
    return leftovers.find(configured, [str(place / pattern) for pattern in PATTERNS], place / "results")


def files(place):
    return {str(path.relative_to(place)) for path in place.rglob("*") if path.is_file()}


def test_only_names_that_are_gone_are_listed(place, configured):
    # Of checkpoints it is the directory.
    named = {name.rsplit("/", 1)[0] if "/checkpoints/" in name else name for name in LEFT}
    assert {str(path.relative_to(place)) for path in found(place, configured)} == named


def test_they_are_removed_and_nothing_else(place, configured):
    results = place / "results"
    said = leftovers.write_list(found(place, configured), results / "leftovers.txt")
    assert "10 files and directories, 0.000 GB" in said and "             5  " in said
    assert leftovers.remove(found(place, configured), results / "leftovers.txt", results) == 10
    assert files(place) == set(KEPT)
    assert not (results / "checkpoints/gone").exists() and not (results / "metrics/gone").exists()
    assert found(place, configured) == []


def test_nothing_is_removed_that_was_not_listed(place, configured):
    results, before = place / "results", files(place)
    with pytest.raises(ElusiveError, match=r"leftovers.txt: is not there; `snakemake --cores 1 leftovers` writes it"):
        leftovers.remove(found(place, configured), results / "leftovers.txt", results)
    leftovers.write_list(found(place, configured)[1:], results / "leftovers.txt")
    with pytest.raises(ElusiveError, match=r"does not list what this configuration leaves over.*Nothing was removed"):
        leftovers.remove(found(place, configured), results / "leftovers.txt", results)
    assert files(place) == before | {"results/leftovers.txt"}


def test_of_a_link_only_the_link_goes(place, configured, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("weights")
    (elsewhere / "config.json").write_text("{}")
    results = place / "results"
    (results / "checkpoints/gone/linked").symlink_to(elsewhere)
    leftovers.write_list(found(place, configured), results / "leftovers.txt")
    leftovers.remove(found(place, configured), results / "leftovers.txt", results)
    assert (elsewhere / "config.json").exists()
    assert not (results / "checkpoints/gone").exists()


def test_without_leftovers_the_list_is_empty(tmp_path, configured):
    (tmp_path / "results").mkdir()
    assert "# 0 files and directories" in leftovers.write_list(found(tmp_path, configured), tmp_path / "list.txt")
