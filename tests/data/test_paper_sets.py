"""The paper's data sets: each in the layout of its authors, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from data.errors import CoordinateError, HeadError
from data.paper_sets import SETS, find_set

FILES = {
    "stationDataAll.csv": "Lon,Lat,nObs,SG_rmsep,meanT,meanP\n7.82,36.83,0.975,0.75,18.025,694\n3.25,36.72,1,0.9,,672\n"
    "-0.6,35.6,0.9,0.7,17.74,388\n",
    "income.csv": 'FIPS,State,MedianIncome2012,MedianIncome2016\n01001,AL,1,"54,487"\n02013,AK,1,"61,518"\n'
    "06037,CA,1,61338\n99999,XX,1,5\n",
    "2020_Gaz_counties_national.txt": "USPS\tGEOID\tNAME\tINTPTLAT\tINTPTLONG     \n"
    "AL\t01001\tAutauga County\t32.532237\t-86.64644\nAK\t02013\tAleutians East\t55.245\t-161.997\n"
    "CA\t06037\tLos Angeles\t34.196398\t-118.261862\n",
    "cal_housing.data": "-122.23,37.88,41,880,129,322,126,8.3252,452600\n-122.22,37.86,21,7,1,2,1,8.3,358500\n",
    "labels_elevation.csv": "elevation,Lat,Lon\n120.5,10,20\n,11,21\n-3,12,22\n",
    "labels_population.csv": "log_population,Lat,Lon\n0.5,10,20\n3.25,-12,-22\n",
    "lat_lon_country.csv": "lat,lon,country\n10,20,7\n0,-30,0\n-12,-22,120\n",
    "lat_lon_ecoregion.csv": "lat,lon,ecoregion_class_index,biome_class_index,realmbiome_class_index\n10,20,701,3,9\n"
    "0,-30,-1,-1,-1\n-12,-22,15,0,2\n",
    "train2018.json": json.dumps(
        {"annotations": [{"id": 1, "image_id": 5, "category_id": 8}, {"id": 2, "image_id": 6, "category_id": 3}]}
    ),
    "train2018_locations.json": json.dumps(
        [{"id": 6, "lon": 1.5, "lat": 2.5}, {"id": 5, "lon": None, "lat": None}, {"id": 9, "lon": 0, "lat": 0}]
    ),
}
EXPECTED = {
    "paper-air-temperature": ([[7.82, 36.83], [-0.6, 35.6]], [18.025, 17.74]),
    "paper-median-income": ([[-86.64644, 32.532237], [-118.261862, 34.196398]], [54487, 61338]),  # the lower 48 states
    "paper-california-housing": ([[-122.23, 37.88], [-122.22, 37.86]], [452600, 358500]),
    "paper-elevation": ([[20, 10], [22, 12]], [120.5, -3]),
    "paper-population": ([[20, 10], [-22, -12]], [0.5, 3.25]),
    "paper-country": ([[20, 10], [-22, -12]], ["7", "120"]),
    "paper-biome": ([[20, 10], [-22, -12]], ["3", "0"]),
    "paper-ecoregion": ([[20, 10], [-22, -12]], ["701", "15"]),
    "paper-inaturalist": ([[1.5, 2.5]], ["3"]),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("entry", SETS, ids=lambda entry: entry.name)
def test_each_set_as_its_authors_lay_it_out(entry, folder: Path) -> None:
    assert entry.is_in(folder)
    lonlat, target = entry.load(folder)
    places, values = EXPECTED[entry.name]
    np.testing.assert_array_equal(lonlat, places)
    assert target.tolist() == values
    assert (target.dtype.kind == "U") == (entry.kind == "classification")


def test_the_sets_are_the_papers_nine() -> None:
    assert {entry.name for entry in SETS} == set(EXPECTED)
    assert find_set("paper-biome") is SETS[6] and find_set("biome") is None


@pytest.mark.parametrize("entry", SETS, ids=lambda entry: entry.name)
def test_missing_files_are_named_with_their_origin(entry, tmp_path: Path) -> None:
    assert not entry.is_in(tmp_path)
    with pytest.raises(HeadError) as caught:
        entry.load(tmp_path)
    assert all(name in str(caught.value) for name in entry.files) and entry.origin in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Lon,Lat,Temperature\n1,2,3\n", r"no column meanT; it has Lon, Lat, Temperature"),
        ("Lon,Lat,meanT\n1,2,3\n4,5,warm\n", r"row 2, column meanT: 'warm' is no number"),
        ("Lon,Lat,meanT\n1,2,\n", r"holds no place with a value"),
        ("", r"cannot be read as a table"),
    ],
)
def test_damaged_tables(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "stationDataAll.csv").write_text(text)
    with pytest.raises(HeadError, match=said):
        SETS[0].load(tmp_path)


def test_places_off_the_globe_and_other_json(folder: Path) -> None:
    (folder / "stationDataAll.csv").write_text("Lon,Lat,meanT\n1,92,3\n")
    with pytest.raises(CoordinateError, match=r"stationDataAll\.csv.*latitude 92"):
        SETS[0].load(folder)
    (folder / "train2018.json").write_text("[]")
    with pytest.raises(HeadError, match="annotations with image_id and category_id"):
        SETS[8].load(folder)
