"""The real Snakefile from the archive to the report: what it makes, and what it does not make twice."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import polars as pl
import pytest

from elusive import runs
from elusive.tables import SCHEMAS, read_metadata, read_table
from runs import Run, copy_repository, copy_training_text

EXPENSIVE = {"archive", "corpus", "items", "train", "score"}
TABLES = ["items/*", "logprobs/*/*/*", "metrics/*/*", "choices/*/*", "correlations/*/*", "tables/*"]
ANALYSIS = ["results/tables/correlation_statistics.parquet", "results/tables/scores.parquet"]


def tables(run: Run) -> dict[str, bytes]:
    return {name: content for pattern in TABLES for name, (content, _) in run.files(pattern).items()}


@pytest.mark.slow
def test_everything_is_made(finished, small_config):
    results = finished.directory / "results"
    for benchmark in (entry["name"] for entry in small_config["benchmarks"]):
        for kind in ("survival", "scores", "masses"):
            for suffix in ("png", "pdf", "txt", "csv"):
                assert (results / "figures" / kind / f"{benchmark}.{suffix}").stat().st_size > 0
    page = (results / "report.html").read_text()
    assert "Small (all)" in page and "WinoGrande" in page
    # Every file that the page links lies beside it.
    linked = {address for address in re.findall(r'href="([^"#]+)', page) if not address.startswith("https:")}
    assert {"figures.html", "run.json", "tables/data_dictionary.csv", "tables/headline.csv"} <= linked
    assert all((results / address).is_file() for address in linked), linked
    record = json.loads((results / "run.json").read_text())
    assert "snakemake" in record["command"] and record["jobs"]["score"]["jobs"] > 0
    assert not list(results.rglob(".*.parquet*")), "no temporary file is left"


@pytest.mark.slow
def test_progress_is_shown(finished):
    assert "Scoring small-d64/step8" in finished.output
    assert "Training small-d64" in finished.output
    assert "steps (100%) done" in finished.output


@pytest.mark.slow
def test_tables_satisfy_the_contract(finished, small_config):
    results = finished.directory / "results"
    for benchmark in (entry["name"] for entry in small_config["benchmarks"]):
        items = read_table(results / "items" / f"{benchmark}.parquet", "items")
        names = items["item"].to_pylist()
        assert len(set(names)) == len(names)
        counts = items["num_choices"].to_pylist()
        expected = [(name, c) for name, k in zip(names, counts, strict=True) for c in range(k)]
        scored = list(results.glob(f"logprobs/*/*/{benchmark}.parquet"))
        assert len(scored) == 6
        for path in scored:
            logprobs = read_table(path, "logprobs")
            assert logprobs.schema.names[: len(SCHEMAS["logprobs"].names)] == SCHEMAS["logprobs"].names
            keys = list(zip(logprobs["item"].to_pylist(), logprobs["choice"].to_pylist(), strict=True))
            assert keys == expected, "sorted by items order, then choice, each once"
            values = pl.from_arrow(logprobs)["log_likelihood"]
            assert values.is_finite().all() and (values < 0).all()
            metadata = read_metadata(path)
            assert (metadata["model"], metadata["checkpoint"]) == path.parts[-3:-1]
            assert metadata["flops"] == 6 * metadata["parameters"] * metadata["tokens"]
            for key in ("source", "revision", "dtype", "device", "tokenizer", "items", "protocol", "versions"):
                assert metadata[key], key
        for family, members in (("small", 6), ("small-data", 3)):
            metrics = read_table(results / "metrics" / family / f"{benchmark}.parquet", "metrics")
            assert len(metrics) == members * len(names)
            correlations = read_table(results / "correlations" / family / f"{benchmark}.parquet", "correlations")
            keys = [correlations[key].to_pylist() for key in ("item", "metric", "method")]
            assert len(set(zip(*keys, strict=True))) == len(correlations)
            assert set(correlations["num_models"].to_pylist()) == {members}
    statistics = read_table(results / "tables" / "correlation_statistics.parquet", "correlation_statistics")
    csv = pl.read_csv(results / "tables" / "correlation_statistics.csv", infer_schema_length=None)
    assert len(csv) == len(statistics)
    assert len(read_table(results / "tables" / "reference.parquet", "reference")) == 0, "nobody published this ladder"
    dictionary = pl.read_csv(results / "tables" / "data_dictionary.csv")
    assert set(dictionary["table"]) == set(SCHEMAS) and dictionary["meaning"].null_count() == 0


@pytest.mark.slow
def test_a_second_run_does_nothing(copy_of_finished):
    assert copy_of_finished.planned() == {}


@pytest.mark.slow
def test_jobs_are_looked_for_by_the_clock_only_on_request(copy_of_finished):
    """Snakemake says so when it limits starts, for which it looks at all ready jobs again and again."""
    for limit in ((), ("--max-jobs-per-timespan", "7/1s")):
        (copy_of_finished.directory / "results/tables/null_bands.csv").unlink()
        said = copy_of_finished.succeed("results/tables/null_bands.csv", "--verbose", *limit)
        assert ("Submitting maximum 7 job(s) over 1.0 second(s)" in said) == bool(limit)
        assert ("Submitting maximum" in said) == bool(limit)


@pytest.mark.slow
def test_touching_every_source_file_reruns_nothing_expensive(copy_of_finished, archive_path, tmp_path, small_config):
    # A fresh checkout at another place: every source file is newer than every result.
    clone = copy_repository(tmp_path / "elsewhere")
    for path in clone.rglob("*"):
        os.utime(path)
    run = Run(clone, copy_of_finished.directory, small_config, archive_path)
    assert not EXPENSIVE & run.planned().keys()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "reruns", "leaves"),
    [
        ("analysis/attribution.py", {"attribution", "figure_attribution", "report"}, {"metrics", "statistics"}),
        ("figures/means.py", {"figure_benchmark", "figure_accuracy"}, {"metrics", "statistics", "figure_attribution"}),
        ("scoring/packed.py", set(), {"metrics", "statistics", "figure_benchmark", "report"}),
    ],
)
def test_tables_and_figures_follow_the_code_that_makes_them(
    copy_of_finished, archive_path, tmp_path, small_config, module, reruns, leaves
):
    clone = copy_repository(tmp_path / "newer")
    with open(clone / "workflow/elusive" / module, "a", encoding="utf-8") as file:
        file.write("\n# Another line.\n")
    planned = Run(clone, copy_of_finished.directory, small_config, archive_path).planned("--rerun-triggers", "params")
    assert reruns <= planned.keys() and not leaves & planned.keys()
    assert not EXPENSIVE & planned.keys()


@pytest.mark.slow
def test_adding_a_benchmark_scores_only_it(copy_of_finished, small_config):
    checkpoints = copy_of_finished.files("checkpoints/*/*/*")
    before = copy_of_finished.files("logprobs/*/*/*")
    small_config["benchmarks"].append({"name": "openbookqa", "limit": 8})
    copy_of_finished.configure(small_config)
    planned = copy_of_finished.planned()
    assert planned["items"] == 1 and planned["score"] == 6
    assert not {"archive", "corpus", "train"} & planned.keys()
    copy_of_finished.succeed(*ANALYSIS)
    assert copy_of_finished.files("checkpoints/*/*/*") == checkpoints
    after = copy_of_finished.files("logprobs/*/*/*")
    assert len(after) == len(before) + 6
    # Snakemake sets the times of all outputs of a job, so it is the job's log that tells what it did.
    assert {name: after[name][0] for name in before} == {name: content for name, (content, _) in before.items()}
    for path in (copy_of_finished.directory / "results/logs/score").glob("*/*.log"):
        assert "3 of 4 tables are up to date" in path.read_text()


@pytest.mark.slow
def test_a_lost_table_is_made_again_for_whatever_reads_it(copy_of_finished):
    """Audit, items to look at and forecasts read tables behind the metrics."""
    table = "results/logprobs/small-d32/step2/winogrande.parquet"
    for target, rule in (
        ("results/tables/audit.csv", "audit"),
        ("results/drilldown/winogrande.json", "drilldown"),
        ("results/decisions/winogrande.parquet", "forecast"),
    ):
        asked = ("--rerun-triggers", "mtime", "--forcerun", rule, "--", target)
        (copy_of_finished.directory / table).unlink(missing_ok=True)
        planned = copy_of_finished.planned(*asked)
        assert planned["score"] == planned[rule] == 1 and "metrics" in planned, planned
    copy_of_finished.succeed(*asked)
    assert (copy_of_finished.directory / table).exists()
    assert copy_of_finished.planned("--rerun-triggers", "mtime").keys().isdisjoint({"score"})


@pytest.mark.slow
def test_checkpoints_in_no_family_are_scored_on_every_benchmark(copy_of_finished, small_config):
    small_config["families"] = small_config["families"][1:]
    small_config["scoring"] = {"batches": "each", "checkpoints_per_job": 1}
    copy_of_finished.configure(small_config)
    scoring = {rule: count for rule, count in copy_of_finished.planned().items() if rule.startswith("score_")}
    assert sum(scoring.values()) == 6 * len(small_config["benchmarks"]), scoring


@pytest.mark.slow
def test_a_new_scorer_version_rescores_everything(copy_of_finished, archive_path, tmp_path, small_config):
    clone = copy_repository(tmp_path / "newer")
    version = clone / "workflow/elusive/scoring/version.py"
    text = version.read_text()
    raised = text.replace("SCORER_VERSION = ", "SCORER_VERSION = 1")
    assert raised != text
    version.write_text(raised)
    run = Run(clone, copy_of_finished.directory, small_config, archive_path)
    planned = run.planned()
    assert planned["score"] == 6 and "train" not in planned
    before = run.files("logprobs/small-d32/*/*")
    run.succeed("results/logprobs/small-d32/step2/arc_easy.parquet")
    after = run.files("logprobs/small-d32/*/*")
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {name for name in before if "/step2/" in name}


@pytest.mark.slow
def test_tables_of_an_older_scorer_are_not_current_after_a_failure(
    copy_of_finished, archive_path, tmp_path, small_config
):
    clone = copy_repository(tmp_path / "newer")
    version = clone / "workflow/elusive/scoring/version.py"
    version.write_text(version.read_text().replace("SCORER_VERSION = ", "SCORER_VERSION = 1"))
    run = Run(clone, copy_of_finished.directory, small_config, archive_path)
    target = "results/logprobs/small-d32/step2/arc_easy.parquet"
    items = run.directory / "results/items/mmlu.parquet"
    whole, times = items.read_bytes(), items.stat()
    items.write_bytes(whole[:-200])
    os.utime(items, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "mmlu.parquet" in run.fail(target)
    items.write_bytes(whole)
    os.utime(items, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert run.planned(target) == {"score": 1}


@pytest.mark.slow
def test_a_killed_run_loses_no_finished_job_and_one_core_changes_no_byte(
    repository, tmp_path, small_config, archive_path, finished
):
    """Two properties of one run: on a single core, and killed in its midst."""
    run = Run(repository, tmp_path / "killed", small_config, archive_path)
    copy_training_text(finished, run.directory)
    theirs = tables(finished)
    assert {Path(name).parts[0] for name in theirs} == {pattern.partition("/")[0] for pattern in TABLES}
    targets = [f"results/{name}" for name in theirs]
    process = subprocess.Popen(
        run.command(*targets, cores=1),
        cwd=run.directory,
        env=run.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while process.poll() is None and len(run.files("logprobs/*/*/*")) < 4:
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL, "the run ended before it could be killed"
    kept = run.files("logprobs/*/*/*") | run.files("checkpoints/*/*/*") | run.files("items/*")
    assert list((run.directory / ".snakemake/locks").iterdir()), "as after a loss of power"
    said = run.succeed(*targets, cores=1)
    assert f"the run of process {process.pid}, which was killed, has left its lock behind, which is removed" in said
    after = run.files("logprobs/*/*/*") | run.files("checkpoints/*/*/*") | run.files("items/*")
    assert {name: content for name, (content, _) in after.items()}.items() <= {
        name: content for pattern in ("*/*", "*/*/*/*") for name, (content, _) in finished.files(pattern).items()
    }.items()
    untouched = [name for name in kept if after[name] == kept[name]]
    # What was finished is still the same file, apart from the one checkpoint that was being scored or recorded.
    assert len({name.split("/")[2] + name.split("/")[1] for name in kept.keys() - untouched if "logprobs" in name}) <= 2
    assert all(name in untouched for name in kept if name.startswith(("items/", "checkpoints/")))
    # And the finished run had two cores.
    ours = tables(run)
    assert ours.keys() == theirs.keys()
    assert [name for name, content in ours.items() if theirs[name] != content] == []


@pytest.fixture
def orphans():
    """Numbers of processes that must not outlive the test."""
    numbers: list[int] = []
    yield numbers
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_run_whose_jobs_go_on_keeps_its_lock(repository, tmp_path, small_config, archive_path, orphans):
    small_config["ladder"]["checkpoints"] = [2, 4, 10**7]
    # The killed run makes the archive, which the next one needs: what they share is what is locked.
    run = Run(repository, tmp_path / "killed", small_config, archive_path)
    process = subprocess.Popen(
        run.command("results/checkpoints/small-d32/step2"),
        cwd=run.directory,
        env=run.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    item, log = "results/items/arc_easy.parquet", run.directory / "results/logs/train/small-d32.log"
    try:
        while not (log.exists() and "step" in log.read_text()):
            assert process.poll() is None
            time.sleep(0.05)
        (record,) = (run.directory / ".snakemake/elusive-runs").glob("*.json")
        orphans += runs._jobs_of(record)
    finally:
        process.kill()
        process.wait()
    said = run.fail(item)
    left = re.search(r"has left jobs at work \(process ([\d, ]+)\): its lock is left as it is", said)
    assert left and "Directory cannot be locked" in said
    # A dry run touches nothing.
    run.succeed("-n", item)
    assert list((run.directory / ".snakemake/locks").iterdir())
    for number in map(int, left[1].split(", ")):
        os.kill(number, signal.SIGKILL)
    while "has left jobs at work" in (said := run.snakemake(item).stdout):
        time.sleep(0.1)
    assert "has left its lock behind, which is removed" in said
    assert (run.directory / item).exists() and not list((run.directory / ".snakemake/locks").glob("*"))
    assert not list((run.directory / ".snakemake/elusive-runs").glob("*.json"))


@pytest.mark.slow
def test_snakemake_makes_its_own_report(copy_of_finished):
    copy_of_finished.succeed("--report", "snakemake-report.html")
    page = (copy_of_finished.directory / "snakemake-report.html").read_text()
    assert "survival" in page


@pytest.mark.slow
def test_own_checkpoints_and_own_benchmark_by_configuration_alone(copy_of_finished, small_config):
    directory = copy_of_finished.directory
    shutil.copytree(directory / "results/checkpoints/small-d64", directory / "weights")
    rows = pl.DataFrame(
        {
            "q": ["Which is a colour?", "Which is a number?", "Which is an animal?"],
            "right": ["red", "seven", "cat"],
            "wrong": ["seven", "cat", "red"],
            "gold": [0, 1, 0],
        }
    )
    rows.write_ndjson(directory / "quiz.jsonl")
    small_config["models"] = [
        {
            "name": "mine",
            "source": "local",
            "path": "weights/{checkpoint}",
            "parameters": 512 * 64 + 12 * 64**2 + 13 * 64 + 2 * 64,
            "tokens_per_step": 256,
            "checkpoints": ["step2", "step4", {"name": "step8", "tokens": 2048}],
        }
    ]
    small_config["families"] = [{"name": "mine", "members": ["mine/*"]}]
    small_config["benchmarks"] = [
        {
            "name": "quiz",
            "file": "quiz.jsonl",
            "context": "Question: {{ q }}\nAnswer:",
            "choices": "[right, wrong] if gold == 0 else [wrong, right]",
            "gold": "gold",
        }
    ]
    copy_of_finished.configure(small_config)
    copy_of_finished.succeed(*ANALYSIS)
    logprobs = read_table(directory / "results/logprobs/mine/step8/quiz.parquet", "logprobs")
    assert logprobs["is_gold"].to_pylist() == [True, False, False, True, True, False]
    # Weights that are written into the same file are other weights, though their directory is as it was.
    target = "results/logprobs/mine/step8/quiz.parquet"
    assert copy_of_finished.planned(target) == {}
    weights = directory / "weights/step8/model.safetensors"
    weights.write_bytes((directory / "weights/step2/model.safetensors").read_bytes())
    assert copy_of_finished.planned(target) == {"score": 1}
    copy_of_finished.succeed(target)
    scores = [
        read_table(directory / f"results/logprobs/mine/{step}/quiz.parquet", "logprobs") for step in ("step2", "step8")
    ]
    assert scores[0].equals(scores[1])
    assert read_metadata(directory / "results/logprobs/mine/step8/quiz.parquet")["tokens"] == 2048


@pytest.mark.slow
def test_accuracies_of_published_models_are_compared(copy_of_finished, small_config):
    directory = copy_of_finished.directory
    steps = {"step1": "step2", "step2": "step4", "step4": "step8"}
    for name, trained in steps.items():
        shutil.copytree(directory / "results/checkpoints/small-d64" / trained, directory / "weights" / name)
    small_config["models"] = [
        {
            "name": "pythia-70m",
            "source": "local",
            "path": "weights/{checkpoint}",
            "parameters": 512 * 64 + 12 * 64**2 + 13 * 64 + 2 * 64,
            "tokens_per_step": 256,
            "checkpoints": list(steps),
        }
    ]
    small_config["families"] = [{"name": "pythia", "members": ["pythia-70m/*"]}]
    copy_of_finished.configure(small_config)
    copy_of_finished.succeed("results/tables/reference.csv")
    rows = read_table(directory / "results/tables/reference.parquet", "reference").to_pylist()
    # No published value of MMLU, and no accuracy per character of WinoGrande.
    wanted = [("arc_easy", "accuracy"), ("arc_easy", "accuracy_norm"), ("winogrande", "accuracy")]
    assert [(r["benchmark"], r["metric"], r["checkpoint"]) for r in rows] == [(*w, c) for w in wanted for c in steps]
    assert {row["num_items"] for row in rows} == {12}
    metrics = pl.read_parquet(directory / "results/metrics/pythia/*.parquet")
    for row in rows:
        found = metrics.filter(benchmark=row["benchmark"], checkpoint=row["checkpoint"])[row["metric"]].mean()
        assert row["measured"] == pytest.approx(found)
        scale = row["published_se"] * (row["num_items_published"] / 12) ** 0.5
        assert row["z"] == pytest.approx((row["measured"] - row["published"]) / scale)
        assert row["status"] == ("agrees" if abs(row["z"]) <= 1 else "near" if abs(row["z"]) <= 2 else "differs")


@pytest.mark.slow
@pytest.mark.parametrize("place", ["results/items/mmlu.parquet", "results/logprobs/small-d64/step4/mmlu.parquet"])
def test_a_truncated_table_stops_with_a_clear_error(copy_of_finished, place):
    path = copy_of_finished.directory / place
    metrics = copy_of_finished.directory / "results/metrics/small-data/mmlu.parquet"
    metrics.unlink()
    path.write_bytes(path.read_bytes()[:-200])
    output = copy_of_finished.fail("--forcerun", "metrics", "--", "results/metrics/small-data/mmlu.parquet")
    assert place in output and "not a readable Parquet file" in output
    assert not metrics.exists()


def test_a_corrupted_archive_stops_with_a_clear_error(tmp_path, repository, small_config, archive_path):
    damaged = tmp_path / "damaged.whl"
    damaged.write_bytes(archive_path.read_bytes()[:1_000_000])
    run = Run(repository, tmp_path / "run", small_config, damaged)
    output = run.fail("results/items/arc_easy.parquet")
    assert "damaged.whl" in output and "SHA-256" in output
    assert not list((run.directory / "results").rglob("*.whl")) and not list(
        (run.directory / "results").rglob("*.parquet")
    )
