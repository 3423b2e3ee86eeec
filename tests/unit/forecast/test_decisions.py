"""Decisions between models: accuracy of decisions by hand, signal to noise, and when nothing can be decided."""

from dataclasses import replace

import numpy as np
import pytest

from elusive.forecast.decisions import DECIDING, decide, deciding_means, decision_accuracy, signal_to_noise
from known_truth import generate, of_margins


def group(accuracies, items=400, sizes=None):
    """Scores of models (rows) over steps (columns) with these accuracies, of two choices."""
    accuracies = np.array(accuracies)
    models, steps = accuracies.shape
    sizes = np.geomspace(1e6, 1e7, models) if sizes is None else np.array(sizes, float)
    tokens = np.geomspace(1e8, 1e9, steps).round()
    ranks = (np.arange(items) + 0.5) / items
    values = np.where(ranks < accuracies.reshape(-1, 1), 1.0, -1.0)[:, :, None]
    parameters, trained = np.repeat(sizes, steps), np.tile(tokens, models)
    scores = of_margins(values, parameters, trained, 6 * parameters * trained)
    order = np.lexsort((parameters, 6 * parameters * trained))
    names = np.repeat([f"m{i}" for i in range(models)], steps)[order]
    return replace(scores, models=tuple(names))


def rows_of(scores, metric="accuracy"):
    return [row for row in decide(scores, "g", "b") if row["metric"] == metric]


def test_pairs_are_counted_by_hand():
    values, final = np.array([1.0, 2.0, 2.0, 0.0]), np.array([0.1, 0.3, 0.4, 0.4])
    # Pairs: 01 right, 02 right, 03 wrong, 12 a tie, 13 wrong; 23 is tied at the end.
    assert decision_accuracy(values, final) == (pytest.approx(2.5 / 5), 5)
    assert decision_accuracy(values, np.full(4, 0.2)) == (None, 0)


def test_early_scores_decide_as_they_order():
    scores = group([[0.3, 0.4, 0.5], [0.35, 0.3, 0.6], [0.2, 0.5, 0.7]])
    found = rows_of(scores)
    assert [row["decision_accuracy"] for row in found] == pytest.approx([1 / 3, 2 / 3, 1])
    assert [row["is_end"] for row in found] == [False, False, True]
    assert all(row["larger_wins"] == 1 and row["num_pairs"] == 3 and row["decidable"] for row in found)


def test_losses_are_negated():
    scores = group([[0.3, 0.5], [0.4, 0.6]])
    assert [row["decision_accuracy"] for row in rows_of(scores, "brier")] == [1, 1]


def test_noise_is_not_decidable():
    close = rows_of(group([[0.5, 0.50], [0.5, 0.51], [0.5, 0.49]], items=200))
    assert not any(row["decidable"] for row in close)
    assert close[0]["spread"] == pytest.approx(np.std([0.5, 0.51, 0.49], ddof=1), abs=0.003)
    assert close[0]["standard_error"] == pytest.approx(np.sqrt(0.25 / 200), rel=0.01)
    same = rows_of(group([[0.4, 0.5], [0.3, 0.5]]))
    assert same[0]["decision_accuracy"] is None and not same[0]["decidable"]


def test_models_of_one_size_have_no_larger_one():
    found = rows_of(group([[0.3, 0.5], [0.4, 0.6]], sizes=[1e6, 1e6]))
    assert all(row["larger_wins"] is None for row in found)


def test_one_model_or_one_step_decide_nothing():
    assert decide(group([[0.3, 0.5]]), "g", "b") == []
    assert decide(group([[0.3], [0.4]]), "g", "b") == []


def test_every_metric_decides_at_every_step():
    found = decide(generate(0), "g", "b")
    assert {row["metric"] for row in found} == set(DECIDING)
    assert len(found) == 5 * len(DECIDING)


def test_no_step_knows_a_later_one():
    """What comes after a step changes neither its metrics nor its signal; the end alone decides what is right."""
    scores = group([[0.3, 0.4, 0.5], [0.35, 0.3, 0.6], [0.2, 0.5, 0.7]])
    later = scores.tokens == scores.tokens.max()
    changed = scores.margins.copy()
    changed[later] += 100 * np.random.default_rng(0).random((3, 1, 1))
    early = [row for row in decide(scores, "g", "b") if not row["is_end"]]
    other = decide(replace(scores, margins=changed), "g", "b")
    other = [row for row in other if not row["is_end"]]
    assert [row["signal_to_noise"] for row in early] == [row["signal_to_noise"] for row in other]


def test_signal_to_noise_by_hand():
    scores = generate(1)
    means = deciding_means(scores)["p_choices_correct"]
    n, d = np.log10(scores.parameters), np.log10(scores.tokens)
    x = np.log10(scores.flops)
    keep = (d >= d.max() - 1 - 1e-9) & (x >= x.max() - 1.3 - 1e-9)
    design = np.stack([np.ones(keep.sum()), n[keep], d[keep]], axis=1)
    beta, residuals, *_ = np.linalg.lstsq(design, means[keep])
    fitted = design @ beta
    expected = fitted.std() / np.sqrt(residuals[0] / (keep.sum() - 3))
    assert abs(signal_to_noise(scores, means)) == pytest.approx(expected)
    assert signal_to_noise(scores, -means) == pytest.approx(-signal_to_noise(scores, means))


def test_signal_to_noise_needs_noise_and_checkpoints():
    scores = generate(1)
    assert signal_to_noise(scores, np.ones(20)) is None
    assert signal_to_noise(scores.of_checkpoints(np.arange(2)), np.arange(2.0)) is None


def test_means_are_those_of_the_metrics():
    scores = generate(2)
    means = deciding_means(scores)
    assert means["brier"] == pytest.approx(-scores.metrics()["brier"].mean(axis=1))
    assert means["margin_log"] == pytest.approx(scores.margins.min(axis=2).mean(axis=1))
