"""Embeddings of other models: the layouts that are published, our own exports, and files that must be refused."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import SourceError
from data.geo import all_cells, cell_lonlat
from indexer.export import export_rows
from indexer.gallery import read_embeddings, write_gallery_shards
from indexer.gallery_columns import Columns
from indexer.rows import make_rows, open_writer, sort_rows, vectors_of

COUNT, DIM = 9, 6
RNG = np.random.default_rng(11)
RAW = RNG.normal(size=(COUNT, DIM)) * 5
LONLAT = np.stack([RNG.uniform(-170, 170, COUNT), RNG.uniform(-80, 80, COUNT)], axis=1)
UNIT = RAW / np.linalg.norm(RAW, axis=1, keepdims=True)
IDS = [f"tile-{row}" for row in range(COUNT)]


def squares(lonlat: np.ndarray = LONLAT) -> list[bytes]:
    return [shapely.to_wkb(shapely.box(x - 0.1, y - 0.1, x + 0.1, y + 0.1)) for x, y in lonlat]


def geo(**about: Any) -> dict[bytes, bytes]:
    column = {"encoding": "WKB", "geometry_types": []} | about
    return {
        b"geo": json.dumps({"version": "1.0.0", "primary_column": "geometry", "columns": {"geometry": column}}).encode()
    }


def major_tom() -> pa.Table:
    """As Major TOM's embeddings, whose vectors are halves or floats."""
    halves = pa.array([row.astype(np.float16) for row in RAW], type=pa.list_(pa.float16()))
    return pa.table(
        {
            "unique_id": IDS,
            "embedding": halves,
            "timestamp": ["20240506T070809"] * COUNT,
            "product_id": ["S2A_1"] * COUNT,
            "grid_cell": ["1U_2R"] * COUNT,
            "grid_row_u": pa.array(range(COUNT), type=pa.int16()),
            "geometry": squares(),
            "centre_lat": LONLAT[:, 1].astype(np.float32),
            "centre_lon": LONLAT[:, 0].astype(np.float32),
            "pixel_bbox": pa.array([[0, 0, 224, 224]] * COUNT, type=pa.list_(pa.int64())),
        }
    )


def clay() -> pa.Table:
    """As Clay's embeddings: no columns of degrees, GeoParquet's geometry, a date."""
    table = pa.table(
        {
            "source_url": ["s3://x"] * COUNT,
            "date": [date(2024, 5, 6)] * COUNT,
            "embeddings": pa.FixedSizeListArray.from_arrays(pa.array(RAW.reshape(-1)), DIM),
            "geometry": squares(),
        }
    )
    return table.replace_schema_metadata(geo())


def plain(**columns: Any) -> pa.Table:
    given: dict[str, Any] = {"id": IDS, "lon": LONLAT[:, 0], "lat": LONLAT[:, 1], "embedding": RAW.tolist()}
    return pa.table({name: values for name, values in (given | columns).items() if values is not None})


def write(table: pa.Table, path: Path, **how: Any) -> Path:
    pq.write_table(table, path, **how)
    return path


def read(table: pa.Table, tmp_path: Path, **how: Any) -> pa.Table:
    """The rows in the order of the file."""
    tables = list(read_embeddings(write(table, tmp_path / "file.parquet"), source="other", **how))
    rows = pa.concat_tables(tables)
    if rows["id"][0].as_py().startswith("tile-"):
        rows = rows.take(np.argsort([int(name[5:]) for name in rows["id"].to_pylist()]))
    return rows


def lonlat_of(rows: pa.Table) -> np.ndarray:
    return np.stack([rows["lon"].to_numpy(), rows["lat"].to_numpy()], axis=1)


def test_major_tom(tmp_path: Path) -> None:
    rows = read(major_tom(), tmp_path)
    assert rows["id"].to_pylist() == IDS
    halves = RAW.astype(np.float16).astype(np.float64)
    expected = halves / np.linalg.norm(halves, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors_of(rows), expected, atol=1e-7)
    np.testing.assert_array_equal(lonlat_of(rows), LONLAT.astype(np.float32).astype(np.float64))
    assert rows["acquired"].to_pylist() == [datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)] * COUNT
    assert rows["grid_row_u"].to_pylist() == list(range(COUNT)) and rows["product_id"][0].as_py() == "S2A_1"
    assert set(rows["source"].to_pylist()) == {"other"} and "pixel_bbox" not in rows.column_names
    assert len(set(rows["content"].to_pylist())) == COUNT


