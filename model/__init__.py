"""Encoders, training, checkpoints and evaluation.

``load`` is imported on first use, so that ``import model`` does not wait for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from model.views import DEFAULT_VIEW

if TYPE_CHECKING:
    from model.checkpoint import load
    from model.pair import EncoderPair

__all__ = ["DEFAULT_VIEW", "EncoderPair", "load"]


def __getattr__(name: str) -> Any:
    """Import the public names when they are asked for."""
    if name == "load":
        from model.checkpoint import load

        return load
    if name == "EncoderPair":
        from model.pair import EncoderPair

        return EncoderPair
    raise AttributeError(f"module 'model' has no attribute {name!r}")
