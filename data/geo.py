"""Coordinates on the sphere, bounding boxes and H3 cells.

Owns every longitude/latitude convention in the project: ``lonlat`` is always (…, 2) float64 degrees in EPSG:4326 with
the longitude first. h3 takes the latitude first, so no other module calls h3. Refuses coordinates outside the globe
instead of guessing what was meant. "Kilometres" are great-circle kilometres on the mean-radius sphere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from reprlib import repr as short
from typing import Any

import h3.api.numpy_int as h3
import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.errors import CoordinateError

Floats = NDArray[np.float64]
Cells = NDArray[np.uint64]

EARTH_RADIUS_KM = 6371.0088
METRES_PER_DEGREE = 1000 * math.radians(EARTH_RADIUS_KM)
"""Mean Earth radius R1 (Moritz 2000, Geodetic Reference System 1980)."""


def validate_lonlat(lonlat: ArrayLike, *, where: str = "coordinates") -> Floats:
    """Check coordinates and return them as a contiguous array with longitudes in [-180, 180).

    Args:
        lonlat: (2,) or (N, 2) degrees, longitude first. Longitudes may lie in [-180, 360].
        where: what the coordinates belong to, for the message (a file and row, an option).

    Returns:
        (N, 2) float64 degrees.

    Raises:
        CoordinateError: a value is missing, infinite or off the globe; says so where swapping the two would fit.
    """
    try:
        points = np.array(lonlat, dtype=np.float64, ndmin=2)
    except (TypeError, ValueError, OverflowError) as error:
        raise CoordinateError(f"{where}: expected numbers (longitude, latitude), got {short(lonlat)[:200]}.") from error
    if points.ndim != 2 or points.shape[1] != 2:
        raise CoordinateError(f"{where}: expected pairs (longitude, latitude), got an array of shape {points.shape}.")
    finite = np.isfinite(points).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise CoordinateError(
            f"{where}: {_row(points, row)}; a coordinate must be a finite number. Remove it or fill it in."
        )
    lon, lat = points[:, 0], points[:, 1]
    bad = (np.abs(lat) > 90) | (lon < -180) | (lon > 360)
    if bad.any():
        row = int(np.argmax(bad))
        x, y = float(lon[row]), float(lat[row])
        reason = f"latitude {y:g} is outside -90…90" if abs(y) > 90 else f"longitude {x:g} is outside -180…360"
        hint = (
            f"It looks as if longitude and latitude were swapped: did you mean ({y:g}, {x:g})?"
            if abs(x) <= 90 and 90 < abs(y) <= 180
            else "Give decimal degrees, longitude first."
        )
        raise CoordinateError(f"{where}: {_row(points, row)}: {reason}. {hint}")
    points[:, 0] = wrap_lon(lon)
    return points


def _row(points: Floats, row: int) -> str:
    """A point for a message, with its row where there are several."""
    point = f"({points[row, 0]:g}, {points[row, 1]:g})"
    return point if len(points) == 1 else f"row {row} is {point}"


def wrap_lon(lon_deg: ArrayLike) -> Floats:
    """Wrap longitudes to [-180, 180) degrees."""
    lon = np.asarray(lon_deg, dtype=np.float64)
    return np.where((lon >= -180) & (lon < 180), lon, (lon + 180.0) % 360.0 - 180.0)


def unit_vectors(lonlat: ArrayLike) -> Floats:
    """Points as unit vectors: (…, 2) degrees to (…, 3), x through (0°, 0°), z through the north pole."""
    lon, lat = np.moveaxis(np.radians(np.asarray(lonlat, dtype=np.float64)), -1, 0)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def great_circle_km(a: ArrayLike, b: ArrayLike) -> Floats:
    """Great-circle distance in kilometres between (…, 2) and (…, 2) degrees, broadcasting.

    Source:
        The haversine form, which keeps its digits for near points (Sinnott 1984, Virtues of the Haversine).
    """
    lon_a, lat_a = np.moveaxis(np.radians(np.asarray(a, dtype=np.float64)), -1, 0)
    lon_b, lat_b = np.moveaxis(np.radians(np.asarray(b, dtype=np.float64)), -1, 0)
    h = np.sin((lat_b - lat_a) / 2) ** 2 + np.cos(lat_a) * np.cos(lat_b) * np.sin((lon_b - lon_a) / 2) ** 2
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(h, 0, 1))), dtype=np.float64)


def local_grid(lonlat: ArrayLike, *, size_px: int, footprint_km: ArrayLike) -> Floats:
    """Pixel centres of square metric grids around points.

    The grid is azimuthal equidistant about its centre: the same kilometres a pixel at every latitude, valid across
    the antimeridian and at the poles. Rows run from north to south, columns from west to east, where "north" at the
    centre follows its meridian.

    Args:
        lonlat: (N, 2) degrees, the centres.
        size_px: pixels on each side.
        footprint_km: scalar or (N,) side length of each grid in kilometres.

    Returns:
        (N, size_px, size_px, 2) degrees.

    Source:
        Snyder 1987, Map Projections: A Working Manual, eqs 20-14 and 20-15.
    """
    centre = np.radians(np.asarray(lonlat, dtype=np.float64).reshape(-1, 2))
    half_km = np.broadcast_to(np.asarray(footprint_km, dtype=np.float64), (len(centre),)) / 2
    step = (np.arange(size_px) + 0.5) * 2 / size_px - 1  # -1…1, pixel centres
    x = half_km[:, None, None] * step[None, None, :] / EARTH_RADIUS_KM  # (N, 1, W) radians east
    y = half_km[:, None, None] * -step[None, :, None] / EARTH_RADIUS_KM  # (N, H, 1) radians north
    rho = np.hypot(x, y)  # (N, H, W)
    sinc = np.sinc(rho / np.pi)  # sin(rho) / rho, 1 at the centre
    lon0, lat0 = centre[:, 0, None, None], centre[:, 1, None, None]
    sin_lat = np.cos(rho) * np.sin(lat0) + y * sinc * np.cos(lat0)
    lon = lon0 + np.arctan2(x * sinc, np.cos(lat0) * np.cos(rho) - y * sinc * np.sin(lat0))
    lat = np.arcsin(np.clip(sin_lat, -1, 1))
    return np.stack([wrap_lon(np.degrees(lon)), np.degrees(lat)], axis=-1)


@dataclass(frozen=True)
class BBox:
    """A bounding box in degrees; ``west > east`` crosses the antimeridian.

    Longitudes up to 360 are taken and kept as -180…180, so 170 to 190 becomes 170 to -170.
    """

    west: float
    south: float
    east: float
    north: float

    def __post_init__(self) -> None:
        """Refuse boxes off the globe or upside down."""
        corners = np.array([[self.west, self.south], [self.east, self.north]])
        if np.isfinite(corners).all() and self.south > self.north:
            raise CoordinateError(
                f"bounding box: south {self.south:g} lies above north {self.north:g}. "
                "The order is west,south,east,north."
            )
        validate_lonlat(corners, where="bounding box (west,south and east,north)")
        whole = self.east - self.west >= 360
        for name, lon, end in (("west", self.west, -180.0), ("east", self.east, 180.0)):
            object.__setattr__(self, name, end if whole else lon - 360 if lon > 180 else lon)

    @classmethod
    def parse(cls, text: str) -> BBox:
        """Read ``west,south,east,north``."""
        try:
            west, south, east, north = (float(part) for part in text.split(","))
        except ValueError as error:
            raise CoordinateError(
                f"bounding box: expected four numbers west,south,east,north, got {text[:200]!r}, "
                "as in -10,35,30,60 for western Europe."
            ) from error
        return cls(west, south, east, north)

    def contains(self, lonlat: ArrayLike) -> NDArray[np.bool_]:
        """Which of (N, 2) points lie inside, borders included."""
        lon, lat = np.moveaxis(np.asarray(lonlat, dtype=np.float64), -1, 0)
        if self.east - self.west >= 360:
            inside = np.ones(lon.shape, dtype=bool)
        else:
            span = (self.east - self.west) % 360.0
            inside = (lon - self.west) % 360.0 <= span
        return np.asarray(inside & (lat >= self.south) & (lat <= self.north), dtype=bool)


def parse_place(text: str) -> tuple[float, float]:
    """Read ``longitude,latitude`` as users type it (comma or white space between) and check it."""
    parts = text.replace(",", " ").split()
    try:
        lon, lat = (float(part) for part in parts)
    except ValueError as error:
        raise CoordinateError(
            f"place: expected longitude,latitude in decimal degrees, got {text[:200]!r}, as in 12.49,41.89 for Rome."
        ) from error
    point = validate_lonlat((lon, lat), where="place")[0]
    return float(point[0]), float(point[1])


def edge_km(cell: int) -> float:
    """Mean edge of the H3 cells of a cell's resolution, in kilometres."""
    return float(h3.average_hexagon_edge_length(h3.get_resolution(int(cell)), unit="km"))


