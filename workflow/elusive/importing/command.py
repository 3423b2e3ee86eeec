"""The commands ``import-index``, ``import-items`` and ``import``, which the rules call, and ``inspect-logs``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from elusive.errors import ElusiveError


def add_index_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``import-index``."""
    parser.add_argument("--spec", required=True, help="JSON: model, source, logs, checkpoints, benchmarks, parameters")
    parser.add_argument("--output", type=Path, required=True, help="the index (JSON)")
    parser.add_argument(
        "--unpack", type=Path, help="folder for what is taken out of archives; default: beside the index"
    )


def run_index(args: argparse.Namespace) -> None:
    """Write the index of a model's logs; all that is wrong with them is said at once."""
    from elusive.importing.index import Order, build_index

    unpack = args.unpack or args.output.with_suffix(".unpacked")
    build_index(Order.from_json(_parsed(args.spec), str(unpack))).write(args.output)


def add_items_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``import-items``."""
    parser.add_argument("--spec", required=True, help="the benchmark as JSON: name, task, items, limit, seed")
    parser.add_argument("--indexes", type=Path, nargs="+", required=True, help="the indexes of all imported models")
    parser.add_argument("--output", type=Path, required=True, help="the items table (Parquet)")


def run_items(args: argparse.Namespace) -> None:
    """Write the items table of a benchmark whose items are those of logs."""
    from elusive.importing.items import build_items

    build_items(_parsed(args.spec), args.indexes, args.output)


def add_import_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``import``."""
    parser.add_argument("--index", type=Path, required=True, help="the index of the model's logs")
    parser.add_argument("--checkpoint", required=True, help="name of the checkpoint")
    parser.add_argument("--parameters", type=int, help="number of the model's parameters")
    parser.add_argument("--items", type=Path, nargs="+", required=True, help="items tables")
    parser.add_argument("--outputs", type=Path, nargs="+", required=True, help="a table for each of --items")


def run_import(args: argparse.Namespace) -> None:
    """Write the tables of log-likelihoods of a checkpoint."""
    from elusive.importing.index import Index
    from elusive.importing.logprobs import import_checkpoint

    import_checkpoint(Index.read(args.index), args.checkpoint, args.parameters, args.items, args.outputs)


def add_inspect_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``inspect-logs``."""
    parser.add_argument("folder", help="folder of logs, searched recursively")
    parser.add_argument("--output", type=Path, help="file that gets the configuration, besides its being printed")
    parser.add_argument("--tokens-per-step", type=int, help="training tokens in a step, for the configuration")
    parser.add_argument("--cores", type=int, help="processes that read at once; default: one a processor")
    parser.add_argument("--columns", default="{}", help="JSON: what columns of plain tables are called, ours to theirs")


def run_inspect(args: argparse.Namespace) -> None:
    """Print what the folder holds and how to import it; raises :class:`ElusiveError` when something is wrong."""
    from elusive.files import atomic_path
    from elusive.importing import inspection, plain

    found = inspection.inspect(
        args.folder, args.cores, plain.Layout(_parsed(args.columns, "--columns")), args.tokens_per_step
    )
    print(inspection.text(found))
    configuration = inspection.configuration(found)
    if configuration is not None:
        print("\nA configuration that imports this:\n")
        print(configuration, end="")
        if args.output:
            with atomic_path(args.output) as temporary:
                temporary.write_text(configuration, encoding="utf-8")
    if found.problems.errors:
        left = "what the configuration names can be imported" if configuration else "nothing can be imported"
        raise ElusiveError(f"{args.folder}: {len(found.problems.errors)} problems, see above; {left}")


def _parsed(text: str, option: str = "--spec") -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ElusiveError(f"{option}: not JSON: {error}") from error
