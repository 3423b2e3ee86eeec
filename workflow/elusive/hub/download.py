"""A checkpoint of the hub into a directory: what is needed, checked, and under its final name only when complete.

Files gather in a directory beside the outputs whose name stays the same from job to job, each under its checksum, so
that a job that is killed loses nothing and a branch that moved meanwhile does no harm. The Hugging Face cache is read
but not filled: weights that are removed after scoring must leave the disk.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from elusive import logs
from elusive.configuration.directory import SOURCE, lacks_weights
from elusive.errors import ElusiveError
from elusive.files import atomic_path
from elusive.hub.client import Hub, Listing, RemoteFile
from elusive.hub.select import is_index, needed_files, shards

logger = logs.get(__name__)

_CHECKSUM_TRIES = 3
_COMPLETE = "complete"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_MEGABYTE = 10**6


def download(
    hub: Hub,
    repo: str,
    revision: str,
    output: Path,
    partial: Path,
    trust_remote_code: bool = False,
    listing: Listing | None = None,
    weights: bool = True,
    check: Callable[[], None] = lambda: None,
) -> str:
    """Put ``repo`` at ``revision`` into the directory ``output``; returns the commit.

    ``partial`` keeps what has come until all has, and is removed then; it must be on the same file system. Beside the
    files ``output`` gets source.json with ``repo``, ``revision`` as asked for and ``commit``. ``listing`` is what the
    hub has said of the revision, if it was asked. Without ``weights`` only configuration and tokenizer come, and
    source.json says so. ``check`` is called now and then, and may raise. Raises :class:`ElusiveError`.
    """
    started = time.monotonic()
    with _full_disk(partial):
        partial.mkdir(parents=True, exist_ok=True)
        job = _Download(hub, repo, revision, partial, listing or hub.list(repo, revision), check)
        job.run(trust_remote_code, weights)
        job.finish(output, weights)
    size = sum(path.stat().st_size for path in output.iterdir()) / _MEGABYTE
    came = ", ".join(f"{count / _MEGABYTE:.1f} MB {where}" for where, count in job.bytes.items())
    seconds = time.monotonic() - started
    logger.info("%s is commit %s: %.1f MB (%s) in %.1f s", job.origin, job.listing.commit, size, came, seconds)
    return job.listing.commit


def leave_out(repo: str, revision: str, commit: str, output: Path) -> None:
    """Make ``output`` a directory that stands for a commit of which no file is needed."""
    with atomic_path(output) as temporary:
        temporary.mkdir()
        (temporary / SOURCE).write_text(_source(repo, revision, commit, weights=False))


def _source(repo: str, revision: str, commit: str, weights: bool) -> str:
    source = {"repo": repo, "revision": revision, "commit": commit} | ({} if weights else {"weights": False})
    return json.dumps(source, indent=2) + "\n"


def wait_for_scoring(
    directory: Path,
    ahead: int,
    since: float = 0.0,
    patience: float = 7200.0,
    poll: float = 2.0,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Return when fewer than ``ahead`` checkpoints that were downloaded later than ``since`` lie in ``directory``.

    They are in directories model/checkpoint, and scoring removes them. Those from before ``since``, in seconds since
    1970, may have been kept on purpose or belong to nothing that is still scored: nobody waits for them. When none has
    gone for ``patience`` seconds it returns all the same: scoring may have failed, and whoever waits for it would wait
    for ever. ``poll`` is the pause between looks, in seconds. ``check`` is called at each, and may raise.
    """
    seen, changed = None, time.monotonic()
    while len(there := set(_downloaded(directory, since))) >= ahead:
        check()
        if seen is None or seen - there:
            names = ", ".join(sorted("/".join(path.parts[-3:-1]) for path in there))
            logger.info("waiting for scoring: %d checkpoints lie there (%s), as many as may", len(there), names)
            changed = time.monotonic()
        elif time.monotonic() - changed > patience:
            logger.warning("no checkpoint has been scored for %.0f s; going on without waiting", patience)
            return
        seen = there
        time.sleep(poll)


def _downloaded(directory: Path, since: float) -> Iterator[Path]:
    for path in directory.glob(f"*/*/{SOURCE}"):
        with contextlib.suppress(FileNotFoundError):  # scoring has just removed it
            if path.stat().st_mtime >= since and not lacks_weights(path.parent):
                yield path


