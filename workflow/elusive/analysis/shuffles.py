"""Compute shuffled among a family's checkpoints: what a mean over items is when scores have nothing to do with compute.

Items share their checkpoints, so that the mean of many items' correlations strays almost as far by chance as that of
one. Shuffling gives the distribution: if scores and compute have nothing to do with each other, every order of the
checkpoints' compute is equally likely, whatever the scores have in common. One order goes with all items and scores.

All orders are taken of up to :data:`ENUMERATED` checkpoints, which makes the test exact; of more, :data:`DRAWS` with a
fixed seed. The p-value of a value is the share of the orders that give as much or more, the observed one among them:
the least that it can be is 1 over the number of different orders. Values are compared with a tolerance, since sums of
equal numbers in another order differ by rounding.

The means are linear in what a score's items have in common: Pearson's and Spearman's correlation is the product of two
centred columns of length 1 (of values, or ranks), Kendall's the sum over pairs of checkpoints of two signs. So each
order takes one product with a vector of the score, or a matrix of pairs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

#: Every order of up to so many checkpoints is taken; of more, so many are drawn.
ENUMERATED, DRAWS = 8, 5000
#: One-sided level of a band's ends and of "above what shuffled compute gives".
LEVEL = 0.025

# Values of size up to 1 that differ by less are equal, and so are values in units of their deviation.
_TOLERANCE, _SCALED = 1e-6, 1e-4
# Factors are rounded to multiples of these, so that every sum of their products is exact, and no number of threads
# changes a bit: of two factors, and of one that is multiplied by -1, 0 or 1.
_TWO, _ONE = 2.0**26, 2.0**32
# Pairs × orders looked at in one go, which bounds the memory.
_BLOCK = 8_000_000


@dataclass(frozen=True)
class Shuffles:
    """Orders of a family's compute: ``orders`` int64 [orders, models], each a permutation of the rows of ``x``.

    ``x`` [models] is compute, as it is or its logarithm; ``exact`` says whether they are all orders.
    """

    x: np.ndarray
    orders: np.ndarray
    exact: bool

    @classmethod
    def of(cls, x: np.ndarray) -> Shuffles:
        """For checkpoints at ``x`` [models]."""
        models = len(x)
        if models <= ENUMERATED:
            orders = np.array(list(itertools.permutations(range(models))), np.int64)
            return cls(x, orders.reshape(math.factorial(models), models), True)
        rows = np.tile(np.arange(models), (DRAWS, 1))
        return cls(x, np.random.default_rng(models).permuted(rows, axis=1), False)

    @cached_property
    def least(self) -> float:
        """The smallest p-value that any scores could have."""
        same = np.unique(self.x, return_counts=True)[1]
        orders = math.factorial(len(self.x)) // math.prod(math.factorial(int(count)) for count in same)
        return max(1 / orders, 0.0 if self.exact else 1 / (len(self.orders) + 1))

    @cached_property
    def conclusive(self) -> bool:
        """Whether any scores could be above the band: not with four checkpoints or fewer."""
        return self.least <= LEVEL

    def note(self) -> str | None:
        """Why nothing can be said of this family's scores, or None."""
        if self.conclusive:
            return None
        share = f"1 time in {round(1 / self.least)}"
        return f"{len(self.x)} checkpoints: too few, the best of all orders of compute comes by chance {share}"

    @cached_property
    def values(self) -> np.ndarray:
        """``x`` centred and of length 1, in every order: float64 [orders, models]; zeros for a constant."""
        return rounded(_unit(self.x), _TWO)[self.orders]

    @cached_property
    def ranks(self) -> np.ndarray:
        """The same of the ranks of ``x``."""
        return rounded(_unit(np.sign(self.x[:, None] - self.x).sum(axis=1)), _TWO)[self.orders]

    def products(self, columns: np.ndarray, method: str) -> np.ndarray:
        """Mean Pearson or Spearman correlations in every order: float64 [orders, scores].

        ``columns`` [models, scores] holds of each score the mean over items of its values' (or ranks') columns, which
        are centred and of length 1, or 0 where there is no correlation.
        """
        return (self.values if method == "pearson" else self.ranks) @ rounded(columns, _TWO)

    @cached_property
    def changes(self) -> np.ndarray:
        """Sign of compute b - a for the pairs of checkpoints a < b in every order: int8 [orders, pairs]."""
        first, second = np.triu_indices(len(self.x), 1)
        codes = np.unique(self.x, return_inverse=True)[1].astype(np.int16)
        result = np.empty((len(self.orders), len(first)), np.int8)
        step = max(1, _BLOCK // max(len(first), 1))
        for start in range(0, len(self.orders), step):
            rows = codes[self.orders[start : start + step]]
            result[start : start + step] = np.clip(rows[:, second] - rows[:, first], -1, 1)
        return result

    def pairs(self, matrices: np.ndarray) -> np.ndarray:
        """Sum over the pairs of checkpoints a < b of the sign of compute b - a times ``matrices``: [orders, scores].

        ``matrices`` [pairs, scores] is in the order of ``np.triu_indices``.
        """
        step, matrices = max(1, _BLOCK // max(len(matrices), 1)), rounded(matrices)
        parts = [
            self.changes[start : start + step].astype(np.float64) @ matrices
            for start in range(0, len(self.orders), step)
        ]
        return np.concatenate(parts)

    def p_values(self, shuffled: np.ndarray, observed: np.ndarray, tolerance: float = _TOLERANCE) -> np.ndarray:
        """Share of the orders, the observed one among them, in which ``shuffled`` [orders, scores] is no less than
        ``observed`` [scores]: float64 [scores]."""
        count = (shuffled >= observed - tolerance).sum(axis=0)
        return count / len(shuffled) if self.exact else (count + 1) / (len(shuffled) + 1)

    def band(self, shuffled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The band outside of which p-values are at most :data:`LEVEL` on either side: two float64 [scores].

        Of ``shuffled`` [orders, scores]. Its ends are values of the shuffles, beyond which on either side lie at most
        a share LEVEL of them.
        """
        beyond = math.floor(LEVEL * len(shuffled) + 1e-9)
        if not self.exact:
            beyond = max(math.floor(LEVEL * (len(shuffled) + 1) + 1e-9) - 1, 0)
        found = np.partition(shuffled, (beyond, len(shuffled) - 1 - beyond), axis=0)
        return found[beyond], found[-1 - beyond]


def rounded(values: np.ndarray, unit: float = _ONE) -> np.ndarray:
    """``values`` rounded to multiples of 1/``unit``."""
    return np.rint(values * unit) / unit


def _unit(x: np.ndarray) -> np.ndarray:
    """``x`` [models] centred and of length 1; zeros where it is constant."""
    x = np.asarray(x, np.float64)
    centred = x - x.mean() if len(x) and np.ptp(x) > 0 else np.zeros(len(x))
    length = np.sqrt((centred**2).sum())
    return centred / length if length > 0 else centred


def adjusted_p_values(
    shuffles: Shuffles, shuffled: Mapping[str, np.ndarray], observed: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """p-values corrected for choosing the best of all scores, by the distribution of the best under shuffled compute.

    ``shuffled`` maps each method to [orders, scores], ``observed`` to [scores]. Each score is taken in units of its own
    deviation over the orders; its p-value is the share of the orders in which any score under any method is as many
    above 0 (Westfall and Young 1993, single step). So the chance that anything comes below a level is at most that
    level. A score that no order moves has 1.
    """
    spread = {method: np.sqrt((values**2).mean(axis=0)) for method, values in shuffled.items()}
    best = np.full(len(shuffles.orders), -np.inf)
    for method, values in shuffled.items():
        moving = spread[method] > _TOLERANCE
        if moving.any():
            best = np.maximum(best, (values[:, moving] / spread[method][moving]).max(axis=1))
    result = {}
    for method, values in observed.items():
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = np.where(spread[method] > _TOLERANCE, values / spread[method], -np.inf)
        result[method] = np.where(
            np.isinf(scaled),
            1.0,
            shuffles.p_values(np.broadcast_to(best[:, None], (len(best), len(scaled))), scaled, _SCALED),
        )
    return result
