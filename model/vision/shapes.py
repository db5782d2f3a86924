"""What an image encoder accepts: one check, one sentence.

Owns the shape of the images that enter a vision trunk. Which bands they hold, and in what unit, is the pair's to check.
"""

from __future__ import annotations

from torch import Tensor

from data.errors import PatchError


def check_images(images: Tensor, channels: int, *, side_px: int | None = None) -> None:
    """Refuse images that the trunk's weights do not fit.

    Args:
        images: what is about to be encoded.
        channels: the number of bands that the first layer takes.
        side_px: the one side length, pixels, that the position embedding was made for; None if any will do.

    Raises:
        PatchError: ``images`` is not (N, channels, H, W), or not (N, channels, side_px, side_px).
    """
    side = () if side_px is None else (side_px, side_px)
    if images.ndim == 4 and images.shape[1] == channels and (not side or images.shape[2:] == side):
        return
    height, width = side or ("H", "W")
    remedy = "" if side_px is None else f", and crop or resize every patch to {side_px} × {side_px} pixels"
    raise PatchError(
        f"This image encoder takes a batch of shape (N, {channels}, {height}, {width}), but was given "
        f"{tuple(images.shape)}: pass {channels} bands in the checkpoint's order{remedy}."
    )
