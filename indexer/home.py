"""Where the embedded index lies: in ``SAMEWHERE_HOME``, which ``data.home`` resolves."""

from __future__ import annotations

from pathlib import Path

from data.home import home


def default_index_path() -> Path:
    """Where the embedded index lies."""
    return home() / "index"
