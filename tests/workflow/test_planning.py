"""`snakemake plan` and the budget, with the real Snakefile."""

import polars as pl
import pytest
import yaml

from runs import ROOT, Run

PLAN_FILES = {"plan.txt", "tables/plan.parquet", "tables/plan.csv", "logs/plan.log"}


def made(run):
    results = run.directory / "results"
    return {str(path.relative_to(results)) for path in results.rglob("*") if path.is_file()}


def test_the_papers_run_is_planned_without_network_or_weights(repository, tmp_path, archive_path):
    paper = yaml.safe_load((ROOT / "workflow/presets/paper.yaml").read_text())
    run = Run(repository, tmp_path, paper, archive_path)
    output = run.succeed("plan")
    assert made(run) == PLAN_FILES
    assert (tmp_path / "results/plan.txt").read_text() in output
    total = pl.read_parquet(tmp_path / "results/tables/plan.parquet").row(-1, named=True)
    assert (total["checkpoints"], total["downloads"], total["scoring_jobs"]) == (112, 112, 112)
    assert total["cells"] == 112 * 69, "twelve benchmarks and 57 subjects of MMLU"
    assert total["cells_done"] == 0
    # 7 Cerebras, 6 INCITE, 13 Amber in float32, 14 OLMo in float32, 72 Pythia in float16: somewhat over a terabyte.
    assert 1.0e12 < total["download_bytes"] < 1.3e12
    assert 1e18 < total["score_flops"] < 1e19 and total["gpu_hours"] > 1


@pytest.mark.slow
def test_a_run_beyond_its_budget_starts_nothing(repository, tmp_path, small_config, archive_path):
    run = Run(repository, tmp_path, small_config | {"budget": {"flops": 1000}}, archive_path)
    done = run.snakemake()
    assert done.returncode == 1
    for part in ("budget.flops: this run would take about", "more than the 1,000", "small-d64", "Nothing was started"):
        assert part in done.stdout
    assert "Traceback" not in done.stdout
    assert not made(run)
    # The plan itself costs nothing, and says what is over; nor does a dry run.
    assert "budget.flops" in run.succeed("plan")
    assert made(run) == PLAN_FILES
    run.succeed("-n")


@pytest.mark.slow
def test_what_is_done_stays_done_and_is_free(copy_of_finished, small_config):
    run = copy_of_finished
    assert "18 of 18" in run.succeed("plan")
    # A budget makes nothing run again, and a run without anything to do keeps any budget.
    run.configure(small_config | {"budget": {"jobs": 0, "flops": 0}})
    assert run.planned() == {}
    assert "Nothing to be done" in run.succeed()
    before = run.files("logprobs/*/*/*")
    small_config["benchmarks"].append({"name": "openbookqa", "limit": 8})
    run.configure(small_config | {"budget": {"jobs": 5}})
    assert "budget.jobs: this run would take about 6 jobs, more than the 5" in run.fail()
    assert run.files("logprobs/*/*/*") == before
    # The plan is never taken to be up to date.
    assert "18 of 24" in run.succeed("plan")
    run.configure(small_config | {"budget": {"jobs": 6}})
    run.succeed("results/logprobs/small-d32/step2/openbookqa.parquet")
    assert "19 of 24" in run.succeed("plan")


@pytest.mark.slow
def test_what_is_no_longer_asked_for_is_listed_and_removed(copy_of_finished, small_config):
    run = copy_of_finished
    before = made(run)
    assert "0 files and directories" in run.succeed("leftovers")
    gone, *kept = small_config["benchmarks"]
    run.configure(small_config | {"benchmarks": kept, "families": small_config["families"][:1]})
    assert "leftovers.txt: does not list what this configuration leaves over" in run.fail("remove_leftovers")
    listed = run.succeed("leftovers")
    for name in ("items", "logprobs/small-d64/step4", "finished/small-d64/step4", "metrics/small", "choices/small"):
        assert f"results/{name}/{gone['name']}.parquet" in listed
    assert "results/metrics/small-data/mmlu.parquet" in listed
    assert made(run) - before == {"leftovers.txt", "logs/leftovers.log", "logs/remove_leftovers.log"}
    run.succeed("remove_leftovers")
    after = made(run)
    assert not [name for name in after if gone["name"] in name or "small-data" in name]
    assert {name for name in before - after if gone["name"] not in name and "small-data" not in name} == set()
    assert run.planned("results/logprobs/small-d64/step4/mmlu.parquet")["score"] == 1
    assert "removed" in (run.directory / "results/logs/remove_leftovers.log").read_text()
