"""What several pages share of the open index: waiting for it, its vectors, and maps that are drawn once for everybody.

Owns the caches of these maps: one copy for all sessions, by index. Each is kept until another index pushes it out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from app import components, regions, resources
from app.field_image import data_url
from app.mapped import Mapped, What, map_cells
from app.resources import Ready
from data.errors import SamewhereError
from data.geo import Floats
from indexer.encoder import Vectors

if TYPE_CHECKING:
    from model.predict import Predictor

__all__ = ["Ready"]

KEPT = 4


def index() -> Ready | None:
    """The index that this session asks, opened if need be; None, with a sentence, where it cannot be had."""
    name = st.query_params.get("index", st.session_state.get("index"))
    try:
        resources.index_path(name)
        st.session_state["index"] = name
        if ready := resources.ready_now(name):
            return ready
        with working("Waking the model up"):
            return resources.get_ready(name)
    except SamewhereError as error:
        st.error(str(error))
        return None


def linked(params: dict[str, str]) -> dict[str, str]:
    """The parameters of a link, with the index that is asked."""
    name = st.session_state.get("index")
    return params | ({"index": name} if name else {})


@contextlib.contextmanager
def working(text: str) -> Iterator[None]:
    """Say what takes a while."""
    with st.spinner(f"{text}…", show_time=True):
        yield


def map_page() -> str:
    """URL of the map's frame."""
    return f"{components.static_url()}/map/map.html"


def map_(data: dict[str, Any], *, key: str, on_picked: Callable[[], None], **events: Any) -> None:
    """A flat map under a key of its own, so that each page keeps its own view."""
    components.flat_map(data, key=key, on_picked=on_picked, **events)


@st.cache_resource(max_entries=2, show_spinner=False)
def _vectors(name: str, _ready: Ready) -> Vectors:
    return regions.cell_vectors(_ready.index)


def vectors(ready: Ready) -> Vectors:
    """(N, D) of all cells; one copy."""
    return _vectors(ready.name, ready)


@st.cache_resource(max_entries=2, show_spinner=False)
def _places(name: str, _ready: Ready) -> Floats:
    return regions.cell_places(_ready.index)


def places(ready: Ready) -> Floats:
    """(N, 2) degrees of all cells."""
    return _places(ready.name, ready)


@st.cache_resource(max_entries=KEPT, show_spinner=False)
def _component_map(name: str, _ready: Ready) -> tuple[str, tuple[float, float, float]]:
    found = regions.components(vectors(_ready))
    return data_url(regions.paint(found.colours, _ready.rows), "image/png"), found.explained


def component_map(ready: Ready) -> tuple[str, tuple[float, float, float]]:
    """The principal components as a raster, and what each explains."""
    return _component_map(ready.name, ready)


@st.cache_resource(max_entries=KEPT * 3, show_spinner=False)
def _region_map(name: str, k: int, _ready: Ready) -> tuple[str, regions.Regions, list[dict[str, Any]]]:
    found = regions.regions(vectors(_ready), k)
    picture = regions.paint(regions.region_colours(found.labels), _ready.rows)
    return data_url(picture, "image/png"), found, regions.region_facts(places(_ready), found)


def region_map(ready: Ready, k: int) -> tuple[str, regions.Regions, list[dict[str, Any]]]:
    """Regions as a raster, themselves, and what the atlas says of them."""
    return _region_map(ready.name, k, ready)


@st.cache_resource(max_entries=KEPT, show_spinner=False)
def _cell_map(name: str, _ready: Ready) -> str:
    colours = np.tile(np.array([[140, 90, 200]], dtype=np.uint8), (_ready.index.manifest.counts["cells"], 1))
    return data_url(regions.paint(colours, _ready.rows), "image/png")


def cell_map(ready: Ready) -> str:
    """Land that has cells, as a raster."""
    return _cell_map(ready.name, ready)


@st.cache_resource(max_entries=KEPT, show_spinner=False)
def _mapped(name: str, variable: str, made: int, _ready: Ready, _predictor: Predictor) -> Mapped:
    return map_cells(_ready.index, _ready.rows, _predictor)


def mapped(ready: Ready, predictor: Predictor) -> Mapped:
    """A variable on all cells, predicted and drawn once."""
    variable = predictor.variable.name
    made = resources.made_at(ready, variable)
    with working(f"Mapping {predictor.variable.title}"):
        return _mapped(ready.name, variable, made, ready, predictor)


def mapped_url(ready: Ready, predictor: Predictor, what: What) -> str:
    """One of its two maps as a ``data:`` URL."""
    return data_url(mapped(ready, predictor).pictures[what], "image/png")
