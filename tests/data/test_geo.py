"""Coordinates and cells against closed forms, the string API of h3, and invariants."""

import h3
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data import geo
from data.errors import CoordinateError

LON = st.floats(-180, 179.999)
LAT = st.floats(-90, 90)


@pytest.mark.parametrize(
    ("lonlat", "words"),
    [
        ((0, 91), "latitude 91 is outside"),
        ((0, float("nan")), "finite number"),
        ((41.9, 112.5), r"swapped: did you mean \(112.5, 41.9\)"),
        ((400, 10), "longitude 400 is outside"),
        (("a", "b"), "expected numbers"),
        (((1, 2, 3),), "shape"),
    ],
)
def test_bad_coordinates_get_a_sentence(lonlat, words):
    with pytest.raises(CoordinateError, match=words):
        geo.validate_lonlat(lonlat)


def test_message_names_place_and_row():
    with pytest.raises(CoordinateError, match=r"cities.csv: row 1 is \(3, 95\)"):
        geo.validate_lonlat([(1, 2), (3, 95)], where="cities.csv")


def test_longitudes_wrap():
    np.testing.assert_allclose(geo.validate_lonlat([(350, 1), (180, 1), (-180, 1)])[:, 0], [-10, -180, -180])


@pytest.mark.parametrize(("text", "place"), [("12.49,41.89", (12.49, 41.89)), (" -70.6  -33.4 ", (-70.6, -33.4))])
def test_places_as_typed(text, place):
    assert geo.parse_place(text) == place


@pytest.mark.parametrize("text", ["", "Rome", "1,2,3", "12.49"])
def test_places_mistyped(text):
    with pytest.raises(CoordinateError, match="expected longitude,latitude"):
        geo.parse_place(text)


def test_distance_closed_forms():
    quarter = np.pi / 2 * geo.EARTH_RADIUS_KM
    assert geo.great_circle_km((0, 0), (90, 0)) == pytest.approx(quarter)
    assert geo.great_circle_km((17, 90), (-60, -90)) == pytest.approx(2 * quarter)
    assert geo.great_circle_km((179.9, 0), (-179.9, 0)) == pytest.approx(quarter / 90 * 0.2)


@given(LON, LAT, LON, LAT)
def test_distance_agrees_with_the_angle_between_vectors(lon_a, lat_a, lon_b, lat_b):
    a, b = geo.unit_vectors((lon_a, lat_a)), geo.unit_vectors((lon_b, lat_b))
    angle = 2 * np.arctan2(np.linalg.norm(a - b), np.linalg.norm(a + b))  # Kahan's stable form
    assert geo.great_circle_km((lon_a, lat_a), (lon_b, lat_b)) == pytest.approx(
        angle * geo.EARTH_RADIUS_KM, abs=1e-6, rel=1e-9
    )


@given(LON, LAT, st.floats(0.01, 4000))
def test_local_grid_keeps_its_kilometres(lon, lat, side_km):
    grid = geo.local_grid([[lon, lat]], size_px=4, footprint_km=side_km)[0]
    step = (np.arange(4) + 0.5) / 4 - 0.5
    expected = side_km * np.hypot(*np.meshgrid(step, step))
    np.testing.assert_allclose(geo.great_circle_km((lon, lat), grid), expected, rtol=1e-6, atol=1e-6)


def test_local_grid_points_north_and_east():
    grid = geo.local_grid([[10, 50]], size_px=3, footprint_km=30)[0]
    assert grid[0, 1, 1] > 50 > grid[2, 1, 1]
    assert grid[1, 0, 0] < 10 < grid[1, 2, 0]


@given(LON, LAT, st.integers(0, 9))
def test_cells_agree_with_the_string_api(lon, lat, resolution):
    cell = geo.cell_of([[lon, lat]], resolution)
    assert geo.cell_to_hex(cell) == [h3.latlng_to_cell(lat, lon, resolution)]
    for coarser in range(resolution + 1):
        assert geo.cell_to_hex(geo.cell_parent(cell, coarser)) == [h3.cell_to_parent(geo.cell_to_hex(cell)[0], coarser)]


def test_every_cell_once_and_sorted():
    cells = geo.all_cells(2)
    assert len(cells) == h3.get_num_cells(2)
    assert (np.diff(cells.astype(object)) > 0).all()


def test_parent_finer_than_cell_is_refused():
    with pytest.raises(CoordinateError, match="coarser than 3"):
        geo.cell_parent(geo.all_cells(1), 3)


@pytest.mark.parametrize("text", ["rome", "841e805", "841e805fffffffff0", "-1"])
def test_bad_cell_ids(text):
    with pytest.raises(CoordinateError, match="not an H3 cell id"):
        geo.hex_to_cell(text)


def test_outline_stays_in_one_piece_at_the_antimeridian():
    ring = geo.cell_boundary(int(geo.cell_of([[179.99, 10]], 3)[0]))
    assert np.ptp(ring[:, 0]) < 10
    assert ring[:, 0].max() > 180


class TestBBox:
    def test_across_the_antimeridian(self):
        box = geo.BBox.parse("170,-20,-170,20")
        np.testing.assert_array_equal(
            box.contains([(175, 0), (-175, 0), (0, 0), (175, 30)]), [True, True, False, False]
        )

    def test_whole_world(self):
        assert geo.BBox(-180, -90, 180, 90).contains([(180, 90), (0, 0), (-180, -90)]).all()

    def test_longitudes_to_360_are_those_to_180(self):
        assert geo.BBox(170, -20, 190, 20) == geo.BBox(170, -20, -170, 20)
        assert geo.BBox(190, -20, 200, -10) == geo.BBox(-170, -20, -160, -10)
        assert geo.BBox(0, -90, 360, 90) == geo.BBox(-180, -90, 180, 90)

    @pytest.mark.parametrize(
        ("text", "words"), [("1,2,3", "four numbers"), ("0,50,10,40", "lies above"), ("0,0,0,99", "99")]
    )
    def test_wrong_boxes(self, text, words):
        with pytest.raises(CoordinateError, match=words):
            geo.BBox.parse(text)
