"""The first start, and what to do about an index that cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import resources
from data.errors import SamewhereError

if TYPE_CHECKING:
    from indexer.progress import Progress

STAGES = {
    "prepare": "Getting ready",
    "cells": "Placing the land cells",
    "tiles": "Looking at the satellite pictures",
    "finish": "Writing it all down",
}


def time_text(seconds: float | None) -> str:
    """A time left in words, no more exact than it is."""
    if seconds is None:
        return "estimating the time left"
    if seconds < 10:
        return "a few seconds left"
    if seconds < 55:
        return f"about {10 * round(seconds / 10):.0f} seconds left"
    minutes = max(1, round(seconds / 60))
    return f"about {minutes} minute{'' if minutes == 1 else 's'} left"


def progress_text(progress: Progress) -> str:
    """What the bar says."""
    stage = STAGES.get(progress.stage, progress.stage)
    return f"{stage}: {progress.done:,} of {progress.total:,}, {time_text(progress.remaining_s)}"


def stands_in_the_way() -> bool:
    """Whether the index has to be built before anything else, which is then done under the reader's eyes."""
    if st.session_state.get("rebuild"):
        build(anew=True)
        return True
    standing = resources.standing()
    if standing != "there":
        build(resumed=standing == "unfinished")
        return True
    return False


def build(*, resumed: bool = False, anew: bool = False) -> None:
    """Build the index under the reader's eyes, then run the page again."""
    st.html("<style>[data-stale='true'] { display: none; }</style>")  # the page before, greyed out, for minutes
    with st.container(width=640):
        st.markdown("#### Finishing the index" if resumed else "#### Building the index")
        st.write(
            "This happens once. Samewhere describes all land on Earth, some 82,000 places and 12,000 satellite "
            "pictures, and keeps the result. On two processor cores it takes half a minute to two minutes."
            + (" An earlier build was interrupted; this one goes on where it stopped." if resumed else "")
        )
        bar = st.progress(0.0, "Loading the model")

    def report(progress: Progress) -> None:
        bar.progress(min(1.0, max(0.0, progress.fraction)), progress_text(progress))

    try:
        resources.build(report, anew=anew)
    except SamewhereError as error:
        bar.empty()
        st.error(str(error))
        st.button("Try again", type="primary")
        return
    for told in ("rebuild", "trouble"):
        st.session_state.pop(told, None)
    st.rerun()


def offer_remedy(error: SamewhereError, index: str | None) -> None:
    """Say what is wrong with an index, and offer to build it again where it is one that the page itself built.

    Args:
        error: what is wrong.
        index: name of the index; None for the embedded one.
    """
    st.error(str(error))
    if resources.is_ours(index):
        st.button("Build the index again", type="primary", icon=":material/refresh:", on_click=_ask_rebuild)
    else:
        st.button("Try again", type="primary", icon=":material/refresh:", on_click=_forget_trouble)


def _ask_rebuild() -> None:
    st.session_state["rebuild"] = True


def _forget_trouble() -> None:
    st.session_state.pop("trouble", None)