def cell_of(lonlat: ArrayLike, resolution: int) -> Cells:
    """H3 cells that contain (N, 2) points: (N,) uint64."""
    points = validate_lonlat(lonlat)
    return np.fromiter(
        (h3.latlng_to_cell(lat, lon, resolution) for lon, lat in points.tolist()), dtype=np.uint64, count=len(points)
    )


def cell_lonlat(cells: ArrayLike) -> Floats:
    """Centres of (N,) cells: (N, 2) degrees."""
    ids = np.asarray(cells, dtype=np.uint64).reshape(-1)
    latlon = np.array([h3.cell_to_latlng(cell) for cell in ids.tolist()], dtype=np.float64).reshape(-1, 2)
    return np.stack([wrap_lon(latlon[:, 1]), latlon[:, 0]], axis=1)


def cell_parent(cells: ArrayLike, resolution: int) -> Cells:
    """Ancestors of (N,) cells at a coarser resolution, by bit arithmetic.

    Source:
        H3 index bit layout: 4 resolution bits at 52, then three bits a digit, unused digits all ones.
    """
    ids = np.asarray(cells, dtype=np.uint64)
    if not 0 <= resolution <= 15:
        raise CoordinateError(f"cell resolution {resolution} is outside 0…15.")
    own = (ids >> np.uint64(52)) & np.uint64(15)
    if ids.size and int(own.min()) < resolution:
        raise CoordinateError(
            f"cell {cell_to_hex(ids)[int(np.argmin(own))]} has resolution {int(own.min())}, coarser than {resolution}."
        )
    unused = np.uint64((1 << (3 * (15 - resolution))) - 1)
    cleared = ids & ~np.uint64(15 << 52)
    return cleared | np.uint64(resolution << 52) | unused


