"""The hub as the download sees it: a revision's commit, its files, and their bytes, asked for until they come.

huggingface_hub speaks the API, finds the token, and honours HF_ENDPOINT, HF_HOME, HF_TOKEN, HF_HUB_OFFLINE and
proxies. Its own download to a directory keeps nothing of a file that broke off in an earlier process, so bytes are
streamed here: appended to what is there, over plain HTTP with ranges, which every copy of the hub serves.
"""

from __future__ import annotations

import contextlib
import difflib
import email.utils
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import httpx2
from huggingface_hub import HfApi, constants, get_token, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status, parse_ratelimit_headers

from elusive import logs
from elusive.errors import ElusiveError

logger = logs.get(__name__)

_RETRIED_STATUS = (408, 425, 429, 500, 502, 503, 504)
_SHOWN = 12
_T = TypeVar("_T")


@dataclass(frozen=True)
class RemoteFile:
    """A file as the hub announces it: size in bytes, and SHA-256 of a large or git's blob hash of a small file."""

    path: str
    size: int
    sha256: str | None
    blob: str | None


@dataclass(frozen=True)
class Listing:
    """What a revision is: its commit and the files at the top of the repository, by name."""

    commit: str
    files: dict[str, RemoteFile]


@dataclass(frozen=True)
class Hub:
    """Access to the hub; None leaves endpoint, token and cache directory to huggingface_hub and its environment.

    A request that fails for a reason that may pass is made again after ``wait`` seconds, twice as long after each
    further failure but at most ``longest``, or as long as the hub asks for; after ``tries`` failures in a row it is
    given up.
    """

    endpoint: str | None = None
    token: str | None = None
    cache: Path | None = None
    tries: int = 8
    wait: float = 1.0
    longest: float = 60.0
    longest_asked: float = 900.0
    timeout: float = float(constants.HF_HUB_DOWNLOAD_TIMEOUT)

    @property
    def address(self) -> str:
        """Where the hub is."""
        return (self.endpoint or constants.ENDPOINT).rstrip("/")

    @property
    def is_offline(self) -> bool:
        """Whether HF_HUB_OFFLINE is set, so that nobody may be asked."""
        return constants.is_offline_mode()

    def list(self, repo: str, revision: str) -> Listing:
        """Commit and files of a model repository's revision, from the cache where HF_HUB_OFFLINE is set."""
        if self.is_offline:
            return self._cached_listing(repo, revision)
        api = HfApi(endpoint=self.address, token=self.token)

        def ask() -> Listing:
            try:
                info = api.model_info(repo, revision=revision, files_metadata=True, timeout=self.timeout)
                files = [
                    RemoteFile(file.rfilename, file.size, file.lfs.sha256 if file.lfs else None, file.blob_id)
                    for file in info.siblings
                    if "/" not in file.rfilename
                ]
            except (KeyError, TypeError, json.JSONDecodeError) as error:
                raise ElusiveError(
                    f"{self.address} does not answer as the Hugging Face hub does; check HF_ENDPOINT, and whether the "
                    "network asks for a login"
                ) from error
            return Listing(info.sha, {file.path: file for file in files})

        return self._until_answered(f"asking for {repo} at {revision}", repo, revision, ask)

    def cached(self, repo: str, commit: str, file: RemoteFile) -> Path | None:
        """The file in the user's Hugging Face cache, links resolved, if it is there with the right size."""
        found = try_to_load_from_cache(repo, file.path, cache_dir=self.cache, revision=commit)
        path = Path(found).resolve() if isinstance(found, str) else None
        return path if path is not None and path.is_file() and path.stat().st_size == file.size else None

    def fetch(self, repo: str, commit: str, file: RemoteFile, target: Path, count: Callable[[int], None]) -> None:
        """Append to ``target`` until it has the file's size; ``count`` gets the number of bytes of each piece.

        Raises :class:`ElusiveError` when the hub cannot be reached or refuses, and OSError when the disk is full.
        """
        url = hf_hub_url(repo, file.path, revision=commit, endpoint=self.address)
        # Compressed answers have other ranges and no length.
        headers = build_hf_headers(token=self.token, headers={"Accept-Encoding": "identity"})
        target.touch()

        def ask() -> None:
            with target.open("ab") as handle:
                self._append(url, headers, file.size, handle, count)
            have = target.stat().st_size
            if have < file.size:
                raise httpx2.RemoteProtocolError(f"the answer ended after {have} of {file.size} bytes")

        # Whatever has come is kept, and gives new patience.
        self._until_answered(f"{repo}/{file.path}", repo, commit, ask, progress=lambda: target.stat().st_size)

    def _append(
        self, url: str, headers: dict[str, str], size: int, handle: BinaryIO, count: Callable[[int], None]
    ) -> None:
        have = handle.seek(0, 2)
        if have > size:
            have = handle.truncate(0)
        if have == size:
            return
        asked = {**headers, "Range": f"bytes={have}-"} if have else headers
        with get_session().stream("GET", url, headers=asked, timeout=self.timeout) as response:
            if response.status_code == 416:  # this is not what the first part was of
                handle.truncate(0)
                raise httpx2.RemoteProtocolError("the hub has not the rest of this file")
            if response.status_code >= 400:
                response.read()
            hf_raise_for_status(response)
            if have and response.status_code != 206:
                handle.truncate(0)
                count(-have)
            for piece in response.iter_bytes():
                handle.write(piece)
                count(len(piece))
            if handle.tell() > size:
                raise ElusiveError(f"{url}: is longer than the {size} bytes that the hub announced")

    def _until_answered(
        self,
        what: str,
        repo: str,
        revision: str,
        ask: Callable[[], _T],
        progress: Callable[[], int] = lambda: 0,
    ) -> _T:
        failures, pause = 0, self.wait
        while True:
            before = progress()
            try:
                return ask()
            except HfHubHTTPError as error:
                status = error.response.status_code
                if status not in _RETRIED_STATUS:
                    raise self._refusal(error, repo, revision) from error
                reason, asked = f"status {status}", _asked_pause(error.response.headers)
            except (httpx2.UnsupportedProtocol, httpx2.InvalidURL, httpx2.TooManyRedirects) as error:
                raise ElusiveError(
                    f"{self.address} is no hub that can be reached, check HF_ENDPOINT: {error}"
                ) from error
            except httpx2.TransportError as error:
                reason, asked = f"{type(error).__name__}: {error}", None
            except OfflineModeIsEnabled as error:
                raise ElusiveError(
                    f"{what}: not in the Hugging Face cache as it should be, and HF_HUB_OFFLINE is set"
                ) from error
            except HFValidationError as error:
                raise ElusiveError(f"{repo!r} is no name of a repository: {error}") from error
            if progress() > before:
                failures, pause = 0, self.wait
            failures += 1
            if failures >= self.tries:
                raise self._given_up(what, reason, failures) from None
            if asked is not None and asked > self.longest_asked:
                raise ElusiveError(f"{what}: {self.address} asks to come back in {asked:.0f} s; run again then")
            seconds = pause if asked is None else asked
            logger.warning("%s: %s; trying again in %g s (%d of %d)", what, reason, seconds, failures, self.tries)
            time.sleep(seconds)
            pause = min(2 * pause, self.longest)

    def _given_up(self, what: str, reason: str, failures: int) -> ElusiveError:
        return ElusiveError(
            f"{what}: {self.address} did not answer as it should in {failures} attempts, last with {reason}. Check the "
            "network, a proxy (HTTPS_PROXY), or HF_ENDPOINT, and run the same command again: what has come is kept. "
            "With all files in the Hugging Face cache, HF_HUB_OFFLINE=1 needs no network"
        )

    def _refusal(self, error: HfHubHTTPError, repo: str, revision: str) -> ElusiveError:
        """What the hub's no means, and what to do."""
        page, status = f"{self.address}/{repo}", error.response.status_code
        has_token = (self.token or get_token()) is not None
        if isinstance(error, GatedRepoError):
            token = "the account of the token in use has not done so" if has_token else "there is no token"
            return ElusiveError(
                f"{repo} is gated, and {token}: accept its licence at {page}, and set HF_TOKEN to a token of that "
                f"account ({self.address}/settings/tokens)"
            )
        if isinstance(error, RevisionNotFoundError):
            return ElusiveError(f"{repo} has no revision {revision!r}{self._revisions_like(repo, revision)}")
        if isinstance(error, RemoteEntryNotFoundError):
            return ElusiveError(f"{repo} at {revision}: the hub announces a file that it has not: {error.response.url}")
        if isinstance(error, RepositoryNotFoundError) or status in (401, 404):
            token = "the token in use may not read it" if has_token else "set HF_TOKEN to a token that may read it"
            return ElusiveError(f"there is no repository {repo} at {page}, or it is private: {token}")
        if status == 403:
            said = error.response.headers.get("X-Error-Message") or "no reason given"
            return ElusiveError(f"{page}: access is forbidden ({said}); check what the token in HF_TOKEN may read")
        return ElusiveError(f"{page}: the hub answers with status {status}: {error}")

    def _revisions_like(self, repo: str, revision: str) -> str:
        """The revisions nearest in name, for the end of a message; empty where they cannot be listed."""
        try:
            refs = HfApi(endpoint=self.address, token=self.token).list_repo_refs(repo)
        except (HfHubHTTPError, httpx2.HTTPError):
            return ""
        names = [ref.name for ref in [*refs.branches, *refs.tags]]
        close = difflib.get_close_matches(revision, names, n=3, cutoff=0.6)
        nearest = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
        more = f", … {len(names)} in all" if len(names) > _SHOWN else ""
        return f"{nearest} (there are: {', '.join(names[:_SHOWN])}{more})"

    def _cached_listing(self, repo: str, revision: str) -> Listing:
        """What the cache has of a revision; there, the name of a blob is its checksum."""
        cache = Path(self.cache or constants.HF_HUB_CACHE)
        folder = cache / f"models--{repo.replace('/', '--')}"
        reference = folder / "refs" / revision
        commit = reference.read_text().strip() if reference.is_file() else revision
        snapshot = folder / "snapshots" / commit
        if not snapshot.is_dir():
            known = sorted(str(p.relative_to(folder / "refs")) for p in folder.glob("refs/**/*") if p.is_file())
            there = f"has of it only {', '.join(known[:_SHOWN])}" if known else "has nothing of it"
            raise ElusiveError(
                f"HF_HUB_OFFLINE is set, but the Hugging Face cache {cache} lacks {repo} at {revision}: it {there}. "
                "Unset HF_HUB_OFFLINE, or fill the cache where there is a network, with `hf download "
                f"{repo} --revision {revision}`"
            )
        files = {}
        for path in sorted(p for p in snapshot.iterdir() if p.is_file()):
            blob = path.resolve().name
            sha256, git = (blob, None) if len(blob) == 64 else (None, blob if len(blob) == 40 else None)
            files[path.name] = RemoteFile(path.name, path.stat().st_size, sha256, git)
        return Listing(commit, files)


def _asked_pause(headers: httpx2.Headers) -> float | None:
    """Seconds after which the hub wants to be asked again, by RateLimit or Retry-After (seconds or a date)."""
    limit = parse_ratelimit_headers(headers)
    if limit is not None and limit.remaining == 0:
        return float(limit.reset_in_seconds)
    value = headers.get("Retry-After", "").strip()
    if value.isdigit():
        return float(value)
    with contextlib.suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None
