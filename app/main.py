"""The page. ``streamlit run app/main.py`` starts here; this file only puts the parts in their places."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from pathlib import Path

import streamlit as st

from app import query_panel, resources, results_view, setup_view, state
from app.answer import Answer, find, to_query, token_of
from app.samples import SAMPLES
from app.url_state import PageQuery
from data.errors import CheckpointError, IndexStoreError, SamewhereError
from data.patch import Patch, read_patch
from indexer.query import Query

STYLE = """
<style>
.stMainBlockContainer { padding: 1.6rem 2rem 2rem; max-width: 1800px; }
.stAppHeader { background: transparent; }
/* Streamlit tells only screen readers why it refuses a file that is too large. Tell everyone. */
[data-testid="stFileChip"][aria-invalid="true"] { flex-wrap: wrap; height: auto; }
[data-testid="stFileChip"] [role="alert"] {
  position: static; width: 100%; height: auto; margin: 0; clip: auto; clip-path: none; overflow: visible;
  white-space: normal; font-size: .85rem;
}
@media (max-width: 640px) { .stMainBlockContainer { padding: 1rem .8rem 2rem; } }
</style>
"""
HEADER = (
    '<div style="display:flex;flex-wrap:wrap;align-items:baseline;gap:.1rem .9rem;margin:.1rem 0 .2rem">'
    '<h1 style="margin:0;padding:0;font-size:1.7rem;font-weight:700;letter-spacing:-.01em">Samewhere</h1>'
    '<span style="opacity:.7">Find the places on Earth that look like this one</span></div>'
)
ABOUT = """
**What this is.** Two encoders, one of satellite images and one of coordinates, were trained to agree on which image
belongs where. What both know of a place is one vector, and places with similar vectors look alike. Colours, scores and
order all come from these vectors; no climate, terrain or population data went in.

**What it is not.** The built-in model was trained on NASA's Blue Marble at 7.4 km a pixel. It knows landscapes, not
fields or streets: a Sentinel-2 patch of 2.5 km is a third of one of its pixels. `samewhere train` makes another
checkpoint and `samewhere index build` fills an index with it.

**Links.** The address bar holds the whole query, so a link shows the same answer to someone else. An uploaded image is
not in it, and stays on this server: the link of such a search carries the options alone.

**Sources.** Imagery: NASA Earth Observatory, Blue Marble Next Generation (Reto Stöckli). Outlines: Natural Earth.
Both are in the public domain. Cells: H3.
"""
ATTRIBUTION = "Imagery: NASA Blue Marble. Outlines: Natural Earth."
BUILT_IN = "The model was trained on NASA's Blue Marble at 7.4 km a pixel: it knows landscapes, not streets. "


def page() -> None:
    """Draw everything."""
    st.set_page_config("Samewhere", str(Path(__file__).parent / "static" / "icon.png"), layout="wide")
    st.html(STYLE)
    st.html(HEADER)
    if st.session_state.get("rebuild"):
        setup_view.build(anew=True)
        return
    standing = resources.standing()
    if standing != "there":
        setup_view.build(resumed=standing == "unfinished")
        return
    blue_marble = resources.has_tiles()
    state.from_url()
    state.keep()
    asked = state.read()
    if complaint := state.complaint(asked.query):
        st.warning(complaint)
    left, middle, right = st.columns([1.15, 3, 1.35], gap="medium")
    with left:
        query_panel.what(asked, blue_marble=blue_marble)
        patch = _patch(asked.query, blue_marble=blue_marble)
        query_panel.how(asked, blue_marble=blue_marble)
    answer, waiting = None, False
    trouble = _trouble()
    with middle:
        try:
            if trouble:
                raise trouble
            query = None if asked.problems else to_query(asked.query, patch)
            ready = resources.ready_now()
            waiting = query is not None and ready is None
            if query and ready:
                answer = _answer(ready, asked.query, query)
        except (IndexStoreError, CheckpointError) as error:
            setup_view.offer_rebuild(error)
        except SamewhereError as error:
            st.error(str(error))
    with middle:
        results_view.draw_map(answer, asked.query, waiting=waiting)
        results_view.below_map(answer)
    with right:
        results_view.draw_gallery(answer, asked.query)
    st.caption((BUILT_IN if blue_marble else "") + ATTRIBUTION)
    with st.expander("About the answers, links and sources"):
        st.markdown(ABOUT)
    state.to_url(asked.query)
    if not trouble:
        _wake_up(again=waiting)


def _patch(asked: PageQuery, *, blue_marble: bool) -> Patch | None:
    """The image that is asked with, shown; None where there is none or it cannot be used, which is said in place."""
    file = state.uploaded()
    if asked.kind != "image" or not (file or asked.sample):
        return None
    try:
        patch = read_patch(file[1], name=file[0]) if file else SAMPLES[asked.sample or ""].patch()
        query_panel.show(patch, blue_marble=blue_marble)
    except SamewhereError as error:
        st.error(str(error))
        return None
    gsd_m = st.session_state["gsd_m"] if file else None
    return replace(patch, gsd_m=float(gsd_m)) if gsd_m else patch


def _answer(ready: resources.Ready, asked: PageQuery, query: Query) -> Answer:
    """The answer, from memory where the question is the one before."""
    file = state.uploaded()
    upload = f"{hashlib.sha256(file[1]).hexdigest()} {query.patch.gsd_m}" if file and query.patch else None
    token = token_of(asked, upload, ready.name)
    kept = st.session_state.get("answer")
    if isinstance(kept, Answer) and kept.token == token:
        return kept
    answer = find(ready.index, ready.rows, asked, query, token=token)
    st.session_state["answer"] = answer
    return answer


def _trouble() -> SamewhereError | None:
    """Why the index that stands now cannot be used, if this session has found that out."""
    found: tuple[str, SamewhereError] | None = st.session_state.get("trouble")
    return found[1] if found and found[0] == resources.name_now() else None


def _wake_up(*, again: bool) -> None:
    """Load what queries need once all is drawn; draw once more if a query waits for it, or if it cannot be had."""
    if resources.ready_now():
        return
    pause = st.empty()
    for _ in range(resources.PAUSES // 2 if again else resources.PAUSES):
        time.sleep(0.1)
        pause.empty()  # here Streamlit goes over to the next run, if the visitor has done something
    name = resources.name_now()
    try:
        resources.get_ready()
    except SamewhereError as error:
        st.session_state["trouble"] = (name, error)
        again = True
    if again:
        st.rerun()


page()
