"""The TopoJSON decoder on topologies small enough to know by heart, and the app's static files that come out of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

REASON = "the build tools need the packages of the extra atlas"
shapely = pytest.importorskip("shapely", reason=REASON)
countries = pytest.importorskip("tools.countries", reason=REASON, exc_type=ModuleNotFoundError)
topojson = pytest.importorskip("tools.topojson", reason=REASON, exc_type=ModuleNotFoundError)

STATIC = Path(__file__).parents[2] / "app" / "static"


def ring(*points: tuple[float, float]) -> Any:
    return np.array([*points, points[0]], dtype=np.float64)


def test_two_squares_share_an_arc_read_backwards(tmp_path: Path) -> None:
    topology = {  # quantised: step 0.5°, origin (10, 20); arc 0 is the shared border, going north
        "transform": {"scale": [0.5, 0.5], "translate": [10, 20]},
        "arcs": [[[4, 0], [0, 4]], [[4, 4], [-4, 0], [0, -4], [4, 0]], [[4, 0], [4, 0], [0, 4], [-4, 0]]],
        "objects": {
            "countries": {
                "geometries": [
                    {"type": "Polygon", "arcs": [[0, 1]], "id": "004", "properties": {"name": "West"}},
                    {"type": "MultiPolygon", "arcs": [[[2, -1]]], "properties": {"name": "East"}},
                ]
            }
        },
    }
    path = tmp_path / "countries.json"
    path.write_text(json.dumps(topology), encoding="utf-8")
    west, east = topojson.read_shapes(path)
    assert (west.numeric, west.name, east.numeric, east.name) == (4, "West", None, "East")
    assert west.geometry.equals(shapely.box(10, 20, 12, 22))
    assert east.geometry.equals(shapely.box(12, 20, 14, 22))


def test_joining_keeps_each_joint_once() -> None:
    arcs = [np.array([[0.0, 0], [1, 0]]), np.array([[0.0, 0], [0, 1], [1, 0]])]
    assert topojson.join(arcs, [0, ~1]).tolist() == [[0, 0], [1, 0], [0, 1], [0, 0]]


def test_a_polygon_over_the_antimeridian_is_cut_there() -> None:
    square = topojson.plane_polygon([ring((170, 0), (-170, 0), (-170, 10), (170, 10))])
    assert square.equals(shapely.union_all([shapely.box(170, 0, 180, 10), shapely.box(-180, 0, -170, 10)]))


def test_a_hole_stays_a_hole_on_the_other_side() -> None:
    outer = ring((160, 0), (-160, 0), (-160, 20), (160, 20))
    holed = topojson.plane_polygon([outer, ring((-175, 5), (-175, 10), (-170, 10), (-170, 5))])
    assert holed.area == pytest.approx(40 * 20 - 25)
    assert not holed.contains(shapely.Point(-172, 7)) and holed.contains(shapely.Point(172, 7))


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("start", [-180, -60, 30])
@pytest.mark.parametrize("direction", [-1, 1])
def test_a_ring_around_a_pole_holds_the_pole(sign: int, start: int, direction: int) -> None:
    lon = (start + direction * np.arange(0, 361, 30) + 180) % 360 - 180
    cap = topojson.plane_polygon([np.stack([lon, np.full(lon.shape, sign * 70.0)], axis=1)])
    assert cap.is_valid
    assert cap.equals(shapely.box(-180, min(70 * sign, 90 * sign), 180, max(70 * sign, 90 * sign)))


def test_a_collapsed_islet_leaves_a_dot() -> None:
    dot = topojson.plane_polygon([np.array([[7.0, 3.0], [7.0, 3.0]])])
    assert dot.contains(shapely.Point(7, 3)) and dot.area < 1e-5


def test_parts_with_a_code_of_their_own_leave_the_state() -> None:
    france = topojson.Shape(250, "France", shapely.union_all([shapely.box(0, 45, 5, 50), shapely.box(-54, 3, -52, 5)]))
    coded = {code: geometry for code, _, geometry in countries.with_codes([france])}
    assert coded[254].equals(shapely.box(-54, 3, -52, 5)) and coded[250].equals(shapely.box(0, 45, 5, 50))
    table = countries.country_table([france])
    assert set(table) == {"FRA", "GUF"} and table["FRA"]["numeric"] == 250


def test_outlines_are_valid_and_complete() -> None:
    text = (STATIC / "countries.geojson").read_text(encoding="utf-8")
    assert len(text.encode()) < 500_000
    features = json.loads(text)["features"]
    shapes = [shapely.from_geojson(json.dumps(feature["geometry"])) for feature in features]
    assert all(shape.is_valid and not shape.is_empty for shape in shapes)
    west, south, east, north = np.array([shape.bounds for shape in shapes]).T
    assert west.min() >= -180 and east.max() <= 180 and south.min() >= -85.06 and north.max() <= 85.06
    codes = [feature["properties"]["alpha3"] for feature in features]
    assert len(set(codes)) == len(codes) > 235
    wide = {code for code, a, b in zip(codes, west, east, strict=True) if b - a > 300}
    assert wide == {"ATA", "FJI", "KIR", "NZL", "RUS", "USA"}  # those on both sides of ±180°; none is a band around
    russia = shapes[codes.index("RUS")]
    assert not russia.intersects(shapely.Point(-100, 66)) and russia.contains(shapely.Point(-175, 66.5))


def test_the_picture_is_web_mercator() -> None:
    with Image.open(STATIC / "blue_marble.jpg") as image:
        assert image.size == (2048, 2048)
        picture = np.asarray(image, dtype=np.float64)
    assert (STATIC / "blue_marble.jpg").stat().st_size < 700_000

    def colour(lon: float, lat: float) -> Any:
        x = (lon + 180) / 360 * 2048
        y = (1 - np.arctanh(np.sin(np.radians(lat))) / np.pi) / 2 * 2048
        return picture[int(y) - 1 : int(y) + 2, int(x) - 1 : int(x) + 2].mean(axis=(0, 1))

    assert colour(-40, 72).min() > 200  # Greenland's ice
    assert colour(0, -80).min() > 200
    sahara, atlantic, amazon = colour(10, 25), colour(-30, 0), colour(-62, -6)
    assert sahara[0] > 150 and sahara[0] > sahara[2] + 30
    assert atlantic.max() < 80 and atlantic[2] > atlantic[0]
    assert amazon[1] > amazon[2] and amazon.max() < 80
    # the tip of Norway and the sea beyond, where a picture in plain degrees would be hundreds of pixels off
    assert colour(25.5, 70.2).max() < 200 and colour(25.5, 73.5)[2] > colour(25.5, 73.5)[0]