@contextlib.contextmanager
def _full_disk(partial: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise ElusiveError(
            f"{partial}: no space left on the disk; free some and run the same command again: what has come is kept"
        ) from error


class _Download:
    def __init__(
        self, hub: Hub, repo: str, revision: str, partial: Path, listing: Listing, check: Callable[[], None]
    ) -> None:
        self.hub, self.repo, self.revision, self.partial, self.listing = hub, repo, revision, partial, listing
        self.check = check
        self.origin = f"{repo} at {revision}"
        self.names: list[str] = []
        self.bytes = {"downloaded": 0, "from the Hugging Face cache": 0, "from an earlier job": 0}

    def run(self, trust_remote_code: bool, with_weights: bool) -> None:
        """Gather all files; weights come last, after it is known that there is room for them."""
        *small, weights = needed_files(self.listing.files, trust_remote_code, self.origin)
        large = [weights]
        if not with_weights:
            self.names = small
            self._take_back()
            self._gather(small)
            return
        if is_index(weights):
            small.append(weights)
            index = self._gather([weights])[0].read_bytes()
            large = shards(index, weights, self.listing.files, self.origin)
        self.names = [*small, *large]
        self._take_back()
        self._remove_others()
        self._gather([name for name in self.names if name != weights or name in large])

    def finish(self, output: Path, weights: bool) -> None:
        """Give the files their names in one directory, and that its place."""
        complete = self.partial / _COMPLETE
        complete.mkdir()
        (complete / SOURCE).write_text(_source(self.repo, self.revision, self.listing.commit, weights))
        for name in self.names:
            os.replace(self._blob(self.listing.files[name]), complete / name)
        output.parent.mkdir(parents=True, exist_ok=True)
        if output.is_dir():
            shutil.rmtree(output)
        os.replace(complete, output)
        if weights:
            shutil.rmtree(self.partial)
        else:  # what may lie there is of the weights
            with contextlib.suppress(OSError):
                self.partial.rmdir()

    def _blob(self, file: RemoteFile) -> Path:
        """Where a complete and checked file waits; ``.incomplete`` is appended before that."""
        checksum = file.sha256 or file.blob or f"unknown-{self.listing.commit}"
        return self.partial / f"{checksum[:20]}-{file.path}"

    def _incomplete(self, file: RemoteFile) -> Path:
        blob = self._blob(file)
        return blob.with_name(f"{blob.name}.incomplete")

    def _take_back(self) -> None:
        """Files that a job had named when it was killed."""
        complete = self.partial / _COMPLETE
        for file in (self.listing.files[name] for name in self.names):
            named = complete / file.path
            if named.is_file() and not self._blob(file).exists() and _intact(named, file):
                os.replace(named, self._blob(file))
        shutil.rmtree(complete, ignore_errors=True)

    def _remove_others(self) -> None:
        """What a job left of another commit."""
        files = [self.listing.files[name] for name in self.names]
        wanted = {path for file in files for path in (self._blob(file), self._incomplete(file))}
        for path in set(self.partial.iterdir()) - wanted:
            path.unlink()

    def _gather(self, names: list[str]) -> list[Path]:
        """Files from the earlier job, the cache, or the hub, in this order of preference."""
        files = [self.listing.files[name] for name in names]
        missing = []
        for file in files:
            if self._blob(file).is_file():
                self.bytes["from an earlier job"] += file.size
            elif self._from_cache(file):
                self.bytes["from the Hugging Face cache"] += file.size
            else:
                missing.append(file)
        if missing:
            kept = sum(self._kept(file) for file in missing)
            need = sum(file.size for file in missing) - kept
            self.bytes["from an earlier job"] += kept
            self._check_room(need)
            progress = logs.Progress(f"downloading {self.origin}", need / _MEGABYTE, "MB")
            for file in missing:
                self._from_hub(file, progress)
        return [self._blob(file) for file in files]

    def _kept(self, file: RemoteFile) -> int:
        path = self._incomplete(file)
        size = path.stat().st_size if path.is_file() else 0
        return size if size <= file.size else 0

    def _check_room(self, need: int) -> None:
        free = shutil.disk_usage(self.partial).free
        if need > free:
            raise ElusiveError(
                f"{self.origin}: needs {need / 1e9:.1f} GB, but the disk of {self.partial.absolute()} has "
                f"{free / 1e9:.1f} GB left; free some, or score fewer checkpoints at a time"
            )

    def _from_cache(self, file: RemoteFile) -> bool:
        cached = self.hub.cached(self.repo, self.listing.commit, file)
        if cached is None:
            return False
        if not _intact(cached, file):
            logger.warning("%s: does not have the checksum that the hub announces; it is left aside", cached)
            return False
        blob, incomplete = self._blob(file), self._incomplete(file)
        incomplete.unlink(missing_ok=True)
        try:
            os.link(cached, blob)
        except OSError:  # another file system, or one without links
            shutil.copyfile(cached, incomplete)
            os.replace(incomplete, blob)
        return True

    def _from_hub(self, file: RemoteFile, progress: logs.Progress) -> None:
        incomplete = self._incomplete(file)

        def count(size: int) -> None:
            self.check()
            self.bytes["downloaded"] += size
            progress.update(size / _MEGABYTE)

        for attempt in range(1, _CHECKSUM_TRIES + 1):
            self.hub.fetch(self.repo, self.listing.commit, file, incomplete, count)
            if _intact(incomplete, file):
                with incomplete.open("rb") as handle:
                    os.fsync(handle.fileno())
                os.replace(incomplete, self._blob(file))
                return
            incomplete.unlink()
            progress.done -= file.size / _MEGABYTE
            again = "; discarded, downloading it again" if attempt < _CHECKSUM_TRIES else ""
            logger.warning("%s of %s: has not the announced checksum%s", file.path, self.origin, again)
        raise ElusiveError(
            f"{self.origin}: {file.path} came {_CHECKSUM_TRIES} times with another checksum than the hub announces "
            f"({file.sha256 or file.blob}); a proxy or a mirror (HF_ENDPOINT) may alter it"
        )


def _intact(path: Path, file: RemoteFile) -> bool:
    """Whether the content is what was announced: by SHA-256, or by git's hash of a blob."""
    if path.stat().st_size != file.size:
        return False
    if file.sha256 is not None:
        digest, expected = hashlib.sha256(), file.sha256
    elif file.blob is not None:
        digest, expected = hashlib.sha1(b"blob %d\0" % file.size), file.blob
    else:
        return True
    with path.open("rb") as handle:
        while piece := handle.read(2**20):
            digest.update(piece)
    return digest.hexdigest() == expected
