"""Datasets: every patch once, resumable to the same bytes, and GeoParquet that others read."""

import errno
import itertools
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import filelock
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

import data.files
from data.catalogue import Catalogue
from data.errors import PatchError, SourceError
from data.geo import cell_of, cell_parent
from data.ingest import ADDING, KEPT, LOCK, REPORT, ROWS, ingest
from data.rows import decode_pixels, encode_pixels
from tests.data.a_source import DrawnSource


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_patch_is_there_once_and_sorted(tmp_path):
    source = DrawnSource()
    report = ingest(source, tmp_path, keep_pixels=False, shard_size=16)
    assert (report.read, report.added, report.total, report.failed) == (60, 60, 60, ())
    table = pq.read_table(tmp_path / ROWS)
    assert sorted(table["address"].to_pylist()) == source.addresses
    cells = table["h3_7"].to_numpy()
    assert (np.diff(cells.astype(object)) >= 0).all()
    lonlat = np.stack([table["lon"].to_numpy(), table["lat"].to_numpy()], axis=1)
    assert np.array_equal(cells, cell_of(lonlat, 7))
    assert np.array_equal(table["h3_2"].to_numpy(), cell_parent(cells, 2))
    assert not (tmp_path / ADDING / "x").exists() and list((tmp_path / ADDING).iterdir()) == []
    assert pytest.approx(100 * 4 / 256) == table["nodata_percent"][0].as_py()


def test_the_same_patches_again_add_nothing(tmp_path):
    ingest(DrawnSource(), tmp_path, keep_pixels=True, shard_size=16)
    before = files(tmp_path)
    again = ingest(DrawnSource(), tmp_path, keep_pixels=True, shard_size=7)
    assert (again.read, again.added, again.total) == (60, 0, 60)
    del before[(tmp_path / REPORT).relative_to(tmp_path)]
    assert before.items() <= files(tmp_path).items() and len(files(tmp_path)) == len(before) + 1
    more = ingest(DrawnSource(20, seed=5), tmp_path, keep_pixels=True)
    assert (more.added, more.total) == (20, 80)


def test_a_broken_off_job_goes_on_at_its_shard_and_ends_with_the_same_bytes(tmp_path):
    ingest(DrawnSource(), tmp_path / "whole", keep_pixels=True, shard_size=16)

    class Breaks(DrawnSource):
        def read(self, address):
            if address == "drawn-0040":
                raise KeyboardInterrupt
            return super().read(address)

    with pytest.raises(KeyboardInterrupt):
        ingest(Breaks(), tmp_path / "broken", keep_pixels=True, shard_size=16, threads=1)
    assert not (tmp_path / "broken" / ROWS).exists()
    source = DrawnSource()
    report = ingest(source, tmp_path / "broken", keep_pixels=True, shard_size=16)
    assert report.resumed_shards == 2
    assert sorted(source.reads) == source.addresses[32:]
    whole, broken = files(tmp_path / "whole"), files(tmp_path / "broken")
    assert {path: content for path, content in whole.items() if path.suffix == ".parquet"} == {
        path: content for path, content in broken.items() if path.suffix == ".parquet"
    }


def test_what_was_downloaded_is_not_downloaded_again(tmp_path):
    ingest(DrawnSource(spoiled=True), tmp_path, keep_pixels=True, root="here", trust_addresses=True)
    mended = DrawnSource()
    report = ingest(mended, tmp_path, keep_pixels=True, root="here", trust_addresses=True)
    assert len(mended.reads) == report.added == 13 and report.total == 60
    elsewhere = DrawnSource()
    assert ingest(elsewhere, tmp_path, keep_pixels=True, root="there", trust_addresses=True).added == 0
    assert len(elsewhere.reads) == 60


def test_what_fails_is_named_and_the_rest_goes_on(tmp_path):
    report = ingest(DrawnSource(spoiled=True), tmp_path, keep_pixels=False, shard_size=16)
    assert report.skipped == {"below 10 kB": 6}
    assert [failure.address for failure in report.failed] == [
        f"drawn-{row:04d}" for row in sorted([*range(5, 60, 10), 7])
    ]
    assert "its place is not known. Give the file a georeference" in report.failed[1].reason
    assert report.read == report.added == 60 - 6 - 7
    kept = json.loads((tmp_path / REPORT).read_text())
    assert kept["skipped"] == {"below 10 kB": 6} and len(kept["failed"]) == 7
    assert [shard["read"] + len(shard["failed"]) + sum(shard["skipped"].values()) for shard in kept["shards"]] == [
        16,
        16,
        16,
        12,
    ]


