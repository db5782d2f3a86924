"""Users' tables: what is read, what is mended, and the sentence for everything that cannot be."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import shapely

from data.errors import CoordinateError, SamewhereError, TableError
from data.table import read_points, take_sample


def rows(count=60, seed=0):
    rng = np.random.default_rng(seed)
    lon, lat = rng.uniform(-170, 170, count).round(4), rng.uniform(-60, 70, count).round(4)
    return {"lon": lon, "lat": lat, "y": rng.normal(size=count).round(4)}


def write_csv(path, columns, delimiter=","):
    names = list(columns)
    lines = [delimiter.join(names)]
    lines += [delimiter.join(str(value) for value in row) for row in zip(*columns.values(), strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize(
    ("lon", "lat"), [("lon", "lat"), ("Longitude", "LATITUDE"), ("decimalLongitude", "decimalLatitude")]
)
def test_csv_coordinates_are_found(tmp_path, delimiter, lon, lat):
    given = rows()
    path = write_csv(
        tmp_path / "a.csv", {"id": range(60), lat: given["lat"], lon: given["lon"], "y": given["y"]}, delimiter
    )
    read = read_points(path)
    np.testing.assert_array_equal(read.lonlat, np.stack([given["lon"], given["lat"]], axis=1))
    assert (read.lon, read.lat) == (lon, lat)
    sample = take_sample(read, "y")
    np.testing.assert_array_equal(sample.target, given["y"])
    assert sample.kind == "regression" and sample.notes == ()


def test_parquet_is_the_same_as_csv(tmp_path):
    given = rows()
    pq.write_table(pa.table(given), tmp_path / "a.parquet")
    a, b = read_points(tmp_path / "a.parquet"), read_points(write_csv(tmp_path / "a.csv", given))
    np.testing.assert_array_equal(a.lonlat, b.lonlat)


def geoparquet(path, shapes, crs=None):
    column = {"encoding": "WKB", "geometry_types": []} | ({} if crs is None else {"crs": crs})
    geo = {"version": "1.1.0", "primary_column": "shape", "columns": {"shape": column}}
    table = pa.table({"y": np.arange(float(len(shapes))), "shape": pa.array(shapely.to_wkb(shapes), type=pa.binary())})
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    return path


def test_geoparquet_points_are_places(tmp_path):
    lonlat = np.array([[1.5, 2.5], [-170.0, 80.0]])
    np.testing.assert_array_equal(
        read_points(geoparquet(tmp_path / "p.parquet", shapely.points(lonlat))).lonlat, lonlat
    )


def test_geoparquet_that_holds_no_places_in_degrees_is_refused(tmp_path):
    polygons = geoparquet(tmp_path / "a.parquet", np.array([shapely.Point(0, 0), shapely.box(0, 0, 1, 1)]))
    with pytest.raises(TableError, match="'shape', row 2 is a Polygon; points are wanted"):
        read_points(polygons)
    metres = geoparquet(tmp_path / "b.parquet", shapely.points([[0, 0]]), {"id": {"authority": "EPSG", "code": 3857}})
    with pytest.raises(TableError, match="EPSG:3857, not in degrees"):
        read_points(metres)


def changed(column, row, value):
    given = {name: values.astype(object) for name, values in rows().items()}
    given[column][row] = value
    return given


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (changed("lat", 6, 91.5), r"a.csv, column 'lat', row 7: latitude 91.5 is outside -90…90"),
        (changed("lon", 0, -200), r"column 'lon', row 1: longitude -200 is outside"),
        (changed("lon", 3, ""), r"column 'lon', row 4: the longitude is missing"),
        (changed("lat", 59, "north"), r"column 'lat', row 60: 'north' is no number"),
        ({"east": [1.0], "north": [2.0]}, r"which column holds the longitudes is not clear; it has east, north.*--lon"),
        ({"lon": [], "lat": []}, r"has no rows"),
    ],
)
def test_coordinates_that_are_none(tmp_path, given, message):
    with pytest.raises(SamewhereError, match=message):
        read_points(write_csv(tmp_path / "a.csv", given))


def test_swapped_coordinates_are_suspected(tmp_path):
    given = {"lon": [41.9, 48.8], "lat": [12.5, 122.3]}
    with pytest.raises(CoordinateError, match=r"row 2: latitude 122.3 .* swapped"):
        read_points(write_csv(tmp_path / "a.csv", given))


@pytest.mark.parametrize("name", ["absent.csv", "a.xlsx", "broken.parquet", "ragged.csv"])
def test_files_that_are_no_tables(tmp_path, name):
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    (tmp_path / "ragged.csv").write_text("lon,lat\n1,2\n3\n")
    with pytest.raises(TableError, match=name.split(".")[0]):
        read_points(tmp_path / name)


def sample_of(tmp_path, given, target="y", **options):
    return take_sample(read_points(write_csv(tmp_path / "a.csv", given)), target, **options)


def with_y(values, count=60):
    given = rows(count)
    given["y"] = np.array(values, dtype=object)
    return given


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([f"{i / 7:.3f}" for i in range(60)], "regression"),
        (["wet", "dry"] * 30, "classification"),
        (["true", "false"] * 30, "classification"),
        ([1, 2, 3] * 20, "classification"),
        (list(range(60)), "regression"),
        ([1, 2] + [3.5] * 58, "regression"),
    ],
)
def test_the_kind_is_found(tmp_path, values, kind):
    assert sample_of(tmp_path, with_y(np.random.default_rng(0).permutation(values))).kind == kind


def test_the_kind_can_be_said(tmp_path):
    given = with_y([1, 2, 3] * 20)
    assert sample_of(tmp_path, given, kind="regression").target.dtype == np.float64
    assert set(sample_of(tmp_path, given, kind="classification").target) == {"1", "2", "3"}


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (rows(), {"target": "ph"}, r"a.csv has no column 'ph'; it has lon, lat, y"),
        (rows(), {"target": "Y"}, r"no column 'Y'"),
        (rows(), {"target": "lat"}, r"'lat' is a coordinate itself"),
        (changed("y", 11, "a lot"), {}, r"column 'y', row 12: 'a lot' is no number"),
        (with_y(["wet"] * 60), {}, r"column 'y': every row is 'wet'; there must be two classes"),
        (with_y([3.5] * 60), {}, r"column 'y': it is 3.5 in every row"),
        (with_y([f"plot {i}" for i in range(60)]), {}, r"60 different texts in 60 places are names"),
        (rows(10), {}, r"column 'y': 10 places with a value are too few"),
        ({**rows(), "lon": [5] * 60, "lat": [6] * 60}, {}, r"all 60 rows lie at one coordinate"),
        ({**rows(), "y": rows()["lat"] * 2 - 7}, {}, r"target 'y' is a function of .*leak"),
        ({**rows(), "y": rows()["lat"] ** 3}, {}, r"target 'y' is a function of 'lat' in every row \(a leak\)"),
        ({**rows(), "y": 3 * rows()["lat"] - rows()["lon"]}, {}, r"function of 'lon' and 'lat'"),
        ({**rows(), "twin": np.exp(rows()["y"])}, {"features": ("twin",)}, r"'twin' determines the target 'y'"),
        ({**rows(), "x2": -rows()["lon"]}, {"features": ("x2",)}, r"'x2' is a function of the coordinate 'lon'"),
        ({**rows(), "slope": ["steep"] * 60}, {"features": ("slope",)}, r"column 'slope', row 1: 'steep' is no number"),
        (
            {**with_y(["wet", "dry", "dry"] * 20), "code": [7, 1, 2] * 20},
            {"features": ("code",)},
            r"'code' determines the target 'y'",
        ),
    ],
)
def test_targets_from_which_nothing_can_be_learned(tmp_path, given, options, message):
    with pytest.raises(TableError, match=message):
        sample_of(tmp_path, given, **options)


def test_a_feature_that_only_helps_is_no_leak(tmp_path):
    given = rows()
    given["near"] = given["y"] + np.random.default_rng(3).normal(size=60)
    sample = sample_of(tmp_path, given, features=("near",))
    np.testing.assert_allclose(sample.features[:, 0], given["near"])


def test_rows_without_a_target_are_left_out_and_told(tmp_path):
    sample = sample_of(tmp_path, changed("y", 4, ""))
    assert len(sample.target) == 59
    assert sample.notes == ("1 row(s) with an empty or infinite 'y' or the like were left out, the first is row 5.",)


def test_rows_with_an_infinite_feature_are_left_out_and_told(tmp_path):
    given = changed("y", 4, "")
    given["near"] = np.random.default_rng(3).normal(size=60)
    given["near"][7] = np.inf
    sample = sample_of(tmp_path, given, features=("near",))
    assert len(sample.target) == 58 and np.isfinite(sample.features).all()


def test_class_codes_keep_all_their_digits(tmp_path):
    codes = [10190003.0, 10190005.0, 0.5, None] * 15  # floats for the sake of the gap
    table = pa.table({**rows(), "y": pa.array(codes)})
    pq.write_table(table, tmp_path / "a.parquet")
    sample = take_sample(read_points(tmp_path / "a.parquet"), "y", kind="classification")
    assert set(sample.target) == {"10190003", "10190005", "0.5"}


def test_rows_at_one_coordinate_count_once(tmp_path):
    given = rows()
    for row in (10, 11, 12):
        given["lon"][row], given["lat"][row] = 5.0, 6.0
    sample = sample_of(tmp_path, given)
    assert len(sample.target) == 58
    at = (sample.lonlat == [5, 6]).all(axis=1)
    assert sample.target[at] == pytest.approx([given["y"][10:13].mean()])
    assert "3 rows share a coordinate" in sample.notes[0] and "rows 11 and 12, at 5, 6" in sample.notes[0]
    kept = np.flatnonzero(~np.isin(np.arange(60), [10, 11, 12]))
    np.testing.assert_array_equal(sample.target[~at], given["y"][kept])
    words = with_y(["a", "b", "c"] * 20)
    words["lon"], words["lat"] = given["lon"], given["lat"]
    words["y"][10:13] = ["b", "c", "b"]
    classes = sample_of(tmp_path, words)
    assert classes.target[(classes.lonlat == [5, 6]).all(axis=1)].tolist() == ["b"]
