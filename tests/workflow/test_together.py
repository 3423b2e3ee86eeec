"""Jobs that score several checkpoints of a model: the same tables, nothing scored twice, and faults that stay alone."""

import shutil

import pytest


def contents(run):
    return {name: content for name, (content, _) in run.files("logprobs/*/*/*").items()}


@pytest.mark.slow
def test_several_checkpoints_in_a_job_give_the_same_tables(copy_of_finished, small_config):
    run = copy_of_finished
    before = contents(run)
    targets = [f"results/{name}" for name in before]
    small_config["scoring"] = {"checkpoints_per_job": 2}
    run.configure(small_config)
    # The small ones are of three checkpoints: the first alone, two together.
    assert run.planned(*targets) == {"together1_score": 2, "together2_score": 2}
    run.succeed(*targets)
    assert contents(run) == before
    logs = run.directory / "results/logs/score/small-d32"
    assert "scored" not in (logs / "step4..step8.log").read_text()
    # From nothing.
    for folder in ("logprobs", "finished"):
        shutil.rmtree(run.directory / "results" / folder)
    run.succeed(*targets)
    assert contents(run) == before
    log = (logs / "step4..step8.log").read_text()
    assert log.count("scored small-d32/step4") == log.count("scored small-d32/step8") == 1
    assert run.planned(*targets) == {}


@pytest.mark.slow
def test_a_damaged_checkpoint_keeps_no_other_from_being_scored(copy_of_finished, small_config):
    run = copy_of_finished
    before = contents(run)
    target = "results/logprobs/small-d32/step8/arc_easy.parquet"
    for folder in ("logprobs", "finished"):
        shutil.rmtree(run.directory / "results" / folder / "small-d32")
    weights = run.directory / "results/checkpoints/small-d32/step4/model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    small_config["scoring"] = {"checkpoints_per_job": 3}
    run.configure(small_config)
    said = run.fail(target)
    assert "step4" in said and "step8/model" not in said
    weights.write_bytes(whole)
    run.succeed(target, "--rerun-triggers", "mtime")
    log = (run.directory / "results/logs/score/small-d32/step2..step8.log").read_text()
    # What was scored beside the damaged one came back.
    assert "scored small-d32/step4" in log and "scored small-d32/step8" not in log
    after = contents(run)
    assert after == {name: before[name] for name in after} and len(after) == len(before)
