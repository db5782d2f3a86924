"""Which patches train and which only measure: at random, in H3 cells, in 10° blocks, or a whole continent at a time.

Owns the splits of given patches (:mod:`data.splits` draws places where there are none yet). None leaks: a training
patch has no point in common with a held-out one, whatever the split, because those too near are left out of both. So a
random split of dense imagery loses patches, and says how many.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from data import atlas
from data.errors import QueryError
from data.geo import EARTH_RADIUS_KM, Floats, cell_of, unit_vectors
from data.splits import block_of

FOOTPRINT_KM = 2.56


@dataclass(frozen=True)
class PatchSplit:
    """Row numbers, ascending.

    Attributes:
        train: may be trained on.
        held_out: only measured on.
        dropped: neither: they overlap a held-out patch.
    """

    train: NDArray[np.intp]
    held_out: NDArray[np.intp]
    dropped: NDArray[np.intp]


def split_random(lonlat: Floats, *, share: float, seed: int, footprint_km: ArrayLike = FOOTPRINT_KM) -> PatchSplit:
    """Hold out single patches, drawn at random.

    Args:
        lonlat: (N, 2) degrees, the patches' centres.
        share: of the patches to hold out, 0…1.
        seed: of the draw.
        footprint_km: side of the patches, for all or for each, (N,).
    """
    drawn = np.random.default_rng(seed).permutation(len(lonlat))[: round(share * len(lonlat))]
    return _without_overlap(lonlat, np.isin(np.arange(len(lonlat)), drawn), footprint_km)


def split_cells(
    lonlat: Floats, *, share: float, seed: int, resolution: int = 2, footprint_km: ArrayLike = FOOTPRINT_KM
) -> PatchSplit:
    """Hold out all patches of some H3 cells, drawn at random among those that hold any; arguments as above."""
    return _split_groups(lonlat, cell_of(lonlat, resolution), share=share, seed=seed, footprint_km=footprint_km)


def split_blocks(
    lonlat: Floats, *, share: float, seed: int, block_deg: float = 10.0, footprint_km: ArrayLike = FOOTPRINT_KM
) -> PatchSplit:
    """Hold out all patches of some blocks of ``block_deg`` × ``block_deg`` degrees; arguments as above."""
    return _split_groups(lonlat, block_of(lonlat, block_deg), share=share, seed=seed, footprint_km=footprint_km)


def split_continent(lonlat: Floats, continent: str, *, footprint_km: ArrayLike = FOOTPRINT_KM) -> PatchSplit:
    """Hold out one continent, by its GeoNames code (:func:`data.atlas.continent_of`).

    Raises:
        QueryError: no patch lies there.
    """
    there = atlas.continent_of(lonlat)
    held = there == continent
    if not held.any():
        known = ", ".join(sorted(set(there.tolist()) - {""})) or "none"
        raise QueryError(f"No patch lies in the continent {continent!r}; the patches lie in: {known}.")
    return _without_overlap(lonlat, held, footprint_km)


def _split_groups(
    lonlat: Floats, group: NDArray[np.integer], *, share: float, seed: int, footprint_km: ArrayLike
) -> PatchSplit:
    numbers = np.random.default_rng(seed).permutation(np.unique(group))
    held = np.isin(group, numbers[: max(1, round(share * len(numbers)))]) if share else np.zeros(len(group), dtype=bool)
    return _without_overlap(lonlat, held, footprint_km)


def _without_overlap(lonlat: Floats, held: NDArray[np.bool_], footprint_km: ArrayLike) -> PatchSplit:
    """Drop from training what may share a point with a held-out patch, however both are turned."""
    reach_km = np.broadcast_to(np.asarray(footprint_km, dtype=np.float64) / np.sqrt(2), (len(lonlat),))
    inside, outside = np.flatnonzero(held), np.flatnonzero(~held)
    near = np.zeros(len(outside), dtype=bool)
    if len(inside) and len(outside):
        tree = cKDTree(unit_vectors(lonlat[inside]))
        chord = 2 * np.sin((reach_km[outside] + reach_km[inside].max()) / EARTH_RADIUS_KM / 2)
        found = tree.query_ball_point(unit_vectors(lonlat[outside]), chord)
        for place, others in enumerate(found):
            if others:
                apart = np.linalg.norm(tree.data[others] - unit_vectors(lonlat[outside[place]]), axis=1)
                limit = 2 * np.sin((reach_km[outside[place]] + reach_km[inside[others]]) / EARTH_RADIUS_KM / 2)
                near[place] = bool((apart <= limit).any())
    return PatchSplit(train=outside[~near], held_out=inside, dropped=outside[near])
