"""Contrastive training of a pair on the Blue Marble.

Owns this training's data (patches and harmonics in memory), its augmentation, losses and schedule, and the card of what
it makes. Uses imagery and coordinates only: no atlas variable is within reach of this module.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from data.blue_marble import FOOTPRINT_KM, GSD_M, PATCH_PX, SOURCE, BlueMarble
from data.errors import CheckpointError
from data.splits import make_split
from model.augment import augment
from model.batches import EpochBatches, ResumableLoader
from model.checkpoint import save
from model.config_files import as_yaml
from model.contrastive import ContrastiveModule, Encoded, parameter_groups
from model.harmonics import spherical_harmonics
from model.loss import contrastive_loss, look_alike_targets
from model.pair import PairNetwork
from model.presets import TrainConfig
from model.run import RunOptions, fit, open_run

COLOUR_SPREAD = 0.243
"""Standard deviation of patches' mean colours over the land, the unit of ``look_alike_width``."""
CONTRAST_WEIGHT = 0.7

Batch = tuple[Tensor, Tensor, Tensor]


class PlaceSet(Dataset[Batch]):
    """Patches and harmonics of a set of places, handed out a batch of row numbers at a time."""

    def __init__(self, lonlat: np.ndarray[Any, np.dtype[np.float64]], degrees: int) -> None:
        """Cut every patch and evaluate every harmonic once.

        Args:
            lonlat: (N, 2) degrees.
            degrees: of the harmonics.
        """
        self.pixels = torch.from_numpy(BlueMarble.open().cut(lonlat))
        points = torch.from_numpy(lonlat)
        # Half precision: the functions lie within ±4, and twice the memory would not fit beside the patches.
        self.harmonics = torch.cat([spherical_harmonics(part, degrees).half() for part in torch.split(points, 4096)])

    def __len__(self) -> int:
        """Number of places."""
        return len(self.pixels)

    def __getitem__(self, rows: list[int]) -> Batch:
        """Pixels (n, 3, 32, 32) uint8, harmonics (n, L²) half, and the rows themselves, (n,)."""
        index = torch.tensor(rows)
        return self.pixels[index], self.harmonics[index], index


class PairModule(ContrastiveModule):
    """The pair under training."""

    network: PairNetwork

    def __init__(self, config: TrainConfig, *, steps: int) -> None:
        """Build the networks; ``steps`` is the length of the schedule."""
        super().__init__(PairNetwork(config.pair), clip_norm=1.0)
        self.config, self.steps = config, steps
        self._random_state: Tensor | None = None

    def encode(self, batch: Batch, index: int) -> Encoded:
        """Both sides of a batch, and the whole patches that the targets need."""
        pixels, harmonics, _ = batch
        generator = torch.Generator().manual_seed(hash((self.config.seed, self.current_epoch, index)) % 2**63)
        # A draw of its own for each trunk keeps their errors apart.
        views = [augment(pixels, self.config.augment, generator=generator) for _ in self.config.pair.trunks]
        images, places = self._encode(views, harmonics)
        sides = {f"{side}_{name}": v for side, d in (("image", images), ("place", places)) for name, v in d.items()}
        return {**sides, "pixels": pixels}

    def losses(self, encoded: Encoded) -> dict[str, Tensor]:
        """Each branch's loss."""
        return {
            name: contrastive_loss(
                encoded[f"image_{name}"],
                encoded[f"place_{name}"],
                self.network.logit_scale[name],
                max_scale=self.config.max_scale.get(name, 100.0),
                targets=self._targets(name, encoded["pixels"]),
            )
            for name in self.config.pair.branches
        }

    def encode_held_out(self, batch: Batch, loader: int) -> dict[str, tuple[Tensor, Tensor]]:
        """Both sides of the monitoring places, of each branch."""
        pixels, harmonics, _ = batch
        sides = torch.full((len(pixels),), FOOTPRINT_KM, device=pixels.device)
        images, places = self._encode([(pixels.float() / 255, sides)], harmonics)
        return {name: (images[name], places[name]) for name in images}

    def on_train_epoch_start(self) -> None:
        """Seed dropout by the epoch, so that a resumed run ends with the bytes of an unbroken one."""
        torch.manual_seed(self.config.seed * 1000 + self.current_epoch)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Go on with the random numbers where the run was broken off."""
        if self._random_state is not None:
            torch.set_rng_state(self._random_state)
            self._random_state = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the random state beside what every training keeps."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["random_state"] = torch.get_rng_state()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it up again, where an epoch was broken off."""
        super().on_load_checkpoint(checkpoint)
        self._random_state = checkpoint["random_state"] if checkpoint["losses"] else None

    def configure_optimizers(self) -> Any:
        """AdamW on a one-cycle schedule."""
        config = self.config
        groups = parameter_groups(
            self.network,
            weight_decay=config.weight_decay,
            factor=lambda name: config.lr_factor.get(name.removeprefix("location.branches.").split(".")[0], 1.0),
        )
        optimizer = torch.optim.AdamW(groups, lr=config.peak_lr, betas=(0.9, 0.98))
        peaks = [config.peak_lr * group["factor"] for group in groups]
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peaks, total_steps=self.steps, pct_start=0.15)
        return [optimizer], [schedule]

    def _targets(self, branch: str, pixels: Tensor) -> Tensor | None:
        """Soft targets of a branch that has them, from the whole patches' colours and contrasts."""
        share = self.config.look_alike_share.get(branch, 0.0)
        if not share:
            return None
        values = pixels.float().flatten(2) / 255  # (N, 3, H·W)
        appearance = torch.cat([values.mean(dim=2), CONTRAST_WEIGHT * values.std(dim=2)], dim=1) / COLOUR_SPREAD
        return look_alike_targets(appearance, share=share, width=self.config.look_alike_width)

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
    degrees = max(branch.degrees for branch in config.pair.branches.values())
    training, monitoring = (PlaceSet(part, degrees) for part in (split.train[:kept], split.train[kept:]))
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
        + (" and a tenth of the 10° blocks with a margin of one footprint" if config.hold_out_blocks else ""),
        "seed": config.seed,
        "recipe": dataclasses.asdict(config),
        "command": command,
        "license": "MIT",
        "torch": torch.__version__,
    }
