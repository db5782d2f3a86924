"""Two to six places side by side: how alike they are, what is known of them, and in what they differ most.

Owns the numbers of the page Compare. A difference is told by how much of all land lies between two places' values, so
that degrees and millimetres can be ranked together, and towns, of which most land has none, do not outweigh all else.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np

from app.facts import number_text
from data import atlas
from data.errors import QueryError
from data.geo import Floats, great_circle_km
from data.land import sample_land
from indexer.query import Query
from indexer.search import SearchIndex

LEAST, MOST = 2, 6
SAMPLE, SEED = 3000, 2026
LETTERS = "ABCDEF"


@dataclass(frozen=True)
class Difference:
    """How far two places are apart in one variable.

    Attributes:
        title: of the variable.
        first: position of the one place.
        second: position of the other.
        between: share of all land whose value lies between theirs, 0…1.
        text: both values with their unit.
    """

    title: str
    first: int
    second: int
    between: float
    text: str


def check_places(places: list[tuple[float, float]]) -> Floats:
    """(n, 2) degrees.

    Raises:
        QueryError: there are fewer than two or more than six.
    """
    if not LEAST <= len(places) <= MOST:
        raise QueryError(f"{LEAST} to {MOST} places can be compared, not {len(places)}.")
    return np.array(places, dtype=np.float64)


def similarities(index: SearchIndex, lonlat: Floats, *, view: str | None = None) -> Floats:
    """(n, n) cosines of the places' embeddings, in a view: row i asks, column j answers.

    Raises:
        QueryError: there is no such view.
    """
    vectors = np.stack([index.query_vector(Query.place(lon, lat)) for lon, lat in lonlat.tolist()])
    asked = index.encoder.reweight(vectors, view) if view is not None else vectors
    return np.asarray(asked @ vectors.T, dtype=np.float64)


def differences(lonlat: Floats) -> list[Difference]:
    """Every pair in every variable of the atlas, the largest difference first."""
    found = []
    for variable in atlas.variables():
        if variable.categorical:
            continue
        values = atlas.sample(variable.name, lonlat)
        ranks = _ranks(variable.name, values)
        for first, second in combinations(range(len(lonlat)), 2):
            apart = abs(float(ranks[first] - ranks[second]))
            if np.isfinite(apart):
                text = f"{number_text(float(values[first]), variable.unit)} and "
                text += number_text(float(values[second]), variable.unit)
                title = variable.name.replace("_", " ").capitalize()
                found.append(Difference(title, first, second, apart, text))
    return sorted(found, key=lambda one: -one.between)


def distances_km(lonlat: Floats) -> Floats:
    """(n, n) great-circle distances."""
    return np.array([[float(great_circle_km(one, other)) for other in lonlat] for one in lonlat])


def _ranks(name: str, values: Floats) -> Floats:
    """Share of land with a lower value; of equal ones half counts."""
    land = _land_values(name)
    low, high = (np.searchsorted(land, values, side=side) for side in ("left", "right"))
    shares = (low + high) / (2 * len(land))
    return np.where(np.isfinite(values), shares, np.nan)


@cache
def _land_values(name: str) -> Floats:
    """Values of a layer at random places on land, ascending."""
    values = atlas.sample(name, sample_land(SAMPLE, rng=np.random.default_rng(SEED)))
    return np.sort(values[np.isfinite(values)])
