"""Rows of a dataset on the Hugging Face hub, by the ``datasets`` library.

What a branch, a tag or no revision at all means is looked up first, and the rows are then those of that commit, which
the items table names. ``datasets`` reads the usual variables (HF_HOME, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, proxies)
and keeps what it downloads in its cache, so that a second benchmark of the same dataset, or a run without network,
needs no download. It falls back on what the cache has whenever the hub does not answer, of whichever commit that is;
here such rows are refused unless they are of the commit in question.
"""

from __future__ import annotations

import errno
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from elusive import logs
from elusive.errors import ElusiveError
from elusive.files import atomic_path, sha256_file

logger = logs.get(__name__)

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAIN = "main"
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # statuses of an answer that may be another one soon
_PAUSES = (1, 2, 4)  # seconds
T = TypeVar("T")


@dataclass(frozen=True)
class Dataset:
    """A dataset repository at a commit. ``revision`` is what was asked for."""

    repo: str
    revision: str
    commit: str

    @classmethod
    def at(cls, repo: str, revision: str | None = None) -> Dataset:
        """Find the commit of ``revision`` (None: the newest); without network, the one that the cache last saw there.

        Raises :class:`ElusiveError` when there is no such repository or revision, or the hub cannot be reached.
        """
        from huggingface_hub import HfApi

        revision = revision or _MAIN
        if _COMMIT.fullmatch(revision):
            return cls(repo, revision, revision)
        try:
            commit = _patiently(repo, lambda: HfApi().dataset_info(repo, revision=revision, timeout=60).sha)
        except Exception as error:
            commit = _cached_commit(repo, revision) if _unreachable(error) else None
            if commit is None:
                raise _explained(repo, revision, error) from error
            logger.warning("%s: %s; taking %s for %s, as in the cache", repo, _why(error), commit, revision)
        else:
            _remember_commit(repo, revision, commit)
        return cls(repo, revision, commit)

    def rows(self, config: str | None, *splits: str) -> list[list[dict[str, Any]]]:
        """All rows of each of ``splits``, in the dataset's order.

        Raises :class:`ElusiveError` when configuration or split do not exist or cannot be loaded.
        """
        try:
            return _patiently(self.repo, lambda: self._load(config, splits))
        except ElusiveError:
            raise
        except Exception as error:
            raise _explained(self.repo, self.revision, error) from error

    def _load(self, config: str | None, splits: tuple[str, ...]) -> list[list[dict[str, Any]]]:
        import datasets

        datasets.disable_progress_bars()
        builder = self._cached_builder(config or "default")
        if builder is None:
            builder = datasets.load_dataset_builder(self.repo, config, revision=self.commit)
        if builder.hash != self.commit:
            builder = self._cached_builder(config or "*")
            if builder is None:
                # With nothing to fall back on, `datasets` says what is wrong.
                with tempfile.TemporaryDirectory() as empty:
                    datasets.load_dataset_builder(self.repo, config, revision=self.commit, cache_dir=empty)
                raise _NotCached(f"{self.repo} was not reached")
        try:
            builder.download_and_prepare()
        finally:  # a file that cannot be read may be a damaged one
            self._check_files(builder)
        missing = [split for split in splits if split not in (builder.info.splits or {})]
        if missing:
            there = ", ".join(builder.info.splits or {})
            raise ElusiveError(f"dataset {self}: there is no split {missing[0]!r}; its splits are: {there}")
        return [builder.as_dataset(split=split).to_list() for split in splits]

    def _check_files(self, builder: Any) -> None:
        """Hold the files that were downloaded against the checksums that name them in the hub's cache.

        Neither library does; what does not agree is removed, with all that was made of it, and asked for again.
        """
        from huggingface_hub import try_to_load_from_cache

        files = [file for found in (builder.config.data_files or {}).values() for file in found]
        damaged = []
        for file in files:
            name = file.partition(f"@{self.commit}/")[2]
            cached = try_to_load_from_cache(self.repo, name, revision=self.commit, repo_type="dataset")
            if isinstance(cached, str):
                blob = Path(cached).resolve()
                if _SHA256.fullmatch(blob.name) and sha256_file(blob) != blob.name:
                    damaged.append(name)
                    blob.unlink()
                    Path(cached).unlink(missing_ok=True)
        if damaged:
            shutil.rmtree(builder.cache_dir, ignore_errors=True)
            raise _Damaged(f"{', '.join(damaged)} of {self} did not arrive as the hub announced it (wrong checksum)")

    def _cached_builder(self, pattern: str) -> Any:
        """What the cache holds of this commit, of the configuration that matches ``pattern``; None if nothing."""
        from datasets import config as settings
        from datasets.naming import camelcase_to_snakecase
        from datasets.packaged_modules.cache.cache import Cache

        namespace, name = self.repo.split("/")
        root = Path(settings.HF_DATASETS_CACHE) / f"{namespace}___{camelcase_to_snakecase(name)}"
        found = sorted(root.glob(f"{pattern}/*/{self.commit}"))
        if not found:
            return None
        if len({path.parts[-3] for path in found}) > 1:
            names = ", ".join(sorted(path.parts[-3] for path in found))
            raise ElusiveError(f"dataset {self}: the cache holds several configurations: {names}; give one as 'config'")
        name_of_config, version = found[0].parts[-3:-1]
        return Cache(
            dataset_name=name, repo_id=self.repo, config_name=name_of_config, version=version, hash=self.commit
        )

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}"


