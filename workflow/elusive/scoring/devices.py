"""Where a job computes, and how jobs that run side by side on a machine share its GPUs.

Snakemake assigns no GPU to a job. A job that may choose takes one that no other job holds, by a lock on a file that
the operating system releases whenever the job ends, however it ends.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from elusive import logs
from elusive.errors import ElusiveError

logger = logs.get(__name__)


@contextlib.contextmanager
def reserve(device: str = "auto") -> Iterator[str]:
    """Yield the torch device to use for ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``, holding it in the block."""
    import torch

    available = torch.backends.mps.is_available()
    with choose(device, cuda_count=torch.cuda.device_count(), mps=available, environment=os.environ) as chosen:
        yield chosen


@contextlib.contextmanager
def choose(
    device: str,
    cuda_count: int,
    mps: bool = False,
    environment: Mapping[str, str] | None = None,
    lock_directory: Path | None = None,
    interval: float = 1.0,
) -> Iterator[str]:
    """As :func:`reserve`, for a machine with ``cuda_count`` visible GPUs.

    Among several GPUs the first whose lock is free is taken, waiting for one every ``interval`` seconds. Locks go by
    the names in CUDA_VISIBLE_DEVICES, so that jobs with different lists agree; where that names a single device, a
    scheduler has chosen and no lock is taken. Raises :class:`ElusiveError` for a device that is not there.
    """
    kind, _, index = device.partition(":")
    if kind not in ("auto", "cpu", "cuda", "mps") or (index and (kind != "cuda" or not index.isdigit())):
        raise ElusiveError(f"device {device!r} is not one of auto, cpu, cuda, cuda:N, mps")
    if kind == "auto":
        kind = "cuda" if cuda_count else "mps" if mps else "cpu"
    if kind == "mps" and not mps:
        raise ElusiveError("device 'mps' was asked for, but this machine (or this build of torch) has none")
    if kind == "cuda" and cuda_count <= int(index or 0):
        raise ElusiveError(
            f"device {device!r} was asked for, but torch sees {cuda_count} CUDA devices on this machine; "
            "with a GPU in it, check that torch is its CUDA build"
        )
    if kind != "cuda":
        yield kind
    elif index or cuda_count == 1:
        yield f"cuda:{index or 0}"
    else:
        visible = (environment or {}).get("CUDA_VISIBLE_DEVICES", "")
        names = [name.strip() for name in visible.split(",") if name.strip()] or [str(i) for i in range(cuda_count)]
        if lock_directory is None:
            lock_directory = Path(tempfile.gettempdir()) / f"elusive-gpu-{os.getuid()}"
        lock_directory.mkdir(parents=True, exist_ok=True)
        with _first_free([lock_directory / f"{name.replace('/', '_')}.lock" for name in names], interval) as position:
            yield f"cuda:{position}"


@contextlib.contextmanager
def _first_free(paths: list[Path], interval: float) -> Iterator[int]:
    """Hold the first lock that is free and yield its position."""
    waiting = False
    while True:
        for position, path in enumerate(paths):
            lock = FileLock(path)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                yield position
            finally:
                lock.release()
            return
        if not waiting:
            logger.info("all %d GPUs are taken by other jobs, waiting for one", len(paths))
            waiting = True
        time.sleep(interval)
