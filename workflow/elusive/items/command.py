"""The commands ``fetch-archive`` and ``items``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from elusive.errors import ElusiveError
from elusive.items.fetch import fetch_archive


def add_fetch_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``fetch-archive``."""
    parser.add_argument("--output", type=Path, required=True, help="where to put the archive")


def run_fetch(args: argparse.Namespace) -> None:
    """Fetch the archive to ``args.output``."""
    fetch_archive(args.output)


def add_items_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``items``."""
    parser.add_argument("--spec", required=True, help="the benchmark as JSON: name, limit, ...")
    parser.add_argument(
        "--source",
        type=Path,
        nargs="*",
        help="the archive, if the rows come from it; of the ladder's held-out text its tokenizer, train.npy and "
        "validation.npy; else the files that the specification names, if any",
    )
    parser.add_argument("--output", type=Path, required=True, help="the items table (Parquet)")


def run_items(args: argparse.Namespace) -> None:
    """Write the items table of the benchmark ``args.spec`` to ``args.output``."""
    # pyarrow is only loaded for this command.
    from elusive.items.build import build_items

    try:
        spec = json.loads(args.spec)
    except json.JSONDecodeError as error:
        raise ElusiveError(f"--spec: not JSON: {error}") from error
    build_items(spec, args.output, *(args.source or ()))
