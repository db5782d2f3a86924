"""What trainable baselines are trained on: places over the land, and what the Blue Marble shows there.

Owns the stand-ins. CSP's authors take a frozen image classifier's features: here they are those of the embedded pair's
image encoder, frozen. GPS2Vec's authors take the tags of a photograph, and the classes that two classifiers see in it:
here they are visual words, cluster numbers of small pieces of the picture and of whole patches. No atlas variable is
within reach of this module, and places are those of :func:`data.splits.make_split`, so that the held-out sets of the
embedded pair are held out here too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

from data.blue_marble import BlueMarble
from data.geo import Floats
from data.splits import make_split

Features = NDArray[np.float32]

PART = 2048
PIECE_PX = 8
"""Side of the pieces whose clusters stand in for tags: a patch has 16 of them."""
CLUSTERED = 20_000
"""Rows that the clusters are found from."""
ROUNDS = 20


def training_places(count: int) -> Floats:
    """(count, 2) degrees over the land, outside the held-out blocks; as many as are asked for are drawn."""
    return make_split(count, hold_out_blocks=True).train


def image_features(lonlat: Floats) -> Features:
    """The embedded pair's raw image vectors of full patches at (N, 2) places: (N, 256)."""
    from model.checkpoint import load

    pair, picture = load(), BlueMarble.open()
    parts = [lonlat[start : start + PART] for start in range(0, len(lonlat), PART)]
    return np.concatenate([pair.encode_image(picture.cut(part), normalize=False) for part in parts])


def piece_features(lonlat: Floats) -> Features:
    """Mean and spread of the colours of the 16 pieces of every patch: (N, 16, 6), 0…1."""
    picture, rows = BlueMarble.open(), []
    for start in range(0, len(lonlat), PART):
        pixels = picture.cut(lonlat[start : start + PART]).astype(np.float32) / 255
        count = pixels.shape[-1] // PIECE_PX
        pieces = pixels.reshape(len(pixels), 3, count, PIECE_PX, count, PIECE_PX)
        stats = np.concatenate([pieces.mean(axis=(3, 5)), pieces.std(axis=(3, 5))], axis=1)  # (n, 6, 4, 4)
        rows.append(stats.reshape(len(pixels), 6, -1).transpose(0, 2, 1))
    return np.concatenate(rows).astype(np.float32)


def cluster_numbers(rows: Features, clusters: int, *, seed: int) -> NDArray[np.int64]:
    """Nearest of ``clusters`` k-means centres to each of (N, F) standardised rows: (N,)."""
    rng = np.random.default_rng(seed)
    scaled = (rows - rows.mean(axis=0)) / np.maximum(rows.std(axis=0), 1e-6)
    drawn = scaled[rng.choice(len(scaled), min(CLUSTERED, len(scaled)), replace=False)].astype(np.float64)
    centres, _ = kmeans2(drawn, clusters, iter=ROUNDS, minit="++", rng=rng, missing="warn")
    numbers = []
    for start in range(0, len(scaled), PART):
        part = scaled[start : start + PART]
        numbers.append(((centres**2).sum(axis=1) - 2 * part @ centres.T).argmin(axis=1))
    return np.concatenate(numbers)


def bag_of_words(numbers: NDArray[np.int64], words: int) -> Features:
    """Shares of each word among the (N, P) pieces of a patch: (N, words), rows that sum to one."""
    counts = np.zeros((len(numbers), words), dtype=np.float32)
    np.add.at(counts, (np.arange(len(numbers))[:, None], numbers), 1)
    return np.asarray(counts / np.float32(numbers.shape[1]), dtype=np.float32)
