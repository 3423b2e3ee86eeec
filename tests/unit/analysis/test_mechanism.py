"""The chain from log-likelihoods to correlations on synthetic models whose every property is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from elusive.analysis.correlations import metric_correlations
from elusive.analysis.distributions import distribution_statistics
from elusive.analysis.mechanism import rank_association, rank_influence, tied
from elusive.analysis.metrics import choice_metrics
from score_tables import scores_of


def expected_kendall(x: np.ndarray, slope: float, noise: float) -> float:
    """Mean of Kendall's tau of ``slope * x`` plus independent normal noise with ``x``, which has no ties.

    A pair is concordant when its noises' difference, of deviation ``noise * sqrt(2)``, does not undo the slope.
    """
    above, below = np.triu_indices(len(x), 1)
    return float((2 * stats.norm.cdf(slope * np.abs(x[below] - x[above]) / (noise * np.sqrt(2))) - 1).mean())


@pytest.mark.parametrize("models", [6, 8, 13])
def test_known_slopes_give_the_decorrelation_that_they_imply(models):
    """Choices with slopes b and b' and noise s: log p follows b/s, p_choices of two choices (b - b')/(s sqrt 2)."""
    x, noise, items = np.linspace(18, 22, models), 0.8, 20_000
    correct, wrong = 1.5, 1.2
    generator = np.random.default_rng(models)
    log_likelihood = generator.normal(0, noise, (models, items, 2)) - 90
    log_likelihood += np.array([correct, wrong]) * (x[:, None, None] - 20)
    found = metric_correlations(10**x, scores_of(log_likelihood))
    before = expected_kendall(x, correct, noise)
    after = expected_kendall(x, correct - wrong, noise * np.sqrt(2))
    assert before > 0.75 and after < 0.4
    # The mean of so many items of standard deviation below 1/2.
    allowed = 4 * 0.5 / np.sqrt(items)
    assert found["log_p_vocab_correct", "kendall"].mean() == pytest.approx(before, abs=allowed)
    for metric in ("p_choices_correct", "brier", "margin_log"):
        assert found[metric, "kendall"].mean() == pytest.approx(after, abs=allowed), metric
    # Accuracy keeps of two checkpoints' comparison only whether one is right and the other wrong.
    values = np.stack([found[metric, "kendall"] for metric in ("log_p_vocab_correct", "accuracy")], axis=1)
    summary = distribution_statistics(values, None)
    assert summary["mean_low"][0] < before < summary["mean_high"][0]
    assert summary["mean"][1] < after


def test_wrong_choices_without_a_trend_cost_little():
    """The drop comes from wrong choices that rise along: with theirs flat, the margin keeps the whole slope."""
    x, items = np.linspace(18, 22, 8), 20_000
    generator = np.random.default_rng(0)
    log_likelihood = generator.normal(0, 0.8, (8, items, 2)) - 90
    log_likelihood[..., 0] += 1.5 * (x[:, None] - 20)
    found = metric_correlations(10**x, scores_of(log_likelihood))["p_choices_correct", "kendall"]
    expected = expected_kendall(x, 1.5, 0.8 * np.sqrt(2))
    assert found.mean() == pytest.approx(expected, abs=4 * 0.5 / np.sqrt(items))
    assert expected > 0.7


def random_model(lengths: np.ndarray, gold: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Metrics of a model that knows nothing: each token of choices of ``lengths`` [items, K] is about 1 in 4096."""
    generator = np.random.default_rng(seed)
    tokens = generator.normal(-np.log(4096), 0.5, (*lengths.shape, lengths.max()))
    scores = np.where(np.arange(lengths.max()) < lengths[..., None], tokens, 0.0).sum(axis=-1)
    return choice_metrics(scores, lengths, gold, np.full(len(gold), lengths.shape[1]))


@pytest.mark.parametrize("choices", [2, 4, 5])
def test_an_untrained_model_guesses_only_where_choices_are_equally_long(choices):
    items = 20_000
    generator = np.random.default_rng(choices)
    gold = generator.integers(0, choices, items)
    found = random_model(np.full((items, choices), 6), gold, seed=1)
    for name in ("accuracy", "accuracy_norm", "p_choices_correct"):
        assert found[name].mean() == pytest.approx(1 / choices, abs=4 * 0.5 / np.sqrt(items)), name
    # With a correct choice that is longer than the others by one token, it has next to no mass.
    lengths = np.full((items, choices), 6)
    lengths[np.arange(items), gold] = 7
    found = random_model(lengths, gold, seed=2)
    assert found["accuracy"].mean() < 0.05 / choices
    assert found["p_choices_correct"].mean() < 0.05 / choices


