"""Arrays as ``.npy``, each with a sidecar ``.json`` that says what an array cannot.

Owns the sidecar: beside ``a.npy`` lies ``a.json`` with ``bands`` and ``lonlat``, and where they are known ``gsd_m``,
``acquired``, ``level``, ``cloud_percent`` and ``offset``. Refuses arrays without one, keys that it does not know, and
objects in arrays, which could run code when read. The head of an array is read before its values are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rasterio.transform import from_origin

from data.bands import DISPLAY_BANDS, canonical
from data.errors import PatchError, SourceError
from data.geo import EARTH_RADIUS_KM, Floats, validate_lonlat
from data.npy import read_header
from data.outline import outline_of
from data.patch import MAX_VALUES, Patch, guess_offset
from data.radiometry import NODATA, SATURATED, reflectance
from data.sentinel import check_reflectance
from data.sources.base import Level, Record

MAX_SIDECAR_BYTES = 1024 * 1024


class Sidecar(BaseModel):
    """What lies beside an array.

    Attributes:
        bands: names of the array's layers, in order: Sentinel-2's, or R, G, B.
        lonlat: longitude and latitude of the centre in degrees.
        gsd_m: metres on the ground a pixel; with it the patch has an outline.
        acquired: time as ISO 8601.
        level: "L1C" or "L2A".
        cloud_percent: 0…100.
        offset: digital numbers to take off: 0, or 1000 since baseline 04.00. By default it is seen from the data.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    bands: Annotated[list[str], Field(min_length=1)]
    lonlat: tuple[float, float]
    gsd_m: Annotated[float, Field(gt=0)] | None = None
    acquired: datetime | None = None
    level: Level | None = None
    cloud_percent: Annotated[float, Field(ge=0, le=100)] | None = None
    offset: float | None = None


class NumpySource:
    """Arrays below one root, each a patch.

    Attributes:
        kind: "numpy".
        addresses: paths of the arrays relative to the root, sorted.
        root: folder of the arrays.
    """

    kind: str = "numpy"

    def __init__(self, root: Path, files: Sequence[Path]) -> None:
        """List the files; none is opened.

        Raises:
            SourceError: there is none.
        """
        self.root = root
        self.addresses: Sequence[str] = sorted(path.relative_to(root).as_posix() for path in files)
        if not self.addresses:
            raise SourceError(f"{root}: no .npy there. Check the path.")

    def read(self, address: str) -> Record:
        """Read one array of bands × rows × columns.

        Sixteen-bit integers are digital numbers, floats reflectance; bytes are display colours, of R, G and B only.

        Raises:
            PatchError: the array or its sidecar cannot be used.
            CoordinateError: the place is off the globe.
        """
        path = self.root / address
        sidecar = _sidecar(path.with_suffix(".json"))
        values = _array(path, address)
        bands = tuple(canonical(band) for band in sidecar.bands)
        place = validate_lonlat(sidecar.lonlat, where=f"{path.stem}.json")[0]
        lonlat = (float(place[0]), float(place[1]))
        pixels = _pixels(values, bands, sidecar.offset, address)
        patch = Patch(pixels, bands, lonlat, sidecar.gsd_m, sidecar.acquired, address)
        outline = _outline(lonlat, sidecar.gsd_m, *values.shape[1:]) if sidecar.gsd_m else None
        return Record(patch, address, outline, sidecar.level, sidecar.cloud_percent)


def open_numpy(path: Path) -> NumpySource:
    """One array, or all in a folder and below it.

    Raises:
        SourceError: there is none.
    """
    return NumpySource(path.parent, [path]) if path.is_file() else NumpySource(path, [*path.rglob("*.npy")])


def _sidecar(path: Path) -> Sidecar:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_SIDECAR_BYTES + 1)
    except OSError as error:
        raise PatchError(
            f"{path.name}: cannot be read ({error.strerror or error}). Put it beside the array, with its bands and "
            'lonlat: {"bands": ["B02", "B03", "B04"], "lonlat": [12.49, 41.89]}.'
        ) from error
    if len(text) > MAX_SIDECAR_BYTES:
        raise PatchError(f"{path.name}: more than {MAX_SIDECAR_BYTES >> 20} MB, so it is no sidecar.")
    try:
        return Sidecar.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise PatchError(f"{path.name}, {where}: {first['msg'].rstrip('.')}. Keys: {_keys()}.") from error


def _keys() -> str:
    return ", ".join(Sidecar.model_fields)


def _array(path: Path, address: str) -> NDArray[Any]:
    """The array on disk, checked; its values are read when they are used."""
    try:
        with path.open("rb") as file:
            read_header(file)  # it fails in one way, NumPy in many
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise PatchError(
            f"{address}: not a plain NumPy array ({error}). Save it with numpy.save, without objects."
        ) from error
    if not isinstance(values, np.ndarray) or values.ndim != 3 or values.dtype.kind not in "uif" or not values.size:
        seen = f"shape {values.shape}, type {values.dtype}" if isinstance(values, np.ndarray) else "an archive"
        raise PatchError(f"{address}: expected numbers of the shape bands × rows × columns, got {seen}.")
    if math.prod(values.shape) > MAX_VALUES:
        raise PatchError(
            f"{address}: {' × '.join(map(str, values.shape))} values are more than the {MAX_VALUES // 10**6} million a "
            "patch may have. Cut a smaller patch."
        )
    return values


def _pixels(values: NDArray[Any], bands: tuple[str, ...], offset: float | None, address: str) -> NDArray[np.float32]:
    if values.dtype == np.uint8:
        if set(bands) != set(DISPLAY_BANDS):
            raise PatchError(f"{address}: bytes are display colours, whose bands are R, G, B; got {', '.join(bands)}.")
        return np.asarray(values.astype(np.float32) / 255)
    if values.dtype.kind == "f":
        pixels = values.astype(np.float32)
        pixels[~np.isfinite(pixels)] = np.nan
        check_reflectance(pixels, address)
        return np.asarray(pixels)
    if offset is None:
        hidden = (values == NODATA) | (values == SATURATED)
        offset = guess_offset(np.where(hidden, np.nan, values.astype(np.float32)))
    return reflectance(values, offset=offset)


def _outline(lonlat: tuple[float, float], gsd_m: float, height: int, width: int) -> Floats:
    """Corners of a grid that is metric about its centre: (4, 2) degrees."""
    lon, lat = lonlat
    crs = rasterio.CRS.from_dict(proj="aeqd", lon_0=lon, lat_0=lat, R=EARTH_RADIUS_KM * 1000)
    _, corners = outline_of(crs, from_origin(-width * gsd_m / 2, height * gsd_m / 2, gsd_m, gsd_m), width, height)
    return corners
