"""A small real index, built once by the real indexer with the stand-in pair, for the tests of the page."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import model.checkpoint
from app import resources
from indexer.build import build_index
from tests.app.standin import StandInPair

CELL_RESOLUTION, TILE_RESOLUTION = 2, 1


@pytest.fixture(scope="session")
def built_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ``SAMEWHERE_HOME`` with an index; never changed."""
    home = tmp_path_factory.mktemp("home")
    build_index(home / "index", pair=StandInPair(), cell_resolution=CELL_RESOLUTION, tile_resolution=TILE_RESOLUTION)
    return home


@pytest.fixture
def standin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every checkpoint that is loaded is the stand-in."""
    monkeypatch.setattr(model.checkpoint, "load", lambda *_, **__: StandInPair())
    monkeypatch.setattr(resources, "PAUSES", 1)
    monkeypatch.setattr(resources, "PREDICTED", ())


@pytest.fixture
def home(built_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, standin: None) -> Iterator[Path]:
    """A copy of the home that a test may spoil, with nothing loaded yet."""
    path = tmp_path / "home"
    shutil.copytree(built_home, path)
    monkeypatch.setenv("SAMEWHERE_HOME", str(path))
    resources.forget()
    yield path
    resources.forget()
