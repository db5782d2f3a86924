"""Neighbours read off one table, against searching each training set anew and against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from model import nearest
from model.knn import fit_knn
from model.nearest import AllPairs, choose_knn
from model.neighbours import Near, Neighbours


@pytest.mark.parametrize("share", [0.9, 0.5, 0.05])
def test_within_a_training_set_by_brute_force(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "KEPT", 40)
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(400, 6)).astype(np.float32)
    chosen = rng.random(400) < share
    train, test = rng.permutation(np.flatnonzero(chosen)), np.flatnonzero(~chosen)
    own, near = AllPairs(vectors).within(train, test, 12)
    apart = np.linalg.norm(vectors[:, None].astype(np.float64) - vectors[None], axis=2)
    for found, rows in ((own, train), (near, test)):
        distances = apart[rows][:, train]
        distances[rows[:, None] == train] = np.inf  # itself is no neighbour
        order = np.argsort(distances, axis=1)[:, :12]
        np.testing.assert_array_equal(found.row, order)
        np.testing.assert_allclose(found.distance, np.take_along_axis(distances, order, 1), atol=1e-5)


@pytest.mark.parametrize("classes", [0, 5])
def test_chooses_what_fit_knn_chooses(classes: int) -> None:
    for seed in range(6):
        rng = np.random.default_rng(seed)
        vectors = rng.normal(size=(300, 3)).astype(np.float32)
        values = vectors[:, 0] + rng.normal(0, 0.2 + 0.5 * seed, 300)
        targets = np.digitize(values, [-1, -0.3, 0.3, 1]).astype(np.float64) if classes else values
        near = Neighbours(vectors).leave_one_out(32)
        expected, _ = fit_knn(targets, classes, near)
        found = choose_knn(targets, classes, near)
        assert (found.k, found.by_distance) == (expected.k, expected.by_distance)
        asked = Neighbours(vectors).query(rng.normal(size=(40, 3)).astype(np.float32), 32)
        np.testing.assert_allclose(found(asked), expected(asked))


def test_without_neighbours() -> None:
    with pytest.raises(ValueError, match="no neighbour"):
        choose_knn(np.zeros(1), 0, Near(np.empty((1, 0)), np.empty((1, 0), dtype=np.int64)))
