"""Log files and progress lines: what a job says while it runs, and where its error ends up.

Every job has a log file. Progress and warnings go to the log and to standard error, so that whoever runs
``snakemake --cores`` on a terminal sees how far training and scoring are.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from elusive.errors import ElusiveError

_ROOT = "elusive"


def get(name: str) -> logging.Logger:
    """The logger of a module; ``name`` is its ``__name__``."""
    return logging.getLogger(name)


@contextlib.contextmanager
def to_file(path: str | os.PathLike[str] | None) -> Iterator[None]:
    """Send the package's messages to standard error and, with times, to the file ``path``.

    An error inside the block is written to the file with its traceback. An :class:`ElusiveError` ends the process
    with exit code 1 and its message alone on standard error; anything else is raised again.
    """
    root = logging.getLogger(_ROOT)
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(path, mode="w", encoding="utf-8"))
        handlers[-1].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = root.level
    root.setLevel(logging.INFO)  # not an assignment: loggers remember what was enabled when they were last asked
    for handler in handlers:
        root.addHandler(handler)
    try:
        yield
    except ElusiveError as error:
        root.error("error: %s", error)
        sys.exit(1)
    except Exception:
        if path is not None:
            record = root.makeRecord(_ROOT, logging.ERROR, __file__, 0, "unexpected error", (), sys.exc_info())
            handlers[-1].handle(record)
        raise
    finally:
        root.setLevel(level)
        for handler in handlers:
            root.removeHandler(handler)
            if isinstance(handler, logging.FileHandler):
                handler.close()


class Progress:
    """Says at most every ``interval`` seconds how much of ``total`` is done, how fast, and how long the rest will take.

    ``label`` names the work ("scoring ladder-d32/step64"), ``unit`` what is counted ("items").
    """

    def __init__(self, label: str, total: int, unit: str, interval: float = 5.0) -> None:
        self.label, self.total, self.unit, self.interval = label, total, unit, interval
        self.done = 0
        self._start = self._last = time.monotonic()

    def update(self, count: int, extra: str = "") -> None:
        """Count ``count`` more units done; ``extra`` is appended to the line, for example a loss."""
        self.done += count
        now = time.monotonic()
        if now - self._last < self.interval:
            return
        self._last = now
        rate = self.done / (now - self._start)
        left = (self.total - self.done) / rate if rate else float("inf")
        get(__name__).info(
            "%s: %d of %d %s, %.0f %s/s, %.0f s left%s",
            self.label,
            self.done,
            self.total,
            self.unit,
            rate,
            self.unit,
            left,
            f", {extra}" if extra else "",
        )

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._start
