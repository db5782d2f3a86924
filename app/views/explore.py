"""Explore: the embedding as a map, its regions, the neighbours of a cell, and what the index covers."""

from __future__ import annotations

from typing import Any

import numpy as np
import streamlit as st

from app import actions, coverage, opened, regions
from app.climates import climate_name
from app.facts import number_text, plain
from app.gallery import lonlat_text
from app.map_view import plain_map
from app.state import find_place
from app.url_state import number
from data import atlas
from data.errors import QueryError, SamewhereError
from data.geo import cell_boundary, great_circle_km

WHAT = {
    "colours": "Colours",
    "regions": "Regions",
    "neighbours": "Neighbours",
    "coverage": "Coverage",
}
KEY = "explore_map"
TWO_DECIMALS = st.column_config.NumberColumn(format="%.2f")


def page() -> None:
    """Draw everything."""
    st.markdown("#### Explore the embedding")
    _from_url()
    what = st.segmented_control(
        "Show", WHAT, format_func=WHAT.__getitem__, key="explore", required=True, label_visibility="collapsed"
    )
    ready = opened.index()
    if ready is None:
        return
    try:
        {"colours": _colours, "regions": _regions, "neighbours": _neighbours, "coverage": _coverage}[what or "colours"](
            ready
        )
    except SamewhereError as error:
        st.error(str(error))
    _to_url(what or "colours")


def _from_url() -> None:
    """Show what the address says where it says something new, and what was shown before where one comes back."""
    state, params = st.session_state, st.query_params.to_dict()
    written = state.get("explore_written", {})
    if "explore" in state and params == written:
        return
    told = params if "explore" in state else params or written
    show = told.get("show", "colours")
    state["explore"] = show if show in WHAT else "colours"
    if show not in WHAT:
        st.warning(plain(f"Left out of the link: there is no view {show[:40]!r}; there are {', '.join(WHAT)}."))
    if (k := told.get("k", "")).isdecimal() and regions.K_LEAST <= int(k[:4]) <= regions.K_MOST:
        state["explore_k"] = int(k)
    elif k:
        told_k = f"Left out of the link: k is {k[:20]!r}; it is {regions.K_LEAST} to {regions.K_MOST} regions."
        st.warning(plain(told_k))
    if at := told.get("at", ""):
        try:
            state["explored"] = find_place(at)[0]
        except SamewhereError as error:
            st.warning(plain(f"Left out of the link: {error}"))


def _to_url(what: str) -> None:
    """Keep the address the same as what is shown, so that it can be sent to somebody."""
    state = st.session_state
    params = {} if what == "colours" else {"show": what}
    if what == "regions":
        params["k"] = str(state["explore_k"])
    elif what == "neighbours" and state.get("explored"):
        params["at"] = ",".join(number(value) for value in state["explored"])
    params = opened.linked(params)
    if params != st.query_params.to_dict():
        st.query_params.from_dict(params)
    state["explore_written"] = params


def _map(token: str, **changes: Any) -> None:
    hint = changes.pop("hint", "")
    data = plain_map(page=opened.map_page(), token=token, hint=hint) | changes
    opened.map_(data, key=KEY, on_picked=_on_picked)


def _on_picked() -> None:
    if (point := actions.clicked(KEY)) is not None:
        st.session_state["explored"] = point


def _colours(ready: opened.Ready) -> None:
    left, right = st.columns([3, 1.3], gap="medium")
    with opened.working("Finding the principal components"):
        url, explained = opened.component_map(ready)
    with left:
        _map(f"colours {ready.name}", field=url)
    with right:
        st.markdown("##### Alike is coloured alike")
        st.write(
            "Each place's embedding, hundreds of numbers, is reduced to the three directions in which places differ "
            "most, shown as red, green and blue. Places of the same colour look alike to the model, wherever they are."
        )
        for name, share in zip(("Red", "Green", "Blue"), explained, strict=True):
            st.progress(share, f"{name}: {100 * share:.0f} % of all difference")
        st.caption(
            f"Together {100 * sum(explained):.0f} %; the rest does not show. Only the contrast of colours means "
            "something, not the colours themselves."
        )


def _regions(ready: opened.Ready) -> None:
    left, right = st.columns([3, 1.3], gap="medium")
    with right:
        st.session_state.setdefault("explore_k", 7)
        k = st.slider("How many regions", regions.K_LEAST, regions.K_MOST, key="explore_k")
    with opened.working(f"Dividing the land into {k} regions"):
        url, found, facts = opened.region_map(ready, k)
    places = opened.places(ready)
    ids = ready.index.cells()["id"].to_numpy()
    marks = [
        {
            "id": str(region + 1),
            "rank": region + 1,
            "lon": float(places[row, 0]),
            "lat": float(places[row, 1]),
            "ring": cell_boundary(int(ids[row])).round(4).tolist(),
        }
        for region, row in enumerate(found.typical.tolist())
    ]
    with left:
        _map(f"regions {k} {ready.name}", field=url, hits=marks)
        st.caption("A number stands at the most typical place of its region.")
    with right:
        rows = [
            f'<tr><td><span style="display:inline-block;width:.8rem;height:.8rem;border-radius:3px;'
            f'background:{regions.COLOURS[fact["region"] - 1]}"></span> {fact["region"]}</td>'
            f"<td>{100 * fact['share']:.0f} %</td><td>{_unbroken(fact['temperature'], '°C')}</td>"
            f"<td>{_unbroken(fact['precipitation'], 'mm')}</td><td>{climate_name(fact['climate'])}</td></tr>"
            for fact in facts
        ]
        st.html(
            '<table class="sw-table"><tr><th>Region</th><th>Land</th><th>Mean temperature</th><th>Rain a year</th>'
            f"<th>Mostly</th></tr>{''.join(rows)}</table>"
        )
        st.caption("The regions come from the embedding alone; temperature, rain and climate are the atlas's.")
    st.markdown("##### How alike two regions are")
    one, other = st.columns(2, gap="medium")
    with one:
        names = [str(region + 1) for region in range(k)]
        st.dataframe(
            {"Region": names} | {name: found.alike[:, at] for at, name in enumerate(names)},
            hide_index=True,
            width="stretch",
            column_config=dict.fromkeys(names, TWO_DECIMALS),
        )
        st.caption("Mean similarity of a place of one and a place of the other: 1 is the same, 0 unrelated.")
    with other:
        _two_countries(ready)


