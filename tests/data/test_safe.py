"""Sentinel-2 products: every square against the numbers that GDAL wrote, GDAL's own reader, and each kind of damage."""

import re
import shutil
from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
from rasterio.warp import transform

from data.bands import L1C_BANDS, L2A_BANDS, canonical
from data.errors import PatchError, SkippedPatch, SourceError
from data.sources import open_source
from data.sources.base import ShardReport, read_all
from data.sources.safe import SafeSource, open_safe
from data.sources.safe_metadata import NATIVE_GSD_M, read_product
from tests.data.products import CRS, NAME, X, Y, image, metadata, write_safe, zipped


def expected(numbers, band, row, column, size):
    """Closed form: the pixel of a coarser band that a 10 m pixel lies in."""
    factor = NATIVE_GSD_M.get(band, 20) // 10
    rows, columns = np.arange(row, row + size) // factor, np.arange(column, column + size) // factor
    return numbers[band][np.ix_(rows, columns)].astype(float)


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    return write_safe(tmp_path_factory.mktemp("l2a"))


@pytest.fixture
def copy(product, tmp_path):
    return shutil.copytree(product[0], tmp_path / product[0].name)


def band_file(root, band):
    return next(root.rglob(f"*_{band}_{NATIVE_GSD_M[band]}m.jp2"))


@pytest.mark.parametrize("packed", [False, True])
def test_l2a_square(product, tmp_path, packed):
    root, numbers = product
    path = zipped(root, tmp_path / "download.zip") if packed else root
    source = open_safe(path, patch_px=50)  # 50 px: squares begin inside a 20 m and a 60 m pixel
    name = "download.zip" if packed else NAME["L2A"]
    assert list(source.addresses) == [f"{name}#{at}" for at in ("0,0", "0,50", "50,0", "50,50")]
    for row, column in ((0, 0), (50, 50), (50, 0)):
        record = source.read(f"{name}#{row},{column}")
        assert (record.patch.bands, record.level, record.patch.gsd_m) == (L2A_BANDS, "L2A", 10)
        assert record.patch.acquired == datetime(2023, 7, 6, 1, 26, 59, 24000, tzinfo=UTC)
        for band, pixels in zip(L2A_BANDS, record.patch.pixels, strict=True):
            offset = 1000 + L1C_BANDS.index(band)  # the test's metadata give each band its own
            np.testing.assert_allclose(pixels, (expected(numbers, band, row, column, 50) - offset) / 10_000, atol=1e-6)
        classes = expected(numbers, "SCL", row, column, 50)
        share = np.isin(classes, (8, 9, 10)).sum() / (classes != 0).sum()
        assert record.cloud_percent == pytest.approx(100 * share)
        lon, lat = transform(CRS, "EPSG:4326", [X + 10 * column + 250], [Y - 10 * row - 250])
        assert record.patch.lonlat == pytest.approx((lon[0], lat[0]), abs=1e-9)
        corners = transform(
            CRS,
            "EPSG:4326",
            X + 10 * column + np.array([0, 500, 500, 0]),
            Y - 10 * row - np.array([0, 0, 500, 500]),
        )
        np.testing.assert_allclose(record.footprint, np.transpose(corners), atol=1e-9)


def test_l1c_before_the_offset(tmp_path):
    root, numbers = write_safe(tmp_path, "L1C", offset=None, quantification=5000)
    record = open_safe(root, patch_px=120).read(f"{root.name}#0,0")
    assert (record.patch.bands, record.level, record.cloud_percent) == (L1C_BANDS, "L1C", None)
    for band, pixels in zip(L1C_BANDS, record.patch.pixels, strict=True):
        np.testing.assert_allclose(pixels, expected(numbers, band, 0, 0, 120) / 5000, atol=1e-6)


@pytest.mark.parametrize("level", ["L1C", "L2A"])
def test_agrees_with_gdals_reader_of_products(tmp_path, level):
    """GDAL's SENTINEL2 driver finds grid, bands and resolutions by itself, from the granule's metadata too."""
    root, _ = write_safe(tmp_path, level)
    patch = open_safe(root, patch_px=120).read(f"{root.name}#0,0").patch
    seen = []
    with rasterio.open(root / f"MTD_MSI{level}.xml", driver="SENTINEL2") as file:
        subdatasets = [name for name in file.subdatasets if ":TCI:" not in name]
    for name in subdatasets:
        with rasterio.open(name) as file:
            for number in range(1, file.count + 1):
                band = canonical(file.tags(number)["BANDNAME"])
                if band in patch.bands:
                    seen.append(band)
                    values = file.read(number, out_shape=(120, 120)).astype(float)  # GDAL's nearest neighbour
                    values = (values - 1000 - L1C_BANDS.index(band)) / 10_000
                    np.testing.assert_allclose(patch.pixels[patch.bands.index(band)], values, atol=1e-6)
    assert sorted(seen) == sorted(patch.bands)


def test_found_by_content(tmp_path):
    root, _ = write_safe(tmp_path / "products", side=300)
    for path, name in ((root, root.name), (root.parent, root.name), (zipped(root, tmp_path / "a.dat"), "a.dat")):
        source = open_source(path)
        assert (source.kind, list(source.addresses)) == ("safe", [f"{name}#0,0"])


