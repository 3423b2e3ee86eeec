"""The log-likelihoods of a family on a benchmark, arranged as margins of the right choice over each wrong one.

Items are sorted by their ids and wrong choices by their index, so that no result depends on the order of the rows of
a table. An item with fewer choices than another has fewer margins: those it lacks are masked, never padded with
numbers that a sum could meet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from elusive.analysis.metrics import Choices, FilePath, Member, by_checkpoint, match_choices
from elusive.errors import ElusiveError
from elusive.tables import read_table

#: Metrics that are forecast: column of the metrics tables -> whether a larger value is better.
METRICS = {"accuracy": True, "p_choices_correct": True, "brier": False, "log_p_vocab_correct": True}


@dataclass(frozen=True)
class Scores:
    """What every checkpoint of a family says of a benchmark's items.

    ``parameters``, ``tokens`` and ``flops`` are float64 [checkpoints], sorted by flops, parameters, model and
    checkpoint, all above 0. ``right`` [checkpoints, items] is the log-likelihood l_c of the right choice in nats,
    ``margins`` [checkpoints, items, wrong] the differences l_c - l_k to each wrong choice, 0 where ``exists`` [items,
    wrong] is false. ``wins_ties`` [items, wrong] says whether the right choice comes before the wrong one, and so wins
    when both are as likely. ``subjects`` [items] may hold None.
    """

    models: tuple[str, ...]
    checkpoints: tuple[str, ...]
    parameters: np.ndarray
    tokens: np.ndarray
    flops: np.ndarray
    items: tuple[str, ...]
    subjects: tuple[str | None, ...]
    right: np.ndarray
    margins: np.ndarray
    exists: np.ndarray
    wins_ties: np.ndarray

    @property
    def num_choices(self) -> np.ndarray:
        """K, int64 [items]."""
        return self.exists.sum(axis=1) + 1

    @property
    def chance(self) -> float:
        """Expected accuracy of guessing: the mean of 1/K."""
        return float((1 / self.num_choices).mean())

    def of_checkpoints(self, rows: np.ndarray) -> Scores:
        """The same for the checkpoints at ``rows``, in that order."""
        return replace(
            self,
            models=tuple(self.models[i] for i in rows),
            checkpoints=tuple(self.checkpoints[i] for i in rows),
            parameters=self.parameters[rows],
            tokens=self.tokens[rows],
            flops=self.flops[rows],
            right=self.right[rows],
            margins=self.margins[rows],
        )

    def of_items(self, rows: np.ndarray) -> Scores:
        """The same for the items at ``rows``, in that order."""
        wrong = max(int(self.exists[rows].sum(axis=1).max(initial=1)), 1)
        return replace(
            self,
            items=tuple(self.items[i] for i in rows),
            subjects=tuple(self.subjects[i] for i in rows),
            right=self.right[:, rows],
            margins=self.margins[:, rows, :wrong],
            exists=self.exists[rows, :wrong],
            wins_ties=self.wins_ties[rows, :wrong],
        )

    def metrics(self) -> dict[str, np.ndarray]:
        """The metrics of :data:`METRICS` of every item, float64 [checkpoints, items]; see ``analysis.metrics``."""
        correct = (self.margins > 0) | ((self.margins == 0) & self.wins_ties) | ~self.exists
        p_right, brier = shares(self.margins, self.exists, self.num_choices)
        return {
            "accuracy": correct.all(axis=2).astype(np.float64),
            "p_choices_correct": p_right,
            "brier": brier,
            "log_p_vocab_correct": self.right,
        }


def shares(margins: np.ndarray, exists: np.ndarray, num_choices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The right choice's share of the probability, and the Brier score, of ``margins`` [..., items, wrong].

    p_c = 1 / (1 + sum_k exp(-m_k)), p_k = exp(-m_k) p_c; Brier = ((1 - p_c)² + sum_k p_k²) / K. ``exists`` is
    [items, wrong], ``num_choices`` [items]. Both results are [..., items].
    """
    odds = np.where(exists, -margins, -np.inf)
    top = np.maximum(odds.max(axis=-1), 0)
    weights = np.exp(odds - top[..., None])
    total = weights.sum(axis=-1)
    own = np.exp(-top)
    p_wrong = weights / (own + total)[..., None]
    wrong = total / (own + total)
    return own / (own + total), (wrong**2 + (p_wrong**2).sum(axis=-1)) / num_choices


