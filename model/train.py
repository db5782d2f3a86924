"""Contrastive training of a pair on the Blue Marble, with Lightning.

Owns the run: patches and harmonics in memory, the optimiser, validation, the state from which a killed run goes on,
and what a run leaves in its folder (``NAME.safetensors`` with its card, ``metrics.csv``, ``curves.png``,
``last.ckpt``). Uses imagery and coordinates only: no atlas variable is within reach of this module.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pandas as pd
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Sampler

from data.blue_marble import FOOTPRINT_KM, GSD_M, PATCH_PX, SOURCE, BlueMarble
from data.errors import CheckpointError
from data.splits import make_split
from model.augment import augment
from model.checkpoint import save
from model.harmonics import spherical_harmonics
from model.loss import contrastive_loss, look_alike_targets
from model.pair import PairNetwork
from model.presets import TrainConfig

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


class EpochBatches(Sampler[list[int]]):
    """Shuffled batches that depend on seed and epoch alone: a resumed run sees what an unbroken one would."""

    def __init__(self, count: int, *, batch: int, seed: int) -> None:
        """``count`` rows in batches of ``batch``; the incomplete last one is dropped."""
        self.count, self.batch, self.seed, self.epoch = count, batch, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Batches an epoch."""
        return self.count // self.batch

    def __iter__(self) -> Iterator[list[int]]:
        """One epoch."""
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.count)
        for start in range(0, len(self) * self.batch, self.batch):
            yield order[start : start + self.batch].tolist()


