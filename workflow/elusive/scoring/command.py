"""The command lines of the stage: ``python -m elusive download`` and ``python -m elusive score``."""

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
    parser.add_argument(
        "--settings", default="{}", help="JSON: further keys of every --spec (device, ...), or a list of them, one each"
    )
    parser.add_argument("--token-cache", type=Path, help="directory that keeps tokenised benchmarks between jobs")
    parser.add_argument("--finished", type=Path, help="directory that keeps finished tables when outputs are deleted")


def run(args: argparse.Namespace) -> None:
    """Bring the outputs up to date; raises :class:`ElusiveError` with a message that a person can act on.

    A checkpoint that cannot be scored keeps none of those behind it from being scored.
    """
    from elusive.scoring.cells import score_cells
    from elusive.scoring.spec import Spec
    from elusive.scoring.tokenize import TokenCache

    values, settings = _parsed(args.spec, "--spec"), _parsed(args.settings, "--settings")
    values = values if isinstance(values, list) else [values]
    settings = settings if isinstance(settings, list) else [settings] * len(values)
    if len(settings) != len(values):
        raise ElusiveError(f"--settings: {len(settings)} entries for the {len(values)} of --spec")
    for value, others in zip(values, settings, strict=True):
        if twice := sorted(value.keys() & others.keys()):
            raise ElusiveError(f"--settings: {', '.join(twice)} is in --spec too; it can be in one of them only")
    specs = [Spec.from_mapping(value | others) for value, others in zip(values, settings, strict=True)]
    if len(specs) != len(args.checkpoint):
        raise ElusiveError(f"--spec: {len(specs)} entries for {len(args.checkpoint)} checkpoints")
    if len(args.outputs) != len(specs) * len(args.items):
        raise ElusiveError(
            f"--outputs: {len(args.outputs)} of them, but {len(specs)} checkpoints on {len(args.items)} items tables"
        )
    tokens = TokenCache(args.token_cache)
    count = len(args.items)
    problems: list[ElusiveError] = []
    for number, (spec, checkpoint) in enumerate(zip(specs, args.checkpoint, strict=True)):
        outputs = args.outputs[number * count : (number + 1) * count]
        try:
            score_cells(spec, checkpoint, args.items, outputs, tokens, args.finished)
        except ElusiveError as error:
            problems.append(error)
    if len(problems) > 1:
        raise ElusiveError("; ".join(map(str, problems))) from problems[0]
    if problems:
        raise problems[0]


def add_download_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of a job that fetches one checkpoint."""
    parser.add_argument("--spec", required=True, help="JSON: repo, revision, trust_remote_code")
    parser.add_argument("--settings", default="{}", help="JSON: further keys of its scoring jobs: model, dtype, ...")
    parser.add_argument("--output", type=Path, required=True, help="directory of the checkpoint")
    parser.add_argument(
        "--partial", type=Path, required=True, help="directory that keeps what has come, for a job that goes on with it"
    )
    parser.add_argument(
        "--items", type=Path, nargs="*", help="items tables; weights are left out where each has a finished table"
    )
    parser.add_argument("--finished", type=Path, help="directory of finished tables")
    parser.add_argument("--token-cache", type=Path, help="directory that keeps tokenised benchmarks between jobs")
    parser.add_argument(
        "--ahead", type=int, default=0, help="wait while so many downloaded checkpoints lie beside the output; 0: never"
    )
    parser.add_argument(
        "--since", type=float, default=0.0, help="count those downloaded later than this, in seconds since 1970"
    )


def run_download(args: argparse.Namespace) -> None:
    """Fetch the checkpoint; raises :class:`ElusiveError` with a message that a person can act on."""
    from elusive.hub.client import Hub
    from elusive.hub.download import wait_for_scoring
    from elusive.runs import Watch
    from elusive.scoring.fetch import Finished, fetch
    from elusive.scoring.spec import Spec
    from elusive.scoring.tokenize import TokenCache

    values = {"source": "hub"}
    for option in ("settings", "spec"):
        parsed = _parsed(getattr(args, option), f"--{option}")
        if not isinstance(parsed, dict):
            raise ElusiveError(f"--{option}: must be a mapping")
        values |= parsed
    spec = Spec.from_mapping(values)
    if spec.repo is None or spec.revision is None:
        raise ElusiveError("--spec: the keys repo and revision must be there")
    if args.items and args.finished is None:
        raise ElusiveError("--items: goes with --finished")
    watch, finished = Watch(), None
    if args.items:
        finished = Finished(args.items, args.finished, TokenCache(args.token_cache), lambda: watch.pending)

    def wait() -> None:
        if args.ahead:
            wait_for_scoring(args.output.parents[1], args.ahead, args.since, check=watch.check)

    fetch(Hub(), spec, args.output, args.partial, finished, wait, watch.check)


def _parsed(text: str, option: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ElusiveError(f"{option}: not JSON: {error}") from error
