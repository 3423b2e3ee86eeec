"""A copy of the repository and runs of its real Snakefile on small real data."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from elusive.items.fetch import VARIABLE

ROOT = Path(__file__).parents[2]
SMALL = Path(__file__).parent / "small.yaml"


class Run:
    """A working directory in which the workflow of ``repository`` runs with ``config``."""

    def __init__(self, repository: Path, directory: Path, config: dict, archive: Path) -> None:
        self.repository, self.directory = repository, directory
        self._archive = archive
        directory.mkdir(parents=True, exist_ok=True)
        self.configure(config)

    def configure(self, config: dict | str) -> None:
        """Write the configuration file that later calls use."""
        text = config if isinstance(config, str) else json.dumps(config)
        (self.directory / "mine.yaml").write_text(text)

    def command(self, *arguments: str, cores: int = 2) -> list[str]:
        """The command line of Snakemake."""
        snakefile = ["--snakefile", str(self.repository / "Snakefile")]
        # Targets may follow, so what takes several values must not stand last.
        own = ["--configfile", "mine.yaml", "--directory", str(self.directory), "--cores", str(cores)]
        return [sys.executable, "-m", "snakemake", *snakefile, *own, *arguments]

    def environment(self) -> dict[str, str]:
        """Environment in which the archive needs no network."""
        return {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {VARIABLE: str(self._archive)}

    def snakemake(self, *arguments: str, cores: int = 2) -> subprocess.CompletedProcess:
        """Run Snakemake to its end; standard error is merged into ``stdout``."""
        return subprocess.run(
            self.command(*arguments, cores=cores),
            cwd=self.directory,
            env=self.environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def succeed(self, *arguments: str, cores: int = 2) -> str:
        """Run Snakemake, assert that it succeeds, and return what it printed."""
        done = self.snakemake(*arguments, cores=cores)
        assert done.returncode == 0, done.stdout[-6000:]
        return done.stdout

    def fail(self, *arguments: str) -> str:
        """Run Snakemake, assert that it fails, and return what it printed."""
        done = self.snakemake(*arguments)
        assert done.returncode != 0, done.stdout[-6000:]
        return done.stdout

    def planned(self, *arguments: str) -> dict[str, int]:
        """Rule -> number of jobs that Snakemake would run."""
        return jobs(self.succeed("-n", *arguments))

    def files(self, pattern: str) -> dict[str, tuple[bytes, int]]:
        """Path below results/ -> bytes and modification time in ns."""
        results = self.directory / "results"
        found = sorted(path for path in results.glob(pattern) if path.is_file())
        return {str(path.relative_to(results)): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


class FinishedRun(Run):
    """A run that is there and stays as it is: Snakemake writes into its directory even when it only plans."""

    def __init__(self, repository: Path, directory: Path, archive: Path) -> None:
        self.repository, self.directory, self._archive = repository, directory, archive
        self.output = (directory / "printed").read_text()

    def configure(self, config: dict | str) -> None:
        raise AssertionError("all tests share the finished run: take a copy of it")

    def command(self, *arguments: str, cores: int = 2) -> list[str]:
        raise AssertionError("all tests share the finished run: take a copy of it")


def jobs(printed: str) -> dict[str, int]:
    """Rule -> number of jobs, of what Snakemake printed."""
    if "Job stats:" not in printed:
        assert "Nothing to be done" in printed, printed[-2000:]
        return {}
    lines = printed.split("Job stats:")[1].split("\n\n")[0].strip().splitlines()[2:]
    return {rule: int(count) for rule, count in (line.split() for line in lines) if rule != "total"}


def copy_repository(target: Path) -> Path:
    """Copy what git tracks, or would track, as a clone has it; returns ``target``."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True
    )
    for name in listed.stdout.decode().splitlines():
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def copy_training_text(finished: Run, directory: Path) -> None:
    """Give a run in ``directory`` the archive and the ladder's corpus and tokenizer of a finished one, no more.

    What Snakemake recorded of them comes along, so that a run of the same vocabulary and seed does not make them again.
    """
    for place in (".snakemake", "results/sources", "results/ladder"):
        shutil.copytree(finished.directory / place, directory / place, symlinks=True, dirs_exist_ok=True)
