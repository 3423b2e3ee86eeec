"""The real Snakefile under the real SLURM profile on a real SLURM of this machine's own: tests/slurm/cluster.py."""

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from runs import ROOT, Run, copy_training_text

sys.path.insert(0, str(ROOT / "tests" / "slurm"))
from cluster import Cluster, Job, missing_binaries

PROFILE = ROOT / "workflow" / "profiles" / "slurm"
#: Of a cluster without accounting, whose users do not want to wait. The rest of the profile is as it is shipped.
SITE = [
    *("--default-resources", "slurm_partition=main", "--workflow-profile", str(PROFILE)),
    *("--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "1"),
    *("--slurm-keep-successful-logs", "--latency-wait", "5"),
]
TABLES = ("logprobs/*/*/*", "metrics/*/*", "correlations/*/*", "tables/*")
ANALYSIS = ["results/tables/correlation_statistics.parquet", "results/tables/scores.parquet"]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(missing_binaries()),
        reason=f"SLURM IS NOT TESTED: {', '.join(missing_binaries())} not found "
        "(apt-get install slurmctld slurmd slurm-client munge)",
    ),
]


@pytest.fixture(scope="module")
def cluster():
    # Under a short name: sockets allow 108 characters.
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as directory:
        cluster = Cluster(Path(directory))
        cluster.start()
        yield cluster
        cluster.stop()


