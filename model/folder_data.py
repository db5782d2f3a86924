"""A folder of patches as a training sees it: samples, their augmentation, and what is left out.

Owns the check of the files (``skipped.csv`` lists what does not read, and why), the loaders of training and held-out
patches, and what the image encoder is given. A sample depends on seed, epoch and row alone, so the order in which
processes and workers come to it, and a second reading, change nothing.

Source:
    Klemmer et al. 2023, SatCLIP, arXiv:2311.17179, §3.1, and its published training code (flips, blur over 3×3 pixels,
    a zero B10; there the places were jittered towards the north-east alone, here evenly).
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset

from data.bands import L2A_BANDS, QUANTIFICATION
from data.errors import CheckpointError, PatchError
from data.patch_folder import PatchFolder, draws_of, jitter, split_rows
from data.sentinel import CIRRUS
from model.batches import EpochBatches, ResumableLoader
from model.recipes import FolderConfig

Batch = tuple[Tensor, Tensor, Tensor, Tensor]
SKIPPED = "skipped.csv"
SIGMA_PX = (0.1, 2.0)
"""Range of the blur's standard deviation."""


class PatchSet(Dataset[Batch]):
    """Patches of a folder, handed out a list of row numbers at a time."""

    def __init__(
        self, patches: PatchFolder, rows: np.ndarray[Any, Any], config: FolderConfig, *, training: bool
    ) -> None:
        """Some rows of a folder; ``training`` draws crop, flip, blur and place, otherwise all are central and plain."""
        self.patches, self.rows, self.config, self.training = patches, rows, config, training
        self.epoch = 0  # written by the loader

    def __len__(self) -> int:
        """Number of patches."""
        return len(self.rows)

    def __getitem__(self, numbers: list[int]) -> Batch:
        """Pixels (n, 12, S, S) int16, places (n, 2) float64 degrees, blur (n,) in pixels, and ``numbers``, (n,)."""
        config, rows = self.config, self.rows[numbers]
        size = config.network.patch_px
        draws = draws_of(config.seed, self.epoch, rows.tolist(), 7)
        if not self.training:
            draws[:] = 0.5
        pixels = np.empty((len(rows), len(L2A_BANDS), size, size), dtype=np.int16)
        flips = self.training and config.augment
        for target, row, (x, y, flip_x, flip_y, *_) in zip(pixels, rows, draws, strict=True):
            patch = self.patches.read(int(row), size)
            top, left = int(y * (patch.shape[1] - size + 1)), int(x * (patch.shape[2] - size + 1))
            patch = patch[:, top : top + size, left : left + size]
            target[:] = patch[:, :: -1 if flips and flip_y < 0.5 else 1, :: -1 if flips and flip_x < 0.5 else 1]
        lonlat = self.patches.lonlat[rows]
        if self.training:
            lonlat = jitter(lonlat, config.jitter_km, draws[:, 4:6])
        low, high = SIGMA_PX if flips else (0.0, 0.0)
        sigma = torch.from_numpy(low + (high - low) * draws[:, 6]).float()
        return torch.from_numpy(pixels), torch.from_numpy(lonlat), sigma, torch.tensor(numbers)


class FolderData(lightning.LightningDataModule):
    """The folder's patches, checked once by one process and shared out to all."""

    def __init__(self, patches: PatchFolder, config: FolderConfig, folder: Path, *, workers: int, resume: bool) -> None:
        """Patches of ``config`` for the run in ``folder``; ``resume`` keeps the list of skipped files that is there."""
        super().__init__()
        self.patches, self.config, self.workers = patches, config, workers
        self.skipped, self.checked = folder / SKIPPED, resume
        self.held_out: dict[str, PatchSet] = {}

    def prepare_data(self) -> None:
        """Read every patch once and write down which do not read."""
        if self.checked and self.skipped.exists():
            return
        reasons = self.patches.unreadable(self.config.network.patch_px)
        with self.skipped.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("fn", "reason"), *sorted(reasons.items())])

    def setup(self, stage: str) -> None:
        """Leave out what does not read, and split the rest.

        Raises:
            PatchError: fewer patches are left to train on than a batch has.
        """
        with self.skipped.open(encoding="utf-8", newline="") as file:
            self.patches = self.patches.without(row["fn"] for row in csv.DictReader(file))
        config, lonlat = self.config, self.patches.lonlat
        split = split_rows(
            lonlat, random_share=config.validation_share, block_share=config.block_share, seed=config.seed
        )
        check_enough(
            len(split.train), config, f"{self.patches.folder}, of which {self.skipped} lists what was left out"
        )
        self.train = PatchSet(self.patches, split.train, config, training=True)
        held_out = {"random": split.random, "blocks": split.blocks}
        self.held_out = {
            name: PatchSet(self.patches, rows, config, training=False)
            for name, rows in held_out.items()
            if len(rows) >= self._world
        }

    @property
    def _world(self) -> int:
        return 1 if self.trainer is None else self.trainer.world_size

    def _loader(self, patches: PatchSet, *, batch: int, chunk: int | None, shuffle: bool) -> ResumableLoader:
        rank = 0 if self.trainer is None else self.trainer.global_rank
        batches = EpochBatches(
            len(patches),
            batch=batch,
            seed=self.config.seed,
            chunk=chunk,
            rank=rank,
            world=self._world,
            shuffle=shuffle,
        )
        return ResumableLoader(patches, batches, workers=self.workers)

    def train_dataloader(self) -> ResumableLoader:
        """The training patches.

        Raises:
            CheckpointError: the batch cannot be shared out evenly.
        """
        if self.config.batch % self._world:
            raise CheckpointError(
                f"A batch of {self.config.batch} cannot be shared out evenly to {self._world} processes."
            )
        return self._loader(self.train, batch=self.config.batch, chunk=self.config.chunk, shuffle=True)

    def val_dataloader(self) -> list[ResumableLoader]:
        """The held-out patches: drawn at random, and in whole blocks."""
        chunk = min(self.config.chunk or 256, self.config.batch)
        return [
            self._loader(part, batch=len(part) // self._world * self._world, chunk=chunk, shuffle=False)
            for part in self.held_out.values()
        ]


def channels(pixels: Tensor, sigma: Tensor) -> Tensor:
    """What the image encoder sees.

    Args:
        pixels: (n, 12, H, W) int16, reflectance × 10,000.
        sigma: (n,) standard deviation in pixels of a Gaussian blur over 3×3 pixels; 0 for none.

    Returns:
        (n, 13, H, W) float32 reflectance with a zero B10.
    """
    x = pixels.float() / QUANTIFICATION
    if sigma.any():
        beside = torch.exp(-0.5 / sigma.clamp(min=1e-3) ** 2)[:, None, None, None]
        for dim in (2, 3):
            size = x.shape[dim]
            padded = functional.pad(x, (0, 0, 1, 1) if dim == 2 else (1, 1, 0, 0), mode="reflect")
            left, centre, right = (padded.narrow(dim, start, size) for start in range(3))
            x = (centre + beside * (left + right)) / (1 + 2 * beside)
    return torch.cat([x[:, :CIRRUS], torch.zeros_like(x[:, :1]), x[:, CIRRUS:]], dim=1)


def check_enough(count: int, config: FolderConfig, where: str) -> None:
    """Refuse to train on less than a batch.

    Raises:
        PatchError: says how many there are and how many are wanted.
    """
    if count < config.batch:
        raise PatchError(
            f"{where}: {count:,} patches to train on are fewer than a batch of {config.batch:,}. "
            "Add patches, or make the batch smaller (--set batch=…)."
        )
