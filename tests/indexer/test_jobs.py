"""Changes to an index: adding, removing, resuming, comparing, importing; and every engine."""

from __future__ import annotations

import functools
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
from rasterio.transform import from_origin

from data.catalogue import Catalogue, dataset_path
from data.errors import IndexStoreError, QueryError, SourceError
from data.geo import cell_of, cell_parent
from data.ingest import ingest
from data.sources import open_source
from indexer import Compare, Query, SearchIndex, Where, build_index
from indexer import plan as plan_module
from indexer.build import add_sources, resume_job
from indexer.engines import Inline, Pool, Ray
from indexer.export import export_rows
from indexer.manage import collect_garbage, compact, compare, import_gallery, remove_rows
from indexer.merge import Input, merge_rows
from indexer.remote import push
from indexer.snapshot import Manifest, current_snapshot, held_snapshot, index_status, names_of
from indexer.verify import find_damage
from tests.indexer.conftest import push_quickly
from tests.indexer.standin import StandInPair

PLACES = [(12.4, 41.8), (12.45, 41.85), (12.5, 41.9), (12.41, 41.83), (-60.0, -3.0), (179.99, -16.5), (100.0, 60.0)]
Open = Callable[..., SearchIndex]
build_small = functools.partial(build_index, cell_resolution=2, tile_resolution=0)