class _Damaged(ConnectionError):
    """Files are not what their checksum says."""


class _NotCached(ConnectionError):
    """The hub did not answer ``datasets``, which would have taken another commit from the cache."""


def _patiently(repo: str, ask: Callable[[], T]) -> T:
    """What ``ask`` gives; it is called again, with longer and longer pauses, while the hub does not answer."""
    for pause in (*_PAUSES, None):
        try:
            return ask()
        except Exception as error:
            if pause is None or not _unreachable(error) or _offline():
                raise
            logger.warning("%s: %s; trying again in %d s", repo, _why(error), pause)
            time.sleep(pause)
    raise AssertionError("unreachable")


def _offline() -> bool:
    from huggingface_hub import constants

    return constants.is_offline_mode()


def _why(error: Exception) -> str:
    return "HF_HUB_OFFLINE is set" if _offline() else f"the hub does not answer ({error})"


def _reference(repo: str, revision: str) -> Path:
    """Where the hub's cache keeps the commit that a revision stood for last."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"datasets--{repo.replace('/', '--')}" / "refs" / revision


def _cached_commit(repo: str, revision: str) -> str | None:
    try:
        commit = _reference(repo, revision).read_text().strip()
    except OSError:
        return None
    return commit if _COMMIT.fullmatch(commit) else None


def _remember_commit(repo: str, revision: str, commit: str) -> None:
    # As huggingface_hub does when it downloads from a revision by name; here files are downloaded by commit.
    path = _reference(repo, revision)
    try:
        if _cached_commit(repo, revision) != commit:
            with atomic_path(path) as temporary:
                temporary.write_text(commit)
    except OSError as error:
        logger.info("%s: cannot be written (%s): without network, %s will not be known", path, error, revision)


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _unreachable(error: BaseException) -> bool:
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    lost = (OfflineModeIsEnabled, httpx2.TransportError, ConnectionError, TimeoutError)
    return any(
        isinstance(each, lost) or (isinstance(each, HfHubHTTPError) and each.response.status_code in _PASSING)
        for each in _chain(error)
    )


def _explained(repo: str, revision: str, error: Exception) -> ElusiveError:
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub import errors

    where = f"dataset {repo}@{revision}"
    chain = _chain(error)
    said = str(error).split("\n\n")[0].strip() or type(error).__name__

    def of(*kinds: type[BaseException]) -> bool:
        return any(isinstance(each, kinds) for each in chain)

    if of(errors.GatedRepoError):
        advice = "it is gated: ask for access on its page and set HF_TOKEN to your token"
    elif of(errors.RevisionNotFoundError):
        advice = "there is no such revision: correct the key 'revision'"
    elif of(errors.RepositoryNotFoundError, DatasetNotFoundError):
        advice = "there is no such dataset, or it is private: correct the key 'dataset', or set HF_TOKEN to your token"
    elif "scripts are no longer supported" in said:
        advice = "it is a script, which is not run: try `revision: refs/convert/parquet`, the hub's own conversion"
    elif "BuilderConfig" in said or "Config name is missing" in said:
        advice = "correct the key 'config'"
    elif any(isinstance(each, OSError) and each.errno == errno.ENOSPC for each in chain):
        advice = "free some space, or set HF_HOME to a folder on another disk"
    elif _unreachable(error):
        if _offline():
            advice = "HF_HUB_OFFLINE is set, and this is not in the cache: unset it, set HF_HOME to where the cache is"
        else:
            advice = "the hub does not answer: check the network, HF_ENDPOINT and the proxies"
        advice += (
            ", or take the rows from elsewhere: with `source: archive` (or `sources`) where the archive has them, or "
            "with `source: file`"
        )
    else:
        return ElusiveError(f"{where}: cannot be loaded: {type(error).__name__}: {said}")
    return ElusiveError(f"{where}: {said}; {advice}")
