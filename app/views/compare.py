"""Compare: two to six places side by side."""

from __future__ import annotations

from functools import partial

import streamlit as st

from app import actions, comparison, opened, resources
from app.facts import atlas_values, climates_of, plain, predicted, prediction_text
from app.gallery import lonlat_text
from app.map_view import plain_map
from app.samples import SAMPLES
from app.state import find_place
from app.url_state import number
from data import atlas
from data.blue_marble import BlueMarble
from data.display import picture as picture_of
from data.errors import SamewhereError
from data.geo import Floats
from data.patch import Patch

KEY = "compare_map"
EXAMPLE = ("nile", "sahara", "corn")
SIDE_KM = 237
SHOWN = 8
PICTURE_PX = 170


def page() -> None:
    """Draw everything."""
    _from_url()
    places: list[tuple[float, float]] = st.session_state["compared"]
    st.markdown("#### Compare places")
    left, right = st.columns([1.15, 2.2], gap="medium")
    with left:
        _choose(places)
    ready = opened.index()
    with right:
        data = plain_map(page=opened.map_page(), token=str(places), hint="" if places else "Click two places or more")
        marks = [
            {"id": comparison.LETTERS[at], "rank": at + 1, "label": comparison.LETTERS[at], "lon": lon, "lat": lat}
            for at, (lon, lat) in enumerate(places)
        ]
        opened.map_(data | {"hits": marks}, key=KEY, on_picked=_on_picked)
    link = {"places": ";".join(f"{number(lon)},{number(lat)}" for lon, lat in places)} if places else {}
    link = opened.linked(link)
    if link != st.query_params.to_dict():
        st.query_params.from_dict(link)
    st.session_state["compare_written"] = link
    if len(places) < comparison.LEAST:
        st.info("Choose two to six places: click the map, type a name, or press Compare beside a hit of a search.")
        return
    try:
        lonlat = comparison.check_places(places)
        _pictures(lonlat)
        if ready:
            _alike(ready, lonlat)
        _known(ready, lonlat)
        _differ(lonlat)
    except SamewhereError as error:
        st.error(str(error))


def _from_url() -> None:
    state = st.session_state
    params = st.query_params.to_dict()
    if "compared" in state and (not params or params == state.get("compare_written")):
        return
    places = []
    for text in params.get("places", "").split(";")[: comparison.MOST]:
        if text.strip():
            try:
                places.append(find_place(text)[0])
            except SamewhereError as error:
                st.warning(plain(f"Left out of the link: {error}"))
    state["compared"] = places or state.get("compared", [])


def _choose(places: list[tuple[float, float]]) -> None:
    st.text_input("Add a place", key="compare_place", placeholder="Rome   or   12.49, 41.89", on_change=_typed)
    if problem := st.session_state.get("compare_problem"):
        st.error(problem)
    if not places:
        st.button("Try the Nile delta, Sahara dunes and the Corn belt", on_click=_example)
    for at, (lon, lat) in enumerate(places):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{comparison.LETTERS[at]}**  {_title(lon, lat)}")
            st.button(
                "",
                icon=":material/close:",
                key=f"compare_drop_{at}",
                type="tertiary",
                help=f"Take {comparison.LETTERS[at]} out",
                on_click=partial(_drop, at),
            )
    if len(places) >= comparison.MOST:
        st.caption("Six are as many as fit. Take one out to add another.")


def _title(lon: float, lat: float) -> str:
    country = atlas.countries().get(str(atlas.country_of([(lon, lat)])[0]), "")
    return lonlat_text(lon, lat) + (f", {country}" if country else "")


def _add(point: tuple[float, float]) -> None:
    places = st.session_state.get("compared", [])
    if point not in places and len(places) < comparison.MOST:
        st.session_state["compared"] = [*places, point]


