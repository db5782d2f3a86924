"""Windows of remote rasters on a local metric grid.

Owns the grid of a patch (UTM, 10 m, corners on multiples of 20 m as Sentinel-2's own grids have them, so that a scene
of the same zone is copied and not resampled) and the reading of just the blocks beneath it. Coarser bands become equal
pixels of 10 m, as in :mod:`data.radiometry`. Refuses files that are neither GeoTIFF nor JPEG 2000: other formats can
point to further files. Reasons for a failure never repeat an address with its signature.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform as warp_transform

from data.bands import GSD_M
from data.errors import PatchError
from data.radiometry import NODATA

SNAP_M = 20.0
"""Origins of Sentinel-2 tiles are multiples of it on both hemispheres: of 60 m in the north, not in the south."""
HTTP_WORDS = {
    403: "access is refused; check the credentials or sign in anew",
    404: "there is no such file (any more)",
    429: "too many requests; try again later, or with a smaller bbox",
}


HTTP_CODE = re.compile(r"(?:response code|error code|status code|too many)\D{0,4}(\d{3})")


@dataclass(frozen=True)
class Grid:
    """Where a patch's pixels lie: north up, square pixels of 10 m."""

    crs: CRS
    transform: Affine
    size_px: int


def utm_grid(lonlat: tuple[float, float], size_px: int) -> Grid:
    """The grid of a patch around a place; its centre lies within 15 m of it.

    Args:
        lonlat: degrees.
        size_px: pixels on a side.
    """
    lon, lat = lonlat
    crs = CRS.from_epsg((32600 if lat >= 0 else 32700) + min(int((lon + 180) // 6) + 1, 60))
    (x,), (y,) = warp_transform("EPSG:4326", crs, [lon], [lat])
    half_m = size_px * GSD_M / 2
    left, top = (SNAP_M * round(value / SNAP_M) for value in (x - half_m, y + half_m))
    return Grid(crs, Affine(GSD_M, 0, left, 0, -GSD_M, top), size_px)


def read_window(href: str, grid: Grid, options: Mapping[str, Any]) -> NDArray[np.uint16]:
    """The part of a raster's first band beneath a grid, nearest neighbour; 0 where the raster has nothing.

    Args:
        href: https, http or s3.
        grid: of the patch.
        options: of GDAL.

    Returns:
        (size_px, size_px) uint16.

    Raises:
        PatchError: it cannot be read; says why.
    """
    try:
        with (
            rasterio.Env(**options),
            rasterio.open(href, driver="JP2OpenJPEG" if urlsplit(href).path.endswith(".jp2") else "GTiff") as raster,
            WarpedVRT(
                raster,
                crs=grid.crs,
                transform=grid.transform,
                width=grid.size_px,
                height=grid.size_px,
                resampling=Resampling.nearest,
                src_nodata=NODATA,
                nodata=NODATA,
            ) as window,
        ):
            if raster.dtypes[0] not in ("uint8", "uint16"):
                raise PatchError(f"it holds {raster.dtypes[0]}, not the digital numbers of a product (uint16).")
            return np.asarray(window.read(1), dtype=np.uint16)
    except (RasterioError, OSError, ValueError) as error:
        reason = reason_of(error)
        if not reason.startswith(("HTTP 403", "HTTP 404")):  # these stay as they are
            _forget(href)
        raise PatchError(f"{reason}.") from error


def _forget(href: str) -> None:
    """Have GDAL ask anew next time: for the rest of the process it takes a file as missing whose connection once broke.

    A file that may not be kept in its cache is dropped from it when it is closed. To open it so costs no request after
    a stall, and one after a status such as 503.
    """
    with (
        contextlib.suppress(RasterioError, OSError),
        rasterio.Env(CPL_VSIL_CURL_NON_CACHED="/vsicurl/:/vsis3/", GDAL_HTTP_TIMEOUT=1, GDAL_HTTP_MAX_RETRY=0),
        rasterio.open(href, driver="GTiff"),
    ):
        pass


def reason_of(error: BaseException) -> str:
    """What GDAL or an HTTP library says, in a few words, without addresses."""
    texts, link = [], error
    while link is not None:  # the reason stands in the first cause, the name of the file in the last
        texts.append(f"{link} status code {link.status_code}" if hasattr(link, "status_code") else str(link))
        link = link.__cause__ or link.__context__  # type: ignore[assignment]
    text = " ".join(texts)
    if found := HTTP_CODE.search(text):
        code = int(found[1])
        return f"HTTP {code}" + (f" ({HTTP_WORDS[code]})" if code in HTTP_WORDS else "")
    if re.search(r"timed? ?out|too slow", text, re.IGNORECASE):
        return "the connection stalled until the time limit"
    if "not recognized as being in a supported file format" in text:
        return "it is neither a GeoTIFF nor JPEG 2000"
    line = (texts[-1].splitlines() or [type(error).__name__])[0]
    return re.sub(r"['\"]?(?:/vsi\w+/)?\w*:?//\S+", "the file", line).rstrip(". ")