def arrange(
    members: Sequence[Member], choices: Choices, log_likelihood: np.ndarray, subjects: Sequence[str | None]
) -> Scores:
    """Scores of ``log_likelihood`` [members, rows of ``choices.frame``], in nats. Members without FLOPs are left out.

    Raises :class:`ElusiveError` where no member is left.
    """
    names = choices.items["item"].to_pylist()
    order = np.array(sorted(range(len(names)), key=names.__getitem__))
    count, most = len(names), int(choices.num_choices.max())
    start = np.cumsum(choices.num_choices) - choices.num_choices
    # Column of every wrong choice in the rows of the frame, an item's own first row where it has none.
    exists = np.arange(most - 1) < (choices.num_choices - 1)[:, None]
    wrong = np.arange(most - 1) + (np.arange(most - 1) >= choices.gold[:, None])
    columns = np.where(exists, start[:, None] + wrong, start[:, None])
    rows = [i for i, member in enumerate(members) if member["flops"] > 0]
    keys = ("flops", "parameters", "model", "checkpoint")
    rows.sort(key=lambda i: tuple(members[i][key] for key in keys))
    if not rows:
        raise ElusiveError("no checkpoint of the family has any training compute: there is nothing to forecast from")
    log_likelihood = log_likelihood[rows]
    right = log_likelihood[:, start + choices.gold]
    others = log_likelihood[:, columns.ravel()].reshape(-1, *exists.shape)
    margins = np.where(exists, right[:, :, None] - others, 0)

    def column(name: str) -> np.ndarray:
        return np.array([members[i][name] for i in rows], dtype=np.float64)

    return Scores(
        models=tuple(members[i]["model"] for i in rows),
        checkpoints=tuple(members[i]["checkpoint"] for i in rows),
        parameters=column("parameters"),
        tokens=column("tokens"),
        flops=column("flops"),
        items=tuple(names[i] for i in order),
        subjects=tuple(subjects[i] for i in order),
        right=right[:, order],
        margins=margins[:, order],
        exists=exists[order],
        wins_ties=(choices.gold[:, None] < wrong)[order] if count else exists,
    )


class Reader:
    """The log-likelihoods of a benchmark's checkpoints, each table read once however many families it is of."""

    def __init__(self, logprobs: Sequence[FilePath], items: FilePath) -> None:
        """``logprobs`` holds tables over the items of the table ``items``, one a checkpoint, in any order."""
        table = read_table(items, "items", columns=["item", "subject", "gold", "num_choices"])
        self._items = items
        self._choices = Choices.of(table, items)
        self._subjects = table["subject"].to_pylist()
        self._paths = by_checkpoint(logprobs)
        self._read: dict[tuple[str, str], np.ndarray] = {}

    def scores(self, members: Sequence[Member]) -> Scores:
        """The scores of ``members``, a family as the registry describes it.

        Raises :class:`ElusiveError` for a member without a table, and where a table does not fit the items.
        """
        trained = [member for member in members if member["flops"] > 0]
        columns = [self._column((member["model"], member["checkpoint"])) for member in trained]
        matrix = np.stack(columns) if columns else np.zeros((0, len(self._choices.frame)))
        return arrange(trained, self._choices, matrix, self._subjects)

    def _column(self, key: tuple[str, str]) -> np.ndarray:
        if key not in self._paths:
            raise ElusiveError(f"{self._items}: no log-likelihoods of {'/'.join(key)} on its items")
        if key not in self._read:
            path = self._paths[key]
            matched = match_choices(self._choices, read_table(path, "logprobs"), path)
            self._read[key] = matched["log_likelihood"].to_numpy()
        return self._read[key]


def read_scores(*, logprobs: Sequence[FilePath], items: FilePath, members: Sequence[Member]) -> Scores:
    """The scores of ``members`` from their tables: see :class:`Reader`."""
    return Reader(logprobs, items).scores(members)


def by_subject(scores: Scores) -> Mapping[str, Scores]:
    """The scores of each subject's items, by subject; nothing where items have none."""
    names = sorted({name for name in scores.subjects if name is not None})
    subjects = np.array(scores.subjects, dtype=object)
    return {name: scores.of_items(np.flatnonzero(subjects == name)) for name in names}
