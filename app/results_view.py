"""The right side: the map, the gallery, the legend and the downloads."""

from __future__ import annotations

import json
from functools import partial

import streamlit as st

from app import components, map_view, state
from app.answer import Answer
from app.field_image import Legend
from app.gallery import cards
from app.url_state import PageQuery
from data import atlas
from indexer.hits import hits_to_csv, hits_to_geojson

PROJECTION = {"flat": "Map", "globe": "Globe"}
GLOBE_PX = 600
SCORE_HELP = (
    "The score says how alike the model finds two places or images: 1 is the same, 0 is unrelated. It is the cosine "
    "similarity of their embeddings."
)


def draw_map(answer: Answer | None, asked: PageQuery, *, waiting: bool) -> None:
    """The map, flat or a globe."""
    hint = "Waking the model up…" if waiting else "" if answer else "Click anywhere on land"
    if asked.projection == "flat":
        page = f"{components.static_url()}/map/map.html"
        components.flat_map(
            map_view.flat_map(answer, asked, page=page, hint=hint, first=st.session_state["link_hit"]),
            on_picked=state.on_picked,
            on_selected=partial(state.on_hit, components.MAP),
        )
        return
    deck = map_view.globe(answer, chosen=asked.hit, static=components.static_url())
    alt = "A globe with the similarity of all land to the query, and the hits on it"
    st.pydeck_chart(deck, height=GLOBE_PX, on_select=_on_globe, key="globe", alt=alt)


def below_map(answer: Answer | None) -> None:
    """Legend at the left, how to draw at the right."""
    legend, choice = st.columns([3, 1], vertical_alignment="center")
    with choice:
        st.segmented_control(
            "Draw as",
            PROJECTION,
            format_func=PROJECTION.__getitem__,
            key="projection",
            label_visibility="collapsed",
            on_change=state.on_projection,
            required=True,
            width="stretch",
        )
    if answer:
        legend.html(legend_html(answer.legend))


def legend_html(legend: Legend) -> str:
    """The colour bar. Numbers and colours only: nothing that anyone typed."""
    colours = ", ".join(legend.colours)
    return (
        '<div style="display:flex;align-items:center;gap:.6rem;font-size:.85rem;font-variant-numeric:tabular-nums">'
        f"<span>≤ {_score(legend.low)}</span>"
        f'<span style="flex:1;min-width:60px;max-width:260px;height:10px;border-radius:5px;'
        f'background:linear-gradient(90deg, {colours})"></span>'
        f"<span>{_score(legend.high)}</span>"
        '<span style="opacity:.75">score; darkest: less alike than half of all land</span>'
        "</div>"
    )


def _score(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def draw_gallery(answer: Answer | None, asked: PageQuery) -> None:
    """The hits as cards, with what qualifies them, and the downloads."""
    if answer is None:
        st.markdown("##### Where else?")
        st.markdown(
            "Click a place on the map, or choose a satellite image at the left. The whole map is coloured by how alike "
            "it is, and the best matches are listed here."
        )
        return
    target = "images" if answer.hits and answer.hits[0].target == "tiles" else "places"
    st.markdown(f"##### {len(answer.hits)} most similar {target}" if answer.hits else "##### No hits", help=SCORE_HELP)
    for note in answer.notes:
        st.caption(note)
    if not answer.hits:
        return
    shown = {"token": answer.token, "hits": cards(answer, atlas.countries()), "selected": asked.hit}
    components.gallery(shown, on_selected=partial(state.on_hit, components.GALLERY))
    left, right = st.columns(2)
    left.download_button(
        "CSV",
        hits_to_csv(answer.hits),
        "samewhere.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
        width="stretch",
    )
    right.download_button(
        "GeoJSON",
        json.dumps(hits_to_geojson(answer.hits)),
        "samewhere.geojson",
        "application/geo+json",
        icon=":material/download:",
        on_click="ignore",
        width="stretch",
    )


def _on_globe() -> None:
    """A hit was chosen on the globe."""
    selected = st.session_state["globe"]["selection"]["objects"].get("hits", [])
    if selected:
        st.session_state["hit"] = str(selected[0]["id"])
