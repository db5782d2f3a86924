"""The page's filters as the index takes them, and in words.

Owns the translation of a :class:`PageQuery` into :class:`indexer.where.Where`.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time

import shapely

from app.climates import climate_name
from app.url_state import CONTINENTS, PageQuery
from data import atlas
from indexer.where import Compare, Where


def where_of(asked: PageQuery) -> Where:
    """The page's filters. Dates and cloud are known of tiles alone, so they act only where tiles are searched."""
    tiles = asked.target == "tiles"
    compared: list[Compare] = []
    for name, low, high in asked.limits:
        compared += [Compare(name, ">=", low)] if low is not None else []
        compared += [Compare(name, "<=", high)] if high is not None else []
    return Where(
        bbox=asked.bbox,
        polygon=shapely.Polygon(asked.area) if asked.area else None,
        countries=asked.countries or None,
        continents=asked.continents or None,
        climates=asked.climates or None,
        after=_midnight(asked.after) if tiles and asked.after else None,
        before=_midnight(asked.before) if tiles and asked.before else None,
        max_cloud_percent=asked.cloud if tiles else None,
        compare=tuple(compared),
    )


def in_words(asked: PageQuery) -> list[str]:
    """The filters that act, a few words each."""
    names = atlas.countries()
    words = [names[code] for code in asked.countries] + [CONTINENTS[code] for code in asked.continents]
    words += [climate_name(code) for code in asked.climates]
    units = {variable.name: variable.unit for variable in atlas.variables()} if asked.limits else {}
    for name, low, high in asked.limits:
        unit = units[name]
        title = name.replace("_", " ")
        if low is not None and high is not None:
            words.append(f"{title} {low:g} to {high:g} {unit}")
        elif low is not None or high is not None:
            words.append(
                f"{title} {'from' if low is not None else 'up to'} {low if low is not None else high:g} {unit}"
            )
    words += ["inside the box"] if asked.bbox else []
    words += ["inside the drawn area"] if asked.area else []
    if asked.target == "tiles":
        words += [f"from {asked.after:%d %b %Y}"] if asked.after else []
        words += [f"before {asked.before:%d %b %Y}"] if asked.before else []
        words += [f"cloud up to {asked.cloud:g} %"] if asked.cloud is not None else []
    return words


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)
