"""The left column: what to search for, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import partial

import streamlit as st

from app import actions, preview
from app.climates import CLIMATES, climate_name
from app.conditions import in_words
from app.ingredients import MOST, MOST_WEIGHT, Ingredient
from app.samples import SAMPLES
from app.state import Asked, find_place, layers, place_text, upload_key, uploaded
from app.url_state import CONTINENTS, K_MAX, KM_MAX
from data import atlas, gazetteer
from data.bands import GSD_M
from data.display import picture as picture_of
from data.patch import Patch

KIND = {"place": "A place", "image": "An image"}
VIEW = {"both": "Landscape and exact spot", "smooth": "Kind of landscape", "sharp": "Exact spot"}
TARGET = {"cells": "Places", "tiles": "Images"}
SIGN = {"like": "Like", "unlike": "Unlike"}
FIRST_DAY = date(1972, 1, 1)
"""Before any civil satellite looked."""
FORMATS = ["tif", "tiff", "npy", "npz", "png", "jpg", "jpeg"]
UPLOAD_HELP = "GeoTIFF (12 or 13 Sentinel-2 bands, or red, green and blue), NPY, PNG or JPEG, up to 32 MB."
UPLOAD_SENTINEL_HELP = "GeoTIFF or NPY with 12 or 13 Sentinel-2 bands, which this model needs, up to 32 MB."
VIEW_HELP = (
    "**Kind of landscape** compares what is general: climate, cover, terrain. "
    "**Exact spot** compares what is particular, and is best for *where was this taken*. "
    "**Landscape and exact spot** compares both, the landscape first; in our measurements it is the best first choice."
)
TARGET_HELP = (
    "**Places** are hexagonal cells that cover all land, 45 km across, known to the model by their coordinates alone. "
    "**Images** are pictures of 237 km, known by what is seen in them."
)
TARGET_ADDED_HELP = (
    "**Places** are hexagonal cells of land, known to the model by their coordinates alone. "
    "**Images** are the pictures of the datasets that were added, known by what is seen in them."
)
WEIGHT_HELP = (
    "Each ingredient counts as much as it weighs; hits keep away from what is unliked. A hit's score is the weighted "
    "mean of its similarities."
)


def what(asked: Asked, *, blue_marble: bool) -> None:
    """Ask for a place or an image; ``blue_marble`` is what the model sees, and what the sample images are."""
    st.segmented_control(
        "Find places like", KIND, format_func=KIND.__getitem__, key="kind", required=True, width="stretch"
    )
    if asked.query.kind == "place":
        st.text_input(
            "Place name, or longitude and latitude",
            key="place_text",
            placeholder="Rome   or   12.49, 41.89",
            help="A city of 15,000 people or more, perhaps with its country (Paris, USA); or decimal degrees, "
            "longitude first. Or click the map.",
            on_change=actions.on_place,
        )
        if problem := asked.problems.get("place"):
            st.error(problem)
        elif not _named(st.session_state["place_text"]):
            _examples()
        return
    st.file_uploader(
        "Drop a Sentinel-2 GeoTIFF here",
        FORMATS,
        key=upload_key(),
        on_change=actions.on_upload,
        help=UPLOAD_HELP if blue_marble else UPLOAD_SENTINEL_HELP,
    )
    if blue_marble or asked.query.sample:
        _samples("or try one of these", "sample", actions.on_sample)


def _samples(label: str, key: str, on_change: Callable[[], None]) -> None:
    """The images that come with the page, to choose one."""
    names = {name: sample.name for name, sample in SAMPLES.items()}
    st.pills(label, names, format_func=names.__getitem__, key=key, on_change=on_change, wrap=True)


def _named(text: str) -> bool:
    """Say which place a typed name was taken for, and offer its namesakes."""
    if not text.strip() or any(character.isdigit() for character in text):
        return False
    point, name = find_place(text)
    st.caption(f"{name}, at {place_text(*point)}")
    others = {place_text(round(p.lon, 3), round(p.lat, 3)): p.title for p in gazetteer.search(text, limit=4)[1:]}
    if others:
        st.pills("or", others, format_func=others.__getitem__, key="namesake", on_change=_namesake, wrap=True)
    return True


def _namesake() -> None:
    if chosen := st.session_state["namesake"]:
        st.session_state["place_text"] = chosen
        st.session_state["namesake"] = None
        actions.on_place()


def show(patch: Patch, *, blue_marble: bool) -> Patch:
    """The image that is asked with, of the size that was typed; ``blue_marble`` is what the model sees."""
    gsd_m = st.session_state["gsd_m"] if uploaded() else None
    sized = replace(patch, gsd_m=float(gsd_m)) if gsd_m else patch
    picture, words = st.columns([1, 2.4], vertical_alignment="center", gap="small")
    picture.image(picture_of(patch), width=72)
    words.caption(preview.caption(sized, blue_marble=blue_marble))
    if uploaded() and (patch.gsd_m is None or gsd_m):
        st.number_input(
            "Metres a pixel", 0.01, 100_000.0, key="gsd_m", placeholder=f"{GSD_M:g}", help="This image does not say."
        )
    return sized


def ingredients(asked: Asked, *, has_base: bool, blue_marble: bool) -> None:
    """The list of ingredients, once there are several, and what adds one."""
    query = asked.query
    if query.also:
        rows: list[tuple[int, str, float]] = []
        if has_base:
            base = lonlat_title(asked) if query.kind == "place" else "The image above"
            rows.append((-1, base, query.weight))
        rows += [(number, actions.title_of(one), one.weight) for number, one in enumerate(query.also)]
        st.markdown("**Ingredients**", help=WEIGHT_HELP)
        for number, title, weight in rows:
            _ingredient(number, title, weight)
    if has_base or query.also:
        with st.popover("Add to the query", icon=":material/add:", width="stretch"):
            _adding(full=len(query.also) >= MOST, blue_marble=blue_marble)
    if query.also or query.has_votes or has_base:
        st.button("Start over", icon=":material/restart_alt:", on_click=actions.start_over, type="tertiary")


def lonlat_title(asked: Asked) -> str:
    """The first place, by name where one was typed."""
    text = st.session_state["place_text"]
    if asked.query.place is None:
        return ""
    return actions.title_of(Ingredient("place", place=asked.query.place, label=text if text[:1].isalpha() else ""))


def _ingredient(number: int, title: str, weight: float) -> None:
    """One row: what it is, liked or not, how much, and away with it."""
    state = st.session_state
    state[f"sign_{number}"] = "like" if weight > 0 else "unlike"
    state[f"size_{number}"] = abs(weight)
    with st.container(border=True, gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.text(title)
            st.button(
                "",
                icon=":material/close:",
                key=f"remove_{number}",
                help="Take it out",
                on_click=partial(actions.remove, number),
                type="tertiary",
            )
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.segmented_control(
                "Like or unlike",
                SIGN,
                format_func=SIGN.__getitem__,
                key=f"sign_{number}",
                on_change=partial(actions.reweigh, number),
                label_visibility="collapsed",
                required=True,
            )
            st.number_input(
                "Weight",
                0.1,
                MOST_WEIGHT,
                step=0.5,
                format="%.1f",
                key=f"size_{number}",
                on_change=partial(actions.reweigh, number),
                label_visibility="collapsed",
                width=90,
            )


def _adding(*, full: bool, blue_marble: bool) -> None:
    if full:
        st.caption(f"That is as many as a query takes ({MOST + 1}).")
        return
    st.text_input("A place", key="add_place", placeholder="Rome   or   12.49, 41.89", on_change=actions.on_add_place)
    st.file_uploader(
        "Images", FORMATS, key=actions.add_upload_key(), accept_multiple_files=True, on_change=actions.on_add_upload
    )
    if blue_marble:
        _samples("Samples", "add_sample", actions.on_add_sample)
    if problem := st.session_state.get("add_problem"):
        st.error(problem)
    st.caption("Or set what a click on the map does, below it; draw an area; or choose a hit.")


def how(asked: Asked, *, blue_marble: bool, tiles: bool) -> None:
    """Ask for the options. There are ways to compare if the model sees the Blue Marble, and images if there are any."""
    kind = asked.query.kind
    if blue_marble:
        st.selectbox("Compare", list(VIEW), format_func=VIEW.__getitem__, key=f"view_{kind}", help=VIEW_HELP)
    with st.container():  # always there: an expander that changes its place is made anew, and shut
        active = in_words(asked.query)
        if active:
            st.caption("Only " + "; ".join(active) + ".")
        if asked.query.area:
            st.button(
                "Search outside the area, too", icon=":material/close:", on_click=actions.drop_area, type="tertiary"
            )
    with st.expander("Filters", icon=":material/filter_alt:"):
        _filters(asked)
    with st.expander("Options", icon=":material/tune:"):
        if tiles or asked.query.target == "tiles":  # a link may ask for them all the same
            help_ = TARGET_HELP if blue_marble else TARGET_ADDED_HELP
            st.segmented_control(
                "Search among", TARGET, format_func=TARGET.__getitem__, key="target", help=help_, required=True
            )
        st.slider("How many", 1, K_MAX, key="k")
        st.number_input(
            "At least this far away (km)",
            0,
            KM_MAX,
            step=50,
            key=f"min_km_{kind}",
            help="From the place that you ask with. 0 allows its neighbours.",
        )
        st.number_input(
            "At least this far apart (km)",
            0,
            KM_MAX,
            step=50,
            key="spacing_km",
            help="From hit to hit. 0 allows ten neighbours in a row.",
        )


def _filters(asked: Asked) -> None:
    names = atlas.countries()
    st.multiselect(
        "Countries",
        sorted(names, key=names.__getitem__),
        format_func=names.__getitem__,
        key="countries",
        placeholder="Any country",
    )
    st.multiselect(
        "Continents",
        list(CONTINENTS),
        format_func=CONTINENTS.__getitem__,
        key="continents",
        placeholder="Any continent",
        help="A place belongs to its country's continent, so all of Russia is in Europe.",
    )
    options = list(CLIMATES) + [code for code in st.session_state["climates"] if code not in CLIMATES]
    st.multiselect("Climates", options, format_func=climate_name, key="climates", placeholder="Any climate")
    units = {variable.name: variable.unit for variable in atlas.variables()}
    titles = {name: name.replace("_", " ").capitalize() for name in layers()}
    st.multiselect(
        "Limits",
        list(titles),
        format_func=titles.__getitem__,
        key="limits",
        placeholder="Elevation, temperature, …",
        help="Values of the atlas at the centre of a place; no model is asked.",
    )
    for name in st.session_state["limits"]:
        low, high = st.columns(2, gap="small")
        low.number_input(f"{titles[name]}, from ({units[name]})", value=None, key=f"low_{name}")
        high.number_input("to", value=None, key=f"high_{name}")
    st.text_input(
        "Inside west, south, east, north",
        key="bbox_text",
        placeholder="-10, 35, 30, 60",
        help="In degrees. A west larger than the east crosses the antimeridian. Or draw an area on the map.",
    )
    if problem := asked.problems.get("bbox"):
        st.error(problem)
    if asked.query.target == "tiles":
        first, last = st.columns(2, gap="small")
        first.date_input("Taken from", value=None, min_value=FIRST_DAY, key="after")
        last.date_input("before", value=None, min_value=FIRST_DAY, key="before")
        st.number_input(
            "Cloud at most (%)",
            0.0,
            100.0,
            value=None,
            step=5.0,
            key="cloud",
            help="Images of unknown cloud or time are left out.",
        )


def _examples() -> None:
    """Places to try, as buttons."""
    names = {key: sample.name for key, sample in SAMPLES.items()}
    st.pills("or try", names, format_func=names.__getitem__, key="example", on_change=_try, wrap=True)


def _try() -> None:
    sample = SAMPLES.get(st.session_state["example"] or "")
    st.session_state["example"] = None
    if sample:
        actions.go_to(sample.lon, sample.lat)
