"""The rows of a dataset: what is known of each patch, and its pixels, as Parquet.

Owns both schemas, the id of a patch, and the two ways between a :class:`Record` and its row. Metadata are GeoParquet:
an outline as WKB, a ``bbox`` column that covers it, H3 cells at resolutions 0…7. Pixels lie in files of their own, as
GeoTIFFs, so that a search never reads them. Refuses patches without a place.

Source:
    GeoParquet 1.1.0 (geoparquet.org), "Column metadata" and "bbox covering encoding".
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from rasterio.transform import Affine
from shapely.affinity import translate

from data import atlas
from data.bands import DISPLAY_BANDS, QUANTIFICATION
from data.errors import PatchError
from data.geo import Floats, cell_of, cell_parent, wrap_lon
from data.patch import Patch
from data.sources.base import Record

FINEST = 7
"""Resolution of the finest H3 cell: 5 km², about the size of a patch."""
BBOX = pa.struct([(name, pa.float64()) for name in ("xmin", "ymin", "xmax", "ymax")])
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        *(pa.field(f"h3_{r}", pa.uint64(), nullable=False) for r in range(FINEST + 1)),
        pa.field("lon", pa.float64(), nullable=False),
        pa.field("lat", pa.float64(), nullable=False),
        pa.field("acquired", pa.timestamp("us", tz="UTC")),
        pa.field("cloud_percent", pa.float32()),
        pa.field("nodata_percent", pa.float32(), nullable=False),
        pa.field("country", pa.string(), nullable=False),
        pa.field("level", pa.string()),
        pa.field("bands", pa.list_(pa.string()), nullable=False),
        pa.field("gsd_m", pa.float32()),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("root", pa.string(), nullable=False),
        pa.field("address", pa.string(), nullable=False),
        pa.field("pixels", pa.string()),
        pa.field("bbox", BBOX, nullable=False),
        pa.field("geometry", pa.binary(), nullable=False),
    ]
)
PIXELS = pa.schema([pa.field("id", pa.string(), nullable=False), pa.field("tiff", pa.binary(), nullable=False)])
STORED_OFFSET = 1000
"""Added to stored digital numbers, as ESA does since baseline 04.00, so that small negative reflectance fits uint16."""


def patch_id(record: Record) -> str:
    """32 hex digits that are the same for the same pixels at the same place (to 0.01°), wherever they were read."""
    patch = record.patch
    digest = hashlib.sha256(json.dumps([patch.bands, patch.pixels.shape]).encode())
    digest.update(np.ascontiguousarray(patch.pixels, dtype="<f4").tobytes())
    # To a kilometre: an index and the file itself may give a patch's place a metre apart.
    digest.update(struct.pack("<2q", *(round(value * 100) for value in place_of(record))))
    return digest.hexdigest()[:32]


def make_table(records: Sequence[Record], *, kind: str, root: str) -> pa.Table:
    """Rows of some records, without the name of a file that keeps their pixels.

    Args:
        records: each with a place.
        kind: of their source.
        root: of their source, to read them again.

    Raises:
        PatchError: a record has no place, or an outline that is nowhere.
        CoordinateError: a record's place is not on Earth.
    """
    lonlat = np.array([place_of(record) for record in records], dtype=np.float64).reshape(-1, 2)
    lonlat[:, 0] = wrap_lon(lonlat[:, 0])  # a box would never find 200° E
    finest = cell_of(lonlat, FINEST) if len(records) else np.empty(0, dtype=np.uint64)
    outlines = [ground_of(record) for record in records]
    shapes = np.array([shape_of(outline) for outline in outlines], dtype=object)
    columns: dict[str, Any] = {
        "id": [patch_id(record) for record in records],
        **{f"h3_{r}": cell_parent(finest, r) for r in range(FINEST + 1)},
        "lon": lonlat[:, 0],
        "lat": lonlat[:, 1],
        "acquired": [utc(record.patch.acquired) for record in records],
        "cloud_percent": [record.cloud_percent for record in records],
        "nodata_percent": [100 * float(np.isnan(record.patch.pixels).any(axis=0).mean()) for record in records],
        "country": atlas.country_of(lonlat).tolist() if len(records) else [],
        "level": [record.level for record in records],
        "bands": [list(record.patch.bands) for record in records],
        "gsd_m": [record.patch.gsd_m for record in records],
        "height": [record.patch.pixels.shape[1] for record in records],
        "width": [record.patch.pixels.shape[2] for record in records],
        "kind": [kind] * len(records),
        "root": [root] * len(records),
        "address": [record.address for record in records],
        "pixels": [None] * len(records),
        "bbox": [bbox_of(outline) for outline in outlines],
        "geometry": shapely.to_wkb(shapes).tolist() if len(records) else [],
    }
    return pa.table([pa.array(columns[field.name], type=field.type) for field in SCHEMA], schema=SCHEMA)


def place_of(record: Record) -> tuple[float, float]:
    """Where a record lies.

    Raises:
        PatchError: nowhere.
    """
    if record.patch.lonlat is None:
        raise PatchError(
            f"{record.address}: its place is not known. Give the file a georeference, or an index.csv (fn, lon, lat)."
        )
    return record.patch.lonlat


def ground_of(record: Record) -> Floats:
    """Outline of a record, (N, 2) degrees with continuous longitudes; a point where none is known.

    Raises:
        PatchError: a corner is not a number, as where a projection ends.
    """
    outline = np.array([place_of(record)]) if record.footprint is None else record.footprint
    if not np.isfinite(outline).all():
        raise PatchError(f"{record.address}: its outline is not on Earth. Check its coordinate system and transform.")
    return outline


def shape_of(outline: Floats) -> shapely.Geometry:
    """An outline between ±180°, in two parts where it crosses them."""
    if len(outline) < 3:
        return shapely.Point(outline[0])
    polygon = shapely.Polygon(outline)
    parts = [
        translate(shapely.clip_by_rect(polygon, west, -90, west + 360, 90), -(west + 180)) for west in (-540, -180, 180)
    ]
    return shapely.union_all([part for part in parts if not part.is_empty])


def bbox_of(outline: Floats) -> dict[str, float]:
    """Box around an outline; ``xmin > xmax`` crosses the antimeridian."""
    (west, south), (east, north) = outline.min(axis=0), outline.max(axis=0)
    box = {"xmin": float(wrap_lon(west)), "ymin": float(south), "xmax": float(wrap_lon(east)), "ymax": float(north)}
    return box | ({"xmax": 180.0} if east == 180 else {})


def geo_metadata(table: pa.Table) -> dict[bytes, bytes]:
    """GeoParquet's ``geo`` entry for a table of rows."""
    shapes = shapely.from_wkb(table["geometry"].to_numpy(zero_copy_only=False))
    kinds = np.unique(shapely.get_type_id(shapes)).tolist()
    names = {0: "Point", 3: "Polygon", 6: "MultiPolygon"}
    column = {
        "encoding": "WKB",
        "geometry_types": [names[number] for number in kinds],
        "covering": {"bbox": {name: ["bbox", name] for name in ("xmin", "ymin", "xmax", "ymax")}},
    }
    content = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    return {b"geo": json.dumps(content, sort_keys=True).encode()}


