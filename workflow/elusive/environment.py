"""The environment that every job of the workflow runs in."""

from __future__ import annotations

import os
import sys
from pathlib import Path

LIBRARY = Path(__file__).parent.parent


def prepare() -> None:
    """Set the environment of this process and so of the jobs that it starts.

    Jobs find this library and this Python whatever directory they run in: a path of this machine in a rule's command
    would make every job rerun when the repository moves. Thread pools that take their size from the environment get
    one thread, since results must not depend on the number of cores.
    """
    prepend = {"PYTHONPATH": str(LIBRARY), "PATH": str(Path(sys.executable).parent)}
    for name, value in prepend.items():
        present = [part for part in os.environ.get(name, "").split(os.pathsep) if part and part != value]
        os.environ[name] = os.pathsep.join([value, *present])
    os.environ["POLARS_MAX_THREADS"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
