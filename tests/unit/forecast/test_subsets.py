"""Subsets that scale: chosen on small checkpoints, judged on large ones, and what chance makes of the same."""

import numpy as np
import pytest
from scipy import stats

from elusive.forecast.subsets import SELECTIONS, item_subsets
from known_truth import of_margins


def scores_of(margins):
    count = len(margins)
    parameters, tokens = np.geomspace(1e6, 1e7, count), np.full(count, 1e9)
    return of_margins(margins, parameters, tokens, 6 * parameters * tokens)


def noise(seed, checkpoints=16, items=200):
    return np.random.default_rng(seed).standard_normal((checkpoints, items, 2))


def found(scores, seed=0):
    rows, members = item_subsets(scores, "f", str(seed))
    return {row["selection"]: row for row in rows}, members


def test_improving_items_are_found_and_go_on_improving():
    rising = noise(0)
    rising[:, :50] += np.linspace(-3, 3, 16)[:, None, None]
    rows, members = found(scores_of(rising))
    chosen = {row["item"] for row in members if row["chosen"]}
    assert len(chosen) == 50 and len(chosen & {f"item-{i:05d}" for i in range(50)}) > 40
    assert rows["chosen"]["spearman_held_out"] > 0.8
    assert rows["chosen"]["spearman_held_out"] > rows["random"]["spearman_held_out"]
    assert rows["chosen"]["spearman_held_out"] > rows["shuffled"]["spearman_held_out"] + 0.3


def test_noise_looks_good_where_it_was_chosen_and_nowhere_else():
    results = [found(scores_of(noise(seed)), seed)[0] for seed in range(12)]
    mean = {
        (name, half): np.mean([rows[name][f"spearman_{half}"] for rows in results])
        for name in SELECTIONS
        for half in ("inside", "held_out")
    }
    assert mean["chosen", "inside"] > 0.5 and mean["judged", "held_out"] > 0.5
    for name in ("chosen", "all", "random", "shuffled"):
        assert abs(mean[name, "held_out"]) < 0.25, name


def test_all_items_are_the_benchmark():
    scores = scores_of(noise(3))
    rows, _ = found(scores)
    accuracy = scores.metrics()["accuracy"].mean(axis=1)
    assert rows["all"]["spearman_held_out"] == pytest.approx(stats.spearmanr(scores.flops[8:], accuracy[8:]).statistic)
    assert rows["all"]["num_items"] == 200 and rows["chosen"]["num_items"] == 50
    assert (rows["all"]["num_models_inside"], rows["all"]["num_models_held_out"]) == (8, 8)


def test_the_choice_does_not_know_the_larger_half():
    values = noise(4)
    other = values.copy()
    other[8:] = noise(5)[8:]
    assert found(scores_of(values))[1] == found(scores_of(other))[1]


def test_few_checkpoints_have_no_subsets():
    assert item_subsets(scores_of(noise(0, checkpoints=5)), "f", "b") == ([], [])


def test_constant_items_have_no_correlation():
    values = noise(6)
    values[:, 7] = 2.0
    _, members = found(scores_of(values))
    assert members[7]["correlation"] is None and not members[7]["chosen"]
