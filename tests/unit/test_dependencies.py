"""The digest of what a script runs: against Python's own parser, and against changes."""

import ast
import shutil
from pathlib import Path

import pytest

from elusive import dependencies

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "workflow" / "scripts").glob("*.py"))


def modules_by_parser(path: Path, library: Path) -> set[Path]:
    """Files of the package that ``path`` imports itself."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    paths = [library.joinpath(*name.split(".")[1:]) for name in names if name.split(".")[0] == "elusive"]
    every = [file for path in paths for file in (path.with_suffix(".py"), path / "__init__.py")]
    return {file for file in every if file.is_file()}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_files_are_those_that_the_parser_finds(script):
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        imported = modules_by_parser(waiting.pop(), dependencies.LIBRARY)
        waiting += imported - found
        found |= imported
    assert {path for path in dependencies.files(script) if path.suffix == ".py"} == found
    assert dependencies.LIBRARY / "tables.py" in found


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the library and the scripts that may be changed; caches are empty."""
    shutil.copytree(ROOT / "workflow" / "elusive", tmp_path / "elusive")
    shutil.copytree(ROOT / "workflow" / "scripts", tmp_path / "scripts")
    monkeypatch.setattr(dependencies, "LIBRARY", tmp_path / "elusive")

    def digests() -> dict[str, str]:
        for cached in (dependencies._imported, dependencies._modules, dependencies._data_files, dependencies._sha256):
            cached.cache_clear()
        return {path.stem: dependencies.digest(path) for path in (tmp_path / "scripts").glob("*.py")}

    yield tmp_path / "elusive", digests
    monkeypatch.undo()
    digests()


@pytest.mark.parametrize(
    ("module", "changed", "unchanged"),
    [
        ("analysis/attribution.py", {"attribution"}, {"metrics", "statistics", "report", "figure_statistics"}),
        ("analysis/distributions.py", {"statistics", "attribution", "mechanism"}, {"metrics", "correlations"}),
        ("figures/style.py", {"figure_benchmark", "figure_loss", "report"}, {"metrics", "statistics"}),
        ("report/template.html.j2", {"report"}, {"metrics", "figure_benchmark"}),
        ("scoring/loglikelihood.py", set(), {"metrics", "statistics", "figure_benchmark", "report"}),
        ("tables.py", {"metrics", "statistics", "figure_benchmark", "figure_example", "report"}, set()),
    ],
)
def test_a_script_changes_with_what_it_uses_and_with_nothing_else(copy, module, changed, unchanged):
    library, digests = copy
    before = digests()
    with open(library / module, "a", encoding="utf-8") as file:
        file.write("\n")
    after = digests()
    differ = {name for name in before if before[name] != after[name]}
    assert changed <= differ
    assert not unchanged & differ


def test_where_the_library_lies_does_not_matter(copy):
    library, digests = copy
    moved = digests()
    dependencies.LIBRARY = ROOT / "workflow" / "elusive"
    assert {path.stem: dependencies.digest(path) for path in SCRIPTS} == moved
    dependencies.LIBRARY = library
