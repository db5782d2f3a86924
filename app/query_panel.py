"""The left column: what to search for, and how."""

from __future__ import annotations

import streamlit as st

from app import preview
from app.samples import SAMPLES
from app.state import Asked, forget_hit, go_to, on_sample, on_upload, upload_key, uploaded
from app.url_state import K_MAX, KM_MAX
from data import atlas
from data.bands import GSD_M
from data.display import picture as picture_of
from data.patch import Patch

KIND = {"place": "A place", "image": "An image"}
VIEW = {"both": "Landscape and exact spot", "smooth": "Kind of landscape", "sharp": "Exact spot"}
TARGET = {"cells": "Places", "tiles": "Images"}
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


def what(asked: Asked, *, blue_marble: bool) -> None:
    """Ask for a place or an image; ``blue_marble`` is what the model sees, and what the sample images are."""
    st.segmented_control(
        "Find places like", KIND, format_func=KIND.__getitem__, key="kind", required=True, width="stretch"
    )
    if asked.query.kind == "place":
        st.text_input(
            "Longitude, latitude",
            key="place_text",
            placeholder="12.49, 41.89",
            help="In decimal degrees, longitude first. Or click the map.",
            on_change=forget_hit,
        )
        if problem := asked.problems.get("place"):
            st.error(problem)
        _examples()
        return
    st.file_uploader(
        "Satellite image",
        FORMATS,
        key=upload_key(),
        on_change=on_upload,
        help=UPLOAD_HELP if blue_marble else UPLOAD_SENTINEL_HELP,
    )
    if blue_marble or asked.query.sample:
        names = {key: sample.name for key, sample in SAMPLES.items()}
        st.pills("or a sample", names, format_func=names.__getitem__, key="sample", on_change=on_sample, wrap=True)


def show(patch: Patch, *, blue_marble: bool) -> None:
    """The image that is asked with; ``blue_marble`` is what the model sees."""
    picture, words = st.columns([1, 2.4], vertical_alignment="center", gap="small")
    picture.image(picture_of(patch), width=72)
    words.caption(preview.caption(patch, blue_marble=blue_marble))
    if uploaded() and (patch.gsd_m is None or st.session_state["gsd_m"]):
        st.number_input(
            "Metres a pixel", 0.01, 100_000.0, key="gsd_m", placeholder=f"{GSD_M:g}", help="This image does not say."
        )


def how(asked: Asked, *, blue_marble: bool) -> None:
    """Ask for the options. Ways to compare and images to search are there if ``blue_marble`` is what the model sees."""
    kind = asked.query.kind
    if blue_marble:
        st.selectbox("Compare", list(VIEW), format_func=VIEW.__getitem__, key=f"view_{kind}", help=VIEW_HELP)
    with st.expander("Options", icon=":material/tune:"):
        if blue_marble or asked.query.target == "tiles":  # a link may ask for them all the same
            st.segmented_control(
                "Search among", TARGET, format_func=TARGET.__getitem__, key="target", help=TARGET_HELP, required=True
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
        names = atlas.countries()
        st.multiselect(
            "Only in",
            sorted(names, key=names.__getitem__),
            format_func=names.__getitem__,
            key="countries",
            placeholder="Any country",
        )
        st.text_input(
            "Only inside west, south, east, north",
            key="bbox_text",
            placeholder="-10, 35, 30, 60",
            help="In degrees. A west larger than the east crosses the antimeridian.",
        )
        if problem := asked.problems.get("bbox"):
            st.error(problem)


def _examples() -> None:
    """Places to try, as buttons."""
    names = {key: sample.name for key, sample in SAMPLES.items()}
    st.pills("or try", names, format_func=names.__getitem__, key="example", on_change=_try, wrap=True)


def _try() -> None:
    sample = SAMPLES.get(st.session_state["example"] or "")
    st.session_state["example"] = None
    if sample:
        go_to(sample.lon, sample.lat)
