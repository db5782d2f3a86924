"""What every encoder pair has in common: what it asks of its input, where it computes, and in which precision.

Owns :class:`EncoderPair`, the base of the two kinds (``model.pair.BlueMarblePair``, ``model.satclip.SatCLIPPair``), the
check of coordinates and the placement on a device. Refuses coordinates in half precision, devices that are not there,
and precisions that a device does not have.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from data.errors import CheckpointError, CoordinateError, QueryError
from data.geo import Floats, validate_lonlat
from data.patch import Patch
from model.chunks import encode_chunks

Vectors = NDArray[np.float32]
DTYPES = {name: getattr(torch, name) for name in ("float32", "float64", "float16", "bfloat16")}


@dataclass(frozen=True)
class Placement:
    """Where a pair computes and how finely.

    Attributes:
        device: of both networks.
        image: precision of the image encoder.
        location: precision of the location network. Never half: its sines turn rounding into another place.
        rows: precision of the embeddings that come back: float64 where it was asked for, float32 otherwise.
    """

    device: torch.device
    image: torch.dtype
    location: torch.dtype
    rows: torch.dtype

    @classmethod
    def choose(cls, device: str | torch.device, dtype: str | torch.dtype | None, *, location: torch.dtype) -> Placement:
        """Read the arguments of :func:`model.load`.

        Args:
            device: "cpu", "cuda", "cuda:1", "mps".
            dtype: one of :data:`DTYPES`, or None for the checkpoint's own precision.
            location: the location network's own precision.

        Raises:
            CheckpointError: no such device here, no such precision, or not on this device.
        """
        name = None if dtype is None else str(dtype).removeprefix("torch.")
        if name is not None and name not in DTYPES:
            raise CheckpointError(f"dtype={name!r} is unknown; choose one of {', '.join(DTYPES)}.")
        try:
            where = torch.device(device)
        except RuntimeError as error:
            raise CheckpointError(f"device={device!r} is unknown; choose cpu, cuda or mps.") from error
        backends = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if not backends.get(where.type, False):
            there = " or ".join(kind for kind, usable in backends.items() if usable)
            raise CheckpointError(f"There is no {where.type} device here; choose {there}.")
        if where.type == "cuda" and (where.index or 0) >= torch.cuda.device_count():
            raise CheckpointError(f"There is no {where} here, only {torch.cuda.device_count()} CUDA device(s).")
        if where.type == "mps":
            if name == "float64":
                raise CheckpointError("Apple's mps has no float64; choose float32, or device='cpu'.")
            location = torch.float32
        image = torch.float32 if name is None else DTYPES[name]
        if name in ("float32", "float64"):
            location = DTYPES[name]
        elif name is not None:
            location = torch.float32
        return cls(where, image, location, torch.float64 if name == "float64" else torch.float32)

    @property
    def basis(self) -> torch.device:
        """Where coordinates are turned into features, which takes float64 always."""
        return torch.device("cpu") if self.device.type == "mps" else self.device


class EncoderPair(abc.ABC):
    """A trained pair, ready to encode.

    Attributes:
        name: under which :func:`model.load` finds it.
        fingerprint: SHA-256 over weights and configuration, 64 hex digits.
        card: its model card.
        dim: D, length of an embedding.
        views: the views a query may take.
        bands: what the image encoder sees, in order.
        normalisation: how their values are scaled.
        gsd_m: metres a pixel of what the image encoder was trained on.
        patch_px: pixels on a side of what the image encoder takes.
        tile_footprint_km: side of the Blue Marble tiles that the image encoder can embed, or None if it can embed none.
        placement: device and precision.
    """

    dim: int
    views: tuple[str, ...]
    bands: tuple[str, ...]
    normalisation: str
    gsd_m: float
    patch_px: int
    tile_footprint_km: float | None

    def __init__(
        self, network: nn.Module, *, name: str, fingerprint: str, card: Mapping[str, Any], placement: Placement
    ) -> None:
        """Take a loaded network; :func:`model.load` is the usual way here."""
        self.network: Any = network.eval().requires_grad_(False)
        self.name, self.fingerprint, self.card, self.placement = name, fingerprint, dict(card), placement

    @property
    def source(self) -> str:
        """What the pair was trained on, and by whom."""
        return str(self.card.get("training_data", "unknown"))

    @property
    def license(self) -> str:
        """SPDX name of the weights' licence."""
        return str(self.card.get("license", "unknown"))

    def encode_location(self, lonlat: ArrayLike | Tensor, *, normalize: bool = True) -> Vectors:
        """Embed places.

        Args:
            lonlat: (N, 2) degrees, longitude first; float32, float64 or whole numbers.
            normalize: unit vectors; False gives the network's raw output.

        Returns:
            (N, D) float32, or float64 where the pair was loaded so. A row does not depend on the others in the call.

        Raises:
            CoordinateError: a coordinate is off the globe, or in half precision.
        """
        points = torch.from_numpy(self._points(lonlat))
        place = self.placement
        rows = encode_chunks(
            lambda part: self._locate(part, normalize), points, dim=self.dim, dtype=place.rows, device=place.device
        )
        return np.asarray(rows.numpy())

    def encode_image(
        self,
        patches: Patch | Sequence[Patch] | NDArray[Any],
        *,
        footprint_km: ArrayLike | None = None,
        normalize: bool = True,
    ) -> Vectors:
        """Embed images.

        Args:
            patches: a patch or several; or an array of images as the kind of pair describes.
            footprint_km: scalar or (N,), side length on the ground where an array is given.
            normalize: unit vectors; False gives the network's raw output.

        Returns:
            (N, D) float32, or float64 where the pair was loaded so.

        Raises:
            CheckpointError: only the location encoder was loaded.
            PatchError: the encoder cannot see this image; the sentence says why.
            ValueError: an array of another shape.
        """
        if not self.has_images:
            raise CheckpointError(
                f'The image encoder of {self.name} is not loaded (part="location"). '
                f"Load the whole pair: load({self.name!r})."
            )
        several = [patches] if isinstance(patches, Patch) else patches
        rows = [part.to("cpu", self.placement.rows) for part in self._see(several, footprint_km, normalize)]
        empty = torch.empty(0, self.dim, dtype=self.placement.rows)
        return np.asarray(torch.cat([empty, *rows]).numpy())

    def reweight(self, queries: ArrayLike, view: str) -> Vectors:
        """Turn embeddings into queries of one view.

        Args:
            queries: (N, D) embeddings.
            view: one of :attr:`views`.

        Returns:
            (N, D) float32: its inner product with a stored embedding is the cosine similarity in that view.

        Raises:
            QueryError: there is no such view.
        """
        if view not in self.views:
            raise QueryError(f"There is no view {view!r}; choose one of {', '.join(self.views)}.")
        return np.array(queries, dtype=np.float32, ndmin=2)

    @property
    @abc.abstractmethod
    def has_images(self) -> bool:
        """Whether the image encoder is there."""

    @abc.abstractmethod
    def _locate(self, points: Tensor, normalize: bool) -> Tensor:
        """(n, 2) degrees float64, on the placement's basis, to (n, D) of at least the rows' precision."""

    @abc.abstractmethod
    def _see(self, patches: Any, footprint_km: ArrayLike | None, normalize: bool) -> Iterator[Tensor]:
        """Embeddings of a sequence of patches or an array, (n, D) at a time."""

    def _points(self, lonlat: ArrayLike | Tensor) -> Floats:
        return check_points(lonlat)


def check_points(lonlat: ArrayLike | Tensor, *, tell_east: bool = False) -> Floats:
    """Coordinates as (N, 2) float64 degrees, longitudes in [-180, 180); an empty batch is (0, 2).

    Args:
        lonlat: (N, 2) degrees.
        tell_east: leave a longitude of 180 as it is.

    Raises:
        CoordinateError: they are off the globe, or in half precision.
    """
    values: Any = lonlat.detach().cpu() if isinstance(lonlat, Tensor) else lonlat
    kind = str(getattr(values, "dtype", "")).removeprefix("torch.")
    if kind in ("float16", "bfloat16"):
        raise CoordinateError(
            f"coordinates: {kind} keeps a longitude only to 0.1° (ten kilometres). Give float64 or float32 degrees."
        )
    if isinstance(values, Tensor):
        values = values.numpy()
    if hasattr(values, "__len__") and len(values) == 0:
        values = np.empty((0, 2))
    points = validate_lonlat(values)
    if tell_east:
        points[np.asarray(values, dtype=np.float64).reshape(-1, 2)[:, 0] == 180, 0] = 180.0
    return points
