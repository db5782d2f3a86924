"""MajorTOM Parquet that Arrow and GDAL write: every row against its numbers, every bad row against its sentence."""

from datetime import UTC, datetime

import numpy as np
import pytest
from rasterio.warp import transform

from data.bands import L1C_BANDS, L2A_BANDS
from data.errors import PatchError, SourceError
from data.sources import open_source
from data.sources.base import ShardReport, read_all
from data.sources.major_tom import open_major_tom
from data.sources.safe_metadata import NATIVE_GSD_M
from tests.data.products import CRS, X, Y, major_tom_row, tiff_bytes, write_major_tom


def expected(numbers, band):
    factor = NATIVE_GSD_M[band] // 10
    return np.kron(numbers[band], np.ones((factor, factor)))


@pytest.mark.parametrize("rows_a_group", [1, 2])
def test_rows(tmp_path, rows_a_group):
    rows = [major_tom_row(seed) for seed in range(5)]
    write_major_tom(tmp_path / "images" / "part_00001.parquet", [row for row, _ in rows[:3]], rows_a_group=rows_a_group)
    write_major_tom(tmp_path / "images" / "part_00002.parquet", [row for row, _ in rows[3:]], rows_a_group=rows_a_group)
    write_major_tom(tmp_path / "metadata.parquet", [{"product_id": "x", "centre_lat": 1.0}])
    source = open_source(tmp_path)
    assert source.kind == "major-tom"
    names = ["images/part_00001.parquet"] * 3 + ["images/part_00002.parquet"] * 2
    assert list(source.addresses) == [f"{name}#{row}" for name, row in zip(names, (0, 1, 2, 0, 1), strict=True)]
    for address, (_, numbers) in reversed(list(zip(source.addresses, rows, strict=True))):
        record = source.read(address)
        assert (record.patch.bands, record.level, record.patch.gsd_m) == (L2A_BANDS, "L2A", 10)
        assert record.patch.acquired == datetime(2023, 7, 6, 1, 26, 59, 24000, tzinfo=UTC)
        assert record.cloud_percent == 50  # a quarter thick, a quarter thin
        for band, pixels in zip(L2A_BANDS, record.patch.pixels, strict=True):
            np.testing.assert_allclose(pixels, (expected(numbers, band) - 1000) / 10_000, atol=1e-6)
        corners = transform(CRS, "EPSG:4326", X + np.array([0, 1200, 1200, 0]), Y - np.array([0, 0, 1200, 1200]))
        np.testing.assert_allclose(record.footprint, np.transpose(corners), atol=1e-9)
        lon, lat = transform(CRS, "EPSG:4326", [X + 600], [Y - 600])
        assert record.patch.lonlat == pytest.approx((lon[0], lat[0]))


def test_l1c_without_what_may_be_missing(tmp_path):
    row, numbers = major_tom_row(0, level="L1C", baseline="_N0214")
    for name in ("timestamp", "cloud_mask", "grid_cell"):
        del row[name]
    record = open_major_tom(write_major_tom(tmp_path / "a.parquet", [row])).read("a.parquet#0")
    assert (record.patch.bands, record.level, record.cloud_percent) == (L1C_BANDS, "L1C", None)
    assert record.patch.acquired == datetime(2023, 7, 6, 1, 26, 59, tzinfo=UTC)  # of the product's name
    np.testing.assert_allclose(record.patch.pixels[10], expected(numbers, "B10") / 10_000, atol=1e-6)


@pytest.mark.parametrize(("add", "offset"), [(0, 0), (1500, 1000)])
def test_offset_seen_where_the_name_has_no_baseline(tmp_path, add, offset):
    row, numbers = major_tom_row(0, baseline="")
    brighter = {
        band: tiff_bytes((values + add).astype(np.uint16), NATIVE_GSD_M[band]) for band, values in numbers.items()
    }
    write_major_tom(tmp_path / "a.parquet", [{**row, **brighter}])
    pixels = open_major_tom(tmp_path).read("a.parquet#0").patch.pixels
    np.testing.assert_allclose(pixels[3], (expected(numbers, "B04") + add - offset) / 10_000, atol=1e-6)


