"""The laws themselves: how the log-likelihood of right choices, of wrong ones, and their margin move with N and D.

For each quantity the mean over items and choices under a checkpoint is fitted by a plane in n and d (a line in x where
these are not two axes) over the checkpoints that kriging learns from, by least squares. A slope's interval comes from
the covariance c H that ``path`` gives the residuals of such a mean, since they are not independent. Beside it stand the
numbers of the quantity's kernel, in units of the items' own scales.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import special

from elusive.forecast import margins
from elusive.forecast.kernel import Kernel
from elusive.forecast.methods import fit_kriging
from elusive.forecast.path import fit_path
from elusive.forecast.points import Axes
from elusive.forecast.scores import Scores

QUANTITIES = ("right", "wrong", "margin")
_NUMBERS = ("item_sd_n", "item_sd_d", "noise_sd", "length_n", "length_d", "c", "movement", "rho")
_SLOPES = tuple(f"slope_{axis}{end}" for axis in "nd" for end in ("", "_low", "_high"))


def plane(points: Axes, kernel: Kernel, mean: np.ndarray) -> tuple[np.ndarray, dict[str, float | None]]:
    """Coefficients of the least-squares plane of ``mean`` [T], and its slopes with their 95 % intervals.

    With A = (X'X)^-1 X', the covariance of the coefficients is A (c H) A', and an interval is that of a t with T - p
    degrees of freedom.
    """
    path = fit_path(points, kernel, mean)
    design = path.design
    operator = np.linalg.pinv(design)
    beta = operator @ mean
    factor = np.tril(path.factor[0])
    deviation = np.sqrt(((operator @ factor) ** 2).sum(axis=1) * path.c)
    free = len(points) - design.shape[1]
    reach = special.stdtrit(free, 0.975) * deviation if free > 0 else np.full(len(beta), np.nan)
    found: dict[str, float | None] = dict.fromkeys(_SLOPES)
    for axis, place in zip("nd", range(1, len(beta)), strict=False):
        found[f"slope_{axis}"] = float(beta[place])
        if free > 0:
            found[f"slope_{axis}_low"] = float(beta[place] - reach[place])
            found[f"slope_{axis}_high"] = float(beta[place] + reach[place])
    return beta, found


def laws_of(scores: Scores, family: str, benchmark: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of ``choice_laws`` and of ``choice_means``; where there is no law, rows that say so and means alone."""
    law, points, selected, status = fit_kriging(scores)
    rows = np.isin(np.arange(len(scores.flops)), selected)
    wrong = scores.right[:, :, None] - scores.margins
    values = {
        "right": scores.right,
        "wrong": wrong[:, scores.exists],
        "margin": scores.margins[:, scores.exists],
    }
    laws, means = [], []
    everywhere = points.at(scores.parameters, scores.tokens, scores.flops)
    for quantity in QUANTITIES:
        about = {"family": family, "benchmark": benchmark, "quantity": quantity}
        mean = values[quantity].mean(axis=1)
        numbers: dict[str, float | None] = dict.fromkeys((*_SLOPES, *_NUMBERS))
        fitted = np.full(len(mean), np.nan)
        if law is not None:
            series = _series(law, quantity, values[quantity][selected])
            beta, slopes = plane(points, series.kernel, mean[selected])
            fitted = everywhere.design(series.path.planes) @ beta
            numbers |= slopes | _numbers(series, law if quantity == "margin" else None)
        laws.append(
            about
            | numbers
            | {
                "both_axes": points.both,
                "num_models": len(selected),
                "num_items": len(scores.items),
                "status": status,
            }
        )
        means += [
            about
            | {
                "model": scores.models[i],
                "checkpoint": scores.checkpoints[i],
                "parameters": int(scores.parameters[i]),
                "tokens": int(scores.tokens[i]),
                "flops": float(scores.flops[i]),
                "mean": float(mean[i]),
                "fitted": None if np.isnan(fitted[i]) else float(fitted[i]),
                "selected": bool(rows[i]),
            }
            for i in range(len(mean))
        ]
    return laws, means


def _series(law: margins.Law, quantity: str, values: np.ndarray) -> margins.Series:
    if quantity == "wrong":
        return margins.fit_series(law.margins.points, values, with_skill=False)
    return law.margins if quantity == "margin" else law.right


def _numbers(series: margins.Series, law: margins.Law | None) -> dict[str, float | None]:
    kernel, both = series.kernel, series.points.both
    return {
        "item_sd_n": float(np.sqrt(kernel.vn)),
        "item_sd_d": float(np.sqrt(kernel.vd)) if both else None,
        "noise_sd": float(np.sqrt(kernel.ve)),
        "length_n": kernel.LN,
        "length_d": kernel.LD if both else None,
        "c": series.path.c,
        "movement": None if law is None else law.movement,
        "rho": None if law is None else law.rho,
    }
