"""The answer to one query of the page: hits, the field as a picture, and what should be said about them.

Owns how the page's ingredients become one query, the order of the work, and the sentences that qualify an answer. Knows
nothing of Streamlit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import shapely
from numpy.typing import NDArray

from app.conditions import where_of
from app.field_image import Legend, data_url, draw_field
from app.ingredients import Ingredient, LonLat, Vote
from app.request import Request
from app.samples import SAMPLES
from app.url_state import PageQuery
from data.blue_marble import BlueMarble
from data.errors import QueryError
from data.geo import edge_km, great_circle_km, hex_to_cell
from data.land import is_land
from data.patch import Patch
from indexer.feedback import Check
from indexer.hits import Hit
from indexer.query import Query
from indexer.search import SearchIndex
from indexer.sources import THUMBNAIL_PX, jpeg
from indexer.where import Where

EXAMPLES_BACKGROUND = 300
"""Random cells beside the examples of a classifier."""


@dataclass(frozen=True)
class Pin:
    """Where an ingredient lies, and whether it is liked."""

    lonlat: LonLat
    like: bool


@dataclass(frozen=True)
class Answer:
    """What came of a query.

    Attributes:
        token: the same for the same question, another for another.
        hits: best first.
        thumbnails: a ``data:`` URL for each hit, '' where there is no picture.
        field: the field as a ``data:`` URL.
        legend: what its colours mean.
        lonlat: where the query lies, or None where that is not known or it lies at several places.
        notes: sentences that the reader should know.
        pins: places of the ingredients.
        request: the search as a document; None where an answer was put together by hand.
        check: how the classifier did on held-out examples, where there is one and enough of them.
    """

    token: str
    hits: tuple[Hit, ...]
    thumbnails: tuple[str, ...]
    field: str
    legend: Legend
    lonlat: tuple[float, float] | None
    notes: tuple[str, ...] = ()
    pins: tuple[Pin, ...] = ()
    request: Request | None = None
    check: Check | None = None


def token_of(asked: PageQuery, upload: str | None, index: str) -> str:
    """A name for a question. Which hit is chosen and how the map is drawn are no part of it.

    Args:
        asked: the query.
        upload: digest of the uploaded image, if there is one.
        index: a name of the index that is asked.
    """
    question = replace(asked, hit=None, projection="flat")
    return hashlib.sha256(f"{question!r} {upload} {index}".encode()).hexdigest()[:16]


def is_asked(asked: PageQuery, patch: Patch | None) -> bool:
    """Whether there is anything to search for."""
    base = asked.place is not None if asked.kind == "place" else patch is not None
    return base or bool(asked.also or asked.likes)


def to_query(
    asked: PageQuery,
    patch: Patch | None,
    index: SearchIndex | None = None,
    uploads: Mapping[str, Patch] | None = None,
) -> Query | None:
    """The index's query, or None while nothing is chosen.

    One liked ingredient is asked as it is; several are weighed against each other; with votes, all of them are examples
    of a classifier.

    Args:
        asked: what the page asks.
        patch: the image, where it asks with one.
        index: for the mean of areas.
        uploads: further images by their digest.

    Raises:
        QueryError: an area holds no cell, or an image is not here.
    """
    parts: list[tuple[float, Query]] = []
    base = Query.image(patch) if patch and asked.kind == "image" else None
    if asked.kind == "place" and asked.place:
        base = Query.place(*asked.place)
    if base:
        parts.append((asked.weight, base))
    parts += [(one.weight, _query(one, index, uploads or {})) for one in asked.also]
    if asked.has_votes:
        likes = [query for weight, query in parts if weight > 0] + [_row(vote) for vote in asked.likes]
        unlikes = [query for weight, query in parts if weight < 0] + [_row(vote) for vote in asked.unlikes]
        return Query.examples(likes, unlikes, background=EXAMPLES_BACKGROUND) if likes else None
    if not parts:
        return None
    return parts[0][1] if len(parts) == 1 and parts[0][0] > 0 else Query.mix(parts)


def _row(vote: Vote) -> Query:
    return Query.cell(vote.id) if vote.target == "cells" else Query.tile(vote.id)


def _query(one: Ingredient, index: SearchIndex | None, uploads: Mapping[str, Patch]) -> Query:
    if one.kind == "place" and one.place:
        return Query.place(*one.place)
    if one.kind == "sample":
        return Query.image(SAMPLES[one.id].patch())
    if one.kind in ("cell", "tile"):
        return Query.cell(one.id) if one.kind == "cell" else Query.tile(one.id)
    if one.kind == "upload":
        if one.id not in uploads:
            raise QueryError(f"The image {one.label or one.id} is not here any more. Take it out, or upload it again.")
        return Query.image(uploads[one.id])
    if index is None:
        raise QueryError("The mean of an area can only be asked of an index.")
    mean = index.mean_vector(Where(polygon=shapely.Polygon(one.area)))
    if mean is None:
        raise QueryError("The drawn area holds no land cell of this index. Draw a larger one.")
    return Query.from_vector(mean, fingerprint=index.manifest.checkpoint["fingerprint"])


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
    where, min_km = where_of(asked), float(asked.min_km_used)
    placed = bool(query.places) or any(sign > 0 and leaf.kind == "tile" for sign, leaf in query.leaves())
    if not placed:
        notes.append(
            "The image carries no coordinates, so distances from it cannot be told."
            if query.kind == "image"
            else "What you ask with lies at no known place, so distances from it cannot be told."
        )
        if min_km:
            notes.append("The least distance from the query was left out for the same reason.")
            min_km = 0.0
    elif query.kind == "place" and query.lonlat and not is_land(np.array(query.lonlat)):
        notes.append("This point is not on land. The encoders have only seen land, so take the answer with salt.")
    if asked.has_votes and min_km:  # hits that were voted for lie all over; only the first place keeps its distance
        where = replace(where, beyond=(asked.place, min_km)) if asked.kind == "place" and asked.place else where
        min_km = 0.0
    view = asked.view_used if asked.view_used in index.views else None
    if asked.view and view is None:
        notes.append("This model compares in one way only, so what the link says of that was left out.")
    if asked.target == "cells" and (asked.after or asked.before or asked.cloud is not None):
        notes.append("Dates and cloud are known of images only, so they do not filter places.")
    request = Request(query, asked.k, asked.target, min_km, float(asked.spacing_km), where, view)
    hits = request.run(index)
    if not hits:
        notes.append("Nothing passes these filters. Widen the area, or make the distances smaller.")
    elif len(hits) < asked.k:
        notes.append(f"Only {len(hits)} of {asked.k} hits pass these filters.")
    scores = index.field(query, view=view)
    picture, legend = draw_field(scores, rows, by_rank=asked.scale == "rank")
    return Answer(
        token=token,
        hits=tuple(hits),
        thumbnails=tuple(thumbnails(index, hits)),
        field=data_url(picture, "image/png"),
        legend=legend,
        lonlat=query.lonlat,
        notes=tuple(notes),
        pins=_pins(query, index),
        request=request,
        check=index.check(query, view=view) if query.kind == "examples" else None,
    )


def _pins(query: Query, index: SearchIndex) -> tuple[Pin, ...]:
    """Where the ingredients lie; those of unknown place have no pin."""
    pins = []
    for sign, leaf in query.leaves():
        place = leaf.lonlat if leaf.kind != "tile" else index.place_of_tile(leaf.id or "")
        if place is not None:
            pins.append(Pin(place, sign > 0))
    return tuple(pins)


def thumbnails(index: SearchIndex, hits: Sequence[Hit]) -> list[str]:
    """A picture for each hit: its own for a tile; for a cell the nearest tile's, or a cut one where none is near."""
    tiles: list[str | None] = [hit.id for hit in hits]
    if hits and hits[0].target == "cells":
        tiles = _near_tiles(index, hits)
    pictures = {tile: data_url(index.thumbnail(tile), "image/jpeg") for tile in set(tiles) if tile is not None}
    alone = [(hit.lon, hit.lat) for hit, tile in zip(hits, tiles, strict=True) if tile is None]
    cut = iter(BlueMarble.open().cut(alone, size_px=THUMBNAIL_PX) if alone else ())
    return [pictures[tile] if tile is not None else data_url(jpeg(next(cut)), "image/jpeg") for tile in tiles]


def _near_tiles(index: SearchIndex, hits: Sequence[Hit]) -> list[str | None]:
    """The tile nearest to each cell, None where the cell's centre is not in its picture and it not in the cell."""
    if not len(index.tiles()):
        return [None] * len(hits)
    places = np.array([(hit.lon, hit.lat) for hit in hits])
    nearest = index.nearest_tile(places)
    rows = [row for row in index.store.rows_of("tiles", nearest) if row is not None]
    table = index.store.take("tiles", rows)
    centres = np.stack([table["lon"].to_numpy(), table["lat"].to_numpy()], axis=1)
    sides = [side or 0.0 for side in table["footprint_km"].to_pylist()]
    return [
        tile if km <= max(side / 2, edge_km(hex_to_cell(hit.id))) else None
        for hit, tile, km, side in zip(hits, nearest, great_circle_km(places, centres).tolist(), sides, strict=True)
    ]
