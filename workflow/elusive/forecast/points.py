"""The checkpoints that a forecast learns from, and their coordinates: parameters, tokens and compute in decades.

The first steps of training follow other laws than the rest and ruin a fit to all of it, so that a forecast learns from
the last decade of tokens and the last decades of compute alone. Coordinates n = log10 N, d = log10 D and x = log10 C
are counted from their maxima over the points learnt from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Decades of d by which parameters must leave tokens undetermined for the two to count as two axes. Where tokens are a
#: fixed multiple of parameters, slopes on both cannot be told apart, and compute is the one axis that there is.
SEPARATE = 0.05


@dataclass(frozen=True)
class Axes:
    """Coordinates of checkpoints, float64 [checkpoints] each, counted from the maxima that ``origin`` (n, d, x) names.

    ``both`` says whether N and D vary independently among the points learnt from: else x is the only axis.
    """

    n: np.ndarray
    d: np.ndarray
    x: np.ndarray
    both: bool
    origin: tuple[float, float, float]

    def __len__(self) -> int:
        return len(self.x)

    def at(self, parameters: np.ndarray, tokens: np.ndarray, flops: np.ndarray) -> Axes:
        """Coordinates of other checkpoints, counted from the same origin."""
        n, d, x = (np.log10(values) for values in (parameters, tokens, flops))
        return Axes(n - self.origin[0], d - self.origin[1], x - self.origin[2], self.both, self.origin)

    def only(self, i: int) -> Axes:
        """The point at ``i`` alone."""
        return Axes(self.n[i : i + 1], self.d[i : i + 1], self.x[i : i + 1], self.both, self.origin)

    def design(self, planes: bool = True) -> np.ndarray:
        """Columns 1, n, d where both axes vary and ``planes`` are wanted, else 1, x: [checkpoints, 2 or 3]."""
        columns = [self.n, self.d] if self.both and planes else [self.x]
        return np.stack([np.ones(len(self)), *columns], axis=1)


def axes_of(parameters: np.ndarray, tokens: np.ndarray, flops: np.ndarray) -> Axes:
    """Coordinates of the points learnt from, counted from their own maxima."""
    n, d, x = (np.log10(values) for values in (parameters, tokens, flops))
    return Axes(n - n.max(), d - d.max(), x - x.max(), _separate(n, d), (n.max(), d.max(), x.max()))


def _separate(n: np.ndarray, d: np.ndarray) -> bool:
    """Whether both vary, and neither follows from the other."""
    if np.ptp(n) < SEPARATE or np.ptp(d) < SEPARATE:
        return False
    centred = n - n.mean()
    slope = centred @ (d - d.mean()) / (centred @ centred)
    residual = d - d.mean() - slope * centred
    return bool(np.sqrt((residual**2).mean()) >= SEPARATE)


def select(
    parameters: np.ndarray, tokens: np.ndarray, flops: np.ndarray, *, tokens_ratio: float, decades: float, least: int
) -> np.ndarray:
    """Rows of the checkpoints to learn from, ascending in compute, ties by parameters, then by tokens.

    Those with at least 1/``tokens_ratio`` of the largest number of tokens (all, if fewer than ``least`` have it); of
    these the ones within ``decades`` of the largest compute (if fewer than ``least``: the ``least`` largest).
    """
    order = np.lexsort((tokens, parameters, flops))
    late = order[tokens[order] >= tokens.max() / tokens_ratio * (1 - 1e-12)]
    if len(late) < least:
        late = order
    x = np.log10(flops)
    near = late[x[late] >= x.max() - decades - 1e-9]
    return near if len(near) >= least else late[-least:]


def select_for_kriging(parameters: np.ndarray, tokens: np.ndarray, flops: np.ndarray) -> np.ndarray:
    """The selection of the recommended method: D ≥ D_max / 10, then x ≥ x_max - 1.3, six points at least."""
    return select(parameters, tokens, flops, tokens_ratio=10, decades=1.3, least=6)


def select_for_laws(parameters: np.ndarray, tokens: np.ndarray, flops: np.ndarray) -> np.ndarray:
    """The selection of the laws of mean scores: D ≥ D_max / 15, then x ≥ x_max - 1, five points at least."""
    return select(parameters, tokens, flops, tokens_ratio=15, decades=1.0, least=5)