class PairModule(lightning.LightningModule):
    """The pair under training."""

    def __init__(self, config: TrainConfig, *, steps: int) -> None:
        """Build the networks; ``steps`` is the length of the schedule."""
        super().__init__()
        self.config, self.steps = config, steps
        self.network = PairNetwork(config.pair)
        self.history: list[dict[str, float]] = []
        self._recall_parts: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = []

    def training_step(self, batch: Batch, step: int) -> Tensor:
        """One batch: the sum of the branches' losses."""
        pixels, harmonics, _ = batch
        generator = torch.Generator().manual_seed(hash((self.config.seed, self.current_epoch, step)) % 2**63)
        x, footprint_km = augment(pixels, self.config.augment, generator=generator)
        images, places = self._encode(x, footprint_km, harmonics)
        losses = {
            name: contrastive_loss(
                images[name],
                places[name],
                self.network.logit_scale[name],
                max_scale=self.config.max_scale[name],
                targets=self._targets(name, pixels),
            )
            for name in images
        }
        for name, loss in losses.items():
            self.log(f"loss_{name}", loss.detach(), prog_bar=True, on_step=False, on_epoch=True)
        return torch.stack(list(losses.values())).sum()

    def validation_step(self, batch: Batch, _step: int) -> None:
        """Keep the embeddings of the monitoring places."""
        pixels, harmonics, _ = batch
        sides = torch.full((len(pixels),), FOOTPRINT_KM, device=pixels.device)
        self._recall_parts.append(self._encode(pixels.float() / 255, sides, harmonics))

    def on_validation_epoch_end(self) -> None:
        """Log retrieval recall among the monitoring places."""
        for name in self.config.pair.branches:
            image, place = (
                functional.normalize(torch.cat([part[side][name] for part in self._recall_parts]), dim=1)
                for side in (0, 1)
            )
            scores = image @ place.T
            rank = (scores > scores.diagonal()[:, None]).sum(dim=1)
            for k in (1, 10):
                self.log(f"recall{k}_{name}", (rank < k).float().mean(), prog_bar=k == 10)
        self._recall_parts.clear()

    def on_train_epoch_start(self) -> None:
        """Seed dropout by the epoch, so that a resumed run ends with the bytes of an unbroken one."""
        torch.manual_seed(self.config.seed * 1000 + self.current_epoch)

    def on_train_epoch_end(self) -> None:
        """Keep the epoch's figures; they travel in the checkpoint, so that a resumed run has its whole curve."""
        figures = {key: float(value) for key, value in self.trainer.callback_metrics.items()}
        self.history.append({"epoch": float(self.current_epoch), **figures})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the figures beside the weights."""
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the figures up again."""
        self.history = list(checkpoint["history"])

    def configure_optimizers(self) -> Any:
        """AdamW on a one-cycle schedule; matrices decay, biases, norms and scales do not."""
        config = self.config
        groups: dict[tuple[float, bool], list[torch.nn.Parameter]] = {}
        for name, parameter in self.network.named_parameters():
            branch = name.split(".")[2] if name.startswith("location.branches.") else ""
            key = (config.lr_factor.get(branch, 1.0), parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
        optimizer = torch.optim.AdamW(
            [
                {"params": parameters, "weight_decay": config.weight_decay if decays else 0.0}
                for (_, decays), parameters in groups.items()
            ],
            lr=config.peak_lr,
            betas=(0.9, 0.98),
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, [config.peak_lr * factor for factor, _ in groups], total_steps=self.steps, pct_start=0.15
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _targets(self, branch: str, pixels: Tensor) -> Tensor | None:
        """Soft targets of a branch that has them, from the whole patches' colours and contrasts."""
        share = self.config.look_alike_share[branch]
        if not share:
            return None
        values = pixels.float().flatten(2) / 255  # (N, 3, H·W)
        appearance = torch.cat([values.mean(dim=2), CONTRAST_WEIGHT * values.std(dim=2)], dim=1) / COLOUR_SPREAD
        return look_alike_targets(appearance, share=share, width=self.config.look_alike_width)

    def _encode(
        self, pixels: Tensor, footprint_km: Tensor, harmonics: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Raw vectors of both sides. The location side stays in float32: its sines are sensitive to rounding."""
        if self.network.image is None:
            raise CheckpointError("training needs both encoders")
        images = self.network.image(pixels.contiguous(memory_format=torch.channels_last), footprint_km)
        with torch.autocast(pixels.device.type, enabled=False):
            places = self.network.location.from_harmonics(harmonics.float())
        return {name: vector.float() for name, vector in images.items()}, places


def train(config: TrainConfig, folder: Path, *, resume: bool = True, command: str | None = None) -> Path:
    """Train a pair, or go on with a killed run in the same folder.

    Args:
        config: the recipe.
        folder: where everything the run makes goes.
        resume: go on from ``last.ckpt`` if it is there; otherwise start over.
        command: how the run was started, for the card.

    Returns:
        Path of the weights.

    Raises:
        CheckpointError: the folder holds the state of another recipe.
    """
    lightning.seed_everything(config.seed, workers=True, verbose=False)
    split = make_split(config.places, hold_out_blocks=config.hold_out_blocks)
    kept = config.places - config.validation_places
    degrees = max(branch.degrees for branch in config.pair.branches.values())
    training, monitoring = (PlaceSet(part, degrees) for part in (split.train[:kept], split.train[kept:]))
    batches = EpochBatches(len(training), batch=config.batch, seed=config.seed)
    module = PairModule(config, steps=config.epochs * len(batches))
    module.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # twice as fast on a CPU
    state = folder / "last.ckpt"
    recipe = repr(config)
    if state.exists() and resume:
        _check_recipe(folder, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recipe.txt").write_text(recipe, encoding="utf-8")
    trainer = lightning.Trainer(
        max_epochs=config.epochs,
        precision="bf16-mixed" if _fast_bfloat16() else "32-true",
        logger=False,
        default_root_dir=folder,
        callbacks=[
            ModelCheckpoint(folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False),
            TQDMProgressBar(refresh_rate=20),
        ],
        gradient_clip_val=1.0,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(
        module,
        DataLoader(training, sampler=batches, batch_size=None),
        DataLoader(monitoring, sampler=EpochBatches(len(monitoring), batch=len(monitoring), seed=0), batch_size=None),
        ckpt_path=str(state) if state.exists() and resume else None,
        weights_only=True,
    )
    path = folder / f"{config.name}.safetensors"
    save(module.network.cpu(), path, card=make_card(config, command or " ".join(sys.argv)))
    table = pd.DataFrame(module.history)
    table.to_csv(folder / "metrics.csv", index=False)
    draw_curves(table, folder / "curves.png")
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


def draw_curves(table: pd.DataFrame, picture: Path) -> None:
    """Plot losses and recalls of a run, one row an epoch."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), constrained_layout=True)
    for axis, word in zip(axes, ("loss", "recall"), strict=True):
        for column in sorted(name for name in table if name.startswith(word)):
            axis.plot(table["epoch"] + 1, table[column], marker="o", markersize=3, label=column)
        axis.set(xlabel="epoch", ylabel=word + (" (nats)" if word == "loss" else " of 2,000 monitoring places"))
        axis.grid(alpha=0.3)
        axis.legend(frameon=False)
    figure.savefig(picture, dpi=120)
    plt.close(figure)


def _check_recipe(folder: Path, recipe: str) -> None:
    path = folder / "recipe.txt"
    if not path.exists() or path.read_text(encoding="utf-8") != recipe:
        raise CheckpointError(
            f"{folder} holds a run of another recipe. Choose another folder, or start over with --restart."
        )


def _fast_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 faster than float32."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_avx512_bf16_supported())
