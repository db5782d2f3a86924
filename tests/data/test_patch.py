"""Reading patches: every format against the array that was written, every bad input against its sentence."""

import io
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

from data.bands import L1C_BANDS, L2A_BANDS, canonical
from data.errors import PatchError
from data.patch import MAX_BYTES, Patch, guess_offset, read_patch


def geotiff(
    array, *, crs="EPSG:32632", gsd=10.0, nodata=None, names=None, tags=None, corner=(500_000, 5_000_000)
) -> bytes:
    count, height, width = array.shape
    georeference = {"crs": crs, "transform": from_origin(*corner, gsd, gsd)} if crs else {}
    with MemoryFile() as file:
        with file.open(
            driver="GTiff", count=count, height=height, width=width, dtype=array.dtype, nodata=nodata, **georeference
        ) as dataset:
            dataset.write(array)
            for index, name in enumerate(names or [], 1):
                dataset.set_band_description(index, name)
            dataset.update_tags(**(tags or {}))
        return file.read()


@pytest.fixture
def numbers():
    return np.random.default_rng(0).integers(100, 4000, (12, 16, 20)).astype(np.uint16)


def test_l2a_stack(numbers):
    patch = read_patch(geotiff(numbers, tags={"acquired": "2021-06-01T10:00:00"}), name="x.tif")
    assert patch.bands == L2A_BANDS
    np.testing.assert_allclose(patch.pixels, numbers / 10_000, rtol=1e-6)
    np.testing.assert_array_equal(patch.visible(), patch.pixels[[3, 2, 1]])
    assert patch.gsd_m == 10
    assert patch.acquired == datetime(2021, 6, 1, 10)
    # Oracle: zone 32's central meridian is 9° E at easting 500 km; 80 m south of northing 5,000 km.
    assert patch.lonlat == pytest.approx((9.0013, 45.1532), abs=2e-3)


def test_l1c_and_named_subsets(numbers):
    thirteen = np.concatenate([numbers, numbers[:1]])
    assert read_patch(geotiff(thirteen)).bands == L1C_BANDS
    five = read_patch(geotiff(numbers[:5], names=["B8", "b4", "B03", "B2", "B12"]))
    assert five.bands == ("B08", "B04", "B03", "B02", "B12")
    np.testing.assert_allclose(five.visible()[0], numbers[1] / 10_000, rtol=1e-6)


def test_a_pixel_is_as_large_as_the_ground_it_shows(numbers):
    down, across = 11.1195, 11.1195 * np.cos(np.radians(45))  # a ten-thousandth of a degree at 45° N
    degrees = read_patch(geotiff(numbers, crs="EPSG:4326", gsd=1e-4, corner=(10, 45)))
    assert degrees.gsd_m == pytest.approx(np.sqrt(down * across), rel=1e-3)
    north = 8_399_738  # 60° N in Web Mercator, which draws everything twice as large there
    mercator = read_patch(geotiff(numbers, crs="EPSG:3857", gsd=10.0, corner=(1e6, north)))
    assert mercator.gsd_m == pytest.approx(5, rel=5e-3)
    assert read_patch(geotiff(numbers, crs="EPSG:32632", corner=(200_000, 5_000_000))).gsd_m == 10
    half = read_patch(geotiff(numbers, crs="EPSG:4326", gsd=10.0, corner=(-100, 80)))  # 200° wide
    assert half.gsd_m == pytest.approx(10 * 111_195, rel=0.01)
    assert read_patch(geotiff(numbers, crs=None)).lonlat is None


def test_a_saturated_pixel_does_not_make_numbers_of_reflectance(numbers):
    reflectance = (numbers / 10_000).astype(np.float32)
    reflectance[3, 4, 5] = 6.5535
    np.testing.assert_array_equal(read_patch(geotiff(reflectance)).pixels, reflectance)
    np.testing.assert_allclose(read_patch(geotiff(numbers.astype(np.float32))).pixels, numbers / 10_000, rtol=1e-6)


def test_given_place_and_gsd_win(numbers):
    patch = read_patch(geotiff(numbers), lonlat=(12, 41), gsd_m=20)
    assert (patch.lonlat, patch.gsd_m) == ((12, 41), 20)


def test_numpy_files(numbers, tmp_path):
    np.save(tmp_path / "a.npy", numbers)
    np.save(tmp_path / "last.npy", np.moveaxis(numbers, 0, -1))
    np.savez_compressed(
        tmp_path / "b.npz", pixels=numbers[1:4] / 1e4, bands=["B02", "B03", "B04"], lonlat=[12.5, 41.9], gsd_m=10
    )
    first, last, archive = (read_patch(tmp_path / name) for name in ("a.npy", "last.npy", "b.npz"))
    np.testing.assert_array_equal(first.pixels, last.pixels)
    np.testing.assert_allclose(archive.visible(), first.visible(), rtol=1e-5)
    assert archive.lonlat == (12.5, 41.9)