def test_clay_and_files_without_ids(tmp_path: Path) -> None:
    rows = read(clay(), tmp_path)
    assert sorted(rows["id"].to_pylist()) == [f"file-{row}" for row in range(COUNT)]
    rows = rows.take(np.argsort(rows["id"].to_pylist()))
    np.testing.assert_allclose(lonlat_of(rows), LONLAT, atol=1e-9)
    np.testing.assert_allclose(vectors_of(rows), UNIT, atol=1e-7)
    assert rows["acquired"][0].as_py() == datetime(2024, 5, 6, tzinfo=UTC)


def test_our_own_exports_come_back(tmp_path: Path) -> None:
    """And keep their model's fingerprint, so that its queries fit."""
    cells = all_cells(1)
    vectors = RNG.normal(size=(len(cells), DIM))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    rows = make_rows("cells", cells, lonlat=cell_lonlat(cells), vectors=vectors)
    with open_writer(tmp_path / "cells.parquet", rows.schema) as writer:
        writer.write_table(rows)
    (tmp_path / "manifest.json").write_text(json.dumps({"checkpoint": {"fingerprint": "c" * 64}}))
    export_rows(tmp_path, "cells", tmp_path / "out.parquet")
    (shard,), dim, fingerprint = write_gallery_shards([tmp_path / "out.parquet"], tmp_path / "shards", "cells-again")
    back = pq.read_table(shard)
    assert (dim, fingerprint) == (DIM, "c" * 64)
    by_id = dict(zip((f"{cell:x}" for cell in rows["id"].to_pylist()), vectors_of(rows), strict=True))
    np.testing.assert_allclose(vectors_of(back), [by_id[name] for name in back["id"].to_pylist()], atol=1e-7)
    assert back["country"].to_pylist() is not None and set(back["resolution"].to_pylist()) == {1}


def test_thumbnails_clouds_and_kinds_of_columns(tmp_path: Path) -> None:
    table = plain(
        thumbnail=pa.array([b"jpeg", None] + [b"x"] * (COUNT - 2)),
        cloud_cover=pa.array([1.5, None] + [0.0] * (COUNT - 2)),
        place=pa.array(["sea"] * COUNT).dictionary_encode(),
        good=[True] * COUNT,
        big=pa.array([2**63] * COUNT, type=pa.uint64()),
        KEY=["taken"] * COUNT,
        datetime=["2024-05-06T09:08:09+02:00", "yesterday"] + [None] * (COUNT - 2),
    )
    rows = read(table, tmp_path)
    assert rows["thumbnail"].to_pylist()[:2] == [b"jpeg", b""]
    assert rows["cloud_percent"].to_pylist()[:2] == [1.5, None]
    assert rows["acquired"].to_pylist()[:3] == [datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC), None, None]
    assert rows["datetime"].to_pylist()[1] == "yesterday"
    assert (rows["place"][0].as_py(), rows["good"][0].as_py(), rows["big"][0].as_py()) == ("sea", 1, 2**63)
    assert "KEY" not in rows.column_names


