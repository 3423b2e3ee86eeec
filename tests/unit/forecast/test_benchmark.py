"""The benchmark script runs, and measures what it says."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def script():
    path = Path(__file__).parents[2] / "benchmarks" / "forecast.py"
    spec = importlib.util.spec_from_file_location("forecast_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_runs_and_prints_its_figures(script, capsys):
    script.TASKS["tiny"] = (12, 4, 1)
    try:
        found = script.main(["--items", "60", "--sample", "2", "--tasks", "tiny"])
    finally:
        del script.TASKS["tiny"]
    assert set(found) == {"forecast", "ratio_linregress", "ratio_curve_fit", "backtests_cpu", "peak_gigabytes"}
    assert all(np.isfinite(value) and value >= 0 for value in found.values())
    assert "backtests of six families on 69 tasks" in capsys.readouterr().out


def test_the_tasks_are_the_paper_s(script):
    assert sum(count for *_, count in script.TASKS.values()) == 69
    assert len(script.plans()) == 6
