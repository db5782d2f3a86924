"""One GeoTIFF as a record: its patch, its outline on the ground, and whether its place can be believed.

Owns what a GeoTIFF says about the ground, whatever its coordinate system, and the three ways in which that fails: no
georeference, a coordinate system that puts the patch off the globe, and one that puts it elsewhere than its index does.
The pixels are :func:`data.patch.read_patch`'s.
"""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from data.bands import L2A_BANDS
from data.errors import CoordinateError, PatchError
from data.geo import great_circle_km
from data.outline import outline_of
from data.patch import read_patch
from data.sources.base import Level, Record


def read_geotiff(content: bytes, address: str, *, place: tuple[float, float] | None = None) -> Record:
    """Read one patch and its outline.

    Args:
        content: the file's bytes.
        address: of the patch within its source.
        place: the centre in degrees that an index gives it, or None.

    Returns:
        The record. Its level is seen from the bands: L1C with B10, L2A where there are just the twelve of L2A.

    Raises:
        PatchError: it cannot be read as a patch, has no place, or one that cannot be right.
    """
    patch = read_patch(content, name=address)
    centre, outline = patch.lonlat, patch.footprint
    if outline is None and content[:2] in (b"II", b"MM"):
        _check_coordinate_system(content, address)
    if centre is None and place is None:
        raise PatchError(
            f"{address}: no georeference, and no index.csv names its place. Export it with a coordinate system, or put "
            "an index.csv (fn, lon, lat) at the root of the source."
        )
    if outline is not None and centre is not None and place is not None:
        apart_km = float(great_circle_km(place, centre))
        if apart_km > great_circle_km(outline, centre).max():
            raise PatchError(
                f"{address}: wrong coordinate system, or wrong row in index.csv: the file lies at "
                f"({centre[0]:.4f}, {centre[1]:.4f}), its index says ({place[0]:.4f}, {place[1]:.4f}), "
                f"{apart_km:,.1f} km away. Correct one of the two."
            )
    level: Level | None = "L1C" if "B10" in patch.bands else "L2A" if set(patch.bands) == set(L2A_BANDS) else None
    return Record(dataclasses.replace(patch, lonlat=place or centre), address, footprint=outline, level=level)


def _check_coordinate_system(content: bytes, address: str) -> None:
    """Say why a file that has been read has no outline, where it is not for want of a georeference."""
    with warnings.catch_warnings(), MemoryFile(content) as file:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with file.open(driver="GTiff") as dataset:
            if dataset.crs is None or dataset.transform.is_identity:
                return
            try:
                outline_of(dataset.crs, dataset.transform, dataset.width, dataset.height)
            except CoordinateError as error:
                raise PatchError(
                    f"{address}: wrong coordinate system ({_name(dataset.crs)}): {error} "
                    "Set the right one, as with `rio edit-info --crs`."
                ) from error


def _name(crs: Any) -> str:
    authority = crs.to_authority()
    return ":".join(authority) if authority else str(crs.to_wkt()).split(",", 1)[0]
