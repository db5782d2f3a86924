"""Predict: a variable anywhere, with its interval; and a reader's own, fitted on a table."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from app import actions, mapped, opened, resources
from app.facts import class_name, number_text, plain
from app.field_image import Legend
from app.gallery import lonlat_text
from app.map_view import plain_map
from app.state import find_place
from app.url_state import number
from data.errors import QueryError, SamewhereError
from data.land import is_land

if TYPE_CHECKING:
    from model.predict import Predictor, Variable

KEY = "predict_map"
WHAT = {"value": "Prediction", "uncertainty": "Uncertainty"}
MOST_CLASSES = 12
LEAST_CHANCE = 0.005  # less would be shown as 0 %; no text below it, which Streamlit would put on the page
MOST_POINTS = 2500


def page() -> None:
    """Draw everything."""
    st.markdown("#### Predict a variable")
    ready = opened.index()
    if ready is None:
        return
    try:
        there = _variables(ready)
    except SamewhereError as error:
        st.error(str(error))
        return
    _from_url(there)
    left, right = st.columns([1.15, 3], gap="medium")
    with left:
        name = _choose(there)
        with st.expander("Fit your own", icon=":material/upload_file:"):
            _fit(ready)
    try:
        predictor = _predictor(ready, name, there[name].title)
        found = opened.mapped(ready, predictor)
    except SamewhereError as error:
        st.error(str(error))
        return
    with right:
        what = _map(ready, predictor, found)
    with left:
        _here(predictor)
        _downloads(ready, predictor, found)
    with right:
        _worth(predictor, what)
    point = st.session_state["predicted"]
    params = opened.linked({"variable": name} | ({"at": f"{number(point[0])},{number(point[1])}"} if point else {}))
    if params != st.query_params.to_dict():
        st.query_params.from_dict(params)
    st.session_state["predict_written"] = params


def _variables(ready: resources.Ready) -> dict[str, Variable]:
    from model.predict import variables

    damaged: list[str] = []
    found = variables(ready.index.encoder, damaged=damaged)  # type: ignore[arg-type]
    for sentence in damaged:
        st.warning(sentence)
    return {one.name: one for one in found}


def _from_url(there: dict[str, Variable]) -> None:
    state = st.session_state
    params = st.query_params.to_dict()
    state.setdefault("predicted", None)
    if params and params != state.get("predict_written"):
        wanted = params.get("variable", "")
        if wanted in there:
            state["predict_variable"] = wanted
        elif wanted:
            st.warning(plain(f"Left out of the link: there is no variable {wanted[:60]!r} for this index's model."))
        if text := params.get("at", ""):
            try:
                state["predicted"] = find_place(text)[0]
            except SamewhereError as error:
                st.warning(plain(f"Left out of the link: {error}"))
    kept = state.get("predict_variable", state.get("predict_kept"))
    state["predict_variable"] = kept if kept in there else next(iter(there))


def _choose(there: dict[str, Variable]) -> str:
    def title(name: str) -> str:
        one = there[name]
        return f"{one.title}{f' ({one.unit})' if one.unit else ''}{'' if one.builtin else ', yours'}"

    name = str(st.selectbox("Variable", list(there), format_func=title, key="predict_variable"))
    st.session_state["predict_kept"] = name
    st.text_input("Place", key="predict_place", placeholder="Rome   or   12.49, 41.89", on_change=_typed)
    if problem := st.session_state.get("predict_problem"):
        st.error(problem)
    return name


def _typed() -> None:
    text = st.session_state["predict_place"].strip()
    st.session_state["predict_problem"] = ""
    if text:
        try:
            st.session_state["predicted"] = find_place(text)[0]
        except SamewhereError as error:
            st.session_state["predict_problem"] = str(error)


def _on_picked() -> None:
    if (point := actions.clicked(KEY)) is not None:
        st.session_state["predicted"] = point
        st.session_state["predict_place"] = ""


def _predictor(ready: resources.Ready, name: str, title: str) -> Predictor:
    """The predictor, with a bar while it is fitted for the first time."""
    bar = st.empty()

    def tell(share: float, doing: str) -> None:
        bar.progress(min(1.0, max(0.0, share)), f"First use: {doing}")

    with st.spinner(f"Getting {title} ready…", show_time=True):
        predictor = resources.predictor(ready, name, progress=tell)
    bar.empty()
    return predictor


def _map(ready: resources.Ready, predictor: Predictor, found: mapped.Mapped) -> mapped.What:
    point = st.session_state["predicted"]
    what: mapped.What = st.session_state.get("predict_what") or "value"
    data = plain_map(
        page=opened.map_page(),
        token=f"{predictor.variable.name} {what} {point}",
        hint="" if point else "Click anywhere on land",
        field=opened.mapped_url(ready, predictor, what),
        pins=[point] if point else [],
    )
    opened.map_(data, key=KEY, on_picked=_on_picked)
    legend = found.legends[what]
    if legend is not None:
        st.html(_legend(legend, predictor, what))
        if predictor.variable.unit and not predictor.variable.builtin:
            st.text(f"in {predictor.variable.unit}")
    else:
        _classes(predictor, found)
    st.segmented_control(
        "Show",
        WHAT,
        format_func=WHAT.__getitem__,
        key="predict_what",
        default="value",
        required=True,
        label_visibility="collapsed",
    )
    unfamiliar = float(found.found.unfamiliar.mean())
    st.caption(
        f"{100 * unfamiliar:.0f} % of this land is unlike every place that the variable was fitted on: there, take "
        "values with salt."
        if unfamiliar >= 0.005
        else "Hardly any of this land is unlike the places that the variable was fitted on."
    )
    return what


def _legend(legend: Legend, predictor: Predictor, what: mapped.What) -> str:
    """The colour bar: numbers, colours and words of ours. A reader's own unit is told beside it, as text."""
    colours = ", ".join(legend.colours)
    bar = f'<span class="sw-bar" style="background:linear-gradient(90deg, {colours})"></span>'
    if predictor.variable.classes:
        low, high = (f"{100 * value:.0f} %" for value in (legend.low, legend.high))
        words = "chance that another class is right"
    else:
        unit = predictor.variable.unit if predictor.variable.builtin else ""
        own = not predictor.variable.builtin
        low, high = (number_text(value, unit, own=own) for value in (legend.low, legend.high))
        words = "predicted value" if what == "value" else "half the width of the 90 % interval"
    return f'<div class="sw-legend"><span>≤ {low}</span>{bar}<span>≥ {high}</span><span>{words}</span></div>'


