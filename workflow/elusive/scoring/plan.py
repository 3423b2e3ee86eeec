"""Which tokens go through the model together: batches of rows, each row a run of requests that start alike.

The distinct inputs are sorted lexicographically and every row takes a run of neighbours. Inside a row each distinct
prefix occurs once, so that a row is a tree written in depth-first order: node j is an ancestor of node i, or i itself,
exactly if ``j <= i < ends[j]``. Neighbouring rows that begin with the same tokens (few-shot examples, a subject's
description) form a group whose prefix is run once and stays out of the rows. Without branching (models that can only
run plain sequences) a row holds one input and those that are its prefixes, and there are no groups.

The plan depends on the requests and the limits alone, never on the machine's state, so that scoring twice gives the
same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from elusive.scoring.tokenize import Requests

#: Tokens whose computing takes as long as putting a prefix before one more row.
_ROW_COST = 2


@dataclass(frozen=True)
class Limits:
    """What shapes a plan.

    ``tokens`` and ``selected`` bound a batch: its tokens, padding to the longest row included, and the distributions
    that are read, except where a single row exceeds one of them. ``branching`` says whether rows may be trees. An
    input joins a row where that saves more than it costs: its ``shared`` tokens against the pairs of its new nodes
    and the row's, which the row's attention then computes in vain. ``pairs_per_token`` pairs take as long as a token.
    No row grows beyond ``row`` tokens by an input that joins it, since others in its batch are padded to it. A group is
    formed where it saves more than ``group_cost`` tokens, for its batches are less full. With ``one_length`` every row
    is an input by itself and the rows of a batch are equally long.
    """

    tokens: int
    selected: int = 1 << 62
    branching: bool = False
    pairs_per_token: int = 256
    group_cost: int = 512
    row: int = 1 << 62
    one_length: bool = False


@dataclass(frozen=True)
class Batch:
    """Rows that go through the model together, their nodes one after the other, and what to read from the output.

    The distribution behind node ``select[k]`` is needed; of it, pick m reads token ``pick_token[m]`` from
    ``k = pick_select[m]`` for request ``pick_request[m]``. Picks of a request are adjacent and in token order.
    """

    prefix: np.ndarray  # [prefix] int64, tokens before every row
    tokens: np.ndarray  # [nodes] int64
    positions: np.ndarray  # [nodes] int64, place in the input: length of the prefix + depth in the tree
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


@dataclass(frozen=True)
class _Inputs:
    """The distinct inputs in lexicographic order."""

    sequences: list[np.ndarray]
    users: list[list[int]]  # requests that have the input
    shared: np.ndarray  # [inputs] tokens in common with the input before, 0 for the first
    first_read: np.ndarray  # [inputs] the first position behind which a distribution is needed


def plan(requests: Requests, limits: Limits) -> list[Batch]:
    """Batches covering all requests: groups in lexicographic order, then the other rows; the longest rows first."""
    inputs = _distinct(requests)
    groups = _groups(inputs, limits) if limits.branching and not limits.one_length else []
    batches: list[Batch] = []
    alone: list[_Row] = []
    done = 0
    for first, last, length in [*groups, (len(inputs.sequences), len(inputs.sequences), 0)]:
        alone += _rows(requests, inputs, limits, done, first, 0)
        prefix = inputs.sequences[first][:length] if length else np.zeros(0)
        batches += _batches(prefix, _rows(requests, inputs, limits, first, last, length), limits)
        done = last
    return batches + _batches(np.zeros(0), alone, limits)


def _batches(prefix: np.ndarray, rows: list[_Row], limits: Limits) -> list[Batch]:
    rows = sorted(rows, key=lambda row: -row.length)  # stable: equal lengths stay in lexicographic order
    batches: list[Batch] = []
    copies = len(prefix) // 8  # every row has its own copy of the prefix's keys and values
    start, widest, selected = 0, 0, 0
    for k, row in enumerate(rows):
        widest = max(widest, row.length)
        selected += row.num_selected
        full = (k - start + 1) * (widest + copies) > limits.tokens or selected > limits.selected
        if k > start and (full or (limits.one_length and row.length < widest)):
            batches.append(_batch(prefix, rows[start:k]))
            start, widest, selected = k, row.length, row.num_selected
    if rows:
        batches.append(_batch(prefix, rows[start:]))
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
                prefix=batch.prefix,
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


def _distinct(requests: Requests) -> _Inputs:
    big_endian = requests.tokens.astype(">i4")  # whose bytes sort as the numbers do
    users: dict[bytes, list[int]] = {}
    for i in range(len(requests)):
        users.setdefault(big_endian[requests.offsets[i] : requests.offsets[i + 1] - 1].tobytes(), []).append(i)
    ordered = [users[key] for key in sorted(users)]
    sequences = [requests.fed(some[0]) for some in ordered]
    shared = [_common_prefix(a, b) for a, b in pairwise(sequences)]
    first_read = [
        len(sequence) - max(int(requests.num_targets[i]) for i in some)
        for sequence, some in zip(sequences, ordered, strict=True)
    ]
    return _Inputs(sequences, ordered, np.array([0, *shared], np.int64), np.array(first_read, np.int64))


def _joins(inputs: _Inputs, limits: Limits, k: int, length: int, prefix: int) -> bool:
    """Whether input k belongs into the row of input k - 1, which has ``length`` nodes."""
    if limits.one_length:
        return False
    shared = int(inputs.shared[k])
    if not limits.branching:
        return shared == len(inputs.sequences[k - 1])
    new = len(inputs.sequences[k]) - shared
    return length + new <= limits.row and (shared - prefix) * limits.pairs_per_token > new * length


def _rows(requests: Requests, inputs: _Inputs, limits: Limits, first: int, last: int, prefix: int) -> list[_Row]:
    """Rows of the inputs ``first`` to ``last``, without their first ``prefix`` tokens."""
    rows: list[_Row] = []
    path = np.zeros(0, np.int64)  # nodes of the current input, by depth
    for k in range(first, last):
        sequence = inputs.sequences[k]
        if rows and _joins(inputs, limits, k, rows[-1].length, prefix):
            row, shared = rows[-1], int(inputs.shared[k])
            path = path[: shared - prefix]  # nodes deeper than the fork get no further descendants
        else:
            row, shared = _Row([], [], np.zeros(0, np.int64), 0, []), prefix
            rows.append(row)
            path = path[:0]
        nodes = np.arange(row.length, row.length + len(sequence) - shared)
        path = np.concatenate([path, nodes])
        row.tokens.append(sequence[shared:])
        row.positions.append(np.arange(shared, len(sequence)))
        row.length += len(nodes)
        row.ends = np.concatenate([row.ends, nodes])
        row.ends[path] = row.length
        for request in inputs.users[k]:
            targets = requests.targets(request)
            row.picks.append((path[len(path) - len(targets) :], targets, request))
    for row in rows:
        row.num_selected = len(np.unique(np.concatenate([nodes for nodes, _, _ in row.picks])))
    return rows


def _groups(inputs: _Inputs, limits: Limits) -> list[tuple[int, int, int]]:
    """Runs of inputs as (first, last, length of the prefix that is run once), in order.

    Among all ways to group neighbouring rows by a common prefix this takes the one that saves the most tokens, by
    way of the tree of intervals whose inputs share their first so many tokens.
    """
    count = len(inputs.sequences)
    starts, length = [], 0
    for k in range(count):
        if k and _joins(inputs, limits, k, length, 0):
            length += len(inputs.sequences[k]) - int(inputs.shared[k])
        else:
            starts.append(k)
            length = len(inputs.sequences[k])
    # What row r may share: no more than its own inputs do, and nothing that is read.
    bounds = zip(starts, [*starts[1:], count], strict=True)
    own = [int(min([*inputs.shared[a + 1 : b], *inputs.first_read[a:b]])) for a, b in bounds]
    common = [min(int(inputs.shared[starts[r]]), own[r - 1], own[r]) for r in range(1, len(starts))]

    # Open intervals: (shared tokens, first row, what the closed ones inside save, those that do).
    stack: list[tuple[int, int, int, list]] = []
    saved: tuple[int, list] = (0, [])
    for r, value in enumerate([*common, -1], start=1):
        first, saved = r - 1, (0, [])
        while stack and stack[-1][0] > value:
            shared, first, inner, chosen = stack.pop()
            saved = (inner + saved[0], chosen + saved[1])
            whole = (shared - _ROW_COST) * (r - 1 - first) - limits.group_cost
            if whole > saved[0]:
                saved = (whole, [(first, r, shared)])
        if stack and stack[-1][0] == value:
            shared, first, inner, chosen = stack.pop()
            saved = (inner + saved[0], chosen + saved[1])
        stack.append((value, first, *saved))
    edges = [*starts, count]
    return [(edges[first], edges[last], shared) for first, last, shared in saved[1]]


def _batch(prefix: np.ndarray, rows: list[_Row]) -> Batch:
    lengths = np.array([row.length for row in rows], np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    picks = [
        (nodes + start, targets, request)
        for start, row in zip(starts[:-1].tolist(), rows, strict=True)
        for nodes, targets, request in row.picks
    ]
    select, pick_select = np.unique(np.concatenate([nodes for nodes, _, _ in picks]), return_inverse=True)
    return Batch(
        prefix=prefix.astype(np.int64),
        tokens=np.concatenate([t for row in rows for t in row.tokens]).astype(np.int64),
        positions=np.concatenate([p for row in rows for p in row.positions]),
        ends=np.concatenate([row.ends for row in rows]),
        row_lengths=lengths,
        select=select,
        pick_select=pick_select,
        pick_token=np.concatenate([targets for _, targets, _ in picks]).astype(np.int64),
        pick_request=np.repeat([request for _, _, request in picks], [len(targets) for _, targets, _ in picks]),
    )
