"""Which columns of a foreign GeoParquet file of embeddings mean what.

Owns the rules (:class:`Columns` states them) and the types that are taken. Refuses what it would have to guess, with
the option that says it.

Source:
    GeoParquet 1.0 and 1.1 (geoparquet.org); the layouts that Major TOM, EarthEmbeddings and Clay publish.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import types

from data.errors import SourceError
from indexer.rows import schema

EMBEDDING = ("embedding", "embeddings", "vector", "vectors", "vec")
ID = ("unique_id", "id", "chips_id", "chip_id", "item_id")
LON_LAT = (("centre_lon", "centre_lat"), ("center_lon", "center_lat"), ("lon", "lat"), ("longitude", "latitude"))
TIME = ("acquired", "timestamp", "datetime", "date")
CLOUD = ("cloud_percent", "eo:cloud_cover", "cloud_cover")
GSD = ("gsd_m", "gsd", "eo:gsd")
DEGREES = ("EPSG:4326", "OGC:CRS84", "OGC:CRS84H", "EPSG:4979")


@dataclass(frozen=True)
class Columns:
    """Which columns of a file mean what. What is not given is found by these rules, on names as they are written.

    Attributes:
        embedding: the only column of lists of floating-point numbers; of several, the first of ``EMBEDDING``.
        id: the first of ``ID``; without any, rows are named by their file and number.
        lonlat: longitude and latitude: the first pair of ``LON_LAT``.
        geometry: without those, GeoParquet's primary column, or ``geometry``: WKB in degrees, of which the centroid is
            the place.
        thumbnail: ``thumbnail``, if it holds bytes.
        acquired: the first of ``TIME``; text is read as ISO 8601, and is no time where it cannot be.
        extra: numbers and text that are left; every column under its own name. A name that an index's own columns have
            already (upper or lower case) is left out.
    """

    embedding: str | None = None
    id: str | None = None
    lonlat: tuple[str, str] | None = None
    geometry: str | None = None
    thumbnail: str | None = None
    acquired: str | None = None
    extra: tuple[str, ...] = ()

    def find(self, layout: pa.Schema, *, where: Path) -> Columns:
        """The columns of a file.

        Raises:
            SourceError: one that is needed is missing, of the wrong type, or one of several that could be meant.
        """
        given = (self.embedding, self.id, *(self.lonlat or ()), self.geometry, self.thumbnail, self.acquired)
        for name in given:
            if name is not None and name not in layout.names:
                raise SourceError(f"{where} has no column {name!r}. It has: {', '.join(layout.names)}.")
        embedding = self.embedding or _the_embedding(layout, where)
        if not is_vector(layout.field(embedding).type):
            raise SourceError(
                f"{where}: the column {embedding!r} holds {layout.field(embedding).type}, not lists of floating-point "
                "numbers. Name another with --embedding-column."
            )
        lonlat = self.lonlat
        if lonlat is None and self.geometry is None:
            lonlat = next((pair for pair in LON_LAT if all(name in layout.names for name in pair)), None)
        geometry = None if lonlat else self.geometry or _the_geometry(layout, where)
        if geometry is not None:
            _check_degrees(layout, geometry, where)
        name = self.id or first(ID, layout)
        acquired = self.acquired or first(TIME, layout)
        thumbnail = self.thumbnail or first(("thumbnail",), layout)
        if thumbnail is not None and not is_binary(layout.field(thumbnail).type):
            thumbnail = None
        used = {embedding, name, geometry, thumbnail, *(lonlat or ())}
        taken = {own.casefold() for own in schema("tiles", 1).names}
        extra: list[str] = []
        for field in layout:
            if field.name not in used and field.name.casefold() not in taken and kept_type(field.type) is not None:
                taken.add(field.name.casefold())
                extra.append(field.name)
        return replace(
            self,
            embedding=embedding,
            id=name,
            lonlat=lonlat,
            geometry=geometry,
            thumbnail=thumbnail,
            acquired=acquired,
            extra=tuple(extra),
        )


def first(names: Sequence[str], layout: pa.Schema) -> str | None:
    """The first of some names that a file has."""
    return next((name for name in names if name in layout.names), None)


def is_vector(kind: pa.DataType) -> bool:
    """Whether a column holds lists of floating-point numbers."""
    lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return bool(lists and types.is_floating(kind.value_type))


def is_number(kind: pa.DataType) -> bool:
    """Whether a column holds numbers; truth values count as 0 and 1."""
    return bool(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_boolean(kind))


def is_binary(kind: pa.DataType) -> bool:
    """Whether a column holds bytes."""
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def is_text(kind: pa.DataType) -> bool:
    """Whether a column holds text, as it is or as a dictionary."""
    plain = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(plain) or types.is_large_string(plain) or types.is_string_view(plain))


def kept_type(kind: pa.DataType) -> pa.DataType | None:
    """The type in which a further column is kept; None where it is neither numbers nor text."""
    if types.is_integer(kind) or types.is_boolean(kind):
        return pa.uint64() if kind == pa.uint64() else pa.int64()
    if is_number(kind):
        return pa.float64()
    return pa.string() if is_text(kind) else None


def extra_types(layout: pa.Schema, found: Columns) -> dict[str, pa.DataType]:
    """The further columns of a file and the types in which they are kept."""
    return {name: kept_type(layout.field(name).type) for name in found.extra}


def common_type(one: pa.DataType, other: pa.DataType, name: str, where: Path) -> pa.DataType:
    """The type that holds a further column of two files.

    Raises:
        SourceError: it is text in one, and numbers in the other.
    """
    if one == other:
        return one
    if pa.string() in (one, other):
        raise SourceError(f"{where}: the column {name!r} holds {other}, and {one} in a file before. Import them apart.")
    return pa.float64()


def _the_embedding(layout: pa.Schema, where: Path) -> str:
    found = [field.name for field in layout if is_vector(field.type)]
    if not found:
        raise SourceError(f"{where} has no column of lists of floating-point numbers, so no embeddings to import.")
    name = found[0] if len(found) == 1 else next((name for name in EMBEDDING if name in found), None)
    if name is None:
        raise SourceError(
            f"{where}: each of {', '.join(found)} could be the embedding. Say it with --embedding-column."
        )
    return name


def geo_of(layout: pa.Schema, where: Path) -> dict[str, Any]:
    """GeoParquet's metadata of a file, empty where there are none."""
    try:
        content = json.loads((layout.metadata or {}).get(b"geo", b"{}"))
    except ValueError as error:
        raise SourceError(
            f"{where}: its 'geo' metadata are no JSON ({error}). Write it again as GeoParquet."
        ) from error
    return content if isinstance(content, dict) else {}


