"""SatCLIP pairs: the networks that an official configuration describes, and the pair that encodes with them.

Owns the official hyperparameters and the joining of an image encoder (``model.vision``), a position encoding
(``model.position``) and a network (``model.networks``). The location branch computes in float64, as the original does,
unless told otherwise. Refuses hyperparameters that are missing or that the original does not know.

Source:
    Klemmer et al. 2023, SatCLIP: Global, General-Purpose Location Embeddings with Satellite Imagery, arXiv:2311.17179,
    §3; hyperparameters and their names as in ``satclip/main.py`` and ``satclip/model.py`` of microsoft/satclip.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from reprlib import repr as short
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional

from data.bands import GSD_M, L1C_BANDS
from data.errors import CheckpointError, PatchError
from data.geo import Floats
from data.sentinel import sentinel_stack, sentinel_stacks
from model.encoder import EncoderPair, Placement, check_points
from model.networks import build_network
from model.position import build_position, resolve_le_type
from model.views import BOTH
from model.vision import build_vision

BATCH = 32
LARGEST = 8192
"""Of a size or number of layers in a configuration."""
PATHS = {"eval_downstream": False, "air_temp_data_path": "", "election_data_path": ""}
"""What some versions of the original trainer kept too. The official loader removes all three without asking whether
they are there, so files written here have them."""
_FIXED_PX = {"moco_resnet18": 256, "moco_resnet50": 256, "moco_vit16": 224}


@dataclass(frozen=True)
class SatCLIPConfig:
    """The hyperparameters of an official checkpoint, under their official names. The defaults are ResNet18-L10's.

    Attributes:
        embed_dim: length of an embedding.
        image_resolution: side of the images that CLIP's own trunks take, pixels.
        vision_layers: moco_resnet18, moco_resnet50, moco_vit16, or CLIP's own: blocks of a ViT, or of the four stages
            of a ResNet.
        vision_width: channels of CLIP's own trunks.
        vision_patch_size: of CLIP's own ViT, pixels.
        in_channels: bands of the images.
        le_type: the position encoding.
        pe_type: the network on top of it.
        frequency_num: frequencies of the sinusoidal position encodings.
        max_radius: their longest wavelength.
        min_radius: their shortest.
        legendre_polys: L, degrees of the spherical harmonics.
        harmonics_calculation: analytic, closed-form or discretized.
        sh_embedding_dims: kept, and used by nothing.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        num_hidden_layers: of the network.
        capacity: its width.
    """

    embed_dim: int = 256
    image_resolution: int = 256
    vision_layers: str | int | tuple[int, ...] = "moco_resnet18"
    vision_width: int = 768
    vision_patch_size: int = 32
    in_channels: int = 13
    le_type: str = "sphericalharmonics"
    pe_type: str = "siren"
    frequency_num: int = 16
    max_radius: float = 0.01
    min_radius: float = 0.00001
    legendre_polys: int = 10
    harmonics_calculation: str = "analytic"
    sh_embedding_dims: int = 32
    learning_rate: float = 1e-4
    weight_decay: float = 0.01
    num_hidden_layers: int = 2
    capacity: int = 512

    @property
    def patch_px(self) -> int:
        """Pixels on a side of the images."""
        return _FIXED_PX.get(str(self.vision_layers), self.image_resolution)

    @classmethod
    def from_official(cls, fields: Mapping[str, Any], *, where: str) -> SatCLIPConfig:
        """Read ``hyper_parameters``.

        Args:
            fields: of a checkpoint.
            where: the file, for messages.

        Raises:
            CheckpointError: one is missing, unknown, or of a kind that it cannot be.
        """
        known = {field.name: field.default for field in dataclasses.fields(cls)}
        missing = [name for name in known if name not in fields]
        ours = set(known) | set(PATHS)  # Lightning's own notes begin with an underscore
        unknown = [str(name) for name in fields if name not in ours and not str(name).startswith("_")]
        if missing or unknown:
            raise CheckpointError(
                f"{where}: hyperparameters that do not fit SatCLIP: missing {', '.join(missing) or 'none'}; unknown "
                f"{', '.join(unknown) or 'none'}. It is a checkpoint of another architecture or version."
            )
        values: dict[str, Any] = {}
        for name, default in known.items():
            value = fields[name]
            if name == "vision_layers":
                value = tuple(value) if isinstance(value, (list, tuple)) else value
                fits = isinstance(value, (str, int)) or all(isinstance(blocks, int) for blocks in value)
            elif isinstance(default, float):
                fits = isinstance(value, (int, float)) and math.isfinite(value)
            else:
                fits = isinstance(value, type(default))
            sizes = value if isinstance(value, tuple) else (value,)
            if not fits or isinstance(value, bool) or any(isinstance(n, int) and not 0 <= n <= LARGEST for n in sizes):
                raise CheckpointError(f"{where}: the hyperparameter {name} is {short(value)}, which it cannot be.")
            values[name] = value
        return cls(**values)

    def to_official(self) -> dict[str, Any]:
        """``hyper_parameters`` as the original writes and reads them."""
        fields = dataclasses.asdict(self)
        if isinstance(self.vision_layers, tuple):
            fields["vision_layers"] = list(self.vision_layers)
        return {**fields, "le_type": resolve_le_type(self.le_type), **PATHS}


class LocationBranch(nn.Module):
    """A position encoding into a network: ``location.nnet.*`` in an official file."""

    def __init__(self, posenc: nn.Module, nnet: nn.Module) -> None:
        """Join the two."""
        super().__init__()
        self.posenc, self.nnet = posenc, nnet

    def forward(self, lonlat: Tensor) -> Tensor:
        """Map (N, 2) degrees, float64, to (N, D) in the network's precision and on its device."""
        weight = next(self.nnet.parameters())
        return cast(Tensor, self.nnet(self.posenc(lonlat).to(weight.device, weight.dtype)))


