"""MOSAIKS: random convolutional features of the imagery around a place.

Owns the featuriser, which is drawn and never trained, and the encoder that cuts imagery around places and runs it. The
filters are small patches of the imagery itself; they look for both what they show and its negative. Published feature
tables are read by :mod:`model.baselines.mosaiks_table`.

Source:
    Rolf et al. 2021, A generalizable and accessible approach to machine learning with global satellite imagery (Nature
    Communications 12, 4392), Methods, "Featurization"; Coates & Ng 2012, Learning Feature Representations with K-means.
    The normalisation, its constants and the sign of the bias were checked against the public code of both groups.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional

from data.blue_marble import SOURCE, BlueMarble
from data.geo import Floats
from model.baselines.base import Baseline
from model.baselines.imagery import training_places
from model.encoder import Vectors, check_points

Imagery = Callable[[Floats], NDArray[Any]]
"""(N, 2) degrees to (N, C, H, W): uint8, or float 0…1."""

SMALLEST_NORM = 1e-8
PART = 64


@dataclass(frozen=True)
class MosaiksConfig:
    """What shapes the features.

    Attributes:
        filters: K; there are 2K features. The paper has 4,096.
        filter_px: side of a filter.
        zca_bias: added to the eigenvalues before they are inverted.
        bias: what a filter's answer must exceed to count.
        images: images that filters are drawn from.
        seed: of the draw.
    """

    filters: int = 512
    filter_px: int = 3
    zca_bias: float = 1e-3
    bias: float = 1.0
    images: int = 2_000
    seed: int = 2026


def draw_filters(config: MosaiksConfig, images: NDArray[Any]) -> Tensor:
    """Draw filters from images: patches, each less its mean and of unit norm, whitened together (ZCA) twice over.

    Twice, because a filter's answer is the inner product of two whitened patches: that of the image need then not be
    whitened itself.

    Args:
        config: how many, and how large.
        images: (N, C, H, W) uint8 or float 0…1.

    Returns:
        (K, C, filter_px, filter_px) float32.
    """
    rng, side = np.random.default_rng(config.seed), config.filter_px
    pixels = _unit(images)
    count, _, height, width = pixels.shape
    # The whitening is estimated from more patches than become filters.
    drawn = max(20 * config.filters, 10_000)
    rows, tops, lefts = (rng.integers(n, size=drawn) for n in (count, height - side + 1, width - side + 1))
    patches = np.stack([pixels[i, :, y : y + side, x : x + side] for i, y, x in zip(rows, tops, lefts, strict=True)])
    flat = patches.reshape(drawn, -1).astype(np.float64)
    flat -= flat.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    flat /= np.where(norms < SMALLEST_NORM, 1.0, norms)
    values, vectors = np.linalg.eigh(flat.T @ flat / drawn)
    whiten = vectors @ np.diag((np.maximum(values, 0) + config.zca_bias) ** -0.5) @ vectors.T
    # A patch of one colour (the open sea) is zero and would make a filter that answers nothing.
    lively = np.flatnonzero(norms[:, 0] >= SMALLEST_NORM)[: config.filters]
    filters = flat[lively] @ whiten @ whiten.T
    return torch.from_numpy(filters.reshape(-1, *patches.shape[1:]).astype(np.float32))


def featurize(images: Tensor, filters: Tensor, *, bias: float) -> Tensor:
    """Mean answers of every filter and of its negative: (N, C, H, W) to (N, 2K).

    Column k is the mean over the image of max(0, f_k ∗ x − bias), column K + k that of max(0, −f_k ∗ x − bias).
    """
    answers = functional.conv2d(images, filters)
    above = (answers - bias).clamp_(min=0).mean(dim=(2, 3))
    below = (answers + bias).clamp_(max=0).mean(dim=(2, 3))
    return torch.cat([above, -below], dim=1)


class MosaiksBaseline(Baseline):
    """Random convolutional features of what an imagery source shows around a place."""

    def __init__(self, config: MosaiksConfig, filters: Tensor, imagery: Imagery, *, source: str) -> None:
        """Take filters, and what cuts imagery around places."""
        card = {
            "description": f"MOSAIKS: {len(filters)} random filters and their negatives over {source}",
            "source": "Rolf et al. 2021, MOSAIKS (Nature Communications 12, 4392)",
            "weights": "drawn from the imagery, never trained",
            "license": "MIT",
        }
        super().__init__("mosaiks", 2 * len(filters), card=card)
        self.config, self.filters, self._imagery = config, filters, imagery

    @torch.inference_mode()
    def encode_location(self, lonlat: ArrayLike | Tensor) -> Vectors:
        """As :meth:`Baseline.encode_location`; imagery is cut, 64 places at a time."""
        points = check_points(lonlat)
        out = np.empty((len(points), self.dim), dtype=np.float32)
        for start in range(0, len(points), PART):
            pixels = torch.from_numpy(_unit(self._imagery(points[start : start + PART])))
            # One image at a time: the answers to it (2 MB) stay in the processor's cache, which is eight times as fast.
            for row, image in enumerate(torch.split(pixels, 1), start):
                out[row] = featurize(image, self.filters, bias=self.config.bias).numpy()
        return out


def make_mosaiks(
    config: MosaiksConfig = MosaiksConfig(),
    *,
    imagery: Imagery | None = None,
    source: str = SOURCE,
) -> MosaiksBaseline:
    """Draw a featuriser. The same seed gives the same features.

    Args:
        config: its shape.
        imagery: what cuts images around places; the Blue Marble, 237 km around, by default.
        source: what the imagery is, for the card.
    """
    cut: Imagery = BlueMarble.open().cut if imagery is None else imagery
    places = training_places(config.images)
    return MosaiksBaseline(config, draw_filters(config, cut(places)), cut, source=source)


def _unit(images: NDArray[Any]) -> NDArray[np.float32]:
    """Images as float32; whole numbers are bytes."""
    scale = 255 if images.dtype == np.uint8 else 1
    return np.ascontiguousarray(images, dtype=np.float32) / np.float32(scale)
