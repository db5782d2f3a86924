"""UTM zones as GPS2Vec cuts the Earth: 60×20 of them less three, and a grid of 20×20 cells over each.

Owns the zones with their exceptions around Norway and Svalbard, and the extent of each in metres. Zone 31V is cut to 3°
by its neighbour 32V; 32X, 34X and 36X do not exist. UTM ends at 80° S and 84° N: a place beyond is moved to the nearest
latitude that has a zone. The projection itself is PROJ's, through rasterio.

Source:
    Yin et al. 2019, GPS2Vec: Towards Generating Worldwide GPS Embeddings (SIGSPATIAL), §3; Snyder 1987, Map
    Projections: A Working Manual, pp. 57–64. Extents were checked against ``loc2mat`` in ``gps2vec.py`` of the public
    repository yifangyin/GPS2Vec.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import rasterio.warp
from numpy.typing import NDArray

from data.geo import Floats

BANDS = "CDEFGHJKLMNPQRSTUVWX"
"""Bands of 8° from 80° S, the last of 12°."""
SOUTH_DEG, NORTH_DEG = -80.0, 84.0
_EDGE_DEG = 1e-8
_STEP_DEG = 0.1
_SPANS = {
    "31 V": (0.0, 3.0),
    "32 V": (3.0, 12.0),
    "31 X": (0.0, 9.0),
    "33 X": (9.0, 21.0),
    "35 X": (21.0, 33.0),
    "37 X": (33.0, 42.0),
}
_MISSING = ("32 X", "34 X", "36 X")

Names = NDArray[np.str_]


@dataclass(frozen=True)
class Extent:
    """A zone's box in its own metres: eastings from west to east, northings from south to north."""

    west_m: float
    east_m: float
    south_m: float
    north_m: float


def zone_names() -> tuple[str, ...]:
    """Every zone, such as ``"31 N"``, written as GPS2Vec's authors name their files."""
    every = (f"{number} {band}" for band in BANDS for number in range(1, 61))
    return tuple(name for name in every if name not in _MISSING)


def zone_of(lonlat: Floats) -> Names:
    """The zones of (N, 2) degrees: (N,) text. Poles belong to the zones next to them."""
    lon, lat = lonlat[:, 0], np.clip(lonlat[:, 1], SOUTH_DEG, NORTH_DEG)
    number = np.floor((lon + 180) / 6).astype(np.int64) % 60 + 1
    band = np.clip(np.floor((lat - SOUTH_DEG) / 8).astype(np.int64), 0, len(BANDS) - 1)
    number[(band == BANDS.index("V")) & (lon >= 3) & (lon < 12)] = 32
    for zone in ("31 X", "33 X", "35 X", "37 X"):
        west, east = _SPANS[zone]
        number[(band == BANDS.index("X")) & (lon >= west) & (lon < east)] = int(zone[:2])
    letters = np.array(list(BANDS))[band]
    return np.char.add(np.char.add(number.astype("<U2"), " "), letters)


def span_of(zone: str) -> tuple[float, float, float, float]:
    """West, east, south and north of a zone in degrees."""
    number, letter = int(zone[:-2]), BANDS.index(zone[-1])
    west, east = _SPANS.get(zone, (-180.0 + (number - 1) * 6, -180.0 + number * 6))
    south = SOUTH_DEG + 8 * letter
    return west, east, south, NORTH_DEG if zone[-1] == "X" else south + 8


def project(lonlat: Floats, zone: str) -> Floats:
    """Project (N, 2) degrees into a zone: (N, 2) metres, easting and northing; latitudes are kept within UTM's.

    The equator has northing 0 in the north and 10,000 km in the south.
    """
    system = f"EPSG:{326 if zone[-1] >= 'N' else 327}{int(zone[:-2]):02d}"
    lat = np.clip(lonlat[:, 1], SOUTH_DEG, NORTH_DEG)
    x, y = rasterio.warp.transform("EPSG:4326", system, lonlat[:, 0].tolist(), lat.tolist())[:2]
    return np.stack([np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)], axis=1)


@functools.cache
def extent_of(zone: str) -> Extent:
    """The box that GPS2Vec lays its grid over.

    Northings: the least and the most along both edges, a tenth of a degree apart. Eastings: the lesser of the western
    corners, and its mirror image about the central meridian (at 500 km), which is wider than the zone where the zone
    does not lie evenly about its meridian.
    """
    west, east, south, north = span_of(zone)
    lons = [west]
    while lons[-1] + _STEP_DEG < east:  # summed up as the authors do, which decides whether the last one is the edge
        lons.append(lons[-1] + _STEP_DEG)
    edges = [project(np.stack([lons, np.full_like(lons, lat)], axis=1), zone) for lat in (south, north - _EDGE_DEG)]
    west_m = float(min(edge[0, 0] for edge in edges))
    return Extent(west_m, 1e6 - west_m, float(edges[0][:, 1].min()), float(edges[1][:, 1].max()))


def kernels(lonlat: Floats, zone: str, *, cells: int = 20, sigma_m: float = 20_000.0) -> NDArray[np.float32]:
    """Nearness of places to the centres of their zone's cells: exp(−d/σ).

    The paper calls it a Gaussian kernel; the authors' code, with which the published weights were trained, has no
    square in the exponent, and that is kept.

    Args:
        lonlat: (N, 2) degrees, all in ``zone``.
        zone: its name.
        cells: on a side.
        sigma_m: σ.

    Returns:
        (N, cells²) float32. Columns run from west to east, and within that from south to north.
    """
    box, points = extent_of(zone), project(lonlat, zone)
    middle = (np.arange(cells) + 0.5) / cells
    east = points[:, :1] - (box.west_m + middle * (box.east_m - box.west_m))  # (N, cells)
    north = points[:, 1:] - (box.south_m + middle * (box.north_m - box.south_m))
    distance = np.hypot(east[:, :, None], north[:, None, :])
    return np.exp(-distance / sigma_m).reshape(len(points), -1).astype(np.float32)
