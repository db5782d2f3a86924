"""Places to look at: drawn over land, cells, countries, polygons or climates, the same for the same seed.

Owns the draws. Each is uniform over the area that it names, never over degrees: the sine of the latitude is drawn, so
poles are not over-sampled. Refuses areas without land.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from data import atlas
from data.errors import CoordinateError
from data.geo import Floats, cell_lonlat, cell_of
from data.land import is_land, land_cells, sample_land

TRIES = 200
"""Draws, in multiples of what is wanted, after which an area counts as having no land."""


def sample_cells(per_cell: int, resolution: int, *, rng: np.random.Generator, antarctica: bool = True) -> Floats:
    """Draw as many places in every land cell: (cells · per_cell, 2) degrees, cells in ascending order.

    The first of a cell is its centre; the others are land inside it, or the centre again where too little is.

    Args:
        per_cell: places in each.
        resolution: of the H3 cells.
        rng: the generator.
        antarctica: whether land south of 60° S counts.
    """
    cells = land_cells(resolution, antarctica=antarctica)
    centres = cell_lonlat(cells)
    rounds = [centres]
    reach_deg = np.degrees(1.2 * np.sqrt(2.6 / 7 ** (resolution + 1)))  # a little beyond the corners of a cell
    for _ in range(per_cell - 1):
        drawn, open_rows = centres.copy(), np.arange(len(cells))
        for _ in range(TRIES):
            sine, cosine = np.sin(np.radians(centres[open_rows, 1])), np.cos(np.radians(centres[open_rows, 1]))
            turn, share = rng.uniform(0, 2 * np.pi, len(open_rows)), np.sqrt(rng.random(len(open_rows)))
            angle = np.radians(reach_deg) * share
            lat = np.arcsin(sine * np.cos(angle) + cosine * np.sin(angle) * np.cos(turn))
            east = np.arctan2(np.sin(turn) * np.sin(angle) * cosine, np.cos(angle) - sine * np.sin(lat))
            points = np.stack([(centres[open_rows, 0] + np.degrees(east) + 180) % 360 - 180, np.degrees(lat)], axis=1)
            fits = (cell_of(points, resolution) == cells[open_rows]) & is_land(points)
            drawn[open_rows[fits]] = points[fits]
            open_rows = open_rows[~fits]
            if not len(open_rows):
                break
        rounds.append(drawn)
    return np.stack(rounds, axis=1).reshape(-1, 2)


def sample_country(n: int, codes: Sequence[str], *, rng: np.random.Generator) -> Floats:
    """Draw (n, 2) degrees uniformly over the land of some countries, ISO 3166 alpha-3.

    Raises:
        CoordinateError: they have no land in the atlas.
    """
    wanted = [atlas.country_code(code) for code in codes]
    return _accept(n, lambda points: np.isin(atlas.country_of(points), wanted), rng=rng, what=", ".join(codes))


def sample_polygon(n: int, polygon: shapely.Geometry, *, rng: np.random.Generator) -> Floats:
    """Draw (n, 2) degrees uniformly over the land inside a polygon in degrees (:func:`read_polygon`).

    Raises:
        CoordinateError: there is no land inside.
    """
    west, south, east, north = shapely.bounds(polygon).tolist()
    low, high = np.sin(np.radians([south, north]))

    def draw(count: int) -> Floats:
        lon, sine = rng.uniform(west, east, count), rng.uniform(low, high, count)
        points = np.stack([lon, np.degrees(np.arcsin(sine))], axis=1)
        return np.asarray(points[is_land(points)], dtype=np.float64)

    def inside(points: Floats) -> NDArray[np.bool_]:
        return np.asarray(shapely.contains_xy(polygon, points[:, 0], points[:, 1]), dtype=bool)

    return _accept(n, inside, rng=rng, what="the polygon", draw=draw)


def sample_climates(n: int, *, rng: np.random.Generator) -> Floats:
    """Draw (n, 2) degrees, from every Köppen–Geiger class as many (one more or less), Antarctica left out.

    Classes stand one after the other, in alphabetical order. A class that has too little land gives what it has, and
    the others make up for it.
    """
    points = sample_land(max(60 * n, 20_000), rng=rng, antarctica=False)
    climate = atlas.koppen(points)
    classes = [name for name in np.unique(climate).tolist() if name]
    rows = {name: np.flatnonzero(climate == name) for name in classes}
    taken, missing = dict.fromkeys(classes, 0), n
    for place, name in enumerate(sorted(classes, key=lambda name: len(rows[name]))):  # the rarest first
        taken[name] = min(len(rows[name]), round(missing / (len(classes) - place)))
        missing -= taken[name]
    return np.asarray(points[np.concatenate([rows[name][: taken[name]] for name in classes])], dtype=np.float64)


def cell_balanced(lonlat: Floats, n: int, *, resolution: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Choose n of N patches so that all cells are represented as evenly as can be.

    Every cell gives one at random, then every cell that has another a second one, and so on.

    Returns:
        (min(n, N),) row numbers, ascending.
    """
    order = rng.permutation(len(lonlat))
    cells = cell_of(lonlat, resolution)[order]
    by_cell = np.argsort(cells, kind="stable")
    first = np.flatnonzero(np.diff(cells[by_cell], prepend=np.uint64(0)) != 0)
    starts = np.repeat(first, np.diff(first, append=len(cells)))
    turn = np.empty(len(cells), dtype=np.int64)
    turn[by_cell] = np.arange(len(cells)) - starts
    return np.sort(order[np.lexsort((np.arange(len(cells)), turn))[:n]])


def read_polygon(path: Path) -> shapely.Geometry:
    """The area of a GeoJSON file: a geometry, a feature or a collection of them, in degrees.

    Raises:
        CoordinateError: it is no GeoJSON, or holds no area.
    """
    try:
        shape = shapely.union_all(shapely.get_parts(shapely.from_geojson(path.read_bytes())))
    except (OSError, shapely.errors.GEOSException) as error:
        raise CoordinateError(f"{path}: cannot be read as GeoJSON ({str(error).splitlines()[0]}).") from error
    if shape.area == 0:
        raise CoordinateError(f"{path}: there is no polygon in it, only {shape.geom_type}.")
    return shape


def _accept(
    n: int,
    inside: Callable[[Floats], NDArray[np.bool_]],
    *,
    rng: np.random.Generator,
    what: str,
    draw: Callable[[int], Floats] | None = None,
) -> Floats:
    """Draw until n places lie inside."""
    parts: list[Floats] = []
    missing, tried = n, 0
    while missing > 0:
        count = max(20_000, 4 * missing)
        points = draw(count) if draw else sample_land(count, rng=rng)
        points = points[inside(points)][:missing]
        parts.append(points)
        missing, tried = missing - len(points), tried + count
        if missing == n and tried > TRIES * 20_000:
            raise CoordinateError(f"{what}: no land was found there. Check the name or the coordinates.")
    return np.concatenate(parts) if parts else np.empty((0, 2))
