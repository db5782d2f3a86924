"""The query as a link: what the page asks for, as one value, to and from URL parameters.

Owns the names and limits of the parameters. Everything in a URL is typed by strangers: each value is parsed and bounded
here, a wrong one becomes a sentence and its default, and nothing else ever reads the query string. An uploaded image
cannot stand in a link; a link of such a search carries the options alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal, TypeVar, cast, get_args

from app.ingredients import (
    Ingredient,
    LonLat,
    Vote,
    area_text,
    read_area,
    read_ingredients,
    read_votes,
    read_weight,
    write_ingredients,
    write_votes,
)
from data.errors import CoordinateError, SamewhereError
from data.geo import BBox, parse_place
from indexer.snapshot import NAME
from model.views import DEFAULT_VIEW

Kind = Literal["place", "image"]
Target = Literal["cells", "tiles"]
View = Literal["smooth", "both", "sharp"]
Projection = Literal["flat", "globe"]
Scale = Literal["score", "rank"]
Limit = tuple[str, float | None, float | None]
"""A layer of the atlas and the least and greatest value, None for no bound."""
CONTINENTS = {
    "AF": "Africa",
    "AN": "Antarctica",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "OC": "Oceania",
    "SA": "South America",
}
CLIMATE = re.compile(r"[A-E][A-Za-z]{0,2}")

ID_LENGTH = 200
K_MAX = 100
KM_MAX = 15000
COUNTRIES_MAX = 60
MIN_KM: dict[Kind, int] = {"place": 1000, "image": 0}
"""The best answers around a place are its neighbours, so they are left out; an image should find where it was taken."""
SPACING_KM = 500

T = TypeVar("T")


@dataclass(frozen=True)
class PageQuery:
    """What the page asks for.

    Attributes:
        kind: whether a place or an image is the start.
        place: (lon, lat) degrees, or None while none is chosen.
        sample: key of a sample image, or None.
        k: number of hits, 1…100.
        target: what is searched.
        view: how embeddings are compared; None is the default of the kind.
        min_km: least distance from the query; None is the default of the kind.
        spacing_km: least distance between hits.
        bbox: only hits inside.
        countries: only hits in these, ISO 3166 alpha-3; empty is everywhere.
        hit: id of the hit that is chosen.
        projection: how the map is drawn.
        weight: of the place or image, below 0 for unlike.
        also: further ingredients.
        likes: hits that were called alike; with votes, a classifier ranks the world.
        unlikes: hits that were called unlike.
        continents: only hits in these.
        climates: only hits in these Köppen–Geiger climates, by code or the beginning of one.
        limits: only hits where layers of the atlas lie between bounds.
        area: only hits inside this polygon, its corners.
        after: only tiles of this day or later.
        before: only tiles of earlier days.
        cloud: only tiles with at most so much cloud, %.
        scale: whether colours tell scores or ranks.
        index: name of the index that is asked, None for the embedded one.
    """

    kind: Kind = "place"
    place: tuple[float, float] | None = None
    sample: str | None = None
    k: int = 10
    target: Target = "cells"
    view: View | None = None
    min_km: int | None = None
    spacing_km: int = SPACING_KM
    bbox: BBox | None = None
    countries: tuple[str, ...] = ()
    hit: str | None = None
    projection: Projection = "flat"
    weight: float = 1.0
    also: tuple[Ingredient, ...] = ()
    likes: tuple[Vote, ...] = ()
    unlikes: tuple[Vote, ...] = ()
    continents: tuple[str, ...] = ()
    climates: tuple[str, ...] = ()
    limits: tuple[Limit, ...] = ()
    area: tuple[LonLat, ...] = ()
    after: date | None = None
    before: date | None = None
    cloud: float | None = None
    scale: Scale = "score"
    index: str | None = None

    @property
    def has_votes(self) -> bool:
        """Whether a classifier ranks."""
        return bool(self.likes or self.unlikes)

    @property
    def view_used(self) -> View:
        """The view, default filled in."""
        return self.view or cast(View, DEFAULT_VIEW[self.kind])

    @property
    def min_km_used(self) -> int:
        """The least distance from the query, default filled in."""
        return MIN_KM[self.kind] if self.min_km is None else self.min_km


@dataclass(frozen=True)
class Parsed:
    """A query read from a link, and what could not be read."""

    query: PageQuery
    complaints: tuple[str, ...] = ()


def read_query(
    params: Mapping[str, str],
    *,
    samples: Mapping[str, Any],
    countries: Mapping[str, Any],
    layers: tuple[str, ...] = (),
) -> Parsed:
    """Read URL parameters.

    Args:
        params: name to value, as in the URL. Unknown names are left alone.
        samples: what ``sample`` may name.
        countries: what ``countries`` may name.
        layers: what ``limits`` may name.

    Returns:
        The query, and a sentence for every value that could not be used.
    """
    complaints: list[str] = []

    def take(name: str, parse: Callable[[str], T], default: T) -> T:
        text = params.get(name, "").strip()
        if not text:
            return default
        try:
            return parse(text)
        except (ValueError, SamewhereError) as error:
            reason = str(error) if isinstance(error, SamewhereError) else f"{text[:60]!r} is not {error}."
            complaints.append(f"Left out of the link, {name}: {reason}")
            return default

    place = take("place", parse_place, None)
    sample = take("sample", lambda text: _one_of(text, tuple(samples)), None)
    kind: Kind = "image" if sample or (not place and params.get("from") == "image") else "place"
    query = PageQuery(
        kind=kind,
        place=place,
        sample=sample,
        k=take("k", lambda text: _whole(text, 1, K_MAX), PageQuery.k),
        target=take("target", lambda text: _one_of(text, get_args(Target)), PageQuery.target),
        view=take("view", lambda text: _one_of(text, get_args(View)), None),
        min_km=take("min_km", lambda text: _whole(text, 0, KM_MAX), None),
        spacing_km=take("spacing_km", lambda text: _whole(text, 0, KM_MAX), SPACING_KM),
        bbox=take("bbox", BBox.parse, None),
        countries=take("countries", lambda text: _several(text, countries), ()),
        hit=take("hit", _hit, None),
        projection=take("map", lambda text: _one_of(text, get_args(Projection)), "flat"),
        weight=take("weight", read_weight, 1.0),
        also=take("also", lambda text: read_ingredients(text, samples=samples), ()),
        likes=take("like", read_votes, ()),
        unlikes=take("unlike", read_votes, ()),
        continents=take("continents", lambda text: _several(text, CONTINENTS), ()),
        climates=take("climates", _climates, ()),
        limits=take("limits", lambda text: _limits(text, layers), ()),
        area=take("area", read_area, ()),
        after=take("after", _day, None),
        before=take("before", _day, None),
        cloud=take("cloud", _share, None),
        scale=take("scale", lambda text: _one_of(text, get_args(Scale)), "score"),
        index=take("index", index_name, None),
    )
    if both := set(query.likes) & set(query.unlikes):
        query = replace(query, unlikes=tuple(vote for vote in query.unlikes if vote not in both))
    return Parsed(query, tuple(complaints))


def _hit(text: str) -> str:
    """Id of a cell or a tile."""
    if len(text) > ID_LENGTH or not text.isprintable():
        raise ValueError("the id of a hit")
    return text


def write_query(query: PageQuery) -> dict[str, str]:
    """The parameters of a link that asks the same; what is at its default is left out."""
    params: dict[str, str] = {}
    if query.kind == "place" and query.place:
        params["place"] = ",".join(number(value) for value in query.place)
    if query.kind == "image":
        params |= {"sample": query.sample} if query.sample else {"from": "image"}
    if query.k != PageQuery.k:
        params["k"] = str(query.k)
    if query.target != PageQuery.target:
        params["target"] = query.target
    if query.view_used != DEFAULT_VIEW[query.kind]:
        params["view"] = query.view_used
    if query.min_km_used != MIN_KM[query.kind]:
        params["min_km"] = str(query.min_km_used)
    if query.spacing_km != SPACING_KM:
        params["spacing_km"] = str(query.spacing_km)
    if query.bbox:
        params["bbox"] = bbox_text(query.bbox)
    if query.countries:
        params["countries"] = ",".join(query.countries)
    if query.hit:
        params["hit"] = query.hit
    if query.projection != "flat":
        params["map"] = query.projection
    if query.weight != 1 and ("place" in params or "sample" in params):
        params["weight"] = number(query.weight)
    if also := write_ingredients(query.also):
        params["also"] = also
    if query.likes:
        params["like"] = write_votes(query.likes)
    if query.unlikes:
        params["unlike"] = write_votes(query.unlikes)
    if query.continents:
        params["continents"] = ",".join(query.continents)
    if query.climates:
        params["climates"] = ",".join(query.climates)
    if query.limits:
        params["limits"] = ",".join(f"{name}:{_bound(low)}:{_bound(high)}" for name, low, high in query.limits)
    if query.area:
        params["area"] = area_text(query.area)
    for name, day in (("after", query.after), ("before", query.before)):
        if day:
            params[name] = day.isoformat()
    if query.cloud is not None:
        params["cloud"] = number(query.cloud)
    if query.scale != "score":
        params["scale"] = query.scale
    if query.index:
        params["index"] = query.index
    return params


def number(value: float) -> str:
    """A coordinate in decimal degrees with at most four decimals (11 m), without trailing zeros."""
    return f"{round(value, 4) + 0.0:.4f}".rstrip("0").rstrip(".")  # + 0.0 turns -0 into 0


def bbox_text(bbox: BBox) -> str:
    """A box as users type it."""
    return ",".join(number(value) for value in (bbox.west, bbox.south, bbox.east, bbox.north))


def index_name(text: str) -> str:
    """The name of an index.

    Raises:
        ValueError: it cannot be one; so no name leads out of the folder of indexes.
    """
    if not NAME.fullmatch(text):
        raise ValueError("the name of an index")
    return text


def _climates(text: str) -> tuple[str, ...]:
    codes = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if len(codes) > COUNTRIES_MAX or not all(CLIMATE.fullmatch(code) for code in codes):
        raise ValueError("a list of climates such as Cfb,ET")
    return codes


def _limits(text: str, layers: tuple[str, ...]) -> tuple[Limit, ...]:
    kind = "limits of layers of the atlas such as elevation:1000:2500"
    found: dict[str, Limit] = {}
    for part in text.split(","):
        name, *bounds = part.split(":")
        if name not in layers or len(bounds) != 2:
            raise ValueError(kind)
        try:
            low, high = (float(bound) if bound else None for bound in bounds)
        except ValueError:
            raise ValueError(kind) from None
        if any(bound is not None and not math.isfinite(bound) for bound in (low, high)):
            raise ValueError(kind)
        found[name] = (name, low, high)
    return tuple(found.values())


def _bound(value: float | None) -> str:
    return "" if value is None else number(value)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError("a day such as 2021-06-30") from None


def _whole(text: str, least: int, most: int) -> int:
    kind = f"a whole number from {least} to {most}"
    value = _between(text, least, most, kind)
    if value != int(value):
        raise ValueError(kind)
    return int(value)


def _share(text: str) -> float:
    return _between(text, 0, 100, "a share from 0 to 100")


def _between(text: str, least: float, most: float, kind: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(kind) from None
    if not least <= value <= most:  # nor what is no number
        raise ValueError(kind)
    return value


def _one_of(text: str, allowed: tuple[Any, ...]) -> Any:
    if text not in allowed:
        raise ValueError(f"one of {', '.join(allowed)}")
    return text


def _several(text: str, allowed: Mapping[str, Any]) -> tuple[str, ...]:
    codes = tuple(dict.fromkeys(part.strip().upper() for part in text.split(",")))
    unknown = [code for code in codes if code not in allowed]
    if unknown or len(codes) > COUNTRIES_MAX:
        raise CoordinateError(
            f"{', '.join(unknown)[:60] or 'so long a list'} cannot be used; give codes such as ITA,ESP."
        )
    return codes
