"""The STAC source against a real STAC API server and rasters on loopback."""

import json
from pathlib import Path

import h3
import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from rasterio.transform import from_origin
from rasterio.warp import transform_bounds

from data.bands import L2A_BANDS
from data.errors import PatchError, SkippedPatch, SourceError
from data.geo import BBox, all_cells, cell_lonlat, great_circle_km
from data.sources.base import ShardReport, read_all
from data.stac import StacSource
from data.stac_cogs import Grid, read_window, reason_of, utm_grid
from data.stac_presets import APIS, ASSET_KEYS, Api, Network, api_of
from data.stac_search import StacQuery, cells_in, ground_of, scene_of
from tests.data.stac_server import Catalogue, FileServer

SHARED = Path(__file__).parents[3] / "shared" / "s2"
COLLECTION = "sentinel-2-l2a"
SIDE_PX = 768
PATCH_PX = 64
QUICK = Network(timeout_s=0.7, retries=1, backoff_s=0.05)
GSD_M = dict(zip(L2A_BANDS, (60, 10, 10, 10, 20, 20, 20, 10, 20, 60, 20, 20), strict=True)) | {"SCL": 20}
ORIGINS = {32632: (680_000.0, 4_992_000.0), 32733: (500_000.0, 6_300_040.0)}
FAULTS = ("flaky", "403", "404", "429", "500", "stall")


def cog(pixels, epsg, gsd_m, origin):
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver="COG",
            count=1,
            height=len(pixels),
            width=len(pixels),
            dtype=pixels.dtype,
            crs=f"EPSG:{epsg}",
            transform=from_origin(*origin, gsd_m, gsd_m),
            nodata=0,
            blocksize=128,
            compress="deflate",
        ) as file:
            file.write(pixels, 1)
        return bytes(memory.getbuffer())  # fmt: skip


def scene_pixels(seed, gsd_m):
    side = -(-SIDE_PX * 10 // gsd_m)
    return np.random.default_rng(seed).integers(1200, 9000, (side, side)).astype(np.uint16)


def item(name, day, url, *, keys=0, epsg=32632, cloud=10.0, bands=tuple(GSD_M), **properties):
    """An item of a scene; ``keys`` picks whose names the assets bear."""
    x, y = ORIGINS[epsg]
    west, south, east, north = transform_bounds(f"EPSG:{epsg}", "EPSG:4326", x, y - 10 * SIDE_PX, x + 10 * SIDE_PX, y)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": COLLECTION,
        "bbox": [west, south, east, north],
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"datetime": f"{day}T10:00:00Z", "eo:cloud_cover": cloud, **properties},
        "assets": {
            ASSET_KEYS[band][keys % len(ASSET_KEYS[band])]: {"href": url.format(band=band), "type": "image/tiff"}
            for band in bands
        },
        "links": [],
    }


def cell_at(x, y):
    lon, lat = Transformer.from_crs(32632, 4326, always_xy=True).transform(x, y)
    return h3.latlng_to_cell(lat, lon, 7)


def day_of(source_name):
    return {name: f"2023-{3 + row // 28:02d}-{1 + row % 28:02d}" for row, name in enumerate(NAMES)}[source_name]


NAMES = ("clear", "hazy", "applied", "unknown", "south", "bare", "local", "text", "vrt", "overcast", *FAULTS, "reserve")
CELL_A = cell_at(683_000, 4_989_500)
CELL_B = cell_at(684_500, 4_986_300)


