"""Outlines of cells as geometries that other programs draw correctly.

Owns the two places where an outline in degrees goes wrong: across ±180° it becomes two parts, and around a pole it
follows the edge of the map. Rings run counterclockwise, as GeoJSON asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from data.geo import Cells, Floats, cell_boundary
from data.rows import shape_of


def cell_shapes(cells: Cells) -> NDArray[Any]:
    """Outlines of (N,) cells: (N,) polygons or multipolygons between ±180°."""
    rings = [cell_boundary(cell) for cell in cells.tolist()]
    shapes = np.empty(len(rings), dtype=object)
    if not rings:
        return shapes
    plain = np.array([ring[:, 0].max() < 180 and np.ptp(ring[:, 0]) < 180 for ring in rings])
    chosen = [ring for ring, easy in zip(rings, plain, strict=True) if easy]
    if chosen:
        owner = np.repeat(np.arange(len(chosen)), [len(ring) for ring in chosen])
        shapes[plain] = shapely.polygons(shapely.linearrings(np.concatenate(chosen), indices=owner))
    for place in np.flatnonzero(~plain):
        shapes[place] = shape_of(_unrolled(rings[place]))
    return np.asarray(shapely.orient_polygons(shapes))


def _unrolled(ring: Floats) -> Floats:
    """A ring with continuous longitudes; one around a pole goes on to the pole and back along it."""
    closed = np.concatenate([ring, ring[:1]])
    closed[:, 0] = np.unwrap(closed[:, 0], period=360)
    if abs(closed[-1, 0] - closed[0, 0]) < 180:
        return closed[:-1]
    pole = np.copysign(90.0, ring[:, 1].mean())
    return np.concatenate([closed, [[closed[-1, 0], pole], [closed[0, 0], pole]]])


def shape_boxes(shapes: NDArray[Any]) -> Sequence[dict[str, float]]:
    """Box of each geometry, as GeoParquet's ``bbox`` column; ``xmin > xmax`` where it crosses ±180°."""
    bounds = shapely.bounds(shapes)
    wide = (bounds[:, 2] - bounds[:, 0] > 180) & (shapely.get_num_geometries(shapes) > 1)
    for place in np.flatnonzero(wide):
        parts = shapely.bounds(shapely.get_parts(shapes[place]))
        if (parts[:, 0] > 0).any() and (parts[:, 2] < 0).any():  # east of the Pacific, and west of it
            bounds[place, 0] = parts[parts[:, 0] > 0, 0].min()
            bounds[place, 2] = parts[parts[:, 2] < 0, 2].max()
    return [dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)) for box in bounds.tolist()]
