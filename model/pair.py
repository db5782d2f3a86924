"""The pair that ships: two branches trained on the Blue Marble.

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

from data.bands import DISPLAY_BANDS
from data.blue_marble import FOOTPRINT_KM, GSD_M, PATCH_PX
from data.bridge import to_blue_marble
from data.patch import Patch
from model.encoder import EncoderPair, Placement, Vectors
from model.harmonics import spherical_harmonics
from model.image import ImageConfig, ImageEncoder
from model.location import BranchConfig, LocationEncoder
from model.views import BOTH, SHARP, SMOOTH, VIEWS

__all__ = ["BlueMarblePair", "EncoderPair", "PairConfig", "PairNetwork", "Vectors"]

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

    image_prefix = "image."

    def __init__(self, config: PairConfig, *, part: str = "pair") -> None:
        """Build the networks; ``part="location"`` leaves the image encoder out."""
        super().__init__()
        self.config = config
        self.location = LocationEncoder(dict(config.branches))
        dims = {name: branch.dim for name, branch in config.branches.items()}
        self.image = ImageEncoder(config.image, dims) if part == "pair" else None
        start = math.log(1 / 0.07)
        self.logit_scale = nn.ParameterDict({name: nn.Parameter(torch.tensor(start)) for name in config.branches})


class BlueMarblePair(EncoderPair):
    """A pair trained on the Blue Marble.

    ``encode_image`` takes a patch or several, of any bands and GSD that the bridge takes; or (N, 3, 32, 32) Blue Marble
    pixels, uint8 or float 0…1, as :meth:`data.blue_marble.BlueMarble.cut` gives them, by default full tiles.
    """

    views = VIEWS
    bands = DISPLAY_BANDS
    normalisation = "display colours 0…1; Sentinel-2 reflectance passes data/bridge.py first"
    gsd_m = GSD_M
    patch_px = PATCH_PX
    tile_footprint_km = FOOTPRINT_KM
    network: PairNetwork

    def __init__(
        self,
        network: PairNetwork,
        *,
        name: str,
        fingerprint: str,
        card: Mapping[str, Any],
        device: str | torch.device = "cpu",
        dtype: str | torch.dtype | None = None,
    ) -> None:
        """Take a loaded network; :func:`model.load` is the usual way here.

        Args:
            network: the encoders; put into evaluation mode, onto the device and into the precision.
            name: what users call the checkpoint.
            fingerprint: SHA-256 over its weights and configuration, hex.
            card: its model card.
            device: "cpu", "cuda" or "mps".
            dtype: "float32" (the default), "float64", "float16" or "bfloat16".
        """
        placement = Placement.choose(device, dtype, location=torch.float32)
        super().__init__(network, name=name, fingerprint=fingerprint, card=card, placement=placement)
        self.config = network.config
        self.dim = network.config.dim
        network.location.to(placement.device, placement.location)
        if network.image is not None:
            network.image.to(placement.device, placement.image)

    @property
    def has_images(self) -> bool:
        """Whether the image encoder is there."""
        return self.network.image is not None

    def reweight(self, queries: ArrayLike, view: str) -> Vectors:
        """Turn embeddings into queries of one view: "smooth", "sharp" or "both"."""
        out = super().reweight(queries, view)
        if view == BOTH:
            return out
        start = 0
        for name, branch in self.config.branches.items():
            stop = start + branch.dim
            # Both sides carry the factor w, so the part's inner product is w² times its cosine.
            out[:, start:stop] *= 1 / self.config.weights[name] ** 2 if name == view else 0.0
            start = stop
        return out

    def _locate(self, points: Tensor, normalize: bool) -> Tensor:
        place, location = self.placement, self.network.location
        features = spherical_harmonics(points, location.degrees, dtype=place.location)
        return self._join(location.from_harmonics(features.to(place.device)), normalize)

    def _see(self, patches: Any, footprint_km: ArrayLike | None, normalize: bool) -> Iterator[Tensor]:
        place, image = self.placement, self.network.image
        if image is None:
            return
        for pixels, sides in _batches(patches, footprint_km):
            yield self._join(image(pixels.to(place.device, place.image), sides.to(place.device)), normalize)

    def _join(self, parts: Mapping[str, Tensor], normalize: bool) -> Tensor:
        weights, rows = self.config.weights, self.placement.rows
        vectors = {name: part.to(rows) for name, part in parts.items()}
        return torch.cat(
            [functional.normalize(v, dim=1) * weights[name] if normalize else v for name, v in vectors.items()], dim=1
        )


def _batches(
    patches: Sequence[Patch] | NDArray[Any], footprint_km: ArrayLike | None
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
    for start in range(0, len(patches), BATCH):
        bridged = [to_blue_marble(patch) for patch in patches[start : start + BATCH]]
        yield (
            torch.from_numpy(np.stack([pixels for pixels, _ in bridged])),
            torch.tensor([side for _, side in bridged], dtype=torch.float32),
        )
