"""The benchmark at the paper's scale, run on a few items."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks/paper_scale.py"


@pytest.fixture(scope="module")
def paper_scale():
    spec = importlib.util.spec_from_file_location("paper_scale", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    sys.modules["paper_scale"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["paper_scale"]


def test_design_has_the_papers_scale(paper_scale):
    assert sum(items for items, _, _ in paper_scale.BENCHMARKS.values()) == 49_988
    assert len(paper_scale.BENCHMARKS) == 13
    families = paper_scale.families()
    assert len(families) == 30 and len(families["all"]) == 112
    sizes = {name: len(families[name]) for name in paper_scale.PLOTTED}
    assert list(sizes.values()) == [7, 6, 13, 7, 8, 9]


@pytest.mark.slow
def test_small_scale_runs_every_stage_and_equals_scipy(paper_scale, tmp_path, capsys):
    result = paper_scale.main(
        ["--scale", "0.02", "--sample", "3", "--folder", str(tmp_path), "--benchmarks", "openbookqa"]
    )
    assert result["largest_difference"] <= 1e-12
    assert result["items"] == 10
    assert 0 < result["peak_gigabytes"] < 8 and result["ratio"] > 0
    printed = capsys.readouterr().out
    for stage in ("metrics", "correlations", "statistics", "checkpoint intervals", "largest memory", "max |Δ|"):
        assert stage in printed
    assert not list(tmp_path.iterdir()), "the files are removed"