def test_pictures_are_display_colours():
    array = np.random.default_rng(1).integers(0, 255, (9, 11, 3)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    patch = read_patch(stream.getvalue(), name="p.png")
    assert patch.is_display
    np.testing.assert_allclose(patch.pixels, np.moveaxis(array, -1, 0) / 255, rtol=1e-6)
    assert read_patch(geotiff(np.moveaxis(array, -1, 0).copy())).is_display


def test_nodata_is_nan(numbers):
    numbers[:, :4] = 0
    patch = read_patch(geotiff(numbers))
    assert np.isnan(patch.pixels[:, :4]).all() and np.isfinite(patch.pixels[:, 4:]).all()


class TestOffset:
    def test_taken_off_where_nothing_is_dark(self, numbers):
        shifted = numbers + np.uint16(1000)
        np.testing.assert_allclose(read_patch(geotiff(shifted)).pixels, numbers / 10_000, atol=1e-6)

    def test_left_where_shadows_are_dark(self, numbers):
        numbers[:, 0] = 200
        assert guess_offset(numbers.astype(np.float32)) == 0

    def test_can_be_said(self, numbers):
        np.testing.assert_allclose(
            read_patch(geotiff(numbers), offset=1000).pixels, (numbers.astype(float) - 1000) / 10_000, atol=1e-6
        )


def png(side):
    stream = io.BytesIO()
    Image.new("RGB", (side, side)).save(stream, "PNG")
    return stream.getvalue()


def npy(array, **options):
    stream = io.BytesIO()
    np.save(stream, array, **options)
    return stream.getvalue()


def bad_inputs():
    array = np.random.default_rng(0).integers(1, 4000, (12, 64, 64)).astype(np.uint16)
    good = geotiff(array)
    return {
        "text named .tif": (b"lon,lat\n1,2\n", "not a GeoTIFF.*starts with b'lon,lat"),
        "empty": (b"", "is empty"),
        "five bands": (geotiff(array[:5]), "GeoTIFF of 5 unnamed bands. Expected a 12- or 13-band"),
        "all nodata": (geotiff(np.zeros_like(array)), "every pixel is nodata"),
        "all nodata by tag": (geotiff(np.full_like(array, 7), nodata=7), "every pixel is nodata"),
        "1x1": (png(1), "1×1 pixels is too small"),
        "truncated": (good[: len(good) // 2], "damaged or cut short"),
        "truncated header": (good[:40], "damaged or cut short"),
        "truncated picture": (png(64)[:50], "damaged or cut short"),
        "too large": (b"II*\0" + bytes(MAX_BYTES), "33,554,436 bytes are more than the 32 MB"),
        "objects": (npy(np.array([{"a": 1}] * 3), allow_pickle=True), "Python objects"),
        "wrong rank": (npy(np.zeros((16, 16))), r"shape \(16, 16\)"),
        "wrong count": (npy(np.zeros((5, 16, 16))), "5 unnamed bands"),
        "damaged archive": (b"PK\3\4" + bytes(50), "not a plain NumPy array"),
        "all NaN": (npy(np.full((3, 16, 16), np.nan)), "every pixel is nodata"),
    }


@pytest.mark.parametrize("case", bad_inputs())
def test_bad_input_gets_one_sentence(case):
    content, words = bad_inputs()[case]
    with pytest.raises(PatchError, match=words) as caught:
        read_patch(content, name="mine.tif")
    assert str(caught.value).startswith("mine.tif: ")
    assert "\n" not in str(caught.value)


def test_a_header_that_promises_too_much_is_not_decoded():
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (12, 50_000, 50_000)}
    )
    with pytest.raises(PatchError, match="more than the 50 million"):
        read_patch(header.getvalue() + bytes(64), name="bomb.npy")
    profile = {"driver": "GTiff", "count": 3, "height": 9000, "width": 9000, "dtype": "uint8", "compress": "deflate"}
    with MemoryFile() as file:
        with file.open(**profile, SPARSE_OK=True):
            pass
        with pytest.raises(PatchError, match="more than the 50 million"):
            read_patch(file.read(), name="bomb.tif")


def test_three_gigabytes_are_refused_unread(tmp_path):
    path = tmp_path / "scene.tif"
    with path.open("wb") as file:
        file.truncate(3_000_000_000)  # sparse
    with pytest.raises(PatchError, match=r"scene.tif: 3,000,000,000 bytes are more than the 32 MB"):
        read_patch(path)


def test_missing_file():
    with pytest.raises(PatchError, match="cannot be read"):
        read_patch("nowhere/at-all.tif")


@pytest.mark.parametrize("gsd_m", [0, -1, float("nan")])
def test_bad_gsd(numbers, gsd_m):
    with pytest.raises(PatchError, match="positive number of metres"):
        read_patch(geotiff(numbers), gsd_m=gsd_m)


def test_patch_checks_its_bands():
    with pytest.raises(PatchError, match="2 bands but 3 band names"):
        Patch(np.zeros((2, 9, 9), np.float32), ("B04", "B03", "B02"))
    with pytest.raises(PatchError, match="the bands are B08"):
        Patch(np.zeros((1, 9, 9), np.float32), ("B08",))


def test_canonical_names():
    assert [canonical(name) for name in ("b2", "B8A", "B11", " b08 ")] == ["B02", "B8A", "B11", "B08"]


SHARED = Path(__file__).parents[3] / "shared" / "s2"


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="needs the real Sentinel-2 patches beside the checkout")
def test_real_patches_lie_where_their_index_says():
    import csv

    with (SHARED / "index.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows
    for row in rows:
        patch = read_patch(SHARED / row["fn"])
        assert patch.lonlat == pytest.approx((float(row["lon"]), float(row["lat"])), abs=0.002)
        with rasterio.open(SHARED / row["fn"]) as dataset:
            raw = dataset.read().astype(np.float64)
        offset = np.unique(np.round((raw - patch.pixels * 10_000.0)[np.isfinite(patch.pixels)]))
        assert offset.tolist() in ([0.0], [1000.0])