GOOD = tiff_bytes(np.ones((120, 120), np.uint16), 10)


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"B03": GOOD[:-2000]}, r"#1, B03: the GeoTIFF is damaged"),
        ({"B03": b"no tiff"}, r"#1, B03: the GeoTIFF is damaged"),
        ({"B03": None}, r"#1, B03: no GeoTIFF in this column \(NoneType\)"),
        ({"B03": b""}, r"#1, B03: no GeoTIFF in this column"),
        ({"B05": tiff_bytes(np.ones((50, 50), np.uint16), 20)}, r"#1, B05: 50×50 pixels .* do not fit the patch's"),
        ({"B08": tiff_bytes(np.ones((120, 120), np.uint16), 10, x=X + 5000)}, r"#1, B08: .* \(404960, .* do not fit"),
        ({"B12": tiff_bytes(np.ones((60, 60), np.uint16), 20, crs="EPSG:32655")}, r"EPSG:32655 do not fit"),
        (
            {"B02": tiff_bytes(np.ones((120, 120), np.uint16), 10, crs=None)},
            r"#1, B02: no georeference in metres .*None",
        ),
        (
            {"B02": tiff_bytes(np.ones((120, 120), np.uint16), 1e-4, crs="EPSG:4326")},
            r"no georeference in metres .*4326",
        ),
        ({"B02": tiff_bytes(np.ones((2400, 2400), np.uint16), 10)}, r"B02: 2400×2400 pixels in 1 layers are more"),
        ({"timestamp": "last summer"}, r"the time is 'last summer'"),
        (
            {band: tiff_bytes(np.zeros((120, 120), np.uint16), 10) for band in ("B02", "B03", "B04")},
            "every pixel is nodata",
        ),
        (
            {band: tiff_bytes(np.ones((120, 120), np.uint16), 10, crs="EPSG:3035", y=9e9) for band in L2A_BANDS},
            "wrong coordinate system",
        ),
    ],
)
def test_a_bad_row_costs_itself(tmp_path, columns, sentence):
    rows = [major_tom_row(0)[0], major_tom_row(1, **columns)[0], major_tom_row(2)[0]]
    source, report = open_major_tom(write_major_tom(tmp_path / "a.parquet", rows)), ShardReport()
    assert len(list(read_all(source, source.addresses, report))) == report.read == 2
    (failure,) = report.failed
    assert failure.address == "a.parquet#1"
    with pytest.raises(PatchError, match=sentence):
        source.read(failure.address)


def test_damaged_files_and_foreign_ones(tmp_path):
    good = write_major_tom(tmp_path / "b.parquet", [major_tom_row(0)[0]])
    (tmp_path / "a.parquet").write_bytes(good.read_bytes()[:5000])
    source, report = open_major_tom(tmp_path), ShardReport()
    assert list(source.addresses) == ["a.parquet", "b.parquet#0"]
    assert len(list(read_all(source, source.addresses, report))) == 1
    assert "a.parquet: the Parquet file is damaged" in report.failed[0].reason
    for address in ("b.parquet#1", "b.parquet#-1", "b.parquet", "c.parquet#0"):
        with pytest.raises(PatchError, match="no row here has this address"):
            source.read(address)
    with pytest.raises(SourceError, match="the Parquet file is damaged"):
        open_major_tom(tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="no row with the columns B02, B03, B04"):
        open_major_tom(write_major_tom(tmp_path / "other" / "c.parquet", [{"name": "x"}]))


def test_damage_inside_a_row_group(tmp_path):
    path = write_major_tom(tmp_path / "a.parquet", [major_tom_row(seed)[0] for seed in range(2)])
    content = bytearray(path.read_bytes())
    content[len(content) // 2 :][:4000] = b""
    middle = len(content) * 3 // 4
    content[middle : middle + 3000] = bytes(3000)
    path.write_bytes(bytes(content))
    source, report = open_major_tom(path), ShardReport()
    records = list(read_all(source, source.addresses, report))
    assert len(records) + len(report.failed) == 2  # a reason for each that is not read, and no other error
