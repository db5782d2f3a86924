"""The search page's state: what the widgets say, as one :class:`PageQuery`, kept the same as the URL.

Owns the keys of the widgets and the order of things: the URL sets the widgets when it changes (first visit, a pasted
link, the browser's back button), the widgets set the URL when they change. Nothing else touches the query string. What
happens on clicks and votes is :mod:`app.actions`'.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import streamlit as st

from app.samples import SAMPLES
from app.url_state import KM_MAX, MIN_KM, Kind, Limit, PageQuery, bbox_text, number, read_query, write_query
from data import atlas, gazetteer
from data.errors import SamewhereError
from data.geo import BBox, parse_place

KINDS: tuple[Kind, ...] = ("place", "image")
WIDGETS = (
    *("kind", "place_text", "sample", "k", "target", "spacing_km", "bbox_text", "countries", "projection", "gsd_m"),
    *("continents", "climates", "limits", "after", "before", "cloud", "scale", "click"),
    *(f"{part}_{kind}" for part in ("view", "min_km") for kind in MIN_KM),
)
"""Keys of widgets whose values outlive a run that does not draw them."""

NO_NUMBER = re.compile(r"\s*[+-]?(nan|inf(inity)?)\b", re.IGNORECASE)
"""What reads as a number but is none; Nantes is a place."""


@dataclass(frozen=True)
class Asked:
    """The query that the widgets say, and sentences for what cannot be read, by widget."""

    query: PageQuery
    problems: dict[str, str]


def layers() -> tuple[str, ...]:
    """The atlas's layers of numbers."""
    return tuple(name for name in atlas.names() if name not in ("country", "koppen"))


def from_url() -> None:
    """Set the widgets from the URL, where that is not what this session wrote there itself.

    A page that is come back to has an empty URL and keeps what it showed.
    """
    params = st.query_params.to_dict()
    came_back = st.session_state.get("page") not in (None, "search")
    st.session_state["page"] = "search"
    if params == st.session_state.get("written") or (came_back and not params and "written" in st.session_state):
        return
    parsed = read_query(params, samples=SAMPLES, countries=atlas.countries(), layers=layers())
    if not params:  # another page may have chosen an index
        parsed = replace(parsed, query=replace(parsed.query, index=st.session_state.get("index")))
    fill(parsed.query)
    st.session_state["complaints"] = parsed.complaints
    st.session_state["complained_of"] = write_query(parsed.query)
    st.session_state["written"] = params


def to_url(query: PageQuery) -> None:
    """Write the query to the URL, if it says something else."""
    params = write_query(query)
    if params != st.query_params.to_dict():
        st.query_params.from_dict(params)
    st.session_state["written"] = params


def complaint(query: PageQuery) -> str:
    """What the link got wrong, as one text; '' once something else is asked."""
    if st.session_state["complained_of"] != write_query(query):
        st.session_state["complaints"] = ()
    return "\n\n".join(st.session_state["complaints"])


def fill(query: PageQuery) -> None:
    """Set every widget."""
    state = st.session_state
    state["kind"] = query.kind
    state["place_text"] = place_text(*query.place) if query.place else ""
    state["sample"] = query.sample
    state["k"] = query.k
    state["target"] = query.target
    for kind in KINDS:
        of_kind = query if query.kind == kind else PageQuery(kind=kind)
        state[f"view_{kind}"] = of_kind.view_used
        state[f"min_km_{kind}"] = of_kind.min_km_used
    state["spacing_km"] = query.spacing_km
    state["bbox_text"] = bbox_text(query.bbox) if query.bbox else ""
    for name in ("countries", "continents", "climates"):
        state[name] = list(getattr(query, name))
    state["limits"] = [name for name, _, _ in query.limits]
    for name, low, high in query.limits:
        state[f"low_{name}"], state[f"high_{name}"] = low, high
    for name in (
        "projection",
        "scale",
        "after",
        "before",
        "cloud",
        "weight",
        "also",
        "likes",
        "unlikes",
        "area",
        "index",
    ):
        state[name] = getattr(query, name)
    if query.sample and uploaded():  # a file that stays in its uploader would win over the sample
        state["uploader"] = state.get("uploader", 0) + 1
    state["drawn"] = ()
    state["hit"] = state["link_hit"] = query.hit


def read() -> Asked:
    """Read every widget."""
    state = st.session_state
    problems: dict[str, str] = {}
    kind: Kind = state["kind"] or "place"
    place: tuple[float, float] | None = None
    bbox: BBox | None = None
    if text := state["place_text"].strip():
        try:
            place = find_place(text)[0]
        except SamewhereError as error:
            problems["place"] = str(error)
    if text := state["bbox_text"].strip():
        try:
            bbox = BBox.parse(text)
        except SamewhereError as error:
            problems["bbox"] = str(error)
    query = PageQuery(
        kind=kind,
        place=place,
        sample=None if uploaded() else state["sample"],
        k=int(state["k"]),
        target=state["target"] or "cells",
        view=state[f"view_{kind}"],
        min_km=min(int(state[f"min_km_{kind}"] or 0), KM_MAX),
        spacing_km=min(int(state["spacing_km"] or 0), KM_MAX),
        bbox=bbox,
        countries=tuple(state["countries"]),
        hit=state["hit"],
        projection=state["projection"] or "flat",
        weight=state["weight"],
        also=state["also"],
        likes=state["likes"],
        unlikes=state["unlikes"],
        continents=tuple(state["continents"]),
        climates=tuple(state["climates"]),
        limits=tuple(_limit(name) for name in state["limits"]),
        area=state["area"],
        after=_day("after"),
        before=_day("before"),
        cloud=None if state["cloud"] is None else float(state["cloud"]),
        scale=state["scale"] or "score",
        index=state["index"],
    )
    return Asked(query, problems)


def keep() -> None:
    """Hold on to the widgets' values: Streamlit drops those of a widget that a run does not draw.

    They are kept under a name of our own and put back where they are gone. Only there: a value that is set by a run is
    sent to the browser, and would undo what was chosen there while the run went on.
    """
    state = st.session_state
    state.setdefault("gsd_m", None)
    state.setdefault("click", "start")
    drawn = [f"{side}_{name}" for name in layers() for side in ("low", "high")]
    held: dict[str, Any] = state.setdefault("held", {})
    for name in [*WIDGETS, *drawn]:
        if name in state:
            held[name] = state[name]
        elif name in held:
            state[name] = held[name]


def find_place(text: str) -> tuple[tuple[float, float], str]:
    """What was typed as a place: (lon, lat) and a name, '' for coordinates.

    Raises:
        CoordinateError: coordinates that are none.
        QueryError: no place of that name is known.
    """
    if any(character.isdigit() for character in text) or NO_NUMBER.match(text):
        return parse_place(text), ""
    place = gazetteer.find(text)
    return (round(place.lon, 3), round(place.lat, 3)), place.title


def place_text(lon: float, lat: float) -> str:
    """A place as the text field shows it."""
    return f"{number(lon)}, {number(lat)}"


def uploaded() -> tuple[str, bytes] | None:
    """Name and content of the uploaded file."""
    file = st.session_state.get(upload_key())
    return (file.name, file.getvalue()) if file is not None else None


def upload_key() -> str:
    """Key of the uploader that is shown."""
    return f"upload_{st.session_state.get('uploader', 0)}"


def _limit(name: str) -> Limit:
    low, high = (st.session_state.get(f"{side}_{name}") for side in ("low", "high"))
    return name, None if low is None else float(low), None if high is None else float(high)


def _day(name: str) -> date | None:
    value: Any = st.session_state[name]
    return value if isinstance(value, date) else None
