"""The commands ``python -m elusive <command> --log FILE ...``: of the workflow's expensive rules, and ``forecast``.

``forecast`` is for people: it answers for any N and D from the tables of a finished run.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from elusive import logs

#: command -> (help, module, function that adds its arguments, function that runs it). Modules load on demand.
COMMANDS = {
    "fetch-archive": ("fetch the archive of benchmark data", "items.command", "add_fetch_arguments", "run_fetch"),
    "items": ("write the items of a benchmark", "items.command", "add_items_arguments", "run_items"),
    "corpus": (
        "write training text and tokenizer of the ladder",
        "ladder.command",
        "add_corpus_arguments",
        "run_corpus",
    ),
    "train": ("train a model of the ladder", "ladder.command", "add_train_arguments", "run_train"),
    "download": ("download a checkpoint from the hub", "scoring.command", "add_download_arguments", "run_download"),
    "push": ("upload a published data set to the hub", "publish.command", "add_push_arguments", "run_push"),
    "inspect-logs": (
        "say what a folder of logs holds, and a configuration that imports it",
        "importing.command",
        "add_inspect_arguments",
        "run_inspect",
    ),
    "import-index": (
        "find out which files of a model's logs are which checkpoint and task",
        "importing.command",
        "add_index_arguments",
        "run_index",
    ),
    "import-items": (
        "write the items of a benchmark as logs have them",
        "importing.command",
        "add_items_arguments",
        "run_items",
    ),
    "import": (
        "import a checkpoint's log-likelihoods from logs",
        "importing.command",
        "add_import_arguments",
        "run_import",
    ),
    "score": ("score a checkpoint on benchmarks", "scoring.command", "add_arguments", "run"),
    "forecast": (
        "forecast scores at any N and D, from finished tables",
        "forecast.command",
        "add_forecast_arguments",
        "run_forecast",
    ),
}


def main(argv: list[str] | None = None) -> None:
    """Parse ``argv`` and run the command. Mistakes of the user end with exit code 1 and a message."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="python -m elusive", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, (text, module, add_arguments, run) in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--log", type=Path, help="file that gets the messages with their times")
        if name in argv[:1]:
            stage = importlib.import_module(f"elusive.{module}")
            getattr(stage, add_arguments)(command)
            command.set_defaults(run=getattr(stage, run))
    args = parser.parse_args(argv)
    with logs.to_file(args.log):
        args.run(args)


if __name__ == "__main__":
    main()
