"""The recipe of a SatCLIP pair trained on a folder of patches.

Owns :class:`FolderConfig`, whose defaults are the official runs' (``configs/satclip-*.yaml``), and the refusal of
numbers that no run can have.

Source:
    Klemmer et al. 2023, SatCLIP, arXiv:2311.17179, §3.3 and appendix A.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from data.errors import CheckpointError
from model.satclip import SatCLIPConfig


@dataclass(frozen=True)
class FolderConfig:
    """One training run of a SatCLIP pair on a folder of patches. The defaults are the official runs'.

    Attributes:
        name: of the checkpoint it makes.
        network: the networks, learning rate and weight decay: an official checkpoint's hyperparameters.
        trunk: "moco" starts the image encoder from weights pre-trained on Sentinel-2, "random" from nothing.
        freeze_trunk: only the image encoder's last layer learns.
        freeze_batch_norm: batch normalisation uses its running statistics (a frozen trunk's always does).
        batch: pairs that are each other's negatives, over all processes.
        chunk: pairs encoded at a time on one process; None for its whole share of the batch. The smaller, the less
            memory; the result is the same.
        accumulate: batches an optimiser step.
        epochs: passes over the training patches.
        schedule: of the learning rate after the warm-up: constant, or along a cosine to zero.
        warmup_steps: optimiser steps over which the learning rate rises to its full value.
        clip_norm: largest norm of the gradient; None for no limit.
        max_scale: clamp of the inverse temperature.
        jitter_km: radius of the disc around a patch's centre from which its place is drawn.
        augment: flip and blur the patches.
        validation_share: share of the patches that only monitor the run, drawn at random.
        block_share: share of the 10° blocks whose patches only monitor the run.
        seed: of every draw.
    """

    name: str
    network: SatCLIPConfig
    trunk: Literal["moco", "random"] = "moco"
    freeze_trunk: bool = True
    freeze_batch_norm: bool = True
    batch: int = 512
    chunk: int | None = None
    accumulate: int = 16
    epochs: int = 500
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: int = 0
    clip_norm: float | None = None
    max_scale: float = 100.0
    jitter_km: float = 1.0
    augment: bool = True
    validation_share: float = 0.1
    block_share: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that no run can have.

        Raises:
            CheckpointError: a count below one, a share outside 0…1, other channels than 13, or batch normalisation over
                chunks.
        """
        least = {"batch": 2, "accumulate": 1, "epochs": 1, "warmup_steps": 0, "jitter_km": 0, "max_scale": 1}
        for key, value in least.items():
            if getattr(self, key) < value:
                raise CheckpointError(f"{self.name}: {key} is {getattr(self, key):g}; it must be at least {value}.")
        if self.network.in_channels != 13:
            raise CheckpointError(
                f"{self.name}: network.in_channels is {self.network.in_channels}; a folder of patches gives 13."
            )
        if self.chunk is not None and self.chunk < 1:
            raise CheckpointError(f"{self.name}: chunk is {self.chunk}; it must be at least 1.")
        for key in ("validation_share", "block_share"):
            if not 0 <= getattr(self, key) < 1:
                raise CheckpointError(f"{self.name}: {key} is {getattr(self, key):g}; it must lie in 0…1, below 1.")
        if self.chunk is not None and not (self.freeze_batch_norm or self.freeze_trunk):
            raise CheckpointError(
                f"{self.name}: batch normalisation over a chunk of {self.chunk} would not see the batch. "
                "Set freeze_batch_norm to true, or leave chunk out."
            )
