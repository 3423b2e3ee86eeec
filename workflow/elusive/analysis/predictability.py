"""Predictability: which scores of a benchmark follow compute, which of them best, and whether that is skill.

For one family × benchmark × method, the scores are ranked by the headline statistic, the mean over items of the
correlation with compute, undefined ones counted as 0 (:mod:`elusive.analysis.headline`); ties go to the larger median,
then to the earlier in the metrics' order. There are two kinds, each with a ranking of its own:

- ``mass``: of the text of the right choice alone, or of all choices: they do not tell whether the model would choose
  right;
- ``comparison``: of the right choice with the wrong ones, as accuracy is.

The mass on wrong choices is no score and left out, and so is p_vocab but under Pearson: ranks do not see it.

A score is ``recommended`` when three things hold:

1. it ``follows`` compute: its mean is above what shuffled compute gives, at 5 % after correction for choosing among all
   scores and methods of the benchmark, so that in at most 5 % of the orders of compute anything is recommended; and its
   intervals over checkpoints, and over models where there are three, lie above 0;
2. there is ``skill``: the score's way of normalising log-likelihoods follows compute on the items that models get right
   and on those that they get wrong, which a change of their size cannot do (:mod:`elusive.analysis.skill`). For a mass
   that is the check of the plain margin;
3. it is ``tied`` with the best score of its kind of which the first two hold: the items' differences from it have an
   interval with 0 in it, for other items or for other checkpoints (or models). ``gap`` is the mean of these
   differences, with its intervals. Where the first two hold of no score, the best is that of rank 1.

``reason`` says which of these a score lacks, the first one, and is null for a recommended one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from elusive.analysis.correlations import METHODS
from elusive.analysis.distributions import Sample, distribution_statistics
from elusive.analysis.headline import MASSES, ORDER, is_score, zero_policy
from elusive.analysis.resampling import LEAST_CHECKPOINTS, Resampled, mean_interval
from elusive.analysis.skill import LEVEL as SIDE_LEVEL
from elusive.analysis.skill import SIDES, Skill, normalisation, skill

#: Level of the corrected p-value.
LEVEL = 0.05
KINDS = ("comparison", "mass")
_PARTITIONS = ("checkpoints", "models")


def skills(family: Resampled) -> dict[str, Skill]:
    """The check of skill of each way of normalising that the family's scores have."""
    followed = {
        name: (family.scores[right], family.scores[score])
        for name, (right, score) in SIDES.items()
        if right in family.scores and score in family.scores
    }
    return skill(family.shuffles, followed)


def rank_scores(family: Resampled, headline: list[dict[str, Any]], units: np.ndarray | None) -> list[dict[str, Any]]:
    """Rows of the table predictability, without family and benchmark: by method, kind and rank; NaN where undefined.

    ``headline`` are the rows of :func:`~elusive.analysis.headline.family_headline`; ``units`` [items] are equal for
    items drawn together, None for items drawn one by one.
    """
    about = {(row["metric"], row["method"]): row for row in headline}
    values, shown = zero_policy(family), skills(family)
    keys = [key for key in about if is_score(*key)]
    found = distribution_statistics(np.stack([values[key] for key in keys], axis=1), units)
    rows = []
    for method in sorted(METHODS):
        for kind in KINDS:
            own = []
            for i, (metric, by) in enumerate(keys):
                if by != method or (metric in MASSES) != (kind == "mass"):
                    continue
                row = {"method": method, "kind": kind, "metric": metric}
                row |= {
                    name: about[metric, method][name] for name in ("num_items", "num_models", "nan_fraction", "mean")
                }
                row |= {name: float(found[name][i]) for name in ("median", "median_low", "median_high")}
                row["fraction_above_075"] = float(found["fraction_above_075"][i])
                own.append(row | _judge(family, about[metric, method], _skill_of(shown, metric)))
            own.sort(key=lambda row: (-row["mean"], -row["median"], ORDER[row["metric"]]))
            if own:
                _compare(family, values, own, units)
            rows.extend(own)
    return rows


def _skill_of(shown: dict[str, Skill], metric: str) -> Skill | None:
    return shown.get("pmi" if metric.endswith("_pmi") else "plain" if metric in MASSES else normalisation(metric))


def _judge(family: Resampled, about: dict[str, Any], check: Skill | None) -> dict[str, Any]:
    """Whether a score follows compute and shows skill, and the first thing that it lacks of these."""
    row = {name: about[name] for name in ("p_value", "p_adjusted", "mean_checkpoints_low", "mean_models_low")}
    nan = float("nan")
    row |= {"skill_right": check.right if check else nan, "skill_wrong": check.wrong if check else nan}
    row["skill_p_value"] = max(check.p_right, check.p_wrong) if check else nan
    reason = None
    if about["note"]:
        reason = about["note"]
    elif "checkpoints" not in family.partitions:
        reason = f"{len(family.x)} checkpoints: an interval over checkpoints needs {LEAST_CHECKPOINTS}"
    elif not row["p_adjusted"] <= LEVEL:
        reason = "not above what shuffled compute gives, corrected for the number of scores"
    else:
        for name in _PARTITIONS:
            # Where no checkpoint makes a difference there is no interval, and nothing that reaches 0.
            if name in family.partitions and row[f"mean_{name}_low"] <= 0:
                reason = reason or f"its interval over {name} reaches 0"
    row["follows"] = reason is None
    row["skill"] = check is not None and check.shown
    if reason is None and not row["skill"]:
        reason = _no_skill(check)
    return row | {"reason": reason}


def _no_skill(check: Skill | None) -> str:
    """Why a score that follows compute shows no skill."""
    if check is None:
        return "no skill shown: the scores that would tell are missing"
    if check.note:
        return f"no skill shown: {check.note}"
    failing = [
        f"on items that are {name} it {'falls' if value < 0 else 'does not rise beyond chance'}"
        for name, value, share in (("right", check.right, check.p_right), ("wrong", check.wrong, check.p_wrong))
        if not share <= SIDE_LEVEL
    ]
    return f"no skill shown: {' and '.join(failing)}"


def _compare(
    family: Resampled, values: dict[tuple[str, str], np.ndarray], rows: list[dict[str, Any]], units: np.ndarray | None
) -> None:
    """Give the ranked ``rows`` of one kind and method their rank, gap to the best, and whether they are recommended."""
    method = rows[0]["method"]
    best = next((row for row in rows if row["follows"] and row["skill"]), rows[0])
    key = (best["metric"], method)
    gaps = np.stack([values[key] - values[row["metric"], method] for row in rows], axis=1)
    mean, low, high = Sample.of(gaps, units).mean_interval()
    # What is the same for every item has no other interval than 0.
    same = ~gaps.any(axis=0)
    low, high = (np.where(same, 0.0, ends) for ends in (low, high))
    for i, row in enumerate(rows):
        row["rank"] = i + 1
        row |= {"gap": float(mean[i]), "gap_low": float(low[i]), "gap_high": float(high[i])}
        behind = low[i] > 0
        for name in _PARTITIONS:
            ends = (float("nan"), float("nan"))
            if partition := family.partitions.get(name):
                without = partition.means[key] - partition.means[row["metric"], method]
                ends = (0.0, 0.0) if same[i] else mean_interval(float(mean[i]), without, partition.sizes, 2.0)
                behind = behind and ends[0] > 0
            row |= {f"gap_{name}_low": ends[0], f"gap_{name}_high": ends[1]}
        row["tied"] = not behind
        row["recommended"] = bool(row["follows"] and row["skill"] and row["tied"])
        if row["reason"] is None and not row["tied"]:
            row["reason"] = "behind the best score of its kind"
