"""Ridge in closed form, against leaving out each place by hand and against scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge as PeerRidge
from sklearn.linear_model import RidgeCV

from model.ridge import STRENGTHS, fit_ridge


@pytest.fixture(params=[(40, 6, 1), (25, 60, 3)], ids=["tall", "wide"])
def problem(request):
    n, dim, outputs = request.param
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, dim)) + 3
    y = x @ rng.normal(size=(dim, outputs)) + rng.normal(size=(n, outputs)) + 100
    return x, y


def test_left_out_predictions_are_those_of_refitting_without_each_place(problem):
    x, y = problem
    head, left_out = fit_ridge(x, y, strengths=[0.7])
    by_hand = np.array(
        [
            PeerRidge(alpha=0.7).fit(np.delete(x, row, 0), np.delete(y, row, 0)).predict(x[row : row + 1]).reshape(-1)
            for row in range(len(x))
        ]
    )
    np.testing.assert_allclose(left_out, by_hand, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(head(x), PeerRidge(alpha=0.7).fit(x, y).predict(x).reshape(y.shape), rtol=1e-8)


def test_strength_and_weights_are_those_of_ridge_cv(problem):
    x, y = problem
    head, _ = fit_ridge(x, y)
    peer = RidgeCV(alphas=STRENGTHS).fit(x, y)
    assert head.strength == pytest.approx(peer.alpha_)
    np.testing.assert_allclose(head.weights, np.atleast_2d(peer.coef_).T, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(head.offset, peer.intercept_, rtol=1e-8)


def test_features_that_repeat_each_other_do_no_harm():
    rng = np.random.default_rng(0)
    column = rng.normal(size=(50, 1))
    head, left_out = fit_ridge(np.repeat(column, 4, axis=1), 2 * column)
    assert np.abs(left_out - 2 * column).max() < 1e-3
    np.testing.assert_allclose(head.weights, np.full((4, 1), 0.5), atol=1e-4)
