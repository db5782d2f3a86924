"""The pair that ships: smooth and sharp branches trained on the Blue Marble.

Owns the joining of the branches into one embedding, the views of it, and encoding in batches with NumPy at both ends.
The embedding of a place holds one part for each branch, of the length that is the branch's weight, so that the whole
has length one; so does that of an image. A *view* looks at the smooth branches, the sharp one, or all, and is a
re-weighting of the query alone: one stored vector, one inner-product index, every view.
"""

from __future__ import annotations

import contextlib
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
from model.views import BOTH, VIEWS

__all__ = ["BlueMarblePair", "EncoderPair", "PairConfig", "PairNetwork", "Vectors"]

BATCH = 2048


@dataclass(frozen=True)
class PairConfig:
    """Everything that shapes the two networks.

    Attributes:
        branches: the parts of the embedding, in the order in which they stand in it.
        trunks: of the image encoder.
    """

    branches: Mapping[str, BranchConfig]
    trunks: tuple[ImageConfig, ...]

    @property
    def dim(self) -> int:
        """Length of the embedding."""
        return sum(branch.dim for branch in self.branches.values())

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> PairConfig:
        """Rebuild from what :func:`dataclasses.asdict` gave and JSON kept."""
        return cls(
            branches={name: BranchConfig(**branch) for name, branch in fields["branches"].items()},
            trunks=tuple(ImageConfig(**{**trunk, "widths": tuple(trunk["widths"])}) for trunk in fields["trunks"]),
        )


class PairNetwork(nn.Module):
    """Both encoders and one logit scale a branch: what is trained and saved."""

    image_prefix = "image."

    def __init__(self, config: PairConfig, *, part: str = "pair", empty: bool = False) -> None:
        """Build the networks.

        Args:
            config: how they are put together.
            part: "location" leaves the image encoder out.
            empty: leave the weights on torch's meta device, for a checkpoint to fill: none are drawn.
        """
        super().__init__()
        self.config = config
        with torch.device("meta") if empty else contextlib.nullcontext():
            self.location = LocationEncoder(dict(config.branches))
            self.image = ImageEncoder(config.trunks, config.branches) if part == "pair" else None
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
        branches = self.config.branches.values()
        # Both sides carry their branch's weight w, so the view's inner product comes out as the sum of its w² cosines.
        share = sum(branch.weight**2 for branch in branches if branch.view == view)
        start = 0
        for branch in branches:
            stop = start + branch.dim
            out[:, start:stop] *= 1 / share if branch.view == view else 0.0
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
            yield self._join(image((pixels.to(place.device, place.image), sides.to(place.device))), normalize)

    def _join(self, parts: Mapping[str, Tensor], normalize: bool) -> Tensor:
        branches, rows = self.config.branches, self.placement.rows
        vectors = {name: part.to(rows) for name, part in parts.items()}
        return torch.cat(
            [functional.normalize(v, dim=1) * branches[k].weight if normalize else v for k, v in vectors.items()], dim=1
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
