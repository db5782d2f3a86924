"""A small real index, built once for all tests of the indexer by the stand-in pair, on disk and in Milvus."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer import SearchIndex, build_index
from indexer.milvus import MilvusStore
from indexer.milvus_push import push
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
def local(built: Path, pair: StandInPair) -> SearchIndex:
    """The small index, open from its directory."""
    return SearchIndex.open(built, pair=pair)


@pytest.fixture(scope="session")
def in_milvus(built: Path, pair: StandInPair, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchIndex]:
    """The small index, pushed to an embedded Milvus and open from there."""
    folder = tmp_path_factory.mktemp("milvus")
    store = MilvusStore(push_quickly(built, f"milvus://{folder}/world.db"), cache=folder / "cache")
    yield SearchIndex(store, pair=pair)
    store.close()


@pytest.fixture(params=["local", "in_milvus"])
def index(request: pytest.FixtureRequest) -> SearchIndex:
    """The small index in every kind of store: whoever asks for it gets the same answers."""
    found: SearchIndex = request.getfixturevalue(request.param)
    return found


def push_quickly(index: Path, address: str) -> str:
    """Push, with shorter pauses: the client sleeps half a second before it asks whether a flush is done."""
    with pytest.MonkeyPatch.context() as patch:
        real = time.sleep
        patch.setattr("time.sleep", lambda seconds: real(min(seconds, 0.01)))
        return push(index, address)
