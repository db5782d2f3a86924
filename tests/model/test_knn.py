"""The nearest-neighbours head, against trying every choice and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsRegressor

from model.knn import COUNTS, Knn, choose_knn
from model.neighbours import Near, Neighbours


def errors_by_trying(targets: np.ndarray, classes: int, near: Near) -> dict[tuple[int, bool], float]:
    """The leave-one-out error of every k and both weights, by asking a head of each."""
    shares = np.bincount(targets.astype(int), minlength=classes) / len(targets) if classes else np.empty(0)
    found = {}
    for k in COUNTS:
        for by_distance in (True, False):
            left_out = Knn(targets, shares, k, by_distance)(near)
            truth = left_out[np.arange(len(targets)), targets.astype(int)] if classes else left_out[:, 0]
            found[k, by_distance] = -truth.mean() if classes else float(((truth - targets) ** 2).mean())
    return found


@pytest.mark.parametrize("classes", [0, 5])
def test_the_choice_has_the_least_error_of_all(classes: int) -> None:
    chosen = set()
    for seed in range(6):
        rng = np.random.default_rng(seed)
        vectors = rng.normal(size=(300, 3)).astype(np.float32)
        values = vectors[:, 0] + rng.normal(0, 0.2 + 0.5 * seed, 300)
        targets = np.digitize(values, [-1, -0.3, 0.3, 1]).astype(np.float64) if classes else values
        near = Neighbours(vectors).leave_one_out(32)
        head = choose_knn(targets, classes, near)
        errors = errors_by_trying(targets, classes, near)
        assert errors[head.k, head.by_distance] == pytest.approx(min(errors.values()), rel=1e-9)
        chosen.add(head.k)
    assert len(chosen) > 1  # the data decide


@pytest.mark.parametrize(("by_distance", "weights"), [(False, "uniform"), (True, lambda d: 1 / (d**2 + 1e-12))])
def test_values_as_scikit_learn_has_them(by_distance: bool, weights: object) -> None:
    rng = np.random.default_rng(3)
    vectors, asked = (rng.normal(size=(n, 4)).astype(np.float32) for n in (200, 50))
    values = rng.normal(size=200)
    theirs = KNeighborsRegressor(5, weights=weights, algorithm="brute").fit(vectors, values).predict(asked)
    ours = Knn(values, np.empty(0), 5, by_distance)(Neighbours(vectors).query(asked, 5))
    np.testing.assert_allclose(ours[:, 0], theirs, rtol=1e-5, atol=1e-6)


def test_without_neighbours() -> None:
    with pytest.raises(ValueError, match="no neighbour"):
        choose_knn(np.zeros(1), 0, Near(np.empty((1, 0)), np.empty((1, 0), dtype=np.int64)))
