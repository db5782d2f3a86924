"""The names of the views of an embedding, and which one answers which query. No torch here."""

from __future__ import annotations

from collections.abc import Mapping

SMOOTH, SHARP, BOTH = "smooth", "sharp", "both"
VIEWS = (SMOOTH, SHARP, BOTH)
DEFAULT_VIEW: Mapping[str, str] = {"place": SMOOTH, "image": BOTH, "tile": BOTH}
"""The view that answers each kind of query best (``samewhere evaluate retrieval``)."""
