"""A pair that needs no training: both encoders see the Blue Marble's mean colour and contrast around a point.

Small, deterministic and truthful enough that a patch finds the places that look like it; used where a test is about the
page and not about the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.blue_marble import FOOTPRINT_KM, BlueMarble
from data.geo import validate_lonlat
from data.patch import Patch

Vectors = NDArray[np.float32]


class StandInPair:
    """The methods of ``model.EncoderPair`` over hand-made features."""

    name = "stand-in"
    fingerprint = "0" * 64
    dim = 8
    views = ("smooth", "sharp", "both")
    tile_footprint_km = FOOTPRINT_KM

    def encode_location(self, lonlat: ArrayLike, *, normalize: bool = True) -> Vectors:
        """Embed (N, 2) degrees."""
        points = validate_lonlat(lonlat)
        return _embed(BlueMarble.open().cut(points, size_px=8) / 255, normalize)

    def encode_image(self, images: Any, *, footprint_km: float | None = None, normalize: bool = True) -> Vectors:
        """Embed a patch, several, or (N, 3, H, W) uint8."""
        if isinstance(images, np.ndarray):
            pixels = images.reshape(len(images), 3, 8, images.shape[2] // 8, 8, -1).mean(axis=(3, 5)) / 255
            return _embed(pixels, normalize)
        several: Sequence[Patch] = [images] if isinstance(images, Patch) else images
        return np.concatenate([_embed(_shrink(patch.visible())[None], normalize) for patch in several])

    def reweight(self, queries: ArrayLike, view: str) -> Vectors:
        """All views are the same here."""
        return np.array(queries, dtype=np.float32, ndmin=2)


def _shrink(pixels: NDArray[np.float32]) -> NDArray[np.floating]:
    side = min(pixels.shape[1:]) // 8 * 8
    blocks = np.nan_to_num(pixels[:, :side, :side]).reshape(3, 8, side // 8, 8, side // 8)
    return np.asarray(blocks.mean(axis=(2, 4)))


def _embed(pixels: NDArray[np.floating], normalize: bool) -> Vectors:
    """(N, 3, 8, 8) values 0…1 to (N, 8)."""
    mean, spread = pixels.mean(axis=(2, 3)), pixels.std(axis=(2, 3))
    tilt = pixels[:, 1, :4].mean(axis=(1, 2)) - pixels[:, 1, 4:].mean(axis=(1, 2))
    bright = mean.mean(axis=1)
    parts = [mean - 0.35, 3 * spread, tilt[:, None], (bright - 0.35)[:, None] * 0.5]
    raw = np.concatenate(parts, axis=1)
    return np.asarray(raw / np.linalg.norm(raw, axis=1, keepdims=True) if normalize else raw, dtype=np.float32)
