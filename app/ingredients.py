"""What a query of the page is put together from: places, images, rows of the index and areas, each liked or unliked.

Owns their form in a link, ``1*place:12.49,41.89;-0.5*cell:841e8a5ffffffff``, and its limits. Everything in a link is
typed by strangers, so a part that cannot be read is refused with a sentence. Uploaded images have no such form.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args
from urllib.parse import quote, unquote

import numpy as np
import shapely

from data.errors import CoordinateError, QueryError
from data.geo import hex_to_cell, parse_place, validate_lonlat
from indexer.hits import Target

Kind = Literal["place", "sample", "cell", "tile", "area", "upload"]
LonLat = tuple[float, float]

MOST = 12
"""Ingredients beside the first."""
MOST_VOTES = 40
MOST_CORNERS = 60
LEAST_WEIGHT, MOST_WEIGHT = 0.1, 5.0
ID_LENGTH = 200


@dataclass(frozen=True)
class Ingredient:
    """One of them.

    Attributes:
        kind: which sort.
        weight: how much it counts, 0.1…5; below 0 the hits shall be unlike it.
        place: (lon, lat) of a place.
        id: of a cell or tile; key of a sample; digest of an upload.
        area: corners of a drawn polygon.
        label: for people; no part of what it is.
    """

    kind: Kind
    weight: float = 1.0
    place: LonLat | None = None
    id: str = ""
    area: tuple[LonLat, ...] = ()
    label: str = field(default="", compare=False)

    def turned(self) -> Ingredient:
        """The same, unliked where it was liked."""
        return replace(self, weight=-self.weight)


@dataclass(frozen=True)
class Vote:
    """A row that was called alike or unlike."""

    target: Target
    id: str


def write_ingredients(ingredients: Iterable[Ingredient]) -> str:
    """The form in a link; uploads are left out."""
    return ";".join(f"{_short(one.weight)}*{one.kind}:{_value(one)}" for one in ingredients if one.kind != "upload")


def read_ingredients(text: str, *, samples: Mapping[str, Any]) -> tuple[Ingredient, ...]:
    """The ingredients of a link.

    Raises:
        QueryError: a part cannot be read, or there are too many.
        CoordinateError: a coordinate or cell that is none.
    """
    parts = [part for part in text.split(";") if part]
    if len(parts) > MOST:
        raise QueryError(f"{len(parts)} ingredients are more than {MOST}.")
    return tuple(_read(part, samples) for part in parts)


def write_votes(votes: Iterable[Vote]) -> str:
    """Rows as ``c:ID;t:ID``."""
    return ";".join(f"{vote.target[0]}:{quote(vote.id, safe='')}" for vote in votes)


def read_votes(text: str) -> tuple[Vote, ...]:
    """The rows of a link.

    Raises:
        QueryError: a part cannot be read, or there are too many.
        CoordinateError: a cell that is none.
    """
    parts = [part for part in text.split(";") if part]
    if len(parts) > MOST_VOTES:
        raise QueryError(f"{len(parts)} examples are more than {MOST_VOTES}.")
    votes = []
    for part in parts:
        letter, found, name = part.partition(":")
        if not found or letter not in ("c", "t"):
            raise QueryError(f"{part[:40]!r} is no example; write c: or t: and an id.")
        target: Target = "cells" if letter == "c" else "tiles"
        votes.append(Vote(target, _id(unquote(name), target)))
    return tuple(dict.fromkeys(votes))


def area_text(area: Iterable[LonLat]) -> str:
    """Corners of a polygon, longitude and latitude in turn."""
    return ",".join(f"{_short(value)}" for point in area for value in point)


def read_area(text: str) -> tuple[LonLat, ...]:
    """A polygon of a link.

    Raises:
        CoordinateError: it is no polygon.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise CoordinateError(f"{text[:40]!r} is no area; give longitudes and latitudes in turn.") from None
    if len(numbers) % 2:
        raise CoordinateError("An area needs a latitude for every longitude.")
    return check_area(list(zip(numbers[::2], numbers[1::2], strict=True)))


def check_area(points: Iterable[Iterable[float]]) -> tuple[LonLat, ...]:
    """Corners that make a polygon: 3 to 60 of them, on the globe, none of its sides crossing another.

    Raises:
        CoordinateError: they do not.
    """
    try:
        corners = [tuple(map(float, point)) for point in points]
    except (TypeError, ValueError, OverflowError) as error:
        raise CoordinateError("An area is a list of points, each a longitude and a latitude in degrees.") from error
    if not 3 <= len(corners) <= MOST_CORNERS:
        raise CoordinateError(f"An area has 3 to {MOST_CORNERS} corners, this one {len(corners)}.")
    validate_lonlat(corners, where="area")
    lonlat = np.array(corners).round(4)  # as they are: across the antimeridian longitudes run on past 180
    if not shapely.Polygon(lonlat).is_valid:
        raise CoordinateError("The sides of the area cross each other. Draw it again, going round it once.")
    return tuple((float(lon), float(lat)) for lon, lat in lonlat)


def _value(one: Ingredient) -> str:
    if one.kind == "place" and one.place:
        return ",".join(map(_short, one.place))
    return area_text(one.area) if one.kind == "area" else quote(one.id, safe="")


def _read(part: str, samples: Mapping[str, Any]) -> Ingredient:
    head, found, value = part.partition(":")
    number, star, kind = head.rpartition("*")
    if not found or kind not in get_args(Kind) or kind == "upload":
        raise QueryError(f"{part[:40]!r} is no ingredient; write a weight, a kind and a value, as 1*place:12.49,41.89.")
    weight = read_weight(number) if star else 1.0
    if kind == "place":
        return Ingredient("place", weight, place=parse_place(value))
    if kind == "area":
        return Ingredient("area", weight, area=read_area(value))
    name = unquote(value)
    if kind == "sample":
        if name not in samples:
            raise QueryError(f"{name[:40]!r} is no sample; there are {', '.join(samples)}.")
        return Ingredient("sample", weight, id=name)
    return Ingredient(
        "cell" if kind == "cell" else "tile", weight, id=_id(name, "cells" if kind == "cell" else "tiles")
    )


def read_weight(text: str) -> float:
    """A weight of a link.

    Raises:
        QueryError: it is none.
    """
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not LEAST_WEIGHT <= abs(weight) <= MOST_WEIGHT:
        raise QueryError(f"{text[:20]!r} is no weight; give {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}, or as much below 0.")
    return round(weight, 2)


def _id(name: str, target: Target) -> str:
    if target == "cells":
        hex_to_cell(name)
    elif not (0 < len(name) <= ID_LENGTH and name.isprintable()):
        raise QueryError("The id of a tile is a short text.")
    return name


def _short(value: float) -> str:
    return f"{round(value, 4) + 0.0:.4f}".rstrip("0").rstrip(".")
