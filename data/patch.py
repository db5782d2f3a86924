"""Patches: what the image encoder takes, read from the files people have.

Owns the reading of GeoTIFF (through rasterio), ``.npy``/``.npz`` (never pickled), PNG and JPEG (through Pillow) into
one :class:`Patch`. The content decides what a file is, not its name, and no other format is opened, so nothing that
points elsewhere is followed (VRT, network paths). Refuses, before decoding, files of more than 32 MB, arrays of more
than 50 million values, 64 bands or 20,000 pixels a side, and files that unpack to 500 times their size; refuses stacks
whose bands cannot be known, and patches without a single valid pixel.
"""

from __future__ import annotations

import io
import math
import struct
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import rasterio
from numpy.typing import ArrayLike, NDArray
from PIL import Image, UnidentifiedImageError
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

from data.bands import (
    BASELINE_0400_OFFSET,
    DISPLAY_BANDS,
    L1C_BANDS,
    LARGEST_REFLECTANCE,
    QUANTIFICATION,
    VISIBLE_BANDS,
    bands_by_count,
    canonical,
)
from data.errors import CoordinateError, PatchError
from data.geo import great_circle_km, validate_lonlat
from data.npy import read_array, read_header
from data.outline import outline_of

MAX_BYTES = 32 * 1024 * 1024
MAX_VALUES = 50_000_000
MAX_BANDS = 64
MAX_SIDE_PX = 20_000
MAX_RATIO = 500
"""Bytes unpacked for each byte of the file. Where little is unpacked, more is allowed: patches of nodata pack well."""
FREE_BYTES = 64 * 1024 * 1024
MAX_MEMBERS = 16
MEMBERS = ("pixels", "bands", "lonlat", "gsd_m")
MAX_SMALL_BYTES = 64 * 1024
"""Of a member of an archive beside its pixels."""
MAX_NAME = 40
MIN_SIDE_PX = 8
MIN_GSD_M, MAX_GSD_M = 0.001, 20_000_000.0
_BROKEN_PICTURE = (
    OSError,
    EOFError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    OverflowError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow was seen to leave with, or could by its source, where a picture is damaged."""
TRUE_SCALE = 0.01
"""A projection whose unit differs from the ground's by less is believed: UTM's by 0.1 %; Mercator's is not."""

WANTED = (
    "Expected a 12- or 13-band Sentinel-2 stack, three visible bands (red, green, blue), "
    "or bands named as in B02, B03, B04"
)


@dataclass(frozen=True)
class Patch:
    """One image with what is known of it.

    Attributes:
        pixels: (C, H, W) float32; surface reflectance (about 0…1), or display colours 0…1 where the bands are R, G, B.
            NaN marks nodata.
        bands: names of the C bands, in order.
        lonlat: the centre in degrees, or None.
        gsd_m: metres on the ground a pixel, or None.
        acquired: when, or None.
        source: the file's name or the collection.
        footprint: (4, 2) degrees, the corners clockwise from the top left with longitudes continuous, or None.
    """

    pixels: NDArray[np.float32]
    bands: tuple[str, ...]
    lonlat: tuple[float, float] | None = None
    gsd_m: float | None = None
    acquired: datetime | None = None
    source: str = ""
    footprint: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        """Refuse what no encoder can take.

        Raises:
            PatchError: wrong shape, too small, band names that do not fit, or no valid pixel.
        """
        name = self.source or "patch"
        if self.pixels.ndim != 3:
            raise PatchError(f"{name}: expected an array of bands × rows × columns, got shape {self.pixels.shape}.")
        count, height, width = self.pixels.shape
        if count != len(self.bands):
            raise PatchError(f"{name}: {count} bands but {len(self.bands)} band names ({', '.join(self.bands)}).")
        if min(height, width) < MIN_SIDE_PX:
            raise PatchError(
                f"{name}: {width}×{height} pixels is too small to be a patch; "
                f"give at least {MIN_SIDE_PX}×{MIN_SIDE_PX}."
            )
        if not set(VISIBLE_BANDS) <= set(self.bands) and set(self.bands) != set(DISPLAY_BANDS):
            raise PatchError(f"{name}: the bands are {', '.join(self.bands)}. {WANTED}.")
        if not np.isfinite(self.visible()).all(axis=0).any():
            raise PatchError(f"{name}: every pixel is nodata. Choose a patch inside the scene's footprint.")

    @property
    def is_display(self) -> bool:
        """Whether the values are display colours rather than reflectance."""
        return set(self.bands) == set(DISPLAY_BANDS)

    def visible(self) -> NDArray[np.float32]:
        """Red, green and blue: (3, H, W)."""
        wanted = DISPLAY_BANDS if self.is_display else VISIBLE_BANDS
        return self.pixels[[self.bands.index(band) for band in wanted]]


def read_patch(
    source: str | Path | bytes | BinaryIO,
    *,
    name: str | None = None,
    lonlat: ArrayLike | None = None,
    gsd_m: float | None = None,
    offset: float | None = None,
) -> Patch:
    """Read one patch.

    Sixteen-bit integers are Sentinel-2 digital numbers (reflectance × 10,000), as are floats whose median lies above 2;
    other floats are reflectance; eight-bit images, PNG and JPEG are display colours.

    Args:
        source: a path, the file's bytes, or an open binary file.
        name: what to call it in messages.
        lonlat: (2,) degrees where the file has no georeference, or a wrong one.
        gsd_m: metres a pixel where the file does not say.
        offset: digital numbers to take off before scaling: 0, or 1000 for processing baseline 04.00 and later. By
            default it is seen from the data: 1000 where not one pixel in a thousand lies below 1000 in any band.

    Raises:
        PatchError: the file cannot be read as a patch; the sentence says why.
        CoordinateError: ``lonlat`` is off the globe.
    """
    label, content = _bytes(source, name)
    if content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        fields = _read_geotiff(content, label)
    elif content[:8] == b"\x89PNG\r\n\x1a\n" or content[:3] == b"\xff\xd8\xff":
        fields = _read_picture(content, label)
    elif content[:6] == b"\x93NUMPY" or content[:4] == b"PK\x03\x04":
        fields = _read_numpy(content, label)
    else:
        seen = "is empty" if not content else f"starts with {content[:12]!r}"
        raise PatchError(
            f"{label}: not a GeoTIFF, PNG, JPEG, .npy or .npz file (it {seen}). "
            "Export the patch as a GeoTIFF and try again."
        )
    values, bands = fields.pop("values"), fields.pop("bands")
    if lonlat is not None:
        point = validate_lonlat(lonlat, where=f"{label}, given place")[0]
        fields["lonlat"] = (float(point[0]), float(point[1]))
    if gsd_m is not None:
        fields["gsd_m"] = float(gsd_m)
    size_m = fields.get("gsd_m")
    if size_m is not None and not MIN_GSD_M <= size_m <= MAX_GSD_M:
        raise PatchError(
            f"{label}: a pixel's size must be a positive number of metres, {MIN_GSD_M:g} to {MAX_GSD_M:,.0f}; "
            f"got {size_m:g}. Give the right one."
        )
    return Patch(pixels=_scale(values, bands, offset), bands=bands, source=label, **fields)


def _bytes(source: str | Path | bytes | BinaryIO, name: str | None) -> tuple[str, bytes]:
    """The label and content of a source, never more than ``MAX_BYTES`` of it."""
    if isinstance(source, bytes):
        label, content = name or "upload", source
    elif isinstance(source, str | Path):
        label = name or Path(source).name
        try:
            size = Path(source).stat().st_size
            if size > MAX_BYTES:
                raise _too_large(label, size)
            content = Path(source).read_bytes()
        except OSError as error:
            raise PatchError(f"{source}: cannot be read ({error.strerror or error}).") from error
    else:
        label, content = name or str(getattr(source, "name", "upload")), source.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise _too_large(label, len(content))
    return label, content


def _too_large(label: str, size: int) -> PatchError:
    return PatchError(
        f"{label}: {size:,} bytes are more than the {MAX_BYTES >> 20} MB a patch may have. "
        "Cut a patch of some hundred pixels out of the scene first."
    )


def _check_values(label: str, shape: tuple[int, ...], *, packed: int | None = None, itemsize: int = 1) -> None:
    """Refuse an array that is too large, before it is decoded.

    Args:
        label: of the file.
        shape: bands, rows, columns, or whatever the array has.
        packed: bytes of the file.
        itemsize: bytes of a value.
    """
    if np.prod(shape, dtype=np.float64) > MAX_VALUES:
        raise PatchError(
            f"{label}: {' × '.join(map(str, shape))} values are more than the {MAX_VALUES // 10**6} million "
            "a patch may have. Cut a smaller patch."
        )
    if packed is not None:
        _check_ratio(label, int(np.prod(shape, dtype=np.float64)) * itemsize, packed)
    if len(shape) == 3 and packed is not None and max(shape) > MAX_SIDE_PX:
        raise PatchError(
            f"{label}: {' × '.join(map(str, shape))} is more than the {MAX_SIDE_PX:,} pixels a side that a "
            "patch may have. Cut a smaller patch."
        )


def _check_ratio(label: str, unpacked: int, packed: int) -> None:
    """Refuse what unpacks to far more bytes than it has."""
    if unpacked > max(FREE_BYTES, packed * MAX_RATIO):
        raise PatchError(
            f"{label}: {packed:,} bytes would unpack to {unpacked:,}, more than {MAX_RATIO} times as many. "
            "Cut a smaller patch, or save it without compression."
        )


def _read_geotiff(content: bytes, label: str) -> dict[str, Any]:
    try:
        with (
            warnings.catch_warnings(),
            rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"),
            MemoryFile(content) as file,
        ):
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with file.open(driver="GTiff") as dataset:
                if dataset.count > MAX_BANDS:
                    raise PatchError(f"{label}: {dataset.count} bands are more than {MAX_BANDS}. {WANTED}.")
                shape = (dataset.count, dataset.height, dataset.width)
                if dataset.dtypes[0].startswith("complex"):
                    raise PatchError(f"{label}: its values are complex numbers. {WANTED}.")
                itemsize = np.dtype(dataset.dtypes[0]).itemsize
                _check_values(label, shape, packed=len(content), itemsize=itemsize)
                named = tuple(canonical(text or "") for text in dataset.descriptions)
                bands = named if set(VISIBLE_BANDS) <= set(named) <= set(L1C_BANDS) else bands_by_count(dataset.count)
                if bands is None:
                    raise PatchError(f"{label}: a GeoTIFF of {dataset.count} unnamed bands. {WANTED}.")
                data = dataset.read(masked=True)
                georeference = _georeference(dataset)
                acquired = _time(dataset.tags())
    except (RasterioError, ValueError, OverflowError) as error:  # ValueError: texts that are no UTF-8
        raise PatchError(
            f"{label}: the GeoTIFF is damaged or cut short ({_first_line(error)}). Download or export it again."
        ) from error
    if data.dtype == np.uint8:
        bands = DISPLAY_BANDS if bands == VISIBLE_BANDS else bands
    values = np.ma.getdata(data)
    hidden = np.ma.getmaskarray(data)
    if values.dtype != np.uint8 or dataset.nodata is not None:
        hidden = hidden | (values == 0).all(axis=0)  # zero in every band is Sentinel-2's nodata
    return {
        "values": np.ma.masked_array(values, hidden),
        "bands": bands,
        "acquired": acquired,
        **georeference,
    }


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _georeference(dataset: Any) -> dict[str, Any]:
    """Centre, metres a pixel and outline; nothing where there is no georeference, or none on the globe."""
    if dataset.crs is None or dataset.transform.is_identity:
        return {}
    try:
        centre, corners = outline_of(dataset.crs, dataset.transform, dataset.width, dataset.height)
        metres = _metres_a_pixel(dataset)
    except CoordinateError:
        return {}
    return {"lonlat": centre, "gsd_m": metres, "footprint": corners}


def _metres_a_pixel(dataset: Any) -> float:
    """The mean of both sides of the central pixel, on the ground; or what the map's own unit says, where that is true.

    Raises:
        CoordinateError: the pixel is not on the globe.
    """
    a, b, c, d, e, f = tuple(dataset.transform)[:6]
    column, row = dataset.width / 2 - 0.5, dataset.height / 2 - 0.5
    middle = rasterio.Affine(a, b, c + a * column + b * row, d, e, f + d * column + e * row)
    _, corners = outline_of(dataset.crs, middle, 1, 1)
    width, height = great_circle_km(corners, np.roll(corners, -1, axis=0))[:2] * 1000
    ground = math.sqrt(width * height)
    if dataset.crs.is_projected and ground > 0:
        stated = math.hypot(b, e) * float(dataset.crs.linear_units_factor[1])
        if abs(stated / ground - 1) < TRUE_SCALE:
            return stated
    return ground


def _time(tags: dict[str, str]) -> datetime | None:
    for key in ("acquired", "datetime", "TIFFTAG_DATETIME"):
        text = tags.get(key, "")
        for parse in (datetime.fromisoformat, lambda t: datetime.strptime(t, "%Y:%m:%d %H:%M:%S")):
            try:
                return parse(text)
            except ValueError:
                continue
    return None


def _read_picture(content: bytes, label: str) -> dict[str, Any]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the bound below is stricter
            with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as picture:
                _check_values(label, (4, picture.height, picture.width), packed=len(content))
                rgba = np.asarray(picture.convert("RGBA"))
    except _BROKEN_PICTURE as error:
        unknown = isinstance(error, UnidentifiedImageError)  # its message names an object of Python
        why = "what stands before the pixels cannot be read" if unknown else _first_line(error)
        raise PatchError(f"{label}: the picture is damaged or cut short ({why}). Save it again.") from error
    values = np.moveaxis(rgba[..., :3], -1, 0)
    return {
        "values": np.ma.masked_array(values, np.broadcast_to(rgba[..., 3] == 0, values.shape)),
        "bands": DISPLAY_BANDS,
    }


def _read_numpy(content: bytes, label: str) -> dict[str, Any]:
    """An array, or an archive with ``pixels`` and optionally ``bands``, ``lonlat``, ``gsd_m``."""
    try:
        arrays = _members(content, label) if content[:2] == b"PK" else {"pixels": _checked(content, label)}
    except (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise PatchError(
            f"{label}: not a plain NumPy array ({str(error)[:200]}). Save it with numpy.save, without objects."
        ) from error
    values = arrays["pixels"]
    if values.ndim == 3 and bands_by_count(values.shape[0]) is None and bands_by_count(values.shape[2]) is not None:
        values = np.moveaxis(values, -1, 0)  # rows × columns × bands
    if values.ndim != 3 or values.dtype.kind not in "uif":
        raise PatchError(f"{label}: an array of shape {values.shape} and type {values.dtype}. {WANTED}.")
    named = _band_names(arrays["bands"], label) if "bands" in arrays else None
    bands = named or bands_by_count(values.shape[0])
    if bands is None:
        raise PatchError(f"{label}: an array of {values.shape[0]} unnamed bands. {WANTED}.")
    if values.dtype == np.uint8 and bands == VISIBLE_BANDS:
        bands = DISPLAY_BANDS
    fields: dict[str, Any] = {
        "values": np.ma.masked_invalid(values) if values.dtype.kind == "f" else values,
        "bands": bands,
    }
    if values.dtype.kind in "ui" and values.dtype != np.uint8:
        fields["values"] = np.ma.masked_array(values, np.broadcast_to((values == 0).all(axis=0), values.shape))
    if "lonlat" in arrays:
        point = validate_lonlat(_few(arrays["lonlat"], 2, "lonlat", label), where=label)[0]
        fields["lonlat"] = (float(point[0]), float(point[1]))
    if "gsd_m" in arrays:
        fields["gsd_m"] = _few(arrays["gsd_m"], 1, "gsd_m", label)[0]
    return fields


def _members(content: bytes, label: str) -> dict[str, NDArray[Any]]:
    """The arrays of an archive that a patch has; others are not unpacked."""
    arrays: dict[str, NDArray[Any]] = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if len(members) > MAX_MEMBERS:
            raise PatchError(f"{label}: the archive holds {len(members)} arrays; at most {MAX_MEMBERS} are read.")
        for member in members:
            if member.file_size > 8 * MAX_VALUES:
                _check_values(label, (member.file_size,))
            _check_ratio(label, member.file_size, max(1, member.compress_size))
            name = member.filename.removesuffix(".npy")
            if name not in MEMBERS:
                continue
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # others take memory unasked
                raise PatchError(f"{label}: the archive is packed in another way than numpy.savez does. Save it again.")
            if name in arrays:
                raise PatchError(f"{label}: the archive holds {name!r} twice. Save it again.")
            most = min(8 * MAX_VALUES, member.file_size) if name == "pixels" else MAX_SMALL_BYTES
            with archive.open(member) as file:
                arrays[name] = _checked(file.read(most + 1), label)  # what it says of its size need not be true
    if "pixels" not in arrays:
        seen = sorted(member.filename[:40] for member in members)
        raise PatchError(f"{label}: the archive holds {seen}; expected an array called 'pixels'.")
    return arrays


def _checked(content: bytes, label: str) -> NDArray[Any]:
    """One ``.npy`` stream of a patch's size."""
    shape, _, _ = read_header(io.BytesIO(content))
    _check_values(label, shape)
    return read_array(content)


def _band_names(given: NDArray[Any], label: str) -> tuple[str, ...]:
    names = tuple(canonical(str(band)) for band in given.ravel()[: MAX_BANDS + 1])
    if len(names) > MAX_BANDS or any(len(name) > MAX_NAME for name in names):
        raise PatchError(f"{label}: names of bands are at most {MAX_BANDS}, of at most {MAX_NAME} letters. {WANTED}.")
    return names


def _few(given: NDArray[Any], count: int, name: str, label: str) -> list[float]:
    """So many numbers of an archive's small array."""
    if given.size != count or given.dtype.kind not in "uif":
        raise PatchError(
            f"{label}: {name} has the shape {given.shape} and type {given.dtype}; "
            f"expected {count} number{'s' if count > 1 else ''}."
        )
    return [float(value) for value in given.ravel()]


def _scale(values: Any, bands: tuple[str, ...], offset: float | None) -> NDArray[np.float32]:
    """Digital numbers, reflectance or bytes to float32 values with NaN for nodata."""
    raw = np.ma.asarray(values)
    pixels = np.ma.getdata(raw).astype(np.float32)  # a copy, so what follows may work in place
    hidden = np.ma.getmaskarray(raw) if raw.dtype.kind != "f" else np.ma.getmaskarray(raw) | ~np.isfinite(pixels)
    np.copyto(pixels, np.nan, where=hidden)
    if set(bands) == set(DISPLAY_BANDS):
        return np.asarray(pixels / 255 if raw.dtype == np.uint8 or np.nanmax(pixels, initial=0) > 2 else pixels)
    if raw.dtype == np.uint8:
        return np.asarray(pixels / 255)
    if raw.dtype.kind == "f" and not typical(pixels) > LARGEST_REFLECTANCE:
        return np.asarray(pixels)
    pixels -= guess_offset(pixels) if offset is None else offset
    pixels /= QUANTIFICATION
    return pixels


def typical(values: NDArray[Any]) -> float:
    """The median of what is neither nodata nor zero: a few saturated pixels say nothing of the others' unit."""
    seen = values[np.isfinite(values) & (values != 0)]
    return float(np.median(seen)) if seen.size else 0.0


def guess_offset(digital_numbers: NDArray[np.float32]) -> float:
    """The offset of processing baseline 04.00 (+1000), seen from the data of a patch without metadata.

    Every band of a scene with the offset lies above 1000 but for noise; a scene without it has dark pixels in some band
    (shadow, water, the blue end over land).

    Args:
        digital_numbers: (C, H, W), NaN for nodata.
    """
    valid = np.isfinite(digital_numbers).all(axis=0)
    dark = np.count_nonzero((digital_numbers < BASELINE_0400_OFFSET) & valid, axis=(1, 2))
    return BASELINE_0400_OFFSET if valid.any() and dark.max() <= valid.sum() / 1000 else 0.0
