"""``samewhere fit`` and ``samewhere predict``: from a table to a map, and the sentences in between."""

from __future__ import annotations

import json
import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely

import model.checkpoint
from app import cli
from data import atlas
from data.geo import hex_to_cell
from data.land import is_land, sample_land
from indexer import build_index
from model import predict as predicting
from tests.indexer.standin import StandInPair


class Pair(StandInPair):
    """The stand-in, with an embedding smooth enough to predict from."""

    def encode_location(self, lonlat, *, normalize=True):
        return super().encode_location(lonlat, normalize=normalize)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home that keeps its heads for all tests of this file, and a small index."""
    path = tmp_path_factory.mktemp("home")
    build_index(path / "index", pair=StandInPair(), cell_resolution=1, tile_resolution=0)
    return path


@pytest.fixture(autouse=True)
def surroundings(home, monkeypatch):
    monkeypatch.setenv("SAMEWHERE_HOME", str(home))
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.setattr(predicting, "PLACES", 900)
    monkeypatch.setattr(predicting, "HELD_OUT", 300)
    monkeypatch.setattr(model.checkpoint, "load", lambda name="x", **_: Pair(name))
    monkeypatch.setattr("indexer.search.load_encoder", lambda name, part: StandInPair(name))
    predicting._places.cache_clear()
    predicting._encoded.clear()


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["samewhere", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        return int(end.value.code or 0), said.out, said.err

    return run


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    """A user's CSV: temperature and climate at 400 land places, with noise."""
    rng = np.random.default_rng(1)
    lonlat = sample_land(400, rng=rng, antarctica=False).round(5)
    table = pa.table(
        {
            "site": [f"s{number}" for number in range(400)],
            "longitude": lonlat[:, 0],
            "latitude": lonlat[:, 1],
            "temp": atlas.sample("temperature", lonlat) + rng.normal(size=400),
            "hot": np.where(atlas.sample("temperature", lonlat) > 15, "yes", "no"),
            "height": atlas.sample("elevation", lonlat) + rng.normal(size=400),
        }
    )
    path = tmp_path_factory.mktemp("sites") / "sites.csv"
    pyarrow.csv.write_csv(table, path)
    return path


def test_a_table_becomes_a_variable_and_the_variable_a_map(run, sites, tmp_path):
    code, out, err = run("fit", sites, "--target", "temp", "--name", "my-temp", "--unit", "°C", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert (report["kind"], report["places"]) == ("regression", 400)
    assert set(report["checks"]) == {"knn", "ridge"}
    best = report["checks"][report["head"]]
    assert best["random"]["score"] > 0.8
    assert {"random", "blocks"} == set(best)
    assert report["gap"].startswith(f"R² is {best['random']['score']:.2f} on held-out random places")
    assert [point["places"] for point in report["curve"]] == sorted(point["places"] for point in report["curve"])
    code, out, err = run(
        "predict", "-v", "my-temp", "--bbox", "-10,35,30,60", "--step-deg", "1", "--out", tmp_path / "map.tif", "--json"
    )
    assert code == 0, err
    with rasterio.open(tmp_path / "map.tif") as file:
        assert (file.width, file.height, file.count, file.crs.to_epsg()) == (40, 25, 4, 4326)
        assert file.descriptions == ("value", "low", "high", "unfamiliar")
        assert file.tags()["variable"] == "my-temp" and file.tags()["fingerprint"] == "a" * 64
        assert file.units[0] == "°C"
        value, low, high, unfamiliar = file.read(masked=True)
        lon, lat = np.meshgrid(np.arange(40) + -9.5, 59.5 - np.arange(25))
    land = is_land(np.stack([lon, lat], axis=-1))
    np.testing.assert_array_equal(~np.ma.getmaskarray(value), land)  # nodata over the sea, and there alone
    assert json.loads(out)["land"] == land.sum()
    assert (low <= value).all() and (value <= high).all()
    assert set(unfamiliar.compressed()) <= {0, 1}
    truth = atlas.sample("temperature", np.stack([lon[land], lat[land]], axis=1))
    assert np.corrcoef(value[land], truth)[0, 1] > 0.7


def test_classes_become_a_map_with_their_names(run, sites, tmp_path):
    code, _, err = run("fit", sites, "--target", "hot")
    assert code == 0, err
    code, _, err = run(
        "predict", "-v", "hot", "--bbox", "170,-50,-170,-30", "--step-deg", "2", "--out", tmp_path / "m.tif"
    )
    assert code == 0, err
    with rasterio.open(tmp_path / "m.tif") as file:
        assert file.bounds.left == 170 and file.bounds.right == 190
        assert json.loads(file.tags()["classes"]) == {"0": "no", "1": "yes"}
        number, probability, count, _ = file.read(masked=True)
    assert set(number.compressed()) <= {0, 1}
    assert probability.min() >= 0.5 and set(count.compressed()) <= {1, 2}


@pytest.mark.parametrize("suffix", ["parquet", "csv", "geojson"])
def test_a_table_gets_the_prediction_as_columns(run, sites, tmp_path, suffix):
    out = tmp_path / f"filled.{suffix}"
    code, said, err = run("predict", "-v", "temperature", "--points", sites, "--out", out)
    assert code == 0, err
    assert "400 places" in said
    given = pyarrow.csv.read_csv(sites)
    if suffix == "geojson":
        features = json.loads(out.read_text())["features"]
        table = pa.Table.from_pylist([feature["properties"] for feature in features])
        lonlat = np.array([feature["geometry"]["coordinates"] for feature in features])
    elif suffix == "csv":
        table = pyarrow.csv.read_csv(out)
        lonlat = np.stack([table["longitude"], table["latitude"]], axis=1)
    else:
        table = pq.read_table(out)
        lonlat = shapely.get_coordinates(shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False)))
        assert json.loads(table.schema.metadata[b"geo"])["primary_column"] == "geometry"
        assert json.loads(table.schema.metadata[b"samewhere"])["unit"] == "°C"
    np.testing.assert_allclose(lonlat, np.stack([given["longitude"], given["latitude"]], axis=1), atol=1e-6)
    assert table["site"].to_pylist() == given["site"].to_pylist()
    expected = predicting.load_predictor("temperature", Pair()).predict(lonlat)
    for name, values in (("", expected.values), ("_low", expected.low), ("_high", expected.high)):
        np.testing.assert_allclose(table[f"temperature{name}"].to_numpy(), values, rtol=1e-4, atol=1e-4)
    assert table["temperature_unfamiliar"].to_pylist() == expected.unfamiliar.tolist()


