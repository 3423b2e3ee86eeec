"""Worlds in which the report's usual sentences are false."""

from __future__ import annotations

from synthetic_run import SIZES, World

_ONE = ("ladder",)

#: name -> benchmarks, items of each, and the world.
WORLDS: dict[str, tuple[tuple[str, ...], int, World]] = {
    "paper": (("arc_easy", "hellaswag", "sciq"), 60, World()),
    "no_signal": (("arc_easy", "hellaswag"), 60, World(slope=0.0, deviation=0.0, advantage=0.0, families=_ONE)),
    "falling": (("arc_easy", "hellaswag"), 60, World(slope=-4.0, advantage=-0.2, families=_ONE)),
    "solved": (("arc_easy", "sciq"), 60, World(ahead=25.0, families=_ONE)),
    "four_checkpoints": (
        ("arc_easy", "sciq"),
        60,
        World(sizes=tuple(SIZES[:2]), steps=(32_768, 131_072), families=_ONE),
    ),
    "unequal_choices": (("arc_easy", "hellaswag"), 60, World(unequal=True, families=_ONE)),
    "one_benchmark": (("sciq",), 60, World(families=_ONE)),
    "skilled": (("arc_easy", "hellaswag"), 60, World(slope=2.0, deviation=1.0, advantage=6.0, families=_ONE)),
    "two_checkpoints": (("arc_easy",), 40, World(sizes=tuple(SIZES[:1]), steps=(32_768, 131_072), families=_ONE)),
}
