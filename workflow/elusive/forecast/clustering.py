"""Difficulty clustering: forecast what improves regularly, and map it to the whole (Xu et al. 2025, arXiv 2502.17262).

Items are grouped by how they improve: by their p_choices, averaged over four groups of checkpoints in order of compute.
Each group's mean score gets a law that saturates, ``laws.log_accuracy_norm``. Groups whose score rises with compute
beyond its scatter (the slope of a line at least twice its standard error) are the predictable subset. Its forecast is
the mean of its groups' forecasts, and the whole follows from a line of the whole's score on the subset's over the
checkpoints. Without a predictable group the forecast is the last value.

The paper clusters pass rates of repeated answers by a mean shift, and maps by a quartic through (0, 0) and (1, 1); here
there is one probability an item, k-means from a start that the data fix, and too few checkpoints for a quartic.
"""

from __future__ import annotations

import numpy as np

from elusive.forecast.laws import Means, log_accuracy_norm
from elusive.forecast.points import Axes

_GROUPS = 4
_ITEMS_A_CLUSTER = 30
_MOST_CLUSTERS = 10
_ITERATIONS = 100
_LEAST_RISE = 1e-9


def difficulty_features(p_choices: np.ndarray) -> np.ndarray:
    """Mean p_choices [items, up to 4] over groups of neighbouring checkpoints of ``p_choices`` [points, items]."""
    parts = np.array_split(np.arange(len(p_choices)), min(_GROUPS, len(p_choices)))
    return np.stack([p_choices[part].mean(axis=0) for part in parts], axis=1)


def cluster(features: np.ndarray) -> np.ndarray:
    """Number of each item's cluster, int64 [items]: k-means from the quantiles of the items' mean feature.

    An item between two centres goes to the first. Depends on no random number and on no order of the items.
    """
    count = int(np.clip(len(features) // _ITEMS_A_CLUSTER, 1, _MOST_CLUSTERS))
    order = np.lexsort((*features.T, features.mean(axis=1)))
    centres = np.stack([features[part].mean(axis=0) for part in np.array_split(order, count)])
    labels = np.full(len(features), -1)
    for _ in range(_ITERATIONS):
        distance = ((features[:, None, :] - centres[None]) ** 2).sum(axis=2)
        found = distance.argmin(axis=1)
        if (found == labels).all():
            break
        labels = found
        for number in range(count):
            if (labels == number).any():
                centres[number] = features[labels == number].mean(axis=0)
    return labels


def _rises(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether the slope of y on x is at least twice its standard error, and above 0."""
    centred = x - x.mean()
    size = centred @ centred
    if len(x) < 3 or not size > 0 or np.ptp(y) < _LEAST_RISE:
        return False
    slope = centred @ y / size
    residual = y - y.mean() - slope * centred
    return bool(slope > 0 and slope >= 2 * np.sqrt(residual @ residual / (len(x) - 2) / size))


def clusters(
    values: np.ndarray, p_choices: np.ndarray, guess: np.ndarray, points: Axes, last: float, targets: Axes
) -> np.ndarray:
    """Forecasts [targets] of the mean of ``values``, accuracy or p_choices of every item, [points, items].

    ``guess`` [items] is 1/K, ``last`` what is forecast without a predictable group.
    """
    labels = cluster(difficulty_features(p_choices))
    chosen = np.zeros(values.shape[1], dtype=bool)
    forecast = np.zeros(len(targets))
    for number in np.unique(labels):
        members = labels == number
        y = values[:, members].mean(axis=1)
        if not _rises(points.x, y):
            continue
        chosen |= members
        law = log_accuracy_norm(Means(points, y, y, y, float(y[-1]), float(guess[members].mean())))
        forecast += members.sum() * law(targets)
    if not chosen.any():
        return np.full(len(targets), last)
    subset, whole = values[:, chosen].mean(axis=1), values.mean(axis=1)
    centred = subset - subset.mean()
    size = centred @ centred
    slope = centred @ whole / size if size > 0 else 0.0
    return np.clip(whole.mean() + slope * (forecast / chosen.sum() - subset.mean()), 0, 1)
