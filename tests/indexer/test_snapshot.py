"""What lies on disk, and the refusal of anything else: half written, damaged, of another checkpoint or version."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import h3.api.numpy_int as h3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data import atlas
from data.errors import IndexStoreError
from data.geo import cell_key
from data.land import land_cells
from indexer import Query, SearchIndex, build_index
from indexer.manage import collect_garbage
from indexer.rows import KINDS, read_light
from indexer.snapshot import DATA_FILES, Manifest, current_snapshot, index_status, names_of, pointer_of
from indexer.verify import find_damage
from tests.indexer.conftest import CELL_RESOLUTION, TILE_RESOLUTION
from tests.indexer.standin import StandInPair

FILES = DATA_FILES


def contents(path: Path) -> dict[str, str]:
    """Every file below a path and its hash."""
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


@pytest.fixture
def copy(built: Path, tmp_path: Path) -> Path:
    """An index to damage."""
    return Path(shutil.copytree(built, tmp_path / "world"))


@pytest.mark.parametrize(("kind", "resolution"), [("cells", CELL_RESOLUTION), ("tiles", TILE_RESOLUTION)])
def test_rows_are_what_h3_the_atlas_and_the_encoder_say(
    built: Path, pair: StandInPair, kind: str, resolution: int
) -> None:
    table = pq.read_table(current_snapshot(built) / f"{kind}.parquet")
    ids = table["id"].to_numpy()
    if kind == "tiles":
        assert set(table["source"].to_pylist()) == {"blue-marble"}
        ids = np.array([int(text, 16) for text in ids], dtype=np.uint64)
    np.testing.assert_array_equal(ids, land_cells(resolution))
    assert (np.diff(ids.astype(np.int64)) > 0).all()
    lonlat = np.array([h3.cell_to_latlng(int(cell))[::-1] for cell in ids])
    np.testing.assert_allclose(table["lon"].to_numpy(), lonlat[:, 0], atol=1e-12)
    np.testing.assert_allclose(table["lat"].to_numpy(), lonlat[:, 1], atol=1e-12)
    for r in range(4):
        parents = [int(h3.cell_to_parent(int(cell), r)) for cell in ids] if r <= resolution else [None] * len(ids)
        assert table[f"parent_{r}"].to_pylist() == parents
    assert table["country"].to_pylist() == atlas.country_of(lonlat).tolist()
    assert table["continent"].to_pylist() == atlas.continent_of(lonlat).tolist()
    np.testing.assert_array_equal(table["key"].to_numpy(), cell_key(ids))
    assert str(table.schema.field("embedding").type).startswith("fixed_size_list<element: float")
    if kind == "cells":
        np.testing.assert_array_equal(np.array(table["embedding"].to_pylist()), pair.encode_location(lonlat))


def test_the_light_columns_stand_once_more_and_are_mapped(built: Path) -> None:
    directory = current_snapshot(built)
    for kind in KINDS:
        rows, mapped = pq.read_table(directory / f"{kind}.parquet"), read_light(directory / f"{kind}.arrow")
        assert set(rows.column_names) - set(mapped.column_names) == {"embedding", "thumbnail"} & set(rows.column_names)
        for name in mapped.column_names:
            assert mapped[name].to_pylist() == rows[name].to_pylist()
    before = pa.total_allocated_bytes()
    table = read_light(directory / "cells.arrow")
    assert table["lon"].to_numpy().sum() != 0
    assert pa.total_allocated_bytes() == before


def test_the_manifest_describes_every_file_and_fingerprints_all_but_time(built: Path) -> None:
    directory = current_snapshot(built)
    manifest = Manifest.read(directory, index=built)
    assert sorted(path.name for path in directory.iterdir()) == sorted([*FILES, "manifest.json"])
    for name, entry in manifest.files.items():
        data = (directory / name).read_bytes()
        assert entry == {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert manifest.digest() == manifest.fingerprint
    assert manifest.checkpoint == {"name": "stand-in", "fingerprint": "a" * 64, "dim": 16}
    assert find_damage(built) == []


def edit_manifest(path: Path, **changes: Any) -> None:
    """Change fields of the current manifest."""
    file = current_snapshot(path) / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def empty(path: Path) -> None:
    """Leave nothing."""
    shutil.rmtree(path)
    path.mkdir()


def remove_pointer(path: Path) -> None:
    """Leave what a build leaves that was killed before it could switch."""
    (path / "current").unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: shutil.rmtree(path), "does not exist. Run `samewhere index build --path"),
        (empty, "is empty"),
        (lambda path: path.rename(path.with_name("gone")).joinpath("current").rename(path), "is a file"),
        (remove_pointer, "unfinished build.*to finish it"),
        (
            lambda path: (current_snapshot(path) / "manifest.json").unlink(),
            "no manifest.json: it is half written.*build",
        ),
        (lambda path: (current_snapshot(path) / "cells.faiss").unlink(), "cells.faiss is missing"),
        (lambda path: (current_snapshot(path) / "tiles.parquet").write_bytes(b"x"), "tiles.parquet has 1 bytes"),
        (lambda path: edit_manifest(path, format=99), "format version 99.*reads version 2"),
        (lambda path: edit_manifest(path, counts={"cells": 1, "tiles": 1}), "changed after it was written"),
        (lambda path: edit_manifest(path, files={}), "changed after it was written"),
        (lambda path: (current_snapshot(path) / "manifest.json").write_text("{"), "cannot be read"),
        (lambda path: (current_snapshot(path) / "manifest.json").write_text("[]"), "cannot be read"),
        (lambda path: (path / "current").write_text("../elsewhere"), "names no snapshot"),
    ],
)
def test_what_cannot_be_trusted_is_refused_and_left_alone(copy: Path, damage: Any, words: str) -> None:
    damage(copy)
    before = contents(copy)
    with pytest.raises(IndexStoreError, match=words) as refusal:
        SearchIndex.open(copy, pair=StandInPair())
    assert "\n" not in str(refusal.value)
    assert contents(copy) == before
    assert index_status(copy)["state"] in ("missing", "building", "damaged")


def test_a_directory_of_something_else_is_refused_by_reader_and_builder(tmp_path: Path, pair: StandInPair) -> None:
    (tmp_path / "building").mkdir()
    (tmp_path / "building" / "house.txt").write_text("mine")
    before = contents(tmp_path)
    with pytest.raises(IndexStoreError, match="is not empty and not an index"):
        build_index(tmp_path, pair=pair)
    with pytest.raises(IndexStoreError):
        SearchIndex.open(tmp_path, pair=pair)
    assert contents(tmp_path) == before


def test_another_checkpoint_is_refused_by_name(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = StandInPair("another", "b" * 64)
    words = "stand-in \\(aaaaaaaaaaaa\\), not by another \\(bbbbbbbbbbbb\\).*rebuild.*samewhere index build"
    with pytest.raises(IndexStoreError, match=words):
        SearchIndex.open(built, pair=other)
    monkeypatch.setattr("indexer.search.load_encoder", lambda name, part: other)
    with pytest.raises(IndexStoreError, match=words):
        SearchIndex.open(built, checkpoint="another")
    with pytest.raises(IndexStoreError, match=words):  # the name stayed, its weights were exchanged
        SearchIndex.open(built).search(Query.place(0, 0))


@pytest.mark.parametrize("name", FILES)
def test_verify_names_the_file_with_a_flipped_bit(copy: Path, name: str) -> None:
    file = current_snapshot(copy) / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert [str(file) in sentence for sentence in find_damage(copy)] == [True]


def test_verify_finds_rows_that_do_not_fit_their_vectors(copy: Path) -> None:
    directory = current_snapshot(copy)
    shutil.copyfile(directory / "tiles.faiss", directory / "cells.faiss")
    old = Manifest.read(directory, index=copy)
    content = {name: getattr(old, name) for name in ("checkpoint", "parameters", "plan", "counts", "sources", "search")}
    Manifest.describe(directory, **content, failed=[]).write(directory)
    with pytest.raises(IndexStoreError, match="vectors of length"):
        find_damage(copy)


def test_a_reader_keeps_its_snapshot_while_the_index_is_rebuilt(copy: Path, pair: StandInPair) -> None:
    reader = SearchIndex.open(copy, pair=pair)
    tile = reader.nearest_tile((12.5, 41.9))[0]
    before = reader.search(Query.place(12.5, 41.9)), reader.thumbnail(tile), reader.field(Query.tile(tile)).tolist()
    build_index(copy, pair=StandInPair("other", "c" * 64), cell_resolution=1, tile_resolution=0)
    after = reader.search(Query.place(12.5, 41.9)), reader.thumbnail(tile), reader.field(Query.tile(tile)).tolist()
    assert before == after
    assert collect_garbage(copy) == []  # the reader holds the old one
    assert sorted(path.name for path in copy.glob("snap-*")) == ["snap-00001", "snap-00002"]
    reader.close()
    assert collect_garbage(copy) == ["snap-00001"]
    assert [path.name for path in copy.glob("snap-*")] == ["snap-00002"]
    assert SearchIndex.open(copy).manifest.checkpoint["name"] == "other"


@pytest.mark.parametrize(
    "being_written", ["current.part", "current-second.part", "current-", "currents", "current-a b"]
)
def test_a_pointer_that_is_being_written_is_none_yet(tmp_path: Path, being_written: str) -> None:
    (tmp_path / "current").write_text("snapshots/one")
    (tmp_path / "current-second").write_text("snapshots/two")
    (tmp_path / being_written).write_text("snapshots/thr")
    assert names_of(tmp_path) == {None: "snapshots/one", "second": "snapshots/two"}
    with pytest.raises(IndexStoreError, match="cannot be a snapshot's name"):
        pointer_of("second.part")
