"""What an index covers: cells and images by continent, by source and by year."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.url_state import CONTINENTS
from indexer.search import SearchIndex

MOST_DOTS = 15_000


@dataclass(frozen=True)
class Coverage:
    """Counts, and where images lie.

    Attributes:
        cells: how many.
        images: how many.
        tiles: (lon, lat) of images, at most 15,000 of them.
        thinned: whether some were left out.
        by_continent: a row for each, the largest first.
        by_source: a row for each source of images, the largest first.
        by_year: images of each year, where that is known.
    """

    cells: int
    images: int
    tiles: list[list[float]]
    thinned: bool
    by_continent: list[dict[str, Any]]
    by_source: list[dict[str, Any]]
    by_year: list[dict[str, Any]]


def measure(index: SearchIndex) -> Coverage:
    """Count."""
    cells, tiles = index.cells(), index.tiles()
    places, images = Counter(cells["continent"].to_pylist()), Counter(tiles["continent"].to_pylist())
    step = -(-len(tiles) // MOST_DOTS) if len(tiles) else 1
    dots = np.stack([tiles["lon"].to_numpy(), tiles["lat"].to_numpy()], axis=1)[::step].round(3).tolist()
    years = Counter(moment.year for moment in tiles["acquired"].to_pylist() if moment is not None)
    return Coverage(
        cells=len(cells),
        images=len(tiles),
        tiles=dots,
        thinned=step > 1,
        by_continent=[
            {"Continent": CONTINENTS.get(code, "none"), "Places": places[code], "Images": images[code]}
            for code in sorted(places | images, key=lambda code: -places[code] - images[code])
        ],
        by_source=[
            {"Source": name, "Images": count} for name, count in Counter(tiles["source"].to_pylist()).most_common()
        ],
        by_year=[{"Year": str(year), "Images": count} for year, count in sorted(years.items())],
    )
