"""Whether a score that rises with compute does so because models choose better, which a change of size cannot feign.

When all log-likelihoods of an item shrink in size by a common factor, as when a model's temperature rises, its choices
stay in order and accuracy stays as it is. But every margin gets smaller: a wrong one, below 0, rises, and a right one
falls. Most items of a hard benchmark are wrong, so that the mean correlation of margins, shares and Brier scores with
compute rises without any skill. It cannot rise on both sides: what the wrong items gain, the right ones lose.

So items are split into those that models get right and those that they get wrong, and a score shows skill where it
follows compute on either side. An item's side must come from other checkpoints than those compared, or noise alone
would put it on the wrong one (an item that happens to be right at some checkpoint will be less so at others). So every
pair of checkpoints a, b is compared on the sides that the n - 2 others give: right in more than half of them, or in
fewer. Over all pairs and a side's items, the mean of ::

    sign(x_b - x_a) sign(y_b - y_a)

is Kendall's correlation with compute on that side, and shuffling compute among the checkpoints gives its p-value. Both
sides must be above what shuffled compute gives, at a level of 5 % each: of two sides that a change of size moves in
opposite directions one has no more than that chance. Each side needs as many items as an interval, and must be what it
is called: right (or wrong) in most of the pairs that it is compared on, which were not asked when it was chosen.

Each way of normalising log-likelihoods is looked at once, by its margin where there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from elusive.analysis.distributions import LEAST_ITEMS
from elusive.analysis.shuffles import Shuffles

#: Level of each side's test.
LEVEL = 0.05
#: Fewest checkpoints: two are compared on what three others say.
LEAST_CHECKPOINTS = 5

#: Way of normalising -> the accuracy that says which items are right, and the score that is followed on either side.
SIDES = {
    "plain": ("accuracy", "margin_log"),
    "per_byte": ("accuracy_per_byte", "margin_per_byte"),
    "per_char": ("accuracy_norm", "p_choices_correct_per_char"),
    "per_token": ("accuracy_per_token", "p_choices_correct_per_token"),
    "pmi": ("accuracy_pmi", "margin_pmi"),
}

# Items taken at a time: what a block needs stays in the processor's cache. No result depends on it.
_BLOCK = 2048


def normalisation(metric: str) -> str:
    """The key of :data:`SIDES` by which a score of any kind is judged."""
    if metric == "accuracy_norm":
        return "per_char"
    return next((name for name in SIDES if metric.endswith(f"_{name}")), "plain")


@dataclass(frozen=True)
class Skill:
    """Kendall's correlation with compute on the items that are right and on those that are wrong, and their p-values.

    NaN where a side has too few items or is not what it is called; ``shown`` says whether both sides follow compute,
    ``note`` why it cannot be told.
    """

    right: float
    wrong: float
    p_right: float
    p_wrong: float
    note: str | None

    @property
    def shown(self) -> bool:
        """Whether both sides are above what shuffled compute gives."""
        return self.p_right <= LEVEL and self.p_wrong <= LEVEL


def side_sums(accuracy: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every pair of checkpoints and side (right, wrong): int64 [pairs, 2] each.

    Signs of the change of ``scores`` [models, items] from the pair's first checkpoint to its second, summed over the
    side's items; how many these are; and how often ``accuracy`` [models, items] of 0 and 1 is 1 among them at the two.
    Pairs are in the order of ``np.triu_indices``. Items with a NaN belong to no side.
    """
    models = len(scores)
    known = ~(np.isnan(scores).any(axis=0) | np.isnan(accuracy).any(axis=0))
    pairs = models * (models - 1) // 2
    signs, counts, hits = np.zeros((3, pairs, 2), np.int64)
    columns = np.flatnonzero(known)
    for start in range(0, len(columns), _BLOCK):
        block = np.ascontiguousarray(scores[:, columns[start : start + _BLOCK]])
        correct = (accuracy[:, columns[start : start + _BLOCK]] > 0.5).astype(np.int16)
        # Twice the number of others that are right, less their number: above 0 on the right side.
        balance = 2 * correct.sum(axis=0, dtype=np.int16) - np.int16(models - 2)
        end = 0
        for a in range(models - 1):
            later = slice(a + 1, models)
            change = (block[later] > block[a]).view(np.int8) - (block[later] < block[a]).view(np.int8)
            both = correct[later] + correct[a]
            others = balance - 2 * both
            begin, end = end, end + models - 1 - a
            for side, members in enumerate((others > 0, others < 0)):
                signs[begin:end, side] += (change * members).sum(axis=1, dtype=np.int32)
                counts[begin:end, side] += np.count_nonzero(members, axis=1)
                hits[begin:end, side] += (both * members).sum(axis=1, dtype=np.int32)
    return signs, counts, hits


def skill(shuffles: Shuffles, followed: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, Skill]:
    """Whether scores follow compute on the items that are right and on those that are wrong.

    ``shuffles`` are those of the checkpoints' compute; ``followed`` maps names to accuracies [models, items], 1 for
    right and 0 for wrong, and scores [models, items].
    """
    models = len(shuffles.x)
    if models < LEAST_CHECKPOINTS:
        note = f"a check of skill needs {LEAST_CHECKPOINTS} checkpoints, here {models}"
        return {name: Skill(*[float("nan")] * 4, note) for name in followed}
    first, second = np.triu_indices(models, 1)
    order = np.sign(shuffles.x[second] - shuffles.x[first])
    matrices, notes = np.zeros((len(first), 2 * len(followed))), []
    for place, (accuracy, scores) in enumerate(followed.values()):
        signs, counts, hits = side_sums(accuracy, scores)
        totals = counts.sum(axis=0)
        notes.append(
            [
                _side_note(name, items, hit, len(first))
                for name, items, hit in zip(("right", "wrong"), totals, hits.sum(axis=0), strict=True)
            ]
        )
        matrices[:, 2 * place : 2 * place + 2] = signs / np.maximum(totals, 1)
    values = order @ matrices
    shares = shuffles.p_values(shuffles.pairs(matrices), values)
    result = {}
    for place, name in enumerate(followed):
        found = []
        for side in range(2):
            known = notes[place][side] is None
            at = 2 * place + side
            found.append((float(values[at]), float(shares[at])) if known else (float("nan"), float("nan")))
        (right, p_right), (wrong, p_wrong) = found
        result[name] = Skill(right, wrong, p_right, p_wrong, "; ".join(filter(None, notes[place])) or None)
    return result


def _side_note(name: str, items: int, hits: int, pairs: int) -> str | None:
    """Why nothing can be said of a side of so many ``items`` in all ``pairs`` of checkpoints together, which are
    ``hits`` times right at the two; None for a side that is what it is called."""
    if items < LEAST_ITEMS * pairs:
        return f"fewer than {LEAST_ITEMS} items are {name} at most checkpoints"
    share = hits / (2 * items)
    expected = share > 0.5 if name == "right" else share < 0.5
    return None if expected else f"items that are {name} at most checkpoints are not at the others"
