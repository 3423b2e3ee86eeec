"""The paper's preset, as far as a machine without hub and GPU can go: its whole plan."""

import subprocess
import sys

import pytest
import yaml

from runs import ROOT, Run

PRESET = ROOT / "workflow" / "presets" / "paper.yaml"
CHECKPOINTS, TASKS = 112, 69
HEAVY = ("torch", "transformers", "huggingface_hub", "datasets", "polars", "pyarrow", "plotnine", "matplotlib", "scipy")


@pytest.fixture(scope="module")
def planned(tmp_path_factory, repository, archive_path) -> dict[str, int]:
    """Rule -> number of jobs of the preset in an empty directory."""
    config = yaml.safe_load(PRESET.read_text())
    return Run(repository, tmp_path_factory.mktemp("paper"), config, archive_path).planned()


@pytest.mark.slow
def test_jobs_of_the_paper(planned):
    expected = {"download": CHECKPOINTS, "score": CHECKPOINTS, "items": TASKS, "metrics": TASKS, "correlations": TASKS}
    assert {rule: planned.get(rule) for rule in expected} == expected
    assert not {"train", "corpus"} & planned.keys()
    figures = {"benchmark": TASKS, "statistics": 3, "accuracy": 1}
    assert {kind: planned.get(f"figure_{kind}") for kind in figures} == figures


def test_every_cell_is_a_file(tmp_path, repository, archive_path):
    run = Run(repository, tmp_path, yaml.safe_load(PRESET.read_text()), archive_path)
    # One checkpoint is enough to see that a job makes a file for each task.
    text = run.succeed("-n", "-p", "results/logprobs/pythia-14m/step1/mmlu_virology.parquet")
    (command,) = (line for line in text.splitlines() if "elusive score " in line)
    assert command.count("results/logprobs/pythia-14m/step1/") == command.count("results/items/") == TASKS


def test_planning_imports_nothing_heavy(tmp_path):
    code = (
        "import sys\n"
        "from snakemake.cli import main\n"
        # Snakemake loads the executor plugins that are installed, and the SLURM plugin loads pandas and pyarrow.
        "before = set(sys.modules)\n"
        "try:\n"
        f"    main(['results/items/sciq.parquet', '-n', '--snakefile', {str(ROOT / 'Snakefile')!r}, "
        f"'--configfile', {str(PRESET)!r}])\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        f"print('imported:', [name for name in {HEAVY!r} if name in sys.modules.keys() - before])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "imported: []"
