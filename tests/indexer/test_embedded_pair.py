"""The indexer with the checkpoint that ships: what must hold for any weights, on a small index."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from data.blue_marble import BlueMarble
from indexer import Query, SearchIndex, build_index
from indexer.snapshot import DATA_FILES, current_snapshot
from indexer.verify import find_damage
from model import EncoderPair, load


@pytest.fixture(scope="module")
def embedded() -> EncoderPair:
    """The default checkpoint."""
    return load()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, embedded: EncoderPair) -> Path:
    """A small index of it."""
    path = tmp_path_factory.mktemp("embedded") / "world"
    build_index(path, pair=embedded, cell_resolution=2, tile_resolution=0)
    return path


@pytest.fixture(scope="module")
def index(world: Path) -> SearchIndex:
    """The index, open, its checkpoint to be found by name."""
    return SearchIndex.open(world)


@pytest.mark.parametrize("view", ["smooth", "sharp", "both"])
def test_a_cell_is_its_own_best_answer_in_every_view(index: SearchIndex, view: str) -> None:
    for row in index.cells().slice(0, 400).to_pylist()[::57]:
        best = index.search(Query.place(row["lon"], row["lat"]), k=1, view=view)[0]
        assert best.score == pytest.approx(1, abs=1e-4)
        assert index.field(Query.place(row["lon"], row["lat"]), view=view).max() <= 1 + 1e-4


@pytest.mark.parametrize("view", ["smooth", "sharp", "both"])
def test_the_field_is_what_the_encoder_says(index: SearchIndex, embedded: EncoderPair, view: str) -> None:
    cells = index.cells()
    lonlat = np.stack([cells["lon"].to_numpy(), cells["lat"].to_numpy()], axis=1)
    direct = embedded.reweight(embedded.encode_location([[30.0, 10.0]]), view) @ embedded.encode_location(lonlat).T
    np.testing.assert_allclose(index.field(Query.place(30, 10), view=view), direct[0], atol=1e-5)


def test_a_tile_is_found_by_its_own_imagery(index: SearchIndex) -> None:
    for row in index.tiles().to_pylist()[::29]:
        best = index.search(Query.image(BlueMarble.open().patch(row["lon"], row["lat"])), target="tiles", k=1)[0]
        assert best.score == pytest.approx(1, abs=1e-3)
        assert best.id == row["id"]
        assert best.km == pytest.approx(0, abs=1e-6)


def test_two_builds_give_the_same_bytes(world: Path, embedded: EncoderPair, tmp_path: Path) -> None:
    build_index(tmp_path / "again", pair=embedded, cell_resolution=2, tile_resolution=0)
    hashes = [
        [hashlib.sha256((current_snapshot(path) / name).read_bytes()).hexdigest() for name in DATA_FILES]
        for path in (world, tmp_path / "again")
    ]
    assert hashes[0] == hashes[1]
    assert find_damage(world) == []
