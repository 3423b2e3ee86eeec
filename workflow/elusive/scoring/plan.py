"""Which tokens go through the model together: batches of rows, each row a run of requests that start alike.

The distinct inputs are sorted lexicographically and every row takes a run of neighbours. Inside a row each distinct
prefix occurs once, so that a row is a tree written in depth-first order: node j is an ancestor of node i, or i itself,
exactly if ``j <= i < ends[j]``. Without branching (models that can only run plain sequences) a row holds one input
and those that are its prefixes.

The plan depends on the requests and the limits alone, never on the machine's state, so that scoring twice gives the
same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from elusive.scoring.tokenize import Requests


@dataclass(frozen=True)
class Batch:
    """Rows that go through the model together, their nodes one after the other, and what to read from the output.

    The distribution behind node ``select[k]`` is needed; of it, pick m reads token ``pick_token[m]`` from
    ``k = pick_select[m]`` for request ``pick_request[m]``. Picks of a request are adjacent and in token order.
    """

    tokens: np.ndarray  # [nodes] int64
    positions: np.ndarray  # [nodes] int64, depth in the tree
    ends: np.ndarray  # [nodes] int64, one beyond the last node of the subtree, counted from the row's start
    row_lengths: np.ndarray  # [rows] int64
    select: np.ndarray  # [selected] int64, ascending
    pick_select: np.ndarray  # [picks] int64
    pick_token: np.ndarray  # [picks] int64
    pick_request: np.ndarray  # [picks] int64

    @property
    def num_requests(self) -> int:
        """How many requests the batch settles."""
        return len(np.unique(self.pick_request))


@dataclass
class _Row:
    tokens: list[np.ndarray]
    positions: list[np.ndarray]
    ends: np.ndarray
    length: int
    picks: list[tuple[np.ndarray, np.ndarray, int]]  # nodes, target tokens, request
    num_selected: int = 0


def plan(requests: Requests, token_budget: int, select_limit: int, branching: bool = False) -> list[Batch]:
    """Batches covering all requests, longest rows first.

    A batch has at most ``token_budget`` tokens, padding to its longest row included, and at most ``select_limit``
    selected nodes, except where a single row exceeds one of them.
    """
    rows = _rows(requests, branching)
    order = sorted(range(len(rows)), key=lambda i: -rows[i].length)  # stable: equal lengths stay in sorted order
    batches: list[Batch] = []
    start, widest, selected = 0, 0, 0
    for k, index in enumerate(order):
        row = rows[index]
        widest = max(widest, row.length)
        selected += row.num_selected
        if k > start and ((k - start + 1) * widest > token_budget or selected > select_limit):
            batches.append(_batch([rows[i] for i in order[start:k]]))
            start, widest, selected = k, row.length, row.num_selected
    if order:
        batches.append(_batch([rows[i] for i in order[start:]]))
    return batches


def halve(batch: Batch) -> tuple[Batch, Batch] | None:
    """The same work in two batches of half the rows, or None for a batch of one row."""
    rows = len(batch.row_lengths)
    if rows < 2:
        return None
    starts = np.concatenate([[0], np.cumsum(batch.row_lengths)])
    cut = int(starts[rows // 2])
    halves = []
    for low, high, lengths in (
        (0, cut, batch.row_lengths[: rows // 2]),
        (cut, len(batch.tokens), batch.row_lengths[rows // 2 :]),
    ):
        nodes = slice(low, high)
        first, last = np.searchsorted(batch.select, [low, high])
        picks = (batch.pick_select >= first) & (batch.pick_select < last)
        halves.append(
            Batch(
                tokens=batch.tokens[nodes],
                positions=batch.positions[nodes],
                ends=batch.ends[nodes],
                row_lengths=lengths,
                select=batch.select[first:last] - low,
                pick_select=batch.pick_select[picks] - first,
                pick_token=batch.pick_token[picks],
                pick_request=batch.pick_request[picks],
            )
        )
    return halves[0], halves[1]


def _common_prefix(a: np.ndarray, b: np.ndarray) -> int:
    shorter = min(len(a), len(b))
    different = a[:shorter] != b[:shorter]
    first = int(different.argmax()) if shorter else 0
    return first if shorter and different[first] else shorter


def _distinct(requests: Requests) -> list[tuple[np.ndarray, list[int]]]:
    """Distinct inputs in lexicographic order, each with the requests that have it."""
    big_endian = requests.tokens.astype(">i4")  # whose bytes sort as the numbers do
    users: dict[bytes, list[int]] = {}
    for i in range(len(requests)):
        users.setdefault(big_endian[requests.offsets[i] : requests.offsets[i + 1] - 1].tobytes(), []).append(i)
    return [(requests.fed(users[key][0]), users[key]) for key in sorted(users)]


def _rows(requests: Requests, branching: bool) -> list[_Row]:
    rows: list[_Row] = []
    previous: np.ndarray | None = None
    path = np.zeros(0, np.int64)  # nodes of the current input, by depth
    for sequence, users in _distinct(requests):
        shared = _common_prefix(previous, sequence) if previous is not None else 0
        new = len(sequence) - shared
        joins = previous is not None and (
            _worthwhile(shared, new, rows[-1].length) if branching else shared == len(previous)
        )
        if joins:
            row = rows[-1]
            # Nodes deeper than the fork have no further descendants.
            path = path[:shared]
        else:
            row = _Row([], [], np.zeros(0, np.int64), 0, [])
            rows.append(row)
            shared, new, path = 0, len(sequence), path[:0]
        nodes = np.arange(row.length, row.length + new)
        path = np.concatenate([path, nodes])
        row.tokens.append(sequence[shared:])
        row.positions.append(np.arange(shared, len(sequence)))
        row.length += new
        row.ends = np.concatenate([row.ends, nodes])
        row.ends[path] = row.length
        for request in users:
            targets = requests.targets(request)
            row.picks.append((path[len(path) - len(targets) :], targets, request))
        previous = sequence
    for row in rows:
        row.num_selected = len(np.unique(np.concatenate([nodes for nodes, _, _ in row.picks])))
    return rows


def _worthwhile(shared: int, new: int, length: int) -> bool:
    """Whether ``new`` nodes joining a row of ``length`` save more (``shared`` nodes) than their attention costs.

    A node costs about 24·width² operations a layer and each of the new·length pairs that joining adds to the row's
    attention 8·width: joining pays while shared·3·width > new·length. 256 stands for 3·width, on the careful side
    for all but the smallest models, where neither matters.
    """
    return shared * 256 > new * length


def _batch(rows: list[_Row]) -> Batch:
    lengths = np.array([row.length for row in rows], np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    picks = [
        (nodes + start, targets, request)
        for start, row in zip(starts[:-1].tolist(), rows, strict=True)
        for nodes, targets, request in row.picks
    ]
    select, pick_select = np.unique(np.concatenate([nodes for nodes, _, _ in picks]), return_inverse=True)
    return Batch(
        tokens=np.concatenate([t for row in rows for t in row.tokens]).astype(np.int64),
        positions=np.concatenate([p for row in rows for p in row.positions]),
        ends=np.concatenate([row.ends for row in rows]),
        row_lengths=lengths,
        select=select,
        pick_select=pick_select,
        pick_token=np.concatenate([targets for _, targets, _ in picks]).astype(np.int64),
        pick_request=np.repeat([request for _, _, request in picks], [len(targets) for _, targets, _ in picks]),
    )