def test_what_failed_is_added_later_and_the_pixels_kept_before_stay(tmp_path):
    class Ill(DrawnSource):
        def read(self, address):
            if address == "drawn-0003":
                raise PatchError("HTTP 500")
            return super().read(address)

    assert len(ingest(Ill(20), tmp_path, keep_pixels=True, shard_size=16).failed) == 1
    before = files(tmp_path / KEPT)
    report = ingest(DrawnSource(20), tmp_path, keep_pixels=True, shard_size=16)
    assert (report.added, report.total) == (1, 20)
    assert before.items() < files(tmp_path / KEPT).items()
    catalogue, source = Catalogue(tmp_path), DrawnSource(20)
    for name, address in catalogue.query().select(["id", "address"]).to_pandas().itertuples(index=False):
        np.testing.assert_allclose(catalogue.read(name).patch.pixels, source.read(address).patch.pixels, atol=1e-7)


def test_a_kill_after_the_merge_adds_nothing_twice(tmp_path, monkeypatch):
    def killed(folder):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("data.ingest.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            ingest(DrawnSource(20), tmp_path, keep_pixels=True)
    rows = (tmp_path / ROWS).read_bytes()
    report = ingest(DrawnSource(20), tmp_path, keep_pixels=True)
    assert (report.added, report.total) == (0, 20)
    assert (tmp_path / ROWS).read_bytes() == rows


def test_another_job_with_the_same_patches_comes_between(tmp_path):
    class Breaks(DrawnSource):
        def read(self, address):
            if address == "drawn-0018":
                raise KeyboardInterrupt
            return super().read(address)

    with pytest.raises(KeyboardInterrupt):
        ingest(Breaks(20), tmp_path, keep_pixels=True, shard_size=8, threads=1)
    assert ingest(DrawnSource(20), tmp_path, keep_pixels=True, shard_size=5).total == 20
    report = ingest(DrawnSource(20), tmp_path, keep_pixels=True, shard_size=8)
    assert (report.resumed_shards, report.added, report.total) == (2, 0, 20)
    assert len(set(pq.read_table(tmp_path / ROWS)["id"].to_pylist())) == 20


@pytest.mark.parametrize(
    ("lonlat", "corner", "reason"),
    [((20.0, 95.0), 0.0, "latitude 95"), ((np.nan, 5.0), 0.0, "finite"), ((20.0, 5.0), np.inf, "is not on Earth")],
)
def test_a_patch_nowhere_on_earth_fails_alone(tmp_path, lonlat, corner, reason):
    class Astray(DrawnSource):
        def read(self, address):
            record = super().read(address)
            if address != "drawn-0002":
                return record
            outline = np.array([(20, 5), (21, 5), (21, corner)])
            return replace(record, patch=replace(record.patch, lonlat=lonlat), footprint=outline)

    report = ingest(Astray(5), tmp_path, keep_pixels=True)
    assert report.added == report.read == 4
    assert [failure.address for failure in report.failed] == ["drawn-0002"] and reason in report.failed[0].reason


def test_a_longitude_beyond_180_is_found_where_it_is(tmp_path):
    class Turned(DrawnSource):
        def read(self, address):
            record = super().read(address)
            lon, lat = record.patch.lonlat
            return replace(record, patch=replace(record.patch, lonlat=(lon + 360 * (lon < 0), lat)))

    source = Turned(40)
    ingest(source, tmp_path, keep_pixels=False)
    table = Catalogue(tmp_path).query()
    places = dict(zip(table["address"].to_pylist(), table["lon"].to_pylist(), strict=True))
    assert [places[address] for address in source.addresses] == pytest.approx(source.lonlat[:, 0])


def test_a_place_that_an_index_gives_a_metre_away_makes_no_other_patch(tmp_path):
    class Moved(DrawnSource):
        def read(self, address):
            record = super().read(address)
            lon, lat = (round(value, 2) for value in record.patch.lonlat)
            shift = 1e-5 if type(self) is Moved else 0.0
            return replace(record, patch=replace(record.patch, lonlat=(lon, lat + shift)))

    class Still(Moved):
        pass

    ingest(Still(20), tmp_path, keep_pixels=False)
    assert ingest(Moved(20), tmp_path, keep_pixels=False).added == 0


def test_it_is_geoparquet(tmp_path):
    source = DrawnSource()
    ingest(source, tmp_path, keep_pixels=False)
    file = pq.ParquetFile(tmp_path / ROWS)
    geo = json.loads(file.schema_arrow.metadata[b"geo"])
    assert geo["version"] == "1.1.0" and geo["primary_column"] == "geometry"
    assert geo["columns"]["geometry"]["encoding"] == "WKB"
    assert geo["columns"]["geometry"]["covering"]["bbox"]["xmin"] == ["bbox", "xmin"]
    table = file.read()
    shapes = shapely.from_wkb(table["geometry"].to_numpy())
    assert set(geo["columns"]["geometry"]["geometry_types"]) == {shape.geom_type for shape in shapes}
    for shape, box, address in zip(shapes, table["bbox"].to_pylist(), table["address"].to_pylist(), strict=True):
        west, south, east, north = shape.bounds
        assert -180 <= west <= east <= 180
        assert (box["ymin"], box["ymax"]) == pytest.approx((south, north))
        lon, lat = source.lonlat[source.addresses.index(address)]
        if address in ("drawn-0000", "drawn-0001"):  # over the antimeridian: two parts, and a box from east to west
            assert shape.geom_type == "MultiPolygon" and box["xmin"] > 0 > box["xmax"]
            assert shapely.area(shape) == pytest.approx((box["xmax"] - box["xmin"] + 360) * (north - south), rel=0.05)
        else:
            assert shapely.contains_xy(shape, lon, lat)
            assert (box["xmin"], box["xmax"]) == pytest.approx((west, east))


def test_row_groups_can_be_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr("data.ingest.ROW_GROUP", 10)
    ingest(DrawnSource(), tmp_path, keep_pixels=False)
    metadata = pq.read_metadata(tmp_path / ROWS)
    column = metadata.schema.to_arrow_schema().names.index("h3_7")
    ranges = [metadata.row_group(n).column(column).statistics for n in range(metadata.num_row_groups)]
    assert len(ranges) == 6
    assert all(a.max <= b.min for a, b in itertools.pairwise(ranges))


def test_digital_numbers_come_back_exactly():
    patch = DrawnSource().read("drawn-0000").patch
    found = decode_pixels(encode_pixels(patch), patch.bands)
    assert np.array_equal(np.rint(found * 1e4), np.rint(patch.pixels * 1e4), equal_nan=True)
    np.testing.assert_allclose(found, patch.pixels, atol=1e-7)


def test_kept_pixels_need_no_source(tmp_path):
    source = DrawnSource(20)
    ingest(source, tmp_path / "kept", keep_pixels=True)
    catalogue = Catalogue(tmp_path / "kept")
    for name, address in catalogue.query().select(["id", "address"]).to_pandas().itertuples(index=False):
        record, expected = catalogue.read(name), source.read(address)
        np.testing.assert_allclose(record.patch.pixels, expected.patch.pixels, atol=1e-7)
        assert record.patch.lonlat == expected.patch.lonlat and record.patch.acquired == expected.patch.acquired
        assert record.cloud_percent == pytest.approx(expected.cloud_percent, rel=1e-6)
        assert record.level == "L2A" and record.patch.bands == expected.patch.bands
    ingest(source, tmp_path / "left", keep_pixels=False)
    catalogue = Catalogue(tmp_path / "left")
    with pytest.raises(SourceError, match="neither its pixels nor its source was kept"):
        catalogue.read(catalogue.query()["id"][0].as_py())
    with pytest.raises(SourceError, match="has no patch 'x'"):
        catalogue.read("x")


def test_a_second_writer_is_refused(tmp_path):
    with (
        filelock.FileLock(tmp_path / LOCK),
        pytest.raises(SourceError, match="another process is adding patches"),
    ):
        ingest(DrawnSource(), tmp_path, keep_pixels=False)


def test_a_disk_that_takes_no_more_is_a_sentence_and_leaves_nothing_half_written(tmp_path):
    script = f"""
import resource, signal
from pathlib import Path
from data.ingest import ingest
from tests.data.a_source import DrawnSource
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    ingest(DrawnSource(), Path({str(tmp_path)!r}), keep_pixels=True, shard_size=16)
except Exception as error:
    print(type(error).__name__, error)
"""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.startswith("SourceError Writing") and "Free some space and run it again" in done.stdout
    assert not list(tmp_path.rglob("*.part")) and not list(tmp_path.rglob("*.parquet"))
    assert ingest(DrawnSource(), tmp_path, keep_pixels=True, shard_size=16).total == 60


def test_a_full_disk_is_a_sentence_and_the_next_run_goes_on(tmp_path, monkeypatch):
    real, calls = data.files.os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) > 8:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(data.files.os, "fsync", full)
    with pytest.raises(SourceError, match=r"failed: No space left on device\. Free some space and run"):
        ingest(DrawnSource(), tmp_path, keep_pixels=True, shard_size=16)
    assert not (tmp_path / ROWS).exists()
    assert not list(tmp_path.rglob("*.part"))
    monkeypatch.setattr(data.files.os, "fsync", real)
    report = ingest(DrawnSource(), tmp_path, keep_pixels=True, shard_size=16)
    assert report.total == 60 and report.resumed_shards > 0
