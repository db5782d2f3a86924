"""Models & data: which checkpoint and index are asked, what they are worth, and whose data they rest on."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import streamlit as st

from app import model_list, resources
from data.catalogue import Catalogue, dataset_names
from data.errors import SamewhereError
from indexer.snapshot import index_status

ATLAS = Path(__file__).parents[2] / "data" / "atlas" / "ATTRIBUTION.md"
EMBEDDED = "The embedded index"


def page() -> None:
    """Draw everything."""
    st.markdown("#### Models & data")
    tabs = st.tabs(["Index", "Models", "Datasets", "Attributions"])
    with tabs[0]:
        _indexes()
    with tabs[1]:
        _models()
    with tabs[2]:
        _datasets()
    with tabs[3]:
        _attributions()


def _indexes() -> None:
    names = ["", *resources.index_names()]
    chosen = st.session_state.get("index") or ""
    picked = st.radio(
        "The other pages ask",
        names,
        index=names.index(chosen) if chosen in names else 0,
        format_func=lambda name: name or EMBEDDED,
        help="For this tab alone; others keep theirs. The Jobs page makes indexes.",
    )
    if (picked or None) != st.session_state.get("index"):
        st.session_state["index"] = picked or None
        st.session_state["hit"] = st.session_state["link_hit"] = None
    path = resources.index_path(picked or None)
    found = index_status(path)
    if found["state"] != "ready":
        st.warning(found["problem"] or "This index is being built.")
        return
    manifest = found["manifest"]
    with st.container(horizontal=True, gap="large"):
        st.metric("Places", f"{manifest['counts']['cells']:,}", width="content")
        st.metric("Images", f"{manifest['counts']['tiles']:,}", width="content")
        st.metric("On disk", f"{found['bytes'] / 1e6:,.0f} MB", width="content")
        st.metric("Model", manifest["checkpoint"]["name"], width="content")
    sources = ", ".join(f"{name} ({rows:,})" for name, rows in manifest["sources"].items()) or "none"
    box = manifest["parameters"].get("bbox")
    area = "; area " + ", ".join(f"{value:g}" for value in box) if box else ""
    st.caption(
        f"Images from {sources}{area}. Built {manifest['created'][:16].replace('T', ' ')} UTC. "
        f"Fingerprint {manifest['fingerprint'][:12]}, checkpoint {manifest['checkpoint']['fingerprint'][:12]}."
    )
    if manifest["failed"]:
        st.caption(f"{len(manifest['failed']):,} rows could not be made; the page Jobs lists them.")


def _models() -> None:
    st.write(
        "A model turns images and coordinates into vectors. The built-in one works offline; the official SatCLIP "
        "models see Sentinel-2 at 10 m and are downloaded once, which needs a network."
    )
    for model in model_list.models():
        with st.container(border=True):
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.markdown(f"**{model.name}**", width="content")
                if model.here:
                    st.badge("On this machine", icon=":material/check:", color="green")
                else:
                    st.badge("Not here", icon=":material/cloud_download:", color="gray")
            facts = [f"{model.size} MB" if model.size else "", model.trained_on]
            facts += [
                f"{model.gsd_m:,.0f} m a pixel" if model.gsd_m else "",
                model.license and f"licence {model.license}",
            ]
            st.caption("; ".join(filter(None, facts)) + ".")
            if model.problem:
                st.error(model.problem)
            if model.paper:
                st.caption(model.paper)
            if model.measured:
                with st.expander("Measured"):
                    for task, rows in model.measured.items():
                        st.markdown(f"**{task}**")
                        st.dataframe(rows, hide_index=True, width="stretch")
            elif model.here:
                st.caption("No figures are in its card; `samewhere evaluate` measures it on this machine.")
            if model.official and not model.here:
                _pull(model.name)


def _pull(name: str) -> None:
    if st.button("Download (needs a network)", icon=":material/download:", key=f"pull_{name}"):
        try:
            with st.spinner(f"Downloading {name}; 57 to 130 MB…", show_time=True):
                model_list.pull(name)
        except SamewhereError as error:
            st.error(str(error))
        else:
            st.rerun()


def _datasets() -> None:
    names = dataset_names()
    if not names:
        st.info(
            "No dataset yet. `samewhere data add FOLDER --name NAME` makes one of a folder of Sentinel-2 patches; the "
            "Jobs page then builds an index with it."
        )
        return
    rows = []
    for name in names:
        try:
            about = Catalogue.open(name).describe()
        except SamewhereError as error:
            st.error(str(error))
            continue
        first, last = (str(about[key] or "")[:10] for key in ("first", "last"))
        span = f"{first} to {last}" if first else "unknown"
        rows.append({"Dataset": name, "Images": about["count"], "Taken": span, "MB": round(about["bytes"] / 1e6, 1)})
    st.dataframe(rows, hide_index=True, width="stretch")


def _attributions() -> None:
    st.dataframe(_attribution_rows(), hide_index=True, width="stretch")
    st.caption(
        "Contains modified Copernicus Climate Change Service information (2000 to 2025). Neither the European "
        "Commission nor ECMWF is responsible for any use of it."
    )


@cache
def _attribution_rows() -> list[dict[str, str]]:
    """The table of the atlas's attributions, as it is kept with the data."""
    rows = []
    for line in ATLAS.read_text("utf-8").splitlines():
        cells = [re.sub(r"`", "", cell).strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) >= 4:
            rows.append({"File": Path(cells[0]).name, "What": cells[1], "Source": cells[2], "Licence": cells[3]})
    return rows


page()
