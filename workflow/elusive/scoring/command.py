"""The command line of the stage: ``python -m elusive score``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from elusive.errors import ElusiveError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of one job: one checkpoint, or several of them in one process."""
    parser.add_argument("--checkpoint", type=Path, nargs="+", required=True, help="directories in Hugging Face format")
    parser.add_argument("--items", type=Path, nargs="+", required=True, help="items tables")
    parser.add_argument(
        "--outputs",
        type=Path,
        nargs="+",
        required=True,
        help="a table for each of --items, checkpoint by checkpoint",
    )
    parser.add_argument(
        "--spec",
        required=True,
        help="JSON: model, checkpoint, source, parameters, tokens, dtype, ...; a list of such for several checkpoints",
    )
    parser.add_argument("--settings", default="{}", help="JSON: further keys of every --spec: device, tokens, ...")
    parser.add_argument("--token-cache", type=Path, help="directory that keeps tokenised benchmarks between jobs")
    parser.add_argument("--finished", type=Path, help="directory that keeps finished tables when outputs are deleted")


def run(args: argparse.Namespace) -> None:
    """Bring the outputs up to date; raises :class:`ElusiveError` with a message that a person can act on."""
    from elusive.scoring.cells import score_cells
    from elusive.scoring.spec import Spec
    from elusive.scoring.tokenize import TokenCache

    values, settings = _parsed(args.spec, "--spec"), _parsed(args.settings, "--settings")
    values = values if isinstance(values, list) else [values]
    for value in values:
        if twice := sorted(value.keys() & settings.keys()):
            raise ElusiveError(f"--settings: {', '.join(twice)} is in --spec too; it can be in one of them only")
    specs = [Spec.from_mapping(value | settings) for value in values]
    if len(specs) != len(args.checkpoint):
        raise ElusiveError(f"--spec: {len(specs)} entries for {len(args.checkpoint)} checkpoints")
    if len(args.outputs) != len(specs) * len(args.items):
        raise ElusiveError(
            f"--outputs: {len(args.outputs)} of them, but {len(specs)} checkpoints on {len(args.items)} items tables"
        )
    tokens = TokenCache(args.token_cache)
    count = len(args.items)
    for number, (spec, checkpoint) in enumerate(zip(specs, args.checkpoint, strict=True)):
        outputs = args.outputs[number * count : (number + 1) * count]
        score_cells(spec, checkpoint, args.items, outputs, tokens, args.finished)


def _parsed(text: str, option: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ElusiveError(f"{option}: not JSON: {error}") from error
