"""One decomposition for many targets, against solving each ridge, and leave-one-out by leaving one out."""

from __future__ import annotations

import numpy as np
import pytest

from model.ridge import STRENGTHS, Spectrum, fit_ridge


def solve(x, y, strength):
    """Ridge with a free offset, by the normal equations."""
    centre, mean = x.mean(axis=0), y.mean(axis=0)
    weights = np.linalg.solve(
        (x - centre).T @ (x - centre) + strength * np.eye(x.shape[1]), (x - centre).T @ (y - mean)
    )
    return weights, mean - centre @ weights


@pytest.mark.parametrize("noise", [0.01, 0.5, 3.0])
def test_the_best_strength_is_that_of_trying_all(noise: float) -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(120, 30)) * np.logspace(0, -2, 30)
    y = x @ rng.normal(size=(30, 2)) * 3 + rng.normal(0, noise, (120, 2))
    errors = []
    for strength in STRENGTHS:
        left = []
        for row in range(120):
            rest = np.arange(120) != row
            weights, offset = solve(x[rest], y[rest], strength)
            left.append(x[row] @ weights + offset)
        errors.append(float(((np.array(left) - y) ** 2).mean()))
    ridge, left_out = Spectrum(x).fit(y)
    # removing a place moves the centre, which the short form knows through the offset's share of the leverage
    assert ridge.strength == pytest.approx(STRENGTHS[int(np.argmin(errors))])
    assert ((left_out - y) ** 2).mean() == pytest.approx(min(errors), rel=1e-9)
    weights, offset = solve(x, y, ridge.strength)
    np.testing.assert_allclose(ridge.weights, weights, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(ridge.offset, offset, rtol=1e-6, atol=1e-9)


def test_targets_beside_each_other_choose_for_themselves() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(200, 20))
    shared = Spectrum(x)
    for noise in (0.1, 5.0):
        y = x[:, :1] + rng.normal(0, noise, (200, 1))
        alone, together = fit_ridge(x, y)[0], shared.fit(y)[0]
        assert alone.strength == together.strength
        np.testing.assert_array_equal(alone.weights, together.weights)


def test_no_strength_is_no_ridge() -> None:
    with pytest.raises(ValueError, match="strengths is empty"):
        fit_ridge(np.eye(3), np.ones((3, 1)), strengths=())
