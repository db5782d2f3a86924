"""The encoder pair: what the rest of the project sees of a model.

Owns the joining of the branches into one embedding, the views of it, and encoding in batches with NumPy at both ends.
The embedding of a place is ``[w·smooth, √(1−w²)·sharp]``, each part of unit length, so the whole is; so is that of an
image. A *view* looks at one part, or at both, and is a re-weighting of the query alone: one stored vector, one
inner-product index, every view.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional

from data.blue_marble import FOOTPRINT_KM, GSD_M, PATCH_PX
from data.bridge import to_blue_marble
from data.errors import CheckpointError, QueryError
from data.geo import validate_lonlat
from data.patch import Patch
from model.image import ImageConfig, ImageEncoder
from model.location import BranchConfig, LocationEncoder
from model.views import BOTH, SHARP, SMOOTH, VIEWS

Vectors = NDArray[np.float32]

BATCH = 2048


@dataclass(frozen=True)
class PairConfig:
    """Everything that shapes the two networks.

    Attributes:
        branches: the parts of the embedding, in the order in which they stand in it.
        image: the image encoder's sizes.
        smooth_weight: length of the smooth part within the embedding, 0…1.
    """

    branches: Mapping[str, BranchConfig]
    image: ImageConfig
    smooth_weight: float = math.sqrt(0.5)

    @property
    def dim(self) -> int:
        """Length of the embedding."""
        return sum(branch.dim for branch in self.branches.values())

    @property
    def weights(self) -> dict[str, float]:
        """Length of each branch's part; their squares sum to one."""
        return {SMOOTH: self.smooth_weight, SHARP: math.sqrt(1 - self.smooth_weight**2)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> PairConfig:
        """Rebuild from what :func:`dataclasses.asdict` gave and JSON kept."""
        image = dict(fields["image"])
        image["widths"] = tuple(image["widths"])
        return cls(
            branches={name: BranchConfig(**branch) for name, branch in fields["branches"].items()},
            image=ImageConfig(**image),
            smooth_weight=float(fields["smooth_weight"]),
        )


class PairNetwork(nn.Module):
    """Both encoders and one logit scale a branch: what is trained and saved."""

    def __init__(self, config: PairConfig, *, part: str = "pair") -> None:
        """Build the networks; ``part="location"`` leaves the image encoder out."""
        super().__init__()
        self.config = config
        self.location = LocationEncoder(dict(config.branches))
        dims = {name: branch.dim for name, branch in config.branches.items()}
        self.image = ImageEncoder(config.image, dims) if part == "pair" else None
        start = math.log(1 / 0.07)
        self.logit_scale = nn.ParameterDict({name: nn.Parameter(torch.tensor(start)) for name in config.branches})


class EncoderPair:
    """A trained pair, ready to encode."""

    def __init__(self, network: PairNetwork, *, name: str, fingerprint: str, card: Mapping[str, Any]) -> None:
        """Take a loaded network; :func:`model.load` is the usual way here.

        Args:
            network: the encoders; put into evaluation mode.
            name: what users call the checkpoint.
            fingerprint: SHA-256 over its weights and configuration, hex.
            card: its model card.
        """
        self.network = network.eval().requires_grad_(False)
        self.name, self.fingerprint, self.card = name, fingerprint, dict(card)
        self.config = network.config

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.config.dim

    @property
    def views(self) -> tuple[str, ...]:
        """The views a query may take."""
        return VIEWS

    @property
    def gsd_m(self) -> float:
        """Metres a pixel at which tiles are cut."""
        return GSD_M

    @property
    def tile_footprint_km(self) -> float:
        """Side of the tiles this pair was trained on."""
        return FOOTPRINT_KM

    def encode_location(self, lonlat: ArrayLike, *, normalize: bool = True) -> Vectors:
        """Embed places.

        Args:
            lonlat: (N, 2) degrees, longitude first.
            normalize: unit vectors; False gives the networks' raw output.

        Returns:
            (N, D) float32. A row does not depend on the others in the call.

        Raises:
            CoordinateError: a coordinate is off the globe.
        """
        points = torch.from_numpy(validate_lonlat(lonlat))
        rows = [self._join(self.network.location(part), normalize) for part in torch.split(points, BATCH)]
        return np.concatenate(rows) if rows else np.empty((0, self.dim), dtype=np.float32)

    def encode_image(
        self,
        patches: Patch | Sequence[Patch] | NDArray[Any],
        *,
        footprint_km: ArrayLike | None = None,
        normalize: bool = True,
    ) -> Vectors:
        """Embed images.

        Args:
            patches: a patch or several, of any bands and GSD that the bridge takes; or (N, 3, 32, 32) Blue Marble
                pixels, uint8 or float 0…1, as :meth:`data.blue_marble.BlueMarble.cut` gives them.
            footprint_km: scalar or (N,), side length on the ground where an array is given; a full tile by default.
            normalize: unit vectors; False gives the networks' raw output.

        Returns:
            (N, D) float32.

        Raises:
            CheckpointError: only the location encoder was loaded.
            ValueError: an array of another shape.
        """
        if self.network.image is None:
            raise CheckpointError(
                f'The image encoder of {self.name} is not loaded (part="location"). '
                f"Load the whole pair: load({self.name!r})."
            )
        rows = []
        for pixels, sides in _batches(patches, footprint_km):
            rows.append(self._join(self.network.image(pixels, sides), normalize))
        return np.concatenate(rows) if rows else np.empty((0, self.dim), dtype=np.float32)

    def reweight(self, queries: ArrayLike, view: str) -> Vectors:
        """Turn embeddings into queries of one view.

        Args:
            queries: (N, D) embeddings.
            view: "smooth", "sharp" or "both".

        Returns:
            (N, D) float32: its inner product with a stored embedding is the cosine similarity in that view.

        Raises:
            QueryError: there is no such view.
        """
        if view not in self.views:
            raise QueryError(f"There is no view {view!r}; choose one of {', '.join(self.views)}.")
        out = np.array(queries, dtype=np.float32, ndmin=2)
        if view == BOTH:
            return out
        start = 0
        for name, branch in self.config.branches.items():
            stop = start + branch.dim
            # Both sides carry the factor w, so the part's inner product is w² times its cosine.
            out[:, start:stop] *= 1 / self.config.weights[name] ** 2 if name == view else 0.0
            start = stop
        return out

    def _join(self, parts: dict[str, Tensor], normalize: bool) -> Vectors:
        weights = self.config.weights
        joined = [
            functional.normalize(part.float(), dim=1) * weights[name] if normalize else part.float()
            for name, part in parts.items()
        ]
        return np.asarray(torch.cat(joined, dim=1).numpy(), dtype=np.float32)


def _batches(
    patches: Patch | Sequence[Patch] | NDArray[Any], footprint_km: ArrayLike | None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Pixels (n, 3, 32, 32) float 0…1 and footprints (n,) in batches."""
    if isinstance(patches, np.ndarray):
        if patches.ndim != 4 or patches.shape[1:] != (3, PATCH_PX, PATCH_PX):
            raise ValueError(f"expected an array (N, 3, {PATCH_PX}, {PATCH_PX}), got {patches.shape}")
        side = FOOTPRINT_KM if footprint_km is None else footprint_km
        sides = np.broadcast_to(np.asarray(side, dtype=np.float32), (len(patches),))
        for start in range(0, len(patches), BATCH):
            part = patches[start : start + BATCH]
            pixels = torch.from_numpy(np.ascontiguousarray(part)).float()
            yield (
                (pixels / 255 if part.dtype == np.uint8 else pixels),
                torch.from_numpy(sides[start : start + BATCH].copy()),
            )
        return
    several = [patches] if isinstance(patches, Patch) else list(patches)
    for start in range(0, len(several), BATCH):
        bridged = [to_blue_marble(patch) for patch in several[start : start + BATCH]]
        yield (
            torch.from_numpy(np.stack([pixels for pixels, _ in bridged])),
            torch.tensor([side for _, side in bridged], dtype=torch.float32),
        )