def _classes(predictor: Predictor, found: mapped.Mapped) -> None:
    """Colours of classes. Names of a reader's own classes stand in a table, as text; no HTML is made of them."""
    shown = found.classes[:MOST_CLASSES]
    if predictor.variable.builtin:
        spots = "".join(
            f'<span class="sw-spot"><i style="background:{colour}"></i>{name} {100 * share:.0f} %</span>'
            for name, colour, share in ((class_name(predictor, name), colour, share) for name, colour, share in shown)
        )
        st.html(f'<div class="sw-spots">{spots}</div>')
    else:
        rows = [
            {"Colour": mapped.swatch(colour), "Class": name, "Land": f"{100 * share:.0f} %"}
            for name, colour, share in shown
        ]
        st.dataframe(rows, hide_index=True, column_config={"Colour": st.column_config.ImageColumn(width="small")})
    if len(found.classes) > MOST_CLASSES:
        st.caption(f"and {len(found.classes) - MOST_CLASSES} rarer ones")


def _here(predictor: Predictor) -> None:
    """The value at the chosen place."""
    point = st.session_state["predicted"]
    if point is None:
        st.info("Click the map, or type a place, for its value and the interval around it.")
        return
    one = predictor.predict(np.array([point]))
    variable = predictor.variable
    with st.container(border=True):
        if one.labels is not None and one.probabilities is not None:
            st.caption(plain(variable.title))
            name = class_name(predictor, str(one.labels[0]))
            if variable.builtin:
                st.markdown(f"#### {name}")
            else:
                st.text(name)
            likely = one.probabilities[0]
            chances = "; ".join(
                f"{plain(class_name(predictor, variable.classes[n]))} {100 * float(likely[n]):.0f} %"
                for n in np.argsort(-likely)[:3].tolist()
                if likely[n] >= LEAST_CHANCE
            )
            st.write(f"Most likely: {chances}.")
        else:
            said, low, high = (
                number_text(float(value[0]), variable.unit, own=not variable.builtin)
                for value in (one.values, one.low, one.high)
            )
            st.metric(plain(variable.title), said)
            st.write(f"Nine times in ten the truth lies between {plain(low)} and {plain(high)}.")
        st.caption(f"At {lonlat_text(*point)}.")
        if one.unfamiliar[0]:
            st.warning("This place is unlike every place that the variable was fitted on. Take the value with salt.")
        if not is_land(np.array(point)):
            st.warning("This point is not on land. The model has only seen land.")


def _downloads(ready: resources.Ready, predictor: Predictor, found: mapped.Mapped) -> None:
    one, other = st.columns(2, gap="small")
    name = predictor.variable.name
    one.download_button(
        "GeoTIFF",
        partial(mapped.geotiff, predictor),
        f"{name}.tif",
        "image/tiff",
        icon=":material/download:",
        on_click="ignore",
        width="stretch",
        help="All land north of 60° S at 0.5°: value, interval, flag. Takes some seconds.",
    )
    other.download_button(
        "Parquet",
        partial(mapped.parquet, ready.index, predictor, found.found),
        f"{name}.parquet",
        "application/octet-stream",
        icon=":material/download:",
        on_click="ignore",
        width="stretch",
        help="Every cell of the index: value, interval, flag, and its point.",
    )


