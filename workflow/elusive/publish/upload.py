"""Bring a published set to the Hugging Face hub: one commit that has all of it, or nothing.

Large files go to the hub's store first, where nobody sees them; only the commit at the end makes the set appear, or
replaces what was there. A push that was interrupted sends what the store lacks, and one with nothing new sends nothing.
What is about to happen is said before it does. A dataset that holds anything else than a set of this kind is left
alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from elusive import logs
from elusive.configuration.published import FORMAT, MANIFEST, Published
from elusive.errors import ElusiveError
from elusive.files import sha256_file
from elusive.publish.dataset import CHECKSUMS

if TYPE_CHECKING:
    from huggingface_hub import HfApi

logger = logs.get(__name__)

#: What the hub itself puts into a new dataset, or whoever makes one in the browser.
_GIVEN = frozenset({".gitattributes", "README.md"})
_SHOWN = 5


@dataclass(frozen=True)
class Remote:
    """A dataset as it is on the hub: its commit, and the digest of each file: SHA-256 of a large one, else git's."""

    commit: str
    private: bool
    digests: dict[str, str]


@dataclass(frozen=True)
class Changes:
    """What a push does: names of files, below the set's directory, to ``add``, to ``change`` and to ``remove``."""

    add: list[str]
    change: list[str]
    remove: list[str]
    same: list[str]


def local_files(directory: Path) -> dict[str, str]:
    """Name -> SHA-256 of the files of a set, all checked against its checksums.

    Raises :class:`ElusiveError` when the directory is none that ``publish`` wrote, or differs from its checksums.
    """
    Published.open(str(directory))
    path = directory / CHECKSUMS
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    except OSError as error:
        raise ElusiveError(f"{path}: cannot be read: {error.strerror}; publish again") from error
    found = {
        file.relative_to(directory).as_posix(): file
        for file in sorted(directory.rglob("*"))
        if file.is_file() and file != path and not file.name.startswith(".snakemake")
    }
    for name in {*listed, *found}:
        if name not in found:
            raise ElusiveError(f"{directory}: {name} is missing, which {CHECKSUMS} lists; publish again")
        if name not in listed:
            raise ElusiveError(f"{directory}: {name} is not in {CHECKSUMS}; remove it, or publish again")
        if sha256_file(found[name]) != listed[name]:
            raise ElusiveError(f"{directory}: {name} differs from {CHECKSUMS}; publish again")
    return {**listed, CHECKSUMS: sha256_file(path)}


