"""Calibration: the quantile by its definition, coverage where theory promises it, and the temperature by search."""

import numpy as np
import pytest
from sklearn.metrics import log_loss

from model.conformal import Intervals, Sets, softmax, upper_quantile
from model.neighbours import Neighbours


@pytest.mark.parametrize(("count", "level", "rank"), [(9, 0.9, 9), (19, 0.9, 18), (99, 0.9, 90), (20, 0.5, 11)])
def test_quantile_is_the_rank_that_the_theorem_names(count, level, rank):
    assert upper_quantile(np.arange(1.0, count + 1), level) == rank


def test_too_few_scores_promise_nothing():
    assert upper_quantile(np.arange(8.0), 0.9) == np.inf


def test_scores_cover_exactly_in_expectation():
    """Exchangeable scores: a new one lies within the quantile with probability ⌈(n + 1)·level⌉ / (n + 1)."""
    rng = np.random.default_rng(3)
    draws = rng.exponential(size=(20_000, 30))
    inside = [new <= upper_quantile(np.sort(known), 0.9) for new, known in zip(draws[:, 0], draws[:, 1:], strict=True)]
    assert np.mean(inside) == pytest.approx(27 / 30, abs=0.01)


def test_intervals_are_as_wide_as_the_errors_around():
    rng = np.random.default_rng(4)
    x = rng.uniform(0, 1, size=(4000, 1)).astype(np.float32)
    noise = np.where(x[:, 0] < 0.5, 1.0, 10.0)
    truth = rng.normal(size=4000) * noise
    near = Neighbours(x).leave_one_out(24)
    made = Intervals.fit(truth, np.zeros(4000), near)
    half = made.scale(near) * upper_quantile(made.scores, 0.9)
    assert (np.abs(truth) <= half).mean() == pytest.approx(0.9, abs=1e-3)
    for low in (True, False):  # on both sides, not only on average
        side = (x[:, 0] < 0.5) == low
        assert (np.abs(truth) <= half)[side].mean() == pytest.approx(0.9, abs=0.05)
    assert np.median(half[x[:, 0] > 0.6]) / np.median(half[x[:, 0] < 0.4]) == pytest.approx(10, rel=0.35)


def test_temperature_is_the_one_of_least_surprise():
    rng = np.random.default_rng(5)
    outputs = rng.normal(size=(800, 4)) * 3
    truth = np.array([rng.choice(4, p=row) for row in softmax(outputs)])
    made = Sets.fit(truth, outputs * 7)  # seven times too sure
    assert made.temperature == pytest.approx(7, rel=0.12)
    losses = {t: log_loss(truth, softmax(outputs * 7 / t), labels=range(4)) for t in np.geomspace(0.5, 50, 60)}
    assert log_loss(truth, made.probabilities(outputs * 7), labels=range(4)) <= min(losses.values()) + 1e-9


def test_softmax_of_huge_outputs_is_finite_and_sums_to_one():
    rows = softmax(np.array([[1e4, 0.0, -1e4], [1.0, 1.0, 1.0]]))
    np.testing.assert_allclose(rows, [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]], atol=1e-12)