class SatCLIPNetwork(nn.Module):
    """Both encoders and the logit scale: what is trained and saved."""

    image_prefix = "visual."
    visual: nn.Module | None

    def __init__(self, config: SatCLIPConfig, *, part: str = "pair", empty: bool = False) -> None:
        """Build the networks.

        Args:
            config: the hyperparameters.
            part: "location" leaves the image encoder out.
            empty: leave the weights on torch's meta device, for a checkpoint to fill: none are drawn.
        """
        super().__init__()
        self.config = config
        posenc = build_position(
            config.le_type,
            legendre_polys=config.legendre_polys,
            harmonics_calculation=config.harmonics_calculation,
            min_radius=config.min_radius,
            max_radius=config.max_radius,
            frequency_num=config.frequency_num,
        )
        with torch.device("meta") if empty else contextlib.nullcontext():
            nnet = build_network(
                config.pe_type,
                int(cast(int, posenc.dim)),
                outputs=config.embed_dim,
                hidden=config.capacity,
                layers=config.num_hidden_layers,
            ).double()
            visual = _visual(config) if part == "pair" else None
        self.visual = visual
        self.location = LocationBranch(posenc, nnet)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))


def _visual(config: SatCLIPConfig) -> nn.Module:
    return build_vision(
        config.vision_layers,
        width=config.vision_width,
        patch_size=config.vision_patch_size,
        image_resolution=config.image_resolution,
        in_channels=config.in_channels,
        embed_dim=config.embed_dim,
    )


class SatCLIPPair(EncoderPair):
    """A SatCLIP pair on Sentinel-2.

    ``encode_image`` takes a patch or several with at least the 12 bands of L2A, in any order and of any size and GSD
    (:mod:`data.sentinel` says how they are cut and scaled); or reflectance (N, 12 or 13, H, W) in the order of
    ``data.bands.L2A_BANDS`` or ``L1C_BANDS``, at 10 m a pixel unless ``footprint_km`` says otherwise. A network with
    another number of channels than 13 takes arrays (N, C, H, W) alone, as they are.
    """

    views = (BOTH,)
    normalisation = "reflectance 0…1 (digital numbers / 10,000), B10 zero, nodata zero; no mean or deviation"
    gsd_m = GSD_M
    tile_footprint_km = None
    network: SatCLIPNetwork

    def __init__(
        self,
        network: SatCLIPNetwork,
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
            fingerprint: SHA-256 of its file, hex.
            card: its model card.
            device: "cpu", "cuda" or "mps".
            dtype: None computes places in float64 and images in float32, as the original does; "float32", "float64",
                or half precision ("float16", "bfloat16") for images with places in float32.
        """
        placement = Placement.choose(device, dtype, location=torch.float64)
        super().__init__(network, name=name, fingerprint=fingerprint, card=card, placement=placement)
        self.config = network.config
        self.dim, self.patch_px = network.config.embed_dim, network.config.patch_px
        self.bands = L1C_BANDS if network.config.in_channels == len(L1C_BANDS) else ()
        network.location.posenc.to(placement.basis)
        network.location.nnet.to(placement.device, placement.location)
        if network.visual is not None:
            network.visual.to(placement.device, placement.image)

    @property
    def has_images(self) -> bool:
        """Whether the image encoder is there."""
        return self.network.visual is not None

    def _points(self, lonlat: ArrayLike | Tensor) -> Floats:
        return check_points(
            lonlat, tell_east=True
        )  # some position encodings tell 180° from -180°, as the original does

    def _locate(self, points: Tensor, normalize: bool) -> Tensor:
        rows = self.network.location(points)
        return functional.normalize(rows, dim=1) if normalize else cast(Tensor, rows)

    def _see(self, patches: Any, footprint_km: ArrayLike | None, normalize: bool) -> Iterator[Tensor]:
        place, visual = self.placement, cast(nn.Module, self.network.visual)
        for start in range(0, len(patches), BATCH):
            part = slice(start, start + BATCH)
            pixels = torch.from_numpy(self._pixels(patches[part], footprint_km, part))
            rows = visual(pixels.to(place.device, place.image)).to(place.rows)
            yield functional.normalize(rows, dim=1) if normalize else rows

    def _pixels(self, part: Any, footprint_km: ArrayLike | None, rows: slice) -> np.ndarray[Any, np.dtype[np.float32]]:
        """What the image encoder takes: (n, C, patch_px, patch_px) float32."""
        if self.config.in_channels != len(L1C_BANDS):
            if not isinstance(part, np.ndarray):
                raise PatchError(
                    f"The image encoder of {self.name} takes {self.config.in_channels} channels, which are not "
                    "Sentinel-2's 13 bands. Give an array (N, C, H, W) prepared as it was trained."
                )
            return np.ascontiguousarray(part, dtype=np.float32)
        if not isinstance(part, np.ndarray):
            return np.stack([sentinel_stack(patch, self.patch_px) for patch in cast(Sequence[Any], part)])
        gsd_m = np.full(len(part), GSD_M)
        if footprint_km is not None and part.ndim == 4:
            sides = np.asarray(footprint_km, dtype=np.float64)
            gsd_m = np.broadcast_to(sides[rows] if sides.ndim else sides, len(part)) * 1000 / min(part.shape[2:])
        return sentinel_stacks(part, self.patch_px, gsd_m)
