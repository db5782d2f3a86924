"""Draws: inside what they name, uniform over area, the same for the same seed."""

import json
from collections import Counter

import numpy as np
import pytest
import shapely

from data import atlas
from data.errors import CoordinateError
from data.geo import cell_of
from data.land import is_land, land_cells, sample_land
from data.sampling import cell_balanced, read_polygon, sample_cells, sample_climates, sample_country, sample_polygon


def rng(seed=0):
    return np.random.default_rng(seed)


def test_every_cell_has_as_many():
    points = sample_cells(3, 2, rng=rng(), antarctica=False)
    cells = land_cells(2, antarctica=False)
    assert np.array_equal(cell_of(points, 2), np.repeat(cells, 3))
    assert is_land(points).mean() > 0.999
    others = points.reshape(-1, 3, 2)
    assert (np.abs(others[:, 1] - others[:, 2]).sum(axis=1) > 1e-6).mean() > 0.99
    assert np.array_equal(points, sample_cells(3, 2, rng=rng(), antarctica=False))


def test_points_of_a_cell_are_uniform_over_it():
    cell = cell_of(np.array([[22.0, 0.5]]), 2)[0]  # the Congo basin: land all over
    rows = np.flatnonzero(land_cells(2) == cell)[0]
    drawn = np.array([sample_cells(2, 2, rng=rng(seed)).reshape(-1, 2, 2)[rows, 1] for seed in range(60)])
    dense = sample_land(300_000, rng=rng(9))
    inside = dense[cell_of(dense, 2) == cell]
    error = inside.std(axis=0) / np.sqrt(60)
    assert (np.abs(drawn.mean(axis=0) - inside.mean(axis=0)) < 4 * error).all()
    assert np.allclose(drawn.std(axis=0), inside.std(axis=0), rtol=0.35)


def test_countries():
    points = sample_country(400, ["FRA", "chile"], rng=rng())
    assert set(atlas.country_of(points).tolist()) == {"FRA", "CHL"}
    assert is_land(points).all()
    with pytest.raises(Exception, match="Narnia"):
        sample_country(10, ["Narnia"], rng=rng())


def test_a_polygon_is_filled_by_area_not_by_degrees():
    box = shapely.box(60, 55, 110, 75)  # Siberia
    points = sample_polygon(4000, box, rng=rng())
    assert shapely.contains_xy(box, points[:, 0], points[:, 1]).all() and is_land(points).all()
    dense = sample_land(400_000, rng=rng(1))
    dense = dense[shapely.contains_xy(box, dense[:, 0], dense[:, 1])]
    assert np.median(points[:, 1]) == pytest.approx(np.median(dense[:, 1]), abs=0.5)
    with pytest.raises(CoordinateError, match="no land was found"):
        sample_polygon(5, shapely.box(-40, 20, -35, 25), rng=rng())


def test_climates_are_even_as_far_as_there_is_land():
    points = sample_climates(600, rng=rng())
    counts = Counter(atlas.koppen(points).tolist())
    assert len(points) == 600 and "" not in counts
    common = [count for count in counts.values() if count >= 15]
    assert max(common) - min(common) <= 12 and len(counts) >= 25


def test_cell_balanced_by_brute_force():
    lonlat = sample_land(3000, rng=rng(2))
    rows = cell_balanced(lonlat, 500, resolution=1, rng=rng())
    assert len(set(rows.tolist())) == 500 and (np.diff(rows) > 0).all()
    available = Counter(cell_of(lonlat, 1).tolist())
    chosen = Counter(cell_of(lonlat[rows], 1).tolist())
    deepest = max(chosen.values())
    assert all(chosen[cell] >= min(available[cell], deepest - 1) for cell in available)
    assert len(cell_balanced(lonlat[:10], 50, resolution=1, rng=rng())) == 10


def test_polygons_are_read_from_geojson(tmp_path):
    path = tmp_path / "area.geojson"
    parts = [shapely.box(0, 0, 2, 2), shapely.box(1, 1, 3, 3)]
    features = [{"type": "Feature", "properties": {}, "geometry": json.loads(shapely.to_geojson(p))} for p in parts]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    assert read_polygon(path).area == pytest.approx(7)
    path.write_text('{"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 2]}, "properties": {}}')
    with pytest.raises(CoordinateError, match="there is no polygon in it"):
        read_polygon(path)
    path.write_text("polygon")
    with pytest.raises(CoordinateError, match="cannot be read as GeoJSON"):
        read_polygon(path)
