"""A run of the workflow as its jobs and the next run see it: whether it goes on, is about to end, or is gone.

A run writes down who it is, in a file below ``.snakemake`` that its jobs find by an environment variable. A job that
only waits ends with it. And whoever comes after a run that was killed removes the lock that it left behind, if that is
safe: the process is known to be gone, it ran its jobs on this machine, and none of these is still at work. Of another
machine, and of another container's processes, nothing is known, and nothing is touched.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from elusive.errors import ElusiveError
from elusive.files import atomic_path

#: Names the file of the run that a job belongs to.
VARIABLE = "ELUSIVE_RUN"
_FOLDER = "elusive-runs"


@dataclass(frozen=True)
class Owner:
    """A process: its machine (name and installation), the boot, the namespace of ids that ``pid`` is of, and its start.

    What a system does not say is empty.
    """

    host: str
    machine: str
    boot: str
    namespace: str
    pid: int
    started: str

    @classmethod
    def here(cls) -> Owner:
        """This process."""
        pid = os.getpid()
        return cls(**_place(), pid=pid, started=_started(pid))

    @property
    def is_gone(self) -> bool:
        """Whether it is certain that the process has ended: it was on this machine, and is not there."""
        here = _place()
        if not self.started or (self.host, self.machine) != (here["host"], here["machine"]):
            return False
        if self.boot != here["boot"]:
            return bool(self.machine and self.boot and here["boot"])
        return self.namespace == here["namespace"] and _started(self.pid) != self.started


def _place() -> dict[str, str]:
    return {
        "host": socket.gethostname(),
        "machine": _text("/etc/machine-id"),
        "boot": _text("/proc/sys/kernel/random/boot_id"),
        "namespace": _link("/proc/self/ns/pid"),
    }


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When the process started, in ticks since boot; empty where there is none, or only its remains."""
    # The name in brackets may hold anything.
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return fields[19] if fields and fields[0] not in ("Z", "X") else ""


def follow(
    home: Path,
    locks: Callable[[], list[str]],
    ending: Callable[[], bool],
    pending: Callable[[], int | None],
    local: bool,
    poll: float = 0.2,
) -> Path:
    """Write down that this process runs the workflow whose Snakemake keeps its notes in ``home``, until it ends.

    ``locks`` gives the files of its lock as soon as it holds one, ``ending`` whether it only waits for running jobs
    any more, since one has failed, and ``pending`` how many items tables it has still to make (None: not known yet);
    they are asked every ``poll`` seconds. ``local`` says that no job is on another machine. Returns the file, which
    jobs find in the environment.
    """
    record = home / _FOLDER / f"{socket.gethostname()}-{os.getpid()}.json"
    content = {"owner": asdict(Owner.here()), "local": local, "locks": [], "ending": False, "pending": None}
    _write(record, content)
    os.environ[VARIABLE] = str(record.absolute())
    atexit.register(record.unlink, missing_ok=True)

    def watch() -> None:
        while not content["ending"]:
            time.sleep(poll)
            # Who is asked is at work in another thread, and may not be in a state to answer.
            with contextlib.suppress(Exception):
                found = {"locks": [_identity(path) for path in locks()], "ending": ending(), "pending": pending()}
                if not found.items() <= content.items():
                    _write(record, content | found)
                    content.update(found)

    threading.Thread(target=watch, name="run", daemon=True).start()
    return record


def _write(record: Path, content: dict) -> None:
    with atomic_path(record) as temporary:
        temporary.write_text(json.dumps(content) + "\n")


def _identity(path: str | os.PathLike[str]) -> list:
    """A file as no other one is it: name, inode, and time of its last change in ns."""
    try:
        about = os.stat(path)
    except OSError:
        return [os.path.basename(path), 0, 0]
    return [os.path.basename(path), about.st_ino, about.st_mtime_ns]


class Watch:
    """The run that a job belongs to, looked at by the job."""

    def __init__(self, record: Path | None = None, poll: float = 1.0) -> None:
        named = os.environ.get(VARIABLE)
        self._record = record or (Path(named) if named else None)
        self._poll, self._next = poll, 0.0
        # Nothing is known of a run that wrote nothing down.
        if self._record is not None and not self._record.is_file():
            self._record = None

    def check(self) -> None:
        """Raise :class:`ElusiveError` when the run has ended or is only waiting for this job; looks once a second."""
        if self._record is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + self._poll
        content = _read(self._record)
        if content is None or Owner(**content["owner"]).is_gone:
            raise ElusiveError("the run that this job belongs to has ended; what has come is kept for the next one")
        if content["ending"]:
            raise ElusiveError(
                "another job of this run has failed, so this one does not go on; what has come is kept for the next run"
            )

    @property
    def pending(self) -> int | None:
        """How many items tables the run has still to make, None where that is not known yet; 0 outside of a run."""
        content = _read(self._record) if self._record is not None else {"pending": 0}
        return content["pending"] if content else None


def _read(record: Path) -> dict | None:
    try:
        content = json.loads(record.read_text())
        Owner(**content["owner"])
        return content if {"local", "locks", "ending", "pending"} <= content.keys() else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def release_locks(home: Path) -> list[str]:
    """Remove the locks below ``home`` of runs that were killed, where that is safe; returns what to say of it."""
    records = sorted((home / _FOLDER).glob("*.json"))
    if not records:
        return []
    with open(home / _FOLDER / "lock", "w") as guard:
        # Whoever removes a lock has looked at it with nobody else doing the same.
        fcntl.flock(guard, fcntl.LOCK_EX)
        return [said for record in records if (said := _release(home, record))]


def _release(home: Path, record: Path) -> str | None:
    content = _read(record)
    if content is None or not Owner(**content["owner"]).is_gone:
        return None
    held = [path for path in (home / "locks").glob("*") if _identity(path) in content["locks"]]
    run = f"the run of process {content['owner']['pid']}, which was killed,"
    if held and not content["local"]:
        return f"{run} had jobs on other machines: its lock is left as it is, see --unlock"
    if held and (left := sorted(_jobs_of(record))):
        numbers = ", ".join(map(str, left))
        return (
            f"{run} has left jobs at work (process {numbers}): its lock is left as it is; wait for them, or end them, "
            "and run the same command again"
        )
    for path in held:
        path.unlink(missing_ok=True)
    record.unlink(missing_ok=True)
    return f"{run} has left its lock behind, which is removed" if held else None


def _jobs_of(record: Path) -> Iterator[int]:
    """Processes of this machine that have the run's file in their environment."""
    wanted = f"{VARIABLE}={record.absolute()}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0") and int(folder.name) != os.getpid():
                yield int(folder.name)