def test_influence_is_that_of_leaving_items_out():
    generator = np.random.default_rng(1)
    first = generator.integers(0, 5, 80).astype(float)
    second = first + generator.normal(0, 2, 80)
    rho, influence = rank_influence(first, second)
    assert rho == pytest.approx(stats.spearmanr(first, second).statistic, abs=1e-12)
    left = [stats.spearmanr(np.delete(first, i), np.delete(second, i)).statistic for i in range(80)]
    pseudo = 80 * rho - 79 * np.array(left)
    assert np.corrcoef(pseudo, influence)[0, 1] > 0.9999
    assert influence.std() == pytest.approx(pseudo.std(), rel=0.03)
    assert influence.mean() == pytest.approx(0, abs=1e-12)


def test_numbers_that_rounding_splits_tie():
    exact = np.repeat([0.1, 0.3, 0.6], 40)
    split = np.concatenate([np.full(20, 0.1), np.full(20, 0.4 - 0.3), np.full(40, 0.3), np.full(40, 0.9 - 0.3)])
    split[40:60] = 0.1 + 0.2
    assert len(np.unique(split)) > 3 and len(np.unique(tied(split))) == 3
    factor = np.random.default_rng(2).normal(size=120) + exact
    assert rank_association(factor, split, None)[:3] == pytest.approx(
        rank_association(factor, exact, None)[:3], abs=1e-9
    )
    assert rank_association(factor, exact, None)[0] == pytest.approx(stats.spearmanr(factor, exact).statistic)
    assert stats.spearmanr(factor, split).statistic != pytest.approx(stats.spearmanr(factor, exact).statistic, abs=1e-3)
    missing = np.where(np.arange(120) % 7, exact, np.nan)
    assert tied(missing)[1] == 0.1 and np.isnan(tied(missing)[::7]).all()


def test_association_of_few_or_equal_items():
    numbers = np.arange(20.0)
    assert rank_association(numbers, np.ones(20), None) == (None, None, None, "all values are equal: no correlation")
    need = "an interval needs 10 items with a value, here"
    assert rank_association(numbers[:3], numbers[:3], None) == (None, None, None, f"{need} 3")
    value, *rest = rank_association(numbers[:9], np.sin(numbers[:9]), None)
    assert rest == [None, None, f"{need} 9"] and value == pytest.approx(
        stats.spearmanr(range(9), np.sin(range(9))).statistic
    )
    codes = np.arange(20) // 5
    few = rank_association(numbers, np.sin(numbers), codes)
    assert few[1:] == (None, None, "an interval needs 6 clusters of items, here 4")
    perfect = rank_association(numbers, numbers, None)
    assert perfect[1:] == (None, None, "a correlation of 1 or -1 has no interval")


@pytest.mark.parametrize("clusters, each, alike", [(300, 1, 0.0), (40, 10, 0.3), (10, 40, 0.5)])
def test_association_covers_with_and_without_clusters(clusters, each, alike):
    """95 % intervals in 600 samples of items that share a cluster (standard error 0.9 points)."""
    generator = np.random.default_rng(clusters)
    codes = np.repeat(np.arange(clusters), each)

    def draw(codes: np.ndarray) -> np.ndarray:
        mixing = np.linalg.cholesky([[1, 0.4], [0.4, 1]])
        common = (mixing @ generator.normal(size=(2, codes.max() + 1)))[:, codes]
        return np.sqrt(alike) * common + np.sqrt(1 - alike) * (mixing @ generator.normal(size=(2, len(codes))))

    truth = stats.spearmanr(*draw(np.arange(300_000))).statistic
    hits = alone = 0
    for _ in range(600):
        first, second = draw(codes)
        _, low, high, _ = rank_association(first, second, codes if each > 1 else None)
        hits += low <= truth <= high
        _, low, high, _ = rank_association(first, second, None)
        alone += low <= truth <= high
    assert 0.915 < hits / 600 < 0.98
    if alike == 0.5:
        assert alone / 600 < 0.6, "items that share a cluster are not independent"