def test_squares_outside_the_swath_are_left_out(tmp_path):
    root, _ = write_safe(tmp_path, swath=60)
    report, source = ShardReport(), open_safe(root, patch_px=40)
    records = list(read_all(source, source.addresses, report))
    assert (report.read, report.failed, dict(report.skipped)) == (6, [], {"no data: outside the swath": 3})
    half = records[1].patch  # columns 40…79 of a swath that ends at 60
    assert np.isfinite(half.pixels[:, :, :20]).all() and np.isnan(half.pixels[:, :, 20:]).all()


def test_saturated_pixels_are_not_reflectance(copy):
    path = band_file(copy, "B04")
    with rasterio.open(path) as file:
        values = file.read(1)
    values[3, 5] = 65535
    image(path, values, 10)
    pixels = open_safe(copy, patch_px=60).read(f"{copy.name}#0,0").patch.pixels
    assert np.argwhere(np.isnan(pixels)).tolist() == [[3, 3, 5]]


def test_folder_of_products(product, tmp_path):
    root, _ = product
    shutil.copytree(root, tmp_path / root.name)
    zipped(root, tmp_path / "a.zip")
    (tmp_path / "b.zip").write_bytes(b"PK\3\4 cut short")
    source = open_safe(tmp_path, patch_px=120)
    assert list(source.addresses) == [f"{root.name}#0,0", "a.zip#0,0", "b.zip"]
    report = ShardReport()
    first, second = read_all(source, source.addresses, report)
    np.testing.assert_array_equal(first.patch.pixels, second.patch.pixels)
    assert [failure.address for failure in report.failed] == ["b.zip"]
    assert "b.zip: the product is damaged" in report.failed[0].reason


def test_damaged_image_costs_the_squares_that_it_hits(copy):
    path = band_file(copy, "B03")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    source, report = open_safe(copy, patch_px=60), ShardReport()
    assert len(list(read_all(source, source.addresses, report))) + len(report.failed) == 4
    assert report.failed and all("The image of B03 is damaged" in failure.reason for failure in report.failed)


def test_image_that_does_not_fit(copy):
    image(band_file(copy, "B11"), np.ones((50, 60), np.uint16), 20)
    with pytest.raises(PatchError, match="image of B11 has 60×50 pixels, which does not fit"):
        open_safe(copy, patch_px=60).read(f"{copy.name}#0,0")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda root: band_file(root, "B8A").unlink(), "image of B8A is missing from IMG_DATA"),
        (lambda root: (root / "MTD_MSIL2A.xml").write_text("<a><b></a>"), "the product is damaged (mismatched tag"),
        (lambda root: (root / "MTD_MSIL2A.xml").write_text(metadata("L2A", bands=9)), "no offset for B09, B11, B12"),
        (lambda root: (root / "MTD_MSIL2A.xml").write_text(metadata("L2A", bands=14)), "an offset in MTD_MSIL2A.xml"),
        (
            lambda root: (root / "MTD_MSIL2A.xml").write_text(metadata("L2A", quantification="ten")),
            "BOA_QUANTIFICATION_VALUE or an offset in MTD_MSIL2A.xml is missing or no number",
        ),
        (lambda root: (root / "MTD_MSIL2A.xml").write_text(metadata("L2A", quantification=0)), "VALUE 0"),
        (
            lambda root: (root / "MTD_MSIL2A.xml").write_text(metadata("L2A").replace("2023-07-06T01", "soon")),
            "PRODUCT_START_TIME is 'soon",
        ),
        (lambda root: (root / "MTD_MSIL1C.xml").write_text(metadata("L1C")), "2 files MTD_MSIL1C.xml or MTD_MSIL2A"),
        (lambda root: shutil.copytree(next(root.glob("GRANULE/*")), root / "GRANULE" / "L2A_T54SUF"), "2 granules"),
        (lambda root: band_file(root, "B04").write_bytes(b"\0" * 500), "image of B04 is damaged"),
        (
            lambda root: image(band_file(root, "B04"), np.ones((40, 40), np.uint16), 30),
            "40×40 pixels of 30 m",
        ),
    ],
)
def test_products_that_cannot_be_opened(copy, damage, sentence):
    damage(copy)
    with pytest.raises(SourceError, match=re.escape(sentence)) as caught:
        open_safe(copy, patch_px=60)
    assert copy.name in str(caught.value)


def test_entities_do_not_grow(copy):
    layers = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10 if n else "lol" * 10}">' for n in range(10))
    (copy / "MTD_MSIL2A.xml").write_text(f"<!DOCTYPE a [{layers}]><a>&e9;</a>")
    with pytest.raises(SourceError, match="damaged"):
        read_product(copy)


def test_addresses_and_sizes_that_do_not_exist(product, tmp_path):
    source = open_safe(product[0], patch_px=60)
    for address in ("x", "x.SAFE#0,0", f"{product[0].name}#0,61", f"{product[0].name}#-1,0"):
        with pytest.raises(PatchError, match=r"has this address|pass the tile's edge"):
            source.read(address)
    with pytest.raises(SourceError, match="must be 8…1024 pixels"):
        open_safe(product[0], patch_px=4)
    with pytest.raises(SourceError, match="no Sentinel-2 product there of at least 256 pixels"):
        open_safe(product[0])
    with pytest.raises(SourceError, match="no Sentinel-2 product there"):
        SafeSource(tmp_path, [])


def test_skipped_is_not_failed(tmp_path):
    root, _ = write_safe(tmp_path, swath=0)
    with pytest.raises(SkippedPatch):
        open_safe(root, patch_px=60).read(f"{root.name}#0,0")
