"""Nearest places, against every distance computed by scipy."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from model.neighbours import Neighbours


@pytest.fixture
def points():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(300, 32)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_query_finds_what_brute_force_finds(points):
    asked = np.random.default_rng(2).normal(size=(700, 32)).astype(np.float32)
    near = Neighbours(points).query(asked, 7)
    far = cdist(asked.astype(np.float64), points.astype(np.float64))
    np.testing.assert_array_equal(near.row, np.argsort(far, axis=1)[:, :7])
    np.testing.assert_allclose(near.distance, np.sort(far, axis=1)[:, :7], rtol=1e-5)


def test_leaving_out_never_answers_with_itself(points):
    far = cdist(points.astype(np.float64), points.astype(np.float64))
    np.fill_diagonal(far, np.inf)
    places = Neighbours(points)
    np.testing.assert_array_equal(places.leave_one_out(3).row, np.argsort(far, axis=1)[:, :3])
    np.testing.assert_array_equal(places.leave_one_out(9).row, np.argsort(far, axis=1)[:, :9])


def test_distances_of_near_twins_keep_their_digits(points):
    """1e-4 apart: in the short form |x|² − 2xp + |p|² of float32 nothing is left of that."""
    shift = np.zeros((1, 32), dtype=np.float32)
    shift[0, 0] = 1e-4
    near = Neighbours(points).query(points[5:6] + shift, 1)
    assert near.row[0, 0] == 5
    assert near.distance[0, 0] == pytest.approx(1e-4, rel=1e-2)


def test_an_answer_does_not_depend_on_what_else_is_asked(points):
    asked = np.random.default_rng(4).normal(size=(300, 32)).astype(np.float32)
    places = Neighbours(points)
    together, alone = places.query(asked, 5), places.query(asked[211:212], 5)
    np.testing.assert_array_equal(together.distance[211:212], alone.distance)
    np.testing.assert_array_equal(together.row[211:212], alone.row)


def test_more_neighbours_than_places_are_all_places(points):
    places = Neighbours(points[:4])
    assert sorted(places.query(points[:1], 10).row[0].tolist()) == [0, 1, 2, 3]
    assert sorted(places.leave_one_out(10).row[2].tolist()) == [0, 1, 3]
