"""What visitors do on the search page: clicks, votes, uploads, ingredients added and taken away.

Owns how each of these changes the session. A click on the map starts anew or adds, as the page's switch says; starting
anew drops ingredients and votes, which the browser's back button brings back.
"""

from __future__ import annotations

import hashlib
from collections.abc import MutableMapping
from dataclasses import replace
from typing import Any

import streamlit as st

from app import components
from app.answer import Answer
from app.gallery import lonlat_text
from app.ingredients import MOST, MOST_VOTES, MOST_WEIGHT, Ingredient, Vote, check_area
from app.samples import SAMPLES
from app.state import find_place, place_text
from data.errors import SamewhereError
from data.geo import validate_lonlat
from data.patch import Patch, read_patch

MOST_UPLOADS = 6
"""Images kept in a session; the oldest goes."""


def on_picked() -> None:
    """A click on the empty map: its place is the query now, or one more ingredient of it."""
    point = clicked(components.MAP)
    if point is None:
        return
    how = st.session_state.get("click") or "start"
    if how == "start":
        go_to(*point)
    else:
        add(Ingredient("place", 1.0 if how == "like" else -1.0, place=point))


def clicked(component: str) -> tuple[float, float] | None:
    """The place of a click on a map, (lon, lat); to be called in its callback."""
    point = components.event(component, "picked")
    if not isinstance(point, dict) or not {"lon", "lat"} <= point.keys():
        return None
    lon, lat = validate_lonlat((float(point["lon"]), float(point["lat"])), where="map")[0]
    return round(float(lon), 3), round(float(lat), 3)


def go_to(lon: float, lat: float) -> None:
    """Ask for a place, and for nothing else."""
    start_over()
    st.session_state["place_text"] = place_text(lon, lat)
    st.session_state["kind"] = "place"


def start_over() -> None:
    """Drop all ingredients and votes; filters stay."""
    state = st.session_state
    state["place_text"], state["sample"] = "", None
    state["weight"], state["also"], state["likes"], state["unlikes"] = 1.0, (), (), ()
    state["uploader"] = state.get("uploader", 0) + 1
    forget_hit()


def on_place() -> None:
    """Another place was typed: a new start, of the same filters."""
    st.session_state["weight"] = 1.0
    forget_hit()


def on_hit(component: str) -> None:
    """A hit was chosen, on the map or in the gallery."""
    chosen = components.event(component, "selected")
    if isinstance(chosen, str):
        st.session_state["hit"] = chosen


def on_voted() -> None:
    """A hit was called alike or unlike, or its vote was taken back."""
    given = components.event(components.GALLERY, "voted")
    if not isinstance(given, dict) or given.get("vote") not in (1, -1):
        return
    if not vote(st.session_state, str(given.get("id")), int(given["vote"])):
        st.toast(f"A query learns from {MOST_VOTES} votes. Take one back first.", icon=":material/info:")


def vote(state: MutableMapping[Any, Any], hit: str, value: int) -> bool:
    """Count a vote for one of the answer's hits: 1 for alike, -1 for unlike; the same again takes it back.

    Returns:
        False if there are as many votes as a query takes.
    """
    answer = state.get("answer")
    target = next((one.target for one in answer.hits if one.id == hit), None) if isinstance(answer, Answer) else None
    if target is None:
        return True
    mine = Vote(target, hit)
    side, other = ("likes", "unlikes") if value > 0 else ("unlikes", "likes")
    state[other] = tuple(one for one in state[other] if one != mine)
    if mine in state[side]:
        state[side] = tuple(one for one in state[side] if one != mine)
    elif len(state["likes"]) + len(state["unlikes"]) < MOST_VOTES:
        state[side] = (*state[side], mine)
    else:
        return False
    return True


def drop_votes() -> None:
    """Forget all votes."""
    st.session_state["likes"] = st.session_state["unlikes"] = ()


def add(one: Ingredient) -> None:
    """One more ingredient; one that is there already takes the new weight."""
    state = st.session_state
    kept = tuple(old for old in state["also"] if replace(old, weight=one.weight) != one)
    if len(kept) < MOST:
        state["also"] = (*kept, one)
    else:
        st.toast(f"A query takes {MOST + 1} ingredients. Take one out first.", icon=":material/info:")
    forget_hit()


