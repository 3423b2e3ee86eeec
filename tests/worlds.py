"""Whole runs of worlds in which the usual sentences are false: made once a session, since each takes seconds."""

from __future__ import annotations

from synthetic_run import SIZES, World

#: name -> benchmarks, items of each, and the world.
WORLDS: dict[str, tuple[tuple[str, ...], int, World]] = {
    "paper": (("arc_easy", "hellaswag", "sciq"), 60, World()),
    "no_signal": (("arc_easy", "hellaswag"), 60, World(slope=0.0, deviation=0.0, advantage=0.0)),
    "falling": (("arc_easy", "hellaswag"), 60, World(slope=-4.0, advantage=-0.2)),
    "solved": (("arc_easy", "sciq"), 60, World(ahead=25.0)),
    "four_checkpoints": (
        ("arc_easy", "sciq"),
        60,
        World(sizes=tuple(SIZES[:2]), steps=(32_768, 131_072), families=("ladder",)),
    ),
    "unequal_choices": (("arc_easy", "hellaswag"), 60, World(unequal=True)),
    "one_benchmark": (("sciq",), 60, World()),
    "skilled": (("arc_easy", "hellaswag"), 60, World(slope=2.0, deviation=1.0, advantage=6.0)),
    "two_checkpoints": (
        ("arc_easy",),
        40,
        World(sizes=tuple(SIZES[:1]), steps=(32_768, 131_072), families=("ladder",)),
    ),
}
