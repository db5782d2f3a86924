"""The held-out check of examples: it knows what can be learned from what cannot."""

from __future__ import annotations

import numpy as np
import pytest

from indexer.feedback import Check, check_examples


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def same(vectors: np.ndarray) -> np.ndarray:
    return vectors


def check(positives: np.ndarray, negatives: np.ndarray, background: np.ndarray) -> Check:
    found = check_examples(positives, negatives, background, same)
    assert found is not None
    return found


def test_a_tight_cluster_is_found_again(rng: np.random.Generator) -> None:
    centre = np.eye(16)[0]
    likes = unit(centre + 0.1 * rng.normal(size=(6, 16)))
    unlikes = unit(-centre + 0.1 * rng.normal(size=(4, 16)))
    found = check(likes, unlikes, unit(rng.normal(size=(400, 16))))
    assert (found.positives, found.negatives) == (6, 4)
    assert found.above_world > 0.95
    assert found.above_negatives == 1


def test_random_likes_are_worth_chance(rng: np.random.Generator) -> None:
    shares = [
        check(
            unit(rng.normal(size=(8, 64))), np.empty((0, 64), np.float32), unit(rng.normal(size=(400, 64)))
        ).above_world
        for _ in range(8)
    ]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.12)


def test_an_example_never_scores_itself(rng: np.random.Generator) -> None:
    """Two likes on opposite sides: what is learned from one puts the other last, though both together were fitted."""
    likes = np.array([[1, 0, 0, 0], [-1, 0, 0, 0]], dtype=np.float32)
    assert check(likes, likes[:0], unit(rng.normal(size=(200, 4)))).above_world < 0.1


def test_one_like_claims_nothing() -> None:
    one = np.eye(4, dtype=np.float32)[:1]
    assert check_examples(one, one, np.eye(4, dtype=np.float32), same) is None
