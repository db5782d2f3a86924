"""Arrays with a sidecar: values, outline and every bad pair against its sentence."""

import json
import re
from datetime import UTC, datetime

import numpy as np
import pytest

from data.bands import L2A_BANDS, VISIBLE_BANDS
from data.errors import CoordinateError, PatchError, SourceError
from data.geo import great_circle_km
from data.sources import open_source
from data.sources.base import ShardReport, read_all
from data.sources.numpy_files import open_numpy

NUMBERS = np.random.default_rng(0).integers(1, 9000, (12, 20, 30)).astype(np.uint16)
SIDECAR = {"bands": list(L2A_BANDS), "lonlat": [12.49, 41.89]}


def write(folder, values=NUMBERS, name="a", **sidecar):
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{name}.npy", values)
    (folder / f"{name}.json").write_text(json.dumps({**SIDECAR, **sidecar}))
    return folder / f"{name}.npy"


def test_everything_that_a_sidecar_says(tmp_path):
    sidecar = {
        "gsd_m": 20,
        "acquired": "2023-07-06T01:26:59Z",
        "level": "L2A",
        "cloud_percent": 12.5,
        "offset": 1000,
        "bands": [band.lower().replace("b0", "b") for band in L2A_BANDS],
    }
    write(tmp_path, **sidecar)
    record = open_numpy(tmp_path).read("a.npy")
    np.testing.assert_allclose(record.patch.pixels, (NUMBERS.astype(float) - 1000) / 10_000, atol=1e-6)
    assert (record.patch.bands, record.patch.lonlat, record.patch.gsd_m) == (L2A_BANDS, (12.49, 41.89), 20)
    assert record.patch.acquired == datetime(2023, 7, 6, 1, 26, 59, tzinfo=UTC)
    assert (record.level, record.cloud_percent, record.address) == ("L2A", 12.5, "a.npy")
    sides_km = great_circle_km(record.footprint, np.roll(record.footprint, -1, axis=0))
    np.testing.assert_allclose(sides_km, [0.6, 0.4, 0.6, 0.4], rtol=1e-6)  # 30 columns, 20 rows of 20 m


@pytest.mark.parametrize("place", [(180.0, 0.0), (0.0, 90.0), (-179.9999, -78.0)])
def test_outline_at_the_edges_of_the_map(tmp_path, place):
    write(tmp_path, lonlat=place, gsd_m=10)
    footprint = open_numpy(tmp_path).read("a.npy").footprint
    half_diagonal_km = np.hypot(0.15, 0.1)
    np.testing.assert_allclose(great_circle_km(footprint, place), half_diagonal_km, rtol=1e-6)
    if abs(place[1]) < 90:
        assert np.ptp(footprint[:, 0]) < 1


def test_kinds_of_numbers(tmp_path):
    write(tmp_path, NUMBERS + np.uint16(1500), "b")  # no pixel below 1000: the offset is seen
    dark = NUMBERS.copy()
    dark[:, 0, 0], dark[0, 1, 1] = 0, 65535
    write(tmp_path, dark, "c")
    floats = NUMBERS / 10_000
    floats[0, 0, 0] = np.inf
    write(tmp_path, floats, "d")
    colours = NUMBERS[:3].astype(np.uint8)
    write(tmp_path, colours, "e", bands=["R", "G", "B"])
    source = open_source(tmp_path)
    assert source.kind == "numpy"
    assert list(source.addresses) == ["b.npy", "c.npy", "d.npy", "e.npy"]
    b, c, d, e = (source.read(address).patch.pixels for address in source.addresses)
    np.testing.assert_allclose(b, (NUMBERS.astype(float) + 500) / 10_000, atol=1e-6)
    assert np.isnan(c).sum() == 13 and np.isnan(c[:, 0, 0]).all() and np.isnan(c[0, 1, 1])
    np.testing.assert_allclose(d[1:], floats[1:], atol=1e-6)
    assert np.isnan(d[0, 0, 0]) and np.isnan(d).sum() == 1
    np.testing.assert_allclose(e, colours / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "sidecar", "sentence"),
    [
        (NUMBERS, {"lonlet": [1, 2]}, "a.json, lonlet: Extra inputs are not permitted. Keys: bands, lonlat"),
        (NUMBERS, {"lonlat": None}, "a.json, lonlat: Input should be a valid"),
        (NUMBERS, {"lonlat": [1]}, "a.json, lonlat.1: Field required"),
        (NUMBERS, {"gsd_m": 0}, "a.json, gsd_m: Input should be greater than 0"),
        (NUMBERS, {"gsd_m": float("inf")}, "a.json"),
        (NUMBERS, {"level": "L3"}, "a.json, level: Input should be 'L1C' or 'L2A'"),
        (NUMBERS, {"cloud_percent": 101}, "a.json, cloud_percent: Input should be less than or equal to 100"),
        (NUMBERS, {"acquired": "soon"}, "a.json, acquired: Input should be a valid datetime"),
        (NUMBERS, {"bands": list(VISIBLE_BANDS)}, "a.npy: 12 bands but 3 band names"),
        (NUMBERS[4:8], {"bands": ["B05", "B06", "B07", "B08"]}, "a.npy: the bands are B05, B06, B07, B08"),
        (NUMBERS.astype(float), {}, "a.npy: the values are digital numbers, not reflectance"),
        (NUMBERS.astype(np.uint8), {}, "a.npy: bytes are display colours"),
        (NUMBERS[0], {}, "a.npy: expected numbers of the shape bands × rows × columns, got shape (20, 30)"),
        (NUMBERS.astype(str), {}, "a.npy: expected numbers of the shape"),
        (NUMBERS.astype(object), {}, "a.npy: not a plain NumPy array"),
        (np.zeros((12, 2100, 2100), np.uint8), {}, "a.npy: 12 × 2100 × 2100 values are more than the 50 million"),
        (np.zeros_like(NUMBERS), {}, "a.npy: every pixel is nodata"),
    ],
)
def test_a_bad_pair_costs_itself(tmp_path, values, sidecar, sentence):
    write(tmp_path, values, **sidecar)
    write(tmp_path, name="good")
    source, report = open_numpy(tmp_path), ShardReport()
    assert len(list(read_all(source, source.addresses, report))) == 1
    assert [failure.address for failure in report.failed] == ["a.npy"]
    assert re.search(re.escape(sentence), report.failed[0].reason), report.failed[0].reason


def test_files_that_are_missing_or_damaged(tmp_path):
    path = write(tmp_path)
    (tmp_path / "a.json").unlink()
    with pytest.raises(PatchError, match=r"a.json: cannot be read \(No such file.*Put it beside the array"):
        open_numpy(path).read("a.npy")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(PatchError, match=r"a.json, the file: Invalid JSON"):
        open_numpy(path).read("a.npy")
    (tmp_path / "a.json").write_text(json.dumps({**SIDECAR, "lonlat": [41.89, 112.49]}))
    with pytest.raises(CoordinateError, match=r"a.json: .*swapped"):
        open_numpy(path).read("a.npy")
    write(tmp_path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(PatchError, match="not a plain NumPy array"):
        open_numpy(path).read("a.npy")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"no .npy there"):
        open_numpy(tmp_path / "empty")
