"""The answer to one query of the page: hits, the field as a picture, and what should be said about them.

Owns the order of the work and the sentences that qualify an answer. Knows nothing of Streamlit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from app.field_image import Legend, data_url, draw_field
from app.url_state import PageQuery
from data.blue_marble import BlueMarble
from data.land import is_land
from data.patch import Patch
from indexer.hits import Hit
from indexer.query import Query
from indexer.search import SearchIndex
from indexer.sources import THUMBNAIL_PX, jpeg


@dataclass(frozen=True)
class Answer:
    """What came of a query.

    Attributes:
        token: the same for the same question, another for another.
        hits: best first.
        thumbnails: a ``data:`` URL for each hit, '' where there is no picture.
        field: the field as a ``data:`` URL.
        legend: what its colours mean.
        lonlat: where the query lies, or None where that is not known.
        notes: sentences that the reader should know.
    """

    token: str
    hits: tuple[Hit, ...]
    thumbnails: tuple[str, ...]
    field: str
    legend: Legend
    lonlat: tuple[float, float] | None
    notes: tuple[str, ...] = ()


def token_of(asked: PageQuery, upload: str | None, index: str) -> str:
    """A name for a question. Which hit is chosen and how the map is drawn are no part of it.

    Args:
        asked: the query.
        upload: digest of the uploaded image, if there is one.
        index: a name of the index that is asked.
    """
    question = replace(asked, hit=None, projection="flat")
    return hashlib.sha256(f"{question!r} {upload} {index}".encode()).hexdigest()[:16]


def to_query(asked: PageQuery, patch: Patch | None) -> Query | None:
    """The index's query, or None while nothing is chosen."""
    if asked.kind == "place":
        return Query.place(*asked.place) if asked.place else None
    return Query.image(patch) if patch else None


def find(index: SearchIndex, rows: NDArray[np.int32], asked: PageQuery, query: Query, *, token: str) -> Answer:
    """Ask an index.

    Args:
        index: the index.
        rows: which cell each pixel of the field shows.
        asked: the options.
        query: what is searched for.
        token: name of the question, from :func:`token_of`.

    Raises:
        SamewhereError: the query cannot be answered.
    """
    notes = []
    min_km = float(asked.min_km_used)
    if query.lonlat is None:
        notes.append("The image carries no coordinates, so distances from it cannot be told.")
        if min_km:
            notes.append("The least distance from the query was left out for the same reason.")
            min_km = 0.0
    elif query.kind == "place" and not is_land(np.array(query.lonlat)):
        notes.append("This point is not on land. The encoders have only seen land, so take the answer with salt.")
    view = asked.view_used if asked.view_used in index.views else None
    if asked.view and view is None:
        notes.append("This model compares in one way only, so what the link says of that was left out.")
    hits = index.search(
        query,
        k=asked.k,
        target=asked.target,
        min_km=min_km,
        spacing_km=float(asked.spacing_km),
        bbox=asked.bbox,
        countries=asked.countries or None,
        view=view,
    )
    if not hits:
        notes.append("Nothing passes these filters. Widen the area, or make the distances smaller.")
    elif len(hits) < asked.k:
        notes.append(f"Only {len(hits)} of {asked.k} hits pass these filters.")
    picture, legend = draw_field(index.field(query, view=view), rows)
    return Answer(
        token=token,
        hits=tuple(hits),
        thumbnails=tuple(_thumbnails(index, hits)),
        field=data_url(picture, "image/png"),
        legend=legend,
        lonlat=query.lonlat,
        notes=tuple(notes),
    )


def _thumbnails(index: SearchIndex, hits: Sequence[Hit]) -> list[str]:
    """A picture for each hit: its own for a tile, the nearest tile's for a cell, a cut one where there are no tiles."""
    if not hits:
        return []
    if not len(index.tiles()):
        cut = BlueMarble.open().cut([(hit.lon, hit.lat) for hit in hits], size_px=THUMBNAIL_PX)
        return [data_url(jpeg(picture), "image/jpeg") for picture in cut]
    tiles = [hit.id for hit in hits]
    if hits[0].target == "cells":
        tiles = index.nearest_tile(np.array([(hit.lon, hit.lat) for hit in hits]))
    pictures = {tile: data_url(index.thumbnail(tile), "image/jpeg") for tile in set(tiles)}
    return [pictures[tile] for tile in tiles]
