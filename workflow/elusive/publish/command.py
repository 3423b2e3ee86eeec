"""The command line of the stage: ``python -m elusive push``."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_push_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``push``."""
    parser.add_argument("--directory", type=Path, required=True, help="the set that `snakemake publish` wrote")
    parser.add_argument("--repo", required=True, help="dataset on the hub, owner/name")
    visibility = parser.add_mutually_exclusive_group()
    visibility.add_argument("--private", action="store_true", default=True, help="make a new dataset private (default)")
    visibility.add_argument("--public", dest="private", action="store_false", help="make a new dataset public")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and send nothing")


def run_push(args: argparse.Namespace) -> None:
    """Upload the set; raises :class:`ElusiveError` with a message that a person can act on."""
    from elusive.publish.upload import push

    push(args.directory, args.repo, args.private, dry_run=args.dry_run)