def write_patch(path: Path, lon: float, lat: float, *, seed: int) -> None:
    """A small 12-band patch with random reflectance."""
    values = np.random.default_rng(seed).integers(200, 4000, (12, 16, 16)).astype(np.uint16)
    profile = {"driver": "GTiff", "width": 16, "height": 16, "count": 12, "dtype": "uint16", "crs": "EPSG:4326"}
    with rasterio.open(path, "w", transform=from_origin(lon, lat, 1e-4, 1e-4), **profile) as file:
        file.write(values)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for datasets of this test."""
    monkeypatch.setenv("SAMEWHERE_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture(params=["local", "milvus"])
def open_index(request: pytest.FixtureRequest, home: Path) -> Iterator[Open]:
    """Open an index from its directory, or push it to an embedded Milvus and open it from there."""
    opened: list[SearchIndex] = []

    def open_it(path: Path, **more: Any) -> SearchIndex:
        if request.param == "milvus":
            path = push_quickly(path, f"milvus://{home}/{path.name}.db")  # type: ignore[assignment]
        opened.append(SearchIndex.open(path, **more))
        return opened[-1]

    yield open_it
    for index in opened:
        index.close()


def add_dataset(home: Path, name: str, places: list[tuple[float, float]], *, seed: int = 0, keep: bool = True) -> Path:
    """A dataset of one patch for each place."""
    folder = home / f"{name}-files"
    folder.mkdir(exist_ok=True)
    for number, (lon, lat) in enumerate(places):
        write_patch(folder / f"{seed}-{number}.tif", lon, lat, seed=100 * seed + number)
    ingest(open_source(str(folder)), dataset_path(name), keep_pixels=keep, root=folder)
    return folder


def bytes_of(index: Path) -> dict[str, bytes]:
    """What a snapshot holds, without the manifest, which tells its time."""
    return {f.name: f.read_bytes() for f in current_snapshot(index).iterdir() if f.name != "manifest.json"}


def test_a_dataset_and_the_cells_are_searched_together(home: Path, pair: StandInPair, open_index: Open) -> None:
    add_dataset(home, "mine", PLACES)
    manifest = build_small(home / "a", pair=pair, sources=("blue-marble", "mine"))
    assert manifest.sources == {"blue-marble": manifest.counts["tiles"] - 7, "mine": 7}
    index = open_index(home / "a", pair=pair)
    catalogue = Catalogue.open("mine")
    for row in catalogue.query().to_pylist():
        patch = catalogue.read_row(row).patch
        best = index.search(Query.image(patch), target="tiles", where=Where(sources=("mine",)), k=1)[0]
        assert (best.id, best.source) == (row["id"], "mine")
        assert best.score == pytest.approx(1, abs=1e-5)
        assert best.km == pytest.approx(0, abs=0.1)
        assert index.thumbnail(row["id"])[:2] == b"\xff\xd8"
        assert index.search(Query.tile(row["id"]), k=3)[0].target == "cells"
    assert find_damage(home / "a") == []


def test_adding_embeds_what_is_new_alone_and_ends_like_one_build(
    home: Path, pair: StandInPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_dataset(home, "one", PLACES[:4])
    add_dataset(home, "two", PLACES[4:], seed=1)
    build_small(home / "whole", pair=pair, sources=("blue-marble", "one", "two"))
    build_small(home / "steps", pair=pair)
    seen: list[int] = []
    real = StandInPair.encode_image

    def counting(self: StandInPair, images: Any, **more: Any) -> Any:
        seen.append(len(images))
        return real(self, images, **more)

    monkeypatch.setattr(StandInPair, "encode_image", counting)
    monkeypatch.setattr("indexer.build.warm_up", lambda *_: None)
    monkeypatch.setattr(StandInPair, "encode_location", lambda *_, **__: pytest.fail("a cell was embedded again"))
    add_sources(home / "steps", ["one"], pair=pair)
    add_sources(home / "steps", ["two"], pair=pair)
    assert sum(seen) == 7
    assert bytes_of(home / "steps") == bytes_of(home / "whole")
    # the dataset grows: adding it once more embeds the new patch alone
    add_dataset(home, "two", [(30.0, 30.0)], seed=2)
    manifest = add_sources(home / "steps", ["two"], pair=pair)
    assert sum(seen) == 8
    assert manifest.sources["two"] == 4
    assert add_sources(home / "steps", ["two"], pair=pair) == manifest
    assert find_damage(home / "steps") == []


def test_removing_takes_the_filtered_rows_and_no_others(home: Path, pair: StandInPair) -> None:
    add_dataset(home, "one", PLACES)
    path = home / "a"
    before = build_small(path, pair=pair)
    plain = bytes_of(path)
    add_sources(path, ["one"], pair=pair)
    after = remove_rows(path, Where(countries=("ITA",), sources=("one",)))
    assert after.sources == before.sources | {"one": 3}
    with pytest.raises(QueryError, match="nothing to remove"):
        remove_rows(path, Where(countries=("ITA",), sources=("one",)))
    with pytest.raises(QueryError, match="No filter"):
        remove_rows(path, Where())
    with pytest.raises(QueryError, match="Every row"):
        remove_rows(path, Where(compare=(Compare("lat", ">", -91.0),)), kinds=("cells", "tiles"))
    last = remove_rows(path, Where(sources=("one",)))
    assert last.parameters["sources"] == ["blue-marble"]
    rows = pq.read_table(current_snapshot(path) / "tiles.parquet").select(["id", "embedding"])
    (home / "old.parquet").write_bytes(plain["tiles.parquet"])
    assert rows.to_pylist() == pq.read_table(home / "old.parquet").select(["id", "embedding"]).to_pylist()
    assert bytes_of(path)["cells.faiss"] == plain["cells.faiss"]
    assert find_damage(path) == []


def test_a_patch_that_cannot_be_read_is_named_and_costs_itself_alone(home: Path, pair: StandInPair) -> None:
    folder = add_dataset(home, "one", PLACES, keep=False)
    (folder / "0-0.tif").write_bytes(b"no picture")
    manifest = build_small(home / "b", pair=pair, sources=("one",))
    assert manifest.counts["tiles"] == 6
    assert [len(reason) > 20 for _, reason in manifest.failed] == [True]
    assert "0-0.tif" in manifest.failed[0][1]
    assert find_damage(home / "b") == []


def test_what_could_not_be_read_is_tried_again(home: Path, pair: StandInPair) -> None:
    folder = add_dataset(home, "one", PLACES, keep=False)
    patch = (folder / "0-0.tif").read_bytes()
    (folder / "0-0.tif").unlink()
    manifest = build_small(home / "b", pair=pair, sources=("one",))
    assert len(manifest.failed) == 1
    assert build_small(home / "b", pair=pair, sources=("one",)) == manifest  # still away: nothing new
    (folder / "0-0.tif").write_bytes(patch)
    manifest = build_small(home / "b", pair=pair, sources=("one",))
    assert (manifest.counts["tiles"], manifest.failed) == (7, [])
    build_small(home / "whole", pair=pair, sources=("one",))
    assert bytes_of(home / "b") == bytes_of(home / "whole")


def test_a_patch_of_two_datasets_belongs_to_one_that_is_wanted(home: Path, pair: StandInPair) -> None:
    for name in ("one", "two"):
        add_dataset(home, name, PLACES)
    assert build_small(home / "a", pair=pair, sources=("one", "two")).sources == {"one": 7}
    assert build_small(home / "a", pair=pair, sources=("two",)).sources == {"two": 7}
    build_small(home / "whole", pair=pair, sources=("two",))
    assert bytes_of(home / "a") == bytes_of(home / "whole")


def test_a_dataset_may_be_called_as_the_cells_are(home: Path, pair: StandInPair) -> None:
    add_dataset(home, "cells", PLACES)
    assert build_small(home / "a", pair=pair, sources=("cells",)).sources == {"cells": 7}


def test_of_rows_with_one_id_the_first_stays_wherever_they_lie(tmp_path: Path) -> None:
    layout = pa.schema([("key", pa.uint64()), ("id", pa.string()), ("from", pa.string())])
    rows = {"a": [(5, "x"), (9, "y")], "b": [(1, "y"), (5, "x"), (7, "z")]}
    for name, some in rows.items():
        keys, ids = zip(*some, strict=True)
        table = pa.table([pa.array(keys, pa.uint64()), ids, [name] * len(some)], schema=layout)
        pq.write_table(table, tmp_path / name)
    with (tmp_path / "out").open("wb") as file:
        assert merge_rows(file, [Input(tmp_path / "a"), Input(tmp_path / "b")], layout, row_group=2) == 3
    found = pq.read_table(tmp_path / "out").to_pylist()
    assert [(row["key"], row["id"], row["from"]) for row in found] == [(5, "x", "a"), (7, "z", "b"), (9, "y", "a")]


def test_who_reads_for_long_holds_what_is_read(home: Path, pair: StandInPair) -> None:
    path = home / "a"
    build_small(path, pair=pair)
    add_dataset(home, "one", PLACES)
    with held_snapshot(path) as directory:
        add_sources(path, ["one"], pair=pair)
        assert collect_garbage(path) == [] and directory.is_dir()
    assert collect_garbage(path) == [directory.name] and not directory.exists()


def test_cells_are_fine_where_tiles_are_dense(home: Path, pair: StandInPair, open_index: Open) -> None:
    add_dataset(home, "one", PLACES)
    build_small(home / "a", pair=pair, sources=("one",), fine_resolution=4, dense=3)
    index = open_index(home / "a", pair=pair)
    table = index.cells()
    ids, keys = table["id"].to_numpy(), table["key"].to_numpy()
    assert (np.diff(keys.astype(np.int64)) > 0).all()
    fine = ids[table["resolution"].to_numpy() == 4]
    rome = cell_of([(12.4, 41.8)], 2)
    assert len(fine) == 49
    np.testing.assert_array_equal(np.unique(cell_parent(fine, 2)), rome)
    assert int(rome[0]) not in ids.tolist()
    hit = index.search(Query.place(12.4, 41.8), k=49, where=Where(cells=(int(rome[0]),)))
    assert {int(h.id, 16) for h in hit} == set(fine.tolist())


def test_several_models_in_one_directory(home: Path, pair: StandInPair) -> None:
    path = home / "a"
    build_small(path, pair=pair)
    build_small(path, pair=StandInPair("other", "b" * 64), name="second")
    assert sorted(names_of(path), key=str) == [None, "second"]
    assert SearchIndex.open(path).manifest.checkpoint["name"] == "stand-in"
    assert SearchIndex.open(path, name="second").manifest.checkpoint["name"] == "other"
    assert index_status(path, "second")["state"] == "ready"
    with pytest.raises(IndexStoreError, match="has no snapshot 'third'; it has: second"):
        SearchIndex.open(path, name="third")
    with pytest.raises(IndexStoreError, match="cannot be a snapshot's name"):
        SearchIndex.open(path, name="../x")
    assert collect_garbage(path) == []


def test_resuming_needs_no_options(home: Path, pair: StandInPair) -> None:
    path = home / "a"

    def stop(now: Any) -> None:
        if now.stage == "finish":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_small(path, pair=pair, progress=stop)
    with pytest.raises(IndexStoreError, match="begun with stand-in"):
        resume_job(path, pair=StandInPair("stand-in", "f" * 64))
    with pytest.raises(IndexStoreError, match="unfinished"):
        remove_rows(path, Where(countries=("ITA",)))
    manifest = resume_job(path, pair=pair)
    assert bytes_of(path).keys() == manifest.files.keys()
    build_small(home / "b", pair=pair)
    assert bytes_of(path) == bytes_of(home / "b")
    with pytest.raises(IndexStoreError, match="nothing to resume"):
        resume_job(path, pair=pair)


def test_comparing(home: Path, pair: StandInPair) -> None:
    build_small(home / "a", pair=pair)
    build_index(home / "b", pair=pair, cell_resolution=1, tile_resolution=0)
    found = compare(home / "a", home / "b")
    assert (found["tiles"].added, found["tiles"].removed, found["tiles"].changed) == ([], [], [])
    assert found["cells"].same == 0
    other = StandInPair("other", "b" * 64)
    other._phase = other._phase + 0.1
    build_small(home / "c", pair=other)
    changed = compare(home / "a", home / "c")["cells"]
    assert changed.added == changed.removed == []
    assert len(changed.changed) == SearchIndex.open(home / "a").manifest.counts["cells"]


def test_an_export_comes_back_as_a_gallery(home: Path, pair: StandInPair, open_index: Open) -> None:
    build_small(home / "a", pair=pair)
    out = home / "tiles.parquet"
    export_rows(current_snapshot(home / "a"), "tiles", out)
    manifest = import_gallery(home / "g", [out], name=None, model="mine")
    assert manifest.checkpoint["imported"] is True
    gallery, index = open_index(home / "g"), open_index(home / "a", pair=pair)
    tile = index.tiles()["id"].to_pylist()[3]
    mine = gallery.search(Query.tile(tile), target="tiles", k=5)
    theirs = index.search(Query.tile(tile), target="tiles", k=5)
    assert [hit.id for hit in mine] == [hit.id for hit in theirs]
    np.testing.assert_allclose([hit.score for hit in mine], [hit.score for hit in theirs], atol=1e-6)
    with pytest.raises(QueryError, match="were imported from mine"):
        gallery.search(Query.place(0, 0), target="tiles")
    with pytest.raises(QueryError, match="holds no cells"):
        gallery.search(Query.tile(tile))
    with pytest.raises(IndexStoreError, match="imported"):
        add_sources(home / "g", ["x"], pair=StandInPair("mine", manifest.checkpoint["fingerprint"]))


def test_a_gallery_takes_no_other_index_away(home: Path, pair: StandInPair) -> None:
    path, out = home / "a", home / "tiles.parquet"
    built = build_small(path, pair=pair)
    export_rows(current_snapshot(path), "tiles", out)
    with pytest.raises(IndexStoreError, match=r"An index of stand-in stands at .* --name, or replace it with --force"):
        import_gallery(path, [out], name=None, model="mine")
    assert Manifest.read(current_snapshot(path), index=path) == built
    import_gallery(path, [out], name="mine", model="mine")
    import_gallery(path, [out], name="mine", model="mine")  # its own is renewed
    assert import_gallery(path, [out], name=None, model="mine", force=True).checkpoint["name"] == "mine"


def test_columns_without_a_number_are_no_damage(home: Path, pair: StandInPair) -> None:
    build_small(home / "a", pair=pair)
    out = home / "tiles.parquet"
    export_rows(current_snapshot(home / "a"), "tiles", out)
    table = pq.read_table(out)
    quality = np.arange(len(table), dtype=np.float64)
    quality[1] = np.nan
    pq.write_table(table.append_column("quality", pa.array(quality)), out)
    import_gallery(home / "g", [out], name=None, model="mine")
    assert find_damage(home / "g") == []


def test_vectors_do_not_overwrite_ids_unasked(home: Path, pair: StandInPair) -> None:
    build_small(home / "a", pair=pair)
    (home / "x.ids.txt").write_text("mine")
    with pytest.raises(QueryError, match=r"x\.ids\.txt exists already"):
        export_rows(current_snapshot(home / "a"), "tiles", home / "x.npy")
    assert (home / "x.ids.txt").read_text() == "mine"


def test_changing_what_is_not_there_makes_nothing(home: Path) -> None:
    for change in (lambda path: remove_rows(path, Where(countries=("ITA",))), lambda path: compact(path)):
        with pytest.raises(IndexStoreError):
            change(home / "mistyped")
    assert not (home / "mistyped").exists()


def test_an_unknown_dataset_is_a_sentence(home: Path, pair: StandInPair) -> None:
    with pytest.raises(SourceError, match="no dataset"):
        build_small(home / "a", pair=pair, sources=("nowhere",))


class DyingPair(StandInPair):
    """Kills its own process at its first shard, once for a given file."""

    def __init__(self, flag: Path) -> None:
        super().__init__()
        self._flag = flag

    def encode_location(self, lonlat: Any, *, normalize: bool = True) -> Any:
        """Embed, or die."""
        if len(lonlat) > 1:
            try:
                self._flag.touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().encode_location(lonlat, normalize=normalize)


class AlwaysDying(StandInPair):
    """Kills its own process at every shard."""

    def encode_location(self, lonlat: Any, *, normalize: bool = True) -> Any:
        """Die."""
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("engine", [Pool, Ray])
def test_every_engine_makes_the_same_bytes_though_a_worker_is_killed(
    engine: type[Pool] | type[Ray], home: Path, pair: StandInPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(plan_module.SHARD_ROWS, "cells", 200)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    build_small(home / "inline", pair=pair, engine=Inline(pair))
    flag = home / "died"
    chosen = engine(functools.partial(DyingPair, flag), pair.fingerprint, 2)
    build_small(home / "other", pair=pair, engine=chosen)
    assert flag.exists()
    assert bytes_of(home / "other") == bytes_of(home / "inline")
    assert find_damage(home / "other") == []


def test_workers_that_always_die_end_the_job_with_a_sentence(home: Path, pair: StandInPair) -> None:
    with pytest.raises(IndexStoreError, match=r"Workers died 4 times.*What was made is kept"):
        build_small(home / "a", pair=pair, engine=Pool(AlwaysDying, pair.fingerprint, 1))
    build_small(home / "a", pair=pair)
    assert find_damage(home / "a") == []


def test_a_worker_with_another_checkpoint_is_refused(home: Path, pair: StandInPair) -> None:
    with pytest.raises(IndexStoreError, match="A worker loaded the checkpoint"):
        build_small(
            home / "a", pair=pair, engine=Pool(functools.partial(StandInPair, "x", "c" * 64), pair.fingerprint, 1)
        )


def test_the_manifest_is_plain_and_round_trips(home: Path, pair: StandInPair) -> None:
    manifest = build_small(home / "a", pair=pair)
    directory = current_snapshot(home / "a")
    assert Manifest.read(directory, index=home / "a") == manifest
    assert json.loads((directory / "manifest.json").read_text())["search"] == {
        "cells": {"method": "flat"},
        "tiles": {"method": "flat"},
    }


def test_an_index_in_an_object_store_answers_the_same(home: Path, pair: StandInPair) -> None:
    manifest = build_small(home / "a", pair=pair)
    push(home / "a", f"file://{home / 'store'}")
    index = SearchIndex.open(f"file://{home / 'store'}", pair=pair)
    assert index.manifest == manifest
    assert index.search(Query.place(12, 41)) == SearchIndex.open(home / "a", pair=pair).search(Query.place(12, 41))
