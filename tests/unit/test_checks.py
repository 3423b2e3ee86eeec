"""pre-commit runs the checks that continuous integration runs."""

from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_pre_commit_and_ci_run_the_same_checks():
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = [hook["entry"] for hook in local["hooks"]]
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    checks = [line for line in lines if line.startswith(("envs/run ruff", "envs/run snakefmt"))]
    checks += [line for line in lines if line == "envs/run snakemake --lint"]
    # The hook gets the files' names from pre-commit, the script names the folders.
    assert len(checks) == len(hooks) == 4
    assert all(check.startswith(hook) for check, hook in zip(sorted(checks), sorted(hooks), strict=True))
