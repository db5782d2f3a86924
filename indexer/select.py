"""Which rows may be answered, and which of the ranked ones are.

Owns the filters, which act before the nearest-neighbour search, and the spacing of hits. Works on coordinates and
country codes alone; vectors are ``indexer.vectors``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from data.geo import EARTH_RADIUS_KM, BBox, Floats, great_circle_km, unit_vectors
from indexer.encoder import Vectors
from indexer.vectors import Rows

Mask = NDArray[np.bool_]
Search = Callable[[int], tuple[Rows, Vectors]]


def allowed_rows(
    lonlat: Floats,
    country: NDArray[np.str_],
    *,
    bbox: BBox | None = None,
    countries: Sequence[str] | None = None,
    beyond: tuple[tuple[float, float], float] | None = None,
) -> Mask | None:
    """Rows that pass every filter.

    Args:
        lonlat: (N, 2) degrees.
        country: (N,) ISO 3166 alpha-3.
        bbox: rows inside, borders included.
        countries: rows in any of these countries.
        beyond: a point and a distance in km: rows at least that far from it.

    Returns:
        (N,) bool, or None where nothing is filtered.
    """
    masks: list[Mask] = []
    if bbox is not None:
        masks.append(bbox.contains(lonlat))
    if countries is not None:
        masks.append(np.isin(country, list(countries)))
    if beyond is not None:
        point, km = beyond
        masks.append(great_circle_km(lonlat, point) >= km)
    return np.logical_and.reduce(masks) if masks else None


def pick_spaced(lonlat: Floats, k: int, spacing_km: float) -> Rows:
    """Greedy choice down a ranking: each point that is at least ``spacing_km`` from all chosen before it.

    Args:
        lonlat: (M, 2) degrees, best first.
        k: stop after so many.
        spacing_km: kilometres on the sphere.

    Returns:
        Positions in the ranking, ascending, at most k.
    """
    points = unit_vectors(lonlat)
    limit = np.cos(min(spacing_km / EARTH_RADIUS_KM, np.pi))  # nearer means a larger cosine
    free = np.ones(len(points), dtype=bool)
    chosen: list[int] = []
    start = 0
    while len(chosen) < k and start < len(points):
        step = int(np.argmax(free[start:]))
        if not free[start + step]:
            break
        chosen.append(start + step)
        start += step + 1
        free[start:] &= points[start:] @ points[chosen[-1]] <= limit
    return np.array(chosen, dtype=np.int64)


def search_spaced(search: Search, lonlat: Floats, k: int, *, spacing_km: float) -> tuple[Rows, Vectors]:
    """The k best rows, at least ``spacing_km`` apart.

    Looks down a ranking that grows until k are found or no row is left. A choice depends only on better rows, so what a
    longer ranking would choose first is what the shorter one chose: the answer is that of the full ranking.

    Args:
        search: gives the n best rows and their scores; fewer when no more are allowed.
        lonlat: (N, 2) degrees of all rows.
        k: how many hits.
        spacing_km: kilometres between any two hits.
    """
    if spacing_km <= 0:
        return search(k)
    wanted = 64 * k
    while True:
        rows, scores = search(wanted)
        chosen = pick_spaced(lonlat[rows], k, spacing_km)
        if len(chosen) == k or len(rows) < wanted:
            return rows[chosen], scores[chosen]
        wanted *= 8
