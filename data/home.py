"""Where the things users make live: ``SAMEWHERE_HOME``, or the platform's user-data directory. Never the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def home() -> Path:
    """The directory under which everything that is made is kept; it need not exist yet."""
    moved = os.environ.get("SAMEWHERE_HOME", "").strip()
    return Path(moved).expanduser() if moved else Path(platformdirs.user_data_dir("samewhere", appauthor=False))


def models_path() -> Path:
    """Where checkpoints lie that were fetched by hand; whatever is put there can be loaded by its name."""
    return home() / "models"
