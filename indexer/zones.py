"""Which rows lie in a place: bounds of each block of rows first, then the points of the few blocks on an edge.

Owns the geography of filters. Rows lie in H3 order, so a block of 1,024 of them is a small patch of the globe, and its
bounds decide most blocks without a look at their points: outside, or wholly inside. Bounds only ever spare work; the
points of every block that they leave open are tested exactly. Knows nothing of columns.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely
from numpy.typing import NDArray

from data.errors import QueryError
from data.geo import EARTH_RADIUS_KM, BBox, Floats, great_circle_km, wrap_lon
from indexer.rowset import RowSet
from indexer.where import Where

Mask = NDArray[np.bool_]

BLOCK = 1024
"""Rows a block: 1,000,000 rows have 977 blocks, whose bounds are 31 kB and are compared in some 20 µs."""
_AT_ONCE = 256
"""Open blocks whose points are tested together: 4 MB of coordinates."""
_MARGIN_DEG = 1e-5
"""How far from an edge (1 m) bounds decide nothing: rounding, the haversine's near the antipode above all, is less."""
_TURNS_DEG = (-720.0, -360.0, 0.0, 360.0, 720.0)


@dataclass(frozen=True)
class Condition:
    """A condition on places.

    Attributes:
        blocks: of (B, 4) bounds west, south, east, north: (B,) may hold rows that pass, (B,) holds no others.
        points: of (n, 2) degrees: (n,) which pass, exactly.
    """

    blocks: Callable[[Floats], tuple[Mask, Mask]]
    points: Callable[[Floats], Mask]


def conditions(where: Where) -> list[Condition]:
    """The geographic conditions of a filter: ``bbox``, ``polygon`` and ``beyond``.

    Raises:
        QueryError: the polygon is none, empty, or crosses itself.
    """
    found = []
    if where.bbox is not None:
        found.append(_in_bbox(where.bbox))
    if where.polygon is not None:
        found.append(_in_polygon(where.polygon))
    if where.beyond is not None:
        found.append(_far_from(*where.beyond))
    return found


def passes(where: Where, lonlat: Floats) -> Mask:
    """Which of (N, 2) points pass the geographic conditions of a filter: (N,) bool."""
    return _all(conditions(where), lonlat)


def _all(found: list[Condition], lonlat: Floats) -> Mask:
    """Points that pass every condition."""
    inside = np.ones(len(lonlat), dtype=np.bool_)
    for condition in found:
        inside &= condition.points(lonlat)
    return inside


class Zones:
    """The places of N rows, with the bounds of each block."""

    def __init__(self, lon: Floats, lat: Floats) -> None:
        """Take (N,) longitudes in [-180, 180] and latitudes; mapped arrays are not read before they are needed."""
        self._lon, self._lat = lon, lat

    @cached_property
    def bounds(self) -> Floats:
        """(B, 4) west, south, east, north of each block."""
        starts = np.arange(0, len(self._lon), BLOCK)
        if not len(starts):
            return np.empty((0, 4))
        low, high = np.minimum.reduceat, np.maximum.reduceat
        pairs = [(low, self._lon), (low, self._lat), (high, self._lon), (high, self._lat)]
        return np.stack([reduce(values, starts) for reduce, values in pairs], axis=1)

    def select(self, found: list[Condition]) -> RowSet:
        """The rows that pass every condition."""
        possible = np.ones(len(self.bounds), dtype=np.bool_)
        certain = possible.copy()
        for condition in found:
            some, every = condition.blocks(self.bounds)
            possible &= some
            certain &= every
        count = len(self._lon)
        whole = RowSet.from_mask(possible & certain).runs * BLOCK
        runs = [np.minimum(whole, count)]
        open_blocks = np.flatnonzero(possible & ~certain)
        for first in range(0, len(open_blocks), _AT_ONCE):
            blocks = open_blocks[first : first + _AT_ONCE]
            rows = (blocks[:, None] * BLOCK + np.arange(BLOCK)).ravel()
            rows = rows[: np.searchsorted(rows, count)]
            inside = _all(found, np.stack([self._lon[rows], self._lat[rows]], axis=1))
            runs.append(ascending(rows[inside]).runs)
        return RowSet.from_runs(np.concatenate(runs))


def ascending(rows: NDArray[np.int64]) -> RowSet:
    """The set of (n,) row numbers that ascend already."""
    if not len(rows):
        return RowSet(np.empty((0, 2), dtype=np.int64))
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    return RowSet(np.stack([rows[np.r_[0, breaks]], rows[np.r_[breaks, len(rows)] - 1] + 1], axis=1))