def utc(when: datetime | None) -> datetime | None:
    """A time in UTC; one without a zone is taken as that."""
    try:
        return None if when is None else when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except OverflowError:  # the first or the last day of the calendar, which lies outside it in UTC
        return None


def encode_pixels(patch: Patch) -> bytes:
    """A patch as a compressed GeoTIFF: reflectance as digital numbers + 1000, to 1/10,000; display colours as bytes.

    What a Sentinel-2 product holds comes back exactly.
    """
    hidden = np.isnan(patch.pixels)
    if patch.is_display:
        values = np.rint(np.nan_to_num(patch.pixels) * 255).astype(np.uint8)
    else:
        numbers = np.rint(np.nan_to_num(patch.pixels) * QUANTIFICATION) + STORED_OFFSET
        values = np.where(hidden, 0, np.clip(numbers, 1, np.iinfo(np.uint16).max)).astype(np.uint16)
    gsd_m = patch.gsd_m or 1.0
    count, height, width = values.shape
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            count=count,
            height=height,
            width=width,
            dtype=values.dtype,
            compress="zstd",
            predictor=2,
            nodata=None if patch.is_display else 0,
            transform=Affine.scale(gsd_m, -gsd_m),
        ) as file:
            file.write(values)
            file.descriptions = patch.bands
            if patch.is_display and hidden.any():
                file.write_mask(~hidden.any(axis=0))
        return bytes(memory.read())


def decode_pixels(content: bytes, bands: Sequence[str]) -> NDArray[np.float32]:
    """Pixels that :func:`encode_pixels` wrote, (C, H, W) float32 with NaN for nodata."""
    with MemoryFile(content) as memory, memory.open(driver="GTiff") as file:
        data = file.read(masked=True)
    values = data.astype(np.float32).filled(np.nan)
    if set(bands) == set(DISPLAY_BANDS):
        return np.asarray(values / np.float32(255), dtype=np.float32)
    return np.asarray((values - STORED_OFFSET) / QUANTIFICATION, dtype=np.float32)
