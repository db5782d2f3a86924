"""A small real index, built once for all tests of the indexer by the stand-in pair."""

from __future__ import annotations

from pathlib import Path

import pytest

from indexer import SearchIndex, build_index
from tests.indexer.standin import StandInPair

CELL_RESOLUTION, TILE_RESOLUTION = 2, 1


@pytest.fixture(scope="session")
def pair() -> StandInPair:
    """The encoders."""
    return StandInPair()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, pair: StandInPair) -> Path:
    """Directory of a complete small index; tests that change one build their own."""
    path = tmp_path_factory.mktemp("index") / "world"
    build_index(path, pair=pair, cell_resolution=CELL_RESOLUTION, tile_resolution=TILE_RESOLUTION)
    return path


@pytest.fixture(scope="session")
def index(built: Path, pair: StandInPair) -> SearchIndex:
    """The small index, open."""
    return SearchIndex.open(built, pair=pair)