def test_a_footprint_across_the_antimeridian_has_its_centre_there(tmp_path: Path) -> None:
    parts = shapely.MultiPolygon([shapely.box(179, 10, 180, 12), shapely.box(-180, 10, -177, 12)])
    whole = shapely.box(-181, -2, -179, 0)
    table = plain(lon=None, lat=None, geometry=[shapely.to_wkb(parts), shapely.to_wkb(whole), *squares()[2:]])
    np.testing.assert_allclose(lonlat_of(read(table, tmp_path))[:2], [[-179, 11], [-180, -1]], atol=1e-9)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"embedding": None}, "no column of lists"),
        ({"embedding": None, "a": RAW.tolist(), "b": RAW.tolist()}, "--embedding-column"),
        ({"lon": None}, "--lonlat-columns"),
        ({"lon": None, "geometry": ["POINT (1 2)"] * COUNT}, "not WKB"),
        ({"lon": None, "geometry": [b"no geometry"] * COUNT}, "not WKB"),
        ({"lon": None, "geometry": [*squares()[:4], None, *squares()[5:]]}, "row 4: it has no place"),
        ({"lon": [*LONLAT[:3, 0], None, *LONLAT[4:, 0]]}, "row 3: it has no place"),
        ({"lat": [*LONLAT[:3, 1], 95.0, *LONLAT[4:, 1]]}, "outside -90…90"),
        ({"embedding": [*RAW[:5].tolist(), [0.0] * DIM, *RAW[6:].tolist()]}, "row 5: .* only zeros"),
        ({"embedding": [*RAW[:5].tolist(), [float("nan")] * DIM, *RAW[6:].tolist()]}, "row 5: .* not finite"),
        ({"embedding": [*RAW[:5].tolist(), [float("inf")] * DIM, *RAW[6:].tolist()]}, "row 5: .* not finite"),
        ({"embedding": [*RAW[:5].tolist(), [None] * DIM, *RAW[6:].tolist()]}, "row 5: .* missing"),
        ({"embedding": [*RAW[:5].tolist(), None, *RAW[6:].tolist()]}, "row 5: its embedding has 0 numbers"),
        ({"embedding": [*RAW[:5].tolist(), [1.0], *RAW[6:].tolist()]}, "row 5: its embedding has 1 numbers where 6"),
        ({"id": [*IDS[:2], None, *IDS[3:]]}, "row 2: its id .* is empty"),
        ({"id": [*IDS[:2], "x" * 201, *IDS[3:]]}, "row 2: its id has"),
        ({"id": [*IDS[:2], "a\nb", *IDS[3:]]}, "row 2: its id has"),
    ],
)
def test_what_cannot_be_used_is_a_sentence_that_names_the_row(
    change: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=sentence) as caught:
        read(plain(**change), tmp_path)
    assert "file.parquet" in str(caught.value)


def test_geometries_that_are_not_in_degrees_are_refused(tmp_path: Path) -> None:
    table = plain(lon=None, geometry=squares())
    for about, word in (
        ({"crs": {"id": {"authority": "EPSG", "code": 32633}}}, "EPSG:32633"),
        ({"encoding": "point"}, "WKB"),
    ):
        with pytest.raises(SourceError, match=word):
            read(table.replace_schema_metadata(geo(**about)), tmp_path)
    known = table.replace_schema_metadata(geo(crs={"id": {"authority": "OGC", "code": "CRS84"}}))
    np.testing.assert_allclose(lonlat_of(read(known, tmp_path)), LONLAT, atol=1e-9)


