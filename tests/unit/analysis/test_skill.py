"""The check of skill: a change of size shows none, better choices do, and the sums are those of brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from elusive.analysis.headline import family_headline
from elusive.analysis.metrics import METRICS, VARIANTS
from elusive.analysis.predictability import rank_scores
from elusive.analysis.resampling import resample
from elusive.analysis.shuffles import Shuffles
from elusive.analysis.skill import SIDES, normalisation, side_sums, skill
from score_tables import scores_of


def test_side_sums_are_those_of_brute_force():
    generator = np.random.default_rng(0)
    models, items = 5, 30
    scores = generator.integers(-3, 4, (models, items)).astype(np.float64)
    accuracy = (generator.random((models, items)) < 0.5).astype(np.float64)
    scores[2, 7], accuracy[0, 9] = np.nan, np.nan
    signs, counts, hits = side_sums(accuracy, scores)
    for place, (a, b) in enumerate(itertools.combinations(range(models), 2)):
        expected = np.zeros((3, 2))
        for i in set(range(items)) - {7, 9}:
            others = [accuracy[t, i] for t in range(models) if t not in (a, b)]
            if sum(others) * 2 == len(others):
                continue
            side = 0 if sum(others) * 2 > len(others) else 1
            expected[:, side] += [np.sign(scores[b, i] - scores[a, i]), 1, accuracy[a, i] + accuracy[b, i]]
        np.testing.assert_array_equal([signs[place], counts[place], hits[place]], expected)


def test_every_score_has_a_way_of_normalising():
    assert {normalisation(name) for name in (*METRICS, *VARIANTS)} == set(SIDES)
    assert normalisation("accuracy_norm") == "per_char" and normalisation("brier") == "plain"
    assert normalisation("margin_per_byte") == "per_byte" and normalisation("p_choices_correct_pmi") == "pmi"
    assert {name for pair in SIDES.values() for name in pair} <= {*METRICS, *VARIANTS}


def log_likelihoods(kind: str, models: int, seed: int, items: int = 150, choices: int = 4) -> np.ndarray:
    """[models, items, choices], the first choice being right: under a ``kind`` of change from the first to the last."""
    generator = np.random.default_rng(seed)
    x = np.linspace(0, 1, models)[:, None, None]
    base = generator.normal(-40, 8, (1, items, 1)) + generator.normal(0, 3, (1, items, choices))
    noise = generator.normal(0, 0.5, (models, items, choices))
    gain = np.abs(generator.normal(2, 1, (1, items, 1))) * (np.arange(choices) == 0)
    if kind == "temperature":
        return (1 - 0.5 * x) * base + noise
    if kind == "temperature of its own":
        return (1 - x * generator.uniform(0.1, 0.8, (1, items, 1))) * base + noise
    if kind == "mostly wrong, of two":
        margin = (np.abs(generator.normal(0, 3, items)) + 0.5) * np.where(generator.random(items) < 0.26, 1, -1)
        two = np.stack([base[0, :, 0] + margin, base[0, :, 0]], axis=-1)[None]
        return (1 - 0.7 * x) * two + 3 * noise[..., :2]
    if kind == "sharpening":
        return (1 + x) * base + noise
    if kind == "skill":
        return base + 10 * x + x * gain + noise
    if kind == "skill and temperature":
        return (1 - 0.4 * x) * base + 1.5 * x * gain + noise
    assert kind == "nothing"
    return base + noise


def recommended(kind: str, models: int, seed: int) -> tuple[list[dict], list[dict]]:
    """The rows of predictability, and those recommended."""
    values = log_likelihoods(kind, models, seed)
    family = resample(np.logspace(18, 22, models), ["m"] * models, scores_of(values))
    rows = rank_scores(family, family_headline(family, None), None)
    return rows, [row for row in rows if row["recommended"]]


@pytest.mark.parametrize("models", [6, 12])
@pytest.mark.parametrize(
    "kind", ["temperature", "temperature of its own", "mostly wrong, of two", "sharpening", "nothing"]
)
def test_a_change_of_size_recommends_nothing(kind, models):
    following = 0
    for seed in range(6):
        rows, chosen = recommended(kind, models, seed)
        assert not chosen, [(row["metric"], row["method"]) for row in chosen]
        own = [row for row in rows if row["kind"] == "comparison" and row["method"] == "spearman"]
        following += any(row["follows"] for row in own)
        assert not any(row["skill"] for row in own if row["metric"] == "margin_log")
    if kind.startswith("temperature"):
        assert following == 6, "margins follow compute closely all the same"


@pytest.mark.parametrize("models", [6, 12])
@pytest.mark.parametrize("kind", ["skill", "skill and temperature"])
def test_choosing_better_is_recommended(kind, models):
    for seed in range(4):
        _, chosen = recommended(kind, models, seed)
        assert {row["kind"] for row in chosen if row["method"] == "spearman"} >= {"comparison"}
        assert all(row["skill_right"] > 0 and row["skill_wrong"] > 0 for row in chosen)


def test_a_pure_change_of_size_moves_the_sides_in_opposite_directions():
    x = np.linspace(0, 1, 7)
    base = np.random.default_rng(1).normal(0, 3, (1, 80, 2))
    values = scores_of((1 - 0.5 * x)[:, None, None] * base)
    found = skill(Shuffles.of(x), {"plain": (values["accuracy"], values["margin_log"])})["plain"]
    assert (found.right, found.wrong) == pytest.approx((-1, 1))
    assert (found.p_right, found.p_wrong) == pytest.approx((1, 1 / 5040))
    assert not found.shown and found.note is None


def test_sides_that_are_not_what_they_are_called():
    generator = np.random.default_rng(2)
    x = np.arange(9.0)
    coins = (generator.random((9, 200)) < 0.4).astype(np.float64)
    found = skill(Shuffles.of(x), {"plain": (coins, generator.normal(size=(9, 200)))})["plain"]
    assert found.note == "items that are right at most checkpoints are not at the others"
    assert np.isnan([found.right, found.p_right]).all() and not np.isnan(found.wrong) and not found.shown
    solved = np.ones((9, 200))
    found = skill(Shuffles.of(x), {"plain": (solved, generator.normal(size=(9, 200)))})["plain"]
    assert found.note == "fewer than 10 items are wrong at most checkpoints"
    found = skill(Shuffles.of(x[:4]), {"plain": (solved[:4], solved[:4])})["plain"]
    assert found.note == "a check of skill needs 5 checkpoints, here 4" and not found.shown
