"""An index of an official-format SatCLIP checkpoint: cells alone, asked with places and with Sentinel-2 patches."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from app import cli
from data.bands import L2A_BANDS
from data.errors import IndexStoreError, QueryError
from data.patch import Patch
from indexer import Query, SearchIndex, build_index
from indexer.snapshot import current_snapshot
from indexer.verify import find_damage
from model import load
from model.checkpoint import save
from model.satclip import SatCLIPConfig, SatCLIPNetwork


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny official-format file."""
    torch.manual_seed(0)
    small = {"vision_layers": 1, "vision_width": 64, "vision_patch_size": 32, "image_resolution": 64}
    network = SatCLIPNetwork(SatCLIPConfig(embed_dim=16, capacity=32, **small))  # type: ignore[arg-type]
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.ckpt"
    save(network, path, card={})
    return str(path)


@pytest.fixture(scope="module")
def world(checkpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small index of it."""
    path = tmp_path_factory.mktemp("official") / "world"
    manifest = build_index(path, pair=load(checkpoint), cell_resolution=2, tile_resolution=1)
    assert manifest.counts["cells"] > 1000
    assert manifest.counts["tiles"] == 0
    assert manifest.parameters["tile_footprint_km"] is None
    return path


def test_cells_are_the_encoder_s_own(world: Path, checkpoint: str) -> None:
    assert find_damage(world) == []
    index, pair = SearchIndex.open(world), load(checkpoint)  # the index finds its checkpoint again by its path
    cells = index.cells()
    lonlat = np.stack([cells["lon"].to_numpy(), cells["lat"].to_numpy()], axis=1)
    expected = pair.encode_location(lonlat) @ pair.encode_location([[12.49, 41.89]])[0]
    np.testing.assert_allclose(index.field(Query.place(12.49, 41.89)), expected, atol=1e-6)
    best = index.search(Query.place(*lonlat[100]), k=1)[0]
    assert best.score == pytest.approx(1, abs=1e-5)
    assert best.km == pytest.approx(0, abs=1e-6)


def test_a_sentinel_patch_asks_the_cells(world: Path, checkpoint: str) -> None:
    pixels = np.random.default_rng(0).uniform(0, 0.4, (12, 64, 64)).astype(np.float32)
    patch = Patch(pixels, L2A_BANDS)
    index, pair = SearchIndex.open(world), load(checkpoint)
    cells = index.cells()
    lonlat = np.stack([cells["lon"].to_numpy(), cells["lat"].to_numpy()], axis=1)
    scores = pair.encode_location(lonlat) @ pair.encode_image(patch)[0]
    hits = index.search(Query.image(patch), k=3)
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(scores)[::-1][:3], atol=1e-5)


def test_tiles_get_a_sentence(world: Path) -> None:
    index = SearchIndex.open(world)
    assert len(index.tiles()) == 0
    message = r"holds no tiles: it was built without a dataset.* Search cells"
    with pytest.raises(QueryError, match=message):
        index.search(Query.place(0, 0), target="tiles")
    with pytest.raises(QueryError, match=message):
        index.search(Query.tile("8075fffffffffff"))
    with pytest.raises(QueryError, match=message):
        index.nearest_tile([[0, 0]])
    with pytest.raises(QueryError, match="this checkpoint has: both"):
        index.search(Query.place(0, 0), view="sharp")


def test_two_builds_give_the_same_bytes_and_a_third_nothing(world: Path, checkpoint: str, tmp_path: Path) -> None:
    def built(path: Path) -> dict[str, bytes]:
        here = current_snapshot(path)
        return {name: (here / name).read_bytes() for name in ("cells.parquet", "cells.faiss", "tiles.parquet")}

    build_index(tmp_path / "again", pair=load(checkpoint), cell_resolution=2, tile_resolution=1)
    assert built(tmp_path / "again") == built(world)
    before = current_snapshot(world)
    build_index(world, pair=load(checkpoint), cell_resolution=2, tile_resolution=1)
    assert current_snapshot(world) == before
    with pytest.raises(IndexStoreError, match=r"built by the checkpoint .*tiny\.ckpt .*, not by blue-marble-l40"):
        SearchIndex.open(world, checkpoint="blue-marble-l40")


def test_from_the_command_line(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["samewhere", *words])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    at = str(tmp_path / "world")
    code, out, err = run("index", "build", "--path", at, "--checkpoint", checkpoint, "--cell-resolution", "1")
    assert code == 0, err
    assert "0 tiles, ready" in out
    code, out, err = run("search", "--index", at, "--place", "12.49,41.89", "-k", "3", "--json")
    assert (code, len(json.loads(out)["hits"])) == (0, 3), err
    code, out, err = run("search", "--index", at, "--place", "12.49,41.89", "--target", "tiles")
    assert (code, out) == (2, "")
    assert "holds no tiles" in err
