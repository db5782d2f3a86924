"""Country polygons from the npm package world-atlas (Natural Earth as TopoJSON).

Owns the decoding of a quantised topology and the cut at the antimeridian. The package's shapes are stitched on the
sphere: Russia and Fiji run across ±180° and Antarctica's ring goes once around the pole. What leaves this module is
plane geometry within [-180, 180] × [-90, 90]. Refuses anything that is not polygons.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.affinity import translate
from shapely.geometry.base import BaseGeometry

Ring = NDArray[np.float64]

DOT_DEG = 0.001
"""Radius of what stands for an island or enclave smaller than the quantisation step: about 100 m."""


@dataclass(frozen=True)
class Shape:
    """One Natural Earth feature: ISO 3166 numeric code (None where it has none), its short name, its polygons."""

    numeric: int | None
    name: str
    geometry: BaseGeometry


def read_shapes(path: Path) -> list[Shape]:
    """Every feature of a ``countries-*.json`` of world-atlas, cut at ±180°, in degrees."""
    topology = json.loads(path.read_text(encoding="utf-8"))
    arcs = decode_arcs(topology)
    shapes = []
    for item in topology["objects"]["countries"]["geometries"]:
        polygons = {"Polygon": [item["arcs"]], "MultiPolygon": item["arcs"]}[item["type"]]
        parts = [plane_polygon([join(arcs, ring) for ring in rings]) for rings in polygons]
        numeric = int(item["id"]) if item.get("id") else None
        shapes.append(Shape(numeric, item["properties"]["name"], shapely.union_all(parts)))
    return shapes


def decode_arcs(topology: dict[str, Any]) -> list[Ring]:
    """Undo the delta coding and quantisation of a topology: one (n, 2) array of degrees for each arc."""
    scale, origin = topology["transform"]["scale"], topology["transform"]["translate"]
    return [np.cumsum(np.array(arc, dtype=np.float64), axis=0) * scale + origin for arc in topology["arcs"]]


def join(arcs: list[Ring], indices: list[int]) -> Ring:
    """Chain arcs into one closed ring; ``~i`` means arc i backwards, and joints appear once."""
    pieces = [arcs[i] if i >= 0 else arcs[~i][::-1] for i in indices]
    return np.concatenate([pieces[0], *[piece[1:] for piece in pieces[1:]]])


def plane_polygon(rings: list[Ring]) -> BaseGeometry:
    """A polygon given by rings on the sphere, as valid plane geometry cut at ±180°.

    Rings are combined by the even-odd rule, which needs no word on which of them is the outer one: Antarctica comes as
    a coast and a small circle about the pole.
    """
    return reduce(shapely.symmetric_difference, [plane_ring(ring) for ring in rings])


def plane_ring(ring: Ring) -> BaseGeometry:
    """The area inside one ring; around a pole if the ring goes around it, a dot if quantisation left only a point."""
    if len(ring) < 4:
        return shapely.Point(*ring[0]).buffer(DOT_DEG)
    area = shapely.make_valid(shapely.Polygon(unwrap(ring)), method="structure", keep_collapsed=False)
    pieces = []
    for turn in range(-2, 3):  # the ring may begin anywhere and run up to one turn either way
        window = shapely.box(360 * turn - 180, -90, 360 * turn + 180, 90)
        parts = shapely.get_parts(area.intersection(window))
        pieces += [translate(part, -360.0 * turn) for part in parts if part.geom_type == "Polygon"]
    return shapely.union_all(pieces)


def unwrap(ring: Ring) -> Ring:
    """Make a ring's longitudes continuous; close it through the pole if it goes around one."""
    lon = np.unwrap(ring[:, 0], period=360.0)
    whole = np.stack([lon, ring[:, 1]], axis=1)
    if abs(lon[-1] - lon[0]) < 180:
        return whole
    pole = np.copysign(90.0, ring[:, 1].mean())
    return np.concatenate([whole, [[lon[-1], pole], [lon[0], pole], whole[0]]])
