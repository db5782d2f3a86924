"""The names of the views of an embedding, and which one answers which query. No torch here."""

from __future__ import annotations

from collections.abc import Mapping

SMOOTH, SHARP, BOTH = "smooth", "sharp", "both"
VIEWS = (SMOOTH, SHARP, BOTH)
DEFAULT_VIEW: Mapping[str, str] = {"place": BOTH, "image": BOTH, "tile": BOTH}
"""The view that answers each kind of query when the user names none (``samewhere evaluate retrieval``)."""
