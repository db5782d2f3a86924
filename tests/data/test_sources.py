"""Which reader a path gets, and GeoTIFF folders of any coordinate system."""

import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from affine import Affine
from rasterio.crs import CRS
from shapely.geometry import Point, Polygon

import data.sources
from data.errors import CoordinateError, PatchError, SourceError
from data.geo import great_circle_km
from data.outline import outline_of
from data.patch import read_patch
from data.patch_folder import open_folder
from data.sources import open_source
from data.sources.base import ShardReport, read_all
from data.sources.folder import open_geotiffs
from data.sources.geotiff import read_geotiff
from tests.data.geotiffs import stack_bytes, write_index, write_tar

SHARED = Path(__file__).parents[3] / "shared" / "s2"
SIDE_M = 640.0


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMEWHERE_HOME", str(tmp_path / "home"))


def write(folder, **files):
    for name, content in files.items():
        path = folder / f"{name.replace('__', '/')}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


# ---- the ground, in any coordinate system ----


def ground(crs, x, y, gsd=10.0):
    """A patch with its top left corner at x, y, and its outline."""
    record = read_geotiff(stack_bytes(crs, x=x, y=y, gsd=gsd), "a.tif")
    return record, np.roll(record.footprint, -1, axis=0), record.footprint


@pytest.mark.parametrize(
    ("crs", "x", "y", "scale"),
    [
        ("EPSG:32722", 499_680.0, 7_500_000.0, 0.9996),
        ("EPSG:32654", 600_000.0, 3_900_000.0, 0.9997),
        ("EPSG:3413", -1_200_000.0, -1_800_000.0, 1.0),  # polar stereographic over Greenland
        ("EPSG:3035", 4_321_000.0, 3_210_000.0, 1.0),  # equal-area Europe, at its centre
    ],
)
def test_the_outline_is_as_large_as_the_pixels_say(crs, x, y, scale):
    record, following, outline = ground(crs, x, y)
    sides_m = 1e3 * great_circle_km(outline, following)
    np.testing.assert_allclose(sides_m, SIDE_M / scale, rtol=0.006)  # the sphere is not the ellipsoid: up to 0.5 %
    assert great_circle_km(record.patch.lonlat, outline).max() < SIDE_M / 1e3
    assert Polygon(outline).contains(Point(record.patch.lonlat))


@pytest.mark.parametrize("x", [179.9968, 179.999, -180.0032])
def test_longitudes_of_an_outline_pass_the_antimeridian_without_a_jump(x):
    record, _, outline = ground("EPSG:4326", x, 10.0, gsd=1e-4)
    assert np.ptp(outline[:, 0]) == pytest.approx(64e-4)
    assert np.ptp(outline[:, 1]) == pytest.approx(64e-4)
    assert -180 <= record.patch.lonlat[0] < 180


def test_degrees_come_out_as_they_went_in():
    _, _, outline = ground("EPSG:4326", 12.0, 45.0, gsd=1e-4)
    np.testing.assert_allclose(outline, [(12, 45), (12.0064, 45), (12.0064, 44.9936), (12, 44.9936)])


def test_a_turned_raster_keeps_its_outline():
    straight = Affine(10, 0, 499_680, 0, -10, 7_500_000)
    turned = straight * Affine.translation(32, 32) * Affine.rotation(45) * Affine.translation(-32, -32)
    crs = CRS.from_epsg(32722)
    centre, outline = outline_of(crs, turned, 64, 64)
    east_west_m = 1e3 * great_circle_km(outline[0], outline[2])
    assert east_west_m == pytest.approx(SIDE_M * np.sqrt(2), rel=0.006)
    np.testing.assert_allclose(centre, outline_of(crs, straight, 64, 64)[0], atol=1e-9)


# ---- bad input: one named failure each ----


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (stack_bytes(None), "no georeference, and no index.csv names its place"),
        (stack_bytes("EPSG:32722", transform=Affine.identity()), "no georeference"),
        (stack_bytes("EPSG:4326", x=330_105.0, y=7_497_675.0, gsd=10), "wrong coordinate system.*EPSG:4326"),
        (stack_bytes(CRS.from_wkt('LOCAL_CS["plant",UNIT["metre",1]]')), "wrong coordinate system.*plant"),
        (stack_bytes(x=1e15), "wrong coordinate system.*EPSG:32722"),
        (stack_bytes("EPSG:4978"), "wrong coordinate system.*EPSG:4978"),  # geocentric metres
        (stack_bytes(bands=11), "a GeoTIFF of 11 unnamed bands"),
        (stack_bytes(compress="deflate")[:20_000], "damaged or cut short"),
        (b"", "is empty"),
        (b"<html>", "not a GeoTIFF"),
    ],
)
def test_what_does_not_read_costs_itself(tmp_path, content, words):
    write(tmp_path, a=content, b=stack_bytes())
    report = ShardReport()
    source = open_source(tmp_path)
    assert [record.address for record in read_all(source, source.addresses, report)] == ["b.tif"]
    (failure,) = report.failed
    assert failure.address == "a.tif" and failure.reason.startswith("a.tif: ")
    with pytest.raises(PatchError, match=words):
        source.read("a.tif")


def test_a_coordinate_system_that_the_index_contradicts(tmp_path):
    lon, lat = read_patch(stack_bytes("EPSG:32722")).lonlat
    write(tmp_path, right=stack_bytes("EPSG:32722"), wrong=stack_bytes("EPSG:32723"), none=stack_bytes(None))
    write_index(tmp_path, [(f"{name}.tif", lon + 0.0001, lat) for name in ("right", "wrong", "none")])
    source = open_source(tmp_path)
    assert source.read("right.tif").patch.lonlat == pytest.approx((lon + 0.0001, lat))
    assert source.read("none.tif").footprint is None
    with pytest.raises(PatchError, match=r"wrong\.tif: wrong coordinate system, or wrong row .* 61\d\.\d km away"):
        source.read("wrong.tif")