RESOLUTION_BITS = np.uint64(15 << 52)
"""Where an H3 id holds its resolution; without them, ids of all resolutions stand in one order on the curve."""


def cell_key(cells: ArrayLike) -> Cells:
    """Sort key of (N,) cells of any resolutions: the id without its resolution. Unused digits are all ones.

    The descendants of a cell are a run: see :func:`key_range`. A cell comes after all its descendants.
    """
    return np.asarray(np.asarray(cells, dtype=np.uint64) & ~RESOLUTION_BITS)


def key_range(cells: ArrayLike) -> tuple[Cells, Cells]:
    """First and last :func:`cell_key`, both included, of what lies within each of (N,) cells, themselves included."""
    ids = np.asarray(cells, dtype=np.uint64)
    free = np.uint64(3) * (np.uint64(15) - ((ids >> np.uint64(52)) & np.uint64(15)))
    last = cell_key(ids)
    return last & ~((np.uint64(1) << free) - np.uint64(1)), last


def cell_boundary(cell: int) -> Floats:
    """Outline of one cell: (5…10, 2) degrees, open ring; longitudes continuous, so they may pass ±180."""
    latlon = np.array(h3.cell_to_boundary(int(cell)), dtype=np.float64)
    lon, lat = latlon[:, 1], latlon[:, 0]
    if lon.max() - lon.min() > 180:
        lon = np.where(lon < 0, lon + 360, lon)
    return np.stack([lon, lat], axis=1)


def all_cells(resolution: int) -> Cells:
    """Every cell of the globe at a resolution, sorted by id."""
    base = h3.get_res0_cells()
    parts: list[Any] = [h3.cell_to_children(cell, resolution) for cell in base.tolist()]
    return np.sort(np.concatenate(parts).astype(np.uint64))


def cell_children(cell: int, resolution: int) -> Cells:
    """Every descendant of one cell at a finer resolution, sorted by id."""
    return np.sort(np.asarray(h3.cell_to_children(int(cell), resolution), dtype=np.uint64))


def cell_to_hex(cells: ArrayLike) -> list[str]:
    """Cells as the hex strings users see."""
    return [f"{cell:x}" for cell in np.asarray(cells, dtype=np.uint64).reshape(-1).tolist()]


def hex_to_cell(text: str) -> int:
    """Read one cell's hex string.

    Raises:
        CoordinateError: the text is not a valid H3 cell.
    """
    try:
        cell = int(text, 16)
        valid = 0 <= cell < 1 << 64 and bool(h3.is_valid_cell(cell))
    except ValueError:
        valid = False
    if not valid:
        raise CoordinateError(f"{text[:200]!r} is not an H3 cell id; expected 15 hex digits such as 841e805ffffffff.")
    return cell