def _the_geometry(layout: pa.Schema, where: Path) -> str:
    name = geo_of(layout, where).get("primary_column", "geometry")
    if name in layout.names:
        return str(name)
    pairs = ", ".join("/".join(pair) for pair in LON_LAT)
    raise SourceError(
        f"{where} does not say where its rows lie: it has neither a geometry nor {pairs}. Name the columns with "
        f"--lonlat-columns or --geometry-column; it has: {', '.join(layout.names)}."
    )


def _check_degrees(layout: pa.Schema, name: str, where: Path) -> None:
    """Refuse a geometry that is not WKB in degrees."""
    about = geo_of(layout, where).get("columns", {})
    about = about.get(name, {}) if isinstance(about, dict) else {}
    about = about if isinstance(about, dict) else {}
    kind = layout.field(name).type
    if not is_binary(kind) or str(about.get("encoding", "WKB")).upper() != "WKB":
        raise SourceError(
            f"{where}: the geometry {name!r} is {about.get('encoding', kind)}, not WKB. Write it as WKB, or name "
            "columns of degrees with --lonlat-columns."
        )
    crs = about.get("crs")
    if crs is not None:  # GeoParquet: without one it is OGC:CRS84
        known = crs.get("id", {}) if isinstance(crs, dict) else {}
        code = f"{known.get('authority')}:{known.get('code')}" if isinstance(known, dict) else str(crs)
        if code not in DEGREES:
            raise SourceError(
                f"{where}: the geometry {name!r} is in {code}, not in degrees (EPSG:4326). Reproject it, or name "
                "columns of degrees with --lonlat-columns."
            )
