"""The pinned environment, its copies for other package managers, and the environment that jobs get."""

import importlib.metadata
import os
import re
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from elusive import environment

ROOT = Path(__file__).parents[2]


def groups():
    """The pins of requirements.txt, name -> version, a dict for each group that a comment heads."""
    found = []
    for line in (ROOT / "envs" / "requirements.txt").read_text().splitlines():
        if line.startswith("#"):
            found.append({})
        elif line.strip():
            name, version = line.split("==")
            assert name not in {n for group in found for n in group}, f"{name} is pinned twice"
            found[-1][name] = version
    return [group for group in found if group]


USED, TESTS, NEEDED = groups()


def test_groups():
    assert {"snakemake", "torch", "transformers", "polars"} <= set(USED)
    assert {"pytest", "hypothesis", "lm_eval", "ruff", "snakefmt"} <= set(TESTS)
    assert len(NEEDED) > 50


@pytest.mark.parametrize("line", [f"{name}=={version}" for group in groups() for name, version in group.items()])
def test_pins_are_exact(line):
    requirement = Requirement(line)
    (specifier,) = requirement.specifier
    assert specifier.operator == "==" and "*" not in specifier.version
    assert not requirement.marker and not requirement.extras


@pytest.mark.parametrize(("name", "version"), [*USED.items(), *TESTS.items()])
def test_what_is_installed_is_what_is_pinned(name, version):
    # A local label such as +cpu says how it was built, not which version it is.
    assert importlib.metadata.version(name).split("+")[0] == version


def test_conda_environment_has_the_same_pins():
    content = yaml.safe_load((ROOT / "envs" / "elusive.yaml").read_text())
    *conda, pip = content["dependencies"]
    pins = dict(line.split("==") for line in pip["pip"])
    conda = dict(line.split("=") for line in conda)
    assert pins | {"pip": conda["pip"]} == USED
    assert content["channels"] == ["conda-forge", "nodefaults"]
    lowest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert lowest == f">={conda['python']}"


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_what_the_pinned_packages_need_is_pinned():
    """Nothing is left for the package manager to choose."""
    pinned = {normal(name): version for group in (USED, TESTS, NEEDED) for name, version in group.items()}
    for name in pinned:
        for line in importlib.metadata.requires(name) or ():
            requirement = Requirement(line)
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            needed = normal(requirement.name)
            # The CUDA builds of torch bring their own libraries.
            if name == "torch" and needed.startswith(("nvidia-", "cuda-", "triton")):
                continue
            assert needed in pinned, f"{name} needs {line}"
            assert requirement.specifier.contains(pinned[needed], prereleases=True), f"{name} needs {line}"


def test_imports_of_the_library_are_pinned():
    """Every package that the workflow imports stands in the first group."""
    distributions = importlib.metadata.packages_distributions()
    allowed = {normal(name) for name in USED}
    for file in sorted((ROOT / "workflow").rglob("*.py")):
        for name in re.findall(r"^\s*(?:from|import)\s+(\w+)", file.read_text(), re.MULTILINE):
            if name in sys.stdlib_module_names or name == "elusive" or name not in distributions:
                continue
            assert {normal(d) for d in distributions[name]} & allowed, f"{file} imports {name}"


def test_prepare(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["/somewhere", str(environment.LIBRARY), "/else"]))
    monkeypatch.setenv("PATH", "/usr/bin")
    for name in ("POLARS_MAX_THREADS", "TOKENIZERS_PARALLELISM"):
        monkeypatch.delenv(name, raising=False)
    for _ in range(2):  # Snakemake's jobs parse the workflow again
        environment.prepare()
        assert os.environ["PYTHONPATH"].split(os.pathsep) == [str(ROOT / "workflow"), "/somewhere", "/else"]
        assert os.environ["PATH"].split(os.pathsep) == [str(Path(sys.executable).parent), "/usr/bin"]
        assert os.environ["POLARS_MAX_THREADS"] == "1"
        assert os.environ["TOKENIZERS_PARALLELISM"] == "false"


def test_prepare_without_variables(monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("PATH", "")
    environment.prepare()
    assert os.environ["PYTHONPATH"] == str(ROOT / "workflow")
    assert os.environ["PATH"] == str(Path(sys.executable).parent)


def test_jobs_find_the_library_and_this_python_anywhere(monkeypatch, tmp_path):
    import subprocess

    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    environment.prepare()
    code = "import elusive, sys; print(elusive.__file__); print(sys.executable)"
    done = subprocess.run(f"python -c '{code}'", shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)
    file, python = done.stdout.splitlines()
    assert Path(file).parent == ROOT / "workflow" / "elusive"
    assert Path(python).parent == Path(sys.executable).parent


@pytest.mark.parametrize("given", [None, "/somewhere"])
def test_the_wrapper_finds_the_library_from_every_directory(tmp_path, given):
    """`envs/run python -m elusive …`, with an environment that is there already."""
    import shutil
    import subprocess

    root = tmp_path / "clone"
    shutil.copytree(ROOT / "envs", root / "envs")
    (root / ".venv/bin").mkdir(parents=True)
    (root / ".venv/bin/python").symlink_to(sys.executable)
    shutil.copy(root / "envs/requirements.txt", root / ".venv/installed.txt")
    (root / "workflow").symlink_to(ROOT / "workflow")
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | ({"PYTHONPATH": given} if given else {})
    command = [root / "envs/run", "python", "-c", "import elusive, sys; print(elusive.__file__); print(*sys.path[1:3])"]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True, check=True)
    file, paths = done.stdout.splitlines()
    assert file == str(root / "workflow/elusive/__init__.py")
    assert given is None or paths.split()[1] == given
