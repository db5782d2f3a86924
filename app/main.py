"""The app. ``streamlit run app/main.py`` starts here; this file names the pages and what they share."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from app import setup_view, state

STYLE = """
<style>
.stMainBlockContainer { padding: 3.6rem 2rem 2rem; max-width: 1800px; }
.stAppHeader { background: var(--st-background-color, transparent); }
/* Streamlit tells only screen readers why it refuses a file that is too large. Tell everyone. */
[data-testid="stFileChip"][aria-invalid="true"] { flex-wrap: wrap; height: auto; }
[data-testid="stFileChip"] [role="alert"] {
  position: static; width: 100%; height: auto; margin: 0; clip: auto; clip-path: none; overflow: visible;
  white-space: normal; font-size: .85rem;
}
.sw-legend {
  display: flex; flex-wrap: wrap; align-items: center; gap: .1rem .6rem; font-size: .85rem;
  font-variant-numeric: tabular-nums;
}
.sw-legend .sw-bar { flex: 1; min-width: 60px; max-width: 260px; height: 10px; border-radius: 5px; }
.sw-legend span:last-child { opacity: .75; }
.sw-table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
.sw-table th, .sw-table td { padding: .28rem .5rem; text-align: left; vertical-align: top; }
.sw-table tr { border-bottom: 1px solid #8884; }
.sw-table th { font-weight: 600; opacity: .8; }
.sw-spots { display: flex; flex-wrap: wrap; gap: .15rem .9rem; font-size: .85rem; }
.sw-spot { white-space: nowrap; }
.sw-spot i { display: inline-block; width: .75rem; height: .75rem; border-radius: 3px; margin-right: .35rem; }
.sw-matrix { width: auto; }
.sw-matrix td, .sw-matrix th { text-align: center; min-width: 4.2rem; line-height: 1.25; }
.sw-matrix small { opacity: .75; }
@media (max-width: 640px) { .stMainBlockContainer { padding: 3.4rem .8rem 2rem; } }
</style>
"""
HEADER = (
    '<div style="display:flex;flex-wrap:wrap;align-items:baseline;gap:.1rem .9rem;margin:.1rem 0 .2rem">'
    '<h1 style="margin:0;padding:0;font-size:1.7rem;font-weight:700;letter-spacing:-.01em">Samewhere</h1>'
    '<span style="opacity:.7">Find the places on Earth that look like this one</span></div>'
)
VIEWS = Path(__file__).parent / "views"
# File in views/, title, icon. The first is where one arrives. (Streamlit would print a string that stands here.)
PAGES = (
    ("search", "Search", ":material/travel_explore:"),
    ("compare", "Compare", ":material/compare:"),
    ("predict", "Predict", ":material/query_stats:"),
    ("explore", "Explore", ":material/public:"),
    ("jobs", "Jobs", ":material/manufacturing:"),
    ("models", "Models & data", ":material/dataset:"),
)
NEED_NO_INDEX = ("jobs", "models")


def app() -> None:
    """Draw the page that is asked for."""
    # first of all, or the browser looks for the icon of the page in a network
    st.set_page_config("Samewhere", str(Path(__file__).parent / "static" / "icon.png"), layout="wide")
    st.html(STYLE)
    pages = {
        name: st.Page(VIEWS / f"{name}.py", title=title, icon=icon, url_path=name, default=name == PAGES[0][0])
        for name, title, icon in PAGES
    }
    page = st.navigation(list(pages.values()), position="top")
    name = next(key for key, one in pages.items() if one == page)
    if name != PAGES[0][0]:
        st.set_page_config(f"{page.title} · Samewhere")  # the browser's tabs and history tell pages apart
    state.keep()
    if name == PAGES[0][0]:
        st.html(HEADER)
    else:
        st.session_state["page"] = name
    if name not in NEED_NO_INDEX and setup_view.stands_in_the_way():
        return
    page.run()


app()
