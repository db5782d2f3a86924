"""Where a raster lies on the ground, whatever its coordinate system.

Owns the way from rows and columns to degrees. Refuses coordinate systems that are tied to no place on Earth, and
rasters that theirs puts off the globe.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from rasterio.warp import transform as warp_transform

from data.errors import CoordinateError
from data.geo import Floats, validate_lonlat, wrap_lon

POINTS = np.array(((0, 0), (1, 0), (1, 1), (0, 1), (0.5, 0.5)))
"""Corners clockwise from the top left, and the centre, in shares of columns and rows."""


def outline_of(crs: Any, transform: Any, width: int, height: int) -> tuple[tuple[float, float], Floats]:
    """Centre and corners of a raster.

    Args:
        crs: rasterio's.
        transform: affine, from column and row to the coordinate system; may be rotated.
        width: columns.
        height: rows.

    Returns:
        The centre (longitude, latitude) in degrees, and the corners, (4, 2) degrees clockwise from the top left, whose
        longitudes are continuous with the centre's and so may pass ±180.

    Raises:
        CoordinateError: a point lies off the globe, or the coordinate system has no way to longitude and latitude.
    """
    if not (crs.is_projected or crs.is_geographic):
        raise CoordinateError("it is tied to no place on Earth.")
    columns, rows = (POINTS * (width, height)).T
    x = transform.a * columns + transform.b * rows + transform.c
    y = transform.d * columns + transform.e * rows + transform.f
    try:
        lon, lat = np.array(warp_transform(crs, "EPSG:4326", x, y))
    except Exception as error:  # GDAL's own errors, for which rasterio has no public class
        raise CoordinateError(f"{str(error).splitlines()[0].rstrip('.')}.") from error
    lon = np.where(np.abs(lon) <= 360, wrap_lon(lon), lon)  # a raster in degrees may begin west of -180
    points = validate_lonlat(np.stack([lon, lat], axis=1))
    centre = points[-1]
    points[:, 0] = centre[0] + wrap_lon(points[:, 0] - centre[0])
    return (float(centre[0]), float(centre[1])), points[:-1]
