"""The hits in words: what a card of the gallery says. Plain data; the browser lays it out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.answer import Answer


def lonlat_text(lon: float, lat: float) -> str:
    """A point as people write it: ``41.89° N, 12.49° E``."""
    return f"{abs(lat):.2f}° {'S' if lat < 0 else 'N'}, {abs(lon):.2f}° {'W' if lon < 0 else 'E'}"


def cards(answer: Answer, names: Mapping[str, str], facts: Sequence[Sequence[str]] = ()) -> list[dict[str, Any]]:
    """What each card shows.

    Args:
        answer: the hits and their pictures.
        names: country names by alpha-3 code.
        facts: further lines of each card.
    """
    return [
        {
            "id": hit.id,
            "rank": hit.rank,
            "title": names.get(hit.country, "No country"),
            "place": lonlat_text(hit.lon, hit.lat),
            "distance": "" if hit.km is None else f"{hit.km:,.0f} km away",
            "score": hit.score,
            "score_text": f"{hit.score:.2f}",
            "thumbnail": thumbnail,
            "facts": list(facts[number]) if facts else [],
        }
        for number, (hit, thumbnail) in enumerate(zip(answer.hits, answer.thumbnails, strict=True))
    ]
