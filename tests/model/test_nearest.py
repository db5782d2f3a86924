"""Neighbours read off one table, against searching each training set anew and against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from model import nearest
from model.nearest import AllPairs


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
