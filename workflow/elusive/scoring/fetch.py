"""Checkpoints of the hub for scoring, with their weights only where a table is missing.

The commit of a revision is asked for, and then the job looks at the finished tables as the scoring job will: with the
same fingerprints. Where there is a table for every benchmark, a directory that names the commit stands for the
checkpoint. Where other versions of libraries make it doubtful whether prompts still have the same tokens, configuration
and tokenizer come, and tell. Else everything does.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from elusive import logs
from elusive.errors import ElusiveError
from elusive.scoring.cells import Cell, Standing, cells, same_tokens
from elusive.scoring.spec import Spec
from elusive.scoring.tokenize import TokenCache
from elusive.tables import read_metadata

if TYPE_CHECKING:
    from elusive.hub.client import Hub, Listing

logger = logs.get(__name__)

_COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True)
class Finished:
    """What there is of a checkpoint: the finished tables below ``directory``, of the benchmarks with ``items`` tables.

    ``tokens`` has prompts as tokens, and ``pending`` says how many of the items tables are about to be made anew (None:
    not known yet).
    """

    items: Sequence[Path]
    directory: Path
    tokens: TokenCache
    pending: Callable[[], int | None] = lambda: 0

    def can_tell(self, spec: Spec, check: Callable[[], None], patience: float = 600.0, poll: float = 0.5) -> bool:
        """Whether there are tables, and items that they can be compared with, which is waited for.

        When nothing comes of the items for ``patience`` seconds they are taken for lost. ``check`` may raise.
        """
        place = self.directory / spec.model / spec.checkpoint
        if not all((place / path.name).is_file() for path in self.items):
            return False
        before, changed = self.pending(), time.monotonic()
        while (pending := self.pending()) != 0:
            check()
            if pending != before:
                before, changed = pending, time.monotonic()
            elif time.monotonic() - changed > patience:
                logger.warning("items have been waited for %.0f s; weights are downloaded without them", patience)
                return False
            time.sleep(poll)
        return all(path.is_file() for path in self.items)

    def cells(self, spec: Spec, commit: str) -> list[Cell]:
        """The cells of a job on everything, which would write the finished tables themselves."""
        outputs = [self.directory / spec.model / spec.checkpoint / path.name for path in self.items]
        return cells(spec, commit, self.items, outputs)

    def commits(self, spec: Spec) -> set[str]:
        """The commits that the revision asked for was when its tables were made."""
        found = set()
        for path in (self.directory / spec.model / spec.checkpoint).glob("*.parquet"):
            try:
                metadata = read_metadata(path)
            except ElusiveError:
                continue
            if (metadata.get("repo"), metadata.get("reference")) == (spec.repo, spec.revision):
                found.add(metadata["revision"])
        return found


def fetch(
    hub: Hub,
    spec: Spec,
    output: Path,
    partial: Path,
    finished: Finished | None = None,
    wait: Callable[[], None] = lambda: None,
    check: Callable[[], None] = lambda: None,
) -> bool:
    """Make ``output`` the directory of the checkpoint ``spec``, a revision of a repository; whether it has weights.

    It has them where ``finished`` lacks a table, or is not given. ``wait`` is called before weights are downloaded, and
    ``check`` now and then; both may raise. Raises :class:`ElusiveError`.
    """
    from elusive.hub.download import download, leave_out

    if finished and not finished.can_tell(spec, check):
        finished = None
    label = f"{spec.model}/{spec.checkpoint}"
    commit, listing = _commit(hub, spec, finished)
    standings = {cell: cell.standing(cell.output) for cell in finished.cells(spec, commit)} if finished else {}
    unsure = [cell for cell, worth in standings.items() if worth is Standing.IF_TOKENS]
    if standings and Standing.NOTHING not in standings.values() and not unsure:
        leave_out(spec.repo, spec.revision, commit, output)
        logger.info("%s is commit %s: its %d tables are there, no weights are needed", label, commit, len(standings))
        return False
    listing = listing or hub.list(spec.repo, spec.revision)
    places = (hub, spec.repo, spec.revision, output, partial, spec.trust_remote_code, listing)
    if unsure and Standing.NOTHING not in standings.values():
        from elusive.configuration.directory import CheckpointDirectory

        download(*places, weights=False, check=check)
        checkpoint = CheckpointDirectory.open(output, spec.revision, spec.repo)
        if len(same_tokens(spec, checkpoint, unsure, finished.tokens)) == len(unsure):
            logger.info("%s: other versions of libraries give the same tokens, no weights are needed", label)
            return False
    wait()
    download(*places, check=check)
    return True


def _commit(hub: Hub, spec: Spec, finished: Finished | None) -> tuple[str, Listing | None]:
    """The commit of the revision, and what the hub said of it where it was asked."""
    if finished and _COMMIT.fullmatch(spec.revision):
        return spec.revision, None
    try:
        listing = hub.list(spec.repo, spec.revision)
    except ElusiveError:
        commits = finished.commits(spec) if finished and hub.is_offline else set()
        if len(commits) != 1:
            raise
        (commit,) = commits
        logger.warning("HF_HUB_OFFLINE is set: %s is taken to be the commit %s, as before", spec.revision, commit)
        return commit, None
    return listing.commit, listing
