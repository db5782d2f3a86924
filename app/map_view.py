"""What the maps show: plain data for the flat map, and a pydeck globe.

Two maps, because no one of them can do both. The flat one is a component of our own: a click anywhere on *the* map
chooses a place, which ``st.pydeck_chart`` cannot report, and choosing a hit flies there at once, without a rerun. The
globe is pydeck's: nothing is stretched towards the poles, and clicking a hit selects it. Only one is drawn at a time,
from the same answer, in the same colours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from app.answer import Answer, Pin
from app.field_image import MERCATOR_LAT_DEG
from app.gallery import lonlat_text
from app.ingredients import LonLat
from app.url_state import PageQuery
from data.geo import cell_boundary

if TYPE_CHECKING:
    import pydeck

ROSE, WHITE, INK, BLUE, ORANGE = [255, 77, 109], [255, 255, 255], [11, 26, 43], [92, 200, 255], [255, 159, 67]
WORLD = [-180.0, -MERCATOR_LAT_DEG, 180.0, MERCATOR_LAT_DEG]
GLOBE_ZOOM = 1.75
CAPS = [
    {
        "ring": [
            [lon, sign * lat] for lat, lons in ((84.5, range(-180, 181, 15)), (90, (180, 0, -180))) for lon in lons
        ],
        "fill": fill,
    }
    for sign, fill in ((1, [10, 30, 80]), (-1, [225, 230, 238]))
]
"""The caps beyond the Mercator square: the Arctic Ocean and the Antarctic ice."""
ABOVE_M = 150_000
"""Marks on the globe float over it, or its surface would cut through them."""
PIN_M, OUTLINE_M, STEP_DEG = 130_000, 60_000, 2.0
LAYERS_M = 100_000
"""The better hit floats higher, and its number above it, so that marks cover each other whole."""


def hit_marks(answer: Answer | None) -> list[dict[str, Any]]:
    """Hits as the flat map draws them; rings are open, in degrees, and may pass ±180."""
    return [
        {
            "id": hit.id,
            "rank": hit.rank,
            "lon": hit.lon,
            "lat": hit.lat,
            "ring": cell_boundary(hit.cell).round(4).tolist(),
        }
        for hit in (answer.hits if answer else ())
    ]


def flat_map(
    answer: Answer | None,
    asked: PageQuery,
    *,
    page: str,
    hint: str,
    first: str | None = None,
    drawn: Sequence[LonLat] = (),
) -> dict[str, Any]:
    """The flat map's data. Choosing a hit changes nothing here, so that nothing large is sent again.

    Args:
        answer: what to draw, or None.
        asked: the query, for its box, its area, and its place while there is no answer.
        page: URL of ``map.html``.
        hint: a sentence over the map, '' for none.
        first: id of the hit that is chosen when this answer is first drawn.
        drawn: corners of an area that was drawn and is not used yet.
    """
    return plain_map(page=page, token=answer.token if answer else "", hint=hint) | {
        "field": answer.field if answer else None,
        "hits": hit_marks(answer),
        "selected": first,
        "pins": [{"lon": pin.lonlat[0], "lat": pin.lonlat[1], "like": pin.like} for pin in pins_of(answer, asked)],
        "bbox": [asked.bbox.west, asked.bbox.south, asked.bbox.east, asked.bbox.north] if asked.bbox else None,
        "area": [list(point) for point in (drawn or asked.area)],
        "draws": True,
    }


def pins_of(answer: Answer | None, asked: PageQuery) -> tuple[Pin, ...]:
    """Where the ingredients lie; the first place while there is no answer yet."""
    if answer:
        return answer.pins
    return (Pin(asked.place, asked.weight > 0),) if asked.kind == "place" and asked.place else ()


def plain_map(
    *, page: str, token: str, hint: str = "", field: str | None = None, pins: Sequence[LonLat] = ()
) -> dict[str, Any]:
    """A flat map without hits, as the other pages draw it.

    Args:
        page: URL of ``map.html``.
        token: the same for the same content.
        hint: a sentence over the map.
        field: a raster in Web Mercator as a ``data:`` URL.
        pins: places to mark.
    """
    return {
        "page": page,
        "token": token,
        "hint": hint,
        "field": field,
        "hits": [],
        "selected": None,
        "pins": [{"lon": lon, "lat": lat, "like": True} for lon, lat in pins],
        "bbox": None,
        "area": [],
        "draws": False,
        "lines": [],
        "dots": [],
    }


def outline(corners: Sequence[LonLat]) -> list[list[float]]:
    """A closed ring over the globe: (lon, lat, metres) every two degrees or nearer, straight in degrees as filters are.

    The globe draws chords from point to point, which would dive below its surface.
    """
    path: list[list[float]] = []
    for (lon, lat), (next_lon, next_lat) in zip(corners, [*corners[1:], *corners[:1]], strict=True):
        steps = max(1, math.ceil(max(abs(next_lon - lon), abs(next_lat - lat)) / STEP_DEG))
        for step in range(steps):
            part = step / steps
            path.append([lon + part * (next_lon - lon), lat + part * (next_lat - lat), OUTLINE_M])
    return [*path, path[0]]


def globe(
    answer: Answer | None, asked: PageQuery, *, chosen: str | None, static: str, drawn: Sequence[LonLat] = ()
) -> pydeck.Deck:
    """The same as a pydeck globe. Its layer ``hits`` is the one to select from; objects carry ``id``.

    Args:
        answer: what to draw, or None.
        asked: the query, for its box, its area, and its place while there is no answer.
        chosen: id of the hit to turn to and mark.
        static: URL of the folder with the base pictures.
        drawn: corners of an area that was drawn and is not used yet.
    """
    import pydeck  # pandas comes with it: half a second that the flat map does not need

    hits = answer.hits if answer else ()
    marks = [
        {
            "id": hit.id,
            "rank": str(hit.rank),
            "at": [hit.lon, hit.lat, ABOVE_M + LAYERS_M * (1 - n / len(hits))],
            "over": [hit.lon, hit.lat, ABOVE_M + LAYERS_M * (1 - (n - 0.5) / len(hits))],
            "where": lonlat_text(hit.lon, hit.lat),
            "score": f"{hit.score:.2f}",
            "fill": ROSE if hit.id == chosen else WHITE,
            "ink": WHITE if hit.id == chosen else INK,
        }
        for n, hit in enumerate(hits)
    ]
    picture = {"bounds": WORLD, "_image_coordinate_system": "'cartesian'"}
    layers = [
        pydeck.Layer(
            "SolidPolygonLayer", CAPS, id="caps", get_polygon="ring", get_fill_color="fill", filled=True, extruded=False
        ),
        pydeck.Layer("BitmapLayer", id="blue-marble", image=f"'{static}/blue_marble.jpg'", **picture),
        pydeck.Layer(
            "GeoJsonLayer",
            f"{static}/countries.geojson",
            id="countries",
            filled=False,
            stroked=True,
            get_line_color=[255, 255, 255, 80],
            line_width_units="'pixels'",
            get_line_width=0.7,
        ),
        pydeck.Layer(
            "H3HexagonLayer",
            marks,
            id="hexes",
            get_hexagon="id",
            extruded=False,
            filled=True,
            stroked=True,
            get_fill_color=[255, 255, 255, 40],
            get_line_color="fill",
            line_width_min_pixels=1.5,
        ),
        pydeck.Layer(
            "ScatterplotLayer",
            marks,
            id="hits",
            pickable=True,
            get_position="at",
            radius_units="'pixels'",
            get_radius=11,
            billboard=True,
            get_fill_color="fill",
            stroked=True,
            get_line_color=INK,
            line_width_units="'pixels'",
            get_line_width=1.5,
        ),
        pydeck.Layer(
            "TextLayer",
            marks,
            id="ranks",
            get_position="over",
            get_text="rank",
            get_size=12,
            get_color="ink",
            parameters={"cullMode": "none"},
        ),
    ]
    if answer:
        layers.insert(2, pydeck.Layer("BitmapLayer", id="field", image=f"'{answer.field}'", **picture))
    rings = [list(ring) for ring in (drawn or asked.area,) if ring]
    if asked.bbox:
        west, south, north = asked.bbox.west, asked.bbox.south, asked.bbox.north
        east = asked.bbox.east + (360 if asked.bbox.east < west else 0)
        rings.append([(west, south), (east, south), (east, north), (west, north)])
    if rings:
        layers.append(
            pydeck.Layer(
                "PathLayer",
                [{"path": outline(ring)} for ring in rings],
                id="areas",
                get_path="path",
                get_color=BLUE,
                width_units="'pixels'",
                get_width=2,
                billboard=True,
            )
        )
    pins = pins_of(answer, asked)
    if pins:
        shown = [
            {
                "at": [*pin.lonlat, PIN_M],
                "over": [*pin.lonlat, PIN_M * 1.2],
                "ink": BLUE if pin.like else ORANGE,
                "sign": "•" if pin.like else "×",
            }
            for pin in pins
        ]
        layers.append(
            pydeck.Layer(
                "ScatterplotLayer",
                shown,
                id="pins",
                get_position="at",
                radius_units="'pixels'",
                get_radius=10,
                billboard=True,
                get_fill_color=[*INK, 150],
                stroked=True,
                get_line_color="ink",
                line_width_units="'pixels'",
                get_line_width=2.5,
            )
        )
        layers.append(
            pydeck.Layer(
                "TextLayer",
                shown,
                id="pin-signs",
                get_position="over",
                get_text="sign",
                character_set="'•×'",
                get_size=20,
                get_color="ink",
                parameters={"cullMode": "none"},
            )
        )
    turned_to = next(((hit.lon, hit.lat) for hit in hits if hit.id == chosen), pins[0].lonlat if pins else None)
    lon, lat = turned_to or (10.0, 25.0)
    return pydeck.Deck(
        layers=layers,
        views=[pydeck.View("_GlobeView", controller=True)],
        initial_view_state=pydeck.ViewState(longitude=lon, latitude=lat, zoom=GLOBE_ZOOM, min_zoom=0.5, max_zoom=6),
        map_provider=None,
        map_style=None,
        tooltip={"text": "{rank}: {where}\nscore {score}"},
        parameters={"cull": True},
    )