def test_an_index_that_cannot_be_used(tmp_path):
    write(tmp_path, a=stack_bytes())
    write_index(tmp_path, [("a.tif", 12, 95)])
    with pytest.raises(CoordinateError, match=r"index\.csv"):
        open_source(tmp_path)


def test_a_file_that_is_gone(tmp_path):
    source = open_geotiffs(write(tmp_path, a=stack_bytes()))
    (tmp_path / "a.tif").unlink()
    with pytest.raises(PatchError, match=r"a\.tif: cannot be read \(No such file"):
        source.read("a.tif")


# ---- what is listed ----


def test_folders_patterns_and_single_files(tmp_path):
    content = stack_bytes()
    write(tmp_path, b=content, a__c=content, a__d=content)
    (tmp_path / "a" / "E.TIFF").write_bytes(content)
    (tmp_path / "a" / "._c.tif").write_bytes(b"a Mac's")
    (tmp_path / "notes.txt").write_text("no patch")
    assert open_source(tmp_path).addresses == ["a/E.TIFF", "a/c.tif", "a/d.tif", "b.tif"]
    found = open_source(f"{tmp_path}/a/*.tif")
    assert (found.addresses, found.root) == (["c.tif", "d.tif"], tmp_path / "a")
    assert open_source(f"{tmp_path}/**/[bc].tif").addresses == ["a/c.tif", "b.tif"]
    one = open_source(tmp_path / "a" / "d.tif")
    assert one.addresses == ["d.tif"] and one.kind == "geotiff"
    assert one.read("d.tif").patch.lonlat == read_patch(content).lonlat


def test_levels_are_seen_from_the_bands(tmp_path):
    write(tmp_path, l1c=stack_bytes(bands=13), l2a=stack_bytes(bands=12), visible=stack_bytes(bands=3))
    source = open_source(tmp_path)
    levels = {record.address: record.level for record in read_all(source, source.addresses, ShardReport())}
    assert levels == {"l1c.tif": "L1C", "l2a.tif": "L2A", "visible.tif": None}


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda p: write(p, a=stack_bytes()), "geotiff"),
        (lambda p: write_tar(p / "data" / "shard-0.tar", {"a.tif": stack_bytes()}), "s2-100k"),
        (lambda p: write_index(write(p, images__a=stack_bytes()), [("a.tif", 0, 0)]), "s2-100k"),
        (lambda p: pa.parquet.write_table(pa.table({"a": [1]}), p / "part.parquet"), "major-tom"),
        (lambda p: np.save(p / "a.npy", np.zeros(3)), "numpy"),
        (lambda p: (p / "MTD_MSIL2A.xml").write_text("<a/>"), "safe"),
        (lambda p: ((p / "x.SAFE").mkdir(), (p / "x.SAFE" / "MTD_MSIL1C.xml").write_text("<a/>")), "safe"),
        (lambda p: zipfile.ZipFile(p / "x.zip", "w").writestr("x.SAFE/MTD_MSIL1C.xml", "<a/>"), "safe"),
    ],
)
def test_the_layout_decides_what_a_folder_is(tmp_path, make, kind):
    make(tmp_path)
    assert data.sources._kind_of_folder(tmp_path) == kind


def test_the_content_decides_what_a_file_is(tmp_path):
    path = tmp_path / "named.wrongly"
    path.write_bytes(stack_bytes())
    assert data.sources._kind_of_file(path) == "geotiff"
    write_tar(path, {"a.tif": stack_bytes()})
    assert open_source(path).addresses == ["named.wrongly#a.tif"]
    pa.parquet.write_table(pa.table({"a": [1]}), path)
    assert data.sources._kind_of_file(path) == "major-tom"
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    assert data.sources._kind_of_file(path) == "numpy"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.SAFE/MTD_MSIL2A.xml", "<a/>")
    assert data.sources._kind_of_file(path) == "safe"


@pytest.mark.parametrize("content", [b"", b"%PDF-1.7", b"PK\x03\x04 not a zip"])
def test_a_file_that_is_no_source_gets_a_sentence(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(SourceError, match=r"a: no source of patches \(it .*Expected a GeoTIFF"):
        open_source(tmp_path / "a")


def test_nothing_there_gets_a_sentence(tmp_path):
    for spec, words in ((tmp_path, "no source of patches in"), (tmp_path / "no", "no such file or folder")):
        with pytest.raises(SourceError, match=words):
            open_source(spec)
    with pytest.raises(SourceError, match="the pattern finds no GeoTIFF"):
        open_source(f"{tmp_path}/*.tif")


# ---- real patches ----


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="needs the real Sentinel-2 patches beside the checkout")
def test_the_real_folder_agrees_with_its_index_to_100_m():
    source = open_source(SHARED)
    report = ShardReport()
    records = {record.address: record for record in read_all(source, source.addresses, report)}
    index = open_folder(SHARED)
    assert (source.kind, report.read, report.failed) == ("geotiff", len(index), [])
    for name, lonlat in zip(index.names, index.lonlat, strict=True):
        record = records[name]
        by_georeference = read_patch(SHARED / name).lonlat
        assert great_circle_km(by_georeference, lonlat) < 0.1
        assert great_circle_km(record.patch.lonlat, lonlat) < 1e-6
        assert record.level == "L2A"
        sides_km = great_circle_km(record.footprint, np.roll(record.footprint, -1, axis=0))
        np.testing.assert_allclose(sides_km, 2.56, rtol=0.006)
        assert Polygon(record.footprint).contains(Point(lonlat))
