"""A search as a document: the query with its filters and options, so that the page and the shell ask the same.

Owns the JSON form that the page exports and ``samewhere search --query`` reads. Refuses what is malformed with a
sentence; the query itself is :mod:`indexer.query_json`'s.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, get_args

import shapely

from data.errors import QueryError, SamewhereError
from data.geo import BBox, cell_to_hex, hex_to_cell, validate_lonlat
from indexer.hits import Hit, Target
from indexer.query import Query
from indexer.search import SearchIndex
from indexer.where import Compare, Where

FORMAT = 1
OPTIONS = {"k": 10, "target": "cells", "min_km": 0.0, "spacing_km": 0.0, "view": None}
LISTS = ("countries", "continents", "climates", "sources", "not_ids")


@dataclass(frozen=True)
class Request:
    """One search.

    Attributes:
        query: what is searched for.
        k: how many hits.
        target: ``cells`` or ``tiles``.
        min_km: least distance from the query.
        spacing_km: least distance between hits.
        where: the filters.
        view: how embeddings are compared, None for the default.
    """

    query: Query
    k: int = 10
    target: Target = "cells"
    min_km: float = 0.0
    spacing_km: float = 0.0
    where: Where = field(default_factory=Where)
    view: str | None = None

    def run(self, index: SearchIndex) -> list[Hit]:
        """The hits.

        Raises:
            SamewhereError: the index cannot answer.
        """
        return index.search(
            self.query,
            k=self.k,
            target=self.target,
            min_km=self.min_km,
            spacing_km=self.spacing_km,
            where=self.where,
            view=self.view,
        )

    def to_json(self) -> dict[str, Any]:
        """The document, as data that ``json.dumps`` takes."""
        options = {name: getattr(self, name) for name in OPTIONS}
        return {"format": FORMAT, "query": self.query.to_json(), **options, "where": write_where(self.where)}


def is_request(given: Any) -> bool:
    """Whether data is a whole request rather than a bare query."""
    return isinstance(given, dict) and isinstance(given.get("query"), dict)


def read_request(given: Any) -> Request:
    """Read what :meth:`Request.to_json` gave.

    Raises:
        QueryError: it is no request; the sentence says where.
    """
    if not is_request(given):
        raise QueryError("The file holds no search: an object with a query is expected.")
    unknown = set(given) - {"format", "query", "where", *OPTIONS}
    if given.get("format", FORMAT) != FORMAT or unknown:
        seen = f"the unknown {', '.join(sorted(map(str, unknown)))[:60]}" if unknown else "another format"
        raise QueryError(f"The search cannot be read: it has {seen}.")
    values = {name: given.get(name, default) for name, default in OPTIONS.items()}
    for name in ("k", "min_km", "spacing_km"):
        value = values[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise QueryError(f"{name}: expected a number, got {str(value)[:40]!r}.")
    if values["target"] not in get_args(Target) or not isinstance(values["view"], str | None):
        raise QueryError("target is cells or tiles, view the name of a view or null.")
    return Request(Query.from_json(given["query"]), where=read_where(given.get("where", {})), **values)


def write_where(where: Where) -> dict[str, Any]:
    """Filters as plain data; what does not filter is left out."""
    out: dict[str, Any] = {name: list(values) for name in LISTS if (values := getattr(where, name))}
    if where.bbox is not None:
        out["bbox"] = [where.bbox.west, where.bbox.south, where.bbox.east, where.bbox.north]
    if where.polygon is not None:
        out["polygon"] = json.loads(shapely.to_geojson(where.polygon))
    if where.cells:
        out["cells"] = cell_to_hex(where.cells)
    for name in ("after", "before"):
        if (moment := getattr(where, name)) is not None:
            out[name] = moment.isoformat()
    if where.max_cloud_percent is not None:
        out["max_cloud_percent"] = where.max_cloud_percent
    if where.compare:
        out["compare"] = [[one.column, one.operator, one.value] for one in where.compare]
    if where.beyond is not None:
        out["beyond"] = [list(where.beyond[0]), where.beyond[1]]
    return out


def read_where(given: Any) -> Where:
    """Read what :func:`write_where` gave.

    Raises:
        QueryError: a filter cannot be read, or is none.
    """
    if not isinstance(given, dict):
        raise QueryError("where: expected an object of filters.")
    readers: dict[str, Callable[[Any], Any]] = dict.fromkeys(LISTS, _texts) | {
        "bbox": lambda value: BBox(*map(float, value)),
        "polygon": _polygon,
        "cells": lambda value: tuple(hex_to_cell(text) for text in _texts(value)),
        "after": datetime.fromisoformat,
        "before": datetime.fromisoformat,
        "max_cloud_percent": float,
        "compare": lambda value: tuple(Compare(*one) for one in value),
        "beyond": _beyond,
    }
    found = {}
    for name, value in given.items():
        if name not in readers:
            raise QueryError(f"where: there is no filter {str(name)[:40]!r}; there are {', '.join(readers)}.")
        try:
            found[name] = readers[name](value)
        except SamewhereError as error:
            raise QueryError(f"where, {name}: {error}") from error
        except (
            ValueError,
            TypeError,
            LookupError,
            OverflowError,
            RecursionError,
            shapely.errors.GEOSException,
        ) as error:
            raise QueryError(f"where, {name}: cannot be read ({str(error)[:80]}).") from error
    return Where(**found)


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) and len(one) <= 200 for one in value):
        raise ValueError("a list of texts is expected")
    return tuple(value)


def _polygon(value: Any) -> shapely.Geometry:
    shape = shapely.from_geojson(json.dumps(value))
    if shape.geom_type not in ("Polygon", "MultiPolygon") or shape.is_empty:
        raise ValueError(f"it is a {shape.geom_type}")
    return shape


def _beyond(value: Any) -> tuple[tuple[float, float], float]:
    point = validate_lonlat([value[0]])[0]
    return (float(point[0]), float(point[1])), float(value[1])