def test_the_cells_of_an_index_keep_their_ids(run, home, tmp_path):
    code, _, err = run("predict", "-v", "koppen", "--index", "default", "--out", tmp_path / "cells.parquet")
    assert code == 0, err
    table = pq.read_table(tmp_path / "cells.parquet")
    stored = pq.read_table(next((home / "index").rglob("cells.parquet")), columns=["id"])["id"].to_pylist()
    assert [hex_to_cell(text) for text in table["id"].to_pylist()] == stored
    names = set(atlas.koppen_classes())
    assert set(table["koppen"].to_pylist()) <= names
    for label, chosen in zip(table["koppen"].to_pylist(), table["koppen_set"].to_pylist(), strict=True):
        assert label in chosen.split(";") and set(chosen.split(";")) <= names


def test_places_on_the_command_line(run):
    code, out, _ = run("predict", "-v", "temperature", "--at", "12.49,41.89", "--at", "-30,0", "--json")
    assert code == 0
    answer = json.loads(out)
    rows = answer["places"]
    assert [row["lon"] for row in rows] == [12.49, -30]
    expected = predicting.load_predictor("temperature", Pair()).predict([[12.49, 41.89], [-30, 0]])
    np.testing.assert_allclose([row["temperature"] for row in rows], expected.values, rtol=1e-5)
    assert answer["unit"] == "°C" and 0 < answer["coverage_random"] <= 1
    code, out, _ = run("predict", "-v", "temperature", "--at", "12.49,41.89", "--at", "-30,0")
    assert code == 0
    assert f"{expected.low[0]:,.4g} … {expected.high[0]:,.4g}" in out
    assert "at sea" in out and "in held-out blocks" in out


def test_feature_columns_are_asked_for_again(run, sites, tmp_path):
    code, _, err = run("fit", sites, "--target", "temp", "--name", "with-height", "--feature", "height")
    assert code == 0, err
    code, _, err = run("predict", "-v", "with-height", "--points", sites, "--out", tmp_path / "o.csv")
    assert code == 0, err
    code, _, err = run("predict", "-v", "with-height", "--at", "1,45")
    assert code == 2 and "column(s) height" in err
    code, _, err = run("predict", "-v", "with-height", "--bbox", "0,0,1,1", "--out", tmp_path / "o.tif")
    assert code == 2 and "column(s) height" in err
    assert not (tmp_path / "o.tif").exists()


def test_list_names_the_built_in_and_the_fitted(run, sites):
    run("fit", sites, "--target", "temp", "--name", "mine-too")
    code, out, _ = run("predict", "--list", "--json")
    assert code == 0
    listed = {row["name"]: row for row in json.loads(out)}
    assert {"temperature", "koppen", "country"} <= set(listed)
    assert listed["mine-too"]["builtin"] is False and listed["temperature"]["unit"] == "°C"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("fit SITES --target absent", "no column 'absent'"),
        ("fit SITES --target site", "400 different texts in 400 places are names"),
        ("fit SITES --target temp --name temperature", "'temperature' is a built-in variable"),
        ("fit SITES --target temp --name a/b", "cannot be a variable's name"),
        ("fit SITES --target temp --feature latitude", "'latitude' is a function of the coordinate"),
        ("fit nowhere.csv --target temp", "nowhere.csv cannot be read"),
        ("predict -v snow --at 1,2", "no variable 'snow'"),
        ("predict -v temperature --at 1,95", "latitude 95"),
        ("predict -v temperature --at 1,2 --level 1.5", "level is 1.5"),
        ("predict -v temperature --points SITES --out o.xlsx", "ends in .parquet"),
        ("predict -v temperature --points SITES --out no/where.csv", "is no folder"),
        ("predict -v temperature --points SITES --out SITES", "there already"),
        ("predict -v temperature --bbox 0,0,1,1 --step-deg 0 --out o.tif", "--step-deg is 0"),
        ("predict -v temperature --bbox 0,0,90,90 --step-deg 0.001 --out o.tif", "too large"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(run, sites, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*words.replace("SITES", str(sites)).split())
    assert (code, out) == (2, "")
    assert err.startswith("samewhere: ") and err.count("\n") == 1
    assert message in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    ["predict", "predict -v temperature", "predict -v temperature --at 1,2 --bbox 0,0,1,1", "fit", "fit a.csv"],
)
def test_wrong_usage_is_exit_2(run, words):
    code, out, err = run(*words.split())
    assert (code, out) == (2, "")
    assert "Traceback" not in err


@pytest.mark.parametrize("words", ["predict", "fit"])
def test_help_has_an_example(run, words):
    code, out, _ = run(words, "--help")
    assert code == 0
    assert f"Example: samewhere {words}" in " ".join(out.split())
