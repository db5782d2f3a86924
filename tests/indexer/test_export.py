"""Exports, read back by other means: pyarrow, json, csv, numpy, shapely; outlines against the sphere."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import h3.api.numpy_int as h3
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import IndexStoreError, QueryError
from data.geo import all_cells, cell_lonlat, cell_to_hex
from indexer.cell_shapes import cell_shapes, shape_boxes
from indexer.export import Format, export_rows
from indexer.rows import make_rows, open_writer, vectors_of
from indexer.rowset import RowSet

DIM = 8
NAMES = ["plain", 'a "quoted", name', "Ünïcode", "line\nbreak", "last"]


def unit(count: int) -> np.ndarray:
    vectors = np.random.default_rng(3).normal(size=(count, DIM))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All cells of resolution 1 and some of 3, and five tiles."""
    folder = tmp_path_factory.mktemp("snapshot")
    cells = np.r_[all_cells(1), h3.cell_to_children(int(all_cells(0)[7]), 3)].astype(np.uint64)
    rows = make_rows("cells", cells, lonlat=cell_lonlat(cells), vectors=unit(len(cells)))
    with open_writer(folder / "cells.parquet", rows.schema) as writer:
        writer.write_table(rows, 100)
    tiles = make_rows(
        "tiles",
        NAMES,
        lonlat=np.array([[12.5, 41.9], [-179.999, -16.5], [0, 90], [179.999, 16.5], [151, -33.0]]),
        vectors=unit(5),
        columns={
            "source": ["s2"] * 5,
            "acquired": [datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC), None, None, None, None],
            "cloud_percent": [12.5, None, 0, float("nan"), 100],
            "thumbnail": [b"jpeg"] * 5,
            "count": [2**60, None, -1, 0, 1],
        },
        extra={"count": pa.int64()},
    )
    with open_writer(folder / "tiles.parquet", tiles.schema) as writer:
        writer.write_table(tiles, 2)
    (folder / "manifest.json").write_text(
        json.dumps({"checkpoint": {"name": "m", "fingerprint": "b" * 64, "dim": DIM}})
    )
    return folder


def test_geoparquet_holds_what_is_stored(snapshot: Path, tmp_path: Path) -> None:
    stored = pq.read_table(snapshot / "cells.parquet")
    assert export_rows(snapshot, "cells", tmp_path / "x.parquet") == len(stored)
    table = pq.read_table(tmp_path / "x.parquet")
    assert table["id"].to_pylist() == cell_to_hex(stored["id"].to_numpy())
    assert table.schema.field("embedding").type.equals(pa.list_(pa.field("element", pa.float32(), nullable=False)))
    np.testing.assert_array_equal(np.array(table["embedding"].to_pylist(), dtype=np.float32), vectors_of(stored))
    points = shapely.from_wkb(table["geometry"].to_numpy())
    for side, name in ((shapely.get_x, "lon"), (shapely.get_y, "lat")):
        np.testing.assert_array_equal(side(points), stored[name].to_numpy())
    parents = stored["parent_2"].to_pylist()
    assert table["parent_2"].to_pylist() == [None if cell is None else f"{cell:x}" for cell in parents]
    assert None in parents
    assert table["resolution"].equals(stored["resolution"])
    assert "key" not in table.column_names
    geo = json.loads(table.schema.metadata[b"geo"])
    column = geo["columns"]["geometry"]
    assert (geo["version"], geo["primary_column"]) == ("1.1.0", "geometry")
    assert (column["encoding"], column["geometry_types"]) == ("WKB", ["Point"])
    assert set(column["covering"]["bbox"]) == set(table["bbox"][0].as_py())
    assert json.loads(table.schema.metadata[b"samewhere"])["checkpoint"]["fingerprint"] == "b" * 64


def test_the_same_rows_give_the_same_bytes(snapshot: Path, tmp_path: Path) -> None:
    for name in ("a.parquet", "b.parquet"):
        export_rows(snapshot, "cells", tmp_path / name, geometry="cell")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_outlines_cover_the_globe_once() -> None:
    """All cells of a resolution, poles and ±180° included: 360 × 180 square degrees, each holding its centre."""
    cells = all_cells(2)
    shapes, lonlat = cell_shapes(cells), cell_lonlat(cells)
    assert shapely.is_valid(shapes).all()
    assert shapely.contains_xy(shapes, lonlat[:, 0], lonlat[:, 1]).all()
    assert shapely.area(shapes).sum() == pytest.approx(360 * 180, rel=1e-9)
    bounds = shapely.bounds(shapes)
    assert bounds.min() >= -180 and bounds.max() <= 180
    assert all(shapely.is_ccw(shapely.get_exterior_ring(part)) for part in shapely.get_parts(shapes))
    poles = cell_shapes(np.array([h3.latlng_to_cell(lat, 0, 2) for lat in (-90, 90)], dtype=np.uint64))
    assert shapely.bounds(poles)[:, [0, 2]].tolist() == [[-180, 180]] * 2
    assert (shapely.bounds(poles)[0, 1], shapely.bounds(poles)[1, 3]) == (-90, 90)
    boxes = shape_boxes(shapes)
    crossing = [box for box in boxes if box["xmin"] > box["xmax"]]
    assert crossing and all((360 + box["xmax"] - box["xmin"]) < 90 for box in crossing)


