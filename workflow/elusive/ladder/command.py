"""The commands ``corpus`` and ``train``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path


def add_corpus_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``corpus``."""
    parser.add_argument("--archive", type=Path, required=True, help="the archive of benchmark data")
    parser.add_argument("--vocabulary", type=int, required=True, help="entries of the tokenizer")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True, help="gets the folders corpus/ and tokenizer/")


def run_corpus(args: argparse.Namespace) -> None:
    """Write text and tokenizer below ``args.output``."""
    from elusive.ladder.corpus import build_corpus

    build_corpus(args.archive, args.vocabulary, args.seed, args.output)


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``train``."""
    parser.add_argument("--corpus", type=Path, required=True, help="what the command corpus wrote")
    parser.add_argument("--spec", type=json.loads, required=True, help="the model and its training as JSON")
    parser.add_argument("--outputs", type=Path, nargs="+", required=True, help="a folder for each checkpoint, in order")


def run_train(args: argparse.Namespace) -> None:
    """Train the model ``args.spec`` and write its checkpoints."""
    from elusive.ladder.training import train

    train(args.corpus, args.spec, args.outputs)
