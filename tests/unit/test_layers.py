"""The house: a stage imports earlier stages only, and the ground floor imports no stage."""

import ast
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[2] / "workflow" / "elusive"

#: The stages in the order of the flow. ``configuration`` knows what benchmarks there are, so ``items`` comes first.
STAGES = (
    "items",
    "configuration",
    "plan",
    "ladder",
    "hub",
    "scoring",
    "importing",
    "analysis",
    "forecast",
    "figures",
    "report",
    "publish",
)
GROUND = ("errors", "files", "logs", "tables", "environment", "dependencies", "imports", "runs")
#: What the ground floor's modules may use of each other.
BELOW = {"files": ("errors",), "logs": ("errors",), "runs": ("errors", "files"), "tables": ("errors", "files")}

MODULES = sorted(path.relative_to(LIBRARY) for path in LIBRARY.rglob("*.py"))


def imported(path: Path) -> set[str]:
    """First names below ``elusive`` that a module imports, inside functions too; the package itself is ''."""
    found = set()
    for node in ast.walk(ast.parse((LIBRARY / path).read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import hides which stage is meant"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {[*name.split("."), ""][1] for name in names if name.split(".")[0] == "elusive"}
    return found


def test_every_package_is_a_stage_and_every_other_module_stands_on_the_ground():
    assert {path.parts[0] for path in MODULES if len(path.parts) > 1} == set(STAGES)
    assert {path.stem for path in MODULES if len(path.parts) == 1} == {*GROUND, "__init__", "__main__"}


@pytest.mark.parametrize("path", [path for path in MODULES if len(path.parts) > 1], ids=str)
def test_a_stage_imports_earlier_stages_only(path):
    earlier = STAGES[: STAGES.index(path.parts[0]) + 1]
    assert imported(path) <= {*earlier, *GROUND, ""}


@pytest.mark.parametrize("name", GROUND)
def test_the_ground_floor_imports_no_stage(name):
    assert imported(Path(f"{name}.py")) <= {*BELOW.get(name, ()), ""}


@pytest.mark.parametrize("stage", STAGES)
def test_a_package_says_what_its_stage_is(stage):
    text = ast.get_docstring(ast.parse((LIBRARY / stage / "__init__.py").read_text()))
    assert len(text.splitlines()) >= 3


def test_the_drawing_of_the_house_is_true():
    text = (LIBRARY.parent / "docs" / "development.md").read_text(encoding="utf-8")
    drawing = text.split("```")[1].strip().splitlines()
    assert drawing[0].split("  ")[0] == "ground" and set(GROUND) <= set(drawing[0].split())
    rooms = [line.split() for line in drawing[2:]]
    assert [words[0] for words in rooms] == list(STAGES)
    assert all((LIBRARY.parent / words[-1]).is_file() for words in rooms)