def test_columns_can_be_named(tmp_path: Path) -> None:
    table = plain(id=None, name=IDS, lon=None, lat=None, x=LONLAT[:, 0], y=LONLAT[:, 1], other=(RAW * -1).tolist())
    rows = read(table, tmp_path, columns=Columns(id="name", lonlat=("x", "y"), embedding="other"))
    np.testing.assert_allclose(vectors_of(rows), -UNIT, atol=1e-7)
    np.testing.assert_allclose(lonlat_of(rows), LONLAT)
    with pytest.raises(SourceError, match="no column 'nothing'"):
        read(table, tmp_path, columns=Columns(id="nothing"))


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(SourceError, match="no Parquet file"):
        list(read_embeddings(tmp_path / "bad.parquet", source="x"))
    with pytest.raises(SourceError, match="There is no file"):
        list(read_embeddings(tmp_path / "none.parquet", source="x"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no Parquet file in"):
        write_gallery_shards([tmp_path / "empty"], tmp_path / "shards", "x")
    write(plain().slice(0, 0), tmp_path / "empty" / "a.parquet")
    with pytest.raises(SourceError, match="there are no rows"):
        write_gallery_shards([tmp_path / "empty"], tmp_path / "shards", "x")


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 60), batch=st.integers(1, 20), shard=st.integers(1, 50), group=st.integers(1, 40))
def test_shards_hold_every_row_once_in_order(
    tmp_path_factory: pytest.TempPathFactory, count: int, batch: int, shard: int, group: int
) -> None:
    """However it is cut, and scaled by any factor: no row lost or doubled, and the same fingerprint."""
    folder = tmp_path_factory.mktemp("gallery")
    rng = np.random.default_rng(count)
    raw, lonlat = (
        rng.normal(size=(count, DIM)),
        np.stack([rng.uniform(-180, 180, count), rng.uniform(-90, 90, count)], 1),
    )
    scale = 10.0 ** rng.integers(-200, 200, (count, 1))
    table = pa.table(
        {
            "id": [f"{row}" for row in range(count)],
            "lon": lonlat[:, 0],
            "lat": lonlat[:, 1],
            "vec": (raw * scale).tolist(),
        }
    )
    half = count // 2
    write(table.slice(0, half), folder / "a.parquet", row_group_size=group)
    write(table.slice(half), folder / "b.parquet", row_group_size=group)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("indexer.gallery.BATCH_ROWS", batch)
        patch.setattr("indexer.gallery.SHARD_ROWS", shard)
        shards, dim, fingerprint = write_gallery_shards([folder], folder / "shards", "x")
    assert dim == DIM and len(fingerprint) == 64
    tables = [pq.read_table(path) for path in shards]
    for one in tables:
        assert (sort_rows(one["key"].to_numpy(), one["id"].to_numpy()) == np.arange(len(one))).all()
    rows = pa.concat_tables(tables)
    order = np.argsort([int(name) for name in rows["id"].to_pylist()])
    assert [int(name) for name in rows["id"].take(order).to_pylist()] == list(range(count))
    expected = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors_of(rows.take(order)), expected, atol=1e-6)


def test_files_must_belong_together(tmp_path: Path) -> None:
    first = write(plain(height=[1.5] * COUNT), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match=r"'tile-0' stands in 2 rows"):
        write_gallery_shards([first, first], tmp_path / "shards", "x")
    assert not list((tmp_path / "shards").iterdir())
    other = [f"other-{row}" for row in range(COUNT)]
    second = write(plain(id=other, embedding=RAW[:, :3].tolist()), tmp_path / "b.parquet")
    with pytest.raises(SourceError, match="6 are expected"):
        write_gallery_shards([first, second], tmp_path / "shards", "x")
    with pytest.raises(SourceError, match="'height' holds string"):
        write_gallery_shards(
            [first, write(plain(id=other, height=["low"] * COUNT), tmp_path / "c.parquet")], tmp_path / "shards", "x"
        )
    mixed = write(plain(id=other, height=[2] * COUNT, more=["text"] * COUNT), tmp_path / "d.parquet")
    shards, _, fingerprint = write_gallery_shards([first, mixed], tmp_path / "shards", "x")
    rows = pa.concat_tables([pq.read_table(path) for path in shards])
    assert sorted(rows["height"].to_pylist()) == [1.5] * COUNT + [2.0] * COUNT
    assert rows["more"].to_pylist().count(None) == COUNT
    assert write_gallery_shards([first], tmp_path / "again", "y")[2] != fingerprint


def test_memory_does_not_grow_with_a_row_group(tmp_path: Path) -> None:
    """One row group of 100 MB, read in a process of its own: its largest size stays well below that above the rest."""
    count, dim = 100_000, 256
    flat = pa.array(np.random.default_rng(0).normal(size=count * dim).astype(np.float32))
    table = pa.table(
        {
            "id": [f"{row}" for row in range(count)],
            "lon": np.zeros(count),
            "lat": np.zeros(count),
            "embedding": pa.FixedSizeListArray.from_arrays(flat, dim),
        }
    )
    path = write(table, tmp_path / "large.parquet", row_group_size=count, compression="none", use_dictionary=False)
    script = (
        "import resource, sys; from pathlib import Path; from indexer.gallery import read_embeddings\n"
        "size = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        "tables = read_embeddings(Path(sys.argv[1]), source='x'); next(tables); before = size()\n"
        "assert sum(len(table) for table in tables) == 100_000 - 4096; print(size() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 50
