"""The command line of the stage: ``python -m elusive download``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from elusive.errors import ElusiveError

_KEYS = ("repo", "revision", "trust_remote_code")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of one job: one revision of one repository."""
    parser.add_argument("--spec", required=True, help=f"JSON: {', '.join(_KEYS)}")
    parser.add_argument("--output", type=Path, required=True, help="directory of the checkpoint")
    parser.add_argument(
        "--partial", type=Path, required=True, help="directory that keeps what has come, for a job that goes on with it"
    )
    parser.add_argument(
        "--ahead", type=int, default=0, help="wait while so many downloaded checkpoints lie beside the output; 0: never"
    )
    parser.add_argument(
        "--since", type=float, default=0.0, help="count those downloaded later than this, in seconds since 1970"
    )


def run(args: argparse.Namespace) -> None:
    """Download the checkpoint; raises :class:`ElusiveError` with a message that a person can act on."""
    from elusive.hub.client import Hub
    from elusive.hub.download import download, wait_for_scoring

    try:
        spec = json.loads(args.spec)
    except json.JSONDecodeError as error:
        raise ElusiveError(f"--spec: not JSON: {error}") from error
    if not isinstance(spec, dict) or set(spec) != set(_KEYS):
        raise ElusiveError(f"--spec: must have the keys {', '.join(_KEYS)} and no others")
    if args.ahead:
        wait_for_scoring(args.output.parents[1], args.ahead, args.since)
    download(Hub(), output=args.output, partial=args.partial, **spec)
