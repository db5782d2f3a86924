"""Jobs: indexes that a process of its own builds, to start, watch, pause, resume and delete."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import streamlit as st

from app import jobs, model_list
from app.setup_view import time_text
from data.catalogue import dataset_names
from data.errors import SamewhereError
from data.geo import BBox
from indexer.sources import BLUE_MARBLE

# H3 resolutions and the mean edge of their cells.
CELLS = {2: "160 km", 3: "60 km", 4: "23 km", 5: "9 km"}
AREAS = {
    "the whole Earth": "",
    "Europe": "-12, 34, 42, 72",
    "Africa": "-19, -36, 52, 38",
    "South America": "-82, -56, -34, 13",
    "the Alps": "5, 43.5, 17, 48.5",
}
BADGES = {
    "starting": ("blue", ":material/hourglass_top:"),
    "running": ("blue", ":material/play_arrow:"),
    "pausing": ("orange", ":material/hourglass_bottom:"),
    "paused": ("orange", ":material/pause:"),
    "stopped": ("orange", ":material/stop:"),
    "failed": ("red", ":material/error:"),
    "done": ("green", ":material/check:"),
}
SHOWN = 200


def page() -> None:
    """Draw everything."""
    st.markdown("#### Jobs")
    st.write(
        "A job describes an area with a model and keeps the result as an index. It runs in a process of its own: close "
        "this tab, or stop the server, and it goes on. `samewhere index status` in a terminal tells the same."
    )
    left, right = st.columns([1.1, 2], gap="large")
    with left:
        _form()
    with right:
        _list()


def _form() -> None:
    st.markdown("##### Start a job")
    models = model_list.here()
    sources = [BLUE_MARBLE, *dataset_names()]
    with st.form("job", border=True):
        name = st.text_input("Name of the new index", key="job_name", placeholder="alps", max_chars=64)
        model = st.selectbox("Model", models, key="job_model", help="Those that are on this machine.")
        chosen = st.multiselect(
            "Images from",
            sources,
            default=[BLUE_MARBLE],
            key="job_sources",
            help="The Blue Marble, and datasets that `samewhere data add` made.",
        )
        area = st.selectbox("Area", list(AREAS), key="job_area")
        box = st.text_input(
            "or west, south, east, north", key="job_bbox", placeholder="5, 43.5, 17, 48.5", help="In degrees."
        )
        cells = st.select_slider("Edge of a cell", list(CELLS), value=4, format_func=CELLS.__getitem__, key="job_cells")
        if st.form_submit_button("Start", type="primary", icon=":material/play_arrow:", width="stretch"):
            _do(lambda: _start(name, str(model), chosen, box.strip() or AREAS[area], int(cells)))
    st.caption(
        "Cells of 23 km cover all land in about a minute on one core; each step finer takes seven times as long."
    )


def _start(name: str, model: str, sources: list[str], box: str, cells: int) -> None:
    order = jobs.Order(
        checkpoint=model,
        sources=tuple(sources),
        cell_resolution=cells,
        tile_resolution=max(0, cells - 1),
        bbox=BBox.parse(box) if box else None,
    )
    jobs.start(name.strip(), order)
    st.session_state["job_said"] = ""


def _do(act: Callable[[], Any]) -> None:
    """Do something, or say why not."""
    try:
        act()
        st.session_state["job_said"] = ""
    except SamewhereError as error:
        st.session_state["job_said"] = str(error)


@st.fragment(run_every=2)
def _list() -> None:
    st.markdown("##### All jobs and indexes")
    if said := st.session_state.get("job_said"):
        st.error(said)
    found = jobs.jobs()
    if not found:
        st.info("There is no index yet. Start a job at the left; the alps take a few seconds.")
    for job in found:
        _card(job)


def _card(job: jobs.JobView) -> None:
    key = job.name or "-embedded"
    colour, icon = BADGES[job.state]
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown(f"**{job.name or 'The embedded index'}**", width="content")
            st.badge(jobs.STATES[job.state], icon=icon, color=colour)  # type: ignore[arg-type]
        if job.asked:
            st.caption(_asked_text(job.asked))
        if job.state in ("running", "pausing", "paused", "stopped") and job.total:
            st.progress(job.fraction, _progress_text(job))
        elif job.state in ("starting", "running"):
            st.progress(0.0, "Loading the model")
        if job.error:
            st.error(job.error)
        if job.counts and job.state == "done":
            st.caption(f"{job.counts['cells']:,} cells and {job.counts['tiles']:,} images.")
        if job.failures:
            with st.expander(f"{len(job.failures):,} images or cells could not be made"):
                rows = [{"shard": shard, "row": row, "why": why} for shard, row, why in job.failures[:SHOWN]]
                st.dataframe(rows, hide_index=True, width="stretch")
        _buttons(job, key)


def _asked_text(asked: dict[str, Any]) -> str:
    if "checkpoint" not in asked:
        return ""
    area = "the whole Earth" if not asked["bbox"] else "{:g}, {:g}, {:g}, {:g}".format(*asked["bbox"])
    cells = CELLS.get(asked["cell_resolution"], f"resolution {asked['cell_resolution']}")
    return f"{asked['checkpoint']} on {area}; cells of {cells}; images from {', '.join(asked['sources'])}."


def _progress_text(job: jobs.JobView) -> str:
    text = f"{job.done:,} of {job.total:,} rows, {job.shards[0]:,} of {job.shards[1]:,} shards"
    if job.state == "running":
        text += f", {job.rate:,.0f} rows a second" if job.rate else ""
        text += f", {time_text(job.remaining_s)}"
    return text


def _buttons(job: jobs.JobView, key: str) -> None:
    with st.container(horizontal=True, gap="small"):
        if job.state == "running":
            st.button(
                "Pause", icon=":material/pause:", key=f"pause_{key}", on_click=partial(_act, jobs.pause, job.name)
            )
        if job.state in ("paused", "stopped") or (job.state == "failed" and job.asked is not None):
            st.button(
                "Resume",
                icon=":material/play_arrow:",
                key=f"resume_{key}",
                on_click=partial(_act, jobs.resume, job.name),
            )
        if job.name and job.state == "done":
            st.button("Ask it", icon=":material/search:", key=f"ask_{key}", on_click=partial(_ask, job.name))
        if job.name and job.state in ("paused", "stopped", "failed", "done"):
            with st.popover("Delete", icon=":material/delete:"):
                st.write(f"This removes the index {job.name} and all that was made for it.")
                st.button(
                    "Delete it", type="primary", key=f"delete_{key}", on_click=partial(_act, jobs.delete, job.name)
                )
    if job.name and st.session_state.get("index") == job.name:
        st.caption("The other pages ask this index.")


def _act(act: Callable[[Any], None], name: str | None) -> None:
    _do(lambda: act(name))


def _ask(name: str) -> None:
    st.session_state["index"] = name
    st.session_state["hit"] = st.session_state["link_hit"] = None


page()
