"""The page's state: what the widgets say, as one :class:`PageQuery`, kept the same as the URL.

Owns the keys of the widgets and the order of things: the URL sets the widgets when it changes (first visit, a pasted
link, the browser's back button), the widgets set the URL when they change. Nothing else touches the query string.
"""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from app import components
from app.samples import SAMPLES
from app.url_state import KM_MAX, MIN_KM, Kind, PageQuery, bbox_text, number, read_query, write_query
from data import atlas
from data.errors import SamewhereError
from data.geo import BBox, parse_place, validate_lonlat

KINDS: tuple[Kind, ...] = ("place", "image")


@dataclass(frozen=True)
class Asked:
    """The query that the widgets say, and sentences for what cannot be read, by widget."""

    query: PageQuery
    problems: dict[str, str]


def from_url() -> None:
    """Set the widgets from the URL, where that is not what this session wrote there itself."""
    params = st.query_params.to_dict()
    if params == st.session_state.get("written"):
        return
    parsed = read_query(params, samples=SAMPLES, countries=atlas.countries())
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
    state["countries"] = list(query.countries)
    state["projection"] = query.projection
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
            place = parse_place(text)
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
    )
    return Asked(query, problems)


def keep() -> None:
    """Hold on to the widgets' values: Streamlit drops those of a widget that a run does not draw."""
    names = ["kind", "place_text", "sample", "k", "target", "spacing_km", "bbox_text", "countries", "projection"]
    st.session_state.setdefault("gsd_m", None)
    for name in [*names, "gsd_m", *(f"{part}_{kind}" for part in ("view", "min_km") for kind in MIN_KM)]:
        st.session_state[name] = st.session_state[name]


def place_text(lon: float, lat: float) -> str:
    """A place as the text field shows it."""
    return f"{number(lon)}, {number(lat)}"


def uploaded() -> tuple[str, bytes] | None:
    """Name and content of the uploaded file."""
    file = st.session_state.get(upload_key())
    return (file.name, file.getvalue()) if file is not None else None


def on_picked() -> None:
    """A click on the empty map: its place is the query now."""
    point = components.event(components.MAP, "picked")
    if not isinstance(point, dict) or not {"lon", "lat"} <= point.keys():
        return
    lon, lat = validate_lonlat((float(point["lon"]), float(point["lat"])), where="map")[0]
    go_to(round(float(lon), 3), round(float(lat), 3))


def go_to(lon: float, lat: float) -> None:
    """Ask for a place."""
    st.session_state["place_text"] = place_text(lon, lat)
    st.session_state["kind"] = "place"
    forget_hit()


def on_hit(component: str) -> None:
    """A hit was chosen, on the map or in the gallery."""
    chosen = components.event(component, "selected")
    if isinstance(chosen, str):
        st.session_state["hit"] = chosen


def on_upload() -> None:
    """An upload replaces the sample."""
    st.session_state["sample"] = None
    st.session_state["gsd_m"] = None
    forget_hit()


def on_sample() -> None:
    """A sample replaces the upload. A file cannot be taken out of the uploader, so the uploader is a new one."""
    st.session_state["uploader"] = st.session_state.get("uploader", 0) + 1
    forget_hit()


def on_projection() -> None:
    """The map that comes next begins with the hit that is chosen now."""
    st.session_state["link_hit"] = st.session_state["hit"]


def forget_hit() -> None:
    """Another question: no hit of it is chosen yet."""
    st.session_state["hit"] = st.session_state["link_hit"] = None


def upload_key() -> str:
    """Key of the uploader that is shown."""
    return f"upload_{st.session_state.get('uploader', 0)}"
