"""The two components of our own: the flat map that can be clicked anywhere, and the gallery.

Owns their mounting. Their browser side is in ``frontend/`` and ``static/map/``. Both are mounted under fixed keys, so a
rerun updates them and never makes them anew: the map keeps its view and its one WebGL context.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

FRONTEND = Path(__file__).parent / "frontend"
MAP, GALLERY = "flat_map", "gallery"


def flat_map(
    data: dict[str, Any],
    *,
    on_picked: Callable[[], None],
    on_selected: Callable[[], None] | None = None,
    on_drawn: Callable[[], None] | None = None,
    key: str = MAP,
) -> None:
    """Mount the flat map.

    ``picked`` brings ``{lon, lat}`` of a click, ``selected`` the id of a hit, ``drawn`` the corners of an area:
    :func:`event` reads them.
    """
    _renderer(MAP, "map_bridge", '<div class="map-frame"></div>')(
        key=key,
        data=data,
        on_picked_change=on_picked,
        on_selected_change=on_selected or _ignore,
        on_drawn_change=on_drawn or _ignore,
    )


def gallery(
    data: dict[str, Any],
    *,
    on_selected: Callable[[], None],
    on_voted: Callable[[], None] | None = None,
    key: str = GALLERY,
) -> None:
    """Mount the gallery of hits. ``selected`` brings the id of a card, ``voted`` ``{id, vote}``, 1 or -1."""
    _renderer(GALLERY, "gallery", '<div class="cards"></div>')(
        key=key, data=data, on_selected_change=on_selected, on_voted_change=on_voted or _ignore
    )


def _ignore() -> None:
    """Nobody listens."""


def event(component: str, name: str) -> Any:
    """What an event of a mounted component brought; to be called in its callback."""
    state = st.session_state.get(component)
    return state.get(name) if state is not None else None


def static_url() -> str:
    """URL of the folder ``static/``, under whatever path the server stands."""
    base = str(st.get_option("server.baseUrlPath") or "").strip("/")
    return f"/{base}/app/static" if base else "/app/static"


@functools.cache
def _renderer(name: str, files: str, html: str) -> Any:
    return st.components.v2.component(
        f"samewhere_{name}",
        html=html,
        css=(FRONTEND / f"{files}.css").read_text("utf-8"),
        js=(FRONTEND / f"{files}.js").read_text("utf-8"),
    )