def _unbroken(value: float, unit: str) -> str:
    """A value that stays in one line with its unit."""
    return number_text(value, unit).replace(" ", "&nbsp;")


def _two_countries(ready: opened.Ready) -> None:
    names = atlas.countries()
    there = sorted(set(ready.index.cells()["country"].to_pylist()) & set(names), key=names.__getitem__)
    if len(there) < 2:
        st.caption("This index covers fewer than two countries.")
        return
    first, second = st.columns(2)
    defaults = [there.index(code) if code in there else at for at, code in enumerate(("BRA", "COD"))]
    a = first.selectbox("Country", there, defaults[0], format_func=names.__getitem__, key="explore_a")
    b = second.selectbox("and country", there, defaults[1], format_func=names.__getitem__, key="explore_b")
    country = np.array(ready.index.cells()["country"].to_pylist())
    value = regions.similarity(opened.vectors(ready), country == a, country == b)
    st.metric(
        f"{names[str(a)]} and {names[str(b)]}",
        f"{value:.2f}".replace("-", "−"),
        help="Mean similarity of their places.",
    )


def _neighbours(ready: opened.Ready) -> None:
    left, right = st.columns([3, 1.3], gap="medium")
    point = st.session_state.get("explored") or (12.49, 41.89)
    places, ids = opened.places(ready), ready.index.cells()["id"].to_numpy()
    row = int(np.argmin(great_circle_km(places, point)))
    with right:
        count = st.slider("Neighbours of each", 3, 10, 5, key="explore_n")
        apart = st.slider("At least this far apart (km)", 0, 5000, 1000, step=250, key="explore_km")
    with opened.working("Looking for neighbours"):
        graph = regions.neighbours(opened.vectors(ready), places, ids, row, count=count, apart_km=float(apart))
    if not graph.edges:
        raise QueryError(f"No cell of this index lies {apart:,} km from the one chosen. Choose a smaller distance.")
    least, most = min(edge[2] for edge in graph.edges), max(edge[2] for edge in graph.edges)
    lines = [
        [
            *graph.lonlat[a].round(4).tolist(),
            *graph.lonlat[b].round(4).tolist(),
            (score - least) / max(most - least, 1e-9),
        ]
        for a, b, score in graph.edges
    ]
    marks = [
        {"id": name, "rank": at, "lon": lon, "lat": lat, "ring": cell_boundary(int(ids[of])).round(4).tolist()}
        for at, (name, (lon, lat), of) in enumerate(
            zip(graph.ids, graph.lonlat.tolist(), graph.rows.tolist(), strict=True)
        )
        if at
    ]
    lon, lat = graph.lonlat[0].tolist()
    with left:
        _map(
            f"neighbours {row} {count} {apart} {ready.name}",
            hits=marks,
            lines=lines,
            pins=[{"lon": lon, "lat": lat, "like": True}],
            hint="Click another place",
        )
        st.caption("A line joins a place with those most like it; thicker is more alike.")
    with right:
        names = atlas.countries()
        st.markdown(f"##### Most like {lonlat_text(lon, lat)}")
        table = [
            {
                "Number": b,
                "Place": lonlat_text(*graph.lonlat[b].tolist()),
                "Country": names.get(str(atlas.country_of(graph.lonlat[b][None])[0]), ""),
                "Away": f"{float(great_circle_km(graph.lonlat[0], graph.lonlat[b])):,.0f} km",
                "Score": score,
            }
            for a, b, score in graph.edges
            if a == 0
        ]
        st.dataframe(table, hide_index=True, width="stretch", column_config={"Score": TWO_DECIMALS})
        mutual = sum(1 for a, b, _ in graph.edges if a and b)
        st.caption(f"{len(graph.ids) - 1} places in the graph; {mutual} lines lead on from the first ring.")


def _coverage(ready: opened.Ready) -> None:
    left, right = st.columns([3, 1.3], gap="medium")
    found = coverage.measure(ready.index)
    with left:
        _map(f"coverage {ready.name}", dots=found.tiles, field=opened.cell_map(ready))
        st.caption(
            "Purple: land that has cells. Yellow dots: images" + (" (a part of them)." if found.thinned else ".")
        )
    with right:
        st.markdown("##### What this index covers")
        one, other = st.columns(2)
        one.metric("Places", f"{found.cells:,}")
        other.metric("Images", f"{found.images:,}")
        counts = {name: st.column_config.NumberColumn(format="localized") for name in ("Places", "Images")}
        st.dataframe(found.by_continent, hide_index=True, width="stretch", column_config=counts)
        if found.by_source:
            st.dataframe(found.by_source, hide_index=True, width="stretch", column_config=counts)
        if found.by_year:
            st.bar_chart(found.by_year, x="Year", y="Images", height=160)


page()
