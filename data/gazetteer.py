"""Names of places: cities of 15,000 people or more, and countries.

Owns the look-up of what people type: by name, by other names of large cities, with or without accents, and with the
country behind a comma. The largest place of a name comes first. Cities are GeoNames' (CC BY 4.0), in
``data/atlas/places.tsv.gz``, which ``tools/build_gazetteer.py`` makes.
"""

from __future__ import annotations

import bisect
import difflib
import gzip
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from data import atlas
from data.errors import QueryError

FILE = Path(__file__).parent / "atlas" / "places.tsv.gz"
LONGEST = 100


@dataclass(frozen=True)
class Place:
    """A named place.

    Attributes:
        name: as its people or English speakers write it.
        country: ISO 3166 alpha-3, '' for none.
        lon: degrees.
        lat: degrees.
        population: people.
    """

    name: str
    country: str
    lon: float
    lat: float
    population: int

    @property
    def title(self) -> str:
        """Name and country."""
        country = atlas.countries().get(self.country, "")
        return f"{self.name}, {country}" if country and country != self.name else self.name


def search(text: str, *, limit: int = 6) -> list[Place]:
    """Places of a name, those that bear it first, then those whose name begins so; larger ones first.

    Args:
        text: a name, perhaps with a country by name or code behind a comma: ``Rome``, ``Paris, USA``.
        limit: how many at most.
    """
    name, _, rest = text[:LONGEST].partition(",")
    wanted = plain(name)
    if not wanted:
        return []
    country = ""
    if rest.strip():
        try:
            country = atlas.country_code(rest.strip())
        except QueryError:
            return []
    places, names, rows = _index()
    first = bisect.bisect_left(names, wanted)
    exact, longer = dict[int, None](), dict[int, None]()
    for at in range(first, len(names)):
        if not names[at].startswith(wanted):
            break
        (exact if names[at] == wanted else longer)[rows[at]] = None
    ordered = [*sorted(exact), *(row for row in sorted(longer) if row not in exact)]
    return [places[row] for row in ordered if not country or places[row].country == country][:limit]


def find(text: str) -> Place:
    """The largest place of a name.

    Raises:
        QueryError: there is none; names the closest spellings.
    """
    if found := search(text, limit=1):
        return found[0]
    places, names, rows = _index()
    near = difflib.get_close_matches(plain(text.partition(",")[0]), names[:: max(1, len(names) // 20_000)], n=2)
    close = [places[rows[bisect.bisect_left(names, name)]].title for name in near]
    advice = f"Did you mean {' or '.join(dict.fromkeys(close))}?" if close else "Give coordinates, as 12.49, 41.89."
    raise QueryError(f"No city is called {text[:60]!r}. {advice}")


def largest() -> list[Place]:
    """All places, the largest first."""
    return _index()[0]


def plain(text: str) -> str:
    """A name without accents, case and punctuation."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    kept = (c if c.isalnum() else " " for c in letters if not unicodedata.combining(c) and c not in "'’`.")
    return " ".join("".join(kept).split())


@cache
def _index() -> tuple[list[Place], list[str], list[int]]:
    """All places, the largest first; every spelling in order, and whose it is."""
    places: list[Place] = []
    spellings: list[tuple[str, int]] = []
    for row, line in enumerate(gzip.decompress(FILE.read_bytes()).decode().splitlines()):
        name, others, country, lon, lat, population = line.split("\t")
        places.append(Place(name, country, float(lon), float(lat), int(population)))
        spellings.append((plain(name), row))
        spellings += [(other, row) for other in others.split("|") if other]
    spellings.sort()
    return places, [name for name, _ in spellings], [row for _, row in spellings]