def _typed() -> None:
    text = st.session_state["compare_place"].strip()
    st.session_state["compare_problem"] = ""
    if text:
        try:
            _add(find_place(text)[0])
            st.session_state["compare_place"] = ""
        except SamewhereError as error:
            st.session_state["compare_problem"] = str(error)


def _example() -> None:
    for key in EXAMPLE:
        _add((SAMPLES[key].lon, SAMPLES[key].lat))


def _drop(at: int) -> None:
    st.session_state["compared"] = [point for n, point in enumerate(st.session_state["compared"]) if n != at]


def _on_picked() -> None:
    if (point := actions.clicked(KEY)) is not None:
        _add(point)


def _pictures(lonlat: Floats) -> None:
    st.markdown(f"##### What is seen, {SIDE_KM} km wide")
    marble = BlueMarble.open()
    with st.container(horizontal=True, gap="medium"):
        for letter, (lon, lat) in zip(comparison.LETTERS, lonlat.tolist(), strict=False):
            patch: Patch = marble.patch(lon, lat)
            st.image(picture_of(patch), width=PICTURE_PX, caption=f"{letter}  {lonlat_text(lon, lat)}")


def _alike(ready: resources.Ready, lonlat: Floats) -> None:
    st.markdown("##### How alike they are", help="1 is the same to the model, 0 is unrelated.")
    views = ready.index.views
    view = "smooth" if "smooth" in views else views[0]
    scores, apart = comparison.similarities(ready.index, lonlat, view=view), comparison.distances_km(lonlat)
    letters = comparison.LETTERS[: len(lonlat)]
    head = "".join(f"<th>{letter}</th>" for letter in letters)
    rows = []
    for at, letter in enumerate(letters):
        cells = []
        for to in range(len(letters)):
            strength = max(0.0, min(1.0, float(scores[at, to])))
            text = f"{scores[at, to]:.2f}".replace("-", "−")
            below = "" if at == to else f"<small>{apart[at, to]:,.0f} km</small>"
            cells.append(f'<td style="background:rgba(23,105,170,{0.75 * strength:.2f})">{text}<br>{below}</td>')
        rows.append(f"<tr><th>{letter}</th>{''.join(cells)}</tr>")
    st.html(f'<table class="sw-table sw-matrix"><tr><th></th>{head}</tr>{"".join(rows)}</table>')


def _known(ready: resources.Ready | None, lonlat: Floats) -> None:
    st.markdown("##### What is known and what is predicted")
    letters = comparison.LETTERS[: len(lonlat)]
    table: list[dict[str, str]] = [{"": "Climate"} | dict(zip(letters, climates_of(lonlat), strict=True))]
    table += [{"": row["title"]} | dict(zip(letters, row["text"], strict=True)) for row in atlas_values(lonlat)]
    if ready:
        predictors = resources.predictors_now(ready)
        for predictor, found in zip(predictors, predicted(lonlat, predictors), strict=True):
            texts = [prediction_text(predictor, found, at) for at in range(len(lonlat))]
            table.append({"": f"{predictor.variable.title}, predicted"} | dict(zip(letters, texts, strict=True)))
        resources.prepare_predictors(ready)
    st.dataframe(table, hide_index=True, width="stretch")
    st.caption(
        "Predictions are made from the embedding alone, with the interval that holds the truth nine times in ten."
    )


def _differ(lonlat: Floats) -> None:
    found = comparison.differences(lonlat)
    if not found:
        return
    st.markdown("##### What differs most", help="By the share of all land whose value lies between the two.")
    rows = [
        {
            "Places": f"{comparison.LETTERS[one.first]} and {comparison.LETTERS[one.second]}",
            "In": one.title,
            "Values": one.text,
            "Land between": 100 * one.between,
        }
        for one in found[:SHOWN]
    ]
    bar = st.column_config.ProgressColumn("Land between", format="%.0f %%", min_value=0.0, max_value=100.0)
    st.dataframe(rows, hide_index=True, width="stretch", column_config={"Land between": bar})


page()