class SlurmRun(Run):
    """A run whose jobs go to ``cluster``."""

    def __init__(self, cluster: Cluster, *args) -> None:
        super().__init__(*args)
        self.cluster = cluster
        self.known = {job.id for job in cluster.jobs()}

    def command(self, *arguments: str, cores: int = 2) -> list[str]:
        return super().command(*SITE, *arguments, cores=cores)

    def environment(self) -> dict[str, str]:
        return super().environment() | self.cluster.environment()

    def jobs(self, *states: str) -> list[Job]:
        """The jobs of the cluster since this run was made."""
        return [job for job in self.cluster.jobs(*states) if job.id not in self.known]

    def scoring(self, *states: str) -> list[Job]:
        return [job for job in self.jobs(*states) if job.rule.startswith("rule_score_")]

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start Snakemake; its output goes into the file ``printed``."""
        with (self.directory / "printed").open("w") as printed:
            return subprocess.Popen(
                self.command(*arguments), cwd=self.directory, env=self.environment(), stdout=printed, stderr=printed
            )

    def finish(self, process: subprocess.Popen, seconds: float = 400) -> str:
        """Wait for Snakemake and return what it printed, whether it succeeded or not."""
        try:
            process.wait(seconds)
        finally:
            if process.poll() is None:
                process.kill()
        return (self.directory / "printed").read_text()

    def at_work(self, process: subprocess.Popen, count: int = 1, ended: int = 0) -> list[Job]:
        """Wait until ``ended`` scoring jobs are over and ``count`` of them have Python running; returns the latter."""
        ends = time.monotonic() + 300
        while time.monotonic() < ends and process.poll() is None:
            jobs = [job for job in self.scoring("RUNNING") if self.cluster.runs(job, "elusive score")]
            if len(jobs) >= count and len(self.scoring("COMPLETED")) >= ended:
                return jobs
            time.sleep(0.1)
        raise AssertionError(f"{self.jobs()}\n{(self.directory / 'printed').read_text()[-3000:]}")


#: What the fixture ``unscored`` lacks.
MISSING = [f"results/logprobs/small-d32/{step}/arc_easy.parquet" for step in ("step2", "step8")]


@pytest.fixture
def unscored(cluster, finished, tmp_path, archive_path, small_config):
    """A run in which two checkpoints still have to be scored."""
    shutil.copytree(finished.directory, tmp_path / "run", symlinks=True)
    for kind in ("logprobs", "finished"):
        for step in ("step2", "step8"):
            shutil.rmtree(tmp_path / "run" / "results" / kind / "small-d32" / step)
    return SlurmRun(cluster, finished.repository, tmp_path / "run", small_config, archive_path)


def assert_same_tables(run: Run, finished: Run) -> None:
    ours = {name: content for pattern in TABLES for name, (content, _) in run.files(pattern).items()}
    theirs = {name: content for pattern in TABLES for name, (content, _) in finished.files(pattern).items()}
    assert {name for name in theirs if not name.startswith("tables/")} <= ours.keys()
    assert all(theirs[name] == content for name, content in ours.items())


def test_everything_through_slurm(cluster, finished, tmp_path, archive_path, small_config):
    run = SlurmRun(cluster, finished.repository, tmp_path / "run", small_config, archive_path)
    copy_training_text(finished, run.directory)
    printed = run.succeed(*ANALYSIS)
    assert_same_tables(run, finished)
    jobs = run.jobs()
    assert {job.state for job in jobs} == {"COMPLETED"}
    # One job for a checkpoint and all benchmarks; the light rules did not go to the cluster.
    assert sorted(job.rule.removeprefix("rule_").removesuffix("_") for job in jobs) == sorted(
        [f"score_wildcards_small-{d}_step{step}" for d in ("d32", "d64") for step in (2, 4, 8)]
        + ["train_wildcards_small-d32", "train_wildcards_small-d64"]
    )
    assert {job.id for job in jobs} == set(re.findall(r"submitted with SLURM jobid (\d+)", printed))
    for job in jobs:
        asked = run.cluster.call("scontrol", "show", "job", job.id)
        assert bool(re.search(r"TresPerJob=gres[:/]gpu:1\b", asked)) == job.rule.startswith("rule_score"), asked
        assert "TimeLimit=00:20:00" in asked and "mem=3001M" in asked, asked
    assert run.planned(*ANALYSIS) == {}
    assert "Nothing to be done" in run.succeed(*ANALYSIS)
    # A run without the cluster takes over where this one ended.
    local = Run(finished.repository, run.directory, small_config, archive_path)
    assert local.planned(*ANALYSIS) == {}


def test_a_job_that_fails_once_is_retried_with_more(unscored, finished):
    process = unscored.start(*MISSING)
    (victim, *_) = unscored.at_work(process)
    unscored.cluster.call("scancel", victim.id)
    printed = unscored.finish(process)
    assert process.returncode == 0, printed[-6000:]
    assert "Trying to restart job" in printed
    assert_same_tables(unscored, finished)
    first, second = sorted((job for job in unscored.scoring() if job.rule == victim.rule), key=lambda job: int(job.id))
    assert (first.id, first.state, second.state) == (victim.id, "CANCELLED", "COMPLETED")
    asked = [unscored.cluster.call("scontrol", "show", "job", job.id) for job in (first, second)]
    assert "TimeLimit=00:20:00" in asked[0] and "TimeLimit=00:35:00" in asked[1]
    assert "mem=3001M" in asked[0] and "mem=6002M" in asked[1]
    assert len(unscored.scoring()) == 3


def test_jobs_of_a_lost_node_and_preempted_jobs_run_again(unscored, finished):
    cluster = unscored.cluster
    process = unscored.start(*MISSING)
    lost, preempted = unscored.at_work(process, 2)
    cluster.configure(SlurmdTimeout=3)
    try:
        cluster.lose(lost.node)
        # Somebody else's urgent job takes the other GPU.
        urgent = ["--partition=urgent", "--gpus=1", f"--nodelist={preempted.node}", "--output=/dev/null", "--wrap=true"]
        other = cluster.call("sbatch", "--parsable", *urgent).strip()
        cluster.wait(lambda: cluster.states()[lost.node].startswith("DOWN"), 90)
        cluster.wait(lambda: other in {job.id for job in cluster.jobs("COMPLETED")}, 60)
        # SLURM lets a job that it put back rest for two minutes.
        for job in unscored.scoring("PENDING"):
            cluster.call("scontrol", "update", f"JobId={job.id}", "StartTime=now")
        printed = unscored.finish(process)
    finally:
        cluster.configure(SlurmdTimeout=60)
        cluster.add(lost.node)
        cluster.wait(lambda: set(cluster.states().values()) == {"IDLE"}, 60)
    assert process.returncode == 0, printed[-6000:]
    assert_same_tables(unscored, finished)
    assert {(job.id, job.state, job.node) for job in unscored.scoring()} == {
        (job.id, "COMPLETED", preempted.node) for job in (lost, preempted)
    }
    for job in (lost, preempted):
        assert "Restarts=1" in cluster.call("scontrol", "show", "job", job.id)


def test_a_cancelled_run_leaves_no_job_and_resumes(unscored, finished):
    process = unscored.start("--jobs", "1", *MISSING)
    (running,) = unscored.at_work(process, ended=1)
    process.send_signal(signal.SIGINT)
    unscored.finish(process)
    assert process.returncode != 0
    unscored.cluster.wait(lambda: not unscored.jobs("RUNNING", "PENDING", "COMPLETING"), 30)
    kept = unscored.files("logprobs/small-d32/step[28]/*")
    assert len(kept) == 3
    unscored.succeed(*MISSING)
    assert_same_tables(unscored, finished)
    assert kept.items() <= unscored.files("logprobs/*/*/*").items()
    assert sorted(job.state for job in unscored.scoring()) == ["CANCELLED", "COMPLETED", "COMPLETED"]
    assert [job.rule for job in unscored.scoring()].count(running.rule) == 2
