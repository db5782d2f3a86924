"""What the indexer asks of a checkpoint, as protocols, so that any encoder with these methods can fill an index.

Owns the one place where a checkpoint is loaded by name. torch is imported there and not before: opening an index,
reading its rows and asking ``--help`` need none of it.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vectors = NDArray[np.float32]


class LocationEncoder(Protocol):
    """The half of a pair that embeds places, and the views of its vectors."""

    @property
    def name(self) -> str:
        """Name under which the checkpoint can be loaded again."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights, 64 hex digits."""

    @property
    def dim(self) -> int:
        """Length of an embedding."""

    @property
    def views(self) -> tuple[str, ...]:
        """The weightings in which embeddings can be compared."""

    def encode_location(self, lonlat: ArrayLike, *, normalize: bool = True) -> Vectors:
        """Embed (N, 2) degrees: (N, D) float32 unit rows."""

    def reweight(self, queries: Vectors, view: str) -> Vectors:
        """Queries whose inner product with stored rows is the cosine similarity in a view: (N, D) to (N, D)."""


class EncoderPair(LocationEncoder, Protocol):
    """Both halves of a checkpoint."""

    @property
    def tile_footprint_km(self) -> float | None:
        """Side on the ground of the Blue Marble tiles this checkpoint was made for, or None if it can see none."""

    def encode_image(self, images: Any, *, footprint_km: float | None = None, normalize: bool = True) -> Vectors:
        """Embed a patch, a list of patches or (N, 3, H, W) uint8 tiles: (N, D) float32 unit rows."""


Part = Literal["location", "pair"]


def load_encoder(name: str, part: Part, device: str = "cpu") -> EncoderPair:
    """Load a checkpoint by name. With ``part="location"`` the result embeds no images, and no image encoder is built.

    Args:
        name: of the checkpoint, or its file.
        part: what is needed of it.
        device: "cpu", "cuda", "cuda:1", "mps".

    Raises:
        CheckpointError: it is unknown, missing or damaged, or there is no such device.
    """
    from model import load  # imports torch, about two seconds

    return load(name, part=part, device=device)


def default_view(kind: str, views: tuple[str, ...]) -> str:
    """The view in which a kind of query ("place", "image", "tile") is answered when the user names none."""
    from model import DEFAULT_VIEW

    chosen = DEFAULT_VIEW.get(kind, views[-1])
    return chosen if chosen in views else views[-1]
