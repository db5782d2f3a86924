"""Contrastive training of a pair on the Blue Marble.

Owns this training's data (places; patches and harmonics are made where it runs), its augmentation, losses and schedule,
and the card of what it makes. Uses imagery and coordinates only: no atlas variable is within reach of this module.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from data.blue_marble import FOOTPRINT_KM, GSD_M, PATCH_PX, SOURCE
from data.errors import CheckpointError
from data.splits import make_split
from model.augment import augment
from model.batches import EpochBatches, ResumableLoader
from model.checkpoint import save
from model.config_files import as_yaml
from model.contrastive import ContrastiveModule, Encoded, parameter_groups
from model.cutting import cut_patches, picture_tensor
from model.harmonics import spherical_harmonics
from model.looks import DESCRIBED, appearance, describe
from model.loss import contrastive_loss, look_alike_targets
from model.pair import PairNetwork
from model.presets import TrainConfig
from model.run import RunOptions, fit, open_run

READ_DEGREES = 10
"""Harmonics below this degree are what a place's vector is asked to tell of where it lies."""

Batch = tuple[Tensor, Tensor]


class PlaceSet(Dataset[Batch]):
    """A set of places, handed out a batch of row numbers at a time. What is seen there is cut during the training."""

    def __init__(self, lonlat: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        """Take (N, 2) degrees."""
        self.lonlat = torch.from_numpy(lonlat)

    def __len__(self) -> int:
        """Number of places."""
        return len(self.lonlat)

    def __getitem__(self, rows: list[int]) -> Batch:
        """Places, (n, 2) degrees, and the rows themselves, (n,)."""
        index = torch.tensor(rows)
        return self.lonlat[index], index


class PairModule(ContrastiveModule):
    """The pair under training."""

    network: PairNetwork

    def __init__(self, config: TrainConfig, *, steps: int) -> None:
        """Build the networks; ``steps`` is the length of the schedule."""
        super().__init__(PairNetwork(config.pair), clip_norm=1.0)
        self.config, self.steps = config, steps
        self.register_buffer("picture", picture_tensor(), persistent=False)
        # What is learned besides, and thrown away: a linear map from a place's vector to what it should tell.
        self.read_out = nn.Linear(config.pair.dim, READ_DEGREES**2 - 1 + DESCRIBED) if config.read_out else None
        self._random_state: dict[str, Tensor] | None = None

    def encode(self, batch: Batch, index: int) -> Encoded:
        """Both sides of a batch, and what the targets need of the whole patches."""
        lonlat, _ = batch
        # A draw of its own for each trunk keeps their errors apart.
        generators = [self._generator(index, number) for number in range(len(self.config.augments))]
        views = augment(self.get_buffer("picture"), lonlat, self.config.augments, generators=generators)
        harmonics = spherical_harmonics(lonlat, self.network.location.degrees, dtype=torch.float32)
        images, places = self._encode(views, harmonics)
        whole = self._whole(lonlat)
        sides = {f"{side}_{name}": v for side, d in (("image", images), ("place", places)) for name, v in d.items()}
        told = torch.cat([harmonics[:, 1 : READ_DEGREES**2], describe(whole)], dim=1)
        return {**sides, "appearance": appearance(whole), "told": told}

    def losses(self, encoded: Encoded) -> dict[str, Tensor]:
        """Each branch's loss, and that of reading out."""
        with torch.autocast(self.device.type, enabled=False):  # a cosine times 100 has no digits to lose
            losses = {
                name: contrastive_loss(
                    encoded[f"image_{name}"],
                    encoded[f"place_{name}"],
                    self.network.logit_scale[name],
                    max_scale=self.config.max_scale.get(name, 100.0),
                    targets=self._targets(name, encoded["appearance"]),
                )
                for name in self.config.pair.branches
            }
            if self.read_out is not None:
                losses["read_out"] = self.config.read_out * self._misread(self.read_out, encoded)
        return losses

    def encode_held_out(self, batch: Batch, loader: int) -> dict[str, tuple[Tensor, Tensor]]:
        """Both sides of the monitoring places, of each branch."""
        lonlat, _ = batch
        sides = torch.full((len(lonlat),), FOOTPRINT_KM, device=lonlat.device)
        harmonics = spherical_harmonics(lonlat, self.network.location.degrees, dtype=torch.float32)
        images, places = self._encode([(self._whole(lonlat), sides)], harmonics)
        return {name: (images[name], places[name]) for name in images}

    def on_train_epoch_start(self) -> None:
        """Seed dropout by the epoch, so that a resumed run ends with the bytes of an unbroken one."""
        torch.manual_seed(self.config.seed * 1000 + self.current_epoch)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Go on with the random numbers where the run was broken off."""
        if self._random_state is not None:
            torch.set_rng_state(self._random_state["cpu"].cpu())
            if "cuda" in self._random_state:
                torch.cuda.set_rng_state(self._random_state["cuda"].cpu(), self.device)
            self._random_state = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the random state beside what every training keeps."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["random_state"] = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            checkpoint["random_state"]["cuda"] = torch.cuda.get_rng_state(self.device)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it up again, where an epoch was broken off."""
        super().on_load_checkpoint(checkpoint)
        self._random_state = checkpoint["random_state"] if checkpoint["losses"] else None

    def configure_optimizers(self) -> Any:
        """AdamW on a one-cycle schedule."""
        config = self.config
        groups = parameter_groups(
            self,
            weight_decay=config.weight_decay,
            factor=lambda name: config.lr_factor.get(
                name.removeprefix("network.location.branches.").split(".")[0], 1.0
            ),
        )
        optimizer = torch.optim.AdamW(groups, lr=config.peak_lr, betas=(0.9, 0.98))
        peaks = [config.peak_lr * group["factor"] for group in groups]
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peaks, total_steps=self.steps, pct_start=0.15)
        return [optimizer], [schedule]

    def _generator(self, index: int, trunk: int) -> torch.Generator:
        """Of one trunk's draws in one step."""
        return torch.Generator().manual_seed(hash((self.config.seed, self.current_epoch, index, trunk)) % 2**63)

    def _whole(self, lonlat: Tensor) -> Tensor:
        """Full patches, north up: (N, 3, 32, 32) 0…1."""
        sides = torch.full((len(lonlat),), FOOTPRINT_KM, device=lonlat.device)
        return cut_patches(self.get_buffer("picture"), lonlat, sides)

    def _targets(self, branch: str, looks: Tensor) -> Tensor | None:
        """Soft targets of a branch that has them."""
        share = self.config.look_alike_share.get(branch, 0.0)
        return look_alike_targets(looks, share=share, width=self.config.look_alike_width) if share else None

    def _misread(self, read_out: nn.Linear, encoded: Encoded) -> Tensor:
        """Mean squared error of what is read out of the places' vectors, in the batch's standard deviations."""
        parts = [encoded[f"place_{name}"] for name in self.config.pair.branches]
        vectors = torch.cat([functional.normalize(part, dim=1) * part.shape[1] ** 0.5 for part in parts], dim=1)
        told = encoded["told"]
        truth = (told - told.mean(dim=0)) / told.std(dim=0).clamp(min=1e-3)
        return functional.mse_loss(read_out(vectors), truth)

    def _encode(
        self, views: list[tuple[Tensor, Tensor]], harmonics: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Raw vectors of both sides. The location side stays in float32: its sines are sensitive to rounding."""
        if self.network.image is None:
            raise CheckpointError("training needs both encoders")
        images = self.network.image(*((x.contiguous(memory_format=torch.channels_last), km) for x, km in views))
        with torch.autocast(harmonics.device.type, enabled=False):
            places = self.network.location.from_harmonics(harmonics.float())
        return {name: vector.float() for name, vector in images.items()}, places


def train(
    config: TrainConfig,
    folder: Path,
    *,
    resume: bool = True,
    command: str | None = None,
    options: RunOptions = RunOptions(),  # noqa: B008  # frozen
) -> Path:
    """Train a pair, or go on with a killed run in the same folder. It runs on one device.

    Args:
        config: the recipe.
        folder: where everything the run makes goes.
        resume: go on from ``last.ckpt`` if it is there; otherwise start over.
        command: how the run was started, for the card.
        options: how to run it.

    Returns:
        Path of the weights.

    Raises:
        CheckpointError: the folder holds the state of another recipe.
    """
    command = command or " ".join(sys.argv)
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    state = open_run(folder, as_yaml(config), resume=resume, command=command)
    split = make_split(config.places, hold_out_blocks=config.hold_out_blocks)
    kept = config.places - config.validation_places
    training, monitoring = (PlaceSet(part) for part in (split.train[:kept], split.train[kept:]))
    batches = EpochBatches(len(training), batch=config.batch, seed=config.seed)
    module = PairModule(config, steps=config.epochs * len(batches))
    module.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # twice as fast on a CPU
    if options.compile and module.network.image is not None:
        module.network.image.compile()
    fit(
        module,
        folder,
        epochs=config.epochs,
        options=dataclasses.replace(options, devices=1, nodes=1),
        state=state,
        train=ResumableLoader(training, batches),
        validation=ResumableLoader(monitoring, EpochBatches(len(monitoring), batch=len(monitoring), seed=0)),
    )
    path = folder / f"{config.name}.safetensors"
    save(module.network.cpu(), path, card=make_card(config, command))
    return path


def make_card(config: TrainConfig, command: str) -> dict[str, Any]:
    """What a checkpoint says of itself."""
    return {
        "description": (
            "A SatCLIP pair (Klemmer et al. 2023, arXiv:2311.17179) trained on NASA's Blue Marble at 7.4 km a pixel: "
            "real satellite imagery, but coarse. It knows landscapes, not fields or houses."
        ),
        "bands": ["R", "G", "B"],
        "normalisation": "display colours 0…1; Sentinel-2 reflectance passes data/bridge.py first",
        "gsd_m": GSD_M,
        "patch_px": PATCH_PX,
        "footprint_km": FOOTPRINT_KM,
        "embedding_dim": config.pair.dim,
        "training_data": f"{SOURCE}; {config.places - config.validation_places:,} patches, uniform over land",
        "held_out": "10,000 places, nearer than 10 km to no training patch"
        + (" and a tenth of the 10° blocks with a margin of √2 footprints" if config.hold_out_blocks else ""),
        "seed": config.seed,
        "recipe": dataclasses.asdict(config),
        "command": command,
        "license": "MIT",
        "torch": torch.__version__,
    }
