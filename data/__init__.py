"""Coordinates, bands, patches, imagery sources and atlas layers. Nothing here imports torch.

``read_patch`` and ``Patch`` are imported on first use, so that ``import data`` does not wait for rasterio.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data.patch import Patch, read_patch

__all__ = ["Patch", "read_patch"]


def __getattr__(name: str) -> Any:
    """Import the public names when they are asked for."""
    if name in __all__:
        from data import patch

        return getattr(patch, name)
    raise AttributeError(f"module 'data' has no attribute {name!r}")
