"""A stand-in encoder pair: deterministic random features, cheap, and with views that have a closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from data.geo import unit_vectors

DIM = 16


class StandInPair:
    """Cosines of random projections; the first half of a vector is its smooth view, the second its sharp one."""

    dim = DIM
    views = ("smooth", "sharp", "both")
    tile_footprint_km = 237.2
    gsd_m = 7413.0

    def __init__(self, name: str = "stand-in", fingerprint: str = "a" * 64) -> None:
        """Take the identity it should claim."""
        self.name = name
        self.fingerprint = fingerprint
        rng = np.random.default_rng(7)
        scale = np.repeat([1.0, 6.0], DIM // 2)
        self._place = rng.normal(size=(3, DIM)) * scale
        self._image = rng.normal(size=(6, DIM)) * scale
        self._phase = rng.uniform(0, 2 * np.pi, DIM)

    def encode_location(self, lonlat: ArrayLike, *, normalize: bool = True) -> NDArray[np.float32]:
        """Embed (N, 2) degrees."""
        return self._features(unit_vectors(lonlat) @ self._place, normalize)

    def encode_image(
        self, images: Any, *, footprint_km: float | None = None, normalize: bool = True
    ) -> NDArray[np.float32]:
        """Embed by the mean and spread of each band."""
        stack = [np.asarray(getattr(image, "pixels", image)) for image in (images if _many(images) else [images])]
        stats = np.array([[*p[:3].mean((1, 2)), *p[:3].std((1, 2))] for p in stack]) / 64
        return self._features(stats @ self._image, normalize)

    def reweight(self, queries: NDArray[np.float32], view: str) -> NDArray[np.float32]:
        """Keep the view's half, scaled so that products with stored rows are cosines."""
        out = np.array(queries, dtype=np.float32)
        half = DIM // 2
        if view == "smooth":
            out[:, half:] = 0
        elif view == "sharp":
            out[:, :half] = 0
        return np.asarray(out / np.linalg.norm(out, axis=1, keepdims=True) * _stored_scale(view), dtype=np.float32)

    def _features(self, x: NDArray[np.float64], normalize: bool) -> NDArray[np.float32]:
        waves = np.cos(x + self._phase).reshape(len(x), 2, -1)
        if normalize:  # each half has length 1/√2, the whole has length 1
            waves /= np.linalg.norm(waves, axis=2, keepdims=True) * np.sqrt(2)
        return waves.reshape(len(x), -1).astype(np.float32)


def _stored_scale(view: str) -> float:
    """One over the length of the view's part of a stored row."""
    return 1.0 if view == "both" else float(np.sqrt(2))


def _many(images: Any) -> bool:
    return isinstance(images, list) or getattr(images, "ndim", 0) == 4
