"""What a name means: a pair, a view of one, a baseline, a baseline with a file."""

from __future__ import annotations

import numpy as np
import pytest

from data.errors import CheckpointError, SamewhereError
from data.geo import unit_vectors
from model import load
from model.downstream import ViewEncoder
from model.encoders import load_baselines, load_encoder, own_names, with_views

PLACES = np.array([[12.49, 41.89], [-70.0, -33.0]])


def test_names() -> None:
    pair, sharp, sphere = (load_encoder(name) for name in ("blue-marble-l40", "blue-marble-l40:sharp", "cartesian"))
    np.testing.assert_array_equal(pair.encode_location(PLACES), load(part="location").encode_location(PLACES))
    assert isinstance(sharp, ViewEncoder) and sharp.dim < pair.dim
    np.testing.assert_allclose(sphere.encode_location(PLACES), unit_vectors(PLACES), atol=1e-6)
    assert own_names([pair, sharp, sphere]) == {"blue-marble-l40", "blue-marble-l40:sharp"}


def test_a_pair_with_its_views() -> None:
    assert [entry.name for entry in with_views("blue-marble-l40")] == [
        "blue-marble-l40",
        "blue-marble-l40:smooth",
        "blue-marble-l40:sharp",
    ]


@pytest.mark.parametrize("name", ["nothing-like-it", "nothing:sharp", "cartesian=weights.h5", "x.ckpt"])
def test_what_is_no_encoder(name: str) -> None:
    with pytest.raises(CheckpointError):
        load_encoder(name)


def test_all_baselines_that_there_are(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setenv("SAMEWHERE_HOME", str(tmp_path))  # nothing was trained here
    monkeypatch.setattr("model.baselines.BASELINES", ("raw", "csp-inat"))
    found, missing = load_baselines()
    assert [entry.name for entry in found] == ["raw"] and set(missing) == {"csp-inat"}
    assert "samewhere train --baseline csp-inat" in missing["csp-inat"]
    with pytest.raises(SamewhereError):
        load_baselines(["csp-inat"])