def _against(bounds: Floats, west: float, span: float, south: float, north: float) -> tuple[Mask, Mask]:
    """Blocks that touch, and blocks that lie within, ``span`` degrees eastwards of ``west`` between two parallels."""
    some = every = np.full(len(bounds), span >= 360)
    if span < 360:
        for turn in _TURNS_DEG:
            low, high = west + turn, west + turn + span
            some = some | ((bounds[:, 2] >= low - _MARGIN_DEG) & (bounds[:, 0] <= high + _MARGIN_DEG))
            every = every | ((bounds[:, 0] >= low + _MARGIN_DEG) & (bounds[:, 2] <= high - _MARGIN_DEG))
    some = some & (bounds[:, 3] >= south) & (bounds[:, 1] <= north)
    every = every & (bounds[:, 1] >= south) & (bounds[:, 3] <= north)
    return some, every


def _in_bbox(box: BBox) -> Condition:
    """Inside a bounding box, borders included."""
    width = box.east - box.west
    span = 360.0 if width >= 360 else width % 360.0
    return Condition(lambda bounds: _against(bounds, box.west, span, box.south, box.north), box.contains)


def _in_polygon(polygon: shapely.Geometry) -> Condition:
    """Inside or on the border of a polygon, whose longitudes may run on past ±180."""
    if polygon.geom_type not in ("Polygon", "MultiPolygon") or polygon.is_empty:
        raise QueryError(f"The area is {_seen(polygon)}; give a polygon or multipolygon in degrees, longitude first.")
    if not polygon.is_valid:
        raise QueryError(f"The area's polygon is not valid: {shapely.is_valid_reason(polygon)}. Repair or redraw it.")
    west, south, east, north = polygon.bounds
    if south < -90 or north > 90 or west < -540 or east > 540:
        raise QueryError(
            f"The area reaches from ({west:g}, {south:g}) to ({east:g}, {north:g}), off the globe; "
            "give degrees, longitude first."
        )
    shapely.prepare(polygon)
    turns = [turn for turn in _TURNS_DEG if west - turn <= 180 and east - turn >= -180]

    def blocks(bounds: Floats) -> tuple[Mask, Mask]:
        some = every = np.zeros(len(bounds), dtype=np.bool_)
        for turn in turns:
            low, high = bounds[:, :2] - _MARGIN_DEG, bounds[:, 2:] + _MARGIN_DEG
            boxes = shapely.box(low[:, 0] + turn, low[:, 1], high[:, 0] + turn, high[:, 1])
            some = some | shapely.intersects(polygon, boxes)
            every = every | shapely.covers(polygon, boxes)
        return some, every

    def points(lonlat: Floats) -> Mask:
        inside = np.zeros(len(lonlat), dtype=np.bool_)
        for turn in turns:
            inside |= shapely.intersects_xy(polygon, lonlat[:, 0] + turn, lonlat[:, 1])
        return inside

    return Condition(blocks, points)


def _seen(shape: shapely.Geometry) -> str:
    """What was given instead of an area."""
    return "empty" if shape.is_empty else f"a {shape.geom_type}"


def _far_from(point: tuple[float, float], km: float) -> Condition:
    """At least ``km`` from a point; that is, at most half the globe's circumference less ``km`` from its antipode."""
    lon, lat = point

    def blocks(bounds: Floats) -> tuple[Mask, Mask]:
        near, _ = _against(bounds, *_around(lon, lat, km))
        across = float(wrap_lon(lon + 180.0))
        some, _ = _against(bounds, *_around(across, -lat, max(math.pi * EARTH_RADIUS_KM - km, 0.0)))
        return some, ~near

    return Condition(blocks, lambda lonlat: np.asarray(great_circle_km(lonlat, point) >= km, dtype=np.bool_))


def _around(lon: float, lat: float, km: float) -> tuple[float, float, float, float]:
    """West, span, south, north of a box around all that lies within ``km`` of a point.

    Source:
        The tangent meridians of a small circle: sin(half the span) = sin(radius) / cos(latitude).
    """
    radius = math.degrees(max(km, 0.0) / EARTH_RADIUS_KM) + _MARGIN_DEG
    south, north = lat - radius, lat + radius
    if south <= -90 or north >= 90:  # a pole lies within
        return -180.0, 360.0, south, north
    ratio = math.sin(math.radians(radius)) / math.cos(math.radians(lat))
    half = math.degrees(math.asin(min(ratio, 1.0))) + _MARGIN_DEG if ratio < 1 - 1e-9 else 180.0
    return lon - half, 2 * half, south, north