def remove(number: int) -> None:
    """Take an ingredient out; -1 is the first, of the place or image fields."""
    state = st.session_state
    if number < 0:
        state["place_text"], state["sample"], state["weight"] = "", None, 1.0
        state["uploader"] = state.get("uploader", 0) + 1
    else:
        state["also"] = tuple(one for at, one in enumerate(state["also"]) if at != number)
    forget_hit()


def reweigh(number: int) -> None:
    """An ingredient's weight or sign was changed."""
    state = st.session_state
    size = min(MOST_WEIGHT, max(0.1, float(state[f"size_{number}"] or 1.0)))
    weight = round(-size if state[f"sign_{number}"] == "unlike" else size, 2)
    if number < 0:
        state["weight"] = weight
    else:
        state["also"] = tuple(
            replace(one, weight=weight) if at == number else one for at, one in enumerate(state["also"])
        )
    forget_hit()


def on_add_place() -> None:
    """A place was typed among the further ingredients."""
    text = st.session_state["add_place"].strip()
    st.session_state["add_problem"] = ""
    if not text:
        return
    try:
        point, name = find_place(text)
    except SamewhereError as error:
        st.session_state["add_problem"] = str(error)
        return
    st.session_state["add_place"] = ""
    add(Ingredient("place", place=point, label=name))


def on_add_sample() -> None:
    """A sample was chosen among the further ingredients."""
    key = st.session_state["add_sample"]
    st.session_state["add_sample"] = None
    if key in SAMPLES:
        add(Ingredient("sample", id=key))


def on_add_upload() -> None:
    """Images were uploaded among the further ingredients."""
    state = st.session_state
    state["add_problem"] = ""
    files = state.get(add_upload_key()) or []
    for file in files:
        content = file.getvalue()
        try:
            patch = read_patch(content, name=file.name)
        except SamewhereError as error:
            state["add_problem"] = str(error)
            continue
        digest = hashlib.sha256(content).hexdigest()[:16]
        asked = {one.id for one in state["also"] if one.kind == "upload"}
        kept = {key: value for key, value in uploads().items() if key in asked and key != digest}
        if len(kept) >= MOST_UPLOADS:
            state["add_problem"] = (
                f"A search takes {MOST_UPLOADS} images, and {file.name[:60]} is one more. Take one out."
            )
            continue
        state["uploads"] = kept | {digest: patch}
        add(Ingredient("upload", id=digest, label=file.name[:60]))
    if files and not state["add_problem"]:
        state["add_uploader"] = state.get("add_uploader", 0) + 1


def add_upload_key() -> str:
    """Key of the uploader of further images."""
    return f"add_upload_{st.session_state.get('add_uploader', 0)}"


def uploads() -> dict[str, Patch]:
    """The further images of this session, by digest."""
    kept: dict[str, Patch] = st.session_state.get("uploads", {})
    return kept


def on_drawn() -> None:
    """An area was drawn; what it is for is asked next."""
    ring = components.event(components.MAP, "drawn")
    try:
        st.session_state["drawn"] = check_area(ring if isinstance(ring, list) else [])
        st.session_state["draw_problem"] = ""
    except (SamewhereError, TypeError, ValueError) as error:
        st.session_state["drawn"] = ()
        st.session_state["draw_problem"] = str(error) if isinstance(error, SamewhereError) else "That is no area."


def use_area(how: str) -> None:
    """The drawn area is a filter, an ingredient, or forgotten."""
    state = st.session_state
    ring, state["drawn"] = state["drawn"], ()
    if how == "inside":
        state["area"] = ring
        forget_hit()
    elif how in ("like", "unlike"):
        add(Ingredient("area", 1.0 if how == "like" else -1.0, area=ring))


def drop_area() -> None:
    """No area filters any more."""
    st.session_state["area"] = ()


def on_upload() -> None:
    """An upload replaces the sample."""
    st.session_state["sample"] = None
    st.session_state["gsd_m"] = None
    st.session_state["weight"] = 1.0
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


def title_of(one: Ingredient) -> str:
    """An ingredient in a few words."""
    if one.kind == "place" and one.place:
        return one.label or lonlat_text(*one.place)
    if one.kind == "sample":
        return SAMPLES[one.id].name
    if one.kind == "area":
        return f"Mean of a drawn area ({len(one.area)} corners)"
    return one.label or {"upload": "Uploaded image", "cell": "Cell", "tile": "Image tile"}[one.kind] + f" {one.id[:12]}"