def _worth(predictor: Predictor, what: mapped.What) -> None:
    """How good it is on places that it had not seen."""
    st.markdown("##### On places it had not seen")
    near, far = predictor.random, predictor.blocks
    regression = not predictor.variable.classes
    measure = "R²" if regression else "Accuracy"
    shown = [
        f"{check.score:.3f}".replace("-", "−") if regression else f"{100 * check.score:.0f} %" for check in (near, far)
    ]
    with st.container(horizontal=True, gap="large"):
        st.metric(f"{measure}, random places", shown[0], width="content")
        st.metric(
            f"{measure}, whole blocks held out",
            shown[1],
            width="content",
            help="Blocks of the globe are left out whole, so that no neighbour gives the answer away. The truth about "
            "a map lies between the two.",
        )
        st.metric("Intervals that held", f"{100 * near.coverage:.0f} %", width="content", help="90 % is aimed at.")
    if regression:
        _scatter(predictor)
    else:
        _recalls(predictor)


def _scatter(predictor: Predictor) -> None:
    """Predicted against true values."""
    import altair as alt
    import pandas as pd

    check = predictor.random
    truth, guess = predictor.in_unit(check.truth)[:MOST_POINTS], predictor.in_unit(check.predicted)[:MOST_POINTS]
    title = f"{predictor.variable.title}{f' ({predictor.variable.unit})' if predictor.variable.unit else ''}"
    low, high = float(min(truth.min(), guess.min())), float(max(truth.max(), guess.max()))
    scale = alt.Scale(domain=[low, high], nice=False)
    points = (
        alt.Chart(pd.DataFrame({"true": truth, "predicted": guess}))
        .mark_circle(size=14, opacity=0.35)
        .encode(
            x=alt.X("true:Q", scale=scale, title=f"True: {title}"),
            y=alt.Y("predicted:Q", scale=scale, title="Predicted"),
            tooltip=[alt.Tooltip("true:Q", format=".3~g"), alt.Tooltip("predicted:Q", format=".3~g")],
        )
    )
    line = (
        alt.Chart(pd.DataFrame({"v": [low, high]}))
        .mark_line(strokeDash=[5, 4], color="#e07b00")
        .encode(x="v:Q", y="v:Q")
    )
    st.altair_chart((points + line).properties(height=380), width="stretch")
    st.caption(f"{len(truth):,} places held out at random. On the dashed line, prediction and truth are the same.")


def _recalls(predictor: Predictor) -> None:
    """How often each class is recognised."""
    check = predictor.random
    rows: list[dict[str, Any]] = []
    for number_, name in enumerate(predictor.variable.classes):
        mine = check.truth == number_
        if mine.any():
            right = float((check.predicted[mine] == number_).mean())
            rows.append({"Class": class_name(predictor, name), "Places": int(mine.sum()), "Recognised": 100 * right})
    rows.sort(key=lambda row: -row["Places"])
    bar = st.column_config.ProgressColumn("Recognised", format="%.0f %%", min_value=0.0, max_value=100.0)
    st.dataframe(rows, hide_index=True, width="stretch", column_config={"Recognised": bar})


def _fit(ready: resources.Ready) -> None:
    """A table of a reader's own."""
    file = st.file_uploader(
        "A table of places",
        ["csv", "tsv", "txt", "parquet", "geoparquet"],
        key="fit_file",
        help="CSV or Parquet with columns lon and lat and one to predict; 30 places at least, up to 32 MB.",
    )
    if said := st.session_state.pop("fit_said", ""):
        st.success(said)
    if file is None:
        st.caption(
            "Drop a CSV here: a column of longitudes, one of latitudes, one to predict. It stays on this machine."
        )
        return
    try:
        points = mapped.read_upload(file.getvalue())
        columns = mapped.targets_of(points)
        if not columns:
            raise QueryError("The table has no column beside the places. Add the one to predict.")
    except SamewhereError as error:
        st.error(str(error))
        return
    st.caption(f"{len(points):,} places.")
    target = str(st.selectbox("Predict", columns, key="fit_target"))
    name = st.text_input("Call it", key="fit_name", placeholder="soil-ph", max_chars=64)
    unit = st.text_input("Unit", key="fit_unit", placeholder="pH", max_chars=20)
    if not st.button("Fit", type="primary", icon=":material/model_training:", width="stretch"):
        return
    bar = st.progress(0.0, "Reading the table")

    def tell(share: float, doing: str) -> None:
        bar.progress(min(1.0, max(0.0, share)), doing)

    try:
        report = mapped.fit(
            points,
            target,
            ready.index.encoder,  # type: ignore[arg-type]
            name=(name or target).strip(),
            unit=unit.strip(),
            progress=tell,
        )
    except SamewhereError as error:
        bar.empty()
        st.error(str(error))
        return
    resources.forget_predictor(ready, report.saved.name)
    st.session_state["fit_said"] = " ".join([f"{report.saved.name} is fitted.", report.gap, *report.notes])
    st.session_state["predict_kept"] = report.saved.name
    st.session_state.pop("predict_variable", None)
    st.session_state["predict_written"] = st.query_params.to_dict()
    st.rerun()


page()