def test_geojson_is_what_rfc_7946_asks(snapshot: Path, tmp_path: Path) -> None:
    export_rows(snapshot, "tiles", tmp_path / "x.geojson")
    content = json.loads((tmp_path / "x.geojson").read_text(encoding="utf-8"))
    stored = pq.read_table(snapshot / "tiles.parquet").to_pylist()
    assert content["type"] == "FeatureCollection"
    for feature, row in zip(content["features"], stored, strict=True):
        assert feature["id"] == row["id"]
        assert feature["geometry"] == {"type": "Point", "coordinates": pytest.approx([row["lon"], row["lat"]])}
        assert feature["properties"]["count"] == row["count"]
        assert not {"thumbnail", "embedding", "key", "id"} & set(feature["properties"])
    plain = next(feature["properties"] for feature in content["features"] if feature["id"] == "plain")
    assert plain["acquired"] == "2024-05-06T07:08:09Z" and plain["cloud_percent"] == 12.5
    assert [f["properties"]["cloud_percent"] for f in content["features"]].count(None) == 2  # missing, and no number
    export_rows(snapshot, "cells", tmp_path / "cells.json", geometry="cell")
    cells = json.loads((tmp_path / "cells.json").read_text())["features"]
    shapes = [shapely.from_geojson(json.dumps(feature["geometry"])) for feature in cells]
    exact = cell_shapes(pq.read_table(snapshot / "cells.parquet")["id"].to_numpy())
    assert shapely.equals_exact(shapes, exact, tolerance=1e-7).all()


def test_csv_reads_back(snapshot: Path, tmp_path: Path) -> None:
    export_rows(snapshot, "tiles", tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    stored = pq.read_table(snapshot / "tiles.parquet").to_pylist()
    assert [row["id"] for row in rows] == [row["id"] for row in stored]
    assert sorted(row["id"] for row in rows) == sorted(NAMES)
    assert [float(row["lon"]) for row in rows] == [row["lon"] for row in stored]
    assert [row["count"] for row in rows] == ["" if row["count"] is None else str(row["count"]) for row in stored]


def test_npy_and_its_ids(snapshot: Path, tmp_path: Path) -> None:
    export_rows(snapshot, "cells", tmp_path / "x.npy")
    stored = pq.read_table(snapshot / "cells.parquet")
    vectors = np.load(tmp_path / "x.npy", allow_pickle=False)
    assert vectors.dtype == np.float32
    np.testing.assert_array_equal(vectors, vectors_of(stored))
    assert (tmp_path / "x.ids.txt").read_text().splitlines() == cell_to_hex(stored["id"].to_numpy())
    with pytest.raises(IndexStoreError, match="fits no list"):
        export_rows(snapshot, "tiles", tmp_path / "y.npy")
    assert not (tmp_path / "y.npy").exists() and not (tmp_path / "y.ids.txt").exists()


@settings(max_examples=40, deadline=None)
@given(chosen=st.sets(st.integers(0, 1184), max_size=400), piece=st.integers(1, 300))
def test_any_rows_can_be_chosen(
    snapshot: Path, tmp_path_factory: pytest.TempPathFactory, chosen: set[int], piece: int
) -> None:
    """Whatever the rows and however many are held at once, in every format the same rows in the same order."""
    out = tmp_path_factory.mktemp("chosen")
    stored = pq.read_table(snapshot / "cells.parquet")
    assert len(stored) == 842 + 343
    rows = RowSet.from_rows(sorted(chosen))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("indexer.export.PIECE_ROWS", piece)
        for name in ("x.parquet", "x.npy", "x.csv", "x.geojson"):
            assert export_rows(snapshot, "cells", out / name, rows=rows) == len(chosen)
    ids = cell_to_hex(stored["id"].to_numpy()[sorted(chosen)])
    assert pq.read_table(out / "x.parquet")["id"].to_pylist() == ids
    assert (out / "x.ids.txt").read_text().splitlines() == ids
    np.testing.assert_array_equal(np.load(out / "x.npy"), vectors_of(stored)[sorted(chosen)])
    assert [line.split(",")[0] for line in (out / "x.csv").read_text().splitlines()[1:]] == ids
    assert [feature["id"] for feature in json.loads((out / "x.geojson").read_text())["features"]] == ids


def test_files_are_not_replaced_unless_told(snapshot: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.csv"
    out.write_text("mine")
    with pytest.raises(QueryError, match="exists already"):
        export_rows(snapshot, "cells", out)
    assert out.read_text() == "mine"
    export_rows(snapshot, "cells", out, force=True)
    assert out.read_text().startswith("id,")


@pytest.mark.parametrize(
    ("kind", "name", "format", "geometry", "sentence"),
    [
        ("cells", "x.xlsx", None, "point", "not known"),
        ("cells", "x", None, "point", "not known"),
        ("cells", "x.csv", "shapefile", "point", "not known"),
        ("rows", "x.csv", None, "point", "no 'rows'"),
        ("tiles", "x.geojson", None, "cell", "Only cells"),
        ("cells", "nowhere/x.csv", None, "point", "no directory"),
    ],
)
def test_what_cannot_be_written_is_a_sentence(
    snapshot: Path, tmp_path: Path, kind: str, name: str, format: Format | None, geometry: str, sentence: str
) -> None:
    with pytest.raises(QueryError, match=sentence):
        export_rows(snapshot, kind, tmp_path / name, format=format, geometry=geometry)  # type: ignore[arg-type]
    with pytest.raises(QueryError, match="were asked for"):
        export_rows(snapshot, "cells", tmp_path / "y.csv", rows=RowSet.from_rows([9999]))
    with pytest.raises(IndexStoreError, match="cannot be read"):
        export_rows(tmp_path, "cells", tmp_path / "y.csv")
