"""Questions to a dataset, against brute force over its rows."""

import itertools
from datetime import UTC, datetime

import numpy as np
import pytest
import shapely

from data import atlas
from data.catalogue import Catalogue, dataset_names, dataset_path
from data.errors import SourceError
from data.geo import BBox
from data.ingest import ROWS, ingest
from tests.data.a_source import DrawnSource


@pytest.fixture(scope="module")
def source():
    return DrawnSource(300, seed=3)


@pytest.fixture(scope="module")
def catalogue(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("home") / "drawn"
    ingest(source, folder, keep_pixels=False)
    return Catalogue(folder)


def addresses(table):
    return sorted(table["address"].to_pylist())


BOXES = [None, BBox(-20, -40, 60, 50), BBox(150, -60, -30, 80), BBox(150, -60, 330, 80), BBox(-180, -90, 180, 90)]
CLOUDS = [None, 40.0]
TIMES = [(None, None), (datetime(2019, 6, 1, tzinfo=UTC), datetime(2021, 2, 3, tzinfo=UTC))]
COUNTRIES = [(), ("RUS", "BRA", "AUS")]


@pytest.mark.parametrize(("box", "cloud", "times", "countries"), itertools.product(BOXES, CLOUDS, TIMES, COUNTRIES))
def test_filters_by_brute_force(catalogue, source, box, cloud, times, countries):
    found = catalogue.query(bbox=box, after=times[0], before=times[1], max_cloud_percent=cloud, countries=countries)
    codes = atlas.country_of(source.lonlat)
    expected = []
    for row, address in enumerate(source.addresses):
        record = source.read(address)
        fits = box is None or bool(box.contains(source.lonlat[row : row + 1])[0])
        fits &= cloud is None or record.cloud_percent <= cloud
        fits &= times[0] is None or times[0] <= record.patch.acquired < times[1]
        if fits and (not countries or codes[row] in countries):
            expected.append(address)
    assert addresses(found) == sorted(expected)
    assert (np.diff(found["h3_7"].to_numpy().astype(object)) >= 0).all()


def test_a_polygon_by_brute_force(catalogue, source):
    star = shapely.Polygon([(-120, 0), (0, 80), (140, 10), (20, 20), (30, -50), (-10, 10)])
    inside = [
        address
        for address, (lon, lat) in zip(source.addresses, source.lonlat, strict=True)
        if star.contains(shapely.Point(lon, lat))
    ]
    assert addresses(catalogue.query(polygon=star)) == sorted(inside)
    some = catalogue.query(polygon=star, limit=3)
    assert len(some) == 3 and set(addresses(some)) <= set(inside)
    assert len(catalogue.query(limit=7)) == 7


def test_words_from_outside_are_values_not_sql(catalogue):
    assert len(catalogue.query(countries=["x') OR true --"])) == 0
    with pytest.raises(SourceError, match="has no patch"):
        catalogue.read("' OR true --")


def test_description(catalogue, source):
    facts = catalogue.describe()
    assert facts["count"] == catalogue.count == 300
    assert facts["extent"] == pytest.approx([*source.lonlat.min(axis=0), *source.lonlat.max(axis=0)])
    counts = np.histogram(np.float32(source.cloud), bins=np.arange(0, 101, 10))[0]
    assert list(facts["cloud_histogram"].values()) == counts.tolist()
    days = sorted(source.days)
    assert (datetime.fromisoformat(facts["last"]) - datetime.fromisoformat(facts["first"])).days == days[-1] - days[0]
    assert facts["sources"] == {"drawn": 300}
    assert facts["bytes"] >= (catalogue.path / ROWS).stat().st_size


def test_names_and_what_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setenv("SAMEWHERE_HOME", str(tmp_path))
    assert dataset_names() == []
    for name in ("a/b", "..", "", "-x", "x" * 65):
        with pytest.raises(SourceError, match="cannot be a dataset's name"):
            dataset_path(name)
    with pytest.raises(SourceError, match=r"There is no dataset at .*none yet.*samewhere data add"):
        Catalogue.open("nothing")
    ingest(DrawnSource(5), dataset_path("five"), keep_pixels=False)
    assert dataset_names() == ["five"]
    content = (dataset_path("five") / ROWS).read_bytes()
    (dataset_path("five") / ROWS).write_bytes(content[:-200])
    with pytest.raises(SourceError, match="is damaged"):
        Catalogue.open("five")
    with pytest.raises(SourceError, match="damaged or of another version"):
        ingest(DrawnSource(6), dataset_path("five"), keep_pixels=False)