def git_digest(path: Path) -> str:
    """The SHA-1 that git gives a file's content."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def look(api: HfApi, repo: str) -> Remote | None:
    """The dataset ``repo`` as it is, None if there is none. Raises :class:`ElusiveError` if it holds anything else."""
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

    try:
        info = api.repo_info(repo, repo_type="dataset", files_metadata=True)
    except RepositoryNotFoundError:
        return None
    digests = {file.rfilename: file.lfs.sha256 if file.lfs else file.blob_id for file in info.siblings or ()}
    others = sorted(set(digests) - _GIVEN)
    if others:
        try:
            path = api.hf_hub_download(repo, MANIFEST, repo_type="dataset", revision=info.sha)
            known = json.loads(Path(path).read_text(encoding="utf-8")).get("format") == FORMAT
        except (EntryNotFoundError, ValueError, AttributeError):
            known = False
        if not known:
            shown = ", ".join(others[:_SHOWN]) + (f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else "")
            raise ElusiveError(
                f"{repo}: is a dataset with other things in it ({shown}), which a push would remove. Push to another "
                "name, or remove them first"
            )
    return Remote(str(info.sha), bool(info.private), digests)


def compare(directory: Path, files: dict[str, str], remote: Remote | None) -> Changes:
    """What makes the dataset hold exactly ``files`` (name -> SHA-256) of ``directory``."""
    there = remote.digests if remote else {}
    add = [name for name in files if name not in there]
    kept = [name for name in files if name in there]
    same = [name for name in kept if there[name] in (files[name], git_digest(directory / name))]
    gone = [name for name in there if name not in files and name != ".gitattributes"]
    return Changes(add, [name for name in kept if name not in same], gone, same)


def announcement(directory: Path, repo: str, remote: Remote | None, changes: Changes, private: bool) -> Iterator[str]:
    """Lines that say what a push will do."""
    if remote is None:
        kind = f"which does not exist yet and will be {'private' if private else 'PUBLIC: anybody can read it'}"
    else:
        kind = f"which is {'private' if remote.private else 'PUBLIC: anybody can read it'}"
    total = sum((directory / name).stat().st_size for name in (*changes.add, *changes.change))
    yield f"about to push {directory} to the dataset {repo}, {kind}: {total / 1e6:.1f} MB"
    for what, names in (("new", changes.add), ("changed", changes.change)):
        for name in names:
            yield f"  {what:8} {name} ({(directory / name).stat().st_size:,} bytes)"
    for name in changes.remove:
        yield f"  {'removed':8} {name}"
    if changes.same:
        yield f"  as it is there already: {len(changes.same)} files"
    manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    if not manifest["license"]:
        yield "  no licence has been chosen for the numbers (publish: license), and the card says so"
    texts = [entry["name"] for entry in manifest["benchmarks"] if entry["texts"]]
    yield f"  texts of items: {', '.join(texts) if texts else 'none'}"


def push(directory: Path, repo: str, private: bool, api: HfApi | None = None, dry_run: bool = False) -> str | None:
    """Make the dataset ``repo`` on the hub hold exactly the set in ``directory``, in one commit.

    Returns the commit, or None when ``dry_run`` asks only to say what would happen. ``private`` is about a dataset that
    is not there yet. Raises :class:`ElusiveError` when the set is damaged, nobody is logged in, the dataset holds
    something else, or the hub refuses.
    """
    import httpx2
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    files = local_files(directory)
    api = api or HfApi(library_name="elusive")
    try:
        try:
            user = api.whoami()["name"]
        except (LocalTokenNotFoundError, HfHubHTTPError) as error:
            raise ElusiveError(
                f"not logged in to {api.endpoint}: run `hf auth login`, or set HF_TOKEN to a token that may write"
            ) from error
        remote = look(api, repo)
        changes = compare(directory, files, remote)
        if remote and not (changes.add or changes.change or changes.remove):
            logger.info("%s: is as %s already (commit %s); nothing to upload", repo, directory, remote.commit)
            return remote.commit
        for line in announcement(directory, repo, remote, changes, private):
            logger.info("%s", line)
        if dry_run:
            logger.info("nothing was sent")
            return None
        logger.info("pushing as %s", user)
        if remote is None:
            api.create_repo(repo, repo_type="dataset", private=private)
            remote = look(api, repo)
            if remote is None:
                raise ElusiveError(f"{repo}: was made, but cannot be read; see {api.endpoint}/datasets/{repo}")
        operations = [
            *(CommitOperationDelete(name) for name in changes.remove),
            *(CommitOperationAdd(name, str(directory / name)) for name in (*changes.add, *changes.change)),
        ]
        title = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))["title"]
        done = api.create_commit(
            repo, operations, commit_message=f"Publish {title}", repo_type="dataset", parent_commit=remote.commit
        )
        found = look(api, repo)
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        reason = {
            401: "the token is not valid",
            403: f"the token may not write to {repo}",
            412: f"{repo} was changed by somebody else meanwhile",
        }.get(status, str(error).strip().splitlines()[-1] if str(error).strip() else repr(error))
        raise ElusiveError(f"{repo}: the hub refused: {reason}. {_again(repo)}") from error
    except (httpx2.HTTPError, OSError, RuntimeError, ValueError) as error:
        raise ElusiveError(
            f"{repo}: the upload was interrupted ({error or type(error).__name__}). {_again(repo)}"
        ) from error
    left = compare(directory, files, found)
    if left.add or left.change or left.remove:
        names = ", ".join([*left.add, *left.change, *left.remove][:_SHOWN])
        raise ElusiveError(f"{repo}: is not as it was sent ({names}); run the same command again")
    logger.info("pushed: %s", done.commit_url)
    return done.oid


def _again(repo: str) -> str:
    return f"{repo} shows all of this push or nothing of it; the same command goes on with what has arrived"
