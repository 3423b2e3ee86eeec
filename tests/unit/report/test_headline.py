"""The strip: states against shuffled compute, and benchmarks ordered by what is kept."""

from __future__ import annotations

import pandas as pd
import pytest

from elusive.figures.states import CHANCE, FALLS, FOLLOWS, UNKNOWN, judge
from elusive.report.headline import members_of
from report_tables import checkpoints, strip

F, C, D, U = FOLLOWS, CHANCE, FALLS, UNKNOWN


@pytest.mark.parametrize(
    ("above", "below", "state"),
    [
        (True, False, F),
        (False, False, C),
        (False, True, D),
        (None, None, U),
        (pd.NA, pd.NA, U),
        (float("nan"), None, U),
    ],
)
def test_states(above: object, below: object, state: str) -> None:
    assert judge(above, below) == state


def levels(*pairs: tuple[float | None, str]) -> list[tuple[float | None, str]]:
    return list(pairs)


def test_what_is_kept_longest_comes_first() -> None:
    found = strip(
        {
            "First": levels((0.9, F), (0.0, C), (0.0, C), (0.0, C)),
            "Chance": levels((0.2, C), (0.9, F), (0.9, F), (0.9, F)),
            "Long": levels((0.3, F), (0.3, F), (0.2, F), (0.1, F)),
            "Short": levels((0.5, F), (0.1, F), (0.0, C), (0.0, C)),
            "Shorter": levels((0.5, F), (0.4, F), (0.0, D), (0.3, F)),
            "Second": levels((0.7, F), (0.0, C), (0.0, C), (0.0, C)),
        }
    )
    assert [line.benchmark.label for line in found.lines] == ["Long", "Shorter", "Short", "First", "Second", "Chance"]
    assert [line.kept for line in found.lines] == [4, 2, 2, 1, 1, 0]
    assert [b.label for b in found.with_state("brier", D)] == ["Shorter"]
    assert found.average("log_p_vocab_correct") == pytest.approx((0.9 + 0.2 + 0.3 + 0.5 + 0.5 + 0.7) / 6)
    assert found.conclusive and found.num_models == 6


def test_an_unknown_mean_has_no_average() -> None:
    found = strip({"A": levels((0.9, F), (0.0, C), (0.0, C), (None, U))})
    assert found.average("accuracy") is None and found.average("brier") == 0.0


def test_without_bands_nothing_is_conclusive() -> None:
    found = strip({"A": levels(*[(0.9, U)] * 4)}, 0.5)
    assert not found.conclusive and found.least == pytest.approx(1 / 24) and found.reference["flops"] == 0.5


def test_members_with_compute() -> None:
    frame = checkpoints()
    frame.loc[0, "flops"] = 0.0
    assert members_of(frame, [["m", "c0"], ["m", "c2"], ["x", "c1"]])["checkpoint"].tolist() == ["c2"]