@pytest.fixture(scope="module")
def pixels():
    """(scene, band) → array, as the rasters hold it."""
    found = {("clear", band): scene_pixels(number, gsd) for number, (band, gsd) in enumerate(GSD_M.items())}
    found |= {("hazy", band): scene_pixels(100 + number, gsd) for number, (band, gsd) in enumerate(GSD_M.items())}
    for scene in ("clear", "hazy"):
        found[scene, "SCL"] = np.full_like(found[scene, "SCL"], 4, dtype=np.uint8)
    found["hazy", "SCL"][window_of(CELL_A, 20)] = 9
    rows, columns = window_of(CELL_B, 20)
    found["clear", "SCL"][rows, columns][: PATCH_PX // 4] = 10  # half of it
    found["clear", "SCL"][rows, columns][PATCH_PX // 4 :] = 3
    return found


def window_of(cell, gsd_m, epsg=32632, size_px=PATCH_PX):
    """Rows and columns beneath a patch, by pyproj: the oracle for a scene of the patch's own zone."""
    lat, lon = h3.cell_to_latlng(cell)
    x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(lon, lat)
    left, top = (20 * round(value / 20) for value in (x - 5 * size_px, y + 5 * size_px))
    column, row = (left - ORIGINS[epsg][0]) / gsd_m, (ORIGINS[epsg][1] - top) / gsd_m
    span = size_px * 10 // gsd_m
    assert row == int(row) and column == int(column) and min(row, column) >= 0 and max(row, column) * gsd_m < 7000
    return slice(int(row), int(row) + span), slice(int(column), int(column) + span)


@pytest.fixture(scope="module")
def world(tmp_path_factory, pixels):
    files = FileServer()
    for (scene, band), values in pixels.items():
        files.content[f"{scene}/{band}.tif"] = cog(values, 32632, GSD_M[band], ORIGINS[32632])
    for band, gsd in GSD_M.items():
        files.content[f"south/{band}.tif"] = cog(scene_pixels(7, gsd), 32733, gsd, ORIGINS[32733])
    files.content["overcast/SCL.tif"] = cog(np.full((384, 384), 8, np.uint8), 32632, 20, ORIGINS[32632])
    files.content["text/page.tif"] = b"<html>not a raster</html>"
    files.content["vrt/page.tif"] = b'<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand/></VRTDataset>'
    base, new = files.url, {"s2:processing_baseline": "05.09"}
    clear = base + "/clear/{band}.tif"
    items = [
        item("clear", day_of("clear"), clear, cloud=15.0, **new),
        item("hazy", day_of("hazy"), base + "/hazy/{band}.tif", keys=1, cloud=1.0, **{"processing:version": "02.14"}),
        item("applied", day_of("applied"), clear, keys=1, **new, **{"earthsearch:boa_offset_applied": True}),
        item("unknown", day_of("unknown"), clear, keys=2),
        item("south", day_of("south"), base + "/south/{band}.tif", epsg=32733, **new),
        item("bare", day_of("bare"), clear, bands=("B02", "SCL"), **new),
        item("local", day_of("local"), "file:///etc/{band}", **new),
        item("text", day_of("text"), base + "/text/page.tif?secret={band}", **new),
        item("vrt", day_of("vrt"), base + "/vrt/page.tif", **new),
        item("overcast", day_of("overcast"), base + "/overcast/{band}.tif", **new),
        *(item(fault, day_of(fault), f"{base}/{fault}/clear/{{band}}.tif?sig=secret", **new) for fault in FAULTS),
        item("reserve", day_of("404"), base + "/hazy/{band}.tif", cloud=19.0, **new) | {"id": "reserve"},
    ]
    items[-1]["properties"]["datetime"] = f"{day_of('reserve')}T10:00:00Z"
    catalogue = Catalogue(tmp_path_factory.mktemp("stac"), COLLECTION, items)
    try:
        yield catalogue, files
    finally:
        catalogue.close()
        files.close()


def box_around(*cells, pad_deg=0.001):
    lat, lon = np.array([h3.cell_to_latlng(cell) for cell in cells]).T
    return BBox(lon.min() - pad_deg, lat.min() - pad_deg, lon.max() + pad_deg, lat.max() + pad_deg)


def source(world, datetime, *cells, network=QUICK, **options):
    cells = cells or (CELL_A,)
    query = StacQuery(COLLECTION, box_around(*cells), datetime=datetime, resolution=7, size_px=PATCH_PX, **options)
    return StacSource(Api(world[0].url), query, network=network)


def expected(pixels, scene, cell, offset):
    """Reflectance by slicing, pixels of coarser bands repeated, without GDAL."""
    stack = []
    for band in L2A_BANDS:
        if GSD_M[band] == 60:
            rows, columns = window_of(cell, 10)
            fine = pixels[scene, band].repeat(6, axis=0).repeat(6, axis=1)[rows, columns]
        else:
            times = GSD_M[band] // 10
            fine = pixels[scene, band][window_of(cell, GSD_M[band])].repeat(times, axis=0).repeat(times, axis=1)
        stack.append(fine)
    return (np.stack(stack).astype(np.float32) - offset) / 10_000


def test_the_clearest_item_over_each_patch_is_read_and_nothing_else(world, pixels):
    files = world[1]
    files.sent.clear()
    both = f"{day_of('clear')}/{day_of('hazy')}"
    stac = source(world, both, CELL_A, CELL_B)
    assert {f"{CELL_A}/0", f"{CELL_B}/0"} <= set(stac.addresses) and stac.items == 2
    record_a, record_b = stac.read(f"{CELL_A}/0"), stac.read(f"{CELL_B}/0")
    # the scene with 1 % of cloud has it right over cell A; over cell B it is the clear one
    assert record_a.patch.source == f"{COLLECTION}/clear" and record_b.patch.source == f"{COLLECTION}/hazy"
    np.testing.assert_allclose(record_a.patch.pixels, expected(pixels, "clear", CELL_A, 1000), atol=1e-6)
    np.testing.assert_allclose(record_b.patch.pixels, expected(pixels, "hazy", CELL_B, 0), atol=1e-6)
    assert record_a.patch.bands == L2A_BANDS and record_a.patch.gsd_m == 10 and record_a.level == "L2A"
    assert record_a.patch.acquired.isoformat() == f"{day_of('clear')}T10:00:00+00:00" and record_a.cloud_percent == 0
    assert not stac.passed_over
    lat, lon = h3.cell_to_latlng(CELL_A)
    assert great_circle_km(record_a.patch.lonlat, (lon, lat)) < 0.015
    sides = great_circle_km(record_a.footprint, np.roll(record_a.footprint, -1, axis=0))
    np.testing.assert_allclose(sides, 0.64, rtol=0.005)
    whole = sum(len(files.content[path]) for path in files.sent)
    assert 0 < sum(files.sent.values()) < whole / 3  # windows, not rasters


def test_two_patches_a_cell_come_from_two_items_and_clouds_are_left_out(world):
    both = f"{day_of('clear')}/{day_of('hazy')}"
    stac = source(world, both, CELL_A, per_cell=2)
    assert stac.read(f"{CELL_A}/0").patch.source.endswith("clear")
    with pytest.raises(SkippedPatch, match="too few items"):
        stac.read(f"{CELL_A}/1")  # hazy: all of the patch is cloud
    tolerant = source(world, both, CELL_A, per_cell=2, max_cloud=100)
    assert tolerant.read(f"{CELL_A}/1").cloud_percent == 100
    assert source(world, both, CELL_B, max_cloud=100, per_cell=2).read(f"{CELL_B}/1").cloud_percent == 50


@pytest.mark.parametrize(("name", "offset"), [("clear", 1000), ("applied", 0), ("unknown", 1000)])
def test_offset_by_baseline_by_flag_and_from_the_data(world, pixels, name, offset):
    read = source(world, day_of(name)).read(f"{CELL_A}/0")
    np.testing.assert_allclose(read.patch.pixels, expected(pixels, "clear", CELL_A, offset), atol=1e-6)


def test_a_southern_scene_is_copied_pixel_for_pixel(world):
    x, y = ORIGINS[32733]
    lon, lat = Transformer.from_crs(32733, 4326, always_xy=True).transform(x + 3840, y - 3840)
    cell = h3.latlng_to_cell(lat, lon, 7)
    read = source(world, day_of("south"), cell).read(f"{cell}/0")
    rows, columns = window_of(cell, 10, 32733)
    np.testing.assert_allclose(read.patch.pixels[1] * 10_000 + 1000, scene_pixels(7, 10)[rows, columns], atol=0.01)


def test_a_scene_of_the_next_zone_is_resampled_to_the_nearest_pixel(world, pixels):
    own = utm_grid(tuple(reversed(h3.cell_to_latlng(CELL_A))), PATCH_PX)
    x, y = Transformer.from_crs(32632, 32633, always_xy=True).transform(own.transform.c, own.transform.f)
    grid = Grid(
        rasterio.crs.CRS.from_epsg(32633), rasterio.Affine(10, 0, 10 * round(x / 10), 0, -10, 10 * round(y / 10)), 64
    )
    got = read_window(f"{world[1].url}/clear/B02.tif", grid, QUICK.gdal())
    centres = np.arange(64) * 10 + 5.0
    east, north = np.meshgrid(grid.transform.c + centres, grid.transform.f - centres)
    east, north = Transformer.from_crs(32633, 32632, always_xy=True).transform(east, north)
    column, row = (east - ORIGINS[32632][0]) / 10, (ORIGINS[32632][1] - north) / 10
    wanted = pixels["clear", "B02"][row.astype(int), column.astype(int)]
    # GDAL takes its way between the zones with an error of up to an eighth of a pixel
    assert (got == wanted).mean() > 0.8
    near = (np.abs(row % 1 - 0.5) < 0.37) & (np.abs(column % 1 - 0.5) < 0.37)
    assert (got == wanted)[near].all()


REASONS = {
    "403": "HTTP 403", "404": "HTTP 404", "429": "HTTP 429", "500": "HTTP 500", "stall": "stalled",
    "bare": "no asset for B01, B03", "local": "only https, http and s3", "text": "neither a GeoTIFF nor JPEG 2000",
    "vrt": "neither a GeoTIFF nor JPEG 2000",
}  # fmt: skip


@pytest.mark.parametrize("name", REASONS)
def test_a_failing_item_is_one_named_failure_and_the_job_goes_on(world, name):
    stac = source(world, day_of(name))
    report = ShardReport()
    assert list(read_all(stac, [f"{CELL_A}/0", f"{CELL_A}/7"], report)) == []
    (failure, _) = report.failed
    assert failure.address == f"{CELL_A}/0" and name in failure.reason and REASONS[name] in failure.reason
    assert "secret" not in failure.reason and "http://" not in failure.reason and report.read == 0


def test_a_failing_item_gives_way_to_the_next_and_is_noted(world):
    stac = source(world, f"{day_of('500')}/{day_of('reserve')}", CELL_B)
    read = stac.read(f"{CELL_B}/0")
    assert read.patch.source.endswith("reserve")
    assert set(stac.passed_over) == {"500", "stall"}


def test_a_server_that_is_busy_once_is_asked_again(world):
    assert source(world, day_of("flaky")).read(f"{CELL_A}/0").patch.source.endswith("flaky")
    assert world[1].asked["flaky/clear/B02.tif"] > 1


def test_a_file_that_failed_once_is_asked_for_again(world):
    grid, asked = utm_grid(tuple(reversed(h3.cell_to_latlng(CELL_A))), PATCH_PX), world[1].asked
    impatient = Network(timeout_s=0.3, retries=0, backoff_s=0.05).gdal()
    for fault in ("flaky", "stuck"):
        path = f"{fault}/clear/B8A.tif"
        asked[path] = 0
        with pytest.raises(PatchError, match=r"HTTP 503|stalled"):
            read_window(f"{world[1].url}/{path}?once", grid, impatient)
        assert asked[path] <= 3
        assert read_window(f"{world[1].url}/{path}?once", grid, impatient).min() > 0


def test_too_many_clouds_everywhere_is_left_out(world):
    with pytest.raises(SkippedPatch, match="less than 20 % of the patch"):
        source(world, day_of("overcast")).read(f"{CELL_A}/0")


def test_cells_without_an_item_are_left_out(world):
    far = h3.latlng_to_cell(45.5, 11.335, 7)
    query = StacQuery(COLLECTION, box_around(CELL_A, far), datetime=day_of("clear"), resolution=7, size_px=PATCH_PX)
    stac = StacSource(Api(world[0].url), query, network=QUICK)
    with pytest.raises(SkippedPatch, match="no item under 20 % cloud"):
        stac.read(f"{far}/0")
    assert stac.read(f"{CELL_A}/0").patch.source.endswith("clear")
    with pytest.raises(PatchError, match="no such patch"):
        stac.read("nonsense")


@pytest.mark.parametrize(
    ("path", "reason"), [("500", "HTTP 500"), ("403", "HTTP 403"), ("stall", "stalled"), ("text/page.tif", "STAC API")]
)
def test_a_catalogue_that_does_not_answer_is_a_sentence(world, path, reason):
    with pytest.raises(SourceError, match=reason):
        StacSource(
            Api(f"{world[1].url}/{path}"), StacQuery(COLLECTION, box_around(CELL_A), resolution=7), network=QUICK
        )


def test_questions_without_an_answer_are_refused(world):
    with pytest.raises(SourceError, match="nothing in collection"):
        source(world, "2019-01-01")
    with pytest.raises(SourceError, match="--datetime"):
        source(world, "yesterday")
    with pytest.raises(SourceError, match="No H3 cell"):
        StacSource(Api(world[0].url), StacQuery(COLLECTION, BBox(11, 45, 11.0001, 45.0001), resolution=3))
    with pytest.raises(SourceError, match="coarser --resolution"):
        cells_in(BBox(-180, -90, 180, 90), 6)
    with pytest.raises(SourceError, match="--max-cloud 120"):
        StacQuery(COLLECTION, box_around(CELL_A), max_cloud=120)
    with pytest.raises(SourceError, match="planetary-computer, earth-search, cdse"):
        api_of("copernicus")
    assert api_of("earth-search") is APIS["earth-search"] and api_of("https://x.test/v1").url == "https://x.test/v1"


@pytest.mark.parametrize(
    "box",
    [(5, 40, 20, 50), (170, -30, -165, 10), (-180, -90, 180, 90), (-30, 80, 60, 90), (-5, -90, 5, -60), (0, 0, 9, 0.5)],
)
def test_cells_of_a_box_are_all_whose_centre_lies_in_it(box):
    everything = all_cells(3)
    wanted = everything[BBox(*box).contains(cell_lonlat(everything))]
    np.testing.assert_array_equal(cells_in(BBox(*box), 3), wanted)
    finer = cells_in(BBox(11, 45, 12, 45.4), 6)
    ring = h3.LatLngPoly([(45, 11), (45, 12), (45.4, 12), (45.4, 11)])
    assert {h3.int_to_str(int(cell)) for cell in finer} == set(h3.polygon_to_cells(ring, 6))


def test_an_outline_through_the_antimeridian_is_put_together():
    ring = [[179, 0], [-179, 0], [-179, 1], [179, 1], [179, 0]]
    west, _, east, _ = ground_of({"geometry": {"type": "Polygon", "coordinates": [ring]}}).bounds
    assert (west, east) == (179, 181)


def test_signed_addresses_stay_out_of_messages():
    error = OSError("'/vsicurl/https://x.blob.test/B02.tif?sig=secret' cannot be read")
    assert "secret" not in reason_of(error) and "cannot be read" in reason_of(error)


def test_only_the_planetary_computers_own_store_is_signed():
    sign = APIS["planetary-computer"].sign
    assert sign("https://elsewhere.test/B02.tif") == "https://elsewhere.test/B02.tif"


def test_an_item_without_a_baseline_has_no_offset_of_its_own():
    assert scene_of(item("x", "2023-01-01", "{band}")).offset is None
    old = scene_of(item("x", "2023-01-01", "{band}", **{"s2:processing_baseline": "03.01"}))
    assert old.offset == 0 and set(old.hrefs) == {*L2A_BANDS, "SCL"}


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the real Sentinel-2 patches beside the checkout")
def test_a_real_patch_served_band_by_band_is_the_patch(world, tmp_path):
    path = sorted(SHARED.glob("*.tif"))[0]
    with rasterio.open(path) as file:
        numbers, crs, transform = file.read(), file.crs, file.transform
        bounds = transform_bounds(crs, "EPSG:4326", *file.bounds)
        x, y = file.xy(128, 128, offset="ul")
        lon, lat = Transformer.from_crs(crs, 4326, always_xy=True).transform(x, y)
    cell = h3.latlng_to_cell(lat, lon, 9)
    for band, values in zip(L2A_BANDS, numbers, strict=True):
        with rasterio.MemoryFile() as memory:
            with memory.open(
                driver="COG", count=1, height=256, width=256, dtype="uint16", crs=crs, transform=transform, nodata=0
            ) as out:
                out.write(values, 1)
            world[1].content[f"real/{band}.tif"] = bytes(memory.getbuffer())
    real = item(
        "real", "2020-01-01", world[1].url + "/real/{band}.tif", bands=L2A_BANDS, **{"s2:processing_baseline": "02.14"}
    )
    west, south, east, north = bounds
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    real |= {"bbox": list(bounds), "geometry": {"type": "Polygon", "coordinates": [ring]}}
    catalogue = Catalogue(tmp_path, COLLECTION, [real])
    try:
        query = StacQuery(COLLECTION, box_around(cell, pad_deg=1e-5), resolution=9, size_px=128)
        record = StacSource(Api(catalogue.url), query, network=QUICK).read(f"{cell}/0")
    finally:
        catalogue.close()
    grid = utm_grid(tuple(reversed(h3.cell_to_latlng(cell))), 128)
    assert grid.crs == crs and record.cloud_percent is None
    column, row = ~transform * (grid.transform.c + 5, grid.transform.f - 5)  # of the first pixel's centre
    part = numbers[:, int(row) : int(row) + 128, int(column) : int(column) + 128]
    np.testing.assert_allclose(record.patch.pixels, np.where(part == 0, np.nan, part / 1e4), atol=1e-6)


def test_the_command_ingests_once_and_leaves_with_1_where_an_item_failed(world, tmp_path, monkeypatch, capfd):
    import typer
    from typer.testing import CliRunner

    from app.commands import data_stac
    from data.catalogue import Catalogue as Dataset

    monkeypatch.setenv("SAMEWHERE_HOME", str(tmp_path))
    options = QUICK.gdal()
    monkeypatch.setattr(Network, "gdal", lambda _: options)
    app = typer.Typer()
    app.command()(data_stac.stac)
    box = box_around(CELL_A, CELL_B)
    given = ["--api", world[0].url, "--bbox", f"{box.west},{box.south},{box.east},{box.north}", "--name", "veneto"]
    given += ["--resolution", "7", "--size", str(PATCH_PX)]
    both = ["--datetime", f"{day_of('clear')}/{day_of('hazy')}"]
    first = CliRunner().invoke(app, [*given, *both, "--json"])
    assert first.exit_code == 0, first.output
    told = json.loads(first.stdout)
    assert told["read"] == told["added"] >= 2 and not told["failed"]
    assert Dataset.open("veneto").count == told["added"]
    again = json.loads(CliRunner().invoke(app, [*given, *both, "--json"]).stdout)
    assert again["read"] == again["added"] == 0  # nothing is downloaded twice
    failing = CliRunner().invoke(app, [*given, "--datetime", f"{day_of('404')}"])
    assert failing.exit_code == 1 and "HTTP 404" in failing.output and "secret" not in failing.output
    partly = CliRunner().invoke(app, [*given, "--datetime", f"{day_of('404')}/{day_of('429')}", "--per-cell", "1"])
    assert partly.exit_code == 1
    stored = Dataset.open("veneto")
    row = next(row for row in stored.query().to_pylist() if row["address"] == f"{CELL_A}/0")
    live = source(world, f"{day_of('clear')}/{day_of('hazy')}", CELL_A, CELL_B).read(f"{CELL_A}/0")
    np.testing.assert_allclose(stored.read(row["id"]).patch.pixels, live.patch.pixels, atol=1e-6)
