"""The right side of the search page: the map, the gallery, the legend and the downloads."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from app import actions, components, exports, map_view, resources
from app.answer import Answer
from app.facts import lines_of
from app.field_image import Legend
from app.gallery import cards
from app.ingredients import Ingredient
from app.url_state import PageQuery
from data import atlas
from data.geo import Floats
from indexer.hits import Hit, hits_to_csv, hits_to_geojson
from indexer.query import Query

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PROJECTION = {"flat": "Map", "globe": "Globe"}
SCALE = {"score": "Score", "rank": "Rank"}
CLICK = {"start": "Starts anew", "like": "Adds a like", "unlike": "Adds an unlike"}
GLOBE_PX = 600
SCORE_HELP = (
    "The score says how alike the model finds two places or images: 1 is the same, 0 is unrelated. It is the cosine "
    "similarity of their embeddings."
)
LEARNED_HELP = (
    "A classifier learned from the hits that you called alike or unlike, and from random places. A hit's score is the "
    "probability that it belongs to what you like."
)


def draw_map(answer: Answer | None, asked: PageQuery, *, waiting: bool) -> None:
    """The map, flat or a globe."""
    hint = "Waking the model up…" if waiting else "" if answer else "Click anywhere on land"
    if asked.projection == "flat":
        page = f"{components.static_url()}/map/map.html"
        drawn = st.session_state["drawn"]
        components.flat_map(
            map_view.flat_map(answer, asked, page=page, hint=hint, first=st.session_state["link_hit"], drawn=drawn),
            on_picked=actions.on_picked,
            on_selected=partial(actions.on_hit, components.MAP),
            on_drawn=actions.on_drawn,
        )
        return
    deck = map_view.globe(
        answer, asked, chosen=asked.hit, static=components.static_url(), drawn=st.session_state["drawn"]
    )
    alt = "A globe with the similarity of all land to the query, and the hits on it"
    st.pydeck_chart(deck, height=GLOBE_PX, on_select=_on_globe, key="globe", alt=alt)


def below_map(answer: Answer | None, *, flat: bool) -> None:
    """What to do with a drawn area; the legend; how to draw and, on the flat map, what a click does."""
    if problem := st.session_state.get("draw_problem"):
        st.warning(problem)
    if st.session_state["drawn"]:
        _drawn()
    if answer:
        st.html(legend_html(answer.legend))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        if flat:
            st.segmented_control("A click on the map", CLICK, format_func=CLICK.__getitem__, key="click", required=True)
        st.segmented_control(
            "Colours by",
            SCALE,
            format_func=SCALE.__getitem__,
            key="scale",
            required=True,
            help="**Score**: equal steps of colour are equal steps of score, and the lower half of all land is dark. "
            "**Rank**: each colour covers as much land as any other.",
        )
        st.segmented_control(
            "Draw as",
            PROJECTION,
            format_func=PROJECTION.__getitem__,
            key="projection",
            on_change=actions.on_projection,
            required=True,
        )
    if not flat:
        st.caption("Drag to turn, scroll to zoom, click a hit to choose it. Choose places and draw areas on the map.")


def _drawn() -> None:
    """An area waits for its use."""
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown("An area is drawn.", width="content")
        for how, label, icon in (
            ("inside", "Search inside it", ":material/filter_alt:"),
            ("like", "Find places like it", ":material/add:"),
            ("unlike", "… unlike it", ":material/remove:"),
            ("drop", "Forget it", ":material/close:"),
        ):
            st.button(label, icon=icon, key=f"area_{how}", on_click=partial(actions.use_area, how))


def legend_html(legend: Legend) -> str:
    """The colour bar. Numbers and colours only: nothing that anyone typed."""
    colours = ", ".join(legend.colours)
    bar = f'<span class="sw-bar" style="background:linear-gradient(90deg, {colours})"></span>'
    if legend.by_rank and legend.middle is not None:
        ends = (_score(legend.low), _score(legend.high))
        words = f"score, each colour as much land; half of all land lies below {_score(legend.middle)}"
    else:
        ends = (f"≤ {_score(legend.low)}", _score(legend.high))
        words = "score; darkest: less alike than half of all land"
    return f'<div class="sw-legend"><span>{ends[0]}</span>{bar}<span>{ends[1]}</span><span>{words}</span></div>'


def _score(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def draw_gallery(answer: Answer | None, asked: PageQuery, ready: resources.Ready | None) -> None:
    """The hits as cards, with what qualifies them, what can be done with one, and the downloads."""
    if answer is None:
        st.markdown("##### Where else?")
        st.markdown(
            "Click a place on the map, or choose a satellite image at the left. The whole map is coloured by how alike "
            "it is, and the best matches are listed here."
        )
        return
    target = "images" if answer.hits and answer.hits[0].target == "tiles" else "places"
    title = f"##### {len(answer.hits)} most similar {target}" if answer.hits else "##### No hits"
    st.markdown(title, help=LEARNED_HELP if asked.has_votes else SCORE_HELP)
    for note in answer.notes:
        st.caption(note)
    if asked.has_votes:
        _votes(answer, asked)
    if not answer.hits:
        return
    facts, known = _facts(answer, ready)
    marks = {vote.id: 1 for vote in asked.likes} | {vote.id: -1 for vote in asked.unlikes}
    shown = {
        "token": f"{answer.token}{known}",
        "hits": cards(answer, atlas.countries(), facts),
        "selected": asked.hit,
        "voting": True,
        "votes": marks,
    }
    components.gallery(shown, on_selected=partial(actions.on_hit, components.GALLERY), on_voted=actions.on_voted)
    if known:
        st.caption(
            "°C and rain are predicted from the embedding; the truth lies within the brackets nine times in ten."
        )
    _chosen(answer, asked)
    _downloads(answer)


def check_text(answer: Answer, asked: PageQuery) -> str:
    """What the classifier learned from, and what it is worth."""
    query = answer.request.query if answer.request else None
    leaves = list(query.leaves()) if query else []
    likes, unlikes = (sum(sign == wanted for sign, _ in leaves) for wanted in (1, -1))
    text = (
        f"Ranked by a classifier that learned from {likes} liked and {unlikes} unliked example{'s' * (unlikes != 1)}."
    )
    if answer.check is None:
        return text + " Like two or more to see how well it does on examples that it has not seen."
    text += f" Held out: a liked example ranks above {100 * answer.check.above_world:.0f} % of random land"
    if answer.check.above_negatives is not None:
        text += f", and above {100 * answer.check.above_negatives:.0f} % of the unliked ones"
    return text + " (50 % is chance)."


def _votes(answer: Answer, asked: PageQuery) -> None:
    st.caption(check_text(answer, asked))
    st.button("Forget the votes", icon=":material/undo:", on_click=actions.drop_votes, type="tertiary")


def _facts(answer: Answer, ready: resources.Ready | None) -> tuple[list[list[str]], int]:
    """Further lines of the cards, and how many predictors they come from."""
    predictors = resources.predictors_now(ready) if ready else []
    key = (answer.token, len(predictors))
    kept = st.session_state.get("facts")
    if kept is None or kept[0] != key:
        kept = (key, lines_of(_lonlat(answer.hits), predictors, _stored(answer.hits, ready) if predictors else None))
        st.session_state["facts"] = kept
    return kept[1], len(predictors)


def _stored(hits: tuple[Hit, ...], ready: resources.Ready | None) -> NDArray[np.float32] | None:
    """Embeddings of hits that are cells, which the index holds; None where they are to be encoded."""
    import numpy as np

    if ready is None or not hits or hits[0].target != "cells":
        return None
    return np.stack([ready.index.query_vector(Query.cell(hit.id)) for hit in hits])


def _lonlat(hits: tuple[Hit, ...]) -> Floats:
    import numpy as np

    return np.array([(hit.lon, hit.lat) for hit in hits], dtype=np.float64).reshape(-1, 2)


def _chosen(answer: Answer, asked: PageQuery) -> None:
    """What can be done with the chosen hit."""
    hit = next((one for one in answer.hits if one.id == asked.hit), None)
    if hit is None:
        return
    one = Ingredient("cell" if hit.target == "cells" else "tile", id=hit.id, label=_label(hit))
    with st.container(horizontal=True, gap="small"):
        st.button(
            f"Add hit {hit.rank}",
            icon=":material/add:",
            help="The query asks for what is like this hit, too.",
            on_click=partial(actions.add, one),
        )
        st.button(
            "Exclude",
            icon=":material/remove:",
            help="The query asks for what is unlike this hit.",
            on_click=partial(actions.add, one.turned()),
        )
        if st.button("Compare", icon=":material/compare:", help="Put it beside other places."):
            places = [*st.session_state.get("compared", []), (round(hit.lon, 3), round(hit.lat, 3))]
            st.session_state["compared"] = list(dict.fromkeys(places))[-6:]
            st.switch_page("views/compare.py")


def _label(hit: Hit) -> str:
    name = atlas.countries().get(hit.country, "")
    return f"Hit {hit.rank}{', ' + name if name else ''}"


def _downloads(answer: Answer) -> None:
    files: dict[str, tuple[Callable[[], str | bytes], str, str]] = {
        "CSV": (partial(hits_to_csv, answer.hits), "samewhere.csv", "text/csv"),
        "GeoJSON": (lambda: json.dumps(hits_to_geojson(answer.hits)), "samewhere.geojson", "application/geo+json"),
        "GeoParquet": (partial(exports.geoparquet, answer.hits), "samewhere.parquet", "application/octet-stream"),
        "All as ZIP": (lambda: exports.zipped(answer, _base()), "samewhere.zip", "application/zip"),
    }
    for start in (0, 2):
        for column, label in zip(st.columns(2, gap="small"), list(files)[start : start + 2], strict=True):
            make, name, mime = files[label]
            column.download_button(
                label,
                make,
                name,
                mime,
                icon=":material/download:",
                on_click="ignore",
                width="stretch",
                help="A ZIP with all of these, the map, the pictures and query.json, which "
                "`samewhere search --query` asks again."
                if label == "All as ZIP"
                else None,
            )


@cache
def _base() -> bytes:
    return (Path(__file__).parent / "static" / "blue_marble.jpg").read_bytes()


def _on_globe() -> None:
    """A hit was chosen on the globe."""
    selected = st.session_state["globe"]["selection"]["objects"].get("hits", [])
    if selected:
        st.session_state["hit"] = str(selected[0]["id"])
