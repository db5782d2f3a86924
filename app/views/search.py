"""Search: what is asked, the map, the hits."""

from __future__ import annotations

import hashlib
import time

import streamlit as st

from app import actions, query_panel, resources, results_view, setup_view, state
from app.answer import Answer, find, is_asked, to_query, token_of
from app.facts import plain
from app.samples import SAMPLES
from app.url_state import PageQuery
from data.errors import CheckpointError, IndexStoreError, QueryError, SamewhereError
from data.patch import Patch, read_patch
from indexer.query import Query

ABOUT = """
**What this is.** Two encoders, one of satellite images and one of coordinates, were trained to agree on which image
belongs where. What both know of a place is one vector, and places with similar vectors look alike. Colours, scores and
order all come from these vectors; no climate, terrain or population data went in. Climate and predictions beside hits
come from the atlas and from heads fitted on it.

**What it is not.** The built-in model was trained on NASA's Blue Marble at 7.4 km a pixel. It knows landscapes, not
fields or streets: a Sentinel-2 patch of 2.5 km is a third of one of its pixels. `samewhere train` makes another
checkpoint and `samewhere index build` fills an index with it.

**Links.** The address bar holds the whole query, so a link shows the same answer to someone else. An uploaded image is
not in it, and stays on this server: the link of such a search carries the options alone.

**Sources.** Imagery: NASA Earth Observatory, Blue Marble Next Generation (Reto Stöckli). Outlines: Natural Earth.
Both are in the public domain. Names of places: GeoNames (CC BY 4.0). Cells: H3.
"""
ATTRIBUTION = "Imagery: NASA Blue Marble. Outlines: Natural Earth. Place names: GeoNames."
BUILT_IN = "The model was trained on NASA's Blue Marble at 7.4 km a pixel: it knows landscapes, not streets. "


def page() -> None:
    """Draw everything."""
    state.from_url()
    state.keep()
    asked = state.read()
    query_ = asked.query
    if complaint := state.complaint(query_):
        st.warning(plain(complaint))
    trouble = _trouble(query_)
    manifest = resources.manifest_at(resources.index_path(None if trouble else query_.index))
    blue_marble = resources.sees_blue_marble(manifest)
    left, middle, right = st.columns([1.15, 3, 1.35], gap="medium")
    with left.container():
        query_panel.what(asked, blue_marble=blue_marble)
        patch = _patch(query_, blue_marble=blue_marble)
    with left.container():
        has_base = patch is not None if query_.kind == "image" else query_.place is not None
        query_panel.ingredients(asked, has_base=has_base, blue_marble=blue_marble)
    with left.container():
        query_panel.how(asked, blue_marble=blue_marble, tiles=resources.has_tiles(manifest))
    answer, waiting, ready = None, False, None
    with middle:
        try:
            if trouble:
                raise trouble
            ready = resources.ready_now(query_.index)
            wanted = not asked.problems and is_asked(query_, patch)
            waiting = wanted and ready is None
            query = to_query(query_, patch, ready.index, actions.uploads()) if wanted and ready else None
            if query and ready:
                answer = _answer(ready, query_, query)
        except (IndexStoreError, CheckpointError) as error:
            setup_view.offer_remedy(error, query_.index)
        except SamewhereError as error:
            st.error(str(error))
    with middle:
        results_view.draw_map(answer, query_, waiting=waiting)
        results_view.below_map(answer, flat=query_.projection == "flat")
    with right:
        results_view.draw_gallery(answer, query_, ready)
    st.caption((BUILT_IN if blue_marble else "") + ATTRIBUTION)
    with st.expander("About the answers, links and sources"):
        st.markdown(ABOUT)
    state.to_url(query_)
    if not trouble:
        _wake_up(query_.index, again=waiting)


def _patch(asked: PageQuery, *, blue_marble: bool) -> Patch | None:
    """The image that is asked with, shown; None where there is none or it cannot be used, which is said in place."""
    file = state.uploaded()
    if asked.kind != "image" or not (file or asked.sample):
        return None
    try:
        patch = read_patch(file[1], name=file[0]) if file else SAMPLES[asked.sample or ""].patch()
    except SamewhereError as error:
        st.error(str(error))
        return None
    return query_panel.show(patch, blue_marble=blue_marble)


def _answer(ready: resources.Ready, asked: PageQuery, query: Query) -> Answer:
    """The answer, from memory where the question is the one before."""
    file = state.uploaded()
    gsd_m = st.session_state.get("gsd_m")
    upload = f"{hashlib.sha256(file[1]).hexdigest()} {gsd_m}" if file and asked.kind == "image" else None
    token = token_of(asked, upload, ready.name)
    kept = st.session_state.get("answer")
    if isinstance(kept, Answer) and kept.token == token:
        return kept
    answer = find(ready.index, ready.rows, asked, query, token=token)
    st.session_state["answer"] = answer
    return answer


def _trouble(asked: PageQuery) -> SamewhereError | None:
    """Why the index that stands now cannot be used, if this session has found that out."""
    try:
        name = resources.name_now(asked.index)
    except QueryError as error:
        return error
    found: tuple[str, SamewhereError] | None = st.session_state.get("trouble")
    return found[1] if found and found[0] == name else None


def _wake_up(index: str | None, *, again: bool) -> None:
    """Load what queries need once all is drawn; draw once more if a query waits for it, or if it cannot be had."""
    if ready := resources.ready_now(index):
        resources.prepare_predictors(ready)
        return
    pause = st.empty()
    for _ in range(resources.PAUSES // 2 if again else resources.PAUSES):
        time.sleep(0.1)
        pause.empty()  # here Streamlit goes over to the next run, if the visitor has done something
    name = resources.name_now(index)
    try:
        resources.get_ready(index)
    except SamewhereError as error:
        st.session_state["trouble"] = (name, error)
        again = True
    if again:
        st.rerun()


page()
