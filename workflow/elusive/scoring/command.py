"""The command line of the stage: ``python -m elusive score``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from elusive.errors import ElusiveError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of one job."""
    parser.add_argument("--checkpoint", type=Path, required=True, help="directory in Hugging Face format")
    parser.add_argument("--items", type=Path, nargs="+", required=True, help="items tables")
    parser.add_argument("--outputs", type=Path, nargs="+", required=True, help="a table for each of --items, in order")
    parser.add_argument("--spec", required=True, help="JSON: model, checkpoint, source, parameters, tokens, dtype, ...")


def run(args: argparse.Namespace) -> None:
    """Bring the outputs up to date; raises :class:`ElusiveError` with a message that a person can act on."""
    from elusive.scoring.cells import Spec, score_cells

    try:
        values = json.loads(args.spec)
    except json.JSONDecodeError as error:
        raise ElusiveError(f"--spec: not JSON: {error}") from error
    score_cells(Spec.from_mapping(values), args.checkpoint, args.items, args.outputs)
